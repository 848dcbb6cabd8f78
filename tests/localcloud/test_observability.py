"""What a local cloud tells of its endpoints: metrics, logs, the trail of calls, events."""

import asyncio
import json
import os
import signal
import sqlite3
import time
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import numpy as np
import pytest
from botocore.exceptions import ClientError

from tests import wire
from tests.hosted import Hosted, headers, on_instances, serverless, until
from tests.refused import refused
from workbench.localcloud import observability
from workbench.localcloud.cloudwatch.log_writer import LogWriter
from workbench.localcloud.cloudwatch.metrics import RESOLUTION
from workbench.localcloud.core.store import Store
from workbench.localcloud.eventbridge import format_status
from workbench.localcloud.observability import _LogFiles, _name_endpoint_stream

HOUR = timedelta(hours=1)


@contextmanager
def client(hosted, service):
    with closing(hosted.cloud.client(service)) as made:
        yield made


def invoked(hosted, name, count, **options):
    """Return what the headers of so many answers tell of the model's latency, in microseconds."""
    told = [headers(hosted.invoke(name, **options)) for _ in range(count)]
    return [int(each["x-workbench-model-latency"]) for each in told]


def read(hosted, name, variant="one", namespace="AWS/SageMaker"):
    """Return a function that reads a statistic of a metric over the last hours; None: no value."""

    def value(metric, statistic="Sum"):
        dimensions = [
            {"Name": "EndpointName", "Value": name},
            {"Name": "VariantName", "Value": variant},
        ]
        with client(hosted, "cloudwatch") as aws:
            (found,) = aws.get_metric_data(
                MetricDataQueries=[
                    {
                        "Id": "m",
                        "MetricStat": {
                            "Metric": {
                                "Namespace": namespace,
                                "MetricName": metric,
                                "Dimensions": dimensions,
                            },
                            "Period": 86_400,
                            "Stat": statistic,
                        },
                    }
                ],
                StartTime=datetime.now(UTC) - HOUR,
                EndTime=datetime.now(UTC) + HOUR,
            )["MetricDataResults"]
        return found["Values"][0] if found["Values"] else None

    return value


# --- metrics


def test_what_cloudwatch_counts_is_what_the_client_counts(hosted):
    name = hosted.endpoint()
    latencies = invoked(hosted, name, 400)
    value = read(hosted, name)

    assert value("Invocations") == 400
    assert value("Invocations", "SampleCount") == 400
    assert value("InvocationsPerInstance") == 400
    assert value("ModelLatency") == sum(latencies)
    assert value("ModelLatency", "Minimum") == min(latencies)
    assert value("ModelLatency", "Maximum") == max(latencies)
    assert value("OverheadLatency", "SampleCount") == 400
    for quantile in (0.5, 0.9, 0.99):
        exact = np.quantile(latencies, quantile, method="inverted_cdf")
        assert value("ModelLatency", f"p{100 * quantile:g}") == pytest.approx(exact, rel=RESOLUTION)
    for metric in ("Invocation4XXErrors", "Invocation5XXErrors", "InvocationModelErrors"):
        assert (value(metric), value(metric, "SampleCount")) == (0, 400)


def test_errors_of_models_are_counted(hosted):
    name = hosted.endpoint()
    hosted.invoke(name)
    for _ in range(2):
        with refused(ClientError, "ModelError", 400):
            hosted.invoke(name, rows="no rows")
    value = read(hosted, name)
    counts = ("Invocations", "Invocation4XXErrors", "Invocation5XXErrors", "InvocationModelErrors")
    assert [value(metric) for metric in counts] == [3, 2, 0, 2]


def test_requests_are_shared_among_variants_and_instances(hosted):
    name = hosted.endpoint(on_instances("a", count=2), on_instances("b"))
    invoked(hosted, name, 10, TargetVariant="a")
    invoked(hosted, name, 5, TargetVariant="b")
    told = [
        (
            read(hosted, name, each)("Invocations"),
            read(hosted, name, each)("InvocationsPerInstance"),
        )
        for each in ("a", "b")
    ]
    assert told == [(10, 5), (5, 5)]


