"""What runs cost, item by item, in the end and as time goes by."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from workbench.errors import InvalidInput
from workbench.formatting import dollars
from workbench.plots.channels import colour, panels, tooltips
from workbench.plots.figure import Figure
from workbench.plots.series import Runs, caption, name_results
from workbench.plots.theme import HEIGHT, WIDTH
from workbench.pricing.cost import Cost
from workbench.pricing.sheet import PriceSheet
from workbench.run import Run
from workbench.run.costs import RunActivity, cost, sheet_of
from workbench.validation import whole_number

if TYPE_CHECKING:
    import polars as pl

    from workbench.deployment.base import Deployment
    from workbench.pricing.usage import Spans, Usage

TOTAL = "total"
_POINTS = 48  # of a run's time


def cost_by_item(costs: Mapping[str, Cost]) -> "pl.DataFrame":
    """Return what each run, by name, costs by item and in total.

    Columns: run, item, dollars, per_million (US dollars a million answered requests, null when
    none was answered), mark (how firmly the price is known).

    Raises:
        InvalidInput: There is no cost.
    """
    import polars as pl

    if not costs:
        raise InvalidInput("There is no cost to show: pass at least one.")
    rows = [
        (name, what, dollars, 1e6 * dollars / cost.answered if cost.answered else None, mark)
        for name, cost in costs.items()
        for what, dollars, mark in (
            *((item.what, item.dollars, item.mark) for item in cost.items),
            (TOTAL, cost.total, cost.mark),
        )
    ]
    types = {"run": str, "item": str, "dollars": float, "per_million": float, "mark": str}
    return pl.DataFrame(rows, schema=types, orient="row")


def plot_cost_by_item(costs: Mapping[str, Cost]) -> Figure:
    """Return bars of US dollars a million answered requests: a panel for each item, the total last.

    A run that answered nothing has no bars.
    """
    import altair as alt
    import polars as pl

    data = cost_by_item(costs)
    names = list(costs)
    items = list(dict.fromkeys(data["item"].filter(data["item"] != TOTAL)))
    if any(len(cost.items) != 1 for cost in costs.values()):
        items.append(TOTAL)
    shown = data.filter(pl.col("item").is_in(items)).with_columns(
        pl.col("per_million")
        .map_elements(lambda each: dollars(each) if each else "free", return_dtype=pl.String)
        .alias("label")
    )
    longest = max(len(name) for name in names)
    width = WIDTH - 140 - 7 * longest  # what names and figures leave
    base = alt.Chart(shown, width=max(300, width), height=alt.Step(24)).encode(
        x=alt.X(
            "per_million:Q",
            title="US dollars a million requests",
            axis=alt.Axis(tickCount=6, format="$,.4~r"),
        ),
        y=alt.Y("run:N", title=None, sort=names, axis=alt.Axis(labelLimit=0)),
        tooltip=tooltips("run:N", "item:N", "dollars:Q", "per_million:Q", "mark:N"),
    )
    chart = (
        alt.layer(
            base.mark_bar(height=16).encode(color=colour(names).legend(None)),
            base.mark_text(style="note", align="left", dx=4).encode(text=alt.Text("label:N")),
        )
        .facet(row=panels("item", items), spacing=10)
        .resolve_scale(y="independent")
        .properties(padding={"left": 8 + longest, "top": 8, "right": 8, "bottom": 8})  # as `config`
    )
    notes = dict.fromkeys(note for cost in costs.values() for note in cost.notes)
    totals = (f"{name} {cost.label}" for name, cost in costs.items())
    return Figure(
        data=data,
        chart=chart,
        title="Cost by item",
        subtitle=tuple(notes),
        description=f"Cost by item. In total: {'; '.join(totals)}.",
    )


# ------------------------------------------------------------------------- as time goes by


def cost_over_time(
    runs: Runs, *, points: int = _POINTS, prices: PriceSheet | None = None
) -> "pl.DataFrame":
    """Return what each run has cost from its start until its end, in so many steps.

    Columns: run, item (with its place, where there are several), seconds, dollars. What is billed
    until an instant are the calls that have ended and the instances' time until then; bytes are
    not.

    Raises:
        InvalidInput: There is no run, or one without requests or a deployment.
        NotFound: The sheet lacks a price.

    >>> from workbench.deployment import RealTime
    >>> run = Run.from_arrays(scheduled=[0], finished=[3600.0]).amend(
    ...     deployment=RealTime(instance_type="ml.m5.large"), instances=[(0, 3600), (1800, 3600)]
    ... )
    >>> cost_over_time(run, points=2)["dollars"].round(4).to_list()
    [0.0, 0.0575, 0.1725]
    """
    import polars as pl

    whole_number("points", points, low=1)
    rows = [
        (name, item, until, dollars)
        for name, run in name_results(runs).items()
        for item, until, dollars in _grow(run, points, sheet_of(run, prices))
    ]
    return pl.DataFrame(rows, schema=["run", "item", "seconds", "dollars"], orient="row")


def _grow(run: Run, points: int, prices: PriceSheet) -> Iterator[tuple[str, float, float]]:
    """Yield each item's dollars until each instant, 0 where there are none yet."""
    cost(run, prices=prices)  # refuses a run that cannot be billed
    batches = run.frame.unique("batch", keep="first", maintain_order=True)  # which are billed
    calls = run if run.calls is not None else replace(run, frame=batches)
    instants = np.linspace(0.0, RunActivity(run).span, points + 1).tolist()
    bills = [dict(_bill_by_place(_until(calls, instant), prices)) for instant in instants]
    for item in dict.fromkeys(item for bill in bills for item in bill):
        yield from (
            (item, at, bill.get(item, 0.0)) for at, bill in zip(instants, bills, strict=True)
        )


