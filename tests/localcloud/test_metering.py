"""What the instances of endpoints use, as their metrics tell it."""

import os
import time
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace

import pytest

from workbench.localcloud.cloudwatch.metrics import Metrics, metric_key
from workbench.localcloud.core.store import Store
from workbench.localcloud.sagemaker.endpoints import Endpoint, Variant
from workbench.localcloud.sagemaker.metering import INSTANCES, Metering

NOON = 1_800_000_000.0


@pytest.fixture(name="store")
def _store(tmp_path):
    with closing(Store(tmp_path)) as store:
        yield store


def endpoint(*pids, **facts):
    """An endpoint whose instances are these processes."""
    fleet = SimpleNamespace(instances=[SimpleNamespace(box=SimpleNamespace(pid=p)) for p in pids])
    variant = Variant({"VariantName": "one", **facts}, {}, fleet)
    return Endpoint("e", "arn", "config", NOON, NOON, variants=[variant])


def used(metrics, name):
    dimensions = {"EndpointName": "e", "VariantName": "one"}
    return metrics.statistics(metric_key(INSTANCES, name, dimensions), start=NOON, end=NOON + 60)


def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def test_processors_are_measured_between_two_samples(store):
    metrics = Metrics(store)
    metering = Metering(metrics)
    here = endpoint(os.getpid())
    began, cpu = time.monotonic(), time.process_time()
    metering.sample([here], now=NOON)
    assert used(metrics, "CPUUtilization").count == 0
    while time.process_time() < cpu + 0.3:
        pass
    metering.sample([here], now=NOON + 10)
    passed = time.monotonic() - began

    found = used(metrics, "CPUUtilization")
    assert found.count == 1
    assert 100 * 0.25 / passed < found.sum < 110  # one thread; the system counts hundredths
    assert [each.unit for each in metrics.all() if each.name == "CPUUtilization"] == ["Percent"]


def test_memory_is_a_share_of_what_an_instance_has(store):
    metrics = Metrics(store)
    Metering(metrics).sample([endpoint(os.getpid(), ServerlessConfig={"MemorySizeInMB": 1024})])
    found = metrics.all()
    assert [each.name for each in found] == ["MemoryUtilization"]  # of serverless, that alone
    key = metric_key(INSTANCES, "MemoryUtilization", dict(found[0].dimensions))
    (point,) = metrics.points(key, start=0, end=2**40)["Percent"]
    assert point[1].sum == pytest.approx(100 * resident() / 1024**3, rel=0.1)


def test_an_instance_that_has_just_ended_is_passed_over(store):
    metrics = Metrics(store)
    Metering(metrics).sample([endpoint(2**22 + 1, os.getpid())], now=NOON)
    assert used(metrics, "MemoryUtilization").count == 1
