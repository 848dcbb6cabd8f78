"""How AWS's calls and answers look on the wire: scopes, names, JSON, XML and errors.

SageMaker speaks JSON 1.1 (the operation is in a header), its runtime REST-JSON, S3 XML. botocore's
service models say so; its parsers are what the answers here are made for.
"""

import json
import re
import time
import uuid
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from xml.sax.saxutils import escape

from workbench.errors import WorkbenchError
from workbench.modelserver.http import Request, Response

ACCOUNT = "123456789012"
REGION = "us-east-1"

Operation = Callable[[dict[str, Any]], Awaitable[dict[str, Any]]]
"""Answers one operation of SageMaker: checked parameters in, the members of the answer out.

Times are seconds since 1970 both ways.
"""

_JSON = "application/x-amz-json-1.1"
_NAMESPACE = "http://s3.amazonaws.com/doc/2006-03-01/"
_CREDENTIAL = re.compile(
    r"Credential=[^/,\s]*(?:/|%2F)\d{8}(?:/|%2F)([a-zA-Z0-9_-]+)(?:/|%2F)([a-zA-Z0-9_-]+)(?:/|%2F)"
    "aws4_request"
)
_UNWRITABLE = re.compile("[^\t\n\r -\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_region: ContextVar[str] = ContextVar("region", default=REGION)


class AwsError(WorkbenchError):
    """An answer that botocore raises as the exception of that name.

    Args:
        code: AWS's name of the error.
        message: What came, what was wanted, what to do.
        status: Of the HTTP answer.
        extra: More members of the error, where its shape has them.
    """

    def __init__(
        self, code: str, message: str, status: int = 400, extra: Mapping[str, Any] | None = None
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.status = status
        self.extra = dict(extra or {})


def validation_error(message: str) -> AwsError:
    """Return what SageMaker answers to parameters that do not fit."""
    return AwsError("ValidationException", message)


def not_implemented_error(what: str) -> AwsError:
    """Return the answer to what AWS has and the local cloud has not; clients do not retry it."""
    return AwsError("NotImplemented", f"{what} is not yet offered by the local cloud.", 501)


@dataclass(frozen=True, slots=True)
class Scope:
    """What a signed request is meant for."""

    service: str
    region: str = REGION


def parse_scope(request: Request) -> Scope | None:
    """Return the scope of a request's signature of version 4; None: it has none.

    The signature itself was checked before (`access`).
    """
    found = _CREDENTIAL.search(request.headers.get("authorization") or request.query)
    return Scope(found[2].lower(), found[1].lower()) if found else None


def set_region(name: str) -> None:
    """Let what the present task makes belong to a region."""
    _region.set(name)


def arn(service: str, resource: str) -> str:
    """Return the Amazon Resource Name of something of ours, in the request's region.

    >>> arn("sagemaker", "endpoint/digits")
    'arn:aws:sagemaker:us-east-1:123456789012:endpoint/digits'
    """
    return f"arn:aws:{service}:{_region.get()}:{ACCOUNT}:{resource}"


def now() -> float:
    """Return the time as SageMaker writes it: seconds since 1970, to the millisecond."""
    return round(time.time(), 3)


def format_time(seconds: float, timespec: str = "seconds") -> str:
    """Return an instant, in seconds since 1970, in ISO 8601.

    >>> format_time(0.5), format_time(0.5, "milliseconds")
    ('1970-01-01T00:00:00Z', '1970-01-01T00:00:00.500Z')
    """
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec=timespec).replace("+00:00", "Z")


def new_id() -> str:
    """Return the id of a request."""
    return str(uuid.uuid4())


# --- JSON


def json_response(content: Mapping[str, Any], status: int = 200) -> Response:
    """Return what an operation gives back, as SageMaker's JSON."""
    headers = [("x-amzn-requestid", new_id())]
    return Response(status, json.dumps(content).encode(), _JSON, headers)


def json_error(error: AwsError) -> Response:
    """Return an error so that botocore's JSON and REST-JSON parsers know it by name."""
    # services differ in how they spell the message, and clients in which they read
    content = {"__type": error.code, "message": error.message, "Message": error.message}
    response = json_response(content | error.extra, error.status)
    # where clients of REST-JSON look first
    response.headers = [("x-amzn-errortype", error.code), *response.headers]
    return response


def json_parameters(body: bytes) -> dict[str, Any]:
    """Return the parameters that a body holds; members that are null count as not given.

    Raises:
        AwsError: It is not a JSON object.
    """
    try:
        text = body.decode() or "{}"
        content = json.loads(text, parse_constant=_refuse_constant)
        if "\\u" in text:  # half of a pair of surrogates is no text, and nothing can store it
            json.dumps(content, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as error:
        raise AwsError("SerializationException", f"The body is not JSON: {error}.") from error
    if not isinstance(content, dict):
        raise AwsError("SerializationException", "The body must be a JSON object.")
    return _drop_nulls(content) if "null" in text else content


def _drop_nulls(value: Any) -> Any:  # noqa: ANN401 - JSON
    """Return JSON without the members of objects that are null, however deep."""
    if isinstance(value, list):
        return [_drop_nulls(each) for each in value]
    if isinstance(value, dict):
        return {name: _drop_nulls(each) for name, each in value.items() if each is not None}
    return value


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no number of JSON")


# --- XML


def xml(name: str, content: Any) -> str:  # noqa: ANN401 - text, numbers, dicts and lists
    """Return an element: a dict's items are its children, and a list's items share their name.

    >>> xml("Parts", {"Part": [{"PartNumber": 1}, {"PartNumber": 2}], "IsTruncated": False})
    '<Parts><Part><PartNumber>1</PartNumber></Part><Part><PartNumber>2</PartNumber></Part><IsTruncated>false</IsTruncated></Parts>'
    """
    if isinstance(content, list):
        return "".join(xml(name, each) for each in content)
    if isinstance(content, dict):
        return f"<{name}>{''.join(xml(*item) for item in content.items())}</{name}>"
    if isinstance(content, bool):
        content = str(content).lower()
    return f"<{name}>{escape_text(str(content))}</{name}>"


def escape_text(text: str) -> str:
    """Return the text of an element; what XML 1.0 cannot hold becomes U+FFFD."""
    return escape(_UNWRITABLE.sub("\ufffd", text))


def xml_response(
    name: str, content: Mapping[str, Any], headers: Iterable[tuple[str, str]] = ()
) -> Response:
    """Return a document as S3 writes it."""
    body = xml(name, dict(content)).replace(f"<{name}>", f'<{name} xmlns="{_NAMESPACE}">', 1)
    return xml_document(200, body, headers)


def xml_error(error: AwsError) -> Response:
    """Return an error as S3 writes it."""
    content = {"Code": error.code, "Message": error.message} | error.extra
    return xml_document(error.status, xml("Error", content))


def xml_document(status: int, element: str, headers: Iterable[tuple[str, str]] = ()) -> Response:
    """Return a document that is one element."""
    body = f'<?xml version="1.0" encoding="UTF-8"?>\n{element}'.encode()
    return Response(status, body, "application/xml", headers)
