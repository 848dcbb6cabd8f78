"""Requests that are not admitted: AWS's code for each reason, in the form that its client reads."""

import re

from workbench.localcloud.core.formats import find_protocol, refuse
from workbench.localcloud.core.protocol import AwsError, new_id, parse_scope
from workbench.modelserver.http import Request, Response

MISMATCH = (
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


class AccessError(AwsError):
    """An error whose code depends on the service that was asked."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(reason, message, 400 if reason in _BAD_REQUEST else 403)
        self.reason = reason


def reply_to_error(request: Request, error: AwsError) -> Response:
    """Return an error in the format that the client of a request reads."""
    service = _find_service(request)
    kind = {"rest-xml": 0, "ec2": 1, "query": 1}.get(find_protocol(request, service), 2)
    if isinstance(error, AccessError):
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
