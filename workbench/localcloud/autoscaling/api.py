"""Application Auto Scaling of a local cloud: targets, policies, scheduled actions and activities.

It decides by the scalers of `workbench.scaling`, once a minute, on the metrics of that minute (each
10 seconds on those of high resolution), and changes endpoints by the operation that AWS changes
them by. What a minute is can be set.
"""

import asyncio
import logging
import math
import re
import time
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any, Literal, NamedTuple

from workbench.errors import InvalidInput
from workbench.localcloud.autoscaling.schedules import is_due
from workbench.localcloud.autoscaling.tracking_alarms import put_alarms
from workbench.localcloud.cloudwatch.alarms import AlarmAction, Alarms
from workbench.localcloud.cloudwatch.metrics import MINUTE, Key, Metrics, metric_key
from workbench.localcloud.cloudwatch.statistics import dimensions
from workbench.localcloud.core.paging import Pager
from workbench.localcloud.core.protocol import (
    ACCOUNT,
    AwsError,
    Operation,
    arn,
    new_id,
    not_implemented_error,
    now,
    validation_error,
)
from workbench.localcloud.core.store import Store, StoreTable
from workbench.localcloud.core.tasks import TaskSet
from workbench.localcloud.sagemaker.endpoint_api import EndpointApi
from workbench.localcloud.sagemaker.endpoints import Endpoint, Variant
from workbench.localcloud.sagemaker.metering import CONCURRENCY, INVOCATIONS, variant_key
from workbench.scaling.reactive import (
    HIGH_RESOLUTION,
    StepScaler,
    StepScaling,
    TargetTracking,
    TargetTrackingScaler,
)

POLICY_ARN_PREFIX = "arn:aws:autoscaling:"
"""What the ARNs of policies begin with, which alarms name as their actions."""

Facts = dict[str, Any]

_TRACKING = "TargetTrackingScalingPolicyConfiguration"
_SERVICE = "application-autoscaling"
_INSTANCES = "sagemaker:variant:DesiredInstanceCount"
_PROVISIONED = "sagemaker:variant:DesiredProvisionedConcurrency"
_SUSPENDABLE = (
    "DynamicScalingInSuspended",
    "DynamicScalingOutSuspended",
    "ScheduledScalingSuspended",
)
_RESOURCE = re.compile(r"endpoint/([^/]+)/variant/([^/]+)")
_PER_INSTANCE = "SageMakerVariantInvocationsPerInstance"
_UTILISATION = "SageMakerVariantProvisionedConcurrencyUtilization"
_CONCURRENT = "SageMakerVariantConcurrentRequestsPerModelHighResolution"
_LOOKS = round(60 / HIGH_RESOLUTION)  # in a minute
_ADJUSTMENTS: Mapping[str, Literal["change", "exact"]] = {
    "ChangeInCapacity": "change",
    "ExactCapacity": "exact",
}
_KINDS = {  # of what is kept: the member that names one, the parameter that chooses, the answer's
    "target": ("ResourceId", "ResourceIds", "ScalableTargets"),
    "policy": ("PolicyName", "PolicyNames", "ScalingPolicies"),
    "action": ("ScheduledActionName", "ScheduledActionNames", "ScheduledActions"),
    "activity": ("ActivityId", "", "ScalingActivities"),
}
# the service-linked role that AWS makes (user guide, "Service-linked roles")
_ROLE = (
    f"arn:aws:iam::{ACCOUNT}:role/aws-service-role/sagemaker.application-autoscaling.amazonaws.com/"
    "AWSServiceRoleForApplicationAutoScaling_SageMakerEndpoint"
)
_METRICS = {
    (_INSTANCES, _PER_INSTANCE): "Invocations",  # of all instances: divided by how many there were
    (_INSTANCES, _CONCURRENT): CONCURRENCY,
    (_PROVISIONED, _UTILISATION): "ServerlessProvisionedConcurrencyUtilization",
}
# user guide, "Target tracking" and "Step scaling": the default for SageMaker
_DEFAULT_COOLDOWN = 300.0
# seconds of activities (API reference, DescribeScalingActivities: six weeks)
_ACTIVITY_RETENTION_SECONDS = 42 * 86_400.0
_PAGER = Pager(50, error="InvalidNextTokenException")  # API reference, MaxResults
_COLUMNS = """
kind TEXT NOT NULL, resource TEXT NOT NULL, dimension TEXT NOT NULL, name TEXT NOT NULL,
created REAL NOT NULL, facts TEXT NOT NULL, PRIMARY KEY (kind, resource, dimension, name)
"""
_log = logging.getLogger("workbench.localcloud")


