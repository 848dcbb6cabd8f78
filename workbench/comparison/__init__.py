"""Results side by side: their main figures, what a million requests cost, and one chart."""

import html
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any

from workbench.comparison import prediction_errors
from workbench.errors import TooFewSamples
from workbench.formatting import NO_FORMULA, Table, dollars, duration, format_cell, percent, span
from workbench.plots.figure import Figure
from workbench.plots.latency import plot_latency_ecdf
from workbench.plots.series import Result, Results, caption, name_results
from workbench.pricing.cost import Cost
from workbench.pricing.sheet import PriceSheet
from workbench.quantiles import round_up
from workbench.run import Run
from workbench.run.costs import cost
from workbench.run.verdict import Verdict

if TYPE_CHECKING:
    import polars as pl

_COLUMN_TYPES: dict[str, type[str] | type[float] | type[bool]] = {
    **dict.fromkeys(("run", "origin"), str),
    **dict.fromkeys(("requests", "failed"), int),
    **dict.fromkeys(("p50", "p90", "p95", "p95_low", "p95_high", "p95_missing"), float),
    "p95_repetitions": int,
    "p99": float,
    "target": str,
    "attainment": float,
    **dict.fromkeys(("verdict", "verdict_reason"), str),
    "requests_needed": int,
    **dict.fromkeys(("throughput", "mean_batch_size"), float),
    "cold_starts": int,
    **dict.fromkeys(("spilled", "accuracy"), float),
    "batch_invariance": str,
    **dict.fromkeys(("per_million", "per_month"), float),
    "price_mark": str,
    **dict.fromkeys(("complete", "valid"), bool),
    "fit_warnings": str,
    **prediction_errors.COLUMN_TYPES,
}


def compare(runs: Results, *, prices: PriceSheet | None = None) -> "Comparison":
    """Return runs and predictions side by side, priced by the sheet (by default of us-east-1).

    A dictionary names them: ``compare({"today": a, "twice the traffic": b})``.

    Predictions bring their cost along. Beside predictions and simulations stands how far they are
    off the measured run of the same experiment, which is kept: `prediction_errors`.

    Raises:
        InvalidInput: There is no run, or one without requests.
        NotFound: The sheet lacks a price.

    >>> def run(label, answer):
    ...     return Run.from_arrays(scheduled=[0], finished=[answer], facts={"label": label})
    >>> compare([run("slow", 2), run("fast", 1)]).frame["run"].to_list()
    ['slow', 'fast']
    """
    members = name_results(runs)
    bills = {name: _bill(result, prices) for name, result in members.items()}
    comparison = Comparison(members, {name: bill for name, bill in bills.items() if bill})
    if prediction_errors.find_measured(members):
        prediction_errors.record_comparison(comparison.figures, members)
    return comparison


def _bill(result: Result, prices: PriceSheet | None) -> Cost | None:
    if isinstance(result, Run):
        return cost(result, prices=prices) if result.record.deployment else None
    return result.cost if isinstance(result.cost, Cost) else None


@dataclass(frozen=True, eq=False)
class Comparison:
    """Results and their costs, by names that tell them apart; shows itself in a notebook.

    A run that does not say how it was deployed has no cost.
    """

    results: Mapping[str, Result]
    costs: Mapping[str, Cost]

    @property
    def runs(self) -> dict[str, Run]:
        """Those that are runs, not predictions."""
        return {name: each for name, each in self.results.items() if isinstance(each, Run)}

    @cached_property
    def frame(self) -> "pl.DataFrame":
        """One row a run: latencies in seconds, shares, US dollars a million answered requests.

        `p95_low` and `p95_high` are its 95 % interval, `p95_missing` how many requests more one
        would take (infinite where none are enough), `p95_repetitions` how many of a simulation it
        comes from, where not from this run alone; `verdict` is what it says of its own target
        ("met", "missed", "cannot tell", "invalid"), `verdict_reason` why, and `requests_needed`
        how many could tell; `spilled` is the share that the overflow of a hybrid answered.
        `against` names the measured run that the columns `..._error` are about, ratios less 1.
        Null if unknown.
        """
        import polars as pl

        errors = prediction_errors.error_columns(self.figures, self.results)
        rows = [{**row, **errors[name]} for name, row in self.figures.items()]
        return pl.DataFrame(rows, schema=_COLUMN_TYPES)

    @cached_property
    def figures(self) -> dict[str, dict[str, Any]]:
        """The figures of each result by name, without errors: rows of `frame`."""
        return {name: self._row(name) for name in self.results}

    @cached_property
    def figure(self) -> Figure:
        """The share of requests that each run answered within a latency."""
        return plot_latency_ecdf(self.results)

    @property
    def warnings(self) -> tuple[str, ...]:
        """What a reader has to know of runs and costs, each once, after the runs it is about."""
        about: dict[str, list[str]] = {}
        for name, run in self.results.items():
            for warning in _warnings(run):
                about.setdefault(warning, []).append(name)
        warnings = [
            warning if len(names) == len(self.results) else f"{'; '.join(names)}: {warning}"
            for warning, names in about.items()
        ]
        today = datetime.now(UTC).date()
        notes = [note for each in self.costs.values() for note in (*each.notes, each.stale(today))]
        return (*warnings, *dict.fromkeys(note for note in notes if note))

    def table(self) -> Table:
        """Return the figures as text, with units: a column a run, a row a figure."""
        columns = [_format_row(row) for row in self.frame.rows(named=True)]
        figures = list(dict.fromkeys(figure for column in columns for figure in column))
        rows = [[figure, *(column.get(figure) for column in columns)] for figure in figures]
        return Table(["", *self.results], rows, caption(dict(self.results)))

    def to_dict(self) -> dict[str, Any]:
        """Return rows, what runs share and warnings as JSON values; what is infinite is None."""
        rows = [
            {key: None if _is_non_finite(value) else value for key, value in row.items()}
            for row in self.frame.rows(named=True)
        ]
        shared = caption(dict(self.results))
        return {"runs": rows, "shared": shared, "warnings": list(self.warnings)}

    def __repr__(self) -> str:
        return f"<Comparison: {'; '.join(self.results)}>"

    def __str__(self) -> str:
        predictions = [(name, e) for name, e in self.results.items() if not isinstance(e, Run)]
        warned = [f"\n{name}: WARNING: {w}" for name, each in predictions for w in each.warnings]
        table = self.table()
        return f"{table.text(right=True)}\n{table.caption}" + "".join(warned)

    def _repr_html_(self) -> str:
        notes = "".join(
            f'<p class="{NO_FORMULA}">{html.escape(warning)}</p>' for warning in self.warnings
        )
        return f"{self.table().html()}{notes}{self.figure.image()}"

    def _row(self, name: str) -> dict[str, Any]:
        run, bill = self.results[name], self.costs.get(name)
        summary = _summary(run)
        low, high = _interval(run, 0.95)
        repeated = run.replications_for(0.95) if isinstance(run, Run) else None
        verdict = run.verdict
        missing = run.count_missing(0.95) if isinstance(run, Run) and low is None else None
        row = {
            **dict.fromkeys(_COLUMN_TYPES),
            **summary,
            "run": name,
            "p95_low": low,
            "p95_high": high,
            "p95_missing": missing,
            "p95_repetitions": repeated and repeated.count,
            "target": run.slo and run.slo.label,
            "verdict": verdict and verdict.word,
            "verdict_reason": verdict and verdict.reason,
            "requests_needed": verdict and verdict.needed,
            "per_million": bill.per_million if bill and bill.answered else None,
            "per_month": bill.per_month if bill and math.isfinite(bill.per_month) else None,
            "price_mark": bill and bill.mark,
            "fit_warnings": None if isinstance(run, Run) else " ".join(run.warnings) or None,
        }
        return {column: row[column] for column in _COLUMN_TYPES}


