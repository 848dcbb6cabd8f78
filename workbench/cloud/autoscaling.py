"""Application Auto Scaling through boto3: an endpoint follows a policy of `workbench.scaling`.

The policies that the simulator knows are put into AWS's words, registered for an endpoint that the
ledger names, and taken back with it. A `InstanceCounter` counts the instances that were there.
"""

import math
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any, Self, TypeGuard

from workbench.cloud.adapters.base import ADAPTERS, WatchedMetric
from workbench.cloud.adapters.endpoint import VARIANT, name_metric
from workbench.cloud.aws import Cloud
from workbench.cloud.client import CloudClient
from workbench.cloud.cost_guard import estimate_max_cost
from workbench.cloud.ledger import LedgerEntry
from workbench.cloud.monthly import monthly_items
from workbench.deployment.base import Deployment
from workbench.deployment.platforms import FleetPlatform, OnDemandPlatform
from workbench.errors import CloudError, InvalidInput, WorkbenchError
from workbench.pricing.cost import Cost, Items
from workbench.scaling.base import ScalingPolicy
from workbench.scaling.reactive import StepScaling, TargetTracking
from workbench.scaling.schedule import Schedule

INSTANCES = "sagemaker:variant:DesiredInstanceCount"
PROVISIONED = "sagemaker:variant:DesiredProvisionedConcurrency"
_DIMENSIONS = {"count": INSTANCES, "provisioned": PROVISIONED}  # by the setting that is changed

_SERVICE = "application-autoscaling"
_POLICY_NAME = "workbench"  # of the policy
_MINUTE = 60.0  # CloudWatch has SageMaker's metrics by the minute
_POLL_SECONDS = 0.25  # seconds between two looks at an endpoint, at least
_NOT_FOUND_CODES = ("ObjectNotFoundException", "ResourceNotFound", "ResourceNotFoundException")
_FIXED_TRACKING = ("out_periods", "in_periods", "low")  # of AWS's own alarms; nothing sets them
_MOST_ACTIONS = 200  # scheduled, of a target (Application Auto Scaling user guide, "Quotas")
_SOON = 2.0  # seconds: an action at(...) that is due sooner might come late

RegisteredPolicy = TargetTracking | StepScaling | Schedule
"""What Application Auto Scaling can carry out itself."""


def is_registered(policy: ScalingPolicy | None) -> TypeGuard[RegisteredPolicy]:
    """Return whether Application Auto Scaling follows the policy; else a run does so itself."""
    if isinstance(policy, Schedule):
        return not any(isinstance(count, Mapping) for _, count in policy.changes)
    return isinstance(policy, RegisteredPolicy)


def check_scaling(deployment: Deployment, policy: RegisteredPolicy, cloud: Cloud) -> None:
    """Require that the cloud can have the deployment follow the policy.

    Raises:
        InvalidInput: Application Auto Scaling does not carry it out so, or not for this deployment.

    >>> from workbench.deployment import RealTime
    >>> two = RealTime(instance_type="ml.m5.large", count=2)
    >>> check_scaling(two, TargetTracking(target=600, out_periods=1), Cloud())
    Traceback (most recent call last):
    workbench.errors.InvalidInput: out_periods is 3 in target tracking on AWS, got 1: ...
    """
    if not isinstance(policy, Schedule):
        _check_reactive(deployment, policy, cloud)
        return
    if len(policy.changes) > _MOST_ACTIONS or not policy.changes:
        raise InvalidInput(
            f"Application Auto Scaling takes 1 to {_MOST_ACTIONS} scheduled actions, "
            f"got {len(policy.changes)} changes."
        )
    if not deployment.scaled_by:
        raise InvalidInput(f"{deployment.label} is not scaled: leave scaling out.")
    _check_limits(deployment, least=min(policy.totals), most=max(policy.totals))


