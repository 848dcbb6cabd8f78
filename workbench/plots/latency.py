"""Latency: its distribution, and how it went over time."""

import math
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from workbench.errors import InvalidInput, TooFewSamples
from workbench.formatting import duration, percentile
from workbench.plots.axes import LatencyAxis
from workbench.plots.channels import colour, draw_lines, draw_points, tooltips
from workbench.plots.figure import Figure
from workbench.plots.series import Result, Results, Runs, caption, common_slo, name_results
from workbench.quantiles import PERCENTILES, SLO, select_quantile
from workbench.run import Run

if TYPE_CHECKING:
    import altair as alt
    import polars as pl

_MAX_POINTS = 200  # of a curve: more are not to be seen, and make the page larger
_PREDICTION_POINTS = 500  # shares of a prediction to choose points from
_MAX_BINS = 60  # of a run's time: more would show noise
_MIN_REQUESTS_PER_BIN = 50  # of fewer a percentile says little


def latency_ecdf(runs: Results, *, points: int = _MAX_POINTS) -> "pl.DataFrame":
    """Return the share of all requests answered within a latency, at up to `points` points a run.

    Columns: run, origin, latency (seconds), share. The points lie on the empirical distribution of
    latencies, exact to the nanosecond: evenly by rank, and closer towards the slowest. A failed
    request is never answered, so the share of a run with failures does not reach 1; a run that
    failed throughout has no rows. Points of a prediction lie on its distribution, from the share
    0.1 % to 99.9 %.

    Raises:
        InvalidInput: There is no run, one has no requests, or `points` is below 2.

    >>> run = Run.from_arrays(scheduled=[0, 0], finished=[0.25, 0.5], origin="simulated")
    >>> latency_ecdf(run).select("latency", "share").rows()
    [(0.25, 0.5), (0.5, 1.0)]
    """
    import polars as pl

    if points < 2:
        raise InvalidInput(f"points must be at least 2, got {points}.")
    schema = {"run": str, "origin": str, "latency": float, "share": float}
    rows = []
    for name, run in name_results(runs).items():
        latency, share = _sample_distribution(run, points)
        rows += [(name, run.origin, *point) for point in zip(latency, share, strict=True)]
    return pl.DataFrame(rows, schema=schema, orient="row")


