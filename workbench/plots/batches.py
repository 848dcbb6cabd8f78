"""How large the batches were."""

from typing import TYPE_CHECKING

from workbench.plots.figure import Figure
from workbench.plots.series import Runs, caption, colour, named, panels
from workbench.plots.theme import WIDTH

if TYPE_CHECKING:
    import polars as pl


def batch_sizes(runs: Runs) -> "pl.DataFrame":
    """Return how many batches of each size there were.

    Columns: run, batch_size (requests), batches, share (of the run's batches).

    >>> from workbench.run import Run
    >>> run = Run.from_arrays(
    ...     scheduled=[0, 0, 1], finished=[1, 1, 2], batch=[0, 0, 1], batch_size=[2, 2, 1]
    ... )
    >>> batch_sizes(run).drop("run").rows()
    [(1, 1, 0.5), (2, 1, 0.5)]
    """
    import polars as pl

    frames = [
        run.batches()
        .group_by("batch_size")
        .agg(batches=pl.len().cast(pl.Int64))
        .sort("batch_size")
        .select(
            pl.lit(name).alias("run"),
            "batch_size",
            "batches",
            share=pl.col("batches") / pl.col("batches").sum(),
        )
        for name, run in named(runs).items()
    ]
    return pl.concat(frames)


def plot_batch_sizes(runs: Runs) -> Figure:
    """Return a histogram of batch sizes, a row of bars for each run, its mean beside its name."""
    import altair as alt
    import polars as pl

    members = named(runs)
    data = batch_sizes(runs)
    means = {
        name: f"{name}: mean {run.summary()['mean_batch_size']:.3g}"
        for name, run in members.items()
    }
    bars = data.with_columns(
        pl.col("run").replace(means).alias("panel"),
        (pl.col("batch_size") - 0.45).alias("from"),
        (pl.col("batch_size") + 0.45).alias("to"),
    )
    largest = int(bars["batch_size"].max())  # type: ignore[arg-type]
    chart = (
        alt.Chart(bars, width=WIDTH - 70, height=max(90, 240 // len(members)))
        .mark_bar()
        .encode(
            x=alt.X(
                "from:Q",
                title="Batch size (requests)",
                scale=alt.Scale(domain=[0.5, max(largest, 8) + 0.5], nice=False),
                axis=alt.Axis(tickMinStep=1, format="d", grid=False),
            ),
            x2="to:Q",
            y=alt.Y("share:Q", title="Share of batches", axis=alt.Axis(format="%", tickCount=4)),
            y2=alt.datum(0),
            color=colour(list(members)).legend(None),
            tooltip=["run:N", "batch_size:Q", "batches:Q", alt.Tooltip("share:Q", format=".1%")],
        )
        .facet(row=panels("panel", list(means.values())))
    )
    return Figure(
        data=data,
        chart=chart,
        title="Batch sizes",
        subtitle=(caption(members),),
        description=f"Histogram of batch sizes. {'; '.join(means.values())}.",
    )
