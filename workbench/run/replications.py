"""What independent repetitions of a simulation say of a quantile: kept as JSON with the run."""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np

from workbench.errors import InvalidInput
from workbench.quantiles import raise_variance
from workbench.traffic.trace import Floats
from workbench.validation import as_tuple, inner_share, keep, of_kind, whole_number

if TYPE_CHECKING:
    from collections.abc import Sequence

LEVELS: tuple[float, ...] = tuple(
    np.r_[np.arange(1, 90) / 100, np.arange(900, 990, 2) / 1000, np.arange(9900, 9996, 5) / 1e4]
    .round(4)
    .tolist()
)
"""Shares whose quantiles are kept."""

_MIN_BEYOND = 10.0  # independent requests on either side of a quantile


@dataclass(frozen=True, kw_only=True)
class Replications:
    """So many independent repetitions, and what they say together.

    Attributes:
        count: How many.
        about: What was drawn again in each, and what is counted.
        worth: How many independent requests they are worth; infinite where each is one whole.
        quantiles: Latencies of all together at the shares `LEVELS`, seconds.
        errors: Standard errors of the share of latencies below each.
        cold: The share of requests whose cold starts may be of the start from empty alone.

    Raises:
        InvalidInput: A value is not what it must be.
    """

    count: int
    about: str
    worth: float | None = None  # not in a saved run where it is infinite
    quantiles: tuple[float | None, ...]
    errors: tuple[float, ...]
    cold: float = 0.0

    def __post_init__(self) -> None:
        whole_number("count", self.count, low=2)
        of_kind("about", self.about, str, "a text")
        for name in ("quantiles", "errors"):
            values = as_tuple(name, getattr(self, name))
            if len(values) != len(LEVELS):
                raise InvalidInput(f"{name} must be {len(LEVELS)} numbers, got {len(values)}.")
            keep(self, **{name: values})

    @classmethod
    def of(
        cls,
        parts: "Sequence[Floats]",
        *,
        about: str,
        worth: float | None = None,
        cold: float = 0.0,
    ) -> Self:
        """Return what the latencies of each repetition say; NaN is a failure, and infinite."""
        ordered = [np.sort(np.where(np.isnan(part), np.inf, part)) for part in parts]
        pooled = np.sort(np.concatenate(ordered), kind="stable")  # merges what is in order
        # a float's 190.0000001 is 190
        ranks = np.ceil(np.array(LEVELS) * len(pooled) - 1e-9).astype(int) - 1
        quantiles = pooled[np.maximum(ranks, 0)]
        counts = np.array([np.searchsorted(each, quantiles, side="right") for each in ordered])
        sizes = np.array([len(each) for each in ordered])
        # of a ratio: repetitions of random traces differ in their number of requests
        residuals = (counts - sizes[:, None] * (counts.sum(0) / sizes.sum())) / sizes.mean()
        errors = np.sqrt((residuals**2).sum(0) / (len(parts) * (len(parts) - 1)))
        known = (value if math.isfinite(value) else None for value in quantiles.tolist())
        return cls(
            count=len(parts),
            about=about,
            worth=worth,
            quantiles=tuple(known),
            errors=tuple(errors.tolist()),
            cold=cold,
        )

    def quantile(self, q: float) -> float:
        """Return the quantile of all repetitions together, seconds, between kept ones on a line."""
        values = [math.inf if each is None else each for each in self.quantiles]
        return float(np.interp(q, LEVELS, values))

    def covers(self, q: float) -> bool:
        """Whether they say enough for an interval of a quantile."""
        beyond = math.inf if self.worth is None else min(q, 1 - q) * self.worth
        return LEVELS[0] <= q <= LEVELS[-1] and beyond >= _MIN_BEYOND

    def interval(self, q: float, *, confidence: float = 0.95) -> tuple[float, float]:
        """Return Student's interval of the share below the quantile, carried back to latencies.

        It holds with `cold` of the requests and without them, as that of a single run. An end
        beyond what is kept is 0 or infinite.
        """
        from scipy.special import stdtrit  # scipy.stats takes 80 MB

        confidence = inner_share("confidence", confidence)
        error = float(np.interp(q, LEVELS, self.errors))
        if self.worth is not None:
            error *= math.sqrt(raise_variance(q, self.worth))
        reach = float(stdtrit(self.count - 1, (1 + confidence) / 2)) * error
        low, high = q * (1 - self.cold) - reach, q + reach
        first = self.quantile(low) if low >= LEVELS[0] else 0.0
        return first, self.quantile(high) if high <= LEVELS[-1] else math.inf
