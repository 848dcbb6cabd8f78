"""What a real browser, another user and an old key get of a local cloud: nothing."""

import contextlib
import os
import subprocess
import threading
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import boto3
import pytest
from botocore.exceptions import ClientError
from playwright.sync_api import sync_playwright

from tests.browser import FLAGS, find_chromium
from workbench.localcloud import LocalCloud

NOBODY = 65534
REBOUND = "rebound.test"  # a name that a page was loaded from and that now leads to this machine
PAGE = b"<!doctype html><title>another origin</title>"

# What a page can send without asking first, and what it asks for first.
TRIES = """async ([url, signed]) => {
    const told = [];
    const attempt = async (where, options) => {
        try {
            const reply = await fetch(where, options);
            told.push(`${reply.status}:${reply.type}:${await reply.text()}`);
        } catch (error) { told.push(error.name); }
    };
    await attempt(`${url}/bucket/k`, {});
    await attempt(signed, {});
    await attempt(signed, {mode: "no-cors"});
    await attempt(`${url}/bucket/k`, {method: "DELETE"});
    await attempt(`${url}/bucket/new`, {method: "PUT", body: "x"});
    await attempt(`${url}/`, {method: "POST", mode: "no-cors", body: "Action=ListMetrics"});
    await attempt(`${url}/endpoints/e/invocations`, {method: "POST", mode: "no-cors", body: "[1]"});
    return told;
}"""
FORM = """([url]) => {
    const form = document.body.appendChild(document.createElement("form"));
    Object.assign(form, {method: "POST", action: `${url}/bucket`, enctype: "multipart/form-data"});
    for (const [name, value] of [["key", "new"], ["file", "x"]]) {
        form.appendChild(Object.assign(document.createElement("input"), {name, value}));
    }
    form.submit();
}"""


class OtherSite(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.send_header("content-type", "text/html")
        self.end_headers()
        self.wfile.write(PAGE)

    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def cloud(tmp_path_factory):
    with LocalCloud(tmp_path_factory.mktemp("door") / "cloud") as cloud:
        yield cloud


@pytest.fixture(scope="module")
def s3(cloud):
    with closing(cloud.client("s3")) as s3:
        s3.create_bucket(Bucket="bucket")
        s3.put_object(Bucket="bucket", Key="k", Body=b"secret", ContentType="text/plain")
        yield s3


@pytest.fixture(scope="module")
def other_site():
    with ThreadingHTTPServer(("127.0.0.1", 0), OtherSite) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.fixture
def page(chromium):
    with contextlib.closing(chromium.new_context()) as context:
        yield context.new_page()


@pytest.fixture(scope="module")
def chromium():
    """A browser in which one more name leads to this machine."""
    rule = f"--host-resolver-rules=MAP {REBOUND} 127.0.0.1"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=find_chromium(), args=[*FLAGS, rule])
        yield browser
        browser.close()


def signed_url(s3):
    return s3.generate_presigned_url("get_object", Params={"Bucket": "bucket", "Key": "k"})


def require_nothing_changed(s3):
    assert [each["Key"] for each in s3.list_objects_v2(Bucket="bucket")["Contents"]] == ["k"]


def test_a_page_of_another_origin_reads_and_changes_nothing(cloud, s3, page, other_site):
    statuses = []
    page.on("response", lambda reply: statuses.append((reply.url, reply.status)))
    page.goto(other_site)

    told = page.evaluate(TRIES, [cloud.url, signed_url(s3)])
    with page.expect_navigation():
        page.evaluate(FORM, [cloud.url])

    assert not any("secret" in each for each in told)
    # A signed address is a permission, as on AWS: it may be loaded, say as an image, but not read.
    unsigned = {
        status for url, status in statuses if url.startswith(cloud.url) and "Signature" not in url
    }
    assert unsigned == {403}
    require_nothing_changed(s3)


def test_a_page_of_a_rebound_name_reads_and_changes_nothing(cloud, s3, page):
    url = cloud.url.replace("127.0.0.1", REBOUND)
    statuses = []
    page.on("response", lambda reply: statuses.append(reply.status))
    page.goto(f"{url}/bucket/k")

    told = page.evaluate(TRIES, [url, signed_url(s3).replace("127.0.0.1", REBOUND)])

    assert not any("secret" in each for each in told)
    assert set(statuses) == {403}
    require_nothing_changed(s3)


def test_the_browser_reaches_the_cloud_where_a_signed_address_is_opened(s3, page):
    assert page.goto(signed_url(s3)).text() == "secret"  # so 403 above is not for want of a way


def test_the_key_of_another_cloud_is_refused(cloud, s3, tmp_path):
    with LocalCloud(tmp_path / "other") as other:
        stale = other.environment()
    session = boto3.Session(
        aws_access_key_id=stale["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=stale["AWS_SECRET_ACCESS_KEY"],
        region_name="us-east-1",
    )
    late = session.client("s3", endpoint_url=cloud.url)
    with closing(late), pytest.raises(ClientError) as refused:
        late.get_object(Bucket="bucket", Key="k")
    assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] == 403


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be another user")
def test_another_user_reads_no_file_of_a_cloud(cloud, s3):
    mine = subprocess.run(["ls", cloud.path], capture_output=True, check=True)
    others = subprocess.run(["ls", cloud.path], user=NOBODY, capture_output=True, check=False)

    assert mine.stdout
    assert others.returncode != 0
    assert not others.stdout
