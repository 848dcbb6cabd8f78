"""Formulas for ensembles, against their simulation."""

from dataclasses import replace

import numpy as np
import pytest

import workbench as wb
from tests.experiment.test_ensemble_simulation import Escalating
from tests.refused import refused
from workbench.errors import NotPredictable
from workbench.measuring import member_facts
from workbench.measuring.outcomes import find_outcomes
from workbench.queueing import mm1
from workbench.routing.base import Settlement
from workbench.routing.simple import Canary, LowestNetworkLatency, RandomChoice, Shadow
from workbench.service_times import ServiceTimes
from workbench.traffic.map import poisson_process

LEVELS = -np.log1p(-(np.arange(2_001) / 2_000) * (1 - 1 / 4_000))
TRACE = wb.poisson(rate=40, duration=300, seed=1)
BATCHED = wb.BatchPolicy(max_size=4, max_wait=0.02)

pytestmark = pytest.mark.usefixtures("at_home")


def exponential(mean):
    """An exponential time, cut off at its 99.975 % point."""
    return ServiceTimes({1: np.maximum(mean * LEVELS, 1e-9)})


TIMES = {"small": exponential(0.01), "large": exponential(0.02)}


@pytest.fixture(scope="module")
def models(registry):
    return registry["digits-logistic"], registry["digits-mlp-small"]


def experiment(models, router, trace=TRACE, **settings):
    small, big = models
    members = {"small": wb.Member(small, wb.Local()), "large": wb.Member(big, wb.Local())}
    return wb.Experiment(wb.Ensemble(members, router, **settings), trace=trace)


class Cascading(Escalating):
    sees_load = False


def assert_within(prediction, run, levels=(0.1, 0.5, 0.9, 0.95)):
    for q in levels:
        low, high = run.interval(q, confidence=0.9999)
        assert low <= prediction.quantile(q) <= high


def test_shares_by_lot_are_queues_of_their_own(models):
    routed = experiment(models, RandomChoice(), network_latency={"large": 0.03})

    found = routed.predict(TIMES)

    assert_within(found, routed.simulate(TIMES, seed=1))
    by_hand = mm1(rate=20, service=0.01).mean_latency + mm1(rate=20, service=0.02).mean_latency
    assert found.mean_latency == pytest.approx((by_hand + 0.03) / 2, rel=0.03)
    assert found.concurrency == pytest.approx(20 * 0.01 + 20 * 0.02, rel=0.03)


def test_a_canary_mixes_what_each_serves(models):
    routed = experiment(models, Canary(place="large", share=0.1, others=LowestNetworkLatency()))

    assert_within(routed.predict(TIMES), routed.simulate(TIMES, seed=1))


def test_copies_load_a_place_and_delay_nobody(models):
    shadowed = experiment(models, Shadow(place="large", others=LowestNetworkLatency()))

    found = shadowed.predict(TIMES, arrivals=poisson_process(40))

    alone = mm1(rate=40, service=0.01)
    assert found.mean_latency == pytest.approx(alone.mean_latency, rel=0.01)
    assert found.concurrency == pytest.approx(40 * 0.01 + 40 * 0.02, rel=0.01)


def test_latencies_of_a_cascade_add_up(models, monkeypatch):
    """Of queues with exponential times exactly: what leaves is Poisson again (Burke, 1956)."""

    def find_sure(model, **terms):
        found = find_outcomes(model, **terms)
        sure = np.random.default_rng(1).random(len(found)) < 0.6
        return replace(found, confidence=np.where(sure, 0.95, 0.5))

    monkeypatch.setattr(member_facts, "find_outcomes", find_sure)
    drawn = np.random.default_rng(2).integers(540, size=len(TRACE))
    trace = wb.Trace(TRACE.arrivals, TRACE.duration, sample=drawn)
    cascade = experiment(models, Cascading(), trace)

    found, run = cascade.predict(TIMES), cascade.simulate(TIMES, seed=1)

    assert_within(found, run)
    escalated = (run.frame["tried"] == 2).mean()
    assert found.concurrency == pytest.approx(40 * (0.01 + escalated * 0.02), rel=0.03)
    assert any("independent" in each for each in found.assumptions)
    assert any(each.startswith("large: ") for each in found.assumptions)


def test_money_is_that_of_all_members(models):
    functions = [wb.Lambda(memory_mb=memory, max_concurrency=100) for memory in (1769, 3538)]
    lot = wb.Ensemble(
        {
            name: wb.Member(each, function, BATCHED)
            for name, each, function in zip(("small", "large"), models, functions, strict=True)
        },
        RandomChoice(),
    )
    times = dict.fromkeys(("small", "large"), ServiceTimes.affine(0.01, 0.002, largest=4))
    routed = wb.Experiment(lot, trace=TRACE)

    found, run = routed.predict(times), routed.simulate(times, cold_start=0.0, seed=1)

    # some 5,000 batches of each, the deviation of whose size is below their mean
    assert found.cost.per_million == pytest.approx(wb.cost(run).per_million, rel=5 / 5_000**0.5)
    assert found.mean_batch_size == pytest.approx(run.summary()["mean_batch_size"], rel=0.03)
    assert found.cost.origin == "predicted"


def test_a_router_that_sees_load_is_not_predicted(models):
    with refused(NotPredictable, "escalating"):
        experiment(models, Escalating()).predict(TIMES)


def test_the_first_of_several_answers_is_not_predicted(models):
    class Both(Cascading):
        def choose(self, *_):
            return (0, 1)

        def settle(self, *_):
            return Settlement(given=0)

    with refused(NotPredictable, "escalating", "several"):
        experiment(models, Both()).predict(TIMES)
