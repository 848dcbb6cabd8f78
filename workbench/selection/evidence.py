"""How accurate a model is in this traffic, how sure that is, and whether two differ at all.

Accuracy is kept by kind of request and weighted by the traffic's own mix: that of a whole pool is
of the pool's mix (SneakPeek, arXiv 2505.06641).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from workbench.errors import InvalidInput
from workbench.measuring.outcomes import Outcomes

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from workbench.registry.model import Model


@dataclass(frozen=True, eq=False, kw_only=True)
class Evidence:
    """What is known of a model's accuracy.

    Attributes:
        accuracy: Share of right answers in this traffic, or another metric; NaN: not known.
        interval: That of the accuracy at 95 %; NaN where no rows tell.
        metric: "accuracy", or what a model of another kind is measured by.
        outcomes: What it answers to each row of its pool; None where that tells nothing.
        mix: The share of each kind of request; empty where none are known.
        pool: Which pool the rows are of.
        note: Why something is not known.
        remedy: What would make it known.
    """

    accuracy: float
    interval: tuple[float, float] = (math.nan, math.nan)
    metric: str = "accuracy"
    outcomes: Outcomes | None = None
    mix: Mapping[str, float] = field(default_factory=dict)
    pool: str = ""
    note: str = ""
    remedy: str = "register it with samples that have targets"

    def lower_bound(self, risk: float) -> float:
        """Return what the accuracy is at least, but for a chance of `risk`; NaN if not known.

        The bound holds for any number of rows: C. Clopper and E. Pearson (1934), of each kind
        of request, the risk divided among the kinds.

        >>> right = Outcomes(np.ones(58), np.ones(58), np.ones(58))
        >>> round(Evidence(accuracy=1.0, outcomes=right).lower_bound(0.05), 4)  # 0.05 ** (1 / 58)
        0.9497
        """
        if self.outcomes is None:
            return math.nan
        from scipy.special import betaincinv

        bound, strata = 0.0, list(self.strata())
        for share, rows in strata:
            right = round(float(self.outcomes.correct[rows].sum()))
            # without a right answer the bound is 0; the risk is divided, as all bounds have to hold
            if right:
                ends = right, len(rows) - right + 1
                bound += share * float(betaincinv(*ends, risk / len(strata)))
        return bound

    def strata(self) -> Iterator[tuple[float, NDArray[np.int64]]]:
        """Yield the share of each kind of request, and which rows of the pool are of it."""
        assert self.outcomes is not None  # noqa: S101 - who asks has seen to it
        context = self.outcomes.context
        if context is None or not self.mix:
            yield 1.0, np.arange(len(self.outcomes))
        else:
            for kind, share in self.mix.items():
                yield share, np.flatnonzero(context == kind)


UNMEASURED = Evidence(
    accuracy=math.nan,
    note="what it answers to its pool is not known",
    remedy="selection.measure() finds it out",
)
"""What is known where answers are not kept and not to be measured now."""


def gather_evidence(model: Model, mix: Mapping[str, float], outcomes: Outcomes | None) -> Evidence:
    """Return what is known of a model's accuracy in traffic of a mix of kinds of request.

    A model whose samples have no targets has the accuracy that was recorded, without an interval.

    Args:
        model: The model.
        mix: The share of each kind; empty where none are known.
        outcomes: What it answers to its pool; None for what is no classifier, and where that is
            not known yet.
    """
    traits = model.traits
    recorded = math.nan if traits.accuracy is None else float(traits.accuracy)
    if outcomes is None:
        known = UNMEASURED if traits.kind == "classification" else Evidence(accuracy=recorded)
        return replace(known, accuracy=recorded, metric=traits.metric or "score")
    if np.isnan(outcomes.correct).any():
        note = "its samples have no targets to count right answers by"
        return Evidence(accuracy=recorded, note=note)
    try:
        found = outcomes.accuracy_for(mix)
    except InvalidInput as error:
        return Evidence(accuracy=math.nan, note=str(error).rstrip("."))
    return Evidence(
        accuracy=found.share,
        interval=(found.low, found.high),
        outcomes=outcomes,
        mix=mix,
        pool=model.samples_sha256,
    )


def compare_accuracy(one: Evidence, other: Evidence) -> float:
    """Return the p-value of equal accuracy: how often chance alone would make such a difference.

    McNemar's exact test on the rows that one of the two alone answers right (Q. McNemar, 1947);
    over several kinds of request, the difference at the traffic's mix against its standard error.
    NaN where they did not answer the same rows.

    >>> pair = [Outcomes(right, right, right) for right in (np.ones(20), np.arange(20) // 6 > 0.0)]
    >>> compare_accuracy(*(Evidence(accuracy=0.9, outcomes=each) for each in pair))  # 2 / 2**6
    0.03125
    """
    if one.outcomes is None or other.outcomes is None or one.pool != other.pool:
        return math.nan
    from scipy import special

    mine, its = one.outcomes.correct, other.outcomes.correct
    if len(mine) != len(its):
        return math.nan
    strata = list(one.strata())
    if len(strata) == 1:
        rows = strata[0][1]
        alone = int((mine > its)[rows].sum()), int((its > mine)[rows].sum())
        return min(1.0, 2 * float(special.bdtr(min(alone), sum(alone), 0.5)))
    difference = variance = 0.0
    for share, rows in strata:
        each = mine[rows] - its[rows]
        difference += share * float(each.mean())
        variance += share**2 * float(each.var()) / len(rows)
    if not variance:
        return float(difference == 0)
    return float(2 * special.ndtr(-abs(difference) / math.sqrt(variance)))
