"""A local cloud with a tiny model in its S3, and short ways to do things there through boto3."""

import io
import itertools
import json
import os
import re
import signal
import sqlite3
import tarfile
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path

from tests.graphs import linear
from workbench.cloud.autoscaling import VARIANT
from workbench.localcloud import LocalCloud

PATIENCE = 120.0  # seconds that a busy machine may take for one thing
ROWS = [[1.0, 2.0, 3.0]]


def archived(content):
    """Return a model.tar.gz that holds this as its model, or these files by their names."""
    file = io.BytesIO()
    files = content if isinstance(content, dict) else {"model.onnx": content}
    with tarfile.open(fileobj=file, mode="w:gz") as tar:
        for name, each in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(each)
            tar.addfile(member, io.BytesIO(each))
    return file.getvalue()


def until(there, *, patience=PATIENCE):
    """Return what `there()` returns once that is something."""
    deadline = time.monotonic() + patience
    while not (found := there()):
        assert time.monotonic() < deadline, "it never came to be"
        time.sleep(0.005)
    return found


def count_writes(path):
    """Have the local cloud of a folder note each time that an object is written, from now on."""
    with closing(sqlite3.connect(Path(path) / "cloud.db")) as db:
        db.executescript(
            "CREATE TABLE written (key TEXT NOT NULL);"
            "CREATE TRIGGER count_writes AFTER INSERT ON objects BEGIN"
            "  INSERT INTO written VALUES ('s3://' || NEW.bucket || '/' || NEW.key);"
            "END;"
        )


def writes(path):
    """How often each object was written since then, by its address."""
    with closing(sqlite3.connect(Path(path) / "cloud.db")) as db:
        return Counter(key for (key,) in db.execute("SELECT key FROM written"))


class Hosted:
    """A local cloud that knows the models "good" and "bad"."""

    def __init__(self, path=None, **settings):
        self.cloud = LocalCloud(path, **settings)
        self.sagemaker = self.cloud.client("sagemaker")
        self.runtime = self.cloud.client("sagemaker-runtime", pool=20)
        self.s3 = self.cloud.client("s3")
        self._to_array = itertools.count()

    def close(self):
        for client in (self.sagemaker, self.runtime, self.s3):
            client.close()
        self.cloud.close()

    def make_models(self):
        self.s3.create_bucket(Bucket="models")
        for name, content in {"good": linear(), "bad": b"no model"}.items():
            self.s3.put_object(Bucket="models", Key=f"{name}.tar.gz", Body=archived(content))
            container = {
                "Image": self.cloud.image,
                "ModelDataUrl": f"s3://models/{name}.tar.gz",
                "Environment": {"WORKBENCH_THREADS": "1"},
            }
            self.sagemaker.create_model(
                ModelName=name, PrimaryContainer=container, ExecutionRoleArn=self.cloud.role
            )

    def config(self, *variants):
        """Return the name of a new configuration."""
        name = f"config-{next(self._to_array)}"
        self.sagemaker.create_endpoint_config(
            EndpointConfigName=name, ProductionVariants=list(variants)
        )
        return name

    def endpoint(self, *variants, name=None):
        """Return the name of a new endpoint, once it is no longer Creating."""
        name = name or f"endpoint-{next(self._to_array)}"
        self.sagemaker.create_endpoint(
            EndpointName=name, EndpointConfigName=self.config(*variants or [on_instances()])
        )
        self.settled(name)
        return name

    def settled(self, name):
        """Return the description of an endpoint that is not on its way anywhere."""
        return until(lambda: self._settled(name))

    def _settled(self, name):
        told = self.sagemaker.describe_endpoint(EndpointName=name)
        moving = ("Creating", "Updating", "SystemUpdating", "Deleting")
        return None if told["EndpointStatus"] in moving else told

    def invoke(self, name, rows=ROWS, **options):
        """Return what the endpoint answers to rows, as boto3 gives it, with the body read."""
        answer = self.runtime.invoke_endpoint(
            EndpointName=name,
            Body=json.dumps(rows),
            **{"ContentType": "application/json", "Accept": "application/json"} | options,
        )
        return answer | {"Body": json.loads(answer["Body"].read())}

    def instances(self, name, variant=None):
        """Return what the local cloud tells of an endpoint's instances."""
        told = self.cloud.state()
        return [
            instance
            for endpoint in told["endpoints"]
            if endpoint["endpoint"] == name
            for each in endpoint["variants"]
            if variant in (None, each["variant"])
            for instance in each["instances"]
        ]

    @contextmanager
    def stopped(self, name):
        """Have the endpoint's workers hang inside the block."""
        pids = [instance["pid"] for instance in self.instances(name)]
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        try:
            yield pids
        finally:
            for pid in pids:
                if alive(pid):
                    os.kill(pid, signal.SIGCONT)

    @contextmanager
    def pending(self, name, count=1):
        """Have requests under way inside the block, as futures."""
        before = sum(instance["in_flight"] for instance in self.instances(name))
        with ThreadPoolExecutor(count) as pool:
            futures = [pool.submit(self.invoke, name) for _ in range(count)]
            until(lambda: sum(each["in_flight"] for each in self.instances(name)) >= before + count)
            yield futures


def on_instances(variant="one", model="good", count=1, **more):
    return {
        "VariantName": variant,
        "ModelName": model,
        "InstanceType": "ml.c7g.large",
        "InitialInstanceCount": count,
        **more,
    }


@contextmanager
def called(*, times):
    """A local cloud with an endpoint, `name`, that has been called so often."""
    hosted = Hosted()
    try:
        hosted.make_models()
        hosted.name = hosted.endpoint(on_instances(VARIANT))
        for _ in range(times):
            hosted.invoke(hosted.name)
        yield hosted
    finally:
        hosted.close()


def serverless(variant="one", model="good", memory=2048, most=2, **more):
    config = {"MemorySizeInMB": memory, "MaxConcurrency": most, **more}
    return {"VariantName": variant, "ModelName": model, "ServerlessConfig": config}


def most_resident(pid):
    """The most bytes that a process ever had in memory."""
    (line,) = re.findall(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    return int(line) * 1024


def alive(pid):
    """Whether there is a process of that number that has not ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


def headers(answer):
    """Return the headers of an answer of boto3's."""
    return answer["ResponseMetadata"]["HTTPHeaders"]
