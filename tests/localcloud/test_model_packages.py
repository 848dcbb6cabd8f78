import json
import re
import warnings
from datetime import timedelta
from itertools import count

import pytest
from botocore.exceptions import ClientError

from tests import wire
from tests.refused import refused
from workbench.localcloud.core import validation

_numbers = count()
IMAGE = "123456789012.dkr.ecr.us-east-1.amazonaws.com/workbench:latest"
CONTAINERS = {
    "Containers": [{"Image": IMAGE, "ModelDataUrl": "s3://models/digits/model.tar.gz"}],
    "SupportedContentTypes": ["application/x-npy"],
    "SupportedResponseMIMETypes": ["application/x-npy"],
}
CYCLE = {"Stage": "Staging", "StageStatus": "Approved", "StageDescription": "soon"}


@pytest.fixture(scope="module")
def registry(cloud):
    client = cloud.client("sagemaker")
    # botocore calls ModelPackageName required in an answer, in which AWS has none for versions
    wire.check_answers(client, but=["DescribeModelPackage"])
    yield client
    client.close()


@pytest.fixture
def group(registry):
    name = f"Digits-{next(_numbers)}"
    registry.create_model_package_group(ModelPackageGroupName=name)
    return name


def create(registry, group, **more):
    made = registry.create_model_package(
        ModelPackageGroupName=group, InferenceSpecification=CONTAINERS, **more
    )
    return made["ModelPackageArn"]


def describe(registry, named):
    return registry.describe_model_package(ModelPackageName=named)


def versions(page):
    return [each["ModelPackageVersion"] for each in page["ModelPackageSummaryList"]]


# --- groups


def test_a_group_is_found_by_name_and_by_arn_in_any_case(registry, group):
    found = registry.describe_model_package_group(ModelPackageGroupName=group)
    again = registry.describe_model_package_group(
        ModelPackageGroupName=found["ModelPackageGroupArn"].replace("Digits", "digits")
    )

    assert found["ModelPackageGroupArn"].endswith(f":model-package-group/{group}")
    assert found["ModelPackageGroupName"] == again["ModelPackageGroupName"] == group
    assert found["ModelPackageGroupStatus"] == "Completed"


def test_a_name_is_for_one_group(registry, group):
    with refused(ClientError, "ValidationException", group.lower()):
        registry.create_model_package_group(ModelPackageGroupName=group.lower())


def test_only_an_empty_group_can_be_deleted(registry, group):
    package = create(registry, group)
    with pytest.raises(registry.exceptions.ConflictException):
        registry.delete_model_package_group(ModelPackageGroupName=group)

    registry.delete_model_package(ModelPackageName=package)
    registry.delete_model_package_group(ModelPackageGroupName=group)
    with refused(ClientError, "ValidationException", group):
        registry.describe_model_package_group(ModelPackageGroupName=group)


def test_groups_are_listed_in_pages(cloud, registry):
    names = [f"paged-{i}" for i in range(5)]
    for name in names:
        registry.create_model_package_group(
            ModelPackageGroupName=name, ModelPackageGroupDescription=f"is {name}"
        )
    paginator = registry.get_paginator("list_model_package_groups")
    size = {"PageSize": 2}

    def listed(**how):
        pages = paginator.paginate(NameContains="paged", PaginationConfig=size, **how)
        return [
            each["ModelPackageGroupName"]
            for page in pages
            for each in page["ModelPackageGroupSummaryList"]
        ]

    assert listed() == names
    assert listed(SortBy="Name", SortOrder="Descending") == names[::-1]
    assert listed(CrossAccountFilterOption="CrossAccount") == []


def test_a_group_has_a_policy_when_it_was_given_one(registry, group):
    with refused(ClientError, group, "policy"):
        registry.get_model_package_group_policy(ModelPackageGroupName=group)
    for text in ("{", "[" * 20_000):
        with refused(ClientError, "ResourcePolicy"):
            registry.put_model_package_group_policy(
                ModelPackageGroupName=group, ResourcePolicy=text
            )
    registry.put_model_package_group_policy(ModelPackageGroupName=group, ResourcePolicy="{}")
    found = registry.get_model_package_group_policy(ModelPackageGroupName=group)
    assert found["ResourcePolicy"] == "{}"
    registry.delete_model_package_group_policy(ModelPackageGroupName=group)
    with refused(ClientError, group, "policy"):
        registry.get_model_package_group_policy(ModelPackageGroupName=group)


# --- packages


