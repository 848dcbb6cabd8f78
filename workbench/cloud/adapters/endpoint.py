"""What SageMaker's endpoints of all types have in common: configuration, creation, deletion.

Models, endpoint configurations and endpoints go by SageMaker's calls of these names.
"""

import time
from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

from workbench.backends.asynchronous import Mailbox
from workbench.backends.base import Backend
from workbench.backends.sagemaker import SageMakerBackend
from workbench.cloud.adapters.base import CallTarget, Creation, D, LiveAdapter
from workbench.cloud.adapters.resources import (
    PATIENCE,
    create_model,
    ignore_existing,
    pause,
    upload,
)
from workbench.cloud.client import CloudClient, ignore_missing, is_missing
from workbench.cloud.ledger import LedgerEntry
from workbench.errors import CloudError

VARIANT = "all"
"""The name of the variant of an endpoint that has only one."""

NAMESPACE = "AWS/SageMaker"
"""What CloudWatch has endpoints' metrics under."""

_IN_TRANSITION = ("Creating", "Updating", "SystemUpdating", "RollingBack")


class EndpointAdapter(LiveAdapter[D]):
    """Base of the adapters whose deployments are endpoints."""

    ledger_kind: ClassVar[str] = "endpoint"

    @abstractmethod
    def variant(self, deployment: D) -> dict[str, Any]:
        """Return what a production variant says of the deployment."""

    def configuration(
        self,
        creation: Creation[D],
        mailbox: Mailbox | None,  # noqa: ARG002 - of others
    ) -> Mapping[str, Any]:
        """Return what the endpoint configuration says beside its variant."""
        return describe_capture(creation.entry, creation.capture) if creation.capture else {}

    def environment(self, deployment: D) -> dict[str, str]:
        """Return how the model server is set."""
        return {"SAGEMAKER_MODEL_SERVER_WORKERS": str(deployment.instance_workers)}

    def prepare(self, creation: Creation[D]) -> Mailbox | None:
        """Put the model's archive into the bucket."""
        upload(creation.aws, creation.entry, creation.model)
        return None

    def create(self, creation: Creation[D], mailbox: Mailbox | None) -> str:
        """Create model, endpoint configuration and endpoint, in this order, and wait."""
        return self.create_together({VARIANT: creation}, mailbox)

    def create_together(
        self, creations: Mapping[str, Creation[D]], mailbox: Mailbox | None = None
    ) -> str:
        """Create one endpoint with a variant for each model, named as the first's entry."""
        first = next(iter(creations.values()))
        aws, entry, name = first.aws, first.entry, first.entry.name
        for each in creations.values():
            environment = self.environment(each.deployment)
            create_model(aws, each.entry, environment, role=each.role, image=each.image)
        configuration = {
            "EndpointConfigName": name,
            "ProductionVariants": [
                {
                    "VariantName": variant,
                    "ModelName": each.entry.name,
                    **({"InitialVariantWeight": each.weight} if len(creations) > 1 else {}),
                    **self.variant(each.deployment),
                }
                for variant, each in creations.items()
            ],
            **self.configuration(first, mailbox),
        }
        for operation, parameters in (
            ("create_endpoint_config", configuration),
            ("create_endpoint", {"EndpointName": name, "EndpointConfigName": name}),
        ):
            with ignore_existing():
                aws.sagemaker(operation, **parameters, Tags=entry.tags)
        await_service(aws, entry)
        return name

    def backend(self, target: CallTarget[D]) -> Backend:
        """Return what calls InvokeEndpoint."""
        return SageMakerBackend(
            target.name,
            target.cloud,
            concurrency=target.concurrency,
            variant=target.variant,
            variants=target.variants,
        )

    def delete(self, aws: CloudClient, entry: LedgerEntry) -> None:
        """Delete the endpoint, its configuration and its model."""
        _delete_endpoint(aws, entry)  # first: without its model, one being created gets stuck
        for operation, names in (
            ("delete_endpoint_config", {"EndpointConfigName": entry.name}),
            ("delete_model", {"ModelName": entry.name}),
        ):
            with ignore_missing():
                aws.sagemaker(operation, **names)


def name_metric(endpoint: str, metric: str, variant: str | None = VARIANT) -> dict[str, Any]:
    """Return how CloudWatch knows a metric of a variant; without one, of the whole endpoint."""
    names = {"EndpointName": endpoint} | ({"VariantName": variant} if variant else {})
    dimensions = [{"Name": name, "Value": value} for name, value in names.items()]
    return {"Namespace": NAMESPACE, "MetricName": metric, "Dimensions": dimensions}


def describe_capture(entry: LedgerEntry, share: float) -> dict[str, Any]:
    """Return the DataCaptureConfig that keeps a share of requests in an entry's folder."""
    return {
        "DataCaptureConfig": {
            "InitialSamplingPercentage": max(1, round(100 * share)),
            "DestinationS3Uri": f"s3://{entry.bucket}/{entry.folder}/captured",
            "CaptureOptions": [{"CaptureMode": "Input"}, {"CaptureMode": "Output"}],
        }
    }


def await_service(aws: CloudClient, entry: LedgerEntry) -> None:
    """Wait until an endpoint is in service; raise `CloudError` if it fails or takes an hour."""
    deadline = time.monotonic() + PATIENCE
    while (found := _describe(aws, entry))["EndpointStatus"] in _IN_TRANSITION:
        pause(aws, entry, deadline)
    if (status := found["EndpointStatus"]) != "InService":
        reason = found.get("FailureReason", "no reason was given")
        raise CloudError(f"The endpoint {entry.name} is {status}: {reason}", status)


def _describe(aws: CloudClient, entry: LedgerEntry) -> dict[str, Any]:
    return dict(aws.sagemaker("describe_endpoint", EndpointName=entry.name))


def _delete_endpoint(aws: CloudClient, entry: LedgerEntry) -> None:
    deadline = time.monotonic() + PATIENCE
    with ignore_missing():
        while not _delete_if_allowed(aws, entry):
            pause(aws, entry, deadline)
        while _describe(aws, entry)["EndpointStatus"] == "Deleting":
            pause(aws, entry, deadline)
        raise CloudError(f"The endpoint {entry.name} was deleted, but is still there.")


def _delete_if_allowed(aws: CloudClient, entry: LedgerEntry) -> bool:
    """Return whether the endpoint could be deleted: AWS refuses while it is being created."""
    in_transition = _describe(aws, entry)["EndpointStatus"] in _IN_TRANSITION
    try:
        aws.sagemaker("delete_endpoint", EndpointName=entry.name)
    except CloudError as error:
        if is_missing(error) or not in_transition:
            raise
        return False
    return True
