"""CloudWatch's alarms on a local cloud: kept, evaluated on what was measured, and acted upon.

An alarm looks at closed periods, the last `EvaluationPeriods` that have values and two more to find
them in. Where there are fewer, TreatMissingData decides as in the user guide's table ("Configuring
how CloudWatch alarms treat missing data").
"""

import json
import logging
import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

from workbench.localcloud.cloudwatch.metrics import Metrics
from workbench.localcloud.cloudwatch.statistics import (
    choose_values,
    compute_values,
    evaluate_queries,
    metrics_validation_error,
    parse_statistic,
    summarize_by_period,
)
from workbench.localcloud.core.paging import MAX_POSITION, Pager
from workbench.localcloud.core.protocol import (
    ACCOUNT,
    REGION,
    AwsError,
    Operation,
    arn,
    format_time,
    not_implemented_error,
    now,
)
from workbench.localcloud.core.store import Store, StoreTable
from workbench.localcloud.core.tags import Tags

Alarm = dict[str, Any]
"""What DescribeAlarms says of an alarm."""

_EXTRA_PERIODS = 2  # that values are looked for in, beyond those that are evaluated
# seconds between actions of scaling while a state lasts (user guide, "Alarm actions")
_SCALING_ACTION_INTERVAL = 60.0
# seconds of history (API reference, DescribeAlarmHistory: two weeks)
_HISTORY_RETENTION_SECONDS = 14 * 86_400.0
_ALARM_PAGER = Pager(50, most=100, size="MaxRecords")  # API reference, DescribeAlarms
_HISTORY_PAGER = Pager(100, size="MaxRecords")  # API reference, DescribeAlarmHistory
_COMPARISONS: dict[str, tuple[Callable[[float, float], bool], str]] = {
    "GreaterThanOrEqualToThreshold": (operator.ge, "greater than or equal to"),
    "GreaterThanThreshold": (operator.gt, "greater than"),
    "LessThanThreshold": (operator.lt, "less than"),
    "LessThanOrEqualToThreshold": (operator.le, "less than or equal to"),
}
_TREATMENTS = ("missing", "ignore", "breaching", "notBreaching")
_ACTIONS = {
    "OK": "OKActions",
    "ALARM": "AlarmActions",
    "INSUFFICIENT_DATA": "InsufficientDataActions",
}
_REQUIRED_MEMBERS = ("ComparisonOperator", "EvaluationPeriods", "Threshold")
_UNSUPPORTED_MEMBERS = (
    *("ThresholdMetricId", "EvaluationCriteria", "EvaluationWindow", "WarmUpConfiguration"),
    *("EvaluationInterval", "ActionConfiguration"),
)
_HISTORY_COLUMNS = """
id INTEGER PRIMARY KEY, at REAL NOT NULL, alarm TEXT NOT NULL, type TEXT NOT NULL,
content TEXT NOT NULL
"""
_log = logging.getLogger("workbench.localcloud")


@dataclass(frozen=True, slots=True)
class AlarmAction:
    """An action of an alarm that is due.

    Attributes:
        action: Its ARN: a topic, or a scaling policy.
        alarm: The alarm as DescribeAlarms tells of it, in its new state.
        former: The state that it was in.
        value: Of the newest period that was evaluated; None where none was.
        at: When, in seconds since 1970.
    """

    action: str
    alarm: Alarm
    former: str
    value: float | None
    at: float


