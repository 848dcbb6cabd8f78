"""HTTP/1.1 over asyncio: a server that calls a handler for each request.

Small on purpose: the requests of a connection are answered one after another, in order. A body is
gathered in memory up to a limit, or written to a file where `spool` gives one.
"""

import asyncio
import contextlib
import math
import resource
import socket
import sys
import traceback
from collections import deque
from collections.abc import Callable, Coroutine, Iterable
from dataclasses import dataclass, field
from functools import lru_cache
from http import HTTPStatus
from typing import Any, BinaryIO, cast
from urllib.parse import unquote

import httptools

MAX_HEAD = 64 * 1024
"""Bytes of headers that are read, beyond those of the first packet, before a request is refused."""

_BACKLOG = 1024  # connections waiting to be taken; of more, each client tries again after a second
_MIN_RATE = 500.0  # bytes a second of a body, beyond its time-out: Apache's mod_reqtimeout
_SWEEP_SECONDS = 1.0  # between looks at all connections: a time-out is late by so much at most
_MAX_FILES = 8192  # descriptors that are asked for where the system's limit is lower
_MAX_REJECTED = 64  # connections at a time that are answered that there are too many
_QUIET_ENOUGH = 1.0  # seconds without a byte after which a connection may make room for another
_CHUNK = 256 * 1024  # bytes of a file that an answer has in memory at a time
_MAX_KNOWN_HEAD = 8 * 1024  # bytes of a head that a connection keeps
_MAX_COPIED_BYTES = 64 * 1024  # bodies up to here leave in one piece with their headers
_LINGER_SECONDS = 2.0  # for a client that is still sending to read why it is refused
_PHRASES = {status.value: status.phrase.encode() for status in HTTPStatus}
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


@dataclass(slots=True, eq=False)
class Request:
    """What a client asks: `headers` by lower-case name; `body` whole, or in the file `spooled`.

    `path` is decoded, `raw_path` as it was sent, which is what clients sign.
    `abandoned` once the client has left without its answer; `on_abandoned` is called then.
    """

    method: str = ""
    path: str = ""
    raw_path: str = ""
    query: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    spool_file: BinaryIO | None = None
    received: int = 0
    abandoned: bool = False
    on_abandoned: Callable[[], None] | None = None


@dataclass(slots=True)
class FilePart:
    """Part of a file as a body; the file is closed once it was sent."""

    file: BinaryIO
    offset: int
    length: int


@dataclass(slots=True)
class Response:
    """An answer. `close` ends the connection behind it; `bodiless` sends its headers alone."""

    status: int = 200
    body: bytes | FilePart = b""
    content_type: str = ""
    headers: Iterable[tuple[str, str]] = ()
    close: bool = False
    bodiless: bool = False


Reply = Callable[[Response], None]
Handler = Callable[[Request, Reply], None]
"""Answers a request: calls `reply` once, now or later, from the loop's thread."""


def make_handler(answer: Callable[[Request], Coroutine[Any, Any, Response]]) -> Handler:
    """Return a handler that replies with what a coroutine function returns; 500 if it raises."""
    running: set[asyncio.Task[None]] = set()

    async def finish(request: Request, reply: Reply) -> None:
        try:
            response = await answer(request)
        except Exception:  # noqa: BLE001 - the client has to be answered, whatever it was
            traceback.print_exc(file=sys.stderr)
            response = Response(500, close=True)
        reply(response)

    def handle(request: Request, reply: Reply) -> None:
        task = asyncio.get_running_loop().create_task(finish(request, reply))
        running.add(task)
        task.add_done_callback(running.discard)

    return handle


@dataclass(frozen=True, slots=True)
class ServerSettings:
    """What the connections of a server share.

    Attributes:
        handler: answers a request.
        refuse: the answer to what is not HTTP (400) or too large (413), by status and reason.
        refuse_request: the answer to a request whose body cannot be taken (408, 413, 507), where
            its headers decide how that is written; None is `refuse`.
        max_body: bytes of a body in memory.
        spool: gives a file for the body of a request, or None, by its headers alone.
        max_spooled: bytes of a body in a file.
        head_timeout: seconds for the headers of a request, and for the first byte of a client.
        body_timeout: seconds without a piece of a body, or of an answer that the client reads.
        idle_timeout: seconds between two requests.
        max_connections: above which the quietest makes room, or a new one is answered with 503;
            0 is half of the files that may be open: answers need some, too.
    """

    handler: Handler
    refuse: Callable[[int, str], Response]
    max_body: int = 6 * 1024 * 1024
    spool: Callable[[Request], BinaryIO | None] | None = None
    max_spooled: float = math.inf
    head_timeout: float = 20.0
    body_timeout: float = 60.0
    idle_timeout: float = 600.0
    refuse_request: Callable[[int, str, Request], Response] | None = None
    max_connections: int = 0