class _Key(NamedTuple):
    """What is scaled, and by what: `endpoint/<name>/variant/<name>`, one of two dimensions."""

    resource: str
    dimension: str

    @property
    def members(self) -> Facts:
        """The members of requests and answers that say so."""
        return {"ResourceId": self.resource, "ScalableDimension": self.dimension}

    @property
    def names(self) -> tuple[str, str]:
        """The names of the endpoint and its variant."""
        _, endpoint, _, variant = self.resource.split("/")
        return endpoint, variant


class Autoscaling:
    """Scales the variants of endpoints, and answers what is asked about it.

    A `minute` is so many seconds, and cool-downs shrink with it; `sample` puts the metrics of high
    resolution of endpoints.
    """

    def __init__(
        self,
        store: Store,
        hosting: EndpointApi,
        metrics: Metrics,
        alarms: Alarms,
        *,
        minute: float,
        sample: Callable[[Iterable[Endpoint]], None],
    ) -> None:
        self._store = store
        self._hosting = hosting
        self._metrics = metrics
        self._alarms = alarms
        self._minute = minute
        self._sample = sample
        self._tracking: dict[_Key, list[_TrackingPolicy]] = {}
        self._steps: dict[str, StepScaler] = {}
        self._tasks = TaskSet()
        self._last_schedule_check = 0.0
        self._table = StoreTable(store, "autoscaling", _COLUMNS, json=["facts"])

    def operations(self) -> dict[str, Operation]:
        """Return what answers the operations, by name."""
        return {
            "RegisterScalableTarget": self._register,
            "DescribeScalableTargets": partial(self._describe, "target"),
            "DeregisterScalableTarget": self._deregister,
            "PutScalingPolicy": self._put_policy,
            "DescribeScalingPolicies": partial(self._describe, "policy"),
            "DeleteScalingPolicy": self._delete_policy,
            "PutScheduledAction": self._put_action,
            "DescribeScheduledActions": partial(self._describe, "action"),
            "DeleteScheduledAction": self._delete_action,
            "DescribeScalingActivities": partial(self._describe, "activity"),
        }

    def start(self) -> None:
        """Begin to scale."""
        self._last_schedule_check = now()
        self._tasks.start(self._tick())

    async def close(self) -> None:
        """Let go of the endpoints."""
        await self._tasks.cancel()

    # --- operations

    async def _register(self, params: Facts) -> Facts:
        key = _read_key(params)
        self._find_variant(key)
        given = ("MinCapacity", "MaxCapacity", "RoleARN")
        facts = {
            "CreationTime": now(),
            "ScalableTargetARN": arn(_SERVICE, f"scalable-target/{new_id()}"),
            "RoleARN": _ROLE,
            "SuspendedState": dict.fromkeys(_SUSPENDABLE, False),
            # what a later call does not name stays (API reference, RegisterScalableTarget)
            **(self._get("target", key) or {}),
            **{name: params[name] for name in given if name in params},
        }
        facts["SuspendedState"] |= params.get("SuspendedState", {})
        # needed of a new target alone (API reference, RegisterScalableTarget)
        if "MinCapacity" not in facts or "MaxCapacity" not in facts:
            raise validation_error("A new scalable target needs MinCapacity and MaxCapacity.")
        if not 0 <= facts["MinCapacity"] <= facts["MaxCapacity"]:
            raise validation_error("MinCapacity must be at least 0 and not above MaxCapacity.")
        self._set_target(key, facts, "the scalable target was registered")
        return {"ScalableTargetARN": facts["ScalableTargetARN"]}

    async def _deregister(self, params: Facts) -> Facts:
        key = _read_key(params)
        self._target(key)
        # its policies and actions go with it (API reference, DeregisterScalableTarget)
        self._drop_all(key)
        return {}

    async def _put_policy(self, params: Facts) -> Facts:
        key, name = _read_key(params), params["PolicyName"]
        target, former = self._target(key), self._get("policy", key, name) or {}
        kept = ("PolicyType", "StepScalingPolicyConfiguration", _TRACKING)
        facts = {
            "CreationTime": now(),
            "PolicyARN": _make_arn("scalingPolicy", key, f"policyName/{name}"),
            "PolicyType": "StepScaling",
            **former,
            **{each: params[each] for each in kept if each in params},
        }
        try:
            self._scaler(key, facts, target)
        except InvalidInput as error:
            raise validation_error(str(error)) from error
        if facts["PolicyType"] == "TargetTrackingScaling":
            metric = _metric(key, facts[_TRACKING])
            facts["Alarms"] = put_alarms(
                self._alarms, key.resource, facts, metric, minute=self._minute
            )
        else:
            self._delete_alarms([former])
            facts.pop("Alarms", None)
        self._put("policy", key, facts, name)
        self._reset_scalers(key)
        return {"PolicyARN": facts["PolicyARN"], "Alarms": facts.get("Alarms", [])}

    async def _delete_policy(self, params: Facts) -> Facts:
        key, name = _read_key(params), params["PolicyName"]
        self._delete_alarms([self._get("policy", key, name) or {}])
        self._drop("policy", key, name)
        self._reset_scalers(key)
        return {}

    async def _put_action(self, params: Facts) -> Facts:
        key, name = _read_key(params), params["ScheduledActionName"]
        self._target(key)
        kept = ("Schedule", "Timezone", "StartTime", "EndTime", "ScalableTargetAction")
        facts = {
            "CreationTime": now(),
            "ScheduledActionARN": _make_arn("scheduledAction", key, f"scheduledActionName/{name}"),
            **(self._get("action", key, name) or {}),
            **{each: params[each] for each in kept if each in params},
        }
        if "Schedule" not in facts:
            raise validation_error("A new scheduled action needs a Schedule.")
        _is_due(facts, before=now(), at=now())  # refuses what cannot be read
        self._put("action", key, facts, name)
        return {}

    async def _delete_action(self, params: Facts) -> Facts:
        self._drop("action", _read_key(params), params["ScheduledActionName"])
        return {}

    async def _describe(self, kind: str, params: Facts) -> Facts:
        member, choice, answer = _KINDS[kind]
        names = params.get(choice)
        found = [each for each in self._all(kind, params) if names is None or each[member] in names]
        if kind == "activity":
            found.sort(key=lambda each: float(each["StartTime"]), reverse=True)
        page, more = _PAGER.page(found, params)
        return {answer: page, **more}

    # --- what is kept

    def _get(self, kind: str, key: _Key, name: str = "") -> Facts | None:
        row = self._table.find(kind=kind, **key._asdict(), name=name)
        return row and row["facts"]

    def _put(self, kind: str, key: _Key, facts: Facts, name: str = "") -> None:
        self._table.put(kind=kind, **key._asdict(), name=name, created=now(), facts=facts)

    def _drop(self, kind: str, key: _Key, name: str) -> None:
        if self._get(kind, key, name) is None:
            raise _not_found_error(f"{kind} {name} of {key.resource}")
        self._table.remove(kind=kind, **key._asdict(), name=name)

    def _drop_all(self, key: _Key) -> None:
        """Forget a target with its policies and scheduled actions; activities stay known."""
        self._reset_scalers(key)
        self._delete_alarms(self._all("policy", key.members))
        with self._store.write():
            for kind in ("target", "policy", "action"):
                self._table.remove(kind=kind, **key._asdict())

    def _delete_alarms(self, policies: Iterable[Mapping[str, Any]]) -> None:
        for policy in policies:
            for alarm in policy.get("Alarms", []):
                self._alarms.delete(alarm["AlarmName"])

    def _all(self, kind: str, params: Mapping[str, Any]) -> list[Facts]:
        """Return the facts of a kind as they are described, of one target if one is named."""
        columns = {"resource": "ResourceId", "dimension": "ScalableDimension"}
        chosen = {column: params[each] for column, each in columns.items() if each in params}
        return [
            {
                "ServiceNamespace": "sagemaker",
                **_Key(row["resource"], row["dimension"]).members,
                **({_KINDS[kind][0]: row["name"]} if row["name"] else {}),
                **row["facts"],
            }
            for row in self._table.rows(kind=kind, **chosen)
        ]

    def _target(self, key: _Key) -> Facts:
        found = self._get("target", key)
        if found is None:
            raise _not_found_error(f"scalable target {key.resource} with {key.dimension}")
        return found

    def _set_target(self, key: _Key, target: Facts, cause: str) -> None:
        """Keep a target, and have its variant's size keep to its limits."""
        self._put("target", key, target)
        self._reset_scalers(key)
        there = self._find_variant(key)[1].fleet.size
        wanted = min(max(there, target["MinCapacity"]), target["MaxCapacity"])
        if wanted != there:
            limits = f"minimum {target['MinCapacity']}, maximum {target['MaxCapacity']}"
            self._tasks.start(self._scale(key, wanted, f"{cause}: {limits}"))

    def _find_variant(self, key: _Key) -> tuple[Endpoint, Variant]:
        """Return what a target scales, or refuse one whose variant is not of the right kind."""
        name, variant_name = key.names
        endpoint = self._hosting.find_in_service(name)
        variant = endpoint.variant(variant_name) if endpoint else None
        if endpoint is None or variant is None:
            raise validation_error(f"SageMaker variant {key.resource} does not exist.")
        if variant.serverless != (key.dimension == _PROVISIONED):
            raise validation_error(
                f"{key.dimension} is not what variant {variant.name} can be scaled by."
            )
        return endpoint, variant

    # --- scaling

    async def _tick(self) -> None:
        began, looks = time.monotonic(), 0
        while True:
            # twice for each look, so that none is late by more than half of one
            await asyncio.sleep(min(1.0, self._minute / (2 * _LOOKS)))
            try:
                self._schedule()
                if time.monotonic() >= began + (looks + 1) * self._minute / _LOOKS:
                    looks += 1
                    self._sample(self._hosting.endpoints)
                    self._apply_policies(whole=looks % _LOOKS == 0)
            except Exception:  # noqa: BLE001 - the next minute is due, whatever it was
                _log.exception("Autoscaling failed")

    def _apply_policies(self, *, whole: bool) -> None:
        """Have each target follow its policies by what has closed: a `whole` minute, or less."""
        for target in self._all("target", {}):
            key = _read_key(target)
            if self._hosting.find(key.names[0]) is None:
                self._drop_all(key)
                continue
            if key not in self._tracking:
                self._tracking[key] = self._create_scalers(key, target)
            due = [
                each for each in self._tracking[key] if whole or _is_high_resolution(each.config)
            ]
            self._follow(key, due)

    def _create_scalers(self, key: _Key, target: Facts) -> "list[_TrackingPolicy]":
        tracking: list[_TrackingPolicy] = []
        for policy in self._all("policy", key.members):
            scaler = self._scaler(key, policy, target)
            if isinstance(scaler, TargetTrackingScaler):
                config = policy[_TRACKING]
                unit = config.get("CustomizedMetricSpecification", {}).get("Unit", "")
                series = _MetricReader(self._metrics, _metric(key, config), unit=unit, since=now())
                tracking.append(_TrackingPolicy(policy["PolicyName"], config, scaler, series))
        return tracking

    def _follow(self, key: _Key, due: "list[_TrackingPolicy]") -> None:
        """Have one target follow its policies; it is skipped while the endpoint updates."""
        # read even while the endpoint updates, so that the next reading is of its own time alone
        readings = [policy.series.read(at=now()) for policy in due]
        try:
            endpoint, variant = self._find_variant(key)
        except AwsError:
            return
        if endpoint.busy or not due:
            return
        fleet = variant.fleet
        up = fleet.size if variant.serverless else len(fleet.instances)
        asked: dict[int, str] = {}
        for (name, config, scaler, _), (count, total) in zip(due, readings, strict=True):
            value = _compute_metric(config, count, total, up)
            wanted = scaler.follow(value, measured=up, current=fleet.size, now=time.monotonic())
            asked[wanted] = (
                f"policy {name}: the metric was {value:g}, the target is {config['TargetValue']}"
            )
        wanted = max(asked)  # who wants most prevails, as on AWS
        self._resize_unless_suspended(key, fleet.size, wanted, asked[wanted])

    def _scaler(self, key: _Key, policy: Facts, target: Facts) -> TargetTrackingScaler | StepScaler:
        """Return the scaler of a policy, or refuse it."""
        least, most = target["MinCapacity"], max(1, target["MaxCapacity"])
        shrunk = self._minute / 60
        if policy["PolicyType"] == "TargetTrackingScaling":
            config = policy.get(_TRACKING)
            if config is None:
                raise validation_error(f"A policy of this type needs {_TRACKING}.")
            _metric(key, config)
            fine = _is_high_resolution(config)
            build = TargetTracking.high_resolution if fine else TargetTracking
            return build(
                target=config["TargetValue"],
                least=least,
                most=most,
                period=self._minute / _LOOKS if fine else self._minute,
                out_cooldown=config.get("ScaleOutCooldown", _DEFAULT_COOLDOWN) * shrunk,
                in_cooldown=config.get("ScaleInCooldown", _DEFAULT_COOLDOWN) * shrunk,
                scale_in=not config.get("DisableScaleIn", False),
            ).scaler()
        if policy["PolicyType"] != "StepScaling":
            raise not_implemented_error(f"The policy type {policy['PolicyType']}")
        config = policy.get("StepScalingPolicyConfiguration", {})
        if "AdjustmentType" not in config:
            raise validation_error(
                "A policy of this type needs a StepScalingPolicyConfiguration with AdjustmentType."
            )
        if config["AdjustmentType"] not in _ADJUSTMENTS:
            raise not_implemented_error(
                "A step policy's AdjustmentType other than a change or exact capacity"
            )
        return StepScaling(
            steps=_steps(config.get("StepAdjustments", [])),
            adjustment=_ADJUSTMENTS[config["AdjustmentType"]],
            least=least,
            most=most,
            period=self._minute,
            cooldown=config.get("Cooldown", _DEFAULT_COOLDOWN) * shrunk,
        ).scaler()

    def apply_step_policy(self, alarm_action: AlarmAction) -> None:
        """Carry out a step policy that an alarm names as its action.

        Raises:
            AwsError: There is no such policy, or what it scales is not there.
        """
        policies = self._all("policy", {})
        policy = next((each for each in policies if each["PolicyARN"] == alarm_action.action), None)
        if policy is None:
            raise _not_found_error(f"policy {alarm_action.action}")
        key = _read_key(policy)
        if alarm_action.action not in self._steps:
            scaler = self._scaler(key, policy, self._target(key))
            # an alarm of target tracking only shows what the policy reads by itself
            if not isinstance(scaler, StepScaler):
                return
            self._steps[alarm_action.action] = scaler
        endpoint, variant = self._find_variant(key)
        if endpoint.busy or alarm_action.value is None:
            return
        past = abs(alarm_action.value - alarm_action.alarm["Threshold"])
        there = variant.fleet.size
        wanted = self._steps[alarm_action.action].follow(
            1.0 + past, current=there, now=time.monotonic()
        )
        alarm = alarm_action.alarm["AlarmName"]
        cause = f"monitor alarm {alarm} in state ALARM triggered policy {policy['PolicyName']}"
        self._resize_unless_suspended(key, there, wanted, cause)

    def _schedule(self) -> None:
        """Carry out the scheduled actions that are due since it was last looked."""
        before, self._last_schedule_check = self._last_schedule_check, now()
        for action in self._all("action", {}):
            if not _is_due(action, before=before, at=self._last_schedule_check):
                continue
            key = _read_key(action)
            target = self._target(key)
            if target.get("SuspendedState", {}).get("ScheduledScalingSuspended"):
                continue
            target |= action.get("ScalableTargetAction", {})
            try:
                self._set_target(key, target, f"scheduled action {action['ScheduledActionName']}")
            except AwsError as error:
                _log.warning("A scheduled action failed: %s", error)

    def _resize_unless_suspended(self, key: _Key, there: int, wanted: int, cause: str) -> None:
        """Resize to what a policy wants, within the target's maximum, unless that is suspended."""
        target = self._target(key)
        wanted = min(wanted, target["MaxCapacity"])  # for a scaler it is 1 at least
        flag = f"DynamicScaling{'Out' if wanted > there else 'In'}Suspended"
        if wanted != there and not target.get("SuspendedState", {}).get(flag):
            self._tasks.start(self._scale(key, wanted, cause))

    async def _scale(self, key: _Key, wanted: int, cause: str) -> None:
        """Change a variant's size, and keep how that went as an activity."""
        name, variant = key.names
        word, size = "desired instance count", Facts(DesiredInstanceCount=wanted)
        if key.dimension == _PROVISIONED:
            word = "provisioned concurrency"
            size = {"ServerlessUpdateConfig": {"ProvisionedConcurrency": wanted}}
        activity: Facts = {
            "Description": f"Setting {word} to {wanted}.",
            "Cause": cause,
            "StartTime": now(),
            "StatusCode": "InProgress",
        }
        number = new_id()
        self._put("activity", key, activity, number)
        update = self._hosting.operations()["UpdateEndpointWeightsAndCapacities"]
        change = {"VariantName": variant, **size}
        try:
            await update({"EndpointName": name, "DesiredWeightsAndCapacities": [change]})
            endpoint = self._hosting.find_in_service(name)
            if endpoint is not None:
                await endpoint.stable.wait()
            reason = endpoint.reason if endpoint is not None else "The endpoint has ended."
        except AwsError as error:
            reason = error.message
        done = f"Successfully set {word} to {wanted}. Change successfully fulfilled by sagemaker."
        activity |= {
            "EndTime": now(),
            "StatusCode": "Failed" if reason else "Successful",
            "StatusMessage": reason or done,
        }
        self._put("activity", key, activity, number)
        with self._store.write() as db:
            db.execute(
                "DELETE FROM autoscaling WHERE kind = 'activity' AND created < ?",
                (now() - _ACTIVITY_RETENTION_SECONDS,),
            )

    def _reset_scalers(self, key: _Key) -> None:
        """Drop scalers, which are made again, because what they follow has changed."""
        self._tracking.pop(key, None)
        self._steps.clear()


