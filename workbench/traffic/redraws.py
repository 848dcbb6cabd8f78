"""Other days of the same traffic: traces that a decision has not seen.

A trace that an arrival process of `workbench.traffic.patterns` made is drawn from it with other
seeds. Of another one the Markovian process that fits it is drawn, where that explains the trace;
its rate is drawn too, within its standard error. Where it does not, blocks of the trace itself are
put together in another order, some of them several times, others never (the moving block bootstrap:
H. Kuensch, "The jackknife and the bootstrap for general stationary observations", Annals of
Statistics 17, 1989).
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import chain
from math import sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray

from workbench.errors import InvalidInput
from workbench.formatting import duration
from workbench.traffic import patterns
from workbench.traffic.map import MAP
from workbench.traffic.recipes import make
from workbench.traffic.trace import Trace
from workbench.validation import whole_number

_BLOCKS = 10  # of which a day is put together
_MAX_ATTEMPTS = 100  # at a day with at least one request
_KEPT_REQUESTS = 5_000_000  # of all days together, so that they fit the memory

Draw = Callable[[int], Trace]
"""Returns the trace of a seed."""


@dataclass(frozen=True, eq=False)
class Redraws:
    """Other days of a trace's traffic.

    Attributes:
        source: Where they come from, in words; "" where nothing can be redrawn.
        draw: Returns the day of a seed; of the process of the trace, only its arrivals.
        trace: What a request carries is drawn from those of this trace, where draws do not say.
        factor: How many times as fast as drawn a day is.
        seed: Sets them apart from those of another seed.
        whole: Whether draws say what requests carry.
    """

    source: str
    draw: Draw
    trace: Trace
    factor: float = 1.0
    seed: int = 0
    whole: bool = False
    _kept: dict[int, Trace] = field(default_factory=dict, repr=False)

    def __getitem__(self, number: int) -> Trace:
        """Return a day by its number, the same one each time."""
        whole_number("number", number, low=0)
        day = self._kept.get(number)
        if day is None:
            day = self._draw(number)
            if (len(self._kept) + 1) * len(self.trace) <= _KEPT_REQUESTS:
                self._kept[number] = day
        return day if self.factor == 1.0 else day.scale(self.factor)

    def scale(self, factor: float) -> "Redraws":
        """Return the same days, factor times as fast."""
        return replace(self, factor=self.factor * factor)

    def _draw(self, number: int) -> Trace:
        # a stream of its own, so that no generator of a seed and a number draws the same
        seed = np.random.SeedSequence([self.seed, number, 0xDA7]).generate_state(1)[0]
        day = self.draw(int(seed))
        known = self.trace
        carries = known.bytes.any() or (known.rows != 1).any() or known.context is not None
        if self.whole or not carries:
            return day
        # a stream of its own: what requests carry does not hang on how many draws their times took
        rng = np.random.default_rng([self.seed, number, 1])
        return replace(day, **_pick_contents(known, rng.integers(len(known), size=len(day))))


def redraw(
    trace: Trace, process: MAP | None, *, explained: bool = True, known: bool = False, seed: int = 0
) -> Redraws:
    """Return other days of a trace's traffic.

    Args:
        trace: The day that is known.
        process: The arrival process that fits it; None where it holds too little to say.
        explained: Whether the process explains the trace's burstiness.
        known: Whether the process is known, not fitted: its rate then is what it is.
        seed: Of the draws.

    >>> days = redraw(patterns.poisson(rate=5, duration=60, seed=1), None)
    >>> days.source, days[0].duration, days[0] == days[0], days[0] == days[1]
    ('drawn from poisson(rate=5, duration=60) with other seeds', 60.0, True, False)
    """
    if known and process is not None:
        draw = partial(_draw_process, trace, process)
        return Redraws("drawn from the process given", draw, trace, seed=seed)
    named = make(trace.name)
    if named is not None and np.array_equal(named.arrivals, trace.arrivals):
        unseeded = re.sub(r",? ?seed=[^,)]+", "", trace.name)
        words = f"drawn from {unseeded} with other seeds"
        return Redraws(words, partial(_draw_pattern, trace), trace, seed=seed)
    if trace.arrivals[0] == trace.arrivals[-1]:
        return Redraws("", lambda _: trace, trace)
    if process is not None and explained:
        words = "drawn from the process that fits the trace"
        return Redraws(words, partial(_draw_fit, trace, process), trace, seed=seed)
    length = trace.duration / _BLOCKS
    words = f"put together from parts of the trace of {duration(length)}, drawn again and again"
    return Redraws(words, partial(_join_blocks, trace, length), trace, seed=seed, whole=True)


def _pick_contents(trace: Trace, picked: NDArray[np.int64]) -> dict[str, Any]:
    """Return what requests of a trace carry, by column; the row of the pool goes with its kind."""
    names = ["rows", "bytes", *(["sample", "context"] if trace.context is not None else [])]
    return {name: getattr(trace, name)[picked] for name in names}


def _draw_pattern(trace: Trace, seed: int) -> Trace:
    """Return a day of the pattern that a trace is named after; one without requests again."""
    others = np.random.SeedSequence(seed).generate_state(_MAX_ATTEMPTS).tolist()
    for attempt in range(_MAX_ATTEMPTS):
        draws = chain([seed + attempt], others)  # parts of a sum are drawn apart
        if (day := make(trace.name, iter(draws))) is not None:
            return day
    return trace


def _draw_fit(trace: Trace, process: MAP, seed: int) -> Trace:
    """Return a day of a fitted process, whose rate is drawn within its standard error."""
    error = sqrt(float(process.dispersion(trace.duration)) / len(trace))
    faster = float(np.exp(error * np.random.default_rng([seed, 1]).standard_normal()))
    return _draw_process(trace, process.scale(faster), seed)


def _draw_process(trace: Trace, process: MAP, seed: int) -> Trace:
    """Return a day of a process; one without any request is drawn once more."""
    for attempt in range(_MAX_ATTEMPTS):
        try:
            return _draw_arrivals(process, trace.duration, seed + attempt)
        except InvalidInput:
            continue
    return trace


def _draw_arrivals(process: MAP, duration: float, seed: int) -> Trace:
    d0, d1 = process.d0, process.d1
    rates = np.diag(d1)
    if len(d1) == 1:
        return patterns.poisson(rate=process.rate, duration=duration, seed=seed)
    if len(d1) == 2 and (d1 == np.diag(rates)).all():
        low, high = (0, 1) if rates[0] <= rates[1] else (1, 0)
        stays = (1 / float(d0[low, high]), 1 / float(d0[high, low]))
        # a low rate of 0 would make `burst` endless
        burst = float(rates[high] / max(rates[low], 1e-9 * rates[high]))
        return patterns.bursty(
            rate=process.rate, burst=burst, dwell=stays, duration=duration, seed=seed
        )
    return patterns.markovian(d0, d1, duration=duration, seed=seed)


def _join_blocks(trace: Trace, length: float, seed: int) -> Trace:
    """Return a day of blocks that begin anywhere in the trace, its end followed by its start."""
    rng = np.random.default_rng(seed)
    twice = np.concatenate([trace.arrivals, trace.arrivals + trace.duration])
    for _ in range(_MAX_ATTEMPTS):
        starts = rng.random(_BLOCKS) * trace.duration
        parts = [np.arange(*np.searchsorted(twice, [start, start + length])) for start in starts]
        moved = [
            twice[part] - start + place * length
            for place, (part, start) in enumerate(zip(parts, starts, strict=True))
        ]
        arrivals = np.concatenate(moved).clip(0.0, trace.duration)
        if len(arrivals):
            order = np.argsort(arrivals, kind="stable")
            name = f"blocks of {trace.name or 'a trace'}"
            # Requests keep what they carry, so that kinds that come together do so again.
            picked = np.concatenate(parts)[order] % len(trace)
            contents = _pick_contents(trace, picked)
            return Trace(arrivals[order], trace.duration, name=name, **contents)
    return trace
