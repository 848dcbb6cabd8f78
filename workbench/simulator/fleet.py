"""Fleets: instances that are launched, boot, serve and retire while batches come in."""

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from workbench.errors import InvalidInput
from workbench.quantiles import longest_within
from workbench.scaling.base import Reading, Scaler, TypeCount, count_by_type, require_later
from workbench.simulator import kernels
from workbench.simulator.kernels import LEAST_OUTSTANDING, SHARED, Batches

if TYPE_CHECKING:
    from workbench.simulator.interruptions import Interruptions


class FleetPart(NamedTuple):
    """The instances of one type in a fleet.

    `offset` is where the table of their service times begins, `weight` how long they take, beside
    those of other types.
    """

    name: str
    instances: int
    workers: int
    offset: int = 0
    weight: int = 1


class Roster:
    """When each instance of a fleet was launched, is ready and was retired, in order of launch."""

    def __init__(self, parts: Sequence[FleetPart]) -> None:
        self.parts = parts
        self.launched: list[float] = []
        self.ready: list[float] = []
        self.retired: list[float | None] = []
        self.part: list[int] = []  # whose each is
        self.active: list[int] = []  # those that have not been retired
        self.booting: list[int] = []  # those of them that cannot serve yet

    def launch(self, now: float, ready: float, part: int) -> int:
        """Add an instance that serves from `ready` on, once `boot` is called; return its number."""
        number = len(self.launched)
        self.launched.append(now)
        self.ready.append(ready)
        self.retired.append(None)
        self.part.append(part)
        self.active.append(number)
        self.booting.append(number)
        return number

    def boot(self, instance: int, since: float) -> None:
        """Let an instance take batches; its workers count as idle `since` then."""
        self.booting.remove(instance)

    def retire(self, instance: int, now: float) -> None:
        """Let an instance take no more batches; those it has, it still serves."""
        self.retired[instance] = now
        self.active.remove(instance)
        if instance in self.booting:
            self.booting.remove(instance)

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
    def spill_count(self) -> int:
        """How many batches were left to an overflow."""
        return 0

    def count_types(self) -> dict[str, TypeCount]:
        """Return the instances of each type, by its name."""
        found = dict.fromkeys((part.name for part in self.parts), TypeCount(0, 0))
        booting = set(self.booting)
        for instance in self.active:
            name = self.parts[self.part[instance]].name
            ready, starting = found[name]
            more = instance in booting
            found[name] = TypeCount(ready + (not more), starting + more)
        return found

    def spans(self, batches: Batches, end: float) -> list[tuple[float, float]]:
        """Return when each instance was launched and stopped, all by `end`.

        A scaler may decide once more after the end of a run: that is billed to nobody.
        """
        last = np.zeros(len(self.launched))
        if len(self.active) < len(last):  # else nobody asks for the last batch of each
            kernels.find_last(batches.server, batches.finished, last)
        return [
            (
                min(launched, end),
                float(end if retired is None else min(max(retired, finished), end)),
            )
            for launched, retired, finished in zip(
                self.launched, self.retired, last.tolist(), strict=True
            )
        ]


_BY_INSTANCE = ("takes", "own", "offset", "weight")
_BY_QUEUE = ("idle_count", "head", "tail", "outstanding")


