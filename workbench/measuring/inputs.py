"""A user's data as pieces of rows that a model takes, however large the data are.

Data can be gone through more than once and come in the same pieces each time. Nothing is unpickled.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from workbench.errors import InvalidInput, NotFound
from workbench.files import as_path
from workbench.registry.onnx import Tensor

if TYPE_CHECKING:
    import polars as pl

PIECE_BYTES = 1024 * 1024
"""Bytes of a piece, about: with 4 MB batch transform was slower (see bench_transform.py)."""

_FORMATS = (".parquet", ".csv", ".npy")


class Piece(Protocol):
    """Some of the rows, read when they are asked for, in whatever process that is."""

    def inputs(self) -> NDArray[Any]:
        """Return the rows as the model takes them."""
        ...

    def frame(self) -> "pl.DataFrame":
        """Return the rows as they are."""
        ...


@dataclass(frozen=True, slots=True)
class InputSpec:
    """What a model takes: a tensor, out of these columns of a frame (None: of all)."""

    tensor: Tensor
    columns: tuple[str, ...] | None = None

    def of(self, rows: "NDArray[Any] | pl.DataFrame") -> NDArray[Any]:
        """Return rows as the model takes them.

        Raises:
            InvalidInput: They are not of that shape, or not such numbers.

        >>> InputSpec(Tensor("x", "float32", (2,))).of(np.array([[1, 2]])).dtype.name
        'float32'
        """
        tensor = self.tensor
        values = rows if isinstance(rows, np.ndarray) else self._convert_frame(rows)
        wanted = f"the model takes {tensor}"
        if values.dtype.kind not in "biuf":
            raise InvalidInput(f"Rows must be numbers, got {values.dtype}; {wanted}.")
        if not np.can_cast(values.dtype, tensor.dtype, "same_kind"):
            raise InvalidInput(f"The rows are {values.dtype}; {wanted}: convert them.")
        if not tensor.fits(values):
            raise InvalidInput(
                f"The rows have shape {values.shape}; {wanted}: name its columns, or reshape them."
            )
        return np.ascontiguousarray(values, tensor.dtype)

    def _convert_frame(self, frame: "pl.DataFrame") -> NDArray[Any]:
        import polars as pl

        chosen = frame.select(self.columns or frame.columns)
        wanted = f"the model takes {self.tensor}"
        for column in chosen.iter_columns():
            if gaps := column.null_count():
                raise InvalidInput(
                    f"Column {column.name!r} has no value in {gaps} of these {len(chosen)} rows; "
                    f"{wanted}: fill them or leave those rows out. Where the model is to see NaN, "
                    "write NaN."
                )
        if text := [name for name, kind in chosen.schema.items() if kind == pl.String]:
            raise InvalidInput(f"Columns {text} hold text; {wanted}: name its columns.")
        values = chosen.to_numpy()
        row = self.tensor.shape
        if not row:
            return values[:, 0] if values.shape[1] == 1 else values
        whole = [size for size in row if size is not None]
        if 1 < len(whole) == len(row) and values.shape[1] == np.prod(whole):
            return values.reshape(-1, *whole)
        return values

    @property
    def row_bytes(self) -> int:
        """Bytes of a row, an axis of any size counted once."""
        sizes = [size or 1 for size in self.tensor.shape]
        return int(np.prod(sizes, initial=np.dtype(self.tensor.dtype).itemsize))


@dataclass(frozen=True, slots=True)
class _MemoryPiece:
    """Rows that are in memory."""

    taken: InputSpec
    rows: "NDArray[Any] | pl.DataFrame"

    def inputs(self) -> NDArray[Any]:
        return self.taken.of(self.rows)

    def frame(self) -> "pl.DataFrame":
        import polars as pl

        if not isinstance(self.rows, np.ndarray):
            return self.rows
        if self.rows.ndim == 2:
            return pl.DataFrame(self.rows, schema=[f"x{i}" for i in range(self.rows.shape[1])])
        return pl.DataFrame({"x": pl.Series(self.rows)})


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
            return _MemoryPiece(self.taken, np.array(mapped[self.first : self.first + self.count]))
        part = pl.scan_parquet(self.path, glob=False).slice(self.first, self.count)
        return _MemoryPiece(self.taken, part.collect())


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
            rows = min(rows, max(1, -(-self.count // (2 * workers))))
        return self._pieces(rows)

    def check(self) -> None:
        """Require that there are rows, and that the model takes the first of them.

        Raises:
            InvalidInput: There are none, or it does not.
        """
        first = next(self._pieces(1), None)
        if first is None:
            raise InvalidInput("The data hold no rows; at least 1 is needed.")
        first.inputs()


def open_source(data: Any, tensor: Tensor, *, columns: Iterable[str] | None = None) -> Source:  # noqa: ANN401 - a path, an array or a frame
    """Return data for a model that takes this tensor.

    Args:
        data: An array whose first axis are rows, a Polars frame, or the path of a `.parquet`,
            `.csv` or `.npy` file.
        tensor: The model's input.
        columns: Those of a frame or file that the model takes, by default all.

    Raises:
        InvalidInput: They are of another kind, hold no rows, or the model does not take them.
        NotFound: There is no such file.
    """
    spec = InputSpec(tensor, None if columns is None else tuple(columns))
    source = (
        _file_source(as_path(data), spec)
        if isinstance(data, str | Path)
        else _memory_source(data, spec)
    )
    missing = [name for name in spec.columns or () if name not in source.names]
    if missing:
        raise InvalidInput(f"The data have no columns {missing}; they have {list(source.names)}.")
    source.check()
    return source


def _memory_source(data: Any, spec: InputSpec) -> Source:  # noqa: ANN401 - an array or a frame
    import polars as pl

    if not isinstance(data, pl.DataFrame) and not (isinstance(data, np.ndarray) and data.ndim):
        raise InvalidInput(
            "data must be a NumPy array of rows, a Polars DataFrame or the path of a file, got "
            f"{type(data).__name__}."
        )
    names = tuple(data.columns) if isinstance(data, pl.DataFrame) else ()

    def pieces(rows: int) -> Iterator[Piece]:
        return (_MemoryPiece(spec, data[at : at + rows]) for at in range(0, len(data), rows))

    return Source(spec, names, len(data), pieces)


def _file_source(path: Path, spec: InputSpec) -> Source:
    import polars as pl

    if path.suffix not in _FORMATS:
        raise InvalidInput(f"data must be a file of {', '.join(_FORMATS)}, got {path}.")
    if not path.is_file():
        raise NotFound(f"There is no file {path}.")
    try:
        return _open_file(path.absolute(), spec)
    except (ValueError, OSError, EOFError, TypeError, pl.exceptions.PolarsError) as error:
        raise _read_error(path, error) from error


def _open_file(path: Path, spec: InputSpec) -> Source:
    import polars as pl

    if path.suffix == ".csv":
        names = tuple(pl.scan_csv(path, glob=False).collect_schema().names())
        return Source(spec, names, None, partial(_csv_pieces, path, spec))
    if path.suffix == ".npy":
        names, count = (), len(np.load(path, mmap_mode="r", allow_pickle=False))
    else:
        scan = pl.scan_parquet(path, glob=False)
        names = tuple(scan.collect_schema().names())
        count = int(scan.select(pl.len()).collect().item())

    def pieces(rows: int) -> Iterator[Piece]:
        starts = range(0, count, rows)
        return (_FilePiece(spec, path, at, min(rows, count - at)) for at in starts)

    return Source(spec, names, count, pieces)


def _csv_pieces(path: Path, spec: InputSpec, rows: int) -> Iterator[Piece]:
    """Return the rows of a file that can only be read from its beginning."""
    import polars as pl

    kept: list[pl.DataFrame] = []
    held = 0
    try:
        for batch in pl.scan_csv(path, glob=False).collect_batches(chunk_size=rows):
            kept.append(batch)
            held += len(batch)
            if held >= rows:
                joined, whole = pl.concat(kept), held - held % rows
                yield from (
                    _MemoryPiece(spec, joined[at : at + rows]) for at in range(0, whole, rows)
                )
                kept, held = [joined[whole:]], held % rows
    except pl.exceptions.PolarsError as error:
        raise _read_error(path, error) from error
    if held:
        yield _MemoryPiece(spec, pl.concat(kept))


def _read_error(path: Path, error: Exception) -> InvalidInput:
    return InvalidInput(f"{path} cannot be read as {path.suffix[1:]}: {error}")
