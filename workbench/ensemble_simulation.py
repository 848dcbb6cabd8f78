"""The simulation of an ensemble: a router chooses who answers each request, in virtual time."""

from collections.abc import Callable, Mapping
from typing import Any

from workbench.deployment.base import Size
from workbench.errors import InvalidInput
from workbench.measuring.setup import RoutedSetup
from workbench.run import Run
from workbench.scaling import ScalingPolicy
from workbench.service_times import ServiceTimes
from workbench.validation import Seed


def simulate_ensemble(
    setup: RoutedSetup,
    profile: Any = None,  # noqa: ANN401, ARG001
    *,
    cold_start: Any = None,  # noqa: ANN401, ARG001
    scaling: ScalingPolicy | None = None,  # noqa: ARG001
    seed: Seed = 0,  # noqa: ARG001
    replications: int | None = None,  # noqa: ARG001
    measured: Mapping[Size, ServiceTimes] | None = None,  # noqa: ARG001
    progress: Callable[[int, int], None] | None = None,  # noqa: ARG001
) -> Run:
    """Return what would happen when the trace is sent to an ensemble.

    Arguments and errors are those of `Experiment.simulate`.
    """
    raise InvalidInput(f"{setup.label} is an ensemble, which is not simulated yet: simulate one.")
