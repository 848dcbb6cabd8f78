"""Routed simulation: against the plain one, against a twin, and rule by rule."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests import routed_twin
from tests.refused import refused
from tests.simulator.test_simulator import (
    TICK,
    UNBATCHED,
    fleets,
    on_demand,
    policies,
    service_times,
    ticks,
    traces,
)
from tests.simulator.test_stepwise import DEPLOYMENTS, POLICIES, TIMES, TRACE
from workbench.deployment import BatchTransform, Local, RealTime, Serverless
from workbench.errors import InvalidInput
from workbench.measuring.outcomes import RequestOutcomes
from workbench.routing.base import Place, Settlement, SingleAnswerRouter
from workbench.run.record import RunRecord
from workbench.scaling import Schedule
from workbench.service_times import ServiceTimes
from workbench.simulator import prepare
from workbench.simulator.kernels import Batches
from workbench.simulator.places import RoutedSimulation
from workbench.traffic.trace import Trace


class InTurns(SingleAnswerRouter):
    """Asks places in turns."""

    label = "in turns"

    def router(self, *_, **__):
        return self

    def choose(self, request, states, *_):
        return (states[request.number % len(states)].index,)


def simulation(trace, *members, router=None, seed=1, delays=(0.0,) * 8, **settings):
    """A routed simulation of members that `prepare` made, under the names a, b, ..."""
    places = tuple(
        Place(name=name, network_latency=(delay,))
        for name, delay, _ in zip("abcdefgh", delays, members, strict=False)
    )
    return RoutedSimulation(
        trace=trace,
        members=members,
        places=places,
        router=router or InTurns(),
        seed=seed,
        **settings,
    )


def assert_plain(trace, policy, deployment, service, **settings):
    """With one candidate, all is as without a router, to the bit."""
    settings = {"cold_start": (0.1, 0.2)} | settings
    member = prepare(trace, policy, deployment, service, seed=1, **settings)
    plain, routed = member.serve(), simulation(trace, member).serve()
    (place,) = routed.places

    for name, one, other in zip(Batches._fields, plain.batches, place.outcome.batches, strict=True):
        np.testing.assert_array_equal(one, other, err_msg=name)
    assert place.outcome.instances == plain.instances
    assert place.outcome.servers == plain.servers
    np.testing.assert_array_equal(routed.latencies, plain.latencies)
    assert (routed.tried == 1).all()
    assert set(routed.errors) == set(np.flatnonzero(np.isnan(plain.latencies)))


@pytest.mark.parametrize("policy", [POLICIES["timed"], POLICIES["steered"]], ids=str)
@pytest.mark.parametrize("deployment", DEPLOYMENTS.values(), ids=DEPLOYMENTS)
def test_a_router_with_one_candidate_is_the_plain_simulation(policy, deployment):
    assert_plain(TRACE, policy, deployment, TIMES)


@settings(max_examples=80, deadline=None)
@given(
    traces(),
    policies,
    on_demand().map(lambda each: (each, None)) | fleets,
    service_times(),
    st.lists(ticks, min_size=1, max_size=3).map(sorted),
)
def test_a_router_with_one_candidate_is_the_plain_simulation_in_any_settings(
    trace, policy, platform, service, cold_start
):
    deployment, scaling = platform

    assert_plain(trace, policy, deployment, service, scaling=scaling, cold_start=cold_start)


# ---------------------------------------------------------------------- the twin


class Shortest:
    """Asks where the fewest requests are under way, and elsewhere while it is not sure."""

    label = "shortest"

    def router(self, *_, **__):
        return self

    def choose(self, _, states, *__):
        return (min(states, key=lambda each: (each.in_flight, each.index)).index,)

    def settle(self, request, answers, _, states, now):
        if answers[-1].confidence >= 0.5 or not states:
            return Settlement(given=len(answers) - 1)
        return Settlement(ask=self.choose(request, states, now))

    def observe(self, *_):
        pass


class Known:
    """Answers known beforehand: nobody knows whether the labels are right."""

    def __init__(self, confidence, correct=None):
        self.confidence = np.array(confidence, float)
        self.correct = np.full(len(confidence), math.nan) if correct is None else np.array(correct)

    def of_requests(self, trace):
        return RequestOutcomes(np.arange(len(trace)), self.confidence, self.correct)


def member(trace, deployment, service, *, policy=UNBATCHED, answers=None, **settings):
    prepared = prepare(trace, policy, deployment, service, seed=1, **settings)
    return replace(prepared, answers=answers)


@st.composite
def stations(draw, requests):
    seconds = draw(st.integers(1, 24)) * TICK
    return routed_twin.Station(
        servers=draw(st.integers(1, 3)),
        seconds=seconds,
        after_idle=seconds + draw(ticks),
        delay=draw(ticks),
        confidence=draw(
            st.lists(st.sampled_from([0.2, 0.9]), min_size=requests, max_size=requests)
        ),
    )


@settings(max_examples=80, deadline=None)
@given(st.data(), traces())
def test_requests_fare_as_the_twin_says(data, trace):
    trace = Trace(trace.arrivals, trace.duration)
    count = data.draw(st.integers(1, 3))
    given_stations = [data.draw(stations(len(trace))) for _ in range(count)]
    members = [
        member(
            trace,
            Local(workers=each.servers),
            ServiceTimes({1: each.seconds}, after_idle={1: each.after_idle}),
            answers=Known(each.confidence),
        )
        for each in given_stations
    ]
    delays = [each.delay for each in given_stations]

    found = simulation(trace, *members, router=Shortest(), delays=delays).serve()
    expected = routed_twin.simulate(trace.arrivals.tolist(), given_stations, threshold=0.5)

    assert found.given.tolist() == [each.given for each in expected]
    assert found.finished.tolist() == [each.done for each in expected]
    assert found.tried.tolist() == [len(each.asked) for each in expected]
    for place, (requests, outcome) in enumerate(found.places):
        for name in ("started", "finished"):
            times = [getattr(expected[each], name)[place] for each in requests]
            assert outcome.spread(getattr(outcome.batches, name)).tolist() == times


# ---------------------------------------------------------------------- rule by rule


class First(InTurns):
    """Asks the first place that is left."""

    def choose(self, _, states, *__):
        return (states[0].index,)


def at(*arrivals):
    return Trace(arrivals, arrivals[-1] + 1)


def seconds(value):
    return ServiceTimes({1: value})


def test_what_one_place_refuses_another_answers():
    trace = at(0.0, 0.25, 0.5)
    lone = Serverless(memory_mb=1024, max_concurrency=1)
    members = member(trace, lone, seconds(1.0)), member(trace, Local(), seconds(0.125))

    found = simulation(trace, *members, router=First()).serve()

    assert found.given.tolist() == [0, 1, 1]
    assert found.tried.tolist() == [1, 2, 2]
    assert found.latencies.tolist() == [1.0, 0.125, 0.125]
    assert not found.errors


def test_what_all_places_refuse_has_failed():
    trace = at(0.0, 0.25)
    lone = Serverless(memory_mb=1024, max_concurrency=1)
    members = [member(trace, lone, seconds(1.0))] * 2

    found = simulation(trace, *members, router=Both()).serve()

    assert found.tried.tolist() == [2, 2]
    assert found.latencies[0] == 1.0
    assert math.isnan(found.latencies[1])
    assert "throttled" in found.errors[1]


class Both(First):
    """Asks two places at once, and gives the first answer."""

    def choose(self, _, states, *__):
        return tuple(each.index for each in states[:2])


def test_a_place_that_stalls_is_given_up_and_its_late_answer_is_no_use():
    trace = at(0.0)
    members = member(trace, Local(), seconds(3.0)), member(trace, Local(), seconds(0.25))

    found = simulation(trace, *members, router=First(), patience=0.5).serve()

    assert found.given.tolist() == [1]
    assert found.finished.tolist() == [0.75]
    assert found.places[0].outcome.batches.finished.tolist() == [3.0]
    assert found.tried.tolist() == [2]


def test_a_place_that_stalls_again_and_again_is_left_out():
    trace = at(*np.arange(8) / 4)
    members = member(trace, Local(workers=9), seconds(30.0)), member(trace, Local(), seconds(0.01))
    routed = simulation(trace, *members, router=First(), patience=0.5)

    found = routed.serve()

    assert [(each.place, each.why) for each in found.events] == [(0, "no answer for 0.5 s")]
    # three have stalled by 1.0 s, when another arrives: it goes elsewhere, as those after it do
    assert found.tried.tolist() == [2, 2, 2, 2, 1, 1, 1, 1]
    assert "a failed 3 times in a row" in routed.run(found, RunRecord()).record.warnings[-1]


def test_a_fleet_that_scales_beside_another_place():
    trace = at(*np.arange(40) / 4)
    scaled = member(
        trace,
        RealTime(instance_type="ml.m5.large"),
        seconds(0.5),
        scaling=Schedule([(2.0, 3)]),
        cold_start=0.25,
    )

    found = simulation(trace, scaled, member(trace, Local(), seconds(0.25))).serve()

    alone = replace(scaled, trace=at(*np.arange(0, 40, 2) / 4)).serve()
    routed = found.places[0].outcome
    np.testing.assert_array_equal(routed.batches.started, alone.batches.started)
    assert [span[0] for span in routed.instances] == [0.0, 2.0, 2.0]


def test_answers_travel_and_routers_see_it():
    trace = at(0.0, 0.5, 1.0)
    members = [member(trace, Local(), seconds(0.25), answers=Known([0.9] * 3))] * 2

    found = simulation(trace, *members, router=Shortest(), delays=(2.0, 0.0)).serve()

    # the first place seems busy for as long as its answer is on its way
    assert found.given.tolist() == [0, 1, 1]
    assert found.latencies.tolist() == [2.25, 0.25, 0.25]


def test_a_job_is_asked_by_no_router():
    trace = at(0.0)
    job = member(trace, BatchTransform(instance_type="ml.m5.large"), seconds(0.25))

    with refused(InvalidInput, "batch transform", "ml.m5.large"):
        simulation(trace, job).serve()


def test_the_same_seed_gives_the_same_run():
    members = [member(TRACE, Local(), TIMES) for _ in range(2)]

    one, same, other = (simulation(TRACE, *members, seed=seed).serve() for seed in (1, 1, 2))

    assert one.latencies.tolist() == same.latencies.tolist() != other.latencies.tolist()
