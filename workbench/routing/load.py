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
from workbench.validation import inner_share, share

_HALF_LIFE = 1000.0  # requests after which a place may be twice as fast as it was
_ROOT_HALF = math.sqrt(0.5)

_Rank = tuple[float, ...]


class Prospect(NamedTuple):
    """What is expected of a place for one request under its present load.

    Attributes:
        state: The place.
        network: Seconds of network there and back.
        latency: Mean seconds, network included; infinite where nothing is known.
        in_time: Probability of an answer within the target.
        accuracy: Share of right answers for this kind of request; 0 where it is not known.
        cost: US dollars a request; infinite where it is not known.
    """

    state: PlaceState
    network: float
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
        metadata=setting("Explore", "share of requests to places long not asked", share),
    )

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
    request is sent where accuracy x P(in time), with the calls now in flight, is largest. Of places
    that differ by less than `hysteresis` the fastest is taken, and the one that had the last
    request of this kind unless another is faster by more than that, too.

    With weights, the score is P(in time) x (weight of latency + weight of accuracy x accuracy over
    the best + weight of cost x the cheapest over cost), where a late answer may still be worth
    something: `late` in twice the target, `late` squared in three times it.

    Attributes:
        target: Seconds within which an answer is in time.
        explore: Share of requests sent to the place that was not asked for longest.
        late: What an answer that takes twice the target is worth, as share of one in time.
        hysteresis: The least that counts as a difference, as share of the best score there can be.
        latency: Weight of latency, which buys being in time, 0 or more.
        accuracy: Weight of accuracy, 0 or more.
        cost: Weight of cost, 0 or more.

    Raises:
        InvalidInput: A weight is negative, or all are 0.
    """

    kind: ClassVar[str] = "effective-accuracy"

    late: float = field(
        default=0.0,
        metadata=setting("Worth if late", "of an answer in twice the target", share),
    )
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
        return [
            (
                self._worth(latency, in_time)
                * (self.latency + accurate * accuracy + (cheap / cost if cheap else 0.0)),
                in_time,
                -latency,
            )
            for _, _, latency, in_time, accuracy, cost in prospects
        ]

    def _worth(self, latency: float, in_time: float) -> float:
        """Return what an answer is worth, as share of one that is surely in time."""
        if not self.late or latency == math.inf:
            return in_time
        return in_time + (1 - in_time) * self.late ** max(0.0, latency / self.target - 1)


class LoadAwareRouter(SingleAnswerRouter):
    """Learns latency and accuracy of each place, and takes the one its policy ranks first."""

    def __init__(self, policy: _LoadAware, places: Sequence[Place], seed: int) -> None:
        self._policy = policy
        self._states = [PlaceState(index, place) for index, place in enumerate(places)]
        self._latency = [LatencyModel(place.seconds, place.servers) for place in places]
        self._accuracy = [AccuracyModel(p.accuracy, p.accuracy_by_context) for p in places]
        self._unknown = {n for n, place in enumerate(places) if math.isnan(place.seconds)}
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
        prospects = [self._expect(request, state) for state in states]
        ranks = self._policy.rank(prospects)
        chosen = self._stay(request.context, prospects, ranks)
        if self._unknown or self._random.random() < self._policy.explore:
            chosen = self._explore(request.context, prospects, max(ranks), chosen)
        index = states[chosen].index
        self._count += 1
        self._asked[index] = self._count
        return (index,)

    def _stay(self, context: str, prospects: Sequence[Prospect], ranks: Sequence[_Rank]) -> int:
        """Return the position of the first in rank; of near equals the least burden or the last."""
        best = max(range(len(ranks)), key=ranks.__getitem__)
        margin = self._policy.margin
        if not margin:
            return best
        least = ranks[best][0] - margin
        near = {n: self._burden(prospects[n]) for n, rank in enumerate(ranks) if rank[0] >= least}
        best = min(near, key=near.__getitem__)
        before, most = self._before.get(context), near[best] * (1 + margin)
        for number, burden in near.items():
            if burden <= most and prospects[number].state.index == before:
                best = number
        self._before[context] = prospects[best].state.index
        return best

    def _burden(self, prospect: Prospect) -> float:
        """Return the seconds that one more call adds to all calls there: its own, and their delay.

        What each adds for itself alone sends too many to the fastest place (Pigou, 1920).
        """
        under_way = prospect.state.in_flight
        if not under_way:
            return prospect.latency
        model = self._latency[prospect.state.index]
        delay = model.estimate(under_way + 1)[0] - model.estimate(under_way)[0]
        return prospect.latency + under_way * max(0.0, delay)

    def _explore(
        self, context: str, prospects: Sequence[Prospect], best: _Rank, otherwise: int
    ) -> int:
        """Return the position of the place asked longest ago of those that may prove the best."""
        order = sorted(
            range(len(prospects)),
            key=lambda n: (self._asked[prospects[n].state.index], prospects[n].network),
        )
        for number in order:
            state = prospects[number].state
            if self._unknown and (state.index not in self._unknown or state.in_flight):
                continue
            hoped = list(prospects)
            hoped[number] = self._hope(context, prospects[number])
            if self._policy.rank(hoped)[number] > best:
                return number
        return otherwise

    def _expect(self, request: RoutedRequest, state: PlaceState) -> Prospect:
        self._states[state.index] = state
        place, model = state.place, self._latency[state.index]
        mean, deviation = model.estimate(state.in_flight + 1)
        network = place.network_of(request.client)
        spare = self._policy.target - mean - network
        z = spare / deviation if deviation else math.copysign(math.inf, spare)
        return Prospect(
            state,
            network,
            mean + network,
            model.answered * 0.5 * math.erfc(-z * _ROOT_HALF),
            self._accuracy[state.index].estimate(request.context),
            place.cost if place.cost == place.cost else math.inf,
        )

    def _hope(self, context: str, prospect: Prospect) -> Prospect:
        """Return the best that can be hoped of a place that was not asked for long."""
        index = prospect.state.index
        age = self._count - self._asked[index]
        known = self._latency[index].estimate(1)[0]
        seconds = 0.0 if index in self._unknown else known * 0.5 ** (age / _HALF_LIFE)
        latency = prospect.network + seconds
        return prospect._replace(
            latency=latency,
            in_time=float(latency <= self._policy.target),
            accuracy=self._accuracy[index].hope(context),
        )

    def observe(self, request: RoutedRequest, answer: PlaceAnswer, now: float) -> None:  # noqa: ARG002
        """Learn latency, failures, and accuracy where the answer tells it."""
        self._unknown.discard(answer.place)
        network = self._states[answer.place].place.network_of(request.client)
        failed = answer.error is not None
        seconds = math.inf if failed else max(answer.latency - network, 0.0)
        self._latency[answer.place].learn(answer.in_flight, seconds)
        correct = math.nan if failed else answer.correct
        self._accuracy[answer.place].learn(request.context, correct, request.rows)
