"""Templates: their parameters, the notebook that comes of one, and its page."""

import json
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from importlib.metadata import version
from pathlib import Path

import nbformat
import numpy as np
import pytest
from jupyter_client.provisioning import KernelProvisionerFactory

import workbench as wb
from tests.refused import refused
from workbench.batching.timer import BatchPolicy
from workbench.cli import main
from workbench.deployment import Local
from workbench.errors import InvalidInput, NotAvailable, NotFound, WorkbenchError
from workbench.files import sha256
from workbench.registry import zoo
from workbench.registry.api import Registry
from workbench.report.notebook import execute, page_of
from workbench.report.templates import Parameter, find_template, read_template
from workbench.run import Run

LOADING = re.compile(r"<(script|link|iframe|object|embed)\b|@import|(src|href)=.?https?:")


def run_of(policy, mean, seed):
    random = np.random.default_rng(seed)
    scheduled = 2.0 * np.arange(1000)
    return Run.from_arrays(
        scheduled=scheduled,
        finished=scheduled + random.gamma(4, mean / 4, 1000),
        origin="measured: this machine",
        facts={
            "label": policy.label,
            "model": {"name": "<b>mlp</b>:1", "sha256": "ab" * 32},
            "deployment": Local(hourly_price=0.1).to_dict(),
        },
    )


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """The folders of two saved runs."""
    folder = tmp_path_factory.mktemp("runs")
    policies = [BatchPolicy(), BatchPolicy(max_size=8, max_wait=0.025)]
    return [
        str(run_of(policy, mean, seed).save(folder / str(seed)))
        for seed, (policy, mean) in enumerate(zip(policies, (0.05, 0.02), strict=True))
    ]


@pytest.fixture(autouse=True)
def nothing_of_this_user(at_home, jupyter_env, monkeypatch, tmp_path):
    for name, value in jupyter_env.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("WORKBENCH_TRACEBACK", raising=False)
    monkeypatch.chdir(tmp_path)


CONDA = {"name": "conda-env-joe-py", "display_name": "Python [conda env:joe]"}
NOTE = "# Weekly <load>\n\nFor whoever fills this in: set `size`."


def template_of(source, *cells, note="", kernel=None):
    """A template of these parameters and cells."""
    first = nbformat.v4.new_code_cell(source, metadata={"tags": ["parameters"]})
    notes = [nbformat.v4.new_markdown_cell(note)] if note else []
    notebook = nbformat.v4.new_notebook(
        cells=[*notes, first, *map(nbformat.v4.new_code_cell, cells)],
        metadata={"kernelspec": kernel} if kernel else {},
    )
    nbformat.write(notebook, "mine.ipynb")
    return Path("mine.ipynb")


def find_folders(page):
    """The folders of this machine that a page tells of, though whoever gets it has no use of it."""
    folders = {Path.cwd(), Path.home(), Path(sys.prefix), Path(wb.__file__).parent.parent}
    folders.add(Path(tempfile.gettempdir()))
    return [f"{folder}/" for folder in folders if f"{folder}/" in page]


def test_a_notebook_and_a_page_are_written_about_saved_runs(saved, capsys):
    words = ["report", *saved, "--notebook", "new/r.ipynb", "--out", "new/r.html", "--title", "A<B"]

    assert main([*words, "--json"]) == 0

    told = capsys.readouterr()
    assert told.err == ""
    facts = json.loads(told.out)
    assert (facts["report"], facts["notebook"]) == ("new/r.html", "new/r.ipynb")
    notebook = nbformat.read("new/r.ipynb", as_version=4)
    assert notebook.metadata.papermill.parameters["runs"] == saved
    assert "widgets" not in notebook.metadata
    page = Path("new/r.html").read_text()
    assert "<title>A&lt;B</title>" in page
    assert page.count("<h1>") == 1
    assert "<p>p95 fell from" in page
    assert len(re.findall(r'<svg role="img" aria-label="[^"]{20,}"', page)) == 4
    assert "&lt;b&gt;mlp&lt;/b&gt;:1" in page
    assert "<b>mlp" not in page
    assert not LOADING.search(page)
    assert "default-src &#39;none&#39;" in page or "default-src 'none'" in page
    assert "wb.load_run" not in page.split("The code behind this page")[0]
    assert not find_folders(page)
    assert sorted(path.name for path in Path("new").iterdir()) == ["r.html", "r.ipynb"]


