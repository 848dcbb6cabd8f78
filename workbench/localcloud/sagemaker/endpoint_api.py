"""The endpoints of a local cloud: made, changed, ended, and brought back after a restart."""

import asyncio
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from workbench.localcloud.core.paging import paginate
from workbench.localcloud.core.protocol import Operation, now, validation_error
from workbench.localcloud.core.settings import LocalCloudSettings, limit_resources
from workbench.localcloud.core.store import Store
from workbench.localcloud.core.tasks import TaskSet
from workbench.localcloud.sagemaker.endpoints import Endpoint, Variant, close_all, start_all
from workbench.localcloud.sagemaker.models import ModelApi, PackageLookup, check_serverless
from workbench.localcloud.sagemaker.resources import Resources, not_found_error
from workbench.localcloud.sandbox.fleets import LocalFleet, RealTimeFleet, ServerlessFleet
from workbench.localcloud.sandbox.instances import (
    Launcher,
    LaunchFailed,
    LaunchSettings,
    ModelStore,
)

_STARTUP_TIMEOUT = (
    480.0  # seconds for /ping on instances (AWS: "Custom Inference Code with Hosting")
)
_SERVERLESS_STARTUP_TIMEOUT = 180.0  # on serverless endpoints (AWS: serverless troubleshooting)
_DESCRIBE_TIMEOUT = 10.0  # seconds that DescribeEndpoint waits for an endpoint to settle


