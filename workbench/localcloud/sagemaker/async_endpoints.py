"""InvokeEndpointAsync: requests that wait on the disk, and results that go to S3.

A request is sent to an instance until it has an answer, if need be again after a restart, and its
result is written once. Names, limits and messages are those of botocore's service model and of the
SageMaker developer guide ("Asynchronous inference").
"""

import asyncio
import json
import logging
import math
import time
import uuid
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from workbench.localcloud.cloudwatch.metrics import Metrics, metric_key
from workbench.localcloud.core import validation
from workbench.localcloud.core.http_client import Answer, Exchange, Failure, Outcome, build_head
from workbench.localcloud.core.protocol import (
    ACCOUNT,
    AwsError,
    format_time,
    json_error,
    json_response,
)
from workbench.localcloud.core.tasks import TaskSet
from workbench.localcloud.s3.objects import ObjectStore
from workbench.localcloud.s3.uploads import BodyWriter, StoredBody
from workbench.localcloud.sagemaker.async_queue import AsyncQueue, AsyncRequest, Notice
from workbench.localcloud.sagemaker.endpoint_api import EndpointApi
from workbench.localcloud.sagemaker.endpoints import Endpoint, Variant, draw_variant
from workbench.localcloud.sagemaker.invoke import runtime_error, size_error
from workbench.localcloud.sagemaker.metering import INVOCATIONS
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
_UNITS = {  # of metrics (developer guide, "Monitor asynchronous endpoint", read 2026-11-23)
    "ApproximateAgeOfOldestRequest": "Seconds",
    "ModelLatency": "Microseconds",
    "RequestDownloadLatency": "Microseconds",
    "ResponseUploadLatency": "Microseconds",
    "TimeInBacklog": "Milliseconds",
    "TotalProcessingTime": "Milliseconds",
}  # all others are counts; the backlog is an endpoint's, everything else a variant's
_log = logging.getLogger("workbench.localcloud")

Publish = Callable[[str, str], Awaitable[None]]
"""Sends a message to a topic, or raises an error."""


