"""A test that asks for a value is not content with part of another."""

import pytest

from tests.refused import refused, unnamed


@pytest.mark.parametrize("text", ["got 100", "got -10", "got 10.5", "got 10,000", "got 1,10"])
def test_a_number_is_named_as_a_whole(text):
    assert unnamed(text, 10) == ["10"]
    assert not unnamed(f"{text} (10, at most)", 10)


@pytest.mark.parametrize("text", ["max_size", "sizes", "policy.size", "--max-size", "size-2"])
def test_a_name_is_no_part_of_another(text):
    assert unnamed(text, "size") == ["size"]
    assert not unnamed(f"{text}: 'size'.", "size")


@pytest.mark.parametrize("value", ["-1", "(3,)", "--size", "'a'", ".onnx", "[", "1.5"])
def test_signs_and_brackets_are_taken_as_they_are(value):
    assert not unnamed(f"wanted 0, got {value}.", value)
    assert unnamed("wanted 0, got 11.55.", value) == [value]


def test_another_kind_or_another_value_fails():
    with refused(ValueError, "size", 0) as caught:
        raise ValueError("size must be positive, got 0")
    assert caught.type is ValueError
    for raised in (ValueError("size must be positive"), KeyError("size got 0")):
        with pytest.raises((AssertionError, KeyError)), refused(ValueError, "size", 0):
            raise raised
    with pytest.raises(pytest.fail.Exception, match="DID NOT RAISE"), refused(ValueError):
        pass
