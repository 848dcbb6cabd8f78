"""The notebooks run from top to bottom, without a browser and without internet."""

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

QUICK = {"03-adaptive-batching.ipynb": {"requests": 20_000, "duration": 300.0}}
NOTEBOOKS = sorted((Path(__file__).parents[1] / "notebooks").glob("*.ipynb"))


def with_parameters(notebook, values):
    """Add a cell that sets parameters after the cell of their defaults, as papermill does."""
    tagged = [cell.metadata.get("tags") == ["parameters"] for cell in notebook.cells]
    lines = "\n".join(f"{name} = {value!r}" for name, value in values.items())
    notebook.cells.insert(tagged.index(True) + 1, nbformat.v4.new_code_cell(lines))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
def test_a_notebook_runs(path, workbench_home, jupyter_env, monkeypatch, tmp_path):
    for name, value in jupyter_env.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("WORKBENCH_HOME", str(workbench_home))
    monkeypatch.delenv("WORKBENCH_BATCH_MAPS", raising=False)
    notebook = nbformat.read(path, as_version=4)
    with_parameters(notebook, QUICK.get(path.name, {}))

    client = NotebookClient(
        notebook,
        kernel_name="python3",
        timeout=240,
        store_widget_state=False,
        resources={"metadata": {"path": str(tmp_path)}},
    )
    client.execute()

    assert any(cell.get("outputs") for cell in notebook.cells)
    assert "widgets" not in notebook.metadata
