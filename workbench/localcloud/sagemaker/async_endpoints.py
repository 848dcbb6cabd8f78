"""InvokeEndpointAsync: requests that wait on the disk, and results that go to S3.

A request is sent to an instance until it has an answer, if need be again after a restart, and its
result is written once. Names, limits and messages are those of botocore's service model and of the
SageMaker developer guide ("Asynchronous inference").
"""

import asyncio
import json
import logging
import math
import random
import time
import uuid
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from workbench.localcloud.core import validation
from workbench.localcloud.core.http_client import Answer, Exchange, Failure, Outcome
from workbench.localcloud.core.protocol import ACCOUNT, AwsError, json_error, json_response
from workbench.localcloud.core.tasks import TaskSet
from workbench.localcloud.s3.objects import ObjectStore
from workbench.localcloud.s3.uploads import BodyWriter, StoredBody
from workbench.localcloud.sagemaker.async_queue import AsyncQueue, AsyncRequest, Notice
from workbench.localcloud.sagemaker.endpoint_api import EndpointApi
from workbench.localcloud.sagemaker.endpoints import Endpoint, Variant
from workbench.localcloud.sagemaker.models import split_s3
from workbench.localcloud.sandbox.fleets import LocalFleet
from workbench.modelserver.http import FilePart, Reply, Request, Response

MAX_BODY = 2**30
"""Bytes of a body in S3, and of a result (developer guide: 1 GB)."""

MAX_INLINE = 128_000
"""Bytes of a body that comes along (botocore's InvokeEndpointAsyncInput)."""

TTL, TIMEOUT = 21_600, 900
"""Seconds that a request may wait, and take, where it does not say (botocore's model)."""

ATTEMPTS = 3
"""Times that a request is sent to an instance that ends before it answers. Inferred."""

_TICK = 0.1  # seconds between two looks at what waits for an instance or gets too old
_MAX_ERROR_CHARACTERS = 2000  # characters of a model's own error
_log = logging.getLogger("workbench.localcloud")

Publish = Callable[[str, str], Awaitable[None]]
"""Sends a message to a topic, or raises AwsError."""


@dataclass(frozen=True, slots=True)
class AsyncMeasurement:
    """The measurements of requests for CloudWatch: values by metric, with AWS's names and units.

    Counts; TimeInBacklog and TotalProcessingTime in milliseconds; ModelLatency,
    RequestDownloadLatency and ResponseUploadLatency in microseconds.
    """

    endpoint: str
    variant: str
    at: float
    values: Mapping[str, float]


@dataclass(slots=True)
class _PendingAsyncRequest:
    """A request that waits or is under way; `deadline` and `since` by the steady clock."""

    number: int
    asked: AsyncRequest
    received: float
    since: float
    deadline: float
    attempts: int = 0
    variant: str = ""
    values: dict[str, float] = field(default_factory=dict)


@dataclass(slots=True)
class _EndpointQueue:
    """What waits for one endpoint, and how many are under way at each fleet."""

    waiting: deque[_PendingAsyncRequest] = field(default_factory=deque)
    running: Counter[LocalFleet] = field(default_factory=Counter)
    expiry: float = math.inf

    def add(self, waiting: _PendingAsyncRequest, *, first: bool = False) -> None:
        self.expiry = min(self.expiry, waiting.deadline)
        if first:
            self.waiting.appendleft(waiting)
        else:
            self.waiting.append(waiting)

    def pop_expired(self, now: float) -> list[_PendingAsyncRequest]:
        """Return those that waited too long, which wait no longer."""
        if now < self.expiry:
            return []
        late = [each for each in self.waiting if each.deadline <= now]
        self.waiting = deque(each for each in self.waiting if each.deadline > now)
        self.expiry = min((each.deadline for each in self.waiting), default=math.inf)
        return late


