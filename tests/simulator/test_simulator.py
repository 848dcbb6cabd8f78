"""Simulated runs: against the plain twin, against theory, and rule by rule."""

import json
import math
import os
import subprocess
import sys
import tracemalloc
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests import twin
from tests.refused import refused, unnamed
from tests.service_times.test_service_times import profile_of
from workbench import compilation
from workbench.batching.policies import DeadlineAware, Replanned, Steered, WorkConserving
from workbench.batching.timer import BatchPolicy
from workbench.deployment import (
    Async,
    BatchTransform,
    Hedge,
    Hybrid,
    InFlight,
    Lambda,
    Local,
    MixedFleet,
    RealTime,
    Serverless,
)
from workbench.errors import InvalidInput
from workbench.planner.options import Options
from workbench.pricing.usage import round_up_ms
from workbench.run import SLO
from workbench.run.costs import cost
from workbench.scaling import ScaleToZero, Schedule, StepScaling, TargetTracking
from workbench.service_times import ServiceTimes
from workbench.service_times.speed import SpeedRecord
from workbench.simulator import kernels, serve, simulate, spawn_streams
from workbench.traffic.patterns import poisson
from workbench.traffic.trace import Trace

UNBATCHED = BatchPolicy()
LOOPS = (
    "form_batches",
    "form_by_settings",
    "form_by_deadline",
    "serve_on_demand",
    "serve_fleet",
    "serve_on_demand_from_buffer",
    "serve_fleet_from_buffer",
    "latencies",
    "find_last",
    "take_batches",
    "merge_answers",
)


class SlowlyScaled(Lambda):
    """A Lambda function whose bucket holds 2 tokens and gains one every half second."""

    scaling_step = 2
    scaling_period = 1.0


def real_time(**knobs):
    return RealTime(instance_type="ml.m5.large", **knobs)


def asynchronous(*, ttl=21_600, **knobs):
    """An asynchronous endpoint, whose calls may expire sooner than AWS lets them."""
    deployment = Async(instance_type="ml.m5.large", **knobs)
    object.__setattr__(deployment, "ttl", ttl)
    return deployment


def serverless(max_concurrency, **knobs):
    return Serverless(memory_mb=1024, max_concurrency=max_concurrency, **knobs)


def at(*arrivals, duration=None, rows=1):
    return Trace(arrivals, duration or arrivals[-1] + 1, rows=rows)


def constantly(seconds, *, largest=1, idle=None):
    after_idle = None if idle is None else dict.fromkeys(range(1, largest + 1), idle)
    return ServiceTimes(dict.fromkeys(range(1, largest + 1), seconds), after_idle=after_idle)


def columns(trace, deployment, service, *names, policy=UNBATCHED, **settings):
    """A simulated run's columns as lists."""
    frame = simulate(trace, policy, deployment, service, **settings).frame
    lists = [frame[name].to_list() for name in names]
    return lists if len(names) > 1 else lists[0]


# ---------------------------------------------------------------------- the twin


TICK = 1 / 16  # times of so many binary digits add up exactly: equal instants are equal

ticks = st.integers(0, 64).map(lambda count: count * TICK)
sizes = st.integers(1, 5)
timed = st.builds(BatchPolicy, max_size=sizes, max_wait=ticks)
planned = st.dictionaries(st.integers(1, 400).map(lambda count: count * TICK), timed, max_size=3)
deadlines = st.lists(ticks.map(lambda time: time + TICK), min_size=1, max_size=5)
policies = st.one_of(
    timed,
    st.builds(WorkConserving, max_size=sizes),
    st.builds(
        lambda first, later: Replanned(settings=[(0, first), *sorted(later.items())]),
        timed,
        planned,
    ),
    st.builds(
        lambda service, slack: DeadlineAware(latency=service[0] + slack, service=service),
        deadlines,
        ticks.map(lambda time: time + TICK),
    ),
    st.builds(
        Steered,
        latency=st.sampled_from([0.5, 2.0, 8.0]),
        quantile=st.just(0.5),
        window=st.integers(20, 24),
        max_size=sizes,
        gain=st.sampled_from([0.25, 1.0]),
    ),
)
counts = st.integers(1, 4)
SLOW_STRETCHES = SpeedRecord(
    levels=np.array([[0.1, 0.3, 0.6], [0.7, 0.9, 0.95]]),
    slices=np.array([0, 0, 0, 1, 0, 1, 0, 0]),
    span=7.0,
    window=9,
)


@st.composite
def traces(draw):
    gaps = draw(st.lists(st.integers(0, 24), min_size=1, max_size=80))
    arrivals = np.cumsum(gaps) * TICK
    rows = draw(st.lists(st.integers(1, 2), min_size=len(gaps), max_size=len(gaps)))
    return Trace(arrivals, arrivals[-1] + TICK * draw(st.integers(1, 40)), rows=rows)


@st.composite
def service_times(draw):
    base, each, idle = (draw(st.integers(1, 16)) * TICK for _ in range(3))
    return ServiceTimes(
        {size: base + each * size for size in range(1, 11)},
        after_idle={size: base + each * size + idle for size in range(1, 11)},
    )


@st.composite
def on_demand(draw):
    limit = draw(counts)
    knobs = {
        "memory_mb": 1024,
        "max_concurrency": limit,
        "provisioned": draw(st.integers(0, limit)),
        "keep_alive": draw(ticks),
        "on_limit": draw(st.sampled_from(["reject", "queue"])),
    }
    return draw(st.sampled_from([Serverless, Lambda, SlowlyScaled]))(**knobs)


