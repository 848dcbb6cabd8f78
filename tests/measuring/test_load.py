import math
import threading
from concurrent.futures import Future

import numpy as np
import pytest

from tests.refused import refused
from workbench.backends.base import EndedCall, FunctionBackend, Origin, Reply
from workbench.batching.timer import BatchPolicy
from workbench.errors import InvalidInput, InvocationError
from workbench.measuring.load import (
    CompletedBatch,
    Inbox,
    Load,
    PlacedRowMaker,
    RowMaker,
    lag_facts,
    replay,
)
from workbench.traffic.patterns import poisson
from workbench.traffic.trace import Trace

POOL = np.arange(40.0).reshape(10, 4)


def columns_of(load, **settings):
    """Replay a load in this thread; return all rows in order of request."""
    parts = []
    with load.backend:
        replay(load, on_rows=parts.append, **settings)
    joined = {
        name: np.concatenate([np.asarray(part[name], object) for part in parts])
        for name in parts[0]
    }
    order = np.argsort(joined["request"].astype(int))
    return {name: values[order] for name, values in joined.items()}


def load_of(trace, function, *, policy=None, concurrency=1, **settings):
    backend = FunctionBackend(function, concurrency=concurrency)
    return Load(
        trace=trace, policy=policy or BatchPolicy(), backend=backend, inputs=POOL, **settings
    )


class AtOnce:
    """A policy that sends each request by itself, and tells when so many came."""

    watches = False
    due = math.inf
    label = "at once"

    def __init__(self, count):
        self.left, self.all_came = count, threading.Event()

    def batcher(self):
        return self

    def add(self, request, _):
        self.left -= 1
        if not self.left:
            self.all_came.set()
        return ([request],)

    def server_free(self, *_):
        return ()


def test_every_request_is_sent_once_and_never_early():
    trace = poisson(rate=2000, duration=0.2, seed=1)

    rows = columns_of(load_of(trace, lambda inputs: inputs[:, 0]))

    assert rows["request"].tolist() == list(range(len(trace)))
    assert (rows["sent"] >= trace.arrivals).all()
    assert (rows["started"] >= rows["sent"]).all()
    assert (rows["finished"] >= rows["started"]).all()
    assert all(error is None for error in rows["error"])


def test_a_slow_backend_does_not_hold_back_arrivals():
    trace = Trace(arrivals=[0.0, 0.01, 0.02, 0.03], duration=0.05)
    policy = AtOnce(len(trace))

    def wait_for_the_last(inputs):
        assert policy.all_came.wait(60)

    rows = columns_of(load_of(trace, wait_for_the_last, policy=policy))

    assert rows["error"].tolist() == [None] * len(trace)
    assert (rows["finished"] >= rows["sent"][-1]).all()


def test_a_full_batch_goes_out_together():
    trace = Trace(arrivals=[0.0] * 6, duration=0.1)

    rows = columns_of(load_of(trace, len, policy=BatchPolicy(max_size=3, max_wait=30)))

    assert rows["batch"].tolist() == [0, 0, 0, 1, 1, 1]
    assert rows["batch_size"].tolist() == [3] * 6


def test_a_partial_batch_waits_for_its_timer():
    trace = Trace(arrivals=[0.0, 0.0], duration=0.1)

    rows = columns_of(load_of(trace, len, policy=BatchPolicy(max_size=9, max_wait=0.05)))

    assert rows["batch"].tolist() == [0, 0]
    assert (rows["started"] >= rows["sent"][0] + 0.05).all()


def test_a_batch_says_which_requests_it_holds_and_when_it_was_formed():
    seen = []

    class Recorder(FunctionBackend):
        def invoke(self, batch):
            seen.append(batch)
            return super().invoke(batch)

    trace = Trace(arrivals=[0.0, 0.0, 0.1], duration=0.2)
    policy = BatchPolicy(max_size=2, max_wait=0.05)
    rows = columns_of(Load(trace=trace, policy=policy, backend=Recorder(len), inputs=POOL))

    first, second = seen
    assert (first.requests, second.requests) == ((0, 1), (2,))
    assert rows["sent"][1] <= first.formed <= rows["started"][1]
    assert rows["sent"][2] + policy.max_wait <= second.formed <= rows["started"][2]


def test_requests_carry_their_own_rows_of_the_pool():
    seen = []
    trace = Trace(arrivals=[0.0, 0.0], duration=0.1, rows=[2, 3], sample=[8, 9])

    columns_of(
        load_of(
            trace,
            lambda inputs: seen.append(inputs.copy()),
            policy=BatchPolicy(max_size=2, max_wait=1),
        )
    )

    assert seen[0].tolist() == POOL[[8, 9, 9, 0, 1]].tolist()


