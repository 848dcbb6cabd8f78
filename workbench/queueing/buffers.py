"""The (max_size, max_wait) buffer under a Markovian arrival process."""

import math
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from workbench.batching.timer import BatchPolicy
from workbench.errors import NotPredictable
from workbench.queueing.predictions import (
    ROUNDING,
    Floats,
    Prediction,
    Service,
    ServiceDistribution,
    service_distributions,
    sizes_to,
)
from workbench.traffic.map import MAP, stationary_distribution

ASSUMPTIONS = (
    "Every batch is taken up the moment it leaves the buffer: servers without limit.",
    "No cold starts.",
    "A service time depends on the number of requests in its batch alone.",
    "Arrivals follow the given process in its long run.",
)
"""What the formulas of the buffer take for granted."""

_TRUNCATION_PROBABILITY = 1e-12  # chance of what is left out
_MAX_TRANSITIONS = 50_000  # for memory of some hundred MB, and some seconds


def predict_buffer(
    arrivals: MAP, *, max_size: int, max_wait: float, service: Service
) -> Prediction:
    """Predict a buffer exactly that sends a batch when full, or when its first waited max_wait.

    Assumed: every batch is taken up at once (servers without limit: no queue behind other batches,
    no limit on concurrency), no cold starts, and service times that depend on the number of
    requests in the batch alone. Shares are exact to 1e-8; under a Poisson process (one phase) the
    waits are in closed form.

    Args:
        arrivals: the process; that of a trace is ``fit(trace).map``.
        max_size: requests that make a batch full.
        max_wait: seconds from a batch's first request until it leaves at the latest.
        service: seconds for batches of 1, 2, ..., max_size requests; samples or a
            `ServiceDistribution` in place of a number make it random; or `ServiceTimes`.

    Raises:
        InvalidInput: a size or a wait out of range, or a service time missing.
        NotPredictable: max_wait holds more arrivals than the formulas are made for.

    Source: the counting process of a MAP, M. Neuts, "A versatile Markovian point process",
    J. Applied Probability 16 (1979); the formulas are in `Buffers`.

    >>> from workbench.traffic.map import mmpp
    >>> burst = mmpp(rate=300, burst=6, dwell=(4, 1))
    >>> found = predict_buffer(burst, max_size=8, max_wait=0.025, service=[0.01] * 8)
    >>> round(found.mean_batch_size, 2), round(float(found.quantile(0.95)), 3)
    (6.24, 0.035)
    """
    policy = BatchPolicy(max_size=max_size, max_wait=max_wait)
    latency = BufferLatency(_waits(arrivals, policy), service_distributions(service, max_size))
    batch_rate = arrivals.rate / latency.mean_batch_size
    return Prediction(
        formula=f"buffer {policy.label}",
        assumptions=ASSUMPTIONS,
        rate=arrivals.rate,
        latency=latency,
        batch_sizes=latency.waits.sizes,
        concurrency=batch_rate * float(latency.waits.sizes @ latency.service_means),
    )


class Waits(Protocol):
    """How long the requests of a batch wait in the buffer, by the size of the batch."""

    @property
    def longest(self) -> float:
        """Seconds."""

    @property
    def sizes(self) -> Floats:
        """The share of batches that hold 1, 2, ... requests."""

    @property
    def total_wait(self) -> Floats:
        """Seconds that a batch's requests wait in sum: the mean over batches, split by size."""

    def within(self, size: int, wait: Floats) -> Floats:
        """Return requests in a batch of this size that wait at most so long, on average.

        Asked only for 0 <= wait < longest: beyond, it is size * sizes[size - 1].
        """


