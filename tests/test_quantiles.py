import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.refused import refused
from workbench import Run
from workbench.batching.policies import Steered
from workbench.errors import TooFewSamples
from workbench.localcloud.cloudwatch.metrics import Summary
from workbench.plots.latency import latency_over_time
from workbench.quantiles import (
    estimate_interval,
    find_rank,
    has_enough_samples,
    is_met,
    require_samples,
    samples_needed,
    select_quantile,
    select_weighted_quantile,
)
from workbench.widgets.live_progress import LiveProgress

LEVELS = [0.01, 0.07, 0.5, 0.57, 0.9, 0.95, 0.99, 0.999, 0.9999]


@pytest.mark.parametrize("q", LEVELS)
@pytest.mark.parametrize("count", [1, 7, 20, 100, 200, 1000, 99_999, 100_000])
def test_the_rank_is_the_least_that_a_share_does_not_exceed(q, count):
    parts = round(q * 10_000)  # in whole numbers, where nothing is rounded

    assert find_rank(q, count) == max(1, -(-parts * count // 10_000))


@pytest.mark.parametrize("q", LEVELS)
def test_so_many_samples_are_needed_and_not_one_more(q):
    needed = samples_needed(q)

    assert needed == math.ceil(round(10 / (1 - q), 6))
    assert has_enough_samples(q, needed)
    assert not has_enough_samples(q, needed - 1)
    with refused(TooFewSamples, needed, needed - 1):
        require_samples(q, needed - 1)


@given(st.lists(st.floats(0.001, 10), min_size=1, max_size=300), st.sampled_from(LEVELS))
def test_a_quantile_does_not_depend_on_how_it_is_looked_for(values, q):
    ordered = sorted(values)
    shuffled = np.array(values)

    found = select_quantile(shuffled, q)

    assert found == ordered[find_rank(q, len(values)) - 1]
    assert found == select_weighted_quantile([(value, 1) for value in values], q)


def test_failures_are_infinite_quantiles():
    values = np.array([1.0, math.nan, math.inf, 2.0])

    assert [select_quantile(values, q) for q in (0.5, 0.51, 0.99)] == [2.0, math.inf, math.inf]


def test_a_weight_is_as_good_as_so_many_values():
    assert select_weighted_quantile([(3.0, 0.5), (1.0, 2.5)], 0.83) == 1.0
    assert select_weighted_quantile([(3.0, 0.5), (1.0, 2.5)], 0.84) == 3.0
    assert select_weighted_quantile([(3.0, 0.5), (1.0, 2.5)], 1.0) == 3.0


def test_an_interval_is_of_batch_means():
    values = np.random.default_rng(3).exponential(size=1000)

    low, high = estimate_interval(values, 0.9)

    assert low < select_quantile(values, 0.9) < high
    assert {low, high} <= set(values.tolist())
    assert (low, high) == estimate_interval(values, 0.9, ordered=np.sort(values))


def test_a_target_is_met_by_the_very_share():
    assert is_met(19 / 20, 0.95)
    assert is_met(sum([0.1] * 9), 0.9)
    assert not is_met(0.9499, 0.95)


def test_run_panel_chart_policy_and_cloudwatch_have_the_same_percentile():
    latencies = np.random.default_rng(5).permutation(np.arange(1.0, 1001) / 512)
    run = Run.from_arrays(scheduled=np.zeros(1000), finished=latencies)
    live, summary = LiveProgress(), Summary()
    live.add(latencies)
    for latency in latencies:
        summary.add(latency)

    wanted = run.quantile(0.95)

    assert wanted == 950 / 512
    assert live.quantile(0.95) == wanted
    assert latency_over_time(run, bins=1)["upper"].to_list() == [wanted]
    assert summary.quantile(0.95) == pytest.approx(wanted, rel=1 / 512)  # as CloudWatch rounds
    assert Steered(latency=0.1, quantile=0.95).window >= samples_needed(0.95)


@pytest.mark.parametrize("q", [0.01, 0.25, 0.5, 0.9, 0.98, 0.99])
def test_no_percentile_lies_between_the_latencies_that_requests_had(q):
    # two digests have a median of 70 ms: findings/tdigest-medians-between-two-latencies.sh;
    # a summary has 10 ms for the 99th: findings/aioprometheus-percentiles-of-half-the-rank.sh
    latencies = np.repeat([0.01, 3.0], [980, 20])
    live, summary = LiveProgress(), Summary()
    live.add(latencies)
    for latency in latencies:
        summary.add(latency)

    wanted = 0.01 if q <= 0.98 else 3.0

    assert Run.from_arrays(scheduled=np.zeros(1000), finished=latencies).quantile(q) == wanted
    assert live.quantile(q) == wanted
    assert summary.quantile(q) == pytest.approx(wanted, rel=1 / 512)  # as CloudWatch rounds
