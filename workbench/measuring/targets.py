"""Where the requests of a run go: this machine, an endpoint on a cloud, or transform jobs.

`open_target` is the one place that chooses between them.
"""

import contextlib
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from workbench.backends.base import Backend, FunctionBackend
from workbench.backends.local import LocalBackend
from workbench.batching.timer import BatchPolicy, Policy
from workbench.cloud.autoscaling import is_registered
from workbench.cloud.aws import Cloud
from workbench.cloud.cost_guard import CostMeter
from workbench.cloud.deploy import DeployedModel, deploy
from workbench.cloud.transform_jobs import TransformJobs, prepare_jobs
from workbench.deployment.platforms import FleetPlatform
from workbench.errors import InvalidInput, NotAvailable, WorkbenchError
from workbench.measuring.collector import RunOptions
from workbench.measuring.limits import bytes_of_trace, check_batches, seconds_of_jobs
from workbench.measuring.load import Load, Rows, replay_in_process
from workbench.measuring.oversubscription import oversubscription_warnings
from workbench.measuring.setup import Setup
from workbench.measuring.transform_run import JobReplay, replay_jobs
from workbench.run.columns import has_column
from workbench.scaling.base import ScalingPolicy
from workbench.validation import of_kind

if TYPE_CHECKING:
    import polars as pl

    from workbench.cloud.fleet_deploy import DeployedFleet

OnRows = Callable[[Rows], None]
OnBegin = Callable[[float], object]


class Report(NamedTuple):
    """What a target adds to a run: its rows, servers numbered; fields of its record; warnings.

    `calls` are the rows of all calls, where there are several places.
    """

    frame: "pl.DataFrame"
    facts: dict[str, Any]
    warnings: list[str]
    calls: "pl.DataFrame | None" = None


class RunTarget(Protocol):
    """Where the requests of one run go, in so many places."""

    origin: str
    backend: Backend
    scaling: ScalingPolicy | None = None
    places: int = 1
    on_begin: OnBegin | None = None

    def send(self, load: Load, on_rows: OnRows, stopped: Event) -> None:
        """Send the load, and pass on the rows of completed requests."""

    def report(
        self, frame: "pl.DataFrame", cores: int, calls: "pl.DataFrame | None" = None
    ) -> Report:
        """Return what the target knows of the rows of a run on a machine of so many cores."""


@contextlib.contextmanager
def open_target(
    setup: Setup,
    on: "Cloud | DeployedModel | DeployedFleet | None",
    options: RunOptions,
    *,
    scaling: ScalingPolicy | None,
    budget: float | None,
    yes: bool,
) -> Iterator[RunTarget]:
    """Open the target of a run, for as long as a `with` block lasts.

    Raises:
        NotAvailable: The deployment needs a cloud, or that cloud needs something.
        InvalidInput: Experiment, cloud and scaling do not fit one another.
        OverBudget: It may cost more than the budget.
    """
    from workbench.cloud.fleet_deploy import DeployedFleet

    if on is None:
        yield LocalTarget(setup)
        return
    deployment = setup.deployment
    if isinstance(on, DeployedModel | DeployedFleet):
        _check_deployed(setup, on, scaling)
        check_batches(setup)
        with _open_deployed(setup, on, budget, stays=True) as target:
            yield target
        return
    of_kind("on", on, Cloud, "a cloud such as LocalCloud() or aws(), or what deploy() returned")
    terms: dict[str, Any] = {"budget": budget, "yes": yes, "stopped": options.stopped}
    if deployment.by_job:
        terms["expected"] = seconds_of_jobs(setup)
        with prepare_jobs(setup.model, deployment, on, **terms) as jobs:
            yield JobsTarget(jobs, setup.policy)
        return
    check_batches(setup)
    terms["expected"] = setup.trace.duration + options.drain
    terms |= {"calls": len(setup.trace), "bytes_in": bytes_of_trace(setup)}
    with deploy(setup.model, deployment, on, scaling=scaling, **terms) as deployed:
        if options.on_deployed:
            options.on_deployed(deployed)
        with _open_deployed(setup, deployed, budget, stays=False) as target:
            yield target


@contextlib.contextmanager
def _open_deployed(
    setup: Setup, deployed: "DeployedModel | DeployedFleet", budget: float | None, *, stays: bool
) -> Iterator[RunTarget]:
    """Open what was deployed, as a fleet where it has places or its size is the run's to change."""
    from workbench.cloud.fleet_deploy import DeployedFleet
    from workbench.measuring.fleet_targets import FleetTarget, ScaledTarget

    with tempfile.TemporaryDirectory(prefix="workbench-counts-") as folder:
        if isinstance(deployed, DeployedFleet):
            yield FleetTarget(setup, deployed, budget, Path(folder), stays=stays)
        elif deployed.scaling is None or is_registered(deployed.scaling):
            yield EndpointTarget(deployed, budget)
        else:
            yield ScaledTarget(deployed, budget, Path(folder), stays=stays)


def _check_deployed(
    setup: Setup, deployed: "DeployedModel | DeployedFleet", scaling: ScalingPolicy | None
) -> None:
    """Require that a deployment is the one of the experiment."""
    if scaling not in (None, deployed.scaling):
        raise InvalidInput(
            "What is there was not deployed with this scaling: deploy(..., scaling=...)."
        )
    if (deployed.model, deployed.deployment) != (setup.model, setup.deployment):
        raise InvalidInput(
            f"What was deployed is {deployed.model.name}, {deployed.deployment.label}, and the "
            f"experiment is {setup.label}: run it with experiment.run(cloud)."
        )


