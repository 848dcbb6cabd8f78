"""Hybrids and mixed fleets in virtual time: against their parts alone, theory, and the bill."""

import math
from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests import twin
from tests.refused import refused
from tests.simulator.test_simulator import (
    TICK,
    on_demand,
    routings,
    service_times,
    ticks,
    timed,
    traces,
)
from workbench.batching.policies import Steered, WorkConserving
from workbench.batching.timer import BatchPolicy
from workbench.deployment import (
    ByDeadline,
    Hedge,
    Hybrid,
    InFlight,
    Lambda,
    MixedFleet,
    OnPremise,
    RealTime,
    Serverless,
    WhileBooting,
)
from workbench.errors import InvalidInput
from workbench.forecasts import Persistence, Ridge
from workbench.planner.candidates import usage_of
from workbench.plots.costs import cost_over_time
from workbench.pricing.cost import total
from workbench.run.costs import cost
from workbench.run.record import RunRecord
from workbench.scaling import InstanceCapacity, Schedule
from workbench.scaling.predictive import Predictive
from workbench.scaling.spot import SpotPool
from workbench.service_times import ServiceTimes
from workbench.simulator import EXPIRED_ERROR, THROTTLED_ERROR, serve, simulate, spawn_streams
from workbench.simulator.place_outcomes import PlaceOutcome
from workbench.traffic.patterns import constant, poisson
from workbench.traffic.trace import Trace

UNBATCHED = BatchPolicy()
BATCHED = BatchPolicy(max_size=4, max_wait=0.05)
LEVELS = -np.log1p(-(np.arange(2000) + 0.5) / 2000)
EXPONENTIAL = ServiceTimes({1: 0.04 * LEVELS / LEVELS.mean()})
DRAWN = ServiceTimes({size: (0.02 + 0.01 * size) * LEVELS for size in range(1, 5)})
CONSTANT = ServiceTimes.affine(0.02, 0.01, largest=4)
FUNCTIONS = Lambda(memory_mb=1769, max_concurrency=1000)
TRACE = poisson(rate=50, duration=60, seed=1)
SMALL, LARGE = "ml.m5.large", "ml.c5.xlarge"
RULES = (
    InFlight(2),
    ByDeadline(latency=0.2, service=(0.03, 0.04, 0.05, 0.06), margin=0.01),
    Hedge(after=0.15),
    WhileBooting(1),
)


def real_time(count=1, instance_type=SMALL, **knobs):
    return RealTime(instance_type=instance_type, count=count, **knobs)


def hybrid(base=None, spill=RULES[0], overflow=FUNCTIONS):
    return Hybrid(base=base or real_time(2), overflow=overflow, spill=spill)


def mixed(workers=2):
    return MixedFleet(parts=(real_time(), real_time(instance_type=LARGE, workers=workers)))


def test_a_forecaster_that_learns_nothing_in_a_trace_is_named():
    capacity = InstanceCapacity(instance_type=SMALL, rate=5, hourly_price=0.1)
    times = ServiceTimes.affine(0.1, 0.0, largest=1)
    for forecaster, warned in ((Ridge(), True), (Persistence(), False)):
        policy = Predictive(forecaster=forecaster, capacity=capacity)
        terms = {"boot": 1.0, "cold_start": 1.0, "scaling": policy}
        run = simulate(
            constant(rate=1, duration=300), BatchPolicy(), hybrid(), [times] * 2, **terms
        )
        said = [each for each in run.warnings if "Ridge needs 1441" in each]
        assert bool(said) is warned


class CountsByType:
    """A policy whose counts are set beforehand: by time, for each instance type."""

    def __init__(self, changes, latency_target=None):
        self.changes, self.latency_target, self.readings = changes, latency_target, []

    def scaler(self):
        return CountsByType(list(self.changes), self.latency_target)

    def to_dict(self):
        return {"kind": "counts by type"}

    @property
    def due(self):
        return self.changes[0][0] if self.changes else math.inf

    def decide(self, reading, now):  # noqa: ARG002 - the words of the protocol
        self.readings.append(reading)
        return self.changes.pop(0)[1]


