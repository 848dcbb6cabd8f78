"""What deployments are made of on a cloud, whatever their type: archive, model, role and image."""

import contextlib
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from workbench.cloud.client import CloudClient, ignore_missing
from workbench.cloud.ledger import LedgerEntry
from workbench.cloud.packaging import archive
from workbench.errors import CloudError
from workbench.registry.model import Model

PATIENCE = 3600.0
"""Seconds to wait for an endpoint: AWS itself gives up on one after about an hour."""


def upload(aws: CloudClient, entry: LedgerEntry, model: Model) -> None:
    """Put the model's archive into the bucket, in one piece."""
    with tempfile.TemporaryDirectory() as folder:
        path = archive(model, Path(folder) / "model.tar.gz")
        with path.open("rb") as file:
            tag, where = f"workbench={entry.id}", {"Bucket": entry.bucket, "Key": entry.key}
            aws.s3("put_object", **where, Body=file, Tagging=tag)


def create_model(
    aws: CloudClient, entry: LedgerEntry, environment: Mapping[str, str], *, role: str, image: str
) -> None:
    """Create the model of an entry, whose archive is in the bucket."""
    container = {
        "Image": image,
        "ModelDataUrl": f"s3://{entry.bucket}/{entry.key}",
        "Environment": dict(environment),
    }
    with ignore_existing():
        aws.sagemaker(
            "create_model",
            ModelName=entry.name,
            PrimaryContainer=container,
            ExecutionRoleArn=role,
            Tags=entry.tags,
        )


def delete_objects(aws: CloudClient, entry: LedgerEntry) -> None:
    """Delete what was read and written under an entry's folder."""
    with ignore_missing():
        listed = {"Bucket": entry.bucket, "Prefix": f"{entry.folder}/"}
        while found := aws.s3("list_objects_v2", **listed).get("Contents"):
            keys = {"Objects": [{"Key": each["Key"]} for each in found]}
            answer = aws.s3("delete_objects", Bucket=entry.bucket, Delete=keys)
            for problem in answer.get("Errors", []):
                raise CloudError(f"{problem['Key']} was not deleted: {problem['Code']}.")


@contextlib.contextmanager
def ignore_existing() -> Iterator[None]:
    """End the block at the news that something exists: names are new, so a retry came late."""
    try:
        yield
    except CloudError as error:
        if "already exist" not in str(error).lower():
            raise


def pause(aws: CloudClient, entry: LedgerEntry, deadline: float) -> None:
    """Wait a moment; raise `CloudError` once the deadline, by `time.monotonic`, has passed."""
    if time.monotonic() > deadline:
        raise CloudError(f"{entry.name} is on its way for over an hour.", "Timeout")
    aws.pause()
