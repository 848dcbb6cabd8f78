"""The model server alone, one process: rates that it keeps up with, idle latency, memory.

A request is one row of 784 numbers for a network of 784 x 128 x 10, as JSON or as the bytes of an
array, sent open-loop from a process of its own over 64 connections. The goals: 8,000 requests a
second as JSON with p99 under 50 ms, 30,000 as bytes, an idle p50 of 1.2 ms, and 80 MB. The peers'
figures in the issue that set them, on another day: BentoML 225/s, Ray Serve 173, LitServe 738,
MLServer 925, bare FastAPI 2,531.

Then, with a client in C that is not the limit, the highest rate at p99 < 50 ms, in turns with a
bare protocol that answers the same requests without a model; the goal is 0.9 of its rate as bytes.
With another checkout's folder as argument, its server takes turns too: the goal is 1.4 of its rate
as JSON. CPU time of a request is printed beside each, which other work on a machine spoils less.
"""

import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import onnx
from bench_local_cloud import REPEATS, canned, replay, spread
from onnx import TensorProto, helper, numpy_helper

from workbench.backends.sagemaker import NPY, pack_npy
from workbench.process import run_in_process

INPUTS, HIDDEN, OUTPUTS = 784, 128, 10
RATES = {"JSON": (2000, 4000, 6000, 8000), "bytes": (5000, 10_000, 20_000, 30_000)}
GOALS = {("JSON", 8000), ("bytes", 30_000)}
SECONDS = 3.0
MAX_BATCH = 64
CLIENT = Path(__file__).with_name("load_client.c")
CONNECTIONS = "64"
WARM_UP = 20_000  # requests as fast as they are answered, which tell where to look


def network():
    """The bytes of an ONNX network with random weights."""
    draw = np.random.default_rng(1).standard_normal
    weights = [
        numpy_helper.from_array((draw(shape) / 20).astype(np.float32), name)
        for name, shape in (("w", (INPUTS, HIDDEN)), ("v", (HIDDEN, OUTPUTS)))
    ]
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["a"]),
        helper.make_node("Relu", ["a"], ["b"]),
        helper.make_node("MatMul", ["b", "v"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "mlp",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", INPUTS])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", OUTPUTS])],
        weights,
    )
    opset = helper.make_opsetid("", 17)
    return helper.make_model(graph, opset_imports=[opset], ir_version=8).SerializeToString()


@contextlib.contextmanager
def serving(folder, max_batch, checkout=None):
    """The URL and process number of a model server."""
    read, write = os.pipe()
    python = sys.executable if checkout is None else Path(checkout) / ".venv/bin/python"
    command = [
        *(python, "-P", "-m", "workbench.modelserver", "serve"),
        *("--host", "127.0.0.1", "--port", "0", "--model", str(folder)),
        *("--stack", "even-if-answers-change", "--max-batch", str(max_batch)),
        *("--announce", str(write)),
    ]
    with subprocess.Popen(command, pass_fds=[write], stderr=subprocess.DEVNULL) as server:
        os.close(write)
        with os.fdopen(read) as announced:
            port = int(announced.readline())
        try:
            yield f"http://127.0.0.1:{port}", server.pid
        finally:
            server.terminate()


def request(body, kind):
    return (
        f"POST /invocations HTTP/1.1\r\nHost: local\r\nContent-Type: {kind}\r\nAccept: {kind}\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    ).encode() + body


def run(url, asked, rate, seconds=SECONDS):
    """Return latencies (NaN: an error), and answers a second until the last came."""
    began = time.perf_counter()
    latencies = np.array(run_in_process(replay, (url, asked, rate, seconds), on_message=print))
    return latencies, time.perf_counter() - began


def resident(pid, what):
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(what))


