"""Traces: when requests arrive, and what each one carries.

A `Trace` is a frozen value. It is made by an arrival process (`poisson`, `constant`, `bursty`,
`diurnal`, `flash_crowd`, `markovian`), or replayed (`from_timestamps`, `from_counts`, `from_csv`,
`from_parquet`). Traces compose: ``a + b``, ``a.scale(2)``, ``a.clip(0, 60)``,
``a.thin(0.1, seed=1)``.
"""

import hashlib
import html
import json
import math
import os
from bisect import bisect_right
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from datetime import datetime
from functools import cached_property, partial
from numbers import Integral, Real
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from workbench.errors import InvalidInput, NotFound, StorageError
from workbench.storage import write_file

if TYPE_CHECKING:
    import polars as pl

Floats = NDArray[np.float64]
Seed = int | np.random.Generator
Rows = int | tuple[int, int]

MOST_REQUESTS = 50_000_000  # 28 bytes each: more than this does not fit a notebook's memory
_TIME_COLUMNS = ("arrival", "arrivals", "timestamp", "time")
_TIME_FORMATS = ("%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%d %H:%M:%S%.f%#z", "%Y-%m-%d %H:%M", "%Y-%m-%d")
_CARRIED = ("rows", "bytes", "sample")
_NOTES_MARK = b"# {"
_LATEST_START = 1e8  # three years of silence: seconds since 1970, or milliseconds


