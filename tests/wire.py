"""Calls of AWS that boto3 would not make, and a closer look at the answers to those it makes."""

import hashlib
import hmac
import http.client
import json
import time
from functools import reduce
from urllib.parse import quote, unquote, urlsplit

from botocore.parsers import create_parser

from workbench.localcloud.core import validation


def check_answers(client, but=()):
    """Let a JSON client hold every answer against botocore's model: types, enums, what must be."""

    def check(operation_model, response_dict, **_):
        right = response_dict["status_code"] < 300 and operation_model.name not in but
        if right and operation_model.output_shape is not None and response_dict["body"]:
            validation.check(operation_model.output_shape, json.loads(response_dict["body"]))

    client.meta.events.register("before-parse.*.*", check)


def signed(cloud, method, path, body=b"", headers=(), *, service="s3", region="us-east-1", at=None):
    """Headers with those of signature version 4, written from AWS's description alone.

    `at` is the instant, in seconds since 1970, by default now.
    """
    key, secret = cloud.keys
    digest = hashlib.sha256(body).hexdigest()
    headers = {
        "host": urlsplit(cloud.endpoint_url).netloc,
        "x-amz-date": time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(at)),
        **({"x-amz-content-sha256": digest} if service == "s3" else {}),
        **dict(headers),
    }
    path, _, query = path.partition("?")
    path = quote(unquote(path, "latin-1"), "/~", "latin-1") if service == "s3" else quote(path)
    pairs = sorted(each.partition("=")[::2] for each in query.split("&") if each)
    names = sorted(headers)
    canonical = "\n".join(
        [
            *(method, path, "&".join(f"{name}={value}" for name, value in pairs)),
            *(f"{name}:{headers[name].strip()}" for name in names),
            *("", ";".join(names), headers.get("x-amz-content-sha256", digest)),
        ]
    )
    scope = f"{headers['x-amz-date'][:8]}/{region}/{service}/aws4_request"
    text = [
        *("AWS4-HMAC-SHA256", headers["x-amz-date"], scope),
        hashlib.sha256(canonical.encode("latin-1")).hexdigest(),
    ]
    parts = [*scope.encode("latin-1").split(b"/"), "\n".join(text).encode("latin-1")]
    signature = reduce(
        lambda key, part: hmac.digest(key, part, "sha256"), parts, b"AWS4" + secret.encode()
    )
    return headers | {
        "authorization": f"AWS4-HMAC-SHA256 Credential={key}/{scope}, "
        f"SignedHeaders={';'.join(names)}, Signature={signature.hex()}"
    }


def packet(cloud, method, path, body, headers, *, service):
    """A signed request as it goes over the wire; it may be sent again for 15 minutes."""
    signing = signed(cloud, method, path, body, headers, service=service)
    lines = [f"{name}: {value}" for name, value in {**signing, "content-length": len(body)}.items()]
    return "\r\n".join([f"{method} {path} HTTP/1.1", *lines, "", ""]).encode() + body


def ask(cloud, method, path, body=b"", headers=(), *, service="s3"):
    """Status, headers and body of any request, signed for a service; None: not signed."""
    headers = dict(headers)
    if service is not None:
        headers = signed(cloud, method, path, body, headers, service=service)
    connection = http.client.HTTPConnection(urlsplit(cloud.endpoint_url).netloc, timeout=60)
    try:
        connection.request(method, path, body, headers)
        answer = connection.getresponse()
        return answer.status, dict(answer.getheaders()), answer.read()
    finally:
        connection.close()


def ask_sagemaker(cloud, operation, body):
    """Status and error of a call with a body of one's own, as botocore parses them."""
    headers = {"x-amz-target": f"SageMaker.{operation}"}
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    status, found, answer = ask(cloud, "POST", "/", content, headers, service="sagemaker")
    facts = {"status_code": status, "headers": found, "body": answer}
    return status, create_parser("json").parse(facts, None).get("Error", {})
