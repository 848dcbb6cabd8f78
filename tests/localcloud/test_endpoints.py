"""Endpoints of the local cloud through boto3: their life, and what they survive."""

import os
import signal
import threading
import time

import pytest
from botocore.exceptions import ClientError

from tests.graphs import linear
from tests.hosted import Hosted, alive, archived, headers, on_instances, serverless, until
from tests.refused import refused, unnamed
from workbench.errors import InvalidInput
from workbench.localcloud import LocalCloud

IMAGE = "x/workbench"  # as the workbench's own is called
GOOD = "s3://models/good.tar.gz"


@pytest.fixture(scope="module", name="hosted")
def _hosted():
    hosted = Hosted(keep_alive=600.0)
    hosted.make_models()
    yield hosted
    hosted.close()


@pytest.fixture(scope="module", name="steady")
def _steady(hosted):
    """An endpoint that no test changes."""
    return hosted.endpoint(name="steady")


@pytest.fixture
def endpoint(hosted):
    """Make endpoints that are gone after the test."""
    names = []

    def make(*variants):
        names.append(hosted.endpoint(*variants))
        return names[-1]

    yield make
    for name in names:
        hosted.sagemaker.delete_endpoint(EndpointName=name)
        until(lambda name=name: not hosted.instances(name))


def refusal(call, **arguments):
    """Return the code and the message of the error that a call raises."""
    with pytest.raises(ClientError) as caught:
        call(**arguments)
    error = caught.value.response["Error"]
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 400
    return error["Code"], error["Message"]


# --- models and configurations


def test_a_model_is_described_as_it_was_made(hosted):
    told = hosted.sagemaker.describe_model(ModelName="good")
    assert told["ModelArn"] == "arn:aws:sagemaker:us-east-1:123456789012:model/good"
    assert told["PrimaryContainer"]["ModelDataUrl"] == "s3://models/good.tar.gz"
    assert told["ExecutionRoleArn"] == hosted.cloud.role
    assert told["CreationTime"].timestamp() == pytest.approx(time.time(), abs=3600)


def test_names_are_given_once(hosted):
    model = hosted.sagemaker.describe_model(ModelName="good")
    again = {"ModelName": "GOOD", "PrimaryContainer": model["PrimaryContainer"]}
    code, message = refusal(hosted.sagemaker.create_model, **again)
    assert code == "ValidationException"
    assert message == f'Cannot create already existing model "{model["ModelArn"]}".'


@pytest.mark.parametrize(
    ("container", "named"),
    [
        ({"ModelDataUrl": "s3://models/good.tar.gz"}, ["Image", "ModelPackageName"]),
        ({"Image": IMAGE, "ModelDataUrl": "s3://models/none"}, ["s3://models/none"]),
        (
            {"Image": IMAGE, "ModelDataUrl": "https://models/x"},
            ["ModelDataUrl", "https://models/x"],
        ),
        ({"Image": IMAGE, "ModelDataUrl": "s3://models"}, ["ModelDataUrl", "s3://models"]),
    ],
)
def test_a_model_that_cannot_be_deployed_is_refused(hosted, container, named):
    code, message = refusal(
        hosted.sagemaker.create_model, ModelName="never", PrimaryContainer=container
    )
    assert code == "ValidationException"
    assert not unnamed(message, *named)


@pytest.fixture(scope="module")
def own_code(hosted):
    """The address of a model that brings code."""
    content = archived({"model.onnx": linear(), "code/inference.py": b"def model_fn(d): ..."})
    hosted.s3.put_object(Bucket="models", Key="code.tar.gz", Body=content)
    return "s3://models/code.tar.gz"


