"""A threshold for a cascade that keeps a promise: what it loses against the large model, at most.

The threshold is chosen on some rows and measured on the others. Choosing is learn-then-test
(Angelopoulos, Bates, Candès, Jordan and Lei, arXiv 2110.01052, 2021): thresholds fixed beforehand
are tested in order, from the safest on, until one fails (fixed-sequence testing), so that the
chance that the chosen one loses more than `loss` is at most 1 - `confidence`, however many are
tried and whatever the models are. It holds for rows like those that were drawn, each on its own.

The loss of a row is 1 where the large model alone would have been right, -1 where the small one
answers and it alone is right, and 0 elsewhere; of n rows `lost` have 1 and `won` have -1. Let q be
Clopper and Pearson's lower limit, at an error of g, for the share that is won. A threshold passes
if P(Binomial(n, loss + q) <= lost) <= 1 - confidence - g. One whose mean loss is above `loss`
loses more than loss + q of all rows unless q is too high, and that has a probability of g at most:
so it passes with one of 1 - confidence at most (Berger and Boos, Journal of the American
Statistical Association 89:1012, 1994). Both limits are exact, for any number of rows; g is a tenth
of the error allowed.
"""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from workbench.errors import InvalidInput, TooFewSamples
from workbench.routing.cascade import Cascade, is_sure
from workbench.validation import Seed, as_array, generator_from, inner_share

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import ArrayLike, NDArray

_SHARE_OF_ERROR = 0.1  # spent on how much is won
_MOST_ROWS = 2**40  # more than any data set has


@dataclass(frozen=True, kw_only=True)
class CascadePromise:
    """A threshold, what it promises, and what it does on rows that had no part in choosing it.

    Attributes:
        threshold: The least confidence with which the small model's answer is given.
        loss: The most accuracy that is lost against the large model.
        confidence: The probability with which that holds.
        chosen_on: Rows on which the threshold was chosen.
        measured_on: Other rows, on which the figures below were measured.
        escalated: Share of them that goes to the large model.
        accuracy: Share of them that the cascade answers right.
        accuracy_interval: Its 95 % interval (Clopper and Pearson).
        small_accuracy: The same share of the small model alone.
        large_accuracy: The same share of the large model alone.
    """

    threshold: float
    loss: float
    confidence: float
    chosen_on: int
    measured_on: int
    escalated: float
    accuracy: float
    accuracy_interval: tuple[float, float]
    small_accuracy: float
    large_accuracy: float

    @property
    def sentence(self) -> str:
        """The promise and what was measured, in words."""
        low, high = self.accuracy_interval
        return (
            f"At threshold {self.threshold:g} at most {self.loss:.2%} of the answers are lost "
            f"against the large model, with confidence {self.confidence:.0%} (chosen on "
            f"{self.chosen_on:,} rows). On {self.measured_on:,} others {self.accuracy:.1%} "
            f"({low:.1%} to {high:.1%}) are right, {self.large_accuracy:.1%} by the large model "
            f"alone, {self.small_accuracy:.1%} by the small one; {self.escalated:.0%} go to the "
            "large one."
        )

    def cascade(self, small: str, large: str) -> Cascade:
        """Return the cascade of two places that keeps it."""
        return Cascade(small, large, self.threshold)


@dataclass(frozen=True)
class _Paired:
    """Two models' answers to the same rows."""

    small: "NDArray[np.bool_]"
    sure: "NDArray[np.float64]"
    large: "NDArray[np.bool_]"

    def select(self, rows: "NDArray[np.intp]") -> "_Paired":
        return _Paired(self.small[rows], self.sure[rows], self.large[rows])

    def count(self, thresholds: "NDArray[np.float64]") -> "NDArray[np.int64]":
        """Return how many rows are lost, and how many won, against the large model at each."""
        import numpy as np

        lost, won = self.sure[self.large & ~self.small], self.sure[self.small & ~self.large]
        return np.array(
            [[is_sure(rows, each).sum() for each in thresholds] for rows in (lost, won)]
        )


