"""How far predictions and simulations lie from the measured run of the same experiment."""

import math
from collections.abc import Mapping
from typing import Any

from workbench.formatting import percent_with_sign
from workbench.measuring.error_history import read_past_errors, record_errors
from workbench.plots.series import Result
from workbench.run import Run
from workbench.run.past_errors import PastErrors
from workbench.run.record import RunRecord

FIGURES = {
    "p50": "p50",
    "p95": "p95",
    "p99": "p99",
    "throughput": "answers a second",
    "mean_batch_size": "mean batch size",
    "per_million": "cost of a million",
}
"""The figures that have errors, by column, and what tables call them."""

COLUMN_TYPES: dict[str, type[str] | type[float]] = {
    "against": str,
    **{f"{name}_error": float for name in FIGURES},
    "past_errors": str,
}
"""Columns and their types: which measured run, the ratios of figures less 1, errors before."""

_IDENTITY = ("trace", "deployment", "policy", "router", "model", "members", "scaling", "spot")


def find_measured(results: Mapping[str, Result]) -> dict[str, str]:
    """Return for each prediction and simulation the measured run of the same experiment, by name.

    That is one whose trace, deployment, policy, model and scaling are not known to be others, nor
    the router and the members where there are any; those that are known to be the same come first,
    and of several the last.
    """
    measured = [name for name, each in results.items() if is_measured(each)]
    found = {}
    for name, each in results.items():
        if each.origin not in ("predicted", "simulated"):
            continue
        fits = [other for other in measured if _agree(each, results[other], strictly=False)]
        same = [other for other in fits if _agree(each, results[other], strictly=True)]
        if same or fits:
            found[name] = (same or fits)[-1]
    return found


def is_measured(result: Result) -> bool:
    """Return whether a result was really run."""
    return isinstance(result, Run) and result.origin.startswith("measured")


def relative_errors(row: Mapping[str, Any], measured: Mapping[str, Any]) -> dict[str, float | None]:
    """Return how far a row's figures are from the measured ones: ratios less 1, None if unknown.

    >>> errors = relative_errors({"p50": 0.9, "p95": None}, {"p50": 1.0, "p95": 2.0})
    >>> round(errors["p50"], 6), errors["p95"]
    (-0.1, None)
    """
    return {name: _ratio(row.get(name), measured.get(name)) for name in FIGURES}


def error_columns(
    rows: Mapping[str, Mapping[str, Any]], results: Mapping[str, Result]
) -> dict[str, dict[str, Any]]:
    """Return by name of a result its `COLUMN_TYPES`, from the rows of figures; null if unknown."""
    found = find_measured(results)
    columns: dict[str, dict[str, Any]] = {}
    for name, result in results.items():
        errors = relative_errors(rows[name], rows[found[name]]) if name in found else {}
        past = past_errors(result)
        columns[name] = {
            "against": found.get(name),
            **{f"{figure}_error": errors.get(figure) for figure in FIGURES},
            "past_errors": past and past.span,
        }
    return columns


def record_comparison(rows: Mapping[str, Mapping[str, Any]], results: Mapping[str, Result]) -> None:
    """Keep how far predictions and simulations lie from measured runs of the same experiment."""
    for name, other in find_measured(results).items():
        estimate, run = results[name], results[other]
        if isinstance(run, Run) and _agree(estimate, run, strictly=True):
            record_errors(estimate.origin, run, relative_errors(rows[name], rows[other]))


def past_errors(result: Result) -> PastErrors | None:
    """Return the past errors that a prediction or simulation carries, else those known now."""
    if result.origin not in ("predicted", "simulated"):
        return None
    carried = result.record.past_errors if isinstance(result, Run) else result.past_errors
    return carried or read_past_errors(result.origin)


def format_errors(row: Mapping[str, Any]) -> dict[str, str]:
    """Return the columns of a row in words, without what is not known."""
    words = {} if row["against"] is None else {"error against": str(row["against"])}
    for name, said in FIGURES.items():
        error = row[f"{name}_error"]
        if error is not None:
            words[f"error of {said}"] = percent_with_sign(error)
    if row["past_errors"] is not None:
        words["p95 errors before"] = row["past_errors"]
    return words


def _agree(one: Result, other: Result, *, strictly: bool) -> bool:
    first, second = _setup(one), _setup(other)
    if first is None or second is None:
        return not strictly
    pairs = [(_identify(first, name), _identify(second, name)) for name in _IDENTITY]
    trace, deployment, policy, router = (None not in pair for pair in pairs[:4])
    if strictly and not (trace and deployment and (policy or router)):
        return False
    known = [pair for pair in pairs[:-2] if None not in pair]
    return all(left == right for left, right in [*known, *pairs[-2:]])


def _setup(result: Result) -> RunRecord | None:
    return result.record if isinstance(result, Run) else result.setup


def _identify(record: RunRecord, name: str) -> object:
    value = getattr(record, name)
    if name == "members" and value is not None:
        return [(each.name, each.model and each.model.sha256, each.policy) for each in value]
    return getattr(value, "sha256", value) if name in ("trace", "model") else value


def _ratio(value: float | None, measured: float | None) -> float | None:
    if value is None or not measured or not (math.isfinite(value) and math.isfinite(measured)):
        return None
    return value / measured - 1
