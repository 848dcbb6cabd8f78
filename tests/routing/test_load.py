"""Routers that see load: what they learn of places, and whom they ask."""

import heapq
import itertools
import math
import random
from dataclasses import replace

import pytest

from workbench.errors import InvalidInput
from workbench.routing.base import Place, PlaceAnswer, PlaceState, RoutedRequest
from workbench.routing.calls import RoutedCalls
from workbench.routing.estimates import AccuracyModel, LatencyModel, SharedDelay
from workbench.routing.load import Contextual, CostFirst, EffectiveAccuracy, LatencyFirst

SMALL = Place(name="small", accuracy=0.7, seconds=0.01, cost=1e-6)
LARGE = Place(name="large", accuracy=0.9, seconds=0.05, cost=5e-6)


def chosen(policy, places, in_flight=(), *, request=RoutedRequest(0)):  # noqa: B008 - a value
    """The number of the place a fresh router chooses."""
    states = [PlaceState(index, place) for index, place in enumerate(places)]
    for state, count in zip(states, in_flight, strict=False):
        state.in_flight = count
    return policy.router(places).choose(request, states, 0.0)[0]


# ------------------------------------------------------------------- what is learned


def test_latency_grows_with_the_queue_in_front_of_the_servers_until_answers_say_otherwise():
    model = LatencyModel(seconds=0.1, servers=4)

    assert [model.estimate(calls)[0] for calls in (1, 4)] == pytest.approx([0.1, 0.1])
    assert model.estimate(8)[0] == pytest.approx(0.2)


def test_a_line_in_calls_in_flight_is_found_within_its_standard_error():
    model, generator = LatencyModel(), random.Random(1)  # noqa: S311 - no secret
    for _ in range(2000):
        calls = generator.randint(1, 6)
        model.learn(calls, 0.1 + 0.7 * (calls - 1) + generator.gauss(0, 0.05))

    for calls in (1, 3, 6):
        expected = 0.1 + 0.7 * (calls - 1)
        assert model.estimate(calls)[0] == pytest.approx(expected, abs=4 * 0.05 / math.sqrt(30))
    assert model.estimate(9)[0] == pytest.approx(5.7, abs=0.2)  # beyond what was seen


def test_a_place_not_asked_for_millions_of_requests_has_an_estimate_all_the_same():
    model = LatencyModel(seconds=0.1)
    for _ in range(40):  # nor does it answer when it is asked
        model.forget(2e6)
        model.learn(1, math.inf)

    assert model.estimate(3)[0] == pytest.approx(0.3)
    model.learn(1, 0.2)
    assert model.estimate(1)[0] == pytest.approx(0.2, rel=0.05)


def test_old_latencies_are_forgotten():
    model = LatencyModel(seconds=0.1)
    for seconds in [0.1] * 1000 + [0.5] * 1000:
        model.learn(1, seconds)

    assert model.estimate(1)[0] == pytest.approx(0.5, rel=0.02)


def test_failures_count_against_a_place_and_teach_no_latency():
    model = LatencyModel(seconds=0.1)
    for _ in range(20):
        model.learn(1, math.inf)

    assert model.estimate(1)[0] == pytest.approx(0.1)
    assert model.answered < 0.2
    for _ in range(50):
        model.learn(1, 0.1)
    assert model.answered > 0.95


def test_accuracy_is_learned_by_kind_and_grades_weigh_more_than_right_or_wrong():
    model = AccuracyModel(0.9, {})
    for _ in range(200):
        model.learn("noisy", 0.0)
        model.learn("clean", 1.0)
    assert model.estimate("noisy") < 0.05
    assert model.estimate("clean") > 0.95
    assert model.estimate("new") == 0.9

    right, graded, batch = (AccuracyModel(0.9, {}) for _ in range(3))
    right.learn("", 1.0)
    graded.learn("", 0.37)
    batch.learn("", 0.5, rows=100)
    assert right.estimate("") == pytest.approx((50 * 0.9 + 1) / 51)
    assert graded.estimate("") == pytest.approx((50 * 0.9 + 20 * 0.37) / 70)
    assert batch.estimate("") == pytest.approx((50 * 0.9 + 50) / 150)


