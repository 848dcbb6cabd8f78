"""Lessons: traffic of one's own, a guess before the outcome, and a class without names."""

import hashlib
import json
import math
import os
import re
import subprocess
import sys

import numpy as np
import polars as pl
import pytest

import workbench as wb
from tests.refused import refused
from workbench import findings
from workbench.errors import InvalidInput, NotFound, StorageError
from workbench.lessons import TOPICS
from workbench.lessons.exercise import compare_guess
from workbench.plots import class_counts

ODD_NAMES = ["../../etc/passwd", "C:\\Ada", "<script>alert(1)</script>", "עדה", "\u202eadA", "李"]


def fingerprint(trace):
    return hashlib.sha256(trace.arrivals.round(6).tobytes()).hexdigest()[:16]


ARRIVALS = {  # of Ada, rounded to microseconds; also new where NumPy draws otherwise
    "cold-starts": "a8b96ee5718ea328",
    "batching": "25bde2c470af419a",
    "spike": "e38a03c16f1ab66d",
}


@pytest.fixture(name="take")
def _take(tmp_path):
    """A function that begins a lesson in a folder of its own."""

    def take(topic="cold-starts", name="Ada", folder="answers", **more):
        return wb.lesson(topic, name, folder=tmp_path / folder, **more)

    return take


@pytest.mark.parametrize("topic", TOPICS)
def test_a_name_has_the_same_traffic_on_every_machine(topic, take):
    assert fingerprint(take(topic).trace) == ARRIVALS[topic]


def test_a_process_with_other_settings_draws_the_same(take):
    script = (
        "import workbench as wb, hashlib; t = wb.lesson('spike', name=' zoe\\u0308 ').trace;"
        "print(hashlib.sha256(t.arrivals.round(6).tobytes()).hexdigest()[:16])"
    )
    other = {"PYTHONHASHSEED": "77", "LC_ALL": "C", "OPENBLAS_NUM_THREADS": "1"}
    printed = subprocess.run(
        [sys.executable, "-c", script], env=os.environ | other, check=True, capture_output=True
    )

    assert printed.stdout.decode().split() == [fingerprint(take("spike", "Zoë").trace)]


def test_students_differ_in_traffic_and_lessons(take):
    names = ["Ada", "Ada L", "Bo", "Cy", "Di", "Ed"]
    lessons = [take("batching", name) for name in names]

    assert len({fingerprint(each.trace) for each in lessons}) == len(names)
    assert len({each.story for each in lessons}) > 1


@pytest.mark.parametrize("name", ODD_NAMES)
def test_a_name_never_reaches_a_path_or_markup(name, take, tmp_path):
    lesson = take(name=name)
    lesson.guess("cold", 10)

    (path,) = (path for path in tmp_path.rglob("*") if path.is_file())
    assert re.fullmatch(r"cold-starts-[0-9a-f]{16}\.json", path.name)
    assert path.parent == tmp_path / "answers"
    assert "<script" not in lesson._repr_html_()
    assert "\u202e" not in lesson._repr_html_()
    assert take(name=name).guesses == {"cold": 10.0}


@pytest.mark.parametrize(
    ("name", "said"),
    [
        *[("a" * 10_000, "10,000"), ("", "name"), (" \n", "name"), ("\u200b", "name")],
        *[(7, 7), ("a\ud800", "half"), ("a\0b", r"\x00")],
    ],
)
def test_what_is_no_name_is_refused_without_repeating_all_of_it(name, said, take):
    with refused(InvalidInput, said) as caught:
        take(name=name)

    assert len(str(caught.value)) < 200


def test_an_unknown_lesson_or_exercise_names_those_there_are(take):
    with refused(NotFound, "'cold'", "cold-starts, batching, spike"):
        take("cold")
    with refused(NotFound, "'warm'", "cold, p95, doubled"):
        take().guess("warm", 1)


@pytest.mark.parametrize("guess", ["12", "many", True, math.nan, math.inf, -1, 101, [5], 1j])
def test_a_guess_that_is_no_number_is_refused_and_not_kept(guess, take, tmp_path):
    lesson = take()

    with refused(InvalidInput, "cold", 0, 100, repr(guess)):
        lesson.guess("cold", guess)
    assert lesson.guesses == {}
    assert not list(tmp_path.rglob("*.json"))


def test_nothing_is_revealed_before_a_guess(take):
    lesson = take()
    asked = lesson.guess("cold")

    assert asked.outcome is None
    assert "in place of None" in str(asked)
    assert "image/svg+xml" not in asked._repr_mimebundle_()[0]
    assert lesson.conclude("cold").holds is None
    with refused(InvalidInput, "cold"):
        asked.figure  # noqa: B018 - asking is the point


def test_a_teacher_sees_the_outcome_without_a_guess(take, tmp_path):
    shown = take(reveal=True).guess("cold")

    assert shown.outcome == take().guess("cold", 1).outcome
    assert "your guess" not in set(shown.figure.data["run"])


