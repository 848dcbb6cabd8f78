"""What is to be planned, and the exact model's figures that all inference types share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from workbench.deployment.base import KINDS, Deployment
from workbench.errors import TooFewSamples
from workbench.planner.candidates import (
    CandidateMetrics,
    CandidateTable,
    Configuration,
    SimulatedCandidate,
    metrics_of,
)
from workbench.quantiles import SLO, longest_within
from workbench.queueing.grid import Screen, screen
from workbench.service_times import Floats, ServiceTimes
from workbench.simulator import serve
from workbench.traffic.map import poisson_process
from workbench.traffic.map_fitting import fit
from workbench.traffic.trace import Trace

if TYPE_CHECKING:
    from workbench.planner.options import Options
    from workbench.traffic.map import MAP

ServiceOn = Callable[[Deployment], ServiceTimes]
"""Service times on a deployment."""

_MIN_WINDOWS = 20  # windows that a trace must hold to show burstiness
SERVICE_SAMPLES = 20  # of a service time that is a distribution: the means of equal shares


@dataclass(frozen=True, kw_only=True)
class PlanningProblem:
    """What is to be planned: the traffic, the target, the choices, and service times by place."""

    trace: Trace
    arrivals: MAP
    slo: SLO
    budget: float | None
    options: Options
    service_on: ServiceOn
    largest: int

    @cached_property
    def screening(self) -> Screening:
        """The exact model's figures of every policy with the service times of every deployment."""
        return Screening(self)

    @cached_property
    def rows(self) -> float:
        """Rows a request, on average."""
        return float(self.trace.rows.mean())

    def simulate(self, configuration: Configuration) -> CandidateMetrics:
        """Return what the simulator says of a setting under the trace itself."""
        deployment, policy, scaling = configuration
        outcome = serve(
            self.trace,
            policy,
            deployment,
            self.service_on(deployment),
            cold_start=self.options.cold_start if deployment.on_demand else self.options.boot,
            scaling=scaling,
            seed=self.options.seed,
        )
        return metrics_of(outcome, deployment, self.slo, self.options.prices)

    def evaluate(
        self, candidates: CandidateTable, row: int, configuration: Configuration | None = None
    ) -> SimulatedCandidate:
        """Simulate a row of a field, or a setting in its place, and keep what comes out."""
        configuration = configuration or candidates.configuration(row)
        finalist = SimulatedCandidate(configuration, self.simulate(configuration), row)
        candidates.finalists.append(finalist)
        return finalist

    def meets_constraint(self, metrics: CandidateMetrics) -> bool:
        """Return whether figures meet the objective's constraint: the target, or the budget."""
        if self.budget is None:
            return metrics.latency <= longest_within(self.slo.latency)
        return metrics.cost <= self.budget

    def rank(self, metrics: CandidateMetrics) -> tuple[bool, float, float]:
        """Return a key, the lowest the best: what is met before what is not, then cost or latency.

        Of what misses the target the least miss comes first, of what exceeds the budget the
        cheapest.
        """
        met = self.meets_constraint(metrics)
        by_cost = (self.budget is None) == met
        first, second = metrics.cost, metrics.latency
        return (not met, first, second) if by_cost else (not met, second, first)


