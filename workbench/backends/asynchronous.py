"""SageMaker answers batches later: an InvokeEndpointAsync each, and a notification of its result.

A batch has its answer when the notification says that the result was written, not when the request
was accepted, nor when the result was fetched.
"""

from __future__ import annotations

import contextlib
import json
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import urlsplit

from workbench.backends.base import Batch, Reply
from workbench.backends.sagemaker import NPY, ClientFactory, pack_npy, translate_errors, unpack_npy
from workbench.errors import InvocationError
from workbench.validation import require_rows, whole_number

if TYPE_CHECKING:
    from workbench.deployment import Async

_LONG_POLL = 1  # seconds that SQS holds a question without an answer; leaving waits as long
_RETRY_SECONDS = 1.0  # seconds after a failed question
_NOTIFICATION_SECONDS = 60.0  # seconds that a notification may take

Notification = Mapping[str, Any]
"""A notification: members by AWS's names."""


@dataclass(frozen=True, kw_only=True)
class Mailbox:
    """Where what an asynchronous endpoint reads and tells lies.

    Attributes:
        queue: The URL of the SQS queue that notifications arrive in.
        bucket, folder: Where bodies too large to come along are put, in S3.
        topic: The ARN of the SNS topic that the queue listens to.
    """

    queue: str
    bucket: str
    folder: str
    topic: str = ""


class AsyncBackend:
    """An asynchronous endpoint, called through boto3; its notifications are read from a queue.

    The time in a notification is the cloud's: its clock and that of this machine should agree.
    Whatever they say, a batch is not answered before it was sent or after its result was read.

    `cloud` makes the clients, in the process that enters the backend. Answers arrive in the
    mailbox, which nobody else reads; `deployment` says how long a batch may wait and take. Up to
    `concurrency` batches may be without an answer. The clock gives seconds since 1970.
    """

    def __init__(
        self,
        endpoint: str,
        cloud: ClientFactory,
        mailbox: Mailbox,
        deployment: Async,
        *,
        concurrency: int = 256,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.endpoint = endpoint
        self.cloud = cloud
        self.mailbox = mailbox
        self.deployment = deployment
        self.concurrency = whole_number("concurrency", concurrency, low=1)
        self._clock = clock
        self._clients: contextlib.ExitStack | None = None

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as stack:
            self._runtime = self._client("sagemaker-runtime", stack)
            self._s3 = self._client("s3", stack)
            self._sqs = self._client("sqs", stack)
            self._clients = stack.pop_all()
        self._pending: dict[str, Future[Notification]] = {}
        self._closing = threading.Event()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._clients is None:
            return
        self._closing.set()
        self._reader.join()
        for future in list(self._pending.values()):
            future.cancel()
        self._clients.close()
        self._clients = None

    def invoke(self, batch: Batch) -> Reply:
        """Send the batch as one request, and wait for its result.

        Raises:
            InvocationError: The request was refused, or it failed, or no answer was found.
            RowMismatch: The answers are not one a row.
        """
        assert self._clients is not None, "invoke outside the with block"  # noqa: S101
        name = uuid.uuid4().hex
        future: Future[Notification] = Future()
        self._pending[name] = future
        try:
            with translate_errors():
                self._send(name, pack_npy(batch.inputs))
                notification = self._await_notification(future)
                if notification["invocationStatus"] != "Completed":
                    reason = notification.get("failureReason", "no reason was given")
                    raise InvocationError(str(reason))
                where = urlsplit(notification["responseParameters"]["outputLocation"])
                found = self._s3.get_object(Bucket=where.netloc, Key=where.path.lstrip("/"))
                outputs = unpack_npy(found["Body"].read())
        finally:
            self._pending.pop(name, None)
        age = self._clock() - datetime.fromisoformat(notification["eventTime"]).timestamp()
        outputs = require_rows(outputs, len(batch.inputs))
        return Reply(outputs, server=-1, age=max(0.0, age))

    def _send(self, name: str, body: bytes) -> None:
        sent: dict[str, Any] = {"Body": body}
        if len(body) > self.deployment.inline_limit:
            key = f"{self.mailbox.folder}/in/{name}"
            self._s3.put_object(Bucket=self.mailbox.bucket, Key=key, Body=body)
            sent = {"InputLocation": f"s3://{self.mailbox.bucket}/{key}"}
        self._runtime.invoke_endpoint_async(
            EndpointName=self.endpoint,
            InferenceId=name,
            ContentType=NPY,
            Accept=NPY,
            RequestTTLSeconds=self.deployment.ttl,
            InvocationTimeoutSeconds=self.deployment.timeout,
            **sent,
        )

    def _await_notification(self, future: Future[Notification]) -> Notification:
        longest = self.deployment.ttl + self.deployment.timeout + _NOTIFICATION_SECONDS
        try:
            return future.result(longest)
        except TimeoutError:
            raise InvocationError(f"No notification came within {longest:g} s.") from None

    def _read(self) -> None:
        """Read notifications, and give each to whom it concerns."""
        while not self._closing.is_set():
            try:
                with translate_errors():
                    self._read_some()
            except InvocationError:
                self._closing.wait(_RETRY_SECONDS)  # whoever waits gets a timeout in the end

    def _read_some(self) -> None:
        queue = self.mailbox.queue
        answer = self._sqs.receive_message(
            QueueUrl=queue, MaxNumberOfMessages=10, WaitTimeSeconds=_LONG_POLL
        )
        messages = answer.get("Messages", [])
        for message in messages:
            notification = json.loads(message["Body"])
            future = self._pending.get(notification.get("inferenceId"))
            if future is not None and not future.done():
                future.set_result(notification)
        if messages:
            handles = enumerate(message["ReceiptHandle"] for message in messages)
            read = [{"Id": str(number), "ReceiptHandle": handle} for number, handle in handles]
            self._sqs.delete_message_batch(QueueUrl=queue, Entries=read)

    def _client(self, service: str, stack: contextlib.ExitStack) -> Any:  # noqa: ANN401 - boto3's
        client = self.cloud.client(service, pool=self.concurrency)
        return stack.enter_context(contextlib.closing(client))