class EndpointApi:
    """SageMaker's hosting operations, and the endpoints that run.

    Args:
        store: Where models, configurations and endpoints are kept.
        objects: Where models lie: S3.
        versions: The Model Registry's versions.
        folder: For logs and unpacked models.
        settings: How endpoints behave.
    """

    def __init__(
        self,
        store: Store,
        objects: ModelStore,
        versions: PackageLookup,
        folder: Path,
        settings: LocalCloudSettings | None = None,
    ) -> None:
        self.settings = settings or LocalCloudSettings()
        self._resources = Resources(store)
        self._definitions = ModelApi(self._resources, objects, versions)
        self._launcher = Launcher(store, objects, folder)
        self._endpoints: dict[str, Endpoint] = {}
        self._tasks = TaskSet()
        self.changed: Callable[[Endpoint], None] = lambda _: None
        """Called with each endpoint whose status has changed."""

    def operations(self) -> dict[str, Operation]:
        """Return what answers SageMaker's operations, by name."""
        return {
            **self._definitions.operations(),
            "CreateEndpoint": self._create,
            "DescribeEndpoint": self._describe,
            "ListEndpoints": self._list,
            "UpdateEndpoint": self._update,
            "UpdateEndpointWeightsAndCapacities": self._update_weights_and_capacities,
            "DeleteEndpoint": self._delete,
        }

    def find_in_service(self, name: str) -> Endpoint | None:
        """Return the endpoint of that name if it answers requests."""
        endpoint = self._endpoints.get(name)
        return endpoint if endpoint is not None and endpoint.variants else None

    @property
    def endpoints(self) -> list[Endpoint]:
        """All endpoints, whatever their status."""
        return list(self._endpoints.values())

    def find(self, name: str) -> Endpoint | None:
        """Return the endpoint of that name, whatever its status."""
        return self._endpoints.get(name)

    def state(self) -> dict[str, Any]:
        """Return what only a local cloud knows: its settings, and every instance."""
        return {
            "settings": asdict(self.settings),
            "endpoints": [endpoint.state() for endpoint in self._endpoints.values()],
        }

    async def start(self) -> None:
        """Bring back the endpoints that were there when the local cloud ended.

        They are `SystemUpdating` until their instances are up; requests wait so long.
        """
        for kept in self._resources.all("endpoint"):
            endpoint = Endpoint(
                kept.name,
                kept.arn,
                kept.facts["EndpointConfigName"],
                kept.created,
                kept.facts["LastModifiedTime"],
                deployment=kept.facts["LastDeploymentConfig"],
                async_config=kept.facts.get("AsyncInferenceConfig"),
                capture=kept.facts.get("DataCaptureConfig"),
            )
            self._endpoints[kept.name] = endpoint
            self._resume(endpoint, kept.facts)

    async def close(self) -> None:
        """End every instance; the endpoints stay known."""
        await self._tasks.cancel()
        endpoints = self._endpoints.values()
        await close_all(variant.fleet for each in endpoints for variant in each.variants)
        await self._launcher.close()

    def _resume(self, endpoint: Endpoint, facts: Mapping[str, Any]) -> None:
        status = facts["EndpointStatus"]
        if status == "Failed":
            endpoint.set_status("Failed", facts["FailureReason"])
        elif status == "Deleting":
            endpoint.set_status("Deleting")
            self._tasks.start(self._delete_endpoint(endpoint))
        elif status == "Creating":
            self._tasks.start(
                self._bring_up(endpoint, self._create_variants(endpoint, facts["Variants"]))
            )
        else:
            endpoint.variants = self._create_variants(endpoint, facts["Variants"])
            endpoint.set_status("SystemUpdating")
            self._tasks.start(self._bring_up(endpoint, endpoint.variants))

    # --- operations

    async def _create(self, params: dict[str, Any]) -> dict[str, Any]:
        name, config = params["EndpointName"], params["EndpointConfigName"]
        wanted = self._definitions.variants(config)
        added = self._resources.add("endpoint", name, {}, params.get("Tags", []))
        endpoint = Endpoint(name, added.arn, config, added.created, added.created)
        endpoint.deployment = params.get("DeploymentConfig")
        endpoint.async_config = self._definitions.async_config(config)
        endpoint.capture = self._definitions.capture(config)
        variants = self._create_variants(endpoint, wanted)
        endpoint.pending = _describe_pending(config, variants)
        self._endpoints[name] = endpoint
        self._save(endpoint, variants)
        self.changed(endpoint)
        self._tasks.start(self._bring_up(endpoint, variants))
        return {"EndpointArn": added.arn}

    async def _describe(self, params: dict[str, Any]) -> dict[str, Any]:
        """Wait a while for an endpoint on its way, so that who polls knows at once."""
        endpoint = self._get(params)
        try:
            async with asyncio.timeout(_DESCRIBE_TIMEOUT):
                await endpoint.stable.wait()
        except TimeoutError:
            pass
        return self._get(params).description()

    async def _list(self, params: dict[str, Any]) -> dict[str, Any]:
        summaries = [endpoint.summary() for endpoint in self._endpoints.values()]
        equal = {"StatusEquals": "EndpointStatus"}
        sorts = {"Status": "EndpointStatus"}
        chosen, more = paginate(summaries, params, name="EndpointName", equal=equal, sorts=sorts)
        return {"Endpoints": chosen, **more}

    async def _update(self, params: dict[str, Any]) -> dict[str, Any]:
        """Start the new instances, hand over, then end the old ones once they have answered.

        Traffic is shifted all at once, whatever the deployment configuration says.
        """
        endpoint = self._find_changeable(params)
        config = params["EndpointConfigName"]
        wanted = self._definitions.variants(config)
        if params.get("RetainAllVariantProperties"):
            excluded = params.get("ExcludeRetainedVariantProperties", [])
            leave = {each["VariantPropertyType"] for each in excluded}
            wanted = [_retain_capacity(variant, endpoint, leave) for variant in wanted]
        asynchronous = self._definitions.async_config(config)
        if (asynchronous is None) != (endpoint.async_config is None):
            raise validation_error("An endpoint stays asynchronous or not; create another one.")
        variants = self._create_variants(endpoint, wanted)
        if not endpoint.serverless and any(variant.serverless for variant in variants):
            raise validation_error(
                "An endpoint on instances cannot become serverless; create another one."
            )
        if not params.get("RetainDeploymentConfig"):
            endpoint.deployment = params.get("DeploymentConfig")
        endpoint.pending = _describe_pending(config, variants)
        self._set_status(endpoint, "Updating")
        configs = asynchronous, self._definitions.capture(config)
        self._tasks.start(self._swap_variants(endpoint, config, variants, configs))
        return {"EndpointArn": endpoint.arn}

    async def _update_weights_and_capacities(self, params: dict[str, Any]) -> dict[str, Any]:
        endpoint = self._find_changeable(params)
        changes = [
            _VariantChange.of(endpoint, wanted) for wanted in params["DesiredWeightsAndCapacities"]
        ]
        self._set_status(endpoint, "Updating")
        self._tasks.start(self._apply(endpoint, changes))
        return {"EndpointArn": endpoint.arn}

    async def _delete(self, params: dict[str, Any]) -> dict[str, Any]:
        endpoint = self._get(params)
        if endpoint.busy:
            raise _in_progress_error(endpoint)
        self._set_status(endpoint, "Deleting")
        self._tasks.start(self._delete_endpoint(endpoint))
        return {}

    # --- the way from one status to another

    async def _bring_up(self, endpoint: Endpoint, variants: list[Variant]) -> None:
        try:
            await start_all(variants)
        except LaunchFailed as error:
            endpoint.variants = []
            self._set_status(endpoint, "Failed", str(error))
        else:
            endpoint.variants = variants
            self._set_status(endpoint, "InService")

    async def _swap_variants(
        self,
        endpoint: Endpoint,
        config: str,
        variants: list[Variant],
        configs: tuple[dict[str, Any] | None, dict[str, Any] | None],
    ) -> None:
        try:
            await start_all(variants)
        except LaunchFailed as error:
            self._set_status(endpoint, "InService", f"The update was undone. {error}")
            return
        former, endpoint.variants = endpoint.variants, variants
        endpoint.config = config
        endpoint.async_config, endpoint.capture = configs
        self._set_status(endpoint, "InService")
        await close_all((variant.fleet for variant in former), drain=True)

    async def _apply(self, endpoint: Endpoint, changes: Iterable["_VariantChange"]) -> None:
        done: list[_VariantChange] = []
        try:
            for change in changes:
                await change.resize()
                done.append(change)
        except LaunchFailed as error:
            for change in done:
                await change.undo()
            self._set_status(endpoint, "InService", f"The update was undone. {error}")
            return
        for change in done:
            change.variant.weight = change.weight
        self._set_status(endpoint, "InService")

    async def _delete_endpoint(self, endpoint: Endpoint) -> None:
        former, endpoint.variants = endpoint.variants, []
        await close_all((variant.fleet for variant in former), drain=True)
        self._resources.remove("endpoint", endpoint.name)
        del self._endpoints[endpoint.name]
        endpoint.stable.set()

    def _set_status(self, endpoint: Endpoint, status: str, reason: str = "") -> None:
        endpoint.modified = now()
        endpoint.set_status(status, reason)
        if not endpoint.busy:
            endpoint.pending = None
        self._save(endpoint, endpoint.variants)
        self.changed(endpoint)

    def _save(self, endpoint: Endpoint, variants: Iterable[Variant]) -> None:
        self._resources.change("endpoint", endpoint.name, endpoint.to_facts(variants))

    # --- parts

    def _get(self, params: Mapping[str, Any]) -> Endpoint:
        name = params["EndpointName"]
        if name not in self._endpoints:
            raise not_found_error("endpoint", name)
        return self._endpoints[name]

    def _find_changeable(self, params: Mapping[str, Any]) -> Endpoint:
        endpoint = self._get(params)
        if endpoint.busy:
            raise _in_progress_error(endpoint)
        if endpoint.status != "InService":
            raise validation_error(
                f'Endpoint "{endpoint.arn}" is {endpoint.status}; only one that is InService can '
                "be updated. Delete it and create it again."
            )
        return endpoint

    def _create_variants(
        self, endpoint: Endpoint, variants: Iterable[Mapping[str, Any]]
    ) -> list[Variant]:
        return [self._create_variant(endpoint, dict(facts)) for facts in variants]

    def _create_variant(self, endpoint: Endpoint, facts: dict[str, Any]) -> Variant:
        container = facts.pop("Container")
        weight = facts.get("InitialVariantWeight", 1.0)
        launch = self._launcher.launch(self._build_launch_settings(endpoint.name, facts, container))
        serverless = facts.get("ServerlessConfig")
        if serverless:
            fleet: LocalFleet = ServerlessFleet(
                launch,
                max_concurrency=serverless["MaxConcurrency"],
                provisioned=serverless.get("ProvisionedConcurrency", 0),
                keep_alive=self.settings.keep_alive,
            )
        else:
            routing = facts.get("RoutingConfig", {}).get("RoutingStrategy", "RANDOM")
            if endpoint.async_config is not None:  # so that none gets more than its share
                routing = "LEAST_OUTSTANDING_REQUESTS"
            fleet = RealTimeFleet(launch, count=facts["InitialInstanceCount"], routing=routing)
        return Variant(facts, container, fleet, weight)

    def _build_launch_settings(
        self, endpoint: str, facts: Mapping[str, Any], container: Mapping[str, Any]
    ) -> LaunchSettings:
        serverless = facts.get("ServerlessConfig")
        limit = _SERVERLESS_STARTUP_TIMEOUT if serverless else _STARTUP_TIMEOUT
        asked = facts.get("ContainerStartupHealthCheckTimeoutInSeconds", limit)
        return LaunchSettings(
            endpoint=endpoint,
            variant=facts["VariantName"],
            bucket=container["Bucket"],
            key=container["Key"],
            environment=container.get("Environment", {}),
            mode=self.settings.cold_start if serverless else "fresh",
            limits=limit_resources(serverless["MemorySizeInMB"]) if serverless else None,
            startup_limit=asked,
        )


