"""What batching costs by size and wait, and where the target ends."""

from itertools import product
from typing import Any

import altair as alt
import numpy as np
import polars as pl
from numpy.typing import ArrayLike, NDArray

from workbench.deployment.base import is_on_demand
from workbench.errors import InvalidInput
from workbench.formatting import dollars, duration, in_ms
from workbench.planner.candidates import CandidateTable
from workbench.planner.plans import Plan
from workbench.plots.channels import tooltips
from workbench.plots.figure import Figure
from workbench.quantiles import SLO, longest_within
from workbench.queueing.grid import Screen

_COLUMNS = ["max_size", "max_wait", "latency", "cost_per_million"]
_MAX_LABELS = 24  # from so many on, not each is labelled


def batching_grid(
    source: Plan | Screen, *, each: ArrayLike | None = None, row: int = 0
) -> pl.DataFrame:
    """Return latency and cost of each (max_size, max_wait) on one serverless deployment or Lambda.

    Columns: max_size, max_wait (seconds), latency (seconds, at the quantile asked for),
    cost_per_million (US dollars), both by the exact model.

    Args:
        source: A plan: the grid is that of its winner, or, where that is a fleet, of what it found
            best among those that start on demand. Or what `workbench.queueing.screen` found.
        each: US dollars of a batch of 1, 2, ... requests, for a screen.
        row: Which row of the screen's service times.

    Raises:
        InvalidInput: The plan searched nothing that starts on demand, or `each` is not given.
    """
    if isinstance(source, Plan):
        return pl.DataFrame(_list_cells(source), schema=_COLUMNS, orient="row")
    if each is None:
        raise InvalidInput("each is missing: US dollars of a batch of 1, 2, ... requests.")
    cost = 1e6 * source.cost_per_request(np.atleast_2d(np.asarray(each, dtype=np.float64)))[0]
    latency = source.quantile[row]
    sizes, waits = source.max_sizes.tolist(), source.max_waits.tolist()
    return pl.DataFrame(
        [
            (size, wait, float(latency[i, j]), float(cost[i, j]))
            for (i, size), (j, wait) in product(enumerate(sizes), enumerate(waits))
        ],
        schema=_COLUMNS,
        orient="row",
    )


def _list_cells(plan: Plan) -> list[tuple[int, float, float, float]]:
    """Return every cell; those that never batch requests are one candidate."""
    part, index = _find_grid_deployment(plan)
    rows = np.flatnonzero(part.place == index)
    keys = zip(part.max_size[rows].tolist(), part.max_wait[rows].tolist(), strict=True)
    found = dict(zip(keys, zip(part.predicted[rows], part.cost[rows], strict=True), strict=True))
    alone = next((key for key in found if key[0] == 1), None)
    cells = []
    for size, wait in product(plan.task.screening.sizes, plan.task.screening.waits):
        latency, cost = found[alone if alone and 0 in (size - 1, wait) else (size, wait)]
        cells.append((size, wait, float(latency), float(cost)))
    return cells


def _find_grid_deployment(plan: Plan) -> tuple[CandidateTable, int]:
    """Return the inference type and the deployment of the grid."""
    fields = {part.kind: part for part in plan.fields if is_on_demand(part.kind)}
    best = next((one for one in plan.finalists if one.deployment.kind in fields), None)
    if best is None:
        raise InvalidInput(
            "This plan searched neither serverless nor Lambda, and the grid is made of their "
            "figures: plan with Options(kinds=['lambda', ...])."
        )
    part = fields[best.deployment.kind]
    return part, part.deployments.index(best.deployment)


