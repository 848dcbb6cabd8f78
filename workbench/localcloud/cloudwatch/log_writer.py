"""What programs wrote, brought to moto's Logs: gathered, and written beside the loop."""

import asyncio
import gc
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache
from typing import Any

from workbench.localcloud.core.protocol import ACCOUNT, REGION
from workbench.localcloud.core.store import Store
from workbench.localcloud.core.tasks import TaskSet

_FLUSH_SECONDS = 0.5  # seconds
_MAX_STREAM_EVENTS = 50_000  # events of a stream: moto keeps them in memory
_MAX_EVENT_BYTES = 256 * 1024  # bytes of an event (PutLogEvents)


@dataclass(frozen=True, slots=True)
class LogBatch:
    """Lines for a log stream; `lines` is called when there is time."""

    group: str
    stream: str
    at: float
    lines: Callable[[], Iterable[str]]


class LogWriter:
    """Writes notes to Logs twice a second."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._notes: list[LogBatch] = []
        self._timer: asyncio.TimerHandle | None = None
        self._tasks = TaskSet()

    def add(self, note: LogBatch) -> None:
        """Have a note written before long."""
        self._notes.append(note)
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(_FLUSH_SECONDS, self._begin)

    async def flush(self) -> None:
        """Write all that was noted."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        notes, self._notes = self._notes, []
        if notes:
            await self._store.run_in_thread(_write, notes)

    def _begin(self) -> None:
        self._timer = None
        self._tasks.start(self.flush())


@cache
def _logs() -> Any:  # noqa: ANN401 - moto's
    from moto.logs.models import logs_backends

    gc.collect()
    gc.freeze()  # all of moto would be looked through again and again, while calls wait
    return logs_backends[ACCOUNT][REGION]


def _write(notes: Iterable[LogBatch]) -> None:
    logs = _logs()
    for note in notes:
        if note.group not in logs.groups:
            logs.create_log_group(note.group, {})
        streams = logs.groups[note.group].streams
        if note.stream not in streams:
            logs.create_log_stream(note.group, note.stream)
        at = int(1000 * note.at)
        events = [{"timestamp": at, "message": line[:_MAX_EVENT_BYTES]} for line in note.lines()]
        logs.put_log_events(note.group, note.stream, events)
        del streams[note.stream].events[:-_MAX_STREAM_EVENTS]
