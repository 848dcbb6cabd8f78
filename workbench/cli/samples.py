"""A model's samples out of a table or arrays in a file."""

import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from workbench.errors import InvalidInput, NotFound
from workbench.registry.model import Samples
from workbench.registry.rows import as_rows
from workbench.tables import TEXT_FORMATS, column_types, open_table
from workbench.tables.cells import parse_frame

if TYPE_CHECKING:
    import polars as pl

_ARRAYS = (".npy", ".npz")
_ROWS = 100_000  # of a text file, read at a time


def read_samples(path: Path, target: str | None) -> Samples:
    """Return the rows of a file; one column, or array of an .npz, may be the right answers.

    Raises:
        NotFound: There is no such file.
        InvalidInput: It is of another format, empty, damaged, or lacks that column.
    """
    if not path.is_file():
        raise NotFound(f"There is no file {path}.")
    rows = _load(path) if path.suffix in _ARRAYS else _columns(_read_frame(path))
    if target is None:
        return Samples(as_rows(None, rows))
    names = list(rows) if isinstance(rows, dict) else []
    if target not in names:
        raise InvalidInput(f"{path} has no column {target!r}; it has {names}.")
    targets = np.asarray(rows.pop(target))
    return Samples(as_rows(None, rows), targets)


def _columns(frame: "pl.DataFrame") -> dict[str, Any]:
    return {each.name: each for each in frame.get_columns()}


def _load(path: Path) -> Any:  # noqa: ANN401 - an array, or several by name
    try:
        loaded = np.load(path, allow_pickle=False)
        return dict(loaded) if path.suffix == ".npz" else loaded
    except (ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise InvalidInput(f"{path} cannot be read as {path.suffix[1:]}: {error}") from error


def _read_frame(path: Path) -> "pl.DataFrame":
    import polars as pl

    if path.suffix not in (".parquet", *TEXT_FORMATS):
        formats = ", ".join((".parquet", *TEXT_FORMATS, *_ARRAYS))
        raise InvalidInput(f"Samples come from a file of {formats}, got {path}.")
    try:
        if path.suffix == ".parquet":
            return pl.read_parquet(path, glob=False)
        table = open_table(path)
        cells = pl.concat(list(table.batches(_ROWS)))
        return parse_frame(cells, column_types(table))
    except InvalidInput:
        raise
    except (ValueError, OSError, pl.exceptions.PolarsError) as error:
        raise InvalidInput(f"{path} cannot be read as {path.suffix[1:]}: {error}") from error
