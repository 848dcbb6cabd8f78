"""The calls that a router makes: who is asked, whose answer is given, and which places fail.

Live runs, the simulator and `workbench serve` hand arrivals, answers and the time to `RoutedCalls`
and do what it returns. A request whose place fails is asked elsewhere; a place that fails three
times in a row is left out for a second, then for twice as long each time, and a place that does not
answer within `patience` seconds is handled as if it had failed, except that its late answer counts.
Answers of a router's `silent` places are never given nor waited for.
"""

import heapq
import math
from collections.abc import Sequence
from typing import NamedTuple

from workbench.errors import InvalidInput
from workbench.routing.base import (
    Place,
    PlaceAnswer,
    PlaceState,
    RoutedRequest,
    Router,
    silent_places,
)

_FAILURES_IN_A_ROW = 3  # one or two may be chance, and leaving a place out costs the others
_FIRST_PAUSE = 1.0  # seconds that a failing place is left out at first
_LONGEST_PAUSE = 60.0  # a place that answers again is missed for no longer


class GivenAnswer(NamedTuple):
    """The end of a request: the answer that its client got, and how many places were asked."""

    request: int
    answer: PlaceAnswer
    tried: int


class Reaction(NamedTuple):
    """What to do now: ask places, as pairs of request and place, and give an answer, or not."""

    ask: tuple[tuple[int, int], ...] = ()
    given: GivenAnswer | None = None


class PlaceEvent(NamedTuple):
    """A place that was left out, until when and why; or taken back (`why` is empty then)."""

    at: float
    place: int
    until: float
    why: str


class _OpenRequest:
    """A request under way."""

    __slots__ = ("answers", "asked", "is_given", "pending", "request", "under_way")

    def __init__(self, request: RoutedRequest) -> None:
        self.request = request
        self.asked: dict[int, tuple[float, int]] = {}  # place: when, and how many were there then
        self.pending: set[int] = set()  # places that owe an answer and were not given up
        self.under_way = 0  # calls that have not come back, those given up included
        self.answers: list[PlaceAnswer] = []
        self.is_given = False


