"""Scaling policies: what their scalers decide, told how a fleet stands."""

import dataclasses
import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.refused import refused
from workbench.errors import InvalidInput
from workbench.scaling import (
    SCALING_POLICIES,
    Reading,
    ScaleToZero,
    Schedule,
    StepScaling,
    TargetTracking,
    policy_from_dict,
)
from workbench.settings import settings_of

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


def followed(policy, loads, *, count=1):
    """Return the counts after each minute of a load that is shared out at once."""
    scaler, counts = policy.scaler(), []
    for load in loads:
        reading = QUIET._replace(arrived=load, ready=count)
        count = scaler.decide(reading, scaler.due)
        counts.append(count)
    return counts


def plainly_tracked(policy, loads, *, count):
    """Return the same from the whole history of metrics and changes, minute by minute."""
    values, changes, counts = [], [], []
    for minute, load in enumerate(loads, start=1):
        values.append(load / count * 60 / policy.period)
        now = minute * policy.period
        sized = math.ceil(count * values[-1] / policy.target)
        out = [change for change in changes if change[1] > 0]
        grown = bool(out) and now - out[-1][0] < policy.out_cooldown and sized <= out[-1][2]
        shrunk = [at for at, by, _ in changes if by < 0 and now - at < policy.in_cooldown]
        high = [value > policy.target for value in values[-policy.out_periods :]]
        low = [value < policy.low * policy.target for value in values[-policy.in_periods :]]
        wanted = count
        if all(high) and len(high) == policy.out_periods and not grown:
            wanted = max(count, sized)
        elif all(low) and len(low) == policy.in_periods and not shrunk:
            wanted = min(count, sized)
        wanted = max(policy.least, min(policy.most, wanted))
        if wanted != count:
            changes.append((now, wanted - count, wanted))
        count = wanted
        counts.append(count)
    return counts


def test_a_fleet_grows_after_three_minutes_above_target_and_shrinks_after_fifteen_below():
    policy = TargetTracking(target=100)

    counts = followed(policy, [250] * 4 + [150] * 15)

    assert counts[:4] == [1, 1, 3, 3]  # 250 for each of one instance, then 83 of three
    assert counts[4:] == [3] * 13 + [2] * 2  # 83, then 50, are below 90 from the fourth minute on


def test_a_cool_down_keeps_a_fleet_from_growing_the_same_twice_at_once():
    scaler = TargetTracking(target=100).scaler()

    counts = [
        scaler.follow(150.0, measured=1, current=1, now=60.0 * minute) for minute in range(1, 9)
    ]

    assert counts == [1, 1, 2, 1, 1, 1, 1, 2]  # grown at 180 s, and 300 s later


def test_a_larger_growth_goes_through_the_cool_down():
    counts = followed(TargetTracking(target=100), [150] * 3 + [500, 700])

    assert counts == [1, 1, 2, 5, 7]


def test_high_resolution_grows_within_half_a_minute_and_shrinks_after_fifteen():
    scaler = TargetTracking.high_resolution(target=2, least=0).scaler()
    busy = QUIET._replace(waiting=8, serving=1, ready=1)

    grown = [(scaler.due, scaler.decide(busy, scaler.due)) for _ in range(3)]
    idle = [(scaler.due, scaler.decide(QUIET._replace(ready=5), scaler.due)) for _ in range(90)]

    assert grown == [(10.0, 1), (20.0, 1), (30.0, 5)]
    assert [at for at, count in idle if count == 0] == [930.0]


def test_a_metric_at_its_target_or_a_little_below_changes_nothing():
    policy = TargetTracking(target=100)

    assert set(followed(policy, [200, 180] * 20, count=2)) == {2}


def test_limits_hold_whatever_the_metric():
    policy = TargetTracking(target=1, least=2, most=4)

    assert followed(policy, [900] * 3, count=2) == [2, 2, 4]
    assert followed(policy, [0] * 20, count=4)[-1] == 2


def test_what_may_not_shrink_does_not():
    assert followed(TargetTracking(target=9, scale_in=False), [0] * 40, count=3)[-1] == 3