@dataclass(frozen=True, slots=True)
class _VariantChange:
    """What UpdateEndpointWeightsAndCapacities makes of one variant, and what it was."""

    variant: Variant
    weight: float
    size: tuple[int, ...]
    former: tuple[int, ...]

    @staticmethod
    def of(endpoint: Endpoint, wanted: Mapping[str, Any]) -> "_VariantChange":
        """Return a change that can be made.

        Raises:
            AwsError: There is no such variant, or it is not of the type that the change is for.
        """
        name = wanted["VariantName"]
        variant = endpoint.variant(name)
        if variant is None:
            raise validation_error(f'Endpoint "{endpoint.arn}" has no variant {name}.')
        weight = wanted.get("DesiredWeight", variant.weight)
        fleet = variant.fleet
        if isinstance(fleet, RealTimeFleet):
            if "ServerlessUpdateConfig" in wanted:
                raise validation_error(f"Variant {name} is on instances, not serverless.")
            count = wanted.get("DesiredInstanceCount", fleet.count)
            if count < 1 and endpoint.async_config is None:
                raise validation_error(
                    f"DesiredInstanceCount of variant {name} must be at least 1."
                )
            return _VariantChange(variant, weight, (count,), (fleet.count,))
        assert isinstance(fleet, ServerlessFleet)  # noqa: S101 - the only other one
        if "DesiredInstanceCount" in wanted:
            raise validation_error(
                f"Variant {name} is serverless: change its ServerlessUpdateConfig."
            )
        former = (fleet.max_concurrency, fleet.provisioned)
        asked = wanted.get("ServerlessUpdateConfig", {})
        most = asked.get("MaxConcurrency", former[0])
        provisioned = asked.get("ProvisionedConcurrency", former[1])
        memory = variant.facts["ServerlessConfig"]["MemorySizeInMB"]
        limits = {"MaxConcurrency": most, "ProvisionedConcurrency": provisioned}
        check_serverless(name, {"MemorySizeInMB": memory} | limits)
        return _VariantChange(variant, weight, (most, provisioned), former)

    async def resize(self) -> None:
        """Give the variant its new size.

        Raises:
            LaunchFailed: An instance did not come up; the size is as before.
        """
        await _resize(self.variant.fleet, self.size)

    async def undo(self) -> None:
        """Give the variant its former size; instances that cannot be had again stay away."""
        await _resize(self.variant.fleet, self.former)


