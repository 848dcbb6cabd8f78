"""Endpoints of the local cloud while they run: their states, variants and fleets.

An endpoint's status is one of AWS's (botocore's EndpointStatus). While it is on its way to another
one, `stable` is not set; who wants to know the outcome awaits it.
"""

import asyncio
import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from workbench.localcloud.sandbox.fleets import LocalFleet, RealTimeFleet, ServerlessFleet

Facts = dict[str, Any]
"""What botocore's model says of a thing: members by name."""

_TRANSIENT_STATUSES = {"Creating", "Updating", "SystemUpdating", "Deleting"}


@dataclass(eq=False)
class Variant:
    """A production variant that runs: `facts` are its ProductionVariant's.

    `container` is its model's container: image, where the model is, and environment.
    """

    facts: Facts
    container: Facts
    fleet: LocalFleet
    weight: float = 1.0

    @property
    def name(self) -> str:
        """Its name."""
        return str(self.facts["VariantName"])

    @property
    def serverless(self) -> bool:
        """Whether it runs on demand rather than on instances."""
        return isinstance(self.fleet, ServerlessFleet)

    def to_facts(self) -> Facts:
        """Return what it takes to start the variant again as it is now."""
        facts = {**self.facts, "Container": self.container, "InitialVariantWeight": self.weight}
        if isinstance(self.fleet, ServerlessFleet):
            return facts | {"ServerlessConfig": self._serverless_config(self.fleet)}
        return facts | {"InitialInstanceCount": self.fleet.size}

    def _serverless_config(self, fleet: ServerlessFleet) -> Facts:
        config: Facts = {**self.facts["ServerlessConfig"]}
        config |= {
            "MaxConcurrency": fleet.pool.max_concurrency,
            "ProvisionedConcurrency": fleet.size,
        }
        return {name: value for name, value in config.items() if value}

    def summary(self) -> Facts:
        """Return what DescribeEndpoint says of the variant."""
        fleet, up, desired = self.fleet, 0, 0
        if isinstance(fleet, RealTimeFleet):
            up, desired = len(fleet.instances), fleet.desired
        facts = {
            "VariantName": self.name,
            "CurrentWeight": self.weight,
            "DesiredWeight": self.weight,
            "CurrentInstanceCount": up,
            "DesiredInstanceCount": desired,
        }
        if image := self.container.get("Image"):
            facts["DeployedImages"] = [{"SpecifiedImage": image}]
        if routing := self.facts.get("RoutingConfig"):
            facts["RoutingConfig"] = routing
        if isinstance(fleet, ServerlessFleet):
            config = self._serverless_config(fleet)
            facts |= {"CurrentServerlessConfig": config, "DesiredServerlessConfig": config}
        return facts

    def state(self) -> Facts:
        """Return what only the local cloud knows of the variant: its instances, one by one."""
        return {"variant": self.name, "instances": self.fleet.state()}


