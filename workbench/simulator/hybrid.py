"""Virtual time of fleets that mix types, leave batches to functions, or are spot.

The base is served first, to its end, and marks what spills over; functions then serve that in order
of time, since they have nothing to do with the base. A batch that is hedged goes to both: its
requests are answered by the earlier, and both are billed.

A batch has the service level that it would have without the other part: a base that nothing leaves
fares as the fleet alone, and one that takes nothing leaves functions to fare as they do alone. The
second call of a hedged batch has a level of its own.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

from workbench.batching.policies import Steered, WorkConserving
from workbench.batching.timer import Policy
from workbench.deployment.base import Deployment
from workbench.deployment.hybrid import Hybrid
from workbench.deployment.mixed_fleet import MixedFleet
from workbench.deployment.platforms import FleetPlatform, OnDemandPlatform
from workbench.errors import InvalidInput
from workbench.run import Run
from workbench.run.record import RunRecord
from workbench.scaling.base import ScalingPolicy
from workbench.scaling.spot import SpotPool
from workbench.service_times import Floats, ServiceTimes
from workbench.simulator import (
    EXPIRED_ERROR,
    THROTTLED_ERROR,
    KnownAnswers,
    Outcome,
    Terms,
    find_times,
    is_compiled,
    sort_starts,
    spawn_streams,
    warn_of_settings,
)
from workbench.simulator.place_outcomes import (
    PlaceOutcome,
    PlacesSimulation,
    RoutedOutcome,
    SimulatedPlace,
)
from workbench.traffic.trace import Trace
from workbench.validation import as_tuple

if TYPE_CHECKING:
    from workbench.simulator.fleet import FleetPart, Instances
    from workbench.simulator.kernels import Batches

Numbers = NDArray[np.int64]


def prepare_hybrid(
    trace: Trace, policy: Policy, deployment: Deployment, service: object, terms: Terms
) -> "HybridSimulation":
    """Return a simulation whose arguments were checked: see `workbench.simulator.prepare`."""
    scaling = terms.scaling
    _check_policy(policy, deployment, terms.spot)
    parts = deployment.simple_parts
    given = as_tuple("service", service) if isinstance(service, Sequence) else (service,)
    if len(given) != len(parts):
        raise InvalidInput(
            f"{deployment.label} takes service times for each of {len(parts)} parts, "
            f"got {len(given)}: give a sequence of ServiceTimes."
        )
    warnings = [
        warn_of_settings(
            policy,
            part,
            times,
            start=terms.find_start(part)[1],
            scaling=None if part.on_demand else scaling,
            duration=trace.duration,
        )
        for part, times in zip(parts, given, strict=True)
    ]
    could_know = getattr(scaling, "quantile", None) is None  # what a request costs on functions
    if isinstance(deployment, Hybrid) and could_know and getattr(scaling, "call_price", 0) is None:
        warnings[0].append(
            "The scaling policy plans as if nothing took what spills over: give it call_price=, "
            "in US dollars a request."
        )
    return HybridSimulation(
        trace=trace,
        policy=policy,
        deployment=deployment,
        times=tuple(find_times(times, part) for times, part in zip(given, parts, strict=True)),
        cold_start=sort_starts("cold_start", terms.cold_start),
        boot=sort_starts(*terms.find_start(parts[0])),
        scaling=scaling,
        spot=terms.spot,
        seed=terms.seed,
        warnings=tuple(warnings),
    )


def _check_policy(policy: Policy, deployment: Deployment, spot: SpotPool | None) -> None:
    """Require a policy that closes batches whatever servers do, and spot instances in the fleet."""
    watches = isinstance(policy, WorkConserving | Steered)
    if watches and (isinstance(deployment, Hybrid) or spot is not None):
        raise InvalidInput(
            f"{policy.label} sends batches to free servers only, which is not simulated beside "
            "functions or spot instances: use a BatchPolicy, a Replanned or a DeadlineAware."
        )
    types = [part.size for part in deployment.simple_parts if part.scaled_by]
    if spot is not None and (spot.instance_type not in types or deployment.on_demand):
        raise InvalidInput(
            f"{deployment.label} has no instances of {spot.instance_type!r} that could be spot."
        )
    if not is_compiled(policy):
        raise InvalidInput(
            f"{deployment.label} is simulated with policies of the workbench only, got "
            f"{policy!r}: use a BatchPolicy, a Replanned or a DeadlineAware."
        )


@dataclass(frozen=True, eq=False, kw_only=True)
class HybridSimulation(PlacesSimulation):
    """A trace, and a hybrid or a mixed fleet that answers it.

    Attributes:
        times: Service times of each simple part, by rows.
        cold_start: Quantiles of the seconds that a function takes to start; None: none.
        boot: Those that an instance takes.
        warnings: By simple part, what was left open or does not apply.
        answers: What the model answers; None where that is not known.
    """

    policy: Policy
    deployment: Deployment
    times: tuple[ServiceTimes, ...]
    cold_start: Floats | None
    boot: Floats | None
    scaling: ScalingPolicy | None
    spot: SpotPool | None
    warnings: tuple[list[str], ...]
    answers: KnownAnswers | None = None
    most_requests = 4_000_000

    @property
    def simulated_places(self) -> tuple[SimulatedPlace, ...]:
        """The simple parts, under the names of their places."""
        deployment = self.deployment
        return tuple(
            SimulatedPlace(name, part, self.answers, warnings)
            for name, part, warnings in zip(
                deployment.place_names, deployment.simple_parts, self.warnings, strict=True
            )
        )

    @property
    def scalings(self) -> tuple[ScalingPolicy | None]:
        """How the size of its fleet changes; None: it does not."""
        return (self.scaling,)

    @property
    def base(self) -> Deployment:
        """The fleet."""
        return self.deployment.base if isinstance(self.deployment, Hybrid) else self.deployment

    @property
    def random_parts(self) -> list[str]:
        """What another seed would change, besides arrivals."""
        starts = [each for each in (self.cold_start, self.boot) if each is not None]
        platform = cast("FleetPlatform", self.base.platform)
        differs = {
            "service times": any(each.sampled for each in self.times),
            "cold starts": any(len(each) > 1 for each in starts),
            "routing": platform.routing == "random",
            "interruptions": self.spot is not None,
        }
        return [what for what, does in differs.items() if does]

    def run(
        self,
        outcome: RoutedOutcome,
        record: RunRecord,
        warnings: Iterable[str] = (),
        *,
        replications: int | None = None,
    ) -> Run:
        """Return the run of an outcome; how its fleet scaled is added to its record, too."""
        known = replace(
            record,
            cold_start=None if self.cold_start is None else float(np.mean(self.cold_start)),
            scaling=None if self.scaling is None else self.scaling.to_dict(),
            spot=None if self.spot is None else self.spot.to_dict(),
        )
        if len(outcome.places) == 1 and (spans := outcome.places[0].outcome.instances) is not None:
            known = replace(known, instances=tuple(spans))
        return super().run(outcome, known, warnings, replications=replications)

    def serve(self) -> RoutedOutcome:
        """Return what becomes of each request; batches must have service times, scalers a count."""
        return _HybridSteps(self).run()


class _HybridSteps:
    """The base, the overflow, and what came of both."""

    def __init__(self, simulation: HybridSimulation) -> None:
        from workbench.simulator.platforms import RandomInputs

        self._simulation, self._trace = simulation, simulation.trace
        deployment = simulation.deployment
        self._hybrid = deployment if isinstance(deployment, Hybrid) else None
        self._types = simulation.base.simple_parts
        streams = spawn_streams(simulation.seed, 6)
        levels, boots, routes, self._levels, starts, self._spot_rng = streams
        times, none = simulation.times, np.zeros(1)
        phase = 0.0 if all(each.speed is None for each in times) else levels.random()
        boot = none if simulation.boot is None else simulation.boot
        cold_start = none if simulation.cold_start is None else simulation.cold_start
        count = len(self._types)
        self._base = RandomInputs(times[:count], boot, levels, boots, routes, phase)
        self._overflow = RandomInputs(times[count:], cold_start, levels, starts, routes, phase)

    def run(self) -> RoutedOutcome:
        """Serve the base, then what it left."""
        from workbench.simulator.kernels import TO_COME, TO_OVERFLOW
        from workbench.simulator.platforms import finish_fleet, serve_fleet
        from workbench.simulator.sources import source_of

        simulation, trace = self._simulation, self._trace
        platform = cast("FleetPlatform", simulation.base.platform)
        source = source_of(
            trace, simulation.policy, self._base.services, self._base.distributions(platform)
        )
        instances = serve_fleet(
            source,
            platform,
            self._base,
            simulation.scaling,
            until=trace.duration,
            parts=_list_types(self._types, self._base.services),
            mixes=isinstance(simulation.base, MixedFleet),
            spill=None if self._hybrid is None else self._hybrid.spill,
            spot=simulation.spot,
            spot_rng=self._spot_rng,
        )
        batches, overflow = source.batches, []
        stranded = batches.server == TO_COME  # in a shared queue whose instances never came back
        batches.started[stranded] = batches.finished[stranded] = np.nan
        batches.server[stranded] = -1
        offered = self._list_offers(batches, instances)
        if self._hybrid is not None:
            overflow = [self._serve_overflow(self._hybrid, batches, offered)]
        elif simulation.spot is not None:  # what found no instance has failed
            failed = batches.server == TO_OVERFLOW
            batches.started[failed], batches.finished[failed] = offered[failed], np.nan
            batches.server[failed] = -1
        last = [float(np.nanmax(each.outcome.batches.finished, initial=0.0)) for each in overflow]
        served = finish_fleet(
            batches, instances, platform, max([trace.duration, *last]), simulation.scaling
        )
        servers = 0 if overflow else served.servers
        places = [*self._split(batches, instances, served.spans, servers), *overflow]
        return _merge(trace, places)

    def _list_offers(self, batches: "Batches", instances: "Instances") -> Floats:
        """Return when each batch was offered: as it closed, or as its instance was gone."""
        if not instances.offered_again:
            return batches.closed
        offered = batches.closed.copy()
        offered[list(instances.offered_again)] = list(instances.offered_again.values())
        if self._hybrid is not None:  # its second call came before, perhaps
            offered = np.minimum(offered, batches.closed + self._hybrid.spill.hedge_after)
        return offered

    def _serve_overflow(self, hybrid: Hybrid, batches: "Batches", offered: Floats) -> PlaceOutcome:
        """Serve what the base left, and what it had not answered when its hedge was due."""
        from workbench.simulator.kernels import TO_OVERFLOW
        from workbench.simulator.platforms import serve_on_demand
        from workbench.simulator.sources import ClosedBatches

        chosen = np.flatnonzero(batches.server == TO_OVERFLOW)
        at, levels = offered[chosen], batches.finished[chosen]
        batches.finished[chosen] = np.nan
        if math.isfinite(after := hybrid.spill.hedge_after):
            due = batches.closed + after
            # "not in time" rather than "late", as the end of a batch that failed is NaN
            hedged = np.flatnonzero((batches.server != TO_OVERFLOW) & ~(batches.finished <= due))
            at, chosen = np.append(at, due[hedged]), np.append(chosen, hedged)
            levels = np.append(levels, self._levels.random(len(hedged)))
        if offered is not batches.closed or math.isfinite(after):  # else they are in order
            order = np.argsort(at, kind="stable")
            at, chosen, levels = at[order], chosen[order], levels[order]
        platform = cast("OnDemandPlatform", hybrid.overflow.platform)
        requests, calls = _take(batches, chosen)
        calls.closed[:], calls.finished[:] = at, levels
        arrivals = self._trace.arrivals[requests]
        distributions = self._overflow.distributions(platform)
        source = ClosedBatches(arrivals, calls, self._overflow.services, distributions)
        serve_on_demand(source, platform, self._overflow)
        servers = platform.limit if platform.queues else 0
        return PlaceOutcome(requests, Outcome(arrivals, calls, None, servers))

    def _split(
        self,
        batches: "Batches",
        instances: "Instances",
        spans: list[tuple[float, float]] | None,
        servers: int,
    ) -> list[PlaceOutcome]:
        """Return what each type of the base did; what no instance took is the first one's."""
        from workbench.simulator.kernels import TO_OVERFLOW

        part = np.array(instances.part, np.int64)
        places = []
        for number, _ in enumerate(self._types):
            is_its = batches.server != TO_OVERFLOW
            own = spans
            if len(self._types) > 1:
                its = np.flatnonzero(part == number)
                is_its &= np.where(batches.server < 0, 0, part[batches.server.clip(0)]) == number
                own = spans and [spans[each] for each in its]
            if is_its.all():
                requests, mine = np.arange(len(self._trace)), batches
            else:
                chosen = np.flatnonzero(is_its)
                requests, mine = _take(batches, chosen, in_place=len(self._types) == 1)
                if len(self._types) > 1:  # instances of a type are numbered from 0
                    mine.server[:] = np.where(mine.server < 0, -1, its.searchsorted(mine.server))
            arrivals = self._trace.arrivals[requests]
            places.append(PlaceOutcome(requests, Outcome(arrivals, mine, own, servers)))
        return places


