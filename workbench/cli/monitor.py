"""The commands that read what a cloud has of an endpoint, and whether inputs have drifted."""

import argparse
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workbench.cli.arguments import add_registry_path, model_of
from workbench.cli.commands import add_action, show_help
from workbench.cli.options import account_of, add_options, time_option
from workbench.cli.output import Arguments, show
from workbench.cli.samples import read_samples
from workbench.errors import InvalidInput
from workbench.formatting import Table

if TYPE_CHECKING:
    import polars as pl


def _metrics(arguments: Arguments) -> int:
    from workbench.cloud.monitor import metrics

    since = timedelta(seconds=arguments.since)
    return _print(arguments, metrics(arguments.endpoint, account_of(arguments), since=since))


def _logs(arguments: Arguments) -> int:
    from workbench.cloud.monitor import logs

    how = {"search": arguments.search, "tail": arguments.tail}
    return _print(arguments, logs(arguments.endpoint, account_of(arguments), **how))


def _trail(arguments: Arguments) -> int:
    from workbench.cloud.monitor import trail

    since = timedelta(seconds=arguments.since)
    return _print(arguments, trail(account_of(arguments), name=arguments.endpoint, since=since))


def _alarms(arguments: Arguments) -> int:
    from workbench.cloud.monitor import alarms

    return _print(arguments, alarms(arguments.endpoint, account_of(arguments)))


def _drift(arguments: Arguments) -> int:
    from workbench.run.drift import input_drift

    model = model_of(arguments)
    if (arguments.file is None) == (arguments.endpoint is None):
        raise InvalidInput(
            "Drift is looked for in a FILE of rows, or in what an --endpoint captured."
        )
    if arguments.file is None:
        from workbench.cloud.data_capture import read_inputs

        since = timedelta(seconds=arguments.since)
        rows = read_inputs(arguments.endpoint, account_of(arguments), model, since=since)
    else:
        rows = read_samples(Path(arguments.file), None).inputs
    return _print(arguments, input_drift(model.samples().inputs, rows))


def _print(arguments: Arguments, frame: "pl.DataFrame") -> int:
    text = "Nothing yet." if frame.is_empty() else Table(frame.columns, frame.rows()).text()
    return show(arguments, text, {"rows": frame.to_dicts()})


_SINCE = time_option("so long back (%(default)s)")
# a few lines at first, as far back as what is shown is kept or of use
_ACTIONS: dict[str, tuple[str, Callable[[Arguments], int], dict[str, dict[str, Any]]]] = {
    "metrics": (
        "show what CloudWatch counted and timed, by the minute",
        _metrics,
        {"--since": {**_SINCE, "default": "1h"}},
    ),
    "logs": (
        "show the last lines that its containers wrote",
        _logs,
        {
            "--search": {"default": "", "help": "what a line must contain"},
            "--tail": {"type": int, "default": 100, "help": "lines at most (%(default)s)"},
        },
    ),
    "trail": (
        "show which calls were made about it, by whom, and which were refused",
        _trail,
        {"--since": {**_SINCE, "default": "1d"}},
    ),
    "alarms": ("show its alarms, their state and the reason", _alarms, {}),
}


def add_monitor(parser: argparse.ArgumentParser) -> None:
    """Add `workbench monitor`."""
    show_help(parser)
    actions = parser.add_subparsers(metavar="ACTION", dest="action")
    for name, (about, command, options) in _ACTIONS.items():
        made = add_action(actions, name, about, command)
        made.add_argument("endpoint", help="its name")
        for option, settings in options.items():
            made.add_argument(option, **settings)
        add_options(made, "credentials")
    drift = add_action(actions, "drift", "say which inputs differ from a model's samples", _drift)
    drift.add_argument("model", help="group, or group:version")
    help_ = "of the rows that came: CSV, JSON Lines, Parquet, NumPy"
    drift.add_argument("file", nargs="?", help=help_)
    drift.add_argument("--endpoint", help="whose captured requests are read instead of a file")
    drift.add_argument("--since", **{**_SINCE, "default": "1d"})
    add_options(drift, "credentials")
    add_registry_path(drift)
