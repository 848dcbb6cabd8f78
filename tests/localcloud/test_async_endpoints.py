"""InvokeEndpointAsync of the local cloud through boto3: queue, results, failures, notifications."""

import asyncio
import errno
import io
import json
import math
import os
import signal
from contextlib import asynccontextmanager, closing
from datetime import UTC, datetime, timedelta
from urllib.parse import urlsplit

import numpy as np
import psutil
import pytest
from botocore.exceptions import ClientError

from tests.hosted import (
    ROWS,
    Hosted,
    alive,
    count_writes,
    most_resident,
    on_instances,
    serverless,
    until,
    writes,
)
from workbench.backends.sagemaker import NPY, pack_npy, unpack_npy
from workbench.localcloud.cloudwatch.metrics import Metrics, metric_key
from workbench.localcloud.core.store import Store
from workbench.localcloud.s3.objects import ObjectStore
from workbench.localcloud.sagemaker.async_endpoints import AsyncInvoker
from workbench.localcloud.sagemaker.async_queue import AsyncQueue, AsyncRequest, Notice
from workbench.localcloud.sagemaker.endpoints import Endpoint, Variant
from workbench.localcloud.sagemaker.metering import INVOCATIONS
from workbench.modelserver.http import Request

BODY = json.dumps(ROWS)
JSON = {"ContentType": "application/json", "Accept": "application/json"}


class Asking:
    """A local cloud with a topic, a queue that hears of it, and asynchronous endpoints."""

    def __init__(self, path=None):
        self.hosted = Hosted(path)
        self.cloud, self.s3, self.runtime = self.hosted.cloud, self.hosted.s3, self.hosted.runtime
        self.sns, self.sqs = self.cloud.client("sns"), self.cloud.client("sqs")

    def close(self):
        self.sns.close()
        self.sqs.close()
        self.hosted.close()

    def listen(self):
        """Make a topic and a queue that hears of it."""
        self.topic = self.sns.create_topic(Name="told")["TopicArn"]
        self.queue = self.sqs.create_queue(QueueName="told")["QueueUrl"]
        named = self.sqs.get_queue_attributes(QueueUrl=self.queue, AttributeNames=["QueueArn"])
        arn = named["Attributes"]["QueueArn"]
        self.sns.subscribe(TopicArn=self.topic, Protocol="sqs", Endpoint=arn)

    def endpoint(self, name, *, topic=None, failures=True, count=1, most=None):
        """Make an asynchronous endpoint of that name, and wait until it is in service."""
        output = {"S3OutputPath": "s3://models/out"}
        if failures:
            output["S3FailurePath"] = "s3://models/failed"
        if topic:
            output["NotificationConfig"] = {"SuccessTopic": topic, "ErrorTopic": topic}
        client = {"ClientConfig": {"MaxConcurrentInvocationsPerInstance": most}} if most else {}
        sagemaker = self.hosted.sagemaker
        sagemaker.create_endpoint_config(
            EndpointConfigName=name,
            ProductionVariants=[on_instances(count=count)],
            AsyncInferenceConfig={"OutputConfig": output, **client},
        )
        sagemaker.create_endpoint(EndpointName=name, EndpointConfigName=name)
        assert self.hosted.settled(name)["EndpointStatus"] == "InService"
        return name

    def ask(self, name, **options):
        """Return what InvokeEndpointAsync answers; by default for a body that comes along."""
        body = {} if "InputLocation" in options else {"Body": BODY}
        return self.runtime.invoke_endpoint_async(EndpointName=name, **body | JSON | options)

    def read(self, where):
        """Return the object at an address in S3, or None."""
        url = urlsplit(where)
        try:
            found = self.s3.get_object(Bucket=url.netloc, Key=url.path.lstrip("/"))
        except self.s3.exceptions.NoSuchKey:
            return None
        return found["Body"].read()

    def result(self, where):
        return until(lambda: self.read(where))

    def told(self, inference):
        """Return the notification of a request."""
        heard = {}

        def receive():
            for each in self.sqs.receive_message(
                QueueUrl=self.queue, MaxNumberOfMessages=10, WaitTimeSeconds=0
            ).get("Messages", []):
                message = json.loads(json.loads(each["Body"])["Message"])
                heard[message["inferenceId"]] = message
            return heard.get(inference)

        return until(receive)

    def keys(self, prefix):
        """Return the keys of all objects that begin so."""
        pages = self.s3.get_paginator("list_objects_v2").paginate(Bucket="models", Prefix=prefix)
        return [each["Key"] for page in pages for each in page.get("Contents", [])]

    def resize(self, name, count):
        self.hosted.sagemaker.update_endpoint_weights_and_capacities(
            EndpointName=name,
            DesiredWeightsAndCapacities=[{"VariantName": "one", "DesiredInstanceCount": count}],
        )
        self.hosted.settled(name)

    def metric(self, name, statistic, dimensions):
        """Return a statistic of these minutes and its unit, or None where there are no values."""
        present = datetime.now(UTC)
        with closing(self.cloud.client("cloudwatch")) as cloudwatch:
            points = cloudwatch.get_metric_statistics(
                Namespace="AWS/SageMaker",
                MetricName=name,
                Dimensions=[{"Name": key, "Value": value} for key, value in dimensions.items()],
                StartTime=present - timedelta(hours=1),
                EndTime=present + timedelta(hours=1),
                Period=86_400,
                Statistics=[statistic],
            )["Datapoints"]
        return (points[0][statistic], points[0]["Unit"]) if points else None

    def backlog(self, name):
        (found,) = [each for each in self.cloud.state()["backlogs"] if each["endpoint"] == name]
        return found


