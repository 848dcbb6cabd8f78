"""A user's rows as the array that a model takes: every value kept, or refused by row and column."""

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from workbench.errors import InvalidInput
from workbench.modelserver.casts import CastError, cast
from workbench.modelserver.inputs import name_columns
from workbench.registry.onnx import Tensor
from workbench.registry.rows import (
    Conversion,
    Missing,
    as_rows,
    find_columns,
    is_of_numpy,
    read_series,
)
from workbench.tables.cells import parse_column, parse_numbers, read_small_numbers

if TYPE_CHECKING:
    import polars as pl

_TEXT_BYTES = 64  # of a text, about


@dataclass(frozen=True, slots=True)
class InputSpec:
    """What a model takes: a tensor, out of these columns of a frame (None: of all).

    A model of several inputs takes columns by their names: of each input, or `name_0`, `name_1` ...
    for the values of one that has several.

    Attributes:
        tensor: The model's input.
        columns: Those of a frame, in the order of the model's values or inputs.
        missing: "nan" gives the model NaN for a value that is missing.
        text: Whether cells of text are numbers to be read, as those of a text file are.
        empty: Whether a text that is missing is an empty one, as in CSV.
        schema: The types of such columns, where they were given.
    """

    tensor: Tensor
    columns: tuple[str, ...] | None = None
    missing: Missing = "refuse"
    text: bool = False
    empty: bool = False
    schema: Mapping[str, Any] = field(default_factory=dict)

    def of(self, rows: "NDArray[Any] | pl.DataFrame", *, first: int = 0) -> NDArray[Any]:
        """Return rows as the model takes them; `first` is how many there are before them.

        A column of lists of one length is as many values; a frame's columns stand side by side.

        Raises:
            InvalidInput: They are not of that shape, or hold a value that its type does not; row
                and column say where.

        >>> InputSpec(Tensor("x", "float32", (2,))).of(np.array([[1, 2]])).dtype.name
        'float32'
        """
        if isinstance(rows, np.ndarray):
            return self._convert_array(rows, first)
        if not self.tensor.fields:
            table = self._convert_frame(rows, first)
            shaped = self._conversion(first).shape(self.tensor, table, flat=True)
            return np.ascontiguousarray(shaped)
        values = {
            each.tensor.name: each.of(rows, first=first) for each in self._split(rows.columns)
        }
        return as_rows(self.tensor, values)

    def _split(self, names: Sequence[str]) -> "list[InputSpec]":
        """Return what each input takes of a frame with columns of these names."""
        fields = self.tensor.fields
        if self.columns is not None and len(self.columns) == len(fields):
            return [
                replace(self, tensor=each, columns=(name,))
                for each, name in zip(fields, self.columns, strict=True)
            ]
        return [
            replace(self, tensor=each, columns=tuple(columns))
            for each, columns in find_columns(self.tensor, names, ()).items()
        ]

    @property
    def row_bytes(self) -> int:
        """Bytes of a row, an axis of any size counted once."""
        return _row_bytes(self.tensor)

    @property
    def _is_text(self) -> bool:
        return self.tensor.dtype == "str"

    @property
    def _demand(self) -> str:
        return f"the model takes {self.tensor}"

    def _conversion(self, first: int) -> Conversion:
        return Conversion(self.missing, first, f"; {self._demand}")

    def _convert_array(self, values: NDArray[Any], first: int) -> NDArray[Any]:
        if self.tensor.fields or self._is_text:
            return as_rows(self.tensor, values, missing=self.missing, first=first)
        if values.dtype.kind not in "biuf":
            raise InvalidInput(f"Rows must be numbers, got {values.dtype}; {self._demand}.")
        values = self._conversion(first).shape(self.tensor, values)
        try:
            return np.ascontiguousarray(cast(values, np.dtype(self.tensor.dtype)))
        except CastError as error:
            raise InvalidInput(f"{error.describe(first=first)}; {self._demand}.") from error

    def _convert_frame(self, frame: "pl.DataFrame", first: int) -> NDArray[Any]:
        """Return the values of a frame, side by side unless one column holds them all."""
        vectors = [name for name, kind in frame.schema.items() if kind.is_nested()]
        found = find_columns(self.tensor, frame.columns, vectors)
        chosen = frame.select(self.columns or found[self.tensor])
        small = None
        if self.text and not self._is_text and not self.schema:
            small = read_small_numbers(chosen)
        if small is not None:
            with contextlib.suppress(CastError):  # what that refuses is named below
                return cast(small.to_numpy(), np.dtype(self.tensor.dtype))
        kinds = set(chosen.dtypes)
        plain = len(kinds) == 1 and is_of_numpy(next(iter(kinds))) and not self._is_text
        if plain and not any(column.null_count() for column in chosen.iter_columns()):
            try:
                return cast(chosen.to_numpy(), np.dtype(self.tensor.dtype))
            except CastError as error:
                where = error.describe(first=first, names=chosen.columns)
                raise InvalidInput(f"{where}; {self._demand}.") from error
        parts = [self._convert_column(column, first) for column in chosen.iter_columns()]
        if len(parts) == 1 and parts[0].ndim > 1:
            return parts[0]
        return np.concatenate([part.reshape(len(chosen), -1) for part in parts], axis=1)

    def _convert_column(self, column: "pl.Series", first: int) -> NDArray[Any]:
        cells, row = self._flatten(column, first)
        values = self._read(column.name, cells, first, width=max(1, int(np.prod(row))))
        values = values.reshape(len(column), *row)
        return self._conversion(first).convert(self.tensor.numpy_dtype, values, column.name)

    def _read(self, name: str, cells: "pl.Series", first: int, *, width: int) -> NDArray[Any]:
        """Return the cells of a column, `width` of them a row; what is missing is None."""
        import polars as pl

        values: pl.Series | NDArray[Any] = cells
        if self._is_text:
            values = cells.fill_null("") if self.empty else cells
        elif name in self.schema:
            values = parse_column(name, cells, self.schema[name], first=first)
        elif self.text:
            values = parse_numbers(name, cells, first=first, width=width)
        elif not (cells.dtype.is_numeric() or cells.dtype in (pl.Boolean, pl.Null)):
            what = "text" if cells.dtype == pl.String else str(cells.dtype)
            raise InvalidInput(f"Column {name!r} holds {what}; {self._demand}: name its columns.")
        return values if isinstance(values, np.ndarray) else read_series(name, values)

    def _flatten(self, column: "pl.Series", first: int) -> "tuple[pl.Series, tuple[int, ...]]":
        """Return the cells of a column one below the other, and the shape that all rows have."""
        import polars as pl

        row: tuple[int, ...] = ()
        cells = column
        while isinstance(cells.dtype, pl.List | pl.Array):
            cells = cells.arr.to_list() if isinstance(cells.dtype, pl.Array) else cells
            sizes = cells.list.len().cast(pl.Int64).fill_null(-1)
            width = sizes[0] if len(sizes) else 0
            wrong = sizes < 0 if sizes.min() == -1 else sizes != width
            if width < 1 or wrong.any():
                at = int(wrong.arg_max() or 0)
                where = f"Row {first + at // max(1, int(np.prod(row))) + 1}, column {column.name!r}"
                raise InvalidInput(
                    f"{where} is missing: a list of values is wanted; {self._demand}."
                    if sizes[at] < 0
                    else f"{where} holds a list of {sizes[at]} values and row {first + 1} one of "
                    f"{width}: all must have one length; {self._demand}."
                )
            row, cells = (*row, int(width)), cells.explode()
        return cells, row


def _row_bytes(tensor: Tensor) -> int:
    if tensor.fields:
        return sum(map(_row_bytes, tensor.fields))
    values = int(np.prod([size or 1 for size in tensor.shape]))
    return values * (tensor.numpy_dtype.itemsize or _TEXT_BYTES)


def column_names(tensor: Tensor) -> list[str]:
    """Return the columns that a table has for a model: a number each where there are several.

    >>> column_names(Tensor.record([Tensor("age", "float32", ()), Tensor("x", "int64", (2,))]))
    ['age', 'x_0', 'x_1']
    """
    if tensor.fields:
        return [name for each in tensor.fields for name in column_names(each)]
    return name_columns(tensor.name, tensor.shape)
