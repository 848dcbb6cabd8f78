"""The rows of a plan's table that no simulation has evaluated, and why these candidates lost."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from workbench.deployment.base import is_by_job
from workbench.formatting import duration, percent
from workbench.planner.reasons import SAME, format_ratio

if TYPE_CHECKING:
    import polars as pl

    from workbench.planner.candidates import CandidateMetrics, CandidateTable
    from workbench.planner.problem import PlanningProblem

EXACT, SCREENED_OUT = "exact model", "screened out"

_DIGITS = 4  # of latencies: one just above the target reads as above it


def list_screened_rows(
    problem: PlanningProblem, table: CandidateTable, winner: CandidateMetrics
) -> pl.DataFrame:
    """Return the rows of an inference type that no simulation has evaluated."""
    import polars as pl

    left = np.ones(len(table.place), dtype=bool)
    left[[finalist.row for finalist in table.finalists]] = False
    pairs = np.stack([table.place, table.max_size, table.max_wait], axis=1)[left]
    _, policies, named = np.unique(
        pairs if is_by_job(table.kind) else pairs[:, 1:],
        axis=0,
        return_index=True,
        return_inverse=True,
    )
    rows_left = np.flatnonzero(left)
    joined = np.array(
        [table.configuration(rows_left[row]).batching_label for row in policies], dtype=object
    )
    deployments, distributions = (
        np.array(labels, dtype=object)[table.place[left]].tolist()
        for labels in (
            [deployment.label for deployment in table.deployments],
            [problem.service_label(deployment) for deployment in table.deployments],
        )
    )
    notes = table.notes[left]
    rows = pl.DataFrame(
        {
            "deployment": deployments,
            "service": distributions,
            "policy": joined[named.ravel()].tolist(),
            "latency": table.predicted[left],
            "predicted": table.predicted[left],
            "attainment": table.attainment[left],
            "cost_per_million": table.cost[left],
            "note": notes.tolist(),
            "max_size": table.max_size[left],
            "max_wait": table.max_wait[left],
        },
        schema_overrides=dict.fromkeys(("note", "deployment", "service", "policy"), pl.String),
    )
    out = pl.col("note") != ""
    return rows.with_columns(
        kind=pl.lit(table.kind),
        cost_per_month=pl.col("cost_per_million") * problem.millions_a_month,
        unseen=pl.lit(None, pl.String),
        out_of_sample=pl.lit(None, pl.Float64),
        worst_minute=pl.lit(None, pl.Float64),
        minutes_met=pl.lit(None, pl.Float64),
        engine=pl.when(out | pl.lit(table.bound))
        .then(pl.lit(SCREENED_OUT))
        .otherwise(pl.lit(EXACT)),
        reason=pl.when(out).then("note").otherwise(_explain(problem, winner, bound=table.bound)),
    )


def _explain(problem: PlanningProblem, winner: CandidateMetrics, *, bound: bool) -> pl.Expr:
    """Return why rows that were not simulated lost, as an expression."""
    import polars as pl

    latency, cost = pl.col("latency"), pl.col("cost_per_million")
    least = "at least " if bound else ""
    slow = pl.format(
        "{} {}{}, above the target of {}",
        pl.lit(problem.slo.percentile),
        pl.lit(least),
        _format_seconds_column(latency),
        pl.lit(duration(problem.slo.latency)),
    )
    near = pl.lit("not simulated: its neighbours promised more, or did worse than predicted")
    if problem.budget is None:
        dear = _format_ratio_column(cost, winner.cost, "cost", least)
        other = pl.when(cost >= winner.cost).then(dear).otherwise(near)
        barely = pl.format(
            "{} {}{}, less than {} below the target",
            pl.lit(problem.slo.percentile),
            pl.lit(least),
            _format_seconds_column(latency),
            pl.lit(percent(problem.options.headroom)),
        )
        return (
            pl.when(latency > problem.target)
            .then(slow)
            .when(latency > problem.limit)
            .then(barely)
            .otherwise(other)
        )
    over = pl.format(
        "${} per million above the budget of ${}",
        _round_column(cost),
        pl.lit(f"{problem.budget:.4g}"),
    )
    slower = _format_ratio_column(latency, winner.latency, "latency", least)
    other = pl.when(latency >= winner.latency).then(slower).otherwise(near)
    return pl.when(cost > problem.budget).then(over).otherwise(other)


def _round_column(value: pl.Expr, digits: int = 4) -> pl.Expr:
    import polars as pl

    return value.round_sig_figs(digits).cast(pl.String).str.strip_suffix(".0")


def _format_seconds_column(seconds: pl.Expr) -> pl.Expr:
    """Return what `duration` does, of a column of which many values are alike."""
    import polars as pl

    def write(values: pl.Series) -> pl.Series:
        alike = values.unique().drop_nans().drop_nulls()
        words = [duration(each, _DIGITS) for each in alike]
        return values.replace_strict(alike, words, default="-", return_dtype=pl.String)

    return seconds.round_sig_figs(_DIGITS).map_batches(write, return_dtype=pl.String)


def _format_ratio_column(value: pl.Expr, of: float, what: str, least: str) -> pl.Expr:
    """Return what `format_ratio` does, of a column."""
    import polars as pl

    if not of:
        words = [pl.lit(format_ratio(each, of, what)) for each in (1.0, 0.0)]
        return pl.when(value > 0).then(words[0]).otherwise(words[1])
    ratio = value / of
    little = pl.format(
        "{}{} % above the winner's {}",
        pl.lit(least),
        _round_column(100 * (ratio - 1), 2),
        pl.lit(what),
    )
    much = pl.format(
        "{}{} times the winner's {}", pl.lit(least), _round_column(ratio, 3), pl.lit(what)
    )
    same = pl.lit(f"{least}the same {what} as the winner")
    return pl.when(ratio < SAME).then(same).when(ratio < 1.1).then(little).otherwise(much)