def test_the_template_for_runs_makes_the_page_that_write_report_does(saved, tmp_path):
    runs = [wb.load_run(path) for path in saved]
    named = re.compile(r' id="[^"]*"')

    page = page_of(execute(find_template("compare"), {"runs": saved, "title": "T"}))

    alone = wb.write_report(runs, tmp_path / "alone.html", title="T").read_text()
    body = named.sub("", page).split('<details class="printed">')[0]
    assert named.sub("", alone).split()[: len(body.split())] == body.split()
    assert named.sub("", alone).split("</main>")[0].split() == body.split()


def test_the_page_ends_with_what_it_was_made_from_and_its_code_folded_away():
    done = execute(template_of("size: int = 8\nwhere: str = ''", "print(6 * size)"), {"size": 7})
    page = page_of(done)

    shown, made = page.split("How this page was made</summary>")
    assert "<pre>42" in shown
    assert "print(6" not in shown
    made, code = made.split("<details><summary>The code behind this page</summary>")
    assert '<th scope="row">size</th><td>7</td>' in made
    assert '<th scope="row">where</th>' in made
    assert f"mine.ipynb (sha256 {sha256(Path('mine.ipynb'))[:12]})" in made
    assert f"inference-workbench {version('inference-workbench')}" in made
    assert code.startswith("<pre>print(6 * size)</pre></details>")


def test_a_parameter_that_is_a_path_of_this_machine_is_shown_by_its_name():
    done = execute(template_of("runs: list[str] = []"), {"runs": [str(Path("a/b").absolute())]})

    assert '<th scope="row">runs</th><td>b</td>' in page_of(done)


REFUSED = [
    ("-p nope=1", "compare.ipynb has no parameter nope: it has runs, profiles, title, region."),
    ("-p region", "as NAME=VALUE, got 'region'"),
    ("-p title=once -p title=twice", "A parameter is written once"),
    ("nothing.ipynb", "No template at nothing.ipynb"),
    ("mine", "Nothing saved at mine. No template 'mine': there are c"),
    ("compare choice", "one template, got compare, choice"),
    ("--out r.ipynb", "cannot both be r.ipynb"),
    ("--out .", "[.] is a folder"),
    ("--out r.pdf", "--out is the page, such as r.html"),
    ("--out /proc/nothing/r.html", "/proc/nothing cannot be written"),
]


@pytest.mark.parametrize(("words", "message"), REFUSED)
def test_what_cannot_be_reported_is_one_line_and_leaves_nothing(words, message, saved, capsys):
    assert main(["report", *saved, *words.split(), "--notebook", "r.ipynb"]) == 2

    told = capsys.readouterr().err
    assert re.search(f"^workbench: .*{message}", told.splitlines()[-1])
    assert list(Path().iterdir()) == []


def test_the_page_of_a_report_that_fails_is_kept_apart_and_says_so(capsys):
    kept = "print('\\x1b[31mkept\\x1b[0m\\0')"  # in a terminal's red
    template_of("size: int = 8\nwho: str = ''", kept, "1 / size", "print('never')")
    Path("r.html").write_text("of last week")

    assert main(["report", "mine.ipynb", "-p", "size=0", "-o", "r.html"]) == 2

    told = capsys.readouterr().err.splitlines()[-1]
    reason = "Cell 3 of mine.ipynb failed: ZeroDivisionError: division by zero."
    assert told == f"workbench: {reason} What was made until then: r.failed.html"
    page = Path("r.failed.html").read_text()
    assert "<title>Failed: mine</title>" in page
    assert f'<p class="failed">This page is not finished. {reason}</p>' in page
    assert "<pre>kept\n</pre>" in page
    assert "<pre>never" not in page
    assert Path("r.html").read_text() == "of last week"
    assert not LOADING.search(page)

    no_text = "-p", "who=\udcff", "--timeout", "inf"  # a file's name, as Python reads it
    assert main(["report", "mine.ipynb", "-o", "r.html", *no_text]) == 0
    assert not Path("r.failed.html").exists()


