"""The command `lesson`: take one, see what a class guessed, write slides or a grader's form."""

import argparse
import shlex
from pathlib import Path
from typing import Any

from workbench.cli.installation import name_command
from workbench.cli.output import Arguments, show
from workbench.errors import InvalidInput
from workbench.findings.lessons import find_common_error
from workbench.lessons.answers import collect_answers
from workbench.lessons.classroom import TOPICS, Lesson, lesson


def _lesson(arguments: Arguments) -> int:
    if arguments.collect:
        return _collect(arguments)
    if arguments.slides or arguments.nbgrader:
        return _write(arguments)
    if not arguments.topic:
        text = f"Lessons: {', '.join(TOPICS)}. Take one: --name NAME."
        return show(arguments, text, {"lessons": list(TOPICS)})
    if not arguments.name:
        raise InvalidInput("Say whose traffic it is: --name NAME.")
    return _take(lesson(arguments.topic, arguments.name, folder=arguments.folder), arguments)


def _take(own: Lesson, arguments: Arguments) -> int:
    lines = []
    for text in arguments.guess:
        name, _, number = text.partition("=")
        lines += [str(own.guess(name, _number(text, number))), repr(own.conclude(name))]
    first = next(iter(own.exercises))
    command = f"lesson {own.topic} --name {shlex.quote(arguments.name)} --guess {first}=NUMBER"
    asked = f"{own}\nNext: {name_command()} {command}"
    facts = {"lesson": own.topic, "story": own.story, "exercises": _facts(own)}
    return show(arguments, "\n".join(lines) or asked, facts)


def _number(text: str, number: str) -> float:
    try:
        return float(number)
    except ValueError:
        raise InvalidInput(
            f"A guess is written EXERCISE=NUMBER, such as cold=20, got {text!r}."
        ) from None


def _facts(own: Lesson) -> dict[str, Any]:
    shown = {name: own.guess(name) for name in own.exercises}
    return {
        name: {
            "ask": each.exercise.ask,
            "unit": each.exercise.unit,
            "guess": each.guess,
            "outcome": each.outcome,
        }
        for name, each in shown.items()
    }


def _collect(arguments: Arguments) -> int:
    found = collect_answers(arguments.collect, arguments.topic)
    said = find_common_error(found.frame)
    if arguments.out:
        found.figure.save(arguments.out)
    facts = {"students": found.students, "unread": found.unread, "guesses": found.frame.rows()}
    drawn = [f"Picture: {arguments.out}"] if arguments.out else []
    text = "\n".join([found.figure.description, repr(said), *drawn])
    return show(arguments, text, {"sentence": str(said), **facts})


def _write(arguments: Arguments) -> int:
    from workbench.lessons.nbgrader import write_assignment
    from workbench.lessons.slides import write_slides

    topics = [arguments.topic] if arguments.topic else list(TOPICS)
    made: list[Path] = []
    for topic in topics:
        if arguments.slides:
            made += write_slides(topic, arguments.slides, pdf=arguments.pdf)
        if arguments.nbgrader:
            made.append(write_assignment(topic, arguments.nbgrader))
    files = [str(path) for path in made]
    return show(arguments, "\n".join(files), {"files": files})


def add_lesson(parser: argparse.ArgumentParser) -> None:
    """Add `workbench lesson`."""
    parser.add_argument("topic", nargs="?", choices=tuple(TOPICS), help="of the lesson")
    parser.add_argument("--name", help="the student's: traffic is drawn from it")
    parser.add_argument(
        "--guess", action="append", default=[], metavar="EXERCISE=NUMBER", help="the first counts"
    )
    parser.add_argument(
        "--folder", default="answers", help="where guesses are kept without a name (%(default)s)"
    )
    teacher = parser.add_argument_group("for a teacher; of all lessons where none is named")
    teacher.add_argument("--collect", metavar="FOLDER", help="tell what a class guessed")
    teacher.add_argument("--out", metavar="FILE", help="of its picture: .svg, .png, .pdf or .html")
    teacher.add_argument("--slides", metavar="FOLDER", help="write slides that need no internet")
    teacher.add_argument("--pdf", action="store_true", help="the slides as PDF, too (Chromium)")
    teacher.add_argument("--nbgrader", metavar="FOLDER", help="write what nbgrader takes")
    parser.set_defaults(command=_lesson)
