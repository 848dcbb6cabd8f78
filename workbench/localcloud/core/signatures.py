"""Signatures of requests: what they say, and the text that is signed.

Those of version 4 are in a header or in the query of a presigned URL (IAM User Guide, "AWS
Signature Version 4 for API requests"; Amazon S3 API Reference, "Authenticating requests"), those of
version 2 in the query alone.
"""

import hashlib
import hmac
import re
import time
from calendar import timegm
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import lru_cache
from typing import NamedTuple
from urllib.parse import quote, unquote, unquote_plus

from workbench.localcloud.core.access_errors import MISMATCH, AccessError
from workbench.localcloud.core.addresses import find_host_bucket
from workbench.localcloud.core.protocol import AwsError
from workbench.modelserver.http import Request

MAX_EXPIRES = 604_800
"""Seconds that a presigned URL is valid at most: a week (S3 API Reference, X-Amz-Expires)."""

ALGORITHM = "AWS4-HMAC-SHA256"
SIGNED_CHUNKS = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"
CREDENTIAL = re.compile(r"([^/]+)/(\d{8})/([\w-]+)/([\w-]+)/aws4_request", re.ASCII)

_AUTHORIZATION = re.compile(
    rf"{ALGORITHM} +Credential=([^/,]+)/(\d{{8}})/([\w-]+)/([\w-]+)/aws4_request, *"
    "SignedHeaders=([^,]+), *Signature=([0-9a-f]{64})",
    re.ASCII,
)
_TIMESTAMP = re.compile(r"\d{8}T\d{6}Z")
_HASH = re.compile("[0-9a-f]{64}")
_EMPTY_HASH = hashlib.sha256().hexdigest()
_UNSIGNED = "UNSIGNED-PAYLOAD"
_STREAMING = {SIGNED_CHUNKS, f"{SIGNED_CHUNKS}-TRAILER", "STREAMING-UNSIGNED-PAYLOAD-TRAILER"}
_SUBRESOURCES = re.compile(  # what version 2 signs of a query (S3 developer guide, "Signing ...")
    "accelerate|acl|analytics|cors|delete|inventory|lifecycle|location|logging|metrics|"
    "notification|partNumber|policy|replication|requestPayment|response-cache-control|"
    "response-content-(?:disposition|encoding|language|type)|response-expires|restore|select|"
    "select-type|tagging|torrent|uploadId|uploads|versionId|versioning|versions|website"
)


class RequestSignature(NamedTuple):
    """A signature of version 4; `expires` is in seconds, None where it came in a header."""

    key_id: str
    date: str
    region: str
    service: str
    signed_headers: tuple[str, ...]
    value: str
    at: str
    expires: int | None = None

    @property
    def scope(self) -> str:
        """What the key of a signature is made for."""
        return f"{self.date}/{self.region}/{self.service}/aws4_request"

    @property
    def for_s3(self) -> bool:
        """Whether S3 is asked, which has rules of its own."""
        return self.service.lower() == "s3"


def read_signature(request: Request) -> RequestSignature | None:
    """Return the signature of a request; None where there is none of version 4."""
    text = request.headers.get("authorization")
    if text is None:
        return _read_presigned(request) if "X-Amz-Signature=" in request.query else None
    found = _AUTHORIZATION.fullmatch(text)
    if found is None:
        raise AccessError("malformed", f"Authorization must be that of {ALGORITHM}.")
    key_id, date, region, service, names, value = found.groups()
    at = request.headers.get("x-amz-date") or _basic(request.headers.get("date", ""))
    return RequestSignature(key_id, date, region, service, _split(names), value, at)


@lru_cache(maxsize=64)  # a client signs the same headers again and again
def _split(names: str) -> tuple[str, ...]:
    return tuple(names.split(";"))


