"""Rows as users have them, a frame, dicts or arrays, as the array that a model takes.

A model of several named inputs takes a structured array: one field for each input.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, get_args

import numpy as np
from numpy.typing import NDArray

from workbench.errors import InvalidInput
from workbench.modelserver.casts import CastError, cast
from workbench.modelserver.inputs import as_texts, join_columns, name_columns
from workbench.validation import as_array, choose

if TYPE_CHECKING:
    import polars as pl

    from workbench.registry.onnx import Tensor

Missing: TypeAlias = Literal["refuse", "nan"]

_NUMBERS = "biuf"


def as_rows(
    tensor: "Tensor | None",
    data: Any,  # noqa: ANN401 - a frame, columns by name, dicts or an array
    *,
    missing: Missing = "nan",
    first: int = 0,
) -> NDArray[Any]:
    """Return rows as a model takes them, for one of several inputs in a structured array.

    Columns are found by name, whatever their order; others than the model's are left out. Text of
    a category counts as text. Without a tensor whole numbers become int64 (float64 where some are
    missing), other numbers float64, and an array stays as it is.

    Args:
        tensor: What the model takes; None: whatever the data are.
        data: A frame of Polars or pandas, a mapping of columns, a list of dicts, or an array.
        missing: "nan" makes a number that is missing NaN, and a text empty; "refuse" refuses both.
        first: How many rows there are before these, for messages.

    Raises:
        InvalidInput: A column is missing, of another length or kind, or holds a value that the
            model does not take; row and column say where.

    >>> as_rows(None, {"age": [31, None], "city": ["Rome", "Oslo"]}).tolist()
    [(31.0, 'Rome'), (nan, 'Oslo')]
    """
    choose("missing", missing, get_args(Missing))
    convert = Conversion(missing, first, "" if tensor is None else f"; the model takes {tensor}")
    arrays = read_columns(data)
    if arrays is None:
        values = _as_plain(data)
        if tensor is None:
            return values
        if not tensor.fields:
            return convert.shape(tensor, convert.convert(tensor.numpy_dtype, values, ""))
        arrays = _split(tensor, values)
    if tensor is None:
        kinds = {name: _guess(name, each, first) for name, each in arrays.items()}
        return join_columns(
            {name: convert.convert(kinds[name], arrays[name], name) for name in arrays}
        )
    vectors = [name for name, values in arrays.items() if values.ndim > 1]
    inputs = {
        each.name: convert.stack(each, {name: arrays[name] for name in names})
        for each, names in find_columns(tensor, list(arrays), vectors).items()
    }
    return join_columns(inputs) if tensor.fields else inputs[tensor.name]


def find_columns(
    tensor: "Tensor", names: Sequence[str], vectors: Iterable[str]
) -> "dict[Tensor, Sequence[str]]":
    """Return the columns of each input among a table's: its own, or `name_0`, `name_1` ...

    A single input takes the column of its name if that holds all its values, as those in `vectors`
    may, or else what `Tensor.order` says.
    """
    if not tensor.fields:
        own = tensor.name in (names if tensor.shape in ((), (1,)) else vectors)
        return {tensor: [tensor.name] if own else tensor.order(names)}
    found: dict[Tensor, Sequence[str]] = {
        each: [each.name] if each.name in names else name_columns(each.name, each.shape)
        for each in tensor.fields
    }
    lacking = [name for each in found.values() for name in each if name not in names]
    if lacking:
        raise InvalidInput(
            f"There are no columns {lacking} among {list(names)}; the model takes {tensor}."
        )
    return found


def read_columns(data: Any) -> dict[str, NDArray[Any]] | None:  # noqa: ANN401
    """Return columns by name: numbers or texts, else objects; None where data have no columns.

    Raises:
        InvalidInput: They differ in length, or one of them has no name or no values.

    >>> read_columns([{"age": 31}, {"age": None}])
    {'age': array([31, None], dtype=object)}
    """
    columns = _find_columns(data)
    if columns is None:
        return None
    arrays = {name: _as_column(name, values) for name, values in columns.items()}
    _check_lengths(arrays)
    return arrays


def columns_of(rows: NDArray[Any]) -> dict[str, NDArray[Any]]:
    """Return the columns of a structured array by name.

    >>> columns_of(as_rows(None, [{"age": 31, "city": "Rome"}]))
    {'age': array([31]), 'city': array(['Rome'], dtype='<U4')}
    """
    return {name: rows[name] for name in rows.dtype.names or ()}


def change_columns(
    change: Callable[[NDArray[Any]], NDArray[Any]], rows: NDArray[Any]
) -> NDArray[Any]:
    """Return rows after a change of each column on its own; of a plain array, of all of it.

    >>> change_columns(lambda values: values[::-1], np.array([1, 2])).tolist()
    [2, 1]
    """
    if rows.dtype.names is None:
        return change(rows)
    return join_columns({name: change(values) for name, values in columns_of(rows).items()})


def as_frame(rows: NDArray[Any]) -> "pl.DataFrame":
    """Return a structured array as a Polars frame, texts as text.

    >>> as_frame(as_rows(None, [{"age": 31, "city": "Rome"}])).shape
    (1, 2)
    """
    import polars as pl

    columns: dict[str, Any] = dict(columns_of(rows))
    for name, values in columns.items():
        if values.dtype.kind == "U":
            columns[name] = pl.Series(values.tolist(), dtype=pl.String)
    return pl.DataFrame(columns)


def list_user_frames(rows: NDArray[Any], text_gap: Any) -> Iterator[Any]:  # noqa: ANN401
    """Yield a structured array as scikit-learn takes it: a frame of pandas, if any, and of Polars.

    An estimator that was fitted on one of them may not take the other. `text_gap` is what an empty
    text becomes: None, NaN or an empty text.
    """
    import polars as pl

    columns: dict[str, Any] = {
        name: [each or text_gap for each in values.tolist()] if values.dtype.kind == "U" else values
        for name, values in columns_of(rows).items()
    }
    with suppress(ImportError):
        import pandas as pd

        yield pd.DataFrame(
            {
                name: each
                if isinstance(each, np.ndarray) and each.ndim == 1
                else pd.Series(list(each), dtype=object)
                for name, each in columns.items()
            }
        )
    nothing = text_gap if isinstance(text_gap, str) else None
    yield as_frame(rows).with_columns(pl.col(pl.String).replace("", nothing))


def _find_columns(data: Any) -> Mapping[str, Any] | None:  # noqa: ANN401
    """Return columns by name; None where data have none."""
    if isinstance(data, np.ndarray):
        return columns_of(data) if data.dtype.names else None
    if isinstance(data, Mapping):
        return data
    if hasattr(data, "get_columns"):  # a frame of Polars
        return {each.name: each for each in data.get_columns()}
    if hasattr(data, "collect_schema"):
        raise InvalidInput("A LazyFrame has no rows yet: give what its collect() returns.")
    if hasattr(data, "columns") and hasattr(data, "iloc"):
        names = [str(name) for name in data.columns]  # pandas numbers those without a name
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise InvalidInput(f"The frame has columns of one name: {twice}; rename them.")
        return {name: data.iloc[:, at] for at, name in enumerate(names)}
    if isinstance(data, Sequence) and len(data) and isinstance(data[0], Mapping):
        return _transpose(data)
    return None


def _as_plain(data: Any) -> NDArray[Any]:  # noqa: ANN401
    """Return rows without columns: an array, of texts where all of them are."""
    if hasattr(data, "to_list") and hasattr(data, "dtype"):  # a series of Polars or pandas
        return read_series("rows", data)
    values = as_array("rows", data)
    texts = values.dtype.kind == "O" and all(isinstance(each, str) for each in values.flat)
    return values.astype(str) if texts and values.size else values


def _transpose(rows: Sequence[Any]) -> dict[str, list[Any]]:
    """Return the columns of dicts; a key that one of them lacks is a missing value."""
    names: dict[str, None] = {}
    for number, row in enumerate(rows):
        if not isinstance(row, Mapping):
            raise InvalidInput(
                f"Row {number + 1} is a {type(row).__name__}, and row 1 a dict: all must be dicts."
            )
        names.update(dict.fromkeys(row))
    return {name: [row.get(name) for row in rows] for name in names}


def _split(tensor: "Tensor", values: NDArray[Any]) -> dict[str, NDArray[Any]]:
    """Return the columns of a plain array, in the model's order."""
    if values.ndim != 2 or values.shape[1] != len(tensor.fields):
        raise InvalidInput(
            f"Rows of several inputs are a frame, dicts or {len(tensor.fields)} columns, got "
            f"{values.dtype} of shape {values.shape}; the model takes {tensor}."
        )
    names = (each.name for each in tensor.fields)
    return {name: _as_column(name, values[:, at]) for at, name in enumerate(names)}


