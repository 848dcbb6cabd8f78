"""Lambda on the local cloud: what a warm Invoke through boto3 costs, and what a cold start takes.

One client, one call after another. How fast boto3 itself is on this machine, today, is measured
beside it: against a server that answers at once with the same bytes. The goals are 400 calls a
second and a median under 2.5 ms, for a function that returns at once; AWS's own emulator of a
single sandbox (aws-lambda-rie) reached 492/s and 1.88 ms on the machine they were set on.
"""

import contextlib
import io
import json
import statistics
import subprocess
import sys
import tempfile
import time
import zipfile
from pathlib import Path

import numpy as np

import workbench as wb
from workbench.backends.base import Batch
from workbench.cloud.aws import Cloud
from workbench.cloud.deploy import deploy
from workbench.cloud.ledger import Ledger
from workbench.localcloud import LocalCloud
from workbench.registry import zoo

CALLS = 1000
REPEATS = 5
COLD_STARTS = 20
MEMORIES = (512, 1769, 3008)


def spread(values, unit=1e3, digits=2, name=" ms"):
    """Return the median of seconds, and how far they go, in milliseconds."""
    low, middle, high = (f"{unit * f(values):.{digits}f}" for f in (min, statistics.median, max))
    return f"{middle}{name} ({low} to {high})"


def boto3_alone():
    """Return the median of calls to a server that does nothing, in seconds."""
    command = [sys.executable, str(Path(__file__).parent / "bench_local_cloud.py"), "canned"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        url = f"http://127.0.0.1:{server.stdout.readline().strip()}"
        cloud = Cloud(name="canned", endpoint_url=url, keys=("key", "secret"), paid=False)
        with contextlib.closing(cloud.client("lambda")) as client:
            taken = []
            for _ in range(CALLS):
                start = time.perf_counter()
                client.invoke(FunctionName="echo", Payload=b'{"a": 1}')["Payload"].read()
                taken.append(time.perf_counter() - start)
        server.terminate()
    return statistics.median(taken[200:])


def timed(call):
    """Print rate and latencies of calls one after another."""
    alone = []
    rates, medians, tails = [], [], []
    for _ in range(200):
        call()
    for _ in range(REPEATS):
        alone.append(boto3_alone())
        taken = []
        began = time.perf_counter()
        for _ in range(CALLS):
            start = time.perf_counter()
            call()
            taken.append(time.perf_counter() - start)
        rates.append(CALLS / (time.perf_counter() - began))
        medians.append(statistics.median(taken))
        tails.append(float(np.quantile(taken, 0.99)))
    rate = spread(rates, 1, 0, "/s")
    print(f"    {rate}; p50 {spread(medians)}; p99 {spread(tails)}")
    ratios = [ours / bare for ours, bare in zip(medians, alone, strict=True)]
    print(f"    boto3 alone: p50 {spread(alone)}; {spread(ratios, 1, 2, ' times that')}")


def smallest(cloud):
    """Time a function that returns at once."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as packed:
        packed.writestr("app.py", "def handler(event, context):\n    return event\n")
    with contextlib.closing(cloud.client("lambda")) as client:
        client.create_function(
            FunctionName="echo",
            Role=cloud.role,
            Runtime="python3.11",
            Handler="app.handler",
            MemorySize=1769,
            Code={"ZipFile": file.getvalue()},
        )
        client.get_waiter("function_active_v2").wait(FunctionName="echo")
        for tail in ("None", "Tail"):
            print(f"  Invoke of a function that returns its event, LogType {tail}")
            options = {"FunctionName": "echo", "Payload": json.dumps({"a": 1}), "LogType": tail}
            timed(lambda options=options: client.invoke(**options)["Payload"].read())


def models(cloud, model, ledger):
    """Time one-row batches through the backend, warm, and cold starts by memory."""
    row = Batch(model.samples().inputs[:1])
    deployment = wb.Lambda(memory_mb=1769, max_concurrency=4)
    with deploy(model, deployment, cloud, ledger=ledger) as up, up.backend() as backend:
        print(f"  one row of {model.name} through the backend")
        timed(lambda: backend.invoke(row))
        print(f"    deployed in {up.seconds:.2f} s")
    for libraries in (None, ledger.path.parent / "libraries"):
        for memory in MEMORIES:
            cold_starts(cloud, model, memory, ledger, libraries)


def cold_starts(cloud, model, memory, ledger, libraries):
    """Print what INIT took, and the first answer at the client, one cold start after another."""
    deployment = wb.Lambda(memory_mb=memory, max_concurrency=1)
    inits, firsts = [], []
    row = Batch(model.samples().inputs[:1])
    with (
        deploy(model, deployment, cloud, ledger=ledger, libraries=libraries) as up,
        up.backend() as backend,
        contextlib.closing(cloud.client("lambda")) as client,
    ):
        for number in range(COLD_STARTS):
            variables = {"Variables": {"NUMBER": str(number)}}
            told = client.get_function_configuration(FunctionName=up.name)
            variables["Variables"] |= told.get("Environment", {}).get("Variables", {})
            variables["Variables"]["NUMBER"] = str(number)  # a change ends what is warm
            client.update_function_configuration(FunctionName=up.name, Environment=variables)
            began = time.perf_counter()
            reply = backend.invoke(row)
            firsts.append(time.perf_counter() - began)
            assert reply.cold, reply
            inits.append(reply.init)
    kind = "image, model from S3" if libraries is None else "zip"
    p90 = 1e3 * float(np.quantile(inits, 0.9))
    print(
        f"  cold start at {memory} MB ({kind}): INIT {spread(inits, digits=0)}, p90 {p90:.0f}; "
        f"first answer {spread(firsts, digits=0)}"
    )


def main():
    with tempfile.TemporaryDirectory() as folder, LocalCloud() as cloud:
        registry = wb.Registry(folder)
        zoo.build(registry)
        smallest(cloud)
        models(cloud, registry["digits-mlp-small"], Ledger(f"{folder}/ledger.db"))
        print(f"  memory and processors: {cloud.facts()['memory_and_cpu'] or 'no environment up'}")


if __name__ == "__main__":
    main()