class AsyncInvoker:
    """Answers `POST /endpoints/<name>/async-invocations`, and works on what was asked.

    Args:
        hosting: Knows the endpoints.
        backlog: Keeps the requests.
        objects: S3, for bodies and results.
        publish: Sends notifications.
        record: Called with the measurements of a request for CloudWatch.
        observe: Called ten times a second with an endpoint's name, the metrics of its backlog by
            AWS's names, and the time.
        clock: Gives seconds since 1970, for what is written; it may jump.
        steady: Gives seconds that pass evenly, for what is waited for.
        generator: Draws variants by weight.
    """

    def __init__(
        self,
        hosting: EndpointApi,
        backlog: AsyncQueue,
        objects: ObjectStore,
        publish: Publish,
        *,
        record: Callable[[AsyncMeasurement], None] | None = None,
        observe: Callable[[str, Mapping[str, float], float], None] | None = None,
        clock: Callable[[], float] = time.time,
        steady: Callable[[], float] = time.monotonic,
        generator: random.Random | None = None,
    ) -> None:
        self._hosting = hosting
        self._backlog = backlog
        self._objects = objects
        self._publish = publish
        self._record = record
        self._observe = observe
        self._clock = clock
        self._steady = steady
        self._generator = generator or random.Random()  # noqa: S311 - routing is no secret
        self._lines: dict[str, _EndpointQueue] = {}
        self._tasks = TaskSet()
        self._ticking: asyncio.TimerHandle | None = None
        self._closed = False

    def start(self) -> None:
        """Take up the requests that were there when the local cloud ended."""
        now, wall = self._steady(), self._clock()
        for number, received, async_request in self._backlog.list_unanswered():
            age = min(
                max(0.0, wall - received), float(async_request.ttl)
            )  # clocks may have been set
            self._queue(
                _PendingAsyncRequest(
                    number, async_request, received, now - age, now - age + async_request.ttl
                )
            )
        for number, notice in self._backlog.list_unsent():
            self._tasks.start(self._notify(number, notice, None))
        self._tick()

    async def close(self) -> None:
        """Stop; what has no result yet stays on the disk."""
        self._closed = True
        if self._ticking is not None:
            self._ticking.cancel()
        await self._tasks.finish()

    def backlogs(self) -> list[dict[str, Any]]:
        """Return each endpoint's metrics of its backlog, by AWS's names."""
        return [{"endpoint": name, **gauges} for name, gauges in self._gauges()]

    def _gauges(self) -> Iterator[tuple[str, dict[str, float]]]:
        for endpoint in self._hosting.endpoints:
            if endpoint.async_config is not None:
                queue = self._lines.get(endpoint.name, _EndpointQueue())
                yield endpoint.name, self._backlog_of(endpoint, queue)

    def _backlog_of(self, endpoint: Endpoint, queue: _EndpointQueue) -> dict[str, float]:
        instances = sum(len(variant.fleet.instances) for variant in endpoint.variants)
        size = len(queue.waiting) + queue.running.total()
        now = self._steady()
        oldest = queue.waiting[0].since if queue.waiting else now  # those sent again are in front
        return {
            "ApproximateBacklogSize": size,
            "ApproximateBacklogSizePerInstance": size / max(1, instances),
            "ApproximateAgeOfOldestRequest": now - oldest,
            "HasBacklogWithoutCapacity": float(size > 0 and instances == 0),
        }

    # --- taking requests

    def handle(self, request: Request, reply: Reply) -> None:
        """Answer a request: it is on the disk, or refused."""
        try:
            reply(self._enqueue(request))
        except AwsError as error:
            reply(json_error(error))

    def _enqueue(self, request: Request) -> Response:
        name = request.path.removeprefix("/endpoints/").partition("/")[0]
        endpoint = self._hosting.find_in_service(name)
        if endpoint is None:
            raise _validation_error(f"Endpoint {name} of account {ACCOUNT} not found.")
        if endpoint.async_config is None:
            raise _validation_error(f"Endpoint {name} of account {ACCOUNT} is not asynchronous.")
        async_request = _parse_request(request, endpoint)
        body = None if async_request.input else request.body
        received, now = self._clock(), self._steady()
        number = self._backlog.add(async_request, received, body)
        self._queue(
            _PendingAsyncRequest(number, async_request, received, now, now + async_request.ttl)
        )
        self._dispatch(name)
        headers = [("X-Amzn-SageMaker-OutputLocation", async_request.output)]
        if async_request.failure:
            headers.append(("X-Amzn-SageMaker-FailureLocation", async_request.failure))
        response = json_response({"InferenceId": async_request.id})
        response.status = 202
        response.headers = [*response.headers, *headers]
        return response

    def _queue(self, waiting: _PendingAsyncRequest) -> None:
        self._lines.setdefault(waiting.asked.endpoint, _EndpointQueue()).add(waiting)

    # --- sending them to instances

    def _tick(self) -> None:
        """Look after what no event announces: instances that came up, and requests grown old."""
        for name in list(self._lines):
            self._dispatch(name)
        if self._observe is not None:
            for name, gauges in self._gauges():
                self._observe(name, gauges, self._clock())
        if not self._closed:
            self._ticking = asyncio.get_running_loop().call_later(_TICK, self._tick)

    def _dispatch(self, name: str) -> None:
        """Send what can be sent, and fail what cannot be answered any more."""
        queue = self._lines.get(name)
        if queue is None or self._closed:
            return
        for late in queue.pop_expired(self._steady()):
            waited = f"The request expired: it waited longer than {late.asked.ttl} seconds."
            self._fail(late, waited, "ExpiredRequests")
        endpoint = self._hosting.find(name)
        if endpoint is None:
            for waiting in queue.waiting:
                self._fail(waiting, f"The endpoint {name} was deleted.", "InvocationFailures")
            queue.waiting.clear()
            if not queue.running.total():
                del self._lines[name]
            return
        while queue.waiting and (variant := self._choose_variant(endpoint, queue)) is not None:
            self._send(queue, queue.waiting.popleft(), variant)

    def _choose_variant(self, endpoint: Endpoint, queue: _EndpointQueue) -> Variant | None:
        """Return a variant that can take one more, drawn by weight."""
        free = [
            variant
            for variant in endpoint.variants
            if queue.running[variant.fleet]
            < len(variant.fleet.instances) * _max_in_flight(endpoint, variant)
        ]
        if len(free) < 2:
            return free[0] if free else None
        weights = [variant.weight for variant in free]
        return self._generator.choices(free, weights if any(weights) else None)[0]

    def _send(self, queue: _EndpointQueue, waiting: _PendingAsyncRequest, variant: Variant) -> None:
        began = time.perf_counter()
        waiting.variant = variant.name
        waiting.values = {"TimeInBacklog": (self._steady() - waiting.since) * 1e3}
        try:
            body, content_type = self._load_body(waiting)
        except AwsError as error:
            self._fail(waiting, f"ClientError: {error.message}", "RequestDownloadFailures")
            return
        waiting.values["RequestDownloadLatency"] = (time.perf_counter() - began) * 1e6
        queue.running[variant.fleet] += 1
        sink = BodyWriter(self._objects.new_path(), {})
        length = body.length if isinstance(body, FilePart) else len(body)

        def done(exchange: Exchange, outcome: Outcome) -> None:
            if isinstance(body, FilePart):
                body.file.close()
            queue.running[variant.fleet] -= 1
            if not queue.running[variant.fleet]:
                del queue.running[variant.fleet]
            self._handle_outcome(queue, waiting, exchange, outcome, sink)

        variant.fleet.serve(
            Exchange(
                _head(waiting.asked, length, content_type),
                body,
                done,
                time_limit=waiting.asked.timeout,
                max_answer=MAX_BODY,
                sink=sink,
            )
        )

    def _load_body(self, waiting: _PendingAsyncRequest) -> tuple[bytes | FilePart, str]:
        """Return the body of a request, and the content type of the object that it is in S3.

        Raises:
            AwsError: It is not there, or too large.
        """
        where = waiting.asked.input
        if not where:
            return self._backlog.body(waiting.number) or b"", ""
        try:
            found = self._objects.get(*split_s3("InputLocation", where))
        except AwsError as error:
            raise _validation_error(
                f"Could not download S3 object {where}: {error.message}"
            ) from error
        if found.size > MAX_BODY:
            raise _validation_error(
                f"{where} has {found.size} bytes, at most {MAX_BODY} can be sent."
            )
        file = self._objects.path(found).open("rb")
        return FilePart(file, 0, found.size), found.headers.get("content-type", "")

    def _handle_outcome(
        self,
        queue: _EndpointQueue,
        waiting: _PendingAsyncRequest,
        exchange: Exchange,
        outcome: Outcome,
        sink: BodyWriter,
    ) -> None:
        """Go on with an outcome: keep it, fail, or send the request again."""
        if isinstance(outcome, Answer) and outcome.status < 300 and not self._closed:
            waiting.values["ModelLatency"] = (exchange.finished - exchange.sent) * 1e6
            self._tasks.start(self._save_result(waiting, outcome, sink))
        else:
            sink.close()
            if self._closed:  # it stays on the disk
                return
            waiting.attempts += outcome is Failure.GONE
            lost = outcome is Failure.GONE and waiting.attempts < ATTEMPTS
            if lost or outcome is Failure.UNAVAILABLE:
                queue.add(waiting, first=True)
                return  # the next tick sends it: what just broke is given a moment
            self._fail(waiting, _describe_failure(outcome, waiting.asked), "InvocationFailures")
        self._dispatch_later(waiting.asked.endpoint)

    def _dispatch_later(self, name: str) -> None:
        asyncio.get_running_loop().call_soon(self._dispatch, name)

    # --- what becomes of them

    async def _save_result(
        self, waiting: _PendingAsyncRequest, answer: Answer, sink: BodyWriter
    ) -> None:
        """Write a result to S3."""
        began = time.perf_counter()
        kind = answer.headers.get("content-type", "")
        try:
            received = await self._backlog.store.run_in_thread(sink.finish)
        except AwsError as error:
            self._fail(waiting, f"InternalError: {error.message}", "ResponseUploadFailures")
            return
        try:
            with self._backlog.store.write():  # both or none, whatever ends this process
                self._put(waiting.asked.output, received, {"content-type": kind})
                notice = self._record_result(waiting, "Completed", content_type=kind)
        except AwsError as error:
            received.path.unlink(missing_ok=True)
            where = f"Could not upload to {waiting.asked.output}"
            self._fail(waiting, f"ClientError: {where}: {error.message}", "ResponseUploadFailures")
            return
        waiting.values["ResponseUploadLatency"] = (time.perf_counter() - began) * 1e6
        await self._notify(waiting.number, notice, waiting)

    def _fail(self, waiting: _PendingAsyncRequest, reason: str, metric: str) -> None:
        waiting.values[metric] = 1
        self._tasks.start(self._save_failure(waiting, reason))

    async def _save_failure(self, waiting: _PendingAsyncRequest, reason: str) -> None:
        """Write what is in place of a result, where it can be, and notify."""
        store, where = self._backlog.store, waiting.asked.failure
        received = None
        if where:
            sink = BodyWriter(self._objects.new_path(), {})
            sink.write(reason.encode())
            try:
                received = await store.run_in_thread(sink.finish)
            except AwsError as error:
                _log.warning("No failure could be written for %s: %s", waiting.asked.id, error)
        with store.write():
            if received is not None and not self._try_put(where, received):
                where = ""
            notice = self._record_result(waiting, "Failed", reason=reason)
        await self._notify(waiting.number, notice, waiting)

    def _try_put(self, where: str, received: StoredBody) -> bool:
        try:
            self._put(where, received, {"content-type": "text/plain"})
        except AwsError as error:
            received.path.unlink(missing_ok=True)
            _log.warning("No failure could be written to %s: %s", where, error.message)
            return False
        return True

    def _put(self, where: str, received: StoredBody, headers: Mapping[str, str]) -> None:
        self._objects.put(*split_s3("S3OutputPath", where), received, headers)

    def _record_result(
        self,
        waiting: _PendingAsyncRequest,
        status: str,
        *,
        reason: str = "",
        content_type: str = "",
    ) -> Notice:
        """Note that a request has its result; return its notification."""
        topic = waiting.asked.topics.get(status, "")
        message = _message(
            waiting, status, topic, at=self._clock(), reason=reason, content_type=content_type
        )
        notice = Notice(topic, json.dumps(message))
        self._backlog.set_notice(waiting.number, notice)
        return notice

    async def _notify(
        self, number: int, notice: Notice, waiting: _PendingAsyncRequest | None
    ) -> None:
        """Send a notification; a topic that is gone is logged and counted, and holds up nothing."""
        values = {} if waiting is None else dict(waiting.values)
        if notice.topic:
            try:
                await self._publish(notice.topic, notice.message)
            except Exception as error:  # noqa: BLE001 - whatever SNS raises, the request is over
                _log.warning("A notification failed: %s", error)
                values["NotificationFailures"] = 1
        self._backlog.remove(number)
        if waiting is not None and self._record is not None:
            values["InvocationsProcessed"] = 1
            values["TotalProcessingTime"] = (self._steady() - waiting.since) * 1e3
            name = waiting.asked.endpoint
            variant = waiting.variant or self._first_variant(name)
            self._record(AsyncMeasurement(name, variant, self._clock(), values))

    def _first_variant(self, name: str) -> str:
        """Return the variant whose metrics count a request that was sent to no variant."""
        endpoint = self._hosting.find(name)
        return endpoint.variants[0].name if endpoint and endpoint.variants else ""


