"""Arrival processes: traces drawn from a model of traffic.

`poisson`, `constant`, `bursty`, `diurnal`, `flash_crowd` and `markovian` each return a `Trace`.
The seed decides what is drawn: the same arguments give the same trace.
"""

import math
from bisect import bisect_right

import numpy as np
from numpy.typing import ArrayLike, NDArray

from workbench.errors import InvalidInput
from workbench.traffic.map import bursty_rates, check_map, stationary_distribution
from workbench.traffic.trace import Floats, Trace, format_value
from workbench.validation import Seed, generator_from, not_negative, positive, whole_numbers

Rows = int | tuple[int, int]

MAX_REQUESTS = 50_000_000  # 28 bytes each: more than this does not fit a notebook's memory


def poisson(rate: float, duration: float, *, seed: Seed = 0, rows: Rows = 1) -> Trace:
    """Return independent arrivals at a constant rate.

    Args:
        rate: requests per second.
        duration: seconds.
        seed: a whole number, or a NumPy generator.
        rows: in each request: one number, or (low, high), drawn uniformly, both ends included.
            Drawn from a stream of their own: they leave the times as they are.

    Raises:
        InvalidInput: an argument is out of range, or no request was drawn.

    >>> poisson(rate=50, duration=10, seed=1) == poisson(rate=50, duration=10, seed=1)
    True
    """
    name = _call("poisson", rate=rate, duration=duration, seed=seed, rows=rows)
    times, samples = streams(seed)
    duration = positive("duration", duration)
    count = times.poisson(check_expected(positive("rate", rate) * duration))
    return draw_trace(name, times.random(count) * duration, duration, rows, samples)


def constant(rate: float, duration: float, *, rows: int = 1) -> Trace:
    """Return evenly spaced arrivals: at 0, 1/rate, 2/rate, ... before the duration.

    Raises:
        InvalidInput: an argument is out of range.

    >>> constant(rate=4, duration=1).arrivals.tolist()
    [0.0, 0.25, 0.5, 0.75]
    """
    name = _call("constant", rate=rate, duration=duration, rows=rows)
    expected = check_expected(positive("rate", rate) * positive("duration", duration))
    count = max(1, math.ceil(expected * (1 - 1e-12)))  # 1.1 * 100 is a little over 110
    return Trace(np.arange(count) / rate, duration, rows=rows, name=name)


def bursty(
    rate: float,
    *,
    burst: float,
    dwell: tuple[float, float] = (4.0, 1.0),
    duration: float,
    seed: Seed = 0,
    rows: Rows = 1,
) -> Trace:
    """Return Poisson arrivals whose rate switches between a low and a high value: an MMPP(2).

    Stays in each state are exponential. The trace starts in a state drawn from the long-run
    shares, so that its expected rate is the same at every instant.

    Args:
        rate: requests per second, averaged over time.
        burst: high rate over low rate, at least 1.
        dwell: mean stay in seconds in the low state, then in the high one.
        duration: seconds.
        seed: a whole number, or a NumPy generator.
        rows: as for `poisson`.

    Raises:
        InvalidInput: an argument is out of range, or no request was drawn.

    Source: W. Fischer and K. Meier-Hellstern, "The Markov-modulated Poisson process (MMPP)
    cookbook", Performance Evaluation 18 (1993).

    >>> bursty(rate=300, burst=6, duration=60, seed=1).describe()["dispersion_1s"] > 10
    True
    """
    name = _call(
        "bursty", rate=rate, burst=burst, dwell=dwell, duration=duration, seed=seed, rows=rows
    )
    times, samples = streams(seed)
    duration = positive("duration", duration)
    low, high = bursty_rates(rate=rate, burst=burst, dwell=dwell)
    check_expected(rate * duration)
    ends, is_high = _sojourns(dwell, duration, times)
    starts = np.concatenate([[0.0], ends[:-1]])
    counts = times.poisson(np.where(is_high, high, low) * (ends - starts))
    # given their number, arrivals of a Poisson process are spread evenly
    spread = times.random(counts.sum()) * np.repeat(ends - starts, counts)
    return draw_trace(name, np.repeat(starts, counts) + spread, duration, rows, samples)


