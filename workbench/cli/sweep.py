"""The command `sweep`: every combination of several values, simulated, predicted or run."""

import argparse
import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor
from itertools import product
from multiprocessing import get_context
from pathlib import Path
from typing import Any, get_args

from workbench.cli.arguments import add_registry_path, model_of
from workbench.cli.deployments import KIND_OPTIONS, add_deployment, add_scaling, deployment_of
from workbench.cli.files import check_folder, write_table
from workbench.cli.option_names import name_options, option_of
from workbench.cli.options import CHECK, FILES, POLICY, SLO, TRAFFIC, add_model, add_options
from workbench.cli.output import Arguments, announce, pick_given, report_interruption, show
from workbench.cli.planned_scaling import PlannedScaling
from workbench.cli.results import check_comparison, facts_of
from workbench.cli.statuses import EXIT_INVALID
from workbench.cli.traffic import read_traffic
from workbench.comparison import Comparison, compare
from workbench.errors import InvalidInput, WorkbenchError
from workbench.experiment import Experiment
from workbench.experiment.sweeps import Finding, How, sweep
from workbench.formatting import Table, dollars, duration, format_cell, percent
from workbench.progress import show_progress
from workbench.quantiles import SLO as TARGET
from workbench.settings import settings_of

_BEGIN: Mapping[str, Any] = {  # where nothing is said, as for one experiment
    "on": "local",
    "policy": POLICY,
    "slo": SLO[0],
    "quantile": SLO[1],
    "seed": TRAFFIC["seed"],
}
_SETTINGS = frozenset(name for kind in KIND_OPTIONS.values() for name in settings_of(kind))
_Combination = Mapping[str, Any]


def _sweep(arguments: Arguments) -> int:
    if arguments.out:
        check_folder(Path(arguments.out))
    combinations = list_combinations(arguments)
    model = model_of(arguments)
    experiments = [
        Experiment(
            model,
            deployment_of(each),
            read_traffic(each),
            each.policy,
            TARGET(latency=each.slo, quantile=each.quantile),
            each.row_bytes,
            each.answer_bytes,
        )
        for each in (argparse.Namespace(**{**vars(arguments), **each}) for each in combinations)
    ]
    settings = _list_settings(arguments)
    try:
        with _open_pool(arguments.processes) as pool, show_progress("Sweeping") as report:
            found = sweep(
                experiments,
                pool,
                how=arguments.how,
                folder=arguments.out,
                progress=report,
                **settings,
            )
    except KeyboardInterrupt:
        kept = f"what was done is in {arguments.out}: run it again to go on"
        return report_interruption(kept if arguments.out else "nothing was kept: --out keeps it")
    return _show(arguments, combinations, found)


def list_combinations(arguments: Arguments) -> list[_Combination]:
    """Return every combination of the values given, each setting where its inference type has it.

    Raises:
        InvalidInput: None of the inference types has a setting.
    """
    listed = {name: each for name, each in vars(arguments).items() if isinstance(each, list)}
    values = {**listed, **{name: [begin] for name, begin in _BEGIN.items() if name not in listed}}
    kinds = {on: settings_of(KIND_OPTIONS[on]) for on in values["on"]}
    for name in _SETTINGS & set(listed):
        if not any(name in own for own in kinds.values()):
            raise InvalidInput(
                f"{option_of(name)} is no option of --on {' '.join(kinds)}: leave it out."
            )
    found: dict[str, _Combination] = {}
    for chosen in product(*values.values()):
        each = dict(zip(values, chosen, strict=True))
        strange = _SETTINGS.difference(kinds[each["on"]])
        each = {name: None if name in strange else value for name, value in each.items()}
        found.setdefault(repr(each), each)
    return list(found.values())


def _list_settings(arguments: Arguments) -> dict[str, Any]:
    """Return what all experiments share, as `Experiment.simulate` takes it."""
    if isinstance(arguments.scaling, PlannedScaling):
        raise InvalidInput("A sweep has no --scaling that plans ahead: use workbench simulate.")
    shared = pick_given(arguments, "cold_start", "boot", "scaling")
    if arguments.how == "simulate":
        return {**shared, "seed": (arguments.seed or [_BEGIN["seed"]])[0]}
    if shared:
        options = ", ".join(map(option_of, shared))
        raise InvalidInput(f"Only --how simulate takes {options}: leave that out.")
    return {}