def _validation_error(message: str) -> AwsError:
    return AwsError("ValidationError", message)


def _max_in_flight(endpoint: Endpoint, variant: Variant) -> int:
    """Return how many requests an instance takes at once: by default one for each of its workers.

    AWS says only that SageMaker chooses; this is what the simulator takes, too.
    """
    config = endpoint.async_config or {}
    async_request = config.get("ClientConfig", {}).get("MaxConcurrentInvocationsPerInstance")
    workers = variant.container.get("Environment", {}).get("SAGEMAKER_MODEL_SERVER_WORKERS", "1")
    return int(async_request or (workers if workers.isdigit() else 1))


def _parse_request(request: Request, endpoint: Endpoint) -> AsyncRequest:
    """Return what a request asks for.

    Raises:
        AwsError: It does not keep botocore's model, or asks for what cannot be.
    """
    given = _parse_headers(request)
    where = given.get("InputLocation", "")
    if bool(where) == bool(request.body):
        raise _validation_error(
            "A request has either an InputLocation or a Body, and one of the two."
        )
    if len(request.body) > MAX_INLINE:
        raise _validation_error(
            "1 validation error detected: Value at 'body' failed to satisfy constraint: Member "
            f"must have length less than or equal to {MAX_INLINE}; it has {len(request.body)}. "
            "Put it into S3 and name it as InputLocation."
        )
    if where and not split_s3("InputLocation", where)[1]:
        raise _validation_error(f"InputLocation must name an object, got {where}.")
    output = (endpoint.async_config or {})["OutputConfig"]
    topics = output.get("NotificationConfig", {})
    own = str(uuid.uuid4())  # an InferenceId may come twice; no result may replace another
    extension = given.get("S3OutputPathExtension", "")
    name = given.get("Filename", f"{own}.out")
    failures = output.get("S3FailurePath", "")
    headers = {
        "Content-Type": given.get("ContentType", ""),
        "Accept": given.get("Accept", ""),
        "X-Amzn-SageMaker-Custom-Attributes": given.get("CustomAttributes", ""),
        "X-Amzn-SageMaker-Inference-Id": given.get("InferenceId", own),
    }
    named = {"Completed": topics.get("SuccessTopic"), "Failed": topics.get("ErrorTopic")}
    return AsyncRequest(
        id=given.get("InferenceId", own),
        endpoint=endpoint.name,
        input=where,
        output=_join_path(output["S3OutputPath"], extension, name),
        failure=_join_path(failures, extension, f"{own}-error.out") if failures else "",
        headers={title: value for title, value in headers.items() if value},
        ttl=given.get("RequestTTLSeconds", TTL),
        timeout=given.get("InvocationTimeoutSeconds", TIMEOUT),
        topics={status: topic for status, topic in named.items() if topic},
    )