changes = st.dictionaries(ticks, counts, min_size=1, max_size=5)
schedules = changes.map(lambda counts: Schedule(sorted(counts.items())))
to_zero = st.builds(
    ScaleToZero, count=counts, idle=ticks, period=st.integers(1, 40).map(lambda n: n * TICK)
)
tracking = st.builds(
    TargetTracking,
    target=st.sampled_from([1.0, 10.0, 60.0]),
    metric=st.sampled_from(["invocations", "backlog", "utilisation"]),
    most=counts,
    out_periods=st.integers(1, 3),
    in_periods=st.integers(1, 4),
    out_cooldown=ticks,
    in_cooldown=ticks,
    period=st.integers(1, 40).map(lambda n: n * TICK),
)
stepping = st.builds(
    StepScaling,
    steps=st.sampled_from([[(0, 1)], [(0, 1), (2, 2)]]),
    metric=st.sampled_from(["backlog", "backlog without capacity"]),
    most=counts,
    cooldown=ticks,
    period=st.integers(1, 40).map(lambda n: n * TICK),
)
routings = st.sampled_from(["least_outstanding", "random", "shared"])
fleets = st.one_of(
    st.tuples(st.builds(Local, workers=counts), st.none()),
    st.tuples(
        st.builds(real_time, count=counts, workers=counts, routing=routings),
        st.none() | schedules | tracking,
    ),
    st.tuples(
        st.builds(asynchronous, count=st.integers(0, 2), workers=counts, ttl=st.integers(1, 5)),
        st.none() | schedules | to_zero | stepping,
    ),
)
jobs = st.builds(
    BatchTransform,
    instance_type=st.just("ml.m5.large"),
    count=counts,
    period=st.none() | st.integers(1, 64).map(lambda n: n * TICK),
)


def assert_twins(trace, policy, deployment, service, *, scaling=None, cold_start=0.0, seed=0):
    outcome = serve(
        trace, policy, deployment, service, scaling=scaling, cold_start=cold_start, seed=seed
    )
    batches, spans = twin.simulate(
        trace,
        policy,
        deployment,
        service,
        scaling=scaling,
        cold_start=cold_start,
        dice=spawn_streams(seed),
    )

    assert outcome.batches.first.tolist() == [*(b.requests[0] for b in batches), len(trace)]
    for name in ("closed", "rows", "started", "finished", "init", "cold", "server"):
        expected = [getattr(batch, name) for batch in batches]
        np.testing.assert_allclose(
            getattr(outcome.batches, name), expected, rtol=1e-12, atol=0, err_msg=name
        )
    assert (outcome.instances is None) == (spans is None)
    np.testing.assert_allclose(outcome.instances or [], spans or [], rtol=1e-12)


@settings(max_examples=200, deadline=None)
@given(traces(), policies, on_demand(), service_times(), ticks)
def test_instances_on_demand_do_as_the_twin_does(trace, policy, deployment, service, cold_start):
    assert_twins(trace, policy, deployment, service, cold_start=cold_start)


@settings(max_examples=200, deadline=None)
@given(traces(), policies, fleets, service_times(), ticks)
def test_fleets_do_as_the_twin_does(trace, policy, fleet, service, cold_start):
    deployment, scaling = fleet

    assert_twins(trace, policy, deployment, service, scaling=scaling, cold_start=cold_start)


@settings(max_examples=50, deadline=None)
@given(traces(), jobs, service_times(), ticks)
def test_jobs_do_as_the_twin_does(trace, deployment, service, cold_start):
    assert_twins(trace, UNBATCHED, deployment, service, cold_start=cold_start)


@pytest.mark.parametrize(
    ("deployment", "scaling"),
    [
        (serverless(3, keep_alive=0.5, on_limit="queue"), None),
        (serverless(3, keep_alive=0.5, provisioned=1), None),
        (real_time(count=2, workers=2, routing="random"), None),
        (real_time(count=1, workers=2), Schedule([(5.0, 4), (20.0, 1)])),
        (asynchronous(count=0, workers=2), ScaleToZero(count=2, idle=5, period=3)),
        (BatchTransform(instance_type="ml.m5.large", count=2, period=7), None),
    ],
    ids=str,
)
@pytest.mark.parametrize("speed", [None, SLOW_STRETCHES], ids=["independent", "in stretches"])
def test_drawn_times_are_those_of_the_twin(deployment, scaling, speed):
    trace = poisson(rate=8, duration=30, seed=1, rows=(1, 2))
    service = ServiceTimes(
        {size: [0.1 * size, 0.2 * size, 0.5 * size] for size in range(1, 9)},
        after_idle={size: [0.2 * size, 0.3 * size, 0.9 * size] for size in range(1, 9)},
        speed=speed,
    )

    policy = BatchPolicy(max_size=4, max_wait=0.2)

    assert_twins(trace, policy, deployment, service, scaling=scaling, cold_start=[0.5, 1, 4])


# ---------------------------------------------------------------------- theory


def exponential(mean):
    """An exponential law cut off at its 99.9975 % point, where its mean is short by 0.003 %."""
    levels = (np.arange(20_001) / 20_000) * (1 - 1 / 40_000)
    return ServiceTimes({1: np.maximum(-mean * np.log1p(-levels), 1e-9)})


def waits(trace, deployment, service, seed=0):
    batches = serve(trace, UNBATCHED, deployment, service, seed=seed).batches
    return batches.started - batches.closed


