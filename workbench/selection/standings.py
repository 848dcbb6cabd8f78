"""Who is first: candidates as arrays, and the choice by weights or by a target, as often as asked.

Whoever moves a slider asks `Standings.decide`: it plans, simulates and measures nothing.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from workbench.ensembles import Ensemble
from workbench.selection.evidence import compare_accuracy
from workbench.selection.weights import (
    Figures,
    Scale,
    equalise,
    find_best,
    find_front,
    rescale,
    score,
)

if TYPE_CHECKING:
    from workbench.planner.plans import Candidate
    from workbench.registry.model import Model
    from workbench.selection.evidence import Evidence
    from workbench.selection.needs import Miss
    from workbench.selection.question import Question
    from workbench.selection.weights import Bools, Floats, Shares

MAX_P = 0.05
"""From this p-value of McNemar's test on, two accuracies cannot be distinguished."""


@dataclass(frozen=True, eq=False, kw_only=True)
class RatedCandidate:
    """A model, perhaps on an inference type, and what is known of it.

    Attributes:
        model: The model, or an ensemble of several.
        evidence: What is known of its accuracy; None where a trait excluded it before.
        kind: The inference type; None where no type was looked at.
        found: Where and how it runs; None where that was not searched for.
        effective_accuracy: Share of requests answered right and in time; NaN if not known.
        least_latency: What its latency is at least, in seconds, whatever the settings.
        least_cost: What it costs at least, in US dollars per million requests.
        bound: What its accuracy is at least, with the confidence asked for; NaN if not known.
        misses: The needs that it does not meet.
        unbatched: Whether it is looked at without batching, beside the cheapest settings.
    """

    model: Model | Ensemble
    evidence: Evidence | None = None
    kind: str | None = None
    found: Candidate | None = None
    effective_accuracy: float = math.nan
    least_latency: float = math.nan
    least_cost: float = math.nan
    bound: float = math.nan
    misses: tuple[Miss, ...] = ()
    unbatched: bool = False

    @property
    def title(self) -> str:
        """The model's name, or what an ensemble is in a few words."""
        return title_of(self.model)

    @property
    def name(self) -> str:
        """Model and inference type, as flips name them."""
        if self.kind is None or isinstance(self.model, Ensemble):
            return self.title
        return f"{self.title} on {self.kind}{' without batching' * self.unbatched}"

    @property
    def priced_as(self) -> str | None:
        """The inference type whose prices it has: that of all its members, where they have one."""
        if isinstance(self.model, Ensemble):
            kinds = {each.deployment.kind for each in self.model.members.values()}
            return kinds.pop() if len(kinds) == 1 else self.kind
        return self.kind

    @property
    def label(self) -> str:
        """Model, deployment and batching in a few words."""
        if self.found is None or isinstance(self.model, Ensemble):
            return self.name
        return f"{self.title} on {self.found.label}"

    @property
    def accuracy(self) -> float:
        """Its accuracy in this traffic; NaN if not known."""
        return math.nan if self.evidence is None else self.evidence.accuracy

    @property
    def latency(self) -> float:
        """Seconds at the target's quantile; NaN if not known."""
        return math.nan if self.found is None else self.found.latency

    @property
    def cost(self) -> float:
        """US dollars per million requests; NaN if not known."""
        return math.nan if self.found is None else self.found.cost_per_million

    def figure(self, name: str) -> float:
        """Return a figure by its name among the needs."""
        if name in ("accuracy", "effective_accuracy", "latency"):
            return float(getattr(self, name))
        return math.nan if self.found is None else float(getattr(self.found, name))


def title_of(candidate: Model | Ensemble) -> str:
    """Return a model's name, or the label of an ensemble."""
    return candidate.label if isinstance(candidate, Ensemble) else candidate.name


class Ranking(NamedTuple):
    """Who is first, and whether another one led by a difference that may be chance.

    Attributes:
        first: The number of the winner; None where nothing passes.
        leader: That of the highest score; the winner unless they cannot be distinguished.
        p: The p-value of the two having one accuracy; NaN where the winner leads.
        scores: Of all candidates; with a target, their negative costs.
    """

    first: int | None
    leader: int | None
    p: float
    scores: Floats


