"""What AWS takes: botocore's own models of its services, as checks.

botocore itself checks types and least lengths only. Enums, patterns and greatest lengths are in its
models too, and AWS refuses what does not keep them, in the words used here.
"""

import contextlib
import ctypes
import gzip
import json
import re
import sys
from array import array
from collections.abc import Iterator, Mapping
from functools import cache
from itertools import accumulate
from pathlib import Path
from typing import Any

import orjson
from botocore.loaders import JSONFileLoader, Loader
from botocore.model import ListShape, MapShape, OperationModel, ServiceModel, Shape, StructureShape
from botocore.utils import parse_timestamp

from workbench.localcloud.core.protocol import AwsError, validation_error

_DOCUMENTATION = re.compile(rb'"documentation"\s*:\s*"(?:[^"\\]|\\.)*"')
_BETWEEN = re.compile(r"[\s,:]+")
_DECODE = json.JSONDecoder().raw_decode
_TYPES: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "character": (str,),
    "blob": (str,),
    "boolean": (bool,),
    "integer": (int,),
    "long": (int,),
    "float": (int, float),
    "double": (int, float),
    "timestamp": (int, float),
    "structure": (dict,),
    "map": (dict,),
    "list": (list,),
}
_YEAR_1, _YEAR_10000 = -62_135_596_800, 253_402_300_800  # what `datetime` can hold
_RANGES: dict[str, tuple[float, float]] = {  # AWS's types of numbers: Smithy 2.0, "Simple types"
    "integer": (-(2**31), 2**31 - 1),
    "long": (-(2**63), 2**63 - 1),
    "float": (-sys.float_info.max, sys.float_info.max),
    "double": (-sys.float_info.max, sys.float_info.max),
    "timestamp": (_YEAR_1, _YEAR_10000 - 1),
}
# Java's classes of characters, as near as Python's `re` comes to them.
_CLASSES = {
    r"\p{Alnum}": "a-zA-Z0-9",
    r"\p{L}": r"\w",
    r"\p{M}": r"\u0300-\u036f",
    r"\p{N}": r"\d",
    r"\p{Z}": r"\s",
}


@cache
def service(name: str) -> ServiceModel:
    """Return botocore's model of a service; loaded when first asked for."""
    loader = Loader(file_loader=_ModelLoader(), include_default_extras=False)  # of clients alone
    facts = loader.load_service_model(name, "service-2")
    with contextlib.suppress(OSError, AttributeError):  # glibc only: 14 MB that nobody uses by now
        ctypes.CDLL(None).malloc_trim(0)
    return ServiceModel(facts, name)


class _ModelLoader(JSONFileLoader):
    """Loads botocore's files without the documentation, which is the most of them."""

    def load_file(self, file_path: str) -> Any:  # noqa: ANN401 - JSON
        """Return what a file holds, or None where there is none."""
        for suffix, open_file in ((".json", open), (".json.gz", gzip.open)):
            if Path(file_path + suffix).is_file():
                with open_file(file_path + suffix, "rb") as file:
                    text = _DOCUMENTATION.sub(b'"documentation":""', file.read()).decode()
                return _read_object(text, _skip(text, 0))[0]
        return None


def _read_object(text: str, at: int, *, packed: bool = False) -> tuple[dict[str, Any], int]:
    """Return the object at a place of JSON, its values as JSON again if `packed`, and its end.

    Value by value: as a whole, SageMaker's model takes 14 MB, of which Python keeps 4.
    """
    values: dict[str, Any] = {}
    at = _skip(text, at + 1)
    while text[at] != "}":
        name, at = _DECODE(text, at)
        at = _skip(text, at)
        if name in ("operations", "shapes") and not packed:
            table, at = _read_object(text, at, packed=True)
            values[name] = _PackedTable(table)
        else:
            value, at = _DECODE(text, at)
            values[name] = orjson.dumps(value) if packed else value
        at = _skip(text, at)
    return values, at + 1


def _skip(text: str, at: int) -> int:
    """Return where the next name or value begins."""
    found = _BETWEEN.match(text, at)
    return found.end() if found else at


class _PackedTable(Mapping[str, Any]):
    """A table of JSON, of which a value is read when it is asked for.

    SageMaker's model takes 1 MB like this, and 14 as botocore reads it.
    """

    def __init__(self, values: Mapping[str, bytes]) -> None:
        self._ends = array("I", accumulate(map(len, values.values()), initial=0))
        self._numbers = {name: number for number, name in enumerate(values)}
        self._text = b"".join(values.values())

    def __getitem__(self, name: str) -> Any:  # noqa: ANN401 - JSON
        number = self._numbers[name]
        return orjson.loads(self._text[self._ends[number] : self._ends[number + 1]])

    def __iter__(self) -> Iterator[str]:
        return iter(self._numbers)

    def __len__(self) -> int:
        return len(self._numbers)


