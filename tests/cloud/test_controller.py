"""A run that carries out a policy itself: what AWS is asked, and what a policy sees."""

from contextlib import closing

import numpy as np
import pytest
from botocore.stub import Stubber

import workbench as wb
from tests.hosted import until
from workbench.backends.shared_counts import SharedCounts
from workbench.cloud.autoscaling import InstanceCounter
from workbench.cloud.aws import Cloud
from workbench.cloud.client import CloudClient
from workbench.cloud.controller import FleetController
from workbench.cloud.deploy import DeployedModel
from workbench.cloud.ledger import Ledger, LedgerEntry

AWS = Cloud(keys=("key", "secret"), poll=0.001)
SMALL, LARGE = "ml.c5.large", "ml.c5.xlarge"
ARN = "arn:aws:sagemaker:us-east-1:123456789012:endpoint/one"
ARRIVALS = np.arange(100) / 10


class Clock:
    def __init__(self, now=1000.0):
        self.now = now

    def __call__(self):
        return self.now


class Decisions:
    """A policy that decides so once a second, in turn, and keeps its readings."""

    latency_target = 0.5

    def __init__(self, *counts):
        self.counts, self.readings, self.turn = counts, [], 0

    def scaler(self):
        return self

    @property
    def due(self):
        return self.turn + 1.0 if self.turn < len(self.counts) else np.inf

    def decide(self, reading, now):  # noqa: ARG002 - the protocol's words
        self.readings.append(reading)
        self.turn += 1
        if isinstance(self.counts[self.turn - 1], Exception):
            raise self.counts[self.turn - 1]
        return self.counts[self.turn - 1]


@pytest.fixture
def sagemaker(monkeypatch):
    """SageMaker's client, which boto3 checks arguments for, with answers of ours."""
    client = AWS.client("sagemaker")
    monkeypatch.setattr(CloudClient, "_client", lambda _, service: {"sagemaker": client}[service])
    with closing(client), Stubber(client) as stubber:
        yield stubber


@pytest.fixture
def counts(tmp_path):
    return SharedCounts(tmp_path / "counts", ready=1)


def variant(instance_type=SMALL, name="", ledger=None):
    entry = LedgerEntry(name="one", bucket="models", what="", hourly=0.0, cloud=AWS)
    return DeployedModel(
        name="one",
        model=None,
        deployment=wb.RealTime(instance_type=instance_type),
        cloud=AWS,
        launched=0.0,
        seconds=0.0,
        variant=name,
        fleet=InstanceCounter(AWS, "one", count=1, launched=0.0, clock=Clock()),
        entry=entry,
        ledger=ledger,
    )


def answer_status(sagemaker, status):
    variants = [{"VariantName": "all"}]
    sagemaker.add_response(
        "describe_endpoint",
        {
            "EndpointName": "one",
            "EndpointArn": ARN,
            "EndpointStatus": status,
            "CreationTime": 0,
            "LastModifiedTime": 0,
            "ProductionVariants": variants,
        },
        {"EndpointName": "one"},
    )


def expect_change(sagemaker, *changes):
    answer_status(sagemaker, "InService")
    asked = {"EndpointName": "one", "DesiredWeightsAndCapacities": list(changes)}
    sagemaker.add_response("update_endpoint_weights_and_capacities", {"EndpointArn": ARN}, asked)


def change(count, name="all", **more):
    return {"VariantName": name, "DesiredInstanceCount": count, **more}


def test_aws_is_asked_for_a_count_as_soon_as_it_takes_one_and_for_the_first_again(
    sagemaker, counts
):
    answer_status(sagemaker, "Updating")
    expect_change(sagemaker, change(3))
    expect_change(sagemaker, change(1))
    clock, policy, one = Clock(), Decisions(3), variant()
    controller = FleetController([one], policy, counts, ARRIVALS, clock=clock)
    with controller:
        counts.add(arrived=9, spilled=2, in_flight=4, done=5)
        counts.begin(999.0)  # a second ago
        until(lambda: controller.activities)

    sagemaker.assert_no_pending_responses()
    (reading,) = policy.readings
    assert (reading.requests, reading.arrived, reading.spilled, reading.done) == (10, 9, 2, 5)
    assert (reading.waiting, reading.serving, reading.ready) == (3, 1, 1)
    assert one.fleet.counts == [(0.0, 1), (1000.0, 3)]  # counted from when they were asked for
    assert one.fleet.ready_and_starting == (1, 2)
    assert controller.warnings == []


def test_what_the_cloud_could_not_have_is_asked_for_again(sagemaker, counts):
    expect_change(sagemaker, change(3))
    expect_change(sagemaker, change(3))
    clock, one = Clock(), variant()
    fleet = [one], Decisions(3, 3), counts, ARRIVALS
    with FleetController(*fleet, stays=False, clock=clock) as controller:
        counts.begin(999.0)
        until(lambda: controller.activities)
        one.fleet.desired = 1  # there were no more instances of that type
        clock.now += 1
        until(lambda: len(controller.activities) == 2)

    sagemaker.assert_no_pending_responses()


