"""Backtests: errors and bills by hand, nothing known beforehand, and what the sentences say."""

import math

import numpy as np
import pytest

import workbench as wb
from tests.refused import refused
from workbench.batching.timer import BatchPolicy
from workbench.deployment import Hybrid, InFlight, Lambda, RealTime
from workbench.errors import InvalidInput, TooFewSamples
from workbench.forecasts import Oracle, Persistence, Ridge, SeasonalNaive
from workbench.planner.backtest import backtest
from workbench.quantiles import SLO
from workbench.run.costs import cost
from workbench.scaling import InstanceCapacity
from workbench.scaling.predictive import Predictive
from workbench.service_times import ServiceTimes
from workbench.simulator import simulate
from workbench.traffic.patterns import poisson

ONE = InstanceCapacity(instance_type="ml.m5.large", rate=1.0, hourly_price=3.6)  # 60 a minute: 0.06
TERMS = {"capacity": ONE, "call_price": 0.002, "boot": 60.0}  # the median: 1 - 0.001 / 0.002
HYBRID = Hybrid(
    base=RealTime(instance_type="ml.m5.large", count=1),
    overflow=Lambda(memory_mb=1769, max_concurrency=100),
    spill=InFlight(2),
)


class Said:
    """Forecasts what it was made with, whatever it is fitted to; and remembers to what."""

    seen = ()  # of all copies

    def __init__(self, *quantiles):
        self.quantiles = quantiles

    def fit(self, counts, period):  # noqa: ARG002 - of the protocol
        type(self).seen = (*type(self).seen, tuple(counts))

    def forecast(self, steps, quantiles):
        return np.tile(self.quantiles[: len(quantiles)], (steps, 1))


def test_errors_coverage_and_pinball_loss_worked_by_hand():
    found = backtest([0, 0, 10, 20, 40], {"said": Said(8, 20, 30)}, learn=2, ahead=[60.0])

    row = found.frame.row(0, named=True)
    assert found.origins == 3
    assert row["rmse_60s"] == pytest.approx(math.sqrt((100 + 0 + 400) / 3))
    assert row["coverage_60s"] == pytest.approx(2 / 3)
    low = 0.05 * (2 + 12 + 32)
    median, high = 0.5 * (10 + 0 + 20), 0.05 * (20 + 10) + 0.95 * 10
    assert row["pinball"] == pytest.approx((low + median + high) / 9)


def test_a_forecaster_knows_no_count_but_those_before_its_origin():
    Said.seen, counts = (), list(range(10))

    backtest(counts, {"said": Said(1, 2, 3)}, learn=4, every=2, ahead=[60.0, 120.0])

    assert Said.seen == tuple(tuple(counts[:origin]) for origin in (4, 6, 8))


def test_further_ahead_is_compared_with_later_counts():
    counts = np.arange(100.0)
    known = {"oracle": Oracle(counts), "late": Oracle(counts - (counts > 60))}

    found = backtest(counts, known, learn=50, ahead=[60.0, 300.0])

    assert found.frame["rmse_60s"].to_list() == pytest.approx([0, (35 / 46) ** 0.5])
    assert found.frame["rmse_300s"].to_list() == pytest.approx([0, (39 / 46) ** 0.5])


def test_a_bill_worked_by_hand():
    # 90 need two instances in each of the three periods after the first two: 30 calls are left
    found = backtest(
        [0, 0, 0, 120, 150, 90], {"said": Said(0, 90, 200, 90)}, learn=2, ahead=[60.0], **TERMS
    )

    assert found.frame["dollars"].to_list() == pytest.approx([6 * 0.06 + 30 * 0.002])
    assert found.best.dollars == pytest.approx(6 * 0.06 + 30 * 0.002)


class ByOrigin(Said):
    """Forecasts by how many counts it knows: what comes next, and in all periods after that."""

    def __init__(self, **ahead):
        self.ahead = ahead

    def forecast(self, steps, quantiles):
        following, later = self.ahead[f"after_{len(type(self).seen[-1])}"]
        rows = [following, *[later] * (steps - 1)]
        return np.tile(np.array(rows, float)[:, None], (1, len(quantiles)))


def test_boots_are_paid_and_decisions_held_as_long_as_asked():
    counts = [60, 60, 60, 60, 180, 180, 180, 180]
    rising = ByOrigin(after_2=(60, 60), after_4=(180, 180), after_6=(180, 180))

    found = backtest(counts, {"rising": rising}, learn=2, every=2, ahead=[60.0], **TERMS)

    # one instance for two periods, three for four; in the first of those two of them boot
    assert found.frame["dollars"].to_list() == pytest.approx([14 * 0.06 + 120 * 0.002])


