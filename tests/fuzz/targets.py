"""The parsers, each as a function that damages a valid input, has it read and says how it went."""

import base64
import json
import re
import shutil
import tempfile
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import quote, urlencode

from tests.fuzz import samples, servers
from tests.fuzz.cloud import archive, open_cloud
from tests.fuzz.damage import damage_bytes, damage_json, damage_text, encode
from tests.fuzz.files import FILES
from tests.lambdas import zipped
from workbench.cloud.packaging import unpack, unzip
from workbench.errors import WorkbenchError
from workbench.localcloud.core import validation
from workbench.localcloud.core.forms import check_policy, parse_upload_form
from workbench.localcloud.core.protocol import AwsError
from workbench.localcloud.s3.form_uploads import read_form
from workbench.modelserver.http import Request

OFFERED = (501, 503)  # statuses of 500 and more that are no fault


class Fault(AssertionError):
    """What a parser made of an input is wrong."""


def judge_answer(status, answer, said):
    """Return the status of an answer that was not the server's fault."""
    if status >= 500:
        raise Fault(f"{status} {bytes(answer)[:300]!r}\n{said}")
    return str(status)


def judge(cloud, status, answer, said):
    """Return the status of an answer.

    Raises:
        Fault: The server took the blame.
    """
    if status >= 500 and status not in OFFERED:
        raise Fault(f"{status} {bytes(answer)[:300]!r}\n{said}\n{cloud.log}")
    return str(status)


# --- the local cloud's operations


def _operations(cloud, service):
    """Return the operations that the local cloud offers of a service."""
    if service == "monitoring":
        return sorted(cloud.front._monitoring.cloudwatch._service._operations)
    return sorted(cloud.front._services[service].__self__._operations)


def _call(service, model_name):
    """Return a target for the operations of a service."""

    @asynccontextmanager
    async def open_target():
        async with open_cloud() as cloud:
            names = _operations(cloud, service)

            async def play(rng):
                model = validation.operation(model_name, rng.choice(names))
                valid = samples.make_valid(rng, model.input_shape)
                if model.name in ("CreateFunction", "UpdateFunctionCode") and rng.random() < 0.7:
                    code = base64.b64encode(zipped()).decode()
                    valid |= {"Code": {"ZipFile": code}} if "Code" in valid else {"ZipFile": code}
                given = samples.damage_call(rng, model.input_shape, valid)
                if not isinstance(given, dict) and model_name == "lambda":
                    given = valid
                request = _write(rng, model, given)
                said = f"{model.name} {given!r:.1500}"
                return judge(cloud, *await cloud.ask(service, *request), said)

            yield play

    return open_target


def _write(rng, model, given):
    if model.service_model.metadata["protocol"] == "rest-json":
        method, path, query, headers, body = samples.write_rest(model, given)
        query = damage_text(rng, query) if rng.random() < 0.1 else query
        return method, path, _ascii(query), headers, encode(rng, body) if body else b""
    prefix = model.service_model.metadata.get("targetPrefix")
    return "POST", "/", "", {"x-amz-target": f"{prefix}.{model.name}"}, encode(rng, given)


def _ascii(text):
    """Return text as HTTP's parser hands it on: a byte a character, and no line breaks."""
    text = text.encode("utf-8", "replace").decode("latin-1")
    return re.sub("[\0\r\n]", "", text).strip()


@asynccontextmanager
async def open_forms():
    """CloudWatch's operations as forms."""
    async with open_cloud() as cloud:
        names = _operations(cloud, "monitoring")

        async def play(rng):
            model = validation.operation("cloudwatch", rng.choice(names))
            valid = samples.make_valid(rng, model.input_shape)
            valid = samples.damage_call(rng, model.input_shape, valid)
            given = {"Action": model.name, "Version": "2010-08-01", "": valid}
            pairs = samples.write_form("", given)
            body = urlencode(pairs).encode()
            body = damage_bytes(rng, body) if rng.random() < 0.2 else body
            headers = {"content-type": "application/x-www-form-urlencoded; charset=utf-8"}
            answer = await cloud.ask("monitoring", "POST", "/", "", headers, body)
            return judge(cloud, *answer, repr(body[:1500]))

        yield play


