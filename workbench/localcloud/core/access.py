"""Who may call a local cloud: requests to its loopback address that are signed with its access key.

Signatures are those of AWS's signature version 4, in a header or in the query of a presigned URL
(IAM User Guide, "AWS Signature Version 4 for API requests"; Amazon S3 API Reference,
"Authenticating requests"). Presigned URLs of version 2 are taken too, for S3 alone: boto3 makes
those in us-east-1 unless it is asked for `s3v4`, and whoever exports the printed variables uses a
boto3 that nobody has asked. Version 2 in a header is refused, as no client of today sends it.
"""

import hashlib
import hmac
import io
import re
import secrets
import string
import time
from base64 import b64encode
from calendar import timegm
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import lru_cache
from typing import BinaryIO, NamedTuple, cast
from urllib.parse import quote, unquote, unquote_plus

from workbench.localcloud.core.addresses import find_host_bucket, split_address
from workbench.localcloud.core.formats import find_protocol, refuse
from workbench.localcloud.core.forms import (
    UploadForm,
    check_policy,
    is_upload_form,
    parse_upload_form,
)
from workbench.localcloud.core.protocol import AwsError, new_id, parse_scope
from workbench.modelserver.http import Handler, Reply, Request, Response

MAX_SKEW = 900.0
"""Seconds between a request's date and now (S3 API Reference, error RequestTimeTooSkewed)."""

MAX_EXPIRES = 604_800
"""Seconds that a presigned URL is valid at most: a week (S3 API Reference, X-Amz-Expires)."""

_ALGORITHM = "AWS4-HMAC-SHA256"
_AUTHORIZATION = re.compile(
    rf"{_ALGORITHM} +Credential=([^/,]+)/(\d{{8}})/([\w-]+)/([\w-]+)/aws4_request, *"
    "SignedHeaders=([^,]+), *Signature=([0-9a-f]{64})",
    re.ASCII,
)
_CREDENTIAL = re.compile(r"([^/]+)/(\d{8})/([\w-]+)/([\w-]+)/aws4_request", re.ASCII)
_TIMESTAMP = re.compile(r"\d{8}T\d{6}Z")
_HASH = re.compile("[0-9a-f]{64}")
_EMPTY_HASH = hashlib.sha256().hexdigest()
_UNSIGNED = "UNSIGNED-PAYLOAD"
_SIGNED_CHUNKS = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"
_STREAMING = {_SIGNED_CHUNKS, f"{_SIGNED_CHUNKS}-TRAILER", "STREAMING-UNSIGNED-PAYLOAD-TRAILER"}
_SUBRESOURCES = re.compile(  # what version 2 signs of a query (S3 developer guide, "Signing ...")
    "accelerate|acl|analytics|cors|delete|inventory|lifecycle|location|logging|metrics|"
    "notification|partNumber|policy|replication|requestPayment|response-cache-control|"
    "response-content-(?:disposition|encoding|language|type)|response-expires|restore|select|"
    "select-type|tagging|torrent|uploadId|uploads|versionId|versioning|versions|website"
)
_LOOPBACK = ("127.0.0.1", "[::1]", "localhost")


@dataclass(frozen=True, slots=True)
class AccessKey:
    """An access key: its id, and the secret that requests are signed with."""

    id: str
    secret: str = field(repr=False)

    def environment(self, url: str, region: str) -> dict[str, str]:
        """Return the variables that send a program built on AWS's libraries to `url`."""
        return {
            "AWS_ENDPOINT_URL": url,
            "AWS_ACCESS_KEY_ID": self.id,
            "AWS_SECRET_ACCESS_KEY": self.secret,
            "AWS_REGION": region,
            "AWS_DEFAULT_REGION": region,
        }


def make_access_key() -> AccessKey:
    """Return a new random access key in AWS's form.

    >>> key = make_access_key()
    >>> len(key.id), key.id[:4], len(key.secret)
    (20, 'AKIA', 40)
    """
    letters = string.ascii_uppercase + "234567"
    name = "".join(secrets.choice(letters) for _ in range(16))
    return AccessKey(f"AKIA{name}", b64encode(secrets.token_bytes(30)).decode())


