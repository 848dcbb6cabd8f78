"""The command `idle`: warm or cold, of an endpoint or of traffic."""

import argparse
import re
from datetime import timedelta

from workbench.cli.arguments import argument_type
from workbench.cli.deployments import add_deployment, base_of
from workbench.cli.options import FILES, account_of, add_options, number_option, time_option
from workbench.cli.output import Arguments, pick_given, show
from workbench.cli.traffic import is_traffic_given, read_traffic
from workbench.errors import InvalidInput
from workbench.idleness import idle_report

_ASKED = "hours", "call_seconds", "cold_start", "accept", "row_bytes", "answer_bytes"


def parse_hours(text: str) -> tuple[int, int]:
    """Return two hours of the day, from and until.

    >>> parse_hours("22-6")
    (22, 6)
    """
    if not (match := re.fullmatch(r"(\d{1,2})-(\d{1,2})", text.strip())):
        raise InvalidInput(f"{text!r} are no hours of the day; an example: 8-18")
    return int(match[1]), int(match[2])


def _idle(arguments: Arguments) -> int:
    settings = pick_given(arguments, *_ASKED)
    deployment = base_of(arguments) if arguments.on else None
    if bool(arguments.endpoint) == is_traffic_given(arguments):
        raise InvalidInput("Say what is idle: an endpoint, or traffic (--trace or --rate).")
    if arguments.endpoint:
        cloud = account_of(arguments)
        since = timedelta(seconds=arguments.since)
        found = idle_report(arguments.endpoint, deployment, cloud=cloud, since=since, **settings)
    else:
        settings |= pick_given(arguments, "begins")
        found = idle_report(read_traffic(arguments), deployment, **settings)
    facts = found.to_dict()
    return show(arguments, str(found), {"sentence": facts.pop("advice"), **facts})


def add_idle(parser: argparse.ArgumentParser) -> None:
    """Add `workbench idle`."""
    parser.add_argument(
        "endpoint", nargs="?", help="an endpoint on AWS, whose calls CloudWatch counted"
    )
    parser.add_argument("--since", **time_option("so long back (14d)", default=14 * 86_400.0))
    add_options(parser, "credentials", "traffic", FILES)
    parser.add_argument("--begins", type=float, help="hour of the day of the traffic's start (0)")
    add_deployment(parser, default=None)
    report = parser.add_argument_group("what is asked")
    report.add_argument(
        "--hours",
        type=argument_type(parse_hours),
        metavar="FROM-UNTIL",
        help="of the day, for which a schedule keeps an instance (those of most calls)",
    )
    row = "of a row in a call, where the trace does not tell its own (not billed)"
    for name, option in {
        "--call-seconds": time_option("what a call takes (as CloudWatch says; 0.1s)"),
        "--cold-start": time_option("what a cold call waits (unknown)"),
        "--row-bytes": number_option(row),
        "--answer-bytes": number_option("of the answer to a row (not billed)"),
    }.items():
        report.add_argument(name, **option)
    report.add_argument("--accept", type=float, help="the share of cold calls that may be (0.01)")
    parser.set_defaults(command=_idle)
