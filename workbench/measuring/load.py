"""An open-loop load generator: a trace's requests leave on schedule, answered or not.

`replay` drives a batcher and a backend in the calling thread; `replay_in_process` does so in a
process of its own, so that nothing this process does (a kernel drawing a chart, say) delays a
request, and streams the rows back. `lag_facts` tells how far the generator fell behind.
"""

import contextlib
import ctypes
import gc
import math
import queue
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from itertools import chain, count
from operator import attrgetter
from typing import Any, Generic, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from workbench.backends.base import Backend, Batch, EndedCall, Reply, origin_of
from workbench.backends.local import LocalBackend
from workbench.batching.timer import Batcher, Policy
from workbench.errors import InvalidInput
from workbench.formatting import duration
from workbench.measuring.setup import Setup
from workbench.modelserver.tiny_numbers import flush_tiny_numbers
from workbench.process import Emit, run_in_process
from workbench.traffic.trace import Trace
from workbench.validation import positive, require_rows

Rows = Mapping[str, Any]
"""Requests that are over and done with: a run's columns, without scheduled and latency, and more.

`model_latency` and `overhead_latency` are seconds as the backend reported them (NaN: it did not),
`init` those in which a new instance started, and `retries` the times a batch was sent again.
"""

Correct = Callable[[NDArray[Any], NDArray[Any]], NDArray[np.bool_] | None]

BackendT = TypeVar("BackendT", bound=Backend)

_POLL_INTERVAL = 0.02  # seconds between looks at how many batches wait, or whether a call has ended
_POLLS_PER_FLUSH = 12  # four times a second: often enough for a live chart
_FLUSH_BATCHES = 250
"""Batches that are made into rows at once at most, while requests are sent: more delay them."""

_FLUSH_PAUSE = 0.0005  # seconds for requests that came due meanwhile
LEAD_SECONDS = 0.05  # until the first request: the rest of the set-up is over by then
MAX_SLEEP = 0.1  # seconds; `stopped` is noticed no later
_SWITCH_INTERVAL = 1e-4  # seconds a thread may keep others waiting: Python's 5 ms delay requests
_PR_SET_TIMERSLACK = 29  # from linux/prctl.h; its unit is the nanosecond
_REPLY_FIELDS = {  # what a reply tells of its batch, and as which type
    "cold": bool,
    "model_latency": float,
    "overhead_latency": float,
    "init": float,
    "retries": int,
}
_MAX_REQUEST_BYTES = 2**30  # what AWS takes in one request at most: an asynchronous call's 1 GiB


@dataclass(frozen=True, kw_only=True)
class Load:
    """What to send where: a trace's requests, batched by a policy, to a backend.

    `inputs` is the pool of sample rows the requests draw from. Where `targets` holds their right
    answers, `correct(outputs, targets)` tells for each row whether it was predicted right (or None
    where that makes no sense). A request without an answer `drain` seconds after the trace's end
    has failed. Where the backend has several `places`, rows tell more: see `PlacedRowMaker`.
    `on_begin` is notified, in the process that sends, when by its clock the trace begins.

    Raises:
        InvalidInput: The pool is empty, targets do not fit it, `drain` is not positive, or a
            request has more rows than can be sent.
    """

    trace: Trace
    policy: Policy
    backend: Backend
    inputs: NDArray[Any]
    targets: NDArray[Any] | None = None
    correct: Correct = np.equal
    drain: float = 60.0
    places: int = 1
    on_begin: Callable[[float], object] | None = None

    def __post_init__(self) -> None:
        if len(self.inputs) == 0:
            raise InvalidInput("The pool of sample rows is empty: a load needs at least one row.")
        if self.targets is not None and len(self.targets) != len(self.inputs):
            raise InvalidInput(
                f"There must be one target a sample row, got {len(self.targets)} targets "
                f"for {len(self.inputs)} rows."
            )
        positive("drain", self.drain, "seconds")
        largest = int(self.trace.rows.max())
        if largest * self.inputs[:1].nbytes > _MAX_REQUEST_BYTES:
            raise InvalidInput(
                f"A request of {largest:,} rows would take {largest * self.inputs[:1].nbytes:,} "
                f"bytes, and at most {_MAX_REQUEST_BYTES:,} are sent at once: "
                "give the trace fewer rows."
            )


