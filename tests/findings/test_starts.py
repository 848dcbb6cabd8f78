"""Sentences on cold starts and bursts: their numbers are those of the runs, and can differ."""

import math

import polars as pl
import pytest

from tests.refused import refused
from workbench import findings, plots
from workbench.comparison import compare
from workbench.deployment import Async, Lambda, RealTime, Serverless
from workbench.errors import InvalidInput
from workbench.findings import Conclusion
from workbench.run import Run

SLO = {"latency": 1.0, "quantile": 0.5}


def calls(*, init, deployment=None, latency=None, label="a", slo=SLO):
    """A run with a call a second, each of which takes 0.1 s after its start."""
    latency = [each + 0.1 for each in init] if latency is None else latency
    due = list(range(len(init)))
    facts = {"label": label, "slo": slo, "trace": {"name": "t", "duration": float(len(init))}}
    facts["deployment"] = (deployment or Serverless(memory_mb=1024, max_concurrency=5)).to_dict()
    run = Run.from_arrays(
        scheduled=due,
        finished=[at + each for at, each in zip(due, latency, strict=True)],
        started=due,
        cold=[each > 0 for each in init],
        origin="simulated",
        facts=facts,
    )
    rows = run.frame.with_columns(init=pl.Series(init, dtype=pl.Float64))
    return Run(rows, run.record)


def test_what_holds_under_a_condition_says_so_first():
    said = Conclusion("Half of them do.", only_if="it rains")

    assert repr(said) == "Only if it rains. Half of them do."
    assert Conclusion("None does.", holds=False, only_if="it rains").title == "Not so here."


def test_starts_are_compared_by_their_medians_over_cold_calls():
    runs = {"process": calls(init=[0.4, 0, 0.6, 0.2]), "snapshot": calls(init=[0, 0.1, 0, 0.1])}

    said = findings.compare_starts(runs)

    assert said.holds
    assert "400 ms" in said.text
    assert '100 ms with "snapshot"' in said.text
    assert "4 times less" in said.text
    assert findings.compare_starts(dict(reversed(runs.items()))).holds is False
    with refused(InvalidInput, "snapshot"):
        findings.compare_starts({"snapshot": calls(init=[0, 0])})


def break_even(*rows):
    """What a plan found: rate, cost of serverless and of real-time, None where it cannot."""
    listed = []
    for rate, *costs in rows:
        least = min(cost for cost in costs if cost is not None)
        for kind, cost in zip(("serverless", "real-time"), costs, strict=True):
            listed.append((float(rate), kind, cost, cost == least))
    return pl.DataFrame(listed, ["rate", "kind", "cost_per_million", "cheapest"], orient="row")


@pytest.mark.parametrize(
    ("rows", "kind", "holds", "only_if"),
    [
        ([(1, 2.0, 4.0), (4, 2.0, 1.0)], "serverless", True, "requests are fewer than 2 a second"),
        ([(1, 2.0, 4.0), (4, 2.0, 1.0)], "real-time", True, "requests are more than 2 a second"),
        (
            [(1, None, 9.0), (2, 2.0, 4.0), (8, 2.0, 1.0)],
            "serverless",
            True,
            "requests are 2 a second to 4 a second",
        ),
        (
            [(1, None, 9.0), (2, 2.0, 4.0), (8, 2.0, 1.0)],
            "real-time",
            True,
            "requests are fewer than 2 a second or more than 4 a second",
        ),
        ([(1 / 360, 9.0, 4.0), (1 / 90, 1.0, 4.0)], "serverless", True, "requests are more than"),
        ([(1 / 360, 9.0, 4.0), (1 / 90, 1.0, 4.0)], "real-time", True, "requests are fewer than"),
        ([(1, 2.0, 4.0), (4, 2.0, 3.0)], "serverless", True, ""),
        ([(1, 2.0, 4.0), (4, 2.0, 3.0)], "real-time", False, ""),
    ],
)
def test_a_type_is_bounded_by_the_rates_at_which_it_is_the_cheapest(rows, kind, holds, only_if):
    said = findings.find_rates(break_even(*rows), kind)

    assert said.holds is holds
    assert said.only_if.startswith(only_if)
    assert bool(said.only_if) is bool(only_if)
    assert rows[0][0] >= 1 or said.only_if.endswith(" an hour")


def test_rates_at_which_no_type_meets_the_target_are_named():
    table = break_even((0.5, 2.0, 4.0), (1, 2.0, 4.0), (4, 2.0, 1.0))
    table = table.with_columns(pl.col("cheapest") & (pl.col("rate") > 0.5))

    assert "None meets the target at 0.5 a second" in findings.find_rates(table, "serverless").text


def test_where_no_type_meets_the_target_rates_cannot_tell():
    table = break_even((1, 2.0, 4.0)).with_columns(cheapest=pl.lit(value=False))

    assert findings.find_rates(table, "serverless").holds is None


def test_limits_say_what_one_type_takes_and_the_others_do_not():
    said = findings.compare_limits(Async, [RealTime, Serverless])

    assert said.only_if == "a body has more than 6 MiB or a call takes longer than 60 s"
    assert "async 1,024 MiB and 60 min" in said.text
    assert "1,024" not in (back := findings.compare_limits(Serverless, [RealTime])).text
    assert back.holds is False
    assert findings.compare_limits(Lambda, [RealTime]).only_if == "a call takes longer than 60 s"


