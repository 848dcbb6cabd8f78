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
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from workbench.localcloud.core import validation
from workbench.localcloud.core.http_client import Answer, Exchange, Failure, Outcome
from workbench.localcloud.core.protocol import ACCOUNT, AwsError, json_answer, json_refusal
from workbench.localcloud.s3.objects import Objects
from workbench.localcloud.s3.uploads import Incoming, Received
from workbench.localcloud.sagemaker.async_queue import Asked, Backlog, Notice
from workbench.localcloud.sagemaker.endpoint_api import Hosting
from workbench.localcloud.sagemaker.endpoints import Endpoint, Variant
from workbench.localcloud.sagemaker.models import split_s3
from workbench.localcloud.sandbox.fleets import Fleet
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
_SHOWN = 2000  # characters of a model's own error
_log = logging.getLogger("workbench.localcloud")

Publish = Callable[[str, str], Awaitable[None]]
"""Sends a message to a topic, or raises AwsError."""


@dataclass(frozen=True, slots=True)
class Measured:
    """What CloudWatch is told of requests: values by metric, with AWS's names and units.

    Counts; TimeInBacklog and TotalProcessingTime in milliseconds; ModelLatency,
    RequestDownloadLatency and ResponseUploadLatency in microseconds.
    """

    endpoint: str
    variant: str
    at: float
    values: Mapping[str, float]


@dataclass(slots=True)
class _Waiting:
    """A request that waits or is under way; `deadline` and `since` by the steady clock."""

    number: int
    asked: Asked
    received: float
    since: float
    deadline: float
    attempts: int = 0
    variant: str = ""
    values: dict[str, float] = field(default_factory=dict)


@dataclass(slots=True)
class _Line:
    """What waits for one endpoint, and how many are under way at each fleet."""

    waiting: deque[_Waiting] = field(default_factory=deque)
    running: Counter[Fleet] = field(default_factory=Counter)
    expiry: float = math.inf

    def add(self, waiting: _Waiting, *, first: bool = False) -> None:
        self.expiry = min(self.expiry, waiting.deadline)
        if first:
            self.waiting.appendleft(waiting)
        else:
            self.waiting.append(waiting)

    def expired(self, now: float) -> list[_Waiting]:
        """Return those that waited too long, which wait no longer."""
        if now < self.expiry:
            return []
        late = [each for each in self.waiting if each.deadline <= now]
        self.waiting = deque(each for each in self.waiting if each.deadline > now)
        self.expiry = min((each.deadline for each in self.waiting), default=math.inf)
        return late


