"""Versions and aliases of Lambda on a local cloud, through boto3: made, moved, weighed, called."""

import base64
import hashlib
import json
import random
import urllib.error
import urllib.request
from contextlib import closing

import pytest
from botocore.exceptions import ClientError

from tests.hosted import until
from tests.lambdas import Lambdas, zipped
from workbench.localcloud import LocalCloud
from workbench.localcloud.lambda_.versions import Alias


@pytest.fixture(scope="module")
def lambdas(tmp_path_factory):
    with (
        LocalCloud(tmp_path_factory.mktemp("cloud") / "cloud") as cloud,
        closing(Lambdas(cloud)) as made,
    ):
        yield made


@pytest.fixture
def name(lambdas):
    """A function with two versions of different memory, gone afterwards."""
    made = lambdas.make(Publish=True, MemorySize=128)
    lambdas.client.update_function_configuration(FunctionName=made, MemorySize=256)
    lambdas.client.publish_version(FunctionName=made)
    yield made
    lambdas.client.delete_function(FunctionName=made)


def refuse(call, **parameters):
    """Return code, status and message of the error of a call."""
    with pytest.raises(ClientError) as error:
        call(**parameters)
    told = error.value.response
    status = told["ResponseMetadata"]["HTTPStatusCode"]
    return told["Error"]["Code"], status, told["Error"]["Message"]


def test_an_alias_answers_with_the_version_it_leads_to_until_it_leads_elsewhere(lambdas, name):
    client = lambdas.client
    made = client.create_alias(FunctionName=name, Name="live", FunctionVersion="1")
    before = lambdas.invoke(name, Qualifier="live")
    moved = client.update_alias(FunctionName=name, Name="live", FunctionVersion="2")
    after = lambdas.invoke(f"{name}:live")
    told = client.get_function_configuration(FunctionName=name, Qualifier="live")

    assert made["AliasArn"].endswith(f":function:{name}:live")
    assert made["ResponseMetadata"]["HTTPStatusCode"] == 201
    assert before["ExecutedVersion"] == "1"
    assert before["Payload"]["memory"] == "128"
    assert before["Payload"]["arn"] == made["AliasArn"]
    assert (after["ExecutedVersion"], after["Payload"]["memory"]) == ("2", "256")
    assert lambdas.invoke(made["AliasArn"])["ExecutedVersion"] == "2"
    assert (told["FunctionArn"], told["Version"]) == (made["AliasArn"], "2")
    assert client.get_alias(FunctionName=name, Name="live")["RevisionId"] == moved["RevisionId"]
    assert moved["RevisionId"] != made["RevisionId"]


def test_aliases_are_listed_by_version_and_in_pages(lambdas, name):
    client = lambdas.client
    for alias, version in (("a", "1"), ("b", "$LATEST"), ("c", "1")):
        client.create_alias(FunctionName=name, Name=alias, FunctionVersion=version)
    pages = client.get_paginator("list_aliases").paginate(
        FunctionName=name, PaginationConfig={"PageSize": 2}
    )
    of_one = client.list_aliases(FunctionName=name, FunctionVersion="1")["Aliases"]
    client.delete_alias(FunctionName=name, Name="a")
    again = client.delete_alias(FunctionName=name, Name="a")

    assert [each["Name"] for page in pages for each in page["Aliases"]] == ["b", "c"]
    assert [each["Name"] for each in of_one] == ["a", "c"]
    assert again["ResponseMetadata"]["HTTPStatusCode"] == 204


