"""What programs wrote, brought to moto's Logs: gathered, and written beside the loop.

Until somebody asks for logs it is kept here: moto takes 20 MB and most of a second to import.
"""

import asyncio
import gc
import sys
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache
from typing import Any

from workbench.localcloud.core.protocol import ACCOUNT, REGION
from workbench.localcloud.core.store import Store
from workbench.localcloud.core.tasks import TaskSet

_FLUSH_SECONDS = 0.5  # lines that came meanwhile are written together
_MAX_STREAM_EVENTS = 50_000  # moto keeps them in memory
_MAX_EVENT_BYTES = 256 * 1024  # PutLogEvents


@dataclass(frozen=True, slots=True)
class LogBatch:
    """Lines for a log stream; `lines` is called when there is time."""

    group: str
    stream: str
    at: float
    lines: Callable[[], Iterable[str]]


class LogWriter:
    """Writes notes to Logs twice a second, once moto's are in use."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._notes: list[LogBatch] = []
        self._streams: dict[tuple[str, str], deque[dict[str, Any]]] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._tasks = TaskSet()

    def add(self, note: LogBatch) -> None:
        """Have a note written before long."""
        self._notes.append(note)
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(_FLUSH_SECONDS, self._begin)

    async def flush(self, *, asked: bool = True) -> None:
        """Write all that was noted; moto's logs are only begun if somebody `asked` for logs."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        notes, self._notes = self._notes, []
        if notes or asked:
            await self._store.run_in_thread(self._write, notes, asked=asked)

    def _begin(self) -> None:
        self._timer = None
        self._tasks.start(self.flush(asked=False))

    def _write(self, notes: Iterable[LogBatch], *, asked: bool) -> None:
        for note in notes:
            kept = self._streams.setdefault(
                (note.group, note.stream), deque(maxlen=_MAX_STREAM_EVENTS)
            )
            at = int(1000 * note.at)
            lines = (line[:_MAX_EVENT_BYTES] for line in note.lines())
            kept.extend({"timestamp": at, "message": line} for line in lines)
        if self._streams and (asked or "moto.logs.models" in sys.modules):
            streams, self._streams = self._streams, {}
            for (group, name), events in streams.items():
                _put_events(group, name, list(events))


@cache
def _logs() -> Any:  # noqa: ANN401 - moto's
    from moto.logs.models import logs_backends

    gc.collect()
    gc.freeze()  # all of moto would be looked through again and again, while calls wait
    return logs_backends[ACCOUNT][REGION]


def _put_events(group: str, stream: str, events: list[dict[str, Any]]) -> None:
    logs = _logs()
    if group not in logs.groups:
        logs.create_log_group(group, {})
    streams = logs.groups[group].streams
    if stream not in streams:
        logs.create_log_stream(group, stream)
    logs.put_log_events(group, stream, events)
    del streams[stream].events[:-_MAX_STREAM_EVENTS]