def test_a_foreign_image_and_own_code_are_refused_unless_the_model_asks(hosted, own_code):
    create = hosted.sagemaker.create_model
    foreign = {"Image": "1.dkr.ecr.us-east-1.amazonaws.com/sklearn:1", "ModelDataUrl": GOOD}
    program = {"Image": IMAGE, "ModelDataUrl": own_code}
    named = {"SAGEMAKER_PROGRAM": "predict.py"}
    pointed = {"Image": IMAGE, "ModelDataUrl": GOOD, "Environment": named}

    for container, what in (
        (foreign, "amazonaws.com/workbench:latest"),
        (program, "code/inference.py"),
        (pointed, "predict.py"),
    ):
        code, message = refusal(create, ModelName="code", PrimaryContainer=container)
        assert (code, what in message) == ("ValidationException", True)
        assert "WORKBENCH_SERVE_ANYWAY=1" in message

    anyway = foreign | {"ModelDataUrl": own_code, "Environment": {"WORKBENCH_SERVE_ANYWAY": "1"}}
    create(ModelName="code", PrimaryContainer=anyway)
    name = hosted.endpoint(on_instances(model="code"))
    assert len(hosted.invoke(name)["Body"]) == 1


def test_code_that_came_after_the_model_fails_the_endpoint(hosted, own_code):
    late = {"Bucket": "models", "Key": "late.tar.gz"}
    hosted.s3.copy_object(**late, CopySource="models/good.tar.gz")
    container = {"Image": IMAGE, "ModelDataUrl": "s3://models/late.tar.gz"}
    hosted.sagemaker.create_model(ModelName="late", PrimaryContainer=container)
    hosted.s3.copy_object(**late, CopySource=own_code.removeprefix("s3://"))

    told = hosted.settled(hosted.endpoint(on_instances(model="late")))

    assert told["EndpointStatus"] == "Failed"
    assert "code/inference.py" in told["FailureReason"]


def test_a_model_has_one_container_or_several(hosted):
    create = hosted.sagemaker.create_model
    assert refusal(create, ModelName="never")[0] == "ValidationException"
    one = {"Image": IMAGE, "ModelDataUrl": "s3://models/good.tar.gz"}
    code, _ = refusal(create, ModelName="never", PrimaryContainer=one, Containers=[one])
    assert code == "ValidationException"


@pytest.mark.parametrize(
    ("parameters", "what"),
    [
        (
            {"Containers": [{"Image": IMAGE, "ModelDataUrl": "s3://models/good.tar.gz"}] * 2},
            "several",
        ),
        ({"PrimaryContainer": {"Image": IMAGE}}, "without ModelDataUrl"),
        (
            {
                "PrimaryContainer": {
                    "Image": IMAGE,
                    "Mode": "MultiModel",
                    "ModelDataUrl": GOOD,
                }
            },
            "many models",
        ),
        (
            {
                "PrimaryContainer": {
                    "Image": IMAGE,
                    "ModelDataSource": {
                        "S3DataSource": {
                            "S3Uri": "s3://models/",
                            "S3DataType": "S3Prefix",
                            "CompressionType": "None",
                        }
                    },
                }
            },
            "tar.gz",
        ),
    ],
)
def test_what_aws_has_and_the_local_cloud_has_not_is_said(hosted, parameters, what):
    with refused(ClientError, "NotImplemented", what):
        hosted.sagemaker.create_model(ModelName="never", **parameters)


def test_models_are_listed_in_pages_and_deleted(hosted):
    source = {
        "S3DataSource": {
            "S3Uri": "s3://models/good.tar.gz",
            "S3DataType": "S3Object",
            "CompressionType": "Gzip",
        }
    }
    for number in range(3):
        hosted.sagemaker.create_model(
            ModelName=f"listed-{number}",
            Containers=[{"Image": hosted.cloud.image, "ModelDataSource": source}],
        )
    pages = hosted.sagemaker.get_paginator("list_models").paginate(
        NameContains="listed", SortBy="Name", SortOrder="Ascending", MaxResults=2
    )
    names = [[model["ModelName"] for model in page["Models"]] for page in pages]
    assert names == [["listed-0", "listed-1"], ["listed-2"]]
    hosted.sagemaker.delete_model(ModelName="listed-1")
    code, message = refusal(hosted.sagemaker.describe_model, ModelName="listed-1")
    assert code == "ValidationException"
    assert message.startswith("Could not find model")


