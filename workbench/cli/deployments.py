"""The options that say where a model runs, made of what the inference types say of themselves."""

import argparse
import contextlib
import dataclasses
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, get_args

from workbench.cli.arguments import argument_type, parse_whole_seconds
from workbench.cli.option_names import option_of, word_of
from workbench.cli.options import TIME, Option, add_group, add_options
from workbench.cli.output import Arguments, pick_given
from workbench.cli.planned_scaling import policies_ahead
from workbench.cli.values import describe_kinds, parse_overflow, parse_scaling, parse_spill
from workbench.deployment import KINDS, Deployment, Hybrid
from workbench.deployment.spill import SPILL_RULES
from workbench.errors import InvalidInput
from workbench.scaling import SCALING_POLICIES
from workbench.settings import settings_of

if TYPE_CHECKING:
    from workbench.cloud.aws import Cloud

KIND_OPTIONS = {word_of(kind): each for kind, each in KINDS.items()}
"""The inference types as they are written here."""


def add_deployment(
    parser: argparse.ArgumentParser,
    *,
    default: str | None = "local",
    simulated: bool = True,
    many: bool = False,
) -> None:
    """Add inference type and settings; some of them are only simulated."""
    types: Option = {"choices": tuple(KIND_OPTIONS), "default": default}
    types = {**types, "help": f"the inference type ({default or 'as it is'})"}
    options = {"--on": types, **_list_settings(simulated=simulated)}
    add_group(parser, "where it runs", options, many=many)


def add_scaling(parser: argparse.ArgumentParser) -> None:
    """Add the options of fleets that change size, and of functions for the rest."""
    form = "KIND:SETTING=VALUE,..."
    options: dict[str, Option] = {
        "--scaling": {
            "type": argument_type(parse_scaling),
            "metavar": f"{form}|FILE.json",
            "help": "what the number of instances follows: "
            f"{describe_kinds(SCALING_POLICIES)}; planned ahead, by what --slo lets an instance do "
            f"or its capacity in requests a second: {describe_kinds(policies_ahead())}",
        },
        "--overflow": {
            "type": argument_type(parse_overflow),
            "metavar": form,
            "help": "functions that take what the instances do not, as lambda:memory=1769",
        },
        "--spill": {
            "type": argument_type(parse_spill),
            "metavar": form,
            "help": f"when they do (in-flight:1): {describe_kinds(SPILL_RULES)}",
        },
    }
    add_group(parser, "how many instances, and functions for the rest", options)


def add_place(parser: argparse.ArgumentParser, *, simulated: bool = False) -> None:
    """Add all that says where a model runs, how its size changes, and what it may cost."""
    add_deployment(parser, simulated=simulated)
    add_scaling(parser)
    add_options(parser, "time to start" if simulated else "money and credentials")


def _list_settings(*, simulated: bool) -> dict[str, Option]:
    options: dict[str, dict[str, Any]] = {}
    lines: dict[str, dict[str, list[str]]] = {}
    for kind_option, kind in KIND_OPTIONS.items():
        example = kind.example()
        types = {each.name: each.type for each in dataclasses.fields(kind)}
        for name, described in settings_of(kind).items():
            if described.only_simulated and not simulated:
                continue
            begins = _describe_default(getattr(example, name), is_time=described.is_time)
            at = lines.setdefault(name, {}).setdefault(described.about, [])
            at.append(f"{kind_option}{begins}")
            parse = _find_type(types[name])
            options[name] = {"type": parse, "metavar": _name_type(parse, described.choices)}
            if described.is_time:
                time = argument_type(parse_whole_seconds) if parse is int else TIME
                options[name] = {"type": time, "metavar": "TIME"}
    return {
        option_of(name): {
            **option,
            "help": "; ".join(f"{about} ({', '.join(on)})" for about, on in lines[name].items()),
        }
        for name, option in options.items()
    }


def _find_type(annotation: object) -> type:
    """Return the type that a setting is parsed as: int for `int | None`."""
    kinds = (annotation, *get_args(annotation))
    return next(each for each in (int, float, str) if each in kinds)


def _name_type(parse: type, choices: tuple[Any, ...]) -> str:
    if choices and len(choices) <= 4:
        return "|".join(map(str, choices))
    return "NAME" if parse is str else "NUMBER"


def _describe_default(value: object, *, is_time: bool) -> str:
    """Return what a setting begins with as the help says it; "" where that is nothing."""
    if value is None:
        return ""
    if isinstance(value, tuple):
        return f": {','.join(map(str, value))}"
    number = isinstance(value, int | float)
    return f": {value:g}{'s' * is_time}" if number else f": {value}"


def deployment_of(arguments: Arguments) -> Deployment:
    """Return the deployment that the arguments describe, a hybrid where functions overflow.

    Raises:
        InvalidInput: The options do not go together, or a setting is out of its limits.
    """
    base = base_of(arguments)
    if arguments.overflow is not None:
        return Hybrid(base=base, overflow=arguments.overflow, **pick_given(arguments, "spill"))
    if arguments.spill is not None:
        raise InvalidInput("--spill says when --overflow is used: give that, too.")
    return base


def base_of(arguments: Arguments) -> Deployment:
    """Return the inference type and settings that the arguments describe, the rest as it begins.

    Raises:
        InvalidInput: The inference type has no such setting, or it is out of its limits.
    """
    kind = KIND_OPTIONS[arguments.on]
    settings, own = _read_settings(arguments), settings_of(kind)
    if wrong := [name for name in settings if name not in own]:
        has = ", ".join(map(option_of, own))
        raise InvalidInput(
            f"{option_of(wrong[0])} is no option of --on {arguments.on}, which has {has}."
        )
    return dataclasses.replace(kind.example(), **settings)


def _read_settings(arguments: Arguments) -> Mapping[str, Any]:
    """Return the settings of any inference type that were given."""
    names = dict.fromkeys(name for kind in KIND_OPTIONS.values() for name in settings_of(kind))
    return pick_given(arguments, *(name for name in names if name in arguments))


@contextlib.contextmanager
def cloud_of(arguments: Arguments) -> "Iterator[Cloud | None]":
    """Yield the cloud that the arguments name, where one is needed."""
    if not KIND_OPTIONS[arguments.on].needs:
        yield None
    elif arguments.cloud == "aws":
        from workbench.cloud.aws import aws

        named = {name: getattr(arguments, name) for name in ("region", "role", "image")}
        yield aws(profile=arguments.aws_profile, **named)
    else:
        from workbench.localcloud import LocalCloud

        with LocalCloud() as cloud:
            yield cloud
