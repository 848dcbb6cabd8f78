import ast
import json
import os
import pickle
import random
import select
import signal
import socket
import sqlite3
import subprocess
import sys
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from botocore.exceptions import ClientError

from tests import wire
from tests.children import free_port
from tests.refused import refused
from workbench import localcloud
from workbench.cloud.aws import Cloud
from workbench.errors import Damaged, NotAvailable, StorageError, WorkbenchError
from workbench.localcloud import LocalCloud
from workbench.localcloud.core.store import Store

ROOT = Path(__file__).parents[2]


@contextmanager
def client(cloud, service):
    with closing(cloud.client(service)) as client:
        yield client


def put(cloud, bucket="kept"):
    """Leave an object and a version of a model in a cloud."""
    with client(cloud, "s3") as s3, client(cloud, "sagemaker") as sagemaker:
        s3.create_bucket(Bucket=bucket)
        s3.put_object(Bucket=bucket, Key="k", Body=b"hello")
        sagemaker.create_model_package_group(ModelPackageGroupName=bucket)
        sagemaker.create_model_package(ModelPackageGroupName=bucket, ModelApprovalStatus="Approved")


def check(cloud, bucket="kept"):
    """Find there what `put` left."""
    with client(cloud, "s3") as s3, client(cloud, "sagemaker") as sagemaker:
        assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == b"hello"
        found = sagemaker.describe_model_package(ModelPackageName=f"{bucket}/1")
        assert found["ModelApprovalStatus"] == "Approved"


def ended(pid, patience=60):
    """Whether a process ends, which may be nobody's child here."""
    try:
        watch = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([watch], [], [], patience)[0])
    finally:
        os.close(watch)


# --- the process


def test_it_answers_at_an_address_of_this_machine(cloud):
    with urllib.request.urlopen(f"{cloud.url}/_workbench/health") as answer:
        told = json.load(answer)

    assert cloud.url.startswith("http://127.0.0.1:")
    assert told["path"] == str(cloud.path)
    assert told["account"] == "123456789012"
    assert cloud.pid != os.getpid()


def test_it_names_itself_as_the_origin_of_measurements(cloud):
    assert cloud.origin == "measured: local cloud"
    assert not cloud.paid


def test_any_program_of_aws_finds_it_by_its_environment(cloud):
    program = "import boto3; print(boto3.client('sts').get_caller_identity()['Account'])"
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=os.environ | cloud.environment(),
        capture_output=True,
        text=True,
        check=True,
    )

    assert done.stdout == "123456789012\n"


def test_no_proxy_stands_between(cloud, monkeypatch):
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{free_port()}")
    monkeypatch.setenv("no_proxy", "intranet")
    with client(cloud, "sagemaker") as sagemaker:
        assert "Models" in sagemaker.list_models()
    assert "endpoints" in cloud.state()
    assert cloud.environment()["no_proxy"] == "intranet,127.0.0.1,localhost"
    monkeypatch.setenv("no_proxy", cloud.environment()["no_proxy"])
    assert urllib.request.proxy_bypass(urlsplit(cloud.url).netloc)


def test_another_process_gets_the_address_alone(cloud):
    copy = pickle.loads(pickle.dumps(cloud))  # noqa: S301 - made in this line

    assert type(copy) is Cloud
    assert copy.endpoint_url == cloud.url
    with client(copy, "s3") as s3:
        s3.list_buckets()


def test_without_a_folder_nothing_is_left():
    with LocalCloud() as cloud:
        put(cloud)
    cloud.close()

    assert ended(cloud.pid)
    assert not cloud.path.exists()


def test_a_folder_brings_back_what_was_kept_there(tmp_path):
    with LocalCloud(tmp_path / "new" / "cloud") as cloud:
        put(cloud)
    with LocalCloud(tmp_path / "new" / "cloud") as cloud:
        check(cloud)


def test_a_folder_is_for_one_local_cloud(tmp_path):
    with LocalCloud(tmp_path) as cloud:
        with refused(NotAvailable, cloud.pid, cloud.url):
            LocalCloud(tmp_path)
        put(cloud)


def test_a_port_is_taken_or_had(tmp_path):
    port = free_port()
    taken = refused(NotAvailable, port)
    with socket.create_server(("127.0.0.1", port)), taken:
        LocalCloud(port=port)
    with LocalCloud(port=port) as cloud:
        assert cloud.url == f"http://127.0.0.1:{port}"


