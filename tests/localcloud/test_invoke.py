"""InvokeEndpoint of the local cloud through boto3: answers, limits, errors, cold and warm."""

import http.client
import json
import os
import signal
from contextlib import closing
from urllib.parse import urlsplit

import pytest
from botocore.exceptions import ClientError

from tests import wire
from tests.graphs import lookup
from tests.hosted import ROWS, Hosted, alive, archived, headers, on_instances, serverless, until
from tests.refused import refused

IMAGE = "x/workbench"  # as the workbench's own is called
LIMIT = 6_291_456
SERVERLESS_LIMIT = 4 * 1024 * 1024


@pytest.fixture(scope="module", name="hosted")
def _hosted():
    hosted = Hosted(keep_alive=0.5, time_limit=5.0)
    hosted.make_models()
    hosted.s3.put_object(Bucket="models", Key="fails.tar.gz", Body=archived(lookup()))
    container = {"Image": IMAGE, "ModelDataUrl": "s3://models/fails.tar.gz"}
    hosted.sagemaker.create_model(ModelName="fails", PrimaryContainer=container)
    yield hosted
    hosted.close()


@pytest.fixture(scope="module", name="steady")
def _steady(hosted):
    """An endpoint of two variants on instances."""
    return hosted.endpoint(on_instances("most", InitialVariantWeight=3.0), on_instances("rest"))


@pytest.fixture(scope="module", name="on_demand")
def _on_demand(hosted):
    """A serverless endpoint for two requests at a time."""
    return hosted.endpoint(serverless(most=2))


def refusal(call, **arguments):
    """Return the answer of the error that a call raises."""
    with pytest.raises(ClientError) as caught:
        call(**arguments)
    return caught.value.response


def test_an_answer_is_the_models_and_says_who_gave_it(hosted, steady):
    answer = hosted.invoke(steady)
    assert answer["Body"] == [[7.0, -1.0]]
    assert answer["ContentType"] == "application/json"
    assert answer["InvokedProductionVariant"] in ("most", "rest")
    assert answer["ResponseMetadata"]["RequestId"]
    told = headers(answer)
    assert int(told["x-workbench-model-latency"]) > 0
    assert int(told["x-workbench-overhead-latency"]) > 0
    assert "x-workbench-cold" not in told
    numbers = [instance["instance"] for instance in hosted.instances(steady)]
    assert int(told["x-workbench-instance"]) in numbers


def test_content_types_reach_the_model(hosted, steady):
    answer = hosted.runtime.invoke_endpoint(
        EndpointName=steady, Body="1,2,3\n", ContentType="text/csv", Accept="text/csv"
    )
    assert answer["ContentType"].startswith("text/csv")
    assert answer["Body"].read() == b"7.0,-1.0\n"


def test_variants_share_requests_by_weight(hosted, steady):
    answers = [hosted.invoke(steady)["InvokedProductionVariant"] for _ in range(400)]
    # 300 of 400 are expected; five standard deviations are 43.
    assert answers.count("most") == pytest.approx(300, abs=43)


def test_requests_go_to_the_instance_with_the_fewest_under_way(hosted):
    routing = {"RoutingConfig": {"RoutingStrategy": "LEAST_OUTSTANDING_REQUESTS"}}
    name = hosted.endpoint(on_instances(count=2, **routing))
    first, second = hosted.instances(name)
    assert headers(hosted.invoke(name))["x-workbench-instance"] == str(first["instance"])
    os.kill(first["pid"], signal.SIGSTOP)
    try:
        with hosted.pending(name):
            told = [headers(hosted.invoke(name))["x-workbench-instance"] for _ in range(5)]
            os.kill(first["pid"], signal.SIGCONT)
    finally:
        os.kill(first["pid"], signal.SIGCONT)
    assert told == [str(second["instance"])] * 5


def test_requests_are_spread_at_random_by_default(hosted):
    name = hosted.endpoint(on_instances(count=2))
    told = {headers(hosted.invoke(name))["x-workbench-instance"] for _ in range(50)}
    assert len(told) == 2


# --- limits


def test_payloads_have_the_limit_of_their_type(hosted, steady, on_demand):
    for name, limit in ((steady, LIMIT), (on_demand, SERVERLESS_LIMIT)):
        body = json.dumps(ROWS).encode()
        fits = body + b" " * (limit - len(body))
        answer = hosted.runtime.invoke_endpoint(
            EndpointName=name, Body=fits, ContentType="application/json"
        )
        assert json.loads(answer["Body"].read()) == [[7.0, -1.0]]
        told = refusal(hosted.runtime.invoke_endpoint, EndpointName=name, Body=fits + b" ")
        assert told["Error"]["Code"] == "ValidationError"
        assert f"less than or equal to {limit}" in told["Error"]["Message"]
        assert told["ResponseMetadata"]["HTTPStatusCode"] == 400