class RoutedCalls:
    """All calls of all requests, driven by events that say when they happen.

    Args:
        router: Chooses and settles.
        places: Those that there are.
        patience: Seconds after which a place that has not answered is given up; infinite: never.
    """

    def __init__(
        self, router: Router, places: Sequence[Place], *, patience: float = math.inf
    ) -> None:
        self.states = [PlaceState(index, place) for index, place in enumerate(places)]
        self.events: list[PlaceEvent] = []
        self._router = router
        self._silent = silent_places(router)
        self._patience = patience
        self._open: dict[int, _OpenRequest] = {}
        self._timers: list[tuple[float, int, int]] = []  # when, request, place
        self._failures = [0] * len(places)
        self._pauses = [0.0] * len(places)
        self._back = [-math.inf] * len(places)
        self._available = list(self.states)

    @property
    def due(self) -> float:
        """The instant at which `wake` has to be called next; infinite when there is none."""
        return self._timers[0][0] if self._timers else math.inf

    @property
    def open_count(self) -> int:
        """How many requests have no answer yet, or one that some place still owes."""
        return len(self._open)

    def arrive(self, request: RoutedRequest, now: float) -> Reaction:
        """Take a request that arrives now."""
        opened = _OpenRequest(request)
        asked = self._choose(opened, now)
        self._open[request.number] = opened
        return Reaction(asked)

    def answer(self, request: int, answer: PlaceAnswer, now: float) -> Reaction:
        """Take the answer of a place, or its failure; when it was asked is known here."""
        opened = self._open[request]
        asked_at, in_flight = opened.asked[answer.place]
        place, latency, label, confidence, correct, _, error = answer
        if error is None and not math.isfinite(latency):
            latency = now - asked_at
        answer = PlaceAnswer(place, latency, label, confidence, correct, in_flight, error)
        self.states[answer.place].in_flight -= 1
        opened.under_way -= 1
        opened.pending.discard(answer.place)
        self._note_health(answer, now)
        self._router.observe(opened.request, answer, now)
        if opened.is_given or answer.place in self._silent:
            self._close(opened)
            return Reaction()
        if answer.error is None:
            opened.answers.append(answer)
        return self._settle(opened, answer, now)

    def wake(self, now: float) -> Sequence[Reaction]:
        """Give up places that have not answered for too long; calling it before `due` is idle."""
        reactions = []
        while self._timers and self._timers[0][0] <= now:
            _, number, place = heapq.heappop(self._timers)
            opened = self._open.get(number)
            # a timer stays in the heap when its answer comes
            if opened is None or opened.is_given or place not in opened.pending:
                continue
            opened.pending.discard(place)
            stalled = PlaceAnswer(
                place,
                math.inf,
                in_flight=opened.asked[place][1],
                error=f"no answer for {self._patience:g} s",
            )
            self._note_health(stalled, now)
            self._router.observe(opened.request, stalled, now)
            reactions.append(self._settle(opened, stalled, now))
        return reactions

    def _settle(self, opened: _OpenRequest, last: PlaceAnswer, now: float) -> Reaction:
        """Let the router decide; without any answer, ask a place that is left or give up."""
        left = self._list_left(opened, now)
        if not opened.answers:
            if opened.pending:
                return Reaction()
            if any(state.index not in self._silent for state in left):
                return Reaction(self._choose(opened, now))
            return self._give(opened, last)
        settled = self._router.settle(
            opened.request, opened.answers, len(opened.pending), left, now
        )
        if settled.ask:
            return Reaction(self._ask(opened, settled.ask, now))
        if settled.given is None and opened.pending:
            return Reaction()
        return self._give(opened, opened.answers[settled.given or 0])

    def _choose(self, opened: _OpenRequest, now: float) -> tuple[tuple[int, int], ...]:
        states = self._list_left(opened, now)
        return self._ask(opened, self._router.choose(opened.request, states, now), now)

    def _ask(
        self, opened: _OpenRequest, places: Sequence[int], now: float
    ) -> tuple[tuple[int, int], ...]:
        number = opened.request.number
        if len(places) != len({*places} - opened.asked.keys()) or not places:
            raise InvalidInput(
                f"A router must ask places that request {number} has not been to, got {places!r}."
            )
        for place in places:
            state = self.states[place]
            state.in_flight += 1
            opened.asked[place] = now, state.in_flight
            opened.under_way += 1
            if place in self._silent:
                continue
            opened.pending.add(place)
            if self._patience < math.inf:
                heapq.heappush(self._timers, (now + self._patience, number, place))
        return tuple((number, place) for place in places)

    def _give(self, opened: _OpenRequest, answer: PlaceAnswer) -> Reaction:
        opened.is_given = True
        self._close(opened)
        return Reaction(given=GivenAnswer(opened.request.number, answer, len(opened.asked)))

    def _close(self, opened: _OpenRequest) -> None:
        if opened.is_given and not opened.under_way:
            self._open.pop(opened.request.number, None)

    def _list_left(self, opened: _OpenRequest, now: float) -> Sequence[PlaceState]:
        """Return the places that may be asked: those in order, or else whatever is left."""
        if len(self._available) < len(self.states):
            self._take_back(now)
        elif not opened.asked:
            return self._available
        fit = [state for state in self._available if state.index not in opened.asked]
        # a shadow's answer is not given: rather a place that has failed
        if any(state.index not in self._silent for state in fit):
            return fit
        return [state for state in self.states if state.index not in opened.asked]

    def _note_health(self, answer: PlaceAnswer, now: float) -> None:
        """Leave out a place that fails again and again, and trust one that answers."""
        place = answer.place
        if answer.error is None:
            self._failures[place], self._pauses[place] = 0, 0.0
            return
        self._failures[place] += 1
        # without a place there would be nobody to ask
        if self._failures[place] < _FAILURES_IN_A_ROW or len(self.states) == 1:
            return
        # what was asked there before it was left out
        if self._back[place] > now:
            return
        self._pauses[place] = min(max(_FIRST_PAUSE, 2 * self._pauses[place]), _LONGEST_PAUSE)
        self._back[place] = now + self._pauses[place]
        self._available = [each for each in self._available if each.index != place]
        self.events.append(PlaceEvent(now, place, self._back[place], answer.error))

    def _take_back(self, now: float) -> None:
        known = {state.index for state in self._available}
        for place, back in enumerate(self._back):
            if place not in known and back <= now:
                self.events.append(PlaceEvent(now, place, now, ""))
        self._available = [state for state in self.states if self._back[state.index] <= now]


def describe_events(events: Sequence[PlaceEvent], names: Sequence[str]) -> list[str]:
    """Return a sentence for each place that was left out for some time.

    >>> events = [PlaceEvent(2.0, 1, 3.0, "it is broken"), PlaceEvent(3.5, 1, 3.5, "")]
    >>> describe_events(events, ("small", "large"))
    ['large failed 3 times in a row and was left out, once, from second 2 on: it is broken']
    """
    sentences = []
    for place, name in enumerate(names):
        left = [each for each in events if each.place == place and each.why]
        if left:
            times = "once" if len(left) == 1 else f"{len(left)} times"
            sentences.append(
                f"{name} failed {_FAILURES_IN_A_ROW} times in a row and was left out, {times}, "
                f"from second {left[0].at:.3g} on: {left[0].why}"
            )
    return sentences
