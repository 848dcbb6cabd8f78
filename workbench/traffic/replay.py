"""Traces of requests that really arrived: from times, from counts, from files."""

import json
import math
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from workbench.errors import InvalidInput, NotFound, StorageError
from workbench.files import as_path
from workbench.tables import TextTable, open_table
from workbench.tables.cells import parse_numbers
from workbench.traffic.instants import Origin, Unit, seconds_since
from workbench.traffic.patterns import Rows, check_expected, draw_trace, streams
from workbench.traffic.trace import Trace, format_value
from workbench.validation import Seed, as_context, flag, positive, whole_numbers

if TYPE_CHECKING:
    import polars as pl

_TIME_COLUMNS = ("arrival", "arrivals", "timestamp", "time")
_CONTEXT = "context"
_REQUEST_COLUMNS = ("rows", "bytes", "sample", _CONTEXT)
_NOTES_MARK = b"# {"


def from_timestamps(
    times: "ArrayLike | pl.Series",
    *,
    origin: Origin = None,
    unit: Unit | None = None,
    duration: float | None = None,
    sort: bool = False,
    rows: ArrayLike = 1,
    bytes: ArrayLike = 0,  # noqa: A002 - the attribute's name
    sample: ArrayLike | None = None,
    context: ArrayLike | None = None,
    name: str = "from_timestamps",
    notice: str = "",
) -> Trace:
    """Return the trace of requests that arrived at given times.

    Args:
        times: numbers, or instants: datetimes, or texts in ISO 8601 (taken as UTC without offset).
        origin: what becomes 0. Default: 0 for seconds, the first for instants and time since 1970.
        unit: of numbers: "s", "ms", "us" or "ns". Default: seconds, unless they must be others.
        duration: seconds. Default: until the last arrival.
        sort: put unsorted times in order, with what the requests carry; else they are refused.
        rows: as in `Trace`, in the order of `times`.
        bytes: as in `Trace`, in the order of `times`.
        sample: as in `Trace`, in the order of `times`.
        context: as in `Trace`, in the order of `times`.
        name: how the trace was made.
        notice: source and terms that travel with the data.

    Raises:
        InvalidInput: a time is missing, unreadable, out of order or before the origin; some
            instants have an offset from UTC and others none; or the duration cannot be known.

    >>> from_timestamps(["2026-01-31 12:00:00", "2026-01-31 12:00:01.5"]).arrivals.tolist()
    [0.0, 1.5]
    """
    seconds = seconds_since(times, origin, unit=unit)
    count = len(seconds)
    order = np.argsort(seconds, kind="stable") if flag("sort", sort) else np.arange(count)
    kinds = as_context(context, count)
    return Trace(
        seconds[order],
        _last(seconds) if duration is None else duration,
        rows=whole_numbers("rows", rows, count, np.int32, least=1)[order],
        bytes=whole_numbers("bytes", bytes, count, np.int64)[order],
        sample=None if sample is None else whole_numbers("sample", sample, count, np.int64)[order],
        context=None if kinds is None else kinds[order],
        name=name,
        notice=notice,
    )


def _last(seconds: NDArray[np.float64]) -> float:
    """Return the last arrival, as how long the trace is."""
    last = float(seconds.max())
    if last == 0:
        many = "its one request arrives" if len(seconds) == 1 else "all requests arrive"
        raise InvalidInput(f"{many} at 0 s, so how long the trace is must be said: pass duration=.")
    return last


def from_counts(
    counts: ArrayLike | str | os.PathLike[str],
    *,
    period: float,
    seed: Seed,
    rows: Rows = 1,
    name: str | None = None,
) -> Trace:
    """Spread requests counted per period, each uniformly at random over its period.

    ``trace.counts(period)`` gives the counts back.

    Args:
        counts: whole numbers, one for each period; or a text file with nothing but them, between
            blanks or line ends. A file with times beside counts is for `read_counts`.
        period: seconds.
        seed: a whole number, or a NumPy generator.
        rows: as for `poisson`.
        name: how the trace was made.

    Raises:
        NotFound: there is no such file.
        InvalidInput: a count is negative or not whole, all are 0, or they are too many; or a word
            of the file is no number.

    >>> from_counts([3, 0, 2], period=60, seed=1).counts(60).tolist()
    [3, 0, 2]
    """
    period = positive("period", period)
    if isinstance(counts, str | os.PathLike):
        name = name or f"from_counts({os.fspath(counts)!r}, seed={format_value(seed)})"
        counts = _read_words(counts)
    each = whole_numbers("counts", counts, np.size(counts), np.int64)
    if not check_expected(each.sum(dtype=float)):
        raise InvalidInput("counts are all 0, and a trace may not be empty.")
    said = f"{len(each)} periods of {format_value(period)} s, seed={format_value(seed)}"
    times, samples = streams(seed)
    edges = period * np.arange(len(each) + 1)
    at = np.repeat(edges[:-1], each) + times.random(each.sum()) * period
    # Rounding must not carry a request into the next period.
    at = np.minimum(at, np.repeat(np.nextafter(edges[1:], 0), each))
    return draw_trace(name or f"from_counts({said})", at, float(edges[-1]), rows, samples)