def _parse_headers(request: Request) -> dict[str, Any]:
    """Return the parameters in a request's headers, checked."""
    shape = validation.operation("sagemaker-runtime", "InvokeEndpointAsync").input_shape
    assert shape is not None  # noqa: S101 - it has one
    given: dict[str, Any] = {"EndpointName": request.path.split("/")[2]}
    for name, member in shape.members.items():
        if member.serialization.get("location") != "header":
            continue
        value = request.headers.get(member.serialization["name"].lower())
        if value is not None:
            whole = member.type_name == "integer" and value.lstrip("-").isdigit()
            given[name] = int(value) if whole else value
    try:
        validation.check(shape, given)
    except AwsError as error:
        raise _validation_error(error.message) from error
    return given


def _join_path(*parts: str) -> str:
    first, *rest = (part.rstrip("/") for part in parts if part)
    return "/".join([first, *(part.lstrip("/") for part in rest)])


def _head(async_request: AsyncRequest, length: int, content_type: str) -> bytes:
    """Return the head of a request; its own content type goes before that of its object in S3."""
    headers = {"Content-Type": content_type, **async_request.headers}
    lines = "".join(f"{title}: {value}\r\n" for title, value in headers.items() if value)
    return (
        f"POST /invocations HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n{lines}\r\n"
    ).encode("latin-1")


