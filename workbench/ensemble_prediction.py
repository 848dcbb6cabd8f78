"""The prediction of an ensemble: what formulas say of each member's share of the requests."""

from collections.abc import Callable, Mapping
from typing import Any

from workbench.deployment.base import Size
from workbench.errors import InvalidInput
from workbench.measuring.setup import RoutedSetup
from workbench.queueing.predictions import Prediction
from workbench.service_times import ServiceTimes


def predict_ensemble(
    setup: RoutedSetup,
    profile: Any = None,  # noqa: ANN401, ARG001
    *,
    arrivals: Any = None,  # noqa: ANN401, ARG001
    measured: Mapping[Size, ServiceTimes] | None = None,  # noqa: ARG001
    progress: Callable[[int, int], None] | None = None,  # noqa: ARG001
) -> Prediction:
    """Return what formulas say of an ensemble, where they say anything.

    Arguments and errors are those of `Experiment.predict`.
    """
    raise InvalidInput(f"{setup.label} is an ensemble, which is not predicted yet: simulate it.")
