"""Detectors of drift: whether requests, or how long they take, are still as they were.

A detector is given values by `update` and says from when on they have drifted::

    detector = PageHinkley(settle=100)
    drifted = [detector.update(latency) for latency in latencies]

Nothing here reads a clock or acts: `workbench.cloud.monitor` sends events and starts what is to
follow.
"""

import math
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from workbench.errors import InvalidInput
from workbench.run import Run
from workbench.run.columns import as_floats
from workbench.validation import choose, of_kind, positive, whole_number

if TYPE_CHECKING:
    import polars as pl

Side = Literal["up", "down", "both"]
_SIDES: tuple[Side, ...] = ("up", "down", "both")
# added to every count, so that a bin without values does not weigh without bounds
_PSEUDOCOUNT = 0.5


class Detector(Protocol):
    """Anything that takes values one after the other, and says whether they have drifted."""

    def update(self, x: float) -> bool:
        """Take in a value, and return whether the values have drifted; once so, always so."""


class _Latch:
    """What detectors have in common: once the values have drifted, they have."""

    at: int | None = None

    @property
    def drifted(self) -> bool:
        """Whether the values have drifted."""
        return self.at is not None


class PageHinkley(_Latch):
    """Page and Hinkley's test: the mean has moved by more than it does by chance.

    The first `settle` values tell mean and standard deviation; from then on the sum of what each
    value lies beyond the mean, less `slack`, is kept, all in deviations. The values have drifted
    when that sum is more than `threshold` above its least value. Without a drift, independent
    normal values are expected to last (exp(2 k b) - 2 k b - 1) / (2 k^2) updates a side, where
    k = `slack` and b = `threshold` + 1.166 (Siegmund, Sequential Analysis, 1985, 2.5); latencies of
    requests that wait for one another are not independent: give means of windows of time.

    Source: E. S. Page, Continuous Inspection Schemes, Biometrika 41 (1954).

    Attributes:
        drifted: Whether the values have drifted.
        at: The number of the value that showed it, from 0; None: none yet.

    Raises:
        InvalidInput: A setting is out of its limits, or a value is not finite.

    >>> detector = PageHinkley(settle=4)
    >>> [detector.update(x) for x in (1.0, 1.2, 0.8, 1.0, 1.1, 9.0)], detector.at
    ([False, False, False, False, False, True], 5)
    """

    def __init__(
        self, *, settle: int = 100, slack: float = 0.5, threshold: float = 20.0, side: Side = "both"
    ) -> None:
        self.settle = whole_number("settle", settle, low=2)
        self.slack = positive("slack", slack, "deviations")
        self.threshold = positive("threshold", threshold, "deviations")
        self.side = choose("side", side, _SIDES)
        self._seen = 0
        self._mean = self._squares = 0.0
        self._up = self._down = 0.0

    def update(self, x: float) -> bool:
        """Take in a value, and return whether the values have drifted."""
        if not math.isfinite(x):
            raise InvalidInput(f"A detector takes finite numbers, got {x!r}: leave failures out.")
        number, self._seen = self._seen, self._seen + 1
        if number < self.settle:
            self._learn(float(x))
        elif self._is_beyond(float(x)) and self.at is None:
            self.at = number
        return self.drifted

    def _learn(self, x: float) -> None:
        """Compute the running mean and sum of squares by Welford's method."""
        before = x - self._mean
        self._mean += before / self._seen
        self._squares += before * (x - self._mean)

    def _is_beyond(self, x: float) -> bool:
        deviation = math.sqrt(self._squares / (self.settle - 1))
        # Values that never differed have no deviation: any other value is then a drift.
        z = (x - self._mean) / (deviation or abs(self._mean) * 1e-9 or 1e-300)
        self._up = max(0.0, self._up + z - self.slack)
        self._down = max(0.0, self._down - z - self.slack)
        up, down = self._up > self.threshold, self._down > self.threshold
        return (up and self.side != "down") or (down and self.side != "up")


