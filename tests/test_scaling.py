"""Scaling policies: what their scalers decide, told how a fleet stands."""

import json

import pytest

from workbench.errors import InvalidInput
from workbench.scaling import Reading, ScaleToZero, Schedule

QUIET = Reading(arrived=0, done=0, waiting=0, serving=0, ready=0, starting=0)


def test_a_schedule_asks_for_each_count_in_its_turn():
    scaler = Schedule([(0, 2), (60.5, 0)]).scaler()

    decided = [(scaler.due, scaler.decide(QUIET, scaler.due)) for _ in range(2)]

    assert decided == [(0.0, 2), (60.5, 0)]
    assert scaler.due == float("inf")


def test_nothing_is_launched_until_something_waits():
    scaler = ScaleToZero(count=3, period=60).scaler()

    assert scaler.decide(QUIET, 60.0) == 0
    assert scaler.decide(QUIET._replace(waiting=1), 120.0) == 3
    assert scaler.decide(QUIET._replace(waiting=9, starting=3), 180.0) == 3
    assert scaler.due == 240.0


@pytest.mark.parametrize("sign", ["arrived", "done", "waiting", "serving"])
def test_a_fleet_goes_after_it_was_idle_for_so_long(sign):
    scaler = ScaleToZero(idle=100, period=60).scaler()
    there = QUIET._replace(ready=1)

    decided = [
        scaler.decide(reading, scaler.due)
        for reading in (there._replace(**{sign: 1}), there, there)
    ]

    assert decided == [1, 1, 0]  # active at 60, idle for 60 and 120 seconds then


@pytest.mark.parametrize("policy", [Schedule([(60, 2)]), ScaleToZero()], ids=str)
def test_a_policy_is_a_value_and_its_dictionary_json(policy):
    data = policy.to_dict()

    assert json.loads(json.dumps(data)) == data
    assert hash(policy) == hash(policy)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Schedule(60), "changes must be a list, got 60"),
        (lambda: Schedule([60]), "A scheduled change must be a list, got 60"),
        (lambda: Schedule([(60, 1, 2)]), r"is seconds and a count, got \(60, 1, 2\)"),
        (lambda: Schedule([(60, 1), (60, 2)]), "must increase from 0"),
        (lambda: Schedule([(-1, 1)]), "A scheduled instant must be a finite number"),
        (lambda: Schedule([(1, -1)]), "A scheduled count must be a whole number"),
        (lambda: ScaleToZero(count=0), "count must be a whole number of at least 1"),
        (lambda: ScaleToZero(idle=-1), "idle must be a finite number of seconds, 0 or more"),
        (lambda: ScaleToZero(period=0), "period must be a finite number of seconds above 0"),
    ],
)
def test_a_policy_out_of_its_limits_is_refused(make, message):
    with pytest.raises(InvalidInput, match=message):
        make()
