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
import time
from base64 import b64encode
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import BinaryIO, cast

from workbench.localcloud.core.access_errors import MISMATCH, AccessError, reply_to_error
from workbench.localcloud.core.access_keys import AccessKey
from workbench.localcloud.core.addresses import split_address
from workbench.localcloud.core.forms import (
    UploadForm,
    check_policy,
    is_upload_form,
    parse_upload_form,
)
from workbench.localcloud.core.protocol import AwsError
from workbench.localcloud.core.signatures import (
    ALGORITHM,
    CREDENTIAL,
    SIGNED_CHUNKS,
    ChunkSignatures,
    RequestSignature,
    canonical_request,
    check_signed_headers,
    describe_expiry,
    find_payload_hash,
    format_timestamp,
    list_texts_of_version_2,
    parse_timestamp,
    read_parameters,
    read_signature,
    sign,
)
from workbench.modelserver.http import Handler, Reply, Request
from workbench.modelserver.loopback import find_foreign

MAX_SKEW = 900.0
"""Seconds between a request's date and now (S3 API Reference, error RequestTimeTooSkewed)."""


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
                reply(reply_to_error(request, error))
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
                self.check(request, spooled=True)
            except AwsError as error:
                file.close()
                return cast("BinaryIO", _Discard(error))
            return file

        return spool_admitted

    # --- checks

    def check(self, request: Request, *, spooled: bool = False) -> None:
        """Check where a request comes from and how it is signed.

        Args:
            request: Its headers are complete, and so is its body.
            spooled: The body is still to come, and is hashed on its way.

        Raises:
            AwsError: It must not be answered.
        """
        if reason := find_foreign(request, self.port):
            raise AccessError("denied", reason)
        if request.path not in self._open_paths:
            self.check_signature(request, None if spooled else request.body)

    def check_signature(self, request: Request, body: bytes | None) -> None:
        """Check the signature of a request; None for a body that is still to come.

        Raises:
            AwsError: There is none, or it is not that of our key for this very request, or it was
                made too long ago.
        """
        signature = read_signature(request)
        if signature is None:
            if "AWSAccessKeyId=" in request.query:
                self._check_version_2(request)
                return
            if body is not None and is_upload_form(request):
                self._check_form(parse_upload_form(request), split_address(request)[0])
                return
            raise AccessError(
                "missing",
                "The request is not signed; sign it with the access key that this start made.",
            )
        self._check_key(signature.key_id)
        self._check_time(signature)
        check_signed_headers(request, signature)
        payload = find_payload_hash(request, signature, body)
        canonical = canonical_request(request, signature, payload)
        digest = hashlib.sha256(canonical.encode("latin-1")).hexdigest()
        text = f"{ALGORITHM}\n{signature.at}\n{signature.scope}\n{digest}"
        signer = self._signer(signature.date, signature.region, signature.service)
        if not hmac.compare_digest(sign(signer, text), signature.value):
            raise AccessError("signature", MISMATCH)

    def chunk_signatures(self, request: Request) -> ChunkSignatures | None:
        """Return what checks the chunks of an admitted upload; None where they are not signed."""
        signed = request.headers.get("x-amz-content-sha256", "").startswith(SIGNED_CHUNKS)
        signature = read_signature(request) if signed else None
        if signature is None:
            return None
        signer = self._signer(signature.date, signature.region, signature.service)
        return ChunkSignatures(signer, f"{signature.at}\n{signature.scope}", signature.value)

    def _make_signer(self, date: str, region: str, service: str) -> hmac.HMAC:
        key = f"AWS4{self.key.secret}".encode()
        # the chain of keys of the IAM User Guide, "Create a signed AWS API request"
        for part in (date, region, service, "aws4_request"):
            key = hmac.digest(key, part.encode("latin-1"), "sha256")
        return hmac.new(key, digestmod="sha256")

    def _check_key(self, key_id: str) -> None:
        if key_id != self.key.id:
            raise AccessError(
                "key",
                f"The access key {key_id!r} is not this local cloud's; each start has its own.",
            )

    def _check_time(self, signature: RequestSignature) -> None:
        made = parse_timestamp(signature.at)
        if made is None or not signature.at.startswith(signature.date):
            raise AccessError(
                "malformed", f"The request's date {signature.at!r} is not its scope's."
            )
        now = self._clock()
        if signature.expires is None:
            if abs(now - made) > MAX_SKEW:
                raise AccessError(
                    "skewed",
                    f"The request was signed at {signature.at}, and it is {format_timestamp(now)}: "
                    f"the difference is more than {MAX_SKEW / 60:.0f} minutes.",
                )
        elif made - now > MAX_SKEW:
            raise AccessError("expired", f"The request is valid from {signature.at} on.")
        elif now > made + signature.expires:
            raise AccessError("expired", describe_expiry(made + signature.expires, now))

    def _check_form(self, form: UploadForm, bucket: str) -> None:
        """Check an upload by a form: the signature of its policy, of either version, and that."""
        fields, policy = form.fields, form.fields.get("policy", "")
        found = CREDENTIAL.fullmatch(fields.get("x-amz-credential", ""))
        key_id = found[1] if found else fields.get("awsaccesskeyid", "")
        if not (policy and policy.isascii() and key_id):
            raise AccessError("missing", "The form has no policy, in base64, that is signed.")
        self._check_key(key_id)
        if found is None:
            given = fields.get("signature", "")
            digest = hmac.digest(self.key.secret.encode(), policy.encode(), "sha1")
            expected = b64encode(digest).decode()
        elif found[4] == "s3":
            given = fields.get("x-amz-signature", "")
            expected = sign(self._signer(found[2], found[3], found[4]), policy)
        else:
            raise AccessError("parameters", "X-Amz-Credential must be for s3.")
        if not hmac.compare_digest(expected.encode(), given.encode("latin-1", "replace")):
            raise AccessError("signature", MISMATCH)
        check_policy(form, bucket, self._clock())

    def _check_version_2(self, request: Request) -> None:
        """Check a presigned URL of version 2 (S3 developer guide, "Signing ... REST requests")."""
        query = dict(read_parameters(request.query))
        self._check_key(query.get("AWSAccessKeyId", ""))
        expires = query.get("Expires", "")
        # Python refuses to read thousands of digits
        if not (expires.isdecimal() and len(expires) <= 18):
            raise AccessError("expired", f"Expires must be seconds since 1970, got {expires!r}.")
        given = query.get("Signature", "").encode("latin-1")
        right = [
            b64encode(hmac.digest(self.key.secret.encode(), text, "sha1"))
            for text in list_texts_of_version_2(request, query)
        ]
        if not any(hmac.compare_digest(each, given) for each in right):
            raise AccessError("signature", MISMATCH)
        if (now := self._clock()) > int(expires):
            raise AccessError("expired", describe_expiry(int(expires), now))


class _Discard(io.RawIOBase):
    """A body that nobody wants, with the reason why."""

    def __init__(self, error: AwsError) -> None:
        super().__init__()
        self.error = error

    def write(self, data: object, /) -> int:  # noqa: ARG002 - a file's
        return 0
