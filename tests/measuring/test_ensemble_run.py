"""Ensembles that are really run, on this machine."""

import dataclasses
import json
import threading

import numpy as np
import pytest

import workbench as wb
from tests.children import interrupt
from tests.escalation import Escalate
from tests.refused import refused
from workbench.backends.base import FunctionBackend
from workbench.errors import InvalidInput, NotAvailable
from workbench.measuring.outcomes import find_outcomes
from workbench.measuring.routed_run import list_places
from workbench.measuring.routed_targets import LocalEnsembleTarget
from workbench.service_times import ServiceTimes

pytestmark = pytest.mark.usefixtures("at_home")

TRACE = wb.constant(rate=200, duration=0.5)
SAME = ["request", "scheduled", "batch", "batch_size", "rows", "place", "server", "cold"]
SAME += ["correct", "error"]


def ensemble_of(registry, *names, **settings):
    members = {name: wb.Member(registry[name], wb.Local()) for name in names}
    return wb.Ensemble(members, **settings)


@pytest.fixture(scope="module")
def cascade(registry):
    """The small network, and the wide one where it is not sure."""
    return ensemble_of(registry, "digits-mlp-small", "digits-mlp-wide", router=Escalate(0.9))


@pytest.fixture(scope="module")
def run(cascade):
    return wb.Experiment(cascade, trace=TRACE, slo=wb.SLO(latency=0.5)).run()


def test_a_router_with_one_member_is_the_plain_experiment_row_by_row(registry):
    ensemble = ensemble_of(registry, "digits-mlp-small")
    experiment = wb.Experiment(ensemble, trace=TRACE, slo=wb.SLO(latency=0.5))

    routed, plain = experiment.run(), experiment.alone("digits-mlp-small").run()

    assert routed.frame.select(SAME).equals(plain.frame.select(SAME))
    assert routed.summary()["accuracy"] == plain.summary()["accuracy"]
    assert routed.calls.select(SAME).equals(plain.frame.select(SAME))
    assert routed.record.places == ("digits-mlp-small",)


def test_a_cascade_asks_the_large_model_exactly_where_the_small_one_is_not_sure(cascade, run):
    small, wide = (find_outcomes(member.model) for member in cascade.members.values())
    unsure = small.of_requests(TRACE).confidence < 0.9

    assert run.complete
    assert unsure.any()
    assert run.frame["tried"].to_list() == (1 + unsure).tolist()
    assert run.frame["place"].to_list() == unsure.astype(int).tolist()
    right = np.where(unsure, wide.of_requests(TRACE).correct, small.of_requests(TRACE).correct)
    assert run.frame["correct"].to_list() == right.tolist()


def test_calls_add_up(run):
    frame, calls = run.frame, run.calls

    assert len(calls) == frame["tried"].sum()
    given = frame.join(calls, on=["request", "place"], suffix="_of_call")
    assert len(given) == len(frame)
    for column in ("batch", "server", "started", "correct"):
        assert (given[column] == given[f"{column}_of_call"]).all()
    assert (given["finished"] == given["finished_of_call"]).all()
    assert calls["batch"].n_unique() == len(calls)
    first = calls.filter(calls["place"] == 0)
    assert (first["sent"] == frame["sent"]).all()


def test_the_run_says_who_was_asked_and_survives_saving(run, cascade, tmp_path):
    again = wb.load_run(run.save(tmp_path / "run"))

    assert again.record == run.record
    assert again.calls.equals(run.calls)
    assert again.frame.equals(run.frame)
    assert [each.model.sha256 for each in again.record.members] == [
        member.model.sha256 for member in cascade.members.values()
    ]
    assert again.record.router == cascade.router.to_dict()
    assert json.loads(json.dumps(run.facts)) == run.facts
    assert run.attainment() == run.attainment(0.5)


def test_each_place_costs_its_own_until_the_last_answer_of_all(registry):
    names = "digits-mlp-small", "digits-logistic"
    members = {
        name: wb.Member(registry[name], wb.Local(hourly_price=price))
        for name, price in zip(names, (0.36, 3.6), strict=True)
    }

    run = wb.Experiment(wb.Ensemble(members), trace=TRACE).run()

    last = max(run.calls["finished"].max(), run.frame["finished"].max())
    items = [item.dollars for item in wb.cost(run).items]
    assert items == pytest.approx([last * 0.36 / 3600, last * 3.6 / 3600])


def test_a_machine_that_nobody_asks_costs_all_the_same(registry):
    """It is there for the whole run: a router that leaves it alone saves nothing."""
    names = "digits-mlp-small", "digits-logistic"
    members = {name: wb.Member(registry[name], wb.Local(hourly_price=0.36)) for name in names}
    ensemble = wb.Ensemble(members, wb.routing.Canary(place=names[1], share=1e-12))
    run = wb.Experiment(ensemble, trace=TRACE).run()

    assert set(run.calls["place"]) == {0}
    one, other = (item.dollars for item in wb.cost(run).items)
    assert one == other > 0


