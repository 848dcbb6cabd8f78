"""At which rates another inference type becomes the cheapest."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from workbench.deployment.base import KINDS
from workbench.planner.candidates import CandidateMetrics, Configuration
from workbench.planner.fleets import search_without_formula
from workbench.planner.on_demand import screen_on_demand
from workbench.pricing.cost import MONTH
from workbench.quantiles import longest_within
from workbench.validation import as_tuple, positive

if TYPE_CHECKING:
    import polars as pl

    from workbench.planner.problem import PlanningProblem


def break_even(problem: PlanningProblem, rates: Sequence[float] | None) -> pl.DataFrame:
    """Return the least cost of each type by rate: see `Plan.break_even`."""
    import polars as pl

    asked = problem.trace.rate * np.geomspace(0.01, 10, 7) if rates is None else rates
    rows = []
    each = as_tuple("rates", asked)
    for rate in sorted(positive("A rate", rate, "requests per second") for rate in each):
        faster = rate / problem.trace.rate
        scaled = replace(
            problem,
            trace=problem.trace.scale(faster),
            arrivals=problem.arrivals.scale(faster),
            budget=None,
        )
        rows += [_row(scaled, kind, rate) for kind in problem.options.kinds]
    least = pl.col("cost_per_million").min().over("rate")
    schema = {
        "rate": pl.Float64(),
        **dict.fromkeys(_TEXTS, pl.String()),
        **dict.fromkeys(_NUMBERS, pl.Float64()),
        "engine": pl.String(),
    }
    return pl.DataFrame(rows, schema=schema, orient="row").with_columns(
        cheapest=pl.col("cost_per_million") == least
    )


_TEXTS = ("kind", "deployment", "policy")
_NUMBERS = ("latency", "cost_per_million", "cost_per_month")


def _row(problem: PlanningProblem, kind: str, rate: float) -> tuple[Any, ...]:
    on_demand = KINDS[kind].on_demand
    engine = "exact model" if on_demand else "simulator"
    found = (
        _find_cheapest_exact(problem, kind)
        if on_demand
        else _find_cheapest_simulated(problem, kind)
    )
    if found is None:
        return (rate, kind, *[None] * 5, engine)
    configuration, metrics = found
    month = metrics.cost * rate * MONTH / 1e6
    key = (rate, kind, configuration.place, configuration.batching_label)
    return (*key, metrics.latency, metrics.cost, month, engine)


def _find_cheapest_exact(
    problem: PlanningProblem, kind: str
) -> tuple[Configuration, CandidateMetrics] | None:
    candidates = screen_on_demand(problem, kind)
    able = np.flatnonzero(
        (candidates.predicted <= longest_within(problem.slo.latency)) & (candidates.notes == "")
    )
    if not len(able):
        return None
    row = int(able[candidates.cost[able].argmin()])
    columns = (candidates.predicted, candidates.attainment, candidates.cost)
    return candidates.configuration(row), CandidateMetrics(
        *(float(column[row]) for column in columns)
    )


def _find_cheapest_simulated(
    problem: PlanningProblem, kind: str
) -> tuple[Configuration, CandidateMetrics] | None:
    candidates = search_without_formula(problem, kind)
    met = [
        finalist for finalist in candidates.finalists if problem.meets_constraint(finalist.figures)
    ]
    if not met:
        return None
    best = min(met, key=lambda finalist: finalist.figures.cost)
    return best.configuration, best.figures


def crossings(frame: pl.DataFrame) -> list[tuple[float, str, str]]:
    """Return where the cheapest type changes: the rate, which was cheapest below it, which above.

    Between two rates of the frame, that of `Plan.break_even`, costs per million are taken to lie
    on straight lines of their logarithms.

    >>> import polars as pl
    >>> rows = {"rate": [1.0, 1.0, 4.0, 4.0], "kind": ["lambda", "real-time"] * 2}
    >>> cost = {"cost_per_million": [2.0, 4.0, 2.0, 1.0]}
    >>> crossings(pl.DataFrame(rows | cost).with_columns(cheapest=pl.Series([1, 0, 0, 1]) == 1))
    [(2.0, 'lambda', 'real-time')]
    """
    costs = {(rate, kind): cost for rate, kind, cost in frame.select(*_POINT).iter_rows()}
    cheapest = frame.filter("cheapest").unique("rate", keep="first").sort("rate")
    found = []
    for (low, before), (high, after) in pairwise(cheapest.select("rate", "kind").iter_rows()):
        corners = [costs[rate, kind] for kind in (before, after) for rate in (low, high)]
        if before != after and None not in corners:
            at_low, at_high = (math.log(corners[2 + i] / corners[i]) for i in (0, 1))
            share = at_low / (at_low - at_high)
            found.append((float(low * (high / low) ** share), before, after))
        elif before != after:  # one of them cannot meet the target at one of the rates
            found.append((float(high), before, after))
    return found


_POINT = ("rate", "kind", "cost_per_million")
