"""What each forecaster says will come, by itself."""

import numpy as np
import pytest
from sklearn.linear_model import LinearRegression

from workbench.forecasts import Oracle, Persistence, Ridge, SeasonalNaive


def test_persistence_moves_the_last_count_by_the_errors_it_made():
    counts = [15] * 10 + [23] + [15] * 9  # errors: +8 by sqrt(16), -8 by sqrt(24), 17 times 0

    shown = Persistence().fit(counts, 60.0).forecast(1, [0.04, 0.05, 0.5, 0.95])[0]

    assert shown.tolist() == pytest.approx([0.0, 15 - 4 * 8 / 24**0.5, 15.0, 15 + 8])


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

    model = ridge._model(1.0, 2)
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
