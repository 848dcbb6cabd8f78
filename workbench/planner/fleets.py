"""Types that run on instances: how many it takes, found by simulation between two bounds.

No formula gives the queue behind a buffer. The exact model gives the latency with instances
without limit, which no fleet is below, and the load, which no fleet is above; between them the
number of instances is doubled and halved until the target is just met.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from workbench.deployment.base import Deployment
from workbench.planner.best_first import search_best_first
from workbench.planner.candidates import (
    CandidateMetrics,
    CandidateTable,
    Configuration,
    SimulatedCandidate,
    describe_instability,
    dollars_of,
)
from workbench.pricing.usage import Usage
from workbench.scaling.base import ScalingPolicy
from workbench.scaling.reactive import ScaleToZero
from workbench.service_times import Floats

if TYPE_CHECKING:
    from workbench.planner.problem import PlanningProblem

_MORE_INSTANCES = 3  # than the work takes, tried of those that go when idle
_PREDICTION_SLACK = 1.1  # how far a trace may be below what its process says
_SEARCHES = 3  # of a type, which share the simulations that are worth while
_POLICIES_PER_COUNT = 2  # policies simulated for a number of instances


class FleetMetrics(NamedTuple):
    """Of one instance type, by policy: what the exact model says, and where it is in the field."""

    first: int
    predicted: Floats  # infinite where a call breaks a limit
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


def search_fleets(problem: PlanningProblem, kind: str) -> CandidateTable:
    """Return the settings of a type whose instances stay, the best simulated."""
    fleets = [make_fleet_option(problem, one) for one in problem.options.places(kind)]
    candidates, loads = screen_fleets(problem, kind, fleets)
    searches = [_Search(problem, candidates, *each) for each in zip(fleets, loads, strict=True)]
    for search in sorted(searches, key=lambda each: each.least_cost):
        if not search.load.counts.min() <= search.fleet.most:
            continue
        best = problem.best_cost(candidates)
        if problem.budget is not None or search.least_cost < best or not candidates.finalists:
            search.run()
    if problem.budget is None:
        _try_cheaper(problem, candidates, searches)
    _scale_to_zero(problem, candidates, searches)
    return candidates


def make_fleet_option(problem: PlanningProblem, one: Deployment) -> FleetOption:
    """Return how many instances like one there may be, and the batches that each serves."""
    if one.counted_by:
        return FleetOption(one=one, workers=one.instance_workers, most=problem.options.max_count)
    return FleetOption(one=one, workers=one.platform.servers, most=1)


def screen_fleets(
    problem: PlanningProblem, kind: str, fleets: list[FleetOption]
) -> tuple[CandidateTable, list[FleetMetrics]]:
    """Return a row for each instance type and policy, at the fewest instances that can do it."""
    table = problem.screening
    distributions, policies = table.of([fleet.one for fleet in fleets]), len(table.policies)

    def column(figures: Floats) -> Floats:
        return np.broadcast_to(figures, table.busy.shape)[distributions].reshape(
            len(distributions), -1
        )[:, table.policies]

    servers, peak, predicted = map(column, (table.busy, table.busy_at_peak, table.screen.quantile))
    calls = column(1 / table.screen.mean_batch_size)
    index = np.repeat(np.arange(len(fleets)), policies)
    workers, most = np.array([[fleet.workers, fleet.most] for fleet in fleets]).T[:, index]
    counts = (servers.ravel() // workers).astype(np.int64) + 1
    there = np.minimum(counts, most)
    # one deployment for each type and count, of which there are far fewer than rows
    pairs, numbers = np.unique(np.stack([index, there]), axis=1, return_inverse=True)
    ones = [fleet.one for fleet in fleets]
    broken = table.broken_limits(ones)
    unstable = describe_instability(servers.ravel(), most * workers)
    data = np.array([problem.data_dollars(one) for one in ones])
    candidates = CandidateTable(
        kind=kind,
        deployments=[fleets[i].of(int(count)) for i, count in pairs.T],
        place=numbers.ravel(),
        max_size=np.tile(table.max_sizes, len(fleets)),
        max_wait=np.tile(table.max_waits, len(fleets)),
        predicted=predicted.ravel(),
        attainment=column(table.screen.attainment).ravel(),
        cost=_costs(problem, ones, index, there, calls.ravel()) + data[index],
        notes=np.where(unstable != "", unstable, broken.ravel()),
        bound=True,
    )
    seconds = servers / problem.arrivals.rate / calls
    each, no = np.arange(len(ones)), np.zeros(len(ones))
    price = _costs(problem, ones, each, no + 1, no)
    call_price = _costs(problem, ones, each, no, no + 1)
    shape = servers.shape
    columns = (
        np.where(broken == "", predicted, np.inf),
        servers,
        peak,
        seconds,
        calls,
        counts.reshape(shape),
    )
    prices = price.tolist(), call_price.tolist()
    parts = zip(*columns, candidates.cost.reshape(shape), *prices, strict=True)
    return candidates, [FleetMetrics(i * policies, *part) for i, part in enumerate(parts)]


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


_CALL = Usage(calls=1)  # for its price


class _Search:
    """The search for the right number of instances of one type."""

    def __init__(
        self,
        problem: PlanningProblem,
        candidates: CandidateTable,
        fleet: FleetOption,
        load: FleetMetrics,
    ) -> None:
        self._problem, self._candidates, self.fleet, self.load = problem, candidates, fleet, load
        self._simulations_left = problem.options.finalists
        self.failed = load.counts - 1  # by policy: so many instances are too few

    @property
    def least_cost(self) -> float:
        """The least cost of what the exact model does not rule out."""
        able = (self.load.predicted <= self._problem.limit) & (self.load.counts <= self.fleet.most)
        return float(self.load.costs[able].min(initial=np.inf))

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
        load = self.load
        budget = 0.998 * self._problem.limit  # the last answers come late
        counts = load.counts + ((budget - load.costs) // load.price).astype(np.int64)
        able = counts >= load.counts
        expected = np.where(able, self.estimate_latency(counts.clip(1, self.fleet.most)), np.inf)
        order = np.argsort(expected if able.any() else load.costs, kind="stable")[
            :_POLICIES_PER_COUNT
        ]
        for policy in order.tolist():
            self.evaluate(policy, int(counts[policy].clip(1, self.fleet.most)))

    def evaluate(
        self, policy: int, count: int, scaling: ScalingPolicy | None = None
    ) -> SimulatedCandidate:
        """Simulate a policy with so many instances."""
        row = self.load.first + policy
        deployment = self.fleet.of(count)
        configuration = Configuration(
            deployment if scaling is None else deployment.with_count(0),
            self._candidates.configuration(row).policy,
            scaling,
        )
        found = self._problem.evaluate(self._candidates, row, configuration)
        if scaling is None and not self._problem.meets_constraint(found.figures):
            self.failed[policy] = max(self.failed[policy], count)
        return found

    def _search_counts(self) -> Iterator[int]:
        """Yield counts between load and target, doubled until one will do, then halved."""
        workers, most = self.fleet.workers, self.fleet.most
        able = self.load.predicted <= self._problem.limit
        # where nothing can meet it, one count is simulated, so that there are figures to show
        hopeless = not able.any()
        able |= hopeless
        low = min(int(self.load.servers[able].min() // workers), most - 1)  # too few
        high = min(max(int(np.ceil(self.load.peak[able].min() / workers)), low + 1), most)
        yield high
        while not any(self._list_met()) and high < most and not hopeless:
            low, high = high, min(2 * high, most)
            yield high
        while self._is_met_at(high) and high - low > 1:
            middle = (low + high) // 2
            yield middle
            low, high = (low, middle) if self._is_met_at(middle) else (middle, high)

    def _is_met_at(self, count: int) -> bool:
        deployment = self.fleet.of(count)
        return any(each.configuration.deployment == deployment for each in self._list_met())

    def _list_met(self) -> Iterator[SimulatedCandidate]:
        """Return what was simulated of this type and meets the target."""
        rows = range(self.load.first, self.load.first + len(self.load.predicted))
        own = (each for each in self._candidates.finalists if each.row in rows)
        return (each for each in own if self._problem.meets_constraint(each.figures))

    def _simulate_policies(self, count: int) -> None:
        """Simulate the policies that promise most with so many instances, until one will do."""
        for policy in self._select_policies(count):
            self._simulations_left -= 1
            if self._problem.meets_constraint(self.evaluate(policy, count).figures):
                break

    def _select_policies(self, count: int) -> list[int]:
        """Return the policies to simulate: the fastest, before it that of fewest billed calls."""
        expected = self.estimate_latency(count)
        fastest: list[int] = np.argsort(expected, kind="stable")[:_POLICIES_PER_COUNT].tolist()
        # with some room, as a formula stands in for a simulation
        able = np.flatnonzero(expected <= 0.95 * self._problem.limit)
        if not self.load.call_price or not len(able):
            return fastest
        return [int(able[self.load.calls[able].argmin()]), fastest[0]]

    def estimate_latency(self, count: int | NDArray[np.int64]) -> Floats:
        """Return a guess at the latency of each policy, good enough to put them in order."""
        limit = self._problem.latency_limit
        return estimate_latency(self.load, count * self.fleet.workers, limit)


def estimate_latency(
    load: FleetMetrics,
    servers: int | NDArray[np.int64],
    limit: float,
    variability: float | Floats = 1.0,
) -> Floats:
    """Return a guess at the latency of each policy with so many servers, by what they carry.

    To the latency without a queue it adds three times the mean wait in the busiest phase:
    H. Sakasegawa, "An approximation formula L = a rho^b / (1 - rho)" (1977), times `variability`,
    which is 1 for batches that come and take as long as chance has it. What is overloaded, or above
    the limit without any queue, comes last.
    """
    share = load.peak / servers
    # at a load of 1 there is no mean wait; what is overloaded is sorted out below
    calm = np.minimum(share, 0.99)
    power = np.sqrt(2 * (servers + 1)) - 1
    wait = load.seconds * calm**power / (servers * (1 - calm))
    overloaded = np.where(share < 0.99, 0.0, 1e3 * share)
    expected: Floats = (
        load.predicted + 3 * variability * wait + overloaded + 1e6 * (load.predicted > limit)
    )
    return expected


class _Choices(NamedTuple):
    """Which search, which of its policies and how many instances: columns of equal length."""

    search: NDArray[np.int64]
    policy: NDArray[np.int64]
    instances: NDArray[np.int64]
    cost: Floats
    expected: Floats


def _join(parts: Iterable[_Choices]) -> _Choices:
    return _Choices(*(np.concatenate(column) for column in zip(*parts, strict=True)))


def _try_cheaper(
    problem: PlanningProblem, candidates: CandidateTable, searches: list[_Search]
) -> None:
    """Simulate what is cheaper than the best found and not known to be too little."""
    best = problem.best_cost(candidates)
    if np.isinf(best):
        return
    choices = _join(
        _cheaper_choices(problem, number, each, best) for number, each in enumerate(searches)
    )
    left = np.ones(len(choices.cost), bool)

    def simulate(row: int) -> CandidateMetrics:
        search, policy, count = (int(column[row]) for column in choices[:3])
        found = searches[search].evaluate(policy, count)
        if not problem.meets_constraint(found.figures):  # nor would fewer do
            alike = (choices.search == search) & (choices.policy == policy)
            left[alike & (choices.instances <= count)] = False
        return found.figures

    search_best_first(
        problem,
        cost=choices.cost,
        latency=choices.expected,
        left=left,
        simulate=simulate,
        best=best,
        tries=problem.tries // _SEARCHES,
        sweep_slack=np.inf,
    )


def _cheaper_choices(
    problem: PlanningProblem, number: int, search: _Search, best: float
) -> _Choices:
    """Return the choices of a search below a cost."""
    load = search.load
    counts = np.arange(load.counts.min(), search.fleet.most + 1)[:, None]
    costs = load.costs + load.price * (counts - load.counts)
    possible = load.predicted <= _PREDICTION_SLACK * problem.limit
    able = possible & (counts > search.failed) & (costs < best)
    rows, policies = np.nonzero(able)
    expected = [search.estimate_latency(int(counts[row, 0])) for row in np.unique(rows)]
    chosen = counts[rows, 0]
    return _Choices(
        search=np.full(len(rows), number),
        policy=policies,
        instances=chosen,
        cost=costs[able],
        expected=np.array(expected).reshape(-1, len(load.costs))[
            np.unique(rows, return_inverse=True)[1], policies
        ],
    )


def _scale_to_zero(
    problem: PlanningProblem, candidates: CandidateTable, searches: list[_Search]
) -> None:
    """Simulate fleets that go when idle, where their type can be without an instance.

    How long instances are up hangs little on the policy: it is read from one simulation for each
    instance type and number, and the policies follow by what their calls cost.
    """
    parts = [
        part
        for number, search in enumerate(searches)
        if getattr(search.fleet.one.platform, "least", 1) == 0 and _is_sometimes_idle(problem)
        for part in _probe_fleets(problem, number, search)
    ]
    if not parts:
        return
    choices = _join(parts)

    def simulate(row: int) -> CandidateMetrics:
        search, policy, count = (int(column[row]) for column in choices[:3])
        return searches[search].evaluate(policy, count, ScaleToZero(count=count)).figures

    search_best_first(
        problem,
        cost=choices.cost,
        latency=choices.expected,
        left=np.ones(len(choices.cost), bool),
        simulate=simulate,
        best=problem.best_cost(candidates) if problem.budget is None else np.inf,
    )


def _is_sometimes_idle(problem: PlanningProblem) -> bool:
    """Return whether so few requests come while instances boot that the target can be met."""
    arrivals, boot = problem.trace.arrivals, problem.options.boot
    if problem.budget is not None or problem.limit >= boot:
        return True
    first = np.append(0, np.flatnonzero(problem.trace.gaps > ScaleToZero().idle) + 1)
    waiting = np.searchsorted(arrivals, arrivals[first] + boot - problem.limit) - first
    return bool(waiting.sum() <= (1 - problem.slo.quantile) * len(arrivals))


def _probe_fleets(problem: PlanningProblem, number: int, search: _Search) -> Iterator[_Choices]:
    """Yield every policy with each number of instances that go when idle."""
    load = search.load
    able = np.flatnonzero(np.isfinite(load.predicted) & (load.predicted <= problem.latency_limit))
    counts = range(1, min(search.fleet.most, int(load.counts.min()) + _MORE_INSTANCES) + 1)
    for count in counts if len(able) else ():
        probe = int(able[load.calls[able].argmin()])
        figures = search.evaluate(probe, count, ScaleToZero(count=count)).figures
        less_calls = load.calls[able] - load.calls[probe]
        yield _Choices(
            search=np.full(len(able), number),
            policy=able,
            instances=np.full(len(able), count),
            cost=figures.cost + load.call_price * less_calls,
            expected=figures.latency + load.predicted[able] - load.predicted[probe],
        )
