"""Fleets that change size: what is counted when, what it had cost by then, who pays how much."""

import math

import numpy as np
import polars as pl
import pytest

from tests.refused import refused
from workbench import plots
from workbench.deployment import Hybrid, Lambda, Local, RealTime
from workbench.errors import InvalidInput
from workbench.planner import Options
from workbench.planner.instance_capacity import capacities
from workbench.quantiles import SLO
from workbench.run import Run
from workbench.run.costs import cost
from workbench.scaling.capacity import InstanceCapacity
from workbench.service_times import ServiceTimes
from workbench.traffic.patterns import constant
from workbench.traffic.replay import from_counts

BASE = RealTime(instance_type="ml.c5.xlarge")
FUNCTION = Lambda(memory_mb=1769, max_concurrency=100)
HYBRID = Hybrid(base=BASE, overflow=FUNCTION)
SPANS = [(-10.0, 40.0), (20.0, 30.0)]


def hybrid_run(**facts):
    """Return four requests in 40 s: the third on functions, the fourth failed."""
    scheduled = [0.0, 10.0, 20.0, 30.0]
    columns = {
        "scheduled": scheduled,
        "finished": [1.0, 11.0, 22.0, math.nan],
        "place": [0, 0, 1, 0],
        "error": [None, None, None, "no"],
    }
    member = {"model": {"name": "m"}}
    members = [
        {"name": "base", **member, "deployment": BASE.to_dict(), "instances": SPANS},
        {"name": "overflow", **member, "deployment": FUNCTION.to_dict()},
    ]
    known = {"places": ["base", "overflow"], "members": members, "trace": {"name": ""}}
    known |= {"deployment": HYBRID.to_dict(), "slo": {"latency": 1.5, "quantile": 0.5}}
    known["trace"] |= {"duration": 40.0}
    run = Run.from_arrays(**columns, origin="simulated", facts=known | facts)
    return Run(run.frame, run.record, calls=run.frame)


def values(frame, panel, name):
    return frame.filter(panel=panel, run=name)["value"].to_list()


def test_a_hybrids_load_instances_and_spill_over_are_those_of_its_rows_and_record():
    frame = plots.fleet_over_time(hybrid_run(), bins=4)

    assert values(frame, "Requests a second", "base") == [0.1, 0.1, 0.0, 0.0]
    assert values(frame, "Requests a second", "overflow") == [0.0, 0.0, 0.1, 0.0]
    assert values(frame, "Requests a second", "failed") == [0.0, 0.0, 0.0, 0.1]
    assert values(frame, "Instances", "ml.c5.xlarge") == [1.0, 1.0, 2.0, 1.0]
    assert values(frame, "Spilled over (%)", "overflow") == [0.0, 0.0, 100.0, 0.0]
    assert frame.filter(panel="Instances")["to"].to_list() == [10.0, 20.0, 30.0, 40.0]


def test_instances_that_come_and_go_within_a_part_of_the_time_count_for_their_share():
    frame = plots.fleet_over_time(hybrid_run(), bins=1)

    assert values(frame, "Instances", "ml.c5.xlarge") == [1.25]


def test_a_tracked_fleet_has_load_and_instances_and_nothing_spilled():
    run = Run.from_arrays(scheduled=[0, 1], finished=[1, 2], facts={"instances": [(0, 2)]})

    frame = plots.fleet_over_time(run.amend(deployment=BASE), bins=2)
    assert frame["run"].unique().sort().to_list() == ["answered", "ml.c5.xlarge"]
    assert "ml.c5.xlarge: 1 on average" in plots.plot_scaling(run.amend(deployment=BASE)).svg()


def test_a_run_without_a_fleet_is_refused_by_name():
    functions = Run.from_arrays(scheduled=[0], finished=[1], facts={"label": "functions"})
    with refused(InvalidInput, "'functions'"):
        plots.fleet_over_time(functions)


def test_the_shares_of_places_are_told_under_the_title():
    assert "base 50 %, overflow 25 %" in plots.plot_scaling(hybrid_run()).svg()


# ------------------------------------------------------------------------------------------- cost


def test_what_was_spent_grows_from_nothing_to_the_bill_item_by_item_and_place():
    run = hybrid_run()
    frame = plots.cost_over_time(run, points=8)

    ends = frame.group_by("item", maintain_order=True).last()
    assert ends["dollars"].sum() == pytest.approx(cost(run).total, abs=1e-12)
    assert [item.partition(":")[0] for item in ends["item"]].count("base") == 1
    for (_item,), rows in frame.group_by("item"):
        assert rows["dollars"].is_sorted()
        assert rows["seconds"][[0, -1]].to_list() == [0.0, 40.0]


