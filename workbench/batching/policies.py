"""Policies beyond a size and a timer: they watch servers, deadlines or a latency percentile.

Each makes a batcher for live runs and simulations alike; see `batching.timer` for the words::

    WorkConserving(max_size=8)                          # a free server takes what waits
    DeadlineAware.within(0.1, times, max_size=8)        # waits as long as the target allows
    Steered(latency=0.1, quantile=0.95, max_size=8)     # turns size and wait until p95 fits
    Replanned(settings=[(0, monday), (86400, tuesday)]) # turns them at set times
"""

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np

from workbench.batching.timer import Batches, BatchPolicy, ClockBatcher
from workbench.errors import InvalidInput
from workbench.formatting import duration
from workbench.quantiles import SLO, find_rank, longest_within, samples_needed
from workbench.service_times import MAX_BATCH_ROWS, ServiceTimes
from workbench.validation import (
    as_pairs,
    as_tuple,
    inner_share,
    keep,
    not_negative,
    positive,
    positive_share,
    whole_number,
)

# batches of a size from which on their least latency says something of its service
_MIN_BATCHES_PER_SIZE = 3  # of one or two, all may have met a pause


@dataclass(frozen=True, kw_only=True)
class WorkConserving:
    """A free server takes what waits, up to `max_size` requests; nothing waits beside a free one.

    Batches form while all servers are busy, so they grow with the load. Where a server is always
    free (serverless below its limit) this is no batching.

    Raises:
        InvalidInput: `max_size` is below 1.

    >>> batcher = WorkConserving(max_size=8).batcher()
    >>> batcher.server_free(1, now=0.0)
    []
    >>> batcher.add(0, now=1.0), batcher.add(1, now=1.1), batcher.add(2, now=1.2)
    ([[0]], [], [])
    >>> batcher.server_free(1, now=1.5)
    [[1, 2]]
    """

    max_size: int

    def __post_init__(self) -> None:
        keep(self, max_size=whole_number("max_size", self.max_size, low=1))

    @property
    def label(self) -> str:
        """The policy in a few words, for charts and tables."""
        return f"work-conserving, up to {self.max_size}"

    def to_dict(self) -> dict[str, Any]:
        """Return kind and settings as JSON values."""
        return {"kind": "work-conserving", **asdict(self)}

    def batcher(self) -> "FreeServerBatcher":
        """Return a fresh, empty batcher."""
        return FreeServerBatcher(max_size=self.max_size)


class FreeServerBatcher:
    """A buffer that sends to free servers only, once it is full or its first has waited enough."""

    watches = True

    def __init__(self, *, max_size: int, max_wait: float = 0.0) -> None:
        self.max_size = max_size
        self.max_wait = max_wait
        self._free = 0
        self._waiting: deque[tuple[int, float]] = deque()

    @property
    def due(self) -> float:
        """When the first has waited long enough; infinite while no server is free."""
        if not (self._free and self._waiting):
            return math.inf
        return self._waiting[0][1] + self.max_wait

    def add(self, request: int, now: float) -> Batches:
        """Take a request."""
        self._waiting.append((request, now))
        return self._send(now)

    def wake(self, now: float) -> Batches:
        """Send what has waited long enough."""
        return self._send(now)

    def server_free(self, count: int, now: float) -> Batches:
        """Give what has waited long enough to the servers that are free."""
        self._free = count
        return self._send(now)

    def learn_latencies(self, latencies: Sequence[float], now: float) -> None:
        """Take no notice of latencies."""

    def _send(self, now: float) -> Batches:
        batches = []
        while self._free and self._waiting:
            if len(self._waiting) < self.max_size and now < self.due:
                break
            self._free -= 1
            size = min(self.max_size, len(self._waiting))
            batches.append([self._waiting.popleft()[0] for _ in range(size)])
        return batches


