"""Results as rows of a table: their main figures, and how far each is off a baseline's."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from workbench.formatting import Table, dollars, duration, figure, percent, percent_with_sign
from workbench.run import Run
from workbench.run.verdict import WORDS, Verdict

if TYPE_CHECKING:
    from workbench.comparison import Comparison

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Column:
    """A figure of `Comparison.frame`: its title and meaning, and how it is written."""

    title: str
    hint: str
    text: Callable[[Any], str]
    compared: bool = False


COLUMNS = {
    "verdict": Column("Verdict", "Whether the target is met, as far as can be known", str),
    "per_month": Column("$ a month", "Where this traffic goes on", dollars, compared=True),
    "origin": Column("Known by", "Predicted, simulated or measured, and where", str),
    "p50": Column("p50", "Half of the requests are answered within this", duration, compared=True),
    "p95": Column("p95", "95 % of the requests are answered within", duration, compared=True),
    "p99": Column("p99", "99 % of the requests are answered within", duration, compared=True),
    "attainment": Column("In time", "Share of requests answered within the target", percent),
    "per_million": Column("$ a million", "Answered requests", dollars, compared=True),
    "requests": Column("Requests", "Sent", lambda count: figure(count, 9)),
    "failed": Column("Failed", "Requests without an answer, infinitely late", str),
    "cold_starts": Column("Cold starts", "Batches that waited for a new instance", str),
    "throughput": Column("Answers/s", "Answers a second", figure),
    "mean_batch_size": Column("Batch", "Requests in a batch, on average", figure),
    "spilled": Column("Spilled", "Share answered by the overflow", percent),
    "accuracy": Column("Right", "Share of rows predicted right", percent),
    "traffic": Column("Traffic", "What came", str),
}
"""The table's columns in order; those without any figure are left out."""


@dataclass(frozen=True)
class Cell:
    """A figure in words, as a number to sort by, its distance from the baseline's, and why."""

    text: str
    value: float | str | None = None
    change: str = ""
    hint: str = ""


def tabulate(comparison: "Comparison", baseline: str = "") -> tuple[list[str], list[list[Cell]]]:
    """Return which of `COLUMNS` have figures, and a row of cells for each result.

    `baseline` is the name of that from which differences are counted; "" for none.
    """
    rows = [
        row | {"traffic": _traffic(comparison.results[row["run"]])}
        for row in comparison.frame.rows(named=True)
    ]
    shown = [key for key in COLUMNS if any(row.get(key) not in (None, 0, "") for row in rows)]
    if len({row["traffic"] for row in rows}) == 1:
        shown = [key for key in shown if key != "traffic"]
    base = next((row for row in rows if row["run"] == baseline), {})
    return shown, [[_cell(key, row, base) for key in shown] for row in rows]


def results_table(comparison: "Comparison", notes: Mapping[str, str], baseline: str = "") -> Table:
    """Return the rows as a table that needs no kernel, notes by name last.

    >>> from workbench.comparison import compare
    >>> run = Run.from_arrays(scheduled=[0.0] * 200, finished=[0.004] * 200)
    >>> "4 ms" in results_table(compare(run), {}).text()
    True
    """
    shown, rows = tabulate(comparison, baseline)
    titles = ["Result", *(COLUMNS[key].title for key in shown), *(["Note"] if notes else [])]
    lines = [
        [name, *(f"{cell.text} {cell.change}".strip() for cell in row), notes.get(name, "")]
        for name, row in zip(comparison.results, rows, strict=True)
    ]
    lines = [line[: len(titles)] for line in lines]  # without notes where there are none
    return Table(titles, lines, describe_shared(comparison))


def describe_shared(comparison: "Comparison") -> str:
    """Return what all results have in common: their labels' same part, and traffic."""
    traffic = {_traffic(each) for each in comparison.results.values()} - {""}
    words = comparison.table().caption
    return f"{words} Traffic: {traffic.pop()}." if len(traffic) == 1 else words


def _traffic(result: object) -> str:
    return result.record.trace.name if isinstance(result, Run) and result.record.trace else ""


def _cell(key: str, row: Row, base: Row) -> Cell:
    column, value = COLUMNS[key], row[key]
    if value is None:
        return Cell("-")
    if key == "verdict":
        verdict = Verdict(value, row["verdict_reason"], row["requests_needed"])
        return Cell(str(verdict), WORDS.index(value), hint=verdict.reason)
    if isinstance(value, float) and not math.isfinite(value):  # so many failed; JSON has none
        return Cell(column.text(value))
    if not value and column.text is dollars:
        return Cell("free", value)
    change, before = "", base.get(key)
    if column.compared and before and math.isfinite(before) and row["run"] != base["run"]:
        change = percent_with_sign(value / before - 1)
    return Cell(column.text(value), value, change)
