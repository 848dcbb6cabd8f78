"""Many buffers at once: what does not depend on the service times is computed once for all."""

import math
from dataclasses import dataclass
from functools import lru_cache, partial

import numpy as np
from numpy.typing import ArrayLike, NDArray

from workbench.compilation import compile_loop
from workbench.errors import InvalidInput
from workbench.queueing.buffers import Buffers
from workbench.queueing.predictions import Floats, check_covered, check_share, sizes_to
from workbench.traffic.map import MAP


@dataclass(frozen=True, kw_only=True, eq=False)
class Screen:
    """What `screen` found; arrays are indexed by memory (a row of service), max_size, max_wait.

    Attributes:
        max_sizes: the sizes that were asked for.
        max_waits: the waits that were asked for, in seconds.
        batch_sizes: share of batches that hold 1, 2, ... requests, shape (sizes, waits, largest).
        mean_batch_size: requests per batch, shape (sizes, waits).
        quantile: seconds.
        attainment: share of requests within the limit; 0 without one.
        mean_latency: seconds.
    """

    max_sizes: NDArray[np.int64]
    max_waits: Floats
    batch_sizes: Floats
    mean_batch_size: Floats
    quantile: Floats
    attainment: Floats
    mean_latency: Floats

    def cost_per_request(self, batch_cost: ArrayLike) -> Floats:
        """Return mean dollars per request, from those of a batch by memory and size 1, 2, ..."""
        dollars = np.asarray(batch_cost, dtype=np.float64)[:, : self.batch_sizes.shape[-1]]
        per_batch: Floats = np.einsum("btn,mn->mbt", self.batch_sizes, dollars)
        return per_batch / self.mean_batch_size


def screen(
    arrivals: MAP,
    *,
    max_sizes: ArrayLike,
    max_waits: ArrayLike,
    service: ArrayLike,
    quantile: float = 0.95,
    limit: float = math.nan,
) -> Screen:
    """Predict as `predict_buffer` for every service table, max_size and max_wait of a grid.

    The buffer does not know the memory behind it: batch sizes and waits are computed once for all
    service tables. Shares are exact to 1e-5 and quantiles those of a share so near. The first call
    in a process compiles, or loads what was compiled before.

    Args:
        arrivals: the process.
        max_sizes: whole numbers, at least 1.
        max_waits: seconds, 0 or more.
        service: seconds by memory (or anything else that changes service times alone) and by batch
            size 1, 2, ..., at least up to the largest of max_sizes; a third axis holds samples of
            equal weight.
        quantile: of the latency.
        limit: seconds, for the attainment.

    Raises:
        InvalidInput: an argument is out of range, or service times are missing.
        NotPredictable: a wait holds more arrivals than the formulas are made for.

    >>> from workbench.traffic.map import poisson_process
    >>> grid = dict(max_sizes=[1, 8], max_waits=[0.01, 0.02], service=[[0.1] * 8, [0.2] * 8])
    >>> screen(poisson_process(100), **grid).quantile.round(3)[:, 1].tolist()
    [[0.11, 0.12], [0.21, 0.22]]
    """
    sizes, waits, times = _grid(max_sizes, max_waits, service)
    check_share("quantile", quantile)
    largest = int(sizes.max())
    counts = sizes_to(largest)
    distributions = np.zeros((len(sizes), len(waits), largest))
    distributions[..., 0] = 1
    waited = np.zeros(distributions.shape[:2])
    # Batches of one, that wait for nobody, are the answer for max_size 1 and for max_wait 0.
    asked = times, float(quantile), float(limit)
    alone = _search(distributions[0, :1].copy(), np.zeros((1, largest, 2, 2)), 0.0, *asked)
    found = np.tile(alone[..., None], (1, 1, len(sizes), len(waits)))
    buffered, timed = np.flatnonzero(sizes > 1), np.flatnonzero(waits > 0)
    if len(buffered) and len(timed):
        buffers = _tabulate(arrivals, largest, tuple(waits[timed].tolist()))
        for index, wait in enumerate(timed):
            distribution, in_sum, table = buffers.distributions(sizes[buffered], index)
            distributions[buffered, wait], waited[buffered, wait] = distribution, in_sum.sum(axis=1)
            mean = (distribution @ counts)[:, None]
            table /= mean[..., None, None]
            longest = float(buffers.longest[index])
            found[:, :, buffered, wait] = _search(distribution / mean, table, longest, *asked)
    mean_size = distributions @ counts
    served = np.einsum("btn,mn->mbt", distributions * counts, times[:, :largest].mean(axis=2))
    return Screen(
        max_sizes=sizes,
        max_waits=waits,
        batch_sizes=distributions,
        mean_batch_size=mean_size,
        quantile=found[0],
        attainment=found[1],
        mean_latency=(waited + served) / mean_size,
    )


