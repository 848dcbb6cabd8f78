"""Types that run on instances: how many it takes, found by simulation between two bounds.

No formula gives the queue behind a buffer. The exact model gives the latency with instances
without limit, which no fleet is below, and the load, which no fleet is above; between them the
number of instances is doubled and halved until the target is just met.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from workbench.costing import Usage
from workbench.deployment import Async, BatchTransform, Deployment, Local, RealTime
from workbench.planner.candidates import Field, Finalist, Setting, dollars_of, unstable
from workbench.planner.problem import Task
from workbench.queueing.buffers import NoWaits, PoissonWaits
from workbench.scaling import ScaleToZero
from workbench.service_times import Floats

_TRIES = 2  # policies simulated for a number of instances


class Load(NamedTuple):
    """Of one instance type, by policy: what the exact model says, and where it is in the field."""

    first: int
    predicted: Floats
    servers: Floats  # batches in service on average, with instances without limit
    peak: Floats  # the same while the traffic is in its busiest phase
    seconds: Floats  # of a batch
    calls: Floats  # batches a request
    counts: NDArray[np.int64]  # instances that the work takes at least
    costs: Floats  # dollars per million of so many
    price: float  # of one more


@dataclass(frozen=True, kw_only=True)
class Fleet:
    """Instances of one type, of which there may be 1 to `most`; `one` is a fleet of one."""

    one: Deployment
    workers: int
    most: int

    def of(self, count: int) -> Deployment:
        """Return the fleet of so many."""
        if isinstance(self.one, RealTime | Async):
            return replace(self.one, count=count)
        return self.one


def search_fleets(task: Task, kind: str) -> Field:
    """Return the settings of real-time, asynchronous or local deployments, the best simulated."""
    fleets = [_fleet(task, one) for one in task.options.places(kind)]
    field, loads = _screened(task, kind, fleets)
    order = sorted(range(len(fleets)), key=lambda i: _least_cost(task, field, loads[i]))
    for place in order:
        if not loads[place].counts.min() <= fleets[place].most:
            continue
        best = min((f.figures.cost for f in field.finalists if task.met(f.figures)), default=np.inf)
        least = _least_cost(task, field, loads[place])
        if task.budget is not None or least < best or not field.finalists:
            _Search(task, field, fleets[place], loads[place]).run()
    if kind == Async.kind:
        _scale_to_zero(task, field)
    return field


def _fleet(task: Task, one: Deployment) -> Fleet:
    most = 1 if isinstance(one, Local) else task.options.max_count
    return Fleet(one=one, workers=getattr(one, "workers", 1), most=most)


def _screened(task: Task, kind: str, fleets: list[Fleet]) -> tuple[Field, list[Load]]:
    """Return a row for each instance type and policy, at the fewest instances that can do it."""
    table = task.screening
    laws, policies = table.of([fleet.one for fleet in fleets]), len(table.policies)

    def column(figures: Floats) -> Floats:
        return np.broadcast_to(figures, table.busy.shape)[laws].reshape(len(laws), -1)[
            :, table.policies
        ]

    servers, peak, predicted = map(column, (table.busy, _busy_at_peak(task), table.found.quantile))
    calls = column(1 / table.found.mean_batch_size)
    place = np.repeat(np.arange(len(fleets)), policies)
    workers, most = np.array([[fleet.workers, fleet.most] for fleet in fleets]).T[:, place]
    counts = (servers.ravel() // workers).astype(np.int64) + 1
    deployments, numbers = _counted(fleets, place, np.minimum(counts, most))
    ones = [fleet.one for fleet in fleets]
    field = Field(
        kind=kind,
        deployments=deployments,
        place=numbers,
        max_size=np.tile(table.max_sizes, len(fleets)),
        max_wait=np.tile(table.max_waits, len(fleets)),
        predicted=predicted.ravel(),
        attainment=column(table.found.attainment).ravel(),
        cost=_costs(task, ones, place, np.minimum(counts, most), calls.ravel()),
        notes=unstable(servers.ravel(), most * workers),
        bound=True,
    )
    seconds = servers / task.arrivals.rate / calls
    price = _costs(task, ones, np.arange(len(ones)), np.ones(len(ones)), np.zeros(len(ones)))
    shape = servers.shape
    columns = (predicted, servers, peak, seconds, calls, counts.reshape(shape))
    parts = zip(*columns, field.cost.reshape(shape), price.tolist(), strict=True)
    return field, [Load(i * policies, *part) for i, part in enumerate(parts)]


def _busy_at_peak(task: Task) -> Floats:
    """Return batches in service while the traffic keeps to its busiest phase, indexed as it."""
    rate, table = float(task.arrivals.d1.sum(axis=1).max()), task.screening
    sizes = np.zeros_like(table.found.batch_sizes)
    for b, t in np.ndindex(sizes.shape[:2]):
        size, wait = table.sizes[b], table.waits[t]
        waits = PoissonWaits(rate, size, wait) if size > 1 and wait > 0 else NoWaits(size)
        sizes[b, t, :size] = waits.sizes
    return table.busy_at(rate, sizes)


def _counted(
    fleets: list[Fleet], place: NDArray[np.int64], counts: NDArray[np.int64]
) -> tuple[list[Deployment], NDArray[np.int64]]:
    """Return the fleets of these counts, each once, and the number of each row's among them."""
    pairs, numbers = np.unique(np.stack([place, counts]), axis=1, return_inverse=True)
    return [fleets[i].of(int(count)) for i, count in pairs.T], numbers.ravel()


