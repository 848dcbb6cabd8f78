"""Deploying and tearing down on an AWS that is played back: what the local cloud cannot show."""

import pytest
from botocore.exceptions import EndpointConnectionError, NoCredentialsError

import workbench as wb
from tests.played import IMAGE, ROLE, PlayedCloud, created, gone, status, stored, torn_down
from tests.refused import refused
from workbench.cloud import deploy as deploy_module
from workbench.cloud.aws import Cloud
from workbench.cloud.deploy import deploy, teardown
from workbench.cloud.ledger import Ledger, LedgerEntry
from workbench.errors import CloudError, InvalidInput, NotAvailable, NotFound, OverBudget

SERVERLESS = wb.Serverless(memory_mb=2048, max_concurrency=5)
TWO = wb.RealTime(instance_type="ml.m5.xlarge", count=2, workers=3, routing="random")


@pytest.fixture
def cloud():
    return PlayedCloud()


@pytest.fixture
def ledger(tmp_path):
    return Ledger(tmp_path / "ledger.db")


@pytest.fixture
def up(model, cloud, ledger):
    """Deploy a serverless endpoint that may cost what it costs."""
    usual = {"yes": True, "ledger": ledger}
    return lambda **given: deploy(model, SERVERLESS, cloud, **usual | given)


def enter(context, *, then=lambda: pytest.fail("the block must not be entered")):
    with context:
        then()


def watch(cloud):
    """Return a dictionary that fills with what each operation of SageMaker is asked."""
    seen = {}

    def note(params, model, **_):
        seen[model.name] = params

    cloud.stubber("sagemaker").client.meta.events.register("provide-client-params.*", note)
    return seen


def test_a_deployment_is_made_waited_for_and_torn_down(up, cloud, ledger):
    stored(cloud)
    created(cloud)
    for each in ("Creating", "Creating", "InService"):
        status(cloud, each)

    with up() as deployed:
        assert [entry.name for entry in ledger.entries()] == [deployed.name]
        assert deployed.name.startswith("workbench-digits-mlp-small-")
        torn_down(cloud)

    cloud.done()
    assert ledger.entries() == []


def test_what_is_created_is_named_tagged_and_set_as_asked(model, cloud, ledger):
    seen = watch(cloud)
    stored(cloud)
    created(cloud)
    status(cloud, "InService")

    with deploy(model, TWO, cloud, yes=True, ledger=ledger) as deployed:
        (entry,) = ledger.entries()
        torn_down(cloud)

    for operation in ("CreateModel", "CreateEndpointConfig", "CreateEndpoint"):
        assert seen[operation]["Tags"] == [{"Key": "workbench", "Value": entry.id}]
    assert seen["CreateModel"]["ExecutionRoleArn"] == ROLE
    assert seen["CreateModel"]["PrimaryContainer"] == {
        "Image": IMAGE,
        "ModelDataUrl": f"s3://models/workbench/{entry.id}/model.tar.gz",
        "Environment": {"SAGEMAKER_MODEL_SERVER_WORKERS": "3"},
    }
    assert seen["CreateEndpointConfig"]["ProductionVariants"] == [
        {
            "VariantName": "all",
            "ModelName": deployed.name,
            "InstanceType": "ml.m5.xlarge",
            "InitialInstanceCount": 2,
            "RoutingConfig": {"RoutingStrategy": "RANDOM"},
        }
    ]


def test_provisioned_concurrency_is_asked_for_where_wanted(model, cloud, ledger):
    seen = watch(cloud)
    stored(cloud)
    created(cloud)
    status(cloud, "InService")
    kept = wb.Serverless(memory_mb=1024, max_concurrency=5, provisioned=2)

    with deploy(model, kept, cloud, yes=True, ledger=ledger):
        torn_down(cloud)

    (variant,) = seen["CreateEndpointConfig"]["ProductionVariants"]
    assert variant["ServerlessConfig"] == {
        "MemorySizeInMB": 1024,
        "MaxConcurrency": 5,
        "ProvisionedConcurrency": 2,
    }


@pytest.mark.parametrize("ending", [RuntimeError, KeyboardInterrupt, SystemExit])
def test_whatever_ends_the_block_tears_down(up, cloud, ledger, ending):
    stored(cloud)
    created(cloud)
    status(cloud, "InService")

    def end():
        torn_down(cloud)
        raise ending

    with pytest.raises(ending):
        enter(up(), then=end)

    cloud.done()
    assert ledger.entries() == []


@pytest.mark.parametrize(
    "case",
    [
        (0, "AccessDeniedException", NotAvailable, "permission"),
        (0, "ExpiredTokenException", NotAvailable, "Sign in"),
        (1, "ThrottlingException", CloudError, "try again"),
        (2, "ResourceLimitExceeded", CloudError, "Service Quotas"),
        (2, "ValidationException", CloudError, "because"),
    ],
    ids=lambda case: case[1],
)
def test_a_refused_creation_is_one_clear_error_and_nothing_stays(up, cloud, ledger, case):
    made, code, kind, advice = case
    operation = ["create_model", "create_endpoint_config", "create_endpoint"][made]
    stored(cloud)
    created(cloud, upto=made)
    cloud.refuse("sagemaker", operation, code)
    torn_down(cloud, endpoint=False)

    with refused(kind, operation.replace("_", " "), code, advice):
        enter(up())

    cloud.done()
    assert ledger.entries() == []