@pytest.fixture(scope="module", name="asking")
def _asking():
    asking = Asking()
    asking.hosted.make_models()
    asking.listen()
    yield asking
    asking.close()


@pytest.fixture(scope="module", name="steady")
def _steady(asking):
    return asking.endpoint("steady", topic=asking.topic)


def refused(call, **arguments):
    with pytest.raises(ClientError) as caught:
        call(**arguments)
    return caught.value.response["Error"]


def test_a_body_that_comes_along_is_answered_in_s3_and_told(asking, steady):
    said = asking.ask(steady, InferenceId="mine", CustomAttributes="a=b")
    assert said["ResponseMetadata"]["HTTPStatusCode"] == 202
    assert said["InferenceId"] == "mine"
    assert said["FailureLocation"].startswith("s3://models/failed/")
    assert json.loads(asking.result(said["OutputLocation"])) == [[7.0, -1.0]]
    told = asking.told("mine")
    assert told["invocationStatus"] == "Completed"
    assert told["responseParameters"]["outputLocation"] == said["OutputLocation"]
    assert told["requestParameters"]["endpointName"] == steady
    assert told["receivedTime"] <= told["eventTime"]
    assert asking.read(said["FailureLocation"]) is None


def test_a_body_in_s3_is_answered(asking, steady):
    asking.s3.put_object(Bucket="models", Key="in.json", Body=BODY)
    said = asking.ask(steady, InputLocation="s3://models/in.json", Filename="own.json")
    assert said["OutputLocation"] == "s3://models/out/own.json"
    assert json.loads(asking.result(said["OutputLocation"])) == [[7.0, -1.0]]
    told = asking.told(said["InferenceId"])
    assert told["requestParameters"]["inputLocation"] == "s3://models/in.json"


