"""Lambda's metrics of a local cloud's functions, of each call.

Names, units and dimensions are Lambda's (developer guide, "Types of metrics for Lambda functions").
As there, what is throttled counts in Throttles alone.
"""

from dataclasses import dataclass

from workbench.localcloud.cloudwatch.metrics import Metrics, Series, metric_key

NAMESPACE = "AWS/Lambda"
_COUNTS = ("Invocations", "Errors", "Throttles", "ConcurrentExecutions")
_UNITS = {**dict.fromkeys(_COUNTS, "Count"), "Duration": "Milliseconds"}


@dataclass(frozen=True, slots=True)
class FunctionInvocation:
    """The measurements of a completed call; times in seconds.

    Attributes:
        function, version: Who answered.
        qualifier: By what it was called: a version, or an alias.
        at: When, since 1970.
        error: What a failed function said, or AWS's code of the error; "" for none.
        throttled: Whether it was refused for its limits.
        duration: What the function took; None: it never got the event.
        under_way: Events of the function that were under way, this one included.
    """

    function: str
    version: str
    qualifier: str
    at: float
    error: str
    throttled: bool
    duration: float | None
    under_way: int


class FunctionMetrics:
    """Puts the metrics of calls; `record` is on the path of each.

    Every metric is kept for the function, for the version or alias that was called (Resource), and
    for the version that answered in an alias's name (ExecutedVersion).
    """

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._series: dict[tuple[str, str, str], list[dict[str, Series]]] = {}

    def record(self, invocation: FunctionInvocation) -> None:
        """Put what is measured of a call."""
        key = (invocation.function, invocation.version, invocation.qualifier)
        if key not in self._series:
            self._series[key] = self._find_series(*key)
        values = {"Throttles": float(invocation.throttled)}
        if not invocation.throttled:
            values["Invocations"] = 1.0
            values["Errors"] = float(bool(invocation.error))
            values["ConcurrentExecutions"] = float(invocation.under_way)
            if invocation.duration is not None:
                values["Duration"] = 1000 * invocation.duration
        for series in self._series[key]:
            for name, value in values.items():
                series[name].put(value, at=invocation.at)

    def _find_series(self, function: str, version: str, qualifier: str) -> list[dict[str, Series]]:
        whole = {"FunctionName": function}
        called = {**whole, "Resource": f"{function}:{qualifier}"}
        answered = [] if qualifier == version else [{**called, "ExecutedVersion": version}]
        return [
            {
                name: self._metrics.series(metric_key(NAMESPACE, name, each), unit=unit)
                for name, unit in _UNITS.items()
            }
            for each in (whole, called, *answered)
        ]
