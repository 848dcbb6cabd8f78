"""Answers of several runs in several panels: how long they took, how right, who gave them.

Answers come as frames with the columns start and latency (seconds), accuracy and node, as
`papers.mulambda.replay` returns them, by names of panel and run::

    plot_spread(answers, "latency")          # the share answered within each time
    plot_boxes(answers, "accuracy")          # the same as boxes
    plot_node_load({"weighted": frame})      # requests under way at each node
"""

from collections.abc import Mapping
from typing import Any

import altair as alt
import numpy as np
import polars as pl

from workbench.errors import InvalidInput
from workbench.plots.channels import colour, draw_lines, panels
from workbench.plots.figure import Figure
from workbench.plots.theme import HEIGHT, WIDTH

Answers = Mapping[tuple[str, str], pl.DataFrame]
"""Frames of answers, by the names of their panel and of their run."""

_SHARES = np.linspace(0, 1, 101)  # of the answers: every per cent
_TITLES = {"latency": "response time (s)", "accuracy": "accuracy of the answer"}
_MAX_BARS = 300  # parts of the time: two pixels each
# values that were measured, none in between
_STEPS: dict[str, Any] = {"interpolate": "step-after", "strokeWidth": 2}


def answer_spread(answers: Answers, column: str) -> pl.DataFrame:
    """Return the 0th to the 100th percentile of a column: panel, run, share and the value.

    Raises:
        InvalidInput: There are no answers.

    >>> import polars as pl
    >>> answers = {("parity", "random"): pl.DataFrame({"latency": [0.25, 0.75]})}
    >>> answer_spread(answers, "latency").row(50)
    ('parity', 'random', 0.5, 0.5)
    """
    if not any(len(frame) for frame in answers.values()):
        raise InvalidInput("There are no answers to show: pass at least one frame with rows.")
    frames = [
        pl.DataFrame(
            {"share": _SHARES, column: np.quantile(frame[column].to_numpy(), _SHARES)}
        ).select(pl.lit(panel).alias("panel"), pl.lit(run).alias("run"), pl.all())
        for (panel, run), frame in answers.items()
    ]
    return pl.concat(frames)


def plot_spread(answers: Answers, column: str, *, subtitle: str = "") -> Figure:
    """Return the empirical distribution of a column, a panel each, to a percent."""
    data = answer_spread(answers, column)
    runs = list(dict.fromkeys(run for _, run in answers))
    chart = alt.Chart(data, width=WIDTH // 2 - 60, height=HEIGHT // 2).encode(
        x=alt.X(f"{column}:Q", title=_TITLES.get(column, column)),
        y=alt.Y("share:Q", title="share of answers", axis=alt.Axis(format="%")),
    )
    return _facet(draw_lines(chart, runs, **_STEPS), data, column, subtitle)


def plot_boxes(answers: Answers, column: str, *, subtitle: str = "") -> Figure:
    """Return boxes of a column, a panel each: quartiles, and whiskers to the least and largest."""
    data = answer_spread(answers, column)
    runs = list(dict.fromkeys(run for _, run in answers))
    chart = (
        alt.Chart(data, width=WIDTH // 2 - 100, height=alt.Step(28))
        .mark_boxplot(extent="min-max", size=14)
        .encode(
            x=alt.X(f"{column}:Q", title=_TITLES.get(column, column)),
            y=alt.Y("run:N", title=None, sort=runs),
            color=colour(runs).legend(None),
        )
    )
    return _facet(chart, data, column, subtitle)


def _facet(chart: alt.Chart, data: pl.DataFrame, column: str, subtitle: str) -> Figure:
    names = data["panel"].unique(maintain_order=True).to_list()
    title = _TITLES.get(column, column).capitalize()
    middle = data.filter(data["share"] == 0.5)
    medians = (f"{panel}, {run}: {value:.3g}" for panel, run, _, value in middle.rows())
    return Figure(
        data=data,
        chart=chart.facet(facet=alt.Facet("panel:N", title=None, sort=names), columns=2),
        title=title,
        subtitle=(subtitle,),
        description=f"{title}. Medians: {'; '.join(medians)}.",
    )


def node_load(answers: Mapping[str, pl.DataFrame], *, until: float = 30.0) -> pl.DataFrame:
    """Return how many requests are under way at each node: run, node, seconds and requests.

    >>> import polars as pl
    >>> frame = pl.DataFrame({"start": [0.0, 1.0], "latency": [2.0, 2.0], "node": [1, 1]})
    >>> node_load({"random": frame}, until=3.0).filter(seconds=1.0)["requests"].to_list()
    [2]
    """
    instants = np.linspace(0, until, _MAX_BARS + 1)[:-1]
    frames = []
    for run, frame in answers.items():
        for (node,), own in frame.sort("node").group_by("node", maintain_order=True):
            starts = np.sort(own["start"].to_numpy())
            ends = np.sort((own["start"] + own["latency"]).to_numpy())
            begun, done = (np.searchsorted(each, instants, "right") for each in (starts, ends))
            columns = {"seconds": instants, "requests": begun - done}
            names: dict[str, Any] = {"run": [run], "node": [f"node {node}"]}
            frames.append(pl.DataFrame(names).join(pl.DataFrame(columns), how="cross"))
    return pl.concat(frames)


def plot_node_load(
    answers: Mapping[str, pl.DataFrame], *, until: float = 30.0, subtitle: str = ""
) -> Figure:
    """Return the requests under way over time, stacked by node, a panel for each run."""
    data = node_load(answers, until=until)
    nodes = sorted(data["node"].unique())
    chart = (
        alt.Chart(data, width=WIDTH - 140, height=HEIGHT // 3)
        .mark_area(interpolate="step-after")
        .encode(
            x=alt.X("seconds:Q", title="seconds since the first request"),
            y=alt.Y("requests:Q", title="requests under way"),
            color=colour(nodes, "node"),
        )
        .facet(row=panels("run", list(answers)))
    )
    means = data.group_by("run", "node", maintain_order=True).mean()
    said = (f"{run}, {node}: {mean:.2f}" for run, node, _, mean in means.rows())
    return Figure(
        data=data,
        chart=chart,
        title="Requests under way at each node",
        subtitle=(subtitle,),
        description=f"Requests under way at each node. On average {'; '.join(said)}.",
    )


def plot_effective_accuracy(hour: pl.DataFrame, *, subtitle: str = "") -> Figure:
    """Return the share right and in time by minute, a line for each strategy of `serve`."""
    data = hour.rename({"strategy": "run"})
    runs = data["run"].unique(maintain_order=True).to_list()
    chart = alt.Chart(data, width=WIDTH, height=HEIGHT).encode(
        x=alt.X("minute:Q"),
        y=alt.Y("effective:Q", title="share right and in time", axis=alt.Axis(format="%")),
    )
    means = data.group_by("run", maintain_order=True).agg(pl.col("effective").mean())
    said = (f"{run} {mean:.1%}" for run, mean in means.rows())
    return Figure(
        data=data,
        chart=draw_lines(chart, runs, **_STEPS),
        title="Effective accuracy through the hour",
        subtitle=(subtitle,),
        description=f"Effective accuracy by minute. On average {'; '.join(said)}.",
    )
