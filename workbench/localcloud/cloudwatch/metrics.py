"""What CloudWatch keeps of a local cloud: counts, sums, extremes and values of every metric.

Values are kept by minute (by second where asked for), rounded to nine significant bits, with how
often each came. So counts, sums and extremes are exact, whole numbers up to 512 too, and any
percentile is right within `RESOLUTION`. Values of one metric in different units are kept apart, and
nothing is converted (CloudWatch user guide, "Units").
"""

import json
import math
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from workbench.localcloud.core.store import Store
from workbench.quantiles import select_weighted_quantile

RESOLUTION = 1 / 512
"""How far a percentile may lie from the value that was put, as a share of it."""

MINUTE = 60
"""Seconds, whole as the beginnings of minutes are kept."""

RETENTION_SECONDS = 15 * 86_400.0
"""Seconds that a metric's minutes are kept, which is what CloudWatch keeps them apart for."""

Dimensions = tuple[tuple[str, str], ...]
"""Names and values, by name."""

Key = tuple[str, str, Dimensions]
"""A metric: namespace, name, dimensions."""

_SCHEMA = """
CREATE TABLE IF NOT EXISTS metrics (
    id INTEGER PRIMARY KEY, namespace TEXT NOT NULL, name TEXT NOT NULL, dimensions TEXT NOT NULL,
    unit TEXT NOT NULL, UNIQUE (namespace, name, dimensions, unit)
) STRICT;
CREATE TABLE IF NOT EXISTS metric_points (
    metric INTEGER NOT NULL, at INTEGER NOT NULL, count REAL NOT NULL, sum REAL NOT NULL,
    least REAL NOT NULL, most REAL NOT NULL, counts TEXT NOT NULL, PRIMARY KEY (metric, at)
) STRICT, WITHOUT ROWID;
"""
_OF_ONE_UNIT = "UNIQUE (namespace, name, dimensions)"  # so it was before units were kept apart
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

    def extend(self, values: Iterable[float]) -> None:
        """Add many values, equal ones at once."""
        for value, count in Counter(values).items():
            self.add(value, count)

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
    # to 9 bits: off by 0.2 % at most, so that there are few values to count
    mantissa, exponent = math.frexp(value)
    return math.ldexp(round(mantissa * 512), exponent - 9)


@dataclass(slots=True)
class Series:
    """One metric with its dimensions in one unit: takes values; `Metrics` tells of them.

    `width` is the seconds of a bucket: 60, or 1 for a metric of high resolution.
    """

    key: Key
    unit: str
    width: int
    fresh: dict[int, Summary] = field(default_factory=dict)

    def put(self, value: float, *, at: float) -> None:
        """Add a value of some instant, in seconds since 1970."""
        self.bucket(at).add(value)

    def bucket(self, at: float) -> Summary:
        """Return what takes the values of an instant."""
        start = int(at) // self.width * self.width
        found = self.fresh.get(start)
        if found is None:
            found = self.fresh[start] = Summary()
        return found


