"""Models and endpoint configurations: what an endpoint is made of, kept and checked.

What botocore's service model cannot say of parameters is checked here, as AWS does. What AWS has
and the local cloud has not is refused by name.
"""

import asyncio
from collections.abc import Mapping
from functools import partial
from typing import Any

from workbench.localcloud.core.images import (
    SERVE_ANYWAY,
    describe_program,
    find_program,
    is_own_image,
    list_names,
    serves_anyway,
)
from workbench.localcloud.core.paging import paginate
from workbench.localcloud.core.protocol import (
    ACCOUNT,
    REGION,
    AwsError,
    Operation,
    not_implemented_error,
    validation_error,
)
from workbench.localcloud.sagemaker.model_packages import Packages
from workbench.localcloud.sagemaker.resources import Kind, Resources
from workbench.localcloud.sandbox.instances import ModelStore

MEMORY_SIZES = (1024, 2048, 3072, 4096, 5120, 6144)
"""MB that a serverless endpoint can have (botocore's ProductionVariantServerlessConfig)."""

_UNSUPPORTED_CONFIG_MEMBERS = {
    "ShadowProductionVariants": "A shadow variant (ShadowProductionVariants)",
    "ExplainerConfig": "An explainer (ExplainerConfig)",
}
_UNSUPPORTED_VARIANT_MEMBERS = {
    "InstancePools": "Several instance types in one variant (InstancePools)",
    "ManagedInstanceScaling": "Scaling by SageMaker itself (ManagedInstanceScaling)",
    "AcceleratorPartitionLayouts": "Partitioned accelerators (AcceleratorPartitionLayouts)",
}
_ROUTING_STRATEGIES = ("RANDOM", "LEAST_OUTSTANDING_REQUESTS")


