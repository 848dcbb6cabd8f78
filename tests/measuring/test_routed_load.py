"""A load that a router spreads over places, in this thread, on functions that answer."""

import dataclasses
import itertools
import math
import threading
import time

import numpy as np

from tests.escalation import Escalate, Escalation
from tests.refused import refused
from workbench.backends.base import FunctionBackend
from workbench.batching.timer import BatchPolicy
from workbench.errors import InvalidInput
from workbench.measuring.collector import RunOptions
from workbench.measuring.load import Load, replay
from workbench.measuring.routed_load import RoutedLoad, replay_routed
from workbench.measuring.routed_rows import RoutedCollector
from workbench.routing.base import Place
from workbench.routing.calls import describe_events
from workbench.routing.simple import RoundRobin
from workbench.run.record import RunRecord
from workbench.traffic.patterns import constant
from workbench.traffic.trace import Trace

POOL = np.eye(4)
TARGETS = np.arange(4)


class Scores:
    """Reads the largest score of a row and where it is."""

    @staticmethod
    def labels(outputs):
        return outputs.argmax(axis=1)

    @staticmethod
    def confidence(outputs):
        return outputs.max(axis=1)


def right(outputs, targets):
    return outputs.argmax(axis=1) == targets


def load_of(trace, *functions, policy=None, policies=None, concurrency=1, drain=60.0, **settings):
    policies = policies or [BatchPolicy()] * len(functions)
    loads = tuple(
        Load(
            trace=trace,
            policy=each,
            backend=FunctionBackend(function, concurrency=concurrency),
            inputs=POOL,
            targets=TARGETS,
            correct=right,
            drain=drain,
        )
        for function, each in zip(functions, policies, strict=True)
    )
    places = tuple(Place(name=f"place {number}") for number in range(len(loads)))
    policy = policy or RoundRobin()
    readers = (Scores(),) * len(loads)
    return RoutedLoad(loads=loads, readers=readers, places=places, policy=policy, **settings)


def collect(load, **settings):
    """Replay the load in this thread; return frame and calls, and the collector."""
    trace = load.loads[0].trace
    collector = RoutedCollector(trace, RunOptions(), RunRecord)
    replay_routed(load, on_rows=collector.take, **settings)
    return collector.collect()[0], collector.calls, collector


class HeldClock:
    """The machine's clock, which stands still at an instant of a load until it is let go."""

    def __init__(self, instant):
        self._instant, self._late, self._begun = instant, 0.0, None

    def __call__(self):
        now = time.perf_counter() - self._late
        self._begun = now if self._begun is None else self._begun
        return now if self._instant is None else min(now, self._begun + 0.05 + self._instant)

    def let_go(self):
        self._late += max(0.0, time.perf_counter() - self._late - self())
        self._instant = None


def sure(inputs):
    return 0.9 * inputs


def doubtful(inputs):
    return inputs * np.where(inputs.argmax(axis=1) < 2, 0.9, 0.4)[:, None]


def fail(inputs):
    raise RuntimeError(f"no answer to {len(inputs)} rows")


def test_a_router_with_one_place_is_the_plain_load_row_by_row():
    trace = constant(rate=400, duration=0.2)  # of 80 requests
    policy = BatchPolicy(max_size=4, max_wait=30)
    load = load_of(trace, sure, policies=[policy])
    parts = []
    with load.loads[0].backend:
        replay(load.loads[0], on_rows=parts.append)
    plain = RoutedCollector(trace, RunOptions(), RunRecord)
    for part in parts:
        plain.add(part)

    frame, calls, _ = collect(load)

    same = ["request", "scheduled", "batch", "batch_size", "rows", "place", "server", "cold"]
    same += ["correct", "error"]
    assert frame.select(same).equals(plain.collect()[0].select(same))
    assert calls.select(same).equals(frame.select(same))
    assert frame["tried"].to_list() == [1] * len(trace)
    times = ["sent", "started", "finished"]
    assert calls.select(times).equals(frame.select(times))


def test_no_batch_holds_requests_of_two_places():
    trace = Trace(arrivals=[0.0] * 8, duration=0.1)
    frame, _, _ = collect(
        load_of(trace, sure, sure, policies=[BatchPolicy(max_size=2, max_wait=30)] * 2)
    )

    assert frame["place"].to_list() == [0, 1] * 4
    batches = {batch: set() for batch in frame["batch"]}
    for batch, place in frame.select("batch", "place").iter_rows():
        batches[batch].add(place)
    assert all(len(places) == 1 for places in batches.values())
    assert len(batches) == 4


def test_the_unsure_and_no_others_are_asked_twice():
    trace = constant(rate=400, duration=0.2)
    load = load_of(trace, doubtful, sure, policy=Escalate(0.5))

    frame, calls, _ = collect(load)

    unsure = trace.sample % len(POOL) >= 2
    assert frame["tried"].to_list() == (1 + unsure).tolist()
    assert frame["place"].to_list() == unsure.astype(int).tolist()
    assert len(calls) == len(trace) + unsure.sum()
    assert (frame["correct"] == 1).all()
    escalated = calls.filter(calls["place"] == 1)
    first = calls.filter(calls["place"] == 0).join(escalated, on="request")
    assert (first["finished"] <= first["sent_right"]).all()
    assert (frame["sent"] <= frame["started"]).all()


