"""Any policy, event by event in plain Python: what the compiled loops are tested against.

A batcher is driven as a live run drives it: at one instant completions come first, then how many
servers are free, then arrivals, then its timer. After boots and scaling it learns again how many
are free. Draws are those of the compiled loops, so that a policy fares the same in both.
"""

import heapq
import math
from bisect import bisect_left, insort
from collections import deque
from collections.abc import Iterable
from itertools import count
from typing import Protocol

import numpy as np

from workbench.batching.timer import Batcher, Policy
from workbench.deployment.base import Deployment
from workbench.deployment.platforms import FleetPlatform, OnDemandPlatform
from workbench.errors import InvalidInput
from workbench.quantiles import longest_within
from workbench.scaling import ScalingPolicy
from workbench.simulator.fleet import Roster, serve_scaled
from workbench.simulator.kernels import RANDOM, SHARED, Batches, Speeds, draw, draw_row, find_slice
from workbench.simulator.platforms import (
    ROUTING,
    RandomInputs,
    ServedBatches,
    finish_fleet,
)
from workbench.traffic.trace import Trace


def serve(
    trace: Trace,
    policy: Policy,
    deployment: Deployment,
    chance: RandomInputs,
    scaling: ScalingPolicy | None,
) -> ServedBatches:
    """Return a trace's batches, served on a deployment but a batch transform.

    Raises:
        InvalidInput: Service times miss a batch, or the policy does not send each request once and
            in order.
    """
    platform = deployment.platform
    speeds = chance.distributions(platform).speeds
    if isinstance(platform, OnDemandPlatform):
        instances = _OnDemandInstances(platform)
        batches = _StepSimulation(trace, policy, instances, chance, speeds).run()
        return ServedBatches(batches, None, platform.limit if platform.queues else 0)
    assert isinstance(platform, FleetPlatform)  # noqa: S101 - jobs take no policy
    fleet = _SharedQueue(platform)
    steps = _StepSimulation(trace, policy, fleet, chance, speeds)
    if scaling is not None:
        serve_scaled(
            steps,
            fleet,
            scaling.scaler(),
            advance=steps.advance,
            boot=chance.draw_cold_start,
            least=platform.least,
            until=trace.duration,
        )
    return finish_fleet(steps.run(), fleet, platform, trace, scaling)


class _Assignment:
    """Who serves a batch: a server, idle since then (-inf: for ever), or one that starts."""

    __slots__ = ("cold", "server", "since")

    def __init__(self, server: int, since: float, *, cold: bool = False) -> None:
        self.server = server
        self.since = since
        self.cold = cold


class _Platform(Protocol):
    queues: list[deque[int]]
    """The batches that wait, first come first served."""
    waits: bool
    """Whether a batch that finds no server waits; else it fails."""
    workers: int
    """Servers that share a number."""
    ttl: float
    """The longest wait in seconds."""
    has_routes: bool
    """Whether a batch's queue is drawn."""
    has_starts: bool
    """Whether a batch may have to start its server."""

    @property
    def free(self) -> int:
        """How many batches could begin, less those that wait."""
        ...

    def next_start(self) -> float:
        """When a batch that waits may begin, if no server comes free before."""
        ...

    def route(self, level: float) -> int:
        """Return the queue of the next batch."""
        ...

    def take(self, queue: int, now: float) -> _Assignment | None:
        """Give a server to a batch, if there is one."""
        ...

    def rest(self, server: int, now: float) -> int:
        """Take a server back, and return the queue that it serves."""
        ...

    def expire(self) -> None:
        """Learn that a batch has waited too long."""
        ...


