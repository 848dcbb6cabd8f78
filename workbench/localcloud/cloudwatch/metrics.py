"""What CloudWatch keeps of a local cloud: counts, sums, extremes and values of every metric.

Values are kept by minute (by second where asked for), rounded to nine significant bits, with how
often each came. So counts, sums and extremes are exact, whole numbers up to 512 too, and any
percentile is right within `RESOLUTION`.
"""

import json
import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from workbench.localcloud.core.store import Store
from workbench.quantiles import select_weighted_quantile

RESOLUTION = 1 / 512
"""How far a percentile may lie from the value that was put, as a share of it."""

MINUTE = 60
RETENTION_SECONDS = 15 * 86_400.0
"""Seconds that a metric's minutes are kept, which is what CloudWatch keeps them apart for."""

Dimensions = tuple[tuple[str, str], ...]
"""Names and values, by name."""

_SCHEMA = """
CREATE TABLE IF NOT EXISTS metrics (
    id INTEGER PRIMARY KEY, namespace TEXT NOT NULL, name TEXT NOT NULL, dimensions TEXT NOT NULL,
    unit TEXT NOT NULL, UNIQUE (namespace, name, dimensions)
) STRICT;
CREATE TABLE IF NOT EXISTS metric_points (
    metric INTEGER NOT NULL, at INTEGER NOT NULL, count REAL NOT NULL, sum REAL NOT NULL,
    least REAL NOT NULL, most REAL NOT NULL, counts TEXT NOT NULL, PRIMARY KEY (metric, at)
) STRICT, WITHOUT ROWID;
"""
_WHERE = "FROM metrics WHERE namespace = ? AND name = ? AND dimensions = ?"
_POINTS = "SELECT at, count, sum, least, most, counts FROM metric_points WHERE metric = "


@dataclass(slots=True)
class Summary:
    """What is known of the values of some time.

    Attributes:
        count: How many.
        sum, least, most: Of them; 0, inf and -inf where there are none.
        counts: How often each value came, rounded to nine significant bits.

    >>> summary = Summary()
    >>> for value in (3.0, 1.0, 2.0, 10.0):
    ...     summary.add(value)
    >>> summary.count, summary.sum, summary.quantile(0.5), summary.quantile(1.0)
    (4.0, 16.0, 2.0, 10.0)
    """

    count: float = 0.0
    sum: float = 0.0
    least: float = math.inf
    most: float = -math.inf
    counts: dict[float, float] = field(default_factory=dict)

    @property
    def average(self) -> float:
        """Their mean; NaN where there are none."""
        return self.sum / self.count if self.count else math.nan

    def add(self, value: float, count: float = 1.0) -> None:
        """Add a value that came so often."""
        self.count += count
        self.sum += value * count
        self.least = min(self.least, value)
        self.most = max(self.most, value)
        rounded = _round_value(value)
        self.counts[rounded] = self.counts.get(rounded, 0.0) + count

    def extend(self, values: Sequence[float]) -> None:
        """Add many values, which is cheaper than one by one; none at all is fine."""
        if not values:
            return
        self.count += len(values)
        self.sum += sum(values)
        self.least = min(self.least, *values)
        self.most = max(self.most, *values)
        for value, count in Counter(values).items():
            rounded = _round_value(value)
            self.counts[rounded] = self.counts.get(rounded, 0.0) + count

    def merge(self, other: "Summary") -> None:
        """Add all that another one knows."""
        self.count += other.count
        self.sum += other.sum
        self.least = min(self.least, other.least)
        self.most = max(self.most, other.most)
        for value, count in other.counts.items():
            self.counts[value] = self.counts.get(value, 0.0) + count

    def quantile(self, q: float) -> float | None:
        """Return the least value that a share `q` of all does not exceed, within `RESOLUTION`.

        None where there are no values, or some of them are known by their sum alone.
        """
        if not self.count or sum(self.counts.values()) < self.count:
            return None
        value = select_weighted_quantile(self.counts.items(), q)
        return min(max(value, self.least), self.most)  # which are not rounded


def _round_value(value: float) -> float:
    mantissa, exponent = math.frexp(value)
    return math.ldexp(round(mantissa * 512), exponent - 9)


class Series:
    """One metric with its dimensions: takes values; `Metrics` tells of them.

    `width` is the seconds of a bucket: 60, or 1 for a metric of high resolution.
    """

    __slots__ = ("fresh", "key", "unit", "width")

    def __init__(self, key: tuple[str, str, Dimensions], unit: str, width: int) -> None:
        self.key = key
        self.unit = unit
        self.width = width
        self.fresh: dict[int, Summary] = {}

    def put(self, value: float, *, at: float, count: float = 1.0) -> None:
        """Add a value of some instant, in seconds since 1970."""
        self.bucket(at).add(value, count)

    def bucket(self, at: float) -> Summary:
        """Return what takes the values of an instant."""
        start = int(at) // self.width * self.width
        found = self.fresh.get(start)
        if found is None:
            found = self.fresh[start] = Summary()
        return found


@dataclass(frozen=True, slots=True)
class Metric:
    """A metric that there are values of; `last` is when the newest was put."""

    namespace: str
    name: str
    dimensions: Dimensions
    unit: str
    last: float


