"""A lesson's notebook in the form that nbgrader takes, written without it (its schema 3, of 0.9).

A guess earns its point, right or not: what is learned is in the outcome.
"""

import json
import os
from pathlib import Path
from typing import Any

from workbench.files import as_path, make_folder, write_file
from workbench.lessons.notebooks import find_notebook

_SCHEMA = 3  # nbgrader's, of what a cell says of itself
_SOLUTION = "### BEGIN SOLUTION\n{}\n### END SOLUTION\n{}"
_HOW = (
    "\n\nHere: give a guess as a line of its own, such as `guess = 20`, where it says "
    "`YOUR CODE HERE`."
)


def write_assignment(topic: str, folder: str | os.PathLike[str]) -> Path:
    """Write FOLDER/source/TOPIC/TOPIC.ipynb, what `nbgrader generate_assignment` starts from.

    Raises:
        NotFound: There is no such lesson.
        StorageError: The file cannot be written.
    """
    notebook = json.loads(find_notebook(topic).read_text(encoding="utf-8"))
    notebook["cells"] = [new for cell in notebook["cells"] for new in _convert(cell)]
    target = as_path(folder) / "source" / topic / f"{topic}.ipynb"
    make_folder(target.parent)
    text = json.dumps(notebook, indent=1, ensure_ascii=False)
    return write_file(target, lambda file: file.write(text.encode()))


def _convert(cell: dict[str, Any]) -> list[dict[str, Any]]:
    """Return a cell as nbgrader takes it; after a guess comes one that gives the point."""
    source, tags = "".join(cell["source"]), cell["metadata"].get("tags", [])
    if "`None`" in source:
        return [{**cell, "source": source + _HOW}]
    if "parameters" in tags:
        return [_mark_cell(cell, "name", _SOLUTION.format('name = "Ada"', "reveal = False"))]
    if "guess" not in tags:
        return [cell]
    exercise = source.split('"')[1]
    asked = _SOLUTION.format("guess = 1", f'lesson.guess("{exercise}", guess)')
    check = f'assert "{exercise}" in lesson.guesses'
    return [
        _mark_cell(cell, exercise, asked),
        _mark_cell(cell, f"{exercise}-guessed", check, points=1, locked=True),
    ]


def _mark_cell(
    cell: dict[str, Any], name: str, source: str, *, points: int | None = None, locked: bool = False
) -> dict[str, Any]:
    facts = {
        "schema_version": _SCHEMA,
        "grade_id": name,
        "grade": points is not None,
        "locked": locked,
        "solution": not locked,
        "task": False,
    }
    if points is not None:
        facts["points"] = points
    return {**cell, "id": name, "source": source, "metadata": {"nbgrader": facts}}
