"""boto3: each service of the local cloud, as a notebook would use it."""

import io
import json
import time
import zipfile
from datetime import datetime, timedelta, timezone
from http.client import HTTPConnection
from urllib.parse import urlsplit

import boto3
from boto3.s3.transfer import TransferConfig
from botocore.exceptions import ClientError
from steps import IMAGE, MODEL, NAME, ROLE, run_steps, step

UTC = timezone.utc  # noqa: UP017 - as scripts for older Pythons write it
SOON = {"WaiterConfig": {"Delay": 0.2, "MaxAttempts": 300}}
CODE = "def handler(event, context):\n    return {'sum': sum(event['values'])}\n"

session = boto3.Session()
s3 = session.client("s3")
sagemaker = session.client("sagemaker")
runtime = session.client("sagemaker-runtime")
functions = session.client("lambda")
cloudwatch = session.client("cloudwatch")
scaling = session.client("application-autoscaling")


def code_of(call, **arguments):
    """Return the code of the error that a call ends with."""
    try:
        call(**arguments)
    except ClientError as error:
        return error.response["Error"]["Code"]
    return None


@step
def objects():
    s3.create_bucket(Bucket=NAME)
    s3.put_object(Bucket=NAME, Key="a/b c+d.txt", Body=b"hello", Metadata={"who": "me"})
    got = s3.get_object(Bucket=NAME, Key="a/b c+d.txt")
    assert (got["Body"].read(), got["Metadata"]) == (b"hello", {"who": "me"}), got
    ranged = s3.get_object(Bucket=NAME, Key="a/b c+d.txt", Range="bytes=1-2")
    assert ranged["Body"].read() == b"el"
    s3.copy_object(Bucket=NAME, Key="copy", CopySource={"Bucket": NAME, "Key": "a/b c+d.txt"})
    assert s3.head_object(Bucket=NAME, Key="copy")["ContentLength"] == 5


@step
def checksums():
    for algorithm in ("CRC32", "SHA1", "SHA256"):
        s3.put_object(Bucket=NAME, Key=algorithm, Body=b"hello", ChecksumAlgorithm=algorithm)
        told = s3.head_object(Bucket=NAME, Key=algorithm, ChecksumMode="ENABLED")
        assert told[f"Checksum{algorithm}"], told
    wrong = {"Bucket": NAME, "Key": "wrong", "Body": b"hello", "ChecksumCRC32": "AAAAAA=="}
    assert code_of(s3.put_object, **wrong) in {"BadDigest", "InvalidRequest"}


@step
def uploads_in_parts():
    content = bytes(range(256)) * 50_000  # 12.8 MB
    parts = TransferConfig(multipart_threshold=5 << 20, multipart_chunksize=5 << 20)
    s3.upload_fileobj(io.BytesIO(content), NAME, "large", Config=parts)
    back = io.BytesIO()
    s3.download_fileobj(NAME, "large", back, Config=parts)
    assert back.getvalue() == content
    assert s3.head_object(Bucket=NAME, Key="large")["ETag"].endswith('-3"')


@step
def pages_of_lists():
    for number in range(7):
        s3.put_object(Bucket=NAME, Key=f"list/{number}", Body=b"")
    pages = s3.get_paginator("list_objects_v2").paginate(
        Bucket=NAME, Prefix="list/", PaginationConfig={"PageSize": 3}
    )
    assert [len(page["Contents"]) for page in pages] == [3, 3, 1]
    told = s3.list_objects_v2(Bucket=NAME, Delimiter="/")
    assert [each["Prefix"] for each in told["CommonPrefixes"]] == ["a/", "list/"]
    assert NAME in [each["Name"] for each in s3.list_buckets()["Buckets"]]


@step
def presigned_urls():
    for method, body in (("put_object", b"signed"), ("get_object", None)):
        url = s3.generate_presigned_url(method, {"Bucket": NAME, "Key": "signed"})
        parts = urlsplit(url)
        connection = HTTPConnection(parts.netloc, timeout=30)
        # urllib.request would add a content type, which version 2 of the signature covers
        connection.request(method[:3].upper(), f"{parts.path}?{parts.query}", body)
        answer = connection.getresponse()
        got = answer.read()
        assert answer.status == 200, got
        connection.close()
    assert got == b"signed", got


@step
def many_deletes():
    names = [{"Key": f"list/{number}"} for number in range(7)]
    told = s3.delete_objects(Bucket=NAME, Delete={"Objects": names})
    assert len(told["Deleted"]) == 7, told
    assert code_of(s3.get_object, Bucket=NAME, Key="list/1") == "NoSuchKey"
    assert code_of(s3.list_objects_v2, Bucket="no-such-bucket-here") == "NoSuchBucket"


