"""Calls of operations: read from requests, checked against botocore's models, and answered.

AWS's services differ in how a request names its operation (AWS's own "Smithy" specifications): in
the header X-Amz-Target with JSON (JSON 1.0 and 1.1), in the member Action of a form (Query), or
by path (RPC v2 CBOR, REST-JSON). S3, which is none of these, reads its requests itself.
"""

from collections.abc import Collection, Mapping
from typing import Any, cast

from botocore.model import OperationModel

from workbench.localcloud.core import cbor, query, rest, validation
from workbench.localcloud.core.formats import find_protocol
from workbench.localcloud.core.protocol import (
    AwsError,
    Operation,
    json_parameters,
    json_response,
    new_id,
    not_implemented_error,
)
from workbench.modelserver.http import Request, Response

Call = tuple[OperationModel, dict[str, Any]]
"""An operation, and the parameters that it is called with."""

_FORMERLY_QUERY = ("sqs",)  # botocore's model of today does not say so
_ANSWERS = {"query": query.response, cbor.PROTOCOL: cbor.response}  # all others are JSON


def parse_target(service: str, request: Request) -> Call:
    """Return the call of a request that names its operation in X-Amz-Target, not yet checked.

    Raises:
        AwsError: It calls no operation of this service, or its body is not a JSON object.
    """
    target = request.headers.get("x-amz-target", "")
    space, _, name = target.rpartition(".")
    wanted = validation.service(service).metadata.get("targetPrefix")  # None: called by forms
    # CloudTrail's is a class of Java, and some clients leave out its package
    if space and wanted and f".{wanted}".endswith(f".{space}"):
        return validation.operation(service, name), json_parameters(request.body)
    raise AwsError(
        "UnknownOperationException",
        f"X-Amz-Target must be {wanted}.<operation>, got {target!r}. The local cloud speaks JSON "
        f"with {service}: use a client that does, such as boto3.",
    )


def read_call(service: str, request: Request) -> Call:
    """Return the call, not yet checked, of a request to a service not called by method and path.

    Raises:
        AwsError: It calls no operation of this service, or its body cannot be read.
    """
    protocol = find_protocol(request, service)
    if protocol == cbor.PROTOCOL and cbor.PROTOCOL in protocols(service):
        return cbor.parse_call(service, request)
    if (request.method, request.path) != ("POST", "/"):
        raise AwsError(
            "UnknownOperationException",
            f"No operation: POST / was expected, got {request.method} {request.path}.",
        )
    if protocol == "query" and ("query" in protocols(service) or service in _FORMERLY_QUERY):
        return query.parse_call(service, request.body)
    return parse_target(service, request)


def protocols(service: str) -> Collection[str]:
    """Return the protocols of a service, as botocore names them."""
    metadata = validation.service(service).metadata
    return cast("Collection[str]", metadata.get("protocols") or [metadata["protocol"]])


def not_offered_error(model: OperationModel) -> AwsError:
    """Return the answer to a call of an operation that the local cloud has not."""
    return not_implemented_error(f"{model.service_model.service_id}'s {model.name}")


class JsonService:
    """The operations of a service that is not called by method and path.

    Args:
        name: As botocore names it.
        operations: What answers them, by name; all others are answered with 501.
    """

    def __init__(self, name: str, operations: Mapping[str, Operation]) -> None:
        self.name = name
        self._operations = operations

    async def answer(self, request: Request) -> Response:
        """Return what the operation of a request gives back.

        Raises:
            AwsError: AWS would refuse it, or it is not offered.
        """
        model, parameters = self._parse(request)
        if model.name not in self._operations:
            raise not_offered_error(model)
        validation.check(model.input_shape, parameters)
        return self._respond(request, model, await self._operations[model.name](parameters))

    def _parse(self, request: Request) -> Call:
        return read_call(self.name, request)

    def _respond(
        self, request: Request, model: OperationModel, content: Mapping[str, Any]
    ) -> Response:
        write = _ANSWERS.get(find_protocol(request, self.name))
        return json_response(content) if write is None else write(model, content)


class RestService(JsonService):
    """The operations of a service, called by method and path."""

    def _parse(self, request: Request) -> Call:
        return rest.parse_request(self.name, request)

    def _respond(
        self,
        request: Request,  # noqa: ARG002 - REST-JSON alone
        model: OperationModel,
        content: Mapping[str, Any],
    ) -> Response:
        # botocore's model has 200 and a body for DeleteFunction; Lambda answers 204 without one
        if model.name == "DeleteFunction" or model.output_shape is None:
            return Response(204, headers=[("x-amzn-requestid", new_id())])
        return json_response(content, model.http["responseCode"])