def assert_mean(sample, expected, *, errors=5, blocks=50):
    """The mean is within so many standard errors, which come from means of consecutive blocks."""
    means = np.array([block.mean() for block in np.array_split(sample, blocks)])
    error = means.std(ddof=1) / math.sqrt(blocks)
    assert abs(sample.mean() - expected) < errors * error, (sample.mean(), expected, error)


def erlang_b(servers, offered):
    blocked = 1.0
    for count in range(1, servers + 1):
        blocked = offered * blocked / (count + offered * blocked)
    return blocked


def erlang_c(servers, offered):
    blocked = erlang_b(servers, offered)
    return blocked / (1 - offered / servers * (1 - blocked))


@pytest.fixture(scope="module")
def crowd():
    """Ten arrivals a second for 30,000 seconds."""
    return poisson(rate=10, duration=30_000, seed=1)


@pytest.mark.parametrize("load", [0.3, 0.7])
def test_one_server_with_exponential_times_is_m_m_1(crowd, load):
    mean = load / 10
    run = simulate(crowd, UNBATCHED, Local(), exponential(mean), seed=1)

    latency = run.latencies
    assert_mean(latency, mean / (1 - load))
    for q in (0.5, 0.9, 0.99):  # an exponential law too
        assert_mean(latency <= -math.log(1 - q) * mean / (1 - load), q)


@pytest.mark.parametrize("load", [0.3, 0.7])
def test_one_server_with_constant_times_is_m_d_1(crowd, load):
    mean = load / 10

    assert_mean(waits(crowd, Local(), constantly(mean)), load * mean / (2 * (1 - load)))


def test_one_server_with_drawn_times_is_m_g_1(crowd):
    law = np.array([0.01, 0.03, 0.04, 0.2])
    pieces = np.linspace(0, 1, 100_001)[:-1] + 0.5e-5
    times = np.interp(pieces * 3, range(4), law)

    expected = 10 * (times**2).mean() / (2 * (1 - 10 * times.mean()))  # Pollaczek-Khinchine

    assert_mean(waits(crowd, Local(), ServiceTimes({1: law}), seed=1), expected)


@pytest.mark.parametrize(
    "deployment",
    [Local(workers=4), real_time(count=2, workers=2, routing="shared"), asynchronous(count=4)],
    ids=str,
)
def test_a_shared_queue_is_m_m_c(crowd, deployment):
    mean, servers = 0.3, 4
    waiting = waits(crowd, deployment, exponential(mean))

    chance = erlang_c(servers, 10 * mean)
    assert_mean(waiting > 0, chance)
    assert_mean(waiting, chance * mean / (servers - 10 * mean))


def test_a_queue_at_the_client_is_m_m_c(crowd):
    deployment = serverless(4, on_limit="queue", keep_alive=1e9)

    waiting = waits(crowd, deployment, exponential(0.3))

    assert_mean(waiting > 0, erlang_c(4, 3.0))


@pytest.mark.parametrize("service", [exponential(0.3), constantly(0.3)], ids=str)
@pytest.mark.parametrize("limit", [2, 5])
def test_a_limit_rejects_as_erlang_says_whatever_the_law(crowd, service, limit):
    outcome = serve(crowd, UNBATCHED, serverless(limit), service)

    assert_mean(np.isnan(outcome.latencies), erlang_b(limit, 3.0))


def test_random_routing_makes_queues_of_their_own(crowd):
    mean, load = 0.15, 0.75

    waiting = waits(crowd, real_time(count=2, routing="random"), exponential(mean))

    assert_mean(waiting, load * mean / (1 - load))


def test_arrivals_see_as_many_requests_as_little_says(crowd):
    small_batches = ServiceTimes(dict.fromkeys((1, 2, 3), exponential(0.2).table[1]))
    outcome = serve(crowd, BatchPolicy(max_size=3, max_wait=0.1), Local(workers=2), small_batches)

    left = np.sort(crowd.arrivals + outcome.latencies)
    seen = np.arange(len(crowd)) - np.searchsorted(left, crowd.arrivals, side="right")

    assert_mean(seen, crowd.rate * outcome.latencies.mean())


def test_without_limits_a_request_waits_for_its_batch_only(crowd):
    run = simulate(
        crowd, BatchPolicy(max_size=4, max_wait=0.3), serverless(200), constantly(0.5, largest=4)
    )

    batches = run.batches()
    assert (batches["finished"] - batches["started"]).to_numpy() == pytest.approx(0.5)
    assert run.frame["latency"].max() <= 0.3 + 0.5 + 1e-9
    sizes = batches["batch_size"].value_counts(sort=True).sort("batch_size")["count"]
    # given an opened batch, arrivals within max_wait are Poisson: P(N = n) = P(n - 1 arrivals)
    expected = [math.exp(-3) * 3**k / math.factorial(k) for k in range(3)]
    for size, chance in enumerate([*expected, 1 - sum(expected)], start=1):
        error = math.sqrt(chance * (1 - chance) / batches.height)
        assert abs(sizes[size - 1] / batches.height - chance) < 5 * error


# ---------------------------------------------------------------------- rule by rule


def test_a_request_at_the_very_instant_of_the_timer_still_gets_in():
    trace = at(0.0, 1.0, 1.25)

    batch, done = columns(
        trace,
        Local(),
        constantly(0.5, largest=2),
        "batch",
        "finished",
        policy=BatchPolicy(max_size=3, max_wait=1.0),
    )

    assert batch == [0, 0, 1]
    assert done == [1.5, 1.5, 2.75]


