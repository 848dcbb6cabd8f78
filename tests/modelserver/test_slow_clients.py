"""Clients that take their time do not keep others out, and none keeps a connection for ever."""

import asyncio
import math
from unittest import mock

import pytest

from workbench.modelserver import http
from workbench.modelserver.http import FilePart, Response, Server, ServerSettings

ASK = b"GET /a HTTP/1.1\r\nhost: a\r\n\r\n"
HALF = b"GET /a HTTP/1.1\r\nhost: a\r\nx: "
BODY = b"POST /a HTTP/1.1\r\nhost: a\r\ncontent-length: 90000\r\n\r\n"


def refuse(status, reason):
    return Response(status, reason.encode(), "text/plain")


HEARD = {}  # by a client's port, bytes that the server has read; infinite where it is gone


class Connection(http.Connection):
    """The server's side of one, that tells what it has read."""

    def connection_made(self, transport):
        self.port = transport.get_extra_info("peername")[1]
        HEARD[self.port] = 0
        super().connection_made(transport)

    def data_received(self, data):
        super().data_received(data)
        HEARD[self.port] += len(data)

    def connection_lost(self, error):
        super().connection_lost(error)
        HEARD[self.port] = math.inf


class Client:
    """A connection to the server that is tested, and how many bytes it has sent."""

    def __init__(self, reader, writer):
        self.reader, self.writer, self.sent = reader, writer, 0
        self.port = writer.get_extra_info("sockname")[1]

    async def send(self, data):
        """Send, and wait until the server has read it."""
        self.writer.write(data)
        self.sent += len(data)
        while HEARD.get(self.port, -1) < self.sent:
            await asyncio.sleep(0)

    async def status(self):
        """The next answer's status, None where the server has hung up."""
        try:
            head = await self.reader.readuntil(b"\r\n\r\n")
        except (asyncio.IncompleteReadError, ConnectionResetError):
            return None
        length = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
        await self.reader.readexactly(length)
        return int(head.split()[1])


def play(script, answer=lambda _, reply: reply(Response()), **settings):
    """Run a script of a server and of a function that connects to it."""

    async def run():
        server, clients = Server(ServerSettings(answer, refuse, **settings)), []
        port = await server.listen("127.0.0.1", 0)
        server._sweeper.cancel()  # the script says how time goes by
        HEARD.clear()

        async def connect(data=b""):
            client = Client(*await asyncio.open_connection("127.0.0.1", port))
            clients.append(client)
            await client.send(data)
            return client

        try:
            return await asyncio.wait_for(script(server, connect), 60)
        finally:
            for client in clients:
                client.writer.close()
            await server.close(0)

    with mock.patch.object(http, "Connection", Connection):
        return asyncio.run(run())


@pytest.mark.parametrize(
    ("sent", "limit", "status"),
    [
        (b"", "head_timeout", None),
        (HALF, "head_timeout", 408),
        (ASK, "idle_timeout", None),
        (BODY, "body_timeout", 408),
    ],
    ids=["nothing", "half a head", "no second request", "half a body"],
)
def test_what_does_not_come_in_time_is_not_waited_for(sent, limit, status):
    async def script(server, connect):
        client = await connect(sent)
        if sent == ASK:
            assert await client.status() == 200
        server.spend(9)
        assert server._open
        server.spend(2)
        return await client.status(), await client.status()

    assert play(script, **{limit: 10}) == (status, None)


@pytest.mark.parametrize(("sent", "status"), [(HALF, 408), (BODY, 408), (b"", 200)])
def test_a_byte_now_and_then_wins_no_time(sent, status):
    async def script(server, connect):
        client = await connect(sent)
        for _ in range(8):
            await client.send(b"a" if sent else ASK)
            server.spend(3)
        return await client.status()

    assert play(script, head_timeout=10, body_timeout=10, idle_timeout=10) == status


def test_a_body_that_keeps_coming_is_taken_however_long_it_takes():
    async def script(server, connect):
        client = await connect(BODY)
        for _ in range(9):
            await client.send(bytes(10_000))
            server.spend(9)
        return await client.status()

    assert play(script, body_timeout=10) == 200


def test_an_answer_may_take_its_time_but_must_be_read(tmp_path):
    big = tmp_path / "big"
    big.write_bytes(bytes(50_000_000))
    replies = []

    async def script(server, connect):
        client = await connect(ASK)
        server.spend(1e6)
        assert server._open
        replies.pop()(Response(200, FilePart(big.open("rb"), 0, 50_000_000)))
        while server._open:  # it is still sent what the system has room for
            server.spend(9)
            await asyncio.sleep(0.01)
        return client

    assert play(script, lambda _, reply: replies.append(reply), body_timeout=10)


def test_half_open_connections_make_room_for_those_that_ask():
    async def script(server, connect):
        served = await connect(ASK)
        assert await served.status() == 200
        for _ in range(30):
            await connect(HALF)
        server.spend(2)
        await served.send(ASK)
        return [await served.status(), *[await (await connect(ASK)).status() for _ in range(20)]]

    assert play(script, max_connections=31) == [200] * 21


def test_above_the_most_connections_a_client_is_told_so_and_then_cut_off():
    replies = []

    async def script(_, connect):
        busy = [await connect(ASK) for _ in range(3)]
        refused = await connect(ASK)
        assert (await refused.status(), await refused.status()) == (503, None)
        for reply in replies:
            reply(Response(200))
        assert [await each.status() for each in busy] == [200] * 3
        busy[0].writer.close()
        await asyncio.sleep(0.01)
        return len(replies)

    assert play(script, lambda _, reply: replies.append(reply), max_connections=3) == 3


def test_those_who_are_told_are_limited_too():
    async def script(server, connect):
        for _ in range(200):
            await connect(HALF)
        return len(server._open)

    assert play(script, max_connections=3) <= 3 + 64
