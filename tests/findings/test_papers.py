"""Sentences on fleets, published evaluations and the choice of a model: right, and otherwise."""

import re
from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest

import workbench as wb
from tests.refused import refused
from workbench import findings
from workbench.errors import InvalidInput
from workbench.formatting import duration
from workbench.run import Run


def figures(conclusion):
    """The numbers in a sentence."""
    return [float(each.replace(",", "")) for each in re.findall(r"\d[\d,]*\.?\d*", str(conclusion))]


@pytest.mark.parametrize(("rate", "holds"), [(6.0, True), (8.0, False)])
def test_an_instance_takes_less_within_the_target_than_at_full_load(rate, holds):
    one = SimpleNamespace(instance_type="ml.x", rate=rate)
    rows = {"instance_type": ["ml.x"], "rule": ["largest rate"], "full_rate": [8.0]}

    found = findings.compare_capacity(SimpleNamespace(capacities=[one], frame=pl.DataFrame(rows)))

    assert found.holds is holds
    assert figures(found) == [rate, 100 * rate / 8, 8]


@pytest.mark.parametrize(("critical", "holds"), [(0.8, True), (0.0, False)])
def test_instances_pay_up_to_a_quantile_or_never(critical, holds):
    one = SimpleNamespace(critical_quantile=lambda _: critical, cost_per_million=5.0)

    found = findings.price_instances(one, 25e-6)

    assert found.holds is holds
    assert figures(found) == [25, 5, *([80] if holds else [])]


@pytest.mark.parametrize(("spent", "holds"), [(0.3, True), (0.02, False)])
def test_deciding_is_dear_from_a_tenth_of_the_bill_on(spent, holds):
    best = SimpleNamespace(cost_per_month=1460.0)  # 2 an hour
    plan = SimpleNamespace(best=best, seconds=60.0, dollars=spent)

    found = findings.price_deciding(plan)

    assert found.holds is holds
    assert figures(found) == [60, spent, 50 * spent, 2]


def bills(**rows):
    """A table of names with dollars and the share in time."""
    table = [
        {"run": name, "dollars": cost, "attainment": share, "times": cost / 2}
        for name, (cost, share) in rows.items()
    ]
    return pl.DataFrame(table)


def test_the_cheapest_of_ours_is_set_beside_all_others():
    table = bills(oracle=(2.0, 1), ours=(3.0, 0.995), dear=(3.2, 1), mark=(6.0, 1), late=(1.0, 0.5))

    found = findings.compare_fleets(table, ["ours", "dear"], 0.99, apart=["oracle"])

    assert found.holds is True
    assert figures(found) == [3, 1.5, 99.5, 300, 50, 50]
    assert "oracle" not in str(found)
    assert '"late", which misses it with 50 %' in str(found)


def test_ours_is_not_the_cheapest_where_another_that_meets_the_target_costs_less():
    table = bills(ours=(3.0, 1), mark=(2.0, 1))

    assert findings.compare_fleets(table, ["ours"], 0.99).holds is False


def test_a_cheap_fleet_that_is_late_is_not_the_cheapest():
    table = bills(cheap=(1.0, 0.9), ours=(3.0, 1), mark=(6.0, 1))

    assert str(findings.compare_fleets(table, ["cheap", "ours"], 0.99)).startswith('"ours"')
    assert findings.compare_fleets(table, ["cheap"], 0.99).holds is False
    with refused(InvalidInput, "['nobody']", "['cheap', 'ours', 'mark']"):
        findings.compare_fleets(table, ["nobody"], 0.99)


@pytest.fixture(scope="module")
def hybrid_run():
    """One instance that answers two requests a second, and functions for a burst from 100 s on."""
    steady, burst = np.arange(0, 300, 2.0), 100 + np.arange(200) / 10
    trace = wb.Trace(np.sort(np.concatenate([steady, burst])), 300.0)
    times = wb.ServiceTimes({1: 0.5})
    base, function = (
        wb.RealTime(instance_type="ml.m5.large"),
        wb.Lambda(memory_mb=1024, max_concurrency=99),
    )
    hybrid = wb.Hybrid(base=base, overflow=function, spill=wb.InFlight(1))
    return wb.simulate(trace, wb.BatchPolicy(), hybrid, (times, times), cold_start=0.0)


