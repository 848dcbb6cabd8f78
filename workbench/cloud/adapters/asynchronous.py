"""Asynchronous endpoints on a cloud, with a topic and a queue for their notifications."""

from collections.abc import Mapping
from typing import Any, ClassVar

from workbench.backends.asynchronous import AsyncBackend, Mailbox
from workbench.backends.base import Backend
from workbench.cloud.adapters.base import CallTarget, Creation, WatchedMetric
from workbench.cloud.adapters.endpoint import VARIANT, EndpointAdapter, await_service
from workbench.cloud.client import CloudClient
from workbench.cloud.ledger import LedgerEntry
from workbench.cloud.sns import subscribe, unsubscribe
from workbench.deployment import Async


class AsyncAdapter(EndpointAdapter[Async]):
    """Makes asynchronous endpoints."""

    ledger_kind: ClassVar[str] = "asynchronous"
    quota: ClassVar[str] = "endpoint"
    in_flight: ClassVar[int] = 256  # calls without an answer, which wait at the cloud
    metrics: ClassVar[Mapping[str, WatchedMetric]] = {
        # developer guide, "Autoscale an asynchronous endpoint"
        "backlog": WatchedMetric("ApproximateBacklogSizePerInstance", "Average", of_variant=False),
        "backlog without capacity": WatchedMetric(
            "HasBacklogWithoutCapacity", "Average", of_variant=False
        ),
    }

    def variant(self, deployment: Async) -> dict[str, Any]:
        """Return what a production variant says of the deployment."""
        return {
            "InstanceType": deployment.instance_type,
            "InitialInstanceCount": max(1, deployment.count),  # AWS starts with no less
        }

    def configuration(
        self, creation: Creation[Async], mailbox: Mailbox | None
    ) -> Mapping[str, Any]:
        """Return what the endpoint configuration says of results, and of requests at once."""
        assert mailbox is not None  # noqa: S101 - as it was prepared
        where = f"s3://{mailbox.bucket}/{mailbox.folder}"
        most, topic = creation.deployment.concurrency, mailbox.topic
        return {
            "AsyncInferenceConfig": {
                "OutputConfig": {
                    "S3OutputPath": f"{where}/out",
                    "S3FailurePath": f"{where}/failed",
                    "NotificationConfig": {"SuccessTopic": topic, "ErrorTopic": topic},
                },
                "ClientConfig": {"MaxConcurrentInvocationsPerInstance": most} if most else {},
            }
        }

    def environment(self, deployment: Async) -> dict[str, str]:
        """Return how the model server is set."""
        most = str(deployment.payload_limit // 2**20)
        return {**super().environment(deployment), "WORKBENCH_MAX_PAYLOAD_MB": most}

    def prepare(self, creation: Creation[Async]) -> Mailbox:
        """Put the model's archive into the bucket, and make topic and queue."""
        super().prepare(creation)
        entry = creation.entry
        topic, queue = subscribe(entry)
        return Mailbox(queue=queue, bucket=entry.bucket, folder=entry.folder, topic=topic)

    def create(self, creation: Creation[Async], mailbox: Mailbox | None) -> str:
        """Create the endpoint, and end its first instance where it is to have none."""
        name = super().create(creation, mailbox)
        if creation.deployment.count == 0:
            _scale_to_zero(creation.aws, creation.entry)
        return name

    def backend(self, target: CallTarget[Async]) -> Backend:
        """Return what calls InvokeEndpointAsync and reads the mailbox."""
        assert target.mailbox is not None  # noqa: S101 - as it was prepared
        return AsyncBackend(
            target.name,
            target.cloud,
            target.mailbox,
            target.deployment,
            concurrency=target.concurrency,
        )

    def delete(self, aws: CloudClient, entry: LedgerEntry) -> None:
        """Delete endpoint, topic and queue."""
        super().delete(aws, entry)
        unsubscribe(entry)


def _scale_to_zero(aws: CloudClient, entry: LedgerEntry) -> None:
    """End the instance that an endpoint had to begin with."""
    aws.sagemaker(
        "update_endpoint_weights_and_capacities",
        EndpointName=entry.name,
        DesiredWeightsAndCapacities=[{"VariantName": VARIANT, "DesiredInstanceCount": 0}],
    )
    await_service(aws, entry)
