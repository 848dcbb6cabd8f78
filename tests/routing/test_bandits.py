"""Bandits against the theory they come from, and with answers that come late or not at all."""

import heapq
import math
import random

import pytest

from tests.refused import refused
from workbench.errors import InvalidInput
from workbench.routing.bandits import Exp3, Exp4, LinUCB, ThompsonSampling
from workbench.routing.base import Place, PlaceAnswer, PlaceState, RoutedRequest

BANDITS = [ThompsonSampling(), Exp3(horizon=2000), Exp4(horizon=2000), LinUCB()]


def play(policy, rewards, count, *, seed=0, contexts=("",), delay=0):
    """Places chosen and rewards got; `rewards` maps kind to a probability for each place."""
    places = [Place(name=str(number)) for number in range(len(next(iter(rewards.values()))))]
    router = policy.router(places, seed)
    states = [PlaceState(index, place) for index, place in enumerate(places)]
    generator = random.Random(f"rewards {seed}")  # noqa: S311 - apart from the router's draws
    chosen, got, waiting = [], [], []
    for number in range(count):
        request = RoutedRequest(number, context=contexts[number % len(contexts)])
        (place,) = router.choose(request, states, float(number))
        correct = float(generator.random() < rewards[request.context][place])
        chosen.append(place)
        got.append(correct)
        heapq.heappush(waiting, (number + delay * generator.random(), number, request))
        while waiting and waiting[0][0] <= number:
            _, which, request = heapq.heappop(waiting)  # out of order, where there is a delay
            answer = PlaceAnswer(chosen[which], 0.01, correct=got[which])
            router.observe(request, answer, float(number))
    return chosen, got


def regrets(policy, chances, count, seeds):
    """Expected regret of each repeat: what the best place would have given more."""
    best = max(chances)
    return [
        sum(best - chances[place] for place in play(policy, {"": chances}, count, seed=seed)[0])
        for seed in range(seeds)
    ]


def mean_and_error(values):
    mean = sum(values) / len(values)
    scatter = sum((value - mean) ** 2 for value in values) / (len(values) - 1)
    return mean, math.sqrt(scatter / len(values))


def test_regret_of_exp3_is_below_its_bound_by_its_own_constants():
    chances, count = (0.3, 0.5, 0.7), 2000
    mean, error = mean_and_error(regrets(Exp3(horizon=count), chances, count, 10))

    bound = math.sqrt(2 * count * 3 * math.log(3))
    assert mean + 4 * error < bound
    assert mean > 0.05 * bound  # it explores at all


def test_regret_of_exp3_is_bounded_where_the_best_place_changes():
    """Against the best fixed choice, whoever makes the rewards: here they turn at half time."""
    count, places = 2000, [Place(name="a"), Place(name="b")]
    states = [PlaceState(index, place) for index, place in enumerate(places)]
    router, got = Exp3(horizon=count).router(places, 1), 0.0
    for number in range(count):
        (place,) = router.choose(RoutedRequest(number), states, 0.0)
        reward = float((number < 0.4 * count) != place)
        got += reward
        router.observe(RoutedRequest(number), PlaceAnswer(place, 0.01, correct=reward), 0.0)

    assert 0.6 * count - got < math.sqrt(2 * count * 2 * math.log(2))


def test_regret_of_thompson_sampling_grows_no_faster_than_lai_and_robbins_allow():
    """Between 500 and 2,500 requests it grows by no more than the asymptotic slope x ln 5."""
    early, late = [], []
    for seed in range(20):
        asked, _ = play(ThompsonSampling(), {"": (0.4, 0.6)}, 2500, seed=seed)
        worse = [0.2 * (place == 0) for place in asked]
        early.append(sum(worse[:500]))
        late.append(sum(worse[500:]))
    growth, error = mean_and_error(late)

    divergence = 0.4 * math.log(0.4 / 0.6) + 0.6 * math.log(0.6 / 0.4)
    slope = (0.6 - 0.4) / divergence
    assert growth < slope * math.log(5) + 3 * error
    assert 0 < mean_and_error(early)[0] < 3 * slope * math.log(500)


def test_exp4_with_a_constant_expert_for_each_place_is_exp3():
    rewards = {"": (0.3, 0.5, 0.7)}
    constant = Exp4(horizon=500, experts=["0", "1", "2"])

    for delay in (0, 20):
        same = play(Exp3(horizon=500), rewards, 500, seed=3, delay=delay)
        assert play(constant, rewards, 500, seed=3, delay=delay) == same
        assert play(Exp4(horizon=500), rewards, 500, seed=3, delay=delay) == same


