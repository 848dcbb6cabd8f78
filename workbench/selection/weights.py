"""Weighing candidates: arrays in, scores, front and winner out; nothing here is slow.

A score is the mean, by weight, of three merits, each 1 where nothing could be better::

    accuracy   (accuracy - least) / (1 - least)     least: the minimum that is needed, 0 without one
    latency    1 - latency / target                 target: that of the SLO
    cost       1 - cost / scale                     scale: the budget; without one, what the most
                                                    accurate candidate costs

No merit depends on who else is there but for that scale, so that a candidate nobody would take
changes no choice. Effective accuracy may stand in the place of accuracy.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from workbench.errors import InvalidInput
from workbench.validation import of_kind, positive

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Shares = tuple[float, float, float]
"""Weights of accuracy, latency and cost, which make 1."""

QUALITIES = ("accuracy", "effective_accuracy")
CRITERIA = ("accuracy", "latency", "cost")
_SAME = 1e-12  # scores nearer than this are equal


class Figures(NamedTuple):
    """What is weighed of each candidate, NaN where it is not known.

    Attributes:
        quality: Accuracy or effective accuracy: a share, or a metric of at most 1.
        latency: Seconds at the target's quantile.
        cost: US dollars per million requests.
    """

    quality: Floats
    latency: Floats
    cost: Floats

    @property
    def complete(self) -> Bools:
        """Which candidates have all three."""
        return np.isfinite(self.quality) & np.isfinite(self.latency) & np.isfinite(self.cost)


@dataclass(frozen=True, kw_only=True)
class Scale:
    """What 0 and 1 are on the scale of each merit: see the module."""

    least: float = 0.0
    target: float
    cost: float

    def merits(self, figures: Figures) -> Floats:
        """Return the merits of each candidate, shape (3, candidates)."""
        quality, latency, cost = figures
        saved = 1 - cost / self.cost if self.cost else np.where(cost > 0, 0.0, 1.0) + 0 * cost
        room = (quality - self.least) / (1 - self.least) if self.least < 1 else quality - 1
        return np.stack([room, 1 - latency / self.target, saved])


class Weights(NamedTuple):
    """The weights of a question, and which kind of accuracy they weigh.

    Attributes:
        shares: Of accuracy, latency and cost; 0 where one is not weighed.
        quality: "accuracy" or "effective_accuracy".
    """

    shares: Shares
    quality: str = "accuracy"

    @classmethod
    def read(cls, given: Mapping[str, float] | None) -> Self:
        """Return the weights of names; without any, all three weigh the same.

        Raises:
            InvalidInput: A name is unknown, a weight is not above 0, or both accuracies are given.

        >>> Weights.read({"accuracy": 3, "cost": 1}).shares
        (0.75, 0.0, 0.25)
        """
        if given is None:
            return cls((1 / 3, 1 / 3, 1 / 3))
        named = dict(of_kind("weights", given, Mapping, "numbers by name"))
        known = (*QUALITIES, *CRITERIA[1:])
        if not named or not set(named) <= set(known):
            raise InvalidInput(f"weights must be by name, of {', '.join(known)}; got {given!r}.")
        for name, weight in named.items():
            positive(f"The weight of {name}", weight)
        chosen = [name for name in QUALITIES if name in named]
        if len(chosen) > 1:
            raise InvalidInput(
                "weights name accuracy and effective_accuracy, which counts accuracy already: "
                "leave one out."
            )
        quality = chosen[0] if chosen else "accuracy"
        return cls(normalise([named.get(name, 0.0) for name in (quality, *CRITERIA[1:])]), quality)


def normalise(weights: "list[float] | Shares") -> Shares:
    """Return weights that make 1, none of them below 0.

    Raises:
        InvalidInput: One is below 0, or all are 0.

    >>> normalise([2, 0, 2])
    (0.5, 0.0, 0.5)
    """
    most = float(max(weights, default=0.0))
    if len(weights) != len(CRITERIA) or not most > 0 or min(weights) < 0:
        raise InvalidInput(f"Weights must be three numbers, 0 or more, not all 0: got {weights!r}.")
    parts = [float(weight) / most for weight in weights]  # whose sum is no infinite number
    quality, latency, cost = (part / sum(parts) for part in parts)
    return quality, latency, cost


def score(figures: Figures, shares: Shares, scale: Scale) -> Floats:
    """Return the score of each candidate; -inf where something that is weighed is not known.

    >>> figures = Figures(*np.array([[0.9, 0.8], [0.05, 0.02], [4.0, 1.0]]))
    >>> score(figures, (0.5, 0.0, 0.5), Scale(target=0.1, cost=4.0)).round(3).tolist()
    [0.45, 0.775]
    """
    weighed = [index for index, share in enumerate(shares) if share]
    merits = scale.merits(figures)[weighed]
    total: Floats = np.array(shares)[weighed] @ merits
    return np.where(np.isfinite(total), total, -np.inf)


def find_front(figures: Figures, eligible: Bools) -> Bools:
    """Return which of the eligible none beats: as good in all three, and better in one.

    What lacks a figure is not among them.

    >>> figures = Figures(*np.array([[0.9, 0.9, 0.8], [1, 2, 1], [5, 5, 4.0]]))
    >>> find_front(figures, np.ones(3, bool)).tolist()
    [True, False, True]
    """
    front = np.zeros(len(figures.cost), bool)
    rows = np.flatnonzero(eligible & figures.complete)
    rows = rows[np.lexsort((-figures.quality[rows], figures.latency[rows], figures.cost[rows]))]
    kept: list[int] = []
    points = np.stack([-figures.quality, figures.latency, figures.cost], axis=1)
    for row in rows.tolist():  # whoever beats a row stands before it
        before = points[kept]
        beaten = (before <= points[row]).all(axis=1) & (before < points[row]).any(axis=1)
        if not beaten.any():
            kept.append(row)
    front[kept] = True
    return front


def find_best(figures: Figures, scores: Floats, eligible: Bools) -> int | None:
    """Return the candidate with the highest score; None where no eligible one has a score.

    Of equal scores the cheapest comes first, then the fastest, then the more accurate, so that
    what another beats never wins.
    """
    rows = np.flatnonzero(eligible & np.isfinite(scores))
    if not len(rows):
        return None
    rows = rows[scores[rows] >= scores[rows].max() - _SAME]
    keys = [np.nan_to_num(column[rows], nan=np.inf) for column in (figures.cost, figures.latency)]
    quality = np.nan_to_num(figures.quality[rows], nan=-np.inf)
    return int(rows[np.lexsort((-quality, keys[1], keys[0]))[0]])


def equalise(figures: Figures, rows: list[int], quality: float) -> Figures:
    """Return the figures with one quality for some rows: of those that cannot be distinguished."""
    changed = figures.quality.copy()
    changed[rows] = quality
    return figures._replace(quality=changed)


def rescale(scale: Scale, figures: Figures, eligible: Bools, budget: float | None) -> Scale:
    """Return the scale with that of the cost: the budget, or the cost of the most accurate.

    Of several that are as accurate, it is that of the cheapest; infinite where none is known.
    """
    if budget is not None:
        return replace(scale, cost=budget)
    rows = np.flatnonzero(eligible & np.isfinite(figures.quality) & np.isfinite(figures.cost))
    if not len(rows):
        return replace(scale, cost=np.inf)
    order = np.lexsort((figures.cost[rows], -figures.quality[rows]))
    return replace(scale, cost=float(figures.cost[rows[order[0]]]))
