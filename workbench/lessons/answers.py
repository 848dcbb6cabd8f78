"""The guesses of students as files without a name, and what a class guessed, all together."""

import contextlib
import json
import math
import os
import re
import secrets
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workbench.errors import NotFound
from workbench.files import as_path, make_folder, write_file
from workbench.lessons.exercise import compare_guess
from workbench.lessons.student import Student

if TYPE_CHECKING:
    import polars as pl

    from workbench.plots.figure import Figure

FORMAT = 1  # of the file: any other is refused
_DAMAGE = ValueError, KeyError, TypeError, AttributeError, RecursionError
_NAME = re.compile("[a-z0-9-]{1,20}")  # of a lesson and of an exercise
_KEPT = {"format", "lesson", "id", "mark", "guesses"}


@dataclass
class AnswerFile:
    """The file of a student's guesses in a lesson, FOLDER/LESSON-ID.json.

    Its id is drawn, so that two students of one name have two files wherever they are brought
    together. In it is no name: a mark that was made from the name and the id finds the file again
    for who gives the same name.

    Attributes:
        folder: Where it is, or will be with the first guess.
        lesson: The topic.
        student: Whose it is.
        id: Drawn once.
        guesses: By exercise: guess and outcome.
    """

    folder: Path
    lesson: str
    student: Student
    id: str = field(default_factory=lambda: secrets.token_hex(8))
    guesses: dict[str, dict[str, float]] = field(default_factory=dict)

    @classmethod
    def find(cls, folder: str | os.PathLike[str], lesson: str, student: Student) -> "AnswerFile":
        """Return the student's file in a folder, or a new one."""
        folder = as_path(folder)
        for kept in _read(folder, f"{lesson}-*.json"):
            if kept["mark"] == student.mark(kept["id"]):
                return cls(folder, lesson, student, kept["id"], kept["guesses"])
        return cls(folder, lesson, student)

    @property
    def path(self) -> Path:
        """Where the answers are, or will be."""
        return self.folder / f"{self.lesson}-{self.id}.json"

    def add(self, exercise: str, guess: float, outcome: float) -> None:
        """Keep a guess; the first of an exercise stays.

        Raises:
            StorageError: It cannot be written; nothing is changed.
        """
        guesses = {**self.guesses}
        guesses.setdefault(exercise, {"guess": guess, "outcome": outcome})
        facts = {
            "format": FORMAT,
            "lesson": self.lesson,
            "id": self.id,
            "mark": self.student.mark(self.id),
            "guesses": guesses,
        }
        make_folder(self.folder)
        write_file(self.path, lambda file: file.write(json.dumps(facts, indent=1).encode()))
        self.guesses = guesses


def _read(folder: Path, pattern: str) -> Iterator[dict[str, Any]]:
    """Yield what is in answer files; of another file None is known."""
    for path in sorted(folder.glob(pattern)):
        with contextlib.suppress(*_DAMAGE, OSError):
            yield _check(json.loads(path.read_text(encoding="utf-8")))


def _check(facts: Any) -> dict[str, Any]:  # noqa: ANN401 - of a file
    """Return the facts of an answer file.

    Raises:
        One of `_DAMAGE`: They are others.
    """
    if facts["format"] != FORMAT or set(facts) != _KEPT:
        raise ValueError(facts["format"])
    guesses = {
        name: {part: float(each[part]) for part in ("guess", "outcome")}
        for name, each in facts["guesses"].items()
    }
    if not all(map(_NAME.fullmatch, [facts["lesson"], *guesses])):
        raise ValueError(guesses)  # what a student wrote into it is on no picture
    if not all(0 <= value < math.inf for each in guesses.values() for value in each.values()):
        raise ValueError(guesses)
    return {**{name: str(facts[name]) for name in ("lesson", "id", "mark")}, "guesses": guesses}


@dataclass(frozen=True, eq=False)
class ClassAnswers:
    """What a class guessed, without anything that tells who.

    Attributes:
        frame: A row a guess: lesson, exercise, ratio (of guess to outcome) and side ("too low",
            "about right", "too high"), sorted by these.
        students: How many files of answers there were.
        unread: How many other files were left out.
    """

    frame: "pl.DataFrame"
    students: int
    unread: int = 0

    @cached_property
    def figure(self) -> "Figure":
        """How far the guesses of each exercise were off, as counts."""
        from workbench.plots.guesses import plot_class

        return plot_class(self.frame)

    def __repr__(self) -> str:
        left = f", {self.unread} files left out" if self.unread else ""
        return f"<ClassAnswers: {self.frame.height} guesses of {self.students} students{left}>"

    def _repr_mimebundle_(self, **_: object) -> Any:  # noqa: ANN401 - IPython's protocol
        return self.figure._repr_mimebundle_()


def collect_answers(folder: str | os.PathLike[str], topic: str | None = None) -> ClassAnswers:
    """Return what a class guessed: the answers of all files in a folder and the folders in it.

    They may be of one topic only. A file that was handed in twice counts once, with the most
    guesses. Files that are no answers are left out and counted.

    Raises:
        NotFound: There is no answer file.
    """
    import polars as pl

    folder = as_path(folder)
    found = list(_read(folder, "**/*.json"))
    files = [each for each in found if topic in (None, each["lesson"])]
    if not files:
        about = f" of {topic}" if topic else ""
        raise NotFound(
            f"No answers{about} in {folder}: put there what students have in their `answers`."
        )
    latest = {each["id"]: each for each in sorted(files, key=lambda kept: len(kept["guesses"]))}
    rows = [
        (each["lesson"], name, *_compare(**guess))
        for each in latest.values()
        for name, guess in each["guesses"].items()
    ]
    schema = {"lesson": pl.String, "exercise": pl.String, "ratio": pl.Float64, "side": pl.String}
    frame = pl.DataFrame(sorted(rows), schema=schema, orient="row")
    return ClassAnswers(frame, len(latest), len(list(folder.glob("**/*.json"))) - len(found))


def _compare(guess: float, outcome: float) -> tuple[float, str]:
    ratio = round(guess / outcome, 3) if outcome else (math.inf if guess else 1.0)
    words = compare_guess(ratio, 1.0)
    side = next(side for side in ("too low", "too high", "about right") if side in words)
    return ratio, side
