"""The model server alone, one process: rates that it keeps up with, idle latency, memory.

A request is one row of 784 numbers for a network of 784 x 128 x 10, as JSON or as the bytes of an
array, sent open-loop from a process of its own over 64 connections. The goals: 8,000 requests a
second as JSON with p99 under 50 ms, 30,000 as bytes, an idle p50 of 1.2 ms, and 80 MB. The peers'
figures in the issue that set them, on another day: BentoML 225/s, Ray Serve 173, LitServe 738,
MLServer 925, bare FastAPI 2,531.
"""

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import onnx
from bench_local_cloud import REPEATS, replay, spread
from onnx import TensorProto, helper, numpy_helper

from workbench.backends.sagemaker import NPY, pack_npy
from workbench.process import run_in_process

INPUTS, HIDDEN, OUTPUTS = 784, 128, 10
RATES = {"JSON": (2000, 4000, 6000, 8000), "bytes": (5000, 10_000, 20_000, 30_000)}
GOALS = {("JSON", 8000), ("bytes", 30_000)}
SECONDS = 3.0
MAX_BATCH = 64


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
def serving(folder, max_batch):
    """The URL and process number of a model server."""
    read, write = os.pipe()
    command = [
        *(sys.executable, "-P", "-m", "workbench.modelserver", "serve"),
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


def main():
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


if __name__ == "__main__":
    main()
