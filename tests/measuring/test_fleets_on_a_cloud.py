"""Hybrids, mixed fleets, and policies that a run carries out itself, on a local cloud."""

import dataclasses
import threading
from typing import ClassVar

import numpy as np
import pytest

import workbench as wb
from tests.measuring.test_on_a_cloud import nothing_left
from tests.refused import refused
from workbench.cloud.aws import Cloud
from workbench.cloud.client import CloudClient
from workbench.cloud.cost_guard import estimate_max_cost
from workbench.cloud.deploy import deploy
from workbench.cloud.ledger import Ledger
from workbench.deployment.on_premise import OnPremise
from workbench.errors import CloudError, InvalidInput, NotAvailable, OverBudget
from workbench.localcloud import LocalCloud
from workbench.pricing.cost import MONTH, monthly
from workbench.scaling.reactive import StepScaling, TargetTracking
from workbench.scaling.schedule import Schedule

pytestmark = pytest.mark.usefixtures("at_home")

BASE = wb.RealTime(instance_type="ml.m5.large")
OTHER = wb.RealTime(instance_type="ml.c5.xlarge")
LAMBDA = wb.Lambda(memory_mb=1769, max_concurrency=4, on_limit="queue")
SERVERLESS = wb.Serverless(memory_mb=2048, max_concurrency=4, on_limit="queue")
MIXED = wb.MixedFleet(parts=(BASE, OTHER))
TRACE = wb.poisson(rate=60, duration=0.5, seed=1)
PAID = Cloud(role="arn:aws:iam::123456789012:role/workbench", image="image")


@pytest.fixture(scope="module")
def cloud(tmp_path_factory):
    with LocalCloud(tmp_path_factory.mktemp("cloud")) as cloud:
        yield cloud


def hybrid(overflow=LAMBDA, base=BASE, **settings):
    return wb.Hybrid(base=base, overflow=overflow, **settings)


def counts_there(cloud, name):
    with CloudClient(cloud) as aws:
        variants = aws.sagemaker("describe_endpoint", EndpointName=name)["ProductionVariants"]
    return [each["DesiredInstanceCount"] for each in variants]


class ByRequests:
    """A policy of tests: so many instances as a reading has instants, and it notes its readings."""

    readings: ClassVar[list] = []

    def __init__(self, *counts, every=0.25, fails=False):
        self.counts, self.every, self.fails = counts, every, fails
        self.most = 2

    def to_dict(self):
        return {"kind": "by turns"}

    def scaler(self):
        self.readings.clear()
        return Turns(self)


class Turns:
    def __init__(self, policy):
        self.policy, self.turn = policy, 0
        self.latency_target = 0.0

    @property
    def due(self):
        return (self.turn + 1) * self.policy.every

    def decide(self, reading, now):
        self.policy.readings.append((now, reading))
        self.turn += 1
        if self.policy.fails:
            raise RuntimeError("the policy is at its wits' end")
        return self.policy.counts[min(self.turn, len(self.policy.counts)) - 1]


def test_a_hybrid_is_deployed_at_two_places_billed_by_place_and_torn_down(cloud, model, tmp_path):
    experiment = wb.Experiment(model, hybrid(spill=wb.InFlight(0)), TRACE)
    entries = []

    run = experiment.run(cloud, on_deployed=lambda _: entries.extend(Ledger().entries()))

    assert len(entries) == 2
    assert (run.answered, run.record.places) == (len(TRACE), ("base", "overflow"))
    assert run.frame["place"].unique().to_list() == [1]
    assert len(run.calls) == len(TRACE)
    base, functions = run.record.members
    assert (len(base.instances), functions.instances) == (1, None)
    items = {item.what for item in wb.cost(run).items}
    assert "ml.m5.large" in items
    assert len(items) > 1
    again = wb.load_run(run.save(tmp_path / "run"))
    assert again.record == run.record
    assert wb.cost(again).total == pytest.approx(wb.cost(run).total)
    assert nothing_left(cloud)


