"""Runs in virtual time: discrete events by the rules of time that live runs follow too.

`simulate` returns a `Run`; `serve` stops short of its rows and returns what became of each batch,
which is all a search over many settings needs::

    service = ServiceTimes.affine(0.006, 0.004, largest=8)
    run = simulate(trace, BatchPolicy(max_size=8, max_wait=0.02), deployment, service, seed=1)
    latency = serve(trace, policy, deployment, service).latencies

The buffer closes batches and the platform serves them. A policy that watches servers learns how
many are free: on demand as many as calls may begin below the limit, on a fleet the workers of the
instances that take batches, less the batches sent to these. A fleet without any counts as one free
server, since only a batch that waits makes it scale. On instances that start on demand a batch
finds a server idle, or starts one; the time after idle holds where the server had been free since
an earlier instant. A cold start ends where its batch's service begins, so that service is not
counted as after idle. Of idle workers or instances the one freed last is taken, and of those freed
at one instant the lowest number.

Service times are drawn independently, unless they come with a record of the server's speed: then a
batch is drawn among the calls of the speed at which it begins, see `workbench.service_times.speed`.

Inferred, since nobody publishes it: Lambda's 1000 new instances every 10 s are a bucket of 1000
tokens refilled evenly (AWS: refilled continuously, unused ones not carried over); a batch that
finds it empty is handled as at the concurrency limit. Lambda's limit on requests a second is left
out. An async instance takes as many batches at once as it has workers, or `concurrency` if that is
less. A batch transform job starts instances of its own and cuts its rows into chunks of the
largest size that has a service time.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cache, cached_property, partial
from typing import TYPE_CHECKING, Any, Protocol, cast, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from workbench.batching.policies import DeadlineAware, Replanned, Steered, WorkConserving
from workbench.batching.timer import BatchPolicy, Policy, require_batcher
from workbench.deployment.base import Deployment
from workbench.deployment.hybrid import Hybrid
from workbench.deployment.mixed_fleet import MixedFleet
from workbench.deployment.platforms import BOOT, FleetPlatform, JobPlatform
from workbench.errors import InvalidInput
from workbench.quantiles import SLO
from workbench.run import Run
from workbench.run.columns import COLUMNS
from workbench.run.record import RunRecord, describe_setup
from workbench.scaling.base import ScalingPolicy, require_policy
from workbench.service_times import Floats, ProfileLike, ServiceTimes
from workbench.traffic.trace import Trace
from workbench.validation import Seed, as_array, generator_from, of_kind

if TYPE_CHECKING:
    import polars as pl

    from workbench.scaling.spot import SpotPool
    from workbench.simulator.hybrid import HybridSimulation
    from workbench.simulator.kernels import Batches
    from workbench.simulator.place_outcomes import RoutedOutcome
    from workbench.simulator.platforms import RandomInputs

Service = ServiceTimes | ProfileLike
"""Where service times come from."""

_COMPILED = (BatchPolicy, DeadlineAware, Replanned, Steered, WorkConserving)
_SIMULATOR_STREAM = 0x51D  # sets the draws apart from those of a trace with the same seed
THROTTLED_ERROR = "throttled: no instance was free, and no more may start"
EXPIRED_ERROR = "expired: waited in the queue for longer than the ttl"


@dataclass(frozen=True, eq=False)
class Outcome:
    """What became of each batch, and of the instances.

    `batches` holds an entry a batch: see `kernels.Batches`. `instances` tells when each instance
    was launched and stopped, in seconds; None where instances are not billed. `servers` is how
    many batches can be served at once where a queue may grow, 0 elsewhere.
    """

    arrivals: Floats
    batches: "Batches"
    instances: list[tuple[float, float]] | None
    servers: int

    def __post_init__(self) -> None:
        """Protect the arrivals, as a trace does: loops are compiled once for arrays like that."""
        view = self.arrivals.view()
        view.flags.writeable = False
        object.__setattr__(self, "arrivals", view)  # it is frozen

    @cached_property
    def latencies(self) -> Floats:
        """Seconds from each request's arrival to its answer, NaN where it failed."""
        from workbench.simulator import kernels

        latency = np.empty(len(self.arrivals))
        kernels.latencies(self.arrivals, self.batches.first, self.batches.finished, latency)
        return latency

    @property
    def busy_seconds(self) -> float:
        """Seconds that batches were served, over all instances together; no cold starts."""
        batches = self.batches
        return float(np.nansum(batches.finished - batches.started - batches.init))

    @property
    def cold(self) -> NDArray[np.bool_]:
        """Whether each request waited for a cold start; of jobs, which always boot, none did."""
        batches = self.batches
        # a job is on no server of its own
        return self.spread((batches.init > 0) & (batches.server >= 0))

    def spread(self, column: NDArray[Any]) -> NDArray[Any]:
        """Return what holds of a batch, an entry for each, for each of its requests."""
        if len(column) == len(self.arrivals):
            return column  # each batch is of one request, and repeating once takes longest
        return np.repeat(column, np.diff(self.batches.first))


