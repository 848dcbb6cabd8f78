"""One experiment: a model, where it runs, its traffic, how requests are batched, and the target.

Several models, and a router that chooses among them for each request, are an `Ensemble`.

The engines are imported by the methods that need them: the value alone loads none of them.
"""

import dataclasses
import math
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, cast

from workbench.batching.timer import BatchPolicy, Policy
from workbench.errors import InvalidInput

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import ArrayLike

    from workbench.cloud.aws import Cloud
    from workbench.cloud.deploy import DeployedModel
    from workbench.cloud.ensemble_deploy import DeployedEnsemble
    from workbench.deployment.base import Deployment, Size
    from workbench.ensemble import Ensemble
    from workbench.measuring.deployed_times import DeployedTimes
    from workbench.measuring.load import Rows
    from workbench.measuring.profile import Profile
    from workbench.measuring.setup import RoutedSetup, Setup
    from workbench.pricing.cost import Cost
    from workbench.quantiles import SLO
    from workbench.queueing.predictions import Prediction
    from workbench.registry.api import Registry
    from workbench.registry.model import Model
    from workbench.run import Run
    from workbench.run.record import RunRecord
    from workbench.scaling.base import ScalingPolicy
    from workbench.scaling.spot import SpotPool
    from workbench.service_times import ServiceTimes
    from workbench.traffic.map import MAP
    from workbench.traffic.map_fitting import MapFit
    from workbench.traffic.trace import Context, Trace
    from workbench.validation import Seed

Progress = Callable[[int, int], None]
"""Notified of how many requests, or rows of a profile, are completed, of how many."""

_FACTS = ("label", "model", "deployment", "policy", "trace", "slo")  # what an experiment is
_ROUTED_FACTS = ("members", "router", "patience")  # and one of an ensemble
_JOB_ROWS = 32  # rows in a chunk of a batch transform job
_SHARE_SEED = 0  # of the draw of requests that one of several like servers gets


