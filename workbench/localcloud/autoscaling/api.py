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
from typing import Any, NamedTuple

from workbench.errors import InvalidInput
from workbench.localcloud.autoscaling.schedules import is_due
from workbench.localcloud.autoscaling.tracking_alarms import put_alarms
from workbench.localcloud.cloudwatch.alarms import AlarmAction, Alarms
from workbench.localcloud.cloudwatch.metrics import MINUTE, Metrics
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
from workbench.localcloud.sagemaker.metering import CONCURRENCY, INVOCATIONS
from workbench.localcloud.sandbox.fleets import RealTimeFleet, ServerlessFleet
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
_METRICS = {
    (_INSTANCES, _PER_INSTANCE): "Invocations",
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


class Autoscaling:
    """Scales the variants of endpoints, and answers what is asked about it.

    Args:
        store: Where everything is kept.
        hosting: Has the endpoints.
        metrics: What policies look at.
        alarms: Where those of target tracking are kept.
        minute: Seconds that count as a minute; cool-downs shrink with it.
        sample: Puts the metrics of high resolution of endpoints.
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
        self._tracking: dict[str, list[_TrackingPolicy]] = {}
        self._steps: dict[str, StepScaler] = {}
        self._tasks = TaskSet()
        self._last_schedule_check = 0.0
        self._table = StoreTable(store, "autoscaling", _COLUMNS, json=["facts"])

    def operations(self) -> dict[str, Operation]:
        """Return what answers the operations, by name."""
        return {
            "RegisterScalableTarget": self._register,
            "DescribeScalableTargets": self._describe_targets,
            "DeregisterScalableTarget": self._deregister,
            "PutScalingPolicy": self._put_policy,
            "DescribeScalingPolicies": self._describe_policies,
            "DeleteScalingPolicy": self._delete_policy,
            "PutScheduledAction": self._put_action,
            "DescribeScheduledActions": self._describe_actions,
            "DeleteScheduledAction": self._delete_action,
            "DescribeScalingActivities": self._describe_activities,
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
        target_key = _parse_target_key(params)
        self._variant(params)
        former = self._get("target", *target_key, "")
        facts = (former or {"CreationTime": now()}) | {
            name: params[name]
            for name in ("MinCapacity", "MaxCapacity", "RoleARN")
            if name in params
        }
        former_state = facts.get("SuspendedState", dict.fromkeys(_SUSPENDABLE, False))
        facts["SuspendedState"] = former_state | params.get("SuspendedState", {})
        if "MinCapacity" not in facts or "MaxCapacity" not in facts:
            raise validation_error("A new scalable target needs MinCapacity and MaxCapacity.")
        if not 0 <= facts["MinCapacity"] <= facts["MaxCapacity"]:
            raise validation_error("MinCapacity must be at least 0 and not above MaxCapacity.")
        facts.setdefault("ScalableTargetARN", arn(_SERVICE, f"scalable-target/{new_id()}"))
        facts.setdefault("RoleARN", _role())
        self._put("target", *target_key, "", facts)
        self._reset_scalers(target_key)
        self._enforce_limits(target_key, facts, "the scalable target was registered")
        return {"ScalableTargetARN": facts["ScalableTargetARN"]}

    async def _deregister(self, params: Facts) -> Facts:
        self._target(params)
        self._drop_all(_parse_target_key(params))
        return {}

    async def _put_policy(self, params: Facts) -> Facts:
        target, target_key = self._target(params), _parse_target_key(params)
        name = params["PolicyName"]
        former = self._get("policy", *target_key, name) or {}
        kept = ("PolicyType", "StepScalingPolicyConfiguration", _TRACKING)
        facts = {
            "CreationTime": now(),
            "PolicyARN": arn(
                "autoscaling",
                f"scalingPolicy:{new_id()}:resource/sagemaker/{target_key[0]}:policyName/{name}",
            ),
            "PolicyType": "StepScaling",
            **former,
            **{each: params[each] for each in kept if each in params},
        }
        try:
            self._scaler(target_key, facts, target)
        except InvalidInput as error:
            raise validation_error(str(error)) from error
        if facts["PolicyType"] == "TargetTrackingScaling":
            metric = _metric(target_key, facts[_TRACKING])
            facts["Alarms"] = put_alarms(
                self._alarms, target_key[0], facts, metric, minute=self._minute
            )
        else:
            self._delete_alarms([former])
            facts.pop("Alarms", None)
        self._put("policy", *target_key, name, facts)
        self._reset_scalers(target_key)
        return {"PolicyARN": facts["PolicyARN"], "Alarms": facts.get("Alarms", [])}

    async def _delete_policy(self, params: Facts) -> Facts:
        target_key, name = _parse_target_key(params), params["PolicyName"]
        self._delete_alarms([self._get("policy", *target_key, name) or {}])
        self._drop("policy", params, name)
        self._reset_scalers(target_key)
        return {}

    async def _put_action(self, params: Facts) -> Facts:
        self._target(params)
        target_key, name = _parse_target_key(params), params["ScheduledActionName"]
        kept = ("Schedule", "Timezone", "StartTime", "EndTime", "ScalableTargetAction")
        facts = self._get("action", *target_key, name) or {
            "CreationTime": now(),
            "ScheduledActionARN": arn(
                "autoscaling",
                f"scheduledAction:{new_id()}:resource/"
                f"sagemaker/{target_key[0]}:scheduledActionName/{name}",
            ),
        }
        facts |= {each: params[each] for each in kept if each in params}
        if "Schedule" not in facts:
            raise validation_error("A new scheduled action needs a Schedule.")
        _is_due(facts, before=now(), at=now())
        self._put("action", *target_key, name, facts)
        return {}

    async def _delete_action(self, params: Facts) -> Facts:
        self._drop("action", params, params["ScheduledActionName"])
        return {}

    async def _describe_targets(self, params: Facts) -> Facts:
        places = params.get("ResourceIds")
        found = self._all("target", params)
        chosen = [each for each in found if places is None or each["ResourceId"] in places]
        return _page("ScalableTargets", chosen, params)

    async def _describe_policies(self, params: Facts) -> Facts:
        found = self._all("policy", params, name="PolicyName", names=params.get("PolicyNames"))
        return _page("ScalingPolicies", found, params)

    async def _describe_actions(self, params: Facts) -> Facts:
        names = params.get("ScheduledActionNames")
        found = self._all("action", params, name="ScheduledActionName", names=names)
        return _page("ScheduledActions", found, params)

    async def _describe_activities(self, params: Facts) -> Facts:
        found = self._all("activity", params, name="ActivityId")
        found.sort(key=lambda each: float(each["StartTime"]), reverse=True)
        return _page("ScalingActivities", found, params)

    # --- what is kept

    def _get(self, kind: str, resource: str, dimension: str, name: str) -> Facts | None:
        row = self._table.find(kind=kind, resource=resource, dimension=dimension, name=name)
        return row and row["facts"]

    def _put(self, kind: str, resource: str, dimension: str, name: str, facts: Facts) -> None:
        key = {"kind": kind, "resource": resource, "dimension": dimension, "name": name}
        self._table.put(**key, created=now(), facts=facts)

    def _drop(self, kind: str, params: Facts, name: str) -> None:
        resource, dimension = _parse_target_key(params)
        if self._get(kind, resource, dimension, name) is None:
            raise _not_found_error(f"{kind} {name} of {resource}")
        self._table.remove(kind=kind, resource=resource, dimension=dimension, name=name)

    def _drop_all(self, target_key: tuple[str, str]) -> None:
        """Forget a target with its policies and scheduled actions; activities stay known."""
        self._reset_scalers(target_key)
        chosen = {"ResourceId": target_key[0], "ScalableDimension": target_key[1]}
        self._delete_alarms(self._all("policy", chosen))
        with self._store.write():
            for kind in ("target", "policy", "action"):
                self._table.remove(kind=kind, resource=target_key[0], dimension=target_key[1])

    def _delete_alarms(self, policies: Iterable[Mapping[str, Any]]) -> None:
        for policy in policies:
            for alarm in policy.get("Alarms", []):
                self._alarms.delete(alarm["AlarmName"])

    def _all(
        self,
        kind: str,
        params: Mapping[str, Any],
        *,
        name: str = "",
        names: Iterable[str] | None = None,
    ) -> list[Facts]:
        """Return the facts of a kind as they are described."""
        columns = {"resource": "ResourceId", "dimension": "ScalableDimension"}
        chosen = {column: params[each] for column, each in columns.items() if each in params}
        return [
            {
                "ServiceNamespace": "sagemaker",
                "ResourceId": row["resource"],
                "ScalableDimension": row["dimension"],
                **({name: row["name"]} if name else {}),
                **row["facts"],
            }
            for row in self._table.rows(kind=kind, **chosen)
            if names is None or row["name"] in names
        ]

    def _target(self, params: Mapping[str, Any]) -> Facts:
        target_key = _parse_target_key(params)
        found = self._get("target", *target_key, "")
        if found is None:
            raise _not_found_error(f"scalable target {target_key[0]} with {target_key[1]}")
        return found

    def _variant(self, params: Mapping[str, Any]) -> tuple[Endpoint, Variant]:
        """Return what a target scales.

        Raises:
            AwsError: There is no such variant, or it is not of the dimension's kind.
        """
        resource, dimension = _parse_target_key(params)
        parts = _RESOURCE.fullmatch(resource)
        endpoint = self._hosting.find_in_service(parts[1]) if parts else None
        variant = endpoint.variant(parts[2]) if parts and endpoint else None
        if endpoint is None or variant is None:
            raise validation_error(f"SageMaker variant {resource} does not exist.")
        if variant.serverless != (dimension == _PROVISIONED):
            raise validation_error(
                f"{dimension} is not what variant {variant.name} can be scaled by."
            )
        return endpoint, variant

    # --- scaling

    async def _tick(self) -> None:
        began, looks = time.monotonic(), 0
        while True:
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
            target_key = _parse_target_key(target)
            if self._has_ended(target_key):
                self._drop_all(target_key)
                continue
            if target_key[0] not in self._tracking:
                self._tracking[target_key[0]] = self._create_scalers(target_key, target)
            tracking = self._tracking[target_key[0]]
            due = [each for each in tracking if whole or _is_high_resolution(each.config)]
            self._follow(target_key, due)

    def _has_ended(self, target_key: tuple[str, str]) -> bool:
        name = target_key[0].split("/")[1]
        return all(each.name != name for each in self._hosting.endpoints)

    def _create_scalers(
        self, target_key: tuple[str, str], target: Facts
    ) -> "list[_TrackingPolicy]":
        chosen = {"ResourceId": target_key[0], "ScalableDimension": target_key[1]}
        tracking: list[_TrackingPolicy] = []
        for policy in self._all("policy", chosen, name="PolicyName"):
            if policy["PolicyType"] != "TargetTrackingScaling":
                continue
            scaler = self._scaler(target_key, policy, target)
            assert isinstance(scaler, TargetTrackingScaler)  # noqa: S101 - which is what its type says
            config = policy[_TRACKING]
            unit = config.get("CustomizedMetricSpecification", {}).get("Unit", "")
            series = _MetricReader(
                self._metrics, *_metric(target_key, config), unit=unit, since=now()
            )
            tracking.append(_TrackingPolicy(policy["PolicyName"], config, scaler, series))
        return tracking

    def _follow(self, target_key: tuple[str, str], due: "list[_TrackingPolicy]") -> None:
        """Have one target follow its policies; it is skipped while the endpoint updates."""
        params = {"ResourceId": target_key[0], "ScalableDimension": target_key[1]}
        readings = [policy.series.read(at=now()) for policy in due]
        try:
            endpoint, variant = self._variant(params)
        except AwsError:
            return
        if endpoint.busy or not due:
            return
        there, up = _get_size(variant), _count_running(variant)
        asked: dict[int, str] = {}
        for (name, config, scaler, _), (count, total) in zip(due, readings, strict=True):
            value = _compute_metric(config, count, total, up)
            wanted = scaler.follow(value, measured=up, current=there, now=time.monotonic())
            asked[wanted] = f"policy {name}: the metric was {value:g}, the target is " + str(
                config["TargetValue"]
            )
        wanted = max(asked)  # who wants most prevails, as on AWS
        self._resize_unless_suspended(params, there, wanted, asked[wanted])

    def _scaler(
        self, target_key: tuple[str, str], policy: Facts, target: Facts
    ) -> TargetTrackingScaler | StepScaler:
        """Return the scaler of a policy, or refuse it."""
        most = max(1, target["MaxCapacity"])
        least = target["MinCapacity"]
        shrunk = self._minute / 60
        if policy["PolicyType"] == "TargetTrackingScaling":
            config = policy.get(_TRACKING)
            if config is None:
                raise validation_error(f"A policy of this type needs {_TRACKING}.")
            _metric(target_key, config)
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
        adjustment = {"ChangeInCapacity": "change", "ExactCapacity": "exact"}.get(
            config["AdjustmentType"]
        )
        if adjustment is None:
            raise not_implemented_error(
                "A step policy's AdjustmentType other than a change or exact capacity"
            )
        return StepScaling(
            steps=_steps(config.get("StepAdjustments", [])),
            adjustment="exact" if adjustment == "exact" else "change",
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
        policies = self._all("policy", {}, name="PolicyName")
        policy = next((each for each in policies if each["PolicyARN"] == alarm_action.action), None)
        if policy is None:
            raise _not_found_error(f"policy {alarm_action.action}")
        target_key = _parse_target_key(policy)
        if alarm_action.action not in self._steps:
            scaler = self._scaler(target_key, policy, self._target(policy))
            if not isinstance(scaler, StepScaler):
                return
            self._steps[alarm_action.action] = scaler
        endpoint, variant = self._variant(policy)
        if endpoint.busy or alarm_action.value is None:
            return
        past = abs(alarm_action.value - alarm_action.alarm["Threshold"])
        there = _get_size(variant)
        wanted = self._steps[alarm_action.action].follow(
            1.0 + past, current=there, now=time.monotonic()
        )
        alarm = alarm_action.alarm["AlarmName"]
        cause = f"monitor alarm {alarm} in state ALARM triggered policy {policy['PolicyName']}"
        self._resize_unless_suspended(policy, there, wanted, cause)

    def _schedule(self) -> None:
        """Carry out the scheduled actions that are due since it was last looked."""
        before, self._last_schedule_check = self._last_schedule_check, now()
        for action in self._all("action", {}, name="ScheduledActionName"):
            if not _is_due(action, before=before, at=self._last_schedule_check):
                continue
            if self._is_suspended(action, "ScheduledScalingSuspended"):
                continue
            try:
                self._carry_out(action)
            except AwsError as error:
                _log.warning("A scheduled action failed: %s", error)

    def _carry_out(self, action: Facts) -> None:
        target_key = _parse_target_key(action)
        target = self._target(action) | action.get("ScalableTargetAction", {})
        self._put("target", *target_key, "", target)
        self._reset_scalers(target_key)
        self._enforce_limits(
            target_key, target, f"scheduled action {action['ScheduledActionName']}"
        )

    def _is_suspended(self, params: Mapping[str, Any], what: str) -> bool:
        """Whether a target's scaling of this kind rests, by RegisterScalableTarget."""
        return bool(self._target(params).get("SuspendedState", {}).get(what, False))

    def _enforce_limits(self, target_key: tuple[str, str], target: Facts, cause: str) -> None:
        """Have a variant's size keep the limits of its target."""
        params = {"ResourceId": target_key[0], "ScalableDimension": target_key[1]}
        _, variant = self._variant(params)
        there = _get_size(variant)
        wanted = min(max(there, target["MinCapacity"]), target["MaxCapacity"])
        if wanted != there:
            limits = f"minimum {target['MinCapacity']}, maximum {target['MaxCapacity']}"
            self._resize(params, wanted, f"{cause}: {limits}")

    def _resize_unless_suspended(
        self, params: Mapping[str, Any], there: int, wanted: int, cause: str
    ) -> None:
        """Resize to what a policy wants, within the target's maximum, unless that is suspended."""
        wanted = min(wanted, self._target(params)["MaxCapacity"])  # for a scaler it is 1 at least
        if wanted != there and not self._is_suspended(params, _suspension_flag(wanted, there)):
            self._resize(params, wanted, cause)

    def _resize(self, params: Mapping[str, Any], wanted: int, cause: str) -> None:
        self._tasks.start(self._scale(_parse_target_key(params), wanted, cause))

    async def _scale(self, target_key: tuple[str, str], wanted: int, cause: str) -> None:
        """Change a variant's size, and keep how that went as an activity."""
        _, name, _, variant = target_key[0].split("/")
        word = (
            "desired instance count" if target_key[1] == _INSTANCES else "provisioned concurrency"
        )
        activity: Facts = {
            "Description": f"Setting {word} to {wanted}.",
            "Cause": cause,
            "StartTime": now(),
            "StatusCode": "InProgress",
        }
        number = new_id()
        self._put("activity", *target_key, number, activity)
        size: Facts = {"DesiredInstanceCount": wanted}
        if target_key[1] == _PROVISIONED:
            size = {"ServerlessUpdateConfig": {"ProvisionedConcurrency": wanted}}
        change = {"VariantName": variant, **size}
        update = self._hosting.operations()["UpdateEndpointWeightsAndCapacities"]
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
        self._put("activity", *target_key, number, activity)
        with self._store.write() as db:
            db.execute(
                "DELETE FROM autoscaling WHERE kind = 'activity' AND created < ?",
                (now() - _ACTIVITY_RETENTION_SECONDS,),
            )

    def _reset_scalers(self, target_key: tuple[str, str]) -> None:
        """Drop scalers, which are made again, because what they follow has changed."""
        self._tracking.pop(target_key[0], None)
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

    def __init__(
        self,
        metrics: Metrics,
        space: str,
        name: str,
        dimensions: Mapping[str, str],
        *,
        unit: str,
        since: float,
    ) -> None:
        self._metrics = metrics
        self._which = (space, name, dimensions)
        self._unit = unit
        self._begin(since)

    def _begin(self, at: float) -> None:
        """Count from the minute of an instant on, without what it holds already."""
        self._start = at // MINUTE * MINUTE
        self._seen = self._total()

    def _total(self) -> tuple[float, float]:
        found = self._metrics.statistics(
            *self._which, start=self._start, end=math.inf, unit=self._unit
        )
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


def _metric(
    target_key: tuple[str, str], config: Mapping[str, Any]
) -> tuple[str, str, dict[str, str]]:
    """Return namespace, name and dimensions of the metric that a policy tracks."""
    predefined = config.get("PredefinedMetricSpecification")
    custom = config.get("CustomizedMetricSpecification")
    if predefined is not None and custom is None:
        kind = predefined["PredefinedMetricType"]
        if (target_key[1], kind) not in _METRICS:
            raise validation_error(f"The metric {kind} does not go with {target_key[1]}.")
        _, endpoint, _, variant = target_key[0].split("/")
        dimensions = {"EndpointName": endpoint, "VariantName": variant}
        return INVOCATIONS, _METRICS[target_key[1], kind], dimensions
    if custom is None or predefined is not None:
        raise validation_error("A policy tracks one metric: predefined or customized.")
    if "Metrics" in custom or custom.get("Statistic") not in ("Average", "Sum"):
        raise not_implemented_error(
            "A customized metric other than the Average or Sum of one metric"
        )
    given = {each["Name"]: each["Value"] for each in custom.get("Dimensions", [])}
    return custom["Namespace"], custom["MetricName"], given


def _steps(adjustments: Iterable[Mapping[str, Any]]) -> list[tuple[float, int]]:
    """Return steps by their distance from the threshold, on whichever side they lie.

    Raises:
        AwsError: They break a rule of the API reference, "StepAdjustment".
    """
    steps: dict[float, int] = {}
    ends = set()
    for each in adjustments:
        lower = each.get("MetricIntervalLowerBound")
        upper = each.get("MetricIntervalUpperBound")
        if lower is None and upper is None:
            raise validation_error("A step adjustment needs at least one bound of its interval.")
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
    begin = action.get("StartTime", action["CreationTime"])
    return is_due(
        action["Schedule"],
        zone=action.get("Timezone", "UTC"),
        begin=begin,
        before=before,
        now=at,
    ) and begin <= at < action.get("EndTime", math.inf)


def _parse_target_key(params: Mapping[str, Any]) -> tuple[str, str]:
    """Return resource and dimension."""
    resource, dimension = params["ResourceId"], params["ScalableDimension"]
    if params.get("ServiceNamespace", "sagemaker") != "sagemaker":
        raise not_implemented_error(f"Scaling of {params['ServiceNamespace']}")
    if dimension not in (_INSTANCES, _PROVISIONED) or not _RESOURCE.fullmatch(resource):
        raise validation_error(
            f"{resource} with {dimension} cannot be scaled: endpoint/<name>/variant/<name> with "
            f"{_INSTANCES} or {_PROVISIONED} can."
        )
    return resource, dimension


def _get_size(variant: Variant) -> int:
    fleet = variant.fleet
    if isinstance(fleet, RealTimeFleet):
        return fleet.count
    assert isinstance(fleet, ServerlessFleet)  # noqa: S101 - the only other one
    return fleet.provisioned


def _suspension_flag(wanted: int, there: int) -> str:
    return f"DynamicScaling{'Out' if wanted > there else 'In'}Suspended"


def _count_running(variant: Variant) -> int:
    if isinstance(variant.fleet, RealTimeFleet):
        return len(variant.fleet.instances)
    return _get_size(variant)


def _page(name: str, found: list[Facts], params: Mapping[str, Any]) -> Facts:
    page, more = _PAGER.page(found, params)
    return {name: page, **more}


def _not_found_error(what: str) -> AwsError:
    return AwsError("ObjectNotFoundException", f"There is no {what}.")


def _role() -> str:
    role = "AWSServiceRoleForApplicationAutoScaling_SageMakerEndpoint"
    service = "sagemaker.application-autoscaling.amazonaws.com"
    return f"arn:aws:iam::{ACCOUNT}:role/aws-service-role/{service}/{role}"
