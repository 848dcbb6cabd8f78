"""URLs and forms that are signed before they are used, by boto3 (both versions) and by others."""

import hmac
import json
import re
from base64 import b64decode, b64encode
from urllib.parse import parse_qs, urlencode, urlsplit

import boto3
import pytest
import requests
from botocore.auth import S3SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import Credentials

from workbench.localcloud import LocalCloud

VERSIONS = ["s3", "s3v4"]  # as botocore calls versions 2 and 4
BUCKET = "bucket"


@pytest.fixture(scope="module")
def cloud():
    with LocalCloud() as cloud:
        cloud.client("s3").create_bucket(Bucket=BUCKET)
        yield cloud


@pytest.fixture(scope="module")
def calls(cloud):
    """A client that signs what it sends."""
    client = cloud.client("s3")
    yield client
    client.close()


@pytest.fixture(params=VERSIONS)
def s3(cloud, request):
    """A client that signs for others."""
    key, secret = cloud.keys
    client = boto3.client(
        "s3",
        endpoint_url=cloud.url,
        region_name=cloud.region,
        aws_access_key_id=key,
        aws_secret_access_key=secret,
        config=Config(signature_version=request.param),
    )
    yield client
    client.close()


def ask(method, url, data=None, **options):
    return requests.request(method, url, data=data, timeout=60, **options)


def url(s3, operation, key="k", *, seconds=60, **parameters):
    where = {"Bucket": BUCKET} | ({"Key": key} if key else {})
    return s3.generate_presigned_url(operation, where | parameters, ExpiresIn=seconds)


def moved(cloud, method, **headers):
    """A URL of version 4 with headers moved into its query, as SDKs for JavaScript sign it."""
    query = urlencode({f"x-amz-{name.replace('_', '-')}": text for name, text in headers.items()})
    request = AWSRequest(method, f"{cloud.endpoint_url}/{BUCKET}/k?{query}")
    S3SigV4QueryAuth(Credentials(*cloud.keys), "s3", cloud.region, 60).add_auth(request)
    return request.url


def test_urls_do_what_they_were_signed_for(s3):
    put = url(s3, "put_object", ContentType="text/plain", Metadata={"m": "1"})
    headers = {"content-type": "text/plain"}
    if "X-Amz-SignedHeaders" in put:  # version 4 has headers sent again, version 2 in the query
        headers["x-amz-meta-m"] = "1"
    assert ask("PUT", put, b"hello", headers=headers).status_code == 200
    found = ask("GET", url(s3, "get_object", ResponseContentDisposition="attachment"))
    assert found.content == b"hello"
    names = ("content-type", "x-amz-meta-m", "content-disposition")
    assert [found.headers[name] for name in names] == ["text/plain", "1", "attachment"]
    assert ask("GET", url(s3, "get_object"), headers={"range": "bytes=1-2"}).content == b"el"
    assert ask("HEAD", url(s3, "head_object")).headers["content-length"] == "5"
    assert b"<Key>k</Key>" in ask("GET", url(s3, "list_objects_v2", "", Prefix="k")).content
    assert ask("DELETE", url(s3, "delete_object")).status_code == 204
    assert ask("GET", url(s3, "get_object")).status_code == 404


def test_urls_upload_in_parts(s3, calls):
    upload = calls.create_multipart_upload(Bucket=BUCKET, Key="k")["UploadId"]
    answer = ask("PUT", url(s3, "upload_part", UploadId=upload, PartNumber=1), b"part")
    parts = [{"PartNumber": 1, "ETag": answer.headers["etag"]}]
    where = {"Bucket": BUCKET, "Key": "k", "UploadId": upload}
    calls.complete_multipart_upload(**where, MultipartUpload={"Parts": parts})
    assert calls.get_object(Bucket=BUCKET, Key="k")["Body"].read() == b"part"


def test_a_url_that_was_altered_or_has_expired_is_refused(s3, calls):
    calls.put_object(Bucket=BUCKET, Key="k", Body=b"x")
    right = url(s3, "get_object")
    assert ask("GET", right).status_code == 200
    altered = [right.replace("/k?", "/other?"), right + "&response-content-type=text/html"]
    altered.append(re.sub("(?<=Signature=).", lambda first: "10"[first[0] == "1"], right))
    for each in altered:
        assert ask("GET", each).status_code == 403
    assert ask("GET", url(s3, "get_object", seconds=-10)).status_code in (400, 403)
    assert ask("PUT", right, b"y").status_code == 403
    assert ask("GET", right).content == b"x"


