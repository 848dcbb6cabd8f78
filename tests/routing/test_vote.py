"""A vote gives the label of the majority, and asks no more places than that takes."""

import math

import pytest

from tests.refused import refused
from workbench.errors import InvalidInput
from workbench.routing import policy_from_dict
from workbench.routing.base import Place, PlaceAnswer, RoutedRequest
from workbench.routing.calls import RoutedCalls
from workbench.routing.vote import Vote

NAMES = ("a", "b", "c", "d", "e")


def play(labels, vote=None):
    """The label that a request gets and how many places were asked, given labels by place."""
    names = NAMES[: len(labels)]
    places = [Place(name=name) for name in names]
    calls = RoutedCalls((vote or Vote(names)).router(places), places)
    reaction = calls.arrive(RoutedRequest(0), 0.0)
    queue = list(reaction.ask)
    while reaction.given is None:
        request, place = queue.pop(0)
        label = labels[place]
        error = "full" if label == "fails" else None
        answer = PlaceAnswer(place, 0.1, label=label if error is None else None, error=error)
        reaction = calls.answer(request, answer, 0.1)
        queue += reaction.ask
    return reaction.given.answer.label, reaction.given.tried


@pytest.mark.parametrize(
    ("labels", "label", "tried"),
    [
        ([1, 1, 2], 1, 2),  # the third is not asked where two agree
        ([1, 2, 2], 2, 3),
        ([1, 2, 3], 3, 3),  # all differ: the last named
        ([1, 2], 2, 2),
        ([1, 1, 1, 2, 2], 1, 3),
        ([1, 2, 1, 1, 2], 1, 4),
        ([1, 2, 3, 1, 1], 1, 5),
        ([1, 1, 2, 2, 3], 2, 5),  # as many for 1: the last named of both
        ([None, None, 1], 1, 3),  # what is not known agrees with nothing
        (["fails", 2, 2], 2, 3),
        (["fails", "fails", 2], 2, 3),
    ],
)
def test_the_majority_is_given_by_as_few_places_as_it_takes(labels, label, tried):
    assert play(labels) == (label, tried)


def test_a_majority_is_given_while_another_place_still_owes_its_answer():
    places = [Place(name=name) for name in NAMES]
    calls = RoutedCalls(Vote(NAMES).router(places), places)
    calls.arrive(RoutedRequest(0), 0.0)
    for place, label in [(0, 1), (1, 2), (2, 1)]:
        reaction = calls.answer(0, PlaceAnswer(place, 0.1, label=label), 0.1)
    assert reaction.ask == ((0, 3),)

    assert calls.answer(0, PlaceAnswer(3, math.nan, label=1), 0.2).given.answer.label == 1


def test_as_many_as_the_lead_lacks_are_asked_at_once():
    places = [Place(name=name) for name in NAMES]
    calls = RoutedCalls(Vote(NAMES).router(places), places)
    assert calls.arrive(RoutedRequest(0), 0.0).ask == ((0, 0), (0, 1), (0, 2))
    for label in range(3):
        reaction = calls.answer(0, PlaceAnswer(label, 0.1, label=label), 0.1)
    assert reaction.ask == ((0, 3), (0, 4))


def test_places_that_do_not_vote_are_asked_where_all_others_fail():
    assert play(["fails", "fails", 7], Vote(["a", "b"])) == (7, 3)


def test_a_vote_is_the_same_after_its_dict():
    assert Vote(["a", "b"]).to_dict() == {"kind": "vote", "names": ["a", "b"]}
    assert policy_from_dict({"kind": "vote", "names": ["a", "b"]}) == Vote(("a", "b"))


@pytest.mark.parametrize("names", [["a"], ["a", "a"], [], "ab", [1, 2]])
def test_a_vote_that_cannot_be_is_refused(names):
    with pytest.raises(InvalidInput):
        Vote(names)


def test_a_name_that_no_place_has_is_refused():
    with refused(InvalidInput, "place", "a, b", "z"):
        Vote(["a", "z"]).router([Place(name="a"), Place(name="b")])