def _read_presigned(request: Request) -> RequestSignature:
    query = dict(read_parameters(request.query))
    found = CREDENTIAL.fullmatch(query.get("X-Amz-Credential", ""))
    expires = query.get("X-Amz-Expires", "")
    if (
        query.get("X-Amz-Algorithm") != ALGORITHM
        or found is None
        or not (expires.isdecimal() and len(expires) <= 6 and int(expires) <= MAX_EXPIRES)
        or _HASH.fullmatch(query.get("X-Amz-Signature", "")) is None
    ):
        raise AccessError(
            "parameters",
            f"X-Amz-Algorithm must be {ALGORITHM}, X-Amz-Credential id/date/region/service/"
            f"aws4_request, X-Amz-Expires at most {MAX_EXPIRES}, X-Amz-Signature 64 hex digits.",
        )
    names = _split(query.get("X-Amz-SignedHeaders", ""))
    at = query.get("X-Amz-Date", "")
    key_id, date, region, service = found.groups()
    value = query["X-Amz-Signature"]
    return RequestSignature(key_id, date, region, service, names, value, at, int(expires))


def check_signed_headers(request: Request, signature: RequestSignature) -> None:
    """Check that nothing could have been added: host and every x-amz-* header are signed."""
    signed = signature.signed_headers
    for name in request.headers:
        if (name == "host" or name.startswith("x-amz-")) and name not in signed:
            raise AccessError("unsigned", f"{name!r} must be a signed header.")


def find_payload_hash(request: Request, signature: RequestSignature, body: bytes | None) -> str:
    """Return what stands for the body in the canonical request.

    S3's clients say it in a header, others hash the body. A body in memory is hashed here, one on
    its way to the disk where it is written, and what is said must be true.
    """
    if not signature.for_s3:
        return hashlib.sha256(body or b"").hexdigest()
    said = request.headers.get("x-amz-content-sha256")
    if said is None and signature.expires is not None:
        return _UNSIGNED
    if said is None:
        raise AwsError("InvalidRequest", "Missing required header: x-amz-content-sha256")
    if said == _UNSIGNED or said in _STREAMING:
        return said
    if not _HASH.fullmatch(said.lower()):
        raise AwsError(
            "InvalidArgument",
            "x-amz-content-sha256 must be UNSIGNED-PAYLOAD, a STREAMING- value or a SHA-256.",
        )
    if body is not None and hashlib.sha256(body).hexdigest() != said.lower():
        raise AwsError(
            "XAmzContentSHA256Mismatch",
            "The provided 'x-amz-content-sha256' header does not match what was computed.",
        )
    return said


def canonical_request(request: Request, signature: RequestSignature, payload: str) -> str:
    """Return the text of a request whose hash version 4 signs."""
    headers = request.headers
    names = signature.signed_headers
    lines = "".join([f"{name}:{headers.get(name, '')}\n" for name in names])
    if "  " in lines:  # the parser has trimmed the ends of values
        lines = re.sub(" +", " ", lines)
    path = _canonical_path(request.raw_path, for_s3=signature.for_s3)
    pairs = sorted(
        (quote(name, "~", "latin-1"), quote(value, "~", "latin-1"))
        for name, value in read_parameters(request.query)
        if name != "X-Amz-Signature"
    )
    query = "&".join([f"{name}={value}" for name, value in pairs])
    return f"{request.method}\n{path}\n{query}\n{lines}\n{';'.join(names)}\n{payload}"


@lru_cache(maxsize=256)  # endpoints are called again and again
def _canonical_path(path: str, *, for_s3: bool) -> str:
    """Return the path as it is signed: S3's encoded once, that of other services twice.

    S3 leaves the path as it is, because "a//b" and "a/../b" are names of objects; others shorten
    it (RFC 3986, 5.2.4).
    """
    if for_s3:
        return quote(unquote(path, "latin-1"), "/~", "latin-1")
    if "//" in path or "/." in path:
        kept: list[str] = []
        for part in path.split("/"):
            if part == "..":
                del kept[-1:]
            elif part not in ("", "."):
                kept.append(part)
        path = f"/{'/'.join(kept)}{'/' if kept and path.endswith('/') else ''}"
    return quote(path, "/~", "latin-1")