class Alarms:
    """The alarms of a local cloud.

    `on_change` is called at each change of a state, with the alarm and the state that it was in;
    `clock` gives the time, in seconds since 1970.
    """

    def __init__(
        self,
        store: Store,
        metrics: Metrics,
        *,
        on_change: Callable[[Alarm, str], None] = lambda *_: None,
        clock: Callable[[], float] = now,
    ) -> None:
        self._store = store
        self._metrics = metrics
        self._on_change = on_change
        self._clock = clock
        self._tags = Tags(store)
        self._handlers: dict[str, Callable[[AlarmAction], None]] = {}
        self._last_actions: dict[str, float] = {}
        columns = "name TEXT PRIMARY KEY, content TEXT NOT NULL"
        self._alarms = StoreTable(store, "alarms", columns, json=["content"])
        self._changes = StoreTable(
            store, "alarm_history", _HISTORY_COLUMNS, json=["content"], options="STRICT"
        )

    def on_action(self, prefix: str, act: Callable[[AlarmAction], None]) -> None:
        """Have actions whose ARN begins so carried out: `arn:aws:sns:`, `arn:aws:autoscaling:`.

        Those of scaling are due each minute for as long as the state lasts, all others once.
        """
        self._handlers[prefix] = act

    def operations(self) -> dict[str, Operation]:
        """Return what answers the operations, by name."""
        return {
            "PutMetricAlarm": self._put,
            "DescribeAlarms": self._describe,
            "DescribeAlarmsForMetric": self._describe_for_metric,
            "DeleteAlarms": self._delete,
            "SetAlarmState": self._set,
            "DescribeAlarmHistory": self._history,
            "EnableAlarmActions": partial(self._enable, enabled=True),
            "DisableAlarmActions": partial(self._enable, enabled=False),
        }

    def put(self, alarm: Mapping[str, Any]) -> str:
        """Return the ARN of an alarm that is new or changed; its state stays as it is.

        Raises:
            AwsError: Its parameters do not fit, or ask for what is not offered.
        """
        _check(alarm)
        at, name = self._clock(), alarm["AlarmName"]
        former = self._find(name)
        given = {key: value for key, value in alarm.items() if key != "Tags"}
        content = {
            "AlarmArn": arn("cloudwatch", f"alarm:{name}"),
            "ActionsEnabled": True,
            **{actions: [] for actions in _ACTIONS.values()},
            "TreatMissingData": "missing",
            "Dimensions": [],
            "StateValue": "INSUFFICIENT_DATA",
            "StateReason": "Unchecked: Initial alarm creation",
            "StateUpdatedTimestamp": at,
            "StateTransitionedTimestamp": at,
        }
        # a change overwrites all but the state (API reference, PutMetricAlarm)
        if former:
            content |= {key: value for key, value in former.items() if key.startswith("State")}
        content |= given | {"AlarmConfigurationUpdatedTimestamp": at}
        if "Metrics" in content:
            del content["Dimensions"]
        with self._store.write():
            if not former:  # of one that exists, AWS takes no notice of them
                self._tags.begin(str(content["AlarmArn"]), alarm.get("Tags", []))
            self._save(content)
        self._note_configuration(name, "updated" if former else "created")
        return str(content["AlarmArn"])

    def delete(self, name: str) -> None:
        """Forget an alarm; its history stays."""
        if alarm := self._find(name):
            self._tags.end(alarm["AlarmArn"])
        self._alarms.remove(name=name)
        self._last_actions.pop(name, None)
        self._note_configuration(name, "deleted")

    def all(self) -> list[Alarm]:
        """Return every alarm, by name."""
        return [row["content"] for row in self._alarms.rows(order="name")]

    def evaluate(self) -> None:
        """Bring every alarm to the state that its metric says, and carry out what is due."""
        for alarm in self.all():
            try:
                judged = _evaluate(self._metrics, alarm, self._clock())
            except AwsError as error:
                _log.warning("The alarm %s cannot be evaluated: %s", alarm["AlarmName"], error)
                continue
            if judged.state != alarm["StateValue"]:
                self._set_state(alarm, *judged)
            else:
                self._scale_again(alarm, judged.value)

    # --- operations

    async def _put(self, params: dict[str, Any]) -> dict[str, Any]:
        self.put(params)
        return {}

    async def _describe(self, params: dict[str, Any]) -> dict[str, Any]:
        names = params.get("AlarmNames")
        if names is not None and "AlarmNamePrefix" in params:
            raise metrics_validation_error("Give AlarmNames or AlarmNamePrefix, and not both.")
        if "ChildrenOfAlarmName" in params or "ParentsOfAlarmName" in params:
            raise not_implemented_error("Alarms made of alarms")
        if "MetricAlarm" not in params.get("AlarmTypes", ["MetricAlarm"]):
            return {"MetricAlarms": [], "CompositeAlarms": []}
        prefix, action = params.get("AlarmNamePrefix", ""), params.get("ActionPrefix", "")
        last, kinds = _ALARM_PAGER.start(params, ""), _ACTIONS.values()
        found = [
            alarm
            for alarm in self.all()
            if (names is None or alarm["AlarmName"] in names)
            and alarm["AlarmName"].startswith(prefix)
            and alarm["AlarmName"] > last
            and params.get("StateValue", alarm["StateValue"]) == alarm["StateValue"]
            and (not action or any(a.startswith(action) for kind in kinds for a in alarm[kind]))
        ]
        page, more = _ALARM_PAGER.cut(found, params, lambda alarm: alarm["AlarmName"])
        return {"MetricAlarms": page, "CompositeAlarms": [], **more}

    async def _describe_for_metric(self, params: dict[str, Any]) -> dict[str, Any]:
        wanted = {"Dimensions": [], **params}
        found = [each for each in self.all() if wanted.items() <= each.items()]
        return {"MetricAlarms": found}

    async def _delete(self, params: dict[str, Any]) -> dict[str, Any]:
        for name in params["AlarmNames"]:
            if self._find(name):  # the others are deleted none the less (API reference)
                self.delete(name)
        return {}

    async def _set(self, params: dict[str, Any]) -> dict[str, Any]:
        alarm = self._find(params["AlarmName"])
        if alarm is None:
            raise AwsError("ResourceNotFound", f"There is no alarm {params['AlarmName']}.", 404)
        if "StateReasonData" in params:
            alarm["StateReasonData"] = params["StateReasonData"]
        if params["StateValue"] != alarm["StateValue"]:
            self._set_state(alarm, params["StateValue"], params["StateReason"], None)
        return {}

    async def _enable(self, params: dict[str, Any], *, enabled: bool) -> dict[str, Any]:
        for name in params["AlarmNames"]:
            if alarm := self._find(name):
                self._save(alarm | {"ActionsEnabled": enabled})
        return {}

    async def _history(self, params: dict[str, Any]) -> dict[str, Any]:
        order = 1 if params.get("ScanBy") == "TimestampAscending" else -1
        query = (
            "SELECT id, content FROM alarm_history WHERE (?1 IS NULL OR alarm = ?1) "
            "AND (?2 IS NULL OR type = ?2) AND at >= ?3 AND at <= ?4 AND ?5 * id > ?6 "
            "ORDER BY ?5 * id LIMIT ?7"
        )
        values = (
            params.get("AlarmName"),
            params.get("HistoryItemType"),
            params.get("StartDate", 0),
            params.get("EndDate", self._clock() + 1),
            order,
            order * _HISTORY_PAGER.start(params, 0 if order > 0 else MAX_POSITION),
            _HISTORY_PAGER.limit(params) + 1,
        )
        found = self._store.db.execute(query, values)
        rows = [self._changes.decode(("id", "content"), row) for row in found]
        page, more = _HISTORY_PAGER.cut(rows, params, lambda row: row["id"])
        return {"AlarmHistoryItems": [row["content"] for row in page], **more}

    # --- states

    def _set_state(self, alarm: Alarm, state: str, reason: str, value: float | None) -> None:
        at, former = self._clock(), alarm["StateValue"]
        alarm |= {
            "StateValue": state,
            "StateReason": reason[:1023],  # the greatest length in botocore's model, as below
            "StateUpdatedTimestamp": at,
            "StateTransitionedTimestamp": at,
        }
        self._save(alarm)
        data = {
            "version": "1.0",
            "oldState": {"stateValue": former},
            "newState": {"stateValue": state, "stateReason": alarm["StateReason"]},
        }
        self._add_history(
            alarm["AlarmName"], "StateUpdate", f"Alarm updated from {former} to {state}", data
        )
        self._on_change(alarm, former)
        if alarm["ActionsEnabled"]:
            self._last_actions[alarm["AlarmName"]] = at
            for action in alarm[_ACTIONS[state]]:
                self._act(AlarmAction(action, alarm, former, value, at))

    def _scale_again(self, alarm: Alarm, value: float | None) -> None:
        """Carry out once a minute what scales, because one step may not have been enough."""
        at, name, state = self._clock(), alarm["AlarmName"], alarm["StateValue"]
        if (
            not alarm["ActionsEnabled"]
            or at < self._last_actions.get(name, 0.0) + _SCALING_ACTION_INTERVAL
        ):
            return
        self._last_actions[name] = at
        for action in alarm[_ACTIONS[state]]:
            if action.startswith("arn:aws:autoscaling:"):
                self._act(AlarmAction(action, alarm, state, value, at))

    def _act(self, alarm_action: AlarmAction) -> None:
        name, action = alarm_action.alarm["AlarmName"], alarm_action.action
        act = next(
            (act for prefix, act in self._handlers.items() if action.startswith(prefix)), None
        )
        if act is None:
            done = f"Failed to execute action {action}: the local cloud has no such service"
        else:
            try:
                act(alarm_action)
            except Exception:  # noqa: BLE001 - whatever it was, the next alarm is due
                _log.exception("The action %s of the alarm %s failed", action, name)
                done = f"Failed to execute action {action}"
            else:
                done = f"Successfully executed action {action}"
        self._add_history(name, "Action", done, {"actionState": done.split()[0]})

    # --- what is kept

    def _find(self, name: str) -> Alarm | None:
        row = self._alarms.find(name=name)
        return row and row["content"]

    def _save(self, alarm: Alarm) -> None:
        self._alarms.put(name=alarm["AlarmName"], content=alarm)

    def _note_configuration(self, name: str, done: str) -> None:
        kind = "Delete" if done == "deleted" else done.title()
        self._add_history(name, "ConfigurationUpdate", f'Alarm "{name}" {done}', {"type": kind})

    def _add_history(self, name: str, kind: str, summary: str, data: Mapping[str, Any]) -> None:
        at = self._clock()
        item = {
            "AlarmName": name,
            "AlarmType": "MetricAlarm",
            "Timestamp": at,
            "HistoryItemType": kind,
            "HistorySummary": summary[:255],  # as in the service model
            "HistoryData": json.dumps(data)[:4095],
        }
        with self._store.write() as db:
            self._changes.add(at=at, alarm=name, type=kind, content=item)
            db.execute("DELETE FROM alarm_history WHERE at < ?", (at - _HISTORY_RETENTION_SECONDS,))


