"""Application Auto Scaling on a local cloud whose minutes are short: boto3 alone, real workers."""

import asyncio
from contextlib import closing
from datetime import UTC, datetime, timedelta

import pytest
from botocore.exceptions import ClientError

from tests.hosted import Hosted, alive, on_instances, serverless, until
from tests.refused import refused
from workbench.localcloud.core.settings import LocalCloudSettings
from workbench.localcloud.core.store import Store
from workbench.localcloud.core.tags import Tags
from workbench.localcloud.sagemaker.endpoint_api import EndpointApi
from workbench.localcloud.sagemaker.endpoints import Endpoint, Variant
from workbench.localcloud.sagemaker.model_packages import Packages
from workbench.localcloud.sandbox.fleets import RealTimeFleet
from workbench.localcloud.sandbox.instances import LaunchFailed

INSTANCES = "sagemaker:variant:DesiredInstanceCount"
PROVISIONED = "sagemaker:variant:DesiredProvisionedConcurrency"
MINUTE = 0.2


@pytest.fixture(scope="module")
def hosted():
    hosted = Hosted(scaling_minute=MINUTE)
    try:
        hosted.make_models()
        yield hosted
    finally:
        hosted.close()


class Target:
    """What is scaled, and the calls that say how."""

    def __init__(self, hosted, variant, *, dimension=INSTANCES, least=1, most=3):
        self.hosted = hosted
        self.name = hosted.endpoint(variant)
        self.client = hosted.cloud.client("application-autoscaling")
        self.which = {
            "ServiceNamespace": "sagemaker",
            "ResourceId": f"endpoint/{self.name}/variant/one",
            "ScalableDimension": dimension,
        }
        self.register(least, most)

    def register(self, least, most, **more):
        limits = {"MinCapacity": least, "MaxCapacity": most}
        self.client.register_scalable_target(**self.which, **limits, **more)

    def alarms(self):
        prefix = f"TargetTracking-{self.which['ResourceId']}-"
        cloudwatch = self.hosted.cloud.client("cloudwatch")
        return cloudwatch.describe_alarms(AlarmNamePrefix=prefix)["MetricAlarms"]

    def track(self, metric="SageMakerVariantInvocationsPerInstance", *, target=5.0, **more):
        return self.client.put_scaling_policy(
            **self.which,
            PolicyName="track",
            PolicyType="TargetTrackingScaling",
            TargetTrackingScalingPolicyConfiguration={
                "TargetValue": target,
                "PredefinedMetricSpecification": {"PredefinedMetricType": metric},
                "ScaleOutCooldown": 0,
                "ScaleInCooldown": 0,
                **more,
            },
        )

    def step(self, bounds, **config):
        usual = {
            "AdjustmentType": "ChangeInCapacity",
            "StepAdjustments": [
                {
                    **({} if low is None else {"MetricIntervalLowerBound": low}),
                    **({} if high is None else {"MetricIntervalUpperBound": high}),
                    "ScalingAdjustment": 1,
                }
                for low, high in bounds
            ],
        }
        given = {name: value for name, value in (usual | config).items() if value is not None}
        return self.client.put_scaling_policy(
            **self.which,
            PolicyName="step",
            PolicyType="StepScaling",
            StepScalingPolicyConfiguration=given,
        )

    def activities(self):
        told = self.client.describe_scaling_activities(**self.which)
        return told["ScalingActivities"]

    def pids(self):
        return {instance["pid"] for instance in self.hosted.instances(self.name)}

    def loaded(self, count):
        self.hosted.invoke(self.name)
        return len(self.pids()) >= count

    def described(self):
        (told,) = self.client.describe_scalable_targets(
            ServiceNamespace="sagemaker", ResourceIds=[self.which["ResourceId"]]
        )["ScalableTargets"]
        return told


def test_load_adds_workers_and_its_end_takes_them_away(hosted):
    target = Target(hosted, on_instances(), most=2)
    target.track(target=0.5)  # above it with one request a minute, as a busy machine answers

    until(lambda: target.loaded(2))
    grown = target.pids()
    until(lambda: len(target.pids()) == 1)
    shrunk = until(lambda: len(found := target.activities()) == 2 and found)
    until(lambda: target.activities()[0]["StatusCode"] == "Successful")

    assert [each["Description"] for each in shrunk] == [
        "Setting desired instance count to 1.",
        "Setting desired instance count to 2.",
    ]
    assert "policy track: the metric was" in shrunk[1]["Cause"]
    assert shrunk[1]["StatusCode"] == "Successful"
    until(lambda: sum(alive(pid) for pid in grown) == 1)