@pytest.mark.parametrize("policy", [UNBATCHED, BATCHED])
@pytest.mark.parametrize("routing", ["least_outstanding", "random", "shared"])
@pytest.mark.parametrize("spill", [InFlight(10**6), WhileBooting(0), Hedge(after=1e6)])
def test_a_hybrid_whose_base_takes_all_is_that_fleet(policy, routing, spill):
    base = real_time(3, routing=routing)

    alone = serve(TRACE, policy, base, DRAWN, seed=3).batches
    both = serve(TRACE, policy, hybrid(base, spill), [DRAWN, CONSTANT], seed=3)

    for name in ("closed", "started", "finished", "server"):
        found = getattr(both.places[0].outcome.batches, name)
        np.testing.assert_array_equal(found, getattr(alone, name), err_msg=name)
    assert both.given.max() == 0
    assert both.tried.max() == 1


@pytest.mark.parametrize("overflow", [FUNCTIONS, Serverless(memory_mb=1024, max_concurrency=3)])
@pytest.mark.parametrize(
    ("spill", "scaling"), [(InFlight(0), None), (RULES[1], Schedule([(0, 0)]))]
)
def test_a_hybrid_whose_base_takes_nothing_is_its_functions(overflow, spill, scaling):
    deployment = hybrid(real_time(1), spill, overflow)
    terms = {"cold_start": 0.3, "seed": 4}

    alone = simulate(TRACE, BATCHED, overflow, DRAWN, **terms).frame
    run = simulate(TRACE, BATCHED, deployment, [DRAWN, DRAWN], scaling=scaling, **terms)

    assert set(run.frame["place"]) == {1}
    for name in ("started", "finished", "latency", "batch_size", "server", "cold", "init", "error"):
        assert run.frame[name].equals(alone[name], null_equal=True), name


def blocked_share(load, servers, room):
    """The share of arrivals that an M/M/c/K queue turns away."""
    weights = [1.0]
    for number in range(1, room + 1):
        weights.append(weights[-1] * load / min(number, servers))
    return weights[-1] / sum(weights)


@pytest.mark.parametrize("room", [1, 3])
def test_spill_in_flight_is_erlang_b_at_c_and_the_queue_with_k_places_beyond(room):
    servers, rate = 4, 100.0
    base = (
        OnPremise(workers=servers, purchase_price=1000, lifetime_years=3)
        if room == 1
        else real_time(servers, routing="shared")
    )
    spill = InFlight(servers) if room == 1 else InFlight(room)
    trace = poisson(rate=rate, duration=2000, seed=5)

    outcome = serve(trace, UNBATCHED, hybrid(base, spill), [EXPONENTIAL, CONSTANT], seed=5)

    expected = blocked_share(rate * 0.04, servers, servers * room)
    shares = [part.mean() for part in np.array_split(outcome.given, 40)]
    error = np.std(shares, ddof=1) / math.sqrt(40)
    assert abs(np.mean(shares) - expected) < 4 * error
    assert error < 0.05 * expected


@pytest.mark.parametrize("spill", RULES)
@pytest.mark.parametrize("types", [1, 2])
def test_each_request_is_answered_once_and_each_call_is_billed(spill, types):
    base = mixed() if types == 2 else real_time(2)
    deployment = hybrid(base, spill)
    times = [DRAWN] * types + [DRAWN.scale(0.5)]
    run = simulate(TRACE, BATCHED, deployment, times, cold_start=0.3, boot=5.0, seed=6)

    assert run.frame["request"].to_list() == list(range(len(TRACE)))
    assert run.frame["error"].null_count() == len(TRACE)
    calls = run.calls.group_by("request").len().sort("request")["len"]
    assert calls.equals(run.frame["tried"].cast(calls.dtype), check_names=False)
    assert (calls > 1).any() == isinstance(spill, Hedge)
    best = run.calls.group_by("request").agg(pl.col("finished").min()).sort("request")
    assert best["finished"].equals(run.frame["finished"])
    outcome = serve(TRACE, BATCHED, deployment, times, cold_start=0.3, boot=5.0, seed=6)
    bill = cost(run)
    assert total(deployment.bill(usage_of(outcome, deployment))) == pytest.approx(bill.total)
    functions = run.calls.filter(run.calls["place"] == types)["batch"].n_unique()
    assert [each.quantity for each in bill.items if each.what == "lambda requests"] == (
        [functions] if functions else []
    )