def test_a_report_that_never_ends_ends_with_its_time(capsys):
    template_of("size: int = 8", "while True: size += 1")

    assert main(["report", "mine.ipynb", "--timeout", "1s"]) == 2

    # The start of the kernel counts, so on a busy machine it may be the first cell.
    assert re.search(r"Cell \d of mine\.ipynb was not done after 1 s", capsys.readouterr().err)
    assert Path("report.failed.html").exists()


LARGE = """from IPython.display import display
display({"image/png": "A" * 30_000_000}, raw=True)"""
LONG = """from IPython.display import HTML
HTML("<p>" + "long " * 700_000 + "</p>")"""


def test_a_page_holds_three_megabytes_and_says_what_it_left_out():
    done = execute(
        template_of("size: int = 8", LARGE, LONG, "print('x' * 5_000_000)", "print('last')")
    )

    page = page_of(done)

    assert len(page) < 3_000_000
    assert page.count("Left out: an output of") == 2
    assert "4,980,001 characters more" in page
    assert "<pre>last" in page


OWN = """import altair as alt, polars as pl
frame = pl.DataFrame({"day": [1, 2], "rate": [size, 9]})
alt.Chart(frame, title="Mine & yours").mark_bar().encode(x="day:O", y="rate:Q")"""
ELSEWHERE = """alt.Chart("http://127.0.0.1:9/x.csv").mark_bar().encode(x="day:O")"""
BY_SCRIPT = """from IPython.display import HTML
HTML("<script>document.write('drawn')</script>")"""


def test_a_template_of_one_s_own_runs_whatever_kernel_it_names_and_keeps_its_charts(capsys):
    template_of("size: int = 8", OWN, ELSEWHERE, BY_SCRIPT, note=NOTE, kernel=CONDA)

    assert main(["report", "mine.ipynb", "-p", "size=7"]) == 0

    page = Path("report.html").read_text()
    assert "<title>Weekly &lt;load&gt;</title>" in page
    assert "For whoever fills" not in page
    (drawn,) = re.findall(r'<h3>(.*?)</h3><svg role="img" aria-label="(.*?)"', page)
    assert drawn == ("Mine &amp; yours", "Mine &amp; yours. Bars: rate by day, 2 rows")
    assert "Its data are at http://127.0.0.1:9/x.csv" in page
    assert "An interactive output is not kept here" in page
    assert "<script" not in page
    assert not LOADING.search(page)
    assert not Path("mine.html").exists()
    assert capsys.readouterr().err == ""


def test_a_picture_is_called_as_it_says_or_as_its_heading():
    new = nbformat.v4
    plain = new.new_output("display_data", {"image/png": "AAAA"})
    named = new.new_output(
        "display_data", {"image/png": "AAAA"}, metadata={"image/png": {"alt": "A cat"}}
    )
    cells = [
        new.new_code_cell(outputs=[plain]),
        new.new_markdown_cell("# Load & rate\n\nSentence."),
        new.new_code_cell(outputs=[plain, named]),
    ]
    page = page_of(new.new_notebook(cells=cells, metadata={"title": "t"}))

    assert re.findall(r'<img alt="(.*?)"', page) == ["A picture", "Load &amp; rate", "A cat"]