@dataclass(frozen=True, eq=False)
class BufferLatency:
    """The distribution of wait plus service, over requests."""

    waits: Waits
    service: tuple[ServiceDistribution, ...]

    @cached_property
    def mean_batch_size(self) -> float:
        """Requests per batch."""
        return float(self.waits.sizes @ sizes_to(len(self.service)))

    @cached_property
    def service_means(self) -> Floats:
        """Seconds by batch size."""
        return np.array([distribution.mean for distribution in self.service])

    @property
    def mean(self) -> float:
        """Seconds."""
        served = self.waits.sizes * sizes_to(len(self.service)) * self.service_means
        return float((self.waits.total_wait + served).sum()) / self.mean_batch_size

    @property
    def support(self) -> tuple[float, float]:
        """The least and the greatest latency."""
        distributions = zip(self.service, self.waits.sizes, strict=True)
        times = np.concatenate(
            [distribution.values for distribution, share in distributions if share > 0]
        )
        return float(times.min()), float(times.max() + self.waits.longest)

    def cdf(self, x: Floats) -> Floats:
        """Return the share of requests answered within x seconds."""
        within = np.zeros(len(x))
        for size, (distribution, share) in enumerate(
            zip(self.service, self.waits.sizes, strict=True), 1
        ):
            if share > 0:
                wait = x[:, None] * (1 + ROUNDING) - distribution.values
                requests = np.where(wait >= self.waits.longest, size * share, 0.0)
                some = (wait >= 0) & (wait < self.waits.longest)
                requests[some] = self.waits.within(size, wait[some])
                within += requests @ distribution.weights
        return np.asarray(within / self.mean_batch_size).clip(0, 1)


def _waits(arrivals: MAP, policy: BatchPolicy) -> Waits:
    if policy.max_size == 1 or policy.max_wait == 0:
        return NoWaits(policy.max_size)
    if arrivals.phases == 1:
        return PoissonWaits(arrivals.rate, policy.max_size, policy.max_wait)
    return Buffers(arrivals, policy.max_size, np.array([policy.max_wait]), fineness=4).waits()


@dataclass(frozen=True)
class NoWaits:
    """Batches of one that leave at once: no two requests of a MAP come at the same instant."""

    max_size: int
    longest: float = 0.0

    @property
    def sizes(self) -> Floats:
        """Batches of one."""
        return np.asarray(np.eye(self.max_size)[0])

    @property
    def total_wait(self) -> Floats:
        """Nobody waits."""
        return np.zeros(self.max_size)

    def within(self, size: int, wait: Floats) -> Floats:  # noqa: ARG002 - as in Waits
        """Return 0: no wait is below the longest, 0 s."""
        return np.zeros(len(wait))


@dataclass(frozen=True)
class PoissonWaits:
    """The buffer under Poisson arrivals, in closed form.

    A batch that is not full leaves at max_wait: its first request waits so long, the others
    arrived uniformly. A full one leaves at X, Erlang(max_size - 1): its first request waits X, its
    last 0, and the others arrived uniformly within X.
    """

    rate: float
    max_size: int
    longest: float

    @cached_property
    def sizes(self) -> Floats:
        """The share of batches that hold 1, 2, ... requests."""
        others = np.arange(self.max_size - 1.0)
        short = poisson_chance(others, np.array(self.rate * self.longest))
        return np.append(short, self._fill_probability(self.max_size - 1, self.longest))

    @property
    def total_wait(self) -> Floats:
        """Seconds that the requests of a batch wait in sum."""
        total_wait = self.sizes * self.longest * (sizes_to(self.max_size) + 1) / 2
        filling = (
            (self.max_size - 1) / self.rate * self._fill_probability(self.max_size, self.longest)
        )
        total_wait[-1] = filling[()] * self.max_size / 2
        return total_wait

    def within(self, size: int, wait: Floats) -> Floats:
        """Return requests in a batch of this size that wait at most so long."""
        if size < self.max_size:
            return float(self.sizes[size - 1]) * (size - 1) * wait / self.longest
        middle = self._fill_probability(size - 2, self.longest) - self._fill_probability(
            size - 2, wait
        )
        both_ends = self._fill_probability(size - 1, self.longest) + (
            size - 1
        ) * self._fill_probability(size - 1, wait)
        return both_ends + self.rate * wait * middle

    def _fill_probability(self, count: int, time: float | Floats) -> Floats:
        """Return the chance of so many arrivals or more within a time."""
        from scipy.special import pdtrc

        means = self.rate * np.asarray(time, dtype=np.float64)
        return np.asarray(pdtrc(count - 1, means)) if count else np.ones_like(means)