@contextmanager
def occupied(hosted, name):
    """Have the endpoint's one instance be busy inside the block."""
    with hosted.stopped(name) as (pid,), hosted.pending(name):
        yield
        os.kill(pid, signal.SIGCONT)


def test_cold_starts_and_concurrency_are_measured_on_serverless_endpoints(hosted):
    name = hosted.endpoint(serverless(most=1))
    first = headers(hosted.invoke(name))
    with occupied(hosted, name):
        for _ in range(3):
            with refused(ClientError, "ThrottlingException"):
                hosted.invoke(name)
    value = read(hosted, name)

    assert value("Invocations") == 2
    assert value("ModelSetupTime") == int(first["x-workbench-cold"])
    assert value("ServerlessConcurrentExecutionsUtilization", "Minimum") == 1
    in_use = value("ServerlessConcurrentExecutionsUtilization", "SampleCount")
    assert in_use == 5  # throttled requests have nothing else
    assert value("InvocationsPerInstance") is None
    assert value("ServerlessProvisionedConcurrencyUtilization") is None


def test_provisioned_concurrency_is_measured(hosted):
    name = hosted.endpoint(serverless(most=2, ProvisionedConcurrency=1))
    invoked(hosted, name, 2)
    with occupied(hosted, name):
        invoked(hosted, name, 1)
    value = read(hosted, name)

    provisioned = "ServerlessProvisionedConcurrency"
    assert value(f"{provisioned}Invocations") == 3
    assert value(f"{provisioned}SpilloverInvocations") == 1
    assert value(f"{provisioned}Executions", "Maximum") == 1
    assert value(f"{provisioned}Utilization", "Maximum") == 1
    in_use = "ServerlessConcurrentExecutionsUtilization"
    assert (value(in_use, "Minimum"), value(in_use, "Maximum")) == (0.5, 1)


def test_metrics_survive_the_end_of_the_cloud(tmp_path):
    hosted = Hosted(tmp_path)
    hosted.make_models()
    name = hosted.endpoint()
    latencies = invoked(hosted, name, 20)
    hosted.close()
    again = Hosted(tmp_path)
    again.settled(name)
    latencies += invoked(again, name, 10)
    value = read(again, name)

    assert (value("Invocations"), value("ModelLatency")) == (30, sum(latencies))
    with client(again, "logs") as logs:  # the lines of both lives
        events = logs.filter_log_events(logGroupName=f"/aws/sagemaker/Endpoints/{name}")["events"]
    assert sum("Serving at" in each["message"] for each in events) == 2
    again.close()


def test_a_cloud_that_is_killed_keeps_what_it_flushed(tmp_path):
    hosted = Hosted(tmp_path)
    hosted.make_models()
    name = hosted.endpoint()
    invoked(hosted, name, 20)
    usage = read(hosted, name, namespace="/aws/sagemaker/Endpoints")
    until(lambda: usage("MemoryUtilization"))  # which is put just before a flush
    os.kill(hosted.cloud.pid, signal.SIGKILL)
    hosted.close()
    again = Hosted(tmp_path)

    assert read(again, name)("Invocations") == 20
    again.close()


# --- logs


def test_what_containers_write_is_in_the_logs(hosted):
    name = hosted.endpoint(on_instances("a"), on_instances("b", count=2))
    numbers = {each["instance"] for each in hosted.instances(name)}
    group = f"/aws/sagemaker/Endpoints/{name}"
    with client(hosted, "logs") as logs:
        events = logs.filter_log_events(logGroupName=group, filterPattern="Serving")["events"]
        streams = logs.describe_log_streams(logGroupName=group)["logStreams"]

    assert len(numbers) == 3
    assert {each["logStreamName"].split("/")[0] for each in streams} == {"a", "b"}
    assert {int(each["logStreamName"].split("/")[1]) for each in streams} == numbers
    assert len(events) == 3
    assert all(abs(each["timestamp"] / 1000 - time.time()) < 3600 for each in events)


