"""The command that reports on saved runs, and how runs are told of anywhere."""

import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from workbench.cli.files import writing
from workbench.cli.parsing import closing, subparser
from workbench.cli.telling import Arguments, print_json, say
from workbench.comparison import Comparison, compare
from workbench.costing import Cost
from workbench.profiling import Profile, load_profile
from workbench.report import finding, write_report
from workbench.run import load_run
from workbench.wording import text_table

_WIDTH = 100


def _report_on(arguments: Arguments) -> int:
    compared = compare([load_run(path) for path in arguments.runs])
    profiles = [load_profile(path) for path in arguments.profile]
    page = write_page(compared, Path(arguments.out), arguments.title, profiles)
    if arguments.json:
        print_json(facts_of(compared), report=str(page))
    say(arguments, f"{compared_text(compared)}\n\nReport: {page}")
    return 0


def write_page(compared: Comparison, path: Path, title: str, profiles: Sequence[Profile]) -> Path:
    """Write a report on compared runs and return its path."""
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    runs = list(compared.runs.values())
    return write_report(runs, path, title=title, costs=_costs(compared), profiles=profiles)


def facts_of(compared: Comparison) -> dict[str, Any]:
    """Return a comparison as JSON values."""
    return {**compared.to_dict(), "finding": _finding(compared)}


def _finding(compared: Comparison) -> str:
    return finding(list(compared.runs.values()), costs=_costs(compared))


def _costs(compared: Comparison) -> list[Cost | None]:
    return [compared.costs.get(name) for name in compared.runs]


def compared_text(compared: Comparison) -> str:
    """The comparison as a table of text, what it shows, and what to mind."""
    notes = "".join(f"\nNote: {warning}" for warning in compared.warnings)
    columns, rows = compared.table()
    table = text_table([columns, *rows], align=str.rjust)
    return f"{table}\n\n{textwrap.fill(_finding(compared), _WIDTH)}{notes}"


def add_report(commands: Any) -> None:  # noqa: ANN401
    """Add `workbench report`."""
    about = "write one HTML file about saved runs, which opens without internet"
    parser = subparser(commands, "report", about, **closing("report"))
    parser.add_argument("runs", nargs="+", metavar="RUN", help="folder of a saved run")
    parser.add_argument(
        "--profile", action="append", default=[], metavar="FOLDER", help="a saved profile to show"
    )
    parser.add_argument("--out", default="report.html", metavar="FILE", help="(%(default)s)")
    parser.add_argument("--title", default="Inference report", help="(%(default)s)")
    parser.set_defaults(command=_report_on)
