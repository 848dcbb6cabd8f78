"""Where the notebooks of the lessons are."""

from pathlib import Path

import workbench
from workbench.errors import NotFound


def find_notebook(topic: str) -> Path:
    """Return the notebook of a lesson: that of the checkout, or the one that is installed.

    Raises:
        NotFound: There is none.

    >>> find_notebook("batching").name
    'batching.ipynb'
    """
    package = Path(workbench.__file__).parent
    for folder in (package.parent / "notebooks/classroom", package / "notebooks/classroom"):
        if (path := folder / f"{topic}.ipynb").is_file():
            return path
    raise NotFound(f"No notebook of the lesson {topic!r} is installed.")
