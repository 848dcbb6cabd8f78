"""The command `transform`, and the options of whatever reads a user's tables."""

import argparse
from dataclasses import replace
from pathlib import Path
from typing import get_args

from workbench.cli.arguments import add_registry_path, argument_type, list_type, model_of
from workbench.cli.deployments import add_deployment, base_of, cloud_of
from workbench.cli.options import HEADER, add_group, add_options
from workbench.cli.output import Arguments, show
from workbench.errors import InvalidInput
from workbench.measuring.batch_inference import transform
from workbench.progress import show_progress
from workbench.registry.rows import Missing


def parse_schema(text: str) -> dict[str, str]:
    """Return the types of columns.

    >>> parse_schema("a=float32,id=text")
    {'a': 'float32', 'id': 'text'}
    """
    pairs = [part.partition("=") for part in text.split(",")]
    if not all(name and kind for name, _, kind in pairs):
        raise InvalidInput(f"{text!r} is no schema; an example: a=float32,id=text")
    return {name: kind for name, _, kind in pairs}


def _transform(arguments: Arguments) -> int:
    deployment = base_of(arguments)
    model = model_of(arguments)
    with cloud_of(arguments) as cloud, show_progress("Answering rows") as report:
        done = transform(
            model,
            arguments.data,
            deployment,
            cloud,
            columns=arguments.columns,
            header=arguments.header,
            schema=arguments.schema,
            missing=arguments.missing,
            output=arguments.out,
            budget=arguments.budget,
            yes=arguments.yes,
            progress=report,
        )
    facts = replace(done, outputs=None, path=None, cost=None).__dict__
    cost = None if done.cost is None else done.cost.total
    written = [str(Path(arguments.out).absolute())]
    return show(arguments, repr(done), facts, cost=cost, written=written)


def add_transform(parser: argparse.ArgumentParser) -> None:
    """Add `workbench transform`."""
    parser.add_argument("model", help="group, or group:version")
    parser.add_argument("data", help="a .parquet, .csv, .jsonl or .npy file")
    parser.add_argument(
        *("--out", "--output"),
        required=True,
        metavar="FILE",
        help="a new .parquet or .csv file for rows and answers, or .npy for answers alone",
    )
    parser.add_argument(
        "--columns", type=list_type(str), metavar="A,B", help="that the model takes (all)"
    )
    add_group(parser, "the file", HEADER)
    parser.add_argument(
        "--schema",
        type=argument_type(parse_schema),
        metavar="A=TYPE,B=TYPE",
        help="types of a text file's columns (those that all their cells have)",
    )
    parser.add_argument(
        "--missing",
        choices=get_args(Missing),
        default="refuse",
        help="what becomes of a missing value (%(default)s)",
    )
    add_deployment(parser, simulated=False)
    add_options(parser, "money and credentials")
    add_registry_path(parser)
    parser.set_defaults(command=_transform)
