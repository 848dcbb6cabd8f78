"""Policies of the workbench that Application Auto Scaling follows, on a local cloud."""

import os
import signal
import subprocess
import sys
import threading
from contextlib import closing
from datetime import UTC, datetime, timedelta

import pytest

import workbench as wb
from tests.refused import refused
from workbench.cli import main
from workbench.cloud import autoscaling
from workbench.cloud.autoscaling import INSTANCES, PROVISIONED, check_scaling, deregister, register
from workbench.cloud.aws import Cloud
from workbench.cloud.client import CloudClient
from workbench.cloud.cost_guard import CostMeter
from workbench.cloud.deploy import deploy, teardown
from workbench.cloud.ledger import Ledger, LedgerEntry
from workbench.errors import InvalidInput, OverBudget
from workbench.localcloud import LocalCloud
from workbench.scaling import Schedule, StepScaling, TargetTracking, policy_from_dict

MINUTE = 0.25
ONE = wb.RealTime(instance_type="ml.m5.large")
KEPT = wb.Serverless(memory_mb=2048, max_concurrency=4, provisioned=1, on_limit="queue")
TRACKING = TargetTracking(target=300, most=2, period=MINUTE, out_cooldown=0, in_cooldown=0)
NONE = wb.Async(instance_type="ml.m5.large", count=0)
BACKLOG = TargetTracking(
    target=2, metric="backlog", least=0, most=2, period=MINUTE, out_cooldown=0, in_cooldown=0
)
WAKE = StepScaling()
USE = TargetTracking(target=0.7, metric="utilisation", most=3, period=MINUTE)
STEPS = StepScaling(steps=[(0, 1), (50, 2)], threshold=100, metric="invocations", least=1, most=4)

