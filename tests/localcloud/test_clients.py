"""Requests as other people's clients send them, old ones too, each signed anew.

`client_requests.jsonl` holds what the local cloud got on 29 November 2026 from the clients of
`make clients`: their headers but for those of the connection and the signature. Contents of files
were put in place of their own where no checksum of theirs tells.
"""

import json
from itertools import groupby
from pathlib import Path

import pytest

from tests.wire import ask

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
