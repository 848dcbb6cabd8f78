"""Lambda's Invoke: from a client's call to an environment and back, with its log lines and metrics.

Errors and payloads are worded as AWS words them, because programs read them. Sources: Lambda API
Reference, "Invoke", and developer guide, "Understanding retry behavior", "View CloudWatch logs".
"""

import base64
import json
import logging
import math
import random
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import parse_qs

import orjson

from workbench.localcloud.cloudwatch.log_writer import LogBatch, LogWriter
from workbench.localcloud.core.http_client import Answer, Exchange, Failure, Outcome
from workbench.localcloud.core.protocol import AwsError, format_time, json_error
from workbench.localcloud.lambda_.code_packages import user_error
from workbench.localcloud.lambda_.metrics import FunctionInvocation
from workbench.localcloud.lambda_.runtime import MAX_ANSWER, FunctionEvent, encode_failure
from workbench.localcloud.lambda_.versions import (
    Function,
    FunctionTable,
    Target,
    Version,
    not_active_error,
)
from workbench.modelserver.http import Reply, Request, Response
from workbench.units import MB

MAX_PAYLOAD = 6_291_456
"""Bytes of an event that is waited for (Lambda API Reference, "Invoke")."""

MAX_EVENT = 1_048_576
"""Bytes of an event that is not."""

PATH = "/2015-03-31/functions/"
_ACTION = "/invocations"
_TIMEOUT_ERROR = "Sandbox.Timedout"
_TAIL_BYTES = 4096  # bytes of LogResult
_log = logging.getLogger("workbench.localcloud")


class FunctionInvoker:
    """Answers `POST /2015-03-31/functions/<name>/invocations`.

    An event that nobody waits for (InvocationType Event) is tried once, where AWS tries it thrice.

    Args:
        functions: Knows the functions.
        log_writer: Gets what functions write, with AWS's START, END and REPORT lines.
        record: Called with each call, once it is over.
    """

    def __init__(
        self,
        functions: FunctionTable,
        log_writer: LogWriter,
        record: Callable[[FunctionInvocation], None],
    ) -> None:
        self.log_writer = log_writer
        self.record = record
        self._functions = functions
        self._generator = random.Random()  # noqa: S311 - routing is no secret

    @staticmethod
    def takes(request: Request) -> bool:
        """Whether a request is an Invoke."""
        path = request.path
        return request.method == "POST" and path.startswith(PATH) and path.endswith(_ACTION)

    def handle(self, request: Request, reply: Reply) -> None:
        """Answer a request, now or when the function has."""
        received = time.perf_counter()
        kind = request.headers.get("x-amz-invocation-type", "RequestResponse")
        try:
            target = self._find_target(request, kind)
            context = _parse_context(request)
        except AwsError as error:
            reply(json_error(error))
            return
        if kind == "DryRun":
            reply(Response(204, bodiless=True))
            return
        version = target.version
        call = _PendingFunctionCall(self, request, reply, target, received, kind == "Event")
        event = FunctionEvent(
            b"",  # the Runtime API writes a head of its own
            request.body or b"{}",
            call.done,
            id=str(uuid.uuid4()),
            arn=target.arn,
            time_limit=float(version.facts["Timeout"]),
            context=context,
        )
        if kind == "Event":
            # AWS answers as soon as the event is queued, whatever becomes of it
            reply(Response(202, headers=[("x-amzn-requestid", event.id)]))
        if self._functions.full(target.function) or version.fleet is None:
            event.finish(Failure.THROTTLED)
        else:
            version.fleet.serve(event)

    def invoke_event(self, function: str, event: str) -> None:
        """Call a function, by name or ARN, with an event that nobody waits for; called in the loop.

        One that is gone, or not Active, is logged, because no client waits for it.
        """
        request = Request()
        request.method, request.path = "POST", f"{PATH}{function}{_ACTION}"
        request.headers = {"x-amz-invocation-type": "Event"}
        request.body = event.encode()

        def log_failure(response: Response) -> None:
            if response.status >= 300:
                _log.warning("%s was not called: %s", function, response.body)

        self.handle(request, log_failure)

    def _find_target(self, request: Request, kind: str) -> Target:
        """Return whom a request is for; of an alias with weights the version that was drawn."""
        name = request.path[len(PATH) : -len(_ACTION)]
        qualifier = parse_qs(request.query).get("Qualifier", [None])[0] if request.query else None
        target = self._functions.find(name, qualifier)
        if target.alias is not None and target.alias.weights:
            drawn = target.alias.draw_version(self._generator)
            target = target._replace(version=target.function.versions[drawn])
        if kind not in ("RequestResponse", "Event", "DryRun"):
            raise AwsError("ValidationException", f"There is no invocation type {kind!r}.")
        limit = MAX_EVENT if kind == "Event" else MAX_PAYLOAD
        if len(request.body) > limit:
            raise user_error(
                "RequestTooLargeException",
                f"Request must be smaller than {limit} bytes for the InvokeFunction operation",
                413,
            )
        try:
            orjson.loads(request.body or b"{}")
        except orjson.JSONDecodeError as error:
            raise _content_error(f"Could not parse request body into json: {error}") from error
        if not target.version.active:
            raise not_active_error(target.version)
        return target


