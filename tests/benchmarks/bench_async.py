"""Asynchronous requests: a thousand through a kill of the local cloud, and a body of 1 GB from S3.

`bench_async.py BYTES` sends a body of that size instead.
"""

import io
import json
import os
import signal
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from tests.benchmarks.bench_transform import Memory
from tests.hosted import Hosted, count_writes, on_instances, until, writes
from workbench.backends.sagemaker import NPY

REQUESTS = 1000
BODY = 2**30
PATIENCE = 600.0
NAME = "asynchronous"
LIMIT_MB = 1100  # of the container: a body must fit


@contextmanager
def hosting(path):
    hosted = Hosted(path)
    try:
        yield hosted
    finally:
        hosted.close()


def make(hosted, *, most):
    """Make an asynchronous endpoint that takes large bodies, `most` requests at once."""
    hosted.make_models()
    container = {
        "Image": hosted.cloud.image,
        "ModelDataUrl": "s3://models/good.tar.gz",
        "Environment": {"WORKBENCH_THREADS": "1", "WORKBENCH_MAX_PAYLOAD_MB": str(LIMIT_MB)},
    }
    hosted.sagemaker.create_model(ModelName="large", PrimaryContainer=container)
    output = {"S3OutputPath": "s3://models/out", "S3FailurePath": "s3://models/failed"}
    hosted.sagemaker.create_endpoint_config(
        EndpointConfigName=NAME,
        ProductionVariants=[on_instances(model="large")],
        AsyncInferenceConfig={
            "OutputConfig": output,
            "ClientConfig": {"MaxConcurrentInvocationsPerInstance": most},
        },
    )
    hosted.sagemaker.create_endpoint(EndpointName=NAME, EndpointConfigName=NAME)
    assert hosted.settled(NAME)["EndpointStatus"] == "InService"


def resize(hosted, count):
    hosted.sagemaker.update_endpoint_weights_and_capacities(
        EndpointName=NAME,
        DesiredWeightsAndCapacities=[{"VariantName": "one", "DesiredInstanceCount": count}],
    )
    hosted.settled(NAME)


def ask(hosted, **options):
    asked = {"EndpointName": NAME, "ContentType": "application/json", "Accept": "application/json"}
    return hosted.runtime.invoke_endpoint_async(**asked | options)


def keys(hosted, prefix):
    pages = hosted.s3.get_paginator("list_objects_v2").paginate(Bucket="models", Prefix=prefix)
    return [each["Key"] for page in pages for each in page.get("Contents", [])]


def survive():
    """Print what became of queued requests whose local cloud is killed among its answers."""
    with tempfile.TemporaryDirectory() as folder:
        with hosting(folder) as hosted:
            make(hosted, most=4)
            resize(hosted, 0)  # so that all of them wait
            count_writes(folder)
            began = time.perf_counter()
            body = json.dumps([[1.0, 2.0, 3.0]])
            asked = [ask(hosted, Body=body)["OutputLocation"] for _ in range(REQUESTS)]
            taken = time.perf_counter() - began
            resize(hosted, 1)
            until(lambda: _waiting(hosted) < REQUESTS)
            left = _waiting(hosted)
            os.kill(hosted.cloud.pid, signal.SIGKILL)
        began = time.perf_counter()
        with hosting(folder) as hosted:
            until(lambda: len(keys(hosted, "out/")) >= REQUESTS, patience=PATIENCE)
            passed = time.perf_counter() - began
            until(lambda: _waiting(hosted) == 0)
            found, failed = keys(hosted, "out/"), keys(hosted, "failed/")
        written = writes(folder)
    twice = sum(written[where] > 1 for where in asked)
    lost = set(asked) - {f"s3://models/{key}" for key in found}
    print(
        f"{REQUESTS} requests taken at {REQUESTS / taken:,.0f}/s, killed with {left} left, "
        f"which were answered {passed:.1f} s after the restart: {len(lost)} lost, "
        f"{len(found) - len(set(asked))} more results than requests, {len(failed)} failures; "
        f"{written.total()} objects written, {twice} of them more than once",
        flush=True,
    )


def _waiting(hosted):
    (found,) = (each for each in hosted.cloud.state()["backlogs"] if each["endpoint"] == NAME)
    return found["ApproximateBacklogSize"]


def large(size):
    """Print how much more memory a body of so many bytes takes, which comes from S3."""
    with tempfile.TemporaryDirectory() as folder, hosting(folder) as hosted:
        make(hosted, most=1)
        path = Path(folder) / "body.npy"
        head = io.BytesIO()
        rows = (size - 128) // 12  # three float32 a row, after the header
        described = {"descr": "<f4", "fortran_order": False, "shape": (rows, 3)}
        np.lib.format.write_array_header_1_0(head, described)
        with path.open("wb") as file:  # zeros: a hole in the file
            file.write(head.getvalue())
            file.truncate(len(head.getvalue()) + 12 * rows)
        with Memory(hosted.cloud.pid) as memory:
            until(lambda: memory.front and memory.worker)
            front, worker = memory.front, memory.worker
            hosted.s3.upload_file(str(path), "models", "body.npy")
            began = time.perf_counter()
            ask(hosted, InputLocation="s3://models/body.npy", ContentType=NPY, Accept=NPY)
            over = ("out/", "failed/")
            until(lambda: any(keys(hosted, each) for each in over), patience=PATIENCE)
            passed = time.perf_counter() - began
        failed = keys(hosted, "failed/")
        for key in failed:
            print(hosted.s3.get_object(Bucket="models", Key=key)["Body"].read().decode())
    print(
        f"a body of {mebibytes(size)} from S3 {'failed' if failed else 'answered'} after "
        f"{passed:.1f} s: {(memory.front - front) / 1e6:.0f} MB more at the front, "
        f"{(memory.worker - worker) / 1e6:.0f} MB more at the worker",
        flush=True,
    )


def mebibytes(size):
    return f"{size / 2**20:,.0f} MiB"


def main(size=BODY):
    survive()
    large(size)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