def diurnal(
    rate: float,
    *,
    swing: float,
    period: float = 86_400.0,
    duration: float,
    seed: Seed = 0,
    rows: Rows = 1,
) -> Trace:
    """Return Poisson arrivals whose rate is a wave that starts at its lowest point.

    The rate at t is ``rate * (1 - swing * cos(2 pi t / period))``: its mean over whole periods is
    `rate`. Exact, by thinning.

    Args:
        rate: requests per second, averaged over whole periods.
        swing: from 0 (no wave) to 1 (nothing at the lowest point).
        period: seconds.
        duration: seconds.
        seed: a whole number, or a NumPy generator.
        rows: as for `poisson`.

    Raises:
        InvalidInput: an argument is out of range, or no request was drawn.

    >>> day = diurnal(rate=1, swing=0.9, duration=86_400, seed=1)
    >>> len(day.clip(0, 21_600)) < len(day.clip(32_400, 54_000))
    True
    """
    name = _call(
        "diurnal", rate=rate, swing=swing, period=period, duration=duration, seed=seed, rows=rows
    )
    if not not_negative("swing", swing) <= 1:
        raise InvalidInput(f"swing must be from 0 to 1, got {swing!r}.")
    times, samples = streams(seed)
    duration, peak = positive("duration", duration), positive("rate", rate) * (1 + swing)
    at = times.random(times.poisson(check_expected(peak * duration))) * duration
    wave = 1 - swing * np.cos(2 * np.pi * at / positive("period", period))
    kept = times.random(len(at)) * (1 + swing) < wave
    return draw_trace(name, at[kept], duration, rows, samples)


def flash_crowd(
    rate: float,
    *,
    peak: float,
    start: float,
    ramp: float,
    hold: float,
    decay: float,
    duration: float,
    seed: Seed = 0,
    rows: Rows = 1,
) -> Trace:
    """Return Poisson arrivals at a base rate, with one crowd that comes, stays and fades.

    From `start` the rate climbs in a straight line to ``peak * rate`` within `ramp` seconds, stays
    there for `hold` seconds, and falls back exponentially with time constant `decay`. Exact: the
    crowd is three Poisson streams on top of the base, each drawn from its own density.

    Args:
        rate: requests per second without the crowd.
        peak: highest rate over base rate, at least 1.
        start: seconds from the beginning of the trace.
        ramp: seconds, 0 for a jump.
        hold: seconds.
        decay: seconds until the crowd has fallen to 1/e, 0 for an end at once.
        duration: seconds; a crowd not over by then is cut off.
        seed: a whole number, or a NumPy generator.
        rows: as for `poisson`.

    Raises:
        InvalidInput: an argument is out of range, or no request was drawn.

    >>> crowd = dict(peak=20, start=60, ramp=10, hold=30, decay=20)
    >>> flash_crowd(rate=10, **crowd, duration=300, seed=1).describe()["peak_to_mean"] > 3
    True
    """
    shape = {"start": start, "ramp": ramp, "hold": hold, "decay": decay}
    name = _call(
        "flash_crowd", rate=rate, peak=peak, **shape, duration=duration, seed=seed, rows=rows
    )
    if not positive("peak", peak) >= 1:
        raise InvalidInput(
            f"peak is the highest rate over the base rate, at least 1, got {peak!r}."
        )
    for what, seconds in shape.items():
        not_negative(what, seconds)
    times, samples = streams(seed)
    extra = positive("rate", rate) * (peak - 1)
    base = rate * positive("duration", duration)
    expected = base, extra * ramp / 2, extra * hold, extra * decay
    check_expected(sum(expected))
    base, climbing, staying, fading = times.poisson(expected)
    top = start + ramp
    parts = [times.random(base) * duration]
    # what begins after the end is not drawn: it may be many times as much as the rest
    if start < duration:
        # the inverse of a ramp's distribution, which grows with the square
        parts.append(start + ramp * np.sqrt(times.random(climbing)))
    if top < duration:
        parts.append(top + hold * times.random(staying))
    if top + hold < duration:
        parts.append(top + hold + decay * times.exponential(size=fading))
    at = np.concatenate(parts)
    return draw_trace(name, at[at < duration], duration, rows, samples)


def markovian(
    d0: ArrayLike, d1: ArrayLike, *, duration: float, seed: Seed = 0, rows: Rows = 1
) -> Trace:
    """Return arrivals of the Markovian arrival process MAP(D0, D1), started in its long-run phase.

    Args:
        d0: rates of the phase changes without an arrival, per second; each diagonal entry is minus
            the sum of its row's other entries in both matrices.
        d1: rates of the phase changes (the diagonal: of staying) with an arrival, per second.
        duration: seconds.
        seed: a whole number, or a NumPy generator.
        rows: as for `poisson`.

    Raises:
        InvalidInput: as for `check_map`, or no request was drawn.

    Source: M. Neuts, "A versatile Markovian point process", J. Applied Probability 16 (1979).

    >>> erlang = markovian([[-20, 20], [0, -20]], [[0, 0], [20, 0]], duration=100, seed=1)
    >>> 0.4 < erlang.describe()["scv"] < 0.6
    True
    """
    d0, d1 = check_map(d0, d1)
    name = _call("markovian", d0=d0, d1=d1, duration=duration, seed=seed, rows=rows)
    times, samples = streams(seed)
    duration = positive("duration", duration)
    return draw_trace(name, _map_arrivals(d0, d1, duration, times), duration, rows, samples)