@pytest.mark.parametrize("spill", RULES)
@pytest.mark.parametrize("scaling", [None, Schedule([(0.0, 1), (20.0, 3), (40.0, 0)])])
def test_the_bill_is_the_sum_that_rows_and_instances_give_by_hand(spill, scaling):
    times, settings = [DRAWN, DRAWN.scale(0.5)], {"cold_start": 0.3, "boot": 5.0, "seed": 7}
    run = simulate(TRACE, BATCHED, hybrid(spill=spill), times, scaling=scaling, **settings)

    spans = run.record.members[0].instances
    instances = sum(math.ceil(round(end - start, 6)) for start, end in spans) * 0.115 / 3600
    calls = run.calls.filter(pl.col("place") == 1).unique("batch")
    seconds = (calls["finished"] - calls["started"]).to_list()
    billed = sum(math.ceil(round(1000 * each, 5)) / 1000 for each in seconds)
    functions = billed * 1769 / 1024 * 1.66667e-5 + len(seconds) * 2e-7
    assert cost(run).total == pytest.approx(instances + functions, rel=1e-9)
    assert functions > 0 or spill.kind == "while booting"


def pool(*changes, notice=2.0):
    return SpotPool(
        instance_type=SMALL,
        hourly_price=0.05,
        priced_on="2026-11-29",
        notice=notice,
        recorded=changes,
    )


def test_what_a_lost_instance_has_is_offered_to_the_overflow_when_the_notice_ends():
    trace = Trace([0.0, 0.5, 1.0, 9.0], 10.0)
    times = [ServiceTimes({1: 4.0}), ServiceTimes({1: 1.0})]
    deployment = hybrid(real_time(1), InFlight(9))

    run = simulate(trace, UNBATCHED, deployment, times, cold_start=0.0, spot=pool((1.0, 0)))

    # the notice comes at 1 s, its end at 3 s: the one in service, and those that wait, are lost
    assert run.frame["place"].to_list() == [1, 1, 1, 1]
    assert run.frame["started"].to_list() == [3.0, 3.0, 3.0, 9.0]
    assert run.record.members[0].instances == ((0.0, 3.0),)


def test_what_is_lost_may_be_older_than_what_spilled_over_before_it():
    trace = Trace([0.0, 0.5, 9.0], 10.0)
    times = [ServiceTimes({1: 4.0}), ServiceTimes({1: 1.0})]
    terms = {"cold_start": 0.0, "spot": pool((1.0, 0))}

    run = simulate(trace, UNBATCHED, hybrid(real_time(1), InFlight(1)), times, **terms)

    assert run.frame["place"].to_list() == [1, 1, 1]
    assert run.frame["started"].to_list() == [3.0, 0.5, 9.0]


def test_spot_instances_are_billed_at_the_price_of_their_pool():
    run = simulate(TRACE, UNBATCHED, mixed(), [EXPONENTIAL] * 2, spot=pool((30.0, 0)))

    here, large = cost(run).items
    assert (here.what, here.dollars) == (SMALL, pytest.approx(32 / 3600 * 0.05))
    assert (large.what, here.mark, str(here.date)) == (LARGE, "user", "2026-11-29")
    grown = cost_over_time(run, points=1).filter(item=f"{SMALL}: {SMALL}")
    assert grown["dollars"].to_list() == pytest.approx([0.0, here.dollars])
    assert RunRecord.from_dict(run.record.to_dict()).spot == run.record.spot