def _list_types(parts: Sequence[Deployment], services: Sequence[ServiceTimes]) -> "list[FleetPart]":
    """Return the instances of a fleet by type; a type's weight is its time for a small batch.

    One of several workers takes so many times less.
    """
    from workbench.simulator.fleet import FleetPart

    height = max(len(each.table) for each in services)
    fleets = [cast("FleetPlatform", part.platform) for part in parts]
    means = np.full((len(parts), height), np.nan)
    for row, (fleet, service) in enumerate(zip(fleets, services, strict=True)):
        means[row, : len(service.means)] = service.means / fleet.workers
    # the smallest batch that all types have a time for
    covered = means[:, ~np.isnan(means).any(0)]
    seconds = covered[:, 0] if covered.size else np.ones(len(parts))
    weights = np.rint(1000 * seconds / seconds.min()).astype(int).tolist()
    return [
        FleetPart(
            name=str(part.size),
            instances=fleet.instances,
            workers=fleet.workers,
            offset=number * height,
            weight=weight if len(parts) > 1 else 1,
        )
        for number, (part, fleet, weight) in enumerate(zip(parts, fleets, weights, strict=True))
    ]


def _take(
    batches: "Batches", chosen: Numbers, *, in_place: bool = False
) -> "tuple[Numbers, Batches]":
    """Return the requests of some batches, and copies of these batches.

    `in_place`, the copies of ascending numbers take the room of all: memory costs more than time.
    """
    from workbench.simulator import kernels
    from workbench.simulator.sources import allocate

    count = len(chosen)
    sizes = batches.first[chosen + 1] - batches.first[chosen]
    requests = np.empty(sizes.sum(), np.int64)
    if in_place:
        others = {name: each[:count] for name, each in batches._asdict().items()}
        room = batches._replace(**others | {"first": batches.first[: count + 1]})
    else:
        room = allocate(np.empty(count + 1, np.int64), np.empty(count), np.empty(count, np.int64))
    kernels.take_batches(batches, chosen, room, requests)
    return requests, room


