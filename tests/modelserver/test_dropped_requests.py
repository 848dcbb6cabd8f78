"""What clients no longer wait for does not hold up others."""

import asyncio
import http.client
import threading

import numpy as np
import pytest

from workbench.modelserver.batching_queue import BatchingQueue
from workbench.modelserver.contract import Contract, error_response
from workbench.modelserver.errors import RequestError
from workbench.modelserver.http import Server, ServerSettings
from workbench.modelserver.inputs import ModelInput
from workbench.modelserver.options import ServerOptions


class GatedEngine:
    """An identity that runs in a thread, and whose first run ends when it is let go."""

    inputs = (ModelInput("x", np.dtype(np.float32), (1,), (1,)),)
    invariant = True

    def __init__(self):
        self.began, self.gate = threading.Event(), threading.Event()
        self.seen = []

    def estimate_seconds(self, _rows):
        return 1.0

    def run(self, rows):
        self.seen += rows.ravel().tolist()
        self.began.set()
        self.gate.wait(60)
        return rows


def receive(link):
    return link.getresponse().read()


@pytest.mark.parametrize("max_batch", [1, 8])
def test_what_nobody_waits_for_is_dropped_when_its_turn_comes(max_batch, capfd):
    async def play():
        engine, outcomes, last = GatedEngine(), {}, asyncio.Event()
        queue = BatchingQueue(engine, max_batch=max_batch)

        def submit(number, *, wanted):
            def deliver(outcome):
                outcomes[number] = outcome
                if number == 5:
                    last.set()

            queue.submit(np.full((1, 1), number, np.float32), deliver, lambda: wanted)

        submit(0, wanted=True)
        await asyncio.to_thread(engine.began.wait, 60)
        for number, wanted in enumerate([False, True, False, False, True], start=1):
            submit(number, wanted=wanted)
        engine.gate.set()
        await asyncio.wait_for(last.wait(), 60)
        return engine.seen, outcomes, queue.dropped

    seen, outcomes, dropped = asyncio.run(play())

    assert (seen, dropped) == ([0, 2, 5], 3)
    assert [outcomes[number].status for number in (1, 3, 4)] == [499] * 3
    assert isinstance(outcomes[1], RequestError)
    assert "3 requests so far" in capfd.readouterr().err


def test_a_model_never_sees_the_request_of_a_client_that_has_hung_up():
    async def play():
        engine = GatedEngine()
        contract = Contract(engine, ServerOptions())
        requests = []

        def handle(request, reply):
            requests.append(request)
            contract.handle(request, reply)

        server = Server(ServerSettings(handle, error_response))
        port = await server.listen("127.0.0.1", 0)

        def send(number):
            link = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
            link.request("POST", "/invocations", f"{number}", {"content-type": "text/csv"})
            return link

        first = await asyncio.to_thread(send, 0)
        await asyncio.to_thread(engine.began.wait, 60)
        gone = [await asyncio.to_thread(send, number) for number in (1, 2)]
        while len(requests) < 3:
            await asyncio.sleep(0)
        for link in gone:
            link.close()
        while not all(request.abandoned for request in requests[1:]):
            await asyncio.sleep(0)
        stays = await asyncio.to_thread(send, 3)
        engine.gate.set()
        answers = [await asyncio.to_thread(receive, link) for link in (first, stays)]
        for link in (first, stays):
            link.close()
        await server.close(5)
        return engine.seen, answers

    seen, answers = asyncio.run(play())

    assert seen == [0, 3]
    assert [float(answer) for answer in answers] == [0, 3]
