"""Other days of the same traffic: traces that a decision has not seen.

A trace that an arrival process of `workbench.traffic.patterns` made is drawn from it with other
seeds. Of another one the Markovian process that fits it is drawn, where that explains the trace;
its rate is drawn too, within its standard error. Where it does not, blocks of the trace itself are
put together in another order, some of them several times, others never (the moving block bootstrap:
H. Kuensch, "The jackknife and the bootstrap for general stationary observations", Annals of
Statistics 17, 1989).
"""

import ast
import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from math import sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray

from workbench.errors import InvalidInput
from workbench.formatting import duration
from workbench.traffic import patterns
from workbench.traffic.map import MAP
from workbench.traffic.trace import Trace
from workbench.validation import whole_number

_PATTERNS = ("poisson", "constant", "bursty", "diurnal", "flash_crowd", "markovian")
_METHODS = ("scale", "clip", "thin")
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
        day = self.draw(_derive_seed(self.seed, number))
        known = self.trace
        carries = known.bytes.any() or (known.rows != 1).any() or known.context is not None
        if self.whole or not carries:
            return day
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
    pattern = _parse(trace)
    if pattern is not None:
        unseeded = re.sub(r",? ?seed=[^,)]+", "", trace.name)
        words = f"drawn from {unseeded} with other seeds"
        return Redraws(words, partial(_evaluate, pattern), trace, seed=seed)
    if trace.arrivals[0] == trace.arrivals[-1]:
        return Redraws("", lambda _: trace, trace)
    if process is not None and explained:
        words = "drawn from the process that fits the trace"
        return Redraws(words, _from_fit(trace, process), trace, seed=seed)
    length = trace.duration / _BLOCKS
    words = f"put together from parts of the trace of {duration(length)}, drawn again and again"
    return Redraws(words, partial(_join_blocks, trace, length), trace, seed=seed, whole=True)


def _pick_contents(trace: Trace, picked: NDArray[np.int64]) -> dict[str, Any]:
    """Return what requests of a trace carry, by column; the row of the pool goes with its kind."""
    names = ["rows", "bytes", *(["sample", "context"] if trace.context is not None else [])]
    return {name: getattr(trace, name)[picked] for name in names}


def _derive_seed(seed: int, number: int) -> int:
    return int(np.random.SeedSequence([seed, number, 0xDA7]).generate_state(1)[0])


# ------------------------------------------------------------------- from a pattern


def _parse(trace: Trace) -> ast.expr | None:
    """Return the call that made a trace, None where its name is none, or makes another."""
    try:
        call = ast.parse(trace.name, mode="eval").body
        _check_call(call)
        made = _evaluate(call)
    except (SyntaxError, ValueError, TypeError, KeyError, InvalidInput):
        return None
    return call if np.array_equal(made.arrivals, trace.arrivals) else None


def _check_call(node: ast.expr) -> None:
    match node:
        case ast.Call(func=ast.Name(id=name), args=[]) if name in _PATTERNS:
            return None
        case ast.Call(func=ast.Attribute(value=inner, attr=name)) if name in _METHODS:
            return _check_call(inner)
    raise ValueError(ast.dump(node))


def _evaluate(node: ast.expr, seed: int | None = None) -> Trace:
    """Return what a call of a pattern, and of methods on it, makes; with another seed if given."""
    assert isinstance(node, ast.Call)  # noqa: S101 - `_check_call` saw to it
    given: dict[str, Any] = {each.arg or "": ast.literal_eval(each.value) for each in node.keywords}
    if seed is not None and "seed" in given:
        given["seed"] = seed
    values = [ast.literal_eval(each) for each in node.args]
    if isinstance(node.func, ast.Name):
        made: Trace = getattr(patterns, node.func.id)(**given)
        return made
    assert isinstance(node.func, ast.Attribute)  # noqa: S101 - as above
    changed: Trace = getattr(_evaluate(node.func.value, seed), node.func.attr)(*values, **given)
    return changed


# ---------------------------------------------------------------- from a process


def _from_fit(trace: Trace, process: MAP) -> Draw:
    """Return draws of a fitted process, whose rate is drawn within its standard error."""
    dispersion = float(process.dispersion(trace.duration))
    error = sqrt(dispersion / len(trace))

    def draw(seed: int) -> Trace:
        faster = float(np.exp(error * np.random.default_rng([seed, 1]).standard_normal()))
        return _draw_process(trace, process.scale(faster), seed)

    return draw


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
        burst = float(rates[high] / max(rates[low], 1e-9 * rates[high]))
        return patterns.bursty(
            rate=process.rate, burst=burst, dwell=stays, duration=duration, seed=seed
        )
    return patterns.markovian(d0, d1, duration=duration, seed=seed)


# ------------------------------------------------------------------- from blocks


def _join_blocks(trace: Trace, length: float, seed: int) -> Trace:
    """Return a day of blocks that begin anywhere in the trace, its end followed by its start.

    Requests keep what they carry, so that kinds that come together do so again.
    """
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
            day = Trace(
                arrivals[order], trace.duration, name=f"blocks of {trace.name or 'a trace'}"
            )
            picked = np.concatenate(parts)[order] % len(trace)
            return replace(day, **_pick_contents(trace, picked))
    return trace