def test_only_an_approved_version_can_be_deployed(hosted, endpoint):
    sagemaker = hosted.sagemaker
    sagemaker.create_model_package_group(ModelPackageGroupName="group")
    package = sagemaker.create_model_package(
        ModelPackageGroupName="group",
        ModelApprovalStatus="PendingManualApproval",
        InferenceSpecification={
            "Containers": [
                {"Image": hosted.cloud.image, "ModelDataUrl": "s3://models/good.tar.gz"}
            ],
            "SupportedContentTypes": ["application/json"],
            "SupportedResponseMIMETypes": ["application/json"],
        },
    )["ModelPackageArn"]
    wanted = {"ModelName": "packaged", "Containers": [{"ModelPackageName": package}]}
    _, message = refusal(sagemaker.create_model, **wanted)
    assert "PendingManualApproval" in message
    sagemaker.update_model_package(ModelPackageArn=package, ModelApprovalStatus="Approved")
    sagemaker.create_model(**wanted)
    assert hosted.invoke(endpoint(on_instances(model="packaged")))["Body"]


@pytest.mark.parametrize(
    ("variants", "named"),
    [
        ([on_instances(model="none")], ["Could not find model"]),  # as AWS says it
        ([on_instances(), on_instances()], ["one, one"]),
        ([{"VariantName": "one", "ModelName": "good"}], ["InstanceType", "InitialInstanceCount"]),
        ([on_instances() | serverless()], ["one", "ServerlessConfig", "InstanceType"]),
        ([serverless(memory=1500)], ["1024, 2048, 3072, 4096, 5120, 6144", 1500]),
        ([serverless(most=2, ProvisionedConcurrency=3)], ["MaxConcurrency", 2, 3]),
        ([serverless(), on_instances("two")], ["serverless", "variant"]),
    ],
)
def test_a_configuration_that_cannot_be_is_refused(hosted, variants, named):
    code, message = refusal(
        hosted.sagemaker.create_endpoint_config,
        EndpointConfigName="never",
        ProductionVariants=variants,
    )
    assert code == "ValidationException"
    assert not unnamed(message, *named)


@pytest.mark.parametrize(
    ("variant", "more", "what"),
    [
        ({}, {"ShadowProductionVariants": [on_instances("shadow")]}, "shadow"),
        ({"ManagedInstanceScaling": {"Status": "ENABLED"}}, {}, "ManagedInstanceScaling"),
        ({"RoutingConfig": {"RoutingStrategy": "KV_AWARE"}}, {}, "KV_AWARE"),
    ],
)
def test_configurations_of_another_day_are_refused_by_name(hosted, variant, more, what):
    with refused(ClientError, "NotImplemented", what):
        hosted.sagemaker.create_endpoint_config(
            EndpointConfigName="never", ProductionVariants=[on_instances(**variant)], **more
        )
    with refused(ClientError, "NotImplemented", "ModelName"):
        hosted.config({"VariantName": "one", "InstanceType": "ml.c7g.large"})


def test_configurations_are_described_listed_and_deleted(hosted):
    name = hosted.config(serverless(most=7))
    told = hosted.sagemaker.describe_endpoint_config(EndpointConfigName=name)
    assert told["ProductionVariants"][0]["ServerlessConfig"]["MaxConcurrency"] == 7
    assert told["ProductionVariants"][0]["InitialVariantWeight"] == 1.0
    listed = hosted.sagemaker.list_endpoint_configs(NameContains=name)["EndpointConfigs"]
    assert [each["EndpointConfigArn"] for each in listed] == [told["EndpointConfigArn"]]
    hosted.sagemaker.delete_endpoint_config(EndpointConfigName=name)
    _, message = refusal(hosted.sagemaker.delete_endpoint_config, EndpointConfigName=name)
    assert message.startswith("Could not find endpoint configuration")


# --- the life of an endpoint


