"""Where a platform's batches come from: closed beforehand, or sent to servers as these come free.

A source has the two loops that serve its batches, on demand and on a fleet, and says how many of
them have come. `source_of` makes the right one for a policy.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

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

# multiples of it lie evenly in a round, however many there are
_GOLDEN_SECTION = (math.sqrt(5) - 1) / 2


@dataclass(eq=False)
class BatchSource(ABC):
    """Batches, and the loops that serve them.

    Attributes:
        arrivals: When requests arrive, seconds.
        room: Where results go; draws come in the same arrays, see `kernels`.
        services: Service times of each instance type.
        distributions: The same as the loops take them.
    """

    arrivals: Floats
    room: Batches
    services: Sequence[ServiceTimes]
    distributions: ServiceQuantiles

    def __post_init__(self) -> None:
        self._seen = 0  # batches that readings have counted the late requests of
        self._open = np.zeros(0, np.int64)  # those of them that were not answered then

    @property
    @abstractmethod
    def count(self) -> int:
        """How many batches there are so far."""

    @property
    def batches(self) -> Batches:
        """The batches so far."""
        if self.count == len(self.room.closed):
            return self.room
        first, *others = self.room
        parts = [first[: self.count + 1].copy(), *(each[: self.count].copy() for each in others)]
        return Batches._make(parts)

    @abstractmethod
    def serve_on_demand(self, rules: OnDemandRules) -> None:
        """Serve all on instances that start on demand."""

    @abstractmethod
    def serve_fleet(self, fleet: FleetState, now: float, until: float) -> None:
        """Serve what comes from `now` to `until` on a fleet."""

    def count_sent(self, now: float) -> int:
        """Return how many batches were sent before now."""
        return int(self.room.closed[: self.count].searchsorted(now))

    def count_requests(self, now: float) -> int:
        """Return how many requests arrived before now."""
        return int(self.arrivals.searchsorted(now))

    def count_late(self, now: float, target: float) -> int:
        """Return how many requests were answered late since the last time it was asked.

        Each batch is looked at while it is open, and once more.
        """
        batches = self.room
        sent = int(batches.closed[: self.count].searchsorted(now, side="right"))
        mine = np.append(self._open, np.arange(self._seen, sent))
        self._seen = sent
        taken = batches.server[mine] >= 0
        done = taken & (batches.finished[mine] <= now)
        self._open = mine[(taken & ~done) | (batches.server[mine] == kernels.TO_COME)]
        over = mine[done]
        begin, end = batches.first[over], batches.first[over + 1]
        sizes = end - begin
        # the numbers of their requests, without a loop over batches
        numbers = np.arange(sizes.sum()) + np.repeat(begin - np.cumsum(sizes) + sizes, sizes)
        latency = np.repeat(batches.finished[over], sizes) - self.arrivals[numbers]
        return int((latency > target).sum())

    @abstractmethod
    def is_over(self, done: int) -> bool:
        """Whether these were all, if so many are done."""

    def _check_covered(self, rows: Counts) -> None:
        """Require that there are service times of batches of so many rows."""
        for service in self.services:
            service.check(rows)


def stack_quantiles(services: Sequence[ServiceTimes], phase: float) -> ServiceQuantiles:
    """Return service times of several instance types as one table; the first's record of speed.

    A number of rows is covered where all types cover it.
    """
    tables = [table for each in services for table in (each.table, each.idle_table)]
    height, levels = max(map(len, tables)), max(table.shape[1] for table in tables)
    shape = np.full((len(tables), height, levels), np.nan)
    at = np.linspace(0, 1, levels)
    for table, room in zip(tables, shape, strict=True):
        own = np.linspace(0, 1, table.shape[1])
        for row, quantiles in enumerate(table):
            room[row] = np.interp(at, own, quantiles) if len(own) > 1 else quantiles
    shape[:, np.isnan(shape[:, :, 0]).any(0)] = np.nan  # a size that one type lacks is no size
    busy, idle = (each.reshape(-1, levels) for each in (shape[::2], shape[1::2]))
    for each in (busy, idle):
        each.flags.writeable = False  # as those of a `ServiceTimes`: loops are compiled once
    first = quantiles_of(services[0], phase)
    return first._replace(busy=busy, idle=idle, height=height)


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
    return ServiceQuantiles(service.table, service.idle_table, speeds, len(service.table))


def source_of(
    trace: Trace,
    policy: Policy,
    services: Sequence[ServiceTimes],
    distributions: ServiceQuantiles,
) -> BatchSource:
    """Return the batches of a trace under a policy that the compiled loops know.

    Raises:
        InvalidInput: Service times do not cover a batch, or the policy is another.
    """
    if isinstance(policy, WorkConserving | Steered):
        return BufferedRequests(trace, policy, services, distributions)
    first, closed = np.empty(len(trace) + 1, np.int64), np.empty(len(trace))
    count = _close(trace.arrivals, policy, first, closed)
    if count < len(trace):
        first, closed = first[: count + 1].copy(), closed[:count].copy()
    batches = make_batches(trace, first, closed)
    return ClosedBatches(trace.arrivals, batches, services, distributions)


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
        server=np.full(count, kernels.TO_COME, np.int32),
    )


class ClosedBatches(BatchSource):
    """Batches that were closed whatever the servers do.

    Raises:
        InvalidInput: Service times do not cover one.
    """

    def __post_init__(self) -> None:
        super().__post_init__()
        self._check_covered(self.room.rows)

    @property
    def count(self) -> int:
        """How many there are."""
        return len(self.room.closed)

    def serve_on_demand(self, rules: OnDemandRules) -> None:
        """Serve all on instances that start on demand."""
        kernels.serve_on_demand(self.room, self.distributions, rules)

    def serve_fleet(self, fleet: FleetState, now: float, until: float) -> None:
        """Serve what comes from `now` to `until` on a fleet."""
        arriving, _, _, done, spilled = fleet.state.tolist()
        closed = self.room.closed
        if arriving > done + spilled or (arriving < len(closed) and closed[arriving] <= until):
            kernels.serve_fleet(self.room, self.distributions, fleet, now, until)

    def is_over(self, done: int) -> bool:
        """Whether these were all."""
        return done == self.count


class BufferedRequests(BatchSource):
    """Requests in the buffer of a policy that sends to free servers only.

    A batch whose rows have no service time stops its loop: `InvalidInput`.
    """

    def __init__(
        self,
        trace: Trace,
        policy: WorkConserving | Steered,
        services: Sequence[ServiceTimes],
        distributions: ServiceQuantiles,
    ) -> None:
        total = len(trace)
        # sizes beyond the trace never fill, and need not have room
        max_size = min(policy.max_size, total + 1)
        steering = _make_steering(policy, max_size)
        self._buffer = SharedBuffer(
            arrivals=trace.arrivals,
            rows=trace.rows,
            state=np.array([0, 0, 0, max_size, 0]),
            max_wait=np.zeros(1),
            steering=steering,
            seen=Seen(
                latencies=np.empty(min(steering.window, total) + max_size),  # a batch beyond it
                counts=np.zeros(2, np.int64),
                tried=np.zeros(max_size + 1, np.int64),
                least=np.empty(max_size + 1),
            ),
        )
        room = allocate(np.zeros(total + 1, np.int64), np.empty(total), np.empty(total, np.int64))
        super().__init__(trace.arrivals, room, services, distributions)

    @property
    def count(self) -> int:
        """How many were sent so far."""
        return int(self._buffer.state[kernels.CLOSED])

    def serve_on_demand(self, rules: OnDemandRules) -> None:
        """Serve all on instances that start on demand."""
        kernels.serve_on_demand_from_buffer(self._buffer, self.room, self.distributions, rules)
        self._check()

    def serve_fleet(self, fleet: FleetState, now: float, until: float) -> None:
        """Serve what comes from `now` to `until` on a fleet."""
        kernels.serve_fleet_from_buffer(
            self._buffer, self.room, self.distributions, fleet, now, until
        )
        self._check()

    def is_over(self, done: int) -> bool:
        """Whether all requests were sent, and their batches are done."""
        return bool(self._buffer.state[kernels.SENT] == len(self.arrivals)) and done == self.count

    def _check(self) -> None:
        if rows := int(self._buffer.state[kernels.UNCOVERED]):
            self._check_covered(np.array([rows]))


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
