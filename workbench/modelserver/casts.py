"""The one rule for a user's numbers on their way into a model's type: kept, or refused by place.

- Whole numbers and booleans are kept exactly, or refused: 16777217 is no float32. True is 1.
- Floats become the nearest value of a smaller float type, and are refused where that is infinite.
  NaN and infinities that were given stay what they are.
- A float becomes a whole number if it is one, of at most 2**53: beyond, floats skip some.
- A missing value is none of these, and refused by every type. In text it is an empty cell, `nan`,
  `NA` or `null` in any case; in JSON and in frames it is null. NaN in an array is a float.

The workbench and the model server both use it; like all of the server it needs NumPy alone.
"""

import struct
from collections.abc import Sequence
from functools import lru_cache
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

MISSING = ("", "nan", "na", "null")
"""What stands in lower-case text for a value that is missing."""

_EXACT = 2.0**53  # from here on a float64 cannot tell whole numbers apart


class CastError(ValueError):
    """A value that a type does not hold, and why: its place is the row, from 0, then its axes."""

    def __init__(self, place: tuple[int, ...], value: object, reason: str) -> None:
        super().__init__(place, value, reason)
        self.place, self.value, self.reason = place, value, reason

    def describe(self, *, first: int = 0, names: Sequence[str] = (), what: str = "column") -> str:
        """Say where it stands, counted from 1 behind the `first` rows, and what is wrong.

        Columns are called `what`, and by their names where they have some.

        >>> CastError((2, 0), 300, "a uint8 is 0 to 255").describe(names=["red"])
        "Row 3, column 'red' is 300: a uint8 is 0 to 255"
        """
        row, *rest = self.place
        where = f"Row {first + row + 1}"
        if rest and (names or len(rest) == 1):
            column, *rest = rest
            where += f", {what} {names[column]!r}" if names else f", {what} {column + 1}"
        if rest:
            where += f", value [{', '.join(str(at + 1) for at in rest)}]"
        return (
            f"{where} is {'missing' if self.value is None else str(self.value)[:80]}: {self.reason}"
        )