def test_an_endpoint_lives_from_creating_to_deleted(hosted):
    sagemaker = hosted.sagemaker
    arn = sagemaker.create_endpoint(
        EndpointName="Life",
        EndpointConfigName=hosted.config(on_instances(count=2)),
        Tags=[{"Key": "workbench", "Value": "test"}],
    )["EndpointArn"]
    (listed,) = sagemaker.list_endpoints(NameContains="life")["Endpoints"]
    assert listed["EndpointStatus"] == "Creating"
    with pytest.raises(
        ClientError, match=r"ValidationError.*Endpoint Life of account .* not found"
    ):
        hosted.invoke("Life")
    with pytest.raises(ClientError, match="Cannot update in-progress endpoint"):
        sagemaker.delete_endpoint(EndpointName="Life")
    told = hosted.settled("Life")
    assert told["EndpointStatus"] == "InService"
    assert told["EndpointArn"] == arn
    (variant,) = told["ProductionVariants"]
    assert (variant["CurrentInstanceCount"], variant["DesiredInstanceCount"]) == (2, 2)
    assert sagemaker.list_tags(ResourceArn=arn)["Tags"] == [{"Key": "workbench", "Value": "test"}]
    assert hosted.invoke("Life")["Body"]
    pids = [instance["pid"] for instance in hosted.instances("Life")]
    sagemaker.delete_endpoint(EndpointName="Life")
    until(lambda: not sagemaker.list_endpoints(NameContains="life")["Endpoints"])
    assert not any(map(alive, pids))
    code, message = refusal(sagemaker.describe_endpoint, EndpointName="Life")
    assert (code, message) == ("ValidationException", f'Could not find endpoint "{arn}".')


def test_botocores_own_waiters_see_it_at_once(hosted):
    sagemaker, often = hosted.sagemaker, {"Delay": 0, "MaxAttempts": 20}  # soon over, if told soon
    config = hosted.config(on_instances())
    sagemaker.create_endpoint(EndpointName="waited", EndpointConfigName=config)
    sagemaker.get_waiter("endpoint_in_service").wait(EndpointName="waited", WaiterConfig=often)
    sagemaker.delete_endpoint(EndpointName="waited")
    sagemaker.get_waiter("endpoint_deleted").wait(EndpointName="waited", WaiterConfig=often)


def test_a_container_that_never_answers_ping_fails_the_endpoint(hosted, endpoint):
    name = endpoint(on_instances(model="bad"))
    told = hosted.sagemaker.describe_endpoint(EndpointName=name)
    assert told["EndpointStatus"] == "Failed"
    assert "did not pass the ping health check" in told["FailureReason"]
    assert "model.onnx" in told["FailureReason"]
    assert hosted.instances(name) == []
    _, message = refusal(
        hosted.sagemaker.update_endpoint,
        EndpointName=name,
        EndpointConfigName=hosted.config(on_instances()),
    )
    assert "is Failed" in message


def test_variants_come_up_together_or_not_at_all(hosted, endpoint):
    folder = hosted.cloud.path / "hosting" / "instances"
    before = set(folder.glob("*"))  # there is no such folder before the first instance
    name = endpoint(on_instances("a", count=2), on_instances("b", model="bad"))
    assert hosted.sagemaker.describe_endpoint(EndpointName=name)["EndpointStatus"] == "Failed"
    until(lambda: not set(folder.glob("*")) - before)


def test_a_serverless_endpoint_is_tried_before_it_is_in_service(hosted, endpoint):
    name = endpoint(serverless(model="bad"))
    told = hosted.sagemaker.describe_endpoint(EndpointName=name)
    assert told["EndpointStatus"] == "Failed"
    assert endpoint(serverless()) in [
        each["EndpointName"]
        for each in hosted.sagemaker.list_endpoints(StatusEquals="InService")["Endpoints"]
    ]


def test_endpoints_need_a_configuration_and_a_name_of_their_own(hosted, steady):
    create = hosted.sagemaker.create_endpoint
    _, message = refusal(create, EndpointName="never", EndpointConfigName="none")
    assert message.startswith("Could not find endpoint configuration")
    _, message = refusal(
        create, EndpointName=steady, EndpointConfigName=hosted.config(serverless())
    )
    assert message.startswith("Cannot create already existing endpoint")
    for call in (hosted.sagemaker.delete_endpoint, hosted.sagemaker.describe_endpoint):
        assert refusal(call, EndpointName="none")[0] == "ValidationException"


