"""Plans with fleets that change size and functions for the rest: what wins, and what they say."""

from dataclasses import replace

import numpy as np
import pytest

import workbench as wb
from tests.refused import refused
from workbench.errors import InvalidInput, NotFound
from workbench.forecasts import Oracle, Persistence, Ridge
from workbench.planner import Options, Plan, plan, replan
from workbench.planner.candidates import HYBRID, SCALED, attainment_by_minute, describe_scaling
from workbench.planner.decisions import summarize_plan
from workbench.quantiles import SLO, longest_within
from workbench.run.costs import cost
from workbench.scaling.predictive import Predictive
from workbench.scaling.reactive import TargetTracking
from workbench.service_times import ServiceTimes
from workbench.simulator import simulate
from workbench.traffic.patterns import flash_crowd, poisson
from workbench.traffic.trace import Trace

TIMES = ServiceTimes.affine(0.2, 0.05, largest=4)
TARGET = SLO(latency=1.0)
SMALL = Options(
    kinds=["lambda", "real-time"],
    lambda_memory_mb=[1769],
    serverless_memory_mb=[2048],
    instance_types=["ml.c5.large", "ml.c5.xlarge"],
    max_sizes=[1, 2, 4],
    max_waits=[0.06, 0.12, 0.25],
    cold_start=0.2,
    boot=120.0,
    unseen_draws=0,
)
BOTH = replace(SMALL, scaled=True, hybrid=True)


@pytest.fixture(scope="module")
def crowd() -> Trace:
    """A sharp rise that no fleet sees in time."""
    shape = {"start": 1200, "ramp": 60, "hold": 300, "decay": 120, "duration": 3600}
    return flash_crowd(rate=15, peak=6, **shape, seed=1)


@pytest.fixture(scope="module")
def decided(crowd: Trace) -> Plan:
    return plan(TIMES, crowd, TARGET, BOTH)


def best_of(found: Plan, kind: str):
    return next(one for one in found.finalists if one.kind == kind)


# ---------------------------------------------------------------------- the choice


def test_fleets_that_change_size_and_hybrids_are_in_the_plan_beside_the_others(decided):
    assert set(decided.by_kind["kind"]) == {
        *("lambda", "real-time", "lambda managed"),
        *(SCALED, HYBRID),
    }
    assert isinstance(best_of(decided, SCALED).scaling, TargetTracking)
    assert isinstance(best_of(decided, HYBRID).deployment, wb.Hybrid)
    assert decided.frame["reason"].str.len_chars().min() > 0
    assert not decided.frame["reason"].str.contains("nan|NaN").any()


def test_on_a_sharp_rise_functions_for_the_rest_are_cheapest_and_tracking_keeps_the_peak(decided):
    hybrid, tracked, static = (best_of(decided, kind) for kind in (HYBRID, SCALED, "real-time"))
    assert decided.best.kind == HYBRID
    assert hybrid.cost_per_million < 0.7 * min(static.cost_per_million, tracked.cost_per_million)
    assert tracked.scaling.least > 1
    assert tracked.cost_per_million <= 1.05 * static.cost_per_million


def test_a_tracked_fleet_with_one_instance_less_at_least_would_miss_the_target(decided, crowd):
    tracked = best_of(decided, SCALED)
    for metric in ({}, {"target": 4 * tracked.scaling.target}):
        fewer = replace(tracked.scaling, least=tracked.scaling.least - 1, **metric)
        run = simulate(
            crowd,
            tracked.policy,
            replace(tracked.deployment, count=max(fewer.least, 1)),
            decided.task.service_on(tracked.deployment),
            boot=SMALL.boot,
            scaling=fewer,
        )
        assert run.quantile(TARGET.quantile) > TARGET.latency