def _until(run: Run, instant: float) -> Run:
    """Return the run as if it had been over at an instant."""
    import polars as pl

    ended = pl.col("finished").fill_nan(pl.col("started")) <= instant
    record, members = run.record, run.record.members
    trace = record.trace and replace(
        record.trace, duration=min(instant, record.trace.duration or instant)
    )
    return replace(
        run,
        frame=run.frame.filter(ended),
        calls=None if run.calls is None else run.calls.filter(ended),
        record=replace(
            record,
            trace=trace,
            instances=_clip(record.instances, instant),
            members=members
            and tuple(replace(each, instances=_clip(each.instances, instant)) for each in members),
        ),
    )


def _clip(spans: "Spans | None", instant: float) -> Any:  # noqa: ANN401 - pairs, as in the record
    """Return the part of each span before an instant."""
    if spans is None:
        return None
    return tuple((launch, min(stop, instant)) for launch, stop in spans if launch < instant)


def _bill_by_place(run: Run, prices: PriceSheet) -> Iterator[tuple[str, float]]:
    """Yield the dollars of each item, named with its place where there are several."""
    deployment, places = run.record.deployment, run.record.places
    assert deployment is not None  # noqa: S101 - who asks has seen to it
    usage = deployment.usage(RunActivity(run))
    leaves = list(_leaves(deployment, usage))
    several = len(leaves) == len(places) > 1
    for place, (part, used) in zip(places if several else ("",) * len(leaves), leaves, strict=True):
        sums: dict[str, float] = {}
        for item in part.bill(used, prices=prices):  # tiers of one price are items of their own
            sums[item.what] = sums.get(item.what, 0.0) + item.dollars
        yield from ((f"{place}: {what}" if place else what, each) for what, each in sums.items())


def _leaves(deployment: "Deployment", usage: "Usage") -> "Iterator[tuple[Deployment, Usage]]":
    """Yield the deployments that one is made of, and what each used."""
    if not usage.parts:
        yield deployment, usage
        return
    for part, used in zip(deployment.parts, usage.parts, strict=True):  # type: ignore[attr-defined]  # a composite
        yield from _leaves(part, used)


def plot_cost_over_time(
    runs: Runs, *, points: int = _POINTS, prices: PriceSheet | None = None
) -> Figure:
    """Return a chart of `cost_over_time`: the items stacked, a panel for each run."""
    import altair as alt
    import polars as pl

    data = cost_over_time(runs, points=points, prices=prices)
    named = name_results(runs)
    items = list(dict.fromkeys(data["item"]))
    chart = (
        alt.Chart(data, width=WIDTH - 70, height=max(110, HEIGHT // (2 * len(named))))
        .mark_area()
        .encode(
            x=alt.X(
                "seconds:Q",
                title="Seconds since the start of the trace",
                scale=alt.Scale(domain=[0, data["seconds"].to_numpy().max()], nice=False),
            ),
            y=alt.Y(
                "dollars:Q",
                title="US dollars so far",
                stack="zero",
                axis=alt.Axis(format="$,.4~r", tickCount=4),
            ),
            color=colour(items, "item"),
            tooltip=tooltips("run:N", "item:N", "seconds:Q", "dollars:Q"),
        )
        .facet(row=panels("run", list(named)), spacing=14)
    )
    last = data.group_by("run", "item", maintain_order=True).agg(pl.col("dollars").last())
    said = "; ".join(f"{run}, {item} {dollars(amount)}" for run, item, amount in last.rows())
    return Figure(
        data=data,
        chart=chart,
        title="Cost over time",
        subtitle=(caption(named),),
        description=f"What was spent until the end. {said}.",
    )