@dataclass(frozen=True, kw_only=True)
class DeadlineAware:
    """Wait for others as long as the first request can still be answered within `latency`.

    `service` gives the seconds of a batch by its size, from 1 up; its length is the largest size.
    A batch of n leaves when its first request has waited `latency` - `margin` - `service[n - 1]`
    seconds; a request whose company would make the batch late opens the next one. Made for
    platforms that bill by the call and always have a server free: waiting costs nothing there.

    Raises:
        InvalidInput: A time is not positive, there are none, or one request alone takes too long.

    >>> batcher = DeadlineAware(latency=0.1, service=(0.02, 0.03, 0.07)).batcher()
    >>> batcher.add(0, now=0.0), round(batcher.due, 3)
    ([], 0.08)
    >>> batcher.add(1, now=0.05), round(batcher.due, 3)
    ([], 0.07)
    >>> batcher.add(2, now=0.06), round(batcher.due, 3)
    ([[0, 1]], 0.14)
    """

    latency: float
    service: tuple[float, ...]
    margin: float = 0.0

    def __post_init__(self) -> None:
        service = as_tuple("service", self.service)
        if not service:
            raise InvalidInput("service is empty: give seconds for batches of 1, 2, ... requests.")
        times = tuple(positive("A service time", time, "seconds") for time in service)
        margin = not_negative("margin", self.margin, "seconds")
        keep(self, latency=positive("latency", self.latency, "seconds"), margin=margin)
        keep(self, service=times)
        if times[0] + self.margin >= self.latency:
            raise InvalidInput(
                f"One request takes {times[0]:g} s and {self.margin:g} s are kept in hand: "
                f"no batch can be on time within {self.latency:g} s."
            )

    @classmethod
    def within(
        cls, latency: float, times: ServiceTimes, *, max_size: int, margin: float = 0.0
    ) -> Self:
        """Return the policy that expects the mean times after idle, of one row a request.

        Raises:
            InvalidInput: The times miss a size.

        >>> times = ServiceTimes({1: 0.02, 2: 0.03})
        >>> DeadlineAware.within(0.1, times, max_size=2).service
        (0.02, 0.03)
        """
        sizes = np.arange(1, whole_number("max_size", max_size, low=1, high=MAX_BATCH_ROWS) + 1)
        times.check(sizes)
        return cls(latency=latency, service=tuple(times.idle_means[sizes].tolist()), margin=margin)

    @property
    def max_size(self) -> int:
        """The most requests that a batch can have."""
        return len(self.service)

    @property
    def label(self) -> str:
        """The policy in a few words, for charts and tables."""
        return f"deadline {duration(self.latency, 6)}, up to {self.max_size}"

    def to_dict(self) -> dict[str, Any]:
        """Return kind and settings as JSON values."""
        return {"kind": "deadline-aware", **asdict(self), "service": list(self.service)}

    def batcher(self) -> "DeadlineBatcher":
        """Return a fresh, empty batcher."""
        return DeadlineBatcher(self)


class DeadlineBatcher(ClockBatcher):
    """The buffer of `DeadlineAware`."""

    def __init__(self, policy: DeadlineAware) -> None:
        slack = policy.latency - policy.margin
        self._wait_limits = [slack - time for time in policy.service]
        self._waiting: list[int] = []
        self._opened = math.inf

    @property
    def due(self) -> float:
        """The last instant at which what waits is still on time."""
        return self._opened + self._wait_limits[max(0, len(self._waiting) - 1)]

    def add(self, request: int, now: float) -> Batches:
        """Take a request; send those before it first, if its company would make them late."""
        early = []
        # the limit of one more than wait now
        if self._waiting and self._opened + self._wait_limits[len(self._waiting)] < now:
            early = self._close()
        if not self._waiting:
            self._opened = now
        self._waiting.append(request)
        full = len(self._waiting) == len(self._wait_limits)
        return early + self._close() if full else early

    def wake(self, now: float) -> Batches:
        """Send what waits, once it is due."""
        return self._close() if now >= self.due else []

    def _close(self) -> list[list[int]]:
        batch, self._waiting = self._waiting, []
        self._opened = math.inf
        return [batch]


@dataclass(frozen=True, kw_only=True)
class Steered:
    """Hold a percentile of latency near its target by turning size and wait online.

    As with `WorkConserving`, only free servers are sent to. Beyond that a batch may wait for
    company: after each `window` answers that wait grows by `gain` of what the `quantile` of their
    latencies lacks to the share `aim` of `latency`, or shrinks by all that it exceeds it. A window
    that has too many late answers to be met any more ends at once.

    Sizes start at `max_size`. One whose service alone takes more than half the target is given up
    (the rule of INFless, ASPLOS 2022), and tried again one by one with each window that fits. The
    service of a size is estimated by the least latency seen of it, so no profile is needed.

    Raises:
        InvalidInput: A setting is out of its range, or a window holds too few answers for the
            quantile to be more than noise.

    >>> Steered(latency=0.1, max_size=8).label
    'steered to p95 ≤ 100 ms, up to 8'
    """

    latency: float
    quantile: float = 0.95
    max_size: int = 32
    window: int = 200
    aim: float = 0.8
    gain: float = 0.25

    def __post_init__(self) -> None:
        keep(
            self,
            latency=positive("latency", self.latency, "seconds"),
            max_size=whole_number("max_size", self.max_size, low=1),
            quantile=inner_share("quantile", self.quantile),
            aim=positive_share("aim", self.aim),
            gain=positive_share("gain", self.gain),
        )
        least = samples_needed(self.quantile)
        keep(self, window=whole_number("window", self.window, low=least))

    @property
    def label(self) -> str:
        """The policy in a few words, for charts and tables."""
        target = SLO(self.latency, quantile=self.quantile)
        return f"steered to {target.label}, up to {self.max_size}"

    def to_dict(self) -> dict[str, Any]:
        """Return kind and settings as JSON values."""
        return {"kind": "steered", **asdict(self)}

    def batcher(self) -> "SteeredBatcher":
        """Return a fresh, empty batcher."""
        return SteeredBatcher(self)