def test_the_first_guess_counts(take):
    lesson = take()
    lesson.guess("cold", 10)
    again = lesson.guess("cold", 20)

    assert lesson.guesses == {"cold": 10.0}
    assert again.guess == 10.0
    assert str(again).startswith("Your first guess counts: 10 %.")
    assert lesson.guess("cold", 10).again is False


def test_guess_and_outcome_are_on_one_chart(take):
    shown = take().guess("cold", 50)
    marks = shown.figure.data.filter(pl.col("run") != "at other values")

    assert dict(marks.select("run", "outcome").rows()) == {
        "what came out for you": shown.outcome,
        "your guess": 50.0,
    }
    assert shown.sentence in shown.figure.description


def test_answers_that_cannot_be_kept_reveal_nothing(take, tmp_path):
    (tmp_path / "answers").write_text("a file")
    lesson = take()

    with pytest.raises(StorageError):
        lesson.guess("cold", 10)
    assert lesson.guesses == {}


# --- outcomes, computed again


def test_cold_starts_are_gaps_longer_than_an_instance_is_kept(take):
    lesson = take()
    due = lesson.trace.arrivals
    busy_until = np.concatenate([[-math.inf], due[:-1] + 0.05])
    lonely = due - busy_until > 600  # calls overlap seldom: a second instance changes little

    assert lesson.guess("cold", 0).outcome == pytest.approx(100 * lonely.mean(), abs=1)
    assert lesson.guess("p95", 0).outcome == pytest.approx(2.05, abs=1e-6)
    twice = lesson.guess("doubled", 0)
    assert twice.outcome * 10 == twice.exercise.run.frame["cold"].sum()
    assert len(twice.exercise.run) == pytest.approx(2 * len(due), rel=0.1)


def test_one_at_a_time_is_a_queue_with_one_server(take):
    lesson = take("batching")
    latencies, free = [], 0.0
    for due in lesson.trace.arrivals.tolist():
        free = max(free, due) + 0.010
        latencies.append(free - due)

    latency = 1000 * sorted(latencies)[math.ceil(0.95 * len(latencies)) - 1]
    assert lesson.guess("alone", 1).outcome == pytest.approx(latency, rel=1e-6)
    batches = lesson.exercises["size"].run.frame["batch"].n_unique()
    assert lesson.guess("size", 1).outcome == pytest.approx(len(latencies) / batches)
    assert lesson.guess("batched", 1).outcome < latency


def test_the_bill_of_functions_is_what_each_call_costs(take):
    lesson = take("spike")
    init = lesson.exercises["bill"].run.frame["init"].to_numpy()
    seconds = np.ceil(np.round(1000 * (0.04 + init), 6)).sum() / 1000
    dollars = 0.0000166667 * 1769 / 1024 * seconds + 0.2e-6 * len(init)  # us-east-1, 2026-09-27
    assert lesson.guess("bill", 1).outcome == pytest.approx(dollars * 730 * 3600 / 7200, rel=1e-4)


def test_what_spills_over_was_answered_by_functions(take):
    lesson = take("spike")
    share = (lesson.exercises["overflow"].run.frame["place"] == 1).mean()
    late = (lesson.exercises["late"].run.latencies > 0.5).mean()

    assert lesson.guess("overflow", 1).outcome == pytest.approx(100 * share)
    assert lesson.guess("late", 1).outcome == pytest.approx(100 * late)


@pytest.mark.parametrize(
    ("topic", "exercise", "said"),
    [
        ("cold-starts", "cold", "{cold:.1f} % of {calls:,} calls met no idle instance"),
        ("cold-starts", "p95", "it is 2.05 s, where the median is 50 ms"),
        ("cold-starts", "doubled", "{calls:,} calls have {colds:,} cold starts"),
        ("batching", "batched", '"no batching" and {batched:.3g} ms with "up to 16, 20 ms"'),
        ("batching", "size", "The mean batch holds {size:.3g} requests of 16"),
        ("spike", "late", "{late:.1f} % of the requests are late"),
        ("spike", "overflow", "Functions answer {overflow:.1f} % of the requests"),
    ],
)
def test_what_a_lesson_concludes_is_what_came_out(topic, exercise, said, take):
    lesson = take(topic, reveal=True)
    found = {name: math.floor(10 * each.outcome) / 10 for name, each in lesson.exercises.items()}
    found["size"] = lesson.exercises[exercise].outcome
    first = next(iter(lesson.exercises.values())).run
    if "cold" in first.frame.columns:
        found |= {"calls": len(first), "colds": int(first.frame["cold"].sum())}

    concluded = lesson.conclude(exercise)
    assert concluded.holds
    assert said.format(**found) in concluded.text


# --- a class


