"""Weighing: hand-worked tables, and what holds whatever the weights."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.errors import InvalidInput
from workbench.selection.weights import (
    Figures,
    Scale,
    Weights,
    find_best,
    find_front,
    normalise,
    rescale,
    score,
)

#            accuracy, seconds, dollars
LARGE, MIDDLE, SMALL = (0.95, 0.08, 4.0), (0.90, 0.04, 1.0), (0.70, 0.01, 0.5)
THREE = Figures(*np.array([LARGE, MIDDLE, SMALL]).T)
SCALE = Scale(target=0.1, cost=4.0)
ALL = np.ones(3, bool)


@pytest.mark.parametrize(
    ("weights", "scores"),
    [
        # merits: accuracy .95 .90 .70, latency .2 .6 .9, cost 0 .75 .875
        ((1.0, 0.0, 0.0), [0.95, 0.90, 0.70]),
        ((0.0, 1.0, 0.0), [0.2, 0.6, 0.9]),
        ((0.0, 0.0, 1.0), [0.0, 0.75, 0.875]),
        ((0.5, 0.25, 0.25), [0.525, 0.7875, 0.79375]),
        ((0.8, 0.0, 0.2), [0.76, 0.87, 0.735]),
    ],
)
def test_scores_are_those_worked_by_hand(weights, scores):
    assert score(THREE, weights, SCALE) == pytest.approx(scores)
    assert find_best(THREE, score(THREE, weights, SCALE), ALL) == int(np.argmax(scores))


def test_accuracy_counts_from_what_is_needed():
    scale = Scale(least=0.9, target=0.1, cost=4.0)

    assert score(THREE, (1.0, 0.0, 0.0), scale) == pytest.approx([0.5, 0.0, -2.0])


def test_the_scale_of_costs_is_the_budget_or_the_most_accurate():
    assert rescale(SCALE, THREE, ALL, budget=9.0).cost == 9.0
    assert rescale(SCALE, THREE, ALL, budget=None).cost == 4.0
    assert rescale(SCALE, THREE, np.array([False, True, True]), budget=None).cost == 1.0


WEIGHT = st.floats(0.01, 100)


def test_what_lacks_a_figure_is_on_no_front_and_beats_nobody():
    # to other libraries it beats what costs more: findings/paretoset-fronts-of-the-unmeasured.sh
    unmeasured = (0.99, np.nan, 0.1)
    for rows in itertools.permutations([LARGE, MIDDLE, SMALL, unmeasured]):
        front = find_front(Figures(*np.array(rows).T), np.ones(4, bool))

        assert front.tolist() == [row is not unmeasured for row in rows]


@given(st.lists(WEIGHT, min_size=3, max_size=3), st.floats(0.01, 100))
def test_scaling_all_weights_changes_nothing(weights, factor):
    names = ("accuracy", "latency", "cost")
    one = Weights.read(dict(zip(names, weights, strict=True))).shares
    other = Weights.read({n: factor * w for n, w in zip(names, weights, strict=True)}).shares

    assert one == pytest.approx(other, rel=1e-12)
    assert sum(one) == pytest.approx(1)


COARSE = st.sampled_from([0.0, 0.25, 0.5, 0.75, 1.0])  # so that ties are common
SHARES = st.tuples(COARSE, COARSE, COARSE).filter(any).map(normalise)


@given(
    st.lists(st.tuples(COARSE, COARSE, COARSE), min_size=1, max_size=12),
    SHARES,
    st.sampled_from([0.0, 0.5, 1.0]),
)
def test_what_another_beats_never_wins_whatever_the_weights(rows, shares, cost):
    figures = Figures(*np.array(rows).T)
    everyone = np.ones(len(rows), bool)
    best = find_best(figures, score(figures, shares, Scale(target=1.0, cost=cost)), everyone)

    assert find_front(figures, everyone)[best]


@given(st.lists(st.tuples(COARSE, COARSE, COARSE), min_size=1, max_size=12))
def test_the_front_is_what_nothing_beats(rows):
    def beats(one, other):
        better = (one[0] >= other[0], one[1] <= other[1], one[2] <= other[2])
        return all(better) and one != other

    front = find_front(Figures(*np.array(rows).T), np.ones(len(rows), bool))

    assert front.tolist() == [not any(beats(other, row) for other in rows) for row in rows]


@given(SHARES, st.sampled_from([0, 1, 2]))
def test_what_is_not_known_never_wins_where_it_is_weighed(shares, unknown):
    perfect = [1.0, 0.0, 0.0]
    perfect[unknown] = np.nan
    figures = Figures(*np.array([perfect, [0.1, 0.9, 3.9]]).T)
    best = find_best(figures, score(figures, shares, SCALE), np.ones(2, bool))

    assert not shares[unknown] or best == 1
    assert not find_front(figures, np.ones(2, bool))[0]


@pytest.mark.parametrize(
    "weights",
    [
        {},
        {"accuracy": 0},
        {"accuracy": -1, "cost": 2},
        {"accuracy": float("nan")},
        {"speed": 1},
        {"accuracy": 1, "effective_accuracy": 1},
        [1, 1, 1],
    ],
    ids=str,
)
def test_weights_that_weigh_nothing_are_refused(weights):
    with pytest.raises(InvalidInput):
        Weights.read(weights)


def test_weights_whose_sum_is_no_finite_number_make_1_all_the_same():
    assert normalise([1e308, 0.0, 1e308]) == (0.5, 0.0, 0.5)
