"""Real-time fleets that change size by target tracking: target and minimum, searched.

AWS's policy sees minutes and acts after several, or 10 seconds where it looks at concurrent calls:
on a sharp rise it is late by that and by a boot. What helps is a lower target or a higher minimum,
and both cost. For each minimum the highest target that will do is found by halving, and then the
lowest minimum with the target of the cheapest; a minimum that is dearer by itself is left out.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from workbench.batching.timer import BatchPolicy
from workbench.planner.candidates import CandidateTable, Configuration
from workbench.scaling.reactive import TargetTracking
from workbench.units import MINUTE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from workbench.deployment.base import Deployment
    from workbench.planner.instance_capacity import FleetChoice
    from workbench.planner.problem import PlanningProblem
    from workbench.service_times import Floats

_TYPES = 2  # instance types that are tried
_MINIMA = 5  # numbers of instances that are tried as the minimum
_SHARES = tuple(float(share) for share in np.geomspace(0.15, 1.0, 8).round(3))
"""Targets, as shares of what an instance serves in a minute without a break."""


def search_scaled(problem: PlanningProblem, kind: str) -> CandidateTable:
    """Return fleets that change size by target tracking, the cheapest simulated."""
    choices, reasons = problem.fleet_choices
    table = tabulate(problem, kind, choices, reasons)
    for row in select_types(choices):
        for policy in shorten_wait(problem, table.configuration(row).policy):
            search = _TrackingSearch(problem, table, row, choices[row], policy)
            search.run()
    note_rest(table)
    return table


def select_types(choices: Sequence[FleetChoice]) -> list[int]:
    """Return the places of what is worth a simulation: the cheapest if busy, then smaller ones."""
    chosen: list[int] = []
    for place, choice in enumerate(choices):
        price = choice.capacity.hourly_price
        if all(price < choices[each].capacity.hourly_price for each in chosen):
            chosen.append(place)
    return chosen[:_TYPES]


def tabulate(
    problem: PlanningProblem,
    kind: str,
    choices: Sequence[FleetChoice],
    reasons: dict[str, str],
    deployments: Sequence[Deployment] = (),
) -> CandidateTable:
    """Return a row for each choice, at what it costs if kept busy, and for each type ruled out.

    Rows stand for the choices' instances, unless deployments are given in their place.
    """
    ruled_out = [one for one in problem.options.places("real-time") if one.label in reasons]
    ones = [*(deployments or [choice.one for choice in choices]), *ruled_out]
    policies = [choice.capacity.policy for choice in choices]
    count, unknown = len(ones), [1] * len(ruled_out)
    none = np.full(len(ruled_out), math.inf)
    costs = [choice.capacity.cost_per_million for choice in choices]
    return CandidateTable(
        kind=kind,
        deployments=ones,
        place=np.arange(count),
        max_size=np.array([p.max_size if p else 1 for p in policies] + unknown, np.int64),
        max_wait=np.array([p.max_wait if p else 0.0 for p in policies] + [0.0] * len(unknown)),
        predicted=np.concatenate([[float(choice.seconds[0]) for choice in choices], none]),
        attainment=np.zeros(count),
        cost=np.concatenate([costs, none]),
        notes=np.array([""] * len(choices) + [reasons[one.label] for one in ruled_out], object),
        bound=True,
    )


def note_rest(table: CandidateTable) -> None:
    """Say of rows without a simulation that others promised more."""
    simulated = {finalist.row for finalist in table.finalists}
    for row in range(len(table.notes)):
        if row not in simulated and not table.notes[row]:
            table.notes[row] = "not simulated: other instance types promised more"


def demand(problem: PlanningProblem) -> Floats:
    """Return requests a second in each minute of the trace, at least one."""
    counts = problem.trace.counts(MINUTE)
    return counts / MINUTE if len(counts) else np.array([problem.trace.rate])


def first_count(problem: PlanningProblem, choice: FleetChoice) -> int:
    """Return how many instances the first minutes take, with which a fleet is deployed."""
    needed = float(demand(problem)[:5].max()) / choice.capacity.rate
    return int(min(max(1, math.ceil(needed)), problem.options.max_count))


def shorten_wait(problem: PlanningProblem, policy: BatchPolicy) -> tuple[BatchPolicy, ...]:
    """Return batches, and the same with half the wait: in a fleet they fill sooner than alone."""
    waits = [wait for wait in problem.screening.waits if wait <= policy.max_wait / 2]
    half = max(waits, default=0.0)
    shorter = replace(policy, max_wait=half) if half else BatchPolicy()
    return tuple(dict.fromkeys((policy, shorter)))


class _TrackingSearch(NamedTuple):
    """The search for target and minimum of fleets of one type with some batches."""

    problem: PlanningProblem
    table: CandidateTable
    row: int
    choice: FleetChoice
    policy: BatchPolicy

    def run(self) -> None:
        """Simulate the highest target that will do for each minimum, then lower minima."""
        problem, capacity, tried = self.problem, self.choice.capacity, 0
        one = 1e6 * capacity.price / problem.trace.rate  # dollars per million, all the time
        peak = math.ceil(float(demand(problem).max()) / capacity.rate) + 1
        most = min(max(1, peak), problem.options.max_count)
        minima = np.geomspace(1, most, _MINIMA).round().astype(int)
        for minimum in sorted(set(minima.tolist())):
            as_dear = self.problem.best_cost(self.table) / one  # instances that cost as much
            least = minimum if minimum < as_dear else math.ceil(as_dear) - 1
            if least > tried:
                self._raise_target(least)
                tried = least
        self._lower_minimum()

    def _raise_target(self, least: int) -> None:
        """Simulate targets between the lowest and the highest that will do with a minimum."""
        workers, most = self.choice.one.instance_workers, self.problem.options.max_count
        full = MINUTE * workers / self.choice.seconds[self.policy.max_size - 1]

        def by_minute(share: float) -> TargetTracking:
            return TargetTracking(target=_round(share * full), least=least, most=most)

        def by_ten_seconds(share: float) -> TargetTracking:
            target = _round(share * workers)
            return TargetTracking.high_resolution(target=target, least=least, most=most)

        for track in (by_minute, by_ten_seconds):
            low, high = -1, len(_SHARES)  # met, not met
            while high - low > 1:
                middle = (low + high) // 2
                met = self._is_met(track(_SHARES[middle]))
                low, high = (middle, high) if met else (low, middle)

    def _lower_minimum(self) -> None:
        """Simulate minima between that of the cheapest that will do and the next below it."""
        found = [
            (each.figures, scaling)
            for each in self.table.finalists
            if each.row == self.row and each.configuration.policy == self.policy
            for scaling in [each.configuration.scaling]
            if isinstance(scaling, TargetTracking)
        ]
        met = [pair for pair in found if self.problem.meets_constraint(pair[0])]
        if not met:
            return
        _, best = min(met, key=lambda pair: pair[0].cost)
        high = best.least  # met, and `low` is not
        low = max((each.least for _, each in found if each.least < high), default=0)
        while high - low > 1:
            middle = (low + high) // 2
            met_there = self._is_met(replace(best, least=middle))
            low, high = (low, middle) if met_there else (middle, high)

    def _is_met(self, scaling: TargetTracking) -> bool:
        start = max(scaling.least, first_count(self.problem, self.choice))
        configuration = Configuration(self.choice.one.with_count(start), self.policy, scaling)
        figures = self.problem.evaluate(self.table, self.row, configuration).figures
        return self.problem.meets_constraint(figures)


def _round(value: float) -> float:
    return float(f"{value:.3g}")
