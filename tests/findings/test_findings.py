"""Sentences on results: their numbers are those of the result, and each can come out otherwise."""

import re

import numpy as np
import polars as pl
import pytest

from tests.refused import refused
from workbench import findings
from workbench.comparison import compare
from workbench.deployment import Local
from workbench.errors import InvalidInput
from workbench.findings import Conclusion
from workbench.formatting import duration
from workbench.measuring.profile import BACK_TO_BACK, QUANTILE_LEVELS, Profile
from workbench.run import Run
from workbench.traffic.trace import Trace

TARGET = {"latency": 0.1, "quantile": 0.95}


def run(label, latencies, *, price=3.6, scheduled=None, **columns):
    """A run whose requests are due every second and take so long, for so much an hour."""
    due = np.arange(len(latencies), dtype=float) if scheduled is None else np.asarray(scheduled)
    facts = {"label": f"mlp:1, {label}", "origin": "simulated", "slo": TARGET}
    facts["deployment"] = Local(hourly_price=price).to_dict()
    return Run.from_arrays(
        scheduled=due, finished=due + np.asarray(latencies), facts=facts, **columns
    )


def profile_of(medians):
    """A profile of these seconds by batch size."""
    rows = [
        {
            "batch_size": size,
            "threads": 1,
            "state": BACK_TO_BACK,
            "repeats": 100,
            **dict.fromkeys(("median", "low", "high", "mean"), seconds),
            "quantiles": [seconds] * len(QUANTILE_LEVELS),
        }
        for size, seconds in medians.items()
    ]
    return Profile(pl.DataFrame(rows))


def both(first, second):
    return compare([first, second])


def figures(conclusion):
    """The numbers in a sentence."""
    return [float(each.replace(",", "")) for each in re.findall(r"\d[\d,]*\.?\d*", str(conclusion))]


@pytest.mark.parametrize(
    ("holds", "title"), [(True, "Finding."), (False, "Not so here."), (None, "Cannot tell.")]
)
def test_a_conclusion_says_whether_it_holds(holds, title):
    conclusion = Conclusion("1 < 2 & $1 is less than $2.", holds)

    assert repr(conclusion) == f"{title} {conclusion}"
    assert title in conclusion._repr_html_()
    assert "1 &lt; 2 &amp; $1" in conclusion._repr_html_()
    assert "mathjax_ignore" in conclusion._repr_html_()


@pytest.mark.parametrize(("seconds", "holds", "gain"), [(0.004, True, 2), (0.008, False, None)])
def test_batches_gain_where_one_takes_less_than_its_requests(seconds, holds, gain):
    found = findings.weigh_batching(profile_of({1: 0.001, 8: seconds}), 8)

    assert found.holds is holds
    assert {8, 1000, 8 / seconds} <= set(figures(found))
    assert duration(seconds) in str(found)
    assert ("2 times as many" in str(found)) is bool(gain)


ALL_DAY = np.arange(1000) + 0.5
CROWD = np.concatenate([ALL_DAY, 500 + np.arange(100) / 10])


@pytest.mark.parametrize(
    ("arrivals", "capacity", "holds", "peak"),
    [(CROWD, 2.0, True, 5.5), (CROWD, 20.0, False, 0.55), (CROWD, 1.0, False, 11)],
)
def test_a_peak_asks_for_more_than_one_server(arrivals, capacity, holds, peak):
    found = findings.find_peak(Trace(np.sort(arrivals), 1000.0), 10.0, capacity)

    assert found.holds is holds
    assert pytest.approx(100 * peak) in figures(found)


@pytest.mark.parametrize(("arrivals", "holds", "times"), [(CROWD, True, 10), (ALL_DAY, False, 1)])
def test_a_fleet_for_the_peak_is_idle_as_long_as_the_peak_is_high(arrivals, holds, times):
    found = findings.find_peak(Trace(np.sort(arrivals), 1000.0), 10.0)

    assert found.holds is holds
    assert figures(found)[:2] == [10, times]
    assert figures(found)[2] == pytest.approx(
        100 * len(arrivals) / 1000 / (11 if holds else 1), 0.01
    )