BY_KIND = {"clean": (0.9, 0.1), "noisy": (0.1, 0.9)}


@pytest.mark.parametrize(
    "policy",
    [Exp4(horizon=2000, experts=["0", "1", {"clean": "0", "noisy": "1"}]), LinUCB()],
    ids=lambda policy: policy.kind,
)
def test_what_each_kind_needs_is_found_where_no_single_place_is_good(policy):
    for seed in range(3):
        got = play(policy, BY_KIND, 2000, seed=seed, contexts=tuple(BY_KIND))[1]
        assert sum(got[-500:]) / 500 > 0.75  # any place alone: 0.5


def test_without_experts_exp4_knows_the_accuracies_by_kind():
    places = [
        Place(name="a", accuracy_by_context={"clean": 0.9, "noisy": 0.2}),
        Place(name="b", accuracy_by_context={"clean": 0.5, "noisy": 0.6}),
    ]
    router = Exp4().router(places)

    assert router._experts == [{"": 0}, {"": 1}, {"clean": 0, "noisy": 1}]


@pytest.mark.parametrize("policy", BANDITS, ids=lambda policy: policy.kind)
def test_the_best_place_is_found_though_answers_are_late_and_out_of_order(policy):
    chosen, _ = play(policy, {"": (0.2, 0.9, 0.4)}, 2000, seed=1, delay=100)

    assert chosen[-500:].count(1) > 400


@pytest.mark.parametrize("policy", BANDITS, ids=lambda policy: policy.kind)
def test_a_context_never_seen_and_a_place_that_is_left_out_are_no_trouble(policy):
    places = [Place(name=str(n), accuracy_by_context={"clean": 0.9}) for n in range(3)]
    states = [PlaceState(index, place) for index, place in enumerate(places)]
    router = policy.router(places, 1)
    for number in range(200):
        request = RoutedRequest(number, context=f"kind {number}", rows=1 + number % 7)
        left = states[number % 2 :: 1 + number % 2]
        (place,) = router.choose(request, left, 0.0)
        assert place in [state.index for state in left]
        router.observe(request, PlaceAnswer(place, 0.01), 0.0)
        router.observe(request, PlaceAnswer((place + 1) % 3, 0.01), 0.0)  # of another router


@pytest.mark.parametrize("policy", BANDITS, ids=lambda policy: policy.kind)
@pytest.mark.parametrize(
    "bad",
    [
        PlaceAnswer(1, math.inf, correct=1.0, error="no memory"),
        PlaceAnswer(1, 5.0, correct=1.0),
        PlaceAnswer(1, 0.01, correct=0.0),
    ],
    ids=["fails", "late", "wrong"],
)
def test_what_fails_or_is_late_or_wrong_is_no_reward(policy, bad):
    places = [Place(name="good"), Place(name="bad")]
    states = [PlaceState(index, place) for index, place in enumerate(places)]
    router, asked = policy.router(places, 1), []
    for number in range(2000):
        (place,) = router.choose(RoutedRequest(number), states, 0.0)
        asked.append(place)  # of the good one it is not known whether it is right
        answer = bad if place else PlaceAnswer(0, 0.01)
        router.observe(RoutedRequest(number), answer, 0.0)

    assert asked[-500:].count(0) > 450


def test_the_worst_place_is_asked_where_it_alone_is_left():
    places = [Place(name="good"), Place(name="bad")]
    states = [PlaceState(index, place) for index, place in enumerate(places)]
    router = Exp3(horizon=1).router(places, 1)
    for number in range(3000):
        left = states[1:] if number % 2 else states
        (place,) = router.choose(RoutedRequest(number), left, 0.0)
        router.observe(RoutedRequest(number), PlaceAnswer(place, 0.01, correct=1.0 - place), 0.0)

    assert place == 1
    assert router.choose(RoutedRequest(number), states, 0.0) == (0,)
    stubborn = Exp4(experts=["good"]).router(places)
    assert stubborn.choose(RoutedRequest(0), states[1:], 0.0) == (1,)


def test_an_expert_that_names_no_place_is_refused():
    with refused(InvalidInput, "place", "small", "huge"):
        Exp4(experts=["huge"]).router([Place(name="small")])
    with refused(InvalidInput, "experts", "small"):
        Exp4(experts="small")


@pytest.mark.parametrize("policy", BANDITS, ids=lambda policy: policy.kind)
def test_one_place_is_always_asked(policy):
    assert set(play(policy, {"": (0.5,)}, 50)[0]) == {0}