def from_csv(
    path: str | os.PathLike[str],
    column: str | None = None,
    *,
    header: bool | None = None,
    origin: Origin = None,
    unit: Unit | None = None,
    duration: float | None = None,
    sort: bool = False,
    name: str | None = None,
) -> Trace:
    """Read the trace in a CSV file: of `Trace.to_csv`, or any with a column of times.

    Args:
        path: of the file. Columns named rows, bytes, sample and context are read too, others not.
        column: the times, as for `from_timestamps`. Default: arrival, arrivals, timestamp or time
            in any case, or the only column.
        header: whether the first line names the columns. Default: it does not, and a warning says
            so, if all that it holds are numbers or instants; the columns are x0, x1, ... then.
        origin: as for `from_timestamps`.
        unit: as for `from_timestamps`.
        duration: seconds. Default: what `to_csv` wrote, else until the last arrival.
        sort: as for `from_timestamps`.
        name: how the trace was made. Default: what `to_csv` wrote, else the file's.

    Raises:
        NotFound: there is no such file.
        InvalidInput: it cannot be read, lacks the column, or a row is not as it must be.
    """
    with _translate_errors(path) as file:
        with file.open("rb") as opened:
            first = opened.readline(1_000_000)  # no line of notes is longer, and any file may come
        noted = first.startswith(_NOTES_MARK)
        saved = {"name": file.name} | (json.loads(first[1:]) if noted else {})
        asked = None if column is None else [column]
        table = open_table(file, header=header, columns=asked, skip=int(noted))
        how: dict[str, Any] = {"origin": origin, "unit": unit, "duration": duration, "sort": sort}
        return _from_table(table, column, saved, name=name, **how)


def from_jsonl(
    path: str | os.PathLike[str],
    column: str | None = None,
    *,
    origin: Origin = None,
    unit: Unit | None = None,
    duration: float | None = None,
    sort: bool = False,
    name: str | None = None,
) -> Trace:
    """Read the trace in a file of JSON Lines: an object for each request, with its time.

    Arguments and errors are those of `from_csv`.
    """
    with _translate_errors(path) as file:
        how: dict[str, Any] = {"origin": origin, "unit": unit, "duration": duration, "sort": sort}
        table = open_table(file, json=True)
        return _from_table(table, column, {"name": file.name}, name=name, **how)


def from_parquet(
    path: str | os.PathLike[str],
    column: str | None = None,
    *,
    origin: Origin = None,
    unit: Unit | None = None,
    duration: float | None = None,
    sort: bool = False,
    name: str | None = None,
) -> Trace:
    """Read the trace in a Parquet file: one of `Trace.to_parquet`, or any with a column of times.

    Arguments and errors are those of `from_csv`.
    """
    import polars as pl

    with _translate_errors(path) as file:
        notes = pl.read_parquet_metadata(file).get("workbench", "{}")
        saved = {"name": file.name} | json.loads(notes)
        times, carried = _choose_columns(pl.read_parquet_schema(file), column)
        frame = pl.read_parquet(file, columns=[times, *carried])
        how: dict[str, Any] = {"origin": origin, "unit": unit, "duration": duration, "sort": sort}
        values = {each: frame[each] for each in carried}
        return _from_columns(frame, times, values, saved, name=name, **how)


READERS: dict[str, Callable[..., Trace]] = {
    ".csv": from_csv,
    ".parquet": from_parquet,
    ".jsonl": from_jsonl,
    ".ndjson": from_jsonl,
}
"""What reads a trace's file, by how its name ends."""