def test_an_endpoint_keeps_an_instance_of_each_type_and_weights_go_with_counts(sagemaker, counts):
    small, large = variant(SMALL, "small"), variant(LARGE, "large")
    expect_change(
        sagemaker, change(1, "small", DesiredWeight=2.0), change(2, "large", DesiredWeight=8.0)
    )
    policy = Decisions({LARGE: 2})
    controller = FleetController(
        [small, large], policy, counts, ARRIVALS, stays=False, clock=Clock()
    )
    with controller:
        counts.begin(999.0)
        until(lambda: controller.activities)

    sagemaker.assert_no_pending_responses()
    assert dict(policy.readings[0].types) == {SMALL: (1, 0), LARGE: (1, 0)}
    assert controller.warnings == [
        "The policy wanted no ml.c5.large at times: an endpoint keeps 1 of each type."
    ]


def test_late_answers_are_counted_by_the_scalers_target(sagemaker, counts):
    policy = Decisions(1)
    with FleetController([variant()], policy, counts, ARRIVALS, clock=Clock()) as controller:
        controller.add(np.array([0.4, 0.6, np.nan, 0.7]))
        counts.begin(999.0)
        until(lambda: policy.readings)

    assert policy.readings[0].late == 2
    sagemaker.assert_no_pending_responses()  # one is what there is


@pytest.mark.parametrize(
    "case",
    [
        (RuntimeError("at its wits' end"), (SMALL,), "wits' end"),
        ({"ml.m5.large": 1}, (SMALL,), "whole number of instances; got"),
        (2, (SMALL, LARGE), "counts by instance type"),
        (2.5, (SMALL,), "whole number"),
    ],
)
def test_a_policy_that_fails_is_in_the_ledger(sagemaker, counts, tmp_path, case):
    decision, types, why = case
    ledger = Ledger(tmp_path / "ledger.db")
    fleet = [variant(each, each, ledger) for each in types]
    ledger.write(fleet[0].entry)
    policy = Decisions(decision)
    with FleetController(fleet, policy, counts, ARRIVALS, clock=Clock()) as controller:
        counts.begin(999.0)
        until(lambda: controller.warnings)

    assert why in controller.warnings[0]
    assert ledger.entries()[0].note == controller.warnings[0]
    sagemaker.assert_no_pending_responses()  # nothing was changed, and nothing is put back


class Stuck(Decisions):
    """A policy that is due at the same instant for ever."""

    due = 1.0


class Never(Decisions):
    """A policy that is due at no instant there is."""

    due = float("nan")


@pytest.mark.parametrize("policy", [Stuck(1, 1), Never(1)], ids=["stuck", "never"])
def test_a_policy_that_is_not_due_later_ends_scaling_and_not_the_run(sagemaker, counts, policy):
    with FleetController([variant()], policy, counts, ARRIVALS, clock=Clock()) as controller:
        counts.begin(999.0)
        until(lambda: controller.warnings)

    assert "due later than now" in controller.warnings[0]
    sagemaker.assert_no_pending_responses()


def test_counts_may_be_of_numpy(sagemaker, counts):
    expect_change(sagemaker, change(2))
    policy = Decisions(np.int64(2))
    terms = {"stays": False, "clock": Clock()}
    with FleetController([variant()], policy, counts, ARRIVALS, **terms) as controller:
        counts.begin(999.0)
        until(lambda: controller.activities or controller.warnings)

    assert controller.warnings == []


def test_a_count_that_cannot_be_put_back_is_in_the_ledger(sagemaker, counts, tmp_path):
    ledger, refused = Ledger(tmp_path / "ledger.db"), "update_endpoint_weights_and_capacities"
    fleet = [variant(ledger=ledger)]
    ledger.write(fleet[0].entry)
    expect_change(sagemaker, change(2))
    answer_status(sagemaker, "InService")
    sagemaker.add_client_error(refused, "AccessDeniedException", "not for you")
    with FleetController(fleet, Decisions(2), counts, ARRIVALS, clock=Clock()) as controller:
        counts.begin(999.0)
        until(lambda: controller.activities)

    (warning,) = controller.warnings
    assert "were not put back" in warning
    assert ledger.entries()[0].note == warning


def test_a_cloud_that_refuses_ends_scaling_and_not_the_run(sagemaker, counts):
    answer_status(sagemaker, "InService")
    sagemaker.add_client_error(
        "update_endpoint_weights_and_capacities", "ResourceLimitExceeded", "quota"
    )
    with FleetController([variant()], Decisions(9), counts, ARRIVALS, clock=Clock()) as controller:
        counts.begin(999.0)
        until(lambda: controller.warnings)
    assert "Scaling ended early" in controller.warnings[0]