def streams(seed: Seed) -> list[np.random.Generator]:
    """Return two independent generators: one for the times, one for what the requests carry."""
    return generator_from(seed).spawn(2)


def draw_trace(
    name: str, times: Floats, duration: float, rows: Rows, samples: np.random.Generator
) -> Trace:
    """Return the trace of times drawn in any order, with rows drawn from the samples' generator.

    >>> draw_trace("two", np.array([2.0, 1.0]), 3.0, 1, np.random.default_rng(1)).arrivals.tolist()
    [1.0, 2.0]
    """
    if not len(times):
        raise InvalidInput(
            f"{name} drew no request, and a trace may not be empty: "
            "raise the rate or the duration, or choose another seed."
        )
    times = np.minimum(np.sort(times), duration)  # rounding must not carry one past the end
    each: ArrayLike = rows
    if isinstance(rows, tuple):
        low, high = whole_numbers("rows", rows, 2, np.int32, least=1)
        if low > high:
            raise InvalidInput(
                f"rows must be a number or (low, high) with low <= high, got {rows!r}."
            )
        each = samples.integers(low, high, endpoint=True, size=len(times))
    return Trace(times, duration, rows=each, name=name)


def check_expected(expected: float) -> float:
    """Return the expected number of requests, known to fit one trace."""
    if expected > MAX_REQUESTS:
        raise InvalidInput(
            f"This would take {expected:,.12g} requests or steps, and at most {MAX_REQUESTS:,} "
            "fit one trace: lower the rate or shorten the duration."
        )
    return expected


def _sojourns(
    dwell: tuple[float, float], duration: float, times: np.random.Generator
) -> tuple[Floats, NDArray[np.bool_]]:
    """Draw when each stay of the two-state process ends, up to the duration, and which are high."""
    starts_high = times.random() * sum(dwell) >= dwell[0]
    means = np.array(dwell[::-1] if starts_high else dwell)
    # a few more than expected, so that mostly one draw is enough
    pairs = int(check_expected(duration / means.sum())) + 16
    stays, clock = np.empty(0), 0.0
    while clock < duration:
        stays = np.append(stays, times.exponential(size=(pairs, 2)) * means)
        clock = stays.sum()
    ends = np.cumsum(stays)
    ends = np.append(ends[ends < duration], duration)
    return ends, (np.arange(len(ends)) % 2 == 1) ^ starts_high


def _map_arrivals(d0: Floats, d1: Floats, duration: float, times: np.random.Generator) -> Floats:
    leave, shares = -np.diag(d0), stationary_distribution(d0 + d1)
    jumps_up_to = np.cumsum(np.hstack([d0 + np.diag(leave), d1]), axis=1)  # without, with arrival
    edges = (jumps_up_to / jumps_up_to[:, -1:]).tolist()
    phases, jump_rate = len(d0), float(shares @ leave)
    expected = check_expected(jump_rate * duration)
    phase = int(np.searchsorted(np.cumsum(shares)[:-1], times.random(), side="right"))
    arrivals, clock = [], 0.0
    while clock < duration:
        left = expected * (1 - clock / duration)
        # four standard deviations more than expected, so that mostly one draw is enough
        size = min(1_000_000, int(left + 4 * math.sqrt(left)) + 16)
        visited, jumps = _walk(edges, phase, times.random(size))
        instants = clock + np.cumsum(times.exponential(size=size) / leave[visited])
        arrivals.append(instants[jumps >= phases])
        clock, phase = float(instants[-1]), int(jumps[-1]) % phases
    at = np.concatenate(arrivals)
    return at[at < duration]


def _walk(
    edges: list[list[float]], phase: int, draws: Floats
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Walk the phases, one jump for each draw; return the phases visited and the jumps taken."""
    phases = len(edges)
    visited, jumps = [], []
    # in Python's floats and lists, which are faster one by one than NumPy's
    for draw in draws.tolist():
        visited.append(phase)
        jump = bisect_right(edges[phase], draw)
        jumps.append(jump)
        phase = jump % phases
    return np.array(visited), np.array(jumps)


def _call(maker: str, **arguments: object) -> str:
    """Return the call that makes a trace, without rows where each request has one."""
    said = {k: v for k, v in arguments.items() if not (k == "rows" and v == 1)}
    return f"{maker}({', '.join(f'{k}={format_value(v)}' for k, v in said.items())})"
