"""The command `plan`: the cheapest way to meet a target, and why the others lost."""

import argparse
import re
import textwrap
from collections.abc import Mapping
from dataclasses import fields
from datetime import UTC, datetime
from typing import Any

from workbench.batching.timer import BatchPolicy
from workbench.cli.arguments import (
    add_registry_path,
    argument_type,
    list_type,
    model_of,
    parse_integer,
    parse_policy,
)
from workbench.cli.files import TABLE_FORMATS, check_table, write_table
from workbench.cli.option_names import name_options, option_of, word_of
from workbench.cli.options import CHECK, FILES, TIME, Option, add_group, add_model, add_options
from workbench.cli.output import Arguments, pick_given, show
from workbench.cli.results import WIDTH
from workbench.cli.simulate_line import write_check
from workbench.cli.statuses import check_verdicts, feasibility_status
from workbench.cli.traffic import read_traffic
from workbench.cli.values import forecasters, options_of, parse_deployment, parse_forecaster
from workbench.formatting import duration
from workbench.planner.decisions import Decision, summarize_plan
from workbench.planner.options import CLOUD_KINDS, SELF_SCALED, Options
from workbench.planner.search import plan
from workbench.pricing.sheet import staleness_warning
from workbench.progress import show_progress
from workbench.quantiles import SLO
from workbench.validation import parse_seconds

_KINDS = {word_of(kind): kind for kind in (*CLOUD_KINDS, *SELF_SCALED)}
_FLAG: Option = {"action": "store_true"}
_TIMES: Option = {"type": list_type(parse_seconds), "metavar": "TIME,..."}
_NUMBERS: Option = {"type": list_type(parse_integer), "metavar": "NUMBER,..."}
_NAMES: Option = {"type": list_type(str), "metavar": "NAME,..."}
_TIME: Option = {"type": TIME, "metavar": "TIME"}
_WHOLE: Option = {"type": int, "metavar": "NUMBER"}
_NUMBER: Option = {"type": float, "metavar": "NUMBER"}
_CHOICES: Mapping[str, Option] = {
    "kinds": {"action": "append", "choices": tuple(_KINDS)},
    "serverless_memory_mb": _NUMBERS,
    "lambda_memory_mb": _NUMBERS,
    "instance_types": _NAMES,
    "managed_instance_types": _NAMES,
    "serverless_concurrency": _WHOLE,
    "lambda_concurrency": _WHOLE,
    "max_count": _WHOLE,
    "max_sizes": _NUMBERS,
    "max_waits": _TIMES,
    "periods": _TIMES,
    "even_if_answers_change": _FLAG,
    "keep_alive": _TIME,
    "cold_start": _TIME,
    "boot": _TIME,
    "threads": _WHOLE,
    "model_memory": _NUMBER,
    "scaled": _FLAG,
    "hybrid": _FLAG,
    "forecaster": {
        "type": argument_type(parse_forecaster),
        "action": "append",
        "metavar": "KIND:SETTING=VALUE,...",
    },
    "headroom": _NUMBER,
    "unseen_draws": _WHOLE,
    "unseen_share": _NUMBER,
    "finalists": _WHOLE,
}
"""How each choice of `Options` is written that a command line can write."""


_ONE_DRAW = "To see it on this one draw, which may be too short for a verdict of its own"


def _plan(arguments: Arguments) -> int:
    check_table(arguments.out)
    trace = read_traffic(arguments)
    model = model_of(arguments)
    slo = SLO(latency=arguments.slo, quantile=arguments.quantile)
    options = options_from(arguments)
    with show_progress("Planning") as report:
        made = plan(model, trace, slo, options, arguments.budget, progress=report)
    today = arguments.today and (arguments.today, arguments.today_policy or BatchPolicy())
    found = summarize_plan(made, today=today)
    written = write_table(made.frame, arguments.out)
    notes = [name_options(note, arguments) for note in found.notes]
    dates = [(item.date, item.what) for item in made.items]
    notes += filter(None, [staleness_warning(dates, datetime.now(UTC).date())])
    check = write_check(made.best.configuration, arguments)
    more = [f"{_ONE_DRAW}: {check}"] if check else []
    facts = {**_facts(found), "check": check, "notes": notes, "written": written}
    show(arguments, _format(found, notes + more), facts)
    if not found.feasible or not arguments.check:
        return feasibility_status(arguments, feasible=found.feasible)
    return check_verdicts({found.winner.label: found.winner.verdict})