def test_killing_it_loses_nothing(tmp_path):
    with LocalCloud(tmp_path) as cloud:
        put(cloud)
        os.kill(cloud.pid, signal.SIGKILL)
        assert ended(cloud.pid)
    with LocalCloud(tmp_path) as cloud:
        check(cloud)


def test_killing_a_passing_one_leaves_no_folder():
    with LocalCloud() as cloud:
        os.kill(cloud.pid, signal.SIGKILL)

    assert not cloud.path.exists()


def test_it_ends_when_it_is_told_to():
    with LocalCloud() as cloud:
        os.kill(cloud.pid, signal.SIGTERM)
        assert ended(cloud.pid)

    assert not cloud.path.exists()


def test_it_ends_with_the_process_that_started_it():
    program = (
        "from workbench.localcloud import LocalCloud; import sys\n"
        "cloud = LocalCloud(); print(cloud.pid, cloud.path, flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as parent:
        pid, path = parent.stdout.readline().split()
        parent.kill()

    assert ended(int(pid))
    assert not Path(path).exists()


def test_one_that_is_not_closed_ends_with_its_program():
    program = "from workbench.localcloud import LocalCloud; cloud = LocalCloud(); print(cloud.pid)"
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )

    assert ended(int(done.stdout))


def test_a_start_that_fails_says_why(tmp_path):
    (tmp_path / "blobs").mkdir()
    (tmp_path / "blobs" / "objects").write_text("not a folder")

    with refused(WorkbenchError, "FileExistsError", tmp_path / "front.log"):
        LocalCloud(tmp_path)


def test_the_log_of_a_start_that_fails_outlives_its_temporary_folder(tmp_path, monkeypatch):
    made = tmp_path / "workbench-cloud-1"
    (made / "blobs").mkdir(parents=True)
    (made / "blobs" / "objects").write_text("not a folder")
    monkeypatch.setattr(localcloud.tempfile, "mkdtemp", lambda **_: str(made))

    with pytest.raises(WorkbenchError) as failed:
        LocalCloud()

    log = Path(str(failed.value).split("; see ")[1].rstrip("."))
    assert "FileExistsError" in log.read_text()
    assert not made.exists()


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("")

    with refused(StorageError, tmp_path / "file"):
        LocalCloud(tmp_path / "file")


def test_a_missing_package_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "moto", None)

    with refused(NotAvailable, "moto"):
        LocalCloud()


# --- the store


def write_and_fail(store):
    with store.write() as outer:
        outer.execute("INSERT INTO t VALUES (1)")
        with store.write() as inner:
            inner.execute("INSERT INTO t VALUES (2)")
        _ = 1 / 0


def test_a_transaction_is_undone_with_those_inside_it(tmp_path):
    with closing(Store(tmp_path)) as store:
        store.db.execute("CREATE TABLE t (x)")
        with pytest.raises(ZeroDivisionError):
            write_and_fail(store)
        with store.write() as db:
            db.execute("INSERT INTO t VALUES (3)")

        assert store.db.execute("SELECT x FROM t").fetchall() == [(3,)]


def test_a_database_of_another_program_is_left_alone(tmp_path):
    with closing(sqlite3.connect(tmp_path / "cloud.db")) as db:
        db.execute("CREATE TABLE theirs (x)")

    with pytest.raises(StorageError, match="belongs to another program"):
        LocalCloud(tmp_path)


def test_a_database_of_a_newer_version_is_left_alone(tmp_path):
    Store(tmp_path).close()
    with closing(sqlite3.connect(tmp_path / "cloud.db")) as db:
        db.execute("PRAGMA user_version = 99")

    with pytest.raises(StorageError, match="newer workbench"):
        Store(tmp_path)


def test_a_damaged_database_is_named(tmp_path):
    (tmp_path / "cloud.db").write_bytes(b"no database " * 1000)

    with refused(Damaged, tmp_path / "cloud.db"):
        Store(tmp_path)


def test_a_store_needs_a_folder_it_can_write(tmp_path):
    (tmp_path / "file").write_text("")

    with refused(StorageError, tmp_path / "file"):
        Store(tmp_path / "file")


# --- moto's services


