"""The options of experiments, in one table for all commands that take them, and their defaults.

Those of inference types are in `deployments`: each type describes its own settings.
"""

import argparse
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, get_args

from workbench.batching.timer import BatchPolicy
from workbench.cli.arguments import argument_type, list_type, parse_policy
from workbench.cli.option_names import option_of
from workbench.cli.output import Arguments
from workbench.traffic.instants import Unit
from workbench.validation import parse_seconds

if TYPE_CHECKING:
    from workbench.cloud.aws import Cloud

Option = Mapping[str, Any]
"""What `argparse` takes for an option."""

MODEL = "digits-mlp-wide"
# the README's
POLICY = BatchPolicy(max_size=8, max_wait=0.025)
TRAFFIC: Mapping[str, Any] = {  # some bursts, over before anybody has to wait
    "rate": 300.0,
    "burst": 6.0,
    "dwell": (4.0, 1.0),
    "duration": 10.0,
    "seed": 1,
}
SLO = (0.1, 0.95)
"""What is taken where nothing is said: what the app begins with."""

FILES = "traffic of a file, or a public trace"
"""The group of what is read."""

TIME: Any = argument_type(parse_seconds)


def time_option(about: str, **more: Any) -> dict[str, Any]:  # noqa: ANN401 - of argparse
    """Return an option that takes a time."""
    return {"type": TIME, "metavar": "TIME", "help": about, **more}


def number_option(about: str, **more: Any) -> dict[str, Any]:  # noqa: ANN401 - of argparse
    """Return an option that takes a number."""
    return {"type": float, "metavar": "NUMBER", "help": about, **more}


def _parse_origin(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text


def _parse_instant(text: str) -> float | str:
    """Return seconds from a trace's beginning, or an instant as it is."""
    return parse_seconds(text) if re.fullmatch(r"[\d.]+\s*[a-z]*", text) else text


HEADER: Mapping[str, Option] = {
    "--header": {
        "action": argparse.BooleanOptionalAction,
        "help": "whether the first line of a CSV names its columns (no, if all are numbers or "
        "times)",
    },
}

ACCOUNT: Mapping[str, Option] = {
    "--aws-profile": {"metavar": "NAME", "help": "of AWS's credentials"},
    "--region": {"help": "of AWS"},
}
"""Which account of AWS is meant."""

OPTIONS: Mapping[str, Mapping[str, Option]] = {
    "traffic": {
        "--rate": {"type": float, "help": "requests a second, on average (300)"},
        "--burst": {
            "type": float,
            "help": "rate in bursts over rate between them (6); 1 is no bursts",
        },
        "--dwell": {
            "type": list_type(parse_seconds, "/"),
            "metavar": "TIME/TIME",
            "help": "mean time between bursts and in one (4s/1s)",
        },
        "--duration": time_option("(10s, or the whole trace)"),
        "--seed": {"type": int, "default": TRAFFIC["seed"], "help": "of all draws (%(default)s)"},
    },
    FILES: {
        "--trace": {
            "metavar": "FILE|NAME",
            "help": "replay a .csv, .jsonl or .parquet file, counts in a .txt, or a public trace",
        },
        "--column": {"help": "of the file's times (found by itself)"},
        **HEADER,
        "--unit": {"choices": get_args(Unit), "help": "of times that are numbers (s)"},
        "--origin": {
            "type": _parse_origin,
            "metavar": "INSTANT|NUMBER",
            "help": "what becomes 0, a number in the file's unit",
        },
        "--sort": {
            "action": "store_true",
            "default": None,
            "help": "put the file's times in order",
        },
        "--trace-duration": time_option("how long the file's trace is (until its last request)"),
        "--start": {
            "type": argument_type(_parse_instant),
            "metavar": "TIME|INSTANT",
            "help": "where the part begins that is sent (0s)",
        },
        "--stop": {
            "type": argument_type(_parse_instant),
            "metavar": "TIME|INSTANT",
            "help": "where it ends (the trace's end)",
        },
        "--share": {"type": float, "help": "of the requests to keep, drawn at random (1)"},
        "--count-period": time_option("how long each of the counts in a text file counted, as 1s"),
    },
    "target": {
        "--slo": time_option("latency target (100ms)", default=SLO[0]),
        "--quantile": {
            "type": float,
            "default": SLO[1],
            "help": "share of requests that must meet it (%(default)s)",
        },
    },
    "bytes": {
        "--row-bytes": number_option(
            "of a row in a request, where the trace does not tell its own (the model's)"
        ),
        "--answer-bytes": number_option("of the answer to a row (the model's)"),
    },
    "batching": {
        "--policy": {
            "type": argument_type(parse_policy),
            "action": "append",
            "metavar": "SIZE/WAIT",
            "help": "largest batch / longest wait for it (8/25ms); 1 is no batching; given several "
            "times, all are tried and compared",
        },
    },
    "time to start": {
        "--cold-start": time_option("what an instance on demand takes to start (no time)"),
        "--boot": time_option(
            "what an instance of a fleet or a job takes (3min in a plan; else as --cold-start, "
            "and where that is not given either, 3min for a job)"
        ),
    },
    "credentials": ACCOUNT,
    "money and credentials": {
        "--cloud": {
            "choices": ("local", "aws"),
            "default": "local",
            "help": "where endpoints and jobs are made: on a cloud of this machine, which costs "
            "nothing, or AWS (%(default)s)",
        },
        **ACCOUNT,
        "--role": {"metavar": "ARN", "help": "that endpoints run under ($WORKBENCH_ROLE_ARN)"},
        "--image": {"metavar": "URI", "help": "that holds the model server ($WORKBENCH_IMAGE)"},
        "--budget": {"type": float, "help": "the most that it may cost, in US dollars"},
        "--yes": {"action": "store_true", "help": "spend without asking"},
    },
}
"""Options by group."""

CHECK: Option = {
    "action": "store_true",
    "help": "exit with status 3 unless each target is surely met, with 4 if a run is invalid",
}


def add_options(
    parser: argparse.ArgumentParser, *groups: str, many: bool = False, **more: Option
) -> None:
    """Add the options of these groups, and more of one's own to the last of them.

    `many` lets each take several values; what is given for none is then None.
    """
    for group in groups:
        options = OPTIONS[group]
        if group == groups[-1]:
            options = {**options, **{option_of(name): each for name, each in more.items()}}
        add_group(parser, group, options, many=many)


def add_group(
    parser: argparse.ArgumentParser,
    title: str,
    options: Mapping[str, Option],
    *,
    many: bool = False,
) -> None:
    """Add options in a group of the help."""
    group = parser.add_argument_group(title)
    for name, option in options.items():
        group.add_argument(name, **_repeat(option) if many else option)


def _repeat(option: Option) -> Option:
    """Return an option that takes several values; a flag stays one."""
    if option.get("action") not in (None, "append"):
        return option
    kept = {name: value for name, value in option.items() if name != "default"}
    return {**kept, "action": "extend", "nargs": "+"}


def add_model(parser: argparse.ArgumentParser) -> None:
    """Add the model, which may be left out."""
    parser.add_argument(
        "model", nargs="?", default=MODEL, help="group, or group:version (%(default)s)"
    )


def account_of(arguments: Arguments) -> "Cloud":
    """Return the account of AWS that the arguments name."""
    from workbench.cloud.aws import aws

    return aws(profile=arguments.aws_profile, region=arguments.region)
