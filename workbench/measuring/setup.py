"""What a measurement asks of an experiment."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from workbench.batching.timer import Policy
    from workbench.deployment.base import Deployment
    from workbench.deployment.places import RoutedDeployment
    from workbench.ensemble import Ensemble
    from workbench.quantiles import SLO
    from workbench.registry.model import Model
    from workbench.run.record import RunRecord
    from workbench.scaling.base import ScalingPolicy
    from workbench.traffic.trace import Context, Trace


class AnySetup(Protocol):
    """What any experiment has."""

    @property
    def trace(self) -> Trace:
        """What is sent."""

    @property
    def load(self) -> Trace:
        """The trace, with the bytes of each request as far as they are known."""

    @property
    def label(self) -> str:
        """The experiment in a few words."""

    def record(self, scaling: ScalingPolicy | None = None) -> RunRecord:
        """Return the record of a run of the experiment, as far as it is known before."""


class Setup(AnySetup, Protocol):
    """A model, a deployment, a trace and a policy: an `Experiment`, as its engine sees it."""

    @property
    def model(self) -> Model:
        """The model that answers."""

    @property
    def deployment(self) -> Deployment:
        """Where it answers."""

    @property
    def policy(self) -> Policy:
        """How requests become batches."""

    @property
    def largest(self) -> int:
        """The most rows that a batch can have."""

    @property
    def here(self) -> Setup:
        """The part of it that this machine can run; itself where a cloud is needed."""

    @property
    def threads(self) -> int:
        """The threads that compute a batch."""


class RoutedSetup(AnySetup, Protocol):
    """An ensemble and a trace: an `Experiment` of several models, as its engines see it."""

    @property
    def model(self) -> Ensemble:
        """The models, and the router that chooses among them."""

    @property
    def deployment(self) -> RoutedDeployment:
        """Where they answer."""

    @property
    def slo(self) -> SLO | None:
        """The target."""

    @property
    def context(self) -> Context | None:
        """The kind of each request, where they have any."""

    @property
    def here(self) -> RoutedSetup:
        """The part of it that this machine can run; itself where a cloud is needed."""

    def alone(self, name: str) -> Setup:
        """Return the experiment in which a member answers all requests."""
