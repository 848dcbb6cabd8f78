"""What watches a local cloud: metrics, alarms, logs, the trail of calls, and events of changes."""

import asyncio
import itertools
import json
import logging
import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from workbench.localcloud.cloudtrail import ApiCall, CloudTrail
from workbench.localcloud.cloudwatch.alarms import Alarm, AlarmAction, Alarms, build_message
from workbench.localcloud.cloudwatch.api import CloudWatch
from workbench.localcloud.cloudwatch.log_writer import LogBatch, LogWriter
from workbench.localcloud.cloudwatch.metrics import Metrics
from workbench.localcloud.core.store import Store
from workbench.localcloud.core.tasks import TaskSet
from workbench.localcloud.eventbridge import EventPublisher, ServiceEvent, format_status
from workbench.localcloud.sagemaker.endpoint_api import EndpointApi
from workbench.localcloud.sagemaker.endpoints import Endpoint
from workbench.localcloud.sagemaker.metering import Metering
from workbench.localcloud.sagemaker.model_packages import Packages
from workbench.localcloud.sagemaker.transform_runner import DATA_LOG
from workbench.modelserver.http import Response

ENDPOINT_LOG_GROUP = "/aws/sagemaker/Endpoints"
"""What the log groups of endpoints begin with."""

TRANSFORM_LOG_GROUP = "/aws/sagemaker/TransformJobs"
"""The log group of all transform jobs."""

_TICK = 1.0  # seconds between two looks at logs and alarms
_TICKS_TO_FLUSH = 10  # which is what a cloud that is killed may lose of its metrics
_MAX_READ_BYTES = 1024 * 1024  # bytes of a log in one look
_CODE = re.compile(rb'"__type"\s*:\s*"([^"]*)"|<Code>([^<]*)</Code>')
_log = logging.getLogger("workbench.localcloud")


class Monitoring:
    """Watches the endpoints of a local cloud, and answers what is asked about them.

    Attributes:
        metrics: Every metric; whoever measures something puts it there.
        alarms: On metrics; `alarms.on_action` takes who carries out other actions than telling a
            topic, such as scaling.
        cloudwatch: Answers what is asked about both.
        events: Puts events that rules send on.
        trail: The calls that came.
        metering: Takes each invocation: `metering.record`.
    """

    def __init__(
        self, store: Store, hosting: EndpointApi, packages: Packages, log_writer: LogWriter
    ) -> None:
        self.metrics = Metrics(store)
        self.events = EventPublisher(store)
        self.alarms = Alarms(store, self.metrics, on_change=self._publish_alarm_event)
        self.alarms.on_action("arn:aws:sns:", self._notify_topic)
        self.metering = Metering(self.metrics)
        self.cloudwatch = CloudWatch(store, self.metrics, self.alarms)
        self.trail = CloudTrail(store)
        self._hosting = hosting
        self._log_writer = log_writer
        self._logs = (
            _LogFiles(store.path / "hosting" / "logs", _name_endpoint_stream),
            _LogFiles(store.path / "jobs" / "logs", _JobStreamNames()),
        )
        self._tasks = TaskSet()
        hosting.changed = lambda endpoint: self.events.put(_build_endpoint_event(endpoint))
        packages.changed = lambda described: self.events.put(_build_package_event(described))

    async def start(self) -> None:
        """Begin to look at what happens."""
        self._tasks.start(self._tick())

    async def close(self) -> None:
        """Write down what is not yet written."""
        await self._tasks.cancel()
        await self.events.close()
        self._flush()

    def publish_job_event(self, described: Mapping[str, Any]) -> None:
        """Tell that a transform job has another status: what describes it, in milliseconds."""
        detail = {
            name: round(value * 1000) if name.endswith("Time") else value
            for name, value in described.items()
        }
        kind = "SageMaker Transform Job State Change"
        self.events.put(ServiceEvent(kind, detail, (detail["TransformJobArn"],)))

    async def fetch_logs(self) -> None:
        """Bring what containers wrote until now to Logs."""
        self._write_logs()
        await self._log_writer.flush()

    def record(self, call: ApiCall | None, response: Response) -> None:
        """Keep a call for the trail, with how it was answered."""
        if call is None:
            return
        error, said = "", ""
        if response.status >= 400 and isinstance(response.body, bytes):
            found = _CODE.search(response.body)
            error = (
                (found[1] or found[2]).decode("utf-8", "replace") if found else "InternalFailure"
            )
            with suppress(ValueError, AttributeError):  # it is not JSON
                said = str(json.loads(response.body).get("message", ""))
        # a __type may have a namespace in front
        self.trail.record(call, error=error.rpartition("#")[2], message=said)

    # --- what happens

    async def _tick(self) -> None:
        for number in itertools.count(1):
            await asyncio.sleep(_TICK)
            try:
                self._write_logs()
                self.alarms.evaluate()
                if number % _TICKS_TO_FLUSH == 0:
                    self.metering.sample(self._hosting.endpoints)
                    self._flush()
            except Exception:  # noqa: BLE001 - the next second is due, whatever it was
                _log.exception("Logs, alarms or metrics failed.")

    def _flush(self) -> None:
        self.metrics.flush(now=time.time())
        self.trail.flush()

    def _write_logs(self) -> None:
        for logs in self._logs:
            for note in logs.fresh():
                self._log_writer.add(note)

    def _publish_alarm_event(self, alarm: Alarm, former: str) -> None:
        detail = {
            "alarmName": alarm["AlarmName"],
            "state": {"value": alarm["StateValue"], "reason": alarm["StateReason"]},
            "previousState": {"value": former},
        }
        kind = "CloudWatch Alarm State Change"
        self.events.put(ServiceEvent(kind, detail, (alarm["AlarmArn"],), source="aws.cloudwatch"))

    def _notify_topic(self, alarm_action: AlarmAction) -> None:
        alarm = alarm_action.alarm
        subject = f'{alarm["StateValue"]}: "{alarm["AlarmName"]}"'
        self.events.notify(alarm_action.action, subject, build_message(alarm_action))


