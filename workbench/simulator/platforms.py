"""What each kind of platform does with batches: from a deployment's settings to the event loops."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from workbench.batching.timer import Policy
from workbench.deployment.base import Deployment
from workbench.deployment.platforms import (
    FleetPlatform,
    JobPlatform,
    OnDemandPlatform,
    Platform,
)
from workbench.deployment.spill import ByDeadline, InFlight, SpillRule, WhileBooting
from workbench.quantiles import longest_within
from workbench.scaling.base import ScalingPolicy
from workbench.scaling.schedule import Schedule
from workbench.scaling.spot import SpotPool
from workbench.service_times import Floats, ServiceTimes
from workbench.simulator import kernels
from workbench.simulator.fleet import FleetPart, Instances, Rescaling, Roster, serve_scaled
from workbench.simulator.kernels import LEAST_OUTSTANDING, RANDOM, SHARED, Batches, Counts
from workbench.simulator.sources import (
    BatchSource,
    ClosedBatches,
    allocate,
    make_batches,
    quantiles_of,
    source_of,
    stack_quantiles,
)
from workbench.traffic.trace import Trace

ROUTING = {"least_outstanding": LEAST_OUTSTANDING, "random": RANDOM, "shared": SHARED}
_NONE: Floats = np.zeros(0)  # of a trace that no loop reads
_NONE.flags.writeable = False  # as a trace's arrivals, for which the loops are compiled


class RandomInputs(NamedTuple):
    """The distributions of a run, and an independent random stream for each kind of draw.

    `phase` is where the record of the server's speed begins, as a share of it.
    """

    services: Sequence[ServiceTimes]  # of each type in a fleet; mostly one
    cold_start: Floats
    service_rng: np.random.Generator
    cold_start_rng: np.random.Generator
    route_rng: np.random.Generator
    phase: float = 0.0

    @property
    def service(self) -> ServiceTimes:
        """The service times, where there is one type of instance."""
        (only,) = self.services
        return only

    @property
    def sampled(self) -> bool:
        """Whether service times are drawn."""
        return any(each.sampled for each in self.services)

    def distributions(self, platform: Platform) -> kernels.ServiceQuantiles:
        """Return service times as the loops take them; what is not metered is one machine."""
        one_machine = isinstance(platform, FleetPlatform) and not platform.metered
        if len(self.services) > 1:
            return stack_quantiles(self.services, self.phase)
        return quantiles_of(self.service, self.phase, one_machine=one_machine)

    def draw_cold_start(self) -> float:
        """Draw the seconds of one cold start."""
        return kernels.draw(self.cold_start, self.cold_start_rng.random())


class ServedBatches(NamedTuple):
    """Batches, served, and who served them.

    `spans` tells when each instance was launched and stopped, None where instances are not billed;
    `servers` how many batches can be served at once where a queue may grow, else 0.
    """

    batches: Batches
    spans: list[tuple[float, float]] | None
    servers: int


def serve(
    trace: Trace,
    policy: Policy,
    deployment: Deployment,
    randomness: RandomInputs,
    scaling: ScalingPolicy | None,
) -> ServedBatches:
    """Return a trace's batches, served on a deployment by the compiled loops.

    Raises:
        InvalidInput: The service times do not cover a batch, or the policy is not known.
    """
    platform = deployment.platform
    if isinstance(platform, JobPlatform):
        return _serve_jobs(trace, platform, randomness)
    source = source_of(trace, policy, randomness.services, randomness.distributions(platform))
    if isinstance(platform, OnDemandPlatform):
        _draw_times(source, randomness)
        serve_on_demand(source, platform, randomness)
        return ServedBatches(source.batches, None, platform.limit if platform.queues else 0)
    instances = serve_fleet(source, platform, randomness, scaling, until=trace.duration)
    return finish_fleet(source.batches, instances, platform, trace.duration, scaling)


def finish_fleet(
    batches: Batches,
    instances: Roster,
    fleet: FleetPlatform,
    until: float,
    scaling: ScalingPolicy | None,
) -> ServedBatches:
    """Return a fleet's batches with the times that its instances ran, at least to `until`."""
    if fleet.rejects:  # what has not begun was refused as it came, and did not wait
        refused = np.isnan(batches.started)
        batches.started[refused] = batches.closed[refused]
    end = max(until, float(np.nanmax(batches.finished, initial=0.0)))
    spans = instances.spans(batches, end) if fleet.metered else None
    return ServedBatches(batches, spans, fleet.servers if scaling is None else 0)


def _draw_times(source: BatchSource, randomness: RandomInputs) -> None:
    """Draw the levels of the batches' service times."""
    if randomness.sampled:
        randomness.service_rng.random(out=source.room.finished)


def serve_on_demand(
    source: BatchSource, platform: OnDemandPlatform, randomness: RandomInputs
) -> None:
    """Serve a source, whose service times are drawn, on instances that start on demand."""
    if len(randomness.cold_start) > 1:
        randomness.cold_start_rng.random(out=source.room.init)
    most = len(source.room.closed)  # instances that can be busy at once
    rules = kernels.OnDemandRules(
        limit=min(platform.limit, most),
        provisioned=min(platform.provisioned, most),
        keep_alive=longest_within(platform.keep_alive),
        queues=platform.queues,
        pace=platform.pace,
        depth=platform.depth,
        cold_start=randomness.cold_start,
    )
    source.serve_on_demand(rules)


