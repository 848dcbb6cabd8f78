"""The calls a router makes: failures go elsewhere, failing places are left out for a while."""

# ruff: noqa: ARG002 - a router takes more than these look at

import math

import pytest

from tests.refused import refused
from workbench.errors import InvalidInput
from workbench.routing.base import (
    Place,
    PlaceAnswer,
    RoutedRequest,
    Settlement,
    SingleAnswerRouter,
)
from workbench.routing.calls import RoutedCalls


class First(SingleAnswerRouter):
    """Asks the first place that is there, and keeps what it learns."""

    def __init__(self):
        self.seen = []

    def choose(self, request, states, now):
        return (states[0].index,)

    def observe(self, request, answer, now):
        self.seen.append(answer)


class Both(First):
    """Asks two places at once, and gives the surer answer when both are there."""

    def choose(self, request, states, now):
        return [state.index for state in states[:2]]

    def settle(self, request, answers, pending, states, now):
        if pending:
            return Settlement()
        surest = max(range(len(answers)), key=lambda number: answers[number].confidence)
        return Settlement(given=surest)


class Upward(First):
    """Asks the next place until an answer is sure enough."""

    def settle(self, request, answers, pending, states, now):
        if answers[-1].confidence < 0.9 and states:
            return Settlement(ask=(states[0].index,))
        return Settlement(given=len(answers) - 1)


def calls(router=None, count=2, **settings):
    places = [Place(name=f"model {number}") for number in range(count)]
    return RoutedCalls(router or First(), places, **settings)


def good(place, confidence=1.0):
    return PlaceAnswer(place, 0.01, confidence=confidence)


def bad(place):
    return PlaceAnswer(place, math.inf, error="no memory")


def test_a_request_gets_the_answer_of_the_place_that_was_asked():
    routed = calls()

    assert routed.arrive(RoutedRequest(0), 0.0).ask == ((0, 0),)
    given = routed.answer(0, good(0), 0.5).given

    assert (given.request, given.answer.place, given.tried) == (0, 0, 1)
    assert routed.open_count == 0
    assert routed.states[0].in_flight == 0


def test_a_request_whose_place_fails_is_asked_elsewhere_and_says_how_many_were_asked():
    routed = calls()
    routed.arrive(RoutedRequest(0), 0.0)

    assert routed.answer(0, bad(0), 0.1).ask == ((0, 1),)
    given = routed.answer(0, good(1), 0.2).given

    assert (given.answer.place, given.tried) == (1, 2)


def test_a_request_that_fails_everywhere_fails_with_the_last_reason():
    routed = calls()
    routed.arrive(RoutedRequest(0), 0.0)
    routed.answer(0, bad(0), 0.1)

    given = routed.answer(0, bad(1)._replace(error="full"), 0.2).given

    assert (given.answer.error, given.tried, routed.open_count) == ("full", 2, 0)


def test_a_place_that_fails_three_times_in_a_row_is_left_out_and_tried_again_later():
    routed = calls()
    for number in range(3):
        routed.arrive(RoutedRequest(number), 0.0)
        routed.answer(number, bad(0), 0.0)
        routed.answer(number, good(1), 0.0)

    assert routed.arrive(RoutedRequest(3), 0.5).ask == ((3, 1),)
    assert routed.arrive(RoutedRequest(4), 1.5).ask == ((4, 0),)
    assert [(event.place, event.until) for event in routed.events] == [(0, 1.0), (0, 1.5)]


def test_a_place_that_fails_again_is_left_out_for_twice_as_long():
    routed = calls()
    for number in range(4):
        now = 0.0 if number < 3 else 1.5
        routed.arrive(RoutedRequest(number), now)
        routed.answer(number, bad(0), now)
        routed.answer(number, good(1), now)

    assert [event.until - event.at for event in routed.events if event.why] == [1.0, 2.0]


