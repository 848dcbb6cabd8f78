"""What an experiment comes to, quickly enough to be redrawn while a slider moves."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from workbench.batching import BatchPolicy
from workbench.deployment import Deployment, Lambda, Serverless
from workbench.experiment import Experiment
from workbench.planner.candidates import dollars_of, usage_of
from workbench.prices import PriceSheet
from workbench.profiling import Profile
from workbench.service import Floats, ServiceTimes
from workbench.simulator import Outcome, serve

_SHIFT = 46  # leaves a latency's exponent and 6 bits of its fraction: bins 1.6 % wide at most
_BINS = 1 << (63 - _SHIFT)
_POINTS = 240
_STEPWISE = 20_000  # requests of a trace that is simulated step by step
_QUANTILE = 0.95  # where there is no target


@dataclass(frozen=True, kw_only=True, eq=False)
class Outlook:
    """The law of an experiment's latency, its target and its cost, by the simulator.

    Attributes:
        requests: how many were simulated.
        rate: of them a second.
        latency: seconds at the target's quantile (0.95 without one), infinite where so many failed.
        attainment: share of the requests within the target, failures counting as late; 1 without.
        per_million: US dollars a million answered requests, without bytes sent; None where
            nothing was answered or the bill depends on provisioned instances.
        seconds: latencies at which the law is drawn, ascending.
        shares: of all requests, answered before each of them.
    """

    requests: int
    rate: float
    latency: float
    attainment: float
    per_million: float | None
    seconds: Floats
    shares: Floats


def outlook_of(experiment: Experiment, profile: Profile | ServiceTimes, **settings: Any) -> Outlook:  # noqa: ANN401 - as for simulate
    """Return what the simulator says of an experiment, without its rows.

    Quantile and attainment are those of `experiment.simulate(profile, **settings)`. Under policies
    that are simulated step by step, only the first 20,000 requests are.

    Args:
        experiment: What to simulate.
        profile: Service times on this machine.
        settings: cold_start, scaling and seed, as for `Experiment.simulate`.

    Raises:
        InvalidInput: Service times miss a batch size, or a setting is out of range.
    """
    trace, on, slo = experiment.trace, experiment.deployment, experiment.slo
    if not isinstance(experiment.policy, BatchPolicy) and len(trace) > _STEPWISE:
        trace = trace.clip(0, float(trace.arrivals[_STEPWISE]))
    outcome = serve(trace, experiment.policy, on, experiment.service(profile), **settings)
    latencies = outcome.latencies
    bins = _bins(latencies)
    counts = np.bincount(bins, minlength=_BINS)
    within = int(np.count_nonzero(latencies <= slo.latency * (1 + 1e-12))) if slo else 0
    seconds, shares = _law(counts, len(latencies))
    return Outlook(
        requests=len(latencies),
        rate=trace.rate,
        latency=_quantile(latencies, bins, counts, slo.quantile if slo else _QUANTILE),
        attainment=within / len(latencies) if slo else 1.0,
        per_million=_per_million(outcome, on),
        seconds=seconds,
        shares=shares,
    )


def _per_million(outcome: Outcome, on: Deployment) -> float | None:
    answered = int(np.count_nonzero(np.isfinite(outcome.latencies)))
    if not answered or (isinstance(on, Serverless | Lambda) and on.provisioned):
        return None
    return 1e6 * dollars_of(on, usage_of(outcome, on), PriceSheet.load()) / answered


def _bins(latencies: Floats) -> NDArray[np.int64]:
    """Return the bin of each latency by its bits, which for positive numbers grow with it."""
    bins: NDArray[np.int64] = latencies.view(np.int64) >> _SHIFT
    return bins


def _edges(bins: NDArray[np.int64]) -> Floats:
    """Return where bins begin, in seconds."""
    return (bins << _SHIFT).view(np.float64)


def _quantile(
    latencies: Floats, bins: NDArray[np.int64], counts: NDArray[np.int64], q: float
) -> float:
    """Return the quantile, looked for in its bin alone; failures, which are NaN, come last."""
    rank = max(1, math.ceil(q * len(latencies) - 1e-9))
    before = np.cumsum(counts)
    its = int(np.searchsorted(before, rank))
    near = latencies[bins == its]
    place = rank - 1 - (int(before[its]) - int(counts[its]))
    found = float(np.partition(near, place)[place])
    return math.inf if math.isnan(found) else found


def _law(counts: NDArray[np.int64], total: int) -> tuple[Floats, Floats]:
    """Return edges of bins in seconds, and the share of requests before each."""
    met = np.flatnonzero(counts)
    edges = np.unique(np.concatenate([met, met + 1]))
    edges = edges[edges < _BINS]
    edges = edges[np.isfinite(_edges(edges))]
    if not len(edges):
        return np.empty(0), np.empty(0)
    kept = edges[np.unique(np.linspace(0, len(edges) - 1, _POINTS).round().astype(np.int64))]
    before = np.concatenate([[0], np.cumsum(counts)])
    return _edges(kept), before[kept] / total