class _TrackingPolicy(NamedTuple):
    """A policy of a target that is followed when a period has closed."""

    name: str
    config: Facts
    scaler: TargetTrackingScaler
    series: "_MetricReader"


def _is_high_resolution(config: Mapping[str, Any]) -> bool:
    """Whether a policy tracks a metric that is measured each 10 seconds."""
    predefined = config.get("PredefinedMetricSpecification") or {}
    return predefined.get("PredefinedMetricType") == _CONCURRENT


class _MetricReader:
    """One metric: how many values, and their sum, came since it was last read."""

    def __init__(self, metrics: Metrics, key: Key, *, unit: str, since: float) -> None:
        self._metrics = metrics
        self._key = key
        self._unit = unit
        self._begin(since)

    def _begin(self, at: float) -> None:
        """Count from the minute of an instant on, without what it holds already."""
        self._start = at // MINUTE * MINUTE
        self._seen = self._total()

    def _total(self) -> tuple[float, float]:
        start, unit = self._start, self._unit
        found = self._metrics.statistics(self._key, start=start, end=math.inf, unit=unit)
        return found.count, found.sum

    def read(self, *, at: float) -> tuple[float, float]:
        """Return the count and the sum of the values since the last time."""
        (count, total), (seen, before) = self._total(), self._seen
        self._begin(at)
        return count - seen, total - before


