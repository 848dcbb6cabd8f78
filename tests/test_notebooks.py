"""The notebooks run from top to bottom, without a browser and without internet."""

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

BATCHING = "03-adaptive-batching.ipynb"
QUICK = {
    "00-quickstart.ipynb": {"requests": 250},
    BATCHING: {"requests": 20_000, "duration": 300.0},
    "01-platforms.ipynb": {"model_name": "digits-mlp-large", "requests": 40, "duration": 90.0},
    "04-hybrid-scaling.ipynb": {"rate": 10.0, "duration": 2400.0, "hours": 0.5},
    "05-model-selection.ipynb": {"requests": 60, "seeds": 1, "images": 2_000, "sent": 150},
}
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

    def execute(path, folder, **values):
        notebook = nbformat.read(path, as_version=4)
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


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
def test_a_notebook_runs(path, execute, tmp_path):
    notebook = execute(path, tmp_path)

    assert any(cell.get("outputs") for cell in notebook.cells)
    assert "widgets" not in notebook.metadata
    if path.name == BATCHING:
        assert "3 of the 48 published arrival processes: NYS 3, " in printed_by(notebook)


@pytest.mark.skipif(not MAPS.exists(), reason="needs shared/data beside the checkout")
def test_all_arrival_processes_are_taken_from_beside_the_checkout(execute, tmp_path):
    (tmp_path / "shared").symlink_to(MAPS.parents[1])
    beside = tmp_path / "checkout" / "notebooks"
    beside.mkdir(parents=True)

    notebook = execute(ROOT / "notebooks" / BATCHING, beside, requests=2_000)

    assert "48 of the 48 published arrival processes: NYS 1, NYS 2, " in printed_by(notebook)
