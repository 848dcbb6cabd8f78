"""The local cloud: how soon it is up, what a call costs, and what a cold start takes.

How fast boto3 itself is on this machine, today, is measured beside it: against a server in a
process of its own that answers every request at once with the same bytes. The client's whole call
is the sum, so that what the local cloud adds can be told from what no server could save.
"""

import asyncio
import contextlib
import re
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections import deque
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import psutil
import uvloop

import workbench as wb
from tests import wire
from workbench.backends.sagemaker import NPY, pack_npy
from workbench.cloud.aws import Cloud
from workbench.cloud.packaging import archive
from workbench.localcloud import LocalCloud
from workbench.process import run_in_process
from workbench.registry import zoo

CALLS = 3000
SECONDS = 5.0
RATES = (1000, 2000, 3000, 4000)
REPEATS = 5
COLD_STARTS = 20
CONNECTIONS = 64


def spread(values, unit=1e3, digits=1):
    """Return the median of seconds, and how far they go, in milliseconds."""
    low, middle, high = (f"{unit * f(values):.{digits}f}" for f in (min, statistics.median, max))
    return f"{middle} ms ({low} to {high})"


class Place:
    """A local cloud with a model in it."""

    def __init__(self, model, folder, **settings):
        self.cloud = LocalCloud(**settings)
        self.sagemaker = self.cloud.client("sagemaker")
        self.runtime = self.cloud.client("sagemaker-runtime")
        with contextlib.closing(self.cloud.client("s3")) as s3:
            s3.create_bucket(Bucket="models")
            content = archive(model, folder / "model.tar.gz").read_bytes()
            s3.put_object(Bucket="models", Key="model.tar.gz", Body=content)
        container = {"Image": self.cloud.image, "ModelDataUrl": "s3://models/model.tar.gz"}
        self.sagemaker.create_model(ModelName="model", PrimaryContainer=container)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for each in (self.sagemaker, self.runtime, self.cloud):
            each.close()

    def endpoint(self, name, **variant):
        """Make an endpoint, and return the seconds until it was in service."""
        variants = [{"VariantName": "one", "ModelName": "model", **variant}]
        self.sagemaker.create_endpoint_config(EndpointConfigName=name, ProductionVariants=variants)
        began = time.perf_counter()
        self.sagemaker.create_endpoint(EndpointName=name, EndpointConfigName=name)
        told = self.sagemaker.describe_endpoint(EndpointName=name)
        assert told["EndpointStatus"] == "InService", told
        return time.perf_counter() - began

    def delete(self, name):
        self.sagemaker.delete_endpoint(EndpointName=name)
        self.sagemaker.get_waiter("endpoint_deleted").wait(EndpointName=name)

    def invoke(self, name, body):
        """Return the headers of an answer."""
        answer = self.runtime.invoke_endpoint(
            EndpointName=name, Body=body, ContentType=NPY, Accept=NPY
        )
        answer["Body"].read()
        return answer["ResponseMetadata"]["HTTPHeaders"]

    def idle(self):
        """Wait until no instance is up."""
        while True:
            endpoints = self.cloud.state()["endpoints"]
            if not any(each["instances"] for one in endpoints for each in one["variants"]):
                return


ON_INSTANCES = {"InstanceType": "ml.c7g.large", "InitialInstanceCount": 1}


def up(model, folder):
    """Print how soon a local cloud answers, and an endpoint is in service."""
    clouds, endpoints = [], []
    for _ in range(REPEATS):
        began = time.perf_counter()
        cloud = LocalCloud()
        clouds.append(time.perf_counter() - began)
        cloud.close()
    with Place(model, folder) as place:
        for number in range(REPEATS):
            endpoints.append(place.endpoint(f"e{number}", **ON_INSTANCES))
            place.delete(f"e{number}")
    print(f"  local cloud up: {spread(clouds)}; goal 2000")
    print(f"  real-time endpoint InService: {spread(endpoints)}; goal 1500")


class Canned(asyncio.Protocol):
    """A server that answers a request as soon as it has all come."""

    answer = b"HTTP/1.1 200 OK\r\nContent-Type: application/x-npy\r\nContent-Length: 136\r\n\r\n"
    answer += bytes(136)

    def connection_made(self, transport):
        self._transport, self._left = transport, 0
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def data_received(self, data):
        head, _, rest = data.partition(b"\r\n\r\n")
        if self._left:
            self._left -= len(data)
        else:
            self._left = int(Client.length.search(head)[1]) - len(rest)
        if not self._left:
            self._transport.write(self.answer)

    @classmethod
    async def serve(cls):
        server = await asyncio.get_running_loop().create_server(cls, "127.0.0.1", 0)
        print(server.sockets[0].getsockname()[1], flush=True)
        await server.serve_forever()


