"""SageMaker's metrics of a local cloud's endpoints: of each invocation, and of what instances use.

Names, units and dimensions are SageMaker's (developer guide, "Monitor Amazon SageMaker with Amazon
CloudWatch" and "Monitor a serverless endpoint", read 2026-11-23). So is that nothing is put of
throttled requests but how much of the concurrency is in use.
"""

import os
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from workbench.cloud.local.endpoints import Endpoint, Variant
from workbench.cloud.local.fleets import ServerlessFleet
from workbench.cloud.local.hosting import Hosting
from workbench.cloud.local.invoking import Invocation
from workbench.cloud.local.metrics import Metrics, Series

INVOCATIONS = "AWS/SageMaker"
INSTANCES = "/aws/sagemaker/Endpoints"

_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")
_MEMORY = os.sysconf("SC_PHYS_PAGES") * _PAGE


class Metering:
    """Puts the metrics of invocations and instances; `record` is on the path of each invocation."""

    def __init__(self, metrics: Metrics, hosting: Hosting) -> None:
        self._metrics = metrics
        self._hosting = hosting
        self._meters: dict[tuple[str, str], _Meter] = {}
        self._usages: dict[int, _Usage] = {}

    def record(self, invocation: Invocation) -> None:
        """Put what is measured of an invocation."""
        whose = (invocation.endpoint, invocation.variant)
        meter = self._meters.get(whose)
        if meter is None:
            meter = self._meters[whose] = _Meter(self._metrics, *whose)
        endpoint = self._hosting.serving(invocation.endpoint)
        meter.put(invocation, endpoint.variant(invocation.variant) if endpoint else None)

    def sample(self, endpoints: Iterable[Endpoint], *, now: float | None = None) -> None:
        """Put what the instances of endpoints have used since they were last looked at."""
        at = time.time() if now is None else now
        seen: dict[int, _Usage] = {}
        for endpoint in endpoints:
            for variant in endpoint.variants:
                for pid, usage in _usages(variant):
                    seen[pid] = usage
                    self._put_usage(endpoint, variant, self._usages.get(pid), usage, at)
        self._usages = seen

    def _put_usage(
        self,
        endpoint: Endpoint,
        variant: Variant,
        former: "_Usage | None",
        usage: "_Usage",
        at: float,
    ) -> None:
        config = variant.facts.get("ServerlessConfig")
        limit = config["MemorySizeInMB"] * 1024**2 if config else _MEMORY
        values = {"MemoryUtilization": 100 * usage.memory / limit}
        if former is not None and not config and usage.at > former.at:
            used = (usage.seconds - former.seconds) / (usage.at - former.at)
            values["CPUUtilization"] = 100 * used
        dimensions = {"EndpointName": endpoint.name, "VariantName": variant.name}
        for name, value in values.items():
            self._metrics.put(INSTANCES, name, value, at=at, unit="Percent", dimensions=dimensions)


class _Meter:
    """The metrics of one variant's invocations."""

    def __init__(self, metrics: Metrics, endpoint: str, variant: str) -> None:
        dimensions = {"EndpointName": endpoint, "VariantName": variant}

        def series(name: str, unit: str = "None") -> Series:
            return metrics.series(INVOCATIONS, name, dimensions, unit=unit)

        self._invocations = series("Invocations")
        self._per_instance = series("InvocationsPerInstance")
        self._errors_4xx = series("Invocation4XXErrors")
        self._errors_5xx = series("Invocation5XXErrors")
        self._model_errors = series("InvocationModelErrors")
        self._model = series("ModelLatency", "Microseconds")
        self._overhead = series("OverheadLatency", "Microseconds")
        self._setup = series("ModelSetupTime", "Microseconds")
        self._in_use = series("ServerlessConcurrentExecutionsUtilization")
        provisioned = "ServerlessProvisionedConcurrency"
        self._provisioned = series(f"{provisioned}Executions", "Count")
        self._provisioned_in_use = series(f"{provisioned}Utilization")
        self._provisioned_invocations = series(f"{provisioned}Invocations", "Count")
        self._spilled = series(f"{provisioned}SpilloverInvocations", "Count")

    def put(self, invocation: Invocation, variant: Variant | None) -> None:
        at = invocation.at
        fleet = variant.fleet if variant is not None else None
        if isinstance(fleet, ServerlessFleet):
            self._put_serverless(invocation, fleet)
        if invocation.error == "ThrottlingException":
            return
        status = invocation.model_status
        failed = bool(invocation.error)
        self._invocations.put(1.0, at=at)
        self._errors_4xx.put(float(400 <= status < 500), at=at)
        self._errors_5xx.put(float(status >= 500), at=at)
        self._model_errors.put(float(failed), at=at)
        if invocation.model_latency is not None:
            self._model.put(round(invocation.model_latency * 1e6), at=at)
            self._overhead.put(round(invocation.overhead_latency * 1e6), at=at)
        if invocation.setup is not None:
            self._setup.put(round(invocation.setup * 1e6), at=at)
        if fleet is not None and not isinstance(fleet, ServerlessFleet):
            self._per_instance.put(1.0 / max(1, len(fleet.instances)), at=at)

    def _put_serverless(self, invocation: Invocation, fleet: ServerlessFleet) -> None:
        at = invocation.at
        throttled = invocation.error == "ThrottlingException"
        others = fleet.under_way  # besides this one, which is over
        self._in_use.put(min(1.0, (others + (not throttled)) / fleet.max_concurrency), at=at)
        if not fleet.provisioned or throttled:
            return
        mine = fleet.is_provisioned(invocation.instance)
        in_use = fleet.provisioned_under_way + mine
        self._provisioned.put(float(in_use), at=at)
        self._provisioned_in_use.put(in_use / fleet.provisioned, at=at)
        (self._provisioned_invocations if mine else self._spilled).put(1.0, at=at)


@dataclass(frozen=True, slots=True)
class _Usage:
    """What a process had used at an instant of `time.monotonic`: seconds of processors, bytes."""

    at: float
    seconds: float
    memory: int


def _usages(variant: Variant) -> Iterator[tuple[int, _Usage]]:
    for instance in variant.fleet.instances:
        pid = instance.box.pid
        try:
            content = Path(f"/proc/{pid}/stat").read_text()
            memory = int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE
        except (OSError, IndexError):  # it has just ended
            continue
        words = content.rpartition(")")[2].split()  # from the third field of proc(5) on
        seconds = (int(words[11]) + int(words[12])) / _TICKS
        yield pid, _Usage(time.monotonic(), seconds, memory)