async def _resize(fleet: LocalFleet, size: tuple[int, ...]) -> None:
    if isinstance(fleet, RealTimeFleet):
        await fleet.resize(*size)
    elif isinstance(fleet, ServerlessFleet):
        most, provisioned = size
        await fleet.resize(max_concurrency=most, provisioned=provisioned)


def _in_progress_error(endpoint: Endpoint) -> Exception:
    return validation_error(f'Cannot update in-progress endpoint "{endpoint.arn}".')


def _describe_pending(config: str, variants: Iterable[Variant]) -> dict[str, Any]:
    """Return what DescribeEndpoint says of a deployment that is under way."""
    return {
        "EndpointConfigName": config,
        "ProductionVariants": [variant.summary() for variant in variants],
    }


def _retain_capacity(
    facts: Mapping[str, Any], endpoint: Endpoint, leave: set[str]
) -> dict[str, Any]:
    """Return a variant of the new configuration with the present weight and count."""
    kept = dict(facts)
    present = endpoint.variant(facts["VariantName"])
    if present is None:
        return kept
    if "DesiredWeight" not in leave:
        kept["InitialVariantWeight"] = present.weight
    fleet = present.fleet
    if (
        "DesiredInstanceCount" not in leave
        and isinstance(fleet, RealTimeFleet)
        and "InitialInstanceCount" in kept
    ):
        kept["InitialInstanceCount"] = fleet.count
    return kept
