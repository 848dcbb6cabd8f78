"""Where a platform's batches come from: closed beforehand, or sent to servers as these come free.

A source has the two loops that serve its batches, on demand and on a fleet, and says how many of
them have come. `source_of` makes the right one for a policy.
"""

import math
from typing import Protocol

import numpy as np

from workbench.batching.policies import DeadlineAware, Replanned, Steered, WorkConserving
from workbench.batching.timer import BatchPolicy, Policy
from workbench.errors import InvalidInput
from workbench.service_times import Floats, ServiceTimes
from workbench.simulator import kernels
from workbench.simulator.kernels import (
    Batches,
    Counts,
    FleetState,
    OnDemandRules,
    Seen,
    ServiceQuantiles,
    Settings,
    SharedBuffer,
    Speeds,
    Steering,
)
from workbench.traffic.trace import Trace

_GOLDEN_SECTION = (math.sqrt(5) - 1) / 2


class BatchSource(Protocol):
    """Batches, and the loops that serve them."""

    room: Batches
    """Where results go; draws come in the same arrays, see `kernels`."""

    @property
    def batches(self) -> Batches:
        """The batches that there are in the end."""
        ...

    def serve_on_demand(self, rules: OnDemandRules) -> None:
        """Serve all on instances that start on demand."""
        ...

    def serve_fleet(self, fleet: FleetState, now: float, until: float) -> None:
        """Serve what comes from `now` to `until` on a fleet."""
        ...

    def count_sent(self, now: float) -> int:
        """Return how many batches were sent before now."""
        ...

    def is_over(self, done: int) -> bool:
        """Whether these were all, if so many are done."""
        ...


def quantiles_of(
    service: ServiceTimes, phase: float, *, one_machine: bool = False
) -> ServiceQuantiles:
    """Return service times as the loops take them; `phase` is where their record of speed begins.

    The phase is a share of the record, in [0, 1). Instances that are not `one_machine` are slow at
    times of their own: each begins a golden section of the record further on than the one before
    it, which spreads any number of them evenly.
    """
    speeds = Speeds(np.zeros((0, 1)), np.zeros(0, np.int32), 0.0, 0.0, 0.0)
    record = service.speed
    if record is not None and service.sampled:
        speeds = Speeds(
            levels=record.levels,
            slices=record.slices.astype(np.int32),
            pace=1 / record.span,
            phase=phase,
            apart=0.0 if one_machine else _GOLDEN_SECTION,
        )
    return ServiceQuantiles(service.table, service.idle_table, speeds)


def source_of(
    trace: Trace, policy: Policy, service: ServiceTimes, distributions: ServiceQuantiles
) -> BatchSource:
    """Return the batches of a trace under a policy that the compiled loops know.

    Raises:
        InvalidInput: Service times do not cover a batch, or the policy is another.
    """
    if isinstance(policy, WorkConserving | Steered):
        return BufferedRequests(trace, policy, service, distributions)
    first, closed = np.empty(len(trace) + 1, np.int64), np.empty(len(trace))
    count = _close(trace.arrivals, policy, first, closed)
    if count < len(trace):
        first, closed = first[: count + 1].copy(), closed[:count].copy()
    return ClosedBatches(make_batches(trace, first, closed), service, distributions)


def _close(arrivals: Floats, policy: Policy, first: Counts, closed: Floats) -> int:
    match policy:
        case BatchPolicy():
            return kernels.form_batches(arrivals, policy.max_size, policy.max_wait, first, closed)
        case Replanned():
            settings = Settings(
                starts=np.array([start for start, _ in policy.settings]),
                sizes=np.array([each.max_size for _, each in policy.settings], np.int64),
                waits=np.array([each.max_wait for _, each in policy.settings], np.float64),
            )
            return kernels.form_by_settings(arrivals, settings, first, closed)
        case DeadlineAware():
            # the same sums as the batcher's, so that instants agree to the bit
            slack = policy.latency - policy.margin
            waits = np.array([slack - seconds for seconds in policy.service])
            return kernels.form_by_deadline(arrivals, waits, first, closed)
    raise InvalidInput(f"No compiled loop knows the policy {policy!r}.")


def make_batches(trace: Trace, first: Counts, closed: Floats) -> Batches:
    """Return batches of which only requests and closing times are known."""
    if int(trace.rows.max(initial=0)) > 1:
        rows = np.add.reduceat(trace.rows, first[:-1], dtype=np.int64)
    else:  # as mostly, and ten times as fast
        rows = np.diff(first)
    return allocate(first, closed, rows)