def test_a_service_takes_as_long_as_its_rows_ask_for():
    trace = at(0.0, 0.0, 10.0, rows=[1, 2, 1])
    service = ServiceTimes({1: 1.0, 3: 3.0})

    batch_of_two = BatchPolicy(max_size=2)

    assert columns(trace, Local(), service, "latency", policy=batch_of_two) == [3.0, 3.0, 1.0]


def test_a_server_that_was_idle_takes_longer():
    trace = at(0.0, 0.5, 2.0, 9.0)
    service = constantly(1.0, idle=1.5)

    assert columns(trace, Local(), service, "finished") == [1.5, 2.5, 3.5, 10.5]


def test_the_instance_freed_last_serves_next():
    trace = at(0.0, 0.25, 0.5, 4.0, 4.0, 4.0)

    assert columns(trace, serverless(5), constantly(1.0), "server") == [0, 1, 2, 2, 1, 0]


def test_of_instances_freed_at_one_instant_the_lowest_number_serves():
    trace = at(0.0, 0.0, 3.0)

    assert columns(trace, serverless(5), constantly(1.0), "server") == [0, 1, 0]


def test_provisioned_instances_go_first_and_are_never_cold():
    trace = at(0.0, 0.0, 0.0, 500.0)
    deployment = serverless(5, provisioned=2, keep_alive=1e6)

    server, cold = columns(trace, deployment, constantly(1.0), "server", "cold", cold_start=0.25)

    assert server == [0, 1, 2, 0]
    assert cold == [False, False, True, False]


def test_an_instance_idle_for_exactly_keep_alive_is_still_alive():
    trace = at(0.0, 11.0, 22.125)
    deployment = serverless(1, keep_alive=10.0)

    cold, server = columns(trace, deployment, constantly(1.0), "cold", "server")

    assert cold == [True, False, True]
    assert server == [0, 0, 1]


@pytest.mark.parametrize("keep_alive", [0.7, 0.6, 0.3])
@pytest.mark.parametrize("policy", [UNBATCHED, WorkConserving(max_size=1)])
def test_rounding_does_not_end_an_instance(keep_alive, policy):
    trace = at(0.0, 0.1 + keep_alive, 0.2 + 2 * keep_alive, 1.1 + 3 * keep_alive)
    shortly = serverless(2, keep_alive=keep_alive)

    assert columns(trace, shortly, constantly(0.1), "cold", policy=policy) == [1, 0, 0, 1]


def test_rounding_does_not_expire_a_call():
    run = simulate(at(0.2, 0.2), UNBATCHED, asynchronous(ttl=0.1), constantly(0.1))

    assert run.answered == 2


def test_a_batch_stays_with_the_instance_it_started():
    trace = at(0.0, 0.5)

    done, init = columns(trace, serverless(2), constantly(1.0), "finished", "init", cold_start=0.75)

    assert done == [1.75, 2.25]  # though the first instance is free at 1.75
    assert init == [0.75, 0.75]


def test_past_the_limit_a_batch_is_throttled():
    trace = at(0.0, 0.5, 1.0)

    run = simulate(trace, UNBATCHED, serverless(1), constantly(1.0))

    assert run.frame["error"].to_list() == [
        None,
        "throttled: no instance was free, and no more may start",
        None,
    ]
    assert run.frame["server"].to_list() == [0, -1, 0]
    assert run.frame["started"].to_list() == [0.0, 0.5, 1.0]
    assert math.isnan(run.frame["finished"][1])


def test_past_the_limit_a_batch_may_wait_its_turn():
    trace = at(0.0, 0.25, 0.5, 0.75)
    deployment = serverless(2, on_limit="queue")

    done, server = columns(trace, deployment, constantly(1.0), "finished", "server")

    assert done == [1.0, 1.25, 2.0, 2.25]
    assert server == [0, 1, 0, 1]


def test_lambda_starts_a_thousand_instances_at_once_and_no_more():
    trace = at(*np.zeros(1100), 0.5)

    outcome = serve(trace, UNBATCHED, Lambda(memory_mb=1769, max_concurrency=5000), constantly(9.0))

    assert np.isfinite(outcome.latencies[:1000]).all()
    assert np.isnan(outcome.latencies[1000:1100]).all()
    assert np.isfinite(outcome.latencies[1100])  # 50 more since


def test_lambda_starts_a_hundred_instances_a_second_then():
    trace = at(*np.zeros(1100))
    deployment = Lambda(memory_mb=1769, max_concurrency=5000, on_limit="queue")

    outcome = serve(trace, UNBATCHED, deployment, constantly(9.0))

    late = outcome.batches.started[1000:]
    assert late == pytest.approx(np.arange(1, 101) / 100)


def test_requests_go_to_the_instance_with_fewest_in_flight():
    trace = at(0.0, 0.0, 0.0, 0.0, 1.0)
    deployment = real_time(count=2, workers=1)

    server, done = columns(trace, deployment, constantly(1.0), "server", "finished")

    assert server == [0, 1, 0, 1, 0]
    assert done == [1.0, 1.0, 2.0, 2.0, 3.0]


def test_a_job_takes_what_was_scheduled_in_its_period():
    trace = at(0.0, 0.75, 1.0, 3.5, duration=4.0)
    deployment = BatchTransform(instance_type="ml.m5.large", count=1, period=1.0)

    run = simulate(trace, UNBATCHED, deployment, constantly(0.25, largest=2), cold_start=0.5)

    assert run.frame["batch"].to_list() == [0, 0, 1, 2]
    assert run.frame["started"].to_list() == [1.0, 1.0, 2.0, 4.0]
    assert run.frame["finished"].to_list() == [1.75, 1.75, 2.75, 4.75]
    assert run.record.instances == ((1.5, 1.75), (2.5, 2.75), (4.5, 4.75))


