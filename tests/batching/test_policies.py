import dataclasses
import json
import math
import pickle
import threading
from collections import deque

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import workbench as wb
from tests.refused import refused
from workbench.backends.base import FunctionBackend
from workbench.batching.policies import DeadlineAware, Replanned, Steered, WorkConserving
from workbench.errors import InvalidInput, WorkbenchError
from workbench.measuring.load import Buffer, CompletedBatch, Load, _generate, replay
from workbench.planner.policies import compare_policies
from workbench.service_times import ServiceTimes
from workbench.simulator import simulate
from workbench.traffic.trace import Trace

TICK = 1 / 1024  # times in ticks add up without rounding
SERVICE = {size: (8 + 4 * size) * TICK for size in range(1, 9)}
TIMES = ServiceTimes(SERVICE)
DEADLINE = DeadlineAware(latency=64 * TICK, service=tuple(SERVICE.values()))
STEERED = Steered(latency=64 * TICK, max_size=8, aim=0.75)
REPLANNED = Replanned(
    settings=[
        (0, wb.BatchPolicy(max_size=4, max_wait=16 * TICK)),
        (100 * TICK, wb.BatchPolicy()),
        (200 * TICK, wb.BatchPolicy(max_size=8, max_wait=32 * TICK)),
    ]
)
POLICIES = [
    wb.BatchPolicy(max_size=4, max_wait=16 * TICK),
    WorkConserving(max_size=8),
    DEADLINE,
    STEERED,
    REPLANNED,
]
ON_DEMAND = wb.Serverless(memory_mb=2048, max_concurrency=200)


def batches_of(policy, arrivals, deployment=None, service=TIMES):
    """Simulate; return (start, requests) of each batch, in ticks."""
    trace = Trace([tick * TICK for tick in arrivals], max(arrivals) * TICK + 1)
    run = simulate(trace, policy, deployment or wb.Local(), service, cold_start=0.0)
    frame = run.frame.group_by("batch", maintain_order=True).agg("request", "started")
    return [(started[0] / TICK, requests) for _, requests, started in frame.iter_rows()]


class ScriptedWorkers:
    """What `load.Workers` is to the live driver, in virtual time."""

    def __init__(self, servers, service):
        self.clock = 0.0
        self.servers, self.service = servers, service
        self.queue, self.busy, self.sent = deque(), [], []

    def now(self):
        return self.clock

    @property
    def idle(self):
        return max(0, self.servers - len(self.busy) - len(self.queue))

    def send(self, requests, formed):
        assert formed == self.clock
        self.queue.append(requests)
        self.begin()

    def begin(self):
        while self.queue and len(self.busy) < self.servers:
            requests = self.queue.popleft()
            finished = self.clock + self.service[len(requests)]
            self.busy.append((finished, len(self.sent), requests))
            self.sent.append((self.clock, requests))

    def take_completed(self):
        over = sorted(each for each in self.busy if each[0] <= self.clock)
        self.busy = [each for each in self.busy if each[0] > self.clock]
        self.begin()
        return [CompletedBatch(number, requests, 0, 0.0, end) for end, number, requests in over]

    def wait(self, seconds):
        ends = [end for end, _, _ in self.busy]
        if seconds > 0:
            self.clock = min(self.clock + seconds, *ends, math.inf)


def live(policy, arrivals, servers):
    """Drive the live generator through the same times; return (start, requests) in ticks."""
    workers = ScriptedWorkers(servers, SERVICE)
    instants = np.array(arrivals) * TICK
    _generate(
        instants,
        np.empty(len(instants)),
        Buffer(policy.batcher(), workers),
        stopped=threading.Event(),
        now=workers.now,
    )
    while workers.busy:
        workers.wait(math.inf)
        workers.take_completed()
    return [(started / TICK, requests) for started, requests in workers.sent]


def test_what_was_due_while_all_were_busy_leaves_as_one_is_free():
    # another server has it wait once more: findings/litserve-timer-of-no-request.sh
    sent = batches_of(wb.BatchPolicy(max_size=8, max_wait=2 * TICK), [0, 1, 5, 6])

    assert sent == [(2, [0, 1]), (18, [2, 3])]


# ------------------------------------------------------------------- work-conserving


def test_a_free_server_takes_a_request_at_once():
    assert batches_of(WorkConserving(max_size=8), [0, 100]) == [(0, [0]), (100, [1])]


