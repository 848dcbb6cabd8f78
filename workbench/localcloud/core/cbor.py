"""The protocol RPC v2 CBOR: the operation is in the path, parameters and answers are CBOR.

The JavaScript SDK 3 speaks it with CloudWatch. botocore, which can speak it too, has reader and
writer. Source: Smithy's "Smithy RPC v2 CBOR protocol", read on 2026-11-29.
"""

import re
from collections.abc import Mapping
from typing import Any, cast

from botocore.model import MapShape, OperationModel, Shape, ShapeResolver
from botocore.parsers import PROTOCOL_PARSERS, ResponseParserError
from botocore.serialize import SERIALIZERS

from workbench.localcloud.core import validation
from workbench.localcloud.core.protocol import AwsError, new_id
from workbench.modelserver.http import Request, Response

PROTOCOL = "smithy-rpc-v2-cbor"
"""The protocol, as botocore names it."""

_PATH = re.compile(r"/service/(\w+)/operation/(\w+)", re.ASCII)
_HEADERS = [("smithy-protocol", "rpc-v2-cbor")]
# botocore's stubs describe none of these
_resolver: Any = ShapeResolver({"Text": {"type": "string"}})  # type: ignore[dict-item]
_TEXT: Any = {"shape": "Text"}
_TEXTS = MapShape("Texts", {"type": "map", "key": _TEXT, "value": _TEXT}, _resolver)
_parser = cast("Any", PROTOCOL_PARSERS[PROTOCOL])(timestamp_parser=float)
_serializer = cast("Any", SERIALIZERS[PROTOCOL])()


def is_spoken(request: Request) -> bool:
    """Whether a request is in this protocol."""
    return request.headers.get("smithy-protocol") == "rpc-v2-cbor"


def parse_call(service: str, request: Request) -> tuple[OperationModel, dict[str, Any]]:
    """Return the operation that a path names, and its parameters, not yet checked.

    Raises:
        AwsError: It names none of this service, or the body is not a map in CBOR.
    """
    found = _PATH.fullmatch(request.path)
    if found is None or found[1] != validation.service(service).metadata.get("targetPrefix"):
        raise AwsError("UnknownOperationException", f"There is no operation at {request.path}.")
    return validation.operation(service, found[2]), _read(request.body)


def response(model: OperationModel, content: Mapping[str, Any]) -> Response:
    """Return what an operation gives back."""
    shape = model.output_shape
    return _response(200, _write(_TEXTS, {}) if shape is None else _write(shape, content))


def error_response(error: AwsError) -> Response:
    """Return an error."""
    content = {"__type": error.code, "message": error.message}
    return _response(error.status, _write(_TEXTS, content))


def _read(body: bytes) -> dict[str, Any]:
    stream = _parser.get_peekable_stream_from_bytes(body or b"\xa0")  # else no member is given
    try:
        content = _parser.parse_data_item(stream)
    except (ResponseParserError, ValueError, TypeError, OverflowError, RecursionError) as error:
        raise AwsError("SerializationException", f"The body is not CBOR: {error}.") from error
    if not isinstance(content, dict) or not all(isinstance(name, str) for name in content):
        raise AwsError("SerializationException", "The body must be a map from texts.")
    return content


def _write(shape: Shape, content: Mapping[str, Any]) -> bytes:
    body = bytearray()
    _serializer._serialize_data_item(body, content, shape)  # noqa: SLF001 - it writes no answers
    return bytes(body)


def _response(status: int, body: bytes) -> Response:
    return Response(status, body, "application/cbor", [*_HEADERS, ("x-amzn-requestid", new_id())])
