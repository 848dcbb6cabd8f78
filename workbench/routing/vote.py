"""A vote: as many models as a majority takes are asked, and more only where they differ."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from workbench.routing.base import (
    Place,
    PlaceAnswer,
    PlaceState,
    RoutedRequest,
    RoutingRule,
    Settlement,
    find_place,
)
from workbench.routing.cascade import require_distinct
from workbench.settings import setting
from workbench.validation import as_tuple, of_kind


def _list_names(name: str, value: object) -> tuple[str, ...]:
    return tuple(of_kind(name, each, str) for each in as_tuple(name, value))


@dataclass(frozen=True)
class Vote(RoutingRule):
    """A policy that gives the label of the majority.

    Of three places two are asked at once, and the third only where they differ. In general as many
    are asked as the label in the lead still lacks for a majority. Where all were asked and none has
    it, the most frequent label is given; of several, the one that the last named voted for: name
    the best place last. An answer whose label is not known agrees with no other.

    Raises:
        InvalidInput: Fewer than two names, or a name twice.

    >>> Vote(["forest", "logistic", "network"]).label
    'vote of forest, logistic, network'
    """

    kind: ClassVar[str] = "vote"
    sees_load: ClassVar[bool] = False
    by_answers: ClassVar[bool] = True

    names: Sequence[str] = field(
        metadata=setting(
            "Names", "of the places, in the order in which they are asked", _list_names
        )
    )

    def __post_init__(self) -> None:
        """Check the settings."""
        super().__post_init__()
        require_distinct(self.names)

    @property
    def label(self) -> str:
        """The policy in a few words, for charts and tables."""
        return f"{self.kind} of {', '.join(self.names)}"

    def router(self, places: Sequence[Place], seed: int = 0) -> "VoteRouter":
        """Return a fresh router; other places are asked only where all that vote fail.

        Raises:
            InvalidInput: A name is none of the places'.
        """
        return VoteRouter([find_place(places, name) for name in self.names])


class VoteRouter:
    """Asks until a label has a majority; learns nothing."""

    def __init__(self, order: Sequence[int]) -> None:
        self._order = {place: number for number, place in enumerate(order)}
        self._majority = len(order) // 2 + 1

    def choose(
        self, request: RoutedRequest, states: Sequence[PlaceState], now: float
    ) -> Sequence[int]:
        """Return the first places in order, as many as a majority takes."""
        return self._list_free(states)[: self._majority] or (states[0].index,)

    def settle(
        self,
        request: RoutedRequest,
        answers: Sequence[PlaceAnswer],
        pending: int,
        states: Sequence[PlaceState],
        now: float,
    ) -> Settlement:
        """Give the label that has a majority, wait, or ask as many as it lacks."""
        votes = Counter(answer.label for answer in answers if answer.label is not None)
        most = max(votes.values(), default=0)
        if most < self._majority:
            if pending:
                return Settlement()
            if free := self._list_free(states)[: self._majority - most]:
                return Settlement(ask=free)
        last = len(self._order)
        ranks = [  # the last named whose label nobody outvotes
            # one without a label votes for itself alone
            ((votes[each.label] or 1) == most, self._order.get(each.place, last))
            for each in answers
        ]
        return Settlement(given=max(range(len(answers)), key=ranks.__getitem__))

    def observe(self, request: RoutedRequest, answer: PlaceAnswer, now: float) -> None:
        """Learn nothing."""

    def _list_free(self, states: Sequence[PlaceState]) -> Sequence[int]:
        free = {state.index for state in states}
        return [place for place in self._order if place in free]