class Buffers:
    """Tables of one process, for every max_size from 2 to the largest and every max_wait of a list.

    With P_k(t) the chances of k arrivals in t, by phase at the start and at the end, and I_k(t)
    their integral from 0 to t, a batch that opens in phase a (a row vector of chances) holds n

    - short of max_size B with chance a P_{n-1}(T) e;
    - and is full with chance a I_{B-2}(T) D1 e.

    The requests that wait at most y < T number, in the mean over batches of that kind,

    - a sum_m (n-1-m) P_m(T-y) P_{n-1-m}(y) e: those that came in the last y seconds;
    - a [B I_{B-2}(y) + sum_m (B-1-m) I_m(T-y) P_{B-2-m}(y)] D1 e: all if the batch filled within
      y, else those that came within y of the last.

    Only `a` depends on B where the batch is short of it, so that one table serves every B. The
    functions of y are analytic: they are computed at Chebyshev nodes, then tabulated on a finer
    grid, denser at both ends, for cubic interpolation. A pair of arrays is for batches that are
    short of B, and full; their axes are the batch size (from 1, and from 2), the opening phase,
    max_wait, and the place in [0, max_wait].
    """

    def __init__(self, arrivals: MAP, largest: int, waits: Floats, *, fineness: int = 1) -> None:
        self.largest = largest
        self.longest = np.minimum(waits, fill_time_bound(arrivals, largest))
        turns = _count_transitions(arrivals, float(self.longest.max()))
        nodes = 26 + math.ceil(5.5 * math.sqrt(turns))  # enough for 1e-10: found by trial
        # cubic between them: of fineness 1 shares are exact to 1e-5, of 4 to 1e-8
        self.cells = fineness * (64 + 8 * math.ceil(math.sqrt(turns)))
        places = (1 - np.cos(np.pi * np.arange(nodes) / (nodes - 1))) / 2  # Chebyshev's
        times = np.outer(self.longest, places)
        shape = (largest - 1, arrivals.phases, arrivals.phases, *times.shape)
        chances = arrival_chances(arrivals, times.ravel(), largest - 1)
        integrals = _integrals(arrivals, chances).reshape(shape)
        chances = chances.reshape(shape)
        self.opening = _phases_at_opening(arrivals, chances[..., -1], integrals[..., -1])
        self._tabulate(chances, integrals, arrivals.d1.sum(axis=1))

    def _tabulate(self, chances: Floats, integrals: Floats, ends: Floats) -> None:
        others = np.arange(len(chances)).reshape(-1, 1, 1, 1)
        anything = chances.sum(axis=2)
        arrival = np.einsum("kabtj,b->katj", chances, ends)
        filled = np.einsum("kabtj,b->katj", integrals, ends)
        short = _convolve(chances[..., ::-1], others * anything)
        full = _convolve(integrals[..., ::-1], (others + 1) * arrival) + (others + 2) * filled
        read, average = _interpolation(chances.shape[-1], self.cells)
        self._chances = anything[..., -1], filled[..., -1]
        self._averages = short @ average, full @ average
        self._tables = _interpolate(short, read), _interpolate(full, read)

    def distributions(
        self, max_sizes: NDArray[np.int64], wait: int
    ) -> tuple[Floats, Floats, Floats]:
        """Return `sizes` and `total_wait` as in Waits of each of these max_sizes, and all waits.

        The table has a row a batch size, and the value and the slope at each edge of a cell.
        """
        # rounding leaves some below 0
        chances = self._merge(self._chances, max_sizes, wait).clip(0)
        sizes = chances / chances.sum(axis=1, keepdims=True)
        within = self._merge(self._averages, max_sizes, wait)
        total_wait = (sizes * sizes_to(self.largest) - within).clip(0) * self.longest[wait]
        return sizes, total_wait, self._merge(self._tables, max_sizes, wait)

    def _merge(
        self, pair: tuple[Floats, Floats], max_sizes: NDArray[np.int64], wait: int
    ) -> Floats:
        """Return the short below each max_size, the full at it: (max_sizes, sizes, ...)."""
        short, full = pair[0][:, :, wait], pair[1][:, :, wait]
        opening = self.opening[wait, max_sizes - 2]
        merged = np.zeros((len(max_sizes), self.largest, *short.shape[2:]))
        merged[:, :-1] = np.tensordot(opening, short, axes=(1, 1))
        merged[sizes_to(self.largest) >= max_sizes[:, None]] = 0
        last = np.einsum("bn,bn...->b...", opening, full[max_sizes - 2])
        merged[np.arange(len(max_sizes)), max_sizes - 1] = last
        return merged

    def waits(self) -> "TabulatedWaits":
        """Return the waits of the largest max_size at the first max_wait."""
        sizes, total_wait, table = self.distributions(np.array([self.largest]), 0)
        return TabulatedWaits(float(self.longest[0]), sizes[0], total_wait[0], table[0])