KILLED = """
import os, signal
from workbench import Async, RealTime, Registry
from workbench.cloud.aws import Cloud
from workbench.cloud.deploy import deploy
from workbench.scaling import StepScaling, TargetTracking

url, role, image, minute, *keys = os.environ["CLOUD"].split()
cloud = Cloud(endpoint_url=url, role=role, image=image, bucket="workbench", paid=False,
              keys=tuple(keys), poll=0.05, minute=float(minute))
model = Registry()["digits-mlp-small"]
tracking = TargetTracking(target=5, metric="backlog", least=0, period=float(minute))
steps = StepScaling(metric="invocations", least=1)
with deploy(model, Async(instance_type="ml.m5.large"), cloud, scaling=tracking):
    with deploy(model, RealTime(instance_type="ml.m5.large"), cloud, scaling=steps):
        os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture(scope="module")
def cloud(tmp_path_factory):
    with LocalCloud(tmp_path_factory.mktemp("cloud"), scaling_minute=MINUTE) as cloud:
        yield cloud


pytestmark = pytest.mark.usefixtures("at_home")


def registered(cloud):
    """Return the targets, policies and alarms that there are."""
    with CloudClient(cloud) as aws:
        place = {"ServiceNamespace": "sagemaker"}
        service = "application-autoscaling"
        return (
            aws.call(service, "describe_scalable_targets", **place)["ScalableTargets"],
            aws.call(service, "describe_scaling_policies", **place)["ScalingPolicies"],
            aws.call("cloudwatch", "describe_alarms")["MetricAlarms"],
        )


def entry(scales=INSTANCES):
    return LedgerEntry(
        name="one", bucket="models", what="", hourly=0.0, cloud=Cloud(), scales=scales
    )


def test_a_run_on_a_fleet_that_scales_tells_what_happened_and_bills_what_was_there(cloud, model):
    grown = threading.Event()
    experiment = wb.Experiment(model, ONE, wb.poisson(rate=40, duration=600.0, seed=1))
    with deploy(model, ONE, cloud, scaling=TRACKING) as deployed:

        def look(_):
            if deployed.fleet.counts[-1][1] == 2:
                grown.set()

        run = experiment.run(deployed, scaling=TRACKING, on_rows=look, stopped=grown)

    assert [count for _, count in run.record.counts] == [1, 2]
    (_, grew) = run.record.counts[1]
    assert grew == 2
    assert run.record.activities[0]["description"] == "Setting desired instance count to 2."
    assert "the target is" in run.record.activities[0]["cause"]
    first, second = run.record.instances
    assert first[0] < 0 < second[0] < second[1] == first[1]
    billed = wb.cost(run).items[0]
    assert billed.quantity * 3600 == pytest.approx(
        sum(stop - launch for launch, stop in (first, second)), abs=2
    )
    assert registered(cloud) == ([], [], [])
    assert Ledger().entries() == []


def test_simulation_and_run_take_the_same_policy(cloud, model):
    short = wb.poisson(rate=20, duration=1.0, seed=1)
    experiment = wb.Experiment(model, ONE, short)

    simulated = experiment.simulate(scaling=TRACKING)
    run = experiment.run(cloud, scaling=TRACKING)

    assert run.record.scaling == simulated.record.scaling
    assert run.label == simulated.label
    assert "real-time 1 x ml.m5.large scaled 1 to 2" in run.label
    assert registered(cloud) == ([], [], [])


def test_provisioned_concurrency_is_registered_and_billed_while_it_is_there(cloud, model):
    experiment = wb.Experiment(model, KEPT, wb.poisson(rate=20, duration=1.0, seed=1))
    with deploy(model, KEPT, cloud, scaling=USE) as deployed:
        (target,), (policy,), _ = registered(cloud)
        run = experiment.run(deployed)

    assert (target["ScalableDimension"], target["MaxCapacity"]) == (PROVISIONED, 3)
    tracking = policy["TargetTrackingScalingPolicyConfiguration"]
    assert tracking["TargetValue"] == 0.7
    items = {item.what: item.quantity for item in wb.cost(run).items}
    assert items["serverless provisioned 2048 MB"] >= run.record.counts[0][1]


def test_steps_are_registered_with_the_alarm_that_takes_them_and_go_with_the_endpoint(cloud, model):
    with deploy(model, ONE, cloud, scaling=STEPS) as deployed:
        (target,), (policy,), (alarm,) = registered(cloud)
        assert [each.scales for each in Ledger().entries()] == [INSTANCES]

    assert (target["MinCapacity"], target["MaxCapacity"]) == (1, 4)
    assert policy["StepScalingPolicyConfiguration"]["StepAdjustments"] == [
        {"MetricIntervalLowerBound": 0, "MetricIntervalUpperBound": 50, "ScalingAdjustment": 1},
        {"MetricIntervalLowerBound": 50, "ScalingAdjustment": 2},
    ]
    assert alarm["AlarmActions"] == [policy["PolicyARN"]]
    assert (alarm["MetricName"], alarm["Threshold"]) == ("InvocationsPerInstance", 100)
    assert {"Name": "EndpointName", "Value": deployed.name} in alarm["Dimensions"]
    assert registered(cloud) == ([], [], [])


def test_an_asynchronous_fleet_grows_from_none_with_its_backlog(cloud, model):
    experiment = wb.Experiment(model, NONE, wb.poisson(rate=20, duration=1.0, seed=1))
    run = experiment.run(cloud, scaling=BACKLOG)

    assert run.answered == len(run)
    assert "async 0 x ml.m5.large scaled 0 to 2" in run.label
    began, none, some = [count for _, count in run.record.counts][:3]
    assert (began, none, some) == (1, 0, 2)
    descriptions = [each["description"] for each in run.record.activities]
    assert descriptions[0] == "Setting desired instance count to 2."
    assert wb.cost(run).items[0].quantity > 0
    assert registered(cloud) == ([], [], [])
    assert Ledger().entries() == []


def test_a_backlog_without_capacity_sets_off_an_asynchronous_endpoints_alarm(cloud, model):
    with deploy(model, NONE, cloud, scaling=WAKE) as deployed:
        (target,), (policy,), (alarm,) = registered(cloud)

    assert (target["MinCapacity"], target["ScalableDimension"]) == (0, INSTANCES)
    assert alarm["AlarmActions"] == [policy["PolicyARN"]]
    assert (alarm["MetricName"], alarm["Threshold"]) == ("HasBacklogWithoutCapacity", 1)
    assert alarm["Dimensions"] == [{"Name": "EndpointName", "Value": deployed.name}]
    assert registered(cloud) == ([], [], [])


@pytest.mark.parametrize("before", ["register_scalable_target", "put_metric_alarm"])
def test_teardown_ends_scaling_that_a_crash_left_half_made(cloud, model, monkeypatch, before):
    with monkeypatch.context() as patched, CloudClient(cloud) as aws:
        patched.setattr("workbench.cloud.deploy._tear_down", lambda *_: None)
        with deploy(model, ONE, cloud, scaling=STEPS) as deployed:
            if before == "register_scalable_target":
                deregister(aws, Ledger().entries()[0])
            else:
                aws.call("cloudwatch", "delete_alarms", AlarmNames=[deployed.name])

    (left,) = Ledger().entries()
    assert teardown() == [left]
    assert registered(cloud) == ([], [], [])


def test_teardown_ends_scaling_that_a_killed_process_left(cloud, capsys):
    told = " ".join([cloud.endpoint_url, cloud.role, cloud.image, str(MINUTE), *cloud.keys])
    child = subprocess.run(
        [sys.executable, "-c", KILLED], env={**os.environ, "CLOUD": told}, check=False
    )
    assert child.returncode == -signal.SIGKILL
    targets, policies, alarms = registered(cloud)
    assert (len(targets), len(policies)) == (2, 2)
    assert {alarm["MetricName"] for alarm in alarms} == {
        "ApproximateBacklogSizePerInstance",
        "InvocationsPerInstance",
    }

    assert main(["teardown"]) == 0

    assert "2 ended" in capsys.readouterr().out
    assert registered(cloud) == ([], [], [])
    assert Ledger().entries() == []


def test_the_estimate_counts_the_most_instances(model):
    paid = Cloud(role="arn:aws:iam::123456789012:role/workbench", image="image")
    with (
        refused(OverBudget, "real-time 50 x ml.m5.large"),
        deploy(model, ONE, paid, scaling=TargetTracking(target=600, most=50), budget=5.0, yes=True),
    ):
        pytest.fail("nothing may be made")


def test_the_meter_of_a_fleet_of_none_goes_by_what_is_there():
    meter = CostMeter(NONE, Cloud(), 1.0, launched=0.0, fleet=lambda: 7200.0, clock=lambda: 60.0)
    assert meter.dollars == pytest.approx(2 * 0.115)


def test_the_meter_goes_by_the_instances_that_there_are():
    meter = CostMeter(ONE, Cloud(), 1.0, launched=0.0, fleet=lambda: 7200.0, clock=lambda: 60.0)
    assert meter.dollars == pytest.approx(2 * 0.115)


@pytest.mark.parametrize(
    ("deployment", "policy", "named"),
    [
        (ONE, Schedule([(0.0, 0)]), ["ml.m5.large", "least", 0]),
        (ONE, Schedule([(float(at), 1) for at in range(201)]), [200, 201]),
        (KEPT, Schedule([(0.0, 5)]), ["most", "max_concurrency", 4, 5]),
        (wb.Lambda(memory_mb=512, max_concurrency=1), Schedule([(0.0, 1)]), ["lambda 512 MB"]),
        (ONE, TargetTracking(target=2, metric="concurrency"), ["in_periods", 15]),
        (ONE, TargetTracking.high_resolution(target=2, period=60), ["60 s", "period=10"]),
        (ONE, TargetTracking(target=1, metric="backlog"), ["'backlog' for real-time"]),
        (KEPT, TargetTracking(target=1), ["'invocations' for serverless"]),
        (NONE, TargetTracking(target=1), ["'invocations' for async"]),
        (NONE, TargetTracking(target=1, metric="backlog without capacity"), ["StepScaling"]),
        (ONE, TargetTracking(target=1, least=0), ["ml.m5.large", "least", 0]),
        (ONE, TargetTracking(target=1, low=0.5), ["low", 0.9, 0.5]),
        (ONE, TargetTracking(target=1, period=10), ["10 s", "period=60"]),
        (ONE, StepScaling(metric="invocations", least=1, period=30), ["30 s", "period=60"]),
        (KEPT, TargetTracking(target=1, metric="utilisation"), ["most", "max_concurrency", 4, 100]),
        (
            wb.Serverless(memory_mb=2048, max_concurrency=4),
            TargetTracking(target=1, metric="utilisation", most=2),
            ["Serverless(provisioned=...)", 1],
        ),
    ],
)
def test_what_aws_cannot_follow_is_refused(deployment, policy, named):
    with refused(InvalidInput, *named):
        check_scaling(deployment, policy, Cloud())


def test_what_is_not_scaled_is_refused(cloud, model):
    trace = wb.poisson(rate=20, duration=1.0, seed=1)
    with refused(InvalidInput, "local, 1 worker"):
        wb.Experiment(model, wb.Local(), trace).run(scaling=TRACKING)
    with deploy(model, ONE, cloud) as deployed, refused(InvalidInput, "deploy(..., scaling=...)"):
        wb.Experiment(model, ONE, trace).run(deployed, scaling=TRACKING)


def test_a_schedule_is_carried_out_by_scheduled_actions_that_count_from_the_run(cloud, model):
    changes = [(0.0, 1), (2.0, 2)]
    experiment = wb.Experiment(model, ONE, wb.poisson(rate=10, duration=600.0, seed=1))
    grown = threading.Event()
    with deploy(model, ONE, cloud, scaling=Schedule(changes)) as deployed:
        (target,), *_ = registered(cloud)

        def look(_):
            if deployed.fleet.counts[-1][1] == 2:
                grown.set()

        run = experiment.run(deployed, on_rows=look, stopped=grown)
        with CloudClient(cloud) as aws:
            service = "application-autoscaling"
            told = aws.call(service, "describe_scheduled_actions", ServiceNamespace="sagemaker")

    assert (target["MinCapacity"], target["MaxCapacity"]) == (1, 2)
    (action,) = told["ScheduledActions"]
    assert action["ScalableTargetAction"] == {"MinCapacity": 2, "MaxCapacity": 2}
    (_, one), (at, two) = run.record.counts
    assert (one, two) == (1, 2)
    assert at > 0.5  # a whole second, found at the next look
    assert policy_from_dict(run.record.scaling) == Schedule(changes)
    assert registered(cloud) == ([], [], [])


def test_high_resolution_is_registered_and_grows_a_fleet(cloud, model):
    policy = TargetTracking.high_resolution(
        target=0.02, most=2, period=MINUTE / 6, out_cooldown=0, in_cooldown=0
    )
    grown = threading.Event()
    experiment = wb.Experiment(model, ONE, wb.poisson(rate=150, duration=600.0, seed=1))
    with deploy(model, ONE, cloud, scaling=policy) as deployed:
        _, (told,), alarms = registered(cloud)

        def look(_):
            if deployed.fleet.counts[-1][1] == 2:
                grown.set()

        experiment.run(deployed, on_rows=look, stopped=grown)

    tracking = told["TargetTrackingScalingPolicyConfiguration"]
    assert tracking["PredefinedMetricSpecification"] == {
        "PredefinedMetricType": "SageMakerVariantConcurrentRequestsPerModelHighResolution"
    }
    assert [(each["MetricName"], each["Period"]) for each in alarms] == [
        ("ConcurrentRequestsPerModel", 10),
        ("ConcurrentRequestsPerModel", 60),
    ]
    assert grown.is_set()


@pytest.mark.parametrize(
    ("deployment", "policy"),
    [
        (ONE, TargetTracking(target=600, most=4)),
        (ONE, TargetTracking.high_resolution(target=2, most=4)),
        (ONE, STEPS),
        (KEPT, TargetTracking(target=0.7, metric="utilisation", most=3)),
        (NONE, TargetTracking(target=5, metric="backlog", least=0, most=3)),
        (NONE, WAKE),
    ],
    ids=["tracking", "high resolution", "steps", "provisioned", "backlog", "wake"],
)
def test_aws_takes_the_arguments(deployment, policy, monkeypatch):
    from botocore.stub import ANY, Stubber

    keys = ("key", "secret")
    clients = {
        name: Cloud(keys=keys).client(name) for name in ("application-autoscaling", "cloudwatch")
    }
    scaling, alarms = (Stubber(client) for client in clients.values())
    scales = autoscaling.dimension(deployment)
    resource = "endpoint/one/variant/all"
    place = {
        "ServiceNamespace": "sagemaker",
        "ResourceId": resource,
        "ScalableDimension": scales,
    }
    scaling.add_response(
        "register_scalable_target",
        {},
        {**place, "MinCapacity": policy.least, "MaxCapacity": policy.most},
    )
    tracks = isinstance(policy, TargetTracking)
    config = f"{'TargetTracking' if tracks else 'Step'}ScalingPolicyConfiguration"
    kind = "TargetTrackingScaling" if tracks else "StepScaling"
    arn = "arn:aws:autoscaling:us-east-1:123456789012:scalingPolicy:1"
    scaling.add_response(
        "put_scaling_policy",
        {"PolicyARN": arn},
        {**place, "PolicyName": "workbench", "PolicyType": kind, config: ANY},
    )
    scaling.add_response("deregister_scalable_target", {}, place)
    if not tracks:
        names = ("AlarmName", "Namespace", "MetricName", "Dimensions", "Statistic", "Period")
        more = ("EvaluationPeriods", "Threshold", "ComparisonOperator", "Tags")
        asked = dict.fromkeys((*names, *more), ANY)
        alarms.add_response("put_metric_alarm", {}, {**asked, "AlarmActions": [arn]})
    gone = {"AlarmNames": ["one"]}
    alarms.add_client_error("delete_alarms", "ResourceNotFound", expected_params=gone)
    monkeypatch.setattr(CloudClient, "_client", lambda _, service: clients[service])
    with scaling, alarms, closing(clients["cloudwatch"]), CloudClient(Cloud(keys=keys)) as aws:
        register(aws, entry(scales), deployment, policy)
        deregister(aws, entry(scales))
    scaling.assert_no_pending_responses()
    alarms.assert_no_pending_responses()


def test_aws_takes_scheduled_actions_at_whole_seconds_utc(monkeypatch):
    from botocore.stub import Stubber

    cloud = Cloud(keys=("key", "secret"))
    client = cloud.client("application-autoscaling")
    place = {
        "ServiceNamespace": "sagemaker",
        "ResourceId": "endpoint/one/variant/all",
        "ScalableDimension": INSTANCES,
    }
    begins = datetime(2026, 11, 29, 23, 59, 30, tzinfo=UTC)
    instants = iter([begins, begins + timedelta(seconds=91)])  # of the two that are put
    with Stubber(client) as stub:
        limits = {"MinCapacity": 2, "MaxCapacity": 2}
        stub.add_response("register_scalable_target", {}, place | limits)
        action = {
            "ScheduledActionName": "workbench-1",
            "Schedule": "at(2026-11-30T00:00:30)",
            "ScalableTargetAction": {"MinCapacity": 5, "MaxCapacity": 5},
        }
        stub.add_response("put_scheduled_action", {}, place | action)
        late = {"MinCapacity": 7, "MaxCapacity": 7}
        other = {"ScheduledActionName": "workbench-2", "Schedule": "at(2026-11-30T00:01:00)"}
        other["ScalableTargetAction"] = late
        stub.add_response("put_scheduled_action", {}, place | other)
        stub.add_response("register_scalable_target", {}, place | late)
        monkeypatch.setattr(CloudClient, "_client", lambda *_: client)
        with CloudClient(cloud) as aws:
            schedule = Schedule([(0, 2), (60, 5), (90, 7)])
            clock = instants.__next__
            autoscaling.begin_schedule(aws, "one", INSTANCES, schedule, begins=begins, clock=clock)
        stub.assert_no_pending_responses()
    client.close()