def _check_reactive(
    deployment: Deployment, policy: TargetTracking | StepScaling, cloud: Cloud
) -> None:
    if policy.metric not in _metrics(deployment):
        known = [
            f"{metric!r} for {kind}" for kind, each in ADAPTERS.items() for metric in each.metrics
        ]
        raise InvalidInput(
            f"Application Auto Scaling has no metric {policy.metric!r} for {deployment.kind}: "
            f"it has {', '.join(known[:-1])} and {known[-1]}."
        )
    if isinstance(policy, TargetTracking) and policy.metric == "backlog without capacity":
        raise InvalidInput(
            "The backlog without capacity is 0 or 1, and no target can be tracked by that: take a "
            "StepScaling, or the metric 'backlog'."
        )
    _check_limits(deployment, least=policy.least, most=policy.most)
    minute = _MINUTE
    if isinstance(policy, TargetTracking):
        _check_fixed(policy)
        minute = cloud.minute
    period = minute * _metrics(deployment)[policy.metric].period / _MINUTE
    if not math.isclose(policy.period, period):
        raise InvalidInput(
            f"{cloud.name} looks at the metric every {period:g} s, and the policy every "
            f"{policy.period:g} s: give it period={period:g}."
        )


def _check_fixed(policy: TargetTracking) -> None:
    fine = policy.metric == "concurrency"
    usual = TargetTracking.high_resolution(target=1) if fine else TargetTracking(target=1)
    for name in _FIXED_TRACKING:
        given, fixed = getattr(policy, name), getattr(usual, name)
        if given != fixed:
            advice = "take TargetTracking.high_resolution" if fine else "leave it out"
            raise InvalidInput(
                f"{name} is {fixed} in target tracking on AWS, got {given}: {advice}."
            )


def _metrics(deployment: Deployment) -> Mapping[str, WatchedMetric]:
    adapter = ADAPTERS.get(deployment.kind)
    return {} if adapter is None else adapter.metrics


def _check_limits(deployment: Deployment, *, least: int, most: int) -> None:
    platform = deployment.platform
    if least < (platform.least if isinstance(platform, FleetPlatform) else 1):
        raise InvalidInput(
            f"{deployment.label} cannot be scaled to 0: least must be at least 1, got {least}."
        )
    if not isinstance(platform, OnDemandPlatform):
        return
    if not platform.provisioned:
        raise InvalidInput(
            "Only provisioned concurrency is scaled: give Serverless(provisioned=...) 1 at least."
        )
    if most > platform.limit:
        raise InvalidInput(f"most must not exceed max_concurrency, {platform.limit}, got {most}.")


def expand_to_max(deployment: Deployment, policy: ScalingPolicy | None) -> Deployment:
    """Return the deployment with as many instances as the policy may give it.

    Raises:
        InvalidInput: The policy does not say how many that is.

    >>> from workbench.deployment import RealTime
    >>> one = RealTime(instance_type="ml.m5.large")
    >>> expand_to_max(one, TargetTracking(target=600, most=4)).label
    'real-time 4 x ml.m5.large'
    """
    if policy is None:
        return deployment
    if isinstance(policy, RegisteredPolicy):
        return deployment.with_scale(_limits(deployment, policy)["MaxCapacity"])
    if (most := getattr(policy, "most", None)) is None:
        raise InvalidInput(
            f"What {policy!r} may cost is not known: give it a number `most`, of instances."
        )
    return deployment.with_scale(most)


def _limits(deployment: Deployment, policy: RegisteredPolicy) -> dict[str, int]:
    """Return between which counts a policy keeps a deployment; a schedule, as it is at first."""
    if isinstance(policy, Schedule):
        counts = [deployment.platform.idle_instances, *policy.totals]
        return {"MinCapacity": min(counts), "MaxCapacity": max(counts)}
    return {"MinCapacity": policy.least, "MaxCapacity": policy.most}


def dimension(deployment: Deployment) -> str:
    """Return what Application Auto Scaling calls that which it changes."""
    return _DIMENSIONS[deployment.scaled_by]


