"""What the metrics cost: the data plane with and without them, in pairs of runs side by side.

Two local clouds are up at once, one of which records nothing. They are measured in turn, the order
changing from pair to pair, so that what drifts about the machine falls on both.
"""

import asyncio
import contextlib
import json
import multiprocessing
import os
import statistics
import tempfile
from pathlib import Path
from urllib.parse import urlsplit

import uvloop

from tests.graphs import linear
from tests.hosted import ROWS, archived, on_instances
from workbench.cloud.aws import Cloud
from workbench.cloud.local import front
from workbench.cloud.local.metering import Metering
from workbench.cloud.local.settings import Settings
from workbench.process import run_apart

PAIRS = 20
SECONDS = 2.0
CONNECTIONS = 8
TICKS = os.sysconf("SC_CLK_TCK")


def serve(path, told, lifeline, *, metered):
    """Be a local cloud until the lifeline says something."""
    if not metered:
        Metering.record = lambda *_: None
    front.serve(path, port=0, ready=told.send, lifeline=lifeline.fileno(), settings=Settings())


@contextlib.contextmanager
def cloud(path, *, metered):
    """Yield URL and process of a local cloud with an endpoint "e"."""
    start = multiprocessing.get_context("spawn")
    heard, told = start.Pipe()
    lifeline, end = start.Pipe()
    process = start.Process(target=serve, args=(path, told, lifeline), kwargs={"metered": metered})
    process.start()
    url = heard.recv()
    try:
        deploy(url)
        yield url, process.pid
    finally:
        end.send("end")
        process.join()


def deploy(url):
    """Bring up an endpoint with a tiny model, so that what is measured is not the model."""
    there = Cloud(
        name="bench", region="us-east-1", endpoint_url=url, paid=False, poll=0.05,
        role="arn:aws:iam::123456789012:role/w", image="i", bucket="b", keys=("local", "local"),
    )  # fmt: skip
    with (
        contextlib.closing(there.client("s3")) as s3,
        contextlib.closing(there.client("sagemaker")) as aws,
    ):
        s3.create_bucket(Bucket="models")
        s3.put_object(Bucket="models", Key="good.tar.gz", Body=archived(linear()))
        container = {"Image": "i", "ModelDataUrl": "s3://models/good.tar.gz"}
        aws.create_model(ModelName="good", PrimaryContainer=container)
        aws.create_endpoint_config(EndpointConfigName="c", ProductionVariants=[on_instances()])
        aws.create_endpoint(EndpointName="e", EndpointConfigName="c")
        aws.get_waiter("endpoint_in_service").wait(EndpointName="e", WaiterConfig={"Delay": 1})


class Client(asyncio.Protocol):
    """A connection that always has one request under way."""

    def __init__(self, request, answered):
        self._request = request
        self._answered = answered

    def connection_made(self, transport):
        self._transport = transport
        transport.write(self._request)

    def data_received(self, data):
        if not data.startswith(b"HTTP/1.1 200"):
            raise RuntimeError(data[:200])
        self._answered.append(None)
        self._transport.write(self._request)


async def closed_loop(url, seconds):
    """Return how many requests were answered."""
    body = json.dumps(ROWS).encode()
    request = (
        "POST /endpoints/e/invocations HTTP/1.1\r\nHost: local\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    ).encode() + body
    where, answered = urlsplit(url), []
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


def measured(url, pid):
    """Return requests a second, and processor seconds of the front for each."""
    before = spent(pid)
    count = run_apart(flood, (url, SECONDS), on_message=print)
    return count / SECONDS, (spent(pid) - before) / count


def shown(name, ratios):
    """Print the median of ratios, and how far their middle half goes."""
    low, middle, high = statistics.quantiles(ratios, n=4)
    print(f"  {name}: {middle:.3f} (middle half {low:.3f} to {high:.3f}, {len(ratios)} pairs)")


def main():
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as stack:
        on = stack.enter_context(cloud(Path(name) / "on", metered=True))
        off = stack.enter_context(cloud(Path(name) / "off", metered=False))
        rates, costs, plain = [], [], []
        for number in range(-1, PAIRS):
            order = (on, off) if number % 2 else (off, on)
            found = {each: measured(*each) for each in order}
            if number >= 0:  # the first pair warms up
                rates.append(found[on][0] / found[off][0])
                costs.append(found[on][1] / found[off][1])
                plain.append(found[off][0])
    print(f"  without metrics {statistics.median(plain):.0f} requests/s")
    shown("throughput with metrics, as a share of that without; goal 0.95", rates)
    shown("processor time of the front for a request, likewise", costs)


if __name__ == "__main__":
    main()