# --- invocations


@asynccontextmanager
async def open_invocations():
    """Heads and bodies of InvokeEndpoint, InvokeEndpointAsync and Invoke."""
    async with open_cloud() as cloud:

        async def play(rng):
            service, path, headers, body = rng.choice(INVOCATIONS)
            headers = {
                name: _ascii(damage_text(rng, value)) if rng.random() < 0.4 else value
                for name, value in headers.items()
            }
            path = _ascii(damage_text(rng, path)) if rng.random() < 0.3 else path
            body = damage_bytes(rng, body)
            path, _, query = path.partition("?")
            answer = await cloud.ask(service, "POST", path, query, headers, body)
            # nothing is up here, so that a function's call fails for no fault of its parameters
            answer = (503, b"") if b"No environment of the function" in answer[1] else answer
            return judge(cloud, *answer, repr((path, query, headers, body[:500])))

        yield play


INVOCATIONS = [
    (
        "sagemaker",
        "/endpoints/one/invocations",
        {
            "content-type": "application/json",
            "accept": "text/csv",
            "x-amzn-sagemaker-target-variant": "main",
            "x-amzn-sagemaker-custom-attributes": "a=b",
        },
        b"[[1, 2, 3]]",
    ),
    (
        "sagemaker",
        "/endpoints/one/async-invocations",
        {
            "x-amzn-sagemaker-inputlocation": "s3://one/in",
            "x-amzn-sagemaker-requestttlseconds": "100",
            "x-amzn-sagemaker-invocationtimeoutseconds": "100",
            "x-amzn-sagemaker-inference-id": "a",
        },
        b"",
    ),
    (
        "lambda",
        "/2015-03-31/functions/one/invocations?Qualifier=$LATEST",
        {
            "x-amz-invocation-type": "RequestResponse",
            "x-amz-log-type": "Tail",
            "x-amz-client-context": base64.b64encode(b'{"a": 1}').decode(),
        },
        b'{"a": [1, 2.5, null]}',
    ),
]


# --- S3