@pytest.mark.parametrize(("spread", "holds"), [(0.0, True), (0.8, False)])
def test_bursts_that_last_show_in_long_windows(spread, holds):
    """Every other ten minutes the rate is higher by this share."""
    rng = np.random.default_rng(1)
    rates = 10 * (1 + spread * (-1) ** (np.arange(12000) // 600))
    due = np.repeat(np.arange(12000.0), rng.poisson(rates))

    found = findings.find_lasting_bursts(Trace(due, 12000.0))

    counts = np.histogram(due, bins=np.arange(0, 12001, 60))[0]
    assert found.holds is holds
    assert pytest.approx(counts.var(ddof=1) / counts.mean(), abs=0.01) in figures(found)


def test_a_short_trace_tells_nothing_of_bursts_that_last():
    assert findings.find_lasting_bursts(Trace(ALL_DAY[:90], 90.0)).holds is None


def test_of_policies_the_cheapest_that_surely_meets_the_target_is_named():
    table = pl.DataFrame(
        {
            "policy": ["none", "timer", "deadline"],
            "verdict": ["met", "cannot tell", "met"],
            "attainment": [1.0, 0.96, 0.99],
            "per_million": [3.0, 1.0, 2.0],
        }
    )

    found = findings.find_cheapest_policy(table)

    assert '"deadline" at $2.00 a million, with 99 % in time' in str(found)
    assert '"timer" at $1.00 a million, with 96 % in time (cannot tell)' in str(found)


def test_the_quantile_that_falls_is_named_with_both_values():
    slow, fast = np.linspace(0.01, 1, 1000), np.full(1000, 0.04)

    found = findings.compare_latency(both(run("alone", slow), run("batched", fast)))

    assert found.holds is True
    assert {95, 1000} <= set(figures(found))
    assert f'{duration(np.sort(slow)[949])} with "alone" and {duration(0.04)} with' in str(found)
    assert "24 times less" in str(found)


def test_a_quantile_that_does_not_fall_is_no_gain():
    same = np.full(1000, 0.04)

    assert findings.compare_latency(both(run("alone", same), run("batched", same))).holds is False


def test_a_quantile_among_failed_requests_is_no_gain():
    failed = np.where(np.arange(1000) < 900, 0.01, np.nan)

    found = findings.compare_latency(both(run("alone", failed), run("batched", failed)))

    assert found.holds is False
    assert "nan" not in str(found)


def test_too_few_requests_tell_nothing_of_a_quantile():
    few = np.full(150, 0.04)

    found = findings.compare_latency(both(run("alone", few), run("batched", few)))

    assert found.holds is None
    assert {200, 150} <= set(figures(found))


def test_a_run_off_schedule_tells_nothing():
    late = run("batched", np.full(1000, 0.01)).amend(valid=False)

    found = findings.compare_latency(both(run("alone", np.ones(1000)), late))

    assert found.holds is None
    assert f'{duration(0.01)} with "batched"; "batched": load was off schedule' in str(found)


def test_only_two_runs_are_compared():
    three = compare([run(name, np.ones(10)) for name in "abc"])

    for compared in (findings.compare_latency, findings.compare_cost):
        with refused(InvalidInput, 3):
            compared(three)


@pytest.mark.parametrize(("left_over", "holds"), [(30, True), (0, False)])
def test_a_queue_outlives_a_burst_where_requests_after_it_are_late(left_over, holds):
    due = np.sort(np.concatenate([ALL_DAY, 500 + np.arange(100) / 10]))
    calm = (due < 500) | (due >= 525)
    after = np.flatnonzero(due >= 525)[:left_over]
    slow = np.full(1100, 0.01)
    slow[~calm] = slow[after] = 5.0
    size = np.where(calm, 1, 8)
    first, second = (
        run("alone", slow, scheduled=due),
        run("batched", np.full(1100, 0.05), scheduled=due, batch_size=size),
    )

    found = findings.outlast_bursts(both(first, second), Trace(due, 1000.0), capacity=2.0)

    assert found.holds is holds
    assert pytest.approx(100 * left_over / calm.sum(), rel=0.05) in figures(found)
    assert {1, 8} <= set(figures(found))


def test_what_is_late_by_rounding_alone_is_in_time_between_bursts():
    due = np.sort(np.concatenate([ALL_DAY, 500 + np.arange(100) / 10]))
    barely = np.full(1100, 0.1 + 2e-13)
    pair = both(*(run(name, barely, scheduled=due) for name in "ab"))

    found = findings.outlast_bursts(pair, Trace(due, 1000.0), capacity=2.0)

    assert found.holds is False
    assert 100 not in figures(found)[:2]


def test_without_bursts_nothing_can_outlive_them():
    steady = both(run("alone", np.ones(1000)), run("batched", np.ones(1000)))

    assert findings.outlast_bursts(steady, Trace(ALL_DAY, 1000.0), capacity=2.0).holds is None


@pytest.mark.parametrize(("price", "holds", "change"), [(1.8, True, 50), (7.2, False, 100)])
def test_a_run_costs_less_or_more(price, holds, change):
    first = run("alone", np.full(1000, 0.01))
    found = findings.compare_cost(both(first, run("batched", np.full(1000, 0.01), price=price)))

    millions = [1e6 * each / 3600 * 999.01 / 1000 for each in (3.6, price)]
    assert found.holds is holds
    assert [pytest.approx(each, rel=1e-3) for each in (*millions, change)] == figures(found)


def test_the_cheapest_is_chosen_among_those_that_surely_meet_the_target():
    offers = [
        run("late", np.full(1000, 0.5), price=1.0),
        run("good", np.full(1000, 0.05), price=2.0),
        run("dear", np.full(1000, 0.02), price=4.0),
    ]

    found = findings.find_cheapest(compare(offers))

    assert found.holds is True
    assert str(found).startswith('Of 3, 2 surely meet the target; the cheapest of these is "good"')
    assert 'The cheapest of all is "late"' in str(found)
    assert "0 % in time (missed)" in str(found)


def test_nothing_is_said_to_be_cheaper_than_the_cheapest_of_all():
    offers = [run("good", np.full(1000, 0.05)), run("dear", np.full(1000, 0.05), price=9)]

    assert str(findings.find_cheapest(compare(offers))).endswith("Nothing is cheaper.")


@pytest.mark.parametrize(("count", "holds"), [(1000, False), (60, None)])
def test_where_none_surely_meets_the_target_the_nearest_is_named(count, holds):
    """Of 60 requests 57 in time may be 95 % or not."""
    near = np.where(np.arange(count) % 20 == 0, 0.5, 0.05 if count < 1000 else 0.5)
    offers = [run("far", np.full(count, 0.5), price=1.0), run("near", near, price=2.0)]

    found = findings.find_cheapest(compare(offers))

    assert found.holds is holds
    if holds is None:
        assert '"near"' in str(found)
        assert "cannot tell" in str(found)


def test_what_no_price_is_known_of_is_not_the_cheapest():
    unpriced = Run.from_arrays(scheduled=[0.0], finished=[0.1])

    with refused(InvalidInput, "target", "cost"):
        findings.find_cheapest(compare([unpriced]))


@pytest.mark.parametrize(("before", "holds"), [(0.5, True), (0.01, False)])
def test_runs_are_compared_in_a_window_of_time(before, holds):
    crowd = (np.arange(1000) >= 400) & (np.arange(1000) < 500)
    first = run("fleet", np.where(crowd & (np.arange(1000) % 2 == 0), before, 0.01))
    second = run("functions", np.where(crowd & (np.arange(1000) % 10 == 0), 0.5, 0.01))

    found = findings.compare_window(
        both(first, second), 400, 500, first="fleet", others=["functions"]
    )

    assert found.holds is holds
    assert figures(found) == [400, 500, 50 if holds else 100, 90]


def test_nothing_is_said_of_a_window_without_requests():
    with refused(InvalidInput, "mlp:1, a", 50, "60 s"):
        findings.compare_window(
            both(run("a", np.ones(9)), run("b", np.ones(9))), 50, 60, first="a", others=["b"]
        )


def test_verdicts_are_told_in_sentences_of_one_run_and_of_several():
    good, bad, few = np.full(1000, 0.05), np.ones(1000), [0.05] * 100
    runs = [
        run("few", few),
        run("good", good),
        run("bad", bad),
        run("late", good).amend(valid=False),
    ]
    more = [run("fine", good), run("worse", bad), run("short", few), run("worst", bad)]

    one, several = (findings.count_verdicts(compare(each)) for each in (runs, [*runs, *more]))

    assert one.holds is several.holds is True
    assert str(one) == (
        '"good" surely meets its target. "bad" misses its target. "few" cannot tell: 200 requests '
        'would tell. "late" is invalid: load was off schedule.'
    )
    assert str(several).startswith(
        '"good" and "fine" surely meet their targets. "bad", "worse" and "worst" miss their '
        "targets. "
        '"few" and "short" cannot tell: 200 requests each would tell. '
    )
    assert findings.count_verdicts(compare([runs[0], runs[3]])).holds is None


@pytest.mark.parametrize(("share", "holds"), [(0.135, True), (0.05, False)])
def test_cold_starts_are_as_many_as_long_gaps_or_not(share, holds):
    cold = np.arange(2000) < 2000 * share
    calls = run("serverless", np.ones(2000), scheduled=np.arange(1, 2001) * 300.0, cold=cold)

    found = findings.count_cold_starts(calls, keep_alive=600.0)

    assert found.holds is holds
    assert {100 * share, 2000, 600, 2, 13.5} <= set(figures(found))