def alarm_items(policy: ScalingPolicy | None, seconds: float, *, region: str) -> Items:
    """Return what the alarms of CloudWatch by which AWS carries out a policy cost in `seconds`.

    A policy by concurrency looks every 10 s, which takes alarms of high resolution (Amazon
    CloudWatch's pricing).

    >>> [item] = alarm_items(TargetTracking(target=600), 3600.0, region="us-east-1")
    >>> item.what, item.unit, round(item.quantity * 730, 2)
    ('cloudwatch alarm', 'alarm-month', 2.0)
    >>> alarm_items(None, 3600.0, region="us-east-1")
    ()
    """
    if not isinstance(policy, TargetTracking | StepScaling):
        return ()
    kind = "alarm high resolution" if policy.metric == "concurrency" else "alarm"
    return monthly_items(kind, region, 2 if isinstance(policy, TargetTracking) else 1, seconds)


def estimate_scaled(
    deployment: Deployment,
    policy: ScalingPolicy | None,
    seconds: float,
    *,
    region: str = "us-east-1",
    calls: int | None = None,
    bytes_in: float = 0.0,
) -> Cost:
    """Return the most that a deployment, which may follow a policy, can cost in `seconds`."""
    largest = expand_to_max(deployment, policy)
    cost = estimate_max_cost(largest, seconds, calls=calls, bytes_in=bytes_in)
    return replace(cost, items=cost.items + alarm_items(policy, seconds, region=region))


def register(
    aws: CloudClient,
    entry: LedgerEntry,
    deployment: Deployment,
    policy: RegisteredPolicy,
) -> None:
    """Have the endpoint of an entry follow a policy from now on; a schedule, once it begins."""
    identifiers = _scalable_target(entry.name, dimension(deployment))
    limits = _limits(deployment, policy)
    aws.call(_SERVICE, "register_scalable_target", **identifiers, **limits)
    if isinstance(policy, Schedule):
        return
    if isinstance(policy, StepScaling):
        settings = _step_policy(policy, aws.cloud)
    else:
        settings = _target_tracking(entry, deployment, policy, aws.cloud)
    named = {**identifiers, "PolicyName": _POLICY_NAME}
    put = aws.call(_SERVICE, "put_scaling_policy", **named, **settings)
    if isinstance(policy, StepScaling):
        alarm = _alarm(entry, deployment, policy)
        aws.call("cloudwatch", "put_metric_alarm", **alarm, AlarmActions=[put["PolicyARN"]])


def _utc_now() -> datetime:
    return datetime.now(UTC)


def begin_schedule(
    aws: CloudClient,
    name: str,
    scales: str,
    policy: Schedule,
    *,
    begins: datetime,
    clock: Callable[[], datetime] = _utc_now,
) -> None:
    """Have an endpoint follow a schedule whose instants count from `begins`, by scheduled actions.

    What is due by now or in a moment is set at once; others are due at a whole second, UTC, and are
    set, too, where `clock` says that it passed meanwhile. They go with the target when it is
    deregistered.
    """
    identifiers = _scalable_target(name, scales)
    for number, (at, count) in enumerate(policy.changes):
        limits = {"MinCapacity": count, "MaxCapacity": count}
        if at < _SOON:
            aws.call(_SERVICE, "register_scalable_target", **identifiers, **limits)
            continue
        due = (begins + timedelta(seconds=at)).astimezone(UTC)
        aws.call(
            _SERVICE,
            "put_scheduled_action",
            **identifiers,
            ScheduledActionName=f"{_POLICY_NAME}-{number}",
            Schedule=f"at({due:%Y-%m-%dT%H:%M:%S})",
            ScalableTargetAction=limits,
        )
        if clock() >= due:  # it may have come too late to be found due
            aws.call(_SERVICE, "register_scalable_target", **identifiers, **limits)


def deregister(aws: CloudClient, entry: LedgerEntry) -> None:
    """Have the endpoint of an entry follow nothing; its policies and alarms are gone with that."""
    for service, operation, parameters in (
        (_SERVICE, "deregister_scalable_target", _scalable_target(entry.name, entry.scales)),
        ("cloudwatch", "delete_alarms", {"AlarmNames": [entry.name]}),
    ):
        try:
            aws.call(service, operation, **parameters)
        except CloudError as error:
            if error.code not in _NOT_FOUND_CODES:
                raise