def test_a_large_body_and_its_answer_are_never_whole_in_memory(asking, steady):
    rows = np.tile(np.float32(ROWS), (64 * 2**20 // 12, 1))
    asking.s3.upload_fileobj(io.BytesIO(pack_npy(rows)), "models", "large.npy")
    (instance,) = asking.hosted.instances(steady)
    pids = (asking.cloud.pid, instance["pid"])
    before = [psutil.Process(pid).memory_info().rss for pid in pids]

    large = {"InputLocation": "s3://models/large.npy", "ContentType": NPY, "Accept": NPY}
    said = asking.ask(steady, **large)

    answers = unpack_npy(asking.result(said["OutputLocation"]))
    np.testing.assert_array_equal(answers, np.tile(np.float32([7, -1]), (len(rows), 1)))
    grown = [most_resident(pid) - was for pid, was in zip(pids, before, strict=True)]
    assert max(grown) < 40e6


def test_a_request_without_a_content_type_has_that_of_its_object(asking, steady):
    asking.s3.put_object(Bucket="models", Key="typed", Body=b"1,2,3\n", ContentType="text/csv")
    location = {"InputLocation": "s3://models/typed"}
    ask = asking.runtime.invoke_endpoint_async
    said = ask(EndpointName=steady, **location)
    told_otherwise = ask(EndpointName=steady, **location, ContentType="application/json")

    assert asking.result(said["OutputLocation"]).decode().split() == ["7.0,-1.0"]
    assert b"400" in asking.result(told_otherwise["FailureLocation"])


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"InputLocation": "s3://models/missing"}, "Could not download S3 object"),
        ({"InputLocation": "s3://nowhere/missing"}, "Could not download S3 object"),
        ({"ContentType": "text/unknown"}, "client error"),
        ({"Body": "not rows"}, "client error"),
    ],
)
def test_what_cannot_be_answered_is_a_failure_in_s3_and_told(asking, steady, options, why):
    said = asking.ask(steady, **options)
    assert why in asking.result(said["FailureLocation"]).decode()
    told = asking.told(said["InferenceId"])
    assert told["invocationStatus"] == "Failed"
    assert why in told["failureReason"]
    assert asking.read(said["OutputLocation"]) is None


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"Body": b"x" * 128_001}, "less than or equal to 128000"),
        ({"Body": b""}, "either an InputLocation or a Body"),
        ({"InputLocation": "s3://models/a", "Body": b"x"}, "either an InputLocation or a Body"),
        ({"RequestTTLSeconds": 21_601}, "less than or equal to 21600"),
        ({"InvocationTimeoutSeconds": 3601}, "less than or equal to 3600"),
        ({"InputLocation": "s3://models"}, "must name an object"),
    ],
)
def test_what_breaks_a_limit_is_refused(asking, steady, options, why):
    error = refused(asking.ask, name=steady, **options)
    assert error["Code"] == "ValidationError"
    assert why in error["Message"]


def test_an_endpoint_is_asynchronous_or_not(asking, steady):
    error = refused(asking.hosted.invoke, name=steady)
    assert (error["Code"], "is asynchronous" in error["Message"]) == ("ValidationError", True)
    at_once = asking.hosted.endpoint()
    assert "is not asynchronous" in refused(asking.ask, name=at_once)["Message"]
    assert "not found" in refused(asking.ask, name="nobody")["Message"]


def test_a_configuration_is_kept_and_described(asking, steady):
    sagemaker = asking.hosted.sagemaker
    kept = sagemaker.describe_endpoint_config(EndpointConfigName=steady)["AsyncInferenceConfig"]
    assert kept["OutputConfig"]["NotificationConfig"]["SuccessTopic"] == asking.topic
    assert sagemaker.describe_endpoint(EndpointName=steady)["AsyncInferenceConfig"] == kept


@pytest.mark.parametrize(
    ("variant", "output", "why"),
    [
        (serverless(), {"S3OutputPath": "s3://models/out"}, "serverless"),
        (on_instances(), {}, "needs an S3OutputPath"),
        (on_instances(), {"S3OutputPath": "s3://m/out", "KmsKeyId": "k"}, "not yet offered"),
    ],
)
def test_a_configuration_that_cannot_be_is_refused(asking, variant, output, why):
    error = refused(
        asking.hosted.sagemaker.create_endpoint_config,
        EndpointConfigName="never",
        ProductionVariants=[variant],
        AsyncInferenceConfig={"OutputConfig": output},
    )
    assert why in error["Message"]


def test_requests_wait_while_there_is_no_instance(asking):
    name = asking.endpoint("scaled", topic=asking.topic)
    asking.resize(name, 0)
    assert asking.hosted.instances(name) == []
    waiting = [asking.ask(name)["OutputLocation"] for _ in range(3)]
    backlog = asking.backlog(name)
    assert backlog["ApproximateBacklogSize"] == 3
    assert backlog["HasBacklogWithoutCapacity"] == 1
    asking.resize(name, 1)
    assert all(asking.result(where) for where in waiting)
    assert until(lambda: asking.backlog(name)["ApproximateBacklogSize"] == 0)