def test_an_answer_has_the_limit_of_its_type(hosted, on_demand):
    rows = b"1,2,3\n" * 690_000  # 4.1 MB, and as many rows of two longer numbers
    told = refusal(
        hosted.runtime.invoke_endpoint,
        EndpointName=on_demand,
        Body=rows,
        ContentType="text/csv",
        Accept="application/json",
    )
    assert told["Error"]["Code"] == "ModelError"
    assert f"larger than {SERVERLESS_LIMIT} bytes" in told["OriginalMessage"]
    assert hosted.invoke(on_demand)["Body"]


def test_a_model_that_hangs_is_ended_and_replaced(hosted):
    name = hosted.endpoint()
    with hosted.stopped(name) as (pid,):
        told = refusal(hosted.invoke, name=name)
        assert hosted.invoke(name)["Body"]
        until(lambda: not alive(pid))
    assert told["ResponseMetadata"]["HTTPStatusCode"] == 424
    assert told["Error"]["Code"] == "ModelError"
    assert told["OriginalStatusCode"] == 0
    assert told["OriginalMessage"].startswith("Your invocation timed out")


def test_a_serverless_model_that_hangs_is_ended(hosted):
    name = hosted.endpoint(serverless(most=1, ProvisionedConcurrency=1))
    with hosted.stopped(name) as (pid,):
        told = refusal(hosted.invoke, name=name)
        assert told["OriginalMessage"].startswith("Your invocation timed out")
        assert hosted.invoke(name)["Body"]
        until(lambda: not alive(pid))
    until(lambda: [each["provisioned"] for each in hosted.instances(name)] == [True])


# --- errors


def test_a_models_refusal_is_a_model_error(hosted, steady):
    with pytest.raises(hosted.runtime.exceptions.ModelError) as caught:
        hosted.invoke(steady, rows="no rows")
    told = caught.value.response
    assert told["ResponseMetadata"]["HTTPStatusCode"] == 424
    assert told["OriginalStatusCode"] == 400
    assert "error" in json.loads(told["OriginalMessage"])
    assert told["Error"]["Message"].startswith("Received client error (400) from primary")
    assert told["LogStreamArn"].startswith(
        f"arn:aws:logs:us-east-1:123456789012:log-group:/aws/sagemaker/Endpoints/{steady}:"
    )


def test_a_models_failure_is_a_model_error(hosted):
    name = hosted.endpoint(on_instances(model="fails"))
    assert hosted.invoke(name, rows=[0])["Body"] == [[0.0]]
    told = refusal(hosted.invoke, name=name, rows=[1])
    assert told["OriginalStatusCode"] == 500
    assert told["Error"]["Message"].startswith("Received server error (500) from primary")
    assert hosted.invoke(name, rows=[0])["Body"] == [[0.0]]


def test_an_unknown_endpoint_is_a_validation_error(hosted):
    with pytest.raises(hosted.runtime.exceptions.ValidationError) as caught:
        hosted.invoke("nowhere")
    assert caught.value.response["Error"]["Message"] == (
        "Endpoint nowhere of account 123456789012 not found."
    )


def test_what_is_not_offered_yet_is_said(hosted, steady):
    told = refusal(
        hosted.runtime.invoke_endpoint_with_response_stream, EndpointName=steady, Body=b""
    )
    assert "InvokeEndpointWithResponseStream" in told["Error"]["Message"]
    told = refusal(hosted.invoke, name=steady, TargetModel="another.tar.gz")
    assert "TargetModel" in told["Error"]["Message"]


@pytest.mark.parametrize("path", ["/endpoints/", "/endpoints/x", "/endpoints/x/y/z"])
def test_other_paths_are_refused(hosted, path):
    assert wire.ask(hosted.cloud, "POST", path, service="sagemaker")[0] == 404


# --- serverless


def test_the_first_request_pays_a_cold_start_and_the_next_does_not(hosted):
    name = hosted.endpoint(serverless(most=1))
    assert hosted.instances(name) == []
    cold, warm = headers(hosted.invoke(name)), headers(hosted.invoke(name))
    assert 0 < int(cold["x-workbench-cold"]) <= int(cold["x-workbench-overhead-latency"])
    assert "x-workbench-cold" not in warm
    assert cold["x-workbench-instance"] == warm["x-workbench-instance"]
    (instance,) = hosted.instances(name)
    assert instance["mode"] == "fresh"
    assert instance["memory"] in ("limited", "not limited")
    assert not instance["provisioned"]
    until(lambda: not hosted.instances(name))  # as it was idle for longer than it is kept
    until(lambda: not alive(instance["pid"]))
    assert "x-workbench-cold" in headers(hosted.invoke(name))