@dataclass(frozen=True, slots=True)
class Metric:
    """A metric in a unit that there are values of; `last` is when the newest was put."""

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
        self._series: dict[Key, dict[str, Series]] = {}  # by metric and unit
        self.late: Callable[[], None] = lambda: None
        store.db.executescript(_SCHEMA)
        _keep_units_apart(store)

    def put(self, key: Key, value: float, *, at: float, unit: str) -> None:
        """Add a value of an instant, in seconds since 1970."""
        self.series(key, unit=unit).put(value, at=at)

    def series(self, key: Key, *, unit: str, width: int = MINUTE) -> Series:
        """Return what takes values of one metric in a unit; who puts many keeps it."""
        units = self._series.setdefault(key, {})
        if unit not in units:
            units[unit] = Series(key, unit, width)
        return units[unit]

    def statistics(self, key: Key, *, start: float, end: float, unit: str = "") -> Summary:
        """Return what is known of the values of the minutes that begin in [start, end).

        In the unit that is asked for; else, of a metric that came in several, in the newest's.
        """
        found = self.points(key, start=start, end=end)
        chosen = unit or choose_unit({each: dict(points) for each, points in found.items()})
        whole = Summary()
        for _, summary in found.get(chosen, ()):
            whole.merge(summary)
        return whole

    def points(self, key: Key, *, start: float, end: float) -> dict[str, list[tuple[int, Summary]]]:
        """Return, by unit, the minutes that begin in [start, end) and have values, by time.

        Minutes are seconds since 1970; a unit without values is left out.
        """
        self.late()
        found: dict[str, dict[int, Summary]] = {}
        for unit, at, summary in self._read_points(key, start, end):
            found.setdefault(unit, {})[at] = summary
        for unit, series in self._series.get(key, {}).items():
            for at, summary in series.fresh.items():
                if start <= at < end:
                    found.setdefault(unit, {}).setdefault(at, Summary()).merge(summary)
        return {unit: sorted(found[unit].items()) for unit in sorted(found)}

    def all(self) -> list[Metric]:
        """Return every metric that has values, by namespace, name, dimensions and unit."""
        self.late()
        query = (
            "SELECT namespace, name, dimensions, unit, MAX(at) FROM metrics "
            "JOIN metric_points ON metric = id GROUP BY id"
        )
        last: dict[tuple[str, str, Dimensions, str], float] = {}
        for namespace, name, text, unit, at in self._store.db.execute(query):
            dimensions = tuple((each, value) for each, value in json.loads(text))
            last[namespace, name, dimensions, unit] = at
        for series in self._all_series():
            if series.fresh:
                key = (*series.key, series.unit)
                last[key] = max(*series.fresh, last.get(key, 0))
        return [Metric(*key, last[key]) for key in sorted(last)]

    def _all_series(self) -> list[Series]:
        return [series for units in self._series.values() for series in units.values()]

    def flush(self, *, now: float) -> None:
        """Write down what is in memory alone, and forget what is too old."""
        self.late()
        fresh = [series for series in self._all_series() if series.fresh]
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
            "ON CONFLICT DO NOTHING",
            key := (*_encode_key(series.key), series.unit),
        )
        (number,) = db.execute(f"SELECT id {_WHERE} AND unit = ?", key).fetchone()
        for at, summary in series.fresh.items():
            whole = Summary()
            for _, *row in db.execute(f"{_POINTS} ? AND at = ?", (number, at)):
                whole = _decode_summary(*row)
            whole.merge(summary)
            known = (whole.count, whole.sum, whole.least, whole.most)
            counts = json.dumps([list(whole.counts), list(whole.counts.values())])
            db.execute(
                "INSERT OR REPLACE INTO metric_points VALUES (?, ?, ?, ?, ?, ?, ?)",
                (number, at, *known, counts),
            )

    def _read_points(
        self, key: Key, start: float, end: float
    ) -> Iterator[tuple[str, int, Summary]]:
        units = f"SELECT id, unit {_WHERE}"
        for number, unit in self._store.db.execute(units, _encode_key(key)).fetchall():
            query = f"{_POINTS} ? AND at >= ? AND at < ?"
            for at, *row in self._store.db.execute(query, (number, start, end)):
                yield unit, at, _decode_summary(*row)


def choose_unit(units: Mapping[str, Collection[int]]) -> str:
    """Return the unit whose newest minute is the newest, by name among equals; "" of none.

    So is read what one number is wanted of and came in several units, which AWS leaves open.

    >>> choose_unit({"Seconds": [60, 120], "Milliseconds": [60]})
    'Seconds'
    """
    return max(sorted(units), key=lambda unit: max(units[unit]), default="")


def _keep_units_apart(store: Store) -> None:
    """Let the table of a former version take a metric in several units."""
    query = "SELECT sql FROM sqlite_master WHERE name = 'metrics'"
    if _OF_ONE_UNIT not in store.db.execute(query).fetchone()[0]:
        return
    create = _SCHEMA.partition(";")[0].replace("IF NOT EXISTS metrics", "metrics_by_unit")
    with store.write() as db:
        db.execute(create)
        db.execute("INSERT INTO metrics_by_unit SELECT * FROM metrics")
        db.execute("DROP TABLE metrics")
        db.execute("ALTER TABLE metrics_by_unit RENAME TO metrics")


def metric_key(namespace: str, name: str, dimensions: Mapping[str, str]) -> Key:
    """Return what a metric is known by."""
    return namespace, name, tuple(sorted(dimensions.items()))


def _encode_key(key: Key) -> tuple[str, str, str]:
    namespace, name, dimensions = key
    return namespace, name, json.dumps(dimensions)


def _decode_summary(count: float, total: float, least: float, most: float, text: str) -> Summary:
    values, counts = json.loads(text)
    return Summary(count, total, least, most, dict(zip(values, counts, strict=True)))