def test_what_aws_refuses_of_aliases_is_refused(lambdas, name):
    client = lambdas.client
    client.create_alias(FunctionName=name, Name="live", FunctionVersion="1")
    alias = {"FunctionName": name, "Name": "live"}
    invalid = "InvalidParameterValueException"

    def weigh(version, *others):
        weights = {"AdditionalVersionWeights": dict.fromkeys(others, 0.5)}
        return refuse(client.update_alias, **alias, FunctionVersion=version, RoutingConfig=weights)[
            0
        ]

    taken = refuse(client.create_alias, **alias, FunctionVersion="1")
    assert taken[:2] == ("ResourceConflictException", 409)
    assert "Alias already exists" in taken[2]
    missing = refuse(client.get_alias, FunctionName=name, Name="gone")
    assert missing[:2] == ("ResourceNotFoundException", 404)
    assert refuse(client.update_alias, **alias, FunctionVersion="9")[1] == 404
    stale = refuse(client.update_alias, **alias, RevisionId="00000000")
    assert stale[:2] == ("PreconditionFailedException", 412)
    assert (weigh("1", "1"), weigh("$LATEST", "1"), weigh("1", "2", "3")) == (
        invalid,
        invalid,
        "ResourceNotFoundException",
    )
    numeric = refuse(client.create_alias, FunctionName=name, Name="7", FunctionVersion="1")
    assert numeric[0] == "ValidationException"
    held = refuse(client.delete_function, FunctionName=name, Qualifier="1")
    assert held[:2] == ("ResourceConflictException", 409)
    assert held[2].endswith("reference it: [live]")
    assert refuse(client.delete_function, FunctionName=name, Qualifier="live")[0] == invalid
    assert refuse(client.invoke, FunctionName=f"{name}:1", Qualifier="live")[0] == invalid
    assert client.get_alias(**alias)["FunctionVersion"] == "1"


def test_a_version_is_deleted_alone(lambdas, name):
    for qualifier in ("1", "9"):  # AWS takes one that is not there as well
        answer = lambdas.client.delete_function(FunctionName=name, Qualifier=qualifier)
        assert answer["ResponseMetadata"]["HTTPStatusCode"] == 204
    listed = lambdas.client.list_versions_by_function(FunctionName=name)["Versions"]
    assert [each["FunctionArn"].rpartition(":")[2] for each in listed] == ["$LATEST", "2"]


def test_an_event_draws_its_version_by_weight():
    alias = Alias(
        {"FunctionVersion": "1", "RoutingConfig": {"AdditionalVersionWeights": {"2": 0.3}}}
    )
    generator = random.Random(1)  # noqa: S311 - a test
    drawn = [alias.draw_version(generator) for _ in range(10_000)]

    share = drawn.count("2") / len(drawn)
    assert abs(share - 0.3) < 4 * (0.3 * 0.7 / len(drawn)) ** 0.5
    assert set(drawn) == {"1", "2"}


def test_weights_of_an_alias_are_honoured_and_end_with_the_next_update(lambdas, name):
    client = lambdas.client
    whole = {"AdditionalVersionWeights": {"2": 1.0}}
    client.create_alias(FunctionName=name, Name="w", FunctionVersion="1", RoutingConfig=whole)
    told = client.get_alias(FunctionName=name, Name="w")
    shifted = lambdas.invoke(name, Qualifier="w")
    client.update_alias(FunctionName=name, Name="w", RoutingConfig={"AdditionalVersionWeights": {}})

    assert told["RoutingConfig"] == whole
    assert shifted["ExecutedVersion"] == "2"
    assert lambdas.invoke(name, Qualifier="w")["ExecutedVersion"] == "1"
    assert "RoutingConfig" not in client.get_alias(FunctionName=name, Name="w")
    with closing(lambdas.cloud.client("cloudwatch")) as cloudwatch:
        found = cloudwatch.list_metrics(Namespace="AWS/Lambda", MetricName="Invocations")
    seen = [
        {each["Name"]: each["Value"] for each in metric["Dimensions"]}
        for metric in found["Metrics"]
    ]
    assert {"FunctionName": name, "Resource": f"{name}:w", "ExecutedVersion": "2"} in seen


def test_an_alias_has_a_policy_of_its_own(lambdas, name):
    client = lambdas.client
    client.create_alias(FunctionName=name, Name="live", FunctionVersion="1")
    client.add_permission(
        FunctionName=name,
        Qualifier="live",
        StatementId="s",
        Action="lambda:InvokeFunction",
        Principal="events.amazonaws.com",
    )
    client.update_alias(FunctionName=name, Name="live", FunctionVersion="2")
    told = json.loads(client.get_policy(FunctionName=name, Qualifier="live")["Policy"])

    assert told["Statement"][0]["Resource"].endswith(f"{name}:live")
    assert refuse(client.get_policy, FunctionName=name, Qualifier="2")[1] == 404


