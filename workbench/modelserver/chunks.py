"""Files of rows, read in pieces that hold whole rows."""

import math
import re
from collections.abc import Iterator
from typing import Any, BinaryIO

import numpy as np
import orjson
from numpy.typing import NDArray

from workbench.modelserver.errors import RequestError

PIECE_BYTES = 1024 * 1024
"""Bytes that are read at a time."""

_COMMA, _QUOTE, _BACKSLASH = b',"\\'
# tables by byte: one look-up for a whole piece, whatever there is to find
_BREAKS = np.zeros(256, bool)
_BREAKS[[*b"\r\n"]] = True
_STEPS = np.zeros(256, np.int8)  # what a byte of JSON adds to the depth of brackets
_STEPS[[ord("["), ord("{")]], _STEPS[[ord("]"), ord("}")]] = 1, -1


def whole_lines(
    file: BinaryIO, *, piece: int = PIECE_BYTES, quoted: bool = False
) -> Iterator[bytes]:
    r"""Return the lines of a file in pieces of about `piece` bytes, or of one line that is longer.

    Pieces of blank lines alone are left out. With `quoted`, a line goes on within quotes.

    >>> import io
    >>> list(whole_lines(io.BytesIO(b"1,2\n3,4\n\n5,6"), piece=5))
    [b'1,2\n', b'3,4\n\n', b'5,6']
    """
    rest: list[bytes] = []
    inside = False  # quotes
    while data := file.read(piece):
        if inside or (quoted and b'"' in data):
            codes = np.frombuffer(data, np.uint8)
            # behind an odd number of quotes; a doubled one, for itself, leaves and enters
            within = inside ^ (np.cumsum(codes == _QUOTE) % 2).astype(bool)
            ends, inside = np.flatnonzero(_BREAKS[codes] & ~within), bool(within[-1])
            end = int(ends[-1]) + 1 if ends.size else 0
        else:
            end = max(data.rfind(b"\n"), data.rfind(b"\r")) + 1
        if not end:
            rest.append(data)
            continue
        lines = b"".join([*rest, data[:end]])
        rest = [data[end:]]
        if not lines.isspace():
            yield lines
    if last := b"".join(rest).strip():
        yield last


def json_rows(file: BinaryIO, depth: int, *, piece: int = PIECE_BYTES) -> Iterator[bytes] | None:
    """Return the rows of JSON in a file, in documents like it that hold some of them each.

    Rows are the values of an array that begins with `depth` brackets, or those of "instances".
    Anything else gives None.

    Raises:
        RequestError: 400 for what is not JSON around the rows.

    >>> import io
    >>> list(json_rows(io.BytesIO(b'{"instances": [[1], [2], [3]]}'), 1, piece=22))
    [b'{"instances": [[1]]}', b'{"instances": [ [2], [3]]}']
    """
    head = file.read(piece)
    found = re.match(rb'\s*(?:\{\s*"instances"\s*:\s*\[|\[(?=(?:\s*\[){%d}))' % (depth - 1), head)
    if found is None:
        return None
    return _json_pieces(file, found[0], head[found.end() :], piece)


def _json_pieces(file: BinaryIO, opening: bytes, data: bytes, piece: int) -> Iterator[bytes]:
    closing = b"]}" if b"{" in opening else b"]"
    rest: list[bytes] = []
    depth, text = 0, _TextMask()
    data = data or file.read(piece)
    while data:
        codes = text.blank(data)
        depths = depth + np.cumsum(_STEPS[codes], dtype=np.int64)
        # the first bracket that closes more than was opened ends the rows
        ends = np.flatnonzero(depths < 0)
        if ends.size:
            yield b"".join([opening, *rest, data[: ends[0]], closing])
            _check_end(opening, data[ends[0] :] + file.read())
            return
        cuts = np.flatnonzero((codes == _COMMA) & (depths == 0))
        if cuts.size:
            yield b"".join([opening, *rest, data[: cuts[-1]], closing])
            rest = [data[cuts[-1] + 1 :]]
        else:
            rest.append(data)
        depth = int(depths[-1])
        data = file.read(piece)
    raise RequestError(400, "The body is not JSON: it ends before its rows do.")


class _TextMask:
    """Blanks what stands within the quotes of JSON, from one piece of a document to the next."""

    def __init__(self) -> None:
        self._inside = False
        self._escaping = False  # the last piece ended with a backslash that escapes

    def blank(self, data: bytes) -> NDArray[np.uint8]:
        """Return the bytes of the next piece, 0 where they are part of a text."""
        codes = np.frombuffer(data, np.uint8)
        if not self._inside and b'"' not in data:
            return codes
        quotes = (codes == _QUOTE) & ~self._find_escaped(codes)
        within = self._inside ^ (np.cumsum(quotes) % 2).astype(bool)
        self._inside = bool(within[-1])
        return np.where(within | quotes, np.uint8(0), codes)

    def _find_escaped(self, codes: NDArray[np.uint8]) -> NDArray[np.bool_]:
        """Return which bytes stand behind an odd number of backslashes."""
        slash = np.concatenate([[self._escaping], codes == _BACKSLASH])
        at = np.arange(len(slash))
        # the distance to the last other byte, without a loop over bytes
        last_other = np.maximum.accumulate(np.where(slash, -1, at))
        odd = (at - last_other) % 2 == 1
        self._escaping = bool(odd[-1])
        return np.asarray(odd[:-1])


def _check_end(opening: bytes, end: bytes) -> None:
    """Require that what stands around the rows is JSON without them, too."""
    try:
        around = orjson.loads(opening + end)
    except ValueError as error:
        raise RequestError(
            400, f"The body is not JSON: what follows its rows is wrong: {error}."
        ) from None
    if around != [] and around.get("instances") != []:
        raise RequestError(400, 'The body has "instances" twice.')


def array_rows(
    file: BinaryIO, start: int, shape: tuple[int, ...], dtype: np.dtype[Any], *, order: str
) -> Iterator[NDArray[Any]]:
    """Yield the rows of an array that begins at byte `start`, in pieces of about `PIECE_BYTES`."""
    row = shape[1:]
    step = max(1, PIECE_BYTES // (math.prod(row) * dtype.itemsize))
    for first in range(0, shape[0], step):
        count = min(step, shape[0] - first)
        if order == "C":
            values = np.empty((count, *row), dtype)
            _fill(values, file, start + first * math.prod(row) * dtype.itemsize)
        else:  # each column lies by itself
            columns = np.empty((math.prod(row), count), dtype)
            for number, column in enumerate(columns):
                _fill(column, file, start + (number * shape[0] + first) * dtype.itemsize)
            values = columns.T.reshape((count, *row), order="F")
        yield values


def _fill(array: NDArray[Any], file: BinaryIO, start: int) -> None:
    file.seek(start)
    data = file.read(array.nbytes)
    if len(data) < array.nbytes:
        raise EOFError("The file ends before the array does.")
    array.reshape(-1).view(np.uint8)[:] = np.frombuffer(data, np.uint8)