def make_load(setup: Setup, backend: Backend, **terms: Any) -> Load:  # noqa: ANN401 - of `Load`
    """Return the load of an experiment, whose model has the samples and judges the answers."""
    pool = setup.model.samples()
    return Load(
        trace=setup.trace,
        policy=setup.policy,
        backend=backend,
        inputs=pool.inputs,
        targets=pool.targets,
        correct=setup.model.correct,
        **terms,
    )


def replay(
    load: Load,
    *,
    on_rows: Callable[[Rows], None],
    stopped: threading.Event | None = None,
    clock: Callable[[], float] = time.perf_counter,
) -> None:
    """Send the load from this thread and hand finished requests to `on_rows` as they come.

    The backend must have been entered; `on_rows` is called from another thread. Returns when every
    request is answered or given up, or soon after `stopped` is set: then those without an answer
    are left out.
    """
    stopped = stopped or threading.Event()
    origin = clock() + LEAD_SECONDS

    def now() -> float:
        return clock() - origin

    batcher = load.policy.batcher()
    workers = Workers(load, now, announce=batcher.watches)
    buffer = Buffer(batcher, workers)
    rows = RowMaker(load) if load.places == 1 else PlacedRowMaker(load)
    if load.on_begin is not None:
        load.on_begin(origin)

    def flush(most: int = _FLUSH_BATCHES) -> None:
        if served := workers.take_served(most):
            on_rows(rows.of(served))

    with flush_regularly(flush, lambda: workers.served_count):
        _generate(load.trace.arrivals, rows.sent, buffer, stopped=stopped, now=now)
        workers.finish(stopped, load.trace.duration + load.drain)
    lost = workers.give_up(load.drain)
    flush(sys.maxsize)
    lost += rows.await_calls(stopped, load.trace.duration + load.drain - now())
    if lost and not stopped.is_set():
        on_rows(rows.of(lost))


def replay_in_process(
    load: Load, *, on_rows: Callable[[Rows], None], stopped: threading.Event | None = None
) -> None:
    """Send the load from a process of its own, which opens the backend, and stream the rows here.

    Ctrl-C stops the load early and sets `stopped`; what came before it has been handed over.

    Raises:
        WorkbenchError: The backend could not be opened, or the process died.
    """
    run_in_process(_replay, load, on_message=on_rows, stopped=stopped)


def _replay(load: Load, emit: Emit, stopped: threading.Event) -> None:
    with tune_process(load.backend):
        replay(load, on_rows=emit, stopped=stopped)


@contextlib.contextmanager
def tune_process(backend: BackendT, *others: Backend) -> Iterator[BackendT]:
    """Enter the backends, and set up this process, which has nothing else to do, to be punctual."""
    sys.setswitchinterval(_SWITCH_INTERVAL)
    every: list[Backend] = [backend, *others]
    if any(isinstance(each, LocalBackend) for each in every):
        flush_tiny_numbers()
    with contextlib.suppress(OSError, AttributeError):  # Linux only: wake within a microsecond
        ctypes.CDLL(None).prctl(_PR_SET_TIMERSLACK, 1000, 0, 0, 0)
    with contextlib.ExitStack() as stack:
        for each in every:
            stack.enter_context(each)
        # what is there by now stays: it need not be looked at again
        gc.collect()
        gc.freeze()
        gc.disable()  # a full collection would hold back every request for its duration
        yield backend


