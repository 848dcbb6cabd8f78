"""Versions on the local cloud's Model Registry and back; what only AWS does is played back."""

import base64
import json
import zlib
from dataclasses import asdict

import numpy as np
import pytest

from tests.played import PlayedCloud
from tests.refused import refused
from workbench.cloud.client import CloudClient
from workbench.cloud.registry_sync import pull, push
from workbench.errors import CloudError, Damaged, InvalidInput, NotAvailable, NotFound
from workbench.localcloud import LocalCloud
from workbench.registry.api import Registry

GROUP = "digits-mlp-small"


@pytest.fixture(scope="module")
def cloud(tmp_path_factory):
    with LocalCloud(tmp_path_factory.mktemp("cloud")) as cloud:
        yield cloud


TRAITS = {"licence": "MIT {1}", "age": 12, "price": 2.0, "reviewed": True}


@pytest.fixture
def group(request):
    """A name that no other test has."""
    return f"g-{zlib.crc32(request.node.nodeid.encode())}"


@pytest.fixture
def mine(tmp_path, model, group):
    """A registry of two versions: one approved, one in production that nobody looked at."""
    registry = Registry(tmp_path / "mine")
    samples, lineage = model.samples(), {"data": "digits, {1} & \u00fc", "seed": 1}
    more = {"lineage": lineage, "traits": TRAITS, "task": "digits: 0, 1"}
    registry.register(group, model.path, samples=samples, **more)
    registry.register(group, model.path, accuracy=0.5, stage="Production", who="ada")
    registry.approve(group, 1, who="ada", why="better by 2 %")
    return registry


@pytest.fixture
def other(tmp_path):
    return Registry(tmp_path / "other")


def package(cloud, arn):
    with CloudClient(cloud) as aws:
        return aws.sagemaker("describe_model_package", ModelPackageName=arn)


def test_versions_come_back_as_they_went(cloud, mine, other, group):
    arns = mine.push(cloud, groups=[group])
    come = other.pull(cloud, groups=[group])

    assert [arn.rsplit("/", 1)[1] for arn in arns] == ["1", "2"]
    for went, came in zip(mine.versions(group), come, strict=True):
        assert (came.name, came.sha256) == (went.name, went.sha256)
        assert (came.traits, came.lineage) == (went.traits, went.lineage)
        assert (came.approval, came.stage) == (went.approval, went.stage)
        assert np.array_equal(came.samples().inputs, went.samples().inputs)
        assert came.session().run(came.samples().inputs[:3]).shape == (3, 10)
    assert other.verify() == []


def test_a_model_of_columns_comes_back_with_its_columns_and_rows(
    cloud, other, group, tmp_path, registry
):
    went = registry["penguins-logistic"]
    mine = Registry(tmp_path / "columns")
    mine.register(group, went.path, samples=went.samples(), task="penguins")
    mine.push(cloud, groups=[group])

    (came,) = other.pull(cloud, groups=[group])

    assert came.traits.input_schema == went.traits.input_schema
    assert came.samples().inputs.dtype == went.samples().inputs.dtype
    assert str(came.samples().inputs.tolist()) == str(went.samples().inputs.tolist())  # some NaN


def test_traits_of_users_can_be_read_there_and_come_back_with_their_types(
    cloud, mine, other, group
):
    arn, *_ = mine.push(cloud, groups=[group])
    metadata = package(cloud, arn)["CustomerMetadataProperties"]
    assert metadata["user.licence"] == "MIT -1-"
    assert [metadata[f"user.{name}"] for name in ("age", "price", "reviewed")] == [
        "12",
        "2.0",
        "true",
    ]

    came, _ = other.pull(cloud, groups=[group])
    assert came.traits.user == TRAITS
    assert {name: type(value) for name, value in came.traits.user.items()} == {
        name: type(value) for name, value in TRAITS.items()
    }


def test_the_reason_of_an_approval_goes_along(cloud, mine, other, group):
    arns = mine.push(cloud, groups=[group])
    other.pull(cloud, groups=[group])

    assert package(cloud, arns[0])["ApprovalDescription"] == "better by 2 % (ada)"
    last = [c for c in other.history(group, 1) if c.field == "approval"][-1]
    assert (last.value, last.why) == ("Approved", "better by 2 % (ada)")
    assert last.who == "Model Registry of local cloud"


def test_traits_can_be_read_on_the_cloud(cloud, mine, group):
    told = package(cloud, mine.push(cloud, groups=[group])[0])["CustomerMetadataProperties"]
    assert told["trait.task"] == "digits: 0- 1"
    assert told["trait.kind"] == "classification"
    assert float(told["trait.accuracy"]) > 0.9
    assert told["workbench.sha256"] == mine.version(group, 1).sha256


def test_pushing_again_adds_nothing_and_brings_decisions(cloud, mine, other, group):
    first = mine.push(cloud, groups=[group])
    mine.reject(group, 1, why="it drifted", who="bob")
    mine.set_stage(group, 1, "Retired")

    assert mine.push(cloud, groups=[group]) == first
    told = package(cloud, first[0])
    assert told["ModelApprovalStatus"] == "Rejected"
    assert told["ApprovalDescription"] == "it drifted (bob)"
    assert told["ModelLifeCycle"]["Stage"] == "Retired"