def _merge(trace: Trace, places: list[PlaceOutcome]) -> RoutedOutcome:
    """Return whose answer each request got: the earlier, and of equal ones the first place's."""
    from workbench.simulator import kernels

    given = np.zeros(len(trace), np.uint8)
    tried = np.zeros(len(trace), np.uint8)
    finished = np.full(len(trace), np.nan)
    for number, (requests, outcome) in enumerate(places):
        kernels.merge_answers(number, requests, outcome.batches, finished, given, tried)
    return RoutedOutcome(
        arrivals=trace.arrivals,
        places=tuple(places),
        given=given,
        finished=finished,
        tried=tried,
        errors=_list_errors(places, given, finished),
        events=(),
    )


def _list_errors(places: list[PlaceOutcome], given: Any, finished: Floats) -> dict[int, str]:  # noqa: ANN401
    """Return what went wrong, by request."""
    errors: dict[int, str] = {}
    if not np.isnan(finished).any():
        return errors
    for number, (requests, outcome) in enumerate(places):
        began = outcome.spread(outcome.batches.started)
        failed = np.isnan(finished[requests]) & (given[requests] == number)
        for request, start in zip(requests[failed].tolist(), began[failed].tolist(), strict=True):
            errors[request] = EXPIRED_ERROR if math.isnan(start) else THROTTLED_ERROR
    return errors
