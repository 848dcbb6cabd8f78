"""Services whose state may be lost when the local cloud ends: moto keeps them, in memory.

moto is imported when one of them is first asked for. It is slow beside the rest, which is why it
runs in a thread of its own and never on the way of a model's answers.
"""

import asyncio
import json
import logging
import re
from functools import cache
from importlib import import_module
from typing import Any, cast

from botocore.model import OperationModel

from workbench.localcloud.core import query, validation
from workbench.localcloud.core.dispatch import not_offered_error, read_call
from workbench.localcloud.core.protocol import AwsError, json_parameters, not_implemented_error
from workbench.localcloud.core.store import Store
from workbench.localcloud.eventbridge import patch_moto_targets
from workbench.localcloud.iam import SIMULATIONS, create_role, simulate_policy
from workbench.modelserver.http import Request, Response

SERVICES = frozenset({"events", "iam", "logs", "sns", "sqs", "sts"})
"""By the names that requests are signed for."""

_MATCHING = frozenset({"FilterLogEvents", "PutSubscriptionFilter"})
_PATTERN = re.compile(r'|"[^"]*"|[A-Za-z]\w*( \w+)*', re.ASCII)
"""Patterns of log lines that moto reads as AWS does (user guide, "Filter pattern syntax")."""

_POLL_SECONDS = 0.05  # between two looks for messages
_MAX_WAIT_SECONDS = 20.0  # SQS API reference, ReceiveMessage
_log = logging.getLogger("workbench.localcloud")


async def answer(store: Store, request: Request, service: str) -> Response:
    """Return moto's answer, made in the store's thread.

    Raises:
        AwsError: The request does not keep to botocore's model of the service, or moto has not
            what it asks for.
    """
    if request.method != "POST":
        raise AwsError("MethodNotAllowed", f"{service} takes POST, got {request.method}.", 405)
    model, given = read_call(service, request)
    await store.run_in_thread(_check, service, request, model, given)
    if service == "iam" and model.name in SIMULATIONS:
        return query.response(model, simulate_policy(given))
    now = asyncio.get_running_loop().time
    deadline = now() + _extract_wait(request)
    while True:
        response = await store.run_in_thread(_call_moto, service, request, model)
        if now() >= deadline or _has_messages(response):
            return response
        await asyncio.sleep(_POLL_SECONDS)


def _call_moto(service: str, request: Request, model: OperationModel) -> Response:
    given = request.headers.items()  # without the length, as `_extract_wait` changes bodies
    headers = {name: value for name, value in given if name != "content-length"}
    query_string, body = request.query, request.body
    try:
        answer = _client(service).post("/", query_string=query_string, headers=headers, data=body)
    except NotImplementedError as error:
        _log.warning("moto has not what %s asks for: %s", model.name, error)
        raise not_offered_error(model) from error
    except Exception as error:
        _log.warning("moto failed over %s", model.name, exc_info=True)
        fault = f"{type(error).__name__}: {str(error)[:200]}"
        raise not_implemented_error(
            f"{model.service_model.service_id}'s {model.name} with parameters that moto fails "
            f"over ({fault})"
        ) from error
    ours = ("content-length", "connection", "date", "server")
    kept = [(name, value) for name, value in answer.headers.items() if name.lower() not in ours]
    return Response(answer.status_code, answer.data, headers=kept)


def _extract_wait(request: Request) -> float:
    """Return the seconds that a request waits for messages, and have moto itself wait for none."""
    # moto would wait in the one thread that everything beside the loop shares
    if request.headers.get("x-amz-target") != "AmazonSQS.ReceiveMessage":
        return 0.0
    params = json_parameters(request.body)
    wait = float(params.get("WaitTimeSeconds", 0))
    if not 0 < wait <= _MAX_WAIT_SECONDS:
        return 0.0
    request.body = json.dumps(params | {"WaitTimeSeconds": 0}).encode()
    return wait


def _has_messages(response: Response) -> bool:
    """Whether there are messages, or an error."""
    assert isinstance(response.body, bytes)  # noqa: S101 - moto's are
    return response.status != 200 or bool(json.loads(response.body).get("Messages"))


def _check(service: str, request: Request, model: OperationModel, given: dict[str, Any]) -> None:
    """Check what moto does not, and would fail over; first of all, whether it has the operation."""
    offered = _operations(service) | (SIMULATIONS if service == "iam" else set())
    if model.name not in offered or model.name == "StartQuery":
        raise not_offered_error(model)
    if model.name == "PutRule" and given.get("ScheduleExpression"):
        raise not_implemented_error("A rule with a ScheduleExpression")
    pattern = given.get("filterPattern", "")
    if model.name in _MATCHING and not _PATTERN.fullmatch(pattern):
        # moto takes such a pattern for one that all lines match: findings/moto-log-patterns.sh
        raise not_implemented_error(
            f"The filter pattern {pattern[:100]!r} (words, or one phrase in quotes, will do)"
        )
    if service != "sqs" or "x-amz-target" in request.headers:  # botocore knows no forms of SQS
        validation.check(model.input_shape, given)


@cache
def _operations(service: str) -> frozenset[str]:
    """Return the operations of a service that moto has a method for."""
    from moto.core.responses import BaseResponse
    from moto.core.utils import camelcase_to_underscores

    methods = {
        name
        for each in vars(import_module(f"moto.{service}.responses")).values()
        if isinstance(each, type) and issubclass(each, BaseResponse)
        for name in dir(each)
    }
    names = validation.service(service).operation_names
    return frozenset(name for name in names if camelcase_to_underscores(name) in methods)


@cache
def _client(service: str) -> Any:  # noqa: ANN401 - Flask's, whose import is moto's
    from moto.moto_server.werkzeug_app import create_backend_app

    create_role()
    patch_moto_targets()
    return create_backend_app(cast("Any", service)).test_client(use_cookies=False)
