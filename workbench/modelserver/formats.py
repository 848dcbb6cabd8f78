"""What bodies look like: rows in and answers out, as NumPy's own format, JSON, CSV or JSON Lines.

A body is one row or a batch of them. What came as one row, without an axis for the batch, is
answered without it; CSV and JSON Lines always hold a batch, one row a line. JSON may come as
`{"instances": [...]}`, and is then answered as `{"predictions": [...]}`. What models of several
inputs and of text take is in `records`.
"""

import contextlib
import csv
import io
import math
from collections.abc import Callable, Iterator
from fnmatch import fnmatchcase
from functools import lru_cache
from typing import Any, BinaryIO, Literal, NamedTuple

import numpy as np
import orjson
from numpy.typing import NDArray

from workbench.modelserver.casts import MISSING, CastError, as_numbers, cast, pack_floats
from workbench.modelserver.chunks import array_rows, json_rows, whole_lines
from workbench.modelserver.errors import RequestError
from workbench.modelserver.inputs import fits

TYPES = ("application/x-npy", "application/json", "text/csv", "application/jsonlines")
NPY, JSON, CSV, JSONLINES = TYPES

Order = Literal["C", "F"]

_MAGIC = b"\x93NUMPY"
_HEADER_CACHE_SIZE = 256  # clients send the same again and again
_MAX_HEADER_BYTES = 64 * 1024  # NumPy itself refuses those of more than 10,000 characters


class InputBatch(NamedTuple):
    """Rows with an axis for the batch; `single` if they came without.

    `wrapped` is the name that answers have in a JSON object; "" if they need none.
    """

    rows: NDArray[Any]
    single: bool = False
    wrapped: str = ""


