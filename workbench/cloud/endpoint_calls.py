"""How often an endpoint was called, minute by minute, and what it runs on: of any endpoint."""

import math
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np
from numpy.typing import NDArray

from workbench.cloud import monitor
from workbench.cloud.adapters.variants import read_deployment
from workbench.cloud.aws import Cloud
from workbench.cloud.client import CloudClient
from workbench.cloud.deploy import DeployedModel
from workbench.deployment.base import Deployment
from workbench.errors import InvalidInput
from workbench.validation import of_kind

_MINUTE = timedelta(minutes=1)  # CloudWatch has SageMaker's metrics by the minute
_METRICS = {"Invocations": ("Sum",), "ModelLatency": ("Average",)}


@dataclass(frozen=True, kw_only=True)
class EndpointCalls:
    """The calls of an endpoint.

    Attributes:
        name: The endpoint's.
        deployment: What it runs on; None where its variants run on several things.
        begins: When the first minute begins, in UTC.
        counts: The calls of each minute.
        call_seconds: What a call took in the container, on average; NaN without calls.
    """

    name: str
    deployment: Deployment | None
    begins: datetime
    counts: NDArray[np.int64]
    call_seconds: float


def read_calls(
    endpoint: str | DeployedModel,
    cloud: Cloud,
    *,
    since: timedelta,
    clock: monitor.Clock = lambda: datetime.now(UTC),
) -> EndpointCalls:
    """Return how often an endpoint was called, since it was made at most.

    The calls of all its production variants are added up: CloudWatch counts by variant, and
    answers nothing at all to who asks for an endpoint alone.

    Raises:
        InvalidInput: It is asynchronous, and such endpoints publish no count of calls.
        CloudError: There is no such endpoint, or the cloud refused.
    """
    name = endpoint.name if isinstance(endpoint, DeployedModel) else endpoint
    with CloudClient(cloud) as aws:
        found = aws.sagemaker("describe_endpoint", EndpointName=of_kind("endpoint", name, str))
        made = found["EndpointConfigName"]
        config = aws.sagemaker("describe_endpoint_config", EndpointConfigName=made)
    if "AsyncInferenceConfig" in config:
        raise InvalidInput(f"{name} is asynchronous, and such endpoints publish no Invocations.")
    end = clock()
    begins = max(end - since, found["CreationTime"].astimezone(UTC))
    begins = begins.replace(second=0, microsecond=0)
    counts = np.zeros(max(1, math.ceil((end - begins) / _MINUTE)), np.int64)
    seconds = 0.0
    for variant in config["ProductionVariants"]:
        found_of_variant = _read_variant(name, cloud, variant["VariantName"], end - begins, end)
        for at, (calls, latency) in found_of_variant.items():
            if 0 <= (minute := int((at - begins) / _MINUTE)) < len(counts):
                counts[minute] += int(calls)
                seconds += calls * latency
    running = found.get("ProductionVariants", ())
    return EndpointCalls(
        name=name,
        deployment=read_deployment(config["ProductionVariants"], running),
        begins=begins,
        counts=counts,
        call_seconds=seconds / counts.sum() if counts.any() else math.nan,
    )


def _read_variant(
    name: str, cloud: Cloud, variant: str, since: timedelta, end: datetime
) -> dict[datetime, tuple[float, float]]:
    """Return the calls of each minute that had some, and the seconds that one took on average."""
    frame = monitor.metrics(
        name, cloud, since=since, only=_METRICS, variant=variant, clock=lambda: end
    ).pivot("metric", index="time", values="value")
    if "Invocations" not in frame.columns:
        return {}
    latency = frame["ModelLatency"] if "ModelLatency" in frame.columns else [0.0] * len(frame)
    pairs = zip(frame["Invocations"].fill_null(0.0), latency, strict=True)
    return dict(zip(frame["time"], ((n, s or 0.0) for n, s in pairs), strict=True))