def check_address(request: Request, port: int) -> None:
    """Check that a request was meant for this machine and not sent by a page of another origin.

    A page on the web can have a browser send requests here: under a name of its own that resolves
    to 127.0.0.1, which shows in `Host`, or to our address, which shows in `Origin`. Names below
    `localhost` never leave the machine (RFC 6761), so that `bucket.localhost` may be used.

    Raises:
        AwsError: AccessDenied.
    """
    host = request.headers.get("host", "").lower()
    name, _, given = host.rpartition(":")
    if name and not given.endswith("]"):
        ours = given == str(port)
    else:  # without a port, which is then 80
        name, ours = host, port == 80
    if not ours or not (name in _LOOPBACK or name.endswith(".localhost")):
        raise _AccessError("denied", f"Host is {host!r}; this is 127.0.0.1:{port}.")
    origin = request.headers.get("origin")
    if origin is not None and origin.lower() != f"http://{host}":
        raise _AccessError("denied", f"Pages of {origin!r} may not call this cloud.")


class AccessControl:
    """Admits requests to a server that are addressed to it and signed with its access key.

    Args:
        key: The access key.
        open_paths: Paths that are answered without a signature.
        clock: Tells the time, in seconds since 1970.

    Attributes:
        port: The server's own, to be set as soon as it is known.
    """

    def __init__(
        self,
        key: AccessKey,
        *,
        open_paths: Iterable[str] = (),
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.key = key
        self.port = 0
        self._open_paths = frozenset(open_paths)
        self._clock = clock
        # four of the five HMACs of a signature depend on the day and the service alone, and a copy
        # of an HMAC that has its key takes a third of the time of a new one
        self._signer = lru_cache(maxsize=64)(self._make_signer)

    # --- in front of a server's handler

    def guard(self, handle: Handler) -> Handler:
        """Return a handler that answers refused requests itself and passes on the others."""

        def handle_admitted(request: Request, reply: Reply) -> None:
            try:
                if isinstance(request.spool_file, _Discard):
                    raise request.spool_file.error
                if request.spool_file is None:  # else it was checked before its body came
                    self.check(request)
            except AwsError as error:
                reply(_response(request, error))
                return
            handle(request, reply)

        return handle_admitted

    def guard_spool(
        self, spool: Callable[[Request], BinaryIO | None]
    ) -> Callable[[Request], BinaryIO | None]:
        """Return a `spool` that keeps nothing of a refused request's body."""

        def spool_admitted(request: Request) -> BinaryIO | None:
            file = spool(request)
            if file is None:
                return None
            try:
                self.check(request, body=None)
            except AwsError as error:
                file.close()
                return cast("BinaryIO", _Discard(error))
            return file

        return spool_admitted

    # --- checks

    def check(self, request: Request, *, body: bytes | None = b"") -> None:
        """Check where a request comes from and how it is signed.

        Args:
            request: Its headers are complete, and so is its body.
            body: None where the body is still to come, and hashed on its way.

        Raises:
            AwsError: It must not be answered.
        """
        check_address(request, self.port)
        if request.path not in self._open_paths:
            self.check_signature(request, request.body if body is not None else None)

    def check_signature(self, request: Request, body: bytes | None) -> None:
        """Check the signature of a request; None for a body that is still to come.

        Raises:
            AwsError: There is none, or it is not that of our key for this very request, or it was
                made too long ago.
        """
        signature = _read_signature(request)
        if signature is None:
            if "AWSAccessKeyId=" in request.query:
                self._check_version_2(request)
                return
            if body is not None and is_upload_form(request):
                self._check_form(parse_upload_form(request), split_address(request)[0])
                return
            raise _AccessError(
                "missing",
                "The request is not signed; sign it with the access key that this start made.",
            )
        self._check_key(signature.key_id)
        self._check_time(signature)
        _check_signed_headers(request, signature)
        payload = _payload_hash(request, signature, body)
        canonical = _canonical_request(request, signature, payload)
        digest = hashlib.sha256(canonical.encode("latin-1")).hexdigest()
        text = f"{_ALGORITHM}\n{signature.at}\n{signature.scope}\n{digest}"
        signer = self._signer(signature.date, signature.region, signature.service)
        if not hmac.compare_digest(_sign(signer, text), signature.value):
            raise _AccessError("signature", _MISMATCH)

    def chunk_signatures(self, request: Request) -> "ChunkSignatures | None":
        """Return what checks the chunks of an admitted upload; None where they are not signed."""
        if not request.headers.get("x-amz-content-sha256", "").startswith(_SIGNED_CHUNKS):
            return None
        signature = _read_signature(request)
        if signature is None:
            return None
        signer = self._signer(signature.date, signature.region, signature.service)
        return ChunkSignatures(signer, f"{signature.at}\n{signature.scope}", signature.value)

    def _make_signer(self, date: str, region: str, service: str) -> hmac.HMAC:
        key = f"AWS4{self.key.secret}".encode()
        for part in (date, region, service, "aws4_request"):
            key = hmac.digest(key, part.encode("latin-1"), "sha256")
        return hmac.new(key, digestmod="sha256")

    def _check_key(self, key_id: str) -> None:
        if key_id != self.key.id:
            raise _AccessError(
                "key",
                f"The access key {key_id!r} is not this local cloud's; each start has its own.",
            )

    def _check_time(self, signature: "_Signature") -> None:
        made = _seconds(signature.at)
        if made is None or not signature.at.startswith(signature.date):
            raise _AccessError(
                "malformed", f"The request's date {signature.at!r} is not its scope's."
            )
        now = self._clock()
        if signature.expires is None:
            if abs(now - made) > MAX_SKEW:
                raise _AccessError(
                    "skewed",
                    f"The request was signed at {signature.at}, and it is {_iso(now)}: the "
                    f"difference is more than {MAX_SKEW / 60:.0f} minutes.",
                )
        elif made - now > MAX_SKEW:
            raise _AccessError("expired", f"The request is valid from {signature.at} on.")
        elif now > made + signature.expires:
            raise _AccessError("expired", _expiry(made + signature.expires, now))

    def _check_form(self, form: UploadForm, bucket: str) -> None:
        """Check an upload by a form: the signature of its policy, of either version, and that."""
        fields = form.fields
        policy = fields.get("policy", "")
        found = _CREDENTIAL.fullmatch(fields.get("x-amz-credential", ""))
        key_id = found[1] if found else fields.get("awsaccesskeyid", "")
        if not (policy and policy.isascii() and key_id):
            raise _AccessError("missing", "The form has no policy, in base64, that is signed.")
        self._check_key(key_id)
        if found is None:
            given = fields.get("signature", "")
            digest = hmac.digest(self.key.secret.encode(), policy.encode(), "sha1")
            expected = b64encode(digest).decode()
        elif found[4] == "s3":
            given = fields.get("x-amz-signature", "")
            expected = _sign(self._signer(found[2], found[3], found[4]), policy)
        else:
            raise _AccessError("parameters", "X-Amz-Credential must be for s3.")
        if not hmac.compare_digest(expected.encode(), given.encode("latin-1", "replace")):
            raise _AccessError("signature", _MISMATCH)
        check_policy(form, bucket, self._clock())

    def _check_version_2(self, request: Request) -> None:
        """Check a presigned URL of version 2 (S3 developer guide, "Signing ... REST requests")."""
        query = dict(_parameters(request.query))
        self._check_key(query.get("AWSAccessKeyId", ""))
        expires = query.get("Expires", "")
        if not (expires.isdecimal() and len(expires) <= 18):
            raise _AccessError("expired", f"Expires must be seconds since 1970, got {expires!r}.")
        given = query.get("Signature", "").encode("latin-1")
        right = [
            b64encode(hmac.digest(self.key.secret.encode(), text, "sha1"))
            for text in _texts_of_version_2(request, query)
        ]
        if not any(hmac.compare_digest(each, given) for each in right):
            raise _AccessError("signature", _MISMATCH)
        if (now := self._clock()) > int(expires):
            raise _AccessError("expired", _expiry(int(expires), now))


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
        self._check(f"{_ALGORITHM}-PAYLOAD", f"{_EMPTY_HASH}\n{digest}", given)

    def check_trailer(self, trailer: bytes, given: str) -> None:
        """Check the signature of the lines behind the last chunk.

        Raises:
            AwsError: SignatureDoesNotMatch.
        """
        self._check(f"{_ALGORITHM}-TRAILER", hashlib.sha256(trailer).hexdigest(), given)

    def _check(self, what: str, digests: str, given: str) -> None:
        text = f"{what}\n{self._scope}\n{self._former}\n{digests}"
        self._former = _sign(self._signer, text)
        if not hmac.compare_digest(self._former.encode(), given.encode("latin-1", "replace")):
            raise AwsError("SignatureDoesNotMatch", _MISMATCH, 403)


# --- what a request says


class _Signature(NamedTuple):
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
        return f"{self.date}/{self.region}/{self.service}/aws4_request"

    @property
    def for_s3(self) -> bool:
        return self.service.lower() == "s3"


def _read_signature(request: Request) -> _Signature | None:
    """Return the signature of a request; None where there is none of version 4."""
    text = request.headers.get("authorization")
    if text is None:
        return _read_presigned(request) if "X-Amz-Signature=" in request.query else None
    found = _AUTHORIZATION.fullmatch(text)
    if found is None:
        raise _AccessError("malformed", f"Authorization must be that of {_ALGORITHM}.")
    key_id, date, region, service, names, value = found.groups()
    at = request.headers.get("x-amz-date") or _basic(request.headers.get("date", ""))
    return _Signature(key_id, date, region, service, _split(names), value, at)


@lru_cache(maxsize=64)  # a client signs the same headers again and again
def _split(names: str) -> tuple[str, ...]:
    return tuple(names.split(";"))


def _read_presigned(request: Request) -> _Signature:
    query = dict(_parameters(request.query))
    found = _CREDENTIAL.fullmatch(query.get("X-Amz-Credential", ""))
    expires = query.get("X-Amz-Expires", "")
    if (
        query.get("X-Amz-Algorithm") != _ALGORITHM
        or found is None
        or not (expires.isdecimal() and len(expires) <= 6 and int(expires) <= MAX_EXPIRES)
        or _HASH.fullmatch(query.get("X-Amz-Signature", "")) is None
    ):
        raise _AccessError(
            "parameters",
            f"X-Amz-Algorithm must be {_ALGORITHM}, X-Amz-Credential id/date/region/service/"
            f"aws4_request, X-Amz-Expires at most {MAX_EXPIRES}, X-Amz-Signature 64 hex digits.",
        )
    names = _split(query.get("X-Amz-SignedHeaders", ""))
    at = query.get("X-Amz-Date", "")
    key_id, date, region, service = found.groups()
    value = query["X-Amz-Signature"]
    return _Signature(key_id, date, region, service, names, value, at, int(expires))


def _check_signed_headers(request: Request, signature: _Signature) -> None:
    """Check that nothing could have been added: host and every x-amz-* header are signed."""
    signed = signature.signed_headers
    for name in request.headers:
        if (name == "host" or name.startswith("x-amz-")) and name not in signed:
            raise _AccessError("unsigned", f"{name!r} must be a signed header.")


def _payload_hash(request: Request, signature: _Signature, body: bytes | None) -> str:
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


def _canonical_request(request: Request, signature: _Signature, payload: str) -> str:
    headers = request.headers
    names = signature.signed_headers
    lines = "".join([f"{name}:{headers.get(name, '')}\n" for name in names])
    if "  " in lines:  # the parser has trimmed the ends of values
        lines = re.sub(" +", " ", lines)
    path = _canonical_path(request.raw_path, for_s3=signature.for_s3)
    query = _canonical_query(request.query) if request.query else ""
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


def _canonical_query(query: str) -> str:
    pairs = sorted(
        (quote(name, "~", "latin-1"), quote(value, "~", "latin-1"))
        for name, value in _parameters(query)
        if name != "X-Amz-Signature"
    )
    return "&".join(f"{name}={value}" for name, value in pairs)


def _texts_of_version_2(request: Request, query: dict[str, str]) -> list[bytes]:
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


def _parameters(query: str) -> list[tuple[str, str]]:
    """Return names and values of a query, one character for each byte."""
    pairs = (each.partition("=") for each in query.split("&") if each)
    return [
        (unquote_plus(name, "latin-1"), unquote_plus(value, "latin-1")) for name, _, value in pairs
    ]


def _sign(signer: hmac.HMAC, text: str) -> str:
    signing = signer.copy()
    signing.update(text.encode("latin-1"))
    return signing.hexdigest()


# --- times


@lru_cache(maxsize=64)  # requests of the same second have the same date
def _seconds(at: str) -> float | None:
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


def _iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y%m%dT%H%M%SZ")


def _expiry(until: float, now: float) -> str:
    return f"Request has expired: it was valid until {_iso(until)}, and it is {_iso(now)}."


# --- errors

_MISMATCH = (
    "The request signature we calculated does not match the signature you provided. Check your "
    "AWS Secret Access Key and signing method."
)
_CODES = {  # AWS's codes of an error: in S3, in services called by forms, in all others
    "missing": (
        "AccessDenied",
        "MissingAuthenticationToken",
        "MissingAuthenticationTokenException",
    ),
    "malformed": (
        "AuthorizationHeaderMalformed",
        "IncompleteSignature",
        "IncompleteSignatureException",
    ),
    "parameters": (
        "AuthorizationQueryParametersError",
        "IncompleteSignature",
        "IncompleteSignatureException",
    ),
    "key": ("InvalidAccessKeyId", "InvalidClientTokenId", "UnrecognizedClientException"),
    "signature": ("SignatureDoesNotMatch", "SignatureDoesNotMatch", "InvalidSignatureException"),
    "skewed": ("RequestTimeTooSkewed", "SignatureDoesNotMatch", "InvalidSignatureException"),
    "expired": ("AccessDenied", "SignatureDoesNotMatch", "InvalidSignatureException"),
    "unsigned": ("AccessDenied", "SignatureDoesNotMatch", "InvalidSignatureException"),
    "denied": ("AccessDenied", "AccessDenied", "AccessDeniedException"),
}
_BAD_REQUEST = ("malformed", "parameters")  # 400; a well-formed request that is rejected gets 403


class _AccessError(AwsError):
    """An error whose code depends on the service that was asked."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(reason, message, 400 if reason in _BAD_REQUEST else 403)
        self.reason = reason


class _Discard(io.RawIOBase):
    """A body that nobody wants, with the reason why."""

    def __init__(self, error: AwsError) -> None:
        super().__init__()
        self.error = error

    def write(self, data: object, /) -> int:  # noqa: ARG002 - a file's
        """Take no notice."""
        return 0


def _response(request: Request, error: AwsError) -> Response:
    """Return an error in the format that the client of a request reads."""
    service = _find_service(request)
    kind = {"rest-xml": 0, "ec2": 1, "query": 1}.get(find_protocol(request, service), 2)
    if isinstance(error, _AccessError):
        error.code = _CODES[error.reason][kind]
    response = refuse(error, request, service)
    if service == "s3":
        response.headers = [*response.headers, ("x-amz-request-id", new_id())]
    response.bodiless = request.method == "HEAD"
    return response


def _find_service(request: Request) -> str:
    """Return the service that is asked: by its signature; what is not signed and looks so is S3's.

    "" where it is another, and the signature does not say which.
    """
    if scope := parse_scope(request):
        return scope.service
    other = "AWSAccessKeyId=" not in request.query and (
        "x-amz-target" in request.headers
        or "x-www-form-urlencoded" in request.headers.get("content-type", "")
        or re.match(r"/endpoints/|/service/|/20\d\d-\d\d-\d\d/|/_workbench/", request.path)
    )
    return "" if other else "s3"
