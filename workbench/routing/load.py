"""Routers that see load: calls in flight at each place, and latency learned as a function of them.

Four ways to weigh what is expected of a place under its present load::

    LatencyFirst(target=0.1)        # the most accurate of those that answer in time
    CostFirst(target=0.1)           # the cheapest of those that answer in time
    EffectiveAccuracy(target=0.1)   # the largest share right and in time, switching by load
    Contextual()                    # the most accurate for requests of this kind

A place of which no latency is known is asked once, so that one is; a place that has not been asked
for long is asked now and then (`explore`). Accuracy is learned by kind where answers say whether
they are right.
"""

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar, NamedTuple

from workbench.errors import InvalidInput
from workbench.routing.base import (
    Place,
    PlaceAnswer,
    PlaceState,
    RoutedRequest,
    RoutingRule,
    SingleAnswerRouter,
)
from workbench.routing.estimates import AccuracyModel, LatencyModel
from workbench.settings import amount, positive_amount, setting
from workbench.validation import inner_share

_Rank = tuple[float, ...]


class Prospect(NamedTuple):
    """What is expected of a place for one request under its present load.

    Attributes:
        state: The place.
        latency: Mean seconds, network included; infinite where nothing is known.
        in_time: Probability of an answer within the target.
        accuracy: Share of right answers for this kind of request; 0 where it is not known.
        cost: US dollars a request; infinite where it is not known.
    """

    state: PlaceState
    latency: float
    in_time: float
    accuracy: float
    cost: float


@dataclass(frozen=True, kw_only=True)
class _LoadAware(RoutingRule):
    """Base of the policies that see load."""

    target: float = field(
        default=0.1,
        metadata=setting(
            "Within (s)", "target of latency", positive_amount("seconds"), is_time=True
        ),
    )
    explore: float = field(
        default=0.01,
        metadata=setting("Explore", "share of requests to places long not asked", amount("")),
    )

    def __post_init__(self) -> None:
        """Check the settings, each by itself and then together."""
        super().__post_init__()
        if self.explore >= 1:
            raise InvalidInput(f"explore must be a share below 1, got {self.explore!r}.")

    @property
    def label(self) -> str:
        """The policy in a few words, for charts and tables."""
        return f"{self.kind}, {1000 * self.target:g} ms"

    def rank(self, prospects: Sequence[Prospect]) -> Sequence[_Rank]:
        """Return a rank for each, the largest of which is taken."""
        raise NotImplementedError

    @property
    def margin(self) -> float:
        """By how much another's rank has to exceed that of the place taken before."""
        return 0.0

    def router(self, places: Sequence[Place], seed: int = 0) -> "LoadAwareRouter":
        """Return a fresh router that explores by this seed."""
        return LoadAwareRouter(self, places, seed)


@dataclass(frozen=True, kw_only=True)
class _InTimeFirst(_LoadAware):
    """Base of the policies that first ask who answers in time."""

    quantile: float = field(
        default=0.95,
        metadata=setting("Percentile", "share of answers to be within the target", inner_share),
    )

    def rank(self, prospects: Sequence[Prospect]) -> Sequence[_Rank]:
        """Return those in time first, by preference, then the others by how likely they are."""
        return [
            (1.0, *self._prefer(each)) if each.in_time >= self.quantile else _likely(each)
            for each in prospects
        ]

    def _prefer(self, prospect: Prospect) -> _Rank:
        raise NotImplementedError


def _likely(prospect: Prospect) -> _Rank:
    return 0.0, prospect.in_time, -prospect.latency


@dataclass(frozen=True, kw_only=True)
class LatencyFirst(_InTimeFirst):
    """The target first: of the places likely to answer in time, the most accurate.

    Likely is a probability of at least `quantile`. Where none is, the likeliest is asked.
    """

    kind: ClassVar[str] = "latency-first"

    def _prefer(self, prospect: Prospect) -> _Rank:
        return prospect.accuracy, -prospect.cost, -prospect.latency


@dataclass(frozen=True, kw_only=True)
class CostFirst(_InTimeFirst):
    """Cost first: of the places likely to answer in time, the cheapest, then the most accurate.

    A place whose cost is not known counts as dearer than any. Where none is likely enough to be in
    time, the likeliest is asked.
    """

    kind: ClassVar[str] = "cost-first"

    def _prefer(self, prospect: Prospect) -> _Rank:
        return -prospect.cost, prospect.accuracy, -prospect.latency


@dataclass(frozen=True, kw_only=True)
class Contextual(_LoadAware):
    """The place most accurate for requests of this kind; of equals, the likeliest in time."""

    kind: ClassVar[str] = "contextual"

    @property
    def label(self) -> str:
        """The policy in a few words, for charts and tables."""
        return "most accurate by kind"

    def rank(self, prospects: Sequence[Prospect]) -> Sequence[_Rank]:
        """Return the accuracy, then what breaks ties."""
        return [(each.accuracy, each.in_time, -each.latency) for each in prospects]


