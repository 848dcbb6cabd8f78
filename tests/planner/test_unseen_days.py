"""Picks are judged on days that the search has not seen, and given the headroom that takes."""

from dataclasses import replace

import numpy as np
import pytest

from tests.refused import unnamed
from workbench.planner import Options, plan
from workbench.quantiles import select_quantile
from workbench.run import SLO
from workbench.service_times import ServiceTimes
from workbench.traffic.patterns import bursty, flash_crowd, poisson
from workbench.traffic.trace import Trace

TIMES = ServiceTimes.affine(0.006, 0.004, largest=32)
FLEETS = Options(kinds=["real-time", "async"], instance_types=["ml.c5.large", "ml.c5.xlarge"])
LAMBDA = Options(
    kinds=["lambda"],
    lambda_memory_mb=[1024, 1769],
    cold_start=0.3,
    row_bytes=8,
    answer_bytes=8,
    model_memory=1e6,
)


def day_of_crowd(seed):
    return flash_crowd(
        rate=40, peak=12, start=30, ramp=5, hold=15, decay=10, duration=120, seed=seed
    )


def day_of_bursts(seed):
    return bursty(rate=60, burst=5, dwell=(20, 5), duration=300, seed=seed)


def share_met(found, days):
    """On which share of days the winner meets the target."""
    met = [
        select_quantile(
            replace(found.task, trace=day).serve(found.best.configuration).latencies,
            found.slo.quantile,
        )
        <= found.slo.latency
        for day in days
    ]
    return np.mean(met)


@pytest.mark.parametrize("kind", ["real-time", "async", "lambda"])
@pytest.mark.parametrize("day", [day_of_crowd, day_of_bursts])
def test_a_winner_holds_on_days_that_it_has_not_seen(day, kind):
    options = replace(LAMBDA if kind == "lambda" else FLEETS, kinds=[kind])
    found = plan(TIMES, day(1), SLO(latency=0.1), options)
    assert found.best.unseen.share >= options.unseen_share
    assert share_met(found, [day(seed) for seed in range(1000, 1030)]) >= 0.9


def test_what_holding_on_other_days_costs_is_shown():
    trace = day_of_bursts(1)
    alone, secured = (
        plan(TIMES, trace, SLO(latency=0.12), replace(LAMBDA, headroom=0.0, unseen_draws=draws))
        for draws in (0, 20)
    )
    assert alone.best.unseen is None
    assert secured.best.cost_per_million > alone.best.cost_per_million
    assert secured.surcharge == pytest.approx(
        secured.best.cost_per_million / alone.best.cost_per_million - 1
    )
    assert f"on {secured.best.unseen.label} other days; that makes it" in secured.label
    lost = secured.frame.filter(
        deployment=alone.best.deployment.label, policy=alone.best.policy.label
    )
    assert "other days only" in lost["reason"][0]
    assert secured.frame["unseen"][0] == secured.best.unseen.label
    assert "other days" in secured._repr_html_()


def test_a_share_that_no_pick_reaches_is_said():
    options = replace(
        LAMBDA, max_sizes=[8], max_waits=[0.079], lambda_memory_mb=[1769], headroom=0.0
    )
    trace = poisson(rate=60, duration=60, seed=1)
    own = plan(TIMES, trace, SLO(latency=1), replace(options, unseen_draws=0)).best.latency
    found = plan(TIMES, trace, SLO(latency=own), options)  # chance alone decides on another day
    assert found.feasible
    assert found.best.unseen.share < 0.95
    assert not unnamed(found.best.reason, "95 %", "other days")


@pytest.mark.parametrize("arrivals", [[1.0], [1.0, 1.0, 1.0]])
def test_a_trace_of_one_instant_cannot_be_redrawn_and_the_plan_says_so(arrivals):
    found = plan(TIMES, Trace(arrivals, 10.0), SLO(latency=1), LAMBDA)
    assert found.feasible
    assert found.best.unseen is None
    assert any("Nothing can be redrawn" in note for note in found.notes)


def test_with_a_budget_a_pick_keeps_to_it_on_other_days():
    found = plan(TIMES, day_of_bursts(1), SLO(latency=0.1), LAMBDA, budget=0.2)
    assert found.feasible
    assert found.best.unseen.share >= 0.95
    assert found.best.cost_per_million < 0.2


def test_planning_can_be_stopped_while_picks_are_tried():
    class StopError(Exception):
        pass

    calls = []

    def progress(done, total):
        calls.append((done, total))
        if len(calls) == 3:  # 0 of 1, 1 of 1, and then the other days
            raise StopError

    with pytest.raises(StopError):
        plan(TIMES, day_of_bursts(1), SLO(latency=0.1), LAMBDA, progress=progress)


@pytest.mark.parametrize("kinds", [("lambda", "real-time"), ("serverless", "async")])
@pytest.mark.parametrize("latency", [0.06, 0.5])
@pytest.mark.parametrize(
    "trace", [day_of_bursts(1).clip(0, 100), poisson(rate=0.01, duration=40_000, seed=1)]
)
@pytest.mark.no_cover
def test_break_even_never_contradicts_the_plan(trace, latency, kinds):
    """Requests that come rarely start an instance each: cold starts count in both."""
    options = replace(
        LAMBDA, kinds=kinds, instance_types=["ml.c5.large"], cold_start=2.0, max_sizes=[1, 4]
    )
    found = plan(TIMES, trace, SLO(latency=latency), options)
    frame = found.break_even([trace.rate])
    for row in frame.iter_rows(named=True):
        best = found.frame.filter(kind=row["kind"]).row(0, named=True)
        if row["cost_per_million"] is None:
            assert best["latency"] > latency
            continue
        names = ("deployment", "policy", "latency", "unseen")
        assert [row[name] for name in names] == [best[name] for name in names]
        assert row["cost_per_million"] == pytest.approx(best["cost_per_million"])
    cheapest = frame.filter("cheapest")["kind"].to_list()
    assert cheapest == ([found.best.deployment.kind] if found.feasible else [])
