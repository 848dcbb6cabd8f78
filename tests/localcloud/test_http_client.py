"""The way to one worker, against a real HTTP server in the same loop."""

import asyncio
import functools
from contextlib import asynccontextmanager

import pytest
import uvloop

from workbench.localcloud.core import http_client
from workbench.localcloud.core.http_client import Answer, Exchange, Failure, WorkerClient
from workbench.modelserver.http import Response, Server, ServerSettings


class Clock:
    """Time that stands still until a test moves it: that of a loop, and of what measures."""

    now = 0.0

    def perf_counter(self):
        return self.now

    def make_loop(self):
        loop = asyncio.SelectorEventLoop()
        loop.time = self.perf_counter
        return loop


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(http_client, "time", clock)
    return clock


def looped(test):
    @functools.wraps(test)
    def run(**arguments):
        clock = arguments.get("clock")
        make_loop = clock.make_loop if clock else uvloop.new_event_loop
        with asyncio.Runner(loop_factory=make_loop) as runner:
            runner.run(test(**arguments))

    return run


async def until(there):
    loop = asyncio.get_running_loop()
    pause = 0.001 if isinstance(loop, uvloop.Loop) else 0  # nothing lasts where time stands still
    while not there():  # pytest's time limit is its end
        await asyncio.sleep(pause)


class Asked:
    """Exchanges and what came of them; it can be their owner."""

    def __init__(self):
        self.outcomes = {}
        self.given_back = []

    def exchange(self, name="a", body=b"", **options):
        head = f"POST /{name} HTTP/1.1\r\nContent-Length: {len(body)}\r\n\r\n".encode()

        def done(exchange, outcome):
            assert exchange.finished >= exchange.sent
            self.outcomes[name] = outcome

        return Exchange(head, body, done, **options)

    def over(self, exchange, outcome):
        pass

    def resend(self, exchange):
        self.given_back.append(exchange)

    async def outcome(self, name="a"):
        await until(lambda: name in self.outcomes)
        return self.outcomes[name]


@asynccontextmanager
async def worker(handler):
    server = Server(ServerSettings(handler, lambda status, _: Response(status)))
    port = await server.listen("127.0.0.1", 0)
    try:
        yield "127.0.0.1", port
    finally:
        await server.close(0)


class Held:
    """A worker that answers when it is told to."""

    def __init__(self):
        self.replies = {}

    def __call__(self, request, reply):
        self.replies[request.path[1:]] = reply


def echo(request, reply):
    reply(Response(200, request.body, "text/plain", [("X-Amzn-Custom", request.path)]))


def lost_never():
    raise AssertionError("the worker is not lost")


@looped
async def test_an_answer_comes_back_whole():
    asked = Asked()
    async with worker(echo) as address:
        upstream = WorkerClient(address, lost=lost_never)
        upstream.send(asked.exchange(body=b"x" * 200_000))
        answer = await asked.outcome()
        upstream.close()
    assert isinstance(answer, Answer)
    assert (answer.status, answer.body) == (200, b"x" * 200_000)
    assert answer.headers["x-amzn-custom"] == "/a"


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 204 No Content\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    ],
    ids=["no body", "a body", "chunks"],
)
@looped
async def test_connections_are_kept(answer):
    connections = []

    async def talk(reader, writer):
        connections.append(writer)
        while await reader.readline():
            await reader.readuntil(b"\r\n\r\n")
            writer.write(answer)
        writer.close()

    asked = Asked()
    async with await asyncio.start_server(talk, "127.0.0.1", 0) as server:
        upstream = WorkerClient(server.sockets[0].getsockname(), lost=lost_never)
        for name in "abc":
            upstream.send(asked.exchange(name))
            assert isinstance(await asked.outcome(name), Answer)
        upstream.close()
    assert len(connections) == 1


@looped
async def test_requests_above_the_limit_wait_their_turn():
    asked, held = Asked(), Held()
    async with worker(held) as address:
        upstream = WorkerClient(address, lost=lost_never, max_in_flight=1)
        for name in "abc":
            upstream.send(asked.exchange(name))
        await until(lambda: bool(held.replies))
        assert list(held.replies) == ["a"]
        assert upstream.in_flight == 3
        drained = asyncio.ensure_future(upstream.wait_until_idle())
        for name in "abc":
            await until(lambda name=name: name in held.replies)
            assert not drained.done()
            held.replies[name](Response())
            await asked.outcome(name)
        await drained
        await upstream.wait_until_idle()
        assert upstream.in_flight == 0
        upstream.close()


@looped
async def test_an_exchange_that_is_abandoned_makes_room_for_the_next():
    asked, held = Asked(), Held()
    async with worker(held) as address:
        upstream = WorkerClient(address, lost=lost_never, max_in_flight=1)
        exchanges = {name: asked.exchange(name) for name in "abc"}
        for exchange in exchanges.values():
            upstream.send(exchange)
        await until(lambda: "a" in held.replies)
        exchanges["b"].abandon()
        exchanges["a"].abandon()
        assert await asked.outcome("a") is Failure.ABANDONED
        assert await asked.outcome("b") is Failure.ABANDONED
        await until(lambda: "c" in held.replies)
        assert list(held.replies) == ["a", "c"]
        held.replies["c"](Response())
        assert isinstance(await asked.outcome("c"), Answer)
        assert upstream.in_flight == 0
        upstream.close()


