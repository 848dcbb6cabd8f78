"""Types that run on instances: how many it takes, found by simulation between two bounds.

No formula gives the queue behind a buffer. The exact model gives the latency with instances
without limit, which no fleet is below, and the load, which no fleet is above; between them the
number of instances is doubled and halved until the target is just met.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from workbench.deployment.base import KINDS, Deployment
from workbench.deployment.platforms import FleetPlatform
from workbench.planner.candidates import (
    CandidateTable,
    Configuration,
    SimulatedCandidate,
    describe_instability,
    dollars_of,
)
from workbench.pricing.usage import Usage
from workbench.quantiles import longest_within
from workbench.queueing.buffers import NoWaits, PoissonWaits
from workbench.scaling import ScaleToZero
from workbench.service_times import Floats

if TYPE_CHECKING:
    from workbench.planner.problem import PlanningProblem

_POLICIES_PER_COUNT = 2  # policies simulated for a number of instances


class FleetMetrics(NamedTuple):
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
    call_price: float  # dollars per million of a call for each request


@dataclass(frozen=True, kw_only=True)
class FleetOption:
    """Instances of one type, of which there may be 1 to `most`; `one` is a fleet of one."""

    one: Deployment
    workers: int
    most: int

    def of(self, count: int) -> Deployment:
        """Return the fleet of so many."""
        return self.one.with_count(count)


def search_without_formula(problem: PlanningProblem, kind: str) -> CandidateTable:
    """Return the settings of a type whose queues have no formula, the best simulated."""
    return search_jobs(problem, kind) if KINDS[kind].by_job else search_fleets(problem, kind)


def search_fleets(problem: PlanningProblem, kind: str) -> CandidateTable:
    """Return the settings of a type whose instances stay, the best simulated."""
    fleets = [_make_fleet_option(problem, one) for one in problem.options.places(kind)]
    candidates, loads = _screen_fleets(problem, kind, fleets)
    order = sorted(range(len(fleets)), key=lambda i: _least_cost(problem, candidates, loads[i]))
    for index in order:
        if not loads[index].counts.min() <= fleets[index].most:
            continue
        best = min(
            (f.figures.cost for f in candidates.finalists if problem.meets_constraint(f.figures)),
            default=np.inf,
        )
        least = _least_cost(problem, candidates, loads[index])
        if problem.budget is not None or least < best or not candidates.finalists:
            _Search(problem, candidates, fleets[index], loads[index]).run()
    _scale_to_zero(problem, candidates)
    return candidates


def _make_fleet_option(problem: PlanningProblem, one: Deployment) -> FleetOption:
    if one.counted_by:
        return FleetOption(one=one, workers=one.instance_workers, most=problem.options.max_count)
    return FleetOption(one=one, workers=one.platform.servers, most=1)


def _screen_fleets(
    problem: PlanningProblem, kind: str, fleets: list[FleetOption]
) -> tuple[CandidateTable, list[FleetMetrics]]:
    """Return a row for each instance type and policy, at the fewest instances that can do it."""
    table = problem.screening
    distributions, policies = table.of([fleet.one for fleet in fleets]), len(table.policies)

    def column(figures: Floats) -> Floats:
        return np.broadcast_to(figures, table.busy.shape)[distributions].reshape(
            len(distributions), -1
        )[:, table.policies]

    servers, peak, predicted = map(
        column, (table.busy, _busy_at_peak(problem), table.screen.quantile)
    )
    calls = column(1 / table.screen.mean_batch_size)
    index = np.repeat(np.arange(len(fleets)), policies)
    workers, most = np.array([[fleet.workers, fleet.most] for fleet in fleets]).T[:, index]
    counts = (servers.ravel() // workers).astype(np.int64) + 1
    deployments, numbers = _deduplicate_fleets(fleets, index, np.minimum(counts, most))
    ones = [fleet.one for fleet in fleets]
    candidates = CandidateTable(
        kind=kind,
        deployments=deployments,
        place=numbers,
        max_size=np.tile(table.max_sizes, len(fleets)),
        max_wait=np.tile(table.max_waits, len(fleets)),
        predicted=predicted.ravel(),
        attainment=column(table.screen.attainment).ravel(),
        cost=_costs(problem, ones, index, np.minimum(counts, most), calls.ravel()),
        notes=describe_instability(servers.ravel(), most * workers),
        bound=True,
    )
    seconds = servers / problem.arrivals.rate / calls
    each, no = np.arange(len(ones)), np.zeros(len(ones))
    price, call_price = (
        _costs(problem, ones, each, no + 1, no),
        _costs(problem, ones, each, no, no + 1),
    )
    shape = servers.shape
    columns = (predicted, servers, peak, seconds, calls, counts.reshape(shape))
    prices = price.tolist(), call_price.tolist()
    parts = zip(*columns, candidates.cost.reshape(shape), *prices, strict=True)
    return candidates, [FleetMetrics(i * policies, *part) for i, part in enumerate(parts)]


def _busy_at_peak(problem: PlanningProblem) -> Floats:
    """Return batches in service while the traffic keeps to its busiest phase, indexed as it."""
    rate, table = float(problem.arrivals.d1.sum(axis=1).max()), problem.screening
    sizes = np.zeros_like(table.screen.batch_sizes)
    for b, t in np.ndindex(sizes.shape[:2]):
        size, wait = table.sizes[b], table.waits[t]
        waits = PoissonWaits(rate, size, wait) if size > 1 and wait > 0 else NoWaits(size)
        sizes[b, t, :size] = waits.sizes
    return table.mean_busy_at(rate, sizes)


def _deduplicate_fleets(
    fleets: list[FleetOption], index: NDArray[np.int64], counts: NDArray[np.int64]
) -> tuple[list[Deployment], NDArray[np.int64]]:
    """Return the fleets of these counts, each once, and the number of each row's among them."""
    pairs, numbers = np.unique(np.stack([index, counts]), axis=1, return_inverse=True)
    return [fleets[i].of(int(count)) for i, count in pairs.T], numbers.ravel()


