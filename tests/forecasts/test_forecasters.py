"""What all forecasters have in common: bands that hold, and counts that come in bit by bit."""

import copy
import dataclasses
import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.refused import refused
from workbench.errors import InvalidInput, TooFewSamples
from workbench.forecasts import (
    BoostedQuantiles,
    MArkNetwork,
    Oracle,
    Persistence,
    Ridge,
    SeasonalNaive,
    Smoothing,
    StatsForecast,
)

HOUR = 3600.0
EVERY = {
    "persistence": Persistence(),
    "seasonal naive": SeasonalNaive(season=HOUR),
    "ridge": Ridge(season=HOUR, lags=(1, 2, 5), refit=20),
    "smoothing": Smoothing(trend=True, season=HOUR, refit=100),
    "boosted quantiles": BoostedQuantiles(season=HOUR, lags=(1, 2, 5), trees=5, refit=400),
    "MArk's network": MArkNetwork(epochs=3, refit=200),
    "statsforecast": StatsForecast("AutoETS", refit=400),
}
EACH = pytest.mark.parametrize("forecaster", EVERY.values(), ids=EVERY)
QUANTILES = (0.05, 0.5, 0.95)


def waves(periods, *, seed=1, level=200.0):
    """Counts that rise and fall with the hour, and by chance."""
    rng = np.random.default_rng(seed)
    return rng.poisson(level * (1 + 0.5 * np.sin(2 * np.pi * np.arange(periods) / 60)))


def fresh(forecaster, **changes):
    return dataclasses.replace(forecaster, **changes)


def vars_of(forecaster):
    return {name: value for name, value in vars(forecaster).items() if name != "_state"}


@EACH
@pytest.mark.no_cover
def test_counts_one_by_one_give_the_same_as_all_at_once(forecaster):
    counts, patient = waves(300), fresh(forecaster, window=50)
    for known in range(120, 301, 3):
        shown = patient.fit(counts[:known], 60.0).forecast(3, QUANTILES if known > 150 else [0.5])

    at_once = fresh(forecaster, window=50).fit(counts, 60.0).forecast(3, QUANTILES)
    assert shown == pytest.approx(at_once)
    assert at_once.shape == (3, 3)


@EACH
def test_a_copy_learns_for_itself(forecaster):
    original = fresh(forecaster).fit(waves(200), 60.0)
    before = original.forecast(2, [0.5])

    copy.deepcopy(original).fit(waves(300, level=900.0), 60.0).forecast(2, [0.5])

    assert original.forecast(2, [0.5]).tolist() == before.tolist()


@EACH
def test_other_counts_or_periods_are_learned_from_the_start(forecaster):
    used, counts = fresh(forecaster).fit(waves(250, seed=2), 60.0), waves(250)
    used.forecast(2, [0.5])

    again = used.fit(counts, 60.0).forecast(5, QUANTILES)  # of more steps, too

    assert again.tolist() == fresh(forecaster).fit(counts, 60.0).forecast(5, QUANTILES).tolist()


@EACH
@pytest.mark.no_cover
def test_a_band_holds_as_often_as_it_says(forecaster):
    counts, asked = waves(1500, seed=3), fresh(forecaster)
    held = []
    for known in range(400, 1497, 4):  # errors 3 ahead overlap otherwise
        low, _, high = asked.fit(counts[:known], 60.0).forecast(3, QUANTILES)[2]
        held.append(low <= counts[known + 2] <= high)

    error = 4 * math.sqrt(0.9 * 0.1 / len(held))
    assert 0.9 - error <= np.mean(held) <= 0.9 + error + 2 / 340