@dataclass(frozen=True, eq=False)
class TabulatedWaits:
    """Waits read from a table of `Buffers`."""

    longest: float
    sizes: Floats
    total_wait: Floats
    table: Floats

    def within(self, size: int, wait: Floats) -> Floats:
        """Return requests of a batch that wait at most so long, cubic between the edges."""
        cells = self.table.shape[1] - 1
        fraction = wait / self.longest
        low, high = np.sqrt(fraction / 2), 1 - np.sqrt((1 - fraction) / 2)
        position = cells * np.where(fraction < 0.5, low, high)
        cell = np.minimum(position.astype(np.int64), cells - 1)
        y = position - cell
        start, slope = self.table[size - 1, cell].T
        end, end_slope = self.table[size - 1, cell + 1].T
        rise = end - start
        # Hermite's cubic, by the values and slopes at both edges
        bend = slope + end_slope - 2 * rise
        within: Floats = start + y * (slope + y * (rise - slope - bend + y * bend))
        return within


def _count_transitions(arrivals: MAP, longest: float) -> float:
    """Return the most arrivals and changes of phase that the longest wait holds in the mean."""
    turns = float(-arrivals.d0.diagonal().min()) * longest
    if turns > _MAX_TRANSITIONS:
        raise NotPredictable(
            f"A wait of {longest:.4g} s holds up to {turns:,.0f} arrivals and changes of phase of "
            f"this process, and the formulas are made for {_MAX_TRANSITIONS:,}: "
            "shorten max_wait, or simulate."
        )
    return turns


def _interpolate(values: Floats, read: Floats) -> Floats:
    return (values @ read).reshape(*values.shape[:-1], -1, 2)


def _interpolation(nodes: int, cells: int) -> tuple[Floats, Floats]:
    """Convert values at the nodes: to values and slopes at the edges of cells, and to the mean.

    The edges are those of `TabulatedWaits`: quadratically denser towards both ends. Slopes are per
    cell.
    """
    from numpy.polynomial import chebyshev

    order = np.arange(nodes)
    coefficients = np.cos(np.pi * np.outer(order, nodes - 1 - order) / (nodes - 1)).T
    coefficients *= 2 / (nodes - 1)
    coefficients[[0, -1]] /= 2
    coefficients[:, [0, -1]] /= 2
    position = np.arange(cells + 1) / cells
    fraction = np.where(position < 0.5, 2 * position**2, 1 - 2 * (1 - position) ** 2)
    per_cell = 8 * np.minimum(position, 1 - position) / cells
    values = chebyshev.chebvander(2 * fraction - 1, nodes - 1)
    derivative = np.zeros((nodes, nodes))
    derivative[:-1] = chebyshev.chebder(np.eye(nodes), axis=0)
    slopes = per_cell[:, None] * (values @ derivative)
    mean = np.zeros(nodes)
    mean[::2] = 1 / (1 - np.arange(0, nodes, 2) ** 2.0)
    read = np.stack([values, slopes], axis=1).reshape(-1, nodes).T
    return coefficients @ read, coefficients @ mean


