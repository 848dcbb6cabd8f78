import math

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from tests.refused import refused
from workbench.errors import InvalidInput
from workbench.run import Run
from workbench.run.drift import (
    PageHinkley,
    PopulationStability,
    input_drift,
    latency_drift,
    stability,
)


def lasted(rng, slack, threshold):
    """Updates until a false alarm, with mean and deviation known nearly exactly."""
    detector = PageHinkley(settle=20_000, slack=slack, threshold=threshold, side="up")
    for x in rng.standard_normal(20_000):
        detector.update(x)
    while True:
        for x in rng.standard_normal(1000):
            if detector.update(x):
                return detector.at - 20_000 + 1


@pytest.mark.no_cover
def test_false_alarms_are_as_rare_as_theory_says():
    rng, k, threshold = np.random.default_rng(1), 0.5, 2.5
    times = [lasted(rng, k, threshold) for _ in range(150)]

    b = threshold + 1.166
    expected = (math.exp(2 * k * b) - 2 * k * b - 1) / (2 * k * k)
    error = np.std(times) / math.sqrt(len(times))
    assert abs(np.mean(times) - expected) < 4 * error + 0.05 * expected


@pytest.mark.parametrize(("side", "told"), [("up", True), ("down", False), ("both", True)])
def test_a_rise_is_told_where_it_was_asked_for(side, told):
    rng = np.random.default_rng(2)
    detector = PageHinkley(settle=200, side=side)
    values = np.concatenate([rng.standard_normal(600), 2 + rng.standard_normal(200)])

    assert [detector.update(x) for x in values][-1] is told
    if told:
        assert 600 <= detector.at < 640


def test_once_drifted_stays_so():
    detector = PageHinkley(settle=3)
    for x in (1, 1, 1, 5):
        detector.update(x)
    assert detector.at == 3
    assert detector.update(1)
    assert detector.at == 3


@given(st.floats(1e-6, 1e6), st.floats(-1e6, 1e6))
def test_what_is_told_does_not_depend_on_units(scale, shift):
    rng = np.random.default_rng(3)
    values = np.concatenate([rng.standard_normal(100), 3 + rng.standard_normal(50)])
    plain, other = PageHinkley(settle=100), PageHinkley(settle=100)
    for x in values:
        plain.update(x)
        other.update(scale * x + shift)
    assert plain.at is not None
    assert other.at is not None
    assert abs(plain.at - other.at) <= 1  # rounding may decide a tie


@pytest.mark.parametrize("x", [math.nan, math.inf])
def test_what_is_no_number_is_refused(x):
    with refused(InvalidInput, x):
        PageHinkley().update(x)
    with refused(InvalidInput, "finite numbers"):
        PopulationStability([1, 2]).update(x)


@pytest.mark.parametrize(
    ("make", "named"),
    [
        (lambda: PageHinkley(settle=1), ["settle", 1]),
        (lambda: PageHinkley(slack=0), ["slack", 0]),
        (lambda: PageHinkley(threshold=-1), ["threshold", -1]),
        (lambda: PageHinkley(side="left"), ["side", "left"]),
        (lambda: PopulationStability([1]), ["reference", 2, 1]),
        (lambda: PopulationStability([1, 2], bins=1), ["bins", 1]),
        (lambda: PopulationStability([1, 2], window=1), ["window", 1]),
        (lambda: input_drift([[1], [2]], [[1, 2], [2, 3]]), ["2 inputs", 1]),
        (lambda: input_drift([1, 2], [1, 2]), ["reference", 2, "(2,)"]),
        (lambda: latency_drift("run"), ["run", "'run'"]),
    ],
)
def test_settings_out_of_their_limits_are_refused(make, named):
    with refused(InvalidInput, *named):
        make()


def test_without_a_drift_the_index_is_what_chance_makes_it():
    rng = np.random.default_rng(4)
    reference, window = 5000, 1000
    found = []
    for _ in range(200):
        detector = PopulationStability(rng.standard_normal(reference), window=window)
        for x in rng.standard_normal(window):
            detector.update(x)
        found.append(detector.index)

    error = np.std(found) / math.sqrt(len(found))
    # Two outer bins that the reference does not have: half a value each, which weighs a little.
    assert abs(np.mean(found) - detector.chance) < 4 * error + 0.1 * detector.chance


def test_the_window_forgets():
    rng = np.random.default_rng(5)
    detector = PopulationStability(rng.standard_normal(2000), window=500, threshold=0.5)
    for x in rng.standard_normal(600):
        assert not detector.update(x)
    for x in 2 + rng.standard_normal(500):
        detector.update(x)
    high = detector.index
    for x in rng.standard_normal(500):
        detector.update(x)

    assert detector.at is not None
    assert high > 0.5 > detector.index


