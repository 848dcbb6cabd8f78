"""What a router is: it chooses the places that are asked, and says whose answer is given.

A routing policy is a frozen value, its router a state machine that gets the time and draws from
a seed. The simulator, live runs and `workbench serve` drive the same router through
`workbench.routing.calls`; nothing here reads a clock::

    router = RoundRobin().router(places, seed=1)
    router.choose(request, states, now=0.0)              # (0,)
    router.settle(request, [answer], 0, states, now=0.1)   # Settlement(given=0)
    router.observe(request, answer, now=0.1)
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, NamedTuple, Protocol

from workbench.errors import InvalidInput
from workbench.formatting import duration
from workbench.settings import (
    build_from_dict,
    check_settings,
    optional,
    positive_amount,
    settings_to_dict,
)
from workbench.validation import as_pairs, choose, of_kind, whole_number


class RoutedRequest(NamedTuple):
    """What a router sees of a request.

    Attributes:
        number: Its number in the trace.
        rows: Rows it carries.
        context: Its kind, "" where it has none.
        client: The number of the client that sent it.
        size: Units of input, for models whose latency depends on it.
        arrival: When it arrived, seconds; NaN: when it is routed.
    """

    number: int
    rows: int = 1
    context: str = ""
    client: int = 0
    size: float = 1.0
    arrival: float = math.nan


@dataclass(frozen=True, kw_only=True)
class Place:
    """What is known of a model on a deployment before anything is asked there.

    NaN is what is not known; no router may take it for the best.

    Attributes:
        name: Its name in the ensemble.
        accuracy: Share of answers that are right.
        accuracy_by_context: The same by kind of request.
        seconds: Service time of one request alone.
        cost: US dollars a request.
        servers: Requests that it serves at once.
        network_latency: Seconds to the place and back, by the client's number.
        traits: Anything else by which a router may choose.

    Raises:
        InvalidInput: A value is out of its range.
    """

    name: str
    accuracy: float = math.nan
    accuracy_by_context: Mapping[str, float] = field(default_factory=dict)
    seconds: float = math.nan
    cost: float = math.nan
    servers: int = 1
    network_latency: tuple[float, ...] = (0.0,)
    traits: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        of_kind("name", self.name, str)
        whole_number("servers", self.servers, low=1)
        if not self.network_latency or min(self.network_latency) < 0:
            raise InvalidInput(
                f"network_latency must be seconds, 0 or more, by client: {self.network_latency}."
            )
        for accuracy in (self.accuracy, *self.accuracy_by_context.values()):
            if not (math.isnan(accuracy) or 0 <= accuracy <= 1):
                raise InvalidInput(f"accuracy must be from 0 to 1, got {accuracy!r}.")

    def network_of(self, client: int) -> float:
        """Return the network latency of a client; the numbers begin again where they run out."""
        return self.network_latency[client % len(self.network_latency)]


class PlaceState:
    """A place while requests are under way: what a router sees of it.

    Attributes:
        index: Its number among all places: what a router returns.
        place: What was known of it before.
        in_flight: Requests asked there that are not answered yet.
    """

    __slots__ = ("in_flight", "index", "place")

    def __init__(self, index: int, place: Place) -> None:
        self.index = index
        self.place = place
        self.in_flight = 0


class PlaceAnswer(NamedTuple):
    """The answer of one place to a request, or its failure.

    Attributes:
        place: The number of the place.
        latency: Seconds from asking to the answer; infinite where there is none.
        label: What was answered, comparable between places; None where that is not known.
        confidence: From 0 to 1, of the request's least certain row; NaN where it is not known.
        correct: Share of its rows that are right; NaN where that is not known.
        in_flight: Requests that were under way there when it was asked, itself included.
        error: What went wrong; None where it was answered.
    """

    place: int
    latency: float
    label: Any = None
    confidence: float = math.nan
    correct: float = math.nan
    in_flight: int = 1
    error: str | None = None


class Settlement(NamedTuple):
    """What becomes of a request: the number of the answer given, or places to ask, or neither."""

    given: int | None = None
    ask: Sequence[int] = ()


class Router(Protocol):
    """A state machine that chooses places for requests and learns from their answers.

    One that asks places whose answer is never given has their numbers as `silent`.
    """

    def choose(
        self, request: RoutedRequest, states: Sequence[PlaceState], now: float
    ) -> Sequence[int]:
        """Return the numbers of the places to ask at once, at least one of `states`."""

    def settle(
        self,
        request: RoutedRequest,
        answers: Sequence[PlaceAnswer],
        pending: int,
        states: Sequence[PlaceState],
        now: float,
    ) -> Settlement:
        """Decide on a request that has answers, at least one and none of them a failure.

        `pending` counts the places that still owe one, `states` are those not asked yet. With no
        answer pending, one is given or a place is asked.
        """

    def observe(self, request: RoutedRequest, answer: PlaceAnswer, now: float) -> None:
        """Learn from an answer or a failure, given or not.

        A place that stalls is seen to fail at once, and again to answer where it does so late.
        """


class RoutingPolicy(Protocol):
    """Anything that makes a router."""

    @property
    def label(self) -> str:
        """The policy in a few words, for charts and tables."""

    def router(self, places: Sequence[Place], seed: int = 0) -> Router:
        """Return a fresh router among these places.

        Raises:
            InvalidInput: The policy does not fit the places.
        """

    def to_dict(self) -> dict[str, Any]:
        """Return kind and settings as JSON values."""


class SeenStates:
    """The places as they were when a router last chose: what is known of them may change.

    A router may see answers of places that it did not choose; of those it has what it was
    made with.
    """

    def __init__(self, places: Sequence[Place]) -> None:
        self.states = [PlaceState(index, place) for index, place in enumerate(places)]
        self._last: Sequence[PlaceState] = ()

    def note(self, states: Sequence[PlaceState]) -> None:
        """Take note of the places that a router chooses among."""
        if states is self._last:  # `RoutedCalls` hands on the same list while all places are well
            return
        for state in states:
            self.states[state.index] = state
        self._last = states

    def network(self, place: int, client: int) -> float:
        """Return the network latency from a client to a place."""
        return self.states[place].place.network_of(client)


class SingleAnswerRouter:
    """Base of routers that ask one place and give its answer."""

    def settle(
        self,
        request: RoutedRequest,
        answers: Sequence[PlaceAnswer],
        pending: int,
        states: Sequence[PlaceState],
        now: float,
    ) -> Settlement:
        """Give the first answer."""
        return Settlement(given=0)

    def observe(self, request: RoutedRequest, answer: PlaceAnswer, now: float) -> None:
        """Learn nothing."""


class DelegatingRouter(ABC):
    """Base of routers that leave each request to one of several; all learn from all answers."""

    def __init__(self, routers: Sequence[Router]) -> None:
        self._routers = routers

    @abstractmethod
    def pick(self, request: RoutedRequest, now: float) -> Router:
        """Return the router that has a request now."""

    def choose(
        self, request: RoutedRequest, states: Sequence[PlaceState], now: float
    ) -> Sequence[int]:
        """Return what that router chooses."""
        return self.pick(request, now).choose(request, states, now)

    def settle(
        self,
        request: RoutedRequest,
        answers: Sequence[PlaceAnswer],
        pending: int,
        states: Sequence[PlaceState],
        now: float,
    ) -> Settlement:
        """Let that router decide."""
        return self.pick(request, now).settle(request, answers, pending, states, now)

    def observe(self, request: RoutedRequest, answer: PlaceAnswer, now: float) -> None:
        """Let all routers learn."""
        for router in self._routers:
            router.observe(request, answer, now)


def silent_places(router: Router) -> frozenset[int]:
    """Return the places whose answers a router never gives: its `silent`, where it has that."""
    return getattr(router, "silent", frozenset())


@dataclass(frozen=True, kw_only=True)
class RoutingRule(ABC):
    """Base of the routing policies: settings with label, help and check, as `settings` has them.

    Attributes:
        kind: The policy's name.
        sees_load: Whether the choice depends on latencies, or on calls in flight.
        by_answers: Whether what the places answer to a request decides alone which is given.
    """

    kind: ClassVar[str]
    sees_load: ClassVar[bool] = True
    by_answers: ClassVar[bool] = False

    def __post_init__(self) -> None:
        """Check the settings."""
        check_settings(self)

    @property
    def label(self) -> str:
        """The policy in a few words, for charts and tables."""
        return self.kind

    @abstractmethod
    def router(self, places: Sequence[Place], seed: int = 0) -> Router:
        """Return a fresh router among these places."""

    def to_dict(self) -> dict[str, Any]:
        """Return kind and settings as JSON values.

        >>> from workbench.routing.simple import Canary
        >>> Canary(place="new", share=0.1).to_dict()
        {'kind': 'canary', 'place': 'new', 'share': 0.1, 'others': {'kind': 'round-robin'}}
        """
        return settings_to_dict(self)


@dataclass(frozen=True, kw_only=True)
class TargetRule(RoutingRule):
    """Base of the routing policies that have a target of latency."""

    target: float = optional(0.1, "Within (s)", "target of latency", positive_amount("seconds"))

    @property
    def label(self) -> str:
        """The policy in a few words, for charts and tables."""
        return f"{self.kind}, {duration(self.target, 6)}"


ROUTING_POLICIES: dict[str, type[RoutingRule]] = {}
"""The routing policies by kind, filled by the package's table of contents."""


