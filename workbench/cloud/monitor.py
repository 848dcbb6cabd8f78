"""What a cloud tells of an endpoint: metrics, logs, who did what, and events, as Polars frames.

All of it is read through boto3, from AWS and from a local cloud alike::

    monitor.metrics(deployed.name, cloud)                # CloudWatch's figures, minute by minute
    monitor.logs(deployed.name, cloud, search="ERROR")   # what the containers wrote
    monitor.trail(cloud, name=deployed.name)             # CloudTrail: which calls were made
    with monitor.EventSubscription(cloud) as events:     # EventBridge: what changed, as it does
        events.read(wait=20)

CloudWatch has a figure a minute, some minutes late; CloudTrail is up to 15 minutes late (AWS's own
figures). What is late is not yet in the frames. Each raises `CloudError` where the cloud refuses.
"""

import json
import math
import secrets
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Self

from workbench.cloud.adapters.endpoint import NAMESPACE, VARIANT, name_metric
from workbench.cloud.aws import Cloud
from workbench.cloud.client import open_client
from workbench.cloud.deploy import DeployedModel
from workbench.cloud.ledger import Ledger
from workbench.cloud.monthly import delete_monthly, put_monthly
from workbench.cloud.sns import let_send
from workbench.errors import CloudError, InvalidInput
from workbench.quantiles import SLO
from workbench.validation import of_kind, positive, whole_number

if TYPE_CHECKING:
    import polars as pl

SOURCE = "workbench"
"""The source of the events that the workbench sends."""

DRIFT = "Model Drift"
"""The detail-type of an event that says that inputs or latencies have drifted."""

_LATENCY = ("Average", "p50", "p90", "p95", "p99")
_METRICS: dict[str, tuple[str, ...]] = {
    "Invocations": ("Sum",),
    "Invocation4XXErrors": ("Sum",),
    "Invocation5XXErrors": ("Sum",),
    "InvocationModelErrors": ("Sum",),
    "ModelLatency": _LATENCY,
    "OverheadLatency": _LATENCY,
    "ModelSetupTime": ("SampleCount", *_LATENCY),
    "ServerlessConcurrentExecutionsUtilization": ("Maximum",),
}
_MICROSECONDS = frozenset({"ModelLatency", "OverheadLatency", "ModelSetupTime"})
_MAX_RECEIVE_WAIT = 20  # seconds that SQS holds a request that waits for messages (AWS's limit)

Clock = Callable[[], datetime]


def metrics(
    endpoint: str | DeployedModel,
    cloud: Cloud,
    *,
    since: timedelta = timedelta(hours=1),
    period: int = 60,
    only: Mapping[str, Sequence[str]] = _METRICS,
    variant: str = VARIANT,
    clock: Clock = lambda: datetime.now(UTC),
) -> "pl.DataFrame":
    """Return what CloudWatch has of an endpoint, a row for each period, metric and statistic.

    Columns: time (start of the period, UTC), metric, statistic, value; latencies are in seconds
    (CloudWatch has microseconds). What did not happen has no row.

    Args:
        endpoint: Its name.
        cloud: Where it is.
        since: How far back.
        period: Seconds, a multiple of 60.
        only: The metrics, and the statistics of each. Default: all that an endpoint has.
        variant: The production variant: the figures are of one, and an endpoint has none itself.
        clock: Tells the time.

    Raises:
        InvalidInput: The period is no multiple of 60 seconds.
    """
    if whole_number("period", period, low=60) % 60:
        raise InvalidInput(f"period must be a multiple of 60 seconds, got {period}.")
    wanted = [(metric, each) for metric, statistics in only.items() for each in statistics]
    queries = [
        {
            "Id": f"q{number}",
            "MetricStat": {
                "Metric": name_metric(_name(endpoint), metric, variant),
                "Period": period,
                "Stat": statistic,
            },
        }
        for number, (metric, statistic) in enumerate(wanted)
    ]
    end = clock()
    rows = []
    with open_client(cloud, "cloudwatch") as aws, cloud.translate_errors("read metrics"):
        pages = aws.get_paginator("get_metric_data").paginate(
            MetricDataQueries=queries,
            StartTime=end - since,
            EndTime=end,
            ScanBy="TimestampAscending",
        )
        for found in (found for page in pages for found in page["MetricDataResults"]):
            metric, statistic = wanted[int(found["Id"][1:])]
            unit = 1e6 if metric in _MICROSECONDS and statistic != "SampleCount" else 1
            for at, value in zip(found["Timestamps"], found["Values"], strict=True):
                rows.append((at.astimezone(UTC), metric, statistic, value / unit))
    frame = _frame(rows, metric="String", statistic="String", value="Float64")
    return frame.sort("time", "metric", "statistic")


