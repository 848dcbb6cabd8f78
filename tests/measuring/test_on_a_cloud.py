"""Experiments, deployments and the ledger on a local cloud: the real thing but for AWS."""

import os
import signal
import subprocess
import sys
import threading
from contextlib import closing

import numpy as np
import pytest

import workbench as wb
from tests.refused import refused
from workbench.backends.base import Batch
from workbench.cloud.client import CloudClient
from workbench.cloud.deploy import deploy, teardown
from workbench.cloud.ledger import Ledger
from workbench.errors import CloudError, InvalidInput, NotAvailable, Unreachable
from workbench.localcloud import LocalCloud

SERVERLESS = wb.Serverless(memory_mb=2048, max_concurrency=4, on_limit="queue")
REAL_TIME = wb.RealTime(instance_type="ml.m5.large", count=2)
LAMBDA = wb.Lambda(memory_mb=1769, max_concurrency=4, on_limit="queue")
TRACE = wb.poisson(rate=30, duration=1.0, seed=1)

KILLED = """
import os, signal
from workbench import Registry, Serverless
from workbench.cloud.adapters import endpoint
from workbench.cloud.aws import Cloud
from workbench.cloud.deploy import deploy

url, role, image, *keys = os.environ["CLOUD"].split()
cloud = Cloud(endpoint_url=url, role=role, image=image, bucket="workbench", paid=False,
              keys=tuple(keys), poll=0.05)
endpoint.await_service = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
model = Registry()["digits-mlp-small"]
with deploy(model, Serverless(memory_mb=2048, max_concurrency=4), cloud):
    pass
"""


@pytest.fixture(scope="module")
def cloud(tmp_path_factory):
    with LocalCloud(tmp_path_factory.mktemp("cloud")) as cloud:
        yield cloud


pytestmark = pytest.mark.usefixtures("at_home")


def endpoints(cloud):
    with CloudClient(cloud) as aws:
        return [each["EndpointName"] for each in aws.sagemaker("list_endpoints")["Endpoints"]]


def nothing_left(cloud):
    with CloudClient(cloud) as aws:
        found = [
            *aws.sagemaker("list_endpoints")["Endpoints"],
            *aws.sagemaker("list_endpoint_configs")["EndpointConfigs"],
            *aws.sagemaker("list_models")["Models"],
            *aws.lambda_("list_functions")["Functions"],
            *aws.s3("list_objects_v2", Bucket="workbench").get("Contents", []),
        ]
    return not found and not Ledger().entries()


@pytest.mark.parametrize("deployment", [REAL_TIME, SERVERLESS, LAMBDA], ids=lambda each: each.kind)
def test_an_experiment_runs_on_a_cloud_and_leaves_nothing(cloud, model, deployment):
    run = wb.Experiment(model, deployment, TRACE).run(cloud)

    assert (len(run), run.answered) == (len(TRACE), len(TRACE))
    assert run.origin == "measured: local cloud"
    assert run.summary()["accuracy"] > 0.8
    told = run.frame.select("model_latency", "overhead_latency").sum_horizontal().to_numpy()
    seen = (run.frame["finished"] - run.frame["started"]).to_numpy()
    assert (told < seen).all()
    assert run.record.retries == 0
    assert run.record.cloud["cold_start"] == "fresh"
    assert run.record.cloud["memory_and_cpu"] in (["limited"], ["not limited"])
    assert run.record.cloud["deploy_seconds"] > 0
    assert wb.cost(run).total > 0
    assert nothing_left(cloud)


@pytest.mark.parametrize("deployment", [SERVERLESS, LAMBDA], ids=lambda each: each.kind)
def test_cold_starts_are_marked_and_what_they_took_is_told(cloud, model, deployment):
    frame = wb.Experiment(model, deployment, TRACE).run(cloud).frame
    cold = frame.filter("cold")
    assert 1 <= len(cold) <= 4
    assert (cold["init"] > 0).all()
    assert (cold["init"] <= cold["overhead_latency"] + 1e-3).all()
    assert (frame.filter(~frame["cold"])["init"] == 0).all()
    assert sorted(set(frame["server"])) == list(range(len(cold)))