class Buffer:
    """The requests that wait at one place, the batcher that groups them, and who answers there."""

    def __init__(self, batcher: Batcher, workers: "Workers") -> None:
        self.batcher = batcher
        self.workers = workers
        self.waiting = 0
        self._send(batcher.server_free(workers.idle, 0.0), 0.0)

    def add(self, request: int, now: float) -> None:
        """Add a request that arrived."""
        self.waiting += 1
        self._send(self.batcher.add(request, now), now)

    def wake(self, now: float) -> None:
        """Act on a timer that ran out."""
        self._send(self.batcher.wake(now), now)

    def collect(self, schedule: list[float], now: Callable[[], float]) -> None:
        """Notify the batcher of the latencies of completed batches, and of idle workers."""
        if completed := self.workers.take_completed():
            self.learn(completed, schedule, now)

    def learn(
        self,
        completed: "Sequence[CompletedBatch]",
        schedule: list[float],
        now: Callable[[], float],
    ) -> None:
        """Notify a batcher that watches of completed batches."""
        for batch in completed:
            finished = math.inf if math.isnan(batch.finished) else batch.finished
            latencies = [finished - schedule[request] for request in batch.requests]
            self.batcher.learn_latencies(latencies, now())
        instant = now()
        self._send(self.batcher.server_free(self.workers.idle, instant), instant)

    def _send(self, batches: Iterable[list[int]], now: float) -> None:
        for requests in batches:
            self.waiting -= len(requests)
            self.workers.send(requests, now)


def _generate(
    arrivals: NDArray[np.float64],
    sent: NDArray[np.float64],
    buffer: Buffer,
    *,
    stopped: threading.Event,
    now: Callable[[], float],
) -> None:
    """Give every request to the buffer when it is due, and let the buffer send its batches.

    At one instant completions come first, then arrivals, then a batcher's timer; a timer that
    ran out before now goes before the arrivals at hand.
    """
    schedule: list[float] = [*arrivals.tolist(), math.inf]
    batcher, following = buffer.batcher, 0
    while (following < len(arrivals) or buffer.waiting) and not stopped.is_set():
        buffer.collect(schedule, now)
        instant = now()
        if batcher.due < instant:
            buffer.wake(instant)
        while schedule[following] <= instant:
            sent[following] = instant
            buffer.add(following, instant)
            following += 1
            instant = now()
        if batcher.due <= instant:
            buffer.wake(instant)
        buffer.workers.wait(min(schedule[following], batcher.due) - now())


T = TypeVar("T")


class Inbox(Generic[T]):
    """What other threads hand to one thread, which can wait for it.

    Not a `queue.SimpleQueue`: where its lock is free and nothing is in it, `get(timeout=...)` takes
    the lock first and then waits for what is left of the time, which means for ever when none is
    left (seen with CPython 3.11.7).
    """

    def __init__(self) -> None:
        self._items: deque[T] = deque()
        self._bell = threading.Lock()  # free when something was put since the last wait
        self._bell.acquire()

    def put(self, item: T) -> None:
        """Hand over an item."""
        self._items.append(item)
        with contextlib.suppress(RuntimeError):  # the bell was rung already
            self._bell.release()

    def wait(self, seconds: float = -1) -> None:
        """Wait until something was put, for so many seconds at most; for ever by default."""
        self._bell.acquire(timeout=seconds)

    def take(self) -> list[T]:
        """Return all that was put and not taken."""
        return [self._items.popleft() for _ in range(len(self._items))]


class CompletedBatch(NamedTuple):
    """A batch that is over and done with."""

    number: int
    requests: list[int]
    server: int
    started: float
    finished: float = math.nan
    reply: Reply = Reply()
    error: str | None = None


