"""Bandits: routers that know nothing beforehand and learn from rewards which place to ask.

The reward of an answer is the share of its rows that are right, 1 where that is not known, and 0 if
it fails or takes longer than `target`. Answers may come late and in any order::

    ThompsonSampling(target=0.1)    # draws by what may be; the least regret where nothing changes
    Exp3(target=0.1)                # a bound on its regret, whatever happens
    Exp4(target=0.1)                # the same, among experts that say whom to ask, by kind
    LinUCB(target=0.1)              # optimistic, linear in the request's kind and rows
"""

import math
import random
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from workbench.routing.base import (
    Place,
    PlaceAnswer,
    PlaceState,
    RoutedRequest,
    SingleAnswerRouter,
    TargetRule,
    as_named,
    find_place,
)
from workbench.settings import optional, positive_amount, whole
from workbench.validation import as_tuple

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Expert = tuple[tuple[str, str], ...]
"""Pairs of a kind of request and the place to ask; "" is any other kind."""


class _BanditRouter(SingleAnswerRouter, ABC):
    """Base of the routers of bandits: rewards."""

    def __init__(self, target: float) -> None:
        self._target = target

    def observe(self, request: RoutedRequest, answer: PlaceAnswer, now: float) -> None:
        """Learn the reward of an answer or a failure."""
        reward = 0.0
        if answer.error is None and answer.latency <= self._target:
            reward = 1.0 if math.isnan(answer.correct) else answer.correct
        self._learn(request, answer.place, reward)

    @abstractmethod
    def _learn(self, request: RoutedRequest, place: int, reward: float) -> None:
        """Learn a reward."""


@dataclass(frozen=True, kw_only=True)
class ThompsonSampling(TargetRule):
    """The place with the largest reward drawn from what its rewards so far leave possible.

    Beta distributions that begin even (Thompson, 1933; Agrawal and Goyal, COLT 2012). A reward
    between 0 and 1 counts as that share of a success and the rest of a failure.
    """

    kind: ClassVar[str] = "thompson"

    def router(self, places: Sequence[Place], seed: int = 0) -> "ThompsonRouter":
        """Return a fresh router that draws by this seed."""
        return ThompsonRouter(len(places), self.target, seed)


class ThompsonRouter(_BanditRouter):
    """Counts successes and failures of each place."""

    def __init__(self, count: int, target: float, seed: int) -> None:
        import numpy as np

        super().__init__(target)
        self._random = np.random.default_rng(seed)
        self._counts = np.ones((2, count))  # successes, failures

    def choose(
        self, request: RoutedRequest, states: Sequence[PlaceState], now: float
    ) -> tuple[int, ...]:
        """Return the place with the largest draw."""
        counts = self._counts[:, [state.index for state in states]]
        drawn: NDArray[np.float64] = self._random.beta(counts[0], counts[1])
        return (states[int(drawn.argmax())].index,)

    def _learn(self, request: RoutedRequest, place: int, reward: float) -> None:
        self._counts[:, place] += reward, 1 - reward


@dataclass(frozen=True, kw_only=True)
class Exp3(TargetRule):
    """Places by lot, the more rarely the more they have failed; good whatever the rewards do.

    The form in losses, 1 - reward: Bubeck and Cesa-Bianchi, Foundations and Trends in Machine
    Learning 5 (2012), figure 3.1. Against the best of K places, expected regret over `horizon`
    requests is at most (2 horizon K ln K)^0.5 (theorem 3.1).
    """

    kind: ClassVar[str] = "exp3"

    horizon: int = optional(1000, "Horizon", "requests to learn from", whole(1))

    def rate(self, places: int, experts: int) -> float:
        """Return how fast weights change: the constant of the bounds.

        >>> round(Exp3(horizon=2000).rate(3, 3), 3)
        0.019
        """
        return math.sqrt(2 * math.log(experts) / (self.horizon * places))

    def router(self, places: Sequence[Place], seed: int = 0) -> "ExpertsRouter":
        """Return a fresh router: each place is an expert for itself."""
        experts = [{"": number} for number in range(len(places))]
        return ExpertsRouter(self, experts, len(places), seed)


def _experts(name: str, value: object) -> tuple[Expert, ...]:
    """Return experts as pairs; a place's name alone is one that always says this place."""
    return tuple(
        (("", each),)
        if isinstance(each, str)
        else tuple((kind, str(place)) for kind, place in as_named(name, each))
        for each in as_tuple(name, value)
    )


@dataclass(frozen=True, kw_only=True)
class Exp4(Exp3):
    """Exp3 among experts, each of whom says which place to ask for requests of a kind.

    An expert is a place's name, which it always says, or names by kind, "" for any other. Without
    experts there is one for each place, and one that says the most accurate by kind where that is
    known. Expected regret against the best of N experts is at most (2 horizon K ln N)^0.5 (the same
    book, theorem 4.2).

    >>> policy = Exp4(experts=["small", {"noisy": "large", "": "small"}])
    >>> policy.experts
    ((('', 'small'),), (('noisy', 'large'), ('', 'small')))
    """

    kind: ClassVar[str] = "exp4"

    experts: tuple[Expert, ...] = optional((), "Experts", "places, or places by kind", _experts)

    def router(self, places: Sequence[Place], seed: int = 0) -> "ExpertsRouter":
        """Return a fresh router.

        Raises:
            InvalidInput: An expert names a place that is not there.
        """
        experts = [
            {context: find_place(places, name) for context, name in each} for each in self.experts
        ]
        return ExpertsRouter(self, experts or _build_experts(places), len(places), seed)


