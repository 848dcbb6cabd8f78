"""A process that serves a model, its pipes and its limits, from its start until all is cleared."""

import asyncio
import contextlib
import os
import signal
import site
import subprocess
import sys
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

from workbench.localcloud.sandbox.cgroups import ControlGroup

_ROOT = Path(__file__).parents[3]  # where `workbench` lies
_PROGRAMS = _ROOT / "workbench" / "modelserver"
_INHERITED_VARIABLES = ("LANG", "LD_LIBRARY_PATH", "PATH", "VIRTUAL_ENV")
_POLL_SECONDS = 0.01  # between two tries
_CLEAR_TRIES = 1000  # of removing the groups of a process that has ended


class Pipes:
    """The pipe that ends a process with its parent, and the one on which it announces its port."""

    def __init__(self) -> None:
        self.parent_death_pipe, self._held = os.pipe()
        try:
            self.port_pipe, self.announce = os.pipe()
        except OSError:
            os.close(self.parent_death_pipe)
            os.close(self._held)
            raise

    @property
    def child_descriptors(self) -> tuple[int, int]:
        """The ends of the process."""
        return self.parent_death_pipe, self.announce

    def close_child_ends(self) -> None:
        """Close what only the process needs from now on."""
        for end in self.child_descriptors:
            os.close(end)

    def close(self) -> None:
        """Close what is left, on which the process ends if it still runs."""
        os.close(self._held)
        os.close(self.port_pipe)


class Worker:
    """A process, watched until it has ended and everything of it is cleared away.

    Args:
        pid: Its number.
        handle: A descriptor that means this process for good (pidfd).
        pipes: Those it was given, closed on its end.
        limits: The groups it is in, removed on its end.
        status: Gives its exit status once it has ended.

    Attributes:
        ended: Its exit status, negative for the signal that ended it.
        ran_out_of_memory: Whether it was ended because it needed more than it may have.
    """

    def __init__(
        self,
        pid: int,
        handle: int,
        *,
        pipes: Pipes,
        limits: ControlGroup | None,
        status: Callable[[], Awaitable[int]],
    ) -> None:
        loop = asyncio.get_running_loop()
        self.pid = pid
        self.ended: asyncio.Future[int] = loop.create_future()
        self.ran_out_of_memory = False
        self._handle = handle
        self._pipes = pipes
        self._limits = limits
        self._status = status
        self._clearing: asyncio.Task[None] | None = None
        self._said = b""  # on the pipe for its port
        self._port: asyncio.Future[int | None] = loop.create_future()
        loop.add_reader(handle, self._on_end)
        loop.add_reader(pipes.port_pipe, self._on_announcement)

    @property
    def limited(self) -> bool:
        """Whether its memory and processors are limited."""
        return self._limits is not None

    async def wait_for_port(self) -> int:
        """Return its port.

        Raises:
            EOFError: It ended before it listened.
        """
        if (port := await asyncio.shield(self._port)) is None:
            raise EOFError
        return port

    async def stop(self, grace: float) -> int:
        """Tell it to end, kill it after `grace` seconds, and return its exit status."""
        if grace:
            self._signal(signal.SIGTERM)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(asyncio.shield(self.ended), grace)
        self._signal(signal.SIGKILL)
        return await asyncio.shield(self.ended)

    def _signal(self, number: signal.Signals) -> None:
        if self._clearing is None:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._handle, number)

    def _on_announcement(self) -> None:
        part = os.read(self._pipes.port_pipe, 64)
        self._said += part
        if not part:
            self._set_port(None)
        elif self._said.endswith(b"\n"):
            self._set_port(int(self._said))

    def _set_port(self, port: int | None) -> None:
        asyncio.get_running_loop().remove_reader(self._pipes.port_pipe)
        if not self._port.done():
            self._port.set_result(port)

    def _on_end(self) -> None:
        loop = asyncio.get_running_loop()
        loop.remove_reader(self._handle)
        self._set_port(None)  # before the pipe is closed, and its number another file's
        self._clearing = loop.create_task(self._clear())

    async def _clear(self) -> None:
        os.close(self._handle)
        self._pipes.close()
        status = await self._status()
        if self._limits is not None:
            self.ran_out_of_memory = self._limits.ran_out_of_memory()
            for _ in range(_CLEAR_TRIES):  # what is still in use then, the next cloud removes
                if self._limits.remove():
                    break
                await asyncio.sleep(_POLL_SECONDS)
        self.ended.set_result(status)


def launch(
    program: list[str],
    log: Path,
    *,
    environment: Mapping[str, str],
    limits: ControlGroup | None = None,
    descriptors: tuple[int, ...] = (),
    own: bool = True,
) -> Worker:
    """Return a new process of this Python with the pipes to end it and to announce its port on.

    The program is a file of `workbench.modelserver` and its arguments: to look for a module with
    `-m` takes 8 ms. A program that is our `own` takes this process's search path as it is, without
    another 17 ms for `site` and what that finds.

    Raises:
        OSError: It cannot be started: no process, memory or descriptor is to be had. Nothing of it
            is left, its limits neither.
    """
    program = [str(_PROGRAMS / program[0]), *program[1:]]
    flags = ["-P"]
    if own and not any(name.startswith("COVERAGE") for name in environment):  # begun by `site`
        flags.append("-S")
        path = [environment.get("PYTHONPATH", ""), *sys.path]
        environment = {**environment, "PYTHONPATH": os.pathsep.join(filter(None, path))}
    with contextlib.ExitStack() as undo:
        if limits is not None:
            undo.callback(limits.remove)
        pipes = Pipes()
        undo.callback(pipes.close)
        try:
            with log.open("ab") as output:
                child = subprocess.Popen(  # noqa: S603 - this interpreter, with a constant program
                    [
                        *(sys.executable, *flags, *program),
                        *("--parent-death-pipe", str(pipes.parent_death_pipe)),
                        *("--announce", str(pipes.announce)),
                    ],
                    env=environment,
                    pass_fds=(*pipes.child_descriptors, *descriptors),
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    start_new_session=True,  # a terminal's Ctrl-C is not for it
                )
        finally:
            pipes.close_child_ends()
        undo.callback(_kill, child)
        if limits is not None:
            with contextlib.suppress(ProcessLookupError):
                limits.add(child.pid)

        async def status() -> int:
            return child.wait()

        handle = os.pidfd_open(child.pid)
        undo.callback(os.close, handle)
        worker = Worker(child.pid, handle, pipes=pipes, limits=limits, status=status)
        undo.pop_all()
        return worker


def _kill(child: "subprocess.Popen[bytes]") -> None:
    child.kill()
    child.wait()


def build_environment(given: Mapping[str, str], home: Path) -> dict[str, str]:
    """Return what a container sees: its own variables, and what any program needs of ours.

    Its HOME, and where it writes what is temporary, is a folder that is not the owner's: keys and
    settings lie in that one (~/.aws, ~/.ssh). Packages that pip has installed for the owner alone
    are found all the same.
    """
    kept = {name: value for name, value in os.environ.items() if name in _INHERITED_VARIABLES}
    if site.ENABLE_USER_SITE:
        kept["PYTHONUSERBASE"] = site.getuserbase()
    own = {"HOME": str(home), "TMPDIR": str(home), "PYTHONPATH": str(_ROOT)}
    return {**kept, **own, **given}
