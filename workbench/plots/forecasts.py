"""Forecasts against what came, and what an error less is worth."""

import copy
from collections.abc import Sequence
from typing import TypeVar

import altair as alt
import numpy as np
import polars as pl

from workbench.errors import InvalidInput
from workbench.forecasts.base import Forecaster, ask_forecaster
from workbench.plots.channels import draw_points, tooltips
from workbench.plots.figure import Figure
from workbench.plots.theme import INK, PALETTE
from workbench.traffic.trace import Trace
from workbench.validation import inner_share, positive, whole_number

T = TypeVar("T")

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)  # the median, and bands of a half and of nine tenths
_PAST = 2  # periods before the forecast that are shown, for each one after it


def forecast_fan(
    forecaster: Forecaster,
    trace: Trace,
    *,
    origin: float,
    steps: int = 30,
    period: float = 60.0,
    quantiles: Sequence[float] = QUANTILES,
) -> pl.DataFrame:
    """Return what a forecaster says at an instant, and what came then and before.

    Columns: seconds (a period's start), requests (that came; null where the trace is over), and
    a column for each quantile, "0.05" for example, null before the instant. The forecaster itself
    stays as it is: a copy learns the periods that have closed.

    Args:
        forecaster: Anything with `fit` and `forecast`.
        trace: The requests.
        origin: Seconds; the periods before it are known.
        steps: Periods that are forecast.
        period: Seconds.
        quantiles: Which ones, above 0 and below 1.

    Raises:
        InvalidInput: No period closes before the origin, or an argument is out of its limits.
        TooFewSamples: The forecaster cannot learn from so few periods.

    >>> from workbench.traffic.patterns import constant
    >>> class Same:
    ...     def fit(self, counts, period): self.last = counts[-1]
    ...     def forecast(self, steps, quantiles): return np.full((steps, len(quantiles)), self.last)
    >>> trace = constant(rate=2, duration=4)
    >>> forecast_fan(Same(), trace, origin=3, steps=1, period=1, quantiles=[0.5]).rows()[-1]
    (3.0, 2, 2.0)
    """
    whole_number("steps", steps, low=1)
    levels = [inner_share("Each of quantiles", each) for each in quantiles]
    counts = trace.counts(positive("period", period, "seconds"))
    known = int(positive("origin", origin, "seconds") // period)
    if not 1 <= known <= len(counts):
        raise InvalidInput(
            f"origin must be within the trace and after a period of {period:g} s, got {origin:g}."
        )
    learned = copy.deepcopy(forecaster)
    learned.fit(counts[:known], period)
    ahead = ask_forecaster(learned, steps, levels)
    first = max(0, known - _PAST * steps)
    shown = np.arange(first, known + steps)
    came = [int(counts[each]) if each < len(counts) else None for each in shown]
    columns = {"seconds": shown * float(period), "requests": pl.Series(came, dtype=pl.Int64)}
    before: list[float | None] = [None] * (known - first)
    for number, level in enumerate(levels):
        columns[f"{level:g}"] = pl.Series([*before, *ahead[:, number]], dtype=pl.Float64)
    return pl.DataFrame(columns)


def plot_forecast_fan(
    forecaster: Forecaster,
    trace: Trace,
    *,
    origin: float,
    steps: int = 30,
    period: float = 60.0,
    quantiles: Sequence[float] = QUANTILES,
    name: str = "",
) -> Figure:
    """Return a chart of `forecast_fan`: bands between quantiles, the middle one as a line."""
    levels = sorted(quantiles)
    given = {"origin": origin, "steps": steps, "period": period, "quantiles": levels}
    data = forecast_fan(forecaster, trace, **given)  # type: ignore[arg-type]  # each by its name
    names = [f"{level:g}" for level in levels]
    pairs = _pair_ends(names)
    ahead = data.drop_nulls(names[0])
    base = alt.Chart(ahead).encode(
        x=alt.X("seconds:Q", title="Seconds since the start of the trace")
    )
    bands = [
        base.mark_area(color=PALETTE[0], opacity=0.28)
        .encode(y=alt.Y("low:Q", title="Requests a period"), y2=alt.Y2("high:Q"))
        .transform_calculate(low=f"datum['{low}']", high=f"datum['{high}']")
        for low, high in pairs
    ]
    middle = (
        base.mark_line(color=PALETTE[3], strokeWidth=2.5, strokeDash=[6, 3])
        .encode(y=alt.Y("middle:Q"))
        .transform_calculate(middle=f"datum['{names[len(names) // 2]}']")
    )
    came = alt.Chart(data.drop_nulls("requests")).mark_line(color=INK, strokeWidth=2, point=True)
    line = came.encode(
        x=alt.X("seconds:Q"), y=alt.Y("requests:Q"), tooltip=tooltips("seconds:Q", "requests:Q")
    )
    words = _describe_fan(ahead, names)
    spans = ", ".join(f"{100 * low:g} to {100 * high:g} %" for low, high in _pair_ends(levels))
    bands_shown = f"Bands: {spans}; dashed: the median. Grey: what came."
    return Figure(
        data=data,
        chart=alt.layer(*bands, middle, line),
        title=f"Forecast {name}".strip(),
        subtitle=(f"Predicted at {origin:,.0f} s. {bands_shown}", words),
        description=words,
    )


def _pair_ends(levels: Sequence[T]) -> list[tuple[T, T]]:
    """Return the first and the last, the second and the last but one, ..."""
    return list(zip(levels, reversed(levels), strict=True))[: len(levels) // 2]


def _describe_fan(ahead: pl.DataFrame, names: Sequence[str]) -> str:
    known = ahead.drop_nulls("requests")
    if known.is_empty():
        return "The trace is over: nothing came that the forecast could be held against."
    inside = known.filter(
        (pl.col("requests") >= pl.col(names[0])) & (pl.col("requests") <= pl.col(names[-1]))
    )
    return (
        f"Of {known.height} periods ahead {inside.height} are within the widest band, "
        f"{names[0]} to {names[-1]}."
    )


# ------------------------------------------------------------------------ bill against error


_BILLS = {"simulated_dollars": "Simulated", "dollars": "Predicted"}  # the better one first


def bill_and_error(table: pl.DataFrame, *, ahead: float | None = None) -> pl.DataFrame:
    """Return which forecasters are beaten: columns run, rmse, dollars, beaten_by, known_by.

    `beaten_by` is one with a larger error and a lower bill, the cheapest of these, null where there
    is none: a smaller error was not worth anything there.

    Args:
        table: The frame of a `Backtest`: forecaster, rmse_60s and its like (requests a period),
            and simulated_dollars or else dollars.
        ahead: Seconds ahead that the error is of; by default the first in the table.

    Raises:
        InvalidInput: It has no rows, or lacks a column.

    >>> import polars as pl
    >>> table = pl.DataFrame({"forecaster": ["a", "b"], "rmse_60s": [1.0, 2.0], "dollars": [9, 8]})
    >>> bill_and_error(table)["beaten_by"].to_list()
    ['b', None]
    """
    errors = [name for name in table.columns if name.startswith("rmse")]
    error = f"rmse_{ahead:g}s" if ahead is not None else next(iter(errors), "rmse_60s")
    bills = [name for name in _BILLS if name in table.columns and table[name].is_not_null().all()]
    if table.is_empty() or not bills or not {"forecaster", error} <= set(table.columns):
        raise InvalidInput(
            f"table must have rows, and columns forecaster, {error} and dollars; it has "
            f"{table.height} rows of {table.columns}: pass backtest(..., capacity=...).frame."
        )
    shown = table.select(pl.col("forecaster").alias("run"), rmse=error, dollars=bills[0])
    cheapest = shown.sort("dollars").rows()
    beaten = [
        next((name for name, larger, bill in cheapest if larger > rmse and bill < dollars), None)
        for _, rmse, dollars in shown.rows()
    ]
    return shown.with_columns(
        pl.Series("beaten_by", beaten, dtype=pl.String), known_by=pl.lit(_BILLS[bills[0]])
    )


def plot_bill_and_error(table: pl.DataFrame, *, ahead: float | None = None) -> Figure:
    """Return a chart of `bill_and_error`: a point for each forecaster."""
    data = bill_and_error(table, ahead=ahead)
    names = data["run"].to_list()
    base = alt.Chart(data).encode(
        x=alt.X("rmse:Q", title="Error of the forecast (RMSE, requests a period)"),
        y=alt.Y("dollars:Q", title="US dollars", axis=alt.Axis(format="$,.4~r")),
        tooltip=tooltips("run:N", "rmse:Q", "dollars:Q", "beaten_by:N"),
    )
    beaten = [
        f"{run} errs less than {by} and costs more."
        for run, by in data.select("run", "beaten_by").rows()
        if by is not None
    ]
    sentences = beaten or ["The smaller the error, the lower the bill."]
    return Figure(
        data=data,
        chart=draw_points(base, names, size=130),
        title="Bill against forecast error",
        subtitle=(f"{data['known_by'][0]}.", *sentences),
        description=" ".join(sentences),
    )
