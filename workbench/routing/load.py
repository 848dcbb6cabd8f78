"""Routers that see load: calls in flight at each place, and latency learned as a function of them.

Four ways to weigh what is expected of a place under its present load::

    LatencyFirst(target=0.1)        # the most accurate of those that answer in time
    CostFirst(target=0.1)           # the cheapest of those that answer in time
    EffectiveAccuracy(target=0.1)   # the largest share right and in time, switching by load
    Contextual()                    # the most accurate for requests of this kind

A place of which no latency is known is asked once, and one that was not asked for long now and then
(`explore`), where that may prove it the best. Accuracy is learned by kind where answers say whether
they are right.
"""

import math
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from workbench.routing.base import Place, TargetRule
from workbench.routing.load_router import LoadAwareRouter, Prospect, Rank
from workbench.routing.weights import WeightedRule
from workbench.settings import amount, optional
from workbench.validation import inner_share, share

_NO_CHANCE = 0.01  # in time, below which it is all the same


@dataclass(frozen=True, kw_only=True)
class LoadAware(TargetRule):
    """Base of the policies that see load: how places are ranked, and how far to explore."""

    explore: float = optional(0.01, "Explore", "share of requests to places long not asked", share)

    @abstractmethod
    def rank(self, prospects: Sequence[Prospect]) -> Sequence[Rank]:
        """Return a rank for each, the largest of which is taken."""

    @property
    def margin(self) -> float:
        """The least by which the first numbers of two ranks have to differ to count."""
        return 0.0

    def is_hopeless(self, rank: Rank) -> bool:
        """Return whether the first rank says that no place will answer in time.

        Such a request goes where it makes the least work, so that those behind it have a chance.
        """
        return max(rank[:2]) < _NO_CHANCE

    def router(self, places: Sequence[Place], seed: int = 0) -> "LoadAwareRouter":
        """Return a fresh router that explores by this seed."""
        return LoadAwareRouter(self, places, seed)


@dataclass(frozen=True, kw_only=True)
class _InTimeFirst(LoadAware):
    """Base of the policies that first ask who answers in time."""

    quantile: float = optional(
        0.95, "Percentile", "share of answers to be within the target", inner_share
    )

    def rank(self, prospects: Sequence[Prospect]) -> Sequence[Rank]:
        """Return those in time first, by preference, then the others by how likely they are."""
        return [
            (1.0, *self._prefer(each))
            if each.in_time >= self.quantile
            else (0.0, each.in_time, -each.latency)
            for each in prospects
        ]

    @abstractmethod
    def _prefer(self, prospect: Prospect) -> Rank:
        """Return the rank among those in time."""


@dataclass(frozen=True, kw_only=True)
class LatencyFirst(_InTimeFirst):
    """The target first: of the places likely to answer in time, the most accurate.

    Likely is a probability of at least `quantile`. Where none is, the likeliest is asked.
    """

    kind: ClassVar[str] = "latency-first"

    def _prefer(self, prospect: Prospect) -> Rank:
        return prospect.accuracy, -prospect.cost, -prospect.latency


@dataclass(frozen=True, kw_only=True)
class CostFirst(_InTimeFirst):
    """Cost first: of the places likely to answer in time, the cheapest, then the most accurate.

    A place whose cost is not known counts as dearer than any. Where none is likely enough to be in
    time, the likeliest is asked.
    """

    kind: ClassVar[str] = "cost-first"

    def _prefer(self, prospect: Prospect) -> Rank:
        return -prospect.cost, prospect.accuracy, -prospect.latency


@dataclass(frozen=True, kw_only=True)
class Contextual(LoadAware):
    """The place most accurate for requests of this kind; of equals, the likeliest in time."""

    kind: ClassVar[str] = "contextual"

    @property
    def label(self) -> str:
        """The policy in a few words, for charts and tables."""
        return "most accurate by kind"

    def is_hopeless(self, rank: Rank) -> bool:
        """Return False: the target is not asked."""
        return False

    def rank(self, prospects: Sequence[Prospect]) -> Sequence[Rank]:
        """Return the accuracy, then what breaks ties."""
        return [(each.accuracy, each.in_time, -each.latency) for each in prospects]


@dataclass(frozen=True, kw_only=True)
class EffectiveAccuracy(LoadAware, WeightedRule):
    """The largest expected share of answers that are right and in time, by load and kind.

    Model-Switching (HotCloud 2020) chooses one model for all requests by their rate; here each
    request is sent where accuracy x P(in time), with the calls now in flight, is largest. Of places
    that differ by less than `hysteresis` the fastest is taken, and the one that had the last
    request of this kind unless another is faster by more than that, too.

    With weights, the score is P(in time) x (weight of latency + weight of accuracy x accuracy over
    the best + weight of cost x the cheapest over cost), where a late answer may still be worth
    something: `late` in twice the target, `late` squared in three times it.

    Attributes:
        late: What an answer that takes twice the target is worth, as share of one in time.
        hysteresis: The least that counts as a difference, as share of the best score there can be.
        latency: Weight of latency, which buys being in time; others: `WeightedRule`.

    Raises:
        InvalidInput: A weight is negative, or all are 0.
    """

    kind: ClassVar[str] = "effective-accuracy"

    late: float = optional(0.0, "Worth if late", "of an answer in twice the target", share)
    hysteresis: float = optional(0.02, "Hysteresis", "what a change has to gain", amount(""))

    @property
    def margin(self) -> float:
        """The least by which the first numbers of two ranks have to differ to count."""
        return self.hysteresis

    def rank(self, prospects: Sequence[Prospect]) -> Sequence[Rank]:
        """Return the score, then what breaks ties."""
        latency_weight, accuracy_weight, cheap = self.shares
        accurate = accuracy_weight / (max(each[2] for each in prospects) or 1.0)
        cheapest = min(each[3] for each in prospects) if cheap else 0.0
        late = self.late
        return [
            (
                (self._worth(latency, in_time) if late else in_time)
                * (
                    latency_weight
                    + accurate * accuracy
                    + (cheap and (cheap if cost == cheapest else cheap * cheapest / cost))
                ),
                in_time,
                -latency,
            )
            for latency, in_time, accuracy, cost in prospects
        ]

    def _worth(self, latency: float, in_time: float) -> float:
        """Return what an answer is worth, as share of one that is surely in time."""
        if latency == math.inf:
            return 0.0
        discount: float = self.late ** max(0.0, latency / self.target - 1)
        return in_time + (1 - in_time) * discount
