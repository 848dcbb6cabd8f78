"""The simulator's rules once more, slow and plain: one heap of events and the real batchers.

An event is due at an instant and, within it, in the order of the constants below. Nothing here is
shared with the simulator but the values it is given, the batchers, the scalers and the dice.
"""

import heapq
import itertools
import math
from dataclasses import dataclass, field

import numpy as np

from workbench.deployment import Async, BatchTransform, Lambda, Local, RealTime, Serverless
from workbench.deployment.spill import OfferedBatch, WhileBooting
from workbench.quantiles import longest_within
from workbench.scaling import Reading

COMPLETION, DISPATCH, ANSWERS, ARRIVAL, TIMER, HEDGE, BOOT, REDISPATCH, SCALER, FAILURES = range(10)


@dataclass
class Batch:
    number: int
    requests: list
    closed: float
    rows: int
    started: float = math.nan
    finished: float = math.nan
    server: int = -1
    cold: bool = False
    init: float = 0.0


@dataclass
class Worker:
    instance: int
    idle_since: float | None  # None: busy
    service: object = None  # None: as all


@dataclass
class Kind:
    """The instances of one type."""

    name: str
    count: int
    workers: int
    service: object
    weight: int = 1


@dataclass
class Instance:
    number: int
    launched: float = 0.0
    ready: float = -math.inf
    retired: float | None = None
    kind: object = None
    workers: list = field(default_factory=list)
    queue: list = field(default_factory=list)
    serving: list = field(default_factory=list)
    last_finish: float = 0.0

    def outstanding(self):
        return len(self.queue) + len(self.serving)

    def is_idle(self):
        return not self.outstanding()


class World:
    """Time, dice and what happens to batches; `platform` serves them."""

    def __init__(self, trace, service, cold_start, dice):
        self.now = -math.inf
        self.events = []
        self.order = itertools.count()
        self.trace = trace
        self.service = service
        self.cold_start = np.sort(np.atleast_1d(np.asarray(cold_start, float)))
        self.service_dice, self.cold_dice, self.route_dice = dice
        self.phase = self.service_dice.random() if service.speed else 0.0
        self.levels = []
        self.batches = []
        self.to_come = len(trace)
        self.completed = []  # batches whose fate the buffer does not know yet
        self.tell = lambda: None
        self.timer = math.inf

    def at(self, time, rank, action):
        heapq.heappush(self.events, (time, rank, next(self.order), action))

    def run(self):
        while self.events:
            self.now, _, _, action = heapq.heappop(self.events)
            action()

    def level(self, number):
        """The draw that sets the service time of a batch."""
        while len(self.levels) <= number:
            self.levels.append(self.service_dice.random())
        return self.levels[number]

    def level_then(self, number, begins, instance):
        """The draw of a batch among the calls of the speed that its instance has as it begins."""
        record, level = self.service.speed, self.level(number)
        if record is None:
            return level
        slices = len(record.slices)
        apart = 0 if self.one_machine else (math.sqrt(5) - 1) / 2
        turns = begins / record.span + self.phase + instance * apart
        speed = record.slices[math.floor(turns % 1 * slices)]
        return self.law(record.levels[speed], level)

    def law(self, quantiles, level):
        return float(np.interp(level * (len(quantiles) - 1), range(len(quantiles)), quantiles))

    def serve(self, batch, worker, *, init=0.0, done):
        """Start a batch now on a worker that has been idle for a while, or just became so."""
        rested = self.now > worker.idle_since
        service = worker.service or self.service
        table = service.idle_table if rested else service.table
        batch.started, batch.init, batch.server = self.now, init, worker.instance
        level = self.level_then(batch.number, self.now + init, worker.instance)
        batch.finished = self.now + init + self.law(table[batch.rows], level)
        worker.idle_since = None

        def complete():
            worker.idle_since = self.now
            self.completed.append(batch)
            self.at(self.now, ANSWERS, self.tell)
            done()

        self.at(batch.finished, COMPLETION, complete)

    def feed(self, policy, platform):
        """Put the trace through the policy's batcher, and its batches into the platform."""
        batcher = policy.batcher()

        def send(groups):
            for requests in groups:
                rows = int(self.trace.rows[requests].sum())
                batch = Batch(len(self.batches), requests, self.now, rows)
                self.batches.append(batch)
                self.to_come -= len(requests)
                platform.take(batch)
            if batcher.due not in (math.inf, self.timer):
                self.timer = batcher.due
                self.at(max(self.now, self.timer), TIMER, lambda: send(batcher.wake(self.now)))

        def tell():
            for batch in self.completed:
                finished = math.inf if math.isnan(batch.finished) else batch.finished
                latencies = [finished - self.trace.arrivals[each] for each in batch.requests]
                batcher.learn_latencies(latencies, self.now)
            self.completed = []
            send(batcher.server_free(max(0, platform.free()), self.now))

        if batcher.watches:
            self.tell = tell
            tell()
        for request, arrival in enumerate(self.trace.arrivals):
            self.at(
                float(arrival),
                ARRIVAL,
                lambda request=request: send(batcher.add(request, self.now)),
            )


