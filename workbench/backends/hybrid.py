"""A fleet answers batches, and functions those that spill over."""

import contextlib
import math
import time
from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from threading import BoundedSemaphore
from typing import Self

import numpy as np
from numpy.typing import NDArray

from workbench.backends.base import Backend, Batch, EndedCall, Origin, Reply, origin_of
from workbench.backends.shared_counts import SharedCounts
from workbench.deployment.spill import OfferedBatch, SpillRule


class HybridBackend:
    """Sends each batch to a base or, where a rule says so, to an overflow.

    Which instance of the base a batch would get is the cloud's to know: the rule is asked as if
    those in flight were spread evenly. Of a base that was asked and does not answer in time, a
    `Hedge` asks the overflow too: the first good answer counts, and the other call is one of the
    reply's `others`.

    Calls of the overflow beyond its `concurrency` wait. `counts` are the base's, `arrivals` when
    each request of the trace is due, in seconds, and `workers` the batches that an instance serves
    at once. `place` is the overflow's number; those of the base come before it.
    """

    def __init__(
        self,
        base: Backend,
        overflow: Backend,
        spill: SpillRule,
        counts: SharedCounts,
        *,
        arrivals: NDArray[np.float64],
        workers: int = 1,
        place: int = 1,
    ) -> None:
        self.concurrency = base.concurrency + overflow.concurrency
        self._backends = base, overflow
        self._spill = spill
        self._counts = counts
        self._arrivals = arrivals
        self._workers = workers
        self._place = place
        self._open: contextlib.ExitStack
        self._slots: BoundedSemaphore
        self._pool: ThreadPoolExecutor

    def __enter__(self) -> Self:
        self._slots = BoundedSemaphore(self._backends[1].concurrency)
        self._pool = ThreadPoolExecutor(2 * self.concurrency, "calls")
        self._open = contextlib.ExitStack()
        for backend in self._backends:
            self._open.enter_context(backend)
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()
        self._pool.shutdown(wait=False)

    def invoke(self, batch: Batch) -> Reply:
        """Answer a batch.

        Raises:
            InvocationError: No place that was asked answered; its `reply` says which failed.
        """
        began = time.perf_counter()
        if self._spills(batch):
            return _result(self._ask_overflow(batch, began))
        if math.isinf(self._spill.hedge_after):
            return _result(self._ask_base(batch, began))
        return self._hedge(batch, began)

    def _spills(self, batch: Batch) -> bool:
        """Return whether a batch goes to the overflow, and count it where it goes."""
        with self._counts.lock:  # of two batches at once the second must see the first
            now = self._counts.read()
            ready = int(now.ready)
            offered = OfferedBatch(
                size=len(batch.requests),
                waited=time.perf_counter() - now.begun - self._arrivals.item(batch.requests[0]),
                in_flight=int(now.in_flight) // max(1, ready),
                workers=self._workers,
                ready=ready,
                starting=int(now.starting),
            )
            spills = self._spill.spills(offered)
            self._counts.add(arrived=1, **{"spilled" if spills else "in_flight": 1})
        return spills

    def _ask_base(self, batch: Batch, began: float) -> EndedCall:
        with self._counts.at_fleet():
            return _call(self._backends[0], batch, began)

    def _ask_overflow(self, batch: Batch, began: float) -> EndedCall:
        with self._slots:
            return _call(self._backends[1], batch, began, place=self._place)

    def _hedge(self, batch: Batch, began: float) -> Reply:
        """Ask the base, and after the delay the overflow."""
        calls = [self._pool.submit(self._ask_base, batch, began)]
        wait(calls, self._spill.hedge_after)
        if not calls[0].done():
            self._counts.add(spilled=1)
            calls.append(self._pool.submit(self._ask_overflow, batch, began))
        first = _find_first(calls)
        others = tuple(each for each in calls if each is not first)
        return _result(first.result(), others)


def _find_first(calls: Sequence[Future[EndedCall]]) -> Future[EndedCall]:
    """Return the first call with a good answer, as soon as there is one, else the last to fail."""
    open_calls = set(calls)
    while True:
        ended, open_calls = wait(open_calls, return_when=FIRST_COMPLETED)
        best = min(ended, key=lambda call: (call.result().error is not None, call.result().ended))
        if best.result().error is None or not open_calls:
            return best


def _call(backend: Backend, batch: Batch, began: float, *, place: int | None = None) -> EndedCall:
    """Ask a place, and return how that ended."""
    delay = time.perf_counter() - began
    error, reply = None, Reply(server=-1)
    try:
        reply = backend.invoke(batch)
    except Exception as problem:  # noqa: BLE001 - whatever a backend raises fails its call only
        error = problem
    ended = time.perf_counter() - began - reply.age
    server = reply.server if reply.server is not None else -1
    origin = Origin(origin_of(reply).place if place is None else place, delay)
    return EndedCall(ended, reply._replace(origin=origin, server=server), error)


def _result(call: EndedCall, others: tuple[Future[EndedCall], ...] = ()) -> Reply:
    """Return a call's reply, or raise its error with it."""
    reply = call.reply._replace(origin=origin_of(call.reply)._replace(others=others))
    if call.error is not None:
        call.error.reply = reply  # type: ignore[attr-defined]  # read where the batch was sent
        raise call.error
    return reply
