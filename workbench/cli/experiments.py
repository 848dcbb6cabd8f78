"""What `run` and `simulate` share: the options of an experiment, and how its runs are shown."""

import argparse
from pathlib import Path

from workbench.batching.timer import BatchPolicy
from workbench.cli.arguments import (
    add_registry_path,
    argument_type,
    parse_policy,
    parse_seconds,
    registry_of,
)
from workbench.cli.cloud import add_deployment_options, deployment_of
from workbench.cli.files import check_new, file_name
from workbench.cli.output import Arguments, print_json, print_text, report_interruption
from workbench.cli.planned_scaling import PlannedScaling
from workbench.cli.traffic import add_traffic, read_traffic
from workbench.comparison import compare
from workbench.experiment import Experiment
from workbench.quantiles import SLO
from workbench.run import Run
from workbench.scaling.base import ScalingPolicy


def add_experiment_options(parser: argparse.ArgumentParser, *, simulated: bool = False) -> None:
    """Add model, traffic, batching, target, deployment, and where runs are saved."""
    parser.add_argument("model", help="group, or group:version")
    add_traffic(parser)
    serving = parser.add_argument_group("serving")
    serving.add_argument(
        "--policy",
        type=argument_type(parse_policy),
        action="append",
        metavar="SIZE/WAIT",
        help="largest batch / longest wait for it, as 8/25ms; 1 is no batching (default); "
        "given several times, all are tried and compared",
    )
    serving.add_argument(
        "--slo", type=argument_type(parse_seconds), help="latency target, as 100ms"
    )
    serving.add_argument("--quantile", type=float, default=0.95, help="of the target (%(default)s)")
    add_deployment_options(parser, simulated=simulated)
    parser.add_argument("--out", metavar="FOLDER", help="save each run in a folder below this one")
    add_registry_path(parser)


def experiments_of(arguments: Arguments) -> dict[str, Experiment]:
    """Return an experiment for each policy, by the name that its run is saved under."""
    policies = arguments.policy or [BatchPolicy()]
    slo = arguments.slo
    if slo is not None:
        slo = SLO(latency=slo, quantile=arguments.quantile)
    deployment = deployment_of(arguments)
    trace = read_traffic(arguments)
    names = {policy: file_name(policy.label) for policy in policies}
    if arguments.out:
        for name in names.values():
            check_new(Path(arguments.out) / name)
    model = registry_of(arguments)[arguments.model]
    return {
        name: Experiment(model, deployment, trace, policy, slo) for policy, name in names.items()
    }


def scaling_of(arguments: Arguments, experiment: Experiment) -> ScalingPolicy | None:
    """Return what the size of an experiment's deployment follows."""
    given: ScalingPolicy | PlannedScaling | None = arguments.scaling
    return given.policy(experiment) if isinstance(given, PlannedScaling) else given


def show_runs(arguments: Arguments, runs: dict[str, Run], *, stopped: bool = False) -> int:
    """Print the runs side by side, save them where that is asked for; return the exit status."""
    from workbench.cli.report import facts_of, format_comparison

    if not runs:
        return report_interruption("nothing was measured")
    comparison = compare(list(runs.values()))
    print_text(arguments, format_comparison(comparison))
    saved = save_runs(runs, Path(arguments.out)) if arguments.out else []
    if arguments.json:
        print_json(facts_of(comparison), saved=saved)
    if saved:
        next_step = f"workbench report {' '.join(saved)}"
        print_text(arguments, f"\nRuns: {', '.join(saved)}\nNext: {next_step}")
    return report_interruption("what was measured was kept") if stopped else 0


def save_runs(runs: dict[str, Run], folder: Path, *, overwrite: bool = False) -> list[str]:
    """Return where each run is saved now."""
    return [
        str(run.save(folder / file_name(name), overwrite=overwrite)) for name, run in runs.items()
    ]