def test_provisioned_instances_are_priced_by_the_month_beside_the_calls_they_spare():
    kept = Serverless(memory_mb=2048, max_concurrency=5, provisioned=1)
    pair = [calls(init=[1, 0, 1, 0]), calls(init=[0, 0, 0, 1], deployment=kept, label="b")]

    said = findings.price_provisioned(both := compare(pair))

    assert said.holds
    assert "Cold are 50 % of the calls without and 25 % with" in said.text
    assert f"${list(both.costs.values())[1].per_month:,.2f} a month" in said.text
    assert findings.price_provisioned(compare(pair[::-1])).holds is False
    with refused(InvalidInput, "cost", 1):
        findings.price_provisioned(compare(pair[:1]))


@pytest.mark.parametrize(
    ("deployment", "holds", "billed"),
    [
        (Lambda(memory_mb=1024, max_concurrency=5), False, "and are billed"),
        (Serverless(memory_mb=1024, max_concurrency=5), True, "and are not billed"),
    ],
)
def test_lambda_bills_starts_and_sagemaker_does_not(deployment, holds, billed):
    said = findings.price_starts(calls(init=[0.8, 0, 0, 0.8], deployment=deployment))

    assert said.holds is holds
    assert "50 % of the calls are cold, starts are 80 % of the seconds" in said.text
    assert billed in said.text


def shares(**by_way):
    """In time by way and size 2, 10, ..."""
    rows = [
        (name, size, share, "")
        for name, each in by_way.items()
        for size, share in zip((2.0, 10.0, 50.0), each, strict=True)
    ]
    return pl.DataFrame(rows, ["run", "size", "in_time", "flaw"], orient="row")


@pytest.mark.parametrize(
    ("fleet", "functions", "holds", "only_if"),
    [
        ([0.9, 0.2, 0.1], [1, 0.99, 0.98], True, ""),
        ([0.9, 0.2, 0.1], [1, 0.99, 0.4], True, "the burst is at most 10 times the load"),
        ([0.9, 0.2, 0.1], [1, 0.3, 0.4], None, ""),
        ([0.3, 0.2, 0.1], [1, 0.4, 0.6], True, "the burst is at most 2 times the load"),
        ([0.9, 0.8, 0.7], [1, 0.99, 0.98], False, ""),
    ],
)
def test_functions_help_where_a_fleet_answers_less_than_half(fleet, functions, holds, only_if):
    said = findings.compare_bursts(shares(fleet=fleet, functions=functions), "fleet", "functions")

    assert (said.holds, said.only_if) == (holds, only_if)


@pytest.mark.parametrize("lagging", [0.1, 0.9])
def test_a_load_off_schedule_tells_nothing_of_bursts(lagging):
    table = shares(fleet=[lagging] * 3, functions=[1, 1, 1])
    late = pl.when(pl.col("run") == "functions").then(pl.lit("load was off schedule"))

    said = findings.compare_bursts(table.with_columns(flaw=late), "fleet", "functions")
    both = table.with_columns(flaw=pl.lit("late"))
    named = '2 times, "fleet": late; "functions": late.'
    assert named in findings.compare_bursts(both, "fleet", "functions").text

    assert said.holds is None
    assert '"functions": load was off schedule' in said.text


def test_bursts_are_told_without_those_off_schedule_and_ways_that_took_some():
    table = shares(fleet=[0.2, 0.3, 0.1], functions=[1, 0.9, 1], others=[0.1, 0.7, 0.6])
    spoilt = (pl.col("run") == "functions") & (pl.col("size") == 2)
    table = table.with_columns(flaw=pl.when(spoilt).then(pl.lit("late")).otherwise(pl.lit("")))
    table = table.filter((pl.col("run") != "others") | (pl.col("size") == 10))

    said = findings.compare_bursts(table, "fleet", "functions")

    assert said.holds
    assert said.text == (
        "In bursts of 10 to 50 times the load, the share in time is at least 10 % with "
        '"fleet", 90 % with "functions", 70 % with "others". Left out: 2 times, "functions": late.'
    )


def test_functions_that_lag_while_something_else_does_not_are_no_help():
    table = shares(fleet=[0.9, 0.2, 0.1], functions=[1, 0.3, 0.4], others=[1, 0.6, 0.6])

    assert findings.compare_bursts(table, "fleet", "functions").holds is False


def test_what_a_fleet_answers_is_that_of_the_bursts_in_which_it_lags():
    table = shares(fleet=[0.9, 0.2, 0.1], functions=[0.5, 0.99, 0.98], others=[0.1, 0.7, 0.6])

    said = findings.compare_bursts(table, "fleet", "functions")

    assert said.text.startswith("In bursts of 10 to 50 times the load")
    assert '10 % with "fleet", 98 % with "functions", 60 % with "others"' in said.text
    with refused(InvalidInput, "['nobody']", "['fleet', 'functions', 'others']"):
        findings.compare_bursts(table, "fleet", "nobody")


def test_a_burst_counts_from_its_start_to_its_end_and_failures_are_late():
    latency = [5, 0.5, 2, math.nan, 1.0, 5]
    run = calls(init=[0] * 6, latency=latency)

    table = plots.burst_shares({("a", 10): run}, 1, 5)

    assert table.select("run", "size", "in_time", "failed").rows() == [("a", 10.0, 0.5, 1)]
    assert "50 %" in plots.plot_bursts(table).description
    with refused(InvalidInput, "a", 7, "9 s"):
        plots.burst_shares({("a", 10): run}, 7, 9)
    with refused(InvalidInput, "a", "target"):
        plots.burst_shares({("a", 10): calls(init=[0, 0], slo=None)}, 0, 1)