def rates(url, kind, asked):
    for rate in RATES[kind]:
        p50, p99, errors = [], [], 0
        for _ in range(REPEATS):
            latencies, _ = run(url, asked, rate)
            errors += int(np.isnan(latencies).sum())
            p50.append(float(np.nanquantile(latencies, 0.5)))
            p99.append(float(np.nanquantile(latencies, 0.99)))
        goal = "; goal p99 < 50" if (kind, rate) in GOALS else ""
        print(
            f"    {rate:>6}/s: p50 {spread(p50, digits=2)}, p99 {spread(p99, digits=2)}, "
            f"errors {errors}{goal}",
            flush=True,
        )


def compile_client(folder):
    client = folder / "load_client"
    subprocess.run(["cc", "-O2", "-o", client, CLIENT, "-lm"], check=True)
    return client


def ask(client, url, asked, rate, amount):
    """Return p99 (NaN after an error) and answers a second of the client in C."""
    command = [client, url.rpartition(":")[2], str(rate), str(amount), CONNECTIONS]
    told = subprocess.run(command, input=asked, stdout=subprocess.PIPE, check=True).stdout.split()
    return float("nan") if int(told[3]) else float(told[1]), float(told[2])


def cpu_seconds(pid):
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e9


def highest(client, url, pid, asked):
    """Return the highest rate at p99 < 50 ms, and CPU seconds of a request as fast as it goes."""
    before = cpu_seconds(pid)
    _, rate = ask(client, url, asked, 0, WARM_UP)
    cpu = (cpu_seconds(pid) - before) / WARM_UP
    rate *= 1.2
    while not ask(client, url, asked, rate, SECONDS)[0] < 0.05:
        rate *= 0.9
    return rate, cpu


def compare(client, servers, kind, asked):
    """Print the highest rates of servers, in turns."""
    found = {name: [] for name in servers}
    for _ in range(REPEATS):
        for name, (url, pid) in servers.items():
            found[name].append(highest(client, url, pid, asked))
    own = [rate for rate, _ in found["this build"]]
    for name, each in found.items():
        peers, cpu = zip(*each, strict=True)
        shares = [mine / peer for mine, peer in zip(own, peers, strict=True)]
        print(
            f"  {kind}, {name}: at most {statistics.median(peers):,.0f}/s "
            f"({min(peers):,.0f} to {max(peers):,.0f}), of CPU {spread(cpu, 1e6).replace('m', 'u')}"
            f" a request; this build has {statistics.median(shares):.2f} times that rate "
            f"({min(shares):.2f} to {max(shares):.2f})",
            flush=True,
        )


def compare_all(folder, bodies, former):
    client = compile_client(folder)
    with contextlib.ExitStack() as stack:
        servers = {"this build": stack.enter_context(serving(folder, MAX_BATCH))}
        if former:
            servers["former"] = stack.enter_context(serving(folder, MAX_BATCH, former))
        servers["bare protocol"] = stack.enter_context(canned())
        for kind, asked in bodies.items():
            compare(client, servers, kind, asked)


def main(former=None):
    row = np.random.default_rng(2).random((1, INPUTS), dtype=np.float32)
    written = [[round(float(x), 4) for x in row[0]]]
    bodies = {
        "JSON": request(json.dumps(written).encode(), "application/json"),
        "bytes": request(pack_npy(row), NPY),
    }
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "model.onnx").write_bytes(network())
        onnx.checker.check_model(str(folder / "model.onnx"))
        with serving(folder, 1) as (url, pid):
            print(f"  memory after loading: {resident(pid, 'VmRSS'):.0f} MB; goal 80")
            for kind, asked in bodies.items():
                idle = [float(np.median(run(url, asked, 50)[0])) for _ in range(REPEATS)]
                print(f"  idle, {kind}, 50/s: p50 {spread(idle, digits=2)}; goal 1.2")
        with serving(folder, MAX_BATCH) as (url, pid):
            for kind, asked in bodies.items():
                size = len(asked)
                print(f"  {kind} of {INPUTS} numbers, {size:,} bytes, up to {MAX_BATCH} stacked")
                rates(url, kind, asked)
            print(f"  memory at its most: {resident(pid, 'VmHWM'):.0f} MB")
        compare_all(folder, bodies, former)


if __name__ == "__main__":
    main(*sys.argv[1:])