_DELETE = "<Delete><Object><Key>in</Key></Object><Object><Key>a</Key></Object></Delete>"
_TAGS = "<Tagging><TagSet><Tag><Key>a</Key><Value>b</Value></Tag></TagSet></Tagging>"
_PARTS = (
    "<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>a</ETag></Part>"
    "</CompleteMultipartUpload>"
)
_CHUNKED = b"5\r\nhello\r\n0\r\nx-amz-checksum-crc32:NhCmhg==\r\n\r\n"
_DATES = {
    "if-modified-since": "Sat, 29 Nov 2025 10:00:00 GMT",
    "if-unmodified-since": "Sat, 29 Nov 2036 10:00:00 GMT",
    "if-none-match": '"abc"',
    "range": "bytes=0-2",
}
_PUT = {
    "content-type": "text/csv",
    "content-md5": "XUFAKrxLKna5cZ2REBfFkg==",
    "x-amz-meta-a": "b",
    "x-amz-tagging": "a=b",
    "x-amz-storage-class": "STANDARD",
    "if-none-match": "*",
}
_STREAMED = {
    "content-encoding": "aws-chunked",
    "x-amz-content-sha256": "STREAMING-UNSIGNED-PAYLOAD-TRAILER",
    "x-amz-decoded-content-length": "5",
    "x-amz-trailer": "x-amz-checksum-crc32",
}
_TYPED = {"x-amz-checksum-algorithm": "CRC64NVME", "x-amz-checksum-type": "FULL_OBJECT"}
S3_REQUESTS = [
    ("GET", "/", {"max-buckets": "10", "prefix": "o"}, {}, b""),
    ("PUT", "/two", {}, {}, b"<CreateBucketConfiguration></CreateBucketConfiguration>"),
    ("GET", "/one", {"location": ""}, {}, b""),
    ("PUT", "/one", {"tagging": ""}, {}, _TAGS.encode()),
    ("GET", "/one", {"tagging": ""}, {}, b""),
    ("GET", "/one", {"list-type": "2", "max-keys": "2", "prefix": "i", "delimiter": "/"}, {}, b""),
    ("GET", "/one", {"list-type": "2", "encoding-type": "url", "start-after": "a"}, {}, b""),
    ("GET", "/one", {"marker": "a", "max-keys": "1"}, {}, b""),
    ("POST", "/one", {"delete": ""}, {}, _DELETE.encode()),
    ("GET", "/one", {"uploads": "", "prefix": "a", "max-uploads": "9"}, {}, b""),
    ("PUT", "/one/in", {}, _PUT, b"hello"),
    ("PUT", "/one/streamed", {}, _STREAMED, _CHUNKED),
    ("PUT", "/one/copy", {}, {"x-amz-copy-source": "/one/in"}, b""),
    ("GET", "/one/in", {"response-content-type": "text/csv"}, _DATES, b""),
    ("HEAD", "/one/in", {"partNumber": "1"}, _DATES, b""),
    ("DELETE", "/one/in", {}, {"if-match": '"a"'}, b""),
    ("POST", "/one/parts", {"uploads": ""}, {"x-amz-checksum-algorithm": "CRC32"}, b""),
    ("PUT", "/one/parts", {"partNumber": "1", "uploadId": "{id}"}, {}, b"hello"),
    ("PUT", "/one/parts", {"partNumber": "1", "uploadId": "{id}"}, _STREAMED, _CHUNKED),
    (
        "GET",
        "/one/parts",
        {"uploadId": "{id}", "max-parts": "2", "part-number-marker": "0"},
        {},
        b"",
    ),
    ("POST", "/one/parts", {"uploadId": "{id}"}, {}, _PARTS.encode()),
    ("DELETE", "/one/parts", {"uploadId": "{id}"}, {}, b""),
    ("GET", "/one/in", {"tagging": ""}, {}, b""),
    ("PUT", "/one/in", {"tagging": ""}, {}, _TAGS.encode()),
    ("GET", "/one", {"versions": "", "key-marker": "a", "max-keys": "2"}, {}, b""),
    ("GET", "/one/in", {"attributes": ""}, {"x-amz-object-attributes": "ETag,Checksum"}, b""),
    ("PUT", "/one/in", {"x-amz-meta-a": "b", "x-amz-checksum-crc64nvme": "M3eFcAZSQlc="}, {}, b""),
    ("POST", "/one/parts", {"uploads": ""}, _TYPED, b""),
]


@asynccontextmanager
async def open_s3():
    """Paths, queries, headers, XML and coded bodies of S3's requests."""
    async with open_cloud() as cloud:
        _, answer = await cloud.ask("s3", "POST", "/one/parts", "uploads")
        upload = answer.partition(b"<UploadId>")[2].partition(b"<")[0].decode()

        async def play(rng):
            method, path, query, headers, body = rng.choice(S3_REQUESTS)
            query = {name: value.replace("{id}", upload) for name, value in query.items()}
            headers = {
                name: _ascii(damage_text(rng, value)) if rng.random() < 0.3 else value
                for name, value in headers.items()
            }
            query = {
                name: damage_text(rng, value) if rng.random() < 0.3 else value
                for name, value in query.items()
            }
            text = urlencode({name: _utf8(value) for name, value in query.items()})
            text = _ascii(damage_text(rng, text)) if rng.random() < 0.1 else text
            path = quote(_utf8(damage_text(rng, path))) if rng.random() < 0.1 else path
            body = damage_bytes(rng, body) if body and rng.random() < 0.7 else body
            answer = await cloud.ask("s3", method, path, text, headers, body)
            return judge(cloud, *answer, repr((method, path, text, headers, body[:500])))

        yield play


