"""What an endpoint that is there runs on, read from the description of its variants."""

from collections.abc import Mapping, Sequence
from typing import Any

from workbench.deployment.base import Deployment
from workbench.deployment.real_time import RealTime
from workbench.deployment.serverless import Serverless


def read_deployment(
    variants: Sequence[Mapping[str, Any]], running: Sequence[Mapping[str, Any]]
) -> Deployment | None:
    """Return what the one variant of an endpoint runs on; None where there are more.

    Args:
        variants: Of its configuration.
        running: The same as they are now, with the instances that they have.
    """
    if len(variants) != 1:
        return None
    made = variants[0]
    if config := made.get("ServerlessConfig"):
        return Serverless(
            memory_mb=config["MemorySizeInMB"],
            max_concurrency=config["MaxConcurrency"],
            provisioned=config.get("ProvisionedConcurrency", 0),
        )
    if "InstanceType" not in made:
        return None
    count = running[0].get("CurrentInstanceCount") if running else None
    return RealTime(
        instance_type=made["InstanceType"], count=count or made.get("InitialInstanceCount") or 1
    )