class AnswersByRequest(Protocol):
    """What a model answers to each request of a trace."""

    @property
    def correct(self) -> Floats:
        """Share of its rows that are right; NaN where that is not known."""

    def to_list(self) -> list[tuple[Any, float, float]]:
        """Return label, confidence and the share of right rows, by request."""


class KnownAnswers(Protocol):
    """What a model answers to each row of its pool, whatever the load: `Outcomes`, say."""

    def of_requests(self, trace: Trace) -> AnswersByRequest:
        """Return what is answered to each request of a trace."""


def simulate(
    trace: Trace,
    policy: Policy,
    deployment: Deployment,
    service: Service | Sequence[Service],
    *,
    cold_start: ArrayLike | None = None,
    boot: ArrayLike | None = None,
    scaling: ScalingPolicy | None = None,
    spot: "SpotPool | None" = None,
    slo: SLO | None = None,
    seed: Seed = 0,
    replications: int | None = None,
) -> Run:
    """Return what would happen to each request of a trace, in virtual time; the same for a seed.

    Args:
        trace: The requests.
        policy: How they become batches. One of your own making is simulated step by step in plain
            Python, some hundred times slower than those of the workbench.
        deployment: Where they are answered.
        service: Service times, or a profile measured on this machine; of a hybrid or a mixed fleet
            one for each of its `simple_parts`.
        cold_start: Seconds a new instance takes to start: a number, or measured ones to draw from.
            Of a hybrid, those of its functions.
        boot: Those of an instance of a fleet, where they differ. A job waits 180 s where neither is
            given.
        scaling: How a real-time or async fleet changes its size; without it, it does not.
        spot: What takes instances of one type of a fleet away; only scaling replaces them.
        slo: The target, for the run's record.
        seed: Of all draws.
        replications: How many repetitions its intervals come from: see `replication`. By default
            they are made when an interval is asked for that the run itself is too short for.

    The run has a column more than a measured one may have: `init`, the seconds of a batch's cold
    start. Its record warns of what makes the figures doubtful, of a load of 1 or more for example.

    Raises:
        InvalidInput: An argument is not what it must be, or service times miss a batch size.

    >>> from workbench.deployment import Local
    >>> from workbench.traffic.patterns import constant
    >>> times = ServiceTimes({1: 0.25})
    >>> run = simulate(constant(rate=2, duration=2), BatchPolicy(), Local(), times)
    >>> run.origin, run.frame["latency"].to_list()
    ('simulated', [0.25, 0.25, 0.25, 0.25])
    """
    if slo is not None:
        of_kind("slo", slo, SLO, "an SLO")
    simulation = prepare(
        trace,
        policy,
        deployment,
        cast("Any", service),
        cold_start=cold_start,
        boot=boot,
        scaling=scaling,
        spot=spot,
        seed=seed,
    )
    label = f"{deployment.label}, {policy.label}"
    record = describe_setup(trace, policy, deployment, slo, label=label)
    return simulation.run(simulation.serve(), record, replications=replications)


@overload
def serve(
    trace: Trace,
    policy: Policy,
    deployment: Hybrid | MixedFleet,
    service: Sequence[Service],
    **terms: Any,  # noqa: ANN401 - those of `Terms`
) -> "RoutedOutcome": ...


@overload
def serve(
    trace: Trace,
    policy: Policy,
    deployment: Deployment,
    service: Service,
    **terms: Any,  # noqa: ANN401 - those of `Terms`
) -> Outcome: ...


