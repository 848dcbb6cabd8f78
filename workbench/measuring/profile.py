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
from functools import cached_property
from itertools import count, pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from workbench.backends.local import LocalBackend
from workbench.batching.timer import BatchPolicy
from workbench.deployment.local import MAX_THREADS
from workbench.errors import Damaged, InvalidInput, InvocationError
from workbench.files import load_frame, save_frame
from workbench.measuring import kept_calls
from workbench.measuring.load import Load, Workers, tune_process
from workbench.measuring.profile_quality import ProfileQuality, assess, read_load
from workbench.process import Emit, run_in_process
from workbench.provenance import environment
from workbench.registry.model import Model
from workbench.registry.value_times import time_values
from workbench.service_times import MAX_BATCH_ROWS, Floats
from workbench.service_times.speed import SpeedRecord, record_speed
from workbench.traffic.patterns import constant
from workbench.validation import (
    as_array,
    as_tuple,
    choose,
    flag,
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

_KINDS = {
    **dict.fromkeys(("batch_size", "threads"), "Int32"),
    "state": "String",
    "repeats": "Int32",
    **dict.fromkeys(("median", "low", "high", "mean"), "Float64"),
}
_COLUMNS = (*_KINDS, "quantiles")
Call = tuple[float, float]
"""When a call began, by the measuring process's clock, and how many seconds it took."""

_BATCHES_PER_ROUND = 8  # that are timed; one before them finds the server idle
_MIN_REPEATS, _MAX_REPEATS = 24, 100_000  # of a size: fewer show no tail, more fill the memory
_MAX_IDLE = 60.0  # seconds before each call of a size: longer ones make hours


@dataclass(frozen=True, eq=False)
class Profile:
    """Service times in seconds: a row for each batch size, number of threads and state.

    `frame` has the columns batch_size, threads, state ("back to back" or "after idle"), repeats,
    median, low and high (a 95 % confidence interval of the median), mean, quantiles (at
    `QUANTILE_LEVELS`), and those of `kept_calls`, null in profiles of earlier versions: tail,
    samples and gaps. `facts` tells model, machine and date as JSON values.
    """

    frame: "pl.DataFrame"
    facts: Mapping[str, Any] = field(default_factory=dict)
    _speeds: dict[int, SpeedRecord | None] = field(default_factory=dict, init=False, repr=False)

    def __post_init__(self) -> None:
        import polars as pl

        of_kind("frame", self.frame, pl.DataFrame, "a Polars frame")
        missing = [name for name in _COLUMNS if name not in self.frame.columns]
        if missing:
            raise InvalidInput(f"A profile needs the columns {_COLUMNS}; missing: {missing}.")
        nothing = [
            pl.lit(None, pl.List(pl.Float32())).alias(name)
            for name in kept_calls.COLUMNS
            if name not in self.frame.columns
        ]
        object.__setattr__(self, "frame", self.frame.with_columns(nothing))

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

    def find_speed(self, *, threads: int = 1) -> SpeedRecord | None:
        """Return how the server's speed changed while it was timed; None where it did not show."""
        if threads not in self._speeds:
            self._speeds[threads] = self._record_speed(threads)
        return self._speeds[threads]

    def _record_speed(self, threads: int) -> SpeedRecord | None:
        import polars as pl

        rows = self.frame.filter(pl.col("threads") == threads, pl.col("samples").is_not_null())
        if rows.is_empty():
            return None
        gaps = [np.asarray(each, np.float64) for each in rows["gaps"].to_list()]
        return record_speed(
            np.concatenate([np.cumsum(each) for each in gaps]),
            np.concatenate(rows["samples"].to_list()),
            np.repeat(np.arange(rows.height), [len(each) for each in gaps]),
        )

    @cached_property
    def quality(self) -> ProfileQuality:
        """When it was taken, on how busy a machine, and what looks odd: see `caveat` there."""
        return assess(self.frame, self.facts, BACK_TO_BACK)

    @property
    def span(self) -> float:
        """For how many seconds calls were timed, from the first to the last; 0 if not known."""
        return float(self.frame["gaps"].list.sum().max() or 0.0)  # type: ignore[arg-type]

    @property
    def note(self) -> str:
        """What is known of slow calls: how far the tail goes, and what order would have shown.

        Behind it, whether rows of the pool are slow where tiny numbers are not read as 0.
        """
        slow = self.facts.get("slow_rows", "")
        return f"{self._tail_note} {slow}." if slow else self._tail_note

    @property
    def _tail_note(self) -> str:
        rows = self.frame.filter(state=BACK_TO_BACK)
        if rows["samples"].null_count():
            return (
                "Rows from an earlier version keep 21 quantiles: the tail is unknown beyond p95 "
                "but for its mean and maximum, and so is whether slow calls come together. "
                "Profile the model again."
            )
        if rows.is_empty():
            return "Nothing was timed back to back."
        levels = [f"p{max(0.0, 100 * (1 - 10 / calls)):.4g}" for calls in sorted(rows["repeats"])]
        reach = levels[0] if levels[0] == levels[-1] else f"{levels[0]} to {levels[-1]}"
        order = (
            "Slow calls came together: simulations repeat the stretches."
            if any(self.find_speed(threads=each) for each in rows["threads"].unique())
            else "Slow calls came together no more than by chance."
        )
        return (
            f"Slow calls are known up to {reach}, by batch size (10 lie beyond). {order} "
            f"{self.span:.3g} s were watched: slow stretches longer than "
            f"{self.span / 4:.2g} s, or rarer than one in {self.span:.3g} s, would not show."
        )

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
        return save_frame(path, self.frame, self.facts, overwrite=flag("overwrite", overwrite))

    def __repr__(self) -> str:
        tail = ", tail unknown beyond p95" if self.frame["samples"].null_count() else ""
        busy = f"; {self.quality.caveat}" if self.quality.doubts else ""
        return f"<Profile {self.label}: {self.frame.height} rows, {self.origin}{tail}{busy}>"


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
    sizes: Floats
    seconds: Floats
    error: float

    def __call__(self, batch_size: ArrayLike) -> Floats:
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
    choose("kind", kind, ("auto", *_CURVES))
    if len(sizes) < 4:
        raise InvalidInput(f"A fit needs at least 4 batch sizes, got {len(sizes)}.")
    kinds = list(_CURVES) if kind == "auto" else [kind]
    errors = {kind: _leave_one_out_error(_CURVES[kind], sizes, seconds) for kind in kinds}
    # rounded, so that of kinds that fit alike the plainest is taken
    best = min(errors, key=lambda kind: round(errors[kind], 6))
    return ServiceTimeFit(best, sizes, seconds, errors[best])


Curve = Callable[[Floats, Floats, Floats], Floats]


def _polynomial(degree: int) -> Curve:
    def curve(sizes: Floats, seconds: Floats, asked: Floats) -> Floats:
        # least squares of relative errors, as `error` has them
        terms = np.polynomial.polynomial.polyfit(sizes, seconds, degree, w=1 / seconds)
        return np.asarray(np.polynomial.polynomial.polyval(asked, terms))

    return curve


# of seconds over sizes; how far each is off at a size left out says which fits
_CURVES: dict[str, Curve] = {
    "affine": _polynomial(1),
    "quadratic": _polynomial(2),
    "piecewise": lambda sizes, seconds, asked: np.asarray(np.interp(asked, sizes, seconds)),
}


def _leave_one_out_error(curve: Curve, sizes: Floats, seconds: Floats) -> float:
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
    repeats: int = 1000,
    budget: float = 1.0,
    idle: float = 0.02,
    progress: Callable[[int, int], None] | None = None,
    stopped: threading.Event | None = None,
    fresh: bool = False,
) -> Profile:
    """Measure service times on this machine, in a process of its own.

    Each row is repeated until the 95 % interval of its median is within `precision` of it and,
    back to back, `repeats` calls were timed, or for `budget` seconds, but 24 times at least; an
    idle server has slept `idle` seconds, a minute at most. Rows are measured in turns, so that all
    of them see how the machine's speed changes. Of p99 a row knows something from 1000 calls on, of
    slow stretches what fits in the time that was watched: `Profile.note` says so. `progress` is
    called with rows done and in all. Ctrl-C keeps the rows measured 24 times by then.

    Plans and simulations read a profile that is kept (`workbench.measuring.profile_cache`); with
    `fresh` this one is kept in its place, for when that was measured on a busy machine.

    Raises:
        InvalidInput: A batch size, a number of threads or a setting is out of range, or there are
            no sizes or threads.
        InvocationError: The model failed.
    """
    plan = _ProfilePlan(model, batch_sizes, threads, precision, repeats, budget, idle)
    flag("fresh", fresh)
    load = read_load()
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
        "load": load,
        "settings": {
            "precision": plan.precision,
            "repeats": plan.repeats,
            "budget": plan.budget,
            "idle": plan.idle,
        },
        "slow_rows": time_values(model.session(), model.samples().inputs).pool_note,
    }
    found = Profile(kept_calls.thin_calls(_profile_frame(rows)), facts)
    if fresh and rows:
        from workbench.measuring.profile_cache import keep_profile  # which imports this module

        keep_profile(model, found)
    return found


