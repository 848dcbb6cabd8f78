"""Accuracy: at the traffic's mix, bounded for few rows, and compared by pairs."""

import numpy as np
import pytest
from scipy import stats

from workbench.measuring.outcomes import Outcomes
from workbench.selection.evidence import Evidence, compare_accuracy


def known(correct, *, kinds=None, mix=None, pool="p"):
    correct = np.asarray(correct, float)
    context = None if kinds is None else np.asarray(kinds)
    outcomes = Outcomes(correct, correct, correct, context)
    return Evidence(accuracy=correct.mean(), outcomes=outcomes, mix=mix or {}, pool=pool)


def test_the_bound_is_clopper_and_pearsons():
    right = np.arange(100) < 93

    assert known(right).lower_bound(0.05) == pytest.approx(
        stats.binomtest(93, 100, alternative="greater").proportion_ci(0.95).low
    )
    assert known(np.zeros(9)).lower_bound(0.05) == 0
    assert np.isnan(Evidence(accuracy=0.9).lower_bound(0.05))


def test_the_bound_holds_as_often_as_promised():
    rng = np.random.default_rng(1)
    drawn = (rng.random((1000, 60)) < 0.9).sum(axis=1)
    bounds = {n: known(np.arange(60) < n).lower_bound(0.1) for n in np.unique(drawn)}
    missed = sum(bounds[n] > 0.9 for n in drawn)

    assert stats.binomtest(missed, 1000, 0.1, alternative="greater").pvalue > 0.001


def test_the_bound_of_a_mix_weighs_its_kinds():
    kinds = ["easy"] * 50 + ["hard"] * 50
    right = np.r_[np.ones(50), np.arange(50) < 25]
    easy, hard = (known(part).lower_bound(0.025) for part in (right[:50], right[50:]))

    mixed = known(right, kinds=kinds, mix={"easy": 0.9, "hard": 0.1})

    assert mixed.lower_bound(0.05) == pytest.approx(0.9 * easy + 0.1 * hard)


def test_pairs_are_compared_by_the_rows_that_one_alone_gets_right():
    mine, its = np.ones(540), np.ones(540)
    mine[:3], its[3:15] = 0, 0  # 12 against 3, as the digits

    assert compare_accuracy(known(mine), known(its)) == pytest.approx(
        stats.binomtest(12, 15).pvalue
    )
    assert compare_accuracy(known(mine), known(mine)) == 1
    assert np.isnan(compare_accuracy(known(mine), known(its, pool="another")))
    assert np.isnan(compare_accuracy(known(mine), Evidence(accuracy=0.9)))


def test_the_mix_decides_whether_a_pair_differs():
    """One is better at the easy, the other at the hard: in a mix of both they are alike."""
    kinds = ["easy"] * 200 + ["hard"] * 200
    rng = np.random.default_rng(1)
    often, seldom = rng.random(200) < 0.9, rng.random(200) < 0.6
    one, other = np.r_[often, seldom], np.r_[seldom, often]

    def p(mix):
        return compare_accuracy(*(known(each, kinds=kinds, mix=mix) for each in (one, other)))

    assert p({"easy": 0.95, "hard": 0.05}) < 1e-6
    assert p({"easy": 0.5, "hard": 0.5}) > 0.5
