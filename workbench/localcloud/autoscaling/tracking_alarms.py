"""The alarms that Application Auto Scaling makes for a target tracking policy.

They tell what the policy sees; on a local cloud it scales by the same metric, not by their states.
"""

import uuid
from collections.abc import Mapping
from typing import Any

from workbench.localcloud.cloudwatch.alarms import Alarms
from workbench.localcloud.cloudwatch.metrics import Key
from workbench.localcloud.core.protocol import arn
from workbench.localcloud.sagemaker.metering import CONCURRENCY, INVOCATIONS
from workbench.scaling.reactive import HIGH_RESOLUTION, TargetTracking

_PERIOD = 60  # CloudWatch has SageMaker's metrics by the minute
_PER_INSTANCE_METRICS = {"Invocations": ("InvocationsPerInstance", "Sum")}  # what one of them gets


def put_alarms(
    alarms: Alarms, resource: str, policy: Mapping[str, Any], metric: Key, *, minute: float
) -> list[dict[str, str]]:
    """Make a policy's two alarms, or set those it has, and return their names and ARNs.

    Args:
        alarms: Where they are kept.
        resource: What is scaled: `endpoint/<name>/variant/<name>`.
        policy: As DescribeScalingPolicies tells of it.
        metric: What it tracks.
        minute: Seconds that autoscaling takes for a minute; alarms look at whole ones.
    """
    config = policy["TargetTrackingScalingPolicyConfiguration"]
    space, name, dimensions = metric
    custom = config.get("CustomizedMetricSpecification", {})
    statistic, target = custom.get("Statistic", "Average"), config["TargetValue"]
    if space == INVOCATIONS and name in _PER_INSTANCE_METRICS and not custom:
        name, statistic = _PER_INSTANCE_METRICS[name]
        target *= _PERIOD / minute
    usual = TargetTracking(target=target)
    # names and descriptions are in the form that AWS gives them
    names = [each["AlarmName"] for each in policy.get("Alarms", [])] or [
        f"TargetTracking-{resource}-Alarm{which}-{uuid.uuid4()}" for which in ("High", "Low")
    ]
    fine = space == INVOCATIONS and name == CONCURRENCY  # AWS documents it for growth alone
    conditions = (
        ("GreaterThanThreshold", target, usual.out_periods, HIGH_RESOLUTION if fine else _PERIOD),
        ("LessThanThreshold", usual.low * target, usual.in_periods, _PERIOD),
    )
    for alarm, (comparison, threshold, periods, period) in zip(names, conditions, strict=True):
        alarms.put(
            {
                "AlarmName": alarm,
                "AlarmDescription": "DO NOT EDIT OR DELETE. For TargetTrackingScaling policy "
                f"{policy['PolicyARN']}.",
                "AlarmActions": [policy["PolicyARN"]],
                "Namespace": space,
                "MetricName": name,
                "Dimensions": [{"Name": key, "Value": value} for key, value in dimensions],
                "Statistic": statistic,
                "Period": int(period),
                "EvaluationPeriods": periods,
                "Threshold": threshold,
                "ComparisonOperator": comparison,
                **({"Unit": custom["Unit"]} if "Unit" in custom else {}),
            }
        )
    return [{"AlarmName": each, "AlarmARN": arn("cloudwatch", f"alarm:{each}")} for each in names]
