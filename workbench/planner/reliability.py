"""Whether a pick meets its target on other days, and how much headroom that takes.

What is best for one trace is best for what chance brought that day. A pick is simulated on days
that the search has not seen (`workbench.traffic.redraws`); where it misses the target on too many,
the search is made again with a tighter one, until what it picks holds.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from workbench.deployment.platforms import FleetPlatform
from workbench.planner.candidates import (
    CandidateTable,
    Configuration,
    Reliability,
    SimulatedCandidate,
)
from workbench.planner.days import AT_ONCE, map_days
from workbench.planner.type_search import search_type
from workbench.progress import Progress

if TYPE_CHECKING:
    from workbench.planner.problem import PlanningProblem


_ROUNDS = 6  # tighter limits that are searched with
_MOST_EXCESS = 2.0  # times the limit: how much tighter the next one is at most
_BELOW = 0.999  # of a pick's own figure: the limit that it does not meet


def secure_all(
    problem: PlanningProblem, tables: tuple[CandidateTable, ...], progress: Progress | None = None
) -> None:
    """Try the pick of each type on other days, and give it headroom until it holds.

    A type whose pick does not hold is searched again with tighter limits; `progress` is notified
    of how many types are done.
    """
    notify = progress or (lambda *_: None)
    if problem.days is not None and problem.days.source:
        picks = [(pick, table) for table in tables if (pick := find_pick(problem, table))]
        notify(0, len(tables))
        judge(problem, picks)
        for done, (pick, table) in enumerate(picks):
            notify(done, len(tables))
            if problem.meets_constraint(pick.figures):
                _Headroom(problem, table).raise_from(pick)
    notify(len(tables), len(tables))


def find_pick(problem: PlanningProblem, table: CandidateTable) -> SimulatedCandidate | None:
    """Return the best finalist that meets the target, at best with headroom; None if none does."""
    met = [each for each in table.finalists if problem.meets_target(each.figures)]
    return min(met, key=lambda each: problem.rank(each.figures), default=None)


class _Headroom:
    """The search for what holds on other days, of one type."""

    def __init__(self, problem: PlanningProblem, table: CandidateTable) -> None:
        self._problem, self._table = problem, table
        self._held = math.inf  # the least aim of what holds

    def raise_from(self, pick: SimulatedCandidate) -> None:
        """Try a pick, and what has more headroom until something holds."""
        if self._holds(pick):
            return
        self._add_instances(pick)
        self._tighten(pick)
        if math.isinf(self._held):
            met = (e for e in self._table.finalists if self._problem.meets_constraint(e.figures))
            self._holds(min(met, key=lambda each: self._problem.figure_to_limit(each.figures)))

    def _holds(self, pick: SimulatedCandidate) -> bool:
        judge(self._problem, [(pick, self._table)])
        judged = self._table.judged[pick.configuration]
        holds = judged.holds(self._problem.options.unseen_share)
        if holds:
            self._held = min(self._held, self._problem.aim(pick.figures))
        return holds

    def _is_better(self, pick: SimulatedCandidate) -> bool:
        return self._problem.aim(pick.figures) < self._held

    def _add_instances(self, pick: SimulatedCandidate) -> None:
        """Try a fleet with more and more instances, then with the fewest of these that hold."""
        deployment, policy, scaling = pick.configuration
        platform = deployment.platform
        if not isinstance(platform, FleetPlatform) or not deployment.counted_by or scaling:
            return

        def grow(count: int) -> SimulatedCandidate:
            larger = Configuration(deployment.with_count(count), policy)
            return self._problem.evaluate(self._table, pick.row, larger)

        most = self._problem.options.max_count
        few, many = platform.instances, platform.instances + 1
        while many <= most and not self._holds(grow(many)):
            if not self._is_better(grow(many)):
                return
            few, many = many, 2 * many
        while many <= most and many - few > 1:
            middle = (few + many) // 2
            few, many = (few, middle) if self._holds(grow(middle)) else (middle, many)

    def _tighten(self, pick: SimulatedCandidate) -> None:
        """Search again with tighter limits, then with the loosest of these that holds."""
        failing, holding = self._next_limits(pick)
        for _ in range(_ROUNDS):
            found = self._search(holding)
            if found is None or not self._is_better(found):
                break
            if self._holds(found):
                break
            failing, holding = self._next_limits(found)
        else:
            return
        for _ in range(_ROUNDS // 2):
            # limits are shares: their middle is one by ratio
            found = self._search(math.sqrt(failing * holding))
            if found is None or found.configuration in self._table.judged:
                break
            own = self._problem.figure_to_limit(found.figures) / self._problem.limit
            if not self._is_better(found):
                holding = own
            elif self._holds(found):
                break
            else:
                failing = own

    def _next_limits(self, pick: SimulatedCandidate) -> tuple[float, float]:
        """Return the share of the limit at which a pick failed, and one at which to search next.

        It would hold if what is limited grew on other days in proportion.
        """
        own = self._problem.figure_to_limit(pick.figures) / self._problem.limit
        excess = min(max(self._table.judged[pick.configuration].worst, 1.0), _MOST_EXCESS)
        return own, min(own * _BELOW, own / excess)

    def _search(self, tightness: float) -> SimulatedCandidate | None:
        """Return the pick of a tighter limit, None where nothing meets it."""
        tighter = self._problem.tighten(tightness)
        known = {each.configuration for each in self._table.finalists}
        found = search_type(tighter, self._table.kind).finalists
        self._table.finalists.extend(each for each in found if each.configuration not in known)
        pick = find_pick(tighter, self._table)
        return pick if pick and tighter.meets_constraint(pick.figures) else None


def judge(
    problem: PlanningProblem, picks: Sequence[tuple[SimulatedCandidate, CandidateTable]]
) -> None:
    """Simulate picks on other days, each until it is clear that it fails, and keep the counts."""
    options = problem.options
    # a float's 19.0000001 days are 19
    allowed = options.unseen_draws - math.ceil(options.unseen_share * options.unseen_draws - 1e-9)
    ratios: dict[int, list[float]] = {
        place: []
        for place, (pick, table) in enumerate(picks)
        if pick.configuration not in table.judged
    }
    with map_days() as each_day:
        for first in range(0, options.unseen_draws, AT_ONCE):
            left = [n for n, seen in ratios.items() if sum(each > 1 for each in seen) <= allowed]
            days = range(first, min(first + AT_ONCE, options.unseen_draws)) if left else ()

            def try_day(number: int, left: list[int] = left) -> list[float]:
                day = problem.on_day(number)
                return [day.ratio(picks[place][0].configuration) for place in left]

            for found in each_day(try_day, days):
                for place, ratio in zip(left, found, strict=True):
                    ratios[place].append(ratio)
    for place, seen in ratios.items():
        pick, table = picks[place]
        rank = max(1, math.ceil(options.unseen_share * len(seen) - 1e-9))
        met = sum(each <= 1 for each in seen)
        table.judged[pick.configuration] = Reliability(met, len(seen), sorted(seen)[rank - 1])