def test_hedged_requests_are_answered_once_and_billed_twice(cloud, model):
    experiment = wb.Experiment(model, hybrid(spill=wb.Hedge(after=1e-5)), TRACE)
    run = experiment.run(cloud)

    twice = run.frame.filter(run.frame["tried"] == 2)
    assert run.answered == len(run) == len(TRACE)
    assert len(twice)
    assert len(run.calls) == len(TRACE) + len(twice)
    assert sorted(run.frame["request"]) == list(range(len(TRACE)))
    lambda_calls = next(i for i in wb.cost(run).items if i.what == "lambda requests").quantity
    assert lambda_calls == len(twice)


def test_an_overflow_that_throttles_is_one_outcome(cloud, model):
    narrow = dataclasses.replace(LAMBDA, max_concurrency=1, on_limit="reject")
    burst = wb.Trace(np.zeros(16), duration=0.5)
    run = wb.Experiment(model, hybrid(narrow, spill=wb.InFlight(0)), burst).run(cloud)

    failed = run.frame.filter(run.frame["error"].is_not_null())
    assert 0 < len(failed) < len(run)
    assert failed["error"].str.contains("TooManyRequests").all()
    assert failed["place"].unique().to_list() == [1]
    lambda_calls = next(i for i in wb.cost(run).items if i.what == "lambda requests").quantity
    assert lambda_calls == run.answered
    assert nothing_left(cloud)


@pytest.mark.parametrize("second", ["base", "overflow"])
def test_where_one_part_fails_both_are_torn_down(cloud, model, second, monkeypatch):
    target = (
        "workbench.cloud.adapters.endpoint.await_service"
        if second == "base"
        else "workbench.cloud.adapters.lambda_.create_function"
    )

    def fail(*_, **__):
        raise CloudError("no room left")

    monkeypatch.setattr(target, fail)
    with refused(CloudError, "no room left"), deploy(model, hybrid(), cloud):
        pass
    assert nothing_left(cloud)


def test_a_hybrid_that_is_stopped_is_torn_down(cloud, model):
    stopped = threading.Event()
    long = wb.Experiment(model, hybrid(), wb.poisson(rate=40, duration=600.0, seed=1))

    run = long.run(cloud, stopped=stopped, on_rows=lambda _: stopped.set())

    assert not run.complete
    assert nothing_left(cloud)


def test_a_hybrid_is_estimated_as_both_with_all_requests(model):
    experiment = wb.Experiment(model, hybrid(), TRACE)
    parts = [experiment.on(each).estimate().total for each in (BASE, LAMBDA)]
    assert experiment.estimate().total == pytest.approx(sum(parts), rel=1e-4)  # bytes are shared

    with pytest.raises(OverBudget):
        experiment.run(PAID, budget=1e-6, yes=True)


@pytest.mark.parametrize("deployment", [BASE, hybrid()], ids=["alone", "hybrid"])
@pytest.mark.parametrize(
    ("policy", "what", "month"),
    [
        (TargetTracking(target=600, most=4), "cloudwatch alarm", 0.2),
        (
            StepScaling(metric="backlog without capacity", threshold=1, most=4),
            "cloudwatch alarm",
            0.1,
        ),
        (
            TargetTracking.high_resolution(target=2, most=4),
            "cloudwatch alarm high resolution",
            0.6,
        ),
        (ByRequests(2), "", 0.0),
    ],
    ids=["tracking", "steps", "high resolution", "the run's own"],
)
def test_what_is_scaled_is_estimated_at_its_largest_with_its_alarms(
    model, deployment, policy, what, month
):
    experiment = wb.Experiment(model, deployment, TRACE)
    cost = experiment.estimate(scaling=policy)
    alarms = [item for item in cost.items if item.what.startswith("cloudwatch")]

    assert [item.what for item in alarms] == ([what] if what else [])
    assert monthly(alarms, TRACE.duration + 60) == pytest.approx(month)
    largest = experiment.on(deployment.with_scale(policy.most)).estimate()
    assert cost.total == pytest.approx(largest.total + sum(item.dollars for item in alarms))