@dataclass(frozen=True, eq=False, repr=False, init=False)
class Trace:
    """When requests arrive, and what each one carries; equal to a trace of the same content.

    A trace has at least one request. Its arrays are copies and read-only.

    Attributes:
        arrivals: seconds from 0, sorted, float64.
        duration: seconds, at least the last arrival.
        rows: of the model's input in each request, int32, at least 1.
        bytes: of each request's payload, int64, 0 where unknown.
        sample: index of each request's first row among the model's held-out samples, taken
            modulo their number, int64; 0, 1, 2, ... when not given.
        name: how the trace was made.
        notice: source and terms that travel with other people's data; "" for a generated trace.

    Raises:
        InvalidInput: a length, a value or the order is not as above.

    >>> Trace([0.0, 0.5, 2.0], 4.0, rows=[1, 8, 1])
    <Trace: 3 requests in 4 s, 0.75 per second>
    """

    arrivals: Floats
    duration: float
    rows: NDArray[np.int32]
    bytes: NDArray[np.int64]
    sample: NDArray[np.int64]
    name: str
    notice: str

    def __init__(
        self,
        arrivals: ArrayLike,
        duration: float,
        *,
        rows: ArrayLike = 1,
        bytes: ArrayLike = 0,  # noqa: A002 - the attribute's name
        sample: ArrayLike | None = None,
        name: str = "",
        notice: str = "",
    ) -> None:
        times = _arrivals(arrivals)
        count = len(times)
        values = {
            "arrivals": times,
            "duration": _duration(duration, last=float(times[-1])),
            "rows": _whole("rows", rows, count, np.int32, least=1),
            "bytes": _whole("bytes", bytes, count, np.int64),
            "sample": _whole(
                "sample", np.arange(count) if sample is None else sample, count, np.int64
            ),
            "name": name,
            "notice": notice,
        }
        for field, value in values.items():
            if isinstance(value, np.ndarray):
                value.setflags(write=False)
            object.__setattr__(self, field, value)

    def __len__(self) -> int:
        return len(self.arrivals)

    def __eq__(self, other: object) -> bool:
        return self.digest == other.digest if isinstance(other, Trace) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.digest)

    def __reduce__(self) -> tuple[Any, ...]:
        # Through the constructor: an array that travelled by pickle alone is writeable again.
        return partial(Trace, **{f.name: getattr(self, f.name) for f in fields(self)}), ()

    def __repr__(self) -> str:
        label = f" {self.name}" if self.name else ""
        size = f"{len(self):,} request{'s' if len(self) > 1 else ''}"
        return f"<Trace{label}: {size} in {self.duration:g} s, {self.rate:.4g} per second>"

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><th style='text-align: left'>{key.replace('_', ' ')}</th>"
            f"<td style='text-align: right'>{_cell(value)}</td></tr>"
            for key, value in self.describe().items()
        )
        notice = f"<pre>{html.escape(self.notice)}</pre>" if self.notice else ""
        return f"<table><caption>{html.escape(self.name)}</caption>{rows}</table>{notice}"

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the arrays and the duration, in hexadecimal: the name is not content."""
        sha = hashlib.sha256(np.array([self.duration], "<f8").tobytes())
        columns = ((self.arrivals, "<f8"), (self.rows, "<i4"), (self.bytes, "<i8"))
        for array, dtype in (*columns, (self.sample, "<i8")):
            sha.update(array.astype(dtype, copy=False).data)
        return sha.hexdigest()

    @property
    def rate(self) -> float:
        """Requests per second over the whole duration."""
        return len(self) / self.duration

    @property
    def gaps(self) -> Floats:
        """Seconds between one arrival and the next; one fewer than there are requests."""
        return np.diff(self.arrivals)

    @property
    def frame(self) -> "pl.DataFrame":
        """One row a request: arrival, rows, bytes, sample."""
        import polars as pl

        columns = {"rows": self.rows, "bytes": self.bytes, "sample": self.sample}
        return pl.DataFrame({"arrival": self.arrivals} | columns)

    def counts(self, window: float) -> NDArray[np.int64]:
        """Requests in each whole window of so many seconds; what is left at the end is left out.

        >>> constant(rate=2, duration=10).counts(3).tolist()
        [6, 6, 6]
        """
        whole = int(self.duration / _positive("window", window) + 1e-9)
        edges = window * np.arange(whole + 1)
        before = np.searchsorted(self.arrivals, edges)
        if edges[-1] >= self.duration:
            before[-1] = len(self)  # a request at the very end belongs to the last window
        return np.diff(before)

    def dispersion(self, window: float) -> float | None:
        """Index of dispersion: variance over mean of the counts; None without two full windows.

        It is 1 for a Poisson process at every window, and grows with the window for bursty ones.
        """
        counts = self.counts(window)
        if len(counts) < 2 or not counts.any():
            return None
        return float(counts.var(ddof=1) / counts.mean())

    def describe(self) -> dict[str, float | None]:
        """Figures of the arrivals; None where the trace is too short for one.

        Requests, duration (s), rate (1/s), scv (squared coefficient of variation of the gaps),
        index of dispersion in windows of 1, 10 and 60 s, peak_to_mean (busiest second over mean).

        >>> constant(rate=2, duration=20).describe()["dispersion_10s"]
        0.0
        """
        dispersion = {f"dispersion_{w}s": self.dispersion(w) for w in (1, 10, 60)}
        seconds = self.counts(1.0)
        figures = {"requests": len(self), "duration": self.duration, "rate": self.rate}
        peak = float(seconds.max() / seconds.mean()) if seconds.any() else None
        return {**figures, "scv": self._scv(), **dispersion, "peak_to_mean": peak}

    def scale(self, factor: float) -> "Trace":
        """The same requests, factor times as fast: times and duration divided by the factor.

        >>> constant(rate=2, duration=10).scale(5).rate
        10.0
        """
        factor = _positive("factor", factor)
        name = f"{self._operand}.scale({_shown(factor)})"
        times, duration = self.arrivals / factor, self.duration / factor
        return replace(self, arrivals=times, duration=duration, name=name)

    def clip(self, start: float = 0.0, stop: float | None = None) -> "Trace":
        """The requests with start <= arrival < stop, with start as the new 0.

        A stop at the end of the trace (the default) keeps a request of that very instant.

        Raises:
            InvalidInput: not 0 <= start < stop <= duration, or no request between them.

        >>> Trace([0.0, 3.0, 5.0], 10.0).clip(3, 5).arrivals.tolist()
        [0.0]
        """
        start = _not_negative("start", start)
        stop = self.duration if stop is None else _positive("stop", stop)
        if not start < stop <= self.duration:
            raise InvalidInput(
                f"clip needs start < stop <= {self.duration:g}, the duration in seconds, "
                f"got start={start:g} and stop={stop:g}."
            )
        first, last = np.searchsorted(self.arrivals, [start, stop])
        last = len(self) if stop == self.duration else last
        if first == last:
            raise InvalidInput(
                f"No request arrives from {start:g} to {stop:g} s, and a trace may not be empty: "
                "choose another start or stop."
            )
        name = f"{self._operand}.clip({_shown(start)}, {_shown(stop)})"
        part = self._take(np.s_[first:last], name)
        return replace(part, arrivals=part.arrivals - start, duration=stop - start)

    def thin(self, share: float, *, seed: Seed) -> "Trace":
        """Each request kept with probability share, independently; the duration stays.

        Raises:
            InvalidInput: the share is not above 0 and at most 1, or no request is left.

        >>> 400 < len(constant(rate=10, duration=100).thin(0.5, seed=1)) < 600
        True
        """
        kept = _generator(seed).random(len(self)) < check_share(share)
        if not kept.any():
            raise InvalidInput(f"share={share!r} of {len(self)} requests left none: raise it.")
        return self._take(kept, f"{self._operand}.thin({_shown(share)}, seed={_shown(seed)})")

    def __add__(self, other: "Trace") -> "Trace":
        """Both traces at once: every request of either, for as long as the longer one.

        >>> (Trace([1.0], 2.0) + Trace([0.5], 4.0)).arrivals.tolist()
        [0.5, 1.0]
        """
        if not isinstance(other, Trace):
            return NotImplemented
        times = np.concatenate([self.arrivals, other.arrivals])
        order = np.argsort(times, kind="stable")
        return Trace(
            times[order],
            max(self.duration, other.duration),
            rows=np.concatenate([self.rows, other.rows])[order],
            bytes=np.concatenate([self.bytes, other.bytes])[order],
            sample=np.concatenate([self.sample, other.sample])[order],
            name=f"{self._label} + {other._label}",
            notice="\n\n".join(dict.fromkeys(filter(None, (self.notice, other.notice)))),
        )

    def to_csv(self, path: str | os.PathLike[str]) -> Path:
        """The path of a file that `from_csv` reads back as an equal trace, written whole or not.

        Its first line is a comment (# and JSON) with duration, name and notice.

        Raises:
            StorageError: the file cannot be written.
        """
        first = f"# {json.dumps(self._notes)}\n".encode()

        def write(file: IO[bytes]) -> None:
            file.write(first)
            self.frame.write_csv(file)

        return write_file(Path(path), write)

    def to_parquet(self, path: str | os.PathLike[str]) -> Path:
        """The path of a file that `from_parquet` reads back as an equal trace, whole or not at all.

        Raises:
            StorageError: the file cannot be written.
        """
        notes = {"workbench": json.dumps(self._notes)}
        return write_file(Path(path), lambda file: self.frame.write_parquet(file, metadata=notes))

    @property
    def _notes(self) -> dict[str, Any]:
        return {"duration": self.duration, "name": self.name, "notice": self.notice}

    @property
    def _operand(self) -> str:
        return f"({self.name})" if " + " in self.name else self._label

    @property
    def _label(self) -> str:
        return self.name or "trace"

    def _take(self, index: Any, name: str) -> "Trace":  # noqa: ANN401 - whatever indexes an array
        columns = ("arrivals", "rows", "bytes", "sample")
        return replace(self, name=name, **{c: getattr(self, c)[index] for c in columns})

    def _scv(self) -> float | None:
        gaps = self.gaps
        mean = gaps.mean() if len(gaps) > 1 else 0.0
        return float(gaps.var() / mean**2) if mean else None


# ---------------------------------------------------------------------- arrival processes


def poisson(*, rate: float, duration: float, seed: Seed, rows: Rows = 1) -> Trace:
    """Independent arrivals at a constant rate.

    Args:
        rate: requests per second.
        duration: seconds.
        seed: a whole number, or a NumPy generator.
        rows: in each request: one number, or (low, high), drawn uniformly, both ends included.
            Drawn from a stream of their own: they leave the times as they are.

    Raises:
        InvalidInput: an argument is out of range, or no request was drawn.

    >>> poisson(rate=50, duration=10, seed=1) == poisson(rate=50, duration=10, seed=1)
    True
    """
    name = _call("poisson", rate=rate, duration=duration, seed=seed, rows=rows)
    times, samples = streams(seed)
    duration = _positive("duration", duration)
    count = times.poisson(_affordable(_positive("rate", rate) * duration))
    return _drawn(name, times.random(count) * duration, duration, rows, samples)


def constant(*, rate: float, duration: float, rows: int = 1) -> Trace:
    """Evenly spaced arrivals: at 0, 1/rate, 2/rate, ... before the duration.

    Raises:
        InvalidInput: an argument is out of range.

    >>> constant(rate=4, duration=1).arrivals.tolist()
    [0.0, 0.25, 0.5, 0.75]
    """
    name = _call("constant", rate=rate, duration=duration, rows=rows)
    expected = _affordable(_positive("rate", rate) * _positive("duration", duration))
    count = max(1, math.ceil(expected * (1 - 1e-12)))  # 1.1 * 100 is a little over 110
    return Trace(np.arange(count) / rate, duration, rows=rows, name=name)


def bursty(
    *,
    rate: float,
    burst: float,
    dwell: tuple[float, float] = (4.0, 1.0),
    duration: float,
    seed: Seed,
    rows: Rows = 1,
) -> Trace:
    """Poisson arrivals whose rate switches between a low and a high value: an MMPP(2).

    Stays in each state are exponential. The trace starts in a state drawn from the long-run
    shares, so that its expected rate is the same at every instant.

    Args:
        rate: requests per second, averaged over time.
        burst: high rate over low rate, at least 1.
        dwell: mean stay in seconds in the low state, then in the high one.
        duration: seconds.
        seed: a whole number, or a NumPy generator.
        rows: as for `poisson`.

    Raises:
        InvalidInput: an argument is out of range, or no request was drawn.

    Source: W. Fischer and K. Meier-Hellstern, "The Markov-modulated Poisson process (MMPP)
    cookbook", Performance Evaluation 18 (1993).

    >>> bursty(rate=300, burst=6, duration=60, seed=1).describe()["dispersion_1s"] > 10
    True
    """
    name = _call(
        "bursty", rate=rate, burst=burst, dwell=dwell, duration=duration, seed=seed, rows=rows
    )
    times, samples = streams(seed)
    duration = _positive("duration", duration)
    low, high = bursty_rates(rate=rate, burst=burst, dwell=dwell)
    _affordable(rate * duration)
    ends, is_high = _stays(dwell, duration, times)
    starts = np.concatenate([[0.0], ends[:-1]])
    counts = times.poisson(np.where(is_high, high, low) * (ends - starts))
    spread = times.random(counts.sum()) * np.repeat(ends - starts, counts)
    return _drawn(name, np.repeat(starts, counts) + spread, duration, rows, samples)


def bursty_rates(
    *, rate: float, burst: float, dwell: tuple[float, float] = (4.0, 1.0)
) -> tuple[float, float]:
    """The low and the high rate of `bursty`, in requests per second.

    >>> bursty_rates(rate=300, burst=6, dwell=(4, 1))
    (150.0, 900.0)
    """
    if not _positive("burst", burst) >= 1:
        raise InvalidInput(f"burst is the high rate over the low one, at least 1, got {burst!r}.")
    if np.shape(dwell) != (2,):
        raise InvalidInput(f"dwell must be two mean stays in seconds, low first, got {dwell!r}.")
    low_stay, high_stay = (_positive("dwell", stay) for stay in dwell)
    low = _positive("rate", rate) * (low_stay + high_stay) / (low_stay + burst * high_stay)
    return low, burst * low


def diurnal(
    *,
    rate: float,
    swing: float,
    period: float = 86_400.0,
    duration: float,
    seed: Seed,
    rows: Rows = 1,
) -> Trace:
    """Poisson arrivals whose rate is a wave that starts at its lowest point.

    The rate at t is ``rate * (1 - swing * cos(2 pi t / period))``: its mean over whole periods is
    `rate`. Exact, by thinning.

    Args:
        rate: requests per second, averaged over whole periods.
        swing: from 0 (no wave) to 1 (nothing at the lowest point).
        period: seconds.
        duration: seconds.
        seed: a whole number, or a NumPy generator.
        rows: as for `poisson`.

    Raises:
        InvalidInput: an argument is out of range, or no request was drawn.

    >>> day = diurnal(rate=1, swing=0.9, duration=86_400, seed=1)
    >>> len(day.clip(0, 21_600)) < len(day.clip(32_400, 54_000))
    True
    """
    name = _call(
        "diurnal", rate=rate, swing=swing, period=period, duration=duration, seed=seed, rows=rows
    )
    if not _not_negative("swing", swing) <= 1:
        raise InvalidInput(f"swing must be from 0 to 1, got {swing!r}.")
    times, samples = streams(seed)
    duration, peak = _positive("duration", duration), _positive("rate", rate) * (1 + swing)
    at = times.random(times.poisson(_affordable(peak * duration))) * duration
    wave = 1 - swing * np.cos(2 * np.pi * at / _positive("period", period))
    kept = times.random(len(at)) * (1 + swing) < wave
    return _drawn(name, at[kept], duration, rows, samples)


def flash_crowd(
    *,
    rate: float,
    peak: float,
    start: float,
    ramp: float,
    hold: float,
    decay: float,
    duration: float,
    seed: Seed,
    rows: Rows = 1,
) -> Trace:
    """Poisson arrivals at a base rate, with one crowd that comes, stays and fades.

    From `start` the rate climbs in a straight line to ``peak * rate`` within `ramp` seconds, stays
    there for `hold` seconds, and falls back exponentially with time constant `decay`. Exact: the
    crowd is three Poisson streams on top of the base, each drawn from its own density.

    Args:
        rate: requests per second without the crowd.
        peak: highest rate over base rate, at least 1.
        start: seconds from the beginning of the trace.
        ramp: seconds, 0 for a jump.
        hold: seconds.
        decay: seconds until the crowd has fallen to 1/e, 0 for an end at once.
        duration: seconds; a crowd not over by then is cut off.
        seed: a whole number, or a NumPy generator.
        rows: as for `poisson`.

    Raises:
        InvalidInput: an argument is out of range, or no request was drawn.

    >>> crowd = dict(peak=20, start=60, ramp=10, hold=30, decay=20)
    >>> flash_crowd(rate=10, **crowd, duration=300, seed=1).describe()["peak_to_mean"] > 3
    True
    """
    shape = {"start": start, "ramp": ramp, "hold": hold, "decay": decay}
    name = _call(
        "flash_crowd", rate=rate, peak=peak, **shape, duration=duration, seed=seed, rows=rows
    )
    if not _positive("peak", peak) >= 1:
        raise InvalidInput(
            f"peak is the highest rate over the base rate, at least 1, got {peak!r}."
        )
    for what, seconds in shape.items():
        _not_negative(what, seconds)
    times, samples = streams(seed)
    extra = _positive("rate", rate) * (peak - 1)
    expected = (
        rate * _positive("duration", duration),
        extra * ramp / 2,
        extra * hold,
        extra * decay,
    )
    _affordable(sum(expected))
    base, climbing, staying, fading = times.poisson(expected)
    top = start + ramp
    parts = (
        times.random(base) * duration,
        start + ramp * np.sqrt(times.random(climbing)),
        top + hold * times.random(staying),
        top + hold + decay * times.exponential(size=fading),
    )
    at = np.concatenate(parts)
    return _drawn(name, at[at < duration], duration, rows, samples)


def markovian(
    d0: ArrayLike, d1: ArrayLike, *, duration: float, seed: Seed, rows: Rows = 1
) -> Trace:
    """Arrivals of the Markovian arrival process MAP(D0, D1), started in its long-run phase.

    Args:
        d0: rates of the phase changes without an arrival, per second; each diagonal entry is minus
            the sum of its row's other entries in both matrices.
        d1: rates of the phase changes (the diagonal: of staying) with an arrival, per second.
        duration: seconds.
        seed: a whole number, or a NumPy generator.
        rows: as for `poisson`.

    Raises:
        InvalidInput: as for `check_map`, or no request was drawn.

    Source: M. Neuts, "A versatile Markovian point process", J. Applied Probability 16 (1979).

    >>> erlang = markovian([[-20, 20], [0, -20]], [[0, 0], [20, 0]], duration=100, seed=1)
    >>> 0.4 < erlang.describe()["scv"] < 0.6
    True
    """
    d0, d1 = check_map(d0, d1)
    name = _call("markovian", d0=d0, d1=d1, duration=duration, seed=seed, rows=rows)
    times, samples = streams(seed)
    duration = _positive("duration", duration)
    return _drawn(name, _map_arrivals(d0, d1, duration, times), duration, rows, samples)


def check_map(d0: ArrayLike, d1: ArrayLike) -> tuple[Floats, Floats]:
    """The matrices as float64, known to be those of a Markovian arrival process.

    Rows of D0 + D1 may miss 0 by a millionth of their rates, as printed matrices do; the diagonal
    of what is returned makes up for it.

    Raises:
        InvalidInput: not two square matrices of one shape, an entry not finite, a negative entry
            outside D0's diagonal, a row that does not sum to 0, no arrivals, or phases that cannot
            all be reached from each other.

    >>> check_map([[-3]], [[3]])[1]
    array([[3.]])
    """
    d0, d1 = _matrix("d0", d0), _matrix("d1", d1)
    if d0.shape != d1.shape:
        raise InvalidInput(f"d0 and d1 must have one shape, got {d0.shape} and {d1.shape}.")
    off = d0 - np.diag(np.diag(d0))
    _refuse_negative("d0", off, "outside the diagonal")
    _refuse_negative("d1", d1, "everywhere")
    out = (off + d1).sum(axis=1)
    wrong = np.abs(np.diag(d0) + out) > 1e-6 * np.maximum(out, -np.diag(d0))
    if wrong.any():
        row = int(wrong.argmax())
        raise InvalidInput(
            f"Each row of d0 + d1 must sum to 0, row {row + 1} sums to "
            f"{d0[row, row] + out[row]:g}: set d0's diagonal to minus the sum of the row's others."
        )
    if not d1.any():
        raise InvalidInput("d1 holds no rate above 0, so that no request would ever arrive.")
    _refuse_reducible(off + d1)
    return off - np.diag(out), d1


def streams(seed: Seed) -> list[np.random.Generator]:
    """Two independent generators: one for the times, one for what the requests carry.

    Raises:
        InvalidInput: the seed is neither a whole number of at least 0 nor a generator.

    >>> times, samples = streams(1)
    """
    return _generator(seed).spawn(2)


# ---------------------------------------------------------------------- replayed


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
    """The trace of requests that arrived at given times.

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
    order, count = _order(seconds, sort=sort), len(seconds)
    return Trace(
        seconds[order],
        float(seconds.max()) if duration is None else duration,
        rows=_whole("rows", rows, count, np.int32, least=1)[order],
        bytes=_whole("bytes", bytes, count, np.int64)[order],
        sample=None if sample is None else _whole("sample", sample, count, np.int64)[order],
        name=name,
        notice=notice,
    )


def seconds_since(
    times: "ArrayLike | pl.Series", origin: float | str | datetime | None = None
) -> Floats:
    """Times as seconds after the origin; arguments and errors as for `from_timestamps`.

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
        _refuse_unreadable(given, seconds.is_finite())
        return _numbers_from(seconds.to_numpy(), origin)
    if read.dtype.base_type() not in (pl.Date, pl.Datetime):
        raise InvalidInput(f"times must be seconds or instants, got {given.dtype}.")
    instants = read.cast(pl.Datetime("ns", getattr(read.dtype, "time_zone", None))).to_physical()
    _refuse_unreadable(given, instants.is_not_null())
    zero = instants.min() if origin is None else _instant(origin)
    return (instants - zero).to_numpy() / 1e9


def from_counts(
    counts: ArrayLike, *, period: float, seed: Seed, rows: Rows = 1, name: str | None = None
) -> Trace:
    """Requests counted per period, each spread uniformly at random over its period.

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
    period = _positive("period", period)
    each = _whole("counts", counts, np.size(counts), np.int64)
    if not _affordable(each.sum(dtype=float)):
        raise InvalidInput("counts are all 0, and a trace may not be empty.")
    label = name or f"from_counts({len(each)} periods of {_shown(period)} s, seed={_shown(seed)})"
    times, samples = streams(seed)
    edges = period * np.arange(len(each) + 1)
    at = np.repeat(edges[:-1], each) + times.random(each.sum()) * period
    # Rounding must not carry a request into the next period.
    at = np.minimum(at, np.repeat(np.nextafter(edges[1:], 0), each))
    return _drawn(label, at, float(edges[-1]), rows, samples)


def from_csv(
    path: str | os.PathLike[str],
    column: str | None = None,
    *,
    origin: float | str | datetime | None = None,
    duration: float | None = None,
    sort: bool = False,
    name: str | None = None,
) -> Trace:
    """The trace in a CSV file with a header: one of `Trace.to_csv`, or any with a column of times.

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

    with _reading(path) as file:
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
    """The trace in a Parquet file: one of `Trace.to_parquet`, or any with a column of times.

    Arguments and errors are those of `from_csv`.
    """
    import polars as pl

    with _reading(path) as file:
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
    """Requests in each period, from a CSV file with a row a period; 0 where a row is missing.

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

    period = _positive("period", period)
    with _reading(path) as file:
        frame = pl.read_csv(file, infer_schema_length=None)
        at = seconds_since(frame[_column(frame.columns, time)]) / period
        each = _whole(count, frame[_column(frame.columns, count)], len(at), np.int64)
        places = np.rint(at - at[0]).astype(np.int64)
        wrong = (np.abs(at - at[0] - places) > 1e-6) | (np.diff(places, prepend=-1) < 1)
        if wrong.any():
            raise InvalidInput(
                f"row {int(wrong.argmax()) + 1} (counted from 1) does not begin a whole number of "
                f"periods of {period:g} s after the row before."
            )
    counts = np.zeros(int(_affordable(places[-1] + 1)), np.int64)
    counts[places] = each
    return counts


# ---------------------------------------------------------------------- drawing


def _generator(seed: object) -> np.random.Generator:
    if isinstance(seed, np.random.Generator):
        return seed
    if not isinstance(seed, Integral) or seed < 0:
        raise InvalidInput(
            f"seed must be a whole number of at least 0 or a NumPy Generator, got {seed!r}."
        )
    return np.random.default_rng(int(seed))


def _drawn(
    name: str, times: Floats, duration: float, rows: Rows, samples: np.random.Generator
) -> Trace:
    if not len(times):
        raise InvalidInput(
            f"{name} drew no request, and a trace may not be empty: "
            "raise the rate or the duration, or choose another seed."
        )
    times = np.minimum(np.sort(times), duration)  # rounding must not carry one past the end
    return Trace(times, duration, rows=_draw_rows(rows, len(times), samples), name=name)


def _draw_rows(rows: Rows, count: int, samples: np.random.Generator) -> ArrayLike:
    if not isinstance(rows, tuple):
        return rows
    bounds = _whole("rows", rows, 2, np.int32, least=1)
    if bounds[0] > bounds[1]:
        raise InvalidInput(f"rows must be a number or (low, high) with low <= high, got {rows!r}.")
    return samples.integers(bounds[0], bounds[1], endpoint=True, size=count)


def _affordable(expected: float) -> float:
    if expected > MOST_REQUESTS:
        raise InvalidInput(
            f"This would take {expected:,.0f} requests or steps, and at most {MOST_REQUESTS:,} fit "
            "one trace: lower the rate or shorten the duration."
        )
    return expected


def _stays(
    dwell: tuple[float, float], duration: float, times: np.random.Generator
) -> tuple[Floats, NDArray[np.bool_]]:
    """When each stay of the two-state process ends, up to the duration, and which are high ones."""
    starts_high = times.random() * sum(dwell) >= dwell[0]
    means = np.array(dwell[::-1] if starts_high else dwell)
    pairs = int(_affordable(duration / means.sum())) + 16
    stays, clock = np.empty(0), 0.0
    while clock < duration:
        stays = np.append(stays, times.exponential(size=(pairs, 2)) * means)
        clock = stays.sum()
    ends = np.cumsum(stays)
    ends = np.append(ends[ends < duration], duration)
    return ends, (np.arange(len(ends)) % 2 == 1) ^ starts_high


def _map_arrivals(d0: Floats, d1: Floats, duration: float, times: np.random.Generator) -> Floats:
    leave, edges, shares = -np.diag(d0), _jump_edges(d0, d1), _long_run(d0 + d1)
    phases, jump_rate = len(d0), float(shares @ leave)
    expected = _affordable(jump_rate * duration)
    phase = int(np.searchsorted(np.cumsum(shares)[:-1], times.random(), side="right"))
    arrivals, clock = [], 0.0
    while clock < duration:
        left = expected * (1 - clock / duration)
        size = min(1_000_000, int(left + 4 * math.sqrt(left)) + 16)
        visited, jumps = _walk(edges, phase, times.random(size))
        instants = clock + np.cumsum(times.exponential(size=size) / leave[visited])
        arrivals.append(instants[jumps >= phases])
        clock, phase = float(instants[-1]), int(jumps[-1]) % phases
    at = np.concatenate(arrivals)
    return at[at < duration]


def _jump_edges(d0: Floats, d1: Floats) -> list[list[float]]:
    """For each phase the cumulative probabilities of its jumps: without, then with an arrival."""
    rates = np.hstack([d0 - np.diag(np.diag(d0)), d1])
    edges = np.cumsum(rates, axis=1)
    return (edges / edges[:, -1:]).tolist()  # type: ignore[no-any-return]


def _walk(
    edges: list[list[float]], phase: int, draws: Floats
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The phases visited and the jumps taken, one for each draw: each depends on the one before."""
    phases = len(edges)
    visited, jumps = [], []
    for draw in draws.tolist():
        visited.append(phase)
        jump = bisect_right(edges[phase], draw)
        jumps.append(jump)
        phase = jump % phases
    return np.array(visited), np.array(jumps)


def _long_run(generator: Floats) -> Floats:
    """Shares of time in each phase of an irreducible Markov process."""
    equations = generator.T / (np.abs(generator).max() or 1)  # one phase alone: [[0]]
    equations[-1] = 1.0
    shares: Floats = np.linalg.solve(equations, np.eye(len(generator))[-1]).clip(0)
    shares /= shares.sum()
    return shares


# ---------------------------------------------------------------------- reading and writing


@contextmanager
def _reading(path: str | os.PathLike[str]) -> Iterator[Path]:
    from polars.exceptions import PanicException, PolarsError

    file = Path(path)
    if not file.is_file():
        raise NotFound(f"There is no file {file}.")
    try:
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
    carried: dict[str, Any] = {c: frame[c] for c in _CARRIED if c in frame.columns}
    return from_timestamps(
        frame[_column(frame.columns, column)],
        duration=saved.get("duration") if duration is None else duration,
        name=saved["name"] if name is None else name,
        notice=saved.get("notice", ""),
        **carried,
        **how,
    )


def _column(columns: list[str], wanted: str | None) -> str:
    """The column asked for, or the one that must hold the times."""
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

    array = times if isinstance(times, pl.Series) else _array("times", times)
    if len(array.shape) != 1 or not len(array):
        raise InvalidInput(f"times must be a list of at least one, got shape {array.shape}.")
    if isinstance(array, pl.Series):
        return array
    if array.dtype.kind == "M":
        return pl.Series(array.astype("datetime64[ns]"))
    return pl.Series(array if array.dtype.kind in "iuf" else array.tolist(), strict=False)


def _numbers_from(seconds: Floats, origin: float | str | datetime | None) -> Floats:
    if origin is None and seconds.min() > _LATEST_START:
        raise InvalidInput(
            f"times are seconds from the trace's start, and these begin at {seconds.min():,.0f}: "
            "pass origin= with what becomes 0, in the same unit, and divide milliseconds by 1000."
        )
    if isinstance(origin, (str, datetime)):
        raise InvalidInput(f"times are numbers, so origin must be one too, got {origin!r}.")
    return seconds - float(origin or 0)


def _instants(texts: "pl.Series") -> "pl.Series":
    """Texts in ISO 8601 as instants in UTC, null where one is not."""
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


def _refuse_unreadable(times: "pl.Series", good: "pl.Series") -> None:
    good = good.fill_null(value=False)
    if not good.all():
        row = int(good.arg_min() or 0)
        raise InvalidInput(
            f"the time in row {row + 1} (counted from 1) is {times[row]!r}: "
            "it must be a number of seconds or an ISO 8601 instant, as all others."
        )


def _order(seconds: Floats, *, sort: bool) -> NDArray[np.int64]:
    if sort:
        return np.argsort(seconds, kind="stable")
    _refuse_unsorted(seconds, "Sort them first, or pass sort=True.")
    return np.arange(len(seconds))


# ---------------------------------------------------------------------- checks


def check_share(share: float) -> float:
    """The share, known to be above 0 and at most 1.

    Raises:
        InvalidInput: it is not.

    >>> check_share(0.5)
    0.5
    """
    if not _positive("share", share) <= 1:
        raise InvalidInput(f"share must be at most 1, got {share!r}.")
    return share


def _array(name: str, values: ArrayLike) -> NDArray[Any]:
    try:
        return np.asarray(values)
    except (ValueError, TypeError) as error:
        raise InvalidInput(f"{name} must be one list of values: {error}") from error


def _arrivals(values: ArrayLike) -> Floats:
    array = _array("arrivals", values)
    if array.ndim != 1:
        raise InvalidInput(f"arrivals must have one dimension, got shape {array.shape}.")
    if not len(array):
        raise InvalidInput("a trace needs at least one request, got none.")
    if array.dtype.kind not in "iuf":
        raise InvalidInput(
            f"arrivals must be numbers of seconds, got {array.dtype}: "
            "for instants there is from_timestamps."
        )
    times = array.astype(np.float64)
    wrong = ~(np.isfinite(times) & (times >= 0))
    if wrong.any():
        row = int(wrong.argmax())
        raise InvalidInput(
            f"arrivals must be finite and at least 0, got {times[row]:g} in row {row + 1} "
            "(counted from 1)."
        )
    _refuse_unsorted(times, "Sort them first, or use from_timestamps with sort=True.")
    return times


def _refuse_unsorted(times: Floats, remedy: str) -> None:
    falls = np.diff(times) < 0
    if falls.any():
        row = int(falls.argmax()) + 1
        raise InvalidInput(
            f"arrivals must be sorted, but row {row + 1} (counted from 1) at {times[row]:.9g} s "
            f"comes before row {row} at {times[row - 1]:.9g} s. {remedy}"
        )


def _duration(value: float, last: float) -> float:
    duration = float(_positive("duration", value))
    if duration < last:
        raise InvalidInput(
            f"duration must be at least the last arrival, {last:.9g} s, got {value!r}."
        )
    return duration


def _whole(
    name: str, values: ArrayLike, count: int, dtype: type[np.integer[Any]], *, least: int = 0
) -> NDArray[Any]:
    """A new array of so many whole numbers, from one for all or one for each."""
    array = _array(name, values)
    if array.dtype.kind not in "iuf":
        raise InvalidInput(f"{name} must be whole numbers, got {array.dtype}.")
    if array.shape not in ((), (count,)):
        raise InvalidInput(
            f"{name} must be one number or {count}, one for each, got shape {array.shape}."
        )
    limit = 2 ** (8 * np.dtype(dtype).itemsize - 1)
    wrong = ~((array >= least) & (array < limit) & (array == np.floor(array)))
    if wrong.any():
        row = int(wrong.argmax())
        raise InvalidInput(
            f"{name} must be whole numbers of at least {least} and below {limit}, "
            f"got {array.flat[row]} in row {row + 1} (counted from 1)."
        )
    return np.broadcast_to(array, (count,)).astype(dtype)


def _positive(name: str, value: object) -> float:
    if not isinstance(value, Real) or not math.isfinite(value) or value <= 0:
        raise InvalidInput(f"{name} must be a finite number above 0, got {value!r}.")
    return float(value)


def _not_negative(name: str, value: object) -> float:
    if not isinstance(value, Real) or not math.isfinite(value) or value < 0:
        raise InvalidInput(f"{name} must be a finite number of at least 0, got {value!r}.")
    return float(value)


def _matrix(name: str, values: ArrayLike) -> Floats:
    array = _array(name, values)
    square = array.ndim == 2 and array.shape[0] == array.shape[1] > 0
    if not square or array.dtype.kind not in "iuf" or not np.isfinite(array).all():
        raise InvalidInput(f"{name} must be a square matrix of finite numbers, got {values!r}.")
    return array.astype(np.float64)


def _refuse_negative(name: str, matrix: Floats, where: str) -> None:
    if (matrix < 0).any():
        row, column = np.unravel_index(matrix.argmin(), matrix.shape)
        raise InvalidInput(
            f"{name} holds rates, at least 0 {where}, "
            f"got {matrix[row, column]:g} in row {row + 1}, column {column + 1}."
        )


def _refuse_reducible(rates: Floats) -> None:
    reached = (rates > 0) | np.eye(len(rates), dtype=bool)
    for _ in rates:
        reached = reached @ reached
    if not reached.all():
        start, end = np.argwhere(~reached)[0] + 1
        raise InvalidInput(
            f"The process is reducible: phase {end} is never reached from phase {start}. "
            "Leave out the phases that do not return."
        )


# ---------------------------------------------------------------------- words


def _cell(value: float | None) -> str:
    return "" if value is None else f"{value:,}" if isinstance(value, int) else f"{value:,.4g}"


def _shown(value: object) -> str:
    if isinstance(value, np.random.Generator):
        return "Generator"
    if isinstance(value, np.ndarray):
        return _shown(value.tolist())
    if isinstance(value, (list, tuple)):
        inner = ", ".join(map(_shown, value))
        return f"[{inner}]" if isinstance(value, list) else f"({inner})"
    return repr(float(value)).removesuffix(".0") if isinstance(value, Real) else repr(value)


def _call(maker: str, **arguments: object) -> str:
    """The call that makes a trace, without rows where each request has one."""
    said = {k: v for k, v in arguments.items() if not (k == "rows" and v == 1)}
    return f"{maker}({', '.join(f'{k}={_shown(v)}' for k, v in said.items())})"