class Workers:
    """Threads that answer batches, first come first served, one for each place in the backend.

    Args:
        load: What is sent, and where.
        now: Gives the time.
        announce: Whether `take_completed` and `serve` are asked of completed batches.
        notify: Called in a worker's thread with each completed batch, where it is not announced.
        numbers: Of the batches.
    """

    def __init__(
        self,
        load: Load,
        now: Callable[[], float],
        *,
        announce: bool,
        notify: "Callable[[CompletedBatch], object] | None" = None,
        numbers: Iterator[int] | None = None,
    ) -> None:
        self._backend = load.backend
        self._samples = SampleRows(load)
        self._now = now
        self._numbers = numbers or count()
        self._queue: queue.SimpleQueue[tuple[int, list[int], float] | None] = queue.SimpleQueue()
        self._served: deque[CompletedBatch] = deque()
        self._open: dict[int, list[int]] = {}
        self._closing = threading.Lock()
        self._closed = False
        self._announced: Inbox[CompletedBatch] | None = None
        if announce:
            self._announced = Inbox()
            notify = self._announced.put
        self._notify = notify
        self._threads = [
            threading.Thread(target=self._work, args=(worker,), daemon=True)
            for worker in range(load.backend.concurrency)
        ]
        for thread in self._threads:
            thread.start()

    @property
    def idle(self) -> int:
        """How many workers have nothing to do."""
        return max(0, len(self._threads) - len(self._open))

    def send(self, requests: list[int], formed: float) -> None:
        """Queue a batch that was formed at an instant."""
        number = next(self._numbers)
        self._open[number] = requests
        self._queue.put((number, requests, formed))

    def serve(self, batches: Iterable[list[int]]) -> list[CompletedBatch]:
        """Send these batches at once and return them when all are served, in that order.

        Only where completions are announced and nothing else is under way.
        """
        assert self._announced is not None  # noqa: S101 - the caller's own choice
        awaited = 0
        for batch in batches:
            self.send(batch, self._now())
            awaited += 1
        while awaited > 0:
            self._announced.wait()
            awaited -= len(self._announced.take())
        return sorted(self.take_served())

    def take_completed(self) -> list[CompletedBatch]:
        """Return the batches completed since the last call, if those are announced."""
        return [] if self._announced is None else self._announced.take()

    def wait(self, seconds: float) -> None:
        """Sleep, not for long, and until an announced completion at most."""
        seconds = min(seconds, MAX_SLEEP)
        if seconds <= 0:
            return
        if self._announced is None:
            time.sleep(seconds)
            return
        self._announced.wait(seconds)

    def finish(self, stopped: threading.Event, deadline: float) -> None:
        """Wait until all that was sent is served, `stopped` is set or the deadline has come."""
        for _ in self._threads:
            self._queue.put(None)
        for thread in self._threads:
            while thread.is_alive() and not stopped.is_set() and self._now() < deadline:
                thread.join(MAX_SLEEP)

    @property
    def served_count(self) -> int:
        """How many batches `take_served` would return."""
        return len(self._served)

    def take_served(self, most: int = sys.maxsize) -> list[CompletedBatch]:
        """Return batches that were served and not yet taken, the first ones and so many at most."""
        return [self._served.popleft() for _ in range(min(most, len(self._served)))]

    def give_up(self, drain: float) -> list[CompletedBatch]:
        """Return the batches that have no answer, and take no more."""
        error = f"no answer within {drain:g} s of the end of the trace"
        with self._closing:
            self._closed = True
            return [
                CompletedBatch(number, requests, -1, math.nan, error=error)
                for number, requests in sorted(self._open.items())
            ]

    def _work(self, worker: int) -> None:
        while (item := self._queue.get()) is not None:
            served = self._serve(worker, *item)
            with self._closing:
                if self._closed:
                    return
                del self._open[served.number]
                self._served.append(served)
            if self._notify is not None:
                self._notify(served)

    def _serve(
        self, worker: int, number: int, requests: list[int], formed: float
    ) -> CompletedBatch:
        started = self._now()
        try:
            batch = Batch(self._samples.inputs(requests), tuple(requests), formed)
            reply = self._backend.invoke(batch)
            if reply.outputs is not None:
                require_rows(reply.outputs, len(batch.inputs))
        except Exception as error:  # noqa: BLE001 - whatever a backend raises fails its batch only
            text = f"{type(error).__name__}: {error}"
            reply = getattr(error, "reply", Reply())
            started += origin_of(reply).delay
            return CompletedBatch(number, requests, worker, started, error=text, reply=reply)
        if reply.origin is not None:
            started += reply.origin.delay
        # by whatever clock its age was measured: not before it began
        finished = max(started, self._now() - reply.age)
        server = worker if reply.server is None else reply.server
        return CompletedBatch(number, requests, server, started, finished, reply)


