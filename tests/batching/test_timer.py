import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.refused import refused
from workbench import BatchPolicy
from workbench.errors import InvalidInput


def batches_of(policy, arrivals):
    """Drive a batcher through arrivals in order; return (closing time, requests) pairs."""
    batcher = policy.batcher()
    sent = []
    for request, now in enumerate(arrivals):
        if batcher.due < now:
            due = batcher.due
            sent += [(due, batch) for batch in batcher.wake(due)]
        sent += [(now, batch) for batch in batcher.add(request, now)]
    if batcher.due < math.inf:
        due = batcher.due
        sent += [(due, batch) for batch in batcher.wake(due)]
    return sent


def test_a_full_batch_leaves_at_once():
    sent = batches_of(BatchPolicy(max_size=2, max_wait=10), [1.0, 1.5])

    assert sent == [(1.5, [0, 1])]


def test_a_batch_leaves_when_its_first_request_has_waited_long_enough():
    sent = batches_of(BatchPolicy(max_size=9, max_wait=0.5), [1.0, 1.25, 2.0])

    assert sent == [(1.5, [0, 1]), (2.5, [2])]


def test_a_request_at_the_very_instant_of_the_timer_still_gets_in():
    sent = batches_of(BatchPolicy(max_size=9, max_wait=0.5), [1.0, 1.5])

    assert sent == [(1.5, [0, 1])]


def test_no_waiting_joins_only_requests_of_one_instant():
    sent = batches_of(BatchPolicy(max_size=9, max_wait=0), [1.0, 1.0, 1.1])

    assert sent == [(1.0, [0, 1]), (1.1, [2])]


def test_size_one_is_no_batching():
    sent = batches_of(BatchPolicy(), [1.0, 1.0, 2.0])

    assert sent == [(1.0, [0]), (1.0, [1]), (2.0, [2])]


def test_waking_too_early_does_nothing():
    batcher = BatchPolicy(max_size=2, max_wait=1).batcher()
    batcher.add(0, 5.0)

    assert batcher.wake(5.999) == ()
    assert batcher.due == 6.0


def test_an_idle_server_changes_nothing():
    batcher = BatchPolicy(max_size=2, max_wait=1).batcher()
    batcher.add(0, 5.0)

    batcher.learn_latencies([math.inf], 5.4)

    assert batcher.server_free(3, 5.5) == ()
    assert not batcher.watches


@given(
    gaps=st.lists(st.floats(0, 1), min_size=1, max_size=60),
    max_size=st.integers(1, 9),
    max_wait=st.floats(0, 2),
)
def test_every_request_leaves_once_in_order_and_in_time(gaps, max_size, max_wait):
    arrivals, now = [], 0.0
    for gap in gaps:
        now += gap
        arrivals.append(now)

    sent = batches_of(BatchPolicy(max_size=max_size, max_wait=max_wait), arrivals)

    assert [request for _, batch in sent for request in batch] == list(range(len(arrivals)))
    for closed, batch in sent:
        assert 1 <= len(batch) <= max_size
        assert arrivals[batch[-1]] <= closed <= arrivals[batch[0]] + max_wait


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"max_size": 0}, ["max_size", 0]),
        ({"max_size": 2.5}, ["max_size", 2.5]),
        ({"max_size": True}, ["max_size", True]),
        ({"max_wait": -1}, ["max_wait", -1]),
        ({"max_wait": math.nan}, ["max_wait", "nan"]),
        ({"max_wait": math.inf}, ["max_wait", "inf"]),
    ],
)
def test_impossible_settings_are_refused(settings, named):
    with refused(InvalidInput, *named):
        BatchPolicy(**settings)


def test_labels_are_short():
    assert BatchPolicy().label == "no batching"
    assert BatchPolicy(max_size=8, max_wait=0.0025).label == "up to 8, 2.5 ms"
