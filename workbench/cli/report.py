"""The command that writes reports: on saved runs, or from a template."""

import argparse
import json
import re
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from workbench.cli.arguments import expect_model, expect_task
from workbench.cli.installation import name_command
from workbench.cli.options import CHECK, time_option
from workbench.cli.output import Arguments, report_interruption, show
from workbench.cli.results import WIDTH, check_comparison, costs_of, facts_of, format_comparison
from workbench.cli.statuses import feasibility_status
from workbench.comparison import Comparison, compare
from workbench.errors import InvalidInput, NotFound, WorkbenchError
from workbench.files import home, make_folder, write_file
from workbench.formatting import Table, duration
from workbench.measuring.profile import Profile, load_profile
from workbench.pricing.sheet import PriceSheet
from workbench.progress import show_progress
from workbench.registry.api import Registry
from workbench.report.grid import read_grid
from workbench.report.notebook import find_answer, make_page
from workbench.report.printing import find_browser, print_page
from workbench.report.report_sweep import list_reports, make_reports, write_index
from workbench.report.templates import (
    Parameter,
    Template,
    find_template,
    our_templates,
    read_template,
)
from workbench.run import load_run
from workbench.validation import whole_number

_TITLE = "Inference report"
_EXAMPLE = "capacity -p rate=200"


def _report_on(arguments: Arguments) -> int:
    if arguments.list:
        return _list_templates(arguments)
    if arguments.pdf:
        find_browser()
    template, runs = _split(arguments.what)
    if arguments.check and (arguments.sweep or not runs):
        raise InvalidInput("--check judges saved runs: give their folders, and no --sweep.")
    if not (template or arguments.notebook or arguments.parameter or arguments.sweep):
        return _report_on_runs(arguments, runs)
    known = read_template(template or find_template())
    if arguments.sweep:
        return _sweep(arguments, known, runs)
    made, (sentence, met) = _execute_template(arguments, known, runs)
    comparison = _compare(arguments, runs) if runs else None
    facts = {**(facts_of(comparison) if comparison else {"sentence": sentence}), **made}
    paths = "\n".join(f"{name.capitalize()}: {path}" for name, path in made.items())
    text = "\n\n".join(filter(None, [textwrap.fill(sentence, WIDTH), paths]))
    show(arguments, text, facts)
    if comparison:
        return check_comparison(arguments, comparison)
    return feasibility_status(arguments, feasible=met)


def _split(words: Sequence[str]) -> tuple[Path | None, list[str]]:
    """Return the template among the words, and the folders of runs that the others are."""
    templates, runs = [], []
    for word in words:
        try:
            templates.append(find_template(word))
        except NotFound as error:
            if not Path(word).exists():
                raise NotFound(f"Nothing saved at {word}. {error}") from error
            runs.append(word)
    if len(templates) > 1:
        names = ", ".join(path.stem for path in templates)
        raise InvalidInput(f"A report has one template, got {names}.")
    return next(iter(templates), None), runs


def _report_on_runs(arguments: Arguments, runs: list[str]) -> int:
    if not runs:
        raise InvalidInput(
            "Give a template (workbench report --list shows them) or folders of saved runs; an "
            "example: workbench report runs/forest."
        )
    comparison = _compare(arguments, runs)
    profiles = [load_profile(path) for path in arguments.profile]
    page = write_page(comparison, _out_of(arguments), arguments.title or _TITLE, profiles)
    facts = {**facts_of(comparison), "report": str(page), **_print(arguments, [page])}
    show(arguments, f"{format_comparison(comparison)}\n\nReport: {page}", facts)
    return check_comparison(arguments, comparison)


def _out_of(arguments: Arguments) -> Path:
    path = Path(arguments.out or "report.html")
    if path.is_dir():
        raise InvalidInput(f"{path} is a folder: --out is the file of the page.")
    if path.suffix.lower() == ".pdf":
        raise InvalidInput(f"--out is the page, such as {path.stem}.html; --pdf writes {path} too.")
    return path


def _compare(arguments: Arguments, runs: list[str]) -> Comparison:
    region = [text[7:] for text in arguments.parameter if text.startswith("region=")]
    prices = PriceSheet.load(*region[:1])
    return compare([load_run(path) for path in runs], prices=prices)


def _list_templates(arguments: Arguments) -> int:
    templates = {path.stem: read_template(path) for path in our_templates()}
    facts = {name: describe_template(each) for name, each in templates.items()}
    shown = [_format_template(name, each) for name, each in templates.items()]
    text = "\n\n".join([*shown, f"One of them: {name_command()} report {_EXAMPLE}"])
    return show(arguments, text, facts)


def describe_template(template: Template) -> dict[str, Any]:
    """Return a template as JSON values."""
    return {
        "title": template.title,
        "about": template.about,
        "file": str(template.path),
        "parameters": [asdict(each) for each in template.parameters.values()],
    }


def _format_template(name: str, template: Template) -> str:
    rows = [(f"  {each.name}", *_describe(each)) for each in template.parameters.values()]
    return f"{name}: {template.about or template.title}\n{Table([], rows).text()}"


def _describe(parameter: Parameter) -> tuple[str, str, str]:
    """Return kind, default and help of a parameter; of a time, as it is written here."""
    if not parameter.is_time:
        return parameter.kind, repr(parameter.default), parameter.help
    default = duration(float(str(parameter.default))).replace(" ", "")
    return "time", default, re.sub("^seconds(, |; | |$)", "", parameter.help)


