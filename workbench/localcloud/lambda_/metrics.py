"""Lambda's metrics of a local cloud's functions, of each call.

Names, units and dimensions are Lambda's (developer guide, "Types of metrics for Lambda functions").
As there, what is throttled counts in Throttles alone.
"""

from dataclasses import dataclass

from workbench.localcloud.cloudwatch.metrics import Metrics, Series

NAMESPACE = "AWS/Lambda"
_UNITS = {"Duration": "Milliseconds"}
_NAMES = ("Invocations", "Errors", "Throttles", "Duration", "ConcurrentExecutions")


@dataclass(frozen=True, slots=True)
class FunctionInvocation:
    """The measurements of a completed call; times in seconds.

    Attributes:
        function, version: Who answered.
        at: When, since 1970.
        error: What a failed function said, or AWS's code of the error; "" for none.
        throttled: Whether it was refused for its limits.
        duration: What the function took; None: it never got the event.
        init: Of the INIT that was waited for; None: there was none.
        under_way: Events of the function that were under way, this one included.
    """

    function: str
    version: str
    at: float
    error: str
    throttled: bool
    duration: float | None
    init: float | None
    under_way: int


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