@EACH
def test_after_a_change_of_level_bands_hold_again_within_a_window_and_a_season(forecaster):
    window, after = 100, 100 + 2 + 60  # what a season ago was is of the new level, too
    counts = np.concatenate((waves(500), waves(800, seed=4, level=2000.0)))
    asked, held = fresh(forecaster, window=window), []
    for known in range(480, 1298, 3):
        low, _, high = asked.fit(counts[:known], 60.0).forecast(2, QUANTILES)[1]
        held.append(low <= counts[known + 1] <= high)

    assert not all(held[7:12])
    settled = held[(20 + after) // 3 + 1 :]
    assert np.mean(settled) >= 0.9 - 4 * math.sqrt(0.9 * 0.1 / len(settled))


@EACH
@given(data=st.data())
@settings(max_examples=15, deadline=None)
def test_quantiles_neither_cross_nor_fall_below_zero(forecaster, data):
    counts = data.draw(st.lists(st.integers(0, 50), min_size=120, max_size=140))
    quantiles = sorted(data.draw(st.lists(st.floats(0.01, 0.9), min_size=2, max_size=5)))

    coming = fresh(forecaster).fit(counts, 60.0).forecast(4, quantiles)

    assert np.isfinite(coming).all()
    assert (coming >= 0).all()
    assert (np.diff(coming) >= 0).all()


@EACH
def test_of_zeros_come_zeros(forecaster):
    coming = fresh(forecaster).fit(np.zeros(200), 60.0).forecast(3, QUANTILES)

    assert coming == pytest.approx(np.zeros((3, 3)))


@EACH
def test_one_request_is_no_reason_to_expect_many(forecaster):
    counts = np.zeros(200)
    counts[150] = 1

    coming = fresh(forecaster).fit(counts, 60.0).forecast(3, QUANTILES)

    assert coming.max() < 0.1


@EACH
def test_settings_are_json_and_what_was_learned_is_no_part_of_the_value(forecaster):
    fitted = fresh(forecaster).fit(waves(200), 60.0)

    assert fitted == forecaster
    facts = json.loads(json.dumps(fitted.to_dict()))
    assert facts.pop("kind")
    assert facts.pop("window") == forecaster.window
    assert set(facts) == set(vars_of(forecaster)) - {"window"}


@pytest.mark.parametrize(
    ("forecaster", "needed"),
    [
        (Persistence(), 1),
        (SeasonalNaive(), 1440),
        (Ridge(), 1441),
        (Ridge(season=None), 61),
        (Smoothing(), 2),
        (Smoothing(season=HOUR), 61),
        (BoostedQuantiles(), 1441),
        (MArkNetwork(), 100),
        (StatsForecast("AutoETS"), 10),
        (StatsForecast("AutoETS", season=HOUR), 120),
    ],
    ids=str,
)
def test_too_few_counts_are_refused_and_the_error_says_how_many_it_takes(forecaster, needed):
    forecaster.fit(np.ones(needed), 60.0)

    with refused(TooFewSamples, type(forecaster).__name__, needed, needed - 1):
        forecaster.fit(np.ones(needed - 1), 60.0)


def test_a_quantile_that_the_errors_do_not_reach_is_refused():
    with refused(TooFewSamples, 0.95, 19, 9):
        Persistence().fit(waves(10), 60.0).forecast(1, [0.95])


@pytest.mark.parametrize(
    "counts",
    [[1, -1], [1.0, math.nan], [[1, 2]], 3, ["a"]],
    ids=["negative", "nan", "2d", "0d", "text"],
)
def test_what_is_no_count_is_refused_and_changes_nothing(counts):
    fitted = Persistence().fit([4] * 30, 60.0)

    with pytest.raises(InvalidInput):
        fitted.fit(counts, 60.0)
    assert fitted.forecast(1, [0.5]).tolist() == [[4.0]]


@pytest.mark.parametrize(
    "make",
    [
        lambda: Persistence(window=0),
        lambda: SeasonalNaive(season=0),
        lambda: SeasonalNaive(season=90.0).fit([1, 2, 3], 60.0),
        lambda: Ridge(lags=(0,)),
        lambda: Ridge(shrinkage=-1),
        lambda: Ridge(refit=0),
        lambda: Smoothing(damping=0),
        lambda: BoostedQuantiles(trees=0),
        lambda: MArkNetwork(units=0),
        lambda: StatsForecast(3),
        lambda: StatsForecast("AutoNothing").fit([1] * 30, 60.0).forecast(1, [0.5]),
        lambda: Persistence().forecast(1, [0.5]),
        lambda: Persistence().fit([1] * 30, 60.0).forecast(0, [0.5]),
        lambda: Persistence().fit([1] * 30, 60.0).forecast(1, [1.5]),
        lambda: Persistence().fit([1] * 30, 0.0),
        lambda: Oracle([-1]),
    ],
)
def test_settings_out_of_their_limits_are_refused(make):
    with pytest.raises(InvalidInput):
        make()