class _Weighing(NamedTuple):
    """Figures, how they are weighed, and the scores that they come to."""

    figures: Figures
    shares: Shares
    scale: Scale
    scores: Floats

    def score_alike(self, rows: list[int], like: int) -> Floats:
        """Return the scores if some rows were as accurate as one of them."""
        equal = equalise(self.figures, rows, float(self.figures.quality[like]))
        return score(equal, self.shares, self.scale)


@dataclass(frozen=True, eq=False)
class Standings:
    """Candidates of one question as arrays.

    Attributes:
        question: What is asked.
        rows: The candidates.
    """

    question: Question
    rows: tuple[RatedCandidate, ...]
    _p_values: dict[tuple[str, str], float] = field(default_factory=dict)

    def _column(self, name: str) -> Floats:
        return np.array([getattr(row, name) for row in self.rows], dtype=np.float64)

    @cached_property
    def figures(self) -> Figures:
        """What is known of each."""
        columns = map(self._column, (self.question.quality, "latency", "cost"))
        return Figures(*columns)

    @cached_property
    def limits(self) -> Figures:
        """The best that each can be: what is known, and bounds where nothing is."""
        open_rows = self.open_rows
        quality = np.where(open_rows, self._column("accuracy"), self.figures.quality)
        if self.question.quality != "accuracy":
            quality = np.where(open_rows, 1.0, quality)
        return Figures(
            quality,
            np.where(open_rows, self._column("least_latency"), self.figures.latency),
            np.where(open_rows, self._column("least_cost"), self.figures.cost),
        )

    @cached_property
    def passes(self) -> Bools:
        """Which miss no need, and are known to run."""
        return np.array([not row.misses and row.found is not None for row in self.rows], bool)

    @cached_property
    def open_rows(self) -> Bools:
        """Which miss no need as far as bounds tell, and were not searched for settings."""
        return np.array([not row.misses and row.found is None for row in self.rows], bool)

    @cached_property
    def front(self) -> Bools:
        """Which of those that pass none beats in accuracy, latency and cost."""
        return find_front(self.figures, self.passes)

    @cached_property
    def scale(self) -> Scale:
        """What the merits are measured by."""
        question = self.question
        scale = Scale(least=question.least, target=question.slo.latency, cost=math.inf)
        return rescale(scale, self.figures, self.passes, question.budget)

    @cached_property
    def _is_sure(self) -> Bools:
        bounds = self._column("bound")
        return self.passes & (bounds >= (self.question.target or 0.0))

    def decide(
        self, shares: Shares | None = None, *, prices: NDArray[np.float64] | None = None
    ) -> Ranking:
        """Return who is first by the question's target, or else by weights.

        Args:
            shares: Other weights of accuracy, latency and cost, that make 1.
            prices: Factors by which the candidates' costs differ from what they are.
        """
        figures, scale, front = self.figures, self.scale, self.front
        if prices is not None:
            figures = figures._replace(cost=figures.cost * prices)
            scale = rescale(scale, figures, self.passes, self.question.budget)
            front = find_front(figures, self.passes)
        if self.question.target is not None and shares is None:
            scores = np.where(np.isfinite(figures.cost), -figures.cost, -np.inf)
            first = find_best(figures, scores, self._is_sure)
            return Ranking(first, first, math.nan, scores)
        shares = self.question.weights.shares if shares is None else shares
        scores = score(figures, shares, scale)
        leader = find_best(figures, scores, self.passes)
        if leader is None or self.question.quality != "accuracy" or not shares[0]:
            return Ranking(leader, leader, math.nan, scores)
        first = self._find_twin(_Weighing(figures, shares, scale, scores), front, leader)
        p = math.nan if first == leader else self.compare(first, leader)
        return Ranking(first, leader, p, scores)

    def _find_twin(self, weighing: _Weighing, front: Bools, leader: int) -> int:
        """Return the best that is cheaper than the leader and that nothing beats but by chance."""
        cost = weighing.figures.cost
        rows = [*np.flatnonzero(front & (cost < cost[leader])).tolist(), leader]
        alike = weighing.score_alike(rows, leader)
        order = sorted(rows, key=lambda row: (-alike[row], cost[row]))
        return next(row for row in order if row == leader or self._is_unbeaten(weighing, row))

    def _is_unbeaten(self, weighing: _Weighing, row: int) -> bool:
        """Return whether whatever scores more does so by an accuracy that may be chance."""
        scores = weighing.scores
        better = np.flatnonzero(self.passes & (scores > scores[row])).tolist()
        alike = weighing.score_alike([*better, row], row)
        return all(
            alike[other] <= alike[row] and self.may_be_chance(row, other) for other in better
        )

    def compare(self, one: int, other: int) -> float:
        """Return the p-value of two candidates having one accuracy; NaN if that is not known."""
        first, second = self.rows[one], self.rows[other]
        if first.evidence is None or second.evidence is None:
            return math.nan
        if first.title == second.title:
            return 1.0
        key = first.title, second.title
        if key not in self._p_values:
            self._p_values[key] = compare_accuracy(first.evidence, second.evidence)
        return self._p_values[key]

    def may_be_chance(self, one: int, other: int) -> bool:
        """Return whether two accuracies cannot be distinguished on the rows that there are."""
        return self.compare(one, other) >= MAX_P

    def find_rival(self) -> int | None:
        """Return the undecided candidate that could do best, if it could change who is first.

        With its bounds for its figures it would score more than the winner, or be a cheaper one
        that cannot be distinguished from the leader in accuracy; with a target, it could cost less.
        """
        if not self.open_rows.any():
            return None
        decision, limits = self.decide(), self.limits
        if self.question.target is not None:
            sure = self.open_rows & (self._column("bound") >= self.question.target)
            limit = np.inf if decision.first is None else self.figures.cost[decision.first]
            return _lowest(limits.cost, sure & (limits.cost < limit))
        rival = self._find_scale_rival()
        if rival is not None:
            return rival
        scores = np.where(self.open_rows, self.score_limits(), -np.inf)
        if decision.leader is None or scores.max() > decision.scores[decision.leader]:
            return _lowest(-scores, np.isfinite(scores))
        return self._find_twin_rival(decision)

    def score_limits(self) -> Floats:
        """Return the score that each can have at most."""
        return score(self.limits, self.question.weights.shares, self.scale)

    def _find_scale_rival(self) -> int | None:
        """Return the candidate whose cost may be the scale of costs: the most accurate's."""
        if self.question.budget is not None or not self.question.weights.shares[2]:
            return None
        best = np.where(self.passes, self.figures.quality, -np.inf).max(initial=-np.inf)
        limits = self.limits
        cheaper = (limits.quality == best) & (limits.cost < self.scale.cost)
        open_rows = self.open_rows & ((limits.quality > best) | cheaper)
        most = limits.quality[open_rows].max(initial=-np.inf)
        return _lowest(limits.cost, open_rows & (limits.quality == most))

    def _find_twin_rival(self, decision: Ranking) -> int | None:
        """Return who could be a cheaper twin of the leader, or beat the one that there is."""
        leader, first = decision.leader, decision.first
        weighed = self.question.quality == "accuracy" and self.question.weights.shares[0]
        if leader is None or first is None or not weighed:
            return None
        limits, most = self.limits, self.score_limits()
        weighing = _Weighing(limits, self.question.weights.shares, self.scale, most)
        alike = weighing.score_alike(list(range(len(most))), leader)
        could_be = self.open_rows & (limits.cost < limits.cost[leader]) & (alike > alike[first])
        could_beat = self.open_rows & (most > most[first])
        for row in np.argsort(-alike, kind="stable").tolist():
            if could_be[row] and self.compare(row, leader) >= MAX_P:
                return int(row)
            if could_beat[row] and self.compare(row, first) < MAX_P:
                return int(row)
        return None


def _lowest(values: Floats, among: Bools) -> int | None:
    rows = np.flatnonzero(among)
    return int(rows[values[rows].argmin()]) if len(rows) else None


def to_number(value: float | None) -> Any:  # noqa: ANN401 - a JSON value
    """Return a figure as a JSON value: None where it is not known or not finite."""
    return value if value is not None and math.isfinite(value) else None