GUESSES = {"Ada": 1, "Bo": 2, "Cy": 3, "Di": 90}


@pytest.fixture(name="class_folder")
def _class_folder(take, tmp_path):
    """What four students handed in, one of them twice, and a file of something else."""
    for name, guess in GUESSES.items():
        lesson = take(name=name, folder=f"class/{name.lower()}x")
        lesson.guess("cold", guess)
    again = next((tmp_path / "class/adax").iterdir())
    (tmp_path / "class" / "again.json").write_text(again.read_text())
    (tmp_path / "class" / "other.json").write_text('{"format": 1}')
    (tmp_path / "class" / "broken.json").write_text("{")
    return tmp_path / "class"


def test_a_class_is_collected_once_each_and_without_names(class_folder):
    found = wb.collect_answers(class_folder)

    assert (found.students, found.frame.height, found.unread) == (4, 4, 2)
    assert found.frame.columns == ["lesson", "exercise", "ratio", "side"]
    assert found.frame["side"].to_list() == ["too low"] * 3 + ["too high"]
    kept = "".join(path.read_text() for path in class_folder.rglob("*.json")).lower()
    shown = json.dumps(found.figure.spec()) + repr(found) + str(found.frame.rows())
    for name in GUESSES:
        digests = [hashlib.sha256(name.lower().encode()).hexdigest(), f'"{name.lower()}"']
        assert not [each for each in digests if each in kept + shown.lower()]


@pytest.mark.parametrize(
    "damage",
    [
        ('"cold"', '"by Ada, for fun"'),
        ('"lesson": "cold-starts"', '"lesson": "<b>"'),
        ('"guess": 90.0', '"guess": -90.0'),
        ('"format": 1', '"format": ' + "[" * 100_000),
    ],
)
def test_what_a_student_wrote_into_a_file_is_left_out(damage, class_folder):
    (path,) = (class_folder / "dix").iterdir()
    path.write_text(path.read_text().replace(*damage))

    found = wb.collect_answers(class_folder)

    assert (found.students, found.unread) == (3, 3)


def test_a_class_is_sorted_so_that_no_order_tells_who(class_folder):
    rows = wb.collect_answers(class_folder).frame.rows()

    assert rows == sorted(rows)


def test_the_picture_counts_every_guess(class_folder):
    counts = class_counts(wb.collect_answers(class_folder).frame)

    assert counts["guesses"].sum() == 4
    assert counts.filter(side="too high")["guesses"].sum() == 1


@pytest.mark.parametrize("ratio", [0.1, 0.3, 0.8, 1.0, 1.25, 1.251, 3, 10])
def test_the_picture_takes_a_guess_to_be_on_the_side_that_the_student_is_told(ratio):
    row = {"lesson": ["a"], "exercise": ["b"], "ratio": [float(ratio)], "side": [""]}
    (side,) = class_counts(pl.DataFrame(row)).filter(pl.col("guesses") > 0)["side"]

    assert side in compare_guess(ratio, 1)


@pytest.mark.parametrize(("cold", "holds"), [(40, True), (20, False)])
def test_a_tail_is_of_cold_calls_if_more_are_cold_than_it_leaves_out(cold, holds):
    due = np.arange(400.0)
    run = wb.Run.from_arrays(
        scheduled=due, finished=due + np.where(due < 40, 5, 0.1), cold=due < cold
    )

    assert findings.explain_tail(run).holds is holds


def test_the_common_error_is_named(class_folder):
    said = findings.find_common_error(wb.collect_answers(class_folder).frame)

    assert said.holds
    assert '4 guesses of "cold" (cold-starts), 3 were too low' in said.text


def test_a_folder_without_answers_says_what_belongs_there(tmp_path, class_folder):
    with refused(NotFound, "spike", class_folder):
        wb.collect_answers(class_folder, "spike")
    with refused(NotFound, tmp_path / "nowhere"):
        wb.collect_answers(tmp_path / "nowhere")


def test_two_students_of_one_name_both_count(take, tmp_path):
    for folder in ("class/left", "class/right"):
        take(folder=folder).guess("cold", 10)

    assert wb.collect_answers(tmp_path / "class").students == 2


def test_a_second_student_of_a_name_is_told_of_the_first(take):
    assert "another student" not in str(take())
    take().guess("cold", 10)

    assert "cold" in str(take()).rpartition("already:")[2]
    assert "another student" in take()._repr_html_()
    assert "another student" not in str(take(name="Ada B"))


@pytest.mark.parametrize(
    ("guess", "outcome", "said"),
    [
        (8, 10, "about right"),
        (12.5, 10, "about right"),
        (12.6, 10, "1.26 times too high"),
        (0, 0, "about right"),
        (3, 0, "too high"),
    ],
)
def test_how_far_a_guess_is_off_is_said(guess, outcome, said):
    assert compare_guess(guess, outcome) == said