def policy_from_dict(data: Mapping[str, Any]) -> RoutingRule:
    """Return the routing policy that `to_dict` described.

    Raises:
        InvalidInput: Kind or setting is unknown, or a setting is missing or out of its limits.

    >>> policy_from_dict({"kind": "random"})
    RandomChoice()
    """
    return build_from_dict("routing policy", ROUTING_POLICIES, data)


def routing_policy(name: str, value: object) -> RoutingRule:
    """Return the routing policy, also from its dictionary: the check of a setting that is one."""
    if isinstance(value, Mapping):
        return policy_from_dict(value)
    return of_kind(name, value, RoutingRule, "a routing policy")  # type: ignore[return-value]


def as_named(name: str, value: object) -> tuple[tuple[str, Any], ...]:
    """Return names and values as pairs, from a mapping or pairs: the check of such a setting.

    >>> as_named("needs", {"task": "digits"})
    (('task', 'digits'),)
    """
    given = tuple(value.items()) if isinstance(value, Mapping) else value
    return tuple((str(key), each) for key, each in as_pairs(name, given, "a name and a value"))


def find_place(places: Sequence[Place], name: str) -> int:
    """Return the number of the place with a name, which must be there."""
    names = [place.name for place in places]
    return names.index(choose("place", name, names))