def test_an_accuracy_that_nobody_tells_stays_what_it_was():
    model = AccuracyModel(math.nan, {})
    model.learn("", math.nan)

    assert model.estimate("") == 0.0
    assert model.hope("") == 1.0


# ---------------------------------------------------------------------- who is asked


def test_the_target_first_takes_the_most_accurate_that_is_in_time():
    policy = LatencyFirst(target=0.1, explore=0)

    assert chosen(policy, [SMALL, LARGE]) == 1
    assert chosen(policy, [SMALL, LARGE], in_flight=(0, 1)) == 0  # 0.1 s expected: too likely late
    assert chosen(policy, [SMALL, LARGE], in_flight=(50, 10)) == 0  # late at both, less so there


def test_cost_first_takes_the_cheapest_that_is_in_time_and_nothing_whose_cost_is_unknown():
    policy = CostFirst(target=0.1, explore=0)
    free = replace(SMALL, cost=math.nan, accuracy=1.0)

    assert chosen(policy, [SMALL, LARGE]) == 0
    assert chosen(policy, [LARGE, SMALL], in_flight=(0, 20)) == 0
    assert chosen(policy, [free, LARGE]) == 1


def test_effective_accuracy_sends_on_what_the_large_model_cannot_answer_in_time():
    policy = EffectiveAccuracy(target=0.14, explore=0)

    asked = [chosen(policy, [SMALL, LARGE], in_flight=(0, count)) for count in range(5)]
    assert asked == [1, 1, 0, 0, 0]


def test_cost_and_latency_have_weights_and_a_late_answer_may_have_a_worth():
    places = [SMALL, LARGE]

    assert chosen(EffectiveAccuracy(target=0.1, explore=0), places) == 1
    assert chosen(EffectiveAccuracy(target=0.1, explore=0, cost=1.0), places) == 0
    assert chosen(EffectiveAccuracy(target=0.1, explore=0, accuracy=0, latency=1), places) == 0
    strict, patient = (EffectiveAccuracy(target=0.02, explore=0, late=each) for each in (0.0, 0.95))
    assert [chosen(policy, places) for policy in (strict, patient)] == [0, 1]


def test_of_near_equals_the_place_taken_before_stays_unless_another_gains_enough():
    twins = [replace(SMALL, name=name) for name in ("one", "two")]
    states = [PlaceState(index, place) for index, place in enumerate(twins)]

    def choices(hysteresis):
        router = EffectiveAccuracy(target=0.1, explore=0, hysteresis=hysteresis).router(twins)
        asked = []
        for number in range(200):  # each turns out a hair slower whenever it is asked
            asked += router.choose(RoutedRequest(number), states, 0.0)
            router.observe(RoutedRequest(number), PlaceAnswer(asked[-1], 0.0101), 0.0)
        return asked

    def switches(asked):
        return sum(a != b for a, b in itertools.pairwise(asked))

    assert switches(choices(0.05)) == 0
    assert switches(choices(0.0)) > 0


def test_contextual_goes_by_the_accuracy_of_the_kind():
    places = [
        replace(SMALL, name="a", accuracy=0.8, accuracy_by_context={"clean": 0.98, "noisy": 0.4}),
        replace(SMALL, name="b", accuracy=0.7, accuracy_by_context={"clean": 0.9, "noisy": 0.6}),
    ]
    asked = {
        kind: chosen(Contextual(explore=0), places, request=RoutedRequest(0, context=kind))
        for kind in ("clean", "noisy", "never seen")
    }

    assert asked == {"clean": 0, "noisy": 1, "never seen": 0}


POLICIES = [
    LatencyFirst(target=0.1),
    CostFirst(target=0.1),
    EffectiveAccuracy(target=0.1),
    Contextual(),
]