def logs(
    endpoint: str | DeployedModel, cloud: Cloud, *, search: str = "", tail: int = 100
) -> "pl.DataFrame":
    """Return the last lines that the containers of an endpoint wrote, once they have written some.

    Columns: time (UTC), stream (variant and instance), message.

    Args:
        endpoint: Its name.
        cloud: Where it is.
        search: What a line must contain, or a filter pattern of CloudWatch Logs in braces or
            brackets, which a local cloud does not offer.
        tail: How many lines at most.
    """
    whole_number("tail", tail, low=1)
    pattern = search if search[:1] in ("", "{", "[", '"') else json.dumps(search)
    group = f"/aws/sagemaker/Endpoints/{_name(endpoint)}"
    with open_client(cloud, "logs") as aws, cloud.translate_errors(f"read the logs of {group}"):
        pages = aws.get_paginator("filter_log_events").paginate(
            logGroupName=group, **({"filterPattern": pattern} if pattern else {})
        )
        rows = [
            (datetime.fromtimestamp(line["timestamp"] / 1000, UTC), line["logStreamName"],
             line["message"].rstrip("\n"))
            for page in pages
            for line in page["events"]
        ]  # fmt: skip
    frame = _frame(rows, stream="String", message="String")
    return frame.sort("time", maintain_order=True).tail(tail)


def trail(
    cloud: Cloud,
    *,
    name: str | DeployedModel | None = None,
    since: timedelta = timedelta(days=1),
    limit: int = 1000,
    clock: Clock = lambda: datetime.now(UTC),
) -> "pl.DataFrame":
    """Return which calls CloudTrail recorded, the last first; calls of models are not recorded.

    Columns: time (UTC), event, service, user, error (AWS's code, null for none), resources.

    Args:
        cloud: Where.
        name: Of a resource, such as an endpoint; None: all.
        since: How far back; CloudTrail keeps 90 days.
        limit: How many calls at most.
        clock: Tells the time.
    """
    end = clock()
    asked: dict[str, Any] = {"StartTime": end - since, "EndTime": end}
    asked["PaginationConfig"] = {"MaxItems": whole_number("limit", limit, low=1)}
    if name:
        about = {"AttributeKey": "ResourceName", "AttributeValue": _name(name)}
        asked["LookupAttributes"] = [about]
    rows = []
    with open_client(cloud, "cloudtrail") as aws, cloud.translate_errors("read CloudTrail"):
        pages = aws.get_paginator("lookup_events").paginate(**asked)
        for each in (each for page in pages for each in page["Events"]):
            event = json.loads(each.get("CloudTrailEvent", "{}"))
            resources = [r.get("ResourceName", "") for r in each.get("Resources", [])]
            rows.append((each["EventTime"].astimezone(UTC), each["EventName"],
                         each.get("EventSource", ""), each.get("Username", ""),
                         event.get("errorCode"), resources))  # fmt: skip
    words = dict.fromkeys(("event", "service", "user", "error"), "String")
    return _frame(rows, **words, resources="List")


