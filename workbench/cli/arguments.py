"""How arguments are written, and how commands are made of them."""

import argparse
import re
from collections.abc import Callable
from typing import Any, NoReturn, TypeVar

from workbench.batching.timer import BatchPolicy
from workbench.cli.output import Arguments
from workbench.errors import InvalidInput
from workbench.files import home
from workbench.registry.api import Registry

T = TypeVar("T")

_UNITS = {"us": 1e6, "ms": 1e3, "s": 1.0, "": 1.0, "min": 1 / 60, "h": 1 / 3600}


class Parser(argparse.ArgumentParser):
    """Raises what it refuses, so that every error is shown in the same way."""

    def error(self, message: str) -> NoReturn:
        """Raise what is wrong with the arguments."""
        raise InvalidInput(f"{message}. See {self.prog} --help.")


def argument_type(parse: Callable[[str], T]) -> Callable[[str], T]:
    """Return a parser of one argument whose errors keep their words."""

    def parse_or_refuse(text: str) -> T:
        try:
            return parse(text)
        except InvalidInput as error:
            raise argparse.ArgumentTypeError(str(error).rstrip(".")) from error

    return parse_or_refuse


def parse_seconds(text: str) -> float:
    """Return a time in seconds; it may have a unit: us, ms, s, min or h.

    >>> parse_seconds("25ms"), parse_seconds("2 min"), parse_seconds("10")
    (0.025, 120.0, 10.0)
    """
    match = re.fullmatch(r"(\S*?[\d.]|[+-]?(?:nan|inf))\s*(us|ms|s|min|h|)", text.strip())
    try:
        return float(match[1]) / _UNITS[match[2]]  # type: ignore[index]
    except (TypeError, ValueError):
        raise InvalidInput(f"{text!r} is not a valid time; examples: 25ms, 0.1s, 2min") from None


def parse_policy(text: str) -> BatchPolicy:
    """Return a policy written as SIZE/WAIT; a size alone waits for no others.

    >>> parse_policy("8/25ms").label, parse_policy("1").label
    ('up to 8, 25 ms', 'no batching')
    """
    size, _, wait = text.partition("/")
    if not size.strip("+-").isdecimal():
        raise InvalidInput(f"{text!r} is not a valid policy; examples: 1, 16, 16/20ms")
    return BatchPolicy(max_size=parse_integer(size), max_wait=parse_seconds(wait or "0"))


def parse_integer(text: str) -> int:
    """Return a whole number."""
    try:
        return int(text)
    except ValueError:
        raise InvalidInput(f"{text!r} is not a whole number") from None


def parse_integers(text: str) -> tuple[int, ...]:
    """Return whole numbers that stand between commas."""
    return tuple(parse_integer(part) for part in text.split(","))


def parse_dwell_times(text: str) -> tuple[float, ...]:
    """Return times that stand between slashes."""
    return tuple(parse_seconds(part) for part in text.split("/"))


