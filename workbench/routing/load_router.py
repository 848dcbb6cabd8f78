"""The router that sees load: what it expects of each place, what it learns, when it explores."""

import math
import random
from collections.abc import Sequence
from typing import NamedTuple, Protocol

from workbench.routing.base import (
    Place,
    PlaceAnswer,
    PlaceState,
    RoutedRequest,
    SingleAnswerRouter,
)
from workbench.routing.estimates import AccuracyModel, LatencyModel

_LONG = 100  # requests that went elsewhere
_ROOT_HALF = math.sqrt(0.5)

Rank = tuple[float, ...]
"""What a policy makes of a prospect: the largest is taken."""


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


class Preference(Protocol):
    """What a routing policy says: how places are ranked, and how far to explore."""

    @property
    def target(self) -> float:
        """Seconds within which an answer is in time."""
        ...

    @property
    def explore(self) -> float:
        """Share of requests that may go to a place that was not asked for long."""
        ...

    @property
    def margin(self) -> float:
        """The least by which the first numbers of two ranks have to differ to count."""
        ...

    def rank(self, prospects: Sequence[Prospect]) -> Sequence[Rank]:
        """Return a rank for each."""
        ...


class LoadAwareRouter(SingleAnswerRouter):
    """Learns latency and accuracy of each place, and takes the one its policy ranks first."""

    def __init__(self, policy: Preference, places: Sequence[Place], seed: int) -> None:
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
        age, self._asked[index] = self._count - self._asked[index], self._count
        if age > _LONG:
            self._latency[index].forget(age)
        return (index,)

    def _stay(self, context: str, prospects: Sequence[Prospect], ranks: Sequence[Rank]) -> int:
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
        self, context: str, prospects: Sequence[Prospect], best: Rank, otherwise: int
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
        latency = prospect.network + self._latency[index].hope(self._count - self._asked[index])
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
