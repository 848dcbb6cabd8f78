"""A report on some runs: the answer first, then what it rests on, and last where it comes from."""

import contextlib
import json
import math
import os
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from workbench.errors import InvalidInput, NotFound
from workbench.files import write_file
from workbench.formatting import dollars
from workbench.plots.batches import plot_batch_sizes
from workbench.plots.costs import plot_cost_by_item
from workbench.plots.latency import plot_latency_ecdf, plot_latency_over_time
from workbench.plots.series import Results, name_results
from workbench.plots.service import Profiles, plot_service_times
from workbench.pricing.cost import Cost
from workbench.report.conclusion import Costs, costs_by_name, list_findings, recommend
from workbench.report.page import page_html
from workbench.report.parts import (
    Recommendation,
    define,
    draw,
    fold,
    head,
    itemize,
    quote,
    tabulate,
    tell,
)
from workbench.report.run_tables import (
    bill_of,
    figures_of,
    service_times_of,
    settings_of,
    validity_of,
    verdicts_of,
)
from workbench.run import Run
from workbench.run.costs import cost
from workbench.validation import of_kind

if TYPE_CHECKING:
    from workbench.comparison import Comparison

_DEFINITIONS = {
    "Latency": "From the instant a request was scheduled to the instant its answer was there: "
    "waiting in the buffer, for its batch and for a worker all count. Load is open-loop: a slow "
    "answer holds no later request back.",
    "Failed requests": "They count as infinitely late in every percentile and as a miss of the "
    "target. Throughput and cost count answered requests only.",
    "Percentiles": "p95 is the smallest latency that 95 % of all requests did not exceed. One with "
    "fewer than ten requests above it is not shown.",
    "Confidence intervals": "95 %, by the means of 10 consecutive parts of the run, since waiting "
    "times are correlated. They describe chance within a run like this one, not how another "
    "machine or hour would do. Runs are said to differ when their intervals do not meet.",
    "Origin": "Measured: executed. Simulated: computed in virtual time. Predicted: by formula.",
    "Cost": "From billed time and the dated price of each item, never from latency. A month has "
    "730 hours, in which the traffic repeats itself.",
}


def write_report(
    runs: Results,
    path: str | os.PathLike[str],
    *,
    title: str = "Inference report",
    costs: Costs | None = None,
    profiles: Profiles = (),
) -> Path:
    """Write a report on the runs as one HTML file, whole or not at all, and return its path.

    `costs` are those of the runs, in their order, by default as `cost` tells them; with () the
    report has no prices.
    Predictions among them stand in the table of figures and on the chart of latencies.

    Raises:
        InvalidInput: There is no run, a run has no requests, or there is not one cost for each run.
        StorageError: The file cannot be written.
    """
    page = report_html(runs, title=title, costs=costs, profiles=profiles)
    return write_file(path, lambda file: file.write(page.encode()))


def report_html(
    runs: Results,
    *,
    title: str = "Inference report",
    costs: Costs | None = None,
    profiles: Profiles = (),
) -> str:
    """Return the page that `write_report` writes."""
    from workbench.comparison import Comparison

    of_kind("title", title, str)
    results = name_results(runs)
    members = {name: each for name, each in results.items() if isinstance(each, Run)}
    if not members:
        raise InvalidInput(
            f"Each of runs must be a Run, got {runs!r} only: predictions stand beside runs."
        )
    bills = _price(members) if costs is None else costs_by_name(members, costs)
    comparison = Comparison(results, bills)
    return page_html(title, _parts(comparison, profiles))


def _price(members: Mapping[str, Run]) -> dict[str, Cost]:
    """Return what the runs cost whose deployment is known and has a price."""
    bills = {}
    for name, run in members.items():
        if run.record.deployment:
            with contextlib.suppress(NotFound):
                bills[name] = cost(run)
    return bills


def _parts(comparison: "Comparison", profiles: Profiles) -> Iterator[str]:
    """Yield the parts of the page, in the order of the template `compare`."""
    runs = comparison.runs
    yield answer_of(comparison).html()
    yield draw(plot_latency_ecdf(comparison.results))
    yield tabulate(verdicts_of(comparison))
    yield head("Details")
    yield tabulate(figures_of(comparison))
    yield from map(draw, (plot_latency_over_time(runs), plot_batch_sizes(runs)))
    if bill := bill_of(comparison):
        yield from (draw(plot_cost_by_item(comparison.costs)), tabulate(bill))
    if services := service_times_of(profiles):
        yield from (draw(plot_service_times(profiles)), tabulate(services))
    yield head("Where this comes from")
    yield provenance_html(comparison)


def answer_of(comparison: "Comparison") -> Recommendation:
    """Return which run to take, what it costs a month, and what else the runs show."""
    sentence, best = recommend(comparison)
    month = comparison.costs[best].per_month if best in comparison.costs else math.nan
    found = list_findings(comparison.runs, comparison.costs)
    return Recommendation(
        sentence,
        f"{dollars(month)} a month ({comparison.runs[best].origin})" if month > 0 else "",
        [each for each in found if each != sentence],
    )


def provenance_html(comparison: "Comparison") -> str:
    """Return where the figures come from: settings, validity, warnings, definitions, all facts."""
    runs = comparison.runs
    warned: dict[str, list[str]] = {}
    for name, each in comparison.results.items():
        for warning in each.warnings if isinstance(each, Run) else each.assumptions:
            warned.setdefault(warning, []).append(name)
    warnings = [f"{', '.join(dict.fromkeys(names))}: {text}" for text, names in warned.items()]
    write = partial(json.dumps, indent=2, sort_keys=True, default=str, ensure_ascii=False)
    return "".join(
        [
            *map(tabulate, settings_of(runs)),
            tabulate(validity_of(runs)),
            itemize(warnings) if warnings else tell("No warnings."),
            fold("How the figures are defined", define(_DEFINITIONS)),
            *(fold(f"All facts of {name}", quote(write(r.facts))) for name, r in runs.items()),
        ]
    )
