"""How the workbench was installed, and what to type there."""

import shlex
import shutil
import sys
from pathlib import Path

from workbench.files import find_notebooks


def is_checkout() -> bool:
    """Return whether this is a checkout, where `make` has the commands."""
    return (find_notebooks().parent / "Makefile").is_file()


def name_command() -> str:
    """Return how the command is typed here: its name, or its path where it is not found by it."""
    typed, found = Path(sys.argv[0]), shutil.which("workbench")
    if typed.name != "workbench" or (found and Path(found).resolve() == typed.resolve()):
        return "workbench"
    below = typed.is_relative_to(Path.cwd())
    return shlex.quote(str(typed.relative_to(Path.cwd()) if below else typed))
