"""One HTML file about some runs: what was run, what came of it, and how far to trust it.

The file needs no internet and no script. Everything that came from outside is escaped, and the
page's own policy forbids it to load or run anything.
"""

import json
import math
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from html import escape
from pathlib import Path
from typing import Any

from workbench.batching.timer import BatchPolicy
from workbench.deployment import Deployment
from workbench.errors import InvalidInput, TooFewSamples
from workbench.files import write_file
from workbench.formatting import dollars, html_table, in_ms, milliseconds, percent
from workbench.measuring.profile import Profile
from workbench.plots.batches import plot_batch_sizes
from workbench.plots.costs import plot_cost_by_item
from workbench.plots.figure import Figure
from workbench.plots.latency import plot_latency_ecdf, plot_latency_over_time
from workbench.plots.series import Runs, name_results, shared_slo
from workbench.plots.service import Profiles, plot_service_times, service_times
from workbench.pricing.cost import Cost
from workbench.run import PERCENTILES, SLO, Run
from workbench.run.record import Lag, ModelRecord, TraceRecord
from workbench.validation import as_tuple, of_kind

Costs = Sequence[Cost | None]

_PRICE_TOLERANCE = 0.01  # prices that differ by less than this share are called the same


def write_report(
    runs: Runs,
    path: str | os.PathLike[str],
    *,
    title: str = "Inference report",
    costs: Costs = (),
    profiles: Profiles = (),
) -> Path:
    """Write a report on the runs as one HTML file, whole or not at all, and return its path.

    `costs` are those of the runs, in their order; without them the report tells no prices.

    Raises:
        InvalidInput: There is no run, a run has no requests, or there is not one cost for each run.
        StorageError: The file cannot be written.
    """
    page = report_html(runs, title=title, costs=costs, profiles=profiles)
    return write_file(path, lambda file: file.write(page.encode()))


def report_html(
    runs: Runs,
    *,
    title: str = "Inference report",
    costs: Costs = (),
    profiles: Profiles = (),
) -> str:
    """Return the page that `write_report` writes."""
    of_kind("title", title, str)
    members = name_results(runs)
    for run in members.values():
        of_kind("Each of runs", run, Run)
    priced = _costs_by_name(members, costs)
    sections = {
        "What was run": _settings(members),
        "Results": _results(members, priced),
        "Charts": _charts(members),
        "Cost": _money(priced),
        "Service times": _services(profiles),
        "Validity and warnings": _validity(members),
        "How the figures are defined": _DEFINITIONS,
        "All facts": "".join(_raw(name, run) for name, run in members.items()),
    }
    return _PAGE.format(
        title=escape(title),
        style=_STYLE,
        finding="".join(f"<p>{escape(line)}</p>" for line in _findings(members, priced)),
        sections="".join(
            f"<section><h2>{name}</h2>{content}</section>\n"
            for name, content in sections.items()
            if content
        ),
    )


def _costs_by_name(members: Mapping[str, Run], costs: Costs) -> dict[str, Cost]:
    for cost in as_tuple("costs", costs):
        of_kind("Each of costs", cost, Cost | None, "a Cost, or None for a run without")
    if costs and len(costs) != len(members):
        raise InvalidInput(
            f"There must be one cost a run: {len(members)} runs, {len(costs)} costs."
        )
    return {name: cost for name, cost in zip(members, costs, strict=False) if cost is not None}


# ---------------------------------------------------------------------------------------- finding


@dataclass(frozen=True)
class _Estimate:
    """A quantile of a run's latencies with its interval, both ends NaN where it is not known."""

    name: str
    value: float
    low: float
    high: float

    def apart(self, other: "_Estimate") -> bool:
        """Whether the intervals are known and do not meet."""
        return self.high < other.low or other.high < self.low

    @property
    def told(self) -> bool:
        """Whether there is an interval."""
        return not math.isnan(self.low)

    @property
    def text(self) -> str:
        """The value, its interval in brackets."""
        if math.isinf(self.value):
            return "infinite"
        return milliseconds(self.value) + (f" ({_span(self.low, self.high)})" if self.told else "")

    def __str__(self) -> str:
        return f'{self.text} for "{self.name}"'


