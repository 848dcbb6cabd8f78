"""Forecasters that learn as counts come in, with bands by the errors that they made.

Each count that comes in is compared with what had been forecast for it, 1, 2, ... periods ahead,
by what had been learned at the time. It makes no difference whether counts come one by one or all
at once.
"""

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar, NamedTuple, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from workbench.errors import InvalidInput, TooFewSamples
from workbench.forecasts.bands import Conformal
from workbench.forecasts.base import Floats
from workbench.validation import as_array, as_tuple, positive, whole_number


class Points(NamedTuple):
    """Single numbers forecast, and how far off they may be in relation to one another.

    Both have a row for each origin and a column for each of the next periods.
    """

    values: Floats
    spreads: Floats


class PointModel(Protocol):
    """What learns from counts, and forecasts single numbers from many origins at once."""

    refit: int
    """Periods from one `learn` to the next; at the start they are fewer (`next_refit`)."""

    def learn(self, counts: Floats) -> None:
        """Learn from all counts that there are by now, no fewer than the last time."""

    def points(self, counts: Floats, origins: NDArray[np.int64]) -> Points:
        """Return what comes after so many counts each, which are fewer than there are, or all."""


def spread_of(values: Floats) -> Floats:
    """Return how far counts are off by chance, as numbers in relation: as Poisson counts are."""
    return np.sqrt(np.maximum(values, 0.0) + 1.0)


class _State:
    """What a forecaster knows, and how far it went through it."""

    def __init__(self) -> None:
        self.counts: Floats = np.empty(0)
        self.period = 0.0
        self.walk: _Walk | None = None

    def take_in(self, counts: Floats, period: float) -> None:
        before = len(self.counts)
        if period != self.period or not np.array_equal(counts[:before], self.counts):
            self.walk = None
        self.counts, self.period = counts, period