@step
def model_registry():
    sagemaker.create_model_package_group(ModelPackageGroupName=NAME)
    s3.upload_file(MODEL, NAME, "model.tar.gz")
    container = {"Image": IMAGE, "ModelDataUrl": f"s3://{NAME}/model.tar.gz"}
    arn = sagemaker.create_model_package(
        ModelPackageGroupName=NAME,
        InferenceSpecification={
            "Containers": [container],
            "SupportedContentTypes": ["application/json"],
            "SupportedResponseMIMETypes": ["application/json"],
        },
        ModelApprovalStatus="PendingManualApproval",
    )["ModelPackageArn"]
    sagemaker.update_model_package(ModelPackageArn=arn, ModelApprovalStatus="Approved")
    found = sagemaker.list_model_packages(
        ModelPackageGroupName=NAME, ModelApprovalStatus="Approved"
    )
    assert [each["ModelPackageArn"] for each in found["ModelPackageSummaryList"]] == [arn]


@step
def serverless_endpoint():
    container = {"Image": IMAGE, "ModelDataUrl": f"s3://{NAME}/model.tar.gz"}
    sagemaker.create_model(ModelName=NAME, PrimaryContainer=container, ExecutionRoleArn=ROLE)
    variant = {
        "VariantName": "all",
        "ModelName": NAME,
        "ServerlessConfig": {"MemorySizeInMB": 2048, "MaxConcurrency": 2},
    }
    sagemaker.create_endpoint_config(EndpointConfigName=NAME, ProductionVariants=[variant])
    sagemaker.create_endpoint(EndpointName=NAME, EndpointConfigName=NAME)
    sagemaker.get_waiter("endpoint_in_service").wait(EndpointName=NAME, **SOON)
    answer = runtime.invoke_endpoint(
        EndpointName=NAME, Body=json.dumps([[1.0, 2.0, 3.0]]), ContentType="application/json"
    )
    assert len(json.loads(answer["Body"].read())[0]) == 2
    assert answer["InvokedProductionVariant"] == "all"
    bad = {"EndpointName": NAME, "Body": "{", "ContentType": "application/json"}
    assert code_of(runtime.invoke_endpoint, **bad) == "ModelError"
    assert code_of(runtime.invoke_endpoint, EndpointName="none", Body="") == "ValidationError"


@step
def scaling_of_an_endpoint():
    config = f"{NAME}-instances"
    variant = {
        "VariantName": "all",
        "ModelName": NAME,
        "InstanceType": "ml.m5.large",
        "InitialInstanceCount": 1,
    }
    sagemaker.create_endpoint_config(EndpointConfigName=config, ProductionVariants=[variant])
    sagemaker.create_endpoint(EndpointName=config, EndpointConfigName=config)
    sagemaker.get_waiter("endpoint_in_service").wait(EndpointName=config, **SOON)
    target = {
        "ServiceNamespace": "sagemaker",
        "ResourceId": f"endpoint/{config}/variant/all",
        "ScalableDimension": "sagemaker:variant:DesiredInstanceCount",
    }
    scaling.register_scalable_target(**target, MinCapacity=1, MaxCapacity=2)
    tracked = {"PredefinedMetricType": "SageMakerVariantInvocationsPerInstance"}
    scaling.put_scaling_policy(
        **target,
        PolicyName="track",
        PolicyType="TargetTrackingScaling",
        TargetTrackingScalingPolicyConfiguration={
            "TargetValue": 100.0,
            "PredefinedMetricSpecification": tracked,
        },
    )
    found = scaling.describe_scaling_policies(ServiceNamespace="sagemaker", PolicyNames=["track"])
    ours = [each for each in found["ScalingPolicies"] if config in each["ResourceId"]]
    assert len(ours) == 1, found
    assert code_of(scaling.describe_scalable_targets, ServiceNamespace="dynamodb") in {
        None,
        "NotImplemented",
    }
    scaling.deregister_scalable_target(**target)
    sagemaker.delete_endpoint(EndpointName=config)


@step
def lambda_functions():
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("main.py", CODE)
    functions.create_function(
        FunctionName=NAME,
        Runtime="python3.12",
        Role=ROLE,
        Handler="main.handler",
        Code={"ZipFile": file.getvalue()},
        Timeout=30,
    )
    functions.get_waiter("function_active_v2").wait(FunctionName=NAME, **SOON)
    answer = functions.invoke(FunctionName=NAME, Payload=json.dumps({"values": [1, 2]}))
    assert json.loads(answer["Payload"].read()) == {"sum": 3}
    failed = functions.invoke(FunctionName=NAME, Payload=b"{}")
    assert failed["FunctionError"] == "Unhandled"
    assert code_of(functions.invoke, FunctionName="none") == "ResourceNotFoundException"
    functions.delete_function(FunctionName=NAME)


