"""Any policy, event by event in plain Python: what the compiled loops are tested against.

A batcher is driven as a live run drives it: at one instant completions come first, then how many
servers are free, then arrivals, then its timer. After boots and scaling it learns again how many
are free. Draws are those of the compiled loops, so that a policy fares the same in both.
"""

import heapq
import math
from bisect import bisect_left, insort
from collections import deque
from collections.abc import Iterable, Sequence
from itertools import count
from typing import NamedTuple, Protocol

import numpy as np

from workbench.batching.timer import Batcher, Policy
from workbench.deployment.base import Deployment
from workbench.deployment.platforms import FleetPlatform, JobPlatform, OnDemandPlatform
from workbench.errors import InvalidInput
from workbench.quantiles import longest_within
from workbench.scaling.base import ScalingPolicy
from workbench.service_times import Floats
from workbench.simulator import EXPIRED_ERROR, THROTTLED_ERROR
from workbench.simulator.fleet import FleetPart, Rescaling, Roster, serve_scaled
from workbench.simulator.kernels import RANDOM, SHARED, Batches, draw, draw_row, find_slice
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
    steps = begin_steps(policy, deployment, chance, trace)
    if scaling is not None:
        rescaling = steps.make_rescaling(scaling)
        serve_scaled(rescaling, advance=steps.advance, until=trace.duration)
    steps.run()
    return steps.finish(steps.batches, trace.duration, scaling)


def begin_steps(
    policy: Policy, deployment: Deployment, chance: RandomInputs, trace: Trace | None = None
) -> "StepSimulation":
    """Return virtual time at 0, with a trace to come, or without: then `admit` adds requests.

    Raises:
        InvalidInput: The deployment works in jobs, which take no policy.
    """
    rules = deployment.platform
    if isinstance(rules, JobPlatform):
        raise InvalidInput(
            f"{deployment.label} answers in jobs, not request by request: it cannot be simulated "
            "step by step, nor be asked by a router."
        )
    platform: _Platform = (
        _OnDemandInstances(rules) if isinstance(rules, OnDemandPlatform) else _SharedQueue(rules)
    )
    return StepSimulation(trace, policy, platform, rules, chance)


class _Assignment(NamedTuple):
    """Who serves a batch: a server, idle since then (-inf: for ever), or one that starts."""

    server: int
    since: float
    cold: bool = False


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

    def next_start(self) -> float:
        """When a batch that waits may begin, if no server comes free before."""

    def route(self, level: float) -> int:
        """Return the queue of the next batch."""

    def take(self, queue: int, now: float) -> _Assignment | None:
        """Give a server to a batch, if there is one."""

    def rest(self, server: int, now: float) -> int:
        """Take a server back, and return the queue that it serves."""

    def expire(self) -> None:
        """Learn that a batch has waited too long."""


