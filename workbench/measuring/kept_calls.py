"""What a profile keeps of the calls it timed: their tail, and a sample of them in order.

A profile takes at most some 64 kB on disk, so of many calls evenly spaced ones are kept,
`MAX_CALLS` in all rows together, and each to 0.05 %. The tail comes from all calls: quantiles from
the 90th percentile on in steps of 0.1 %, so that a figure between two of them is off by 0.1 % of
the calls at most, and the most is the longest call itself.
"""

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import polars as pl

Floats = NDArray[np.float64]

MAX_CALLS = 16_000  # four bytes each
TAIL_LEVELS = tuple(np.linspace(0.9, 1, 101).round(3).tolist())
"""The quantile levels of a service time's tail."""

COLUMNS = ("tail", "samples", "gaps")
_SECONDS_STEP, _GAPS_STEP = 0.001, 0.01  # relative: twice the error; few values take little room


def keep_calls(starts: Floats, seconds: Floats) -> dict[str, Any]:
    """Return the columns that keep calls: seconds at `TAIL_LEVELS`, and calls in order.

    "samples" are seconds, "gaps" the seconds from one call's start to the next's, the first since
    the profile's beginning.

    >>> kept = keep_calls(np.array([0.5, 1.5]), np.array([1.0, 1.0]))
    >>> kept["samples"], [round(gap, 2) for gap in kept["gaps"]]
    ([1.0, 1.0], [0.5, 1.0])
    """
    return {
        "tail": np.quantile(seconds, TAIL_LEVELS).tolist(),
        "samples": _round(seconds, _SECONDS_STEP).tolist(),
        "gaps": _round(np.diff(starts, prepend=0.0), _GAPS_STEP).tolist(),
    }


def thin_calls(frame: "pl.DataFrame") -> "pl.DataFrame":
    """Return a profile's rows with no more calls in all than may be kept.

    Rows with many calls keep every second, third, ... of them; what short rows leave is theirs.
    """
    import polars as pl

    room = _find_room(frame["samples"].list.len().fill_null(0).to_list())
    kept = {
        name: [_thin(name, calls, room) for calls in frame[name]] for name in ("samples", "gaps")
    }
    return frame.with_columns(
        pl.Series(name, calls, pl.List(pl.Float32())) for name, calls in kept.items()
    )


def _find_room(counts: list[int]) -> int:
    """Return how many calls a row may keep."""
    left = MAX_CALLS
    for place, count in enumerate(sorted(counts)):
        room = left // (len(counts) - place)
        if count > room:
            return max(1, room)
        left -= count
    return MAX_CALLS


def _thin(name: str, calls: "pl.Series | None", room: int) -> list[float] | None:
    if calls is None:
        return None
    values: Floats = calls.to_numpy().astype(np.float64)
    step = -(-len(values) // room)
    if step > 1 and name == "samples":
        values = values[::step]
    # instants are thinned, as the rounding of gaps would add up
    elif step > 1:
        values = _round(np.diff(np.cumsum(values)[::step], prepend=0.0), _GAPS_STEP)
    return [float(value) for value in values]


def delay_calls(frame: "pl.DataFrame", seconds: float) -> "pl.DataFrame":
    """Return rows whose calls began so much later: after those of an earlier profile."""
    import polars as pl

    later = [
        None if gaps is None else [gaps[0] + seconds, *gaps[1:]] for gaps in frame["gaps"].to_list()
    ]
    return frame.with_columns(pl.Series("gaps", later, pl.List(pl.Float32())))


def _round(values: Floats, step: float) -> Floats:
    """Return values to steps of a share of theirs."""
    positive = np.maximum(values, 1e-9)  # 0 has no logarithm
    return np.exp(np.rint(np.log(positive) / step) * step)
