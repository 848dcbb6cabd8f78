"""Batch transform jobs on a cloud: how they end. `workbench.cloud.transform_jobs` makes them."""

import contextlib
import time
from typing import ClassVar

from workbench.cloud.adapters.base import Adapter
from workbench.cloud.adapters.resources import PATIENCE, pause
from workbench.cloud.client import CloudClient, ignore_missing
from workbench.cloud.ledger import LedgerEntry
from workbench.deployment.batch_transform import BatchTransform
from workbench.errors import CloudError


class BatchTransformAdapter(Adapter[BatchTransform]):
    """Ends batch transform jobs."""

    ledger_kind: ClassVar[str] = "transform jobs"
    quota: ClassVar[str] = "transform job"

    def delete(self, aws: CloudClient, entry: LedgerEntry) -> None:
        """Stop the jobs that run, and wait for their end."""
        deadline = time.monotonic() + PATIENCE
        for status in ("InProgress", "Stopping"):
            while jobs := _jobs(aws, entry, status):
                for job in jobs if status == "InProgress" else []:
                    with contextlib.suppress(CloudError):  # it has ended by itself
                        aws.sagemaker("stop_transform_job", TransformJobName=job)
                pause(aws, entry, deadline)
        with ignore_missing():
            aws.sagemaker("delete_model", ModelName=entry.name)


def _jobs(aws: CloudClient, entry: LedgerEntry, status: str) -> list[str]:
    found = aws.sagemaker("list_transform_jobs", NameContains=entry.name, StatusEquals=status)
    return [each["TransformJobName"] for each in found["TransformJobSummaries"]]
