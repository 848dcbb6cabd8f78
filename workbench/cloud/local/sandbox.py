"""A worker process that serves a model, as an instance on AWS would; it never outlives this one.

It ends when this process does, kill -9 included: it holds the read end of a pipe whose other end
only this process has.
"""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from workbench.cloud.local.limits import Group, group
from workbench.errors import CloudError

Mode = Literal["fresh", "imported", "snapshot"]
"""How a sandbox starts: as a new process; forked from one that has ONNX Runtime imported; or forked
from one that has this very model loaded and warm."""

GRACE = 30.0
"""Seconds between SIGTERM and SIGKILL, as on SageMaker."""

_ROOT = Path(__file__).parents[3]
_KEPT = ("HOME", "LANG", "LD_LIBRARY_PATH", "PATH", "TMPDIR", "VIRTUAL_ENV")
_TAIL = 20  # lines
_PAUSE = 0.02  # seconds between two calls of /ping
_PING_LIMIT = 2.0  # seconds: SageMaker developer guide, "... Respond to Health Check Requests"


class SandboxFailed(CloudError):
    """A worker process never answered /ping with 200; the message holds the end of its log."""


@dataclass(eq=False)
class Sandbox:
    """A worker process that answers at `address`.

    Attributes:
        pid: Its number.
        address: Host and port.
        mode: How it was started.
        seconds: From the start until /ping was answered with 200.
        limited: Whether memory and processors are limited; False where the machine does not allow
            it, or no memory was given.
        log: What it wrote to its standard output and error.
    """

    pid: int
    address: tuple[str, int]
    mode: Mode
    seconds: float
    limited: bool
    log: Path
    _process: "_Process" = field(repr=False)

    async def stop(self, grace: float = GRACE) -> int:
        """Have it finish what is in flight and end, kill it after `grace` seconds; its status."""
        return await self._process.stop(grace)

    async def exited(self) -> int:
        """Return its exit status once it has ended, negative for the signal that ended it."""
        return await asyncio.shield(self._process.ended)

    def tail(self) -> str:
        """Return the last lines of its log."""
        return _tail(self.log)


async def start(
    model_folder: str | Path,
    *,
    log: str | Path,
    mode: Mode = "fresh",
    memory_mb: int | None = None,
    environment: Mapping[str, str] | None = None,
    timeout: float = 60.0,
) -> Sandbox:
    """Return a sandbox that serves the model of a folder, once it answers /ping.

    Args:
        model_folder: What `model.tar.gz` was unpacked to.
        log: The file that its output is added to.
        mode: How it is started.
        memory_mb: Limits its memory and, in proportion, its processors; None for no limits.
        environment: Variables of the container, as in `CreateModel`.
        timeout: Seconds until /ping must be answered.

    Raises:
        SandboxFailed: It ended, or did not answer in time; nothing of it is left.
    """
    began = time.perf_counter()
    process = _launch(Path(model_folder), Path(log), memory_mb, environment or {})
    try:
        async with asyncio.timeout(timeout):
            address = await process.announced()
            await _ping(address)
    except (TimeoutError, EOFError) as error:
        slow = isinstance(error, TimeoutError)
        status = await process.stop(0)
        ended = f"did not answer /ping within {timeout:g} s" if slow else f"ended with {status}"
        why = "needed more memory than it may have" if process.ran_out_of_memory else ended
        raise SandboxFailed(f"The container {why}. {_tail(Path(log))}") from error
    except BaseException:
        await process.stop(0)
        raise
    return Sandbox(
        pid=process.pid,
        address=address,
        mode=mode,
        seconds=time.perf_counter() - began,
        limited=process.group is not None,
        log=Path(log),
        _process=process,
    )