def test_a_fleet_is_brought_within_the_limits_of_its_target_at_once(hosted):
    target = Target(hosted, on_instances(), least=2)

    until(lambda: len(target.pids()) == 2)
    hosted.settled(target.name)
    target.register(1, 1)

    until(lambda: len(target.pids()) == 1)
    described = target.described()
    assert (described["MinCapacity"], described["MaxCapacity"]) == (1, 1)


def test_provisioned_concurrency_follows_its_use(hosted):
    variant = serverless(most=3, ProvisionedConcurrency=1)
    target = Target(hosted, variant, dimension=PROVISIONED, most=2)
    target.track("SageMakerVariantProvisionedConcurrencyUtilization", target=0.5)

    def provisioned():
        hosted.invoke(target.name)
        return sum(each["provisioned"] for each in hosted.instances(target.name)) == 2

    until(provisioned)

    assert target.activities()[-1]["Description"] == "Setting provisioned concurrency to 2."


def test_a_scheduled_action_sets_limits_when_it_is_due(hosted):
    target = Target(hosted, on_instances())
    soon = datetime.now(UTC) + timedelta(seconds=2)
    target.client.put_scheduled_action(
        **target.which,
        ScheduledActionName="morning",
        Schedule=f"at({soon:%Y-%m-%dT%H:%M:%S})",
        ScalableTargetAction={"MinCapacity": 2, "MaxCapacity": 4},
    )
    (action,) = target.client.describe_scheduled_actions(ServiceNamespace="sagemaker")[
        "ScheduledActions"
    ]

    until(lambda: len(target.pids()) == 2)

    assert action["ScheduledActionName"] == "morning"
    assert target.described()["MaxCapacity"] == 4
    assert "scheduled action morning" in target.activities()[0]["Cause"]
    target.client.delete_scheduled_action(**target.which, ScheduledActionName="morning")


def test_an_alarm_takes_a_fleet_up_the_steps_of_a_policy(hosted):
    target = Target(hosted, on_instances())
    policy = target.client.put_scaling_policy(
        **target.which,
        PolicyName="steps",
        PolicyType="StepScaling",
        StepScalingPolicyConfiguration={
            "AdjustmentType": "ChangeInCapacity",
            "StepAdjustments": [
                {
                    "MetricIntervalLowerBound": 0,
                    "MetricIntervalUpperBound": 5,
                    "ScalingAdjustment": 1,
                },
                {"MetricIntervalLowerBound": 5, "ScalingAdjustment": 2},
            ],
        },
    )
    cloudwatch = hosted.cloud.client("cloudwatch")
    closed = datetime.now(UTC) - timedelta(minutes=1)
    waiting = {"MetricName": "waiting", "Value": 9, "Timestamp": closed}
    cloudwatch.put_metric_data(Namespace="test", MetricData=[waiting])
    cloudwatch.put_metric_alarm(
        AlarmName="backlog",
        Namespace="test",
        MetricName="waiting",
        Statistic="Maximum",
        Period=60,
        EvaluationPeriods=1,
        Threshold=1,
        ComparisonOperator="GreaterThanOrEqualToThreshold",
        AlarmActions=[policy["PolicyARN"]],
    )

    until(lambda: len(target.pids()) == 3)

    assert "alarm backlog" in target.activities()[0]["Cause"]


def test_target_tracking_has_the_alarms_that_aws_makes(hosted):
    target = Target(hosted, on_instances())
    told = target.track(target=10.0)

    high, low = target.alarms()
    assert [each["AlarmName"] for each in told["Alarms"]] == [high["AlarmName"], low["AlarmName"]]
    assert "-AlarmHigh-" in high["AlarmName"]
    assert "-AlarmLow-" in low["AlarmName"]
    for alarm, periods, share in ((high, 3, 1.0), (low, 15, 0.9)):
        assert alarm["MetricName"] == "InvocationsPerInstance"
        assert alarm["AlarmActions"] == [told["PolicyARN"]]
        assert (alarm["Period"], alarm["EvaluationPeriods"]) == (60, periods)
        assert alarm["Threshold"] == pytest.approx(share * 10.0 * 60 / MINUTE)

    assert target.track(target=20.0)["Alarms"] == told["Alarms"]
    assert target.alarms()[0]["Threshold"] == pytest.approx(20.0 * 60 / MINUTE)
    target.client.delete_scaling_policy(**target.which, PolicyName="track")
    assert target.alarms() == []
    target.track()
    target.client.put_scheduled_action(
        **target.which,
        ScheduledActionName="later",
        Schedule="at(2100-01-01T00:00:00)",
        ScalableTargetAction={"MinCapacity": 1, "MaxCapacity": 1},
    )
    target.client.deregister_scalable_target(**target.which)
    assert target.alarms() == []
    which = {"ServiceNamespace": "sagemaker", "ResourceId": target.which["ResourceId"]}
    assert not target.client.describe_scaling_policies(**which)["ScalingPolicies"]
    assert not target.client.describe_scheduled_actions(**which)["ScheduledActions"]


