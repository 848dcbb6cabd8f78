import math

import numpy as np
import pytest

from workbench.batching.policies import WorkConserving
from workbench.batching.timer import BatchPolicy, TimedBatcher
from workbench.deployment import Async, BatchTransform, Lambda, Local, RealTime, Serverless
from workbench.errors import InvalidInput
from workbench.scaling import ScaleToZero
from workbench.service_times import ServiceTimes
from workbench.simulator import _streams, platforms, simulate, stepwise
from workbench.traffic.patterns import bursty
from workbench.traffic.trace import Trace

TIMES = ServiceTimes(
    {size: [0.008 + 0.002 * size, 0.01 + 0.002 * size] for size in range(1, 17)},
    after_idle={size: [0.009 + 0.002 * size, 0.012 + 0.002 * size] for size in range(1, 17)},
)
TRACE = bursty(rate=200, burst=6, duration=10, seed=1)
REAL_TIME = {"instance_type": "ml.m5.large", "workers": 2}
ON_DEMAND = {"memory_mb": 1024, "keep_alive": 0.05}


class Slow(Lambda):
    scaling_step = 3
    scaling_period = 1.0


@pytest.mark.parametrize("policy", [BatchPolicy(), BatchPolicy(max_size=8, max_wait=0.03)])
@pytest.mark.parametrize(
    "deployment",
    [
        Local(workers=2),
        RealTime(**REAL_TIME, count=2, routing="shared"),
        RealTime(**REAL_TIME),
        Serverless(**ON_DEMAND, max_concurrency=5),
        Serverless(**ON_DEMAND, max_concurrency=5, provisioned=2, on_limit="queue"),
        Slow(**ON_DEMAND, max_concurrency=50),
        Slow(**ON_DEMAND, max_concurrency=9, provisioned=1, on_limit="queue"),
    ],
)
def test_steps_and_compiled_loops_agree_bit_for_bit(policy, deployment):
    def chance():
        return platforms.RandomInputs(TIMES, np.array([0.1, 0.2]), *_streams(1))

    compiled = platforms.serve(TRACE, policy, deployment, chance(), None)
    steps = stepwise.serve(TRACE, policy, deployment, chance())

    for one, other in zip(compiled.batches, steps.batches, strict=True):
        assert np.array_equal(one, other, equal_nan=True)
    assert steps[1:] == compiled[1:]


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
    ("batcher", "message"),
    [
        (Forgetful, "sent 0 of 2 requests and waits for nothing"),
        (Restless, r"wants to be woken at 0\.5 s, and sends nothing then"),
        (Twice, r"each request once and in order of arrival: expected 1 next, got \[0\]"),
    ],
)
def test_policies_that_lose_or_repeat_requests_are_refused(batcher, message):
    with pytest.raises(InvalidInput, match=message):
        simulate(Trace([0.0, 1.0], 2.0), Own(batcher), Local(), TIMES)


@pytest.mark.parametrize(
    ("deployment", "settings", "message"),
    [
        (Async(instance_type="ml.m5.large"), {}, "is simulated on one shared queue"),
        (RealTime(**REAL_TIME, count=2), {}, "is simulated on one shared queue"),
        (RealTime(**REAL_TIME), {"scaling": ScaleToZero()}, "scales is simulated with BatchPolicy"),
    ],
)
def test_where_only_timed_policies_go_others_are_refused(deployment, settings, message):
    with pytest.raises(InvalidInput, match=message):
        simulate(TRACE, WorkConserving(max_size=2), deployment, TIMES, **settings)


def test_sizes_that_were_not_measured_are_refused():
    with pytest.raises(InvalidInput, match="Service times cover batches of 1 to 16 rows"):
        simulate(Trace([0.0] * 99, 1.0), WorkConserving(max_size=99), Local(), TIMES)
