"""Requests that a web page may have sent, by their `Host` and `Origin`."""

import pytest

from workbench.modelserver.http import Request
from workbench.modelserver.loopback import find_foreign


@pytest.mark.parametrize("host", ["127.0.0.1:80", "localhost", "[::1]", "Bucket.LocalHost:80"])
def test_names_of_this_machine_are_taken(host):
    assert not find_foreign(Request(headers={"host": host}), 80)
    assert not find_foreign(Request(headers={"host": host, "origin": f"http://{host}"}), 80)


@pytest.mark.parametrize(
    "host",
    ["", "127.0.0.1:81", "localhost:", "evil.example:80", "localhost.evil.example:80", "127.0.0.2",
     "evillocalhost", "localhost@evil.example", "[::2]:80", "s3.amazonaws.com"],
)  # fmt: skip
def test_other_hosts_are_refused(host):
    assert repr(host) in find_foreign(Request(headers={"host": host}), 80)


@pytest.mark.parametrize(
    "origin", ["null", "", "http://evil.example", "http://localhost:8888", "https://localhost"]
)
def test_other_origins_are_refused(origin):
    headers = {"host": "localhost", "origin": origin}

    assert repr(origin) in find_foreign(Request(headers=headers), 80)