def finding(runs: Runs, *, costs: Costs = ()) -> str:
    """Return in a few sentences what the runs show, and no more than their intervals carry.

    >>> run = Run.from_arrays(scheduled=range(400), finished=[k + 0.5 for k in range(400)])
    >>> finding(run)
    'p95 is 500 ms (500 to 500) over 400 requests.'
    """
    members = name_results(runs)
    return " ".join(_findings(members, _costs_by_name(members, costs)))


def _findings(members: Mapping[str, Run], priced: Mapping[str, Cost]) -> list[str]:
    slo = shared_slo(members)
    return [
        *_flaw_sentences(members),
        _compare(members, priced, slo),
        *([_target_sentence(members, slo)] if slo else []),
        *_failure_sentences(members),
    ]


def _estimates(members: Mapping[str, Run], q: float) -> list[_Estimate]:
    """The quantile of each run, none when one of them has too few requests."""
    try:
        values = {name: run.quantile(q) for name, run in members.items()}
    except TooFewSamples:
        return []
    return [_Estimate(name, value, *_interval(members[name], q)) for name, value in values.items()]


def _interval(run: Run, q: float) -> tuple[float, float]:
    try:
        return run.interval(q)
    except TooFewSamples:
        return math.nan, math.nan


def _flaw_sentences(members: Mapping[str, Run]) -> list[str]:
    invalid = [name for name, run in members.items() if not run.valid]
    stopped = [name for name, run in members.items() if not run.complete]
    sentences = []
    if invalid:
        sentences.append(f"INVALID, the load was off schedule: {_join_names(invalid)}.")
    if stopped:
        sentences.append(f"Incomplete, stopped early: {_join_names(stopped)}.")
    return sentences


def _failure_sentences(members: Mapping[str, Run]) -> list[str]:
    failed = [
        f'{len(run) - run.answered:,} of {len(run):,} for "{name}"'
        for name, run in members.items()
        if run.answered < len(run)
    ]
    return [f"Failed requests, counted as infinitely late: {', '.join(failed)}."] if failed else []


def _compare(members: Mapping[str, Run], priced: Mapping[str, Cost], slo: SLO | None) -> str:
    """The highest percentile that all runs can tell, side by side."""
    for q in dict.fromkeys([slo.quantile if slo else 0.95, 0.95, 0.9, 0.5]):
        estimates = _estimates(members, q)
        if estimates:
            break
    else:
        return "There are too few requests to tell a percentile."
    what = f"p{100 * q:g}"
    if len(estimates) == 1:
        return f"{what} is {estimates[0].text} over {len(members[estimates[0].name]):,} requests."
    if len(estimates) == 2:
        return _compare_two(what, *estimates, members=members) + _price(priced, estimates)
    return _compare_several(what, estimates)


def _compare_two(
    what: str, first: _Estimate, second: _Estimate, *, members: Mapping[str, Run]
) -> str:
    if math.isnan(first.low + second.low):
        return (
            f"{what} is {first} and {second}; too few requests for intervals, so the difference "
            "may be chance"
        )
    if not first.apart(second):
        return f"{what} does not differ beyond its 95 % intervals: {first}, {second}"
    if members[first.name].origin != members[second.name].origin:
        return f"{what} is {first}, but {second}"
    change = "fell" if second.value < first.value else "rose"
    return f"{what} {change} from {first} to {second}"


def _price(priced: Mapping[str, Cost], estimates: Sequence[_Estimate]) -> str:
    """What a million requests cost in two runs, as the end of a sentence."""
    prices = [priced[e.name].per_million if e.name in priced else math.nan for e in estimates]
    if not all(map(math.isfinite, prices)) or max(prices) == 0:
        return "."
    if max(prices) - min(prices) <= _PRICE_TOLERANCE * max(prices):
        return f", at the same price ({dollars(prices[0])} a million requests)."
    first, second = map(dollars, prices)
    return f"; a million requests cost {first} and {second}."


