"""A model's answers to data of any size: by batch transform on a cloud, on Dask, or right here.

Rows are read in pieces and answers come back in their order, so that neither needs to fit into the
memory: `output` is for answers that do not.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, TypeVar

from numpy.typing import NDArray

from workbench.backends.base import Batch
from workbench.backends.local import LocalBackend
from workbench.cloud.aws import Cloud
from workbench.cloud.transform_jobs import TransformJobs, prepare_jobs
from workbench.deployment.base import Deployment
from workbench.errors import CloudError, InvalidInput, InvocationError, Stopped, WorkbenchError
from workbench.measuring.inputs import Piece, Source, open_source
from workbench.measuring.outputs import OutputWriter, open_writer
from workbench.pricing.cost import Cost
from workbench.pricing.usage import Usage
from workbench.registry.model import Model
from workbench.registry.onnx import Session
from workbench.registry.rows import Missing
from workbench.validation import flag, of_kind, positive, require_rows

_MAX_TRANSFERS = 4  # objects on their way to a cloud, or from there
_JOB_NAME = "0"
_T = TypeVar("_T")
_R = TypeVar("_R")

Progress = Callable[[int, int], object]
"""A function called with the rows answered and those in all: the same where not known."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Transformed:
    """What became of the rows.

    Attributes:
        outputs: The model's answers, one for each row and in their order; None where they went
            into a file.
        path: That file.
        rows: How many there were.
        seconds: From the first row that was read to the last answer.
        origin: How the answers came about: "measured: local cloud", ...
        cost: Of the job's instances; None where no cloud was asked.
    """

    outputs: NDArray[Any] | None
    path: Path | None
    rows: int
    seconds: float
    origin: str
    cost: Cost | None = None

    def __repr__(self) -> str:
        where = "" if self.path is None else f" in {self.path}"
        return f"Transformed({self.rows:,} rows{where}, {self.seconds:.3g} s, {self.origin})"


