"""A model on an endpoint for as long as a `with` block lasts, and never longer.

What is about to be made is written into the ledger first. Everything of one deployment has one
name and one tag, so that it can be ended by whoever reads the ledger: this block, or `teardown`
after a crash. How each inference type is made and deleted is said by its adapter.
"""

import contextlib
import secrets
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

from workbench.backends.asynchronous import Mailbox
from workbench.backends.base import Backend
from workbench.cloud.adapters.base import ADAPTERS, CallTarget, Creation, adapter_of
from workbench.cloud.adapters.resources import delete_objects
from workbench.cloud.autoscaling import (
    InstanceCounter,
    alarm_items,
    begin_schedule,
    check_scaling,
    deregister,
    dimension,
    estimate_scaled,
    expand_to_max,
    is_registered,
    list_activities,
    register,
)
from workbench.cloud.aws import Cloud, role_of
from workbench.cloud.client import CloudClient
from workbench.cloud.cost_guard import confirm_cost, hourly_cost
from workbench.cloud.ledger import Ledger, LedgerEntry
from workbench.cloud.monthly import KINDS, end_monthly, list_monthly
from workbench.deployment.base import Deployment
from workbench.deployment.composite import Composite
from workbench.deployment.platforms import OnDemandPlatform
from workbench.errors import CloudError, InvalidInput, NotFound, Unreachable, WorkbenchError
from workbench.pricing.cost import total
from workbench.registry.model import Model
from workbench.scaling.base import ScalingPolicy, require_policy
from workbench.scaling.schedule import Schedule
from workbench.units import HOUR
from workbench.validation import of_kind, positive, share

if TYPE_CHECKING:
    from workbench.cloud.ensemble_deploy import DeployedEnsemble
    from workbench.ensembles import Ensemble

_EXTRA_CALLS = 16  # beyond the limit of a serverless endpoint, so that it is the one to reject
_TEARDOWN_FAILED = "Not all could be torn down; the ledger keeps it. Try again: workbench teardown."


@dataclass(frozen=True, kw_only=True)
class DeployedModel:
    """A model that answers on an endpoint, or as a function.

    Attributes:
        name: The endpoint's, or the function's.
        model: What answers there.
        deployment: How it was deployed.
        cloud: Where it is.
        launched: When its creation was asked for, by `time.perf_counter`.
        seconds: From then until it was in service.
        mailbox: Where the answers of an asynchronous endpoint arrive.
        scaling: The policy that its size follows, if any.
        fleet: Counts its instances, where it is scaled.
        variant: The production variant that it is, of an endpoint that it shares.
        entry, ledger: Where it is written down.
    """

    name: str
    model: Model
    deployment: Deployment
    cloud: Cloud
    launched: float
    seconds: float
    mailbox: Mailbox | None = None
    scaling: ScalingPolicy | None = None
    fleet: InstanceCounter | None = None
    variant: str = ""
    entry: LedgerEntry | None = None
    ledger: Ledger | None = None

    def note(self, text: str) -> None:
        """Write into the ledger what went wrong with it."""
        if self.entry is not None and self.ledger is not None:
            self.ledger.annotate(self.entry, text)

    @property
    def concurrency(self) -> int:
        """How many calls a client should have in flight: so many that it is never what limits."""
        match self.deployment.platform:
            case OnDemandPlatform(limit=limit, queues=waits):
                return limit + (0 if waits else _EXTRA_CALLS)
        return adapter_of(self.deployment).in_flight

    @property
    def is_endpoint(self) -> bool:
        """Whether it is an endpoint, with an endpoint's metrics."""
        return adapter_of(self.deployment).is_endpoint

    def facts(self) -> dict[str, Any]:
        """Return what a run there keeps about it, as JSON values."""
        facts = {**self.cloud.facts(), "endpoint": self.name, "deploy_seconds": self.seconds}
        return facts | ({"variant": self.variant} if self.variant else {})

    def scaling_activities(self) -> list[dict[str, Any]]:
        """Return what Application Auto Scaling has done so far, oldest first, as JSON values."""
        with CloudClient(self.cloud) as aws:
            return list_activities(aws, self.name, dimension(self.deployment))

    def begin_scaling(self) -> None:
        """Tell scaling that a trace begins now, from which a schedule counts."""
        if is_registered(self.scaling) and isinstance(self.scaling, Schedule):
            scales, begins = dimension(self.deployment), datetime.now(UTC)
            with CloudClient(self.cloud) as aws:
                begin_schedule(aws, self.name, scales, self.scaling, begins=begins)

    def backend(self, *, concurrency: int | None = None, variants: tuple[str, ...] = ()) -> Backend:
        """Return it as a backend that another process can use.

        With `variants`, the cloud chooses among these, and the place of a reply tells which.
        """
        target = CallTarget(
            name=self.name,
            cloud=self.cloud.value(),
            deployment=self.deployment,
            mailbox=self.mailbox,
            concurrency=concurrency or self.concurrency,
            variant="" if variants else self.variant,
            variants=variants,
        )
        return adapter_of(self.deployment).backend(target)


