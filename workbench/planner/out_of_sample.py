"""How picks do on traffic that nothing was chosen on: draws with further seeds, or held-out hours.

A pick was found on one trace and, where it did not hold on other days, replaced by one that did
(`workbench.planner.reliability`): its figures there are better than it is, if only by chance. So it
is simulated once more, on draws that no choice has seen, or on the end of the trace, which was held
out from the start.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from workbench.formatting import duration, percent
from workbench.planner.candidates import CandidateTable, Configuration, latencies_of
from workbench.planner.days import map_days
from workbench.quantiles import is_met, longest_within
from workbench.units import HOUR

if TYPE_CHECKING:
    from workbench.planner.problem import PlanningProblem
    from workbench.traffic.trace import Trace

_DEVIATIONS = 2.0  # of the shares of draws: what nineteen of twenty keep to


class OutOfSample(NamedTuple):
    """How a pick does on traffic that nothing was chosen on.

    Attributes:
        shares: Of the requests of each draw, or of each held-out hour, those within the target.
        requests: In all.
        met: How many draws or hours meet the target.
        attainment: Share of all requests within the target.
    """

    shares: tuple[float, ...]
    requests: int
    met: int
    attainment: float

    @property
    def worst(self) -> float:
        """The least of the shares."""
        return min(self.shares)

    @property
    def low(self) -> float:
        """What nineteen of twenty such shares exceed: two standard deviations below their mean."""
        return float(np.mean(self.shares) - _DEVIATIONS * np.std(self.shares))

    @property
    def label(self) -> str:
        """The figures in words."""
        worst = f" ({percent(self.worst)} at worst)" if len(self.shares) > 1 else ""
        return f"{percent(self.attainment)} in time{worst}"


@dataclass(frozen=True)
class Holdout:
    """The end of a trace, which picks are judged on and which no choice sees."""

    trace: Trace

    @property
    def part(self) -> float:
        """Seconds of one share: an hour, or the whole where that is shorter."""
        return min(HOUR, self.trace.duration)

    @property
    def label(self) -> str:
        """What it is, in words."""
        hours = f", each {duration(self.part)}" if self.part < self.trace.duration else ""
        return f"the last {duration(self.trace.duration)} of the trace{hours}"


def hold_out(trace: Trace, share: float) -> tuple[Trace, Holdout | None]:
    """Return what a choice may see of a trace, and its end, which was held out.

    Raises:
        InvalidInput: No request is left on one side.

    >>> from workbench.traffic.patterns import constant
    >>> seen, held = hold_out(constant(rate=1, duration=8), 0.25)
    >>> seen.duration, held.trace.duration, held.label
    (6.0, 2.0, 'the last 2 s of the trace')
    """
    if not share:
        return trace, None
    edge = (1 - share) * trace.duration
    return trace.clip(0.0, edge), Holdout(trace.clip(edge))


def judge_out_of_sample(problem: PlanningProblem, tables: tuple[CandidateTable, ...]) -> None:
    """Simulate the pick of each type on traffic that nothing was chosen on; keep the figures."""
    days = problem.days
    if problem.holdout is None and (days is None or not days.source):
        return
    for table in tables:
        met = [each for each in table.finalists if problem.meets_target(each.figures)]
        pick = min(met, key=partial(problem.rank_judged, table), default=None)
        if pick is not None:
            table.out_of_sample[pick.configuration] = _try(problem, pick.configuration)


def _try(problem: PlanningProblem, configuration: Configuration) -> OutOfSample:
    if problem.holdout is not None:
        held = problem.holdout
        alone = replace(problem, trace=held.trace, days=None)
        arrivals, within = _find_in_time(alone, configuration)
        count = math.floor(held.trace.duration / held.part)  # what is left over goes with the last
        edges = np.searchsorted(arrivals, held.part * np.arange(1, count))
        return _count(problem, [each for each in np.split(within, edges) if len(each)])
    # the draws after those on which picks were judged
    draws = range(problem.options.unseen_draws, 2 * problem.options.unseen_draws)
    with map_days() as each_day:
        found = each_day(lambda n: _find_in_time(problem.on_day(n), configuration)[1], draws)
        return _count(problem, list(found))


def _find_in_time(
    problem: PlanningProblem, configuration: Configuration
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Return the arrivals of a trace, and which requests are answered within the target."""
    outcome = problem.serve(configuration)
    late, _ = latencies_of(outcome, configuration.deployment, problem.content)
    return outcome.arrivals, late <= longest_within(problem.slo.latency)


def _count(problem: PlanningProblem, parts: list[NDArray[np.bool_]]) -> OutOfSample:
    shares = tuple(float(each.mean()) for each in parts)
    requests = sum(len(each) for each in parts)
    return OutOfSample(
        shares=shares,
        requests=requests,
        met=sum(is_met(share, problem.slo.quantile) for share in shares),
        attainment=sum(int(each.sum()) for each in parts) / requests,
    )
