"""One experiment: a model, where it runs, its traffic, how requests are batched, and the target."""

import contextlib
import dataclasses
import json
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from workbench.backends.base import Backend, FunctionBackend
from workbench.backends.lambda_ import event_bytes
from workbench.backends.local import LocalBackend
from workbench.batching.timer import BatchPolicy, Policy
from workbench.cloud.aws import Cloud
from workbench.cloud.cost_guard import (
    START_AND_STOP_SECONDS,
    CostMeter,
    check_payload,
    estimate_max_cost,
)
from workbench.cloud.deploy import DeployedModel, deploy
from workbench.cloud.transform_jobs import prepare_jobs
from workbench.costing import Cost
from workbench.deployment import (
    Async,
    BatchTransform,
    Deployment,
    Lambda,
    Local,
    RealTime,
    Serverless,
)
from workbench.errors import InvalidInput, NotAvailable, StorageError, WorkbenchError
from workbench.files import as_path
from workbench.measuring.load import Load, Rows, lag_facts, replay_in_process
from workbench.measuring.profile import Profile
from workbench.measuring.profile_cache import (
    ensure_profile,
    machine_environment,
    read_service_times,
)
from workbench.measuring.transform_run import plan_jobs, replay_jobs
from workbench.prediction import predict
from workbench.provenance import environment
from workbench.queueing import Prediction
from workbench.registry.api import Model
from workbench.run import SLO, Run
from workbench.scaling import ScalingPolicy, StepScaling, TargetTracking
from workbench.service_times import ServiceTimes
from workbench.simulator import simulate
from workbench.sizing import Size, service_on
from workbench.traffic.map import MAP
from workbench.traffic.map_fitting import MapFit
from workbench.traffic.trace import Trace
from workbench.validation import Seed, of_kind

if TYPE_CHECKING:
    import polars as pl

Progress = Callable[[int, int], None]
"""Told how many requests, or rows of a profile, are over and done with, of how many."""

_TOLD = ("model_latency", "overhead_latency", "init")  # seconds, as an endpoint tells them
_HEADER_BYTES = 128  # before the rows of a batch that is sent as NumPy's format
_JOB_ROWS = 32  # rows in a chunk of a batch transform job
_CROWDED = 0.1  # share of the work above which it is said that instances shared processors
_KEEP_EVERY = 1.0  # seconds between two times that a run under way is saved
_KEEP_SHARE = 20  # and at least as many times what saving it took