def _sample_distribution(
    run: Result, points: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return latencies and the shares answered within them, at a few points."""
    if isinstance(run, Run):
        # rounded, as differences of instants make many of what is one latency
        answered = run.latencies[np.isfinite(run.latencies)].round(9)
        latency, counts = np.unique(answered, return_counts=True)
        share = np.cumsum(counts) / len(run)
        ranks = list(_thin_ranks(len(latency), points))
        return latency[ranks], share[ranks]
    share = (np.array(list(_thin_ranks(_PREDICTION_POINTS, points))) + 0.5) / _PREDICTION_POINTS
    return run.quantile(share), share


def _thin_ranks(count: int, points: int) -> Iterable[int]:
    """Return the first, the last and some ranks between, half of them in the last tenth."""
    if count <= points:
        return range(count)
    even = np.linspace(0, 1, max(2, points // 2))
    shares = np.union1d(even, 1 - np.geomspace(0.1, 1 / count, points - len(even)))
    ranks: list[int] = np.unique(np.round(shares * (count - 1)).astype(int)).tolist()
    return ranks


def plot_latency_ecdf(runs: Results, *, slo: SLO | None = None, log: bool | None = None) -> Figure:
    """Return a chart of `latency_ecdf`; a run meets the target when it passes above its corner.

    `slo` defaults to the target that the runs share. `log` chooses the scale of latencies; by
    default it is logarithmic when they span more than a factor of 30. Points mark p50, p90, p95
    and p99 where a run has enough requests to tell them.
    """
    import altair as alt

    members = name_results(runs)
    slo = slo or common_slo(members)
    data = latency_ecdf(runs)
    axis = LatencyAxis.over(data["latency"].to_numpy(), slo, log=log)
    corner = [_corner(slo, axis), _corner_note(slo, axis)] if slo else []
    layers = [*corner, _curves(data, members, axis), _points(members)]
    share = alt.Y(
        "share:Q",
        title="Share of all requests",
        scale=alt.Scale(domain=[0, 1]),
        axis=alt.Axis(format="%"),
    )
    return Figure(
        data=data,
        chart=alt.layer(*(layer.encode(x=axis.channel(alt.X), y=share) for layer in layers)),
        title="Share of requests answered within a latency",
        subtitle=(
            caption(members),
            "Points: p50, p90, p95, p99.",
            *_failures(members, "Failed, so the curve ends below 100 %"),
        ),
        description=_describe(members),
    )


def _curves(data: "pl.DataFrame", runs: dict[str, Result], axis: "LatencyAxis") -> "alt.Chart":
    """Return curves that go on to the chart's end at the height they reached."""
    import altair as alt
    import polars as pl

    ends = data.group_by("run", maintain_order=True).last()
    outline = [
        *(_outline(rows) for _, rows in data.group_by("run", maintain_order=True)),
        ends.with_columns(latency=pl.lit(axis.high)),
    ]
    return draw_lines(alt.Chart(pl.concat(outline)).encode(order="share:Q"), list(runs))


def _outline(points: "pl.DataFrame") -> "pl.DataFrame":
    """Return points to join by straight lines: steps, unless there are too many to be seen."""
    import polars as pl

    below = points.with_columns(pl.col("share").shift(1, fill_value=0.0))
    steps = below if points.height <= _MAX_POINTS // 2 else below[:1]
    return pl.concat([steps, points]).sort("latency", "share")


def _points(runs: dict[str, Result]) -> "alt.Chart":
    import altair as alt

    tooltip = tooltips("run:N", "origin:N", "percentile:N", "latency (ms):Q")
    return draw_points(alt.Chart(_percentiles(runs)).encode(tooltip=tooltip), list(runs), size=70)


def _corner(slo: SLO, axis: "LatencyAxis") -> "alt.Chart":
    """Return the target: from the left at its share to its latency, and down."""
    import altair as alt
    import polars as pl

    latency = [axis.low, slo.latency, slo.latency]
    corner = pl.DataFrame({"latency": latency, "share": [slo.quantile, slo.quantile, 0.0]})
    order = alt.Order("share:Q", sort="descending")
    chart: alt.Chart = alt.Chart(corner).mark_line(style="target").encode(order=order)
    return chart


def _corner_note(slo: SLO, axis: "LatencyAxis") -> "alt.Chart":
    import altair as alt
    import polars as pl

    note = pl.DataFrame({"latency": [slo.latency], "share": [0.0], "note": [f"target {slo.label}"]})
    left = slo.latency > axis.middle
    chart: alt.Chart = (
        alt.Chart(note)
        .mark_text(style="note", dy=-8, dx=-6 if left else 6, align="right" if left else "left")
        .encode(text=alt.Text("note:N"))
    )
    return chart


def _percentiles(runs: dict[str, Result]) -> "pl.DataFrame":
    import polars as pl

    rows = [
        (name, run.origin, percentile(q), latency, q, 1000 * latency)
        for name, run in runs.items()
        for q in PERCENTILES
        if (latency := _finite_quantile(run, q)) is not None
    ]
    words = dict.fromkeys(("run", "origin", "percentile"), str)
    numbers = dict.fromkeys(("latency", "share", "latency (ms)"), float)
    return pl.DataFrame(rows, schema={**words, **numbers}, orient="row")


def _finite_quantile(run: Result, q: float) -> float | None:
    try:
        latency = float(run.quantile(q))
    except TooFewSamples:
        return None
    return latency if math.isfinite(latency) else None


def latency_over_time(
    runs: Runs, *, quantile: float = 0.95, bins: int | None = None
) -> "pl.DataFrame":
    """Return the median and a higher quantile of latency by the time requests were due.

    Columns: run, start and stop of the bin (seconds from the trace's start), requests, failed,
    median and upper (seconds). They describe what happened to the requests of the bin: the
    smallest latency that such a share of them did not exceed; null when it falls among the failed
    ones. Each run has up to 60 bins of equal width, fewer when they would hold under 50 of its
    requests on average; a bin without requests is left out.

    Raises:
        InvalidInput: `bins` is below 1, or `quantile` not between 0 and 1.
    """
    import polars as pl

    if bins is not None and bins < 1:
        raise InvalidInput(f"bins must be at least 1, got {bins}.")
    if not 0 < quantile < 1:
        raise InvalidInput(f"quantile must lie between 0 and 1, got {quantile}.")
    rows = [
        (name, *row)
        for name, run in name_results(runs).items()
        for row in _aggregate_bins(run, _edges(run, bins), quantile)
    ]
    schema = {"run": str, "start": float, "stop": float, "requests": int, "failed": int}
    schema |= {"median": float, "upper": float}
    return pl.DataFrame(rows, schema=schema, orient="row")


def _edges(run: Run, bins: int | None) -> NDArray[np.float64]:
    """Return the edges of bins, by what this run needs: a short one coarsens no other."""
    bins = bins or max(1, min(_MAX_BINS, len(run) // _MIN_REQUESTS_PER_BIN))
    return np.linspace(0, float(run.frame["scheduled"].to_numpy().max()), bins + 1)


def _aggregate_bins(run: Run, edges: NDArray[np.float64], quantile: float) -> list[tuple[Any, ...]]:
    due = np.sort(run.frame["scheduled"].to_numpy())
    parts = np.split(run.latencies, np.searchsorted(due, edges[1:-1]))
    return [
        (
            float(edges[number]),
            float(edges[number + 1]),
            len(part),
            int(np.isinf(part).sum()),
            _null_if_infinite_quantile(part, 0.5),
            _null_if_infinite_quantile(part, quantile),
        )
        for number, part in enumerate(parts)
        if len(part)
    ]


def _null_if_infinite_quantile(latencies: NDArray[np.float64], q: float) -> float | None:
    """Return the smallest latency that a share `q` does not exceed, None when it is infinite."""
    value = select_quantile(latencies, q)
    return value if math.isfinite(value) else None


def plot_latency_over_time(
    runs: Runs, *, slo: SLO | None = None, log: bool | None = None
) -> Figure:
    """Return a chart of `latency_over_time`: a thick line at a high quantile, a thin at the median.

    The higher quantile is the target's, or p95. Crosses along the top mark when requests failed.
    `slo` and `log` as in `plot_latency_ecdf`.
    """
    import altair as alt
    import polars as pl

    members = name_results(runs)
    slo = slo or common_slo(members)
    quantile = slo.quantile if slo else 0.95
    upper = percentile(quantile)
    data = latency_over_time(runs, quantile=quantile)
    axis = LatencyAxis.over(data.select("median", "upper").to_numpy().ravel(), slo, log=log)
    layers = _lines(data, list(members), axis, upper)
    lines = f"Thick: {upper}, thin: median."
    if slo:
        target = alt.Chart(pl.DataFrame({"upper": [slo.latency]})).mark_rule(style="target")
        layers.insert(0, target.encode(y=axis.channel(alt.Y, "upper")))
        lines = f"{lines} Dashed: target {slo.label}."
    return Figure(
        data=data,
        chart=alt.layer(*layers),
        title="Latency over time",
        subtitle=(
            caption(members),
            lines,
            *_failures(members, "Crosses: failed, counted as infinitely late"),
        ),
        description=_describe(members),
    )


def _lines(
    data: "pl.DataFrame", names: list[str], axis: "LatencyAxis", upper: str
) -> "list[alt.Chart]":
    import altair as alt
    import polars as pl

    shown = data.with_columns(
        ((pl.col("start") + pl.col("stop")) / 2).alias("time (s)"),
        (1000 * pl.col("median")).alias("median (ms)"),
        (1000 * pl.col("upper")).alias("upper (ms)"),
    )
    time = alt.X(
        "time (s):Q",
        title="Time since the start (s)",
        scale=alt.Scale(domain=[0, float(data["stop"].to_numpy().max())], nice=False),
        axis=alt.Axis(tickCount=10),
    )
    high = alt.Tooltip("upper (ms):Q", title=f"{upper} (ms)")
    facts: list[Any] = ["run:N", "time (s):Q", "requests:Q", "failed:Q", "median (ms):Q", high]
    base = alt.Chart(shown).encode(x=time, color=colour(names))
    above = base.encode(y=axis.channel(alt.Y, "upper"))
    crosses = base.transform_filter("datum.failed > 0").mark_point(
        shape="cross", angle=45, size=60, filled=True
    )
    return [
        base.mark_line(strokeWidth=1).encode(y=axis.channel(alt.Y, "median")),
        draw_lines(above, names),
        draw_points(above.encode(tooltip=facts), names, size=40),
        crosses.encode(y=alt.value(6), tooltip=facts),
    ]


def _failures(runs: Mapping[str, Result], effect: str) -> tuple[str, ...]:
    """Return a line on the requests that failed and what that does to the chart, if any did."""
    failed = [
        f"{name} {len(run) - run.answered:,} of {len(run):,}"
        for name, run in runs.items()
        if isinstance(run, Run) and run.answered < len(run)
    ]
    return (f"{effect}: {'; '.join(failed)}.",) if failed else ()


def _describe(runs: Mapping[str, Result]) -> str:
    sentences = []
    for name, run in runs.items():
        known = [
            f"{percentile(q)} {duration(latency)}"
            for q in PERCENTILES
            if (latency := _finite_quantile(run, q)) is not None
        ]
        sentences.append(f"{name}: {', '.join(known) or 'too few requests for a percentile'}.")
    return " ".join([*sentences, *_failures(runs, "Failed")])
