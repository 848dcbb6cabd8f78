"""Forecasts without a model: as it was a period ago, a season ago, or as it will be."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from workbench.forecasts.base import Floats
from workbench.forecasts.online import (
    OnlineForecaster,
    Points,
    check_counts,
    periods_in,
    spread_of,
)
from workbench.units import DAY
from workbench.validation import keep, positive, whole_number


@dataclass(frozen=True, kw_only=True)
class Persistence(OnlineForecaster):
    """What came last comes again.

    >>> Persistence().fit([99, 99, 120] * 10, 60.0).forecast(1, [0.1, 0.5, 0.9]).round().tolist()
    [[99.0, 120.0, 143.0]]
    """

    kind = "persistence"

    def _least(self, period: float) -> int:  # noqa: ARG002 - of all forecasters
        return 1

    def make_model(self, period: float, steps: int) -> "_LastSeason":  # noqa: ARG002
        """Return a model that has learned nothing yet."""
        return _LastSeason(1, steps)


@dataclass(frozen=True, kw_only=True)
class SeasonalNaive(OnlineForecaster):
    """What came at the same time of the last season comes again.

    Attributes:
        season: Seconds, a whole number of periods; by default a day.

    >>> season = SeasonalNaive(season=180.0).fit([1, 5, 9] * 20, 60.0)
    >>> season.forecast(4, [0.5]).ravel().tolist()
    [1.0, 5.0, 9.0, 1.0]
    """

    kind = "seasonal naive"
    _why = ", a season"
    season: float = DAY

    def __post_init__(self) -> None:
        super().__post_init__()
        positive("season", self.season, "seconds")

    def _least(self, period: float) -> int:
        return periods_in(self.season, period)

    def make_model(self, period: float, steps: int) -> "_LastSeason":
        """Return a model that has learned nothing yet."""
        return _LastSeason(periods_in(self.season, period), steps)


class _LastSeason:
    refit = 1440  # there is nothing to learn: so many origins at once

    def __init__(self, season: int, steps: int) -> None:
        ahead = np.arange(1, steps + 1)
        self._back = ahead - 1 - season * -(-ahead // season)

    def learn(self, counts: Floats) -> None:
        pass

    def points(self, counts: Floats, origins: NDArray[np.int64]) -> Points:
        values = counts[origins[:, None] + self._back]
        return Points(values, spread_of(values))


@dataclass(frozen=True)
class Oracle:
    """What will come, known beforehand: how good a forecast can be.

    Attributes:
        counts: Of all periods, 0 or more; those fitted first included. After the last comes none.

    >>> oracle = Oracle([3, 1, 4])
    >>> oracle.fit([3], 60.0).forecast(3, [0.1, 0.9]).tolist()
    [[1.0, 1.0], [4.0, 4.0], [0.0, 0.0]]
    """

    counts: Sequence[float]
    _past: int = field(default=0, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        keep(self, counts=tuple(check_counts(self.counts).tolist()))

    def to_dict(self) -> dict[str, Any]:
        """Return kind and settings as JSON values."""
        return {"kind": "oracle", "counts": list(self.counts)}

    def fit(self, counts: ArrayLike, period: float) -> "Oracle":
        """Note how many periods are over, and return the forecaster."""
        positive("period", period, "seconds")
        keep(self, _past=len(check_counts(counts)))
        return self

    def forecast(self, steps: int, quantiles: Sequence[float]) -> Floats:
        """Return what comes in each of the next periods: steps by quantiles, all the same."""
        coming = np.zeros((whole_number("steps", steps, low=1), len(quantiles)))
        known = self.counts[self._past : self._past + steps]
        coming[: len(known)] = np.array(known, np.float64)[:, None]
        return coming
