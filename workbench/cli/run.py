"""The commands that measure: demo, run and profile."""

import argparse
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from workbench.cli import demo
from workbench.cli.arguments import (
    add_price,
    add_registry_path,
    list_type,
    model_of,
    parse_integer,
    registry_of,
)
from workbench.cli.deployments import cloud_of
from workbench.cli.experiments import (
    add_experiment,
    add_folder,
    check_folders,
    experiments_of,
    scaling_of,
)
from workbench.cli.files import check_folder, check_new
from workbench.cli.installation import is_checkout, name_command
from workbench.cli.models import models_table
from workbench.cli.option_names import name_options
from workbench.cli.options import CHECK, add_model, time_option
from workbench.cli.output import Arguments, announce, print_json, print_text, report_interruption
from workbench.cli.report import write_page
from workbench.cli.results import (
    check_comparison,
    facts_of,
    format_comparison,
    save_runs,
    show_runs,
)
from workbench.cloud.aws import Cloud
from workbench.comparison import compare
from workbench.experiment import Experiment
from workbench.formatting import Table, duration, span
from workbench.measuring import kept_calls
from workbench.measuring.profile import AFTER_IDLE, BACK_TO_BACK, Profile, profile
from workbench.progress import show_progress
from workbench.registry.model import Model
from workbench.run import Run
from workbench.validation import positive


def _demo(arguments: Arguments) -> int:
    folder = Path(arguments.out)
    check_folder(folder)
    if arguments.duration is not None:
        positive("duration", arguments.duration, "seconds")
    registry = registry_of(arguments)
    model = registry[demo.MODEL]
    print_text(
        arguments, "One experiment, really run on this machine: no batching against batching.\n"
    )
    print_text(arguments, models_table(registry.models()) + "\n")
    profiled, stopped = _measure_profile(model, demo.BATCH_SIZES, (1,), budget=0.2)
    if stopped:
        return report_interruption("nothing was kept")
    experiments = demo.experiments(
        model,
        profiled,
        duration=arguments.duration,
        seed=arguments.seed,
        hourly_price=arguments.hourly_price,
    )
    print_text(arguments, demo.explain(profiled, experiments["batching"]) + "\n")
    drain = experiments["batching"].trace.duration
    runs, stopped = _measure(experiments, drain=drain)
    if not runs:
        return report_interruption("nothing was measured")
    comparison = compare(list(runs.values()))
    print_text(arguments, format_comparison(comparison))
    if not stopped:
        print_text(arguments, f"\n{demo.conclude(comparison, experiments['batching'], profiled)}")
    profiled.save(folder / "profile", overwrite=True)
    saved = save_runs(runs, folder, overwrite=True)
    page = write_page(
        comparison, folder / "report.html", "No batching against batching", [profiled]
    )
    if arguments.json:
        print_json(facts_of(comparison), written=saved, report=str(page))
    command = name_command()
    lab, more = "make lab" if is_checkout() else f"{command} lab", f"{command} run --help"
    width = max(len(lab), len(more))
    print_text(
        arguments,
        f"\nReport: {page}  (open it in a browser; it needs no internet)\n"
        f"Runs:   {', '.join(saved)}\n"
        f"Next:   {lab:<{width}}  the notebooks, in JupyterLab\n"
        f"        {more:<{width}}  other models, traffic and batching",
    )
    if stopped:
        return report_interruption("what was measured was kept")
    return check_comparison(arguments, comparison)


def _run(arguments: Arguments) -> int:
    check_folders(arguments)
    experiments = experiments_of(arguments)
    with cloud_of(arguments) as cloud:
        how = {"budget": arguments.budget, "yes": arguments.yes}
        runs, stopped = _measure(experiments, cloud, arguments=arguments, **how)
    return show_runs(arguments, runs, stopped=stopped)


def _profile(arguments: Arguments) -> int:
    if arguments.out:
        check_new(Path(arguments.out))
    profiled, stopped = _measure_profile(
        model_of(arguments),
        arguments.batch_sizes,
        arguments.threads,
        repeats=arguments.repeats,
        budget=arguments.budget,
        fresh=arguments.again,
    )
    if profiled.frame.is_empty():
        return report_interruption("nothing was measured")
    print_text(arguments, _format_service_times(profiled))
    if caveat := profiled.quality.caveat:
        announce(name_options(f"workbench: {caveat}", arguments))
    if arguments.again:
        announce("Kept: plans and simulations use it from now on.")
    saved = [str(profiled.save(arguments.out))] if arguments.out else []
    if arguments.json:
        rows = profiled.frame.drop("quantiles", *kept_calls.COLUMNS).to_dicts()
        facts = {**profiled.facts, "tail": profiled.note, "caveat": profiled.quality.caveat}
        print_json({"rows": rows, "facts": facts}, written=saved)
    return report_interruption("what was measured was kept") if stopped else 0


