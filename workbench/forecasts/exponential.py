"""Exponential smoothing: past counts, weighted less the longer ago they are."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from workbench.compilation import compile_loop
from workbench.forecasts.base import Floats
from workbench.forecasts.online import OnlineForecaster, Points, periods_in, spread_of
from workbench.validation import positive, positive_share, whole_number

_START = np.array([0.5, 0.1, 0.1])  # weights from which the search for better ones begins


@dataclass(frozen=True, kw_only=True)
class Smoothing(OnlineForecaster):
    """Exponential smoothing of the level, and of a damped trend and a season if wanted.

    The additive methods of Holt and Winters in error-correction form, with the trend damped after
    Gardner and McKenzie (R. Hyndman and others, "Forecasting with Exponential Smoothing", 2008,
    chapter 2). The weights are those with the least squared error one period ahead, searched for
    again at each refit.

    Attributes:
        trend: Whether there is one.
        damping: The share of a trend that is left a period later.
        season: Seconds, a whole number of periods. None: there is none.
        refit: Periods from one refit to the next.

    >>> counts = [100, 200, 300, 200] * 20
    >>> Smoothing(season=240.0).fit(counts, 60.0).forecast(3, [0.5]).ravel().round().tolist()
    [100.0, 200.0, 300.0]
    """

    kind = "smoothing"
    _why = ", a season and one more"
    trend: bool = False
    damping: float = 0.9
    season: float | None = None
    refit: int = 1440

    def __post_init__(self) -> None:
        super().__post_init__()
        positive_share("damping", self.damping)
        if self.season is not None:
            positive("season", self.season, "seconds")
        whole_number("refit", self.refit, low=1)

    def _season(self, period: float) -> int:
        return 1 if self.season is None else periods_in(self.season, period)

    def _least(self, period: float) -> int:
        return self._season(period) + 1

    def make_model(self, period: float, steps: int) -> "_SmoothingModel":
        """Return a model that has learned nothing yet."""
        return _SmoothingModel(self, self._season(period), steps)


class _SmoothingModel:
    def __init__(self, settings: Smoothing, season: int, steps: int) -> None:
        self.refit = settings.refit
        self._used = np.array([True, settings.trend, settings.season is not None])
        self._weights = np.zeros(3)
        self._damping, self._season = settings.damping, season
        ahead = np.arange(1, steps + 1)
        self._kept = np.cumsum(settings.damping**ahead)
        self._back = ahead - 1 - season * (-(-ahead // season) - 1)

    def learn(self, counts: Floats) -> None:
        from scipy.optimize import minimize

        def error(weights: Floats) -> float:
            self._weights[self._used] = weights
            return float(np.square(self._smooth(counts)[0]).sum())

        limits = [(0.0, 1.0)] * int(self._used.sum())
        found = minimize(error, _START[self._used], method="Nelder-Mead", bounds=limits, tol=1e-3)
        self._weights[self._used] = found.x

    def points(self, counts: Floats, origins: NDArray[np.int64]) -> Points:
        _, levels, trends, seasons = self._smooth(counts)
        at = origins[:, None] - 1
        # the part of a period's season is kept where that season's next period is looked up
        values = levels[at] + self._kept * trends[at] + seasons[origins[:, None] + self._back]
        return Points(np.maximum(0.0, values), spread_of(values))

    def _smooth(self, counts: Floats) -> tuple[Floats, Floats, Floats, Floats]:
        level = float(counts[: self._season].mean())
        return smooth(counts, level, self._weights, self._damping, self._season)


@compile_loop
def smooth(
    counts: Floats, level: float, weights: Floats, damping: float, season: int
) -> tuple[Floats, Floats, Floats, Floats]:
    """Return the errors one period ahead, and levels, trends and parts of the season after each.

    What the season adds to a period is kept one season later: seasons[t + season] is of counts[t].

    Args:
        counts: One season at least, from which the season begins.
        level: From which it begins.
        weights: Of the error, in level, trend and season.
        damping: The share of a trend that is left a period later.
        season: Periods.
    """
    size = len(counts)
    errors, levels, trends = np.zeros(size), np.zeros(size), np.zeros(size)
    seasons = np.zeros(size + season)
    trend = 0.0
    if weights[2] > 0:
        seasons[:season] = counts[:season] - level
    for at in range(size):
        error = counts[at] - level - damping * trend - seasons[at]
        level += damping * trend + weights[0] * error
        trend = damping * trend + weights[1] * error
        seasons[at + season] = seasons[at] + weights[2] * error
        errors[at], levels[at], trends[at] = error, level, trend
    return errors, levels, trends, seasons
