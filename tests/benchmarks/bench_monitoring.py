"""What the metrics cost: the data plane with and without them, in pairs of runs side by side.

One local cloud turns its metrics on and off between short runs, the order changing from pair to
pair, so that what drifts about the machine falls on both. Pairs of runs that are both without
metrics say how much of the spread is the machine's.
"""

import asyncio
import contextlib
import json
import multiprocessing
import os
import signal
import statistics
import tempfile
from pathlib import Path
from urllib.parse import urlsplit

import uvloop

from tests import wire
from tests.graphs import linear
from tests.hosted import ROWS, archived, on_instances
from workbench.cloud.aws import Cloud
from workbench.localcloud import server
from workbench.localcloud.core.settings import LocalCloudSettings
from workbench.localcloud.sagemaker.metering import Metering
from workbench.process import run_in_process

PAIRS = 15
SECONDS = 1.0
CONNECTIONS = 8
TICKS = os.sysconf("SC_CLK_TCK")


def serve(path, told, death_pipe):
    """Be a local cloud until the pipe says something; SIGUSR1 turns its metrics on and off."""
    record, metered = Metering.record, [True]

    def recorded(metering, invocation):
        if metered[0]:
            record(metering, invocation)

    def turn(*_):
        metered[0] = not metered[0]

    Metering.record = recorded
    signal.signal(signal.SIGUSR1, turn)

    def ready(url, key):
        told.send((url, (key.id, key.secret)))

    server.serve(
        path,
        port=0,
        ready=ready,
        parent_death_pipe=death_pipe.fileno(),
        settings=LocalCloudSettings(),
    )


@contextlib.contextmanager
def cloud(path):
    """Yield a local cloud with an endpoint "e", and its process."""
    start = multiprocessing.get_context("spawn")
    heard, told = start.Pipe()
    death_pipe, end = start.Pipe()
    process = start.Process(target=serve, args=(path, told, death_pipe))
    process.start()
    url, keys = heard.recv()
    try:
        there = Cloud(
            name="bench", region="us-east-1", endpoint_url=url, paid=False, poll=0.05,
            role="arn:aws:iam::123456789012:role/w", image="i", bucket="b", keys=keys,
        )  # fmt: skip
        deploy(there)
        yield there, process.pid
    finally:
        end.send("end")
        process.join()


def deploy(there):
    """Bring up an endpoint with a tiny model, so that what is measured is not the model."""
    with (
        contextlib.closing(there.client("s3")) as s3,
        contextlib.closing(there.client("sagemaker")) as aws,
    ):
        s3.create_bucket(Bucket="models")
        s3.put_object(Bucket="models", Key="good.tar.gz", Body=archived(linear()))
        container = {"Image": "own/workbench", "ModelDataUrl": "s3://models/good.tar.gz"}
        aws.create_model(ModelName="good", PrimaryContainer=container)
        aws.create_endpoint_config(EndpointConfigName="c", ProductionVariants=[on_instances()])
        aws.create_endpoint(EndpointName="e", EndpointConfigName="c")
        aws.get_waiter("endpoint_in_service").wait(EndpointName="e", WaiterConfig={"Delay": 1})


class Client(asyncio.Protocol):
    """A connection that always has one request under way."""

    def __init__(self, request, answered):
        self._request = request
        self._last_answer = answered

    def connection_made(self, transport):
        self._transport = transport
        transport.write(self._request)

    def data_received(self, data):
        if not data.startswith(b"HTTP/1.1 200"):
            raise RuntimeError(data[:200])
        self._last_answer.append(None)
        self._transport.write(self._request)


async def closed_loop(there, seconds):
    """Return how many requests were answered."""
    path, headers = "/endpoints/e/invocations", {"content-type": "application/json"}
    body = json.dumps(ROWS).encode()
    request = wire.packet(there, "POST", path, body, headers, service="sagemaker")
    where, answered = urlsplit(there.endpoint_url), []
    loop = asyncio.get_running_loop()
    made = [
        await loop.create_connection(lambda: Client(request, answered), where.hostname, where.port)
        for _ in range(CONNECTIONS)
    ]
    await asyncio.sleep(seconds)
    for transport, _ in made:
        transport.abort()
    return len(answered)


def flood(task, emit, stopped):
    """Run the closed loop in a process of its own."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(closed_loop(*task))


def spent(pid):
    """Seconds of processors that a process has used."""
    words = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(words[11]) + int(words[12])) / TICKS


def measured(there, pid):
    """Return requests a second, and processor seconds of the front for each."""
    before = spent(pid)
    count = run_in_process(flood, (there, SECONDS), on_message=print)
    return count / SECONDS, (spent(pid) - before) / count


def shown(name, ratios):
    """Print the median of ratios, and how far their middle half goes."""
    low, middle, high = statistics.quantiles(ratios, n=4)
    print(f"  {name}: {middle:.3f} (middle half {low:.3f} to {high:.3f}, {len(ratios)} pairs)")


def pairs(there, pid, *, turning):
    """Return the ratios of rates and of costs in pairs of runs, the second run's to the first's.

    Where `turning`, the metrics are off in the first run of a pair and on in the second; else off
    in both. Every other pair is measured the other way round.
    """
    rates, costs, plain = [], [], []
    for number in range(PAIRS):
        first = measured(there, pid)
        if turning:
            os.kill(pid, signal.SIGUSR1)
        second = measured(there, pid)
        off, on = (second, first) if number % 2 else (first, second)
        rates.append(on[0] / off[0])
        costs.append(on[1] / off[1])
        plain.append(off[0])
    return rates, costs, plain


def main():
    with tempfile.TemporaryDirectory() as name, cloud(Path(name)) as (there, pid):
        measured(there, pid)
        os.kill(pid, signal.SIGUSR1)
        nothing = pairs(there, pid, turning=False)
        found = pairs(there, pid, turning=True)
    print(f"  without metrics {statistics.median(found[2]):.0f} requests/s")
    for words, (rates, costs, _) in (
        ("with metrics against without; goal 0.95", found),
        ("without against without", nothing),
    ):
        shown(f"throughput, {words}", rates)
        shown("  processor time of the front for a request", costs)


if __name__ == "__main__":
    main()