def test_an_endpoint_that_fails_says_why_and_is_deleted(up, cloud, ledger):
    stored(cloud)
    created(cloud)
    status(cloud, "Creating")
    status(cloud, "Failed", FailureReason="The container did not pass the ping health check.")
    torn_down(cloud)

    with refused(
        CloudError, "Failed", "The container did not pass the ping health check."
    ) as caught:
        enter(up())

    assert caught.value.code == "Failed"
    cloud.done()
    assert ledger.entries() == []


def test_what_a_late_retry_finds_there_is_fine(up, cloud):
    stored(cloud)
    created(cloud, upto=2)
    cloud.refuse(
        "sagemaker", "create_endpoint", "ValidationException", "Cannot create already existing x"
    )
    status(cloud, "InService")

    with up():
        torn_down(cloud)

    cloud.done()


def test_an_endpoint_that_is_still_created_is_deleted_once_it_can_be(up, cloud, ledger):
    stored(cloud)
    created(cloud)
    cloud.refuse("sagemaker", "describe_endpoint", "InternalFailure", status=500)
    status(cloud, "Creating")
    cloud.refuse("sagemaker", "delete_endpoint", "ValidationException", "Cannot update in-progress")
    torn_down(cloud)

    with refused(CloudError, "InternalFailure"):
        enter(up())

    cloud.done()
    assert ledger.entries() == []


def test_what_cannot_be_torn_down_stays_in_the_ledger(up, cloud, ledger):
    stored(cloud)
    created(cloud)
    status(cloud, "InService")

    def end():
        status(cloud, "InService")
        cloud.refuse("sagemaker", "delete_endpoint", "AccessDeniedException")

    with refused(CloudError, "workbench teardown", "AccessDeniedException"):
        enter(up(), then=end)

    assert len(ledger.entries()) == 1


def test_an_error_of_the_block_is_raised_even_where_teardown_fails(up, cloud, ledger, capsys):
    stored(cloud)
    created(cloud)
    status(cloud, "InService")

    def end():
        status(cloud, "InService")
        cloud.refuse("sagemaker", "delete_endpoint", "ValidationException", "not this one")
        raise RuntimeError("mine")

    with pytest.raises(RuntimeError, match="mine") as caught:
        enter(up(), then=end)

    assert "workbench teardown" in caught.value.__notes__[0]
    assert "workbench teardown" in capsys.readouterr().err
    assert len(ledger.entries()) == 1


def test_an_endpoint_that_stays_after_its_deletion_is_told_of(up, cloud, ledger):
    stored(cloud)
    created(cloud)
    status(cloud, "InService")

    def end():
        status(cloud, "InService")
        cloud.answer("sagemaker", "delete_endpoint")
        status(cloud, "Deleting")
        status(cloud, "Failed")

    with pytest.raises(CloudError, match="still there"):
        enter(up(), then=end)

    assert len(ledger.entries()) == 1


def test_waiting_has_an_end(up, cloud, monkeypatch):
    monkeypatch.setattr("workbench.cloud.adapters.endpoint.PATIENCE", -1.0)
    stored(cloud)
    created(cloud)
    status(cloud, "Creating")
    gone(cloud, "describe_endpoint")
    cloud.answer("sagemaker", "delete_endpoint_config")
    cloud.answer("sagemaker", "delete_model")
    cloud.answer("s3", "list_objects_v2")

    with refused(CloudError, "over an hour"):
        enter(up())


def test_nothing_is_written_down_where_nothing_could_be_made(up, cloud, ledger):
    cloud.refuse("s3", "head_bucket", "403", "Forbidden", 403)
    with refused(NotAvailable, "Forbidden", "permission"):
        enter(up())

    assert ledger.entries() == []


@pytest.mark.parametrize("region", ["us-east-1", "eu-central-1"])
def test_a_missing_bucket_is_made_in_the_clouds_region(model, ledger, region):
    cloud = PlayedCloud(region=region, bucket=None)
    cloud.answer("sts", "get_caller_identity", {"Account": "123456789012"})
    cloud.refuse("s3", "head_bucket", "404", "Not Found", 404)
    name = f"workbench-123456789012-{region}"
    place = {"CreateBucketConfiguration": {"LocationConstraint": region}}
    cloud.answer("s3", "create_bucket", Bucket=name, **({} if region == "us-east-1" else place))
    cloud.answer("s3", "put_object")
    created(cloud)
    status(cloud, "InService")

    with deploy(model, SERVERLESS, cloud, yes=True, ledger=ledger):
        (entry,) = ledger.entries()
        folder = {"Bucket": name, "Prefix": f"{entry.folder}/"}
        gone(cloud, "describe_endpoint")
        cloud.answer("sagemaker", "delete_endpoint_config")
        cloud.answer("sagemaker", "delete_model")
        cloud.answer("s3", "list_objects_v2", {"Contents": [{"Key": entry.key}]}, **folder)
        cloud.answer("s3", "delete_objects", Bucket=name, Delete={"Objects": [{"Key": entry.key}]})
        cloud.answer("s3", "list_objects_v2", **folder)

    cloud.done()


