"""The commands `predict` and `simulate`, and what they share with `run`: experiments."""

import argparse
from pathlib import Path

from workbench.cli.arguments import add_registry_path, model_of
from workbench.cli.deployments import add_place, deployment_of
from workbench.cli.files import TABLE_FORMATS, check_new, check_table
from workbench.cli.options import CHECK, FILES, POLICY, add_model, add_options
from workbench.cli.output import Arguments
from workbench.cli.planned_scaling import PlannedScaling
from workbench.cli.results import show_results, show_runs
from workbench.cli.traffic import read_traffic
from workbench.experiment import Experiment
from workbench.files import file_name
from workbench.progress import show_progress
from workbench.quantiles import SLO
from workbench.scaling.base import ScalingPolicy


def _predict(arguments: Arguments) -> int:
    check_table(arguments.out)
    found = {}
    for name, experiment in experiments_of(arguments).items():
        with show_progress(f"Predicting {experiment.policy.label}") as report:
            found[name] = experiment.predict(progress=report)
    return show_results(arguments, list(found.values()))


def _simulate(arguments: Arguments) -> int:
    check_folders(arguments)
    runs = {}
    for name, experiment in experiments_of(arguments).items():
        with show_progress(f"Simulating {experiment.policy.label}") as report:
            runs[name] = experiment.simulate(
                cold_start=arguments.cold_start,
                boot=arguments.boot,
                scaling=scaling_of(arguments, experiment),
                seed=arguments.seed,
                progress=report,
            )
    return show_runs(arguments, runs)


def add_predict(parser: argparse.ArgumentParser) -> None:
    """Add the options of `workbench predict`."""
    add_experiment(parser, simulated=True)
    parser.add_argument("--out", metavar="FILE", help=f"write the table here, as {TABLE_FORMATS}")
    parser.set_defaults(command=_predict)


def add_simulate(parser: argparse.ArgumentParser) -> None:
    """Add the options of `workbench simulate`."""
    add_experiment(parser, simulated=True)
    add_folder(parser)
    parser.set_defaults(command=_simulate)


def add_experiment(parser: argparse.ArgumentParser, *, simulated: bool = False) -> None:
    """Add model, traffic, batching, target and deployment."""
    add_model(parser)
    add_options(parser, "traffic", FILES, "bytes", "batching")
    add_options(parser, "target", check=CHECK)
    add_place(parser, simulated=simulated)
    add_registry_path(parser)


def add_folder(parser: argparse.ArgumentParser) -> None:
    """Add the option for where runs are saved."""
    parser.add_argument("--out", metavar="FOLDER", help="save each run in a folder below this one")


def experiments_of(arguments: Arguments) -> dict[str, Experiment]:
    """Return an experiment for each policy, by the name that its run is saved under."""
    slo = SLO(latency=arguments.slo, quantile=arguments.quantile)
    deployment = deployment_of(arguments)
    trace = read_traffic(arguments)
    model = model_of(arguments)
    data = arguments.row_bytes, arguments.answer_bytes
    return {
        file_name(policy.label): Experiment(model, deployment, trace, policy, slo, *data)
        for policy in arguments.policy or [POLICY]
    }


def check_folders(arguments: Arguments) -> None:
    """Refuse folders that runs cannot be saved in, before they are made."""
    for policy in arguments.policy or [POLICY]:
        if arguments.out:
            check_new(Path(arguments.out) / file_name(policy.label))


def scaling_of(arguments: Arguments, experiment: Experiment) -> ScalingPolicy | None:
    """Return what the size of an experiment's deployment follows."""
    given: ScalingPolicy | PlannedScaling | None = arguments.scaling
    return given.policy(experiment) if isinstance(given, PlannedScaling) else given