@step
def metrics():
    dimensions = [{"Name": "Client", "Value": NAME}]
    for value in (1.0, 3.0):
        data = {"MetricName": "Load", "Dimensions": dimensions, "Value": value, "Unit": "Count"}
        cloudwatch.put_metric_data(Namespace="Clients", MetricData=[data])
    window = {
        "StartTime": datetime.now(UTC) - timedelta(hours=1),
        "EndTime": datetime.now(UTC) + timedelta(hours=1),
    }
    metric = {"Namespace": "Clients", "MetricName": "Load", "Dimensions": dimensions}
    points = cloudwatch.get_metric_statistics(
        **metric, **window, Period=7200, Statistics=["Sum", "Average"], ExtendedStatistics=["p50"]
    )["Datapoints"]
    assert sum(each["Sum"] for each in points) == 4.0, points
    query = {"Id": "m", "MetricStat": {"Metric": metric, "Period": 7200, "Stat": "Maximum"}}
    found = cloudwatch.get_metric_data(MetricDataQueries=[query], **window)
    assert max(found["MetricDataResults"][0]["Values"]) == 3.0, found
    invoked = cloudwatch.list_metrics(Namespace="AWS/SageMaker", MetricName="Invocations")
    assert invoked["Metrics"]


@step
def alarms_and_dashboards():
    cloudwatch.put_metric_alarm(
        AlarmName=NAME,
        Namespace="Clients",
        MetricName="Load",
        Statistic="Sum",
        Period=60,
        EvaluationPeriods=1,
        Threshold=1.0,
        ComparisonOperator="GreaterThanThreshold",
    )
    found = cloudwatch.describe_alarms(AlarmNames=[NAME])["MetricAlarms"]
    assert [each["Threshold"] for each in found] == [1.0]
    cloudwatch.put_dashboard(DashboardName=NAME, DashboardBody='{"widgets": []}')
    body = cloudwatch.get_dashboard(DashboardName=NAME)["DashboardBody"]
    assert json.loads(body) == {"widgets": []}
    missing = code_of(cloudwatch.get_dashboard, DashboardName="none")
    assert missing in {"ResourceNotFound", "DashboardNotFoundError"}, missing


@step
def logs_and_trail():
    logs = session.client("logs")
    logs.create_log_group(logGroupName=f"/clients/{NAME}")
    logs.create_log_stream(logGroupName=f"/clients/{NAME}", logStreamName="one")
    event = {"timestamp": int(time.time() * 1000), "message": "hello"}
    logs.put_log_events(logGroupName=f"/clients/{NAME}", logStreamName="one", logEvents=[event])
    told = logs.filter_log_events(logGroupName=f"/clients/{NAME}", filterPattern="hello")
    assert [each["message"] for each in told["events"]] == ["hello"]
    trail = session.client("cloudtrail")
    attributes = [{"AttributeKey": "EventName", "AttributeValue": "CreateEndpoint"}]
    assert trail.lookup_events(LookupAttributes=attributes)["Events"]


@step
def prices():
    pricing = session.client("pricing")
    wanted = {"Type": "TERM_MATCH", "Field": "regionCode", "Value": "us-east-1"}
    told = pricing.get_products(ServiceCode="AmazonSageMaker", Filters=[wanted], MaxResults=5)
    assert json.loads(told["PriceList"][0])["product"]


@step
def identity_queues_and_topics():
    assert session.client("sts").get_caller_identity()["Account"] == ROLE.split(":")[4]
    sqs, sns = session.client("sqs"), session.client("sns")
    url = sqs.create_queue(QueueName=NAME)["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])
    topic = sns.create_topic(Name=NAME)["TopicArn"]
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn["Attributes"]["QueueArn"])
    sns.publish(TopicArn=topic, Message="hello")
    got = sqs.receive_message(QueueUrl=url, WaitTimeSeconds=5)["Messages"]
    assert json.loads(got[0]["Body"])["Message"] == "hello"
    session.client("iam").list_roles()
    pattern = json.dumps({"source": ["aws.sagemaker"]})
    session.client("events").put_rule(Name=NAME, EventPattern=pattern)


@step(refused=True)
def rules_on_a_schedule():
    session.client("events").put_rule(Name=NAME, ScheduleExpression="rate(1 hour)")


@step(refused=True)
def training():
    sagemaker.list_training_jobs()


@step(refused=True)
def tables():
    session.client("dynamodb").list_tables()


@step
def everything_deleted():
    sagemaker.delete_endpoint(EndpointName=NAME)
    sagemaker.get_waiter("endpoint_deleted").wait(EndpointName=NAME, **SOON)
    bucket = boto3.resource("s3").Bucket(NAME)
    bucket.objects.all().delete()
    bucket.delete()
    assert code_of(s3.head_bucket, Bucket=NAME) == "404"


run_steps()