@dataclass(frozen=True)
class Experiment:
    """A model, a deployment, a trace, a batching policy and a latency target.

    In place of a model there may be an `Ensemble`, as in `Experiment(ensemble, trace=trace)`: each
    of its members has a deployment and a policy, the deployment of the experiment is made of
    theirs, and its policy is not used. A plan or a profile of one is that of its members: `alone`.

    An experiment is a value. `run` measures what happens, `simulate` computes it in virtual time,
    `predict` by a formula. `on` and `dataclasses.replace` give the same experiment with something
    else in it.

    What a request carries is counted alike by all three, and by a plan: the bytes that the trace
    tells, else `row_bytes` a row, by default those of the model's rows. Of the answer to a row
    `answer_bytes` are, by default those of the model's, where all are alike.

    Raises:
        InvalidInput: A part is not of the kind it must be.
    """

    model: "Model | Ensemble"
    deployment: "Deployment" = None  # type: ignore[assignment]  # an ensemble has its own
    trace: "Trace" = None  # type: ignore[assignment]  # it must be given, by its name at least
    policy: Policy = field(default_factory=BatchPolicy)
    slo: "SLO | None" = None
    row_bytes: float | None = None
    answer_bytes: float | None = None

    def __post_init__(self) -> None:
        from workbench.deployment.base import Deployment
        from workbench.ensemble import Ensemble
        from workbench.quantiles import SLO
        from workbench.registry.model import Model
        from workbench.traffic.trace import Trace
        from workbench.validation import not_negative, of_kind

        if isinstance(self.model, Ensemble):
            self._take_deployments(self.model)
        of_kind("model", self.model, Model | Ensemble, "a Model or an Ensemble")
        for name, kind in (("deployment", Deployment), ("trace", Trace)):
            of_kind(name, getattr(self, name), kind)
        if not hasattr(self.policy, "batcher"):
            raise InvalidInput(f"policy must be a policy such as BatchPolicy, got {self.policy!r}.")
        if isinstance(self.model, Model):
            self.model.check_policy(self.policy)
        if self.slo is not None:
            of_kind("slo", self.slo, SLO, "an SLO")
        for name in ("row_bytes", "answer_bytes"):
            if getattr(self, name) is not None:
                not_negative(name, getattr(self, name), "bytes")

    def _take_deployments(self, ensemble: "Ensemble") -> None:
        """Make the deployment of the experiment out of those of the members."""
        from workbench.deployment.places import RoutedDeployment

        if not isinstance(self.deployment, RoutedDeployment | None):
            raise InvalidInput(
                f"The members of an ensemble have deployments of their own, got "
                f"{self.deployment.label} beside them: give Experiment(ensemble, trace=trace)."
            )
        if self.policy != BatchPolicy():
            raise InvalidInput(
                f"The members of an ensemble have policies of their own, got {self.policy!r} "
                "beside them: give Member(model, deployment, policy)."
            )
        object.__setattr__(self, "deployment", ensemble.deployment)  # it is frozen

    @classmethod
    def of_run(cls, run: "Run", models: "Registry", **given: object) -> "Experiment":
        """Return the experiment that a saved run was of, with the requests that came then.

        Args:
            run: Of one model, batched by size and timer.
            models: Where its model is, under the name it has in the run.
            given: Fields, for a run that does not say them; None is not given.

        Raises:
            InvalidInput: The run does not say what it was of, or something else than is given.
            NotFound: Its model is not there.
        """
        from workbench.traffic.trace import Trace

        record, rows = run.record, run.frame.sort("scheduled", maintain_order=True)
        policy, asked = dict(record.policy or {"kind": ""}), record.trace
        model = models[record.model.name] if record.model else None
        said = {
            "model": model,
            "deployment": record.deployment,
            "policy": BatchPolicy(**policy) if policy.pop("kind") == "timed" else None,
            "slo": record.slo,
        }
        if model and record.model and model.sha256 != record.model.sha256:
            raise InvalidInput(
                f"{record.model.name} of {models.path} is another file than the run's: "
                "name the registry that holds it."
            )
        if unknown := sorted(given.keys() - said.keys()):
            raise InvalidInput(f"A run is not said to have {unknown}: choose of {[*said]}.")
        for name, value in given.items():
            known = said[name]
            alike = getattr(value, "sha256", value) == getattr(known, "sha256", known)
            if None not in (value, known) and not alike:
                there, here = (getattr(e, "label", getattr(e, "name", e)) for e in (known, value))
                raise InvalidInput(f"The run's {name} is {there}, not {here}: leave it out.")
        parts: dict[str, Any] = {name: given.get(name) or value for name, value in said.items()}
        if lacking := [name for name in ("model", "deployment", "policy") if parts[name] is None]:
            raise InvalidInput(f"The run does not say its {', '.join(lacking)}: give it as well.")
        due, sizes = rows["scheduled"].to_numpy(), rows["rows"].to_numpy()
        duration = (asked and asked.duration) or float(due.max(initial=0.0))
        trace = Trace(due, duration, rows=sizes, name=asked.name if asked else "")
        return cls(trace=trace, **parts)

    @property
    def ensemble(self) -> "Ensemble | None":
        """The ensemble of the experiment; None where there is one model."""
        from workbench.ensemble import Ensemble

        return self.model if isinstance(self.model, Ensemble) else None

    @property
    def _one_model(self) -> "Model":
        """The model of a plain experiment; an `InvalidInput` is raised where there are several."""
        from workbench.registry.model import Model

        if not isinstance(self.model, Model):
            raise InvalidInput(
                f"{self.label} has several models: ask of one, with experiment.alone(name)."
            )
        return self.model

    def _plain(self) -> "Setup":
        """Return the experiment as one that has a single model."""
        _ = self._one_model
        return cast("Setup", self)

    def _of_ensemble(self) -> "RoutedSetup":
        """Return the experiment as one that has an ensemble."""
        return cast("RoutedSetup", self)

    def _setups(self) -> "list[Setup]":
        """Return the experiment, or as many as its ensemble has members, each alone."""
        if self.ensemble is None:
            return [self._plain()]
        return [self.alone(name)._plain() for name in self.ensemble.names]  # noqa: SLF001 - its own

    def alone(self, name: str) -> "Experiment":
        """Return the experiment in which a member of the ensemble answers all requests.

        Raises:
            InvalidInput: There is no such member, or no ensemble.
        """
        members = {} if self.ensemble is None else self.ensemble.members
        if name not in members:
            raise InvalidInput(f"{self.label} has no member {name!r}; it has {list(members)}.")
        member = members[name]
        parts = member.model, member.deployment, self.trace, member.policy, self.slo
        return Experiment(*parts, self.row_bytes, self.answer_bytes)

    @cached_property
    def data_sizes(self) -> tuple[float, float | None]:
        """Bytes of a row in a request and of its answer: those given, else those of the model."""
        model = self._setups()[0].model
        sent, given = self.row_bytes, self.answer_bytes
        return (
            model.row_bytes if sent is None else sent,
            model.answer_bytes if given is None else given,
        )

    @cached_property
    def load(self) -> "Trace":
        """The trace, with the bytes of each request as far as they are known."""
        return dataclasses.replace(self.trace, bytes=self.trace.content(self.data_sizes[0]))

    @property
    def label(self) -> str:
        """The experiment in a few words, for charts and tables."""
        return self._label(None)

    def _label(self, scaling: "ScalingPolicy | None") -> str:
        """Return the label of the experiment where the deployment's size follows a policy."""
        from workbench.registry.model import Model

        if not isinstance(self.model, Model):
            return self.model.label
        deployment = self.deployment.label
        if scaling is not None:
            deployment += " scaled"
            least, most = getattr(scaling, "least", None), getattr(scaling, "most", None)
            if least is not None:
                deployment += f" {least} to {most}"
            by = getattr(scaling, "forecaster", None)
            deployment += f" by {scaling.to_dict()['kind']}"
            deployment += f" ({type(by).__name__})" if by is not None else ""
        return f"{self.model.name}, {deployment}, {self.policy.label}"

    @cached_property
    def context(self) -> "Context | None":
        """The kind of each request: the trace's, else that of the first row that it carries."""
        return self._setups()[0].model.samples().context_of(self.trace)

    def on(self, deployment: "Deployment") -> "Experiment":
        """Return the same experiment on another deployment.

        Raises:
            InvalidInput: It is one of an ensemble, whose members have their own.
        """
        return dataclasses.replace(self, deployment=deployment)

    def run(
        self,
        on: "Cloud | DeployedModel | DeployedEnsemble | None" = None,
        *,
        scaling: "ScalingPolicy | None" = None,
        budget: float | None = None,
        yes: bool = False,
        progress: Progress | None = None,
        on_rows: "Callable[[Rows], None] | None" = None,
        on_deployed: "Callable[[Any], None] | None" = None,
        stopped: threading.Event | None = None,
        drain: float = 60.0,
        keep: "str | Path | None" = None,
    ) -> "Run":
        """Return what happened when the trace was really sent, in real time.

        The load is generated in a process of its own, which without a cloud also runs the model. Of
        several like servers this machine is one, and gets its share of the requests: see `here`.
        A run that is ended early holds the requests that were answered until then, and is marked
        incomplete.

        Args:
            on: The cloud to deploy on, for this run; or a deployment that is there already and
                stays. A machine of one's own needs none.
            scaling: What its size follows, as in `simulate`. What Application Auto Scaling has it
                does: a `TargetTracking`, `StepScaling` or `Schedule` of one variant. Any other
                policy of real-time instances this process carries out, and puts the count back.
                What was done and the counts of instances are in the run's record, and those
                instances are billed.
            budget: The most that it may cost, in US dollars: a run that reaches it is ended early.
            yes: Whether it may cost money without asking.
            progress: Notified of how many requests are completed.
            on_rows: Given their rows, four times a second, up to fifty times when they are many.
            on_deployed: Given what was deployed for this run, before its first request.
            stopped: Ends the run when it is set, as Ctrl-C does.
            drain: Seconds after the trace's end from which on requests without an answer have
                failed, unless they are in a batch transform job.
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
        from workbench.files import as_path
        from workbench.measuring.collector import RunOptions
        from workbench.measuring.measure import measure
        from workbench.measuring.routed_run import measure_ensemble

        options = RunOptions(
            progress=progress,
            on_rows=on_rows,
            on_deployed=on_deployed,
            stopped=stopped or threading.Event(),
            drain=drain,
            folder=None if keep is None else as_path(keep),
        )
        terms: dict[str, Any] = {"scaling": scaling, "budget": budget, "yes": yes}
        if self.ensemble is not None:
            return measure_ensemble(self._of_ensemble(), cast("Any", on), options, **terms)
        return measure(self._plain(), cast("Any", on), options, **terms)

    def estimate(self, *, drain: float = 60.0, scaling: "ScalingPolicy | None" = None) -> "Cost":
        """Return the most that `run` can cost on a cloud that costs money.

        With `scaling`, all instances that the policy may give count all the time, and its alarms.

        Raises:
            InvalidInput: The deployment does not go on a cloud, or the policy has no `most`.
        """
        from workbench.measuring.limits import estimate_cost

        return estimate_cost(self._setups(), self.deployment, drain=drain, scaling=scaling)

    def simulate(
        self,
        profile: "Profile | ServiceTimes | Mapping[str, Profile | ServiceTimes] | None" = None,
        *,
        cold_start: "ArrayLike | None" = None,
        boot: "ArrayLike | None" = None,
        scaling: "ScalingPolicy | None" = None,
        spot: "SpotPool | None" = None,
        seed: "Seed" = 0,
        replications: int | None = None,
        measured: "Mapping[Size, ServiceTimes] | None" = None,
        progress: Progress | None = None,
    ) -> "Run":
        """Return what would happen when the trace is sent, in virtual time; the same for a seed.

        Of an ensemble, cold starts and scaling are those of every member. What a classifier answers
        to the rows that the trace sends is known, and so is `correct`.

        Args:
            profile: Service times on this machine. By default those kept for the model and this
                machine: what is missing in them is measured first, which takes some seconds once.
                Of an ensemble, by the member's name.
            cold_start: Seconds a new instance takes to start: a number, or ones to draw from.
            boot: Those of an instance of a fleet, where they differ from those of functions. A job
                waits 180 s where neither is given.
            scaling: How a real-time or async fleet changes its size; without it, it does not.
            spot: What takes instances of one type of a fleet away; only scaling replaces them.
            seed: Of all draws.
            replications: How many repetitions intervals come from, at least 2; by default 20, made
                when an interval is asked for that the run itself is too short for.
            measured: Service times by memory in MB or instance type, instead of the rule of
                `workbench.deployment.vcpu_rule`.
            progress: Notified of the measurement of a profile, and of a classifier's answers to its
                pool, both made once and kept.

        Raises:
            InvalidInput: An argument is not what it must be, or service times miss a batch size.
        """
        from datetime import UTC, datetime

        from workbench.ensemble_simulation import simulate_ensemble
        from workbench.measuring.error_history import read_past_errors
        from workbench.measuring.member_facts import find_known_answers
        from workbench.provenance import circumstances
        from workbench.simulator import prepare

        terms: dict[str, Any] = {"cold_start": cold_start, "boot": boot, "scaling": scaling}
        terms["seed"] = seed
        known: dict[str, Any] = {"measured": measured, "progress": progress}
        if self.ensemble is not None:
            if spot is not None:
                raise InvalidInput("The members of an ensemble are not simulated on spot: omit it.")
            return simulate_ensemble(
                self._of_ensemble(), profile, **terms, **known, replications=replications
            )
        began = datetime.now(UTC)
        found = self._find_times(profile, **known)
        times: Any = [each.times for each in found] if len(found) > 1 else found[0].times
        simulation = prepare(self.load, self.policy, self.deployment, times, spot=spot, **terms)
        answers, unknown = find_known_answers(self._one_model, progress=progress)
        simulation = dataclasses.replace(simulation, answers=answers)
        outcome = simulation.serve()
        record = dataclasses.replace(
            self.record(scaling),
            profile=found[0].facts,
            past_errors=read_past_errors("simulated"),
            **circumstances(began),
        )
        warnings = [*dict.fromkeys(each for one in found for each in one.warnings), *unknown]
        return simulation.run(outcome, record, warnings, replications=replications)

    def predict(
        self,
        profile: "Profile | ServiceTimes | Mapping[str, Profile | ServiceTimes] | None" = None,
        *,
        arrivals: "MapFit | MAP | None" = None,
        measured: "Mapping[Size, ServiceTimes] | None" = None,
        progress: Progress | None = None,
    ) -> "Prediction":
        """Return what a formula says of the experiment, where one exists.

        Its `assumptions` name what it leaves out: limits and cold starts above all. `arrivals` is
        the arrival process, by default the one fitted to the trace; the other arguments are those
        of `simulate`. An ensemble is predicted where its router does not look at load: by each
        member's share of the requests; a `Hybrid` where past so many in flight it spills over, and
        requests are not batched: by Erlang's formulas.

        Raises:
            NotPredictable: No formula exists, or the load is 1 or more: simulate instead.
            InvalidInput: Service times miss a batch size.
            TooFewSamples: The trace is too short to fit an arrival process to.
        """
        from workbench.ensemble_prediction import predict_ensemble
        from workbench.hybrid_prediction import predict_hybrid
        from workbench.measuring.error_history import read_past_errors
        from workbench.prediction import predict

        terms: dict[str, Any] = {"measured": measured, "progress": progress}
        if self.ensemble is not None:
            return predict_ensemble(self._of_ensemble(), profile, arrivals=arrivals, **terms)
        found = self._find_times(profile, **terms)
        notes = dict.fromkeys(warning for each in found for warning in each.warnings)
        described: dict[str, Any] = {"label": self.label, "slo": self.slo, "notes": notes}
        described |= {"answer_bytes": self.data_sizes[1], "arrivals": arrivals}
        setup, times = (self.load, self.policy, self.deployment), [each.times for each in found]
        prediction = (
            predict(*setup, times[0], **described)
            if len(times) == 1
            else predict_hybrid(*setup, times, **described)
        )
        return dataclasses.replace(
            prediction, setup=self.record(), past_errors=read_past_errors("predicted")
        )

    @property
    def largest(self) -> int:
        """The most rows that a batch of this experiment can have."""
        if self.deployment.by_job:
            return _JOB_ROWS
        if self.ensemble is not None:
            return max(setup.largest for setup in self._setups())
        return self.policy.max_size * int(self.trace.rows.max())

    @property
    def threads(self) -> int:
        """The threads that compute a batch."""
        return self.deployment.session_threads

    @property
    def here(self) -> "Experiment":
        """The experiment as this machine can run it: of like servers one, with its share of work.

        Where a cloud is needed, it is the experiment itself.
        """
        if self.deployment.needs:
            return self
        one, parts = self.deployment.part_here()
        if parts == 1:
            return self
        share = self.trace.thin(1 / parts, seed=_SHARE_SEED)
        if self.ensemble is not None:
            ours: Any = {"model": self.ensemble.on(one.simple_parts), "deployment": None}
            return dataclasses.replace(self, **ours, trace=share)
        return dataclasses.replace(self, deployment=one, trace=share)

    @property
    def profiled_as(self) -> tuple[str, int]:
        """Which cached profile is read: that of the model's sha256 and so many threads."""
        return self._one_model.sha256, self.threads

    def ensure_profile(self, *, progress: Progress | None = None) -> "Profile":
        """Return the profile cached for the model on this machine, which covers this experiment.

        What is missing in it is measured first: see `workbench.measuring.profile_cache`.
        """
        from workbench.measuring.profile_cache import ensure_profile

        return ensure_profile(
            self._one_model, largest=self.largest, threads=self.threads, progress=progress
        )

    def service(self, profile: "Profile | ServiceTimes") -> "ServiceTimes":
        """Return the service times that a profile of this machine gives on the deployment."""
        from workbench.measuring.deployed_times import find_times

        return find_times(self._plain(), profile).times

    def _find_times(self, profile: Any, **terms: Any) -> "list[DeployedTimes]":  # noqa: ANN401
        """Return the service times of each simple part of the deployment: see `simulate`."""
        from workbench.measuring.deployed_times import find_times

        parts = (self.on(part)._plain() for part in self.deployment.simple_parts)  # noqa: SLF001
        return [find_times(part, profile, **terms) for part in parts]

    def facts(self) -> dict[str, Any]:
        """Return what the experiment consists of as JSON values; files and arrays by hash."""
        facts = self.record().to_dict()
        names = _FACTS if self.ensemble is None else (*_FACTS, *_ROUTED_FACTS)
        return {name: facts.get(name) for name in names}

    def record(self, scaling: "ScalingPolicy | None" = None) -> "RunRecord":
        """Return the record of a run of the experiment, as far as it is known before."""
        from workbench.run.record import describe_setup

        if self.ensemble is not None:
            return self._record_of_ensemble(self.ensemble)
        model, traits = self._one_model, self._one_model.traits
        setup = self.trace, self.policy, self.deployment, self.slo
        record = describe_setup(*setup, label=self._label(scaling), model=model.record())
        invariance = str(traits.batch_invariance or traits.batches)
        return dataclasses.replace(record, batch_invariance=invariance, **self._describe_data())

    def _describe_data(self) -> dict[str, Any]:
        """Return what the record says of bytes: of a row on average, and of its answer."""
        sent, rows = self.load.bytes.sum(), self.trace.rows.sum()
        return {"row_bytes": float(sent / rows), "answer_bytes": self.data_sizes[1]}

    def _record_of_ensemble(self, ensemble: "Ensemble") -> "RunRecord":
        """Return the record of a run of an ensemble, as far as it is known before."""
        from workbench.run.record import describe_setup

        return dataclasses.replace(
            describe_setup(self.trace, None, self.deployment, self.slo, label=self.label),
            places=ensemble.names,
            members=ensemble.member_records(),
            router=ensemble.router.to_dict(),
            patience=ensemble.patience if math.isfinite(ensemble.patience) else None,
            **self._describe_data(),
        )
