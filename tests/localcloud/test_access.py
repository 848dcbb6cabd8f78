"""Who may call a local cloud: hosts, origins and signatures."""

import asyncio
import base64
import hashlib
import hmac
import http.client
import json
import os
import time
import urllib.error
import urllib.request
import zlib
from contextlib import closing
from functools import reduce
from pathlib import Path
from urllib.parse import urlsplit

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError
from hypothesis import given
from hypothesis import strategies as st

from tests import wire
from workbench.cloud.aws import Cloud
from workbench.localcloud import LocalCloud
from workbench.localcloud.core.access import MAX_SKEW, AccessControl
from workbench.localcloud.core.access_keys import AccessKey, make_access_key
from workbench.localcloud.core.protocol import AwsError
from workbench.localcloud.core.signatures import ChunkSignatures
from workbench.localcloud.lambda_.runtime import Runtime
from workbench.localcloud.s3.uploads import ChunkDecoder
from workbench.modelserver.http import Request

# The examples of the Amazon S3 API Reference and the IAM User Guide, with AWS's own key.
KEY = AccessKey("AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY")
BUCKET = "examplebucket.s3.amazonaws.com"
DAY = 1_369_353_600.0  # 24 May 2013, 00:00 UTC
EMPTY = hashlib.sha256().hexdigest()
SCOPE = "20130524/us-east-1/s3/aws4_request"


@pytest.fixture(scope="module")
def s3(cloud):
    with closing(cloud.client("s3")) as s3:
        s3.create_bucket(Bucket="bucket")
        s3.put_object(Bucket="bucket", Key="k", Body=b"here")
        yield s3


def request(method="GET", target="/", headers=(), body=b""):
    asked = Request()
    asked.method = method
    asked.path = asked.raw_path = target.partition("?")[0]
    asked.query = target.partition("?")[2]
    asked.headers = dict(headers)
    asked.body = body
    return asked


def authorization(names, signature, scope=SCOPE):
    named = f"Credential={KEY.id}/{scope},SignedHeaders={names},Signature={signature}"
    return f"AWS4-HMAC-SHA256 {named}"


def refusal(asked, *, now=DAY, key=KEY):
    """The code and status with which a request's signature is refused; None: it is right."""
    try:
        AccessControl(key, clock=lambda: now).check_signature(asked, asked.body)
    except AwsError as error:
        return error.code
    return None


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("aX-Amz-Signature=1", "parameters"),
        ("aAWSAccessKeyId=1", "key"),
        (f"AWSAccessKeyId={KEY.id}&Expires={'9' * 5000}", "expired"),
    ],
)
def test_a_query_that_only_looks_signed_is_refused(query, code):
    assert refusal(request(target=f"/a?{query}")) == code


# --- AWS's published examples


def published_get():
    names = "host;range;x-amz-content-sha256;x-amz-date"
    signature = "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41"
    headers = {
        "host": BUCKET,
        "range": "bytes=0-9",
        "x-amz-content-sha256": EMPTY,
        "x-amz-date": "20130524T000000Z",
        "authorization": authorization(names, signature),
    }
    return request(target="/test.txt", headers=headers)


def published_put():
    body = b"Welcome to Amazon S3."
    names = "date;host;x-amz-content-sha256;x-amz-date;x-amz-storage-class"
    signature = "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd"
    headers = {
        "date": "Fri, 24 May 2013 00:00:00 GMT",
        "host": BUCKET,
        "x-amz-content-sha256": hashlib.sha256(body).hexdigest(),
        "x-amz-date": "20130524T000000Z",
        "x-amz-storage-class": "REDUCED_REDUNDANCY",
        "authorization": authorization(names, signature),
    }
    return request("PUT", "/test%24file.text", headers, body)


def published_list():
    names = "host;x-amz-content-sha256;x-amz-date"
    signature = "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7"
    headers = {
        "host": BUCKET,
        "x-amz-content-sha256": EMPTY,
        "x-amz-date": "20130524T000000Z",
        "authorization": authorization(names, signature),
    }
    return request(target="/?max-keys=2&prefix=J", headers=headers)


def published_url():
    query = (
        "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20130524%2F"
        "us-east-1%2Fs3%2Faws4_request&X-Amz-Date=20130524T000000Z&X-Amz-Expires=86400&"
        "X-Amz-SignedHeaders=host&X-Amz-Signature="
        "aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404"
    )
    return request(target=f"/test.txt?{query}", headers={"host": BUCKET})


