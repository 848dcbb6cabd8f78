"""What an engine asks of an experiment, and what follows from it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Protocol, TypeGuard, TypeVar, cast

from workbench.errors import InvalidInput

if TYPE_CHECKING:
    from workbench.batching.timer import Policy
    from workbench.deployment.base import Deployment
    from workbench.ensembles import Ensemble
    from workbench.quantiles import SLO
    from workbench.registry.model import Model
    from workbench.run.record import RunRecord
    from workbench.scaling.base import ScalingPolicy
    from workbench.traffic.trace import Trace

_FACTS = ("label", "model", "deployment", "policy", "trace", "slo")  # what an experiment is
_ROUTED_FACTS = ("members", "router", "patience")  # and one of an ensemble
_JOB_ROWS = 32  # rows in a chunk of a batch transform job
_SHARE_SEED = 0  # of the draw of requests that one of several like servers gets


class AnySetup(Protocol):
    """What any experiment has."""

    @property
    def model(self) -> Model | Ensemble:
        """What answers."""

    @property
    def deployment(self) -> Deployment:
        """Where it answers."""

    @property
    def trace(self) -> Trace:
        """What is sent."""

    @property
    def load(self) -> Trace:
        """The trace, with the bytes of each request as far as they are known."""

    @property
    def slo(self) -> SLO | None:
        """The target."""

    @property
    def data_sizes(self) -> tuple[float, float | None]:
        """Bytes of a row in a request and, where they are known, of its answer."""

    @property
    def label(self) -> str:
        """The experiment in a few words."""


class Setup(AnySetup, Protocol):
    """A model, a deployment, a trace and a policy: an `Experiment`, as its engine sees it."""

    model: Model
    policy: Policy

    def on(self, deployment: Deployment) -> Setup:
        """Return the same on another deployment."""


class RoutedSetup(AnySetup, Protocol):
    """An ensemble and a trace: an `Experiment` of several models, as its engines see it."""

    model: Ensemble

    def alone(self, name: str) -> Setup:
        """Return the experiment in which a member answers all requests."""


_AnySetup = TypeVar("_AnySetup", bound=AnySetup)


def is_routed(setup: AnySetup) -> TypeGuard[RoutedSetup]:
    """Return whether an experiment is one of an ensemble."""
    from workbench.ensembles import Ensemble

    return isinstance(setup.model, Ensemble)


def as_plain(setup: AnySetup) -> Setup:
    """Return an experiment, known to be of one model.

    Raises:
        InvalidInput: It has several.
    """
    if is_routed(setup):
        raise InvalidInput(
            f"{setup.label} has several models: ask of one, with experiment.alone(name)."
        )
    return cast("Setup", setup)


def list_plain(setup: AnySetup) -> list[Setup]:
    """Return an experiment, or as many as its ensemble has members, each alone."""
    if is_routed(setup):
        return [setup.alone(name) for name in setup.model.names]
    return [as_plain(setup)]


def find_largest(setup: AnySetup) -> int:
    """Return the most rows that a batch of an experiment can have."""
    if setup.deployment.by_job:
        return _JOB_ROWS
    most = max(each.policy.max_size for each in list_plain(setup))
    return most * int(setup.trace.rows.max())


def share_here(setup: _AnySetup) -> tuple[_AnySetup, int]:
    """Return what this machine can run of an experiment, and of how many like servers it is one.

    It is given their share of the requests; what needs a cloud is returned as it is.
    """
    if setup.deployment.needs:
        return setup, 1
    one, parts = setup.deployment.part_here()
    if parts == 1:
        return setup, 1
    changes: dict[str, Any] = {"deployment": one}
    if is_routed(setup):
        changes["model"] = setup.model.on(one.simple_parts)
    share = setup.trace.thin(1 / parts, seed=_SHARE_SEED)
    return replace(cast("Any", setup), trace=share, **changes), parts


def label_of(setup: AnySetup, scaling: ScalingPolicy | None = None) -> str:
    """Return an experiment in a few words, in which the deployment's size may follow a policy."""
    from workbench.scaling.base import describe_scaling

    if is_routed(setup):
        return setup.model.label
    plain, scaled = as_plain(setup), "" if scaling is None else f" {describe_scaling(scaling)}"
    return f"{plain.model.name}, {plain.deployment.label}{scaled}, {plain.policy.label}"


def record_of(setup: AnySetup, scaling: ScalingPolicy | None = None) -> RunRecord:
    """Return the record of a run of an experiment, as far as it is known before."""
    from workbench.run.record import describe_setup

    policy = None if is_routed(setup) else as_plain(setup).policy
    return describe_setup(
        setup.trace,
        policy,
        setup.deployment,
        setup.slo,
        label=label_of(setup, scaling),
        row_bytes=float(setup.load.bytes.sum() / setup.trace.rows.sum()),
        answer_bytes=setup.data_sizes[1],
        **setup.model.record_fields(),
    )


def facts_of(setup: AnySetup) -> dict[str, Any]:
    """Return what an experiment consists of as JSON values; files and arrays by hash."""
    facts = record_of(setup).to_dict()
    names = (*_FACTS, *_ROUTED_FACTS) if is_routed(setup) else _FACTS
    return {name: facts.get(name) for name in names}