def test_a_topic_reaches_a_queue(cloud):
    with client(cloud, "sns") as sns, client(cloud, "sqs") as sqs:
        queue = sqs.create_queue(QueueName="heard")["QueueUrl"]
        topic = sns.create_topic(Name="told")["TopicArn"]
        names = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])
        arn = names["Attributes"]["QueueArn"]
        sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn)
        sns.publish(TopicArn=topic, Message="ä")
        (message,) = sqs.receive_message(QueueUrl=queue)["Messages"]

    assert json.loads(message["Body"])["Message"] == "ä"


def test_waiting_for_a_message_keeps_nobody_waiting(cloud):
    with client(cloud, "sqs") as sqs, ThreadPoolExecutor(1) as pool:
        queue = sqs.create_queue(QueueName="awaited")["QueueUrl"]
        waiting = pool.submit(sqs.receive_message, QueueUrl=queue, WaitTimeSeconds=20)
        sqs.send_message(QueueUrl=queue, MessageBody="here")
        (message,) = waiting.result()["Messages"]
        nothing = sqs.receive_message(QueueUrl=queue, WaitTimeSeconds=1)

    assert message["Body"] == "here"
    assert "Messages" not in nothing


def test_roles_logs_and_rules_are_kept_in_memory(cloud):
    with client(cloud, "iam") as iam, client(cloud, "logs") as logs, client(cloud, "events") as bus:
        iam.create_role(RoleName="local", AssumeRolePolicyDocument="{}")
        logs.create_log_group(logGroupName="/aws/sagemaker")
        bus.put_rule(Name="rule", EventPattern="{}")

        assert iam.get_role(RoleName="local")["Role"]["Arn"].endswith(":role/local")
        assert logs.describe_log_groups()["logGroups"][0]["logGroupName"] == "/aws/sagemaker"
        assert [rule["Name"] for rule in bus.list_rules()["Rules"]] == ["rule"]


def test_an_error_of_motos_is_its_own(cloud):
    with client(cloud, "iam") as iam, pytest.raises(iam.exceptions.NoSuchEntityException):
        iam.get_role(RoleName="nobody")


@pytest.mark.parametrize(
    ("service", "target", "body", "said"),
    [
        ("sqs", "AmazonSQS.CreateQueue", b'{"QueueName": 5}', "SerializationException"),
        ("logs", "AmazonSQS.CreateQueue", b"{}", "UnknownOperationException"),
        ("events", "AWSEvents.PutRule", b"{}", "ValidationException"),
        ("iam", None, b"Action=CreateRole&RoleName=x", "<Code>ValidationError</Code>"),
        ("sts", None, b"Action=Nothing", "<Code>InvalidAction</Code>"),
    ],
)
def test_what_moto_would_fail_over_is_refused(cloud, service, target, body, said):
    headers = {"x-amz-target": target} if target else {}
    status, _, answer = wire.ask(cloud, "POST", "/", body, headers, service=service)

    assert status == 400
    assert said.encode() in answer


