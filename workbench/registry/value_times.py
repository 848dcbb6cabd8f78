"""CPU time of a model by the values in its rows: tiny numbers, above all.

Many processors take up to a hundred times as long for numbers below the smallest normal one,
1.2e-38 in float32 and 2.2e-308 in float64, unless a process reads them as 0; others (AMD's EPYC,
measured on 2026-11-30) hardly longer. The servers that the workbench
starts or packs do (`modelserver.tiny_numbers`); other programs, a notebook among them, do not.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from workbench.errors import InvocationError
from workbench.registry.invariance_probe import BatchSession
from workbench.registry.rows import change_columns, columns_of

WORTH_TELLING = 3.0
"""Times the ordinary time from which on a row is called slow: caches and branches make twice."""

SECONDS = 0.5
"""CPU seconds after which the rest of a pool is left out."""

_COPIES = 16  # of a row in the batch that is timed: a call's own time would hide the row's
_REPEATS = 3  # the shortest counts
_LONG = 0.05  # seconds of a call from which on one row, once, is enough
_ORDINARY_ROWS = 3  # whose median is the usual time
_MANY = 256  # rows of a pool that are timed at most
_AROUND = (8.0, 0.125)  # times the smallest normal number: products turn tiny, or all is


@dataclass(frozen=True, kw_only=True)
class ValueTimes:
    """CPU seconds of a row among its likes, in a process that does not read tiny numbers as 0.

    `ordinary` is of rows without tiny numbers, `tiny` of rows of nothing else (NaN where the model
    takes no floats), `slowest` the longest of the `rows` of the pool that were timed, of which
    `slow` took three times the ordinary or more. `by_tiny` says whether the slowest is ordinary
    without its tiny numbers.
    """

    ordinary: float
    tiny: float
    slowest: float
    rows: int
    slow: int
    by_tiny: bool

    @property
    def tiny_ratio(self) -> float:
        """How many times the ordinary time rows of tiny numbers take; NaN if not known."""
        return self.tiny / self.ordinary if self.ordinary else float("nan")

    @property
    def pool_note(self) -> str:
        """What to know of rows of the pool; empty where none is slow."""
        if not self.slow:
            return ""
        cause = (
            "for their tiny numbers, unless a process reads those as 0, as the workbench's own do"
            if self.by_tiny
            else "by their values"
        )
        return (
            f"{self.slow} of {self.rows} rows of the pool take up to "
            f"{self.slowest / self.ordinary:.3g} times the ordinary CPU time, {cause}"
        )

    def __str__(self) -> str:
        found = [self.pool_note] if self.slow else []
        if self.tiny_ratio >= WORTH_TELLING:
            found.append(
                f"rows of tiny numbers (below 1.2e-38 in float32) take {self.tiny_ratio:.3g} times "
                "the ordinary CPU time where a process does not read them as 0; servers that the "
                "workbench starts or packs do"
            )
        return "; ".join(found) or f"{self.rows} rows of the pool, and tiny numbers, take alike"


def time_values(
    session: BatchSession,
    rows: NDArray[Any],
    *,
    seconds: float = SECONDS,
    clock: Callable[[], float] = time.thread_time,
) -> ValueTimes:
    """Return how the time of a model depends on the values of its rows.

    Args:
        session: The model, on one thread: the one that calls.
        rows: The pool, shape (n, *row); up to 256 of them, evenly spread, are timed.
        seconds: The CPU time after which further rows are left out.
        clock: Tells the CPU time of this thread, in seconds.

    >>> class Multiply:
    ...     def run(self, batch):
    ...         return batch * 2
    >>> time_values(Multiply(), np.ones((4, 2), np.float32)).rows
    4
    """
    ends = clock() + seconds
    timer = _Timer(session, clock)
    pool = rows[np.unique(np.linspace(0, len(rows) - 1, min(len(rows), _MANY)).astype(int))]
    pool = np.random.default_rng(0).permutation(pool)  # if time ends, what was timed is no corner
    plain = _drop_tiny(pool[:_ORDINARY_ROWS])
    timer.adapt(plain[:1])
    ordinary = float(np.median([timer.time(row) for row in _singles(plain)]))
    tiny = max((timer.time(row) for row in _make_tiny(pool[:1])), default=float("nan"))
    times = [timer.time(row) for row in _singles(pool) if clock() < ends] or [ordinary]
    for number, one in enumerate(times):  # again: something else may have run in between
        if one >= WORTH_TELLING * ordinary:
            times[number] = min(one, timer.time(pool[number : number + 1]))
    slowest = int(np.argmax(times))
    plain = _drop_tiny(pool[slowest : slowest + 1])
    return ValueTimes(
        ordinary=ordinary,
        tiny=tiny,
        slowest=times[slowest],
        rows=len(times),
        slow=int((np.array(times) >= WORTH_TELLING * ordinary).sum()),
        by_tiny=timer.time(plain) < times[slowest] / WORTH_TELLING,
    )


class _Timer:
    """A model and a clock."""

    def __init__(self, session: BatchSession, clock: Callable[[], float]) -> None:
        self._session, self._clock = session, clock
        self._copies, self._repeats = 1, 2  # the first call is warm-up

    def adapt(self, row: NDArray[Any]) -> None:
        """Choose how often to run each row from the time that one takes."""
        if not self.time(row) > _LONG:
            self._copies, self._repeats = _COPIES, _REPEATS
        else:
            self._repeats = 1

    def time(self, row: NDArray[Any]) -> float:
        """Return the CPU seconds of one row among copies of it; NaN where the model fails."""
        batch = np.repeat(row, self._copies, axis=0)
        try:
            return min(self._run(batch) for _ in range(self._repeats)) / self._copies
        except InvocationError:
            return float("nan")

    def _run(self, batch: NDArray[Any]) -> float:
        began = self._clock()
        self._session.run(batch)
        return self._clock() - began


def _singles(rows: NDArray[Any]) -> Iterator[NDArray[Any]]:
    return (rows[at : at + 1] for at in range(len(rows)))


def _drop_tiny(rows: NDArray[Any]) -> NDArray[Any]:
    """Return rows with 0 in place of numbers whose products are tiny."""

    def drop(values: NDArray[Any]) -> NDArray[Any]:
        if values.dtype.kind != "f":
            return values
        limit = np.sqrt(np.finfo(values.dtype).smallest_normal)
        return np.where(np.abs(values) < limit, values.dtype.type(0), values)

    return change_columns(drop, rows)


def _make_tiny(row: NDArray[Any]) -> Iterator[NDArray[Any]]:
    """Yield the row with all numbers tiny, in two ways; nothing of whole numbers or text."""
    columns = columns_of(row).values() or [row]
    if not any(each.dtype.kind == "f" and each.size for each in columns):
        return
    for times in _AROUND:
        yield change_columns(partial(_shrink, times=times), row)


def _shrink(values: NDArray[Any], *, times: float) -> NDArray[Any]:
    if values.dtype.kind != "f":
        return values
    finite = np.where(np.isfinite(values), values, 0).astype(float)
    shares = finite / (np.abs(finite).max() or 1.0)
    return (shares * times * float(np.finfo(values.dtype).smallest_normal)).astype(values.dtype)