def test_versions_count_from_1_and_are_never_given_twice(registry, group):
    first, second = create(registry, group), create(registry, group)
    registry.delete_model_package(ModelPackageName=second)
    third = create(registry, group)

    assert [arn.rpartition("/")[2] for arn in (first, second, third)] == ["1", "2", "3"]
    assert versions(registry.list_model_packages(ModelPackageGroupName=group)) == [1, 3]
    with refused(ClientError, "ValidationException", second):
        describe(registry, second)


def test_a_version_is_described_as_it_was_made(registry, group):
    package = create(
        registry,
        group,
        ModelPackageDescription="reads digits",
        ModelApprovalStatus="Approved",
        CustomerMetadataProperties={"sha256": "0" * 64},
        ModelLifeCycle=CYCLE,
        Domain="COMPUTER_VISION",
        Task="IMAGE_CLASSIFICATION",
        SkipModelValidation="All",
    )
    found = describe(registry, package)

    assert found["ModelPackageGroupName"] == group
    assert found["ModelPackageVersion"] == 1
    assert found["InferenceSpecification"] == CONTAINERS
    assert found["ModelPackageDescription"] == "reads digits"
    assert found["ModelApprovalStatus"] == "Approved"
    assert found["CustomerMetadataProperties"] == {"sha256": "0" * 64}
    assert found["ModelLifeCycle"] == CYCLE
    assert found["ModelPackageStatus"] == "Completed"
    assert "LastModifiedTime" not in found
    assert describe(registry, f"{group}/1")["ModelPackageArn"] == package


def test_approval_is_pending_until_it_is_given(registry, group):
    package = create(registry, group)
    assert describe(registry, package)["ModelApprovalStatus"] == "PendingManualApproval"

    registry.update_model_package(
        ModelPackageArn=package, ModelApprovalStatus="Approved", ApprovalDescription="tried"
    )
    found = describe(registry, package)
    assert found["ModelApprovalStatus"] == "Approved"
    assert found["ApprovalDescription"] == "tried"


def test_an_update_changes_what_it_names_and_nothing_else(registry, group):
    package = create(registry, group, CustomerMetadataProperties={"a": "1", "b": "2"})
    before = describe(registry, package)
    registry.update_model_package(
        ModelPackageArn=package,
        CustomerMetadataProperties={"b": "3", "c": "4"},
        CustomerMetadataPropertiesToRemove=["a", "never"],
    )
    registry.update_model_package(ModelPackageArn=package, ModelLifeCycle=CYCLE)
    after = describe(registry, package)

    assert after["CustomerMetadataProperties"] == {"b": "3", "c": "4"}
    assert after["ModelLifeCycle"] == CYCLE
    assert after["LastModifiedTime"] >= before["CreationTime"]
    changed = {"CustomerMetadataProperties", "ResponseMetadata"}
    assert {name: after[name] for name in before if name not in changed} == {
        name: before[name] for name in before if name not in changed
    }


def test_metadata_has_50_properties_at_most(registry, group):
    package = create(registry, group, CustomerMetadataProperties={str(i): "x" for i in range(50)})

    with refused(ClientError, 50, 51):
        registry.update_model_package(
            ModelPackageArn=package, CustomerMetadataProperties={"51": "x"}
        )


def test_specifications_are_added_under_names_of_their_own(registry, group):
    package = create(registry, group)

    def add(*names):
        added = [{"Name": name, "Containers": CONTAINERS["Containers"]} for name in names]
        registry.update_model_package(
            ModelPackageArn=package, AdditionalInferenceSpecificationsToAdd=added
        )

    add("small", "large")
    with refused(ClientError, "name", "specification"):
        add("small")
    with refused(ClientError, 15, 16):
        add(*(f"more-{i}" for i in range(14)))
    found = describe(registry, package)["AdditionalInferenceSpecifications"]
    assert [each["Name"] for each in found] == ["small", "large"]


def test_a_token_makes_a_repeated_call_harmless(registry, group):
    token = f"token-{group}"
    made = {create(registry, group, ClientToken=token) for _ in range(2)}

    assert len(made) == 1
    assert versions(registry.list_model_packages(ModelPackageGroupName=group)) == [1]


def test_versions_are_filtered_sorted_and_paged(registry, group):
    packages = [create(registry, group) for _ in range(12)]
    for package in packages[::2]:
        registry.update_model_package(ModelPackageArn=package, ModelApprovalStatus="Approved")
    paginator = registry.get_paginator("list_model_packages")

    def listed(**how):
        size = {"PageSize": 5}
        pages = paginator.paginate(ModelPackageGroupName=group, PaginationConfig=size, **how)
        return [version for page in pages for version in versions(page)]

    assert listed() == [*range(1, 13)]
    assert listed(SortBy="Name", SortOrder="Descending") == [*range(12, 0, -1)]
    assert listed(ModelApprovalStatus="Approved", SortOrder="Descending") == [11, 9, 7, 5, 3, 1]
    when = describe(registry, packages[0])["CreationTime"]
    assert listed(CreationTimeBefore=when) == []
    assert listed(CreationTimeAfter=when - timedelta(seconds=1)) == [*range(1, 13)]