def _as_column(name: Any, values: Any) -> NDArray[Any]:  # noqa: ANN401
    """Return one column: numbers or texts as they are, else objects, None where one is missing."""
    if not isinstance(name, str) or not name:
        raise InvalidInput(f"The name of a column must be a text, got {name!r}.")
    if hasattr(values, "to_list"):  # a series of Polars or pandas
        return read_series(name, values)
    if isinstance(values, str | bytes) or not isinstance(values, Iterable):
        raise InvalidInput(f"Column {name!r} must be a list of values, got {values!r}.")
    if isinstance(values, np.ndarray) and values.ndim and values.dtype.kind in f"{_NUMBERS}U":
        return values
    cells = list(values)
    if cells and all(isinstance(each, list | tuple | np.ndarray) for each in cells):
        with suppress(InvalidInput):  # of several lengths they are objects, which nobody may need
            return as_array(name, cells)
    blank = ("NAType", "NaTType")  # signs for a missing value beside NaN
    return _collect(None if type(each).__name__ in blank else each for each in cells)


def read_series(name: str, values: Any) -> NDArray[Any]:  # noqa: ANN401
    """Return a series of Polars or pandas as `read_columns` does a column of that name."""
    if isinstance(values.dtype, np.dtype):
        plain = values.dtype.kind in _NUMBERS
    else:  # of Polars, or one of those that pandas has beside NumPy's
        polars = "polars" in type(values).__module__
        plain = polars and is_of_numpy(values.dtype) and not values.null_count()
    return np.asarray(values.to_numpy()) if plain else _as_column(name, list(values.to_list()))


