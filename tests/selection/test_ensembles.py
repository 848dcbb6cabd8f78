"""Cascades, votes and other ensembles as candidates: real models of the zoo, drawn times."""

import json
from dataclasses import replace

import numpy as np
import pytest

import workbench as wb
from tests.refused import refused
from workbench.deployment import Local, Serverless
from workbench.ensembles import Ensemble, Member
from workbench.errors import InvalidInput
from workbench.measuring.outcomes import find_outcomes
from workbench.planner import Options
from workbench.quantiles import longest_within
from workbench.routing.cascade import Cascade
from workbench.routing.simple import RoundRobin
from workbench.routing.vote import Vote
from workbench.selection.compositions import compose_outcomes
from workbench.service_times import ServiceTimes

SMALL, LARGE = "digits-logistic", "digits-mlp-wide"
TRACE = wb.poisson(rate=40, duration=60, seed=1)
TARGET = wb.SLO(latency=0.1)
KNOWN = {f"{SMALL}:1": 0.0003, f"{LARGE}:1": 0.02}
OPTIONS = Options(
    kinds=["serverless"], serverless_memory_mb=[1024], max_sizes=[1], cold_start=0.2, unseen_draws=0
)
PLACE = Serverless(memory_mb=1024, max_concurrency=5)


def members(registry, *names):
    return {name: Member(registry[name], PLACE) for name in names}


@pytest.fixture(scope="module")
def cascade(registry):
    return Ensemble(members(registry, SMALL, LARGE), Cascade(SMALL, LARGE, 0.99))


def outcomes(ensemble):
    return {name: find_outcomes(each.model) for name, each in ensemble.members.items()}


def times(name):
    return ServiceTimes.affine(KNOWN[name], KNOWN[name], largest=32)


def ask(candidates, **settings):
    profiles = {name: times(name) for name in KNOWN}
    known = {"trace": TRACE, "slo": TARGET, "options": OPTIONS, "profiles": profiles}
    return wb.select(candidates, **(known | settings))


@pytest.mark.usefixtures("at_home")
def test_a_cascade_answers_each_row_as_the_model_does_that_is_asked(cascade):
    found = outcomes(cascade)
    small, large = found[SMALL], found[LARGE]
    sure = small.confidence >= 0.99
    composed = compose_outcomes(cascade, found)

    assert 0 < sure.mean() < 1
    assert (composed.correct == np.where(sure, small.correct, large.correct)).all()
    assert (composed.label == np.where(sure, small.label, large.label)).all()
    for threshold, only in ((0.0, small), (1.0, large)):
        alone = replace(cascade, router=Cascade(SMALL, LARGE, threshold))
        assert (compose_outcomes(alone, found).correct == only.correct).all()


@pytest.mark.usefixtures("at_home")
def test_composed_answers_are_those_of_the_simulated_run(cascade, registry):
    """Each row of the pool is sent once, to a cascade and to a vote."""
    rows = len(cascade.samples())
    trace = wb.Trace(np.arange(rows) / 20, rows / 20, sample=np.arange(rows))
    names = SMALL, "digits-mlp-small", LARGE
    vote = Ensemble(members(registry, *names), Vote(names))
    for ensemble in (cascade, vote):
        each = {name: ServiceTimes({1: 0.001}) for name in ensemble.names}
        run = wb.Experiment(ensemble, trace=trace).simulate(each)
        composed = compose_outcomes(ensemble, outcomes(ensemble))
        assert (run.frame["correct"].to_numpy() == composed.correct).all()


@pytest.mark.usefixtures("at_home")
def test_a_cascade_is_rated_beside_the_large_model_it_is_made_of(cascade, registry):
    """It costs less than the large one, and their accuracies are compared row by row."""
    found = ask([registry[LARGE], cascade], weights={"accuracy": 0.95, "cost": 0.05})
    row = next(each for each in found.rows if each.model is cascade)
    large = next(each for each in found.rows if each.model.name == f"{LARGE}:1")
    setup = wb.Experiment(cascade, trace=TRACE, slo=TARGET)
    run = setup.simulate(
        {name: times(f"{name}:1") for name in (SMALL, LARGE)},
        cold_start=OPTIONS.cold_start,
        seed=OPTIONS.seed,
    )
    accuracy = compose_outcomes(cascade, outcomes(cascade)).accuracy.share

    assert row.accuracy == pytest.approx(accuracy)
    assert row.evidence.interval[0] < row.accuracy < row.evidence.interval[1]
    assert found.standings.compare(found.rows.index(row), found.rows.index(large)) > 0.05
    assert wb.cost(run).per_million == row.cost < large.cost
    in_time = run.frame["latency"].to_numpy() <= longest_within(TARGET.latency)
    right = run.frame["correct"].to_numpy()
    assert row.effective_accuracy == pytest.approx((right * in_time).mean())
    assert found.best is row
    assert cascade.label in found.sentence
    assert found.experiment.model is cascade
    assert found.table["inference_type"][0] == "ensemble"
    first = json.loads(json.dumps(found.to_dict(), allow_nan=False))["first"]
    assert first["ensemble"]["router"]["kind"] == "cascade"