def test_pulling_again_brings_decisions_that_were_made_there(cloud, mine, other, group):
    arns = mine.push(cloud, groups=[group])
    other.pull(cloud, groups=[group])
    with CloudClient(cloud) as aws:
        aws.sagemaker(
            "update_model_package",
            ModelPackageArn=arns[1],
            ModelApprovalStatus="Approved",
            ApprovalDescription="in the console",
        )

    come = other.pull(cloud, groups=[group])

    assert [each.approval for each in come] == ["Approved", "Approved"]
    assert other.history(group, 2)[-1].why == "in the console"


def test_all_groups_go_and_come_where_none_is_named(cloud, mine, other, group):
    assert len(push(mine, cloud)) == 2
    assert group in {each.group for each in pull(other, cloud)}


def test_another_model_of_the_same_number_is_refused(cloud, mine, other, group, registry):
    another = registry["digits-mlp-wide"]
    mine.push(cloud, groups=[group])
    other.register(group, another.path)

    with refused(CloudError, "Version 1", repr(group)):
        other.push(cloud, groups=[group])
    with refused(InvalidInput, f"{group}:1"):
        other.pull(cloud, groups=[group])


def test_what_is_not_there_is_not_found(cloud, mine, other):
    with refused(NotFound, "'nowhere'"):
        other.pull(cloud, groups=["nowhere"])
    with refused(NotFound, "'nowhere'"):
        mine.push(cloud, groups=["nowhere"])


def test_versions_that_others_made_are_left_alone(cloud, other, group):
    with CloudClient(cloud) as aws:
        aws.sagemaker("create_model_package_group", ModelPackageGroupName=group)
        aws.sagemaker(
            "create_model_package",
            ModelPackageGroupName=group,
            InferenceSpecification={
                "Containers": [{"Image": "theirs", "ModelDataUrl": "s3://theirs/model.tar.gz"}],
                "SupportedContentTypes": ["text/csv"],
                "SupportedResponseMIMETypes": ["text/csv"],
            },
        )
    with refused(NotFound, group):
        other.pull(cloud, groups=[group])


@pytest.mark.parametrize("case", ["another model", "another samples", "no model", "no samples"])
def test_a_file_that_is_not_what_was_pushed_is_refused(cloud, mine, other, group, case):
    change, file = case.split()
    (arn, _) = mine.push(cloud, groups=[group])
    told = package(cloud, arn)
    urls = {
        "model": told["InferenceSpecification"]["Containers"][0]["ModelDataUrl"],
        "samples": told["CustomerMetadataProperties"]["workbench.samples"],
    }
    bucket, _, key = urls[file].removeprefix("s3://").partition("/")
    with CloudClient(cloud) as aws:
        kept = aws.s3("get_object", Bucket=bucket, Key=key)["Body"].read()
        if change == "no":
            aws.s3("delete_object", Bucket=bucket, Key=key)
        else:
            aws.s3("put_object", Bucket=bucket, Key=key, Body=b"something else")
        with refused(Damaged, f"{group}:1"):
            other.pull(cloud, groups=[group])
        aws.s3("put_object", Bucket=bucket, Key=key, Body=kept)
    assert group not in other


@pytest.mark.parametrize("text", ["!", base64.b64encode(zlib.compress(b"[1")).decode()])
def test_metadata_that_was_changed_is_refused(cloud, mine, other, group, text):
    (arn, _) = mine.push(cloud, groups=[group])
    with CloudClient(cloud) as aws:
        aws.sagemaker(
            "update_model_package",
            ModelPackageArn=arn,
            CustomerMetadataProperties={"workbench.facts.0": text.replace("!", "AAAA")},
        )
    with refused(Damaged, f"{group}:1"):
        other.pull(cloud, groups=[group])
    assert group not in other


def test_a_lineage_that_is_too_long_is_refused(cloud, tmp_path, model, group):
    registry = Registry(tmp_path / "mine")
    noise = np.random.default_rng(0).integers(0, 256, 20_000, np.uint8).tobytes().hex()
    registry.register(group, model.path, lineage={"noise": noise})
    with refused(InvalidInput, f"{group}:1", 50):
        registry.push(cloud, groups=[group])


def test_pushing_needs_an_image(mine):
    with refused(NotAvailable, "WORKBENCH_IMAGE"):
        mine.push(PlayedCloud(image=None))


def test_a_push_that_is_not_allowed_says_so(mine, group):
    cloud = PlayedCloud()
    cloud.answer("s3", "head_bucket")
    cloud.refuse("sagemaker", "describe_model_package_group", "AccessDeniedException")
    with refused(NotAvailable, "permission"):
        mine.push(cloud, groups=[group])


def test_a_version_is_restored_under_its_number_once(other, model):
    facts = {"traits": json.loads(json.dumps(asdict(model.traits))), "lineage": {}}
    content, samples = model.path.read_bytes(), model.samples_path.read_bytes()

    restored = other.restore("g", 7, content=content, samples=samples, facts=facts)

    assert (restored.version, restored.approval) == (7, "PendingManualApproval")
    assert restored.traits == model.traits
    with refused(InvalidInput, "version 7", "'g'"):
        other.restore("g", 7, content=content, samples=samples, facts=facts)
    with refused(InvalidInput, "'input_schema'"):
        other.restore("g", 8, content=content, samples=samples, facts={"traits": {}})
