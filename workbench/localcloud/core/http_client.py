"""HTTP/1.1 towards one worker: connections that are kept, each with one request at a time.

Callbacks instead of coroutines, because this lies on the path of every invocation.
"""

import asyncio
import enum
import math
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import NamedTuple, Protocol, cast

import httptools

from workbench.localcloud.core.tasks import TaskSet
from workbench.modelserver.http import FilePart, header_name

_CONNECT_SECONDS = 20.0  # that a worker on this machine has to take a connection
_MAX_COPIED_BYTES = 64 * 1024  # bodies up to here leave in one piece with their headers
_CHUNK = 256 * 1024  # what is read at once of a body that lies in a file


def build_head(length: int, headers: Iterable[tuple[str, str]]) -> bytes:
    """Return the head of a request to a model, whose body has so many bytes."""
    lines = "".join([f"{name}: {value}\r\n" for name, value in headers])
    return (
        f"POST /invocations HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n{lines}\r\n"
    ).encode("latin-1")


class Failure(enum.Enum):
    """Why there is no answer."""

    TIMEOUT = "no whole answer within the time limit"
    GONE = "the connection was lost before the answer was whole"
    TOO_LARGE = "the answer is larger than allowed"
    THROTTLED = "as many requests as allowed are under way"
    UNAVAILABLE = "no worker is up"
    ABANDONED = "whoever asked has left"


class Answer(NamedTuple):
    """What a worker said: `headers` by lower-case name."""

    status: int
    headers: dict[str, str]
    body: bytes


Outcome = Answer | Failure


@dataclass(eq=False, slots=True)
class Exchange:
    """A request and, once `done` is called with it, its outcome.

    A body may lie in a file, which stays open; where there is a `sink`, it is called with each
    piece of a good answer's body, and the answer's own is empty: so neither is ever whole in
    memory.

    `sent` and `finished` are the instants (seconds of `time.perf_counter`) of the request's first
    byte out and of its outcome. `time_limit` counts from `sent`; `max_answer` is in bytes. What
    routes it is its `owner`, who notes the number of the `worker` and, where a cold start was
    waited for, how long that took (`setup`, seconds); `reason` says more about a failure. Nobody
    waits for the outcome of one that is `abandoned`.
    """

    head: bytes
    body: bytes | FilePart
    done: "Callable[[Exchange, Outcome], None]"
    time_limit: float = 60.0
    max_answer: int = 6 * 1024 * 1024
    sink: Callable[[bytes], object] | None = None
    owner: "Owner | None" = None
    abandoned: bool = False
    connection: "_WorkerConnection | None" = None
    worker: int = 0
    setup: float | None = None
    reason: str = ""
    sent: float = 0.0
    finished: float = 0.0

    def abandon(self) -> None:
        """Hang up on the worker, which drops what it has not begun; unsent, it is never sent."""
        self.abandoned = True
        if self.connection is not None:
            self.connection.end(Failure.ABANDONED)

    def finish(self, outcome: Outcome) -> None:
        """Tell the owner and then whoever asked; to be called once."""
        self.finished = time.perf_counter()
        if self.owner is not None:
            self.owner.over(self, outcome)
        self.done(self, outcome)


class Owner(Protocol):
    """What routes exchanges to workers."""

    def over(self, exchange: Exchange, outcome: Outcome) -> None:
        """Note that the exchange has its outcome."""
        ...

    def resend(self, exchange: Exchange) -> None:
        """Send an exchange elsewhere: nothing of it was sent, and its worker is lost."""
        ...


class InstanceClient(ABC):
    """The way to one instance.

    `lost` is called once, when the instance proves dead or hung. `in_flight` counts the requests
    without an outcome; `closed` says that no more are sent. `exit_status` is that of the instance's
    process, once it has ended.
    """

    def __init__(self, lost: Callable[[], None] = lambda: None) -> None:
        self.lost = lost
        self.exit_status: int | None = None
        self.in_flight = 0
        self.closed = False
        self._drained: asyncio.Future[None] | None = None

    @abstractmethod
    def send(self, exchange: Exchange) -> None:
        """Send the request now, or when one before it is answered."""

    @abstractmethod
    def close(self) -> None:
        """Send no more: what is under way is `GONE`, the rest goes back to its owner."""

    async def release(self) -> None:  # noqa: B027 - most hold nothing
        """Give back what it holds, once the instance has ended."""

    def mark_broken(self) -> None:
        """Note that the instance is lost."""
        if not self.closed:
            self.closed = True
            self.lost()
            self.close()

    async def wait_until_idle(self) -> None:
        """Wait until no request is under way."""
        if self.in_flight:
            if self._drained is None:
                self._drained = asyncio.get_running_loop().create_future()
            await asyncio.shield(self._drained)

    def _count_finished(self) -> None:
        self.in_flight -= 1
        if not self.in_flight and self._drained is not None:
            self._drained.set_result(None)
            self._drained = None


