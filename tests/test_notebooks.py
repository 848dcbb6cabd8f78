"""The notebooks run from top to bottom, without a browser and without internet, and are right."""

import json
import re
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

BATCHING = "03-adaptive-batching.ipynb"
QUICK = {
    "00-quickstart.ipynb": {"requests": 300},
    BATCHING: {"requests": 20_000, "duration": 300.0},
    "01-platforms.ipynb": {"model_name": "digits-mlp-large", "requests": 40, "duration": 90.0},
    "04-hybrid-scaling.ipynb": {"rate": 10.0, "duration": 2400.0, "hours": 0.5},
    "05-model-selection.ipynb": {"requests": 60, "seeds": 1, "images": 2_000, "sent": 150},
}
# What each notebook's findings must say, computed again at its end without `workbench.findings`.
AGAIN = {
    "00-quickstart.ipynb": """
ordered = [sorted(run.latencies.tolist()) for run in (unbatched, batched)]
again = [f"{duration(each[math.ceil(0.95 * len(each)) - 1])} with" for each in ordered]
again += [
    f"{dollars(1e6 * hourly_price / 3600 * run.frame['finished'].max() / len(run))} with"
    for run in (unbatched, batched)
]
expected = math.exp(-600 * len(simulated) / simulated.frame["scheduled"].max())
again += [f"{percent(simulated.frame['cold'].mean())} of", f"= {percent(expected)}"]
""",
    "01-platforms.ipynb": """
rows = table.frame.filter(pl.col("verdict") == "met").sort("per_million")
again = [f'{len(rows)} surely meet the target; the cheapest of these is "{rows["run"][0]}"'
    if len(rows) else f"None of {len(table.frame)} surely meets the target"]
due = simulated[2].frame.filter(pl.col("scheduled").is_between(start, stop, closed="left"))
again += [percent((due["latency"] <= slo.latency).mean()) + f' with "{names[2]}"']
again += [f"{word}: " for word in real.frame["verdict"].unique()]
""",
    BATCHING: """
rows = policies.filter(pl.col("verdict") == "met").sort("per_million")
again = [f'the cheapest of these is "{rows["policy"][0]}" at {dollars(rows["per_million"][0])}']
again += [percent(shares["in 32s"][1]), percent(errors["exact"].max())]
again += [duration(chosen["NYS 3"]["latency"][1])]
""",
    "04-hybrid-scaling.ipynb": """
met = [name for name in ours if (runs[name].latencies <= latency).mean() >= 0.99]
first = min(met, key=lambda name: wb.cost(runs[name]).total)
share = wb.cost(runs[first]).total / wb.cost(runs["MArk described"]).total
again = [f'"{first}" costs {dollars(wb.cost(runs[first]).total)}', f'{percent(share)} of "MArk d']
again += [percent((runs[best].frame["place"] == 1).mean()) + " of the requests"]
""",
    "05-model-selection.ipynb": """
again = [percent((cells["time"] / cells["rebuilt"]).max())]
best = max(runs, key=lambda name: measured.filter(run=name)["effective"][0])
again += [f'"{best}" has the highest share']
again += [f"{name} {percent(share)}" for name, share in late.items()]
cheapest = min((row.cost for row in found.rows if not row.misses), default=0)
again += [dollars(cheapest)] if found.feasible else [found.sentence]
""",
}
AGAIN_FROM = """
import json, math
import polars as pl
from workbench.formatting import dollars, duration, percent
"""
TITLES = "Finding. ", "Not so here. ", "Cannot tell. "
ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
MAPS = ROOT.parent / "shared" / "data" / "batch_maps.csv"


def with_parameters(notebook, values):
    """Add a cell that sets parameters after the cell of their defaults, as papermill does."""
    tagged = [cell.metadata.get("tags") == ["parameters"] for cell in notebook.cells]
    lines = "\n".join(f"{name} = {value!r}" for name, value in values.items())
    notebook.cells.insert(tagged.index(True) + 1, nbformat.v4.new_code_cell(lines))


@pytest.fixture(name="execute")
def _execute(workbench_home, jupyter_env, monkeypatch):
    """A function that runs a notebook in a folder and returns it with its outputs."""
    for name, value in jupyter_env.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("WORKBENCH_HOME", str(workbench_home))
    monkeypatch.delenv("WORKBENCH_BATCH_MAPS", raising=False)

    def execute(path, folder, *, again="", **values):
        notebook = nbformat.read(path, as_version=4)
        if again:
            code = f"{AGAIN_FROM}{again}print(json.dumps(again))"
            notebook.cells.append(nbformat.v4.new_code_cell(code))
        with_parameters(notebook, QUICK.get(path.name, {}) | values)
        client = NotebookClient(
            notebook,
            kernel_name="python3",
            timeout=240,
            store_widget_state=False,
            resources={"metadata": {"path": str(folder)}},
        )
        return client.execute()

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
    notebook = execute(path, tmp_path, again=AGAIN[path.name])

    assert any(cell.get("outputs") for cell in notebook.cells)
    assert "widgets" not in notebook.metadata
    found = " ".join(findings_of(notebook))
    again = json.loads(printed_by(notebook).splitlines()[-1])
    assert [part for part in again if part not in found] == []
    if path.name == BATCHING:
        assert "3 of the 48 published arrival processes: NYS 3, " in printed_by(notebook)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
def test_no_finding_is_written_by_hand(path):
    notebook = nbformat.read(path, as_version=4)
    prose = [cell.source for cell in notebook.cells if cell.cell_type == "markdown"]

    assert not [text for text in prose if re.search(r"\*\*Finding", text)]
    assert not [cell for cell in notebook.cells if "Markdown(" in cell.source]
    assert sum("findings." in cell.source for cell in notebook.cells) >= 4


@pytest.mark.skipif(not MAPS.exists(), reason="needs shared/data beside the checkout")
def test_all_arrival_processes_are_taken_from_beside_the_checkout(execute, tmp_path):
    (tmp_path / "shared").symlink_to(MAPS.parents[1])
    beside = tmp_path / "checkout" / "notebooks"
    beside.mkdir(parents=True)

    notebook = execute(ROOT / "notebooks" / BATCHING, beside, requests=2_000)

    assert "48 of the 48 published arrival processes: NYS 1, NYS 2, " in printed_by(notebook)
