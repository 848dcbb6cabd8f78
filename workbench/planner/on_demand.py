"""Serverless and Lambda: every setting by the exact model, the best of them simulated."""

import numpy as np

from workbench.costing import Usage, billed_ms
from workbench.deployment import Deployment
from workbench.planner.candidates import Field, dollars_of, unstable
from workbench.planner.problem import Task
from workbench.prices import PriceSheet
from workbench.service_times import Floats

_EXACT = 1.003  # what the exact model may be off by, and a little more


def search_on_demand(task: Task, kind: str) -> Field:
    """Return the settings of a type whose instances start on demand, its finalists simulated."""
    field = screened(task, kind)
    settle(task, field)
    return field


def screened(task: Task, kind: str) -> Field:
    """Return the settings of a type whose instances start on demand, by the exact model."""
    deployments, table = task.options.places(kind), task.screening
    laws, count = table.of(deployments), len(table.policies)
    limits = np.array([getattr(one, "max_concurrency", 0) for one in deployments])
    place = np.repeat(np.arange(len(deployments)), count)

    def column(figures: Floats) -> Floats:
        return figures.reshape(len(figures), -1)[:, table.policies].ravel()

    each = batch_dollars(deployments, table.seconds[laws], task.options.prices)
    return Field(
        kind=kind,
        deployments=deployments,
        place=place,
        max_size=np.tile(table.max_sizes, len(deployments)),
        max_wait=np.tile(table.max_waits, len(deployments)),
        predicted=column(table.found.quantile[laws]),
        attainment=column(table.found.attainment[laws]),
        cost=column(1e6 * table.found.cost_per_request(each)),
        notes=unstable(column(table.busy[laws]), limits[place]),
    )


def batch_dollars(deployments: list[Deployment], seconds: Floats, prices: PriceSheet) -> Floats:
    """Return dollars of a call by deployment and batch size, each billed by the millisecond."""
    units = [[dollars_of(each, usage, prices) for usage in _UNITS] for each in deployments]
    by_second, by_call = np.array(units).T
    billed = billed_ms(seconds).mean(axis=2) / 1000
    dollars: Floats = billed * by_second[:, None] + by_call[:, None]
    return dollars


_UNITS = (Usage(seconds=1.0), Usage(calls=1))


def settle(task: Task, field: Field) -> None:
    """Simulate the best settings until no other could be better.

    The ratio of what was simulated last to what had been predicted for it corrects the predictions
    of the others: 1 where the trace is as the fitted process is.
    """
    by_cost = task.budget is None
    aims, limited = (field.cost, field.predicted) if by_cost else (field.predicted, field.cost)
    limit = task.slo.latency if task.budget is None else task.budget
    left = field.notes == ""
    best, ratio = np.inf, 1.0
    for _ in range(task.options.finalists):
        slack = 1.0 if np.isinf(best) else _EXACT
        able = np.flatnonzero(left & (limited * ratio <= limit * slack) & (aims < best))
        if not len(able):
            break
        row = able[np.lexsort((limited[able], aims[able]))[0]]
        left[row] = False
        figures = task.settle(field, row).figures
        aim, against = figures.cost, figures.latency
        if not by_cost:
            aim, against = against, aim
        ratio = float(np.clip(against / limited[row], 0.5, 2.0))
        if task.met(figures):
            best = min(best, aim)
    if np.isinf(best) and left.any():
        open_rows = np.flatnonzero(left)
        task.settle(field, int(open_rows[limited[open_rows].argmin()]))
