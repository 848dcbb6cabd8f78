"""Lambda's Runtime API for one execution environment: what its runtime interface client talks to.

Four routes, at an address of each environment's own: the next event, its answer, its error, and an
error of INIT. Source: Lambda developer guide, "Building a custom runtime" (Runtime API).
"""

import asyncio
import contextlib
import json
import math
import os
import re
import time
from dataclasses import dataclass
from pathlib import Path

from workbench.localcloud.core.http_client import Answer, Exchange, Failure, InstanceClient, Outcome
from workbench.localcloud.sandbox.instances import LaunchFailed
from workbench.modelserver import http
from workbench.modelserver.http import Reply, Request, Response, Server
from workbench.modelserver.loopback import find_foreign

MAX_ANSWER = 6_291_556
"""Bytes of an answer, as AWS's message says: 6 MB and 100 more."""

_HOST = "127.0.0.1"
_ROOT = "/2018-06-01/runtime/"
_NEXT = f"{_ROOT}invocation/next"
_INIT_ERROR = f"{_ROOT}init/error"
_ERROR_TYPE = "lambda-runtime-function-error-type"
_ACCEPTED = Response(202, b'{"status":"OK"}', "application/json")  # the guide's (Runtime API)
_PEAK = re.compile(rb"VmHWM:\s+(\d+) kB")
_PAGE = 4096  # bytes: a status in /proc has fewer
_MAX_TEXT_BYTES = 1024**2  # of what one event wrote: it is in memory on its way to Logs


class InitFailed(LaunchFailed):
    """A function's program did not get as far as asking for an event."""

    def __init__(self, outcome: Outcome) -> None:
        super().__init__("The function's INIT failed.")
        self.outcome = outcome


@dataclass(eq=False, slots=True, kw_only=True)
class FunctionEvent(Exchange):
    """A request to a function: it sees `id` and `arn`, `context` is the client's.

    Once it is over `written` are the places in the environment's log between which is what it
    wrote, and `environment` is where it was answered.
    """

    id: str
    arn: str
    context: str = ""
    written: tuple[int, int] = (0, 0)
    environment: "Runtime | None" = None


