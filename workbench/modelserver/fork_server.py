"""A process that containers are forked from, so that they need not import or load anything.

`python -m workbench.modelserver.fork_server --commands FD --parent-death-pipe FD [--model FOLDER]`
imports all that a container needs, and with `--model` loads the model too. A command is a packet of
JSON with three descriptors: the pipe that ends the container with its parent, the one to announce
its port on, and its log. It is answered with the container's number and a handle on it; a
container's end is reported as it comes. The process has one thread only, since a fork copies no
others.
"""

import argparse
import contextlib
import gc
import json
import os
import select
import socket
import threading
import traceback
from pathlib import Path
from typing import Any, NoReturn

from workbench.modelserver.options import ServerOptions, parse
from workbench.modelserver.parent_death import exit_with_parent
from workbench.modelserver.runtime_env import configure_runtime_env

_MAX_COMMAND_BYTES = 128 * 1024  # a container's environment has 32 KB at most


class ForkServer:
    """Forks a container for each command that comes; any model is loaded beforehand."""

    def __init__(self, commands: socket.socket, model: Path | None) -> None:
        gc.disable()  # until all is loaded
        configure_runtime_env()
        from workbench.modelserver import server
        from workbench.modelserver.tiny_numbers import flush_tiny_numbers

        flush_tiny_numbers()  # what is forked has it from here
        self._commands = commands
        self._server = server
        self._engine = None if model is None else server.load(model, threads=1)
        server.freeze_garbage_collector()
        self._children: dict[int, int] = {}  # handle -> pid

    def run(self) -> None:
        """Fork until the end of the commands."""
        self._send({"ready": os.getpid()})
        while True:
            ready, _, _ = select.select([self._commands.fileno(), *self._children], [], [])
            for handle in ready:
                if handle in self._children:
                    self._reap(handle)
                elif not self._handle_command():
                    return

    def _send(self, fact: dict[str, int], *descriptors: int) -> None:
        socket.send_fds(self._commands, [json.dumps(fact).encode()], descriptors)

    def _reap(self, handle: int) -> None:
        pid = self._children.pop(handle)
        os.close(handle)
        _, status = os.waitpid(pid, 0)
        self._send({"ended": pid, "status": os.waitstatus_to_exitcode(status)})

    def _handle_command(self) -> bool:
        text, descriptors, _, _ = socket.recv_fds(self._commands, _MAX_COMMAND_BYTES, 3)
        if not text:
            return False
        command = json.loads(text)
        options = _try_parse_options(command, announce=descriptors[1])
        pid = os.fork()
        if pid == 0:
            self._run_child(command, options, *descriptors)
        for descriptor in descriptors:
            os.close(descriptor)
        handle = os.pidfd_open(pid)
        self._children[handle] = pid
        self._send({"command": command["number"], "started": pid}, handle)
        return True

    def _run_child(
        self,
        command: dict[str, Any],
        options: ServerOptions | None,
        parent_death_pipe: int,
        announce: int,
        log: int,
    ) -> NoReturn:
        """Be the container; without options, say what is wrong with them."""
        try:
            os.setsid()
            exit_with_parent(parent_death_pipe)
            for stream in (1, 2):
                os.dup2(log, stream)
            for handle in (self._commands.fileno(), *self._children, log):
                os.close(handle)
            os.environ.clear()
            os.environ.update(command["environment"])
            options = options or _parse_options(command, announce)
            threading.Thread(
                target=_join_cgroups, args=(command["procs_files"],), daemon=True
            ).start()
            self._server.serve_and_exit(
                options,
                lambda: self._engine or self._server.load(options.model, threads=options.threads),
            )
        except BaseException as error:  # noqa: BLE001 - it must never go on as its parent
            if not isinstance(error, SystemExit):  # at which the options have said what is wrong
                traceback.print_exc()
            os._exit(1)


def _try_parse_options(command: dict[str, Any], *, announce: int) -> ServerOptions | None:
    """Return a container's options, read before the fork: a new copy is slow, page by page.

    None where they are wrong: the container is to say so, in its log.
    """
    with contextlib.suppress(SystemExit), contextlib.redirect_stderr(None):
        return _parse_options(command, announce)
    return None


def _parse_options(command: dict[str, Any], announce: int) -> ServerOptions:
    return parse([*command["arguments"], "--announce", str(announce)], command["environment"])


def _join_cgroups(procs_files: list[str]) -> None:
    """Become limited: beside the start, since the kernel takes some 10 ms to move a process."""
    for door in procs_files:
        Path(door).write_text(str(os.getpid()))


def main() -> None:
    """Fork containers until the other end of the socket is closed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--commands", type=int, required=True)
    parser.add_argument("--parent-death-pipe", type=int, required=True)
    parser.add_argument("--announce", type=int)
    parser.add_argument("--model", type=Path)
    given = parser.parse_args()
    exit_with_parent(given.parent_death_pipe)
    with socket.socket(fileno=given.commands) as commands:
        ForkServer(commands, given.model).run()


if __name__ == "__main__":
    main()
