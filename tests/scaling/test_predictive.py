"""Policies that forecast: hand-worked minutes, the newsvendor's rule, and what cannot be."""

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.minutes import bill_periods
from tests.refused import refused
from workbench.errors import InvalidInput, TooFewSamples
from workbench.forecasts import SeasonalNaive
from workbench.scaling.base import Reading, TypeCount
from workbench.scaling.capacity import InstanceCapacity
from workbench.scaling.mark import MArkDescribed, MArkReleased
from workbench.scaling.miss_tracker import MissRule
from workbench.scaling.predictive import Predictive
from workbench.scaling.provision import fill_greedily, find_cheapest

ONE = InstanceCapacity(instance_type="one", rate=10 / 60, hourly_price=0.6)  # 10 a minute, 1 cent
TWO = InstanceCapacity(instance_type="two", rate=25 / 60, hourly_price=1.2)
DEMAND = [12, 31, 8, 8, 55]
PLAIN = {"capacity": ONE, "call_price": 0.01, "plan": "greedy", "in_rounds": 1}


class Last:
    """The last count, for certain."""

    def fit(self, counts, period):  # noqa: ARG002 - the protocol's words
        self.last = counts[-1]

    def forecast(self, steps, quantiles):
        return np.full((steps, len(quantiles)), float(self.last))


class Known:
    """Quantiles of a sample that every period's demand is drawn from."""

    def __init__(self, sample):
        self.sample = sample

    def fit(self, counts, period):
        pass

    def forecast(self, steps, quantiles):
        return np.tile(np.quantile(self.sample, quantiles), (steps, 1))


class Curve:
    """The same quantiles of each period ahead, whatever was."""

    def __init__(self, *steps):
        self.steps = steps

    def fit(self, counts, period):
        pass

    def forecast(self, steps, quantiles):
        return np.repeat(np.array(self.steps[:steps], float)[:, None], len(quantiles), axis=1)


class Wary(Last):
    def fit(self, counts, period):  # noqa: ARG002 - the protocol's words
        raise TooFewSamples("no")


def read(requests=0, running=0, **types):
    return Reading(0, 0, 0, 0, running, 0, requests, types=types)


def counts_of(policy, demand=DEMAND):
    return bill_periods(policy, demand, ONE, 0.01, boot=0).counts


@pytest.mark.parametrize(
    ("policy", "counts"),
    [
        (Predictive(forecaster=Last(), **PLAIN), [2, 4, 1, 1, 6]),
        (Predictive(forecaster=Last(), **PLAIN | {"in_rounds": 2}), [2, 4, 4, 1, 6]),
        (Predictive(forecaster=Last(), **PLAIN, least=2, most=5), [2, 4, 2, 2, 5]),
        (Predictive(forecaster=Wary(), **PLAIN), [2, 4, 1, 1, 6]),
        (Predictive(forecaster=SeasonalNaive(season=1440), **PLAIN), [2, 4, 1, 1, 6]),
        # a second one would spare 2 calls, 0.3 of its cent; a sixth 5, 0.75; 8 calls are 1.2
        (Predictive(forecaster=Last(), **PLAIN | {"plan": "exact", "call_price": 0.0015}),
         [1, 3, 1, 1, 5]),
        (MArkReleased(capacity=ONE, window=60, warm_rounds=0), [2, 4, 4, 4, 7]),
        (MArkDescribed(capacity=ONE, window=60, warm_rounds=0, in_rounds=2), [2, 4, 4, 1, 7]),
        (MArkDescribed(capacity=ONE, window=60, warm_rounds=2, in_rounds=1), [0, 0, 1, 1, 7]),
    ],
)  # fmt: skip
def test_five_minutes_by_hand(policy, counts):
    assert counts_of(policy) == counts


def test_mark_looks_at_the_busiest_seconds_of_a_minute():
    policy = MArkDescribed(capacity=ONE, warm_rounds=0)
    seconds = [0] * 11 + [2] + [1] * 12  # 2 in 5 s are 24 a minute, 28.8 with a fifth in hand

    counts = bill_periods(policy, seconds, ONE, 0.01, boot=0, period=5.0).counts

    assert counts == [0] * 11 + [3] * 13  # and the quiet minute after it changes nothing yet


def test_history_lets_a_policy_plan_from_the_beginning():
    scaler = Predictive(forecaster=Last(), **PLAIN, history=[44]).scaler()

    assert (scaler.due, scaler.decide(read(), 0.0), scaler.due) == (0.0, 5, 60.0)
    assert scaler.decide(read(requests=7), 60.0) == 1


def test_launches_serve_what_comes_after_a_boot_and_what_serves_until_then_is_kept():
    policy = Predictive(forecaster=Curve(50, 40, 30, 20), **PLAIN, boot=180)
    rising = Predictive(forecaster=Curve(20, 30, 40, 50), **PLAIN, boot=180)

    assert policy.scaler().decide(read(running=0), 60.0) == 2
    assert policy.scaler().decide(read(running=9), 60.0) == 5
    assert rising.scaler().decide(read(running=9), 60.0) == 5


