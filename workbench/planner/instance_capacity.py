"""What one instance can do: the largest rate at which a target is met, and how to batch for it.

`find_capacity` does for a type what MArk's authors profiled by hand (ATC 2019): it looks for size
and wait with which one instance answers most requests within the target. The exact model of the
buffer, with a guess at the queue behind it, says which promise most; the rate of these is raised
and lowered until the simulated quantile just keeps to the target.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from workbench.batching.timer import BatchPolicy
from workbench.deployment.base import Deployment
from workbench.deployment.platforms import FleetPlatform
from workbench.errors import InvalidInput, NotFound
from workbench.planner.options import Options
from workbench.planner.problem import PlanningProblem
from workbench.planner.rate_search import RateFound, RateSearch, find_mark_policy
from workbench.planner.service_sources import Measured, load_profile, resolve_service
from workbench.pricing.cost import total
from workbench.quantiles import SLO, samples_needed
from workbench.registry.model import Model
from workbench.scaling.capacity import InstanceCapacity
from workbench.traffic.map import poisson_process
from workbench.traffic.patterns import poisson
from workbench.traffic.trace import Trace
from workbench.units import HOUR
from workbench.validation import inner_share, of_kind

if TYPE_CHECKING:
    import polars as pl

    from workbench.pricing.sheet import PriceSheet
    from workbench.service_times import Floats

MOST_LOAD = 0.95
"""The share of its seconds that an instance is busy at most, by default: at all of them a queue
grows without end, however short it was when one looked."""

BEST, MARK = "largest rate", "MArk's rule"
"""How size and wait were found: by search, or by MArk's rule."""

_REQUESTS = 50_000  # simulated at each rate, or more
_SAMPLES = 20  # times the requests that a quantile needs


def find_capacity(
    source: Model | Measured,
    deployment: Deployment,
    slo: SLO,
    *,
    trace: Trace | None = None,
    options: Options | None = None,
    policy: BatchPolicy | None = None,
    most_load: float = MOST_LOAD,
) -> InstanceCapacity:
    """Return the largest rate at which one instance meets a target, its batching and its price.

    Batches have a timer always: what fills no batch leaves when its wait is over.

    Args:
        source: As for `workbench.planner.plan`: times of this machine follow the scaling rule.
        deployment: The fleet that the instance is of, whatever its count.
        slo: The target.
        trace: Traffic of which random parts are sent, rarely or often; None: independent requests
            of one row (Poisson).
        options: Batch sizes and waits to choose from, prices, measured service times, seed.
        policy: How requests are batched, where that is settled; None: as most are answered.
        most_load: The share of its seconds that the instance may be busy.

    Raises:
        InvalidInput: No instance counts there, none ever meets the target, or one meets it with
            the whole of the trace.
        NotFound: The price sheet has no price for it.

    >>> from workbench.deployment import RealTime
    >>> from workbench.service_times import ServiceTimes
    >>> times = ServiceTimes.affine(0.02, 0.004, largest=8)
    >>> one = find_capacity(times, RealTime(instance_type="ml.c5.large"), SLO(latency=0.2))
    >>> one.policy.max_size, 90 < one.rate < 8 / 0.052, one.hourly_price
    (8, True, 0.102)
    """
    options = Options() if options is None else of_kind("options", options, Options, "Options")
    if policy is not None:
        size, wait = of_kind("policy", policy, BatchPolicy).max_size, policy.max_wait
        options = replace(options, max_sizes=[size], max_waits=[wait], even_if_answers_change=True)
    search = _prepare(source, deployment, slo, trace=trace, options=options, most_load=most_load)
    return _make_capacity(search, search.find_with(policy) if policy else search.find_best())


