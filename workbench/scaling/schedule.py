"""Counts that were set beforehand."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from workbench.errors import InvalidInput
from workbench.scaling.base import Counts, Reading, ScalingRule
from workbench.settings import setting
from workbench.validation import as_tuple, not_negative, whole_number


def _check_changes(name: str, value: object) -> tuple[tuple[float, Counts], ...]:
    changes, before = as_tuple(name, value), -1.0
    for change in changes:
        if len(as_tuple("A scheduled change", change)) != 2:
            raise InvalidInput(f"A scheduled change is seconds and a count, got {change!r}.")
    for instant, count in changes:
        if not_negative("A scheduled instant", instant, "seconds") <= before:
            raise InvalidInput(f"Instants must increase from 0, got {list(changes)}.")
        for each in count.values() if isinstance(count, Mapping) else (count,):
            whole_number("A scheduled count", each, low=0)
        before = instant
    return tuple(
        (float(at), dict(count) if isinstance(count, Mapping) else int(count))
        for at, count in changes
    )


@dataclass(frozen=True)
class Schedule(ScalingRule):
    """So many instances from this instant on: pairs of seconds and a count, in order of time.

    The counts of a fleet that mixes types are mappings by instance type.

    Raises:
        InvalidInput: Instants do not increase from 0, or a count is not a whole number from 0.

    >>> scaler = Schedule([(60.0, 4), (300.0, 1)]).scaler()
    >>> scaler.due, scaler.decide(Reading(0, 0, 0, 0, 1, 0), now=60.0), scaler.due
    (60.0, 4, 300.0)
    """

    kind: ClassVar[str] = "schedule"

    changes: Sequence[tuple[float, Counts]] = field(
        metadata=setting("Changes", "pairs of seconds and a count", _check_changes)
    )

    @property
    def totals(self) -> tuple[int, ...]:
        """The instances of each change, all types together."""
        return tuple(
            sum(count.values()) if isinstance(count, Mapping) else count
            for _, count in self.changes
        )

    def scaler(self) -> "_ScheduleScaler":
        """Return a fresh scaler."""
        return _ScheduleScaler(self.changes)


class _ScheduleScaler:
    def __init__(self, changes: Sequence[tuple[float, Counts]]) -> None:
        self._changes = changes
        self._past = 0

    @property
    def due(self) -> float:
        return self._changes[self._past][0] if self._past < len(self._changes) else math.inf

    def decide(self, reading: Reading, now: float) -> Counts:  # noqa: ARG002 - the protocol's words
        self._past += 1
        return self._changes[self._past - 1][1]