@pytest.mark.parametrize("kind", [SCALED, HYBRID, "real-time"])
def test_figures_are_those_of_simulate_and_cost(decided, crowd, kind):
    possible = [one for one in decided.finalists if one.kind == kind and one.latency < 60]
    for one in possible[:3]:
        times = tuple(decided.task.service_on(part) for part in one.deployment.simple_parts)
        run = simulate(
            crowd,
            one.policy,
            one.deployment,
            times if len(times) > 1 else times[0],
            cold_start=SMALL.cold_start,
            boot=SMALL.boot,
            scaling=one.scaling,
            seed=SMALL.seed,
        )
        assert one.latency == run.quantile(TARGET.quantile)
        assert one.attainment == run.attainment(TARGET)
        assert one.cost_per_million == pytest.approx(cost(run).per_million)
        minutes = (run.frame["scheduled"] // 60).to_numpy()
        within = run.frame["latency"].to_numpy() <= longest_within(TARGET.latency)
        shares = np.array([within[minutes == minute].mean() for minute in np.unique(minutes)])
        assert one.worst_minute == pytest.approx(shares.min())
        assert one.minutes_met == pytest.approx((shares >= 0.95).mean())


def test_attainment_by_minute_leaves_out_minutes_without_requests():
    arrivals = np.array([0.0, 59.9, 60.0, 240.0])
    within = np.array([True, False, True, False])
    assert attainment_by_minute(arrivals, within).tolist() == [0.5, 1.0, 0.0]


def test_a_target_that_is_met_over_all_may_be_missed_in_minutes(crowd):
    loose = SLO(latency=1.0, quantile=0.5)
    found = plan(TIMES, crowd, loose, replace(SMALL, kinds=["real-time"]))
    met = [one for one in found.finalists if one.latency <= loose.latency]
    assert min(one.minutes_met for one in met) < 1
    assert min(one.worst_minute for one in met) < loose.quantile < min(o.attainment for o in met)


def test_plans_without_either_search_what_they_did_before(crowd):
    found = plan(TIMES, crowd, TARGET, SMALL)
    assert set(found.frame["kind"]) == {"lambda", "real-time"}
    assert set(Options().kinds) == {
        *("lambda", "serverless", "real-time", "async", "batch transform"),
    }
    assert not any("Not covered" in note for note in found.notes)
    assert "fleet_choices" not in vars(found.task)


def test_what_no_plan_tries_is_named(decided):
    (note,) = [note for note in decided.notes if note.startswith("Not covered")]
    assert "inference components" in note
    assert "instance pools" in note


def test_several_forecasters_are_compared_in_one_plan(crowd):
    counts = crowd.counts(60).astype(float)
    given = [Persistence(), Ridge(), Oracle(counts)]
    found = plan(TIMES, crowd, TARGET, replace(SMALL.only(HYBRID), forecaster=given))
    policies = [one.scaling for one in found.finalists if isinstance(one.scaling, Predictive)]
    names = {type(each.forecaster).__name__ for each in policies}
    assert names == {"Persistence", "Ridge", "Oracle"}
    assert "by Ridge" in " ".join(found.frame["deployment"])


def test_picks_are_tried_on_other_days(crowd):
    options = replace(SMALL.only(HYBRID), unseen_draws=2)
    found = plan(TIMES, crowd, TARGET, options)
    assert found.best.unseen is not None
    assert found.best.unseen.tried == 2


def test_the_winner_is_an_experiment_that_simulates_to_its_figures(decided, crowd, model):
    chosen = decided.experiment(model)
    run = chosen.simulate(
        TIMES,
        cold_start=SMALL.cold_start,
        boot=SMALL.boot,
        scaling=decided.best.scaling,
        seed=SMALL.seed,
    )
    assert run.quantile(0.95) == decided.best.latency
    assert len(run) == len(crowd)


def test_break_even_and_replan_know_hybrids():
    even = poisson(rate=20, duration=1200, seed=1)
    options = replace(SMALL.only(HYBRID), kinds=["lambda", HYBRID], instance_types=["ml.c5.large"])
    found = plan(TIMES, even, TARGET, options)
    frame = found.break_even([even.rate])
    assert set(frame["kind"]) == {"lambda", HYBRID}
    cost_at_rate = frame.filter(kind=HYBRID)["cost_per_million"].item()
    assert cost_at_rate == pytest.approx(best_of(found, HYBRID).cost_per_million)
    again = replan(TIMES, even, TARGET, options.only(HYBRID), window=600, watch=False)
    assert {type(each.configuration.deployment) for each in again.stretches} == {wb.Hybrid}


# --------------------------------------------------------------------- extreme prices


def test_where_functions_are_cheaper_at_every_load_there_is_no_instance_and_it_says_so(crowd):
    dear = Options().prices
    for name in SMALL.instance_types:
        dear = dear.with_price(name, 500.0)
    found = plan(TIMES, crowd, TARGET, replace(BOTH, prices=dear))
    assert found.best.kind == "lambda"
    assert not [one for one in found.finalists if one.kind == HYBRID]
    assert any("no instance pays" in note for note in found.notes)
    reasons = found.frame.filter(kind=HYBRID)["reason"]
    assert len(reasons) == len(SMALL.instance_types)
    assert reasons.str.contains("functions are cheaper than").all()
    row = next(each for each in summarize_plan(found).rows if each.kind == HYBRID)
    assert row.verdict.word == "missed"
    assert "at every load" in row.reason


def test_where_functions_are_dear_beyond_measure_there_is_none_and_it_says_so(crowd):
    dear = Options().prices.with_price("lambda requests", 1.0)
    found = plan(TIMES, crowd, TARGET, replace(BOTH, prices=dear, hybrid=True))
    assert not isinstance(found.best.deployment, wb.Hybrid | wb.Lambda)
    assert not [one for one in found.finalists if isinstance(one.deployment, wb.Hybrid)]
    assert any("no function pays" in note for note in found.notes)


def test_a_type_without_a_price_is_one_error_that_names_it(crowd):
    rare = replace(BOTH, deployments=[wb.RealTime(instance_type="ml.c5d.18xlarge")])
    with refused(NotFound, "ml.c5d.18xlarge"):
        plan(lambda _: TIMES, crowd, TARGET, rare)


# ------------------------------------------------------------------------- bad input


def test_an_overflow_that_throttles_fails_requests_and_the_plan_counts_them(crowd):
    options = replace(BOTH, lambda_concurrency=1)
    found = plan(TIMES, crowd, TARGET, options)
    hybrids = [one for one in found.finalists if one.kind == HYBRID]
    assert min((one.attainment for one in hybrids), default=0.0) < 0.95
    assert found.feasible
    assert found.best.attainment >= 0.95


def test_a_trace_of_one_request_is_planned():
    found = plan(TIMES, Trace([30.0], 600.0), TARGET, BOTH)
    assert found.best.kind == "lambda"
    assert found.best.worst_minute == found.best.minutes_met == 1.0


def test_a_trace_of_zeros_is_one_error():
    with pytest.raises(InvalidInput):
        wb.from_counts([0, 0, 0], period=60, seed=1)


@pytest.mark.parametrize(
    ("choices", "named"),
    [
        ({"forecaster": Persistence()}, ["forecaster", "hybrid=True"]),
        ({"hybrid": True, "forecaster": "persistence"}, ["forecaster", "persistence"]),
        ({"hybrid": True, "forecaster": [Persistence(), 3]}, ["forecaster", 3]),
        ({"scaled": "yes"}, ["scaled", "yes"]),
        ({"hybrid": 1}, ["hybrid", 1]),
    ],
)
def test_choices_that_do_not_go_together_are_refused_in_a_sentence(choices, named):
    with refused(InvalidInput, *named):
        Options(**choices)


def test_a_budget_does_not_go_with_fleets_that_change_size():
    with refused(InvalidInput, "budget", "scaled=True", "hybrid=True"):
        plan(TIMES, poisson(rate=5, duration=60, seed=1), TARGET, BOTH, budget=3.0)


def test_a_target_no_instance_meets_leaves_the_others_and_says_why():
    trace = poisson(rate=20, duration=600, seed=1)
    slow = lambda deployment: TIMES.scale(1.0 if deployment.on_demand else 9.0)  # noqa: E731
    found = plan(slow, trace, TARGET, BOTH)
    assert found.best.kind == "lambda"
    reasons = found.frame.filter(kind=HYBRID)["reason"]
    assert reasons.str.contains("never meets").all()


def test_policies_are_told_apart_by_their_words(decided):
    labels = [one.label for one in decided.finalists if one.kind in (SCALED, HYBRID)]
    assert len(set(labels)) == len(labels)
    assert describe_scaling(TargetTracking(target=60.0)) == "target tracking (target 60)"


def test_models_are_not_selected_by_fleets_that_change_size(registry):
    with refused(InvalidInput, "scaled=True", "hybrid=True"):
        wb.select(registry, trace=poisson(rate=5, duration=60, seed=1), slo=TARGET, options=BOTH)
