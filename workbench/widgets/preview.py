"""What an experiment comes to, quickly enough to be redrawn while a slider moves."""

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from workbench.experiment import Experiment
from workbench.formatting import dollars, duration, percent, percentile
from workbench.measuring.profile import Profile
from workbench.planner.candidates import dollars_of, usage_of
from workbench.pricing.sheet import PriceSheet
from workbench.quantiles import SLO, find_rank, longest_within
from workbench.run.verdict import judge_share
from workbench.service_times import Floats, ServiceTimes
from workbench.simulator import Outcome, is_compiled, serve
from workbench.traffic.trace import Trace

Counts = NDArray[np.int64]

_SHIFT = 46  # leaves a latency's exponent and 6 bits of its fraction: bins 1.6 % wide at most
_BINS = 1 << (63 - _SHIFT)  # one for each value of the bits that are left
_FAILED_BIN = int(np.array(np.inf).view(np.int64)) >> _SHIFT  # the first bin of NaN, of what failed
_MAX_POINTS = 240  # of a curve: more are not to be seen
_MAX_STEPWISE_REQUESTS = 20_000  # requests of a trace that is simulated step by step
_DEFAULT_QUANTILE = 0.95  # where there is no target


@dataclass(frozen=True, kw_only=True, eq=False)
class SimulationSummary:
    """The distribution of an experiment's latency, its target and its cost, by the simulator.

    Attributes:
        requests: how many were simulated.
        rate: of them a second.
        latency: seconds at the target's quantile (0.95 without one), infinite where so many failed.
        attainment: share of the requests within the target, failures counting as late; 1 without.
        per_million: US dollars a million answered requests, without bytes sent; None where
            nothing was answered or the bill depends on provisioned instances.
        seconds: latencies at which the distribution is drawn, ascending.
        shares: of all requests, answered before each of them.
    """

    requests: int
    rate: float
    latency: float
    attainment: float
    per_million: float | None
    seconds: Floats
    shares: Floats


def summarize_simulation(
    experiment: Experiment,
    profile: Profile | ServiceTimes,
    **settings: Any,  # noqa: ANN401 - what `simulate` takes
) -> SimulationSummary:
    """Return what the simulator says of an experiment, without its rows.

    Quantile and attainment are those of `experiment.simulate(profile, **settings)`. Under policies
    that are simulated step by step, those of the user, only the first 20,000 requests are.

    Args:
        experiment: What to simulate.
        profile: Service times on this machine.
        settings: cold_start, scaling and seed, as for `Experiment.simulate`.

    Raises:
        InvalidInput: Service times miss a batch size, or a setting is out of range.
    """
    trace, on, slo = experiment.trace, experiment.deployment, experiment.slo
    if not is_compiled(experiment.policy) and len(trace) > _MAX_STEPWISE_REQUESTS:
        trace = trace.clip(0, float(trace.arrivals[_MAX_STEPWISE_REQUESTS]))
    outcome = serve(trace, experiment.policy, on, experiment.service(profile), **settings)
    counts, within = _count_latencies(outcome, longest_within(slo.latency) if slo else math.inf)
    seconds, shares = _sample_distribution(counts, len(trace))
    return SimulationSummary(
        requests=len(trace),
        rate=trace.rate,
        latency=_quantile(outcome, counts, slo.quantile if slo else _DEFAULT_QUANTILE),
        attainment=within / len(trace) if slo else 1.0,
        per_million=_per_million(experiment, trace, outcome, int(counts[:_FAILED_BIN].sum())),
        seconds=seconds,
        shares=shares,
    )


def describe_outcome(
    latency: float, attainment: float, requests: int, per_million: float | None, slo: SLO | None
) -> tuple[str, bool]:
    """Return latency, verdict and cost in words, and whether the target is missed.

    >>> words, missed = describe_outcome(0.0123, 0.99, 5000, 4.2, SLO(latency=0.1))
    >>> print(words)
    Simulated: p95 12.3 ms. Target p95 ≤ 100 ms met: 99 % in time. $4.20 a million requests.
    """
    quantile = slo.quantile if slo else _DEFAULT_QUANTILE
    words = [f"Simulated: {percentile(quantile)} {duration(latency)}."]
    verdict = judge_share(attainment, requests, quantile) if slo else None
    if slo:
        words.append(f"Target {slo.label} {verdict}: {percent(attainment)} in time.")
    if per_million:  # a machine of no price counts as free
        words.append(f"{dollars(per_million)} a million requests.")
    return " ".join(words), verdict is not None and verdict.word == "missed"


def _per_million(
    experiment: Experiment, trace: Trace, outcome: Outcome, answered: int
) -> float | None:
    on, (row_bytes, answer_bytes) = experiment.deployment, experiment.data_sizes
    if not answered or (on.on_demand and on.platform.idle_instances):
        return None
    is_answered = True if answered == len(trace) else np.isfinite(outcome.latencies)
    given = float(trace.rows.sum(where=is_answered)) * (answer_bytes or 0.0)
    sent = float(trace.total_content(row_bytes))
    usage = replace(usage_of(outcome, on), bytes_in=sent, bytes_out=given)
    return 1e6 * dollars_of(on, usage, PriceSheet.load()) / answered


def _edges(bins: Counts) -> Floats:
    """Return where bins begin, in seconds: their number is the first bits of the latencies."""
    return (bins << _SHIFT).view(np.float64)


def _count_latencies(outcome: Outcome, limit: float) -> tuple[Counts, int]:
    """Return how many requests have a latency in each bin, and how many one within the limit."""
    from workbench.simulator import kernels

    counts = np.zeros(_BINS, np.int64)
    met = kernels.tally(outcome.arrivals, outcome.batches, limit, _SHIFT, counts)
    return counts, met


def _quantile(outcome: Outcome, counts: Counts, q: float) -> float:
    """Return the quantile, looked for in its bin alone; failures come last."""
    from workbench.simulator import kernels

    rank = find_rank(q, len(outcome.arrivals))
    before = np.cumsum(counts)
    its = int(np.searchsorted(before, rank))
    if its >= _FAILED_BIN:
        return math.inf
    low, high = _edges(np.array([its, its + 1])).tolist()
    near = np.empty(counts[its])
    kernels.collect_latencies(outcome.arrivals, outcome.batches, low, high, near)
    index = rank - 1 - (int(before[its]) - int(counts[its]))
    return float(np.partition(near, index)[index])


def _sample_distribution(counts: Counts, total: int) -> tuple[Floats, Floats]:
    """Return edges of bins in seconds, and the share of requests before each."""
    met = np.flatnonzero(counts)
    edges = np.unique(np.concatenate([met, met + 1]))
    edges = edges[edges < _FAILED_BIN]
    if not len(edges):
        return np.empty(0), np.empty(0)
    kept = edges[np.unique(np.linspace(0, len(edges) - 1, _MAX_POINTS).round().astype(np.int64))]
    before = np.concatenate([[0], np.cumsum(counts)])
    return _edges(kept), before[kept] / total