def list_activities(aws: CloudClient, name: str, scales: str) -> list[dict[str, Any]]:
    """Return what scaling has done to an endpoint, oldest first, as JSON values."""
    target = _scalable_target(name, scales)
    pages = aws.pages(_SERVICE, "describe_scaling_activities", **target)
    found = [each for page in pages for each in page["ScalingActivities"]]
    return [_parse_activity(each) for each in reversed(found)]


def _parse_activity(activity: dict[str, Any]) -> dict[str, Any]:
    names = {
        "Description": "description",
        "Cause": "cause",
        "StatusCode": "status",
        "StartTime": "started",
        "EndTime": "ended",
    }
    facts = {word: activity[name] for name, word in names.items() if name in activity}
    times = {word: at.isoformat() for word, at in facts.items() if isinstance(at, datetime)}
    return facts | times


def _scalable_target(name: str, scales: str) -> dict[str, str]:
    return {
        "ServiceNamespace": "sagemaker",
        "ResourceId": f"endpoint/{name}/variant/{VARIANT}",
        "ScalableDimension": scales,
    }


def _target_tracking(
    entry: LedgerEntry, deployment: Deployment, policy: TargetTracking, cloud: Cloud
) -> dict[str, Any]:
    """Return what PutScalingPolicy calls target tracking; a cloud's minute may be a short one."""
    metric = _metrics(deployment)[policy.metric]
    specification: dict[str, Any] = {"CustomizedMetricSpecification": _metric(entry, metric)}
    if metric.tracked:
        predefined = {"PredefinedMetricType": metric.tracked}
        specification = {"PredefinedMetricSpecification": predefined}
    share = cloud.minute / _MINUTE
    # of a shorter minute an instance gets as much less, while other metrics are levels
    per_minute = share if policy.metric == "invocations" else 1.0
    return {
        "PolicyType": "TargetTrackingScaling",
        "TargetTrackingScalingPolicyConfiguration": {
            "TargetValue": policy.target * per_minute,
            **specification,
            "ScaleOutCooldown": round(policy.out_cooldown / share),
            "ScaleInCooldown": round(policy.in_cooldown / share),
            "DisableScaleIn": not policy.scale_in,
        },
    }


def _step_policy(policy: StepScaling, cloud: Cloud) -> dict[str, Any]:
    """Return what PutScalingPolicy calls step scaling: intervals from step to step."""
    steps: list[dict[str, float]] = [
        {"MetricIntervalLowerBound": at, "ScalingAdjustment": by} for at, by in policy.steps
    ]
    for step, after in pairwise(steps):
        step["MetricIntervalUpperBound"] = after["MetricIntervalLowerBound"]
    exact = policy.adjustment == "exact"
    return {
        "PolicyType": "StepScaling",
        "StepScalingPolicyConfiguration": {
            "AdjustmentType": "ExactCapacity" if exact else "ChangeInCapacity",
            "StepAdjustments": steps,
            "Cooldown": round(policy.cooldown * _MINUTE / cloud.minute),
        },
    }


def _alarm(entry: LedgerEntry, deployment: Deployment, policy: StepScaling) -> dict[str, Any]:
    """Return the alarm that has a step policy carried out."""
    return {
        "AlarmName": entry.name,
        **_metric(entry, _metrics(deployment)[policy.metric]),
        "Period": int(_metrics(deployment)[policy.metric].period),
        "EvaluationPeriods": policy.periods,
        "Threshold": policy.threshold,
        "ComparisonOperator": "GreaterThanOrEqualToThreshold",
        "Tags": entry.tags,
    }


def _metric(entry: LedgerEntry, metric: WatchedMetric) -> dict[str, Any]:
    """Return which values of CloudWatch a metric is: a backlog is an endpoint's as a whole."""
    variant = VARIANT if metric.of_variant else None
    return {**name_metric(entry.name, metric.name, variant), "Statistic": metric.statistic}


