"""Types on demand: every setting by the exact model, the best of them simulated."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from workbench.deployment.base import Deployment
from workbench.planner.best_first import search_best_first
from workbench.planner.candidates import CandidateTable, describe_instability, dollars_of
from workbench.pricing.usage import Usage, round_up_ms
from workbench.service_times import Floats

if TYPE_CHECKING:
    from workbench.planner.problem import PlanningProblem
    from workbench.pricing.sheet import PriceSheet


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
    unstable = describe_instability(column(table.busy[distributions]), limits[index])
    data = np.array([problem.data_dollars(one) for one in deployments])
    return CandidateTable(
        kind=kind,
        deployments=deployments,
        place=index,
        max_size=np.tile(table.max_sizes, len(deployments)),
        max_wait=np.tile(table.max_waits, len(deployments)),
        predicted=column(table.screen.quantile[distributions]),
        attainment=column(table.screen.attainment[distributions]),
        cost=column(1e6 * table.screen.cost_per_request(each)) + data[index],
        notes=np.where(unstable != "", unstable, table.broken_limits(deployments).ravel()),
    )


def batch_dollars(deployments: list[Deployment], seconds: Floats, prices: PriceSheet) -> Floats:
    """Return dollars of a call by deployment and batch size, each billed by the millisecond."""
    units = [[dollars_of(each, usage, prices) for usage in _UNITS] for each in deployments]
    by_second, by_call = np.array(units).T
    billed = round_up_ms(seconds).mean(axis=2) / 1000
    dollars: Floats = billed * by_second[:, None] + by_call[:, None]
    return dollars


_UNITS = (Usage(seconds=1.0), Usage(calls=1))  # for the prices of one each


def evaluate_candidates(problem: PlanningProblem, candidates: CandidateTable) -> None:
    """Simulate the best settings until no other could be better."""
    search_best_first(
        problem,
        cost=candidates.cost,
        latency=candidates.predicted,
        left=candidates.notes == "",
        simulate=lambda row: problem.evaluate(candidates, row).figures,
        exact=True,
    )
