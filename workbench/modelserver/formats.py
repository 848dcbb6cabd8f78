"""What bodies look like: rows in and answers out, as NumPy's own format, JSON, CSV or JSON Lines.

A body is one row or a batch of them. What came as one row, without an axis for the batch, is
answered without it; CSV and JSON Lines always hold a batch, one row a line. JSON may come as
`{"instances": [...]}`, and is then answered as `{"predictions": [...]}`.
"""

import csv
import io
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, BinaryIO

import numpy as np
import orjson
from numpy.typing import NDArray

from workbench.modelserver.chunks import array_rows, json_rows, whole_lines
from workbench.modelserver.errors import Refused

NPY, JSON, CSV, JSONLINES = (
    "application/x-npy",
    "application/json",
    "text/csv",
    "application/jsonlines",
)
TYPES = (NPY, JSON, CSV, JSONLINES)

_MAGIC = b"\x93NUMPY"
_KNOWN_HEADERS = 256
_LONGEST_HEADER = 64 * 1024  # NumPy itself refuses those of more than 10,000 characters


@dataclass(frozen=True, slots=True)
class Asked:
    """Rows with an axis for the batch; `single` if they came without, `wrapped` as instances."""

    rows: NDArray[Any]
    single: bool = False
    wrapped: bool = False