class Connection(asyncio.Protocol):
    """One client's connection; `open_connections` of the server's set holds those that are up.

    Its server counts for it how long it has been quiet, and since when it has been receiving: a
    clock, or a timer, for each request would cost more than all its other bookkeeping.
    """

    def __init__(
        self, settings: ServerSettings, open_connections: "set[Connection]", limit: int
    ) -> None:
        self._settings = settings
        self._open = open_connections
        self._limit = limit
        self._quiet = 0.0  # seconds since the client sent, or read, anything
        self._age = 0.0  # seconds since its present request began, or it came
        self._fresh = True  # has not asked anything yet
        self._unsent = 0  # bytes that the client had not read when it was looked at last
        self._parser = httptools.HttpRequestParser(self)
        self._transport: asyncio.Transport
        self._request: Request | None = None  # the one that is being received
        self._known_request: Request | None = None  # the last one, where others may follow it
        self._known_head = b""  # its head, where it came in one piece: the next may have the same
        self._known_size = 0  # bytes of it all
        self._handled_request: Request | None = None  # the one that was handled last
        self._waiting: deque[tuple[Request | Response, bool]] = deque()
        self._busy = False
        self._keep_alive = True
        self._answering = False
        self._discard_input = False  # whatever else the client sends is thrown away
        self._closing = False
        self._closed = False
        self._reading_paused = False
        self._drain_event: asyncio.Event | None = None
        self._sender: asyncio.Task[None] | None = None

    # --- asyncio's calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the way to answer."""
        self._transport = cast("asyncio.Transport", transport)
        self._open.add(self)
        if len(self._open) > self._limit:
            self._make_room()

    def connection_lost(self, error: Exception | None) -> None:  # noqa: ARG002 - asyncio's words
        """Forget the client: what is still being answered has nobody to read it."""
        self._closed = True
        self._open.discard(self)
        handled = self._handled_request
        if handled is not None and self._busy:
            handled.abandoned = True
            if handled.on_abandoned is not None:
                handled.on_abandoned()
        for request in [self._request, *(message for message, _ in self._waiting)]:
            if isinstance(request, Request) and request.spool_file is not None:
                request.spool_file.close()
        self._waiting.clear()
        self.resume_writing()
        if self._sender is not None:
            self._sender.cancel()

    def pause_writing(self) -> None:
        """Wait: the client reads too slowly."""
        self._drain_event = asyncio.Event()

    def resume_writing(self) -> None:
        """Go on."""
        if self._drain_event is not None:
            self._drain_event.set()
            self._drain_event = None
            self._answer_next()

    def data_received(self, data: bytes) -> None:
        """Take what the client sends, unless nothing more is wanted of it."""
        self._quiet = 0.0
        if self._discard_input:
            return
        again = len(data) == self._known_size and self._request is None
        if again and data.startswith(self._known_head):
            self._repeat_request(data)
        else:
            self._feed(data)

    def _feed(self, data: bytes) -> None:
        """Feed the parser; what is not HTTP is refused."""
        request = self._request
        received = 0 if request is None else request.received
        self._known_request = None
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:  # declined: the answer is an ordinary one, and the last
            self._discard_input = self._closing = True
            if not self._busy and not self._waiting:
                self._transport.close()
        except httptools.HttpParserError as error:
            self._reject(400, f"This is not HTTP/1.1: {error}.")
        if request is None:
            self._remember_head(data)
        elif self._request is request and request.received == received:
            self._count_head(len(data))

    # --- the parser's calls

    def on_message_begin(self) -> None:
        """Start a request."""
        self._request = Request()
        self._age = 0.0
        self._fresh = False
        self._target = b""
        self._head_size = 0
        self._parts: list[bytes] = []

    def on_url(self, url: bytes) -> None:
        """Gather the target, which may come in pieces."""
        self._target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep a header."""
        if self._request is not None:
            self._request.headers[header_name(name)] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        """Decide where the body goes, and tell a client that waits for leave to send it."""
        request, settings = self._request, self._settings
        if request is None:
            return
        request.method = self._parser.get_method().decode("ascii")
        path, _, request.query = self._target.decode("latin-1").partition("?")
        request.raw_path = path
        request.path = unquote(path) if "%" in path else path
        length = request.headers.get("content-length", "")
        if settings.spool is not None:
            request.spool_file = settings.spool(request)
        self._body_limit = settings.max_body if request.spool_file is None else settings.max_spooled
        if length.isdigit() and int(length) > self._body_limit:
            self._reject(413, f"The body has {length} bytes, at most {self._body_limit} fit.")
        elif "expect" in request.headers and not self._busy:
            # while another is being answered, it would come before that answer
            self._transport.write(_CONTINUE)

    def on_body(self, body: bytes) -> None:
        """Keep a piece of the body."""
        request = self._request
        if request is None:
            return
        request.received += len(body)
        if request.received > self._body_limit:
            self._reject(413, f"The body has more than {self._body_limit} bytes.")
        elif request.spool_file is not None:
            try:
                request.spool_file.write(body)
            except OSError as error:
                self._reject(507, f"The body cannot be kept: {error.strerror}.")
        else:
            self._parts.append(body)

    def on_message_complete(self) -> None:
        """Answer the request, or let it wait behind those before it."""
        request = self._request
        if request is None:
            return
        self._request = None
        # one piece, as most bodies are, is not copied
        request.body = self._parts[0] if len(self._parts) == 1 else b"".join(self._parts)
        self._parts = []
        keep_alive = self._parser.should_keep_alive()
        self._known_request = request if keep_alive else None
        self._queue(request, keep_alive=keep_alive)

    # --- heads that come again

    def _remember_head(self, data: bytes) -> None:
        """Keep the head of a request that was just received, where `data` is all of it.

        Clients send the same head again and again: what the parser took whole, in one piece and
        without the framing of chunks, it would take again, with any body of the same length.
        """
        self._known_size = 0
        request = self._known_request
        if request is None or request.spool_file is not None or "expect" in request.headers:
            return
        size = len(data) - len(request.body)
        if size <= _MAX_KNOWN_HEAD and data.find(b"\r\n\r\n") + 4 == size:
            self._known_head, self._known_size = data[:size], len(data)

    def _repeat_request(self, data: bytes) -> None:
        self._age = 0.0
        known, body = cast("Request", self._known_request), data[len(self._known_head) :]
        head = (known.method, known.path, known.raw_path, known.query, known.headers)
        self._known_request = request = Request(*head, body, received=len(body))
        if self._busy or self._waiting or self._drain_event is not None:
            self._queue(request, keep_alive=True)
        else:  # as that would do, without a queue
            self._busy = self._keep_alive = True
            self._handle(request)

    # --- how long a client may take

    def spend(self, seconds: float) -> None:
        """Note that this time has passed, and end what has taken too long."""
        self._quiet += seconds
        self._age += seconds
        settings = self._settings
        if self._busy or self._waiting:
            self._watch_answer()
        elif self._request is None:
            if self._quiet > (settings.head_timeout if self._fresh else settings.idle_timeout):
                self._transport.abort()
        elif not self._request.method:
            if self._age > settings.head_timeout:
                self._reject(408, f"The headers took more than {settings.head_timeout:g} s.")
        elif max(self._quiet, self._age - self._request.received / _MIN_RATE) > (
            settings.body_timeout
        ):
            self._reject(408, f"The body took too long: {settings.body_timeout:g} s without any.")

    def _watch_answer(self) -> None:
        """End the connection of a client that does not read its answer."""
        self._age = 0.0  # of a request that must wait for its turn
        unsent = self._transport.get_write_buffer_size()
        if not unsent or unsent != self._unsent:
            self._quiet = 0.0
        elif self._quiet > self._settings.body_timeout:
            self._transport.abort()
        self._unsent = unsent

    def _make_room(self) -> None:
        """End the connection that has been quiet for longest; else refuse this one."""
        quiet = (each for each in self._open if not each._busy and not each._waiting)  # noqa: SLF001
        victim = max(quiet, key=lambda each: each._quiet)  # noqa: SLF001
        if victim._quiet >= _QUIET_ENOUGH:  # noqa: SLF001
            self._open.discard(victim)
            victim.abort()
        elif len(self._open) > self._limit + _MAX_REJECTED:
            self.abort()
        else:
            self._reject(503, f"There are {self._limit} connections, as many as may be: try again.")

    # --- what the client sends

    def _count_head(self, size: int) -> None:
        """Count what is not body: the parser would keep a header that never ends."""
        self._head_size += size
        if self._head_size > MAX_HEAD:
            self._reject(431, f"The headers have more than {MAX_HEAD} bytes.")

    def _reject(self, status: int, reason: str) -> None:
        """Answer, after what came before, that this cannot be taken, and hang up."""
        if self._discard_input or self._transport.is_closing():
            return
        self._discard_input = True
        request, self._request = self._request, None
        if request is not None and request.spool_file is not None:
            request.spool_file.close()
        refuse_request = self._settings.refuse_request
        if request is None or not request.method or refuse_request is None:
            answer = self._settings.refuse(status, reason)
        else:
            answer = refuse_request(status, reason, request)
        self._queue(answer, keep_alive=False)

    def _queue(self, message: Request | Response, *, keep_alive: bool) -> None:
        self._waiting.append((message, keep_alive))
        if self._busy or self._drain_event is not None:
            self._pause_reading()
        else:
            self._answer_next()

    def _pause_reading(self) -> None:
        if not self._reading_paused and not self._transport.is_closing():
            self._reading_paused = True
            self._transport.pause_reading()

    def _resume_reading(self) -> None:
        if self._reading_paused and not self._transport.is_closing():
            self._reading_paused = False
            self._transport.resume_reading()

    # --- answering

    def _answer_next(self) -> None:
        """Answer what waits, until one answer takes its time or the client reads too slowly."""
        if self._answering:  # further up the stack
            return
        self._answering = True
        while self._waiting and not self._busy and self._drain_event is None and not self._closed:
            message, self._keep_alive = self._waiting.popleft()
            self._busy = True
            if isinstance(message, Response):
                self._reply(message)
            else:
                self._handle(message)
        self._answering = False
        if not self._waiting and not self._busy:
            self._wait_for_request()

    def _handle(self, request: Request) -> None:
        self._handled_request = request
        try:
            self._settings.handler(request, self._reply)
        except Exception:  # noqa: BLE001 - one request must not take the server with it
            traceback.print_exc(file=sys.stderr)
            if self._busy:
                self._reply(self._settings.refuse(500, "The server failed; its log says why."))

    def _reply(self, response: Response) -> None:
        if isinstance(response.body, FilePart) and (self._closed or response.bodiless):
            response.body.file.close()
        if self._closed:
            return
        if response.close:  # which the client could not know when it sent more
            self._discard_input, self._keep_alive = True, False
        elif self._closing and not self._waiting:
            self._keep_alive = False
        head = _head(response, keep_alive=self._keep_alive)
        if isinstance(response.body, FilePart) and not response.bodiless:
            loop = asyncio.get_running_loop()
            self._sender = loop.create_task(self._send_file(head, response.body))
            return
        body = b"" if response.bodiless else cast("bytes", response.body)
        if len(body) <= _MAX_COPIED_BYTES:
            self._transport.write(head + body)
        else:
            self._transport.writelines((head, body))
        self._finish_response()

    async def _send_file(self, head: bytes, part: FilePart) -> None:
        with part.file as file:
            file.seek(part.offset)
            self._transport.write(head)
            left = part.length
            while left and not self._closed:
                if self._drain_event is not None:
                    await self._drain_event.wait()
                chunk = file.read(min(_CHUNK, left))
                if not chunk:  # shorter than promised: the client must not take it for whole
                    self._transport.abort()
                    return
                left -= len(chunk)
                self._transport.write(chunk)
        self._sender = None
        self._finish_response()

    def _finish_response(self) -> None:
        self._busy = False
        if not self._keep_alive:
            self._waiting.clear()
            self._close_gracefully()
        elif not self._answering:
            if self._waiting:
                self._answer_next()
            elif self._closing or self._reading_paused:
                self._wait_for_request()

    def _wait_for_request(self) -> None:
        if self._closing and self._request is None:
            self._transport.close()
        else:
            self._resume_reading()

    def _close_gracefully(self) -> None:
        """Hang up; a client that is still sending gets to read the answer first.

        Closing on bytes that were not read makes the system reset the connection, and the client
        may then lose the answer.
        """
        if not self._discard_input or self._transport.is_closing():
            # all was read: there is nothing to be reset for
            self._transport.close()
            return
        self._resume_reading()
        with contextlib.suppress(OSError, RuntimeError):
            self._transport.write_eof()
        asyncio.get_running_loop().call_later(_LINGER_SECONDS, self._transport.close)

    def hang_up(self) -> None:
        """Close the connection once what the client has begun to ask is answered."""
        self._closing = True
        if not self._busy and not self._waiting:
            self._wait_for_request()

    def abort(self) -> None:
        """Close the connection now."""
        self._transport.abort()


class Server:
    """Connections at one address, from `listen` to `close`."""

    def __init__(self, settings: ServerSettings) -> None:
        self._settings = settings
        self._open: set[Connection] = set()
        self._server: asyncio.Server | None = None
        self._sweeper: asyncio.TimerHandle | None = None

    async def listen(self, host: str, port: int) -> int:
        """Take connections, and return the port: a free one where `port` is 0."""
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listening = socket.create_server((host, port), family=family, backlog=_BACKLOG)
        limit = self._settings.max_connections or _count_files() // 2
        self._server = await asyncio.get_running_loop().create_server(
            lambda: Connection(self._settings, self._open, limit), sock=listening, backlog=_BACKLOG
        )
        self._sweep()
        return int(listening.getsockname()[1])

    def spend(self, seconds: float) -> None:
        """End the connections that this much more time is too long for."""
        for connection in list(self._open):
            connection.spend(seconds)

    def _sweep(self) -> None:
        self.spend(_SWEEP_SECONDS)
        self._sweeper = asyncio.get_running_loop().call_later(_SWEEP_SECONDS, self._sweep)

    async def close(self, grace: float) -> None:
        """Take no more connections, and end each once it is answered, in `grace` seconds."""
        if self._server is not None:  # else it never listened
            self._server.close()
        if self._sweeper is not None:
            self._sweeper.cancel()
        for connection in list(self._open):
            connection.hang_up()
        loop = asyncio.get_running_loop()
        deadline = loop.time() + grace
        while self._open and loop.time() < deadline:
            # by looks, as a connection notifies nobody: this happens once in a server's life
            await asyncio.sleep(0.005)
        for connection in list(self._open):
            connection.abort()


def _count_files() -> int:
    """Return how many files this process may have open; as many as the system lets it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _MAX_FILES if hard == resource.RLIM_INFINITY else min(hard, _MAX_FILES)
    if soft < wanted and soft != resource.RLIM_INFINITY:
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
            return wanted
    return _MAX_FILES if soft == resource.RLIM_INFINITY else min(soft, _MAX_FILES)


@lru_cache(maxsize=512)  # clients know few
def header_name(name: bytes) -> str:
    """Return a header's name as it is looked up.

    >>> header_name(b"Content-Type")
    'content-type'
    """
    return name.decode("latin-1").lower()


def _head(response: Response, *, keep_alive: bool) -> bytes:
    body = response.body
    length = body.length if isinstance(body, FilePart) else len(body)
    start = _start_head(response.status, length, response.content_type)
    end = b"\r\n" if keep_alive else b"connection: close\r\n\r\n"
    if not response.headers:
        return start + end
    lines = "".join([f"{name}: {value}\r\n" for name, value in response.headers])
    return b"".join((start, lines.encode("latin-1", "replace"), end))


@lru_cache(maxsize=256)
def _start_head(status: int, length: int, content_type: str) -> bytes:
    """Return the lines that most answers have."""
    phrase = _PHRASES.get(status, b"Unknown")
    start = b"HTTP/1.1 %d %s\r\ncontent-length: %d\r\n" % (status, phrase, length)
    if content_type:
        start += f"content-type: {content_type}\r\n".encode("latin-1", "replace")
    return start
