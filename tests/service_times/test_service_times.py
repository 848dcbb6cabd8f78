"""Service times: what they say of each size, what they refuse, and how a profile becomes them."""

import json

import numpy as np
import polars as pl
import pytest

from tests.refused import refused
from workbench.errors import InvalidInput
from workbench.measuring.profile import QUANTILE_LEVELS, Profile
from workbench.service_times import ServiceTimes


def profile_of(times, idle, *, sizes=(1, 2, 4)):
    """A profile as measured: the same sample of seconds for each size, times its size."""
    rows = [
        {
            "batch_size": size,
            "threads": 1,
            "state": state,
            "repeats": len(sample),
            "median": size * np.median(sample),
            "low": 0.0,
            "high": 0.0,
            "mean": size * np.mean(sample),
            "quantiles": (size * np.quantile(sample, QUANTILE_LEVELS)).tolist(),
        }
        for state, sample in (("back to back", times), ("after idle", idle))
        for size in sizes
    ]
    return Profile(pl.DataFrame(rows))


def test_a_law_of_quantiles_has_the_mean_of_straight_lines_between_them():
    times = ServiceTimes({1: [1.0, 2.0, 5.0], 3: [2.0, 2.0, 2.0]})

    assert times.sampled
    assert times.sizes == [1, 3]
    assert times.largest == 3
    assert times.means.tolist() == pytest.approx([np.nan, 2.5, np.nan, 2.0], nan_ok=True)
    assert repr(times) == "<ServiceTimes of 1, 3 rows, drawn from 3 quantiles>"


def test_without_times_after_idle_they_are_the_same():
    times = ServiceTimes({1: 0.5})

    np.testing.assert_array_equal(times.idle_table, times.table)
    assert times.idle_means[1] == 0.5


def test_constants_and_laws_go_together():
    times = ServiceTimes({1: 0.5}, after_idle={1: [0.5, 0.6, 0.9]})

    assert times.table.shape == times.idle_table.shape == (2, 3)
    assert times.means[1] == 0.5


def test_arrays_cannot_be_changed():
    with pytest.raises(ValueError, match="read-only"):
        ServiceTimes({1: 0.5}).table[1] = 1.0


def test_its_dictionary_is_json():
    times = ServiceTimes.affine(0.5, 0.25, largest=2)

    assert json.loads(json.dumps(times.to_dict())) == {
        "label": "0.5 s + 0.25 s a row",
        "sizes": [1, 2],
        "mean": [0.75, 1.0],
        "mean_after_idle": [0.75, 1.0],
        "levels": 1,
    }


def test_sizes_covered_pass_and_others_are_named():
    times = ServiceTimes({1: 0.5, 4: 0.6})

    times.check(np.array([1, 4, 1]))
    with refused(InvalidInput, "1, 4", "2, 5, 6"):
        times.check(np.array([1, 2, 5, 6, 7, 9, 10, 11, 12]))


@pytest.mark.parametrize(
    ("seconds", "after_idle", "named"),
    [
        ({}, None, ["seconds"]),
        ("fast", None, ["seconds", "fast"]),
        ({1: 1.0}, 2.0, ["after_idle", 2.0]),
        ({0: 1.0}, None, ["batch size", 100000, 0]),
        ({10**400: 1.0}, None, ["batch size", 100000, 10**400]),
        ({1.5: 1.0}, None, ["batch size", 1.5]),
        ({1: 0.0}, None, ["1 rows", 0.0]),
        ({1: np.nan}, None, ["1 rows", "nan"]),
        ({1: "long"}, None, ["1 rows", "long"]),
        ({1: "5"}, None, ["1 rows", "'5'"]),
        ({1: True}, None, ["1 rows", True]),
        ({1: 10**400}, None, ["1 rows", 10**400]),
        ({1: []}, None, ["1 rows", "[]"]),
        ({1: [2.0, 1.0]}, None, ["[2.0, 1.0]", "1 rows"]),
        ({1: [1.0, 2.0], 2: [1.0]}, None, ["seconds", "{1, 2}"]),
        ({1: 1.0}, {2: 1.0}, ["after_idle", "[1]", "[2]"]),
        ({1: [1.0, 2.0]}, {1: [1.0, 2.0, 3.0]}, ["after_idle", 2, 3]),
    ],
    ids=str,
)
def test_what_are_no_service_times_is_refused(seconds, after_idle, named):
    with refused(InvalidInput, *named):
        ServiceTimes(seconds, after_idle=after_idle)


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"base": "1"}, ["base", "'1'"]),
        ({"each": None}, ["each", None]),
        ({"base": 0, "each": 0}, ["1 rows", 0.0]),
        ({"largest": 2.0}, ["largest", 100000, 2.0]),
        ({"largest": 10**9}, ["largest", 100000, 10**9]),
    ],
)
def test_what_is_no_straight_line_is_refused(wrong, named):
    with refused(InvalidInput, *named):
        ServiceTimes.affine(**{"base": 0.1, "each": 0.1, "largest": 3} | wrong)


