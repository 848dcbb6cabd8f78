"""What formulas say of hybrids, against formulas and the simulator."""

import math

import numpy as np
import pytest

from tests.refused import refused
from workbench.batching.timer import BatchPolicy
from workbench.deployment import Hedge, Hybrid, InFlight, Lambda, MixedFleet, RealTime, WhileBooting
from workbench.errors import NotPredictable
from workbench.prediction.hybrid import predict_hybrid
from workbench.queueing import erlang_b
from workbench.service_times import ServiceTimes
from workbench.simulator import simulate
from workbench.traffic.map import mmpp, poisson_process
from workbench.traffic.patterns import poisson

SERVICE = 0.04
LEVELS = -np.log1p(-(np.arange(2000) + 0.5) / 2000)
EXPONENTIAL = ServiceTimes({1: SERVICE * LEVELS / LEVELS.mean()})
CONSTANT = ServiceTimes({1: 0.1})
RATE = 60.0
TRACE = poisson(rate=RATE, duration=600, seed=1)
FUNCTIONS = Lambda(memory_mb=1769, max_concurrency=1000)


def hybrid(spill, **base):
    settings = {"instance_type": "ml.m5.large", "routing": "least_outstanding"} | base
    return Hybrid(base=RealTime(**settings), overflow=FUNCTIONS, spill=spill)


def predicted(deployment, base=EXPONENTIAL, arrivals=None, policy=BatchPolicy(), **terms):  # noqa: B008 - a value
    process = poisson_process(RATE) if arrivals is None else arrivals
    return predict_hybrid(TRACE, policy, deployment, [base, CONSTANT], arrivals=process, **terms)


@pytest.mark.parametrize(
    ("spill", "base", "service", "formula"),
    [
        (InFlight(1), {"count": 3}, EXPONENTIAL, "M/G/3/3"),
        (InFlight(1), {"count": 3}, ServiceTimes({1: SERVICE}), "M/G/3/3"),
        (InFlight(2), {"count": 2, "workers": 2}, EXPONENTIAL, "M/G/4/4"),
        (InFlight(4), {"workers": 2}, EXPONENTIAL, "M/M/2/4"),
        (InFlight(3), {"count": 1}, EXPONENTIAL, "M/M/1/3"),
        (InFlight(3), {"count": 2, "routing": "shared"}, EXPONENTIAL, "M/M/2/6"),
    ],
)
def test_formulas_and_simulation_agree_on_what_spills_over(spill, base, service, formula):
    deployment = hybrid(spill, **base)
    found = predicted(deployment, service)
    run = simulate(TRACE, BatchPolicy(), deployment, [service, CONSTANT], cold_start=0.0, seed=2)

    spilled = (run.frame["place"] == 1).to_numpy().astype(float)
    means = spilled[: len(spilled) // 60 * 60].reshape(60, -1).mean(axis=1)  # minutes, nearly
    error = means.std(ddof=1) / math.sqrt(len(means))
    assert found.formula.startswith(f"{formula} + ")
    assert spilled.mean() == pytest.approx(found.spilled, abs=4 * error)
    latency = run.frame["latency"].to_numpy()
    parts = latency[: len(latency) // 60 * 60].reshape(60, -1).mean(axis=1)
    spread = parts.std(ddof=1) / math.sqrt(len(parts))
    assert latency.mean() == pytest.approx(found.mean_latency, abs=4 * spread)
    for limit in (0.02, 0.06, 0.12):
        assert (latency <= limit).mean() == pytest.approx(float(found.cdf(limit)), abs=0.01)


def test_at_as_much_room_as_servers_it_is_erlangs_b():
    found = predicted(hybrid(InFlight(1), count=3))
    load = RATE * float(EXPONENTIAL.idle_means[1])
    assert found.spilled == pytest.approx(erlang_b(load=load, servers=3))
    assert found.summary()["spilled"] == found.spilled
    assert found.mean_latency == pytest.approx(
        SERVICE * (1 - found.spilled) + 0.1 * found.spilled, rel=1e-3
    )


def test_a_base_that_is_sent_nothing_leaves_all_to_functions():
    found = predicted(hybrid(InFlight(0)))
    assert found.spilled == 1
    assert found.quantile(0.5) == pytest.approx(0.1)


def test_the_bill_is_that_of_instances_and_of_calls_that_spill_over():
    found = predicted(hybrid(InFlight(1), count=3))
    items = {item.what: item.quantity for item in found.cost.items}
    assert items["ml.m5.large"] == pytest.approx(3 * TRACE.duration / 3600)
    assert items["lambda requests"] == pytest.approx(found.spilled * len(TRACE), abs=1)


@pytest.mark.parametrize(
    ("deployment", "terms", "named"),
    [
        (hybrid(Hedge(after=0.1)), {}, ["hedged after 100 ms"]),
        (hybrid(WhileBooting(1)), {}, ["past 1 in flight while instances boot"]),
        (hybrid(InFlight(1)), {"policy": BatchPolicy(max_size=2, max_wait=0.1)}, ["batches"]),
        (
            hybrid(InFlight(1)),
            {"arrivals": mmpp(rate=60, burst=4, dwell=(4, 1))},
            ["MAP of 2 phases"],
        ),
        (hybrid(InFlight(2), count=2), {}, ["queue", 2]),
        (hybrid(InFlight(1), count=2, routing="random"), {}, ["random"]),
        (hybrid(InFlight(2)), {"base": ServiceTimes({1: SERVICE})}, ["exponential", 0]),
        (MixedFleet.example(), {}, ["mixed fleet"]),
        (Hybrid(base=MixedFleet.example(), overflow=FUNCTIONS), {}, ["base", "instance types"]),
    ],
)
def test_what_has_no_formula_says_why(deployment, terms, named):
    with refused(NotPredictable, *named):
        predicted(deployment, **terms)