class Reader:
    """Reads bodies as rows of one type and shape.

    Args:
        dtype: The type of the model's input.
        row: The shape of one row, None for an axis of any size.
    """

    def __init__(self, dtype: np.dtype[Any], row: tuple[int | None, ...]) -> None:
        self._dtype = dtype
        self._row = row
        self._readers: dict[str, Callable[[bytes], Asked]] = {
            NPY: self._npy,
            JSON: self._json,
            CSV: self._csv,
            JSONLINES: self._jsonlines,
        }
        self._headers: dict[bytes, tuple[tuple[int, ...], np.dtype[Any], str]] = {}

    def read(self, content_type: str, body: bytes) -> Asked:
        """The rows of a body.

        Raises:
            Refused: 415 for a type that is not one of `TYPES`, 400 for a body that is not what
                its type says or does not hold rows for this model.
        """
        return self._reading(content_type)(body)

    def blocks(self, content_type: str, file: BinaryIO, size: int) -> Iterator[Asked]:
        """The rows of a body of `size` bytes in a file, in order, block by block.

        A single row is one block, whatever its size.

        Raises:
            Refused: As of `read`, once a block is wrong: those before it were given by then.
        """
        read = self._reading(content_type)
        file.seek(0)
        shape: tuple[int, ...] | None = None
        for asked in self._in_blocks(read, file, size):
            if shape not in (None, asked.rows.shape[1:]):
                raise Refused(400, f"The rows must all have one shape, {self._wanted()}.")
            shape = asked.rows.shape[1:]
            yield asked
        if shape is None:
            yield read(b"")  # which is refused, as no rows are

    def _reading(self, content_type: str) -> Callable[[bytes], Asked]:
        name = content_type.partition(";")[0].strip().lower()
        read = self._readers.get(name)
        if read is None:
            raise Refused(415, f"Content-Type must be {_listed(TYPES)}, got {content_type!r}.")
        return read

    def _in_blocks(
        self, read: Callable[[bytes], Asked], file: BinaryIO, size: int
    ) -> Iterator[Asked]:
        if read == self._npy:
            yield from self._npy_blocks(file, size)
        elif read == self._json:
            yield from self._json_blocks(file, size)
        else:
            for lines in whole_lines(file):
                yield read(lines)

    def _npy(self, body: bytes) -> Asked:
        shape, dtype, order, end = self._promised(body, len(body))
        values = np.frombuffer(body, dtype, offset=end).reshape(shape, order=order)  # type: ignore[call-overload]
        return self._shaped(self._cast(values))

    def _npy_blocks(self, file: BinaryIO, size: int) -> Iterator[Asked]:
        shape, dtype, order, end = self._promised(file.read(_LONGEST_HEADER), size)
        if len(shape) != 1 + len(self._row) or not math.prod(shape):
            file.seek(0)
            yield self._npy(file.read(size))
            return
        for rows in array_rows(file, end, shape, dtype, order=order):
            yield Asked(self._batch(self._cast(rows)))

    def _json_blocks(self, file: BinaryIO, size: int) -> Iterator[Asked]:
        pieces = json_rows(file, 1 + len(self._row))
        if pieces is None:
            file.seek(0)
            yield self._json(file.read(size))
            return
        for piece in pieces:
            asked = self._json(piece)
            if asked.single:
                raise Refused(400, f"The rows must all have one shape, {self._wanted()}.")
            yield asked

    def _promised(self, body: bytes, size: int) -> tuple[tuple[int, ...], np.dtype[Any], str, int]:
        """Shape, type and order of an array of `size` bytes, its header's too, and where it begins.

        `body` is the whole or enough of it.
        """
        end = _header_end(body)
        header = body[:end]
        known = self._headers.get(header)
        if known is None:
            known = _parse_header(header)
            if len(self._headers) < _KNOWN_HEADERS:
                self._headers[header] = known
        shape, dtype, order = known
        if size - end != math.prod(shape) * dtype.itemsize:
            raise Refused(400, f"The header promises {dtype} {shape}, the data are not as long.")
        return shape, dtype, order, end

    def _json(self, body: bytes) -> Asked:
        value = _parse_json(body)
        if not isinstance(value, dict):
            return self._shaped(self._numbers(value))
        if "instances" not in value:
            raise Refused(400, 'A JSON object must hold the rows as {"instances": [...]}.')
        rows = self._numbers([_features(each) for each in _as_list(value["instances"])])
        return Asked(self._batch(rows), wrapped=True)

    def _jsonlines(self, body: bytes) -> Asked:
        lines = [line for line in body.splitlines() if line.strip()]
        values = _parse_json(b"[" + b",".join(lines) + b"]")
        if len(values) != len(lines):
            raise Refused(400, "Each line must be one JSON value.")
        return Asked(self._batch(self._numbers([_features(each) for each in values])))

    def _csv(self, body: bytes) -> Asked:
        lines = [line for line in body.splitlines() if line.strip()]
        if not lines:
            raise Refused(400, "The CSV holds no rows.")
        try:  # most CSV is also JSON, whose parser is fast
            values = np.array(orjson.loads(b"[[" + b"],[".join(lines) + b"]]"))
            plain = values.ndim == 2 and values.dtype.kind in "iuf"
        except ValueError:
            plain = False
        rows = self._cast(values if plain else _slow_csv(body))
        if self._row and None not in self._row and rows.shape[1] == math.prod(self._row):  # type: ignore[arg-type]
            rows = rows.reshape(-1, *self._row)
        elif not self._row and rows.shape[1] == 1:
            rows = rows[:, 0]
        return Asked(self._batch(rows))

    def _numbers(self, values: Any) -> NDArray[Any]:  # noqa: ANN401 - whatever JSON can hold
        try:
            array = np.array(values)
        except (ValueError, OverflowError) as error:
            raise Refused(400, f"The rows must all have one shape, {self._wanted()}.") from error
        if array.size == 0:
            raise Refused(400, f"There are no rows; the model takes {self._wanted()}.")
        if array.dtype.kind not in "biuf":
            raise Refused(400, f"Every value must be a number; the model takes {self._wanted()}.")
        return self._cast(array)

    def _cast(self, array: NDArray[Any]) -> NDArray[Any]:
        """The array in the model's type, unless that would lose more than precision."""
        if array.dtype == self._dtype:
            return array
        if self._dtype.kind in "iu" and array.dtype.kind in "iu" and array.size:
            bounds = np.iinfo(self._dtype)
            if int(array.min()) >= bounds.min and int(array.max()) <= bounds.max:
                return array.astype(self._dtype)
        elif np.can_cast(array.dtype, self._dtype, "same_kind"):
            with np.errstate(over="ignore"):
                return array.astype(self._dtype)
        raise Refused(400, f"The values are {array.dtype}; the model takes {self._wanted()}.")

    def _shaped(self, array: NDArray[Any]) -> Asked:
        """The array as a batch, whether it is one or a single row."""
        if array.ndim == len(self._row):
            return Asked(self._batch(array[None]), single=True)
        return Asked(self._batch(array))

    def _batch(self, array: NDArray[Any]) -> NDArray[Any]:
        fits = array.ndim == 1 + len(self._row) and all(
            want is None or want == got
            for want, got in zip(self._row, array.shape[1:], strict=True)
        )
        if not fits or not len(array):
            raise Refused(400, f"The rows have shape {array.shape}; wanted: {self._wanted()}.")
        return array

    def _wanted(self) -> str:
        axes = ["rows", *("any" if size is None else str(size) for size in self._row)]
        return f"{self._dtype} ({', '.join(axes)})"


def choose(accept: str, content_type: str) -> str:
    """The type to answer in: the client's first choice, or the type it sent where it has none.

    Raises:
        Refused: 406 if none of `TYPES` is acceptable.

    >>> choose("text/html, application/json;q=0.5", "text/csv")
    'application/json'
    >>> choose("*/*", "text/csv; charset=utf-8")
    'text/csv'
    """
    own = content_type.partition(";")[0].strip().lower()
    if accept in ("", "*/*", own):
        return own
    for name in _by_preference(accept):
        if name in TYPES:
            return name
        family = name.removesuffix("*")
        if name == "*/*" or (name.endswith("/*") and own.startswith(family)):
            return own
        matching = [each for each in TYPES if name.endswith("/*") and each.startswith(family)]
        if matching:
            return matching[0]
    raise Refused(406, f"Accept must name {_listed(TYPES)}, got {accept!r}.")