def options_from(arguments: Arguments) -> Options:
    """Return what a plan may choose from, as far as the arguments say so."""
    names = {*_list_choices(), "row_bytes", "answer_bytes", "seed"} - {"kinds"}
    choices = pick_given(arguments, *names)
    if arguments.on:
        choices["kinds"] = [_KINDS[each] for each in arguments.on]
    return Options(**choices)


def _facts(found: Decision) -> dict[str, Any]:
    made = found.plan
    return {
        "sentence": found.sentence,
        "feasible": found.feasible,
        "plan": made.label,
        "deployment": made.best.deployment.to_dict(),
        "policy": made.best.policy.to_dict(),
        "types": found.frame.to_dicts(),
        "items": {item.what: item.dollars for item in made.items},
        "batching": found.batching_sentence,
        "candidates": made.frame.head(len(made.finalists)).to_dicts(),
        "seconds": made.seconds,
    }


def _format(found: Decision, notes: list[str]) -> str:
    sentences = found.sentence, found.cost_sentence, found.batching_sentence, found.today_sentence
    parts = [
        *(textwrap.fill(each, WIDTH) for each in sentences),
        f"{found.table().text()}\nSimulated.",
        "\n".join([found.plan.effort, *notes]),
    ]
    return "\n\n".join(filter(None, parts))


def add_plan(parser: argparse.ArgumentParser) -> None:
    """Add the options of `workbench plan`."""
    add_model(parser)
    add_options(parser, "traffic", FILES, "bytes")
    budget = {"type": float, "help": "the most that a million requests may cost, in US dollars"}
    add_options(parser, "target", check=CHECK, budget=budget)
    add_group(parser, "what it may choose from", list_options())
    there = parser.add_argument_group("what is there already, to be compared")
    there.add_argument(
        "--today",
        type=argument_type(parse_deployment),
        metavar="KIND:SETTING=VALUE,...",
        help="where the model runs today, as serverless:memory=2048",
    )
    there.add_argument(
        "--today-policy",
        type=argument_type(parse_policy),
        metavar="SIZE/WAIT",
        help="how requests become batches there (no batching)",
    )
    parser.add_argument("--out", metavar="FILE", help=f"write all candidates, as {TABLE_FORMATS}")
    add_registry_path(parser)
    parser.set_defaults(command=_plan)


def list_options() -> dict[str, Option]:
    """Return the choices of a plan as options, described as `Options` describes them.

    >>> list_options()["--max-count"]["help"]
    'the most instances of a fleet (200)'
    """
    described = _read_descriptions()
    more = {
        "kinds": "; may be given again",
        "forecaster": f": {', '.join(options_of(forecasters()))}",
    }
    return {
        "--on" if name == "kinds" else option_of(name): {
            **option,
            "help": described[name] + more.get(name, ""),
        }
        for name, option in _list_choices().items()
    }


def _list_choices() -> dict[str, Option]:
    return {each.name: _CHOICES[each.name] for each in fields(Options) if each.name in _CHOICES}


def _read_descriptions() -> dict[str, str]:
    """Return what the docstring of `Options` says of each choice, and what it begins with."""
    text = (Options.__doc__ or "").partition("Attributes:")[2].partition("\n    Raises:")[0]
    parts = re.findall(r"^ {8}(\w+): (.*?)(?=^ {8}\w|\Z)", text, re.MULTILINE | re.DOTALL)
    begins = {each.name: each.default for each in fields(Options)}
    return {
        name: _phrase(about) + _describe_begin(None if name == "kinds" else begins.get(name), name)
        for name, about in parts
    }


def _phrase(about: str) -> str:
    """Return a description of Python's as a help text."""
    plain = " ".join(about.split()).rstrip(".").replace("`", "").replace("%", "%%")
    return plain.replace("; None: ", "; by default ").replace(", in seconds", "")


def _describe_begin(value: object, name: str) -> str:
    """Return what the choice of this name begins with, in brackets, as it would be written."""
    if isinstance(value, tuple):
        return f" ({','.join(map(str, value))})" if value else ""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return ""
    return f" ({duration(value).replace(' ', '') if _CHOICES.get(name) is _TIME else f'{value:g}'})"