class Runtime(InstanceClient):
    """The way to one execution environment, one event at a time.

    Attributes:
        stream: The log stream that AWS would give it.
        log: What it writes to.
    """

    def __init__(self, stream: str, log: Path) -> None:
        super().__init__()
        self.stream = stream
        self.log = log
        self._peak = 0
        self._port = 0
        self._status = -1
        self._log_end = 0
        # between an event and its answer the program's connection is idle
        self._server = Server(
            http.ServerSettings(
                self._handle, self._error_response, MAX_ANSWER, idle_timeout=math.inf
            )
        )
        self._next_reply: Reply | None = None
        self._event: FunctionEvent | None = None
        self._event_sent = False
        self._timer: asyncio.TimerHandle | None = None
        self._ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def listen(self) -> str:
        """Return the address, for AWS_LAMBDA_RUNTIME_API."""
        self._port = await self._server.listen(_HOST, 0)
        return f"{_HOST}:{self._port}"

    def watch(self, pid: int) -> None:
        """Measure the memory of this process."""
        # held open, as the number may be another program's once this one has ended
        with contextlib.suppress(OSError):
            self._status = os.open(f"/proc/{pid}/status", os.O_RDONLY)

    async def ready(self) -> None:
        """Wait until the first event is asked for: the end of INIT.

        Raises:
            InitFailed: The program said that it cannot.
        """
        await asyncio.shield(self._ready)

    def send(self, exchange: Exchange) -> None:
        """Give the event to the program now, or as soon as it asks for one."""
        assert isinstance(exchange, FunctionEvent)  # noqa: S101 - nobody sends anything else here
        self.in_flight += 1
        self._event, self._event_sent = exchange, False
        exchange.environment = self
        exchange.sent = time.perf_counter()
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(exchange.time_limit, self._time_out)
        if self.closed:
            self.close()
        elif self._next_reply is not None:
            self._send_event(self._next_reply)

    def close(self) -> None:
        """Fail what is under way; what the program never got goes back to its owner."""
        self.closed = True
        event = self._event
        if event is None:
            return
        if self._event_sent or event.owner is None:
            self._finish_event(Failure.GONE)
        else:
            self._take_event()
            event.owner.resend(event)

    async def release(self) -> None:
        """Give back the address."""
        await self._server.close(0)
        if self._status >= 0:
            os.close(self._status)
            self._status = -1

    def text(self, start: int, end: int) -> bytes:
        """Return what the program wrote between two places of its log, the last MB of it."""
        start = max(start, end - _MAX_TEXT_BYTES)
        if start == end:
            return b""
        with self.log.open("rb") as file:
            file.seek(start)
            return file.read(end - start)

    def measure(self) -> int:
        """Return the most memory that the program had so far, in bytes (man 5 proc, status)."""
        with contextlib.suppress(OSError):  # it has ended: what was measured last stays
            if found := _PEAK.search(os.pread(self._status, _PAGE, 0)):
                self._peak = 1024 * int(found[1])
        return self._peak

    # --- the program's calls

    def _handle(self, request: Request, reply: Reply) -> None:
        if find_foreign(request, self._port):  # a web page, which is no function's client
            reply(Response(403))
            return
        path = request.path
        if path == _NEXT:
            self._handle_next(reply)
        elif path == _INIT_ERROR:
            reply(_ACCEPTED)
            self._handle_init_error(request)
        elif (event := self._event) is not None and path.startswith(
            f"{_ROOT}invocation/{event.id}/"
        ):
            failed = path.endswith("/error")
            headers = {"error": request.headers.get(_ERROR_TYPE, "Unhandled")} if failed else {}
            self._finish_event(Answer(200, headers, request.body))
            reply(_ACCEPTED)
        else:
            content = {"errorType": "InvalidRequestID", "errorMessage": "Invalid request ID"}
            reply(Response(400, json.dumps(content).encode(), "application/json"))

    def _error_response(self, status: int, reason: str) -> Response:
        if status == 413 and self._event is not None:
            self._finish_event(Failure.TOO_LARGE)
        return Response(status, reason.encode())

    def _handle_next(self, reply: Reply) -> None:
        self._next_reply = reply
        if not self._ready.done():
            self.measure()
            self._ready.set_result(None)
        if self._event is not None and not self._event_sent:
            self._send_event(reply)

    def _send_event(self, reply: Reply) -> None:
        event = self._event
        assert event is not None  # noqa: S101 - whoever calls this has seen it
        self._next_reply, self._event_sent = None, True
        deadline = int(1000 * (time.time() + event.time_limit))
        headers = [
            ("Lambda-Runtime-Aws-Request-Id", event.id),
            ("Lambda-Runtime-Deadline-Ms", str(deadline)),
            ("Lambda-Runtime-Invoked-Function-Arn", event.arn),
        ]
        if event.context:
            headers.append(("Lambda-Runtime-Client-Context", event.context))
        reply(Response(200, event.body, "application/json", headers))

    def _handle_init_error(self, request: Request) -> None:
        if not self._ready.done():
            error = request.headers.get(_ERROR_TYPE, "Unhandled")
            self._ready.set_exception(InitFailed(Answer(200, {"error": error}, request.body)))
            self._ready.exception()  # known from now on, whether or not somebody still waits

    # --- the end of an event

    def _time_out(self) -> None:
        # AWS resets an environment that timed out (developer guide, "execution environment
        # lifecycle")
        self.closed = True
        self.measure()
        self.lost()
        self._finish_event(Failure.TIMEOUT)

    def _finish_event(self, outcome: Outcome) -> None:
        event = self._take_event()
        end = self.log.stat().st_size
        event.written, self._log_end = (self._log_end, end), end
        event.reason = "" if self.exit_status is None else describe_exit(self.exit_status)
        event.finish(outcome)

    def _take_event(self) -> FunctionEvent:
        event, self._event = self._event, None
        assert event is not None  # noqa: S101 - whoever calls this has seen it
        if self._timer is not None:
            self._timer.cancel()
        self._count_finished()
        return event


def describe_exit(status: int) -> str:
    """Return how AWS says that a program has ended."""
    how = "signal: killed" if status == -9 else f"exit status {status}"
    return f"Runtime exited with error: {how}"


def encode_failure(error_type: str, message: str) -> bytes:
    """Return the payload of a function's error, as AWS words one that the program did not."""
    content = {"errorType": error_type, "errorMessage": message}
    return json.dumps(content, separators=(",", ":")).encode()
