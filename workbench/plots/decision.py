"""The decision: cost per month against latency, a point a type, the winner ringed."""

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from workbench.errors import InvalidInput
from workbench.formatting import dollars, duration, percent
from workbench.plots.axes import LatencyAxis, cost_settings, log_ticks
from workbench.plots.channels import colour_settings, shape_settings
from workbench.plots.figure import Figure
from workbench.plots.theme import INK, KINDS

if TYPE_CHECKING:
    import polars as pl

    from workbench.planner.decisions import Decision

_TOOLTIP = {
    "run": "type",
    "deployment": "deployment",
    "policy": "policy",
    "cost": "a month",
    "reached": "latency",
    "in_time": "in time",
    "verdict": "target",
    "unseen": "other days",
    "reason": "why",
}
_HEIGHT = 440  # the sentences above it take their share
_MAX_TARGET_RATIO = 5  # what is slower would press the rest together
_WORDS = 0.17  # share of the axis that a row's words take, with half of its frame
_MARKS = {
    "winner": (("circle", 420, 2.5), ("right", "left")),
    "today": (("square", 520, 1.5), ("left", "right")),
}
"""How a row stands out: shape, size and stroke of its frame, and how its words are aligned."""
_BESIDE = {
    "right": {"align": "right", "dx": -18, "baseline": "top", "dy": 4},
    "left": {"align": "left", "dx": 18, "baseline": "bottom", "dy": -12},
}
"""Words left of a point are below it, those right of it above: the front falls to the right."""


def decision_points(decision: "Decision") -> "pl.DataFrame":
    """Return what the picture shows: types, today's choice, and the front of the plan.

    Columns: those of `Decision.frame`, with `on` (what a row is: "type", "today" or "front") and
    `cost`, `reached` and `in_time` in words. Left out is what has no latency or costs nothing.
    """
    import polars as pl

    frame = decision.frame
    kinds = frame["kind"].to_list()
    alone = pl.col("today") & (pl.int_range(pl.len()) >= len(decision.plan.fields))
    rows = frame.with_columns(on=pl.when(alone).then(pl.lit("today")).otherwise(pl.lit("type")))
    front = decision.front.with_columns(
        verdict=pl.lit(""),
        front=pl.lit(value=True),
        winner=pl.lit(value=False),
        today=pl.lit(value=False),
        reason=pl.format("on the front, by the {}", "engine"),
        on=pl.lit("front"),
    ).select(rows.columns)
    shown = pl.concat([front.filter(pl.col("kind").is_in(kinds)), rows]).filter(
        pl.col("latency").is_finite() & (pl.col("cost_per_month") > 0)
    )
    words = {
        "cost": [dollars(each) for each in shown["cost_per_month"]],
        "reached": [duration(each) for each in shown["latency"]],
        "in_time": [percent(each) for each in shown["attainment"].fill_null(0.0)],
    }
    return shown.with_columns(**{n: pl.Series(w, dtype=pl.String) for n, w in words.items()})


def plot_decision(decision: "Decision") -> Figure:
    """Return a chart of `decision_points`: the target, the front as a line, the winner ringed.

    What is slower than 5 times the target stands at the right edge.

    Raises:
        InvalidInput: Nothing has both a latency and a cost.

    >>> from workbench.planner.decisions import decide
    >>> from workbench.quantiles import SLO
    >>> from workbench.service_times import ServiceTimes
    >>> from workbench.traffic.patterns import poisson
    >>> times = ServiceTimes.affine(0.02, 0.004, largest=8)
    >>> traffic = poisson(rate=40, duration=60, seed=1)
    >>> plot_decision(decide(times, traffic, SLO(latency=0.3))).title[:11]
    'Take lambda'
    """
    import polars as pl

    data = decision_points(decision).rename({"kind": "run"})
    limit = _MAX_TARGET_RATIO * decision.slo.latency
    near = data.filter(pl.col("latency") <= limit)
    if near.is_empty():
        near = data
    if near.is_empty():
        raise InvalidInput(
            "No inference type has both a latency and a cost to show: allow more of them, or give "
            "the machine a price."
        )
    axis = LatencyAxis.over(near["latency"].to_numpy(), decision.slo, log=None)
    head, tail = decision.sentence.split(": ", 1)
    notes = tail[:1].upper() + tail[1:], decision.today_sentence, _describe(decision, data)
    return Figure(
        data=data,
        chart={"height": _HEIGHT, "layer": _layers(decision, data, near, axis)},
        title=head,
        subtitle=notes,
        description=decision.sentence,
    )