def serve_fleet(
    source: BatchSource,
    fleet: FleetPlatform,
    randomness: RandomInputs,
    scaling: ScalingPolicy | None,
    *,
    until: float,
    parts: Sequence[FleetPart] = (),
    mixes: bool = False,
    spill: SpillRule | None = None,
    spot: SpotPool | None = None,
    spot_rng: np.random.Generator | None = None,
) -> Instances:
    """Serve a source on a fleet from beginning to end.

    Args:
        source: The batches.
        fleet: The rules of its platform.
        randomness: What is drawn from.
        scaling: How it changes its size; None: it does not.
        until: When its scaler is asked for the last time, unless batches are left then.
        parts: Its instances by type; by default there is one.
        mixes: Whether its scaler says how many there should be of each.
        spill: Which batches it leaves to an overflow; None: none.
        spot: What takes instances of its type away; None: nothing does.
        spot_rng: What it draws from.
    """
    routing = ROUTING[fleet.routing]
    instances = Instances(
        parts or [FleetPart("", fleet.instances, fleet.workers)],
        routing=routing,
        ttl=longest_within(fleet.ttl),
        batches=len(source.room.closed),
        spill=_limits_of(spill, source.arrivals, is_on=spill is not None or spot is not None),
    )
    _draw_times(source, randomness)
    if routing == RANDOM:
        randomness.route_rng.random(out=source.room.started)

    def advance(now: float, until: float) -> None:
        fleet = instances.arrays
        if isinstance(spill, WhileBooting):
            most = spill.most if instances.booting else kernels.NEVER
            fleet = fleet._replace(spill=fleet.spill._replace(most=most))
        source.serve_fleet(fleet, now, until)

    interruptions = None
    if spot is not None and spot_rng is not None:
        from workbench.simulator.interruptions import Interruptions

        changes = spot.draw_changes(until, seed=spot_rng)
        to_overflow = spill is not None
        interruptions = Interruptions(
            spot, changes, instances, source.room, spot_rng, to_overflow=to_overflow
        )
        scaling = scaling or Schedule(())  # or nobody would ask when instances go
    if scaling is None:
        advance(-np.inf, np.inf)
    else:
        rescaling = Rescaling(
            source,
            instances,
            scaling.scaler(),
            boot=randomness.draw_cold_start,
            least=fleet.least if spill is None and spot is None else 0,
            mixes=mixes,
            interruptions=interruptions,
        )
        serve_scaled(rescaling, advance=advance, until=until)
    return instances


def _limits_of(spill: SpillRule | None, arrivals: Floats, *, is_on: bool) -> kernels.SpillLimits:
    """Return a rule as the loops take it; that of `WhileBooting` is on while instances boot."""
    known = arrivals if is_on else _NONE  # those of jobs would have the loops compiled again
    limits = kernels.SpillLimits(is_on, kernels.NEVER, np.inf, np.zeros(1), known)
    if isinstance(spill, InFlight):
        return limits._replace(most=spill.most)
    if isinstance(spill, ByDeadline):
        latest = spill.latency - spill.margin
        return limits._replace(latest=latest, service=np.array(spill.service, np.float64))
    return limits


def _serve_jobs(trace: Trace, platform: JobPlatform, randomness: RandomInputs) -> ServedBatches:
    """Serve a trace in jobs, each a batch on instances of its own.

    They boot, then take its rows in chunks of the largest size with a service time; the job is
    done when the last chunk is. Its instances are billed from the end of their boot.
    """
    fleet = FleetPlatform(instances=platform.instances)
    distributions = randomness.distributions(fleet)
    first, due = job_bounds(trace, platform.period)
    jobs = make_batches(trace, first, due)
    jobs.cold[:], jobs.server[:], jobs.started[:] = True, -1, due
    for job, rows in enumerate(jobs.rows.tolist()):
        jobs.init[job] = randomness.draw_cold_start()
        full, rest = divmod(rows, randomness.service.largest)
        sizes = np.array([randomness.service.largest] * full + [rest] * (rest > 0))
        begin = np.full(len(sizes), due[job] + jobs.init[job])
        chunks = allocate(np.arange(len(sizes) + 1), begin, sizes)
        source = ClosedBatches(begin, chunks, randomness.services, distributions)
        serve_fleet(source, fleet, randomness, None, until=np.inf)
        jobs.finished[job] = chunks.finished.max()
    spans = zip((due + jobs.init).tolist(), jobs.finished.tolist(), strict=True)
    return ServedBatches(jobs, [span for span in spans for _ in range(platform.instances)], 0)


def job_bounds(trace: Trace, period: float | None) -> tuple[Counts, Floats]:
    """Return the number of each job's first request (and of all requests), and when it starts."""
    if period is None:
        return np.array([0, len(trace)]), np.array([trace.duration])
    turn = np.floor(trace.arrivals / period)
    turn -= turn * period > trace.arrivals  # where the quotient was rounded up
    turn += (turn + 1) * period <= trace.arrivals  # or down
    turns, first = np.unique(turn, return_index=True)
    return np.append(first, len(trace)), (turns + 1) * period
