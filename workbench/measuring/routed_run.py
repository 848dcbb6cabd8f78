"""The engine of `Experiment.run` for an ensemble: a router chooses who answers each request."""

from workbench.cloud.aws import Cloud
from workbench.cloud.deploy import DeployedModel
from workbench.errors import InvalidInput
from workbench.measuring.collector import RunOptions
from workbench.measuring.setup import RoutedSetup
from workbench.run import Run
from workbench.scaling import ScalingPolicy


def measure_ensemble(
    setup: RoutedSetup,
    on: Cloud | DeployedModel | None = None,  # noqa: ARG001
    options: RunOptions | None = None,  # noqa: ARG001
    *,
    scaling: ScalingPolicy | None = None,  # noqa: ARG001
    budget: float | None = None,  # noqa: ARG001
    yes: bool = False,  # noqa: ARG001
) -> Run:
    """Return what happened when the trace was sent to the members, in real time.

    Arguments and errors are those of `Experiment.run`.
    """
    raise InvalidInput(f"{setup.label} is an ensemble, which is not measured yet: run one member.")
