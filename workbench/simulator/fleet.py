"""Fleets: instances that are launched, boot, serve and retire while batches come in."""

from collections.abc import Callable
from typing import Protocol

import numpy as np

from workbench.errors import InvalidInput
from workbench.scaling.base import Reading, Scaler
from workbench.simulator import kernels
from workbench.simulator.kernels import SHARED, Batches


class Roster:
    """When each instance of a fleet was launched, is ready and was retired, in order of launch.

    It begins with `count` instances, launched at 0 and idle since ever.
    """

    def __init__(self, count: int) -> None:
        self.launched = [0.0] * count
        self.ready = [-np.inf] * count
        self.retired: list[float | None] = [None] * count

    def launch(self, now: float, ready: float) -> None:
        """Add an instance that serves from the instant `ready` on, once `boot` is called."""
        self.launched.append(now)
        self.ready.append(ready)
        self.retired.append(None)

    def boot(self, instance: int, since: float) -> None:
        """Let an instance take batches; its workers count as idle `since` then."""
        raise NotImplementedError

    def retire(self, instance: int, now: float) -> None:
        """Let an instance take no more batches; those it has, it still serves."""
        self.retired[instance] = now

    def is_idle(self, instance: int) -> bool:
        """Whether an instance serves nothing and nothing waits in a queue of its own."""
        raise NotImplementedError

    @property
    def busy_count(self) -> int:
        """How many batches are being served."""
        raise NotImplementedError

    @property
    def queue_length(self) -> int:
        """How many batches wait for a server."""
        raise NotImplementedError

    @property
    def done(self) -> int:
        """How many batches have been answered or have expired."""
        raise NotImplementedError

    @property
    def active(self) -> list[int]:
        """The instances that have not been retired."""
        return [number for number, retired in enumerate(self.retired) if retired is None]

    def spans(self, batches: Batches, end: float) -> list[tuple[float, float]]:
        """Return when each instance was launched and stopped, all by `end`.

        A scaler may decide once more after the end of a run: that is billed to nobody.
        """
        last = np.zeros(len(self.launched))
        if len(self.active) < len(last):
            served = batches.server >= 0
            np.maximum.at(last, batches.server[served], batches.finished[served])
        return [
            (
                min(launched, end),
                float(end if retired is None else min(max(retired, finished), end)),
            )
            for launched, retired, finished in zip(self.launched, self.retired, last, strict=True)
        ]