def test_functions_cost_nothing_until_their_first_call_has_ended():
    frame = plots.cost_over_time(hybrid_run(), points=4)

    functions = frame.filter(pl.col("item").str.starts_with("overflow"))
    spent = functions.group_by("seconds", maintain_order=True).agg(pl.col("dollars").sum())
    assert (spent["dollars"] > 0).to_list() == [False, False, False, True, True]
    boots = frame.filter(pl.col("item").str.starts_with("base"))["dollars"]
    assert boots[0] == pytest.approx(10 * boots[-1] / 60)  # ten seconds before the first request


def test_a_run_that_cannot_be_billed_has_no_cost_over_time():
    with refused(InvalidInput, "deployment"):
        plots.cost_over_time(Run.from_arrays(scheduled=[0], finished=[1]))


def policies():
    slow = Run.from_arrays(
        scheduled=[0, 1], finished=[1, 9], origin="simulated", facts={"instances": [(0, 3600)]}
    )
    target = {"deployment": BASE, "slo": SLO(latency=1.5, quantile=0.75)}
    quick = Run.from_arrays(scheduled=[0, 1], finished=[1, 2], facts={"instances": [(0, 7200)]})
    return {"few": slow.amend(**target), "many": quick.amend(**target)}


def test_policies_stand_by_what_they_cost_and_attain_and_as_multiples_of_the_bound():
    runs = policies()
    bills = {name: cost(run).total for name, run in runs.items()}
    frame = plots.cost_and_attainment(runs, bound=bills["few"] / 2)

    assert frame["attainment"].to_list() == [0.5, 1.0]
    assert frame["dollars"].to_list() == list(bills.values())
    assert frame["times"].to_list() == pytest.approx([2.0, 4.0])
    assert plots.cost_and_attainment(runs)["times"].to_list() == [None, None]


def test_the_cheapest_that_meets_the_target_is_named_and_not_one_that_misses_it():
    figure = plots.plot_cost_and_attainment(policies(), bound=0.1)
    assert "meets the target: many" in figure.svg()
    assert "nobody can pay less" in figure.svg()
    notes = [each for each in figure.chart.to_dict()["layer"] if each["mark"]["type"] == "text"]
    target, bound = (each["mark"]["align"] for each in notes)
    assert target != bound  # else one runs over the other

    strict = plots.plot_cost_and_attainment(policies(), slo=SLO(latency=0.1, quantile=0.9))
    assert "No policy meets the target." in strict.subtitle


def test_policies_that_cost_nothing_are_drawn():
    figure = plots.plot_cost_and_attainment({"free": policies()["few"].amend(deployment=Local())})

    assert figure.data["dollars"].to_list() == [0.0]
    assert "free" in figure.svg()
    assert "log scale" not in str(figure.spec())


def test_a_share_that_is_the_target_but_for_rounding_meets_it():
    quantile = 0.1 * 7  # 0.7000000000000001
    columns = {"scheduled": range(10), "finished": [k + (0.5 if k < 7 else 2) for k in range(10)]}
    run = Run.from_arrays(**columns, facts={"deployment": Local(hourly_price=1.0).to_dict()})

    figure = plots.plot_cost_and_attainment({"one": run}, slo=SLO(latency=1, quantile=quantile))

    assert "The cheapest that meets the target: one" in figure.subtitle[-1]


def test_policies_without_one_target_are_not_compared():
    run = policies()["few"]
    for runs in ([run.amend(slo=None)], [run, run.amend(slo=SLO(latency=9.0))]):
        with refused(InvalidInput, "slo"):
            plots.cost_and_attainment(runs)


# -------------------------------------------------------------------------------------- forecasts


class Doubling:
    """Says twice the last count, give or take a tenth; counts how often it was taught."""

    taught = 0

    def fit(self, counts, period):  # noqa: ARG002 - the protocol's words
        self.taught += 1
        self.last = 2 * counts[-1]

    def forecast(self, steps, quantiles):
        return np.tile([self.last * (0.9 + 0.2 * each) for each in quantiles], (steps, 1))


def test_a_fan_knows_what_came_before_its_origin_only():
    forecaster, trace = Doubling(), from_counts([3, 3, 3, 3, 5, 7], period=1.0, seed=0)
    frame = plots.forecast_fan(
        forecaster, trace, origin=4, steps=3, period=1, quantiles=[0.25, 0.5, 0.75]
    )

    assert frame["seconds"].to_list() == [0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0]
    assert frame["requests"].to_list() == [3, 3, 3, 3, 5, 7, None]
    assert frame["0.5"].to_list() == [None] * 4 + [6.0] * 3
    assert frame["0.25"][-1] < 6.0 < frame["0.75"][-1]
    assert forecaster.taught == 0  # a copy was