_EXAMPLES = {
    "": """
  workbench demo
  workbench run digits-mlp-wide --rate 200 --policy 1 --policy 16/20ms --slo 100ms
  workbench registry list""",
    "demo": """
  workbench demo
  workbench demo --duration 20s --out reports/longer
  workbench demo --json > demo.json""",
    "run": """
  workbench run digits-mlp-wide --rate 200 --burst 6 --policy 1 --policy 16/20ms --slo 100ms
  workbench run digits-forest:1 --rate 500 --duration 30s --workers 2 --out runs/forest
  workbench run digits-mlp-large --trace arrivals.csv --policy 8/25ms
  workbench run digits-mlp-large --trace log.jsonl --column ts --unit ms
  workbench run digits-mlp-large --trace counts.txt --count-period 1s --rate 50
  workbench run digits-mlp-large --rate 50 --on serverless --memory-mb 2048 --max-concurrency 20
  workbench run digits-mlp-large --rate 50 --on real-time --instance-type ml.m5.large --cloud aws
  workbench run digits-mlp-large --rate 50 --on batch-transform --instance-type ml.m5.large
  workbench run digits-mlp-large --trace azure-llm-2023-code --rate 100 --duration 60s""",
    "simulate": """
  workbench simulate digits-mlp-wide --rate 300 --burst 6 --policy 1 --policy 16/20ms --slo 100ms
  workbench simulate digits-mlp-large --trace azure-llm-2023-code --rate 200 \\
    --on real-time --instance-type ml.m5.large --scaling target-tracking:target=600,most=4
  workbench simulate digits-mlp-large --rate 200 --burst 8 --on real-time \\
    --instance-type ml.m5.large --overflow lambda:memory=1769 --spill in-flight:2 --json""",
    "plan": """
  workbench plan digits-mlp-large --rate 50 --slo 100ms
  workbench plan digits-mlp-large --trace azure-llm-2023-code --slo 200ms --on lambda --json
  workbench plan digits-mlp-large --rate 200 --burst 8 --duration 2h --slo 200ms --scaled \\
    --hybrid --forecaster persistence --forecaster ridge:season=1h""",
    "idle": """
  workbench idle my-endpoint --since 14 --cold-start 4s
  workbench idle --trace arrivals.csv --on serverless --memory-mb 2048 --max-concurrency 20
  workbench idle --trace log.jsonl --on real-time --instance-type ml.m5.large --hours 8-18""",
    "profile": """
  workbench profile digits-mlp-wide
  workbench profile digits-forest --batch-sizes 1,8,64 --threads 1,2 --out profiles/forest""",
    "transform": """
  workbench transform digits-mlp-wide rows.csv --output answers.parquet
  workbench transform my-model rows.csv --columns a,b --schema id=text --output answers.parquet""",
    "serve": """
  workbench serve digits-mlp-wide --port 8000
  workbench serve digits-logistic,digits-mlp-wide --router cascade --threshold 0.99
  curl --data-binary @rows.csv -H 'Content-Type: text/csv' http://127.0.0.1:8000/invocations""",
    "report": """
  workbench report reports/demo/no-batching reports/demo/batching --profile reports/demo/profile
  workbench report runs/forest/no-batching --out forest.html --title "Random forest"
  workbench report runs/a runs/b --notebook report.ipynb -p region=eu-central-1""",
    "runs": """
  workbench runs
  workbench runs --delete digits-mlp-wide-20261126-101500-3fa2""",
    "app": """
  workbench app
  workbench app --preset cold-starts --ip 0.0.0.0 --port 8080""",
    "local-cloud": """
  workbench local-cloud
  workbench local-cloud --path clouds/mine --port 4566
  workbench local-cloud --cold-start snapshot --keep-alive 30s""",
    "teardown": """
  workbench teardown --list
  workbench teardown""",
    "doctor": """
  workbench doctor digits-mlp-wide
  workbench doctor digits-mlp-wide:1 --rows 64 --json""",
    "prices": """
  workbench prices
  workbench prices show --region eu-central-1 --json
  workbench prices refresh
  workbench prices refresh --region eu-central-1 --aws-profile mine""",
    "select": """
  workbench select --need task=digits --min accuracy=0.9 --slo 50ms --rate 100
  workbench select --need task=digits --max size_bytes=1e6 --slo 50ms --trace arrivals.csv \\
    --weights accuracy=0.7,cost=0.3 --json
  workbench select digits-logistic digits-forest --slo 50ms --rate 100 --target 0.95""",
    "registry": """
  workbench registry list
  workbench registry register my-model model.onnx --task fraud --why "first try"
  workbench registry approve my-model:1 --why "tested on last week's data"
  workbench registry history my-model:1
  workbench registry verify""",
}


def help_settings(command: str) -> dict[str, Any]:
    """Return how a command's help ends: with its examples."""
    return {
        "epilog": f"examples:{_EXAMPLES[command]}",
        "formatter_class": argparse.RawDescriptionHelpFormatter,
        "allow_abbrev": False,
    }


def subparser(commands: Any, name: str, about: str, **settings: Any) -> argparse.ArgumentParser:  # noqa: ANN401 - argparse does not name the kind
    """Return a new command, with the options that all have."""
    parser: argparse.ArgumentParser = commands.add_parser(
        name, help=about, description=f"{about[0].upper()}{about[1:]}.", **settings
    )
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")
    parser.add_argument("--traceback", action="store_true", help="show where an error came from")
    return parser


def add_price(parser: argparse.ArgumentParser, *, default: float) -> None:
    """Add the option for this machine's price."""
    parser.add_argument(
        "--hourly-price",
        type=float,
        default=default,
        help="what this machine costs in US dollars an hour, by your account (%(default)s)",
    )


def add_registry_path(parser: argparse.ArgumentParser) -> None:
    """Add the option for the registry's folder."""
    parser.add_argument(
        "--registry", metavar="FOLDER", help="a registry of your own (the user's, which is filled)"
    )


def registry_of(arguments: Arguments, *, fill: bool = True) -> Registry:
    """Return the registry that the arguments name; the user's is filled first, by default."""
    path = arguments.registry
    if path is None and not fill:
        path = home() / "registry"
    return Registry(path)


def version_of(name: str) -> tuple[str, int]:
    """Group and version of a name that has to tell both."""
    group, _, number = name.partition(":")
    if not number.isdecimal():
        raise InvalidInput(f"Name a version, as in {group}:1; got {name!r}.")
    return group, int(number)


def add_header(parser: Any) -> None:  # noqa: ANN401 - a parser or a group of its options
    """Add the option that says whether a CSV has a header."""
    parser.add_argument(
        "--header",
        action=argparse.BooleanOptionalAction,
        help="whether the first line of a CSV names its columns (no, if all are numbers or times)",
    )