# --- changes without a lost request


class Traffic:
    """Requests one after another from a thread, until the block ends."""

    def __init__(self, hosted, name):
        self._hosted, self._name = hosted, name
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._send)
        self.answered, self.errors, self.variants = 0, [], []

    def _send(self):
        while not self._ended.is_set():
            try:
                self.variants.append(self._hosted.invoke(self._name)["InvokedProductionVariant"])
                self.answered += 1
            except ClientError as error:
                self.errors.append(error)

    def __enter__(self):
        self._thread.start()
        return self

    def more(self, count=20):
        """Wait for so many more answers."""
        wanted = self.answered + count
        until(lambda: self.answered >= wanted or self.errors)

    def __exit__(self, *_):
        self._ended.set()
        self._thread.join()


def test_an_update_drops_no_request(hosted, endpoint):
    name = endpoint(on_instances("old"))
    former = hosted.instances(name)
    config = hosted.config(on_instances("new", count=2))
    with Traffic(hosted, name) as traffic:
        traffic.more()
        hosted.sagemaker.update_endpoint(EndpointName=name, EndpointConfigName=config)
        (listed,) = hosted.sagemaker.list_endpoints(NameContains=name)["Endpoints"]
        assert listed["EndpointStatus"] == "Updating"
        told = hosted.settled(name)
        traffic.more()
    assert traffic.errors == []
    assert (traffic.variants[0], traffic.variants[-1]) == ("old", "new")
    assert told["EndpointConfigName"] == config
    assert told["ProductionVariants"][0]["CurrentInstanceCount"] == 2
    until(lambda: not any(alive(each["pid"]) for each in former))


def test_an_update_that_fails_leaves_all_as_it_was(hosted, endpoint):
    name = endpoint()
    before = hosted.sagemaker.describe_endpoint(EndpointName=name)
    hosted.sagemaker.update_endpoint(
        EndpointName=name, EndpointConfigName=hosted.config(on_instances(model="bad"))
    )
    after = hosted.settled(name)
    assert after["EndpointStatus"] == "InService"
    assert after["EndpointConfigName"] == before["EndpointConfigName"]
    assert "did not pass the ping health check" in after["FailureReason"]
    assert hosted.invoke(name)["Body"]


def test_an_update_can_keep_weights_and_counts(hosted, endpoint):
    name = endpoint(on_instances(InitialVariantWeight=3.0))
    hosted.sagemaker.update_endpoint(
        EndpointName=name,
        EndpointConfigName=hosted.config(on_instances(count=2), on_instances("two")),
        RetainAllVariantProperties=True,
        ExcludeRetainedVariantProperties=[{"VariantPropertyType": "DesiredInstanceCount"}],
    )
    one, _ = hosted.settled(name)["ProductionVariants"]
    assert (one["CurrentWeight"], one["CurrentInstanceCount"]) == (3.0, 2)
    hosted.sagemaker.update_endpoint(
        EndpointName=name,
        EndpointConfigName=hosted.config(on_instances()),
        RetainAllVariantProperties=True,
        ExcludeRetainedVariantProperties=[{"VariantPropertyType": "DesiredWeight"}],
    )
    (one,) = hosted.settled(name)["ProductionVariants"]
    assert (one["CurrentWeight"], one["CurrentInstanceCount"]) == (1.0, 2)


def test_instances_cannot_become_serverless(hosted, steady):
    _, message = refusal(
        hosted.sagemaker.update_endpoint,
        EndpointName=steady,
        EndpointConfigName=hosted.config(serverless()),
    )
    assert "cannot become serverless" in message