class OnDemand:
    def __init__(self, world, deployment, service=None):
        self.world, self.rules, self.service = world, deployment, service
        self.instances = [
            Worker(number, -math.inf, service) for number in range(deployment.provisioned)
        ]
        self.queue = []
        self.tokens, self.counted = math.inf, -math.inf
        if isinstance(deployment, Lambda):
            self.tokens = deployment.scaling_step
            self.pace = deployment.scaling_period / deployment.scaling_step
        self.colds = world.cold_dice.random(len(world.trace))

    def take(self, batch):
        self.queue.append(batch)
        self.dispatch()

    def dispatch(self):
        while self.queue and self.start(self.queue[0]):
            self.queue.pop(0)
        if self.queue and self.rules.on_limit == "reject":
            failed = self.queue.pop()
            failed.started = self.world.now
            self.world.completed.append(failed)
            self.world.at(self.world.now, FAILURES, self.world.tell)
        elif self.queue and self.busy() < self.rules.max_concurrency:
            ready = self.counted + (1 - self.tokens) * self.pace
            self.world.at(ready, DISPATCH, self.dispatch)

    def free(self):
        return self.rules.max_concurrency - self.busy() - len(self.queue)

    def busy(self):
        return sum(each.idle_since is None for each in self.instances)

    def start(self, batch):
        """Serve a batch on an idle instance, else on a new one, if there may be one."""
        world, cold, init = self.world, False, 0.0
        idle = [each for each in self.instances if each.idle_since is not None]
        kept = [each for each in idle if each.instance < self.rules.provisioned]
        warm = [
            each
            for each in idle
            if each not in kept
            and world.now <= each.idle_since + longest_within(self.rules.keep_alive)
        ]
        if kept or warm:
            worker = max(kept or warm, key=lambda each: (each.idle_since, -each.instance))
        elif self.busy() < self.rules.max_concurrency and self.token():
            cold, worker = True, Worker(len(self.instances), world.now, self.service)
            init = world.law(world.cold_start, self.colds[batch.number])
            self.instances.append(worker)
        else:
            return False
        batch.cold = cold
        world.serve(
            batch, worker, init=init, done=lambda: world.at(world.now, DISPATCH, self.dispatch)
        )
        return True

    def token(self):
        """Take a token out of the bucket, if one is left."""
        if self.tokens == math.inf:
            return True
        if self.counted > -math.inf:
            gained = (self.world.now - self.counted) / self.pace
            self.tokens = min(self.rules.scaling_step, self.tokens + gained)
        self.counted = self.world.now
        if self.tokens < 1:
            return False
        self.tokens -= 1
        return True

    def finish(self):
        return None


