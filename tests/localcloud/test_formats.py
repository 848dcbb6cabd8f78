"""Calls in each of AWS's formats, and refusals in the format of the call."""

import json
from urllib.parse import urlencode

import pytest
from botocore.parsers import create_parser

from workbench.localcloud.core import cbor, query
from workbench.localcloud.core.dispatch import read_call
from workbench.localcloud.core.formats import refuse
from workbench.localcloud.core.protocol import AwsError, validation_error
from workbench.modelserver.http import Request

FORM = {"content-type": "application/x-www-form-urlencoded; charset=utf-8"}
JSON = {"x-amz-target": "SageMaker.ListModels", "content-type": "application/x-amz-json-1.1"}
CBOR = {"smithy-protocol": "rpc-v2-cbor", "content-type": "application/cbor"}


def call(headers=(), body=b"", path="/"):
    request = Request()
    request.method, request.path, request.body, request.headers = "POST", path, body, dict(headers)
    return request


@pytest.mark.parametrize(
    ("service", "headers", "protocol"),
    [
        ("sagemaker", JSON, "json"),
        ("sagemaker", FORM, "query"),
        ("lambda", {}, "rest-json"),
        ("monitoring", FORM, "query"),
        ("monitoring", CBOR, "smithy-rpc-v2-cbor"),
        ("monitoring", {"x-amz-target": "GraniteServiceVersion20100801.ListMetrics"}, "json"),
        ("iam", FORM, "query"),
        ("cloudformation", FORM, "query"),
        ("ec2", FORM, "ec2"),
        ("s3", FORM, "rest-xml"),
        ("route53", {}, "rest-xml"),
    ],
)
def test_a_refusal_is_in_the_format_of_the_call(service, headers, protocol):
    error = AwsError("NotImplemented", "A <thing> & more\0.", 501)

    response = refuse(error, call(headers), service)

    answer = {
        "body": response.body,
        "headers": {**dict(response.headers or ()), "content-type": response.content_type},
        "status_code": response.status,
    }
    found = create_parser(protocol).parse(answer, None)["Error"]
    assert (found["Code"], found["Message"][:16]) == ("NotImplemented", "A <thing> & more")


def test_forms_are_read_by_the_shapes_of_the_operation():
    form = {
        "Action": "PutMetricData",
        "Namespace": "Mine",
        "MetricData.member.2.MetricName": "b",
        "MetricData.member.1.MetricName": "a é+&",
        "MetricData.member.1.Timestamp": "2026-01-01T00:00:00.5Z",
        "MetricData.member.1.Values.member.10": "10",
        "MetricData.member.1.Values.member.9": "-1e3",
        "MetricData.member.1.Dimensions": "",
        "StrictEntityValidation": "true",
        "Version": "2010-08-01",
    }
    model, given = read_call("cloudwatch", call(FORM, urlencode(form).encode()))

    assert model.name == "PutMetricData"
    assert given == {
        "Namespace": "Mine",
        "MetricData": [
            {
                "MetricName": "a é+&",
                "Timestamp": 1767225600.5,
                "Values": [-1000.0, 10.0],
                "Dimensions": [],
            },
            {"MetricName": "b"},
        ],
        "StrictEntityValidation": True,
    }


@pytest.mark.parametrize(
    ("form", "code"),
    [
        ("", "MissingAction"),
        ("Action.x=1", "MissingAction"),
        ("Action=Fly", "UnknownOperationException"),
        ("Action=ListMetrics&Dimensions=1&Dimensions.member.1.Name=x", "MalformedQueryString"),
        ("Action=ListMetrics&Namespace=a&Namespace=b", "MalformedQueryString"),
        ("Action=ListMetrics&Dimensions.member.x.Name=x", "MalformedQueryString"),
        ("Action=ListMetrics&Dimensions.item.1.Name=x", "MalformedQueryString"),
    ],
)
def test_forms_that_contradict_themselves_are_refused(form, code):
    with pytest.raises(AwsError) as caught:
        read_call("cloudwatch", call(FORM, form.encode()))

    assert caught.value.code == code


def test_a_form_is_no_call_of_a_service_that_speaks_json_alone():
    with pytest.raises(AwsError) as caught:
        read_call("sagemaker", call(FORM, b"Action=ListModels"))

    assert caught.value.code == "UnknownOperationException"


@pytest.mark.parametrize("body", [b"\xff", b"\x61", b"\x80", b"\xa1\x01\x02", b"\xa1\x80\x80"])
def test_bodies_that_are_no_map_in_cbor_are_refused(body):
    path = "/service/GraniteServiceVersion20100801/operation/ListMetrics"
    with pytest.raises(AwsError) as caught:
        cbor.parse_call("cloudwatch", call(CBOR, body, path))

    assert caught.value.code == "SerializationException"


def test_errors_of_forms_have_the_codes_of_forms():
    response = query.error_response(validation_error("No."))

    assert b"<Code>ValidationError</Code>" in response.body
    assert b"<Type>Sender</Type>" in response.body


def test_a_refusal_of_json_names_its_type():
    response = refuse(validation_error("No."), call(JSON), "sagemaker")

    assert json.loads(response.body)["__type"] == "ValidationException"
