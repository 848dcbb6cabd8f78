"""Virtual time over several places: requests that a router sends, answers that it may not take.

Each place has the step-by-step simulation of a plain run, with a buffer, servers and draws of its
own; `RoutedCalls` says who is asked, as in a live run. At one instant completions come first, and
their answers; then arrivals: requests that are asked again, because their answer did not do or
because it did not come in time, and after them those of the trace; then the timers of buffers; then
boots and decisions of scalers. Among places, the first comes first.

The network latency of a place is added to the time of its answers, as the client sees it.
"""

import heapq
import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING, Any

import numpy as np

from workbench.routing.base import Place, PlaceAnswer, RoutedRequest, RoutingPolicy
from workbench.routing.calls import GivenAnswer, Reaction, RoutedCalls
from workbench.simulator import Outcome, Simulation, spawn_streams
from workbench.simulator.fleet import Rescaling
from workbench.simulator.place_outcomes import (
    PlaceOutcome,
    PlacesSimulation,
    RoutedOutcome,
    SimulatedPlace,
)
from workbench.simulator.stepwise import begin_steps

if TYPE_CHECKING:
    from workbench.scaling.base import ScalingPolicy


@dataclass(frozen=True, eq=False, kw_only=True)
class RoutedSimulation(PlacesSimulation):
    """A trace, the places that may answer it, and the policy that chooses among them.

    Attributes:
        members: What serves each place, and what it answers.
        places: What the router knows of each beforehand.
        patience: Seconds after which a place that has not answered is given up.
    """

    members: tuple[Simulation, ...]
    places: tuple[Place, ...]
    router: RoutingPolicy
    patience: float = math.inf
    most_requests = 100_000

    @property
    def scalings(self) -> list["ScalingPolicy | None"]:
        """How the size of each fleet changes; None: it does not."""
        return [each.scaling for each in self.members]

    @property
    def simulated_places(self) -> tuple[SimulatedPlace, ...]:
        """The places, each with the deployment of its member."""
        return tuple(
            SimulatedPlace(place.name, member.deployment, member.answers, member.warnings)
            for place, member in zip(self.places, self.members, strict=True)
        )

    @property
    def random_parts(self) -> list[str]:
        """What another seed would change, besides arrivals."""
        parts = [part for member in self.members for part in member.random_parts]
        return list(dict.fromkeys(parts))

    def serve(self) -> RoutedOutcome:
        """Return what becomes of each request.

        Raises:
            InvalidInput: A place works in jobs, service times miss a batch size, or a policy loses
                requests.
        """
        return _RoutedSteps(self).run()