def test_an_asynchronous_experiment_runs_and_leaves_neither_topic_nor_queue(cloud, model):
    run = wb.Experiment(model, wb.Async(instance_type="ml.m5.large"), TRACE).run(cloud)

    assert (len(run), run.answered) == (len(TRACE), len(TRACE))
    assert run.summary()["accuracy"] > 0.8
    assert (run.frame["finished"] >= run.frame["started"]).all()
    assert wb.cost(run).total > 0
    nothing_left(cloud)
    with closing(cloud.client("sns")) as sns, closing(cloud.client("sqs")) as sqs:
        assert sns.list_topics()["Topics"] == []
        assert sqs.list_queues().get("QueueUrls", []) == []


def test_an_answer_counts_from_its_notification_not_from_when_it_was_read(cloud, model):
    with (
        deploy(model, wb.Async(instance_type="ml.m5.large"), cloud) as deployed,
        deployed.backend(concurrency=1) as backend,
    ):
        reply = backend.invoke(Batch(model.samples().inputs[:1]))
    assert reply.age > 0


def test_a_real_time_run_is_billed_from_launch(cloud, model):
    at_once = wb.Trace(arrivals=np.repeat(np.arange(1, 11) / 10, 20), duration=1.0)  # for both
    run = wb.Experiment(model, REAL_TIME, at_once).run(cloud)
    (first, second) = run.record.instances
    assert first == second
    launch, stop = first
    assert launch < 0 < at_once.arrivals[-1] <= stop
    assert set(run.frame["server"]) == {0, 1}
    assert "not recorded" not in " ".join(wb.cost(run).notes)


@pytest.mark.parametrize(
    ("kind", "error"),
    [(wb.Serverless, "ThrottlingException"), (wb.Lambda, "TooManyRequestsException")],
)
def test_calls_beyond_the_limit_are_throttled(cloud, model, kind, error):
    at_once = wb.Trace(arrivals=[0.0] * 12, duration=0.1)
    narrow = kind(memory_mb=2048, max_concurrency=1)

    run = wb.Experiment(model, narrow, at_once).run(cloud)

    errors = [each for each in run.frame["error"] if each]
    assert run.answered >= 1
    assert errors
    assert all(each.startswith(f"InvocationError: {error}") for each in errors)
    assert wb.cost(run).total > 0
    queued = kind(memory_mb=2048, max_concurrency=1, on_limit="queue")
    assert wb.Experiment(model, queued, at_once).run(cloud).answered == 12


def test_a_function_is_billed_for_init_and_duration_to_the_millisecond(cloud, model):
    run = wb.Experiment(model, LAMBDA, TRACE).run(cloud)

    calls = run.frame.group_by("batch").first()
    seconds = calls["model_latency"].to_numpy() + calls["init"].to_numpy()
    billed = np.ceil(np.round(1000 * seconds, 6)).sum() / 1000
    items = {item.what: item for item in wb.cost(run).items}
    assert items["lambda duration x86_64"].quantity == pytest.approx(billed * 1769 / 1024)
    assert items["lambda requests"].quantity == len(calls)


def test_provisioned_environments_are_never_cold_and_billed_apart(cloud, model):
    kept = wb.Lambda(memory_mb=1769, max_concurrency=4, provisioned=2, on_limit="queue")

    run = wb.Experiment(model, kept, wb.poisson(rate=10, duration=1.0, seed=1)).run(cloud)

    frame = run.frame
    assert not frame.filter(frame["server"] < 2)["cold"].any()
    assert {0} <= set(frame["server"])
    assert "lambda provisioned x86_64" in [item.what for item in wb.cost(run).items]
    assert nothing_left(cloud)


