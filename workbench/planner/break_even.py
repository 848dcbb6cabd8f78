"""At which rates another inference type becomes the cheapest."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from workbench.planner.reliability import secure_all
from workbench.planner.type_search import search_types
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
        rows += _rows(problem.speed_up(faster), rate)
    schema = {
        "rate": pl.Float64(),
        **dict.fromkeys(_TEXTS, pl.String()),
        **dict.fromkeys(_NUMBERS, pl.Float64()),
        "unseen": pl.String(),
        "engine": pl.String(),
        "cheapest": pl.Boolean(),
    }
    return pl.DataFrame(rows, schema=schema, orient="row")


_TEXTS = ("kind", "deployment", "policy")
_NUMBERS = ("latency", "cost_per_million", "cost_per_month")


def _rows(problem: PlanningProblem, rate: float) -> list[tuple[Any, ...]]:
    """Return a row a type, with the pick that a plan at this rate has of it."""
    tables = search_types(problem)
    secure_all(problem, tables)
    picks = [
        (problem.rank_judged(table, pick), pick, table)
        for table in tables
        for pick in [min(table.finalists, key=partial(problem.rank_judged, table), default=None)]
        if pick is not None and problem.meets_target(pick.figures)
    ]
    first = min((rank for rank, _, _ in picks), default=())
    found = {}
    for rank, (configuration, metrics, _), table in picks:
        judged = table.judged.get(configuration)
        labels = configuration.place, configuration.batching_label
        figures = metrics.latency, metrics.cost, metrics.month
        unseen = judged and judged.label
        found[table.kind] = (*labels, *figures, unseen, "simulator", rank == first)
    return [
        (rate, table.kind, *found.get(table.kind, (*[None] * 6, "simulator", False)))
        for table in tables
    ]


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
            share = min(max(at_low / (at_low - at_high), 0.0), 1.0) if at_low != at_high else 1.0
            found.append((float(low * (high / low) ** share), before, after))
        elif before != after:  # one of them cannot meet the target at one of the rates
            found.append((float(high), before, after))
    return found


_POINT = ("rate", "kind", "cost_per_million")
