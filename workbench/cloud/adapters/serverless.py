"""Serverless endpoints on a cloud."""

from collections.abc import Mapping
from typing import Any, ClassVar

from workbench.cloud.adapters.base import WatchedMetric
from workbench.cloud.adapters.endpoint import EndpointAdapter
from workbench.deployment import Serverless


class ServerlessAdapter(EndpointAdapter[Serverless]):
    """Makes serverless endpoints, whose quota is on the concurrency of all, which none lists."""

    metrics: ClassVar[Mapping[str, WatchedMetric]] = {
        "utilisation": WatchedMetric(
            "ServerlessProvisionedConcurrencyUtilization",
            "Average",
            "SageMakerVariantProvisionedConcurrencyUtilization",
        )
    }

    def variant(self, deployment: Serverless) -> dict[str, Any]:
        """Return what a production variant says of the deployment."""
        kept = {"ProvisionedConcurrency": deployment.provisioned}
        return {
            "ServerlessConfig": {
                "MemorySizeInMB": deployment.memory_mb,
                "MaxConcurrency": deployment.max_concurrency,
                **(kept if deployment.provisioned else {}),
            }
        }
