"""Lambda on a local cloud, through boto3: functions, their limits, what they answer and log."""

import asyncio
import base64
import hashlib
import json
import math
import os
import signal
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest
from botocore.exceptions import ClientError

from tests.hosted import alive, until
from tests.lambdas import Lambdas, zipped
from workbench.localcloud import LocalCloud
from workbench.localcloud.core.access_keys import make_access_key
from workbench.localcloud.core.protocol import AwsError
from workbench.localcloud.core.settings import LocalCloudSettings
from workbench.localcloud.core.store import Store
from workbench.localcloud.core.tags import Tags
from workbench.localcloud.core.tasks import TaskSet
from workbench.localcloud.lambda_.code_packages import CodePackages
from workbench.localcloud.lambda_.concurrency import ConcurrencyApi
from workbench.localcloud.lambda_.functions import Functions
from workbench.localcloud.lambda_.versions import Function, FunctionTable, Version

SIGNING = "arn:aws:lambda:us-east-1:123456789012:code-signing-config:csc-0123456789abcdef0"
ECR = "123456789012.dkr.ecr.us-east-1.amazonaws.com"


@pytest.fixture(scope="module")
def lambdas(tmp_path_factory):
    with (
        LocalCloud(tmp_path_factory.mktemp("cloud") / "cloud") as cloud,
        closing(Lambdas(cloud)) as made,
    ):
        yield made


@pytest.fixture(scope="module")
def function(lambdas):
    """One that is warm."""
    name = lambdas.make(Environment={"Variables": {"COLOUR": "blue"}})
    lambdas.invoke(name)
    return name


def refused(call, **parameters):
    with pytest.raises(ClientError) as error:
        call(**parameters)
    told = error.value.response
    return told["Error"]["Code"], told["ResponseMetadata"]["HTTPStatusCode"], told


# --- functions


def test_a_function_is_pending_then_active_and_says_what_it_was_made_with(lambdas):
    made = lambdas.client.create_function(
        FunctionName="told",
        Role=lambdas.cloud.role,
        Runtime="python3.11",
        Handler="app.handler",
        Code={"ZipFile": zipped()},
        Timeout=7,
        Tags={"team": "blue"},
    )
    told = lambdas.settled("told")

    assert (made["State"], made["StateReasonCode"]) == ("Pending", "Creating")
    assert told["Configuration"]["State"] == "Active"
    assert told["Configuration"]["LastUpdateStatus"] == "Successful"
    assert told["Configuration"]["CodeSize"] == len(zipped())
    assert (told["Configuration"]["Timeout"], told["Configuration"]["MemorySize"]) == (7, 128)
    assert told["Tags"] == {"team": "blue"}
    assert "told" in [
        each["FunctionName"]
        for page in lambdas.client.get_paginator("list_functions").paginate(
            PaginationConfig={"PageSize": 1}
        )
        for each in page["Functions"]
    ]


def test_names_are_taken_once_and_found_as_arns_too(lambdas, function):
    arn = lambdas.client.get_function_configuration(FunctionName=function)["FunctionArn"]

    assert lambdas.client.get_function_configuration(FunctionName=arn)["FunctionName"] == function
    assert lambdas.invoke(f"{arn}:$LATEST")["StatusCode"] == 200
    for old, new in [("us-east-1", "eu-west-1"), (":123456789012:", ":999999999999:")]:
        other = arn.replace(old, new)
        gone = refused(lambdas.client.get_function, FunctionName=other)
        assert gone[:2] == ("ResourceNotFoundException", 404)
        assert other in gone[2]["Error"]["Message"]
    again = refused(
        lambdas.client.create_function,
        FunctionName=function,
        Role="arn:aws:iam::123456789012:role/r",
        Runtime="python3.11",
        Handler="app.handler",
        Code={"ZipFile": zipped()},
    )
    assert again[:2] == ("ResourceConflictException", 409)


