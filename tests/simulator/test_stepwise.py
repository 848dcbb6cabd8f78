import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.refused import refused
from tests.simulator.test_simulator import (
    SLOW_STRETCHES,
    fleets,
    on_demand,
    policies,
    service_times,
    ticks,
    traces,
)
from workbench.batching.policies import DeadlineAware, Replanned, Steered, WorkConserving
from workbench.batching.timer import BatchPolicy, TimedBatcher
from workbench.deployment import Async, BatchTransform, Lambda, Local, RealTime, Serverless
from workbench.errors import InvalidInput
from workbench.scaling import ScaleToZero, Schedule, TargetTracking
from workbench.service_times import ServiceTimes
from workbench.simulator import platforms, simulate, spawn_streams, stepwise
from workbench.simulator.kernels import Batches
from workbench.traffic.patterns import bursty
from workbench.traffic.trace import Trace

TIMES = ServiceTimes(
    {size: [0.008 + 0.002 * size, 0.01 + 0.002 * size] for size in range(1, 17)},
    after_idle={size: [0.009 + 0.002 * size, 0.012 + 0.002 * size] for size in range(1, 17)},
    speed=SLOW_STRETCHES,
)
TRACE = bursty(rate=200, burst=6, duration=10, seed=1)
REAL_TIME = {"instance_type": "ml.m5.large", "workers": 2}
ON_DEMAND = {"memory_mb": 1024, "keep_alive": 0.05}


LARGE = BatchPolicy(max_size=16, max_wait=0.1)


class Slow(Lambda):
    scaling_step = 3
    scaling_period = 1.0


POLICIES = {
    "no batching": BatchPolicy(),
    "timed": BatchPolicy(max_size=8, max_wait=0.03),
    "re-planned": Replanned(
        settings=[(0, BatchPolicy(max_size=8, max_wait=0.03)), (2, BatchPolicy()), (3, LARGE)]
    ),
    "deadline-aware": DeadlineAware.within(0.06, TIMES, max_size=8),
    "work-conserving": WorkConserving(max_size=8),
    "steered": Steered(latency=0.06, quantile=0.9, window=100, max_size=8),
}
DEPLOYMENTS = {
    "workers": Local(workers=2),
    "shared queue": RealTime(**REAL_TIME, count=2, routing="shared"),
    "one instance": RealTime(**REAL_TIME),
    "least outstanding": RealTime(**REAL_TIME, count=3),
    "random": RealTime(**REAL_TIME, count=3, routing="random"),
    "async": Async(**REAL_TIME, count=2),
    "serverless": Serverless(**ON_DEMAND, max_concurrency=5),
    "provisioned": Serverless(**ON_DEMAND, max_concurrency=5, provisioned=2, on_limit="queue"),
    "lambda": Slow(**ON_DEMAND, max_concurrency=50),
    "lambda that queues": Slow(**ON_DEMAND, max_concurrency=9, provisioned=1, on_limit="queue"),
}
FLEETS = {
    "least outstanding": RealTime(**REAL_TIME),
    "random": RealTime(**REAL_TIME, routing="random"),
    "shared": RealTime(**REAL_TIME, routing="shared"),
    "async": Async(**REAL_TIME, count=1),
}
SCALING = {
    "schedule": Schedule([(1.0, 3), (2.5, 1), (4.0, 4), (6.0, 2)]),
    "tracking": TargetTracking(
        target=0.5, metric="utilisation", most=4, period=0.5, out_cooldown=1, in_cooldown=1
    ),
}


def assert_same(  # noqa: PLR0917 - what is simulated, in its usual order
    policy, deployment, scaling=None, trace=TRACE, service=TIMES, cold_start=(0.1, 0.2)
):
    """Compiled loops and step-by-step loop give the same to the bit."""

    def chance():
        return platforms.RandomInputs(
            (service,), np.array(cold_start), *spawn_streams(1), phase=0.3
        )

    compiled = platforms.serve(trace, policy, deployment, chance(), scaling)
    steps = stepwise.serve(trace, policy, deployment, chance(), scaling)

    for name, one, other in zip(Batches._fields, compiled.batches, steps.batches, strict=True):
        np.testing.assert_array_equal(one, other, err_msg=name)
    assert steps[1:] == compiled[1:]


@pytest.mark.parametrize("policy", POLICIES.values(), ids=POLICIES)
@pytest.mark.parametrize("deployment", DEPLOYMENTS.values(), ids=DEPLOYMENTS)
def test_steps_and_compiled_loops_agree_bit_for_bit(policy, deployment):
    assert_same(policy, deployment)


@pytest.mark.parametrize("policy", POLICIES.values(), ids=POLICIES)
@pytest.mark.parametrize("deployment", FLEETS.values(), ids=FLEETS)
@pytest.mark.parametrize("scaling", SCALING.values(), ids=SCALING)
def test_steps_and_compiled_loops_agree_on_fleets_that_scale(policy, deployment, scaling):
    assert_same(policy, deployment, scaling)


@pytest.mark.parametrize("policy", POLICIES.values(), ids=POLICIES)
def test_steps_and_compiled_loops_agree_on_fleets_that_go_to_zero(policy):
    burst = bursty(rate=100, burst=6, duration=3, seed=1).arrivals
    trace = Trace(np.concatenate([burst, burst + 30]), 40.0)
    scaling = ScaleToZero(count=2, idle=3, period=1.0)

    assert_same(policy, Async(**REAL_TIME, count=0), scaling, trace)