class Fleet:
    def __init__(
        self, world, *, kinds, routing, ttl=math.inf, scaling=None, spill=None, overflow=None
    ):
        self.world, self.kinds, self.routing = world, kinds, routing
        self.spill, self.overflow, self.spilled, self.hedged = spill, overflow, [], []
        self.ttl = longest_within(ttl)
        self.instances = []
        self.queue = []
        for kind in kinds:
            for _ in range(kind.count):
                self.instances.append(Instance(len(self.instances), kind=kind))
                self.boot(self.instances[-1], -math.inf)
        self.scaler = scaling.scaler() if scaling else None
        if self.scaler:
            world.at(self.scaler.due, SCALER, self.decide)
        self.arrivals = []
        self.over = 0
        self.routes = world.route_dice.random(len(world.trace))

    def open(self):
        """The instances that take batches."""
        return [each for each in self.instances if each.workers and each.retired is None]

    def free(self):
        """How many batches could begin, less those that wait; a fleet of none takes one."""
        there = self.open()
        outstanding = sum(len(each.queue) + len(each.serving) for each in there)
        return (
            sum(len(each.workers) for each in there) + (not there) - outstanding - len(self.queue)
        )

    def take(self, batch):
        if self.ttl < math.inf:
            expired = math.nextafter(self.world.now + self.ttl, math.inf)
            self.world.at(expired, DISPATCH, self.dispatch)
        self.arrivals.append(self.world.now)
        there, queue, instance = self.open(), self.queue, None
        if there and self.routing != "shared":
            loads = [
                (self.is_full(each), (1 + each.outstanding()) * each.kind.weight) for each in there
            ]
            place = loads.index(min(loads))
            if self.routing == "random":
                place = int(self.routes[batch.number] * len(there))
            instance = there[place]
            queue = instance.queue
        if self.spill and self.spill.spills(self.offered(batch, instance)):
            self.spilled.append(batch.number)
            self.overflow.take(batch)
            return
        if self.spill and self.spill.hedge_after < math.inf:
            due = batch.closed + self.spill.hedge_after
            self.world.at(due, HEDGE, lambda: self.hedge(batch))
        queue.append(batch)
        self.dispatch()

    def is_full(self, instance):
        most = getattr(self.spill, "most", math.inf)
        if isinstance(self.spill, WhileBooting) and not self.booting():
            most = math.inf
        return instance.outstanding() >= most

    def booting(self):
        return [each for each in self.instances if not each.workers and each.retired is None]

    def offered(self, batch, instance):
        """What a spill rule looks at."""
        there = self.open()
        in_flight = workers = 0
        if instance is not None:
            in_flight, workers = instance.outstanding(), instance.kind.workers
        elif there:
            serving = sum(len(each.serving) for each in self.instances)
            in_flight = (len(self.queue) + serving) // len(there)
            workers = self.kinds[0].workers
        waited = self.world.now - self.world.trace.arrivals[batch.requests[0]]
        return OfferedBatch(
            len(batch.requests), waited, in_flight, workers, len(there), len(self.booting())
        )

    def hedge(self, batch):
        if not batch.finished <= self.world.now:
            again = Batch(batch.number, batch.requests, self.world.now, batch.rows)
            self.hedged.append(again)
            self.overflow.take(again)

    def dispatch(self):
        for instance in self.instances:
            if self.routing != "shared":
                self.serve(instance.queue, instance.workers)
        if self.routing == "shared":
            self.serve(self.queue, [worker for each in self.open() for worker in each.workers])

    def serve(self, queue, workers):
        self.expire()
        while queue:
            idle = [worker for worker in workers if worker.idle_since is not None]
            if not idle:
                return
            last = max(worker.idle_since for worker in idle)
            worker = next(each for each in idle if each.idle_since == last)
            batch, instance = queue.pop(0), self.instances[worker.instance]
            instance.serving.append(batch)
            self.world.serve(
                batch, worker, done=lambda batch=batch, one=instance: self.done(batch, one)
            )

    def done(self, batch, instance):
        instance.serving.remove(batch)
        self.over += 1
        instance.last_finish = self.world.now
        self.world.at(self.world.now, DISPATCH, self.dispatch)

    def expire(self):
        while self.queue and self.queue[0].closed + self.ttl < self.world.now:
            self.world.completed.append(self.queue.pop(0))
            self.over += 1
            self.world.at(self.world.now, ANSWERS, self.world.tell)

    def boot(self, instance, since):
        if instance.retired is None:
            instance.workers = [
                Worker(instance.number, since, instance.kind.service)
                for _ in range(instance.kind.workers)
            ]
            self.world.at(self.world.now, REDISPATCH, self.redispatch)

    def redispatch(self):
        self.dispatch()
        self.world.tell()

    def decide(self):
        world = self.world
        self.expire()
        there = [each for each in self.instances if each.retired is None]
        reading = Reading(
            arrived=sum(time < world.now for time in self.arrivals),
            done=self.over,
            waiting=len(self.queue) + sum(len(each.queue) for each in self.instances),
            serving=sum(len(each.serving) for each in self.instances),
            ready=sum(each.ready <= world.now for each in there),
            starting=sum(each.ready > world.now for each in there),
        )
        self.over = 0
        self.arrivals = [time for time in self.arrivals if time >= world.now]
        wanted = self.scaler.decide(reading, world.now)
        for kind in self.kinds:
            own = [each for each in there if each.kind is kind]
            count = wanted if isinstance(wanted, int) else wanted.get(kind.name, 0)
            self.resize(kind, own, count)
        world.at(world.now, REDISPATCH, self.redispatch)
        at_work = world.to_come or reading.waiting or reading.serving
        if self.scaler.due < math.inf and (at_work or world.now < world.trace.duration):
            world.at(self.scaler.due, SCALER, self.decide)

    def resize(self, kind, there, wanted):
        world = self.world
        idle = [each for each in reversed(there) if each.is_idle()]
        busy = [each for each in reversed(there) if not each.is_idle()]
        for instance in (idle + busy)[: max(0, len(there) - wanted)]:
            instance.retired = world.now
        for _ in range(wanted - len(there)):
            boot = world.law(world.cold_start, world.cold_dice.random())
            new = Instance(len(self.instances), world.now, world.now + boot, kind=kind)
            self.instances.append(new)
            if boot == 0:
                self.boot(new, world.now)
            else:
                world.at(new.ready, BOOT, lambda new=new: self.boot(new, world.now))

    def finish(self, last=0.0):
        last = max([last, *(each.last_finish for each in self.instances)])
        end = max(self.world.trace.duration, last)
        return [
            (
                min(each.launched, end),
                end if each.retired is None else min(max(each.retired, each.last_finish), end),
            )
            for each in self.instances
        ]


