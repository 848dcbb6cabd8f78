"""Linear regression on what came last and a season ago."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from workbench.forecasts.base import Floats
from workbench.forecasts.online import OnlineForecaster, Points, periods_in, spread_of
from workbench.units import DAY
from workbench.validation import as_tuple, keep, not_negative, positive, whole_number

LAGS = (1, 2, 3, 4, 5, 10, 20, 30, 60)
"""Periods back to which the last count is compared."""
AHEAD = (1, 5, 10, 20)
"""Periods ahead of which it is known how a season ago differed."""


@dataclass(frozen=True, kw_only=True)
class Ridge(OnlineForecaster):
    """By how much the count will change, linear in how it changed lately and a season ago.

    Ridge regression, one for each number of periods ahead, on the differences between the last
    count and those `lags` before it, and between counts a season ago and 1, 5, 10 and 20 periods
    after that. Sums are kept, so that a refit takes only what is new. Without anything to learn
    from, and as `shrinkage` grows, it becomes `Persistence`.

    Attributes:
        season: Seconds, a whole number of periods; by default a day. None: there is none.
        lags: Periods.
        shrinkage: How many periods without any change the past is mixed with.
        refit: Periods from one refit to the next.

    >>> import numpy as np
    >>> counts = 100 + 50 * np.sin(np.arange(1000) / 20)
    >>> ahead = Ridge(season=None, shrinkage=0.1).fit(counts, 60.0).forecast(20, [0.5])
    >>> bool(abs(ahead[19, 0] - 100 - 50 * np.sin(1019 / 20)) < 1)
    True
    """

    kind = "ridge"
    _why = ", the longest of its lags and a season, and one more"
    season: float | None = DAY
    lags: tuple[int, ...] = LAGS
    shrinkage: float = 50.0
    refit: int = 60

    def __post_init__(self) -> None:
        super().__post_init__()
        keep(self, lags=check_lags(self.season, self.lags, self.refit))
        not_negative("shrinkage", self.shrinkage, "periods")

    def _least(self, period: float) -> int:
        return Changes(self.season, self.lags, period).needed

    def make_model(self, period: float, steps: int) -> "_RidgeModel":
        """Return a model that has learned nothing yet."""
        return _RidgeModel(self, Changes(self.season, self.lags, period), steps)


def check_lags(season: float | None, lags: tuple[int, ...], refit: int) -> tuple[int, ...]:
    """Check the settings of a forecaster that looks back, and return the lags."""
    if season is not None:
        positive("season", season, "seconds")
    whole_number("refit", refit, low=1)
    return tuple(whole_number("A lag", lag, low=1) for lag in as_tuple("lags", lags))


class Changes:
    """How counts changed up to an origin, and a season before it: the columns of a regression."""

    def __init__(self, season: float | None, lags: tuple[int, ...], period: float) -> None:
        self._lags = np.array(lags, np.int64)
        self._season = None if season is None else periods_in(season, period)
        longest = max(lags, default=0)
        self._ahead = np.array([a for a in AHEAD if self._season and a < self._season], np.int64)
        self.needed = max(longest, self._season or 0) + 1
        self.columns = len(lags) + (len(self._ahead) + 1) * bool(self._season)

    def find(self, counts: Floats, origins: NDArray[np.int64]) -> Floats:
        """Return a row for each origin, as far as that many counts tell."""
        at = origins - 1
        last = counts[at][:, None]
        recent: Floats = last - counts[at[:, None] - self._lags]
        if self._season is None:
            return recent
        then = counts[at - self._season][:, None]
        season = counts[at[:, None] - self._season + self._ahead] - then
        return np.concatenate((recent, season, last - then), axis=1)


class _RidgeModel:
    def __init__(self, settings: Ridge, changes: Changes, steps: int) -> None:
        self.refit = settings.refit
        self._shrinkage = settings.shrinkage
        self._changes = changes
        self._ahead = np.arange(steps)
        self._next = changes.needed  # the first origin that is not in the sums
        self._rows = 0
        self._squares = np.zeros((changes.columns, changes.columns))
        self._products = np.zeros((changes.columns, steps))
        self._weights: Floats = np.zeros((changes.columns, steps))

    def learn(self, counts: Floats) -> None:
        known = len(counts) - len(self._ahead)  # the last origin after which all steps are known
        if known < self._next:
            return
        origins = np.arange(self._next, known + 1)
        rows = self._changes.find(counts, origins)
        # sums are all that a fit takes: old rows need not be kept
        self._squares += rows.T @ rows
        self._products += rows.T @ (
            counts[origins[:, None] + self._ahead] - counts[origins - 1, None]
        )
        self._next, self._rows = known + 1, self._rows + len(origins)
        # by each column's own squares, so that none shrinks for its unit
        penalty = self._shrinkage / self._rows * np.diag(np.diag(self._squares))
        # least squares, as counts that never change make it singular
        self._weights = np.linalg.lstsq(self._squares + penalty, self._products)[0].astype(float)

    def points(self, counts: Floats, origins: NDArray[np.int64]) -> Points:
        change = self._changes.find(counts, origins) @ self._weights
        values = np.maximum(0.0, counts[origins - 1, None] + change)
        return Points(values, spread_of(values))