@pytest.mark.parametrize(
    ("wrong", "code", "said"),
    [
        ({"MemorySize": 10_241}, "ValidationException", "less than or equal to 10240"),
        (
            {"Environment": {"Variables": {"AWS_REGION": "here", "MINE": "1"}}},
            "InvalidParameterValueException",
            "Reserved keys used in this request: AWS_REGION",
        ),
        (
            {"Environment": {"Variables": {"LONG": "x" * 4096}}},
            "InvalidParameterValueException",
            "exceeded the 4KB limit",
        ),
        ({"Timeout": 901}, "ValidationException", "less than or equal to 900"),
        (
            {"PackageType": "Image", "Code": {"ImageUri": f"{ECR}/other:latest"}},
            "InvalidParameterValueException",
            "does not exist",
        ),
        (
            {"PackageType": "Image", "Code": {"ImageUri": f"{ECR}/workbench:latest"}},
            "InvalidParameterValueException",
            "Please don't provide Handler",
        ),
        ({"Code": {"ZipFile": b"no zip"}}, "InvalidParameterValueException", "Could not unzip"),
        ({"Code": {}}, "InvalidParameterValueException", "source"),
        (
            {"Code": {"S3Bucket": "gone", "S3Key": "k"}},
            "InvalidParameterValueException",
            "NoSuchBucket",
        ),
        (
            {"Code": {"ZipFile": zipped(name="../app.py")}},
            "InvalidParameterValueException",
            "Could not unzip",
        ),
        ({"Runtime": "nodejs20.x"}, "NotImplemented", "nodejs20.x"),
        (
            {"Layers": ["arn:aws:lambda:us-east-1:123456789012:layer:l:1"]},
            "NotImplemented",
            "layer",
        ),
        ({"VpcConfig": {"SubnetIds": ["subnet-1"]}}, "NotImplemented", "VpcConfig"),
        ({"SnapStart": {"ApplyOn": "PublishedVersions"}}, "NotImplemented", "SnapStart"),
        ({"DeadLetterConfig": {"TargetArn": "arn:aws:sqs:x:1:q"}}, "NotImplemented", "failed"),
        ({"LoggingConfig": {"LogFormat": "JSON"}}, "NotImplemented", "LoggingConfig"),
        ({"LoggingConfig": {"LogGroup": "mine"}}, "NotImplemented", "LoggingConfig"),
        ({"CodeSigningConfigArn": SIGNING}, "NotImplemented", "Signed"),
    ],
)
def test_a_function_that_cannot_be_is_refused(lambdas, wrong, code, said):
    right = {
        "FunctionName": "never",
        "Role": lambdas.cloud.role,
        "Runtime": "python3.11",
        "Handler": "app.handler",
        "Code": {"ZipFile": zipped()},
    }

    told = refused(lambdas.client.create_function, **right | wrong)

    assert told[0] == code
    assert said in told[2]["Error"]["Message"]
    assert refused(lambdas.client.get_function, FunctionName="never")[:2] == (
        "ResourceNotFoundException",
        404,
    )


def test_settings_that_change_nothing_here_are_kept_and_described(lambdas):
    plain = {
        "VpcConfig": {"SubnetIds": [], "SecurityGroupIds": []},
        "SnapStart": {"ApplyOn": "None"},
    }
    kept = {"TracingConfig": {"Mode": "Active"}, "EphemeralStorage": {"Size": 1024}}
    name = lambdas.make(**plain, **kept)
    first = lambdas.client.get_function_configuration(FunctionName=name)
    changed = {"TracingConfig": {"Mode": "PassThrough"}, "EphemeralStorage": {"Size": 2048}}
    as_described = {"LoggingConfig": first["LoggingConfig"]}
    lambdas.client.update_function_configuration(FunctionName=name, **changed, **as_described)
    second = lambdas.client.get_function_configuration(FunctionName=name)

    assert {each: first[each] for each in kept} == kept
    assert {each: second[each] for each in changed} == changed


def test_a_function_made_and_published_at_once_is_named_without_its_version(lambdas):
    made = lambdas.client.create_function(
        FunctionName="at-once",
        Role=lambdas.cloud.role,
        Runtime="python3.11",
        Handler="app.handler",
        Code={"ZipFile": zipped()},
        Publish=True,
    )

    assert (made["Version"], made["FunctionArn"].rpartition(":")[2]) == ("1", "at-once")


