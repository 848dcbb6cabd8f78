"""Ensembles in virtual time: the answers, the places and the money of `Experiment.simulate`."""

import math
from dataclasses import replace

import numpy as np
import polars as pl
import pytest

import workbench as wb
from tests.refused import refused
from workbench.errors import InvalidInput, InvocationError
from workbench.measuring import member_facts
from workbench.measuring.outcomes import find_outcomes
from workbench.routing.base import Settlement
from workbench.routing.simple import RoundRobin
from workbench.service_times import ServiceTimes

TRACE = wb.poisson(rate=100, duration=20, seed=1, rows=(1, 3))
TIMES = {
    "small": ServiceTimes.affine(0.001, 0.0005, largest=12),
    "large": ServiceTimes({size: [0.003 * size, 0.006 * size] for size in range(1, 13)}),
}
BATCHED = wb.BatchPolicy(max_size=4, max_wait=0.01)

pytestmark = pytest.mark.usefixtures("at_home")


class Escalating:
    """Asks the first place, and the second where that is not sure."""

    label = "escalating"

    def router(self, *_, **__):
        return self

    def to_dict(self):
        return {"kind": "escalating"}

    def choose(self, *_):
        return (0,)

    def settle(self, _, answers, *__):
        sure = len(answers) == 2 or answers[0].confidence >= 0.9
        return Settlement(given=len(answers) - 1) if sure else Settlement(ask=(1,))

    def observe(self, *_):
        pass


@pytest.fixture(scope="module")
def ensemble(registry):
    members = {
        "small": wb.Member(registry["digits-logistic"], wb.Local(hourly_price=1.0)),
        "large": wb.Member(registry["digits-mlp-large"], wb.Local(workers=2), BATCHED),
    }
    return wb.Ensemble(members, RoundRobin())


def only(ensemble, name):
    return replace(ensemble, members={name: ensemble.members[name]})


@pytest.mark.parametrize("name", ["small", "large"])
def test_an_ensemble_of_one_is_simulated_as_its_member(ensemble, name):
    experiment = wb.Experiment(only(ensemble, name), trace=TRACE)

    routed = experiment.simulate({name: TIMES[name]}, seed=3)
    plain = experiment.alone(name).simulate(TIMES[name], seed=3)

    assert routed.frame.drop("tried", "context").equals(plain.frame, null_equal=True)
    assert routed.calls.equals(plain.frame, null_equal=True)
    assert routed.record.warnings == plain.record.warnings
    assert wb.cost(routed).total == wb.cost(plain).total


def test_instances_of_members_boot_as_long_as_is_said_and_are_not_spot(model):
    fleet = wb.RealTime(instance_type="ml.m5.large")
    experiment = wb.Experiment(wb.Ensemble({"one": wb.Member(model, fleet)}), trace=TRACE)
    terms = {"cold_start": 0.0, "scaling": wb.Schedule([(0, 9)]), "seed": 3}

    routed = experiment.simulate({"one": TIMES["large"]}, boot=5.0, **terms)
    plain = experiment.alone("one").simulate(TIMES["large"], boot=5.0, **terms)

    assert routed.quantile(0.99) == plain.quantile(0.99)
    spot = wb.SpotPool(instance_type=fleet.instance_type, hourly_price=1, priced_on="2026-11-29")
    with refused(InvalidInput, "spot"):
        experiment.simulate({"one": TIMES["large"]}, spot=spot)


def test_simulated_answers_are_right_where_those_of_a_live_run_are(model):
    trace = wb.poisson(rate=300, duration=1, seed=1, rows=(1, 3))
    experiment = wb.Experiment(model, wb.Local(), trace)

    simulated = experiment.simulate(TIMES["small"]).frame["correct"]
    live = experiment.run().frame.sort("request")["correct"]

    assert simulated.to_list() == live.to_list()
    assert 0 < simulated.mean() < 1


