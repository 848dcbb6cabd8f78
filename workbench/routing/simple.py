"""Routing that learns nothing: in turn, by lot, to the nearest; a share or a copy to a new model.

::

    Canary(place="new", share=0.05)              # one request in twenty goes to the new model
    Shadow(place="new", others=RandomChoice())   # it gets a copy of each, and nobody its answer
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import ClassVar

from workbench.errors import InvalidInput
from workbench.routing.base import (
    Place,
    PlaceAnswer,
    PlaceState,
    RoutedRequest,
    RoutingRule,
    Settlement,
    SingleAnswerRouter,
    find_place,
    routing_policy,
    silent_places,
)
from workbench.settings import optional, setting
from workbench.validation import of_kind, positive_share


@dataclass(frozen=True, kw_only=True)
class RoundRobin(RoutingRule):
    """One place after the other, in the order in which they are given.

    >>> router = RoundRobin().router([Place(name="small"), Place(name="large")])
    >>> states = [PlaceState(0, Place(name="small")), PlaceState(1, Place(name="large"))]
    >>> [router.choose(RoutedRequest(number), states, now=0.0) for number in range(3)]
    [(0,), (1,), (0,)]
    """

    kind: ClassVar[str] = "round-robin"
    sees_load: ClassVar[bool] = False

    def router(self, places: Sequence[Place], seed: int = 0) -> "RoundRobinRouter":
        """Return a fresh router that begins with the first place."""
        return RoundRobinRouter(len(places))


class RoundRobinRouter(SingleAnswerRouter):
    """Goes round; a place that cannot be asked is passed over."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._last = -1

    def choose(
        self, request: RoutedRequest, states: Sequence[PlaceState], now: float
    ) -> tuple[int, ...]:
        """Return the next place there is."""
        after = self._last + 1
        self._last = min((state.index for state in states), key=lambda i: (i - after) % self._count)
        return (self._last,)


@dataclass(frozen=True, kw_only=True)
class RandomChoice(RoutingRule):
    """Each place as often as any other, by lot."""

    kind: ClassVar[str] = "random"
    sees_load: ClassVar[bool] = False

    def router(self, places: Sequence[Place], seed: int = 0) -> "RandomRouter":
        """Return a fresh router that draws by this seed."""
        return RandomRouter(seed)


class RandomRouter(SingleAnswerRouter):
    """Draws a place."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)  # noqa: S311 - no secret

    def choose(
        self, request: RoutedRequest, states: Sequence[PlaceState], now: float
    ) -> tuple[int, ...]:
        """Return a place by lot."""
        return (states[int(self._random.random() * len(states))].index,)


@dataclass(frozen=True, kw_only=True)
class LowestNetworkLatency(RoutingRule):
    """The place nearest to the client that asks, whatever it answers; of equals, the first."""

    kind: ClassVar[str] = "lowest-network-latency"
    sees_load: ClassVar[bool] = False

    def router(self, places: Sequence[Place], seed: int = 0) -> "NearestRouter":
        """Return a fresh router, which learns nothing."""
        return NearestRouter()


class NearestRouter(SingleAnswerRouter):
    """Looks at the network alone."""

    def choose(
        self, request: RoutedRequest, states: Sequence[PlaceState], now: float
    ) -> tuple[int, ...]:
        """Return the place nearest to the request's client."""
        return (min(states, key=lambda state: state.place.network_of(request.client)).index,)


_PLACE = partial(of_kind, kind=str)