class SampleRows:
    """Which rows of the pool each request carries."""

    def __init__(self, load: Load) -> None:
        self._inputs = load.inputs
        self._pool = len(load.inputs)
        self._first = load.trace.sample % self._pool
        self._rows = load.trace.rows
        self._single = bool((self._rows == 1).all())

    def inputs(self, requests: list[int]) -> NDArray[Any]:
        """Return what these requests carry, stacked."""
        if self._single and len(requests) == 1:  # a view costs a tenth of a copy
            first = self._first[requests[0]]
            rows: Any = slice(first, first + 1)
        else:
            rows = self.of(requests)
        inputs: NDArray[Any] = self._inputs[rows]
        return inputs

    def of(self, requests: Sequence[int] | NDArray[np.int64]) -> NDArray[Any]:
        """Return the pool rows of these requests, one after the other."""
        first: NDArray[Any] = self._first[requests]
        if self._single:
            return first
        rows = self._rows[requests]
        # 0, 1, ..., from the start for each request
        within = np.arange(rows.sum()) - np.repeat(np.cumsum(rows) - rows, rows)
        return np.asarray((np.repeat(first, rows) + within) % self._pool)


class RowMaker:
    """Turns served batches into columns, a row a request."""

    def __init__(self, load: Load) -> None:
        self.sent = np.full(len(load.trace), np.nan)
        self._rows = load.trace.rows
        self._targets = load.targets
        self._right = load.correct
        self._samples = SampleRows(load)

    def of(self, served: list[CompletedBatch]) -> Rows:
        """Return the rows of these batches."""
        numbers, batches, servers, started, finished, replies, errors = zip(*served, strict=True)
        sizes = np.fromiter(map(len, batches), np.int64, len(served))
        requests = np.fromiter(chain.from_iterable(batches), np.int64, int(sizes.sum()))

        def spread(values: Iterable[Any], kind: type) -> NDArray[Any]:
            return np.fromiter(values, kind, len(served)).repeat(sizes)

        return {
            "request": requests,
            "sent": self.sent[requests],
            "started": spread(started, float),
            "finished": spread(finished, float),
            "batch": spread(numbers, int),
            "batch_size": sizes.repeat(sizes),
            "rows": self._rows[requests],
            "server": spread(servers, int),
            "correct": self._correct(requests, replies, sizes),
            "error": np.array(errors, object).repeat(sizes).tolist(),
            **{
                name: spread(map(attrgetter(name), replies), kind)
                for name, kind in _REPLY_FIELDS.items()
            },
        }

    def await_calls(self, stopped: threading.Event, seconds: float) -> list[CompletedBatch]:
        """Return the calls that were made beside those of `of`; there are none."""
        return []

    def _correct(
        self, requests: NDArray[np.int64], replies: Sequence[Reply], sizes: NDArray[np.int64]
    ) -> NDArray[np.float64]:
        """Return the share of each request's rows that were predicted right; NaN if unknown."""
        shares = np.full(len(requests), np.nan)
        if self._targets is None:
            return shares
        outputs = [reply.outputs for reply in replies if reply.outputs is not None]
        if not outputs:
            return shares
        answered = np.array([reply.outputs is not None for reply in replies]).repeat(sizes)
        targets = self._targets[self._samples.of(requests[answered])]
        right = self._right(np.concatenate(outputs), targets)
        if right is not None:
            rows = self._rows[requests[answered]]
            # one pass for all requests; none has no rows
            right_rows = np.add.reduceat(right, np.cumsum(rows) - rows, dtype=float)
            shares[answered] = right_rows / rows
        return shares


