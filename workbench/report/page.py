"""One HTML file about some runs: what was run, what came of it, and how far to trust it.

The file needs no internet and no script. Everything that came from outside is escaped, and the
page's own policy forbids it to load or run anything.
"""

import json
import os
import re
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from workbench.batching.timer import BatchPolicy
from workbench.deployment import Deployment
from workbench.errors import InvalidInput
from workbench.files import write_file
from workbench.formatting import Table, dollars, duration, in_ms, percent
from workbench.measuring.profile import Profile
from workbench.plots.batches import plot_batch_sizes
from workbench.plots.costs import plot_cost_by_item
from workbench.plots.figure import Figure
from workbench.plots.latency import plot_latency_ecdf, plot_latency_over_time
from workbench.plots.series import Result, Results, Runs, name_results
from workbench.plots.service import Profiles, plot_service_times, service_times
from workbench.prediction_errors import error_columns, format_errors
from workbench.pricing.cost import Cost, CostItem
from workbench.quantiles import PERCENTILES
from workbench.queueing.predictions import Prediction
from workbench.report.conclusion import (
    Costs,
    conclusion_sentences,
    costs_by_name,
    estimates_of,
    format_target,
)
from workbench.run import Run
from workbench.run.record import Lag, MemberRecord, ModelRecord, TraceRecord
from workbench.validation import of_kind

_LISTED = 20  # values of a list that are shown; of more, how many they are


def write_report(
    runs: Results,
    path: str | os.PathLike[str],
    *,
    title: str = "Inference report",
    costs: Costs = (),
    profiles: Profiles = (),
) -> Path:
    """Write a report on the runs as one HTML file, whole or not at all, and return its path.

    `costs` are those of the runs, in their order; without them the report has no prices.
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
    costs: Costs = (),
    profiles: Profiles = (),
) -> str:
    """Return the page that `write_report` writes."""
    of_kind("title", title, str)
    results = name_results(runs)
    members = {name: each for name, each in results.items() if isinstance(each, Run)}
    if not members:
        raise InvalidInput(
            f"Each of runs must be a Run, got {runs!r} only: predictions stand beside runs."
        )
    costs_of = costs_by_name(members, costs)
    services = _service_times(profiles)
    return _render(
        "page.html.j2",
        title=title,
        finding=conclusion_sentences(members, costs_of),
        settings=_settings(members),
        results=_results(results, costs_of),
        charts=[
            plot_latency_ecdf(results),
            plot_latency_over_time(members),
            plot_batch_sizes(members),
        ],
        bill=_bill(costs_of) if costs_of else None,
        cost_chart=plot_cost_by_item(costs_of) if costs_of else None,
        services=services,
        service_chart=plot_service_times(profiles) if services else None,
        validity=_validity(members),
        warnings=[
            f"{name}: {warning}"
            for name, each in results.items()
            for warning in (each.warnings if isinstance(each, Run) else each.assumptions)
        ],
        facts={name: _format_json(run.facts) for name, run in members.items()},
    )


def _render(template: str, **values: object) -> str:
    """Return a template of this package, filled in; values are escaped unless it says `safe`."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    engine = Environment(
        loader=PackageLoader("workbench.report", ""), undefined=StrictUndefined, autoescape=True
    )
    engine.filters["svg"] = _draw_svg
    return engine.get_template(template).render(values)


def _draw_svg(figure: Figure, key: object) -> str:
    """Return the figure as SVG in the colours of the page."""
    svg = figure.svg(ink="currentColor", with_title=False)
    # Vega numbers the clip paths of each drawing from zero: on one page they need names apart.
    return re.sub(r'(<clipPath id="|clip-path="url\(#)', rf"\g<1>f{key}-", svg)


def settings_html(runs: Runs) -> str:
    """Return tables of what the runs were made with: what differs, and what all share."""
    return "".join(table.html() for table in _settings(name_results(runs)))


