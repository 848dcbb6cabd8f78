"""Shared queues without batching: one line of requests for all servers."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from workbench.errors import NotPredictable
from workbench.queueing.buffers import poisson_chance
from workbench.queueing.erlang import find_states
from workbench.queueing.predictions import ROUNDING, Distribution, Floats, Prediction
from workbench.validation import not_negative, positive, whole_number

_TAIL_FROM = 60  # requests in an M/D/1 system from which their chances fall geometrically


def mmc(*, rate: float, service: float, servers: int) -> Prediction:
    """Predict Poisson arrivals, exponential service of this mean, one queue for all (M/M/c).

    Raises:
        InvalidInput: an argument is out of range.
        NotPredictable: the load is 1 or more.

    Source: A. Erlang (1917); D. Gross et al., "Fundamentals of queueing theory" (2008), 2.3.

    >>> round(mmc(rate=1.5, service=1, servers=2).mean_latency, 4)
    2.2857
    """
    _check_stable(rate, service, servers)
    latency = _ManyServersLatency(rate, service, servers)
    return _predict_queue(f"M/M/{servers}", rate, service, latency, "exponential")


def mm1(*, rate: float, service: float) -> Prediction:
    """Predict Poisson arrivals, exponential service of this mean, one server (M/M/1).

    Raises:
        InvalidInput: an argument is out of range.
        NotPredictable: the load is 1 or more.

    >>> mm1(rate=5, service=0.1).mean_latency
    0.2
    """
    return mmc(rate=rate, service=service, servers=1)


def md1(*, rate: float, service: float) -> Prediction:
    """Predict Poisson arrivals, a service time that is always the same, one server (M/D/1).

    Raises:
        InvalidInput: an argument is out of range.
        NotPredictable: the load is 1 or more.

    >>> round(md1(rate=5, service=0.1).mean_latency, 4)
    0.15
    """
    _check_stable(rate, service, 1)
    return _predict_queue(
        "M/D/1", rate, service, _ConstantServiceLatency(rate, service), "constant"
    )


def _predict_queue(
    formula: str, rate: float, service: float, latency: Distribution, kind: str
) -> Prediction:
    return Prediction(
        formula=formula,
        assumptions=("Poisson arrivals.", f"Service times are {kind}.", "One queue, unbounded."),
        rate=rate,
        latency=latency,
        batch_sizes=np.ones(1),
        concurrency=rate * service,
    )


def mg1_mean_wait(*, rate: float, service: float, scv: float) -> float:
    """Return mean seconds in the queue of one server, Poisson arrivals, any service time (M/G/1).

    Args:
        rate: requests per second.
        service: mean, in seconds.
        scv: squared coefficient of variation of the service time: variance over squared mean.

    Raises:
        InvalidInput: an argument is out of range.
        NotPredictable: the load is 1 or more.

    Source: F. Pollaczek (1930) and A. Khinchine (1932).

    >>> round(mg1_mean_wait(rate=5, service=0.1, scv=1), 4)
    0.1
    """
    load = _check_stable(rate, service, 1)
    not_negative("scv", scv)
    return load * service * (1 + scv) / 2 / (1 - load)


def erlang_b(*, load: float, servers: int) -> float:
    """Return the share of requests lost as all servers are busy; load is rate x mean service.

    Raises:
        InvalidInput: an argument is out of range.

    >>> round(erlang_b(load=2, servers=3), 4)
    0.2105
    """
    return float(find_states(load=load, servers=servers, room=servers)[-1])


def erlang_c(*, load: float, servers: int) -> float:
    """Return the share of requests that wait for a server; load is rate x mean service.

    Raises:
        InvalidInput: an argument is out of range.
        NotPredictable: the load is not below the number of servers.

    >>> round(erlang_c(load=2, servers=3), 4)
    0.4444
    """
    lost = erlang_b(load=load, servers=servers)
    _check_load(load, servers)
    return lost / (1 - load / servers * (1 - lost))


def mmc_wait_cdf(wait: ArrayLike, *, rate: float, service: float, servers: int) -> Floats:
    """Return the share of requests that wait at most so many seconds for a server (M/M/c).

    Raises:
        InvalidInput: an argument is out of range.
        NotPredictable: the load is 1 or more.

    >>> float(mmc_wait_cdf(0.0, rate=2, service=1, servers=3).round(4))
    0.5556
    """
    _check_stable(rate, service, servers)
    waits = np.asarray(wait, dtype=np.float64)
    queued = erlang_c(load=rate * service, servers=servers)
    longer = queued * np.exp(-(servers / service - rate) * waits.clip(0))
    return np.where(waits < 0, 0.0, 1 - longer)[()]


def md1_wait_cdf(wait: ArrayLike, *, rate: float, service: float) -> Floats:
    """Return the share of requests that wait at most so many seconds for the server (M/D/1).

    Raises:
        InvalidInput: an argument is out of range.
        NotPredictable: the load is 1 or more.

    Source: G. Franx, "A simple solution for the M/D/c waiting time distribution", Operations
    Research Letters 29 (2001): sums of positive terms where Erlang's own formula alternates.

    >>> float(md1_wait_cdf(0.0, rate=5, service=0.1))
    0.5
    """
    load = _check_stable(rate, service, 1)
    waits = np.asarray(wait, dtype=np.float64)
    longer = _md1_longer(load, waits.clip(0) / service)
    return np.where(waits < 0, 0.0, 1 - longer)[()]


def _md1_longer(load: float, waits: Floats) -> Floats:
    """Return the chance to wait longer than so many service times."""
    from scipy.special import lambertw, pdtrc

    # far out, chances fall by 1 / z, where z > 1 solves z = exp(load (z - 1))
    system, decay = _md1_system(load), float(-load / lambertw(-load * np.exp(-load), -1).real)
    beyond = np.cumsum(system[::-1])[::-1] + system[-1] * decay / (1 - decay)
    slots = np.floor(waits) + 1
    mean = load * (slots - waits)
    longer: Floats = pdtrc(slots - 1, mean)
    for new in range(_TAIL_FROM):
        ahead = slots + 1 - new
        known = beyond[np.clip(ahead, 2, _TAIL_FROM).astype(int)]
        tail = known * decay ** (ahead - _TAIL_FROM).clip(0)
        longer += np.where(ahead >= 2, poisson_chance(np.array(float(new)), mean) * tail, 0.0)
    return longer


def _md1_system(load: float) -> Floats:
    """Return chances of 0, 1, ... requests in the M/D/1 system, from the flow across each level."""
    from scipy.special import pdtrc

    at_least = np.append(1.0, pdtrc(np.arange(_TAIL_FROM + 1), load))
    system = np.zeros(_TAIL_FROM + 1)
    system[0] = 1 - load
    for level in range(1, len(system)):
        upward = system[1:level] @ at_least[level:1:-1]
        system[level] = (system[0] * at_least[level] + upward) * np.exp(load)
    return system


@dataclass(frozen=True)
class _ManyServersLatency:
    rate: float
    service: float
    servers: int

    @property
    def support(self) -> tuple[float, float]:
        return 0.0, math.inf

    @property
    def mean(self) -> float:
        load = self.rate * self.service
        queued = erlang_c(load=load, servers=self.servers)
        return self.service * (1 + queued / (self.servers - load))

    def cdf(self, x: Floats) -> Floats:
        times, load = x.clip(0) / self.service, self.rate * self.service
        queued, spare = erlang_c(load=load, servers=self.servers), self.servers - load
        # A wait of rate `spare` and a service of rate 1 in sequence, stable where the two are near.
        slow, apart = min(spare, 1.0), abs(spare - 1)
        # by expm1: a difference of two exponentials would lose its digits
        both = -np.expm1(-apart * times) / apart if apart else times
        within: Floats = 1 - np.exp(-times) - queued * np.exp(-slow * times) * both
        return within


@dataclass(frozen=True)
class _ConstantServiceLatency:
    rate: float
    service: float

    @property
    def support(self) -> tuple[float, float]:
        return self.service, math.inf

    @property
    def mean(self) -> float:
        return self.service + mg1_mean_wait(rate=self.rate, service=self.service, scv=0.0)

    def cdf(self, x: Floats) -> Floats:
        waits = x * (1 + ROUNDING) - self.service
        return md1_wait_cdf(waits, rate=self.rate, service=self.service)


def _check_stable(rate: float, service: float, servers: int) -> float:
    """Return the load, rate x mean service, known to be below the number of servers."""
    positive("rate", rate, "requests per second")
    positive("service", service, "seconds")
    whole_number("servers", servers, low=1)
    _check_load(rate * service, servers)
    return rate * service


def _check_load(load: float, servers: int) -> None:
    if load >= servers:
        raise NotPredictable(
            f"Requests bring {load:.4g} seconds of work per second for {servers} "
            f"server{'s' if servers > 1 else ''}: the queue grows without end. Lower the rate or "
            f"take at least {math.floor(load) + 1} servers."
        )