def transform(
    model: Model,
    data: Any,  # noqa: ANN401 - a path, an array or a frame
    deployment: Deployment,
    cloud: Any = None,  # noqa: ANN401 - a Cloud, or a dask.distributed client
    *,
    columns: Iterable[str] | None = None,
    header: bool | None = None,
    schema: Mapping[str, Any] | None = None,
    missing: Missing = "refuse",
    output: str | Path | None = None,
    budget: float | None = None,
    yes: bool = False,
    expected: float = 3600.0,
    progress: Progress | None = None,
    stopped: threading.Event | None = None,
) -> Transformed:
    """Return a model's answers to every row of data, in their order.

    Ctrl-C, or setting `stopped`, stops the job; however this ends, nothing is left on the cloud.

    Args:
        model: What answers.
        data: A NumPy array whose first axis are rows, a frame of Polars or pandas, columns by
            name, a list of dicts, or the path of a `.parquet`, `.csv`, `.jsonl` or `.npy` file,
            which is read in pieces, or of `.json` records. A column of lists of one length, such
            as answers are written as, is as many values. A model of several inputs takes columns
            by the names of its inputs, whatever others there are.
        deployment: `BatchTransform` on a cloud; `Local` on Dask and on this machine, where its
            `threads` are those of each run of the model.
        cloud: Where; a `dask.distributed` client has its workers answer, which must see the
            registry's folder, and a `.parquet` or `.npy` file, under the same path as this
            process. Without one, this machine answers.
        columns: Those of a frame or file that the model takes, by default all; for a model of
            several inputs in their order, where they have other names.
        header: Whether a CSV has a header; by default it has none, and a warning says so, if its
            first line holds numbers or instants alone.
        schema: Types of a text file's columns by name, "float32" or Polars's; by default those
            that all their cells have.
        missing: "nan" has a model of floats see NaN where a value is missing: an empty cell, `nan`,
            `NA` or `null` in a text file, null in a frame.
        output: A new `.parquet` file for the rows with the column "prediction" beside them, a
            `.csv` file of the same, in which answers of several values are columns "prediction_0"
            and so on, or a `.npy` file for the answers alone.
        budget: The most that it may cost, in US dollars: a job that reaches it is stopped.
        yes: Whether it may cost money without asking.
        expected: Seconds that the job takes, for the estimate.
        progress: Called with how many rows have been answered.
        stopped: Stops the job when it is set.

    Raises:
        InvalidInput: Data, deployment or output are not what they must be; a value that the
            model's type does not hold is named by row and column.
        NotFound: There is no such file.
        NotAvailable: Nobody agreed to the cost, or credentials, a role or an image are missing.
        OverBudget: It may cost more than the budget, or did.
        Stopped: `stopped` was set before every row was answered.
        CloudError: The job failed, somebody else stopped it, or the cloud refused.
        InvocationError: The model failed, here or on Dask.
        RowMismatch: A piece has more or fewer answers than rows.
        StorageError: The output cannot be written.
    """
    of_kind("model", model, Model, "a Model")
    flag("yes", yes)
    positive("expected", expected, "seconds")
    _check_deployment(deployment, cloud)
    source = open_source(
        data,
        model.traits.input_schema,
        columns=columns,
        header=header,
        schema=schema,
        missing=missing,
    )
    began = time.perf_counter()
    with open_writer(output, source.names) as answers:
        task = _TransformTask(model, source, answers, stopped or threading.Event(), progress)
        if deployment.by_job:
            with prepare_jobs(
                model,
                deployment,
                cloud,
                budget=budget,
                yes=yes,
                expected=expected,
                stopped=task.stopped,
            ) as jobs:
                _run_job(task, jobs)
            origin, cost = cloud.origin, _cost(jobs, answers.rows)
        else:
            origin, cost = _run_workers(task, deployment, cloud), None
        answers.finish()
    return Transformed(
        outputs=answers.outputs,
        path=answers.path,
        rows=answers.rows,
        seconds=time.perf_counter() - began,
        origin=origin,
        cost=cost,
    )


def _check_deployment(deployment: Deployment, cloud: object) -> None:
    if isinstance(cloud, Cloud):
        if not deployment.by_job:
            raise InvalidInput(
                f"{cloud.name} transforms by BatchTransform jobs, got {deployment!r}: take for "
                "instance BatchTransform(instance_type='ml.m5.large')."
            )
    elif cloud is not None and not hasattr(cloud, "get_executor"):
        raise InvalidInput(f"cloud must be a Cloud or a dask.distributed.Client, got {cloud!r}.")
    elif deployment.needs:
        raise InvalidInput(
            f"On Dask and on this machine the deployment must be Local, got {deployment!r}. "
            "A BatchTransform deployment needs a cloud: LocalCloud() or aws()."
        )


@dataclass(frozen=True)
class _TransformTask:
    model: Model
    source: Source
    answers: OutputWriter
    stopped: threading.Event
    progress: Progress | None

    def take(self, outputs: Generator[NDArray[Any]], workers: int) -> None:
        """Take answers in, each beside the piece that it is to, and tell."""
        pieces = self.source.pieces(workers)
        with closing(outputs):
            for each in outputs:
                self.go_on()
                self.answers.take(each, next(pieces))
                self.tell(self.answers.rows)

    def tell(self, rows: int) -> None:
        """Tell how many rows have been answered."""
        if self.progress is not None:
            self.progress(rows, self.source.count or rows)

    def go_on(self) -> None:
        """Return, unless it was stopped."""
        if self.stopped.is_set():
            raise Stopped("Stopped before every row was answered.")


# ------------------------------------------------------------------------------------- on a cloud


