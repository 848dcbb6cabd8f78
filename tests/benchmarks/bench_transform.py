"""Batch transform of a million digits on two workers, against two bare loops of ONNX Runtime."""

import contextlib
import csv
import io
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import psutil

import workbench as wb
from workbench.backends.sagemaker import NPY, pack_npy
from workbench.cloud.packaging import archive
from workbench.localcloud import LocalCloud

ROWS = 1_000_000
WORKERS = 2
REPEATS = 2
MODEL = "digits-mlp-large"
OTHERS = ("digits-mlp-int8", "digits-mlp-small")
PARTS = (4096, 16384)  # rows of an object
BARE = 4096  # rows of a bare run

LOOP = """
import sys, time
import numpy as np, onnxruntime
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = options.inter_op_num_threads = 1
session = onnxruntime.InferenceSession(sys.argv[1], options, providers=["CPUExecutionProvider"])
rows, batch = int(sys.argv[2]), int(sys.argv[3])
inputs = np.tile(np.load(sys.argv[4])["inputs"], (batch // 500 + 1, 1))[:batch]
name, first = session.get_inputs()[0].name, [session.get_outputs()[0].name]
session.run(first, {name: inputs})
print("ready", flush=True)
sys.stdin.readline()
began = time.perf_counter()
for _ in range(rows // batch):
    session.run(first, {name: inputs})
print((rows // batch) * batch / (time.perf_counter() - began))
"""


def bare(model, batch, total):
    """Return the rows a second of two processes that do nothing but run the model."""
    command = [sys.executable, "-c", LOOP, str(model.path), str(total // WORKERS), str(batch)]
    loops = [
        subprocess.Popen(
            [*command, str(model.samples_path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(WORKERS)
    ]
    for loop in loops:
        loop.stdout.readline()
    for loop in loops:
        loop.stdin.write("\n")
        loop.stdin.flush()
    rates = [float(loop.communicate()[0]) for loop in loops]
    return sum(rates)


class Memory:
    """The most that a local cloud and its workers have resident, each, while the block runs."""

    def __init__(self, pid):
        self._front = psutil.Process(pid)
        self._finish_event = threading.Event()
        self.front = self.worker = 0

    def __enter__(self):
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._finish_event.set()
        self._thread.join()

    def _watch(self):
        while not self._finish_event.wait(0.05):
            with contextlib.suppress(psutil.Error):
                self.front = max(self.front, self._front.memory_info().rss)
                for child in self._front.children(recursive=True):
                    self.worker = max(self.worker, child.memory_info().rss)


class Place:
    """A local cloud with models and a million digits in it."""

    def __init__(self):
        self.cloud = LocalCloud()
        self.s3, self.sagemaker = self.cloud.client("s3"), self.cloud.client("sagemaker")
        self.s3.create_bucket(Bucket="data")
        self._jobs = 0

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for each in (self.s3, self.sagemaker, self.cloud):
            each.close()

    def add(self, model, folder):
        path = archive(model, folder / f"{model.group}.tar.gz")
        self.s3.put_object(Bucket="data", Key=f"{model.group}.tar.gz", Body=path.read_bytes())
        container = {"Image": "own/workbench", "ModelDataUrl": f"s3://data/{model.group}.tar.gz"}
        self.sagemaker.create_model(ModelName=model.group, PrimaryContainer=container)

    def fill(self, inputs, prefix, written, rows, total):
        """Put rows there as objects of `rows` each."""
        pool = np.tile(inputs, (rows // len(inputs) + 1, 1))[:rows]
        whole = written(pool)
        for part, at in enumerate(range(0, total, rows)):
            body = whole if at + rows <= total else written(pool[: total - at])
            self.s3.put_object(Bucket="data", Key=f"{prefix}/{part:05d}", Body=body)

    def transform(self, model, prefix, kind, split, total):
        """Return the rows a second of a job, instances' start excluded, and the memory it took."""
        self._jobs += 1
        name = f"job-{self._jobs}"
        source = {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": f"s3://data/{prefix}/"}}
        with Memory(self.cloud.pid) as memory:
            self.sagemaker.create_transform_job(
                TransformJobName=name,
                ModelName=model.group,
                MaxConcurrentTransforms=2,
                TransformInput={"DataSource": source, "ContentType": kind, "SplitType": split},
                TransformOutput={
                    "S3OutputPath": f"s3://data/out/{name}/",
                    "Accept": kind,
                    "AssembleWith": split,
                },
                TransformResources={"InstanceType": "ml.m5.large", "InstanceCount": WORKERS},
            )
            up = self._await(lambda: self._up(name) == WORKERS)
            self._await(lambda: self._log_end(name)["TransformJobStatus"] != "InProgress")
        told = self._log_end(name)
        assert told["TransformJobStatus"] == "Completed", told
        return total / (told["TransformEndTime"].timestamp() - up), memory

    def _told(self, name):
        return self.sagemaker.describe_transform_job(TransformJobName=name)

    def _up(self, name):
        jobs = [job for job in self.cloud.state()["jobs"] if job["job"] == name]
        return sum(len(job["instances"]) for job in jobs)

    @staticmethod
    def _await(there):
        while not there():
            time.sleep(0.01)
        return time.time()


def as_csv(rows):
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows.tolist())
    return text.getvalue().encode()


def spread(values):
    low, middle, high = min(values), statistics.median(values), max(values)
    return f"{middle:,.0f} rows/s ({low:,.0f} to {high:,.0f})"


def ratio(place, model, data, *, total, kind=NPY, split="None"):
    """Print a job's throughput beside that of bare loops, which take turns with it."""
    jobs, loops, memories = [], [], []
    for _ in range(REPEATS):
        loops.append(bare(model, BARE, total))
        rate, memory = place.transform(model, data, kind, split, total)
        jobs.append(rate)
        memories.append(memory)
    share = statistics.median(job / loop for job, loop in zip(jobs, loops, strict=True))
    front, worker = (max(getattr(each, who) for each in memories) for who in ("front", "worker"))
    print(
        f"{model.group}, {data}: {spread(jobs)}, bare {spread(loops)}: {share:.2f} of it; "
        f"at most {front / 1e6:.0f} MB at the front and {worker / 1e6:.0f} MB a worker",
        flush=True,
    )


def main(total=ROWS):
    registry = wb.Registry()
    model = registry[MODEL]
    inputs = model.samples().inputs
    with Place() as place, tempfile.TemporaryDirectory() as folder:
        for each in (model, *(registry[name] for name in OTHERS)):
            place.add(each, Path(folder))
        for rows in PARTS:
            place.fill(inputs, f"npy, {rows} rows an object", pack_npy, rows, total)
            ratio(place, model, f"npy, {rows} rows an object", total=total)
        for name in OTHERS:
            ratio(place, registry[name], f"npy, {PARTS[0]} rows an object", total=total)
        place.fill(inputs, "csv lines", as_csv, 125_000, total)
        ratio(place, model, "csv lines", total=total, kind="text/csv", split="Line")
        data = Path(folder) / "rows.npy"
        np.save(data, np.tile(inputs, (total // len(inputs) + 1, 1))[:total])
        job = wb.BatchTransform(instance_type="ml.m5.large", count=WORKERS)
        began = time.perf_counter()
        wb.transform(model, data, job, place.cloud, output=Path(folder) / "answers.npy")
        whole = total / (time.perf_counter() - began)
        print(f"wb.transform, from one file to another: {whole:,.0f} rows/s")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