@pytest.mark.usefixtures("at_home")
def test_an_ensemble_of_one_member_comes_to_what_the_model_does_there(registry):
    """Latency, cost with its bytes, accuracy with its bound, and the share right in time."""
    model = registry[LARGE]
    plain = ask([model], target=0.9, weights=None).rows[0]
    member = Member(model, plain.found.deployment, plain.found.policy)
    alone = ask([Ensemble({"a": member, "b": member}, Vote(["a", "b"]))], target=0.9).rows[0]
    one = ask([Ensemble({"a": member, "b": member}, Cascade("a", "b", 0.0))], target=0.9).rows[0]

    assert one.latency == pytest.approx(plain.latency)
    assert one.cost == pytest.approx(plain.cost)
    assert one.bound == plain.bound
    assert one.effective_accuracy == pytest.approx(plain.effective_accuracy)
    assert alone.cost == pytest.approx(2 * plain.cost)  # both are asked


@pytest.mark.usefixtures("at_home")
def test_a_target_holds_for_a_cascade_as_for_a_model(cascade, registry):
    found = ask([registry[SMALL], cascade], target=0.96)
    risk = 0.05 / 2  # of two candidates

    assert found.best.model is cascade
    assert found.best.bound == found.best.evidence.lower_bound(risk) >= 0.96
    assert ask([cascade], target=0.999).rows[0].found is None  # nothing was simulated for it


def test_an_ensemble_waits_for_a_measurement_that_is_not_to_be_made(cascade, tmp_path, monkeypatch):
    monkeypatch.setenv("WORKBENCH_HOME", str(tmp_path))
    partly = ask([cascade], profiles={f"{SMALL}:1": ServiceTimes({1: 0.001})}, measure=False)
    assert partly.table["state"].to_list() == ["unknown"]
    measured = []
    monkeypatch.setattr(
        "workbench.selection.knowledge.ensure_profile",
        lambda model, **_: measured.append(model.group) or ServiceTimes({1: 0.001}),
    )
    assert partly.measure().best.model is cascade
    assert measured == [LARGE]


def test_answers_that_are_not_kept_are_not_computed_without_measuring(
    registry, tmp_path, monkeypatch
):
    monkeypatch.setenv("WORKBENCH_HOME", str(tmp_path))
    model = registry[SMALL]
    partly = ask([model], target=0.5, measure=False)

    assert partly.table["state"].to_list() == ["unknown"]
    assert not list(tmp_path.rglob("*.npz"))
    assert partly.measure().feasible


@pytest.mark.usefixtures("at_home")
def test_of_a_router_that_takes_turns_only_the_run_is_known(registry):
    turns = Ensemble(members(registry, SMALL, LARGE), RoundRobin())
    found = ask([turns], weights={"accuracy": 1})

    assert found.best.evidence.outcomes is None
    assert found.best.evidence.interval[0] < found.best.accuracy < found.best.evidence.interval[1]
    sentences = ask([registry[SMALL], turns], target=0.5).sentences
    assert any("one answer" in each for each in sentences)


def test_needs_are_those_that_all_members_meet(registry, cascade):
    needs = {"task": "digits", "kind": "classification"}
    dropped = ask([cascade], needs=needs | {"size_bytes": wb.selection.at_most(1000)})
    assert [miss.need for miss in dropped.rows[0].misses] == ["size_bytes"]
    unknown = ask([registry[SMALL], cascade], needs={"group": SMALL})
    assert unknown.table["state"].to_list() == ["first", "unknown"]  # members differ in it


def test_two_ensembles_of_one_name_are_refused(cascade):
    here = replace(
        cascade,
        members={name: replace(m, deployment=Local()) for name, m in cascade.members.items()},
    )
    with refused(InvalidInput, *cascade.members):
        ask([cascade, here])
