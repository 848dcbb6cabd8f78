"""The command that copies our notebooks into a folder and opens JupyterLab there."""

import argparse
import contextlib
import hashlib
import json
import os
import sys
from dataclasses import dataclass
from operator import methodcaller
from pathlib import Path

from workbench.cli.files import check_folder
from workbench.cli.output import Arguments, print_text, show
from workbench.errors import InvalidInput
from workbench.extras import find_missing, tell_install
from workbench.files import find_notebooks, make_folder, write_file

FIRST = "00-quickstart.ipynb"
"""The notebook that is opened."""

_COPIES = ".workbench-lab.json"
"""The file in the folder that says what each copy was: who has changed one keeps it."""

_EXTRAS = ("cloud", "report")
"""What a local cloud and reports take, which notebooks show."""

_SUFFIXES = (".ipynb", ".md")


@dataclass(frozen=True, kw_only=True)
class Copies:
    """Which notebooks were written, and which were not, because they are not what was copied."""

    written: tuple[str, ...]
    kept: tuple[str, ...]


def copy_notebooks(folder: Path) -> Copies:
    """Copy our notebooks, lessons and templates into a folder, never over one that was changed.

    Raises:
        InvalidInput: It is a file.
        StorageError: The folder cannot be written.
    """
    if folder.exists() and not folder.is_dir():
        raise InvalidInput(f"{folder} is a file: name a folder for the notebooks.")
    ours = {path: found for path, found in _list_ours().items() if not _is_same(folder, path)}
    check_folder(folder)
    before = _read_copies(folder)
    there = {path: _hash((folder / path).read_bytes()) for path in ours if (folder / path).exists()}
    kept = {path for path, found in there.items() if found not in (before.get(path), ours[path][0])}
    written = [path for path in ours if path not in kept and there.get(path) != ours[path][0]]
    for path in written:
        make_folder((folder / path).parent)
        write_file(folder / path, methodcaller("write", ours[path][1]))
    if ours:
        copied = before | {path: ours[path][0] for path in ours if path not in kept}
        write_file(folder / _COPIES, lambda file: file.write(json.dumps(copied).encode()))
    return Copies(written=tuple(written), kept=tuple(sorted(kept)))


def _list_ours() -> dict[str, tuple[str, bytes]]:
    """Return hash and content of each of our files, by its path in the folder."""
    root, found = find_notebooks(), {}
    for file in sorted(root.rglob("*")):
        path = file.relative_to(root)
        if file.suffix in _SUFFIXES and not any(part.startswith(".") for part in path.parts):
            content = file.read_bytes()
            found[path.as_posix()] = _hash(content), content
    return found


def _is_same(folder: Path, path: str) -> bool:
    """Return whether a file of the folder is ours itself, as in a checkout."""
    return (folder / path).resolve() == (find_notebooks() / path).resolve()


def _read_copies(folder: Path) -> dict[str, str]:
    """Return the hash of each copy that was made before; none where that is not known."""
    with contextlib.suppress(OSError, ValueError, RecursionError):
        found = json.loads((folder / _COPIES).read_text())
        if isinstance(found, dict):
            return found
    return {}


def _hash(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _lab(arguments: Arguments) -> int:
    folder = Path(arguments.folder)
    copies = copy_notebooks(folder)
    facts = {"folder": str(folder), "written": copies.written, "kept": copies.kept}
    show(arguments, f"Notebooks: {folder} ({len(copies.written)} written)", facts)
    if copies.kept:
        names = ", ".join(copies.kept)
        print_text(arguments, f"Kept as you changed them: {names}. To have ours, rename yours.")
    if missing := [extra for extra in _EXTRAS if find_missing(extra)]:
        print_text(arguments, f"Some of them need more: {tell_install(*missing)}")
    if not arguments.copy:
        sys.stdout.flush()
        _open(folder / FIRST)
    return 0


def _open(notebook: Path) -> None:
    """Become JupyterLab, which opens a notebook in its folder, and nothing of the web's news."""
    from workbench.widgets.notebook import kernel_options

    words = [sys.executable, "-m", "jupyterlab", "--ip=127.0.0.1", "--LabApp.news_url=None"]
    words += kernel_options()
    if os.geteuid() == 0:
        words.append("--allow-root")
    os.execv(sys.executable, [*words, str(notebook)])  # noqa: S606 - our own Python


def add_lab(parser: argparse.ArgumentParser) -> None:
    """Add `workbench lab`."""
    parser.add_argument(
        "folder", nargs="?", default="workbench-notebooks", metavar="FOLDER", help="(%(default)s)"
    )
    parser.add_argument(
        "--copy", action="store_true", help="only copy: for who opens notebooks otherwise"
    )
    parser.set_defaults(command=_lab)