def _costs(
    problem: PlanningProblem,
    ones: list[Deployment],
    index: NDArray[np.int64],
    counts: NDArray[Any],
    calls: Floats,
) -> Floats:
    """Return dollars per million of so many instances for as long as the trace lasts."""
    prices = [
        [dollars_of(one, usage, problem.options.prices) for usage in (one.idle_usage(1), _CALL)]
        for one in ones
    ]
    by_second, by_call = np.array(prices).T[:, index]
    dollars: Floats = 1e6 * (counts * by_second / problem.trace.rate + calls * by_call)
    return dollars


_CALL = Usage(calls=1)


def _least_cost(problem: PlanningProblem, candidates: CandidateTable, load: FleetMetrics) -> float:
    rows = slice(load.first, load.first + len(load.predicted))
    able = (candidates.predicted[rows] <= longest_within(problem.slo.latency)) & (
        candidates.notes[rows] == ""
    )
    return float(candidates.cost[rows][able].min(initial=np.inf))


class _Search:
    """The search for the right number of instances of one type."""

    def __init__(
        self,
        problem: PlanningProblem,
        candidates: CandidateTable,
        fleet: FleetOption,
        load: FleetMetrics,
    ) -> None:
        self._problem, self._candidates, self._fleet, self._load = problem, candidates, fleet, load
        self._simulations_left = problem.options.finalists

    def run(self) -> None:
        """Simulate the fewest instances that meet the target, or the most within the budget."""
        if self._problem.budget is not None:
            return self._spend_all()
        for count in self._search_counts():
            if self._simulations_left <= 0:
                break
            self._simulate_policies(count)
        return None

    def _spend_all(self) -> None:
        """Simulate the policies that promise most with as many instances as the budget pays for."""
        load, budget = (
            self._load,
            0.998 * (self._problem.budget or 0.0),
        )  # the last answers come late
        counts = load.counts + ((budget - load.costs) // load.price).astype(np.int64)
        able = counts >= load.counts
        expected = np.where(able, self._estimate_latency(counts.clip(1, self._fleet.most)), np.inf)
        order = np.argsort(expected if able.any() else load.costs, kind="stable")[
            :_POLICIES_PER_COUNT
        ]
        for policy in order.tolist():
            self._evaluate(policy, int(counts[policy].clip(1, self._fleet.most)))

    def _evaluate(self, policy: int, count: int) -> SimulatedCandidate:
        row = self._load.first + policy
        configuration = Configuration(
            self._fleet.of(count), self._candidates.configuration(row).policy
        )
        return self._problem.evaluate(self._candidates, row, configuration)

    def _search_counts(self) -> Iterator[int]:
        """Yield counts between load and target, doubled until one will do, then halved."""
        workers, most = self._fleet.workers, self._fleet.most
        able = self._load.predicted <= self._problem.slo.latency
        hopeless = not able.any()
        able |= hopeless
        low = min(int(self._load.servers[able].min() // workers), most - 1)  # too few
        high = min(max(int(np.ceil(self._load.peak[able].min() / workers)), low + 1), most)
        yield high
        while not self._is_met and high < most and not hopeless:
            low, high = high, min(2 * high, most)
            yield high
        while self._is_met_at(high) and high - low > 1:
            middle = (low + high) // 2
            yield middle
            low, high = (low, middle) if self._is_met_at(middle) else (middle, high)

    @property
    def _is_met(self) -> bool:
        return any(
            self._problem.meets_constraint(finalist.figures) for finalist in self._own_candidates()
        )

    def _is_met_at(self, count: int) -> bool:
        deployment = self._fleet.of(count)
        return any(
            self._problem.meets_constraint(f.figures) and f.configuration.deployment == deployment
            for f in self._own_candidates()
        )

    def _own_candidates(self) -> Iterator[SimulatedCandidate]:
        rows = range(self._load.first, self._load.first + len(self._load.predicted))
        return (finalist for finalist in self._candidates.finalists if finalist.row in rows)

    def _simulate_policies(self, count: int) -> None:
        """Simulate the policies that promise most with so many instances, until one will do."""
        for policy in self._select_policies(count):
            self._simulations_left -= 1
            if self._problem.meets_constraint(self._evaluate(policy, count).figures):
                break

    def _select_policies(self, count: int) -> list[int]:
        """Return the policies to simulate: the fastest, before it that of fewest billed calls."""
        expected = self._estimate_latency(count)
        fastest: list[int] = np.argsort(expected, kind="stable")[:_POLICIES_PER_COUNT].tolist()
        able = np.flatnonzero(expected <= 0.95 * self._problem.slo.latency)
        if not self._load.call_price or not len(able):
            return fastest
        return [int(able[self._load.calls[able].argmin()]), fastest[0]]

    def _estimate_latency(self, count: int | NDArray[np.int64]) -> Floats:
        """Return a guess at the latency of each policy, good enough to put them in order.

        To the latency without a queue it adds three times the mean wait in the busiest phase:
        H. Sakasegawa, "An approximation formula L = a rho^b / (1 - rho)" (1977).
        """
        servers = count * self._fleet.workers
        share = self._load.peak / servers
        calm = np.minimum(share, 0.99)
        power = np.sqrt(2 * (servers + 1)) - 1
        wait = self._load.seconds * calm**power / (servers * (1 - calm))
        limit = self._problem.slo.latency if self._problem.budget is None else np.inf
        hopeless = self._load.predicted > limit
        overloaded = np.where(share < 0.99, 0.0, 1e3 * share)
        expected: Floats = self._load.predicted + 3 * wait + overloaded + 1e6 * hopeless
        return expected


def _scale_to_zero(problem: PlanningProblem, candidates: CandidateTable) -> None:
    """Simulate the best fleet once more, gone when idle, where its type can be."""
    if not candidates.finalists:
        return
    best = min(candidates.finalists, key=lambda finalist: problem.rank(finalist.figures))
    deployment, policy, _ = best.configuration
    match deployment.platform:
        case FleetPlatform(least=0, instances=count):
            scaling = ScaleToZero(count=count)
            problem.evaluate(
                candidates, best.row, Configuration(deployment.with_count(0), policy, scaling)
            )


def search_jobs(problem: PlanningProblem, kind: str) -> CandidateTable:
    """Return the jobs of each instance type and period, the cheapest simulated.

    The bound on the latency is that of traffic that is even within a period.
    """
    choices = [
        (one.with_period(period), period)
        for one in problem.options.places(kind)
        for period in problem.options.periods
    ]
    deployments: list[Deployment] = []
    costs, notes = [], []
    for one, period in choices:
        times = problem.service_on(one)
        servers = problem.arrivals.rate * problem.rows * float(times.means[-1]) / times.largest
        count = int(servers) + 1
        deployments.append(one.with_count(min(count, problem.options.max_count)))
        usage = Usage(instance_seconds=servers + count * problem.options.boot / period)
        costs.append(1e6 * dollars_of(one, usage, problem.options.prices) / problem.arrivals.rate)
        unstable = count > problem.options.max_count
        notes.append(f"unstable: {count} instances would be busy on average" if unstable else "")
    periods = np.array([period for _, period in choices])
    candidates = CandidateTable(
        kind=kind,
        deployments=deployments,
        place=np.arange(len(choices)),
        max_size=np.ones(len(choices), dtype=np.int64),
        max_wait=np.zeros(len(choices)),
        predicted=problem.slo.quantile * periods + problem.options.boot,
        attainment=np.zeros(len(choices)),
        cost=np.array(costs),
        notes=np.array(notes, dtype=object),
        bound=True,
    )
    for period in np.unique(periods):
        rows = np.flatnonzero((periods == period) & (candidates.notes == ""))
        if len(rows):
            problem.evaluate(candidates, int(rows[candidates.cost[rows].argmin()]))
    return candidates