def published_call():
    names = "content-type;host;x-amz-date"
    signature = "5d672d79c15b13162d9279b0855cfba6789a8edb4c82c400e06b5924a6f2b5d7"
    scope = "20150830/us-east-1/iam/aws4_request"
    headers = {
        "host": "iam.amazonaws.com",
        "content-type": "application/x-www-form-urlencoded; charset=utf-8",
        "x-amz-date": "20150830T123600Z",
        "authorization": authorization(names, signature, scope).replace(KEY.id, "AKIDEXAMPLE"),
    }
    return request(target="/?Action=ListUsers&Version=2010-05-08", headers=headers)


CALL_TIME = 1_440_938_160.0
CALL_KEY = AccessKey("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY")
PUBLISHED = {each.__name__: each for each in (published_get, published_put, published_list)}


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_published_examples_of_s3_are_right(name):
    assert refusal(PUBLISHED[name]()) is None


def test_the_published_presigned_url_is_right():
    assert refusal(published_url()) is None


def test_the_published_call_of_another_service_is_right():
    assert refusal(published_call(), now=CALL_TIME, key=CALL_KEY) is None


def published_upload():
    names = (
        "content-encoding;content-length;host;x-amz-content-sha256;x-amz-date;"
        "x-amz-decoded-content-length;x-amz-storage-class"
    )
    signature = "4f232c4386841ef735655705268965c44a0e4690baa4adea153f7db9fa80a0a9"
    headers = {
        "host": "s3.amazonaws.com",
        "x-amz-date": "20130524T000000Z",
        "x-amz-storage-class": "REDUCED_REDUNDANCY",
        "x-amz-content-sha256": "STREAMING-AWS4-HMAC-SHA256-PAYLOAD",
        "content-encoding": "aws-chunked",
        "x-amz-decoded-content-length": "66560",
        "content-length": "66824",
        "authorization": authorization(names, signature),
    }
    return request("PUT", "/examplebucket/chunkObject.txt", headers)


CHUNKS = (
    b"10000;chunk-signature=ad80c730a21e5b8d04586a2213dd63b9a0e99e0e2307b0ade35a65485a288648\r\n"
    + 65536 * b"a"
    + b"\r\n400;chunk-signature="
    b"0055627c9e194cb4542bae2aa5492e3c1575bbb81b612b7d234b86a503ef5497\r\n"
    + 1024
    * b"a"
    + b"\r\n0;chunk-signature="
    b"b6c6ea8a5354eaf15b3cb7646744f4275b71ea724fed81ceb9323e279d449df9\r\n\r\n"
)


def test_the_published_upload_in_chunks_is_right():
    asked = published_upload()
    assert refusal(asked) is None
    chunks = ChunkDecoder(AccessControl(KEY).chunk_signatures(asked))
    assert chunks.feed(CHUNKS[:70_000]) + chunks.feed(CHUNKS[70_000:]) == 66560 * b"a"
    assert chunks.done


@pytest.mark.parametrize("place", [100, 65_700, len(CHUNKS) - 10])
def test_a_tampered_chunk_is_refused(place):
    chunks = ChunkDecoder(AccessControl(KEY).chunk_signatures(published_upload()))
    tampered = CHUNKS[:place] + bytes([CHUNKS[place] ^ 1]) + CHUNKS[place + 1 :]
    with pytest.raises(AwsError) as error:
        chunks.feed(tampered)
    assert error.value.code == "SignatureDoesNotMatch"


def in_chunks(signatures, data, trailer):
    """A body in signed chunks, with a trailer that is signed as well (Amazon S3 API Reference)."""
    key, scope, former = signatures
    coded = b""
    for piece in (data, b""):
        text = f"AWS4-HMAC-SHA256-PAYLOAD\n{scope}\n{former}\n{EMPTY}\n"
        text += hashlib.sha256(piece).hexdigest()
        former = hmac.digest(key, text.encode(), "sha256").hex()
        coded += b"%x;chunk-signature=%s\r\n" % (len(piece), former.encode())
        coded += piece + b"\r\n" if piece else b""
    text = f"AWS4-HMAC-SHA256-TRAILER\n{scope}\n{former}\n{hashlib.sha256(trailer).hexdigest()}"
    last = hmac.digest(key, text.encode(), "sha256").hex()
    return coded + trailer.rstrip() + b"\r\nx-amz-trailer-signature:" + last.encode() + b"\r\n\r\n"


