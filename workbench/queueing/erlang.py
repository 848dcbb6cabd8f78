"""A fleet that leaves what it has no room for to others: loss systems (M/M/c/K, Erlang B)."""

import math
from dataclasses import dataclass

import numpy as np

from workbench.errors import InvalidInput
from workbench.queueing.predictions import Floats
from workbench.validation import positive, whole_number


def find_states(*, load: float, servers: int, room: int) -> Floats:
    """Return the shares of time with 0, 1, ..., `room` requests in an M/M/c/K system.

    An arrival finds the system as it is at any time (Poisson arrivals see time averages), so that
    the last is the share of requests that are turned away; with as much room as servers it is
    Erlang's B, whatever the distribution of the service time.

    Args:
        load: Rate times mean service; it may exceed the servers.
        servers: How many serve at once, c.
        room: Requests that are served or wait at most, K.

    Raises:
        InvalidInput: An argument is out of range, or there is room for fewer than the servers.

    Source: A. Erlang (1917); D. Gross et al., "Fundamentals of queueing theory" (2008), 2.5.

    >>> find_states(load=2, servers=3, room=3).round(4).tolist()  # the last is Erlang's B
    [0.1579, 0.3158, 0.3158, 0.2105]
    """
    positive("load", load)
    whole_number("servers", servers, low=1)
    if whole_number("room", room, low=1) < servers:
        raise InvalidInput(f"room must be for all {servers} servers at least, got {room}.")
    # in logarithms: powers and factorials of hundreds of servers overflow
    ratios = np.log(load / np.minimum(np.arange(1, room + 1), servers))
    logs = np.append(0.0, np.cumsum(ratios))
    shares: Floats = np.exp(logs - logs.max())
    shares /= shares.sum()
    return shares


@dataclass(frozen=True)
class AcceptedLatency:
    """The latency, in seconds, of the requests that an M/M/c/K system has room for.

    One that finds n there waits for n - c + 1 services of the fleet, if n is c or more, and is
    then served itself.

    >>> latency = AcceptedLatency(rate=5.0, service=0.1, servers=1, room=200)
    >>> round(latency.mean, 6)  # as M/M/1
    0.2
    """

    rate: float
    service: float
    servers: int
    room: int

    @property
    def states(self) -> Floats:
        """The shares of accepted requests that find 0, 1, ... others there."""
        load = self.rate * self.service
        found = find_states(load=load, servers=self.servers, room=self.room)[:-1]
        found /= found.sum()
        return found

    @property
    def mean(self) -> float:
        """Seconds."""
        before = np.arange(self.room) - self.servers + 1
        waits = self.service / self.servers * before.clip(0)
        return self.service + float(self.states @ waits)

    @property
    def support(self) -> tuple[float, float]:
        """The least and the greatest value."""
        return 0.0, math.inf

    def cdf(self, x: Floats) -> Floats:
        """Return the share of values of at most x, shape (n,), for x of shape (n,)."""
        times = np.maximum(x, 0.0) / self.service
        states = self.states
        longer = states[: self.servers].sum() * np.exp(-times)
        for turns, share in enumerate(states[self.servers :], start=1):
            longer += share * self._longer(times, turns)
        return np.asarray(1 - longer)

    def _longer(self, times: Floats, turns: int) -> Floats:
        """Return the chance that waiting for so many services, and one's own, take longer.

        The wait may take longer itself; or it is over and the own service takes longer: the
        integral of the wait's density times exp(-(x - t)). Times are in mean services.
        """
        from scipy.special import gammainc, gammaincc, gammaln

        waiting: Floats = gammaincc(turns, self.servers * times)
        with np.errstate(divide="ignore"):  # log(0) at time 0, where nothing is over
            # of one server both rates are the same, and the integral is that of a power
            if self.servers == 1:
                logs = turns * np.log(times) - gammaln(turns + 1)
            else:
                spare = self.servers - 1
                over = np.log(gammainc(turns, spare * times))
                logs = turns * math.log(self.servers / spare) + over
        served: Floats = np.exp(logs - times)
        return waiting + served