def test_cloudwatch_has_the_metrics_of_requests_and_backlog(asking):
    name = asking.endpoint("measured")
    of_endpoint, of_variant = {"EndpointName": name}, {"EndpointName": name, "VariantName": "one"}
    until(lambda: asking.metric("ApproximateBacklogSize", "Minimum", of_endpoint) == (0.0, "Count"))
    asking.resize(name, 0)
    waiting = [asking.ask(name)["OutputLocation"] for _ in range(3)]
    waiting.append(asking.ask(name, Body="no JSON")["FailureLocation"])

    until(lambda: asking.metric("HasBacklogWithoutCapacity", "Maximum", of_endpoint))
    for metric, most in (("ApproximateBacklogSize", 4), ("ApproximateBacklogSizePerInstance", 4)):
        until(lambda m=metric, n=most: asking.metric(m, "Maximum", of_endpoint) == (n, "Count"))
    assert asking.metric("ApproximateAgeOfOldestRequest", "Maximum", of_endpoint)[1] == "Seconds"
    asking.resize(name, 1)
    for where in waiting:
        asking.result(where)

    until(lambda: asking.metric("InvocationsProcessed", "Sum", of_variant) == (4.0, "Count"))
    assert asking.metric("InvocationFailures", "Sum", of_variant) == (1.0, "Count")
    backlog, unit = asking.metric("TimeInBacklog", "Maximum", of_variant)
    total, _ = asking.metric("TotalProcessingTime", "Maximum", of_variant)
    assert unit == "Milliseconds"
    assert 0 < backlog < total
    for metric in ("ModelLatency", "RequestDownloadLatency", "ResponseUploadLatency"):
        assert asking.metric(metric, "Average", of_variant)[1] == "Microseconds"
    for metric in ("Invocations", "InvocationsPerInstance", "OverheadLatency"):
        assert asking.metric(metric, "Average", of_variant) is None


def test_an_instance_gets_no_more_at_once_than_it_may(asking):
    name = asking.endpoint("narrow", most=2)
    with asking.hosted.stopped(name):
        waiting = [asking.ask(name)["OutputLocation"] for _ in range(5)]
        until(lambda: asking.hosted.instances(name)[0]["in_flight"] >= 2)
        assert asking.hosted.instances(name)[0]["in_flight"] == 2
        assert asking.backlog(name)["ApproximateBacklogSize"] == 5
    assert all(asking.result(where) for where in waiting)


def test_a_model_that_takes_too_long_fails_and_the_next_is_answered(asking, steady):
    with asking.hosted.stopped(steady):
        late = asking.ask(steady, InvocationTimeoutSeconds=1)
        assert "timed out" in asking.result(late["FailureLocation"]).decode()
    assert asking.result(asking.ask(steady)["OutputLocation"])


def test_a_request_outlives_its_instance(asking):
    name = asking.endpoint("mortal", most=1)
    with asking.hosted.stopped(name) as pids:
        waiting = [asking.ask(name)["OutputLocation"] for _ in range(3)]
        os.kill(pids[0], signal.SIGKILL)
        assert all(asking.result(where) for where in waiting)


def test_a_topic_that_is_gone_holds_nothing_up(asking):
    name = asking.endpoint("untold", topic="arn:aws:sns:us-east-1:123456789012:gone")
    for _ in range(3):
        assert asking.result(asking.ask(name)["OutputLocation"])
    log = asking.cloud.path / "front.log"
    assert until(lambda: log.read_text().count("A notification failed") >= 3)


