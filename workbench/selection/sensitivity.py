"""At which weight, price, rate and target another candidate is first, by search, and verified.

A quantity is tried on a grid; where two neighbours have different winners the step is halved until
it is small. What is reported was decided on both sides of it.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from workbench.selection.weights import CRITERIA, find_best, normalise

if TYPE_CHECKING:
    from workbench.selection.question import Question
    from workbench.selection.standings import Standings
    from workbench.selection.weights import Floats, Shares

Winner = Callable[[float], str]
"""Who is first where a quantity has a value; "" where nothing passes."""

NOTHING = "nothing passes"

_WEIGHTS = (0.001, *np.linspace(0.01, 0.99, 99).tolist(), 0.999)  # at the ends one alone counts
_PRICES = tuple(np.geomspace(0.1, 10, 61).tolist())  # a tenth to ten times, in steps of 8 %
_TARGETS = tuple(np.linspace(0, 1, 101).tolist())  # every per cent
_FACTORS = tuple(np.geomspace(0.1, 10, 7).tolist())  # each twice the one before, about


class Flip(NamedTuple):
    """Where the winner changes.

    Attributes:
        quantity: What changes, in words.
        now: Its value in the question.
        below: Up to which value one is first.
        above: From which value another is.
        first_below: Who is first at `below`.
        first_above: Who is first at `above`.
    """

    quantity: str
    now: float
    below: float
    above: float
    first_below: str
    first_above: str

    @property
    def sentence(self) -> str:
        """The flip in a sentence."""
        at = f"{(self.below + self.above) / 2:.3g}"
        return (
            f"Up to a {self.quantity} of {at} (now {self.now:.3g}): {self.first_below}; "
            f"above: {self.first_above}."
        )


def find_flips(
    quantity: str,
    winner: Winner,
    grid: Sequence[float],
    *,
    now: float,
    tolerance: float,
    ratio: bool = False,
) -> list[Flip]:
    """Return where the winner changes along a grid, each step halved to the tolerance.

    Args:
        quantity: In words.
        winner: Who is first at a value.
        grid: Values in order.
        now: The value in the question.
        tolerance: The widest step that is left; with `ratio`, as a share of the value.
        ratio: Whether steps are halved by their ratio.

    >>> find_flips("size", lambda x: "big" if x > 0.3 else "small", [0.0, 1.0],
    ...            now=0.5, tolerance=0.01)[0][2:]
    (0.296875, 0.3046875, 'small', 'big')
    """
    points = [_Point(value, winner(value)) for value in grid]
    flips = []
    for low, high in pairwise(points):
        while low.first != high.first:
            below, above = _narrow(low, high, winner, tolerance=tolerance, ratio=ratio)
            firsts = (each.first or NOTHING for each in (below, above))
            flips.append(Flip(quantity, now, below.value, above.value, *firsts))
            low = above  # noqa: PLW2901 - a third one may be first between the two
    return flips


class FlipRange(NamedTuple):
    """The values of a quantity that were looked at, and who is first where.

    Attributes:
        quantity: In words.
        now: Its value in the question.
        low: The lowest.
        high: The highest.
        first: Who is first at the lowest.
        flips: Where the winner changes, in order.
        ratio: Whether values are multiples of one another, not steps apart.
    """

    quantity: str
    now: float
    low: float
    high: float
    first: str
    flips: list[Flip]
    ratio: bool

    @property
    def regions(self) -> list[tuple[float, float, str]]:
        """From which value to which one is first, in order.

        >>> flip = Flip("size", 0.5, 0.25, 0.35, "small", "big")
        >>> FlipRange("size", 0.5, 0.0, 1.0, "small", [flip], False).regions
        [(0.0, 0.3, 'small'), (0.3, 1.0, 'big')]
        """
        middles = [(flip.below + flip.above) / 2 for flip in self.flips]
        firsts = [self.first, *(flip.first_above for flip in self.flips)]
        return list(zip([self.low, *middles], [*middles, self.high], firsts, strict=True))


def search_range(
    quantity: str,
    winner: Winner,
    grid: Sequence[float],
    *,
    now: float,
    tolerance: float,
    ratio: bool = False,
) -> FlipRange:
    """Return who is first along a grid; arguments are those of `find_flips`."""
    winner = cache(winner)
    flips = find_flips(quantity, winner, grid, now=now, tolerance=tolerance, ratio=ratio)
    return FlipRange(quantity, now, grid[0], grid[-1], winner(grid[0]) or NOTHING, flips, ratio)


class _Point(NamedTuple):
    """A value, and who is first there."""

    value: float
    first: str


def _narrow(
    low: _Point, high: _Point, winner: Winner, *, tolerance: float, ratio: bool
) -> tuple[_Point, _Point]:
    """Return two near values, at the lower of which the same is first as at `low`."""
    while high.value - low.value > tolerance * (high.value if ratio else 1):
        product = low.value * high.value
        middle = math.sqrt(product) if ratio else (low.value + high.value) / 2
        found = _Point(middle, winner(middle))
        low, high = (found, high) if found.first == low.first else (low, found)
    return low, high


def shift_weight(shares: Shares, index: int, weight: float) -> Shares:
    """Return weights where one has this share and the others keep their ratio.

    >>> shift_weight((0.5, 0.25, 0.25), 0, 0.8)
    (0.8, 0.1, 0.1)
    """
    rest = [0.0 if number == index else share for number, share in enumerate(shares)]
    total = sum(rest)
    if not total:  # the others weigh nothing: they share alike what is left
        rest, total = [float(number != index) for number in range(len(rest))], 2.0
    moved = [round((1 - weight) * share / total, 12) for share in rest]
    moved[index] = weight
    return normalise(moved)


def list_cheap_ranges(standings: Standings) -> list[FlipRange]:
    """Return the ranges that need no planning: of weights or accuracy needed, and of prices."""
    by_target = standings.question.target is not None
    ranges = [_search_targets(standings)] if by_target else _search_weights(standings)
    passing = zip(standings.rows, standings.passes, strict=True)
    for kind in dict.fromkeys(row.priced_as for row, passes in passing if passes):
        alike = np.array([row.priced_as == kind for row in standings.rows])

        def winner(factor: float, alike: np.ndarray = alike) -> str:
            return name_first(standings, prices=np.where(alike, factor, 1.0))

        quantity = f"price of {kind}, as a multiple"
        terms: dict[str, Any] = {"now": 1.0, "tolerance": 1e-4, "ratio": True}
        ranges.append(search_range(quantity, winner, _PRICES, **terms))
    return ranges


def _search_weights(standings: Standings) -> list[FlipRange]:
    shares, ranges = standings.question.weights.shares, []
    names = (standings.question.quality.replace("_", " "), *CRITERIA[1:])
    for index, name in enumerate(names):

        def winner(weight: float, index: int = index) -> str:
            return name_first(standings, shift_weight(shares, index, weight))

        terms: dict[str, Any] = {"now": shares[index], "tolerance": 1e-6}
        grid = sorted({*_WEIGHTS, shares[index]})
        ranges.append(search_range(f"weight of {name}", winner, grid, **terms))
    return ranges


def _search_targets(standings: Standings) -> FlipRange:
    """Return the accuracies asked for and the cheapest of each; bounds keep their risk.

    Below the target only where it excluded nobody: what it excluded was not planned for.
    """
    now = standings.question.target
    assert now is not None  # noqa: S101 - who asks has seen to it
    bounds = np.array([row.bound for row in standings.rows])
    unplanned = np.array([row.found is None for row in standings.rows])
    lowest = now if (bounds[unplanned] < now).any() else 0.0
    scores = -standings.figures.cost

    def winner(target: float) -> str:
        first = find_best(standings.figures, scores, standings.passes & (bounds >= target))
        return "" if first is None else standings.rows[first].name

    grid = sorted({now, *(each for each in _TARGETS if each >= lowest)})
    return search_range("target of accuracy", winner, grid, now=now, tolerance=1e-6)


def name_first(
    standings: Standings, shares: Shares | None = None, prices: Floats | None = None
) -> str:
    """Return the model and inference type that are first; "" where nothing passes."""
    first = standings.decide(shares, prices=prices).first
    return "" if first is None else standings.rows[first].name


class PlannedRanges(NamedTuple):
    """Ranges each value of which was planned for.

    Attributes:
        ranges: Of the rate and of the latency target.
        values: How many values were planned for.
        searches: Searches for settings that they took.
        seconds: Spent on them.
    """

    ranges: list[FlipRange]
    values: int
    searches: int
    seconds: float

    @property
    def effort(self) -> str:
        """What they took, in a sentence."""
        return (
            f"Rate and latency target: {self.values} values planned for, by {self.searches} "
            f"searches for settings, {self.seconds:.1f} s."
        )


def search_planned_ranges(
    question: Question, first: str, decide: Callable[[Question], tuple[str, int]]
) -> PlannedRanges:
    """Return who is first by rate and by latency target: each value tried is planned for.

    Args:
        question: What was asked.
        first: Who is first now, which is not planned for again.
        decide: Returns who is first by another question, and how many searches that took.
    """
    began, searches = time.perf_counter(), []
    latency, rate = question.slo.latency, question.trace.rate
    changes: dict[str, tuple[float, Callable[[float], Question]]] = {
        "rate (requests a second)": (rate, lambda value: question.with_rate(value / rate)),
        "latency target (s)": (latency, question.with_latency),
    }
    ranges = []
    for quantity, (now, change) in changes.items():

        def winner(value: float, now: float = now, change: Any = change) -> str:  # noqa: ANN401
            if math.isclose(value, now):
                return first
            found, spent = decide(change(value))
            searches.append(spent)
            return found

        grid = [now * factor for factor in _FACTORS]
        ranges.append(search_range(quantity, winner, grid, now=now, tolerance=0.05, ratio=True))
    return PlannedRanges(ranges, len(searches), sum(searches), time.perf_counter() - began)


def find_price(standings: Standings, row: int) -> float | None:
    """Return the highest cost at which a candidate is first; None where it is first at none.

    Infinite where no cost up to a thousand times its own changes that.
    """
    name = standings.rows[row].name

    def is_first(factor: float) -> str:
        prices = np.ones(len(standings.rows))
        prices[row] = factor
        return "first" if name_first(standings, prices=prices) == name else "not first"

    flips = find_flips("", is_first, (1e-6, 1.0, 1e3), now=1.0, tolerance=1e-3, ratio=True)
    ends = [flip.below for flip in flips if flip.first_below == "first"]
    if not ends:
        return np.inf if is_first(1e3) == "first" else None
    return max(ends) * standings.rows[row].cost


def list_regions(standings: Standings, steps: int) -> list[tuple[Shares, str]]:
    """Return who is first on a triangle of weights, `steps` to a side."""
    shares = [
        normalise([a, b, steps - a - b]) for a in range(steps + 1) for b in range(steps + 1 - a)
    ]
    weighed = replace(standings.question, target=None)
    standings = replace(standings, question=weighed)
    return [(each, name_first(standings, each)) for each in shares]