class Asynchronous:
    """Answers `POST /endpoints/<name>/async-invocations`, and works on what was asked.

    Args:
        hosting: Knows the endpoints.
        backlog: Keeps the requests.
        objects: S3, for bodies and results.
        publish: Sends notifications.
        record: Called with what CloudWatch is to be told of a request.
        observe: Called ten times a second with an endpoint's name, the metrics of its backlog by
            AWS's names, and the time.
        clock: Gives seconds since 1970, for what is written; it may jump.
        steady: Gives seconds that pass evenly, for what is waited for.
        generator: Draws variants by weight.
    """

    def __init__(
        self,
        hosting: Hosting,
        backlog: Backlog,
        objects: Objects,
        publish: Publish,
        *,
        record: Callable[[Measured], None] | None = None,
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
        self._lines: dict[str, _Line] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._ticking: asyncio.TimerHandle | None = None
        self._closed = False

    def start(self) -> None:
        """Take up the requests that were there when the local cloud ended."""
        now, wall = self._steady(), self._clock()
        for number, received, asked in self._backlog.waiting():
            age = min(max(0.0, wall - received), float(asked.ttl))  # clocks may have been set
            self._queue(_Waiting(number, asked, received, now - age, now - age + asked.ttl))
        for number, notice in self._backlog.unsent():
            self._work(self._notify(number, notice, None))
        self._tick()

    async def close(self) -> None:
        """Stop; what has no result yet stays on the disk."""
        self._closed = True
        if self._ticking is not None:
            self._ticking.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def backlogs(self) -> list[dict[str, Any]]:
        """Return each endpoint's metrics of its backlog, by AWS's names."""
        return [{"endpoint": name, **gauges} for name, gauges in self._gauges()]

    def _gauges(self) -> Iterator[tuple[str, dict[str, float]]]:
        for endpoint in self._hosting.endpoints:
            if endpoint.asynchronous is not None:
                line = self._lines.get(endpoint.name, _Line())
                yield endpoint.name, self._backlog_of(endpoint, line)

    def _backlog_of(self, endpoint: Endpoint, line: _Line) -> dict[str, float]:
        instances = sum(len(variant.fleet.instances) for variant in endpoint.variants)
        size = len(line.waiting) + line.running.total()
        now = self._steady()
        oldest = line.waiting[0].since if line.waiting else now  # those sent again are in front
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
            reply(self._taken(request))
        except AwsError as error:
            reply(json_refusal(error))

    def _taken(self, request: Request) -> Response:
        name = request.path.removeprefix("/endpoints/").partition("/")[0]
        endpoint = self._hosting.serving(name)
        if endpoint is None:
            raise _invalid(f"Endpoint {name} of account {ACCOUNT} not found.")
        if endpoint.asynchronous is None:
            raise _invalid(f"Endpoint {name} of account {ACCOUNT} is not asynchronous.")
        asked = _asked(request, endpoint)
        body = None if asked.input else request.body
        received, now = self._clock(), self._steady()
        number = self._backlog.add(asked, received, body)
        self._queue(_Waiting(number, asked, received, now, now + asked.ttl))
        self._pump(name)
        told = [("X-Amzn-SageMaker-OutputLocation", asked.output)]
        if asked.failure:
            told.append(("X-Amzn-SageMaker-FailureLocation", asked.failure))
        response = json_answer({"InferenceId": asked.id})
        response.status = 202
        response.headers = [*response.headers, *told]
        return response

    def _queue(self, waiting: _Waiting) -> None:
        self._lines.setdefault(waiting.asked.endpoint, _Line()).add(waiting)

    # --- sending them to instances

    def _tick(self) -> None:
        """Look after what no event tells of: instances that came up, and requests grown old."""
        for name in list(self._lines):
            self._pump(name)
        if self._observe is not None:
            for name, gauges in self._gauges():
                self._observe(name, gauges, self._clock())
        if not self._closed:
            self._ticking = asyncio.get_running_loop().call_later(_TICK, self._tick)

    def _pump(self, name: str) -> None:
        """Send what can be sent, and fail what cannot be answered any more."""
        line = self._lines.get(name)
        if line is None or self._closed:
            return
        for late in line.expired(self._steady()):
            waited = f"The request expired: it waited longer than {late.asked.ttl} seconds."
            self._fail(late, waited, "ExpiredRequests")
        endpoint = self._hosting.known(name)
        if endpoint is None:
            for waiting in line.waiting:
                self._fail(waiting, f"The endpoint {name} was deleted.", "InvocationFailures")
            line.waiting.clear()
            if not line.running.total():
                del self._lines[name]
            return
        while line.waiting and (variant := self._free(endpoint, line)) is not None:
            self._send(line, line.waiting.popleft(), variant)

    def _free(self, endpoint: Endpoint, line: _Line) -> Variant | None:
        """Return a variant that can take one more, drawn by weight."""
        free = [
            variant
            for variant in endpoint.variants
            if line.running[variant.fleet] < len(variant.fleet.instances) * _most(endpoint, variant)
        ]
        if len(free) < 2:
            return free[0] if free else None
        weights = [variant.weight for variant in free]
        return self._generator.choices(free, weights if any(weights) else None)[0]

    def _send(self, line: _Line, waiting: _Waiting, variant: Variant) -> None:
        began = time.perf_counter()
        waiting.variant = variant.name
        waiting.values = {"TimeInBacklog": (self._steady() - waiting.since) * 1e3}
        try:
            body = self._body(waiting)
        except AwsError as error:
            self._fail(waiting, f"ClientError: {error.message}", "RequestDownloadFailures")
            return
        waiting.values["RequestDownloadLatency"] = (time.perf_counter() - began) * 1e6
        line.running[variant.fleet] += 1
        sink = Incoming(self._objects.arriving(), {})
        length = body.length if isinstance(body, FilePart) else len(body)

        def done(exchange: Exchange, outcome: Outcome) -> None:
            if isinstance(body, FilePart):
                body.file.close()
            line.running[variant.fleet] -= 1
            if not line.running[variant.fleet]:
                del line.running[variant.fleet]
            self._done(line, waiting, exchange, outcome, sink)

        variant.fleet.serve(
            Exchange(
                _head(waiting.asked, length),
                body,
                done,
                time_limit=waiting.asked.timeout,
                max_answer=MAX_BODY,
                sink=sink,
            )
        )

    def _body(self, waiting: _Waiting) -> bytes | FilePart:
        """Return the body of a request, which lies in a file where it came from S3.

        Raises:
            AwsError: It is not there, or too large.
        """
        where = waiting.asked.input
        if not where:
            return self._backlog.body(waiting.number) or b""
        try:
            found = self._objects.get(*split_s3("InputLocation", where))
        except AwsError as error:
            raise _invalid(f"Could not download S3 object {where}: {error.message}") from error
        if found.size > MAX_BODY:
            raise _invalid(f"{where} has {found.size} bytes, at most {MAX_BODY} can be sent.")
        return FilePart(self._objects.path(found).open("rb"), 0, found.size)

    def _done(
        self, line: _Line, waiting: _Waiting, exchange: Exchange, outcome: Outcome, sink: Incoming
    ) -> None:
        """Go on with an outcome: keep it, fail, or send the request again."""
        if isinstance(outcome, Answer) and outcome.status < 300 and not self._closed:
            waiting.values["ModelLatency"] = (exchange.finished - exchange.sent) * 1e6
            self._work(self._keep(waiting, outcome, sink))
        else:
            sink.close()
            if self._closed:  # it stays on the disk
                return
            waiting.attempts += outcome is Failure.GONE
            lost = outcome is Failure.GONE and waiting.attempts < ATTEMPTS
            if lost or outcome is Failure.UNAVAILABLE:
                line.add(waiting, first=True)
                return  # the next tick sends it: what just broke is given a moment
            self._fail(waiting, _reason(outcome, waiting.asked), "InvocationFailures")
        self._pump_later(waiting.asked.endpoint)

    def _pump_later(self, name: str) -> None:
        asyncio.get_running_loop().call_soon(self._pump, name)

    # --- what becomes of them

    async def _keep(self, waiting: _Waiting, answer: Answer, sink: Incoming) -> None:
        """Write a result to S3."""
        began = time.perf_counter()
        kind = answer.headers.get("content-type", "")
        try:
            received = await self._backlog.store.aside(sink.finish)
        except AwsError as error:
            self._fail(waiting, f"InternalError: {error.message}", "ResponseUploadFailures")
            return
        try:
            with self._backlog.store.write():  # both or none, whatever ends this process
                self._put(waiting.asked.output, received, {"content-type": kind})
                notice = self._answered(waiting, "Completed", content_type=kind)
        except AwsError as error:
            received.path.unlink(missing_ok=True)
            where = f"Could not upload to {waiting.asked.output}"
            self._fail(waiting, f"ClientError: {where}: {error.message}", "ResponseUploadFailures")
            return
        waiting.values["ResponseUploadLatency"] = (time.perf_counter() - began) * 1e6
        await self._notify(waiting.number, notice, waiting)

    def _fail(self, waiting: _Waiting, reason: str, metric: str) -> None:
        waiting.values[metric] = 1
        self._work(self._failed(waiting, reason))

    async def _failed(self, waiting: _Waiting, reason: str) -> None:
        """Write what is in place of a result, where it can be, and tell."""
        store, where = self._backlog.store, waiting.asked.failure
        received = None
        if where:
            sink = Incoming(self._objects.arriving(), {})
            sink.write(reason.encode())
            try:
                received = await store.aside(sink.finish)
            except AwsError as error:
                _log.warning("No failure could be written for %s: %s", waiting.asked.id, error)
        with store.write():
            if received is not None and not self._try_put(where, received):
                where = ""
            notice = self._answered(waiting, "Failed", reason=reason)
        await self._notify(waiting.number, notice, waiting)

    def _try_put(self, where: str, received: Received) -> bool:
        try:
            self._put(where, received, {"content-type": "text/plain"})
        except AwsError as error:
            received.path.unlink(missing_ok=True)
            _log.warning("No failure could be written to %s: %s", where, error.message)
            return False
        return True

    def _put(self, where: str, received: Received, headers: Mapping[str, str]) -> None:
        self._objects.put(*split_s3("S3OutputPath", where), received, headers)

    def _answered(
        self, waiting: _Waiting, status: str, *, reason: str = "", content_type: str = ""
    ) -> Notice:
        """Note that a request has its result; return what is to be told of it."""
        topic = waiting.asked.topics.get(status, "")
        message = _message(
            waiting, status, topic, at=self._clock(), reason=reason, content_type=content_type
        )
        notice = Notice(topic, json.dumps(message))
        self._backlog.answered(waiting.number, notice)
        return notice

    async def _notify(self, number: int, notice: Notice, waiting: _Waiting | None) -> None:
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
            self._record(Measured(name, variant, self._clock(), values))

    def _first_variant(self, name: str) -> str:
        """Return whose metrics tell of a request that was sent to no variant."""
        endpoint = self._hosting.known(name)
        return endpoint.variants[0].name if endpoint and endpoint.variants else ""

    def _work(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._over)

    def _over(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error("An asynchronous request failed here.", exc_info=error)


def _invalid(message: str) -> AwsError:
    return AwsError("ValidationError", message)


def _most(endpoint: Endpoint, variant: Variant) -> int:
    """Return how many requests an instance takes at once: by default one for each of its workers.

    AWS says only that SageMaker chooses; this is what the simulator takes, too.
    """
    config = endpoint.asynchronous or {}
    asked = config.get("ClientConfig", {}).get("MaxConcurrentInvocationsPerInstance")
    workers = variant.container.get("Environment", {}).get("SAGEMAKER_MODEL_SERVER_WORKERS", "1")
    return int(asked or (workers if workers.isdigit() else 1))


def _asked(request: Request, endpoint: Endpoint) -> Asked:
    """Return what a request asks for.

    Raises:
        AwsError: It does not keep botocore's model, or asks for what cannot be.
    """
    given = _given(request)
    where = given.get("InputLocation", "")
    if bool(where) == bool(request.body):
        raise _invalid("A request has either an InputLocation or a Body, and one of the two.")
    if len(request.body) > MAX_INLINE:
        raise _invalid(
            "1 validation error detected: Value at 'body' failed to satisfy constraint: Member "
            f"must have length less than or equal to {MAX_INLINE}; it has {len(request.body)}. "
            "Put it into S3 and name it as InputLocation."
        )
    if where and not split_s3("InputLocation", where)[1]:
        raise _invalid(f"InputLocation must name an object, got {where}.")
    output = (endpoint.asynchronous or {})["OutputConfig"]
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
    return Asked(
        id=given.get("InferenceId", own),
        endpoint=endpoint.name,
        input=where,
        output=_joined(output["S3OutputPath"], extension, name),
        failure=_joined(failures, extension, f"{own}-error.out") if failures else "",
        headers={title: value for title, value in headers.items() if value},
        ttl=given.get("RequestTTLSeconds", TTL),
        timeout=given.get("InvocationTimeoutSeconds", TIMEOUT),
        topics={status: topic for status, topic in named.items() if topic},
    )


def _given(request: Request) -> dict[str, Any]:
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
        raise _invalid(error.message) from error
    return given


def _joined(*parts: str) -> str:
    first, *rest = (part.rstrip("/") for part in parts if part)
    return "/".join([first, *(part.lstrip("/") for part in rest)])


def _head(asked: Asked, length: int) -> bytes:
    lines = "".join(f"{title}: {value}\r\n" for title, value in asked.headers.items())
    return (
        f"POST /invocations HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n{lines}\r\n"
    ).encode("latin-1")


def _reason(outcome: Outcome, asked: Asked) -> str:
    """Return why there is no result, as AWS words it where it does."""
    if isinstance(outcome, Answer):
        said = outcome.body.decode("utf-8", "replace")[:_SHOWN]
        side = "client" if outcome.status < 500 else "server"
        return f'Received {side} error ({outcome.status}) from model with message "{said}"'
    if outcome is Failure.TIMEOUT:
        return f"The invocation timed out: no answer within {asked.timeout} seconds."
    if outcome is Failure.TOO_LARGE:
        return f"The response is larger than {MAX_BODY} bytes."
    return f"The container ended {ATTEMPTS} times before it answered. Review its log."


def _message(
    waiting: _Waiting, status: str, topic: str, *, at: float, reason: str, content_type: str
) -> dict[str, Any]:
    """Return a notification (developer guide, "Check prediction results")."""
    asked = waiting.asked
    request = {
        "contentType": asked.headers.get("Content-Type", ""),
        "endpointName": asked.endpoint,
        "inputLocation": asked.input,
    }
    answer = {"contentType": content_type, "outputLocation": asked.output}
    message: dict[str, Any] = {
        "awsRegion": topic.split(":")[3] if topic else "",
        "eventTime": _iso(max(at, waiting.received)),  # the clock may have been set back
        "receivedTime": _iso(waiting.received),
        "invocationStatus": status,
        "requestParameters": {name: value for name, value in request.items() if value},
        "inferenceId": asked.id,
        "eventVersion": "1.0",
        "eventSource": "aws:sagemaker",
        "eventName": "InferenceResult",
    }
    if status == "Completed":
        return message | {"responseParameters": answer}
    failed = {"failureLocation": asked.failure} if asked.failure else {}
    return message | {"failureReason": reason, "responseParameters": failed}


def _iso(seconds: float) -> str:
    text = datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")
    return text.replace("+00:00", "Z")