def test_requests_above_the_maximum_concurrency_are_throttled(hosted):
    name = hosted.endpoint(serverless(most=1, ProvisionedConcurrency=1))
    with hosted.stopped(name) as (pid,), hosted.pending(name) as (call,):
        told = refusal(hosted.invoke, name=name)
        os.kill(pid, signal.SIGCONT)
        assert call.result()["Body"]
    assert told["Error"]["Code"] == "ThrottlingException"
    assert told["ResponseMetadata"]["HTTPStatusCode"] == 400
    assert hosted.invoke(name)["Body"]


def test_provisioned_instances_come_first_and_others_are_started_beside_them(hosted):
    name = hosted.endpoint(serverless(most=2, ProvisionedConcurrency=1))
    (provisioned,) = hosted.instances(name)
    assert "x-workbench-cold" not in headers(hosted.invoke(name))
    with hosted.stopped(name) as (pid,), hosted.pending(name) as (call,):
        beside = headers(hosted.invoke(name))
        os.kill(pid, signal.SIGCONT)
        first = headers(call.result())
    assert first["x-workbench-instance"] == str(provisioned["instance"])
    assert "x-workbench-cold" in beside
    again = headers(hosted.invoke(name))
    assert again["x-workbench-instance"] == str(provisioned["instance"])


def test_a_provisioned_instance_that_dies_is_replaced(hosted):
    name = hosted.endpoint(serverless(most=1, ProvisionedConcurrency=1))
    (before,) = hosted.instances(name)
    os.kill(before["pid"], signal.SIGKILL)
    (after,) = until(
        lambda: [each for each in hosted.instances(name) if each["pid"] != before["pid"]]
    )
    assert after["provisioned"]
    assert "x-workbench-cold" not in headers(hosted.invoke(name))


def test_a_cold_start_that_fails_is_told(hosted):
    hosted.s3.copy_object(Bucket="models", Key="gone.tar.gz", CopySource="models/good.tar.gz")
    container = {"Image": IMAGE, "ModelDataUrl": "s3://models/gone.tar.gz"}
    hosted.sagemaker.create_model(ModelName="gone", PrimaryContainer=container)
    name = hosted.endpoint(serverless(model="gone", most=1))
    hosted.s3.delete_object(Bucket="models", Key="gone.tar.gz")
    for _ in range(2):
        told = refusal(hosted.invoke, name=name)
        assert told["Error"]["Code"] == "ServiceUnavailable"
        assert told["ResponseMetadata"]["HTTPStatusCode"] == 503
        assert "s3://models/gone.tar.gz" in told["Error"]["Message"]


def test_a_client_that_hangs_up_keeps_no_instance(hosted):
    name = hosted.endpoint(serverless(most=1, ProvisionedConcurrency=1))
    url = urlsplit(hosted.cloud.url)
    body = json.dumps(ROWS).encode()
    path, headers = f"/endpoints/{name}/invocations", {"content-type": "application/json"}
    signed = wire.signed(hosted.cloud, "POST", path, body, headers, service="sagemaker")
    connection = http.client.HTTPConnection(url.netloc, timeout=60)
    with hosted.stopped(name), closing(connection):
        connection.request("POST", path, body, signed)
        until(lambda: hosted.instances(name)[0]["in_flight"])
        connection.close()
    until(lambda: not hosted.instances(name)[0]["in_flight"])
    assert hosted.invoke(name)["Body"]


def test_requests_of_clients_that_hang_up_leave_the_queue_of_an_instance(hosted):
    name = hosted.endpoint(on_instances("one"))
    url = urlsplit(hosted.cloud.url)
    body = json.dumps(ROWS).encode()
    path, headers = f"/endpoints/{name}/invocations", {"content-type": "application/json"}
    links = [http.client.HTTPConnection(url.netloc, timeout=60) for _ in range(3)]
    with hosted.stopped(name):
        for link in links:
            signed = wire.signed(hosted.cloud, "POST", path, body, headers, service="sagemaker")
            link.request("POST", path, body, signed)
        until(lambda: hosted.instances(name)[0]["in_flight"] == 3)
        for link in links:
            link.close()
        until(lambda: not hosted.instances(name)[0]["in_flight"])
    assert hosted.invoke(name)["Body"]


@pytest.mark.parametrize("mode", ["imported", "snapshot"])
def test_cold_starts_can_be_forks(mode):
    hosted = Hosted(cold_start=mode)
    try:
        hosted.make_models()
        name = hosted.endpoint(serverless(most=2))
        cold = headers(hosted.invoke(name))
        assert int(cold["x-workbench-cold"]) > 0
        (instance,) = hosted.instances(name)
        assert instance["mode"] == mode
        with hosted.stopped(name) as (pid,), hosted.pending(name) as (call,):
            os.kill(pid, signal.SIGKILL)
            with refused(ClientError, "ModelError"):
                call.result()
        assert hosted.invoke(name)["Body"] == [[7.0, -1.0]]
        told = hosted.instances(name)
    finally:
        hosted.close()
    assert not any(alive(each["pid"]) for each in told)
