"""How a server's speed changed while it was watched: slow stretches, kept for the simulator.

Slow calls come one by one or together. Those that come one by one are in the distribution of
service times; those that come together fill a queue, which independent draws from the same
distribution do not. So a `SpeedRecord` keeps, for the time that was watched, how slow the server
was, and which of its calls were made at each speed. Its rule:

1. A call counts by the logarithm of its time over the median of its kind (size and state).
2. A running median over `window` calls smooths them: as many as make the median of independent
   calls known within 4 %, and 5 at least. A lone slow call does not move it, a slow stretch does.
3. Where smoothed times a window apart correlate by less than a third, or than four standard errors
   of chance, order says nothing: there is no record, and draws are independent.
4. Speeds are the smoothed times in steps of 10 %.

The simulator repeats the record from a random instant on, round and round, for each instance from
another; a batch is as slow as a call drawn among those of the speed at which it begins. A stretch
lasts as many seconds as it did, not as many calls: that is right for heat, neighbours and
throttling, and too long for what comes every so many calls, where calls are fewer.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from workbench.errors import InvalidInput

Floats = NDArray[np.float64]
Counts = NDArray[np.int64]

LEAST_WINDOW = 5  # calls whose median is a speed: of fewer an outlier would be one
_TOLERANCE = 0.04  # standard error of a speed's logarithm: well below a step
_STEP = 0.1  # of a speed's logarithm: speeds within 10 % count as one
_LEAST_CORRELATION = 1 / 3  # of speeds a window apart: below, their order says too little
_MAX_SLICES = 8192  # bounds what a record takes
_LEVELS = np.linspace(0, 1, 1001)  # tenths of a per cent
_NORMAL_MAD = 1.4826  # a normal distribution's standard deviation over its median distance
_NORMAL_MEDIAN = 1.2533  # the standard error of its median over that of its mean


@dataclass(frozen=True, eq=False)
class SpeedRecord:
    """The speeds of a server over a span of time, and the calls made at each.

    Attributes:
        levels: by speed, evenly spaced quantiles of its calls' ranks among their kind, in (0, 1).
        slices: the speed in each of equally long slices of the span.
        span: seconds that were watched.
        window: calls over which speeds were smoothed.
    """

    levels: Floats
    slices: Counts
    span: float
    window: int

    def __repr__(self) -> str:
        return f"<SpeedRecord of {self.span:.3g} s: {len(self.levels)} speeds>"


def record_speed(starts: ArrayLike, seconds: ArrayLike, kinds: ArrayLike) -> SpeedRecord | None:
    """Return the record of calls that began at some instants; None where their order says nothing.

    Args:
        starts: when each call began, in seconds.
        seconds: how long it took.
        kinds: what sort of call it was, as whole numbers: each is compared with its own kind.

    >>> times = np.where(np.arange(2000) // 100 % 10 == 0, 0.02, 0.01)
    >>> record_speed(np.cumsum(times) - times, times, np.zeros(2000))
    <SpeedRecord of 22 s: 2 speeds>
    """
    starts, seconds = np.asarray(starts, np.float64), np.asarray(seconds, np.float64)
    kinds = np.asarray(kinds)
    if not starts.shape == seconds.shape == kinds.shape:
        raise InvalidInput(
            f"Each call needs a start, seconds and a kind, got {starts.shape}, {seconds.shape} and "
            f"{kinds.shape}."
        )
    order = np.argsort(starts, kind="stable")
    starts, seconds, kinds = starts[order], seconds[order], kinds[order]
    ratios, ranks = _compare_within_kinds(seconds, kinds)
    window = _find_window(ratios)
    if len(starts) < 8 * window:
        return None
    smoothed = _smooth(ratios, window)
    if _correlate(smoothed, window) < max(_LEAST_CORRELATION, 4 * np.sqrt(window / len(starts))):
        return None
    found, speeds = np.unique(np.rint(smoothed / _STEP), return_inverse=True)
    count = len(found)
    span = float(starts[-1] + seconds[-1] - starts[0])
    slices = min(len(starts), _MAX_SLICES)
    middles = starts[0] + (np.arange(slices) + 0.5) * span / slices
    return SpeedRecord(
        levels=np.array([np.quantile(ranks[speeds == each], _LEVELS) for each in range(count)]),
        slices=speeds[np.searchsorted((starts[1:] + starts[:-1]) / 2, middles)],  # the nearest
        span=span,
        window=window,
    )


def _compare_within_kinds(seconds: Floats, kinds: NDArray[np.generic]) -> tuple[Floats, Floats]:
    """Return each call's time over its kind's median, as a logarithm, and its rank in its kind."""
    ratios, ranks = np.empty(len(seconds)), np.empty(len(seconds))
    for kind in np.unique(kinds):
        own = np.flatnonzero(kinds == kind)
        ratios[own] = np.log(seconds[own] / np.median(seconds[own]))
        ranks[own[np.argsort(seconds[own], kind="stable")]] = (np.arange(len(own)) + 0.5) / len(own)
    return ratios, ranks


def _find_window(ratios: Floats) -> int:
    """Return how many independent calls have a median that is known well enough, an odd number."""
    if len(ratios) < 2:
        return LEAST_WINDOW
    # from call to call, so that a change of speed, which is rare, does not count as spread
    spread = _NORMAL_MAD * float(np.median(np.abs(np.diff(ratios)))) / np.sqrt(2)
    return max(LEAST_WINDOW, int((_NORMAL_MEDIAN * spread / _TOLERANCE) ** 2) | 1)


def _correlate(values: Floats, lag: int) -> float:
    """Return the correlation of values so far apart, from their differences; 0 of constants."""
    variance = float(values.var())
    if variance == 0:
        return 0.0
    return 1 - float(np.mean((values[lag:] - values[:-lag]) ** 2)) / (2 * variance)


def _smooth(values: Floats, window: int) -> Floats:
    # NumPy has none
    import polars as pl

    return pl.Series(values).rolling_median(window, min_samples=1, center=True).to_numpy()
