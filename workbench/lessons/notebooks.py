"""Where the notebooks of the lessons are."""

from pathlib import Path

from workbench.errors import NotFound
from workbench.files import find_notebooks


def find_notebook(topic: str) -> Path:
    """Return the notebook of a lesson: that of the checkout, or the one that is installed.

    Raises:
        NotFound: There is none.

    >>> find_notebook("batching").name
    'batching.ipynb'
    """
    path = find_notebooks() / "classroom" / f"{topic}.ipynb"
    if not path.is_file():
        raise NotFound(f"No notebook of the lesson {topic!r} is installed.")
    return path