def test_what_containers_of_transform_jobs_write_is_in_the_logs(hosted):
    hosted.s3.put_object(Bucket="models", Key="rows/a.csv", Body=b"1,2,3\n")
    hosted.s3.put_object(Bucket="models", Key="rows/b.csv", Body=b"1,2\n")
    place = {"S3DataType": "S3Prefix", "S3Uri": "s3://models/rows/"}
    hosted.sagemaker.create_transform_job(
        TransformJobName="writes",
        ModelName="good",
        TransformInput={"DataSource": {"S3DataSource": place}, "ContentType": "text/csv"},
        TransformOutput={"S3OutputPath": "s3://models/out", "Accept": "text/csv"},
        TransformResources={"InstanceType": "ml.m5.large", "InstanceCount": 1},
    )
    describe = hosted.sagemaker.describe_transform_job
    until(lambda: describe(TransformJobName="writes")["TransformJobStatus"] == "Failed")
    group = "/aws/sagemaker/TransformJobs"
    with client(hosted, "logs") as logs:
        stream, data = logs.describe_log_streams(logGroupName=group, logStreamNamePrefix="writes/")[
            "logStreams"
        ]
        found = logs.filter_log_events(logGroupName=group, filterPattern="Serving")["events"]
        told = logs.get_log_events(logGroupName=group, logStreamName=data["logStreamName"])

    job, _, rest = stream["logStreamName"].partition("/")
    instance, _, began = rest.partition("-")
    assert (job, instance.isdecimal()) == ("writes", True)
    assert abs(int(began) - time.time()) < 3600
    assert stream["logStreamName"] in {each["logStreamName"] for each in found}
    assert data["logStreamName"] == f"{stream['logStreamName']}/data-log"
    settings, error = (each["message"] for each in told["events"])
    expected = "MaxConcurrentTransforms=1, MaxPayloadInMB=6, BatchStrategy=MULTI_RECORD"
    assert settings.endswith(f":[sagemaker logs]: {expected}")
    assert ":[sagemaker logs]: models/rows/b.csv: ClientError: " in error


def test_a_look_that_fails_is_not_the_last(tmp_path, monkeypatch):
    monkeypatch.setattr(observability, "_TICK", 0.0)

    async def story():
        with closing(Store(tmp_path)) as store:
            hosting, packages = SimpleNamespace(endpoints=[]), SimpleNamespace()
            monitoring = observability.Monitoring(store, hosting, packages, LogWriter(store))
            looks, again = [], asyncio.Event()

            def evaluate():
                looks.append(None)
                if len(looks) == 1:
                    raise sqlite3.OperationalError("database or disk is full")
                again.set()

            monkeypatch.setattr(monitoring.alarms, "evaluate", evaluate)
            await monitoring.start()
            async with asyncio.timeout(60):
                await again.wait()
            await monitoring.close()

    asyncio.run(story())


def test_logs_are_read_by_the_whole_line_and_a_piece_at_a_time(tmp_path):
    path = tmp_path / "e" / "one" / "1.log"
    path.parent.mkdir(parents=True)
    logs = _LogFiles(tmp_path, _name_endpoint_stream)

    def fresh():
        return [(each.stream, list(each.lines())) for each in logs.fresh()]

    path.write_text("first\nsec")
    assert fresh() == [("one/1", ["first"])]
    assert fresh() == []
    path.write_text("first\nsecond\n\n" + "x" * (2**20 + 5) + "\n")
    assert [[len(line) for line in lines] for _, lines in fresh()] == [[6]]
    assert [[len(line) for line in lines] for _, lines in fresh()] == [[2**20]]
    assert [[len(line) for line in lines] for _, lines in fresh()] == [[5]]
    assert fresh() == []


