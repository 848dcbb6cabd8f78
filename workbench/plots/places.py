"""Who answered: the share of requests that each member of an ensemble gave the answer to."""

from typing import TYPE_CHECKING

import numpy as np

from workbench.errors import InvalidInput
from workbench.plots.channels import colour, panels, tooltips
from workbench.plots.figure import Figure
from workbench.plots.series import Runs, caption, name_results
from workbench.plots.theme import HEIGHT, WIDTH

if TYPE_CHECKING:
    import polars as pl

    from workbench.run import Run

_BINS = 60  # of a chart's time


def answers_by_place(runs: Runs, *, bins: int = _BINS) -> "pl.DataFrame":
    """Return who answered over time: columns run, place, from, to (seconds), requests, share.

    A request belongs to the time at which it was due. Those that failed are of no place.

    Raises:
        InvalidInput: No run is one of an ensemble.

    >>> from workbench.run import Run
    >>> run = Run.from_arrays(
    ...     scheduled=[0, 1, 2, 3], finished=[1, 2, 3, 4], place=[0, 0, 0, 1],
    ...     facts={"places": ("small", "large")},
    ... )
    >>> answers_by_place(run, bins=1).select("place", "requests", "share").rows()
    [('small', 3, 0.75), ('large', 1, 0.25)]
    """
    import polars as pl

    routed = {name: run for name, run in name_results(runs).items() if len(run.record.places) > 1}
    if not routed:
        raise InvalidInput("No run is one of several models: a router's work takes an ensemble.")
    return pl.concat([_count(name, run, bins) for name, run in routed.items()])


def _count(name: str, run: "Run", bins: int) -> "pl.DataFrame":
    import polars as pl

    places = list(run.record.places)
    answered = run.frame.filter(pl.col("error").is_null())
    edges = np.linspace(0, max(float(run.frame["scheduled"].max() or 0), 1e-9), bins + 1)  # type: ignore[arg-type]
    sides = [edges, np.arange(len(places) + 1) - 0.5]
    counts, *_ = np.histogram2d(answered["scheduled"], answered["place"], bins=sides)
    totals = counts.sum(axis=1, keepdims=True)
    shares = np.divide(counts, totals, out=np.zeros_like(counts), where=totals > 0)
    return pl.DataFrame(
        {
            "run": [name] * counts.size,
            "place": places * bins,
            "from": edges[:-1].repeat(len(places)),
            "to": edges[1:].repeat(len(places)),
            "requests": counts.ravel().astype(np.int64),
            "share": shares.ravel(),
        }
    )


def plot_answers_by_place(runs: Runs) -> Figure:
    """Return a chart of `answers_by_place`: the shares over time, a panel for each run."""
    import altair as alt
    import polars as pl

    data = answers_by_place(runs)
    names = data["run"].unique(maintain_order=True).to_list()
    places = data["place"].unique(maintain_order=True).to_list()
    chart = (
        alt.Chart(data, width=WIDTH - 70, height=max(90, HEIGHT // (2 * len(names))))
        .mark_area(interpolate="step-after")
        .encode(
            x=alt.X("from:Q", title="Seconds since the start of the trace"),
            y=alt.Y(
                "share:Q",
                title="Share answered",
                axis=alt.Axis(format="%", tickCount=4),
                stack="zero",
            ),
            color=colour(places, "place"),
            tooltip=tooltips("place:N", "requests:Q", alt.Tooltip("share:Q", format=".1%")),
        )
        .facet(row=panels("run", names))
    )
    sums = data.group_by("run", "place", maintain_order=True).agg(pl.col("requests").sum())
    said = "; ".join(f"{run}, {place}: {count:,}" for run, place, count in sums.rows())
    shown = {name: run for name, run in name_results(runs).items() if name in names}
    return Figure(
        data=data,
        chart=chart,
        title="Who answered",
        subtitle=(caption(shown), f"Requests: {said}."),
        description=f"Share of requests answered by each model over time. {said}.",
    )
