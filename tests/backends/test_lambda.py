"""What AWS Lambda answers, played back by botocore's Stubber; the local cloud is in test_backends.

The REPORT lines are those of AWS's documentation ("Viewing CloudWatch logs for Lambda").
"""

import base64
import io
import json
import math
import pickle

import numpy as np
import pytest
from botocore.response import StreamingBody

import workbench as wb
from tests.played import PlayedCloud
from tests.refused import refused
from workbench.backends.base import Batch
from workbench.backends.lambda_ import LambdaBackend, durations
from workbench.backends.sagemaker import NPY, pack_npy
from workbench.cloud.adapters import ADAPTERS, lambda_
from workbench.cloud.cost_guard import estimate_max_cost, hourly_cost
from workbench.cloud.deploy import deploy
from workbench.cloud.ledger import Ledger
from workbench.deployment import Lambda
from workbench.errors import CloudError, InvalidInput, InvocationError

ROWS = np.arange(6, dtype=np.float32).reshape(2, 3)
REPORT = (
    "REPORT RequestId: 3604209a-e9a3-11e6-939a-754dd98c7be3\tDuration: 12.34 ms\t"
    "Billed Duration: 13 ms\tMemory Size: 128 MB\tMax Memory Used: 18 MB\t"
)
LAMBDA = wb.Lambda(memory_mb=1769, max_concurrency=10, architecture="arm64", timeout=30)


@pytest.fixture
def cloud():
    return PlayedCloud()


@pytest.fixture
def backend(cloud):
    with LambdaBackend("digits:1", cloud, concurrency=3) as backend:
        yield backend


def content(array=ROWS, *, environment="one", kind="on-demand"):
    said = {"x-workbench-environment": environment, "x-workbench-initialized": kind}
    body = base64.b64encode(pack_npy(array)).decode()
    answer = {"statusCode": 200, "headers": said, "body": body, "isBase64Encoded": True}
    return json.dumps(answer)


def answer(cloud, payload, *, log=REPORT, headers=(), **more):
    raw = payload.encode()
    response = {
        "StatusCode": 200,
        "Payload": StreamingBody(io.BytesIO(raw), len(raw)),
        "LogResult": base64.b64encode(log.encode()).decode(),
        "ResponseMetadata": {"HTTPHeaders": dict(headers), "RetryAttempts": 0},
        **more,
    }
    cloud.answer("lambda", "invoke", response)


def test_a_batch_is_one_call_with_the_array_in_base64(cloud, backend):
    seen = []
    cloud.stubber("lambda").client.meta.events.register(
        "provide-client-params.*", lambda params, **_: seen.append(params)
    )
    answer(cloud, content())

    reply = backend.invoke(Batch(ROWS))

    (asked,) = seen
    event = json.loads(asked["Payload"])
    assert np.array_equal(reply.outputs, ROWS)
    assert (asked["FunctionName"], asked["LogType"]) == ("digits:1", "Tail")
    assert event["headers"] == {"content-type": NPY}
    assert base64.b64decode(event["body"]) == pack_npy(ROWS)
    assert len(asked["Payload"]) == Lambda.payload(len(pack_npy(ROWS)))


def test_the_report_line_tells_duration_and_init(cloud, backend):
    answer(cloud, content(), log=f"START\n{REPORT}Init Duration: 161.19 ms\t\n")
    answer(cloud, content(), log=f"said by the model\n{REPORT}\n")
    first, second = backend.invoke(Batch(ROWS)), backend.invoke(Batch(ROWS))

    assert (first.cold, first.init, first.model_latency) == (True, 0.16119, 0.01234)
    assert (second.cold, second.init, second.model_latency) == (False, 0.0, 0.01234)
    assert first.server == second.server
    assert math.isnan(first.overhead_latency)


def test_a_provisioned_environment_is_never_cold_and_numbered_first(cloud, backend):
    log = f"{REPORT}Init Duration: 161.19 ms\t"
    answer(cloud, content(environment="a"), log=log)
    answer(cloud, content(environment="b", kind="provisioned-concurrency"), log=log)
    demanded, kept = backend.invoke(Batch(ROWS)), backend.invoke(Batch(ROWS))

    assert (demanded.cold, kept.cold, kept.init) == (True, False, 0.0)
    assert kept.server < demanded.server


def test_what_a_local_cloud_adds_is_told_too(cloud, backend):
    answer(cloud, content(), headers={"x-workbench-overhead-latency": "1500"})

    assert backend.invoke(Batch(ROWS)).overhead_latency == 0.0015