def test_headers_that_were_moved_into_a_url_are_headers(cloud, calls):
    put = moved(cloud, "PUT", tagging="a=1", storage_class="STANDARD_IA")
    assert ask("PUT", put, b"hello").status_code == 200
    assert ask("PUT", put.replace("STANDARD_IA", "GLACIER_IR"), b"hello").status_code == 403
    found = calls.get_object(Bucket=BUCKET, Key="k")
    assert (found["TagCount"], found["StorageClass"]) == (1, "STANDARD_IA")
    locked = moved(cloud, "PUT", object_lock_mode="GOVERNANCE")
    assert ask("PUT", locked, b"hello").status_code == 501


@pytest.mark.parametrize("value", ["a\r\nset-cookie: b", "\x00", "\U0001f600"])
def test_what_no_header_can_hold_is_refused(cloud, s3, value):
    refused = ask("GET", url(s3, "get_object", ResponseContentType=value))
    assert (refused.status_code, b"InvalidArgument" in refused.content) == (400, True)
    assert ask("PUT", moved(cloud, "PUT", meta_m=value), b"x").status_code == 400
    conditions = [{"x-amz-meta-m": value}]
    form = s3.generate_presigned_post(BUCKET, "form", {"x-amz-meta-m": value}, conditions)
    assert post(form).status_code == 400
    target = f"http://localhost/{value}"
    form = s3.generate_presigned_post(BUCKET, "form", {"redirect": target}, [{"redirect": target}])
    assert post(form).status_code == 400


def test_a_form_holds_what_an_upload_may(calls):
    form = calls.generate_presigned_post(BUCKET, "form")
    fields, files = form["fields"], {"file": ("f", b"x", "text/\x01")}
    assert ask("POST", form["url"], fields, files=files).status_code == 400
    refused = post(calls.generate_presigned_post(BUCKET, "k" * 1025))
    assert (refused.status_code, "KeyTooLongError" in refused.text) == (400, True)
    assert post(form, policy="\u0100").status_code == 403


def test_a_url_that_is_sent_as_a_form_is_refused_as_s3_refuses(s3):
    """As curl does that is told --data, and nothing of the type."""
    kind = {"content-type": "application/x-www-form-urlencoded"}
    refused = ask("PUT", url(s3, "put_object", ContentType="text/plain"), b"x", headers=kind)
    assert (refused.status_code, "<Error><Code>SignatureDoesNot" in refused.text) == (403, True)


def test_a_checksum_that_was_moved_into_a_url_is_verified(cloud):
    right = moved(cloud, "PUT", checksum_crc32="NhCmhg==")
    assert ask("PUT", right, b"hello").status_code == 200
    refused = ask("PUT", right, b"other")
    assert (refused.status_code, b"BadDigest" in refused.content) == (400, True)


def test_the_checksum_of_no_body_in_a_url_is_not_meant(cloud):
    """SDKs for JavaScript sign before there is a body, and have its CRC32 in the URL."""
    empty = moved(cloud, "PUT", checksum_crc32="AAAAAA==", sdk_checksum_algorithm="CRC32")
    assert ask("PUT", empty, b"hello").status_code == 200


# --- forms


def post(form, content=b"hello", **changes):
    fields = {name: value for name, value in (form["fields"] | changes).items() if value}
    return ask("POST", form["url"], fields, files={"file": ("a name.txt", content, "text/x")})


def test_a_form_uploads_what_its_policy_allows(s3, calls):
    form = s3.generate_presigned_post(
        BUCKET,
        "in/${filename}",
        {"x-amz-meta-m": "1", "success_action_status": "201"},
        [{"x-amz-meta-m": "1"}, {"success_action_status": "201"}, ["content-length-range", 1, 9]],
        ExpiresIn=60,
    )
    answer = post(form)
    assert answer.status_code == 201
    assert b"<Key>in/a name.txt</Key>" in answer.content
    found = calls.get_object(Bucket=BUCKET, Key="in/a name.txt")
    assert (found["Body"].read(), found["Metadata"]) == (b"hello", {"m": "1"})
    assert found["ContentType"] == "text/x"

    for content, code in [(b"", "EntityTooSmall"), (b"x" * 10, "EntityTooLarge")]:
        refused = post(form, content)
        assert (refused.status_code, code in refused.text) == (400, True)


