"""An open-loop load that a router spreads over places: a buffer and workers for each.

A request is routed when it is due, before any buffer, so that no batch holds requests of two
models. One thread sends, routes, and takes completed batches, in this order: what is completed,
what the router waited for too long, arrivals, batchers' timers.
"""

import math
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, count
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from workbench.errors import InvalidInput
from workbench.measuring.load import (
    LEAD_SECONDS,
    MAX_SLEEP,
    Buffer,
    CompletedBatch,
    Inbox,
    Load,
    RowMaker,
    Rows,
    SampleRows,
    Workers,
    flush_regularly,
    tune_process,
)
from workbench.process import Emit, run_in_process
from workbench.routing.base import Place, PlaceAnswer, RoutedRequest, RoutingPolicy
from workbench.routing.calls import PlaceEvent, Reaction, RoutedCalls

_Known = tuple[Any, float, float]  # label, confidence, correct
_UNKNOWN: _Known = (None, math.nan, math.nan)


class AnswerReader(Protocol):
    """What reads labels and confidences from a model's outputs: the model itself."""

    def labels(self, outputs: NDArray[Any]) -> NDArray[Any]:
        """Return the label of each row."""

    def confidence(self, outputs: NDArray[Any]) -> NDArray[np.float64]:
        """Return how sure the model is of each row, NaN where it does not say."""


@dataclass(frozen=True, kw_only=True)
class RoutedLoad:
    """What to send to several places, of which a router chooses.

    Args:
        loads: One for each place: who answers there, and in what batches. All have one trace.
        readers: What reads the answers of each place.
        places: What the router knows of each beforehand.
        policy: Makes the router.
        patience: Seconds after which a place that has not answered is given up.
        seed: Of the router's draws.
        contexts: The kind of each request; None: they have none.

    Raises:
        InvalidInput: There are no loads, or not as many places.
    """

    loads: tuple[Load, ...]
    readers: tuple[AnswerReader, ...]
    places: tuple[Place, ...]
    policy: RoutingPolicy
    patience: float = math.inf
    seed: int = 0
    contexts: Sequence[str] | None = None

    def __post_init__(self) -> None:
        if not len(self.loads) == len(self.places) == len(self.readers) or not self.loads:
            raise InvalidInput(
                f"A routed load needs a place and a reader for each of its loads, at least one: "
                f"got {len(self.loads)} loads, {len(self.readers)} readers, "
                f"{len(self.places)} places."
            )


class RoutedRows(NamedTuple):
    """What happened of late: calls that came back, answers given, places left out or taken back.

    `given` has the columns request, place, tried, sent, finished and error.
    """

    calls: Rows | None
    given: Rows | None
    events: Sequence[PlaceEvent] = ()


def replay_routed(
    load: RoutedLoad,
    *,
    on_rows: Callable[[RoutedRows], None],
    stopped: threading.Event | None = None,
    clock: Callable[[], float] = time.perf_counter,
) -> None:
    """Send the load from this thread, and hand what happened to `on_rows` as it comes.

    The backends must have been entered; `on_rows` is called from another thread. Returns when every
    call has come back or is given up, or soon after `stopped` is set: then requests without an
    answer are left out.
    """
    stopped = stopped or threading.Event()
    origin = clock() + LEAD_SECONDS
    replay = _RoutedReplay(load, lambda: clock() - origin)

    def flush() -> None:
        if rows := replay.take_rows():
            on_rows(rows)

    with flush_regularly(flush, lambda: replay.served_count):
        replay.send(stopped)
    flush()
    last = replay.finish(stopped)
    on_rows(last)


def replay_routed_in_process(
    load: RoutedLoad,
    *,
    on_rows: Callable[[RoutedRows], None],
    stopped: threading.Event | None = None,
) -> None:
    """Send the load from a process of its own, which opens the backends; see `replay_in_process`.

    Raises:
        WorkbenchError: A backend could not be opened, or the process died.
    """
    run_in_process(_replay, load, on_message=on_rows, stopped=stopped)


def _replay(load: RoutedLoad, emit: Emit, stopped: threading.Event) -> None:
    with tune_process(*(each.backend for each in load.loads)):
        replay_routed(load, on_rows=emit, stopped=stopped)


