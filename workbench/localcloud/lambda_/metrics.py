"""Lambda's metrics of a local cloud's functions, of each call.

Names, units and dimensions are Lambda's (developer guide, "Types of metrics for Lambda functions").
As there, what is throttled counts in Throttles alone.
"""

from workbench.localcloud.cloudwatch.metrics import Metrics, Series
from workbench.localcloud.lambda_.invoke import FunctionInvocation

NAMESPACE = "AWS/Lambda"
_UNITS = {"Duration": "Milliseconds"}
_NAMES = ("Invocations", "Errors", "Throttles", "Duration", "ConcurrentExecutions")


class FunctionMetrics:
    """Puts the metrics of calls; `record` is on the path of each.

    Every metric is kept for the function, and for the version of it that was called (Resource).
    """

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._series: dict[tuple[str, str], list[dict[str, Series]]] = {}

    def record(self, invocation: FunctionInvocation) -> None:
        """Put what is measured of a call."""
        key = (invocation.function, invocation.version)
        if key not in self._series:
            self._series[key] = [self._of(key, whole=True), self._of(key, whole=False)]
        for series in self._series[key]:
            series["Throttles"].put(float(invocation.throttled), at=invocation.at)
            if invocation.throttled:
                continue
            series["Invocations"].put(1.0, at=invocation.at)
            series["Errors"].put(float(bool(invocation.error)), at=invocation.at)
            series["ConcurrentExecutions"].put(float(invocation.under_way), at=invocation.at)
            if invocation.duration is not None:
                series["Duration"].put(1000 * invocation.duration, at=invocation.at)

    def _of(self, key: tuple[str, str], *, whole: bool) -> dict[str, Series]:
        function, version = key
        dimensions = {"FunctionName": function}
        if not whole:
            dimensions["Resource"] = f"{function}:{version}"
        return {
            name: self._metrics.series(NAMESPACE, name, dimensions, unit=_UNITS.get(name, "Count"))
            for name in _NAMES
        }