def is_of_numpy(kind: "pl.DataType") -> bool:
    """Return whether NumPy has a type of numbers, too: it has no decimals nor 128 bits.

    >>> import polars as pl
    >>> is_of_numpy(pl.Int64()), is_of_numpy(pl.Int128()), is_of_numpy(pl.String())
    (True, False, False)
    """
    return (kind.is_float() or kind.is_integer()) and "128" not in str(kind)


def _collect(cells: Iterable[Any]) -> NDArray[Any]:
    """Return cells in a type of NumPy where they are all of one, else as objects."""
    kept = list(cells)
    kinds = {type(each) for each in kept}
    if kinds <= {float, np.float64} or kinds in ({int}, {bool}, {str}):
        array = np.array(kept, dtype=float if not kinds else None)
        if array.dtype.kind in f"{_NUMBERS}U":  # whole numbers beyond 64 bits are objects
            return array
    array = np.empty(len(kept), object)
    array[:] = kept
    return array


def _check_lengths(arrays: Mapping[str, NDArray[Any]]) -> None:
    lengths = {name: len(values) for name, values in arrays.items()}
    if not lengths:
        raise InvalidInput("The rows have no columns; at least 1 is needed.")
    if len(set(lengths.values())) > 1:
        (name, count), *others = lengths.items()
        other = next((each, size) for each, size in others if size != count)
        raise InvalidInput(
            f"Column {name!r} has {count} values and column {other[0]!r} {other[1]}: all must "
            "have one length."
        )


def find_missing(values: NDArray[Any]) -> NDArray[np.bool_]:
    """Return which cells are missing: None, and NaN among objects, as pandas has texts.

    >>> find_missing(np.array(["a", None, float("nan")], object))
    array([False,  True,  True])
    """
    if values.dtype.kind == "O":
        floats = (float, np.floating)
        found = [v is None or (isinstance(v, floats) and v != v) for v in values.flat]  # noqa: PLR0124
        return np.array(found, bool).reshape(values.shape)
    return np.zeros(values.shape, bool)


def _guess(name: str, values: NDArray[Any], first: int) -> np.dtype[Any]:
    """Return the type for a column of which no model says it."""
    if values.dtype.kind != "O":
        return np.dtype("U") if values.dtype.kind == "U" else values.dtype
    missing = find_missing(values)
    kinds = {_kind(each) for each in values[~missing]}
    if kinds <= {"number", "whole number"}:
        exact = kinds == {"whole number"} and not missing.any()
        return np.dtype("int64" if exact else "float64")
    if kinds in ({"text"}, {"boolean"}):
        return np.dtype("U" if kinds == {"text"} else "bool")
    rows = (row for row, each in enumerate(values) if _kind(each) not in ("text", "missing"))
    at = next(rows, 0)
    raise InvalidInput(
        f"Column {name!r} holds {' and '.join(sorted(kinds))} (row {first + at + 1} is "
        f"{str(values[at])[:80]!r}): a column is of numbers, of texts, of booleans, or of lists "
        "of one length. Make it one, or leave it out."
    )