def test_scalers_of_one_policy_know_nothing_of_each_other():
    policy = Predictive(forecaster=Last(), capacity=ONE)
    one, other = policy.scaler(), policy.scaler()

    one.decide(read(requests=90), 60.0)

    assert not hasattr(policy.forecaster, "last")
    assert other.decide(read(requests=10), 60.0) == 1


def test_late_requests_launch_one_more_for_the_rounds_of_a_cool_down():
    rule = MissRule(latency_target=0.1, cooldown_rounds=2)
    scaler = Predictive(forecaster=Last(), capacity=ONE, misses=rule, in_rounds=1).scaler()
    late = [0, 9, 90, 0, 0]  # of 1000: 0.9 % x 0.63 is within 2 %, then 9 % x 0.63 is not

    counts = [scaler.decide(read(requests=1000)._replace(late=each), scaler.due) for each in late]

    assert scaler.latency_target == 0.1
    assert counts == [100, 100, 101, 101, 100]


@pytest.mark.parametrize("share", [0.25, 0.5, 0.9])
@pytest.mark.parametrize("plan", ["greedy", "exact"])
def test_cost_is_least_at_the_critical_quantile(share, plan):
    rng = np.random.default_rng(1)
    sample = rng.gamma(20.0, 10.0, 4000)  # requests a minute, independent by minute
    price = 0.001 / (1 - share)  # of a call: full instances cost 0.001 a request
    fixed = [
        np.mean([ONE.price * 60 * n + price * np.maximum(sample - 10 * n, 0).mean()])
        for n in range(60)
    ]
    policy = Predictive(forecaster=Known(sample), capacity=ONE, call_price=price, plan=plan)

    chosen = policy.scaler().decide(read(requests=1), 60.0)

    assert policy.quantiles == pytest.approx((share,))
    assert abs(chosen - int(np.argmin(fixed))) <= 1


def test_no_instance_pays_where_functions_are_no_dearer():
    for plan in ("greedy", "exact"):
        policy = Predictive(forecaster=Last(), capacity=ONE, call_price=0.001, plan=plan)

        assert set(counts_of(policy)) == {0}
        assert "no instance" in policy.advice


@pytest.mark.parametrize("price", [None, math.inf, 1e9])
def test_functions_that_never_pay_get_nothing(price):
    policy = Predictive(forecaster=Known(np.arange(1001)), capacity=ONE, call_price=price)

    assert policy.scaler().decide(read(requests=1), 60.0) == 100  # 99.9 % of up to 1000, by tens
    assert json.loads(json.dumps(policy.to_dict()))["kind"] == "predictive"


def test_a_mixed_fleet_is_planned_by_type():
    there = {"one": TypeCount(1, 1), "two": TypeCount(0, 1)}
    for plan in ("greedy", "exact"):
        policy = Predictive(forecaster=Last(), capacity=(ONE, TWO), call_price=0.01, plan=plan)

        assert policy.scaler().decide(read(requests=60, **there), 60.0) == {"one": 1, "two": 2}
    with refused(InvalidInput, "['three']", "['one', 'two']"):
        policy.scaler().decide(read(three=TypeCount(1, 0)), 60.0)


def test_nothing_is_asked_for_where_nothing_came():
    for policy in (
        Predictive(forecaster=Last(), capacity=ONE),
        Predictive(forecaster=Last(), capacity=(ONE, TWO), plan="exact"),
        MArkReleased(capacity=(ONE, TWO), warm_rounds=0),
    ):
        demand = [0] * 12
        counts = bill_periods(policy, demand, policy.capacity, 0.01).counts
        assert all(sum(c.values()) == 0 if isinstance(c, dict) else c == 0 for c in counts)


CAPACITIES = st.lists(
    st.tuples(st.sampled_from([0.1, 0.25, 0.6]), st.sampled_from([0.5, 1.0, 2.5])),
    min_size=2, max_size=3,
).map(lambda rows: [
    InstanceCapacity(instance_type=str(i), rate=rate, hourly_price=price)
    for i, (rate, price) in enumerate(rows)
])  # fmt: skip


def price_counts(capacities, counts, demand, *, interval, call_price, running=0, overhead=0.0):
    """US dollars of counts by type; what they do not cover costs calls, or without them no end."""
    cases = np.asarray(demand, float).reshape(len(demand), -1)
    rates, prices = (np.array([getattr(c, of) for c in capacities]) for of in ("rate", "price"))
    spilled = np.maximum(cases - interval * float(rates @ counts), 0)
    launched = np.maximum(counts - np.asarray(running), 0)
    dollars = float(prices @ (counts * interval * len(cases) + launched * overhead))
    if call_price is None:
        return dollars if spilled.max() <= 1e-6 else math.inf
    return dollars + call_price * float(spilled.mean(axis=1).sum())