class _SharedQueue(Roster):
    """Instances with one queue, or one each: the worker freed last is taken first."""

    waits = True
    has_starts = False

    def __init__(self, rules: FleetPlatform) -> None:
        super().__init__([FleetPart("", rules.instances, rules.workers)])
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
            self.launch(0.0, -math.inf, 0)
            self.boot(instance, -math.inf)

    def launch(self, now: float, ready: float, part: int) -> int:
        self._outstanding.append(0)
        if not self._shared:
            self.queues.append(deque())
            self._idle.append([])
        return super().launch(now, ready, part)

    def boot(self, instance: int, since: float) -> None:
        super().boot(instance, since)
        insort(self._open, instance)
        # negative numbers: of workers freed at one instant, the lowest is last and taken first
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
            # of instances that have as many, `min` takes the first, which has the lowest number
            queue = min(self._open, key=self._outstanding.__getitem__)
        self._outstanding[queue] += 1
        return queue

    def take(self, queue: int, now: float) -> _Assignment | None:
        if not self._idle[queue]:
            return None
        since, server = self._idle[queue].pop()
        self._serving += 1
        self._outstanding[-server // self.workers] += self._shared  # else `route` did
        return _Assignment(-server, since)

    def rest(self, server: int, now: float) -> int:
        instance = server // self.workers
        queue = 0 if self._shared else instance
        self._serving -= 1
        self._done += 1
        self._outstanding[instance] -= 1
        # a retired instance still serves what waits in its own queue
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

    def route(self, level: float) -> int:
        return 0

    def take(self, queue: int, now: float) -> _Assignment | None:
        assignment = self._take_idle(now) or self._start_instance(now)
        self._busy += assignment is not None
        return assignment

    def _take_idle(self, now: float) -> _Assignment | None:
        if self._warm and now > self._warm[-1][0] + longest_within(self._rules.keep_alive):
            self._warm.clear()  # the last was freed last: when it has expired, all have
        # provisioned ones first: Lambda goes on to others where all of these are busy
        idle = self._idle_provisioned or self._warm
        if not idle:
            return None
        since, server = idle.pop()
        return _Assignment(-server, since)

    def _start_instance(self, now: float) -> _Assignment | None:
        if now < self.next_start():
            return None
        # the bucket of tokens as one number, when it is full again: see the compiled loops
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


class StepSimulation:
    """Virtual time: a batcher, the platform its batches go to, and what became of these."""

    def __init__(
        self,
        trace: Trace | None,
        policy: Policy,
        platform: _Platform,
        rules: FleetPlatform | OnDemandPlatform,
        chance: RandomInputs,
    ) -> None:
        self._arrivals: list[float] = [math.inf]  # never reached, so that there is a next one
        self._rows: list[int] = [0]
        if trace is not None:
            self._arrivals = [*trace.arrivals.tolist(), math.inf]
            self._rows = np.append(0, np.cumsum(trace.rows)).tolist()  # a batch's: one difference
        self._label = policy.label
        self._batcher: Batcher = policy.batcher()
        self._platform = platform
        self._platform_rules = rules
        self._chance = chance
        self._speeds = chance.distributions(rules).speeds
        self._following = 0
        self._sent = 0
        # the turn decides between equal instants: the batch sent first is first
        self._completions: list[tuple[float, int, int, int]] = []  # when, turn, batch, server
        self._sequence = count()
        self._done: list[int] = []  # batches, since a reading counted the late ones
        self._levels: list[tuple[float, float]] = []
        self._first: list[int] = []
        self._closed: list[float] = []
        self._batch_rows: list[int] = []
        self._outcomes: dict[int, tuple[float, float, float, bool, int]] = {}

    def make_rescaling(self, scaling: ScalingPolicy) -> Rescaling:
        """Return what changes the size of its fleet."""
        assert isinstance(self._platform, _SharedQueue)  # noqa: S101 - else nothing scales
        assert isinstance(self._platform_rules, FleetPlatform)  # noqa: S101
        return Rescaling(
            self,
            self._platform,
            scaling.scaler(),
            boot=self._chance.draw_cold_start,
            least=self._platform_rules.least,
        )

    def run(self) -> None:
        """Let all requests that are left arrive and be served.

        Raises:
            InvalidInput: The policy does not send them all, or service times miss a batch.
        """
        self.advance(-math.inf, math.inf)
        self.check_sent()

    def check_sent(self) -> None:
        """Require that the policy has sent all requests, if it waits for nothing."""
        if self._sent < len(self._arrivals) - 1:
            raise InvalidInput(
                f"The policy '{self._label}' sent {self._sent} of {len(self._arrivals) - 1} "
                "requests and waits for nothing: its `due` has to tell when to wake it."
            )

    def advance(self, now: float, until: float) -> None:
        """Let happen what happens from now to `until`, both included; servers may be others now."""
        now = max(now, 0.0)
        self.resume(now)
        while (upcoming := self.find_next()) <= until and upcoming < math.inf:
            # servers may have changed after it was due
            now = max(now, upcoming)
            self.complete(now)
            while self._arrivals[self._following] <= now:
                self._following += 1
                self._send(self._batcher.add(self._following - 1, now), now)
            if self._batcher.due <= now:
                self.wake(now)

    def resume(self, now: float) -> list[int]:
        """Learn that servers may be others now; return batches that have waited too long."""
        expired = []
        for queue in range(len(self._platform.queues)):
            expired += self._serve(queue, now)
        self._send(self._batcher.server_free(max(0, self._platform.free), now), now)
        return expired

    def admit(self, rows: int, now: float) -> None:
        """Take a request that arrives now, of so many rows, and that no trace foretold."""
        # before the last, which is never reached
        self._arrivals[-1] = now
        self._arrivals.append(math.inf)
        self._rows.append(self._rows[-1] + rows)
        self._following += 1
        self._send(self._batcher.add(self._following - 1, now), now)

    def count_sent(self, now: float) -> int:
        """Return how many batches were sent before now."""
        return bisect_left(self._closed, now)

    def count_requests(self, now: float) -> int:
        """Return how many requests arrived before now."""
        return bisect_left(self._arrivals, now)

    def count_late(self, now: float, target: float) -> int:
        """Return how many requests were answered late since the last time it was asked."""
        done, self._done = self._done, []
        seconds = [each for batch in done for each in self._latencies(batch)]
        return sum(target < each < math.inf for each in seconds)

    def is_over(self, done: int) -> bool:
        """Whether nothing is to come: a policy that has lost requests never sends them."""
        return self.find_next() == math.inf

    def find_next(self) -> float:
        """Return when something happens next."""
        completion = self._completions[0][0] if self._completions else math.inf
        upcoming = min(completion, self._arrivals[self._following], self._batcher.due)
        queues = self._platform.queues
        if not (queues and queues[0]):
            return upcoming
        # one that has waited for the ttl may still begin: past it, it fails
        expiry = math.nextafter(self._closed[queues[0][0]] + self._platform.ttl, math.inf)
        return min(upcoming, self._platform.next_start(), expiry)

    def complete(self, now: float) -> Sequence[int]:
        """Take servers back whose batches are done, and give them to what waits.

        Return the batches that are done, or have failed.
        """
        if not (self._completions and self._completions[0][0] <= now) and not any(
            self._platform.queues
        ):
            return ()
        done = []
        # of one queue even if no server is back: what waits may expire, or be allowed to start
        queues = [0] if len(self._platform.queues) == 1 else []
        while self._completions and self._completions[0][0] <= now:
            _, _, batch, server = heapq.heappop(self._completions)
            done.append(batch)
            if server >= 0:
                queues.append(self._platform.rest(server, now))
        for queue in queues:
            done += self._serve(queue, now)
        self._done += done
        if done and self._batcher.watches:
            # latencies before servers: a batcher that steers sends by its new settings
            for batch in done:
                self._batcher.learn_latencies(self._latencies(batch), now)
            free = max(0, self._platform.free)
            self._send(self._batcher.server_free(free, now), now)
        return done

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
        requests = self.requests_of(batch)
        return [finished - arrival for arrival in self._arrivals[requests.start : requests.stop]]

    def requests_of(self, batch: int) -> range:
        """Return the numbers of a batch's requests."""
        stop = self._first[batch + 1] if batch + 1 < len(self._first) else self._sent
        return range(self._first[batch], stop)

    @property
    def arrivals(self) -> Floats:
        """When its requests arrived, or will, in seconds."""
        return np.array(self._arrivals[:-1], np.float64)

    def find_error(self, batch: int) -> str | None:
        """Return what went wrong with a batch that is done: it was refused, or waited too long."""
        started, finished, *_ = self._outcomes[batch]
        if not math.isnan(finished):
            return None
        return EXPIRED_ERROR if math.isnan(started) else THROTTLED_ERROR

    def wake(self, now: float) -> None:
        """Let the batcher act on its timer, where that is due; it must not be due again at once."""
        if self._batcher.due > now:
            return
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
        # drawn as it arrives, not as it begins: so the compiled loops draw, whoever is served first
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
            # it fails at once, but batches that arrive at this instant do not know yet
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

    @property
    def batches(self) -> Batches:
        """The batches so far, all of which are done."""
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

    def finish(
        self, batches: Batches, until: float, scaling: ScalingPolicy | None
    ) -> ServedBatches:
        """Return its batches and who served them; instances ran at least to `until`."""
        rules, platform = self._platform_rules, self._platform
        if isinstance(rules, OnDemandPlatform):
            return ServedBatches(batches, None, rules.limit if rules.queues else 0)
        assert isinstance(platform, _SharedQueue)  # noqa: S101 - of a fleet
        return finish_fleet(batches, platform, rules, until, scaling)
