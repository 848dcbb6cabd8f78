"""What a platform ends, refuses or cannot hold is no plan, and the plan says so."""

from dataclasses import replace

import numpy as np
import pytest

from tests.refused import unnamed
from workbench.batching.timer import BatchPolicy
from workbench.deployment import KINDS, Async, BatchTransform, Lambda, RealTime, Serverless
from workbench.deployment.call_limits import CallDemand, broken_limits
from workbench.planner import Options, plan
from workbench.prediction import predict
from workbench.run import SLO
from workbench.service_times import ServiceTimes
from workbench.simulator import simulate
from workbench.traffic.map import poisson_process
from workbench.traffic.patterns import poisson
from workbench.traffic.trace import Trace

GB = 1024**3
SERVERLESS = Serverless(memory_mb=2048, max_concurrency=10)
SMALL = Options(
    max_sizes=[1, 2, 4],
    max_waits=[0.0, 0.5, 2.0],
    lambda_memory_mb=[1769],
    serverless_memory_mb=[2048],
    instance_types=["ml.c5.large"],
    row_bytes=100,
    answer_bytes=10,
    model_memory=1e6,
    cold_start=0.0,
    unseen_draws=0,
)


def trace(request_bytes=0, rate=2.0):
    arrivals = poisson(rate=rate, duration=300, seed=1).arrivals
    return Trace(arrivals, 300.0, bytes=request_bytes)


@pytest.mark.parametrize(
    ("deployment", "demand", "words"),
    [
        (SERVERLESS, CallDemand(seconds=122), "122 s, and serverless ends it after 60 s"),
        (RealTime(instance_type="ml.m5.large"), CallDemand(seconds=61), "ends it after 60 s"),
        (Lambda(memory_mb=512, max_concurrency=1), CallDemand(seconds=901), "after 900 s"),
        (Async(instance_type="ml.m5.large"), CallDemand(seconds=901), "async ends it after 900 s"),
        (SERVERLESS, CallDemand(content=5e6), "4.768 MB, and serverless takes 4 MB at most"),
        (Lambda(memory_mb=512, max_concurrency=1), CallDemand(content=5e6), "6.358 MB as base64"),
        (SERVERLESS, CallDemand(memory=3e9), "takes 2,861 MB of memory"),
        (SERVERLESS, CallDemand(start=200), "an instance takes 200 s to start"),
        (BatchTransform(instance_type="ml.m5.large"), CallDemand(content=2e8), "100 MB at most"),
    ],
)
def test_a_broken_limit_is_named(deployment, demand, words):
    assert words in broken_limits(deployment, demand)


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_a_small_call_breaks_no_limit(kind):
    assert broken_limits(KINDS[kind].example(), CallDemand(1.0, 1e3, 1e6, 1.0)) == ""


def test_a_call_beyond_the_time_limit_is_no_plan():
    slow = ServiceTimes({1: 50.0, 2: 61.0, 3: 92.0, 4: 122.0})
    found = plan(lambda _: slow, trace(rate=1), SLO(latency=200), SMALL)
    short = [each for each in found.finalists if each.deployment.time_limit == 60.0]
    assert short
    assert all(each.policy.max_size == 1 or "60 s" in each.reason for each in short)
    one = replace(SMALL, kinds=["serverless"], max_sizes=[4], max_waits=[10.0])
    impossible = plan(lambda _: slow, trace(rate=1), SLO(latency=200), one)
    assert not impossible.feasible
    assert "ends it after 60 s" in impossible.best.reason
    assert impossible.best.attainment < 0.5


def test_batches_carry_no_more_than_a_call_takes():
    found = plan(
        ServiceTimes.affine(0.01, 0.001, largest=4), trace(2_500_000), SLO(latency=5), SMALL
    )
    for each in found.finalists:
        limit = each.deployment.payload_limit
        if not each.deployment.by_job and "at most" not in each.reason:
            assert each.deployment.payload(each.policy.max_size * 2_500_000) <= limit
    lost = found.frame.filter(kind="real-time", max_size=4)["reason"]
    assert lost.str.contains("a call carries 9.537 MB, and real-time takes 6 MB at most").all()


def test_data_is_in_the_cost_of_a_plan():
    options = replace(SMALL, kinds=["real-time"], row_bytes=None, answer_bytes=0, max_sizes=[1])
    times = ServiceTimes({1: 0.01})
    with_data, without = (
        plan(times, trace(size), SLO(latency=0.1), options).best for size in (5_000_000, 0)
    )
    assert with_data.cost_per_million - without.cost_per_million == pytest.approx(
        1e6 * 5e6 / GB * 0.016
    )
    costs = plan(times, trace(5_000_000), SLO(latency=0.1), options).frame["cost_per_million"]
    assert costs.min() > 74


def test_a_model_that_does_not_fit_the_memory_is_no_plan():
    options = replace(SMALL, model_memory=3e9, serverless_memory_mb=[2048, 4096])
    found = plan(ServiceTimes.affine(0.01, 0.001, largest=4), trace(), SLO(latency=1), options)
    for each in found.finalists:
        assert (each.deployment.memory > 3e9) != each.reason.startswith("not possible")
    reasons = found.frame.filter(deployment="serverless 2048 MB")["reason"]
    assert reasons.str.contains("takes 2,861 MB of memory").all()


def test_limits_that_are_not_known_are_said():
    unknown = replace(SMALL, row_bytes=None, answer_bytes=None, model_memory=None)
    times = ServiceTimes.affine(0.01, 0.001, largest=4)
    notes = " ".join(plan(times, trace(), SLO(latency=1), unknown).notes)
    for words in ("bytes requests carry", "bytes answers have", "memory that the model takes"):
        assert f"{words}" in notes
    assert "instances of a type the account may have is not known" in notes
    raised = replace(SMALL, kinds=["lambda"], lambda_concurrency=2000)
    (note,) = plan(times, trace(), SLO(latency=1), raised).notes
    assert not unnamed(note, "2,000 calls", "quota")


def test_simulation_and_formula_say_which_limit_a_batch_breaks():
    times = ServiceTimes({1: 1.0, 2: 61.0})
    policy = BatchPolicy(max_size=2, max_wait=5.0)
    requests = trace(4_000_000)
    run = simulate(requests, policy, SERVERLESS, times, cold_start=0.0)
    words = " ".join(run.record.warnings)
    assert not unnamed(words, "60 s", "4 MB", "serverless")
    found = predict(requests, policy, SERVERLESS, times, arrivals=poisson_process(2.0))
    assert not unnamed(found.assumptions[0], "60 s", "7.629 MB")


def test_a_queue_counts_towards_the_time_limit_where_an_instance_keeps_it():
    crowd = Trace(np.zeros(100), 100.0)
    times = ServiceTimes({1: 1.0})
    run = simulate(crowd, BatchPolicy(), RealTime(instance_type="ml.m5.large"), times)
    assert any("40 batches took longer than the 60 s" in each for each in run.record.warnings)
