"""Which formula says what of a trace, a policy and a deployment, and what it leaves out.

A formula exists for the buffer in front of servers without limit (deployments on demand, whose
limits and cold starts it ignores, and says so), and for fleets without batching where all wait in
one queue. For the rest there is the simulator::

    predict(trace, BatchPolicy(max_size=8, max_wait=0.02), deployment, times).quantile(0.95)
"""

from collections.abc import Iterable
from dataclasses import replace

import numpy as np

from workbench.batching.timer import BatchPolicy, Policy
from workbench.deployment.base import Deployment
from workbench.deployment.call_limits import CallDemand, broken_limits
from workbench.deployment.platforms import FleetPlatform, OnDemandPlatform
from workbench.errors import NotPredictable
from workbench.pricing.cost import Cost, describe_unknown_data, monthly
from workbench.pricing.usage import Usage, round_up_ms
from workbench.queueing.buffers import predict_buffer
from workbench.queueing.general import mg1
from workbench.queueing.predictions import Prediction, service_distributions
from workbench.queueing.queues import mmc
from workbench.run.record import RunRecord, describe_setup
from workbench.service_times import Floats, ServiceTimes
from workbench.traffic.map import MAP
from workbench.traffic.map_fitting import MapFit, fit
from workbench.traffic.trace import Trace, largest_run
from workbench.validation import of_kind

SCV_TOLERANCE = 0.1
"""How far a squared coefficient of variation may be from 1, that of an exponential time."""


def predict(
    trace: Trace,
    policy: Policy,
    deployment: Deployment,
    service: ServiceTimes,
    *,
    arrivals: MapFit | MAP | None = None,
    record: RunRecord | None = None,
    notes: Iterable[str] = (),
) -> Prediction:
    """Return what a formula says of an experiment; its `assumptions` say what it leaves out.

    Args:
        trace: The requests, all of the same number of rows.
        policy: How they become batches: a `BatchPolicy`.
        deployment: Where they are answered.
        service: Service times there, by rows.
        arrivals: The process to compute with; by default the one fitted to the trace.
        record: What a run of it would record, with label, target and bytes of an answer, which
            `cost` counts as it does the trace's. By default the label is the formula's.
        notes: What else it assumes.

    Raises:
        NotPredictable: There is no formula, or the load is 1 or more: simulate instead.
        InvalidInput: Service times miss a batch size.
        TooFewSamples: The trace is too short to fit an arrival process to.

    >>> from workbench.deployment import Local
    >>> from workbench.traffic.map import poisson_process
    >>> from workbench.traffic.patterns import poisson
    >>> trace = poisson(rate=5, duration=60, seed=1)
    >>> times = ServiceTimes({1: 0.1})
    >>> found = predict(trace, BatchPolicy(), Local(), times, arrivals=poisson_process(5))
    >>> found.formula, round(found.mean_latency, 4)
    ('M/G/1', 0.15)
    """
    if arrivals is not None:
        of_kind("arrivals", arrivals, MapFit | MAP, "a MAP, or the Fit of one")
    policy = _check_formula(trace, policy, deployment)
    requests = service_per_request(service, trace, policy.max_size)
    platform = deployment.platform
    on_demand = isinstance(platform, OnDemandPlatform)
    servers = 0 if on_demand else _servers(deployment, policy)
    window = policy.max_wait if policy.max_size > 1 and policy.max_wait else None
    fitted = fit(trace, window=window) if arrivals is None else arrivals
    process = fitted if isinstance(fitted, MAP) else fitted.map
    if isinstance(platform, OnDemandPlatform):
        idle = requests.idle()  # where servers are without limit, each batch finds an idle one
        prediction = predict_buffer(
            process, max_size=policy.max_size, max_wait=policy.max_wait, service=idle
        )
        used = f"{prediction.concurrency:.3g} are on average"
        ignored = [
            f"The limit of {platform.limit} calls in flight is ignored: {used}.",
            "Cold starts are ignored.",
        ]
        usage = calls_usage(trace, idle, prediction)
    else:
        prediction, ignored = _predict_queue(process, requests, servers)
        usage = replace(
            deployment.idle_usage(trace.duration),
            notes=("Billed from the start of the trace to its end.",),
        )
    cost = None
    if not (on_demand and platform.idle_instances):  # which calls those would take is open
        answer_bytes = None if record is None else record.answer_bytes
        cost = compute_cost(trace, deployment, usage, answer_bytes)
    assumptions = (
        *list_broken_limits(trace, policy, deployment, requests),
        *prediction.assumptions,
        *ignored,
        *fit_notes(fitted),
        *service_notes(service),
        *notes,
    )
    if record is None:
        record = describe_setup(trace, policy, deployment, None, label=prediction.label)
    return replace(
        prediction,
        assumptions=assumptions,
        cost=cost,
        label=record.label or "",
        slo=record.slo,
        warnings=fitted.warnings if isinstance(fitted, MapFit) else (),
        setup=record,
    )


def find_obstacle(trace: Trace, policy: Policy, deployment: Deployment) -> str:
    """Return why there is no formula, as far as it shows without a fit to the trace; else "".

    >>> from workbench.deployment import Local
    >>> from workbench.traffic.patterns import constant
    >>> find_obstacle(constant(rate=1, duration=9), BatchPolicy(max_size=8), Local())
    'No formula is known for batches that wait for the one server: use simulate().'
    """
    try:
        _check_formula(trace, policy, deployment)
    except NotPredictable as error:
        return str(error)
    return ""


def _check_formula(trace: Trace, policy: Policy, deployment: Deployment) -> BatchPolicy:
    if not isinstance(policy, BatchPolicy):
        raise no_formula(f"batches that leave by the policy '{policy.label}'")
    if (trace.rows != trace.rows[0]).any():
        raise no_formula("requests of different numbers of rows")
    if not isinstance(deployment.platform, OnDemandPlatform):
        _servers(deployment, policy)
    return policy


