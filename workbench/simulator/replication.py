"""The same simulation with other draws, as often as an interval takes.

Where arrivals come from a stationary process and wait for a fixed fleet, each repetition is a
stretch of the long run: it is as long as the queue's memory asks for, and begins with a part that
is left out, until the start from empty is forgotten. Elsewhere it is the same trace, or one drawn
like it, from empty: the start counts.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from workbench.deployment.platforms import Platform
from workbench.errors import InvalidInput
from workbench.quantiles import cold_share_of_start
from workbench.run.relaxation import find_relaxation
from workbench.run.replications import Replications
from workbench.traffic.recipes import can_redraw, is_stationary, redraw
from workbench.traffic.trace import Trace
from workbench.validation import Seed, whole_number

if TYPE_CHECKING:
    from workbench.scaling.base import ScalingPolicy
    from workbench.simulator import Outcome, Simulation

COUNT = 20
"""Repetitions where nobody says how many and they take seconds."""

_STREAM = 0x2E9  # sets the draws apart from those of the run itself
_WANTED = 4000.0  # independent requests: four times what p99 needs
_LEAST = 400.0  # fewer, and the long run is out of reach
_WARM_UP = 5.0  # relaxation times, after which 1 % of the start is left
_PILOT = 100_000  # requests from which the relaxation time is found
_TRACES = 500  # drawn like the trace, each from empty, where there is no long run
_FEWEST = 5  # repetitions nobody has asked for that a simulation may take longer for
_DECISION = 25  # requests that take as long to simulate as a scaler takes to be asked
_PERIOD = 60.0  # seconds between decisions of a scaler that is first asked at the start


class _Replica(Protocol):
    """What became of requests."""

    @property
    def latencies(self) -> NDArray[np.float64]: ...

    @property
    def cold(self) -> NDArray[np.bool_]: ...


class Replicable(Protocol):
    """A simulation that can be repeated: a `Simulation`, or one of several places."""

    @property
    def trace(self) -> Trace:
        """The requests."""

    @property
    def seed(self) -> Seed:
        """Of all draws."""

    @property
    def most_requests(self) -> int:
        """How many requests its repetitions may have in all, so that they take seconds."""

    @property
    def scalings(self) -> "Sequence[ScalingPolicy | None]":
        """How the size of each fleet changes; None: it does not."""

    @property
    def random_parts(self) -> list[str]:
        """What another seed would change, besides arrivals."""

    def again(self, trace: Trace, seed: np.random.Generator) -> "Replicable":
        """Return the same simulation with another trace and other draws."""

    def serve(self) -> _Replica:
        """Return what becomes of the requests."""


def replicate(simulation: Replicable, count: int | None = None) -> Replications:
    """Return what `count` repetitions say: see the module. By default they take seconds.

    Raises:
        InvalidInput: There are fewer than 2, or nothing that would differ between them.
    """
    affordable = _count_affordable(simulation)
    if count is None:
        count = min(COUNT, max(_FEWEST, affordable))
    whole_number("replications", count, low=2)
    seed = simulation.seed
    if isinstance(seed, np.random.Generator):
        generator = seed.spawn(1)[0]
    else:
        generator = np.random.default_rng([int(seed), _STREAM])
    again = can_redraw(simulation.trace)
    drawn = ["arrivals"] * again + simulation.random_parts
    if not drawn:
        raise InvalidInput(
            "Replications would all be the same: the trace is no drawn pattern, and service times "
            "are constant. Use a pattern such as poisson(...), or measured service times."
        )
    if again and (found := _long_run(simulation, count, generator, drawn)) is not None:
        return found
    if again:
        count = max(count, min(_TRACES, affordable))
    parts, cold = [], []
    for each in generator.spawn(count):
        trace = redraw(simulation.trace, each) if again else None
        outcome = simulation.again(trace or simulation.trace, each).serve()
        parts.append(outcome.latencies)
        cold.append(cold_share_of_start(outcome.cold))
    kept = "" if again else ", for the arrivals of this trace alone"
    about = (
        f"{count} repetitions of the whole trace, {' and '.join(drawn)} drawn again{kept}; "
        "the start from empty counts"
    )
    return Replications.of(parts, about=about, cold=max(float(np.mean(cold)), 0.0))


def replicate_if_random(simulation: Replicable) -> Replications | None:
    """Return what repetitions say, None of a trace of which no other can be drawn."""
    return replicate(simulation) if can_redraw(simulation.trace) else None


def _count_affordable(simulation: Replicable) -> int:
    """Return how many repetitions take seconds, by what is asked of a scaler and its requests."""
    trace = simulation.trace
    scalers = [each.scaler() for each in simulation.scalings if each is not None]
    decisions = sum(trace.duration / (each.due or _PERIOD) for each in scalers)
    return int(1.5 * simulation.most_requests / (len(trace) + _DECISION * decisions))


def _long_run(
    simulation: Replicable, count: int, generator: np.random.Generator, drawn: list[str]
) -> Replications | None:
    """Return what stretches of the long run say, None where there is none, or it is too long."""
    from workbench.simulator import Simulation

    trace = simulation.trace
    if not isinstance(simulation, Simulation) or not is_stationary(trace):
        return None
    platform = simulation.fixed_fleet
    if platform is None:
        return None
    most = simulation.most_requests
    seconds = _relaxation_time(simulation, generator, min(_PILOT, most))
    skipped = _WARM_UP * seconds
    length = max(trace.duration, _WANTED * seconds / count)
    length = min(length, max(trace.duration, most / (count * trace.rate) - skipped))
    worth = count * length / seconds if seconds else np.inf
    if not worth >= _LEAST or (skipped + length) * count * trace.rate > 2 * max(most, len(trace)):
        return None
    parts, memories = [], []
    for each in generator.spawn(count):
        longer = redraw(trace, each, stretch=(skipped + length) / trace.duration)
        if longer is None:
            return None
        first = int(np.searchsorted(longer.arrivals, skipped))
        outcome = simulation.again(longer, each).serve()
        parts.append(outcome.latencies[first:])
        memories.append(_memory(outcome, platform))
    if count * length < _LEAST * np.median(memories):  # near a load of 1 the pilot run may mislead
        return None
    about = (
        f"{count} stretches of the long run, {' and '.join(drawn)} drawn again, of about "
        f"{length * trace.rate:,.0f} requests each; the {skipped * trace.rate:,.0f} before, until "
        "the start from empty is forgotten, are left out"
    )
    return Replications.of(parts, about=about, worth=float(worth))


def _relaxation_time(
    simulation: "Simulation", generator: np.random.Generator, requests: int
) -> float:
    """Return the queue's relaxation time, from a pilot run of so many requests; inf if unstable."""
    trace = simulation.trace
    (seed,) = generator.spawn(1)
    pilot = redraw(trace, seed, stretch=max(1.0, requests / len(trace)))
    if pilot is None:
        return np.inf
    return _memory(simulation.again(pilot, seed).serve(), simulation.deployment.platform)


def _memory(outcome: "Outcome", platform: Platform) -> float:
    """Return the relaxation time that an outcome shows, seconds."""
    batches = outcome.batches
    work = np.nan_to_num(batches.finished - batches.started - batches.init)
    return find_relaxation(
        outcome.arrivals[batches.first[:-1]],
        work,
        platform,
        batch_service=float(work.mean()),
    ).seconds