def test_without_a_report_the_times_are_not_known():
    assert math.isnan(durations("")[0])


@pytest.mark.parametrize(
    ("payload", "more", "named"),
    [
        (
            '{"errorType": "ValueError", "errorMessage": "no rows"}',
            {"FunctionError": "Unhandled"},
            ["ValueError", "no rows"],
        ),
        ('"odd"', {"FunctionError": "Unhandled"}, ["Unhandled", "odd"]),
        ('{"statusCode": 400, "body": "wrong shape"}', {}, [400, "wrong shape"]),
        ('{"result": 1}', {}, ["handler"]),
        ("<html>", {}, ["JSON"]),
        ('{"statusCode": 200, "body": "text"}', {}, ["array"]),
    ],
)
def test_whatever_is_no_answer_is_an_error(cloud, backend, payload, more, named):
    answer(cloud, payload, **more)

    with refused(InvocationError, *named):
        backend.invoke(Batch(ROWS))


def test_a_throttled_call_is_a_failure_that_says_so(cloud, backend):
    cloud.refuse("lambda", "invoke", "TooManyRequestsException", "Rate Exceeded.", 429)

    with refused(InvocationError, "TooManyRequestsException", "Rate Exceeded."):
        backend.invoke(Batch(ROWS))


def test_the_client_waits_as_long_as_a_function_may_take(cloud):
    config = cloud.client("lambda").meta.config

    assert config.read_timeout > 900
    assert config.retries == {"mode": "standard", "total_max_attempts": 1}


def test_a_backend_can_be_sent_to_another_process():
    copy = pickle.loads(pickle.dumps(LambdaBackend("digits", wb.aws(region="us-east-1"))))  # noqa: S301 - ours

    assert copy.function == "digits"


# --- deployed on AWS


@pytest.fixture
def ledger(tmp_path):
    return Ledger(tmp_path / "ledger.db")


def watch(cloud):
    seen = {}

    def note(params, model, **_):
        seen[model.name] = params

    cloud.stubber("lambda").client.meta.events.register("provide-client-params.*", note)
    return seen


def state(cloud, state="Active", **more):
    cloud.answer("lambda", "get_function_configuration", {"State": state, **more})


def torn_down(cloud):
    cloud.answer("lambda", "delete_function")
    cloud.answer("s3", "list_objects_v2")


def account(cloud, left=1000):
    limit = {"UnreservedConcurrentExecutions": left}
    cloud.answer("lambda", "get_account_settings", {"AccountLimit": limit})


def stored(cloud):
    account(cloud)
    cloud.answer("s3", "head_bucket")
    cloud.answer("s3", "put_object")


def test_a_function_is_made_from_the_image_and_fetches_its_model(model, cloud, ledger):
    seen = watch(cloud)
    stored(cloud)
    cloud.answer("lambda", "create_function")
    state(cloud, "Pending")
    state(cloud)
    cloud.answer("lambda", "put_function_concurrency")

    with deploy(model, LAMBDA, cloud, yes=True, ledger=ledger) as deployed:
        (entry,) = ledger.entries()
        torn_down(cloud)

    made = seen["CreateFunction"]
    assert (made["FunctionName"], made["Role"]) == (deployed.name, cloud.role)
    assert (made["PackageType"], made["Code"]) == ("Image", {"ImageUri": cloud.image})
    assert made["ImageConfig"]["EntryPoint"] == ["python", "-m", "awslambdaric"]
    assert made["Environment"]["Variables"] == {
        "WORKBENCH_MODEL": f"s3://models/{entry.key}",
    }
    assert (made["MemorySize"], made["Timeout"], made["Architectures"]) == (1769, 30, ["arm64"])
    assert made["Tags"] == {"workbench": entry.id}
    assert seen["PutFunctionConcurrency"]["ReservedConcurrentExecutions"] == 10
    assert seen["DeleteFunction"] == {"FunctionName": deployed.name}
    assert ledger.entries() == []
    cloud.done()