def test_the_kind_of_a_request_is_seen_and_kept():
    seen = []

    class Recorder(Escalation):
        def choose(self, request, states, now):
            seen.append(request.context)
            return super().choose(request, states, now)

    class Policy(Escalate):
        def router(self, places, seed=0):  # noqa: ARG002 - as routers
            return Recorder(self)

    trace = Trace(arrivals=[0.0, 0.01], duration=0.1)
    collect(load_of(trace, sure, policy=Policy(0), contexts=("clean", "noisy")))

    assert seen == ["clean", "noisy"]


def test_a_place_that_fails_is_dropped_and_said_so_and_nothing_is_lost():
    trace = constant(rate=200, duration=0.2)

    frame, calls, collector = collect(load_of(trace, fail, sure), clock=HeldClock(0.2))

    assert frame["error"].null_count() == len(trace) == len(frame)
    assert frame["place"].unique().to_list() == [1]
    failed = calls.filter(calls["place"] == 0)
    assert len(failed) >= 3  # and what was under way by the third
    assert failed["error"].str.contains("RuntimeError: no answer to 1 rows").all()
    assert frame["tried"].sum() == len(calls)
    (sentence,) = describe_events(collector.events, ("broken", "sound"))
    assert sentence.startswith("broken failed 3 times in a row and was left out, ")


def test_a_place_that_recovers_is_taken_back():
    clock, answers, failed, well = HeldClock(0.1), itertools.count(1), [], threading.Event()

    def fail_at_first(inputs):
        if well.is_set():
            return sure(inputs)
        failed.append(inputs)  # three times, and a fourth time where the third is noted late
        return fail(inputs)

    def answer(inputs):
        if next(answers) == 6:  # so the other place has been left out
            well.set()
            clock.let_go()
        return sure(inputs)

    trace = Trace(arrivals=[0.0, 0.01, 0.02, 0.03, 0.04, 0.05, 1.3, 1.31], duration=1.4)

    frame, calls, collector = collect(load_of(trace, fail_at_first, answer), clock=clock)

    assert len(failed) >= 3
    assert len(calls) == len(trace) + len(failed)
    assert set(frame["place"].to_list()[-2:]) == {0, 1}
    assert [event.why == "" for event in collector.events] == [False, True]


def test_where_all_fail_each_request_has_the_last_ones_error():
    trace = constant(rate=100, duration=0.1)

    frame, calls, _ = collect(load_of(trace, fail, fail))

    assert frame["error"].str.contains("no answer").all()
    assert frame["finished"].is_nan().all()
    assert frame["tried"].to_list() == [2] * len(trace)
    assert len(calls) == 2 * len(trace)


def test_a_place_that_stalls_is_given_up_and_its_late_calls_are_kept():
    gate = threading.Event()

    def stall(inputs):
        gate.wait(60)
        return sure(inputs)

    def open_gate(inputs):
        if inputs[0].argmax() == 2:  # of a request that was the other place's
            gate.set()
        return sure(inputs)

    trace = Trace(
        arrivals=[0.0, 0.02, 0.04, 0.06, 0.08, 0.1], duration=0.2, sample=[2, 1, 2, 0, 2, 3]
    )

    frame, calls, _ = collect(load_of(trace, stall, open_gate, patience=0.05, concurrency=4))

    assert frame["error"].null_count() == len(trace)
    late = frame.filter(frame["tried"] == 2)
    assert len(late)
    assert (late["finished"] - late["sent"] >= 0.05).all()
    assert len(calls) == frame["tried"].sum()
    assert calls["error"].null_count() == len(calls)


def test_what_never_answers_has_failed_after_the_drain():
    gate = threading.Event()
    trace = Trace(arrivals=[0.0, 0.01], duration=0.02)

    frame, calls, _ = collect(load_of(trace, lambda _: gate.wait(60), drain=0.1))
    gate.set()

    assert frame["error"].to_list() == ["no answer within 0.1 s of the end of the trace"] * 2
    assert frame["tried"].to_list() == [1, 1]
    assert len(calls) == 2


def test_stopping_leaves_out_what_has_no_answer():
    stopped = threading.Event()
    trace = constant(rate=200, duration=600)
    load = load_of(trace, sure, sure)
    collector = RoutedCollector(trace, RunOptions(), RunRecord)

    def take(rows):
        collector.take(rows)
        if rows.given is not None:
            stopped.set()

    replay_routed(load, on_rows=take, stopped=stopped)

    frame, facts = collector.collect()
    assert 0 < len(frame) < len(trace)
    assert not facts["complete"]
    assert frame["error"].null_count() == len(frame)


def test_requests_of_several_rows_have_the_confidence_of_the_least_certain():
    trace = Trace(arrivals=[0.0, 0.0], duration=0.1, rows=[2, 3], sample=[0, 1])
    policies = [BatchPolicy(max_size=2, max_wait=1)] * 2

    frame, _, _ = collect(load_of(trace, doubtful, sure, policy=Escalate(0.5), policies=policies))

    assert frame["tried"].to_list() == [1, 2]


def test_a_place_for_each_load_is_asked_for():
    load = load_of(constant(rate=1, duration=1), sure)

    with refused(InvalidInput, "1 loads", "1 readers", "0 places"):
        dataclasses.replace(load, places=())
    assert math.isinf(load.patience)
