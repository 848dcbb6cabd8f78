"""How soon a queue forgets its past: textbook values, and what has no long run."""

import math

import numpy as np
import pytest

from tests.refused import refused
from workbench import BatchPolicy, Local, Serverless, bursty, flash_crowd, poisson
from workbench.deployment import Async, RealTime
from workbench.errors import TooFewSamples
from workbench.run import Run
from workbench.run.relaxation import infer_work
from workbench.service_times import ServiceTimes
from workbench.simulator import simulate
from workbench.traffic.trace import Trace

EXPONENTIAL = ServiceTimes({1: -np.log1p(-(np.arange(1000) + 0.5) / 1000)})


def run_of(trace, *, deployment=None, times=EXPONENTIAL, policy=None):
    setup = trace, policy or BatchPolicy(), deployment or Local(), times
    return simulate(*setup, seed=1)


@pytest.mark.parametrize(
    ("deployment", "times", "expected"),
    [
        (Local(), EXPONENTIAL, 1 / (1 - math.sqrt(0.5)) ** 2),
        (Local(), ServiceTimes({1: 1.0}), 1 / (1 - math.sqrt(0.5)) ** 2 / 2),
        (Local(workers=4), EXPONENTIAL, 1 / (1 - math.sqrt(0.5)) ** 2 / 4),
        (
            RealTime(instance_type="ml.m5.large", count=4, routing="random"),
            EXPONENTIAL,
            1 / (1 - math.sqrt(0.5)) ** 2,
        ),
    ],
)
def test_the_relaxation_time_is_the_textbooks(deployment, times, expected):
    servers = deployment.platform.servers
    trace = poisson(rate=0.5 * servers, duration=100_000 / servers, seed=2)

    found = run_of(trace, deployment=deployment, times=times).relaxation

    assert found.load == pytest.approx(0.5, rel=0.05)
    assert found.seconds - 1 == pytest.approx(expected, rel=0.4)  # of 100 windows; 1 is service


def test_bursts_are_remembered_longer():
    times = ServiceTimes({1: 0.01})
    even = run_of(poisson(rate=60, duration=2000, seed=3), times=times)
    bursts = run_of(bursty(rate=60, burst=4, dwell=(3, 1), duration=2000, seed=3), times=times)

    assert bursts.relaxation.seconds > 20 * even.relaxation.seconds
    assert 100 < bursts.worth < 1000 < even.worth


def test_a_run_at_full_load_has_no_interval():
    run = run_of(Trace(np.arange(3000) * 0.9, 3000))

    assert (run.worth, run.count_missing(0.5)) == (0.0, math.inf)
    with refused(TooFewSamples, 1.09):
        Run(run.frame, run.record).interval(0.5)


def test_a_trace_whose_rate_changes_all_along_has_no_interval():
    crowd = flash_crowd(
        rate=20, peak=5, start=50, ramp=100, hold=0, decay=100, duration=400, seed=1
    )
    run = run_of(crowd, times=ServiceTimes({1: 0.001}))

    assert run.worth < 15


def test_requests_of_one_batch_count_once():
    trace = Trace(np.repeat(np.arange(300.0), 4), 300)
    times = ServiceTimes.affine(0.01, 0.01, largest=4)

    run = run_of(trace, times=times, policy=BatchPolicy(max_size=4))

    assert run.worth == 300


def test_a_run_that_does_not_say_what_answered_counts_as_one_server():
    arrivals = poisson(rate=0.8, duration=20_000, seed=4).arrivals
    known = run_of(Trace(arrivals, 20_000))
    bare = Run.from_arrays(scheduled=arrivals, finished=known.frame["finished"].to_numpy())

    assert bare.relaxation.load == pytest.approx(known.relaxation.load, rel=1e-9)
    assert bare.worth == pytest.approx(known.worth, rel=1e-6)


def test_a_failed_request_is_no_work():
    assert infer_work(np.array([0.0, 1.0]), np.array([math.nan, 2.0])).tolist() == [0.0, 1.0]


def test_cold_starts_may_be_of_the_start_alone():
    times = ServiceTimes({1: [0.04, 0.05, 0.06]})
    trace = poisson(rate=100, duration=100, seed=5)
    function = Serverless(memory_mb=2048, max_concurrency=50)
    run = simulate(trace, BatchPolicy(), function, times, cold_start=0.5, seed=1)

    low, high = run.interval(0.9)

    warm = run.frame.filter(~run.frame["cold"])["latency"].quantile(0.9)
    assert low < warm < run.quantile(0.9) <= high


def test_a_fleet_that_begins_with_nothing_has_no_long_run():
    trace = poisson(rate=20, duration=10, seed=1)
    run = run_of(trace, deployment=Async(instance_type="ml.m5.large", count=0))

    assert run.answered == 0
    assert math.isinf(run.relaxation.seconds)
    assert run.verdict is None or run.verdict.word != "met"