@dataclass(frozen=True, kw_only=True)
class OnlineForecaster(ABC):
    """Base of the forecasters: a value with settings, and what it has learned so far.

    The quantiles h periods ahead are the point, moved by quantiles of the last `window` errors of
    forecasts h periods ahead (`Conformal`), each in relation to its spread: for counts, the square
    root of what was forecast. After a change of level they hold again `window` + h periods later
    at the latest; where a season is looked back on, a season more.

    Attributes:
        window: How many of the last errors count.
    """

    kind: ClassVar[str]
    _why: ClassVar[str] = ""  # what it needs so many counts for
    window: int = 1440
    _state: _State = field(default_factory=_State, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Check the settings."""
        whole_number("window", self.window, low=1)

    def to_dict(self) -> dict[str, Any]:
        """Return kind and settings as JSON values."""
        settings = {each.name: getattr(self, each.name) for each in fields(self) if each.init}
        lists = {name: list(value) for name, value in settings.items() if isinstance(value, tuple)}
        return {"kind": self.kind, **settings, **lists}

    def fit(self, counts: ArrayLike, period: float) -> "OnlineForecaster":
        """Take in the requests of each period, oldest first, and return the forecaster.

        What it learned before it keeps, if these counts begin with those of the last time.

        Args:
            counts: Numbers, 0 or more.
            period: Seconds.

        Raises:
            InvalidInput: A count is negative or not finite, or the period does not fit a season.
            TooFewSamples: They are too few to learn from; nothing has changed then.
        """
        known, period = check_counts(counts), positive("period", period, "seconds")
        if len(known) < (needed := self._least(period)):
            raise TooFewSamples(
                f"{type(self).__name__} needs {needed} counts of periods of {period:g} s{self._why}"
                f", got {len(known)}: fit more of them, shorten its season or lags, or choose a "
                "forecaster that needs fewer."
            )
        self._state.take_in(known, period)
        return self

    def forecast(self, steps: int, quantiles: Sequence[float]) -> Floats:
        """Return quantiles of the requests in each of the next periods: steps by quantiles.

        The first call, and one with more steps than before, go through the last counts once more.

        Raises:
            InvalidInput: Nothing was fitted, or steps or a quantile are out of their limits.
            TooFewSamples: So few errors are known that they do not reach to the quantile.
        """
        steps, state = whole_number("steps", steps, low=1), self._state
        if not len(state.counts):
            raise InvalidInput(f"{type(self).__name__} has no counts yet: call fit first.")
        if state.walk is None or state.walk.steps < steps:
            model, needed = self.make_model(state.period, steps), self._least(state.period)
            # a multiple of `refit`, as it would be with all counts from the beginning on
            first = max(
                needed, (len(state.counts) - self.window - steps) // model.refit * model.refit
            )
            state.walk = _Walk(model, steps, self.window, first=first, least=needed)
        return state.walk.forecast(state.counts, steps, as_tuple("quantiles", quantiles))

    @abstractmethod
    def _least(self, period: float) -> int:
        """Return how many counts the first forecast needs, at least 1."""

    @abstractmethod
    def make_model(self, period: float, steps: int) -> PointModel:
        """Return a model that has learned nothing yet."""


class _Walk:
    """A model on its way through counts, with the errors that it made, by periods ahead."""

    def __init__(
        self, model: PointModel, steps: int, window: int, *, first: int, least: int
    ) -> None:
        self.steps = steps
        self._model, self._least = model, least
        self._origin, self._due = first - 1, first
        self._errors = [Conformal(window) for _ in range(steps)]
        self._open: deque[tuple[list[float], list[float]]] = deque(maxlen=steps)

    def forecast(self, counts: Floats, steps: int, quantiles: Sequence[float]) -> Floats:
        self._advance(counts)
        values, spreads = self._open[-1]
        moved = [
            [values[ahead] + spreads[ahead] * self._errors[ahead].find(q) for q in quantiles]
            for ahead in range(steps)
        ]
        return np.maximum(0.0, np.array(moved, np.float64).reshape(steps, len(quantiles)))

    def _advance(self, counts: Floats) -> None:
        while self._origin < len(counts):
            start = self._origin + 1
            if start == self._due:
                self._model.learn(counts[:start])
                self._due = next_refit(start, self._least, self._model.refit)
            stop = min(len(counts), self._due - 1)
            points = self._model.points(counts, np.arange(start, stop + 1))
            rows = zip(points.values.tolist(), points.spreads.tolist(), strict=True)
            for origin, row in enumerate(rows, start):
                self._compare(float(counts[origin - 1]))
                self._open.append(row)
            self._origin = stop

    def _compare(self, count: float) -> None:
        """Take in the errors of all forecasts of this count."""
        # the last one opened looked one period ahead
        for ahead, (values, spreads) in enumerate(reversed(self._open)):
            self._errors[ahead].add((count - values[ahead]) / spreads[ahead])


def next_refit(origin: int, least: int, refit: int) -> int:
    """Return after how many counts to learn again: each `refit`, and as 16, 32, ... are new.

    >>> next_refit(61, 61, 60), next_refit(77, 61, 60), next_refit(100, 61, 60)
    (77, 93, 120)
    """
    new = 16
    while least + new <= origin:
        new *= 2
    return min(least + new, (origin // refit + 1) * refit)


def check_counts(counts: ArrayLike) -> Floats:
    """Return a copy of the counts as floats, known to be one list of numbers of 0 or more.

    >>> check_counts([3, 0])
    array([3., 0.])
    """
    given = as_array("counts", counts)
    if given.ndim != 1 or (len(given) and given.dtype.kind not in "iufb"):
        raise InvalidInput(f"counts must be one list of numbers, got {given.dtype} {given.shape}.")
    known = given.astype(np.float64)
    if not (good := np.isfinite(known) & (known >= 0)).all():
        at = int(good.argmin())
        raise InvalidInput(f"counts must be 0 or more, got {known[at]} in period {at}.")
    return known


def periods_in(season: float, period: float) -> int:
    """Return how many periods a season has, known to be a whole number.

    >>> periods_in(86_400.0, 60.0)
    1440
    """
    periods = round(season / period)
    if periods < 1 or abs(season - periods * period) > 1e-6 * period:
        raise InvalidInput(
            f"A season of {season:g} s is no whole number of periods of {period:g} s: "
            "choose another season."
        )
    return periods
