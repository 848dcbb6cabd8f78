"""Billed quantities: seconds, calls and bytes, by the rules of rounding that AWS states."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import ArrayLike, NDArray

Spans = Sequence[Sequence[float]]
"""Pairs of instants in seconds: when something began and when it ended."""


@dataclass(frozen=True, kw_only=True)
class Usage:
    """Billed quantities, all of a run together; those a deployment does not bill stay 0.

    `seconds` of on-demand calls (of wall time for a machine of one's own), `provisioned_seconds` of
    calls that provisioned instances took, `enabled_seconds` of provisioned instances being kept
    (instances times seconds), `instance_seconds` of instances, `calls` and bytes. `notes` say what
    the quantities leave out or assume. `parts` are the quantities of each part of a composite
    deployment, whose own stay 0.
    """

    seconds: float = 0.0
    provisioned_seconds: float = 0.0
    enabled_seconds: float = 0.0
    instance_seconds: float = 0.0
    calls: int = 0
    bytes_in: float = 0.0
    bytes_out: float = 0.0
    notes: tuple[str, ...] = ()
    parts: tuple["Usage", ...] = ()


class CallTimes(NamedTuple):
    """Billed seconds of calls on demand and on provisioned instances, how many, what to note."""

    on_demand: float
    provisioned: float
    calls: int
    notes: tuple[str, ...] = ()


class Activity(Protocol):
    """What a deployment did, as far as anybody bills it: read from a run, or simulated."""

    @property
    def end(self) -> float:
        """The instant of the last answer in seconds, 0 where there is none."""

    @property
    def span(self) -> float:
        """Seconds until the trace's end or the last answer, whichever is later."""

    @property
    def calls(self) -> int:
        """How many calls were let in."""

    @property
    def instances(self) -> Spans | None:
        """Launch and stop of each instance; None where that was not recorded."""

    @property
    def service_spans(self) -> Spans:
        """Start and end of each call that was answered."""

    def call_times(self, *, with_cold_starts: bool, provisioned: int) -> CallTimes:
        """Return what calls are billed; instances below the number `provisioned` are kept warm."""

    def part(self, number: int) -> "Activity":
        """Return what a part of a composite deployment did."""


def round_up_ms(seconds: "ArrayLike") -> "NDArray[np.int64]":
    """Return each call's time rounded up to a whole millisecond, as Lambda and SageMaker bill it.

    What a difference of floating-point instants is off by (under 10 ns) does not count as begun.

    >>> round_up_ms([0.0101, 10.3 - 10.0]).tolist()
    [11, 300]
    """
    import numpy as np  # here, as a local cloud imports this module and never counts with it

    return np.ceil(np.round(1000 * np.asarray(seconds, dtype=np.float64), 5)).astype(np.int64)


def instance_seconds(spans: Iterable[Sequence[float]]) -> int:
    """Return the seconds of all instances together, each from launch to stop rounded up to 1 s.

    >>> instance_seconds([(-30.0, 60.5), (0.0, 10.0)])
    101
    """
    return sum(math.ceil(round(stop - launch, 8)) for launch, stop in spans)
