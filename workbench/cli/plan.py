"""The command `plan`: the cheapest way to meet a target, and why the others lost."""

from typing import Any

from workbench.cli.arguments import (
    add_registry_path,
    argument_type,
    help_settings,
    parse_seconds,
    registry_of,
    subparser,
)
from workbench.cli.output import Arguments, print_json, print_text
from workbench.cli.traffic import add_traffic, read_traffic
from workbench.cli.values import forecasters, options_of, parse_forecaster
from workbench.formatting import Table
from workbench.planner.options import CLOUD_KINDS, SELF_SCALED, Options
from workbench.planner.plans import Plan
from workbench.planner.search import plan
from workbench.progress import show_progress
from workbench.quantiles import SLO

_EXIT_UNMET = 1
_SHOWN = 12
_COLUMNS = {
    "deployment": "deployment",
    "policy": "policy",
    "latency": "latency (s)",
    "attainment": "in time",
    "minutes_met": "minutes met",
    "cost_per_million": "$ per million",
    "cost_per_month": "$ a month",
    "reason": "reason",
}
_KINDS = {kind.replace(" ", "-"): kind for kind in (*CLOUD_KINDS, *SELF_SCALED)}


def _plan(arguments: Arguments) -> int:
    trace = read_traffic(arguments)
    choices: dict[str, Any] = {
        name: getattr(arguments, name)
        for name in ("boot", "cold_start", "forecaster")
        if getattr(arguments, name) is not None
    }
    choices |= {name: True for name in ("scaled", "hybrid") if getattr(arguments, name)}
    if arguments.on:
        choices["kinds"] = [_KINDS[each] for each in arguments.on]
    model = registry_of(arguments)[arguments.model]
    slo = SLO(latency=arguments.slo, quantile=arguments.quantile)
    with show_progress("Planning") as report:
        found = plan(model, trace, slo, Options(**choices), arguments.budget, progress=report)
    if arguments.json:
        print_json(_facts(found))
    print_text(arguments, _text(found))
    return 0 if found.feasible else _EXIT_UNMET


def _facts(found: Plan) -> dict[str, Any]:
    return {
        "feasible": found.feasible,
        "plan": found.label,
        "deployment": found.best.deployment.to_dict(),
        "policy": found.best.policy.to_dict(),
        "candidates": found.frame.head(len(found.finalists)).to_dicts(),
        "notes": list(found.notes),
        "seconds": found.seconds,
    }


def _text(found: Plan) -> str:
    rows = found.frame.head(_SHOWN).select(*_COLUMNS).rows()
    head = found.label if found.feasible else f"Nothing meets the target. {found.label}"
    return "\n\n".join(
        [head, Table(list(_COLUMNS.values()), rows).text(), "\n".join([found.effort, *found.notes])]
    )


def add_plan(commands: Any) -> None:  # noqa: ANN401
    """Add `workbench plan`."""
    about = "find the cheapest way to meet a latency target, and why the others lost"
    parser = subparser(commands, "plan", about, **help_settings("plan"))
    parser.add_argument("model", help="group, or group:version")
    add_traffic(parser)
    target = parser.add_argument_group("what it must do")
    target.add_argument(
        "--slo", type=argument_type(parse_seconds), required=True, help="latency target, as 50ms"
    )
    target.add_argument("--quantile", type=float, default=0.95, help="of the target (%(default)s)")
    target.add_argument("--budget", type=float, help="US dollars per million requests")
    where = parser.add_argument_group("where it may run")
    where.add_argument(
        "--on",
        action="append",
        choices=tuple(_KINDS),
        help="an inference type (all that do not scale themselves); may recur",
    )
    where.add_argument(
        "--scaled", action="store_true", help="try fleets that change size by target tracking, too"
    )
    where.add_argument(
        "--hybrid", action="store_true", help="try fleets whose overflow goes to functions, too"
    )
    where.add_argument(
        "--forecaster",
        type=argument_type(parse_forecaster),
        action="append",
        metavar="KIND:SETTING=VALUE,...",
        help="what scales hybrids ahead, several to compare (persistence): "
        f"{', '.join(options_of(forecasters()))}",
    )
    for name, about in (
        ("cold-start", "what an instance on demand takes to start (no time)"),
        ("boot", "what an instance of a fleet takes (3min)"),
    ):
        where.add_argument(f"--{name}", type=argument_type(parse_seconds), help=about)
    add_registry_path(parser)
    parser.set_defaults(command=_plan)