class _RoutedReplay:
    """The state of a load under way: what is where, and what is to be passed on."""

    def __init__(self, load: RoutedLoad, now: Callable[[], float]) -> None:
        self._trace, self._drain = load.loads[0].trace, load.loads[0].drain
        self._schedule: list[float] = [*self._trace.arrivals.tolist(), math.inf]
        self._requests = _list_requests(load)
        self._now = now
        router = load.policy.router(load.places, load.seed)
        self._calls = RoutedCalls(router, load.places, patience=load.patience)
        self._completions: Inbox[_Completion] = Inbox()
        self._given: deque[_Given] = deque()
        self._sent = np.full(len(self._trace), np.nan)
        self._open: dict[int, list[int]] = {}  # of requests without an answer, the places asked
        numbers = count()
        self._places = [
            _PlaceInUse(place, each, reader, now=now, inbox=self._completions, numbers=numbers)
            for place, (each, reader) in enumerate(zip(load.loads, load.readers, strict=True))
        ]

    @property
    def served_count(self) -> int:
        """How many batches were served and not passed on yet."""
        return sum(place.workers.served_count for place in self._places)

    def send(self, stopped: threading.Event) -> None:
        """Send every request when it is due, and settle it."""
        schedule, now, deadline = self._schedule, self._now, self._trace.duration + self._drain
        following, last = 0, len(self._trace)
        while not stopped.is_set():
            self._take_completions()
            instant = now()
            if following == last and (not self._calls.open_count or instant >= deadline):
                return
            self._wake(instant)
            while schedule[following] <= instant:
                self._sent[following] = instant
                self._open[following] = []
                self._react(self._calls.arrive(self._requests[following], instant), instant)
                following += 1
                self._take_completions()
                instant = now()
            self._wake(instant)
            due = min(self._calls.due, *(place.buffer.batcher.due for place in self._places))
            if (seconds := min(schedule[following], due) - now()) > 0:
                self._completions.wait(min(seconds, MAX_SLEEP))

    def take_rows(self) -> RoutedRows | None:
        """Return what happened since the last call, if anything did.

        Answers are taken first, so that the calls that they came from are there, or were before.
        """
        given = [self._given.popleft() for _ in range(len(self._given))]
        calls = [rows for place in self._places if (rows := place.take_rows()) is not None]
        if not given and not calls:
            return None
        return RoutedRows(_concatenate(calls), _list_given(given, self._sent))

    def finish(self, stopped: threading.Event) -> RoutedRows:
        """Take no more, and return what is left: requests without an answer have failed."""
        deadline = self._trace.duration + self._drain
        for place in self._places:
            place.workers.finish(stopped, deadline)
        rest = self.take_rows() or RoutedRows(None, None)
        lost = [each for place in self._places if (each := place.give_up(self._drain)) is not None]
        events = tuple(self._calls.events)
        if stopped.is_set():
            return rest._replace(events=events)
        error = f"no answer within {self._drain:g} s of the end of the trace"
        failed = [
            _Given(number, asked[-1], len(asked), math.nan, error)
            for number, asked in self._open.items()
        ]
        calls = [each for each in (rest.calls, *lost) if each is not None]
        given = [each for each in (rest.given, _list_given(failed, self._sent)) if each is not None]
        return RoutedRows(_concatenate(calls), _concatenate(given), events)

    def _take_completions(self) -> None:
        """Hand the answers in completed batches to the router."""
        for number, served, known in self._completions.take():
            if isinstance(known, Exception):
                raise known
            place, instant = self._places[number], self._now()
            at = instant if served.error else served.finished
            for request, answered in zip(served.requests, known, strict=True):
                answer = PlaceAnswer(number, math.inf, *answered, error=served.error)
                self._react(self._calls.answer(request, answer, at), instant, finished=at)
            if place.watches:
                place.buffer.learn([served], self._schedule, self._now)

    def _wake(self, instant: float) -> None:
        """Act on timers that ran out."""
        if self._calls.due <= instant:
            for reaction in self._calls.wake(instant):
                self._react(reaction, instant, finished=instant)
        for place in self._places:
            if place.buffer.batcher.due <= instant:
                place.buffer.wake(instant)

    def _react(self, reaction: Reaction, instant: float, *, finished: float = math.nan) -> None:
        """Ask whom the router asks, and note an answer that it gives, `finished` then."""
        for number, place in reaction.ask:
            self._open[number].append(place)
            self._places[place].ask(number, instant)
        if reaction.given is not None:
            number, answer, tried = reaction.given
            del self._open[number]
            finished = finished if answer.error is None else math.nan
            self._given.append(_Given(number, answer.place, tried, finished, answer.error))


