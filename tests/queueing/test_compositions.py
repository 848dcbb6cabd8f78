import math

import numpy as np
import pytest

from workbench.queueing import mm1
from workbench.queueing.compositions import Mixture, Sum
from workbench.queueing.predictions import find_quantiles

FAST, SLOW = mm1(rate=5, service=0.1).latency, mm1(rate=1, service=0.5).latency
TIMES = np.array([0.0, 0.1, 0.5, 1.0, 3.0])


def test_a_mixture_has_the_shares_of_its_parts():
    both = Mixture((FAST, SLOW), (0.25, 0.75))

    np.testing.assert_allclose(both.cdf(TIMES), 0.25 * FAST.cdf(TIMES) + 0.75 * SLOW.cdf(TIMES))
    assert both.mean == pytest.approx(0.25 * 0.2 + 0.75 * 1.0)
    median = find_quantiles(both, np.array([0.5]))
    assert both.cdf(median) == pytest.approx(0.5)


def test_two_exponential_times_sum_up_to_an_erlang_time():
    twice = Sum((FAST, FAST), 0.3)  # an M/M/1 queue's latency is exponential, here of rate 5

    later = np.maximum(TIMES - 0.3, 0.0)
    erlang = 1 - np.exp(-5 * later) * (1 + 5 * later)
    np.testing.assert_allclose(twice.cdf(TIMES), erlang, atol=2e-3)
    assert twice.mean == pytest.approx(0.7)


def test_three_times_sum_up_too():
    thrice = Sum((FAST, FAST, FAST))

    scaled = 5 * TIMES
    erlang = 1 - np.exp(-scaled) * (1 + scaled + scaled**2 / 2)
    np.testing.assert_allclose(thrice.cdf(TIMES), erlang, atol=3e-3)


def test_one_time_that_is_moved_stays_exact():
    moved = Sum((SLOW,), 0.25)

    np.testing.assert_array_equal(moved.cdf(TIMES), SLOW.cdf(TIMES - 0.25))
    assert moved.support == (0.25, math.inf)