def cast(values: NDArray[Any], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Return booleans, whole numbers or floats in a type that holds them, which may be theirs.

    In an array of such Python objects, each counts as what it is.

    Raises:
        CastError: A value is not held; the first is named.

    >>> cast(np.array([[1, 255]]), np.dtype("uint8"))
    array([[  1, 255]], dtype=uint8)
    >>> cast(np.array([70000.0]), np.dtype("float16"))
    Traceback (most recent call last):
        ...
    workbench.modelserver.casts.CastError: ((0,), 70000.0, 'a float16 is at most 65504')
    """
    if values.dtype == dtype:
        return values
    if values.dtype.kind == "O":
        return _cast_objects(values, dtype)
    # what would warn is refused below, with its place
    with np.errstate(over="ignore", invalid="ignore"):
        wrong = _find_wrong(values, dtype)
        if wrong is not None and wrong.any():
            place = tuple(int(at) for at in np.unravel_index(wrong.argmax(), wrong.shape))
            value = values[place].item()
            raise CastError(place, value, _reason(value, dtype))
        return values.astype(dtype)


def as_numbers(values: Any, dtype: np.dtype[Any]) -> NDArray[Any]:  # noqa: ANN401 - nested lists
    """Return nested lists as an array for `cast`: of objects where NumPy alone would round.

    Raises:
        ValueError, OverflowError: They have no shape, or no type.

    >>> as_numbers([[2**53 + 1, 0.5]], np.dtype("float64")).tolist()
    [[9007199254740993, 0.5]]
    """
    array = np.array(values)
    if array.dtype.kind != "f" or not array.size:
        return array
    return np.array(values, object) if (np.abs(array) >= _exact_limit(dtype)).any() else array


def pack_floats(values: Any, dtype: np.dtype[Any]) -> NDArray[Any] | None:  # noqa: ANN401
    """Return nested lists, as JSON's parser makes them, in a float type; None for most others.

    Floats so small that a whole number among them would be exact need no second look: this takes
    a quarter of the time of `as_numbers` and `cast`, which have the last word on all others.

    >>> pack_floats([[1, 0.5], [True, 2]], np.dtype("float32")).tolist()
    [[1.0, 0.5], [1.0, 2.0]]
    >>> pack_floats([[16777217]], np.dtype("float32")), pack_floats([["1"]], np.dtype("float32"))
    (None, None)
    """
    if dtype.kind != "f":
        return None
    shape: list[int] = []
    rows = [values]
    try:
        while isinstance(rows[0], list):
            # rows of several lengths are a ValueError here
            (size,) = {len(row) for row in rows}
            shape.append(size)
            # one row, as most requests have, needs no copy
            rows = rows[0] if len(rows) == 1 else list(chain.from_iterable(rows))
        # refuses text, in which NumPy would read numbers
        flat = np.frombuffer(struct.pack(f"{len(rows)}d", *rows))
    except (TypeError, ValueError, IndexError, OverflowError, struct.error):
        return None  # it has no numbers, or no shape
    # not by >=, which NaN does not meet
    if not np.abs(flat).max() < _exact_limit(dtype):
        return None
    return flat.astype(dtype).reshape(shape)


@lru_cache(maxsize=16)
def _exact_limit(dtype: np.dtype[Any]) -> float:
    """Return the value from which on a float of this type, or of 64 bits, skips whole numbers."""
    return _EXACT if dtype.kind != "f" else min(_EXACT, 2.0 ** (np.finfo(dtype).nmant + 1))


def _cast_objects(values: NDArray[Any], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Cast Python's numbers, the whole ones of them and the others each by their rule."""
    result = np.empty(values.shape, dtype)
    for place, value in np.ndenumerate(values):
        if not isinstance(value, (bool, int, float, np.number, np.bool_)):
            reason = "a value is wanted" if value is None else f"a number is wanted, for {dtype}"
            raise CastError(place, value, reason)
        one = np.array(value)
        if one.dtype.kind == "O":  # a whole number beyond 64 bits
            raise CastError(place, value, _reason(value, dtype))
        try:
            result[place] = cast(one, dtype)
        except CastError as error:
            raise CastError(place, value, error.reason) from None
    return result


def _find_wrong(values: NDArray[Any], dtype: np.dtype[Any]) -> NDArray[np.bool_] | None:
    """Return which values the type does not hold; None if it holds all of their type."""
    given = values.dtype.kind
    if given == "b" or not values.size:
        return None
    if dtype.kind == "b":
        return np.asarray((values != 0) & (values != 1))
    if dtype.kind == "f":
        return _find_infinite(values, dtype) if given == "f" else _find_inexact(values, dtype)
    low, high = np.iinfo(dtype).min, np.iinfo(dtype).max
    if given == "f":
        wide = values.astype(np.float64)
        fits = (wide >= max(low, -_EXACT)) & (wide <= min(high, _EXACT)) & (wide == np.trunc(wide))
        return np.asarray(~fits)
    # the range first: most arrays fit, and none needs a mask of them
    if low <= int(values.min()) and int(values.max()) <= high:
        return None
    return np.asarray((values < low) | (values > high))


def _find_infinite(values: NDArray[Any], dtype: np.dtype[Any]) -> NDArray[np.bool_] | None:
    # NaN is not within, and is looked at below
    if np.abs(values).max() <= np.finfo(dtype).max:
        return None
    return np.asarray(np.isinf(values.astype(dtype)) & ~np.isinf(values))


def _find_inexact(values: NDArray[Any], dtype: np.dtype[Any]) -> NDArray[np.bool_] | None:
    """Return which whole numbers a float type does not hold exactly."""
    most = 2 ** (np.finfo(dtype).nmant + 1)
    if -most <= int(values.min()) and int(values.max()) <= most:
        return None
    wide = values.astype(np.float64)
    back = wide < 2.0 ** (64 if values.dtype.kind == "u" else 63)  # else the way back overflows
    # exact where neither the way there and back nor the type's own rounding changes it
    kept = np.where(back, wide, 0).astype(values.dtype) == values
    return np.asarray(~(back & kept & (values.astype(dtype).astype(np.float64) == wide)))


def _reason(value: Any, dtype: np.dtype[Any]) -> str:  # noqa: ANN401 - any number
    if dtype.kind == "b":
        return "a boolean is 0 or 1, false or true"
    if dtype.kind == "f":
        limits = np.finfo(dtype)
        if abs(value) > float(limits.max):
            return f"a {dtype} is at most {limits.max:g}"
        return (
            f"a {dtype} holds whole numbers exactly up to {2 ** (limits.nmant + 1)}; "
            "give it as a float to have it rounded"
        )
    low, high = np.iinfo(dtype).min, np.iinfo(dtype).max
    if low <= value <= high and value == int(value):
        return f"a float is not exact beyond {int(_EXACT)}; give it as a whole number"
    return f"an {dtype} is a whole number from {low} to {high}".replace("an u", "a u")
