"""What fleets that follow their load show: what an instance can do, what policies cost."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

from workbench.errors import InvalidInput
from workbench.findings.conclusion import Conclusion
from workbench.formatting import dollars, duration, percent
from workbench.pricing.cost import MONTH
from workbench.quantiles import is_met
from workbench.run.costs import cost
from workbench.units import HOUR

if TYPE_CHECKING:
    import polars as pl

    from workbench.planner.instance_capacity import CapacityTable
    from workbench.planner.plans import Plan
    from workbench.run import Run
    from workbench.scaling import InstanceCapacity

Row: TypeAlias = dict[str, Any]

_DEAR = 0.1
"""A share of the bill from which on deciding is called dear."""


def compare_capacity(table: "CapacityTable") -> Conclusion:
    """Say whether the cheapest instance holds the target at less than all that it can serve."""
    one = table.capacities[0]
    own = table.frame.filter(instance_type=one.instance_type, rule="largest rate")
    full = own["full_rate"][0]
    share = one.rate / full
    text = (
        f"One {one.instance_type} takes {one.rate:.3g} requests a second within the target, "
        f"{percent(share)} of the {full:.3g} that it serves at full load."
    )
    return Conclusion(text, holds=share < 1)


def price_instances(one: "InstanceCapacity", call_price: float) -> Conclusion:
    """Say up to which quantile of demand instances pay, where a request costs so many dollars.

    That is on functions; the quantile is the newsvendor's.
    """
    critical = one.critical_quantile(call_price)
    text = (
        f"A million requests cost {dollars(1e6 * call_price)} on functions and "
        f"{dollars(one.cost_per_million)} on full instances"
    )
    if critical <= 0:
        return Conclusion(f"{text}: an instance never pays.", holds=False)
    quantile = f"the {percent(critical)} quantile of the demand that may come"
    return Conclusion(f"{text}: instances pay up to {quantile}, not up to its peak.")


def compare_fleets(
    table: "pl.DataFrame", ours: Sequence[str], quantile: float, *, apart: Sequence[str] = ()
) -> Conclusion:
    """Say whether the cheapest of ours that meets the target costs less than all others that do.

    Args:
        table: A row for each policy on one trace: run, dollars, attainment and times (the bound).
        ours: The names of some of them.
        quantile: The share of requests that the target wants in time.
        apart: Names of those that nobody can have, such as one who knows the future.

    Raises:
        InvalidInput: None of ours is among them.

    >>> import polars as pl
    >>> bills = {"run": ["a", "b"], "dollars": [2.0, 4.0], "attainment": [1, 1], "times": [1.5, 3]}
    >>> compare_fleets(pl.DataFrame(bills), ["a"], 0.99).text[:56]
    '"a" costs $2.00, 1.5 times what one who knows the future'
    """
    rows = [row for row in table.sort("dollars").iter_rows(named=True) if row["run"] not in apart]
    own = [row for row in rows if row["run"] in ours]
    if not own:
        raise InvalidInput(f"None of {list(ours)} is among {table['run'].to_list()}.")
    met = [row for row in own if is_met(row["attainment"], quantile)]
    if not met:
        best = max(own, key=lambda row: row["attainment"])
        return Conclusion(f"None of ours meets the target: {_describe(best)}.", holds=False)
    others = [row for row in rows if row["run"] not in ours]
    beside = "; ".join(_set_beside(row, met[0], quantile) for row in others)
    bills = [row["dollars"] for row in others if is_met(row["attainment"], quantile)]
    text = f"{_describe(met[0])}. That is {beside}." if beside else f"{_describe(met[0])}."
    return Conclusion(text, holds=met[0]["dollars"] < min(bills, default=math.inf))


def _describe(row: Row) -> str:
    known = f", {row['times'] or 0:.3g} times what one who knows the future pays"
    times, share = "" if row["times"] is None else known, percent(row["attainment"])
    return f'"{row["run"]}" costs {dollars(row["dollars"])}{times}, with {share} in time'


def _set_beside(row: Row, best: Row, quantile: float) -> str:
    ratio, share = best["dollars"] / row["dollars"], row["attainment"]
    late = "" if is_met(share, quantile) else f", which misses it with {percent(share)}"
    return f'{percent(ratio)} of "{row["run"]}"{late}'


def price_deciding(plan: "Plan") -> Conclusion:
    """Say whether deciding once an hour costs more than a tenth of what was chosen does.

    What deciding costs is `Plan.spent` at `Options(deciding_price=...)`.
    """
    hourly = plan.best.cost_per_month / (MONTH / HOUR)
    share = plan.dollars / hourly if hourly else math.inf
    text = (
        f"Once an hour, deciding takes {duration(plan.seconds)} and {dollars(plan.dollars)}, "
        f"{percent(share)} of the {dollars(hourly)} that an hour costs as chosen."
    )
    return Conclusion(text, holds=share > _DEAR)


def find_spill(run: "Run", start: float, stop: float) -> Conclusion:
    """Say whether most of what functions answer for a hybrid fleet was due from start to stop.

    Raises:
        InvalidInput: The run is not that of a hybrid.
    """
    if run.spill_share is None:
        raise InvalidInput(f"{run.label} is not of a hybrid: nothing of it can spill over.")
    bill = cost(run)
    base = bill.items[0].dollars / bill.total
    text = (
        f"Functions answer {percent(run.spill_share)} of the requests and are "
        f"{percent(1 - base)} of the bill"
    )
    if not run.spill_share:
        return Conclusion(f"{text}.", holds=False)
    due = run.frame.filter(place=1)["scheduled"]
    inside = float(due.is_between(start, stop).to_numpy().mean())
    span = f"{start:,.0f} to {stop:,.0f} s"
    return Conclusion(f"{text}; {percent(inside)} of these were due from {span}.", inside > 0.5)


def compare_forecasts(table: "pl.DataFrame", *, oracle: str = "oracle") -> Conclusion:
    """Say whether the forecaster that errs least also has the lowest bill.

    Args:
        table: From `plots.bill_and_error`: run, rmse and dollars.
        oracle: The name of one that knows the future, and is no forecaster.
    """
    real = table.filter(table["run"] != oracle)
    cheapest, surest = (real.sort(each).row(0, named=True) for each in ("dollars", "rmse"))
    text = f'The lowest bill, {dollars(cheapest["dollars"])}, is that of "{cheapest["run"]}"'
    if cheapest == surest:
        text += ", which errs least, too"
    else:
        text += f'; "{surest["run"]}" errs least and costs {dollars(surest["dollars"])}'
    known = table.filter(table["run"] == oracle)["dollars"]
    if len(known):
        gap = cheapest["dollars"] - known[0]
        text += (
            f". Who knew the future would pay {dollars(abs(gap))} {'less' if gap > 0 else 'more'}"
        )
    return Conclusion(f"{text}.", holds=cheapest == surest)