def _settings(members: Mapping[str, Run]) -> list[Table]:
    """Return what the runs were made with: side by side what differs, once what all share."""
    described = {name: _describe_settings(run) for name, run in members.items()}
    keys = list(dict.fromkeys(key for settings in described.values() for key in settings))
    rows = [(key, *(settings.get(key) for settings in described.values())) for key in keys]
    shared = [row[:2] for row in rows if len(set(row[1:])) == 1]
    differing = [row for row in rows if len(set(row[1:])) > 1]
    tables = []
    if differing:
        tables.append(Table(["setting", *members], differing, "What differs"))
    if shared:
        caption = "The same in every run" if len(members) > 1 else "Settings"
        tables.append(Table(["setting", "value"], shared, caption))
    return tables


def _describe_settings(run: Run) -> dict[str, str]:
    record = run.record
    machine = record.environment or {}
    settings = {
        "model": _describe_model(record.model),
        **{each.name: _describe_member(each) for each in record.members or ()},
        "router": _format_fact(record.router),
        "rows together": record.batch_invariance or "",
        "deployment": _describe_deployment(record.deployment),
        "scaling": _format_fact(record.scaling),
        "spot instances": _format_fact(record.spot),
        "batching": _describe_policy(record.policy),
        "traffic": _describe_traffic(record.trace),
        "target": format_target(run.slo) if run.slo else "",
        "seed": _format_fact(record.seed),
        "origin of every figure": run.origin,
        "created": _format_fact(record.created),
        "processor": _format_fact(machine.get("cpu")),
        "cores": _format_fact(machine.get("cores")),
        "system": _format_fact(machine.get("system")),
        "Python": _format_fact(machine.get("python")),
        "versions": _format_fact(machine.get("versions")),
        "commit": _format_fact(machine.get("commit")),
    }
    return {key: value for key, value in settings.items() if value}


def _describe_model(model: ModelRecord | None) -> str:
    return f"{model.name} (sha256 {(model.sha256 or 'unknown')[:12]})" if model else ""


def _describe_member(member: MemberRecord) -> str:
    parts = _describe_model(member.model), member.deployment.label, _describe_policy(member.policy)
    return "; ".join(part for part in parts if part)


def _describe_deployment(deployment: Deployment | None) -> str:
    if deployment is None:
        return ""
    settings = {name: value for name, value in deployment.to_dict().items() if name != "kind"}
    return f"{deployment.label} ({_format_fact(settings)})"


def _describe_policy(policy: Mapping[str, Any] | None) -> str:
    if policy and policy.keys() == {"kind", "max_size", "max_wait"}:
        return BatchPolicy(max_size=policy["max_size"], max_wait=policy["max_wait"]).label
    return _format_fact(policy)


def _describe_traffic(trace: TraceRecord | None) -> str:
    if trace is None or trace.requests is None or trace.duration is None:
        return trace.name if trace else ""
    return f"{trace.name}: {trace.requests:,} requests in {trace.duration:g} s"


def _format_fact(value: Any) -> str:  # noqa: ANN401 - any JSON value
    """Return a JSON value in words."""
    if isinstance(value, Mapping):
        items = (
            (key, _format_fact(item)) for key, item in sorted(value.items()) if key != "sha256"
        )
        return ", ".join(f"{key} {item}" for key, item in items if item)
    if isinstance(value, list | tuple):
        many = len(value) > _LISTED
        return f"{len(value):,} values" if many else ", ".join(map(_format_fact, value))
    return "" if value is None else str(value)


def _results(results: Mapping[str, Result], costs_of: Mapping[str, Cost]) -> Table:
    summaries = {name: _summary(each, costs_of.get(name)) for name, each in results.items()}
    errors = error_columns(summaries, results)
    columns = {
        name: {**_figures(each, costs_of.get(name)), **format_errors(errors[name])}
        for name, each in results.items()
    }
    rows = _merge_columns(columns)
    caption = "Figures of each run; in brackets 95 % confidence intervals of the long run"
    return Table(["figure", *results], rows, caption)


def _summary(result: Result, cost: Cost | None) -> dict[str, Any]:
    """Return the figures that have errors, by name."""
    rate = {} if isinstance(result, Run) else {"throughput": result.rate}
    priced = cost.per_million if cost and cost.answered else None
    return {**result.summary(), **rate, "per_million": priced}


def _merge_columns(columns: Mapping[str, Mapping[str, Any]]) -> list[tuple[Any, ...]]:
    """Return rows of all keys in order, a value for each column."""
    keys = dict.fromkeys(key for column in columns.values() for key in column)
    return [(key, *(column.get(key) for column in columns.values())) for key in keys]


