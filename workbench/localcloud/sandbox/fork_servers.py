"""Processes that sandboxes are forked from: with ONNX Runtime imported, or a model loaded too."""

import asyncio
import itertools
import json
import os
import signal
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from workbench.errors import CloudError
from workbench.localcloud.sandbox.cgroups import ControlGroup
from workbench.localcloud.sandbox.worker import Pipes, Worker, build_environment, launch

_START_SECONDS = 10.0  # that a process which is not wanted any more has to become ready
_MAX_MESSAGE_BYTES = 4096  # of an answer


class ForkFailed(CloudError):
    """The process to fork from ended, most often because the model cannot be loaded."""


class ForkServers:
    """The processes that sandboxes are forked from, each started when it is first needed."""

    def __init__(self) -> None:
        self._parents: dict[Path | None, asyncio.Task[ForkServerClient]] = {}

    async def prepare(self, model_folder: Path | None, *, log: Path) -> "ForkServerClient":
        """Return the process that has this model loaded; None for the one without a model.

        Raises:
            ForkFailed: The model cannot be loaded.
        """
        starting = self._parents.get(model_folder)
        if starting is None or (starting.done() and not _lives(starting)):
            starting = asyncio.get_running_loop().create_task(_start(model_folder, log))
            self._parents[model_folder] = starting
        return await asyncio.shield(starting)

    async def stop_fork_server(self, model_folder: Path | None) -> None:
        """End the process that has this model loaded; what was forked from it goes on."""
        starting = self._parents.pop(model_folder, None)
        if starting is not None:
            await _end(starting)

    async def close(self) -> None:
        """End every process to fork from."""
        parents, self._parents = self._parents, {}
        for starting in parents.values():
            await _end(starting)


def _lives(starting: "asyncio.Task[ForkServerClient]") -> bool:
    failed = starting.cancelled() or starting.exception() is not None
    return not failed and not starting.result().worker.ended.done()


async def _end(starting: "asyncio.Task[ForkServerClient]") -> None:
    _, late = await asyncio.wait([starting], timeout=_START_SECONDS)
    if late:
        starting.cancel()  # on which its process is killed
        await asyncio.wait([starting])
    if _lives(starting):
        await starting.result().worker.stop(0)


async def _start(model_folder: Path | None, log: Path) -> "ForkServerClient":
    here, there = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    program = ["fork_server.py", "--commands", str(there.fileno())]
    if model_folder is not None:
        program += ["--model", str(model_folder)]
    try:
        with there:
            worker = launch(
                program,
                log,
                environment=build_environment({}, home=log.parent),
                descriptors=(there.fileno(),),
            )
    except BaseException:
        here.close()
        raise
    parent = ForkServerClient(worker, here)
    try:
        await asyncio.shield(parent.ready)
    except ForkFailed:
        await worker.ended
        raise
    except asyncio.CancelledError:
        await worker.stop(0)
        raise
    return parent


class ForkServerClient:
    """This side of the socket to a process that forks."""

    def __init__(self, worker: Worker, link: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        self.worker = worker
        self.ready: asyncio.Future[None] = loop.create_future()
        self._link = link
        self._numbers = itertools.count()
        self._commands: dict[int, asyncio.Future[tuple[int, int]]] = {}
        self._statuses: dict[int, asyncio.Future[int]] = {}
        link.settimeout(0)
        loop.add_reader(link, self._on_packet)

    async def fork(
        self,
        arguments: list[str],
        *,
        log: Path,
        environment: Mapping[str, str],
        limits: ControlGroup | None,
    ) -> Worker:
        """Return a container forked from it.

        Raises:
            ForkFailed: It is gone, or cannot fork.
        """
        number, pipes = next(self._numbers), Pipes()
        self._commands[number] = asyncio.get_running_loop().create_future()
        command = {
            "number": number,
            "arguments": arguments,
            "environment": dict(environment),
            "procs_files": [str(file) for file in limits.procs_files] if limits else [],
        }
        try:
            self._send(command, log, pipes)
            pid, handle = await self._commands[number]
        except BaseException:
            pipes.close()  # on which it ends, if it was ever forked
            raise
        finally:
            del self._commands[number]
            pipes.close_child_ends()
        ended = self._statuses[pid]

        async def status() -> int:
            return await asyncio.shield(ended)

        return Worker(pid, handle, pipes=pipes, limits=limits, status=status)

    def _send(self, command: dict[str, Any], log: Path, pipes: Pipes) -> None:
        with log.open("ab") as output:
            descriptors = [*pipes.child_descriptors, output.fileno()]
            try:
                socket.send_fds(self._link, [json.dumps(command).encode()], descriptors)
            except OSError as error:
                raise ForkFailed(f"The process to fork from is gone: {error}.") from error

    def _on_packet(self) -> None:
        try:
            text, descriptors, _, _ = socket.recv_fds(self._link, _MAX_MESSAGE_BYTES, 1)
        except OSError:
            text, descriptors = b"", []
        if not text:
            self._on_end()
            return
        fact = json.loads(text)
        if "ready" in fact:
            self.ready.set_result(None)
        elif "ended" in fact:
            self._statuses.pop(fact["ended"]).set_result(fact["status"])
        else:
            self._on_start(fact, descriptors)

    def _on_start(self, fact: dict[str, int], handles: list[int]) -> None:
        loop = asyncio.get_running_loop()
        self._statuses[fact["started"]] = loop.create_future()
        waiting = self._commands.get(fact["command"])
        if waiting is None or waiting.done():  # whoever ordered it has gone, and it ends with that
            for handle in handles:
                os.close(handle)
        elif not handles:  # the kernel drops what there is no descriptor for (man 7 unix)
            waiting.set_exception(ForkFailed("There are no file descriptors left."))
        else:
            waiting.set_result((fact["started"], handles[0]))

    def _on_end(self) -> None:
        asyncio.get_running_loop().remove_reader(self._link)
        self._link.close()
        failed = ForkFailed("The process to fork from ended.")
        if not self.ready.done():
            self.ready.set_exception(failed)
        for waiting in self._commands.values():
            if not waiting.done():
                waiting.set_exception(failed)
        for status in self._statuses.values():  # nobody is left who could tell
            status.set_result(-signal.SIGKILL)
