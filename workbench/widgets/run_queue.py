"""Turns of runs on one machine: a measurement beside another would measure both.

Each kernel that wants to run puts a ticket into a folder and holds its lock; the oldest ticket that
is locked has its turn. The system lets go of a lock when a process ends, however it does, so that
nobody waits for one who is gone.
"""

import contextlib
import fcntl
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Event

from workbench.errors import Stopped, StorageError

_POLL_INTERVAL = 0.2  # seconds
_FIRST = "{:020d}-{}"  # a ticket's name: in order of time, then of process


class RunQueue:
    """The queue of a folder; every kernel that is given the same folder stands in the same one."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @contextlib.contextmanager
    def turn(
        self, stopped: Event, on_wait: Callable[[int], object] = lambda _ahead: None
    ) -> Iterator["Turn"]:
        """Wait for a turn and hold it; `on_wait` learns how many are ahead.

        Raises:
            Stopped: The wait was ended.
            StorageError: The folder cannot be written.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            path = self.folder / _FIRST.format(time.time_ns(), os.getpid())
            descriptor = os.open(path, os.O_CREAT | os.O_RDWR)
        except OSError as error:
            raise StorageError(f"No run can queue in {self.folder} ({error.strerror}).") from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            turn = Turn(self, path)
            while ahead := turn.count(before=True):
                on_wait(ahead)
                if stopped.wait(_POLL_INTERVAL):
                    raise Stopped("Stopped while another run had its turn: nothing was run.")
            yield turn
        finally:
            path.unlink(missing_ok=True)
            os.close(descriptor)

    def tickets(self) -> list[Path]:
        """Return the tickets of those who are still there, the oldest first."""
        return [path for path in sorted(self.folder.iterdir()) if _is_locked(path)]


class Turn:
    """One's own place in the queue."""

    def __init__(self, queue: RunQueue, path: Path) -> None:
        self._queue, self._path = queue, path

    def count(self, *, before: bool) -> int:
        """Return how many wait before this one, or after it."""
        tickets = self._queue.tickets()
        return sum(each != self._path and (each < self._path) is before for each in tickets)


def _is_locked(path: Path) -> bool:
    """Return whether somebody holds a ticket; one that nobody does is thrown away."""
    try:
        descriptor = os.open(path, os.O_RDWR)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    else:
        kept = os.fstat(descriptor)  # its owner may have taken it away meanwhile
        if not kept.st_nlink:
            return False
        if time.time() - kept.st_mtime > 1:  # a new one may not have its lock yet
            path.unlink(missing_ok=True)
            return False
        return True
    finally:
        os.close(descriptor)
