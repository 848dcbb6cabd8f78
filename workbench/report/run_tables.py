"""The tables of a report on runs: verdicts, figures, bill, service times, settings, validity."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from workbench.batching.timer import BatchPolicy
from workbench.deployment import Deployment
from workbench.formatting import (
    Table,
    dollars,
    duration,
    format_cell,
    format_fact,
    percent,
    percentile,
)
from workbench.plots.series import Result, common_slo
from workbench.pricing.cost import Cost, CostItem
from workbench.quantiles import PERCENTILES
from workbench.report.conclusion import estimates_of
from workbench.run import Run
from workbench.run.record import Lag, MemberRecord, ModelRecord, RunRecord, TraceRecord

if TYPE_CHECKING:
    from workbench.comparison import Comparison
    from workbench.plots.service import Profiles


def verdicts_of(comparison: "Comparison") -> Table:
    """Return a row a result: whether it meets its target, its latency there, and what it costs."""
    slo = common_slo(comparison.results)
    q = slo.quantile if slo else 0.95
    columns = ["", "verdict", "a month", "a million", f"{percentile(q)} (95 % interval)", "in time"]
    rows = [
        (
            name,
            str(each.verdict or "no target"),
            *map(_dollars, map(comparison.figures[name].get, ("per_month", "per_million"))),
            _percentile(each, q),
            percent(each.attainment(each.slo)) if each.slo else None,
        )
        for name, each in comparison.results.items()
    ]
    about = f"Target {slo.label}; " if slo else ""
    return Table(columns, rows, f"{about}US dollars a month and a million answered requests")


def _percentile(result: Result, q: float) -> str:
    """Return a quantile in words, with its interval where there is one."""
    if not isinstance(result, Run):
        return duration(float(result.quantile(q)))
    estimates = estimates_of({"": result}, q)
    return estimates[0].text if estimates else "too few requests to tell"


def _dollars(amount: float | None) -> str | None:
    return None if amount is None else dollars(amount)


def settings_of(members: Mapping[str, Run]) -> list[Table]:
    """Return what the runs were made with: side by side what differs, once what all share."""
    described = {name: _describe_settings(run) for name, run in members.items()}
    keys = list(dict.fromkeys(key for settings in described.values() for key in settings))
    rows = {key: [settings.get(key) for settings in described.values()] for key in keys}
    shared = [(key, row[0]) for key, row in rows.items() if len(set(row)) == 1]
    short = _tell_apart([run.record for run in members.values()])
    differing = [
        (key, *(cell or None for cell in short.get(key, row)))
        for key, row in rows.items()
        if len(set(row)) > 1
    ]
    tables = []
    if differing:
        tables.append(Table(["setting", *members], differing, "What differs"))
    if shared:
        caption = "The same in every run" if len(members) > 1 else "Settings"
        tables.append(Table(["setting", "value"], shared, caption))
    return tables


def _tell_apart(records: Sequence[RunRecord]) -> dict[str, list[str]]:
    """Return by setting what each run's deployment and scaling are, with what differs in them."""
    where = [each.deployment for each in records]
    how = [each.scaling or {} for each in records]
    types = [each.to_dict() if each else {} for each in where]
    return {
        "deployment": _add_differences([each.label if each else "" for each in where], types),
        "scaling": _add_differences([each.get("kind", "") for each in how], how),
    }