def altered_policy(form):
    policy = json.loads(b64decode(form["fields"]["policy"]))
    policy["expiration"] = "2099-01-01T00:00:00Z"
    return {"policy": b64encode(json.dumps(policy).encode()).decode()}


REFUSED = {  # changes of a form that was signed, and the status that they get
    "another key": lambda _: {"key": "other"},
    "another field": lambda _: {"x-amz-meta-more": "1"},
    "another policy": altered_policy,
    "no policy": lambda _: {"policy": ""},
    "no signature": lambda _: {"signature": "", "x-amz-signature": ""},
    "another signature": lambda _: {"signature": "AAAA", "x-amz-signature": "00"},
    "another's key": lambda _: {
        "AWSAccessKeyId": "AKIAOTHER",
        "x-amz-credential": "AKIAOTHER/20260101/us-east-1/s3/aws4_request",
    },
}


@pytest.mark.parametrize("what", REFUSED)
def test_a_form_that_was_altered_is_refused(s3, calls, what):
    form = s3.generate_presigned_post(BUCKET, "form", ExpiresIn=60)
    assert post(form, **REFUSED[what](form)).status_code == 403
    assert "Contents" not in calls.list_objects_v2(Bucket=BUCKET, Prefix="form")


def test_a_form_that_has_expired_is_refused(s3):
    refused = post(s3.generate_presigned_post(BUCKET, "form", ExpiresIn=-10))
    assert (refused.status_code, "expired" in refused.text) == (403, True)


def test_a_form_begins_with_what_its_policy_wants(s3, calls):
    form = s3.generate_presigned_post(
        BUCKET, "free/${filename}", None, [["starts-with", "$key", "free/"]], ExpiresIn=60
    )
    assert post(form, key="free/other").status_code == 204
    assert calls.get_object(Bucket=BUCKET, Key="free/other")["Body"].read() == b"hello"


def test_a_form_leads_back_to_where_its_page_wants(s3):
    target = "http://localhost/done?a=1"
    conditions = [{"success_action_redirect": target}]
    form = s3.generate_presigned_post(
        BUCKET, "form-back", {"success_action_redirect": target}, conditions, ExpiresIn=60
    )
    fields, files = form["fields"], {"file": ("f", b"x")}
    answer = ask("POST", form["url"], fields, files=files, allow_redirects=False)
    assert answer.status_code == 303
    assert parse_qs(urlsplit(answer.headers["location"]).query)["key"] == ["form-back"]


def test_a_form_is_for_its_bucket_alone(cloud, s3):
    """The signature of an upload must not call anything else that takes a POST."""
    form = s3.generate_presigned_post(BUCKET, "form", ExpiresIn=60)
    where = ("/", "/other", "/bucket/k", "/endpoints/x/invocations", "/bucket?delete")
    where += ("/2015-03-31/functions/f/invocations", "/?Credential=x/20260101/r/sqs/aws4_request")
    for path in where:
        answer = ask("POST", cloud.endpoint_url + path, form["fields"], files={"file": b"x"})
        assert answer.status_code == 403, path


@pytest.mark.parametrize(
    "policy",
    ["{}", "[]", '{"expiration": 1, "conditions": []}', '{"conditions": [["eq"]]}', "\x00"],
    ids=["empty", "list", "number", "no expiry", "no JSON"],
)
def test_a_policy_that_is_none_is_refused(cloud, policy):
    key, secret = cloud.keys
    text = b64encode(policy.encode()).decode()
    digest = hmac.digest(secret.encode(), text.encode(), "sha1")
    signed = {"AWSAccessKeyId": key, "policy": text, "signature": b64encode(digest).decode()}
    answer = ask(
        "POST", f"{cloud.endpoint_url}/{BUCKET}", {"key": "k", **signed}, files={"file": b"x"}
    )
    assert (answer.status_code, "InvalidPolicyDocument" in answer.text) == (400, True)