class Reader:
    """Reads bodies as rows of one type and of one shape, None being an axis of any size."""

    kinds = "biuf"
    """The kinds of NumPy's types that an array may have."""

    _max_npy_header = 10_000  # as NumPy itself has it

    def __init__(self, dtype: np.dtype[Any], row: tuple[int | None, ...]) -> None:
        self._dtype = dtype
        self._row = row
        self._readers: dict[str, Callable[[bytes], InputBatch]] = {
            NPY: self._npy,
            JSON: self._json,
            CSV: self._csv,
            JSONLINES: self._jsonlines,
        }
        self._known: tuple[bytes, int, tuple[int, ...], Order, bool] = (b"", -1, (), "C", False)

    def read(self, content_type: str, body: bytes) -> InputBatch:
        """Return the rows of a body.

        Raises:
            RequestError: 415 for a type that is not one of `TYPES`, 400 for a body that is not what
                its type says or does not hold rows for this model.
        """
        read = self._find_reader(content_type)
        try:
            return read(body)
        except CastError as error:
            raise self._refuse(error) from error

    def blocks(self, content_type: str, file: BinaryIO, size: int) -> Iterator[InputBatch]:
        """Return the rows of a body of `size` bytes in a file, in order, block by block.

        A single row is one block, whatever its size.

        Raises:
            RequestError: As of `read`, once a block is wrong: those before it were given by then.
        """
        read = self._find_reader(content_type)
        file.seek(0)
        layout: Any = None
        blocks, done = self._read_blocks(read, file, size), 0
        while True:
            try:
                batch = next(blocks, None)
            except CastError as error:
                raise self._refuse(error, done) from error
            if batch is None:
                break
            before, layout = layout, (batch.rows.dtype, batch.rows.shape[1:])
            if before not in (None, layout):
                raise self._refuse_shapes()
            done += len(batch.rows)
            yield batch
        if layout is None:
            yield read(b"")  # which is refused, as no rows are

    def _refuse(self, error: CastError, first: int = 0) -> RequestError:
        """Return the answer to a value that the model's type does not hold."""
        where = error.describe(first=first)
        return RequestError(400, f"{where}; the model takes {self._describe_input()}.")

    def _refuse_shapes(self) -> RequestError:
        return RequestError(400, f"The rows must all have one shape, {self._describe_input()}.")

    def _find_reader(self, content_type: str) -> Callable[[bytes], InputBatch]:
        read = self._readers.get(content_type) or self._readers.get(_bare_type(content_type))
        if read is None:
            raise RequestError(
                415, f"Content-Type must be {_join_names(TYPES)}, got {content_type!r}."
            )
        return read

    def _read_blocks(
        self, read: Callable[[bytes], InputBatch], file: BinaryIO, size: int
    ) -> Iterator[InputBatch]:
        if read == self._npy:
            yield from self._npy_blocks(file, size)
        elif read == self._json:
            yield from self._json_blocks(file, size)
        else:
            for lines in whole_lines(file):
                yield read(lines)

    def _npy(self, body: bytes) -> InputBatch:
        # a client's bodies mostly have one size and one header: comparing is faster
        header, size, shape, order, single = self._known  # of the array before
        if len(body) == size and body.startswith(header):
            rows = np.ndarray(shape, self._dtype, body, len(header), order=order)
            return InputBatch(rows, single)
        shape, dtype, order, end = self._read_npy_header(body, len(body))
        batch = self._to_batch(np.ndarray(shape, dtype, body, end, order=order))
        if dtype == self._dtype:  # such rows are taken as they are
            self._known = body[:end], len(body), batch.rows.shape, order, batch.single
        return batch

    def _npy_blocks(self, file: BinaryIO, size: int) -> Iterator[InputBatch]:
        shape, dtype, order, end = self._read_npy_header(file.read(_MAX_HEADER_BYTES), size)
        if len(shape) != 1 + len(self._row) or not math.prod(shape):
            file.seek(0)
            yield self._npy(file.read(size))
            return
        for rows in array_rows(file, end, shape, dtype, order=order):
            yield InputBatch(self._check_batch(rows))

    def _json_blocks(self, file: BinaryIO, size: int) -> Iterator[InputBatch]:
        pieces = json_rows(file, 1 + len(self._row))
        if pieces is None:
            file.seek(0)
            yield self._json(file.read(size))
            return
        for piece in pieces:
            batch = self._json(piece)
            if batch.single:
                raise self._refuse_shapes()
            yield batch

    def _read_npy_header(
        self, body: bytes, size: int
    ) -> tuple[tuple[int, ...], np.dtype[Any], Order, int]:
        """Return shape, type, order and start of an array of `size` bytes, from its beginning."""
        # no header ends before byte 12
        if body[:6] != _MAGIC or len(body) < 12:
            raise RequestError(400, "The body is not in NumPy's format: write it with numpy.save.")
        start = 10 if body[6] == 1 else 12  # by the version, whose size has two bytes or four
        end = start + int.from_bytes(body[8:start], "little")
        shape, dtype, order = _parse_header(body[:end], self.kinds, self._max_npy_header)
        if size - end != math.prod(shape) * dtype.itemsize:
            raise RequestError(
                400, f"The header promises {dtype} {shape}, the data are not as long."
            )
        return shape, dtype, order, end

    def _json(self, body: bytes) -> InputBatch:
        value = parse_json(body)
        if not isinstance(value, dict):
            return self._to_batch(self._to_array(value))
        if "instances" not in value:
            raise RequestError(400, 'A JSON object must hold the rows as {"instances": [...]}.')
        if not isinstance(value["instances"], list):
            raise RequestError(400, '"instances" must be a list of rows.')
        rows = self._to_array([features(each) for each in value["instances"]])
        return InputBatch(self._check_batch(rows), wrapped="predictions")

    def _jsonlines(self, body: bytes) -> InputBatch:
        values = [features(each) for each in parse_jsonlines(body)]
        return InputBatch(self._check_batch(self._to_array(values)))

    def _csv(self, body: bytes) -> InputBatch:
        lines = [line for line in body.splitlines() if line.strip()]
        if not lines:
            raise RequestError(400, "The CSV holds no rows.")
        try:  # most CSV is also JSON, whose parser is fast
            values = as_numbers(orjson.loads(b"[[" + b"],[".join(lines) + b"]]"), self._dtype)
            plain = values.ndim == 2 and values.dtype.kind in "iuf"
        except ValueError:
            plain = False
        rows = values if plain else _parse_csv(lines, self._dtype)
        # a row of several axes comes flat, as a line has one
        if self._row and None not in self._row and rows.shape[1] == math.prod(self._row):  # type: ignore[arg-type]
            rows = rows.reshape(-1, *self._row)
        elif not self._row and rows.shape[1] == 1:
            rows = rows[:, 0]
        return InputBatch(self._check_batch(rows))

    def _to_array(self, values: Any) -> NDArray[Any]:  # noqa: ANN401 - whatever JSON can hold
        packed = pack_floats(values, self._dtype)
        if packed is not None:
            return packed
        try:
            array = as_numbers(values, self._dtype)
        except (ValueError, OverflowError) as error:
            raise self._refuse_shapes() from error
        if array.size == 0:
            raise RequestError(400, f"There are no rows; the model takes {self._describe_input()}.")
        objects = array.flat if array.dtype.kind == "O" else ()
        if array.dtype.kind not in "biufO" or any(isinstance(v, str | dict) for v in objects):
            raise RequestError(
                400, f"Every value must be a number; the model takes {self._describe_input()}."
            )
        return array

    def _to_batch(self, array: NDArray[Any]) -> InputBatch:
        """Return the array as a batch, whether it is one or a single row."""
        if array.ndim == len(self._row):
            return InputBatch(self._check_batch(array[None]), single=True)
        return InputBatch(self._check_batch(array))

    def _check_batch(self, array: NDArray[Any]) -> NDArray[Any]:
        """Return rows of the model's shape in its type."""
        if not array.ndim or not len(array) or not fits(array.shape[1:], self._row):
            raise RequestError(
                400, f"The rows have shape {array.shape}; wanted: {self._describe_input()}."
            )
        return cast(array, self._dtype)

    def _describe_input(self) -> str:
        axes = ["rows", *("any" if size is None else str(size) for size in self._row)]
        return f"{self._dtype} ({', '.join(axes)})"


