"""The thesis's weighted choice: as its prototype MuLambda makes it, and mended.

Facts, read in silv-io/mulambda @ 626d319 (MIT, October 2023) and described in our words: latency is
estimated as network latency plus, for each unit of input, the delay that the last call had; its
bucket becomes a number from 1, the fastest, to 0; accuracy, the mean of the last ten answers', is
divided by the best; and the largest weighted sum wins, the first of equals.
"""

import math
from bisect import bisect_left
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from workbench.errors import InvalidInput
from workbench.routing.base import (
    Place,
    PlaceAnswer,
    PlaceState,
    RoutedRequest,
    RoutingRule,
    SeenStates,
    SingleAnswerRouter,
    as_named,
)
from workbench.routing.weights import WeightedRule
from workbench.settings import amount, optional, setting
from workbench.validation import finite

LATENCY_BUCKETS = (0.01, 0.03, 0.06, 0.09, 0.15, 0.24, 0.39, 0.63, 1.02)
"""Upper bounds in seconds, as in the prototype's settings."""

# as the prototype rates a latency: the fastest class 1, and less by a tenth for each after it
_NORMALIZED = [round(1 - below / len(LATENCY_BUCKETS), 2) for below in range(10)]
_ANSWERS = 10  # whose mean is the accuracy


_NEEDS = setting("Needs", "traits and what each must equal", as_named)


@dataclass(frozen=True, kw_only=True)
class MuLambda(RoutingRule):
    """The weighted choice as published, slips included.

    The score is accuracy x its weight *minus* latency x its weight, though latency is a number that
    grows as a place gets faster: the use cases pass negative weights of latency, which puts it
    right. Nothing of the load on a place is seen, so that all clients go to the same one.

    Attributes:
        latency: Weight of latency; negative to prefer fast places.
        accuracy: Weight of accuracy.
        needs: Traits that a place must have, and the value of each.

    >>> fast, good = Place(name="fast", accuracy=0.5), Place(name="good", accuracy=0.9, seconds=0.3)
    >>> states = [PlaceState(0, fast), PlaceState(1, good)]
    >>> MuLambda(latency=-0.5, accuracy=0.5).router([fast, good]).choose(
    ...     RoutedRequest(0), states, now=0.0
    ... )
    (0,)
    """

    kind: ClassVar[str] = "mulambda"

    latency: float = optional(-0.5, "Weight of latency", "negative to prefer fast places", finite)
    accuracy: float = optional(0.5, "Weight of accuracy", "share of right answers", finite)
    needs: tuple[tuple[str, Any], ...] = field(default=(), metadata=_NEEDS)

    @property
    def label(self) -> str:
        """The policy in a few words, for charts and tables."""
        return f"MuLambda, latency {self.latency:g}, accuracy {self.accuracy:g}"

    def router(self, places: Sequence[Place], seed: int = 0) -> "MuLambdaRouter":
        """Return a fresh router."""
        return MuLambdaRouter(self, places)


class MuLambdaRouter(SingleAnswerRouter):
    """Keeps the last delay and the last ten answers of each place."""

    def __init__(self, policy: "MuLambda | Weighted", places: Sequence[Place]) -> None:
        self._policy = policy
        self._seen = SeenStates(places)
        self._delays = [place.seconds for place in places]
        self._correct = [deque[float](maxlen=_ANSWERS) for _ in places]
        self._accuracies = [_or_nothing(place.accuracy) for place in places]

    def choose(
        self, request: RoutedRequest, states: Sequence[PlaceState], now: float
    ) -> tuple[int, ...]:
        """Return the place with the largest weighted sum.

        Where those that have the traits needed are left out or have failed, any other is taken.

        Raises:
            InvalidInput: No place has the traits that are needed; the prototype fails there too.
        """
        self._seen.note(states)
        fit = [state for state in states if not self._misses(state)]
        if not fit and any(not self._misses(each) for each in self._seen.states):
            fit = list(states)
        if not fit:
            needs = ", ".join(f"{name} = {value!r}" for name, value in self._policy.needs)
            raise InvalidInput(f"No place has {needs}: change the needs, or take Weighted.")
        best = max(self._accuracies[state.index] for state in fit) or 1.0
        scores = []
        for each in fit:
            fast = _NORMALIZED[bisect_left(LATENCY_BUCKETS, self._latency(request, each))]
            accuracy = self._accuracies[each.index] / best
            scores.append(-self._policy.latency * fast + self._policy.accuracy * accuracy)
        return (fit[scores.index(max(scores))].index,)

    def _misses(self, state: PlaceState) -> int:
        """Return how many needs a place does not fulfil."""
        if not self._policy.needs:
            return 0
        traits = state.place.traits
        return sum(traits.get(name) != value for name, value in self._policy.needs)

    def _latency(self, request: RoutedRequest, state: PlaceState) -> float:
        """Return the estimated seconds; a delay that is not known counts as none, as there."""
        delay = _or_nothing(self._delays[state.index])
        return state.place.network_of(request.client) + delay * request.size

    def observe(self, request: RoutedRequest, answer: PlaceAnswer, now: float) -> None:
        """Take over the delay and accuracy of an answer."""
        if answer.error is not None:
            return
        network = self._seen.network(answer.place, request.client)
        self._delays[answer.place] = max(answer.latency - network, 0.0) / request.size
        if not math.isnan(answer.correct):
            answers = self._correct[answer.place]
            answers.append(answer.correct)
            self._accuracies[answer.place] = sum(answers) / len(answers)


