"""What a local cloud keeps of its metrics."""

from contextlib import closing

import numpy as np
import pytest

from workbench.localcloud.cloudwatch.metrics import (
    RESOLUTION,
    RETENTION_SECONDS,
    Metric,
    Metrics,
    Summary,
    metric_key,
)
from workbench.localcloud.core.store import Store

SPACE, NAME = "AWS/SageMaker", "ModelLatency"
ONE = {"VariantName": "one", "EndpointName": "digits"}
TIME = metric_key("Mine", "Time", {})
NOON = 1_800_000_000.0  # a whole minute


@pytest.fixture(name="store")
def _store(tmp_path):
    with closing(Store(tmp_path)) as store:
        yield store


def put(metrics, value, *, at=NOON, dimensions=ONE, name=NAME):
    metrics.put(metric_key(SPACE, name, dimensions), value, at=at, unit="Microseconds")


def told(metrics, start=NOON, end=NOON + 60):
    return metrics.statistics(metric_key(SPACE, NAME, ONE), start=start, end=end)


def test_counts_sums_and_extremes_are_exact(store):
    metrics = Metrics(store)
    for value in range(1000):
        put(metrics, value + 0.1)
    found = told(metrics)
    assert found.count == 1000
    assert found.sum == pytest.approx(sum(value + 0.1 for value in range(1000)), rel=1e-12)
    assert (found.least, found.most) == (0.1, 999.1)


@pytest.mark.parametrize("q", [0.0, 0.01, 0.5, 0.9, 0.99, 0.999, 1.0])
def test_percentiles_are_right_within_the_resolution(q):
    values = np.random.default_rng(1).lognormal(6, 2, 5001)
    summary = Summary()
    for value in values.tolist():
        summary.add(value)
    exact = np.quantile(values, q, method="inverted_cdf")
    assert summary.quantile(q) == pytest.approx(exact, rel=RESOLUTION)


@pytest.mark.parametrize("value", [0.0, -3.0, 1.0, 511.0, 0.25])
def test_small_whole_numbers_are_exact(value):
    summary = Summary()
    summary.add(value, 7)
    summary.add(value)
    assert (summary.count, summary.quantile(0.5)) == (8, value)


def test_memory_does_not_grow_with_the_number_of_values():
    summary = Summary()
    for value in np.random.default_rng(1).uniform(100, 200, 20_000).tolist():
        summary.add(value)
    assert len(summary.counts) <= 2 * 256


def test_of_nothing_there_is_no_percentile(store):
    found = told(Metrics(store))
    assert (found.count, found.sum, found.quantile(0.5)) == (0, 0, None)
    assert np.isnan(found.average)


def test_minutes_are_told_apart(store):
    metrics = Metrics(store)
    for second in (0, 59.9, 60, 179.9):
        put(metrics, 1.0, at=NOON + second)
    points = metrics.points(metric_key(SPACE, NAME, ONE), start=NOON, end=NOON + 180)[
        "Microseconds"
    ]
    assert [(at, found.count) for at, found in points] == [
        (NOON, 2),
        (NOON + 60, 1),
        (NOON + 120, 1),
    ]
    assert told(metrics, NOON + 60, NOON + 120).count == 1


def test_dimensions_have_no_order_and_none_is_another_metric(store):
    metrics = Metrics(store)
    put(metrics, 1.0, dimensions=dict(reversed(ONE.items())))
    put(metrics, 1.0, dimensions={"EndpointName": "digits"})
    assert told(metrics).count == 1


def test_what_was_flushed_is_there_after_a_restart(store):
    metrics = Metrics(store)
    put(metrics, 5.0)
    metrics.flush(now=NOON)
    put(metrics, 7.0)
    assert told(metrics).sum == 12
    metrics.flush(now=NOON)
    put(metrics, 1.0)

    found = told(Metrics(store))
    assert (found.count, found.sum, found.least, found.most) == (2, 12, 5, 7)
    assert found.quantile(1.0) == 7
    assert [each.unit for each in Metrics(store).all()] == ["Microseconds"]


FORMER_TABLES = """
CREATE TABLE metrics (
    id INTEGER PRIMARY KEY, namespace TEXT NOT NULL, name TEXT NOT NULL, dimensions TEXT NOT NULL,
    unit TEXT NOT NULL, UNIQUE (namespace, name, dimensions)
) STRICT;
CREATE TABLE metric_points (
    metric INTEGER NOT NULL, at INTEGER NOT NULL, count REAL NOT NULL, sum REAL NOT NULL,
    least REAL NOT NULL, most REAL NOT NULL, counts TEXT NOT NULL, PRIMARY KEY (metric, at)
) STRICT, WITHOUT ROWID;
INSERT INTO metrics VALUES (7, 'Mine', 'Time', '[]', 'Seconds');
INSERT INTO metric_points VALUES (7, 1800000000, 1, 5, 5, 5, '[[5.0], [1.0]]');
"""


def test_units_stay_apart_after_a_restart_and_in_a_folder_of_the_former_version(store):
    store.db.executescript(FORMER_TABLES)
    metrics = Metrics(store)
    metrics.put(TIME, 50.0, at=NOON, unit="Milliseconds")
    metrics.put(TIME, 2.0, at=NOON, unit="Seconds")

    def sums(metrics):
        found = metrics.points(TIME, start=NOON, end=NOON + 60)
        return {unit: [each.sum for _, each in points] for unit, points in found.items()}

    assert sums(metrics) == {"Milliseconds": [50.0], "Seconds": [7.0]}
    metrics.flush(now=NOON)
    metrics.put(TIME, 1.0, at=NOON, unit="Seconds")
    metrics.flush(now=NOON)

    again = Metrics(store)
    assert sums(again) == {"Milliseconds": [50.0], "Seconds": [8.0]}
    assert [(each.name, each.unit) for each in again.all()] == [
        ("Time", "Milliseconds"),
        ("Time", "Seconds"),
    ]
    one = again.statistics(TIME, start=NOON, end=NOON + 60, unit="Seconds")
    assert (one.count, one.sum) == (3, 8.0)


def test_old_minutes_are_forgotten(store):
    metrics = Metrics(store)
    put(metrics, 5.0)
    metrics.flush(now=NOON + RETENTION_SECONDS)
    assert told(metrics).count == 1
    metrics.flush(now=NOON + RETENTION_SECONDS + 61)
    assert told(metrics).count == 0


def test_metrics_are_listed_with_their_newest_value(store):
    metrics = Metrics(store)
    put(metrics, 5.0)
    metrics.flush(now=NOON)
    put(metrics, 5.0, at=NOON + 60)
    put(metrics, 5.0, name="Another")
    named = tuple(sorted(ONE.items()))
    assert metrics.all() == [
        Metric(SPACE, "Another", named, "Microseconds", NOON),
        Metric(SPACE, NAME, named, "Microseconds", NOON + 60),
    ]


def test_many_values_at_once_are_the_same_as_one_by_one():
    values = np.random.default_rng(1).integers(1, 5000, 300).tolist()
    one_by_one, at_once = Summary(), Summary()
    for value in values:
        one_by_one.add(value)
    at_once.extend(values[:200])
    at_once.extend([])
    at_once.extend(values[200:])
    assert at_once == one_by_one