def test_one_job_starts_at_the_end_of_the_trace_and_shares_out_its_rows():
    trace = at(*np.arange(10.0), duration=20.0)
    deployment = BatchTransform(instance_type="ml.m5.large", count=2)
    service = ServiceTimes({1: 0.5, 2: 0.75, 3: 1.0})

    done = columns(trace, deployment, service, "finished", boot=0)

    assert done == [22.0] * 10  # 3 + 3 and 3 + 1 rows: 2 s and 1.5 s


def test_a_job_waits_for_its_instances_as_in_a_plan_and_is_not_billed_for_that():
    deployment = BatchTransform(instance_type="ml.m5.large")
    run = simulate(at(0.0, duration=10.0), UNBATCHED, deployment, constantly(5.0))

    boot = Options().boot
    assert run.frame["finished"].to_list() == [10 + boot + 5]
    assert run.record.instances == ((10 + boot, 10 + boot + 5),)
    assert not unnamed(run.warnings[0], "job", "180 s")
    (item,) = cost(run).items
    assert item.quantity == pytest.approx(5 / 3600)


def test_a_target_that_no_job_can_meet_is_missed_and_not_blamed_on_its_boot():
    trace = poisson(rate=50, duration=10, seed=1)
    deployment = BatchTransform(instance_type="ml.m5.large")

    run = simulate(trace, UNBATCHED, deployment, constantly(0.001), slo=SLO(latency=0.1))

    assert run.verdict.word == "missed"
    low, high = run.interval(0.95)
    assert Options().boot < low < high


@pytest.mark.parametrize("period", [0.1, 0.3, 7.0])
def test_a_request_on_the_border_belongs_to_the_job_that_begins_there(period):
    trace = at(*(np.arange(200) * period))
    deployment = BatchTransform(instance_type="ml.m5.large", period=period)

    started = columns(trace, deployment, constantly(0.1), "started")

    assert started == [(turn + 1) * period for turn in range(200)]


def test_a_call_that_waits_too_long_in_the_queue_expires():
    trace = at(0.0, 1.0, 2.0)
    deployment = asynchronous(ttl=60)

    run = simulate(trace, UNBATCHED, deployment, constantly(61.0))

    assert run.frame["finished"].fill_nan(None).to_list() == [61.0, 122.0, None]
    assert run.frame["error"].to_list()[2].startswith("expired")


def test_a_fleet_of_none_is_launched_for_what_waits_and_goes_when_idle():
    trace = at(70.0, 71.0, 400.0, duration=1000.0)
    scaling = ScaleToZero(idle=100, period=60)

    run = simulate(
        trace, UNBATCHED, asynchronous(count=0), constantly(2.0), scaling=scaling, cold_start=30.0
    )

    assert run.frame["started"].to_list() == [150.0, 152.0, 450.0]
    assert run.record.instances == ((120.0, 300.0), (420.0, 600.0))


def test_a_fleet_grows_and_shrinks_by_schedule_newest_idle_first():
    trace = at(*np.arange(0.0, 12.0))
    scaling = Schedule([(2.5, 3), (6.5, 1)])

    run = simulate(trace, UNBATCHED, real_time(), constantly(2.25), scaling=scaling, cold_start=1.0)

    server = run.frame["server"].to_list()
    assert server[:4] == [0, 0, 0, 0]  # two more were launched at 2.5 and serve from 3.5 on
    assert server[4:7] == [1, 2, 1]
    assert set(server[7:]) == {0}
    first, second, third = run.record.instances
    assert first == (0.0, run.frame["finished"].max())
    assert second == (2.5, 8.5)  # it was serving when it was retired, and something waited
    assert third == (2.5, 7.25)


def test_requests_are_conserved_and_instances_serve_one_batch_at_a_time():
    trace = poisson(rate=50, duration=60, seed=2, rows=(1, 3))
    policy = BatchPolicy(max_size=4, max_wait=0.1)
    service = ServiceTimes({size: [0.01 * size, 0.09 * size] for size in range(1, 13)})
    deployments = [
        serverless(4, keep_alive=0.2),
        serverless(4, on_limit="queue"),
        Local(workers=3),
        real_time(count=3, routing="random"),
    ]

    for deployment in deployments:
        run = simulate(trace, policy, deployment, service, cold_start=[0.0, 0.5])
        frame = run.frame
        batches = run.batches()
        assert frame["request"].to_list() == list(range(len(trace)))
        assert frame["rows"].sum() == trace.rows.sum() == batches["rows"].sum()
        assert (frame["batch_size"] == frame.select(pl.len().over("batch")).to_series()).all()
        assert (frame["sent"] <= frame["started"]).all()
        assert ((frame["finished"] > frame["started"]) | frame["error"].is_not_null()).all()
        served = batches.filter(pl.col("error").is_null()).sort("server", "started")
        following = served.with_columns(pl.col("finished").shift().over("server").alias("before"))
        assert (following["started"] >= following["before"]).all()


# ---------------------------------------------------------------------- seeds and engines


