"""One experiment: a model, where it runs, its traffic, how requests are batched, and the target.

Several models, and a router that chooses among them for each request, are an `Ensemble`. Engines
are imported by the methods that ask them: the value alone loads none.
"""

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from workbench.batching.timer import BatchPolicy, Policy
from workbench.measuring.setup import as_plain, facts_of, label_of, share_here

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path
    from threading import Event

    from numpy.typing import ArrayLike

    from workbench.cloud.aws import Cloud
    from workbench.cloud.deploy import DeployedModel
    from workbench.cloud.ensemble_deploy import DeployedEnsemble
    from workbench.deployment.base import Deployment, Size
    from workbench.ensembles import Ensemble
    from workbench.measuring.load import Rows
    from workbench.measuring.profile import Profile
    from workbench.pricing.cost import Cost
    from workbench.progress import Progress
    from workbench.quantiles import SLO
    from workbench.queueing.predictions import Prediction
    from workbench.registry.api import Registry
    from workbench.registry.model import Model
    from workbench.run import Run
    from workbench.scaling.base import ScalingPolicy
    from workbench.scaling.spot import SpotPool
    from workbench.service_times import ServiceTimes
    from workbench.traffic.map import MAP
    from workbench.traffic.map_fitting import MapFit
    from workbench.traffic.trace import Trace
    from workbench.validation import Seed