def capacities(
    source: Model | Measured,
    slo: SLO,
    options: Options | None = None,
    *,
    trace: Trace | None = None,
    most_load: float = MOST_LOAD,
) -> CapacityTable:
    """Return what one instance of each type can do, and what it can with MArk's batches.

    The types are those that a plan would try for real-time fleets; a type that can never meet the
    target, or that has no price, says so in its row. The arguments are those of `find_capacity`.

    Raises:
        InvalidInput: An argument is not what it must be.

    >>> from workbench.service_times import ServiceTimes
    >>> times = ServiceTimes.affine(0.02, 0.004, largest=8)
    >>> table = capacities(times, SLO(latency=0.2), Options(instance_types=["ml.c5.large"]))
    >>> table.frame["rule"].to_list()
    ['largest rate', "MArk's rule"]
    """
    options = Options() if options is None else of_kind("options", options, Options, "Options")
    rows: list[CapacityRow] = []
    known: dict[Any, tuple[RateFound, RateFound]] = {}
    for deployment in options.places("real-time"):
        try:
            search = _prepare(
                source, deployment, slo, trace=trace, options=options, most_load=most_load
            )
            if search.key not in known:
                mark = search.find_with(find_mark_policy(search.seconds, slo))
                best = max(search.find_best(), mark, key=lambda found: found.rate)
                known[search.key] = best, mark
            for rule, found in zip((BEST, MARK), known[search.key], strict=True):
                capacity = _make_capacity(search, found)
                figures = found.latency, found.load, search.full_rate
                rows.append(CapacityRow(capacity.instance_type, rule, capacity, *figures, ""))
        except (InvalidInput, NotFound) as error:
            unknown = (math.nan,) * 3
            rows.append(CapacityRow(name_type(deployment), BEST, None, *unknown, str(error)))
    return CapacityTable(slo=slo, rows=tuple(rows))


def name_type(deployment: Deployment) -> str:
    """Return the instance type of a fleet; of one without types, its kind."""
    return str(deployment.size or deployment.kind)


def price_instance(
    deployment: Deployment,
    rate: float,
    *,
    policy: BatchPolicy | None = None,
    prices: PriceSheet | None = None,
) -> InstanceCapacity:
    """Return one instance of a fleet that serves so many requests a second, by its own bill.

    Raises:
        NotFound: The sheet has no price for it.

    >>> from workbench.deployment import RealTime
    >>> price_instance(RealTime(instance_type="ml.c5.large"), 5.0).hourly_price
    0.102
    """
    one = deployment.with_count(1)
    hourly = total(one.bill(one.idle_usage(HOUR), prices=prices))
    return InstanceCapacity(
        instance_type=name_type(one), rate=rate, hourly_price=round(hourly, 9), policy=policy
    )


class CapacityRow(NamedTuple):
    """What one instance of a type can do, by one way of finding its batches."""

    instance_type: str
    rule: str
    capacity: InstanceCapacity | None
    latency: float
    load: float
    full_rate: float
    reason: str


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class CapacityTable:
    """What one instance of each type can do for a target.

    Attributes:
        slo: the target.
        rows: two a type: the largest rate, and MArk's rule.
    """

    slo: SLO
    rows: tuple[CapacityRow, ...]

    @property
    def capacities(self) -> tuple[InstanceCapacity, ...]:
        """What each type can do that can meet the target, the cheapest a request first."""
        found = [row.capacity for row in self.rows if row.rule == BEST and row.capacity]
        return tuple(sorted(found, key=lambda each: each.cost_per_million))

    @property
    def reasons(self) -> tuple[str, ...]:
        """Why types are not among them, in sentences."""
        return tuple(row.reason for row in self.rows if row.rule == BEST and row.reason)

    @cached_property
    def frame(self) -> pl.DataFrame:
        """A row a type and rule.

        Columns: instance_type, rule, rate (requests a second), max_size, max_wait, latency (at the
        target's quantile, simulated; seconds), load (share of seconds busy), full_rate (at 100 %
        load, which no target allows), hourly_price, cost_per_million (US dollars, if kept busy),
        reason (why there is no rate).
        """
        import polars as pl

        schema = {name: getattr(pl, kind) for name, kind in _COLUMNS.items()}
        return pl.DataFrame([_cells(row) for row in self.rows], schema=schema, orient="row")

    def __repr__(self) -> str:
        able = ", ".join(f"{one.instance_type} {one.rate:.4g}/s" for one in self.capacities)
        return f"<CapacityTable {self.slo.label}: {able or 'no type'}>"

    def _repr_html_(self) -> str:
        from workbench.formatting import Table

        caption = f"What one instance can do for {self.slo.label}, simulated."
        return Table(self.frame.columns, self.frame.rows(), caption).html()