def choose(accept: str, content_type: str) -> str:
    """Choose the type to answer in: the client's first choice, or the type it sent.

    Raises:
        RequestError: 406 if none of `TYPES` is acceptable.

    >>> choose("text/html, application/json;q=0.5", "text/csv")
    'application/json'
    >>> choose("*/*", "text/csv; charset=utf-8")
    'text/csv'
    """
    if accept == content_type and accept in TYPES:
        return accept
    own = _bare_type(content_type)
    if accept in ("", "*/*", own):
        return own
    for name in _sort_by_preference(accept):  # patterns too: Java's clients even send "*"
        if matching := [each for each in (own, *TYPES) if fnmatchcase(each, name)]:
            return matching[0]
    raise RequestError(406, f"Accept must name {_join_names(TYPES)}, got {accept!r}.")


def write(content_type: str, outputs: NDArray[Any], batch: InputBatch) -> bytes:
    """Encode the answers to `batch` in one of `TYPES`; NaN and infinity are null in JSON."""
    if content_type == NPY:
        return _write_npy(outputs[0] if batch.single else outputs)
    if content_type == JSON:
        body = dump(outputs[0] if batch.single else outputs)
        return b'{"%s":%s}' % (batch.wrapped.encode(), body) if batch.wrapped else body
    if content_type == JSONLINES:
        return b"".join(dump(each) + b"\n" for each in outputs)
    return _write_csv(outputs.reshape(len(outputs), -1))


def _bare_type(content_type: str) -> str:
    return content_type.partition(";")[0].strip().lower()


def _sort_by_preference(accept: str) -> list[str]:
    choices: list[tuple[float, int, str]] = []
    for part in accept.split(","):
        name, *parameters = (piece.strip().lower() for piece in part.split(";"))
        # what is no weight is taken for q=0: the choice is left out, and the others still count
        weight = next((p[2:] for p in parameters if p.startswith("q=")), "1")
        with_weight = float(weight) if weight.replace(".", "", 1).isdigit() else 0.0
        if with_weight:
            choices.append((-with_weight, len(choices), name))
    return [name for _, _, name in sorted(choices)]


@lru_cache(_HEADER_CACHE_SIZE)
def _parse_header(
    header: bytes, kinds: str, max_size: int
) -> tuple[tuple[int, ...], np.dtype[Any], Order]:
    """Return shape, type and order; nothing is ever unpickled."""
    file = io.BytesIO(header)
    try:
        version = np.lib.format.read_magic(file)
        layout = np.lib.format
        old = version == (1, 0)
        read = layout.read_array_header_1_0 if old else layout.read_array_header_2_0
        shape, fortran, dtype = read(file, max_header_size=max_size)
        if version == (3, 0) and dtype.names:  # which differs in its characters alone
            dtype.names = tuple(name.encode("latin1").decode() for name in dtype.names)
    except Exception as error:  # NumPy reads it as Python's source, which may be wrong in any way
        raise RequestError(400, f"The body is not in NumPy's format: {error}.") from error
    if dtype.kind not in kinds or dtype.hasobject or not dtype.itemsize:
        wanted = "numbers" if kinds == Reader.kinds else "records or texts"
        raise RequestError(400, f"The array must hold {wanted}, got {dtype}.")
    return shape, dtype, "F" if fortran else "C"