class InstanceCounter:
    """Counts an endpoint's instances while a `with` block lasts, in a thread of its own.

    One that was asked for counts from then on, because it is billed while it boots, and one that
    is to go counts until it has gone. It is as exact as the time between two looks.

    When the endpoint was `launched`, in seconds by `clock`, it had `count` instances, or as much
    provisioned concurrency; `variant` is "" for its only one.

    Attributes:
        ready_and_starting: The instances in service, and those that boot.
        desired: How many the endpoint is to have; as before where it could not get them.
        listeners: Notified after each look, in the counter's thread.
    """

    def __init__(
        self,
        cloud: Cloud,
        name: str,
        *,
        count: int,
        launched: float,
        variant: str = "",
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._cloud = cloud
        self._name = name
        self._clock = clock
        self._variant = variant
        self.ready_and_starting = (count, 0)
        self.desired = count
        self.listeners: list[Callable[[], object]] = []
        self._expected_at = -math.inf
        self._counts = [(launched, count)]
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._poll, name="instances", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        self._thread.join()

    @property
    def counts(self) -> list[tuple[float, int]]:
        """When there were so many instances from then on, by the clock."""
        return list(self._counts)

    def spans(self) -> list[tuple[float, float]]:
        """Return launch and stop of each instance until now, by the clock."""
        return spans(self.counts, until=self._clock())

    def seconds(self) -> float:
        """Return the seconds of all instances together until now."""
        return sum(stop - launch for launch, stop in self.spans())

    def expect(self, count: int) -> None:
        """Count instances that were asked for just now, before the next look finds them."""
        self._expected_at, self.desired = self._clock(), count
        ready, _ = self.ready_and_starting
        if count > self._counts[-1][1]:
            self._counts.append((self._expected_at, count))
            self.ready_and_starting = ready, count - ready

    def _poll(self) -> None:
        with CloudClient(self._cloud) as aws:
            while not self._stopped.wait(max(_POLL_SECONDS, self._cloud.poll)):
                began = self._clock()
                try:
                    endpoint = aws.sagemaker("describe_endpoint", EndpointName=self._name)
                except WorkbenchError:
                    continue  # the next look may succeed
                if began < self._expected_at:
                    continue  # it may say what was before
                variants = {each["VariantName"]: each for each in endpoint["ProductionVariants"]}
                self._take(variants.get(self._variant) or endpoint["ProductionVariants"][0])

    def _take(self, variant: dict[str, Any]) -> None:
        count = _count_billed(variant)
        if count != self._counts[-1][1]:
            self._counts.append((self._clock(), count))
        ready = int(variant.get("CurrentInstanceCount", 0))
        self.desired = int(variant.get("DesiredInstanceCount", 0))
        self.ready_and_starting = ready, max(0, self.desired - ready)
        for notify in self.listeners:
            notify()


def _count_billed(variant: dict[str, Any]) -> int:
    """Return how many instances are billed: those there, and those that are asked for."""
    if "CurrentServerlessConfig" not in variant:
        return int(max(variant["CurrentInstanceCount"], variant["DesiredInstanceCount"]))
    configs = (variant.get(f"{when}ServerlessConfig", {}) for when in ("Current", "Desired"))
    return max(int(config.get("ProvisionedConcurrency", 0)) for config in configs)


def spans(counts: Sequence[tuple[float, int]], *, until: float) -> list[tuple[float, float]]:
    """Return launch and stop of each instance, the newest of which goes first.

    >>> spans([(0.0, 1), (10.0, 3), (20.0, 2)], until=60.0)
    [(0.0, 60.0), (10.0, 60.0), (10.0, 20.0)]
    """
    up: list[float] = []
    over: list[tuple[float, float]] = []
    for at, count in counts:
        while len(up) > count:
            over.append((up.pop(), at))
        up += [at] * (count - len(up))
    return [*((launch, until) for launch in up), *over]
