"""One server, Poisson arrivals, any service time, another one for who finds the server idle."""

from dataclasses import dataclass

import numpy as np

from workbench.errors import NotPredictable
from workbench.queueing.predictions import (
    ROUNDING,
    Floats,
    Prediction,
    ServiceDistribution,
    service_distributions,
)
from workbench.service_times import ServiceTimes
from workbench.validation import positive

# a power of two, for the FFT; steps fine enough for quantiles within 1e-5 of M/D/1's
_GRID_POINTS = 1 << 17
_TAIL_EXPONENT = 25.0  # minus the logarithm of the share of waits beyond the grid


def mg1(*, rate: float, service: ServiceTimes) -> Prediction:
    """Predict Poisson arrivals, one server, the service times of single requests (M/G/1).

    Requests that find the server idle take the times after idle. The distribution of the work V
    that a request finds is solved for on a grid of 131,072 points, by level crossing: V is 0 with
    probability p and else has the density f, where

        f(x) = rate p P(S0 > x) + rate * integral over y from 0 to x of f(y) P(S > x - y)

    with S0 the service after idle and S that of all others; latency is V + S, or S0 where V is 0.

    Raises:
        InvalidInput: rate is not positive.
        NotPredictable: the load is 1 or more.

    Source: P. Welch, "On a generalized M/G/1 queuing process in which the first customer of each
    busy period receives exceptional service", Operations Research 12 (1964).

    >>> round(mg1(rate=5, service=ServiceTimes({1: 0.1})).mean_latency, 4)
    0.15
    """
    positive("rate", rate, "requests per second")
    (busy,), (idle,) = service_distributions(service, 1), service_distributions(service.idle(), 1)
    load = rate * busy.mean
    if load >= 1:
        raise NotPredictable(
            f"Requests bring {load:.4g} seconds of work per second for 1 server: the queue grows "
            "without end. Lower the rate or take more servers."
        )
    idle_share = (1 - load) / (1 - load + rate * idle.mean)
    return Prediction(
        formula="M/G/1",
        assumptions=(
            "Poisson arrivals.",
            "Service times are independent of one another.",
            "One queue, unbounded.",
        ),
        rate=rate,
        latency=_latency(rate, idle_share, busy, idle),
        batch_sizes=np.ones(1),
        concurrency=1 - idle_share,
    )


@dataclass(frozen=True, eq=False)
class _Latency:
    """The distribution of wait plus service; `within` is the share waiting, but at most `waits`."""

    alone: float  # share of requests that find the server idle
    busy: ServiceDistribution
    idle: ServiceDistribution
    waits: Floats
    within: Floats
    mean: float

    @property
    def support(self) -> tuple[float, float]:
        """The least and the greatest latency."""
        return float(min(self.busy.values.min(), self.idle.values.min())), np.inf

    def cdf(self, x: Floats) -> Floats:
        """Return the share of requests answered within x seconds."""
        limits = x[:, None] * (1 + ROUNDING)
        at_once = self.alone * ((limits >= self.idle.values) @ self.idle.weights)
        left = np.interp(limits - self.busy.values, self.waits, self.within)
        return np.asarray(at_once + left @ self.busy.weights).clip(0, 1)


def _latency(
    rate: float, idle_share: float, busy: ServiceDistribution, idle: ServiceDistribution
) -> _Latency:
    farthest = max(busy.values.max(), idle.values.max())
    step = (_TAIL_EXPONENT / _decay(rate, busy) + 2 * farthest) / _GRID_POINTS
    first = np.fft.rfft(rate * _survival(idle, step))
    others = np.fft.rfft(rate * _survival(busy, step))
    # the equation is a convolution, and the FFT's goes round: e to the -25 comes in again at 0
    share = np.fft.irfft(idle_share * first / (1 - others), _GRID_POINTS).clip(0)
    waits = step * np.arange(_GRID_POINTS)
    within = np.cumsum(share) - share / 2  # half of its own: the middle of its step
    within[0] = 0.0
    mean = idle_share * idle.mean + (1 - idle_share) * busy.mean + float(share @ waits)
    return _Latency(idle_share, busy, idle, waits, within, mean)


def _decay(rate: float, distribution: ServiceDistribution) -> float:
    """Return the rate at which the share of waits beyond x falls with x: Lundberg's exponent."""

    def excess(decay: float) -> float:
        # e to the 709 is the largest float
        grown = np.expm1(np.minimum(decay * distribution.values, 700.0)) @ distribution.weights
        return float(rate * grown - decay)

    low, high = 0.0, 1 / distribution.mean
    while excess(high) <= 0:
        low, high = high, 2 * high
    for _ in range(60):  # halvings: as many as a float has digits, and some
        middle = (low + high) / 2
        low, high = (low, middle) if excess(middle) > 0 else (middle, high)
    return high


def _survival(distribution: ServiceDistribution, step: float) -> Floats:
    """Integrate P(S > x) around each point of the grid, weighted by a hat two steps wide.

    That is a second difference of H(x), the mean of x min(S, x) - min(S, x)^2 / 2, and keeps the
    integral and the first moment of P(S > x) exactly.
    """
    order = np.argsort(distribution.values)
    values, weights = distribution.values[order], distribution.weights[order]
    sums = [np.append(0.0, np.cumsum(weights * values**power)) for power in range(3)]
    x = step * np.arange(_GRID_POINTS + 1)
    reached = np.searchsorted(values, x, side="right")
    below, first, second = (each[reached] for each in sums)
    integral = x * first - second / 2 + (1 - below) * x**2 / 2
    around = np.append(integral[1], np.diff(integral, 2)) / step
    return np.where(x[:-1] < values[-1] + step, around, 0.0).clip(0)  # beyond, rounding is all