@contextlib.contextmanager
def _open_pool(processes: int) -> Iterator[Executor | None]:
    """Yield a pool of so many processes; none where one is enough, which is this one."""
    if processes < 1:
        raise InvalidInput(f"processes must be at least 1, got {processes}.")
    if processes == 1:
        yield None
        return
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        yield pool


def _show(
    arguments: Arguments, combinations: Sequence[_Combination], found: Sequence[Finding]
) -> int:
    """Print a row for each combination, write the table where asked for; return the status."""
    varied = [
        name for name in combinations[0] if len({repr(each[name]) for each in combinations}) > 1
    ]
    named = {_describe(each, varied): one for each, one in zip(combinations, found, strict=True)}
    for name, each in named.items():
        if each.error:
            announce(f"workbench: {name}: {name_options(each.error, arguments)}")
    results = {name: each.result for name, each in named.items() if each.result is not None}
    if not results:
        raise WorkbenchError("None of the experiments could be carried out.")
    comparison = compare(results)
    options = [
        {option_of(name): _plain(each[name]) for name in varied}
        for each, one in zip(combinations, found, strict=True)
        if one.result is not None
    ]
    _print_rows(arguments, options, comparison)
    failed = len(results) < len(named)
    status = check_comparison(arguments, comparison)
    return EXIT_INVALID if arguments.check and failed else status


def _print_rows(
    arguments: Arguments, options: Sequence[Mapping[str, Any]], comparison: Comparison
) -> None:
    """Print the table, best first where there is a target, and write it where asked for."""
    import polars as pl

    frame = pl.concat([pl.DataFrame(options), comparison.frame], how="horizontal")
    written = write_table(frame, arguments.out and str(Path(arguments.out) / "table.csv"))
    rows = [
        [*each.values(), *(write(row.get(name)) for name, write in _FIGURES.items())]
        for each, row in zip(options, comparison.figures.values(), strict=True)
    ]
    columns = [*options[0], *(_TITLES.get(name, name) for name in _FIGURES)]
    text = f"{Table(columns, rows)}\n{comparison.table().caption}"
    text += f"\n\nTable: {written[0]}" if written else ""
    facts = {**facts_of(comparison), "runs": frame.to_dicts(), "written": written}
    show(arguments, text, facts)


def _describe(combination: _Combination, names: Sequence[str]) -> str:
    words = [f"{option_of(name)} {_plain(combination[name])}" for name in names]
    return ", ".join(words) or "all"


def _plain(value: Any) -> Any:  # noqa: ANN401 - of any option
    """Return a value as a cell of a table holds it."""
    return value if isinstance(value, int | float | str | None) else value.label


def _optional(write: Callable[[float], str]) -> Callable[[float | None], str]:
    return lambda value: "-" if value is None else write(value)


_FIGURES: Mapping[str, Callable[[Any], str]] = {
    "p50": _optional(duration),
    "p95": _optional(duration),
    "p99": _optional(duration),
    "attainment": _optional(percent),
    "verdict": format_cell,
    "per_million": _optional(dollars),
    "per_month": _optional(dollars),
}
_TITLES = {"attainment": "in time", "per_million": "$ per million", "per_month": "$ a month"}


def add_sweep(parser: argparse.ArgumentParser) -> None:
    """Add the options of `workbench sweep`."""
    add_model(parser)
    add_options(parser, "traffic", FILES, "bytes", "batching", "target", many=True)
    add_deployment(parser, many=True)
    add_scaling(parser)
    add_options(parser, "time to start")
    how = parser.add_argument_group("how")
    how.add_argument(
        "--how", choices=get_args(How), default="simulate", help="what is done (%(default)s)"
    )
    how.add_argument(
        "--processes",
        type=int,
        default=1,
        metavar="NUMBER",
        help="side by side (%(default)s); runs would slow each other down",
    )
    how.add_argument(
        "--out", metavar="FOLDER", help="keep runs and table here; a sweep goes on where it was"
    )
    how.add_argument("--check", **CHECK)
    add_registry_path(parser)
    parser.set_defaults(command=_sweep)
