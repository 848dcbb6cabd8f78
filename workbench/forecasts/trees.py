"""Gradient-boosted trees that are fitted to quantiles."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from workbench.forecasts.base import Floats
from workbench.forecasts.online import OnlineForecaster, PointModel, Points, spread_of
from workbench.forecasts.ridge import LAGS, Changes, Ridge, check_lags
from workbench.units import DAY
from workbench.validation import keep, whole_number

_LEVELS = (0.1, 0.5, 0.9)  # a tree each; other quantiles lie between
_ROWS = 10_000  # of each fit: more make it longer, and not much better
_FEWEST = 100  # origins: from fewer, trees learn nothing
_NARROWEST = 0.25  # of a band, in spreads of counts: where all that was learned from is the same


@dataclass(frozen=True, kw_only=True)
class BoostedQuantiles(OnlineForecaster):
    """`Ridge`, and trees for the median and the 10th and 90th percentile of what it leaves.

    scikit-learn's histogram gradient boosting with the quantile loss, on the changes that `Ridge`
    looks at, the last count and how many periods ahead: in relation to the spread of the last
    count, so that trees, which cannot extrapolate, may be asked at levels they have not seen. The
    bands are as wide as the percentiles are apart, times what the errors say (after Y. Romano,
    E. Patterson and E. Candès, "Conformalized quantile regression", NeurIPS 2019, which adds
    instead).

    Attributes:
        season: Seconds, a whole number of periods; by default a day. None: there is none.
        lags: Periods.
        trees: How many, for each percentile.
        history: How many of the last periods are learned from.
        refit: Periods from one refit to the next.
        seed: Of the draw of rows, where they are more than 10,000.
    """

    kind = "boosted quantiles"
    _why = ", the longest of its lags and a season, and one more"
    season: float | None = DAY
    lags: tuple[int, ...] = LAGS
    trees: int = 40
    history: int = 7 * 1440
    refit: int = 1440
    seed: int = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        keep(self, lags=check_lags(self.season, self.lags, self.refit))
        whole_number("trees", self.trees, low=1)
        whole_number("history", self.history, low=1)
        whole_number("seed", self.seed, low=0)

    def _least(self, period: float) -> int:
        return Changes(self.season, self.lags, period).needed

    def make_model(self, period: float, steps: int) -> "_TreeModel":
        """Return a model that has learned nothing yet."""
        ridge = Ridge(season=self.season, lags=self.lags).make_model(period, steps)
        return _TreeModel(self, ridge, Changes(self.season, self.lags, period), steps)


class _TreeModel:
    def __init__(
        self, settings: BoostedQuantiles, ridge: PointModel, changes: Changes, steps: int
    ) -> None:
        self.refit = settings.refit
        self._settings, self._ridge, self._changes = settings, ridge, changes
        self._ahead = np.arange(1, steps + 1)
        self._trees: list[Any] = []

    def learn(self, counts: Floats) -> None:
        from sklearn.ensemble import HistGradientBoostingRegressor
        from threadpoolctl import threadpool_limits

        self._ridge.learn(counts)
        settings, steps = self._settings, len(self._ahead)
        first = max(self._changes.needed, len(counts) - settings.history)
        origins = np.arange(first, len(counts) - steps + 1)
        if len(origins) < _FEWEST:
            return
        rng = np.random.default_rng(settings.seed)
        row, column = np.divmod(rng.permutation(len(origins) * steps)[:_ROWS], steps)
        expected = self._ridge.points(counts, origins).values[row, column]
        origins, ahead = origins[row], self._ahead[column]
        left = (counts[origins - 1 + ahead] - expected) / spread_of(counts[origins - 1])
        rows = self._rows(counts, origins, ahead)
        with threadpool_limits(1, user_api="openmp"):  # on a busy machine several only wait
            self._trees = [
                HistGradientBoostingRegressor(
                    loss="quantile", quantile=level, max_iter=settings.trees, early_stopping=False
                ).fit(rows, left)
                for level in _LEVELS
            ]

    def points(self, counts: Floats, origins: NDArray[np.int64]) -> Points:
        expected = self._ridge.points(counts, origins)
        if not self._trees:
            return expected
        ahead = np.tile(self._ahead, len(origins))
        rows = self._rows(counts, np.repeat(origins, len(self._ahead)), ahead)
        from threadpoolctl import threadpool_limits

        shape, spread = expected.values.shape, spread_of(counts[origins - 1, None])
        with threadpool_limits(1, user_api="openmp"):
            left = np.sort([trees.predict(rows).reshape(shape) for trees in self._trees], axis=0)
        width = np.maximum(left[2] - left[0], _NARROWEST)
        return Points(np.maximum(0.0, expected.values + spread * left[1]), spread * width)

    def _rows(self, counts: Floats, origins: NDArray[np.int64], ahead: NDArray[np.int64]) -> Floats:
        last = counts[origins - 1, None]
        changes = self._changes.find(counts, origins) / spread_of(last)
        return np.concatenate((changes, np.log1p(last), ahead[:, None]), axis=1)