class _Process:
    """A worker process, watched until it has ended and everything of it is cleared away."""

    def __init__(
        self,
        pid: int,
        *,
        pipes: "_Pipes",
        limits: Group | None,
        status: Callable[[], Awaitable[int]],
    ) -> None:
        self.pid = pid
        self.group = limits
        self.ran_out_of_memory = False
        self.ended: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._pipes = pipes
        self._status = status
        self._handle = os.pidfd_open(pid)
        self._clearing: asyncio.Task[None] | None = None
        asyncio.get_running_loop().add_reader(self._handle, self._on_end)

    async def announced(self) -> tuple[str, int]:
        """Return where it listens; EOFError if it ended before it did."""
        text = b""
        while not text.endswith(b"\n"):
            await _readable(self._pipes.announced)
            part = os.read(self._pipes.announced, 64)
            if not part:
                raise EOFError
            text += part
        return "127.0.0.1", int(text)

    async def stop(self, grace: float) -> int:
        if grace:
            self._signal(signal.SIGTERM)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(asyncio.shield(self.ended), grace)
        self._signal(signal.SIGKILL)
        return await asyncio.shield(self.ended)

    def _signal(self, number: signal.Signals) -> None:
        """Send a signal by the handle, which never means another process of the same number."""
        if self._clearing is None:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._handle, number)

    def _on_end(self) -> None:
        loop = asyncio.get_running_loop()
        loop.remove_reader(self._handle)
        self._clearing = loop.create_task(self._clear())

    async def _clear(self) -> None:
        os.close(self._handle)
        self._pipes.close()
        status = await self._status()
        if self.group is not None:
            self.ran_out_of_memory = self.group.ran_out_of_memory()
            while not self.group.remove():
                await asyncio.sleep(_PAUSE)
        self.ended.set_result(status)


class _Pipes:
    """The lifeline to a process, and the pipe on which it tells its port."""

    def __init__(self) -> None:
        self.lifeline, self._held = os.pipe()
        self.announced, self.announce = os.pipe()

    @property
    def passed(self) -> tuple[int, int]:
        """The ends of the process."""
        return self.lifeline, self.announce

    def hand_over(self) -> None:
        """Close what only the process needs from now on."""
        for end in self.passed:
            os.close(end)

    def close(self) -> None:
        """Close what is left."""
        os.close(self._held)
        os.close(self.announced)


def _launch(
    folder: Path, log: Path, memory_mb: int | None, environment: Mapping[str, str]
) -> _Process:
    limits = None if memory_mb is None else group(memory_mb)
    pipes = _Pipes()
    with log.open("ab") as output:
        child = subprocess.Popen(  # noqa: S603 - this interpreter, with a constant program
            [
                *(sys.executable, "-P", "-m", "workbench.cloud.container", "serve"),
                *("--host", "127.0.0.1", "--port", "0", "--model", str(folder)),
                *("--lifeline", str(pipes.lifeline), "--announce", str(pipes.announce)),
            ],
            env=_environment(environment),
            pass_fds=pipes.passed,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,  # a terminal's Ctrl-C is not for it
        )
    pipes.hand_over()
    if limits is not None:
        with contextlib.suppress(ProcessLookupError):
            limits.add(child.pid)

    async def status() -> int:
        return child.wait()

    return _Process(child.pid, pipes=pipes, limits=limits, status=status)


def _environment(given: Mapping[str, str]) -> dict[str, str]:
    """What a container sees: its own variables, and of this process's what a program needs."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if name in _KEPT or name.startswith("COVERAGE")
    }
    return {**kept, "PYTHONPATH": str(_ROOT), **given}


async def _ping(address: tuple[str, int]) -> None:
    """Return once /ping is answered with 200."""
    while True:
        with contextlib.suppress(OSError, TimeoutError):
            async with asyncio.timeout(_PING_LIMIT):
                if await _status_of(address, "/ping") == 200:
                    return
        await asyncio.sleep(_PAUSE)


async def _status_of(address: tuple[str, int], path: str) -> int:
    reader, writer = await asyncio.open_connection(*address)
    try:
        writer.write(
            f"GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n".encode()
        )
        words = (await reader.readline()).split()
        return int(words[1]) if len(words) > 1 else 0
    finally:
        writer.close()


async def _readable(descriptor: int) -> None:
    loop = asyncio.get_running_loop()
    ready = loop.create_future()
    loop.add_reader(descriptor, _settle, ready)
    try:
        await ready
    finally:
        loop.remove_reader(descriptor)


def _settle(ready: asyncio.Future[None]) -> None:
    if not ready.done():
        ready.set_result(None)


def _tail(log: Path) -> str:
    lines = log.read_text(errors="replace").splitlines()[-_TAIL:] if log.exists() else []
    return "\n".join(lines) or "It wrote nothing."
