"""What a lesson is made of: a story, traffic, and exercises."""

from collections.abc import Sequence
from dataclasses import dataclass

from workbench.lessons.exercise import Exercise
from workbench.traffic.trace import Trace


@dataclass(frozen=True, eq=False)
class LessonPlan:
    """A lesson as a student gets it.

    Attributes:
        title: What it is about.
        story: What is known before a guess.
        trace: The student's own traffic.
        exercises: In their order.
    """

    title: str
    story: str
    trace: Trace
    exercises: Sequence[Exercise]
