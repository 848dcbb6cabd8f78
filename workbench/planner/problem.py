"""What is to be planned, and the exact model's figures that all inference types share."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

from workbench.deployment.base import KINDS, Deployment, is_by_job
from workbench.deployment.call_limits import CallDemand, broken_limits
from workbench.errors import TooFewSamples
from workbench.planner.candidates import (
    CandidateMetrics,
    CandidateTable,
    Configuration,
    OutcomeSummary,
    SimulatedCandidate,
    dollars_of,
    latencies_of,
    summarize,
)
from workbench.pricing.cost import MONTH, Items, total
from workbench.pricing.usage import Usage
from workbench.quantiles import SLO, find_rank, longest_within, select_quantile
from workbench.queueing.buffers import NoWaits, PoissonWaits
from workbench.queueing.grid import Screen, screen
from workbench.service_times import Floats, ServiceTimes
from workbench.simulator import Outcome, serve
from workbench.traffic.map import poisson_process
from workbench.traffic.map_fitting import fit
from workbench.traffic.trace import Trace, largest_run

if TYPE_CHECKING:
    from workbench.planner.instance_capacity import FleetChoice
    from workbench.planner.options import Options
    from workbench.planner.out_of_sample import Holdout
    from workbench.planner.service_sources import ServiceOn
    from workbench.traffic.map import MAP
    from workbench.traffic.redraws import Redraws

_MIN_WINDOWS = 20  # windows that a trace must hold to show burstiness
_CACHES = ("_contents", "_mean_content", "_service_times", "_summaries")
_TRIED_REQUESTS = 100_000  # requests that a search simulates before it counts its simulations
SERVICE_SAMPLES = 20  # of a service time that is a distribution: the means of equal shares


@dataclass(frozen=True, kw_only=True)
class PlanningProblem:
    """What is to be planned: the traffic, the target, the choices, and service times by place."""

    trace: Trace
    arrivals: MAP
    slo: SLO
    budget: float | None
    options: Options
    service: ServiceOn
    largest: int
    days: Redraws | None = None
    holdout: Holdout | None = None
    tightness: float = 1.0

    @property
    def target(self) -> float:
        """What must be kept to: the target in seconds, or the budget in dollars."""
        return longest_within(self.slo.latency) if self.budget is None else self.budget

    @property
    def limit(self) -> float:
        """What is searched for: the target less its headroom, or the budget, or less of it."""
        if self.budget is None:
            share = self.tightness * (1 - self.options.headroom)
            return longest_within(share * self.slo.latency)
        return self.tightness * self.budget

    @property
    def latency_limit(self) -> float:
        """The seconds that the target's quantile is to keep to; infinite with a budget."""
        return self.limit if self.budget is None else np.inf

    def tighten(self, tightness: float) -> PlanningProblem:
        """Return the same problem with a share of its limit, and what is known of it already."""
        shared = ("screening", "rows", "content", "answers", *_CACHES)
        known = {name: getattr(self, name) for name in shared}
        tighter = replace(self, tightness=tightness)
        vars(tighter).update(known | self._known_choices)
        return tighter

    @property
    def millions_a_month(self) -> float:
        """Requests of a month, in millions, the trace repeating itself."""
        return self.trace.rate * MONTH / 1e6

    def speed_up(self, faster: float) -> PlanningProblem:
        """Return the problem of so much faster traffic, without a budget."""
        other = replace(
            self,
            trace=self.trace.scale(faster),
            arrivals=self.arrivals.scale(faster),
            days=None if self.days is None else self.days.scale(faster),
            holdout=None,
            budget=None,
        )
        vars(other).update(self._known_choices | {"_service_times": self._service_times})
        return other

    @property
    def _known_choices(self) -> dict[str, Any]:
        """What instances can do, if it is known: it hangs neither on the limit nor on the rate."""
        return {name: vars(self)[name] for name in ("fleet_choices",) if name in vars(self)}

    def aim(self, metrics: CandidateMetrics) -> float:
        """Return what is to be low: dollars per million, with a budget seconds."""
        return metrics.cost if self.budget is None else metrics.latency

    def price(self, metrics: CandidateMetrics) -> float:
        """Return dollars per million requests of a month, which is what plans show.

        Without boot and the wait for last answers, which weigh much in a trace of seconds. A
        budget, and what was not simulated, is about the trace itself.
        """
        shown = self.budget is None and np.isfinite(metrics.month)
        return metrics.month / self.millions_a_month if shown else metrics.cost

    def weigh(self, metrics: CandidateMetrics) -> float:
        """Return what decides between candidates that were simulated: as `aim`, but of a month."""
        return self.price(metrics) if self.budget is None else metrics.latency

    def figure_to_limit(self, metrics: CandidateMetrics) -> float:
        """Return what must keep to the limit: seconds, with a budget dollars per million."""
        return metrics.latency if self.budget is None else metrics.cost

    @cached_property
    def screening(self) -> Screening:
        """The exact model's figures of every policy with the service times of every deployment."""
        return Screening(self)

    @cached_property
    def fleet_choices(self) -> tuple[list[FleetChoice], dict[str, str]]:
        """What an instance of each type can do, and of types that cannot meet the target, why."""
        from workbench.planner.instance_capacity import find_fleet_choices

        return find_fleet_choices(self)

    @cached_property
    def rows(self) -> float:
        """Rows a request, on average."""
        return float(self.trace.rows.mean())

    @property
    def tries(self) -> int:
        """How many simulations of one search are worth while: more where they are short."""
        return int(self.options.finalists * np.clip(_TRIED_REQUESTS / len(self.trace), 1, 10))

    def service_on(self, deployment: Deployment) -> ServiceTimes:
        """Return the service times on a deployment, made once for each size and type."""
        known = self._service_times
        if deployment not in known:
            one = deployment.with_count(1)
            known[deployment] = known[one] if one in known else self.service(deployment)
            known[one] = known[deployment]
        return known[deployment]

    @cached_property
    def _service_times(self) -> dict[Deployment, ServiceTimes]:
        return {}

    def on_day(self, number: int) -> PlanningProblem:
        """Return the same problem on another day."""
        assert self.days is not None  # noqa: S101 - who asks has seen to it
        seed = self.options.seed + 1 + number
        other = replace(self, trace=self.days[number], options=replace(self.options, seed=seed))
        # service times do not hang on the day
        vars(other).update(_service_times=self._service_times)
        return other

    def ratio(self, configuration: Configuration) -> float:
        """Return what must keep to the target as a share of it; 1 where a latency keeps to it.

        Infinite where calls break limits of their platform.
        """
        deployment = configuration.deployment
        outcome = self.serve(configuration)
        if self.budget is not None:
            summary = summarize(outcome, deployment, self.slo, self.content, self.answers)
            cost = summary.price(deployment, self.options.prices).cost
            return np.inf if summary.figures.broken else cost / self.target
        late, broken = latencies_of(outcome, deployment, self.content)
        if broken:
            return np.inf
        within = np.count_nonzero(late <= self.target)
        if within >= find_rank(self.slo.quantile, len(late)):
            return 1.0  # and the quantile itself would take several times as long
        return select_quantile(late, self.slo.quantile) / self.target

    def serve(self, configuration: Configuration) -> Outcome:
        """Return what would become of the trace with a setting."""
        deployment, policy, scaling = configuration
        times = tuple(self.service_on(part) for part in deployment.simple_parts)
        has_functions = any(part.on_demand for part in deployment.simple_parts)
        return serve(
            self.trace,
            policy,
            deployment,
            cast("Any", times if len(times) > 1 else times[0]),  # a composite takes several
            cold_start=self.options.cold_start if has_functions else self.options.boot,
            boot=self.options.boot,
            scaling=scaling,
            seed=self.options.seed,
        )

    def simulate(self, configuration: Configuration) -> CandidateMetrics:
        """Return what the simulator says of a setting under the trace itself."""
        deployment, summary = configuration.deployment, self._summarize(configuration)
        figures = summary.price(deployment, self.options.prices)
        month = total(self._bill(configuration)) * MONTH / self.trace.duration
        broken = self.find_broken_limits(deployment, configuration.policy.max_size)
        return figures._replace(broken=broken or figures.broken, month=month)

    def bill_month(self, configuration: Configuration) -> Items:
        """Return what a month of a setting costs, item by item, the trace repeating itself."""
        months = MONTH / self.trace.duration
        items = self._bill(configuration)
        return tuple(replace(item, quantity=months * item.quantity) for item in items)

    def _bill(self, configuration: Configuration) -> Items:
        """Return the items of the trace as one of many in a row."""
        deployment, _, scaling = configuration
        usage = self._summarize(configuration).usage
        if scaling is None:  # what a fleet took to boot is not repeated
            usage = deployment.repeat_usage(usage, self.trace.duration)
        return deployment.bill(usage, prices=self.options.prices)

    def _summarize(self, configuration: Configuration) -> OutcomeSummary:
        """Return what a simulation comes to before prices, made once for what fares the same."""
        deployment, policy, scaling = configuration
        # What differs in price alone fares the same.
        alike = tuple(
            (type(part), part.platform, part.call_limit, self.service_on(part).digest)
            for part in deployment.simple_parts
        )
        rule = getattr(deployment, "spill", None)
        key = (type(deployment), alike, rule, policy, scaling and repr(scaling))
        if key not in self._summaries:
            outcome = self.serve(configuration)
            data = self.content, self.answers
            self._summaries[key] = summarize(outcome, deployment, self.slo, *data)
        return self._summaries[key]

    def without_batches(self) -> PlanningProblem | None:
        """Return the problem of who joins no requests, on this trace alone; None: all types do."""
        options = self.options
        plain = [kind for kind in options.kinds if kind in KINDS and not is_by_job(kind)]
        own = [each for each in options.deployments if not each.by_job]
        if not plain or self.budget is not None:
            return None
        choices: dict[str, Any] = {
            "kinds": plain,
            "deployments": own,
            "scaled": False,
            "hybrid": False,
        }
        alone = replace(options, **choices, max_sizes=[1], forecaster=None)
        other = replace(self, options=alone, days=None, holdout=None)
        vars(other).update(_service_times=self._service_times)
        return other

    @cached_property
    def _summaries(self) -> dict[Any, OutcomeSummary]:
        return {}

    def service_label(self, deployment: Deployment) -> str:
        """Return where the service times on a deployment come from, in words."""
        labels = (self.service_on(part).label for part in deployment.simple_parts)
        return "; ".join(dict.fromkeys(labels))

    def find_broken_limits(self, deployment: Deployment, max_size: int) -> str:
        """Return which limits a call of so many requests can break, in words."""
        parts = deployment.simple_parts
        if len(parts) > 1:
            return " ".join(filter(None, (self.find_broken_limits(p, max_size) for p in parts)))
        options = self.options
        if max_size not in self._contents:
            self._contents[max_size] = largest_run(self.content, max_size)
        largest = self._contents[max_size]
        seconds, rows = 0.0, int(np.ceil(self.rows * max_size))
        if not deployment.by_job:
            longest = self.service_on(deployment).idle_table[: rows + 1, -1]
            seconds = float(np.nan_to_num(longest).max())
        start = 0.0
        if deployment.on_demand and options.cold_start is not None:
            start = float(np.max(options.cold_start))
        return broken_limits(deployment, CallDemand(seconds, largest, options.model_memory, start))

    @cached_property
    def _contents(self) -> dict[int, int]:
        return {}

    @cached_property
    def content(self) -> NDArray[np.int64]:
        """Bytes of each request, 0 where unknown."""
        return self.trace.content(self.options.row_bytes)

    @cached_property
    def _mean_content(self) -> float:
        return float(self.content.mean())

    @cached_property
    def answers(self) -> Floats:
        """Bytes of each answer, 0 where unknown."""
        return np.multiply(self.trace.rows, self.options.answer_bytes or 0.0, dtype=np.float64)

    def data_dollars(self, deployment: Deployment) -> float:
        """Return what the data of a million requests cost."""
        usage = Usage(bytes_in=self._mean_content, bytes_out=float(self.answers.mean()))
        return 1e6 * dollars_of(deployment, usage, self.options.prices)

    def evaluate(
        self, candidates: CandidateTable, row: int, configuration: Configuration | None = None
    ) -> SimulatedCandidate:
        """Simulate a row of a field, or a setting in its place, and keep what comes out."""
        configuration = configuration or candidates.configuration(row)
        for finalist in candidates.finalists:
            if finalist.configuration == configuration:
                return finalist
        finalist = SimulatedCandidate(configuration, self.simulate(configuration), row)
        candidates.finalists.append(finalist)
        return finalist

    def meets_constraint(self, metrics: CandidateMetrics) -> bool:
        """Return whether figures keep to the limit: the target with its headroom, or the budget."""
        return not metrics.broken and self.figure_to_limit(metrics) <= self.limit

    def meets_target(self, metrics: CandidateMetrics) -> bool:
        """Return whether figures keep to the target, or to the budget, however barely."""
        return not metrics.broken and self.figure_to_limit(metrics) <= self.target

    def best_cost(self, table: CandidateTable) -> float:
        """Return the least cost that is known to meet the constraint; infinite where none does."""
        met = (each.figures.cost for each in table.finalists if self.meets_constraint(each.figures))
        return min(met, default=np.inf)

    def rank(self, metrics: CandidateMetrics) -> tuple[bool, bool, float, float]:
        """Return a key, the lowest the best: what is met before what is not, then cost or latency.

        What breaks a limit of its platform comes last. Of what misses the target the least miss
        comes first, of what exceeds the budget the cheapest.
        """
        met = self.meets_constraint(metrics)
        by_cost = (self.budget is None) == met
        first, second = self.price(metrics), metrics.latency
        key = (bool(metrics.broken), not met)
        return (*key, first, second) if by_cost else (*key, second, first)

    def rank_judged(self, table: CandidateTable, finalist: SimulatedCandidate) -> tuple[Any, ...]:
        """Return a key as `rank` does, where what holds on other days precedes what does not."""
        judged = table.judged.get(finalist.configuration)
        broken, missed, *order = self.rank(finalist.figures)
        held = judged is not None and judged.holds(self.options.unseen_share)
        share = 0.0 if held or judged is None else judged.share
        return broken, missed, not held, -share, *order


