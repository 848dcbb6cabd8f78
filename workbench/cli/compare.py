"""The command `compare`: saved runs side by side."""

import argparse
from pathlib import Path

from workbench.cli.files import TABLE_FORMATS, check_table
from workbench.cli.options import CHECK
from workbench.cli.output import Arguments
from workbench.cli.results import show_results
from workbench.errors import InvalidInput
from workbench.files import runs_folder
from workbench.run import Run, load_run


def _compare(arguments: Arguments) -> int:
    check_table(arguments.out)
    named = [split_name(text) for text in arguments.runs]
    runs = [load_kept_run(path) for _, path in named]
    if not any(name for name, _ in named):
        return show_results(arguments, runs)
    names = [name or path for name, path in named]
    if len(set(names)) < len(names):
        raise InvalidInput(f"Each run needs a name of its own, got {', '.join(names)}.")
    return show_results(arguments, dict(zip(names, runs, strict=True)))


def split_name(text: str) -> tuple[str, str]:
    """Return name and path of a run, of which the name may be left out.

    >>> split_name("today=runs/a"), split_name("runs/a")
    (('today', 'runs/a'), ('', 'runs/a'))
    """
    name, equals, path = text.partition("=")
    return (name, path) if equals and not Path(text).exists() else ("", text)


def load_kept_run(path: str) -> Run:
    """Return the run of a folder, or of a name among those that the app keeps."""
    kept = runs_folder() / path
    return load_run(kept if not Path(path).exists() and kept.exists() else path)


def add_compare(parser: argparse.ArgumentParser) -> None:
    """Add the options of `workbench compare`."""
    parser.add_argument(
        "runs",
        nargs="+",
        metavar="[NAME=]RUN",
        help="folder of a saved run, or the name of one that the app keeps; with a name of yours",
    )
    parser.add_argument("--check", **CHECK)
    parser.add_argument("--out", metavar="FILE", help=f"write the table here, as {TABLE_FORMATS}")
    parser.set_defaults(command=_compare)
