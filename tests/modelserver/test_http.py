"""The HTTP server of the container and the local cloud, asked over real sockets."""

import asyncio
import contextlib
import io
import random
import socket
import threading
import time

import httptools
import pytest
import uvloop

from workbench.modelserver.http import (
    Connection,
    FilePart,
    Response,
    Server,
    ServerSettings,
    make_handler,
)

BIG = 10**7


class Site:
    """A server on a thread of its own, that answers with what it was asked."""

    def __init__(self):
        self.spooled = []
        self.held = []
        self.loop = uvloop.new_event_loop()
        self.ready = threading.Event()
        self.thread = threading.Thread(target=lambda: self.loop.run_until_complete(self.serve()))

    async def serve(self):
        self.ended = asyncio.Event()
        self.server = Server(ServerSettings(self.handle, refuse, max_body=1000, spool=self.spool))
        self.port = await self.server.listen("127.0.0.1", 0)
        self.ready.set()
        await self.ended.wait()
        await self.server.close(grace=60)

    def __enter__(self):
        self.thread.start()
        self.ready.wait()
        return self

    def __exit__(self, *_):
        self.close()
        self.thread.join()
        self.loop.close()

    def close(self):
        self.loop.call_soon_threadsafe(self.ended.set)

    def spool(self, request):
        if request.path == "/full":
            return Full()
        if request.path != "/spool":
            return None
        self.spooled.append(io.BytesIO())
        return self.spooled[-1]

    def handle(self, request, reply):
        if request.path == "/later":
            self.held.append(reply)
            self.later = request
        elif request.path in HANDLERS:
            HANDLERS[request.path](request, reply)
        elif request.path in ANSWERS:
            reply(ANSWERS[request.path]())
        else:
            text = f"{request.method} {request.path} {request.query} {request.received}"
            reply(Response(200, text.encode(), "text/plain", [("x-echo", "1")]))

    def release(self, reply):
        self.loop.call_soon_threadsafe(reply, Response(200, b"at last"))


class Full(io.BytesIO):
    def write(self, _):
        raise OSError(28, "No space left on device")


async def slow(request):
    await asyncio.sleep(0)
    return Response(200, b"slow")


async def fail(request):
    raise RuntimeError


def fail_at_once(request, reply):
    raise RuntimeError