def list_broken_limits(
    trace: Trace, policy: BatchPolicy, deployment: Deployment, service: ServiceTimes
) -> list[str]:
    """Return which of the platform's limits a full batch breaks, which no formula knows."""
    seconds = float(service.idle_table[policy.max_size].max())
    demand = CallDemand(seconds=seconds, content=largest_run(trace.bytes, policy.max_size))
    broken = broken_limits(deployment, demand)
    return [f"The platform would not do this: {broken}."] if broken else []


def no_formula(what: str) -> NotPredictable:
    """Return the error that there is no formula for something."""
    return NotPredictable(f"No formula is known for {what}: use simulate().")


def service_per_request(service: ServiceTimes, trace: Trace, max_size: int) -> ServiceTimes:
    """Return service times by requests, where all requests have as many rows."""
    rows = int(trace.rows[0])
    if (trace.rows != rows).any():
        raise no_formula("requests of different numbers of rows")
    service.check(rows * np.arange(1, max_size + 1))
    if rows == 1:
        return service
    seconds, after_idle = (
        {size: table[rows * size] for size in range(1, max_size + 1)}
        for table in (service.table, service.idle_table)
    )
    return ServiceTimes(seconds, after_idle=after_idle, label=service.label)


def _servers(deployment: Deployment, policy: BatchPolicy) -> int:
    """Return how many servers work on the one queue of a deployment."""
    match deployment.platform:
        case FleetPlatform(one_queue=True) as fleet:
            servers = fleet.servers
        case FleetPlatform(routing=("least_outstanding" | "random") as routing):
            raise no_formula(f"instances with a queue each (routing {routing})")
        case _:
            raise no_formula(f"deployments of the kind '{deployment.kind}'")
    if policy.max_size > 1:
        which = "the one server" if servers == 1 else f"one of {servers} servers"
        raise no_formula(f"batches that wait for {which}")
    return servers


def _predict_queue(
    process: MAP, service: ServiceTimes, servers: int
) -> tuple[Prediction, list[str]]:
    """Return the prediction of a shared queue without batching, and notes."""
    if process.phases > 1:
        raise NotPredictable(
            "No formula is known for a queue whose arrivals are not Poisson, as those fitted or "
            f"given are not ({process!r}): use simulate(), or pass arrivals=poisson_process(rate)."
        )
    if servers == 1:
        return mg1(rate=process.rate, service=service), []
    mean, scv = float(service.means[1]), scv_of(service.table[1])
    if abs(scv - 1) > SCV_TOLERANCE:
        raise no_formula(
            f"{servers} servers and service times that are not exponential (their squared "
            f"coefficient of variation is {scv:.2g}, not 1)"
        )
    idle = float(service.idle_means[1])
    return mmc(rate=process.rate, service=mean, servers=servers), [
        f"Service times have a squared coefficient of variation of {scv:.2g}.",
        f"That a request takes {idle:.4g} s, not {mean:.4g} s, on an idle server is ignored.",
    ]


def scv_of(quantiles: Floats) -> float:
    """Return variance over squared mean of a distribution that is uniform between its quantiles."""
    low, high = (quantiles, quantiles) if len(quantiles) == 1 else (quantiles[:-1], quantiles[1:])
    square = float(((low**2 + low * high + high**2) / 3).mean())
    return max(0.0, square / float(((low + high) / 2).mean()) ** 2 - 1)


def fit_notes(fitted: MapFit | MAP) -> list[str]:
    """Return how well the process fits the trace, and what it misses."""
    if isinstance(fitted, MAP):
        return [f"Arrivals are those given: {fitted!r}."]
    near = (
        f"misfit {fitted.misfit:.2g} standard errors, "
        f"largest distance of the gaps' distributions {fitted.ks_distance:.2g}"
    )
    return [f"Arrivals are the fitted {fitted.kind} process: {near}.", *fitted.warnings]


def service_notes(service: ServiceTimes) -> list[str]:
    """Return where service times come from, and what the formula misses of their order."""
    notes = [f"Service times: {service.label}."]
    if service.speed is not None:
        notes.append(
            "Service times are drawn one by one, yet slow calls came together when measured: "
            "queues grow longer than this says. simulate() repeats the slow stretches."
        )
    return notes


def calls_usage(trace: Trace, service: ServiceTimes, prediction: Prediction) -> Usage:
    """Return what the calls of a trace are billed where none is provisioned for."""
    distributions = service_distributions(service, len(prediction.batch_sizes))
    billed = (
        np.array([round_up_ms(quantiles.values) @ quantiles.weights for quantiles in distributions])
        / 1000
    )
    calls = round(len(trace) / prediction.mean_batch_size)
    return Usage(
        seconds=calls * float(prediction.batch_sizes @ billed),
        calls=calls,
        notes=("Cold starts are not billed.",),
    )


def compute_cost(
    trace: Trace, deployment: Deployment, usage: Usage, answer_bytes: float | None
) -> Cost:
    """Return the bill of a usage with the bytes of a trace and of its answers."""
    sent, given = float(trace.bytes.sum()), float(trace.rows.sum()) * (answer_bytes or 0.0)
    items = deployment.bill(replace(usage, bytes_in=sent, bytes_out=given))
    known = {"requests": bool(sent), "answers": answer_bytes is not None}
    unknown = describe_unknown_data(**known) if deployment.bills_data else ()
    return Cost(
        items=items,
        answered=len(trace),
        origin=Prediction.origin,
        notes=(*usage.notes, *unknown),
        per_month=monthly(items, trace.duration),
    )
