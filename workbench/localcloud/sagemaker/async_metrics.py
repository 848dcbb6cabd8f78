"""SageMaker's metrics of a local cloud's asynchronous endpoints: of requests, and of what waits.

Names, units and dimensions are SageMaker's (developer guide, "Monitor asynchronous endpoint", read
2026-11-23): the backlog is an endpoint's, everything else a variant's. Asynchronous endpoints have
no Invocations, InvocationsPerInstance and OverheadLatency.
"""

from collections.abc import Mapping

from workbench.localcloud.cloudwatch.metrics import Metrics
from workbench.localcloud.sagemaker.async_endpoints import AsyncMeasurement
from workbench.localcloud.sagemaker.metering import INVOCATIONS

_UNITS = {
    "ApproximateAgeOfOldestRequest": "Seconds",
    "ModelLatency": "Microseconds",
    "RequestDownloadLatency": "Microseconds",
    "ResponseUploadLatency": "Microseconds",
    "TimeInBacklog": "Milliseconds",
    "TotalProcessingTime": "Milliseconds",
}


class AsyncMetrics:
    """Puts the metrics of asynchronous endpoints."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def record(self, measured: AsyncMeasurement) -> None:
        """Put the metrics of a completed request; those of a deleted endpoint have no variant."""
        if not measured.variant:
            return
        dimensions = {"EndpointName": measured.endpoint, "VariantName": measured.variant}
        self._put(measured.values, measured.at, dimensions)

    def observe(self, endpoint: str, gauges: Mapping[str, float], at: float) -> None:
        """Put what an endpoint's backlog is at an instant, in seconds since 1970."""
        self._put(gauges, at, {"EndpointName": endpoint})

    def _put(self, values: Mapping[str, float], at: float, dimensions: Mapping[str, str]) -> None:
        for name, value in values.items():
            unit = _UNITS.get(name, "Count")
            self._metrics.put(INVOCATIONS, name, value, at=at, unit=unit, dimensions=dimensions)