@pytest.mark.parametrize("policy", POLICIES, ids=lambda policy: policy.kind)
def test_an_unknown_accuracy_never_counts_as_best_and_places_of_none_are_still_asked(policy):
    known = Place(name="known", accuracy=0.1, seconds=0.01, cost=1e-6)
    unknown = replace(known, name="unknown", accuracy=math.nan, cost=math.nan)

    assert chosen(replace(policy, explore=0), [unknown, known]) == 1
    blank = [Place(name="one"), Place(name="two")]
    calls = RoutedCalls(policy.router(blank), blank)
    for number in range(50):
        ((_, place),) = calls.arrive(RoutedRequest(number, context="new"), 0.1 * number).ask
        calls.answer(number, PlaceAnswer(place, 0.05), 0.1 * number + 0.05)


def test_a_place_of_unknown_latency_is_asked_once_and_only_if_it_may_be_the_best():
    near, far = Place(name="near"), Place(name="far", network_latency=(9.0,))
    places = [replace(SMALL, accuracy=0.9), near, far]
    calls = RoutedCalls(EffectiveAccuracy(target=0.1, explore=0).router(places), places)
    asked = []
    for number in range(20):
        ((_, place),) = calls.arrive(RoutedRequest(number), number).ask
        asked.append(place)
        calls.answer(number, PlaceAnswer(place, 0.05, correct=float(place == 0)), number + 0.05)

    assert asked == [1] + [0] * 19


def test_a_place_that_recovered_is_found_again():
    """A slow start, as of a cold instance, does not rule a place out for good."""
    places = [SMALL, replace(LARGE, seconds=math.nan)]
    calls = RoutedCalls(EffectiveAccuracy(target=0.1).router(places, seed=1), places)
    asked = []
    for number in range(6000):
        ((_, place),) = calls.arrive(RoutedRequest(number), number).ask
        asked.append(place)
        seconds = 3.0 if place and asked.count(1) == 1 else places[place].seconds
        seconds = 0.05 if math.isnan(seconds) else seconds
        calls.answer(number, PlaceAnswer(place, seconds, correct=(0.7, 0.9)[place]), number + 0.5)

    assert asked[1:500].count(1) == 0
    assert asked[-500:].count(1) > 450


def test_network_latency_is_that_of_now_and_of_the_client():
    places = [replace(SMALL, name=name, network_latency=(0.0, 0.0)) for name in ("one", "two")]
    states = [PlaceState(index, place) for index, place in enumerate(places)]
    router = EffectiveAccuracy(target=0.1, explore=0).router(places)
    states[0].place = replace(places[0], network_latency=(0.5, 0.0))
    states[1].place = replace(places[1], network_latency=(0.0, 0.5))

    asked = [router.choose(RoutedRequest(n, client=n), states, 0.0)[0] for n in (0, 1)]
    assert asked == [1, 0]


def test_the_same_seed_makes_the_same_choices():
    def run(seed):
        places = [replace(SMALL, name=str(number)) for number in range(5)]
        router = EffectiveAccuracy(target=0.1, explore=0.5).router(places, seed)
        states = [PlaceState(index, place) for index, place in enumerate(places)]
        return [router.choose(RoutedRequest(number), states, 0.0) for number in range(100)]

    assert run(1) == run(1)
    assert run(1) != run(2)


def effective_accuracy(policy, places, *, rate, target, count=4000, seed=1):
    """Share right and in time of Poisson requests; each place serves one at a time, in order."""
    generator = random.Random(seed)  # noqa: S311 - no secret
    calls = RoutedCalls(policy.router(places, seed), places)
    free, ends, now, good = [0.0] * len(places), [], 0.0, 0
    for number in range(count):
        now += generator.expovariate(rate)
        while ends and ends[0][0] <= now:
            end, which, place, start, correct = heapq.heappop(ends)
            calls.answer(which, PlaceAnswer(place, end - start, correct=correct), end)
        ((_, place),) = calls.arrive(RoutedRequest(number), now).ask
        service = places[place].seconds * generator.uniform(0.8, 1.2)
        free[place] = max(now, free[place]) + service
        correct = float(generator.random() < places[place].accuracy)
        good += correct * (free[place] - now <= target)
        heapq.heappush(ends, (free[place], number, place, now, correct))
    return good / count


