"""The thesis's weighted choice against tables worked by hand, and the mended one."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.refused import refused
from workbench.errors import InvalidInput
from workbench.routing.base import Place, PlaceAnswer, PlaceState, RoutedRequest
from workbench.routing.mulambda import MuLambda, Weighted

REQUEST = RoutedRequest(0, size=10)


def choose(policy, places, *, learned=(), request=REQUEST):
    """The name of the place chosen, after answers given as (place, latency, correct)."""
    router = policy.router(places)
    states = [PlaceState(index, place) for index, place in enumerate(places)]
    for place, latency, correct in learned:
        router.observe(request, PlaceAnswer(place, latency, correct=correct), 0.0)
    (index,) = router.choose(request, states, 0.0)
    return places[index].name


# worked by hand: estimates of 35, 140 and 700 ms fall into the buckets of 60 (third), 150 (fifth)
# and 1020 ms (last), which become 0.78, 0.56 and 0.11; accuracies over the best are 0.5, 0.8, 1
TABLE = [
    Place(name="fast", accuracy=0.45, network_latency=(0.005,)),
    Place(name="middle", accuracy=0.72, network_latency=(0.040,)),
    Place(name="good", accuracy=0.90, network_latency=(0.100,)),
]
LEARNED = [(0, 0.035, 0.45), (1, 0.140, 0.72), (2, 0.700, 0.90)]


@pytest.mark.parametrize(
    ("latency", "accuracy", "chosen"),
    [
        (-1.0, 0.0, "fast"),  # 0.78, 0.56, 0.11
        (0.0, 1.0, "good"),  # 0.5, 0.8, 1
        (-0.5, 0.5, "middle"),  # 0.64, 0.68, 0.555
        (-0.8, 0.2, "fast"),  # 0.724, 0.608, 0.288
        (-0.2, 0.8, "good"),  # 0.556, 0.752, 0.822
        (0.5, 0.5, "good"),  # the slip: -0.14, 0.12, 0.445; a weight above 0 is of being slow
        (1.0, 0.0, "good"),  # the slip alone: -0.78, -0.56, -0.11
    ],
)
def test_the_published_rule_picks_what_its_formulas_say(latency, accuracy, chosen):
    assert choose(MuLambda(latency=latency, accuracy=accuracy), TABLE, learned=LEARNED) == chosen


def test_the_published_delay_is_that_of_the_last_call_and_scales_with_size():
    learned = [(0, 0.015, 0.5), (0, 0.505, 0.5), *LEARNED[1:]]  # 50 ms a unit beyond the network
    fast = MuLambda(latency=-1, accuracy=0)

    assert choose(fast, TABLE, learned=learned) == "middle"
    assert choose(fast, TABLE, learned=learned, request=RoutedRequest(0, size=1)) == "middle"
    router = fast.router(TABLE)
    states = [PlaceState(index, place) for index, place in enumerate(TABLE)]
    for place, seconds, correct in learned:
        router.observe(REQUEST, PlaceAnswer(place, seconds, correct=correct), 0.0)
    assert router.choose(RoutedRequest(1, size=0.1), states, 0.0) == (0,)  # 5 + 5 ms


def test_the_published_accuracy_is_the_mean_of_the_last_ten_answers():
    accurate = MuLambda(latency=0, accuracy=1)
    wrong_first = [(0, 0.1, 0.0)] * 10 + [(0, 0.1, 1.0)] * 10

    assert choose(accurate, TABLE, learned=wrong_first) == "fast"
    assert choose(accurate, TABLE, learned=wrong_first[:19]) == "fast"  # 0.9, the first of equals
    assert choose(accurate, TABLE, learned=wrong_first[:18]) == "good"  # 0.8


def test_the_published_rule_knows_no_delay_before_the_first_call():
    slow = Place(name="slow", accuracy=0.9)
    fast = Place(name="fast", accuracy=0.9, network_latency=(0.011,))

    assert choose(MuLambda(latency=-1, accuracy=0), [fast, slow]) == "slow"


def test_an_empty_filter_raises_as_published_and_the_mended_one_takes_the_nearest():
    kinds = [
        Place(name="text", accuracy=0.9, traits={"input": "text", "output": "class"}),
        Place(name="image", accuracy=0.5, traits={"input": "image", "output": "box"}),
    ]
    needs = {"input": "image", "output": "class", "licence": "MIT"}

    with refused(InvalidInput, "input = 'image'", "licence = 'MIT'"):
        choose(MuLambda(needs=needs), kinds)
    assert choose(Weighted(needs=needs), kinds) == "text"  # both miss two, and it is better
    assert choose(Weighted(needs={"input": "image"}), kinds) == "image"
    assert choose(MuLambda(needs={"input": "image"}), kinds) == "image"


def test_the_published_rule_takes_another_where_what_is_needed_is_left_out():
    """A place that fails is left out for a while: no request may be lost for that."""
    fit = Place(name="fit", traits={"input": "image"})
    other = Place(name="other", traits={"input": "text"})
    router = MuLambda(needs={"input": "image"}).router([fit, other])

    assert router.choose(RoutedRequest(0), [PlaceState(1, other)], 0.0) == (1,)


def test_what_is_not_known_never_counts_as_best():
    known = Place(name="known", accuracy=0.01, seconds=9.0, cost=9.0)

    assert (
        choose(Weighted(latency=1, accuracy=1, cost=1), [Place(name="unknown"), known]) == "known"
    )
    assert choose(MuLambda(latency=0, accuracy=1), [Place(name="unknown"), known]) == "known"
    assert choose(Weighted(), [Place(name="unknown"), Place(name="too")]) == "unknown"
    assert choose(MuLambda(), [Place(name="unknown"), Place(name="too")]) == "unknown"


def test_failures_teach_the_weighted_choice_nothing():
    router = Weighted(latency=0).router(TABLE)
    states = [PlaceState(index, place) for index, place in enumerate(TABLE)]
    router.observe(REQUEST, PlaceAnswer(2, float("inf"), correct=0.0, error="no memory"), 0.0)

    assert router.choose(REQUEST, states, 0.0) == (2,)


@pytest.mark.parametrize(
    "weights", [{"latency": 0, "accuracy": 0}, {"cost": -1.0}, {"accuracy": float("nan")}]
)
def test_weights_that_say_nothing_are_refused(weights):
    with pytest.raises(InvalidInput):
        Weighted(**weights)


amounts = st.floats(0.001, 10)
places = st.builds(
    lambda accuracy, seconds, cost: Place(
        name="any", accuracy=accuracy, seconds=seconds, cost=cost
    ),
    st.floats(0, 1),
    amounts,
    amounts,
)
weights = st.tuples(*[st.integers(0, 10)] * 3).filter(any)


def first(policy, candidates):
    states = [PlaceState(index, place) for index, place in enumerate(candidates)]
    (index,) = policy.router(candidates).choose(REQUEST, states, 0.0)
    return index


def by(values, scale=1.0):
    latency, accuracy, cost = (scale * value for value in values)
    return Weighted(latency=latency, accuracy=accuracy, cost=cost)


@given(st.lists(places, min_size=1, max_size=5), weights, st.floats(1e-6, 1e6))
def test_scaling_all_weights_changes_nothing(candidates, values, scale):
    assert first(by(values), candidates) == first(by(values, scale), candidates)


def merits(place):
    return place.accuracy, -place.seconds, -place.cost


@given(st.lists(places, min_size=2, max_size=5), weights)
def test_a_dominated_candidate_never_wins(candidates, values):
    chosen = merits(candidates[first(by(values), candidates)])

    for other in map(merits, candidates):
        assert other == chosen or any(a < b for a, b in zip(other, chosen, strict=True))