def test_a_hybrid_is_agreed_to_with_the_alarms_of_its_scaling(model):
    policy = TargetTracking(target=600, most=2)
    without = estimate_max_cost(hybrid().with_scale(2), MONTH, calls=1).total
    terms = {"budget": without, "expected": MONTH, "calls": 1, "yes": True}

    with (
        refused(OverBudget, hybrid().with_scale(2).label, f"${without:.2f}"),
        deploy(model, hybrid(), PAID, scaling=policy, **terms),
    ):
        pytest.fail("nothing may be made")


def test_a_hybrid_that_stays_and_whose_base_is_never_full_never_spills(cloud, model):
    experiment = wb.Experiment(model, hybrid(SERVERLESS, spill=wb.InFlight(1000)), TRACE)
    with deploy(model, experiment.deployment, cloud) as deployed:
        run = experiment.run(deployed)
        assert len(Ledger().entries()) == 2
        with refused(InvalidInput, SERVERLESS.label, LAMBDA.label, "experiment.run(cloud)"):
            experiment.on(hybrid()).run(deployed)
    assert run.answered == len(TRACE)
    assert run.frame["place"].unique().to_list() == [0]
    assert set(run.frame["server"]) == {0}
    assert nothing_left(cloud)


def test_types_share_an_endpoint_and_requests_go_by_their_capacity(cloud, model):
    trace = wb.poisson(rate=200, duration=1.0, seed=1)
    with deploy(model, MIXED, cloud) as deployed:
        with CloudClient(cloud) as aws:
            name = deployed.members["ml.m5.large"].name
            told = aws.sagemaker("describe_endpoint", EndpointName=name)["ProductionVariants"]
        run = wb.Experiment(model, MIXED, trace).run(deployed)

    assert {each["VariantName"]: each["CurrentWeight"] for each in told} == {
        "ml-m5-large": 2.0,
        "ml-c5-xlarge": 4.0,
    }
    assert run.record.places == ("ml.m5.large", "ml.c5.xlarge")
    large = (run.frame["place"] == 1).mean()
    assert large == pytest.approx(2 / 3, abs=4 * np.sqrt(2 / 9 / len(run)))
    assert [len(member.instances) for member in run.record.members] == [1, 1]
    assert {"ml.m5.large", "ml.c5.xlarge"} <= {item.what for item in wb.cost(run).items}
    assert nothing_left(cloud)


def test_a_run_carries_out_a_policy_and_puts_the_count_back(cloud, model):
    policy = ByRequests(2)
    trace = wb.poisson(rate=40, duration=600.0, seed=1)
    grown = threading.Event()
    experiment = wb.Experiment(model, BASE, trace)
    with deploy(model, BASE, cloud, scaling=policy) as deployed:

        def look(_):
            if deployed.fleet.ready_and_starting == (2, 0):
                grown.set()

        run = experiment.run(deployed, on_rows=look, stopped=grown)
        assert counts_there(cloud, deployed.name) == [1]

    assert [count for _, count in run.record.counts][:2] == [1, 2]
    assert run.record.scaling == {"kind": "by turns"}
    described = [each["description"] for each in run.record.activities]
    assert described == [f"Setting desired instance count to {count}." for count in (2, 1)]
    for (now, reading), before in zip(policy.readings, [0.0, 0.25, 0.5], strict=False):
        due = int(((trace.arrivals >= before) & (trace.arrivals < now)).sum())
        assert reading.requests == due
    seen = [reading for _, reading in policy.readings]  # later than due on a busy machine
    done, arrived = sum(each.done for each in seen), sum(each.arrived for each in seen)
    assert 0 < done <= arrived <= len(trace)
    assert sum(reading.late for _, reading in policy.readings) > 0  # all take longer than 0 s
    assert nothing_left(cloud)


def test_a_schedule_by_type_is_carried_out_by_the_run(cloud, model):
    schedule = Schedule([(0.1, {"ml.m5.large": 1, "ml.c5.xlarge": 2})])
    trace = wb.poisson(rate=40, duration=600.0, seed=1)
    grown, made = threading.Event(), []

    def look(_):
        if made[0].base[1].fleet.ready_and_starting == (2, 0):
            grown.set()

    run = wb.Experiment(model, MIXED, trace).run(
        cloud, scaling=schedule, on_deployed=made.append, on_rows=look, stopped=grown
    )

    (done,) = run.record.activities
    assert done["description"].endswith("1 x ml.m5.large, 2 x ml.c5.xlarge.")
    assert nothing_left(cloud)


