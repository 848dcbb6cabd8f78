"""A cascade: a small model answers what it is sure of, a larger one the rest."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Union, overload

from workbench.errors import InvalidInput
from workbench.routing.base import (
    Place,
    PlaceAnswer,
    PlaceState,
    RoutedRequest,
    RoutingRule,
    Settlement,
    find_place,
    policy_from_dict,
)
from workbench.settings import optional, setting
from workbench.validation import of_kind, share

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def _place_or_cascade(name: str, value: object) -> "str | Cascade":
    """Return the name of a place or the cascade, also from its dictionary."""
    if isinstance(value, Mapping):
        value = policy_from_dict(value)
    return of_kind(name, value, str | Cascade, "the name of a place or a Cascade")  # type: ignore[return-value]


@dataclass(frozen=True)
class Cascade(RoutingRule):
    """A policy that asks the next, larger model wherever the confidence is below a threshold.

    The answer of the last one asked is given. A confidence that is not known is below any
    threshold. At threshold 0 the small model answers everything, even without a confidence; at 1
    the large one does, even where the small one's confidence is exactly 1. In between, a
    confidence equal to the threshold will do. A place that fails is passed over.

    Raises:
        InvalidInput: A name that is not one, or is there twice; a threshold out of its range.

    >>> Cascade("tiny", Cascade("small", "large", 0.8), 0.99).label
    'cascade tiny 0.99 small 0.8 large'
    """

    kind: ClassVar[str] = "cascade"
    sees_load: ClassVar[bool] = False
    by_answers: ClassVar[bool] = True

    small: str = field(
        metadata=setting("Small", "place that is asked first", partial(of_kind, kind=str))
    )
    large: Union[str, "Cascade"] = field(
        metadata=setting("Large", "place, or cascade, that is asked next", _place_or_cascade)
    )
    threshold: float = optional(
        0.9, "Threshold", "least confidence with which the small model's answer is given", share
    )

    def __post_init__(self) -> None:
        """Check the settings."""
        super().__post_init__()
        require_distinct(self.names)

    @classmethod
    def of(cls, names: Sequence[str], thresholds: Sequence[float]) -> "Cascade":
        """Return the cascade through these places, with a threshold for each but the last.

        Raises:
            InvalidInput: Fewer than two names, or another number of thresholds.

        >>> Cascade.of(["tiny", "small", "large"], [0.99, 0.8]).names
        ('tiny', 'small', 'large')
        """
        if len(names) < 2 or len(thresholds) != len(names) - 1:
            raise InvalidInput(
                "A cascade takes two places or more, and a threshold for each but the last; got "
                f"{len(names)} ({', '.join(map(str, names))}) and {len(thresholds)} thresholds."
            )
        rest = names[1] if len(names) == 2 else cls.of(names[1:], thresholds[1:])
        return cls(names[0], rest, thresholds[0])

    @property
    def names(self) -> tuple[str, ...]:
        """The places in the order in which they are asked."""
        rest = self.large.names if isinstance(self.large, Cascade) else (self.large,)
        return self.small, *rest

    @property
    def thresholds(self) -> tuple[float, ...]:
        """The threshold of each place but the last."""
        rest = self.large.thresholds if isinstance(self.large, Cascade) else ()
        return self.threshold, *rest

    @property
    def label(self) -> str:
        """The policy in a few words, for charts and tables."""
        steps = zip(self.names, self.thresholds, strict=False)
        asked = " ".join(f"{name} {threshold:g}" for name, threshold in steps)
        return f"{self.kind} {asked} {self.names[-1]}"

    def router(self, places: Sequence[Place], seed: int = 0) -> "CascadeRouter":
        """Return a fresh router; other places are asked only where all of the cascade fail.

        Raises:
            InvalidInput: A name is none of the places'.
        """
        return CascadeRouter([find_place(places, name) for name in self.names], self.thresholds)


class CascadeRouter:
    """Asks in order until an answer is sure; learns nothing."""

    def __init__(self, order: Sequence[int], thresholds: Sequence[float]) -> None:
        self._order = order
        self._step = {place: step for step, place in enumerate(order)}
        self._thresholds = thresholds

    def choose(
        self, request: RoutedRequest, states: Sequence[PlaceState], now: float
    ) -> Sequence[int]:
        """Return the first place in order that is there, and any other only without them."""
        first = self._find_next(states, -1)
        return (states[0].index if first is None else first,)

    def settle(
        self,
        request: RoutedRequest,
        answers: Sequence[PlaceAnswer],
        pending: int,
        states: Sequence[PlaceState],
        now: float,
    ) -> Settlement:
        """Give the answer of the largest model asked, unless it is unsure and a larger is there."""
        last = len(self._order)
        steps = [self._step.get(answer.place, last) for answer in answers]
        given = max(range(len(answers)), key=steps.__getitem__)
        step = steps[given]
        if step >= last - 1 or is_sure(answers[given].confidence, self._thresholds[step]):
            return Settlement(given=given)
        if pending:
            return Settlement()
        larger = self._find_next(states, step)
        return Settlement(given=given) if larger is None else Settlement(ask=(larger,))

    def observe(self, request: RoutedRequest, answer: PlaceAnswer, now: float) -> None:
        """Learn nothing."""

    def _find_next(self, states: Sequence[PlaceState], after: int) -> int | None:
        """Return the place of the first step after this one that may be asked."""
        free = {state.index for state in states}
        return next((place for place in self._order[after + 1 :] if place in free), None)


@overload
def is_sure(confidence: float, threshold: float) -> bool: ...


@overload
def is_sure(confidence: "NDArray[np.floating[Any]]", threshold: float) -> "NDArray[np.bool_]": ...


def is_sure(
    confidence: "float | NDArray[np.floating[Any]]", threshold: float
) -> "bool | NDArray[np.bool_]":
    """Return whether an answer of this confidence is given: a boolean, or an array of them.

    >>> is_sure(0.9, 0.9), is_sure(1.0, 1.0), is_sure(math.nan, 0.1), is_sure(math.nan, 0)
    (True, False, False, True)
    """
    # rounding may take a confidence above 1, and NaN is below anything: at the ends neither counts
    return (confidence >= (threshold if threshold < 1 else math.inf)) | (threshold <= 0)


def require_distinct(names: Sequence[str]) -> None:
    """Raise unless there are two names or more, no two the same.

    Raises:
        InvalidInput: there are not.

    >>> require_distinct(["small", "large"])
    """
    if len(names) < 2 or len(set(names)) < len(names):
        raise InvalidInput(
            f"Two places or more are needed, each named once; got {', '.join(map(repr, names))}."
        )
