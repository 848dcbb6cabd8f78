"""Requests as other people's clients send them, old ones too, each signed anew.

`client_requests.jsonl` holds what the local cloud got on 29 November 2026 from the clients of
`make clients`: their headers but for those of the connection and the signature. Contents of files
were put in place of their own where no checksum of theirs tells.
"""

import json
from contextlib import closing
from http.client import HTTPConnection
from itertools import groupby
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.wire import ask
from workbench.localcloud.server import _refuse_body
from workbench.modelserver.http import Request

ROWS = map(json.loads, Path(__file__).with_name("client_requests.jsonl").read_text().splitlines())
CLIENTS = {name: list(rows) for name, rows in groupby(ROWS, key=lambda row: row["client"])}


def send(cloud, bucket, row):
    headers = {name: value.format(bucket=bucket) for name, value in row["headers"].items()}
    service = "s3" if "{bucket}" in row["target"] else "monitoring"
    target = row["target"].replace("{bucket}", bucket)
    return ask(cloud, row["method"], target, row["body"].encode(), headers, service=service)


@pytest.mark.parametrize("client", CLIENTS)
def test_the_requests_of_a_client_are_answered_as_it_wants_them(cloud, client):
    bucket = "of-" + client.lower().replace(" ", "-")
    assert ask(cloud, "PUT", f"/{bucket}")[0] == 200
    put = {}
    for row in CLIENTS[client]:
        status, headers, body = send(cloud, bucket, row)
        assert status == row["status"], (row, body)
        plain = "?" not in row["target"] or "x-id=" in row["target"]
        key = row["target"].partition("?")[0]
        if row["method"] == "PUT" and plain and "x-amz-copy-source" not in row["headers"]:
            put[key] = row["body"].encode()
        if row["method"] == "GET" and key in put and plain and status == 200:
            assert body == put[key]
        if row["method"] == "HEAD" or status == 204:
            assert body == b""
        elif row["method"] == "GET" and not plain:
            assert headers["content-type"] == "application/xml", row


def test_a_body_that_cannot_be_taken_is_refused_in_xml(cloud):
    """JavaScript's SDK cannot read JSON from S3, and tries nothing again that it cannot read."""
    with closing(HTTPConnection("127.0.0.1", urlsplit(cloud.url).port)) as connection:
        connection.putrequest("POST", "/a-bucket/key")
        connection.putheader("Content-Length", str(100 << 20))
        connection.endheaders()
        answer = connection.getresponse()
        assert (answer.status, answer.headers["content-type"]) == (400, "application/xml")
        assert b"<Code>EntityTooLarge</Code>" in answer.read()


def test_a_slow_body_is_refused_as_clients_try_again():
    answer = _refuse_body(408, "slow", Request())  # what is not signed is meant for S3
    assert (answer.status, answer.content_type) == (400, "application/xml")
    assert b"<Code>RequestTimeout</Code>" in answer.body
