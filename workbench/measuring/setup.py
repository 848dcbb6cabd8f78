"""What a measurement asks of an experiment."""

from typing import Protocol

from workbench.batching.timer import Policy
from workbench.deployment.base import Deployment
from workbench.registry.model import Model
from workbench.run.record import RunRecord
from workbench.scaling import ScalingPolicy
from workbench.traffic.trace import Trace


class Setup(Protocol):
    """A model, a deployment, a trace and a policy: an `Experiment`, as its engine sees it."""

    @property
    def model(self) -> Model:
        """The model that answers."""
        ...

    @property
    def deployment(self) -> Deployment:
        """Where it answers."""
        ...

    @property
    def trace(self) -> Trace:
        """What is sent."""
        ...

    @property
    def policy(self) -> Policy:
        """How requests become batches."""
        ...

    @property
    def label(self) -> str:
        """The experiment in a few words."""
        ...

    @property
    def largest(self) -> int:
        """The most rows that a batch can have."""
        ...

    @property
    def here(self) -> "Setup":
        """The part of it that this machine can run; itself where a cloud is needed."""
        ...

    @property
    def threads(self) -> int:
        """The threads that compute a batch."""
        ...

    def record(self, scaling: ScalingPolicy | None = None) -> RunRecord:
        """Return the record of a run of the experiment, as far as it is known before."""
        ...
