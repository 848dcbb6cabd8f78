"""SageMaker's metrics of a local cloud's endpoints: of each invocation, and of what instances use.

Names, units and dimensions are SageMaker's (developer guide, "Monitor Amazon SageMaker with Amazon
CloudWatch" and "Monitor a serverless endpoint", read 2026-11-23). So is that nothing is put of
throttled requests but how much of the concurrency is in use.
"""

import os
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from workbench.localcloud.cloudwatch.metrics import MINUTE, Metrics, Series
from workbench.localcloud.sagemaker.endpoints import Endpoint, Variant
from workbench.localcloud.sandbox.fleets import FleetLoad

INVOCATIONS = "AWS/SageMaker"
INSTANCES = "/aws/sagemaker/Endpoints"
CONCURRENCY = "ConcurrentRequestsPerModel"

_BATCH_SIZE = 256  # invocations; putting so many takes less than a millisecond
_TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_MEMORY_BYTES = os.sysconf("SC_PHYS_PAGES") * _PAGE_BYTES


class Invocation(NamedTuple):
    """The measurements of a completed invocation; times in seconds.

    Attributes:
        endpoint, variant: Who answered.
        at: When, since 1970.
        status: Of the answer to the client.
        error: AWS's name of the error; "" for none.
        model_latency: From the request's way to the worker until its answer; None: it got to none.
        overhead_latency: The rest of the time here, a cold start included.
        setup: Of a cold start, where one was paid.
        instance: The number of the instance; 0 for none.
        model_status: Of the model's own answer; 0 for none.
        load: Of the variant, at that time.
    """

    endpoint: str
    variant: str
    at: float
    status: int
    error: str
    model_latency: float | None
    overhead_latency: float
    setup: float | None
    instance: int
    model_status: int = 0
    load: FleetLoad = FleetLoad()


class Metering:
    """Puts the metrics of invocations and instances.

    `record` is on the path of each invocation, so it only gathers them; a batch of them is put as
    soon as it is large enough, metrics are read, or `put` is called.
    """

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._buffer: list[Invocation] = []
        self._meters: dict[tuple[str, str], _VariantMeter] = {}
        self._usages: dict[int, _ProcessUsage] = {}
        metrics.late = self.put

    def record(self, invocation: Invocation) -> None:
        """Take in a completed invocation."""
        self._buffer.append(invocation)
        if len(self._buffer) >= _BATCH_SIZE:
            self.put()

    def put(self) -> None:
        """Put the metrics of all invocations that were gathered."""
        gathered, self._buffer = self._buffer, []
        groups: dict[tuple[str, str, int], list[Invocation]] = {}
        for each in gathered:
            minute = int(each.at) // MINUTE * MINUTE
            groups.setdefault((each.endpoint, each.variant, minute), []).append(each)
        for (endpoint, variant, minute), invocations in groups.items():
            self._meter(endpoint, variant).put(invocations, minute)

    def _meter(self, endpoint: str, variant: str) -> "_VariantMeter":
        found = self._meters.get((endpoint, variant))
        if found is None:
            found = self._meters[endpoint, variant] = _VariantMeter(
                self._metrics, endpoint, variant
            )
        return found

    def sample_concurrency(self, endpoints: Iterable[Endpoint]) -> None:
        """Put how many requests each instance has now, which AWS tells each 10 seconds."""
        at = time.time()
        for endpoint in endpoints:
            for variant in endpoint.variants:
                if not variant.serverless:
                    dimensions = {"EndpointName": endpoint.name, "VariantName": variant.name}
                    series = self._metrics.series(
                        INVOCATIONS, CONCURRENCY, dimensions, unit="None", width=1
                    )
                    series.put(variant.fleet.concurrency, at=at)

    def sample(self, endpoints: Iterable[Endpoint], *, now: float | None = None) -> None:
        """Put what the instances of endpoints have used since they were last looked at."""
        at = time.time() if now is None else now
        seen: dict[int, _ProcessUsage] = {}
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
        former: "_ProcessUsage | None",
        usage: "_ProcessUsage",
        at: float,
    ) -> None:
        config = variant.facts.get("ServerlessConfig")
        limit = config["MemorySizeInMB"] * 1024**2 if config else _MEMORY_BYTES
        values = {"MemoryUtilization": 100 * usage.memory / limit}
        if former is not None and not config and usage.at > former.at:
            used = (usage.seconds - former.seconds) / (usage.at - former.at)
            values["CPUUtilization"] = 100 * used
        dimensions = {"EndpointName": endpoint.name, "VariantName": variant.name}
        for name, value in values.items():
            self._metrics.put(INSTANCES, name, value, at=at, unit="Percent", dimensions=dimensions)


class _VariantMeter:
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

    def put(self, invocations: Sequence[Invocation], at: int) -> None:
        """Put the metrics of invocations that were answered in the minute that began at `at`."""
        _extend(self._in_use, at, [e.load.in_use for e in invocations if e.load.in_use])
        admitted = [each for each in invocations if each.error != "ThrottlingException"]
        statuses = [each.model_status for each in admitted]
        reached = [each for each in admitted if each.model_latency is not None]
        _extend(self._invocations, at, [1] * len(admitted))
        _extend(self._errors_4xx, at, [int(400 <= status < 500) for status in statuses])
        _extend(self._errors_5xx, at, [int(status >= 500) for status in statuses])
        _extend(self._model_errors, at, [int(each.error != "") for each in admitted])
        _extend(self._model, at, [_to_microseconds(each.model_latency) for each in reached])
        _extend(self._overhead, at, [_to_microseconds(each.overhead_latency) for each in reached])
        _extend(
            self._setup, at, [_to_microseconds(e.setup) for e in admitted if e.setup is not None]
        )
        shares = [1 / each.load.instances for each in admitted if each.load.instances]
        _extend(self._per_instance, at, shares)
        loads = [each.load for each in admitted if each.load.provisioned]
        if loads:
            self._put_provisioned(loads, at)

    def _put_provisioned(self, loads: Sequence[FleetLoad], at: int) -> None:
        executions = [load.provisioned_busy for load in loads]
        shares = [load.provisioned_busy / load.provisioned for load in loads]
        mine = sum(load.on_provisioned for load in loads)
        _extend(self._provisioned, at, executions)
        _extend(self._provisioned_in_use, at, shares)
        _extend(self._provisioned_invocations, at, [1] * mine)
        _extend(self._spilled, at, [1] * (len(loads) - mine))


def _extend(series: Series, at: int, values: Sequence[float]) -> None:
    if values:
        series.bucket(at).extend(values)


def _to_microseconds(seconds: float | None) -> int:
    """Return whole microseconds, as the headers of answers have them."""
    return round((seconds or 0.0) * 1e6)


@dataclass(frozen=True, slots=True)
class _ProcessUsage:
    """What a process had used at an instant of `time.monotonic`: seconds of processors, bytes."""

    at: float
    seconds: float
    memory: int


def _usages(variant: Variant) -> Iterator[tuple[int, _ProcessUsage]]:
    for instance in variant.fleet.instances:
        pid = instance.box.pid
        try:
            content = Path(f"/proc/{pid}/stat").read_text()
            memory = int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE_BYTES
        except (OSError, IndexError):  # it has just ended
            continue
        words = content.rpartition(")")[2].split()  # from the third field of proc(5) on
        seconds = (int(words[11]) + int(words[12])) / _TICKS_PER_SECOND
        yield pid, _ProcessUsage(time.monotonic(), seconds, memory)