def _compute_metric(config: Mapping[str, Any], count: float, total: float, instances: int) -> float:
    """Return a policy's metric in a minute; without values, NaN or, of invocations, 0."""
    predefined = config.get("PredefinedMetricSpecification")
    if predefined and predefined["PredefinedMetricType"] == _PER_INSTANCE:
        return total / max(1, instances)
    if not count:
        return 0.0 if predefined else math.nan
    custom = config.get("CustomizedMetricSpecification", {})
    return total if custom.get("Statistic") == "Sum" else total / count


def _metric(key: _Key, config: Mapping[str, Any]) -> Key:
    """Return the metric that a policy tracks."""
    predefined = config.get("PredefinedMetricSpecification")
    custom = config.get("CustomizedMetricSpecification")
    if predefined is not None and custom is None:
        kind = predefined["PredefinedMetricType"]
        if (key.dimension, kind) not in _METRICS:
            raise validation_error(f"The metric {kind} does not go with {key.dimension}.")
        return variant_key(INVOCATIONS, _METRICS[key.dimension, kind], *key.names)
    if custom is None or predefined is not None:
        raise validation_error("A policy tracks one metric: predefined or customized.")
    if "Metrics" in custom or custom.get("Statistic") not in ("Average", "Sum"):
        raise not_implemented_error(
            "A customized metric other than the Average or Sum of one metric"
        )
    return metric_key(custom["Namespace"], custom["MetricName"], dimensions(custom))