def test_there_is_no_index_before_the_window_is_full():
    detector = PopulationStability(range(100), window=10)
    for x in range(9):
        detector.update(x)
        assert math.isnan(detector.index)


@given(st.lists(st.integers(0, 50), min_size=2, max_size=8), st.data())
def test_the_index_is_symmetric_and_never_negative(counts, data):
    other = data.draw(st.lists(st.integers(0, 50), min_size=len(counts), max_size=len(counts)))
    assert stability(counts, other) >= 0
    assert stability(counts, counts) == 0
    assert stability(counts, other) == pytest.approx(stability(other, counts))


def test_inputs_that_drifted_come_first(digits):
    reference, rows = digits[:900], digits[900:].copy()
    rows[:, 20] += 6

    found = input_drift(reference, rows)

    assert found["input"][0] == 20
    assert found["drifted"][0]
    assert found.height == reference.shape[1]


def records(count, cities, *, seed):
    rng = np.random.default_rng(seed)
    made = np.empty(count, [("age", "f4"), ("city", "U5"), ("scores", "f4", 2)])
    made["age"], made["scores"] = rng.normal(size=count), rng.normal(size=(count, 2))
    made["city"] = rng.choice(cities, count)
    return made


def test_named_inputs_and_texts_drift_by_name():
    reference = records(2000, ["Bern", "Rome"], seed=1)
    rows = records(500, ["Bern", "Rome", "Oslo"], seed=2)
    rows["scores"][:, 1] += 3
    rows["age"][:200] = np.nan
    found = input_drift(reference, rows)

    assert sorted(found["input"]) == ["age", "city", "scores_0", "scores_1"]
    assert set(found.filter("drifted")["input"]) == {"age", "city", "scores_1"}
    assert not input_drift(reference, records(500, ["Bern", "Rome"], seed=3))["drifted"].any()


def test_frames_and_columns_drift_as_records_do():
    before = pl.DataFrame({"city": ["Bern", "Rome"] * 50, "age": range(100)})
    after = {"age": range(100), "city": ["Oslo"] * 100}

    found = input_drift(before, after)
    assert found["input"].to_list() == ["city", "age"]
    assert found["drifted"].to_list() == [True, False]
    more = after | {"id": ["x"] * 100}
    assert_frame_equal(input_drift(before, more), found)  # what the reference lacks is left out
    with refused(InvalidInput, "['city']"):
        input_drift(before, {"age": range(100), "town": ["Oslo"] * 100})
    with refused(InvalidInput, "age", "text"):
        input_drift(before, {"age": ["a"] * 100, "city": ["Oslo"] * 100})


def test_values_outside_of_the_reference_count_as_such():
    detector = PopulationStability([5.0] * 100, window=50)
    for _ in range(50):
        detector.update(4.0)
    assert detector.drifted


def test_an_empty_bin_is_no_drift_and_a_value_that_is_stuck_is_one():
    # to another library either is the other way round: findings/frouros-empty-bins.sh
    rng = np.random.default_rng(0)
    pairs = [rng.lognormal(-3, 0.5, (2, 500)) for _ in range(200)]
    alike = [input_drift({"latency": one}, {"latency": other}) for one, other in pairs]
    stuck = input_drift({"latency": pairs[0][0]}, {"latency": np.full(500, 0.05)})

    assert sum(found["drifted"][0] for found in alike) == 0
    assert stuck["drifted"][0]


def test_one_missing_value_does_not_hide_a_drift():
    # findings/alibi-detect-one-missing-value.sh
    before = np.random.default_rng(0).lognormal(size=500)
    after = before * 100
    after[7] = np.nan

    assert input_drift({"latency": before}, {"latency": after})["drifted"][0]
    with refused(InvalidInput, "finite numbers"):
        input_drift(before[:, np.newaxis], after[:, np.newaxis])


@pytest.fixture(scope="module")
def digits():
    from sklearn.datasets import load_digits

    rows = load_digits().data
    return rows[np.random.default_rng(6).permutation(len(rows))]


def run_of(latencies, every=0.1):
    scheduled = np.arange(len(latencies)) * every
    return Run.from_arrays(scheduled=scheduled, finished=scheduled + latencies)


def test_latencies_that_rise_are_told_with_the_time():
    rng = np.random.default_rng(7)
    steady = rng.lognormal(-3, 0.5, 1200)
    slower = rng.lognormal(-2, 0.5, 600)

    found = latency_drift(run_of(np.concatenate([steady, slower])))

    assert found.drifted
    assert 120 <= found.at < 140
    assert latency_drift(run_of(steady)).at is None


def test_failed_requests_are_left_out():
    latencies = np.full(1000, 0.1)
    latencies[::3] = np.nan
    assert not latency_drift(run_of(latencies)).drifted