def _format_row(row: Mapping[str, Any]) -> dict[str, str]:
    """Return a row of the frame in words, without what does not apply."""
    figures = {
        "requests": format_cell(row["requests"]),
        "failed": format_cell(row["failed"]),
        "p50": _milliseconds(row["p50"]),
        "p95": _milliseconds(row["p95"]),
        "p95 in the long run": _span(row),
        "p99": _milliseconds(row["p99"]),
    }
    if row["target"]:
        figures["target"] = row["target"]
        figures["answered in time"] = percent(row["attainment"])
    if row["verdict"]:
        needed = row["requests_needed"]
        figures["verdict"] = str(Verdict(row["verdict"], row["verdict_reason"], needed))
    figures["answers a second"] = format_cell(row["throughput"])
    figures["mean batch size"] = format_cell(row["mean_batch_size"])
    known = {key: row[key] for key in _OPTIONAL if row[key] is not None}
    if not row["cold_starts"]:
        known.pop("cold_starts", None)
    figures |= {_OPTIONAL[key][0]: _OPTIONAL[key][1](value) for key, value in known.items()}
    figures |= prediction_errors.format_errors(row)
    return figures


_OPTIONAL: Mapping[str, tuple[str, Callable[[Any], str]]] = {
    "cold_starts": ("cold starts", format_cell),
    "spilled": ("spilled over", percent),
    "accuracy": ("rows predicted right", percent),
    "batch_invariance": ("rows together", str),
    "per_million": ("cost of a million", dollars),
    "per_month": ("cost a month", dollars),
}
"""Figures that not every result has: what the table calls them, and how it writes them."""


def _milliseconds(seconds: float | None) -> str:
    return "-" if seconds is None else duration(seconds)


def _span(row: Mapping[str, Any]) -> str:
    """Return the interval of p95, or what it would take."""
    low, high, missing = row["p95_low"], row["p95_high"], row["p95_missing"]
    if low is not None and high is not None:
        repeated = row["p95_repetitions"]
        return span(low, high) + (f" in {repeated:,} repetitions" if repeated else "")
    if missing is None:
        return "-"
    more = f"{round_up(missing):,} requests more" if math.isfinite(missing) else "no long run"
    return f"too short: {more}"


def _summary(run: Result) -> dict[str, Any]:
    """Return the main figures; those of a prediction with the names of a run's."""
    if isinstance(run, Run):
        return run.summary()
    share = None if run.slo is None else run.attainment(run.slo)
    return {**run.summary(), "attainment": share, "throughput": run.rate}


def _warnings(run: Result) -> tuple[str, ...]:
    """Return what a reader has to know of a result."""
    if isinstance(run, Run):
        repeated = run.replications_for(0.95)
        return run.warnings + (() if repeated is None else (f"Interval from {repeated.about}.",))
    warned = set(run.warnings)  # which are among the assumptions, too
    assumptions = " ".join(each for each in run.assumptions if each not in warned)
    return (*(f"WARNING: {warning}" for warning in run.warnings), f"{run.formula}. {assumptions}")


def _interval(run: Result, q: float) -> tuple[float, float] | tuple[None, None]:
    if not isinstance(run, Run):
        return None, None
    try:
        return run.interval(q)
    except TooFewSamples:
        return None, None


def _is_non_finite(value: object) -> bool:
    return isinstance(value, float) and not math.isfinite(value)
