"""How far work under way is: filled by the thread that does it, read by a widget."""

import math
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from workbench.errors import Stopped
from workbench.formatting import duration, percent, percentile
from workbench.quantiles import has_enough_samples, select_quantile

if TYPE_CHECKING:
    from workbench.plots.live import Point

FLUSH_INTERVAL = 0.2
"""Seconds between updates of the page: a notebook server drops messages when they are too many."""

_POINT_INTERVAL = 1.0  # seconds between points of the live chart
_MAX_POINTS = 300  # then every other one goes


class LiveProgress:
    """What work under way has reported: filled by the thread that does it, read by another.

    `stopped` is set when it is to end early; `doing` says what it is at, `stopping` what it is at
    from then on.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.stopped = threading.Event()
        self.doing, self.stopping = "Preparing.", "Stopping."
        self.done = 0
        self.total = 0
        self._clock = clock
        self._start = (math.nan, 0)
        self._latencies: list[NDArray[np.float64]] = []
        self._answered: Counter[str] = Counter()
        self._points: list[Point] = []
        self._counted, self._last_point = 0, -math.inf

    def progress(self, done: int, total: int) -> None:
        """Learn how many requests are over and done with, of how many."""
        if not self.total:
            self._start = (self._clock(), done)
        self.done, self.total = done, total

    def begin(self, doing: str) -> None:
        """Learn what comes next, of which nothing is done yet."""
        self.doing, self.done, self.total = doing, 0, 0

    def go_on(self, done: int, total: int) -> None:
        """Learn the progress of work that can be given up but has nothing to keep.

        Raises:
            Stopped: It is to end.
        """
        self.progress(done, total)
        if self.stopped.is_set():
            raise Stopped("Stopped: nothing is kept.")

    def add(self, latencies: ArrayLike) -> None:
        """Learn the latencies of some more requests: seconds, NaN where they failed."""
        self._latencies.append(np.asarray(latencies, float))

    def note_places(self, names: Iterable[str]) -> None:
        """Learn which models answered some more requests."""
        self._answered.update(names)

    @property
    def shares(self) -> dict[str, float]:
        """The share of requests that each model answered so far, of several."""
        known = dict(self._answered)  # another thread goes on counting
        total = sum(known.values())
        return {name: count / total for name, count in sorted(known.items())}

    def points(self) -> "list[Point]":
        """Return the latencies' course, with a new point where a second has passed.

        Of a long run every other point is left out, so that a page has no more than a few hundred.
        """
        elapsed = self._clock() - self._start[0]
        if elapsed >= self._last_point + _POINT_INTERVAL and self.quantile(0.5) is not None:
            new = self._latencies[0][self._counted :]
            if len(new):
                self._counted += len(new)
                self._last_point = elapsed
                median, high = (select_quantile(new, q) for q in (0.5, 0.95))
                if median < math.inf:  # else most have failed, and there is nothing to draw
                    self._points.append((elapsed, median, high))
        if len(self._points) > _MAX_POINTS:
            self._points = self._points[::2]
        return self._points

    def quantile(self, q: float) -> float | None:
        """Return a quantile of the latencies so far, None where they are too few to tell it.

        Infinite when it falls among the failed requests.
        """
        parts = len(self._latencies)
        known = np.concatenate([np.empty(0), *self._latencies[:parts]])
        self._latencies[:parts] = [known]
        return select_quantile(known, q) if has_enough_samples(q, len(known)) else None

    def words(self) -> str:
        """Return progress, pace and percentiles so far as text."""
        if not self.total:
            return ""
        percentiles = [
            f"{percentile(q)} {duration(latency)}"
            for q in (0.5, 0.95)
            if (latency := self.quantile(q)) is not None
        ]
        failed = float(np.mean(np.isnan(self._latencies[0]))) if percentiles else 0.0
        more = [f"{percent(failed)} failed"] if failed else []
        return " · ".join([f"{self.done:,} of {self.total:,}", *self._pace(), *percentiles, *more])

    def _pace(self) -> list[str]:
        began, before = self._start
        elapsed = self._clock() - began
        if elapsed <= 0 or self.done == before:
            return []
        rate = (self.done - before) / elapsed
        left = (self.total - self.done) / rate
        return [
            f"{rate:,.0f} per second",
            *([f"about {duration(left, 2)} left"] if left >= 1 else []),
        ]