@pytest.mark.parametrize("routing", ["least_outstanding", "random", "shared"])
def test_what_a_lost_instance_has_waits_for_another_or_fails_where_there_is_none(routing):
    trace = Trace([0.0, 0.0, 0.0, 9.0], 20.0)
    changes = (1.0, 1), (12.0, 0)

    run = simulate(
        trace, UNBATCHED, real_time(2, routing=routing), CONSTANT.scale(100), spot=pool(*changes)
    )

    # each takes 3 s: the second instance, newest, has its notice at 1 s and is gone at 3 s
    finished = run.frame["finished"].to_list()
    assert max(finished) == 12.0
    assert run.frame["error"].null_count() == 4
    late = simulate(
        Trace([0.0, 15.0], 20.0), UNBATCHED, real_time(2), CONSTANT, spot=pool(*changes)
    )
    assert late.frame["error"].to_list() == [None, THROTTLED_ERROR]


def test_lost_instances_are_launched_again_as_far_as_there_is_room():
    there = CountsByType([(float(at), {SMALL: 3, LARGE: 1}) for at in range(0, 40, 5)])
    run = simulate(
        TRACE,
        UNBATCHED,
        mixed(),
        [EXPONENTIAL] * 2,
        boot=1.0,
        scaling=there,
        spot=pool((12.0, 1), (22.0, math.inf), notice=0.0),
    )

    small = run.record.members[0].instances
    assert small == ((0.0, 60.0), (0.0, 12.0), (0.0, 12.0), (25.0, 60.0), (25.0, 60.0))
    assert len(run.record.members[1].instances) == 1


@pytest.mark.parametrize("routing", ["least_outstanding", "random", "shared"])
@pytest.mark.parametrize("functions", [True, False])
def test_interruptions_lose_no_request(routing, functions):
    base = real_time(4, routing=routing)
    spot = replace(pool(), rate=400.0, pool_rate=60.0, outage=5.0, notice=0.0)
    scaling = Schedule([(float(at), 4) for at in range(60)])
    deployment, times = (hybrid(base, InFlight(2)), [DRAWN] * 2) if functions else (base, DRAWN)

    run = simulate(TRACE, BATCHED, deployment, times, boot=1.0, scaling=scaling, spot=spot, seed=2)

    assert len(run.record.members[0].instances if functions else run.record.instances) > 20
    assert run.frame["request"].to_list() == list(range(len(TRACE)))
    failed = run.frame["error"].is_not_null()
    assert (run.frame["finished"].is_nan() == failed).all()
    assert failed.any() != functions
    assert (run.frame.filter(~failed)["latency"] > 0).all()


def test_a_mixed_fleet_sends_to_the_least_work_for_its_speed():
    slow, fast = ServiceTimes({1: 4.0}), ServiceTimes({1: 1.0})
    trace = Trace(np.arange(8) / 1024, 10.0)

    run = simulate(trace, UNBATCHED, mixed(workers=1), [slow, fast])

    assert run.record.places == (SMALL, LARGE)
    assert run.frame["place"].to_list() == [1, 1, 1, 0, 1, 1, 1, 1]


def test_nothing_spills_from_a_mixed_fleet_while_an_instance_has_room():
    slow, fast = ServiceTimes({1: 4.0}), ServiceTimes({1: 1.0})
    trace = Trace(np.arange(8) / 1024, 10.0)

    outcome = serve(trace, UNBATCHED, hybrid(mixed(workers=1), InFlight(2)), [slow, fast, fast])

    assert outcome.given.tolist() == [1, 1, 0, 0, 2, 2, 2, 2]


def test_a_scaler_of_a_mixed_fleet_sees_and_sets_counts_by_type():
    policy = CountsByType([(10.0, {SMALL: 2}), (30.0, {LARGE: 3, SMALL: 0})], latency_target=0.05)
    policy.scaler = lambda: policy

    run = simulate(
        TRACE, UNBATCHED, hybrid(mixed()), [EXPONENTIAL] * 3, boot=2.0, scaling=policy, seed=3
    )

    first, second = policy.readings
    assert first.types == {SMALL: (1, 0), LARGE: (1, 0)}
    assert second.types == {SMALL: (2, 0), LARGE: (0, 0)}
    early = run.calls.filter(pl.col("scheduled") < 10.0)
    assert first.requests == first.arrived == len(early)
    assert first.spilled == early.filter(place=2).height
    late = early.filter(pl.col("finished") <= 10.0, pl.col("place") < 2, pl.col("latency") > 0.05)
    assert first.late == late.height > 0
    assert [len(each.instances or ()) for each in run.record.members] == [2, 4, 0]