@dataclass(eq=False)
class Endpoint:
    """An endpoint: `variants` answer its requests; before it was in service, there are none.

    `async_config` is its AsyncInferenceConfig; None: it answers at once. `capture` is its
    DataCaptureConfig, if any.
    """

    name: str
    arn: str
    config: str
    created: float
    modified: float
    status: str = "Creating"
    reason: str = ""
    deployment: Facts | None = None
    variants: list[Variant] = field(default_factory=list)
    pending: Facts | None = None
    async_config: Facts | None = None
    capture: Facts | None = None
    stable: asyncio.Event = field(default_factory=asyncio.Event)

    def set_status(self, status: str, reason: str = "") -> None:
        """Take another status, and wake those who wait for one that lasts."""
        self.status = status
        self.reason = reason
        if status in _TRANSIENT_STATUSES:
            self.stable.clear()
        else:
            self.stable.set()

    def take_config(self, facts: Mapping[str, Any]) -> None:
        """Be as an endpoint configuration says."""
        self.config = facts["EndpointConfigName"]
        self.async_config = facts.get("AsyncInferenceConfig")
        self.capture = facts.get("DataCaptureConfig")

    @property
    def busy(self) -> bool:
        """Whether it is on its way to another status."""
        return self.status in _TRANSIENT_STATUSES

    @property
    def serverless(self) -> bool:
        """Whether its variant runs on demand."""
        return any(variant.serverless for variant in self.variants)

    def variant(self, name: str) -> Variant | None:
        """Return the variant of that name."""
        return next((variant for variant in self.variants if variant.name == name), None)

    def to_facts(self, variants: Iterable[Variant]) -> Facts:
        """Return what a restart needs to know: all this, with the variants to start."""
        return {
            "EndpointConfigName": self.config,
            "EndpointStatus": self.status,
            "FailureReason": self.reason,
            "LastModifiedTime": self.modified,
            "LastDeploymentConfig": self.deployment,
            "AsyncInferenceConfig": self.async_config,
            "DataCaptureConfig": self.capture,
            "Variants": [variant.to_facts() for variant in variants],
        }

    def description(self) -> Facts:
        """Return what DescribeEndpoint answers."""
        facts: Facts = {
            **self.summary(),
            "EndpointConfigName": self.config,
            "ProductionVariants": [variant.summary() for variant in self.variants],
            "FailureReason": self.reason[:1024],  # botocore's FailureReason
            "LastDeploymentConfig": self.deployment,
            "PendingDeploymentSummary": self.pending,
            "AsyncInferenceConfig": self.async_config,
            "DataCaptureConfig": self.capture and _describe_capture(self.capture),
        }
        return {name: value for name, value in facts.items() if value}

    def summary(self) -> Facts:
        """Return what ListEndpoints says of the endpoint."""
        return {
            "EndpointName": self.name,
            "EndpointArn": self.arn,
            "CreationTime": self.created,
            "LastModifiedTime": self.modified,
            "EndpointStatus": self.status,
        }

    def state(self) -> Facts:
        """Return what only the local cloud knows of the endpoint."""
        return {
            "endpoint": self.name,
            "status": self.status,
            "variants": [variant.state() for variant in self.variants],
        }


def _describe_capture(config: Facts) -> Facts:
    """Return what DescribeEndpoint says of a DataCaptureConfig."""
    enabled = bool(config.get("EnableCapture", True))
    return {
        "EnableCapture": enabled,
        "CaptureStatus": "Started" if enabled else "Stopped",
        "CurrentSamplingPercentage": config["InitialSamplingPercentage"],
        "DestinationS3Uri": config["DestinationS3Uri"],
        "KmsKeyId": "",  # botocore's model asks for one
    }


def draw_variant(variants: Sequence[Variant]) -> Variant:
    """Return the variant for a request: drawn by weight; where all are 0, by none."""
    if len(variants) == 1:
        return variants[0]
    weights = [variant.weight for variant in variants]
    return random.choices(variants, weights if any(weights) else None)[0]  # noqa: S311 - no secret


async def start_all(fleets: Sequence[LocalFleet]) -> None:
    """Start fleets that are to answer together.

    Raises:
        LaunchFailed: One did not come up; all were ended.
    """
    loop = asyncio.get_running_loop()
    starting = [loop.create_task(fleet.start()) for fleet in fleets]
    try:
        await asyncio.gather(*starting)
    except BaseException:
        for task in starting:
            task.cancel()
        await asyncio.gather(*starting, return_exceptions=True)
        await close_all(fleets)
        raise


async def close_all(fleets: Iterable[LocalFleet], *, drain: bool = False) -> None:
    """End fleets, where asked for when they have answered everything."""
    fleets = list(fleets)
    if drain:
        await asyncio.gather(*(fleet.drain() for fleet in fleets))
    await asyncio.gather(*(fleet.close() for fleet in fleets))
