"""Functions on managed instances, on an AWS that is played back, and refused by the local cloud."""

import pytest
from botocore.stub import ANY

import workbench as wb
from tests.played import PlayedCloud, stored
from tests.refused import refused
from workbench.cloud.deploy import deploy, teardown
from workbench.cloud.ledger import Ledger
from workbench.errors import CloudError, NotAvailable
from workbench.localcloud import LocalCloud

MANAGED = wb.LambdaManaged(
    instance_types=["m7g.xlarge", "m7g.2xlarge"], concurrency=3, least=4, most=20, target=0.4
)
PROVIDER = "arn:aws:lambda:us-east-1:123456789012:capacity-provider:x"
OPERATOR = "arn:aws:iam::123456789012:role/operator"
FACTS = {
    "CapacityProviderArn": PROVIDER,
    "VpcConfig": {"SubnetIds": ["subnet-1"], "SecurityGroupIds": []},
    "PermissionsConfig": {"CapacityProviderOperatorRoleArn": OPERATOR},
}


@pytest.fixture
def cloud():
    return PlayedCloud(operator_role=OPERATOR, subnets=("subnet-1", "subnet-2"))


@pytest.fixture
def ledger(tmp_path):
    return Ledger(tmp_path / "ledger.db")


def provider(cloud, state, operation="get_capacity_provider", **expected):
    answer = {"CapacityProvider": {**FACTS, "State": state}}
    cloud.answer("lambda", operation, answer, CapacityProviderName=ANY, **expected)


def function(cloud, state, **more):
    cloud.answer("lambda", "get_function_configuration", {"State": state, **more})


def asked_for(cloud):
    provider(
        cloud,
        "Pending",
        "create_capacity_provider",
        VpcConfig={"SubnetIds": ["subnet-1", "subnet-2"], "SecurityGroupIds": []},
        PermissionsConfig={"CapacityProviderOperatorRoleArn": OPERATOR},
        InstanceRequirements={
            "Architectures": ["arm64"],
            "AllowedInstanceTypes": ["m7g.xlarge", "m7g.2xlarge"],
        },
        CapacityProviderScalingConfig={
            "MaxVCpuCount": 80,
            "ScalingMode": "Manual",
            "ScalingPolicies": [
                {
                    "PredefinedMetricType": "LambdaCapacityProviderAverageCPUUtilization",
                    "TargetValue": 40.0,
                }
            ],
        },
        Tags=ANY,
    )


def made(cloud):
    stored(cloud)
    asked_for(cloud)
    for state in ("Pending", "Active"):
        provider(cloud, state)
    managed = {
        "CapacityProviderArn": PROVIDER,
        "PerExecutionEnvironmentMaxConcurrency": 3,
        "ExecutionEnvironmentMemoryGiBPerVCpu": 4.0,
    }
    cloud.answer(
        "lambda",
        "create_function",
        FunctionName=ANY,
        Role=ANY,
        MemorySize=12_288,
        Timeout=900,
        Architectures=["arm64"],
        CapacityProviderConfig={"LambdaManagedInstancesCapacityProviderConfig": managed},
        Tags=ANY,
        PackageType="Image",
        Code=ANY,
        ImageConfig=ANY,
        Environment=ANY,
    )
    for state in ("Pending", "ActiveNonInvocable"):
        function(cloud, state)
    cloud.answer("lambda", "publish_version", {"Version": "1"}, FunctionName=ANY)
    for state in ("Pending", "Active"):
        function(cloud, state)
    cloud.answer(
        "lambda",
        "put_function_scaling_config",
        FunctionName=ANY,
        Qualifier="1",
        FunctionScalingConfig={"MinExecutionEnvironments": 4, "MaxExecutionEnvironments": 20},
    )
    function(cloud, "Active")


def torn_down(cloud):
    cloud.answer("lambda", "delete_function", FunctionName=ANY)
    cloud.refuse("lambda", "delete_capacity_provider", "ResourceConflictException", status=409)
    provider(cloud, "Deleting", "delete_capacity_provider")
    provider(cloud, "Deleting")
    cloud.refuse("lambda", "get_capacity_provider", "ResourceNotFoundException", status=404)
    cloud.answer("s3", "list_objects_v2", Bucket="models", Prefix=ANY)


def test_provider_function_and_version_are_made_waited_for_and_torn_down(model, cloud, ledger):
    made(cloud)

    with deploy(model, MANAGED, cloud, yes=True, ledger=ledger) as deployed:
        (entry,) = ledger.entries()
        assert (entry.kind, entry.name) == ("managed function", deployed.name.removesuffix(":1"))
        assert deployed.backend().concurrency == 256
        torn_down(cloud)

    assert ledger.entries() == []
    cloud.done()


def test_a_provider_that_fails_is_said_and_taken_away(model, cloud, ledger):
    stored(cloud)
    asked_for(cloud)
    provider(cloud, "Failed")
    torn_down(cloud)

    with (
        refused(CloudError, "Failed") as raised,
        deploy(model, MANAGED, cloud, yes=True, ledger=ledger),
    ):
        pytest.fail("it must not be entered")

    assert raised.value.code == "Failed"
    assert ledger.entries() == []
    cloud.done()


def test_what_a_crash_left_is_ended_by_teardown(model, cloud, ledger, monkeypatch):
    made(cloud)
    with monkeypatch.context() as patched:
        patched.setattr("workbench.cloud.deploy._tear_down", lambda *_: None)
        with deploy(model, MANAGED, cloud, yes=True, ledger=ledger):
            pass
    (left,) = ledger.entries()
    assert left.cloud.subnets == cloud.subnets
    torn_down(cloud)
    monkeypatch.setattr(Ledger, "entries", lambda _: [type(left)(**vars(left) | {"cloud": cloud})])

    assert [each.name for each in teardown(ledger)] == [left.name]
    cloud.done()


def test_role_and_subnets_are_asked_for_before_anything_is_made(model, ledger):
    with (
        refused(NotAvailable, "WORKBENCH_OPERATOR_ROLE_ARN"),
        deploy(model, MANAGED, PlayedCloud(), yes=True, ledger=ledger),
    ):
        pytest.fail("it must not be entered")
    assert ledger.entries() == []


@pytest.mark.usefixtures("at_home")
def test_the_local_cloud_says_501_by_name_and_leaves_nothing(model, tmp_path):
    with (
        LocalCloud(tmp_path / "cloud") as local,
        refused(CloudError, "CreateCapacityProvider") as raised,
        deploy(model, MANAGED, local),
    ):
        pytest.fail("it must not be entered")

    assert raised.value.code == "NotImplemented"
    assert Ledger().entries() == []