def test_what_is_suspended_does_not_scale_until_it_is_resumed(hosted):
    target = Target(hosted, on_instances(), most=2)
    target.register(1, 2, SuspendedState={"DynamicScalingOutSuspended": True})
    target.track(target=0.5)
    other = Target(hosted, on_instances(), most=2)
    other.track(target=0.5)

    until(lambda: target.loaded(2) or other.loaded(2))

    assert (len(target.pids()), len(other.pids())) == (1, 2)
    assert target.described()["SuspendedState"] == {
        "DynamicScalingInSuspended": False,
        "DynamicScalingOutSuspended": True,
        "ScheduledScalingSuspended": False,
    }
    target.register(1, 2, SuspendedState={"DynamicScalingOutSuspended": False})
    until(lambda: target.loaded(2))


class Waiting(Target):
    """An asynchronous endpoint that is scaled, with none to three instances."""

    def __init__(self, hosted, name):
        hosted.sagemaker.create_endpoint_config(
            EndpointConfigName=name,
            ProductionVariants=[on_instances()],
            AsyncInferenceConfig={"OutputConfig": {"S3OutputPath": f"s3://models/{name}"}},
        )
        hosted.sagemaker.create_endpoint(EndpointName=name, EndpointConfigName=name)
        hosted.settled(name)
        self.hosted, self.name = hosted, name
        self.client = hosted.cloud.client("application-autoscaling")
        self.which = {
            "ServiceNamespace": "sagemaker",
            "ResourceId": f"endpoint/{name}/variant/one",
            "ScalableDimension": INSTANCES,
        }
        self.register(0, 3)

    def track_backlog(self):
        metric = {
            "Namespace": "AWS/SageMaker",
            "MetricName": "ApproximateBacklogSizePerInstance",
            "Dimensions": [{"Name": "EndpointName", "Value": self.name}],
            "Statistic": "Average",
        }
        self.client.put_scaling_policy(
            **self.which,
            PolicyName="backlog",
            PolicyType="TargetTrackingScaling",
            TargetTrackingScalingPolicyConfiguration={
                "TargetValue": 5.0,
                "CustomizedMetricSpecification": metric,
                "ScaleOutCooldown": 0,
                "ScaleInCooldown": 0,
            },
        )

    def ask(self, count):
        for _ in range(count):
            self.hosted.runtime.invoke_endpoint_async(
                EndpointName=self.name, Body="[[1, 2, 3]]", ContentType="application/json"
            )

    def answered(self):
        told = self.hosted.s3.list_objects_v2(Bucket="models", Prefix=f"{self.name}/")
        return told["KeyCount"]


def test_a_backlog_takes_an_asynchronous_fleet_from_none_to_many_and_back(hosted):
    target = Waiting(hosted, "tracked")
    target.track_backlog()

    until(lambda: not target.pids())  # it is idle
    target.register(0, 0)  # until all are there
    target.ask(40)
    assert not target.pids()
    target.register(0, 3)
    until(lambda: target.answered() == 40)
    until(lambda: not target.pids())

    told = [each["Description"] for each in target.activities()]
    assert told[0] == told[-1] == "Setting desired instance count to 0."
    assert "Setting desired instance count to 3." in told


def test_one_request_wakes_an_asynchronous_fleet_by_a_step_policy(hosted):
    target = Waiting(hosted, "woken")
    target.register(0, 0)
    until(lambda: not target.pids())
    hosted.settled(target.name)
    target.register(0, 3)
    step = {"MetricIntervalLowerBound": 0, "ScalingAdjustment": 1}
    policy = target.client.put_scaling_policy(
        **target.which,
        PolicyName="wake",
        PolicyType="StepScaling",
        StepScalingPolicyConfiguration={
            "AdjustmentType": "ChangeInCapacity",
            "StepAdjustments": [step],
        },
    )
    target.ask(1)
    hosted.cloud.client("cloudwatch").put_metric_alarm(
        AlarmName="woken",
        Namespace="AWS/SageMaker",
        MetricName="HasBacklogWithoutCapacity",
        Dimensions=[{"Name": "EndpointName", "Value": target.name}],
        Statistic="Maximum",
        Period=10,  # seven of them reach back to where this minute's values are kept
        EvaluationPeriods=5,
        DatapointsToAlarm=1,
        Threshold=1,
        ComparisonOperator="GreaterThanOrEqualToThreshold",
        AlarmActions=[policy["PolicyARN"]],
    )

    until(lambda: target.answered() == 1)
    assert len(target.pids()) == 1
    assert "alarm woken" in target.activities()[0]["Cause"]