@pytest.mark.parametrize(("start", "holds"), [(100, True), (200, False)])
def test_functions_answer_most_in_the_burst_and_not_elsewhere(hybrid_run, start, holds):
    found = findings.find_spill(hybrid_run, start, start + 20)

    rows = hybrid_run.frame
    spilled = rows.filter(pl.col("place") == 1)["scheduled"].to_numpy()
    inside = ((spilled >= start) & (spilled <= start + 20)).mean()
    bill = wb.cost(hybrid_run)
    functions = sum(item.dollars for item in bill.items if "ml.m5" not in item.what) / bill.total
    assert found.holds is holds
    assert figures(found) == [
        pytest.approx(100 * len(spilled) / len(rows), abs=0.1),
        pytest.approx(100 * functions, abs=0.1),
        pytest.approx(100 * inside, abs=0.1),
        start,
        start + 20,
    ]


def test_only_a_hybrid_spills_over():
    with refused(InvalidInput, "unknown", "hybrid"):
        findings.find_spill(Run.from_arrays(scheduled=[0], finished=[1]), 0, 1)


@pytest.mark.parametrize(("dear", "holds"), [(2.0, True), (1.0, False)])
def test_the_smallest_error_has_the_lowest_bill_or_not(dear, holds):
    table = pl.DataFrame(
        {"run": ["a", "b", "oracle"], "rmse": [1, 2, 0], "dollars": [1.5, dear, 1.25]}
    )

    found = findings.compare_forecasts(table)

    assert found.holds is holds
    assert figures(found) == ([1.5, 0.25] if holds else [1, 1.5, 0.25])
    assert ("less" if holds else "more") in str(found)


@pytest.mark.parametrize(
    ("fast", "exact", "holds"), [(0.1, 0.001, True), (0.01, 0.001, False), (0.1, 0.3, False)]
)
def test_formulas_err_where_batches_are_short(fast, exact, holds):
    rows = [("slow", 0.02, exact), ("slow", 0.04, 0.0), ("fast", fast, 0.0), ("fast", 3 * fast, 0)]
    table = pl.DataFrame(rows, schema=["service", "released", "exact"], orient="row")

    found = findings.compare_errors(table)

    assert found.holds is holds
    expected = [100 * exact, 3, 4, 200 * fast, 300 * fast]
    assert figures(found) == [pytest.approx(each) for each in expected]


def optimum(cost, latency, *, met):
    """What the exact model and BATCH chose."""
    return pl.DataFrame(
        {
            "chosen_by": ["exact model", "BATCH"],
            "cost": [2.0, cost],
            "latency": [0.2, latency],
            "met": [True, met],
        }
    )


def test_a_choice_is_worse_where_it_costs_more_or_misses_the_target():
    worse = {"a": optimum(3.0, 0.2, met=True), "b": optimum(1.0, 0.5, met=False)}
    equal = {"a": optimum(2.0, 0.2, met=True)}

    found = findings.compare_choices(worse)

    assert found.holds is True
    assert f"b: it misses the target with {duration(0.5)}, and costs $1.00" in str(found)
    assert figures(found)[:4] == [2, 2, 3, 2]
    assert findings.compare_choices(worse | equal).holds is False


@pytest.mark.parametrize(("together", "holds"), [(0.5, True), (0.97, False)])
def test_batches_spoil_the_answers_of_some_models(together, holds):
    shares = {"model": ["a", "b"], "in 1s": [0.97, 0.98], "in 32s": [together, 0.98]}

    found = findings.count_spoiled(pl.DataFrame(shares))

    assert found.holds is holds
    assert {97, 1, 100 * together, 32, 98} <= set(figures(found))


