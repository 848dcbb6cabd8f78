"""What one instance can do: right by theory, never at its limit, and MArk's rule beside it."""

import math
from dataclasses import replace

import numpy as np
import pytest

from tests.refused import refused
from workbench.batching.timer import BatchPolicy
from workbench.deployment import Lambda, MixedFleet, OnPremise, RealTime
from workbench.errors import InvalidInput, NotFound
from workbench.planner import Options, capacities, find_capacity
from workbench.planner.rate_search import find_mark_policy
from workbench.quantiles import SLO
from workbench.queueing import md1, mm1
from workbench.service_times import ServiceTimes
from workbench.simulator import simulate
from workbench.traffic.patterns import bursty, constant, poisson

ONE = RealTime(instance_type="ml.c5.large")
TIMES = ServiceTimes.affine(0.02, 0.004, largest=16)
TARGET = SLO(latency=0.2)
ALONE = Options(max_sizes=[1])
GRID = Options(max_sizes=[1, 4, 8, 16], max_waits=[0.0, 0.02, 0.05, 0.1])


def rate_of(predict, slo):
    """The largest rate at which a formula meets a target, by halving."""
    low, high = 0.0, 1.0
    while high - low > 1e-4:
        rate = (low + high) / 2
        low, high = (rate, high) if predict(rate) <= slo.latency else (low, rate)
    return low


@pytest.mark.parametrize("latency", [1.5, 3.0, 8.0])
def test_the_rate_without_batches_is_that_of_theory(latency):
    slo = SLO(latency=latency)
    expected = rate_of(lambda rate: md1(rate=rate, service=1.0).quantile(0.95), slo)
    found = find_capacity(ServiceTimes({1: 1.0}), ONE, slo, options=ALONE)
    assert found.rate == pytest.approx(expected, rel=0.03)


def test_the_rate_of_random_service_is_that_of_theory():
    quantiles = -np.log1p(-(np.arange(2000) + 0.5) / 2000)
    slo = SLO(latency=8.0)
    expected = rate_of(lambda rate: mm1(rate=rate, service=1.0).quantile(0.95), slo)
    found = find_capacity(ServiceTimes({1: quantiles}), ONE, slo, options=ALONE)
    assert found.rate == pytest.approx(expected, rel=0.05)


def test_a_simulation_at_the_rate_meets_the_target_and_far_above_it_does_not():
    found = find_capacity(TIMES, ONE, TARGET, options=GRID)
    for factor, met in ((0.97, True), (1.1, False)):
        trace = poisson(rate=factor * found.rate, duration=600, seed=7)
        run = simulate(trace, found.policy, ONE, TIMES, seed=7)
        assert (run.quantile(0.95) <= TARGET.latency) == met


def test_no_other_batches_of_the_grid_do_more_than_a_little():
    best = find_capacity(TIMES, ONE, TARGET, options=GRID).rate
    for size in (4, 8, 16):
        for wait in GRID.max_waits[1:]:
            trial = replace(GRID, max_sizes=[size], max_waits=[wait])
            assert find_capacity(TIMES, ONE, TARGET, options=trial).rate <= 1.01 * best


def test_batches_that_are_given_are_kept():
    policy = BatchPolicy(max_size=2, max_wait=0.01)
    one = find_capacity(TIMES, ONE, TARGET, policy=policy)

    assert one.policy == policy
    assert one.rate < 2 / 0.028 < find_capacity(TIMES, ONE, TARGET, options=GRID).rate


def test_batches_have_a_timer_always():
    policy = find_capacity(TIMES, ONE, TARGET, options=GRID).policy
    assert policy.max_size > 1
    assert 0 < policy.max_wait < TARGET.latency


@pytest.mark.parametrize("trace", [None, constant(rate=400, duration=600)])
def test_no_capacity_is_at_full_load(trace):
    """However long the target, and even where arrivals so regular would never queue."""
    endless = SLO(latency=1000.0)
    found = find_capacity(ServiceTimes({1: 0.01}), ONE, endless, trace=trace, options=ALONE)
    assert found.rate <= 0.95 * 100 * 1.005
    less = find_capacity(
        ServiceTimes({1: 0.01}), ONE, endless, trace=trace, options=ALONE, most_load=0.5
    )
    assert less.rate == pytest.approx(50, rel=0.02)


def test_parts_of_bursty_traffic_are_served_at_a_lower_rate_than_independent_requests():
    trace = bursty(rate=250, burst=20, dwell=(10, 3), duration=120, seed=1)
    found = find_capacity(TIMES, ONE, TARGET, trace=trace, options=GRID)
    assert found.rate < 0.95 * find_capacity(TIMES, ONE, TARGET, options=GRID).rate


def test_a_trace_that_one_instance_serves_is_refused_as_too_slow():
    slow = poisson(rate=5, duration=600, seed=1)
    with refused(InvalidInput, "ml.c5.large", "trace.scale"):
        find_capacity(TIMES, ONE, TARGET, trace=slow)


def test_a_target_that_no_request_alone_meets_is_one_error():
    with refused(InvalidInput, "ml.c5.large", "20 ms", "24 ms"):
        find_capacity(TIMES, ONE, SLO(latency=0.02))