class Metrics:
    """Every metric of a local cloud.

    What was put is in memory until `flush` writes it to the store; who reads finds both. A cloud
    that is killed loses what was put since the last flush; one that ends flushes.

    Attributes:
        late: Called before metrics are read or written; whoever gathers values before putting them
            puts them then.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._series: dict[tuple[str, str, Dimensions], Series] = {}
        self.late: Callable[[], None] = lambda: None
        store.db.executescript(_SCHEMA)

    def put(
        self,
        namespace: str,
        name: str,
        value: float,
        *,
        at: float,
        unit: str,
        dimensions: Mapping[str, str],
        count: float = 1,
    ) -> None:
        """Add a value that came `count` times at an instant, in seconds since 1970."""
        self.series(namespace, name, dimensions, unit=unit).put(value, at=at, count=count)

    def series(
        self,
        namespace: str,
        name: str,
        dimensions: Mapping[str, str],
        *,
        unit: str,
        width: int = MINUTE,
    ) -> Series:
        """Return what takes values of one metric; who puts many keeps it."""
        key = (namespace, name, sort_dimensions(dimensions))
        found = self._series.get(key)
        if found is None:
            found = self._series[key] = Series(key, unit, width)
        return found

    def statistics(
        self,
        namespace: str,
        name: str,
        dimensions: Mapping[str, str],
        *,
        start: float,
        end: float,
    ) -> Summary:
        """Return what is known of the values of the minutes that begin in [start, end)."""
        whole = Summary()
        for _, summary in self.points(namespace, name, dimensions, start=start, end=end):
            whole.merge(summary)
        return whole

    def points(
        self,
        namespace: str,
        name: str,
        dimensions: Mapping[str, str],
        *,
        start: float,
        end: float,
    ) -> list[tuple[int, Summary]]:
        """Return the minutes (seconds) that begin in [start, end) and have values, by time."""
        self.late()
        key = (namespace, name, sort_dimensions(dimensions))
        found = dict(self._read_points(key, start, end))
        series = self._series.get(key)
        for at, summary in series.fresh.items() if series else ():
            if start <= at < end:
                found.setdefault(at, Summary()).merge(summary)
        return sorted(found.items())

    def unit(self, namespace: str, name: str, dimensions: Mapping[str, str]) -> str:
        """Return the unit of a metric, "None" for one that is not known."""
        key = (namespace, name, sort_dimensions(dimensions))
        if key in self._series:
            return self._series[key].unit
        row = self._store.db.execute(f"SELECT unit {_WHERE}", _encode_key(key)).fetchone()
        return str(row[0]) if row else "None"

    def all(self) -> list[Metric]:
        """Return every metric that has values, by namespace, name and dimensions."""
        self.late()
        query = (
            "SELECT namespace, name, dimensions, unit, MAX(at) FROM metrics "
            "JOIN metric_points ON metric = id GROUP BY id"
        )
        found = {}
        for namespace, name, text, unit, last in self._store.db.execute(query):
            key = (namespace, name, tuple((each, value) for each, value in json.loads(text)))
            found[key] = Metric(*key, unit, last)
        for key, series in self._series.items():
            if series.fresh:
                last = max(*series.fresh, found[key].last if key in found else 0)
                found[key] = Metric(*key, series.unit, last)
        return [found[key] for key in sorted(found)]

    def flush(self, *, now: float) -> None:
        """Write down what is in memory alone, and forget what is too old."""
        self.late()
        fresh = [series for series in self._series.values() if series.fresh]
        with self._store.write() as db:
            for series in fresh:
                self._write(series)
            db.execute("DELETE FROM metric_points WHERE at < ?", (int(now - RETENTION_SECONDS),))
        for series in fresh:
            series.fresh.clear()

    def _write(self, series: Series) -> None:
        db = self._store.db
        db.execute(
            "INSERT INTO metrics (namespace, name, dimensions, unit) VALUES (?, ?, ?, ?) "
            "ON CONFLICT DO UPDATE SET unit = excluded.unit",
            (*_encode_key(series.key), series.unit),
        )
        (number,) = db.execute(f"SELECT id {_WHERE}", _encode_key(series.key)).fetchone()
        for at, summary in series.fresh.items():
            whole = Summary()
            for _, *row in db.execute(f"{_POINTS} ? AND at = ?", (number, at)):
                whole = _decode_summary(*row)
            whole.merge(summary)
            db.execute(
                "INSERT OR REPLACE INTO metric_points VALUES (?, ?, ?, ?, ?, ?, ?)",
                (
                    number,
                    at,
                    whole.count,
                    whole.sum,
                    whole.least,
                    whole.most,
                    _encode_counts(whole),
                ),
            )

    def _read_points(
        self, key: tuple[str, str, Dimensions], start: float, end: float
    ) -> Iterator[tuple[int, Summary]]:
        query = f"{_POINTS} (SELECT id {_WHERE}) AND at >= ? AND at < ?"
        for at, *row in self._store.db.execute(query, (*_encode_key(key), start, end)):
            yield at, _decode_summary(*row)


def sort_dimensions(dimensions: Mapping[str, str]) -> Dimensions:
    """Return dimensions as they are compared: by name."""
    return tuple(sorted(dimensions.items()))


def _encode_key(key: tuple[str, str, Dimensions]) -> tuple[str, str, str]:
    namespace, name, dimensions = key
    return namespace, name, json.dumps(dimensions)


def _encode_counts(summary: Summary) -> str:
    return json.dumps([list(summary.counts), list(summary.counts.values())])


def _decode_summary(count: float, total: float, least: float, most: float, text: str) -> Summary:
    values, counts = json.loads(text)
    return Summary(count, total, least, most, dict(zip(values, counts, strict=True)))