class Instances(Roster):
    """The instances of a fleet, and the arrays that the compiled loops work on."""

    def __init__(
        self,
        parts: Sequence[FleetPart],
        *,
        routing: int,
        ttl: float,
        batches: int,
        spill: kernels.SpillLimits,
    ) -> None:
        super().__init__(parts)
        self._shared = routing == SHARED
        self._has_tree = routing == LEAST_OUTSTANDING
        self.offered_again: dict[int, float] = {}  # batches that were left later, and when
        for number, part in enumerate(parts):
            for _ in range(part.instances):
                super().launch(0.0, -np.inf, number)
        self.booting.clear()
        count, workers = len(self.launched), max(part.workers for part in parts)
        own = np.array([parts[each].workers for each in self.part], np.int64)
        # the lowest number on top, where `push_idle` puts it
        stacks = workers * np.arange(count)[:, None] + own[:, None] - 1 - np.arange(workers)
        # one place for each worker that may be busy, and a power of two
        ring = 1 << max(count * workers - 1, 0).bit_length()
        queues = 1 if self._shared else count
        self.arrays = kernels.FleetState(
            routing=routing,
            workers=workers,
            ttl=ttl,
            routable=np.arange(count),
            takes=np.ones(count, np.bool_),
            own=own,
            offset=np.array([parts[each].offset for each in self.part], np.int64),
            weight=np.array([parts[each].weight for each in self.part], np.int64),
            tree=np.full(2, kernels.NEVER),
            idle=(stacks[::-1] if self._shared else stacks).flatten().astype(np.int32),
            idle_since=np.full(count * workers, -np.inf),
            idle_count=np.array([own.sum()]) if self._shared else own.copy(),
            head=np.full(queues, -1),
            tail=np.full(queues, -1),
            outstanding=np.zeros(queues, np.int64),
            when=np.empty(ring),
            who=np.empty(ring, np.int32),
            state=np.zeros(5, np.int64),
            following=np.empty(batches, np.int64),
            spill=spill,
        )
        self._grow_tree()

    def launch(self, now: float, ready: float, part: int) -> int:
        """Add an instance, with room for what it does."""
        number = super().launch(now, ready, part)
        if number >= len(self.arrays.takes):
            self._grow(max(8, 2 * number))
        fleet, its = self.arrays, self.parts[part]
        fleet.own[number], fleet.offset[number] = its.workers, its.offset
        fleet.weight[number] = its.weight
        self._widen_ring()
        return number

    def _grow(self, room: int) -> None:
        """Make room for so many instances, twice as many as there are: seldom, then."""
        fleet = self.arrays
        more = room - len(fleet.takes)
        names = _BY_INSTANCE if self._shared else (*_BY_INSTANCE, *_BY_QUEUE)
        wider: dict[str, Any] = {
            name: np.append(each := getattr(fleet, name), np.zeros(more, each.dtype))
            for name in names
        }
        if not self._shared:
            wider["head"][-more:] = wider["tail"][-more:] = -1
        workers = more * fleet.workers
        wider["idle"] = np.append(fleet.idle, np.zeros(workers, np.int32))
        wider["idle_since"] = np.append(fleet.idle_since, np.zeros(workers))
        self.arrays = fleet._replace(**wider)
        self._grow_tree()

    def _grow_tree(self) -> None:
        """Make a leaf for each instance that there is room for."""
        fleet = self.arrays
        if not self._has_tree:
            return
        leaves = 1 << max(len(fleet.takes) - 1, 0).bit_length()
        if leaves >= 1 << kernels.KEY_BITS:
            raise InvalidInput(
                f"A simulated fleet may launch {1 << kernels.KEY_BITS} instances at most."
            )
        self.arrays = fleet._replace(tree=np.full(2 * leaves, kernels.NEVER))
        for instance in fleet.routable.tolist():
            self._set_key(instance)

    def _set_key(self, instance: int) -> None:
        fleet = self.arrays
        load = int(fleet.weight[instance]) * (int(fleet.outstanding[instance]) + 1)
        kernels.set_key(fleet.tree, instance, (load << kernels.KEY_BITS) + instance)

    def _widen_ring(self) -> None:
        """Make room for a completion of each worker that may be busy."""
        fleet = self.arrays
        size = len(fleet.when)
        most = self.busy_count + len(self.active) * fleet.workers
        if size < most:
            # laid out from its first entry on: a longer ring goes round elsewhere
            positions = (fleet.state[kernels.FIRST] + np.arange(size)) % size
            fleet.state[kernels.FIRST] = 0
            wider = 1 << (most - 1).bit_length()
            when, who = np.empty(wider), np.empty(wider, np.int32)
            when[:size], who[:size] = fleet.when[positions], fleet.who[positions]
            self.arrays = fleet._replace(when=when, who=who)

    def boot(self, instance: int, since: float) -> None:
        """Put its workers among the idle ones."""
        super().boot(instance, since)
        fleet = self.arrays
        queue = 0 if self._shared else instance
        bottom = 0 if self._shared else instance * fleet.workers
        first = instance * fleet.workers
        for worker in range(first, first + int(fleet.own[instance])):
            kernels.push_idle(
                fleet.idle, fleet.idle_since, bottom, int(fleet.idle_count[queue]), (since, worker)
            )
            fleet.idle_count[queue] += 1
        fleet.takes[instance] = True
        self.arrays = fleet._replace(routable=np.sort(np.append(fleet.routable, instance)))
        if self._has_tree:
            self._set_key(instance)

    def retire(self, instance: int, now: float) -> None:
        """Take it off the routable ones, and its idle workers from a shared queue."""
        super().retire(instance, now)
        fleet = self.arrays
        if not fleet.takes[instance]:
            return
        fleet.takes[instance] = False
        self.arrays = fleet._replace(routable=fleet.routable[fleet.routable != instance])
        if self._has_tree:
            kernels.set_key(fleet.tree, instance, kernels.NEVER)
        if self._shared:
            count = int(fleet.idle_count[0])
            stays = np.flatnonzero(fleet.idle[:count] // fleet.workers != instance)
            fleet.idle[: len(stays)] = fleet.idle[stays]
            fleet.idle_since[: len(stays)] = fleet.idle_since[stays]
            fleet.idle_count[0] = len(stays)

    def lose(self, instance: int, batches: Batches, now: float) -> NDArray[np.int64]:
        """Take from a retired instance, whose workers go, the batches it has; return these."""
        fleet, count = self.arrays, int(self.arrays.state[kernels.NEXT])
        server, finished = batches.server[:count], batches.finished[:count]
        lost = np.flatnonzero((server == instance) & (finished > now)).tolist()
        size, first = len(fleet.when), int(fleet.state[kernels.FIRST])
        at = (first + np.arange(int(fleet.state[kernels.BUSY]))) % size  # its completions
        stays = at[fleet.who[at] // fleet.workers != instance]
        fleet.when[at[: len(stays)]] = fleet.when[stays]
        fleet.who[at[: len(stays)]] = fleet.who[stays]
        fleet.state[kernels.BUSY] = len(stays)
        queue = 0 if self._shared else instance
        if not self._shared:
            batch = int(fleet.head[queue])
            while batch >= 0:
                lost.append(batch)
                batch = int(fleet.following[batch])
            fleet.head[queue] = -1
        fleet.outstanding[queue] -= len(lost)
        batches.server[lost] = kernels.TO_COME
        return np.array(sorted(lost), np.int64)

    def leave(self, batch: int, batches: Batches, now: float) -> None:
        """Leave a batch to the overflow, if there is one, from now on."""
        batches.server[batch] = kernels.TO_OVERFLOW
        self.offered_again[batch] = now
        self.arrays.state[kernels.SPILLED] += 1

    def offer(self, batch: int) -> None:
        """Let a batch wait, as the last, for the instance that is next."""
        fleet = self.arrays
        queue = 0 if self._shared else int(min(fleet.routable, key=fleet.outstanding.__getitem__))
        if self._has_tree:
            queue = int(fleet.tree[1]) & ((1 << kernels.KEY_BITS) - 1)
        fleet.outstanding[queue] += 1
        fleet.following[batch] = -1
        if fleet.head[queue] < 0:
            fleet.head[queue] = batch
        else:
            fleet.following[fleet.tail[queue]] = batch
        fleet.tail[queue] = batch
        if self._has_tree:
            self._set_key(queue)

    def is_idle(self, instance: int) -> bool:
        """Whether it serves nothing and nothing waits in a queue of its own."""
        fleet = self.arrays
        if not fleet.takes[instance]:
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
        state = self.arrays.state
        return int(state[kernels.NEXT] - state[kernels.SPILLED] - self.done) - self.busy_count

    @property
    def done(self) -> int:
        """How many batches have been answered or have expired."""
        return int(self.arrays.state[kernels.DONE])

    @property
    def spill_count(self) -> int:
        """How many batches were left to an overflow."""
        return int(self.arrays.state[kernels.SPILLED])


class Arrivals(Protocol):
    """What a fleet has to serve."""

    def count_sent(self, now: float) -> int:
        """Return how many batches were sent before now."""

    def count_requests(self, now: float) -> int:
        """Return how many requests arrived before now."""

    def count_late(self, now: float, target: float) -> int:
        """Return how many requests the fleet answered late since it was asked last."""

    def is_over(self, done: int) -> bool:
        """Whether these were all, if so many are done."""


class Rescaling:
    """A fleet of `least` instances or more whose scaler is asked when due; `boot` draws seconds.

    At one instant completions come first, then arrivals, then timers, then boots, whose instances
    take what waits, then the scaler's decision, which sees all of that but the arrivals. It takes
    effect at once: launched instances serve `boot()` seconds later; of those too many, the newest
    idle ones go first. The scaler of a fleet that `mixes` types says how many there should be of
    each.
    """

    def __init__(
        self,
        arrivals: Arrivals,
        instances: Roster,
        scaler: Scaler,
        *,
        boot: Callable[[], float],
        least: int,
        mixes: bool = False,
        interruptions: "Interruptions | None" = None,
    ) -> None:
        self.arrivals = arrivals
        self._interruptions = interruptions
        self._instances, self._scaler = instances, scaler
        self._boot, self._least, self._mixes = boot, least, mixes
        self._now, self._seen = -np.inf, (0, 0, 0, 0)
        self._checked: tuple[object, list[int]] = (None, [])

    @property
    def due(self) -> float:
        """When an instance is ready or the scaler is asked next, which must lie ahead."""
        ready = self._instances.ready
        taken = math.inf if self._interruptions is None else self._interruptions.due
        boots = (ready[i] for i in self._instances.booting)
        return require_later(float(min([self._scaler.due, taken, *boots])), self._now)

    def boot(self, now: float) -> bool:
        """Let the instances that are ready now take batches; return whether there are any.

        Then spot instances go that are taken away now.
        """
        self._now = now
        instances = self._instances
        booted = [i for i in instances.booting if instances.ready[i] == now]
        for instance in booted:
            instances.boot(instance, now)
        if self._interruptions is not None:
            self._interruptions.act(now)
        return bool(booted)

    def is_asked(self, now: float) -> bool:
        """Whether the scaler decides now."""
        return self._scaler.due <= now

    def decide(self, now: float) -> None:
        """Let the scaler decide, and launch and retire."""
        wanted = self._count_wanted(self._scaler.decide(self._read(now), now))
        for part, count in enumerate(wanted):
            self._resize(part, count, now)

    @property
    def is_over(self) -> bool:
        """Whether nothing is left to serve."""
        return self.arrivals.is_over(self._instances.done + self._instances.spill_count)

    def _read(self, now: float) -> Reading:
        """Return the reading that a scaler gets."""
        instances, arrivals, before = self._instances, self.arrivals, self._seen
        seen = (
            arrivals.count_sent(now),
            instances.done,
            arrivals.count_requests(now),
            instances.spill_count,
        )
        self._seen = seen
        arrived, done, requests, spilled = (
            new - old for new, old in zip(seen, before, strict=True)
        )
        target = getattr(self._scaler, "latency_target", None)
        return Reading(
            arrived=arrived,
            done=done,
            waiting=instances.queue_length,
            serving=instances.busy_count,
            ready=len(instances.active) - len(instances.booting),
            starting=len(instances.booting),
            requests=requests,
            spilled=spilled,
            late=0 if target is None else arrivals.count_late(now, longest_within(target)),
            types=instances.count_types() if self._mixes else {},
        )

    def _count_wanted(self, wanted: object) -> list[int]:
        """Return how many instances there should be of each part, known to be such counts."""
        last, found = self._checked
        if type(wanted) is int and wanted == last:  # as a scaler says most of the time
            return found
        counts = count_by_type(wanted, [part.name for part in self._instances.parts])
        found = list(counts.values())
        if sum(found) < self._least:
            raise InvalidInput(
                f"The scaler must ask for a whole number of instances from {self._least}, "
                f"got {wanted!r}: only beside functions, as the base of a Hybrid, may all go."
            )
        self._checked = wanted, found
        return found

    def _resize(self, part: int, wanted: int, now: float) -> None:
        """Launch what is missing; retire what is too much, the newest idle ones first."""
        instances = self._instances
        active = [i for i in instances.active if instances.part[i] == part]
        if len(active) > wanted:
            by_use = sorted(active, key=lambda i: (not instances.is_idle(i), -i))
            for instance in by_use[: len(active) - wanted]:
                instances.retire(instance, now)
        more = max(0, wanted - len(active))
        if self._interruptions is not None and self._interruptions.part == part:
            more = self._interruptions.count_more(more)
        for _ in range(more):
            seconds = self._boot()
            number = instances.launch(now, now + seconds, part)
            if now + seconds == now:  # shorter than a float can tell at that instant
                instances.boot(number, now)


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
