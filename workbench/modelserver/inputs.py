"""What a model is given: inputs by name, each one's values checked on their way in."""

import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from workbench.modelserver.casts import CastError, as_numbers, cast

NUMBERS = {
    "tensor(float16)": "float16",
    "tensor(float)": "float32",
    "tensor(double)": "float64",
    "tensor(bool)": "bool",
    "tensor(int8)": "int8",
    "tensor(int16)": "int16",
    "tensor(int32)": "int32",
    "tensor(int64)": "int64",
    "tensor(uint8)": "uint8",
    "tensor(uint16)": "uint16",
    "tensor(uint32)": "uint32",
    "tensor(uint64)": "uint64",
}
"""NumPy's names of the types of numbers that ONNX Runtime names so."""

TEXT = np.dtype(object)
"""The type of texts on their way to ONNX Runtime: one long text makes no other one larger."""


@dataclass(frozen=True, slots=True)
class ModelInput:
    """One input: its name, type (`TEXT` of texts) and the shape of a row, None for any size.

    Attributes:
        declared_row: The shape of a row in the file, where clients leave out axes of size 1.
        gaps: Whether a value may be missing: then it is NaN, or an empty text.
    """

    name: str
    dtype: np.dtype[Any]
    row: tuple[int | None, ...]
    declared_row: tuple[int | None, ...]
    gaps: bool = False

    def __str__(self) -> str:
        axes = ", ".join("any" if size is None else str(size) for size in self.row)
        kind = "text" if self.dtype == TEXT else str(self.dtype)
        return f"{self.name}: {kind} ({axes})" if axes else f"{self.name}: {kind}"

    def convert(self, values: Any) -> NDArray[Any]:  # noqa: ANN401 - nested lists, or an array
        """Return the values of rows, one item a row, as an array of this input's type.

        Raises:
            CastError: A row has another shape, or a value that the type does not hold.

        >>> ModelInput("age", np.dtype("float32"), (), ()).convert([41, 2.5]).tolist()
        [41.0, 2.5]
        """
        try:
            array = self._convert(values)
        except (ValueError, OverflowError) as error:
            if isinstance(error, CastError):
                raise
            array = np.empty((0, 0, 0, 0, 0))  # they have no shape at all
        if self.declared_row != self.row and array.ndim == 2 + len(self.row):
            array = array[..., 0] if array.shape[-1] == 1 else array  # as the file declares it
        if not array.ndim or not fits(array.shape[1:], self.row):
            self._refuse_shape(values)
        return array

    def feed(self, values: NDArray[Any]) -> NDArray[Any]:
        """Return the values as ONNX Runtime takes them."""
        values = np.ascontiguousarray(values)
        return values if self.declared_row == self.row else values.reshape(-1, *self.declared_row)

    def _convert(self, values: Any) -> NDArray[Any]:  # noqa: ANN401
        if self.dtype == TEXT:
            return as_texts(self._fill(np.array(values, object), "") if self.gaps else values)
        array = values if isinstance(values, np.ndarray) else as_numbers(values, self.dtype)
        if array.dtype.kind not in "biuf":
            array = self._fill(np.array(values, object), np.nan)
        return cast(array, self.dtype)

    def _fill(self, values: NDArray[Any], blank: object) -> NDArray[Any]:
        if self.gaps and (self.dtype == TEXT or self.dtype.kind == "f"):
            for place, each in np.ndenumerate(values):
                if each is None:
                    values[place] = blank
        return values

    def _refuse_shape(self, values: Sequence[Any]) -> None:
        """Raise which row has another shape, or another than the first where any would do."""
        shapes = [np.shape(np.array(each, object)) for each in values]
        wrong = [at for at, shape in enumerate(shapes) if not fits(shape, self.row)]
        wrong += [at for at, shape in enumerate(shapes) if shape != shapes[0]]
        if not wrong:
            cast(np.array(values, object), self.dtype)  # there is a list where a number should be
        at = wrong[0]
        raise CastError((at,), values[at], f"it has shape {shapes[at]}, and {self} is wanted")


def fits(shape: tuple[int, ...], row: tuple[int | None, ...]) -> bool:
    """Return whether a shape is that of a row, None being any size.

    >>> fits((2, 3), (2, None)), fits((2,), ()), fits((), ())
    (True, False, True)
    """
    return shape == row or (
        len(shape) == len(row) and all(a in (None, b) for a, b in zip(row, shape, strict=True))
    )


def name_columns(name: str, row: Sequence[int | None]) -> list[str]:
    """Return a table's columns for an input: one for each value of a row, where that is known.

    >>> name_columns("age", ()), name_columns("x", (2,)), name_columns("sound", (None,))
    (['age'], ['x_0', 'x_1'], ['sound'])
    """
    width = math.prod(size or 0 for size in row)
    return [f"{name}_{at}" for at in range(width)] if row and None not in row else [name]


def join_columns(columns: Mapping[str, NDArray[Any]]) -> NDArray[Any]:
    """Return columns of one length as a structured array.

    >>> join_columns({"age": np.array([31]), "city": np.array(["Rome"])}).tolist()
    [(31, 'Rome')]
    """
    kinds = [(name, each.dtype, each.shape[1:]) for name, each in columns.items()]
    rows = np.empty(len(next(iter(columns.values()))), kinds)
    for name, each in columns.items():
        rows[name] = each
    return rows


def as_texts(values: Any) -> NDArray[Any]:  # noqa: ANN401 - nested lists, or an array
    r"""Return texts as an array of Python's strings.

    ONNX Runtime would take None for "None" and 3 for "3", and cut some texts at a NUL.

    Raises:
        CastError: One is no text, or holds a NUL or half a character.

    >>> as_texts(["Bern", 3])
    Traceback (most recent call last):
        ...
    workbench.modelserver.casts.CastError: ((1,), 3, 'a text is wanted')
    """
    texts = _as_objects(values)
    try:
        joined = "".join(texts.flat)
        joined.encode()
        if "\0" not in joined:
            return texts
    except (TypeError, UnicodeEncodeError):
        pass  # it is named below
    for place, text in np.ndenumerate(texts):
        if reason := _find_fault(text):
            raise CastError(place, ascii(text) if isinstance(text, str) else text, reason)
    return texts


def _as_objects(values: Any) -> NDArray[Any]:  # noqa: ANN401
    if isinstance(values, np.ndarray) and values.dtype.kind == "U" and values.dtype.itemsize:
        # NumPy makes a Python string of whatever number stands for a character.
        flat = np.ascontiguousarray(values, values.dtype.newbyteorder("=")).reshape(-1, 1)
        wrong = (flat.view(np.uint32) > sys.maxunicode).any(axis=1)
        if wrong.any():
            place = np.unravel_index(int(wrong.argmax()), values.shape)
            raise CastError(tuple(map(int, place)), "no text", "it is no valid Unicode")
    return np.array(values, object)


def _find_fault(text: object) -> str:
    if not isinstance(text, str):
        return "a text is wanted"
    try:
        text.encode()
    except UnicodeEncodeError:
        return "it is no valid Unicode"
    return "a text must not hold NUL" if "\0" in text else ""