class WorkerClient(InstanceClient):
    """The way to a worker: `max_in_flight` requests at once, the others first come first served.

    It is lost when a connection breaks that should not, or a request times out and nothing else was
    answered since it was sent.
    """

    def __init__(
        self,
        address: tuple[str, int],
        *,
        lost: Callable[[], None] = lambda: None,
        max_in_flight: int = 64,
    ) -> None:
        super().__init__(lost)
        self._address = address
        self._max_in_flight = max_in_flight
        self._last_answer = 0.0
        self._idle: list[_WorkerConnection] = []
        self._open: set[_WorkerConnection] = set()
        self._opening = TaskSet()
        self._waiting: deque[Exchange] = deque()

    def send(self, exchange: Exchange) -> None:
        """Send the request now, or when one before it is answered."""
        self.in_flight += 1
        if self._idle:
            self._idle.pop().start(exchange)
            return
        self._waiting.append(exchange)
        if self.closed:
            self._return_waiting()
        else:
            self._open_more()

    def close(self) -> None:
        """End every connection: what is under way is `GONE`, the rest goes back to its owner."""
        self.closed = True
        for connection in list(self._open):
            connection.end(Failure.GONE)
        self._return_waiting()

    def _open_more(self) -> None:
        if len(self._open) + len(self._opening) < self._max_in_flight:
            self._opening.start(self._connect())

    async def _connect(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(_CONNECT_SECONDS):
                await loop.create_connection(lambda: _WorkerConnection(self), *self._address)
        except OSError:  # a TimeoutError is one
            self.mark_broken()

    def _return_waiting(self) -> None:
        while self._waiting:
            exchange = self._waiting.popleft()
            self._count_finished()
            if exchange.owner is None:
                exchange.finish(Failure.GONE)
            else:
                exchange.owner.resend(exchange)

    # --- the connections' calls

    def add_connection(self, connection: "_WorkerConnection") -> None:
        """Use a new connection."""
        self._open.add(connection)
        if self.closed:
            connection.end(Failure.GONE)
        else:
            self.free(connection)

    def free(self, connection: "_WorkerConnection") -> None:
        """Use a connection that has nothing to do."""
        while self._waiting:
            exchange = self._waiting.popleft()
            if not exchange.abandoned:
                connection.start(exchange)
                return
            self.over(exchange, Failure.ABANDONED)
        self._idle.append(connection)

    def over(self, exchange: Exchange, outcome: Outcome) -> None:
        """Count the request as done, and tell whose it is."""
        if isinstance(outcome, Answer):
            self._last_answer = time.perf_counter()
        elif outcome is Failure.TIMEOUT and self._last_answer < exchange.sent:
            self.mark_broken()
        self._count_finished()
        exchange.finish(outcome)

    def forget(self, connection: "_WorkerConnection", *, wanted: bool) -> None:
        """Forget a connection; one that was not to end means that the worker is lost."""
        self._open.discard(connection)
        if connection in self._idle:
            self._idle.remove(connection)
        if not wanted:
            self.mark_broken()
        elif self._waiting:
            self._open_more()


class _WorkerConnection(asyncio.Protocol):
    """One connection to a worker."""

    def __init__(self, upstream: WorkerClient) -> None:
        self._upstream = upstream
        self._parser = httptools.HttpResponseParser(self)
        self._transport: asyncio.Transport
        self._exchange: Exchange | None = None
        self._deadline = 0.0  # of the request under way
        self._timer: asyncio.TimerHandle | None = None  # set once for many requests
        self._timer_due = math.inf
        self._known: Answer | None = None  # the last one, where it came in one piece:
        self._known_head = b""  # the next may have the same head
        self._known_size = 0  # bytes of it all
        self._begun = False  # something of the answer has come
        self._wanted = False
        self._sending: asyncio.Task[None] | None = None
        self._room = asyncio.Event()
        self._room.set()

    # --- asyncio's calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._upstream.add_connection(self)

    def pause_writing(self) -> None:
        """Read no more of a file: the worker is behind."""
        self._room.clear()

    def resume_writing(self) -> None:
        self._room.set()

    def connection_lost(self, error: Exception | None) -> None:  # noqa: ARG002 - asyncio's words
        exchange = self._detach_exchange()
        self._cancel_timer()
        self._upstream.forget(self, wanted=self._wanted)
        if exchange is not None:
            self._upstream.over(exchange, Failure.GONE)

    def data_received(self, data: bytes) -> None:
        """Feed the parser, and go on with the next request behind a whole answer."""
        exchange = self._exchange
        if exchange is None:  # nobody asked
            self._transport.abort()
            return
        again = len(data) == self._known_size <= exchange.max_answer and not self._begun
        if again and exchange.sink is None and data.startswith(self._known_head):
            self._repeat_answer(data)
        else:
            self._feed(data, exchange)

    def _feed(self, data: bytes, exchange: Exchange) -> None:
        first, self._begun = not self._begun, True
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self._transport.abort()
            return
        if self._size > exchange.max_answer:
            self.end(Failure.TOO_LARGE)
        elif self._whole:
            parts = self._parts
            body = parts[0] if len(parts) == 1 else b"".join(parts)
            answer = Answer(self._parser.get_status_code(), self._headers, body)
            if first and exchange.sink is None:
                self._remember_head(data, answer)
            self._answer(answer)

    # --- heads that come again, as in the server

    def _remember_head(self, data: bytes, answer: Answer) -> None:
        size = len(data) - len(answer.body)
        again = self._kept and data.find(b"\r\n\r\n") + 4 == size
        self._known_head, self._known_size = data[:size], len(data) if again else 0
        self._known = answer

    def _repeat_answer(self, data: bytes) -> None:
        """Take an answer whose head is known."""
        known, body = cast("Answer", self._known), data[len(self._known_head) :]
        self._kept = True
        self._answer(Answer(known.status, known.headers, body))

    # --- the parser's calls

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers[header_name(name)] = value.decode("latin-1")

    def on_body(self, body: bytes) -> None:
        self._size += len(body)
        sink = self._exchange.sink if self._exchange is not None else None
        # an error is read whole: whoever takes an answer in pieces wants none of it
        if sink is None or self._parser.get_status_code() >= 300:
            self._parts.append(body)
        else:
            sink(body)

    def on_message_complete(self) -> None:
        """Note that the answer is whole, and whether the worker keeps the connection."""
        self._whole = True
        self._kept = self._parser.should_keep_alive()  # later, the parser has forgotten it

    # --- one request

    def start(self, exchange: Exchange) -> None:
        self._exchange = exchange
        exchange.connection = self
        self._headers: dict[str, str] = {}
        self._parts: list[bytes] = []
        self._size = 0
        self._begun = self._whole = self._kept = False
        exchange.sent = time.perf_counter()
        body = exchange.body
        if isinstance(body, FilePart):
            self._transport.write(exchange.head)
            self._sending = asyncio.get_running_loop().create_task(self._send(body))
        elif len(body) <= _MAX_COPIED_BYTES:
            self._transport.write(exchange.head + body)
        else:
            self._transport.writelines((exchange.head, body))
        self._deadline = exchange.sent + exchange.time_limit
        if self._deadline < self._timer_due:
            self._set_timer(exchange.time_limit)

    def _set_timer(self, seconds: float) -> None:
        """Look at the time in so many seconds: a timer for each request costs more."""
        self._cancel_timer()
        self._timer_due = time.perf_counter() + seconds
        self._timer = asyncio.get_running_loop().call_later(seconds, self._check_time)

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer_due = math.inf

    def _check_time(self) -> None:
        self._timer, self._timer_due = None, math.inf
        if self._exchange is None:
            return
        left = self._deadline - time.perf_counter()
        if left > 0:
            self._set_timer(left)
        else:
            self.end(Failure.TIMEOUT)

    async def _send(self, part: FilePart) -> None:
        """Send a body as fast as the worker takes it."""
        part.file.seek(part.offset)
        left = part.length
        while left:
            await self._room.wait()
            chunk = part.file.read(min(_CHUNK, left))
            if not chunk:  # shorter than it was
                self._transport.abort()
                return
            left -= len(chunk)
            self._transport.write(chunk)
            await asyncio.sleep(0)  # others have requests, too

    def _answer(self, answer: Answer) -> None:
        unheard = self._sending is not None and not self._sending.done()
        if unheard or not self._kept:
            self.end(answer)
        elif (exchange := self._detach_exchange()) is not None:
            self._upstream.free(self)
            self._upstream.over(exchange, answer)

    def end(self, outcome: Outcome) -> None:
        """End the connection, with this as the outcome of the request under way."""
        self._wanted = True
        self._transport.abort()
        if (exchange := self._detach_exchange()) is not None:
            self._upstream.over(exchange, outcome)

    def _detach_exchange(self) -> Exchange | None:
        exchange, self._exchange = self._exchange, None
        if exchange is not None:
            exchange.connection = None
        if self._sending is not None:
            self._sending.cancel()
            self._sending = None
        return exchange
