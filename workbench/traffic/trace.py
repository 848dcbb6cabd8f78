"""The trace: when requests arrive, and what each one carries.

A `Trace` is a frozen value, drawn by an arrival process (`workbench.traffic.patterns`) or replayed
(`workbench.traffic.replay`). Traces compose: ``a + b``, ``a.scale(2)``, ``a.clip(0, 60)``,
``a.thin(0.1, seed=1)``.
"""

import hashlib
import html
import json
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, fields, replace
from functools import cached_property, partial
from numbers import Real
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from workbench.errors import InvalidInput
from workbench.files import to_pandas, write_file
from workbench.formatting import Table, duration
from workbench.validation import (
    Seed,
    as_array,
    as_context,
    generator_from,
    not_negative,
    positive,
    positive_share,
    unicode_text,
    whole_numbers,
)

if TYPE_CHECKING:
    import pandas as pd
    import polars as pl

    from workbench.traffic.contexts import RowPool

Floats = NDArray[np.float64]
Context = NDArray[np.str_]


@dataclass(frozen=True, eq=False, repr=False, init=False)
class Trace:
    """When requests arrive, and what each one carries; equal to a trace of the same content.

    A trace has at least one request. Its arrays are copies and read-only.

    Attributes:
        arrivals: seconds from 0, sorted, float64.
        duration: seconds, at least the last arrival.
        rows: of the model's input in each request, int32, at least 1.
        bytes: of each request's payload, int64, 0 where unknown; see `content`.
        sample: index of each request's first row among the model's held-out samples, taken
            modulo their number, int64; 0, 1, 2, ... when not given.
        context: kind of each request, such as "noisy", "" where one's is not known; None where
            none's is.
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
    context: Context | None
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
        context: ArrayLike | None = None,
        name: str = "",
        notice: str = "",
    ) -> None:
        times = _arrivals(arrivals)
        count = len(times)
        seconds = positive("duration", duration)
        if seconds < times[-1]:
            raise InvalidInput(
                f"duration must be at least the last arrival, {times[-1]:.9g} s, got {duration!r}."
            )
        sample = np.arange(count) if sample is None else sample
        values = {
            "arrivals": times,
            "duration": seconds,
            "rows": whole_numbers("rows", rows, count, np.int32, least=1),
            "bytes": whole_numbers("bytes", bytes, count, np.int64),
            "sample": whole_numbers("sample", sample, count, np.int64),
            "context": as_context(context, count),
            "name": unicode_text("name", name),
            "notice": unicode_text("notice", notice),
        }
        for field, value in values.items():
            if isinstance(value, np.ndarray):
                value.setflags(write=False)
            object.__setattr__(self, field, value)

    def __len__(self) -> int:
        return len(self.arrivals)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Trace):
            return NotImplemented
        return self.duration == other.duration and self.digest == other.digest  # the cheap first

    def __hash__(self) -> int:
        return hash(self.digest)

    def __reduce__(self) -> tuple[Any, ...]:
        # Through the constructor: an array that travelled by pickle alone is writeable again.
        return partial(Trace, **{f.name: getattr(self, f.name) for f in fields(self)}), ()

    def __repr__(self) -> str:
        label = f" {self.name}" if self.name else ""
        size = f"{len(self):,} request{'s' if len(self) > 1 else ''}"
        return f"<Trace{label}: {size} in {duration(self.duration, 6)}, {self.rate:.4g} per second>"

    def _repr_html_(self) -> str:
        rows = [(key.replace("_", " "), value) for key, value in self.describe().items()]
        notice = f"<pre>{html.escape(self.notice)}</pre>" if self.notice else ""
        return Table([], rows, self.name).html() + notice

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the arrays and the duration, in hexadecimal: the name is not content."""
        sha = hashlib.sha256(np.array([self.duration], "<f8").tobytes())
        columns = ((self.arrivals, "<f8"), (self.rows, "<i4"), (self.bytes, "<i8"))
        for array, dtype in (*columns, (self.sample, "<i8")):
            sha.update(array.astype(dtype, copy=False).data)
        if self.context is not None:  # without any the hash is what it was before there were some
            sha.update(json.dumps(self.context.tolist()).encode())
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
        """One row a request: arrival, rows, bytes, sample, and context where there is one."""
        import polars as pl

        columns = {"rows": self.rows, "bytes": self.bytes, "sample": self.sample}
        context = {} if self.context is None else {"context": pl.Series(self.context)}
        return pl.DataFrame({"arrival": self.arrivals} | columns | context)

    def content(self, row_bytes: float | None = None) -> NDArray[np.int64]:
        """Return the bytes of each request: those that the trace tells, else those of its rows.

        0 where neither is known. Simulations, formulas, plans and bills all count these.

        >>> Trace([0.0, 1.0], 2.0, rows=[1, 3]).content(100).tolist()
        [100, 300]
        """
        known, fewest, most = self._extent
        if known or not row_bytes:
            return self.bytes
        if fewest == most:  # as mostly, and five times as fast
            return np.full(len(self), np.round(row_bytes * most), np.int64)
        return np.round(row_bytes * self.rows).astype(np.int64)

    def total_content(self, row_bytes: float | None = None) -> int:
        """Return the bytes of all requests together: the sum of `content`, mostly without it.

        >>> Trace([0.0, 1.0], 2.0, rows=[1, 3]).total_content(100)
        400
        """
        known, fewest, most = self._extent
        if not known and row_bytes and fewest == most:
            return len(self) * int(np.round(row_bytes * most))
        return int(self.content(row_bytes).sum())

    @cached_property
    def _extent(self) -> tuple[bool, int, int]:
        """Whether the trace tells bytes, and the fewest and most rows of a request."""
        return bool(self.bytes.any()), int(self.rows.min()), int(self.rows.max())

    def with_content(self, row_bytes: float | None) -> "Trace":
        """Return the trace with the bytes of each request as `content` has them."""
        content = self.content(row_bytes)
        return self if content is self.bytes else self._with(bytes=content)

    def counts(self, window: float) -> NDArray[np.int64]:
        """Count requests in each whole window of so many seconds; the rest at the end is left out.

        >>> Trace([0.0, 1.0, 4.0], 10.0).counts(3).tolist()
        [2, 1, 0]
        """
        whole = int(self.duration / positive("window", window) + 1e-9)  # 59.9999999 windows are 60
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
        """Return figures of the arrivals; None where the trace is too short for one.

        Requests, duration (s), rate (1/s), scv (squared coefficient of variation of the gaps),
        index of dispersion in windows of 1, 10 and 60 s, peak_to_mean (busiest second over mean).

        >>> Trace([0.0, 1.0], 20.0).describe()["dispersion_10s"]
        2.0
        """
        dispersion = {f"dispersion_{w}s": self.dispersion(w) for w in (1, 10, 60)}
        seconds, gaps = self.counts(1.0), self.gaps
        figures = {"requests": len(self), "duration": self.duration, "rate": self.rate}
        mean = gaps.mean() if len(gaps) > 1 else 0.0
        scv = float(gaps.var() / mean**2) if mean else None
        peak = float(seconds.max() / seconds.mean()) if seconds.any() else None
        return {**figures, "scv": scv, **dispersion, "peak_to_mean": peak}

    def scale(self, factor: float) -> "Trace":
        """Return the same requests, factor times as fast: times and duration divided by the factor.

        >>> Trace([0.0, 5.0], 10.0).scale(5).arrivals.tolist()
        [0.0, 1.0]
        """
        factor = positive("factor", factor)
        name = f"{self._operand}.scale({format_value(factor)})"
        duration = positive("duration", self.duration / factor)
        return self._with(arrivals=self.arrivals / factor, duration=duration, name=name)

    def clip(self, start: float = 0.0, stop: float | None = None) -> "Trace":
        """Return the requests with start <= arrival < stop, with start as the new 0.

        A stop at the end of the trace (the default) keeps a request of that very instant.

        Raises:
            InvalidInput: not 0 <= start < stop <= duration, or no request between them.

        >>> Trace([0.0, 3.0, 5.0], 10.0).clip(3, 5).arrivals.tolist()
        [0.0]
        """
        start = not_negative("start", start)
        stop = self.duration if stop is None else positive("stop", stop)
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
        name = f"{self._operand}.clip({format_value(start)}, {format_value(stop)})"
        times = self.arrivals[first:last] - start
        return self._take(np.s_[first:last], name, arrivals=times, duration=stop - start)

    def thin(self, share: float, *, seed: Seed) -> "Trace":
        """Keep each request with probability share, independently; the duration stays.

        Raises:
            InvalidInput: the share is not above 0 and at most 1, or no request is left.

        >>> 400 < len(Trace(np.arange(1000), 1000).thin(0.5, seed=1)) < 600
        True
        """
        kept = generator_from(seed).random(len(self)) < positive_share("share", share)
        if not kept.any():
            raise InvalidInput(f"share={share!r} of {len(self)} requests left none: raise it.")
        return self._take(
            kept, f"{self._operand}.thin({format_value(share)}, seed={format_value(seed)})"
        )

    def draw_samples(
        self, pool: "RowPool", *, mix: Mapping[str, float] | None = None, seed: Seed
    ) -> "Trace":
        """Return the same requests, each with a row drawn from the pool, and that row's context.

        A request of several rows carries those after it, too, which may be of other kinds.

        Args:
            pool: a model's samples, say.
            mix: the share of each kind; by default every row is as likely as any other.
            seed: a whole number, or a NumPy generator.

        Raises:
            InvalidInput: the shares do not add up to 1, or the pool has no row of a kind.
        """
        from workbench.traffic.contexts import draw_rows

        sample = draw_rows(pool, len(self), mix, seed)
        context = None if pool.context is None else pool.context[sample]
        return replace(self, sample=sample, context=context)

    def only(self, kept: ArrayLike) -> "Trace":
        """Return the requests for which `kept`, one value a request, is true; the duration stays.

        Raises:
            InvalidInput: there are not as many values, or none is true.

        >>> Trace([1.0, 2.0, 3.0], 4.0).only([True, False, True]).arrivals.tolist()
        [1.0, 3.0]
        """
        mask = as_array("kept", kept)
        if mask.shape != (len(self),) or mask.dtype != bool or not mask.any():
            raise InvalidInput(
                f"kept must be {len(self)} truth values, one of them true at least, got {kept!r}."
            )
        return self._take(mask, f"{mask.sum()} requests of {self._operand}")

    def __add__(self, other: "Trace") -> "Trace":
        """Merge both traces: every request of either, for as long as the longer one.

        >>> (Trace([1.0], 2.0) + Trace([0.5], 4.0)).arrivals.tolist()
        [0.5, 1.0]
        """
        if not isinstance(other, Trace):
            return NotImplemented
        times = np.concatenate([self.arrivals, other.arrivals])
        order = np.argsort(times, kind="stable")
        kinds = [np.full(len(t), "") if t.context is None else t.context for t in (self, other)]
        return Trace(
            times[order],
            max(self.duration, other.duration),
            rows=np.concatenate([self.rows, other.rows])[order],
            bytes=np.concatenate([self.bytes, other.bytes])[order],
            sample=np.concatenate([self.sample, other.sample])[order],
            context=np.concatenate(kinds)[order],
            name=f"{self._label} + {other._label}",
            notice="\n\n".join(dict.fromkeys(filter(None, (self.notice, other.notice)))),
        )

    def to_pandas(self) -> "pd.DataFrame":
        """Return `frame` as a frame of pandas.

        Raises:
            NotAvailable: pandas is not installed.
        """
        return to_pandas(self.frame)

    def to_csv(self, path: str | os.PathLike[str]) -> Path:
        """Write a file that `from_csv` reads back as an equal trace, whole or not at all.

        Its first line is a comment (# and JSON) with duration, name and notice.

        Raises:
            StorageError: the file cannot be written.
        """
        first = f"# {json.dumps(self._notes)}\n".encode()

        def write(file: IO[bytes]) -> None:
            file.write(first)
            self.frame.write_csv(file)

        return write_file(path, write)

    def to_parquet(self, path: str | os.PathLike[str]) -> Path:
        """Write a file that `from_parquet` reads back as an equal trace, whole or not at all.

        Raises:
            StorageError: the file cannot be written.
        """
        notes = {"workbench": json.dumps(self._notes)}
        return write_file(path, lambda file: self.frame.write_parquet(file, metadata=notes))

    @property
    def _notes(self) -> dict[str, Any]:
        return {"duration": self.duration, "name": self.name, "notice": self.notice}

    @property
    def _operand(self) -> str:
        return f"({self.name})" if " + " in self.name else self._label

    @property
    def _label(self) -> str:
        return self.name or "trace"

    def _take(self, index: Any, name: str, **others: Any) -> "Trace":  # noqa: ANN401 - an index
        columns = ("arrivals", "rows", "bytes", "sample")
        taken = {c: getattr(self, c)[index].copy() for c in columns}
        if self.context is not None:
            taken["context"] = as_context(self.context[index], len(taken["rows"]))
        return self._with(name=name, **(taken | others))

    def _with(self, **changes: Any) -> "Trace":  # noqa: ANN401 - fields
        """Return the trace with other fields, known to be what they must be: no look at each."""
        other = object.__new__(Trace)
        vars(other).update({each.name: getattr(self, each.name) for each in fields(self)})
        for name, value in changes.items():
            if isinstance(value, np.ndarray):
                value.setflags(write=False)
            object.__setattr__(other, name, value)
        return other


