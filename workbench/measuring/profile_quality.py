"""How far a profile can be trusted: when it was taken, how busy the machine was, what looks odd."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import polars as pl

MAX_SPREAD = 0.25
"""Of the median: more between the quartiles of one row comes of a busy machine."""

MEASURE_AGAIN = "wb.profile(model, fresh=True)"
"""What the caveat advises: a page, a shell and the app each have another name for it."""

_LEAST_SPREAD = 1e-4  # seconds: handing a batch to a thread varies by that on a machine at rest
_LOWER, _UPPER = 5, 15  # the quartiles among a row's 21 quantiles


@dataclass(frozen=True, kw_only=True)
class ProfileQuality:
    """What a profile says of the circumstances in which it was taken.

    Attributes:
        date: When, as ISO 8601 in UTC; "" where that is not known.
        spread: Seconds between the quartiles over the median, of the row where that is most, where
            it is more than handing a batch over takes; back to back.
        load: Processes that ran or waited to, in the minute before; None where that is not known.
        cores: Of the machine; None where that is not known.
        inversion: Batch sizes, a smaller and a larger, of which the larger took surely less time.
    """

    date: str
    spread: float
    load: float | None
    cores: int | None
    inversion: tuple[int, int] | None

    @property
    def doubts(self) -> tuple[str, ...]:
        """Why the machine may have been busy with something else, in sentences; () where not."""
        found = []
        if self.load is not None and self.cores and self.load > self.cores:
            found.append(f"The load was {self.load:.3g} on {self.cores} cores.")
        if self.spread > MAX_SPREAD:
            found.append(
                f"Half of the times of one batch size spread over {100 * self.spread:.0f} % of "
                "their median."
            )
        if self.inversion is not None:
            found.append("A batch of {1} took less time than one of {0}.".format(*self.inversion))
        return tuple(found)

    @property
    def caveat(self) -> str:
        """The doubts and what to do, in sentences; "" where there are none."""
        if not self.doubts:
            return ""
        when = f" on {self.date[:10]}" if self.date else ""
        return (
            f"The machine was busy when the model was profiled{when}: {' '.join(self.doubts)} "
            f"Measure again while it rests: {MEASURE_AGAIN}."
        )


def assess(frame: pl.DataFrame, facts: Mapping[str, Any], state: str) -> ProfileQuality:
    """Return the quality of a profile's rows of one state, and of its facts."""
    rows = frame.filter(state=state).sort("threads", "batch_size")
    spreads = [
        (row[_UPPER] - row[_LOWER]) / median
        for row, median in zip(rows["quantiles"], rows["median"], strict=True)
        if row[_UPPER] - row[_LOWER] > _LEAST_SPREAD
    ]
    return ProfileQuality(
        date=str(facts.get("created", "")),
        spread=max(spreads, default=0.0),
        load=facts.get("load"),
        cores=facts.get("environment", {}).get("cores"),
        inversion=_find_inversion(rows),
    )


def read_load() -> float | None:
    """Return how many processes ran or waited to, on average over a minute; None if unknown."""
    try:
        return os.getloadavg()[0]
    except (AttributeError, OSError):  # Windows has none
        return None


def _find_inversion(rows: pl.DataFrame) -> tuple[int, int] | None:
    """Return neighbouring sizes of which the larger is surely faster: their intervals lie apart."""
    columns = rows.select("threads", "batch_size", "low", "high").rows()
    for (threads, size, low, _), (others, larger, _, high) in pairwise(columns):
        if threads == others and high < low:
            return size, larger
    return None