def test_predictions_are_counted_by_request():
    targets = np.array([0, 1] * 5)
    trace = Trace(arrivals=[0.0, 0.0], duration=0.1, rows=[2, 1], sample=[0, 4])

    rows = columns_of(
        load_of(
            trace,
            lambda inputs: np.zeros(len(inputs)),
            targets=targets,
            policy=BatchPolicy(max_size=2, max_wait=1),
        )
    )

    assert rows["correct"].tolist() == [0.5, 1.0]


def test_predictions_are_counted_where_other_batches_failed_or_said_nothing():
    load = Load(
        trace=Trace(arrivals=[0.0, 0.1, 0.2], duration=0.3, rows=[1, 2, 1]),
        policy=BatchPolicy(),
        backend=FunctionBackend(lambda inputs: inputs),
        inputs=np.arange(4.0),
        targets=np.array([0.0, 1.0, 9.0, 3.0]),
    )
    sample = load.trace.sample
    outputs = load.inputs[(sample[1] + np.arange(2)) % 4]
    served = [
        CompletedBatch(0, [0], 0, 0.0, error="InvocationError: no"),
        CompletedBatch(1, [1], 0, 0.1, 0.2, Reply(outputs)),
        CompletedBatch(2, [2], 0, 0.2, 0.3, Reply()),
    ]
    rows = RowMaker(load).of(served)
    right = np.mean(outputs == load.targets[(sample[1] + np.arange(2)) % 4])
    assert np.array_equal(rows["correct"], [math.nan, right, math.nan], equal_nan=True)
    assert rows["error"] == ["InvocationError: no", None, None]


def test_a_failing_batch_fails_its_own_requests_only():
    def refuse_the_first(inputs):
        if inputs[0, 0] == POOL[0, 0]:
            raise InvocationError("no luck")

    trace = Trace(arrivals=[0.0, 0.001], duration=0.1)

    rows = columns_of(load_of(trace, refuse_the_first))

    assert rows["error"].tolist() == ["InvocationError: no luck", None]
    assert np.isnan(rows["finished"].astype(float)).tolist() == [True, False]


def test_workers_run_side_by_side():
    together = threading.Barrier(3)
    trace = Trace(arrivals=[0.0, 0.0, 0.0], duration=0.1)

    rows = columns_of(load_of(trace, lambda rows: together.wait(60) >= 0 and rows, concurrency=3))

    assert sorted(rows["server"].tolist()) == [0, 1, 2]
    assert all(error is None for error in rows["error"])


def test_what_is_never_answered_has_failed():
    gate = threading.Event()
    trace = Trace(arrivals=[0.0, 0.001], duration=0.01)

    rows = columns_of(load_of(trace, lambda _: gate.wait(60) and None, drain=0.1))
    gate.set()

    assert set(rows["error"]) == {"no answer within 0.1 s of the end of the trace"}


def test_what_was_given_up_is_not_computed():
    began, gate, computed = threading.Event(), threading.Event(), []
    trace = Trace(arrivals=[0.0, 0.001], duration=0.01)

    def answer(inputs):
        computed.append(threading.current_thread())
        began.set()
        gate.wait(60)

    rows = columns_of(load_of(trace, answer, drain=0.1))
    gate.set()
    assert began.wait(60)
    computed[0].join(60)

    assert (len(rows["error"]), len(computed)) == (2, 1)


def test_stopping_keeps_what_was_answered():
    stopped = threading.Event()
    trace = Trace(arrivals=[0.0, 0.0, 100.0], duration=101)
    answered = []

    def answer(inputs):
        answered.append(len(inputs))
        if len(answered) == 2:
            stopped.set()

    rows = columns_of(load_of(trace, answer), stopped=stopped)

    assert rows["request"].tolist() == [0, 1]


class Greedy:
    """A policy that sends whatever waits as soon as a server is free."""

    watches = True
    due = math.inf
    label = "greedy"

    def __init__(self):
        self.waiting = []
        self.free = 0
        self.latencies = []
        self.three_wait = threading.Event()

    def batcher(self):
        return self

    def add(self, request, _):
        self.waiting.append(request)
        if len(self.waiting) == 3:
            self.three_wait.set()
        return self.send()

    def wake(self, _):
        return ()

    def server_free(self, count, _):
        self.free = count
        return self.send()

    def learn_latencies(self, latencies, _):
        self.latencies.append(latencies)

    def send(self):
        if not (self.free and self.waiting):
            return ()
        self.free -= 1
        batch, self.waiting = self.waiting, []
        return (batch,)


def test_a_policy_that_watches_servers_is_told_when_one_is_free():
    policy, sizes = Greedy(), []

    def hold_the_first(inputs):
        sizes.append(len(inputs))
        if len(sizes) == 1:
            policy.three_wait.wait(60)

    trace = Trace(arrivals=[0.0, 0.01, 0.02, 0.03], duration=0.05)

    rows = columns_of(load_of(trace, hold_the_first, policy=policy))

    assert sizes == [1, 3]
    assert rows["batch"].tolist() == [0, 1, 1, 1]