def test_capacity_and_weights_change_without_a_lost_request(hosted, endpoint):
    name = endpoint(on_instances("a"), on_instances("b", InitialVariantWeight=0.0))
    change = hosted.sagemaker.update_endpoint_weights_and_capacities
    with Traffic(hosted, name) as traffic:
        traffic.more()
        first = list(traffic.variants)
        for count in (3, 1):
            change(
                EndpointName=name,
                DesiredWeightsAndCapacities=[
                    {"VariantName": "a", "DesiredWeight": 0.0},
                    {"VariantName": "b", "DesiredWeight": 1.0, "DesiredInstanceCount": count},
                ],
            )
            a, b = hosted.settled(name)["ProductionVariants"]
            assert (a["CurrentWeight"], b["CurrentWeight"]) == (0.0, 1.0)
            assert b["CurrentInstanceCount"] == count
            traffic.more()
    assert traffic.errors == []
    assert set(first) == {"a"}
    assert traffic.variants[-1] == "b"
    assert hosted.invoke(name, TargetVariant="a")["InvokedProductionVariant"] == "a"
    with refused(ClientError, "ValidationError", "Variant c"):
        hosted.invoke(name, TargetVariant="c")


def test_the_limits_of_a_serverless_variant_change(hosted, endpoint):
    name = endpoint(serverless(most=2))
    change = hosted.sagemaker.update_endpoint_weights_and_capacities

    def limits(**update):
        wanted = {"VariantName": "one", "ServerlessUpdateConfig": update}
        change(EndpointName=name, DesiredWeightsAndCapacities=[wanted])
        (variant,) = hosted.settled(name)["ProductionVariants"]
        return variant["CurrentServerlessConfig"]

    assert limits(MaxConcurrency=5, ProvisionedConcurrency=2) == {
        "MemorySizeInMB": 2048,
        "MaxConcurrency": 5,
        "ProvisionedConcurrency": 2,
    }
    assert len(hosted.instances(name)) == 2
    assert limits(MaxConcurrency=3, ProvisionedConcurrency=1)["ProvisionedConcurrency"] == 1
    assert "x-workbench-cold" not in headers(hosted.invoke(name))


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"VariantName": "none"}, ["none"]),
        ({"VariantName": "one", "DesiredInstanceCount": 0}, ["DesiredInstanceCount", "one", 1]),
        (
            {"VariantName": "one", "ServerlessUpdateConfig": {"MaxConcurrency": 1}},
            ["one", "serverless"],
        ),
    ],
)
def test_a_change_that_does_not_fit_is_refused(hosted, steady, change, named):
    _, message = refusal(
        hosted.sagemaker.update_endpoint_weights_and_capacities,
        EndpointName=steady,
        DesiredWeightsAndCapacities=[change],
    )
    assert not unnamed(message, *named)


def test_instances_of_a_serverless_variant_are_not_counted(hosted, endpoint):
    _, message = refusal(
        hosted.sagemaker.update_endpoint_weights_and_capacities,
        EndpointName=endpoint(serverless()),
        DesiredWeightsAndCapacities=[{"VariantName": "one", "DesiredInstanceCount": 2}],
    )
    assert "ServerlessUpdateConfig" in message


def test_a_capacity_that_cannot_be_had_is_undone(hosted, endpoint):
    hosted.s3.copy_object(Bucket="models", Key="passing.tar.gz", CopySource="models/good.tar.gz")
    container = {"Image": IMAGE, "ModelDataUrl": "s3://models/passing.tar.gz"}
    hosted.sagemaker.create_model(ModelName="passing", PrimaryContainer=container)
    name = endpoint(on_instances("a"), on_instances("b", model="passing"))
    hosted.s3.delete_object(Bucket="models", Key="passing.tar.gz")
    hosted.sagemaker.update_endpoint_weights_and_capacities(
        EndpointName=name,
        DesiredWeightsAndCapacities=[
            {"VariantName": "a", "DesiredInstanceCount": 2},
            {"VariantName": "b", "DesiredInstanceCount": 2},
        ],
    )
    told = hosted.settled(name)
    assert "s3://models/passing.tar.gz" in told["FailureReason"]
    assert [each["DesiredInstanceCount"] for each in told["ProductionVariants"]] == [1, 1]


