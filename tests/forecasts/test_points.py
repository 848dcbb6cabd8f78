"""What each forecaster says will come, by itself."""

import sys

import numpy as np
import pytest
from sklearn.linear_model import LinearRegression

from tests.refused import refused
from workbench.errors import NotAvailable, TooFewSamples
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
from workbench.forecasts.exponential import smooth


def test_persistence_moves_the_last_count_by_the_errors_it_made():
    counts = [15] * 10 + [23] + [15] * 9  # errors: +8 by sqrt(16), -8 by sqrt(24), 17 times 0

    shown = Persistence().fit(counts, 60.0).forecast(1, [0.04, 0.05, 0.5, 0.95])[0]

    assert shown.tolist() == pytest.approx([0.0, 15 - 4 * 8 / 24**0.5, 15.0, 15 + 8])


def test_errors_count_for_as_far_ahead_as_they_were_made():
    counts = 10_000 + np.arange(200)

    ahead = Persistence().fit(counts, 60.0).forecast(3, [0.5]).ravel()

    assert ahead == pytest.approx(counts[-1] + np.array([1, 2, 3]), abs=0.1)


def test_a_season_comes_again_however_far_ahead():
    counts = [10, 20, 30, 40] * 10 + [10]

    ahead = SeasonalNaive(season=4.0).fit(counts, 1.0).forecast(9, [0.5]).ravel()

    assert ahead.tolist() == [20, 30, 40, 10, 20, 30, 40, 10, 20]


def test_an_oracle_knows_what_comes_and_that_nothing_comes_after_it():
    known = Oracle(range(10)).fit(range(7), 60.0)

    assert known.forecast(5, [0.1, 0.9]).tolist() == [[7, 7], [8, 8], [9, 9], [0, 0], [0, 0]]
    assert known.to_dict() == {"kind": "oracle", "counts": list(range(10))}


def test_ridge_without_shrinkage_is_a_regression_on_changes():
    rng = np.random.default_rng(1)
    counts = 500 + np.cumsum(rng.normal(size=400)).round() + rng.normal(size=400).round()
    ridge = Ridge(season=20.0, lags=(1, 3), shrinkage=0.0, refit=1)

    model = ridge.make_model(1.0, 2)
    model.learn(counts)

    rows = np.array(
        [
            [
                *(counts[at] - counts[at - lag] for lag in (1, 3)),
                *(counts[at - 20 + ahead] - counts[at - 20] for ahead in (1, 5, 10)),
                counts[at] - counts[at - 20],
            ]
            for at in range(20, 400)
        ]
    )
    peer = LinearRegression(fit_intercept=False).fit(rows[:-2], counts[22:] - counts[20:-2])
    shown = model.points(counts, np.array([400])).values[0, 1]
    assert shown == pytest.approx(counts[-1] + peer.predict(rows[-1:])[0])


def test_ridge_becomes_persistence_where_there_is_nothing_to_learn():
    counts = np.full(100, 7)

    assert Ridge(season=None).fit(counts, 60.0).forecast(3, [0.5]).tolist() == [[7], [7], [7]]


def test_ridge_is_nearer_than_persistence_where_changes_go_on():
    counts = 1000 + 300 * np.sin(np.arange(2000) / 30)
    asked, naive = Ridge(season=None), Persistence()

    ahead = asked.fit(counts[:1900], 60.0).forecast(20, [0.5])[:, 0]
    last = naive.fit(counts[:1900], 60.0).forecast(20, [0.5])[:, 0]

    assert np.abs(ahead - counts[1900:1920]).max() < 0.1 * np.abs(last - counts[1900:1920]).max()


