"""Types that answer by jobs: how often, and on how many instances of which type."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from workbench.deployment.base import Deployment
from workbench.planner.best_first import search_best_first
from workbench.planner.candidates import CandidateTable, dollars_of
from workbench.pricing.usage import Usage

if TYPE_CHECKING:
    from workbench.planner.problem import PlanningProblem


_MOST_COUNTS = 40  # numbers of instances tried, evenly by their ratio


def search_jobs(problem: PlanningProblem, kind: str) -> CandidateTable:
    """Return the jobs of each instance type, period and number of instances, the best simulated.

    Latency and cost are those of traffic that is even, its jobs alike.
    """
    counts = np.unique(np.geomspace(1, problem.options.max_count, _MOST_COUNTS).astype(np.int64))
    periods = problem.options.job_periods(problem.slo.latency)
    places = problem.options.places(kind)
    choices = [
        (one.with_period(period).with_count(int(count)), period, int(count))
        for one in places
        for period in periods
        for count in counts
    ]
    figures = [_estimate(problem, *each) for each in choices]
    latency, cost = np.array(figures).T
    table = CandidateTable(
        kind=kind,
        deployments=[one for one, _, _ in choices],
        place=np.arange(len(choices)),
        max_size=np.ones(len(choices), dtype=np.int64),
        max_wait=np.zeros(len(choices)),
        predicted=latency,
        attainment=np.zeros(len(choices)),
        cost=cost,
        notes=np.array([_note(problem, *each) for each in choices], dtype=object),
        bound=True,
    )
    search_best_first(
        problem,
        cost=cost,
        latency=latency,
        left=table.notes == "",
        simulate=lambda row: problem.evaluate(table, row).figures,
    )
    return table


def _note(problem: PlanningProblem, one: Deployment, period: float, count: int) -> str:
    """Return why these jobs are out of the question, "" where they are not."""
    times = problem.service_on(one)
    work = problem.trace.rate * problem.rows * float(times.means[-1]) / times.largest
    up = work + count * problem.options.boot / period
    if up > problem.options.max_count:
        return f"unstable: {up:.4g} instances would be up on average"
    return problem.find_broken_limits(one, 1)


def _estimate(
    problem: PlanningProblem, one: Deployment, period: float, count: int
) -> tuple[float, float]:
    """Return seconds at the target's quantile, and dollars per million."""
    times, boot = problem.service_on(one), problem.options.boot
    requests = min(problem.trace.rate * period, len(problem.trace))
    chunks = np.ceil(requests * problem.rows / times.largest)
    work = np.ceil(chunks / count) * float(times.means[-1])
    usage = Usage(instance_seconds=count * work)
    dollars = dollars_of(one, usage, problem.options.prices)
    latency = problem.slo.quantile * period + boot + work
    return latency, 1e6 * dollars / requests + problem.data_dollars(one)