def arrival_chances(arrivals: MAP, times: Floats, count: int) -> Floats:
    """Return P_k(t) for k below the count, shape (count, phases, phases, times), by uniformisation.

    Source: A. Jensen (1953); all terms are positive.

    >>> from workbench.traffic.map import poisson_process
    >>> arrival_chances(poisson_process(2.0), np.array([0.5]), 2).ravel().round(4).tolist()
    [0.3679, 0.3679]
    """
    phases, turn = arrivals.phases, float(-arrivals.d0.diagonal().min())
    idle, arrive = np.eye(phases) + arrivals.d0 / turn, arrivals.d1 / turn
    order = np.argsort(times, kind="stable")
    means = turn * times[order]
    steps = np.zeros((_poisson_bound(means[-1]), count, phases, phases))
    steps[0, 0] = np.eye(phases)
    for now, following in pairwise(steps):
        np.matmul(now, idle, out=following)
        following[1:] += now[:-1] @ arrive
    columns = steps.reshape(len(steps), -1).T
    turns = np.arange(len(steps), dtype=np.float64)[:, None]
    chances = np.empty((len(columns), len(times)))
    for part in np.array_split(np.arange(len(times)), math.ceil(len(times) / 256)):
        # Only numbers of turns near the mean have a chance: sorted times share them.
        # as far below the mean as the bound is above it
        least, most = float(means[part[0]]), float(means[part[-1]])
        some = slice(max(0, 2 * math.floor(least) - _poisson_bound(least)), _poisson_bound(most))
        chances[:, order[part]] = columns[:, some] @ poisson_chance(turns[some], means[part])
    return chances.reshape(count, phases, phases, len(times))


def _poisson_bound(mean: float) -> int:
    """Return the number that a Poisson variable of this mean exceeds with a chance below 1e-16."""
    return math.ceil(mean + 9 * math.sqrt(mean) + 25)


def poisson_chance(counts: Floats, means: Floats) -> Floats:
    """Return the chance that a Poisson variable of this mean takes this value.

    >>> poisson_chance(np.array([0.0, 1.0]), np.array([1.0])).round(4).tolist()
    [0.3679, 0.3679]
    """
    from scipy.special import gammaln

    # in logarithms: a power and a factorial overflow; of mean 0 the log is of no account
    return np.exp(counts * np.log(np.maximum(means, 1e-300)) - means - gammaln(counts + 1))


def _integrals(arrivals: MAP, chances: Floats) -> Floats:
    """Return I_k(t), from P_k = I_k D0 + I_{k-1} D1, where I_{-1} D1 stands for the unit matrix."""
    stay = np.linalg.inv(-arrivals.d0)
    before = np.broadcast_to(np.eye(arrivals.phases)[..., None], chances.shape[1:])
    integrals = np.empty_like(chances)
    for k, chance in enumerate(chances):
        integrals[k] = np.einsum("abt,bc->act", before - chance, stay)
        before = np.einsum("abt,bc->act", integrals[k], arrivals.d1)
    return integrals


def _convolve(left: Floats, right: Floats) -> Floats:
    """Return the sums over m of left[m] @ right[k - m], for each k and position."""
    result = np.zeros_like(right)
    for m, matrix in enumerate(left):
        for phase in range(left.shape[2]):
            result[m:] += matrix[:, phase] * right[: len(right) - m, None, phase]
    return result


def _phases_at_opening(arrivals: MAP, chances: Floats, integrals: Floats) -> Floats:
    """Return phase probabilities just after an opening arrival, (waits, max_sizes - 1, phases)."""
    full = np.einsum("kabt,bc->kact", integrals, arrivals.d1)
    at_close = np.moveaxis(np.cumsum(chances, axis=0) + full, -1, 0)
    next_arrival = np.linalg.solve(-arrivals.d0, arrivals.d1)
    # A trace of the long run joins opening phases that in practice never follow each other.
    anywhere = _TRUNCATION_PROBABILITY * (arrivals.phases_after_arrival + 1 / arrivals.phases)
    return stationary_distribution(at_close @ next_arrival + anywhere)


def fill_time_bound(arrivals: MAP, max_size: int) -> float:
    """Return seconds after which a batch is full with chance 1 - 1e-12, by Chernoff's bound.

    >>> from workbench.traffic.map import poisson_process
    >>> round(fill_time_bound(poisson_process(100.0), 2), 2)
    0.29
    """
    # Chernoff's bound holds with each of these; the best of them is near the best of all
    marks = np.linspace(0.05, 0.95, 19)
    growth, vectors = np.linalg.eig(arrivals.d0 + marks[:, None, None] * arrivals.d1)
    top = growth.real.argmax(axis=1)
    rates = -growth.real[np.arange(len(marks)), top]
    vectors = np.abs(vectors[np.arange(len(marks)), :, top])
    spreads = vectors.max(axis=1) / vectors.min(axis=1).clip(1e-300)
    return float(
        ((np.log(spreads / _TRUNCATION_PROBABILITY) - (max_size - 2) * np.log(marks)) / rates).min()
    )