def _or_nothing(value: float) -> float:
    return 0.0 if math.isnan(value) else value


@dataclass(frozen=True, kw_only=True)
class Weighted(WeightedRule):
    """The weighted choice mended: positive weights, no buckets, cost, and always a choice.

    Latency counts as the fastest place's divided by it, cost as the cheapest's divided by it, and
    accuracy, as published, divided by the best: each is from 0 to 1, larger is better, and what is
    not known counts as 0. Where no place fulfils all needs, those that miss the fewest are taken.

    Attributes:
        needs: Traits that a place should have, and the value of each; others: `WeightedRule`.

    Raises:
        InvalidInput: A weight is negative, or all are 0.
    """

    kind: ClassVar[str] = "weighted"

    latency: float = optional(1.0, "Weight of latency", "of being fast", amount(""))
    needs: tuple[tuple[str, Any], ...] = field(default=(), metadata=_NEEDS)

    @property
    def label(self) -> str:
        """The policy in a few words, for charts and tables."""
        latency, accuracy, cost = self.shares
        return f"weighted, latency {latency:.2g}, accuracy {accuracy:.2g}, cost {cost:.2g}"

    def router(self, places: Sequence[Place], seed: int = 0) -> "WeightedRouter":
        """Return a fresh router."""
        return WeightedRouter(self, places)


class WeightedRouter(MuLambdaRouter):
    """Learns as the published one does, and scores by ratios."""

    def __init__(self, policy: Weighted, places: Sequence[Place]) -> None:
        super().__init__(policy, places)
        self._shares = policy.shares

    def choose(
        self, request: RoutedRequest, states: Sequence[PlaceState], now: float
    ) -> tuple[int, ...]:
        """Return the place with the largest weighted sum, of equals the faster, the better."""
        self._seen.note(states)
        misses = [self._misses(state) for state in states]
        fewest = min(misses)
        fit = [state for state, missed in zip(states, misses, strict=True) if missed == fewest]
        latencies = _normalize([self._latency(request, state) for state in fit])
        costs = _normalize([state.place.cost for state in fit])
        known = [self._accuracies[state.index] for state in fit]
        best = max(known) or 1.0
        latency, accuracy, cost = self._shares
        scores = [
            (latency * fast + accuracy * right / best + cost * cheap, fast, right, cheap)
            for fast, right, cheap in zip(latencies, known, costs, strict=True)
        ]
        return (fit[scores.index(max(scores))].index,)

    def _latency(self, request: RoutedRequest, state: PlaceState) -> float:
        """Return the estimated seconds; NaN where no delay is known."""
        return state.place.network_of(request.client) + self._delays[state.index] * request.size


def _normalize(amounts: Sequence[float]) -> list[float]:
    """Return the least amount divided by each: 1 for the least, 0 for what is not known."""
    least = min((each for each in amounts if each == each), default=0.0)  # noqa: PLR0124 - NaN is not
    return [1.0 if each == least else least / each if each > least else 0.0 for each in amounts]