def test_a_signed_trailer_is_checked():
    signatures = (hmac.new(b"key", digestmod="sha256"), "20130524T000000Z\nscope", EMPTY)
    body = in_chunks((b"key", *signatures[1:]), b"data", b"x-amz-checksum-crc32:wdBDMA==\n")
    chunks = ChunkDecoder(ChunkSignatures(*signatures))
    assert chunks.feed(body) == b"data"
    assert chunks.trailers["x-amz-checksum-crc32"] == "wdBDMA=="
    with pytest.raises(AwsError) as error:
        ChunkDecoder(ChunkSignatures(*signatures)).feed(body.replace(b"wdBDMA", b"wdBDMB"))
    assert error.value.code == "SignatureDoesNotMatch"


# --- what is refused


TAMPERED = {
    "method": ("method", "PUT"),
    "path": ("raw_path", "/other.txt"),
    "query": ("query", "versionId=1"),
    "signed header": ("headers", {"range": "bytes=0-99"}),
}


@pytest.mark.parametrize("what", TAMPERED)
def test_a_request_that_was_tampered_with_is_refused(what):
    asked = published_get()
    name, value = TAMPERED[what]
    setattr(asked, name, {**asked.headers, **value} if name == "headers" else value)
    assert refusal(asked) == "signature"


def test_a_header_of_aws_that_is_not_signed_is_refused():
    asked = published_get()
    asked.headers["x-amz-copy-source"] = "/bucket/secret"
    assert refusal(asked) == "unsigned"


def test_a_body_that_was_tampered_with_is_refused():
    asked = published_put()
    asked.body = b"Welcome to Amazon S4."
    assert refusal(asked) == "XAmzContentSHA256Mismatch"
    asked = published_call()
    asked.body = b"Action=DeleteUser"
    assert refusal(asked, now=CALL_TIME, key=CALL_KEY) == "signature"


def test_a_key_or_a_secret_of_another_is_refused():
    assert refusal(published_get(), key=AccessKey("AKIAOTHER", KEY.secret)) == "key"
    assert refusal(published_get(), key=AccessKey(KEY.id, "other")) == "signature"


@pytest.mark.parametrize("way", [-1, 1])
def test_a_date_may_be_15_minutes_off_and_no_more(way):
    assert refusal(published_get(), now=DAY + way * MAX_SKEW) is None
    assert refusal(published_get(), now=DAY + way * (MAX_SKEW + 1)) == "skewed"


@pytest.mark.parametrize(
    "date", ["Fri, 31 Dec 9999 23:59:59 -1200", f"Mon, 01 Jan {'9' * 20} 00:00:00 GMT", "no date"]
)
def test_a_date_that_is_none_is_refused(date):
    asked = published_put()
    asked.headers["date"] = date
    del asked.headers["x-amz-date"]
    assert refusal(asked) == "malformed"


def test_a_presigned_url_expires():
    assert refusal(published_url(), now=DAY + 86_400) is None
    assert refusal(published_url(), now=DAY + 86_401) == "expired"
    assert refusal(published_url(), now=DAY - MAX_SKEW - 1) == "expired"


@pytest.mark.parametrize(
    ("old", "new", "code"),
    [
        ("X-Amz-Expires=86400", "X-Amz-Expires=604801", "parameters"),
        ("X-Amz-Expires=86400", "X-Amz-Expires=-1", "parameters"),
        ("X-Amz-Expires=86400", "X-Amz-Expires=86399", "signature"),
        ("X-Amz-SignedHeaders=host", "X-Amz-SignedHeaders=", "unsigned"),
        ("X-Amz-Date=20130524T", "X-Amz-Date=20130525T", "malformed"),
        ("test.txt", "text.txt", "signature"),
    ],
    ids=["a week and a second", "negative", "other expiry", "no host", "other day", "other path"],
)
def test_a_presigned_url_that_was_tampered_with_is_refused(old, new, code):
    asked = published_url()
    asked.query = asked.query.replace(old, new)
    asked.raw_path = asked.raw_path.replace(old, new)
    assert refusal(asked) == code


@pytest.mark.parametrize(
    "text", ["", "Basic eDp5", "AWS key:signature", "AWS4-HMAC-SHA256 nothing"]
)
def test_another_authorization_is_refused(text):
    assert refusal(request(headers={"host": BUCKET, "authorization": text})) == "malformed"