@pytest.mark.parametrize(
    ("fact", "advice"), [("role", "WORKBENCH_ROLE_ARN"), ("image", "WORKBENCH_IMAGE")]
)
def test_a_missing_role_or_image_is_asked_for(model, ledger, fact, advice):
    with refused(NotAvailable, advice):
        enter(deploy(model, SERVERLESS, PlayedCloud(**{fact: None}), yes=True, ledger=ledger))


@pytest.mark.parametrize(
    ("deployment", "named"),
    [
        (wb.BatchTransform(instance_type="ml.m5.large"), "batch transform"),
        (wb.RealTime(instance_type="ml.m5.large", routing="shared"), "shared"),
    ],
)
def test_what_no_endpoint_can_be_is_refused(model, cloud, ledger, deployment, named):
    with refused(InvalidInput, named):
        enter(deploy(model, deployment, cloud, yes=True, ledger=ledger))


def test_what_costs_too_much_or_is_not_agreed_to_makes_no_call(up, cloud, ledger):
    with refused(OverBudget, "$0.01"):
        enter(up(budget=0.01))
    with refused(NotAvailable, "yes=True"):
        enter(up(yes=False))

    assert cloud.stubbers == {}
    assert ledger.entries() == []


def test_a_backend_has_room_for_what_the_endpoint_may_reject():
    def room(**knobs):
        deployment = wb.Serverless(memory_mb=2048, max_concurrency=5, **knobs)
        facts = {"model": None, "launched": 0.0, "seconds": 0.0}
        deployed = deploy_module.DeployedModel(
            name="x", deployment=deployment, cloud=Cloud(), **facts
        )
        return deployed.backend().concurrency, deployed.backend(concurrency=3).concurrency

    assert room(on_limit="queue") == (5, 3)
    assert room() == (21, 3)


# ------------------------------------------------------------------------------------- teardown


def entry(**facts):
    given = {"name": "x", "bucket": "models", "what": "serverless", "hourly": 0.0}
    return LedgerEntry(**{"cloud": Cloud(poll=0.0), **given, **facts})


@pytest.fixture
def cloud_of_entries(monkeypatch):
    cloud = PlayedCloud()
    for service in ("sagemaker", "s3"):
        cloud.stubber(service)
    clients = {service: stubber.client for service, stubber in cloud.stubbers.items()}
    monkeypatch.setattr(Cloud, "client", lambda _, service, **__: clients[service])
    return cloud


def test_teardown_ends_what_the_ledger_names(ledger, cloud_of_entries):
    entries = [entry(), entry(name="y"), entry(name="z")]
    for each in entries:
        ledger.write(each)
    for _ in range(2):
        torn_down(cloud_of_entries)

    assert teardown(ledger, names=("x", "z")) == [entries[0], entries[2]]

    cloud_of_entries.done()
    assert ledger.entries() == [entries[1]]


def test_teardown_of_an_unknown_name_ends_nothing_and_names_what_there_is(ledger):
    ledger.write(entry(name="x"))

    with refused(NotFound, "nosuch", "x"):
        teardown(ledger, names=("x", "nosuch"))

    assert [each.name for each in ledger.entries()] == ["x"]


def test_teardown_goes_on_after_a_failure_and_tells_of_it(ledger, cloud_of_entries):
    ledger.write(entry(name="x"))
    ledger.write(entry(name="y"))
    cloud_of_entries.refuse("sagemaker", "describe_endpoint", "ExpiredTokenException")
    torn_down(cloud_of_entries)

    with refused(CloudError, "x", "serverless", "Sign in"):
        teardown(ledger)

    assert [each.name for each in ledger.entries()] == ["x"]


@pytest.mark.parametrize("paid", [True, False])
def test_only_a_cloud_that_costs_nothing_may_be_gone_itself(ledger, monkeypatch, paid):
    ledger.write(entry(cloud=Cloud(paid=paid, poll=0.0)))

    def refuse(*_, **__):
        with Cloud().translate_errors("delete it"):
            raise EndpointConnectionError(endpoint_url="http://127.0.0.1:1")

    monkeypatch.setattr(Cloud, "client", refuse)
    if paid:
        with refused(CloudError, "x", "http://127.0.0.1:1"):
            teardown(ledger)
    else:
        teardown(ledger)
    assert len(ledger.entries()) == paid


def test_without_credentials_the_ledger_stays(ledger, monkeypatch):
    ledger.write(entry())

    def refuse(*_, **__):
        with Cloud().translate_errors("delete it"):
            raise NoCredentialsError

    monkeypatch.setattr(Cloud, "client", refuse)
    with refused(CloudError, "Sign in"):
        teardown(ledger)
    assert len(ledger.entries()) == 1
