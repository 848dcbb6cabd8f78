"""The command `select`: which model to run, and why."""

import argparse
import math
from typing import Any

from workbench.cli.arguments import add_registry_path, argument_type, parse_value, registry_of
from workbench.cli.option_names import name_options, word_of
from workbench.cli.options import CHECK, FILES, add_options, time_option
from workbench.cli.output import Arguments, show
from workbench.cli.statuses import feasibility_status
from workbench.cli.traffic import read_traffic
from workbench.deployment.base import KINDS
from workbench.ensembles import Ensemble, Member
from workbench.errors import InvalidInput
from workbench.planner.options import CLOUD_KINDS, Options
from workbench.progress import show_progress
from workbench.quantiles import SLO
from workbench.registry.api import Registry
from workbench.routing.cascade import Cascade
from workbench.selection.needs import Bounds
from workbench.selection.search import select

_THRESHOLD = 0.9  # certainty from which on a first answer stays
_CASCADE_KINDS = ("serverless", "lambda")
_KINDS = {word_of(kind): kind for kind in CLOUD_KINDS}


def parse_need(text: str) -> tuple[str, Any]:
    """Return a trait and its value: true or false, a number, or else a text.

    >>> parse_need("task=digits"), parse_need("opset=17")
    (('task', 'digits'), ('opset', 17))
    """
    name, equals, value = text.partition("=")
    if not (name and equals and value):
        raise InvalidInput(f"{text!r} is no need; an example: task=digits")
    return name, parse_value(value)


def parse_bound(text: str) -> tuple[str, float]:
    """Return a trait or figure, and a number.

    >>> parse_bound("size_bytes=1e6")
    ('size_bytes', 1000000.0)
    """
    name, value = parse_need(text)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InvalidInput(f"{text!r} has no number; an example: accuracy=0.9")
    return name, float(value)


def parse_weights(text: str) -> dict[str, float]:
    """Return weights by name.

    >>> parse_weights("accuracy=0.7,cost=0.3")
    {'accuracy': 0.7, 'cost': 0.3}
    """
    try:
        return dict(parse_bound(part) for part in text.split(","))
    except InvalidInput as error:
        raise InvalidInput(f"{text!r} are no weights; an example: accuracy=0.7,cost=0.3") from error


def parse_cascade(text: str) -> tuple[str, str, float]:
    """Return the groups of a small and a large model, and the threshold between them.

    >>> parse_cascade("small,large"), parse_cascade("small,large:2,0.99")
    (('small', 'large', 0.9), ('small', 'large:2', 0.99))
    """
    names = [each.strip() for each in text.split(",")]
    try:
        threshold = float(names[2]) if len(names) > 2 else _THRESHOLD
    except ValueError:
        threshold = math.nan
    if len(names) not in (2, 3) or not all(names[:2]) or not 0 <= threshold <= 1:
        raise InvalidInput(f"{text!r} is no cascade; an example: small,large,0.9")
    return names[0], names[1], threshold


def make_cascade(
    registry: Registry, small: str, large: str, threshold: float, kind: str
) -> Ensemble:
    """Return a cascade of two models, each on an inference type with its usual settings."""
    on = KINDS[kind].example()
    members = {f"{name} on {kind}": Member(registry[name], on) for name in (small, large)}
    return Ensemble(members, Cascade.of(list(members), [threshold]))


def _select(arguments: Arguments) -> int:
    trace = read_traffic(arguments)
    named = [name for small, large, _ in arguments.cascade or () for name in (small, large)]
    needs = _collect_needs(arguments)
    registry = registry_of(arguments, models=[*arguments.models, *named], task=needs.get("task"))
    kinds = [_KINDS[each] for each in arguments.on or _CASCADE_KINDS]
    cascades = [
        make_cascade(registry, small, large, threshold, kind)
        for small, large, threshold in arguments.cascade or ()
        for kind in kinds
    ]
    models = [registry[name] for name in arguments.models] or registry.models()
    with show_progress("Searching") as report:
        found = select(
            [*models, *cascades],
            trace=trace,
            slo=SLO(latency=arguments.slo, quantile=arguments.quantile),
            needs=needs,
            weights=arguments.weights,
            target=arguments.target,
            confidence=arguments.confidence,
            deployments=arguments.on and [_KINDS[each] for each in arguments.on],
            budget=arguments.budget,
            options=Options(
                cold_start=arguments.cold_start,
                row_bytes=arguments.row_bytes,
                answer_bytes=arguments.answer_bytes,
                seed=arguments.seed,
            ),
            measure=arguments.measure,
            progress=report,
            doing=report.begin,
        )
    notes = [name_options(note, arguments) for note in found.notes]
    show(arguments, str(found), found.to_dict(), notes=notes)
    return feasibility_status(arguments, feasible=found.feasible)


def _collect_needs(arguments: Arguments) -> dict[str, Any]:
    """Return needs by trait; a minimum and a maximum of one are one pair of bounds."""
    needs: dict[str, Any] = dict(arguments.need or ())
    lows, highs = dict(arguments.min or ()), dict(arguments.max or ())
    for name in lows | highs:
        if name in needs:
            raise InvalidInput(
                f"{name} is needed to be {needs[name]!r} and bounded: leave one out."
            )
        needs[name] = Bounds(low=lows.get(name), high=highs.get(name))
    return needs


def add_select(parser: argparse.ArgumentParser) -> None:
    """Add `workbench select`."""
    parser.add_argument("models", nargs="*", help="group, or group:version (all approved ones)")
    cascade: Any = argument_type(parse_cascade)
    parser.add_argument(
        "--cascade",
        type=cascade,
        action="append",
        metavar="SMALL,LARGE[,THRESHOLD]",
        help="one candidate more: the large model is asked where the small one is less sure than "
        f"{_THRESHOLD}; on each of --on ({', '.join(_CASCADE_KINDS)}), as in its example",
    )
    needs = parser.add_argument_group("what it must be")
    for name, parse, metavar, what in (
        ("--need", parse_need, "TRAIT=VALUE", "a value that a trait must have"),
        ("--min", parse_bound, "TRAIT=NUMBER", "the least that a trait or figure may be"),
        ("--max", parse_bound, "TRAIT=NUMBER", "the most that a trait or figure may be"),
    ):
        parsed: Any = argument_type(parse)
        needs.add_argument(name, type=parsed, action="append", metavar=metavar, help=what)
    needs.add_argument("--budget", type=float, help="US dollars per million requests")
    add_options(parser, "target", check=CHECK)
    choice = parser.add_argument_group("what decides")
    choice.add_argument(
        "--weights",
        type=argument_type(parse_weights),
        metavar="NAME=WEIGHT,...",
        help="of accuracy or effective_accuracy, latency and cost (all alike)",
    )
    choice.add_argument(
        "--target", type=float, help="instead: the cheapest of at least this accuracy"
    )
    choice.add_argument(
        "--confidence", type=float, default=0.95, help="of reaching it (%(default)s)"
    )
    add_options(parser, "traffic", FILES, "bytes")
    where = parser.add_argument_group("where it may run")
    where.add_argument(
        "--on",
        action="append",
        choices=CLOUD_KINDS,
        help="an inference type (all); may be repeated",
    )
    where.add_argument("--cold-start", **time_option("of an instance on demand (none)"))
    where.add_argument(
        "--no-measure",
        dest="measure",
        action="store_false",
        help="show what is not known yet as unknown, instead of measuring it now",
    )
    add_registry_path(parser)
    parser.set_defaults(command=_select)
