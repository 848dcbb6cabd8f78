"""The requests of a trace as batch transform jobs, each begun when its period is over.

The rules are those of the simulator: requests scheduled in [k * period, (k + 1) * period) are one
job that starts at (k + 1) * period, or at the end of the trace without a period, and all of them
finish when it ends.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from workbench.backends.base import Reply
from workbench.errors import InvocationError, OverBudget, WorkbenchError
from workbench.measuring.inputs import PIECE_BYTES
from workbench.measuring.load import CompletedBatch, Load, RowMaker, Rows, SampleRows
from workbench.traffic.trace import Trace
from workbench.validation import require_rows

if TYPE_CHECKING:
    from workbench.cloud.transform_jobs import TransformJobs

_MAX_CONCURRENT_JOBS = 16  # jobs that are prepared or under way; further ones start late
_POLL_INTERVAL = 0.1  # seconds between two looks at what has ended


@dataclass(frozen=True)
class PlannedJob:
    """A job to come: number, requests, when the last of them is scheduled, when it starts."""

    number: int
    requests: list[int]
    last: float
    due: float


@dataclass
class JobReplay:
    """What became of a trace besides its rows.

    Attributes:
        spans: From when to when instances of a job were billed, in seconds of the trace.
        warnings: What a reader of the rows has to know.
    """

    spans: list[tuple[float, float]] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def jobs_of(trace: Trace, period: float | None) -> list[PlannedJob]:
    """Return the jobs that a trace becomes, in order."""
    from workbench.simulator.platforms import job_bounds  # imports Numba

    first, due = job_bounds(trace, period)
    arrivals = trace.arrivals
    return [
        PlannedJob(number, list(range(start, end)), float(arrivals[end - 1]), float(at))
        for number, (start, end, at) in enumerate(
            zip(first[:-1].tolist(), first[1:].tolist(), due, strict=True)
        )
    ]


def replay_jobs(
    load: Load,
    jobs: TransformJobs,
    *,
    on_rows: Callable[[Rows], None],
    stopped: threading.Event,
    clock: Callable[[], float] = time.perf_counter,
) -> JobReplay:
    """Run the jobs of a trace when they are due; `on_rows` gets the requests of each that ended.

    Rows are brought to the cloud once the last of a job is scheduled. Setting `stopped`, or Ctrl-C,
    stops the jobs under way, whose requests then have no rows.
    """
    runner = _JobRunner(load, jobs, stopped, on_rows, began=clock(), clock=clock)
    with ThreadPoolExecutor(_MAX_CONCURRENT_JOBS) as pool:
        try:
            for job in jobs_of(load.trace, jobs.deployment.period):
                if runner.collect_until(job.last):
                    runner.pending.add(pool.submit(runner.run, job))
            runner.collect_all()
        except KeyboardInterrupt:
            stopped.set()
            runner.collect_all()
        except BaseException:
            stopped.set()  # else the pool would wait for every job
            raise
    return runner.outcome


@dataclass
class _JobRunner:
    """Where one job after the other runs, and when."""

    load: Load
    jobs: TransformJobs
    stopped: threading.Event
    on_rows: Callable[[Rows], None]
    began: float
    clock: Callable[[], float]
    outcome: JobReplay = field(default_factory=JobReplay)
    pending: set[Future[CompletedBatch | None]] = field(default_factory=set)

    def __post_init__(self) -> None:
        self._maker = RowMaker(self.load)
        self._maker.sent[:] = self.load.trace.arrivals  # no buffer holds them back

    def collect_until(self, instant: float) -> bool:
        """Collect the jobs that end until an instant; False: it was stopped before."""
        while (left := instant - self.now()) > 0 and not self.stopped.wait(
            min(_POLL_INTERVAL, left)
        ):
            self._collect(0)
        return not self.stopped.is_set()

    def collect_all(self) -> None:
        """Collect every job that is under way."""
        while self.pending:
            self._collect(_POLL_INTERVAL)

    def _collect(self, seconds: float) -> None:
        over, self.pending = wait(self.pending, seconds) if self.pending else (set(), set())
        served = [each for each in (future.result() for future in over) if each is not None]
        if served:
            self.on_rows(self._maker.of(sorted(served)))

    def now(self) -> float:
        """Return the seconds since the trace began."""
        return self.clock() - self.began

    def run(self, job: PlannedJob) -> CompletedBatch | None:
        """Return what became of a job; None: it was stopped."""
        started = float("nan")
        try:
            sizes = self._upload(job)
            if self.stopped.wait(max(0.0, job.due - self.now())):
                return None
            started = self.now()
            self.jobs.start(str(job.number))
            ended = self.jobs.wait(str(job.number), stopped=self.stopped)
            span = (started + ended.started, started + ended.ended)
            self.outcome.spans += [span] * self.jobs.deployment.count
            if not ended.complete:
                return None
            outputs = [
                require_rows(self.jobs.answers(str(job.number), part), size)
                for part, size in enumerate(sizes)
            ]
        except OverBudget as error:
            self.outcome.warnings.append(str(error))
            self.stopped.set()
            return None
        except WorkbenchError as error:
            text = f"{InvocationError.__name__}: {error}"
            return CompletedBatch(job.number, job.requests, -1, started, error=text)
        reply = Reply(np.concatenate(outputs), cold=True)
        return CompletedBatch(job.number, job.requests, -1, started, span[1], reply)

    def _upload(self, job: PlannedJob) -> list[int]:
        """Bring the rows of a job to the cloud, and return how many each part has."""
        inputs: NDArray[Any] = SampleRows(self.load).inputs(job.requests)
        share = -(-len(inputs) // (2 * self.jobs.deployment.count))  # so that every instance works
        each = max(1, min(PIECE_BYTES // inputs[:1].nbytes, share))
        parts = [inputs[at : at + each] for at in range(0, len(inputs), each)]
        for number, part in enumerate(parts):
            self.jobs.put(str(job.number), number, part)
        return [len(part) for part in parts]