def serve(
    trace: Trace,
    policy: Policy,
    deployment: Deployment,
    service: Service | Sequence[Service],
    **terms: Any,
) -> "Outcome | RoutedOutcome":
    """Return what would become of each batch: `simulate` without rows and record.

    `terms` are those of `Terms`.

    Raises:
        InvalidInput: An argument is not what it must be, or service times miss a batch size.

    >>> from workbench.deployment import Local
    >>> from workbench.traffic.patterns import constant
    >>> times = ServiceTimes({1: 0.25})
    >>> serve(constant(rate=2, duration=2), BatchPolicy(), Local(), times).busy_seconds
    1.0
    """
    return prepare(trace, policy, deployment, cast("Any", service), **terms).serve()


@dataclass(frozen=True, eq=False, kw_only=True)
class Terms:
    """What else decides what becomes of requests: the arguments of `simulate` of these names."""

    cold_start: ArrayLike | None = None
    boot: ArrayLike | None = None
    scaling: ScalingPolicy | None = None
    spot: "SpotPool | None" = None
    seed: Seed = 0

    def find_start(self, deployment: Deployment) -> tuple[str, ArrayLike | None]:
        """Return the seconds that an instance of a deployment takes to start, and their name."""
        if deployment.on_demand or self.boot is None:
            return "cold_start", self.cold_start
        return "boot", self.boot


@overload
def prepare(
    trace: Trace,
    policy: Policy,
    deployment: Hybrid | MixedFleet,
    service: Sequence[Service],
    **terms: Any,  # noqa: ANN401 - those of `Terms`
) -> "HybridSimulation": ...


@overload
def prepare(
    trace: Trace,
    policy: Policy,
    deployment: Deployment,
    service: Service,
    **terms: Any,  # noqa: ANN401 - those of `Terms`
) -> "Simulation": ...


def prepare(
    trace: Trace,
    policy: Policy,
    deployment: Deployment,
    service: Service | Sequence[Service],
    **terms: Any,
) -> "Simulation | HybridSimulation":
    """Return a simulation whose arguments are those of `simulate`, with its errors."""
    given = Terms(**terms)
    scaling = given.scaling
    of_kind("trace", trace, Trace)
    of_kind("deployment", deployment, Deployment)
    require_batcher(policy)
    if scaling is not None:
        require_policy(scaling)
        if not _can_scale(deployment):
            raise InvalidInput(
                f"scaling is for real-time and async fleets, not for {deployment.label}: leave it "
                "out."
            )
    if given.spot is not None:
        from workbench.scaling.spot import SpotPool

        of_kind("spot", given.spot, SpotPool)
    if isinstance(deployment, Hybrid | MixedFleet) or given.spot is not None:
        from workbench.simulator.hybrid import prepare_hybrid

        return prepare_hybrid(trace, policy, deployment, service, given)
    platform = deployment.platform
    if isinstance(platform, FleetPlatform):
        scaling = platform.scaling or scaling  # its own, where it has one: then it takes none
    name, start = given.find_start(deployment)
    service = cast("Service", service)
    warnings = warn_of_settings(
        policy, deployment, service, start=start, scaling=scaling, duration=trace.duration
    )
    if isinstance(platform, JobPlatform) and start is None:
        start = BOOT
    return Simulation(
        trace=trace,
        policy=policy,
        deployment=deployment,
        times=find_times(service, deployment),
        cold_start=sort_starts(name, start),
        scaling=scaling,
        seed=given.seed,
        warnings=warnings,
    )


