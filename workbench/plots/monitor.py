"""What a cloud measured of an endpoint, over time."""

from typing import TYPE_CHECKING

import polars as pl

from workbench.errors import InvalidInput
from workbench.plots.channels import draw_lines, tooltips
from workbench.plots.figure import Figure
from workbench.validation import of_kind

if TYPE_CHECKING:
    import altair as alt

_PANELS = {
    "Calls a period": ("Invocations", "Invocation4XXErrors", "Invocation5XXErrors"),
    "Model latency (ms)": ("ModelLatency",),
    "Overhead latency (ms)": ("OverheadLatency",),
    "Cold start (ms)": ("ModelSetupTime",),
}
_WIDTH, _HEIGHT = 330, 150  # pixels of a panel: two beside each other
_STATISTICS = ("Sum", "p50", "p95", "p99")


def metric_series(metrics: pl.DataFrame) -> pl.DataFrame:
    """Return what of an endpoint's metrics is drawn: time, panel, run and value.

    `metrics` is what `workbench.cloud.monitor.metrics` returns. `run` is a metric or a percentile:
    charts call so what they tell apart. Latencies are in milliseconds.

    Raises:
        InvalidInput: It is not, or it has no rows.
    """
    of_kind("metrics", metrics, pl.DataFrame, "a Polars frame")
    missing = {"time", "metric", "statistic", "value"} - set(metrics.columns)
    if missing or not metrics.height:
        raise InvalidInput(
            "There is nothing to show: pass what workbench.cloud.monitor.metrics returned, and "
            "give CloudWatch some minutes after the first call."
        )
    panels = {metric: panel for panel, shown in _PANELS.items() for metric in shown}
    kept = metrics.filter(
        pl.col("metric").is_in(list(panels)), pl.col("statistic").is_in(_STATISTICS)
    )
    panel = pl.col("metric").replace_strict(panels, default="")
    counted = pl.col("statistic") == "Sum"
    return kept.select(
        "time",
        panel.alias("panel"),
        pl.when(counted).then("metric").otherwise("statistic").alias("run"),
        pl.when(counted).then("value").otherwise(1000 * pl.col("value")).alias("value"),
    )


def plot_metrics(metrics: pl.DataFrame) -> Figure:
    """Return a dashboard of `metric_series`: a panel for calls and one for each latency."""
    import altair as alt

    data = metric_series(metrics)
    names = list(dict.fromkeys(data["run"]))
    panels = [panel for panel in _PANELS if panel in set(data["panel"])]
    charts = [_panel(data.filter(pl.col("panel") == panel), panel, names) for panel in panels]
    rows = [alt.hconcat(*charts[n : n + 2]) for n in range(0, len(charts), 2)]
    return Figure(
        data=data,
        chart=alt.vconcat(*rows),
        title="What the cloud measured",
        subtitle=("By CloudWatch's periods; the client's own latencies are longer.",),
        description=_describe(data),
    )


def _panel(data: pl.DataFrame, panel: str, names: list[str]) -> "alt.Chart":
    import altair as alt

    base = alt.Chart(data, width=_WIDTH, height=_HEIGHT).encode(
        x=alt.X("time:T", title=None),
        y=alt.Y("value:Q", title=panel),
        tooltip=tooltips(alt.Tooltip("run:N", title="series"), "time:T", "value:Q"),
    )
    return draw_lines(base, names, point=True, strokeWidth=2)


def _describe(data: pl.DataFrame) -> str:
    calls = data.filter(pl.col("run") == "Invocations")["value"].sum()
    sentences = [f"{calls:,.0f} calls."]
    for (panel, name), rows in data.group_by("panel", "run", maintain_order=True):
        if str(name).startswith("p"):
            middle = float(rows["value"].to_numpy().mean())
            sentences.append(f"{panel!s}, {name!s}: {middle:.3g} on average.")
    return " ".join(sentences)