def test_an_update_of_code_or_settings_answers_from_then_on(lambdas):
    name = lambdas.make()
    first = lambdas.invoke(name)["Payload"]
    revision = lambdas.client.get_function_configuration(FunctionName=name)["RevisionId"]

    lambdas.client.update_function_configuration(FunctionName=name, MemorySize=512, Timeout=120)
    second = lambdas.invoke(name)["Payload"]
    lambdas.client.update_function_code(
        FunctionName=name, ZipFile=zipped("def handler(event, context): return 'new'")
    )

    assert (first["memory"], second["memory"]) == ("1769", "512")
    assert first["left"] <= 60_000 < second["left"] <= 120_000  # milliseconds
    assert lambdas.invoke(name)["Payload"] == "new"
    late = refused(
        lambdas.client.update_function_code,
        FunctionName=name,
        ZipFile=zipped(),
        RevisionId=revision,
    )
    assert late[:2] == ("PreconditionFailedException", 412)


def test_code_comes_from_s3_too(lambdas):
    with closing(lambdas.cloud.client("s3")) as s3:
        s3.create_bucket(Bucket="code")
        s3.put_object(Bucket="code", Key="f.zip", Body=zipped())

    name = lambdas.make(Code={"S3Bucket": "code", "S3Key": "f.zip"})

    assert lambdas.invoke(name, {"a": 1})["Payload"]["event"] == {"a": 1}


def test_who_may_call_a_function_is_kept_and_told(lambdas, function):
    aws, named = lambdas.client, {"FunctionName": function}
    rule = "arn:aws:events:us-east-1:123456789012:rule/drift"
    asked = named | {
        "StatementId": "events",
        "Action": "lambda:InvokeFunction",
        "Principal": "events.amazonaws.com",
        "SourceArn": rule,
    }

    added = json.loads(aws.add_permission(**asked)["Statement"])
    policy = json.loads(aws.get_policy(**named)["Policy"])

    assert policy["Statement"] == [added]
    assert added["Principal"] == {"Service": "events.amazonaws.com"}
    assert added["Resource"].endswith(f":function:{function}")
    assert added["Condition"] == {"ArnLike": {"AWS:SourceArn": rule}}
    assert refused(aws.add_permission, **asked)[:2] == ("ResourceConflictException", 409)
    aws.remove_permission(**named, StatementId="events")
    gone = ("ResourceNotFoundException", 404)
    assert refused(aws.remove_permission, **named, StatementId="events")[:2] == gone
    assert refused(aws.get_policy, **named)[:2] == gone


def test_all_that_a_permission_says_is_in_the_policy_and_changes_it(lambdas, function):
    aws, named = lambdas.client, {"FunctionName": function}
    before = aws.get_function_configuration(**named)["RevisionId"]
    asked = {
        **(named | {"StatementId": "url", "Action": "lambda:InvokeFunctionUrl", "Principal": "*"}),
        "FunctionUrlAuthType": "NONE",
        "PrincipalOrgID": "o-a1b2c3d4e5",
    }
    added = json.loads(aws.add_permission(**asked, RevisionId=before)["Statement"])
    after = aws.get_policy(**named)["RevisionId"]

    assert added["Principal"] == "*"
    wanted = {"lambda:FunctionUrlAuthType": "NONE", "aws:PrincipalOrgID": "o-a1b2c3d4e5"}
    assert added["Condition"] == {"StringEquals": wanted}
    stale = refused(aws.remove_permission, **named, StatementId="url", RevisionId=before)
    assert stale[:2] == ("PreconditionFailedException", 412)
    aws.remove_permission(**named, StatementId="url", RevisionId=after)