_POLICY = {
    "expiration": "2099-01-01T00:00:00Z",
    "conditions": [{"bucket": "one"}, ["starts-with", "$key", "a"], ["eq", "$tagging", _TAGS]],
}


@asynccontextmanager
async def open_upload_forms():
    """Forms that upload to S3, and their policies."""

    async def play(rng):
        policy = _POLICY if rng.random() < 0.5 else damage_json(rng, _POLICY)
        signed = base64.b64encode(encode(rng, policy)).decode()
        fields = {
            "key": "a/${filename}",
            "tagging": _TAGS,
            "policy": signed,
            'file"; filename="f': "",
        }
        body = "".join(
            f'--X\r\ncontent-disposition: form-data; name="{name}"\r\n\r\n{text}\r\n'
            for name, text in fields.items()
        )
        request = Request()
        request.path = request.raw_path = "/one"
        request.headers = {"host": "localhost", "content-type": "multipart/form-data; boundary=X"}
        request.body = body.encode() if rng.random() < 0.5 else damage_bytes(rng, body.encode())
        try:
            form = parse_upload_form(request)
            check_policy(form, "one", 0.0)
            read_form(request, form)
        except AwsError as error:
            return error.code
        return "taken"

    yield play


def _utf8(text):
    return text.encode("utf-8", "surrogatepass")


# --- archives


def _archives(make, read):
    """Return a target for what takes archives apart: nothing is left of one that is refused."""

    @asynccontextmanager
    async def open_target():
        valid = make()
        with tempfile.TemporaryDirectory() as folder:
            target, file = Path(folder) / "there", Path(folder) / "archive"

            async def play(rng):
                file.write_bytes(damage_bytes(rng, valid))
                try:
                    read(file, target, max_bytes=10**7)
                except WorkbenchError as error:
                    if target.exists():
                        raise Fault("Something is left of it.") from error
                    return type(error).__name__
                shutil.rmtree(target)
                return "taken"

            yield play

    return open_target


@asynccontextmanager
async def open_function_zips():
    """Zips of functions: after each damaged one, a whole one is taken."""
    async with open_cloud() as cloud:
        valid, path = zipped(), "/2015-03-31/functions/one/code"

        async def play(rng):
            said = []
            for content in (damage_bytes(rng, valid), zipped(f"# {rng.random()}")):
                body = json.dumps({"ZipFile": base64.b64encode(content).decode()}).encode()
                answer = await cloud.ask("lambda", "PUT", path, body=body)
                said.append(judge(cloud, *answer, repr(content[:500])))
            if said[1] != "200":
                raise Fault(f"A whole zip was answered with {said[1]} behind a damaged one.")
            return said[0]

        yield play


TARGETS = {
    "sagemaker": _call("sagemaker", "sagemaker"),
    "lambda": _call("lambda", "lambda"),
    "monitoring": _call("monitoring", "cloudwatch"),
    "forms": open_forms,
    "autoscaling": _call("application-autoscaling", "application-autoscaling"),
    "cloudtrail": _call("cloudtrail", "cloudtrail"),
    "pricing": _call("pricing", "pricing"),
    "s3": open_s3,
    "upload-forms": open_upload_forms,
    "invocations": open_invocations,
    "model-archives": _archives(archive, unpack),
    "zips": _archives(zipped, unzip),
    "function-zips": open_function_zips,
    "bodies": lambda: servers.open_bodies(damage_bytes, damage_text, judge_answer),
    "events": lambda: servers.open_events(damage_json, Fault),
    "http": lambda: servers.open_http(damage_bytes, Fault),
    **FILES,
    "signatures": lambda: servers.open_signatures(damage_bytes, Fault),
}
"""By name."""
