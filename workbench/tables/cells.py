"""Cells of text as values: numbers that are kept exactly, or refused by row and column.

A value is missing where the cell is empty, `nan`, `NA` or `null` in any case.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from workbench.errors import InvalidInput
from workbench.modelserver.casts import MISSING

if TYPE_CHECKING:
    import polars as pl

_HALF_EXACT = 2.0**11  # from here on a float of 16 bits skips whole numbers
_WHOLE = r"^[+-]?\d+$"


def parse_numbers(
    name: str, text: "pl.Series", *, first: int = 0, width: int = 1
) -> "pl.Series | NDArray[Any]":
    """Return the numbers of a column of text, null where one is missing.

    They are whole numbers where all are; an array of Python's own where a whole number beside a
    fraction is so large that a float would round it. true and false are 1 and 0.

    Args:
        name: Of the column.
        text: It.
        first: Rows before it, for messages.
        width: Cells of a row, where they are those of lists.

    Raises:
        InvalidInput: A cell is no number; row and column are named.

    >>> import polars as pl
    >>> parse_numbers("a", pl.Series(["1", " 2", "NA"])).to_list()
    [1, 2, None]
    """
    import polars as pl

    whole = text.cast(pl.Int64, strict=False)
    if whole.null_count() == text.null_count():
        return whole
    floats = text.cast(pl.Float64, strict=False)
    if floats.null_count() == text.null_count() and floats.abs().max() < _HALF_EXACT:  # type: ignore[operator]
        return floats.fill_nan(None)  # the usual case, and quick
    plain = _clean_column(text)
    plain = plain.replace(["true", "false"], ["1", "0"])
    for kind in (pl.Int64, pl.UInt64):
        numbers = plain.cast(kind, strict=False)
        if numbers.null_count() == plain.null_count():
            return numbers
    numbers = _cast_text(name, plain, pl.Float64, first=first, width=width)
    large = numbers.is_finite() & (numbers.abs() >= _HALF_EXACT) & plain.str.contains(_WHOLE)
    if not large.any():
        return numbers
    values = numbers.to_list()
    for row in large.arg_true():
        values[row] = int(plain[row])
    return np.array(values, object)


def read_small_numbers(frame: "pl.DataFrame") -> "pl.DataFrame | None":
    """Return the numbers of a frame of text; None unless all are ones that any float holds.

    One cast of the whole frame: most files need no more.

    >>> import polars as pl
    >>> read_small_numbers(pl.DataFrame({"a": ["1", "2.5"]})).rows()
    [(1.0,), (2.5,)]
    >>> read_small_numbers(pl.DataFrame({"a": ["1", "NA"]}))
    """
    import polars as pl

    if set(frame.dtypes) != {pl.String}:
        return None
    numbers = frame.select(pl.all().cast(pl.Float64, strict=False))
    small = numbers.select((pl.all().abs() < _HALF_EXACT).fill_null(value=False).all())
    return numbers if all(small.row(0)) else None


def parse_frame(
    frame: "pl.DataFrame", types: Mapping[str, Any], *, first: int = 0
) -> "pl.DataFrame":
    """Return a frame of text in the types of its columns: see `parse_column`."""
    import polars as pl

    plain = [
        name
        for name in frame.columns
        if types[name].is_numeric() and frame[name].dtype == pl.String
    ]
    cast = frame.select(pl.col(name).cast(types[name], strict=False) for name in plain)
    good = cast.select(pl.all().cast(pl.Float64).is_finite().fill_null(value=False).all())
    done = {name for name in plain if good[name][0]}  # none is missing, nor out of range
    return pl.DataFrame(
        [
            cast[name]
            if name in done
            else parse_column(name, frame[name], types[name], first=first)
            for name in frame.columns
        ]
    )


def parse_column(name: str, text: "pl.Series", kind: Any, *, first: int = 0) -> "pl.Series":  # noqa: ANN401 - of Polars
    """Return a column of text in a type; what is missing is null, but for text.

    Raises:
        InvalidInput: A cell is not of that type; row and column are named.
    """
    import polars as pl

    if kind == pl.String:
        return text
    if isinstance(text.dtype, pl.List):
        return text.cast(kind)
    plain = _clean_column(text)
    if kind == pl.Boolean:
        plain = plain.replace(["1", "0"], ["true", "false"])
    return _cast_text(name, plain, kind, first=first)


def _clean_column(text: "pl.Series") -> "pl.Series":
    return text.to_frame("text").select(clean_cells("text")).to_series().alias(text.name)


def _cast_text(
    name: str,
    text: "pl.Series",
    kind: Any,  # noqa: ANN401 - of Polars
    *,
    first: int,
    width: int = 1,
) -> "pl.Series":
    import polars as pl

    if kind == pl.Boolean:
        truths = {"true": True, "false": False}
        made = text.replace_strict(truths, default=None, return_dtype=pl.Boolean)
    else:
        made = text.cast(kind, strict=False)
    wrong = made.is_null() & text.is_not_null()
    if kind.is_float():
        wrong |= (made.is_infinite() & ~text.str.contains("inf")).fill_null(value=False)
    if wrong.any():
        row, what = int(wrong.arg_max() or 0), "a number" if kind.is_numeric() else str(kind)
        raise InvalidInput(
            f"Row {first + row // width + 1}, column {name!r} is {text[row]!r}: {what} is wanted. "
            "Name the columns that are used, or say in schema= what it is."
        )
    return made


def as_schema(schema: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return Polars types by column, from types of Polars or names as "float32" and "text".

    >>> as_schema({"a": "int64", "id": "text"})
    {'a': Int64, 'id': String}
    """
    import polars as pl

    kinds = (*pl.datatypes.group.NUMERIC_DTYPES, pl.Boolean)
    known = {str(kind).lower(): kind for kind in kinds}
    known |= {"bool": pl.Boolean, "text": pl.String, "string": pl.String, "str": pl.String}
    try:
        return {
            name: known[kind] if isinstance(kind, str) else pl.datatypes.parse_into_dtype(kind)
            for name, kind in dict(schema or {}).items()
        }
    except (KeyError, TypeError, ValueError) as error:
        raise InvalidInput(
            f"schema must give each column a type of {', '.join(known)}, got {schema!r}."
        ) from error


def clean_cells(name: str) -> "pl.Expr":
    """Return the cells of a column in lower case and without space, null where one is missing."""
    import polars as pl

    plain = pl.col(name).str.strip_chars().str.to_lowercase()
    return plain.replace(list(MISSING), [None] * len(MISSING))
