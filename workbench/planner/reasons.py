"""Why each candidate of a plan won or lost, in sentences."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from workbench.formatting import duration, figure, percent
from workbench.run.verdict import judge_share

if TYPE_CHECKING:
    from workbench.deployment.base import Deployment
    from workbench.planner.candidates import (
        CandidateMetrics,
        CandidateTable,
        Reliability,
        SimulatedCandidate,
    )
    from workbench.planner.out_of_sample import OutOfSample
    from workbench.planner.problem import PlanningProblem


@dataclass(frozen=True)
class Reasons:
    """What is said of candidates that were simulated.

    Attributes:
        problem: What is planned.
        winner: The figures of the winner.
        surcharge: How much dearer it is than the cheapest for this trace alone, as a share.
    """

    problem: PlanningProblem
    winner: CandidateMetrics
    surcharge: float

    def explain(self, table: CandidateTable, finalist: SimulatedCandidate) -> str:
        """Return why a candidate won or lost."""
        metrics, judged = finalist.figures, table.judged.get(finalist.configuration)
        proof = table.out_of_sample.get(finalist.configuration)
        winner = self.winner
        if metrics is winner:
            proved = f"; out of sample {proof.label}" if proof else ""
            trusted = self._why_trusted(judged)
            return self._why_best(winner) + self._doubt(winner, proof) + trusted + proved
        if metrics.broken:
            return f"not possible: {metrics.broken}"
        if not self.problem.meets_constraint(metrics):
            return self._miss(metrics) + self._why_never(finalist.configuration.deployment)
        what = "cost" if self.problem.budget is None else "latency"
        against, aim = self.problem.weigh(metrics), self.problem.weigh(winner)
        if judged is not None and not judged.holds(self.problem.options.unseen_share):
            return f"{self._keeps} on {judged.label} other days only"
        if against < aim:
            if judged is None:
                known = "on this trace for less; not tried on other days"
            else:  # today's choice, which is tried wherever it is
                known = f"for less, also on {judged.label} other days"
            return f"{self._keeps} {known}"
        return format_ratio(against, aim, what)

    @property
    def _keeps(self) -> str:
        return "meets the target" if self.problem.budget is None else "keeps to the budget"

    def _doubt(self, winner: CandidateMetrics, proof: OutOfSample | None) -> str:
        """Return in words that chance may decide whether the winner meets the target, or ""."""
        if not self.problem.meets_target(winner) or self.problem.budget is not None:
            return ""
        share, wanted = winner.attainment, self.problem.slo.quantile
        if not self._is_unsure(winner) and (proof is None or proof.low >= wanted):
            return ""
        return f"; {percent(share)} in time is within its own uncertainty of the target"

    def _is_unsure(self, metrics: CandidateMetrics) -> bool:
        """Return whether the requests are too few to tell if the target is met."""
        requests, wanted = len(self.problem.trace), self.problem.slo.quantile
        return judge_share(metrics.attainment, requests, wanted).word == "cannot tell"

    def _why_trusted(self, judged: Reliability | None) -> str:
        """Return how the winner does on other days, and what holding there costs."""
        if judged is None:
            return ""
        share = self.problem.options.unseen_share
        words = f" on {judged.label} other days"
        if not judged.holds(share):
            return f"; no pick does so on {100 * share:g} % of other days, this{words}"
        price = self.surcharge
        if price <= 0:
            return f", and{words}"
        what = (
            "more than the cheapest" if self.problem.budget is None else "slower than the fastest"
        )
        more = f"{100 * price:.3g} % {what}" if price < math.inf else f"{what}, which is free,"
        return f", and{words}; that makes it {more} for this trace alone"

    def _why_best(self, winner: CandidateMetrics) -> str:
        if winner.broken:
            return f"nothing keeps to the limits of its platform; here {winner.broken}"
        if self.problem.meets_constraint(winner):
            if self.problem.budget is not None:
                return "the fastest within the budget"
            return "meets the target at the least cost"
        if self.problem.meets_target(winner):
            return f"meets the target, if {self._barely(winner.latency)}; nothing leaves more"
        if self.problem.budget is None:
            over = percent(winner.latency / self.problem.slo.latency - 1)
            return f"nothing meets the target; this misses it least, by {over}"
        over = percent(winner.cost / self.problem.budget - 1)
        return f"nothing keeps to the budget; this exceeds it least, by {over}"

    def _barely(self, latency: float) -> str:
        """Return how much of the target is left, in words."""
        left = 1 - latency / self.problem.slo.latency
        return (
            f"with {percent(max(left, 0))} headroom instead of "
            f"{percent(self.problem.options.headroom)}"
        )

    def _miss(self, metrics: CandidateMetrics) -> str:
        shown = f"{self.problem.slo.percentile} {duration(metrics.latency)}"
        if self.problem.meets_target(metrics):
            return f"{shown}, {self._barely(metrics.latency)}"
        if self.problem.budget is None:
            within = ", within its own uncertainty" if self._is_unsure(metrics) else ""
            return f"{shown}, above the target of {duration(self.problem.slo.latency)}{within}"
        return f"${metrics.cost:.4g} per million above the budget of ${self.problem.budget:.4g}"

    def _why_never(self, deployment: Deployment) -> str:
        """Return why a type cannot meet the target whatever is chosen, or ""."""
        boot = self.problem.options.boot
        if not deployment.by_job or self.problem.budget is not None:
            return ""
        late = boot > self.problem.slo.latency
        return f"; no job can meet it: one takes {duration(boot)} to start" if late else ""


SAME = 1.0001
"""A ratio to the winner's figure below which nobody would tell the two apart."""


def divide(value: float, by: float) -> float:
    """Return a ratio; of what costs nothing to what costs nothing it is 1."""
    if by:
        return value / by
    return math.inf if value else 1.0


def format_ratio(value: float, of: float, what: str) -> str:
    """Return how much a figure is above the winner's, in words.

    >>> [format_ratio(value, 1.0, "cost") for value in (1.0, 1.05, 10_100)]
    ['the same cost as the winner', "5 % above the winner's cost", "10,100 times the winner's cost"]
    """
    ratio = divide(value, of)
    if ratio == math.inf:
        return f"above the winner's {what}, which is 0"
    if ratio < SAME:
        return f"the same {what} as the winner"
    if ratio < 1.1:
        return f"{figure(100 * (ratio - 1), 2)} % above the winner's {what}"
    return f"{figure(ratio)} times the winner's {what}"