@dataclass(frozen=True)
class Experiment:
    """A model, a deployment, a trace, a batching policy and a latency target.

    In place of a model there may be an `Ensemble`, as in `Experiment(ensemble, trace=trace)`: each
    of its members has a deployment and a policy, the deployment of the experiment is made of
    theirs, and its policy is not used. A plan or a profile of one is that of its members: `alone`.

    `run` measures what happens, `simulate` computes it in virtual time, `predict` by a formula. An
    experiment is a value: `on` and `dataclasses.replace` give it with something else in it.

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
        from workbench.ensembles import Ensemble
        from workbench.quantiles import SLO
        from workbench.registry.model import Model
        from workbench.traffic.trace import Trace
        from workbench.validation import keep, not_negative, of_kind

        of_kind("model", self.model, Model | Ensemble, "a Model or an Ensemble")
        if isinstance(self.model, Ensemble):
            keep(self, deployment=self.model.take_deployment(self.deployment))
        of_kind("deployment", self.deployment, Deployment)
        of_kind("trace", self.trace, Trace)
        self.model.check_policy(self.policy)
        of_kind("slo", self.slo, SLO | None, "an SLO")
        for name in ("row_bytes", "answer_bytes"):
            if getattr(self, name) is not None:
                not_negative(name, getattr(self, name), "bytes")

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
        from workbench.measuring.recorded_setup import recall_parts

        return cls(**recall_parts(run, models, given))

    @property
    def ensemble(self) -> "Ensemble | None":
        """The ensemble of the experiment; None where there is one model."""
        from workbench.ensembles import Ensemble

        return self.model if isinstance(self.model, Ensemble) else None

    def alone(self, name: str) -> "Experiment":
        """Return the experiment in which a member of the ensemble answers all requests.

        Raises:
            InvalidInput: There is no such member, or no ensemble.
        """
        from workbench.validation import choose

        members = {} if self.ensemble is None else self.ensemble.members
        member = members[choose(f"A member of {self.label}", name, members)]
        return replace(self, model=member.model, deployment=member.deployment, policy=member.policy)

    def on(self, deployment: "Deployment") -> "Experiment":
        """Return the same experiment on another deployment.

        Raises:
            InvalidInput: It is one of an ensemble, whose members have their own.
        """
        return replace(self, deployment=deployment)

    @property
    def here(self) -> "Experiment":
        """The experiment as this machine can run it: of like servers one, with its share."""
        return share_here(self)[0]

    @cached_property
    def data_sizes(self) -> tuple[float, float | None]:
        """Bytes of a row in a request and of its answer: those given, else those of the model."""
        sent = self.model.row_bytes if self.row_bytes is None else self.row_bytes
        return sent, self.model.answer_bytes if self.answer_bytes is None else self.answer_bytes

    @cached_property
    def load(self) -> "Trace":
        """The trace, with the bytes of each request as far as they are known."""
        return self.trace.with_content(self.data_sizes[0])

    @property
    def label(self) -> str:
        """The experiment in a few words, for charts and tables."""
        return label_of(self)

    def facts(self) -> dict[str, Any]:
        """Return what the experiment consists of as JSON values; files and arrays by hash."""
        return facts_of(self)

    def run(
        self,
        on: "Cloud | DeployedModel | DeployedEnsemble | None" = None,
        *,
        scaling: "ScalingPolicy | None" = None,
        budget: float | None = None,
        yes: bool = False,
        progress: "Progress | None" = None,
        on_rows: "Callable[[Rows], None] | None" = None,
        on_deployed: "Callable[[Any], None] | None" = None,
        stopped: "Event | None" = None,
        drain: float = 60.0,
        keep: "str | Path | None" = None,
    ) -> "Run":
        """Return what happened when the trace was really sent, in real time.

        The load is generated in a process of its own, which without a cloud also runs the model. Of
        several like servers this machine is one, and gets its share of the requests: see `here`. A
        run that is ended early holds the requests answered until then, and is marked incomplete.

        Args:
            on: The cloud to deploy on, for this run; or a deployment that is there already and
                stays. A machine of one's own needs none.
            scaling: What its size follows, as in `simulate`. A `TargetTracking`, `StepScaling` or
                `Schedule` of one variant Application Auto Scaling carries out, others of real-time
                instances this process, which puts the count back. What was done is in the record.
            budget: The most that it may cost, in US dollars: a run that reaches it is ended early.
            yes: Whether it may cost money without asking.
            progress: Notified of how many requests are completed, of how many.
            on_rows: Given their rows, four times a second, up to fifty times when they are many.
            on_deployed: Given what was deployed for this run, before its first request.
            stopped: Ends the run when it is set, as Ctrl-C does.
            drain: Seconds after the trace's end from which on requests without an answer have
                failed, unless they are in a batch transform job.
            keep: A folder where the rows that have come are saved about once a second, in case this
                process ends, and at last the whole run: `load_run` reads it.

        Raises:
            Stopped: It was stopped before it was deployed.
            StorageError: `keep` exists already.
            NotAvailable: The deployment needs a cloud, or that cloud needs something.
            InvalidInput: A batch can be too large for the deployment, or it does not go on a cloud.
            OverBudget: It may cost more than the budget.
            CloudError: The cloud refused, or not all could be torn down.
            WorkbenchError: The model could not be loaded, or the process died.
        """
        from workbench.measuring.measure import measure

        how: dict[str, Any] = {"scaling": scaling, "budget": budget, "yes": yes}
        how |= {"progress": progress, "on_rows": on_rows, "on_deployed": on_deployed}
        return measure(self, on, stopped=stopped, drain=drain, folder=keep, **how)

    def estimate(self, *, drain: float = 60.0, scaling: "ScalingPolicy | None" = None) -> "Cost":
        """Return the most that `run` can cost on a cloud that costs money.

        With `scaling`, all instances that the policy may give count all the time, and its alarms.

        Raises:
            InvalidInput: The deployment does not go on a cloud, or the policy has no `most`.
        """
        from workbench.measuring.limits import estimate_cost

        return estimate_cost(self, drain=drain, scaling=scaling)

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
        progress: "Progress | None" = None,
    ) -> "Run":
        """Return what would happen when the trace is sent, in virtual time; the same for a seed.

        Of an ensemble, cold starts and scaling are those of every member. What a classifier answers
        to the rows that the trace sends is known, and so is `correct`.

        Args:
            profile: Service times on this machine; of an ensemble, by the member's name. By default
                those kept: what is missing in them is measured first, which takes seconds once.
            cold_start: Seconds a new instance takes to start: a number, or ones to draw from.
            boot: Those of an instance, where they differ. A job waits 180 s if neither is given.
            scaling: How a real-time or async fleet changes its size; without it, it does not.
            spot: What takes instances of one type of a fleet away; only scaling replaces them.
            seed: Of all draws.
            replications: Repetitions for intervals, at least 2; by default 20 if it is too short.
            measured: Service times by memory in MB or instance type, instead of by `vcpu_rule`.
            progress: Notified of what is measured once and kept: a profile, a classifier's answers.

        Raises:
            InvalidInput: An argument is not what it must be, or service times miss a batch size.
        """
        from workbench.experiment.simulation import simulate_experiment

        terms: dict[str, Any] = {"cold_start": cold_start, "boot": boot, "scaling": scaling}
        terms |= {"spot": spot, "seed": seed, "measured": measured, "progress": progress}
        return simulate_experiment(self, profile, replications=replications, **terms)

    def predict(
        self,
        profile: "Profile | ServiceTimes | Mapping[str, Profile | ServiceTimes] | None" = None,
        *,
        arrivals: "MapFit | MAP | None" = None,
        measured: "Mapping[Size, ServiceTimes] | None" = None,
        progress: "Progress | None" = None,
    ) -> "Prediction":
        """Return what a formula says of the experiment, where one exists.

        Its `assumptions` name what it leaves out: limits and cold starts above all. `arrivals` is
        the arrival process, by default the one fitted to the trace; the other arguments are those
        of `simulate`. An ensemble is predicted by each member's share of the requests, where its
        router does not look at load; a `Hybrid` by Erlang's formulas, where past so many in flight
        it spills over, and requests are not batched.

        Raises:
            NotPredictable: No formula exists, or the load is 1 or more: simulate instead.
            InvalidInput: Service times miss a batch size.
            TooFewSamples: The trace is too short to fit an arrival process to.
        """
        from workbench.experiment.prediction import predict_experiment

        known: dict[str, Any] = {"measured": measured, "progress": progress}
        return predict_experiment(self, profile, arrivals=arrivals, **known)

    def ensure_profile(self, *, progress: "Progress | None" = None) -> "Profile":
        """Return the profile kept of the model on this machine; what it lacks is measured first."""
        from workbench.measuring.deployed_times import complete_profile

        return complete_profile(as_plain(self), progress=progress)

    def service(self, profile: "Profile | ServiceTimes") -> "ServiceTimes":
        """Return the service times that a profile of this machine gives on the deployment."""
        from workbench.measuring.deployed_times import find_times

        return find_times(as_plain(self), profile).times
