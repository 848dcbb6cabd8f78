"""Where a model's answers go while they come in, in order: into memory, or into a file."""

import contextlib
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, Self

import numpy as np
from numpy.typing import NDArray

from workbench.errors import InvalidInput, StorageError
from workbench.files import as_path
from workbench.measuring.inputs import Piece

PREDICTION = "prediction"
"""The column of answers beside the rows."""

_MANY = 2**16  # answers that are written again at a time


class OutputWriter:
    """Answers that are kept in memory.

    Attributes:
        rows: How many there are.
        path: The file that they go into, if they do.
        outputs: All of them, in the end, if they do not.
    """

    def __init__(self) -> None:
        self.rows = 0
        self.path: Path | None = None
        self.outputs: NDArray[Any] | None = None
        self._parts: list[NDArray[Any]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Give back what is not needed any more; what is not finished is gone."""

    def take(self, outputs: NDArray[Any], piece: Piece) -> None:
        """Add the answers to a piece."""
        self._write(outputs, piece)
        self.rows += len(outputs)

    def finish(self) -> None:
        """Be done: nothing more comes."""
        self.outputs = np.concatenate(self._parts)

    def _write(self, outputs: NDArray[Any], piece: Piece) -> None:
        self._parts.append(outputs)


class _FileWriter(OutputWriter):
    """Answers in a file, which is there once it is whole and not before."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path: Path = path
        self._open = contextlib.ExitStack()

    def __enter__(self) -> Self:
        with self._translate_errors():
            self.path.parent.mkdir(parents=True, exist_ok=True)
            folder = tempfile.TemporaryDirectory(dir=self.path.parent, prefix=".transform-")
            self._folder = Path(self._open.enter_context(folder))
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def finish(self) -> None:
        with self._translate_errors():
            self._assemble().rename(self.path)

    def _assemble(self) -> Path:
        """Return the whole file."""
        raise NotImplementedError

    @contextlib.contextmanager
    def _translate_errors(self) -> Iterator[None]:
        import polars as pl

        try:
            yield
        except (OSError, pl.exceptions.PolarsError) as error:
            raise StorageError(f"{self.path} cannot be written: {error}.") from error


class _ParquetWriter(_FileWriter):
    """The rows, and beside them the answers."""

    def _write(self, outputs: NDArray[Any], piece: Piece) -> None:
        import polars as pl

        values = outputs[:, 0] if outputs.ndim == 2 and outputs.shape[1] == 1 else outputs
        frame = piece.frame().with_columns(pl.Series(PREDICTION, values))
        with self._translate_errors():
            frame.write_parquet(self._folder / f"{self.rows:016d}.parquet", compression="lz4")

    def _assemble(self) -> Path:
        import polars as pl

        parts = sorted(self._folder.iterdir())
        whole = self._folder / "whole"
        pl.scan_parquet(parts, glob=False).sink_parquet(whole)
        return whole


class _CsvWriter(_FileWriter):
    """The rows, and beside them the answers: a column for each value of an answer."""

    def _write(self, outputs: NDArray[Any], piece: Piece) -> None:
        import polars as pl

        values = outputs.reshape(len(outputs), -1).T
        names = [f"{PREDICTION}_{at}" for at in range(len(values))] if values[1:].size else ()
        columns = map(pl.Series, names or (PREDICTION,), values)
        with self._translate_errors(), (self._folder / "whole").open("ab") as file:
            piece.frame().with_columns(*columns).write_csv(file, include_header=not self.rows)

    def _assemble(self) -> Path:
        return self._folder / "whole"


class _NpyWriter(_FileWriter):
    """The answers alone."""

    _file: IO[bytes] | None = None

    def _write(self, outputs: NDArray[Any], piece: Piece) -> None:
        outputs = outputs.astype(str) if outputs.dtype == object else outputs
        with self._translate_errors():
            if self._file is None:
                self._kind = outputs.dtype, outputs.shape[1:]
                self._file = self._begin()
            self._widen(np.result_type(outputs.dtype, self._kind[0]))
            self._file.write(outputs.astype(self._kind[0]).tobytes())

    def _begin(self) -> IO[bytes]:
        file = self._open.enter_context((self._folder / "whole").open("x+b"))
        self._write_header(file, 0)
        return file

    def _widen(self, dtype: np.dtype[Any]) -> None:
        """Write what there is again in a type of longer texts."""
        before, (narrow, row) = self._file, self._kind
        if dtype == narrow:
            return
        assert before is not None  # noqa: S101 - it was opened
        before.seek(0)
        self._write_header(before, 0)
        start = before.tell()
        (self._folder / "whole").unlink()
        self._kind = dtype, row
        self._file = self._begin()
        before.seek(start)
        with before:
            while data := before.read(_MANY * narrow.itemsize):
                self._file.write(np.frombuffer(data, narrow).astype(dtype).tobytes())

    def _assemble(self) -> Path:
        assert self._file is not None  # noqa: S101 - there was a row at least
        self._file.seek(0)
        self._write_header(self._file, self.rows)
        self._file.close()
        return self._folder / "whole"

    def _write_header(self, file: IO[bytes], rows: int) -> None:
        """Write the header, in which NumPy leaves room for more rows."""
        dtype, row = self._kind
        facts = {"descr": dtype.str, "fortran_order": False, "shape": (rows, *row)}
        np.lib.format.write_array_header_1_0(file, facts)


def open_writer(output: object, names: tuple[str, ...]) -> OutputWriter:
    """Return where answers go: None for memory, else the path of a new file.

    Args:
        output: A `.parquet` or `.csv` file for rows and answers, or `.npy` for the answers alone.
        names: The columns of the rows.

    Raises:
        InvalidInput: It is neither, is there already, or has a column of the answers' name.
    """
    if output is None:
        return OutputWriter()
    path = as_path(output).absolute()
    if path.suffix not in (".parquet", ".csv", ".npy"):
        raise InvalidInput(f"output must be a .parquet, .csv or .npy file, got {path}.")
    if path.exists():
        raise InvalidInput(f"{path} is there already: choose another name, or remove it.")
    if path.suffix == ".npy":
        return _NpyWriter(path)
    ours = PREDICTION if path.suffix == ".parquet" else rf"{PREDICTION}(_\d+)?"
    if taken := [each for each in names if re.fullmatch(ours, each)]:
        raise InvalidInput(f"The data have a column {taken[0]!r}, as the answers: rename it.")
    return _ParquetWriter(path) if path.suffix == ".parquet" else _CsvWriter(path)