def test_code_that_is_being_taken_stays_when_its_other_function_goes(tmp_path):
    """Between its being unpacked and its function's being known, another one may be deleted."""
    content = zipped()
    name = hashlib.sha256(content).hexdigest()
    begun, asked, unpacked = threading.Event(), threading.Event(), threading.Event()
    with closing(Store(tmp_path)) as store:
        packages = CodePackages(store, None, tmp_path)

        def unpack(*given, unzip=packages._unzip):
            begun.set()
            asked.wait()
            unzip(*given)

        packages._unzip = unpack

        async def story():
            code = {"ZipFile": base64.b64encode(content).decode()}
            taking = asyncio.ensure_future(packages.take("Zip", code))
            while not begun.is_set():
                await asyncio.sleep(0)
            store.run_later(unpacked.set)
            asked.set()
            unpacked.wait()  # the loop stands: who takes the code knows nothing of it yet
            packages.keep((), {name})
            return await taking

        assert asyncio.run(story())[1] == name
        assert packages.folder(name).exists()
        packages.keep((), {name})
        assert not packages.folder(name).exists()


def test_a_function_that_is_deleted_while_its_code_changes_stays_deleted(tmp_path):
    made = {"FunctionName": "f", "Role": "r", "Runtime": "python3.11", "Handler": "app.handler"}
    code = {"ZipFile": base64.b64encode(zipped()).decode()}
    with closing(Store(tmp_path)) as store:
        settings = LocalCloudSettings()
        functions = Functions(
            store, Tags(store), None, tmp_path, settings=settings, key=make_access_key()
        )
        call = functions.operations()
        take = functions.packages.take

        async def take_and_delete(*given):
            taken = await take(*given)
            await call["DeleteFunction"]({"FunctionName": "f"})
            return taken

        async def story():
            await call["CreateFunction"](made | {"Code": code})
            await asyncio.sleep(0)  # on which it is Active
            functions.packages.take = take_and_delete
            with pytest.raises(AwsError) as error:
                await call["UpdateFunctionCode"]({"FunctionName": "f", **code})
            await functions.close()
            return error.value.code

        assert asyncio.run(story()) == "ResourceNotFoundException"
        there = FunctionTable(store)
        there.load()
        assert not there.functions


def test_an_event_of_a_rule_calls_the_function_that_is_its_target(lambdas):
    name = lambdas.make("def handler(event, context):\n    print('heard', event['detail'])\n")
    arn = lambdas.settled(name)["Configuration"]["FunctionArn"]
    with (
        closing(lambdas.cloud.client("events")) as bus,
        closing(lambdas.cloud.client("logs")) as logs,
    ):
        bus.put_rule(Name="drift", EventPattern=json.dumps({"source": ["mine"]}))
        bus.put_targets(Rule="drift", Targets=[{"Id": "retrain", "Arn": arn}])
        bus.put_events(Entries=[{"Source": "mine", "DetailType": "drift", "Detail": '{"psi": 1}'}])

        def heard():
            groups = logs.describe_log_groups(logGroupNamePrefix=f"/aws/lambda/{name}")
            for group in groups["logGroups"]:
                found = logs.filter_log_events(logGroupName=group["logGroupName"])["events"]
                return [each["message"] for each in found if "heard" in each["message"]]
            return []

        assert until(heard) == ["heard {'psi': 1}\n"]
        bus.remove_targets(Rule="drift", Ids=["retrain"])
        bus.delete_rule(Name="drift")


def test_a_version_stays_as_it_was_published(lambdas):
    name = lambdas.make()
    published = lambdas.client.publish_version(FunctionName=name)
    again = lambdas.client.publish_version(FunctionName=name)
    lambdas.client.update_function_code(
        FunctionName=name, ZipFile=zipped("def handler(event, context): return 'new'")
    )

    assert published["Version"] == again["Version"] == "1"
    assert lambdas.invoke(name, Qualifier="1")["ExecutedVersion"] == "1"
    assert lambdas.invoke(name, Qualifier="1")["Payload"]["arn"].endswith(f"{name}:1")
    assert lambdas.invoke(name)["Payload"] == "new"
    assert lambdas.client.publish_version(FunctionName=name)["Version"] == "2"
    listed = lambdas.client.list_versions_by_function(FunctionName=name)["Versions"]
    assert sorted(each["Version"] for each in listed) == ["$LATEST", "1", "2"]