class PlacedRowMaker(RowMaker):
    """Turns batches that were served at several places into columns.

    `place` is who answered a request and `tried` how many places were asked; 0 in the row of a call
    whose answer does not count, because another came before.
    """

    def __init__(self, load: Load) -> None:
        super().__init__(load)
        self._others: list[tuple[CompletedBatch, Future[EndedCall]]] = []
        self._numbers = count(len(load.trace))  # batches are numbered below

    def of(self, served: list[CompletedBatch]) -> Rows:
        """Return the rows of these batches, and of calls that have ended since."""
        self._others += [
            (batch, call) for batch in served for call in origin_of(batch.reply).others
        ]
        every = [*served, *self._take_ended()]
        sizes = [len(batch.requests) for batch in every]
        origins = [origin_of(batch.reply) for batch in every]
        tried = [
            1 + len(origin.others) if batch.number < len(self.sent) else 0
            for batch, origin in zip(every, origins, strict=True)
        ]
        places = np.array([origin.place for origin in origins], np.uint8)
        return {
            **super().of(every),
            "place": places.repeat(sizes),
            "tried": np.array(tried, np.uint8).repeat(sizes),
        }

    def await_calls(self, stopped: threading.Event, seconds: float) -> list[CompletedBatch]:
        """Return the calls that do not count, once all have ended or so many seconds are over."""
        until = time.monotonic() + seconds
        while any(not call.done() for _, call in self._others):
            if stopped.wait(_POLL_INTERVAL) or time.monotonic() >= until:
                break
        return self._take_ended()

    def _take_ended(self) -> list[CompletedBatch]:
        """Return the calls that have ended since the last time, each as a batch of its own."""
        ended: list[tuple[CompletedBatch, Future[EndedCall]]] = []
        others, self._others = self._others, []
        for each in others:  # asked once: one that ends meanwhile is taken the next time
            (ended if each[1].done() else self._others).append(each)
        return [self._complete(batch, call.result()) for batch, call in ended]

    def _complete(self, batch: CompletedBatch, call: EndedCall) -> CompletedBatch:
        """Return a call beside that of a batch as one of its own."""
        reply, began = call.reply, batch.started - origin_of(batch.reply).delay
        sent, number = began + origin_of(reply).delay, next(self._numbers)
        server = -1 if reply.server is None else reply.server
        if call.error is None:
            ended = began + call.ended
            return CompletedBatch(number, batch.requests, server, sent, ended, reply)
        text = f"{type(call.error).__name__}: {call.error}"
        return CompletedBatch(number, batch.requests, server, sent, error=text, reply=reply)


@contextlib.contextmanager
def flush_regularly(flush: Callable[[], None], count_waiting: Callable[[], int]) -> Iterator[None]:
    """Flush in a thread of its own, four times a second, or as soon as many batches wait.

    Where it takes no more than some of them, it is called again once requests had their turn.
    """
    over = threading.Event()

    def work() -> None:
        for look in count(1):
            if over.wait(_POLL_INTERVAL):
                return
            if look % _POLLS_PER_FLUSH == 0:
                flush()
            while count_waiting() >= _FLUSH_BATCHES:
                flush()
                time.sleep(_FLUSH_PAUSE)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def lag_facts(lag: NDArray[np.float64], latency: NDArray[np.float64]) -> dict[str, Any]:
    """Return how late requests were sent (seconds), and whether that spoils the latencies.

    `lag` is sent - scheduled and `latency` finished - scheduled, one value a request, NaN where
    there is none. A 99th percentile of the lag above 5 % of the median latency is warned about;
    above 10 % of it and above 1 ms the run is invalid: it shows the generator, not the backend.

    >>> facts = lag_facts(np.full(100, 0.004), np.full(100, 0.010))
    >>> facts["valid"], facts["lag"]["p99"]
    (False, 0.004)
    """
    lag = lag[~np.isnan(lag)]
    if len(lag) == 0:
        return {"lag": None, "valid": True, "warnings": []}
    p50, p99 = np.quantile(lag, [0.5, 0.99])
    answered = latency[~np.isnan(latency)]
    median = float(np.median(answered)) if len(answered) else math.inf
    valid = bool(p99 <= max(0.001, 0.1 * median))
    warnings = []
    if p99 > 0.05 * median:
        advice = (
            "read latencies with care."
            if valid
            else "this run is invalid. Lower the rate, or free this machine of other work."
        )
        warnings.append(
            f"The load generator was up to {duration(p99)} late (99th percentile), "
            f"against a median latency of {duration(median)}: {advice}"
        )
    figures = {"p50": float(p50), "p99": float(p99), "max": float(lag.max())}
    return {"lag": figures, "valid": valid, "warnings": warnings}
