"""Every operation of the services that the local cloud offers: answered, refused, or 501."""

from collections import Counter
from contextlib import closing

import botocore.session
import pytest
from botocore.client import Config
from botocore.exceptions import ClientError

from workbench.localcloud import LocalCloud
from workbench.localcloud.core import validation

SERVICES = (
    *("application-autoscaling", "cloudtrail", "cloudwatch", "events", "iam", "lambda", "logs"),
    *("pricing", "s3", "sagemaker", "sagemaker-runtime", "sns", "sqs", "sts"),
)


@pytest.fixture(scope="module", name="cloud")
def _cloud():
    with LocalCloud() as cloud:
        yield cloud


SCALARS = {"boolean": True, "timestamp": 1_800_000_000, "blob": b"{}", "map": {}}


def plausible(shape, name="", depth=0):
    """Return a value that the shape may take, with what must be given and nothing else."""
    if shape is None:
        return {}
    kind, facts = shape.type_name, shape.metadata
    if kind == "structure":
        required = shape.required_members if depth < 8 else []
        return {each: plausible(shape.members[each], each, depth + 1) for each in required}
    if kind == "list":
        return [plausible(shape.member, name, depth + 1) for _ in range(facts.get("min", 0))]
    return SCALARS[kind] if kind in SCALARS else plausible_text(facts, name, kind)


def plausible_text(facts, name, kind):
    if kind != "string":
        return facts.get("min", 1)
    if facts.get("enum"):
        return facts["enum"][0]
    of_arn = name.lower().endswith("arn")
    return "arn:aws:sns:us-east-1:123456789012:nothing" if of_arn else "x" * facts.get("min", 3)


def connect(cloud, service):
    key, secret = cloud.keys
    return botocore.session.Session().create_client(
        service,
        region_name=cloud.region,
        endpoint_url=cloud.endpoint_url,
        aws_access_key_id=key,
        aws_secret_access_key=secret,
        config=Config(
            inject_host_prefix=False, parameter_validation=False, retries={"total_max_attempts": 1}
        ),
    )


def ask(client, name, parameters):
    """Return status, code and message of an operation's answer."""
    try:
        client._make_api_call(name, parameters)
    except ClientError as error:
        told = error.response
        status = told["ResponseMetadata"]["HTTPStatusCode"]
        return status, told["Error"].get("Code", ""), told["Error"].get("Message", "")
    return 200, "", ""


@pytest.mark.parametrize("service", SERVICES)
@pytest.mark.no_cover
def test_no_operation_fails_and_what_is_not_offered_is_said(cloud, service):
    model = validation.service(service)
    with closing(connect(cloud, service)) as client:
        told = {
            name: ask(client, name, plausible(model.operation_model(name).input_shape))
            for name in model.operation_names
        }

    statuses = Counter(status for status, _, _ in told.values())
    assert statuses.total() == len(model.operation_names)
    assert {status for status in statuses if status >= 500} <= {501}
    missing = {name: code for name, (status, code, _) in told.items() if status == 501}
    assert set(missing.values()) <= {"NotImplemented"}
    assert all("not yet offered by the local cloud" in told[name][2] for name in missing)


@pytest.mark.parametrize("service", ["cloudwatch", "events", "iam", "logs", "sagemaker", "sns"])
def test_what_is_not_offered_is_named_before_its_parameters_are_looked_at(cloud, service):
    model = validation.service(service)
    with closing(connect(cloud, service)) as client:
        told = {name: ask(client, name, {}) for name in model.operation_names}
    missing = [name for name, (status, _, _) in told.items() if status == 501]

    assert missing
    assert all(f"'s {name} is not" in told[name][2] for name in missing)
    required = [name for name in missing if plausible(model.operation_model(name).input_shape)]
    assert required  # some have members that must be given, and none were
