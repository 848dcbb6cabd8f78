"""Records of a server's speed: when there is one, what it says, and what simulations make of it."""

import numpy as np
import pytest

from tests.refused import refused
from workbench.batching.timer import BatchPolicy
from workbench.deployment import Local, RealTime
from workbench.errors import InvalidInput
from workbench.run import Run
from workbench.service_times import ServiceTimes
from workbench.service_times.speed import SpeedRecord, record_speed
from workbench.simulator import serve, simulate
from workbench.traffic.patterns import poisson
from workbench.traffic.trace import Trace

SEED = 3


def calls(count=8000, *, rare=0.0, slow=None):
    """Starts and seconds of calls of 10 ms, one after the other.

    Some take ten times as long; from slow[0] to slow[1] of each 10 s all take twice as long.
    """
    random = np.random.default_rng(SEED)
    seconds = 0.01 * np.exp(0.05 * random.standard_normal(count))
    seconds[random.random(count) < rare] *= 10
    starts, now = np.empty(count), 0.0
    for call in range(count):
        starts[call] = now
        seconds[call] *= 1 + (slow is not None and slow[0] <= now % 10 < slow[1])
        now += seconds[call]
    return starts, seconds


def record_of(starts, seconds):
    return record_speed(starts, seconds, np.zeros(len(starts)))


@pytest.mark.parametrize("rare", [0.0, 0.02, 0.2])
def test_slow_calls_that_come_one_by_one_leave_no_record(rare):
    assert record_of(*calls(rare=rare)) is None


def test_times_of_an_exponential_kind_leave_no_record():
    seconds = np.random.default_rng(SEED).exponential(0.01, 8000)

    assert record_of(np.cumsum(seconds) - seconds, seconds) is None


def test_a_record_is_slow_for_as_long_as_the_server_was():
    starts, seconds = calls(rare=0.02, slow=(4, 5))

    record = record_of(starts, seconds)

    middles = (np.arange(len(record.slices)) + 0.5) * record.span / len(record.slices)
    slow = record.levels[record.slices, 500] > 0.93  # the median call there is among the slowest
    assert slow.mean() == pytest.approx(0.1, abs=0.005)
    assert ((middles[slow] % 10 > 3.9) & (middles[slow] % 10 < 5.1)).all()


def test_a_lone_slow_call_is_in_the_distribution_of_its_stretch():
    record = record_of(*calls(rare=0.02, slow=(4, 5)))

    fast = np.bincount(record.slices).argmax()
    assert record.levels[fast, 970] < 0.95  # the rank of calls that take twice as long
    assert record.levels[fast, 990] > 0.97


def test_calls_are_compared_with_their_own_kind():
    starts, seconds = calls()
    kinds = np.arange(len(starts)) // 500 % 2

    assert record_speed(starts, seconds * (1 + 9 * kinds), kinds) is None
    assert record_of(starts, seconds * (1 + 9 * kinds)) is not None


def test_a_server_that_is_slow_half_the_time_leaves_a_record():
    assert record_of(*calls(slow=(0, 5))) is not None


def test_too_few_calls_leave_no_record():
    assert record_of(np.arange(20.0), np.full(20, 0.01)) is None
    assert record_of(np.empty(0), np.empty(0)) is None
    with refused(InvalidInput, "(2,)", "(1,)"):
        record_speed([0.0, 1.0], [0.1], [0, 0])


TURNS = SpeedRecord(
    levels=np.array([[0.0, 0.0], [1.0, 1.0]]), slices=np.array([0, 1]), span=2.0, window=9
)
TIMES = ServiceTimes({1: [0.1, 0.5]}, speed=TURNS)


def test_a_batch_is_as_slow_as_the_server_when_it_begins():
    trace = Trace(np.arange(0, 20, 0.5), 20.0)

    took = serve(trace, BatchPolicy(), Local(), TIMES, seed=SEED).batches
    seconds = took.finished - took.started

    assert set(seconds.round(6)) == {0.1, 0.5}
    changes = np.flatnonzero(np.diff(seconds.round(6)))
    assert set(np.diff(changes)) == {2}  # a second fast, a second slow


def test_another_seed_begins_at_another_instant_of_the_record():
    trace = Trace([0.0], 1.0)

    first = {
        serve(trace, BatchPolicy(), Local(), TIMES, seed=seed).latencies[0] for seed in range(9)
    }

    assert first == {0.1, 0.5}


@pytest.mark.parametrize(
    ("deployment", "together"),
    [
        (Local(workers=2), True),
        (RealTime(instance_type="ml.m5.large", count=2), False),
    ],
)
def test_workers_of_one_machine_are_slow_together_and_machines_are_not(deployment, together):
    trace = Trace(np.repeat(np.arange(0.0, 40.0), 2), 40.0)

    took = serve(trace, BatchPolicy(), deployment, TIMES, seed=SEED).latencies.reshape(-1, 2)

    assert bool((took[:, 0] == took[:, 1]).all()) is together


def test_scaled_and_idle_times_keep_the_record():
    assert TIMES.scale(2).speed is TURNS
    assert TIMES.idle().speed is TURNS


def test_a_runs_own_times_and_their_order_make_its_simulation_right():
    trace = poisson(rate=60, duration=400, seed=1)
    starts, seconds = calls(40_000, slow=(4, 5))
    truth = simulate(
        trace,
        BatchPolicy(),
        Local(),
        ServiceTimes(
            {1: np.quantile(seconds, np.linspace(0, 1, 1001))}, speed=record_of(starts, seconds)
        ),
        seed=1,
    )

    own = ServiceTimes.from_run(truth)
    again = simulate(trace, BatchPolicy(), Local(), own, seed=2)
    independent = simulate(trace, BatchPolicy(), Local(), ServiceTimes({1: own.table[1]}), seed=2)

    assert again.quantile(0.95) == pytest.approx(truth.quantile(0.95), rel=0.2)
    assert independent.quantile(0.95) < 0.7 * truth.quantile(0.95)


def test_a_run_without_answers_has_no_times():
    run = Run.from_arrays(scheduled=[0.0], finished=[np.nan], origin="simulated")

    with refused(InvalidInput, "no batch"):
        ServiceTimes.from_run(run)
    with refused(InvalidInput, "run", "fast"):
        ServiceTimes.from_run("fast")