def parse_json(body: bytes) -> Any:  # noqa: ANN401 - whatever JSON can hold
    """Return what JSON holds; a body that is none is refused."""
    try:
        return orjson.loads(body)
    except ValueError as error:
        raise RequestError(400, f"The body is not JSON: {error}.") from error


def parse_jsonlines(body: bytes) -> list[Any]:
    """Return what each line holds that is not blank; one that is no JSON is refused."""
    lines = [line for line in body.splitlines() if line.strip()]
    # in one call, which is faster; a line of two values makes one too many
    values: list[Any] = parse_json(b"[" + b",".join(lines) + b"]")
    if len(values) != len(lines):
        raise RequestError(400, "Each line must be one JSON value.")
    return values


def features(value: Any) -> Any:  # noqa: ANN401
    """Unwrap `{"features": row}`, as SageMaker's own algorithms write it, to the row."""
    return value["features"] if isinstance(value, dict) and "features" in value else value


def _parse_csv(lines: list[bytes], dtype: np.dtype[Any]) -> NDArray[Any]:
    try:
        rows = list(csv.reader(line.decode() for line in lines))
        return as_numbers([[parse_cell(cell) for cell in row] for row in rows if row], dtype)
    except (ValueError, csv.Error) as error:
        raise RequestError(
            400, f"The CSV must hold numbers, as many in each row: {error}."
        ) from error


def parse_cell(cell: str) -> float | None:
    """Return a cell's number or truth value; None where it is missing."""
    text = cell.strip().lower()
    if "_" in text:  # Python would read 1_000
        raise ValueError(f"{cell!r} is no number")
    if text in MISSING:
        return None
    if text in ("true", "false"):
        return text == "true"
    with contextlib.suppress(ValueError):
        return int(text)
    number = float(text)
    if math.isinf(number) and "inf" not in text:
        raise ValueError(f"{cell!r} is too large")
    return number


def dump(outputs: Any) -> bytes:  # noqa: ANN401
    """Return outputs as JSON."""
    if isinstance(outputs, np.ndarray) and outputs.dtype.kind in "OUS":
        outputs = outputs.tolist()
    elif isinstance(outputs, np.ndarray):
        outputs = np.ascontiguousarray(outputs) if outputs.ndim else outputs[()]
    if isinstance(outputs, np.generic):
        outputs = outputs.item()  # orjson does not know every one: a label may be a longlong
    return orjson.dumps(outputs, option=orjson.OPT_SERIALIZE_NUMPY)


def _write_npy(outputs: Any) -> bytes:  # noqa: ANN401
    array = strip_objects(np.asarray(outputs))
    return npy_header(array.dtype, array.shape) + array.tobytes()


def strip_objects(array: NDArray[Any]) -> NDArray[Any]:
    """Return an array without Python's objects: labels are strings."""
    return array.astype(str) if array.dtype.kind == "O" else array


@lru_cache(_HEADER_CACHE_SIZE)
def npy_header(dtype: np.dtype[Any], shape: tuple[int, ...]) -> bytes:
    """Return what stands before an array in NumPy's own format."""
    file = io.BytesIO()
    facts = {"descr": dtype.str, "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(file, facts)
    return file.getvalue()


def _write_csv(outputs: NDArray[Any]) -> bytes:
    if outputs.dtype.kind not in "OUS":
        body = dump(outputs)
        if b"null" not in body:  # JSON knows neither NaN nor infinity
            return body[2:-2].replace(b"],[", b"\n") + b"\n"  # but for its brackets, JSON is CSV
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(outputs.tolist())
    return text.getvalue().encode()


def _join_names(names: tuple[str, ...]) -> str:
    return f"{', '.join(names[:-1])} or {names[-1]}"