def _layers(
    decision: "Decision", data: "pl.DataFrame", near: "pl.DataFrame", axis: LatencyAxis
) -> list[dict[str, Any]]:
    import polars as pl

    kinds = [kind for kind in KINDS if kind in set(data["run"])]
    quantile = decision.slo.percentile
    x = axis.settings() | {"title": f"{quantile} l{axis.settings()['title'][1:]}"}
    y = cost_settings("cost_per_month", "US dollars a month", near["cost_per_month"])
    low, high = y["scale"]["domain"]
    room = max(1.6, (high / low) ** 0.15)  # for words
    low, high = low / room, 2 * high
    y["scale"] |= {"clamp": True, "domain": [low, high]}
    y["axis"] |= {"values": log_ticks(low, high)}
    place = {"x": x, "y": y}
    tooltip = [{"field": name, "title": title} for name, title in _TOOLTIP.items()]
    by_kind = place | {"color": colour_settings(kinds), "tooltip": tooltip}
    front = near.filter(on="front")
    types = data.filter(on="type").reverse()  # the best is drawn over the others
    return [
        *_target(decision, axis, x),
        _layer(front, {"type": "line", "color": INK, "strokeWidth": 1.5, "opacity": 0.6}, place),
        _layer(
            types,
            {"type": "point", "filled": True, "size": 150, "opacity": 1},
            by_kind | {"shape": shape_settings(kinds)},
        ),
        _layer(front, {"type": "point", "filled": True, "size": 25, "opacity": 1}, by_kind),
        *_frames(
            data.filter(pl.col("on") != "front"),
            axis,
            place | {"tooltip": tooltip},
            decision,
        ),
    ]


def _layer(data: "pl.DataFrame", mark: dict[str, Any], encoding: dict[str, Any]) -> dict[str, Any]:
    return {"data": {"values": json.loads(data.write_json())}, "mark": mark, "encoding": encoding}


def _target(decision: "Decision", axis: LatencyAxis, x: dict[str, Any]) -> list[dict[str, Any]]:
    left = decision.slo.latency > axis.middle
    words = {"align": "right" if left else "left", "dx": -6 if left else 6, "baseline": "top"}
    at = {"values": [{"latency": decision.slo.latency, "note": f"target {decision.slo.label}"}]}
    return [
        {"data": at, "mark": {"type": "rule", "style": "target"}, "encoding": {"x": x}},
        {
            "data": at,
            "mark": {"type": "text", "style": "note", **words},
            "encoding": {"x": x, "y": {"value": 2}, "text": {"field": "note"}},
        },
    ]


def _frames(
    rows: "pl.DataFrame", axis: LatencyAxis, encoding: dict[str, Any], decision: "Decision"
) -> list[dict[str, Any]]:
    """Return the ring of the winner, the frame of today's choice, and their words."""
    import polars as pl

    layers = []
    for name, ((shape, size, stroke), sides) in _MARKS.items():
        said = "nearest" if name == "winner" and not decision.feasible else name
        row = rows.filter(name).with_columns(words=pl.format(f"{said}\n{{}}", "cost"))
        if row.is_empty():
            continue
        at, side = _place_words(row["latency"][0], axis, decision.slo.latency, sides)
        ring = {"type": "point", "shape": shape, "size": size, "strokeWidth": stroke, "color": INK}
        words = {"type": "text", "style": "note", "lineBreak": "\n", **side}
        layers += [
            _layer(row, ring, encoding),
            _layer(
                row.with_columns(latency=pl.lit(at)), words, encoding | {"text": {"field": "words"}}
            ),
        ]
    return layers


def _place_words(
    latency: float, axis: LatencyAxis, target: float, sides: Sequence[str]
) -> tuple[float, dict[str, Any]]:
    """Return where a row's words end or begin, in seconds, and how: beside its frame.

    They stand on the first side that has room and where they do not cross the target's line;
    where none is so, behind that line.
    """
    at, limit = axis.place(latency), axis.place(target)
    room = {
        "right": at - (limit if limit < at else 0.0),
        "left": (limit if limit > at else 1.0) - at,
    }
    for align in sides:
        if room[align] >= _WORDS:
            return latency, _BESIDE[align]
    return max(latency, target), _BESIDE["left"] | {"dx": 6 if at <= limit else 18}


def _describe(decision: "Decision", data: "pl.DataFrame") -> str:
    import polars as pl

    limit = _MAX_TARGET_RATIO * decision.slo.latency
    far = data.filter((pl.col("latency") > limit) & (pl.col("on") != "front"))
    if (data["latency"] > limit).all():
        far = far.clear()  # then the axis holds them all
    words = [
        "Simulated; on the line nothing is both faster and cheaper, the small points by formula."
    ]
    if far.height:
        each = ", ".join(f"{kind} ({late})" for kind, late in far.select("run", "reached").rows())
        words.append(f"At the right edge since slower: {each}.")
    if missing := [row for row in decision.rows if not row.possible]:
        words.append(f"Not possible: {', '.join(row.kind for row in missing)}.")
    if free := [row for row in decision.rows if row.possible and not row.cost_per_month]:
        words.append(f"Not shown, since no price is set: {', '.join(row.label for row in free)}.")
    return " ".join(words)