def jobs(world, deployment):
    """Serve the trace in jobs."""
    trace, period = world.trace, deployment.period
    groups = {}
    for request, arrival in enumerate(trace.arrivals):
        turn = 0
        while period is not None and arrival >= (turn + 1) * period:
            turn += 1
        due = trace.duration if period is None else (turn + 1) * period
        groups.setdefault(float(due), []).append(request)
    chunks = itertools.count()
    spans = []
    for number, (due, requests) in enumerate(groups.items()):
        boot = world.law(world.cold_start, world.cold_dice.random())
        rows = int(trace.rows[requests].sum())
        batch = Batch(number, requests, due, rows, started=due, cold=True, init=boot)
        world.batches.append(batch)
        free = [(due + boot, True, instance) for instance in range(deployment.count)]
        while rows:
            size = min(rows, world.service.largest)
            rows -= size
            start, fresh, instance = min(free)
            free.remove((start, fresh, instance))
            table = world.service.idle_table if fresh else world.service.table
            level = world.level_then(next(chunks), start, instance)
            free.append((start + world.law(table[size], level), False, instance))
        batch.finished = max(time for time, _, _ in free)
        spans += [(due + boot, batch.finished)] * deployment.count
    return spans


def simulate(trace, policy, deployment, service, *, cold_start=0.0, scaling=None, dice):
    """Return the batches, as they fared, and when instances were launched and stopped."""
    world = World(trace, service, cold_start, dice)
    world.one_machine = isinstance(deployment, Local)
    match deployment:
        case BatchTransform():
            return world.batches, jobs(world, deployment)
        case Serverless() | Lambda():
            platform = OnDemand(world, deployment)
        case Local():
            kinds = [Kind("", deployment.workers, 1, None)]
            platform = Fleet(world, kinds=kinds, routing="shared")
        case RealTime():
            kinds = [Kind("", deployment.count, deployment.workers, None)]
            platform = Fleet(world, kinds=kinds, routing=deployment.routing, scaling=scaling)
        case Async():
            workers = min(deployment.workers, deployment.concurrency or deployment.workers)
            platform = Fleet(
                world,
                kinds=[Kind("", deployment.count, workers, None)],
                routing="shared",
                ttl=deployment.ttl,
                scaling=scaling,
            )
    world.feed(policy, platform)
    world.run()
    spans = platform.finish()
    return world.batches, None if isinstance(deployment, Local) else spans


def simulate_hybrid(trace, policy, base, times, *, overflow, spill, cold_start, scaling, dice):
    """Return each type's batches and when its instances came and went, and then the overflow's.

    `base` is a list of real-time fleets of one type each, `overflow` None where nothing spills.
    """
    world = World(trace, times[0], cold_start, dice)
    world.one_machine = False
    functions = OnDemand(world, overflow, times[-1]) if overflow else None
    quickest = min(one.means[1] / part.workers for part, one in zip(base, times, strict=False))
    kinds = [
        Kind(
            part.instance_type,
            part.count,
            part.workers,
            one,
            round(1000 * one.means[1] / part.workers / quickest) if len(base) > 1 else 1,
        )
        for part, one in zip(base, times, strict=False)
    ]
    fleet = Fleet(
        world,
        kinds=kinds,
        routing=base[0].routing,
        scaling=scaling,
        spill=spill,
        overflow=functions,
    )
    world.feed(policy, fleet)
    world.run()
    others = [each for each in world.batches if each.number in fleet.spilled] + fleet.hedged
    others.sort(key=lambda each: each.closed)  # of equal ones those that spilled first
    last = [each.finished for each in others if not math.isnan(each.finished)]
    spans = fleet.finish(max(last, default=0.0))
    batches = [each for each in world.batches if each.number not in fleet.spilled]
    kinds_of = [kinds.index(each.kind) for each in fleet.instances]
    places = [
        (
            [each for each in batches if kinds_of[each.server] == number],
            [span for span, kind in zip(spans, kinds_of, strict=True) if kind == number],
        )
        for number in range(len(kinds))
    ]
    return [*places, (others, None)] if overflow else places