@looped
async def test_a_hung_worker_is_lost_and_its_requests_fail():
    asked, held = Asked(), Held()
    lost = asyncio.Event()
    async with worker(held) as address:
        upstream = WorkerClient(address, lost=lost.set, max_in_flight=2)
        late = asked.exchange("late")
        late.owner = asked
        upstream.send(asked.exchange("slow", time_limit=0.05))
        upstream.send(asked.exchange("other"))
        upstream.send(late)
        assert await asked.outcome("slow") is Failure.TIMEOUT
        assert await asked.outcome("other") is Failure.GONE
        await until(lambda: asked.given_back == [late])
        assert lost.is_set()
        assert upstream.closed


@looped
async def test_a_worker_that_answers_others_meanwhile_is_slow_and_not_lost(clock):
    asked, held = Asked(), Held()
    async with worker(held) as address:
        upstream = WorkerClient(address, lost=lost_never)
        upstream.send(asked.exchange("slow", time_limit=0.5))
        await until(lambda: "slow" in held.replies)
        clock.now = 0.4
        upstream.send(asked.exchange("quick"))
        await until(lambda: "quick" in held.replies)
        held.replies["quick"](Response())
        assert isinstance(await asked.outcome("quick"), Answer)
        assert "slow" not in asked.outcomes
        clock.now = 0.5
        assert await asked.outcome("slow") is Failure.TIMEOUT
        assert not upstream.closed
        upstream.close()


@looped
async def test_an_answer_that_is_too_large_is_cut_off():
    asked = Asked()
    async with worker(echo) as address:
        upstream = WorkerClient(address, lost=lost_never)
        upstream.send(asked.exchange("large", b"x" * 1001, max_answer=1000))
        assert await asked.outcome("large") is Failure.TOO_LARGE
        upstream.send(asked.exchange("next", b"x" * 1000, max_answer=1000))
        assert isinstance(await asked.outcome("next"), Answer)
        upstream.close()


@looped
async def test_a_connection_that_the_worker_closes_behind_its_answer_is_replaced():
    asked = Asked()

    def handler(request, reply):
        reply(Response(close=True))

    async with worker(handler) as address:
        upstream = WorkerClient(address, lost=lost_never, max_in_flight=1)
        for name in "abc":
            upstream.send(asked.exchange(name))
        for name in "abc":
            assert isinstance(await asked.outcome(name), Answer)
        upstream.close()


@looped
async def test_a_broken_connection_means_that_the_worker_is_lost():
    asked, held = Asked(), Held()
    lost = asyncio.Event()
    async with worker(held) as address:
        upstream = WorkerClient(address, lost=lost.set)
        upstream.send(asked.exchange())
        await until(lambda: bool(held.replies))
    assert await asked.outcome() is Failure.GONE
    await lost.wait()


@looped
async def test_without_a_worker_requests_go_back_to_their_owner():
    async with worker(echo) as address:
        pass
    asked = Asked()
    lost = asyncio.Event()
    upstream = WorkerClient(address, lost=lost.set)
    owned = asked.exchange("owned")
    owned.owner = asked
    upstream.send(owned)
    upstream.send(asked.exchange("alone"))
    await lost.wait()
    assert asked.given_back == [owned]
    assert await asked.outcome("alone") is Failure.GONE
    upstream.send(owned)
    assert asked.given_back == [owned, owned]


@pytest.mark.parametrize("said", [b"this is no HTTP\r\n\r\n", b"HTTP/1.1 200 OK\r\n\r\nendless"])
@looped
async def test_a_worker_that_speaks_no_http_is_lost(said):
    async def talk(reader, writer):
        await reader.read(10)
        writer.write(said)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    asked = Asked()
    lost = asyncio.Event()
    async with server:
        upstream = WorkerClient(server.sockets[0].getsockname(), lost=lost.set)
        upstream.send(asked.exchange())
        await asked.outcome()
        await lost.wait()
        upstream.close()


@looped
async def test_each_request_of_a_connection_has_its_own_time_limit(clock):
    asked, held = Asked(), Held()
    async with worker(held) as address:
        upstream = WorkerClient(address, lost=lost_never)
        for name, limit in (("short", 0.02), ("long", 60.0), ("late", 0.2), ("other", 60.0)):
            upstream.send(asked.exchange(name, time_limit=limit))
            await until(lambda name=name: name in held.replies)
            if name in ("short", "other"):  # whose connection the next one takes
                held.replies[name](Response())
                assert isinstance(await asked.outcome(name), Answer)
        clock.now = 0.2
        assert await asked.outcome("late") is Failure.TIMEOUT
        assert "long" not in asked.outcomes
        upstream.send(asked.exchange("soon", time_limit=0.05))
        await until(lambda: "soon" in held.replies)
        held.replies["long"](Response())
        assert isinstance(await asked.outcome("long"), Answer)
        clock.now = 0.25
        assert await asked.outcome("soon") is Failure.TIMEOUT
        upstream.close()


@looped
async def test_answers_with_the_same_head_have_each_their_own_body():
    def answer(request, reply):
        reply(Response(200, request.body, "text/plain"))

    asked = Asked()
    async with worker(answer) as address:
        upstream = WorkerClient(address, lost=lost_never, max_in_flight=1)
        for name, body, most in (("a", b"1", 9), ("b", b"2", 9), ("c", b"3", 0), ("d", b"4", 9)):
            upstream.send(asked.exchange(name, body, max_answer=most))
            outcome = await asked.outcome(name)
            if most:
                assert isinstance(outcome, Answer)
                assert (outcome.status, outcome.body) == (200, body)
                assert outcome.headers["content-length"] == "1"
            else:
                assert outcome is Failure.TOO_LARGE
        upstream.close()