@dataclass(frozen=True, kw_only=True)
class EffectiveAccuracy(_LoadAware):
    """The largest expected share of answers that are right and in time, by load and kind.

    Model-Switching (HotCloud 2020) chooses one model for all requests by their rate; here each
    request is sent where accuracy x P(in time), with the calls now in flight, is largest. It stays
    where requests of its kind went before unless that gains more than `hysteresis`.

    With weights, the score is P(in time) x (weight of accuracy x accuracy over the best + weight of
    cost x the cheapest over cost) + weight of latency x (1 - mean latency over target).

    Attributes:
        target: Seconds within which an answer is in time.
        explore: Share of requests sent to the place that was not asked for longest.
        hysteresis: What a change has to gain, as share of the best score there can be.
        latency: Weight of latency, 0 or more.
        accuracy: Weight of accuracy, 0 or more.
        cost: Weight of cost, 0 or more.

    Raises:
        InvalidInput: A weight is negative, or all are 0.
    """

    kind: ClassVar[str] = "effective-accuracy"

    hysteresis: float = field(
        default=0.02, metadata=setting("Hysteresis", "what a change has to gain", amount(""))
    )
    latency: float = field(
        default=0.0, metadata=setting("Weight of latency", "of being fast", amount(""))
    )
    accuracy: float = field(
        default=1.0, metadata=setting("Weight of accuracy", "of being right", amount(""))
    )
    cost: float = field(
        default=0.0, metadata=setting("Weight of cost", "of being cheap", amount(""))
    )

    def __post_init__(self) -> None:
        """Check the settings, each by itself and then together."""
        super().__post_init__()
        if not self.latency + self.accuracy + self.cost > 0:
            raise InvalidInput("latency, accuracy and cost are all 0: give one a weight above 0.")

    @property
    def margin(self) -> float:
        """By how much another's rank has to exceed that of the place taken before."""
        return self.hysteresis * (self.latency + self.accuracy + self.cost)

    def rank(self, prospects: Sequence[Prospect]) -> Sequence[_Rank]:
        """Return the score, then what breaks ties."""
        accurate = self.accuracy / (max(each.accuracy for each in prospects) or 1.0)
        cheapest = min(each.cost for each in prospects)
        cheap = self.cost * cheapest if cheapest < math.inf else 0.0
        fast = self.latency / self.target
        return [
            (
                in_time * (accurate * accuracy + (cheap / cost if cheap else 0.0))
                + (self.latency - fast * latency if fast else 0.0),
                in_time,
                -latency,
            )
            for _, latency, in_time, accuracy, cost in prospects
        ]


class LoadAwareRouter(SingleAnswerRouter):
    """Learns latency and accuracy of each place, and takes the one its policy ranks first."""

    def __init__(self, policy: _LoadAware, places: Sequence[Place], seed: int) -> None:
        self._policy = policy
        self._states = [PlaceState(index, place) for index, place in enumerate(places)]
        self._latency = [LatencyModel(place.seconds, place.servers) for place in places]
        self._accuracy = [AccuracyModel(p.accuracy, p.accuracy_by_context) for p in places]
        self._asked = [-1] * len(places)
        self._count = 0
        self._before: dict[str, int] = {}  # kind of request: the place taken last
        self._random = random.Random(seed)  # noqa: S311 - no secret

    def choose(
        self,
        request: RoutedRequest,
        states: Sequence[PlaceState],
        now: float,  # noqa: ARG002 - the protocol's words
    ) -> tuple[int, ...]:
        """Return the place that is ranked first, or one to learn from."""
        for state in states:
            self._states[state.index] = state
        chosen = self._explore(states)
        if chosen is None:
            chosen = self._best(request, states)
        self._count += 1
        self._asked[chosen] = self._count
        return (chosen,)

    def _explore(self, states: Sequence[PlaceState]) -> int | None:
        """Return a place to learn from, now and then."""
        for state in states:
            if not (self._latency[state.index].is_known or state.in_flight):
                return state.index
        if self._random.random() >= self._policy.explore:
            return None
        return min((state.index for state in states), key=self._asked.__getitem__)

    def _best(self, request: RoutedRequest, states: Sequence[PlaceState]) -> int:
        ranks = self._policy.rank([self._expect(request, state) for state in states])
        best = max(range(len(ranks)), key=ranks.__getitem__)
        before = self._before.get(request.context)
        for number, state in enumerate(states):
            if state.index == before and ranks[best][0] <= ranks[number][0] + self._policy.margin:
                best = number
        chosen = self._before[request.context] = states[best].index
        return chosen

    def _expect(self, request: RoutedRequest, state: PlaceState) -> Prospect:
        place, model = state.place, self._latency[state.index]
        mean, deviation = model.estimate(state.in_flight + 1)
        latency = mean + place.network_of(request.client)
        spare = self._policy.target - latency
        z = spare / deviation if deviation else math.copysign(math.inf, spare)
        return Prospect(
            state,
            latency,
            model.answered * 0.5 * math.erfc(-z * math.sqrt(0.5)),
            self._accuracy[state.index].estimate(request.context),
            place.cost if place.cost == place.cost else math.inf,
        )

    def observe(self, request: RoutedRequest, answer: PlaceAnswer, now: float) -> None:  # noqa: ARG002
        """Learn latency, failures, and accuracy where the answer tells it."""
        network = self._states[answer.place].place.network_of(request.client)
        failed = answer.error is not None
        seconds = math.inf if failed else max(answer.latency - network, 0.0)
        self._latency[answer.place].learn(answer.in_flight, seconds)
        self._accuracy[answer.place].learn(request.context, math.nan if failed else answer.correct)
