"""How large the batches were, or are predicted to be."""

from typing import TYPE_CHECKING

from workbench.plots.channels import colour, panels, shape, tooltips
from workbench.plots.figure import Figure
from workbench.plots.series import Result, Results, caption, name_results
from workbench.plots.theme import INK, WIDTH
from workbench.run import Run

if TYPE_CHECKING:
    import polars as pl

_MIN_SHARE = 1e-6  # share of batches below which a predicted size is left out


def batch_sizes(runs: Results) -> "pl.DataFrame":
    """Return how many batches of each size there were, or which share is predicted.

    Columns: run, batch_size (requests), batches (null where predicted), share (of the batches).

    >>> from workbench.run import Run
    >>> run = Run.from_arrays(
    ...     scheduled=[0, 0, 1], finished=[1, 1, 2], batch=[0, 0, 1], batch_size=[2, 2, 1]
    ... )
    >>> batch_sizes(run).drop("run").rows()
    [(1, 1, 0.5), (2, 1, 0.5)]
    """
    import polars as pl

    frames = [
        _count_batches(run)
        .sort("batch_size")
        .select(pl.lit(name).alias("run"), "batch_size", "batches", "share")
        for name, run in name_results(runs).items()
    ]
    return pl.concat(frames)


def _count_batches(run: Result) -> "pl.DataFrame":
    import polars as pl

    if isinstance(run, Run):
        counts = run.batches().group_by("batch_size").agg(batches=pl.len().cast(pl.Int64))
        return counts.with_columns(share=pl.col("batches") / pl.col("batches").sum())
    shares = enumerate(run.batch_sizes.tolist(), 1)
    rows = [(size, None, share) for size, share in shares if share > _MIN_SHARE]
    types = {"batch_size": pl.Int32, "batches": pl.Int64, "share": pl.Float64}
    return pl.DataFrame(rows, schema=types, orient="row")


def plot_batch_sizes(runs: Results) -> Figure:
    """Return a histogram of batch sizes, a row of bars for each run, its mean beside its name.

    Predictions are points beside the bars of every run; where there is no run, they are the bars.
    """
    import altair as alt

    members = name_results(runs)
    names, data = list(members), batch_sizes(runs)
    rows = [name for name in names if isinstance(members[name], Run)] or names
    predictions = [name for name in names if name not in rows]
    means = {
        name: f"{name}: mean {run.summary()['mean_batch_size']:.3g}"
        for name, run in members.items()
    }
    width, height = WIDTH - 70, max(90, 240 // len(rows))
    largest = max(8, *data["batch_size"])
    base = alt.Chart(width=width, height=height).encode(
        y=alt.Y("share:Q", title="Share of batches", axis=alt.Axis(format="%", tickCount=4)),
        color=colour(names).legend(None),
        tooltip=tooltips(
            "run:N", "batch_size:Q", "batches:Q", alt.Tooltip("share:Q", format=".1%")
        ),
    )
    x = alt.X(
        "from:Q",
        title="Batch size (requests)",
        scale=alt.Scale(domain=[0.5, largest + 0.5], nice=False),
        axis=alt.Axis(tickMinStep=1, format="d", grid=False),
    )
    points_said = "; ".join(means[name] for name in predictions)
    legend = alt.Legend(orient="top", title=None, symbolFillColor=INK, symbolStrokeColor=INK)
    bars = (
        base.transform_filter("datum.bar")
        .mark_bar()
        .encode(x=x, x2=alt.X2("to:Q"), y2=alt.datum(0))
    )
    points = (
        base.transform_filter("!datum.bar")
        .mark_point(filled=True, size=60, opacity=1)
        .encode(x=alt.X("batch_size:Q"), shape=shape(predictions).legend(legend))
        if predictions
        else None
    )
    chart = alt.layer(
        *filter(None, (bars, points)), data=_assign_panels(data, rows, predictions, means)
    )
    return Figure(
        data=data,
        chart=chart.facet(row=panels("panel", [means[name] for name in rows])),
        title="Batch sizes",
        subtitle=(caption(members), f"Points: {points_said}." if predictions else ""),
        description=f"Histogram of batch sizes. {'; '.join(means.values())}.",
    )


def _assign_panels(
    data: "pl.DataFrame", rows: list[str], predictions: list[str], means: dict[str, str]
) -> "pl.DataFrame":
    """Return bars in panels of their own, and points in each of these."""
    import polars as pl

    edges = (pl.col("batch_size") - 0.45).alias("from"), (pl.col("batch_size") + 0.45).alias("to")
    heads = pl.DataFrame({"panel": [means[name] for name in rows]})
    bars = data.filter(pl.col("run").is_in(rows)).with_columns(
        pl.col("run").replace(means).alias("panel"),
        *edges,
        bar=pl.lit(True),  # noqa: FBT003
    )
    points = data.filter(pl.col("run").is_in(predictions)).join(heads, how="cross")
    return pl.concat([bars, points.with_columns(bar=pl.lit(False))], how="diagonal")  # noqa: FBT003