@dataclass(frozen=True, kw_only=True)
class DeployTerms:
    """What holds of a deployment whatever is deployed: the arguments of `deploy`."""

    budget: float | None
    yes: bool
    expected: float
    calls: int | None
    bytes_in: float
    libraries: str | Path | None
    capture: float
    ledger: Ledger
    notify: Callable[[str], object] | None
    stopped: threading.Event | None

    def for_parts(self) -> dict[str, Any]:
        """Return them as arguments of `deploy` for a part of what was agreed to as a whole."""
        given = {"libraries": self.libraries, "ledger": self.ledger, "stopped": self.stopped}
        return {**given, "yes": True, "notify": lambda _: None}

    def confirm(
        self, deployment: Deployment, cloud: Cloud, scaling: ScalingPolicy | None = None
    ) -> None:
        """Have it agreed to what a deployment can cost at most: see `confirm_cost`."""
        cost = estimate_scaled(
            deployment,
            scaling,
            positive("expected", self.expected, "seconds"),
            region=cloud.region,
            calls=self.calls,
            bytes_in=self.bytes_in,
        )
        agreed: dict[str, Any] = {"budget": self.budget, "yes": self.yes, "notify": self.notify}
        confirm_cost(cost, expand_to_max(deployment, scaling), cloud, **agreed)


@overload
def deploy(
    model: Model,
    deployment: Deployment,
    cloud: Cloud,
    **terms: Any,  # noqa: ANN401 - those of the function itself
) -> contextlib.AbstractContextManager[DeployedModel]: ...
@overload
def deploy(
    model: "Ensemble",
    deployment: Cloud,
    **terms: Any,  # noqa: ANN401 - those of the function itself
) -> "contextlib.AbstractContextManager[DeployedEnsemble]": ...
def deploy(  # type: ignore[misc]  # the terms of the two above are its own
    model: "Model | Ensemble",
    deployment: Deployment | Cloud,
    cloud: Cloud | None = None,
    *,
    scaling: ScalingPolicy | None = None,
    budget: float | None = None,
    yes: bool = False,
    expected: float = 3600.0,
    calls: int | None = None,
    bytes_in: float = 0.0,
    libraries: str | Path | None = None,
    capture: float = 0.0,
    ledger: Ledger | None = None,
    notify: Callable[[str], object] | None = None,
    stopped: threading.Event | None = None,
) -> contextlib.AbstractContextManager[Any]:
    """Deploy a model, and tear it down when the block ends, however it ends.

    A `Hybrid` is deployed as a base and an overflow, a `MixedFleet` as one endpoint with a
    production variant for each type. An ensemble is deployed by `deploy(ensemble, cloud)`: on one
    endpoint with a production variant for each member where all are real-time and at most ten, else
    each member by itself. It is not scaled.

    Args:
        model: What to deploy.
        deployment: One that answers calls: `ADAPTERS` says which types do. An asynchronous
            endpoint of 0 instances answers nothing until something scales it out.
        cloud: Where to.
        scaling: What Application Auto Scaling is to follow, a `TargetTracking`, `StepScaling` or
            `Schedule`, whose instants count from the beginning of a run:
            instances of an endpoint, an asynchronous one's down to 0, or a serverless one's
            provisioned concurrency. Any other policy is carried out by each run there, on
            real-time instances. The estimate counts `most` of them.
        budget: The most that it may cost, in US dollars, `expected` and `calls` being so.
        yes: Whether it may cost money without asking.
        expected: Seconds for which it will be up, for the estimate.
        calls: How many calls it will get, for the estimate.
        bytes_in: What they send, all together, for the estimate.
        libraries: A folder with NumPy, ONNX Runtime and orjson for this Python: a function is then
            made from a zip, else from the cloud's image.
        capture: The share of requests to a real-time endpoint that is kept in the bucket with their
            answers, until the block ends, in whole percent: `data_capture.read_inputs` reads them.
        ledger: Where it is written down, by default the one of the workbench's home.
        notify: Called with what it may cost, by default on the error stream.
        stopped: Ends the deploying when it is set before all is in service.

    Raises:
        Stopped: `stopped` was set meanwhile.
        InvalidInput: The deployment is of a type that has no endpoint, or that AWS does not have,
            or cannot be scaled so.
        NotAvailable: Nobody agreed to the cost, or credentials, a role or an image are missing.
        OverBudget: It may cost more than the budget.
        CloudError: The cloud refused, the endpoint failed, or not all could be torn down: the
            ledger says what is left.
    """
    from workbench.ensembles import Ensemble

    terms = DeployTerms(
        budget=budget,
        yes=yes,
        expected=expected,
        calls=calls,
        bytes_in=bytes_in,
        libraries=libraries,
        capture=share("capture", capture),
        ledger=ledger or Ledger(),
        notify=notify,
        stopped=stopped,
    )
    if isinstance(model, Ensemble):
        from workbench.cloud.ensemble_deploy import deploy_ensemble

        if cloud is not None or scaling is not None or capture:
            raise InvalidInput(
                "An ensemble has deployments of its own, of fixed size, which capture nothing: "
                "deploy(ensemble, cloud)."
            )
        where: Any = of_kind("cloud", deployment, Cloud)
        return deploy_ensemble(model, where, terms)
    on: Any = of_kind("deployment", deployment, Deployment)
    where = of_kind("cloud", cloud, Cloud)
    if capture and not all(adapter_of(part).captures for part in on.simple_parts):
        raise InvalidInput(
            f"{on.label} cannot keep what it is asked, as real-time endpoints can: leave out "
            f"capture={capture:g}."
        )
    if isinstance(on, Composite):
        from workbench.cloud.fleet_deploy import deploy_fleet

        return deploy_fleet(model, on, where, terms, scaling)
    return _deploy_model(model, on, where, terms, scaling)


