"""SageMaker's contract: what is answered at /ping, /invocations and /execution-parameters.

Source: SageMaker developer guide, "Custom Inference Code with Hosting Services" and "... with
Batch Transform".
"""

import sys
from collections.abc import Callable

import orjson

from workbench.cloud.container import formats
from workbench.cloud.container.engine import Engine
from workbench.cloud.container.http import Reply, Request, Response
from workbench.cloud.container.options import Options
from workbench.cloud.container.refusals import Refused
from workbench.cloud.container.stacking import Outcome, Queue

Route = tuple[str, Callable[[Request, Reply], None]]


def refuse(status: int, reason: str) -> Response:
    """The answer that says why there is none."""
    return Response(status, orjson.dumps({"error": reason}), "application/json")


class Contract:
    """Answers the requests that SageMaker sends to a container."""

    def __init__(self, engine: Engine, options: Options) -> None:
        self._reader = formats.Reader(engine.dtype, engine.row)
        self._queue = Queue(engine, workers=options.workers, max_batch=options.max_batch)
        self._options = options
        self._routes: dict[str, Route] = {
            "/invocations": ("POST", self._invocations),
            "/ping": ("GET", _ping),
            "/execution-parameters": ("GET", self._execution_parameters),
        }

    def handle(self, request: Request, reply: Reply) -> None:
        """Answer a request, once the model has."""
        route = self._routes.get(request.path)
        if route is None:
            reply(refuse(404, f"There is nothing at {request.path}."))
        elif request.method != route[0]:
            response = refuse(405, f"{request.path} takes {route[0]}, got {request.method}.")
            response.headers = [("allow", route[0])]
            reply(response)
        else:
            route[1](request, reply)

    def _invocations(self, request: Request, reply: Reply) -> None:
        get = request.headers.get
        try:
            if get("content-encoding", "identity") != "identity":
                raise Refused(415, "The body must not be compressed.")
            content_type = get("content-type", "")
            asked = self._reader.read(content_type, request.body)
            accept = formats.choose(get("accept", ""), content_type)
        except Refused as refused:
            reply(refuse(refused.status, str(refused)))
            return

        def deliver(outcome: Outcome) -> None:
            if isinstance(outcome, Exception):
                print(f"The model failed: {outcome}", file=sys.stderr, flush=True)  # noqa: T201
                reply(refuse(500, f"The model failed: {outcome}"))
            else:
                reply(Response(200, formats.write(accept, outcome, asked), accept))

        self._queue.submit(asked.rows, deliver)

    def _execution_parameters(self, request: Request, reply: Reply) -> None:  # noqa: ARG002
        parameters = {
            "MaxConcurrentTransforms": self._options.workers,
            "BatchStrategy": "MULTI_RECORD",
            "MaxPayloadInMB": min(self._options.max_payload_mb, 6),
        }
        reply(Response(200, orjson.dumps(parameters), "application/json"))


def _ping(request: Request, reply: Reply) -> None:  # noqa: ARG001 - a handler
    reply(Response())
