"""The notebooks of lessons: as students get them, as slides, on paper, and for nbgrader."""

import json
import re
from html import unescape
from itertools import pairwise

import executed
import nbformat
import numpy as np
import pypdfium2
import pytest

from workbench.lessons import TOPICS, lesson, nbgrader
from workbench.lessons.notebooks import find_notebook
from workbench.lessons.slides import write_slides
from workbench.report.notebook import execute

TOPIC = "spike"
LARGEST = 1_000_000  # bytes of slides
SHOWN = "(s => s.querySelector('img') || s.innerText.length > 20)(Reveal.getCurrentSlide())"
BLANK = 0.005  # the least share of a page that something is on
GUESSED = re.compile(r'lesson\.guess\("(\w+)", None\)')


@pytest.fixture(scope="module", name="printed")
def _printed(tmp_path_factory):
    """Slides of one lesson, as a page and as PDF."""
    from tests.browser import find_chromium

    folder = tmp_path_factory.mktemp("slides")
    return write_slides(TOPIC, folder, pdf=find_chromium() is not None)


def source_of(topic):
    return "\n".join(cell.source for cell in nbformat.read(find_notebook(topic), 4).cells)


@pytest.mark.parametrize("topic", TOPICS)
def test_a_notebook_asks_each_exercise_once_and_in_order(topic, tmp_path):
    exercises = lesson(topic, "Ada", folder=tmp_path).exercises

    assert GUESSED.findall(source_of(topic)) == list(exercises)
    assert re.findall(r"--guess (\w+)=\d+", source_of(topic)) == list(exercises)
    assert re.findall(r'lesson\.conclude\("(\w+)"\)', source_of(topic)) == list(exercises)


@pytest.mark.parametrize("topic", TOPICS, ids="{}.ipynb".format)
def test_a_student_who_runs_all_is_shown_no_outcome(topic, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = execute(find_notebook(topic))
    shown = json.dumps(done.cells)
    executed.keep(find_notebook(topic), done)  # for the site

    assert not list(tmp_path.iterdir())
    assert shown.count("in place of None") >= 3
    assert "came out, simulated" not in shown


@pytest.mark.parametrize("name", ["class"], ids="{}.ipynb".format)
def test_the_notebook_of_a_class_says_where_most_went_wrong(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for student, guess in (("Ada", 1), ("Bo", 2), ("Cy", 99)):
        lesson("cold-starts", student).guess("cold", guess)
    done = execute(find_notebook(name))
    shown = json.dumps(done.cells)
    executed.keep(find_notebook(name), done)  # for the site

    assert "3 guesses of" in shown
    assert "2 were too low" in shown
    assert "Traceback" not in shown
    assert "Ada" not in shown.replace("--name Ada", "")


def test_slides_show_all_outcomes_and_findings(printed, tmp_path):
    page = unescape(printed[0].read_text())
    own = lesson(TOPIC, "the class", folder=tmp_path, reveal=True)

    assert len(page.encode()) < LARGEST
    for name, exercise in own.exercises.items():
        assert str(own.guess(name)) in page
        assert exercise.write(exercise.outcome) in page
        assert str(own.conclude(name)) in page
    assert "lesson.guess(" not in page


def test_slides_ask_no_other_host(printed):
    page = re.sub("<script>.*?</script>", "", printed[0].read_text(), flags=re.DOTALL)
    loaded = re.findall(r'<(?:script|link|img|iframe)[^>]*(?:src|href)="([^"]+)"', page)

    assert [each for each in loaded if not each.startswith("data:")] == []
    assert "@import" not in page


def test_every_slide_fits_its_frame_and_shows_something(printed, page):
    page.set_viewport_size({"width": 1100, "height": 700})
    page.goto(printed[0].as_uri())
    page.wait_for_selector("body[data-slides]")
    while page.evaluate("!Reveal.isLastSlide() || Reveal.availableFragments().next"):
        box = page.evaluate("Reveal.getCurrentSlide().scrollHeight")
        assert box <= 730, page.evaluate("Reveal.getCurrentSlide().innerText")
        assert page.evaluate(SHOWN)
        page.evaluate("Reveal.next()")

    assert int(page.evaluate("document.body.dataset.slides")) >= 9


def test_no_printed_page_is_blank_or_cut(printed):
    if len(printed) < 2:
        pytest.skip("needs Chromium")
    cells = nbformat.read(find_notebook(TOPIC), 4).cells
    kinds = [cell.metadata.get("slideshow", {}).get("slide_type") for cell in cells]
    with pypdfium2.PdfDocument(printed[1]) as document:
        pages = [document[number].render(scale=0.4).to_numpy() for number in range(len(document))]

    inked = [float((each < 200).mean()) for each in pages]
    assert len(pages) == kinds.count("slide") + kinds.count("subslide")
    assert min(inked) > BLANK, inked
    assert all(np.any(one != other) for one, other in pairwise(pages))


def test_an_assignment_is_what_nbgrader_takes(tmp_path):
    path = nbgrader.write_assignment(TOPIC, tmp_path)
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    facts = [cell.metadata.get("nbgrader") for cell in notebook.cells]
    cells = {each.grade_id: cell for each, cell in zip(facts, notebook.cells, strict=True) if each}

    assert path == tmp_path / "source" / TOPIC / f"{TOPIC}.ipynb"
    asked = GUESSED.findall(source_of(TOPIC))
    assert list(cells) == ["name", *(n for each in asked for n in (each, f"{each}-guessed"))]
    for each in facts:
        assert not each or set(each) >= {"schema_version", "grade", "locked", "solution", "task"}
    assert sum(each.get("points", 0) for each in facts if each) == len(asked)
    assert "BEGIN SOLUTION" in cells["late"].source
    assert 'lesson.guess("late", guess)' in cells["late"].source


def test_an_assignment_as_written_earns_all_points(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    cells = nbformat.read(nbgrader.write_assignment(TOPIC, tmp_path), as_version=4).cells
    written = [cell.source for cell in cells if cell.cell_type == "code"]
    graded = [text for text in written if "plot_arrival" not in text]

    exec("\n".join(graded), {}, {})  # noqa: S102 - what a student's notebook does
    assert len(list((tmp_path / "answers").iterdir())) == 1


def test_a_sheet_names_each_exercise_and_fills_the_lesson():
    for topic in TOPICS:
        sheet = find_notebook(topic).with_name(f"{topic}.md").read_text()
        minutes = [int(each) for each in re.findall(r"^\| (\d+) \|", sheet, re.MULTILINE)]

        assert sum(minutes) == 45
        assert [
            each for each in GUESSED.findall(source_of(topic)) if f"`{each}`" not in sheet
        ] == []