@contextlib.contextmanager
def _deploy_model(
    model: Model,
    deployment: Deployment,
    cloud: Cloud,
    terms: DeployTerms,
    scaling: ScalingPolicy | None,
) -> Iterator[DeployedModel]:
    adapter = adapter_of(deployment)
    adapter.check(deployment)
    if is_registered(scaling):
        check_scaling(deployment, scaling, cloud)
    elif scaling is not None:
        check_controlled(deployment, scaling)
    largest = expand_to_max(deployment, scaling)
    role, image = role_of(cloud), adapter.image(cloud, terms.libraries)
    terms.confirm(deployment, cloud, scaling)
    adapter.check_quota(largest, cloud)
    ledger = terms.ledger
    with CloudClient(cloud, terms.stopped) as aws:
        kind = adapter.ledger_kind
        entry = open_entry(aws, model, largest, ledger, kind=kind, scaling=scaling)
        with ensure_teardown([entry], ledger):
            creation = Creation(
                aws=aws,
                entry=entry,
                model=model,
                deployment=deployment,
                role=role,
                image=image,
                libraries=terms.libraries,
                capture=terms.capture,
            )
            mailbox = adapter.prepare(creation)
            launched = time.perf_counter()
            deployed = DeployedModel(
                name=adapter.create(creation, mailbox),
                model=model,
                deployment=deployment,
                cloud=cloud,
                launched=launched,
                seconds=time.perf_counter() - launched,
                mailbox=mailbox,
                entry=entry,
                ledger=ledger,
            )
            if scaling is None:
                yield deployed
                return
            with count_scaled(deployed, scaling) as scaled:
                if is_registered(scaling):
                    register(aws, entry, deployment, scaling)
                yield scaled


def check_controlled(deployment: Deployment, policy: ScalingPolicy) -> None:
    """Raise `InvalidInput` where a run cannot have the deployment follow a policy itself."""
    require_policy(policy)
    if isinstance(deployment, Composite) and is_registered(policy):
        raise InvalidInput(
            f"{deployment.label} follows policies that count instances by type, got {policy!r}."
        )
    if not all(part.takes_overflow for part in deployment.simple_parts):
        raise InvalidInput(
            f"{deployment.label} cannot follow {policy!r}: Application Auto Scaling has no such "
            "policy, and a run itself changes real-time instances only. Take a TargetTracking or a "
            "StepScaling."
        )


