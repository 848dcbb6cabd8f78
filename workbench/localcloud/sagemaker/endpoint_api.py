"""The endpoints of a local cloud: made, changed, ended, and brought back after a restart."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from workbench.localcloud.core.paging import paginate
from workbench.localcloud.core.protocol import Operation, now, validation_error
from workbench.localcloud.core.settings import LocalCloudSettings, limit_resources
from workbench.localcloud.core.store import Store
from workbench.localcloud.core.tasks import TaskSet
from workbench.localcloud.sagemaker.endpoints import Endpoint, Variant, close_all, start_all
from workbench.localcloud.sagemaker.model_packages import Packages
from workbench.localcloud.sagemaker.models import ModelApi, check_serverless
from workbench.localcloud.sagemaker.resources import Resources, not_found_error
from workbench.localcloud.sandbox.fleets import LocalFleet, RealTimeFleet, ServerlessFleet
from workbench.localcloud.sandbox.instances import (
    Launcher,
    LaunchFailed,
    LaunchSettings,
    ModelStore,
    VariantLauncher,
)

# seconds for /ping on instances (AWS: "Custom Inference Code with Hosting")
_STARTUP_TIMEOUT = 480.0
_SERVERLESS_STARTUP_TIMEOUT = 180.0  # on serverless endpoints (AWS: serverless troubleshooting)
_DESCRIBE_TIMEOUT = 10.0  # seconds that DescribeEndpoint waits for an endpoint to settle


class EndpointApi:
    """SageMaker's hosting operations, and the endpoints that run.

    `folder` is for logs and unpacked models.
    """

    def __init__(
        self,
        store: Store,
        objects: ModelStore,
        packages: Packages,
        folder: Path,
        settings: LocalCloudSettings,
    ) -> None:
        self.settings = settings
        self._store = store
        self._resources = Resources(store)
        self._definitions = ModelApi(self._resources, objects, packages)
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
            facts, modified = kept.facts, kept.facts["LastModifiedTime"]
            endpoint = Endpoint(kept.name, kept.arn, "", kept.created, modified)
            endpoint.deployment = facts["LastDeploymentConfig"]
            endpoint.take_config(facts)
            self._endpoints[kept.name] = endpoint
            self._resume(endpoint, facts)

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
        else:
            variants = self._create_variants(endpoint, facts["Variants"])
            if status != "Creating":
                endpoint.variants = variants
                endpoint.set_status("SystemUpdating")
            self._tasks.start(self._bring_up(endpoint, variants))

    # --- operations

    async def _create(self, params: dict[str, Any]) -> dict[str, Any]:
        name = params["EndpointName"]
        config = self._definitions.config(params["EndpointConfigName"])
        wanted = self._definitions.variants(config)
        with self._store.write():  # all of it or nothing, whatever ends this process
            added = self._resources.add("endpoint", name, {}, params.get("Tags", []))
            endpoint = Endpoint(name, added.arn, "", added.created, added.created)
            endpoint.deployment = params.get("DeploymentConfig")
            endpoint.take_config(config)
            variants = self._create_variants(endpoint, wanted)
            endpoint.pending = _describe_pending(config, variants)
            self._save(endpoint, variants)
        self._endpoints[name] = endpoint
        self.changed(endpoint)
        self._tasks.start(self._bring_up(endpoint, variants))
        return {"EndpointArn": added.arn}

    async def _describe(self, params: dict[str, Any]) -> dict[str, Any]:
        """Wait a while for an endpoint on its way, so that who polls knows at once."""
        with suppress(TimeoutError):
            async with asyncio.timeout(_DESCRIBE_TIMEOUT):
                await self._get(params).stable.wait()
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
        config = self._definitions.config(params["EndpointConfigName"])
        wanted = self._definitions.variants(config)
        if params.get("RetainAllVariantProperties"):
            excluded = params.get("ExcludeRetainedVariantProperties", [])
            leave = {each["VariantPropertyType"] for each in excluded}
            wanted = [_retain_capacity(variant, endpoint, leave) for variant in wanted]
        if ("AsyncInferenceConfig" in config) != (endpoint.async_config is not None):
            raise validation_error("An endpoint stays asynchronous or not; create another one.")
        variants = self._create_variants(endpoint, wanted)
        # the other way is allowed (developer guide, "Update a serverless endpoint")
        if not endpoint.serverless and any(variant.serverless for variant in variants):
            raise validation_error(
                "An endpoint on instances cannot become serverless; create another one."
            )
        if not params.get("RetainDeploymentConfig"):
            endpoint.deployment = params.get("DeploymentConfig")
        endpoint.pending = _describe_pending(config, variants)
        self._set_status(endpoint, "Updating")
        self._tasks.start(self._swap_variants(endpoint, config, variants))
        return {"EndpointArn": endpoint.arn}

    async def _update_weights_and_capacities(self, params: dict[str, Any]) -> dict[str, Any]:
        endpoint = self._find_changeable(params)
        wanted = params["DesiredWeightsAndCapacities"]
        changes = [_plan_change(endpoint, each) for each in wanted]
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
            await start_all([variant.fleet for variant in variants])
        except LaunchFailed as error:
            endpoint.variants = []
            self._set_status(endpoint, "Failed", str(error))
        else:
            endpoint.variants = variants
            self._set_status(endpoint, "InService")

    async def _swap_variants(
        self, endpoint: Endpoint, config: Mapping[str, Any], variants: list[Variant]
    ) -> None:
        try:
            await start_all([variant.fleet for variant in variants])
        except LaunchFailed as error:
            self._set_status(endpoint, "InService", f"The update was undone. {error}")
            return
        former, endpoint.variants = endpoint.variants, variants
        endpoint.take_config(config)
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
                with suppress(LaunchFailed):  # instances that cannot be had again stay away
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
        serverless = facts.get("ServerlessConfig")
        limit = _SERVERLESS_STARTUP_TIMEOUT if serverless else _STARTUP_TIMEOUT
        launch = VariantLauncher(
            self._launcher,
            LaunchSettings(
                endpoint=endpoint.name,
                variant=facts["VariantName"],
                bucket=container["Bucket"],
                key=container["Key"],
                environment=container.get("Environment", {}),
                mode=self.settings.cold_start if serverless else "fresh",
                limits=limit_resources(serverless["MemorySizeInMB"]) if serverless else None,
                startup_limit=facts.get("ContainerStartupHealthCheckTimeoutInSeconds", limit),
            ),
        )
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
        return Variant(facts, container, fleet, facts.get("InitialVariantWeight", 1.0))


@dataclass(frozen=True, slots=True)
class _VariantChange:
    """What UpdateEndpointWeightsAndCapacities makes of one variant, and what makes it undone."""

    variant: Variant
    weight: float
    resize: Callable[[], Awaitable[None]]
    undo: Callable[[], Awaitable[None]]


def _plan_change(endpoint: Endpoint, wanted: Mapping[str, Any]) -> _VariantChange:
    """Return a change that can be made, or refuse it."""
    name = wanted["VariantName"]
    variant = endpoint.variant(name)
    if variant is None:
        raise validation_error(f'Endpoint "{endpoint.arn}" has no variant {name}.')
    weight = wanted.get("DesiredWeight", variant.weight)
    fleet = variant.fleet
    if isinstance(fleet, RealTimeFleet):
        if "ServerlessUpdateConfig" in wanted:
            raise validation_error(f"Variant {name} is on instances, not serverless.")
        count = wanted.get("DesiredInstanceCount", fleet.size)
        if count < 1 and endpoint.async_config is None:
            raise validation_error(f"DesiredInstanceCount of variant {name} must be at least 1.")
        undo = partial(fleet.resize, fleet.size)
        return _VariantChange(variant, weight, partial(fleet.resize, count), undo)
    assert isinstance(fleet, ServerlessFleet)  # noqa: S101 - the only other one
    if "DesiredInstanceCount" in wanted:
        raise validation_error(f"Variant {name} is serverless: change its ServerlessUpdateConfig.")
    most, provisioned = fleet.pool.max_concurrency, fleet.size
    undo = partial(fleet.resize, max_concurrency=most, provisioned=provisioned)
    asked = wanted.get("ServerlessUpdateConfig", {})
    most = asked.get("MaxConcurrency", most)
    provisioned = asked.get("ProvisionedConcurrency", provisioned)
    sizes = {"MaxConcurrency": most, "ProvisionedConcurrency": provisioned}
    check_serverless(name, variant.facts["ServerlessConfig"] | sizes)
    resize = partial(fleet.resize, max_concurrency=most, provisioned=provisioned)
    return _VariantChange(variant, weight, resize, undo)


def _in_progress_error(endpoint: Endpoint) -> Exception:
    return validation_error(f'Cannot update in-progress endpoint "{endpoint.arn}".')


def _describe_pending(config: Mapping[str, Any], variants: Iterable[Variant]) -> dict[str, Any]:
    """Return what DescribeEndpoint says of a deployment that is under way."""
    return {
        "EndpointConfigName": config["EndpointConfigName"],
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
    if (
        "DesiredInstanceCount" not in leave
        and not present.serverless
        and "InitialInstanceCount" in kept
    ):
        kept["InitialInstanceCount"] = present.fleet.size
    return kept