@pytest.mark.parametrize(
    ("wanted", "came"),
    [(3, 3), ({"ml.x.large": 1}, "ml.x.large"), ({SMALL: -1}, -1), ({SMALL: 0.5}, 0.5), ({}, {})],
)
def test_wrong_counts_of_a_mixed_fleet_are_refused(wanted, came):
    with refused(InvalidInput, "scaler", came):
        serve(TRACE, UNBATCHED, mixed(), [EXPONENTIAL] * 2, scaling=CountsByType([(1.0, wanted)]))


@pytest.mark.parametrize("base", [real_time(2), mixed()], ids=lambda base: base.kind)
def test_counts_may_be_of_numpy(base):
    counts = {part.size: np.int64(1) for part in base.simple_parts}
    wanted = counts if len(counts) > 1 else np.int64(1)
    times = [CONSTANT] * (len(counts) + 1)
    terms = {"boot": 1.0, "cold_start": 0.1, "scaling": CountsByType([(1.0, wanted)])}

    outcome = serve(TRACE, UNBATCHED, hybrid(base), times, **terms)

    assert not np.isnan(outcome.finished).any()


def test_a_scaler_that_is_due_at_no_instant_is_refused():
    class Never(CountsByType):
        due = math.nan

        def scaler(self):
            return self

    with refused(InvalidInput, "scaler", "nan"):
        serve(TRACE, UNBATCHED, hybrid(), [CONSTANT] * 2, cold_start=0.1, scaling=Never([]))


def test_a_policy_that_cannot_be_recorded_is_refused():
    class Mute:
        def scaler(self):
            raise AssertionError

    with refused(InvalidInput, "scaling", "to_dict"):
        simulate(TRACE, UNBATCHED, hybrid(), [CONSTANT] * 2, cold_start=0.1, scaling=Mute())


@pytest.mark.parametrize("policy", [WorkConserving(max_size=4), Steered(latency=0.1, max_size=4)])
def test_policies_that_watch_servers_serve_mixed_fleets_and_no_hybrids(policy):
    outcome = serve(TRACE, policy, mixed(), [DRAWN] * 2)

    assert np.isfinite(outcome.finished).all()
    assert set(outcome.given) == {0, 1}
    with refused(InvalidInput, "BatchPolicy"):
        serve(TRACE, policy, hybrid(), [DRAWN, DRAWN])


def test_a_boot_that_is_none_is_refused_by_its_name():
    with refused(InvalidInput, "boot", -1):
        simulate(TRACE, UNBATCHED, hybrid(), [CONSTANT] * 2, cold_start=0.1, boot=-1)


def test_times_are_asked_for_each_part():
    with refused(InvalidInput, "2 parts", 1):
        serve(TRACE, UNBATCHED, hybrid(), DRAWN)


def test_the_intervals_of_a_hybrid_come_from_repetitions():
    run = simulate(TRACE, UNBATCHED, hybrid(), [EXPONENTIAL] * 2, replications=8)

    assert run.record.replications.count >= 8
    low, high = run.interval(0.9)
    assert low == pytest.approx(high, rel=0.2)


def test_what_waits_for_a_shared_queue_that_never_comes_back_has_expired():
    base, trace = real_time(1, routing="shared"), Trace([0.0, 0.1, 2.0], 9.0)
    times = [ServiceTimes({1: 3.0}), ServiceTimes({1: 1.0})]

    run = simulate(
        trace,
        UNBATCHED,
        hybrid(base),
        times,
        cold_start=0.0,
        boot=0.0,
        scaling=Schedule([(1.0, 0)]),
    )

    assert run.frame["error"].to_list() == [None, EXPIRED_ERROR, None]
    assert run.frame["finished"].to_list()[::2] == [3.0, 3.0]
    assert run.frame["place"].to_list() == [0, 0, 1]


