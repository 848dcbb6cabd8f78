"""Routed simulation: against the plain one, against a twin, and rule by rule."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.simulator.test_simulator import fleets, on_demand, policies, service_times, ticks, traces
from tests.simulator.test_stepwise import DEPLOYMENTS, POLICIES, TIMES, TRACE
from workbench.routing.base import Place, Settlement, SingleAnswerRouter
from workbench.simulator import prepare
from workbench.simulator.kernels import Batches
from workbench.simulator.routed import RoutedSimulation


class InTurns(SingleAnswerRouter):
    """Asks places in turns."""

    label = "in turns"

    def router(self, places, seed=0):
        return InTurns()

    def choose(self, request, states, now):
        return (states[request.number % len(states)].index,)


def simulation(trace, *members, router=None, seed=1, **settings):
    """A routed simulation of members that `prepare` made, under the names a, b, ..."""
    places = tuple(Place(name=name) for name, _ in zip("abcdefgh", members, strict=False))
    return RoutedSimulation(
        trace=trace, members=members, places=places, router=router or InTurns(), seed=seed, **settings
    )


def assert_plain(trace, policy, deployment, service, scaling=None, cold_start=(0.1, 0.2)):
    """With one candidate, all is as without a router, to the bit."""
    member = prepare(
        trace, policy, deployment, service, cold_start=cold_start, scaling=scaling, seed=1
    )
    plain, routed = member.serve(), simulation(trace, member).serve()
    (place,) = routed.places

    for name, one, other in zip(
        Batches._fields, plain.batches, place.outcome.batches, strict=True
    ):
        np.testing.assert_array_equal(one, other, err_msg=name)
    assert place.outcome.instances == plain.instances
    assert place.outcome.servers == plain.servers
    np.testing.assert_array_equal(routed.latencies, plain.latencies)
    assert (routed.tried == 1).all()
    assert set(routed.errors) == set(np.flatnonzero(np.isnan(plain.latencies)))


@pytest.mark.parametrize("policy", POLICIES.values(), ids=POLICIES)
@pytest.mark.parametrize("deployment", DEPLOYMENTS.values(), ids=DEPLOYMENTS)
def test_a_router_with_one_candidate_is_the_plain_simulation(policy, deployment):
    assert_plain(TRACE, policy, deployment, TIMES)


@settings(max_examples=150, deadline=None)
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

    assert_plain(trace, policy, deployment, service, scaling, cold_start)