def test_a_deleted_function_leaves_no_process(lambdas):
    name = lambdas.make()
    pid = lambdas.invoke(name)["Payload"]["pid"]

    answer = lambdas.client.delete_function(FunctionName=name)

    assert answer["ResponseMetadata"]["HTTPStatusCode"] == 204
    assert not alive(pid)
    assert refused(lambdas.client.invoke, FunctionName=name)[0] == "ResourceNotFoundException"


# --- answers


def test_a_function_sees_what_aws_shows_it(lambdas, function):
    answer = lambdas.invoke(function, {"a": [1, 2]})
    payload = answer["Payload"]
    variables = payload["variables"]

    assert payload["event"] == {"a": [1, 2]}
    assert payload["request"] == answer["ResponseMetadata"]["RequestId"]
    assert variables["COLOUR"] == "blue"
    assert variables["AWS_LAMBDA_FUNCTION_NAME"] == function
    assert variables["AWS_LAMBDA_INITIALIZATION_TYPE"] == "on-demand"
    assert variables["AWS_ENDPOINT_URL"] == lambdas.cloud.url
    assert lambdas.invoke(function)["Payload"]["event"] == {}


def test_a_dry_run_and_an_event_answer_at_once(lambdas, function, tmp_path):
    assert lambdas.invoke(function, InvocationType="DryRun")["StatusCode"] == 204

    answer = lambdas.invoke(function, {"touch": str(tmp_path / "t")}, InvocationType="Event")

    assert (answer["StatusCode"], answer["Payload"]) == (202, None)
    until((tmp_path / "t").exists)


def test_an_error_of_the_handler_is_the_payload(lambdas, function):
    answer, report, _ = lambdas.report(function, {"fail": "no rows"})

    assert (answer["StatusCode"], answer["FunctionError"]) == (200, "Unhandled")
    assert answer["Payload"]["errorType"] == "ValueError"
    assert answer["Payload"]["errorMessage"] == "no rows"
    assert answer["Payload"]["stackTrace"]
    assert report["status"].startswith("Status: error")
    assert "FunctionError" not in lambdas.invoke(function)


def test_a_function_that_takes_too_long_is_ended(lambdas, tmp_path):
    name = lambdas.make(Timeout=1)

    def answer_in_time():
        return lambdas.invoke(name)["Payload"].get("pid")

    pid = until(answer_in_time)
    answer, report, tail = lambdas.report(name, {"wait_for": str(tmp_path / "never")})

    assert answer["FunctionError"] == "Unhandled"
    assert answer["Payload"]["errorType"] == "Sandbox.Timedout"
    assert "Task timed out after 1.00 seconds" in answer["Payload"]["errorMessage"]
    assert "Task timed out after 1.00 seconds" in tail
    assert report["status"] == "Status: timeout"
    until(lambda: not alive(pid))
    assert until(answer_in_time) != pid


def test_a_program_that_exits_is_told_and_replaced(lambdas):
    name = lambdas.make()

    answer = lambdas.invoke(name, {"exit": 3})

    assert answer["FunctionError"] == "Unhandled"
    assert answer["Payload"]["errorType"] == "Runtime.ExitError"
    assert "exit status 3" in answer["Payload"]["errorMessage"]
    assert lambdas.invoke(name, {"a": 1})["Payload"]["event"] == {"a": 1}


@pytest.mark.parametrize(
    ("program", "error"),
    [
        ("import nowhere", "Runtime.ImportModuleError"),
        ("def other(): pass", "Runtime.HandlerNotFound"),
        ("def handler(: pass", "Runtime.UserCodeSyntaxError"),
        ("import os; os._exit(7)", "Runtime.ExitError"),
        ("1 / 0", "ZeroDivisionError"),
    ],
)
def test_an_error_of_init_is_the_payload(lambdas, program, error):
    name = lambdas.make(program)

    answer = lambdas.invoke(name)

    assert answer["FunctionError"] == "Unhandled"
    assert answer["Payload"]["errorType"] == error
    assert lambdas.environments(name) == []