def test_a_fan_says_how_much_of_what_came_is_within_it():
    trace = constant(rate=3, duration=6)
    figure = plots.plot_forecast_fan(Doubling(), trace, origin=4, steps=3, period=1)
    assert "Of 2 periods ahead 0 are within the widest band" in figure.svg()
    assert "Predicted" in figure.svg()


def test_a_fan_needs_a_closed_period_of_the_trace():
    for origin in (0.5, 7.0):
        with refused(InvalidInput, "origin", f"{origin:g}"):
            plots.forecast_fan(Doubling(), constant(rate=3, duration=6), origin=origin, period=1)


# ---------------------------------------------------------------------------- what an instance pays


ONE = InstanceCapacity(instance_type="ml.c5.large", rate=10.0, hourly_price=0.36)


def test_each_number_of_instances_costs_itself_and_what_functions_do_for_the_rest():
    trace = from_counts([10, 30], period=1.0, seed=0)
    frame = plots.cost_by_count(trace, ONE, 2e-5, period=1.0)

    sums = frame.group_by("instances", maintain_order=True).agg(pl.col("dollars").sum())
    spilled = [20, 10, 5, 0]  # requests a second that 0, 1, 2 and 3 instances leave, on average
    assert sums["dollars"].to_list() == pytest.approx(
        [0.36 * count + 3600 * 2e-5 * rest for count, rest in enumerate(spilled)]
    )
    assert frame.filter("critical")["instances"].unique().to_list() == [1]  # the 0.5 quantile
    assert (
        "1 instances, the 0.500 quantile"
        in plots.plot_cost_by_count(trace, ONE, 2e-5, period=1.0).description
    )


def test_a_trace_shorter_than_a_period_has_no_demand_by_it():
    with refused(InvalidInput, "period", "10 s", 60):
        plots.cost_by_count(constant(rate=5, duration=10), ONE, 1e-5, period=60)


def test_what_types_can_do_is_drawn_with_the_cheapest_named():
    slow, slo = ServiceTimes({1: 0.5}), SLO(latency=2.0)
    able = Options(instance_types=["ml.c5.large"], measured={"ml.c5.large": slow})
    figure = plots.plot_capacities(capacities(slow, slo, able))
    assert figure.data["instance_type"].unique().to_list() == ["ml.c5.large"]
    assert "the cheapest a request is ml.c5.large" in figure.description

    with refused(InvalidInput, "p95 ≤ 100 ms"):
        plots.plot_capacities(capacities(slow, SLO(latency=0.1), able))


def test_a_smaller_error_that_costs_more_is_told_and_one_that_costs_less_is_not():
    table = pl.DataFrame(
        {"forecaster": ["a", "b", "c"], "rmse_60s": [1.0, 2.0, 3.0], "dollars": [5.0, 4.0, 6.0]}
    )
    assert plots.bill_and_error(table)["beaten_by"].to_list() == ["b", None, None]
    assert plots.plot_bill_and_error(table).description == "a errs less than b and costs more."
    assert "the lower the bill" in plots.plot_bill_and_error(table.tail(2)).description


def test_the_bill_that_was_simulated_goes_before_the_one_by_arithmetic():
    table = pl.DataFrame(
        {
            "forecaster": ["a", "b"],
            "rmse_60s": [1.0, 2.0],
            "rmse_300s": [4.0, 3.0],
            "dollars": [5.0, 4.0],
            "simulated_dollars": [7.0, 8.0],
        }
    )
    assert plots.bill_and_error(table)["dollars"].to_list() == [7.0, 8.0]
    assert "Simulated." in plots.plot_bill_and_error(table).subtitle
    predicted = table.with_columns(simulated_dollars=pl.lit(None, dtype=pl.Float64))
    assert "Predicted." in plots.plot_bill_and_error(predicted).subtitle
    assert plots.bill_and_error(table, ahead=300)["rmse"].to_list() == [4.0, 3.0]


def test_a_table_of_something_else_has_no_bills():
    for table in (
        pl.DataFrame({"rmse_60s": [1.0]}),
        pl.DataFrame(schema=["forecaster", "rmse_60s"]),
    ):
        with refused(InvalidInput, "dollars", table.columns):
            plots.bill_and_error(table)