@dataclass(frozen=True)
class Experiment:
    """What is to be found out: how this model does, deployed so, under this traffic.

    An experiment is a value. `run` finds out by doing, `simulate` in virtual time, `predict` by a
    formula. `on` and `dataclasses.replace` give the
    same experiment with something else in it.

    Raises:
        InvalidInput: A part is not of the kind it must be.
    """

    model: Model
    deployment: Deployment
    trace: Trace
    policy: Policy = field(default_factory=BatchPolicy)
    slo: SLO | None = None

    def __post_init__(self) -> None:
        for name, kind in (("model", Model), ("deployment", Deployment), ("trace", Trace)):
            part = getattr(self, name)
            if not isinstance(part, kind):
                raise InvalidInput(f"{name} must be a {kind.__name__}, got {part!r}.")
        if not hasattr(self.policy, "batcher"):
            raise InvalidInput(f"policy must be a policy such as BatchPolicy, got {self.policy!r}.")
        if self.slo is not None:
            of_kind("slo", self.slo, SLO, "an SLO")

    @property
    def label(self) -> str:
        """The experiment in a few words, for charts and tables."""
        return self._label(None)

    def _label(self, scaling: ScalingPolicy | None) -> str:
        """Return the label of the experiment where the deployment's size follows a policy."""
        place = self.deployment.label
        if isinstance(scaling, TargetTracking | StepScaling):
            place += f" scaled {scaling.least} to {scaling.most}"
        elif scaling is not None:
            place += " scaled"
        return f"{self.model.name}, {place}, {self.policy.label}"

    def on(self, deployment: Deployment) -> "Experiment":
        """Return the same experiment on another deployment."""
        return dataclasses.replace(self, deployment=deployment)

    def run(
        self,
        on: Cloud | DeployedModel | None = None,
        *,
        scaling: ScalingPolicy | None = None,
        budget: float | None = None,
        yes: bool = False,
        progress: Progress | None = None,
        on_rows: Callable[[Rows], None] | None = None,
        on_deployed: Callable[[DeployedModel], None] | None = None,
        stopped: threading.Event | None = None,
        drain: float = 60.0,
        keep: str | Path | None = None,
    ) -> Run:
        """Return what happened when the trace was really sent, in real time.

        The load is generated in a process of its own, which on a `Local` deployment also runs the
        model. `on_rows` receives the requests that have come to an end four times a second, and
        up to fifty times when they are many.
        Setting `stopped`, or Ctrl-C, ends the run early: it then holds the requests that were
        answered until then, and is marked incomplete. Requests without an answer `drain` seconds
        after the trace's end have failed, unless they are in a batch transform job.

        Args:
            on: The cloud to deploy on, for this run; or a deployment that is there already and
                stays. A `Local` deployment needs none.
            scaling: What its size follows, as in `simulate`: a `TargetTracking` or `StepScaling`,
                done by Application Auto Scaling. What it did and the counts of instances are in
                the run's facts, and those instances are billed.
            budget: The most that it may cost, in US dollars: a run that reaches it is ended early.
            yes: Whether it may cost money without asking.
            progress: Told how many requests are over and done with.
            on_rows: Given the rows of those requests.
            on_deployed: Given what was deployed for this run, before its first request.
            stopped: Ends the run when it is set.
            drain: Seconds.
            keep: A folder for the run that is there when this process is not any more: the rows
                that have come, about once a second, and in the end the whole; `load_run` reads it.

        Raises:
            Stopped: It was stopped before it was deployed.
            StorageError: `keep` exists already.
            NotAvailable: The deployment needs a cloud, or that cloud needs something.
            InvalidInput: A batch can be too large for the deployment, or it does not go on a cloud.
            OverBudget: It may cost more than the budget.
            CloudError: The cloud refused, or not all could be torn down.
            WorkbenchError: The model could not be loaded, or the process died.
        """
        told = _Told(
            progress, on_rows, stopped or threading.Event(), drain, _new(keep), on_deployed
        )
        if scaling is not None and (on is None or isinstance(self.deployment, BatchTransform)):
            raise InvalidInput(
                f"{self.deployment.label} is not scaled: only a real-time, asynchronous or "
                "serverless endpoint on a cloud is."
            )
        run = self._run_on(on, told, scaling, budget=budget, yes=yes)
        return run if told.keep is None else _kept(run, told.keep)

    def estimate(self, *, drain: float = 60.0) -> Cost:
        """Return the most that `run` can cost on a cloud that costs money.

        Raises:
            InvalidInput: The deployment does not go on a cloud.
        """
        if isinstance(self.deployment, BatchTransform):
            return estimate_max_cost(self.deployment, self._jobs_take(self.deployment, drain))
        return estimate_max_cost(self.deployment, self.trace.duration + drain, **self._sent)

    def _run_on(
        self,
        on: Cloud | DeployedModel | None,
        told: "_Told",
        scaling: ScalingPolicy | None,
        *,
        budget: float | None,
        yes: bool,
    ) -> Run:
        if isinstance(on, Cloud) and isinstance(self.deployment, BatchTransform):
            return self._run_jobs(self.deployment, on, told, budget=budget, yes=yes)
        if isinstance(on, DeployedModel):
            if scaling not in (None, on.scaling):
                raise InvalidInput(
                    f"{on.name} was not deployed with this scaling: deploy(..., scaling=...)."
                )
            return self._run_deployed(on, told, budget)
        if on is not None:
            with self._deployed(on, told, scaling, budget=budget, yes=yes) as deployed:
                if told.on_deployed:
                    told.on_deployed(deployed)
                return self._run_deployed(deployed, told, budget)
        if not isinstance(self.deployment, Local):
            raise NotAvailable(
                f"A {self.deployment.kind} deployment does not run here. {self.deployment.needs} "
                "With one: experiment.run(cloud). "
                "On this machine: experiment.on(workbench.Local()).run()."
            )
        backend = LocalBackend(self.model, self.deployment)
        return self._run(backend, told, {"origin": "measured: this machine"})

    def _deployed(
        self,
        cloud: Cloud,
        told: "_Told",
        scaling: ScalingPolicy | None,
        *,
        budget: float | None,
        yes: bool,
    ) -> AbstractContextManager[DeployedModel]:
        """Return the deployment that this experiment needs, for as long as it needs it."""
        self._check_payload()
        return deploy(
            self.model,
            self.deployment,
            cloud,
            scaling=scaling,
            budget=budget,
            yes=yes,
            expected=self.trace.duration + told.drain,
            stopped=told.stopped,
            **self._sent,
        )

    @property
    def _sent(self) -> dict[str, Any]:
        """How many calls the trace can be, and the bytes in all of them."""
        size = float(self.trace.rows.sum()) * self._row_bytes
        return {"calls": len(self.trace), "bytes_in": size}

    def _jobs_take(self, deployment: BatchTransform, drain: float) -> float:
        """Return the seconds for which instances of batch transform jobs can be up."""
        load = self._load(FunctionBackend(lambda _: None), drain)
        several = len(plan_jobs(load, deployment.period))
        return self.trace.duration + (several - 1) * START_AND_STOP_SECONDS

    def _run_deployed(self, deployed: DeployedModel, told: "_Told", budget: float | None) -> Run:
        """Return the run on an endpoint, with what the cloud has to tell about it."""
        if (deployed.model, deployed.deployment) != (self.model, self.deployment):
            raise InvalidInput(
                f"{deployed.name} is {deployed.model.name}, {deployed.deployment.label}, and the "
                f"experiment is {self.label}: run it with experiment.run(cloud)."
            )
        self._check_payload()
        fleet = deployed.fleet
        meter = CostMeter(
            self.deployment,
            deployed.cloud,
            budget,
            launched=deployed.launched,
            fleet=None if fleet is None else fleet.seconds,
        )
        began = time.perf_counter()
        run = self._run(
            deployed.backend(),
            told.also(lambda rows: meter.add(rows, told.stopped)),
            {"origin": deployed.cloud.origin, "cloud": deployed.facts},
        )
        facts = {**run.facts, "warnings": [*run.warnings, *meter.warnings]}
        if isinstance(self.deployment, RealTime | Async):
            span = (deployed.launched - began, time.perf_counter() - began)
            facts["instances"] = [span] * self.deployment.count
        if deployed.scaling is not None and fleet is not None:
            facts |= {
                "label": self._label(deployed.scaling),
                "scaling": deployed.scaling.to_dict(),
                "instances": [(up - began, down - began) for up, down in fleet.spans()],
                "counts": [(at - began, count) for at, count in fleet.counts],
            }
            try:
                facts["activities"] = deployed.scaled()
            except WorkbenchError as error:  # the run is worth more than what scaling says of it
                facts["warnings"].append(str(error))
        if isinstance(self.deployment, Serverless) and "model_latency" not in run.frame.columns:
            facts["warnings"].append(f"{deployed.cloud.name} does not tell which starts were cold.")
        if not deployed.cloud.paid:
            facts["warnings"] += _crowded(run.frame, facts["environment"]["cores"])
        return Run(_renumbered(run.frame), facts)

    def _run(self, backend: Backend, told: "_Told", more: Mapping[str, Any]) -> Run:
        """Return the run on a backend that the load generator's process opens.

        A fact of `more` may be a function: then it is called when the trace has been sent.
        """
        load = self._load(backend, told.drain)
        created, started = datetime.now(UTC), time.perf_counter()
        known = {name: fact for name, fact in more.items() if not callable(fact)}
        facts = {**self._measured(created, started), **known} if told.keep else {}
        collected = _Collected(self.trace, told, facts)
        replay_in_process(load, on_rows=collected.take, stopped=told.stopped)
        more = {name: fact() if callable(fact) else fact for name, fact in more.items()}
        return collected.run({**self._measured(created, started), **more})

    def _run_jobs(
        self,
        deployment: BatchTransform,
        cloud: Cloud,
        told: "_Told",
        *,
        budget: float | None,
        yes: bool,
    ) -> Run:
        """Return the run of batch transform jobs, each begun when its period is over."""
        load = self._load(FunctionBackend(lambda _: None), told.drain)  # jobs answer instead
        with prepare_jobs(
            self.model,
            deployment,
            cloud,
            budget=budget,
            yes=yes,
            expected=self._jobs_take(deployment, told.drain),
            stopped=told.stopped,
        ) as jobs:
            created, started = datetime.now(UTC), time.perf_counter()
            known = {**self._measured(created, started), "origin": cloud.origin}
            collected = _Collected(self.trace, told, known)
            replayed = replay_jobs(load, jobs, on_rows=collected.take, stopped=told.stopped)
            facts = {
                **self._measured(created, started),
                "origin": cloud.origin,
                "cloud": jobs.facts(),
                "instances": replayed.spans,
            }
        run = collected.run(facts)
        warnings = [*run.warnings, *replayed.warnings]
        if self.policy != BatchPolicy():
            label = self.policy.label
            warnings.append(f"A batch transform job takes no policy: {label} is not applied.")
        return Run(run.frame, {**run.facts, "warnings": warnings})

    def _measured(self, created: datetime, started: float) -> dict[str, Any]:
        """Return what a run keeps of the experiment, and of when and where it was measured."""
        return {
            **self.facts(),
            "created": created.isoformat(timespec="seconds"),
            "seconds": time.perf_counter() - started,
            "environment": environment(),
        }

    def _load(self, backend: Backend, drain: float) -> Load:
        samples = self.model.samples()
        return Load(
            trace=self.trace,
            policy=self.policy,
            backend=backend,
            inputs=samples.inputs,
            targets=samples.targets,
            correct=self.model.correct,
            drain=drain,
        )

    def _check_payload(self) -> None:
        size = self.largest * self._row_bytes + _HEADER_BYTES
        sent = event_bytes(size) if isinstance(self.deployment, Lambda) else size
        check_payload(self.deployment, sent)

    @property
    def _row_bytes(self) -> int:
        return int(self.model.samples().inputs[:1].nbytes)

    def simulate(
        self,
        profile: Profile | ServiceTimes | None = None,
        *,
        cold_start: ArrayLike | None = None,
        scaling: ScalingPolicy | None = None,
        seed: Seed = 0,
        measured: Mapping[Size, ServiceTimes] | None = None,
        progress: Progress | None = None,
    ) -> Run:
        """Return what would happen when the trace is sent, in virtual time; the same for a seed.

        Args:
            profile: Service times on this machine. By default those kept for the model and this
                machine: what is missing in them is measured first, which takes some seconds once.
            cold_start: Seconds a new instance takes to start: a number, or ones to draw from.
            scaling: How a real-time or async fleet changes its size; without it, it does not.
            seed: Of all draws.
            measured: Service times by memory in MB or instance type, instead of the rule of
                `workbench.sizing`.
            progress: Told about the measurement of a profile.

        Raises:
            InvalidInput: An argument is not what it must be, or service times miss a batch size.
        """
        started, created = time.perf_counter(), datetime.now(UTC)
        times, facts, warnings = self._service(profile, measured, progress)
        run = simulate(
            self.trace,
            self.policy,
            self.deployment,
            times,
            cold_start=cold_start,
            scaling=scaling,
            slo=self.slo,
            seed=seed,
        )
        told = {
            **run.facts,
            **self.facts(),
            "label": self._label(scaling),
            "profile": facts,
            "created": created.isoformat(timespec="seconds"),
            "seconds": time.perf_counter() - started,
            "environment": machine_environment(),
            "warnings": [*run.warnings, *warnings],
        }
        return Run(run.frame, told)

    def predict(
        self,
        profile: Profile | ServiceTimes | None = None,
        *,
        arrivals: MapFit | MAP | None = None,
        measured: Mapping[Size, ServiceTimes] | None = None,
        progress: Progress | None = None,
    ) -> Prediction:
        """Return what a formula says of the experiment, where one exists.

        Its `assumptions` name what it leaves out: limits and cold starts above all. `arrivals` is
        the arrival process, by default the one fitted to the trace; the other arguments are those
        of `simulate`.

        Raises:
            NotPredictable: No formula exists, or the load is 1 or more: simulate instead.
            InvalidInput: Service times miss a batch size.
            TooFewSamples: The trace is too short to fit an arrival process to.
        """
        times, _, warnings = self._service(profile, measured, progress)
        found = predict(self.trace, self.policy, self.deployment, times, arrivals=arrivals)
        said = (*found.assumptions, *warnings)
        return dataclasses.replace(found, assumptions=said, label=self.label, slo=self.slo)

    @property
    def largest(self) -> int:
        """The most rows that a batch of this experiment can have."""
        if isinstance(self.deployment, BatchTransform):
            return _JOB_ROWS
        return self.policy.max_size * int(self.trace.rows.max())

    def kept_profile(self, *, progress: Progress | None = None) -> Profile:
        """Return the profile kept for the model on this machine, which covers this experiment.

        What is missing in it is measured first: see `workbench.measuring.profile_cache`.
        """
        return ensure_profile(
            self.model, largest=self.largest, threads=self._threads, progress=progress
        )

    @property
    def profiled_as(self) -> tuple[str, int]:
        """Which kept profile is read: that of the model's sha256 and so many threads."""
        return self.model.sha256, self._threads

    def service(self, profile: Profile | ServiceTimes) -> ServiceTimes:
        """Return the service times that a profile of this machine gives on the deployment."""
        return self._service(profile, None, None)[0]

    @property
    def _threads(self) -> int:
        return self.deployment.threads if isinstance(self.deployment, Local) else 1

    def _service(
        self,
        profile: Profile | ServiceTimes | None,
        measured: Mapping[Size, ServiceTimes] | None,
        progress: Progress | None,
    ) -> tuple[ServiceTimes, dict[str, Any], list[str]]:
        """Return service times on the deployment, facts about where they are from, warnings."""
        times, facts, warnings = self._service_here(profile, progress)
        on = service_on(times, self.deployment, measured=measured, threads=self._threads)
        return on, facts, warnings

    def _service_here(
        self, profile: Profile | ServiceTimes | None, progress: Progress | None
    ) -> tuple[ServiceTimes, dict[str, Any], list[str]]:
        if isinstance(profile, ServiceTimes):
            return profile, profile.to_dict(), []
        if profile is None:
            profile = self.kept_profile(progress=progress)
        if not isinstance(profile, Profile):
            raise InvalidInput(f"profile must be a Profile or ServiceTimes, got {profile!r}.")
        times, facts = read_service_times(profile, threads=self._threads)
        return times, facts, self._doubts(profile)

    def _doubts(self, profile: Profile) -> list[str]:
        """Return warnings of what the profile cannot know about the deployment."""
        theirs = profile.facts.get("model", {}).get("sha256")
        warnings = []
        if theirs is not None and theirs != self.model.sha256:
            warnings.append(f"The profile is of another model: {profile.label}.")
        cores = profile.facts.get("environment", {}).get("cores")
        if isinstance(self.deployment, Local) and cores:
            asked = self.deployment.workers * self.deployment.threads
            if asked > cores:
                warnings.append(
                    f"{self.deployment.label} wants {asked} cores, and the profiled machine has "
                    f"{cores}: busy workers slow each other down, which is not counted."
                )
        return warnings

    def facts(self) -> dict[str, Any]:
        """Return what the experiment consists of as JSON values; files and arrays by hash."""
        facts = {
            "label": self.label,
            "model": {
                "name": self.model.name,
                "sha256": self.model.sha256,
                "traits": dataclasses.asdict(self.model.traits),
                "lineage": self.model.lineage,
            },
            "deployment": self.deployment.to_dict(),
            "policy": self.policy.to_dict(),
            "trace": {
                "name": self.trace.name,
                "requests": len(self.trace),
                "duration": self.trace.duration,
                "sha256": self.trace.digest,
                "notice": self.trace.notice,
            },
            "slo": None if self.slo is None else dataclasses.asdict(self.slo),
        }
        return dict(json.loads(json.dumps(facts, default=str)))


