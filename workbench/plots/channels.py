"""Colour, dash and shape of the series of a chart, and a panel for each."""

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from workbench.plots.theme import DASHES, KINDS, PALETTE, SHAPES, WIDTH

if TYPE_CHECKING:
    import altair as alt


def colour(names: Sequence[str], field: str = "run", shown: Sequence[str] = ()) -> "alt.Color":
    """Return the colour channel of a field, by default of `run`; the legend has those `shown`."""
    import altair as alt

    return alt.Color(**{**colour_settings(names, shown), "field": field})


def draw_lines(chart: "alt.Chart", names: Sequence[str], **mark: Any) -> "alt.Chart":  # noqa: ANN401 - of Altair's lines
    """Return lines of a chart's data, each in the colour and dash of its `run`."""
    import altair as alt

    mark = {"strokeWidth": 2.5, **mark}
    dashes = alt.StrokeDash("dash:N", scale=None)
    drawn: alt.Chart = chart.transform_calculate(**dash(names)).mark_line(**mark)
    return drawn.encode(color=colour(names), strokeDash=dashes)


def draw_points(
    chart: "alt.Chart", names: Sequence[str], *, shown: Sequence[str] = (), size: int = 60
) -> "alt.Chart":
    """Return points of a chart's data, each in the colour and shape of its `run`."""
    drawn: alt.Chart = chart.mark_point(filled=True, size=size, opacity=1)
    return drawn.encode(color=colour(names, shown=shown), shape=shape(names, shown))


def draw_limit(
    channel: Any,  # noqa: ANN401 - alt.X or alt.Y
    at: float,
    words: str,
    *,
    right: bool,
) -> "list[alt.Chart]":
    """Return a line across the chart at a channel's value, and right or left what it stands for."""
    import altair as alt
    import polars as pl

    upright, field = isinstance(channel, alt.X), channel.to_dict()["field"]
    base = alt.Chart(pl.DataFrame({field: [at], "note": [words]}))
    base = base.encode(**{"x" if upright else "y": channel})
    note = base.mark_text(
        style="note",
        align="left" if right else "right",
        baseline="top" if upright else "bottom",
        dx=6 if right else -6,
        dy=0 if upright else -4,
    )
    across = {"y": alt.value(2)} if upright else {"x": alt.value(0 if right else "width")}
    return [base.mark_rule(style="target"), note.encode(text="note:N", **across)]


def dash(names: Sequence[str]) -> dict[str, str]:
    """Return the calculation of the field `dash`; drawn without a scale, it stays off legends."""
    dashes = _repeat(DASHES, names)
    return {"dash": f"{json.dumps(dashes)}[indexof({json.dumps(list(names))}, datum.run)]"}


def shape(names: Sequence[str], shown: Sequence[str] = ()) -> "alt.Shape":
    """Return the point shape channel of the field `run`."""
    import altair as alt

    return alt.Shape(**shape_settings(names, shown))


def tooltips(*fields: "str | alt.Tooltip") -> "list[alt.Tooltip]":
    """Return the channel of what the pointer shows; written as texts Altair takes it 3 ms each."""
    import altair as alt

    return [alt.Tooltip(each) if isinstance(each, str) else each for each in fields]


def panels(field: str, values: Sequence[str]) -> "alt.Row":
    """Return the facet of one panel a value, in this order, each with the value as its head."""
    import altair as alt

    header = alt.Header(orient="top", labelAnchor="start")
    return alt.Row(f"{field}:N", title=None, sort=list(values), header=header)


def colour_settings(names: Sequence[str], shown: Sequence[str] = ()) -> dict[str, Any]:
    """Return the colour channel of the field `run` as Vega-Lite writes it."""
    return _channel(names, PALETTE, shown)


def shape_settings(names: Sequence[str], shown: Sequence[str] = ()) -> dict[str, Any]:
    """Return the point shape channel of the field `run` likewise."""
    return _channel(names, SHAPES, shown)


def _channel(names: Sequence[str], marks: Sequence[Any], shown: Sequence[str]) -> dict[str, Any]:
    width = 84 + 7 * max(len(name) for name in names)  # a rough measure of a symbol and its label
    return {
        "field": "run",
        "type": "nominal",
        "scale": {"domain": list(names), "range": _repeat(marks, names)},
        "title": None,
        "legend": {
            "orient": "top",
            "columns": max(1, WIDTH // width),
            **({"values": list(shown)} if shown else {}),
        },
    }


def _repeat(values: Sequence[Any], names: Sequence[str]) -> list[Any]:
    """Return a value for each name: by its place, or by that of the inference type that it is."""
    places = map(KINDS.index, names) if set(names) <= set(KINDS) else range(len(names))
    return [values[place % len(values)] for place in places]