class Screening:
    """Figures of every policy, once for all deployments that serve alike.

    Figures are indexed by distribution (see `of`), max_size and max_wait. A batch on instances
    that start on demand finds its server idle; on a fleet it follows another.
    """

    def __init__(self, problem: PlanningProblem) -> None:
        self._problem = problem
        self.sizes, _ = problem.options.sizes(problem.largest)
        self.waits = problem.options.waits(problem.slo.latency)
        kinds = [kind for kind in problem.options.kinds if not KINDS[kind].by_job]
        distributions = [
            self._sample_service_times(one)
            for kind in kinds
            for one in problem.options.places(kind)
        ]
        samples = max((distribution.shape[1] for distribution in distributions), default=1)
        distributions = [
            np.broadcast_to(distribution, (len(distribution), samples))
            for distribution in distributions
        ]
        self._distributions = {
            distribution.tobytes(): distribution for distribution in distributions
        }
        self._numbers = {
            distribution: number for number, distribution in enumerate(self._distributions)
        }
        self._samples = samples

    def _sample_service_times(self, deployment: Deployment) -> Floats:
        """Return seconds by requests in a batch and equally likely sample.

        Requests of several rows take what their mean number of rows takes; between sizes, a
        straight line.
        """
        times = self._problem.service_on(deployment)
        table = (times.idle_table if deployment.on_demand else times.table)[times.sizes]
        if table.shape[1] > 1:
            levels, fine = np.linspace(0, 1, table.shape[1]), np.linspace(0, 1, 1001)
            drawn = np.array([np.interp(fine, levels, row) for row in table])
            between = (drawn[:, 1:] + drawn[:, :-1]) / 2
            table = between.reshape(len(table), SERVICE_SAMPLES, -1).mean(axis=2)
        rows = self._problem.rows * np.arange(1, max(self.sizes) + 1)
        return np.array([np.interp(rows, times.sizes, level) for level in table.T]).T

    def of(self, deployments: list[Deployment]) -> NDArray[np.int64]:
        """Return the number of each deployment's distribution."""
        shape = (max(self.sizes), self._samples)
        distributions = [
            np.broadcast_to(self._sample_service_times(one), shape).tobytes() for one in deployments
        ]
        return np.array([self._numbers[distribution] for distribution in distributions])

    @cached_property
    def seconds(self) -> Floats:
        """Seconds by distribution, requests in a batch (from 1) and equally likely sample."""
        return np.stack(list(self._distributions.values()))

    @cached_property
    def screen(self) -> Screen:
        """What the exact model says."""
        return screen(
            self._problem.arrivals,
            max_sizes=self.sizes,
            max_waits=self.waits,
            service=self.seconds,
            quantile=self._problem.slo.quantile,
            limit=self._problem.slo.latency,
        )

    @cached_property
    def busy(self) -> Floats:
        """The mean number of batches in service, with servers without limit."""
        return self.mean_busy_at(self._problem.arrivals.rate, self.screen.batch_sizes)

    def mean_busy_at(self, rate: float, batch_sizes: Floats) -> Floats:
        """Return the same where batches of 1, 2, ... requests have these shares."""
        largest = batch_sizes.shape[-1]
        means = self.seconds.mean(axis=2)[:, :largest]
        per_batch: Floats = np.einsum("btn,mn->mbt", batch_sizes, means)
        return rate * per_batch / (batch_sizes @ np.arange(1.0, largest + 1))

    @cached_property
    def policies(self) -> NDArray[np.int64]:
        """The (max_size, max_wait) that differ, as places in a flattened grid.

        Those that never join requests, by max_size 1 or max_wait 0, are one.
        """
        alone = (np.array(self.sizes)[:, None] == 1) | (np.array(self.waits) == 0)
        keep = ~alone.ravel()
        keep[np.flatnonzero(alone)[:1]] = True
        return np.flatnonzero(keep)

    @cached_property
    def max_sizes(self) -> NDArray[np.int64]:
        """The max_size of each of `policies`."""
        sizes = np.repeat(self.sizes, len(self.waits))[self.policies]
        return np.where(self.max_waits > 0, sizes, 1)

    @cached_property
    def max_waits(self) -> Floats:
        """The max_wait of each of `policies`, in seconds."""
        sizes = np.repeat(self.sizes, len(self.waits))[self.policies]
        waits = np.tile(np.array(self.waits, dtype=np.float64), len(self.sizes))[self.policies]
        return np.where(sizes > 1, waits, 0.0)


def fit_arrivals(trace: Trace, window: float) -> tuple[MAP, tuple[str, ...]]:
    """Return the process that fits a trace, for waits of up to `window`, and what it misses."""
    longest = 0.999 * trace.duration / _MIN_WINDOWS
    try:
        fitted = fit(trace, window=min(window, longest) or None)
    except TooFewSamples:
        warning = "Too few requests to tell their burstiness: they were taken to be independent."
        return poisson_process(trace.rate), (warning,)
    return fitted.map, fitted.warnings
