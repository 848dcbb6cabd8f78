"""How long answers take while a run goes on."""

from collections.abc import Sequence

from workbench.formatting import duration
from workbench.plots.channels import draw_lines, tooltips
from workbench.plots.figure import Figure

Point = tuple[float, float, float]
"""Seconds since the run began; median and 95th percentile of the latencies since the point before,
in seconds, infinite where so many failed."""


def plot_live_latency(points: Sequence[Point]) -> Figure:
    """Return a chart of a run's latencies so far, over its time."""
    import altair as alt
    import polars as pl

    names = ["p50", "p95"]
    rows = [
        (elapsed, name, 1000 * latency)
        for elapsed, *latencies in points
        for name, latency in zip(names, latencies, strict=True)
        if latency != float("inf")
    ]
    schema = {"elapsed": float, "run": str, "latency": float}
    data = pl.DataFrame(rows, schema=schema, orient="row")
    base = alt.Chart(data, height=160).encode(
        x=alt.X("elapsed:Q", title="Seconds since the start").axis(tickMinStep=1, format="d"),
        y=alt.Y("latency:Q", title="Latency (ms)"),
        tooltip=tooltips("run:N", "elapsed:Q", "latency:Q"),
    )
    chart = draw_lines(base, names, point=True, strokeWidth=2)
    last = points[-1] if points else None
    words = f"Latest: p50 {duration(last[1])}, p95 {duration(last[2])}." if last else ""
    return Figure(data=data, chart=chart, title="Measured so far", description=words)
