"""The command that writes reports: on saved runs, or from a template."""

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import IO, Any

from workbench.cli.files import check_folder, translate_write_errors
from workbench.cli.output import Arguments, print_json, print_text
from workbench.cli.results import costs_of, facts_of, format_comparison
from workbench.comparison import Comparison, compare
from workbench.errors import InvalidInput
from workbench.files import write_file
from workbench.formatting import Table
from workbench.measuring.profile import Profile, load_profile
from workbench.pricing.sheet import PriceSheet
from workbench.report.notebook import execute, page_of
from workbench.report.templates import (
    Parameter,
    Template,
    find_template,
    our_templates,
    read_template,
)
from workbench.run import load_run

_TITLE = "Inference report"
_EXAMPLE = "compare"


def _report_on(arguments: Arguments) -> int:
    if arguments.list:
        return _list_templates(arguments)
    if not (arguments.template or arguments.notebook):
        return _report_on_runs(arguments)
    made = _execute_template(arguments)
    facts = {**(facts_of(_compare(arguments)) if arguments.runs else {}), **made}
    if arguments.json:
        print_json(facts)
    print_text(arguments, "\n".join(f"{name.capitalize()}: {path}" for name, path in made.items()))
    return 0


def _report_on_runs(arguments: Arguments) -> int:
    if arguments.parameter or arguments.code:
        raise InvalidInput("--parameter and --code go with --template.")
    if not arguments.runs:
        raise InvalidInput(
            "Give folders of saved runs, or a --template that takes none (workbench report --list "
            "tells them); an example: workbench report runs/forest."
        )
    comparison = _compare(arguments)
    profiles = [load_profile(path) for path in arguments.profile]
    page = write_page(comparison, Path(arguments.out), arguments.title or _TITLE, profiles)
    if arguments.json:
        print_json(facts_of(comparison), report=str(page))
    print_text(arguments, f"{format_comparison(comparison)}\n\nReport: {page}")
    return 0


def _compare(arguments: Arguments) -> Comparison:
    region = [text.removeprefix("region=") for text in arguments.parameter if "region=" in text]
    prices = PriceSheet.load(*region[:1])
    return compare([load_run(path) for path in arguments.runs], prices=prices)


def _list_templates(arguments: Arguments) -> int:
    """Tell of each of our templates what it is for and which parameters it takes."""
    templates = {path.stem: read_template(path) for path in our_templates()}
    if arguments.json:
        print_json({name: describe_template(each) for name, each in templates.items()})
    shown = "\n\n".join(_format_template(name, each) for name, each in templates.items())
    print_text(arguments, f"{shown}\n\nOne of them: workbench report --template {_EXAMPLE}")
    return 0


def describe_template(template: Template) -> dict[str, Any]:
    """Return a template as JSON values."""
    return {
        "title": template.title,
        "about": template.about,
        "file": str(template.path),
        "parameters": [asdict(each) for each in template.parameters.values()],
    }


def _format_template(name: str, template: Template) -> str:
    rows = [
        (f"  {each.name}", each.kind, repr(each.default), each.help)
        for each in template.parameters.values()
    ]
    return f"{name}: {template.about or template.title}\n{Table([], rows).text()}"


def _execute_template(arguments: Arguments) -> dict[str, str]:
    """Write the page of the executed template, and the notebook where it is asked for."""
    template = read_template(find_template(arguments.template or _EXAMPLE))
    paths = {"report": Path(arguments.out)}
    if arguments.notebook:
        paths["notebook"] = Path(arguments.notebook)
    if len({path.absolute() for path in paths.values()}) < len(paths):
        raise InvalidInput(
            f"Page and notebook cannot both be {arguments.out}: choose another --out."
        )
    for path in paths.values():
        check_folder(path.parent)
    done = execute(template, _values(arguments, template.parameters))
    if arguments.title:
        done.metadata["title"] = arguments.title
    contents = {
        "report": page_of(done, code=arguments.code),
        "notebook": json.dumps(done, indent=1),
    }
    for name, path in paths.items():
        with translate_write_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
        write_file(path, partial(_write_content, contents[name].encode()))
    return {name: str(path) for name, path in paths.items()}


def _write_content(content: bytes, file: IO[bytes]) -> None:
    file.write(content)


def _values(arguments: Arguments, known: Mapping[str, Parameter]) -> dict[str, object]:
    """Return the template's parameters: what the options say, and what -p says."""
    values: dict[str, object] = {}
    if arguments.title and "title" in known:
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
    from workbench.report.runs import write_report

    with translate_write_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    return write_report(
        comparison.runs, path, title=title, costs=costs_of(comparison), profiles=profiles
    )


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
    parser.add_argument("--title", help=f"of the page ({_TITLE}, or the template's)")
    notebook = parser.add_argument_group("from a template, a notebook that papermill executes")
    notebook.add_argument(
        "--template", metavar="NAME", help="one of ours, or a notebook of your own, FILE.ipynb"
    )
    notebook.add_argument(
        "--list", action="store_true", help="tell which templates there are, and what they take"
    )
    notebook.add_argument(
        *("-p", "--parameter"),
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="of the template, as region=eu-central-1",
    )
    notebook.add_argument(
        "--notebook",
        metavar="FILE",
        help=f"keep the executed notebook here (without --template, of {_EXAMPLE})",
    )
    notebook.add_argument("--code", action="store_true", help="show the code in the page too")
    parser.set_defaults(command=_report_on)