def test_when_all_places_fail_all_are_tried_again():
    routed = calls()
    for number in range(3):
        routed.arrive(RoutedRequest(number), 0.0)
        routed.answer(number, bad(0), 0.0)
        routed.answer(number, bad(1), 0.0)

    assert routed.arrive(RoutedRequest(3), 0.1).ask == ((3, 0),)


def test_a_place_that_stalls_is_given_up_and_its_late_answer_only_observed():
    routed = calls(patience=1.0)
    routed.arrive(RoutedRequest(0), 0.0)

    assert routed.due == 1.0
    assert routed.wake(0.9) == []
    assert [each.ask for each in routed.wake(1.0)] == [((0, 1),)]
    assert routed.answer(0, good(1), 1.1).given.answer.place == 1
    assert routed.states[0].in_flight == 1
    assert routed.answer(0, good(0), 5.0).given is None
    assert (routed.open_count, routed.states[0].in_flight) == (0, 0)


def test_a_late_answer_is_given_where_no_other_came_before():
    routed = calls(patience=1.0)
    routed.arrive(RoutedRequest(0), 0.0)
    routed.wake(1.0)

    assert routed.answer(0, good(0), 1.2).given.answer.place == 0
    assert routed.answer(0, good(1), 1.3).given is None
    assert routed.open_count == 0


def test_an_unsure_answer_is_settled_by_the_next_place_and_kept_where_that_fails():
    for last, place in ((good(1), 1), (bad(1), 0)):
        routed = calls(Upward())
        routed.arrive(RoutedRequest(0), 0.0)

        assert routed.answer(0, good(0, 0.5), 0.1).ask == ((0, 1),)
        given = routed.answer(0, last, 0.2).given

        assert (given.answer.place, given.tried) == (place, 2)


def test_of_two_places_asked_at_once_one_may_fail():
    routed = calls(Both())

    assert routed.arrive(RoutedRequest(0), 0.0).ask == ((0, 0), (0, 1))
    assert routed.answer(0, bad(1), 0.1).given is None
    assert routed.answer(0, good(0), 0.2).given.answer.place == 0


def test_how_many_were_under_way_is_what_the_router_learns():
    router = First()
    routed = calls(router)
    routed.arrive(RoutedRequest(0), 0.0)
    routed.arrive(RoutedRequest(1), 0.0)
    routed.answer(0, good(0), 0.1)
    routed.answer(1, good(0), 0.1)

    assert [answer.in_flight for answer in router.seen] == [1, 2]


@pytest.mark.parametrize("told", [math.inf, math.nan])
def test_a_latency_that_is_not_told_is_the_time_since_the_place_was_asked(told):
    router = First()
    routed = calls(router)
    routed.arrive(RoutedRequest(0), 1.0)
    routed.answer(0, good(0)._replace(latency=told), 1.5)

    assert router.seen[0].latency == 0.5


def test_a_router_that_asks_a_place_twice_is_refused():
    class Stubborn(First):
        def settle(self, request, answers, pending, states, now):
            return Settlement(ask=(0,))

    routed = calls(Stubborn())
    routed.arrive(RoutedRequest(0), 0.0)

    with refused(InvalidInput, "router", "request 0", "(0,)"):
        routed.answer(0, good(0), 0.1)


def test_a_router_sees_a_stall_at_once_with_the_load_there_was():
    router = First()
    routed = calls(router, patience=1.0)
    routed.arrive(RoutedRequest(0), 0.0)
    routed.arrive(RoutedRequest(1), 0.5)
    routed.wake(1.5)

    assert [(seen.place, seen.in_flight, seen.latency) for seen in router.seen] == [
        (0, 1, math.inf),
        (0, 2, math.inf),
    ]


def test_a_request_that_no_router_takes_leaves_nothing_open():
    class Refuses(First):
        def choose(self, request, states, now):
            return (0, 0)

    routed = calls(Refuses())
    with refused(InvalidInput, "router", "request 0", "(0, 0)"):
        routed.arrive(RoutedRequest(0), 0.0)

    assert (routed.open_count, routed.states[0].in_flight) == (0, 0)
