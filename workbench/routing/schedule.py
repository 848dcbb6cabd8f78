"""Routing policies that follow one another, as where weights change with the time of day."""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from workbench.errors import InvalidInput
from workbench.routing.base import (
    DelegatingRouter,
    Place,
    RoutedRequest,
    Router,
    RoutingRule,
    routing_policy,
    silent_places,
)
from workbench.settings import setting
from workbench.validation import as_pairs, not_negative


def _phases(name: str, value: object) -> tuple[tuple[float, RoutingRule], ...]:
    """Return pairs of seconds and policy, the first from 0 on, in order."""
    pairs = as_pairs(name, value, "seconds and a routing policy")
    phases = tuple(
        (not_negative(name, start, "seconds"), routing_policy(name, policy))
        for start, policy in pairs
    )
    starts = [start for start, _ in phases]
    if starts[:1] != [0.0] or starts != sorted(set(starts)):
        raise InvalidInput(f"{name} must begin at 0 and follow one another, got {starts}.")
    return phases


@dataclass(frozen=True, kw_only=True)
class Scheduled(RoutingRule):
    """One routing policy after the other, each from an instant on; all learn from all answers.

    A request that is under way when the policy changes is settled by the new one.

    Raises:
        InvalidInput: The first does not begin at 0, or they are not in order.

    >>> from workbench.routing.simple import RandomChoice, RoundRobin
    >>> Scheduled(phases=[(0, RoundRobin()), (3600, RandomChoice())]).label
    'round-robin; from 3600 s random'
    """

    kind: ClassVar[str] = "scheduled"

    phases: tuple[tuple[float, RoutingRule], ...] = field(
        metadata=setting("Phases", "seconds and the routing policy from then on", _phases)
    )

    @property
    def label(self) -> str:
        """The policy in a few words, for charts and tables."""
        first, *others = self.phases
        later = [f"from {start:g} s {policy.label}" for start, policy in others]
        return "; ".join([first[1].label, *later])

    def router(self, places: Sequence[Place], seed: int = 0) -> "ScheduledRouter":
        """Return a fresh router.

        Raises:
            InvalidInput: A policy does not fit the places, or asks some whose answer is not given.
        """
        routers = [policy.router(places, seed) for _, policy in self.phases]
        if any(silent_places(router) for router in routers):
            raise InvalidInput("A shadow lasts: give it the schedule as `others`, not one phase.")
        return ScheduledRouter([start for start, _ in self.phases], routers)


class ScheduledRouter(DelegatingRouter):
    """Asks the router whose time it is."""

    def __init__(self, starts: Sequence[float], routers: Sequence[Router]) -> None:
        super().__init__(routers)
        self._starts = starts

    def pick(self, request: RoutedRequest, now: float) -> Router:
        """Return the present router."""
        return self._routers[max(0, bisect_right(self._starts, now) - 1)]
