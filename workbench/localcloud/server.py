"""The local cloud's one address: every call comes here and goes to the part that answers it.

A process of its own, with one loop. It ends, and everything that it started with it, when the other
end of its parent-death pipe is closed: whoever started it closed it, or died.
"""

import argparse
import asyncio
import errno
import gc
import json
import logging
import os
import re
import shutil
import signal
import sys
from collections.abc import Awaitable, Callable, Sequence
from contextlib import closing
from importlib.metadata import version
from pathlib import Path
from typing import BinaryIO

import uvloop

from workbench.errors import NotAvailable, WorkbenchError
from workbench.localcloud import moto_services
from workbench.localcloud.autoscaling.api import POLICY_ARN_PREFIX, Autoscaling
from workbench.localcloud.cloudtrail import parse_call
from workbench.localcloud.cloudwatch.log_writer import LogWriter
from workbench.localcloud.core.access import AccessControl
from workbench.localcloud.core.access_keys import AccessKey, make_access_key
from workbench.localcloud.core.dispatch import JsonService, RestService
from workbench.localcloud.core.formats import refuse
from workbench.localcloud.core.protocol import (
    ACCOUNT,
    REGION,
    AwsError,
    Scope,
    json_error,
    json_response,
    new_id,
    not_implemented_error,
    parse_scope,
    set_region,
)
from workbench.localcloud.core.settings import LocalCloudSettings
from workbench.localcloud.core.store import Store
from workbench.localcloud.core.tags import Tags
from workbench.localcloud.eventbridge import TARGETS
from workbench.localcloud.lambda_.code_packages import CODE_PATH
from workbench.localcloud.lambda_.functions import Functions
from workbench.localcloud.lambda_.invoke import FunctionInvoker
from workbench.localcloud.lambda_.metrics import FunctionMetrics
from workbench.localcloud.observability import Monitoring
from workbench.localcloud.price_list import get_products
from workbench.localcloud.s3.api import S3
from workbench.localcloud.sagemaker.async_endpoints import AsyncInvoker
from workbench.localcloud.sagemaker.async_queue import AsyncQueue
from workbench.localcloud.sagemaker.data_capture import DataCapture
from workbench.localcloud.sagemaker.endpoint_api import EndpointApi
from workbench.localcloud.sagemaker.invoke import EndpointInvoker
from workbench.localcloud.sagemaker.model_packages import Packages
from workbench.localcloud.sagemaker.transform_jobs import TransformJobApi
from workbench.modelserver import http
from workbench.modelserver.http import Reply, Request, Response, Server, make_handler

HEALTH = "/_workbench/health"
STATE = "/_workbench/state"
"""Answers with the settings and instances of the endpoints."""

_S3_BODIES = {408: "RequestTimeout", 413: "EntityTooLarge"}  # which clients try again, or not
_MAX_BODY = 70_167_211  # of what is no upload: Lambda's CreateFunction; others have lower limits
_BODILESS = (204, 304)  # statuses that HTTP gives no body
_GRACE = 5.0  # seconds for answers that are under way
_MAX_SHUTDOWN = 60  # seconds, whole as signals have them
_NAME = re.compile("[a-z][a-z0-9-]{1,39}")  # of a service, as requests are signed for it
_log = logging.getLogger("workbench.localcloud")


