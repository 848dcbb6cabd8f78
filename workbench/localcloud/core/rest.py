"""Requests to services that speak REST-JSON, read by botocore's own model of the service."""

import re
from collections.abc import Mapping
from functools import cache
from typing import Any
from urllib.parse import parse_qs

from botocore.model import OperationModel

from workbench.localcloud.core import validation
from workbench.localcloud.core.protocol import AwsError, json_parameters
from workbench.modelserver.http import Request


def parse_request(service: str, request: Request) -> tuple[OperationModel, dict[str, Any]]:
    """Return the operation that a request is for, and its parameters, not yet checked.

    Raises:
        AwsError: There is no such operation, or the body is not a JSON object.
    """
    query = parse_qs(request.query, keep_blank_values=True)
    for method, pattern, fixed, model in _routes(service):
        found = pattern.fullmatch(request.path) if method == request.method else None
        if found is not None and all(query.get(name) == [value] for name, value in fixed.items()):
            return model, _parameters(model, request, query, found.groupdict())
    raise AwsError(
        "UnknownOperationException", f"There is no {request.method} {request.path}.", 404
    )


def _parameters(
    model: OperationModel,
    request: Request,
    query: Mapping[str, list[str]],
    path: Mapping[str, str],
) -> dict[str, Any]:
    shape = model.input_shape
    if shape is None:
        return {}
    parameters = json_parameters(request.body)
    for name, member in shape.members.items():
        place = member.serialization.get("location")
        called = member.serialization.get("name", name)
        if place == "uri":
            parameters[name] = path[called]
        elif place == "querystring" and called in query:
            several = member.type_name == "list"
            parameters[name] = (
                query[called] if several else validation.convert_text(member, query[called][0])
            )
        elif place == "header" and called.lower() in request.headers:
            parameters[name] = validation.convert_text(member, request.headers[called.lower()])
    return parameters


_Route = tuple[str, re.Pattern[str], dict[str, str], OperationModel]


@cache
def _routes(service: str) -> list[_Route]:
    """Return method, path, required query and operation; those with a query first."""
    model = validation.service(service)
    routes = []
    for name in model.operation_names:
        operation = model.operation_model(name)
        path, _, query = operation.http["requestUri"].partition("?")
        pattern = re.sub(r"\\{(\w+)(\\\+)?\\}", r"(?P<\1>[^/]+)", re.escape(path.rstrip("/")))
        fixed = {key: values[0] for key, values in parse_qs(query).items()}
        # clients end a path with a slash or not
        routes.append((operation.http["method"], re.compile(f"{pattern}/?"), fixed, operation))
    return sorted(routes, key=lambda route: -len(route[2]))
