"""Fleets whose overflow goes to functions: scaled ahead by a forecast, or as they stand.

What is chosen: instance type, functions, when a batch spills, and how many requests an instance is
counted for. One thing is varied at a time, from what the exact model and the prices say; each trial
is simulated. Prices alone can rule hybrids out: see `describe_prices`.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from workbench.batching.timer import BatchPolicy
from workbench.deployment.spill import ByDeadline, InFlight, SpillRule
from workbench.planner.candidates import (
    HYBRID,
    CandidateTable,
    Configuration,
    SimulatedCandidate,
)
from workbench.planner.on_demand import screen_on_demand
from workbench.planner.scaled_fleets import (
    demand,
    first_count,
    note_rest,
    select_types,
    shorten_wait,
    tabulate,
)
from workbench.scaling.capacity import InstanceCapacity

if TYPE_CHECKING:
    from collections.abc import Iterator

    from workbench.deployment.base import Deployment
    from workbench.deployment.hybrid import Hybrid
    from workbench.forecasts.base import Forecaster
    from workbench.planner.instance_capacity import FleetChoice
    from workbench.planner.problem import PlanningProblem

_RATES = (0.85, 1.15, 1.3)  # of an instance's capacity, that it is counted for
_RAREST = 60.0 / 86400.0  # the share of time in which an instance is used where functions still pay


class Overflow(NamedTuple):
    """Functions that meet the target by themselves with some batches, the cheapest."""

    deployment: Deployment
    call_price: float
    """US dollars of a request, by the exact model."""
    pays: bool
    """Whether they are cheaper than an instance that is used in one minute of a day alone."""


class _HybridTrial(NamedTuple):
    """What a hybrid is made of."""

    row: int
    choice: FleetChoice
    overflow: Overflow
    spill: SpillRule
    policy: BatchPolicy
    share: float = 1.0

    def deployment(self, count: int) -> Deployment:
        """Return so many instances with the overflow; alone, where no function pays."""
        base = self.choice.one.with_count(count)
        return _hybrid(base, self.overflow, self.spill) if self.overflow.pays else base

    @property
    def capacity(self) -> InstanceCapacity:
        """What an instance is counted for."""
        return replace(self.choice.capacity, rate=self.share * self.choice.capacity.rate)


def search_hybrids(problem: PlanningProblem, kind: str) -> CandidateTable:
    """Return fleets with an overflow, the best simulated; none where prices rule them out."""
    choices, reasons = problem.fleet_choices
    pairs = [(each, find_overflow(problem, each, _policy(each))) for each in choices]
    ruled_out, able = dict(reasons), []
    for each, overflow in pairs:
        if overflow is None:
            reason = f"no functions meet the target with batches of {_policy(each).label}"
        elif _pays(each, overflow):
            able.append((each, overflow))
            continue
        else:
            reason = f"functions are cheaper than {each.capacity.instance_type} at every load"
        ruled_out[each.one.label] = reason
    hybrids = [_hybrid(each.one, overflow, InFlight()) for each, overflow in able]
    bases = [each for each, _ in able]
    table = tabulate(problem, kind, bases, ruled_out, hybrids)
    starts = [
        _HybridTrial(row, each, overflow, _by_deadline(problem, each), _policy(each))
        for row in select_types(bases)
        for each, overflow in [able[row]]
    ]
    if starts:
        _vary(problem, table, starts)
    note_rest(table)
    return table


def find_overflow(
    problem: PlanningProblem, choice: FleetChoice, policy: BatchPolicy
) -> Overflow | None:
    """Return the cheapest functions that meet the target with these batches; None where none do."""
    found: list[tuple[float, Deployment]] = []
    for kind in problem.options.overflow_kinds:
        table = screen_on_demand(problem, kind)
        alike = (table.max_size == policy.max_size) & (
            np.isclose(table.max_wait, policy.max_wait) | (policy.max_size == 1)
        )
        able = alike & (table.notes == "") & (table.predicted <= problem.latency_limit)
        if able.any():
            row = int(np.where(able, table.cost, np.inf).argmin())
            found.append((float(table.cost[row]) / 1e6, table.deployments[table.place[row]]))
    if not found:
        return None
    price, deployment = min(found, key=lambda each: each[0])
    pays = choice.capacity.critical_quantile(price) < 1 - _RAREST
    return Overflow(deployment, price, pays)


def describe_prices(problem: PlanningProblem) -> list[str]:
    """Return what prices alone say of hybrids, in sentences; nothing where a forecast decides."""
    if HYBRID not in problem.options.kinds:
        return []
    choices, reasons = problem.fleet_choices
    if not choices:
        return [f"No instance can meet the target: {' '.join(reasons.values())}"]
    pairs = [(each, find_overflow(problem, each, _policy(each))) for each in choices]
    known = [(each, overflow) for each, overflow in pairs if overflow]
    if not known:
        return ["No functions meet the target by themselves: hybrids have no overflow."]
    types = ", ".join(each.capacity.instance_type for each, _ in known)
    if not any(_pays(each, overflow) for each, overflow in known):
        return [f"Functions are cheaper than {types} at every load: no instance pays."]
    if not any(overflow.pays for _, overflow in known):
        used = f"{types} pays even if it is used in one minute of a day"
        return [f"Functions are so dear that {used}: no function pays."]
    return []


def _policy(choice: FleetChoice) -> BatchPolicy:
    return choice.capacity.policy or BatchPolicy()


def _pays(choice: FleetChoice, overflow: Overflow) -> bool:
    return choice.capacity.critical_quantile(overflow.call_price) > 0


def _hybrid(base: Deployment, overflow: Overflow, spill: SpillRule) -> Hybrid:
    from workbench.deployment.hybrid import Hybrid

    return Hybrid(base=base, overflow=overflow.deployment, spill=spill)


def _by_deadline(problem: PlanningProblem, choice: FleetChoice) -> ByDeadline:
    return ByDeadline(latency=problem.limit, service=choice.seconds.tolist())


# ---------------------------------------------------------------------- the search


def _vary(problem: PlanningProblem, table: CandidateTable, starts: list[_HybridTrial]) -> None:
    """Simulate what one forecaster does best, then the same with the others, and without any."""
    first, *others = problem.options.forecasters
    best = min(starts, key=lambda trial: _rank(problem, table, trial, first))
    for trials in (_spills, _batches, _rates):
        near = [best, *trials(problem, best)]
        best = min(near, key=lambda trial: _rank(problem, table, trial, first))
    for forecaster in others:
        near = [best, *_rates(problem, best)]
        min(near, key=lambda trial: _rank(problem, table, trial, forecaster))
    for count in _count_fixed(problem, best):
        problem.evaluate(table, best.row, Configuration(best.deployment(count), best.policy))


def _rank(
    problem: PlanningProblem, table: CandidateTable, trial: _HybridTrial, forecaster: Forecaster
) -> tuple[bool, bool, float, float]:
    return problem.rank(_simulate(problem, table, trial, forecaster).figures)


def _simulate(
    problem: PlanningProblem, table: CandidateTable, trial: _HybridTrial, forecaster: Forecaster
) -> SimulatedCandidate:
    from workbench.scaling.predictive import Predictive

    scaling = Predictive(
        forecaster=forecaster,
        capacity=trial.capacity,
        call_price=trial.overflow.call_price if trial.overflow.pays else None,
        boot=problem.options.boot,
        least=1,  # Application Auto Scaling lets no real-time variant go below
        most=problem.options.max_count,
    )
    deployment = trial.deployment(first_count(problem, trial.choice))
    return problem.evaluate(table, trial.row, Configuration(deployment, trial.policy, scaling))


def _spills(problem: PlanningProblem, trial: _HybridTrial) -> Iterator[_HybridTrial]:
    """Yield the trial with other rules: what finds all workers busy, or less of the deadline."""
    workers = trial.choice.one.instance_workers
    yield trial._replace(spill=InFlight(workers))
    yield trial._replace(spill=InFlight(2 * workers))
    late = _by_deadline(problem, trial.choice)
    yield trial._replace(spill=replace(late, margin=0.2 * problem.limit))


def _batches(problem: PlanningProblem, trial: _HybridTrial) -> Iterator[_HybridTrial]:
    """Yield the trial with half the wait, and without batches."""
    for policy in dict.fromkeys((*shorten_wait(problem, trial.policy), BatchPolicy())):
        overflow = find_overflow(problem, trial.choice, policy)
        if overflow and policy != trial.policy:
            yield trial._replace(policy=policy, overflow=overflow)


def _rates(problem: PlanningProblem, trial: _HybridTrial) -> Iterator[_HybridTrial]:  # noqa: ARG001 - as others
    """Yield the trial with instances counted for less or more than they can do alone."""
    yield from (trial._replace(share=share) for share in _RATES)


def _count_fixed(problem: PlanningProblem, trial: _HybridTrial) -> list[int]:
    """Return numbers of instances around what the critical quantile of all minutes needs."""
    quantile = trial.capacity.critical_quantile(trial.overflow.call_price)
    needed = float(np.quantile(demand(problem), quantile)) / trial.capacity.rate
    most = problem.options.max_count
    return sorted({min(max(1, math.floor(needed) + more), most) for more in (-1, 0, 1, 2)})