def allocate(first: Counts, closed: Floats, rows: Counts) -> Batches:
    """Return these batches with room for their results."""
    count = len(closed)
    return Batches(
        first=first,
        closed=closed,
        rows=rows,
        started=np.empty(count),
        finished=np.empty(count),
        init=np.zeros(count),
        cold=np.zeros(count, np.bool_),
        server=np.empty(count, np.int32),
    )


class ClosedBatches:
    """Batches that were closed whatever the servers do.

    Raises:
        InvalidInput: Service times do not cover one.
    """

    def __init__(
        self, batches: Batches, service: ServiceTimes, distributions: ServiceQuantiles
    ) -> None:
        service.check(batches.rows)
        self.room = self.batches = batches
        self._distributions = distributions

    def serve_on_demand(self, rules: OnDemandRules) -> None:
        """Serve all on instances that start on demand."""
        kernels.serve_on_demand(self.batches, self._distributions, rules)

    def serve_fleet(self, fleet: FleetState, now: float, until: float) -> None:
        """Serve what comes from `now` to `until` on a fleet."""
        kernels.serve_fleet(self.batches, self._distributions, fleet, now, until)

    def count_sent(self, now: float) -> int:
        """Return how many batches were sent before now."""
        return int(np.searchsorted(self.batches.closed, now))

    def is_over(self, done: int) -> bool:
        """Whether these were all."""
        return done == len(self.batches.closed)


class BufferedRequests:
    """Requests in the buffer of a policy that sends to free servers only.

    A batch whose rows have no service time stops its loop: `InvalidInput`.
    """

    def __init__(
        self,
        trace: Trace,
        policy: WorkConserving | Steered,
        service: ServiceTimes,
        distributions: ServiceQuantiles,
    ) -> None:
        total = len(trace)
        # sizes beyond the trace never fill, and need not have room
        max_size = min(policy.max_size, total + 1)
        self._service, self._distributions = service, distributions
        self._buffer = SharedBuffer(
            arrivals=trace.arrivals,
            rows=trace.rows,
            state=np.array([0, 0, 0, max_size, 0]),
            max_wait=np.zeros(1),
            steering=_make_steering(policy, max_size),
            seen=_make_seen(policy, max_size, total),
        )
        self.room = allocate(
            np.zeros(total + 1, np.int64), np.empty(total), np.empty(total, np.int64)
        )

    @property
    def batches(self) -> Batches:
        """The batches sent so far."""
        count = int(self._buffer.state[kernels.CLOSED])
        first, *others = self.room
        if count == len(self.room.closed):
            return self.room
        return Batches._make([first[: count + 1].copy(), *(each[:count].copy() for each in others)])

    def serve_on_demand(self, rules: OnDemandRules) -> None:
        """Serve all on instances that start on demand."""
        kernels.serve_on_demand_from_buffer(self._buffer, self.room, self._distributions, rules)
        self._check()

    def serve_fleet(self, fleet: FleetState, now: float, until: float) -> None:
        """Serve what comes from `now` to `until` on a fleet."""
        kernels.serve_fleet_from_buffer(
            self._buffer, self.room, self._distributions, fleet, now, until
        )
        self._check()

    def count_sent(self, now: float) -> int:
        """Return how many batches were sent before now."""
        count = self._buffer.state[kernels.CLOSED]
        return int(np.searchsorted(self.room.closed[:count], now))

    def is_over(self, done: int) -> bool:
        """Whether all requests were sent, and their batches are done."""
        state = self._buffer.state
        is_sent = state[kernels.SENT] == len(self._buffer.arrivals)
        return bool(is_sent and done == state[kernels.CLOSED])

    def _check(self) -> None:
        if rows := int(self._buffer.state[kernels.UNCOVERED]):
            self._service.check(np.array([rows]))


def _make_steering(policy: WorkConserving | Steered, max_size: int) -> Steering:
    """Return a policy's steering; that of `WorkConserving` does nothing."""
    if isinstance(policy, WorkConserving):
        return Steering(0.0, 0.0, 0, 0.0, 0.0, max_size)
    return Steering(
        latency=policy.latency,
        quantile=policy.quantile,
        window=policy.window,
        aim=policy.aim,
        gain=policy.gain,
        max_size=max_size,
    )


def _make_seen(policy: WorkConserving | Steered, max_size: int, total: int) -> Seen:
    window = policy.window if isinstance(policy, Steered) else 0
    return Seen(
        latencies=np.empty(min(window, total) + max_size),  # the last batch may go beyond
        counts=np.zeros(2, np.int64),
        tried=np.zeros(max_size + 1, np.int64),
        least=np.empty(max_size + 1),
    )