@lru_cache(maxsize=2)
def _tabulate(arrivals: MAP, largest: int, waits: tuple[float, ...]) -> Buffers:
    """Return the tables of a process: those of one trace serve one model after another."""
    return Buffers(arrivals, largest, np.array(waits))


def _grid(
    max_sizes: ArrayLike, max_waits: ArrayLike, service: ArrayLike
) -> tuple[NDArray[np.int64], Floats, Floats]:
    sizes, waits = np.atleast_1d(max_sizes), np.atleast_1d(np.asarray(max_waits, dtype=np.float64))
    if sizes.dtype.kind not in "iu" or sizes.ndim != 1 or not len(sizes) or sizes.min() < 1:
        raise InvalidInput(f"max_sizes must be whole numbers of at least 1, got {max_sizes!r}.")
    if waits.ndim != 1 or not len(waits) or not (np.isfinite(waits) & (waits >= 0)).all():
        raise InvalidInput(f"max_waits must be finite seconds, 0 or more, got {max_waits!r}.")
    # A copy: read-only or strided arrays would be compiled for again.
    times = np.array(service, dtype=np.float64, order="C")
    times = times[..., None] if times.ndim == 2 else times
    if times.ndim != 3 or not times.size or not (np.isfinite(times) & (times >= 0)).all():
        raise InvalidInput(
            "service must be finite seconds, 0 or more, by memory and batch size (and sample), got "
            f"an array of shape {np.shape(service)}."
        )
    check_covered(times.shape[1], int(sizes.max()))
    return sizes.astype(np.int64), waits, times


@partial(compile_loop, at_once=True)
def _search(  # noqa: C901, PLR0912, PLR0915, PLR0917 - one compiled loop
    shares: Floats, table: Floats, longest: float, service: Floats, quantile: float, limit: float
) -> Floats:
    """Return quantile and attainment, shape (2, memories, buffers).

    `shares` and `table` are those of `Buffers.distributions`, over requests instead of batches.
    The quantile is found to 1e-7 of the longest latency by the ITP method: I. Oliveira and
    R. Takahashi, "An enhancement of the bisection method average performance preserving minmax
    optimality", ACM Transactions on Mathematical Software 47 (2020).
    """
    buffers, largest = shares.shape
    memories, _, samples = service.shape
    cells = table.shape[2] - 1
    found = np.empty((2, memories, buffers))
    for memory in range(memories):
        for buffer in range(buffers):
            low, high = np.inf, 0.0
            for n in range(largest):
                if shares[buffer, n] > 1e-10:  # rarer sizes move no share by 1e-5
                    low = min(low, service[memory, n].min())
                    high = max(high, service[memory, n].max() + longest)
            below, above = -quantile, 1 - quantile
            tolerance, span = 1e-7 * high, high - low
            slack = 2 * span  # halved in each step: the width that bisection would be left with
            x, first = limit, True
            while True:
                within = 0.0
                for n in range(largest):
                    if shares[buffer, n] <= 1e-10:
                        continue
                    for sample in range(samples):
                        # by ROUNDING, as the predictions
                        wait = x * (1 + 1e-12) - service[memory, n, sample]
                        if wait >= longest:
                            within += (n + 1) * shares[buffer, n]
                        elif wait >= 0:
                            fraction = wait / longest
                            if fraction < 0.5:
                                position = cells * np.sqrt(fraction / 2)
                            else:
                                position = cells * (1 - np.sqrt((1 - fraction) / 2))
                            cell = min(int(position), cells - 1)
                            y = position - cell
                            start, slope = table[buffer, n, cell, 0], table[buffer, n, cell, 1]
                            rise = table[buffer, n, cell + 1, 0] - start
                            bend = slope + table[buffer, n, cell + 1, 1] - 2 * rise
                            within += start + y * (slope + y * (rise - slope - bend + y * bend))
                within /= samples
                if first:
                    found[1, memory, buffer] = within
                elif within >= quantile:
                    high, above = x, within - quantile
                else:
                    low, below = x, within - quantile
                first, slack = False, slack / 2
                middle, width = (low + high) / 2, high - low
                if width <= tolerance:
                    break
                x = (above * low - below * high) / (above - below)
                side = 1 if x < middle else -1
                # in the paper's words kappa1 is 0.2 / span, kappa2 is 2 and n0 is 1
                nudge = max(0.2 * width**2 / span, tolerance / 2)
                x = x + side * nudge if nudge < abs(middle - x) else middle
                reach = max(slack - width / 2, 0.0)
                if abs(x - middle) > reach:
                    x = middle - side * reach
            found[0, memory, buffer] = high
    return found
