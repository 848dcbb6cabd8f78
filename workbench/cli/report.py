"""The command that reports on saved runs."""

import argparse
import json
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import IO

from workbench.cli.files import check_folder, translate_write_errors
from workbench.cli.output import Arguments, print_json, print_text
from workbench.cli.results import costs_of, facts_of, format_comparison
from workbench.comparison import Comparison, compare
from workbench.errors import InvalidInput
from workbench.files import write_file
from workbench.measuring.profile import Profile, load_profile
from workbench.pricing.sheet import PriceSheet
from workbench.report.notebook import Parameter, execute, find_template, page_of, parameters_of
from workbench.report.page import write_report
from workbench.run import load_run

_TITLE = "Inference report"


def _report_on(arguments: Arguments) -> int:
    region = [text.removeprefix("region=") for text in arguments.parameter if "region=" in text]
    prices = PriceSheet.load(*region[:1])
    if not arguments.runs:
        return _report_without_runs(arguments)
    comparison = compare([load_run(path) for path in arguments.runs], prices=prices)
    profiles = [load_profile(path) for path in arguments.profile]
    made = {}
    if arguments.notebook:
        page, made["notebook"] = _execute_template(arguments)
    else:
        if arguments.parameter or arguments.code or arguments.template:
            raise InvalidInput("--parameter, --code and --template go with --notebook FILE.")
        page = write_page(comparison, Path(arguments.out), arguments.title, profiles)
    if arguments.json:
        print_json(facts_of(comparison), report=str(page), **made)
    paths = [f"Report: {page}", *(f"Notebook: {path}" for path in made.values())]
    print_text(arguments, f"{format_comparison(comparison)}\n\n" + "\n".join(paths))
    return 0


def _report_without_runs(arguments: Arguments) -> int:
    """Execute a template that is not about runs, such as the choice of a model."""
    if not (arguments.template and arguments.notebook):
        raise InvalidInput(
            "Give folders of saved runs, or --template and --notebook FILE for a report that takes "
            "no runs; an example: workbench report runs/forest."
        )
    page, notebook = _execute_template(arguments)
    if arguments.json:
        print_json({"report": str(page), "notebook": str(notebook)})
    print_text(arguments, f"Report: {page}\nNotebook: {notebook}")
    return 0


def _execute_template(arguments: Arguments) -> tuple[Path, Path]:
    """Write the executed template and its page, and return where."""
    template = Path(arguments.template) if arguments.template else find_template()
    if template.suffix != ".ipynb":
        raise InvalidInput(f"A template is a notebook, NAME.ipynb, got {str(template)!r}.")
    page, notebook = Path(arguments.out), Path(arguments.notebook)
    if page.absolute() == notebook.absolute():
        raise InvalidInput(f"Page and notebook cannot both be {page}: choose another --out.")
    for path in (page, notebook):
        check_folder(path.parent)
    values = _values(arguments, parameters_of(template))
    done = execute(template, values)
    whole = page_of(done, code=arguments.code).encode()
    for path, content in ((notebook, json.dumps(done, indent=1).encode()), (page, whole)):
        with translate_write_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
        write_file(path, partial(_write_content, content))
    return page, notebook


def _write_content(content: bytes, file: IO[bytes]) -> None:
    file.write(content)


def _values(arguments: Arguments, known: Mapping[str, Parameter]) -> dict[str, object]:
    """Return the template's parameters: what the options say, and what -p says."""
    values: dict[str, object] = {}
    if arguments.runs or arguments.title != _TITLE:
        values["title"] = arguments.title
    if arguments.runs:
        values["runs"] = arguments.runs
    if arguments.profile:
        values["profiles"] = arguments.profile
    for text in arguments.parameter:
        name, equals, value = text.partition("=")
        if not equals or name in values:
            raise InvalidInput(f"A parameter is written once, as NAME=VALUE, got {text!r}.")
        values[name] = known[name].read(value) if name in known else value
    return values


def write_page(comparison: Comparison, path: Path, title: str, profiles: Sequence[Profile]) -> Path:
    """Write a report on compared runs and return its path."""
    with translate_write_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    runs = list(comparison.runs.values())
    return write_report(runs, path, title=title, costs=costs_of(comparison), profiles=profiles)


def add_report(parser: argparse.ArgumentParser) -> None:
    """Add `workbench report`."""
    parser.add_argument(
        "runs",
        nargs="*",
        metavar="RUN",
        help="folder of a saved run; none where a template asks none",
    )
    parser.add_argument(
        "--profile", action="append", default=[], metavar="FOLDER", help="a saved profile to show"
    )
    parser.add_argument("--out", default="report.html", metavar="FILE", help="(%(default)s)")
    parser.add_argument("--title", default=_TITLE, help="(%(default)s)")
    notebook = parser.add_argument_group("as a notebook, executed by papermill")
    notebook.add_argument(
        "--notebook", metavar="FILE", help="write the executed notebook here, its page to --out"
    )
    notebook.add_argument(
        *("-p", "--parameter"),
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="of the template, as region=eu-central-1",
    )
    notebook.add_argument("--code", action="store_true", help="show the code in the page too")
    notebook.add_argument("--template", metavar="FILE", help="a notebook of your own (ours)")
    parser.set_defaults(command=_report_on)
