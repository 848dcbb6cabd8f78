"""Values of a kind with settings, as a command line writes them: `lambda:memory=1769`."""

import contextlib
import json
from collections.abc import Callable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from workbench.cli.option_names import word_of
from workbench.cli.planned_scaling import PlannedScaling, policies_ahead
from workbench.deployment.base import KINDS, Deployment
from workbench.deployment.spill import SPILL_RULES, SpillRule, as_spill_rule
from workbench.errors import InvalidInput, NotFound
from workbench.forecasts.base import Forecaster
from workbench.scaling.base import SCALING_POLICIES, ScalingPolicy, policy_from_dict
from workbench.settings import settings_of
from workbench.validation import parse_seconds, suggest

_FORM = "KIND:SETTING=VALUE,SETTING=VALUE"
_TIMES = {"boot", "interval", "launch_overhead", "window", "season"}
"""Settings that are seconds, of values that do not describe theirs."""

_ON_DEMAND = {kind: each for kind, each in KINDS.items() if each.on_demand}


def parse_scaling(text: str) -> ScalingPolicy | PlannedScaling:
    """Return the scaling policy of a text: kind and settings, or JSON, or a file of it.

    One that plans ahead is a `PlannedScaling`: what an instance can do is found per experiment.

    >>> parse_scaling("target-tracking:target=600,most=4")  # doctest: +ELLIPSIS
    TargetTracking(target=600.0, ...
    """
    planned = policies_ahead()
    data = _parse(text, SCALING_POLICIES | planned)
    if data.get("kind") not in planned:
        return policy_from_dict(data)
    if isinstance(data.get("forecaster"), str):
        data["forecaster"] = parse_forecaster(data["forecaster"])
    return PlannedScaling(data.pop("kind"), data)


def parse_overflow(text: str) -> Deployment:
    """Return the functions of a text; what it does not say is as in their example.

    >>> parse_overflow("lambda:memory=3008").label
    'lambda 3008 MB'
    """
    return _parse_deployment(text, _ON_DEMAND)


def parse_deployment(text: str) -> Deployment:
    """Return the deployment of a text; what it does not say is as in its example.

    >>> parse_deployment("real-time:count=2").label
    'real-time 2 x ml.m5.large'
    """
    return _parse_deployment(text, KINDS)


def _parse_deployment(text: str, kinds: Mapping[str, type[Deployment]]) -> Deployment:
    data = _parse(text, kinds)
    example = kinds[data["kind"]].example().to_dict() if data.get("kind") in kinds else {}
    return Deployment.from_dict(example | data)


def parse_spill(text: str) -> SpillRule:
    """Return the rule of a text, whose one value needs no name.

    >>> parse_spill("in-flight:2").label, parse_spill("hedge:200ms").label
    ('past 2 in flight', 'hedged after 200 ms')
    """
    return as_spill_rule("spill", _parse(text, SPILL_RULES))


def parse_forecaster(text: str) -> Forecaster:
    """Return the forecaster of a text.

    >>> parse_forecaster("seasonal-naive:season=1h").season
    3600.0
    """
    known = forecasters()
    data = _parse(text, known)
    if data.get("kind") not in known:
        raise InvalidInput(f"{text!r} is no forecaster of {', '.join(options_of(known))}")
    made: Forecaster = known[data.pop("kind")](**data)
    return made


def forecasters() -> dict[str, Any]:
    """Return the forecasters that learn from counts, by kind."""
    from workbench import forecasts

    known = (getattr(forecasts, name) for name in forecasts.__all__)
    return {each.kind: each for each in known if hasattr(each, "window")}


def options_of(kinds: Mapping[str, Any]) -> list[str]:
    """Return kinds as they are written here."""
    return [word_of(kind) for kind in kinds]


def describe_kinds(kinds: Mapping[str, Any]) -> str:
    """Return kinds and their settings for a help text.

    >>> describe_kinds({"hedge": SPILL_RULES["hedge"]})
    'hedge (after)'
    """
    each = (f"{word_of(kind)} ({', '.join(_names(of))})" for kind, of in kinds.items())
    return "; ".join(each)


def _parse(text: str, kinds: Mapping[str, Any]) -> dict[str, Any]:
    """Return kind and settings of a text, of JSON, or of a file of JSON."""
    stripped = text.strip()
    if stripped.endswith(".json"):
        return _parse_json(_read(Path(stripped)), stripped)
    if stripped.startswith("{"):
        return _parse_json(stripped, stripped)
    name, _, rest = stripped.partition(":")
    named = {word_of(kind): kind for kind in kinds}
    if name not in named:
        near = suggest(name, named)
        raise InvalidInput(f"{text!r} has no kind of {', '.join(named)}; it is {_FORM}.{near}")
    data: dict[str, Any] = {"kind": named[name]}
    for part in filter(None, rest.split(",")):
        setting, value = _parse_setting(part, kinds[named[name]], text)
        data[setting] = value
    return data


def _parse_setting(part: str, kind: Any, text: str) -> tuple[str, Any]:  # noqa: ANN401 - a class
    """Return a setting's name, which may be cut short, and its value."""
    known = _names(kind)
    name, equals, value = (each.strip() for each in part.partition("="))
    if not equals and len(known) == 1:
        name, value = known[0], name
    found = [name] if name in known else [each for each in known if name and each.startswith(name)]
    if len(found) != 1 or not value:
        raise InvalidInput(
            f"{part!r} of {text!r} is no setting of {', '.join(known)}; it is {_FORM}."
            f"{suggest(name, known)}"
        )
    kinds = {each.name: str(each.type) for each in fields(kind)}
    many = kinds[found[0]].startswith(("Sequence", "collections.abc.Sequence", "tuple"))
    described = settings_of(kind).get(found[0])
    is_time = found[0] in _TIMES if described is None else described.is_time
    parse: Callable[[str], Any] = parse_seconds if is_time else _parse_word
    return found[0], tuple(map(parse, value.split("/"))) if many else parse(value)


def _names(kind: Any) -> list[str]:  # noqa: ANN401 - a class
    """Return the settings of a kind: those that are described, else its fields."""
    return list(settings_of(kind)) or [each.name for each in fields(kind) if each.init]


def _parse_word(word: str) -> Any:  # noqa: ANN401 - a number, true or false, a time, or a text
    for parse in (json.loads, parse_seconds):
        with contextlib.suppress(ValueError):
            return parse(word)
    return word


def _parse_json(text: str, name: str) -> dict[str, Any]:
    try:
        data = json.loads(text)
    except ValueError as error:
        raise InvalidInput(f"{name} is not JSON: {error}") from error
    if not isinstance(data, dict):
        raise InvalidInput(f"{name} must be an object of kind and settings, got {data!r}")
    return data


def _read(path: Path) -> str:
    if not path.is_file():
        raise NotFound(f"There is no file {path}.")
    try:
        return path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInput(f"{path} cannot be read: {error}") from error
