"""HTTP/1.1 over asyncio: a server that calls a handler for each request.

Small on purpose: the requests of a connection are answered one after another, in order. A body is
gathered in memory up to a limit, or written to a file where `spool` gives one.
"""

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable, Coroutine, Iterable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, BinaryIO, cast
from urllib.parse import unquote

import httptools

_CHUNK = 256 * 1024
_PHRASES = {status.value: status.phrase.encode() for status in HTTPStatus}
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class Request:
    """What a client asks: `headers` by lower-case name; `body` whole, or in the file `spooled`."""

    __slots__ = ("body", "headers", "method", "path", "query", "received", "spooled")

    def __init__(self) -> None:
        self.method = ""
        self.path = ""
        self.query = ""
        self.headers: dict[str, str] = {}
        self.body = b""
        self.spooled: BinaryIO | None = None
        self.received = 0


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


def awaiting(answer: Callable[[Request], Coroutine[Any, Any, Response]]) -> Handler:
    """Return a handler that replies with what a coroutine function returns."""
    running: set[asyncio.Task[None]] = set()

    async def finish(request: Request, reply: Reply) -> None:
        reply(await answer(request))

    def handle(request: Request, reply: Reply) -> None:
        task = asyncio.get_running_loop().create_task(finish(request, reply))
        running.add(task)
        task.add_done_callback(running.discard)

    return handle


@dataclass(frozen=True, slots=True)
class Settings:
    """What the connections of a server share.

    Attributes:
        handler: answers a request.
        refuse: the answer to what is not HTTP (400) or too large (413), by status and reason.
        max_body: bytes of a body in memory.
        spool: gives a file for the body of a request whose headers are known, or None.
    """

    handler: Handler
    refuse: Callable[[int, str], Response]
    max_body: int = 6 * 1024 * 1024
    spool: Callable[[Request], BinaryIO | None] | None = None


