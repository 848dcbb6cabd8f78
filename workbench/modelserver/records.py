"""Bodies for models of several inputs, and of text: rows that name their values.

==============  ==============================================================================
npy             an array of a structured type with a field for each input; texts for one of text
JSON            `[{"age": 41, "city": "Bern"}, ...]`, or one such object; in an object as
                `{"instances": [...]}`, or by column as `{"inputs": {"age": [...], ...}}`, which
                is answered as `{"outputs": [...]}`
JSON Lines      an object a line
CSV             columns by the names in a first line, or in the model's order without one; an
                input of several values has a column `name_0`, `name_1` ... for each
==============  ==============================================================================

A row may also be a list in the model's order, and is its value alone where there is one input.
The forms are those of KServe's and TensorFlow Serving's REST interfaces.
"""

import csv
import io
from collections.abc import Callable, Iterator, Sequence
from typing import Any, BinaryIO

import numpy as np
import orjson
from numpy.typing import NDArray

from workbench.modelserver.casts import CastError
from workbench.modelserver.chunks import whole_lines
from workbench.modelserver.errors import RequestError
from workbench.modelserver.formats import (
    InputBatch,
    Reader,
    features,
    parse_cell,
    parse_json,
    parse_jsonlines,
)
from workbench.modelserver.inputs import TEXT, ModelInput, join_columns, name_columns

_MOST_NAMED = 12  # inputs that an error lists


def make_reader(inputs: Sequence[ModelInput]) -> Reader:
    """Return what reads the bodies for a model of these inputs."""
    if len(inputs) == 1 and inputs[0].dtype != TEXT:
        return Reader(inputs[0].dtype, inputs[0].row)
    return RecordReader(inputs)


