"""Experiments on batch transform: the trace as jobs on a local cloud."""

import math
import threading

import numpy as np
import pytest

import workbench as wb
from tests.refused import refused
from workbench.cloud.client import CloudClient
from workbench.cloud.ledger import Ledger
from workbench.cloud.transform_jobs import TransformJobs
from workbench.errors import CloudError, Stopped
from workbench.localcloud import LocalCloud

TRACE = wb.Trace(arrivals=[0.1, 0.2, 0.9, 1.0, 1.05, 3.5], duration=4.0)
PERIODIC = wb.BatchTransform(instance_type="ml.m5.large", count=2, period=1.0)


@pytest.fixture(scope="module")
def cloud(tmp_path_factory):
    with LocalCloud(tmp_path_factory.mktemp("cloud")) as cloud:
        yield cloud


pytestmark = pytest.mark.usefixtures("at_home")


def nothing_left(cloud):
    with CloudClient(cloud) as aws:
        found = [
            *aws.sagemaker("list_models")["Models"],
            *aws.s3("list_objects_v2", Bucket="workbench").get("Contents", []),
        ]
    return not found and not Ledger().entries()


def test_the_requests_of_a_period_are_one_job_that_starts_when_it_is_over(cloud, model):
    run = wb.Experiment(model, PERIODIC, TRACE).run(cloud)
    frame = run.frame
    assert (run.origin, run.answered, run.complete) == ("measured: local cloud", 6, True)
    assert frame["batch"].to_list() == [0, 0, 0, 1, 1, 2]
    due = np.array([1.0, 1.0, 1.0, 2.0, 2.0, 4.0])
    assert (frame["started"].to_numpy() >= due).all()
    assert frame["finished"].n_unique() == 3
    assert run.summary()["accuracy"] > 0.5
    times = wb.ServiceTimes(dict.fromkeys(range(1, 33), 0.001))
    simulated = wb.Experiment(model, PERIODIC, TRACE).simulate(times, cold_start=0.5)
    assert simulated.frame["batch"].to_list() == frame["batch"].to_list()
    assert nothing_left(cloud)


def test_without_a_period_one_job_starts_at_the_end_and_is_billed_while_it_ran(cloud, model):
    once = wb.BatchTransform(instance_type="ml.m5.large", count=2)
    trace = wb.constant(rate=200, duration=1.0)
    run = wb.Experiment(model, once, trace, wb.BatchPolicy(max_size=8, max_wait=0.1)).run(cloud)
    assert run.frame["batch"].n_unique() == 1
    assert run.frame["started"].min() >= trace.duration
    (first, second) = run.record.instances
    assert first == second
    assert trace.duration <= first[0] < first[1] == run.frame["finished"][0]
    seconds = 2 * math.ceil(first[1] - first[0])
    assert wb.cost(run).total == pytest.approx(0.115 * seconds / 3600)
    assert any("takes no policy" in warning for warning in run.warnings)


def test_a_job_that_fails_fails_its_requests_and_the_others_go_on(cloud, model, monkeypatch):
    start = TransformJobs.start

    def refuse(jobs, job):
        if job == "1":
            raise CloudError("No instances are to be had.", "CapacityError")
        start(jobs, job)

    monkeypatch.setattr(TransformJobs, "start", refuse)
    run = wb.Experiment(model, PERIODIC, TRACE).run(cloud)
    failed = run.frame.filter(run.frame["error"].is_not_null())
    assert set(failed["batch"]) == {1}
    assert "No instances are to be had" in failed["error"][0]
    assert run.answered == 4
    assert nothing_left(cloud)


def test_a_stop_before_the_jobs_are_ready_leaves_nothing(cloud, model, monkeypatch):
    stopped = threading.Event()
    call = CloudClient.s3

    def stopping(calls, operation, **parameters):
        answer = call(calls, operation, **parameters)
        if operation == "put_object":
            stopped.set()
        return answer

    monkeypatch.setattr(CloudClient, "s3", stopping)
    with refused(Stopped, "torn down"):
        wb.Experiment(model, PERIODIC, TRACE).run(cloud, stopped=stopped)
    assert nothing_left(cloud)


def test_a_run_that_is_stopped_keeps_the_jobs_that_ended(cloud, model):
    stopped = threading.Event()
    trace = wb.Trace(arrivals=[*TRACE.arrivals, 600.0], duration=601.0)
    experiment = wb.Experiment(model, PERIODIC, trace)
    run = experiment.run(cloud, stopped=stopped, on_rows=lambda _: stopped.set())
    assert not run.complete
    assert 3 <= len(run) < len(trace)
    assert nothing_left(cloud)
