"""Executed notebooks: the tests leave them in a folder, and the site shows those still current."""

import hashlib
import re
from pathlib import Path

import nbformat
from nbformat import NotebookNode

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / ".executed"
MARK = "workbench"
"""Where in a notebook's metadata it is said what was executed, and with which parameters."""

_SHOWN = "image/svg+xml", "image/png", "image/jpeg", "text/html", "text/markdown", "text/plain"
_LABEL = re.compile(r'aria-label="([^"]*)"')


def digest(notebook: NotebookNode) -> str:
    """Return the SHA-256 of the cells' ids, kinds and sources; outputs and tags do not count."""
    text = "\0".join(f"{cell.id}\0{cell.cell_type}\0{cell.source}" for cell in notebook.cells)
    return hashlib.sha256(text.encode()).hexdigest()


def keep(path: Path, notebook: NotebookNode, folder: Path = FOLDER) -> Path:
    """Write the executed notebook of a file, with the digest of its source, and return where.

    Cells that the source has not are left out; what the first of them sets are parameters.
    """
    source = nbformat.read(path, as_version=4)
    known = {cell.id for cell in source.cells}
    added = [cell.source for cell in notebook.cells if cell.id not in known]
    kept = NotebookNode(notebook, cells=[cell for cell in notebook.cells if cell.id in known])
    mark = {"source": digest(source), "parameters": "".join(added[:1]).splitlines()}
    kept.metadata = NotebookNode(notebook.metadata, **{MARK: mark})
    folder.mkdir(exist_ok=True)
    draft = folder / f"{path.stem}.draft"
    nbformat.write(kept, draft)
    return draft.replace(folder / path.name)


def find(path: Path, folder: Path = FOLDER) -> NotebookNode | None:
    """Return the executed notebook of a file, or None where there is none of its present source."""
    try:
        notebook = nbformat.read(folder / path.name, as_version=4)
        found = notebook.metadata[MARK]["source"]
    except Exception:  # noqa: BLE001 - none, or damaged: nbformat raises whatever it stumbles over
        return None
    return notebook if found == digest(nbformat.read(path, as_version=4)) else None


def prepare(notebook: NotebookNode, name: str) -> NotebookNode:
    """Return a notebook as the site shows it: one kind of each output, and how it was executed."""
    for cell in notebook.cells:
        for output in cell.get("outputs", ()):
            if data := output.get("data"):
                kind = next((kind for kind in _SHOWN if kind in data), "text/plain")
                output.data = NotebookNode({kind: data.get(kind, "")})
                if kind == "image/svg+xml" and (label := _LABEL.search(data[kind])):
                    cell.metadata["mystnb"] = {"image": {"alt": label[1]}}
    notebook.cells.insert(1, nbformat.v4.new_markdown_cell(_note(notebook, name)))
    notebook.cells = [part for cell in notebook.cells for part in (*_place(cell), cell)]
    return notebook


def _place(cell: NotebookNode) -> list[NotebookNode]:
    """Return the place on the page to which links to a cell lead that has a name for an id."""
    named = cell.cell_type == "code" and cell.id.startswith("claim-")
    return [nbformat.v4.new_markdown_cell(f"(cell-{cell.id})=")] * named


def _note(notebook: NotebookNode, name: str) -> str:
    """Return what the page says of how the notebook was executed."""
    file = f"`{name}`"
    if MARK not in notebook.metadata:
        return f":::{{note}}\nThis page is {file}, which was not executed for this site.\n:::"
    lines = notebook.metadata[MARK]["parameters"]
    how = f"in the quick setting of the tests (`{'; '.join(lines)}`)" if lines else "as it stands"
    return f":::{{note}}\nThis page is {file}, executed {how}.\n:::"