def largest_run(values: NDArray[np.int64], length: int) -> int:
    """Return the largest sum of so many values in a row, such as the bytes of requests in a batch.

    >>> largest_run(np.array([3, 1, 4, 1]), 2)
    5
    """
    before = np.concatenate([[0], np.cumsum(values)])
    length = min(length, len(values))
    return int((before[length:] - before[: len(before) - length]).max())


def _arrivals(values: ArrayLike) -> Floats:
    array = as_array("arrivals", values)
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
    if not (times.min() >= 0 and times.max() < np.inf):
        row = int((~(np.isfinite(times) & (times >= 0))).argmax())
        raise InvalidInput(
            f"arrivals must be finite and at least 0, got {times[row]:g} in row {row + 1} "
            "(counted from 1)."
        )
    falls = times[1:] < times[:-1]
    if falls.any():
        row = int(falls.argmax()) + 1
        raise InvalidInput(
            f"arrivals must be sorted, but row {row + 1} (counted from 1) at {times[row]:.9g} s "
            f"comes before row {row} at {times[row - 1]:.9g} s. Sort them first, or "
            "have it done with sort=True."
        )
    return times


def format_value(value: object) -> str:
    """Format a value for names of traces: a whole float without its point, arrays as lists.

    >>> format_value((300.0, 0.5))
    '(300, 0.5)'
    """
    if isinstance(value, np.random.Generator):
        return "Generator"
    if isinstance(value, np.ndarray):
        return format_value(value.tolist())
    if isinstance(value, (list, tuple)):
        inner = ", ".join(map(format_value, value))
        return f"[{inner}]" if isinstance(value, list) else f"({inner})"
    if isinstance(value, Real):
        with suppress(OverflowError):  # of a whole number of hundreds of digits
            return repr(float(value)).removesuffix(".0")
    return repr(value)