EVERY_KIND = {
    "serverless": serverless(3, keep_alive=0.5, on_limit="queue"),
    "provisioned": serverless(3, keep_alive=0.5, provisioned=1),
    "lambda": SlowlyScaled(memory_mb=1769, max_concurrency=9, keep_alive=0.5, on_limit="queue"),
    "local": Local(workers=2),
    "least outstanding": real_time(count=2, workers=2),
    "random": real_time(count=2, workers=2, routing="random"),
    "async": asynchronous(count=2, ttl=1),
    "batch transform": BatchTransform(instance_type="ml.m5.large", count=2, period=3.0),
}
every_kind = pytest.mark.parametrize("deployment", EVERY_KIND.values(), ids=EVERY_KIND)


SMALL_TIMES = ServiceTimes({size: [0.1 * size, 0.4 * size] for size in (1, 2, 3)})
SMALL = BatchPolicy(max_size=3, max_wait=0.2)
EVERY_POLICY = {
    "timed": SMALL,
    "re-planned": Replanned(settings=[(0, SMALL), (5, BatchPolicy(max_size=2))]),
    "deadline-aware": DeadlineAware.within(1.0, SMALL_TIMES, max_size=3),
    "work-conserving": WorkConserving(max_size=3),
    "steered": Steered(latency=0.5, quantile=0.5, window=20, max_size=3),
}


def small_run(deployment, seed=0, make=simulate, policy=SMALL):
    service = SMALL_TIMES
    trace = poisson(rate=9, duration=20, seed=1)
    return make(trace, policy, deployment, service, cold_start=[0.2, 0.9], seed=seed)


def latencies_of_every_kind():
    outcomes = [
        small_run(deployment, make=serve, policy=policy)
        for deployment in EVERY_KIND.values()
        for policy in EVERY_POLICY.values()
    ]
    return [outcome.latencies.tolist() for outcome in outcomes]


def printed_by(script, **environment):
    """What another Python process prints."""
    return subprocess.run(
        [sys.executable, "-c", script],
        cwd=Path(__file__).parents[2],
        env=os.environ | environment,
        check=True,
        capture_output=True,
        text=True,
    ).stdout


@every_kind
def test_a_seed_gives_the_same_run_bit_for_bit_and_another_one_does_not(deployment):
    run, again, other = (small_run(deployment, seed) for seed in (1, 1, 2))

    assert run.frame.equals(again.frame)
    assert run.facts == again.facts
    assert not run.frame.equals(other.frame)


def test_a_generator_is_a_seed_that_moves_on():
    dice = np.random.default_rng(1)

    assert not small_run(Local(), dice).frame.equals(small_run(Local(), dice).frame)


def test_service_times_do_not_depend_on_arrivals_of_the_same_seed():
    trace = poisson(rate=10, duration=2000, seed=5)
    service = ServiceTimes({1: [0.001, 0.5]})
    outcome = serve(trace, UNBATCHED, serverless(200), service, seed=5)

    times = (outcome.batches.finished - outcome.batches.started)[1:]
    correlation = np.corrcoef(trace.gaps, times)[0, 1]

    assert abs(correlation) < 5 / math.sqrt(len(times))


@every_kind
@pytest.mark.parametrize("policy", EVERY_POLICY.values(), ids=EVERY_POLICY)
def test_plain_python_gives_the_same_numbers(deployment, policy, monkeypatch):
    compiled = small_run(deployment, policy=policy)
    for name in LOOPS:
        monkeypatch.setattr(kernels, name, getattr(kernels, name).py_func)

    assert small_run(deployment, policy=policy).frame.equals(compiled.frame)
    np.testing.assert_array_equal(
        small_run(deployment, make=serve, policy=policy).latencies, compiled.frame["latency"]
    )


def test_a_process_without_the_compiler_gives_the_same_numbers():
    script = (
        "from tests.simulator.test_simulator import latencies_of_every_kind as latencies\n"
        "print(latencies())"
    )

    assert printed_by(script, NUMBA_DISABLE_JIT="1") == f"{latencies_of_every_kind()}\n"


@every_kind
def test_what_is_billed_is_each_answered_batch_rounded_up(deployment):
    batches = small_run(deployment, make=serve).batches
    taken = np.isfinite(batches.finished)
    spans = (batches.finished - batches.started)[taken]

    for with_cold_starts, seconds in ((True, spans), (False, spans - batches.init[taken])):
        expected = taken.sum(), round_up_ms(seconds).sum()
        assert kernels.sum_billed_ms(batches, with_cold_starts) == expected
        assert kernels.sum_billed_ms.py_func(batches, with_cold_starts) == expected


def test_loops_compile_where_nothing_may_be_written():
    script = (
        "import numpy as np\n"
        "from workbench import compilation\n"
        "from workbench.simulator.kernels import form_batches\n"
        "compilation.BUDGET.steps = 0\n"
        "print(form_batches(np.zeros(3), 2, 0.0, np.zeros(4, np.int64), np.zeros(3)))"
    )

    # a place for the code of notebook cells only
    assert printed_by(script, NUMBA_CACHE_LOCATOR_CLASSES="IPythonCacheLocator") == "2\n"


def test_importing_the_simulator_does_not_load_the_compiler():
    script = "import sys, workbench.simulator\nprint('numba' in sys.modules)"

    assert printed_by(script) == "False\n"


