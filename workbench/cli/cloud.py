"""The commands of clouds, and the options that say where a model runs."""

import argparse
import contextlib
import dataclasses
import os
import shlex
import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any, get_args

from workbench.cli.arguments import (
    add_registry_path,
    argument_type,
    help_settings,
    parse_integer,
    parse_seconds,
    registry_of,
    subparser,
)
from workbench.cli.output import Arguments, announce, print_json, print_text
from workbench.cli.planned_scaling import policies_ahead
from workbench.cli.values import (
    describe_kinds,
    parse_overflow,
    parse_scaling,
    parse_spill,
)
from workbench.cloud.aws import Cloud, aws
from workbench.cloud.deploy import teardown
from workbench.cloud.doctor import examine
from workbench.cloud.ledger import Ledger, LedgerEntry
from workbench.deployment import KEEP_ALIVE, KINDS, Deployment, Hybrid
from workbench.deployment.spill import SPILL_RULES
from workbench.errors import InvalidInput
from workbench.formatting import Table, dollars
from workbench.localcloud import LocalCloud
from workbench.localcloud.core.settings import ColdStart
from workbench.scaling import SCALING_POLICIES
from workbench.settings import settings_of

_EXIT_UNFIT = 1
_KINDS = {kind.replace(" ", "-"): each for kind, each in KINDS.items()}


def add_deployment_options(parser: argparse.ArgumentParser, *, simulated: bool = False) -> None:
    """Add the options that say where a model runs, how its size changes, and what it may cost."""
    group = add_deployment_settings(parser, simulated=simulated)
    _add_scaling_options(parser)
    if simulated:
        group.add_argument(
            "--cold-start",
            type=argument_type(parse_seconds),
            help="what a new instance takes to start (no time)",
        )
        group.add_argument(
            "--boot",
            type=argument_type(parse_seconds),
            help="what an instance of a fleet takes, where functions differ (as --cold-start)",
        )
        return
    group.add_argument(
        "--cloud",
        choices=("local", "aws"),
        default="local",
        help="where endpoints and jobs are made: on a cloud of this machine, which costs nothing, "
        "or AWS (%(default)s)",
    )
    group.add_argument("--aws-profile", metavar="NAME", help="of AWS's credentials")
    group.add_argument("--region", help="of AWS")
    group.add_argument("--budget", type=float, help="the most that it may cost, in US dollars")
    group.add_argument("--yes", action="store_true", help="spend without asking")


def add_deployment_settings(
    parser: argparse.ArgumentParser, *, default: str | None = "local", simulated: bool = True
) -> Any:  # noqa: ANN401 - argparse does not name the kind
    """Add inference type and settings, in a group that is returned; some are only simulated."""
    group = parser.add_argument_group("where it runs")
    group.add_argument(
        "--on", choices=tuple(_KINDS), default=default, help=f"({default or 'as it is'})"
    )
    for name, (parse, about) in _settings(simulated=simulated).items():
        group.add_argument(f"--{name.replace('_', '-')}", type=parse, help=about)
    return group


def _add_scaling_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of fleets that change size, and of functions for the rest."""
    group = parser.add_argument_group("how many instances, and functions for the rest")
    group.add_argument(
        "--scaling",
        type=argument_type(parse_scaling),
        metavar="KIND:SETTING=VALUE,...|FILE.json",
        help=f"what the number of instances follows: {describe_kinds(SCALING_POLICIES)}; "
        "planned ahead, by what --slo lets an instance do or its capacity in requests a second: "
        f"{describe_kinds(policies_ahead())}",
    )
    group.add_argument(
        "--overflow",
        type=argument_type(parse_overflow),
        metavar="KIND:SETTING=VALUE,...",
        help="functions that take what the instances do not, as lambda:memory=1769",
    )
    group.add_argument(
        "--spill",
        type=argument_type(parse_spill),
        metavar="KIND:SETTING=VALUE,...",
        help=f"when they do (in-flight:1): {describe_kinds(SPILL_RULES)}",
    )


def _settings(*, simulated: bool = False) -> dict[str, tuple[Callable[[str], Any], str]]:
    """Return the settings of all inference types: how each is parsed, and what the help says."""
    parsers: dict[str, Callable[[str], Any]] = {}
    lines: dict[str, dict[str, list[str]]] = {}
    for option, kind in _KINDS.items():
        known = {each.name: each for each in dataclasses.fields(kind)}
        for name, described in settings_of(kind).items():
            if described.only_simulated and not simulated:
                continue
            parsers[name] = (
                argument_type(parse_seconds) if described.is_time else _parser(known[name])
            )
            lines.setdefault(name, {}).setdefault(described.about, []).append(
                f"{option}{_default(known[name])}"
            )
    return {
        name: (parse, "; ".join(f"{about} ({', '.join(on)})" for about, on in lines[name].items()))
        for name, parse in parsers.items()
    }


def _parser(setting: "dataclasses.Field[Any]") -> type:
    """Return the type that a setting is parsed as: int for `int | None`."""
    kinds = (setting.type, *get_args(setting.type))
    return next(each for each in (int, float, str) if each in kinds)


def _default(setting: "dataclasses.Field[Any]") -> str:
    """Return a setting's default as the help tells it; "" where it has none."""
    open_ = setting.default is dataclasses.MISSING or setting.default is None
    return "" if open_ else f": {setting.default}"


