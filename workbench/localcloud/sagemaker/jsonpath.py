"""The JSONPath that batch transform's filters are written in: what is picked from a record.

The operators are those of the SageMaker developer guide, "Associate Prediction Results with Input
Records": `$`, `.name`, `['name', 'name']`, `[number, number]`, `[start:end]` and `*`. SageMaker
refuses several ranges in one bracket (aws/sagemaker-python-sdk #1112; `[0,5:]` is documented), a
path as one of several names (the same page), and signs that are none of its operators, such as the
underscore (aws/aws-sdk #184).

No library serves here, because SageMaker picks a value where JSONPath lists matches: several names
make an object that has these names, a path to one place is the value there and no list of it, and a
record that lacks one of several names is an error. jsonpath-ng, which comes with moto, loses the
names, finds less without a word, refuses `[0, 2:4]`, and takes operators that SageMaker does not.
"""

import re
from dataclasses import dataclass
from typing import Any

from workbench.errors import InvalidInput

_SIGNS = "$[]*. ,:-'"
_STEP = re.compile(r"\.?\[(?P<inside>[^\]]*)\]|\.(?P<name>[^.\[\]]+)")
_QUOTED = re.compile(r"'([^']*)'")
_RANGE = re.compile(r"(-?\d*)\s*:\s*(-?\d*)")

Part = str | int | slice
"""A name, an index or a range."""


class PathNotFound(InvalidInput):
    """A record has nothing at a path."""


@dataclass(frozen=True, slots=True)
class JsonPath:
    """A path into a JSON value; each of `steps` picks parts, and None is the wildcard.

    >>> parse("$[1:]").pick([7, 1, 2])
    [1, 2]
    >>> parse("$['id','SageMakerOutput']").pick({"id": 7, "x": [1.5], "SageMakerOutput": 3})
    {'id': 7, 'SageMakerOutput': 3}
    """

    text: str
    steps: tuple[tuple[Part, ...] | None, ...]

    @property
    def whole(self) -> bool:
        """Whether it picks everything."""
        return not self.steps

    def pick(self, value: Any) -> Any:  # noqa: ANN401 - JSON
        """Return what is at the path: of several names an object, of several places an array.

        Raises:
            PathNotFound: The value has nothing there.
        """
        for parts in self.steps:
            if parts is not None:
                value = _pick_parts(value, parts, self.text)
            elif isinstance(value, dict):
                value = list(value.values())
        return value


def parse(text: str) -> JsonPath:
    """Return the path that a text describes.

    Raises:
        InvalidInput: The text is no path, or needs an operator that SageMaker does not have.
    """
    if not text.startswith("$"):
        raise _syntax_error(text)
    for sign in text:
        if not (sign.isalnum() or sign in _SIGNS):
            raise InvalidInput(
                f"{text!r} is not a path of SageMaker's: unexpected {sign!r}. It takes letters, "
                f"digits, spaces and {' '.join(_SIGNS.replace(' ', ''))} only."
            )
    steps: list[tuple[Part, ...] | None] = []
    at = 1
    while at < len(text):
        found = _STEP.match(text, at)
        if found is None:
            raise _syntax_error(text)
        at = found.end()
        inside, name = found["inside"], found["name"]
        if "*" in (inside, name):
            steps.append(None)
        elif name is not None:
            steps.append((name,))
        else:
            steps.append(_parts(inside, text))
    return JsonPath(text, tuple(steps))


def _parts(inside: str, text: str) -> tuple[Part, ...]:
    parts = tuple(_part(each.strip(), text) for each in inside.split(","))
    if len({isinstance(part, str) for part in parts}) > 1:
        raise _syntax_error(text)
    if sum(isinstance(part, slice) for part in parts) > 1:
        raise InvalidInput(
            f"Invalid JSONPath {text!r}: only single ranges such as [1:5] are supported, got "
            f"[{inside}]. List the other numbers one by one."
        )
    if len(parts) > 1 and any(isinstance(part, str) and "." in part for part in parts):
        raise InvalidInput(
            f"Invalid JSONPath {text!r}: one of several names cannot be a path, got [{inside}]."
        )
    return parts


def _part(token: str, text: str) -> Part:
    if quoted := _QUOTED.fullmatch(token):
        return quoted[1]
    if re.fullmatch(r"-?\d+", token):
        return int(token)
    if found := _RANGE.fullmatch(token):
        start, end = (int(each) if each else None for each in found.groups())
        return slice(start, end)
    raise _syntax_error(text)


def _pick_parts(value: Any, parts: tuple[Part, ...], text: str) -> Any:  # noqa: ANN401 - JSON
    try:
        if isinstance(value, str):  # a cell of CSV has no parts
            raise KeyError
        if len(parts) == 1:
            return value[parts[0]]
        if isinstance(parts[0], str):
            return {name: value[name] for name in parts}
        picked = [value[part] for part in parts]
    except (KeyError, IndexError, TypeError):
        raise PathNotFound(f"{text} picks what a record does not have: {str(value)[:80]}") from None
    return [
        each
        for part, some in zip(parts, picked, strict=True)
        for each in (some if isinstance(part, slice) else [some])
    ]


def _syntax_error(text: str) -> InvalidInput:
    return InvalidInput(
        f"{text!r} is not a path of SageMaker's: it starts with $ and goes on with .name, "
        "['name'], [number], [start:end] or *."
    )
