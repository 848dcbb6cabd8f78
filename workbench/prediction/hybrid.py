"""The prediction of a hybrid: which share of the requests its base has no room for, and the rest.

A formula exists where what is past so many in flight spills over, requests are not batched, and
arrivals are Poisson: the base is a loss system (Erlang B) where none waits there, else M/M/c/K.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from workbench.batching.timer import BatchPolicy, Policy
from workbench.deployment.base import Deployment
from workbench.deployment.hybrid import Hybrid
from workbench.deployment.platforms import FleetPlatform, OnDemandPlatform
from workbench.deployment.spill import InFlight
from workbench.errors import NotPredictable
from workbench.prediction import (
    SCV_TOLERANCE,
    calls_usage,
    compute_cost,
    fit_notes,
    list_broken_limits,
    no_formula,
    scv_of,
    service_notes,
    service_per_request,
)
from workbench.pricing.usage import Usage
from workbench.queueing.buffers import predict_buffer
from workbench.queueing.compositions import Mixture
from workbench.queueing.erlang import AcceptedLatency, find_states
from workbench.queueing.predictions import Distribution, Prediction
from workbench.run.record import RunRecord, describe_setup
from workbench.service_times import ServiceTimes
from workbench.traffic.map import MAP
from workbench.traffic.map_fitting import MapFit, fit
from workbench.traffic.trace import Trace


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class HybridPrediction(Prediction):
    """What a formula says of a hybrid; `spilled` is the share of requests that spill over."""

    spilled: float

    def summary(self) -> dict[str, Any]:
        """Return the main figures by name; seconds, shares and requests."""
        return {**super().summary(), "spilled": self.spilled}


class _Base(NamedTuple):
    """What a formula says of the base."""

    formula: str
    spilled: float
    latency: Distribution
    notes: tuple[str, ...]


def predict_hybrid(
    trace: Trace,
    policy: Policy,
    deployment: Deployment,
    services: Sequence[ServiceTimes],
    *,
    arrivals: MapFit | MAP | None = None,
    record: RunRecord | None = None,
    notes: Iterable[str] = (),
) -> HybridPrediction:
    """Return what formulas say of a hybrid and a policy that does not batch.

    `services` are the service times of base and overflow, by rows. The other arguments and the
    errors are those of `workbench.prediction.predict`.

    >>> from workbench.deployment import Lambda, RealTime
    >>> from workbench.traffic.map import poisson_process
    >>> from workbench.traffic.patterns import poisson
    >>> base = RealTime(instance_type="ml.m5.large", count=2)
    >>> hybrid = Hybrid(base=base, overflow=Lambda.example(), spill=InFlight(1))
    >>> times, trace = ServiceTimes({1: 0.1}), poisson(rate=20, duration=60, seed=1)
    >>> found = predict_hybrid(trace, BatchPolicy(), hybrid, [times] * 2,
    ...                        arrivals=poisson_process(20))
    >>> found.formula, round(found.spilled, 3)  # 2 erlangs on 2 servers
    ('M/G/2/2 + buffer no batching', 0.4)
    """
    hybrid = _require_hybrid(deployment, policy)
    assert isinstance(policy, BatchPolicy)  # noqa: S101 - the check before
    fitted = fit(trace) if arrivals is None else arrivals
    process = fitted if isinstance(fitted, MAP) else fitted.map
    if process.phases > 1:
        raise NotPredictable(
            "No formula is known for what a fleet has no room for where arrivals are not Poisson, "
            f"as those fitted or given are not ({process!r}): use simulate(), or pass "
            "arrivals=poisson_process(rate)."
        )
    at_base, at_overflow = (service_per_request(each, trace, 1) for each in services)
    base = _predict_base(hybrid, process, at_base)
    functions = predict_buffer(process, max_size=1, max_wait=0.0, service=at_overflow.idle())
    named = zip(hybrid.place_names, services, strict=True)
    shares = 1 - base.spilled, base.spilled
    latency = Mixture((base.latency, functions.latency), shares)
    calls = calls_usage(trace, at_overflow.idle(), functions)
    usage = _usage(trace, hybrid, calls, base)
    if record is None:
        record = describe_setup(trace, policy, hybrid, None, label="")
    served = shares[0] * float(at_base.means[1]) + shares[1] * functions.latency.mean
    return HybridPrediction(
        formula=f"{base.formula} + {functions.formula}",
        assumptions=(
            *list_broken_limits(trace, policy, hybrid.base, at_base),
            *list_broken_limits(trace, policy, hybrid.overflow, at_overflow),
            f"{base.spilled:.2%} of the requests spill over.",
            *base.notes,
            "The overflow serves each request at once: its limit and cold starts are ignored.",
            *fit_notes(fitted),
            *(f"{name}: {note}" for name, each in named for note in service_notes(each)),
            *notes,
        ),
        rate=process.rate,
        latency=latency,
        batch_sizes=np.ones(1),
        concurrency=process.rate * served,
        spilled=base.spilled,
        cost=usage and compute_cost(trace, hybrid, usage, record.answer_bytes),
        label=record.label or "",
        slo=record.slo,
        warnings=fitted.warnings if isinstance(fitted, MapFit) else (),
        setup=record,
    )


def _require_hybrid(deployment: Deployment, policy: Policy) -> Hybrid:
    """Return the deployment, if there may be a formula for it."""
    if not isinstance(deployment, Hybrid):
        raise no_formula(f"deployments of the kind '{deployment.kind}'")
    if not isinstance(policy, BatchPolicy) or policy.max_size > 1:
        raise no_formula("batches of a hybrid, which come to its base in other than Poisson order")
    if type(deployment.spill) is not InFlight:
        raise no_formula(f"the spill rule '{deployment.spill.label}', beside that of InFlight")
    if len(deployment.base.simple_parts) > 1:
        raise no_formula("a base that mixes instance types, whose servers are not alike")
    return deployment


def _predict_base(hybrid: Hybrid, process: MAP, service: ServiceTimes) -> _Base:
    """Return what a formula says of a base that leaves what is past its room."""
    fleet, most = hybrid.base.platform, getattr(hybrid.spill, "most", 0)
    assert isinstance(fleet, FleetPlatform)  # noqa: S101 - else it were no base
    idle = service.idle()
    if most == 0:
        alone = predict_buffer(process, max_size=1, max_wait=0.0, service=idle)
        return _Base("nothing", 1.0, alone.latency, ("The base is sent nothing.",))
    if fleet.routing == "random" and fleet.instances > 1:
        raise no_formula("instances drawn at random, of which one may be full and others not")
    room = most * fleet.instances
    if most <= fleet.workers:
        mean = float(service.idle_means[1])
        states = find_states(load=process.rate * mean, servers=room, room=room)
        alone = predict_buffer(process, max_size=1, max_wait=0.0, service=idle)
        notes = "No request waits at the base: Erlang's B holds for any service time."
        return _Base(f"M/G/{room}/{room}", float(states[-1]), alone.latency, (notes,))
    if not fleet.one_queue:
        raise no_formula(f"instances with a queue each, in which up to {most} are in flight")
    mean, scv = float(service.means[1]), scv_of(service.table[1])
    if abs(scv - 1) > SCV_TOLERANCE:
        raise no_formula(
            f"a base in whose queue requests wait, with service times that are not exponential "
            f"(their squared coefficient of variation is {scv:.2g}, not 1)"
        )
    states = find_states(load=process.rate * mean, servers=fleet.servers, room=room)
    latency = AcceptedLatency(process.rate, mean, fleet.servers, room)
    notes = f"Service times have a squared coefficient of variation of {scv:.2g}."
    return _Base(f"M/M/{fleet.servers}/{room}", float(states[-1]), latency, (notes,))


def _usage(trace: Trace, hybrid: Hybrid, calls: Usage, base: _Base) -> Usage | None:
    """Return what is billed, if it is known which calls provisioned instances would take: none."""
    platform = hybrid.overflow.platform
    if not isinstance(platform, OnDemandPlatform) or platform.provisioned:
        return None
    spilled = round(base.spilled * calls.calls)
    overflow = Usage(seconds=base.spilled * calls.seconds, calls=spilled)
    kept = replace(hybrid.base.idle_usage(trace.duration), calls=calls.calls - spilled)
    notes = ("The base is billed from the start of the trace to its end.", *calls.notes)
    return Usage(parts=(kept, overflow), notes=notes)
