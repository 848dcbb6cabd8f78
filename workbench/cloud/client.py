"""Calls of SageMaker, S3 and others: each succeeds, or raises one of the workbench's errors."""

import contextlib
import threading
from collections.abc import Iterator
from typing import Any, Self

from workbench.cloud.aws import BUCKET, Cloud
from workbench.errors import CloudError, Stopped

_ATTEMPTS = 5  # nothing is timed here
_GONE = ("could not find", "does not exist", "nosuchkey", "nosuchbucket", "not found")


class Calls:
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
            self._others: dict[str, Any] = {}  # clients that few need
            self._open = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def sagemaker(self, operation: str, **parameters: Any) -> Any:  # noqa: ANN401 - an AWS answer
        """Return what SageMaker answers."""
        with self._explained(operation.replace("_", " ")):
            return getattr(self._sagemaker, operation)(**parameters)

    def lambda_(self, operation: str, **parameters: Any) -> Any:  # noqa: ANN401 - an AWS answer
        """Return what Lambda answers."""
        return self.call("lambda", operation, **parameters)

    def call(self, service: str, operation: str, **parameters: Any) -> Any:  # noqa: ANN401 - an AWS answer
        """Return what any other service answers."""
        if service not in self._others:
            self._others[service] = self._client(service, self._open)
        with self._explained(operation.replace("_", " ")):
            return getattr(self._others[service], operation)(**parameters)

    def s3(self, operation: str, **parameters: Any) -> Any:  # noqa: ANN401 - an AWS answer
        """Return what S3 answers."""
        with self._explained(f"{operation.replace('_', ' ')} in S3"):
            return getattr(self._s3, operation)(**parameters)

    def pause(self) -> None:
        """Wait until it is time to ask again how something is."""
        self._stopped.wait(self.cloud.poll)

    def bucket(self) -> str:
        """Return the bucket for models, which is made where missing."""
        name = self.cloud.bucket or self._usual_bucket()
        try:
            self.s3("head_bucket", Bucket=name)
        except CloudError as error:
            if error.code not in ("404", "NoSuchBucket"):
                raise
            place = {"CreateBucketConfiguration": {"LocationConstraint": self.cloud.region}}
            first = self.cloud.region == "us-east-1"  # which S3 does not let one name
            self.s3("create_bucket", Bucket=name, **({} if first else place))
        return name

    def _explained(self, what: str) -> contextlib.AbstractContextManager[None]:
        if self._stopped.is_set():
            raise Stopped("Stopped before all was made: what was made is torn down.")
        return self.cloud.explained(what)

    def _usual_bucket(self) -> str:
        with (
            contextlib.closing(self.cloud.client("sts", attempts=_ATTEMPTS)) as client,
            self.cloud.explained(f"say whose account it is (name a bucket: ${BUCKET})"),
        ):
            return f"workbench-{client.get_caller_identity()['Account']}-{self.cloud.region}"

    def _client(self, service: str, stack: contextlib.ExitStack) -> Any:  # noqa: ANN401 - boto3's
        return stack.enter_context(
            contextlib.closing(self.cloud.client(service, attempts=_ATTEMPTS))
        )


@contextlib.contextmanager
def gone_is_fine() -> Iterator[None]:
    """End the block at the news that something does not exist."""
    try:
        yield
    except CloudError as error:
        if not is_gone(error):
            raise


def is_gone(error: CloudError) -> bool:
    """Whether the cloud refused because something does not exist: SageMaker has no code for it."""
    return any(word in str(error).lower() for word in _GONE)