_COLUMNS: dict[str, str] = {
    **dict.fromkeys(("instance_type", "rule"), "String"),
    "rate": "Float64",
    "max_size": "Int64",
    **dict.fromkeys(("max_wait", "latency", "load", "full_rate"), "Float64"),
    **dict.fromkeys(("hourly_price", "cost_per_million"), "Float64"),
    "reason": "String",
}


def _cells(row: CapacityRow) -> tuple[Any, ...]:
    one = row.capacity
    batches = one and one.policy
    return (
        row.instance_type,
        row.rule,
        one and one.rate,
        batches and batches.max_size,
        batches and batches.max_wait,
        row.latency,
        row.load,
        row.full_rate,
        one and one.hourly_price,
        one and one.cost_per_million,
        row.reason,
    )


def _prepare(
    source: Model | Measured,
    deployment: Deployment,
    slo: SLO,
    *,
    trace: Trace | None,
    options: Options,
    most_load: float,
) -> RateSearch:
    of_kind("deployment", deployment, Deployment)
    of_kind("slo", slo, SLO, "an SLO")
    inner_share("most_load", most_load)
    if not isinstance(deployment.platform, FleetPlatform) or not deployment.counted_by:
        raise InvalidInput(
            f"What one instance can do is asked of fleets such as RealTime, not of "
            f"{deployment.label}: functions have no instance to fill, and of a fleet of several "
            "types each is asked by itself."
        )
    one = deployment.with_count(1)
    options = replace(_allow_only(one, options), headroom=0.0)  # the target itself is asked about
    traffic = of_kind("trace", trace, Trace) if trace is not None else _poisson(slo, options)
    if isinstance(source, Model):
        options, _ = options.spare(source)
        source = load_profile(source, traffic, options)
    service, largest = resolve_service(source, traffic, options)
    problem = PlanningProblem(
        trace=traffic,
        arrivals=poisson_process(traffic.rate),
        slo=slo,
        budget=None,
        options=options,
        service=service,
        largest=largest,
    )
    return RateSearch(
        problem=problem, deployment=one, most_load=most_load, thinned=trace is not None
    )


def _allow_only(one: Deployment, options: Options) -> Options:
    """Return options that allow this deployment only."""
    return replace(
        options,
        kinds=[one.kind],
        deployments=[one],
        scaled=False,
        hybrid=False,
        forecaster=None,
    )


class FleetChoice(NamedTuple):
    """An instance of which fleets may be made, and what it can do."""

    one: Deployment
    capacity: InstanceCapacity
    seconds: Floats
    """Of a batch of 1, 2, ... requests, at the target's quantile."""


def find_fleet_choices(problem: PlanningProblem) -> tuple[list[FleetChoice], dict[str, str]]:
    """Return what real-time instances can do for a plan, and of types that cannot, why not.

    Requests are taken to come independently, each with the rows of one of the trace's. The
    instance that is cheapest if kept busy comes first.
    """
    traffic = _poisson(problem.slo, problem.options)
    if problem.trace.rows.max() > 1:
        rng = np.random.default_rng(problem.options.seed)
        traffic = replace(traffic, rows=rng.choice(problem.trace.rows, len(traffic)))
    choices: list[FleetChoice] = []
    reasons: dict[str, str] = {}
    known: dict[Any, RateFound] = {}
    for one in problem.options.places("real-time"):
        alone = replace(
            problem,
            trace=traffic,
            arrivals=poisson_process(traffic.rate),
            options=_allow_only(one, problem.options),
            service=problem.service_on,
            days=None,
            tightness=1.0,
        )
        search = RateSearch(problem=alone, deployment=one, most_load=MOST_LOAD, thinned=False)
        try:
            found = known[search.key] = known.get(search.key) or search.find_best()
            choices.append(FleetChoice(one, _make_capacity(search, found), search.seconds))
        except (InvalidInput, NotFound) as error:
            reasons[one.label] = str(error)
    return sorted(choices, key=lambda each: each.capacity.cost_per_million), reasons


def _poisson(slo: SLO, options: Options) -> Trace:
    requests = max(_REQUESTS, _SAMPLES * samples_needed(slo.quantile))
    return poisson(rate=1.0, duration=float(requests), seed=options.seed)


def _make_capacity(search: RateSearch, found: RateFound) -> InstanceCapacity:
    prices = search.problem.options.prices
    return price_instance(search.deployment, found.rate, policy=found.policy, prices=prices)