def test_a_policy_that_watches_servers_is_told_latencies():
    policy = Greedy()
    asked = []

    def refuse_the_first(inputs):
        asked.append(len(inputs))
        if len(asked) == 1:
            raise InvocationError("no luck")

    trace = Trace(arrivals=[0.0, 0.1, 0.2, 0.3], duration=0.4)

    rows = columns_of(load_of(trace, refuse_the_first, policy=policy))

    taken = np.nan_to_num(rows["finished"].astype(float) - trace.arrivals, nan=math.inf)
    of_batches = [taken[rows["batch"] == batch].tolist() for batch in range(len(asked))]
    assert set(of_batches[0]) == {math.inf}
    assert policy.latencies == of_batches[:-1]  # after the last batch nothing is left to decide


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"inputs": POOL[:0]}, ["sample rows", "empty"]),
        ({"targets": np.zeros(3)}, ["3 targets", "10 rows"]),
        ({"drain": "long"}, ["drain", "long"]),
        ({"trace": Trace([0.0], 1.0, rows=2**30)}, ["1,073,741,824 rows", "34,359,738,368 bytes"]),
        ({"drain": 0}, ["drain", 0]),
    ],
)
def test_loads_that_make_no_sense_are_refused(settings, named):
    trace = Trace(arrivals=[0.0], duration=1)
    whole = {"inputs": POOL, "policy": BatchPolicy(), "backend": FunctionBackend(len)}

    with refused(InvalidInput, *named):
        Load(**{"trace": trace} | whole | settings)


def test_a_backend_needs_room_for_one_batch():
    with refused(InvalidInput, "concurrency", 0):
        FunctionBackend(len, concurrency=0)


def test_a_punctual_generator_goes_unmentioned():
    facts = lag_facts(np.full(100, 1e-5), np.full(100, 0.01))

    assert facts["valid"]
    assert facts["warnings"] == []


def test_a_lag_that_shows_is_warned_about():
    facts = lag_facts(np.full(100, 7e-4), np.full(100, 0.01))

    assert facts["valid"]
    assert "0.7 ms late" in facts["warnings"][0]


def test_a_generator_that_cannot_keep_up_makes_the_run_invalid():
    facts = lag_facts(np.full(100, 0.005), np.full(100, 0.01))

    assert not facts["valid"]
    assert "this run is invalid" in facts["warnings"][0]


def test_no_rows_no_verdict():
    assert lag_facts(np.array([]), np.array([])) == {"lag": None, "valid": True, "warnings": []}


@pytest.mark.parametrize("answers", [lambda rows: rows[1:], lambda _: np.array(1.0)])
def test_fewer_answers_than_rows_fail_their_requests(answers):
    trace = Trace(arrivals=[0.0, 0.01], duration=0.1)

    rows = columns_of(load_of(trace, answers))

    assert all(error.startswith("RowMismatch: 1 row got 0 answers") for error in rows["error"])


def test_waiting_for_so_short_a_time_ends_though_nothing_comes():
    inbox, over = Inbox(), threading.Event()

    def wait():
        for number in range(200):
            inbox.put(number)
            inbox.take()
            inbox.wait(1e-6)  # rung before
            inbox.wait(1e-6)
        over.set()

    threading.Thread(target=wait, daemon=True).start()

    assert over.wait(60)


def test_what_many_threads_put_is_taken_once():
    inbox, taken = Inbox(), []
    threads = [threading.Thread(target=lambda: [inbox.put(i) for i in range(500)]) for _ in "abc"]
    for thread in threads:
        thread.start()
    while len(taken) < 1500:
        inbox.wait()
        taken += inbox.take()

    assert sorted(taken) == sorted([*range(500)] * 3)
    for thread in threads:
        thread.join()


class EndsWhenAsked(Future):
    """A call that ends just after somebody looked whether it had."""

    def done(self):
        ended = super().done()
        if not ended:
            self.set_result(EndedCall(0.5, Reply()))
        return ended


def test_a_call_that_ends_while_rows_are_made_is_in_the_next_ones():
    rows = PlacedRowMaker(load_of(Trace([0.0], 1.0), np.sum, places=2))
    reply = Reply(origin=Origin(place=0, others=(EndsWhenAsked(),)))

    first = rows.of([CompletedBatch(0, [0], 0, 0.0, 1.0, reply)])
    (late,) = rows.await_calls(threading.Event(), 60.0)

    assert first["tried"].tolist() == [2]
    assert late.requests == [0]
    assert late.finished == 0.5
