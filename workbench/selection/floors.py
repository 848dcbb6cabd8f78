"""What no setting of an inference type can be below: arithmetic on service times, for all models.

Latency is at least the shortest service time there is, and where jobs start instances, a boot
longer. Cost is at least that of the time in service, no batch holding more requests than come
within the longest wait, and where instances stay, that of one for as long as the traffic lasts, or
as it takes to go when idle.
Neither bound knows queues, cold starts or limits, so that what it rules out no search would find.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from workbench.deployment.platforms import FleetPlatform
from workbench.deployment.vcpu_rule import slowdown
from workbench.planner.candidates import dollars_of
from workbench.pricing.usage import Usage
from workbench.scaling.reactive import ScaleToZero

if TYPE_CHECKING:
    from collections.abc import Sequence

    from workbench.deployment.base import Deployment
    from workbench.planner.options import Options
    from workbench.quantiles import SLO
    from workbench.service_times import ServiceTimes
    from workbench.traffic.trace import Trace

Floats = NDArray[np.float64]

_SLACK = 0.95  # what is chosen is often what drew service times below their means
_BILLED_STEP = 0.001  # seconds: a call on demand is billed so long at least


class Floors(NamedTuple):
    """Least latency (seconds) and cost (US dollars per million): a row a model, a column a type."""

    latency: Floats
    cost: Floats


class _Traffic(NamedTuple):
    """Of a trace: what the floors need of it.

    Attributes:
        requests: Their number.
        rows: The least that one carries.
        batch: Requests that a batch holds at most on average.
        last: Seconds to the last request.
        up: Seconds that an instance is up at least which goes when idle.
    """

    requests: int
    rows: int
    batch: float
    last: float
    up: float


def find_floors(times: Sequence[ServiceTimes], trace: Trace, slo: SLO, options: Options) -> Floors:
    """Return the floors of each model under a trace, by its service times on this machine.

    >>> from workbench.planner import Options
    >>> from workbench.quantiles import SLO
    >>> from workbench.service_times import ServiceTimes
    >>> from workbench.traffic.patterns import constant
    >>> times = [ServiceTimes.affine(0.010, 0.001, largest=8)]
    >>> found = find_floors(
    ...     times, constant(rate=10, duration=60), SLO(latency=0.2), Options(kinds=["lambda"])
    ... )
    >>> found.latency.round(3).tolist()
    [[0.011]]
    """
    traffic = _describe_traffic(trace, slo, options)
    rows = traffic.rows
    table = _stack_times(times, rows)
    shortest = np.array(
        [
            np.nanmin(np.fmin(each.table[rows:, 0], each.idle_table[rows:, 0]), initial=np.inf)
            for each in times
        ]
    )
    columns = [
        [_find_floor(one, table, shortest, traffic, options) for one in options.places(kind)]
        for kind in options.kinds
    ]
    latency, cost = (
        np.stack([np.min([each[part] for each in column], axis=0) for column in columns], axis=1)
        for part in (0, 1)
    )
    return Floors(latency, _SLACK * cost)


def _describe_traffic(trace: Trace, slo: SLO, options: Options) -> _Traffic:
    arrivals, batches, first = trace.arrivals, 0, 0
    longest = max(options.waits(slo.latency))
    while first < len(arrivals):  # the fewest windows of the longest wait that hold all requests
        first = int(np.searchsorted(arrivals, arrivals[first] + longest, side="right"))
        batches += 1
    return _Traffic(
        requests=len(trace),
        rows=int(trace.rows.min()),
        batch=len(trace) / batches,
        last=float(arrivals[-1]),
        up=float(np.minimum(np.diff(arrivals), ScaleToZero().idle).sum()),
    )


def _stack_times(times: Sequence[ServiceTimes], rows: int) -> Floats:
    """Return mean seconds by model and requests in a batch from 1; infinite if not covered."""
    most = max(each.largest // rows for each in times)
    table = np.full((len(times), max(most, 1)), np.inf)
    for number, each in enumerate(times):
        means = np.fmin(each.means, each.idle_means)[rows::rows]
        table[number, : len(means)] = np.where(np.isnan(means), np.inf, means)
    return table


def _find_floor(
    one: Deployment, table: Floats, shortest: Floats, traffic: _Traffic, options: Options
) -> tuple[Floats, Floats]:
    """Return the floors of each model on a deployment that may be multiplied."""
    if options.measured and one.size in options.measured:
        return np.zeros(len(table)), np.zeros(len(table))  # by times that this does not know
    factor = slowdown(one, threads=options.threads) if one.size is not None else 1.0
    seconds = np.maximum(factor * table, _BILLED_STEP) if one.on_demand else factor * table
    each = _spread_batches(seconds, traffic.batch)
    price = dollars_of(one, one.idle_usage(1.0), options.prices)
    if one.on_demand:
        price = dollars_of(one, Usage(seconds=1.0), options.prices)
        cost = each * price + dollars_of(one, Usage(calls=1), options.prices) / traffic.batch
        return factor * shortest, 1e6 * cost
    up = each / one.instance_workers
    if one.by_job:
        up = _spread_batches(seconds, np.inf)
        price = dollars_of(one, Usage(instance_seconds=1.0), options.prices)
        return options.boot + factor * shortest, 1e6 * price * up
    platform = one.platform
    there, last = 1, traffic.last
    if isinstance(platform, FleetPlatform):
        last = traffic.up if platform.least == 0 else last
        there = 1 if platform.scaling is None else platform.instances  # that the price is of
    up = np.maximum(up, there * last / traffic.requests)
    return factor * shortest, 1e6 * price / there * up


def _spread_batches(seconds: Floats, batch: float) -> Floats:
    """Return the fewest seconds of service a request, batches holding `batch` at most on average.

    Batches of two sizes at most are best: the least of a linear function under one mean.

    >>> _spread_batches(np.array([[3.0, 4.0, 5.0]]), 1.5)  # half of one, half of two
    array([2.33333333])
    """
    sizes = np.arange(1, seconds.shape[1] + 1)
    small = sizes <= batch
    least: Floats = (seconds[:, small] / sizes[small]).min(axis=1)
    for size in sizes[small] if not small.all() else ():
        share = (batch - size) / (sizes[~small] - size)
        with np.errstate(invalid="ignore"):  # none of what is not covered is nothing
            mixed = (1 - share) * seconds[:, [size - 1]] + share * seconds[:, ~small]
        least = np.minimum(least, np.nan_to_num(mixed, nan=np.inf).min(axis=1) / batch)
    return least