@pytest.mark.parametrize("direct", [True, False])
def test_a_zip_too_large_for_a_call_goes_through_s3(model, cloud, tmp_path, monkeypatch, direct):
    if not direct:
        monkeypatch.setattr(lambda_, "_MAX_INLINE_ZIP", 100)
    seen = watch(cloud)
    account(cloud)
    cloud.answer("s3", "head_bucket")
    if not direct:
        cloud.answer("s3", "put_object")
    cloud.answer("lambda", "create_function")
    state(cloud)
    cloud.answer("lambda", "put_function_concurrency")
    libraries = tmp_path / "libraries"

    with deploy(
        model, LAMBDA, cloud, yes=True, ledger=Ledger(tmp_path / "l.db"), libraries=libraries
    ):
        torn_down(cloud)

    assert list(seen["CreateFunction"]["Code"]) == (
        ["ZipFile"] if direct else ["S3Bucket", "S3Key"]
    )
    assert seen["CreateFunction"]["Runtime"].startswith("python3.")
    cloud.done()


def test_provisioned_environments_are_waited_for_on_a_version(model, cloud, ledger):
    seen = watch(cloud)
    stored(cloud)
    cloud.answer("lambda", "create_function")
    state(cloud)
    cloud.answer("lambda", "put_function_concurrency")
    cloud.answer("lambda", "publish_version", {"Version": "1"})
    state(cloud)
    cloud.answer("lambda", "put_provisioned_concurrency_config")
    for status in ("IN_PROGRESS", "READY"):
        cloud.answer("lambda", "get_provisioned_concurrency_config", {"Status": status})
    kept = wb.Lambda(memory_mb=1769, max_concurrency=10, provisioned=2)

    with deploy(model, kept, cloud, yes=True, ledger=ledger) as deployed:
        torn_down(cloud)

    asked = seen["PutProvisionedConcurrencyConfig"]
    assert (asked["Qualifier"], asked["ProvisionedConcurrentExecutions"]) == ("1", 2)
    assert deployed.name.endswith(":1")
    assert deployed.backend().function == deployed.name
    cloud.done()


def test_a_function_that_fails_says_why_and_is_deleted(model, cloud, ledger):
    stored(cloud)
    cloud.answer("lambda", "create_function")
    state(cloud, "Failed", StateReason="The image is gone.")
    torn_down(cloud)

    with (
        refused(CloudError, "Failed", "The image is gone."),
        deploy(model, LAMBDA, cloud, yes=True, ledger=ledger),
    ):
        pytest.fail("it never came up")

    assert ledger.entries() == []
    cloud.done()


def test_waiting_for_a_function_has_an_end(model, cloud, ledger, monkeypatch):
    monkeypatch.setattr(lambda_, "_STATE_TIMEOUT", -1.0)
    stored(cloud)
    cloud.answer("lambda", "create_function")
    state(cloud, "Pending")
    torn_down(cloud)

    with (
        refused(CloudError, "Pending"),
        deploy(model, LAMBDA, cloud, yes=True, ledger=ledger),
    ):
        pytest.fail("it never came up")


def test_what_a_function_may_cost_is_said_before_it_is_made():
    kept = wb.Lambda(memory_mb=1024, max_concurrency=10, provisioned=4)
    quick = wb.Lambda(memory_mb=1024, max_concurrency=10, timeout=5)

    assert hourly_cost(quick) == 0
    assert hourly_cost(kept) == pytest.approx(4 * 3600 * 0.0000041667)
    assert estimate_max_cost(quick, 100).total == pytest.approx(10 * 100 * 0.0000166667)
    assert estimate_max_cost(quick, 100, calls=1).total == pytest.approx(15 * 0.0000166667 + 0.2e-6)


def test_a_batch_that_does_not_fit_in_base64_is_refused(model):
    rows = 5_500_000 // model.samples().inputs[:1].nbytes
    wide = wb.Trace(arrivals=[0.0], duration=0.1, rows=[int(rows)])

    with refused(InvalidInput, "lambda", "6,291,456"):
        wb.Experiment(model, LAMBDA, wide).run(PlayedCloud())


def test_an_account_that_has_no_room_for_a_function_is_told_before_it_is_made(cloud):
    account(cloud, left=105)
    account(cloud, left=110)
    cloud.refuse("lambda", "get_account_settings", "AccessDeniedException")

    with refused(CloudError, 5, 10) as caught:
        ADAPTERS["lambda"].check_quota(LAMBDA, cloud)
    assert caught.value.code == "ResourceLimitExceeded"
    ADAPTERS["lambda"].check_quota(LAMBDA, cloud)
    ADAPTERS["lambda"].check_quota(LAMBDA, cloud)
    ADAPTERS["lambda"].check_quota(LAMBDA, PlayedCloud(paid=False))
    cloud.done()