@pytest.mark.parametrize("deployment", [Lambda.example(), MixedFleet.example()])
def test_functions_and_mixed_fleets_have_no_capacity_of_one_instance(deployment):
    with refused(InvalidInput, "RealTime", deployment.label):
        find_capacity(TIMES, deployment, TARGET)


def test_the_price_is_that_of_the_deployments_own_bill():
    prices = Options().prices.with_price("ml.c5.large", 1.5)
    options = replace(ALONE, prices=prices)
    assert find_capacity(TIMES, ONE, TARGET, options=options).hourly_price == 1.5
    mine = OnPremise(purchase_price=8760.0, lifetime_years=1)
    assert find_capacity(TIMES, mine, TARGET, options=ALONE).hourly_price == pytest.approx(1.0)


def test_a_type_without_a_price_is_one_error_and_one_row():
    rare = RealTime(instance_type="ml.c5d.18xlarge")
    with refused(NotFound, "ml.c5d.18xlarge"):
        find_capacity(lambda _: TIMES, rare, TARGET, options=ALONE)
    table = capacities(lambda _: TIMES, TARGET, Options(deployments=[ONE, rare], max_sizes=[1]))
    assert [one.instance_type for one in table.capacities] == ["ml.c5.large"]
    assert "ml.c5d.18xlarge" in table.reasons[0]


def test_more_vcpus_answer_more_and_alike_types_differ_in_price_alone():
    types = ["ml.c5.large", "ml.m5.large", "ml.c5.xlarge"]
    options = replace(GRID, instance_types=types)
    table = capacities(TIMES, TARGET, options)
    best = table.frame.filter(rule="largest rate")
    small, alike, large = best["rate"].to_list()
    assert small == alike
    assert large > 1.9 * small
    assert best["hourly_price"].n_unique() == 3
    assert (table.frame["rate"] < table.frame["full_rate"]).all()
    assert (table.frame["latency"] <= TARGET.latency + 1e-8).all()
    marks = table.frame.filter(rule="MArk's rule")["rate"]
    assert (marks <= best["rate"]).all()
    costs = [one.cost_per_million for one in table.capacities]
    assert costs == sorted(costs)


def test_a_profile_and_a_model_are_sources_as_service_times_are(monkeypatch, model):
    monkeypatch.setattr("workbench.planner.instance_capacity.load_profile", lambda *_: TIMES)
    assert find_capacity(model, ONE, TARGET, options=GRID) == find_capacity(
        TIMES, ONE, TARGET, options=GRID
    )


# --------------------------------------------------------------------- MArk's rule

PER_MINUTE = {"ml.c5.large": 284, "ml.c5.xlarge": 490, "ml.p2.xlarge": 3320}
"""What MArk's authors profiled for Inception-v3, requests a minute (their AllCapacity)."""


def mark_service(deployment):
    """Times that give these throughputs at the sizes MArk used, and less at others."""
    best = {"ml.c5.large": 1, "ml.c5.xlarge": 2, "ml.p2.xlarge": 8}[deployment.instance_type]
    each = 60 / PER_MINUTE[deployment.instance_type]
    return ServiceTimes({n: n * each * (1 + 0.05 * abs(n - best)) for n in range(1, 13)})


@pytest.mark.parametrize(("name", "size"), [("large", 1), ("xlarge", 2), ("p2", 8)])
def test_marks_rule_finds_the_batch_sizes_that_its_authors_used(name, size):
    kind = {"large": "ml.c5.large", "xlarge": "ml.c5.xlarge", "p2": "ml.p2.xlarge"}[name]
    seconds = mark_service(RealTime(instance_type=kind)).means[1:]
    slo = SLO(latency=1.0, quantile=0.98)
    policy = find_mark_policy(seconds, slo)
    assert policy.max_size == size
    assert 60 * size / seconds[size - 1] == pytest.approx(PER_MINUTE[kind])
    assert policy.max_wait == (pytest.approx(1 - seconds[size - 1]) if size > 1 else 0)


def test_no_target_allows_the_rates_that_marks_authors_profiled():
    ones = [RealTime(instance_type=name) for name in ("ml.c5.large", "ml.c5.xlarge")]
    slo = SLO(latency=1.0, quantile=0.98)
    options = Options(deployments=ones, max_sizes=[1, 2, 4], max_waits=[0.0, 0.1, 0.3])
    table = capacities(mark_service, slo, options)
    for row in table.rows:
        profiled = PER_MINUTE[row.instance_type] / 60
        assert row.full_rate == pytest.approx(profiled)
        assert 0.4 * profiled < row.capacity.rate < profiled


def test_marks_rule_batches_only_where_more_are_faster():
    linear = np.array([0.1, 0.2, 0.3])
    assert find_mark_policy(linear, SLO(latency=1.0)) == BatchPolicy()
    with refused(InvalidInput, "50 ms", "100 ms"):
        find_mark_policy(linear, SLO(latency=0.05))


def test_capacity_is_worth_what_the_newsvendor_says():
    found = find_capacity(TIMES, ONE, TARGET, options=GRID)
    full = found.cost_per_million / 1e6
    assert found.critical_quantile(2 * full) == pytest.approx(0.5)
    assert math.isclose(found.critical_quantile(full / 2), 0.0)
