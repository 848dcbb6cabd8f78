"""InvokeEndpoint: from a client's request to the worker and back, on the path of every invocation.

Limits and errors are those of the SageMaker Runtime API Reference and of botocore's service model;
messages are worded as AWS words them, because programs read them.
"""

import itertools
import secrets
import time
from collections.abc import Callable
from typing import NamedTuple, cast

from workbench.localcloud.core.http_client import Answer, Exchange, Failure, Outcome, build_head
from workbench.localcloud.core.protocol import (
    ACCOUNT,
    REGION,
    AwsError,
    json_error,
    not_implemented_error,
    parse_scope,
)
from workbench.localcloud.sagemaker.data_capture import DataCapture
from workbench.localcloud.sagemaker.endpoint_api import EndpointApi
from workbench.localcloud.sagemaker.endpoints import Endpoint, Facts, Variant, draw_variant
from workbench.localcloud.sagemaker.metering import Invocation
from workbench.modelserver.http import Reply, Request, Response

MAX_PAYLOAD = 6_291_456
"""Bytes of a request or an answer (botocore's BodyBlob)."""

MAX_SERVERLESS_PAYLOAD = 4 * 1024 * 1024
"""Bytes on serverless endpoints (SageMaker developer guide, "Invoke a serverless endpoint")."""

_TIMEOUT_MESSAGE = (
    "Your invocation timed out while waiting for a response from container primary. Review the "
    "latency metrics for each container in Amazon CloudWatch, resolve the issue, and try again."
)
_CONTAINER_ENDED_MESSAGE = (
    "Your invocation failed because the container primary ended before it answered. Review its "
    "log, resolve the issue, and try again."
)
_PREFIX = "x-amzn-sagemaker-"
_FORWARDED_HEADERS = tuple(  # what a container gets to see: what AWS's API knows, and no others
    (name.lower(), name)
    for name in (
        *("Accept", "Content-Type", "X-Amzn-SageMaker-Custom-Attributes"),
        *("X-Amzn-SageMaker-Inference-Id", "X-Amzn-SageMaker-Session-Id"),
    )
)
_UNSUPPORTED_HEADERS = {
    f"{_PREFIX}target-model": "TargetModel",
    f"{_PREFIX}target-container-hostname": "TargetContainerHostname",
    f"{_PREFIX}inference-component": "InferenceComponentName",
    f"{_PREFIX}enable-explanations": "EnableExplanations",
}
_CUSTOM_ATTRIBUTES = f"{_PREFIX}custom-attributes"
_TARGET_VARIANT = f"{_PREFIX}target-variant"


class EndpointInvoker:
    """Answers `POST /endpoints/<name>/invocations`.

    `record` is called with each invocation that reached a variant, once it is answered.
    """

    def __init__(
        self, hosting: EndpointApi, record: Callable[[Invocation], None], capture: DataCapture
    ) -> None:
        self.record = record
        self.data_capture = capture
        self._hosting = hosting
        self._ids = itertools.count()
        # so that no identity is that of an earlier start
        self._run = secrets.token_hex(6)

    def handle(self, request: Request, reply: Reply) -> None:
        """Answer a request, now or when a worker has."""
        received = time.perf_counter()
        try:
            endpoint, variant = self._find_variant(request)
            serverless = variant.serverless
            limit = MAX_SERVERLESS_PAYLOAD if serverless else MAX_PAYLOAD
            if len(request.body) > limit:
                raise size_error(len(request.body), limit)
        except AwsError as error:
            reply(json_error(error))
            return

        call = _PendingInvocation(self, request, reply, endpoint, variant, received)
        given = request.headers
        forwarded = [(title, given[name]) for name, title in _FORWARDED_HEADERS if name in given]
        exchange = Exchange(
            build_head(len(request.body), forwarded),
            request.body,
            call.done,
            time_limit=self._hosting.settings.time_limit,
            max_answer=limit,
        )
        if not serverless:  # there nothing queues behind it, and its instance stays busy
            request.on_abandoned = exchange.abandon
        variant.fleet.serve(exchange)

    def _find_variant(self, request: Request) -> tuple[Endpoint, Variant]:
        """Return whom a request is for, or refuse it."""
        name, _, action = request.path.removeprefix("/endpoints/").partition("/")
        if action == "invocations-response-stream":
            raise not_implemented_error("InvokeEndpointWithResponseStream")
        if action != "invocations":
            raise AwsError("UnknownOperationException", f"There is no POST {request.path}.", 404)
        endpoint = self._hosting.find_in_service(name)
        if endpoint is None:
            raise runtime_error(f"Endpoint {name} of account {ACCOUNT} not found.")
        if endpoint.async_config is not None:
            raise runtime_error(
                f"Endpoint {name} of account {ACCOUNT} is asynchronous: use InvokeEndpointAsync."
            )
        if not _UNSUPPORTED_HEADERS.keys().isdisjoint(request.headers):
            header = next(each for each in _UNSUPPORTED_HEADERS if each in request.headers)
            raise not_implemented_error(f"{_UNSUPPORTED_HEADERS[header]} of InvokeEndpoint")
        target = request.headers.get(_TARGET_VARIANT)
        if target is None:
            return endpoint, draw_variant(endpoint.variants)
        variant = endpoint.variant(target)
        if variant is None:
            raise runtime_error(f"Variant {target} of endpoint {name} not found.")
        return endpoint, variant

    def next_id(self) -> str:
        """Return the id of a request."""
        # a UUID for each takes ten times as long
        return f"{self._run}-{next(self._ids)}"