def _costs(
    task: Task,
    ones: list[Deployment],
    place: NDArray[np.int64],
    counts: NDArray[Any],
    calls: Floats,
) -> Floats:
    """Return dollars per million of so many instances for as long as the trace lasts."""
    units = (Usage(instance_seconds=1.0, seconds=1.0), Usage(calls=1))
    prices = [[dollars_of(one, unit, task.options.prices) for unit in units] for one in ones]
    by_second, by_call = np.array(prices).T[:, place]
    dollars: Floats = 1e6 * (counts * by_second / task.trace.rate + calls * by_call)
    return dollars


def _least_cost(task: Task, field: Field, load: Load) -> float:
    rows = slice(load.first, load.first + len(load.predicted))
    able = (field.predicted[rows] <= task.slo.latency) & (field.notes[rows] == "")
    return float(field.cost[rows][able].min(initial=np.inf))


class _Search:
    """The search for the right number of instances of one type."""

    def __init__(self, task: Task, field: Field, fleet: Fleet, load: Load) -> None:
        self._task, self._field, self._fleet, self._load = task, field, fleet, load
        self._left = task.options.finalists

    def run(self) -> None:
        """Simulate the fewest instances that meet the target, or the most within the budget."""
        if self._task.budget is not None:
            return self._spend_all()
        for count in self._needed():
            if self._left <= 0:
                break
            self._try(count)
        return None

    def _spend_all(self) -> None:
        """Simulate the policies that promise most with as many instances as the budget pays for."""
        load, budget = self._load, 0.998 * (self._task.budget or 0.0)  # the last answers come late
        counts = load.counts + ((budget - load.costs) // load.price).astype(np.int64)
        able = counts >= load.counts
        expected = np.where(able, self._expected(counts.clip(1, self._fleet.most)), np.inf)
        order = np.argsort(expected if able.any() else load.costs, kind="stable")[:_TRIES]
        for policy in order.tolist():
            self._settle(policy, int(counts[policy].clip(1, self._fleet.most)))

    def _settle(self, policy: int, count: int) -> Finalist:
        row = self._load.first + policy
        setting = Setting(self._fleet.of(count), self._field.setting(row).policy)
        return self._task.settle(self._field, row, setting)

    def _needed(self) -> Iterator[int]:
        """Yield counts between load and target, doubled until one will do, then halved."""
        workers, most = self._fleet.workers, self._fleet.most
        able = self._load.predicted <= self._task.slo.latency
        hopeless = not able.any()
        able |= hopeless
        low = min(int(self._load.servers[able].min() // workers), most - 1)  # too few
        high = min(max(int(np.ceil(self._load.peak[able].min() / workers)), low + 1), most)
        yield high
        while not self._met and high < most and not hopeless:
            low, high = high, min(2 * high, most)
            yield high
        while self._met_at(high) and high - low > 1:
            middle = (low + high) // 2
            yield middle
            low, high = (low, middle) if self._met_at(middle) else (middle, high)

    @property
    def _met(self) -> bool:
        return any(self._task.met(finalist.figures) for finalist in self._mine())

    def _met_at(self, count: int) -> bool:
        deployment = self._fleet.of(count)
        return any(
            self._task.met(f.figures) and f.setting.deployment == deployment for f in self._mine()
        )

    def _mine(self) -> Iterator[Finalist]:
        rows = range(self._load.first, self._load.first + len(self._load.predicted))
        return (finalist for finalist in self._field.finalists if finalist.row in rows)

    def _try(self, count: int) -> None:
        """Simulate the policies that promise most with so many instances, until one will do."""
        for policy in self._promising(count):
            self._left -= 1
            if self._task.met(self._settle(policy, count).figures):
                break

    def _promising(self, count: int) -> list[int]:
        """Return the policies to simulate: the fastest, before it that of fewest billed calls."""
        expected = self._expected(count)
        fastest: list[int] = np.argsort(expected, kind="stable")[:_TRIES].tolist()
        able = np.flatnonzero(expected <= 0.95 * self._task.slo.latency)
        if self._field.kind != Async.kind or not len(able):
            return fastest
        return [int(able[self._load.calls[able].argmin()]), fastest[0]]

    def _expected(self, count: int | NDArray[np.int64]) -> Floats:
        """Return a guess at the latency of each policy, good enough to put them in order.

        To the latency without a queue it adds three times the mean wait in the busiest phase:
        H. Sakasegawa, "An approximation formula L = a rho^b / (1 - rho)" (1977).
        """
        servers = count * self._fleet.workers
        share = self._load.peak / servers
        calm = np.minimum(share, 0.99)
        power = np.sqrt(2 * (servers + 1)) - 1
        wait = self._load.seconds * calm**power / (servers * (1 - calm))
        limit = self._task.slo.latency if self._task.budget is None else np.inf
        hopeless = self._load.predicted > limit
        overloaded = np.where(share < 0.99, 0.0, 1e3 * share)
        expected: Floats = self._load.predicted + 3 * wait + overloaded + 1e6 * hopeless
        return expected


def _scale_to_zero(task: Task, field: Field) -> None:
    """Simulate the best fleet once more, gone when idle."""
    if not field.finalists:
        return
    best = min(field.finalists, key=lambda finalist: task.rank(finalist.figures))
    deployment = best.setting.deployment
    if isinstance(deployment, Async):
        scaling = ScaleToZero(count=deployment.count)
        empty = replace(deployment, count=0)
        task.settle(field, best.row, Setting(empty, best.setting.policy, scaling))


def search_jobs(task: Task) -> Field:
    """Return the batch transform jobs of each instance type and period, the cheapest simulated.

    The bound on the latency is that of traffic that is even within a period.
    """
    choices = [
        (name, period) for name in task.options.instance_types for period in task.options.periods
    ]
    deployments: list[Deployment] = []
    costs, notes = [], []
    for name, period in choices:
        one = BatchTransform(instance_type=name, period=period)
        times = task.service_on(one)
        servers = task.arrivals.rate * task.rows * float(times.means[-1]) / times.largest
        count = int(servers) + 1
        deployments.append(replace(one, count=min(count, task.options.max_count)))
        usage = Usage(instance_seconds=servers + count * task.options.boot / period)
        costs.append(1e6 * dollars_of(one, usage, task.options.prices) / task.arrivals.rate)
        unstable = count > task.options.max_count
        notes.append(f"unstable: {count} instances would be busy on average" if unstable else "")
    periods = np.array([period for _, period in choices])
    field = Field(
        kind=BatchTransform.kind,
        deployments=deployments,
        place=np.arange(len(choices)),
        max_size=np.ones(len(choices), dtype=np.int64),
        max_wait=np.zeros(len(choices)),
        predicted=task.slo.quantile * periods + task.options.boot,
        attainment=np.zeros(len(choices)),
        cost=np.array(costs),
        notes=np.array(notes, dtype=object),
        bound=True,
    )
    for period in np.unique(periods):
        rows = np.flatnonzero((periods == period) & (field.notes == ""))
        if len(rows):
            task.settle(field, int(rows[field.cost[rows].argmin()]))
    return field