class EventSubscription:
    """The events of a cloud from now on, by a rule and a queue of its own while a block lasts.

    Args:
        cloud: Where.
        source: Of the events; "aws.sagemaker" are changes of endpoints, jobs and model packages.
        kinds: Their detail-types; none: all of the source.
        targets: ARNs that get each event as well, such as that of a function that retrains. AWS
            must allow events to call them.
    """

    def __init__(
        self,
        cloud: Cloud,
        *,
        source: str = "aws.sagemaker",
        kinds: tuple[str, ...] = (),
        targets: tuple[str, ...] = (),
    ) -> None:
        self._cloud = cloud
        self._pattern = {"source": [source], **({"detail-type": list(kinds)} if kinds else {})}
        self._targets = targets
        self._rule = f"workbench-{secrets.token_hex(6)}"

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self._sqs = stack.enter_context(open_client(self._cloud, "sqs"))
            self._bus = stack.enter_context(open_client(self._cloud, "events"))
            with self._cloud.translate_errors("watch events"):
                self._begin(stack)
            self._exit_stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        with self._cloud.translate_errors("end the watching of events"):
            self._exit_stack.close()

    def _begin(self, stack: ExitStack) -> None:
        tags = {"workbench": self._rule}
        self._queue = self._sqs.create_queue(QueueName=self._rule, tags=tags)["QueueUrl"]
        stack.callback(self._sqs.delete_queue, QueueUrl=self._queue)
        listed = [{"Key": key, "Value": value} for key, value in tags.items()]
        pattern = json.dumps(self._pattern)
        rule = self._bus.put_rule(Name=self._rule, EventPattern=pattern, Tags=listed)["RuleArn"]
        stack.callback(self._bus.delete_rule, Name=self._rule)
        queue = let_send(self._sqs, self._queue, service="events", source=rule)
        targets = [{"Id": f"t{n}", "Arn": arn} for n, arn in enumerate((queue, *self._targets))]
        self._bus.put_targets(Rule=self._rule, Targets=targets)
        ids = [target["Id"] for target in targets]
        stack.callback(self._bus.remove_targets, Rule=self._rule, Ids=ids)

    def read(self, *, wait: float = 0.0) -> "pl.DataFrame":
        """Return the events that have come since the last reading, in order of time.

        Columns: time (UTC), kind (detail-type), resources, detail (a dictionary as JSON).

        Args:
            wait: Seconds to wait for the first where there is none yet.
        """
        rows = [
            (
                datetime.fromisoformat(each["time"]).astimezone(UTC),
                each["detail-type"],
                each.get("resources", []),
                json.dumps(each["detail"]),
            )
            for each in self.take(wait=wait)
        ]
        frame = _frame(rows, kind="String", resources="List", detail="String")
        return frame.sort("time", maintain_order=True)

    def take(self, *, wait: float = 0.0) -> Iterator[Mapping[str, Any]]:
        """Yield the events that have come, as EventBridge words them; each is given out once."""
        deadline = time.monotonic() + wait
        while True:
            left = max(0.0, deadline - time.monotonic())
            with self._cloud.translate_errors("read events"):
                got = self._sqs.receive_message(
                    QueueUrl=self._queue,
                    MaxNumberOfMessages=10,
                    WaitTimeSeconds=min(_MAX_RECEIVE_WAIT, math.ceil(left)),
                ).get("Messages", [])
            for message in got:
                yield json.loads(message["Body"])
                with self._cloud.translate_errors("read events"):
                    self._sqs.delete_message(
                        QueueUrl=self._queue, ReceiptHandle=message["ReceiptHandle"]
                    )
                deadline = 0.0
            if not got and left <= 0:
                return


def report_drift(cloud: Cloud, *, model: str, what: str, detail: Mapping[str, Any]) -> None:
    """Send an event that says that something of a model has drifted.

    Rules of EventBridge start from it what retrains: a function of Lambda's, a pipeline, or by
    `on_drift` a function of this process.

    Args:
        cloud: Whose EventBridge.
        model: "group:version".
        what: "inputs" or "latency", or what you like.
        detail: JSON values.
    """
    text = json.dumps({**detail, "model": model, "what": what})
    with open_client(cloud, "events") as bus, cloud.translate_errors("send an event"):
        answer = bus.put_events(Entries=[{"Source": SOURCE, "DetailType": DRIFT, "Detail": text}])
    if answer.get("FailedEntryCount"):
        (entry,) = answer["Entries"]
        raise CloudError(f"The event was refused: {entry.get('ErrorMessage')}.", entry["ErrorCode"])


def on_drift(
    events: EventSubscription, start: Callable[[Mapping[str, Any]], object], *, wait: float = 0.0
) -> int:
    """Call `start` with the detail of each drift that was reported, and return how many there were.

    `events` must watch for them: `EventSubscription(cloud, source=monitor.SOURCE,
    kinds=(monitor.DRIFT,))`. An event is done with when `start` returns: if it raises, the event
    comes again.
    """
    count = 0
    for event in events.take(wait=wait):
        if event["detail-type"] == DRIFT:
            start(event["detail"])
            count += 1
    return count


