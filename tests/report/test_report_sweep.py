"""A sweep of reports: its grid, its pages, its index, and how it goes on where it was."""

import json
import re
import signal
import subprocess
import sys
import zlib
from collections import Counter
from pathlib import Path

import nbformat
import pytest

from tests.browser import find_chromium
from tests.refused import refused, unnamed
from workbench.cli import main
from workbench.errors import InvalidInput, NotFound
from workbench.report.grid import read_grid
from workbench.report.templates import read_template

PARAMETERS = "rate: float = 1.0\nname: str = ''\ntypes: list[str] = []"
LOGGED = """import os
open('log', 'a').write(f'{rate:g}\\n')
if rate == 3 and os.path.exists('kill'):
    os.remove('kill')
    os.kill(os.getppid(), 9)"""
SHOWN = """from IPython.display import HTML
HTML(f'<div class="answer"><p>Take {rate:g}.</p><p class="amount">${rate:g}</p></div>'
     f'<figure><svg role="img" aria-label="one"><text>{rate:g}</text></svg></figure>')"""


@pytest.fixture(autouse=True)
def folder(jupyter_env, monkeypatch, tmp_path):
    for name, value in jupyter_env.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    code = nbformat.v4.new_code_cell
    cells = [code(PARAMETERS, metadata={"tags": ["parameters"]}), code(LOGGED), code(SHOWN)]
    cells.append(code("1 / (rate - 9)"))
    nbformat.write(nbformat.v4.new_notebook(cells=cells), "t.ipynb")
    return tmp_path


def grid_of(text):
    Path("grid.toml").write_text(text)
    return Path("grid.toml")


def count_executions():
    return Counter(map(float, Path("log").read_text().split()))


def test_a_sweep_that_was_killed_goes_on_without_making_a_page_twice(capsys):
    grid_of("rate = [1, 2, 3, 4]")
    Path("kill").touch()
    words = ["report", "t.ipynb", "--sweep", "grid.toml", "-o", "out"]
    command = [sys.executable, "-c", f"from workbench.cli import main; main({words})"]
    killed = subprocess.run(command, check=False, capture_output=True)
    assert killed.returncode == -signal.SIGKILL
    made = {path: path.stat().st_mtime_ns for path in Path("out").glob("rate-*.html")}
    assert len(made) == 2

    assert main([*words, "--json"]) == 0

    facts = json.loads(capsys.readouterr().out)
    assert count_executions() == {1: 1, 2: 1, 3: 2, 4: 1}
    assert all(path.stat().st_mtime_ns == when for path, when in made.items())
    assert len(facts["pages"]) == 4
    assert facts["index"] == "out/index.html"


def test_the_index_has_a_row_and_a_small_chart_of_each_report_and_says_what_failed(capsys):
    grid_of("rate = [1, 9]\nname = '<b>'")
    words = ["report", "t.ipynb", "--sweep", "grid.toml", "-o", "out", "--processes", "2"]

    assert main(words) == 2
    assert "1 of 2 reports failed" in capsys.readouterr().err.splitlines()[-1]

    index = Path("out/index.html").read_text()
    first, second = re.findall("<tr>(<td>.*?)</tr>", index)
    assert first.startswith("<td>1</td><td>Take 1.<br>$1</td><td><svg ")
    assert "This page is not finished. Cell 4 of t.ipynb failed: ZeroDivisionError" in second
    for row in (first, second):
        (page,) = re.findall('<a href="([^"]*)"', row)
        assert (Path("out") / page).exists()
    assert "<script" not in index
    assert "name" not in re.findall("<th .*?</th>", index)


def test_no_processes_are_refused_before_anything_is_made(capsys):
    grid_of("rate = [1]")

    assert main(["report", "t.ipynb", "--sweep", "grid.toml", "-o", "out", "--processes", "0"]) == 2

    assert not unnamed(capsys.readouterr().err, "--processes", 1, 0)
    assert not Path("out").exists()


def test_a_grid_is_every_combination_of_its_lists():
    template = read_template(Path("t.ipynb"))
    grid = grid_of("rate = [1, 2, 2]\ntypes = [['a'], ['a', 'b']]")

    varied, rows = read_grid(grid, template, {"name": "x"})

    assert varied == ["rate", "types"]
    assert rows == [
        {"name": "x", "rate": rate, "types": types}
        for rate in (1, 2)
        for types in (["a"], ["a", "b"])
    ]
    assert read_grid(grid_of("types = ['a', 'b']"), template, {})[1] == [{"types": ["a", "b"]}]


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("rate = [1", ["grid.toml", "TOML"]),
        ("speed = [1]", ["speed", "rate, name, types"]),
        ("rate = [1, 'x']", ["rate", "float", "'x'"]),
        ("rate = []", ["rate"]),
        ("name = 'a'", ["name", "grid.toml"]),
        (f"rate = {[*range(1001)]}", ["grid.toml", "1,001", "1,000"]),
    ],
)
def test_what_is_no_grid_of_the_template_is_said_before_anything_is_made(text, named):
    with refused(InvalidInput, *named):
        read_grid(grid_of(text), read_template(Path("t.ipynb")), {"name": "x"})


def test_a_grid_that_is_not_there_is_said(capsys):
    with refused(NotFound, "nowhere"):
        read_grid(Path("nowhere"), read_template(Path("t.ipynb")), {})


@pytest.mark.skipif(not find_chromium(), reason="no Chromium")
def test_a_page_is_printed_with_numbers_and_without_a_blank_page():
    notebook = nbformat.read("t.ipynb", as_version=4)
    notebook.cells.append(nbformat.v4.new_code_cell("for row in range(80): print('row', row)"))
    nbformat.write(notebook, "t.ipynb")

    assert main(["report", "t.ipynb", "-o", "r.html", "--pdf", "-p", "name=joe"]) == 0

    content = Path("r.pdf").read_bytes()
    assert content.startswith(b"%PDF")
    drawn = [
        zlib.decompress(
            re.search(
                rb"\n%b 0 obj\n<<.*?stream\r?\n(.*?)\nendstream" % number, content, re.DOTALL
            )[1]
        )
        for number in re.findall(rb"/Contents (\d+) 0 R", content)
    ]
    assert len(drawn) == content.count(b"/Type /Page\n") > 1
    assert min(each.count(b" Tj") for each in drawn) > 3  # more than its number
    assert 5_000 < len(content) < 1_000_000
    assert sorted(path.name for path in Path().glob("r.*")) == ["r.html", "r.pdf"]


def test_without_a_chromium_a_pdf_is_refused_before_the_report_is_made(monkeypatch, capsys):
    monkeypatch.setattr("shutil.which", lambda _: None)

    assert main(["report", "t.ipynb", "--pdf"]) == 2

    assert "PDF needs Chromium" in capsys.readouterr().err
    assert not Path("log").exists()