def test_payloads_have_limits_both_ways(lambdas, function):
    largest = 6_291_456
    fits = b'"' + b"x" * (largest - 2) + b'"'

    over = refused(lambdas.client.invoke, FunctionName=function, Payload=fits + b" ")
    event = refused(
        lambdas.client.invoke,
        FunctionName=function,
        Payload=b'"' + b"x" * 1_048_576 + b'"',
        InvocationType="Event",
    )
    answer = lambdas.invoke(function, {"big": 6_291_557})

    assert over[:2] == event[:2] == ("RequestTooLargeException", 413)
    assert answer["Payload"]["errorType"] == "Function.ResponseSizeTooLarge"
    assert len(lambdas.invoke(function, {"big": 6_000_000})["Payload"]) == 6_000_000


def test_what_is_no_json_is_refused(lambdas, function):
    told = refused(lambdas.client.invoke, FunctionName=function, Payload=b"{no")

    assert told[:2] == ("InvalidRequestContentException", 400)


def test_a_clients_context_reaches_the_function_whatever_lines_it_has(lambdas):
    name = lambdas.make("def handler(event, context): return context.client_context.custom")
    text = json.dumps({"custom": {"a": "1"}}, indent=2)

    told = lambdas.invoke(name, ClientContext=base64.b64encode(text.encode()).decode())

    assert told["Payload"] == {"a": "1"}
    for wrong in ("!", base64.b64encode(b"no json").decode()):
        refusal = refused(lambdas.client.invoke, FunctionName=name, ClientContext=wrong)
        assert refusal[0] == "InvalidRequestContentException"


# --- environments


def test_only_the_first_event_waits_for_init_and_it_is_billed(lambdas):
    name = lambdas.make()

    _, first, tail = lambdas.report(name)
    _, second, _ = lambdas.report(name)

    assert first["init"] is not None
    assert second["init"] is None
    for report, parts in ((first, ["duration", "init"]), (second, ["duration"])):
        spent = sum(float(report[part]) for part in parts)  # each rounded to 0.01
        assert math.ceil(spent - 0.01) <= int(report["billed"]) <= math.ceil(spent + 0.01)
    assert (first["size"], int(first["used"]) > 5) == ("1769", True)
    assert "INIT was here" in tail


def test_events_at_once_are_answered_by_environments_of_their_own(lambdas, tmp_path):
    name, gate = lambdas.make(), tmp_path / "gate"
    with ThreadPoolExecutor(3) as pool:
        calls = [pool.submit(lambdas.invoke, name, {"wait_for": str(gate)}) for _ in range(3)]
        until(lambda: len(lambdas.environments(name)) == 3)
        gate.touch()
        pids = {call.result()["Payload"]["pid"] for call in calls}

    assert len(pids) == 3
    assert lambdas.invoke(name)["Payload"]["pid"] in pids


def test_events_above_the_reserve_are_throttled(lambdas, tmp_path):
    name, gate = lambdas.make(), tmp_path / "gate"
    lambdas.client.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=1)
    with ThreadPoolExecutor(1) as pool:
        call = pool.submit(lambdas.invoke, name, {"wait_for": str(gate)})
        until(lambda: [each for each in lambdas.environments(name) if each["in_flight"]])
        code, status, told = refused(lambdas.client.invoke, FunctionName=name)
        gate.touch()
        call.result()

    assert (code, status) == ("TooManyRequestsException", 429)
    assert told["Reason"] == "ReservedFunctionConcurrentInvocationLimitExceeded"
    reserved = lambdas.client.get_function_concurrency(FunctionName=name)
    assert reserved["ReservedConcurrentExecutions"] == 1
    lambdas.client.delete_function_concurrency(FunctionName=name)
    told = lambdas.client.get_function_concurrency(FunctionName=name)
    assert "ReservedConcurrentExecutions" not in told


