"""The Query protocol: calls are forms with the member Action, answers are XML.

boto3 spoke it with CloudWatch until late in 2025, the AWS command line 1 and the JavaScript SDK 2
still do; IAM, SNS and STS have no other. Source: Smithy's "AWS Query protocol", read on 2026-11-29;
shapes and names come from botocore's models.
"""

import math
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl

from botocore.model import ListShape, MapShape, OperationModel, Shape, StructureShape

from workbench.localcloud.core import validation
from workbench.localcloud.core.protocol import (
    AwsError,
    escape_text,
    format_time,
    new_id,
    xml,
    xml_document,
)
from workbench.modelserver.http import Response

Form = dict[str, Any]
"""A form whose dotted names are taken apart: texts, and forms by the next part of the name."""

_CODES = {  # of the same errors here
    "SerializationException": "MalformedQueryString",
    "UnknownOperationException": "InvalidAction",
    "ValidationException": "ValidationError",
}


def parse_call(service: str, body: bytes) -> tuple[OperationModel, dict[str, Any]]:
    """Return the operation that a form names, and its parameters, not yet checked.

    Raises:
        AwsError: It names none of this service, or its names contradict each other.
    """
    form: Form = {}
    for name, value in parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True):
        _insert(form, name, value)
    action = form.pop("Action", None)
    if not isinstance(action, str):
        raise AwsError("MissingAction", "The request names no operation.")
    model = validation.operation(service, action)
    shape = model.input_shape
    return model, {} if shape is None else _read(shape, form)


def response(model: OperationModel, content: Mapping[str, Any]) -> Response:
    """Return what an operation gives back, as XML."""
    shape, name = model.output_shape, model.name
    result = "" if shape is None else _element(shape, f"{name}Result", content)
    space = model.service_model.metadata.get("xmlNamespace", "")
    end = f"<ResponseMetadata><RequestId>{new_id()}</RequestId></ResponseMetadata></{name}Response>"
    return xml_document(200, f'<{name}Response xmlns="{space}">{result}{end}')


def error_response(error: AwsError) -> Response:
    """Return an error as XML."""
    content = {
        "Type": "Sender" if error.status < 500 else "Receiver",
        "Code": _CODES.get(error.code, error.code),
        "Message": error.message,
    }
    return xml_document(
        error.status, xml("ErrorResponse", {"Error": content, "RequestId": new_id()})
    )


def ec2_error_response(error: AwsError) -> Response:
    """Return an error as EC2 writes it, which speaks a protocol of its own with forms."""
    content = {"Errors": {"Error": {"Code": error.code, "Message": error.message}}}
    return xml_document(error.status, xml("Response", content | {"RequestID": new_id()}))


# --- forms


def _insert(form: Form, name: str, value: str) -> None:
    """Put a value where its dotted name says."""
    *path, last = name.split(".")
    for part in path:
        form = form.setdefault(part, {})
        if not isinstance(form, dict):
            raise AwsError("MalformedQueryString", f"{name} is inside of what has a value itself.")
    if last in form:
        raise AwsError("MalformedQueryString", f"{name} is given twice.")
    form[last] = value


def _read(shape: Shape, node: Any) -> Any:  # noqa: ANN401 - what the shape says
    """Return the value that a part of a form has; a form itself where it fits no shape."""
    if isinstance(shape, StructureShape) and isinstance(node, dict):
        found = [(name, each, node.get(_name(each, name))) for name, each in shape.members.items()]
        return {name: _read(member, inner) for name, member, inner in found if inner is not None}
    if isinstance(shape, ListShape):
        # by its bare name a list is given that has no items
        items = [] if node == "" else _items(shape, node, _name(shape.member, "member"))
        return [_read(shape.member, each) for each in items]
    if isinstance(shape, MapShape) and isinstance(node, dict):
        key, value = _name(shape.key, "key"), _name(shape.value, "value")
        entries = _items(shape, node, "entry")
        pairs = [each for each in entries if isinstance(each, dict) and key in each]
        return {str(each[key]): _read(shape.value, each.get(value, "")) for each in pairs}
    return validation.convert_text(shape, node) if isinstance(node, str) else node


def _name(shape: Shape, default: str) -> str:
    return str(shape.serialization.get("name", default))


def _items(shape: Shape, node: Any, name: str) -> list[Any]:  # noqa: ANN401 - of a form
    """Return the values of a form whose names are numbers, by number; they may be below a name."""
    if isinstance(node, dict) and not shape.serialization.get("flattened"):
        node = node.get(name)
    if not isinstance(node, dict) or not all(name.isdecimal() for name in node):
        raise AwsError("MalformedQueryString", "Items of a list must be numbered from 1.")
    # texts of digits, by number
    return [node[name] for name in sorted(node, key=lambda name: (len(name), name))]


# --- XML


def _element(shape: Shape, name: str, value: Any) -> str:  # noqa: ANN401 - what the shape says
    return f"<{name}>{_content(shape, value)}</{name}>"


def _content(shape: Shape, value: Any) -> str:  # noqa: ANN401 - what the shape says
    if isinstance(shape, StructureShape):
        return "".join(
            _element(member, _name(member, name), value[name])
            for name, member in shape.members.items()
            if value.get(name) is not None
        )
    if isinstance(shape, ListShape):
        return "".join(_element(shape.member, _name(shape.member, "member"), x) for x in value)
    if isinstance(shape, MapShape):
        pairs = [
            (_element(shape.key, "key", x), _element(shape.value, "value", value[x])) for x in value
        ]
        return "".join(f"<entry>{key}{each}</entry>" for key, each in pairs)
    return escape_text(_text(shape, value))


def _text(shape: Shape, value: Any) -> str:  # noqa: ANN401 - what the shape says
    if shape.type_name == "timestamp":
        return format_time(value, "milliseconds")
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float) and not math.isfinite(value):
        return {math.inf: "Infinity", -math.inf: "-Infinity"}.get(value, "NaN")
    return str(value)