def test_what_is_no_profile_is_refused():
    with refused(InvalidInput, "profile", "fast"):
        ServiceTimes.from_profile("fast")


def test_a_profile_gives_laws_with_the_measured_mean():
    dice = np.random.default_rng(1)
    sample, idle = dice.gamma(9, 0.001, 4000), dice.gamma(9, 0.002, 4000)
    sample[0] = 1.0  # one hiccup, which the last quantile would spread over 5 % of all draws
    times = ServiceTimes.from_profile(profile_of(sample, idle))

    assert times.sampled
    assert times.sizes == [1, 2, 3, 4]
    assert times.means[1] == pytest.approx(sample.mean(), rel=1e-3)
    assert times.means[3] == pytest.approx(3 * sample.mean(), rel=1e-3)
    assert times.idle_means[4] == pytest.approx(4 * idle.mean(), rel=1e-3)
    assert (np.diff(times.table[1:]) >= 0).all()


def test_a_profile_gives_its_means_where_nothing_is_to_be_drawn():
    times = ServiceTimes.from_profile(profile_of([0.1, 0.3], [0.5]), sampled=False)

    assert times.means[1:].tolist() == pytest.approx([0.2, 0.4, 0.6, 0.8])
    assert times.idle_means[2] == 1.0


def test_threads_that_were_not_profiled_are_refused():
    with refused(InvalidInput, "2 threads"):
        ServiceTimes.from_profile(profile_of([0.1], [0.2]), threads=2)


def test_what_is_derived_is_what_the_same_dictionary_gives():
    times = ServiceTimes({1: [1.0, 2.0], 3: [2.0, 4.0]}, after_idle={1: [2.0, 3.0], 3: [3.0, 5.0]})
    assert times.means[1] == 1.5  # kept, and not of what is derived

    twice = times.scale(2)

    assert twice.means.tolist() == pytest.approx([np.nan, 3.0, np.nan, 6.0], nan_ok=True)
    assert times.idle().means.tolist() == pytest.approx([np.nan, 2.5, np.nan, 4.0], nan_ok=True)
    assert times.up_to(2).sizes == [1]
    assert twice.digest == times.scale(2).digest != times.digest
    with pytest.raises(ValueError, match="read-only"):
        twice.table[1] = 1.0


def test_a_profile_of_more_rows_says_the_same_of_few():
    sample = np.linspace(0.001, 0.002, 50)
    small, large = (profile_of(sample, sample, sizes=each) for each in ((1, 2, 4), (1, 2, 4, 9000)))

    few = ServiceTimes.from_profile(large, largest=3)

    assert few.sizes == [1, 2, 3]
    assert few.digest == ServiceTimes.from_profile(small).up_to(3).digest


def test_a_table_of_many_sizes_stays_small_and_keeps_its_means():
    sample = np.linspace(0.001, 0.002, 50)
    profile = profile_of(sample, sample, sizes=(1, 2, 50_000))
    fine = profile.frame.with_columns(
        samples=pl.lit(sample.tolist()) * pl.col("batch_size"),
        tail=pl.lit(np.linspace(0.0019, 0.002, 101).tolist()) * pl.col("batch_size"),
        gaps=pl.lit(np.zeros(50).tolist()),
    )

    times = ServiceTimes.from_profile(Profile(fine))

    assert times.table.size < 5_000_000
    assert times.means[[1, 50_000]] == pytest.approx([0.0015, 75.0], rel=1e-3)
