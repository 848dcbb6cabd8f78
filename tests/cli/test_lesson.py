"""The command `lesson`: a student's guess, a class, and what a teacher gets."""

import json
import shlex

import pytest

import workbench as wb
from workbench.cli import main


@pytest.fixture(autouse=True)
def _folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def test_a_guess_in_the_shell_is_one_in_python(capsys, tmp_path):
    assert main(["lesson", "cold-starts", "--name", "Ada", "--guess", "cold=20"]) == 0
    printed = capsys.readouterr().out
    own = wb.lesson("cold-starts", "Ada")

    assert own.guesses == {"cold": 20.0}
    assert printed.splitlines() == [str(own.guess("cold")), repr(own.conclude("cold"))]
    assert "Ada" not in "".join(path.name for path in tmp_path.rglob("*"))


def test_a_lesson_ends_with_the_command_that_takes_a_guess(capsys):
    main(["lesson", "cold-starts", "--name", "Ada O'Hara"])
    told = capsys.readouterr().out.splitlines()[-1].removeprefix("Next: workbench ")

    assert main(shlex.split(told.replace("NUMBER", "20"))) == 0
    assert wb.lesson("cold-starts", "Ada O'Hara").guesses == {"cold": 20.0}


def test_facts_of_a_lesson_hide_what_is_not_guessed(capsys):
    assert main(["lesson", "cold-starts", "--name", "Ada", "--guess", "p95=1", "--json"]) == 0
    exercises = json.loads(capsys.readouterr().out)["exercises"]

    assert {name: each["outcome"] for name, each in exercises.items()} == {
        "cold": None,
        "p95": wb.lesson("cold-starts", "Ada").guess("p95").outcome,
        "doubled": None,
    }


def test_a_class_is_counted_and_drawn(capsys, tmp_path):
    for name in ("Ada", "Bo"):
        wb.lesson("cold-starts", name).guess("cold", 1)

    assert main(["lesson", "--collect", "answers", "--out", "class.svg"]) == 0
    assert "2 too low" in capsys.readouterr().out
    assert (tmp_path / "class.svg").read_text().startswith("<svg")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["cold-starts"], "--name"),
        (["cold-starts", "--name", "Ada", "--guess", "cold=many"], "EXERCISE=NUMBER"),
        (["cold-starts", "--name", "Ada", "--guess", "warm=1"], "cold, p95, doubled"),
        (["cold-starts", "--name", "a" * 10_000], "100 characters"),
        (["--collect", "nowhere"], "nowhere"),
    ],
    ids=["no name", "no number", "no exercise", "long name", "no folder"],
)
def test_what_is_wrong_is_said_in_a_line(words, said, capsys, tmp_path):
    assert main(["lesson", *words]) == 2
    (line,) = capsys.readouterr().err.splitlines()

    assert said in line
    assert not list(tmp_path.iterdir())
