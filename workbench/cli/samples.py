"""A model's samples out of a table in a file."""

from pathlib import Path
from typing import TYPE_CHECKING

from workbench.cells import parse_frame
from workbench.errors import InvalidInput, NotFound
from workbench.registry.model import Samples
from workbench.registry.rows import as_rows
from workbench.tables import TEXT_FORMATS, column_types, open_table

if TYPE_CHECKING:
    import polars as pl

_ROWS = 100_000  # of a text file, read at a time


def read_samples(path: Path, target: str | None) -> Samples:
    """Return the rows of a Parquet, CSV or JSON Lines file; one column may be the right answers.

    Raises:
        NotFound: There is no such file.
        InvalidInput: It is of another format, empty, damaged, or lacks that column.
    """
    if not path.is_file():
        raise NotFound(f"There is no file {path}.")
    frame = _read_frame(path)
    if target is None:
        return Samples(as_rows(None, frame))
    if target not in frame.columns:
        raise InvalidInput(f"{path} has no column {target!r}; it has {frame.columns}.")
    return Samples(as_rows(None, frame.drop(target)), frame[target].to_numpy())


def _read_frame(path: Path) -> "pl.DataFrame":
    import polars as pl

    if path.suffix not in (".parquet", *TEXT_FORMATS):
        formats = ", ".join((".parquet", *TEXT_FORMATS))
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
