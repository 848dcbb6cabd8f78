"""Types on demand: every setting by the exact model, the best of them simulated."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from workbench.deployment.base import Deployment
from workbench.planner.candidates import CandidateTable, describe_instability, dollars_of
from workbench.pricing.sheet import PriceSheet
from workbench.pricing.usage import Usage, round_up_ms
from workbench.quantiles import longest_within
from workbench.service_times import Floats

if TYPE_CHECKING:
    from workbench.planner.problem import PlanningProblem

_PREDICTION_SLACK = 1.003  # what the exact model may be off by, and a little more


def search_on_demand(problem: PlanningProblem, kind: str) -> CandidateTable:
    """Return the settings of a type whose instances start on demand, its finalists simulated."""
    candidates = screen_on_demand(problem, kind)
    evaluate_candidates(problem, candidates)
    return candidates


def screen_on_demand(problem: PlanningProblem, kind: str) -> CandidateTable:
    """Return the settings of a type whose instances start on demand, by the exact model."""
    deployments, table = problem.options.places(kind), problem.screening
    distributions, count = table.of(deployments), len(table.policies)
    limits = np.array([one.platform.servers for one in deployments])
    index = np.repeat(np.arange(len(deployments)), count)

    def column(figures: Floats) -> Floats:
        return figures.reshape(len(figures), -1)[:, table.policies].ravel()

    each = batch_dollars(deployments, table.seconds[distributions], problem.options.prices)
    return CandidateTable(
        kind=kind,
        deployments=deployments,
        place=index,
        max_size=np.tile(table.max_sizes, len(deployments)),
        max_wait=np.tile(table.max_waits, len(deployments)),
        predicted=column(table.screen.quantile[distributions]),
        attainment=column(table.screen.attainment[distributions]),
        cost=column(1e6 * table.screen.cost_per_request(each)),
        notes=describe_instability(column(table.busy[distributions]), limits[index]),
    )


def batch_dollars(deployments: list[Deployment], seconds: Floats, prices: PriceSheet) -> Floats:
    """Return dollars of a call by deployment and batch size, each billed by the millisecond."""
    units = [[dollars_of(each, usage, prices) for usage in _UNITS] for each in deployments]
    by_second, by_call = np.array(units).T
    billed = round_up_ms(seconds).mean(axis=2) / 1000
    dollars: Floats = billed * by_second[:, None] + by_call[:, None]
    return dollars


_UNITS = (Usage(seconds=1.0), Usage(calls=1))


def evaluate_candidates(problem: PlanningProblem, candidates: CandidateTable) -> None:
    """Simulate the best settings until no other could be better.

    The ratio of what was simulated last to what had been predicted for it corrects the predictions
    of the others: 1 where the trace is as the fitted process is.
    """
    by_cost = problem.budget is None
    aims, limited = (
        (candidates.cost, candidates.predicted)
        if by_cost
        else (candidates.predicted, candidates.cost)
    )
    limit = longest_within(problem.slo.latency) if problem.budget is None else problem.budget
    left = candidates.notes == ""
    best, ratio = np.inf, 1.0
    for _ in range(problem.options.finalists):
        slack = 1.0 if np.isinf(best) else _PREDICTION_SLACK
        able = np.flatnonzero(left & (limited * ratio <= limit * slack) & (aims < best))
        if not len(able):
            break
        row = able[np.lexsort((limited[able], aims[able]))[0]]
        left[row] = False
        figures = problem.evaluate(candidates, row).figures
        aim, against = figures.cost, figures.latency
        if not by_cost:
            aim, against = against, aim
        ratio = float(np.clip(against / limited[row], 0.5, 2.0))
        if problem.meets_constraint(figures):
            best = min(best, aim)
    if np.isinf(best) and left.any():
        open_rows = np.flatnonzero(left)
        problem.evaluate(candidates, int(open_rows[limited[open_rows].argmin()]))