class SteeredBatcher(FreeServerBatcher):
    """The buffer of `Steered`; `max_size` and `max_wait` are its present settings."""

    def __init__(self, policy: Steered) -> None:
        super().__init__(max_size=policy.max_size)
        self._policy = policy
        self._latencies: list[float] = []
        self._late = 0
        self._least: dict[int, list[float]] = {}

    def learn_latencies(self, latencies: Sequence[float], now: float) -> None:  # noqa: ARG002 - as above
        """Learn the latencies of a batch's requests, infinite where they failed."""
        self._latencies += latencies
        self._late += sum(latency > longest_within(self._policy.latency) for latency in latencies)
        if len(self._waiting) < self.max_size:  # behind a backlog, waits would pass for service
            # the last to join may have waited as long, if alone: no more than the service took
            service = min(latencies) - self.max_wait
            self._least.setdefault(len(latencies), []).append(service)
        allowed = (1 - self._policy.quantile) * self._policy.window
        if self._late > allowed or len(self._latencies) >= self._policy.window:
            self._update(sorted(self._latencies))
            self._latencies, self._late, self._least = [], 0, {}

    def _update(self, latencies: list[float]) -> None:
        """Set wait and size by the latencies of a window, in order."""
        policy = self._policy
        rank = find_rank(policy.quantile, len(latencies))
        spare = policy.aim * policy.latency - latencies[rank - 1]
        # down at once, up by degrees: lateness costs more than a batch that could be larger
        wait = self.max_wait + (policy.gain if spare > 0 else 1) * spare
        self.max_wait = min(max(0.0, wait), policy.latency)
        slow = [
            size
            for size, times in self._least.items()
            if len(times) >= _MIN_BATCHES_PER_SIZE and min(times) > policy.latency / 2
        ]
        if slow:
            self.max_size = max(1, min(slow) - 1)
        elif spare > 0 or len(self._waiting) >= self.max_size:  # larger ones work a backlog off
            self.max_size = min(policy.max_size, self.max_size + 1)


@dataclass(frozen=True, kw_only=True)
class Replanned:
    """Batch by settings that change at set times, as BATCH does hour by hour.

    `settings` are pairs: from how many seconds after the start on, and the `BatchPolicy` by which
    batches that are opened from then on leave. The first starts at 0. `workbench.planner.rebatch`
    decides on them.

    Raises:
        InvalidInput: There is none, the first does not start at 0, or starts do not grow.

    >>> day, night = BatchPolicy(max_size=8, max_wait=0.025), BatchPolicy()
    >>> Replanned(settings=[(0, day), (43_200, night)]).label
    're-planned, 2 settings, up to 8'
    """

    settings: Sequence[tuple[float, BatchPolicy]]

    def __post_init__(self) -> None:
        pairs = as_pairs("settings", self.settings, "seconds and a BatchPolicy")
        settings = tuple((not_negative("A start", at, "seconds"), to) for at, to in pairs)
        starts = [start for start, _ in settings]
        if starts[:1] != [0.0] or sorted(set(starts)) != starts:
            raise InvalidInput(
                f"settings must start at 0 and then ever later, got starts {starts}."
            )
        if not all(isinstance(policy, BatchPolicy) for _, policy in settings):
            raise InvalidInput(f"Each setting must be a BatchPolicy, got {self.settings!r}.")
        keep(self, settings=settings)

    @property
    def max_size(self) -> int:
        """The most requests that a batch can have."""
        return max(policy.max_size for _, policy in self.settings)

    @property
    def label(self) -> str:
        """The policy in a few words, for charts and tables."""
        count = len(self.settings)
        return f"re-planned, {count} setting{'s' * (count > 1)}, up to {self.max_size}"

    def to_dict(self) -> dict[str, Any]:
        """Return kind and settings as JSON values."""
        settings = [[start, policy.to_dict()] for start, policy in self.settings]
        return {"kind": "re-planned", "settings": settings}

    def batcher(self) -> "ReplannedBatcher":
        """Return a fresh, empty batcher."""
        return ReplannedBatcher(self)


class ReplannedBatcher(ClockBatcher):
    """The buffer of `Replanned`: settings change between batches."""

    def __init__(self, policy: Replanned) -> None:
        (_, first), *others = policy.settings
        self._coming = deque(others)
        self._present = first.batcher()

    @property
    def due(self) -> float:
        """When the first has waited long enough."""
        return self._present.due

    def add(self, request: int, now: float) -> Batches:
        """Take a request; one that opens a batch brings the settings of its time."""
        while self._coming and self._coming[0][0] <= now and math.isinf(self.due):
            self._present = self._coming.popleft()[1].batcher()
        return self._present.add(request, now)

    def wake(self, now: float) -> Batches:
        """Send what has waited long enough."""
        return self._present.wake(now)