def test_what_an_alias_has_provisioned_follows_it(lambdas, name):
    client = lambdas.client
    config = {"FunctionName": name, "Qualifier": "live"}
    put = client.put_provisioned_concurrency_config
    client.create_alias(FunctionName=name, Name="live", FunctionVersion="1")
    put(**config, ProvisionedConcurrentExecutions=1)

    def provisioned():
        told = client.get_provisioned_concurrency_config(**config)
        return told["Status"] == "READY"

    until(provisioned)
    first = lambdas.invoke(name, Qualifier="live")["Payload"]["variables"]
    again = refuse(put, FunctionName=name, Qualifier="1", ProvisionedConcurrentExecutions=1)
    client.update_alias(FunctionName=name, Name="live", FunctionVersion="2")
    until(provisioned)
    second = lambdas.invoke(name, Qualifier="live")["Payload"]["variables"]
    listed = client.list_provisioned_concurrency_configs(FunctionName=name)

    kind = "AWS_LAMBDA_INITIALIZATION_TYPE"
    assert (first[kind], second[kind]) == ("provisioned-concurrency", "provisioned-concurrency")
    assert second["AWS_LAMBDA_FUNCTION_VERSION"] == "2"
    assert again[0] == "InvalidParameterValueException"
    (only,) = listed["ProvisionedConcurrencyConfigs"]
    assert only["FunctionArn"].endswith(f"{name}:live")
    weights = {"AdditionalVersionWeights": {"1": 0.5}}
    shared = refuse(client.update_alias, FunctionName=name, Name="live", RoutingConfig=weights)
    assert shared[0] == "InvalidParameterValueException"
    client.delete_alias(FunctionName=name, Name="live")
    assert not client.list_provisioned_concurrency_configs(FunctionName=name)[
        "ProvisionedConcurrencyConfigs"
    ]


def test_aliases_are_there_again_after_a_restart(tmp_path):
    with LocalCloud(tmp_path / "cloud") as cloud, closing(Lambdas(cloud)) as before:
        name = before.make(Publish=True)
        made = before.client.create_alias(FunctionName=name, Name="a", FunctionVersion="1")
        before.client.put_provisioned_concurrency_config(
            FunctionName=name, Qualifier="a", ProvisionedConcurrentExecutions=1
        )

    with LocalCloud(tmp_path / "cloud") as cloud, closing(Lambdas(cloud)) as after:
        told = after.client.get_alias(FunctionName=name, Name="a")
        read = after.client.get_provisioned_concurrency_config
        until(lambda: read(FunctionName=name, Qualifier="a")["Status"] == "READY")
        after.client.delete_function(FunctionName=name)

    with LocalCloud(tmp_path / "cloud") as cloud, closing(Lambdas(cloud)) as again:
        again.make(FunctionName=name, Publish=True)
        none = again.client.list_aliases(FunctionName=name)["Aliases"]

    assert {**told, "ResponseMetadata": 0} == {**made, "ResponseMetadata": 0}
    assert none == []


def test_the_zip_of_a_function_is_fetched_from_where_its_code_lies(lambdas, name):
    told = lambdas.client.get_function(FunctionName=name, Qualifier="1")
    location = told["Code"]["Location"]
    with urllib.request.urlopen(location) as answer:
        content = answer.read()
    digest = base64.b64encode(hashlib.sha256(content).digest()).decode()

    assert content == zipped()
    assert digest == told["Configuration"]["CodeSha256"]
    for wrong in (location.partition("?")[0], location.replace("/code/", "/code/x")):
        with pytest.raises(urllib.error.HTTPError) as error:
            urllib.request.urlopen(wrong)
        with error.value as refused:
            assert refused.code in (403, 404)


def test_what_is_not_offered_is_501_before_its_parameters_are_looked_at(lambdas):
    client = lambdas.client
    code, status, message = refuse(
        client.create_event_source_mapping, FunctionName="no name at all"
    )
    assert (code, status) == ("NotImplemented", 501)
    assert "CreateEventSourceMapping" in message
    sagemaker = lambdas.cloud.client("sagemaker")
    with closing(sagemaker):
        wrong = {"NotebookInstanceName": "x" * 500, "InstanceType": "none", "RoleArn": "-" * 20}
        assert refuse(sagemaker.create_notebook_instance, **wrong)[1] == 501
