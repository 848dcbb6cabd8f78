"""When a batch goes to the overflow of a `Hybrid` and not to an instance of its base."""

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, NamedTuple

from workbench.errors import InvalidInput
from workbench.formatting import duration
from workbench.settings import (
    amount,
    build_from_dict,
    check_settings,
    optional,
    positive_amount,
    setting,
    settings_to_dict,
    whole,
)
from workbench.validation import as_tuple, not_negative


class OfferedBatch(NamedTuple):
    """A batch as it is offered to the base: what a spill rule looks at."""

    size: int
    """Its requests."""
    waited: float
    """Seconds since the first of them was due."""
    in_flight: int
    """Batches waiting at, or served by, the instance that would take it."""
    workers: int
    """Batches that this instance serves at once."""
    ready: int
    """Instances that can serve."""
    starting: int
    """Instances that boot."""


@dataclass(frozen=True)
class SpillRule(ABC):
    """Base of the rules.

    Raises:
        InvalidInput: A setting is out of its limits.
    """

    kind: ClassVar[str]

    def __post_init__(self) -> None:
        check_settings(self)

    @property
    @abstractmethod
    def label(self) -> str:
        """The rule in a few words."""

    @property
    def hedge_after(self) -> float:
        """Seconds after which a batch without an answer is sent to the overflow, too."""
        return math.inf

    def spills(self, offered: OfferedBatch) -> bool:
        """Return whether a batch goes to the overflow; without any instance it always does."""
        return not offered.ready or self._spills(offered)

    @abstractmethod
    def _spills(self, offered: OfferedBatch) -> bool:
        """Return whether a batch goes to the overflow though there are instances."""

    def to_dict(self) -> dict[str, Any]:
        """Return kind and settings as JSON values."""
        return settings_to_dict(self)


@dataclass(frozen=True)
class InFlight(SpillRule):
    """A batch spills where every instance has `most` batches in flight already.

    Of a fleet that is routed at random, in simulations, where the one drawn has.

    >>> InFlight(2).spills(OfferedBatch(1, 0.0, in_flight=2, workers=1, ready=3, starting=0))
    True
    """

    kind: ClassVar[str] = "in flight"

    most: int = optional(
        1, "In flight", "batches waiting at or served by an instance at most", whole(0)
    )

    @property
    def label(self) -> str:
        """The rule in a few words."""
        return f"past {self.most} in flight"

    def _spills(self, offered: OfferedBatch) -> bool:
        return offered.in_flight >= self.most


@dataclass(frozen=True)
class WhileBooting(InFlight):
    """As `InFlight`, but only while instances boot; at other times a batch waits for one."""

    kind: ClassVar[str] = "while booting"

    @property
    def label(self) -> str:
        """The rule in a few words."""
        return f"past {self.most} in flight while instances boot"

    def _spills(self, offered: OfferedBatch) -> bool:
        return offered.starting > 0 and super()._spills(offered)


def _check_service(name: str, value: object) -> tuple[float, ...]:
    seconds = tuple(
        not_negative(f"Each of {name}", each, "seconds") for each in as_tuple(name, value)
    )
    if not seconds:
        raise InvalidInput(f"{name} must be at least one service time, in seconds, got none.")
    return seconds


@dataclass(frozen=True, kw_only=True)
class ByDeadline(SpillRule):
    """A batch spills that would miss the target in the queue of the instance.

    It is expected to wait until those before it are served, and then to be served itself, as long
    as `service` says: the seconds of a batch of 1, 2, ... requests, the last for all larger ones.

    >>> rule = ByDeadline(latency=0.1, service=(0.04,))
    >>> [rule.spills(OfferedBatch(1, 0.0, waiting, 1, 1, 0)) for waiting in (1, 2)]
    [False, True]
    """

    kind: ClassVar[str] = "by deadline"

    latency: float = field(metadata=setting("Target (s)", "seconds", positive_amount("seconds")))
    service: Sequence[float] = field(
        metadata=setting(
            "Service (s)", "seconds of a batch, by its requests from 1", _check_service
        )
    )
    margin: float = optional(0.0, "Margin (s)", "seconds to spare", amount("seconds"))

    @property
    def label(self) -> str:
        """The rule in a few words."""
        return f"what would take more than {duration(self.latency - self.margin, 6)}"

    def service_of(self, size: int) -> float:
        """Return the seconds that a batch of so many requests is taken to be served."""
        return self.service[min(size, len(self.service)) - 1]

    def _spills(self, offered: OfferedBatch) -> bool:
        turns = offered.in_flight // offered.workers + 1
        expected = offered.waited + turns * self.service_of(offered.size)
        return expected > self.latency - self.margin


@dataclass(frozen=True, kw_only=True)
class Hedge(SpillRule):
    """A batch without an answer after a delay goes to the overflow, too: the first answer counts.

    Both are billed (J. Dean and L. Barroso, "The Tail at Scale", CACM 2013).

    >>> Hedge(after=0.2).hedge_after
    0.2
    """

    kind: ClassVar[str] = "hedge"

    after: float = field(metadata=setting("After (s)", "seconds", positive_amount("seconds")))

    @property
    def label(self) -> str:
        """The rule in a few words."""
        return f"hedged after {duration(self.after, 6)}"

    @property
    def hedge_after(self) -> float:
        """The delay."""
        return self.after

    def _spills(self, offered: OfferedBatch) -> bool:
        return False


SPILL_RULES: dict[str, type[SpillRule]] = {
    each.kind: each for each in (InFlight, ByDeadline, Hedge, WhileBooting)
}
"""The rules by kind."""


def as_spill_rule(name: str, value: object) -> SpillRule:
    """Return a rule, given as such or as its dictionary; refuse what is neither."""
    given = build_from_dict(name, SPILL_RULES, value) if isinstance(value, Mapping) else value
    if not isinstance(given, SpillRule):
        raise InvalidInput(f"{name} must be a rule such as InFlight(1), got {given!r}.")
    return given