def _run_job(task: _TransformTask, jobs: TransformJobs) -> None:
    """Have one job of batch transform answer."""
    count = jobs.deployment.count
    with ThreadPoolExecutor(_MAX_TRANSFERS) as pool:
        sizes = []
        pieces = enumerate(task.source.pieces(count))
        with closing(
            _map_ordered(pool, partial(_put, jobs), pieces, ahead=_MAX_TRANSFERS)
        ) as uploads:
            for rows in uploads:
                task.go_on()
                sizes.append(rows)
        jobs.start(_JOB_NAME)
        each = (task.source.count or 0) / len(sizes)
        tell = (lambda done: task.tell(int(done * each))) if task.progress else None
        ended = jobs.wait(_JOB_NAME, stopped=task.stopped, progress=tell)
        if not ended.complete:
            task.go_on()
            raise CloudError("The job was stopped before every row was answered.", "Stopped")

        def get(numbered: tuple[int, int]) -> NDArray[Any]:
            part, rows = numbered
            return require_rows(jobs.answers(_JOB_NAME, part), rows)

        task.take(_map_ordered(pool, get, enumerate(sizes), ahead=_MAX_TRANSFERS), count)


def _put(jobs: TransformJobs, numbered: tuple[int, Piece]) -> int:
    """Bring a piece to the cloud, and return its rows."""
    number, piece = numbered
    rows = piece.inputs()
    jobs.put(_JOB_NAME, number, rows)
    return len(rows)


def _cost(jobs: TransformJobs, rows: int) -> Cost:
    items = jobs.deployment.bill(Usage(instance_seconds=jobs.instance_seconds))
    return Cost(items=items, answered=rows, origin=jobs.cloud.origin)


# ------------------------------------------------------------------------- on Dask, or right here


def _run_workers(task: _TransformTask, deployment: Deployment, client: Any) -> str:  # noqa: ANN401 - of Dask
    """Have workers answer, and return how that is called."""
    one, _ = deployment.part_here()
    workers, threads = one.instance_workers, one.session_threads
    if client is None:
        with (
            LocalBackend(task.model, workers=workers, threads=threads) as backend,
            ThreadPoolExecutor(workers) as pool,
        ):
            _run_executor(task, pool, partial(_invoke, backend), workers)
        return "measured: this machine"
    answer = partial(_answer, task.model, threads)
    workers = max(1, sum(client.nthreads().values()))
    with _translate_errors():
        _run_executor(task, client.get_executor(pure=False), answer, workers)
    return "measured: Dask"


def _run_executor(
    task: _TransformTask, executor: Executor, answer: Callable[[Piece], NDArray[Any]], workers: int
) -> None:
    pieces = task.source.pieces(workers)
    task.take(_map_ordered(executor, answer, pieces, ahead=2 * workers), workers)


def _invoke(backend: LocalBackend, piece: Piece) -> NDArray[Any]:
    outputs = backend.invoke(Batch(piece.inputs())).outputs
    assert outputs is not None  # noqa: S101 - a model answers
    return outputs


def _answer(model: Model, threads: int, piece: Piece) -> NDArray[Any]:
    """Answer in a worker of Dask's, which keeps the model for the next piece."""
    return _session(model, threads).run(piece.inputs())


@lru_cache(maxsize=2)
def _session(model: Model, threads: int) -> Session:
    return model.session(threads=threads)


@contextmanager
def _translate_errors() -> Iterator[None]:
    """Turn what Dask raises, a worker that died for instance, into our errors."""
    try:
        yield
    except WorkbenchError:
        raise
    except Exception as error:
        raise InvocationError(f"Dask did not answer: {type(error).__name__}: {error}") from error


def _map_ordered(
    executor: Executor, function: Callable[[_T], _R], items: Iterable[_T], *, ahead: int
) -> Generator[_R]:
    """Return what a function returns for each item, in order, with so many under way at most."""
    going: deque[Any] = deque()
    try:
        for item in items:
            going.append(executor.submit(function, item))
            if len(going) >= ahead:
                yield going.popleft().result()
        while going:
            yield going.popleft().result()
    finally:
        for future in going:
            future.cancel()