# --- what an endpoint survives


def test_a_killed_worker_is_replaced(hosted, endpoint):
    name = endpoint()
    with hosted.stopped(name) as (pid,), hosted.pending(name) as (call,):
        os.kill(pid, signal.SIGKILL)
        with refused(ClientError, "ModelError", "primary"):
            call.result()
        assert hosted.invoke(name)["Body"]
    (instance,) = hosted.instances(name)
    assert instance["pid"] != pid


def test_a_worker_killed_while_idle_costs_no_request(hosted, endpoint):
    name = endpoint()
    (instance,) = hosted.instances(name)
    os.kill(instance["pid"], signal.SIGKILL)
    until(lambda: [instance["pid"]] != [each["pid"] for each in hosted.instances(name)])
    assert hosted.invoke(name)["Body"]


def test_an_instance_that_cannot_be_replaced_makes_the_endpoint_unavailable(hosted, endpoint):
    hosted.s3.copy_object(Bucket="models", Key="short.tar.gz", CopySource="models/good.tar.gz")
    container = {"Image": IMAGE, "ModelDataUrl": "s3://models/short.tar.gz"}
    hosted.sagemaker.create_model(ModelName="short", PrimaryContainer=container)
    name = endpoint(on_instances(model="short"))
    hosted.s3.delete_object(Bucket="models", Key="short.tar.gz")
    (instance,) = hosted.instances(name)
    os.kill(instance["pid"], signal.SIGKILL)
    until(lambda: not hosted.instances(name))
    for _ in range(2):
        with refused(ClientError, "ServiceUnavailable", "s3://models/short.tar.gz"):
            hosted.invoke(name)


def test_a_restarted_cloud_brings_its_endpoints_back(tmp_path):
    first = Hosted(tmp_path / "cloud")
    first.make_models()
    name = first.endpoint(on_instances(count=2))
    first.endpoint(on_instances(model="bad"), name="failed")
    first.endpoint(serverless(most=3), name="on-demand")
    first.sagemaker.update_endpoint_weights_and_capacities(
        EndpointName=name,
        DesiredWeightsAndCapacities=[{"VariantName": "one", "DesiredInstanceCount": 1}],
    )
    first.settled(name)
    pids = [instance["pid"] for instance in first.instances(name)]
    config = first.config(on_instances())
    first.sagemaker.create_endpoint(EndpointName="half-made", EndpointConfigName=config)
    with first.stopped(name), first.pending(name) as (call,):
        first.sagemaker.delete_endpoint(EndpointName="failed")
        os.kill(first.cloud.pid, signal.SIGKILL)
        with pytest.raises(Exception, match=r"[Cc]onnection"):
            call.result()
    until(lambda: not any(map(alive, pids)))
    first.close()

    second = Hosted(tmp_path / "cloud")
    try:
        assert second.invoke(name)["Body"]  # though it may still be on its way
        told = second.settled(name)
        assert told["EndpointStatus"] == "InService"
        assert told["ProductionVariants"][0]["CurrentInstanceCount"] == 1
        assert second.settled("half-made")["EndpointStatus"] == "InService"
        assert second.settled("on-demand")["ProductionVariants"][0]["CurrentServerlessConfig"] == {
            "MemorySizeInMB": 2048,
            "MaxConcurrency": 3,
        }
        until(lambda: not second.sagemaker.list_endpoints(NameContains="failed")["Endpoints"])
        pids = [instance["pid"] for instance in second.instances(name)]
    finally:
        second.close()
    assert not any(map(alive, pids))


# --- settings


def test_settings_are_checked_and_can_be_read_back(hosted):
    assert hosted.cloud.settings.keep_alive == 600.0
    with refused(InvalidInput, "cold_start", "'warm'"):
        LocalCloud(cold_start="warm")
    with refused(InvalidInput, "keep_alive", -1.0):
        LocalCloud(keep_alive=-1.0)
    with refused(InvalidInput, "time_limit", 0.0):
        LocalCloud(time_limit=0.0)