@given(
    st.dictionaries(st.sampled_from(["authorization", "x-amz-date", "host"]), st.text(max_size=99)),
    st.text(st.characters(max_codepoint=255), max_size=99),
)
def test_whatever_comes_is_refused_and_nothing_else(headers, query):
    asked = request(target=f"/k?{query}&AWSAccessKeyId={KEY.id}", headers=headers)
    headers = {name: value.encode().decode("latin-1") for name, value in headers.items()}
    assert refusal(asked) is not None
    asked = published_url()
    asked.query = query + asked.query[len(query) :]
    asked.headers = asked.headers | headers
    refusal(asked)


def test_keys_are_random():
    assert make_access_key() != make_access_key()
    assert "secret" not in repr(AccessKey("id", "secret"))


# --- hosts and origins


@pytest.mark.parametrize(
    "call",
    [
        ("s3", "DELETE", "/bucket/k"),
        ("s3", "PUT", "/bucket/k"),
        ("s3", "OPTIONS", "/bucket/k"),
        ("lambda", "POST", "/2015-03-31/functions"),
        ("sagemaker", "POST", "/endpoints/e/invocations"),
        ("sagemaker", "POST", "/"),
        (None, "GET", "/_workbench/health"),
    ],
    ids=str,
)
@pytest.mark.parametrize(
    "foreign", [{"origin": "http://evil.example"}, {"host": "evil.example"}], ids=["page", "name"]
)
def test_a_web_page_gets_nothing_even_with_the_key(cloud, s3, call, foreign):
    service, method, path = call
    status, headers, body = wire.ask(cloud, method, path, b"{}", foreign, service=service)
    assert status == 403
    assert ("xml" if service == "s3" else "json") in headers["content-type"]
    assert b"AccessDenied" in body
    assert not [name for name in headers if name.lower().startswith("access-control")]
    assert s3.get_object(Bucket="bucket", Key="k")["Body"].read() == b"here"


@pytest.mark.parametrize(
    "foreign", [{"origin": "http://evil.example"}, {"host": "evil.example"}], ids=["page", "name"]
)
def test_a_web_page_gets_no_function_s_event(tmp_path, foreign):
    async def run():
        runtime = Runtime("stream", tmp_path / "log")
        there = Cloud(endpoint_url=f"http://{await runtime.listen()}")
        path = "/2018-06-01/runtime/init/error"
        answers = [
            await asyncio.to_thread(wire.ask, there, "POST", path, b"{}", more, service=None)
            for more in (foreign, {})
        ]
        await runtime.release()
        return [answer[0] for answer in answers]

    assert asyncio.run(run()) == [403, 202]


# --- AWS's names of refusals, as boto3 reads them


CALLS = {
    "s3": ("list_buckets", {}),
    "sagemaker": ("list_endpoints", {}),
    "sagemaker-runtime": ("invoke_endpoint", {"EndpointName": "e", "Body": b"x"}),
    "lambda": ("list_functions", {}),
    "application-autoscaling": ("describe_scaling_policies", {"ServiceNamespace": "sagemaker"}),
    "cloudwatch": ("list_metrics", {}),
    "cloudtrail": ("lookup_events", {}),
    "pricing": ("get_products", {"ServiceCode": "AmazonSageMaker"}),
    "logs": ("describe_log_groups", {}),
    "events": ("list_rules", {}),
    "sqs": ("list_queues", {}),
    "sns": ("list_topics", {}),
    "sts": ("get_caller_identity", {}),
    "iam": ("list_roles", {}),
}
OF_KEY = {"s3": "InvalidAccessKeyId"} | dict.fromkeys(["sns", "sts", "iam"], "InvalidClientTokenId")
OF_SIGNATURE = dict.fromkeys(["s3", "sns", "sts", "iam"], "SignatureDoesNotMatch")


def answer_to(cloud, service, keys):
    """The status of a service's first call with these keys, and the code if it is an error."""
    other = Cloud(region=cloud.region, endpoint_url=cloud.url, keys=keys)
    operation, parameters = CALLS[service]
    with closing(other.client(service)) as client:
        try:
            return getattr(client, operation)(**parameters)["ResponseMetadata"]["HTTPStatusCode"]
        except ClientError as error:
            told = error.response
            return told["ResponseMetadata"]["HTTPStatusCode"], told["Error"]["Code"]