def test_a_token_of_another_list_is_refused(registry, group):
    for token in ["nonsense", "MQ==", "WyJhIiwgImIiXQ=="]:
        create(registry, group)
        with refused(ClientError, "ValidationException", "NextToken"):
            registry.list_model_packages(ModelPackageGroupName=group, NextToken=token)


def test_many_are_described_at_once_and_what_is_missing_is_named(registry, group):
    package = create(registry, group)
    missing = package.removesuffix("1") + "99"
    found = registry.batch_describe_model_package(ModelPackageArnList=[package, missing])

    assert found["ModelPackageSummaries"][package]["ModelPackageVersion"] == 1
    assert list(found["BatchDescribeModelPackageErrorMap"]) == [missing]
    error = found["BatchDescribeModelPackageErrorMap"][missing]
    assert error["ErrorCode"] == "ValidationException"


def test_a_package_without_versions_stands_alone(registry, group):
    name = f"alone-{group}"
    made = registry.create_model_package(ModelPackageName=name, InferenceSpecification=CONTAINERS)
    create(registry, group)

    def listed(**how):
        page = registry.list_model_packages(NameContains=group, **how)
        return [each["ModelPackageArn"] for each in page["ModelPackageSummaryList"]]

    assert "ModelApprovalStatus" not in describe(registry, name)
    assert listed() == [made["ModelPackageArn"]]
    assert len(listed(ModelPackageType="Both")) == 2
    assert listed(ModelPackageType="Versioned") == [
        describe(registry, f"{group}/1")["ModelPackageArn"]
    ]
    with refused(ClientError, name):
        registry.create_model_package(ModelPackageName=name)
    with refused(ClientError, "ModelApprovalStatus"):
        registry.update_model_package(
            ModelPackageArn=made["ModelPackageArn"], ModelApprovalStatus="Approved"
        )
    registry.delete_model_package(ModelPackageName=name)


def test_a_card_is_left_out_where_metadata_are_enough(registry, group):
    card = {"ModelCardContent": json.dumps({"a": 1}), "ModelCardStatus": "Draft"}
    package = create(registry, group, ModelCard=card)
    short = registry.describe_model_package(ModelPackageName=package, IncludedData="MetadataOnly")

    assert describe(registry, package)["ModelCard"] == card
    assert "ModelCardContent" not in short["ModelCard"]


def test_a_version_has_no_name_of_its_own(registry, group):
    told = describe(registry, create(registry, group))
    assert "ModelPackageName" not in told
    assert (told["ModelPackageGroupName"], told["ModelPackageVersion"]) == (group, 1)


def test_a_version_that_is_not_for_the_marketplace_may_say_so(registry, group):
    made = create(registry, group, CertifyForMarketplace=False)
    assert describe(registry, made)["CertifyForMarketplace"] is False


@pytest.mark.parametrize(
    ("more", "named"),
    [
        ({"ModelPackageName": "both"}, "ModelPackageName"),
        ({"Tags": [{"Key": "a", "Value": "b"}]}, "Tags"),
        ({"CertifyForMarketplace": True}, "CertifyForMarketplace"),
        ({"ModelPackageGroupName": "nobody"}, "nobody"),
    ],
)
def test_what_aws_refuses_of_a_version_is_refused_here(registry, group, more, named):
    with refused(ClientError, "ValidationException", named):
        registry.create_model_package(**{"ModelPackageGroupName": group} | more)


def test_a_package_needs_a_name_or_a_group(registry):
    with refused(ClientError, "ModelPackageName", "ModelPackageGroupName"):
        registry.create_model_package()
    with refused(ClientError, "ModelApprovalStatus"):
        registry.create_model_package(ModelPackageName="x", ModelApprovalStatus="Approved")


# --- tags


def test_a_group_keeps_tags(registry):
    made = registry.create_model_package_group(
        ModelPackageGroupName="tagged", Tags=[{"Key": "a", "Value": "1"}]
    )
    arn = {"ResourceArn": made["ModelPackageGroupArn"]}
    registry.add_tags(**arn, Tags=[{"Key": "a", "Value": "2"}, {"Key": "b", "Value": "ä 3"}])
    expected = [{"Key": "a", "Value": "2"}, {"Key": "b", "Value": "ä 3"}]
    assert registry.list_tags(**arn)["Tags"] == expected

    registry.delete_tags(**arn, TagKeys=["a"])
    assert [each["Key"] for each in registry.list_tags(**arn)["Tags"]] == ["b"]


