"""A backend that sends batches to a base or an overflow."""

import copy
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from tests.hosted import until
from tests.refused import refused
from workbench.backends.base import Batch, FunctionBackend, origin_of
from workbench.backends.hybrid import HybridBackend
from workbench.backends.shared_counts import SharedCounts
from workbench.batching.timer import BatchPolicy
from workbench.deployment.spill import ByDeadline, Hedge, InFlight, WhileBooting
from workbench.errors import InvocationError
from workbench.measuring.load import Load, replay
from workbench.traffic.trace import Trace

ROW = Batch(np.ones((1, 2)), (0,))
PATIENCE = 30.0


@pytest.fixture
def counts(tmp_path):
    return SharedCounts(tmp_path / "counts", ready=1)


def answers(inputs):
    return inputs.sum(axis=1)


def hybrid(counts, spill, *, base=answers, overflow=answers, concurrency=4, place=1):
    backends = (FunctionBackend(each, concurrency=concurrency) for each in (base, overflow))
    return HybridBackend(*backends, spill, counts, arrivals=np.zeros(5), place=place)


class Gate:
    """A function that answers once it is opened."""

    def __init__(self):
        self.opened = threading.Event()
        self.entered = threading.Semaphore(0)

    def __call__(self, inputs):
        self.entered.release()
        assert self.opened.wait(PATIENCE)
        return inputs.sum(axis=1)


def fail(_):
    raise InvocationError("ThrottlingException: too many requests")


def test_a_batch_spills_past_so_many_in_flight_at_each_instance(counts):
    gate = Gate()
    counts.write(ready=2)
    with hybrid(counts, InFlight(1), base=gate) as backend, ThreadPoolExecutor() as pool:
        first = [pool.submit(backend.invoke, ROW) for _ in range(2)]
        for _ in first:
            assert gate.entered.acquire(timeout=PATIENCE)
        third = origin_of(backend.invoke(ROW))
        during = counts.read()
        gate.opened.set()
        places = [origin_of(each.result()).place for each in first]

    assert (places, third.place) == ([0, 0], 1)
    assert (during.arrived, during.spilled, during.in_flight) == (3, 1, 2)
    after = counts.read()
    assert (after.done, after.in_flight) == (2, 0)


@pytest.mark.parametrize(
    ("spill", "ready", "starting", "place"),
    [
        (InFlight(9), 0, 1, 1),  # without an instance all goes there
        (WhileBooting(0), 1, 0, 0),
        (WhileBooting(0), 1, 1, 1),
        (InFlight(0), 1, 0, 1),
    ],
)
def test_the_rule_is_told_of_instances_by_who_looks_after_them(
    counts, spill, ready, starting, place
):
    counts.write(ready=ready, starting=starting)
    with hybrid(copy.copy(counts), spill) as backend:
        assert origin_of(backend.invoke(ROW)).place == place


def test_a_batch_that_waited_too_long_spills(counts):
    with hybrid(counts, ByDeadline(latency=PATIENCE, service=(0.05,))) as backend:
        counts.begin(time.perf_counter())
        assert origin_of(backend.invoke(ROW)).place == 0
        counts.begin(time.perf_counter() - PATIENCE)  # its request was due then
        assert origin_of(backend.invoke(ROW)).place == 1


def test_the_first_answer_of_a_hedged_batch_counts_and_the_other_is_told_later(counts):
    gate = Gate()
    with hybrid(counts, Hedge(after=0.01), base=gate) as backend:
        reply = backend.invoke(ROW)
        (other,) = origin_of(reply).others
        assert not other.done()
        gate.opened.set()
        late = other.result(PATIENCE)

    assert origin_of(reply).place == 1
    assert origin_of(reply).delay >= 0.01
    assert (origin_of(late.reply).place, late.error) == (0, None)
    assert late.ended > origin_of(reply).delay


def test_a_base_that_answers_in_time_is_not_hedged(counts):
    with hybrid(counts, Hedge(after=PATIENCE), overflow=fail) as backend:
        reply = backend.invoke(ROW)
    assert origin_of(reply)[::2] == (0, ())


def test_no_more_calls_are_at_the_overflow_than_it_takes(counts):
    gate = Gate()
    with (
        hybrid(counts, InFlight(0), overflow=gate, concurrency=1) as backend,
        ThreadPoolExecutor() as pool,
    ):
        both = [pool.submit(backend.invoke, ROW) for _ in range(2)]
        assert gate.entered.acquire(timeout=PATIENCE)
        until(lambda: counts.read().spilled == 2)
        assert not gate.entered.acquire(timeout=0.05)
        gate.opened.set()
        assert [origin_of(each.result()).place for each in both] == [1, 1]


def test_an_overflow_that_throttles_fails_the_batch_there(counts):
    with (
        hybrid(counts, InFlight(0), overflow=fail) as backend,
        refused(InvocationError, "ThrottlingException") as raised,
    ):
        backend.invoke(ROW)
    assert origin_of(raised.value.reply).place == 1
    assert counts.read().in_flight == 0


def test_an_overflow_that_throttles_a_hedged_batch_leaves_it_to_the_base(counts):
    gate = Gate()

    def throttle(inputs):
        gate.opened.set()
        fail(inputs)

    with hybrid(counts, Hedge(after=0.01), base=gate, overflow=throttle) as backend:
        reply = backend.invoke(ROW)
        assert origin_of(reply).place == 0
        (other,) = origin_of(reply).others
        assert isinstance(other.result(PATIENCE).error, InvocationError)


def test_a_load_keeps_every_call_of_a_hedged_batch_and_counts_its_answer_once(counts):
    gate, parts = Gate(), []

    def overflow(inputs):
        gate.opened.set()
        return inputs.sum(axis=1)

    trace = Trace(np.arange(5) * 0.01, duration=0.05)
    with hybrid(counts, Hedge(after=0.02), base=gate, overflow=overflow) as backend:
        load = Load(
            trace=trace,
            policy=BatchPolicy(),
            backend=backend,
            inputs=np.ones((3, 2)),
            places=2,
            on_begin=counts.begin,
        )
        replay(load, on_rows=parts.append)

    rows = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    given = rows["tried"] > 0
    assert sorted(rows["request"][given]) == list(range(len(trace)))
    twice = rows["request"][rows["tried"] == 2]
    assert len(twice)
    assert set(rows["request"][~given]) == set(twice)
    assert len(set(rows["batch"])) == len(rows["batch"])
    for request in twice:
        own = rows["request"] == request
        assert sorted(rows["place"][own]) == [0, 1]
        gap = np.diff(rows["started"][own][np.argsort(rows["place"][own])])
        assert gap >= 0.02
    assert counts.read().begun > 0