def test_a_kernel_is_of_this_python(monkeypatch):
    factory = KernelProvisionerFactory.instance()
    monkeypatch.setattr(factory, "default_provisioner_name", "local-provisioner")  # no copy
    kernel = {**CONDA, "language": "python"}
    done = execute(template_of("size: int = 8", "import sys; print(sys.executable)", kernel=kernel))

    assert done.cells[1].outputs[0].text.strip() == sys.executable
    assert done.metadata.kernelspec.name == "python3"


def test_a_template_without_parameters_has_none_and_takes_none():
    nbformat.write(
        nbformat.v4.new_notebook(
            cells=[
                nbformat.v4.new_markdown_cell("Kept."),
                nbformat.v4.new_markdown_cell("Gone.", metadata={"tags": ["remove-cell"]}),
            ]
        ),
        "mine.ipynb",
    )

    page = page_of(execute(Path("mine.ipynb")))

    assert "<title>mine</title>" in page
    assert "Kept." in page
    assert "Gone." not in page
    with refused(InvalidInput, "mine.ipynb", "size"):
        execute(Path("mine.ipynb"), {"size": 1})


def test_a_notebook_of_another_language_is_refused():
    template = template_of("size: int = 8", kernel={**CONDA, "language": "R"})

    with refused(InvalidInput, "mine.ipynb", "R"):
        read_template(template)


def test_our_templates_are_listed_with_what_they_take(capsys):
    assert main(["report", "--list"]) == 0
    shown = capsys.readouterr().out
    assert main(["report", "--list", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)

    for name, told in facts.items():
        template = read_template(find_template(name))
        assert f"{name}: {template.about}" in shown
        assert [each["name"] for each in told["parameters"]] == [*template.parameters]
        assert "workbench" not in template.about  # what it is for, not how it is called
    assert "whose prices hold" in shown
    assert re.search(r"latency +time +100ms +the target", shown)


@pytest.mark.parametrize(
    ("source", "values", "named"),
    [
        ("size: int = 8", {"size": "9"}, ["size", "int", "'9'"]),
        ("size: int = 8", {"size": True}, ["size", "int", True]),
        ("size: float = 8", {"size": None}, ["size", "float", None]),
        ("runs: list[str] = []", {"runs": ["a", 1]}, ["runs", "list[str]", ["a", 1]]),
        ("size = 8", {}, ["mine.ipynb", "'parameters'"]),
        ("size: set = 8", {}, ["mine.ipynb", "'parameters'", "str, int"]),
        ("size: int = f()", {}, ["mine.ipynb", "'parameters'"]),
    ],
)
def test_parameters_are_of_their_kind(source, values, named):
    with refused(InvalidInput, *named):
        execute(template_of(source), values)


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [("int", "7", 7), ("bool", "Yes", True), ("bool", "no", False), ("str", "1", "1")],
)
def test_a_value_is_read_by_its_kind(kind, text, value):
    assert Parameter("each", kind, None).read(text) == value


def test_a_time_has_its_unit_in_a_text_and_is_seconds_in_python():
    target = Parameter("latency", "float", 0.1, "seconds, the target")

    assert target.read("100ms") == target.check("100ms") == target.check(0.1) == 0.1
    assert Parameter("period", "int", 60, "seconds of a point").read("1h") == 3600
    with refused(InvalidInput, "latency", "'100'", "100ms", "100s"):
        target.read("100")
    with refused(InvalidInput, "period", "'1.5s'"):
        Parameter("period", "int", 60, "seconds of a point").read("1.5s")


@pytest.mark.parametrize("kind", ["int", "float", "bool"])
def test_a_text_of_another_kind_is_refused(kind):
    with refused(InvalidInput, "each", kind, "'maybe'"):
        Parameter("each", kind, None).read("maybe")


def test_a_failing_cell_says_what_failed():
    with refused(WorkbenchError, "Cell 2", "mine.ipynb", "ZeroDivisionError"):
        execute(template_of("size: int = 8", "1 / 0"), {"size": 1})


def test_a_kernel_that_dies_is_said():
    with refused(WorkbenchError, "mine.ipynb", "cell 2", "died"):
        execute(template_of("size: int = 8", "import os; os._exit(1)"), {})


