"""Functions of AWS Lambda on a cloud, on demand or on instances that Lambda manages.

A function is made from the image that endpoints use too, started as `python -m awslambdaric`, and
fetches its model at INIT; or from a zip with handler, model and libraries.
"""

import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

from workbench.backends.asynchronous import Mailbox
from workbench.backends.base import Backend
from workbench.backends.lambda_ import LambdaBackend
from workbench.cloud.adapters.base import CallTarget, Creation, D, LiveAdapter
from workbench.cloud.adapters.quotas import check_concurrency
from workbench.cloud.adapters.resources import upload
from workbench.cloud.aws import Cloud
from workbench.cloud.client import CloudClient, ignore_missing
from workbench.cloud.ledger import LedgerEntry
from workbench.cloud.packaging import HANDLER, MAX_ZIP, function_zip
from workbench.deployment import Lambda
from workbench.errors import CloudError
from workbench.registry.model import Model

_MODEL = "WORKBENCH_MODEL"
_ENTRY_POINT = ["python", "-m", "awslambdaric"]
_PYTHON = f"python{sys.version_info.major}.{sys.version_info.minor}"
_STATE_TIMEOUT = 900.0  # seconds; large images are said to take minutes
_MAX_INLINE_ZIP = MAX_ZIP * 3 // 4  # bytes: a call has it in base64, longer by a third


class FunctionAdapter(LiveAdapter[D]):
    """Base of the adapters whose deployments are functions."""

    is_endpoint: ClassVar[bool] = False

    def image(self, cloud: Cloud, libraries: str | Path | None) -> str:
        """Return the URI of the image it is made from; "" where it is made from a zip."""
        return super().image(cloud, libraries) if libraries is None else ""

    def prepare(self, creation: Creation[D]) -> Mailbox | None:
        """Put the model's archive into the bucket, unless a zip holds the model."""
        if creation.libraries is None:
            upload(creation.aws, creation.entry, creation.model)
        return None

    def backend(self, target: CallTarget[D]) -> Backend:
        """Return what calls Invoke."""
        return LambdaBackend(target.name, target.cloud, concurrency=target.concurrency)

    def delete(self, aws: CloudClient, entry: LedgerEntry) -> None:
        """Delete a function with all its versions, if it is there."""
        with ignore_missing():
            aws.lambda_("delete_function", FunctionName=entry.name)


class LambdaAdapter(FunctionAdapter[Lambda]):
    """Makes functions that start on demand."""

    ledger_kind: ClassVar[str] = "function"

    def check_quota(self, deployment: Lambda, cloud: Cloud) -> None:
        """Require room for its calls at once."""
        check_concurrency(cloud, deployment.max_concurrency, label=deployment.label)

    def create(self, creation: Creation[Lambda], mailbox: Mailbox | None) -> str:  # noqa: ARG002
        """Create a function, wait until it answers, and return its name, with any version."""
        aws, entry, deployment = creation.aws, creation.entry, creation.deployment
        create_function(
            creation,
            MemorySize=deployment.memory_mb,
            Timeout=deployment.timeout,
            Architectures=[deployment.architecture],
        )
        await_state(aws, entry, lambda: read_state(aws, entry.name), "Active")
        aws.lambda_(
            "put_function_concurrency",
            FunctionName=entry.name,
            ReservedConcurrentExecutions=deployment.max_concurrency,
        )
        return _provision(aws, entry, deployment) if deployment.provisioned else entry.name


def _image_code(entry: LedgerEntry, uri: str) -> dict[str, object]:
    """Return the arguments of CreateFunction for an image."""
    return {
        "PackageType": "Image",
        "Code": {"ImageUri": uri},
        "ImageConfig": {"EntryPoint": _ENTRY_POINT, "Command": [HANDLER]},
        "Environment": {"Variables": {_MODEL: f"s3://{entry.bucket}/{entry.key}"}},
    }


def _zip_code(
    aws: CloudClient, entry: LedgerEntry, model: Model, libraries: str | Path
) -> dict[str, object]:
    """Return the arguments of CreateFunction for a zip; a large one goes through S3."""
    with tempfile.TemporaryDirectory() as folder:
        content = function_zip(model, Path(folder) / "f.zip", libraries=libraries).read_bytes()
    code: dict[str, object] = {"ZipFile": content}
    if len(content) > _MAX_INLINE_ZIP:
        aws.s3("put_object", Bucket=entry.bucket, Key=entry.key, Body=content)
        code = {"S3Bucket": entry.bucket, "S3Key": entry.key}
    return {"PackageType": "Zip", "Code": code, "Runtime": _PYTHON, "Handler": HANDLER}


def create_function(creation: Creation[D], **settings: Any) -> None:  # noqa: ANN401 - CreateFunction's
    """Create the function of an entry, from its image or its zip."""
    aws, entry = creation.aws, creation.entry
    code = _image_code(entry, creation.image)
    if creation.libraries is not None:
        code = _zip_code(aws, entry, creation.model, creation.libraries)
    aws.lambda_(
        "create_function",
        FunctionName=entry.name,
        Role=creation.role,
        Tags={each["Key"]: each["Value"] for each in entry.tags},
        **settings,
        **code,
    )


def _provision(aws: CloudClient, entry: LedgerEntry, deployment: Lambda) -> str:
    """Publish a version, keep instances of it warm, and return the name it is called by."""
    version = publish(aws, entry)
    provisioned = {"FunctionName": entry.name, "Qualifier": version}
    aws.lambda_(
        "put_provisioned_concurrency_config",
        **provisioned,
        ProvisionedConcurrentExecutions=deployment.provisioned,
    )
    await_state(aws, entry, lambda: _read_provisioned_state(aws, provisioned), "READY")
    return f"{entry.name}:{version}"


def publish(aws: CloudClient, entry: LedgerEntry) -> str:
    """Publish a version of a function, wait until it answers, and return its number."""
    version = str(aws.lambda_("publish_version", FunctionName=entry.name)["Version"])
    await_state(aws, entry, lambda: read_state(aws, f"{entry.name}:{version}"), "Active")
    return version


def read_state(aws: CloudClient, name: str) -> tuple[str, str]:
    """Return a function's state, and why it is in it."""
    answer = aws.lambda_("get_function_configuration", FunctionName=name)
    return str(answer["State"]), str(answer.get("StateReason", ""))


def _read_provisioned_state(aws: CloudClient, which: dict[str, str]) -> tuple[str, str]:
    answer = aws.lambda_("get_provisioned_concurrency_config", **which)
    return str(answer["Status"]), str(answer.get("StatusReason", ""))


def await_state(
    aws: CloudClient,
    entry: LedgerEntry,
    read_state: Callable[[], tuple[str, str]],
    *wanted: str,
) -> None:
    """Wait until a look finds a state that is wanted, and no other that does not pass."""
    deadline = time.monotonic() + _STATE_TIMEOUT
    while (found := read_state())[0] not in wanted:
        status, reason = found
        if status not in ("Pending", "IN_PROGRESS"):
            raise CloudError(
                f"The function {entry.name} is {status}: {reason or 'no reason was given'}", status
            )
        if time.monotonic() > deadline:
            raise CloudError(f"The function {entry.name} is still {status}.", "Timeout")
        aws.pause()