def _steps(adjustments: Iterable[Mapping[str, Any]]) -> list[tuple[float, int]]:
    """Return steps by their distance from the threshold, on whichever side they lie.

    Checked are the rules of the API reference, "StepAdjustment".
    """
    steps: dict[float, int] = {}
    ends = set()
    for each in adjustments:
        lower = each.get("MetricIntervalLowerBound")
        upper = each.get("MetricIntervalUpperBound")
        if lower is None and upper is None:
            raise validation_error("A step adjustment needs at least one bound of its interval.")
        # below the threshold intervals are negative: the same, mirrored
        if upper is not None and upper <= 0:
            lower, upper = -upper, None if lower is None else -lower
        distance = lower or 0.0
        if distance in steps:
            raise validation_error(
                "StepAdjustments must be intervals on one side of the threshold."
            )
        steps[distance] = each["ScalingAdjustment"]
        ends.add(math.inf if upper is None else upper)
    if steps and ends != {*sorted(steps)[1:], math.inf}:
        raise validation_error(
            "The intervals of StepAdjustments can't overlap or have a gap, and the one farthest "
            "from the threshold has no end."
        )
    return sorted(steps.items())


def _is_due(action: Mapping[str, Any], *, before: float, at: float) -> bool:
    begin, zone = action.get("StartTime", action["CreationTime"]), action.get("Timezone", "UTC")
    due = is_due(action["Schedule"], zone=zone, begin=begin, before=before, now=at)
    return due and begin <= at < action.get("EndTime", math.inf)


def _read_key(params: Mapping[str, Any]) -> _Key:
    """Return what a request is about."""
    key = _Key(params["ResourceId"], params["ScalableDimension"])
    if params.get("ServiceNamespace", "sagemaker") != "sagemaker":
        raise not_implemented_error(f"Scaling of {params['ServiceNamespace']}")
    if key.dimension not in (_INSTANCES, _PROVISIONED) or not _RESOURCE.fullmatch(key.resource):
        raise validation_error(
            f"{key.resource} with {key.dimension} cannot be scaled: endpoint/<name>/variant/<name> "
            f"with {_INSTANCES} or {_PROVISIONED} can."
        )
    return key


def _make_arn(kind: str, key: _Key, named: str) -> str:
    # AWS's ARNs of policies and actions have this service, not application-autoscaling
    return arn("autoscaling", f"{kind}:{new_id()}:resource/sagemaker/{key.resource}:{named}")


def _not_found_error(what: str) -> AwsError:
    return AwsError("ObjectNotFoundException", f"There is no {what}.")