@dataclass(frozen=True, eq=False, kw_only=True)
class Simulation:
    """A trace, and all that decides what becomes of it.

    Attributes:
        times: Service times, by rows.
        cold_start: Quantiles of the seconds a new instance takes to start; None: it takes none.
        warnings: What was left open, or does not apply.
        answers: What the model answers; None where that is not known.
    """

    trace: Trace
    policy: Policy
    deployment: Deployment
    times: ServiceTimes
    cold_start: Floats | None
    scaling: ScalingPolicy | None
    seed: Seed
    warnings: list[str]
    answers: KnownAnswers | None = None

    def serve(self) -> Outcome:
        """Return what becomes of each batch; all must have service times."""
        from workbench.simulator import platforms, stepwise

        trace, policy, deployment = self.trace, self.policy, self.deployment
        chance = self.random_inputs(self._spawn_streams())
        # Jobs take no policy.
        is_fast = is_compiled(policy) or deployment.by_job
        loops = platforms if is_fast else stepwise
        return Outcome(
            trace.arrivals, *loops.serve(trace, policy, deployment, chance, self.scaling)
        )

    def _spawn_streams(self) -> list[np.random.Generator]:
        """Return what is drawn from: any generators where no draw decides, which takes no time."""
        is_plain = type(self.seed) is int and self.seed >= 0
        return _spare_streams() if is_plain and not self.random_parts else spawn_streams(self.seed)

    def random_inputs(self, streams: list[np.random.Generator]) -> "RandomInputs":
        """Return what is drawn from, given three streams: services, cold starts and routes."""
        from workbench.simulator.platforms import RandomInputs

        quantiles = np.zeros(1) if self.cold_start is None else self.cold_start
        services, starts, routes = streams
        phase = 0.0 if self.times.speed is None else services.random()
        return RandomInputs((self.times,), quantiles, services, starts, routes, phase)

    def again(self, trace: Trace, seed: np.random.Generator) -> "Simulation":
        """Return the same simulation with another trace and other draws."""
        return replace(self, trace=trace, seed=seed)

    @property
    def most_requests(self) -> int:
        """How many requests its repetitions may have in all: fewer where it goes step by step."""
        return 4_000_000 if is_compiled(self.policy) else 200_000

    @property
    def scalings(self) -> tuple[ScalingPolicy | None]:
        """How the size of its fleet changes; None: it does not."""
        return (self.scaling,)

    @property
    def fixed_fleet(self) -> FleetPlatform | None:
        """The fleet whose long run there may be; None where its size is not fixed."""
        platform = self.deployment.platform
        fixed = isinstance(platform, FleetPlatform) and self.scaling is None
        return platform if fixed else None  # type: ignore[return-value]

    @property
    def random_parts(self) -> list[str]:
        """What another seed would change, besides arrivals."""
        cold, platform = self.cold_start, self.deployment.platform
        differs = {
            "service times": self.times.sampled,
            "cold starts": cold is not None and len(cold) > 1,
            "routing": isinstance(platform, FleetPlatform) and platform.routing == "random",
        }
        return [what for what, does in differs.items() if does]

    def run(
        self,
        outcome: Outcome,
        record: RunRecord,
        warnings: Iterable[str] = (),
        *,
        replications: int | None = None,
    ) -> Run:
        """Return the run of an outcome; what was simulated is added to its record, and warnings."""
        from workbench.simulator.replication import replicate, replicate_if_random

        spans = outcome.instances
        overload = overload_warnings(
            self.trace.duration, self.trace.bytes, self.deployment, outcome
        )
        simulated = replace(
            record,
            origin="simulated",
            service=self.times.to_dict(),
            cold_start=None if self.cold_start is None else float(np.mean(self.cold_start)),
            scaling=None if self.scaling is None else self.scaling.to_dict(),
            seed=int(self.seed) if isinstance(self.seed, int | np.integer) else None,
            instances=None if spans is None else tuple(spans),
            warnings=(*self.warnings, *overload, *warnings),
            replications=None if replications is None else replicate(self, replications),
        )
        frame = build_frame(self.trace, outcome, self.answers)
        return Run(frame, simulated, partial(replicate_if_random, self))


def is_compiled(policy: Policy) -> bool:
    """Return whether compiled loops know a policy; others are simulated step by step.

    A class derived from one of those may have a batcher of its own, and counts as another.

    >>> is_compiled(BatchPolicy())
    True
    """
    return type(policy) in _COMPILED


def _can_scale(deployment: Deployment) -> bool:
    if isinstance(deployment, Hybrid):
        return _can_scale(deployment.base)
    return isinstance(deployment, MixedFleet) or bool(
        deployment.scaled_by and isinstance(deployment.platform, FleetPlatform)
    )


def find_times(service: Service, deployment: Deployment) -> ServiceTimes:
    """Return service times on a deployment, given as such or as a profile; refuse others."""
    if isinstance(service, ServiceTimes):
        return service
    if not hasattr(service, "times"):
        raise InvalidInput(f"service must be ServiceTimes or a profile, got {service!r}.")
    return ServiceTimes.from_profile(service, threads=deployment.session_threads)


def sort_starts(name: str, start: ArrayLike | None) -> Floats | None:
    """Return quantiles of the seconds that a start takes, from one number or measured ones.

    Raises:
        InvalidInput: They are not such; `name` is what they are called.
    """
    if start is None:
        return None
    given = np.atleast_1d(as_array(name, start))
    fits = given.dtype.kind in "iuf" and given.ndim == 1 and len(given) > 0
    if not (fits and (np.isfinite(given) & (given >= 0)).all()):
        raise InvalidInput(f"{name} must be seconds, 0 or more, or a list of such, got {start!r}.")
    return np.sort(given.astype(np.float64))


