"""What a scaling policy is: a value, whose scaler gets the time and a reading of its fleet.

Nothing here reads a clock. Simulator, live runs and local cloud ask the same scaler, whenever it
is due.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, ClassVar, NamedTuple, Protocol

from workbench.errors import InvalidInput
from workbench.settings import build_from_dict, check_settings, settings_to_dict
from workbench.validation import whole_number


class TypeCount(NamedTuple):
    """The instances of one type in a fleet that mixes types."""

    ready: int
    """Instances that can serve, without those on their way out."""
    starting: int
    """Instances that boot."""


Counts = int | Mapping[str, int]
"""How many instances there should be, booting ones included: of a fleet that mixes types, by type;
a type that is not named gets none."""


def require_policy(value: object) -> None:
    """Require a scaling policy: what makes a scaler, and says what it is in JSON values."""
    if not (hasattr(value, "scaler") and hasattr(value, "to_dict")):
        raise InvalidInput(
            f"scaling must be a policy such as ScaleToZero, got {value!r}: it needs the methods "
            "scaler and to_dict."
        )


def count_by_type(wanted: object, types: Sequence[str]) -> dict[str, int]:
    """Return how many instances of each type a scaler's answer asks for.

    Raises:
        InvalidInput: It is no count, or does not name the types of a fleet that mixes them.

    >>> count_by_type({"small": 2}, ["small", "large"]), count_by_type(3, ["small"])
    ({'small': 2, 'large': 0}, {'small': 3})
    """
    counts = wanted if isinstance(wanted, Mapping) else dict.fromkeys(types, wanted)
    several = len(types) > 1
    if not set(counts) <= set(types) or (several and counts is not wanted):
        known = f"counts by instance type, of {', '.join(types)}"
        raise InvalidInput(
            f"The scaler of this fleet must ask for "
            f"{known if several else 'a whole number of instances'}; got {wanted!r}."
        )
    return {
        name: whole_number("A scaler's count of instances", counts.get(name, 0), low=0)
        for name in types
    }


def require_later(due: float, now: float) -> float:
    """Return when a scaler is due next: later than now, or who waits would ask it for ever."""
    if not due > now:
        raise InvalidInput(f"A scaler must be due later than now, {now}, got {due}.")
    return due


class Reading(NamedTuple):
    """A fleet as its scaler sees it: what happened since the last reading, and how things stand."""

    arrived: int
    """Batches that arrived since the last reading, those of this very instant excluded; with an
    overflow, those that it took too."""
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
    requests: int = 0
    """Requests that arrived since the last reading, whatever batches they are in."""
    spilled: int = 0
    """Batches that an overflow took since the last reading."""
    late: int = 0
    """Requests answered by instances since the last reading that took longer than the scaler's
    `latency_target`; 0 where it has none."""
    types: Mapping[str, TypeCount] = MappingProxyType({})
    """Of a fleet that mixes types, the instances of each; else empty."""


class Scaler(Protocol):
    """Decides on the size of a fleet.

    One that has a number `latency_target`, in seconds, gets to know how many requests took longer.
    """

    @property
    def due(self) -> float:
        """The instant at which `decide` has to be called next; infinite when there is none."""

    def decide(self, reading: Reading, now: float) -> Counts:
        """Return how many instances there should be, booting ones included; `due` moves on."""


class ScalingPolicy(Protocol):
    """Anything that makes a scaler."""

    def scaler(self) -> Scaler:
        """Return a fresh scaler."""

    def to_dict(self) -> dict[str, Any]:
        """Return kind and settings as JSON values."""


def describe_scaling(policy: ScalingPolicy) -> str:
    """Return in a few words, for a label, that a deployment's size follows a policy.

    >>> from workbench.scaling.reactive import ScaleToZero
    >>> describe_scaling(ScaleToZero(count=1, idle=900))
    'scaled by scale to zero'
    """
    least, most = getattr(policy, "least", None), getattr(policy, "most", None)
    counts = "" if least is None else f" {least} to {most}"
    by = getattr(policy, "forecaster", None)
    forecaster = "" if by is None else f" ({type(by).__name__})"
    return f"scaled{counts} by {policy.to_dict()['kind']}{forecaster}"


@dataclass(frozen=True)
class ScalingRule(ABC):
    """Base of the scaling policies: settings with label, help and check, as `settings` has them.

    Attributes:
        kind: The policy's name.
    """

    kind: ClassVar[str]

    def __post_init__(self) -> None:
        """Check the settings, each by itself and then together."""
        check_settings(self)
        self._check_together()

    def _check_together(self) -> None:  # noqa: B027 - most policies have nothing to check here
        """Check what one setting asks of another."""

    @abstractmethod
    def scaler(self) -> Scaler:
        """Return a fresh scaler."""

    def to_dict(self) -> dict[str, Any]:
        """Return kind and settings as JSON values."""
        return settings_to_dict(self)


SCALING_POLICIES: dict[str, type[ScalingRule]] = {}
"""The scaling policies by kind, filled by the package's table of contents."""


def policy_from_dict(data: Mapping[str, Any]) -> ScalingRule:
    """Return the scaling policy that `to_dict` described.

    Raises:
        InvalidInput: Kind or setting is unknown, or a setting is missing or out of its limits.

    >>> from workbench.scaling.reactive import ScaleToZero
    >>> policy_from_dict(ScaleToZero(count=2).to_dict())
    ScaleToZero(count=2, idle=900.0, period=60.0)
    """
    return build_from_dict("scaling policy", SCALING_POLICIES, data)
