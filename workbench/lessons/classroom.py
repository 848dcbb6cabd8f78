"""A lesson as a student takes it: predict, then reveal."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from html import escape
from typing import TYPE_CHECKING, Any

from workbench.errors import InvalidInput, NotFound
from workbench.findings.conclusion import Conclusion
from workbench.formatting import NO_FORMULA
from workbench.lessons import batching, cold_starts, spike
from workbench.lessons.answers import AnswerFile
from workbench.lessons.exercise import Exercise, LessonPlan, compare_guess
from workbench.lessons.student import Student
from workbench.validation import of_kind, suggest

if TYPE_CHECKING:
    from workbench.plots.figure import Figure

TOPICS: Mapping[str, Callable[[Student], LessonPlan]] = {
    cold_starts.TOPIC: cold_starts.plan_cold_starts,
    batching.TOPIC: batching.plan_batching,
    spike.TOPIC: spike.plan_spike,
}
"""The lessons there are, in the order in which they are taught."""


def lesson(
    topic: str, name: str, *, folder: str | os.PathLike[str] = "answers", reveal: bool = False
) -> "Lesson":
    """Return a lesson with traffic of the student's own: the same name gives the same traffic.

    ::

        own = wb.lesson("cold-starts", name="Ada")
        own                       # what is known, and what is asked
        own.guess("cold", 20)     # guess and outcome on one chart

    Args:
        topic: "cold-starts", "batching" or "spike".
        name: The student's.
        folder: Where guesses are kept, in a file without the name: that is what is handed in.
        reveal: Show outcomes where nothing was guessed, as a teacher does.

    Raises:
        NotFound: There is no such lesson.
        InvalidInput: The topic is no text, or the name is none.
    """
    if of_kind("topic", topic, str) not in TOPICS:
        near = suggest(topic, TOPICS)
        raise NotFound(f"No lesson {topic!r}: there are {', '.join(TOPICS)}.{near}")
    student = Student(name)
    return Lesson(topic, student, TOPICS[topic](student), folder, reveal=reveal)


class Lesson:
    """A lesson on a topic for one student; in a notebook it shows what is known and asked.

    `title`, `story`, `trace` and `exercises`, by name, are those of its plan.
    """

    def __init__(
        self,
        topic: str,
        student: Student,
        plan: LessonPlan,
        folder: str | os.PathLike[str],
        *,
        reveal: bool,
    ) -> None:
        self.topic, self.title, self.story = topic, plan.title, plan.story
        self.trace = replace(plan.trace, name="your requests")
        self.exercises = {each.name: each for each in plan.exercises}
        self._student, self._reveal = student, reveal
        self._answers = AnswerFile.find(folder, topic, student)
        self._begun = bool(self._answers.guesses)

    @property
    def guesses(self) -> dict[str, float]:
        """The guess of each exercise that counts: the first."""
        return {name: each["guess"] for name, each in self._answers.guesses.items()}

    def guess(self, exercise: str, guess: float | None = None) -> "Reveal":
        """Return guess and outcome; without a guess, the question.

        The first guess of an exercise is kept, and counts.

        Raises:
            NotFound: There is no such exercise.
            InvalidInput: The guess is no number, or one that cannot be.
            StorageError: It cannot be kept; the outcome is not shown then.
        """
        asked = self._find(exercise)
        if guess is not None:
            self._answers.add(exercise, asked.check(guess), asked.outcome)
        kept = self.guesses.get(exercise)
        return Reveal(asked, kept, again=guess not in (None, kept), shown=self._reveal)

    def conclude(self, exercise: str) -> Conclusion:
        """Return what the student's own traffic shows, once there is a guess.

        Raises:
            NotFound: There is no such exercise.
        """
        asked = self._find(exercise)
        if exercise not in self.guesses and not self._reveal:
            return Conclusion(f'Guess "{exercise}" first.', holds=None)
        return asked.conclude(asked.run)

    def _find(self, exercise: str) -> Exercise:
        if exercise not in self.exercises:
            there = ", ".join(self.exercises)
            near = suggest(exercise, self.exercises)
            raise NotFound(f"No exercise {exercise!r} in {self.topic}: there are {there}.{near}")
        return self.exercises[exercise]

    @property
    def _note(self) -> str:
        """What a second student of the same name is to know."""
        if not self._begun:
            return ""
        return (
            f"Guesses under this name are kept here already: {', '.join(self.guesses)}. Are they "
            "of another student? Then add something to your name."
        )

    def __repr__(self) -> str:
        return f"<Lesson {self.topic}: {len(self.guesses)} of {len(self.exercises)} guessed>"

    def __str__(self) -> str:
        asked = [f"  {each.name}: {each.ask}" for each in self.exercises.values()]
        return "\n".join([self.title, self.story, *asked, *([self._note] if self._note else [])])

    def _repr_html_(self) -> str:
        asked = "".join(
            f"<li><code>{each.name}</code>: {escape(each.ask)}</li>"
            for each in self.exercises.values()
        )
        note = f"<p>{escape(self._note)}</p>" if self._note else ""
        return (
            f'<div class="{NO_FORMULA}"><p><strong><bdi>{escape(self._student.name)}</bdi></strong>'
            f": {escape(self.story)}</p><ol>{asked}</ol>{note}</div>"
        )


@dataclass(frozen=True, eq=False)
class Reveal:
    """An exercise with the guess that counts, and what came out where it may be seen.

    Attributes:
        exercise: It.
        guess: The guess that counts; None where there is none.
        again: Whether another guess came after it.
        shown: Whether the outcome is shown without a guess.
    """

    exercise: Exercise
    guess: float | None
    again: bool = False
    shown: bool = False

    @property
    def outcome(self) -> float | None:
        """What came out; None before there is a guess."""
        return self.exercise.outcome if self.shown or self.guess is not None else None

    @property
    def sentence(self) -> str:
        """Guess and outcome in words, or the question."""
        write, outcome, guess = self.exercise.write, self.outcome, self.guess
        if outcome is None:
            return f"{self.exercise.ask} Write your guess in place of None, in {self._unit}."
        came = f"{write(outcome)} came out, simulated"
        if guess is None:
            return f"{came}."
        first = "Your first guess counts: " if self.again else "You guessed "
        return f"{first}{write(guess)}. {came}: {compare_guess(guess, outcome)}."

    @property
    def _unit(self) -> str:
        return {"%": "percent", "$": "US dollars a month"}.get(
            self.exercise.unit, self.exercise.unit
        )

    @cached_property
    def figure(self) -> "Figure":
        """Guess and outcome, on the outcome over the setting that it depends on.

        Raises:
            InvalidInput: There is no guess yet.
        """
        from workbench.plots.guesses import plot_guess

        if self.outcome is None:
            raise InvalidInput(f"{self.exercise.name} is not guessed yet: guess, then look.")
        each = self.exercise
        return plot_guess(
            each.curve,
            at=each.at,
            guess=self.guess,
            axes=(each.axis, f"{each.title} ({each.unit})"),
            title=f"{each.title}: guess and outcome",
            sentence=self.sentence,
        )

    def __repr__(self) -> str:
        return self.sentence

    def _repr_mimebundle_(self, **_: object) -> Any:  # noqa: ANN401 - IPython's protocol
        if self.outcome is None:
            text = f'<p class="{NO_FORMULA}">{escape(self.sentence)}</p>'
            return {"text/html": text, "text/plain": self.sentence}, {}
        return self.figure._repr_mimebundle_()
