"""The command `transform`, and the options of whatever reads a user's tables."""

from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

from workbench.cli.arguments import (
    add_header,
    add_registry_path,
    argument_type,
    help_settings,
    registry_of,
    subparser,
)
from workbench.cli.cloud import add_deployment_options, cloud_of, deployment_of
from workbench.cli.output import Arguments, print_json, print_text
from workbench.errors import InvalidInput
from workbench.measuring.batch_inference import transform
from workbench.progress import show_progress
from workbench.registry.rows import Missing


def parse_columns(text: str) -> tuple[str, ...]:
    """Return names that stand between commas."""
    return tuple(text.split(","))


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
    deployment = deployment_of(arguments)
    model = registry_of(arguments)[arguments.model]
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
            output=arguments.output,
            budget=arguments.budget,
            yes=arguments.yes,
            progress=report,
        )
    if arguments.json:
        facts = replace(done, outputs=None, path=None, cost=None).__dict__
        cost = None if done.cost is None else done.cost.total
        print_json({**facts, "path": str(Path(arguments.output).absolute()), "cost": cost})
    print_text(arguments, f"{done!r}")
    return 0


def add_transform(commands: Any) -> None:  # noqa: ANN401
    """Add `workbench transform`."""
    about = "have a model answer every row of a file"
    parser = subparser(commands, "transform", about, **help_settings("transform"))
    parser.add_argument("model", help="group, or group:version")
    parser.add_argument("data", help="a .parquet, .csv, .jsonl or .npy file")
    parser.add_argument(
        "--output",
        required=True,
        metavar="FILE",
        help="a new .parquet file for rows and answers, or .npy for answers alone",
    )
    parser.add_argument(
        "--columns", type=parse_columns, metavar="A,B", help="that the model takes (all)"
    )
    add_header(parser)
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
    add_deployment_options(parser)
    add_registry_path(parser)
    parser.set_defaults(command=_transform)
