"""Service times of a model, measured by batch size and threads through the path of a live run.

Two states are distinguished: they differ by a fifth and more for models of a few milliseconds:
"back to back", the time a batch adds when the server is busy and batches wait, and "after idle",
the time from handing a batch over to its answer when the server has slept. Inputs rotate through
the model's held-out samples: one row repeated makes tree models look up to three times faster.
"""

import math
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from workbench.backends.local import LocalBackend
from workbench.batching.timer import BatchPolicy
from workbench.deployment.local import MAX_THREADS
from workbench.errors import Damaged, InvalidInput, InvocationError
from workbench.files import load_frame, save_frame
from workbench.measuring.load import Load, Workers, tune_process
from workbench.process import Emit, run_in_process
from workbench.provenance import environment
from workbench.registry.model import Model
from workbench.service_times import MAX_BATCH_ROWS
from workbench.traffic.patterns import constant
from workbench.validation import (
    as_array,
    as_tuple,
    inner_share,
    not_negative,
    of_kind,
    positive,
    whole_number,
)

if TYPE_CHECKING:
    import polars as pl

BACK_TO_BACK = "back to back"
AFTER_IDLE = "after idle"
QUANTILE_LEVELS = tuple(round(0.05 * step, 2) for step in range(21))
"""The quantile levels a profile keeps of each service time."""

_COLUMNS = (
    "batch_size",
    "threads",
    "state",
    "repeats",
    "median",
    "low",
    "high",
    "mean",
    "quantiles",
)
_BATCHES_PER_ROUND = 8
_MIN_REPEATS, _MAX_REPEATS = 24, 4000
_MAX_IDLE = 60.0


@dataclass(frozen=True, eq=False)
class Profile:
    """Service times in seconds: a row for each batch size, number of threads and state.

    `frame` has the columns batch_size, threads, state ("back to back" or "after idle"), repeats,
    median, low and high (a 95 % confidence interval of the median), mean, and quantiles (at
    `QUANTILE_LEVELS`). `facts` tells model, machine and date as JSON values.
    """

    frame: "pl.DataFrame"
    facts: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        import polars as pl

        of_kind("frame", self.frame, pl.DataFrame, "a Polars frame")
        missing = [name for name in _COLUMNS if name not in self.frame.columns]
        if missing:
            raise InvalidInput(f"A profile needs the columns {_COLUMNS}; missing: {missing}.")

    @property
    def label(self) -> str:
        """The profiled model's name."""
        return str(self.facts.get("model", {}).get("name", "profile"))

    @property
    def origin(self) -> str:
        """How the figures came about."""
        return str(self.facts.get("origin", "unknown"))

    def times(self, *, threads: int = 1, state: str = BACK_TO_BACK) -> "pl.DataFrame":
        """Return the rows of one number of threads and one state, by batch size.

        Raises:
            InvalidInput: These threads or this state were not measured.
        """
        import polars as pl

        rows = self.frame.filter(pl.col("threads") == threads, pl.col("state") == state)
        if rows.is_empty():
            known = self.frame.select("threads", "state").unique().sort("threads", "state").rows()
            raise InvalidInput(
                f"Nothing was measured {state} with {threads} threads. Measured: {known}."
            )
        return rows.sort("batch_size")

    def service_time(
        self, batch_size: int, *, threads: int = 1, state: str = BACK_TO_BACK
    ) -> float:
        """Return the median service time of a batch in seconds.

        Raises:
            InvalidInput: This batch size was not measured: profile it, or use `fit`.
        """
        rows = self.times(threads=threads, state=state)
        sizes = rows["batch_size"].to_list()
        if batch_size not in sizes:
            raise InvalidInput(
                f"No service time was measured for a batch of {batch_size}, only for {sizes}: "
                "profile that size too, or use fit()."
            )
        return float(rows["median"][sizes.index(batch_size)])

    def capacity(self, batch_size: int = 1, *, threads: int = 1) -> float:
        """Return the requests a second that one worker can do in batches of this size."""
        return batch_size / self.service_time(batch_size, threads=threads)

    def fit(
        self, kind: str = "auto", *, threads: int = 1, state: str = BACK_TO_BACK
    ) -> "ServiceTimeFit":
        """Return a formula for the median by batch size; "auto" takes the one that errs least.

        Kinds are "affine", "quadratic" and "piecewise" (straight lines between measured sizes),
        judged by leaving one inner size out at a time and predicting it from the others.

        Raises:
            InvalidInput: The kind is unknown, or fewer than 4 batch sizes were measured.
        """
        rows = self.times(threads=threads, state=state)
        return fit_service_times(
            rows["batch_size"].to_numpy(), rows["median"].to_numpy(), kind=kind
        )

    def save(self, path: str | Path, *, overwrite: bool = False) -> Path:
        """Write the profile as a folder, whole or not at all."""
        return save_frame(path, self.frame, self.facts, overwrite=overwrite)

    def __repr__(self) -> str:
        return f"<Profile {self.label}: {self.frame.height} rows, {self.origin}>"


