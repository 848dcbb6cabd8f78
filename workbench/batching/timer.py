"""How requests become batches: a policy is a value, its batcher a state machine that gets the time.

Nothing here reads a clock. The simulator and the live generator drive the same batcher::

    batcher = BatchPolicy(max_size=2, max_wait=0.025).batcher()
    batcher.add(0, now=0.000)     # []          the first request starts the timer
    batcher.due                   # 0.025
    batcher.add(1, now=0.010)     # [[0, 1]]    full: it leaves at once
"""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Protocol

from workbench.errors import InvalidInput
from workbench.formatting import duration
from workbench.validation import keep, not_negative, whole_number

Batches = Sequence[list[int]]
"""Batches to send now, each a list of request numbers in order of arrival."""


class Batcher(Protocol):
    """A buffer of waiting requests that gets events and says what to send."""

    watches: bool
    """Whether `server_free` and `learn_latencies` have to be called; a mere timer needs neither."""

    @property
    def due(self) -> float:
        """The instant at which `wake` has to be called next; infinite when there is none."""

    def add(self, request: int, now: float) -> Batches:
        """Take a request that arrives now."""

    def wake(self, now: float) -> Batches:
        """Act on a timer; calling it before `due` does nothing."""

    def learn_latencies(self, latencies: Sequence[float], now: float) -> None:
        """Learn the latencies of a batch's requests, in seconds, infinite where they failed.

        Where completions are followed by `server_free`, this comes first.
        """

    def server_free(self, count: int, now: float) -> Batches:
        """Learn that `count` servers are idle now."""


class Policy(Protocol):
    """Anything that makes a batcher."""

    @property
    def max_size(self) -> int:
        """The most requests that a batch can have."""

    @property
    def label(self) -> str:
        """The policy in a few words, for charts and tables."""

    def batcher(self) -> Batcher:
        """Return a fresh, empty batcher."""

    def to_dict(self) -> dict[str, Any]:
        """Return kind and settings as JSON values."""


def require_batcher(policy: object) -> None:
    """Require a batching policy: what makes a batcher."""
    if not hasattr(policy, "batcher"):
        raise InvalidInput(f"policy must be a policy such as BatchPolicy, got {policy!r}.")


@dataclass(frozen=True)
class BatchPolicy:
    """Send a batch when it has `max_size` requests or its first has waited `max_wait` seconds.

    `max_size=1` is no batching. `max_wait=0` joins only requests of the same instant.

    Raises:
        InvalidInput: `max_size` is below 1, or `max_wait` is negative or not finite.

    >>> BatchPolicy(max_size=8, max_wait=0.025).label
    'up to 8, 25 ms'
    """

    max_size: int = 1
    max_wait: float = 0.0

    def __post_init__(self) -> None:
        keep(
            self,
            max_size=whole_number("max_size", self.max_size, low=1),
            max_wait=not_negative("max_wait", self.max_wait, "seconds"),
        )

    @property
    def label(self) -> str:
        """The policy in a few words, for charts and tables."""
        if self.max_size == 1:
            return "no batching"
        return f"up to {self.max_size}, {duration(self.max_wait, 6)}"

    def to_dict(self) -> dict[str, Any]:
        """Return kind and settings as JSON values.

        >>> BatchPolicy(max_size=8).to_dict()
        {'kind': 'timed', 'max_size': 8, 'max_wait': 0.0}
        """
        return {"kind": "timed", **asdict(self)}

    def batcher(self) -> "TimedBatcher":
        """Return a fresh, empty batcher."""
        return TimedBatcher(max_size=self.max_size, max_wait=self.max_wait)


class ClockBatcher:
    """Base of the buffers that only count and time: they watch no servers and no latencies."""

    watches = False

    def server_free(self, count: int, now: float) -> Batches:  # noqa: ARG002 - the protocol's words
        """Send nothing."""
        return ()

    def learn_latencies(self, latencies: Sequence[float], now: float) -> None:
        """Take no notice of latencies."""


class TimedBatcher(ClockBatcher):
    """The buffer of `BatchPolicy`: the first request into it, when empty, starts the timer.

    >>> batcher = TimedBatcher(max_size=3, max_wait=0.5)
    >>> batcher.add(0, now=1.0), batcher.add(1, now=1.25), batcher.due
    ((), (), 1.5)
    >>> batcher.wake(now=1.5)
    ([0, 1],)
    """

    def __init__(self, *, max_size: int, max_wait: float) -> None:
        self._max_size = max_size
        self._max_wait = max_wait
        self._waiting: list[int] = []
        self.due = math.inf

    def add(self, request: int, now: float) -> Batches:
        """Take a request; a full batch leaves at once."""
        if not self._waiting:
            self.due = now + self._max_wait
        self._waiting.append(request)
        return self._close() if len(self._waiting) == self._max_size else ()

    def wake(self, now: float) -> Batches:
        """Send what waits, once its first request has waited `max_wait`."""
        return self._close() if now >= self.due else ()

    def _close(self) -> Batches:
        batch, self._waiting = self._waiting, []
        self.due = math.inf
        return (batch,)
