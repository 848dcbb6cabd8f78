"""Calls of AWS that boto3 would not make, and a closer look at the answers to those it makes."""

import http.client
import json
from urllib.parse import urlsplit

from botocore.parsers import create_parser

from workbench.localcloud.core import validation


def check_answers(client, but=()):
    """Let a JSON client hold every answer against botocore's model: types, enums, what must be."""

    def check(operation_model, response_dict, **_):
        right = response_dict["status_code"] < 300 and operation_model.name not in but
        if right and operation_model.output_shape is not None and response_dict["body"]:
            validation.check(operation_model.output_shape, json.loads(response_dict["body"]))

    client.meta.events.register("before-parse.*.*", check)


def signed(service, region="us-east-1"):
    """The header of a request that is meant for a service; nobody checks the signature."""
    return {
        "authorization": f"AWS4-HMAC-SHA256 Credential=local/20261124/{region}/{service}/"
        "aws4_request, SignedHeaders=host, Signature=0"
    }


def ask(url, method, path, body=b"", headers=()):
    """Status, headers and body of any request."""
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=60)
    try:
        connection.request(method, path, body, dict(headers))
        answer = connection.getresponse()
        return answer.status, dict(answer.getheaders()), answer.read()
    finally:
        connection.close()


def ask_sagemaker(url, operation, body):
    """Status and error of a call with a body of one's own, as botocore parses them."""
    headers = signed("sagemaker") | {"x-amz-target": f"SageMaker.{operation}"}
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    status, found, answer = ask(url, "POST", "/", content, headers)
    facts = {"status_code": status, "headers": found, "body": answer}
    return status, create_parser("json").parse(facts, None).get("Error", {})
