import math
from fractions import Fraction

import numpy as np
import pytest

from tests.refused import refused
from workbench.errors import InvalidInput
from workbench.run import Run
from workbench.run.costs import cost
from workbench.traffic.replay import from_csv, from_timestamps
from workbench.validation import (
    as_tuple,
    finite,
    flag,
    generator_from,
    inner_share,
    not_negative,
    of_kind,
    positive,
    positive_share,
    whole_number,
)

NO_NUMBERS = [math.nan, math.inf, -1, True, "1", None, 10**400, [1.0]]


@pytest.mark.parametrize("value", [2, 2.0, np.float32(2), np.int8(2), Fraction(2)])
def test_a_number_of_any_kind_becomes_a_float(value):
    for check in (positive, not_negative):
        number = check("rate", value)

        assert type(number) is float
        assert number == 2.0


@pytest.mark.parametrize("value", [*NO_NUMBERS, 0])
def test_what_is_not_finite_and_above_zero_is_refused(value):
    with refused(InvalidInput, "rate", repr(value)):
        positive("rate", value)


def test_what_is_finite_may_be_negative():
    assert finite("origin", -1) == -1.0
    with refused(InvalidInput, "origin", "seconds", True):
        finite("origin", True, "seconds")


@pytest.mark.parametrize("value", NO_NUMBERS)
def test_what_is_negative_is_refused_with_its_unit(value):
    with refused(InvalidInput, "wait", "seconds", repr(value)):
        not_negative("wait", value, "seconds")


@pytest.mark.parametrize("value", [*NO_NUMBERS, 0, 1.5])
def test_a_share_is_above_0_and_at_most_1(value):
    assert positive_share("share", 1) == 1.0
    with refused(InvalidInput, "share", repr(value)):
        positive_share("share", value)


@pytest.mark.parametrize("value", [*NO_NUMBERS, 0, 1])
def test_an_inner_share_is_above_0_and_below_1(value):
    assert type(inner_share("quantile", np.float32(0.5))) is float
    with refused(InvalidInput, "quantile", repr(value)):
        inner_share("quantile", value)


@pytest.mark.parametrize("value", [0, 6, 2.0, True, "2", None])
def test_a_whole_number_is_one_within_its_bounds(value):
    assert type(whole_number("count", np.int32(5), low=1, high=5)) is int
    with refused(InvalidInput, "count", 1, 5, repr(value)):
        whole_number("count", value, low=1, high=5)


def test_a_generator_is_taken_as_it_is():
    rng = np.random.default_rng(1)

    assert generator_from(rng) is rng


@pytest.mark.parametrize("seed", [True, -1, 1.0, "1", None])
def test_a_seed_is_a_whole_number(seed):
    with refused(InvalidInput, "seed", repr(seed)):
        generator_from(seed)


def test_a_whole_number_fits_what_computes_with_it():
    with refused(InvalidInput, "count", 2**53, 2**53 + 1):
        whole_number("count", 2**53 + 1, low=1)


def test_a_value_is_of_the_kind_asked_for():
    assert of_kind("name", "x", str) == "x"
    with refused(InvalidInput, "name", "str", 5):
        of_kind("name", 5, str)
    with refused(InvalidInput, "name", "text", 5):
        of_kind("name", 5, str, "a text")
    with refused(InvalidInput, "an InvalidInput", 5):
        of_kind("name", 5, InvalidInput)


@pytest.mark.parametrize("value", ["12", b"12", None, 5, np.array(5)])
def test_a_list_is_what_can_be_gone_through(value):
    assert as_tuple("sizes", iter([1, 2])) == (1, 2)
    with refused(InvalidInput, "sizes", repr(value)):
        as_tuple("sizes", value)


@pytest.mark.parametrize("value", ["no", "", 0, 1, None])
def test_a_flag_is_true_or_false_and_nothing_that_counts_as_such(value):
    with refused(InvalidInput, "yes", repr(value)):
        flag("yes", value)
    assert flag("yes", True)


def test_flags_that_are_texts_are_refused(tmp_path):
    run = Run.from_arrays(scheduled=[0, 1], finished=[1, 2], origin="simulated")
    run.save(tmp_path / "run")
    (tmp_path / "a.csv").write_text("arrival\n1\n")
    calls = {
        "overwrite": lambda: run.save(tmp_path / "run", overwrite="no"),
        "sort": lambda: from_timestamps([1.0, 2.0], sort="no"),
        "header": lambda: from_csv(tmp_path / "a.csv", header="no"),
        "bill_cold_start": lambda: cost(run, bill_cold_start="no"),
    }
    for name, call in calls.items():
        with refused(InvalidInput, name, "no"):
            call()
