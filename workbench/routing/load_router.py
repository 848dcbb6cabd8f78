"""The router that sees load: what it expects of each place, what it learns, when it explores."""

import math
import random
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from workbench.routing.base import (
    Place,
    PlaceAnswer,
    PlaceState,
    RoutedRequest,
    SeenStates,
    SingleAnswerRouter,
)
from workbench.routing.estimates import AccuracyModel, LatencyModel, SharedDelay

if TYPE_CHECKING:
    from workbench.routing.load import LoadAware

_LONG = 100  # requests that went elsewhere
_STEPS = 20  # of the target, to which delays before a place's own latency are rounded
_ROOT_HALF = math.sqrt(0.5)  # the normal distribution by erfc

Rank = tuple[float, ...]
"""What a policy makes of a prospect: the largest is taken."""


class Prospect(NamedTuple):
    """What is expected of a place for one request under its present load.

    Attributes:
        latency: Mean seconds from the request's arrival, network included; infinite where nothing
            is known.
        in_time: Probability of an answer within the target.
        accuracy: Share of right answers for this kind of request; 0 where it is not known.
        cost: US dollars a request; infinite where it is not known.
    """

    latency: float
    in_time: float
    accuracy: float
    cost: float


class LoadAwareRouter(SingleAnswerRouter):
    """Learns latency and accuracy of each place, and takes the one its policy ranks first."""

    def __init__(self, policy: "LoadAware", places: Sequence[Place], seed: int) -> None:
        self._policy = policy
        self._costs = [math.inf if math.isnan(place.cost) else place.cost for place in places]
        self._seen = SeenStates(places)
        self._latency = [LatencyModel(place.seconds, place.servers) for place in places]
        self._accuracy = [AccuracyModel(p.accuracy, p.accuracy_by_context) for p in places]
        self._shared = SharedDelay()
        self._work = [0.0 if math.isnan(each.seconds) else each.seconds for each in places]
        self._elsewhere: dict[tuple[int, int], float] = {}  # calls: seconds of work elsewhere
        self._unknown = {n for n, place in enumerate(places) if math.isnan(place.seconds)}
        self._guessed = frozenset(self._unknown)
        self._expected: list[dict[tuple[int, float, float, str], Prospect]] = [{} for _ in places]
        self._asked = [-1] * len(places)
        self._count = 0
        self._under_way = 0
        self._before: dict[str, int] = {}  # kind of request: the place taken last
        self._random = random.Random(seed)  # noqa: S311 - no secret

    def choose(
        self,
        request: RoutedRequest,
        states: Sequence[PlaceState],
        now: float,
    ) -> tuple[int, ...]:
        """Return the place that is ranked first, or one to learn from."""
        self._seen.note(states)
        work = [state.in_flight and state.in_flight * self._work[state.index] for state in states]
        total = sum(work)
        waited = now - request.arrival
        waited = waited if waited > 0 else 0.0  # NaN: none
        prospects = self._expect(request, states, waited, [total - own for own in work])
        ranks = self._policy.rank(prospects)
        chosen = self._stay(request, states, ranks)
        if self._unknown or self._random.random() < self._policy.explore:
            found = self._explore(request, states, waited, prospects, max(ranks))
            chosen = chosen if found is None else found
        index = states[chosen].index
        self._count += 1
        age, self._asked[index] = self._count - self._asked[index], self._count
        if age > _LONG:
            self._latency[index].forget(age)
        self._elsewhere[request.number, index] = total - work[chosen]
        return (index,)

    def _expect(
        self,
        request: RoutedRequest,
        states: Sequence[PlaceState],
        waited: float,
        elsewhere: Sequence[float],
    ) -> list[Prospect]:
        """Return what is expected of each place, as computed before where nothing has changed.

        Whoever routes may have fallen behind, and a place asked before may have failed: what a
        request has `waited` is gone from the target. So a large model takes itself out where it
        slows down the sender, or small ones.
        """
        prospects = []
        step, slope = self._policy.target / _STEPS, self._shared.slope
        for state, work in zip(states, elsewhere, strict=True):
            before = waited + slope * (work + self._work[state.index])  # that of the next call, too
            # in steps, so that what was computed serves again; upwards, as to be late is worse
            before = min(before // step + 2, _STEPS) * step if before > step else 0.0
            network = state.place.network_of(request.client)
            key = state.in_flight, network, before, request.context
            expected = self._expected[state.index]
            if key not in expected:
                expected[key] = self._compute(state.index, *key)
            prospects.append(expected[key])
        return prospects

    def _compute(
        self, index: int, under_way: int, network: float, before: float, context: str
    ) -> Prospect:
        model = self._latency[index]
        mean, deviation = model.estimate(under_way + 1)
        latency = mean + network + before
        spare = self._policy.target - latency
        if deviation and before < self._policy.target:
            # the normal distribution: `erfc` keeps its digits where hardly any answer is in time
            in_time = model.answered * 0.5 * math.erfc(spare / deviation * -_ROOT_HALF)
        else:
            in_time = float(spare >= 0)
        accuracy = self._accuracy[index].estimate(context)
        return Prospect(latency, in_time, accuracy, self._costs[index])

    def _stay(
        self,
        request: RoutedRequest,
        states: Sequence[PlaceState],
        ranks: Sequence[Rank],
    ) -> int:
        """Return the position of the first in rank; of near equals the least burden or the last."""
        best = max(range(len(ranks)), key=ranks.__getitem__)
        margin = self._policy.margin
        if self._policy.is_hopeless(ranks[best]):
            # the least work for an answer, as far as it is known
            answered = [max(self._latency[state.index].answered, 1e-9) for state in states]
            work = [self._work[state.index] or math.inf for state in states]
            return min(range(len(ranks)), key=lambda each: work[each] / answered[each])
        self._under_way = sum(state.in_flight for state in states)
        if not margin:
            return best
        least = ranks[best][0] - margin
        near = {
            number: self._burden(states[number], request.client)
            for number, rank in enumerate(ranks)
            if rank[0] >= least
        }
        best = min(near, key=near.__getitem__)
        before, most = self._before.get(request.context), near[best] * (1 + margin)
        for number, burden in near.items():
            if burden <= most and states[number].index == before:
                best = number
        self._before[request.context] = states[best].index
        return best

    def _burden(self, state: PlaceState, client: int) -> float:
        """Return the seconds that one more call adds to all calls there: its own, and their delay.

        What each adds for itself alone sends too many to the fastest place (Pigou, 1920).
        """
        estimate, under_way = self._latency[state.index].estimate, state.in_flight
        latency = estimate(under_way + 1)[0] + state.place.network_of(client)
        if self._shared.slope:
            others = self._under_way - under_way
            latency += self._shared.slope * self._work[state.index] * others
        if not under_way:
            return latency
        delay = estimate(under_way + 1)[0] - estimate(under_way)[0]
        return latency + under_way * max(0.0, delay)

    def _explore(
        self,
        request: RoutedRequest,
        states: Sequence[PlaceState],
        waited: float,
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
            hoped[number] = self._hope(states[number].index, waited + network, request.context)
            if self._policy.rank(hoped)[number] > best:
                return number
        return None

    def _hope(self, index: int, before: float, context: str) -> Prospect:
        """Return the best that can be hoped of a place that was not asked for long."""
        latency = before + self._latency[index].hope(self._count - self._asked[index])
        in_time = float(latency <= self._policy.target)
        return Prospect(latency, in_time, self._accuracy[index].hope(context), self._costs[index])

    def observe(self, request: RoutedRequest, answer: PlaceAnswer, now: float) -> None:
        """Learn latency, failures, and accuracy where the answer tells it."""
        self._unknown.discard(answer.place)
        self._expected[answer.place].clear()
        network = self._seen.network(answer.place, request.client)
        failed = answer.error is not None
        seconds = math.inf if failed else max(answer.latency - network, 0.0)
        self._learn_latency(answer, seconds, self._elsewhere.pop((request.number, answer.place), 0))
        correct = math.nan if failed else answer.correct
        self._accuracy[answer.place].learn(request.context, correct, request.rows)

    def _learn_latency(self, answer: PlaceAnswer, seconds: float, elsewhere: float) -> None:
        """Learn what a place took, apart from the delay by work elsewhere, and learn that too."""
        model = self._latency[answer.place]
        if seconds < math.inf and model.is_known:
            self._shared.learn(elsewhere, seconds - model.estimate(answer.in_flight)[0])
            # a shared delay that is too large must not leave a place without seconds of its own
            seconds = max(seconds - self._shared.slope * elsewhere, seconds / 10)
        if answer.place in self._guessed:
            self._work[answer.place] = min(self._work[answer.place] or math.inf, seconds)
        model.learn(answer.in_flight, seconds)