def test_what_is_no_notebook_is_refused():
    Path("mine.ipynb").write_text("once upon a time")

    with refused(InvalidInput, "mine.ipynb"):
        read_template(Path("mine.ipynb"))


def test_a_template_that_is_not_there_is_said():
    with refused(NotFound, "'other'", "capacity, choice, compare, cost-review"):
        find_template("other")


def test_a_missing_extra_is_named_before_anything_runs(monkeypatch):
    template = template_of("size: int = 8")
    monkeypatch.setitem(sys.modules, "papermill", None)

    with pytest.raises(NotAvailable, match=r"pip install 'inference-workbench\[report\]'"):
        execute(template, {"size": 1})


def test_an_installed_package_finds_the_template_that_came_with_it(tmp_path):
    root = Path(__file__).parents[2]
    shipped = tomllib.loads((root / "pyproject.toml").read_text())["tool"]["setuptools"]
    name = "workbench.notebooks.reports"
    package = tmp_path / "workbench"
    shutil.copytree(root / "workbench", package, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(root / shipped["package-dir"][name], package / "notebooks/reports")
    found = "from workbench.report.templates import find_template; print(find_template())"
    told = subprocess.run(
        [sys.executable, "-c", found],
        env={"PYTHONPATH": str(tmp_path)},
        check=True,
        capture_output=True,
        text=True,
    )

    assert shipped["package-data"][name] == ["*.ipynb"]
    assert told.stdout.strip() == str(package / "notebooks/reports/compare.ipynb")


def test_a_model_is_proposed_with_its_reasons(tmp_path):
    zoo.build(Registry(tmp_path), names=("digits-logistic", "digits-mlp-small"))
    where = {"registry": str(tmp_path), "types": ["lambda"]}
    values = {**where, "duration": 5.0, "accuracy": 0.9}

    done = execute(find_template("choice"), values)

    page = page_of(done)
    shown = re.sub(r"<[^>]*>", " ", page)
    assert "is first" in shown or "is the cheapest" in shown
    assert "accuracy at least 0.9" in shown or "accuracy &gt;= 0.9" in shown
    assert re.search(r"registry\.approve\(.{1,6}digits-", page)
    assert "What would change the choice" in shown
    assert not LOADING.search(page)
    assert not find_folders(page)


def test_an_inference_type_is_recommended_with_its_price_picture_and_table(tmp_path):
    zoo.build(Registry(tmp_path), names=("digits-logistic",))
    values = {"model": "digits-logistic", "registry": str(tmp_path), "types": ["lambda"]}

    page = page_of(execute(find_template("capacity"), {**values, "duration": 20.0}))

    order = [
        '<div class="answer"><p>',
        " a month (simulated)</p>",
        "<svg ",
        "<table>",
        "Where another type is the cheapest</h2>",
        "Details</h2>",
    ]
    assert sorted(order, key=page.index) == order
    assert page.count("<svg ") == 3
    assert not LOADING.search(page)


def test_a_fleet_is_recommended_with_its_table_and_charts(tmp_path):
    zoo.build(Registry(tmp_path), names=("digits-mlp-small",))
    traffic = {"rate": 5.0, "duration": 60.0, "boot": 5.0, "latency": 0.5}
    values = {"model": "digits-mlp-small", "registry": str(tmp_path), **traffic}

    page = page_of(execute(find_template("scaling"), values))
    shown = re.sub(r"<[^>]*>", " ", page)
    assert re.search(r"Take &quot;(all functions|instances|target|hybrid)|None surely meets", shown)
    assert re.search(r"\$[\d.]+ a month \(simulated\)", shown)
    for policy in ("all functions", "instances for the peak", "hybrid, persistence"):
        assert policy in shown
    for chart in ("Cost against attainment", "Load and instances over time", "Cost over time"):
        assert chart in page
    assert not LOADING.search(page)
    assert not find_folders(page)