class _RoutedSteps:
    """Virtual time: the steps of all places, the calls between them, and what came of these."""

    def __init__(self, simulation: RoutedSimulation) -> None:
        trace, members = simulation.trace, simulation.members
        *streams, seeds = spawn_streams(simulation.seed, 3 * len(members) + 1)
        self._simulation = simulation
        self._steps = [
            begin_steps(each.policy, each.deployment, each.random_inputs(list(own)))
            for each, own in zip(members, zip(*[iter(streams)] * 3, strict=True), strict=True)
        ]
        self._rescaling: list[Rescaling | None] = [
            steps.make_rescaling(each.scaling) if each.scaling else None
            for steps, each in zip(self._steps, members, strict=True)
        ]
        self._known: list[list[tuple[Any, float, float]]] = [
            [(None, math.nan, math.nan)] * len(trace)
            if each.answers is None
            else each.answers.of_requests(trace).to_list()
            for each in members
        ]
        self._delays = [place.network_of(0) for place in simulation.places]
        router = simulation.router.router(simulation.places, seed=int(seeds.integers(2**31)))
        self._calls = RoutedCalls(router, simulation.places, patience=simulation.patience)
        self._arrivals: list[float] = [*trace.arrivals.tolist(), math.inf]
        self._rows: list[int] = trace.rows.tolist()
        self._contexts = simulation.contexts
        self._following = 0
        self._asked: list[list[int]] = [[] for _ in members]  # requests, in the order of each place
        self._due = [math.inf] * len(members)  # when something happens next at each place
        self._touched: set[int] = set()
        self._delayed: list[tuple[float, int, int, PlaceAnswer]] = []  # answers on their way
        self._sequence = count()
        self._given: list[GivenAnswer | None] = [None] * len(trace)
        self._given_at = [math.nan] * len(trace)

    def run(self) -> RoutedOutcome:
        """Let all requests arrive and be answered."""
        for place in range(len(self._steps)):
            self._resume(place, 0.0)
        scaling = [math.inf if each is None else each.due for each in self._rescaling]
        while True:
            now = min(scaling)
            self._advance(now)
            if now == math.inf:
                break
            for place, rescaling in enumerate(self._rescaling):
                if rescaling is not None and scaling[place] <= now:
                    scaling[place] = self._rescale(place, rescaling, now)
        for steps in self._steps:
            steps.check_sent()
        return self._outcome()

    def _rescale(self, place: int, rescaling: Rescaling, now: float) -> float:
        """Boot and launch and retire at a place, and return when that is due again."""
        booted = rescaling.boot(now)
        if rescaling.is_asked(now):
            if booted:
                self._resume(place, now)
                self._advance(now)
            rescaling.decide(now)
            if now >= self._simulation.trace.duration and self._next_event() == math.inf:
                return math.inf
        self._resume(place, now)
        return rescaling.due

    def _resume(self, place: int, now: float) -> None:
        self._report(place, self._steps[place].resume(now), now)
        self._due[place] = self._steps[place].find_next()

    def _next_event(self) -> float:
        delayed = self._delayed[0][0] if self._delayed else math.inf
        return min(*self._due, self._arrivals[self._following], delayed, self._calls.due)

    def _advance(self, until: float) -> None:
        """Let happen what happens until then, included."""
        calls, arrivals, touched = self._calls, self._arrivals, self._touched
        while (now := self._next_event()) <= until and now < math.inf:
            self._complete(now)
            if calls.due <= now:
                for reaction in calls.wake(now):
                    self._react(reaction, now)
            while arrivals[self._following] <= now:
                number = self._following
                self._following += 1
                request = RoutedRequest(
                    number, self._rows[number], self._contexts[number], arrival=now
                )
                self._react(calls.arrive(request, now), now)
            # in order of places, or a set's own order would decide between equal instants
            for place in touched if len(touched) == 1 else sorted(touched):
                steps = self._steps[place]
                steps.wake(now)
                self._due[place] = steps.find_next()
            touched.clear()

    def _complete(self, now: float) -> None:
        """Let places complete what is due, and then take the answers that are there now."""
        if min(self._due) <= now:
            for place, due in enumerate(self._due):
                if due <= now:
                    self._touched.add(place)
                    self._report(place, self._steps[place].complete(now), now)
        delayed = self._delayed
        while delayed and delayed[0][0] <= now:
            _, _, number, answer = heapq.heappop(delayed)
            self._react(self._calls.answer(number, answer, now), now)

    def _report(self, place: int, batches: Sequence[int], now: float) -> None:
        """Send the answers of batches on their way."""
        if not batches:
            return
        steps, asked, delay = self._steps[place], self._asked[place], self._delays[place]
        known, at = self._known[place], now + delay
        for batch in batches:
            error = steps.find_error(batch)
            for local in steps.requests_of(batch):
                number = asked[local]
                answer = PlaceAnswer(place, math.inf, *known[number], error=error)
                heapq.heappush(self._delayed, (at, next(self._sequence), number, answer))

    def _react(self, reaction: Reaction, now: float) -> None:
        """Ask places, and note the answer that is given."""
        for number, place in reaction.ask:
            self._asked[place].append(number)
            self._steps[place].admit(self._rows[number], now)
            self._touched.add(place)
        if reaction.given is not None:
            self._given[reaction.given.request] = reaction.given
            self._given_at[reaction.given.request] = now

    def _outcome(self) -> RoutedOutcome:
        trace = self._simulation.trace
        given = [each for each in self._given if each is not None]
        errors = {each.request: each.answer.error for each in given if each.answer.error}
        finished = np.array(self._given_at)
        finished[list(errors)] = math.nan
        batches = [steps.batches for steps in self._steps]
        last = (float(np.nanmax(each.finished, initial=0.0)) for each in batches)
        until = max(trace.duration, *last)
        places = []
        for number, member in enumerate(self._simulation.members):
            steps, asked = self._steps[number], np.array(self._asked[number], np.int64)
            served = steps.finish(batches[number], until, member.scaling)
            places.append(PlaceOutcome(asked, Outcome(steps.arrivals, *served)))
        return RoutedOutcome(
            arrivals=trace.arrivals,
            places=tuple(places),
            given=np.array([each.answer.place for each in given], np.uint8),
            finished=finished,
            tried=np.array([each.tried for each in given], np.uint8),
            errors=errors,
            events=tuple(self._calls.events),
        )
