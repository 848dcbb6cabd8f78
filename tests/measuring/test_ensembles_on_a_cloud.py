"""Ensembles on a local cloud: several models on one endpoint, or an endpoint each."""

import dataclasses
import math
import threading

import pytest

import workbench as wb
from tests.measuring.test_on_a_cloud import nothing_left
from tests.played import PlayedCloud
from tests.refused import refused
from workbench.cloud.deploy import DeployedModel, deploy
from workbench.cloud.ensemble_deploy import DeployedEnsemble
from workbench.cloud.ledger import Ledger
from workbench.errors import CloudError, InvalidInput
from workbench.localcloud import LocalCloud
from workbench.measuring.routed_targets import CloudEnsembleTarget
from workbench.pricing.usage import Usage

pytestmark = pytest.mark.usefixtures("at_home")

REAL_TIME = wb.RealTime(instance_type="ml.m5.large", count=1)
SERVERLESS = wb.Serverless(memory_mb=2048, max_concurrency=4, on_limit="queue")
LAMBDA = wb.Lambda(memory_mb=1769, max_concurrency=4, on_limit="queue")
TRACE = wb.poisson(rate=60, duration=0.5, seed=1)


@pytest.fixture(scope="module")
def cloud(tmp_path_factory):
    with LocalCloud(tmp_path_factory.mktemp("cloud")) as cloud:
        yield cloud


def ensemble_of(registry, *deployments):
    models = registry["digits-mlp-small"], registry["digits-logistic"]
    names = "small", "plain, with a comma"
    members = {
        name: wb.Member(model, deployment)
        for name, model, deployment in zip(names, models, deployments, strict=True)
    }
    return wb.Ensemble(members)


def test_real_time_members_are_variants_of_one_endpoint(cloud, registry):
    ensemble = ensemble_of(registry, REAL_TIME, dataclasses.replace(REAL_TIME, count=2))
    other = wb.Experiment(ensemble.on((REAL_TIME, SERVERLESS)), trace=TRACE)

    with wb.deploy(ensemble, cloud) as deployed:
        run = wb.Experiment(ensemble, trace=TRACE).run(deployed)
        with refused(InvalidInput, "round-robin", "experiment.run(cloud)"):
            other.run(deployed)
        assert len(Ledger().entries()) == 2

    assert (len(run), run.answered, run.origin) == (len(TRACE), len(TRACE), "measured: local cloud")
    assert run.frame["place"].to_list() == [number % 2 for number in range(len(TRACE))]
    assert run.summary()["accuracy"] > 0.8
    facts = run.record.cloud["members"]
    assert [each["variant"] for each in facts.values()] == ["small", "plain-with-a-comma"]
    assert len({each["endpoint"] for each in facts.values()}) == 1
    assert [len(member.instances) for member in run.record.members] == [1, 2]
    seconds = [
        sum(math.ceil(stop - start) for start, stop in member.instances)
        for member in run.record.members
    ]
    hours = [item.quantity for item in wb.cost(run).items if item.unit == "hour"]
    assert [3600 * each for each in hours] == pytest.approx(seconds)
    assert set(run.calls.filter(run.calls["place"] == 0)["server"]) == {0}
    assert set(run.frame.filter(run.frame["place"] == 1)["server"]) <= {0, 1}
    assert nothing_left(cloud)


def test_where_types_differ_each_member_is_by_itself(cloud, registry):
    ensemble, made = ensemble_of(registry, LAMBDA, SERVERLESS), []

    run = wb.Experiment(ensemble, trace=TRACE).run(cloud, on_deployed=made.append)

    assert run.answered == len(TRACE)
    facts = run.record.cloud["members"]
    assert len({each["endpoint"] for each in facts.values()}) == 2
    assert [member.instances for member in run.record.members] == [None, None]
    assert made[0].ensemble == ensemble
    assert run.frame.filter(run.frame["place"] == 1)["cold"].any()
    assert wb.cost(run).total > 0
    assert nothing_left(cloud)


def test_an_endpoint_that_fails_leaves_nothing(cloud, registry, monkeypatch):
    ensemble = ensemble_of(registry, REAL_TIME, REAL_TIME)

    def fail(*_):
        raise CloudError("no instances left")

    monkeypatch.setattr("workbench.cloud.adapters.endpoint.await_service", fail)
    with refused(CloudError, "no instances left"), deploy(ensemble, cloud):
        pass

    assert nothing_left(cloud)


def test_an_ensemble_is_estimated_as_all_its_members_with_all_requests(registry):
    both = ensemble_of(registry, REAL_TIME, SERVERLESS)
    experiment = wb.Experiment(both, trace=TRACE)

    alone = [experiment.alone(name).estimate().total for name in both.names]

    assert experiment.estimate().total == pytest.approx(sum(alone), rel=1e-3)


def test_an_ensemble_takes_neither_deployment_nor_scaling_beside_it(cloud, registry):
    ensemble = ensemble_of(registry, REAL_TIME, REAL_TIME)

    with refused(InvalidInput, "ensemble", "deploy(ensemble, cloud)"):
        deploy(ensemble, REAL_TIME, cloud)
    with refused(InvalidInput, "cloud", "RealTime(instance_type='ml.m5.large'"):
        deploy(ensemble, REAL_TIME)
    scaling = wb.scaling.TargetTracking(metric="invocations", target=100, least=1, most=2)
    with refused(InvalidInput, "ensemble", "member"):
        wb.Experiment(ensemble, trace=TRACE).run(cloud, scaling=scaling)


def test_the_budget_is_that_of_all_members_together(registry):
    ensemble = ensemble_of(registry, LAMBDA, LAMBDA)
    paid = PlayedCloud()
    deployed = DeployedEnsemble(
        ensemble=ensemble,
        cloud=paid,
        members={
            name: DeployedModel(
                name=name,
                model=member.model,
                deployment=member.deployment,
                cloud=paid,
                launched=0.0,
                seconds=1.0,
            )
            for name, member in ensemble.members.items()
        },
    )
    per_second = sum(item.dollars for item in LAMBDA.bill(Usage(seconds=1.0)))
    target, stopped = CloudEnsembleTarget(deployed, budget=3.5 * per_second), threading.Event()
    calls = {"place": [0, 1], "batch": [0, 1], "started": [0.0, 0.0], "finished": [1.0, 2.0]}

    target.add(calls, stopped)
    assert not stopped.is_set()
    target.add({**calls, "batch": [2, 3]}, stopped)

    assert stopped.is_set()
