"""The one rule for percentiles: which sample is one, how many it needs, how sure it is.

A quantile `q` of n samples is the least of them that a share `q` of all does not exceed: the one of
rank ceil(q n). Nothing is interpolated, so that a quantile is a latency that some request had. It
needs ten samples above it, or else two or three requests decide it. Every latency percentile
of the workbench comes from here, those of CloudWatch on the local cloud too: AWS documents no rule
of its own. (Service times are another matter: a profile interpolates between its measurements.)
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from workbench.errors import TooFewSamples
from workbench.formatting import duration, percentile
from workbench.validation import inner_share, keep, positive

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Seconds = TypeVar("Seconds", float, "NDArray[np.float64]")

PERCENTILES = (0.5, 0.9, 0.95, 0.99)
"""Those that summaries and charts show."""

MIN_SAMPLES_ABOVE = 10
"""Samples above a quantile from which on it is more than noise."""

INTERVAL_BATCHES = 10
"""Batches of an interval by batch means: few, so that each outlasts what its requests share."""

MIN_INDEPENDENT = 100
"""Independent requests that a run is worth at least where it has an interval: ten a batch."""

_ROUNDING = 1e-9  # 0.07 * 100 is a little more than 7, and yet the 7th of 100 samples is meant
_SHARE_ROUNDING = 1e-12  # likewise where 19 / 20 is compared with 0.95


@dataclass(frozen=True, kw_only=True)
class SLO:
    """A latency target: the `quantile` of latencies is at most `latency` seconds.

    Raises:
        InvalidInput: `latency` is not positive or `quantile` not between 0 and 1.

    >>> SLO(latency=0.1).label
    'p95 ≤ 100 ms'
    """

    latency: float = field(kw_only=False)
    quantile: float = 0.95

    def __post_init__(self) -> None:
        latency = positive("latency", self.latency, "seconds")
        keep(self, latency=latency, quantile=inner_share("quantile", self.quantile))

    @property
    def label(self) -> str:
        """The target in a few words, for charts and tables."""
        return f"{self.percentile} ≤ {duration(self.latency, 6)}"

    @property
    def percentile(self) -> str:
        """The quantile as people say it."""
        return percentile(self.quantile)


class Percentiles:
    """The percentiles that people name, of what has a method `quantile`; in seconds."""

    def quantile(self, q: float, /) -> Any:  # noqa: ANN401 - a Prediction's takes arrays, too
        """Return the latency that a share `q` of all requests does not exceed."""
        raise NotImplementedError

    @property
    def p50(self) -> float:
        """The median latency: `quantile(0.5)`."""
        return float(self.quantile(0.5))

    @property
    def p95(self) -> float:
        """The latency that 95 % of requests do not exceed: `quantile(0.95)`."""
        return float(self.quantile(0.95))

    @property
    def p99(self) -> float:
        """The latency that 99 % of requests do not exceed: `quantile(0.99)`."""
        return float(self.quantile(0.99))


def find_rank(q: float, count: int) -> int:
    """Return which of `count` samples in order, counted from 1, is their quantile `q`.

    >>> find_rank(0.07, 100), find_rank(0.95, 30), find_rank(0.5, 1)
    (7, 29, 1)
    """
    return max(1, math.ceil(q * count - _ROUNDING))


def samples_needed(q: float) -> int:
    """Return the least number of samples of which ten lie above the quantile `q`.

    >>> samples_needed(0.5), samples_needed(0.95), samples_needed(0.9999)
    (20, 200, 100000)
    """
    return math.ceil((MIN_SAMPLES_ABOVE - _ROUNDING) / (1 - q))


def has_enough_samples(q: float, count: int) -> bool:
    """Return whether ten of so many samples lie above the quantile `q`."""
    return count - find_rank(q, count) >= MIN_SAMPLES_ABOVE


def require_samples(q: float, count: int) -> None:
    """Check that a quantile of so many samples is more than noise: that ten lie above it."""
    if not has_enough_samples(q, count):
        raise TooFewSamples(
            f"The {100 * q:g}th percentile needs at least {samples_needed(q)} requests, got "
            f"{count}: run a longer trace or ask for a lower percentile."
        )


def select_quantile(values: "NDArray[np.float64]", q: float) -> float:
    """Return the quantile `q` of one or more values in any order, few as they may be.

    NaN stands for a request that failed, and comes last: infinite.

    >>> import numpy as np
    >>> select_quantile(np.array([3.0, 1.0, 2.0, np.nan]), 0.75)
    3.0
    """
    import numpy as np

    index = find_rank(q, len(values)) - 1
    value = float(np.partition(values, index)[index])
    return math.inf if math.isnan(value) else value


def select_weighted_quantile(weighted: Iterable[tuple[float, float]], q: float) -> float:
    """Return the quantile `q`, from 0 to 1, of one or more pairs of a value and its weight.

    A weight of 2 is as good as the value twice; it need not be whole.

    >>> select_weighted_quantile([(10.0, 1), (1.0, 2), (3.0, 1)], 0.5)
    1.0
    """
    pairs = sorted(weighted)
    wanted = q * sum(weight for _, weight in pairs) - _ROUNDING
    reached = 0.0
    for value, weight in pairs:
        reached += weight
        if reached >= wanted:
            return value
    return pairs[-1][0]


def independent_needed(q: float) -> int:
    """Return how many independent requests a run must be worth for an interval of the quantile.

    Ten of them lie on either side of it, as of samples above it, and each batch has ten.

    >>> independent_needed(0.5), independent_needed(0.95), independent_needed(0.99)
    (100, 200, 1000)
    """
    return max(MIN_INDEPENDENT, samples_needed(max(q, 1 - q)))


def estimate_interval(
    values: "NDArray[np.float64]",
    q: float,
    *,
    confidence: float = 0.95,
    worth: float | None = None,
    extra: float = 0.0,
    ordered: "NDArray[np.float64] | None" = None,
) -> tuple[float, float]:
    """Return a confidence interval of the quantile `q` of values in order of time.

    Waits are correlated, so the variance of the share of values below the quantile comes from the
    shares in 10 consecutive batches (never less than that of independent values), and is carried
    back through the empirical distribution. Batches that are worth few independent values are
    correlated, too, and miss the rare long queues: the variance is raised by 4 over the number of
    independent values beyond the quantile, which has to be 10. `tests/benchmarks` shows that this
    holds. After Heidelberger and Lewis, "Quantile estimation in dependent sequences" (1984).

    Args:
        values: In order of time.
        q: Which quantile.
        confidence: How often such intervals contain the truth.
        worth: How many independent values they are worth; by default all.
        extra: The share of values that may be of the start alone; the interval holds without
            them, too. They are taken to be among the largest.
        ordered: The values by size, for who has them.

    An end beyond the largest value is infinite.

    Raises:
        InvalidInput: `confidence` is not between 0 and 1.
        TooFewSamples: The values are worth too few: see `independent_needed`.

    >>> import numpy as np
    >>> estimate_interval(np.arange(400.0), 0.5)
    (47.0, 352.0)
    """
    import numpy as np
    from scipy.special import stdtrit  # scipy.stats takes 80 MB

    confidence, count = inner_share("confidence", confidence), len(values)
    require_samples(q, count)
    worth = min(count, count if worth is None else worth)
    if worth < independent_needed(q):
        raise TooFewSamples(
            f"An interval of the {100 * q:g}th percentile needs {independent_needed(q):,} "
            f"independent requests, and these {count:,} are worth {worth:,.3g}."
        )
    ordered = np.sort(values) if ordered is None else ordered
    below = values <= ordered[find_rank(q, count) - 1]
    shares = np.array([part.mean() for part in np.array_split(below, INTERVAL_BATCHES)])
    error = math.sqrt(
        max(raise_variance(q, worth) * shares.var(ddof=1) / INTERVAL_BATCHES, q * (1 - q) / count)
    )
    reach = float(stdtrit(INTERVAL_BATCHES - 1, (1 + confidence) / 2)) * error
    low, high = q * (1 - extra) - reach, q + reach
    first = float(ordered[find_rank(low, count) - 1])
    return first, math.inf if high >= 1 else float(ordered[find_rank(high, count) - 1])


def raise_variance(q: float, worth: float) -> float:
    """Return the factor by which the variance of a share below the quantile is raised.

    >>> raise_variance(0.95, 200)
    1.4
    """
    return round(1 + 4 / (min(q, 1 - q) * worth), 9)


def cold_share_of_start(cold: "NDArray[np.bool_]") -> float:
    """Return the share of requests whose cold starts may be of a start from empty alone.

    It is how many more the first half has than the second: what goes on to the end belongs to the
    traffic. Negative where the second half has more.

    Args:
        cold: Whether each request met a cold start, in order of time.

    >>> import numpy as np
    >>> now_and_then = np.arange(100) % 5 == 0
    >>> cold_share_of_start(now_and_then), cold_share_of_start(np.arange(100) < 10)
    (0.0, 0.1)
    """
    half = len(cold) // 2
    return float(cold[:half].sum() - cold[len(cold) - half :].sum()) / len(cold)


def round_up(requests: float) -> int:
    """Round a number of requests up to two digits: nobody counts on more.

    >>> round_up(11654), round_up(7)
    (12000, 7)
    """
    step = 10 ** max(len(str(int(requests))) - 2, 0)
    return int(math.ceil(requests / step) * step)


def longest_within(limit: Seconds) -> Seconds:
    """Return the longest time, in seconds, that still counts as within a limit of so many.

    Latencies are differences of sums: within a year of seconds they are off by up to 10 ns, which
    must not make an answer late. Every comparison with a target or a limit of time uses this.

    >>> 0.1 + 0.2 <= 0.3, 0.1 + 0.2 <= longest_within(0.3), 0.300001 <= longest_within(0.3)
    (False, True, False)
    """
    return limit + 1e-8


def is_met(share: float, q: float) -> bool:
    """Return whether a share of requests in time meets a target for a share `q` of them.

    >>> is_met(19 / 20, 0.95), is_met(0.9499, 0.95)
    (True, False)
    """
    return share >= q - _SHARE_ROUNDING
