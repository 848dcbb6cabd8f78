"""Routing that learns nothing, and the policies as values."""

import json
import math
from collections import Counter
from dataclasses import fields

import pytest

from tests.refused import refused
from workbench.errors import InvalidInput
from workbench.routing import ROUTING_POLICIES, policy_from_dict
from workbench.routing.base import Place, PlaceAnswer, PlaceState, RoutedRequest
from workbench.routing.calls import RoutedCalls
from workbench.routing.simple import Canary, LowestNetworkLatency, RandomChoice, RoundRobin, Shadow
from workbench.settings import settings_of

PLACES = [Place(name="small"), Place(name="large"), Place(name="new")]
STATES = [PlaceState(index, place) for index, place in enumerate(PLACES)]


def choices(policy, count, *, states=STATES, seed=1):
    router = policy.router(PLACES, seed)
    return [router.choose(RoutedRequest(n), states, float(n)) for n in range(count)]


def test_round_robin_passes_over_a_place_that_is_left_out():
    router = RoundRobin().router(PLACES)
    asked = [STATES, STATES[1:], STATES, STATES[:1], STATES]

    assert [router.choose(RoutedRequest(0), states, 0.0)[0] for states in asked] == [0, 1, 2, 0, 1]


def test_random_choice_is_even_and_repeats_with_its_seed():
    drawn = Counter(choices(RandomChoice(), 9000))

    assert all(abs(drawn[index,] - 3000) < 4 * math.sqrt(2000) for index in range(3))
    assert choices(RandomChoice(), 50) == choices(RandomChoice(), 50)
    assert choices(RandomChoice(), 50) != choices(RandomChoice(), 50, seed=2)


def test_the_nearest_place_is_that_of_the_client():
    places = [
        Place(name="here", network_latency=(0.001, 0.2)),
        Place(name="there", network_latency=(0.1, 0.002)),
    ]
    states = [PlaceState(index, place) for index, place in enumerate(places)]
    router = LowestNetworkLatency().router(places)

    asked = [router.choose(RoutedRequest(0, client=client), states, 0.0) for client in (0, 1, 2)]
    assert asked == [(0,), (1,), (0,)]


def test_a_canary_gets_its_share_and_the_others_have_the_rest_in_turn():
    asked = [each for (each,) in choices(Canary(place="new", share=0.1), 10_000)]
    others = [each for each in asked if each != 2]

    assert abs(asked.count(2) - 1000) < 4 * math.sqrt(900)
    assert others == [number % 2 for number in range(len(others))]


def test_a_canary_is_asked_when_nothing_else_is_left_and_not_when_it_is_left_out():
    assert choices(Canary(place="new", share=1e-9), 3, states=STATES[2:]) == [(2,)] * 3
    assert choices(Canary(place="new", share=1), 3, states=STATES[:2]) == [(0,), (1,), (0,)]


def test_a_canary_is_asked_when_of_the_others_only_their_shadow_is_left():
    policy = Canary(place="new", share=1e-9, others=Shadow(place="large"))

    assert choices(policy, 2, states=STATES[1:]) == [(2,)] * 2
    assert choices(policy, 1) == [(0, 1)]


def test_a_canary_whose_answers_would_never_be_given_is_refused():
    with refused(InvalidInput, "new", "shadow"):
        Canary(place="new", others=Shadow(place="new")).router(PLACES)


@pytest.fixture
def shadowed():
    """Calls with a shadow, one of which is under way to the first place and the shadow."""
    calls = RoutedCalls(Shadow(place="new").router(PLACES), PLACES)
    assert calls.arrive(RoutedRequest(0), 0.0).ask == ((0, 0), (0, 2))
    return calls


def test_an_answer_of_a_shadow_is_not_given_though_it_is_first(shadowed):
    early = shadowed.answer(0, PlaceAnswer(2, 0.1), 0.1)

    assert (early.ask, early.given) == ((), None)
    assert shadowed.answer(0, PlaceAnswer(0, 0.2), 0.2).given.answer.place == 0
    assert shadowed.open_count == 0


def test_a_shadow_that_is_late_or_fails_has_no_effect(shadowed):
    assert shadowed.answer(0, PlaceAnswer(0, 0.2), 0.2).given.answer.place == 0

    late = shadowed.answer(0, PlaceAnswer(2, math.inf, error="no memory"), 9.0)
    assert (late.ask, late.given, shadowed.open_count) == ((), None, 0)


def test_a_failure_beside_a_shadow_goes_elsewhere_at_once_and_never_to_the_shadow(shadowed):
    failed = PlaceAnswer(0, math.inf, error="no memory")

    assert shadowed.answer(0, failed, 0.1).ask == ((0, 1),)
    given = shadowed.answer(0, failed._replace(place=1), 0.2).given
    assert given.answer.error == "no memory"


@pytest.mark.parametrize("kind", [Canary, Shadow])
def test_a_place_apart_must_be_there_with_another(kind):
    with refused(InvalidInput, "place", "small, large, new", "huge"):
        kind(place="huge").router(PLACES)
    with refused(InvalidInput, "new"):
        kind(place="new").router(PLACES[2:])
    with refused(InvalidInput, "share", 0):
        kind(place="new", share=0)


SET = {  # what differs from the defaults
    "canary": {"place": "new", "others": Shadow(place="large", others=RandomChoice())},
    "shadow": {"place": "new", "share": 0.5},
    "mulambda": {"latency": -0.2, "needs": {"input": "image", "sizes": 3}},
    "weighted": {"cost": 2, "needs": {"input": "image"}},
    "effective-accuracy": {"target": 0.05, "cost": 0.5},
    "cascade": {"small": "small", "large": "large"},
    "scheduled": {"phases": [(0, RoundRobin()), (60, RandomChoice())]},
    "vote": {"names": ["small", "large"]},
    "exp4": {"experts": ["small", {"noisy": "large", "": "small"}]},
}


@pytest.mark.parametrize("kind", ROUTING_POLICIES)
def test_a_policy_survives_json_and_has_a_label(kind):
    settings = SET.get(
        kind, {"place": "new"} if "place" in settings_of(ROUTING_POLICIES[kind]) else {}
    )
    policy = ROUTING_POLICIES[kind](**settings)

    assert policy_from_dict(json.loads(json.dumps(policy.to_dict()))) == policy
    assert policy.label
    assert hash(policy) == hash(policy_from_dict(policy.to_dict()))


def test_every_policy_is_known_by_its_kind_and_each_setting_has_a_label():
    for kind, policy in ROUTING_POLICIES.items():
        assert policy.kind == kind
        assert set(settings_of(policy)) == {each.name for each in fields(policy)}, kind


@pytest.mark.parametrize(
    ("data", "named"),
    [
        ({"kind": "oracle"}, ["kind", "round-robin", "oracle"]),
        ({"kind": "random", "share": 1}, ["random", "share", "none"]),
        ({"kind": "canary"}, ["canary", "place"]),
        ({"kind": "canary", "place": "new", "others": "random"}, ["others", "random"]),
    ],
)
def test_a_dictionary_of_no_policy_is_refused(data, named):
    with refused(InvalidInput, *named):
        policy_from_dict(data)
