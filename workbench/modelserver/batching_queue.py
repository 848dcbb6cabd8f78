"""The queue in front of the model, which stacks what waits while the model runs.

Work-conserving: an idle model takes what waits at once, and never waits for more. The cap is 1 by
default, because an experiment's own policy decides what becomes a batch. What nobody waits for any
more is dropped before the model takes it, or a bout of clients' time-outs would hold up all others.
"""

import asyncio
import dataclasses
import sys
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import NDArray

from workbench.modelserver.engine import Engine
from workbench.modelserver.errors import RequestError

MAX_INLINE_SECONDS = 0.001
"""Seconds a run may hold up the loop: handing a shorter one to a thread costs more than it saves"""

Outcome = NDArray[Any] | Exception
Deliver = Callable[[Outcome], None]


@dataclasses.dataclass(slots=True)
class _QueuedRequest:
    rows: NDArray[Any]
    deliver: Deliver
    is_wanted: Callable[[], bool]
    alone: bool = False


class BatchingQueue:
    """Runs a model on what is submitted, first come, first served.

    So many `workers` run at a time, above 1 each in a thread of its own. Up to `max_batch` rows are
    stacked into one run, and a request is never split. `dropped` counts the requests whose clients
    had left before the model took them.
    """

    def __init__(self, engine: Engine, *, workers: int = 1, max_batch: int = 1) -> None:
        self._engine = engine
        self._workers = workers
        self._max_batch = max_batch
        self.dropped = 0
        self._waiting: deque[_QueuedRequest] = deque()
        self._running = 0
        self._start_scheduled = False
        self._threads: ThreadPoolExecutor | None = None

    def submit(
        self, rows: NDArray[Any], deliver: Deliver, is_wanted: Callable[[], bool] = lambda: True
    ) -> None:
        """Have the model run on rows; `deliver` gets its outputs, or what it raised.

        What is no longer wanted once its turn has come gets a `RequestError`.
        """
        self._waiting.append(_QueuedRequest(rows, deliver, is_wanted))
        if self._running == self._workers or self._start_scheduled:
            return
        if self._max_batch == 1:
            self._start()
        else:
            self._schedule_start()

    def _schedule_start(self) -> None:
        """Start after the other requests that have come by now."""
        self._start_scheduled = True
        asyncio.get_running_loop().call_soon(self._start)

    def _start(self) -> None:
        self._start_scheduled = False
        self._drop_unwanted()
        if not self._waiting or self._running == self._workers:
            return
        jobs = self._take()
        rows = jobs[0].rows if len(jobs) == 1 else np.concatenate([job.rows for job in jobs])
        self._running += 1
        if self._workers == 1 and self._engine.estimate_seconds(len(rows)) < MAX_INLINE_SECONDS:
            self._finish(jobs, self._attempt(rows))
            return
        if self._threads is None:
            self._threads = ThreadPoolExecutor(self._workers)
        future = asyncio.get_running_loop().run_in_executor(self._threads, self._attempt, rows)
        future.add_done_callback(lambda done: self._finish(jobs, done.result()))

    def _drop_unwanted(self) -> None:
        before = self.dropped
        while self._waiting and not self._waiting[0].is_wanted():
            self.dropped += 1
            self._waiting.popleft().deliver(RequestError(499, "The client has left."))
        if self.dropped > before:
            said = f"Dropped what no client waits for any more: {self.dropped} requests so far."
            print(said, file=sys.stderr, flush=True)  # noqa: T201

    def _take(self) -> list[_QueuedRequest]:
        """Return the next job, and those behind it that fit into one run with it."""
        waiting = self._waiting
        jobs = [waiting.popleft()]
        rows, kind = len(jobs[0].rows), _kind(jobs[0].rows)
        while waiting and not jobs[0].alone:
            job = waiting[0]
            if not job.is_wanted():
                self._drop_unwanted()
                continue
            rows += len(job.rows)
            if rows > self._max_batch or job.alone or _kind(job.rows) != kind:
                break
            jobs.append(waiting.popleft())
        return jobs

    def _attempt(self, rows: NDArray[Any]) -> Outcome:
        try:
            return self._engine.run(rows)
        except Exception as error:  # noqa: BLE001 - whatever the model did, its client gets an answer
            return error

    def _finish(self, jobs: list[_QueuedRequest], outcome: Outcome) -> None:
        self._running -= 1
        if len(jobs) > 1 and isinstance(outcome, Exception):  # the fault of one: each for itself
            self._waiting.extendleft(dataclasses.replace(job, alone=True) for job in reversed(jobs))
            jobs = []
        if self._waiting and not self._start_scheduled:
            self._schedule_start()
        if len(jobs) == 1 or isinstance(outcome, Exception):
            for job in jobs:
                job.deliver(outcome)
            return
        start = 0
        for job in jobs:
            end = start + len(job.rows)
            job.deliver(outcome[start:end])
            start = end


def _kind(rows: NDArray[Any]) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """Return what rows that are stacked must have in common."""
    return rows.shape[1:], rows.dtype
