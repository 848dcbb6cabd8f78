"""How many instances a fleet should have: a policy is a value, its scaler is told the time.

Nothing here reads a clock. Simulator and live runs ask the same scaler, whenever it is due::

    scaler = ScaleToZero(count=1, idle=900).scaler()
    scaler.due                                   # 60.0: a minute has closed
    scaler.decide(reading, now=60.0)             # 1: something waits, and nothing serves
"""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple, Protocol

from workbench.checks import as_tuple, not_negative, positive, whole_number
from workbench.errors import InvalidInput


class Reading(NamedTuple):
    """A fleet as its scaler sees it: what happened since the last reading, and how things stand."""

    arrived: int
    """Batches that arrived since the last reading, those of this very instant excluded."""
    done: int
    """Batches that were answered or expired since the last reading."""
    waiting: int
    """Batches that wait for an instance."""
    serving: int
    """Batches being served."""
    ready: int
    """Instances that can serve, without those on their way out."""
    starting: int
    """Instances that boot."""


class Scaler(Protocol):
    """Decides on the size of a fleet."""

    @property
    def due(self) -> float:
        """The instant at which `decide` has to be called next; infinite when there is none."""
        ...

    def decide(self, reading: Reading, now: float) -> int:
        """Return how many instances there should be, booting ones included; `due` moves on."""
        ...


class ScalingPolicy(Protocol):
    """Anything that makes a scaler."""

    def scaler(self) -> Scaler:
        """Return a fresh scaler."""
        ...

    def to_dict(self) -> dict[str, Any]:
        """Return kind and settings as JSON values."""
        ...


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

    def scaler(self) -> "_Scheduled":
        """Return a fresh scaler."""
        return _Scheduled(self.changes)


class _Scheduled:
    def __init__(self, changes: Sequence[tuple[float, int]]) -> None:
        self._changes = changes
        self._past = 0

    @property
    def due(self) -> float:
        return self._changes[self._past][0] if self._past < len(self._changes) else math.inf

    def decide(self, reading: Reading, now: float) -> int:  # noqa: ARG002 - the protocol's words
        self._past += 1
        return self._changes[self._past - 1][1]


@dataclass(frozen=True, kw_only=True)
class ScaleToZero:
    """No instance without work: `count` when something waits and none is there, 0 when idle.

    Asked at the end of each `period`, as SageMaker's alarm on HasBacklogWithoutCapacity is; the
    fleet goes after nothing arrived, waited or was served for `idle` seconds. Both are inferred.

    Raises:
        InvalidInput: A number is out of its limits.

    >>> scaler = ScaleToZero(count=2).scaler()
    >>> reading = Reading(arrived=3, done=0, waiting=3, serving=0, ready=0, starting=0)
    >>> scaler.decide(reading, now=60.0)
    2
    """

    count: int = 1
    idle: float = 900.0
    period: float = 60.0

    def __post_init__(self) -> None:
        whole_number("count", self.count, low=1)
        not_negative("idle", self.idle, "seconds")
        positive("period", self.period, "seconds")

    def to_dict(self) -> dict[str, Any]:
        """Return kind and settings as JSON values."""
        return {"kind": "scale to zero", **asdict(self)}

    def scaler(self) -> "_ToZero":
        """Return a fresh scaler."""
        return _ToZero(self)


class _ToZero:
    def __init__(self, policy: ScaleToZero) -> None:
        self._policy = policy
        self._periods = 1
        self._active = 0.0

    @property
    def due(self) -> float:
        return self._periods * self._policy.period

    def decide(self, reading: Reading, now: float) -> int:
        self._periods += 1
        if reading.arrived or reading.done or reading.waiting or reading.serving:
            self._active = now
        there = reading.ready + reading.starting
        if reading.waiting and not there:
            return self._policy.count
        return 0 if now - self._active >= self._policy.idle else there