def _compare_several(what: str, estimates: Sequence[_Estimate]) -> str:
    best, *others = sorted(estimates, key=lambda estimate: estimate.value)
    close = [other.name for other in others if not best.apart(other)]
    sentence = f"Of {len(estimates)} runs, the lowest {what} is {best}"
    if close:
        sentence += f", from which {_join_names(close)} cannot be told apart by the 95 % intervals"
    return f"{sentence}; the highest is {others[-1]}."


def _target_sentence(members: Mapping[str, Run], slo: SLO) -> str:
    met: list[str] = []
    missed: list[str] = []
    unclear: list[str] = []
    for name, run in members.items():
        low, high = _interval(run, slo.quantile)
        side = met if high <= slo.latency else missed if low > slo.latency else unclear
        side.append(name)
    verdicts = {"met by": met, "missed by": missed, "too close or too short to tell for": unclear}
    told = "; ".join(
        f"{verdict} {_join_names(names)}" for verdict, names in verdicts.items() if names
    )
    return f"Target {_sign(slo.label)}: {told}."


def _join_names(names: Sequence[str]) -> str:
    *rest, last = (f'"{name}"' for name in names)
    return f"{', '.join(rest)} and {last}" if rest else last


def _span(low: float, high: float) -> str:
    return f"{in_ms(low)} to {in_ms(high)}"


def _sign(label: str) -> str:
    return label.replace("<=", "≤")


# --------------------------------------------------------------------------------------- settings


def settings_html(runs: Runs) -> str:
    """Return tables of what the runs were made with: what differs, and what all share."""
    return _settings(name_results(runs))


def _settings(members: Mapping[str, Run]) -> str:
    """What the runs were made with: once what all share, side by side what differs."""
    described = {name: _describe_settings(run) for name, run in members.items()}
    keys = list(dict.fromkeys(key for settings in described.values() for key in settings))
    rows = [(key, *(settings.get(key, "-") for settings in described.values())) for key in keys]
    shared = [row[:2] for row in rows if len(set(row[1:])) == 1]
    differing = [row for row in rows if len(set(row[1:])) > 1]
    tables = []
    if differing:
        tables.append(_wide("What differs", ["setting", *members], differing))
    if shared:
        caption = "The same in every run" if len(members) > 1 else "Settings"
        tables.append(_wide(caption, ["setting", "value"], shared))
    return "".join(tables)


