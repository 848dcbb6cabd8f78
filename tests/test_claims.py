"""Claims and cells: a cell tests each claim, and what the page says of it comes from there."""

import re

import claims
import executed
import nbformat
import pytest

from workbench.findings import Conclusion

PAGE = (claims.NOTEBOOKS / "00-claims.md").read_text()
LINKS = re.findall(r"\]\(([\w-]+\.ipynb)#cell-claim-([\w-]+)\)", PAGE)
CELLS = {
    (path.name, cell.id.removeprefix(claims.PREFIX)): cell
    for path in sorted(claims.NOTEBOOKS.glob("*.ipynb"))
    for cell in nbformat.read(path, as_version=4).cells
    if cell.id.startswith(claims.PREFIX)
}


def test_each_claim_has_a_cell_and_each_cell_a_claim():
    assert sorted(LINKS) == sorted(CELLS)
    assert len(LINKS) >= 11


@pytest.mark.parametrize("name", CELLS, ids="-".join)
def test_the_cell_of_a_claim_computes_a_finding(name):
    assert re.match(r"findings\.\w+\(", CELLS[name].source.splitlines()[-1])
    assert "finding" in CELLS[name].metadata.get("tags", ())


def test_a_row_says_what_its_own_cell_said_and_where_the_claim_is_from():
    rows = [
        [each.strip() for each in line.strip("|").split(" | ")]
        for line in PAGE.splitlines()
        if line.startswith("|") and "#cell-claim-" in line
    ]
    for row in rows:
        (name,) = re.findall(r"#cell-claim-([\w-]+)", " ".join(row))
        assert {each for _, each in claims.TOKEN.findall(" ".join(row))} == {name}
        assert all(row)
    judged = [row for row in rows if "{verdict}" in row[1]]
    assert len(judged) >= 10
    assert all(re.search(r"guide|19|20|conjecture|the same", row[3]) for row in judged)


def test_what_has_changed_since_has_a_date_and_a_source():
    changes = re.findall(r"^\| (20\d\d[\d-]*) \| .+ \| (.+) \| .+ \|$", PAGE, re.MULTILINE)

    assert {date[:7] for date, _ in changes} >= {"2025-08", "2025-12", "2026-06", "2026"}
    assert all(re.search(r"guide|blog|botocore", source) for _, source in changes)


@pytest.mark.parametrize(
    ("conclusion", "verdict"),
    [
        (Conclusion("It is so."), "holds"),
        (Conclusion("It is so.", only_if="it rains"), "holds only if it rains"),
        (Conclusion("It is so.", holds=False), "no longer holds"),
        (Conclusion("It is so.", holds=None), "cannot tell"),
    ],
)
def test_the_verdict_follows_from_the_finding(conclusion, verdict):
    assert claims.judge(repr(conclusion)) == (verdict, "It is so.")


def executed_notebook(folder, sentence, source="findings.ask()", quick=False):
    """A notebook with one claim, and beside it what it said when it was executed."""
    cell = nbformat.v4.new_code_cell(source, id="claim-rain")
    notebook = nbformat.v4.new_notebook(cells=[cell])
    path = folder / "01-weather.ipynb"
    nbformat.write(notebook, path)
    data = {"text/plain": sentence, "text/html": "<p>"}
    cell.outputs = [nbformat.v4.new_output("execute_result", data)]
    if quick:
        notebook.cells.insert(0, nbformat.v4.new_code_cell("rate = 1"))
    executed.keep(path, notebook, folder / "kept")
    return path


@pytest.mark.parametrize("quick", [False, True])
def test_what_came_out_in_the_quick_setting_says_so(tmp_path, quick):
    executed_notebook(tmp_path, "Finding. It rains.", quick=quick)

    said = claims.fill("{came-out}`rain`", claims.read_sentences(tmp_path / "kept", tmp_path))

    assert said == "It rains." + " (Quick setting.)" * quick


def test_the_page_shows_what_the_cell_said_when_it_was_executed(tmp_path):
    path = executed_notebook(tmp_path, "Only if it rains. A | B costs $2.00.")
    page = "| {came-out}`rain` | {verdict}`rain` | {came-out}`snow` |"

    said = claims.fill(page, claims.read_sentences(tmp_path / "kept", tmp_path))

    shown, verdict, missing = (each.strip() for each in re.split(r"(?<!\\)\|", said)[1:-1])
    assert shown.replace("\\", "") == "A | B costs $2.00."
    assert verdict == "**holds only if it rains**"
    assert "not executed" in missing
    changed = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("1", id="claim-rain")])
    nbformat.write(changed, path)
    assert claims.read_sentences(tmp_path / "kept", tmp_path) == {}
