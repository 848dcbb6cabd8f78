"""Where a command writes: refused before hours are spent on what should go there."""

import contextlib
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path

from workbench.errors import StorageError


def file_name(label: str) -> str:
    """Return a label as a file's name.

    >>> file_name("up to 8, 25 ms")
    'up-to-8-25-ms'
    """
    return re.sub(r"[^a-z0-9.]+", "-", label.lower()).strip("-")


def check_new(path: Path) -> None:
    """Refuse a path that cannot be written, before hours are spent on what should go there."""
    if path.exists():
        raise StorageError(f"{path} exists already: choose another name.")
    check_folder(path.parent)


def check_folder(path: Path) -> None:
    """Refuse a folder that cannot be written."""
    ground = next(each for each in [path, *path.absolute().parents] if each.exists())
    with translate_write_errors(path), tempfile.TemporaryFile(dir=ground):
        pass


@contextlib.contextmanager
def translate_write_errors(path: Path) -> Iterator[None]:
    """Turn a file that cannot be written into one of our errors."""
    try:
        yield
    except OSError as error:
        raise StorageError(f"{path} cannot be written: {error.strerror}.") from error