def _describe_settings(run: Run) -> dict[str, str]:
    record = run.record
    machine = record.environment or {}
    settings = {
        "model": _model(record.model),
        "deployment": _deployment(record.deployment),
        "batching": _batching(record.policy),
        "traffic": _traffic(record.trace),
        "target": _sign(run.slo.label) if run.slo else "",
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


def _model(model: ModelRecord | None) -> str:
    return f"{model.name} (sha256 {(model.sha256 or 'unknown')[:12]})" if model else ""


def _deployment(deployment: Deployment | None) -> str:
    if deployment is None:
        return ""
    settings = {name: value for name, value in deployment.to_dict().items() if name != "kind"}
    return f"{deployment.label} ({_format_fact(settings)})"


def _batching(policy: Mapping[str, Any] | None) -> str:
    if policy and policy.keys() == {"kind", "max_size", "max_wait"}:
        return BatchPolicy(max_size=policy["max_size"], max_wait=policy["max_wait"]).label
    return _format_fact(policy)


def _traffic(trace: TraceRecord | None) -> str:
    if trace is None or trace.requests is None or trace.duration is None:
        return trace.name if trace else ""
    return f"{trace.name}: {trace.requests:,} requests in {trace.duration:g} s"


def _format_fact(value: Any) -> str:  # noqa: ANN401 - any JSON value
    """A JSON value in words."""
    if isinstance(value, Mapping):
        told = ((key, _format_fact(item)) for key, item in sorted(value.items()) if key != "sha256")
        return ", ".join(f"{key} {item}" for key, item in told if item)
    if isinstance(value, list | tuple):
        return ", ".join(map(_format_fact, value))
    return "" if value is None else str(value)


# ---------------------------------------------------------------------------------------- results


def _results(members: Mapping[str, Run], priced: Mapping[str, Cost]) -> str:
    rows = _merge_columns({name: _figures(run, priced.get(name)) for name, run in members.items()})
    caption = "Figures of each run; in brackets 95 % confidence intervals"
    return f'<div class="figures">{_wide(caption, ["figure", *members], rows)}</div>'


def _merge_columns(columns: Mapping[str, Mapping[str, Any]]) -> list[tuple[Any, ...]]:
    """Rows of all keys in order, a value for each column."""
    keys = dict.fromkeys(key for column in columns.values() for key in column)
    return [(key, *(column.get(key) for column in columns.values())) for key in keys]


def _figures(run: Run, cost: Cost | None) -> dict[str, Any]:
    summary = run.summary()
    figures: dict[str, Any] = {
        "requests": len(run),
        "failed": f"{summary['failed']:,} ({percent(summary['failed'] / len(run))})",
        **{f"p{100 * q:g} latency (ms)": _percentile(run, q) for q in PERCENTILES},
    }
    if run.slo:
        figures[f"answered within {milliseconds(run.slo.latency)}"] = percent(run.attainment())
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


def _percentile(run: Run, q: float) -> str:
    estimates = _estimates({"": run}, q)
    return estimates[0].text.replace(" ms", "") if estimates else "too few requests to tell"


def _charts(members: Mapping[str, Run]) -> str:
    runs = list(members.values())
    figures = (plot_latency_ecdf(runs), plot_latency_over_time(runs), plot_batch_sizes(runs))
    return "".join(_chart_html(figure, number) for number, figure in enumerate(figures))


def _money(priced: Mapping[str, Cost]) -> str:
    if not priced:
        return ""
    columns = [
        "run",
        "item",
        "quantity",
        "unit",
        "unit price ($)",
        "cost ($)",
        "price is",
        "source",
    ]
    rows = [
        (
            name,
            i.what,
            i.quantity,
            i.unit,
            i.unit_price,
            i.dollars,
            i.mark,
            _source(i.source, i.date),
        )
        for name, cost in priced.items()
        for i in cost.items
    ]
    chart = _chart_html(plot_cost_by_item(priced), "cost")
    return chart + _wide("What was billed, in US dollars", columns, rows)


def _source(source: str, date: object) -> str:
    return f"{source}, {date}" if date else source


def _services(profiles: Profiles) -> str:
    if not isinstance(profiles, Profile) and not profiles:
        return ""
    columns = ["series", "batch size", "median (ms)", "p5 (ms)", "p95 (ms)"]
    rows = [
        (name, size, *(1000 * seconds for seconds in times))
        for name, size, *times in service_times(profiles).rows()
    ]
    table = _wide("Service times", columns, rows)
    return (
        f"{_chart_html(plot_service_times(profiles), 'service')}"
        f"<details><summary>The same as a table</summary>{table}</details>"
    )


def _chart_html(figure: Figure, key: object) -> str:
    """The figure in the colours of the page; its clip paths named apart from other figures'."""
    svg = figure.svg(ink="currentColor", with_title=False)
    svg = re.sub(r'(<clipPath id="|clip-path="url\(#)', rf"\g<1>f{key}-", svg)
    caption = escape(" ".join(figure.subtitle))
    return (
        f"<figure><h3>{escape(figure.title)}</h3>{svg}<figcaption>{caption}</figcaption></figure>"
    )


# --------------------------------------------------------------------------------------- validity


def _validity(members: Mapping[str, Run]) -> str:
    columns = {
        name: {
            "complete": "yes" if run.complete else "NO: it was stopped early",
            "valid": "yes" if run.valid else "NO: its load was off schedule",
            **_lag(run.record.lag),
        }
        for name, run in members.items()
    }
    table = _wide("Can the figures be relied on?", ["", *members], _merge_columns(columns))
    warnings = "".join(
        f"<li>{escape(f'{name}: {warning}')}</li>"
        for name, run in members.items()
        for warning in run.warnings
    )
    return table + (f"<ul>{warnings}</ul>" if warnings else "<p>No warnings.</p>")


def _lag(lag: Lag | None) -> dict[str, str]:
    """How late the generator sent requests."""
    figures = asdict(lag) if lag else {}
    return {f"sent late, {name} (ms)": in_ms(seconds) for name, seconds in figures.items()}


def _raw(name: str, run: Run) -> str:
    facts = json.dumps(run.facts, indent=2, sort_keys=True, default=str, ensure_ascii=False)
    return f"<details><summary>{escape(name)}</summary><pre>{escape(facts)}</pre></details>"


def _wide(caption: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A table that scrolls by itself where the page is narrow."""
    table = html_table(caption, columns, rows)
    return (
        f'<div class="wide" role="region" aria-label="{escape(caption)}" tabindex="0">{table}</div>'
    )


_DEFINITIONS = """<dl>
<dt>Latency</dt><dd>From the instant a request was scheduled to the instant its answer was there:
waiting in the buffer, for its batch and for a worker all count. Load is open-loop: a slow answer
holds no later request back.</dd>
<dt>Failed requests</dt><dd>They count as infinitely late in every percentile and as a miss of the
target. Throughput and cost count answered requests only.</dd>
<dt>Percentiles</dt><dd>p95 is the smallest latency that 95 % of all requests did not exceed. One
with fewer than ten requests above it is not told.</dd>
<dt>Confidence intervals</dt><dd>95 %, by the means of 20 consecutive parts of the run, since
waiting times are correlated. They tell the chance within a run like this one, not how another
machine or hour would do. Runs are said to differ when their intervals do not meet.</dd>
<dt>Origin</dt><dd>Measured: really executed. Simulated: computed in virtual time. Predicted: by
formula.</dd>
<dt>Cost</dt><dd>From billed time and the dated price of each item, never from latency.</dd>
</dl>"""

_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>{title}</title>
<style>{style}</style>
</head>
<body>
<main>
<h1>{title}</h1>
<div class="finding">{finding}</div>
{sections}</main>
</body>
</html>
"""

_STYLE = """
:root { color-scheme: light dark; --ground: #fff; --ink: #1c1c1c; --soft: #555; --line: #ccc;
  --raised: #f4f4f4; }
@media (prefers-color-scheme: dark) {
  :root { --ground: #111; --ink: #e6e6e6; --soft: #a8a8a8; --line: #444; --raised: #1d1d1d; } }
body { margin: 0; background: var(--ground); color: var(--ink);
  font: 16px/1.5 system-ui, -apple-system, "Segoe UI", sans-serif; }
main { max-width: 48rem; margin: 0 auto; padding: 1.5rem 1rem 3rem; }
h1 { font-size: 1.7rem; line-height: 1.2; margin: 0 0 1rem; }
h2 { font-size: 1.25rem; margin: 2.5rem 0 .75rem; border-bottom: 1px solid var(--line); }
h3 { font-size: 1rem; margin: 1.5rem 0 .5rem; }
.finding { font-size: 1.1rem; background: var(--raised); border-left: 4px solid #39e;
  padding: .75rem 1rem; }
.finding p { margin: 0 0 .4rem; } .finding p:last-child { margin: 0; }
.wide { overflow-x: auto; margin: 0 0 1.25rem; }
table { border-collapse: collapse; font-size: .9rem; font-variant-numeric: tabular-nums; }
caption { text-align: left; color: var(--soft); padding-bottom: .35rem; }
th, td { text-align: left; vertical-align: top; padding: .3rem 1rem .3rem 0;
  border-bottom: 1px solid var(--line); overflow-wrap: break-word; }
tbody th { font-weight: normal; color: var(--soft); white-space: nowrap; }
.figures td, .figures thead th + th { text-align: right; }
@media screen { .figures td { white-space: nowrap; } }
figure { margin: 0 0 2rem; }
figure svg { max-width: 100%; height: auto; overflow: visible; }
figcaption { font-size: .9rem; color: var(--soft); }
dt { font-weight: 600; } dd { margin: 0 0 .75rem; }
pre { overflow-x: auto; background: var(--raised); padding: .75rem; font-size: .8rem; }
@media print {
  :root { color-scheme: light; --ground: #fff; --ink: #000; --soft: #444; --line: #bbb;
    --raised: #fff; }
  .wide { overflow: visible; }
  figure, table, .finding { break-inside: avoid; }
  h2, h3, caption { break-after: avoid; } }
"""