@dataclass(frozen=True, kw_only=True)
class Canary(RoutingRule):
    """A share of the requests, by lot, goes to one place; another policy has the others.

    Raises:
        InvalidInput: `share` is not above 0 and at most 1.
    """

    kind: ClassVar[str] = "canary"

    place: str = field(metadata=setting("Place", "that is tried out", _PLACE))
    share: float = optional(0.05, "Share", "of the requests that it gets", positive_share)
    others: RoutingRule = optional(
        RoundRobin(), "Others by", "routing policy among the others", routing_policy
    )

    @property
    def sees_load(self) -> bool:  # type: ignore[override]  # a property in place of a constant
        """Whether the other policy does."""
        return self.others.sees_load

    @property
    def label(self) -> str:
        """The policy in a few words, for charts and tables."""
        return f"{100 * self.share:g} % to {self.place}, else {self.others.label}"

    def router(self, places: Sequence[Place], seed: int = 0) -> "CanaryRouter":
        """Return a fresh router.

        Raises:
            InvalidInput: No place has the name, there is no other, or `others` has it as a shadow.
        """
        return CanaryRouter(self, places, seed)


@dataclass(frozen=True, kw_only=True)
class Shadow(Canary):
    """Of a share of the requests, a copy goes to one place, whose answer nobody gets.

    It may be late or fail without effect; another policy chooses who answers.

    Raises:
        InvalidInput: `share` is not above 0 and at most 1.
    """

    kind: ClassVar[str] = "shadow"

    share: float = optional(1.0, "Share", "of the requests that it gets", positive_share)

    @property
    def label(self) -> str:
        """The policy in a few words, for charts and tables."""
        return f"{self.others.label}, copies to {self.place}"

    def router(self, places: Sequence[Place], seed: int = 0) -> "ShadowRouter":
        """Return a fresh router.

        Raises:
            InvalidInput: No place has the name, or there is no other.
        """
        return ShadowRouter(self, places, seed)


class CanaryRouter:
    """Draws whether the place that is tried out is asked; another router has all else."""

    def __init__(self, policy: Canary, places: Sequence[Place], seed: int) -> None:
        self._apart = find_place(places, policy.place)
        if len(places) < 2:
            raise InvalidInput(f"There is no place beside {policy.place}: name another model.")
        self._share = policy.share
        self._others = policy.others.router(places, seed)
        self.silent = silent_places(self._others)
        if self._apart in self.silent:
            raise InvalidInput(
                f"{policy.place} is tried out twice: as a shadow its answers are not given. "
                "Name another place."
            )
        self._random = random.Random(seed)  # noqa: S311 - no secret

    def choose(
        self, request: RoutedRequest, states: Sequence[PlaceState], now: float
    ) -> Sequence[int]:
        """Return the place that is tried out, or what the other router chooses."""
        others, is_drawn = self._draw(states)
        if is_drawn or all(state.index in self.silent for state in others):
            return (self._apart,)
        return self._others.choose(request, others, now)

    def _draw(self, states: Sequence[PlaceState]) -> tuple[Sequence[PlaceState], bool]:
        """Return the other places, and whether the one apart is drawn, which has to be there."""
        others = [state for state in states if state.index != self._apart]
        return others, len(others) < len(states) and self._random.random() < self._share

    def settle(
        self,
        request: RoutedRequest,
        answers: Sequence[PlaceAnswer],
        pending: int,
        states: Sequence[PlaceState],
        now: float,
    ) -> Settlement:
        """Let the other router decide, unless the place that is tried out has answered."""
        if answers[0].place == self._apart:
            return Settlement(given=0)
        others = [state for state in states if state.index != self._apart]
        return self._others.settle(request, answers, pending, others, now)

    def observe(self, request: RoutedRequest, answer: PlaceAnswer, now: float) -> None:
        """Let the other router learn from its own places."""
        if answer.place != self._apart:
            self._others.observe(request, answer, now)


class ShadowRouter(CanaryRouter):
    """Draws whether a copy goes to the place apart; another router has the request."""

    def __init__(self, policy: Canary, places: Sequence[Place], seed: int) -> None:
        super().__init__(policy, places, seed)
        self.silent |= {self._apart}

    def choose(
        self, request: RoutedRequest, states: Sequence[PlaceState], now: float
    ) -> Sequence[int]:
        """Return what the other router chooses, and the place apart if it gets a copy."""
        others, is_drawn = self._draw(states)
        asked = self._others.choose(request, others, now)
        return (*asked, self._apart) if is_drawn else asked
