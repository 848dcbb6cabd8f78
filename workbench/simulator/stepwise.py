"""Any policy, event by event in plain Python, where the compiled loops know `BatchPolicy` only.

A batcher is driven as a live run drives it: at one instant completions first, of which it is told
before it hears how many servers are free, then arrivals, then its timer. On instances that start
on demand as many servers are free as calls may still begin below the limit. Draws are those of the
compiled loops, so that `BatchPolicy` fares the same in both.
"""

import heapq
import math
from bisect import insort
from collections import deque
from collections.abc import Iterable
from itertools import count
from typing import Protocol

import numpy as np

from workbench.batching.timer import Batcher, Policy
from workbench.deployment import Deployment, Lambda, Local, RealTime, Serverless
from workbench.errors import InvalidInput
from workbench.simulator.kernels import Batches, draw
from workbench.simulator.platforms import RandomInputs, ServedBatches
from workbench.traffic.trace import Trace


def serve(
    trace: Trace, policy: Policy, deployment: Deployment, chance: RandomInputs
) -> ServedBatches:
    """Return a trace's batches, served on one shared queue or on instances on demand.

    Raises:
        InvalidInput: The deployment is another, service times miss a batch, or the policy does not
            send each request once and in order.
    """
    batches = _StepSimulation(trace, policy, _platform(deployment), chance).run()
    end = max(trace.duration, float(np.nanmax(batches.finished, initial=0.0)))
    match deployment:
        case RealTime():
            servers = deployment.count * deployment.workers
            return ServedBatches(batches, [(0.0, end)] * deployment.count, servers)
        case Local():
            return ServedBatches(batches, None, deployment.workers)
        case Serverless() | Lambda() if deployment.on_limit == "queue":
            return ServedBatches(batches, None, deployment.max_concurrency)
    return ServedBatches(batches, None, 0)


class _Assignment:
    """Who serves a batch: a server, idle since then (-inf: for ever), or one that starts."""

    __slots__ = ("cold", "server", "since")

    def __init__(self, server: int, since: float, *, cold: bool = False) -> None:
        self.server = server
        self.since = since
        self.cold = cold


class _Platform(Protocol):
    queues: bool
    """Whether a batch that finds no server waits; else it fails."""
    workers: int
    """Servers that share a number."""

    @property
    def free(self) -> int:
        """How many batches could begin."""
        ...

    def ready(self) -> float:
        """When a batch that waits may begin, if no server comes free before."""
        ...

    def take(self, now: float) -> _Assignment | None:
        """Give a server to a batch, if there is one."""
        ...

    def rest(self, server: int, now: float) -> None:
        """Take a server back."""
        ...


class _SharedQueue:
    """Servers on one queue: the one freed last is taken first, of those the lowest number."""

    queues = True

    def __init__(self, servers: int, workers: int) -> None:
        self.workers = workers
        self._idle = [(-math.inf, -server) for server in reversed(range(servers))]

    @property
    def free(self) -> int:
        return len(self._idle)

    def ready(self) -> float:
        return math.inf

    def take(self, now: float) -> _Assignment | None:  # noqa: ARG002 - as in _Platform
        if not self._idle:
            return None
        since, server = self._idle.pop()
        return _Assignment(-server, since)

    def rest(self, server: int, now: float) -> None:
        insort(self._idle, (now, -server))


class _OnDemandInstances:
    """Instances that start on demand: provisioned ones first, those freed last first."""

    workers = 1

    def __init__(self, deployment: Serverless | Lambda) -> None:
        self.queues = deployment.on_limit == "queue"
        self._rules = deployment
        self._idle_provisioned = [
            (-math.inf, -server) for server in reversed(range(deployment.provisioned))
        ]
        self._warm: list[tuple[float, int]] = []
        self._launched = deployment.provisioned
        self._busy = 0
        self._full_at, self._pace, self._depth = -math.inf, 0.0, math.inf
        if isinstance(deployment, Lambda):
            self._pace = deployment.scaling_period / deployment.scaling_step
            self._depth = deployment.scaling_period

    @property
    def free(self) -> int:
        return self._rules.max_concurrency - self._busy

    def ready(self) -> float:
        return self._full_at + self._pace - self._depth if self.free > 0 else math.inf

    def take(self, now: float) -> _Assignment | None:
        assignment = self._take_idle(now) or self._start_instance(now)
        self._busy += assignment is not None
        return assignment

    def _take_idle(self, now: float) -> _Assignment | None:
        if self._warm and now > self._warm[-1][0] + self._rules.keep_alive:
            self._warm.clear()  # the last was freed last: when it has expired, all have
        idle = self._idle_provisioned or self._warm
        if not idle:
            return None
        since, server = idle.pop()
        return _Assignment(-server, since)

    def _start_instance(self, now: float) -> _Assignment | None:
        if not (self.free and now >= self.ready()):
            return None
        self._full_at = max(self._full_at, now) + self._pace
        self._launched += 1
        return _Assignment(self._launched - 1, now, cold=True)

    def rest(self, server: int, now: float) -> None:
        self._busy -= 1
        insort(
            self._idle_provisioned if server < self._rules.provisioned else self._warm,
            (now, -server),
        )


