"""Repetitions of a simulation: what is drawn again, what is left out, and what they say."""

import math
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from tests.refused import refused
from workbench import (
    SLO,
    Async,
    BatchPolicy,
    Experiment,
    Lambda,
    Local,
    RealTime,
    ScaleToZero,
    Schedule,
    Serverless,
    bursty,
    diurnal,
    load_run,
    poisson,
)
from workbench.errors import InvalidInput, TooFewSamples
from workbench.report.conclusion import Estimate
from workbench.run.replications import LEVELS, Replications
from workbench.service_times import ServiceTimes
from workbench.simulator import Simulation, simulate
from workbench.traffic.recipes import can_redraw, is_stationary, redraw
from workbench.traffic.trace import Trace

SHAPE = ServiceTimes({1: -np.log1p(-(np.arange(2000) + 0.5) / 2000)})
EXPONENTIAL = SHAPE.scale(1 / SHAPE.means[1])
JITTER = ServiceTimes({1: [0.4, 0.5, 0.6]})


def queue(rate, requests, seed, **more):
    trace = poisson(rate=rate, duration=requests / rate, seed=seed)
    return simulate(trace, BatchPolicy(), Local(), EXPONENTIAL, seed=seed, **more)


@pytest.mark.parametrize(("load", "requests", "repeated"), [(0.5, 2_000, False), (0.8, 500, True)])
def test_intervals_hold_the_truth_and_do_not_tell_equals_apart(load, requests, repeated):
    truth = math.log(20) / (1 - load)
    runs = [queue(load, requests, seed) for seed in range(40)]

    given = []
    for run in runs:
        alone = run if repeated else replace(run, replicate=None)
        try:
            given.append(alone.interval(0.95))
        except TooFewSamples:
            assert not repeated

    assert len(given) >= 35
    held = sum(low <= truth <= high for low, high in given)
    assert held >= 0.82 * len(given)  # 95 % less more than four standard errors
    estimates = [Estimate("", 0.0, low, high) for low, high in given]
    alarms = sum(a.differs_from(b) for a, b in pairwise(estimates))
    assert alarms <= 0.1 * len(given)


def test_a_run_alone_that_is_too_short_for_its_load_says_so():
    run = replace(queue(0.9, 500, 1), replicate=None)

    assert run.count_missing(0.95) > 10_000
    with refused(TooFewSamples, "95th", "replications=20"):
        run.interval(0.95)


def test_the_transient_is_named_and_left_out_of_the_long_run():
    found = queue(0.9, 500, 1, replications=20).record.replications

    assert found.count == 20
    assert found.about.startswith("20 stretches of the long run, arrivals and service times drawn")
    assert "until the start from empty is forgotten, are left out" in found.about
    assert found.quantile(0.95) == pytest.approx(math.log(20) / 0.1, rel=0.1)


def test_a_fixed_trace_keeps_its_arrivals():
    trace = Trace(np.cumsum(np.tile([0.1, 0.9, 1.4], 200)), 600)
    run = simulate(trace, BatchPolicy(), Local(), JITTER, replications=10)

    found = run.record.replications
    low, high = found.interval(0.9)

    assert "service times drawn again, for the arrivals of this trace alone" in found.about
    assert low <= run.quantile(0.9) <= high
    assert high - low < 0.05


def test_a_trace_without_a_steady_state_is_redrawn_from_empty():
    trace = diurnal(rate=2, swing=0.5, period=200, duration=200, seed=1)
    run = simulate(trace, BatchPolicy(), Local(), ServiceTimes({1: 0.2}), replications=10)

    found = run.record.replications

    assert found.count == 500
    assert found.about.endswith("the start from empty counts")


def test_repetitions_are_few_where_a_scaler_is_asked_more_often_than_requests_come(
    monkeypatch,
):
    monkeypatch.setattr(Simulation, "most_requests", 40_000)
    trace = poisson(rate=0.002, duration=8_640, seed=1)
    fleet = Async(instance_type="ml.m5.large")

    def repeat(period):
        scaling = ScaleToZero(period=period)
        run = simulate(trace, BatchPolicy(), fleet, JITTER, boot=60.0, scaling=scaling)
        return run.replications_for(0.95).count

    assert [repeat(4_320.0), repeat(20.0)] == [500, 5]


