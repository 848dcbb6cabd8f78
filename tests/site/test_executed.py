"""What the tests execute is what the site shows, until its source changes."""

import executed
import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

SVG = '<svg role="img" aria-label="Rising. Two bars."></svg>'


@pytest.fixture
def path(tmp_path):
    cells = [new_markdown_cell("# Title"), new_code_cell("rate = 1"), new_code_cell("plot(rate)")]
    path = tmp_path / "10-try.ipynb"
    nbformat.write(new_notebook(cells=cells), path)
    return path


@pytest.fixture
def ran(path):
    """The notebook as a test leaves it: with a cell of parameters, one of checks, and outputs."""
    notebook = nbformat.read(path, as_version=4)
    bundle = {"image/svg+xml": SVG, "application/vnd.vegalite.v5+json": {}, "text/plain": "Rising"}
    notebook.cells[2].outputs = [new_output("display_data", data=bundle)]
    notebook.cells.insert(2, new_code_cell("rate = 2\nseed = 'ab'"))
    notebook.cells.append(new_code_cell("check()"))
    return notebook


def test_the_executed_notebook_of_a_source_is_found_until_the_source_changes(path, ran, tmp_path):
    kept = tmp_path / "kept"
    executed.keep(path, ran, kept)

    found = executed.find(path, kept)

    assert [cell.source for cell in found.cells] == ["# Title", "rate = 1", "plot(rate)"]
    assert found.cells[2].outputs
    found.cells[1].source = "rate = 3"
    nbformat.write(found, path)
    assert executed.find(path, kept) is None


def test_outputs_in_the_source_change_nothing(path, ran, tmp_path):
    kept = executed.keep(path, ran, tmp_path / "kept")

    nbformat.write(nbformat.read(kept, as_version=4), path)

    assert executed.find(path, tmp_path / "kept")


@pytest.mark.parametrize("text", ["", "[", "{}", "null", '{"nbformat": 3}', "[" * 100_000])
def test_a_damaged_notebook_is_executed_again(text, path, tmp_path):
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / path.name).write_text(text)

    assert executed.find(path, tmp_path / "kept") is None


def test_a_page_says_with_which_parameters_it_was_executed(path, ran, tmp_path):
    executed.keep(path, ran, tmp_path)

    page = executed.prepare(executed.find(path, tmp_path), path.name)

    assert "quick setting of the tests (`rate = 2; seed = 'ab'`)" in page.cells[1].source


def test_a_page_says_that_it_was_not_executed(path):
    page = executed.prepare(nbformat.read(path, as_version=4), path.name)

    assert "not executed" in page.cells[1].source


def test_a_figure_is_shown_as_an_image_with_its_words(path, ran, tmp_path):
    executed.keep(path, ran, tmp_path)

    page = executed.prepare(executed.find(path, tmp_path), path.name)

    assert page.cells[3].outputs[0].data == {"image/svg+xml": SVG}
    assert page.cells[3].metadata.mystnb.image.alt == "Rising. Two bars."


def test_links_lead_to_cells_that_settle_a_claim(path):
    notebook = nbformat.read(path, as_version=4)
    notebook.cells[2].id = "claim-rate"

    page = executed.prepare(notebook, path.name)

    assert [cell.source for cell in page.cells[-2:]] == ["(cell-claim-rate)=", "plot(rate)"]