class PopulationStability(_Latch):
    """The population stability index: how far the latest values' shares of bins are from before.

    Bins are quantiles of the reference, and what lies below or above it. The index is the sum of
    (p - q) ln(p / q) over them, p the shares of the latest `window` values and q the reference's;
    0.1 is commonly called a change and 0.2 a large one, which is where the default lies (a rule of
    thumb of credit scoring). Without a drift it is about `chance`, so windows should be large.

    Source of `chance`: B. Yurdakul, Statistical Properties of Population Stability Index, 2018.

    Attributes:
        index: Of the latest window; NaN until there is one.
        chance: What to expect of it where nothing drifts: (bins - 1)(1/window + 1/reference).
        at: The number of the value that showed a drift, from 0; None: none yet.

    Raises:
        InvalidInput: A setting is out of its limits, or a value is not finite.

    >>> same = PopulationStability(range(1000), window=100)
    >>> [same.update(x) for x in range(0, 1000, 10)][-1], same.index < same.chance
    (False, True)
    """

    def __init__(
        self, reference: ArrayLike, *, bins: int = 10, window: int = 1000, threshold: float = 0.2
    ) -> None:
        values = _finite(reference)
        if len(values) < 2:
            raise InvalidInput(f"A reference needs at least 2 values, got {len(values)}.")
        self.window = whole_number("window", window, low=2)
        self.threshold = positive("threshold", threshold)
        self._edges = _edges(values, whole_number("bins", bins, low=2))
        self._reference = np.bincount(self._bins(values), minlength=len(self._edges) + 1)
        self._counts = np.zeros_like(self._reference)
        self._latest: deque[int] = deque()
        self._seen = 0
        bins_used = int((self._reference > 0).sum())
        self.chance = (bins_used - 1) * (1 / self.window + 1 / len(values))

    @property
    def index(self) -> float:
        """The index of the latest window; NaN until there is one."""
        if len(self._latest) < self.window:
            return math.nan
        return stability(self._counts, self._reference)

    def update(self, x: float) -> bool:
        """Take in a value, and return whether the values have drifted."""
        bin_index = int(self._bins(_finite([x]))[0])
        self._latest.append(bin_index)
        self._counts[bin_index] += 1
        if len(self._latest) > self.window:
            self._counts[self._latest.popleft()] -= 1
        if self.at is None and self.index > self.threshold:
            self.at = self._seen
        self._seen += 1
        return self.drifted

    def _bins(self, values: NDArray[np.float64]) -> NDArray[np.intp]:
        return np.searchsorted(self._edges, values, side="left")


def stability(counts: ArrayLike, reference: ArrayLike) -> float:
    """Return the population stability index of two sets of counts of the same bins.

    >>> stability([50, 50], [500, 500]), round(stability([80, 20], [500, 500]), 2)
    (0.0, 0.41)
    """
    p = np.asarray(counts, dtype=np.float64) + _PSEUDOCOUNT
    q = np.asarray(reference, dtype=np.float64) + _PSEUDOCOUNT
    p, q = p / p.sum(), q / q.sum()
    return float(((p - q) * np.log(p / q)).sum())


def input_drift(
    reference: Any,  # noqa: ANN401 - an array, a frame or columns by name
    rows: Any,  # noqa: ANN401
    *,
    bins: int = 10,
    threshold: float = 0.2,
) -> "pl.DataFrame":
    """Return how far each input of rows has drifted from a reference, the farthest first.

    Columns: input (its number, or its name where it has one), index (the population stability
    index), chance (what to expect of it without a drift) and drifted (index above threshold and
    above twice chance). Each text is a bin of its own, one that the reference has not counts as
    other; so does a number that is missing, among named inputs.

    Args:
        reference: Rows that the model was trained or approved on: an array of numbers, or what
            names its inputs: an array of records as a model's samples are, a frame, columns.
        rows: Rows that came in, with the same inputs; other named columns are left out.
        bins: Quantiles of the reference.
        threshold: Of the index.

    Raises:
        InvalidInput: The two are not rows of as many inputs, or not all of one kind.
    """
    import polars as pl

    whole_number("bins", bins, low=2)
    positive("threshold", threshold)
    known, new = _columns("reference", reference), _columns("rows", rows)
    named = all(isinstance(each, str) for each in new)
    if known.keys() - new.keys() or (not named and len(new) != len(known)):
        lacking = [each for each in known if each not in new]
        raise InvalidInput(
            f"rows have {len(new)} inputs, the reference {len(known)}: they must agree"
            f"{f', and {lacking[:20]} are not among the rows' if lacking else ''}."
        )
    found = []
    for name, values in known.items():
        before, after = _count_bins(name, values, new[name], bins)
        index = stability(after, before)
        chance = ((before > 0).sum() - 1) * (1 / after.sum() + 1 / before.sum())
        found.append((name, index, chance, bool(index > max(threshold, 2 * chance))))
    names = ["input", "index", "chance", "drifted"]
    return pl.DataFrame(found, schema=names, orient="row").sort("index", descending=True)


