"""Executed notebooks: the tests leave them in a folder, and the site shows those still current."""

import hashlib
import re
from pathlib import Path
from typing import Any

import nbformat
from nbformat import NotebookNode

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / ".executed"
MARK = "workbench"
"""Where in a notebook's metadata it is said what was executed, and with which parameters."""

_SHOWN = "image/svg+xml", "image/png", "image/jpeg", "text/html", "text/markdown", "text/plain"
_LABEL = re.compile(r'aria-label="([^"]*)"')


def digest(notebook: NotebookNode) -> str:
    """Return the SHA-256 of the cells' kinds and sources: outputs and metadata do not count."""
    text = "\0".join(f"{cell.cell_type}\0{cell.source}" for cell in notebook.cells)
    return hashlib.sha256(text.encode()).hexdigest()


def keep(
    path: Path, executed: NotebookNode, parameters: dict[str, Any], folder: Path = FOLDER
) -> Path:
    """Write the executed notebook of a file, with the digest of its source, and return where.

    Cells that the source has not (parameters, checks) are left out.
    """
    source = nbformat.read(path, as_version=4)
    known = {cell.id for cell in source.cells}
    kept = NotebookNode(executed | {"cells": [c for c in executed.cells if c.id in known]})
    kept.metadata[MARK] = {"source": digest(source), "parameters": parameters}
    folder.mkdir(exist_ok=True)
    target = folder / path.name
    draft = target.with_suffix(".draft")
    nbformat.write(kept, draft)
    return draft.replace(target)


def find(path: Path, folder: Path = FOLDER) -> NotebookNode | None:
    """Return the executed notebook of a file, or None where there is none of its present source."""
    kept = folder / path.name
    if not kept.exists():
        return None
    notebook = nbformat.read(kept, as_version=4)
    source = digest(nbformat.read(path, as_version=4))
    return notebook if notebook.metadata.get(MARK, {}).get("source") == source else None


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
    return notebook


def _note(notebook: NotebookNode, name: str) -> str:
    """Return what the page says of how the notebook was executed."""
    file = f"`notebooks/{name}`"
    if MARK not in notebook.metadata:
        return f":::{{note}}\nThis page is {file}, which was not executed for this site.\n:::"
    parameters = notebook.metadata[MARK]["parameters"]
    how = ", ".join(f"`{key} = {value!r}`" for key, value in parameters.items())
    setting = f"in the quick setting of the tests ({how})" if how else "with its own parameters"
    return f":::{{note}}\nThis page is {file}, executed {setting}.\n:::"
