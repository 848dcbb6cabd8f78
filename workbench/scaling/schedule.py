"""Counts that were set beforehand."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from workbench.errors import InvalidInput
from workbench.scaling.base import Reading
from workbench.validation import as_tuple, not_negative, whole_number


@dataclass(frozen=True)
class Schedule:
    """So many instances from this instant on: pairs of seconds and a count, in order of time.

    Raises:
        InvalidInput: Instants do not increase from 0, or a count is not a whole number from 0.

    >>> scaler = Schedule([(60.0, 4), (300.0, 1)]).scaler()
    >>> scaler.due, scaler.decide(Reading(0, 0, 0, 0, 1, 0), now=60.0), scaler.due
    (60.0, 4, 300.0)
    """

    changes: Sequence[tuple[float, int]]

    def __post_init__(self) -> None:
        before = -1.0
        for change in as_tuple("changes", self.changes):
            if len(as_tuple("A scheduled change", change)) != 2:
                raise InvalidInput(f"A scheduled change is seconds and a count, got {change!r}.")
        for instant, count in self.changes:
            if not_negative("A scheduled instant", instant, "seconds") <= before:
                raise InvalidInput(f"Instants must increase from 0, got {list(self.changes)}.")
            whole_number("A scheduled count", count, low=0)
            before = instant
        object.__setattr__(self, "changes", tuple((float(at), count) for at, count in self.changes))

    def to_dict(self) -> dict[str, Any]:
        """Return kind and settings as JSON values."""
        return {"kind": "schedule", "changes": [list(change) for change in self.changes]}

    def scaler(self) -> "_ScheduleScaler":
        """Return a fresh scaler."""
        return _ScheduleScaler(self.changes)


class _ScheduleScaler:
    def __init__(self, changes: Sequence[tuple[float, int]]) -> None:
        self._changes = changes
        self._past = 0

    @property
    def due(self) -> float:
        return self._changes[self._past][0] if self._past < len(self._changes) else math.inf

    def decide(self, reading: Reading, now: float) -> int:  # noqa: ARG002 - the protocol's words
        self._past += 1
        return self._changes[self._past - 1][1]