@given(
    capacities=CAPACITIES,
    demand=st.lists(st.integers(0, 90), min_size=1, max_size=4).filter(any),
    call_price=st.sampled_from([None, 0.002, 0.01]),
    overhead=st.sampled_from([0.0, 180.0]),
    running=st.integers(0, 2),
)
def test_greedy_is_never_cheaper_than_the_integer_programme(
    capacities, demand, call_price, overhead, running
):
    how = {"interval": 60.0, "running": running, "overhead": overhead}
    greedy = fill_greedily(capacities, demand, steps=len(demand), **how)
    exact = find_cheapest(capacities, demand, call_price=call_price, **how)
    price = [price_counts(capacities, each, demand, call_price=call_price, **how)
             for each in (greedy, exact)]  # fmt: skip

    assert math.isfinite(price[0])  # it covers all
    assert price[1] <= price[0] + 1e-9


def test_greedy_keeps_what_runs_where_a_launch_would_cost_more():
    how = {"interval": 60, "steps": 1}

    assert fill_greedily([ONE, TWO], [8], **how).tolist() == [1, 0]  # 240 s of a cent a minute
    assert fill_greedily([ONE, TWO], [8], running=[0, 1], **how).tolist() == [0, 1]  # 60 s of two


def test_of_one_type_all_counts_are_tried():
    cases = np.random.default_rng(2).integers(0, 100, (3, 5))
    how = {"interval": 60.0, "call_price": 0.0021}
    prices = [price_counts([ONE], np.array([n]), cases, **how) for n in range(12)]

    assert find_cheapest([ONE], cases, **how) == [np.argmin(prices)]


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"capacity": ()}, ["capacity", "[]"]),
        ({"capacity": 30}, ["capacity", 30]),
        ({"capacity": (ONE, ONE)}, ["capacity", "['one', 'one']"]),
        ({"capacity": InstanceCapacity(instance_type="x", rate=1, hourly_price=0)}, ["price"]),
        ({"forecaster": 3}, ["forecaster", 3]),
        ({"call_price": 0.0}, ["call_price", 0.0]),
        ({"quantile": 1.0}, ["quantile", 1.0]),
        ({"plan": "best"}, ["plan", "best"]),
        ({"history": [-1]}, ["history", -1]),
        ({"in_rounds": 0}, ["in_rounds", 0]),
        ({"misses": 0.02}, ["misses", 0.02]),
        ({"least": 3, "most": 2}, ["most", 3, 2]),
    ],
)
def test_settings_out_of_their_limits_are_refused(change, named):
    with refused(InvalidInput, *named):
        Predictive(**{"forecaster": Last(), "capacity": ONE} | change)


@pytest.mark.parametrize("shown", [[[math.nan]], [[math.inf]], [1.0, 2.0], [[1.0, 2.0]]], ids=str)
def test_a_forecast_of_another_shape_or_without_an_end_is_refused(shown):
    class Odd(Last):
        def forecast(self, steps, quantiles):  # noqa: ARG002 - the protocol's words
            return np.array(shown)

    for policy in (
        Predictive(forecaster=Odd(), capacity=ONE, quantile=0.5, boot=0),
        MArkDescribed(forecaster=Odd(), capacity=ONE, warm_rounds=0, window=60, steps=1),
    ):
        with refused(InvalidInput, "Odd", "(1, 1)"):
            policy.scaler().decide(Reading(3, 0, 0, 0, 1, 0, requests=3), now=60.0)


def test_more_demand_than_any_fleet_serves_asks_for_all_there_may_be():
    for capacity, most in ((ONE, 7), ((ONE, TWO), {"one": 7, "two": 7})):
        policy = Predictive(forecaster=Last(), capacity=capacity, most=7)
        asked = policy.scaler().decide(Reading(1, 0, 0, 0, 1, 0, requests=10**15), now=60.0)
        assert asked == most


def test_windows_must_fill_an_interval():
    with refused(InvalidInput, "interval", "window", "60.0 s", "7.0 s"):
        MArkReleased(capacity=ONE, window=7)


def test_policies_are_json_values():
    rule = MissRule(latency_target=0.1)
    for policy in (
        Predictive(forecaster=Last(), capacity=(ONE, TWO), misses=rule),
        MArkReleased(capacity=ONE, misses=rule),
        MArkDescribed(capacity=ONE, forecaster=Last()),
    ):
        values = policy.to_dict()
        assert json.loads(json.dumps(values)) == values
    assert values["forecaster"] == {"kind": "Last"}


def test_numbers_of_numpy_are_kept_as_plain_ones():
    whole, real = np.int64(2), np.float32(0.5)
    one = InstanceCapacity(instance_type="one", rate=real, hourly_price=whole)
    rule = MissRule(latency_target=real, weight=real, launch=whole, cooldown_rounds=whole)
    rounds = {"in_rounds": whole, "launch_overhead": real, "misses": rule, "least": whole}
    for policy in (
        Predictive(
            forecaster=Last(),
            capacity=one,
            call_price=real,
            quantile=real,
            boot=whole,
            interval=real,
            history=np.array([1, 2], np.float32),
            most=whole,
            **rounds,
        ),
        MArkReleased(
            capacity=one,
            window=real,
            headroom=real,
            steps=whole,
            warm_rounds=whole,
            interval=whole,
            most=whole,
            **rounds,
        ),
    ):
        values = policy.to_dict()
        assert json.loads(json.dumps(values)) == values
