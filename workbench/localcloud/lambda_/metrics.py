"""Lambda's metrics of a local cloud's functions, of each call.

Names, units and dimensions are Lambda's (developer guide, "Types of metrics for Lambda functions").
As there, what is throttled counts in Throttles alone.
"""

from collections.abc import Mapping
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
        qualifier: By what it was called: a version, or an alias.
        at: When, since 1970.
        error: What a failed function said, or AWS's code of the error; "" for none.
        throttled: Whether it was refused for its limits.
        duration: What the function took; None: it never got the event.
        init: Of the INIT that was waited for; None: there was none.
        under_way: Events of the function that were under way, this one included.
    """

    function: str
    version: str
    qualifier: str
    at: float
    error: str
    throttled: bool
    duration: float | None
    init: float | None
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
            self._series[key] = [self._of(each) for each in _dimensions(*key)]
        for series in self._series[key]:
            series["Throttles"].put(float(invocation.throttled), at=invocation.at)
            if invocation.throttled:
                continue
            series["Invocations"].put(1.0, at=invocation.at)
            series["Errors"].put(float(bool(invocation.error)), at=invocation.at)
            series["ConcurrentExecutions"].put(float(invocation.under_way), at=invocation.at)
            if invocation.duration is not None:
                series["Duration"].put(1000 * invocation.duration, at=invocation.at)

    def _of(self, dimensions: Mapping[str, str]) -> dict[str, Series]:
        return {
            name: self._metrics.series(NAMESPACE, name, dimensions, unit=_UNITS.get(name, "Count"))
            for name in _NAMES
        }


def _dimensions(function: str, version: str, qualifier: str) -> list[dict[str, str]]:
    whole = {"FunctionName": function}
    called = {**whole, "Resource": f"{function}:{qualifier}"}
    answered = [] if qualifier == version else [{**called, "ExecutedVersion": version}]
    return [whole, called, *answered]