def test_switching_by_load_is_right_and_in_time_more_often_than_any_model_alone():
    """At a load that saturates the large model: 40 requests/s, of which it can serve 20."""
    at = {"rate": 40, "target": 0.15}
    alone = [effective_accuracy(Contextual(), [place], **at) for place in (SMALL, LARGE)]
    switched = effective_accuracy(EffectiveAccuracy(target=0.15), [SMALL, LARGE], **at)

    assert alone[1] < 0.1  # it falls behind for good
    assert switched > max(alone) + 4 * math.sqrt(2 * 0.25 / 4000)


def one_processor(policy, places, *, rate, sending=0.0, count=4000):
    """Share right and within half a second where all places, and who sends, have one processor."""
    generator = random.Random(1)  # noqa: S311 - no secret
    calls = RoutedCalls(policy.router(places, 1), places)
    due, free, ends, good = 0.0, 0.0, [], 0
    for number in range(count):
        due += generator.expovariate(rate)
        now = max(due, free) + sending if sending else due
        free = max(now, free)
        while ends and ends[0][0] <= now:
            end, which, place, start, correct = heapq.heappop(ends)
            calls.answer(which, PlaceAnswer(place, end - start, correct=correct), end)
        ((_, place),) = calls.arrive(RoutedRequest(number, arrival=due), now).ask
        free += places[place].seconds * generator.uniform(0.8, 1.2)
        correct = float(generator.random() < places[place].accuracy)
        good += correct * (free - due <= 0.5)
        heapq.heappush(ends, (free, number, place, now, correct))
    return good / count


@pytest.mark.parametrize("policy", [EffectiveAccuracy, LatencyFirst])
@pytest.mark.parametrize(("rate", "sending"), [(30, 0.0), (50, 0.0), (50, 0.001)])
@pytest.mark.no_cover
def test_places_on_one_processor_do_no_worse_than_the_small_model_alone(policy, rate, sending):
    """All calls delay all others, or the sender: in flight at one place says little of that."""
    small = one_processor(Contextual(), [SMALL], rate=rate, sending=sending)
    both = one_processor(policy(target=0.5), [SMALL, LARGE], rate=rate, sending=sending)

    assert both > small + 0.02


def test_what_work_elsewhere_delays_is_learned_and_kept_while_nothing_speaks_against_it():
    generator, shared, apart = random.Random(1), SharedDelay(), SharedDelay()  # noqa: S311
    for _ in range(200):
        work, noise = generator.random(), generator.gauss(0, 0.05)
        shared.learn(work, 0.8 * work + noise)
        apart.learn(work, noise)
    assert apart.slope == 0
    assert shared.slope == pytest.approx(0.8, abs=0.05)

    before = shared.slope
    for _ in range(2000):  # a router that keeps the work steady
        shared.learn(0.5, 0.4 + generator.gauss(0, 0.05))
    assert shared.slope == before
    for _ in range(1000):
        shared.learn(generator.random(), generator.gauss(0, 0.05))
    assert shared.slope < 0.1


def test_what_a_request_has_waited_is_gone_from_the_target():
    states = [PlaceState(index, place) for index, place in enumerate((SMALL, LARGE))]
    router = EffectiveAccuracy(target=0.1, explore=0).router([SMALL, LARGE])

    asked = [router.choose(RoutedRequest(n, arrival=0.0), states, 0.02 * n)[0] for n in range(8)]
    assert asked == [1, 1, 0, 0, 0, 0, 0, 0]  # too late for any: where it makes the least work


@pytest.mark.parametrize(
    "settings",
    [{"target": 0}, {"explore": 1.5}, {"late": -0.1}, {"accuracy": 0}, {"hysteresis": math.nan}],
)
def test_settings_out_of_range_are_refused(settings):
    with pytest.raises(InvalidInput):
        EffectiveAccuracy(**settings)