def build_message(alarm_action: AlarmAction) -> str:
    """Return the message about an alarm (user guide, "Notifying users on alarm changes")."""
    alarm = alarm_action.alarm
    trigger: dict[str, Any] = {
        key: alarm[key]
        for key in (
            *("MetricName", "Namespace", "Statistic", "ExtendedStatistic", "Unit", "Period"),
            *("EvaluationPeriods", "DatapointsToAlarm", "ComparisonOperator", "Threshold"),
            *("TreatMissingData", "Metrics"),
        )
        if key in alarm
    }
    trigger["Dimensions"] = [
        {"name": each["Name"], "value": each["Value"]} for each in alarm.get("Dimensions", [])
    ]
    return json.dumps(
        {
            "AlarmName": alarm["AlarmName"],
            "AlarmDescription": alarm.get("AlarmDescription"),
            "AWSAccountId": ACCOUNT,
            "AlarmConfigurationUpdatedTimestamp": _format_time(
                alarm["AlarmConfigurationUpdatedTimestamp"]
            ),
            "NewStateValue": alarm["StateValue"],
            "NewStateReason": alarm["StateReason"],
            "StateChangeTime": _format_time(alarm_action.at),
            "Region": REGION,
            "AlarmArn": alarm["AlarmArn"],
            "OldStateValue": alarm_action.former,
            **{actions: alarm[actions] for actions in _ACTIONS.values()},
            "Trigger": trigger,
        }
    )