class Dispatcher:
    """Takes each request to the part of the cloud that answers it."""

    def __init__(self, store: Store, settings: LocalCloudSettings, access: AccessControl) -> None:
        self._store = store
        self._s3 = S3(store, access)
        tags = Tags(store)
        packages = Packages(store, tags)
        self._hosting = EndpointApi(store, self._s3, packages, store.path / "hosting", settings)
        self._log_writer = LogWriter(store)
        self._monitoring = Monitoring(store, self._hosting, packages, self._log_writer)
        self._capture = DataCapture(store, self._s3.objects)
        self._invoking = EndpointInvoker(
            self._hosting, self._monitoring.metering.record, self._capture
        )
        self._jobs = TransformJobApi(
            store,
            self._s3,
            packages,
            store.path / "jobs",
            on_change=self._monitoring.publish_job_event,
        )
        self._functions = Functions(
            store, tags, self._s3, store.path / "lambda", settings=settings, key=access.key
        )
        record = FunctionMetrics(self._monitoring.metrics).record
        self._calling = FunctionInvoker(self._functions.table, self._log_writer, record)
        self._asynchronous = AsyncInvoker(
            self._hosting,
            AsyncQueue(store),
            self._s3.objects,
            self._monitoring.events.publish,
            self._monitoring.metrics,
        )
        self._autoscaling = Autoscaling(
            store,
            self._hosting,
            self._monitoring.metrics,
            self._monitoring.alarms,
            minute=settings.scaling_minute,
            sample=self._monitoring.metering.sample_concurrency,
        )
        self._monitoring.alarms.on_action(POLICY_ARN_PREFIX, self._autoscaling.apply_step_policy)
        sagemaker = {
            **tags.operations(),
            **packages.operations(),
            **self._hosting.operations(),
            **self._jobs.operations(),
        }
        services = [
            JsonService("application-autoscaling", self._autoscaling.operations()),
            JsonService("cloudtrail", self._monitoring.trail.operations()),
            RestService("lambda", self._functions.operations()),
            JsonService("pricing", {"GetProducts": get_products}),
            JsonService("sagemaker", sagemaker),
        ]
        self._services: dict[str, Callable[[Request], Awaitable[Response]]] = {
            **{service.name: service.answer for service in services},
            # CloudWatch, as requests are signed for it
            "monitoring": self._monitoring.cloudwatch.answer,
            "s3": self._s3.answer,
        }
        self._later = make_handler(self._answer)

    async def start(self, url: str) -> None:
        """Bring back what ran when the folder was last in use; this answers at `url`."""
        await self._monitoring.start()
        await self._hosting.start()
        self._jobs.start()
        self._asynchronous.start()
        self._autoscaling.start()
        await self._functions.start(url)
        loop = asyncio.get_running_loop()

        def call(function: str, event: str) -> None:
            loop.call_soon_threadsafe(self._calling.invoke_event, function, event)

        TARGETS["lambda"] = call

    async def close(self) -> None:
        """End what was started."""
        await self._functions.close()
        await self._autoscaling.close()
        await self._asynchronous.close()
        await self._jobs.close()
        await self._hosting.close()
        await self._capture.close()
        await self._monitoring.close()

    def handle(self, request: Request, reply: Reply) -> None:
        """Answer a request."""
        path = request.path
        # a bucket may be called so: S3's own POSTs of objects have a query
        if path.startswith("/endpoints/") and request.method == "POST" and not request.query:
            asynchronous = path.endswith("/async-invocations")
            (self._asynchronous if asynchronous else self._invoking).handle(request, reply)
        elif self._calling.takes(request):
            self._calling.handle(request, reply)
        else:
            self._later(request, reply)

    def spool(self, request: Request) -> BinaryIO | None:
        """Return what takes in a body that is not for the memory."""
        if request.method != "PUT" or _find_scope(request).service != "s3":
            return None
        return self._s3.spool(request)

    async def _answer(self, request: Request) -> Response:
        scope = _find_scope(request)
        try:
            response = await self._dispatch(request, scope)
        except AwsError as error:
            response = refuse(error, request, scope.service)
        except Exception:  # noqa: BLE001 - the client has to be answered, whatever it was
            _log.exception("%s %s failed", request.method, request.path)
            failure = AwsError("InternalFailure", "The local cloud failed; its log says why.", 500)
            response = refuse(failure, request, scope.service)
        self._monitoring.record(parse_call(request, scope), response)
        if scope.service == "s3":
            response.headers = [*response.headers, ("x-amz-request-id", new_id())]
        if request.method == "HEAD" or response.status in _BODILESS:
            response.bodiless = True
        return response

    async def _dispatch(self, request: Request, scope: Scope) -> Response:
        if request.path == HEALTH:
            health = {"version": version("inference-workbench"), "path": str(self._store.path)}
            return json_response(health | {"account": ACCOUNT, "region": REGION})
        if request.path == STATE:
            state = {
                "jobs": self._jobs.state(),
                "functions": self._functions.state(),
                "backlogs": self._asynchronous.backlogs(),
            }
            return json_response(self._hosting.state() | state)
        if request.path.startswith(CODE_PATH):
            return self._functions.packages.fetch(request)
        set_region(scope.region)
        if scope.service in self._services:
            return await self._services[scope.service](request)
        if scope.service in moto_services.SERVICES:
            if scope.service == "logs":
                await self._monitoring.fetch_logs()
            return await moto_services.answer(self._store, request, scope.service)
        if not _NAME.fullmatch(scope.service):
            raise AwsError("IncompleteSignature", f"{scope.service!r} names no service of AWS.")
        raise not_implemented_error(f"The service {scope.service!r}")