@dataclass(frozen=True)
class _Told:
    """Who hears of a run, and how it ends."""

    progress: Progress | None
    on_rows: Callable[[Rows], None] | None
    stopped: threading.Event
    drain: float
    keep: Path | None
    on_deployed: Callable[[DeployedModel], None] | None = None

    def also(self, hear: Callable[[Rows], None]) -> "_Told":
        """Return the same with one more that hears of rows."""

        def both(rows: Rows) -> None:
            hear(rows)
            if self.on_rows:
                self.on_rows(rows)

        return dataclasses.replace(self, on_rows=both)


class _Collected:
    """Rows as they come in, and what is known of the run meanwhile."""

    def __init__(self, trace: Trace, told: _Told, facts: Mapping[str, Any]) -> None:
        self._trace = trace
        self._told = told
        self._facts = facts
        self._done = 0
        self._parts: list[Rows] = []
        self._save_at = time.monotonic() + _KEEP_EVERY

    def take(self, rows: Rows) -> None:
        """Keep rows, and tell who wants to know."""
        self._parts.append(rows)
        self._done += len(rows["request"])
        if self._told.on_rows:
            self._told.on_rows(rows)
        if self._told.progress:
            self._told.progress(self._done, len(self._trace))
        if self._told.keep is not None and time.monotonic() >= self._save_at:
            self._save(self._told.keep)

    def _save(self, folder: Path) -> None:
        """Save what there is, and not again before that can take little of the time."""
        began = time.monotonic()
        with contextlib.suppress(StorageError):  # the end says so; no reason to end a run
            self.run(self._facts).save(folder, overwrite=True)
        ended = time.monotonic()
        self._save_at = ended + max(_KEEP_EVERY, _KEEP_SHARE * (ended - began))

    def run(self, facts: Mapping[str, Any]) -> Run:
        """Return all rows as a run, in order of the trace, with what the generator's lag means."""
        if not self._parts:
            return Run.from_arrays(scheduled=[], finished=[], facts={**facts, "complete": False})
        trace, requests = self._trace, _joined(self._parts, "request")
        order = np.argsort(requests)
        columns = {name: _joined(self._parts, name)[order] for name in self._parts[0]}
        scheduled = trace.arrivals[columns["request"]]
        lag = lag_facts(columns["sent"] - scheduled, columns["finished"] - scheduled)
        complete = len(requests) == len(trace)
        if not complete:
            lag["warnings"].append(
                f"Stopped early: {len(requests)} of {len(trace)} requests came to an end."
            )
        facts = {**facts, **lag, "complete": complete, "retries": int(columns.pop("retries").sum())}
        told = {name: columns.pop(name) for name in _TOLD}
        finished = columns.pop("finished")
        run = Run.from_arrays(
            scheduled=scheduled, finished=finished, origin=facts["origin"], facts=facts, **columns
        )
        return Run(run.frame.with_columns(**_known(told)), run.facts)