def test_a_reserve_of_none_answers_nothing_and_one_too_large_cannot_be(lambdas):
    name = lambdas.make()
    reserve = lambdas.client.put_function_concurrency
    reserve(FunctionName=name, ReservedConcurrentExecutions=0)

    assert refused(lambdas.client.invoke, FunctionName=name)[0] == "TooManyRequestsException"
    code, _, told = refused(reserve, FunctionName=name, ReservedConcurrentExecutions=901)
    assert code == "InvalidParameterValueException"
    assert "below its minimum value of [100]" in told["Error"]["Message"]
    lambdas.client.delete_function_concurrency(FunctionName=name)


class SlowFleet:
    """Takes new sizes when its gate is opened, and notes how many at once."""

    def __init__(self):
        self.gate, self.at_once, self.sizes = asyncio.Event(), Counter(), []

    async def resize(self, *, provisioned, **_):
        self.at_once["now"] += 1
        self.at_once["most"] = max(self.at_once["most"], self.at_once["now"])
        await self.gate.wait()
        self.at_once["now"] -= 1
        self.sizes.append(provisioned)


def test_two_numbers_of_provisioned_environments_are_brought_up_one_after_the_other(tmp_path):
    async def story():
        with closing(Store(tmp_path)) as store:
            table, tasks, fleet = FunctionTable(store), TaskSet(), SlowFleet()
            version = Version({"State": "Active", "Version": "1"}, fleet=fleet)
            table.functions["f"] = Function("f", "arn", {"1": version})
            put = ConcurrencyApi(store, table, tasks).operations()[
                "PutProvisionedConcurrencyConfig"
            ]
            for count in (3, 1):
                asked = {"ProvisionedConcurrentExecutions": count}
                await put({"FunctionName": "f", "Qualifier": "1", **asked})
                await asyncio.sleep(0)
            fleet.gate.set()
            await tasks.finish()
            return fleet, version

    fleet, version = asyncio.run(story())
    assert fleet.at_once["most"] == 1
    assert fleet.sizes[-1] == 1
    assert (version.provisioned, version.provisioning) == (1, "")


def test_provisioned_environments_are_up_before_the_first_event(lambdas):
    name = lambdas.make(Publish=True)
    config = {"FunctionName": name, "Qualifier": "1"}
    put = lambdas.client.put_provisioned_concurrency_config
    asked = put(**config, ProvisionedConcurrentExecutions=2)
    read = lambdas.client.get_provisioned_concurrency_config

    ready = until(lambda: told if (told := read(**config))["Status"] == "READY" else None)
    answer, report, _ = lambdas.report(name, Qualifier="1")

    assert asked["Status"] == "IN_PROGRESS"
    assert ready["AvailableProvisionedConcurrentExecutions"] == 2
    kind = answer["Payload"]["variables"]["AWS_LAMBDA_INITIALIZATION_TYPE"]
    assert (kind, report["init"]) == ("provisioned-concurrency", None)
    assert refused(put, **config | {"Qualifier": "$LATEST"}, ProvisionedConcurrentExecutions=1)[
        0
    ] == ("InvalidParameterValueException")
    lambdas.client.delete_provisioned_concurrency_config(**config)
    assert refused(read, **config)[0] == "ProvisionedConcurrencyConfigNotFoundException"


def test_what_an_account_may_have_is_told(lambdas):
    name = lambdas.make()
    before = lambdas.client.get_account_settings()["AccountLimit"]
    lambdas.client.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=7)
    after = lambdas.client.get_account_settings()["AccountLimit"]
    lambdas.client.delete_function(FunctionName=name)

    assert after["ConcurrentExecutions"] == 1000
    left = [each["UnreservedConcurrentExecutions"] for each in (before, after)]
    assert left[0] - left[1] == 7


def test_an_environment_that_was_killed_is_replaced(lambdas):
    name = lambdas.make()
    pid = lambdas.invoke(name)["Payload"]["pid"]
    os.kill(pid, signal.SIGKILL)
    until(lambda: not lambdas.environments(name))

    assert lambdas.invoke(name)["Payload"]["pid"] != pid


