"""How commands show runs and predictions: what they come to, the table, what to mind, a status."""

import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workbench.cli.files import write_table
from workbench.cli.installation import name_command
from workbench.cli.output import Arguments, print_json, print_text, report_interruption
from workbench.cli.statuses import check_verdicts
from workbench.comparison import Comparison, compare
from workbench.files import file_name
from workbench.report.conclusion import conclude, recommend

if TYPE_CHECKING:
    from workbench.plots.series import Results
    from workbench.pricing.cost import Cost
    from workbench.run import Run

WIDTH = 100
"""Characters in a line of a sentence."""


def show_runs(arguments: Arguments, runs: "Mapping[str, Run]", *, stopped: bool = False) -> int:
    """Print the runs side by side, save them where that is asked for; return the exit status."""
    if not runs:
        return report_interruption("nothing was measured")
    comparison = compare(list(runs.values()))
    try:
        print_text(arguments, format_comparison(comparison))
    finally:  # what was measured is kept, too, where a reader closes the output
        saved = save_runs(runs, Path(arguments.out)) if arguments.out else []
    if arguments.json:
        print_json(facts_of(comparison), written=saved)
    if saved:
        next_step = f"{name_command()} report {' '.join(saved)}"
        print_text(arguments, f"\nRuns: {', '.join(saved)}\nNext: {next_step}")
    if stopped:
        kept = "what was measured was kept"
        again = "run it again, with another --out, for the rest" if saved else "run it again"
        return report_interruption(f"{kept}: {again}")
    return check_comparison(arguments, comparison)


def show_results(arguments: Arguments, results: "Results") -> int:
    """Print results side by side, write the table where asked for; return the exit status."""
    comparison = compare(results)
    try:
        print_text(arguments, format_comparison(comparison))
    finally:
        written = write_table(comparison.frame, arguments.out)
    if arguments.json:
        print_json(facts_of(comparison), written=written)
    if written:
        print_text(arguments, f"\nTable: {written[0]}")
    return check_comparison(arguments, comparison)


def check_comparison(arguments: Arguments, comparison: Comparison) -> int:
    """Return the exit status that the verdicts on results come to, where it is asked for."""
    if not arguments.check:
        return 0
    return check_verdicts({name: each.verdict for name, each in comparison.results.items()})


def save_runs(runs: "Mapping[str, Run]", folder: Path, *, overwrite: bool = False) -> list[str]:
    """Return where each run is saved now."""
    return [
        str(run.save(folder / file_name(name), overwrite=overwrite)) for name, run in runs.items()
    ]


def facts_of(comparison: Comparison) -> dict[str, Any]:
    """Return a comparison as JSON values."""
    return {"sentence": _conclude(comparison), **comparison.to_dict()}


def format_comparison(comparison: Comparison) -> str:
    """Return what the comparison shows, its table of text, and what to mind."""
    notes = [f"Note: {warning}" for warning in comparison.warnings]
    finding = _conclude(comparison)
    answer = recommend(comparison)[0] if comparison.runs else ""
    lines = [answer if answer not in finding else "", finding]
    shown = [textwrap.fill(line, WIDTH) for line in lines]
    return "\n\n".join(filter(None, [*shown, str(comparison), "\n".join(notes)]))


def _conclude(comparison: Comparison) -> str:
    runs = comparison.runs
    return conclude(runs, costs=costs_of(comparison)) if runs else ""


def costs_of(comparison: Comparison) -> "list[Cost | None]":
    """Return the cost of each run."""
    return [comparison.costs.get(name) for name in comparison.runs]