def load_profile(path: str | Path) -> Profile:
    """Return the profile that `Profile.save` wrote to the folder `path`.

    Raises:
        NotFound: There is none.
        Damaged: Its files are not what was saved.
    """
    frame, facts = load_frame(path)
    try:
        return Profile(frame, facts)
    except InvalidInput as error:
        raise Damaged(f"{path} does not hold a profile: {error}") from error


@dataclass(frozen=True, eq=False)
class ServiceTimeFit:
    """A formula for service time by batch size, with its error where it can be known.

    `error` is the mean relative error of predicting a measured inner size from the others.
    """

    kind: str
    sizes: NDArray[np.float64]
    seconds: NDArray[np.float64]
    error: float

    def __call__(self, batch_size: ArrayLike) -> NDArray[np.float64]:
        """Return seconds for these batch sizes.

        Raises:
            InvalidInput: A size lies outside the measured ones.
        """
        given = as_array("batch_size", batch_size)
        within = given.dtype.kind in "iuf" and (given >= self.sizes[0]) & (given <= self.sizes[-1])
        if not np.all(within):
            raise InvalidInput(
                f"Batch sizes were measured from {self.sizes[0]:g} to {self.sizes[-1]:g}, "
                f"asked for {batch_size!r}: profile those too."
            )
        asked = given.astype(np.float64)
        return _CURVES[self.kind](self.sizes, self.seconds, asked)


def fit_service_times(
    sizes: ArrayLike, seconds: ArrayLike, *, kind: str = "auto"
) -> ServiceTimeFit:
    """Return the formula of a kind, or of the kind that errs least, through measured times.

    Raises:
        InvalidInput: The kind is unknown, or there are fewer than 4 sizes.

    >>> fit = fit_service_times([1, 2, 4, 8], [3.0, 4.0, 6.0, 10.0])
    >>> fit.kind, round(float(fit(6)), 6), round(fit.error, 6)
    ('affine', 8.0, 0.0)
    """
    sizes, seconds = np.asarray(sizes, float), np.asarray(seconds, float)
    if kind != "auto" and kind not in _CURVES:
        raise InvalidInput(f"kind must be auto or one of {', '.join(_CURVES)}; got {kind!r}.")
    if len(sizes) < 4:
        raise InvalidInput(f"A fit needs at least 4 batch sizes, got {len(sizes)}.")
    kinds = list(_CURVES) if kind == "auto" else [kind]
    errors = {kind: _leave_one_out_error(_CURVES[kind], sizes, seconds) for kind in kinds}
    best = min(errors, key=lambda kind: round(errors[kind], 6))
    return ServiceTimeFit(best, sizes, seconds, errors[best])


Curve = Callable[
    [NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]], NDArray[np.float64]
]