class RecordReader(Reader):
    """Reads bodies as an array of records; as one of texts where the only input is a text."""

    kinds = "biufUV"

    def __init__(self, inputs: Sequence[ModelInput]) -> None:
        super().__init__(np.dtype(object), inputs[0].row if len(inputs) == 1 else ())
        self._inputs = tuple(inputs)
        self._names = [each.name for each in inputs]
        # the header names each field
        self._max_npy_header += 100 * len(inputs)
        columns = [name_columns(each.name, each.row) for each in inputs]
        self._widths = [len(each) for each in columns]
        self._columns = [name for each in columns for name in each]

    def _refuse(self, error: CastError, first: int = 0) -> RequestError:
        where = error.describe(first=first, names=self._names, what="input")
        return RequestError(400, f"{where}; the model takes {self._describe_input()}.")

    def _describe_input(self) -> str:
        named = "; ".join(map(str, self._inputs[:_MOST_NAMED]))
        more = len(self._inputs) - _MOST_NAMED
        return f"{named} and {more} more" if more > 0 else named

    def _check_batch(self, array: NDArray[Any]) -> NDArray[Any]:
        """Return an array that came as such, each field in the type of its input."""
        names = array.dtype.names or ()
        if len(self._inputs) == 1 and not names:
            return self._build([array])
        if sorted(names) != sorted(self._names):
            raise RequestError(
                400,
                "The array must be of a structured type with a field for each input, it has "
                f"{_join(names) or 'none'}; the model takes {self._describe_input()}.",
            )
        return self._build([array[name] for name in self._names])

    def _json(self, body: bytes) -> InputBatch:
        value = parse_json(body)
        if not isinstance(value, dict):
            single = len(self._inputs) == 1 and _depth(value) == len(self._row)
            return InputBatch(self._take([value] if single else value), single=single)
        if self._wraps(value, "instances"):
            return InputBatch(self._take(value["instances"]), wrapped="predictions")
        if self._wraps(value, "inputs"):
            return InputBatch(self._take_columns(value["inputs"]), wrapped="outputs")
        return InputBatch(self._take([value]), single=True)

    def _wraps(self, value: dict[str, Any], name: str) -> bool:
        return name in value and name not in self._names

    def _jsonlines(self, body: bytes) -> InputBatch:
        return InputBatch(self._take(parse_jsonlines(body)))

    def _csv(self, body: bytes) -> InputBatch:
        return InputBatch(self._take_cells(*self._find_header(_parse_csv(body))))

    def _read_blocks(
        self, read: Callable[[bytes], InputBatch], file: BinaryIO, size: int
    ) -> Iterator[InputBatch]:
        if read != self._csv:
            yield from super()._read_blocks(read, file, size)
            return
        columns: Sequence[str] | None = None
        for lines in whole_lines(file, quoted=True):
            rows = _parse_csv(lines)
            if columns is None:
                columns, rows = self._find_header(rows)
            if rows:
                yield InputBatch(self._take_cells(columns, rows))

    def _take(self, rows: Any) -> NDArray[Any]:  # noqa: ANN401 - whatever JSON can hold
        """Return rows that are objects, lists in the model's order, or values of the one input."""
        if not isinstance(rows, list):
            raise RequestError(
                400, f"Rows must be a list; the model takes {self._describe_input()}."
            )
        if "features" not in self._names:
            rows = [features(row) for row in rows]
        names = self._names
        # most rows are objects of just these names: no look at each
        try:
            if all(len(row) == len(names) for row in rows):
                return self._build([[row[name] for row in rows] for name in names])
        except (TypeError, KeyError):
            pass  # they are of another form, or wrong
        if len(names) == 1 and not any(isinstance(row, dict) for row in rows):
            return self._build([rows])
        for at, row in enumerate(rows):
            if reason := self._find_fault(row):
                raise CastError((at,), row, reason)
        ordered = [[row[name] for name in names] if isinstance(row, dict) else row for row in rows]
        return self._build(list(zip(*ordered, strict=True)))

    def _find_fault(self, row: Any) -> str:  # noqa: ANN401
        if isinstance(row, dict):
            lacking = [name for name in self._names if name not in row]
            if lacking:
                return f"it lacks {_join(lacking)}"
            other = [name for name in row if name not in self._names]
            return f"the model has no input {_join(other)}" if other else ""
        if not isinstance(row, list):
            return "an object with a value for each input is wanted"
        if len(row) != len(self._names):
            return f"it has {len(row)} values and the model {len(self._names)} inputs"
        return ""

    def _take_columns(self, columns: Any) -> NDArray[Any]:  # noqa: ANN401
        if len(self._names) == 1 and not isinstance(columns, dict):
            columns = {self._names[0]: columns}
        reason = self._find_fault(columns)
        if reason or not all(isinstance(values, list) for values in columns.values()):
            raise RequestError(
                400,
                f'"inputs" must hold a list of values for each input: {reason or "not all are"}; '
                f"the model takes {self._describe_input()}.",
            )
        return self._build([columns[name] for name in self._names])

    def _find_header(self, rows: list[list[str]]) -> tuple[Sequence[str], list[list[str]]]:
        """Return the names of the columns, and the rows without the line that says them."""
        first = [cell.strip() for cell in rows[0]] if rows else []
        if sorted(first) == sorted(self._columns):
            return first, rows[1:]
        return self._columns, rows

    def _take_cells(self, columns: Sequence[str], rows: list[list[str]]) -> NDArray[Any]:
        for at, row in enumerate(rows):
            if len(row) != len(columns):
                reason = f"it has {len(row)} cells, and {_join(self._columns)} are wanted"
                raise CastError((at,), ",".join(row), reason)
        order = [columns.index(name) for name in self._columns]
        cells = list(zip(*rows, strict=True)) if rows else [()] * len(order)
        given, values = [cells[at] for at in order], []
        for at, (each, width) in enumerate(zip(self._inputs, self._widths, strict=True)):
            parsed = [
                column if each.dtype == TEXT else _parse_numbers(column, at)
                for column in given[:width]
            ]
            del given[:width]
            if each.row and None not in each.row:
                shape: Any = (len(rows), *each.row)
                parsed = [np.array(parsed, object).T.reshape(shape).tolist()]
            values.append(parsed[0])
        return self._build(values)

    def _build(self, columns: Sequence[Any]) -> NDArray[Any]:
        """Return the values of inputs as rows; a wrong one's place is its row, then its input."""
        counts = {len(values) for values in columns}
        if counts == {0} or len(counts) > 1:
            what = "There are no rows" if len(counts) == 1 else "The inputs differ in their rows"
            raise RequestError(400, f"{what}; the model takes {self._describe_input()}.")
        arrays = []
        for at, (each, values) in enumerate(zip(self._inputs, columns, strict=True)):
            try:
                arrays.append(each.convert(values))
            except CastError as error:
                place = (error.place[0], at, *error.place[1:])
                raise CastError(place, error.value, error.reason) from None
        if len(arrays) == 1:
            return arrays[0]
        return join_columns(dict(zip(self._names, arrays, strict=True)))


def _parse_csv(body: bytes) -> list[list[str]]:
    try:
        text = io.StringIO(body.decode("utf-8-sig"), newline="")
        # a mark of the byte order, as spreadsheets write it, is no part of the first name
        return [row for row in csv.reader(text, strict=True) if row]
    except (ValueError, csv.Error) as error:
        raise RequestError(400, f"The body is not CSV: {error}.") from error


def _parse_numbers(cells: Sequence[str], at: int) -> list[Any]:
    """Return the cells of input number `at` as numbers, None where they are missing."""
    try:  # most are also JSON, whose parser is fast
        numbers: list[Any] = orjson.loads(f"[{','.join(cells)}]")
        if len(numbers) == len(cells) and not any(
            isinstance(each, str | list | dict) for each in numbers
        ):
            return numbers
    except ValueError:
        pass
    numbers = []
    for row, cell in enumerate(cells):
        try:
            numbers.append(parse_cell(cell))
        except ValueError:
            raise CastError((row, at), cell, "a number is wanted") from None
    return numbers


def _depth(value: Any) -> int:  # noqa: ANN401
    """Return how many lists are one in the other; of rows that are objects -1, as they end none."""
    if isinstance(value, dict):
        return -1
    return 1 + _depth(value[0] if value else None) if isinstance(value, list) else 0


def _join(names: Sequence[str]) -> str:
    more = f" and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else ""
    return ", ".join(map(repr, names[:_MOST_NAMED])) + more
