"""Predictions put together: requests that go different ways, and ways of several steps."""

from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np

from workbench.queueing.predictions import Distribution, Floats, find_quantiles

_VALUES = 1000
"""Values of equal weight that stand for a distribution in a sum."""

_KNOTS = 0.01, 0.1, 0.25, 0.5, 0.75, 0.9, 0.97, 0.99, 0.997
"""Shares between which points lie evenly."""


@dataclass(frozen=True)
class Mixture:
    """The distribution of a time that follows one of several, each for its share of requests.

    >>> from workbench.queueing import mm1
    >>> fast, slow = mm1(rate=5, service=0.1).latency, mm1(rate=1, service=0.5).latency
    >>> round(Mixture((fast, slow), (0.5, 0.5)).mean, 3)  # (0.2 + 1.0) / 2
    0.6
    """

    parts: tuple[Distribution, ...]
    shares: tuple[float, ...]

    @property
    def mean(self) -> float:
        """Seconds."""
        return sum(s * part.mean for s, part in zip(self.shares, self.parts, strict=True))

    @property
    def support(self) -> tuple[float, float]:
        """The least and the greatest value."""
        lows, highs = zip(*(part.support for part in self.parts), strict=True)
        return min(lows), max(highs)

    def cdf(self, x: Floats) -> Floats:
        """Return the share of values of at most x, shape (n,), for x of shape (n,)."""
        within = np.zeros_like(x)
        for share, part in zip(self.shares, self.parts, strict=True):
            within += share * part.cdf(x)
        return within


@dataclass(frozen=True)
class Sum:
    """The distribution of the sum of independent times and a constant, in seconds.

    One time alone is exact. Of several, each is taken as 1,000 values of equal weight, so that the
    shares that `cdf` returns are off by some tenths of a per cent; beyond 99.9 % they say little.

    >>> from workbench.queueing import md1
    >>> once = md1(rate=5, service=0.1).latency
    >>> round(Sum((once, once), 1.0).mean, 3)  # 0.15 + 0.15 + 1
    1.3
    """

    parts: tuple[Distribution, ...]
    constant: float = 0.0

    @property
    def mean(self) -> float:
        """Seconds."""
        return self.constant + sum(part.mean for part in self.parts)

    @property
    def support(self) -> tuple[float, float]:
        """The least and the greatest of the values that stand for it."""
        if len(self.parts) == 1:
            low, high = self.parts[0].support
            return low + self.constant, high + self.constant
        return float(self._values[0]), float(self._values[-1])

    def cdf(self, x: Floats) -> Floats:
        """Return the share of values of at most x, shape (n,), for x of shape (n,)."""
        if len(self.parts) == 1:
            return self.parts[0].cdf(x - self.constant)
        return np.searchsorted(self._values, x, side="right") / len(self._values)

    @cached_property
    def _values(self) -> Floats:
        values = np.array([self.constant])
        for part in self.parts:
            if len(values) > _VALUES:
                values = values[len(values) // (2 * _VALUES) :: len(values) // _VALUES]
            values = np.sort(np.add.outer(values, _spread(part)).ravel())
        return values


def _spread(distribution: Distribution) -> Floats:
    """Return the values at the middle of equal shares, read off a curve through 1,000 points."""
    shares = (np.arange(_VALUES) + 0.5) / _VALUES
    ends = find_quantiles(distribution, np.array([shares[0], *_KNOTS, shares[-1]]))
    points = np.concatenate([np.linspace(low, high, 100) for low, high in pairwise(ends)])
    return np.asarray(np.interp(shares, distribution.cdf(points), points))
