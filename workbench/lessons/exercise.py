"""Exercises, each a figure that is guessed first and simulated then, and the lesson they make."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from workbench.errors import InvalidInput
from workbench.findings.conclusion import Conclusion
from workbench.formatting import dollars, figure, percent
from workbench.run import Run
from workbench.traffic.trace import Trace

if TYPE_CHECKING:
    import polars as pl

RIGHT = 1.25
"""A guess is about right that differs from the outcome by at most this factor."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Exercise:
    """A question whose answer is a number, and how a simulation gives that number.

    Attributes:
        name: In a word, such as "cold".
        title: What is guessed, for charts.
        ask: The question.
        unit: Of the number; "$" stands before it, all others behind.
        axis: The setting that the answer depends on, with its unit.
        at: The student's own value of it.
        values: Those at which the answer is shown as well.
        simulate: Gives the run at a value.
        measure: Gives the number of a run, in the unit.
        conclude: Gives what the student's own run shows.
    """

    name: str
    title: str
    ask: str
    unit: str
    axis: str
    at: float
    values: Sequence[float]
    simulate: Callable[[float], Run]
    measure: Callable[[Run], float]
    conclude: Callable[[Run], Conclusion]

    @cached_property
    def run(self) -> Run:
        """What happens with the student's own traffic, simulated."""
        return self.simulate(self.at)

    @cached_property
    def outcome(self) -> float:
        """The number that was asked for, simulated."""
        return round(self.measure(self.run), 6)

    @cached_property
    def curve(self) -> "pl.DataFrame":
        """The outcome over the setting: value and outcome, simulated."""
        import polars as pl

        others = {value: self.measure(self.simulate(value)) for value in {*self.values} - {self.at}}
        found = dict(sorted({**others, self.at: self.outcome}.items()))
        values, outcomes = (list(map(float, each)) for each in (found, found.values()))
        return pl.DataFrame({"value": values, "outcome": outcomes})

    def check(self, guess: object) -> float:
        """Return a guess as a number.

        Raises:
            InvalidInput: It is none, or one that cannot be.
        """
        number = float(guess) if isinstance(guess, int | float | np.number) else -1.0
        most = 100.0 if self.unit == "%" else math.inf
        if isinstance(guess, bool) or not 0 <= number <= most or math.isinf(number):
            wanted = "from 0 to 100" if self.unit == "%" else "of 0 or more"
            raise InvalidInput(
                f"A guess of {self.name} must be a number {wanted}, in {self.unit}, got {guess!r}: "
                "write it without quotes and unit, such as 12.5."
            )
        return number

    def write(self, number: float) -> str:
        """Return a number with its unit, as it is said.

        >>> rest = dict.fromkeys(("title", "axis", "at", "values", "simulate", "measure"))
        >>> Exercise(name="bill", ask="How much?", unit="$", conclude=None, **rest).write(12)
        '$12.00'
        """
        match self.unit:
            case "%":
                return percent(number / 100)
            case "$":
                return dollars(number)
        return f"{figure(number)} {self.unit}"


def compare_guess(guess: float, outcome: float) -> str:
    """Return in words how far a guess is from the outcome.

    >>> compare_guess(10, 30), compare_guess(30, 10), compare_guess(9, 10), compare_guess(0, 4)
    ('3 times too low', '3 times too high', 'about right', 'too low')
    """
    low, high = sorted((guess, outcome))
    if high <= RIGHT * low or high == low:
        return "about right"
    side = "too low" if guess < outcome else "too high"
    return f"{figure(high / low)} times {side}" if low else side


@dataclass(frozen=True, eq=False)
class LessonPlan:
    """A lesson as a student gets it: what is known before a guess, own traffic, and exercises."""

    title: str
    story: str
    trace: Trace
    exercises: Sequence[Exercise]
