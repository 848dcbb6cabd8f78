"""Times as people write them, as seconds from a beginning: numbers in a unit, or instants.

Instants in text are ISO 8601 in any of its forms: with T or a space, a point or a comma before
decimals, without seconds, without hyphens and colons. Those without an offset are UTC; they do not
mix with such that have one, as nobody knows how far apart they are.
"""

import contextlib
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from workbench.errors import InvalidInput
from workbench.validation import as_array, choose, finite

if TYPE_CHECKING:
    import polars as pl

Unit = Literal["s", "ms", "us", "ns"]
Origin = float | str | datetime | None

_PER_SECOND = {"s": 1, "ms": 1_000, "us": 1_000_000, "ns": 1_000_000_000}  # of each unit
_FORMATS = (
    "%Y-%m-%d %H:%M:%S%.f",
    "%Y-%m-%d %H:%M:%S%.f%#z",
    "%Y-%m-%d %H:%M",
    "%Y-%m-%d %H:%M%#z",
    "%Y%m%d %H%M%S%.f",
    "%Y%m%d %H%M%S%.f%#z",
    "%Y-%m-%d",
)
_OFFSET = r"(?i)[ t]\d{2}\S*?(?: ?z| ?[+-]\d{2}(?::?\d{2})?)$"
_MAX_START = 1e8  # three years of silence: seconds since 1970, or milliseconds
_DATES = 19_000_101, 21_001_231  # numbers that a date without hyphens would be


def seconds_since(
    times: "ArrayLike | pl.Series", origin: Origin = None, *, unit: Unit | None = None
) -> NDArray[np.float64]:
    """Return times as seconds after the origin; arguments and errors as for `from_timestamps`.

    >>> seconds_since(["1998-06-26"], origin="1998-06-25 12:00").tolist()
    [43200.0]
    >>> seconds_since([1732832853123, 1732832854500], unit="ms").tolist()
    [0.0, 1.377]
    """
    import polars as pl

    if unit is not None:
        choose("unit", unit, get_args(Unit))
    given = _series(times)
    read = given
    if given.dtype == pl.String:
        read = _numbers(given)
        read = read if read.count() else _parse_instants(given)
    if read.dtype.is_numeric():
        kind = pl.Int64 if read.dtype.is_integer() else pl.Float64
        read = read.cast(kind, strict=False)
        _check_times(given, read.is_not_null() if read.dtype.is_integer() else read.is_finite())
        return _numbers_from(read, origin, unit)
    if read.dtype.base_type() not in (pl.Date, pl.Datetime):
        raise InvalidInput(f"times must be seconds or instants, got {given.dtype}.")
    if unit is not None:
        raise InvalidInput(f"unit={unit!r} is for times that are numbers, and these are instants.")
    instants = read.cast(pl.Datetime("ns", getattr(read.dtype, "time_zone", None))).to_physical()
    _check_times(given, instants.is_not_null())
    zero = instants.min() if origin is None else _instant(origin)
    return (instants - zero).to_numpy() / 1e9


def _series(times: Any) -> "pl.Series":  # noqa: ANN401 - a list of anything, an array or a series
    import polars as pl

    if isinstance(times, list | tuple) and any(isinstance(each, datetime) for each in times):
        _check_offsets(isinstance(t, datetime) and t.tzinfo is not None for t in times)
        times = [t.astimezone(UTC) if isinstance(t, datetime) and t.tzinfo else t for t in times]
    array = times if isinstance(times, pl.Series) else as_array("times", times)
    if len(array.shape) != 1 or not len(array):
        raise InvalidInput(f"times must be a list of at least one, got shape {array.shape}.")
    if isinstance(array, pl.Series):
        return array
    if array.dtype.kind == "M":
        return pl.Series(array.astype("datetime64[ns]"))
    return pl.Series(array if array.dtype.kind in "iuf" else array.tolist(), strict=False)


def _numbers(texts: "pl.Series") -> "pl.Series":
    """Return texts as numbers, whole ones where all are: floats would round nanoseconds."""
    import polars as pl

    plain = texts.str.strip_chars()
    whole = plain.cast(pl.Int64, strict=False)
    return plain.cast(pl.Float64, strict=False) if whole.null_count() else whole