class Connection(asyncio.Protocol):
    """One client's connection; `open_connections` of the server's set holds those that are up."""

    def __init__(self, settings: Settings, open_connections: "set[Connection]") -> None:
        self._settings = settings
        self._open = open_connections
        self._parser = httptools.HttpRequestParser(self)
        self._transport: asyncio.Transport
        self._waiting: deque[tuple[Request, bool]] = deque()
        self._busy = False
        self._closed = False
        self._refused = False
        self._writable = asyncio.Event()
        self._writable.set()
        self._sender: asyncio.Task[None] | None = None

    # --- asyncio's calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the way to answer."""
        self._transport = cast("asyncio.Transport", transport)
        self._open.add(self)

    def connection_lost(self, error: Exception | None) -> None:  # noqa: ARG002 - asyncio's words
        """Forget the client: what is still being answered has nobody to read it."""
        self._closed = True
        self._open.discard(self)
        self._writable.set()
        if self._sender is not None:
            self._sender.cancel()

    def pause_writing(self) -> None:
        """Wait: the client reads too slowly."""
        self._writable.clear()

    def resume_writing(self) -> None:
        """Go on."""
        self._writable.set()

    def data_received(self, data: bytes) -> None:
        """Feed the parser; what is not HTTP is refused."""
        if self._refused:
            return
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._refuse(400, "Upgrading a connection is not supported.")
        except httptools.HttpParserError as error:
            self._refuse(400, f"This is not HTTP/1.1: {error}.")

    # --- the parser's calls

    def on_message_begin(self) -> None:
        """Start a request."""
        self._request = Request()
        self._target = b""
        self._parts: list[bytes] = []

    def on_url(self, url: bytes) -> None:
        """Gather the target, which may come in pieces."""
        self._target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep a header."""
        self._request.headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        """Decide where the body goes, and tell a client that waits for leave to send it."""
        request, settings = self._request, self._settings
        request.method = self._parser.get_method().decode("ascii")
        path, _, request.query = self._target.decode("latin-1").partition("?")
        request.path = unquote(path)
        length = request.headers.get("content-length", "")
        if settings.spool is not None:
            request.spooled = settings.spool(request)
        if request.spooled is None and length.isdigit() and int(length) > settings.max_body:
            self._refuse(413, f"The body has {length} bytes, at most {settings.max_body} fit.")
        elif request.headers.get("expect", "").lower() == "100-continue":
            self._transport.write(_CONTINUE)

    def on_body(self, body: bytes) -> None:
        """Keep a piece of the body."""
        request = self._request
        if self._refused:
            return
        request.received += len(body)
        if request.spooled is not None:
            request.spooled.write(body)
        elif request.received > self._settings.max_body:
            self._refuse(413, f"The body has more than {self._settings.max_body} bytes.")
        else:
            self._parts.append(body)

    def on_message_complete(self) -> None:
        """Answer the request, or let it wait behind those before it."""
        if self._refused:
            return
        request = self._request
        request.body = self._parts[0] if len(self._parts) == 1 else b"".join(self._parts)
        self._waiting.append((request, self._parser.should_keep_alive()))
        if not self._busy:
            self._next()

    # --- answering

    def _refuse(self, status: int, reason: str) -> None:
        """Answer once that this cannot be understood, and hang up."""
        if self._refused:
            return
        self._refused = True
        self._waiting.clear()
        if not self._busy:
            self._send(self._settings.refuse(status, reason), keep_alive=False)

    def _next(self) -> None:
        request, keep_alive = self._waiting.popleft()
        self._busy = True
        if self._waiting:
            self._transport.pause_reading()

        def reply(response: Response) -> None:
            self._send(response, keep_alive=keep_alive and not response.close)

        self._settings.handler(request, reply)

    def _send(self, response: Response, *, keep_alive: bool) -> None:
        if self._closed:
            if isinstance(response.body, FilePart):
                response.body.file.close()
            return
        head = _head(response, keep_alive=keep_alive)
        if isinstance(response.body, FilePart):
            loop = asyncio.get_running_loop()
            self._sender = loop.create_task(self._send_file(head, response.body, keep_alive))
            return
        self._transport.write(head if response.bodiless else head + response.body)
        self._sent(keep_alive=keep_alive)

    async def _send_file(self, head: bytes, part: FilePart, keep_alive: bool) -> None:  # noqa: FBT001 - private
        with part.file as file:
            file.seek(part.offset)
            self._transport.write(head)
            left = part.length
            while left and not self._closed:
                await self._writable.wait()
                chunk = file.read(min(_CHUNK, left))
                if not chunk:  # shorter than promised: the client must not take it for whole
                    self._transport.abort()
                    return
                left -= len(chunk)
                self._transport.write(chunk)
        self._sent(keep_alive=keep_alive)

    def _sent(self, *, keep_alive: bool) -> None:
        self._busy = False
        if not keep_alive or self._refused:
            self._transport.close()
        elif self._waiting:
            self._next()
        else:
            with contextlib.suppress(RuntimeError):  # it was not paused
                self._transport.resume_reading()

    def hang_up(self) -> None:
        """Close the connection, after its present answer if it has one to give."""
        self._refused = True
        if not self._busy:
            self._transport.close()


def _head(response: Response, *, keep_alive: bool) -> bytes:
    body = response.body
    length = body.length if isinstance(body, FilePart) else len(body)
    phrase = _PHRASES.get(response.status, b"Unknown")
    lines = [b"HTTP/1.1 %d %s\r\ncontent-length: %d\r\n" % (response.status, phrase, length)]
    if response.content_type:
        lines.append(b"content-type: %s\r\n" % response.content_type.encode("latin-1"))
    lines += [f"{name}: {value}\r\n".encode("latin-1") for name, value in response.headers]
    lines.append(b"\r\n" if keep_alive else b"connection: close\r\n\r\n")
    return b"".join(lines)
