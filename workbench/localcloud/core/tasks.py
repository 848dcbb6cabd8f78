"""Work that goes on beside the requests: tasks, held until they are over."""

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any

_log = logging.getLogger("workbench.localcloud")


class TaskSet:
    """The tasks of one part of the cloud that are not over; its length is how many there are.

    asyncio itself holds tasks by weak references, so that one that nobody holds may vanish half
    way. A failure is written to the log, as nobody awaits it.
    """

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()

    def __len__(self) -> int:
        return len(self._tasks)

    def start(self, work: Coroutine[Any, Any, None]) -> None:
        """Begin to work."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._remove)

    async def cancel(self) -> None:
        """Cancel what is not over, and wait until it is."""
        while self._tasks:  # one that is cancelled may start another
            for task in self._tasks:
                task.cancel()
            await asyncio.wait(self._tasks)

    async def finish(self) -> None:
        """Wait until all that was started is over."""
        while self._tasks:
            await asyncio.wait(self._tasks)

    def _remove(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error("A task of the local cloud failed.", exc_info=error)
