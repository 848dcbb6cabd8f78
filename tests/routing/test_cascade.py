"""A cascade gives the small model's answer where it is sure, and the large one's elsewhere."""

import json
import math

import pytest

from tests.refused import refused
from workbench.errors import InvalidInput
from workbench.routing import policy_from_dict
from workbench.routing.base import Place, PlaceAnswer, RoutedRequest
from workbench.routing.calls import RoutedCalls
from workbench.routing.cascade import Cascade


def play(policy, answers, names=("small", "large", "other")):
    """The place whose answer a request gets, and how many were asked, given answers by name."""
    places = [Place(name=name) for name in names]
    calls = RoutedCalls(policy.router(places), places)
    reaction = calls.arrive(RoutedRequest(0), 0.0)
    while reaction.given is None:
        ((request, place),) = reaction.ask
        confidence = answers[names[place]]
        error = None if isinstance(confidence, float) else confidence
        answer = PlaceAnswer(place, 0.1, confidence=math.nan if error else confidence, error=error)
        reaction = calls.answer(request, answer, 0.1)
    return names[reaction.given.answer.place], reaction.given.tried


@pytest.mark.parametrize(
    ("confidence", "threshold", "place"),
    [
        (0.91, 0.9, "small"),
        (0.9, 0.9, "small"),
        (0.89, 0.9, "large"),
        (math.nan, 0.001, "large"),
        (0.0, 0, "small"),
        (math.nan, 0, "small"),
        (1.0, 0.999, "small"),
        (1.0, 1, "large"),
        (1.0000001, 1, "large"),  # as rounding may leave a softmax
    ],
)
def test_an_answer_below_the_threshold_is_escalated_and_both_ends_are_exact(
    confidence, threshold, place
):
    cascade = Cascade("small", "large", threshold)

    given, tried = play(cascade, {"small": confidence, "large": 0.1})

    assert (given, tried) == (place, 1 + (place == "large"))


def test_a_cascade_of_three_stops_at_the_first_that_is_sure():
    cascade = Cascade.of(["small", "large", "other"], [0.9, 0.8])

    assert play(cascade, {"small": 0.5, "large": 0.85, "other": 0.1}) == ("large", 2)
    assert play(cascade, {"small": 0.5, "large": 0.75, "other": 0.1}) == ("other", 3)


def test_the_order_is_that_of_the_cascade_not_of_the_places():
    assert play(Cascade("other", "small"), {"other": 0.99}) == ("other", 1)


def test_a_place_that_fails_is_passed_over():
    cascade = Cascade("small", "large")

    assert play(cascade, {"small": "full", "large": 0.1}) == ("large", 2)
    assert play(cascade, {"small": 0.2, "large": "full"}, ("small", "large")) == ("small", 2)
    assert play(cascade, {"small": "full", "large": "full", "other": 0.1}) == ("other", 3)


def test_an_unsure_answer_that_comes_late_waits_for_the_larger_one():
    places = [Place(name="small"), Place(name="large")]
    calls = RoutedCalls(Cascade("small", "large").router(places), places, patience=1.0)
    calls.arrive(RoutedRequest(0), 0.0)
    calls.wake(1.0)

    assert calls.answer(0, PlaceAnswer(0, math.nan, confidence=0.5), 1.1).given is None
    assert calls.answer(0, PlaceAnswer(1, math.nan, confidence=0.1), 1.2).given.answer.place == 1


def test_a_cascade_is_the_same_after_its_dict():
    cascade = Cascade.of(["a", "b", "c"], [0.9, 0.8])

    assert policy_from_dict(json.loads(json.dumps(cascade.to_dict()))) == cascade
    assert (cascade.names, cascade.thresholds) == (("a", "b", "c"), (0.9, 0.8))


@pytest.mark.parametrize(
    "make",
    [
        lambda: Cascade("small", "small"),
        lambda: Cascade("small", Cascade("large", "other"), 1.1),
        lambda: Cascade("small", "large", -0.1),
        lambda: Cascade("small", "large", math.nan),
        lambda: Cascade("small", "large", "0.9"),
        lambda: Cascade("small", 3),
        lambda: Cascade(None, "large"),
        lambda: Cascade("small", Cascade("large", "small")),
        lambda: Cascade.of(["small"], []),
        lambda: Cascade.of(["small", "large"], [0.9, 0.8]),
    ],
)
def test_a_cascade_that_cannot_be_is_refused(make):
    with pytest.raises(InvalidInput):
        make()


def test_a_name_that_no_place_has_is_refused():
    with refused(InvalidInput, "place", "small, large", "huge"):
        Cascade("small", "huge").router([Place(name="small"), Place(name="large")])
