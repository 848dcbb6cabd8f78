"""Many experiments: in this process, on a pool of processes, or on a cluster.

`sweep` takes any `concurrent.futures` executor, or a `dask.distributed` client. Findings come in as
they are made; a worker's death costs another attempt; with a folder, a sweep that was interrupted
goes on where it was::

    grid = [experiment.on(Serverless(memory_mb=mb, max_concurrency=50)) for mb in (1024, 2048)]
    sweep(grid)                                                    # one after another, here
    with ProcessPoolExecutor(mp_context=get_context("spawn")) as pool:
        sweep(grid, pool, folder="runs")
    sweep(grid, dask.distributed.Client("tcp://scheduler:8786"))
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import sys
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Executor, Future, wait
from concurrent.futures.process import ProcessPoolExecutor
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np

from workbench.errors import InvalidInput, WorkbenchError
from workbench.experiment import Experiment
from workbench.files import as_path
from workbench.measuring.setup import as_plain, find_largest
from workbench.queueing.predictions import Prediction
from workbench.run import Run, load_run
from workbench.service_times import ServiceTimes, digest_of
from workbench.validation import as_tuple, choose, whole_number

if TYPE_CHECKING:
    from workbench.measuring.profile import Profile

How = Literal["simulate", "predict", "run"]
_Future = Future[Run | Prediction]
_TASKS_PER_WORKER = 2  # tasks handed over for each worker: one in hand, one to go on with


@dataclass(frozen=True, kw_only=True, eq=False)
class Finding:
    """What became of one experiment of a sweep: a `result`, or an `error` in words.

    `number` is its place in the sweep, `attempts` how often a worker was given it (0 when it was
    `restored` from the sweep's folder).
    """

    number: int
    experiment: Experiment
    result: Run | Prediction | None = None
    error: str | None = None
    attempts: int = 0
    restored: bool = False


@dataclass(frozen=True, kw_only=True, eq=False)
class _SweepTask:
    number: int
    experiment: Experiment
    how: How
    profile: Profile | ServiceTimes | None
    settings: dict[str, Any]
    attempts: int = 0
    alone: bool = False
    deaths: int = 0  # of workers that had nothing else to do

    def make_finding(self, **fields: Any) -> Finding:  # noqa: ANN401 - fields of a finding
        return Finding(
            number=self.number, experiment=self.experiment, **({"attempts": self.attempts} | fields)
        )

    @property
    def key(self) -> str:
        """A hash of what the result hangs on."""
        made, service = self.experiment, None
        if self.profile is not None:
            service = digest_of(made.service(self.profile), find_largest(made))
        facts = {
            "experiment": made.facts(),
            "how": self.how,
            "service": service,
            "settings": {name: _to_json(value) for name, value in sorted(self.settings.items())},
        }
        return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:32]


def sweep(
    experiments: Iterable[Experiment],
    executor: Any = None,  # noqa: ANN401 - an Executor, or a dask.distributed client
    *,
    how: How = "simulate",
    profile: Profile | ServiceTimes | None = None,
    folder: str | Path | None = None,
    progress: bool | Callable[[int, int], None] = True,
    on_finding: Callable[[Finding], None] | None = None,
    retries: int = 2,
    **settings: Any,  # noqa: ANN401 - whatever `how` takes
) -> list[Finding]:
    """Return what became of each experiment, in their order.

    Args:
        experiments: What to find out. Workers read their models' files: on several machines these
            must lie where all can read them.
        executor: Where to work: any `concurrent.futures` executor, or a `dask.distributed` client.
            By default one after another in this process. A process pool that a worker's death
            breaks stays broken; the sweep goes on with others of its make.
        how: "simulate", "predict" or "run". Runs side by side on one machine slow each other down:
            give them an executor of one worker a machine, or none.
        profile: Service times, as `Experiment.simulate` takes them. By default those kept for each
            model are read, or measured, in this process before anything else begins.
        folder: Where runs are saved as they come, and found again by a later sweep: under a hash
            of the experiment, `how`, service times and settings. Predictions are not saved.
        progress: Whether to say on standard error how far it is, or a function to call.
        on_finding: Called with each finding as it comes, those restored first.
        retries: How many more attempts an experiment gets after one at which a worker died that
            had nothing else to do.
        settings: Arguments of `Experiment.simulate`, `predict` or `run`, such as seed=1.

    An experiment that fails, or whose worker died each time, is a finding with an `error`; the
    others go on. Ctrl-C drops what has not begun; what was saved is kept.

    Raises:
        InvalidInput: There is none, `how` is unknown, the executor is none, or it forks.
        StorageError: A run cannot be saved.
    """
    choose("how", how, get_args(How))
    whole_number("retries", retries, low=0)
    pool = None if executor is None else _pool_of(executor)
    tasks = _tasks(as_tuple("experiments", experiments), how, profile, settings)
    folder_path = None if folder is None or how == "predict" else as_path(folder)
    found: dict[int, Finding] = {}
    with closing(_findings(tasks, pool, folder_path, retries)) as findings:
        for finding in findings:
            found[finding.number] = finding
            if on_finding:
                on_finding(finding)
            _report_progress(progress, len(found), len(tasks))
    return [found[number] for number in range(len(tasks))]


def _tasks(
    experiments: Sequence[Experiment],
    how: How,
    profile: Profile | ServiceTimes | None,
    settings: dict[str, Any],
) -> list[_SweepTask]:
    """Return a task an experiment; service times are measured here, where nothing disturbs."""
    if not experiments:
        raise InvalidInput("There is no experiment to sweep over: give at least one.")
    for each in experiments:
        if not isinstance(each, Experiment):
            raise InvalidInput(f"A sweep is over experiments, got {each!r}.")
    pairs = zip(experiments, _profiles(experiments, how, profile), strict=True)
    return [
        _SweepTask(number=number, experiment=each, how=how, profile=known, settings=settings)
        for number, (each, known) in enumerate(pairs)
    ]


def _profiles(
    experiments: Sequence[Experiment], how: How, profile: Profile | ServiceTimes | None
) -> list[Profile | ServiceTimes | None]:
    if how == "run" or profile is not None:
        return [profile] * len(experiments)
    known: dict[tuple[str, int], Profile] = {}
    # the largest first: what a model's experiments need is then measured in one go
    for each in sorted(experiments, key=find_largest, reverse=True):
        if (which := _profile_key(each)) not in known:
            known[which] = each.ensure_profile()
    return [known[_profile_key(each)] for each in experiments]


def _profile_key(experiment: Experiment) -> tuple[str, int]:
    """Return which kept profile is read: that of a model's file and so many threads."""
    return as_plain(experiment).model.sha256, experiment.deployment.session_threads


def _findings(
    tasks: list[_SweepTask], pool: _Pool | None, folder: Path | None, retries: int
) -> Generator[Finding]:
    open_tasks = []
    for task in tasks:
        run = None if folder is None else _load_saved(task, folder)
        if run is None:
            open_tasks.append(task)
        else:
            yield task.make_finding(result=run, restored=True)
    here = (_collect(replace(task, attempts=1), partial(_carry_out, task)) for task in open_tasks)
    for finding in here if pool is None else _run_on_pool(open_tasks, pool, retries):
        if folder is not None and isinstance(finding.result, Run) and finding.result.complete:
            finding.result.save(folder / tasks[finding.number].key, overwrite=True)
        yield finding


def _load_saved(task: _SweepTask, folder: Path) -> Run | None:
    with suppress(WorkbenchError):  # what is wrong with a task comes out when it is carried out
        return load_run(folder / task.key)
    return None


def _collect(task: _SweepTask, result: Callable[[], Run | Prediction]) -> Finding:
    try:
        return task.make_finding(result=result())
    except Exception as error:  # noqa: BLE001 - whatever one experiment fails of, others go on
        return task.make_finding(error=f"{type(error).__name__}: {error}")


def _carry_out(task: _SweepTask) -> Run | Prediction:
    """Find out, in whatever process this is."""
    if task.how == "run":
        return task.experiment.run(**task.settings)
    find = task.experiment.predict if task.how == "predict" else task.experiment.simulate
    return find(task.profile, **task.settings)


def _run_on_pool(tasks: list[_SweepTask], pool: _Pool, retries: int) -> Iterator[Finding]:
    """Yield findings as workers make them."""
    # When a worker of a process pool dies, all that was handed over is lost, and any of it may be
    # to blame: these suspects are repeated one at a time, so that only the culprit dies again.
    waiting, suspects = deque(tasks), deque[_SweepTask]()
    pending: dict[_Future, _SweepTask] = {}
    try:
        while waiting or suspects or pending:
            if suspects:
                _hand_over(suspects, pending, pool, most=1)
            else:
                _hand_over(waiting, pending, pool, most=_TASKS_PER_WORKER * pool.workers)
            done, _ = wait(pending, return_when=FIRST_COMPLETED)
            for future in done:
                task = pool.count_attempts(pending.pop(future))
                if future.cancelled() or not isinstance(future.exception(), BrokenExecutor):
                    yield _collect(task, future.result)
                elif task.deaths + task.alone <= retries:
                    suspects.append(replace(task, deaths=task.deaths + task.alone))
                else:
                    died = f"Its worker died, {task.deaths + 1} times: {future.exception()}"
                    yield task.make_finding(error=died)
    finally:  # when it is left early, what has not begun is dropped
        for future in pending:
            future.cancel()
        pool.close()


def _hand_over(
    source: deque[_SweepTask], pending: dict[_Future, _SweepTask], pool: _Pool, *, most: int
) -> None:
    while source and len(pending) < most:
        task = source.popleft()
        task = replace(task, attempts=task.attempts + 1, alone=most == 1)
        pending[pool.submit(task)] = task


class _Pool:
    """An executor, and those that follow it when its workers die."""

    def __init__(self, executor: Executor, workers: Callable[[], int]) -> None:
        self._original = self._current = executor
        self._workers = workers

    @property
    def workers(self) -> int:
        """How many there are now."""
        return max(1, self._workers())

    def submit(self, task: _SweepTask) -> _Future:
        """Hand a task over, to a new pool of the same make where this one is broken."""
        try:
            return self._current.submit(_carry_out, task)
        except BrokenExecutor as error:
            if not isinstance(self._current, ProcessPoolExecutor):
                failed: _Future = Future()
                failed.set_exception(error)
                return failed
            self.close()
            self._current = _copy_pool(self._current)
            return self._current.submit(_carry_out, task)

    def count_attempts(self, task: _SweepTask) -> _SweepTask:
        """Return a task that is done with, and how often it was tried."""
        return task

    def close(self) -> None:
        """Shut down what was not given."""
        if self._current is not self._original:
            self._current.shutdown(wait=False, cancel_futures=True)


class _Cluster(_Pool):
    """A dask cluster, which by itself tries again what died with a worker."""

    def __init__(self, client: Any) -> None:  # noqa: ANN401 - a dask.distributed client
        threads = client.nthreads
        executor = client.get_executor(pure=False)
        super().__init__(executor, lambda: sum(threads().values()))
        self._client, self._submit = client, executor.submit
        self._name = f"sweep-{secrets.token_hex(8)}"

    def submit(self, task: _SweepTask) -> _Future:
        future: _Future = self._submit(_carry_out, task, key=self._key(task))
        return future

    def count_attempts(self, task: _SweepTask) -> _SweepTask:
        story = self._client.story(self._key(task), on_error="ignore")
        given = sum(event[0] == "scheduler" and event[3] == "processing" for event in story)
        return replace(task, attempts=max(given, 1))  # a busy scheduler forgets old stories

    def _key(self, task: _SweepTask) -> str:
        return f"{self._name}-{task.number}"


def _copy_pool(pool: ProcessPoolExecutor) -> ProcessPoolExecutor:
    names = ("max_workers", "mp_context", "initializer", "initargs")
    return ProcessPoolExecutor(**{name: getattr(pool, f"_{name}") for name in names})


def _pool_of(executor: Any) -> _Pool:  # noqa: ANN401 - an Executor, or a dask.distributed client
    if hasattr(executor, "get_executor"):
        return _Cluster(executor)
    if not isinstance(executor, Executor):
        raise InvalidInput(
            "executor must be a concurrent.futures.Executor or a dask.distributed.Client, "
            f"got {executor!r}."
        )
    context = getattr(executor, "_mp_context", None)
    if context is not None and context.get_start_method() == "fork":
        raise InvalidInput(
            "This pool forks, and a fork hangs once Polars has been used: make it with "
            'ProcessPoolExecutor(mp_context=multiprocessing.get_context("spawn")).'
        )
    workers = getattr(executor, "_max_workers", None) or os.cpu_count() or 1
    return _Pool(executor, lambda: workers)


def _report_progress(progress: bool | Callable[[int, int], None], done: int, total: int) -> None:  # noqa: FBT001 - as given to `sweep`
    if callable(progress):
        progress(done, total)
    elif progress:
        sys.stderr.write(f"\r{done} of {total} experiments" + "\n" * (done == total))
        sys.stderr.flush()


def _to_json(value: Any) -> Any:  # noqa: ANN401 - any setting, as JSON
    if isinstance(value, ServiceTimes):
        return digest_of(value, value.largest)
    if isinstance(value, Mapping):
        return {str(name): _to_json(each) for name, each in value.items()}
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    if isinstance(value, list | tuple):
        return [_to_json(each) for each in value]
    if isinstance(value, str | int | float | None):
        return value
    return value.to_dict() if hasattr(value, "to_dict") else repr(value)
