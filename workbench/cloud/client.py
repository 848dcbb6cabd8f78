"""Calls of SageMaker, S3 and others: each succeeds, or raises one of the workbench's errors."""

import contextlib
import threading
from collections.abc import Iterator
from typing import Any, Self

from workbench.cloud.aws import BUCKET, Cloud
from workbench.errors import CloudError, Stopped

_MISSING_MESSAGES = (
    *("could not find", "does not exist", "nosuchkey", "nosuchbucket", "not found"),
    "resourcenotfound",
)


def open_client(cloud: Cloud, service: str) -> contextlib.closing[Any]:
    """Return a boto3 client for a `with` block, which tries again: nothing is timed with it."""
    return contextlib.closing(cloud.client(service, attempts=5))


class CloudClient:
    """The services of a cloud, each with a client from its first call to the end of a `with` block.

    Once `stopped` is set, no call is made any more: it raises `Stopped` instead, and `pause` is
    over at once.
    """

    def __init__(self, cloud: Cloud, stopped: threading.Event | None = None) -> None:
        self.cloud = cloud
        self._stopped = stopped or threading.Event()
        self._clients: dict[str, Any] = {}
        self._exit_stack = contextlib.ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._exit_stack.close()

    def sagemaker(self, operation: str, **parameters: Any) -> Any:  # noqa: ANN401 - an AWS answer
        """Return what SageMaker answers."""
        return self.call("sagemaker", operation, **parameters)

    def lambda_(self, operation: str, **parameters: Any) -> Any:  # noqa: ANN401 - an AWS answer
        """Return what Lambda answers."""
        return self.call("lambda", operation, **parameters)

    def call(self, service: str, operation: str, **parameters: Any) -> Any:  # noqa: ANN401 - an AWS answer
        """Return what a service answers."""
        with self._translate_errors(service, operation):
            return getattr(self._client(service), operation)(**parameters)

    def s3(self, operation: str, **parameters: Any) -> Any:  # noqa: ANN401 - an AWS answer
        """Return what S3 answers."""
        return self.call("s3", operation, **parameters)

    def pages(self, service: str, operation: str, **parameters: Any) -> Iterator[Any]:  # noqa: ANN401 - an AWS answer
        """Yield the pages of what a service lists."""
        with self._translate_errors(service, operation):
            yield from self._client(service).get_paginator(operation).paginate(**parameters)

    def pause(self) -> None:
        """Wait until it is time to ask again how something is."""
        self._stopped.wait(self.cloud.poll)

    def bucket(self) -> str:
        """Return the bucket for models, which is made where missing."""
        name = self.cloud.bucket or self._default_bucket()
        try:
            self.s3("head_bucket", Bucket=name)
        except CloudError as error:
            if error.code not in ("404", "NoSuchBucket"):
                raise
            location = {"CreateBucketConfiguration": {"LocationConstraint": self.cloud.region}}
            first = self.cloud.region == "us-east-1"  # which S3 does not let one name
            self.s3("create_bucket", Bucket=name, **({} if first else location))
        return name

    def _translate_errors(
        self, service: str, operation: str
    ) -> contextlib.AbstractContextManager[None]:
        if self._stopped.is_set():
            raise Stopped("Stopped before all was made: what was made is torn down.")
        where = " in S3" if service == "s3" else ""
        return self.cloud.translate_errors(operation.replace("_", " ") + where)

    def _default_bucket(self) -> str:
        with (
            open_client(self.cloud, "sts") as client,
            self.cloud.translate_errors(f"say whose account it is (name a bucket: ${BUCKET})"),
        ):
            return f"workbench-{client.get_caller_identity()['Account']}-{self.cloud.region}"

    def _client(self, service: str) -> Any:  # noqa: ANN401 - boto3's
        if service not in self._clients:
            client = open_client(self.cloud, service)
            self._clients[service] = self._exit_stack.enter_context(client)
        return self._clients[service]


@contextlib.contextmanager
def ignore_missing() -> Iterator[None]:
    """End the block at the news that something does not exist."""
    try:
        yield
    except CloudError as error:
        if not is_missing(error):
            raise


def is_missing(error: CloudError) -> bool:
    """Return whether the error says that something does not exist; SageMaker has no code."""
    return any(word in str(error).lower() for word in _MISSING_MESSAGES)