def _figures(run: Result, cost: Cost | None) -> dict[str, Any]:
    if not isinstance(run, Run):
        return _figures_of_prediction(run)
    summary = run.summary()
    figures: dict[str, Any] = {
        "requests": len(run),
        "failed": f"{summary['failed']:,} ({percent(summary['failed'] / len(run))})",
        **{f"p{100 * q:g} latency": _percentile(run, q) for q in PERCENTILES},
    }
    if run.slo:
        figures[f"answered within {duration(run.slo.latency)}"] = percent(run.attainment())
    figures |= {
        "throughput (answers a second)": summary["throughput"],
        "batches": summary["batches"],
        "mean batch size (requests)": summary["mean_batch_size"],
    }
    if summary["cold_starts"]:
        figures["cold starts"] = summary["cold_starts"]
    if summary["accuracy"] is not None:
        figures["rows predicted right"] = percent(summary["accuracy"])
    if cost:
        figures["cost"] = dollars(cost.total)
        figures["cost of a million requests"] = dollars(cost.per_million) if cost.answered else None
    return figures


def _figures_of_prediction(prediction: Prediction) -> dict[str, Any]:
    """Return a prediction's figures by the names of a run's."""
    figures: dict[str, Any] = {
        f"p{100 * q:g} latency": duration(float(prediction.quantile(q))) for q in PERCENTILES
    }
    if prediction.slo:
        within = prediction.attainment(prediction.slo)
        figures[f"answered within {duration(prediction.slo.latency)}"] = percent(within)
    figures["throughput (answers a second)"] = prediction.rate
    figures["mean batch size (requests)"] = prediction.mean_batch_size
    if prediction.warnings:
        figures["fit of arrivals"] = "WARNED, see below"
    return figures


def _percentile(run: Run, q: float) -> str:
    estimates = estimates_of({"": run}, q)
    return estimates[0].text if estimates else "too few requests to tell"


def _bill(costs_of: Mapping[str, Cost]) -> Table:
    columns = [
        *("run", "item", "quantity", "unit", "unit price ($)", "cost ($)", "price is", "source"),
    ]
    rows = [
        (name, i.what, i.quantity, i.unit, i.unit_price, i.dollars, i.mark, _source(i))
        for name, cost in costs_of.items()
        for i in cost.items
    ]
    return Table(columns, rows, "What was billed, in US dollars")


def _source(item: CostItem) -> str:
    return f"{item.source}, {item.date}" if item.date else item.source


def _service_times(profiles: Profiles) -> Table | None:
    if not isinstance(profiles, Profile) and not profiles:
        return None
    columns = ["series", "batch size", "median (ms)", "p5 (ms)", "p95 (ms)"]
    rows = [
        (name, size, *(1000 * seconds for seconds in times))
        for name, size, *times in service_times(profiles).rows()
    ]
    return Table(columns, rows, "Service times")


def _validity(members: Mapping[str, Run]) -> Table:
    columns = {
        name: {
            "complete": "yes" if run.complete else "NO: it was stopped early",
            "valid": "yes" if run.valid else "NO: its load was off schedule",
            **_lag(run.record.lag),
            "intervals": _describe_intervals(run),
        }
        for name, run in members.items()
    }
    return Table(["", *members], _merge_columns(columns), "Can the figures be relied on?")


def _describe_intervals(run: Run) -> str:
    """Return what the intervals of p95 come from, or why there are none."""
    if (repeated := run.replications_for(0.95)) is not None:
        return f"from {repeated.about}"
    if run.count_missing(0.95):
        return run.explain_missing(0.95)
    return f"from this run alone, worth {run.worth:,.0f} independent requests at its load"


def _lag(lag: Lag | None) -> dict[str, str]:
    """Return how late the generator sent requests."""
    figures = asdict(lag) if lag else {}
    return {f"sent late, {name} (ms)": in_ms(seconds) for name, seconds in figures.items()}


def _format_json(facts: Mapping[str, Any]) -> str:
    return json.dumps(dict(facts), indent=2, sort_keys=True, default=str, ensure_ascii=False)