# --- the trail of calls


def looked_up(hosted, **wanted):
    with client(hosted, "cloudtrail") as aws:
        wire.check_answers(aws)
        pages = aws.get_paginator("lookup_events").paginate(
            LookupAttributes=[
                {"AttributeKey": key, "AttributeValue": wanted[key]} for key in wanted
            ]
        )
        return [event for page in pages for event in page["Events"]]


def test_calls_are_on_the_trail_but_not_those_of_models(hosted):
    name = hosted.endpoint()
    invoked(hosted, name, 3)
    found = looked_up(hosted, ResourceName=name)

    assert {each["EventName"] for each in found} == {"CreateEndpoint", "DescribeEndpoint"}
    assert not looked_up(hosted, EventName="InvokeEndpoint")
    (created,) = (each for each in found if each["EventName"] == "CreateEndpoint")
    assert created["EventSource"] == "sagemaker.amazonaws.com"
    assert created["ReadOnly"] == "false"
    assert created["Username"] == "local"
    assert {"ResourceType": "AWS::SageMaker::Endpoint", "ResourceName": name} in created[
        "Resources"
    ]
    told = json.loads(created["CloudTrailEvent"])
    assert told["requestParameters"]["endpointName"] == name
    assert told["eventID"] == created["EventId"]
    assert "errorCode" not in told


def test_calls_that_manage_buckets_are_on_the_trail_but_not_those_of_objects(hosted):
    hosted.s3.create_bucket(Bucket="trailed")
    hosted.s3.put_object(Bucket="trailed", Key="a", Body=b"x")
    hosted.s3.list_objects_v2(Bucket="trailed")
    hosted.s3.get_bucket_location(Bucket="trailed")
    hosted.s3.list_buckets()
    hosted.s3.delete_object(Bucket="trailed", Key="a")
    hosted.s3.delete_bucket(Bucket="trailed")
    with pytest.raises(ClientError):
        hosted.s3.delete_bucket(Bucket="trailed")

    found = looked_up(hosted, ResourceName="trailed")

    names = [each["EventName"] for each in found]
    assert names == ["DeleteBucket", "DeleteBucket", "GetBucketLocation", "CreateBucket"]
    assert json.loads(found[0]["CloudTrailEvent"])["errorCode"] == "NoSuchBucket"
    assert found[-1]["EventSource"] == "s3.amazonaws.com"
    assert found[-1]["Resources"][0]["ResourceType"] == "AWS::S3::Bucket"
    assert looked_up(hosted, EventName="ListBuckets")
    for data in ("PutObject", "ListObjects", "ListObjectsV2", "DeleteObject"):
        assert not looked_up(hosted, EventName=data)


def test_calls_that_manage_functions_are_on_the_trail_without_their_code(hosted):
    with client(hosted, "lambda") as aws:
        with pytest.raises(ClientError):
            aws.get_function(FunctionName="nobody")
        with pytest.raises(ClientError):
            aws.invoke(FunctionName="nobody", Payload=b"{}")
        with pytest.raises(ClientError):
            aws.create_function(
                FunctionName="broken",
                Role=hosted.cloud.role,
                Runtime="python3.11",
                Handler="a.b",
                Code={"ZipFile": b"no zip"},
                Environment={"Variables": {"API_KEY": "hush"}},
            )
        aws.list_functions()

    (asked,) = looked_up(hosted, ResourceName="nobody")
    assert asked["EventName"] == "GetFunction20150331v2"
    assert asked["ReadOnly"] == "true"
    (made,) = looked_up(hosted, EventName="CreateFunction20150331")
    assert made["EventSource"] == "lambda.amazonaws.com"
    assert "errorCode" in json.loads(made["CloudTrailEvent"])
    assert {"ResourceType": "AWS::Lambda::Function", "ResourceName": "broken"} in made["Resources"]
    for hidden in ("API_KEY", "hush", "bm8gemlw"):
        assert hidden not in made["CloudTrailEvent"]
    assert looked_up(hosted, EventName="ListFunctions20150331")