# UTC as in the messages that the user guide shows
def _format_time(at: float) -> str:
    return format_time(at, "milliseconds").replace("Z", "+0000")


def _check(alarm: Mapping[str, Any]) -> None:
    for member in _UNSUPPORTED_MEMBERS:
        if member in alarm:
            raise not_implemented_error(f"{member} of an alarm")
    missing = [name for name in _REQUIRED_MEMBERS if name not in alarm]
    if missing:
        raise metrics_validation_error(f"An alarm needs {' and '.join(missing)}.")
    if alarm["ComparisonOperator"] not in _COMPARISONS:
        raise not_implemented_error("An alarm on a band (anomaly detection)")
    _check_metric(alarm)
    if alarm.get("TreatMissingData", "missing") not in _TREATMENTS:
        raise metrics_validation_error(f"TreatMissingData must be one of {', '.join(_TREATMENTS)}.")
    if not 1 <= alarm.get("DatapointsToAlarm", 1) <= alarm["EvaluationPeriods"]:
        raise metrics_validation_error(
            "DatapointsToAlarm must be at least 1 and at most EvaluationPeriods."
        )
    # API reference, PutMetricAlarm: Period
    period = _period(alarm)
    if period % 60 and period not in (10, 20, 30):
        raise metrics_validation_error(
            f"Period must be 10, 20, 30 or a multiple of 60, got {period}."
        )


