"""The clairvoyant's schedule: as brute force finds it, and below every policy."""

import math
from itertools import product

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.minutes import bill_periods
from tests.refused import refused
from workbench.errors import InvalidInput
from workbench.scaling.capacity import InstanceCapacity
from workbench.scaling.foresight import clairvoyant
from workbench.scaling.mark import MArkDescribed
from workbench.scaling.schedule import Schedule
from workbench.traffic.replay import from_counts, from_timestamps

ONE = InstanceCapacity(instance_type="one", rate=10 / 60, hourly_price=0.6)  # 10 a minute, 1 cent
TWO = InstanceCapacity(instance_type="two", rate=25 / 60, hourly_price=1.2)
SMALL = st.lists(st.integers(0, 35), min_size=1, max_size=5)
PRICES = st.sampled_from([None, 0.0005, 0.002, 0.01])


def brute_force(demand, capacities, call_price, boot, most=4):
    """Return the least cost over all schedules of up to so many instances of each type."""
    several = list(product(range(most + 1), repeat=len(capacities)))
    rates = np.array([each.rate for each in capacities]) * 60
    prices = np.array([each.price for each in capacities])
    best = np.inf
    for counts in product(several, repeat=len(demand)):
        rises = np.maximum(np.diff(counts, axis=0), 0)
        if any(rise.any() for at, rise in enumerate(rises, start=1) if at * 60 < boot):
            continue  # it would have been launched before the trace
        spilled = np.maximum(np.array(demand) - np.array(counts) @ rates, 0)
        if call_price is None and spilled.any():
            continue
        seconds = np.sum(counts, axis=0) * 60 + rises.sum(axis=0) * boot
        best = min(best, seconds @ prices + spilled.sum() * (call_price or 0))
    return best


@settings(max_examples=40)
@example(demand=[0, 30, 30, 0], call_price=0.01, boot=120.0)  # a launch for the second is too late
@given(demand=SMALL, call_price=PRICES, boot=st.sampled_from([0.0, 45.0, 120.0]))
def test_no_schedule_is_cheaper(demand, call_price, boot):
    best = clairvoyant(demand, ONE, call_price, boot=boot)

    assert best.dollars == pytest.approx(brute_force(demand, [ONE], call_price, boot))
    assert best.bound <= best.dollars + 1e-9
    assert best.exact


def test_no_schedule_of_two_types_is_cheaper():
    demand = [30, 5, 60]

    best = clairvoyant(demand, [ONE, TWO], 0.002, boot=60)

    assert best.dollars == pytest.approx(brute_force(demand, [ONE, TWO], 0.002, 60, most=3))


def test_a_long_trace_of_several_types_is_rounded_up_from_its_relaxation(monkeypatch):
    monkeypatch.setattr("workbench.scaling.foresight.EXACT_UNKNOWNS", 5)
    demand = [30, 5, 60]

    best = clairvoyant(demand, [ONE, TWO], 0.002, boot=60)

    assert not best.exact
    assert best.bound <= brute_force(demand, [ONE, TWO], 0.002, 60, most=3) <= best.dollars


@settings(max_examples=60)
@given(
    demand=st.lists(st.integers(0, 60), min_size=1, max_size=8).filter(any),
    changes=st.lists(st.integers(0, 6), min_size=1, max_size=20),
    call_price=st.sampled_from([0.0005, 0.002, 0.01]),
    first=st.integers(0, 3),
    boot=st.sampled_from([0.0, 45.0, 120.0]),
)
def test_no_policy_is_below_the_bound(demand, changes, call_price, first, boot):
    seconds = np.repeat(demand, 3) / 3
    policy = Schedule([(20.0 * at, count) for at, count in enumerate(changes)])

    cost = bill_periods(policy, seconds, ONE, call_price, boot=boot, period=20.0, first=first)

    assert cost.dollars >= clairvoyant(demand, ONE, call_price, boot=boot).bound - 1e-9


@pytest.mark.parametrize("boot", [0.0, 90.0, 180.0])
def test_its_policy_costs_what_it_says(boot):
    demand = np.random.default_rng(3).integers(0, 90, 60)
    best = clairvoyant(demand, ONE, 0.003, boot=boot)

    halves = np.repeat(demand, 2) / 2  # launches fall between minutes
    played = bill_periods(best.policy, halves, ONE, 0.003, boot=boot, period=30, first=best.first)

    assert played.dollars == pytest.approx(best.dollars)
    assert best.lower_bound(late=10) == pytest.approx(best.bound - 0.03)


def test_of_two_types_its_policy_is_below_marks_and_above_the_bound():
    demand, both = np.random.default_rng(4).integers(0, 90, 20), (ONE, TWO)
    best = clairvoyant(demand, both, 0.003, boot=120)
    mixed = MArkDescribed(capacity=both, window=60, warm_rounds=0)

    known, mark = (
        bill_periods(each, demand, both, 0.003, boot=120) for each in (best.policy, mixed)
    )

    assert set(best.first) == {"one", "two"}
    assert best.bound <= best.dollars <= known.dollars <= mark.dollars


def test_a_trace_counts_as_its_requests_by_period():
    demand = [30, 0, 45, 12]
    trace = from_counts(demand, period=60, seed=1)

    of_trace, of_counts = (clairvoyant(each, ONE, 0.003) for each in (trace, demand))

    assert of_trace.dollars == of_counts.dollars
    assert of_trace.bound == pytest.approx(of_counts.bound)


def test_the_bound_lets_requests_wait_into_the_next_period_until_they_are_late():
    trace = from_timestamps(np.linspace(118, 119, 40, endpoint=False), duration=240)

    at_once, later = (clairvoyant(trace, ONE, boot=120, within=s).bound for s in (0.5, 60.0))

    # 40 in the second minute take 4 instances, kept from the first on: 8 cents; or 2 for three
    assert (at_once, later) == pytest.approx((0.08, 0.06))


def test_a_schedule_shows_itself_in_a_line():
    shown = repr(clairvoyant([60] * 500, ONE, 0.002))
    assert "500 periods" in shown
    assert len(shown.splitlines()) == 1


def test_prices_alone_can_decide():
    demand = [30, 0, 45, 12]

    assert not clairvoyant(demand, ONE, 0.001).counts.any()  # functions cost no more, when full
    assert not clairvoyant(demand, ONE, 1e9).calls.any()
    assert not clairvoyant(demand, ONE).calls.any()
    assert clairvoyant([0, 0], ONE, 0.01).dollars == 0
    assert clairvoyant([1], ONE, 0.002).dollars == pytest.approx(0.002)  # an instance: 0.01


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"trace": []}, ["trace"]),
        ({"trace": [-1]}, ["trace", -1]),
        ({"trace": [1, math.inf]}, ["trace", "inf"]),
        ({"trace": ["many"]}, ["trace", "many"]),
        ({"capacity": InstanceCapacity(instance_type="x", rate=1, hourly_price=0)}, ["price"]),
        ({"call_price": -1}, ["call_price", -1]),
        ({"boot": -1}, ["boot", -1]),
        ({"most_rates": [1, 2]}, ["most_rates", 2]),
        ({"within": 0}, ["within", 0]),
    ],
)
def test_bad_input_is_refused(change, named):
    with refused(InvalidInput, *named):
        clairvoyant(**{"trace": [1], "capacity": ONE, "call_price": 1.0} | change)
