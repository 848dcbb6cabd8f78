"""Functions on instances that Lambda manages: a capacity provider, a function, a version.

The order is that of the Lambda developer guide, "Lambda Managed Instances" (read 2026-11-29):
instances are launched when a version is published, and go when the function does.
"""

import time
from typing import Any, ClassVar

from workbench.backends.asynchronous import Mailbox
from workbench.cloud.adapters.base import Creation
from workbench.cloud.adapters.lambda_ import (
    FunctionAdapter,
    await_state,
    create_function,
    publish,
    read_state,
)
from workbench.cloud.adapters.resources import PATIENCE, pause
from workbench.cloud.aws import OPERATOR_ROLE, SECURITY_GROUPS, SUBNETS, Cloud
from workbench.cloud.client import CloudClient, is_missing
from workbench.cloud.ledger import LedgerEntry
from workbench.deployment import LambdaManaged
from workbench.errors import CloudError, NotAvailable

_IN_USE = "ResourceConflictException"  # a provider whose instances are not gone yet
_UNKNOWN = "NotImplemented"  # of a cloud that has no such thing, and so none to delete


class LambdaManagedAdapter(FunctionAdapter[LambdaManaged]):
    """Makes functions on managed instances."""

    ledger_kind: ClassVar[str] = "managed function"
    in_flight: ClassVar[int] = 256

    def check_quota(self, deployment: LambdaManaged, cloud: Cloud) -> None:
        """Require to know where the instances may be, and by which role."""
        if not (cloud.operator_role and cloud.subnets):
            raise NotAvailable(
                f"{deployment.label} needs a role by which Lambda manages instances, and subnets: "
                f"${OPERATOR_ROLE}, ${SUBNETS} and ${SECURITY_GROUPS}."
            )

    def create(self, creation: Creation[LambdaManaged], mailbox: Mailbox | None) -> str:  # noqa: ARG002
        """Create provider, function and version, wait until it answers, and return its name."""
        aws, entry, deployment = creation.aws, creation.entry, creation.deployment
        name = entry.name
        provider = _create_provider(aws, entry, deployment)
        managed = {
            "CapacityProviderArn": provider,
            "PerExecutionEnvironmentMaxConcurrency": deployment.concurrency,
            "ExecutionEnvironmentMemoryGiBPerVCpu": float(deployment.memory_gb_per_vcpu),
        }
        create_function(
            creation,
            MemorySize=deployment.memory_mb,
            Timeout=deployment.timeout,
            Architectures=[deployment.architecture],
            CapacityProviderConfig={"LambdaManagedInstancesCapacityProviderConfig": managed},
        )
        ready = ("Active", "ActiveNonInvocable", "Inactive")  # it is called by its version alone
        await_state(aws, entry, lambda: read_state(aws, name), *ready)
        version = publish(aws, entry)
        limits = {
            "MinExecutionEnvironments": deployment.least,
            "MaxExecutionEnvironments": deployment.most,
        }
        aws.lambda_(
            "put_function_scaling_config",
            FunctionName=name,
            Qualifier=version,
            FunctionScalingConfig=limits,
        )
        await_state(aws, entry, lambda: read_state(aws, f"{name}:{version}"), "Active")
        return f"{name}:{version}"

    def delete(self, aws: CloudClient, entry: LedgerEntry) -> None:
        """Delete the function, then its provider once its instances are gone, and wait for that."""
        super().delete(aws, entry)
        try:
            _delete_provider(aws, entry)
        except CloudError as error:
            if not is_missing(error) and error.code != _UNKNOWN:
                raise


def _delete_provider(aws: CloudClient, entry: LedgerEntry) -> None:
    """Delete a provider as soon as it is not in use, and look at it until it does not exist."""
    deadline = time.monotonic() + PATIENCE
    operation = "delete_capacity_provider"
    while True:
        try:
            aws.lambda_(operation, CapacityProviderName=entry.name)
            operation = "get_capacity_provider"
        except CloudError as error:
            if error.code != _IN_USE:
                raise
        pause(aws, entry, deadline)


def _create_provider(aws: CloudClient, entry: LedgerEntry, deployment: LambdaManaged) -> str:
    """Create the capacity provider of an entry, wait until it is there, and return its ARN."""
    cloud = aws.cloud
    tracked = {
        "PredefinedMetricType": "LambdaCapacityProviderAverageCPUUtilization",
        "TargetValue": 100 * deployment.target,
    }
    answer = aws.lambda_(
        "create_capacity_provider",
        CapacityProviderName=entry.name,
        VpcConfig={
            "SubnetIds": list(cloud.subnets),
            "SecurityGroupIds": list(cloud.security_groups),
        },
        PermissionsConfig={"CapacityProviderOperatorRoleArn": cloud.operator_role},
        InstanceRequirements={
            "Architectures": [deployment.architecture],
            "AllowedInstanceTypes": list(deployment.instance_types),
        },
        CapacityProviderScalingConfig={
            # botocore's greatest
            "MaxVCpuCount": min(15_000, deployment.most * deployment.instance_vcpus),
            "ScalingMode": "Manual",
            "ScalingPolicies": [tracked],
        },
        Tags={each["Key"]: each["Value"] for each in entry.tags},
    )
    provider: dict[str, Any] = answer["CapacityProvider"]

    def read() -> tuple[str, str]:
        found = aws.lambda_("get_capacity_provider", CapacityProviderName=entry.name)
        return str(found["CapacityProvider"]["State"]), ""

    await_state(aws, entry, read, "Active")
    return str(provider["CapacityProviderArn"])