class LocalTarget(RunTarget):
    """The model in a process of its own on this machine.

    Raises:
        NotAvailable: The deployment takes a cloud.
    """

    origin = "measured: this machine"

    def __init__(self, setup: Setup) -> None:
        deployment = setup.deployment
        if deployment.needs:
            raise NotAvailable(
                f"{deployment.label} does not run here. {deployment.needs} "
                "With one: experiment.run(cloud). "
                "On this machine: experiment.on(workbench.Local()).run()."
            )
        workers, threads = deployment.instance_workers, deployment.session_threads
        self.backend: Backend = LocalBackend(setup.model, workers=workers, threads=threads)

    def send(self, load: Load, on_rows: OnRows, stopped: Event) -> None:
        """Send the load from a process of its own, which runs the model too."""
        replay_in_process(load, on_rows=on_rows, stopped=stopped)

    def report(
        self, frame: "pl.DataFrame", cores: int, calls: "pl.DataFrame | None" = None
    ) -> Report:
        """Return the rows."""
        return Report(frame, {}, [])


class EndpointTarget(RunTarget):
    """An endpoint or a function on a cloud, metered while the load is sent."""

    def __init__(self, deployed: DeployedModel, budget: float | None) -> None:
        self.origin = deployed.cloud.origin
        self.backend = deployed.backend()
        self.scaling = deployed.scaling
        self._deployed = deployed
        self._began = time.perf_counter()
        self._meter = CostMeter(
            deployed.deployment,
            deployed.cloud,
            budget,
            launched=deployed.launched,
            fleet=None if deployed.fleet is None else deployed.fleet.seconds,
        )

    @property
    def dollars(self) -> float:
        """What it has cost so far, about."""
        return self._meter.dollars

    def begin(self) -> None:
        """Note that the trace begins now, and tell scaling."""
        self._deployed.begin_scaling()
        self._began = time.perf_counter()

    def add(self, rows: Rows, stopped: Event) -> None:
        """Add the calls of these rows to what it costs, which may set `stopped`."""
        self._meter.add(rows, stopped)

    def send(self, load: Load, on_rows: OnRows, stopped: Event) -> None:
        """Send the load from a process of its own, until the budget is spent at most."""

        def meter(rows: Rows) -> None:
            self.add(rows, stopped)
            on_rows(rows)

        self.begin()
        replay_in_process(load, on_rows=meter, stopped=stopped)

    def report(
        self, frame: "pl.DataFrame", cores: int, calls: "pl.DataFrame | None" = None
    ) -> Report:
        """Return what the cloud tells of the run, and what it does not."""
        facts, warnings = self._instances(), list(self._meter.warnings)
        facts["cloud"] = self._deployed.facts()
        if self.scaling is not None and is_registered(self.scaling):
            try:
                facts["activities"] = self._deployed.scaling_activities()
            except WorkbenchError as error:  # a run is worth more than the history of its scaling
                warnings.append(str(error))
        cloud = self._deployed.cloud
        on_demand = self._deployed.deployment.on_demand
        if on_demand and not has_column(frame, "model_latency"):
            warnings.append(f"{cloud.name} does not tell which starts were cold.")
        if not cloud.paid:
            warnings += oversubscription_warnings(frame, cores)
        return Report(_number_servers(frame), facts, warnings)

    def _instances(self) -> dict[str, Any]:
        """Return when instances were up, in seconds of the run, where they are billed."""
        began, deployment, fleet = self._began, self._deployed.deployment, self._deployed.fleet
        if self.scaling is not None and fleet is not None:
            return {
                "scaling": self.scaling.to_dict(),
                "instances": [(up - began, down - began) for up, down in fleet.spans()],
                "counts": [(at - began, count) for at, count in fleet.counts],
            }
        platform = deployment.platform
        if isinstance(platform, FleetPlatform) and platform.scaling is None:
            span = (self._deployed.launched - began, time.perf_counter() - began)
            return {"instances": [span] * platform.instances}
        return {}


class JobsTarget(RunTarget):
    """Batch transform jobs, each begun when its period has ended."""

    def __init__(self, jobs: TransformJobs, policy: Policy) -> None:
        self.origin = jobs.cloud.origin
        self.backend: Backend = FunctionBackend(lambda _: None)  # jobs answer in its place
        self._jobs = jobs
        self._policy = policy
        self._replay = JobReplay()

    def send(self, load: Load, on_rows: OnRows, stopped: Event) -> None:
        """Run the jobs of the load when they are due."""
        self._replay = replay_jobs(load, self._jobs, on_rows=on_rows, stopped=stopped)

    def report(
        self, frame: "pl.DataFrame", cores: int, calls: "pl.DataFrame | None" = None
    ) -> Report:
        """Return when the instances of jobs were up, and what did not apply."""
        warnings = list(self._replay.warnings)
        if self._policy != BatchPolicy():
            label = self._policy.label
            warnings.append(f"A batch transform job takes no policy: {label} is not applied.")
        facts = {"cloud": self._jobs.facts(), "instances": self._replay.spans}
        return Report(frame, facts, warnings)


def _number_servers(frame: "pl.DataFrame") -> "pl.DataFrame":
    """Return rows whose instances are numbered from 0, in the order they were started."""
    import polars as pl

    known = (pl.col("server") >= 0) & pl.col("error").is_null()
    number = pl.when(known).then(pl.col("server")).rank("dense").cast(pl.Int32) - 1
    return frame.with_columns(server=pl.when(known).then(number).otherwise(-1))