@settings(max_examples=150, deadline=None)
@given(
    traces(),
    policies,
    on_demand().map(lambda each: (each, None)) | fleets,
    service_times(),
    st.lists(ticks, min_size=1, max_size=3).map(sorted),
)
def test_any_settings_fare_the_same_compiled_and_step_by_step(
    trace, policy, platform, service, cold_start
):
    assert_same(policy, *platform, trace, service, cold_start)


def test_a_window_of_answers_moves_size_and_wait():
    """The agreement above says little unless steering comes into play."""
    steered = platforms.serve(
        TRACE,
        POLICIES["steered"],
        Local(workers=2),
        platforms.RandomInputs((TIMES,), np.array([0.0]), *spawn_streams(1)),
        None,
    )
    waits = steered.batches.closed - TRACE.arrivals[steered.batches.first[:-1]]

    assert steered.batches.rows.max() == 8
    assert (waits > 0).any()


def test_a_policy_of_ones_own_fares_on_a_fleet_that_scales_as_the_one_it_copies():
    scaling = SCALING["schedule"]
    fleet = FLEETS["random"]

    ours, own = (
        simulate(TRACE, policy, fleet, TIMES, cold_start=[0.1, 0.2], scaling=scaling)
        for policy in (WorkConserving(max_size=8), Own(WorkConserving(max_size=8).batcher))
    )

    assert own.frame.equals(ours.frame)


def test_a_class_derived_from_a_policy_keeps_its_own_batcher():
    class Alone(WorkConserving):
        def batcher(self):
            return BatchPolicy().batcher()

    run = simulate(TRACE, Alone(max_size=8), Local(), TIMES)

    assert run.frame["batch_size"].max() == 1


def test_a_run_repeats_itself():
    first, again = (
        simulate(TRACE, WorkConserving(max_size=8), Local(), TIMES, seed=4) for _ in range(2)
    )

    assert first.frame.equals(again.frame)
    assert first.facts["policy"] == {"kind": "work-conserving", "max_size": 8}


def test_requests_of_several_rows_take_the_times_of_so_many():
    trace = Trace([0.0, 1.0], 2.0, rows=[3, 16])
    times = ServiceTimes({size: 0.01 * size for size in range(1, 17)})

    run = simulate(trace, WorkConserving(max_size=1), Local(), times)

    assert run.frame["latency"].to_list() == pytest.approx([0.03, 0.16])


def test_jobs_take_no_policy():
    jobs = BatchTransform(instance_type="ml.m5.large")

    ours = simulate(TRACE, WorkConserving(max_size=8), jobs, TIMES, cold_start=1.0)

    assert ours.frame.equals(simulate(TRACE, BatchPolicy(), jobs, TIMES, cold_start=1.0).frame)
    assert any("takes no policy" in warning for warning in ours.warnings)


class Own:
    """A policy out of a batcher."""

    label = "own"
    max_size = 1

    def __init__(self, batcher):
        self.batcher = batcher

    def to_dict(self):
        return {"kind": "own"}


class Forgetful(TimedBatcher):
    """Never asks to be woken."""

    def __init__(self):
        super().__init__(max_size=9, max_wait=1)

    due = property(lambda _: math.inf, lambda *_: None)


class Restless(Forgetful):
    """Asks to be woken for nothing."""

    due = property(lambda _: 0.5, lambda *_: None)

    def wake(self, _):
        return ()


class Twice(Forgetful):
    """Sends each request twice."""

    def add(self, request, _):
        return [[request], [request]]


@pytest.mark.parametrize(
    ("batcher", "named"),
    [
        (Forgetful, ["own", "0 of 2 requests", "due"]),
        (Restless, ["own", "0.5 s", "due"]),
        (Twice, ["own", "expected 1", "[0]"]),
    ],
)
def test_policies_that_lose_or_repeat_requests_are_refused(batcher, named):
    with refused(InvalidInput, *named):
        simulate(Trace([0.0, 1.0], 2.0), Own(batcher), Local(), TIMES)


@pytest.mark.parametrize("deployment", [Local(), Serverless(**ON_DEMAND, max_concurrency=1)])
@pytest.mark.parametrize("most", [17, 98])
def test_sizes_that_were_not_measured_are_refused(deployment, most):
    trace = Trace([0.0] * 99, 1.0)

    for policy in (WorkConserving(max_size=most), Own(WorkConserving(max_size=most).batcher)):
        with refused(InvalidInput, 16, most):
            simulate(trace, policy, deployment, TIMES)


def test_a_size_between_measured_ones_is_refused():
    with refused(InvalidInput, "1, 3", 2):
        simulate(
            Trace([0.0] * 3, 1.0), WorkConserving(max_size=2), Local(), ServiceTimes({1: 1, 3: 1})
        )


def test_sizes_and_windows_beyond_any_trace_never_fill():
    trace = Trace([0.0, 0.0, 0.0], 1.0)
    times = ServiceTimes({1: 1.0, 2: 1.0, 3: 1.0})

    for policy in (
        BatchPolicy(max_size=2**53, max_wait=0.5),
        WorkConserving(max_size=2**53),
        Steered(latency=1.0, max_size=2**53, window=2**53),
    ):
        assert simulate(trace, policy, Local(), times).answered == 3
