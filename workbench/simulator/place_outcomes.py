"""What became of requests at several places, and the run of it."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from operator import attrgetter
from typing import TYPE_CHECKING, ClassVar, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from workbench.deployment.base import Deployment
from workbench.routing.calls import PlaceEvent, describe_events
from workbench.run import Run
from workbench.run.record import RunRecord
from workbench.service_times import Floats
from workbench.simulator import KnownAnswers, Outcome, build_frame, overload_warnings
from workbench.traffic.trace import Context, Trace
from workbench.validation import Seed

if TYPE_CHECKING:
    import polars as pl

    from workbench.scaling.base import ScalingPolicy


class PlaceOutcome(NamedTuple):
    """What became of the requests that one place was asked, by their numbers in the trace."""

    requests: NDArray[np.int64]
    outcome: Outcome


@dataclass(frozen=True, eq=False, kw_only=True)
class RoutedOutcome:
    """What became of each request, and of each call at each place.

    Attributes:
        arrivals: When requests arrived, seconds.
        places: What each place was asked.
        given: The place whose answer each request got, or that failed last.
        finished: When it got it, seconds; NaN where it failed.
        tried: How many places were asked.
        errors: What went wrong, by the number of a request that failed.
        events: Places that were left out, or taken back.
    """

    arrivals: Floats
    places: tuple[PlaceOutcome, ...]
    given: NDArray[np.uint8]
    finished: Floats
    tried: NDArray[np.uint8]
    errors: dict[int, str]
    events: tuple[PlaceEvent, ...]

    @cached_property
    def latencies(self) -> Floats:
        """Seconds from each request's arrival to its answer, NaN where it failed."""
        return self.finished - self.arrivals

    @property
    def cold(self) -> NDArray[np.bool_]:
        """Whether each request's answer waited for a cold start."""
        cold = np.zeros(len(self.arrivals), dtype=bool)
        for place, (requests, outcome) in enumerate(self.places):
            init = outcome.spread(outcome.batches.init)
            cold[requests] |= (self.given[requests] == place) & (init > 0)
        return cold


class SimulatedPlace(NamedTuple):
    """A place of a simulation.

    `warnings` say what was left open about it, or does not apply.
    """

    name: str
    deployment: Deployment
    answers: KnownAnswers | None
    warnings: list[str]


@dataclass(frozen=True, eq=False, kw_only=True)
class PlacesSimulation(ABC):
    """A simulation whose requests are answered at one of several places.

    Attributes:
        trace: The requests.
        seed: Of all draws.
        context_of: Returns the kind of each request of a trace, None where it has none.
        most_requests: How many requests its repetitions may have in all.
    """

    trace: Trace
    seed: Seed = 0
    context_of: Callable[[Trace], Context | None] = attrgetter("context")
    most_requests: ClassVar[int]

    @property
    @abstractmethod
    def simulated_places(self) -> tuple[SimulatedPlace, ...]:
        """The places, in their order."""

    @property
    @abstractmethod
    def scalings(self) -> Sequence["ScalingPolicy | None"]:
        """How the size of each fleet changes; None: it does not."""

    @property
    def contexts(self) -> list[str]:
        """The kind of each request, "" where it has none."""
        found = self.context_of(self.trace)
        return [""] * len(self.trace) if found is None else found.tolist()

    @property
    @abstractmethod
    def random_parts(self) -> list[str]:
        """What another seed would change, besides arrivals."""

    def again(self, trace: Trace, seed: np.random.Generator) -> Self:
        """Return the same simulation with another trace and other draws."""
        return replace(self, trace=trace, seed=seed)

    @abstractmethod
    def serve(self) -> RoutedOutcome:
        """Return what becomes of each request."""

    def run(
        self,
        outcome: RoutedOutcome,
        record: RunRecord,
        warnings: Iterable[str] = (),
        *,
        replications: int | None = None,
    ) -> Run:
        """Return the run of an outcome; what was simulated is added to its record, and warnings."""
        from workbench.simulator.replication import replicate, replicate_if_random

        calls = self._calls(outcome)
        members = tuple(
            replace(each, instances=None if spans is None else tuple(spans))
            for each, spans in zip(
                record.members or (),
                (each.outcome.instances for each in outcome.places),
                strict=False,
            )
        )
        simulated = replace(
            record,
            origin="simulated",
            places=tuple(place.name for place in self.simulated_places),
            members=members or None,
            seed=int(self.seed) if isinstance(self.seed, int | np.integer) else None,
            warnings=(*self._warnings(outcome), *warnings),
            replications=None if replications is None else replicate(self, replications),
        )
        again = partial(replicate_if_random, self)
        return Run(self._frame(outcome, calls), simulated, calls=calls, replicate=again)

    def _calls(self, outcome: RoutedOutcome) -> "pl.DataFrame":
        """Return a row for each call, in order of requests and then of places."""
        import polars as pl

        frames, batches = [], 0
        for number, (requests, place) in enumerate(outcome.places):
            answers = self.simulated_places[number].answers
            frame = build_frame(self.trace, place, answers, requests, number)
            frames.append(frame.with_columns(pl.col("batch") + batches))
            batches += len(place.batches.closed)
        return pl.concat(frames).sort("request", "place")

    def _frame(self, outcome: RoutedOutcome, calls: "pl.DataFrame") -> "pl.DataFrame":
        """Return a row for each request: that of the call whose answer it got, when it got it."""
        import polars as pl

        given = outcome.given[calls["request"].to_numpy()] == calls["place"].to_numpy()
        errors: list[str | None] = [None] * len(self.trace)
        for request, error in outcome.errors.items():
            errors[request] = error
        failed = np.isnan(outcome.finished)
        return calls.filter(given).with_columns(
            sent=pl.col("scheduled"),
            finished=outcome.finished,
            latency=outcome.latencies,
            correct=pl.when(pl.Series(failed)).then(np.nan).otherwise(pl.col("correct")),
            error=pl.Series(errors, dtype=pl.String),
            tried=outcome.tried,
            context=pl.Series(self.contexts, dtype=pl.String),
        )

    def _warnings(self, outcome: RoutedOutcome) -> Iterator[str]:
        """Return warnings of each place, under its name where there are several."""
        places = self.simulated_places
        for place, (requests, served) in zip(places, outcome.places, strict=True):
            own = list(place.warnings)
            if len(requests):
                seconds = max(self.trace.duration, served.arrivals.max())
                content = self.trace.bytes[requests]
                own += overload_warnings(seconds, content, place.deployment, served)
            yield from (f"{place.name}: {each}" if len(places) > 1 else each for each in own)
        yield from describe_events(outcome.events, [place.name for place in places])