def _execute_template(
    arguments: Arguments, template: Template, runs: list[str]
) -> tuple[dict[str, str], tuple[str, bool]]:
    """Write the page of the executed template, and the notebook where it is asked for.

    Returns:
        Where they are; and what the page says first, and whether that is what was asked for.
    """
    paths = {"report": _out_of(arguments)}
    if arguments.notebook:
        paths["notebook"] = Path(arguments.notebook)
    if len({path.absolute() for path in paths.values()}) < len(paths):
        raise InvalidInput(
            f"Page and notebook cannot both be {paths['report']}: choose another --out."
        )
    values = template.check(_values(arguments, runs, template.parameters))
    _expect(template, values)
    for path in paths.values():
        make_folder(path.parent)
    made = make_page(
        template, values, paths["report"], timeout=arguments.timeout, title=arguments.title
    )
    if arguments.notebook:
        write_file(arguments.notebook, lambda file: file.write(json.dumps(made, indent=1).encode()))
    found = {name: str(path) for name, path in paths.items()}
    return found | _print(arguments, [paths["report"]]), find_answer(made)


def _expect(template: Template, values: Mapping[str, object]) -> None:
    """Refuse a model or task that the user's registry will not have, before any is trained."""
    chosen = template.fill(values)
    if chosen.get("registry") == "":
        lacking = Registry(home() / "registry")
        for name, expect in {"model": expect_model, "task": expect_task}.items():
            if chosen.get(name):
                expect(lacking, str(chosen[name]))


def _print(arguments: Arguments, pages: Sequence[Path]) -> dict[str, str]:
    """Write the PDF of each page, where PDFs are asked for, and return where they are."""
    if not arguments.pdf:
        return {}
    made = [print_page(page, page.with_suffix(".pdf")) for page in pages]
    return {"pdf": str(made[0].parent if len(made) > 1 else made[0])}


def _sweep(arguments: Arguments, template: Template, runs: list[str]) -> int:
    if arguments.notebook:
        raise InvalidInput("--notebook keeps one report: leave it out of a --sweep.")
    whole_number("--processes", arguments.processes, low=1)
    shared = _values(arguments, runs, template.parameters)
    varied, rows = read_grid(Path(arguments.sweep), template, shared)
    for row in rows:
        _expect(template, row)
    folder = Path(arguments.out or "reports")
    make_folder(folder)
    reports = list_reports(template, varied, rows, folder)
    try:
        with show_progress("Writing reports") as report:
            make_reports(reports, arguments.processes, timeout=arguments.timeout, progress=report)
    except KeyboardInterrupt:
        return report_interruption(f"what was made is in {folder}: run it again to go on")
    finally:
        index = write_index(reports, varied, arguments.title or template.title, folder)
    made = [each.page for each in reports if each.page.exists()]
    _print(arguments, [page for page in made if not page.with_suffix(".pdf").exists()])
    facts = {"index": str(index), "pages": [str(page) for page in made]}
    show(arguments, f"Index: {index}", facts)
    if failed := len(reports) - len(made):
        raise WorkbenchError(f"{failed} of {len(reports)} reports failed: {index} says of what.")
    return 0


def _values(
    arguments: Arguments, runs: list[str], known: Mapping[str, Parameter]
) -> dict[str, object]:
    """Return the template's parameters: what the options say, and what -p says."""
    values: dict[str, object] = {}
    if arguments.title and "title" in known:
        values["title"] = arguments.title
    if runs:
        values["runs"] = runs
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

    make_folder(path.parent)
    return write_report(
        comparison.runs, path, title=title, costs=costs_of(comparison), profiles=profiles
    )


def add_report(parser: argparse.ArgumentParser) -> None:
    """Add `workbench report`."""
    parser.add_argument(
        "what",
        nargs="*",
        metavar="WHAT",
        help="a template, one of ours or your own FILE.ipynb; folders of saved runs; or both",
    )
    parser.add_argument(
        "--list", action="store_true", help="show which templates there are, and what they take"
    )
    parser.add_argument(
        "--profile", action="append", default=[], metavar="FOLDER", help="a saved profile to show"
    )
    parser.add_argument(
        "-o", "--out", metavar="FILE", help="(report.html); of a --sweep a folder (reports)"
    )
    parser.add_argument(
        "--pdf", action="store_true", help="print it too, beside the page, with a Chromium"
    )
    parser.add_argument("--check", **CHECK)
    parser.add_argument("--title", help=f"of the page ({_TITLE}, or the template's)")
    notebook = parser.add_argument_group("from a template, a notebook that is executed")
    notebook.add_argument(
        *("-p", "--parameter"),
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="of the template, as region=eu-central-1 or latency=100ms",
    )
    about = "how long a report may take (1h); what was made until then is kept"
    notebook.add_argument("--timeout", **time_option(about, default=3600.0))
    notebook.add_argument(
        "--notebook",
        metavar="FILE",
        help="keep the executed notebook here (of compare, without another template)",
    )
    notebook.add_argument(
        "--sweep",
        metavar="GRID",
        help="a report for each row of a TOML file: rate = [10, 50]; goes on where it was",
    )
    notebook.add_argument(
        "--processes",
        type=int,
        default=1,
        metavar="NUMBER",
        help="reports at a time (%(default)s); where they measure they slow each other down",
    )
    parser.set_defaults(command=_report_on)