def test_what_came_while_all_were_busy_leaves_together():
    # one request takes 12 ticks, three 20
    sent = batches_of(WorkConserving(max_size=8), [0, 1, 2, 3])

    assert sent == [(0, [0]), (12, [1, 2, 3])]


def test_a_timer_closes_batches_for_a_busy_server_that_a_free_one_would_join():
    # Ray Serve's are the former: findings/ray-serve-batches-that-close-while-busy.sh
    arrivals = [0, 3, 6, 9]

    timed = batches_of(wb.BatchPolicy(max_size=8, max_wait=2 * TICK), arrivals)

    assert timed == [(2, [0]), (14, [1]), (26, [2]), (38, [3])]
    assert batches_of(WorkConserving(max_size=8), arrivals) == [(0, [0]), (12, [1, 2, 3])]


def test_no_batch_exceeds_the_largest_size():
    sent = batches_of(WorkConserving(max_size=2), [0, 1, 2, 3])

    assert sent == [(0, [0]), (12, [1, 2]), (28, [3])]


def test_below_the_limit_of_serverless_work_conserving_is_no_batching():
    arrivals = [0, 1, 1, 2, 50]

    assert batches_of(WorkConserving(max_size=8), arrivals, ON_DEMAND) == batches_of(
        wb.BatchPolicy(), arrivals, ON_DEMAND
    )


def test_at_the_limit_of_serverless_it_batches_instead_of_being_throttled():
    small = wb.Serverless(memory_mb=2048, max_concurrency=1)
    trace = Trace(np.array([0, 1, 2, 3]) * TICK, 1.0)

    run = simulate(trace, WorkConserving(max_size=8), small, TIMES, cold_start=0.0)

    assert run.answered == 4
    assert run.frame["batch"].to_list() == [0, 1, 1, 1]


# --------------------------------------------------------------------- deadline-aware


def test_one_that_is_alone_waits_until_it_would_be_late():
    # 64 - 12
    assert batches_of(DEADLINE, [0], ON_DEMAND) == [(52, [0])]


def test_company_brings_the_departure_forward():
    # 64 - 20 for three
    assert batches_of(DEADLINE, [0, 10, 20], ON_DEMAND) == [(44, [0, 1, 2])]


def test_company_that_would_make_a_batch_late_opens_the_next():
    # at 50 the first two have left (64 - 16 = 48); at 45 a third would leave at 44
    assert batches_of(DEADLINE, [0, 10, 45], ON_DEMAND) == [(45, [0, 1]), (97, [2])]


def test_a_full_batch_does_not_wait():
    pairs = DeadlineAware(latency=64 * TICK, service=(12 * TICK, 16 * TICK))

    assert batches_of(pairs, [0, 5], ON_DEMAND) == [(5, [0, 1])]


def test_a_batch_that_ends_at_the_deadline_is_in_time_however_its_sums_are_rounded():
    times = ServiceTimes.affine(0.01, 0.034, largest=8)
    trace = wb.poisson(rate=30, duration=120, seed=1)
    policy = DeadlineAware.within(0.3, times, max_size=8)

    run = simulate(trace, policy, ON_DEMAND, times, cold_start=0.0)

    assert 0.3 < run.frame["latency"].max() < 0.3 + 1e-9
    assert run.cdf(0.3) == run.attainment(0.3) == 1


@given(ticks=st.lists(st.integers(0, 40), min_size=1, max_size=40))
@settings(max_examples=30)
def test_with_servers_to_spare_no_request_is_late(ticks):
    trace = Trace(np.cumsum(ticks) * TICK, 3.0)

    run = simulate(trace, DEADLINE, ON_DEMAND, TIMES, cold_start=0.0)

    assert run.frame["latency"].max() <= 64 * TICK


# ---------------------------------------------------------------------------- steered


@pytest.fixture(scope="module")
def bursts():
    return wb.bursty(rate=200, burst=6, duration=120, seed=1)


