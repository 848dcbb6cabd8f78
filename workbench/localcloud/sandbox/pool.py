"""Which instance of a serverless endpoint answers, and which one ends: the time is an argument.

The rules are those of the simulator: a request takes a provisioned idle instance, then an
on-demand one, each time the one that became free last; else, below the maximum concurrency, a new
instance is started for it; else it is throttled.
"""

import enum
import math
from typing import Generic, TypeVar

InstanceT = TypeVar("InstanceT")


class Rate:
    """How fast instances may be started: `step` at once, and `step` more with each `period`.

    What was not used adds up to one `step`, as in the simulator.

    >>> rate = Rate(step=2, period=10.0)
    >>> [rate.admit(now) for now in (0.0, 0.0, 4.9, 5.0)]
    [True, True, False, True]
    """

    def __init__(self, *, step: int, period: float) -> None:
        self._pace = period / step
        self._depth = period
        self._full_at = -math.inf

    def admit(self, now: float) -> bool:
        """Whether one may be started now; it is counted as started then."""
        if now < self._full_at + self._pace - self._depth:
            return False
        self._full_at = max(self._full_at, now) + self._pace
        return True


class Admission(enum.Enum):
    """What to do with a request that no idle instance takes."""

    START = "start an instance for it"
    THROTTLE = "refuse it"


class Pool(Generic[InstanceT]):
    """The idle instances of a serverless endpoint, and how many requests are under way.

    Attributes:
        max_concurrency: requests under way at most.
        keep_alive: seconds that an idle on-demand instance is kept; idle for exactly that long is
            still alive.
        busy: requests under way.

    >>> pool = Pool[str](max_concurrency=1, keep_alive=600.0)
    >>> pool.take(), pool.take()
    (<Admission.START: 'start an instance for it'>, <Admission.THROTTLE: 'refuse it'>)
    >>> pool.free("a", now=1.0)
    >>> pool.take()
    'a'
    """

    def __init__(
        self, *, max_concurrency: int, keep_alive: float, rate: Rate | None = None
    ) -> None:
        self.max_concurrency = max_concurrency
        self.keep_alive = keep_alive
        self._rate = rate
        self.busy = 0
        self._provisioned: list[InstanceT] = []
        self._on_demand: list[tuple[float, InstanceT]] = []  # the one free for longest first

    @property
    def idle(self) -> list[InstanceT]:
        """The idle instances, provisioned ones first."""
        return [*self._provisioned, *(instance for _, instance in self._on_demand)]

    @property
    def next_expiry(self) -> float:
        """The instant behind which an instance has been idle for too long."""
        return self._on_demand[0][0] + self.keep_alive if self._on_demand else math.inf

    def take(self, *, now: float = 0.0) -> InstanceT | Admission:
        """Return the instance that answers a request, or what to do without one."""
        if self.busy >= self.max_concurrency:
            return Admission.THROTTLE
        self.busy += 1
        if self._provisioned:
            return self._provisioned.pop()
        if self._on_demand:
            return self._on_demand.pop()[1]
        if self._rate is not None and not self._rate.admit(now):
            self.busy -= 1
            return Admission.THROTTLE
        return Admission.START

    def free(self, instance: InstanceT, *, now: float, provisioned: bool = False) -> None:
        """Take back an instance whose request is over."""
        self.busy -= 1
        self.add(instance, now=now, provisioned=provisioned)

    def lose(self) -> None:
        """Count a request as over whose instance is gone."""
        self.busy -= 1

    def add(self, instance: InstanceT, *, now: float, provisioned: bool = False) -> None:
        """Add an idle instance."""
        if provisioned:
            self._provisioned.append(instance)
        else:
            self._on_demand.append((now, instance))

    def discard(self, instance: InstanceT) -> None:
        """Forget an idle instance that is gone; one that is not idle here is no error."""
        if instance in self._provisioned:
            self._provisioned.remove(instance)
        self._on_demand = [each for each in self._on_demand if each[1] is not instance]

    def pop_expired(self, now: float) -> list[InstanceT]:
        """Return the on-demand instances that were idle for too long; they are forgotten here."""
        gone = [instance for since, instance in self._on_demand if since + self.keep_alive < now]
        self._on_demand = self._on_demand[len(gone) :]
        return gone