def test_replications_need_something_that_differs():
    trace = Trace(np.arange(100.0), 100)

    with refused(InvalidInput, "Replications", "poisson(...)"):
        simulate(trace, BatchPolicy(), Local(), ServiceTimes({1: 0.2}), replications=10)
    with refused(InvalidInput, "replications", 1):
        simulate(trace, BatchPolicy(), Local(), JITTER, replications=1)


def test_the_same_seed_gives_the_same_replications_and_files_keep_them(tmp_path):
    first, second = queue(0.9, 500, 3), queue(0.9, 500, 3, replications=20)

    assert first.interval(0.95) == second.interval(0.95)
    assert load_run(first.save(tmp_path / "run")).interval(0.95) == first.interval(0.95)


def test_files_keep_repetitions_of_a_whole_trace_too(tmp_path):
    trace = poisson(rate=10, duration=60, seed=1)
    policy, fleet = Schedule([(0.0, 2)]), RealTime(instance_type="ml.m5.large")
    run = simulate(trace, BatchPolicy(), fleet, JITTER, scaling=policy, replications=3)

    assert run.record.replications.worth is None
    assert load_run(run.save(tmp_path / "run")).record.replications == run.record.replications


def test_on_demand_the_start_counts_and_cold_starts_are_allowed_for():
    trace = poisson(rate=10, duration=60, seed=1)
    function = Serverless(memory_mb=2048, max_concurrency=20)
    run = simulate(trace, BatchPolicy(), function, JITTER, cold_start=3.0, replications=20)

    found = run.record.replications

    assert found.cold > 0.01
    assert found.interval(0.95)[0] < 0.6
    assert found.interval(0.99)[1] > 3


def test_replications_pool_shares_weighted_by_requests():
    parts = [np.arange(1, 101) / 100, np.arange(1, 301) / 300]
    found = Replications.of(parts, about="two")

    assert found.quantile(0.5) == pytest.approx(0.5, abs=0.01)
    assert max(found.errors) < 0.01
    assert len(found.quantiles) == len(LEVELS)


def test_a_failed_request_is_infinitely_late_in_replications():
    found = Replications.of([np.r_[np.ones(90), np.full(10, np.nan)]] * 2, about="two")

    assert found.quantile(0.5) == 1.0
    assert found.interval(0.95)[1] == math.inf


@pytest.mark.parametrize(
    ("make", "again", "stationary"),
    [
        (lambda: poisson(rate=5, duration=20, seed=1, rows=(1, 3)), True, True),
        (lambda: poisson(rate=5, duration=20, seed=1).scale(2).thin(0.5, seed=3), True, True),
        (lambda: poisson(rate=5, duration=20, seed=np.random.default_rng(1)), True, True),
        (lambda: poisson(rate=5, duration=20, seed=1).clip(5, 15), True, False),
        (
            lambda: (
                poisson(rate=5, duration=20, seed=1)
                + diurnal(rate=2, swing=0.5, period=9, duration=20, seed=1)
            ),
            True,
            False,
        ),
        (lambda: Trace([1.0, 2.0], 3.0, name="poisson(rate=1, duration=3, seed=1)"), False, True),
        (lambda: Trace([1.0, 2.0], 3.0, name="my log"), False, False),
    ],
)
def test_a_trace_is_redrawn_by_its_name_if_that_made_it(make, again, stationary):
    trace = make()

    assert (can_redraw(trace), is_stationary(trace)) == (again, stationary)
    if again:
        other = redraw(trace, np.random.default_rng(2))
        assert other.duration == trace.duration
        assert not np.array_equal(other.arrivals, trace.arrivals)


@pytest.mark.parametrize("each", [100.0, 33.4])
def test_a_trace_whose_rows_have_bytes_is_redrawn_with_them(each):
    trace = poisson(rate=5, duration=20, seed=1, rows=3)
    load = replace(trace, bytes=trace.content(each))
    odd = replace(trace, bytes=np.arange(len(trace)))

    assert can_redraw(load)
    assert set(redraw(load, np.random.default_rng(2)).bytes) == {round(3 * each)}
    assert not can_redraw(odd)


def test_an_experiment_is_repeated_for_its_interval(model):
    bursts = bursty(rate=30, burst=6, dwell=(60, 20), duration=300, seed=0)
    place = Lambda(memory_mb=1769, max_concurrency=900)
    run = Experiment(model, place, bursts, slo=SLO(latency=0.3)).simulate(EXPONENTIAL.scale(0.04))

    assert run.count_missing(0.95)
    assert str(run.verdict) == "met"
