"""The formats of AWS's calls, and which one a request is in: its answer is in the same, always."""

from collections.abc import Callable

from workbench.localcloud.core import cbor, query
from workbench.localcloud.core.protocol import AwsError, json_error, xml_error
from workbench.modelserver.http import Request, Response

_XML_SERVICES = frozenset(
    {"cloudfront", "route53", "s3", "s3-object-lambda", "s3-outposts", "s3express"}
)
"""Those that speak REST-XML, by the names that requests are signed for (botocore's models)."""

_FORM_SERVICES = frozenset(
    {
        *("autoscaling", "cloudformation", "elasticache", "elasticbeanstalk", "iam", "rds"),
        *("elasticloadbalancing", "redshift", "sdb", "sns", "sts"),
    }
)
"""Those that speak forms and nothing else, likewise."""

_ERRORS: dict[str, Callable[[AwsError], Response]] = {
    "ec2": query.ec2_error_response,
    "json": json_error,
    "query": query.error_response,
    "rest-xml": xml_error,
    cbor.PROTOCOL: cbor.error_response,
}


def find_protocol(request: Request, service: str) -> str:
    """Return the protocol of a request, as botocore names it; "json" stands for REST-JSON too."""
    if service in _XML_SERVICES:
        return "rest-xml"
    if cbor.is_spoken(request):
        return cbor.PROTOCOL
    if service == "ec2":
        return "ec2"
    form = "x-www-form-urlencoded" in request.headers.get("content-type", "")
    return "query" if form or service in _FORM_SERVICES else "json"


def refuse(error: AwsError, request: Request, service: str) -> Response:
    """Return an error in the format of a request."""
    return _ERRORS[find_protocol(request, service)](error)