def test_a_function_deleted_in_the_middle_of_an_event_answers_and_is_gone(lambdas, tmp_path):
    name = lambdas.make()
    with ThreadPoolExecutor(1) as pool:
        call = pool.submit(lambdas.invoke, name, {"wait_for": str(tmp_path / "never")})
        until(lambda: [each for each in lambdas.environments(name) if each["in_flight"]])
        lambdas.client.delete_function(FunctionName=name)

        assert call.result()["Payload"]["errorType"] == "Runtime.ExitError"


def test_memory_is_limited_where_the_machine_allows_it(lambdas):
    name = lambdas.make(MemorySize=128, Timeout=60)  # a busy machine fills memory slowly
    lambdas.invoke(name)
    if lambdas.environments(name)[0]["memory"] != "limited":
        pytest.skip("this machine lets nobody limit memory")

    answer = lambdas.invoke(name, {"hold": 400})

    assert answer["FunctionError"] == "Unhandled"
    assert "signal: killed" in answer["Payload"]["errorMessage"]


# --- what is left behind


def test_logs_hold_what_a_function_wrote_between_awss_lines(lambdas):
    name = lambdas.make()
    request = lambdas.invoke(name, {"a": 1})["Payload"]["request"]
    lambdas.invoke(name, {"a": 2})

    with closing(lambdas.cloud.client("logs")) as logs:
        found = logs.filter_log_events(logGroupName=f"/aws/lambda/{name}")["events"]

    lines = [each["message"].rstrip("\n") for each in found]
    assert lines[:4] == [
        f"START RequestId: {request} Version: $LATEST",
        "INIT was here",
        'seen {"a": 1}',
        f"END RequestId: {request}",
    ]
    assert lines[4].startswith(f"REPORT RequestId: {request}\tDuration: ")
    assert 'seen {"a": 2}' in lines


def test_functions_are_there_again_after_a_restart(tmp_path):
    with LocalCloud(tmp_path / "cloud") as cloud, closing(Lambdas(cloud)) as before:
        name = before.make(Publish=True, Tags={"k": "v"})
        before.client.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=3)
        before.client.put_provisioned_concurrency_config(
            FunctionName=name, Qualifier="1", ProvisionedConcurrentExecutions=1
        )
        told = before.settled(name)
        pid = before.invoke(name)["Payload"]["pid"]

    with LocalCloud(tmp_path / "cloud") as cloud, closing(Lambdas(cloud)) as after:
        again = after.settled(name)
        config = {"FunctionName": name, "Qualifier": "1"}
        read = after.client.get_provisioned_concurrency_config
        until(lambda: read(**config)["Status"] == "READY")
        answer = after.invoke(name, {"a": 1}, Qualifier="1")

    assert not alive(pid)
    assert again["Configuration"] == told["Configuration"]
    assert (again["Concurrency"], again["Tags"]) == (told["Concurrency"], told["Tags"])
    assert answer["Payload"]["event"] == {"a": 1}
    assert not alive(answer["Payload"]["pid"])


def test_no_program_outlives_a_local_cloud_that_is_killed(tmp_path):
    with LocalCloud(tmp_path / "cloud") as cloud, closing(Lambdas(cloud)) as some:
        pid = some.invoke(some.make())["Payload"]["pid"]
        os.kill(cloud.pid, signal.SIGKILL)
        until(lambda: not alive(pid))


def test_idle_environments_end(tmp_path):
    with (
        LocalCloud(tmp_path / "cloud", keep_alive=0.05) as cloud,
        closing(Lambdas(cloud)) as some,
    ):
        pid = some.invoke(some.make())["Payload"]["pid"]
        until(lambda: not alive(pid))


def test_the_log_result_is_base64(lambdas, function):
    answer = lambdas.invoke(function, LogType="Tail")

    assert base64.b64decode(answer["LogResult"]).decode().startswith("START RequestId: ")
    assert "LogResult" not in lambdas.invoke(function)
    assert json.dumps(answer["Payload"])