class _SharedQueue(Roster):
    """Instances with one queue, or one each: the worker freed last is taken first."""

    waits = True
    has_starts = False

    def __init__(self, rules: FleetPlatform) -> None:
        super().__init__(0)
        self.workers, self.ttl = rules.workers, longest_within(rules.ttl)
        self._routing = ROUTING[rules.routing]
        self._shared = self._routing == SHARED
        self.has_routes = self._routing == RANDOM
        self.queues: list[deque[int]] = [deque()] if self._shared else []
        self._idle: list[list[tuple[float, int]]] = [[]] if self._shared else []
        self._open: list[int] = []  # instances that take batches
        self._outstanding: list[int] = []  # batches that each has, waiting or being served
        self._serving = self._done = 0
        for instance in range(rules.instances):
            self.launch(0.0, -math.inf)
            self.boot(instance, -math.inf)

    def launch(self, now: float, ready: float) -> None:
        super().launch(now, ready)
        self._outstanding.append(0)
        if not self._shared:
            self.queues.append(deque())
            self._idle.append([])

    def boot(self, instance: int, since: float) -> None:
        insort(self._open, instance)
        for worker in range(instance * self.workers, (instance + 1) * self.workers):
            insort(self._idle[0 if self._shared else instance], (since, -worker))

    def retire(self, instance: int, now: float) -> None:
        super().retire(instance, now)
        if instance in self._open:
            self._open.remove(instance)
        if self._shared:
            self._idle[0] = [each for each in self._idle[0] if -each[1] // self.workers != instance]

    def is_idle(self, instance: int) -> bool:
        return instance not in self._open or not self._outstanding[instance]

    @property
    def busy_count(self) -> int:
        return self._serving

    @property
    def queue_length(self) -> int:
        return sum(map(len, self.queues))

    @property
    def done(self) -> int:
        return self._done

    @property
    def free(self) -> int:
        if self._shared:
            return len(self._idle[0]) + (not self._open) - len(self.queues[0])
        return sum(self.workers - self._outstanding[each] for each in self._open)

    def next_start(self) -> float:
        return math.inf

    def route(self, level: float) -> int:
        if self._shared:
            return 0
        if self._routing == RANDOM:
            queue = self._open[min(int(level * len(self._open)), len(self._open) - 1)]
        else:
            queue = min(self._open, key=self._outstanding.__getitem__)
        self._outstanding[queue] += 1
        return queue

    def take(self, queue: int, now: float) -> _Assignment | None:  # noqa: ARG002 - as in _Platform
        if not self._idle[queue]:
            return None
        since, server = self._idle[queue].pop()
        self._serving += 1
        self._outstanding[-server // self.workers] += self._shared
        return _Assignment(-server, since)

    def rest(self, server: int, now: float) -> int:
        instance = server // self.workers
        queue = 0 if self._shared else instance
        self._serving -= 1
        self._done += 1
        self._outstanding[instance] -= 1
        if not self._shared or self.retired[instance] is None:
            insort(self._idle[queue], (now, -server))
        return queue

    def expire(self) -> None:
        self._done += 1


class _OnDemandInstances:
    """Instances that start on demand: provisioned ones first, those freed last first."""

    workers = 1
    ttl = math.inf
    has_routes = False
    has_starts = True

    def __init__(self, rules: OnDemandPlatform) -> None:
        self.waits = rules.queues
        self.queues: list[deque[int]] = [deque()]
        self._rules = rules
        self._idle_provisioned = [
            (-math.inf, -server) for server in reversed(range(rules.provisioned))
        ]
        self._warm: list[tuple[float, int]] = []
        self._launched = rules.provisioned
        self._busy = 0
        self._full_at = -math.inf

    @property
    def free(self) -> int:
        return self._rules.limit - self._busy - len(self.queues[0])

    def next_start(self) -> float:
        is_below = self._busy < self._rules.limit
        return self._full_at + self._rules.pace - self._rules.depth if is_below else math.inf

    def route(self, level: float) -> int:  # noqa: ARG002 - as in _Platform
        return 0

    def take(self, queue: int, now: float) -> _Assignment | None:  # noqa: ARG002 - as in _Platform
        assignment = self._take_idle(now) or self._start_instance(now)
        self._busy += assignment is not None
        return assignment

    def _take_idle(self, now: float) -> _Assignment | None:
        if self._warm and now > self._warm[-1][0] + longest_within(self._rules.keep_alive):
            self._warm.clear()  # the last was freed last: when it has expired, all have
        idle = self._idle_provisioned or self._warm
        if not idle:
            return None
        since, server = idle.pop()
        return _Assignment(-server, since)

    def _start_instance(self, now: float) -> _Assignment | None:
        if now < self.next_start():
            return None
        self._full_at = max(self._full_at, now) + self._rules.pace
        self._launched += 1
        return _Assignment(self._launched - 1, now, cold=True)

    def rest(self, server: int, now: float) -> int:
        self._busy -= 1
        insort(
            self._idle_provisioned if server < self._rules.provisioned else self._warm,
            (now, -server),
        )
        return 0

    def expire(self) -> None:
        raise AssertionError("What waits for an instance on demand never expires.")


class _StepSimulation:
    """Virtual time: a batcher, the platform its batches go to, and what became of these."""

    def __init__(
        self,
        trace: Trace,
        policy: Policy,
        platform: _Platform,
        chance: RandomInputs,
        speeds: Speeds,
    ) -> None:
        self._arrivals: list[float] = [*trace.arrivals.tolist(), math.inf]
        self._rows = np.append(0, np.cumsum(trace.rows)).tolist()
        self._label = policy.label
        self._batcher: Batcher = policy.batcher()
        self._platform = platform
        self._chance = chance
        self._speeds = speeds
        self._following = 0
        self._sent = 0
        self._completions: list[tuple[float, int, int, int]] = []  # when, turn, batch, server
        self._sequence = count()
        self._levels: list[tuple[float, float]] = []
        self._first: list[int] = []
        self._closed: list[float] = []
        self._batch_rows: list[int] = []
        self._outcomes: dict[int, tuple[float, float, float, bool, int]] = {}

    def run(self) -> Batches:
        """Let all requests that are left arrive and be served, and return all batches."""
        self.advance(-math.inf, math.inf)
        if self._sent < len(self._arrivals) - 1:
            raise InvalidInput(
                f"The policy '{self._label}' sent {self._sent} of {len(self._arrivals) - 1} "
                "requests and waits for nothing: its `due` has to tell when to wake it."
            )
        return self._batches()

    def advance(self, now: float, until: float) -> None:
        """Let happen what happens from now to `until`, both included; servers may be others now."""
        now = max(now, 0.0)
        for queue in range(len(self._platform.queues)):
            self._serve(queue, now)
        self._send(self._batcher.server_free(max(0, self._platform.free), now), now)
        while (upcoming := self._next_event()) <= until and upcoming < math.inf:
            now = max(now, upcoming)
            self._complete(now)
            while self._arrivals[self._following] <= now:
                self._following += 1
                self._send(self._batcher.add(self._following - 1, now), now)
            if self._batcher.due <= now:
                self._wake(now)

    def count_sent(self, now: float) -> int:
        """Return how many batches were sent before now."""
        return bisect_left(self._closed, now)

    def is_over(self, done: int) -> bool:  # noqa: ARG002 - as in fleet.Arrivals
        """Whether nothing is to come: a policy that has lost requests never sends them."""
        return self._next_event() == math.inf

    def _next_event(self) -> float:
        """Return when something happens next."""
        completion = self._completions[0][0] if self._completions else math.inf
        upcoming = min(completion, self._arrivals[self._following], self._batcher.due)
        queues = self._platform.queues
        if not (queues and queues[0]):
            return upcoming
        # one that has waited for the ttl may still begin: past it, it fails
        expiry = math.nextafter(self._closed[queues[0][0]] + self._platform.ttl, math.inf)
        return min(upcoming, self._platform.next_start(), expiry)

    def _complete(self, now: float) -> None:
        """Take servers back whose batches are done, and give them to what waits."""
        if not (self._completions and self._completions[0][0] <= now) and not any(
            self._platform.queues
        ):
            return
        done = []
        queues = [0] if len(self._platform.queues) == 1 else []
        while self._completions and self._completions[0][0] <= now:
            _, _, batch, server = heapq.heappop(self._completions)
            done.append(batch)
            if server >= 0:
                queues.append(self._platform.rest(server, now))
        for queue in queues:
            done += self._serve(queue, now)
        if done and self._batcher.watches:
            for batch in done:
                self._batcher.learn_latencies(self._latencies(batch), now)
            free = max(0, self._platform.free)
            self._send(self._batcher.server_free(free, now), now)

    def _serve(self, queue: int, now: float) -> list[int]:
        """Begin what can of the batches that wait; return those that have waited too long."""
        waiting = self._platform.queues[queue]
        expired = []
        while waiting:
            batch = waiting[0]
            if self._closed[batch] + self._platform.ttl < now:
                self._outcomes[batch] = math.nan, math.nan, 0.0, False, -1
                self._platform.expire()
                expired.append(batch)
            elif not self._begin(batch, queue, now):
                break
            waiting.popleft()
        return expired

    def _latencies(self, batch: int) -> list[float]:
        finished = self._outcomes[batch][1]
        if math.isnan(finished):
            finished = math.inf
        stop = self._first[batch + 1] if batch + 1 < len(self._first) else self._sent
        return [finished - arrival for arrival in self._arrivals[self._first[batch] : stop]]

    def _wake(self, now: float) -> None:
        sent = self._batcher.wake(now)
        self._send(sent, now)
        if not sent and self._batcher.due <= now:
            raise InvalidInput(
                f"The policy '{self._label}' wants to be woken at {self._batcher.due:g} s, and "
                "sends nothing then: its `due` has to lie ahead."
            )

    def _send(self, groups: Iterable[list[int]], now: float) -> None:
        for requests in groups:
            stop = self._sent + len(requests)
            if not requests or requests != list(range(self._sent, stop)) or stop > self._following:
                raise InvalidInput(
                    f"The policy '{self._label}' must send each request once and in order of "
                    f"arrival: expected {self._sent} next, got {requests}."
                )
            self._first.append(self._sent)
            self._closed.append(now)
            self._batch_rows.append(self._rows[stop] - self._rows[self._sent])
            self._sent = stop
            self._arrive(len(self._first) - 1, now)

    def _arrive(self, batch: int, now: float) -> None:
        """Begin a batch, or have it wait, or fail it."""
        chance, platform = self._chance, self._platform
        level = chance.service_rng.random() if chance.service.sampled else 0.0
        drawn = platform.has_starts and len(chance.cold_start) > 1
        self._levels.append((level, chance.cold_start_rng.random() if drawn else 0.0))
        queue = platform.route(chance.route_rng.random() if platform.has_routes else 0.0)
        waiting = platform.queues[queue]
        if not waiting and self._begin(batch, queue, now):
            return
        if platform.waits:
            waiting.append(batch)
        else:
            self._outcomes[batch] = now, math.nan, 0.0, False, -1
            heapq.heappush(self._completions, (now, next(self._sequence), batch, -1))

    def _begin(self, batch: int, queue: int, now: float) -> bool:
        rows, service = self._batch_rows[batch], self._chance.service
        if rows > service.largest or math.isnan(service.table[rows, 0]):
            service.check(np.array([rows]))
        assignment = self._platform.take(queue, now)
        if assignment is None:
            return False
        level, boot_level = self._levels[batch]
        boot = draw(self._chance.cold_start, boot_level) if assignment.cold else 0.0
        distribution = service.idle_table[rows] if now > assignment.since else service.table[rows]
        instance = assignment.server // self._platform.workers
        if self._speeds.pace > 0:
            levels, slices, pace, phase, apart = self._speeds
            place = find_slice(now + boot, instance, (pace, phase, apart), len(slices))
            level = draw_row(levels, slices[place], level)
        finished = now + boot + draw(distribution, level)
        self._outcomes[batch] = now, finished, boot, assignment.cold, instance
        heapq.heappush(
            self._completions, (finished, next(self._sequence), batch, assignment.server)
        )
        return True

    def _batches(self) -> Batches:
        fates = [self._outcomes[batch] for batch in range(len(self._first))]
        started, finished, init, cold, server = zip(*fates, strict=True) if fates else [()] * 5
        return Batches(
            first=np.array([*self._first, self._sent], np.int64),
            closed=np.array(self._closed, np.float64),
            rows=np.array(self._batch_rows, np.int64),
            started=np.array(started, np.float64),
            finished=np.array(finished, np.float64),
            init=np.array(init, np.float64),
            cold=np.array(cold, np.bool_),
            server=np.array(server, np.int32),
        )
