"""A process that containers are forked from, so that they need not import or load anything.

`python -m workbench.modelserver.fork_server --orders FD --lifeline FD [--model FOLDER]` imports all
that a container needs, and with `--model` loads the model too. An order is a packet of JSON with
three descriptors: the container's lifeline, the pipe to announce its port on, and its log. It is
answered with the container's number and a handle on it; a container's end is told as it comes. The
process has one thread only, since a fork copies no others.
"""

import argparse
import contextlib
import json
import os
import select
import socket
import threading
import traceback
from pathlib import Path
from typing import Any, NoReturn

from workbench.modelserver.options import Options, parse
from workbench.modelserver.parent_death import end_with
from workbench.modelserver.runtime_env import settle_surroundings

_LONGEST = 128 * 1024  # bytes of an order: a container's environment has 32 KB at most


class Forker:
    """Forks a container for each order.

    Args:
        orders: Where orders come from.
        model: The folder of the model that is loaded beforehand, or None.
    """

    def __init__(self, orders: socket.socket, model: Path | None) -> None:
        settle_surroundings()
        from workbench.modelserver import server

        self._orders = orders
        self._server = server
        self._engine = None if model is None else server.load(model, threads=1)
        server.settle()
        self._children: dict[int, int] = {}  # handle -> pid

    def run(self) -> None:
        """Fork until nobody gives orders any more."""
        self._tell({"ready": os.getpid()})
        while True:
            ready, _, _ = select.select([self._orders.fileno(), *self._children], [], [])
            for handle in ready:
                if handle in self._children:
                    self._bury(handle)
                elif not self._obey():
                    return

    def _tell(self, fact: dict[str, int], *descriptors: int) -> None:
        socket.send_fds(self._orders, [json.dumps(fact).encode()], descriptors)

    def _bury(self, handle: int) -> None:
        pid = self._children.pop(handle)
        os.close(handle)
        _, status = os.waitpid(pid, 0)
        self._tell({"ended": pid, "status": os.waitstatus_to_exitcode(status)})

    def _obey(self) -> bool:
        text, descriptors, _, _ = socket.recv_fds(self._orders, _LONGEST, 3)
        if not text:
            return False
        order = json.loads(text)
        options = _told(order, announce=descriptors[1])
        pid = os.fork()
        if pid == 0:
            self._become(order, options, *descriptors)
        for descriptor in descriptors:
            os.close(descriptor)
        handle = os.pidfd_open(pid)
        self._children[handle] = pid
        self._tell({"order": order["number"], "started": pid}, handle)
        return True

    def _become(
        self, order: dict[str, Any], options: Options | None, lifeline: int, announce: int, log: int
    ) -> NoReturn:
        """Be the container; without options, say what is wrong with them."""
        try:
            os.setsid()
            end_with(lifeline)
            for stream in (1, 2):
                os.dup2(log, stream)
            for handle in (self._orders.fileno(), *self._children, log):
                os.close(handle)
            os.environ.clear()
            os.environ.update(order["environment"])
            options = options or _options(order, announce)
            threading.Thread(target=_enter, args=(order["doors"],), daemon=True).start()
            self._server.live(
                options,
                lambda: self._engine or self._server.load(options.model, threads=options.threads),
            )
        except BaseException as error:  # noqa: BLE001 - it must never go on as its parent
            if not isinstance(error, SystemExit):  # at which the options have said what is wrong
                traceback.print_exc()
            os._exit(1)


def _told(order: dict[str, Any], *, announce: int) -> Options | None:
    """Return a container's options, read before the fork: a new copy is slow, page by page.

    None where they are wrong: the container is to say so, in its log.
    """
    with contextlib.suppress(SystemExit), contextlib.redirect_stderr(None):
        return _options(order, announce)
    return None


def _options(order: dict[str, Any], announce: int) -> Options:
    return parse([*order["arguments"], "--announce", str(announce)], order["environment"])


def _enter(doors: list[str]) -> None:
    """Become limited: beside the start, since the kernel takes some 10 ms to move a process."""
    for door in doors:
        Path(door).write_text(str(os.getpid()))


def main() -> None:
    """Fork containers until the other end of the socket is closed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--orders", type=int, required=True)
    parser.add_argument("--lifeline", type=int, required=True)
    parser.add_argument("--announce", type=int)
    parser.add_argument("--model", type=Path)
    given = parser.parse_args()
    end_with(given.lifeline)
    with socket.socket(fileno=given.orders) as orders:
        Forker(orders, given.model).run()


if __name__ == "__main__":
    main()