def deployment_of(arguments: Arguments) -> Deployment:
    """Return the deployment that the arguments describe, a hybrid where functions overflow."""
    base = base_of(arguments)
    if arguments.overflow is None:
        if arguments.spill is not None:
            raise InvalidInput("--spill says when --overflow is used: give that, too.")
        return base
    rule = {} if arguments.spill is None else {"spill": arguments.spill}
    return Hybrid(base=base, overflow=arguments.overflow, **rule)


def base_of(arguments: Arguments) -> Deployment:
    """Return the inference type and settings that the arguments describe."""
    given = {name: getattr(arguments, name, None) for name in _settings(simulated=True)}
    settings = {name: value for name, value in given.items() if value is not None}
    return Deployment.from_dict({"kind": _KINDS[arguments.on].kind, **settings})


@contextlib.contextmanager
def cloud_of(arguments: Arguments) -> Iterator[Cloud | None]:
    """Yield the cloud that the arguments name, where one is needed."""
    if not _KINDS[arguments.on].needs:
        yield None
    elif arguments.cloud == "aws":
        yield aws(profile=arguments.aws_profile, region=arguments.region)
    else:
        with LocalCloud() as cloud:
            yield cloud


def _local_cloud(arguments: Arguments) -> int:
    ended = threading.Event()
    with (
        set_on_signal(ended),
        LocalCloud(
            arguments.path,
            port=arguments.port,
            cold_start=arguments.cold_start,
            keep_alive=arguments.keep_alive,
        ) as cloud,
    ):
        environment = cloud.environment()
        if arguments.json:
            print_json({"url": cloud.url, "path": str(cloud.path), "environment": environment})
        exports = [f"export {name}={shlex.quote(value)}" for name, value in environment.items()]
        print_text(arguments, "\n".join([f"# A cloud of this machine, at {cloud.url}", *exports]))
        announce("It answers whoever has this key; the next start makes another. Ctrl-C ends it.")
        ended.wait()
    return 0


@contextlib.contextmanager
def set_on_signal(ended: threading.Event) -> Iterator[None]:
    """Let Ctrl-C and SIGTERM set `ended` instead of what they do."""

    def end(_: int, __: FrameType | None) -> None:
        ended.set()

    usual = {number: signal.signal(number, end) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in usual.items():
            signal.signal(number, handler)


def _teardown(arguments: Arguments) -> int:
    ledger = Ledger()
    entries = ledger.entries() if arguments.list else teardown(ledger, names=tuple(arguments.names))
    if arguments.json:
        print_json({"ended": not arguments.list, "deployments": [_facts(each) for each in entries]})
        return 0
    if entries:
        rows = [list(_facts(each).values()) for each in entries]
        print(Table(list(_facts(entries[0])), rows))
    state = f"{len(entries)} may be running" if arguments.list else f"{len(entries)} ended"
    paid = sum(each.hourly for each in entries if each.cloud.paid)
    print_text(arguments, f"{state}, {dollars(paid)} an hour." if entries else f"{state}.")
    return 0


def _facts(entry: LedgerEntry) -> dict[str, Any]:
    return {
        "name": entry.name,
        "what": entry.what,
        "cloud": f"{entry.cloud.name} {entry.cloud.region}",
        "dollars an hour": entry.hourly if entry.cloud.paid else 0.0,
        "since": entry.since,
        "process": f"{entry.pid}{'' if _is_alive(entry.pid) else ' (gone)'}",
    }


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _doctor(arguments: Arguments) -> int:
    found = examine(
        registry_of(arguments)[arguments.model], threads=arguments.threads, rows=arguments.rows
    )
    if arguments.json:
        print_json(found.to_dict())
    print_text(arguments, str(found))
    return 0 if found.ok else _EXIT_UNFIT


def add_doctor(commands: Any) -> None:  # noqa: ANN401
    """Add `workbench doctor`."""
    about = "check that a model can be served as AWS serves models, before any deploy"
    parser = subparser(commands, "doctor", about, **help_settings("doctor"))
    parser.add_argument("model", metavar="MODEL", help="group, or group:version")
    parser.add_argument(
        "--rows", type=argument_type(parse_integer), default=16, help="of a batch (%(default)s)"
    )
    parser.add_argument(
        "--threads", type=argument_type(parse_integer), default=1, help="of a run (%(default)s)"
    )
    add_registry_path(parser)
    parser.set_defaults(command=_doctor)


def add_local_cloud(commands: Any) -> None:  # noqa: ANN401
    """Add `workbench local-cloud`."""
    about = "answer as AWS does, on this machine, until Ctrl-C"
    parser = subparser(commands, "local-cloud", about, **help_settings("local-cloud"))
    parser.add_argument("--path", metavar="FOLDER", help="keep everything here (else it is gone)")
    parser.add_argument("--port", type=int, default=0, help="(one that is free)")
    parser.add_argument(
        "--cold-start",
        choices=get_args(ColdStart),
        default="fresh",
        help="of a serverless instance: a new process, one with the runtime imported, or one with "
        "the model loaded (%(default)s)",
    )
    parser.add_argument(
        "--keep-alive",
        type=argument_type(parse_seconds),
        default=KEEP_ALIVE,
        help="of an idle serverless instance (10min)",
    )
    parser.set_defaults(command=_local_cloud)


def add_teardown(commands: Any) -> None:  # noqa: ANN401
    """Add `workbench teardown`."""
    about = "end what a crash left running on clouds"
    parser = subparser(commands, "teardown", about, **help_settings("teardown"))
    parser.add_argument("names", nargs="*", metavar="NAME", help="of deployments (all)")
    parser.add_argument("--list", action="store_true", help="only show what may be running")
    parser.set_defaults(command=_teardown)
