"""Real-time endpoints on a cloud."""

from collections.abc import Mapping
from typing import Any, ClassVar

from workbench.cloud.adapters.base import WatchedMetric
from workbench.cloud.adapters.endpoint import EndpointAdapter
from workbench.deployment import RealTime
from workbench.errors import InvalidInput
from workbench.scaling.reactive import HIGH_RESOLUTION

_ROUTING = {"least_outstanding": "LEAST_OUTSTANDING_REQUESTS", "random": "RANDOM"}


class RealTimeAdapter(EndpointAdapter[RealTime]):
    """Makes real-time endpoints."""

    captures: ClassVar[bool] = True
    quota: ClassVar[str] = "endpoint"
    most_variants: ClassVar[int] = 10  # botocore 1.44.5, ProductionVariantList
    metrics: ClassVar[Mapping[str, WatchedMetric]] = {
        "invocations": WatchedMetric(
            "InvocationsPerInstance", "Sum", "SageMakerVariantInvocationsPerInstance"
        ),
        "concurrency": WatchedMetric(
            "ConcurrentRequestsPerModel",
            "Average",
            "SageMakerVariantConcurrentRequestsPerModelHighResolution",
            period=HIGH_RESOLUTION,
        ),
    }

    def check(self, deployment: RealTime) -> None:
        """Require a routing that AWS has: none is "shared"."""
        if deployment.routing not in _ROUTING:
            raise InvalidInput(
                "AWS offers no shared queue: take routing='least_outstanding' or 'random'."
            )

    def variant(self, deployment: RealTime) -> dict[str, Any]:
        """Return what a production variant says of the deployment."""
        return {
            "InstanceType": deployment.instance_type,
            "InitialInstanceCount": deployment.count,
            "RoutingConfig": {"RoutingStrategy": _ROUTING[deployment.routing]},
        }