@pytest.mark.parametrize("service", CALLS)
def test_every_service_takes_the_key_and_names_the_refusal_of_others(cloud, service):
    key, secret = cloud.keys
    no_endpoint = (400, "ValidationError")
    of_key = OF_KEY.get(service, "UnrecognizedClientException")
    of_signature = OF_SIGNATURE.get(service, "InvalidSignatureException")
    assert answer_to(cloud, service, cloud.keys) in (200, no_endpoint)
    assert answer_to(cloud, service, ("AKIAOTHER", secret)) == (403, of_key)
    assert answer_to(cloud, service, (key, "other")) == (403, of_signature)


@pytest.mark.parametrize(
    ("path", "headers", "code"),
    [
        ("/", {}, b"<Code>AccessDenied"),
        ("/", {"x-amz-target": "SageMaker.ListEndpoints"}, b"MissingAuthenticationTokenException"),
        ("/endpoints/e/invocations", {}, b"MissingAuthenticationTokenException"),
        ("/2015-03-31/functions", {}, b"MissingAuthenticationTokenException"),
        ("/_workbench/state", {}, b"MissingAuthenticationTokenException"),
        (
            "/",
            {"content-type": "application/x-www-form-urlencoded"},
            b"<Code>MissingAuthentication",
        ),
    ],
)
def test_what_is_not_signed_is_refused(cloud, path, headers, code):
    status, _, body = wire.ask(cloud, "POST", path, b"", headers, service=None)
    assert status == 403
    assert code in body


def test_health_needs_no_signature(cloud):
    assert wire.ask(cloud, "GET", "/_workbench/health", service=None)[0] == 200


def test_a_request_of_an_hour_ago_is_refused(cloud):
    stale = wire.signed(cloud, "GET", "/", at=time.time() - 3600)
    status, _, body = wire.ask(cloud, "GET", "/", headers=stale, service=None)
    assert (status, b"RequestTimeTooSkewed" in body) == (403, True)


def test_a_refused_upload_is_read_to_its_end_and_leaves_nothing(cloud, s3):
    headers = wire.signed(cloud, "PUT", "/bucket/other")
    big = bytes(80_000_000)  # more than is taken into memory
    status, _, body = wire.ask(cloud, "PUT", "/bucket/new", big, headers, service=None)
    assert (status, b"SignatureDoesNotMatch" in body) == (403, True)
    assert not list((cloud.path / "blobs" / "arriving").iterdir())
    assert s3.list_objects_v2(Bucket="bucket")["KeyCount"] == 1


def test_the_answer_to_a_refused_head_has_no_body(cloud):
    connection = http.client.HTTPConnection(urlsplit(cloud.url).netloc, timeout=60)
    with closing(connection):
        connection.request("HEAD", "/bucket/k")
        answer = connection.getresponse()
        assert (answer.status, answer.read()) == (403, b"")
        connection.request("GET", "/_workbench/health")
        assert connection.getresponse().status == 200


def test_each_start_has_a_key_of_its_own(cloud):
    with LocalCloud() as other:
        assert other.keys != cloud.keys
        status, _, _ = wire.ask(
            other, "GET", "/", headers=wire.signed(cloud, "GET", "/"), service=None
        )
    assert status == 403
    assert cloud.keys[1] not in (cloud.path / "front.log").read_text()


def test_the_folder_is_for_its_owner_alone(tmp_path):
    with LocalCloud(tmp_path / "cloud") as cloud:
        assert cloud.path.stat().st_mode & 0o077 == 0


def test_the_key_is_on_no_command_line_and_in_no_file(cloud):
    secret = cloud.keys[1].encode()
    assert secret not in (
        b"".join(path.read_bytes() for path in cloud.path.rglob("*") if path.is_file())
    )
    assert secret not in Path(f"/proc/{cloud.pid}/cmdline").read_bytes()


# --- what passes


def fetch(url, method="GET", body=None, headers=()):
    asked = urllib.request.Request(url, body, dict(headers), method=method)
    try:
        with urllib.request.urlopen(asked, timeout=60) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read()


ODD = "a b+c/ü~(1)!'*&=?%25.txt"
VERSIONS = {"as boto3 does": None, "version 2": "s3", "version 4": "s3v4"}