def test_each_loop_is_compiled_once():
    for deployment in EVERY_KIND.values():
        small_run(deployment)
    simulate(at(0, 1), BatchPolicy(max_wait=1), real_time(), constantly(1), cold_start=1)
    latencies_of_every_kind()
    functions = Lambda(memory_mb=1769, max_concurrency=2)
    mixed = MixedFleet(parts=(real_time(), RealTime(instance_type="ml.c5.large")))
    for base, more, less in ((real_time(), 2, 0), (mixed, {"ml.m5.large": 2}, {})):
        for spill in (InFlight(1), Hedge(after=0.5)):
            hybrid = Hybrid(base=base, overflow=functions, spill=spill)
            times = [constantly(1)] * len(hybrid.simple_parts)
            scaled = {"scaling": Schedule([(0.0, more), (0.5, less)]), "boot": 0.0}
            simulate(at(0, 0.1, 0.2), BatchPolicy(), hybrid, times, cold_start=1, **scaled)

    signatures = {name: getattr(kernels, name).dispatcher.signatures for name in LOOPS}
    assert {name: len(found) for name, found in signatures.items()} == dict.fromkeys(LOOPS, 1)


def test_loops_are_compiled_once_plain_python_has_taken_its_steps(monkeypatch):
    loop = compilation.compile_loop(kernels.form_batches.py_func)
    monkeypatch.setattr(compilation, "BUDGET", compilation.Budget(5))
    array, first = np.zeros(3), np.zeros(4, np.int64)

    assert loop(array, 2, 0.0, first, np.zeros(3)) == 2  # 4 steps: the length of `first`
    assert loop.dispatcher is None
    assert loop(array, 2, 0.0, first, np.zeros(3)) == 2
    assert loop.dispatcher is not None


def test_memory_does_not_grow_beyond_the_result():
    trace = poisson(rate=1000, duration=100, seed=1)
    deployment, service = serverless(50, on_limit="queue"), constantly(0.02)
    serve(trace, UNBATCHED, deployment, service)

    tracemalloc.start()
    outcome = serve(trace, UNBATCHED, deployment, service)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert peak < 1.1 * sum(array.nbytes for array in outcome.batches)


# ---------------------------------------------------------------------- what a run says


def test_a_run_names_what_it_was_made_of():
    trace = poisson(rate=9, duration=20, seed=1)
    run = simulate(
        trace,
        BatchPolicy(max_size=2, max_wait=0.1),
        serverless(3),
        constantly(0.1, largest=2),
        cold_start=[0.5, 1.5],
        slo=SLO(latency=0.3),
        seed=np.int64(4),
    )

    assert json.loads(json.dumps(run.facts)) == run.facts
    assert run.label == "serverless 1024 MB, up to 2, 100 ms"
    assert run.record.deployment.kind == "serverless"
    assert run.record.trace.sha256 == trace.digest
    assert run.record.places == (run.record.deployment.label,)
    assert (run.origin, run.record.seed, run.record.cold_start) == ("simulated", 4, 1.0)
    assert run.slo == SLO(latency=0.3)
    assert not run.warnings
    assert run.summary()["requests"] == len(trace)


def test_a_profile_of_this_machine_is_taken_as_it_is():
    profile = profile_of([0.25], [0.5])
    trace = at(0.0, 0.25)

    run = simulate(trace, UNBATCHED, Local(), profile)
    elsewhere = simulate(trace, UNBATCHED, real_time(), profile)

    assert run.frame["finished"].to_list() == [0.5, 0.75]
    assert not run.warnings
    assert "measured on this machine with 1 thread" in elsewhere.warnings[0]


def test_a_run_says_that_new_instances_took_no_time():
    run = simulate(at(0.0), UNBATCHED, serverless(1), constantly(1.0))

    (warning,) = run.warnings
    assert not unnamed(warning, "cold_start=")


@pytest.mark.parametrize(
    "deployment",
    [Local(workers=2), real_time(count=2), serverless(2, on_limit="queue"), asynchronous(count=2)],
    ids=lambda each: each.kind,
)
def test_a_run_says_that_more_work_arrives_than_is_done(deployment):
    trace = poisson(rate=25, duration=20, seed=1)

    crowded = simulate(trace, UNBATCHED, deployment, constantly(0.1), cold_start=1)
    relaxed = simulate(trace, UNBATCHED, deployment, constantly(0.01), cold_start=1)

    assert "Load is 1.2" in crowded.warnings[0]
    assert not relaxed.warnings


def test_a_run_says_that_aws_would_have_failed_calls():
    run = simulate(at(0.0), UNBATCHED, real_time(), constantly(61.0))

    assert not unnamed(run.warnings[-1], "1 batches", "60 s")


def test_a_run_says_that_a_job_takes_no_policy():
    deployment = BatchTransform(instance_type="ml.m5.large")

    run = simulate(at(0.0), BatchPolicy(max_size=2), deployment, constantly(1.0), cold_start=60)

    (warning,) = run.warnings
    assert not unnamed(warning, "batch transform", "up to 2, 0 ms")


# ---------------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"policy": "none"}, ["policy", "none"]),
        ({"deployment": "local"}, ["deployment", "local"]),
        ({"trace": [0.0, 1.0]}, ["trace", "[0.0, 1.0]"]),
        ({"service": 0.1}, ["service", 0.1]),
        ({"cold_start": -1.0}, ["cold_start", -1.0]),
        ({"cold_start": []}, ["cold_start", "[]"]),
        ({"cold_start": "long"}, ["cold_start", "'long'"]),
        ({"cold_start": "5"}, ["cold_start", "'5'"]),
        ({"boot": -1.0}, ["boot", -1.0]),
        ({"slo": 0.1}, ["slo", 0.1]),
        ({"scaling": "fast"}, ["scaling", "fast"]),
        ({"cold_start": [math.nan]}, ["cold_start", "[nan]"]),
        ({"seed": -1}, ["seed", -1]),
        ({"seed": "one"}, ["seed", "one"]),
        ({"scaling": ScaleToZero()}, ["scaling", "local"]),
        ({"policy": BatchPolicy(max_size=3, max_wait=9)}, [1, 2]),
    ],
    ids=str,
)
def test_what_cannot_be_simulated_is_refused(changed, named):
    arguments = {
        "trace": at(0.0, 1.0),
        "policy": UNBATCHED,
        "deployment": Local(),
        "service": constantly(0.1),
        **changed,
    }

    with refused(InvalidInput, *named):
        simulate(**arguments)


