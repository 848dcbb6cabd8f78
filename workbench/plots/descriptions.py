"""A chart of anybody's in words, from its Vega-Lite specification: for who does not see it."""

from collections.abc import Iterator, Mapping
from typing import Any

_MARKS = {"arc": "Sectors", "area": "Areas", "boxplot": "Boxes", "geoshape": "A map"}
_MARKS |= {"circle": "Points", "square": "Points", "rect": "Tiles", "trail": "Lines"}
_MARKS |= {name: f"{name.capitalize()}s" for name in ("bar", "line", "point", "rule", "tick")}
_PARTS = "layer", "hconcat", "vconcat", "concat", "spec"


def describe_spec(spec: Mapping[str, Any]) -> str:
    """Return a sentence of a chart's first mark, what its axes show, and the number of its rows.

    Rows are named where the chart brings its data along.

    >>> axes = {"x": {"field": "day"}, "y": {"field": "rate", "aggregate": "mean"}}
    >>> describe_spec({"mark": "bar", "encoding": axes, "data": {"values": [1, 2, 3]}})
    'Bars: mean of rate by day, 3 rows'
    """
    views = list(_list_views(spec))
    marks = [view["mark"] for view in views if "mark" in view]
    kinds = [mark.get("type") if isinstance(mark, Mapping) else mark for mark in marks]
    shown: dict[str, Any] = {}
    for view in reversed(views):  # what a part says itself counts
        shown = {**_read(view, "encoding"), **shown}
    axes = " by ".join(filter(None, (_name_axis(_read(shown, name)) for name in ("y", "x"))))
    count = _count_rows(spec, views)
    rows = "" if count is None else f"{count:,} row{'s' * (count != 1)}"
    drawn = _MARKS.get(str(kinds[0]), "A chart") if kinds else "A chart"
    return ": ".join(filter(None, (drawn, ", ".join(filter(None, (axes, rows))))))


def _list_views(spec: Any) -> Iterator[Mapping[str, Any]]:  # noqa: ANN401 - whatever somebody wrote
    """Yield a specification and, at any depth, the first of the parts that it is made of."""
    while isinstance(spec, Mapping):
        yield spec
        inner = next((spec[name] for name in _PARTS if spec.get(name)), None)
        spec = inner[0] if isinstance(inner, list) else inner


def _read(spec: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """Return a part of a specification, empty where there is none."""
    found = spec.get(name)
    return found if isinstance(found, Mapping) else {}


def _name_axis(channel: Mapping[str, Any]) -> str:
    """Return what is drawn along an axis, "" where that is not said."""
    title = channel.get("title") or _read(channel, "axis").get("title")
    field, how = channel.get("field"), channel.get("aggregate")
    if title or not isinstance(how, str):
        return str(title or field or "")
    return f"{how} of {field or 'rows'}"


def _count_rows(spec: Mapping[str, Any], views: list[Mapping[str, Any]]) -> int | None:
    data = next(filter(None, (_read(view, "data") for view in views)), {})
    values = data.get("values", _read(spec, "datasets").get(str(data.get("name"))))
    return len(values) if isinstance(values, list) else None
