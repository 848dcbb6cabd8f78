"""Policies in simulation, request by request: the newsvendor's rule, the bound, spot."""

import math

import numpy as np
import pytest

from tests.refused import refused
from workbench.batching.timer import BatchPolicy
from workbench.deployment import Hybrid, InFlight, Lambda, MixedFleet, RealTime
from workbench.errors import InvalidInput
from workbench.forecasts import Persistence
from workbench.scaling.base import Reading
from workbench.scaling.capacity import InstanceCapacity
from workbench.scaling.foresight import clairvoyant
from workbench.scaling.mark import MArkDescribed, MArkReleased
from workbench.scaling.predictive import Predictive
from workbench.scaling.schedule import Schedule
from workbench.scaling.spot import SpotHedge, SpotPool
from workbench.service_times import ServiceTimes
from workbench.simulator import serve
from workbench.traffic.patterns import flash_crowd, poisson
from workbench.traffic.replay import from_counts

TYPE = "ml.c5.xlarge"
QUICK = ServiceTimes({1: 0.1})  # 10 requests a second are what one instance can do at most
ONE = InstanceCapacity(instance_type=TYPE, rate=10.0, hourly_price=3.6)  # 0.0001 $ a request
PRICED = {"instance_type": TYPE, "hourly_price": 1.0, "priced_on": "2026-11-29"}
HYBRID = Hybrid(
    base=RealTime(instance_type=TYPE, count=1),
    overflow=Lambda(memory_mb=1769, max_concurrency=1000),
    spill=InFlight(4),
)


class Known:
    """Quantiles of a sample that every minute's demand is drawn from."""

    def __init__(self, sample):
        self.sample = sample

    def fit(self, counts, period):
        pass

    def forecast(self, steps, quantiles):
        return np.tile(np.quantile(self.sample, quantiles), (steps, 1))


def play(trace, policy, call_price, *, boot=0.0):
    """Return the dollars of a hybrid, and its requests on functions."""
    outcome = serve(trace, BatchPolicy(), HYBRID, [QUICK] * 2, boot=boot, scaling=policy)
    paid = sum(end - start for start, end in outcome.places[0].outcome.instances)
    calls = int(outcome.given.sum())
    return ONE.price * paid + call_price * calls, calls


@pytest.mark.parametrize("share", [0.3, 0.6, 0.9])
def test_simulated_cost_is_least_at_the_critical_quantile(share):
    counts = np.random.default_rng(1).gamma(12.0, 250.0, 60).astype(int)  # independent by minute
    trace = from_counts(counts, period=60, seed=1)
    price = ONE.price / ONE.rate / (1 - share)
    fixed = [play(trace, Schedule([(0, n)]), price)[0] for n in range(1, 14)]

    policy = Predictive(
        forecaster=Known(counts), capacity=ONE, call_price=price, plan="greedy", history=[1]
    )

    assert policy.quantiles == pytest.approx((share,))
    chosen = policy.scaler().decide(Reading(0, 0, 0, 0, 1, 0), 0.0)
    assert abs(chosen - 1 - int(np.argmin(fixed))) <= 1


@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize(
    "trace",
    [
        lambda seed: poisson(rate=40, duration=1800, seed=seed),
        lambda seed: flash_crowd(
            rate=20, peak=8, start=600, ramp=60, hold=300, decay=120, duration=1800, seed=seed
        ),
    ],
)
def test_no_simulated_policy_is_below_the_bound(trace, seed):
    trace, price = trace(seed), 0.0004
    best = clairvoyant(trace, ONE, price, boot=90, within=0.5)
    policies = [
        Predictive(forecaster=Persistence(), capacity=ONE, call_price=price, boot=90),
        MArkReleased(capacity=ONE),
        MArkDescribed(capacity=ONE),
        best.policy,
        *(Schedule([(0, count)]) for count in (1, 4, 9)),
    ]

    costs = [play(trace, each, price, boot=90)[0] for each in policies]

    assert min(costs) >= best.bound > 0.4 * min(costs)


@pytest.mark.parametrize(("price", "share"), [(0.0001, 1.0), (math.inf, 0.0)])
def test_prices_alone_can_leave_all_to_functions_or_nothing(price, share):
    trace = poisson(rate=40, duration=1800, seed=1)
    known = np.random.default_rng(2).poisson(2400, 2000).tolist()
    policy = Predictive(forecaster=Persistence(), capacity=ONE, call_price=price, history=known)

    outcome = serve(trace, BatchPolicy(), HYBRID, [QUICK] * 2, boot=0.0, scaling=policy)

    assert outcome.given[trace.arrivals > 1].mean() == pytest.approx(share, abs=1e-3)


def test_functions_take_what_all_lost_spot_instances_had():
    trace = poisson(rate=4, duration=1800, seed=1)
    pool = SpotPool(**PRICED, recorded=[(600, 0), (900, math.inf)], notice=0.0)
    policy = SpotHedge(policy=Schedule([(0, 1), (1000, 1)]), spot=TYPE)

    outcome = serve(trace, BatchPolicy(), HYBRID, [QUICK] * 2, boot=0.0, scaling=policy, spot=pool)

    gone = (trace.arrivals > 600) & (trace.arrivals < 1000)
    assert outcome.given[gone].all()
    assert not outcome.given[trace.arrivals > 1000].any()
    assert np.isfinite(outcome.finished).all()


def test_on_demand_instances_run_while_there_are_no_spot_instances():
    trace = poisson(rate=4, duration=1800, seed=1)
    pool = SpotPool(**PRICED, recorded=[(600, 0), (900, math.inf)], notice=0.0)
    other = "ml.c5.2xlarge"
    fleet = MixedFleet(parts=(RealTime(instance_type=TYPE), RealTime(instance_type=other)))
    asked = Schedule([(60.0 * minute, 2) for minute in range(30)])
    policy = SpotHedge(policy=asked, spot=TYPE, on_demand=other, extra=0)

    outcome = serve(trace, BatchPolicy(), fleet, [QUICK] * 2, scaling=policy, spot=pool)

    spot, on_demand = (place.outcome.instances for place in outcome.places)
    assert [span for span in on_demand if span[0] >= 120] == [(600, 960), (600, 960)]
    assert {span for span in spot if span[0] >= 120} == {(900, 1800)}
    assert np.isfinite(outcome.finished).mean() > 0.99


def test_a_hedge_between_two_types_takes_a_fleet_of_both():
    policy = SpotHedge(policy=Schedule([(0, 2)]), spot=TYPE, on_demand="ml.c5.2xlarge")

    with refused(InvalidInput, "scaler", "{'ml.c5.xlarge': 3, 'ml.c5.2xlarge': 2}"):
        serve(
            poisson(rate=4, duration=9, seed=1), BatchPolicy(), HYBRID, [QUICK] * 2, scaling=policy
        )