def test_refused_calls_are_on_the_trail_with_their_error(hosted):
    with client(hosted, "sagemaker") as aws, client(hosted, "iam") as iam:
        for call, options in (
            (aws.delete_endpoint, {"EndpointName": "nobody"}),
            (aws.list_training_jobs, {}),
            (iam.get_role, {"RoleName": "nobody"}),
        ):
            with pytest.raises(ClientError):
                call(**options)
    errors = {}
    for operation in ("DeleteEndpoint", "ListTrainingJobs", "GetRole"):
        (event,) = looked_up(hosted, EventName=operation)
        errors[operation] = json.loads(event["CloudTrailEvent"])["errorCode"]
    assert errors == {
        "DeleteEndpoint": "ValidationException",
        "ListTrainingJobs": "NotImplemented",
        "GetRole": "NoSuchEntity",
    }


def test_the_trail_shows_neither_secrets_nor_bodies(hosted):
    with client(hosted, "sagemaker") as aws:
        container = {
            "Image": hosted.cloud.image,
            "ModelDataUrl": "s3://models/good.tar.gz",
            "Environment": {"API_KEY": "hush"},
        }
        aws.create_model(ModelName="hush-model", PrimaryContainer=container)
    (event,) = looked_up(hosted, ResourceName="hush-model")
    assert "API_KEY" not in event["CloudTrailEvent"]
    assert '"hush"' not in event["CloudTrailEvent"]
    assert "good.tar.gz" in event["CloudTrailEvent"]


def test_the_trail_is_read_in_pages_the_last_call_first_within_a_time(hosted):
    began = datetime.now(UTC)
    with client(hosted, "sagemaker") as aws, client(hosted, "cloudtrail") as trail:
        for number in range(5):
            aws.create_model_package_group(ModelPackageGroupName=f"page-{number}")
        wanted = [{"AttributeKey": "EventName", "AttributeValue": "CreateModelPackageGroup"}]
        pages = trail.get_paginator("lookup_events").paginate(
            LookupAttributes=wanted, StartTime=began, PaginationConfig={"PageSize": 2}
        )
        names = [
            [each["Resources"][0]["ResourceName"] for each in page["Events"]] for page in pages
        ]
        before = trail.lookup_events(LookupAttributes=wanted, EndTime=began - HOUR)["Events"]
        with pytest.raises(trail.exceptions.InvalidTimeRangeException):
            trail.lookup_events(StartTime=began, EndTime=began - HOUR)
    assert names == [["page-4", "page-3"], ["page-2", "page-1"], ["page-0"]]
    assert before == []


# --- events


@contextmanager
def heard(hosted, pattern, *, topic=False):
    """Yield a function that returns the next event of a pattern, by way of a topic or not."""
    name = f"heard-{time.monotonic_ns()}"
    with (
        client(hosted, "sqs") as sqs,
        client(hosted, "sns") as sns,
        client(hosted, "events") as bus,
    ):
        queue = sqs.create_queue(QueueName=name)["QueueUrl"]
        names = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])
        target = names["Attributes"]["QueueArn"]
        if topic:
            arn = sns.create_topic(Name=name)["TopicArn"]
            sns.subscribe(TopicArn=arn, Protocol="sqs", Endpoint=target)
            target = arn
        bus.put_rule(Name=name, EventPattern=json.dumps(pattern))
        nobody = "arn:aws:lambda:us-east-1:123456789012:function:nobody"
        targets = [{"Id": "nobody", "Arn": nobody}, {"Id": "queue", "Arn": target}]
        bus.put_targets(Rule=name, Targets=targets)

        def following():
            (message,) = until(
                lambda: sqs.receive_message(QueueUrl=queue, WaitTimeSeconds=5).get("Messages")
            )
            sqs.delete_message(QueueUrl=queue, ReceiptHandle=message["ReceiptHandle"])
            body = json.loads(message["Body"])
            return json.loads(body["Message"]) if topic else body

        yield following
        bus.remove_targets(Rule=name, Ids=["nobody", "queue"])
        bus.delete_rule(Name=name)