def _kind(value: Any) -> str:  # noqa: ANN401
    for kinds, name in (
        ((bool, np.bool_), "boolean"),
        ((int, np.integer), "whole number"),
        ((float, np.floating), "number"),
        ((str,), "text"),
    ):
        if isinstance(value, kinds):
            return name
    return "missing" if value is None else f"a {type(value).__name__}"


@dataclass(frozen=True, slots=True)
class Conversion:
    """How columns become what a model takes: what a missing value is, and where rows begin."""

    missing: Missing
    first: int
    wanted: str

    def shape(
        self, tensor: "Tensor", values: NDArray[Any], name: str = "", *, flat: bool = False
    ) -> NDArray[Any]:
        """Return one input's values in its shape; `name` is their column's, if they have one.

        One value a row may have an axis of its own or none. With `flat`, values that stand side by
        side take any shape of as many.
        """
        if tensor.fits(values):
            return values
        size = None if None in tensor.shape else math.prod(tensor.shape)  # type: ignore[arg-type]
        if values.ndim and (flat or size == 1) and math.prod(values.shape[1:]) == size:
            return values.reshape(len(values), *tensor.shape)
        what = f"Column {name!r} has" if name else f"The rows from row {self.first + 1} on have"
        raise InvalidInput(
            f"{what} shape {values.shape}{self.wanted}: name its columns, or reshape them."
        )

    def convert(self, dtype: np.dtype[Any], values: NDArray[Any], name: str) -> NDArray[Any]:
        """Return values in a type; `name` is their column's, if they have one."""
        if dtype.kind == "U" and values.dtype.kind == "f":  # a column of texts that all are missing
            values = values.astype(object)
        gaps = find_missing(values)
        try:
            if gaps.any() and self.missing == "refuse":
                raise CastError(_place(gaps, 0), None, "a value is wanted")
            return _text(values, gaps) if dtype.kind == "U" else _numbers(values, gaps, dtype)
        except CastError as error:
            row, *rest = error.place
            place = (row, 0, *rest) if name else error.place
            where = CastError(place, error.value, error.reason)
            said = where.describe(first=self.first, names=[name] if name else [])
            hint = (
                " Fill such values or leave their rows out, or have the model see NaN for them "
                "with missing='nan'."
                if error.value is None and dtype.kind == "f"
                else ""
            )
            raise InvalidInput(f"{said}{self.wanted}.{hint}") from error

    def stack(self, tensor: "Tensor", arrays: Mapping[str, NDArray[Any]]) -> NDArray[Any]:
        """Return the columns of one input side by side, in its type and shape."""
        parts = [self.convert(tensor.numpy_dtype, each, name) for name, each in arrays.items()]
        own = tensor.name if tensor.name in arrays else ""
        if len(parts) > 1:
            parts = [np.concatenate([each.reshape(len(each), -1) for each in parts], axis=1)]
        return self.shape(tensor, parts[0], own, flat=True)


def _text(values: NDArray[Any], gaps: NDArray[np.bool_]) -> NDArray[Any]:
    filled = np.where(gaps, "", values) if gaps.any() else values
    texts = as_texts(filled).astype(str)
    return texts if texts.dtype.itemsize else texts.astype("U1")


def _numbers(values: NDArray[Any], gaps: NDArray[np.bool_], dtype: np.dtype[Any]) -> NDArray[Any]:
    if values.dtype.kind == "U":
        raise CastError((0,) * values.ndim, str(values.flat[0]), f"a number is wanted, for {dtype}")
    if not gaps.any() or dtype.kind != "f":
        return cast(values, dtype)
    array = np.full(values.shape, np.nan, dtype)
    try:
        array[~gaps] = cast(values[~gaps], dtype)
    except CastError as error:
        raise CastError(_place(~gaps, error.place[0]), error.value, error.reason) from None
    return array


def _place(chosen: NDArray[np.bool_], number: int) -> tuple[int, ...]:
    """Return the index of a cell, by its number among those that are chosen."""
    return tuple(int(at) for at in np.argwhere(chosen)[number])