class _LogFiles:
    """What containers wrote to their logs, a file for each instance, since it was last looked.

    `named` returns group and stream of a file, given when it was first seen.
    """

    def __init__(self, folder: Path, named: Callable[[Path, float], tuple[str, str]]) -> None:
        self._folder = folder
        self._named = named
        self._read: dict[Path, int] = {}
        self._names: dict[Path, tuple[str, str]] = {}

    def fresh(self) -> Iterator[LogBatch]:
        """Yield what is new, in whole lines."""
        for path in self._folder.glob("*/*/*.log"):
            status = path.stat()
            begin = self._read.get(path, 0)
            if status.st_size <= begin:
                continue
            if path not in self._names:
                self._names[path] = self._named(path, status.st_mtime)
            lines, self._read[path] = _read_lines(path, begin)
            if lines:
                yield LogBatch(*self._names[path], status.st_mtime, partial(iter, lines))


def _name_endpoint_stream(path: Path, _: float) -> tuple[str, str]:
    endpoint, variant = path.parts[-3:-1]
    return f"{ENDPOINT_LOG_GROUP}/{endpoint}", f"{variant}/{path.stem}"


class _JobStreamNames:
    """Return [job]/[instance]-[epoch timestamp], and that with /data-log for the platform's log.

    So has them the developer guide's table of groups ("Log SageMaker Events with Amazon
    CloudWatch"), which does not give the unit: seconds here.
    """

    def __init__(self) -> None:
        self._began: dict[tuple[Path, str], int] = {}

    def __call__(self, path: Path, began: float) -> tuple[str, str]:
        instance = path.name.partition(".")[0]
        began = self._began.setdefault((path.parent, instance), int(began))
        kind = "/data-log" if path.name.endswith(DATA_LOG) else ""
        return TRANSFORM_LOG_GROUP, f"{path.parts[-3]}/{instance}-{began}{kind}"


def _read_lines(path: Path, begin: int) -> tuple[list[str], int]:
    with path.open("rb") as file:
        file.seek(begin)
        content = file.read(_MAX_READ_BYTES)
    whole, newline, _ = content.rpartition(b"\n")
    if not newline and len(content) == _MAX_READ_BYTES:  # a line that is longer
        whole = content
    text = whole.decode("utf-8", "replace")
    return [line for line in text.splitlines() if line], begin + len(whole) + len(newline)


def _build_endpoint_event(endpoint: Endpoint) -> ServiceEvent:
    detail = {
        "EndpointName": endpoint.name,
        "EndpointArn": endpoint.arn,
        "EndpointConfigName": endpoint.config,
        "ProductionVariants": [variant.summary() for variant in endpoint.variants],
        "EndpointStatus": format_status(endpoint.status),
        "FailureReason": endpoint.reason,
        "CreationTime": 1000 * endpoint.created,
        "LastModifiedTime": 1000 * endpoint.modified,
        "Tags": {},
    }
    facts = {name: value for name, value in detail.items() if value or name == "Tags"}
    return ServiceEvent("SageMaker Endpoint State Change", facts, (endpoint.arn,))


def _build_package_event(described: Mapping[str, Any]) -> ServiceEvent:
    """Return the event of a model package; its statuses are worded as the API words them."""
    names = (
        *("ModelPackageName", "ModelPackageGroupName", "ModelPackageVersion", "ModelPackageArn"),
        *("ModelPackageDescription", "CreationTime", "LastModifiedTime", "InferenceSpecification"),
        *("ModelPackageStatus", "ModelPackageStatusDetails", "ModelApprovalStatus"),
        *("ApprovalDescription", "CustomerMetadataProperties", "ModelLifeCycle"),
    )
    detail = {name: described[name] for name in names if name in described}
    arn = described["ModelPackageArn"]
    return ServiceEvent("SageMaker Model Package State Change", detail, (arn,))