@dataclass(frozen=True, slots=True)
class _PendingFunctionCall:
    """A client's call on its way."""

    invoker: FunctionInvoker
    request: Request
    reply: Reply
    target: Target
    received: float
    discard_response: bool

    def done(self, exchange: Exchange, outcome: Outcome) -> None:
        """Answer the client, and record the invocation."""
        assert isinstance(exchange, FunctionEvent)  # noqa: S101 - this is where it was made
        function, version, qualifier = self.target
        # it is no longer counted by now
        under_way = function.under_way + 1
        report = None
        if failure := _make_error(outcome, exchange, function):
            error, response = failure.code, json_error(failure)
        else:
            error, body = _parse_result(outcome, exchange)
            report = _Report(exchange, version, error, time.time())
            if self.request.headers.get("x-amz-log-type") == "Tail":
                report.kept = report.lines()
            response = self._respond(report, body)
        if not self.discard_response:
            self.reply(response)
        # the client does not wait for what is only written down
        if report is not None:
            report.note(self.invoker.log_writer)
        self.invoker.record(
            FunctionInvocation(
                function=function.name,
                version=version.name,
                qualifier=qualifier or version.name,
                at=time.time(),
                error=error,
                throttled=outcome is Failure.THROTTLED,
                duration=report.duration if report else None,
                under_way=under_way,
            )
        )

    def _respond(self, report: "_Report", body: bytes) -> Response:
        event = report.event
        headers = [
            ("x-amzn-requestid", event.id),
            ("X-Amz-Executed-Version", self.target.version.name),
            ("x-workbench-instance", str(event.worker)),
        ]
        if report.error:
            headers.append(("X-Amz-Function-Error", "Unhandled"))
        if report.kept is not None:
            headers.append(("X-Amz-Log-Result", report.tail()))
        overhead = time.perf_counter() - self.received - report.duration
        headers.append(("x-workbench-overhead-latency", f"{overhead * 1e6:.0f}"))
        return Response(200, body, "application/json", headers)