class ModelApi:
    """The models and endpoint configurations of a local cloud."""

    def __init__(self, resources: Resources, objects: ModelStore, packages: Packages) -> None:
        self._resources = resources
        self._objects = objects
        self._packages = packages

    def operations(self) -> dict[str, Operation]:
        """Return what answers SageMaker's operations, by name."""
        return {
            "CreateModel": self._create_model,
            "DescribeModel": partial(self._describe, "model", "Model"),
            "ListModels": partial(self._list, "model", "Model"),
            "DeleteModel": partial(self._delete, "model", "Model"),
            "CreateEndpointConfig": self._create_config,
            "DescribeEndpointConfig": partial(self._describe, "endpoint-config", "EndpointConfig"),
            "ListEndpointConfigs": partial(self._list, "endpoint-config", "EndpointConfig"),
            "DeleteEndpointConfig": partial(self._delete, "endpoint-config", "EndpointConfig"),
        }

    def config(self, name: str) -> dict[str, Any]:
        """Return what an endpoint configuration was made with.

        Raises:
            AwsError: It is gone.
        """
        return self._resources.get("endpoint-config", name).facts

    def variants(self, config: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Return a configuration's variants, each with its model's `Container`.

        Raises:
            AwsError: One of its models, or what that is made of, is gone.
        """
        return [
            variant | {"Container": self.container(variant["ModelName"])}
            for variant in config["ProductionVariants"]
        ]

    def container(self, model: str) -> dict[str, Any]:
        """Return the container that runs a model: image, where the model lies, environment.

        Raises:
            AwsError: The model, or what it is made of, is gone.
        """
        facts = self._resources.get("model", model).facts
        return self._resolve_container(_containers(facts)[0])

    def _resolve_container(self, container: Mapping[str, Any]) -> dict[str, Any]:
        """Return a container with what its model package says, if it is of one."""
        resolved = dict(container)
        if package := container.get("ModelPackageName"):
            facts = self._packages.get(package)
            if facts.get("ModelApprovalStatus") != "Approved":
                raise validation_error(
                    f'Model package "{package}" is {facts.get("ModelApprovalStatus")}; only one '
                    "that is Approved can be deployed. Approve it with UpdateModelPackage."
                )
            resolved = {**facts["InferenceSpecification"]["Containers"][0], **container}
        bucket, key = _find_location(resolved)
        try:
            self._objects.open(bucket, key)
        except AwsError as error:
            raise validation_error(f"Could not find model data at s3://{bucket}/{key}.") from error
        kept = {name: resolved[name] for name in ("Image", "Environment") if name in resolved}
        return kept | {"Bucket": bucket, "Key": key}

    # --- models

    async def _create_model(self, params: dict[str, Any]) -> dict[str, Any]:
        facts = dict(params)
        tags = facts.pop("Tags", [])
        containers = _containers(facts)
        if len(containers) > 1:
            raise not_implemented_error("A model of several containers")
        container = containers[0]
        if not container.get("Image") and not container.get("ModelPackageName"):
            raise validation_error("A container needs an Image or a ModelPackageName.")
        if container.get("Mode") == "MultiModel":
            raise not_implemented_error("A container of many models (MultiModel)")
        await self._check_program(self._resolve_container(container))
        made = self._resources.add("model", facts["ModelName"], facts, tags)
        return {"ModelArn": made.arn}

    async def _check_program(self, container: Mapping[str, Any]) -> None:
        """Refuse a model whose program would be replaced by ours without a word."""
        variables = container.get("Environment", {})
        if serves_anyway(variables):
            return
        image = container.get("Image", "")
        if not is_own_image(image):
            raise validation_error(
                f"The local cloud cannot run the image {image}: it has the workbench's own alone, "
                f"{ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com/workbench:latest, for models in "
                f"ONNX. Name that one, or set {SERVE_ANYWAY}=1 in the container's Environment to "
                "have it answer for the other."
            )
        archive = self._objects.open(container["Bucket"], container["Key"])
        names = await asyncio.to_thread(list_names, archive)
        if program := find_program(names, variables):
            raise validation_error(describe_program(program))

    # --- endpoint configurations

    async def _create_config(self, params: dict[str, Any]) -> dict[str, Any]:
        facts = dict(params)
        tags = facts.pop("Tags", [])
        _reject_unsupported(_UNSUPPORTED_CONFIG_MEMBERS, facts)
        variants = facts["ProductionVariants"]
        names = [variant["VariantName"] for variant in variants]
        if len(set(names)) < len(names):
            raise validation_error(
                f"Every variant needs a name of its own, got {', '.join(names)}."
            )
        for variant in variants:
            _check_variant(variant)
            self._resources.get("model", variant["ModelName"])
        serverless = any(variant.get("ServerlessConfig") for variant in variants)
        # developer guide, "Deploy models with Amazon SageMaker Serverless Inference", exclusions
        if serverless and len(variants) > 1:
            raise validation_error(
                "An endpoint with a serverless variant can have no other variant."
            )
        if "AsyncInferenceConfig" in facts:
            _check_asynchronous(facts["AsyncInferenceConfig"], serverless=serverless)
        if "DataCaptureConfig" in facts:
            _check_capture(facts, serverless=serverless)
        # API reference, ProductionVariant
        facts["ProductionVariants"] = [{"InitialVariantWeight": 1.0} | each for each in variants]
        made = self._resources.add("endpoint-config", facts["EndpointConfigName"], facts, tags)
        return {"EndpointConfigArn": made.arn}

    # --- both; what AWS's members are called begins with `prefix`

    async def _describe(self, kind: Kind, prefix: str, params: dict[str, Any]) -> dict[str, Any]:
        found = self._resources.get(kind, params[f"{prefix}Name"])
        return {**found.facts, f"{prefix}Arn": found.arn, "CreationTime": found.created}

    async def _list(self, kind: Kind, prefix: str, params: dict[str, Any]) -> dict[str, Any]:
        name, its_arn = f"{prefix}Name", f"{prefix}Arn"
        summaries = [
            {name: found.name, its_arn: found.arn, "CreationTime": found.created}
            for found in self._resources.all(kind)
        ]
        chosen, more = paginate(summaries, params, name=name)
        return {f"{prefix}s": chosen, **more}

    async def _delete(self, kind: Kind, prefix: str, params: dict[str, Any]) -> dict[str, Any]:
        self._resources.remove(kind, params[f"{prefix}Name"])
        return {}


def _containers(model: Mapping[str, Any]) -> list[dict[str, Any]]:
    primary, several = model.get("PrimaryContainer"), model.get("Containers")
    if bool(primary) == bool(several):
        raise validation_error(
            "A model has either a PrimaryContainer or Containers, and one of the two."
        )
    return [primary] if primary else list(several or [])


def _find_location(container: Mapping[str, Any]) -> tuple[str, str]:
    """Return bucket and key of a container's model.tar.gz."""
    url = container.get("ModelDataUrl")
    if source := container.get("ModelDataSource", {}).get("S3DataSource"):
        if source["CompressionType"] != "Gzip":
            raise not_implemented_error("A model that is not a tar.gz (CompressionType None)")
        url = source["S3Uri"]
    if not url:
        raise not_implemented_error("A model that lies in its image, without ModelDataUrl")
    scheme, _, path = url.partition("://")
    bucket, _, key = path.partition("/")
    if scheme != "s3" or not bucket or not key:
        raise validation_error(
            f"ModelDataUrl must look like s3://bucket/path/model.tar.gz, got {url}."
        )
    return bucket, key


def _reject_unsupported(not_there: Mapping[str, str], facts: Mapping[str, Any]) -> None:
    for member, words in not_there.items():
        if facts.get(member):
            raise not_implemented_error(words)


def _check_variant(variant: Mapping[str, Any]) -> None:
    name = variant["VariantName"]
    _reject_unsupported(_UNSUPPORTED_VARIANT_MEMBERS, variant)
    if not variant.get("ModelName"):
        raise not_implemented_error("A variant without ModelName, for inference components")
    routing = variant.get("RoutingConfig", {}).get("RoutingStrategy", "RANDOM")
    if routing not in _ROUTING_STRATEGIES:
        raise not_implemented_error(f"RoutingStrategy {routing}")
    serverless = variant.get("ServerlessConfig")
    on_instances = [
        member for member in ("InstanceType", "InitialInstanceCount") if variant.get(member)
    ]
    if serverless and on_instances:
        raise validation_error(
            f"Variant {name} has ServerlessConfig and {' and '.join(on_instances)}; "
            "a variant is serverless or on instances."
        )
    if serverless:
        check_serverless(name, serverless)
    elif len(on_instances) < 2:
        raise validation_error(
            f"Variant {name} needs InstanceType and InitialInstanceCount, or ServerlessConfig."
        )


def check_serverless(variant: str, config: Mapping[str, Any]) -> None:
    """Check what botocore's ranges do not say of a serverless variant.

    Raises:
        AwsError: Memory or concurrency are not what they must be.
    """
    memory, most = config["MemorySizeInMB"], config["MaxConcurrency"]
    provisioned = config.get("ProvisionedConcurrency", 0)
    if memory not in MEMORY_SIZES:
        sizes = ", ".join(map(str, MEMORY_SIZES))
        raise validation_error(
            f"MemorySizeInMB of variant {variant} must be one of {sizes}; got {memory}."
        )
    if provisioned > most:
        raise validation_error(
            f"ProvisionedConcurrency of variant {variant} must not exceed its MaxConcurrency of "
            f"{most}, got {provisioned}."
        )


def _check_asynchronous(config: Mapping[str, Any], *, serverless: bool) -> None:
    output = config["OutputConfig"]
    if serverless:
        raise validation_error("A serverless variant cannot have an AsyncInferenceConfig.")
    if not output.get("S3OutputPath"):
        raise validation_error("AsyncInferenceConfig needs an S3OutputPath in its OutputConfig.")
    if output.get("KmsKeyId"):
        raise not_implemented_error("Encryption of results (KmsKeyId)")
    if output.get("NotificationConfig", {}).get("IncludeInferenceResponseIn"):
        raise not_implemented_error("A result within its notification (IncludeInferenceResponseIn)")
    for member in ("S3OutputPath", "S3FailurePath"):
        if member in output:
            split_s3(member, output[member])


def _check_capture(facts: Mapping[str, Any], *, serverless: bool) -> None:
    config = facts["DataCaptureConfig"]
    if serverless:  # likewise excluded
        raise validation_error("A serverless variant cannot have a DataCaptureConfig.")
    if "AsyncInferenceConfig" in facts:
        raise not_implemented_error("Data capture (DataCaptureConfig) of asynchronous endpoints")
    if config.get("KmsKeyId"):
        raise not_implemented_error("Encryption of captured data (KmsKeyId)")
    split_s3("DestinationS3Uri", config["DestinationS3Uri"])


def split_s3(member: str, url: str) -> tuple[str, str]:
    """Return bucket and key of an address in S3.

    Raises:
        AwsError: It is none.
    """
    scheme, _, path = url.partition("://")
    bucket, _, key = path.partition("/")
    if scheme == "https":
        raise not_implemented_error(f"{member} that begins with https://")
    if scheme != "s3" or not bucket:
        raise validation_error(f"{member} must look like s3://bucket/path, got {url}.")
    return bucket, key