@dataclass(frozen=True, kw_only=True)
class LatencyDrift:
    """Whether the latencies of a run drifted: `at` is when, in seconds of its trace; None: not.

    `windows` is how many windows of `window` seconds were judged.
    """

    at: float | None
    window: float
    windows: int

    @property
    def drifted(self) -> bool:
        """Whether they drifted."""
        return self.at is not None


def latency_drift(
    run: Run, *, window: float = 1.0, detector: Detector | None = None
) -> LatencyDrift:
    """Return whether and when a run's latencies drifted.

    The detector is given, for each window of time, the mean logarithm of the latencies of the
    requests that were due in it: means because latencies close in time depend on each other,
    logarithms because a tail of slow requests would drown what happens to all.

    Args:
        run: Of answered requests; those that failed are left out.
        window: Seconds.
        detector: By default `PageHinkley(settle=30, side="up")`.

    Raises:
        InvalidInput: `run` is no run, or the window is not positive.

    >>> late = [0.1] * 60 + [0.5] * 10
    >>> run = Run.from_arrays(scheduled=range(70), finished=[n + x for n, x in enumerate(late)])
    >>> latency_drift(run).at
    60.0
    """
    import polars as pl

    of_kind("run", run, Run)
    width = positive("window", window, "seconds")
    judge = detector if detector is not None else PageHinkley(settle=30, side="up")
    means = (
        run.frame.filter(pl.col("latency").is_not_nan() & (pl.col("latency") > 0))
        .group_by((pl.col("scheduled") / width).floor().alias("number"))
        .agg(pl.col("latency").log().mean())
        .sort("number")
    )
    at = None
    for number, mean in means.iter_rows():
        if judge.update(mean):
            at = number * width
            break
    return LatencyDrift(at=at, window=width, windows=means.height)


def _finite(values: ArrayLike) -> NDArray[np.float64]:
    array = as_floats("values", values).ravel()
    if not np.isfinite(array).all():
        raise InvalidInput("A detector takes finite numbers: leave out what is missing.")
    return array


def _columns(name: str, rows: Any) -> dict[int | str, NDArray[Any]]:  # noqa: ANN401
    """Return the values of each input, by name where inputs have names."""
    named = getattr(getattr(rows, "dtype", None), "names", None) or getattr(rows, "columns", None)
    if named is not None or isinstance(rows, Mapping):
        keys = rows if named is None else named
        tables = {str(key): np.asarray(rows[key]) for key in keys}
        columns: dict[int | str, NDArray[Any]] = {}
        for key, table in tables.items():
            flat = table.reshape(len(table), -1).T
            columns |= {f"{key}_{at}" if len(flat) > 1 else key: v for at, v in enumerate(flat)}
    else:
        array = as_floats(name, rows)
        if array.ndim < 2:
            raise InvalidInput(f"{name} must be at least 2 rows of numbers, got {array.shape}.")
        columns = dict(enumerate(_finite(array).reshape(len(array), -1).T))
    if not columns or min(map(len, columns.values())) < 2:
        raise InvalidInput(f"{name} must be at least 2 rows of at least 1 input.")
    return columns


def _count_bins(
    name: int | str, known: NDArray[Any], new: NDArray[Any], bins: int
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return how many values of a reference, and of what came in, are in each bin."""
    texts = [values.dtype.kind not in "biuf" for values in (known, new)]
    if texts[0] != texts[1]:
        raise InvalidInput(f"Input {name!r} is text in one of the two, and numbers in the other.")
    if texts[0]:
        known, new = known.astype(str), new.astype(str)
        edges: NDArray[Any] = np.unique(known)
        other = len(edges)
        found = [np.searchsorted(edges, values) for values in (known, new)]
        found[1][edges[found[1] % other] != new] = other
    else:
        known, new = known.astype(np.float64), new.astype(np.float64)
        finite = np.isfinite(known)
        if not finite.any():
            raise InvalidInput(f"Input {name!r} of the reference holds no number.")
        edges = _edges(known[finite], bins)
        other = len(edges) + 1
        found = [
            np.where(np.isfinite(values), np.searchsorted(edges, values, side="left"), other)
            for values in (known, new)
        ]
    return np.bincount(found[0], minlength=other + 1), np.bincount(found[1], minlength=other + 1)


def _edges(values: NDArray[np.float64], bins: int) -> NDArray[np.float64]:
    """Return the edges between bins: below the least value, the quantiles, the greatest value."""
    quantiles = np.quantile(values, np.linspace(0, 1, bins + 1)[1:])
    return np.unique([np.nextafter(values.min(), -np.inf), *quantiles])
