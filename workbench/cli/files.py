"""What a command writes: refused before hours are spent on what should go there."""

import contextlib
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workbench.errors import InvalidInput, StorageError
from workbench.files import make_folder, write_file

if TYPE_CHECKING:
    import polars as pl

_WRITERS: Mapping[str, Callable[["pl.DataFrame", Any], object]] = {
    ".csv": lambda frame, file: frame.write_csv(file),
    ".json": lambda frame, file: frame.write_json(file),
    ".parquet": lambda frame, file: frame.write_parquet(file),
}
TABLE_FORMATS = ", ".join(_WRITERS)
"""How the name of a table's file may end."""


def check_table(path: str | None) -> None:
    """Refuse a table's file that cannot be written, or whose format is not known."""
    check_file(path, _WRITERS)


def check_file(path: str | None, formats: Iterable[str]) -> None:
    """Refuse a file that cannot be written, or whose name ends in none of these ways."""
    if path is None:
        return
    if Path(path).suffix not in formats:
        raise InvalidInput(f"--out names a file that ends in {', '.join(formats)}; got {path!r}.")
    check_new(Path(path))


def write_table(frame: "pl.DataFrame", path: str | None) -> list[str]:
    """Return the path of a file that now holds the frame, as its name ends; of none, none."""
    if path is None:
        return []
    make_folder(Path(path).parent)
    return [str(write_file(path, lambda file: _WRITERS[Path(path).suffix](frame, file)))]


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