def _polynomial(degree: int) -> Curve:
    def curve(
        sizes: NDArray[np.float64], seconds: NDArray[np.float64], asked: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        terms = np.polynomial.polynomial.polyfit(sizes, seconds, degree, w=1 / seconds)
        return np.asarray(np.polynomial.polynomial.polyval(asked, terms))

    return curve


def _piecewise(
    sizes: NDArray[np.float64], seconds: NDArray[np.float64], asked: NDArray[np.float64]
) -> NDArray[np.float64]:
    return np.asarray(np.interp(asked, sizes, seconds))


_CURVES: dict[str, Curve] = {
    "affine": _polynomial(1),
    "quadratic": _polynomial(2),
    "piecewise": _piecewise,
}


def _leave_one_out_error(
    curve: Curve, sizes: NDArray[np.float64], seconds: NDArray[np.float64]
) -> float:
    errors = []
    for left_out in range(1, len(sizes) - 1):
        rest = np.arange(len(sizes)) != left_out
        guess = curve(sizes[rest], seconds[rest], sizes[left_out : left_out + 1])[0]
        errors.append(abs(guess / seconds[left_out] - 1))
    return float(np.mean(errors))


def profile(
    model: Model,
    *,
    batch_sizes: Sequence[int] = (1, 2, 4, 8, 16, 32),
    threads: Sequence[int] = (1,),
    precision: float = 0.02,
    budget: float = 1.0,
    idle: float = 0.02,
    progress: Callable[[int, int], None] | None = None,
    stopped: threading.Event | None = None,
) -> Profile:
    """Measure service times on this machine, in a process of its own.

    Each row is repeated until the 95 % interval of its median is within `precision` of it, or for
    `budget` seconds, but 24 times at least; an idle server has slept `idle` seconds, a minute at
    most. `progress` is called with rows done and in all. Ctrl-C keeps the rows measured so far.

    Raises:
        InvalidInput: A batch size, a number of threads or a setting is out of range, or there are
            no sizes or threads.
        InvocationError: The model failed.
    """
    plan = _ProfilePlan(model, batch_sizes, threads, precision, budget, idle)
    rows: list[dict[str, Any]] = []

    def take(row: dict[str, Any]) -> None:
        rows.append(row)
        if progress:
            progress(len(rows), 2 * len(plan.batch_sizes) * len(plan.threads))

    run_in_process(_measure, plan, on_message=take, stopped=stopped)
    facts = {
        "model": {"name": model.name, "sha256": model.sha256},
        "origin": "measured: this machine",
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "environment": environment(),
        "settings": {"precision": plan.precision, "budget": plan.budget, "idle": plan.idle},
    }
    return Profile(_profile_frame(rows), facts)


def _profile_frame(rows: list[dict[str, Any]]) -> "pl.DataFrame":
    import polars as pl

    kinds = {
        "batch_size": pl.Int32(),
        "threads": pl.Int32(),
        "state": pl.String(),
        "repeats": pl.Int32(),
        "median": pl.Float64(),
        "low": pl.Float64(),
        "high": pl.Float64(),
        "mean": pl.Float64(),
        "quantiles": pl.List(pl.Float64()),
    }
    return pl.DataFrame(rows, schema=kinds)


@dataclass(frozen=True)
class _ProfilePlan:
    model: Model
    batch_sizes: Sequence[int]
    threads: Sequence[int]
    precision: float
    budget: float
    idle: float

    def __post_init__(self) -> None:
        of_kind("model", self.model, Model)
        kept: dict[str, Any] = {
            "batch_sizes": _counts("batch_sizes", self.batch_sizes, high=MAX_BATCH_ROWS),
            "threads": _counts("threads", self.threads, high=MAX_THREADS),
            "precision": inner_share("precision", self.precision),
            "budget": positive("budget", self.budget, "seconds"),
            "idle": not_negative("idle", self.idle, "seconds"),
        }
        if kept["idle"] > _MAX_IDLE:
            raise InvalidInput(f"idle must be at most {_MAX_IDLE:g} s, got {self.idle!r}.")
        for name, value in kept.items():
            object.__setattr__(self, name, value)


def _counts(name: str, values: Sequence[int], *, high: int) -> tuple[int, ...]:
    """Return each of some numbers once."""
    counts = [whole_number(f"Each of {name}", n, low=1, high=high) for n in as_tuple(name, values)]
    if not counts:
        raise InvalidInput(f"{name} is empty: give at least one.")
    return tuple(dict.fromkeys(counts))


def _measure(plan: _ProfilePlan, emit: Emit, stopped: threading.Event) -> None:
    """Measure every row of a plan and emit it."""
    inputs = plan.model.samples().inputs
    for threads in plan.threads:
        with tune_process(LocalBackend(plan.model, threads=threads)) as backend:
            load = Load(
                trace=constant(rate=1, duration=len(inputs)),
                policy=BatchPolicy(),
                backend=backend,
                inputs=inputs,
            )
            workers = Workers(load, time.perf_counter, announce=True)
            for size in plan.batch_sizes:
                batches = _rotate_batches(size, len(inputs))
                for state, sample in (
                    (BACK_TO_BACK, _back_to_back(workers, batches)),
                    (AFTER_IDLE, _after_idle(workers, batches, plan.idle)),
                ):
                    if stopped.is_set():
                        return
                    times = _repeat(sample, plan)
                    emit(
                        {"batch_size": size, "threads": threads, "state": state, **_figures(times)}
                    )


def _rotate_batches(size: int, pool: int) -> Iterator[list[int]]:
    """Yield batches of requests without end, each with other rows of the pool than the last."""
    return ([(size * turn + place) % pool for place in range(size)] for turn in count())


def _back_to_back(workers: Workers, batches: Iterator[list[int]]) -> Iterator[list[float]]:
    """Yield the times that batches add to a busy server."""
    while True:
        served = _serve(workers, [next(batches) for _ in range(_BATCHES_PER_ROUND + 1)])
        yield np.diff([batch.finished for batch in served]).tolist()


def _after_idle(
    workers: Workers, batches: Iterator[list[int]], idle: float
) -> Iterator[list[float]]:
    """Yield the times from handing a batch over to its answer, the server having slept."""
    while True:
        time.sleep(idle)
        start = time.perf_counter()
        (served,) = _serve(workers, [next(batches)])
        yield [served.finished - start]


def _serve(workers: Workers, batches: Iterable[list[int]]) -> list[Any]:
    served = workers.serve(batches)
    failed = next((batch.error for batch in served if batch.error), None)
    if failed:
        raise InvocationError(f"The model failed while it was profiled: {failed}")
    return served


def _repeat(sample: Iterator[list[float]], plan: _ProfilePlan) -> NDArray[np.float64]:
    """Sample until the median is known well enough or the budget is spent; the first is warm-up."""
    next(sample)
    times: list[float] = []
    start = time.perf_counter()
    while len(times) < _MAX_REPEATS:
        times += next(sample)
        if len(times) >= _MIN_REPEATS:
            low, high = _median_interval(np.sort(times))
            spent = time.perf_counter() - start
            if high - low <= 2 * plan.precision * np.median(times) or spent > plan.budget:
                break
    return np.asarray(times)


def _median_interval(times: NDArray[np.float64]) -> tuple[float, float]:
    """Return a 95 % confidence interval of the median of sorted times, from order statistics."""
    reach = 0.98 * math.sqrt(len(times))
    low = max(0, math.floor(len(times) / 2 - reach))
    high = min(len(times) - 1, math.ceil(len(times) / 2 + reach))
    return float(times[low]), float(times[high])


def _figures(times: NDArray[np.float64]) -> dict[str, Any]:
    low, high = _median_interval(np.sort(times))
    return {
        "repeats": len(times),
        "median": float(np.median(times)),
        "low": low,
        "high": high,
        "mean": float(times.mean()),
        "quantiles": np.quantile(times, QUANTILE_LEVELS).tolist(),
    }
