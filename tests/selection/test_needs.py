"""Needs: of traits and figures, typed, and how far they are missed."""

import math
from dataclasses import replace

import pytest

from tests.refused import refused
from workbench.errors import InvalidInput
from workbench.selection import Bounds, at_least, at_most
from workbench.selection.needs import check_needs, find_miss, traits_of


def test_traits_are_those_of_the_registry_and_of_the_user(model):
    known = traits_of(model)

    assert known["task"] == "digits"
    assert known["size_bytes"] == model.size_bytes
    assert known["approval"] == "Approved"
    assert known["batches"] == model.traits.batches


@pytest.mark.parametrize(
    ("value", "wanted", "distance"),
    [
        ("digits", "digits", None),
        ("digits", "faces", math.inf),
        (0.9, at_least(0.9), None),
        (0.89, at_least(0.9), 0.01 / 0.9),
        (1.1e6, at_most(1e6), 0.1),
        (5, Bounds(low=1, high=4), 0.25),
        (3, Bounds(low=1, high=4), None),
        (3, 3, None),
    ],
)
def test_a_need_is_met_or_missed_by_a_share(value, wanted, distance):
    miss = find_miss("trait", value, wanted)

    assert (miss is None) == (distance is None)
    assert miss is None or miss.distance == pytest.approx(distance)


@pytest.mark.parametrize("value", [None, math.nan])
def test_what_is_not_known_is_missed_as_unknown(value):
    assert find_miss("accuracy", value, at_least(0.5)).unknown


@pytest.mark.parametrize(
    "needs",
    [
        {"licence": "MIT"},
        {"size_bytes": "small"},
        {"task": at_least(1)},
        {"task": 3},
        {"accuracy": 0.9},
        {"latency": "fast"},
        ["task"],
    ],
    ids=str,
)
def test_unknown_traits_and_other_types_are_refused(model, needs):
    with pytest.raises(InvalidInput):
        check_needs(needs, lambda: [traits_of(model)])


@pytest.mark.parametrize("bounds", [{}, {"low": 2, "high": 1}, {"low": math.nan}, {"high": "a"}])
def test_bounds_that_bound_nothing_are_refused(bounds):
    with pytest.raises(InvalidInput):
        Bounds(**bounds)


def test_a_trait_that_one_candidate_lacks_may_be_needed(model):
    said = replace(model, traits=replace(model.traits, user={"licence": "MIT", "reading_age": 9}))

    known = [traits_of(model), traits_of(said)]

    assert check_needs({"licence": "MIT"}, lambda: known) == {"licence": "MIT"}
    assert find_miss("licence", traits_of(model).get("licence"), "MIT").unknown
    assert find_miss("reading_age", traits_of(said)["reading_age"], at_most(10)) is None
    with refused(InvalidInput, "licence", 2, "'MIT'"):
        check_needs({"licence": 2}, lambda: known)