def _check_metric(alarm: Mapping[str, Any]) -> None:
    """Check what an alarm watches: one metric, or an expression."""
    if ("MetricName" in alarm) == ("Metrics" in alarm):
        raise metrics_validation_error("An alarm needs a MetricName or Metrics, and not both.")
    if "Metrics" in alarm:
        if sum(each.get("ReturnData", True) for each in alarm["Metrics"]) != 1:
            raise metrics_validation_error("Exactly one of an alarm's Metrics must return data.")
        return
    if not alarm.get("Namespace") or "Period" not in alarm:
        raise metrics_validation_error("An alarm on one metric needs a Namespace and a Period.")
    named = [alarm[name] for name in ("Statistic", "ExtendedStatistic") if name in alarm]
    if len(named) != 1:
        raise metrics_validation_error(
            "An alarm on one metric needs a Statistic or an ExtendedStatistic."
        )
    parse_statistic(named[0])


def _period(alarm: Mapping[str, Any]) -> int:
    """Return the period of an alarm: the longest of its metrics."""
    periods = [
        each["MetricStat"]["Period"] for each in alarm.get("Metrics", []) if "MetricStat" in each
    ]
    return int(alarm.get("Period") or max(periods, default=60))


class _Evaluation(NamedTuple):
    """The state that an alarm should have, and why."""

    state: str
    reason: str
    value: float | None = None


def _evaluate(metrics: Metrics, alarm: Alarm, present: float) -> _Evaluation:
    period = _period(alarm)
    count: int = alarm["EvaluationPeriods"]
    end = int(present) // period * period
    start = end - period * (count + _EXTRA_PERIODS)
    values = _read_values(metrics, alarm, period, start, end)[-count:]
    needed: int = alarm.get("DatapointsToAlarm", count)
    missing = count - len(values)
    treatment = alarm["TreatMissingData"]
    newest = values[-1] if values else None
    (compare, words), threshold = _COMPARISONS[alarm["ComparisonOperator"]], alarm["Threshold"]
    breaching = sum(compare(value, threshold) for value in values)
    if not values and treatment == "missing":
        return _Evaluation("INSUFFICIENT_DATA", "Insufficient Data: no datapoints were received.")
    if treatment == "ignore" and breaching < needed <= breaching + missing:  # it hangs on them
        return _Evaluation(alarm["StateValue"], alarm["StateReason"], newest)
    if missing and treatment == "breaching":
        breaching += missing
    if missing and treatment == "missing":
        needed = min(needed, len(values))
    alarming = breaching >= needed
    points = ", ".join(f"{value:g}" for value in values) or "none"
    reason = (
        f"Threshold Crossed: {breaching} of the last {count} datapoints [{points}] crossed the "
        f"threshold ({threshold:g}); {needed} needed: {'' if alarming else 'not '}{words} it."
    )
    return _Evaluation("ALARM" if alarming else "OK", reason, newest)


def _read_values(metrics: Metrics, alarm: Alarm, period: int, start: int, end: int) -> list[float]:
    """Return the values of the periods in [start, end), by time; without Unit, in the newest's."""
    if "Metrics" in alarm:
        ((_, by_unit),) = evaluate_queries(metrics, alarm["Metrics"], start=start, end=end)
    else:
        compute = parse_statistic(alarm.get("Statistic") or alarm["ExtendedStatistic"])
        unit = alarm.get("Unit")
        points = summarize_by_period(metrics, alarm, period=period, start=start, end=end, unit=unit)
        by_unit = compute_values(points, compute)
    return [value for _, value in sorted(choose_values(by_unit).items())]