class _Completion(NamedTuple):
    """A batch that came back to a place, and what is known of its requests' answers."""

    place: int
    batch: CompletedBatch
    known: Sequence[_Known] | Exception


class _PlaceInUse:
    """A place of a load under way: its buffer, its workers, and what reads their answers."""

    def __init__(
        self,
        number: int,
        load: Load,
        reader: AnswerReader,
        *,
        now: Callable[[], float],
        inbox: Inbox[_Completion],
        numbers: Iterator[int],
    ) -> None:
        def notify(batch: CompletedBatch) -> None:
            # in a worker's thread: the one that sends has enough to do
            known: Sequence[_Known] | Exception
            try:
                known = self.read(batch)
            except Exception as error:  # noqa: BLE001 - raised where the load is sent
                known = error
            inbox.put(_Completion(number, batch, known))

        batcher = load.policy.batcher()
        self.watches = batcher.watches
        self.workers = Workers(load, now, announce=False, notify=notify, numbers=numbers)
        self.buffer = Buffer(batcher, self.workers)
        self._number = number
        self._rows = RowMaker(load)
        self._load = load
        self._reader = reader
        self._samples = SampleRows(load)
        self._sizes: list[int] = load.trace.rows.tolist()

    def ask(self, request: int, instant: float) -> None:
        """Put a request into the buffer."""
        self._rows.sent[request] = instant
        self.buffer.add(request, instant)

    def take_rows(self) -> Rows | None:
        """Return the calls that came back since the last time, if any did."""
        return self._make_rows(self.workers.take_served())

    def give_up(self, drain: float) -> Rows | None:
        """Return the calls that have not come back, and take no more."""
        return self._make_rows(self.workers.give_up(drain))

    def _make_rows(self, batches: list[CompletedBatch]) -> Rows | None:
        if not batches:
            return None
        rows = self._rows.of(batches)
        return {**rows, "place": np.full(len(rows["request"]), self._number, np.uint8)}

    def read(self, served: CompletedBatch) -> Sequence[_Known]:
        """Return label, confidence and share of right rows of each request of a batch."""
        outputs, requests = served.reply.outputs, served.requests
        if outputs is None:
            return [_UNKNOWN] * len(requests)
        right = None
        if self._load.targets is not None:
            targets = self._load.targets[self._samples.of(requests)]
            right = self._load.correct(outputs, targets)
        shares = [math.nan] * len(outputs) if right is None else right.tolist()
        labels = self._reader.labels(outputs).tolist()
        confidences = self._reader.confidence(outputs).tolist()
        if len(outputs) == len(requests):
            return list(zip(labels, confidences, shares, strict=True))
        found, first = [], 0
        for request in requests:
            last = first + self._sizes[request]
            share = sum(shares[first:last]) / (last - first)
            least = min(confidences[first:last])
            found.append((tuple(labels[first:last]), least, share))
            first = last
        return found


class _Given(NamedTuple):
    """The end of a request."""

    request: int
    place: int
    tried: int
    finished: float
    error: str | None


def _list_requests(load: RoutedLoad) -> list[RoutedRequest]:
    """Return what the router sees of each request."""
    trace = load.loads[0].trace
    rows = trace.rows.tolist()
    contexts = [""] * len(rows) if load.contexts is None else load.contexts
    return [
        RoutedRequest(number, size, str(context), arrival=arrival)
        for number, (size, context, arrival) in enumerate(
            zip(rows, contexts, trace.arrivals.tolist(), strict=True)
        )
    ]


def _list_given(given: Sequence[_Given], sent: NDArray[np.float64]) -> Rows | None:
    if not given:
        return None
    numbers, places, tried, finished, errors = zip(*given, strict=True)
    requests = np.array(numbers, np.int64)
    return {
        "request": requests,
        "place": np.array(places, np.uint8),
        "tried": np.array(tried, np.uint8),
        "sent": sent[requests],
        "finished": np.array(finished, np.float64),
        "error": list(errors),
    }


def _concatenate(parts: Sequence[Rows]) -> Rows | None:
    if len(parts) < 2:
        return parts[0] if parts else None
    return {
        name: list(chain.from_iterable(part[name] for part in parts))
        if name == "error"
        else np.concatenate([part[name] for part in parts])
        for name in parts[0]
    }
