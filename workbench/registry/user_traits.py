"""Traits that users give a version, such as its licence: texts, numbers, True or False.

They keep their types wherever they go: JSON in the registry, and what is pushed to a cloud.
"""

import re
from collections.abc import Collection, Mapping
from typing import Any

import numpy as np

from workbench.errors import InvalidInput
from workbench.registry.labels import Label
from workbench.validation import finite, of_kind, whole_number

MAX_LENGTH = 256
"""Characters of a text, which is what a value of SageMaker's customer metadata may have."""

FIGURES = ("accuracy", "effective_accuracy", "latency", "attainment", "cost_per_million")
"""What `workbench.select` finds out under a traffic: shares, seconds, US dollars per million."""

_NAME = r"[A-Za-z][A-Za-z0-9_-]{0,62}"


def check_user_traits(traits: Mapping[str, Any] | None, taken: Collection[str]) -> dict[str, Label]:
    """Return the traits as values of Python's own types.

    Args:
        traits: By name; None: there are none.
        taken: Names of traits that are measured, and of what else the registry says of a version.

    Raises:
        InvalidInput: A name is taken, a figure's or none; a value is of another type or too long.

    >>> check_user_traits({"licence": "MIT", "reading_age": 12}, ["task"])
    {'licence': 'MIT', 'reading_age': 12}
    """
    given = of_kind("traits", {} if traits is None else traits, Mapping, "values by name")
    for name in given:
        if not isinstance(name, str) or not re.fullmatch(_NAME, name):
            raise InvalidInput(
                f"A trait's name is a letter, then up to 62 letters, digits, _ and -, got {name!r}."
            )
        if name in taken:
            raise InvalidInput(
                f"{name!r} is a trait that the registry keeps itself: choose another name."
            )
        if name in FIGURES:
            raise InvalidInput(
                f"{name!r} is a figure that `select` finds out under a traffic, and a need of it "
                "means that one: choose another name."
            )
    return {name: _check_value(name, value) for name, value in given.items()}


def _check_value(name: str, value: Any) -> Label:  # noqa: ANN401
    name = f"The trait {name!r}"
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, str):
        if not 0 < len(value) <= MAX_LENGTH:
            raise InvalidInput(f"{name} must have 1 to {MAX_LENGTH} characters, got {len(value)}.")
        return value
    if isinstance(value, bool):
        return value
    if isinstance(value, int):
        return whole_number(name, value, low=-(2**53))
    return finite(name, of_kind(name, value, float, "a text, a number, True or False"))