def read_counts(
    path: str | os.PathLike[str],
    *,
    period: float = 60.0,
    time: str = "period",
    count: str = "count",
    header: bool | None = None,
    unit: Unit | None = None,
) -> NDArray[np.int64]:
    """Read requests in each period from a CSV file, a row a period; 0 where one is missing.

    Args:
        path: of the file.
        period: seconds.
        time: the column with the beginning of each period, in order, as for `from_timestamps`.
        count: the column with the number of requests.
        header: as for `from_csv`; the columns are x0, x1, ... without one.
        unit: of the times, as for `from_timestamps`.

    Raises:
        NotFound: there is no such file.
        InvalidInput: it cannot be read, lacks a column, or a row is not as it must be.
    """
    period = positive("period", period)
    with _translate_errors(path) as file:
        table = open_table(file, header=header)
        names = [_column(list(table.names), each, ask="time= and count=") for each in (time, count)]
        frame = table.read(names)
        at = seconds_since(frame[names[0]], unit=unit) / period
        each = whole_numbers(count, _parse_whole(names[1], frame), len(at), np.int64)
        places = np.rint(at - at[0]).astype(np.int64)
        # instants are floats: a millionth of a period is none
        wrong = (np.abs(at - at[0] - places) > 1e-6) | (np.diff(places, prepend=-1) < 1)
        if wrong.any():
            raise InvalidInput(
                f"row {int(wrong.argmax()) + 1} (counted from 1) does not begin a whole number of "
                f"periods of {period:g} s after the row before."
            )
    counts = np.zeros(int(check_expected(places[-1] + 1)), np.int64)
    counts[places] = each
    return counts


def _read_words(path: str | os.PathLike[str]) -> NDArray[np.float64]:
    """Return the numbers of a text file, which stand between blanks or line ends."""
    with _translate_errors(path) as file:
        try:
            words = file.read_text("utf-8-sig").split()
        except UnicodeDecodeError as error:
            raise InvalidInput("it is no text: counts are numbers between blanks.") from error
        if not words:
            raise InvalidInput("it is empty: counts are numbers between blanks.")
        try:
            return np.array(words, np.float64)
        except ValueError:
            at = next(at for at, word in enumerate(words) if not _is_number(word))
            raise InvalidInput(
                f"word {at + 1} (counted from 1) is {words[at][:40]!r}, and counts are numbers "
                "between blanks: read tables with read_counts, and times with from_csv."
            ) from None


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True


@contextmanager
def _translate_errors(path: str | os.PathLike[str]) -> Iterator[Path]:
    from polars.exceptions import PanicException, PolarsError

    file = as_path(path)
    try:
        if not file.is_file():
            raise NotFound(f"There is no file {file}.")
        yield file
    except (PolarsError, PanicException) as error:  # damaged Parquet makes Polars panic at times
        raise InvalidInput(f"{file} cannot be read as a table: {error}") from error
    except OSError as error:
        raise StorageError(f"{file} cannot be read: {error}") from error
    except (ValueError, RecursionError) as error:  # InvalidInput, or a first line that is not JSON
        raise InvalidInput(f"{file}: {error}") from error


def _from_table(
    table: TextTable,
    column: str | None,
    saved: dict[str, Any],
    **how: Any,  # noqa: ANN401 - handed on to from_timestamps
) -> Trace:
    times, carried = _choose_columns(table.names, column)
    frame = table.read([times, *carried])
    values = {each: _parse_whole(each, frame) for each in carried if each != _CONTEXT}
    return _from_columns(frame, times, values, saved, **how)


def _choose_columns(names: Iterable[str], column: str | None) -> tuple[str, list[str]]:
    """Return the column of the times, and those of what requests carry."""
    known = list(names)
    times = _column(known, column)
    return times, [each for each in _REQUEST_COLUMNS if each in known and each != times]


def _from_columns(
    frame: "pl.DataFrame",
    times: str,
    carried: dict[str, Any],
    saved: dict[str, Any],
    *,
    duration: float | None,
    name: str | None,
    **how: Any,  # noqa: ANN401 - handed on to from_timestamps
) -> Trace:
    import polars as pl

    if _CONTEXT in frame.columns:  # "" where one is missing
        texts = frame[_CONTEXT].cast(pl.String).fill_null("")
        carried[_CONTEXT] = np.array(texts.to_list(), str)
    return from_timestamps(
        frame[times],
        duration=saved.get("duration") if duration is None else duration,
        name=saved["name"] if name is None else name,
        notice=saved.get("notice", ""),
        **carried,
        **how,
    )


def _parse_whole(name: str, frame: "pl.DataFrame") -> "pl.Series | NDArray[Any]":
    """Return a column's numbers, NaN where one is missing."""
    numbers = parse_numbers(name, frame[name])
    if isinstance(numbers, np.ndarray) or not numbers.null_count():
        return numbers
    return numbers.cast(float).fill_null(math.nan)


def _column(columns: list[str], wanted: str | None, *, ask: str = "column=") -> str:
    """Return the column asked for, or the one that must hold the times."""
    if wanted in columns:
        return wanted
    if wanted:
        raise InvalidInput(
            f"there is no column {wanted!r}, only {', '.join(columns)}: name others with {ask}."
        )
    found = [c for c in columns if c.lower() in _TIME_COLUMNS] or columns
    if not found:
        raise InvalidInput("there are no columns: one of times is needed.")
    if len(found) > 1:
        raise InvalidInput(f"pass column= with the one of the times: {', '.join(columns)}.")
    return found[0]