@dataclass(frozen=True, kw_only=True)
class BurnRate:
    """When to be alarmed: errors come `rate` times as fast as the target allows.

    A target of 95 % within 100 ms allows 5 % to be slower. They come at twice that rate exactly
    when the 90th percentile is above 100 ms: so percentile and threshold of an alarm follow.

    Raises:
        InvalidInput: At that rate not even every request being slow would be an alarm.

    >>> alarm = BurnRate(slo=SLO(latency=0.1, quantile=0.95), rate=2)
    >>> alarm.statistic, alarm.threshold
    ('p90', 100000.0)
    """

    slo: SLO
    rate: float = 2.0
    minutes: int = 5

    def __post_init__(self) -> None:
        of_kind("slo", self.slo, SLO)
        object.__setattr__(self, "rate", positive("rate", self.rate))
        whole_number("minutes", self.minutes, low=1)
        if self.rate * (1 - self.slo.quantile) >= 1:
            raise InvalidInput(
                f"rate must be below {1 / (1 - self.slo.quantile):g} for {self.slo.label}, got "
                f"{self.rate:g}: at that rate all requests are slow."
            )

    @property
    def statistic(self) -> str:
        """The percentile of latency that is above the target at that rate."""
        return f"p{round(100 * (1 - self.rate * (1 - self.slo.quantile)), 4):g}"

    @property
    def threshold(self) -> float:
        """The target in microseconds, as SageMaker's metrics are."""
        return round(self.slo.latency * 1e6, 3)


def put_alarm(
    endpoint: str | DeployedModel,
    cloud: Cloud,
    burn: BurnRate,
    *,
    actions: tuple[str, ...] = (),
    metric: str = "ModelLatency",
    budget: float | None = None,
    yes: bool = False,
    ledger: Ledger | None = None,
    notify: Callable[[str], object] | None = None,
) -> str:
    """Return the name of an alarm that goes off when an endpoint burns through its target.

    CloudWatch sees what the endpoint takes, without the network and without the buffer in front of
    it. An alarm is paid by the month until `delete_alarm`, `teardown` or the end of the deployment
    ends it; that is agreed to first and is in the ledger.

    Args:
        endpoint: Its name.
        cloud: Where it is.
        burn: When to go off.
        actions: ARNs of SNS topics to notify.
        metric: "ModelLatency", or "OverheadLatency" for cold starts and waiting.
        budget: US dollars a month that it may cost.
        yes: Whether it may cost money without asking.
        ledger: Where it is written down, by default the one of the workbench's home.
        notify: Called with what it costs, by default on the error stream.

    Raises:
        OverBudget: It costs more than the budget.
        NotAvailable: Nobody agreed to the cost.
    """
    name = f"workbench-{_name(endpoint)}-{burn.statistic}-{burn.threshold:g}us"
    alarm = {
        "AlarmName": name,
        "AlarmDescription": f"{burn.slo.label} is missed {burn.rate:g} times as often as allowed",
        "ActionsEnabled": bool(actions),
        "AlarmActions": list(actions),
        **name_metric(_name(endpoint), metric),
        "ExtendedStatistic": burn.statistic,
        "Period": 60,
        "EvaluationPeriods": burn.minutes,
        "DatapointsToAlarm": burn.minutes,
        "Threshold": burn.threshold,
        "ComparisonOperator": "GreaterThanThreshold",
        "TreatMissingData": "notBreaching",
    }
    terms: dict[str, Any] = {"budget": budget, "yes": yes, "ledger": ledger, "notify": notify}
    put_monthly("alarm", _name(endpoint), cloud, alarm, **terms)
    return name


def alarm_state(name: str, cloud: Cloud) -> str:
    """Return "OK", "ALARM" or "INSUFFICIENT_DATA".

    Raises:
        CloudError: There is no such alarm.
    """
    with open_client(cloud, "cloudwatch") as aws, cloud.translate_errors("read an alarm"):
        found = aws.describe_alarms(AlarmNames=[name])["MetricAlarms"]
    if not found:
        raise CloudError(f"There is no alarm {name} on {cloud.name}.", "ResourceNotFound")
    return str(found[0]["StateValue"])


