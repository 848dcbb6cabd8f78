"""Calls of SageMaker, S3 and others: each succeeds, or raises one of the workbench's errors."""

import contextlib
import threading
from collections.abc import Iterator
from typing import Any, Self

from workbench.cloud.aws import BUCKET, Cloud
from workbench.errors import CloudError, Stopped

_ATTEMPTS = 5  # nothing is timed here
_MISSING_MESSAGES = (
    *("could not find", "does not exist", "nosuchkey", "nosuchbucket", "not found"),
    "resourcenotfound",
)


class CloudClient:
    """SageMaker, S3 and other services of a cloud, for as long as a `with` block lasts.

    Once `stopped` is set, no call is made any more: it raises `Stopped` instead, and `pause` is
    over at once.
    """

    def __init__(self, cloud: Cloud, stopped: threading.Event | None = None) -> None:
        self.cloud = cloud
        self._stopped = stopped or threading.Event()

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as stack:
            self._sagemaker = self._client("sagemaker", stack)
            self._s3 = self._client("s3", stack)
            self._other_clients: dict[str, Any] = {}  # clients that few need
            self._exit_stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._exit_stack.close()

    def sagemaker(self, operation: str, **parameters: Any) -> Any:  # noqa: ANN401 - an AWS answer
        """Return what SageMaker answers."""
        with self._translate_errors(operation.replace("_", " ")):
            return getattr(self._sagemaker, operation)(**parameters)

    def lambda_(self, operation: str, **parameters: Any) -> Any:  # noqa: ANN401 - an AWS answer
        """Return what Lambda answers."""
        return self.call("lambda", operation, **parameters)

    def call(self, service: str, operation: str, **parameters: Any) -> Any:  # noqa: ANN401 - an AWS answer
        """Return what any other service answers."""
        if service not in self._other_clients:
            self._other_clients[service] = self._client(service, self._exit_stack)
        with self._translate_errors(operation.replace("_", " ")):
            return getattr(self._other_clients[service], operation)(**parameters)

    def s3(self, operation: str, **parameters: Any) -> Any:  # noqa: ANN401 - an AWS answer
        """Return what S3 answers."""
        with self._translate_errors(f"{operation.replace('_', ' ')} in S3"):
            return getattr(self._s3, operation)(**parameters)

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

    def _translate_errors(self, what: str) -> contextlib.AbstractContextManager[None]:
        if self._stopped.is_set():
            raise Stopped("Stopped before all was made: what was made is torn down.")
        return self.cloud.translate_errors(what)

    def _default_bucket(self) -> str:
        with (
            contextlib.closing(self.cloud.client("sts", attempts=_ATTEMPTS)) as client,
            self.cloud.translate_errors(f"say whose account it is (name a bucket: ${BUCKET})"),
        ):
            return f"workbench-{client.get_caller_identity()['Account']}-{self.cloud.region}"

    def _client(self, service: str, stack: contextlib.ExitStack) -> Any:  # noqa: ANN401 - boto3's
        return stack.enter_context(
            contextlib.closing(self.cloud.client(service, attempts=_ATTEMPTS))
        )


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