def test_a_limit_that_nothing_reaches_takes_no_memory():
    boundless = Lambda(memory_mb=1769, max_concurrency=10**12, provisioned=10**11)

    assert columns(at(0.0, 0.0), boundless, constantly(1.0), "server") == [0, 1]


class Stuck:
    due = 1.0

    def scaler(self):
        return self

    def to_dict(self):
        return {"kind": "stuck"}

    def decide(self, _reading, _now):
        return 1


def test_a_scaler_that_does_not_move_on_is_refused():
    with refused(InvalidInput, "scaler", 1.0):
        serve(at(0.0, 5.0), UNBATCHED, real_time(), constantly(1.0), scaling=Stuck())


class Recorded(Schedule):
    """A schedule whose readings can be looked at afterwards."""

    def scaler(self):
        scaler = super().scaler()
        scaler.readings = self.__dict__.setdefault("readings", [])
        decide = scaler.decide
        scaler.decide = lambda reading, now: (
            scaler.readings.append(reading),
            decide(reading, now),
        )[1]
        return scaler


class StepByStep(BatchPolicy):
    """A policy that compiled loops do not know."""


at_once = pytest.mark.parametrize(
    "policy", [UNBATCHED, StepByStep(), WorkConserving(max_size=1)], ids=lambda one: one.label
)


@pytest.mark.parametrize("kind", [BatchPolicy, StepByStep])
def test_a_scaler_is_asked_after_finish_arrival_and_timer_of_its_instant(kind):
    """At 4 the first batch is done, a request arrives, and a batch of two leaves by its timer."""
    scaling = Recorded([(4.0, 1)])
    policy = kind(max_size=3, max_wait=1.0)
    trace = at(0.0, 3.0, 4.0, 4.5)

    run = simulate(trace, policy, real_time(), constantly(3.0, largest=3), scaling=scaling)

    assert run.frame["started"].to_list() == [1.0, 4.0, 4.0, 7.0]
    (reading,) = scaling.readings
    assert (reading.arrived, reading.done, reading.waiting, reading.serving) == (1, 1, 0, 1)


@at_once
@pytest.mark.parametrize("routing", ["shared", "least_outstanding"])
def test_an_instance_that_boots_as_the_scaler_is_asked_serves_what_waits(policy, routing):
    scaling = Recorded([(1.0, 2), (2.0, 1), (3.0, 1)])
    trace = at(0.0, 0.5, 0.5)
    fleet = asynchronous(count=1) if routing == "shared" else real_time(routing=routing)

    run = simulate(trace, policy, fleet, constantly(4.0), scaling=scaling, cold_start=1.0)

    takes = routing == "shared" or policy == WorkConserving(max_size=1)
    reading = scaling.readings[1]
    assert (reading.ready, reading.serving) == (2, 1 + takes)
    assert run.record.instances[1] == (1.0, 6.0 if takes else 2.0)


@at_once
@pytest.mark.parametrize("boot", [1.0, 1.0 - 2**-20, 1e-17])
def test_an_instance_serves_from_the_instant_it_is_ready(policy, boot):
    scaling = Schedule([(1.0, 2), (2.0, 2)])

    started = columns(
        at(0.0, 0.5),
        asynchronous(count=1),
        constantly(4.0),
        "started",
        policy=policy,
        scaling=scaling,
        cold_start=boot,
    )

    assert started == [0.0, 1.0 + boot]


@pytest.mark.parametrize("changes", [[(8.0, 1)], [(8.0, 5)], [(3.0, 1)], [(5.0, 3), (8.0, 1)]])
@pytest.mark.parametrize("duration", [1.0, 6.0])
def test_no_instance_is_billed_past_trace_and_last_answer(changes, duration):
    trace = at(0.0, 0.5, duration=duration)

    run = simulate(
        trace, UNBATCHED, asynchronous(count=2), constantly(2.0), scaling=Schedule(changes)
    )

    end = max(duration, run.frame["finished"].max())
    assert all(0 <= launch <= stop <= end for launch, stop in run.record.instances)
    assert max(stop for _, stop in run.record.instances) == end


def test_a_batch_that_leaves_at_its_deadline_is_on_time():
    """In floating point some of these answers come up to 2e-13 s after the deadline."""
    trace = poisson(rate=3, duration=2000, seed=1)
    policy = DeadlineAware(latency=0.7, service=(0.1, 0.3))

    run = simulate(
        trace, policy, serverless(200), ServiceTimes({1: 0.1, 2: 0.3}), slo=SLO(latency=0.7)
    )

    assert 0.7 < run.frame["latency"].max() < 0.7 + 1e-9
    assert run.attainment() == 1.0
    assert run.attainment(0.6999) < 1.0


def test_a_real_time_fleet_is_never_scaled_to_none():
    with refused(InvalidInput, "scaler", 0, "Hybrid"):
        serve(at(0.0, 5.0), UNBATCHED, real_time(), constantly(1.0), scaling=Schedule([(1, 0)]))