def test_targets_policies_and_activities_are_there_after_a_restart(tmp_path):
    hosted = Hosted(tmp_path)
    hosted.make_models()
    target = Target(hosted, on_instances(), most=4)
    told = target.track(target=9.0)
    hosted.close()

    hosted = Hosted(tmp_path)
    target.client = hosted.cloud.client("application-autoscaling")
    try:
        assert target.described()["MaxCapacity"] == 4
        (policy,) = target.client.describe_scaling_policies(ServiceNamespace="sagemaker")[
            "ScalingPolicies"
        ]
        assert policy["PolicyARN"] == told["PolicyARN"]
        target.client.deregister_scalable_target(**target.which)
        found = target.client.describe_scaling_policies(ServiceNamespace="sagemaker")
        assert not found["ScalingPolicies"]
    finally:
        hosted.close()


def test_what_cannot_be_scaled_is_refused(hosted):
    target = Target(hosted, on_instances())

    with refused(ClientError, "endpoint/none/variant/one"):
        target.client.register_scalable_target(
            **target.which | {"ResourceId": "endpoint/none/variant/one"},
            MinCapacity=1,
            MaxCapacity=2,
        )
    with refused(ClientError, "MinCapacity", "MaxCapacity"):
        target.register(3, 2)
    with refused(ClientError, "SageMakerVariantProvisionedConcurrencyUtilization"):
        target.track("SageMakerVariantProvisionedConcurrencyUtilization")
    gap, overlap, ends = [(0, 5), (7, None)], [(0, 5), (3, None)], [[(0, 5)], [(-9, 0)]]
    for bounds in (gap, overlap, *ends):
        with refused(ClientError, "StepAdjustments"):
            target.step(bounds)
    with refused(ClientError, "bound"):
        target.step([(None, None)])
    with refused(ClientError, "AdjustmentType"):
        target.step([(0, None)], AdjustmentType=None)
    with pytest.raises(target.client.exceptions.ObjectNotFoundException):
        target.client.delete_scaling_policy(**target.which, PolicyName="none")
    with refused(ClientError, "target", 0.0):
        target.track(target=0.0)
    with refused(ClientError, "'0 8'"):
        target.client.put_scheduled_action(
            **target.which, ScheduledActionName="bad", Schedule="cron(0 8)"
        )


def test_an_update_that_cannot_be_undone_whole_still_ends(tmp_path):
    """One variant shrinks, the other's instances do not come up, nor the first one's again."""

    async def launch(_):
        raise LaunchFailed("no room")

    async def story():
        with closing(Store(tmp_path)) as store:
            packages = Packages(store, Tags(store))
            hosting = EndpointApi(store, None, packages, tmp_path / "logs", LocalCloudSettings())
            endpoint = Endpoint("e", "arn", "config", 0.0, 0.0, status="InService")
            hosting._endpoints["e"] = endpoint
            for name in ("one", "two"):
                fleet = RealTimeFleet(launch, count=2)
                endpoint.variants.append(Variant({"VariantName": name}, {}, fleet))
            wanted = [
                {"VariantName": "one", "DesiredInstanceCount": 1},
                {"VariantName": "two", "DesiredInstanceCount": 3},
            ]
            update = hosting.operations()["UpdateEndpointWeightsAndCapacities"]
            await update({"EndpointName": "e", "DesiredWeightsAndCapacities": wanted})
            await hosting._tasks.finish()
            return endpoint

    endpoint = asyncio.run(story())
    assert endpoint.status == "InService"
    assert endpoint.reason == "The update was undone. no room"


def test_an_instance_is_desired_from_when_it_is_asked_for_until_it_fails():
    seen = []

    async def launch(_):
        seen.append((fleet.size, fleet.desired))
        raise LaunchFailed("no room")

    fleet = RealTimeFleet(launch, count=1)
    with pytest.raises(LaunchFailed):
        asyncio.run(fleet.resize(2))

    assert seen == [(1, 2)]
    assert fleet.desired == 1