def list_texts_of_version_2(request: Request, query: dict[str, str]) -> list[bytes]:
    """Return what version 2 signs; botocore moves headers that it has signed into the query.

    A bucket's own path ends with a slash or not: botocore signs one that its URL has not.
    """
    given = query | request.headers
    amz = sorted(name for name in given if name.startswith("x-amz-"))
    parts = sorted((name, value) for name, value in query.items() if _SUBRESOURCES.fullmatch(name))
    resource = "&".join(f"{name}={value}" if value else name for name, value in parts)
    head = (request.method, given.get("content-md5", ""), given.get("content-type", ""))
    lines = "".join(f"{name}:{given[name]}\n" for name in amz)
    bucket = find_host_bucket(request)
    path = f"/{bucket}{request.raw_path}" if bucket else request.raw_path
    paths = [path, f"{path}/"] if path.count("/") == 1 else [path]
    asked = f"?{resource}" if resource else ""
    return [
        "\n".join((*head, query["Expires"], lines + each + asked)).encode("latin-1")
        for each in paths
    ]


def read_parameters(query: str) -> list[tuple[str, str]]:
    """Return names and values of a query, one character for each byte."""
    pairs = (each.partition("=") for each in query.split("&") if each)
    return [
        (unquote_plus(name, "latin-1"), unquote_plus(value, "latin-1")) for name, _, value in pairs
    ]


def sign(signer: hmac.HMAC, text: str) -> str:
    """Return the signature of a text, as hexadecimal digits."""
    signing = signer.copy()
    signing.update(text.encode("latin-1"))
    return signing.hexdigest()


@lru_cache(maxsize=64)  # requests of the same second have the same date
def parse_timestamp(at: str) -> float | None:
    """Return the seconds since 1970 of a date such as 20260101T000000Z; None for any other."""
    if _TIMESTAMP.fullmatch(at) is None:
        return None
    try:
        return float(timegm(time.strptime(at, "%Y%m%dT%H%M%SZ")))
    except ValueError:
        return None


def _basic(date: str) -> str:
    """Return the date of a `Date` header (RFC 9110, 5.6.7) as signatures write it."""
    try:
        return parsedate_to_datetime(date).astimezone(UTC).strftime("%Y%m%dT%H%M%SZ")
    except (ValueError, OverflowError):
        return date


def format_timestamp(seconds: float) -> str:
    """Return seconds since 1970 as signatures write a date."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y%m%dT%H%M%SZ")


def describe_expiry(until: float, now: float) -> str:
    """Return in words that a presigned URL is no longer valid."""
    since = format_timestamp(until)
    return f"Request has expired: it was valid until {since}, and it is {format_timestamp(now)}."


class ChunkSignatures:
    """The chain of the signatures of an upload's chunks, each made with the one before it.

    Source: S3 API Reference, "Transferring payload in multiple chunks" and "... trailing headers".
    """

    def __init__(self, signer: hmac.HMAC, scope: str, seed: str) -> None:
        self._signer = signer
        self._scope = scope
        self._former = seed

    def check_chunk(self, digest: str, given: str) -> None:
        """Check the signature of the next chunk, whose data has this SHA-256.

        Raises:
            AwsError: SignatureDoesNotMatch.
        """
        self._check(f"{ALGORITHM}-PAYLOAD", f"{_EMPTY_HASH}\n{digest}", given)

    def check_trailer(self, trailer: bytes, given: str) -> None:
        """Check the signature of the lines behind the last chunk.

        Raises:
            AwsError: SignatureDoesNotMatch.
        """
        self._check(f"{ALGORITHM}-TRAILER", hashlib.sha256(trailer).hexdigest(), given)

    def _check(self, what: str, digests: str, given: str) -> None:
        text = f"{what}\n{self._scope}\n{self._former}\n{digests}"
        self._former = sign(self._signer, text)
        if not hmac.compare_digest(self._former.encode(), given.encode("latin-1", "replace")):
            raise AwsError("SignatureDoesNotMatch", MISMATCH, 403)