def _describe_failure(outcome: Outcome, async_request: AsyncRequest) -> str:
    """Return why there is no result, as AWS words it where it does."""
    if isinstance(outcome, Answer):
        said = outcome.body.decode("utf-8", "replace")[:_MAX_ERROR_CHARACTERS]
        side = "client" if outcome.status < 500 else "server"
        return f'Received {side} error ({outcome.status}) from model with message "{said}"'
    if outcome is Failure.TIMEOUT:
        return f"The invocation timed out: no answer within {async_request.timeout} seconds."
    if outcome is Failure.TOO_LARGE:
        return f"The response is larger than {MAX_BODY} bytes."
    return f"The container ended {ATTEMPTS} times before it answered. Review its log."


def _message(
    waiting: _PendingAsyncRequest,
    status: str,
    topic: str,
    *,
    at: float,
    reason: str,
    content_type: str,
) -> dict[str, Any]:
    """Return a notification (developer guide, "Check prediction results")."""
    async_request = waiting.asked
    request = {
        "contentType": async_request.headers.get("Content-Type", ""),
        "endpointName": async_request.endpoint,
        "inputLocation": async_request.input,
    }
    answer = {"contentType": content_type, "outputLocation": async_request.output}
    message: dict[str, Any] = {
        "awsRegion": topic.split(":")[3] if topic else "",
        "eventTime": _iso(max(at, waiting.received)),  # the clock may have been set back
        "receivedTime": _iso(waiting.received),
        "invocationStatus": status,
        "requestParameters": {name: value for name, value in request.items() if value},
        "inferenceId": async_request.id,
        "eventVersion": "1.0",
        "eventSource": "aws:sagemaker",
        "eventName": "InferenceResult",
    }
    if status == "Completed":
        return message | {"responseParameters": answer}
    failed = {"failureLocation": async_request.failure} if async_request.failure else {}
    return message | {"failureReason": reason, "responseParameters": failed}


def _iso(seconds: float) -> str:
    text = datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")
    return text.replace("+00:00", "Z")
