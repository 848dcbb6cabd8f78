"""Scales of latencies and of amounts, and how a target is written on them."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from workbench.quantiles import SLO

_MIN_LOG_RATIO = 30  # latencies that span more than this factor are shown on a log scale


@dataclass(frozen=True, kw_only=True)
class LatencyAxis:
    """The scale of latencies: seconds inside, milliseconds at the labels."""

    low: float
    high: float
    log: bool

    @classmethod
    def over(
        cls, latencies: NDArray[np.float64], slo: SLO | None, *, log: bool | None
    ) -> "LatencyAxis":
        """Return one that covers latencies and target; None: logarithmic where they span much."""
        shown = [*latencies[np.isfinite(latencies)], *([slo.latency] if slo else [])]
        positive = [latency for latency in shown if latency > 0] or [1.0]
        low, high = min(positive), max(positive)
        if log is None:
            log = high > _MIN_LOG_RATIO * low and len(positive) == len(shown)
        return cls(low=low / 1.1 if log else 0.0, high=1.05 * high, log=log)

    @property
    def middle(self) -> float:
        """The latency in the middle of the axis."""
        return math.sqrt(self.low * self.high) if self.log else (self.low + self.high) / 2

    def place(self, latency: float) -> float:
        """Return where a latency stands: 0 at the left end, 1 at the right one or beyond it."""
        low, high, at = (
            math.log(each) if self.log else each for each in (self.low, self.high, latency)
        )
        return min(1.0, (at - low) / (high - low))

    def settings(self, field: str = "latency") -> dict[str, Any]:
        """Return the channel for a field in seconds as Vega-Lite writes it."""
        return {
            "field": field,
            "type": "quantitative",
            "title": f"Latency ({'ms, log scale' if self.log else 'ms'})",
            "scale": {
                "domain": [self.low, self.high],
                "type": "log" if self.log else "linear",
                "nice": False,
                "clamp": True,
            },
            "axis": {
                "labelExpr": "format(datum.value * 1000, ',.4~r')",
                **({"values": log_ticks(self.low, self.high)} if self.log else {"tickCount": 8}),
            },
        }

    def channel(self, kind: Any, field: str = "latency") -> Any:  # noqa: ANN401
        """Return the channel `kind` (alt.X or alt.Y) for a field in seconds."""
        return kind(**self.settings(field))


def cost_settings(
    field: str, title: str, amounts: Iterable[float | None], *, room: float = 1.2
) -> dict[str, Any]:
    """Return the channel of a cost as Vega-Lite writes it, on a log scale unless one is free.

    `room` is the factor by which the scale goes beyond the amounts at both ends.
    """
    known = [each for each in amounts if each is not None and math.isfinite(each)]
    axis = {"format": "$,.4~r"}
    channel = {"field": field, "type": "quantitative", "title": title, "axis": axis}
    if min(known, default=0.0) <= 0:
        return channel
    low, high = min(known) / room, room * max(known)
    return channel | {
        "title": f"{title}, log scale",
        "scale": {"type": "log", "domain": [low, high], "nice": False},
        "axis": {**axis, "values": log_ticks(low, high)},
    }


def log_ticks(low: float, high: float) -> list[float]:
    """Return 1, 2 and 5 times powers of ten; over more than four decades the powers alone.

    >>> log_ticks(0.3, 4)
    [0.5, 1.0, 2.0]
    """
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    steps = (1, 2, 5) if high < 10_000 * low else (1,)
    ticks = [step * 10.0**decade for decade in decades for step in steps]
    return [tick for tick in ticks if low <= tick <= high]
