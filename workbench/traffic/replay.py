"""Traces of requests that really arrived: from times, from counts, from files."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from workbench.errors import InvalidInput, NotFound, StorageError
from workbench.files import as_path
from workbench.traffic.patterns import Rows, check_expected, draw_trace, streams
from workbench.traffic.trace import Floats, Trace, format_value
from workbench.validation import Seed, as_array, finite, positive, whole_numbers

if TYPE_CHECKING:
    import polars as pl

_TIME_COLUMNS = ("arrival", "arrivals", "timestamp", "time")
_TIME_FORMATS = ("%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%d %H:%M:%S%.f%#z", "%Y-%m-%d %H:%M", "%Y-%m-%d")
_REQUEST_COLUMNS = ("rows", "bytes", "sample")
_NOTES_MARK = b"# {"
_MAX_START = 1e8  # three years of silence: seconds since 1970, or milliseconds


def from_timestamps(
    times: "ArrayLike | pl.Series",
    *,
    origin: float | str | datetime | None = None,
    duration: float | None = None,
    sort: bool = False,
    rows: ArrayLike = 1,
    bytes: ArrayLike = 0,  # noqa: A002 - the attribute's name
    sample: ArrayLike | None = None,
    name: str = "from_timestamps",
    notice: str = "",
) -> Trace:
    """Return the trace of requests that arrived at given times.

    Args:
        times: seconds, or instants: datetimes, or texts in ISO 8601 (taken as UTC without offset).
        origin: what becomes 0. Default: 0 for seconds, the first instant for instants.
        duration: seconds. Default: until the last arrival.
        sort: put unsorted times in order, with what the requests carry; else they are refused.
        rows: as in `Trace`, in the order of `times`.
        bytes: as in `Trace`, in the order of `times`.
        sample: as in `Trace`, in the order of `times`.
        name: how the trace was made.
        notice: source and terms that travel with the data.

    Raises:
        InvalidInput: a time is missing, unreadable, out of order or before the origin.

    >>> from_timestamps(["2026-01-31 12:00:00", "2026-01-31 12:00:01.5"]).arrivals.tolist()
    [0.0, 1.5]
    """
    seconds = seconds_since(times, origin)
    count = len(seconds)
    order = np.argsort(seconds, kind="stable") if sort else np.arange(count)
    return Trace(
        seconds[order],
        float(seconds.max()) if duration is None else duration,
        rows=whole_numbers("rows", rows, count, np.int32, least=1)[order],
        bytes=whole_numbers("bytes", bytes, count, np.int64)[order],
        sample=None if sample is None else whole_numbers("sample", sample, count, np.int64)[order],
        name=name,
        notice=notice,
    )


def seconds_since(
    times: "ArrayLike | pl.Series", origin: float | str | datetime | None = None
) -> Floats:
    """Return times as seconds after the origin; arguments and errors as for `from_timestamps`.

    >>> seconds_since(["1998-06-26"], origin="1998-06-25 12:00").tolist()
    [43200.0]
    """
    import polars as pl

    given = _series(times)
    read = given
    if given.dtype == pl.String:
        numbers = given.str.strip_chars().cast(pl.Float64, strict=False)
        read = numbers if numbers.count() else _instants(given)
    if read.dtype.is_numeric():
        seconds = read.cast(pl.Float64)
        _check_times(given, seconds.is_finite())
        return _numbers_from(seconds.to_numpy(), origin)
    if read.dtype.base_type() not in (pl.Date, pl.Datetime):
        raise InvalidInput(f"times must be seconds or instants, got {given.dtype}.")
    instants = read.cast(pl.Datetime("ns", getattr(read.dtype, "time_zone", None))).to_physical()
    _check_times(given, instants.is_not_null())
    zero = instants.min() if origin is None else _instant(origin)
    return (instants - zero).to_numpy() / 1e9


def from_counts(
    counts: ArrayLike, *, period: float, seed: Seed, rows: Rows = 1, name: str | None = None
) -> Trace:
    """Spread requests counted per period, each uniformly at random over its period.

    ``trace.counts(period)`` gives the counts back.

    Args:
        counts: whole numbers, one for each period.
        period: seconds.
        seed: a whole number, or a NumPy generator.
        rows: as for `poisson`.
        name: how the trace was made.

    Raises:
        InvalidInput: a count is negative or not whole, all are 0, or they are too many.

    >>> from_counts([3, 0, 2], period=60, seed=1).counts(60).tolist()
    [3, 0, 2]
    """
    period = positive("period", period)
    each = whole_numbers("counts", counts, np.size(counts), np.int64)
    if not check_expected(each.sum(dtype=float)):
        raise InvalidInput("counts are all 0, and a trace may not be empty.")
    label = (
        name
        or f"from_counts({len(each)} periods of {format_value(period)} s, "
        f"seed={format_value(seed)})"
    )
    times, samples = streams(seed)
    edges = period * np.arange(len(each) + 1)
    at = np.repeat(edges[:-1], each) + times.random(each.sum()) * period
    # Rounding must not carry a request into the next period.
    at = np.minimum(at, np.repeat(np.nextafter(edges[1:], 0), each))
    return draw_trace(label, at, float(edges[-1]), rows, samples)


def from_csv(
    path: str | os.PathLike[str],
    column: str | None = None,
    *,
    origin: float | str | datetime | None = None,
    duration: float | None = None,
    sort: bool = False,
    name: str | None = None,
) -> Trace:
    """Read the trace in a CSV file with a header: of `Trace.to_csv`, or any with a column of times.

    Args:
        path: of the file. Columns named rows, bytes and sample are read too.
        column: the times, as for `from_timestamps`. Default: arrival, arrivals, timestamp or time
            in any case, or the only column.
        origin: as for `from_timestamps`.
        duration: seconds. Default: what `to_csv` wrote, else until the last arrival.
        sort: as for `from_timestamps`.
        name: how the trace was made. Default: what `to_csv` wrote, else the file's.

    Raises:
        NotFound: there is no such file.
        InvalidInput: it cannot be read, lacks the column, or a row is not as it must be.
    """
    import polars as pl

    with _translate_errors(path) as file:
        with file.open("rb") as opened:
            first = opened.readline(1_000_000)
        noted = first.startswith(_NOTES_MARK)
        frame = pl.read_csv(file, skip_lines=int(noted), infer_schema_length=None)
        saved = {"name": file.name} | (json.loads(first[1:]) if noted else {})
        return _from_frame(
            frame, column, saved, origin=origin, duration=duration, sort=sort, name=name
        )


def from_parquet(
    path: str | os.PathLike[str],
    column: str | None = None,
    *,
    origin: float | str | datetime | None = None,
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
        return _from_frame(
            pl.read_parquet(file),
            column,
            saved,
            origin=origin,
            duration=duration,
            sort=sort,
            name=name,
        )


def read_counts(
    path: str | os.PathLike[str],
    *,
    period: float = 60.0,
    time: str = "period",
    count: str = "count",
) -> NDArray[np.int64]:
    """Read requests in each period from a CSV file, a row a period; 0 where one is missing.

    Args:
        path: of the file.
        period: seconds.
        time: the column with the beginning of each period, in order, as for `from_timestamps`.
        count: the column with the number of requests.

    Raises:
        NotFound: there is no such file.
        InvalidInput: it cannot be read, lacks a column, or a row is not as it must be.
    """
    import polars as pl

    period = positive("period", period)
    with _translate_errors(path) as file:
        frame = pl.read_csv(file, infer_schema_length=None)
        at = seconds_since(frame[_column(frame.columns, time)]) / period
        each = whole_numbers(count, frame[_column(frame.columns, count)], len(at), np.int64)
        places = np.rint(at - at[0]).astype(np.int64)
        wrong = (np.abs(at - at[0] - places) > 1e-6) | (np.diff(places, prepend=-1) < 1)
        if wrong.any():
            raise InvalidInput(
                f"row {int(wrong.argmax()) + 1} (counted from 1) does not begin a whole number of "
                f"periods of {period:g} s after the row before."
            )
    counts = np.zeros(int(check_expected(places[-1] + 1)), np.int64)
    counts[places] = each
    return counts


# ---------------------------------------------------------------------- reading and writing


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
    except ValueError as error:  # InvalidInput, or a first line that is not JSON
        raise InvalidInput(f"{file}: {error}") from error


def _from_frame(
    frame: "pl.DataFrame",
    column: str | None,
    saved: dict[str, Any],
    *,
    duration: float | None,
    name: str | None,
    **how: Any,  # noqa: ANN401 - handed on to from_timestamps
) -> Trace:
    carried: dict[str, Any] = {c: frame[c] for c in _REQUEST_COLUMNS if c in frame.columns}
    return from_timestamps(
        frame[_column(frame.columns, column)],
        duration=saved.get("duration") if duration is None else duration,
        name=saved["name"] if name is None else name,
        notice=saved.get("notice", ""),
        **carried,
        **how,
    )


def _column(columns: list[str], wanted: str | None) -> str:
    """Return the column asked for, or the one that must hold the times."""
    if wanted in columns:
        return wanted
    if wanted:
        raise InvalidInput(f"there is no column {wanted!r}, only {', '.join(columns)}.")
    found = [c for c in columns if c.lower() in _TIME_COLUMNS] or columns
    if len(found) > 1:
        raise InvalidInput(f"pass column= with the one of the times: {', '.join(columns)}.")
    return found[0]


# ---------------------------------------------------------------------- times of replayed requests


def _series(times: "ArrayLike | pl.Series") -> "pl.Series":
    import polars as pl

    array = times if isinstance(times, pl.Series) else as_array("times", times)
    if len(array.shape) != 1 or not len(array):
        raise InvalidInput(f"times must be a list of at least one, got shape {array.shape}.")
    if isinstance(array, pl.Series):
        return array
    if array.dtype.kind == "M":
        return pl.Series(array.astype("datetime64[ns]"))
    return pl.Series(array if array.dtype.kind in "iuf" else array.tolist(), strict=False)


def _numbers_from(seconds: Floats, origin: float | str | datetime | None) -> Floats:
    if origin is None and seconds.min() > _MAX_START:
        raise InvalidInput(
            f"times are seconds from the trace's start, and these begin at {seconds.min():,.0f}: "
            "pass origin= with what becomes 0, in the same unit, and divide milliseconds by 1000."
        )
    if isinstance(origin, (str, datetime)):
        raise InvalidInput(f"times are numbers, so origin must be one too, got {origin!r}.")
    return seconds - (0.0 if origin is None else finite("origin", origin, "seconds"))


def _instants(texts: "pl.Series") -> "pl.Series":
    """Parse texts in ISO 8601 as instants in UTC, null where one is not."""
    import polars as pl

    spaced = texts.str.strip_chars().str.replace("T", " ", literal=True)
    read = [
        spaced.str.to_datetime(form, time_unit="ns", strict=False).to_physical().alias(form)
        for form in _TIME_FORMATS
    ]
    return pl.select(pl.coalesce(read)).to_series().cast(pl.Datetime("ns"))


def _instant(origin: float | str | datetime) -> int:
    import polars as pl

    found = _instants(pl.Series([str(origin)])).to_physical()[0]
    if found is None or isinstance(origin, (int, float)):
        raise InvalidInput(f"origin must be an instant, as the times are, got {origin!r}.")
    return int(found)


def _check_times(times: "pl.Series", good: "pl.Series") -> None:
    good = good.fill_null(value=False)
    if not good.all():
        row = int(good.arg_min() or 0)
        raise InvalidInput(
            f"the time in row {row + 1} (counted from 1) is {times[row]!r}: "
            "it must be a number of seconds or an ISO 8601 instant, as all others."
        )