def test_a_schedule_grows_the_base_of_a_hybrid(cloud, model):
    trace = wb.poisson(rate=40, duration=600.0, seed=1)
    grown = threading.Event()
    made = []

    def look(_):
        if made[0].base[0].fleet.ready_and_starting == (2, 0):
            grown.set()

    run = wb.Experiment(model, hybrid(SERVERLESS), trace).run(
        cloud,
        scaling=Schedule([(0.1, 2)]),
        on_deployed=made.append,
        on_rows=look,
        stopped=grown,
    )

    base, _ = run.record.members
    assert [count for _, count in base.counts][:2] == [1, 2]
    assert len(base.instances) == 2
    assert run.record.scaling["kind"] == "schedule"
    assert run.record.activities
    assert nothing_left(cloud)


def test_a_policy_of_types_changes_counts_and_weights(cloud, model):
    policy = ByRequests({"ml.m5.large": 2, "ml.c5.xlarge": 1})
    trace = wb.poisson(rate=40, duration=600.0, seed=1)
    grown = threading.Event()
    with deploy(model, MIXED, cloud, scaling=policy) as deployed:
        name, weights = deployed.base[0].name, []

        def look(_):
            if deployed.base[0].fleet.ready_and_starting == (2, 0):
                with CloudClient(cloud) as aws:
                    told = aws.sagemaker("describe_endpoint", EndpointName=name)
                weights.append([each["CurrentWeight"] for each in told["ProductionVariants"]])
                grown.set()

        run = wb.Experiment(model, MIXED, trace).run(deployed, on_rows=look, stopped=grown)
        assert counts_there(cloud, name) == [1, 1]

    assert weights[0] == [4.0, 4.0]
    assert dict(policy.readings[0][1].types) == {"ml.m5.large": (1, 0), "ml.c5.xlarge": (1, 0)}
    assert "2 x ml.m5.large, 1 x ml.c5.xlarge" in run.record.activities[0]["description"]
    assert [len(member.instances) for member in run.record.members] == [2, 1]
    assert nothing_left(cloud)


def test_a_policy_that_fails_puts_the_count_back_and_the_ledger_says_so(cloud, model):
    failing = ByRequests(2, fails=True)
    experiment = wb.Experiment(model, BASE, wb.poisson(rate=40, duration=600.0, seed=1))
    asked = threading.Event()

    def look(_):
        if failing.readings:
            asked.set()

    with deploy(model, BASE, cloud, scaling=failing) as deployed:
        run = experiment.run(deployed, on_rows=look, stopped=asked)
        (entry,) = Ledger().entries()
        assert counts_there(cloud, deployed.name) == [1]

    assert run.answered == len(run)
    (warning,) = [each for each in run.record.warnings if "wits' end" in each]
    assert entry.note == warning
    assert "wits' end" in entry.label
    assert nothing_left(cloud)


@pytest.mark.parametrize(
    ("deployment", "policy", "named"),
    [
        (SERVERLESS, ByRequests(2), [SERVERLESS.label, "real-time"]),
        (MIXED, TargetTracking(target=600, most=2), [MIXED.label, "TargetTracking(target=600.0"]),
        (BASE, "often", ["scaling", "often"]),
        (wb.Hybrid(base=OnPremise.example(), overflow=LAMBDA), None, ["on-premise 1 server"]),
    ],
)
def test_what_no_run_can_carry_out_is_refused(cloud, model, deployment, policy, named):
    with refused(InvalidInput, *named), deploy(model, deployment, cloud, scaling=policy):
        pass
    assert Ledger().entries() == []


def test_without_a_cloud_a_hybrid_says_what_it_needs(model):
    with refused(NotAvailable, hybrid().label, "experiment.run(cloud)"):
        wb.Experiment(model, hybrid(), TRACE).run()


def test_a_policy_without_a_most_has_no_estimate(cloud, model):
    policy = ByRequests(2)
    del policy.most
    with refused(InvalidInput, "`most`"), deploy(model, BASE, cloud, scaling=policy):
        pass
