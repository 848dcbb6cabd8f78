"""Bursts of several sizes: which share of their requests each way answers in time."""

from collections.abc import Mapping

import altair as alt
import polars as pl

from workbench.errors import InvalidInput
from workbench.formatting import percent
from workbench.plots.channels import draw_lines, draw_points, tooltips
from workbench.plots.figure import Figure
from workbench.quantiles import longest_within
from workbench.run import Run
from workbench.run.costs import cost
from workbench.run.verdict import find_flaw


def burst_shares(runs: Mapping[tuple[str, float], Run], start: float, stop: float) -> pl.DataFrame:
    """Return a row for each run: run, size, in_time, failed, per_million, flaw.

    Args:
        runs: By name and size of the burst, in times of the load before it.
        start: When the burst begins, in seconds; `in_time` is the share of the requests due from
            then until `stop` that were answered within the run's target, `failed` how many of them
            got no answer. `per_million` is in US dollars, of the whole run; `flaw` says why a
            measured one cannot tell, "" where it can.
        stop: When it ends.

    Raises:
        InvalidInput: A run has no target, or nothing due then.
    """
    rows = []
    for (name, size), run in runs.items():
        due = run.frame.filter(pl.col("scheduled").is_between(start, stop, closed="left"))
        if run.slo is None or due.is_empty():
            raise InvalidInput(f'"{name}" has no target, or nothing due from {start} to {stop} s.')
        latency = (due["finished"] - due["scheduled"]).fill_nan(float("inf"))
        in_time = float((latency <= longest_within(run.slo.latency)).to_numpy().mean())
        failed = len(due) - int(latency.is_finite().sum())
        rows.append((name, float(size), in_time, failed, cost(run).per_million, find_flaw(run)))
    columns = ["run", "size", "in_time", "failed", "per_million", "flaw"]
    return pl.DataFrame(rows, columns, orient="row")


def plot_bursts(table: pl.DataFrame, subtitle: str = "Simulated.") -> Figure:
    """Return a line for each way of `burst_shares`: the share in time over the burst's size."""
    names = list(dict.fromkeys(table["run"]))
    sizes = table["size"].unique().sort().to_list()
    base = alt.Chart(table.with_columns(pl.col("in_time") * 100)).encode(
        x=alt.X(
            "size:Q",
            title="Burst, in times of the load before it",
            scale=alt.Scale(type="log", nice=False, padding=12),
            axis=alt.Axis(values=sizes, format="~g"),
        ),
        y=alt.Y("in_time:Q", title="In time (%)", scale=alt.Scale(domain=[0, 100])),
    )
    tooltip = tooltips("run:N", "size:Q", "in_time:Q", "failed:Q", "per_million:Q")
    largest = table.filter(pl.col("size") == sizes[-1])
    said = ", ".join(
        f"{name} {percent(share)}" for name, share in largest[["run", "in_time"]].rows()
    )
    sentence = f"In time of a burst of {sizes[-1]:g} times the load: {said}."
    return Figure(
        data=table,
        chart=draw_lines(base, names) + draw_points(base, names).encode(tooltip=tooltip),
        title="Who answers a burst in time",
        subtitle=(subtitle, sentence),
        description=sentence,
    )