def imports(path):
    """The modules that a file imports, wherever in it."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module


def test_moto_is_for_the_local_cloud_alone():
    files = (ROOT / "workbench").rglob("*.py")
    using = [path for path in files if any(name.split(".")[0] == "moto" for name in imports(path))]

    assert using
    assert all(path.is_relative_to(ROOT / "workbench" / "localcloud") for path in using)


def test_using_a_cloud_imports_no_moto():
    program = (
        "import sys, workbench.cloud.aws, workbench.cloud.deploy, workbench.backends.sagemaker\n"
        "import workbench.localcloud, workbench.localcloud.server\n"
        "assert not [name for name in sys.modules if name.split('.')[0] == 'moto']"
    )
    subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=True)


# --- what is refused


@pytest.mark.parametrize(
    ("service", "operation", "parameters"),
    [
        ("cloudwatch", "list_managed_insight_rules", {"ResourceARN": "arn"}),
        ("cloudtrail", "list_trails", {}),
        ("lambda", "list_event_source_mappings", {}),
        ("ec2", "describe_instances", {}),
        ("cloudformation", "list_stacks", {}),
        ("sagemaker", "list_training_jobs", {}),
        ("events", "put_rule", {"Name": "r", "ScheduleExpression": "rate(5 minutes)"}),
        ("logs", "filter_log_events", {"logGroupName": "g", "filterPattern": "500"}),
        ("logs", "filter_log_events", {"logGroupName": "g", "filterPattern": "ERROR -timeout"}),
        ("logs", "start_query", {"startTime": 0, "endTime": 1, "queryString": "fields @message"}),
    ],
)
def test_what_is_not_there_yet_is_refused_by_name(cloud, service, operation, parameters):
    with client(cloud, service) as it, pytest.raises(ClientError) as error:
        getattr(it, operation)(**parameters)

    told = error.value.response
    assert told["Error"]["Code"] == "NotImplemented"
    assert "not yet offered by the local cloud" in told["Error"]["Message"]
    assert told["ResponseMetadata"]["HTTPStatusCode"] == 501


def test_a_fault_of_ours_is_an_internal_failure_and_is_logged(cloud):
    with client(cloud, "s3") as s3:
        s3.create_bucket(Bucket="robbed")
        s3.put_object(Bucket="robbed", Key="k", Body=b"x")
        for path in (cloud.path / "blobs" / "objects").iterdir():
            path.unlink()
        with pytest.raises(ClientError) as error:
            s3.get_object(Bucket="robbed", Key="k")

    assert error.value.response["Error"]["Code"] == "InternalFailure"
    assert "Traceback" not in str(error.value)
    assert "FileNotFoundError" in (cloud.path / "front.log").read_text()


def nonsense(draw):
    """A request that no client of AWS would make."""
    services = [
        "sagemaker",
        "s3",
        "sns",
        "sqs",
        "iam",
        "sts",
        "logs",
        "events",
        "monitoring",
        "cloudtrail",
        None,
        "\xff",
        "x" * 99,
    ]
    targets = ["SageMaker.CreateModel", "SageMaker.CreateModelPackage", "SageMaker.UpdateEndpoint",
               "SageMaker.AddTags", "SageMaker.", "SageMaker.Nothing", "Logs_20140328.PutLogEvents",
               "AmazonSQS.SendMessage", "AWSEvents.PutEvents", "", ".",
               "GraniteServiceVersion20100801.GetMetricData", "CloudTrail_20131101.LookupEvents",
               "GraniteServiceVersion20100801.Nothing"]  # fmt: skip
    bodies = [b"", b"{", b"[]", b"null", b"5", b'{"ModelName": 5}', b'{"ModelName": {"a": []}}',
              b'{"Tags": "x", "ResourceArn": []}', b"[" * 5000, b"\xff\xfe", b"<x>", b"Action=",
              b'{"EndpointName": "' + b"x" * 100_000 + b'"}', draw.randbytes(50)]  # fmt: skip
    paths = ["/", "/x", "/a/b/c", "/endpoints/x/invocations", "/endpoints//invocations",
             "/endpoints/x/y", "/%00/%ff", "/..%2f..", "/nobody?delete", "/nobody/k?uploadId=x",
             "/nobody/k?partNumber=1&uploadId=x", "/no_body?list-type=2&max-keys=-1"]  # fmt: skip
    service = draw.choice(services)
    headers = {
        **({"x-amz-target": draw.choice(targets)} if draw.random() < 0.7 else {}),
        **({"range": "bytes=9-1"} if draw.random() < 0.1 else {}),
        **({"content-encoding": "aws-chunked"} if draw.random() < 0.1 else {}),
        **({"x-amz-copy-source": "%%%"} if draw.random() < 0.1 else {}),
        **({"content-type": draw.choice(["text/csv", "application/x-www-form-urlencoded"])}
           if draw.random() < 0.3 else {}),
    }  # fmt: skip
    method = draw.choice(["POST", "POST", "POST", "PUT", "DELETE", "PATCH", "GET"])
    return method, draw.choice(paths), draw.choice(bodies), headers, service


def test_10_000_nonsense_requests_get_a_client_error_each(cloud):
    draw = random.Random(1)  # noqa: S311 - requests, not secrets
    answered = {}
    for _ in range(10_000):
        method, path, body, headers, service = nonsense(draw)
        if (method, path, service) == ("GET", "/", "s3"):  # this lists the buckets
            continue
        status, _, answer = wire.ask(cloud, method, path, body, headers, service=service)
        answered.setdefault(status, []).append((method, path, headers, body[:60], answer))

    not_offered = answered.pop(501, [])
    assert all(b"NotImplemented" in case[-1] for case in not_offered)  # said by name
    wrong = {status: cases[0] for status, cases in answered.items() if not 400 <= status < 500}
    assert wrong == {}
    with urllib.request.urlopen(f"{cloud.url}/_workbench/health") as health:
        assert health.status == 200
