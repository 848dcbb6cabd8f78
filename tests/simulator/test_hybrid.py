"""Hybrids and mixed fleets in virtual time: against their parts alone, theory, and the bill."""

import math

import numpy as np
import polars as pl
import pytest

from workbench.batching.timer import BatchPolicy
from workbench.deployment import (
    ByDeadline,
    Hedge,
    Hybrid,
    InFlight,
    Lambda,
    MixedFleet,
    OnPremise,
    RealTime,
    Serverless,
    WhileBooting,
)
from workbench.planner.candidates import usage_of
from workbench.pricing.cost import total
from workbench.run_cost import cost
from workbench.scaling import Schedule
from workbench.service_times import ServiceTimes
from workbench.simulator import serve, simulate
from workbench.traffic.patterns import poisson

UNBATCHED = BatchPolicy()
BATCHED = BatchPolicy(max_size=4, max_wait=0.05)
LEVELS = -np.log1p(-(np.arange(2000) + 0.5) / 2000)
EXPONENTIAL = ServiceTimes({1: 0.04 * LEVELS / LEVELS.mean()})
DRAWN = ServiceTimes({size: (0.02 + 0.01 * size) * LEVELS for size in range(1, 5)})
CONSTANT = ServiceTimes.affine(0.02, 0.01, largest=4)
FUNCTIONS = Lambda(memory_mb=1769, max_concurrency=1000)
TRACE = poisson(rate=50, duration=60, seed=1)
SMALL, LARGE = "ml.m5.large", "ml.c5.xlarge"
RULES = (
    InFlight(2),
    ByDeadline(latency=0.2, service=(0.03, 0.04, 0.05, 0.06), margin=0.01),
    Hedge(after=0.15),
    WhileBooting(1),
)


def real_time(count=1, instance_type=SMALL, **knobs):
    return RealTime(instance_type=instance_type, count=count, **knobs)


def hybrid(base=None, spill=RULES[0], overflow=FUNCTIONS):
    return Hybrid(base=base or real_time(2), overflow=overflow, spill=spill)


def mixed():
    return MixedFleet(parts=(real_time(), real_time(instance_type=LARGE, workers=2)))


class CountsByType:
    """A policy whose counts are set beforehand: by time, for each instance type."""

    def __init__(self, changes, latency_target=None):
        self.changes, self.latency_target, self.readings = changes, latency_target, []

    def scaler(self):
        return CountsByType(list(self.changes), self.latency_target)

    def to_dict(self):
        return {"kind": "counts by type"}

    @property
    def due(self):
        return self.changes[0][0] if self.changes else math.inf

    def decide(self, reading, now):  # noqa: ARG002 - the words of the protocol
        self.readings.append(reading)
        return self.changes.pop(0)[1]


@pytest.mark.parametrize("policy", [UNBATCHED, BATCHED])
@pytest.mark.parametrize("routing", ["least_outstanding", "random", "shared"])
@pytest.mark.parametrize("spill", [InFlight(10**6), WhileBooting(0), Hedge(after=1e6)])
def test_a_hybrid_whose_base_takes_all_is_that_fleet(policy, routing, spill):
    base = real_time(3, routing=routing)

    alone = serve(TRACE, policy, base, DRAWN, seed=3).batches
    both = serve(TRACE, policy, hybrid(base, spill), [DRAWN, CONSTANT], seed=3)

    for name in ("closed", "started", "finished", "server"):
        found = getattr(both.places[0].outcome.batches, name)
        np.testing.assert_array_equal(found, getattr(alone, name), err_msg=name)
    assert both.given.max() == 0
    assert both.tried.max() == 1


@pytest.mark.parametrize("overflow", [FUNCTIONS, Serverless(memory_mb=1024, max_concurrency=3)])
@pytest.mark.parametrize(
    ("spill", "scaling"), [(InFlight(0), None), (RULES[1], Schedule([(0, 0)]))]
)
def test_a_hybrid_whose_base_takes_nothing_is_its_functions(overflow, spill, scaling):
    deployment = hybrid(real_time(1), spill, overflow)
    terms = {"cold_start": 0.3, "seed": 4}

    alone = simulate(TRACE, BATCHED, overflow, DRAWN, **terms).frame
    run = simulate(TRACE, BATCHED, deployment, [DRAWN, DRAWN], scaling=scaling, **terms)

    assert set(run.frame["place"]) == {1}
    for name in ("started", "finished", "latency", "batch_size", "server", "cold", "init", "error"):
        assert run.frame[name].equals(alone[name], null_equal=True), name


def blocked_share(load, servers, room):
    """The share of arrivals that an M/M/c/K queue turns away."""
    weights = [1.0]
    for number in range(1, room + 1):
        weights.append(weights[-1] * load / min(number, servers))
    return weights[-1] / sum(weights)


@pytest.mark.parametrize("room", [1, 3])
def test_spill_in_flight_is_erlang_b_at_c_and_the_queue_with_k_places_beyond(room):
    servers, rate = 4, 100.0
    base = (
        OnPremise(workers=servers, purchase_price=1000, lifetime_years=3)
        if room == 1
        else real_time(servers, routing="shared")
    )
    spill = InFlight(servers) if room == 1 else InFlight(room)
    trace = poisson(rate=rate, duration=2000, seed=5)

    outcome = serve(trace, UNBATCHED, hybrid(base, spill), [EXPONENTIAL, CONSTANT], seed=5)

    expected = blocked_share(rate * 0.04, servers, servers * room)
    shares = [part.mean() for part in np.array_split(outcome.given, 40)]
    error = np.std(shares, ddof=1) / math.sqrt(40)
    assert abs(np.mean(shares) - expected) < 4 * error
    assert error < 0.05 * expected


@pytest.mark.parametrize("spill", RULES)
@pytest.mark.parametrize("types", [1, 2])
def test_each_request_is_answered_once_and_each_call_is_billed(spill, types):
    base = mixed() if types == 2 else real_time(2)
    deployment = hybrid(base, spill)
    times = [DRAWN] * types + [DRAWN.scale(0.5)]
    run = simulate(TRACE, BATCHED, deployment, times, cold_start=0.3, boot=5.0, seed=6)

    assert run.frame["request"].to_list() == list(range(len(TRACE)))
    assert run.frame["error"].null_count() == len(TRACE)
    calls = run.calls.group_by("request").len().sort("request")["len"]
    assert calls.equals(run.frame["tried"].cast(calls.dtype), check_names=False)
    assert (calls > 1).any() == isinstance(spill, Hedge)
    best = run.calls.group_by("request").agg(pl.col("finished").min()).sort("request")
    assert best["finished"].equals(run.frame["finished"])
    outcome = serve(TRACE, BATCHED, deployment, times, cold_start=0.3, boot=5.0, seed=6)
    bill = cost(run)
    assert total(deployment.bill(usage_of(outcome, deployment))) == pytest.approx(bill.total)
    functions = run.calls.filter(run.calls["place"] == types)["batch"].n_unique()
    assert [each.quantity for each in bill.items if each.what == "lambda requests"] == (
        [functions] if functions else []
    )