def _platform(deployment: Deployment) -> _Platform:
    match deployment:
        case Local():
            return _SharedQueue(deployment.workers, 1)
        case RealTime() if deployment.routing == "shared" or deployment.count == 1:
            return _SharedQueue(deployment.count * deployment.workers, deployment.workers)
        case Serverless() | Lambda():
            return _OnDemandInstances(deployment)
    raise InvalidInput(
        "A policy other than BatchPolicy is simulated on one shared queue (Local, or RealTime with "
        f"routing='shared'), Serverless and Lambda, not on {deployment!r}."
    )


class _StepSimulation:
    """Virtual time: a batcher, the platform its batches go to, and what became of these."""

    def __init__(
        self, trace: Trace, policy: Policy, platform: _Platform, chance: RandomInputs
    ) -> None:
        self._arrivals: list[float] = [*trace.arrivals.tolist(), math.inf]
        self._rows = np.append(0, np.cumsum(trace.rows)).tolist()
        self._label = policy.label
        self._batcher: Batcher = policy.batcher()
        self._platform = platform
        self._chance = chance
        self._following = 0
        self._sent = 0
        self._queue: deque[int] = deque()
        self._completions: list[tuple[float, int, int, int]] = []  # when, turn, batch, server
        self._sequence = count()
        self._levels: list[tuple[float, float]] = []
        self._first: list[int] = []
        self._closed: list[float] = []
        self._batch_rows: list[int] = []
        self._outcomes: dict[int, tuple[float, float, float, bool, int]] = {}

    def run(self) -> Batches:
        """Let all requests arrive and be served."""
        self._send(self._batcher.server_free(self._platform.free, 0.0), 0.0)
        now = 0.0
        while (upcoming := self._upcoming()) < math.inf:
            now = max(now, upcoming)
            self._complete(now)
            while self._arrivals[self._following] <= now:
                self._following += 1
                self._send(self._batcher.add(self._following - 1, now), now)
            if self._batcher.due <= now:
                self._wake(now)
        if self._sent < len(self._arrivals) - 1:
            raise InvalidInput(
                f"The policy '{self._label}' sent {self._sent} of {len(self._arrivals) - 1} "
                "requests and waits for nothing: its `due` has to tell when to wake it."
            )
        return self._batches()

    def _upcoming(self) -> float:
        """Return when something happens next."""
        completion = self._completions[0][0] if self._completions else math.inf
        ready = self._platform.ready() if self._queue else math.inf
        return min(completion, ready, self._arrivals[self._following], self._batcher.due)

    def _complete(self, now: float) -> None:
        """Take servers back whose batches are done, and give them to what waits."""
        done = []
        while self._completions and self._completions[0][0] <= now:
            _, _, batch, server = heapq.heappop(self._completions)
            done.append(batch)
            if server >= 0:
                self._platform.rest(server, now)
        while self._queue and self._begin(self._queue[0], now):
            self._queue.popleft()
        if done and self._batcher.watches:
            for batch in done:
                self._batcher.answered(self._latencies(batch), now)
            free = max(0, self._platform.free - len(self._queue))
            self._send(self._batcher.server_free(free, now), now)

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
            self._levels.append(self._draw_levels())
            self._arrive(len(self._first) - 1, now)

    def _draw_levels(self) -> tuple[float, float]:
        """Draw the levels of a batch's service time and cold start."""
        chance = self._chance
        service = chance.service_rng.random() if chance.service.sampled else 0.0
        boot = chance.cold_start_rng.random() if len(chance.cold_start) > 1 else 0.0
        return service, boot

    def _arrive(self, batch: int, now: float) -> None:
        """Begin a batch, or have it wait, or fail it."""
        if not self._queue and self._begin(batch, now):
            return
        if self._platform.queues:
            self._queue.append(batch)
            return
        self._outcomes[batch] = now, math.nan, 0.0, False, -1
        heapq.heappush(self._completions, (now, next(self._sequence), batch, -1))

    def _begin(self, batch: int, now: float) -> bool:
        rows, service = self._batch_rows[batch], self._chance.service
        if rows > service.largest or math.isnan(service.table[rows, 0]):
            service.check(np.array([rows]))
        assignment = self._platform.take(now)
        if assignment is None:
            return False
        level, boot_level = self._levels[batch]
        boot = draw(self._chance.cold_start, boot_level) if assignment.cold else 0.0
        distribution = service.idle_table[rows] if now > assignment.since else service.table[rows]
        finished = now + boot + draw(distribution, level)
        instance = assignment.server // self._platform.workers
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
