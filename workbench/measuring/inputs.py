"""A user's data as pieces of rows that a model takes, however large the data are.

Data can be gone through more than once and come in the same pieces each time. Nothing is unpickled.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, get_args

import numpy as np
from numpy.typing import NDArray

from workbench.errors import InvalidInput, NotFound
from workbench.files import as_path
from workbench.measuring.conversion import InputSpec, column_names
from workbench.registry.onnx import Tensor
from workbench.registry.rows import Missing, as_frame, as_rows, find_missing, read_columns
from workbench.tables import (
    TEXT_FORMATS,
    TextTable,
    column_types,
    open_table,
)
from workbench.tables.cells import as_schema, parse_frame
from workbench.validation import as_tuple, choose

if TYPE_CHECKING:
    import polars as pl

PIECE_BYTES = 1024 * 1024
"""Bytes of a piece, about: with 4 MB batch transform was slower (see bench_transform.py)."""

_FORMATS = (".parquet", ".npy", ".json", *TEXT_FORMATS)


class Piece(Protocol):
    """Some of the rows, read when they are asked for, in whatever process that is."""

    def inputs(self) -> NDArray[Any]:
        """Return the rows as the model takes them."""

    def frame(self) -> "pl.DataFrame":
        """Return the rows as they are."""


@dataclass(frozen=True, slots=True)
class _MemoryPiece:
    """Rows that are in memory."""

    taken: InputSpec
    rows: "NDArray[Any] | pl.DataFrame"
    first: int = 0

    def inputs(self) -> NDArray[Any]:
        return self.taken.of(self.rows, first=self.first)

    def frame(self) -> "pl.DataFrame":
        import polars as pl

        if not isinstance(self.rows, np.ndarray):
            return self.rows
        if self.rows.dtype.names:
            return as_frame(self.rows)
        if self.rows.ndim == 2:
            return pl.DataFrame(self.rows, schema=[f"x{i}" for i in range(self.rows.shape[1])])
        return pl.DataFrame({"x": pl.Series(self.rows)})


@dataclass(frozen=True, slots=True)
class _TextPiece(_MemoryPiece):
    """Rows of a text file, each cell as it stands there."""

    table: TextTable | None = None

    def frame(self) -> "pl.DataFrame":
        import polars as pl

        assert self.table is not None  # noqa: S101 - it has one; only the parent has none
        assert isinstance(self.rows, pl.DataFrame)  # noqa: S101 - of a text file
        types = column_types(self.table, self.taken.schema)
        return parse_frame(self.rows, types, first=self.first)


@dataclass(frozen=True, slots=True)
class _FilePiece:
    """Rows of a file that can be read from any place."""

    taken: InputSpec
    path: Path
    first: int
    count: int

    def inputs(self) -> NDArray[Any]:
        return self._read().inputs()

    def frame(self) -> "pl.DataFrame":
        return self._read().frame()

    def _read(self) -> _MemoryPiece:
        import polars as pl

        if self.path.suffix == ".npy":
            mapped = np.load(self.path, mmap_mode="r", allow_pickle=False)
            # a copy: a slice would keep the whole file mapped
            rows = np.array(mapped[self.first : self.first + self.count])
            return _MemoryPiece(self.taken, rows, self.first)
        # without glob, as a name may have * in it
        part = pl.scan_parquet(self.path, glob=False).slice(self.first, self.count)
        return _MemoryPiece(self.taken, part.collect(), self.first)


@dataclass(frozen=True, slots=True)
class Source:
    """Data for a model.

    Attributes:
        taken: What the model takes of them.
        names: The columns of a frame or file; () of an array.
        count: How many rows there are; None: that is not known before they are read.
    """

    taken: InputSpec
    names: tuple[str, ...]
    count: int | None
    _pieces: Callable[[int], Iterator[Piece]]

    def pieces(self, workers: int = 1) -> Iterator[Piece]:
        """Return the rows in pieces of about 1 MB, smaller where every worker is to have some."""
        rows = max(1, PIECE_BYTES // self.taken.row_bytes)
        if self.count is not None:
            # two for each: if one worker is slow, another takes its second
            rows = min(rows, max(1, -(-self.count // (2 * workers))))
        return self._pieces(rows)

    def check(self) -> None:
        """Require that there are rows, and that the model takes the first of them."""
        first = next(self._pieces(1), None)
        if first is None:
            raise InvalidInput("The data hold no rows; at least 1 is needed.")
        first.inputs()


def open_source(
    data: Any,  # noqa: ANN401 - a path, an array or a frame
    tensor: Tensor,
    *,
    columns: Iterable[str] | None = None,
    header: bool | None = None,
    schema: Mapping[str, Any] | None = None,
    missing: Missing = "refuse",
) -> Source:
    """Return data for a model that takes this tensor.

    Args:
        data: An array whose first axis are rows, a frame of Polars or pandas, columns by name, a
            list of dicts, or the path of a `.parquet`, `.csv`, `.jsonl`, `.json` or `.npy` file.
        tensor: The model's input.
        columns: Those of a frame or file that the model takes, by default all.
        header: Whether a CSV has one, where its first line does not tell.
        schema: The types of columns of a text file, by name, where its cells do not tell.
        missing: "nan" has the model see NaN where a value is missing.

    Raises:
        InvalidInput: They are of another kind, hold no rows, or the model does not take them.
        NotFound: There is no such file.
    """
    choose("missing", missing, get_args(Missing))
    chosen = None if columns is None else as_tuple("columns", columns)
    spec = InputSpec(tensor, chosen, missing, schema=as_schema(schema))
    source = (
        _file_source(as_path(data), spec, header=header)
        if isinstance(data, str | Path)
        else _memory_source(data, spec)
    )
    lacking = [name for name in (*(spec.columns or ()), *spec.schema) if name not in source.names]
    if lacking:
        raise InvalidInput(f"The data have no columns {lacking}; they have {list(source.names)}.")
    source.check()
    return source


def _memory_source(data: Any, spec: InputSpec) -> Source:  # noqa: ANN401 - an array or a frame
    import polars as pl

    if spec.schema:
        raise InvalidInput("schema is for text files; arrays and frames have types of their own.")
    if not isinstance(data, pl.DataFrame | np.ndarray):
        data = _as_frame(data)
    if isinstance(data, np.ndarray) and not data.ndim:
        raise _kind_error(data)
    names = tuple(data.columns) if isinstance(data, pl.DataFrame) else data.dtype.names or ()

    def pieces(rows: int) -> Iterator[Piece]:
        return (_MemoryPiece(spec, data[at : at + rows], at) for at in range(0, len(data), rows))

    return Source(spec, names, len(data), pieces)


def _as_frame(data: Any) -> "pl.DataFrame":  # noqa: ANN401
    """Return a frame of pandas, columns by name or a list of dicts as a Polars frame."""
    import polars as pl

    columns = read_columns(data)
    if columns is None:
        raise _kind_error(data)
    return pl.DataFrame([_as_series(name, values) for name, values in columns.items()])


def _as_series(name: str, values: NDArray[Any]) -> "pl.Series":
    import polars as pl

    try:
        if values.dtype.kind != "O":
            return pl.Series(name, values)
        known = values.copy()
        known[find_missing(values)] = None
        return pl.Series(name, known.tolist())
    except (pl.exceptions.PolarsError, TypeError, ValueError, OverflowError):
        # Whole numbers beside others, which Polars does not mix; else an error that names the row.
        return pl.Series(name, as_rows(None, {name: values})[name]).fill_nan(None)


def _kind_error(data: object) -> InvalidInput:
    return InvalidInput(
        "data must be a NumPy array of rows, a frame of Polars or pandas, columns by name, a list "
        f"of dicts or the path of a file, got {type(data).__name__}."
    )


def _file_source(path: Path, spec: InputSpec, *, header: bool | None) -> Source:
    import polars as pl

    if path.suffix not in _FORMATS:
        raise InvalidInput(f"data must be a file of {', '.join(_FORMATS)}, got {path}.")
    if not path.is_file():
        raise NotFound(f"There is no file {path}.")
    try:
        return _open_file(path.absolute(), spec, header=header)
    except InvalidInput:
        raise
    except (ValueError, OSError, EOFError, TypeError, pl.exceptions.PolarsError) as error:
        raise _read_error(path, error) from error


def _open_file(path: Path, spec: InputSpec, *, header: bool | None) -> Source:
    import polars as pl

    if path.suffix == ".json":
        return _memory_source(json.loads(path.read_bytes()), spec)
    if path.suffix in TEXT_FORMATS:
        wanted = column_names(spec.tensor) if spec.tensor.fields else None
        table = open_table(path, header=header, columns=spec.columns or wanted)
        if wanted and not table.header and len(table.names) == len(wanted):
            table = replace(table, names=tuple(wanted))  # they stand in the model's order
        read = partial(_text_pieces, table, replace(spec, text=True, empty=not table.json))
        return Source(spec, table.names, None, read)
    names: tuple[str, ...] = ()
    if path.suffix == ".npy":
        count = len(np.load(path, mmap_mode="r", allow_pickle=False))
    else:
        scan = pl.scan_parquet(path, glob=False)
        names = tuple(scan.collect_schema().names())
        count = int(scan.select(pl.len()).collect().item())

    def pieces(rows: int) -> Iterator[Piece]:
        starts = range(0, count, rows)
        return (_FilePiece(spec, path, at, min(rows, count - at)) for at in starts)

    return Source(spec, names, count, pieces)


def _text_pieces(table: TextTable, spec: InputSpec, rows: int) -> Iterator[Piece]:
    """Return the rows of a file that can only be read from its beginning."""
    import polars as pl

    first = 0
    try:
        for batch in table.batches(rows):
            yield _TextPiece(spec, batch, first, table)
            first += len(batch)
    except pl.exceptions.PolarsError as error:
        raise _read_error(table.path, error) from error


def _read_error(path: Path, error: Exception) -> InvalidInput:
    return InvalidInput(f"{path} cannot be read as {path.suffix[1:]}: {error}")