def test_progress_and_rows_are_those_of_requests(registry):
    told, rows = [], []
    experiment = wb.Experiment(
        ensemble_of(registry, "digits-mlp-small", "digits-logistic"), trace=TRACE
    )

    experiment.run(progress=lambda *counts: told.append(counts), on_rows=rows.append)

    assert told[-1] == (len(TRACE), len(TRACE))
    assert sum(len(part["request"]) for part in rows) == len(TRACE)
    assert set(np.concatenate([part["place"] for part in rows]).tolist()) == {0, 1}


def test_stopping_keeps_what_was_measured(registry, tmp_path):
    stopped = threading.Event()
    ensemble = ensemble_of(registry, "digits-mlp-small", "digits-logistic")

    run = wb.Experiment(ensemble, trace=wb.constant(rate=100, duration=600)).run(
        progress=lambda done, _: done and stopped.set(), stopped=stopped, keep=tmp_path / "kept"
    )

    assert not run.complete
    assert 0 < len(run) < 60_000
    assert wb.load_run(tmp_path / "kept").calls.equals(run.calls)


def test_an_interrupt_keeps_what_was_measured(registry):
    script = f"""
import workbench as wb
registry = wb.Registry({str(registry.path)!r})
members = {{n: wb.Member(registry[n], wb.Local()) for n in ("digits-mlp-small", "digits-logistic")}}
experiment = wb.Experiment(wb.Ensemble(members), trace=wb.constant(rate=100, duration=600))
run = experiment.run(progress=lambda done, _: done and print("going", flush=True))
print(run.complete, 0 < len(run) < 60_000, len(run.calls) >= len(run))
"""
    assert interrupt(script) == "False True True"


def fail(inputs):
    raise RuntimeError(f"no answer to {len(inputs)} rows")


def answer(inputs):
    return np.eye(10)[np.zeros(len(inputs), int)]


def test_a_member_that_fails_is_dropped_and_the_run_says_so(registry, monkeypatch):
    class Broken(LocalEnsembleTarget):
        def __init__(self, setup):
            super().__init__(setup)
            self.backends = [FunctionBackend(fail), FunctionBackend(answer)]

    monkeypatch.setattr("workbench.measuring.routed_targets.LocalEnsembleTarget", Broken)
    ensemble = ensemble_of(registry, "digits-mlp-small", "digits-logistic")

    run = wb.Experiment(ensemble, trace=TRACE).run()

    assert run.answered == len(TRACE)
    assert run.frame["place"].unique().to_list() == [1]
    assert run.calls["error"].drop_nulls().len() >= 3  # and what was under way by the third
    assert any(
        "digits-mlp-small failed 3 times in a row and was left out" in warning
        and "RuntimeError: no answer to 1 rows" in warning
        for warning in run.warnings
    )


def test_this_machine_as_one_of_several_says_so(registry):
    server = wb.OnPremise(servers=2, purchase_price=1000, lifetime_years=4)
    ensemble = ensemble_of(registry, "digits-mlp-small", "digits-logistic").on([server] * 2)

    run = wb.Experiment(ensemble, trace=TRACE).run()

    assert 0 < len(run) < len(TRACE)
    assert any("one of 2 like servers" in warning for warning in run.warnings)


def test_the_router_knows_what_was_measured_before(registry):
    experiment = wb.Experiment(ensemble_of(registry, "digits-mlp-small"), trace=TRACE)
    profile = experiment.alone("digits-mlp-small").ensure_profile()

    (place,) = list_places(experiment)

    assert place.seconds == pytest.approx(ServiceTimes.from_profile(profile).means[1])
    assert place.accuracy == pytest.approx(registry["digits-mlp-small"].traits.accuracy)


def test_a_member_that_needs_a_cloud_says_so(registry):
    ensemble = ensemble_of(registry, "digits-mlp-small", "digits-logistic")
    moved = ensemble.on([wb.Local(), wb.Serverless(memory_mb=2048, max_concurrency=20)])

    with refused(NotAvailable, "digits-logistic", "serverless 2048 MB", "experiment.run(cloud)"):
        wb.Experiment(moved, trace=TRACE).run()


def test_what_a_router_gets_wrong_is_raised_here(registry):
    ensemble = dataclasses.replace(
        ensemble_of(registry, "digits-mlp-small"), router=Escalate(0.5, again=True)
    )

    with refused(InvalidInput, "router", "request 0", "(0,)"):
        wb.Experiment(ensemble, trace=TRACE).run()
