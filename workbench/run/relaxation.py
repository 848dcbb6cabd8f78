"""How soon a queue forgets its past, from its load and service times, without a look at waits.

A run of so many relaxation times is worth as many independent requests, however many it has. For
one server that takes `s` seconds a request at load rho, the relaxation time is
s / (1 - sqrt(rho))^2. Here the same formula takes the work that arrives in a hundredth of the time:
what varies more than that of a Poisson process of equal requests (bursts, service times, batches)
takes longer to be forgotten, what c servers share takes less. Source: J. W. Cohen, "The Single
Server Queue" (1982), and the diffusion of heavy traffic, W. Whitt, "Planning queueing simulations",
Management Science 35 (1989), whose run lengths follow from it.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from workbench.deployment.platforms import FleetPlatform, JobPlatform, Platform
from workbench.traffic.trace import Floats

_WINDOWS = 100  # in which work is counted
_RATE_WINDOWS = 50  # the longest in which requests are counted
_MIN_DISPERSION = 2.0  # below it, so many windows do not tell bursts from chance
_SATURATED = 0.8  # of the last dispersion: windows of five times what bursts last show as much
_MIN_COUNT = 2.0  # requests in a window, on average


@dataclass(frozen=True)
class Relaxation:
    """How soon a queue forgets: `seconds`, infinite where it never does; and its `load`."""

    seconds: float
    load: float


def find_relaxation(
    arrivals: Floats, work: Floats, platform: Platform | None, *, batch_service: float
) -> Relaxation:
    """Return the relaxation time of what served these requests.

    Args:
        arrivals: Seconds, in order.
        work: Seconds of service that each brought: its share of its batch's.
        platform: What served them; None: one server.
        batch_service: Mean seconds that a batch is served.
    """
    span = _span(arrivals)
    servers = 1 if platform is None else platform.servers
    capacity = servers * span  # 0: one instant, or a fleet that begins with nothing
    load = float(work.sum()) / capacity if capacity else 1.0
    if isinstance(platform, JobPlatform):
        return Relaxation(platform.period or math.inf, load)
    if load >= 1:
        return Relaxation(math.inf, load)
    window = span / _WINDOWS
    parts = np.bincount(_window_numbers(arrivals, window), weights=work, minlength=_WINDOWS)
    variance = float(parts[:_WINDOWS].var(ddof=1)) / window
    queue = variance / (2 * load * (servers * (1 - math.sqrt(load))) ** 2) if load else 0.0
    if isinstance(platform, FleetPlatform) and platform.routing == "random":
        queue *= platform.instances  # each has a queue of its own, and its share of the work
    return Relaxation(batch_service + queue + _burst_time(arrivals, span), load)


def infer_work(arrivals: Floats, finished: Floats) -> Floats:
    """Return the seconds of service of each request, if one server answered them in turn.

    NaN, for requests that failed, is no work.

    >>> infer_work(np.array([0.0, 1.0, 9.0]), np.array([3.0, 5.0, 10.0])).tolist()
    [3.0, 2.0, 1.0]
    """
    ends = np.maximum.accumulate(np.where(np.isnan(finished), arrivals, finished))
    free = np.maximum(arrivals, np.concatenate([arrivals[:1], ends[:-1]]))
    work: Floats = np.maximum(ends - free, 0.0)
    return work


def _span(arrivals: Floats) -> float:
    """Return the time that so many requests take, the gap after the last one included."""
    count = len(arrivals)
    return float(arrivals[-1] - arrivals[0]) * count / (count - 1) if count > 1 else 0.0


def _window_numbers(arrivals: Floats, window: float) -> NDArray[np.int64]:
    numbers: NDArray[np.int64] = ((arrivals - arrivals[0]) / window).astype(np.int64)
    return numbers


def _burst_time(arrivals: Floats, span: float) -> float:
    """Return how long bursts are remembered: half the window that shows most of them, in seconds.

    0 where arrivals come as evenly as those of a Poisson process. Where longer windows show ever
    more, the rate itself changes over the trace, and a tenth of the trace is returned: too much
    for any interval.
    """
    longest, dispersion = span / _RATE_WINDOWS, []
    window = longest
    while len(arrivals) * window / span >= _MIN_COUNT:
        counts = np.bincount(_window_numbers(arrivals, window))[: int(span / window)]
        dispersion.append((window, float(counts.var(ddof=1) / counts.mean())))
        window /= 2
    if not dispersion or dispersion[0][1] < _MIN_DISPERSION:
        return 0.0
    wanted = 1 + _SATURATED * (dispersion[0][1] - 1)
    shown = min(window for window, index in dispersion if index >= wanted)
    return span / 10 if shown == longest else shown / 2
