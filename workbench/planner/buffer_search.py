"""Size and wait of batches decided again for each window of a trace, as BATCH does hour by hour."""

import numpy as np

from workbench.batching.policies import Replanned
from workbench.batching.timer import BatchPolicy
from workbench.deployment.base import Deployment
from workbench.errors import InvalidInput
from workbench.planner.on_demand import batch_dollars
from workbench.planner.options import MAX_SIZES, Options
from workbench.planner.problem import PlanningProblem, fit_arrivals
from workbench.quantiles import SLO, longest_within
from workbench.service_times import ServiceTimes
from workbench.traffic.trace import Trace
from workbench.validation import positive, whole_number


def rebatch(
    trace: Trace,
    slo: SLO,
    deployment: Deployment,
    service: ServiceTimes,
    *,
    max_size: int = 8,
    window: float = 3600.0,
) -> Replanned:
    """Return settings for a trace, decided by the exact model of the buffer for each window.

    A decision takes the traffic of the window before it for what is to come, the first its own;
    where nothing came, the settings stay. It chooses the least cost that meets the target, and
    where nothing does, the least latency. On demand, cost is what calls are billed,
    elsewhere the time that servers are busy. The model knows no queue behind the buffer: of its
    settings, those that keep all servers busy are ruled out, and no more.

    Args:
        trace: The traffic.
        slo: The target.
        deployment: Where batches are answered.
        service: Service times there.
        max_size: The most requests in a batch.
        window: Seconds from one decision to the next.

    Raises:
        InvalidInput: An argument is not what it must be, or service times miss a batch.

    >>> from workbench.deployment import Lambda
    >>> from workbench.traffic.patterns import poisson
    >>> times = ServiceTimes.affine(0.02, 0.004, largest=8)
    >>> function = Lambda(memory_mb=1769, max_concurrency=100)
    >>> trace = poisson(rate=40, duration=60, seed=1)
    >>> found = rebatch(trace, SLO(latency=0.3), function, times, window=30)
    >>> [start for start, _ in found.settings]
    [0.0, 30.0]
    """
    window = positive("window", window, "seconds")
    max_size = whole_number("max_size", max_size, low=1)
    service.check(np.arange(1, max_size + 1) * int(trace.rows.max()))
    if deployment.by_job:
        raise InvalidInput(
            f"Deployments of kind {deployment.kind!r} take no policy: there is nothing to plan."
        )
    sizes = [size for size in MAX_SIZES if size < max_size] + [max_size]
    options = Options(
        kinds=[deployment.kind], deployments=[deployment], max_sizes=sizes, headroom=0.0
    )
    settings = [(0.0, BatchPolicy())]
    for start in np.arange(0, trace.duration, window).tolist():
        first = max(0.0, start - window)
        seen = first, min(first + window, trace.duration)
        if np.diff(np.searchsorted(trace.arrivals, seen))[0]:
            traffic = trace.clip(*seen)
            problem = PlanningProblem(
                trace=traffic,
                arrivals=fit_arrivals(traffic, max(options.waits(slo.latency)))[0],
                slo=slo,
                budget=None,
                options=options,
                service=lambda _: service,
                largest=max(options.sizes(service.largest)[0]),
            )
            settings.append((start, _choose_policy(problem, deployment)))
    latest = dict(settings)  # what was decided for 0 takes the place of no batching
    return Replanned(settings=tuple(latest.items()))


def _choose_policy(problem: PlanningProblem, deployment: Deployment) -> BatchPolicy:
    table = problem.screening
    servers = deployment.platform.servers
    if deployment.on_demand:
        each = batch_dollars([deployment], table.seconds, problem.options.prices)
    else:
        each = table.seconds.mean(axis=2)
    figures = table.screen.cost_per_request(each), table.screen.quantile, table.busy
    cost, latency, busy = (figure[0].ravel()[table.policies] for figure in figures)
    stable = busy < servers if (busy < servers).any() else busy == busy.min()
    met = stable & (latency <= longest_within(problem.slo.latency))
    aim, able = (cost, met) if met.any() else (latency, stable)
    row = int(np.where(able, aim, np.inf).argmin())
    return BatchPolicy(max_size=int(table.max_sizes[row]), max_wait=float(table.max_waits[row]))