def _numbers_from(times: "pl.Series", origin: Origin, unit: Unit | None) -> NDArray[np.float64]:
    first: Any = times.min()
    per_second = _PER_SECOND[unit or "s"]
    if unit is None:
        _ask_for_unit(times, origin)
    zero: Any = 0
    if isinstance(origin, str | datetime):
        if unit is None:
            raise InvalidInput(
                f"times are numbers, so origin must be one too, got {origin!r}; or say with unit= "
                "in what they count since 1970."
            )
        zero = _instant(origin) * per_second // 1_000_000_000
    elif origin is not None:
        zero = finite("origin", origin, unit or "seconds")
        # whole numbers stay whole: floats would round nanoseconds since 1970
        zero = int(zero) if zero.is_integer() and abs(zero) < 2**62 else zero
    elif first > _MAX_START * per_second:
        zero = first
    if times.dtype.is_integer() and isinstance(zero, int):
        return np.asarray(times.to_numpy() - zero, dtype=np.float64) / per_second
    return np.asarray((times.to_numpy().astype(np.float64) - zero) / per_second)


def _ask_for_unit(times: "pl.Series", origin: Origin) -> None:
    """Require that numbers can be seconds: neither dates, nor time since 1970."""
    first: Any = times.min()
    dates = times.dtype.is_integer() and first >= _DATES[0] and times.max() <= _DATES[1]  # type: ignore[operator]
    if dates and _parse_instants(times.cast(str)).null_count() == 0:
        raise InvalidInput(
            f"times begin at {first}, a date without hyphens or a number of seconds: write dates "
            "as 2024-11-28, or pass unit='s'."
        )
    if first <= _MAX_START or (origin is not None and not isinstance(origin, str | datetime)):
        return
    # 1e11 seconds end in the year 5138: larger numbers count something smaller
    unit = next((each for each in _PER_SECOND if first < 1e11 * _PER_SECOND[each]), "ns")
    raise InvalidInput(
        f"times are seconds from the trace's start, and these begin at {first:,.0f}. If they count "
        f"since 1970, pass unit={unit!r}, and origin= if not the first is to become 0."
    )


def _parse_instants(texts: "pl.Series") -> "pl.Series":
    """Parse texts in ISO 8601 as instants in UTC, null where one is not."""
    import polars as pl

    plain = texts.str.strip_chars()
    _check_offsets(plain.drop_nulls().str.contains(_OFFSET))
    # ISO 8601 has T between date and time, and allows a comma
    plain = plain.str.replace(r"^(\S{6,10})[Tt]", "${1} ").str.replace(",", ".", literal=True)
    read = pl.Series([None] * len(plain), dtype=pl.Int64)
    for form in _FORMATS:
        left = read.is_null() & plain.is_not_null()
        if not left.any():
            break
        where = left.arg_true()
        found = plain.gather(where).str.to_datetime(form, time_unit="ns", strict=False)
        read = read.scatter(where, found.to_physical()) if found.count() else read
    left = read.is_null() & plain.is_not_null()
    for row in left.arg_true():
        read[row] = _parse_rare(plain[row])
    return read.cast(pl.Datetime("ns"))


def _parse_rare(text: str) -> int | None:
    """Return an instant in a form that only Python knows, in nanoseconds: weeks, hours alone."""
    with contextlib.suppress(ValueError):
        found = datetime.fromisoformat(text)
        found = found.replace(tzinfo=UTC) if found.tzinfo is None else found
        since = found - datetime(1970, 1, 1, tzinfo=UTC)
        return (since.days * 86_400 + since.seconds) * 1_000_000_000 + since.microseconds * 1_000
    return None


def _check_offsets(offsets: "Iterable[bool] | pl.Series") -> None:
    """Require that all instants have an offset from UTC, or none has."""
    known = np.fromiter(offsets, bool)
    if known.any() and not known.all():
        row = int(np.argmax(known != known[0]))
        raise InvalidInput(
            f"the time in row {row + 1} (counted from 1) has {'no' if known[0] else 'an'} offset "
            f"from UTC, and those before it have {'one' if known[0] else 'none'}: write all of "
            "them with an offset, as 12:00:00+01:00, or all without, which is UTC."
        )


def _instant(origin: float | str | datetime) -> int:
    import polars as pl

    found = None
    if not isinstance(origin, (int, float)):
        found = _parse_instants(pl.Series([str(origin)])).to_physical()[0]
    if found is None:
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