def part(size, offset, length, **options):
    file = io.BytesIO(bytes(range(48, 58)) * (size // 10))
    return Response(200, FilePart(file, offset, length), **options)


HANDLERS = {"/slow": make_handler(slow), "/fail": make_handler(fail), "/raise": fail_at_once}
ANSWERS = {
    "/file": lambda: part(10, 2, 5),
    "/head": lambda: part(10, 0, 10, bodiless=True),
    "/text": lambda: Response(404, b"none", bodiless=True),
    "/short": lambda: part(10, 0, 20),
    "/big": lambda: part(BIG, 0, BIG),
    "/odd": lambda: Response(200, b"", "text/\u2028", [("x-odd", "\u2028")]),
    "/close": lambda: Response(200, b"bye", close=True),
}


def refuse(status, reason):
    return Response(status, reason.encode(), "text/plain")


@pytest.fixture(scope="module")
def site():
    with Site() as site:
        yield site


class Client:
    """A raw connection, whose answers are parsed."""

    def __init__(self, site):
        self.socket = socket.create_connection(("127.0.0.1", site.port), timeout=60)
        self.answers = []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def send(self, *parts):
        for part in parts:
            self.socket.sendall(part)
        return self

    def read(self, count=1):
        """The next answers as (status, body), then None if the server hung up."""
        got, parser = [], Answer()
        while len(got) < count:
            data = self.socket.recv(65536)
            if not data:
                return [*got, None]
            parser.feed(data)
            got += parser.take()
        return got

    def read_all(self):
        """All answers until the server hangs up."""
        return self.read(10**9)[:-1]


class Answer:
    def __init__(self):
        self.parser = httptools.HttpResponseParser(self)
        self.done, self.body, self.headers = [], b"", {}

    def feed(self, data):
        self.parser.feed_data(data)

    def on_header(self, name, value):
        self.headers[name.decode()] = value.decode()

    def on_body(self, body):
        self.body += body

    def on_message_complete(self):
        self.done.append((self.parser.get_status_code(), self.body))
        self.body = b""

    def take(self):
        done, self.done = self.done, []
        return done


def until(condition, seconds=60):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.001)


def get(path, *headers):
    lines = [f"GET {path} HTTP/1.1", "host: a", *headers]
    return "\r\n".join([*lines, "", ""]).encode()


def post(path, body, *headers):
    lines = [f"POST {path} HTTP/1.1", "host: a", f"content-length: {len(body)}", *headers]
    return "\r\n".join([*lines, "", ""]).encode() + body


def test_a_request_is_told_whole(site):
    with Client(site) as client:
        client.send(post("/a%20b/%C3%A4?x=1&y=%20", b"12345"))

        assert client.read() == [(200, "POST /a b/ä x=1&y=%20 5".encode())]


def test_a_request_may_come_byte_by_byte(site):
    with Client(site) as client:
        client.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        client.send(*(bytes([byte]) for byte in post("/a?b", b"123", "x-empty:")))

        assert client.read() == [(200, b"POST /a b 3")]


def test_a_body_may_come_in_chunks(site):
    head = b"POST /a HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n"
    with Client(site) as client:
        client.send(head, b"3\r\nabc\r\n", b"2\r\nde\r\n0\r\nx-trailer: 1\r\n\r\n", get("/b"))

        assert client.read(2) == [(200, b"POST /a  5"), (200, b"GET /b  0")]


def test_pipelined_requests_are_answered_in_order(site):
    paths = ["/slow", "/a", "/slow", "/file", "/b"] * 200
    with Client(site) as client:
        client.send(b"".join(get(path) for path in paths))

        bodies = {"/slow": b"slow", "/file": b"23456"}
        expected = [(200, bodies.get(path, f"GET {path}  0".encode())) for path in paths]
        assert client.read(len(paths)) == expected


def test_a_client_that_pipelines_and_never_reads_is_held_back(site):
    request = post("/a", b"x" * 900)
    with Client(site) as client:
        client.socket.settimeout(0)
        sent = 0
        with contextlib.suppress(BlockingIOError):
            while sent < 10**8:
                sent += client.socket.send(request)
        client.socket.settimeout(60)
        complete = sent // len(request)
        assert sent < 10**8

        assert len(client.read(complete)) == complete


def test_a_large_answer_waits_for_a_slow_reader(site):
    with Client(site) as client:
        client.send(get("/big"))
        with Client(site) as other:
            assert other.send(get("/b")).read() == [(200, b"GET /b  0")]

        assert client.read() == [(200, b"0123456789" * (BIG // 10))]


def test_clients_that_leave_do_no_harm(site):
    for leaving in (get("/big"), get("/later"), get("/slow"), post("/spool", b"123456")[:-3], b"G"):
        with Client(site) as client:
            client.send(leaving)
    with Client(site) as client:
        assert client.send(get("/b")).read() == [(200, b"GET /b  0")]
    site.release(site.held.pop())
    until(lambda: site.spooled[-1].closed)
    assert site.later.abandoned


def test_a_connection_is_kept_or_closed_as_the_client_asks(site):
    with Client(site) as client:
        client.send(get("/a"), get("/b", "connection: close"))
        assert client.read_all() == [(200, b"GET /a  0"), (200, b"GET /b  0")]
    with Client(site) as client:
        client.send(b"GET /a HTTP/1.0\r\n\r\n")
        assert client.read_all() == [(200, b"GET /a  0")]


def test_a_handler_can_hang_up(site):
    with Client(site) as client:
        client.send(get("/close"), get("/b"))

        assert client.read_all() == [(200, b"bye")]


def test_what_a_client_still_sends_behind_that_costs_it_no_answer(site):
    with Client(site) as client:
        client.send(get("/close"))
        assert client.read() == [(200, b"bye")]
        client.send(get("/b"), get("/b"))

        assert client.read_all() == []


@pytest.mark.parametrize(("path", "size"), [("/head", 10), ("/text", 4)])
def test_a_head_request_gets_no_body(site, path, size):
    with Client(site) as client:
        client.send(f"HEAD {path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n".encode())
        text = b"".join(iter(lambda: client.socket.recv(65536), b""))

    assert text.endswith(b"\r\n\r\n")
    assert f"content-length: {size}\r\n".encode() in text


def test_a_file_shorter_than_promised_is_never_taken_for_whole(site):
    with Client(site) as client:
        assert client.send(get("/short")).read() == [None]


def test_a_client_gets_leave_to_send_its_body(site):
    head, _, body = post("/a", b"123", "expect: 100-continue").partition(b"\r\n\r\n")
    with Client(site) as client:
        client.send(head + b"\r\n\r\n")
        assert client.socket.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"

        assert client.send(body).read() == [(200, b"POST /a  3")]


@pytest.mark.parametrize(
    "head",
    [
        b"POST /a HTTP/1.1\r\ncontent-length: 100000000\r\n\r\n",
        b"POST /a HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\nfffff\r\n",
    ],
)
def test_a_body_too_large_is_refused_and_the_client_can_read_why(site, head):
    with Client(site) as client:
        client.send(head)
        sending = threading.Thread(target=send_much, args=(client,))
        sending.start()
        answers = client.read()
        sending.join()

    assert [status for status, _ in answers] == [413]


def send_much(client, byte=b"\0"):
    """What a client does that sends a large body before it looks for an answer."""
    with contextlib.suppress(OSError):  # the server has hung up by then
        for _ in range(40):
            client.send(byte * 65536)


@pytest.mark.parametrize(
    "start",
    [
        b"GET /",
        b"GET / HTTP/1.1\r\nx: ",
        b"POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n0\r\nx: ",
        b"POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n1;",
    ],
)
def test_what_has_no_end_and_is_no_body_is_refused(site, start):
    with Client(site) as client:
        client.send(start)
        sending = threading.Thread(target=send_much, args=(client, b"y"))
        sending.start()
        answers = client.read()
        sending.join()

    assert [status for status, _ in answers] == [431]


def test_a_body_that_cannot_be_kept_is_refused(site):
    with Client(site) as client:
        client.send(post("/full", b"123"))

        assert client.read_all() == [(507, b"The body cannot be kept: No space left on device.")]


def test_a_body_can_go_to_a_file(site):
    with Client(site) as client:
        client.send(post("/spool", b"x" * 5000))

        assert client.read() == [(200, b"POST /spool  5000")]
        assert site.spooled[-1].getvalue() == b"x" * 5000


def test_a_handler_that_fails_is_a_500(site, capfd):
    with Client(site) as client:
        client.send(get("/raise"), get("/b"), get("/fail"))

        assert [status for status, _ in client.read_all()] == [500, 200, 500]
    assert capfd.readouterr().err.count("Traceback") == 2


def test_what_came_before_nonsense_is_answered_first(site):
    with Client(site) as client:
        client.send(get("/slow") + get("/a") + b"nonsense\r\n\r\n")

        statuses = [status for status, _ in client.read_all()]
    assert statuses == [200, 200, 400]


@pytest.mark.parametrize("upgrade", ["h2c", "websocket"])
def test_an_upgrade_is_declined_by_an_ordinary_answer(site, upgrade):
    with Client(site) as client:
        client.send(get("/a", f"upgrade: {upgrade}", "connection: upgrade"))

        assert client.read_all() == [(200, b"GET /a  0")]


def nonsense(rng):
    """Bytes that are no HTTP request, or a damaged one."""
    kind = rng.randrange(4)
    if kind == 0:
        return b"\x16\x03\x01" + rng.randbytes(rng.randrange(1, 200))
    if kind == 1:
        return b"GET /a HTTP/9.9\r\nhost: a\r\n\r\n"
    if kind == 2:
        lengths = b"content-length: 3\r\ncontent-length: %d\r\n" % rng.randrange(4, 99)
        return b"POST /a HTTP/1.1\r\n" + lengths + b"\r\nabc"
    request = bytearray(post("/a", b"abc"))
    request[rng.randrange(5)] = rng.randrange(1, 32)
    return bytes(request)


def test_10_000_malformed_requests_are_each_refused_and_the_server_lives(site):
    rng = random.Random(0)  # noqa: S311 - nothing is secret
    statuses = set()
    for _ in range(10_000):
        with Client(site) as client:
            client.send(nonsense(rng)).socket.shutdown(socket.SHUT_WR)
            statuses.update(status for status, _ in client.read_all())

    with Client(site) as client:
        assert client.send(get("/b")).read() == [(200, b"GET /b  0")]
    assert statuses == {400}


def test_a_server_that_closes_answers_what_was_begun_and_takes_nothing_more():
    with Site() as site, Client(site) as busy, Client(site) as half, Client(site) as idle:
        busy.send(get("/later"), get("/a"))
        half.send(post("/a", b"123")[:-1])
        idle.send(get("/a"))
        assert idle.read() == [(200, b"GET /a  0")]
        until(lambda: site.held)
        site.close()
        assert idle.read() == [None]

        half.send(b"3")
        assert half.read_all() == [(200, b"POST /a  3")]
        site.release(site.held.pop())
        assert busy.read_all() == [(200, b"at last"), (200, b"GET /a  0")]
        with pytest.raises(ConnectionRefusedError):
            Client(site)


def test_a_server_that_closes_waits_no_longer_than_its_grace():
    async def close_at_once():
        server = Server(ServerSettings(lambda *_: None, refuse))
        port = await server.listen("127.0.0.1", 0)
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(get("/never"))
        await writer.drain()
        while not server._open:
            await asyncio.sleep(0)
        await server.close(grace=0)
        with pytest.raises(ConnectionResetError):
            await reader.read()
        writer.close()

    asyncio.run(close_at_once())


def test_a_header_that_http_cannot_hold_is_no_reason_to_give_no_answer(site):
    with Client(site) as client:
        assert client.send(get("/odd")).read() == [(200, b"")]


class Wire:
    """A transport that keeps what is written, and what was asked."""

    def __init__(self):
        self.asked = []
        self.connection = Connection(ServerSettings(self.handle, refuse), set(), 10)
        self.connection.connection_made(self)

    def handle(self, request, reply):
        told = (request.method, request.path, request.query, request.headers, request.body)
        self.asked.append((*told, request.received))
        reply(Response())

    def write(self, data):
        pass

    def is_closing(self):
        return False


ASKED_AGAIN = [
    post("/a?x=1", b"123"),
    post("/a?x=1", b"456"),
    post("/a?x=1", b"\r\n\r"),
    post("/a?x=2", b"123"),
    post("/a?x=1", b"123", "x-more: 1"),
    post("/a", b""),
    get("/a"),
    get("/b") + get("/a"),
    get("/a", "expect: 100-continue"),
    b"\r\n" + get("/a"),
    get("/a", "transfer-encoding: chunked") + b"3\r\n789\r\n0\r\n\r\n",
    get("/a", "transfer-encoding: chunked") + b"0\r\n\r\n",
]


def test_a_head_that_comes_again_is_taken_as_the_first_one_was():
    rng = random.Random(1)  # noqa: S311 - nothing is secret
    whole, by_byte = Wire(), Wire()
    for _ in range(2000):
        data = rng.choice(ASKED_AGAIN) + rng.choice([b"", b"", rng.choice(ASKED_AGAIN)])
        cut = rng.choice([len(data), rng.randrange(1, len(data))])
        for piece in filter(None, (data[:cut], data[cut:])):
            whole.connection.data_received(piece)
        for at in range(len(data)):
            by_byte.connection.data_received(data[at : at + 1])
    assert len(whole.asked) > 2000
    assert whole.asked == by_byte.asked
