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
    SeenStates,
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
        latency: Mean seconds, network included; infinite where nothing is known.
        in_time: Probability of an answer within the target.
        accuracy: Share of right answers for this kind of request; 0 where it is not known.
        cost: US dollars a request; infinite where it is not known.
    """

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
        self._costs = [math.inf if math.isnan(place.cost) else place.cost for place in places]
        self._seen = SeenStates(places)
        self._latency = [LatencyModel(place.seconds, place.servers) for place in places]
        self._accuracy = [AccuracyModel(p.accuracy, p.accuracy_by_context) for p in places]
        self._unknown = {n for n, place in enumerate(places) if math.isnan(place.seconds)}
        self._expected: list[dict[tuple[int, float, str], Prospect]] = [{} for _ in places]
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
        self._seen.note(states)
        prospects = self._expect(request, states)
        ranks = self._policy.rank(prospects)
        chosen = self._stay(request.context, states, prospects, ranks)
        if self._unknown or self._random.random() < self._policy.explore:
            found = self._explore(request, states, prospects, max(ranks))
            chosen = chosen if found is None else found
        index = states[chosen].index
        self._count += 1
        age, self._asked[index] = self._count - self._asked[index], self._count
        if age > _LONG:
            self._latency[index].forget(age)
        return (index,)

    def _expect(self, request: RoutedRequest, states: Sequence[PlaceState]) -> list[Prospect]:
        """Return what is expected of each place, as computed before where nothing has changed."""
        prospects = []
        for state in states:
            network = state.place.network_of(request.client)
            key = state.in_flight, network, request.context
            expected = self._expected[state.index]
            if key not in expected:
                expected[key] = self._compute(state.index, *key)
            prospects.append(expected[key])
        return prospects

    def _compute(self, index: int, under_way: int, network: float, context: str) -> Prospect:
        model = self._latency[index]
        mean, deviation = model.estimate(under_way + 1)
        latency = mean + network
        spare = self._policy.target - latency
        if deviation:
            in_time = model.answered * 0.5 * math.erfc(spare / deviation * -_ROOT_HALF)
        else:
            in_time = float(spare >= 0)
        accuracy = self._accuracy[index].estimate(context)
        return Prospect(latency, in_time, accuracy, self._costs[index])

    def _stay(
        self,
        context: str,
        states: Sequence[PlaceState],
        prospects: Sequence[Prospect],
        ranks: Sequence[Rank],
    ) -> int:
        """Return the position of the first in rank; of near equals the least burden or the last."""
        best = max(range(len(ranks)), key=ranks.__getitem__)
        margin = self._policy.margin
        if not margin:
            return best
        least = ranks[best][0] - margin
        near = {
            number: self._burden(states[number], prospects[number].latency)
            for number, rank in enumerate(ranks)
            if rank[0] >= least
        }
        best = min(near, key=near.__getitem__)
        before, most = self._before.get(context), near[best] * (1 + margin)
        for number, burden in near.items():
            if burden <= most and states[number].index == before:
                best = number
        self._before[context] = states[best].index
        return best

    def _burden(self, state: PlaceState, latency: float) -> float:
        """Return the seconds that one more call adds to all calls there: its own, and their delay.

        What each adds for itself alone sends too many to the fastest place (Pigou, 1920).
        """
        if not state.in_flight:
            return latency
        estimate = self._latency[state.index].estimate
        delay = estimate(state.in_flight + 1)[0] - estimate(state.in_flight)[0]
        return latency + state.in_flight * max(0.0, delay)

    def _explore(
        self,
        request: RoutedRequest,
        states: Sequence[PlaceState],
        prospects: Sequence[Prospect],
        best: Rank,
    ) -> int | None:
        """Return the position of the place asked longest ago of those that may prove the best."""
        networks = [state.place.network_of(request.client) for state in states]
        order = sorted(
            (self._asked[state.index], networks[number], number)
            for number, state in enumerate(states)
            if not self._unknown or (state.index in self._unknown and not state.in_flight)
        )
        for _, network, number in order:
            hoped = list(prospects)
            hoped[number] = self._hope(states[number].index, network, request.context)
            if self._policy.rank(hoped)[number] > best:
                return number
        return None

    def _hope(self, index: int, network: float, context: str) -> Prospect:
        """Return the best that can be hoped of a place that was not asked for long."""
        latency = network + self._latency[index].hope(self._count - self._asked[index])
        in_time = float(latency <= self._policy.target)
        return Prospect(latency, in_time, self._accuracy[index].hope(context), self._costs[index])

    def observe(self, request: RoutedRequest, answer: PlaceAnswer, now: float) -> None:  # noqa: ARG002
        """Learn latency, failures, and accuracy where the answer tells it."""
        self._unknown.discard(answer.place)
        self._expected[answer.place].clear()
        network = self._seen.network(answer.place, request.client)
        failed = answer.error is not None
        seconds = math.inf if failed else max(answer.latency - network, 0.0)
        self._latency[answer.place].learn(answer.in_flight, seconds)
        correct = math.nan if failed else answer.correct
        self._accuracy[answer.place].learn(request.context, correct, request.rows)