@given(
    st.builds(
        TargetTracking,
        target=st.sampled_from([10.0, 60.0]),
        least=st.integers(1, 2),
        most=st.integers(2, 9),
        out_periods=st.integers(1, 3),
        in_periods=st.integers(1, 4),
        out_cooldown=st.sampled_from([0.0, 60.0, 90.0, 300.0]),
        in_cooldown=st.sampled_from([0.0, 60.0, 90.0, 300.0]),
        period=st.sampled_from([30.0, 60.0]),
    ),
    st.lists(st.integers(0, 300), max_size=40),
    st.integers(1, 9),
)
def test_target_tracking_does_as_its_whole_history_says(policy, loads, count):
    assert followed(policy, loads, count=count) == plainly_tracked(policy, loads, count=count)


def test_instances_that_start_are_not_counted_as_serving_nor_launched_again():
    scaler = TargetTracking(target=60, out_periods=1, out_cooldown=0).scaler()
    busy = QUIET._replace(arrived=150, ready=1)

    assert scaler.decide(busy, 60.0) == 3
    assert scaler.decide(busy._replace(starting=2), 120.0) == 3


def test_steps_lead_from_zero_and_further_with_the_backlog_which_counts_what_is_served():
    policy = StepScaling(steps=[(0, 1), (10, 4)], metric="backlog", cooldown=60)
    scaler = policy.scaler()

    decided = [
        scaler.decide(QUIET._replace(waiting=waits, serving=served, ready=ready), scaler.due)
        for waits, served, ready in [(0, 0, 0), (5, 0, 0), (10, 1, 1), (0, 0, 5)]
    ]

    assert decided == [0, 1, 5, 5]


def test_exact_steps_set_the_count_and_a_cool_down_holds_it():
    policy = StepScaling(steps=[(0, 2)], adjustment="exact", periods=2, cooldown=300)
    scaler = policy.scaler()
    waits = QUIET._replace(waiting=1)

    assert [scaler.decide(waits, scaler.due) for _ in range(7)] == [0, 2, 0, 0, 0, 0, 2]


@pytest.mark.parametrize(
    "policy",
    [Schedule([(60, 2)]), ScaleToZero(), TargetTracking(target=9), StepScaling(steps=[(0, 1)])],
    ids=str,
)
def test_a_policy_is_a_value_and_made_again_from_its_json(policy):
    data = policy.to_dict()

    assert json.loads(json.dumps(data)) == data
    assert policy_from_dict(data) == policy
    assert hash(policy) == hash(policy)


def test_an_unknown_policy_is_refused_with_the_known_ones():
    with refused(InvalidInput, "kind", "target tracking, step scaling, schedule", "guess"):
        policy_from_dict({"kind": "guess"})


@pytest.mark.parametrize("kind", SCALING_POLICIES.values())
def test_forms_know_each_setting_of_a_policy(kind):
    described = settings_of(kind)

    assert list(described) == [each.name for each in dataclasses.fields(kind)]
    assert all(each.label and each.about for each in described.values())


@pytest.mark.parametrize(
    ("make", "named"),
    [
        (lambda: Schedule(60), ["changes", 60]),
        (lambda: Schedule([60]), ["change", 60]),
        (lambda: Schedule([(60, 1, 2)]), ["change", "(60, 1, 2)"]),
        (lambda: Schedule([(60, 1), (60, 2)]), ["Instants", "[(60, 1), (60, 2)]"]),
        (lambda: Schedule([(-1, 1)]), ["instant", -1]),
        (lambda: Schedule([(1, -1)]), ["count", -1]),
        (lambda: TargetTracking(target=0), ["target", 0]),
        (lambda: TargetTracking(target=1, metric="cpu"), ["metric", "cpu"]),
        (lambda: TargetTracking(target=1, least=3, most=2), ["most", 3, 2]),
        (lambda: StepScaling(steps=[]), ["steps"]),
        (lambda: StepScaling(steps=[(1, 1), (0, 2)]), ["Distances", "[(1, 1), (0, 2)]"]),
        (lambda: StepScaling(steps=[(0, 1.5)]), ["adjustment", 1.5]),
        (lambda: StepScaling(steps=[(0, 1, 2)]), ["step", "(0, 1, 2)"]),
        (lambda: StepScaling(adjustment="more"), ["adjustment", "more"]),
        (lambda: ScaleToZero(count=0), ["count", 0]),
        (lambda: ScaleToZero(idle=-1), ["idle", -1]),
        (lambda: ScaleToZero(period=0), ["period", 0]),
    ],
)
def test_a_policy_out_of_its_limits_is_refused(make, named):
    with refused(InvalidInput, *named):
        make()
