"""BATCH's own formulas for the buffer, as its authors published them: for comparison."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from workbench.batching.timer import BatchPolicy
from workbench.errors import NotPredictable
from workbench.queueing.buffers import ASSUMPTIONS, arrival_chances
from workbench.queueing.predictions import (
    ROUNDING,
    Floats,
    Prediction,
    check_covered,
    check_share,
    sizes_to,
)
from workbench.traffic.map import MAP


def batch_as_published(
    arrivals: MAP, *, max_size: int, max_wait: float, service: Sequence[float]
) -> Prediction:
    """Predict the buffer by BATCH's own formulas, to compare with `predict_buffer`.

    It takes D1's diagonal for the arrival rates of an MMPP's states, waits for uniform over
    max_wait, and size classes for disjoint: max_wait must not exceed the step from one batch
    size's service time to the next. BATCH's cost takes a percentile of the batch size in place of
    the mean: see `percentile_size`.

    Args:
        arrivals: the process; with more than two phases the mean time to fill is taken as max_wait.
        max_size: requests that make a batch full.
        max_wait: seconds from a batch's first request until it leaves at the latest.
        service: seconds for batches of 1, 2, ..., max_size requests, each above the one before.

    Raises:
        InvalidInput: a size or wait out of range, or a service time missing.
        NotPredictable: a phase without arrivals on D1's diagonal or without an end (the formulas
            divide by both), or service times that do not grow with the batch.

    Source: A. Ali, R. Pinciroli, F. Yan and E. Smirni, "BATCH: machine learning inference serving
    on serverless platforms with adaptive batching", SC 2020, as its released solver computes it.

    >>> from workbench.traffic.map import poisson_process
    >>> buffer = dict(max_size=2, max_wait=0.1, service=[0.2, 0.3])
    >>> batch_as_published(poisson_process(10), **buffer).batch_sizes.round(3).tolist()
    [0.368, 0.632]
    """
    policy = BatchPolicy(max_size=max_size, max_wait=max_wait)
    check_covered(len(service), max_size)
    times = np.asarray(service[:max_size], dtype=np.float64)
    if (np.diff(times) <= 0).any():
        raise NotPredictable("BATCH's formulas need service times that grow with the batch size.")
    sizes, fill = _size_distribution(arrivals, policy)
    counts = sizes_to(max_size)
    seen = sizes * counts / (sizes @ counts)
    latency = _PublishedLatency(seen, times, max_wait, min(fill, max_wait))
    return Prediction(
        formula=f"BATCH as published, {policy.label}",
        assumptions=(
            *ASSUMPTIONS,
            "BATCH's approximations of phases, waits and fill time.",
        ),
        rate=arrivals.rate,
        latency=latency,
        batch_sizes=sizes,
        concurrency=arrivals.rate / float(sizes @ counts) * float(sizes @ times),
    )


def _size_distribution(arrivals: MAP, policy: BatchPolicy) -> tuple[Floats, float]:
    """Return the distribution of the batch size, and the mean time to fill a batch."""
    size, rates = policy.max_size, arrivals.d1.diagonal()
    leave = -(arrivals.d0.diagonal() + rates)
    opening = np.ones(1)
    if arrivals.phases > 1:
        if not (rates > 0).all() or not (leave > 0).all():
            raise NotPredictable(
                "BATCH's formulas need a positive rate on D1's diagonal, and a way out, for every "
                "phase: use `predict_buffer`, which does not."
            )
        opening = rates / leave / np.minimum(size, np.floor(rates * policy.max_wait + 1))
        opening /= opening.sum()
    chances = arrival_chances(arrivals, np.array([policy.max_wait]), size)[..., 0]
    short = (opening @ chances).sum(axis=-1)[: size - 1]
    fill = policy.max_wait
    if arrivals.phases == 1:
        fill = (size - 1) / float(rates[0])
    elif arrivals.phases == 2:
        # of two phases each lasts as long as the other's way out is fast
        fill = (size - 1) * float(leave.sum() / (rates @ leave[::-1]))
    return np.append(short, 1 - short.sum()), fill


@dataclass(frozen=True, eq=False)
class _PublishedLatency:
    request_shares: Floats  # share of requests in batches of 1, 2, ...
    service: Floats
    longest: float
    longest_full: float

    @property
    def support(self) -> tuple[float, float]:
        return float(self.service[0]), float(self.service[-1]) + self.longest_full

    @property
    def mean(self) -> float:
        """Seconds, by the uniform waits that the formulas assume."""
        waits = (
            np.append(np.full(len(self.request_shares) - 1, self.longest), self.longest_full) / 2
        )
        return float(self.request_shares @ (self.service + waits))

    def cdf(self, x: Floats) -> Floats:
        left = x * (1 + ROUNDING)
        size = np.searchsorted(self.service, left, side="right")
        known = size > 0
        last = size[known] - 1
        window = np.where(size[known] == len(self.request_shares), self.longest_full, self.longest)
        beyond = left[known] - self.service[last]
        part = np.divide(beyond, window, out=np.ones(len(window)), where=window > 0).clip(max=1)
        within = np.zeros(len(x))
        within[known] = np.cumsum(self.request_shares)[last] - self.request_shares[last] * (
            1 - part
        )
        return within


def percentile_size(batch_sizes: Floats, q: float) -> int:
    """Return the least batch size that the share q of batches does not exceed.

    >>> percentile_size(np.array([0.5, 0.3, 0.2]), 0.8)
    2
    """
    check_share("q", q)
    return int(np.searchsorted(np.cumsum(batch_sizes), q - ROUNDING)) + 1