@cache
def _spare_streams() -> list[np.random.Generator]:
    return spawn_streams(0)


def spawn_streams(seed: Seed, count: int = 3) -> list[np.random.Generator]:
    """Return independent generators, independent of those of a trace of the same seed too."""
    generator = generator_from(seed)
    if not isinstance(seed, np.random.Generator):
        generator = np.random.default_rng([int(seed), _SIMULATOR_STREAM])
    return generator.spawn(count)


def build_frame(
    trace: Trace,
    outcome: Outcome,
    answers: KnownAnswers | None,
    requests: NDArray[np.int64] | slice = slice(None),
    place: int = 0,
) -> "pl.DataFrame":
    """Return the rows of a run, and `init`: of those requests of a trace that a place was asked."""
    import polars as pl

    batches, count = outcome.batches, len(outcome.arrivals)
    finished = outcome.spread(batches.finished)
    correct = np.full(count, np.nan)
    if answers is not None:
        right = answers.of_requests(trace).correct[requests]
        correct = np.where(np.isnan(finished), np.nan, right)
    sizes = np.diff(batches.first)
    columns: dict[str, NDArray[Any]] = {
        "request": np.arange(len(trace), dtype=np.uint32)[requests],
        "scheduled": trace.arrivals[requests],
        "sent": outcome.arrivals,
        "rows": trace.rows[requests],
        "place": np.full(count, place, np.uint8),
        "correct": correct,
        "finished": finished,
        "latency": finished - outcome.arrivals,
        "batch": outcome.spread(np.arange(len(sizes))),
        "batch_size": outcome.spread(sizes.astype(np.int32)),
        **{
            name: outcome.spread(getattr(batches, name))
            for name in ("started", "server", "cold", "init")
        },
    }
    failure = (
        pl.when(pl.col("started").is_nan())
        .then(pl.lit(EXPIRED_ERROR))
        .otherwise(pl.lit(THROTTLED_ERROR))
    )
    error = pl.when(pl.col("finished").is_nan()).then(failure)
    return pl.DataFrame(columns).with_columns(error=error).select(*COLUMNS, "init")


def warn_of_settings(
    policy: Policy,
    deployment: Deployment,
    service: Service,
    *,
    start: ArrayLike | None,
    scaling: ScalingPolicy | None,
    duration: float,
) -> list[str]:
    """Return warnings of what the caller left open, or what does not apply."""
    from workbench.scaling.predictive import explain_unlearned

    warnings = [why] if (why := explain_unlearned(scaling, duration)) else []
    starts = deployment.on_demand or scaling is not None
    if deployment.by_job and start is None:
        warnings.append(
            f"Each job waits {BOOT:g} s for its instances (assumed): give boot=, in seconds."
        )
    elif starts and start is None:
        name = "boot" if scaling is not None else "cold_start"
        warnings.append(f"New instances start without delay: give {name}=, in seconds.")
    if deployment.by_job and policy != BatchPolicy():
        warnings.append(f"A batch transform job takes no policy: {policy.label} is not applied.")
    if deployment.needs and not isinstance(service, ServiceTimes):
        warnings.append(
            "Service times are those measured on this machine with 1 thread, whatever the "
            f"deployment: {deployment.label} may be faster or slower."
        )
    return warnings


def overload_warnings(
    seconds: float, content: NDArray[np.int64], deployment: Deployment, outcome: Outcome
) -> list[str]:
    """Return warnings of queues that only grow, and of calls that AWS ends or refuses.

    Args:
        seconds: How long requests came.
        content: Bytes of each.
        deployment: Where they were answered.
        outcome: What became of them.
    """
    from workbench.simulator.call_limits import find_broken_calls

    warnings = []
    servers = outcome.servers
    load = outcome.busy_seconds / (servers * seconds) if servers else 0.0
    if load >= 1:
        warnings.append(
            f"Load is {load:.3g}: more work arrives than {servers} server{'s' * (servers > 1)} can "
            "do. The queue grows for as long as the trace lasts, and so do the latencies."
        )
    return [*warnings, *find_broken_calls(outcome.batches, deployment, content).warnings]
