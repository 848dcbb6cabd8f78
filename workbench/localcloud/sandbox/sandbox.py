"""A worker process that serves a model, as an instance on AWS would; it never outlives this one.

It ends when this process does, kill -9 included: it holds the read end of a pipe whose other end
only this process has.
"""

import asyncio
import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from workbench.errors import CloudError, InvalidInput
from workbench.localcloud.sandbox.cgroups import ResourceLimits, create_group
from workbench.localcloud.sandbox.fork_servers import ForkFailed, ForkServers
from workbench.localcloud.sandbox.worker import Worker, build_environment, launch

Mode = Literal["fresh", "imported", "snapshot"]
"""How a sandbox starts: as a new process; forked from one that has ONNX Runtime imported; or forked
from one that has this very model loaded and warm."""

GRACE = 30.0
"""Seconds between SIGTERM and SIGKILL, as on SageMaker."""

_HOST = "127.0.0.1"
_TAIL_LINES = 20  # lines


class SandboxFailed(CloudError):
    """A worker process never listened; the message holds the end of its log."""


@dataclass(eq=False)
class Sandbox:
    """A worker process that answers at `address`.

    Attributes:
        pid: Its number.
        address: Host and port.
        mode: How it was started.
        seconds: From the start until it listened, its model loaded.
        limited: Whether memory and processors are limited; False where the machine does not allow
            it, or no memory was given.
        log: What it wrote to its standard output and error.
        home: Its own folder, which goes when it is stopped.
    """

    pid: int
    address: tuple[str, int]
    mode: Mode
    seconds: float
    limited: bool
    log: Path
    home: Path
    _worker: Worker = field(repr=False)

    async def stop(self, grace: float = GRACE) -> int:
        """Have it finish what is in flight and end, kill it after `grace` seconds; its status."""
        status = await self._worker.stop(grace)
        shutil.rmtree(self.home, ignore_errors=True)
        return status

    async def wait_exit(self) -> int:
        """Return its exit status once it has ended, negative for the signal that ended it."""
        return await asyncio.shield(self._worker.ended)


async def start(
    model_folder: str | Path,
    *,
    log: str | Path,
    mode: Mode = "fresh",
    fork_servers: ForkServers | None = None,
    limits: ResourceLimits | None = None,
    environment: Mapping[str, str] | None = None,
    timeout: float = 60.0,
) -> Sandbox:
    """Return a sandbox that serves the model of a folder, once it listens.

    Args:
        model_folder: What `model.tar.gz` was unpacked to.
        log: The file that its output is added to.
        mode: How it is started.
        fork_servers: What it is forked from, unless it is fresh. Getting that ready is no part of
            the sandbox's `seconds`.
        limits: Of its memory and processors; None for none. Memory that a fork shares with what it
            was forked from does not count.
        environment: Variables of the container, as in `CreateModel`.
        timeout: Seconds until it must listen.

    Raises:
        SandboxFailed: It ended, or did not answer in time; nothing of it is left.
        InvalidInput: A snapshot would have several threads.
        OSError: The machine has no process, memory or file descriptor left for it.
    """
    log, home = Path(log), Path(log).with_suffix(".home")
    home.mkdir(0o700, exist_ok=True)
    variables = build_environment(environment or {}, home)
    arguments = ["serve", "--host", _HOST, "--port", "0", "--model", str(model_folder)]
    try:
        if mode == "fresh":
            began = time.perf_counter()
            group = create_group(limits) if limits else None
            program = ["__main__.py", *arguments]
            worker = launch(program, log, environment=variables, limits=group)
        else:
            assert fork_servers is not None  # noqa: S101 - who asks for a fork has them
            loaded = Path(model_folder) if mode == "snapshot" else None
            try:
                async with asyncio.timeout(timeout):
                    worker, began = await _fork(
                        fork_servers, loaded, arguments, log, limits=limits, environment=variables
                    )
            except TimeoutError as error:
                raise SandboxFailed(
                    f"The process to fork from did nothing for {timeout:g} s. {_read_tail(log)}"
                ) from error
        port = await _await_port(worker, log, timeout)
    except BaseException:
        shutil.rmtree(home, ignore_errors=True)
        raise
    return Sandbox(
        pid=worker.pid,
        address=(_HOST, port),
        mode=mode,
        seconds=time.perf_counter() - began,
        limited=worker.limited,
        log=log,
        home=home,
        _worker=worker,
    )


async def _fork(
    fork_servers: ForkServers,
    loaded: Path | None,
    arguments: list[str],
    log: Path,
    *,
    limits: ResourceLimits | None,
    environment: Mapping[str, str],
) -> tuple[Worker, float]:
    """Return a fork, of the process that has a model `loaded`, and when it was begun."""
    if loaded is not None and environment.get("WORKBENCH_THREADS", "1") != "1":
        raise InvalidInput(
            "A snapshot runs with one thread, because a fork copies no others: leave "
            'WORKBENCH_THREADS out, or start it as "imported".'
        )
    group = None
    try:
        parent = await fork_servers.prepare(loaded, log=log)
        began = time.perf_counter()
        group = create_group(limits) if limits else None
        try:
            worker = await parent.fork(arguments, log=log, environment=environment, limits=group)
        except asyncio.CancelledError:  # most likely it has hung: the next one gets another
            await fork_servers.stop_fork_server(loaded)
            raise
    except BaseException as error:
        if group is not None:
            group.remove()
        if isinstance(error, ForkFailed):
            raise SandboxFailed(f"{error} {_read_tail(log)}") from error
        raise
    return worker, began


async def _await_port(worker: Worker, log: Path, timeout: float) -> int:
    """Return the port once it listens there; else nothing of the process is left."""
    # that is as good as an answer to /ping: our server announces its port from the loop that
    # answers, with its model loaded, and /ping asks nothing else
    try:
        async with asyncio.timeout(timeout):
            return await worker.wait_for_port()
    except (TimeoutError, EOFError) as error:
        status = await worker.stop(0)
        slow = isinstance(error, TimeoutError)
        why = f"did not listen within {timeout:g} s" if slow else f"ended with {status}"
        if worker.ran_out_of_memory:
            why = "needed more memory than it may have"
        raise SandboxFailed(f"The container {why}. {_read_tail(log)}") from error
    except BaseException:
        await worker.stop(0)
        raise


def _read_tail(log: Path) -> str:
    lines = log.read_text(errors="replace").splitlines()[-_TAIL_LINES:] if log.exists() else []
    return "\n".join(lines) or "It wrote nothing."