def _add_differences(names: Sequence[str], settings: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return each name with those settings that others, which have them too, have otherwise."""
    flat = [_flatten(each) for each in settings]
    held: dict[str, set[str]] = {}
    for name, value in (item for each in flat for item in each.items()):
        held.setdefault(name, set()).add(value)
    differing = [
        ", ".join(f"{key} {value}" for key, value in each.items() if value and len(held[key]) > 1)
        for each in flat
    ]
    return [
        f"{name} ({more})" if more else name for name, more in zip(names, differing, strict=True)
    ]


def _flatten(settings: Mapping[str, Any], above: str = "") -> dict[str, str]:
    """Return settings in words, each of those within others by both names; kind is no setting."""
    flat: dict[str, str] = {}
    for name, value in sorted(settings.items()):
        if isinstance(value, Mapping):
            flat |= _flatten(value, f"{above}{name} ")
        elif above or name != "kind":
            flat[f"{above}{name}"] = format_fact(value)
    return flat


def _describe_settings(run: Run) -> dict[str, str]:
    record = run.record
    machine = record.environment or {}
    settings = {
        "model": _describe_model(record.model),
        **{each.name: _describe_member(each) for each in record.members or ()},
        "router": format_fact(record.router),
        "rows together": record.batch_invariance or "",
        "deployment": _describe_deployment(record.deployment),
        "scaling": format_fact(record.scaling),
        "spot instances": format_fact(record.spot),
        "batching": _describe_policy(record.policy),
        "traffic": _describe_traffic(record.trace),
        "target": run.slo.label if run.slo else "",
        "seed": format_fact(record.seed),
        "origin of every figure": run.origin,
        "created": format_fact(record.created),
        "processor": format_fact(machine.get("cpu")),
        "cores": format_fact(machine.get("cores")),
        "system": format_fact(machine.get("system")),
        "Python": format_fact(machine.get("python")),
        "versions": format_fact(machine.get("versions")),
        "commit": format_fact(machine.get("commit")),
    }
    return {key: value for key, value in settings.items() if value}


def _describe_model(model: ModelRecord | None) -> str:
    return f"{model.name} (sha256 {(model.sha256 or 'unknown')[:12]})" if model else ""


def _describe_member(member: MemberRecord) -> str:
    parts = _describe_model(member.model), member.deployment.label, _describe_policy(member.policy)
    return "; ".join(filter(None, parts))


def _describe_deployment(deployment: Deployment | None) -> str:
    if deployment is None:
        return ""
    settings = {name: value for name, value in deployment.to_dict().items() if name != "kind"}
    return f"{deployment.label} ({format_fact(settings)})"


def _describe_policy(policy: Mapping[str, Any] | None) -> str:
    if policy and policy.keys() == {"kind", "max_size", "max_wait"}:
        return BatchPolicy(max_size=policy["max_size"], max_wait=policy["max_wait"]).label
    return format_fact(policy)


def _describe_traffic(trace: TraceRecord | None) -> str:
    if trace is None or trace.requests is None or trace.duration is None:
        return trace.name if trace else ""
    return f"{trace.name}: {trace.requests:,} requests in {duration(trace.duration)}"


def figures_of(comparison: "Comparison") -> Table:
    """Return a column a result, with the figures of each."""
    from workbench.comparison.prediction_errors import error_columns, format_errors

    results = comparison.results
    errors = error_columns(comparison.figures, results)
    columns = {
        name: {**_figures(each, comparison.costs.get(name)), **format_errors(errors[name])}
        for name, each in results.items()
    }
    rows = [[name, *map(format_cell, cells)] for name, *cells in _merge_columns(columns)]
    caption = "Figures of each run; in brackets 95 % confidence intervals of the long run"
    return Table(["figure", *results], rows, caption)


def _merge_columns(columns: Mapping[str, Mapping[str, Any]]) -> list[tuple[Any, ...]]:
    keys = dict.fromkeys(key for column in columns.values() for key in column)
    return [(key, *(column.get(key) for column in columns.values())) for key in keys]


def _figures(result: Result, cost: Cost | None) -> dict[str, Any]:
    """Return the figures of a run, or by the same names those that a prediction has."""
    summary, figures = result.summary(), {}  # type: dict[str, Any], dict[str, Any]
    if isinstance(result, Run):
        failed = summary["failed"]
        figures["requests"] = len(result)
        figures["failed"] = f"{failed:,} ({percent(failed / len(result))})"
    figures |= {f"{percentile(q)} latency": _percentile(result, q) for q in PERCENTILES}
    if slo := result.slo:
        figures[f"answered within {duration(slo.latency)}"] = percent(result.attainment(slo))
    rate = summary["throughput"] if isinstance(result, Run) else result.rate
    figures["throughput (answers a second)"] = rate
    if isinstance(result, Run):
        figures["batches"] = summary["batches"]
    figures["mean batch size (requests)"] = summary["mean_batch_size"]
    if not isinstance(result, Run):
        return figures | ({"fit of arrivals": "WARNED, see below"} if result.warnings else {})
    if summary["cold_starts"]:
        figures["cold starts"] = summary["cold_starts"]
    if summary["accuracy"] is not None:
        figures["rows predicted right"] = percent(summary["accuracy"])
    if cost:
        figures["cost of this run"] = dollars(cost.total)
        figures["cost of a million requests"] = dollars(cost.per_million) if cost.answered else None
    return figures


def bill_of(comparison: "Comparison") -> Table | None:
    """Return what was billed for each run, item by item; None where no price is known."""
    if not comparison.costs:
        return None
    columns = ["", "item", "cost", "quantity", "unit", "price of one", "price is", "source"]
    rows = [
        (name, *_bill_cells(item)) for name, cost in comparison.costs.items() for item in cost.items
    ]
    return Table(columns, rows, "What was billed, in US dollars")


def _bill_cells(item: CostItem) -> tuple[object, ...]:
    source = f"{item.source}, {item.date}" if item.date else item.source
    price = dollars(item.unit_price)
    return item.what, dollars(item.dollars), item.quantity, item.unit, price, item.mark, source


def service_times_of(profiles: "Profiles") -> Table | None:
    """Return the service times that profiles measured; None where there are no profiles."""
    from workbench.measuring.profile import Profile
    from workbench.plots.service import service_times

    if not isinstance(profiles, Profile) and not profiles:
        return None
    columns = ["series", "batch size", "median", "p5", "p95"]
    rows = [
        (name, size, *map(duration, times)) for name, size, *times in service_times(profiles).rows()
    ]
    return Table(columns, rows, "Service times")


def validity_of(members: Mapping[str, Run]) -> Table:
    """Return a column a run: whether its figures can be relied on."""
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
    figures = asdict(lag) if lag else {}
    return {f"sent late, {name}": duration(seconds) for name, seconds in figures.items()}