class Instances(Roster):
    """The instances of a fleet, and the arrays that the compiled loops work on."""

    def __init__(self, *, count: int, workers: int, routing: int, ttl: float, batches: int) -> None:
        super().__init__(count)
        self._shared = routing == SHARED
        queues = 1 if self._shared else count
        everyone = count * workers
        stacks = np.arange(everyone, dtype=np.int32).reshape(queues, -1)[:, ::-1]
        ring = 1 << max(everyone - 1, 0).bit_length()
        self.arrays = kernels.FleetState(
            routing=routing,
            workers=workers,
            ttl=ttl,
            routable=np.arange(count),
            retired=np.zeros(count, np.bool_),
            idle=stacks.flatten(),
            idle_since=np.full(everyone, -np.inf),
            idle_count=np.full(queues, everyone // queues),
            head=np.full(queues, -1),
            tail=np.full(queues, -1),
            outstanding=np.zeros(queues, np.int64),
            when=np.empty(ring),
            who=np.empty(ring, np.int32),
            state=np.zeros(3, np.int64),
            following=np.empty(batches, np.int64),
        )

    def launch(self, now: float, ready: float) -> None:
        """Add an instance, with room for what it does."""
        super().launch(now, ready)
        fleet = self.arrays
        self.arrays = fleet._replace(
            retired=np.append(fleet.retired, False),
            idle=np.append(fleet.idle, np.zeros(fleet.workers, np.int32)),
            idle_since=np.append(fleet.idle_since, np.zeros(fleet.workers)),
        )
        if not self._shared:
            self._add_queue()
        self._widen_ring()

    def _add_queue(self) -> None:
        fleet = self.arrays
        self.arrays = fleet._replace(
            idle_count=np.append(fleet.idle_count, 0),
            head=np.append(fleet.head, -1),
            tail=np.append(fleet.tail, -1),
            outstanding=np.append(fleet.outstanding, 0),
        )

    def _widen_ring(self) -> None:
        """Make room for a completion of each worker."""
        fleet = self.arrays
        size = len(fleet.when)
        if size < len(fleet.idle):
            positions = (fleet.state[kernels.FIRST] + np.arange(size)) % size
            fleet.state[kernels.FIRST] = 0
            wider = 1 << (len(fleet.idle) - 1).bit_length()
            when, who = np.empty(wider), np.empty(wider, np.int32)
            when[:size], who[:size] = fleet.when[positions], fleet.who[positions]
            self.arrays = fleet._replace(when=when, who=who)

    def boot(self, instance: int, since: float) -> None:
        """Put its workers among the idle ones."""
        fleet = self.arrays
        queue = 0 if self._shared else instance
        bottom = 0 if self._shared else instance * fleet.workers
        for worker in range(instance * fleet.workers, (instance + 1) * fleet.workers):
            kernels.push_idle(
                fleet.idle, fleet.idle_since, bottom, int(fleet.idle_count[queue]), (since, worker)
            )
            fleet.idle_count[queue] += 1
        self.arrays = fleet._replace(routable=np.sort(np.append(fleet.routable, instance)))

    def retire(self, instance: int, now: float) -> None:
        """Take it off the routable ones, and its idle workers from a shared queue."""
        super().retire(instance, now)
        fleet = self.arrays
        self.arrays = fleet._replace(routable=fleet.routable[fleet.routable != instance])
        if self._shared:
            fleet.retired[instance] = True
            count = int(fleet.idle_count[0])
            stays = np.flatnonzero(fleet.idle[:count] // fleet.workers != instance)
            fleet.idle[: len(stays)] = fleet.idle[stays]
            fleet.idle_since[: len(stays)] = fleet.idle_since[stays]
            fleet.idle_count[0] = len(stays)

    def is_idle(self, instance: int) -> bool:
        """Whether it serves nothing and nothing waits in a queue of its own."""
        fleet = self.arrays
        if instance not in fleet.routable:
            return True
        if not self._shared:
            return bool(fleet.outstanding[instance] == 0)
        idle = fleet.idle[: fleet.idle_count[0]] // fleet.workers
        return bool((idle == instance).sum() == fleet.workers)

    @property
    def busy_count(self) -> int:
        """How many batches are being served."""
        return int(self.arrays.state[kernels.BUSY])

    @property
    def queue_length(self) -> int:
        """How many batches wait for a server."""
        return int(self.arrays.outstanding.sum()) - self.busy_count

    @property
    def done(self) -> int:
        """How many batches have been answered or have expired."""
        return int(self.arrays.state[kernels.NEXT] - self.arrays.outstanding.sum())


class Arrivals(Protocol):
    """What a fleet has to serve."""

    def count_sent(self, now: float) -> int:
        """Return how many batches were sent before now."""
        ...

    def is_over(self, done: int) -> bool:
        """Whether these were all, if so many are done."""
        ...


class Rescaling:
    """A fleet of `least` instances or more whose scaler is asked when due; `boot` draws seconds.

    At one instant completions come first, then arrivals, then timers, then boots, whose instances
    take what waits, then the scaler's decision, which sees all of that but the arrivals. It takes
    effect at once: launched instances serve `boot()` seconds later; of those too many, the newest
    idle ones go first.
    """

    def __init__(
        self,
        arrivals: Arrivals,
        instances: Roster,
        scaler: Scaler,
        *,
        boot: Callable[[], float],
        least: int,
    ) -> None:
        self.arrivals = arrivals
        self._instances, self._scaler = instances, scaler
        self._boot, self._least = boot, least
        self._now, self._arrived, self._done = -np.inf, 0, 0

    @property
    def due(self) -> float:
        """When an instance is ready or the scaler is asked next.

        Raises:
            InvalidInput: The scaler's next instant does not lie ahead.
        """
        ready = (self._instances.ready[i] for i in self._instances.active)
        following = float(min(self._scaler.due, *(at for at in ready if at > self._now), np.inf))
        if following <= self._now:
            raise InvalidInput(
                f"A scaler must be due later than now, {self._now}, got {following}."
            )
        return following

    def boot(self, now: float) -> bool:
        """Let the instances that are ready now take batches; return whether there are any."""
        self._now = now
        booted = [i for i in self._instances.active if self._instances.ready[i] == now]
        for instance in booted:
            self._instances.boot(instance, now)
        return bool(booted)

    def is_asked(self, now: float) -> bool:
        """Whether the scaler decides now."""
        return self._scaler.due <= now

    def decide(self, now: float) -> None:
        """Let the scaler decide, and launch and retire.

        Raises:
            InvalidInput: It asks for what is no count of instances.
        """
        instances = self._instances
        before, self._arrived = self._arrived, self.arrivals.count_sent(now)
        reading = _read(instances, self._arrived - before, instances.done - self._done, now)
        self._done = instances.done
        wanted = _ask_scaler(self._scaler, reading, self._least, now)
        _rescale(instances, wanted, now=now, boot=self._boot)

    @property
    def is_over(self) -> bool:
        """Whether nothing is left to serve."""
        return self.arrivals.is_over(self._done)


def serve_scaled(
    rescaling: Rescaling, *, advance: Callable[[float, float], None], until: float
) -> None:
    """Serve batches on a fleet that scales, asked until `until` and on until the last is served.

    `advance` lets happen what happens between two instants, both included, with that fleet.

    Raises:
        InvalidInput: The scaler's next instant does not lie ahead, or its count is not one.
    """
    now = -np.inf
    while True:
        before, now = now, rescaling.due
        advance(before, now)
        if now == np.inf:
            return
        booted = rescaling.boot(now)
        if rescaling.is_asked(now):
            if booted:
                advance(now, now)  # or they would look idle while batches wait for them
            rescaling.decide(now)
            if now >= until and rescaling.is_over:
                return


def _read(instances: Roster, arrived: int, done: int, now: float) -> Reading:
    """Return the reading that a scaler gets."""
    active = instances.active
    ready = sum(instances.ready[i] <= now for i in active)
    return Reading(
        arrived=arrived,
        done=done,
        waiting=instances.queue_length,
        serving=instances.busy_count,
        ready=ready,
        starting=len(active) - ready,
    )


def _ask_scaler(scaler: Scaler, reading: Reading, least: int, now: float) -> int:
    wanted = scaler.decide(reading, now)
    if not isinstance(wanted, int) or wanted < least:
        raise InvalidInput(
            f"The scaler must ask for a whole number of instances from {least}, got {wanted!r}."
        )
    return wanted


def _rescale(instances: Roster, wanted: int, *, now: float, boot: Callable[[], float]) -> None:
    """Launch what is missing; retire what is too much, the newest idle ones first."""
    active = instances.active
    by_use = sorted(active, key=lambda i: (not instances.is_idle(i), -i))
    for instance in by_use[: max(0, len(active) - wanted)]:
        instances.retire(instance, now)
    for _ in range(wanted - len(active)):
        seconds = boot()
        instances.launch(now, now + seconds)
        if now + seconds == now:
            instances.boot(len(instances.launched) - 1, now)
