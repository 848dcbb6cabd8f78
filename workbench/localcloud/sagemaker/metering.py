"""SageMaker's metrics of a local cloud's endpoints: of each invocation, and of what instances use.

Names, units and dimensions are SageMaker's (developer guide, "Monitor Amazon SageMaker with Amazon
CloudWatch" and "Monitor a serverless endpoint", read 2026-11-23). So is that nothing is put of
throttled requests but how much of the concurrency is in use.
"""

import os
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from workbench.localcloud.cloudwatch.metrics import MINUTE, Key, Metrics, metric_key
from workbench.localcloud.sagemaker.endpoints import Endpoint, Variant
from workbench.localcloud.sandbox.fleets import FleetLoad

INVOCATIONS = "AWS/SageMaker"
INSTANCES = "/aws/sagemaker/Endpoints"
CONCURRENCY = "ConcurrentRequestsPerModel"

_SERVERLESS = "Serverless"
_PROVISIONED = f"{_SERVERLESS}ProvisionedConcurrency"
_UNITS = {
    **dict.fromkeys(("ModelLatency", "OverheadLatency", "ModelSetupTime"), "Microseconds"),
    **{f"{_PROVISIONED}{each}Invocations": "Count" for each in ("", "Spillover")},
    f"{_PROVISIONED}Executions": "Count",
}  # all others have none
_BATCH_SIZE = 256  # invocations; putting so many takes less than a millisecond
_TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_MEMORY_BYTES = os.sysconf("SC_PHYS_PAGES") * _PAGE_BYTES


class Invocation(NamedTuple):
    """The measurements of a completed invocation; times in seconds.

    Attributes:
        endpoint, variant: Who answered.
        at: When, since 1970.
        error: AWS's name of the error; "" for none.
        model_latency: From the request's way to the worker until its answer; None: it got to none.
        overhead_latency: The rest of the time here, a cold start included.
        setup: Of a cold start, where one was paid.
        model_status: Of the model's own answer; 0 for none.
        load: Of the variant, at that time.
    """

    endpoint: str
    variant: str
    at: float
    error: str
    model_latency: float | None
    overhead_latency: float
    setup: float | None
    model_status: int
    load: FleetLoad


class Metering:
    """Puts the metrics of invocations and instances.

    `record` is on the path of each invocation, so it only gathers them; a batch of them is put as
    soon as it is large enough, metrics are read, or `put` is called.
    """

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._buffer: list[Invocation] = []
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
            for name, values in _collect_values(invocations).items():
                if values:
                    key, unit = (
                        variant_key(INVOCATIONS, name, endpoint, variant),
                        _UNITS.get(name, "None"),
                    )
                    self._metrics.series(key, unit=unit).bucket(minute).extend(values)

    def sample_concurrency(self, endpoints: Iterable[Endpoint]) -> None:
        """Put how many requests each instance has now, which AWS tells each 10 seconds."""
        at = time.time()
        for endpoint, variant in _list_variants(endpoints):
            if not variant.serverless:
                key = variant_key(INVOCATIONS, CONCURRENCY, endpoint.name, variant.name)
                series = self._metrics.series(key, unit="None", width=1)
                series.put(variant.fleet.concurrency, at=at)

    def sample(self, endpoints: Iterable[Endpoint], *, now: float | None = None) -> None:
        """Put what the instances of endpoints have used since they were last looked at."""
        at = time.time() if now is None else now
        seen: dict[int, _ProcessUsage] = {}
        for endpoint, variant in _list_variants(endpoints):
            config = variant.facts.get("ServerlessConfig")
            limit = config["MemorySizeInMB"] * 1024**2 if config else _MEMORY_BYTES
            for pid, usage in _usages(variant):
                seen[pid], former = usage, self._usages.get(pid)
                values = {"MemoryUtilization": 100 * usage.memory / limit}
                # a serverless endpoint has its memory alone (developer guide, "Monitor a serverless
                # endpoint")
                if former is not None and not config and usage.at > former.at:
                    used = (usage.seconds - former.seconds) / (usage.at - former.at)
                    values["CPUUtilization"] = 100 * used
                for name, value in values.items():
                    key = variant_key(INSTANCES, name, endpoint.name, variant.name)
                    self._metrics.put(key, value, at=at, unit="Percent")
        self._usages = seen


def variant_key(namespace: str, name: str, endpoint: str, variant: str) -> Key:
    """Return what a metric of a variant's is known by."""
    return metric_key(namespace, name, {"EndpointName": endpoint, "VariantName": variant})


def _list_variants(endpoints: Iterable[Endpoint]) -> list[tuple[Endpoint, Variant]]:
    return [(endpoint, variant) for endpoint in endpoints for variant in endpoint.variants]


def _collect_values(invocations: Iterable[Invocation]) -> dict[str, Sequence[float]]:
    """Return the values that invocations give each metric."""
    admitted = [each for each in invocations if each.error != "ThrottlingException"]
    statuses = [each.model_status for each in admitted]
    reached = [each for each in admitted if each.model_latency is not None]
    provisioned = [each.load for each in admitted if each.load.provisioned]
    mine = sum(load.on_provisioned for load in provisioned)
    return {
        "Invocations": [1] * len(admitted),
        "InvocationsPerInstance": [1 / e.load.instances for e in admitted if e.load.instances],
        "Invocation4XXErrors": [int(400 <= status < 500) for status in statuses],
        "Invocation5XXErrors": [int(status >= 500) for status in statuses],
        "InvocationModelErrors": [int(each.error != "") for each in admitted],
        "ModelLatency": [_to_microseconds(each.model_latency) for each in reached],
        "OverheadLatency": [_to_microseconds(each.overhead_latency) for each in reached],
        "ModelSetupTime": [_to_microseconds(e.setup) for e in admitted if e.setup is not None],
        f"{_SERVERLESS}ConcurrentExecutionsUtilization": [
            each.load.in_use for each in invocations if each.load.in_use
        ],
        f"{_PROVISIONED}Executions": [load.provisioned_busy for load in provisioned],
        f"{_PROVISIONED}Utilization": [e.provisioned_busy / e.provisioned for e in provisioned],
        f"{_PROVISIONED}Invocations": [1] * mine,
        f"{_PROVISIONED}SpilloverInvocations": [1] * (len(provisioned) - mine),
    }


def _to_microseconds(seconds: float | None) -> int:
    """Return whole microseconds, as the headers of answers have them."""
    return round((seconds or 0.0) * 1e6)


class _ProcessUsage(NamedTuple):
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