def write(content_type: str, outputs: NDArray[Any], asked: Asked) -> bytes:
    """The answers to `asked` as a body of one of `TYPES`; NaN and infinity are null in JSON."""
    if content_type == NPY:
        return _write_npy(outputs[0] if asked.single else outputs)
    if content_type == JSON:
        body = dump(outputs[0] if asked.single else outputs)
        return b'{"predictions":' + body + b"}" if asked.wrapped else body
    if content_type == JSONLINES:
        return b"".join(dump(each) + b"\n" for each in outputs)
    return _write_csv(outputs.reshape(len(outputs), -1))


def _by_preference(accept: str) -> list[str]:
    choices: list[tuple[float, int, str]] = []
    for part in accept.split(","):
        name, *parameters = (piece.strip().lower() for piece in part.split(";"))
        weight = next((p[2:] for p in parameters if p.startswith("q=")), "1")
        with_weight = float(weight) if weight.replace(".", "", 1).isdigit() else 0.0
        if with_weight:
            choices.append((-with_weight, len(choices), name))
    return [name for _, _, name in sorted(choices)]


def _header_end(body: bytes) -> int:
    if body[:6] != _MAGIC or len(body) < 12:
        raise Refused(400, "The body is not in NumPy's format: write it with numpy.save.")
    size = int.from_bytes(body[8:10] if body[6] == 1 else body[8:12], "little")
    return (10 if body[6] == 1 else 12) + size


def _parse_header(header: bytes) -> tuple[tuple[int, ...], np.dtype[Any], str]:
    """Shape, type and order; nothing is ever unpickled."""
    file = io.BytesIO(header)
    try:
        version = np.lib.format.read_magic(file)
        if version == (1, 0):
            shape, fortran, dtype = np.lib.format.read_array_header_1_0(file)
        else:
            shape, fortran, dtype = np.lib.format.read_array_header_2_0(file)
    except ValueError as error:
        raise Refused(400, f"The body is not in NumPy's format: {error}.") from error
    if dtype.kind not in "biuf":
        raise Refused(400, f"The array must hold numbers, got {dtype}.")
    return shape, dtype, "F" if fortran else "C"


def _parse_json(body: bytes) -> Any:  # noqa: ANN401 - whatever JSON can hold
    try:
        return orjson.loads(body)
    except ValueError as error:
        raise Refused(400, f"The body is not JSON: {error}.") from error


def _as_list(value: Any) -> list[Any]:  # noqa: ANN401
    if not isinstance(value, list):
        raise Refused(400, '"instances" must be a list of rows.')
    return value


def _features(value: Any) -> Any:  # noqa: ANN401
    """The row of `{"features": row}`, as SageMaker's own algorithms write it, or the row itself."""
    return value["features"] if isinstance(value, dict) and "features" in value else value


def _slow_csv(body: bytes) -> NDArray[Any]:
    try:
        rows = list(csv.reader(body.decode().splitlines()))
        return np.array([[float(cell) for cell in row] for row in rows if row])
    except (ValueError, csv.Error) as error:
        raise Refused(400, f"The CSV must hold numbers, as many in each row: {error}.") from error


def dump(outputs: Any) -> bytes:  # noqa: ANN401
    """Outputs as JSON."""
    if isinstance(outputs, np.ndarray) and outputs.dtype.kind in "OUS":
        outputs = outputs.tolist()
    elif isinstance(outputs, np.ndarray):
        outputs = np.ascontiguousarray(outputs) if outputs.ndim else outputs[()]
    if isinstance(outputs, np.generic):
        outputs = outputs.item()  # orjson does not know every one: a label may be a longlong
    return orjson.dumps(outputs, option=orjson.OPT_SERIALIZE_NUMPY)


def _write_npy(outputs: Any) -> bytes:  # noqa: ANN401
    array = plain(np.asarray(outputs))
    return npy_header(array.dtype.str, array.shape) + array.tobytes()


def plain(array: NDArray[Any]) -> NDArray[Any]:
    """An array without Python's objects: labels are strings."""
    return array.astype(str) if array.dtype == object else array


@lru_cache(_KNOWN_HEADERS)
def npy_header(dtype: str, shape: tuple[int, ...]) -> bytes:
    """What stands before an array in NumPy's own format."""
    file = io.BytesIO()
    facts = {"descr": dtype, "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(file, facts)
    return file.getvalue()


def _write_csv(outputs: NDArray[Any]) -> bytes:
    if outputs.dtype.kind not in "OUS":
        body = dump(outputs)
        if b"null" not in body:  # JSON knows neither NaN nor infinity
            return body[2:-2].replace(b"],[", b"\n") + b"\n"
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(outputs.tolist())
    return text.getvalue().encode()


def _listed(names: tuple[str, ...]) -> str:
    return f"{', '.join(names[:-1])} or {names[-1]}"