def operation(service_name: str, name: str) -> OperationModel:
    """Return the model of an operation.

    Raises:
        AwsError: The service has none of that name.
    """
    model = service(service_name)
    if name not in model.operation_names:
        raise AwsError("UnknownOperationException", f"There is no operation {name!r}.")
    return model.operation_model(name)


def convert_text(shape: Shape, text: str) -> Any:  # noqa: ANN401 - what the shape says
    """Return the value that a text stands for; the text itself, which `check` refuses, if none.

    Times are in ISO 8601 or in seconds since 1970, and become the latter.
    """
    kind = shape.type_name
    if kind in ("integer", "long"):
        return int(text) if re.fullmatch(r"-?\d{1,18}", text, re.ASCII) else text
    if kind == "boolean":
        return {"true": True, "false": False}.get(text.lower(), text)
    try:
        if kind in ("float", "double"):
            return float(text)
        if kind == "timestamp":
            return parse_timestamp(text).timestamp()
    except (ValueError, OverflowError, RuntimeError):
        return text
    return text


def check(shape: Shape | None, value: dict[str, Any]) -> None:
    """Check the parameters of an operation against the shape of its input.

    Raises:
        AwsError: SerializationException for wrong types, ValidationException for the rest.
    """
    if shape is not None and (faults := list(_faults(shape, value, ""))):
        plural = "s" if len(faults) > 1 else ""
        raise validation_error(
            f"{len(faults)} validation error{plural} detected: {'; '.join(faults)}"
        )


def _faults(shape: Shape, value: Any, path: str) -> Iterator[str]:  # noqa: ANN401 - JSON
    _check_type(shape, value, path)
    if isinstance(shape, StructureShape):
        yield from _structure_faults(shape, value, path)
    elif isinstance(shape, ListShape):
        yield from _range_faults(shape, value, len(value), path, "length")
        for i, each in enumerate(value, start=1):
            yield from _faults(shape.member, each, f"{path}.{i}.member")
    elif isinstance(shape, MapShape):
        yield from _range_faults(shape, value, len(value), path, "length")
        for key, each in value.items():
            yield from _faults(shape.key, key, f"{path}.key")
            yield from _faults(shape.value, each, f"{path}.{key}")
    elif isinstance(value, str):
        yield from _text_faults(shape, value, path)
    elif not isinstance(value, bool):
        yield from _range_faults(shape, value, value, path, "value")


def _check_type(shape: Shape, value: Any, path: str) -> None:  # noqa: ANN401 - JSON
    wanted = _TYPES[shape.type_name]
    right = isinstance(value, wanted) and (bool in wanted or not isinstance(value, bool))
    if not right:
        raise AwsError(
            "SerializationException",
            f"{path.removeprefix('.') or 'The body'} must be of the type {shape.type_name}, "
            f"got {type(value).__name__}.",
        )
    least, most = _RANGES.get(shape.type_name, (0, 0))
    if least and not least <= value <= most:
        raise AwsError(
            "SerializationException",
            f"{path.removeprefix('.')} must be a {shape.type_name}, from {least} to {most}.",
        )


def _structure_faults(shape: StructureShape, value: dict[str, Any], path: str) -> Iterator[str]:
    for name, member in shape.members.items():
        inner = f"{path}.{name[0].lower()}{name[1:]}"
        if value.get(name) is not None:
            yield from _faults(member, value[name], inner)
        elif name in shape.required_members:
            yield _fault(None, inner, "Member must not be null")


def _range_faults(shape: Shape, value: Any, size: float, path: str, word: str) -> Iterator[str]:  # noqa: ANN401 - JSON
    least, most = shape.metadata.get("min"), shape.metadata.get("max")
    if least is not None and size < least:
        yield _fault(value, path, f"Member must have {word} greater than or equal to {least}")
    if most is not None and size > most:
        yield _fault(value, path, f"Member must have {word} less than or equal to {most}")


def _text_faults(shape: Shape, value: str, path: str) -> Iterator[str]:
    yield from _range_faults(shape, value, len(value), path, "length")
    pattern = shape.metadata.get("pattern")
    if pattern is not None and not _compile_pattern(pattern).fullmatch(value):
        yield _fault(value, path, f"Member must satisfy regular expression pattern: {pattern}")
    enum = shape.metadata.get("enum")
    if enum and value not in enum:
        yield _fault(value, path, f"Member must satisfy enum value set: [{', '.join(enum)}]")


def _fault(value: Any, path: str, wanted: str) -> str:  # noqa: ANN401 - JSON
    shown = "null" if value is None else f"'{str(value)[:200]}'"
    return f"Value {shown} at '{path.removeprefix('.')}' failed to satisfy constraint: {wanted}"


@cache
def _compile_pattern(pattern: str) -> re.Pattern[str]:
    """Return one of AWS's patterns, which are Java's; what Python cannot say matches anything."""
    for java, ours in _CLASSES.items():
        pattern = pattern.replace(java, ours)
    try:
        return re.compile(pattern, re.DOTALL)
    except re.error:
        return re.compile(".*", re.DOTALL)