def alarms(endpoint: str | DeployedModel, cloud: Cloud) -> "pl.DataFrame":
    """Return the alarms of an endpoint that `put_alarm` made.

    Columns: time (of the latest change of state, UTC), name, state ("OK", "ALARM" or
    "INSUFFICIENT_DATA"), about, reason.
    """
    with open_client(cloud, "cloudwatch") as aws, cloud.translate_errors("read alarms"):
        pages = aws.get_paginator("describe_alarms").paginate(
            AlarmNamePrefix=f"workbench-{_name(endpoint)}-"
        )
        rows = [
            (each["StateUpdatedTimestamp"].astimezone(UTC), each["AlarmName"], each["StateValue"],
             each.get("AlarmDescription", ""), each.get("StateReason", ""))
            for page in pages
            for each in page["MetricAlarms"]
        ]  # fmt: skip
    words = dict.fromkeys(("name", "state", "about", "reason"), "String")
    return _frame(rows, **words)


def delete_alarm(name: str, cloud: Cloud, *, ledger: Ledger | None = None) -> None:
    """Delete an alarm; one that is not there is fine."""
    delete_monthly("alarm", name, cloud, ledger)


def dashboard_body(endpoint: str | DeployedModel, *, region: str) -> str:
    """Return the body of a CloudWatch dashboard of an endpoint, as PutDashboard takes it.

    >>> [each["properties"]["title"] for each in json.loads(
    ...     dashboard_body("digits", region="us-east-1"))["widgets"]]
    ['Calls', 'Model latency', 'Overhead latency', 'Cold starts']
    """
    name = _name(endpoint)
    panels = (
        ("Calls", ("Invocations", "Invocation4XXErrors", "Invocation5XXErrors"), ("Sum",)),
        ("Model latency", ("ModelLatency",), ("p50", "p95", "p99")),
        ("Overhead latency", ("OverheadLatency",), ("p50", "p95", "p99")),
        ("Cold starts", ("ModelSetupTime",), ("SampleCount", "p50")),
    )
    variant = ("EndpointName", name, "VariantName", VARIANT)

    def line(metric: str, statistic: str) -> list[Any]:
        shown = {"stat": statistic, "label": f"{metric} {statistic}"}
        return [NAMESPACE, metric, *variant, shown]

    widgets = [
        {
            "type": "metric",
            # two in a row: the grid of a dashboard has 24 columns
            "x": 12 * (number % 2),
            "y": 6 * (number // 2),
            "width": 12,
            "height": 6,
            "properties": {
                "title": title,
                "region": region,
                "view": "timeSeries",
                "period": 60,
                "metrics": [line(metric, each) for metric in shown for each in statistics],
            },
        }
        for number, (title, shown, statistics) in enumerate(panels)
    ]
    return json.dumps({"widgets": widgets})


def put_dashboard(
    endpoint: str | DeployedModel,
    cloud: Cloud,
    *,
    budget: float | None = None,
    yes: bool = False,
    ledger: Ledger | None = None,
    notify: Callable[[str], object] | None = None,
) -> str:
    """Return the name of a CloudWatch dashboard of an endpoint.

    It is paid by the month, on the terms of `put_alarm` and with its errors, until
    `delete_dashboard`, `teardown` or the end of the deployment ends it.
    """
    name = f"workbench-{_name(endpoint)}"
    body = dashboard_body(endpoint, region=cloud.region)
    dashboard = {"DashboardName": name, "DashboardBody": body}
    terms: dict[str, Any] = {"budget": budget, "yes": yes, "ledger": ledger, "notify": notify}
    put_monthly("dashboard", _name(endpoint), cloud, dashboard, **terms)
    return name


def delete_dashboard(name: str, cloud: Cloud, *, ledger: Ledger | None = None) -> None:
    """Delete a dashboard; one that is not there is fine."""
    delete_monthly("dashboard", name, cloud, ledger)


def _name(endpoint: str | DeployedModel) -> str:
    named = endpoint.name if isinstance(endpoint, DeployedModel) else endpoint
    return of_kind("endpoint", named, str)


def _frame(rows: Sequence[tuple[Any, ...]], **columns: str) -> "pl.DataFrame":
    """Return rows that begin with a time as a frame; a list is one of texts."""
    import polars as pl

    schema: dict[str, Any] = {"time": pl.Datetime("us", "UTC")}
    for name, kind in columns.items():
        schema[name] = pl.List(pl.String) if kind == "List" else getattr(pl, kind)
    return pl.DataFrame(rows, schema=schema, orient="row")