def test_an_instance_that_is_needed_until_another_could_serve_is_kept():
    falling = ByOrigin(after_2=(180, 180), after_3=(180, 60), after_4=(60, 60))

    found = backtest([0, 0, 180, 180, 60, 60], {"falling": falling}, learn=2, ahead=[60.0], **TERMS)

    assert found.frame["dollars"].to_list() == pytest.approx([(3 + 3 + 1) * 0.06])


def test_no_bill_is_below_the_bound():
    counts = np.random.default_rng(1).poisson(300 * (1 + np.sin(np.arange(300) / 20)))
    asked = {"last": Persistence(), "ridge": Ridge(season=None), "oracle": Oracle(counts)}

    found = backtest(counts, asked, learn=100, ahead=[60.0], **TERMS)

    last, ridge, oracle = found.frame["over_bound"]
    assert 1 <= oracle <= min(last, ridge)
    assert found.frame["dollars"].to_list() == pytest.approx(
        [each * found.best.bound for each in (last, ridge, oracle)]
    )


def test_a_smaller_error_that_does_not_lower_the_bill_is_said_to():
    counts = [100] * 20

    found = backtest(
        counts,
        {"first": Said(0, 90, 200, 90), "nearer": Said(0, 100, 200, 100), "low": Said(0, 9, 9, 60)},
        ahead=[60.0],
        **TERMS,
    )

    nearer, low, bound = found.sentences
    assert "-100 % against first" in nearer
    assert nearer.endswith("the smaller error does not lower the bill.")
    assert low.endswith("; bill +16.7 %, $1.26.") or "bill +17 %" in low
    assert f"${found.best.bound:.2f}" in bound
    assert "nearer" in str(found)
    assert "over_bound" in found._repr_html_()


def test_functions_cheaper_than_instances_take_all_and_it_is_said():
    found = backtest([100] * 60, [Persistence()], ahead=[60.0], **TERMS | {"call_price": 0.001})

    assert found.frame["dollars"].to_list() == pytest.approx([29 * 100 * 0.001])
    assert any("no instance pays" in each for each in found.sentences)


def test_a_simulated_bill_is_that_of_a_run_with_the_policy():
    trace = poisson(rate=2.0, duration=2400, seed=1)
    service = (ServiceTimes({1: 0.5}), ServiceTimes({1: 0.4}))

    found = backtest(
        trace,
        [Persistence()],
        learn=25,
        ahead=[60.0],
        hybrid=HYBRID,
        service=service,
        cold_start=1.0,
        slo=SLO(latency=0.45, quantile=0.99),
        **TERMS,
    )

    policy = Predictive(forecaster=Persistence(), history=trace.counts(60.0)[:25].tolist(), **TERMS)
    run = simulate(
        trace.clip(1500.0),
        BatchPolicy(),
        HYBRID,
        service,
        cold_start=1.0,
        boot=60.0,
        scaling=policy,
    )
    assert found.frame["simulated_dollars"].to_list() == pytest.approx([cost(run).total])
    assert found.frame["in_time"].to_list() == [run.attainment(0.45)]
    assert "persistence misses p99 ≤ 450 ms" in str(found)


def test_a_trace_of_zeros_costs_nothing():
    found = wb.backtest(np.zeros(100), [Persistence(), Ridge(season=None, lags=(1,))], **TERMS)

    assert found.frame["dollars"].to_list() == [0.0, 0.0]
    assert found.frame["rmse_60s"].to_list() == pytest.approx([0.0, 0.0])
    assert "0 %" in found.sentences[0]


def test_what_was_learned_before_is_left_as_it_was():
    fitted = Persistence().fit([5] * 30, 60.0)

    backtest([100] * 60, [fitted], ahead=[60.0])

    assert fitted.forecast(1, [0.5]).tolist() == [[5.0]]


@pytest.mark.parametrize(
    "change",
    [
        {"trace": [1] * 10},
        {"forecasters": []},
        {"forecasters": ["ridge"]},
        {"forecasters": {"ridge": "ridge"}},
        {"forecasters": [Persistence(), Persistence(window=3)]},
        {"forecasters": {"odd": Said(1)}},
        {"ahead": [90.0]},
        {"band": 1.0},
        {"learn": 0},
        {"every": 0},
        {"capacity": ONE},
        {"hybrid": HYBRID},
    ],
    ids="-".join,
)
def test_what_does_not_fit_is_refused(change):
    with pytest.raises(InvalidInput):
        backtest(**{"trace": [1] * 60, "forecasters": [Persistence()], **change})


def test_a_forecaster_that_cannot_learn_from_so_little_is_named():
    with refused(TooFewSamples, "by day", "SeasonalNaive", 1440, 30):
        backtest([1] * 60, {"by day": SeasonalNaive()})
