"""Routing policies that follow one another."""

from dataclasses import replace

import pytest

from tests.refused import refused
from workbench.errors import InvalidInput
from workbench.routing.base import Place, PlaceAnswer, RoutedRequest
from workbench.routing.calls import RoutedCalls
from workbench.routing.mulambda import Weighted
from workbench.routing.schedule import Scheduled
from workbench.routing.simple import RoundRobin, Shadow

FAST, GOOD = Place(name="fast", accuracy=0.5), Place(name="good", accuracy=0.9)


def test_the_policy_changes_at_its_instant_and_what_was_learned_before_counts():
    """The thesis's environment monitoring: weights of latency first, of accuracy from 10 s on."""
    first = Weighted(latency=1, accuracy=0)
    policy = Scheduled(phases=[(0, first), (10, Weighted(latency=0, accuracy=1))])
    places = [Place(name="fast", accuracy=0.95, seconds=0.01), replace(GOOD, seconds=0.5)]
    calls = RoutedCalls(policy.router(places), places)
    asked = []
    for number, now in enumerate((-1.0, 0.0, 5.0, 9.9, 10.0, 15.0)):
        ((_, place),) = calls.arrive(RoutedRequest(number), now).ask
        asked.append(place)
        calls.answer(number, PlaceAnswer(place, 0.01, correct=0.9 * place), now)

    assert asked == [0, 0, 0, 0, 1, 1]  # the fast one was always wrong


@pytest.mark.parametrize(
    "phases",
    [
        [],
        [(1, RoundRobin())],
        [(0, RoundRobin()), (0, RoundRobin())],
        [(0, RoundRobin()), (9, RoundRobin()), (5, RoundRobin())],
        [(0, "random")],
        [RoundRobin()],
    ],
)
def test_phases_out_of_order_are_refused(phases):
    with refused(InvalidInput, "phases"):
        Scheduled(phases=phases)


def test_a_shadow_is_no_phase_but_may_have_a_schedule():
    with refused(InvalidInput, "shadow", "others"):
        Scheduled(phases=[(0, Shadow(place="good"))]).router([FAST, GOOD])
    shadow = Shadow(place="good", others=Scheduled(phases=[(0, RoundRobin())]))

    calls = RoutedCalls(shadow.router([FAST, GOOD]), [FAST, GOOD])
    assert calls.arrive(RoutedRequest(0), 0.0).ask == ((0, 0), (0, 1))