@pytest.mark.parametrize("version", VERSIONS)
def test_presigned_urls_read_and_write_until_they_expire(cloud, s3, version):
    key, secret = cloud.keys
    client = boto3.client(
        "s3",
        endpoint_url=cloud.url,
        region_name=cloud.region,
        aws_access_key_id=key,
        aws_secret_access_key=secret,
        config=Config(signature_version=VERSIONS[version]),
    )
    where = {"Bucket": "bucket", "Key": f"{version}/{ODD}"}
    with closing(client):
        put = client.generate_presigned_url(
            "put_object", {**where, "ContentType": "text/x"}, ExpiresIn=60
        )
        get = client.generate_presigned_url("get_object", where, ExpiresIn=60)
        old = client.generate_presigned_url("get_object", where, ExpiresIn=-1)
    assert fetch(put, "PUT", b"new", {"content-type": "text/x"})[0] == 200
    assert fetch(get) == (200, b"new")
    assert fetch(get.replace("/bucket/", "/bucket/k"))[0] == 403
    assert fetch(f"{get}&uploadId=x")[0] == 403
    assert fetch(get, "DELETE")[0] == 403
    assert fetch(old)[0] in (400, 403)
    s3.delete_object(**where)


def test_an_expired_url_is_access_denied(cloud, s3):
    url = s3.generate_presigned_url("get_object", {"Bucket": "bucket", "Key": "k"}, ExpiresIn=-1)
    status, body = fetch(url)
    assert (status, b"<Code>AccessDenied" in body) == (403, True)


def test_odd_names_and_queries_are_signed_as_boto3_signs_them(cloud, s3):
    s3.put_object(Bucket="bucket", Key=ODD, Body=b"odd", Metadata={"m": "two  spaces"})
    found = s3.list_objects_v2(Bucket="bucket", Prefix="a b+", Delimiter="~")
    assert [each["Prefix"] for each in found["CommonPrefixes"]] == ["a b+c/ü~"]
    assert s3.get_object(Bucket="bucket", Key=ODD)["Body"].read() == b"odd"
    s3.delete_object(Bucket="bucket", Key=ODD)
    with closing(cloud.client("lambda")) as functions, pytest.raises(ClientError) as error:
        functions.get_function(FunctionName="arn:aws:lambda:us-east-1:123456789012:function:a b")
    assert "Signature" not in error.value.response["Error"]["Code"]


@pytest.mark.parametrize("scope", ["eu-central-1", "ap-southeast-2"])
def test_every_region_is_signed_for(cloud, scope):
    status, _, _ = wire.ask(
        cloud, "GET", "/", headers=wire.signed(cloud, "GET", "/", region=scope), service=None
    )
    assert status == 200


def test_signed_chunks_with_a_trailer_are_taken(cloud, s3):
    data = os.urandom(200_000)
    crc = base64.b64encode(zlib.crc32(data).to_bytes(4))
    path = "/bucket/chunks"
    headers = wire.signed(
        cloud,
        "PUT",
        path,
        headers={
            "x-amz-content-sha256": "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER",
            "content-encoding": "aws-chunked",
            "x-amz-decoded-content-length": str(len(data)),
            "x-amz-trailer": "x-amz-checksum-crc32",
        },
    )
    date = headers["x-amz-date"]
    scope = f"{date[:8]}/us-east-1/s3/aws4_request"
    key = reduce(
        lambda key, part: hmac.digest(key, part.encode(), "sha256"),
        scope.split("/"),
        f"AWS4{cloud.keys[1]}".encode(),
    )
    seed = headers["authorization"].rpartition("=")[2]
    trailer = b"x-amz-checksum-crc32:" + crc + b"\n"
    body = in_chunks((key, f"{date}\n{scope}", seed), data, trailer)

    assert wire.ask(cloud, "PUT", path, body, headers, service=None)[0] == 200
    assert s3.get_object(Bucket="bucket", Key="chunks")["Body"].read() == data
    wrong = body.replace(data[-9:], bytes(9))
    status, _, answer = wire.ask(cloud, "PUT", path, wrong, headers, service=None)
    assert (status, b"SignatureDoesNotMatch" in answer) == (403, True)
    s3.delete_object(Bucket="bucket", Key="chunks")


def test_a_client_of_ones_own_may_sign_for_itself(cloud):
    path, body = "/", json.dumps({"MaxResults": 1}).encode()
    headers = {"x-amz-target": "SageMaker.ListEndpoints", "content-type": "application/json"}
    status, _, answer = wire.ask(cloud, "POST", path, body, headers, service="sagemaker")
    assert (status, json.loads(answer)["Endpoints"]) == (200, [])