def test_a_bucket_that_is_gone_fails_the_request_and_says_so(asking):
    asking.s3.create_bucket(Bucket="passing")
    asking.hosted.sagemaker.create_endpoint_config(
        EndpointConfigName="homeless",
        ProductionVariants=[on_instances()],
        AsyncInferenceConfig={
            "OutputConfig": {
                "S3OutputPath": "s3://passing/out",
                "NotificationConfig": {"SuccessTopic": asking.topic, "ErrorTopic": asking.topic},
            }
        },
    )
    asking.hosted.sagemaker.create_endpoint(EndpointName="homeless", EndpointConfigName="homeless")
    asking.hosted.settled("homeless")
    asking.s3.delete_bucket(Bucket="passing")
    said = asking.ask("homeless")
    assert "FailureLocation" not in said
    told = asking.told(said["InferenceId"])
    assert "Could not upload" in told["failureReason"]


def test_requests_of_an_endpoint_that_is_deleted_fail(asking):
    name = asking.endpoint("ended")
    asking.resize(name, 0)
    said = asking.ask(name)
    asking.hosted.sagemaker.delete_endpoint(EndpointName=name)
    assert "was deleted" in asking.result(said["FailureLocation"]).decode()


class NoFleet:
    """No instances, and never any."""

    instances = ()


class Waiting:
    """An endpoint without an instance, told the time, in a folder that can be opened again."""

    def __init__(self, path):
        self.path, self.wall, self.told = path, 1e9, []
        output = {"S3OutputPath": "s3://kept/out", "S3FailurePath": "s3://kept/failed"}
        topics = {"SuccessTopic": "arn:aws:sns:r:1:t", "ErrorTopic": "arn:aws:sns:r:1:t"}
        self.endpoint = Endpoint("one", "arn", "config", 0.0, 0.0)
        self.endpoint.async_config = {"OutputConfig": output | {"NotificationConfig": topics}}
        self.endpoint.variants = [Variant({"VariantName": "main"}, {}, NoFleet())]

    @property
    def endpoints(self):
        return [self.endpoint]

    def find(self, _):
        return self.endpoint

    find_in_service = find

    async def publish(self, _, message):
        self.told.append(json.loads(message))

    def count(self, name):
        dimensions = {"EndpointName": "one", "VariantName": "main"}
        key = metric_key(INVOCATIONS, name, dimensions)
        return self.metrics.statistics(key, start=0, end=math.inf).count

    def ask(self, asynchronous, *, body=b"x", status=202, **headers):
        request = Request()
        request.method, request.path = "POST", "/endpoints/one/async-invocations"
        request.body = body
        request.headers = {f"x-amzn-sagemaker-{name}": value for name, value in headers.items()}
        replies = []
        asynchronous.handle(request, replies.append)
        assert [reply.status for reply in replies] == [status]
        return json.loads(replies[0].body)

    @asynccontextmanager
    async def up(self, steady):
        with closing(Store(self.path)) as store:
            objects = ObjectStore(store)
            if not objects.buckets():
                objects.create_bucket("kept", "us-east-1")
            self.metrics = Metrics(store)
            asynchronous = AsyncInvoker(
                self,
                AsyncQueue(store),
                objects,
                self.publish,
                self.metrics,
                clock=lambda: self.wall,
                steady=steady,
            )
            asynchronous.start()
            yield asynchronous
            await asynchronous.close()


async def soon(there):
    async with asyncio.timeout(60):
        while not there():
            await asyncio.sleep(0)


@pytest.mark.parametrize("seconds", ["--5", "²", "1.5"])
def test_seconds_that_are_no_number_are_refused(tmp_path, seconds):
    waiting = Waiting(tmp_path)

    async def story():
        async with waiting.up(lambda: 0.0) as asynchronous:
            return waiting.ask(asynchronous, status=400, requestttlseconds=seconds)

    assert "requestTTLSeconds must be of the type integer" in asyncio.run(story())["message"]


def test_a_body_that_cannot_be_opened_fails_its_request_and_holds_up_no_other(
    tmp_path, monkeypatch
):
    waiting = Waiting(tmp_path)
    waiting.endpoint.variants[0].fleet.instances = (None,)

    def get(*_):
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    monkeypatch.setattr(ObjectStore, "get", get)

    async def story():
        async with waiting.up(lambda: 0.0) as asynchronous:
            for _ in range(2):
                waiting.ask(asynchronous, body=b"", inputlocation="s3://kept/rows")
            await soon(lambda: len(waiting.told) == 2)

    asyncio.run(story())
    assert {told["failureReason"] for told in waiting.told} == {
        "InternalError: [Errno 24] Too many open files"
    }


