"""How traffic goes over time."""

from collections.abc import Sequence

import altair as alt
import numpy as np
import polars as pl

from workbench.errors import InvalidInput
from workbench.formatting import duration
from workbench.plots.channels import draw_lines, tooltips
from workbench.plots.figure import Figure
from workbench.plots.series import make_unique
from workbench.traffic.trace import Trace

_BINS = 120  # of a trace: six pixels each at a chart's width


def arrival_rates(traces: Trace | Sequence[Trace], *, window: float | None = None) -> pl.DataFrame:
    """Return requests a second over time, window by window.

    Columns: run (the trace's name), start and stop of the window (seconds), rate. The window
    (seconds) is by default the 120th part of the longest trace; one that is not full is left out.

    Raises:
        InvalidInput: There is no trace, or the window is not positive or longer than a trace.

    >>> from workbench.traffic.patterns import constant
    >>> arrival_rates(constant(rate=4, duration=2), window=1)["rate"].to_list()
    [4.0, 4.0]
    """
    traces = [traces] if isinstance(traces, Trace) else list(traces)
    if not traces:
        raise InvalidInput("There is no trace to show: pass at least one.")
    window = window or max(trace.duration for trace in traces) / _BINS
    frames: dict[str, pl.DataFrame] = {}
    for trace in traces:
        counts = trace.counts(window)
        if not len(counts):
            raise InvalidInput(
                f"window must be at most {trace.duration:g} s, as long as the trace, got {window}."
            )
        name = make_unique(trace.name or "trace", frames)
        start = window * np.arange(len(counts))
        columns = {"start": start, "stop": start + window, "rate": counts / window}
        frames[name] = pl.DataFrame({"run": [name] * len(counts)} | columns)
    return pl.concat(frames.values())


def plot_arrival_rates(
    traces: Trace | Sequence[Trace], *, window: float | None = None, capacity: float | None = None
) -> Figure:
    """Return a chart of `arrival_rates`; `capacity` (requests a second) is drawn across it."""
    data = arrival_rates(traces, window=window)
    names = list(dict.fromkeys(data["run"]))
    width = float(data["stop"][0] - data["start"][0])
    top = max(data["rate"].to_numpy().max(), capacity or 0.0)
    y = alt.Y(
        "rate:Q",
        title="Requests a second",
        scale=alt.Scale(domain=[0, 1.05 * top], nice=False),
    )
    base = alt.Chart(data).encode(
        x=alt.X("start:Q", title="Time (s)"), y=y, tooltip=tooltips("run:N", "start:Q", "rate:Q")
    )
    layers = [draw_lines(base, names, interpolate="step-after", strokeWidth=2)]
    note = ""
    if capacity is not None:
        line = pl.DataFrame({"rate": [float(capacity)]})
        layers.insert(0, alt.Chart(line).mark_rule(style="target").encode(y=y))
        note = f"Dashed: {capacity:,.0f} a second, the capacity."
    return Figure(
        data=data,
        chart=alt.layer(*layers),
        title="Traffic over time",
        subtitle=(f"Counted in windows of {duration(width)}.", note),
        description=_describe(data),
    )


def _describe(data: pl.DataFrame) -> str:
    sentences = []
    for (name,), rows in data.group_by("run", maintain_order=True):
        rates = rows["rate"].to_numpy()
        sentences.append(
            f"{name}: {rates.mean():,.4g} requests a second on average, "
            f"{rates.min():,.4g} to {rates.max():,.4g} in single windows."
        )
    return " ".join(sentences)
