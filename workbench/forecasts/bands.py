"""Bands around forecasts that hold what they promise: the quantiles of errors that were made."""

from bisect import bisect_left, insort
from collections import deque
from dataclasses import dataclass, field

from workbench.errors import TooFewSamples
from workbench.quantiles import find_rank
from workbench.validation import finite, inner_share, whole_number


@dataclass(frozen=True)
class Conformal:
    """Quantiles of the next error from the last ones: split conformal prediction, rolling.

    Of n errors and the next, in any order equally likely, the next is at most the k-th smallest
    with probability k / (n + 1), or more where some are equal (V. Vovk, A. Gammerman and G. Shafer,
    "Algorithmic Learning in a Random World", 2005; J. Lei and others, JASA 2018). So a quantile
    from the median upwards is never too low, and one below never too high. After errors have
    changed for good, quantiles hold again once `window` more are known.

    Attributes:
        window: How many of the last errors count, at least 1.

    >>> errors = Conformal(window=9)
    >>> for error in range(20):
    ...     errors.add(error)
    >>> errors.find(0.5), errors.find(0.9), errors.find(0.1)
    (15.0, 19.0, 11.0)
    """

    window: int
    _recent: deque[float] = field(default_factory=deque, init=False, repr=False, compare=False)
    _ordered: list[float] = field(default_factory=list, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        whole_number("window", self.window, low=1)

    def __len__(self) -> int:
        return len(self._recent)

    def add(self, error: float) -> None:
        """Take in one more error, a finite number; the oldest beyond the window is forgotten."""
        error = finite("error", error)
        if len(self._recent) == self.window:
            del self._ordered[bisect_left(self._ordered, self._recent.popleft())]
        self._recent.append(error)
        insort(self._ordered, error)

    def find(self, quantile: float) -> float:
        """Return the quantile of the next error; minus infinity where that is all one can say.

        Raises:
            InvalidInput: The quantile is not between 0 and 1.
            TooFewSamples: The errors are too few for one so high.
        """
        upper, others = inner_share("quantile", quantile) >= 0.5, len(self) + 1
        if not upper:
            rank = others - find_rank(1 - quantile, others)
            return self._ordered[rank - 1] if rank else float("-inf")
        rank = find_rank(quantile, others)
        if rank == others:
            raise TooFewSamples(
                f"The quantile {quantile:g} needs {errors_needed(quantile)} errors of forecasts, "
                f"got {len(self)}: fit more counts, or ask for a lower one."
            )
        return self._ordered[rank - 1]


def errors_needed(quantile: float) -> int:
    """Return the least number of errors that say what the quantile of the next one is.

    >>> errors_needed(0.5), errors_needed(0.95), errors_needed(0.883)
    (1, 19, 8)
    """
    high = max(quantile, 1 - quantile)
    least = int(high / (1 - high))
    return next(n for n in range(max(1, least - 1), least + 3) if find_rank(high, n + 1) <= n)
