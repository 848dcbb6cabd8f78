"""The notebooks run from top to bottom, without a browser and without internet."""

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

NOTEBOOKS = sorted((Path(__file__).parents[1] / "notebooks").glob("*.ipynb"))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
def test_a_notebook_runs(path, workbench_home, jupyter_env, monkeypatch, tmp_path):
    for name, value in jupyter_env.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("WORKBENCH_HOME", str(workbench_home))
    notebook = nbformat.read(path, as_version=4)

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