def test_failed_requests_are_neither_right_nor_wrong(model):
    busy = wb.Serverless(memory_mb=1024, max_concurrency=1)
    frame = (
        wb.Experiment(model, busy, TRACE)
        .simulate(ServiceTimes(dict.fromkeys((1, 2, 3), 0.1)))
        .frame
    )

    failed = frame.filter(pl.col("error").is_not_null())
    assert 0 < len(failed) < len(frame)
    assert failed["correct"].is_nan().all()
    assert not frame.filter(pl.col("error").is_null())["correct"].is_nan().any()


def test_a_model_that_fails_is_simulated_and_said_to_fail(model, monkeypatch):
    def fail(_, **_terms):
        raise InvocationError("it is broken")

    monkeypatch.setattr(member_facts, "find_outcomes", fail)
    run = wb.Experiment(model, wb.Local(), TRACE).simulate(TIMES["small"])

    assert run.frame["correct"].is_nan().all()
    assert run.record.warnings[-1].endswith("is not known: it is broken")


def test_requests_are_escalated_where_the_small_model_is_not_sure(ensemble, monkeypatch):
    def find_sure(model, **_terms):
        found = find_outcomes(model)
        return replace(found, confidence=np.random.default_rng(1).random(len(found)))

    monkeypatch.setattr(member_facts, "find_outcomes", find_sure)
    cascade = replace(ensemble, router=Escalating(), network_latency={"large": 0.5})
    run = wb.Experiment(cascade, trace=TRACE).simulate(TIMES)

    small, large = (find_sure(each.model).of_requests(TRACE) for each in cascade.members.values())
    unsure = small.confidence < 0.9
    assert 0 < unsure.sum() < len(TRACE)
    assert run.frame["place"].to_numpy().tolist() == unsure.tolist()
    assert run.frame["tried"].to_list() == (1 + unsure).tolist()
    right = np.where(unsure, large.correct, small.correct)
    assert run.frame["correct"].to_numpy().tolist() == right.tolist()
    assert len(run.calls) == len(TRACE) + unsure.sum()
    asked = run.calls.filter(pl.col("place") == 1).join(run.frame, on="request", suffix="_given")
    np.testing.assert_allclose(asked["finished_given"], asked["finished"] + 0.5)
    first = run.calls.filter(pl.col("place") == 0)["finished"].to_numpy()[unsure]
    assert (asked["sent"].to_numpy() == first).all()


def test_each_place_is_billed(ensemble):
    real_time = {"instance_type": "ml.m5.large"}
    deployments = wb.RealTime(**real_time), wb.RealTime(**real_time, count=3)
    run = wb.Experiment(ensemble.on(deployments), trace=TRACE).simulate(TIMES)

    seconds = [
        sum(math.ceil(stop - start) for start, stop in each.instances)
        for each in run.record.members
    ]
    billed = [3600 * item.quantity for item in wb.cost(run).items if item.unit == "hour"]
    assert billed == pytest.approx(seconds)
    assert seconds[1] == 3 * seconds[0] > 0


def test_warnings_name_the_place(ensemble):
    slow = TIMES | {"small": ServiceTimes(dict.fromkeys((1, 2, 3), 0.03))}
    run = wb.Experiment(ensemble, trace=TRACE).simulate(slow)

    assert any(each.startswith("small: Load is 1.") for each in run.record.warnings)
    assert not any(each.startswith("large: Load") for each in run.record.warnings)


def test_intervals_of_a_routed_run_come_from_repetitions(ensemble):
    trace = wb.Trace(TRACE.arrivals, TRACE.duration)  # of which no other can be drawn
    run = wb.Experiment(ensemble, trace=trace).simulate(TIMES, seed=1, replications=9)

    assert "9 repetitions of the whole trace, service times drawn" in run.record.replications.about
    low, high = run.interval(0.9)
    assert low < high
    assert [low, high] == pytest.approx([run.quantile(0.9)] * 2, rel=0.1)


def test_profiles_are_given_by_member(ensemble):
    experiment = wb.Experiment(ensemble, trace=TRACE)

    with refused(InvalidInput, "small, large", "ServiceTimes"):
        experiment.simulate(TIMES["small"])
    with refused(InvalidInput, "small, large", "tiny"):
        experiment.simulate(TIMES | {"tiny": TIMES["small"]})
