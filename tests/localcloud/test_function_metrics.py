"""Lambda's metrics: a call counts once, where AWS counts it."""

import math
from contextlib import closing
from datetime import UTC, datetime, timedelta

import pytest

from tests.lambdas import Lambdas
from workbench.localcloud import LocalCloud
from workbench.localcloud.cloudwatch.metrics import Metrics, metric_key
from workbench.localcloud.core.store import Store
from workbench.localcloud.lambda_.metrics import NAMESPACE, FunctionInvocation, FunctionMetrics


def called(error="", duration=0.002, **more):
    usual = {"function": "f", "version": "1", "qualifier": "1", "at": 60.0, "under_way": 1}
    usual |= {"throttled": False}
    return FunctionInvocation(**usual | {"error": error, "duration": duration} | more)


@pytest.fixture
def read(tmp_path):
    """Record calls, and return what reads a metric's statistics."""
    with closing(Store(tmp_path / "cloud")) as store:
        metrics = Metrics(store)
        functions = FunctionMetrics(metrics)
        for each in (
            called(),
            called("ValueError", duration=0.004, under_way=3),
            called("TooManyRequestsException", duration=None, throttled=True),
        ):
            functions.record(each)

        def read(name, **dimensions):
            wanted = {"FunctionName": "f"} | dimensions
            return metrics.statistics(metric_key(NAMESPACE, name, wanted), start=0, end=math.inf)

        yield read


@pytest.mark.parametrize("dimensions", [{}, {"Resource": "f:1"}])
def test_calls_errors_and_throttles_are_counted_apart(read, dimensions):
    sums = {name: read(name, **dimensions).sum for name in ("Invocations", "Errors", "Throttles")}

    assert sums == {"Invocations": 2, "Errors": 1, "Throttles": 1}


def test_duration_is_in_milliseconds_and_concurrency_the_most_at_once(read):
    assert (read("Duration").count, read("Duration").sum) == (2, pytest.approx(6.0))
    assert read("ConcurrentExecutions").most == 3


def test_what_cloudwatch_tells_equals_the_clients_own_count(tmp_path):
    now = datetime.now(UTC)
    with LocalCloud(tmp_path / "cloud") as cloud, closing(Lambdas(cloud)) as some:
        name = some.make()
        for event in ({}, {"a": 1}, {"fail": "x"}):
            some.invoke(name, event)
        with closing(cloud.client("cloudwatch")) as cloudwatch:
            (whole,) = cloudwatch.get_metric_data(
                StartTime=now - timedelta(hours=1),
                EndTime=now + timedelta(hours=1),
                MetricDataQueries=[query("duration", "Duration", "SampleCount", name)],
            )["MetricDataResults"]
            sums = cloudwatch.get_metric_data(
                StartTime=now - timedelta(hours=1),
                EndTime=now + timedelta(hours=1),
                MetricDataQueries=[
                    query(each.lower(), each, "Sum", name)
                    for each in ("Invocations", "Errors", "Throttles")
                ],
            )["MetricDataResults"]

    assert sum(whole["Values"]) == 3
    assert {each["Id"]: sum(each["Values"]) for each in sums} == {
        "invocations": 3,
        "errors": 1,
        "throttles": 0,
    }


def query(label, metric, statistic, function):
    dimensions = [{"Name": "FunctionName", "Value": function}]
    named = {"Namespace": NAMESPACE, "MetricName": metric, "Dimensions": dimensions}
    return {"Id": label, "MetricStat": {"Metric": named, "Period": 60, "Stat": statistic}}