def test_a_request_expires_by_a_clock_that_never_jumps(tmp_path):
    waiting = Waiting(tmp_path)
    steady = [0.0]

    async def story():
        async with waiting.up(lambda: steady[0]) as asynchronous:
            waiting.ask(asynchronous, requestttlseconds="60")
            waiting.wall -= 5000  # the clock is set back, and nothing comes of it
            steady[0] = 59.9
            asynchronous._dispatch("one")
            assert asynchronous.backlogs()[0]["ApproximateBacklogSize"] == 1
            steady[0] = 60.0
            asynchronous._dispatch("one")
            await soon(lambda: waiting.count("InvocationsProcessed"))
            assert waiting.count("ExpiredRequests") == 1

    asyncio.run(story())
    (told,) = waiting.told
    assert told["invocationStatus"] == "Failed"
    assert "expired" in told["failureReason"]
    assert told["receivedTime"] <= told["eventTime"]


@pytest.mark.parametrize(("jump", "left"), [(-5000.0, 60.0), (20.0, 40.0), (5000.0, 0.0)])
def test_a_restart_trusts_the_clock_no_further_than_a_requests_time(tmp_path, jump, left):
    waiting = Waiting(tmp_path)

    async def story():
        async with waiting.up(lambda: 0.0) as asynchronous:
            waiting.ask(asynchronous, requestttlseconds="60")
        waiting.wall += jump
        steady = [1000.0]
        async with waiting.up(lambda: steady[0]) as asynchronous:
            if left:
                steady[0] += left - 0.1
                asynchronous._dispatch("one")
                assert asynchronous.backlogs()[0]["ApproximateBacklogSize"] == 1
                steady[0] += 0.1
                asynchronous._dispatch("one")
            await soon(lambda: waiting.told)

    asyncio.run(story())
    assert [told["invocationStatus"] for told in waiting.told] == ["Failed"]


def test_a_notification_that_was_not_sent_goes_out_after_a_restart(tmp_path):
    waiting = Waiting(tmp_path)
    with closing(Store(tmp_path)) as store:
        backlog = AsyncQueue(store)
        asked = AsyncRequest(
            id="a", endpoint="one", input="", output="s3://kept/out/a", failure="", headers={},
            ttl=60, timeout=1, topics={},
        )  # fmt: skip
        number = backlog.add(asked, 1.0, b"x")
        backlog.set_notice(
            number, Notice("arn:aws:sns:r:1:t", json.dumps({"invocationStatus": "y"}))
        )

    async def story():
        async with waiting.up(lambda: 0.0):
            await soon(lambda: waiting.told)

    asyncio.run(story())
    with closing(Store(tmp_path)) as store:
        assert AsyncQueue(store).list_unsent() == []


def test_a_thousand_requests_outlive_a_kill_and_each_is_answered_once(tmp_path):
    first = Asking(tmp_path)
    first.hosted.make_models()
    name = first.endpoint("durable", most=4)
    first.resize(name, 0)
    count_writes(tmp_path)
    waiting = [first.ask(name)["OutputLocation"] for _ in range(1000)]
    first.resize(name, 1)
    first.result(waiting[100])  # it is at work
    os.kill(first.cloud.pid, signal.SIGKILL)
    first.close()

    second = Asking(tmp_path)
    try:
        until(lambda: second.backlog(name)["ApproximateBacklogSize"] == 0)
        results = until(lambda: found if len(found := second.keys("out/")) >= 1000 else None)
        assert sorted(f"s3://models/{key}" for key in results) == sorted(waiting)
        assert second.keys("failed/") == []
        assert json.loads(second.read(waiting[-1])) == [[7.0, -1.0]]
        assert writes(tmp_path) == dict.fromkeys(waiting, 1)
        assert not alive(first.cloud.pid)
    finally:
        second.close()
