"""A number given is the number that the model sees, or it is refused where it stands."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from workbench.modelserver.casts import CastError, as_numbers, cast

WHOLE = ["int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"]
FLOATS = ["float16", "float32", "float64"]
KINDS = st.sampled_from([*WHOLE, *FLOATS, "bool"])
EDGES = [2**k + d for k in (0, 8, 11, 15, 16, 24, 31, 32, 53, 63, 64) for d in (-1, 0, 1)]


def same(kept, asked, kind):
    """Whether a value was kept, by the rule in the first lines of `casts`."""
    if isinstance(asked, float) and np.dtype(kind).kind == "f":
        nearest = np.array(asked).astype(kind).item()
        return kept == nearest or (math.isnan(asked) and math.isnan(kept))
    return kept == asked


def check(values, kind):
    """Require that values are kept, or that the first which is not is named; return if kept."""
    try:
        kept = cast(values, np.dtype(kind))
    except CastError as error:
        wrong = values[error.place]
        with np.errstate(all="ignore"):
            lost = np.array(wrong).astype(kind).item()
        wrong = wrong.item() if isinstance(wrong, np.generic) else wrong
        infinite = isinstance(lost, float) and math.isinf(lost)
        beyond = isinstance(wrong, float) and abs(wrong) > 2**53
        assert infinite or beyond or not same(lost, wrong, kind)
        return False
    assert kept.dtype == kind
    for place, value in np.ndenumerate(kept):
        asked = values[place]
        asked = asked.item() if isinstance(asked, np.generic) else asked
        assert same(value.item(), asked, kind)
        if isinstance(asked, float) and math.isfinite(asked):
            assert math.isfinite(value)
    return True


@pytest.mark.filterwarnings("ignore:invalid value encountered")
@given(
    hnp.arrays(
        st.sampled_from([np.dtype(kind) for kind in [*WHOLE, *FLOATS, "bool", ">i4", ">f8"]]),
        st.tuples(st.integers(1, 3), st.integers(1, 3)),
    ),
    KINDS,
)
def test_every_value_of_an_array_is_kept_or_one_that_is_not_is_named(values, kind):
    check(values, kind)


NUMBERS = st.one_of(
    st.integers(-(2**65), 2**65),
    st.sampled_from([*EDGES, *(-edge for edge in EDGES)]),
    st.floats(width=64),
    st.booleans(),
)


@given(st.lists(st.lists(NUMBERS, min_size=2, max_size=2), min_size=1, max_size=3), KINDS)
def test_a_whole_number_beside_a_fraction_stays_one(rows, kind):
    try:
        kept = cast(as_numbers(rows, np.dtype(kind)), np.dtype(kind))
    except CastError:
        return
    for asked, found in zip(rows, kept.tolist(), strict=True):
        assert all(same(b, a, kind) for a, b in zip(asked, found, strict=True))


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (4294967301, "int32"),
        (-1, "uint8"),
        (256, "uint8"),
        (2**63, "int64"),
        (2, "bool"),
        (math.nan, "bool"),
        (1.5, "int64"),
        (math.nan, "int64"),
        (math.inf, "int64"),
        (2.0**60, "int64"),
        (70000.0, "float16"),
        (70000, "float16"),
        (2049, "float16"),
        (1e39, "float32"),
        (2**24 + 1, "float32"),
        (2**53 + 1, "float64"),
        (2**63 - 1, "float64"),
        (2**64 - 1, "float64"),
        (10**30, "float64"),
        (None, "float64"),
    ],
)
def test_what_a_type_does_not_hold_is_refused_with_row_and_column(value, kind):
    with pytest.raises(CastError) as caught:
        cast(as_numbers([[0, 1], [1, value]], np.dtype(kind)), np.dtype(kind))

    assert caught.value.place == (1, 1)
    assert "Row 12, column 'b' is " in caught.value.describe(first=10, names=["a", "b"])


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (255, "uint8"),
        (1.0, "int32"),
        (-0.0, "uint8"),
        (1.0, "bool"),
        (True, "float32"),
        (0.1, "float16"),
        (65519.9, "float16"),  # which is nearer to 65504 than to what comes after it
        (16777217.0, "float32"),
        (2**24, "float32"),
        (2**60, "float32"),
        (2**63, "float64"),
        (-(2**63), "float64"),
        (math.inf, "float16"),
        (math.nan, "float16"),
        (1e-60, "float32"),
    ],
)
def test_what_a_type_holds_is_kept_and_a_float_is_the_nearest(value, kind):
    assert check(np.array([value]), kind)