@dataclass(frozen=True)
class _LossTest:
    """The test whether the mean loss is above `loss`, at a level of 1 - confidence."""

    loss: float
    confidence: float

    @property
    def _error_won(self) -> float:
        return _SHARE_OF_ERROR * (1 - self.confidence)

    def passes(
        self, rows: int, lost: "NDArray[np.int64]", won: "NDArray[np.int64]"
    ) -> "NDArray[np.bool_]":
        """Return whether as few rows as these lost, and as many won, rule a larger loss out."""
        import numpy as np
        from scipy.special import betainc

        share = np.minimum(self.loss + _least_share(won, rows, self._error_won), 1)
        all_lost = lost >= rows  # below: P(Binomial(rows, share) <= lost)
        as_few = betainc(rows - lost + all_lost, lost + 1, 1 - share) + all_lost
        return np.asarray(as_few <= 1 - self.confidence - self._error_won)

    def count_rows(self, lost: float, won: float) -> int | None:
        """Return about how many rows it takes where these shares are lost and won; None: no number.

        Rounding up what is lost and down what is won makes a few more of them rather than fewer.
        """
        import numpy as np

        def enough(rows: int) -> bool:
            return bool(self.passes(rows, np.ceil(rows * lost), np.floor(rows * won)))

        high = 1
        while not enough(high):
            high *= 2
            if high > _MOST_ROWS:
                return None
        low = high // 2
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (low, middle) if enough(middle) else (middle, high)
        return high


def choose_threshold(
    small_correct: "ArrayLike",
    small_confidence: "ArrayLike",
    large_correct: "ArrayLike",
    *,
    loss: float = 0.01,
    confidence: float = 0.95,
    thresholds: "ArrayLike | None" = None,
    share: float = 0.5,
    seed: Seed = 0,
) -> CascadePromise:
    """Choose the lowest threshold that keeps the promise, so that the fewest rows are escalated.

    Args:
        small_correct: Shape (n,): whether the small model is right, by row.
        small_confidence: Shape (n,), from 0 to 1: how sure it is; NaN where that is not known.
        large_correct: Shape (n,): whether the large model is right on the same rows.
        loss: The most accuracy that may be lost against the large model.
        confidence: How sure that must be.
        thresholds: Those to try, fixed without a look at these rows, by default from 0.999999
            down to 0; a single one is tested as it is.
        share: Of the rows, on which to choose; the others measure.
        seed: Divides them.

    Raises:
        InvalidInput: The arrays are not what they must be, or a setting is out of its range.
        TooFewSamples: No threshold keeps the promise on so few rows; it says how many it takes.

    >>> import numpy as np
    >>> rng = np.random.default_rng(1)
    >>> sure = rng.random(4000)
    >>> promise = choose_threshold(rng.random(4000) < 0.5 + sure / 2, sure, rng.random(4000) < 0.98)
    >>> promise.threshold < 1, promise.chosen_on, promise.measured_on
    (True, 2000, 2000)
    """
    paired = _pair(small_correct, small_confidence, large_correct)
    test = _LossTest(inner_share("loss", loss), inner_share("confidence", confidence))
    rows = generator_from(seed).permutation(len(paired.sure))
    choosing = round(inner_share("share", share) * len(rows))
    if not 0 < choosing < len(rows):
        raise InvalidInput(f"{len(rows)} rows cannot be divided: share is {share!r}.")
    chosen = _descend(test, paired.select(rows[:choosing]), _order(thresholds), share)
    return _measure(test, paired.select(rows[choosing:]), chosen, choosing)


