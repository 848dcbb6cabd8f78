"""The notebooks run from top to bottom, without a browser and without internet, and are right."""

import json
import re
import tomllib
from pathlib import Path

import executed
import nbformat
import pytest

import workbench as wb
from tests.children import run_notebook
from tests.shell_lines import AT_THE_END, compare_lines, list_lines

BATCHING = "03-adaptive-batching.ipynb"
AGAIN_FROM = """
import json, math
import polars as pl
from workbench.formatting import dollars, duration, percent
"""
TITLES = "Finding. ", "Only if ", "Not so here. ", "Cannot tell. "
ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
MAPS = ROOT.parent / "shared" / "data" / "batch_maps.csv"


def read_checks(path):
    """Read what the tests know of a notebook: quick parameters, and what it must find."""
    return tomllib.loads((ROOT / "tests" / "notebooks" / f"{path.stem}.toml").read_text())


def with_parameters(notebook, values):
    """Add a cell that sets parameters after the cell of their defaults, as papermill does."""
    tagged = [cell.metadata.get("tags") == ["parameters"] for cell in notebook.cells]
    lines = "\n".join(f"{name} = {value!r}" for name, value in values.items())
    notebook.cells.insert(tagged.index(True) + 1, nbformat.v4.new_code_cell(lines))


@pytest.fixture(name="execute")
def _execute(fresh_home, jupyter_env, monkeypatch):
    """A function that runs a notebook in a folder and returns it with its outputs."""
    for name, value in jupyter_env.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("WORKBENCH_BATCH_MAPS", raising=False)

    def execute(path, folder, *, again="", **values):
        notebook, checks = nbformat.read(path, as_version=4), read_checks(path)
        if again:
            lines = AT_THE_END.format(root=str(ROOT), entries=checks.get("shell", []))
            code = f"{AGAIN_FROM}{again}print(json.dumps(again))"
            notebook.cells += map(nbformat.v4.new_code_cell, (lines, code))
        with_parameters(notebook, checks["quick"] | values)
        where = {"metadata": {"path": str(folder)}}
        run_notebook(notebook, store_widget_state=False, resources=where)
        if not values:
            executed.keep(path, notebook)  # for the site
        return notebook

    return execute


def printed_by(notebook):
    outputs = (output for cell in notebook.cells for output in cell.get("outputs", ()))
    return "".join(output.text for output in outputs if output.output_type == "stream")


def findings_of(notebook):
    """The sentences that are computed, in order."""
    shown = (output for cell in notebook.cells for output in cell.get("outputs", ()))
    texts = (output.get("data", {}).get("text/plain", "") for output in shown)
    return [text for text in texts if text.startswith(TITLES)]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
def test_a_notebook_runs_and_its_findings_say_what_its_figures_do(path, execute, tmp_path):
    expected = read_checks(path)["findings"]
    notebook = execute(path, tmp_path, again=expected["again"])

    assert any(cell.get("outputs") for cell in notebook.cells)
    assert "widgets" not in notebook.metadata
    found = " ".join(findings_of(notebook))
    again = json.loads(printed_by(notebook).splitlines()[-1])
    assert [part for part in again if part not in found] == []
    for text in expected.get("printed", ()):
        assert text in printed_by(notebook)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
def test_no_finding_is_written_by_hand(path):
    notebook = nbformat.read(path, as_version=4)
    prose = [cell.source for cell in notebook.cells if cell.cell_type == "markdown"]

    assert not [text for text in prose if re.search(r"\*\*Finding", text)]
    assert not [cell for cell in notebook.cells if "Markdown(" in cell.source]
    assert sum("findings." in cell.source for cell in notebook.cells) >= 4


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
def test_a_section_with_a_finding_asks_a_question_and_names_a_command(path):
    sections = [""]
    for cell in nbformat.read(path, as_version=4).cells:
        if cell.source.startswith("## "):
            sections.append("")
        sections[-1] += f"{cell.source}\n"
    told = [text for text in sections if re.search(r"^findings\.", text, re.MULTILINE)]

    for part in ("**Question.**", "<details>", "In the shell"):
        assert [text.splitlines()[0] for text in told if part not in text] == []


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
def test_each_line_of_the_shell_is_compared_with_its_notebook(path):
    shown = [line for cell in nbformat.read(path, 4).cells for line in list_lines(cell.source)]

    known = read_checks(path).get("shell", ())

    assert sorted(shown) == sorted(each["line"] for each in known)
    assert [each["line"] for each in known if ("same" in each) == ("why" in each)] == []


def test_a_shell_line_that_gives_another_number_is_told():
    line = {"line": "workbench traces --rate 5 --burst 1 --duration 9s", "with": {"--rate": "rate"}}
    trace = wb.poisson(rate=20.0, duration=9.0, seed=1)
    names = {"trace": trace, "rate": 20.0}

    assert compare_lines([line | {"same": {"requests": "len(trace)"}}], names) == []
    (told,) = compare_lines([line | {"same": {"requests": "1", "duration": "9.0"}}], names)
    assert "--rate 20.0" in told
    assert f"requests is {len(trace)}, and the notebook has 1" in told


@pytest.mark.skipif(not MAPS.exists(), reason="needs shared/data beside the checkout")
def test_all_arrival_processes_are_taken_from_beside_the_checkout(execute, tmp_path):
    (tmp_path / "shared").symlink_to(MAPS.parents[1])
    beside = tmp_path / "checkout" / "notebooks"
    beside.mkdir(parents=True)

    notebook = execute(ROOT / "notebooks" / BATCHING, beside, requests=2_000)

    assert "48 of the 48 published arrival processes: NYS 1, NYS 2, " in printed_by(notebook)