@pytest.mark.parametrize("topic", [False, True])
def test_changes_of_endpoints_reach_the_targets_of_rules(hosted, topic):
    pattern = {
        "source": ["aws.sagemaker"],
        "detail-type": ["SageMaker Endpoint State Change"],
    }
    with heard(hosted, pattern, topic=topic) as following:
        name = hosted.endpoint()
        hosted.sagemaker.delete_endpoint(EndpointName=name)
        events = [following() for _ in range(3)]
    statuses = [each["detail"]["EndpointStatus"] for each in events]
    assert statuses == ["CREATING", "IN_SERVICE", "DELETING"]
    assert {each["detail"]["EndpointName"] for each in events} == {name}
    assert events[0]["resources"] == [events[0]["detail"]["EndpointArn"]]
    assert datetime.fromisoformat(events[0]["time"])


def test_changes_of_transform_jobs_reach_the_targets_of_rules(hosted):
    place = {"S3DataType": "S3Prefix", "S3Uri": "s3://models/nothing"}
    pattern = {"detail-type": ["SageMaker Transform Job State Change"]}
    with heard(hosted, pattern) as following:
        hosted.sagemaker.create_transform_job(
            TransformJobName="told",
            ModelName="good",
            TransformInput={"DataSource": {"S3DataSource": place}},
            TransformOutput={"S3OutputPath": "s3://models/out"},
            TransformResources={"InstanceType": "ml.m5.large", "InstanceCount": 1},
        )
        events = [following() for _ in range(2)]
    details = [each["detail"] for each in events]
    assert [each["TransformJobStatus"] for each in details] == ["InProgress", "Failed"]
    assert "No S3 objects" in details[1]["FailureReason"]
    assert events[0]["resources"] == [details[0]["TransformJobArn"]]


def test_an_approval_reaches_those_who_wait_for_it(hosted):
    pattern = {
        "detail-type": ["SageMaker Model Package State Change"],
        "detail": {"ModelApprovalStatus": ["Approved"]},
    }
    with heard(hosted, pattern) as following:
        hosted.sagemaker.create_model_package_group(ModelPackageGroupName="awaited")
        arn = hosted.sagemaker.create_model_package(ModelPackageGroupName="awaited")
        arn = arn["ModelPackageArn"]
        hosted.sagemaker.update_model_package(ModelPackageArn=arn, ModelApprovalStatus="Approved")
        detail = following()["detail"]
    assert (detail["ModelPackageGroupName"], detail["ModelPackageVersion"]) == ("awaited", 1)
    assert detail["ModelPackageArn"] == arn


def test_alarms_tell_of_their_changes_too(hosted):
    with (
        heard(hosted, {"source": ["aws.cloudwatch"]}) as following,
        client(hosted, "cloudwatch") as aws,
    ):
        aws.put_metric_alarm(
            AlarmName="told",
            Namespace="Mine",
            MetricName="None",
            Statistic="Sum",
            Period=60,
            EvaluationPeriods=1,
            Threshold=1.0,
            ComparisonOperator="LessThanThreshold",
            TreatMissingData="breaching",
        )
        event = following()
        aws.delete_alarms(AlarmNames=["told"])
    assert event["detail-type"] == "CloudWatch Alarm State Change"
    assert event["detail"]["state"]["value"] == "ALARM"


@pytest.mark.parametrize(
    ("status", "told"),
    [
        ("InService", "IN_SERVICE"),
        ("UpdateRollbackFailed", "UPDATE_ROLLBACK_FAILED"),
        ("Failed", "FAILED"),
    ],
)
def test_events_word_statuses_their_own_way(status, told):
    assert format_status(status) == told
