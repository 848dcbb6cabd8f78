"""What an instance is worth beside functions: by type, and by how many there are."""

import altair as alt
import polars as pl

from workbench.errors import InvalidInput
from workbench.formatting import dollars, percent
from workbench.planner.instance_capacity import CapacityTable
from workbench.plots.channels import colour, panels, tooltips
from workbench.plots.figure import Figure
from workbench.plots.theme import INK, WIDTH
from workbench.scaling.capacity import InstanceCapacity
from workbench.scaling.newsvendor import count_for_quantile, price_count
from workbench.traffic.trace import Trace
from workbench.units import HOUR
from workbench.validation import positive

_MOST_COUNTS = 60  # bars that a chart has room for


def cost_by_count(
    trace: Trace, capacity: InstanceCapacity, call_price: float, *, period: float = 60.0
) -> pl.DataFrame:
    """Return what each number of instances costs all the time, with functions for the rest.

    Columns: instances, run ("instances" or "functions"), dollars (US dollars an hour), covered
    (share of the periods whose demand the instances can take), critical (whether that is the
    number of the newsvendor's rule, see `InstanceCapacity.critical_quantile`).

    Args:
        trace: The requests.
        capacity: What one instance can do.
        call_price: US dollars of a request on functions.
        period: Seconds over which demand is averaged.

    Raises:
        InvalidInput: The trace is shorter than a period, or a number is out of its limits.

    >>> from workbench.traffic.patterns import constant
    >>> one = InstanceCapacity(instance_type="c5.xlarge", rate=5, hourly_price=0.18)
    >>> cost_by_count(constant(rate=5, duration=60), one, 1e-4).filter(critical=True).rows()
    [(1, 'instances', 0.18, 1.0, True), (1, 'functions', 0.0, 1.0, True)]
    """
    demand = trace.counts(positive("period", period, "seconds")) / period
    if not len(demand):
        raise InvalidInput(
            f"period must be at most the trace's {trace.duration:g} s, got {period}."
        )
    most = count_for_quantile(1.0, demand, capacity)
    best = count_for_quantile(capacity.critical_quantile(call_price), demand, capacity)
    rows = []
    for count in range(most + 1):
        found = price_count(count, demand, capacity, call_price)
        parts = {"instances": found.instance_dollars, "functions": found.function_dollars}
        same = found.covered, count == best
        rows += [(count, name, round(HOUR * each, 9), *same) for name, each in parts.items()]
    names = ["instances", "run", "dollars", "covered", "critical"]
    return pl.DataFrame(rows, schema=names, orient="row")


def plot_cost_by_count(
    trace: Trace, capacity: InstanceCapacity, call_price: float, *, period: float = 60.0
) -> Figure:
    """Return bars of `cost_by_count`, that of the critical quantile outlined."""
    data = cost_by_count(trace, capacity, call_price, period=period)
    best = data.filter("critical")
    sums = best.group_by("instances").agg(pl.col("dollars").sum(), pl.col("covered").first())
    names = ["instances", "functions"]
    counts = data["instances"].unique().sort().to_list()
    shown = counts[:: 1 + len(counts) // (_MOST_COUNTS // 2)]
    axis = alt.Axis(values=shown, labelAngle=0)
    x = alt.X("instances:O", title=f"Instances ({capacity.instance_type})", axis=axis)
    bars = (
        alt.Chart(data)
        .mark_bar()
        .encode(
            x=x,
            y=alt.Y("dollars:Q", title="US dollars an hour", axis=alt.Axis(format="$,.4~r")),
            color=colour(names),
            order=alt.Order("run:N", sort="descending"),
            tooltip=tooltips(
                "instances:O", "run:N", "dollars:Q", alt.Tooltip("covered:Q", format=".1%")
            ),
        )
    )
    ring = alt.Chart(sums).mark_bar(filled=False, stroke=INK, strokeWidth=3)
    quantile = capacity.critical_quantile(call_price)
    count, amount, covered = sums.row(0)
    totals = data.group_by("instances", maintain_order=True).agg(pl.col("dollars").sum())
    least = totals.sort("dollars").row(0)
    sentence = (
        f"Outlined: {count} instances, the {quantile:.3f} quantile of demand by the newsvendor's "
        f"rule; enough {percent(covered)} of the time, {dollars(amount)} an hour. The least is "
        f"{dollars(least[1])} with {least[0]}."
    )
    return Figure(
        data=data,
        chart=alt.layer(bars, ring.encode(x=x, y=alt.Y("dollars:Q"))),
        title="What each number of instances costs, functions taking the rest",
        subtitle=(f"Predicted, from demand by {period:g} s.", sentence),
        description=sentence,
    )


def plot_capacities(table: CapacityTable) -> Figure:
    """Return bars of what a million requests cost on a full instance of each type, by both rules.

    Raises:
        InvalidInput: No type can meet the target.
    """
    data = table.frame.drop_nulls("rate").rename({"rule": "run"})
    if data.is_empty():
        raise InvalidInput(f"No type can meet {table.slo.label}: {' '.join(table.reasons)}")
    shown = data.with_columns(
        pl.format(
            "{} at {} a second",
            pl.col("cost_per_million").map_elements(dollars, return_dtype=pl.String),
            pl.col("rate").round(1),
        ).alias("label")
    )
    base = alt.Chart(shown, width=WIDTH - 320, height=alt.Step(26)).encode(
        x=alt.X(
            "cost_per_million:Q",
            title="US dollars a million requests, if kept busy",
            axis=alt.Axis(format="$,.4~r", tickCount=6),
        ),
        y=alt.Y("instance_type:N", title=None, sort="x"),
    )
    names = list(dict.fromkeys(data["run"]))
    bars = base.mark_bar(height=18).encode(color=colour(names).legend(None))
    labels = base.mark_text(style="note", align="left", dx=4).encode(text=alt.Text("label:N"))
    best = table.capacities[0]
    sentence = (
        f"Within {table.slo.label} the cheapest a request is {best.instance_type}: "
        f"{best.rate:.4g} requests a second, {dollars(best.cost_per_million)} a million."
    )
    return Figure(
        data=data,
        chart=alt.layer(bars, labels).facet(row=panels("run", names), spacing=10),
        title="What one instance can do",
        subtitle=("Simulated.", sentence),
        description=sentence,
    )
