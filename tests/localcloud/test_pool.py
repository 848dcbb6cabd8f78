"""Which instance of a serverless endpoint answers, and which one ends."""

import math

import pytest

from workbench.deployment import Lambda
from workbench.localcloud.sandbox.pool import Admission, Pool, Rate


def pool(max_concurrency=3, keep_alive=10.0):
    return Pool[str](max_concurrency=max_concurrency, keep_alive=keep_alive)


def test_without_an_idle_instance_one_is_started():
    assert pool().take() is Admission.START


def test_the_instance_that_became_free_last_answers():
    some = pool()
    assert [some.take(), some.take()] == [Admission.START] * 2
    some.free("a", now=1.0)
    some.free("b", now=2.0)
    assert [some.take(), some.take()] == ["b", "a"]


def test_provisioned_instances_answer_before_others_whenever_they_became_free():
    some = pool()
    some.add("p", now=0.0, provisioned=True)
    assert some.take() == "p"
    assert some.take() is Admission.START
    some.free("p", now=1.0, provisioned=True)
    some.free("a", now=2.0)
    assert [some.take(), some.take()] == ["p", "a"]


def test_requests_above_the_maximum_are_throttled_though_an_instance_frees_later():
    some = pool(max_concurrency=1)
    some.take()
    assert some.take() is Admission.THROTTLE
    some.free("a", now=1.0)
    assert some.take() == "a"


def test_a_request_whose_instance_is_gone_counts_no_longer():
    some = pool(max_concurrency=1)
    some.take()
    some.lose()
    assert some.take() is Admission.START


@pytest.mark.parametrize(("now", "gone"), [(11.0, []), (11.001, ["a"]), (12.5, ["a", "b"])])
def test_idle_for_exactly_keep_alive_is_still_alive(now, gone):
    some = pool()
    some.add("a", now=1.0)
    some.add("b", now=2.0)
    assert some.next_expiry == 11.0
    assert some.pop_expired(now) == gone
    assert some.idle == [each for each in ("a", "b") if each not in gone]


def test_provisioned_instances_never_expire():
    some = pool()
    some.add("p", now=0.0, provisioned=True)
    assert some.next_expiry == math.inf
    assert some.pop_expired(1e9) == []
    assert some.idle == ["p"]


def test_an_idle_instance_that_is_gone_is_not_taken():
    some = pool()
    some.add("a", now=0.0)
    some.add("p", now=0.0, provisioned=True)
    some.discard("a")
    some.discard("p")
    some.discard("never seen")
    assert some.take() is Admission.START


def test_a_thousand_instances_start_at_once_and_then_one_every_ten_milliseconds():
    rate = Rate(step=Lambda.scaling_step, period=Lambda.scaling_period)
    some = Pool[int](max_concurrency=10_000, keep_alive=10.0, rate=rate)

    assert [some.take(now=0.0) for _ in range(1001)] == [Admission.START] * 1000 + [
        Admission.THROTTLE
    ]
    assert [some.take(now=now) for now in (0.005, 0.011, 0.012)] == [
        Admission.THROTTLE,
        Admission.START,
        Admission.THROTTLE,
    ]
    assert some.busy == 1001


def test_what_was_not_used_of_a_rate_adds_up_to_one_step():
    rate = Rate(step=10, period=1.0)
    [rate.admit(0.0) for _ in range(10)]

    assert sum(rate.admit(100.0) for _ in range(30)) == 10