# ---------------------------------------------------------------------- the twin


class Alternating(Schedule):
    """A schedule whose counts are of each type in turn."""

    def scaler(self):
        return _AlternatingScaler(super().scaler())


class _AlternatingScaler:
    def __init__(self, scaler):
        self._scaler = scaler
        self.due = scaler.due

    def decide(self, reading, now):
        count = self._scaler.decide(reading, now)
        self.due = self._scaler.due
        return {SMALL: count // 2, LARGE: (count + 1) // 2}


spills = st.one_of(
    st.builds(InFlight, st.integers(0, 4)),
    st.builds(WhileBooting, st.integers(0, 3)),
    st.builds(Hedge, after=ticks.map(lambda after: after + TICK)),
    st.builds(
        ByDeadline,
        latency=ticks.map(lambda time: time + TICK),
        service=st.lists(ticks, min_size=1, max_size=5),
    ),
)
fleet_sizes = st.dictionaries(ticks, st.integers(0, 4), min_size=1, max_size=5)
schedules = fleet_sizes.map(lambda found: sorted(found.items()))


@settings(max_examples=150, deadline=None)
@given(st.data(), traces(), timed, routings, st.integers(1, 2))
def test_hybrids_and_mixed_fleets_do_as_the_twin_does(data, trace, policy, routing, types):
    spill, overflow = data.draw(spills | st.none()), data.draw(on_demand())
    changes, scales = data.draw(schedules), data.draw(st.booleans())
    times, cold_start = data.draw(st.tuples(*[service_times()] * 3)), data.draw(ticks)
    if types == 2:
        routing = "least_outstanding"
    parts = [real_time(2, routing=routing), real_time(1, LARGE, workers=2)][:types]
    base = parts[0] if types == 1 else MixedFleet(parts=parts)
    times = [*times[:types], *times[2:]] if spill else list(times[:types])
    deployment = Hybrid(base=base, overflow=overflow, spill=spill) if spill else base
    least = [] if spill else [(at, max(1, count)) for at, count in changes]
    scaling = (Schedule if types == 1 else Alternating)(least or changes) if scales else None
    terms = {"cold_start": cold_start, "scaling": scaling}

    found = serve(trace, policy, deployment, times if len(times) > 1 else times[0], **terms)
    expected = twin.simulate_hybrid(
        trace,
        policy,
        parts,
        times,
        overflow=overflow if spill else None,
        spill=spill,
        dice=spawn_streams(0),
        **terms,
    )

    plain = [PlaceOutcome(np.arange(len(trace)), found)] if types == 1 and not spill else None
    for place, (batches, spans) in zip(plain or found.places, expected, strict=True):
        own = place.outcome.batches
        assert place.requests[own.first[:-1]].tolist() == [each.requests[0] for each in batches]
        for name in ("closed", "rows", "started", "finished", "init", "cold"):
            wanted = [getattr(each, name) for each in batches]
            np.testing.assert_allclose(getattr(own, name), wanted, rtol=1e-12, err_msg=name)
        np.testing.assert_allclose(place.outcome.instances or [], spans or [], rtol=1e-12)


@pytest.mark.parametrize(
    ("settings", "warns"), [({}, True), ({"call_price": 1e-5}, False), ({"quantile": 0.9}, False)]
)
def test_a_hybrid_whose_policy_knows_no_functions_warns(settings, warns):
    capacity = InstanceCapacity(instance_type=SMALL, rate=20.0, hourly_price=0.1)
    policy = Predictive(forecaster=Persistence(), capacity=capacity, **settings)

    run = simulate(TRACE, UNBATCHED, hybrid(), [CONSTANT] * 2, scaling=policy)

    assert any("call_price" in each for each in run.record.warnings) is warns
