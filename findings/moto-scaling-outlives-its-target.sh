#!/bin/sh
# moto 5.2.5: scaling policies and scheduled actions are still there when their scalable target is gone.
#
# Guessed: `deregister_scalable_target` deletes the policies and scheduled actions of the target, as AWS's API reference
# says ("Deregistering a scalable target deletes the scaling policies that are associated with the scalable target").
# Seen: both are described afterwards, and so are the two alarms of the policy; a target registered anew under the
# same name has them at once. So a test of what an experiment leaves behind cannot be trusted either way: it passes
# only for who deletes each by hand, which AWS answers with ObjectNotFoundException after the target is gone.
# What it means here: the local cloud has an Application Auto Scaling of its own, in which they go with the target;
# tests/localcloud holds that.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check \
    "moto[applicationautoscaling,ecs,cloudwatch]==5.2.5" boto3==1.44.5

AWS_ACCESS_KEY_ID=a AWS_SECRET_ACCESS_KEY=b AWS_DEFAULT_REGION=us-east-1 "$folder/venv/bin/python" -W ignore - <<'PY'
import boto3
from moto import mock_aws

with mock_aws():
    ecs = boto3.client("ecs")
    ecs.create_cluster(clusterName="c")
    ecs.register_task_definition(
        family="t", containerDefinitions=[{"name": "n", "image": "i", "memory": 64}]
    )
    ecs.create_service(cluster="c", serviceName="s", taskDefinition="t", desiredCount=1)
    scaling = boto3.client("application-autoscaling")
    target = {
        "ServiceNamespace": "ecs",
        "ResourceId": "service/c/s",
        "ScalableDimension": "ecs:service:DesiredCount",
    }
    tracking = {
        "TargetValue": 5.0,
        "PredefinedMetricSpecification": {"PredefinedMetricType": "ECSServiceAverageCPUUtilization"},
    }
    scaling.register_scalable_target(**target, MinCapacity=1, MaxCapacity=4)
    scaling.put_scaling_policy(
        **target,
        PolicyName="p",
        PolicyType="TargetTrackingScaling",
        TargetTrackingScalingPolicyConfiguration=tracking,
    )
    scaling.put_scheduled_action(
        **target,
        ScheduledActionName="mornings",
        Schedule="cron(0 8 * * ? *)",
        ScalableTargetAction={"MinCapacity": 2, "MaxCapacity": 4},
    )
    scaling.deregister_scalable_target(**target)
    left = {
        "targets": scaling.describe_scalable_targets(ServiceNamespace="ecs")["ScalableTargets"],
        "policies": scaling.describe_scaling_policies(ServiceNamespace="ecs")["ScalingPolicies"],
        "actions": scaling.describe_scheduled_actions(ServiceNamespace="ecs")["ScheduledActions"],
        "alarms": boto3.client("cloudwatch").describe_alarms()["MetricAlarms"],
    }
counts = {name: len(each) for name, each in left.items()}
print("after the target is gone:", counts)
assert counts == {"targets": 0, "policies": 1, "actions": 1, "alarms": 2}, counts
PY
