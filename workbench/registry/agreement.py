"""How a file answers beside the estimator that it was made of: a trait of a version."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

NOT_CHECKED = "not checked"
"""What is said of a file that came without its estimator, or before the two were compared."""

NOT_COMPARED = f"{NOT_CHECKED}, since it came without its estimator (estimator= in Python)"
"""The same, with what to do."""

MIN_SHARE = 0.99
"""Least share of equal answers: 2 of 256 rows may fall on another side of a rounded threshold."""

SCORES_APART = 0.01
"""By how much probabilities may differ before they are another model's."""


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """How a file answers beside the estimator that it was made of.

    Attributes:
        rows: How many rows both were asked; 0 where there are none that both take.
        share: Share of them with equal first outputs: the same label, or values that differ by
            less than a hundredth of their standard deviation; None of 0 rows.
        differences: Largest difference of each output that is no label, by name; None where the
            estimator has nothing to compare with, the largest float where one is not finite.
        missing_rows: How many rows with missing values both were asked besides.
        missing_share: Share of those with equal first outputs.

    >>> print(Agreement(rows=256, share=1.0, differences=(("probabilities", 0.08),)))
    equal to its estimator's in 100.0 % of 256 rows, probabilities within 0.08
    """

    rows: int
    share: float | None
    differences: tuple[tuple[str, float | None], ...] = ()
    missing_rows: int = 0
    missing_share: float | None = None

    @property
    def scores_apart(self) -> float:
        """How far a classifier's probabilities are off, 0 where that is rounding or not known."""
        sizes = [size for _, size in self.differences if size is not None]
        return max((size for size in sizes if size > SCORES_APART), default=0.0)

    def __str__(self) -> str:
        if self.share is None:
            return f"{NOT_CHECKED}: no rows that estimator and file take"
        parts = [f"equal to its estimator's in {100 * self.share:.1f} % of {self.rows} rows"]
        for name, size in self.differences:
            parts.append(f"{name} not compared" if size is None else f"{name} within {size:.2g}")
        if self.missing_share is not None:
            equal = f"{100 * self.missing_share:.1f} % of {self.missing_rows}"
            parts.append(f"equal in {equal} rows with missing values")
        return ", ".join(parts)


def read_agreement(facts: Mapping[str, Any] | None) -> Agreement | None:
    """Return what was kept as JSON values; None where nothing was."""
    if facts is None:
        return None
    differences = tuple((name, size) for name, size in facts["differences"])
    return Agreement(**{**facts, "differences": differences})