class _PendingInvocation(NamedTuple):
    """A client's request on its way."""

    invoker: EndpointInvoker
    request: Request
    reply: Reply
    endpoint: Endpoint
    variant: Variant
    received: float

    def done(self, exchange: Exchange, outcome: Outcome) -> None:
        """Answer the client."""
        error = ""
        if isinstance(outcome, Answer) and outcome.status < 300:
            response = Response(200, outcome.body, outcome.headers.get("content-type", ""))
            headers = [("x-amzn-requestid", self.invoker.next_id())]
            if custom := outcome.headers.get(_CUSTOM_ATTRIBUTES):
                headers.append((_CUSTOM_ATTRIBUTES, custom))
        else:
            failure = _make_error(outcome, exchange, self)
            error = failure.code
            response = json_error(failure)
            headers = list(response.headers)
        model = exchange.finished - exchange.sent if exchange.sent else None
        overhead = time.perf_counter() - self.received - (model or 0.0)
        headers.append(("x-Amzn-Invoked-Production-Variant", self.variant.name))
        headers += _times(exchange, model, overhead)
        response.headers = headers
        self.reply(response)
        self.invoker.record(
            Invocation(
                endpoint=self.endpoint.name,
                variant=self.variant.name,
                at=time.time(),
                error=error,
                model_latency=model,
                overhead_latency=overhead,
                setup=exchange.setup,
                model_status=outcome.status if isinstance(outcome, Answer) else 0,
                load=self.variant.fleet.load(exchange.worker),
            )
        )
        if self.endpoint.capture and not error:
            self._capture(self.endpoint.capture, response)

    def _capture(self, config: Facts, response: Response) -> None:
        headers = self.request.headers
        attributes: Facts = {}
        if custom := headers.get(_CUSTOM_ATTRIBUTES):
            attributes["customAttributes"] = [custom]
        if inference := headers.get(f"{_PREFIX}inference-id"):
            attributes["inferenceId"] = inference
        self.invoker.data_capture.take(
            config,
            f"{self.endpoint.name}/{self.variant.name}",
            (bytes(self.request.body), headers.get("content-type", "")),
            (cast("bytes", response.body), response.content_type),
            attributes,
        )


def _times(exchange: Exchange, model: float | None, overhead: float) -> list[tuple[str, str]]:
    """Return headers that AWS does not have, for measuring; times in microseconds."""
    headers = [
        ("x-workbench-overhead-latency", f"{overhead * 1e6:.0f}"),
        ("x-workbench-instance", str(exchange.worker)),
    ]
    if model is not None:
        headers.append(("x-workbench-model-latency", f"{model * 1e6:.0f}"))
    if exchange.setup is not None:
        headers.append(("x-workbench-cold", f"{exchange.setup * 1e6:.0f}"))
    return headers


def runtime_error(message: str) -> AwsError:
    """Return what SageMaker Runtime answers to a request that cannot be."""
    return AwsError("ValidationError", message)


def size_error(size: int, limit: int, advice: str = "") -> AwsError:
    """Return the answer to a body that is too large."""
    return runtime_error(
        "1 validation error detected: Value at 'body' failed to satisfy constraint: Member must "
        f"have length less than or equal to {limit}; it has {size}.{advice}"
    )


def _make_error(outcome: Outcome, exchange: Exchange, call: _PendingInvocation) -> AwsError:
    """Return the error for an invocation that has no answer, or one that is an error."""
    if outcome is Failure.THROTTLED:
        return AwsError("ThrottlingException", "Rate exceeded: MaxConcurrency of the endpoint.")
    if outcome is Failure.ABANDONED:
        return AwsError("ClientClosedRequest", "The client has left.", 499)
    if outcome is Failure.UNAVAILABLE:
        what = f"No instance of endpoint {call.endpoint.name} is up. {exchange.reason}"
        return AwsError("ServiceUnavailable", what.strip(), 503)
    status, message = 0, _CONTAINER_ENDED_MESSAGE
    if isinstance(outcome, Answer):
        status, message = outcome.status, outcome.body.decode("utf-8", "replace")
    elif outcome is Failure.TIMEOUT:
        message = _TIMEOUT_MESSAGE
    elif outcome is Failure.TOO_LARGE:
        message = f"The response is larger than {exchange.max_answer} bytes."
    return _model_error(status, message, exchange, call)


def _model_error(
    status: int, message: str, exchange: Exchange, call: _PendingInvocation
) -> AwsError:
    signed = parse_scope(call.request)
    region = signed.region if signed else REGION
    group = f"/aws/sagemaker/Endpoints/{call.endpoint.name}"
    stream = f"log-group:{group}:log-stream:{call.variant.name}/{exchange.worker}"
    side = "client" if 400 <= status < 500 else "server"
    return AwsError(
        "ModelError",
        f'Received {side} error ({status}) from primary with message "{message}". See the log '
        f"group {group} in account {ACCOUNT} for more information.",
        424,  # as in the service model
        {
            "OriginalStatusCode": status,
            "OriginalMessage": message,
            "LogStreamArn": f"arn:aws:logs:{region}:{ACCOUNT}:{stream}",
        },
    )