def _new(folder: str | Path | None) -> Path | None:
    """Return where a run is to be kept, which must not be there yet."""
    if folder is None:
        return None
    path = as_path(folder)
    if path.exists():
        raise StorageError(f"{path} exists already: keep the run in a folder of another name.")
    return path


def _kept(run: Run, folder: Path) -> Run:
    """Return the run with word of where it is kept, or why it is not."""
    if not len(run):
        return run
    kept = Run(run.frame, {**run.facts, "kept": str(folder)})
    try:
        kept.save(folder, overwrite=True)
    except StorageError as error:
        return Run(run.frame, {**run.facts, "warnings": [*run.warnings, f"Not kept: {error}"]})
    return kept


def _known(columns: Mapping[str, NDArray[np.float64]]) -> dict[str, "pl.Series"]:
    """Return the columns that say something."""
    import polars as pl

    return {name: pl.Series(each) for name, each in columns.items() if np.nan_to_num(each).any()}


def _crowded(frame: "pl.DataFrame", cores: int) -> list[str]:
    """Return a warning where instances on this machine shared its processors for long."""
    if "model_latency" not in frame.columns:
        return []
    import polars as pl

    calls = frame.unique("batch").drop_nulls("model_latency").drop_nans("finished")
    took = calls["model_latency"].fill_nan(0.0)
    if "init" in calls.columns:
        took += calls["init"].fill_nan(0.0)
    calls = calls.with_columns(began=calls["finished"] - took).sort("server", "began")
    free = pl.col("finished").cum_max().shift(1).over("server")  # for what waited in the instance
    calls = calls.with_columns(began=pl.max_horizontal("began", free))
    calls = calls.filter(pl.col("began") < pl.col("finished"))
    times = np.concatenate([calls["began"].to_numpy(), calls["finished"].to_numpy()])
    order = np.argsort(times, kind="stable")
    at_once = np.cumsum(np.repeat([1, -1], len(calls))[order])[:-1]
    work = at_once * np.diff(times[order])
    share = float(work[at_once > cores].sum() / (work.sum() or 1.0))
    if share <= _CROWDED:
        return []
    warning = (
        f"Up to {at_once.max()} instances computed at once on this machine's {cores} processors, "
        f"{100 * share:.0f} % of the work in such times. On AWS each has its own: latencies, cold "
        "starts and cost here are not AWS's."
    )
    return [warning]


def _renumbered(frame: "pl.DataFrame") -> "pl.DataFrame":
    """Return rows whose instances are numbered from 0, in the order they were started."""
    import polars as pl

    known = (pl.col("server") >= 0) & pl.col("error").is_null()
    number = pl.when(known).then(pl.col("server")).rank("dense").cast(pl.Int32) - 1
    return frame.with_columns(server=pl.when(known).then(number).otherwise(-1))


def _joined(parts: list[Rows], name: str) -> NDArray[Any]:
    kind = object if name == "error" else None
    return np.concatenate([np.asarray(part[name], dtype=kind) for part in parts])
