"""Conformal bands: what they promise on exchangeable errors, and how they follow a change."""

import numpy as np
import pytest
from mapie.regression import SplitConformalRegressor
from sklearn.dummy import DummyRegressor

from tests.refused import refused
from workbench.errors import InvalidInput, TooFewSamples
from workbench.forecasts import Conformal
from workbench.forecasts.bands import errors_needed


def conformal(errors, window=None):
    known = Conformal(window or len(errors))
    for error in errors:
        known.add(error)
    return known


def test_a_quantile_is_the_error_of_its_rank_among_these_and_the_next():
    known = conformal([5.0, 1.0, 3.0, 4.0, 2.0, 6.0, 9.0, 7.0, 8.0])  # the next is the tenth

    assert [known.find(q) for q in (0.5, 0.55, 0.9)] == [5.0, 6.0, 9.0]
    assert [known.find(q) for q in (0.45, 0.19, 0.1, 0.09)] == [4.0, 1.0, 1.0, float("-inf")]


@pytest.mark.parametrize("count", [19, 50, 99])
@pytest.mark.no_cover
def test_coverage_of_exchangeable_errors_is_within_its_finite_sample_bound(count):
    rng, trials = np.random.default_rng(count), 4000
    levels = np.exp(rng.normal(size=trials))  # errors share a level: exchangeable, not independent
    covered = 0
    for level in levels:
        *errors, last = level * rng.standard_t(3, size=count + 1)
        known = conformal(errors)
        covered += known.find(0.05) < last <= known.find(0.95)

    error = 4 * (0.9 * 0.1 / trials) ** 0.5
    assert 0.9 - error <= covered / trials <= 0.9 + 2 / (count + 1) + error


def test_it_agrees_with_mapie():
    rng = np.random.default_rng(1)
    rows, counts = np.zeros((83, 1)), rng.gamma(2.0, size=83)
    median = DummyRegressor(strategy="constant", constant=2.0).fit(rows, counts)

    peer = SplitConformalRegressor(median, confidence_level=[0.6, 0.9, 0.95], prefit=True)
    _, bands = peer.conformalize(rows, counts).predict_interval([[0.0]])

    known = conformal(np.abs(counts - 2.0))
    ours = [2.0 + known.find(q) for q in (0.6, 0.9, 0.95)]
    assert ours == pytest.approx(bands[0, 1].tolist())


def test_only_the_last_errors_count():
    known = conformal([100.0, 1.0, 1.0, 100.0, 3.0, 2.0, 1.0], window=3)

    assert len(known) == 3
    assert (known.find(0.25), known.find(0.5), known.find(0.75)) == (1.0, 2.0, 3.0)


@pytest.mark.parametrize("quantile", [0.5, 0.6, 0.883, 0.95, 0.99, 0.999])
def test_too_few_errors_are_refused_and_the_error_says_how_many_it_takes(quantile):
    needed = errors_needed(quantile)

    assert conformal(range(needed)).find(quantile) <= needed
    with refused(TooFewSamples, f"{quantile:g}", needed, needed - 1):
        conformal(range(needed - 1), window=1000).find(quantile)


def test_nothing_but_finite_errors_and_inner_quantiles_are_taken():
    known = conformal([1.0])

    for call in (lambda: known.add(float("nan")), lambda: known.find(1.0), lambda: Conformal(0)):
        with pytest.raises(InvalidInput):
            call()
    assert len(known) == 1