def _measure(
    experiments: dict[str, Experiment],
    cloud: Cloud | None = None,
    *,
    arguments: Arguments | None = None,
    **how: Any,  # noqa: ANN401 - of `Experiment.run`
) -> tuple[dict[str, Run], bool]:
    """Run one experiment after the other; tell what was measured and whether Ctrl-C ended it."""
    stopped = threading.Event()
    runs = {}
    for name, experiment in experiments.items():
        if stopped.is_set():
            break
        try:
            with show_progress(f"Running {experiment.policy.label}") as report:
                run = experiment.run(
                    cloud,
                    scaling=arguments and scaling_of(arguments, experiment),
                    progress=report,
                    stopped=stopped,
                    **how,
                )
        except KeyboardInterrupt:  # before this run began to send: those before it are kept
            stopped.set()
        else:
            if len(run):
                runs[name] = run
    return runs, stopped.is_set()


def _measure_profile(
    model: Model,
    sizes: Sequence[int],
    threads: Sequence[int],
    **how: Any,  # noqa: ANN401 - of `profile`
) -> tuple[Profile, bool]:
    """Measure service times; tell, too, whether Ctrl-C ended it."""
    stopped = threading.Event()
    with show_progress(f"Profiling {model.name}") as report:
        profiled = profile(
            model, batch_sizes=sizes, threads=threads, progress=report, stopped=stopped, **how
        )
    return profiled, stopped.is_set()


def add_demo(parser: argparse.ArgumentParser) -> None:
    """Add `workbench demo`."""
    parser.add_argument("--out", default="reports/demo", help="folder (%(default)s)")
    about = "of a run (8s, or longer for 400 requests)"
    parser.add_argument("--duration", **time_option(about))
    parser.add_argument("--seed", type=int, default=demo.SEED, help="of the traffic (%(default)s)")
    parser.add_argument("--check", **CHECK)
    add_price(parser, default=0.1)
    add_registry_path(parser)
    parser.set_defaults(command=_demo)


def add_run(parser: argparse.ArgumentParser) -> None:
    """Add `workbench run`."""
    add_experiment(parser)
    add_folder(parser)
    parser.set_defaults(command=_run)


def add_profile(parser: argparse.ArgumentParser) -> None:
    """Add `workbench profile`."""
    add_model(parser)
    parser.add_argument(
        "--batch-sizes",
        type=list_type(parse_integer),
        default=(1, 2, 4, 8, 16, 32),
        help="(1,2,4,8,16,32)",
    )
    parser.add_argument("--threads", type=list_type(parse_integer), default=(1,), help="(1)")
    parser.add_argument("--budget", **time_option("longest time for one figure (1s)", default=1.0))
    parser.add_argument(
        "--repeats",
        type=int,
        default=1000,
        help="calls to time, within the budget: more show rarer slow ones (1000)",
    )
    parser.add_argument(
        "--again",
        action="store_true",
        help="keep it in the place of the one that plans and simulations use",
    )
    parser.add_argument("--out", metavar="FOLDER", help="save the profile here")
    add_registry_path(parser)
    parser.set_defaults(command=_profile)


def _format_service_times(profiled: Profile) -> str:
    parts = []
    for threads in sorted(set(profiled.frame["threads"])):
        rows = _service_rows(profiled, threads)
        head = ["batch size", BACK_TO_BACK, "95 % interval", AFTER_IDLE, "requests/s"]
        parts.append(f"{profiled.label}, {threads} thread{'s' * (threads > 1)}")
        parts.append(Table(head, rows).text(right=True))
        if len(rows) >= 4:
            fit = profiled.fit(threads=threads)
            parts.append(f"Best fit: {fit.kind}, {100 * fit.error:.2g} % off sizes left out.")
    return "\n".join([*parts, profiled.note])


def _service_rows(profiled: Profile, threads: int) -> list[list[str]]:
    rows = profiled.frame.filter(threads=threads)
    after_idle = rows.filter(state=AFTER_IDLE)["batch_size", "median"].rows()
    idle = {size: duration(median) for size, median in after_idle}
    return [
        [
            str(size),
            duration(median),
            f"{span(low, high)}",
            idle.get(size, "-"),  # an interrupted profile may end without it
            f"{size / median:,.0f}",
        ]
        for size, median, low, high in rows.filter(state=BACK_TO_BACK)
        .sort("batch_size")["batch_size", "median", "low", "high"]
        .rows()
    ]