def _build_experts(places: Sequence[Place]) -> list[dict[str, int]]:
    """Return an expert for each place, and the one that goes by accuracy of the kind."""
    constant = [{"": number} for number in range(len(places))]
    best: dict[str, int] = {}
    for context in sorted({each for place in places for each in place.accuracy_by_context}):
        known = [place.accuracy_by_context.get(context, -1.0) for place in places]
        best[context] = known.index(max(known))
    return [*constant, best] if best else constant


class ExpertsRouter(_BanditRouter):
    """Weighs experts, and draws from what they say."""

    def __init__(
        self, policy: Exp3, experts: Sequence[Mapping[str, int]], places: int, seed: int
    ) -> None:
        super().__init__(policy.target)
        self._experts = experts
        self._places = places
        self._rate = policy.rate(places, len(experts))
        self._logs = [0.0] * len(experts)  # logarithms of weights
        self._drawn: dict[tuple[int, int], float] = {}  # request and place: its probability then
        self._random = random.Random(seed)  # noqa: S311 - no secret

    def choose(
        self, request: RoutedRequest, states: Sequence[PlaceState], now: float
    ) -> tuple[int, ...]:
        """Return a place by lot."""
        weights = dict.fromkeys((state.index for state in states), 0.0)
        advice = [
            (said, log)
            for said, log in zip(self._say(request.context), self._logs, strict=True)
            if said < 0 or said in weights
        ]
        # over the largest weight, as far losses would take all exponentials to 0
        most = max((log for _, log in advice), default=0.0)
        spread = 0.0 if advice else 1.0  # the weight of those who have no word: even chances
        for said, log in advice:
            if said < 0:
                spread += math.exp(log - most)
            else:
                weights[said] += math.exp(log - most)
        total, even = sum(weights.values()) + spread, spread / len(weights)
        chances = [(weight + even) / total for weight in weights.values()]
        (number,) = self._random.choices(range(len(states)), chances)
        index = states[number].index
        self._drawn[request.number, index] = chances[number]
        return (index,)

    def _say(self, context: str) -> list[int]:
        """Return the place that each expert says, -1 where it has no word on this kind."""
        return [expert.get(context, expert.get("", -1)) for expert in self._experts]

    def _learn(self, request: RoutedRequest, place: int, reward: float) -> None:
        # None: another router chose the place, or it stalled and its failure was learned
        chance = self._drawn.pop((request.number, place), None)
        if chance is None:
            return
        # over its chance: on average each place loses as if it were asked every time
        loss = self._rate * (1 - reward) / chance
        for number, said in enumerate(self._say(request.context)):
            if said == place:
                self._logs[number] -= loss
            elif said < 0:
                self._logs[number] -= loss / self._places


@dataclass(frozen=True, kw_only=True)
class LinUCB(TargetRule):
    """The place whose reward is largest at the upper end of what a linear model leaves possible.

    A model for each place on its own (Li, Chu, Langford and Schapire, WWW 2010, algorithm 1), of a
    constant, the request's kind and the logarithm of its rows. A kind never seen is a new feature
    of which nothing is known.
    """

    kind: ClassVar[str] = "linucb"

    alpha: float = optional(
        1.5, "Optimism", "standard deviations above the mean", positive_amount("")
    )

    def router(self, places: Sequence[Place], seed: int = 0) -> "LinearRouter":
        """Return a fresh router that draws among equals by this seed."""
        return LinearRouter(self, len(places), seed)


_MOST_CONTEXTS = 64  # kinds that get a feature of their own


class LinearRouter(_BanditRouter):
    """Keeps the inverse of each place's matrix, and its rewards."""

    def __init__(self, policy: LinUCB, count: int, seed: int) -> None:
        import numpy as np

        super().__init__(policy.target)
        self._np = np
        self._alpha = policy.alpha
        self._inverse = np.tile(np.eye(2), (count, 1, 1))
        self._rewards = np.zeros((count, 2))
        self._contexts: dict[str, int] = {}
        self._random = np.random.default_rng(seed)

    def choose(
        self, request: RoutedRequest, states: Sequence[PlaceState], now: float
    ) -> tuple[int, ...]:
        """Return the place with the largest upper bound."""
        features = self._features(request)
        spread = self._inverse @ features
        # inverse @ rewards is the model, and inverse is symmetric
        bounds = (spread * self._rewards).sum(axis=1)
        bounds += self._alpha * self._np.sqrt(spread @ features)
        # of equals not always the first, which nothing would be known beside
        order = self._random.permutation(len(states))
        return (states[max(order, key=lambda number: bounds[states[number].index])].index,)

    def _features(self, request: RoutedRequest) -> "NDArray[np.float64]":
        """Return the features of a request, and make room for a kind that is new."""
        if request.context not in self._contexts and len(self._contexts) < _MOST_CONTEXTS:
            self._contexts[request.context] = size = self._rewards.shape[1]
            self._inverse = self._np.pad(self._inverse, ((0, 0), (0, 1), (0, 1)))
            self._inverse[:, size, size] = 1.0
            self._rewards = self._np.pad(self._rewards, ((0, 0), (0, 1)))
        features = self._np.zeros(self._rewards.shape[1])
        features[:2] = 1.0, math.log(request.rows)
        if request.context in self._contexts:
            features[self._contexts[request.context]] = 1.0
        return features

    def _learn(self, request: RoutedRequest, place: int, reward: float) -> None:
        features = self._features(request)
        inverse = self._inverse[place]
        change = inverse @ features
        # the inverse with one more row in the matrix (Sherman and Morrison, 1950)
        inverse -= self._np.outer(change, change) / (1 + features @ change)
        self._rewards[place] += reward * features
