"""What a real-time endpoint was asked: the rows in what SageMaker's data capture kept of it.

It keeps JSON Lines in S3, `<destination>/<endpoint>/<variant>/yyyy/mm/dd/hh/<file>` (developer
guide, "Capture data from real-time endpoint"), a moment later on a local cloud, minutes on AWS::

    with deploy(model, RealTime(), cloud, capture=1.0) as deployed:
        ...                                                          # its clients ask it
        came = data_capture.read_inputs(deployed, cloud, model, wait=600)
    input_drift(model.samples().inputs, came)
"""

import base64
import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from workbench.cloud.aws import Cloud
from workbench.cloud.client import CloudClient
from workbench.cloud.deploy import DeployedModel
from workbench.errors import CloudError, InvalidInput, NotFound
from workbench.modelserver.errors import RequestError
from workbench.registry.model import Model
from workbench.registry.rows import as_rows
from workbench.validation import not_negative, whole_number

if TYPE_CHECKING:
    from workbench.modelserver.formats import Reader


def read_inputs(
    endpoint: str | DeployedModel,
    cloud: Cloud,
    model: Model,
    *,
    since: timedelta = timedelta(days=1),
    least: int = 1,
    wait: float = 0.0,
) -> NDArray[Any]:
    """Return the rows of captured requests, as the model takes them, in order of time.

    Requests that the model's server could not have read are left out.

    Args:
        endpoint: Its name.
        cloud: Where it is.
        model: What answers there, which says what a row is.
        since: How far back what was written is read.
        least: How many rows to wait for.
        wait: Seconds to wait for them; then those that there are must do.

    Raises:
        NotFound: The endpoint captures nothing, or has captured no rows in that time.
        InvalidInput: No request could be read as rows of the model, or rows differ in shape.
        CloudError: The cloud refused.
    """
    whole_number("least", least, low=1)
    deadline = time.monotonic() + not_negative("wait", wait, "seconds")
    start = datetime.now(UTC) - since
    name = endpoint if isinstance(endpoint, str) else endpoint.name
    taken = model.traits.input_schema
    files: dict[str, list[NDArray[Any] | RequestError]] = {}
    with CloudClient(cloud) as aws:
        place = _find_place(aws, name)
        while True:
            for key in _list_keys(aws, *place, start):
                if key not in files:
                    files[key] = list(_read_file(aws, place[0], key, taken.make_reader(gaps=True)))
            found = [each for key in sorted(files) for each in files[key]]
            batches = [each for each in found if not isinstance(each, RequestError)]
            if sum(map(len, batches)) >= least or time.monotonic() >= deadline:
                break
            aws.pause()
    if not batches:
        if found:
            raise InvalidInput(f"{name} was asked nothing that {model.name} takes: {found[0]}")
        raise NotFound(
            f"{name} has captured no rows since {start:%Y-%m-%d %H:%M} UTC: wait for some, or look "
            "farther back."
        )
    if len({each.shape[1:] for each in batches}) > 1:
        raise InvalidInput(f"The rows of {model.name} differ in shape: they are no table.")
    return np.concatenate([as_rows(taken, each) for each in batches])


def _find_place(aws: CloudClient, name: str) -> tuple[str, str]:
    """Return the bucket of what an endpoint captures, and what names in there begin with."""
    config = aws.sagemaker("describe_endpoint", EndpointName=name).get("DataCaptureConfig")
    if config is None:
        raise NotFound(f"{name} captures nothing: deploy it with capture=1.0.")
    bucket, _, path = config["DestinationS3Uri"].removeprefix("s3://").partition("/")
    return bucket, "".join(f"{part}/" for part in (path.strip("/"), name) if part)


def _list_keys(aws: CloudClient, bucket: str, prefix: str, start: datetime) -> Iterator[str]:
    """Yield the names of the files that were written from an instant on."""
    for page in aws.pages("s3", "list_objects_v2", Bucket=bucket, Prefix=prefix):
        yield from (e["Key"] for e in page.get("Contents", []) if e["LastModified"] >= start)


def _read_file(
    aws: CloudClient, bucket: str, key: str, reader: "Reader"
) -> Iterator[NDArray[Any] | RequestError]:
    """Yield the rows of each request in a file, or why it cannot be read."""
    body = aws.s3("get_object", Bucket=bucket, Key=key)["Body"].read()
    for line in body.splitlines():
        try:
            side = json.loads(line)["captureData"].get("endpointInput")
            if side is None:
                continue
            plain = side["encoding"] != "BASE64"
            asked = side["data"].encode() if plain else base64.b64decode(side["data"])
            content_type = side["observedContentType"]
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise CloudError(
                f"s3://{bucket}/{key} is no file of data capture: {error!r}"
            ) from error
        try:
            yield reader.read(content_type, asked).rows
        except RequestError as error:
            yield error