@pytest.mark.parametrize("deployment", [wb.Local(workers=2), ON_DEMAND])
def test_the_percentile_settles_at_the_share_aimed_at(bursts, deployment):
    policy = Steered(latency=0.1, max_size=32)
    times = ServiceTimes.affine(0.008, 0.002, largest=32)

    run = simulate(bursts, policy, deployment, times, cold_start=0.0)

    settled = np.sort(run.latencies[len(run) // 4 :])
    # 0.8 of the target is aimed at; the traffic doubles and halves within seconds
    assert 0.06 < settled[int(0.95 * len(settled))] < 0.1
    assert run.summary()["mean_batch_size"] > 2


def answer(batcher, latency, size, times):
    for _ in range(times):
        batcher.learn_latencies([latency] * size, 0.0)


def test_the_wait_grows_while_latencies_leave_room():
    batcher = Steered(latency=0.1, max_size=8).batcher()

    answer(batcher, 0.02, size=1, times=200)

    assert batcher.max_wait == pytest.approx(0.25 * (0.08 - 0.02))


def test_too_many_late_answers_cut_the_wait_before_the_window_is_full():
    batcher = Steered(latency=0.1, max_size=8).batcher()
    answer(batcher, 0.02, size=1, times=200)

    answer(batcher, 0.2, size=1, times=11)

    assert batcher.max_wait == 0


def test_failed_answers_are_late_answers():
    batcher = Steered(latency=0.1, max_size=8).batcher()
    answer(batcher, 0.02, size=1, times=200)

    answer(batcher, math.inf, size=1, times=11)

    assert batcher.max_wait == 0


def test_a_size_that_takes_half_the_target_is_given_up_and_tried_again():
    batcher = Steered(latency=0.1, max_size=8).batcher()

    answer(batcher, 0.06, size=4, times=50)
    cut = batcher.max_size
    answer(batcher, 0.04, size=3, times=67)

    assert (cut, batcher.max_size) == (3, 4)


def test_behind_a_backlog_sizes_grow():
    batcher = Steered(latency=0.1, max_size=8).batcher()
    answer(batcher, 0.06, size=4, times=50)
    for request in range(20):
        batcher.add(request, 0.0)

    answer(batcher, 0.5, size=3, times=4)

    assert batcher.max_size == 4


def test_steering_starts_without_waiting():
    assert batches_of(STEERED, [0, 1, 2]) == batches_of(WorkConserving(max_size=8), [0, 1, 2])


# ------------------------------------------------------------------------- re-planned


def test_settings_hold_for_the_batches_opened_under_them():
    sent = batches_of(REPLANNED, [0, 90, 104, 110, 150, 210, 230, 300], ON_DEMAND)

    # the batch opened at 90 waits its 16 ticks though settings changed at 100
    assert sent == [(16, [0]), (106, [1, 2]), (110, [3]), (150, [4]), (242, [5, 6]), (332, [7])]


def test_settings_passed_over_in_silence_are_skipped():
    assert batches_of(REPLANNED, [0, 250], ON_DEMAND) == [(16, [0]), (282, [1])]


# ------------------------------------------------------------------------------- both


@given(
    ticks=st.lists(st.integers(0, 30), min_size=1, max_size=80),
    policy=st.sampled_from(POLICIES),
    servers=st.integers(1, 3),
)
@settings(max_examples=80, deadline=None)
def test_simulation_and_live_driver_agree(ticks, policy, servers):
    arrivals = np.cumsum(ticks).tolist()

    assert batches_of(policy, arrivals, wb.Local(workers=servers)) == live(
        policy, arrivals, servers
    )


@pytest.mark.parametrize("arrivals", [1, 9])
def test_simulation_and_live_driver_steer_alike(arrivals):
    ticks = np.random.default_rng(3).integers(0, 2 * arrivals, 3000).cumsum().tolist()

    assert batches_of(STEERED, ticks, wb.Local(workers=2)) == live(STEERED, ticks, 2)


@pytest.mark.parametrize("policy", POLICIES[1:])
def test_policies_answer_real_load(policy):
    trace = wb.poisson(rate=300, duration=0.3, seed=2)
    backend = FunctionBackend(len, concurrency=2)
    parts = []

    with backend:
        load = Load(trace=trace, policy=policy, backend=backend, inputs=np.zeros((4, 2)))
        replay(load, on_rows=parts.append)

    requests = np.concatenate([part["request"] for part in parts])
    assert sorted(requests) == list(range(len(trace)))


@pytest.mark.parametrize("policy", POLICIES)
def test_policies_travel_and_say_what_they_are(policy):
    again = pickle.loads(pickle.dumps(policy))  # noqa: S301 - our own

    assert again == policy
    assert json.loads(json.dumps(policy.to_dict())) == policy.to_dict()
    assert policy.max_size in (4, 8)
    assert policy.label


def test_the_table_has_every_policy(model, bursts):
    experiment = wb.Experiment(
        model, wb.Local(workers=2, hourly_price=0.1), bursts, slo=wb.SLO(latency=0.1)
    )
    times = ServiceTimes.affine(0.008, 0.002, largest=8)

    table = compare_policies(
        experiment, profile=times, policies=[WorkConserving(max_size=2)], progress=False
    )

    unbatched, timed, planned, greedy, deadline, steered, own = table.iter_rows(named=True)
    assert unbatched["p95"] > 1 > greedy["p95"]
    assert unbatched["mean_batch_size"] == 1 < greedy["mean_batch_size"]
    assert timed["policy"] == "up to 8, 50 ms"
    assert planned["policy"] == "re-planned, 4 settings, up to 8"
    assert planned["mean_batch_size"] > greedy["mean_batch_size"]
    assert deadline["mean_batch_size"] > steered["mean_batch_size"] > greedy["mean_batch_size"]
    assert own["policy"] == "work-conserving, up to 2"
    assert [row > 0 for row in table["deciding"]] == [False, False, True, *[False] * 4]
    assert table["per_million"].is_not_null().all()


def test_a_table_is_whole_or_not_at_all(model, bursts):
    experiment = wb.Experiment(model, wb.Local(), bursts, slo=wb.SLO(latency=0.1))
    greedy = WorkConserving(max_size=9)  # there are times for 8 at most

    with refused(WorkbenchError, "work-conserving, up to 9", "InvalidInput"):
        compare_policies(experiment, profile=TIMES, policies=[greedy], progress=False)


def test_policies_are_compared_by_a_target(model, bursts):
    with refused(InvalidInput, "slo"):
        compare_policies(wb.Experiment(model, wb.Local(), bursts))


@pytest.mark.parametrize(
    ("make", "named"),
    [
        (lambda: WorkConserving(max_size=0), ["max_size", 0]),
        (lambda: DeadlineAware(latency=0, service=(1,)), ["latency", 0]),
        (lambda: DeadlineAware(latency=1, service=()), ["service"]),
        (lambda: DeadlineAware(latency=1, service=(0.5, -1)), ["service", -1]),
        (lambda: DeadlineAware(latency=1, service=(1.5,)), [1.5, 1]),
        (lambda: DeadlineAware(latency=1, service=(0.5,), margin=0.5), [0.5, 1]),
        (lambda: DeadlineAware.within(1, TIMES, max_size=9), [8, 9]),
        (lambda: Replanned(settings=[]), ["settings", "[]"]),
        (lambda: Replanned(settings=[(1, wb.BatchPolicy())]), ["settings", "[1.0]"]),
        (lambda: Replanned(settings=[(0, wb.BatchPolicy())] * 2), ["settings", "[0.0, 0.0]"]),
        (lambda: Replanned(settings=[(0, STEERED)]), ["BatchPolicy", "Steered(latency=0.0625"]),
        (
            lambda: DeadlineAware.within(1, TIMES, max_size=2**50),
            ["max_size", 100000, 2**50],
        ),
        (lambda: Steered(latency=0), ["latency", 0]),
        (lambda: Steered(latency=1, max_size=0), ["max_size", 0]),
        (lambda: Steered(latency=1, quantile=1), ["quantile", 1]),
        (lambda: Steered(latency=1, gain=0), ["gain", 0]),
        (lambda: Steered(latency=1, aim=2), ["aim", 2]),
        (lambda: Steered(latency=1, quantile="0.9"), ["quantile", "'0.9'"]),
        (lambda: DeadlineAware(latency=1, service=0.5), ["service", 0.5]),
        (lambda: Steered(latency=1, quantile=0.99), ["window", 1000, 200]),
    ],
)
def test_impossible_settings_are_refused(make, named):
    with refused(InvalidInput, *named):
        make()


def test_policies_hold_plain_numbers_that_json_can_keep():
    two = np.int64(2)
    for policy in (
        DeadlineAware(latency=two, service=np.array([0.5]), margin=np.float32(0.5)),
        Steered(latency=two, quantile=np.float32(0.5), max_size=two, window=np.int64(20)),
    ):
        assert json.loads(json.dumps(policy.to_dict())) == policy.to_dict()


def test_policies_are_values():
    assert dataclasses.replace(STEERED, max_size=4).max_size == 4