def test_smoothing_of_level_trend_and_season_worked_by_hand():
    counts, weights = np.array([10.0, 20.0, 14.0, 20.0]), np.array([0.5, 0.1, 0.2])

    errors, levels, trends, seasons = smooth(counts, 15.0, weights, 0.9, 2)

    # begun at 15 with a season of -5 and +5: the first two are met; then 14 is 4 above 15 - 5,
    # so that level 17, trend 0.4, season -4.2; and 20 is 2.36 below 17 + 0.36 + 5
    assert errors.tolist() == pytest.approx([0, 0, 4, -2.36])
    assert levels.tolist() == pytest.approx([15, 15, 17, 17 + 0.36 - 1.18])
    assert trends.tolist() == pytest.approx([0, 0, 0.4, 0.36 - 0.236])
    assert seasons.tolist() == pytest.approx([-5, 5, -5, 5, -4.2, 5 - 0.472])


def test_smoothing_finds_the_weight_that_a_series_was_made_with():
    rng, level, counts = np.random.default_rng(1), 1000.0, []
    for _ in range(5000):
        shock = rng.normal(scale=20)
        counts.append(level + shock)
        level += 0.3 * shock
    model = Smoothing().make_model(60.0, 1)

    model.learn(np.array(counts))

    assert model._weights[0] == pytest.approx(0.3, abs=4 * 0.02)


def test_smoothing_carries_trend_and_season_on():
    counts = [100 + 10 * at + (50 if at % 4 == 1 else 0) for at in range(200)]

    ahead = Smoothing(trend=True, damping=1.0, season=4.0).fit(counts, 1.0).forecast(6, [0.5])

    assert ahead.ravel() == pytest.approx([2100, 2160, 2120, 2130, 2140, 2200], abs=5)


def test_trees_find_what_a_line_cannot():
    rng = np.random.default_rng(1)
    # a count above 100 is followed by a fall, any other one by a jump of chance
    counts = [50.0]
    for _ in range(1499):
        counts.append(20.0 if counts[-1] > 100 else counts[-1] + rng.integers(5, 40))
    held, trees = counts[1400:1499], BoostedQuantiles(season=None, lags=(1, 2), refit=700)

    errors = [
        abs(each.fit(counts[: 1400 + at], 60.0).forecast(1, [0.5])[0, 0] - count)
        for each in (trees, Ridge(season=None, lags=(1, 2)))
        for at, count in enumerate(held)
    ]

    assert np.mean(errors[:99]) < 0.5 * np.mean(errors[99:])


def test_the_network_learns_that_changes_alternate():
    counts = np.tile([100.0, 140.0], 500)
    network = MArkNetwork().make_model(60.0, 4)

    network.learn(counts)

    ahead = network.points(counts, np.array([1000])).values[0]
    assert ahead == pytest.approx([100, 140, 100, 140], abs=4)


def test_a_model_of_statsforecast_says_what_it_says_by_itself():
    from statsforecast.models import AutoETS

    counts = 200 + np.cumsum(np.random.default_rng(1).normal(size=300)).round()
    peer = AutoETS(season_length=1).fit(y=counts[:299]).forward(y=counts, h=3)["mean"]

    for model in ("AutoETS", AutoETS(season_length=1)):
        ours = StatsForecast(model).make_model(60.0, 3)
        ours.learn(counts[:299])
        assert ours.points(counts, np.array([300])).values[0] == pytest.approx(peer)


def test_a_model_that_cannot_be_carried_on_is_fitted_at_every_period():
    counts = [10, 20, 30, 40] * 20

    ahead = StatsForecast("SeasonalNaive", season=4.0).fit(counts, 1.0).forecast(5, [0.5])

    assert ahead.ravel() == pytest.approx([10, 20, 30, 40, 10])


def test_a_model_with_a_season_of_its_own_waits_for_two_of_them():
    from statsforecast.models import SeasonalNaive

    day = StatsForecast(SeasonalNaive(season_length=24))

    with refused(TooFewSamples, "StatsForecast", 48, 47):
        day.fit(range(47), 3600.0)


def test_without_the_package_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "statsforecast", None)

    with refused(NotAvailable, "inference-workbench[forecast]"):
        StatsForecast("AutoETS")