def test_tags_have_limits(registry, group):
    made = registry.describe_model_package_group(ModelPackageGroupName=group)
    arn = {"ResourceArn": made["ModelPackageGroupArn"]}

    def tags(*keys):
        return [{"Key": key, "Value": ""} for key in keys]

    with refused(ClientError, "Tag keys", "unique"):
        registry.add_tags(**arn, Tags=tags("a", "a"))
    with refused(ClientError, "'aws:x'"):
        registry.add_tags(**arn, Tags=tags("aws:x"))
    registry.add_tags(**arn, Tags=tags(*map(str, range(50))))
    with refused(ClientError, "AddTags", 50):
        registry.add_tags(**arn, Tags=tags("one more"))
    assert len(registry.list_tags(**arn)["Tags"]) == 50
    with refused(ClientError, "ResourceNotFound", f"{arn['ResourceArn']}x"):
        registry.list_tags(ResourceArn=arn["ResourceArn"] + "x")
    with refused(ClientError, group):
        registry.create_model_package_group(ModelPackageGroupName=group, Tags=tags("a"))


def test_a_refused_group_leaves_nothing(registry):
    reserved = [{"Key": "aws:x", "Value": ""}]
    with refused(ClientError, "'aws:x'"):
        registry.create_model_package_group(ModelPackageGroupName="refused", Tags=reserved)
    with refused(ClientError, "refused"):
        registry.describe_model_package_group(ModelPackageGroupName="refused")


# --- what botocore's model says of parameters


def refusal(cloud, operation, **parameters):
    """The refusal of parameters that boto3 itself might not send."""
    status, error = wire.ask_sagemaker(cloud, operation, parameters)
    assert status == 400
    return error


@pytest.mark.parametrize(
    ("parameters", "said"),
    [
        ({"ModelPackageGroupName": "x" * 64}, "less than or equal to 63"),
        ({"ModelPackageGroupName": "-x"}, "regular expression"),
        ({"ModelPackageGroupName": "x", "ModelPackageGroupDescription": "x" * 1025}, "1024"),
        ({}, "must not be null"),
        ({"ModelPackageGroupName": "x", "Tags": [{"Key": "a"}]}, "tags.1.member.value"),
    ],
)
def test_parameters_are_checked(cloud, parameters, said):
    error = refusal(cloud, "CreateModelPackageGroup", **parameters)

    assert error["Code"] == "ValidationException"
    assert said in error["Message"]


@pytest.mark.parametrize(
    ("parameters", "said"),
    [
        ({"ModelApprovalStatus": "Maybe"}, "enum value set: [Approved, Rejected"),
        ({"InferenceSpecification": {"Containers": []}}, "greater than or equal to 1"),
        ({"CustomerMetadataProperties": {}}, "length greater than or equal to 1"),
        ({"CustomerMetadataProperties": {"": "x"}}, "customerMetadataProperties.key"),
    ],
)
def test_inner_parameters_are_checked(cloud, group, parameters, said):
    name = {"ModelPackageGroupName": group}
    error = refusal(cloud, "CreateModelPackage", **name | parameters)

    assert error["Code"] == "ValidationException"
    assert said in error["Message"]


def test_numbers_are_checked(cloud):
    for wrong in (0, 101):
        error = refusal(cloud, "ListModelPackageGroups", MaxResults=wrong)
        assert error["Code"] == "ValidationException"


@pytest.mark.parametrize("wrong", ["5", 5.5, True, [5], {"a": 5}])
def test_types_are_checked(cloud, wrong):
    error = refusal(cloud, "ListModelPackageGroups", MaxResults=wrong)

    assert error["Code"] == "SerializationException"
    assert "maxResults must be of the type integer" in error["Message"]


def test_every_pattern_of_the_service_is_understood_or_lets_pass():
    shapes_of = validation.service("sagemaker")._service_description["shapes"]
    patterns = {shape["pattern"] for shape in shapes_of.values() if "pattern" in shape}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        compiled = {pattern: validation._compile_pattern(pattern) for pattern in patterns}

    assert len(patterns) > 100
    lenient = [pattern for pattern, made in compiled.items() if made.pattern == ".*" != pattern]
    assert all(re.search(r"\\p\{[PS]\}|\\uD800|\$\{1", pattern) for pattern in lenient)