@dataclass(slots=True)
class _PendingAsyncRequest:
    """A request that waits or is under way, since an instant of the steady clock."""

    number: int
    asked: AsyncRequest
    received: float
    since: float
    attempts: int = 0
    variant: str = ""
    values: dict[str, float] = field(default_factory=dict)  # by metric, in its unit

    @property
    def deadline(self) -> float:
        return self.since + self.asked.ttl


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

    Metrics get those of requests and, ten times a second, of backlogs.

    Args:
        hosting, backlog: Know the endpoints, and keep the requests.
        objects: S3, for bodies and results.
        publish: Sends notifications.
        clock: Gives seconds since 1970, for what is written; it may jump.
        steady: Gives seconds that pass evenly, for what is waited for.
    """

    def __init__(
        self,
        hosting: EndpointApi,
        backlog: AsyncQueue,
        objects: ObjectStore,
        publish: Publish,
        metrics: Metrics,
        *,
        clock: Callable[[], float] = time.time,
        steady: Callable[[], float] = time.monotonic,
    ) -> None:
        self._hosting = hosting
        self._backlog = backlog
        self._objects = objects
        self._publish = publish
        self._metrics = metrics
        self._clock = clock
        self._steady = steady
        self._lines: dict[str, _EndpointQueue] = {}
        self._tasks = TaskSet()
        self._ticking: asyncio.TimerHandle | None = None
        self._closed = False

    def start(self) -> None:
        """Take up the requests that were there when the local cloud ended."""
        for number, received, asked in self._backlog.list_unanswered():
            # clocks may have been set
            age = min(max(0.0, self._clock() - received), float(asked.ttl))
            self._queue(number, asked, received, self._steady() - age)
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
            raise runtime_error(f"Endpoint {name} of account {ACCOUNT} not found.")
        if endpoint.async_config is None:
            raise runtime_error(f"Endpoint {name} of account {ACCOUNT} is not asynchronous.")
        asked = _parse_request(request, endpoint)
        received = self._clock()
        number = self._backlog.add(asked, received, None if asked.input else request.body)
        self._queue(number, asked, received, self._steady())
        self._dispatch(name)
        headers = [("X-Amzn-SageMaker-OutputLocation", asked.output)]
        if asked.failure:
            headers.append(("X-Amzn-SageMaker-FailureLocation", asked.failure))
        response = json_response({"InferenceId": asked.id}, 202)
        response.headers = [*response.headers, *headers]
        return response

    def _queue(self, number: int, asked: AsyncRequest, received: float, since: float) -> None:
        queue = self._lines.setdefault(asked.endpoint, _EndpointQueue())
        queue.add(_PendingAsyncRequest(number, asked, received, since))

    # --- sending them to instances

    def _tick(self) -> None:
        """Look after what no event announces: instances that came up, and requests grown old."""
        self._ticking = asyncio.get_running_loop().call_later(_TICK, self._tick)
        for name in list(self._lines):
            self._dispatch(name)
        for name, gauges in self._gauges():
            self._measure(gauges, EndpointName=name)

    def _measure(self, values: Mapping[str, float], **dimensions: str) -> None:
        for name, value in values.items():
            key, unit = metric_key(INVOCATIONS, name, dimensions), _UNITS.get(name, "Count")
            self._metrics.put(key, value, at=self._clock(), unit=unit)

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
        return draw_variant(free) if free else None

    def _send(self, queue: _EndpointQueue, waiting: _PendingAsyncRequest, variant: Variant) -> None:
        began = time.perf_counter()
        waiting.variant = variant.name
        waiting.values = {"TimeInBacklog": (self._steady() - waiting.since) * 1e3}
        try:
            body, content_type = self._load_body(waiting)
        except (AwsError, OSError) as error:
            side = "ClientError" if isinstance(error, AwsError) else "InternalError"
            self._fail(waiting, f"{side}: {error}", "RequestDownloadFailures")
            return
        waiting.values["RequestDownloadLatency"] = (time.perf_counter() - began) * 1e6
        queue.running[variant.fleet] += 1
        sink = BodyWriter(self._objects.new_path(), {})
        length = body.length if isinstance(body, FilePart) else len(body)
        # its own content type goes before that of its object in S3
        headers = {"Content-Type": content_type, **waiting.asked.headers}
        head = build_head(length, [(title, value) for title, value in headers.items() if value])

        def done(exchange: Exchange, outcome: Outcome) -> None:
            if isinstance(body, FilePart):
                body.file.close()
            queue.running[variant.fleet] -= 1
            if not queue.running[variant.fleet]:
                del queue.running[variant.fleet]
            self._handle_outcome(queue, waiting, exchange, outcome, sink)

        limit = waiting.asked.timeout
        variant.fleet.serve(
            Exchange(head, body, done, time_limit=limit, max_answer=MAX_BODY, sink=sink.write)
        )

    def _load_body(self, waiting: _PendingAsyncRequest) -> tuple[bytes | FilePart, str]:
        """Return the body of a request, and the content type of the object that it is in S3."""
        where = waiting.asked.input
        if not where:
            return self._backlog.body(waiting.number) or b"", ""
        try:
            found = self._objects.get(*split_s3("InputLocation", where))
        except AwsError as error:
            raise runtime_error(f"Could not download S3 object {where}: {error.message}") from error
        if found.size > MAX_BODY:
            raise runtime_error(f"{where} has {found.size} bytes, at most {MAX_BODY} can be sent.")
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
        asyncio.get_running_loop().call_soon(self._dispatch, waiting.asked.endpoint)

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
                notice = self._record_result(
                    waiting,
                    "Completed",
                    {"contentType": kind, "outputLocation": waiting.asked.output},
                )
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
            if received is not None:
                try:
                    self._put(where, received, {"content-type": "text/plain"})
                except AwsError as error:
                    received.path.unlink(missing_ok=True)
                    _log.warning("No failure could be written to %s: %s", where, error.message)
            notice = self._record_result(
                waiting, "Failed", {"failureLocation": where} if where else {}, reason
            )
        await self._notify(waiting.number, notice, waiting)

    def _put(self, where: str, received: StoredBody, headers: Mapping[str, str]) -> None:
        self._objects.put(*split_s3("S3OutputPath", where), received, headers)

    def _record_result(
        self,
        waiting: _PendingAsyncRequest,
        status: str,
        result: Mapping[str, str],
        reason: str = "",
    ) -> Notice:
        """Note that a request has its result; return its notification.

        That is as in the developer guide, "Check prediction results".
        """
        asked, topic = waiting.asked, waiting.asked.topics.get(status, "")
        request = {
            "contentType": asked.headers.get("Content-Type", ""),
            "endpointName": asked.endpoint,
            "inputLocation": asked.input,
        }
        message = {
            "awsRegion": topic.split(":")[3] if topic else "",
            # the clock may have been set back
            "eventTime": format_time(max(self._clock(), waiting.received), "milliseconds"),
            "receivedTime": format_time(waiting.received, "milliseconds"),
            "invocationStatus": status,
            "requestParameters": {name: value for name, value in request.items() if value},
            "inferenceId": asked.id,
            "eventVersion": "1.0",
            "eventSource": "aws:sagemaker",
            "eventName": "InferenceResult",
            "responseParameters": result,
            **({"failureReason": reason} if reason else {}),
        }
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
        if waiting is None:
            return
        values["InvocationsProcessed"] = 1
        values["TotalProcessingTime"] = (self._steady() - waiting.since) * 1e3
        name = waiting.asked.endpoint
        endpoint = self._hosting.find(name)
        variants = [each.name for each in endpoint.variants] if endpoint else []
        # one that was sent to no variant counts for the first, of a deleted endpoint for none
        if variant := waiting.variant or next(iter(variants), ""):
            self._measure(values, EndpointName=name, VariantName=variant)


def _max_in_flight(endpoint: Endpoint, variant: Variant) -> int:
    """Return how many requests an instance takes at once: by default one for each worker."""
    # AWS says only that SageMaker chooses; this is what the simulator takes, too
    config = endpoint.async_config or {}
    most = config.get("ClientConfig", {}).get("MaxConcurrentInvocationsPerInstance")
    workers = variant.container.get("Environment", {}).get("SAGEMAKER_MODEL_SERVER_WORKERS", "1")
    return int(most or (workers if workers.isdecimal() else 1)) or 1


def _parse_request(request: Request, endpoint: Endpoint) -> AsyncRequest:
    """Return what a request asks for, or refuse it."""
    given = _parse_headers(request)
    where = given.get("InputLocation", "")
    if bool(where) == bool(request.body):
        raise runtime_error("A request has either an InputLocation or a Body, and one of the two.")
    if len(request.body) > MAX_INLINE:
        advice = " Put it into S3 and name it as InputLocation."
        raise size_error(len(request.body), MAX_INLINE, advice)
    if where and not split_s3("InputLocation", where)[1]:
        raise runtime_error(f"InputLocation must name an object, got {where}.")
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
        if member.serialization.get("location") == "header":
            value = request.headers.get(member.serialization["name"].lower())
            if value is not None:
                given[name] = validation.convert_text(member, value)
    try:
        validation.check(shape, given)
    except AwsError as error:
        raise runtime_error(error.message) from error
    return given


def _join_path(*parts: str) -> str:
    first, *rest = (part.rstrip("/") for part in parts if part)
    return "/".join([first, *(part.lstrip("/") for part in rest)])


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