class Screening:
    """Figures of every policy, once for all deployments that serve alike.

    Figures are indexed by distribution (see `of`), max_size and max_wait. A batch on instances
    that start on demand finds its server idle; on a fleet it follows another.
    """

    def __init__(self, problem: PlanningProblem) -> None:
        self._problem = problem
        self.sizes, _ = problem.options.sizes(problem.largest)
        self.waits = problem.options.waits(problem.slo.latency)
        kinds = [kind for kind in problem.options.kinds if not is_by_job(kind)]
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
        rows: Floats = self._problem.rows * np.arange(1, max(self.sizes) + 1, dtype=np.float64)
        sizes = _find_neighbours(np.array(times.sizes), rows)
        table = (times.idle_table if deployment.on_demand else times.table)[sizes]
        if table.shape[1] > 1:
            # means of equal parts, which keep the mean: single quantiles would leave out the tail
            levels, fine = np.linspace(0, 1, table.shape[1]), np.linspace(0, 1, 1001)
            drawn = np.array([np.interp(fine, levels, row) for row in table])
            between = (drawn[:, 1:] + drawn[:, :-1]) / 2
            table = between.reshape(len(table), SERVICE_SAMPLES, -1).mean(axis=2)
        return np.array([np.interp(rows, sizes, level) for level in table.T]).T

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

    @cached_property
    def busy_at_peak(self) -> Floats:
        """The same while the traffic keeps to its busiest phase."""
        rate = float(self._problem.arrivals.d1.sum(axis=1).max())
        sizes = np.zeros_like(self.screen.batch_sizes)
        for b, t in np.ndindex(sizes.shape[:2]):
            size, wait = self.sizes[b], self.waits[t]
            waits = PoissonWaits(rate, size, wait) if size > 1 and wait > 0 else NoWaits(size)
            sizes[b, t, :size] = waits.sizes
        return self.mean_busy_at(rate, sizes)

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

    def broken_limits(self, deployments: list[Deployment]) -> NDArray[np.object_]:
        """Return which limits calls can break, in words: a row a deployment, by policy."""
        sizes, places = np.unique(self.max_sizes, return_inverse=True)
        words = [
            [self._problem.find_broken_limits(one, int(size)) for size in sizes]
            for one in deployments
        ]
        return np.array(words, dtype=object)[:, places]

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


@lru_cache(maxsize=8)
def fit_arrivals(trace: Trace, window: float) -> tuple[MAP, tuple[str, ...]]:
    """Return the process that fits a trace, for waits of up to `window`, and what it misses."""
    # a little shorter than fits, as rounding could make it one too few
    longest = 0.999 * trace.duration / _MIN_WINDOWS
    try:
        fitted = fit(trace, window=min(window, longest) or None)
    except TooFewSamples:
        warning = "Too few requests to tell their burstiness: they were taken to be independent."
        return poisson_process(trace.rate), (warning,)
    return fitted.map, fitted.warnings


def _find_neighbours(sizes: NDArray[np.int64], values: Floats) -> NDArray[np.int64]:
    """Return those of some sizes, in order, between which the values lie."""
    after = np.searchsorted(sizes, values)
    places = np.unique(np.clip(np.concatenate([after - 1, after]), 0, len(sizes) - 1))
    neighbours: NDArray[np.int64] = sizes[places]
    return neighbours