def plot_batching_grid(
    source: Plan | Screen,
    slo: SLO | None = None,
    *,
    each: ArrayLike | None = None,
    row: int = 0,
) -> Figure:
    """Return a heat map of `batching_grid`: cost as colour, the target as a contour.

    `slo` is the target, by default that of the plan. Settings on the far side of the contour, which
    miss it, are paler; a diamond marks the cheapest that meets it.

    Raises:
        InvalidInput: As for `batching_grid`, or a screen comes without a target.
    """
    data = batching_grid(source, each=each, row=row)
    where = ""
    if isinstance(source, Plan):
        part, index = _find_grid_deployment(source)
        label = part.deployments[index].label
        slo, where = slo or source.slo, f"{label[:1].upper()}{label[1:]}. "
    if slo is None:
        raise InvalidInput("slo is missing: which target is the contour of?")
    sizes, waits = (data[name].unique().sort().to_list() for name in ("max_size", "max_wait"))
    cells = data.with_columns(
        x=pl.col("max_wait").replace_strict(waits, range(len(waits))),
        y=pl.col("max_size").replace_strict(sizes, range(len(sizes))),
        met=pl.col("latency") <= longest_within(slo.latency),
    ).with_columns(x2=pl.col("x") + 1, y2=pl.col("y") + 1)
    best = cells.filter("met").sort("cost_per_million", "latency").head(1)
    base = alt.Chart(cells.with_columns(wait=1000 * pl.col("max_wait")))
    heat = base.mark_rect().encode(
        x=_axis(alt.X, "x", "Longest wait (ms)", [in_ms(wait) for wait in waits]),
        x2=alt.X2("x2:Q"),
        y=_axis(alt.Y, "y", "Largest batch (requests)", [str(size) for size in sizes]),
        y2=alt.Y2("y2:Q"),
        color=alt.Color(
            "cost_per_million:Q",
            title="US dollars a million requests",
            scale=alt.Scale(scheme="viridis"),
            legend=alt.Legend(orient="top", gradientLength=300, titleLimit=300, format="$,.4~r"),
        ),
        opacity=alt.condition("datum.met", alt.value(1), alt.value(0.35)),
        tooltip=tooltips("max_size:Q", "wait:Q", "latency:Q", "cost_per_million:Q", "met:N"),
    )
    met = cells.sort("y", "x")["met"].to_numpy().reshape(len(sizes), len(waits))
    best_text = _describe_best(best)
    return Figure(
        data=data,
        chart=alt.layer(heat, *_contour(met), *_mark(best)),
        title="Cost by batch size and wait",
        subtitle=(
            f"{where}Predicted.",
            f"Pale, beyond the line: misses the target {slo.label}.",
            best_text,
        ),
        description=f"{int(met.sum())} of {met.size} settings meet the {slo.label}. {best_text}",
    )


def _axis(kind: Any, field: str, title: str, labels: list[str]) -> Any:  # noqa: ANN401 - a channel
    """Return a channel of cells from 0 to 1, from 1 to 2, ..., each labelled at its middle."""
    axis = alt.Axis(
        values=[index + 0.5 for index in range(len(labels))],
        labelExpr=f"{labels}[floor(datum.value)]",
        labelOverlap=kind is alt.X or len(labels) > _MAX_LABELS,
        grid=False,
    )
    scale = alt.Scale(domain=[0, len(labels)], nice=False)
    return kind(f"{field}:Q", title=title, scale=scale, axis=axis)


def _contour(met: NDArray[np.bool_]) -> list[alt.Chart]:
    """Return the edges between cells that meet the target and cells that do not, dark on light."""
    across = [(int(x) + 1, int(y), int(x) + 1, int(y) + 1) for y, x in _changes(met)]
    upward = [(int(x), int(y) + 1, int(x) + 1, int(y) + 1) for x, y in _changes(met.T)]
    types = dict.fromkeys(("x", "y", "x2", "y2"), pl.Int64)
    edges = alt.Chart(pl.DataFrame([*across, *upward], schema=types, orient="row")).encode(
        x=alt.X("x:Q"), y=alt.Y("y:Q"), x2=alt.X2("x2:Q"), y2=alt.Y2("y2:Q")
    )
    return [
        edges.mark_rule(color=colour, strokeWidth=width, strokeCap="square")
        for colour, width in (("white", 5), ("black", 2))
    ]


def _changes(met: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Return row and column of each cell that differs from the next in its row."""
    return np.argwhere(met[:, 1:] != met[:, :-1])


def _mark(best: pl.DataFrame) -> list[alt.Chart]:
    middle = best.select(pl.col("x", "y") + 0.5)
    return [
        alt.Chart(middle)
        .mark_point(
            shape="diamond", filled=True, size=160, color="white", stroke="black", opacity=1
        )
        .encode(x=alt.X("x:Q"), y=alt.Y("y:Q"))
    ]


def _describe_best(best: pl.DataFrame) -> str:
    if best.is_empty():
        return "No setting meets it."
    size, wait, latency, cost = best.select(_COLUMNS).row(0)
    return (
        f"Diamond, the cheapest that meets it: up to {size}, {duration(wait)}, "
        f"{dollars(cost)} a million; {duration(latency)}."
    )
