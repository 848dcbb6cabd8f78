"""SageMaker's contract: what is answered at /ping, /invocations and /execution-parameters.

Source: SageMaker developer guide, "Custom Inference Code with Hosting Services" and "... with
Batch Transform".
"""

import sys
from collections.abc import Callable, Mapping
from typing import BinaryIO, cast

import orjson

from workbench.modelserver import formats
from workbench.modelserver.batching_queue import BatchingQueue, Outcome
from workbench.modelserver.engine import Engine
from workbench.modelserver.errors import RequestError
from workbench.modelserver.http import Reply, Request, Response, make_handler
from workbench.modelserver.options import EVEN_IF_ANSWERS_CHANGE, IF_ANSWERS_STAY, ServerOptions
from workbench.modelserver.records import make_reader
from workbench.modelserver.streaming import SPOOL_THRESHOLD, answer_blocks, spool

Route = tuple[str, Callable[[Request, Reply], None]]


def error_response(status: int, reason: str) -> Response:
    """Return the answer that says why there is none."""
    return Response(status, orjson.dumps({"error": reason}), "application/json")


def open_spool(request: Request) -> BinaryIO | None:
    """Return a file for a body that may be large, else None."""
    length = request.headers.get("content-length", "")
    large = "transfer-encoding" in request.headers and not length
    large = large or (length.isdigit() and int(length) > SPOOL_THRESHOLD)
    return spool() if large and request.path == "/invocations" else None


class Contract:
    """Answers the requests that SageMaker sends to a container."""

    def __init__(self, engine: Engine, options: ServerOptions) -> None:
        self._reader = make_reader(engine.inputs)
        apart = options.stack == IF_ANSWERS_STAY and not engine.invariant
        max_batch = 1 if apart else options.max_batch
        self._queue = BatchingQueue(engine, workers=options.workers, max_batch=max_batch)
        self.note = ""  # for the log
        if max_batch < options.max_batch:
            self.note = (
                "Requests are not stacked, since one could change the answers to another (rows "
                f"together: {engine.batch_invariance}). To stack them nevertheless: "
                f"--stack {EVEN_IF_ANSWERS_CHANGE}, or WORKBENCH_STACK."
            )
        self._options = options
        self._handle_spooled = make_handler(self._answer_spooled)
        self._routes: dict[str, Route] = {
            "/invocations": ("POST", self._invocations),
            "/ping": ("GET", ping),
            "/execution-parameters": ("GET", self._execution_parameters),
        }

    def handle(self, request: Request, reply: Reply) -> None:
        """Answer a request, once the model has."""
        follow_route(self._routes, request, reply)

    def _invocations(self, request: Request, reply: Reply) -> None:
        if request.spool_file is not None:
            self._handle_spooled(request, reply)
            return
        try:
            check_encoding(request)
            batch, accept = read_batch(self._reader, request)
        except RequestError as refused:
            reply(error_response(refused.status, str(refused)))
            return

        def deliver(outcome: Outcome) -> None:
            if isinstance(outcome, Exception):
                reply(_failure_response(outcome))
            else:
                reply(Response(200, formats.write(accept, outcome, batch), accept))

        self._queue.submit(batch.rows, deliver, lambda: not request.abandoned)

    async def _answer_spooled(self, request: Request) -> Response:
        """Return the answer to a large body."""
        with cast("BinaryIO", request.spool_file) as file:
            try:
                check_encoding(request)
                content_type = request.headers.get("content-type", "")
                accept = formats.choose(request.headers.get("accept", ""), content_type)
                blocks = self._reader.blocks(content_type, file, request.received)
                return Response(
                    200, await answer_blocks(request, blocks, accept, self._queue), accept
                )
            except Exception as error:  # noqa: BLE001 - the client has to be answered, whatever it was
                return _failure_response(error)

    def _execution_parameters(self, request: Request, reply: Reply) -> None:  # noqa: ARG002
        parameters = {
            "MaxConcurrentTransforms": self._options.workers,
            "BatchStrategy": "MULTI_RECORD",
            # SageMaker takes 6 where nobody says
            "MaxPayloadInMB": min(self._options.max_payload_mb, 6),
        }
        reply(Response(200, orjson.dumps(parameters), "application/json"))


def _failure_response(error: Exception) -> Response:
    if isinstance(error, RequestError):
        return error_response(error.status, str(error))
    if isinstance(error, OSError):
        return error_response(507, f"The answer cannot be kept: {error.strerror}.")
    print(f"The model failed: {error}", file=sys.stderr, flush=True)  # noqa: T201
    return error_response(500, f"The model failed: {error}")


def ping(request: Request, reply: Reply) -> None:  # noqa: ARG001 - a handler
    """Answer that this server is up."""
    reply(Response())


def follow_route(routes: Mapping[str, Route], request: Request, reply: Reply) -> None:
    """Let the route of a request's path answer it; 404 or 405 where there is none."""
    route = routes.get(request.path)
    if route is None:
        reply(error_response(404, f"There is nothing at {request.path}."))
    elif request.method != route[0]:
        response = error_response(405, f"{request.path} takes {route[0]}, got {request.method}.")
        response.headers = [("allow", route[0])]
        reply(response)
    else:
        route[1](request, reply)


def check_encoding(request: Request) -> None:
    """Refuse a body that is compressed."""
    if request.headers.get("content-encoding", "identity") != "identity":
        raise RequestError(415, "The body must not be compressed.")


def read_batch(reader: formats.Reader, request: Request) -> tuple[formats.InputBatch, str]:
    """Return the rows of a request's body, and the type to answer in, unless one is refused."""
    content_type = request.headers.get("content-type", "")
    batch = reader.read(content_type, request.body)
    return batch, formats.choose(request.headers.get("accept", ""), content_type)