@dataclass(slots=True)
class _Report:
    """What Logs say of a call; written when somebody reads it, unless it is `kept`."""

    event: FunctionEvent
    version: Version
    error: str
    at: float
    kept: list[str] | None = None

    @property
    def duration(self) -> float:
        """Seconds that the function took, INIT apart; none where that failed."""
        return self.event.finished - self.event.sent if self.event.sent else 0.0

    def lines(self) -> list[str]:
        """Return what the function wrote, between AWS's lines."""
        if self.kept is not None:
            return self.kept
        event, environment = self.event, self.event.environment
        wrote = environment.text(*event.written) if environment else b""
        return [
            f"START RequestId: {event.id} Version: {self.version.name}\n",
            *wrote.decode("utf-8", "replace").splitlines(keepends=True),
            *self._timeout_lines(),
            f"END RequestId: {event.id}\n",
            self._report(),
        ]

    def tail(self) -> str:
        """Return the last 4 KB of it in base64, as LogResult."""
        return base64.b64encode("".join(self.lines()).encode()[-_TAIL_BYTES:]).decode()

    def note(self, log_writer: LogWriter) -> None:
        """Have it written to Logs."""
        environment = self.event.environment
        if environment is not None:
            group = str(self.version.facts["LoggingConfig"]["LogGroup"])
            log_writer.add(LogBatch(group, environment.stream, self.at, self.lines))

    def _timeout_lines(self) -> list[str]:
        if self.error != _TIMEOUT_ERROR:
            return []
        at, limit = format_time(self.at, "milliseconds"), self.event.time_limit
        return [f"{at} {self.event.id} Task timed out after {limit:.2f} seconds\n"]

    def _report(self) -> str:
        duration, init = self.duration, self.event.setup or 0.0
        environment = self.event.environment
        used = environment.measure() if environment else 0
        # INIT is billed, too, since August 2025 (AWS Compute Blog, 29 April 2025)
        billed = math.ceil(round(1000 * (duration + init), 6))
        line = (
            f"REPORT RequestId: {self.event.id}\tDuration: {1000 * duration:.2f} ms\t"
            f"Billed Duration: {billed} ms\tMemory Size: {self.version.facts['MemorySize']} MB\t"
            f"Max Memory Used: {math.ceil(used / MB)} MB\t"
        )
        if init:
            line += f"Init Duration: {1000 * init:.2f} ms\t"
        if self.error:
            timeout = self.error == _TIMEOUT_ERROR
            line += "Status: timeout" if timeout else f"Status: error\tError Type: {self.error}"
        return f"{line}\n"


def _content_error(message: str) -> AwsError:
    return user_error("InvalidRequestContentException", message)


def _parse_context(request: Request) -> str:
    """Return the client's context as the function gets it: JSON in one line."""
    text = request.headers.get("x-amz-client-context")
    if not text:
        return ""
    try:
        return json.dumps(orjson.loads(base64.b64decode(text, validate=True)))
    except ValueError as error:
        raise _content_error(f"Client context must be JSON in base64: {error}.") from error


def _make_error(outcome: Outcome, event: FunctionEvent, function: Function) -> AwsError | None:
    """Return the error for a call that reached no environment."""
    if outcome is Failure.THROTTLED:
        reason = "ConcurrentInvocationLimitExceeded"
        if function.reserved is not None:
            reason = "ReservedFunctionConcurrentInvocationLimitExceeded"
        return AwsError(
            "TooManyRequestsException",
            "Rate Exceeded.",
            429,
            {"Reason": reason, "Type": "User", "retryAfterSeconds": "1"},
        )
    if outcome is Failure.UNAVAILABLE:
        said = f"No environment of the function came up. {event.reason}".strip()
        return AwsError("ServiceException", said, 500, {"Type": "Service"})
    return None


def _parse_result(outcome: Outcome, event: FunctionEvent) -> tuple[str, bytes]:
    """Return the type of a function's error, "" for none, and the payload."""
    said = f"RequestId: {event.id} Error: "
    if isinstance(outcome, Answer):
        return outcome.headers.get("error", ""), outcome.body
    if outcome is Failure.TIMEOUT:
        error = _TIMEOUT_ERROR
        said += f"Task timed out after {event.time_limit:.2f} seconds"
    elif outcome is Failure.TOO_LARGE:
        error = "Function.ResponseSizeTooLarge"
        said = f"Response payload size exceeded maximum allowed payload size ({MAX_ANSWER} bytes)."
    else:
        error = "Runtime.ExitError"
        said += event.reason or "Runtime exited"
    return error, encode_failure(error, said)