def test_a_function_from_a_zip_answers_alike(cloud, model, tmp_path):
    rows = model.samples().inputs[:5]
    with (
        deploy(model, LAMBDA, cloud, libraries=tmp_path) as deployed,
        deployed.backend() as backend,
    ):
        assert np.array_equal(backend.invoke(Batch(rows)).outputs, model.session().run(rows))
    assert nothing_left(cloud)


def test_several_runs_share_a_deployment(cloud, model):
    experiment = wb.Experiment(model, SERVERLESS, TRACE)
    with deploy(model, SERVERLESS, cloud) as deployed:
        first, second = experiment.run(deployed), experiment.run(deployed)
        assert endpoints(cloud) == [deployed.name]
        with refused(InvalidInput, SERVERLESS.label, REAL_TIME.label, "experiment.run(cloud)"):
            experiment.on(REAL_TIME).run(deployed)
    assert first.frame["cold"].any()
    assert not second.frame["cold"].all()
    assert nothing_left(cloud)


def test_a_run_that_is_stopped_is_torn_down(cloud, model):
    stopped = threading.Event()
    trace = wb.poisson(rate=30, duration=600.0, seed=1)
    run = wb.Experiment(model, REAL_TIME, trace).run(
        cloud, stopped=stopped, on_rows=lambda _: stopped.set()
    )
    assert not run.complete
    assert nothing_left(cloud)


def test_a_batch_that_is_too_large_is_refused_before_anything_is_made(cloud, model):
    rows = 5_000_000 // model.samples().inputs[:1].nbytes
    wide = wb.Trace(arrivals=[0.0], duration=0.1, rows=[int(rows)])
    with refused(InvalidInput, "serverless", "4,194,304"):
        wb.Experiment(model, SERVERLESS, wide).run(cloud)
    assert nothing_left(cloud)


def test_what_does_not_go_on_a_cloud_is_refused(cloud, model):
    with refused(InvalidInput, "local, 1 worker", "real-time"):
        wb.Experiment(model, wb.Local(), TRACE).run(cloud)
    with refused(NotAvailable, SERVERLESS.label, "experiment.run(cloud)"):
        wb.Experiment(model, SERVERLESS, TRACE).run()


def test_a_deployment_answers_for_as_long_as_its_block(cloud, model):
    rows = model.samples().inputs[:5]
    with deploy(model, SERVERLESS, cloud) as deployed, deployed.backend() as backend:
        assert [entry.name for entry in Ledger().entries()] == [deployed.name]
        assert np.array_equal(backend.invoke(Batch(rows)).outputs, model.session().run(rows))
    assert nothing_left(cloud)


def test_a_model_that_does_not_load_fails_with_the_workers_words(cloud, model, monkeypatch):
    def spoil(_, path):
        path.write_bytes(b"this is no archive")
        return path

    monkeypatch.setattr("workbench.cloud.adapters.resources.archive", spoil)
    with refused(CloudError, "Failed", "gzip"), deploy(model, SERVERLESS, cloud):
        pytest.fail("the block must not be entered")
    assert nothing_left(cloud)


def test_teardown_ends_what_a_killed_process_left(cloud, at_home):
    told = " ".join([cloud.endpoint_url, cloud.role, cloud.image, *cloud.keys])
    child = subprocess.run(
        [sys.executable, "-c", KILLED], env={**os.environ, "CLOUD": told}, check=False
    )
    assert child.returncode == -signal.SIGKILL

    (entry,) = Ledger().entries()
    assert endpoints(cloud) == [entry.name]
    assert teardown() == [entry]
    assert nothing_left(cloud)


def test_what_went_with_its_cloud_is_struck_out(model, tmp_path):
    with LocalCloud(tmp_path) as short, deploy(model, SERVERLESS, short):
        short.close()
        with refused(Unreachable, short.url):
            short.facts()
    assert Ledger().entries() == []