def _pair(
    small_correct: "ArrayLike", small_confidence: "ArrayLike", large_correct: "ArrayLike"
) -> _Paired:
    """Return the arrays as they must be; raise where they are not."""
    import numpy as np

    given = {
        "small_correct": as_array("small_correct", small_correct),
        "small_confidence": as_array("small_confidence", small_confidence),
        "large_correct": as_array("large_correct", large_correct),
    }
    shapes = {name: array.shape for name, array in given.items()}
    if len(set(shapes.values())) > 1 or given["large_correct"].ndim != 1:
        raise InvalidInput(f"The arrays must have one value for each row alike, got {shapes}.")
    for name in ("small_correct", "large_correct"):
        if not np.isin(given[name], (0, 1)).all():
            raise InvalidInput(f"{name} must say of each row whether it is right: 0 or 1.")
    sure = given["small_confidence"]
    # rounding may take a confidence above 1
    if sure.dtype.kind not in "fiub" or not (np.isnan(sure) | ((sure >= 0) & (sure < 1.001))).all():
        raise InvalidInput("small_confidence must be from 0 to 1, or NaN where it is not known.")
    small, large = given["small_correct"].astype(bool), given["large_correct"].astype(bool)
    return _Paired(small, sure.astype(np.float64), large)


def _order(thresholds: "ArrayLike | None") -> "NDArray[np.float64]":
    """Return the thresholds to try, the safest first; more of them cost nothing."""
    import numpy as np

    if thresholds is None:
        return np.unique((1 - np.geomspace(1e-6, 1, 241)).round(6))[::-1]
    given = np.atleast_1d(as_array("thresholds", thresholds))
    if given.dtype.kind not in "fi" or not given.size or not ((given >= 0) & (given < 1)).all():
        raise InvalidInput(
            f"thresholds must lie from 0 to below 1, got {thresholds!r}: at 1 the large model "
            "answers everything, which needs no promise."
        )
    return np.unique(given.astype(np.float64))[::-1]


def _descend(test: _LossTest, paired: _Paired, order: "NDArray[Any]", share: float) -> float:
    """Return the last threshold in order before one fails the test; raise where the first does."""
    import numpy as np

    rows = len(paired.sure)
    lost, won = paired.count(order)
    # the first that fails, or the one appended where none does
    passing = int(np.append(test.passes(rows, lost, won), [False]).argmin())
    if passing:
        return float(order[passing - 1])
    needed = test.count_rows(lost[0] / rows, won[0] / rows)
    advice = (
        f"it takes about {math.ceil(needed / share):,} in all"
        if needed
        else "no number of rows will do"
    )
    raise TooFewSamples(
        f"{rows:,} rows cannot show, with confidence {test.confidence:g}, that at most "
        f"{test.loss:g} of the answers are lost at threshold {order[0]:g}: {lost[0]} are lost and "
        f"{won[0]} won there. At these shares {advice}; or allow a larger loss, or less confidence."
    )


def _least_share(counts: "NDArray[np.int64]", rows: int, error: float) -> "NDArray[np.float64]":
    """Return Clopper and Pearson's lower limits of the shares that so many of all rows show."""
    import numpy as np
    from scipy.special import betaincinv

    # `betaincinv` takes no 0, whose limit is 0
    some = np.maximum(counts, 1)
    return np.asarray(betaincinv(some, rows - some + 1, error) * (counts > 0))


def _measure(test: _LossTest, paired: _Paired, threshold: float, chosen_on: int) -> CascadePromise:
    """Return what the threshold does on rows that had no part in choosing it."""
    import numpy as np

    by_small = is_sure(paired.sure, threshold)
    right = np.where(by_small, paired.small, paired.large)
    lowest = _least_share(np.array([right.sum(), (~right).sum()]), len(right), 0.025)
    return CascadePromise(
        threshold=threshold,
        loss=test.loss,
        confidence=test.confidence,
        chosen_on=chosen_on,
        measured_on=len(right),
        escalated=float((~by_small).mean()),
        accuracy=float(right.mean()),
        accuracy_interval=(float(lowest[0]), 1 - float(lowest[1])),
        small_accuracy=float(paired.small.mean()),
        large_accuracy=float(paired.large.mean()),
    )
