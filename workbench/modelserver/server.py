"""The life of a container: load, listen, answer, and end when asked to."""

import asyncio
import dataclasses
import gc
import math
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import uvloop

from workbench.modelserver.contract import Contract, error_response, open_spool
from workbench.modelserver.engine import Engine, ModelLoadError
from workbench.modelserver.http import Server, ServerSettings
from workbench.modelserver.options import MB, ServerOptions

GRACE = 25.0
"""Seconds for what is in flight at SIGTERM: SageMaker kills a container after 30."""


def serve_and_exit(options: ServerOptions, load_model: Callable[[], Engine]) -> NoReturn:
    """Serve a model and exit: with 0 once asked to end, with 1 if it cannot be served."""
    try:
        serve(load_model(), options)
        status = 0
    except (ModelLoadError, OSError) as error:
        print(error, file=sys.stderr)  # noqa: T201
        status = 1
    sys.stderr.flush()
    os._exit(status)  # a model that hangs in its thread must not keep the process


def load(folder: Path, *, threads: int) -> Engine:
    """Return the model of a folder, warm, with all memory that is in use now left to itself."""
    engine = Engine(folder, threads=threads)
    engine.warm()
    freeze_garbage_collector()
    return engine


def freeze_garbage_collector() -> None:
    """Have the garbage collector leave alone all that is there now.

    A full collection over every module would stop answers for tens of milliseconds.
    """
    gc.freeze()
    gc.enable()


def serve(engine: Engine, options: ServerOptions) -> None:
    """Answer until SIGTERM or SIGINT, then finish what is in flight."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve(engine, options))


async def _serve(engine: Engine, options: ServerOptions) -> None:
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ended.set)
    contract = Contract(engine, options)
    if contract.note:
        print(contract.note, file=sys.stderr)  # noqa: T201
    most = options.max_payload_mb * MB
    settings = ServerSettings(
        contract.handle, error_response, max_body=most, spool=open_spool, max_spooled=most
    )
    if options.announce is not None:  # a local cloud keeps connections, which must not break
        settings = dataclasses.replace(settings, idle_timeout=math.inf)
    server = Server(settings)
    port = await server.listen(options.host, options.port)
    print(f"Serving at http://{options.host}:{port}", file=sys.stderr, flush=True)  # noqa: T201
    if options.announce is not None:
        os.write(options.announce, b"%d\n" % port)
    await ended.wait()
    await server.close(GRACE)