@pytest.mark.parametrize(("share", "holds"), [(0.5, True), (1.5, False)])
def test_a_router_is_faster_in_every_cell_or_not(share, holds):
    cells = pl.DataFrame(
        {
            "use_case": ["scp", "mda"] * 2,
            "published": [1.0, 3.0, 3.0, 3.0],
            "lots_published": [2.0] * 4,
            "rebuilt": [1.0] * 4,
            "lots": [2.0] * 4,
            "share": [0.2, share, 0.3, 0.4],
            "gain": [0.01, 0.03, 0.02, 0.02],
            "p95": [1.0] * 4,
            "p95_weighted": [2.0] * 4,
        }
    )

    found = findings.compare_selectors(cells)

    assert found.holds is holds
    assert "(mda)" in str(found)
    assert "(none)" in str(found)
    assert figures(found) == [1, 2, 0, 20, 100 * max(share, 0.4), 95, 2]


@pytest.mark.parametrize(("sets", "holds"), [(0.72, True), (0.6, False)])
def test_sets_of_models_beat_the_best_alone_or_not(sets, holds):
    names = ["ResNet-18", "ResNet-34", "switching", "sets"]
    table = pl.DataFrame({"strategy": names, "effective": [0.7, 0.5, 0.71, sets]})

    found = findings.compare_strategies(table)

    assert found.holds is holds
    assert "ResNet-18 is best: 70 %" in str(found)
    assert f"sets {100 * (sets - 0.7):+.1f} points" in str(found)


@pytest.mark.parametrize(("advised", "holds"), [(0.77, True), (0.73, False)])
def test_advice_is_learned_or_not(advised, holds):
    found = findings.compare_learners(
        {"blind": 0.73, "advised": advised}, {"best single": 0.74, "best by class": 0.78}
    )

    assert found.holds is holds
    assert figures(found) == [74, 78, 73, 100 * advised]


@pytest.mark.parametrize(("second", "holds"), [(0.5, True), (0.68, None)])
def test_the_most_effective_is_named_unless_it_may_be_chance(second, holds):
    table = pl.DataFrame({"run": ["a", "b"], "effective": [second, 0.7], "in time": [1.0, 1.0]})

    found = findings.find_most_effective(table, requests=500)

    assert found.holds is holds
    assert figures(found) == [70, 500, 100 * second]
    assert findings.find_most_effective(table[:1], requests=500).holds is None


def selection(*rows, flips=()):
    """What was found among rows of name, accuracy and cost: the best by one weight is first."""
    made = [
        SimpleNamespace(name=name, accuracy=accuracy, cost=cost, model=name)
        for name, accuracy, cost in rows
    ]

    def winner(weights):
        best = {"accuracy": lambda row: row.accuracy}.get(*weights, lambda row: -row.cost)
        return max(made, key=best, default=None)

    said = [SimpleNamespace(quantity=what, sentence=f"Flip of {what}.") for what in flips]
    return SimpleNamespace(rows=made, winner=winner, flips=said, sentence="Nothing passes.")


@pytest.mark.parametrize(("price", "holds"), [(3.0, True), (1.0, False)])
def test_a_cascade_pays_or_does_not(price, holds):
    found = selection(("large", 0.9, 2.0), ("both", 0.8, price))

    said = findings.value_cascade(found, "both", passed=0.9)

    assert said.holds is holds
    assert figures(said) == [90, price, 2]
    assert findings.value_cascade(selection(), "both", passed=0.9).holds is None


@pytest.mark.parametrize(("price", "holds"), [(1.0, True), (3.0, False)])
def test_another_model_is_first_by_cost_than_by_accuracy_or_not(price, holds):
    flips = ["weight of cost", "rate"]
    found = selection(("large", 0.9, 2.0), ("small", 0.7, price), flips=flips)

    said = findings.compare_weights(found)

    assert said.holds is holds
    assert "by accuracy alone large, 90 % right, $2.00 a million" in str(said)
    assert str(said).endswith(". Flip of weight of cost.")
    assert "No weight" in str(findings.compare_weights(selection(("a", 1, 1))))
    assert findings.compare_weights(selection()).holds is None
