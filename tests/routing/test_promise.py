"""The threshold chosen for a cascade keeps its promise as often as it says, by exact tests."""

import math

import numpy as np
import pytest
from scipy.stats import binom, binomtest

from tests.refused import refused
from workbench.errors import InvalidInput, TooFewSamples
from workbench.routing.promise import choose_threshold

LOSS = 0.02


def draw(rows, seed, large=0.95):
    """Rows of two models: the small one is right as often as it is sure."""
    rng = np.random.default_rng(seed)
    sure = 1 - 0.5 * rng.random(rows) ** 2
    return rng.random(rows) < sure, sure, rng.random(rows) < large


def lose(threshold, large=0.95):
    """The mean loss at a threshold of what `draw` draws: E[(large - sure) 1(sure >= threshold)]."""
    reach = math.sqrt(min(max((1 - threshold) / 0.5, 0), 1))  # of the uniform number in `draw`
    return (large - 1) * reach + 0.5 * reach**3 / 3


def choose(rows, seed, **settings):
    return choose_threshold(*draw(rows, seed), loss=LOSS, seed=seed, **settings)


def test_the_loss_is_above_the_promise_no_more_often_than_promised():
    confidence, repeats = 0.9, 1000
    broken = naive = 0
    thresholds = np.linspace(0.5, 0.999, 50)
    for seed in range(repeats):
        chosen = choose(1200, seed, confidence=confidence, thresholds=thresholds)
        broken += lose(chosen.threshold) > LOSS
        small, sure, large = draw(600, seed)
        losses = (large * 1.0 - small) @ (sure[:, None] >= thresholds) / 600
        naive += lose(thresholds[np.argmax(losses <= LOSS)]) > LOSS

    assert binomtest(int(broken), repeats, 1 - confidence, "greater").pvalue > 0.001
    assert binomtest(int(naive), repeats, 1 - confidence, "greater").pvalue < 1e-9
    assert broken > 0  # the bound is no idle one


@pytest.mark.parametrize("threshold", [0.0, 0.3, 0.7])
def test_what_is_measured_is_what_the_other_rows_show(threshold):
    small, sure, large = draw(1000, 1)
    promise = choose_threshold(
        small, sure, large, loss=0.4, thresholds=[threshold], share=0.4, seed=3
    )

    rows = np.random.default_rng(3).permutation(1000)[400:]
    by_small = sure[rows] >= threshold
    right = np.where(by_small, small[rows], large[rows])
    assert (promise.chosen_on, promise.measured_on, promise.threshold) == (400, 600, threshold)
    assert promise.accuracy == right.mean()
    assert promise.escalated == (~by_small).mean()
    low, high = promise.accuracy_interval
    assert binom.sf(right.sum() - 1, 600, low) == pytest.approx(0.025)
    assert binom.cdf(right.sum(), 600, high) == pytest.approx(0.025)
    assert promise.small_accuracy == small[rows].mean()
    assert promise.large_accuracy == large[rows].mean()


def test_where_the_small_model_is_as_good_nothing_is_escalated():
    right, sure, _ = draw(2000, 1)

    promise = choose_threshold(right, sure, right)

    assert (promise.threshold, promise.escalated) == (0.0, 0.0)
    assert promise.cascade("a", "b").threshold == 0.0


def test_answers_without_a_confidence_are_escalated():
    right, sure, large = draw(2000, 1)
    unsure = np.where(np.arange(2000) % 2, sure, np.nan)

    promise = choose_threshold(right, unsure, large, loss=0.2, thresholds=[0.01])

    assert promise.escalated == pytest.approx(0.5, abs=0.06)


def test_rows_that_only_the_small_model_has_right_make_room_for_losses():
    sure = np.full(4000, 0.8)
    even = np.arange(4000) % 10
    won = choose_threshold(even != 0, sure, even != 1, loss=0.05, thresholds=[0.5])

    assert won.escalated == 0.0
    with pytest.raises(TooFewSamples):
        choose_threshold(even != 0, sure, np.ones(4000), loss=0.05, thresholds=[0.5])


def test_too_few_rows_say_how_many_it_takes():
    def choose_of(rows):
        right = np.ones(rows, bool)
        return choose_threshold(right, np.ones(rows), right, loss=0.01, confidence=0.95)

    least = math.ceil(math.log(0.05 - 0.005) / math.log(0.99))  # rows to choose on; half of all
    with refused(TooFewSamples, 50, 0.95, 0.01, f"{2 * least:,}"):
        choose_of(100)
    with pytest.raises(TooFewSamples):
        choose_of(2 * least - 2)
    assert choose_of(2 * least).threshold == 0.0


def test_a_threshold_that_loses_more_than_promised_is_refused_for_any_number_of_rows():
    _, sure, large = draw(2000, 1)

    with refused(TooFewSamples, "1,000 rows", 0.95, 0.01):
        choose_threshold(np.zeros(2000), sure, large, thresholds=[0.2])


def test_the_threshold_is_that_of_mapie_where_nothing_is_won():
    """Where no row is won, the test is the exact binomial one at nine tenths of the error."""
    from mapie.risk_control import BinaryClassificationController, BinaryRisk

    small, sure, large = draw(4000, 5)
    large |= small
    thresholds = np.unique((1 - np.geomspace(1e-6, 1, 241)).round(6))[::-1]
    ours = choose_threshold(small, sure, large, loss=LOSS, confidence=0.9, seed=2)
    rows = np.random.default_rng(2).permutation(4000)[:2000]

    def everywhere(truth, served):
        return np.ones_like(served, bool)

    lost = BinaryRisk(lambda truth, served: served * truth, everywhere, False)
    kept = BinaryRisk(lambda truth, served: served + 0 * truth, everywhere, True)
    theirs = BinaryClassificationController(
        lambda x: np.stack([1 - x, x], axis=1),
        lost,
        LOSS,
        confidence_level=1 - 0.9 * (1 - 0.9),
        best_predict_param_choice=kept,
        list_predict_params=thresholds,
        fwer_method="fixed_sequence",
    ).calibrate(sure[rows], (large & ~small)[rows].astype(int))

    assert 0 < ours.threshold < 1
    assert ours.threshold == theirs.best_predict_param


@pytest.mark.parametrize(
    ("arrays", "settings"),
    [
        (([1, 0], [0.5], [1, 0]), {}),
        (([1, 0.5], [0.5, 0.5], [1, 0]), {}),
        (([1, 0], [0.5, 1.5], [1, 0]), {}),
        (([1, 0], ["a", "b"], [1, 0]), {}),
        (([1, 0], [0.5, 0.5], [1, np.nan]), {}),
        (([1], [0.5], [1]), {}),
        (([1, 0], [0.5, 0.5], [1, 0]), {"loss": 0}),
        (([1, 0], [0.5, 0.5], [1, 0]), {"confidence": 1}),
        (([1, 0], [0.5, 0.5], [1, 0]), {"thresholds": [1.0]}),
        (([1, 0], [0.5, 0.5], [1, 0]), {"thresholds": []}),
        (([1, 0], [0.5, 0.5], [1, 0]), {"share": 1}),
    ],
)
def test_what_cannot_be_is_refused(arrays, settings):
    with pytest.raises(InvalidInput):
        choose_threshold(*arrays, **settings)
