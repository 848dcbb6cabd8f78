"""What a model's time depends on besides the number of rows."""

import time

import numpy as np
import pytest

from workbench.registry.value_times import WORTH_TELLING, time_values


class Session:
    """A model whose every row takes a second, and more by its values, on a clock of its own."""

    def __init__(self, extra):
        self.now, self._extra = 0.0, extra

    def run(self, batch):
        self.now += sum(0.001 * (1 + self._extra(row)) for row in batch)
        return batch

    def clock(self):
        return self.now


def find(extra, rows, **settings):
    session = Session(extra)
    return time_values(session, rows, clock=session.clock, **settings)


def has_tiny(row):
    return 40.0 * bool(((row != 0) & (np.abs(row) < 1e-38)).any())


ROWS = np.random.default_rng(1).uniform(1, 2, (200, 4)).astype(np.float32)


def test_rows_of_tiny_numbers_are_compared_with_ordinary_ones():
    found = find(has_tiny, ROWS)

    assert found.tiny_ratio == pytest.approx(41.0)
    assert (found.slow, found.pool_note) == (0, "")
    assert "41 times" in str(found)


def test_slow_rows_of_the_pool_are_counted_and_their_tiny_numbers_blamed():
    rows = ROWS.copy()
    rows[::50, 2] = 1e-40
    found = find(has_tiny, rows, seconds=100.0)

    assert (found.rows, found.slow, found.by_tiny) == (200, 4, True)
    assert found.slowest / found.ordinary == pytest.approx(41.0)
    assert "4 of 200 rows" in found.pool_note


def test_a_pool_of_nothing_but_tiny_numbers_is_slow_too():
    found = find(has_tiny, ROWS * np.float32(1e-40), seconds=100.0)

    assert found.slow == found.rows


def test_rows_that_are_slow_for_other_values_are_told_apart():
    rows = ROWS.copy()
    rows[7] = 9.0
    found = find(lambda row: 5.0 * (row[0] == 9.0), rows, seconds=100.0)

    assert (found.slow, found.by_tiny) == (1, False)
    assert found.pool_note.endswith("by their values")


@pytest.mark.parametrize("kind", [np.float32, np.int64])
def test_a_model_that_takes_one_time_for_all_has_no_warning(kind):
    found = find(lambda _: 0.0, ROWS.astype(kind))

    assert (found.slow, found.pool_note) == (0, "")
    assert not found.tiny_ratio >= WORTH_TELLING
    assert "alike" in str(found)


def test_long_calls_are_not_repeated():
    session = Session(lambda _: 1000.0)
    found = time_values(session, ROWS, clock=session.clock, seconds=0.5)

    assert found.rows == 1
    assert session.now < 12.0


def test_a_network_shows_what_the_processor_does_and_a_linear_model_of_few_columns_nothing(
    registry,
):
    network, few = registry["digits-mlp-large"], registry["breast-cancer-logistic"]
    ratio = time_values(network.session(), network.samples().inputs).tiny_ratio
    bare = cpu_seconds_of_product(1e-39) / cpu_seconds_of_product(1.0)

    assert ratio > WORTH_TELLING if bare > 10 * WORTH_TELLING else ratio < 10 * WORTH_TELLING
    assert not time_values(few.session(), few.samples().inputs).slow


def cpu_seconds_of_product(value):
    """Return what a matrix product of this value takes: processors differ in tiny ones."""
    values, half = np.full((64, 64), value, np.float32), np.full((64, 64), 0.5, np.float32)
    times = []
    for _ in range(9):
        before = time.process_time()
        for _ in range(20):
            values @ half
        times.append(time.process_time() - before)
    return min(times)


def test_columns_of_numbers_are_looked_at_and_texts_are_left():
    rows = np.zeros(8, [("a", "f4"), ("text", "U3"), ("b", "f8")])
    rows["a"], rows["text"], rows["b"] = 1.5, "abc", 2.5

    def is_tiny(row):
        assert row["text"] == "abc"
        return 40.0 * bool(0 < abs(row["a"]) < 1e-37 and 0 < abs(row["b"]) < 1e-300)

    found = find(is_tiny, rows, seconds=100.0)
    assert found.tiny_ratio == pytest.approx(41.0)
    assert found.rows == 8