@contextlib.contextmanager
def count_scaled(deployed: DeployedModel, policy: ScalingPolicy) -> Iterator[DeployedModel]:
    """Count the instances of an endpoint that follows a policy inside the block."""
    count = max(1, deployed.deployment.platform.idle_instances)
    with InstanceCounter(
        deployed.cloud.value(),
        deployed.name,
        count=count,
        launched=deployed.launched,
        variant=deployed.variant,
    ) as fleet:
        yield replace(deployed, scaling=policy, fleet=fleet)


def teardown(ledger: Ledger | None = None, *, names: tuple[str, ...] = ()) -> list[LedgerEntry]:
    """End all that the ledger names (or the deployments of these names) and return their entries.

    Raises:
        NotFound: The ledger has no deployment of one of the names; nothing is ended then.
        CloudError: Some of it could not be ended, and is still in the ledger.
    """
    ledger = ledger or Ledger()
    entries = ledger.entries()
    known = [entry.name for entry in entries]
    if unknown := [name for name in names if name not in known]:
        raise NotFound(
            f"No deployment is called {', '.join(unknown)}; the ledger has "
            f"{', '.join(known) or 'none'}. See workbench teardown --list."
        )
    chosen = [entry for entry in entries if not names or entry.name in names]
    _tear_all_down(chosen, ledger)
    return chosen


def open_entry(
    aws: CloudClient,
    model: Model,
    deployment: Deployment,
    ledger: Ledger,
    *,
    kind: str,
    scaling: ScalingPolicy | None = None,
) -> LedgerEntry:
    """Return the entry of what is about to be made, which the ledger has."""
    alarms = alarm_items(scaling, HOUR, region=aws.cloud.region)
    entry = LedgerEntry(
        # SageMaker's names have 63 characters at most, and those of jobs begin with this one
        name=f"workbench-{model.group[:36]}-{secrets.token_hex(4)}",
        bucket=aws.bucket(),
        what=deployment.label,
        hourly=hourly_cost(deployment) + total(alarms),
        cloud=aws.cloud.value(),
        kind=kind,
        scales=dimension(deployment) if is_registered(scaling) else "",
    )
    ledger.write(entry)
    return entry


@contextlib.contextmanager
def ensure_teardown(entries: Sequence[LedgerEntry], ledger: Ledger) -> Iterator[None]:
    """Tear the entries down in order when the block ends; what ended it is what is raised."""
    try:
        yield
    except BaseException as error:
        for entry in entries:
            try:
                _tear_down(entry, ledger)
            except (WorkbenchError, KeyboardInterrupt) as problem:
                left = f"{_TEARDOWN_FAILED} {entry.label}: {problem or 'interrupted'}"
                error.add_note(left)
                sys.stderr.write(f"{left}\n")
        raise
    _tear_all_down(entries, ledger)


def _tear_all_down(entries: Sequence[LedgerEntry], ledger: Ledger) -> None:
    """Tear the entries down in order, as many as can be, and raise why others could not."""
    problems = {}
    for entry in entries:
        try:
            _tear_down(entry, ledger)
        except WorkbenchError as problem:
            problems[entry.label] = problem
    if problems:
        left = " ".join(f"{label}: {problem}" for label, problem in problems.items())
        raise CloudError(f"{_TEARDOWN_FAILED} {left}") from next(iter(problems.values()))


def _tear_down(entry: LedgerEntry, ledger: Ledger) -> None:
    """Delete all of an entry that there is and of what watches it, and strike it out."""
    try:
        if entry.kind in KINDS:
            end_monthly(entry, ledger)
            return
        for watching in list_monthly(entry, ledger):
            end_monthly(watching, ledger)
        with CloudClient(entry.cloud) as aws:
            if entry.scales:
                deregister(aws, entry)
            by_kind = {each.ledger_kind: each for each in ADAPTERS.values()}
            by_kind[entry.kind].delete(aws, entry)  # those of one name delete alike
            delete_objects(aws, entry)
    except Unreachable:
        if entry.cloud.paid:
            raise  # else it ended with the cloud that it was on
    ledger.strike(entry)