def _profile_frame(rows: list[dict[str, Any]]) -> "pl.DataFrame":
    import polars as pl

    kinds = {
        **{name: getattr(pl, kind) for name, kind in _KINDS.items()},
        "quantiles": pl.List(pl.Float64()),
        **dict.fromkeys(kept_calls.COLUMNS, pl.List(pl.Float32())),
    }
    # Rows come as they are completed, which is another order each time.
    order = ("threads", "batch_size", pl.col("state") != BACK_TO_BACK)
    return pl.DataFrame(rows, schema=kinds).sort(*order)


@dataclass(frozen=True)
class _ProfilePlan:
    model: Model
    batch_sizes: Sequence[int]
    threads: Sequence[int]
    precision: float
    repeats: int
    budget: float
    idle: float

    def __post_init__(self) -> None:
        of_kind("model", self.model, Model)
        kept: dict[str, Any] = {
            "batch_sizes": _counts("batch_sizes", self.batch_sizes, high=MAX_BATCH_ROWS),
            "threads": _counts("threads", self.threads, high=MAX_THREADS),
            "precision": inner_share("precision", self.precision),
            "repeats": whole_number("repeats", self.repeats, low=1, high=_MAX_REPEATS),
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
    begun = time.perf_counter()
    for threads in plan.threads:
        with tune_process(LocalBackend(plan.model, threads=threads)) as backend:
            load = Load(
                trace=constant(rate=1, duration=len(inputs)),
                policy=BatchPolicy(),
                backend=backend,
                inputs=inputs,
            )
            workers = Workers(load, time.perf_counter, announce=True)
            rows = [
                _Row(size, threads, state, sample, plan)
                for size in plan.batch_sizes
                for state, sample in (
                    (BACK_TO_BACK, _back_to_back(workers, _rotate_batches(size, len(inputs)))),
                    (
                        AFTER_IDLE,
                        _after_idle(workers, _rotate_batches(size, len(inputs)), plan.idle),
                    ),
                )
            ]
            _measure_in_turns(rows, emit, stopped, begun)
            if stopped.is_set():
                return


def _measure_in_turns(
    rows: "list[_Row]", emit: Emit, stopped: threading.Event, begun: float
) -> None:
    """Measure rows turn by turn, and emit each as it is done; when stopped, what there is."""
    while rows and not stopped.is_set():
        for row in rows:
            row.measure()
            if row.is_done:
                emit(row.figures(begun))
            if stopped.is_set():
                break
        rows = [row for row in rows if not row.is_done]
    for row in rows:
        if len(row.calls) >= _MIN_REPEATS:
            emit(row.figures(begun))


def _rotate_batches(size: int, pool: int) -> Iterator[list[int]]:
    """Yield batches of requests without end, each with other rows of the pool than the last."""
    return ([(size * turn + place) % pool for place in range(size)] for turn in count())


def _back_to_back(workers: Workers, batches: Iterator[list[int]]) -> Iterator[list[Call]]:
    """Yield the times that batches add to a busy server."""
    while True:
        served = _serve(workers, [next(batches) for _ in range(_BATCHES_PER_ROUND + 1)])
        yield [(one.finished, other.finished - one.finished) for one, other in pairwise(served)]


def _after_idle(
    workers: Workers, batches: Iterator[list[int]], idle: float
) -> Iterator[list[Call]]:
    """Yield the times from handing a batch over to its answer, the server having slept."""
    while True:
        time.sleep(idle)
        start = time.perf_counter()
        (served,) = _serve(workers, [next(batches)])
        yield [(start, served.finished - start)]


def _serve(workers: Workers, batches: Iterable[list[int]]) -> list[Any]:
    served = workers.serve(batches)
    failed = next((batch.error for batch in served if batch.error), None)
    if failed:
        raise InvocationError(f"The model failed while it was profiled: {failed}")
    return served


class _Row:
    """A row in the making: its calls so far, and whether they are enough."""

    def __init__(
        self, size: int, threads: int, state: str, sample: Iterator[list[Call]], plan: _ProfilePlan
    ) -> None:
        self.key = {"batch_size": size, "threads": threads, "state": state}
        self.calls: list[Call] = []
        self.is_done = False
        self._sample, self._plan = sample, plan
        self._wanted = plan.repeats if state == BACK_TO_BACK else 1
        self._spent = 0.0
        self._is_warm = False

    def measure(self) -> None:
        """Time some more calls; the first are warm-up."""
        if not self._is_warm:
            next(self._sample)
            self._is_warm = True
        start = time.perf_counter()
        self.calls += next(self._sample)
        self._spent += time.perf_counter() - start
        self.is_done = self._is_enough()

    def _is_enough(self) -> bool:
        count = len(self.calls)
        if count < _MIN_REPEATS:
            return False
        if count >= _MAX_REPEATS or self._spent > self._plan.budget:
            return True
        if count < self._wanted:
            return False
        times = self._seconds()
        low, high = _median_interval(np.sort(times))
        return bool(high - low <= 2 * self._plan.precision * np.median(times))

    def _seconds(self) -> Floats:
        return np.array([seconds for _, seconds in self.calls])

    def figures(self, begun: float) -> dict[str, Any]:
        """Return the row of the profile that began at an instant."""
        starts = np.array([start for start, _ in self.calls]) - begun
        return {**self.key, **_figures(starts, self._seconds())}


def _median_interval(times: Floats) -> tuple[float, float]:
    """Return a 95 % confidence interval of the median of sorted times, from order statistics."""
    # 1.96 standard deviations of Binomial(n, 0.5), which are sqrt(n) / 2
    reach = 0.98 * math.sqrt(len(times))
    low = max(0, math.floor(len(times) / 2 - reach))
    high = min(len(times) - 1, math.ceil(len(times) / 2 + reach))
    return float(times[low]), float(times[high])


def _figures(starts: Floats, times: Floats) -> dict[str, Any]:
    low, high = _median_interval(np.sort(times))
    return {
        "repeats": len(times),
        "median": float(np.median(times)),
        "low": low,
        "high": high,
        "mean": float(times.mean()),
        "quantiles": np.quantile(times, QUANTILE_LEVELS).tolist(),
        **kept_calls.keep_calls(starts, times),
    }