def _find_scope(request: Request) -> Scope:
    """Return what a request is meant for; S3 where it is not signed."""
    return parse_scope(request) or Scope("s3")


def _error_response(status: int, reason: str) -> Response:
    """Return the answer to what is not a request at all."""
    return json_error(AwsError("BadRequest", reason, status))


def _refuse_body(status: int, reason: str, request: Request) -> Response:
    """Return the answer to a body that cannot be taken, as clients of its service read it."""
    service, error = _find_scope(request).service, AwsError("BadRequest", reason, status)
    if service == "s3" and status in _S3_BODIES:
        # S3 answers both with 400 (API reference, "Error responses")
        error = AwsError(_S3_BODIES[status], reason, 400)
    return refuse(error, request, service)


# --- the process


def serve(
    path: Path,
    *,
    port: int,
    ready: Callable[[str, AccessKey], object],
    parent_death_pipe: int,
    settings: LocalCloudSettings,
) -> None:
    """Be a local cloud until SIGINT or SIGTERM comes, or its parent ends.

    Args:
        path: The folder that it keeps everything in.
        port: To listen at, on 127.0.0.1; 0 takes a free one.
        ready: Called with its URL and its access key, a new one at each start, once it answers.
        parent_death_pipe: A descriptor that is readable when it is time to end.
        settings: How its endpoints behave.

    Raises:
        NotAvailable: The port is taken, or another local cloud has the folder.
        StorageError: The folder cannot be written.
    """

    async def run(store: Store) -> None:
        ended = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, ended.set)
        loop.add_reader(parent_death_pipe, ended.set)
        access = AccessControl(make_access_key(), open_paths=[HEALTH])
        front = Dispatcher(store, settings, access)
        handle, spool = access.guard(front.handle), access.guard_spool(front.spool)
        server = Server(
            http.ServerSettings(
                handle, _error_response, _MAX_BODY, spool, refuse_request=_refuse_body
            )
        )
        access.port = await _listen(server, port)
        url = f"http://127.0.0.1:{access.port}"
        try:
            await front.start(url)
            store.announce(url)
            gc.collect()
            gc.freeze()  # every module would be looked through again and again, while calls wait
            ready(url, access.key)
            await ended.wait()
        finally:
            loop.remove_reader(parent_death_pipe)
            signal.alarm(_MAX_SHUTDOWN)  # the system ends what cannot end by itself
            await server.close(_GRACE)
            await front.close()

    loop_factory = uvloop.new_event_loop
    with closing(Store(path)) as store, asyncio.Runner(loop_factory=loop_factory) as runner:
        runner.run(run(store))


async def _listen(server: Server, port: int) -> int:
    try:
        return await server.listen("127.0.0.1", port)
    except OSError as error:
        if error.errno not in (errno.EADDRINUSE, errno.EACCES):
            raise
        raise NotAvailable(
            f"Port {port} of this machine cannot be had: {os.strerror(error.errno)}. "
            "Choose another, or 0 for one that is free."
        ) from error


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the process that `LocalCloud` starts, and return its exit status."""
    parser = argparse.ArgumentParser(prog="python -m workbench.localcloud.server")
    parser.add_argument("--path", type=Path, required=True)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument(
        "--parent-death-pipe", type=int, required=True, help="ends this when it is closed"
    )
    parser.add_argument("--announce", type=int, required=True, help="where to write how it went")
    parser.add_argument("--temporary", action="store_true", help="remove the folder at the end")
    parser.add_argument("--settings", type=json.loads, default={}, help="of the endpoints")
    given = parser.parse_args(arguments)
    logging.basicConfig(format="%(asctime)s %(levelname)s %(message)s")

    announcement = os.fdopen(given.announce, "w")

    def announce(**facts: str) -> None:
        if not announcement.closed:
            announcement.write(json.dumps(facts) + "\n")
            announcement.close()

    try:
        serve(
            given.path,
            port=given.port,
            ready=lambda url, key: announce(url=url, key=key.id, secret=key.secret),
            parent_death_pipe=given.parent_death_pipe,
            settings=LocalCloudSettings(**given.settings),
        )
    except WorkbenchError as error:
        announce(error=type(error).__name__, message=str(error))
        return 1
    except Exception:  # noqa: BLE001 - who waits for the address reads it in the log
        _log.exception("The local cloud ended.")
        return 1
    finally:
        announcement.close()
    if given.temporary:
        shutil.rmtree(given.path, ignore_errors=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