@contextlib.contextmanager
def canned():
    """The URL and process number of a server, in a process of its own, that does nothing."""
    command = [sys.executable, "-m", "tests.benchmarks.bench_local_cloud", "canned"]
    root = Path(__file__).parents[2]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=root) as server:
        yield f"http://127.0.0.1:{server.stdout.readline().strip()}", server.pid
        server.terminate()


def boto3_alone(body):
    """Return the seconds of calls to a server that does nothing."""
    with canned() as (url, _):
        cloud = Cloud(name="canned", endpoint_url=url, keys=("key", "secret"), paid=False)
        with contextlib.closing(cloud.client("sagemaker-runtime")) as runtime:
            taken = []
            for _ in range(200 + CALLS // REPEATS):
                began = time.perf_counter()
                answer = runtime.invoke_endpoint(
                    EndpointName="e", Body=body, ContentType=NPY, Accept=NPY
                )
                answer["Body"].read()
                taken.append(time.perf_counter() - began)
    return taken[200:]


def calls(place, body):
    """Print what one-row calls through boto3 take, one after another."""
    for _ in range(200):
        place.invoke("e", body)
    alone = []
    medians, tails, models, overheads = [], [], [], []
    for _ in range(REPEATS):
        alone.append(statistics.median(boto3_alone(body)))
        taken, told = [], []
        for _ in range(CALLS // REPEATS):
            began = time.perf_counter()
            told.append(place.invoke("e", body))
            taken.append(time.perf_counter() - began)
        medians.append(statistics.median(taken))
        tails.append(float(np.quantile(taken, 0.99)))
        models.append(statistics.median(int(h["x-workbench-model-latency"]) for h in told) / 1e6)
        overheads.append(
            statistics.median(int(h["x-workbench-overhead-latency"]) for h in told) / 1e6
        )
    print(f"  InvokeEndpoint, one row through boto3: p50 {spread(medians, digits=2)}; goal 1.0")
    ratios = [ours / bare for ours, bare in zip(medians, alone, strict=True)]
    print(
        f"    boto3 alone, against a server that does nothing: {spread(alone, digits=2)}; "
        f"{statistics.median(ratios):.2f} times that ({min(ratios):.2f} to {max(ratios):.2f})"
    )
    print(f"    its p99 {spread(tails, digits=2)}")
    print(f"    of it ModelLatency {spread(models, digits=2)}", end=", ")
    print(f"OverheadLatency {spread(overheads, digits=2)}")


class Client(asyncio.Protocol):
    """A connection of the open-loop client: one request at a time."""

    length = re.compile(rb"content-length: (\d+)", re.IGNORECASE)

    def __init__(self, done):
        self._handle_outcome = done
        self._data = b""

    def connection_made(self, transport):
        self._transport = transport

    def send(self, request, due):
        self._events = due
        self._transport.write(request)

    def data_received(self, data):
        self._data += data
        head = self._data.find(b"\r\n\r\n")
        if head < 0:
            return
        if len(self._data) >= head + 4 + int(self.length.search(self._data)[1]):
            right, self._data = self._data.startswith(b"HTTP/1.1 200"), b""
            self._handle_outcome(self, self._events, right)


def drawn(rate, seconds):
    """Return Poisson arrivals: instants from 0."""
    count = int(rate * seconds)
    return np.cumsum(np.random.default_rng(1).exponential(1 / rate, count)).tolist()


async def open_loop(url, request, rate, seconds):
    """Return the latencies of requests that were due at random instants, NaN for errors."""
    loop = asyncio.get_running_loop()
    host = urlsplit(url)
    arrivals = drawn(rate, seconds)
    idle, waiting, latencies = [], deque(), []
    ended = asyncio.Event()

    def done(client, due, right):
        latencies.append(time.perf_counter() - due if right else float("nan"))
        if waiting:
            client.send(request, waiting.popleft())
        else:
            idle.append(client)
        if len(latencies) == len(arrivals):
            ended.set()

    for _ in range(CONNECTIONS):
        _, client = await loop.create_connection(lambda: Client(done), host.hostname, host.port)
        idle.append(client)
    origin = time.perf_counter() + 0.1
    for arrival in arrivals:
        while (wait := origin + arrival - time.perf_counter()) > 0:
            await asyncio.sleep(wait)
        if idle:
            idle.pop().send(request, origin + arrival)
        else:
            waiting.append(origin + arrival)
    await ended.wait()
    return latencies


def replay(task, emit, stopped):
    """Run the open loop in a process of its own."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(open_loop(*task))


def data_plane(place, body):
    """Print the latencies of raw HTTP requests at several rates, each due at its own instant."""
    path, headers = "/endpoints/e/invocations", {"content-type": NPY, "accept": NPY}
    request = wire.packet(place.cloud, "POST", path, body, headers, service="sagemaker")
    for rate in RATES:
        p50, p99, alone, errors = [], [], [], 0
        for _ in range(REPEATS):
            with canned() as (url, _):
                nothing = run_in_process(replay, (url, request, rate, SECONDS), on_message=print)
            alone.append(float(np.quantile(nothing, 0.99)))
            task = (place.cloud.url, request, rate, SECONDS)
            latencies = np.array(run_in_process(replay, task, on_message=print))
            errors += int(np.isnan(latencies).sum())
            p50.append(float(np.nanquantile(latencies, 0.5)))
            p99.append(float(np.nanquantile(latencies, 0.99)))
        goal = "; goal p99 < 5" if rate == 3000 else ""
        times = [ours / bare for ours, bare in zip(p99, alone, strict=True)]
        print(
            f"  data plane at {rate}/s: p50 {spread(p50, digits=2)}, "
            f"p99 {spread(p99, digits=2)}, errors {errors}{goal}; "
            f"p99 against a server that does nothing {spread(alone, digits=2)}; "
            f"{statistics.median(times):.1f} times that ({min(times):.1f} to {max(times):.1f})"
        )


def cold_starts(model, folder, body, mode):
    """Print what cold starts take where an instance is kept no time at all."""
    with Place(model, folder, cold_start=mode, keep_alive=0.0) as place:
        place.endpoint("s", ServerlessConfig={"MemorySizeInMB": 2048, "MaxConcurrency": 5})
        setups, wholes = [], []
        for _ in range(COLD_STARTS):
            place.idle()
            began = time.perf_counter()
            setups.append(int(place.invoke("s", body)["x-workbench-cold"]) / 1e6)
            wholes.append(time.perf_counter() - began)
    print(f"  cold start, {mode}: {spread(setups)}; the client's whole call {spread(wholes)}")


def memory(model, folder, body, mode):
    """Print the resident memory of a local cloud with one warm endpoint, shared pages divided."""
    with Place(model, folder, cold_start=mode) as place:
        place.endpoint("s", ServerlessConfig={"MemorySizeInMB": 2048, "MaxConcurrency": 5})
        for _ in range(20):
            place.invoke("s", body)
        time.sleep(2.0)  # logs are written twice a second
        front = psutil.Process(place.cloud.pid)
        each = [front, *front.children(recursive=True)]
        facts = [process.memory_full_info() for process in each]
    pss, uss = (sum(getattr(fact, name) for fact in facts) / 2**20 for name in ("pss", "uss"))
    print(f"  memory, {mode}: {pss:.1f} MB (PSS), {uss:.1f} MB their own, {len(each)} processes")


def imports():
    """Print what a process takes that does no more than import what serves a model."""
    taken = []
    for _ in range(REPEATS):
        began = time.perf_counter()
        subprocess.run([sys.executable, "-c", "import numpy, onnxruntime, uvloop"], check=True)
        taken.append(time.perf_counter() - began)
    print(f"  a process that only imports NumPy, ONNX Runtime and uvloop: {spread(taken)}")


def main():
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        registry = wb.Registry(folder / "registry")
        zoo.build(registry)
        model = registry["digits-mlp-small"]
        body = pack_npy(model.samples().inputs[:1])
        up(model, folder)
        with Place(model, folder) as place:
            place.endpoint("e", **ON_INSTANCES)
            calls(place, body)
            data_plane(place, body)
        imports()
        for mode in ("fresh", "imported", "snapshot"):
            cold_starts(model, folder, body, mode)
            memory(model, folder, body, mode)


if __name__ == "__main__":
    if sys.argv[1:] == ["canned"]:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(Canned.serve())
    else:
        main()
