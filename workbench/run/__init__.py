"""What happened to each request, and the figures that follow from it.

A `Run` is one row a request and the record of what it was. Simulated and measured runs are of
the same shape, so one chart can hold both. Latency is counted from the scheduled instant; a failed
request has a NaN latency, counts as infinitely late in percentiles and as a miss in attainment.
"""

import math
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from workbench.errors import Damaged, InvalidInput, StorageError, TooFewSamples
from workbench.files import delete_frame, load_facts, load_frame, save_frame, to_pandas, write_file
from workbench.formatting import percentile
from workbench.quantiles import (
    PERCENTILES,
    SLO,
    Percentiles,
    cold_share_of_start,
    estimate_interval,
    find_rank,
    has_enough_samples,
    independent_needed,
    longest_within,
    require_samples,
    round_up,
    samples_needed,
)
from workbench.run.columns import COLUMNS, as_floats, build_frame, check_columns, has_column
from workbench.run.record import RunRecord
from workbench.run.relaxation import Relaxation, find_relaxation, infer_work
from workbench.run.replications import Replications
from workbench.run.verdict import Verdict, find_flaw, judge
from workbench.validation import flag, inner_share, of_kind, positive

if TYPE_CHECKING:
    import pandas as pd
    import polars as pl

__all__ = ["COLUMNS", "PERCENTILES", "SLO", "Run", "RunRecord", "delete_run", "load_run"]

FORMAT = 3
"""Of saved runs: 3 may have members and calls, 2 the column `place`, 1 had neither."""


@dataclass(frozen=True, eq=False)
class Run(Percentiles):
    """One row a request (`frame`, a Polars frame of `COLUMNS`), and the `record` of the run.

    The latency of a failed request is NaN in the frame. Whoever computes with that column has to
    choose: pandas and DuckDB leave NaN out, so that their percentiles are of answered requests
    only, NumPy and Polars answer NaN. `quantile` counts such a request as infinitely late;
    `latencies_or_inf` is the column in which it is.

    A request of an ensemble may have been asked of several places: its row is that of the answer
    that was given, but `sent` when it was first asked and `finished` when the answer was given;
    `calls` has a row of the same columns for each place that was asked.

    The record says what the run was made of and how it went: see `RunRecord`.

    Raises:
        InvalidInput: The frame lacks a column or has another one, or a column has another type.

    >>> run = Run.from_arrays(scheduled=[0.0, 1.0], finished=[0.5, 1.25], origin="simulated")
    >>> run.frame["latency"].to_list(), run.attainment(SLO(latency=0.3)), run.record.complete
    ([0.5, 0.25], 0.5, True)
    """

    frame: "pl.DataFrame"
    record: RunRecord = field(default_factory=RunRecord)
    replicate: Callable[[], Replications | None] | None = field(default=None, repr=False)
    """Repeats the simulation that the run comes from; not saved."""
    calls: "pl.DataFrame | None" = None
    """One row for each place that each request was asked of; None of a plain run."""

    def __post_init__(self) -> None:
        import polars as pl

        of_kind("frame", self.frame, pl.DataFrame, "a Polars frame")
        of_kind("record", self.record, RunRecord)
        check_columns(self.frame, len(self.record.places))
        if self.calls is not None:
            of_kind("calls", self.calls, pl.DataFrame, "a Polars frame")
            check_columns(self.calls, len(self.record.places))

    @classmethod
    def from_arrays(
        cls,
        *,
        scheduled: ArrayLike,
        finished: ArrayLike,
        origin: str = "unknown",
        facts: Mapping[str, Any] | None = None,
        **columns: ArrayLike,
    ) -> "Run":
        """Build a run from arrays of equal length; what is not given takes its plainest value.

        Requests are unbatched, sent when scheduled and taken up at once, unless `columns` say
        otherwise. Where `finished` is NaN the request failed. `facts` are fields of the record.

        Raises:
            InvalidInput: A column or fact is unknown or of another type, or lengths differ.
        """
        record = RunRecord.from_dict({"origin": origin, **(facts or {})})
        return cls(build_frame(scheduled, finished, columns), record)

    def amend(self, **changes: Any) -> "Run":  # noqa: ANN401 - fields of the record
        """Return the run with other values in its record.

        Raises:
            InvalidInput: The record has no such field, or the value does not fit it.

        >>> run = Run.from_arrays(scheduled=[0.0], finished=[0.5])
        >>> run.amend(label="first").label
        'first'
        """
        known = [field.name for field in fields(self.record)]
        unknown = sorted(set(changes) - set(known))
        if unknown:
            raise InvalidInput(f"The record of a run has no {unknown}; it has {known}.")
        return replace(self, record=replace(self.record, **changes))

    @property
    def facts(self) -> dict[str, Any]:
        """The record as JSON values."""
        return self.record.to_dict()

    def __len__(self) -> int:
        return self.frame.height

    @property
    def origin(self) -> str:
        """How the figures came about: "measured: this machine", "simulated", ..."""
        return self.record.origin

    @property
    def label(self) -> str:
        """The run in a few words, for charts and tables."""
        return self.origin if self.record.label is None else self.record.label

    @property
    def complete(self) -> bool:
        """Whether every request of the trace was sent and awaited."""
        return self.record.complete

    @property
    def valid(self) -> bool:
        """Whether the load generator kept to the schedule."""
        return self.record.valid

    @property
    def warnings(self) -> tuple[str, ...]:
        """What a reader of the figures has to know."""
        return self.record.warnings

    @property
    def slo(self) -> SLO | None:
        """The target the run was made for."""
        return self.record.slo

    @property
    def latencies_or_inf(self) -> NDArray[np.float64]:
        """The frame's column `latency`, seconds, but infinite (not NaN) for failed requests.

        >>> run = Run.from_arrays(scheduled=[0.0, 1.0], finished=[0.5, float("nan")])
        >>> run.frame.with_columns(latency=run.latencies_or_inf)["latency"].to_list()
        [0.5, inf]
        """
        latency = self.frame["latency"].to_numpy()
        return np.where(np.isnan(latency), np.inf, latency)

    @cached_property
    def latencies(self) -> NDArray[np.float64]:
        """`latencies_or_inf` in order of schedule: of failed requests infinite, and never NaN."""
        order = np.argsort(self.frame["scheduled"].to_numpy(), kind="stable")
        return self.latencies_or_inf[order]

    @cached_property
    def _sorted_latencies(self) -> NDArray[np.float64]:
        return np.sort(self.latencies)

    @property
    def answered(self) -> int:
        """The number of requests that were answered."""
        return int(np.isfinite(self._sorted_latencies).sum())

    def quantile(self, q: float) -> float:
        """Return the smallest latency that a share `q` of all requests does not exceed, seconds.

        Infinite when so many requests failed that the quantile falls among them.

        Raises:
            InvalidInput: `q` is not between 0 and 1.
            TooFewSamples: Fewer than 10 requests lie above the quantile: it would be noise.
        """
        q = inner_share("A quantile", q)
        require_samples(q, len(self))
        return float(self._sorted_latencies[find_rank(q, len(self)) - 1])

    def interval(self, q: float, *, confidence: float = 0.95) -> tuple[float, float]:
        """Return a confidence interval of the quantile `q` in the long run, seconds.

        That of a simulation comes from `replications`, where it was repeated. A single run's comes
        from batch means, see `workbench.quantiles.estimate_interval`, if the run is long for its
        load: `workbench.run.relaxation` says how many independent requests it is worth. Where it
        is not, a simulation is repeated now, and a measured run has no interval. Cold starts that
        may be of the start alone are allowed for: the interval holds with and without them.

        Raises:
            InvalidInput: `q` or `confidence` is not between 0 and 1.
            TooFewSamples: The run is too short for its load; it says how many requests are missing.
        """
        q = inner_share("A quantile", q)
        if (found := self.replications_for(q)) is not None:
            return found.interval(q, confidence=confidence)
        require_samples(q, len(self))
        if self.count_missing(q):
            raise TooFewSamples(self.explain_missing(q))
        return estimate_interval(
            self.latencies,
            q,
            confidence=confidence,
            worth=self.worth,
            extra=self.cold_share_of_start,
            ordered=self._sorted_latencies,
        )

    @property
    def cold_share(self) -> float:
        """The share of requests that waited for a cold start, where known: else that met one.

        Of jobs it is 0: each boots, and not the first alone.
        """
        return float(self._cold.mean())

    @property
    def cold_share_of_start(self) -> float:
        """The share of requests whose cold starts may be of a start from empty alone.

        See `workbench.quantiles.cold_share_of_start`.
        """
        return max(cold_share_of_start(self._cold), 0.0)

    @property
    def _cold(self) -> NDArray[np.bool_]:
        if self.record.deployment is not None and self.record.deployment.by_job:
            return np.zeros(len(self), dtype=bool)
        cold = self.frame["cold"].to_numpy()
        if has_column(self.frame, "init"):
            cold = cold & (self.frame["init"].fill_null(0.0).to_numpy() != 0)
        return cold

    def replications_for(self, q: float) -> Replications | None:
        """Return the repetitions that an interval of the quantile `q` comes from, None if none."""
        if (found := self.record.replications) is None and self.count_missing(q):
            found = self._replications
        return found if found is not None and found.covers(q) else None

    @cached_property
    def _replications(self) -> Replications | None:
        return None if self.replicate is None else self.replicate()

    @cached_property
    def relaxation(self) -> Relaxation:
        """How soon what answered forgets its past, by load and service: see that module."""
        rows = self.frame.sort("scheduled", maintain_order=True)
        arrivals, started, finished, size = (
            rows[name].to_numpy() for name in ("scheduled", "started", "finished", "batch_size")
        )
        init = rows["init"].fill_null(0.0).to_numpy() if has_column(rows, "init") else 0.0
        work = np.nan_to_num((finished - started - init) / size).clip(0)
        record = self.record
        known = record.deployment is not None and len(record.places) == 1
        platform = record.deployment.platform if known and record.deployment else None
        if record.scaling is not None:  # its load is not that of one queue
            return Relaxation(math.inf, math.nan)
        if platform is None:
            work = infer_work(arrivals, finished)
        batches = float((1 / size).sum()) or 1.0
        each = float(work.sum()) / batches
        return find_relaxation(arrivals, work, platform, batch_service=each)

    @cached_property
    def worth(self) -> float:
        """How many independent requests the run is worth: none that share a batch, or a queue."""
        if len(self) < 2 or not math.isfinite(self.relaxation.seconds):
            return 0.0
        at = self.frame["scheduled"].to_numpy()
        batches = float((1 / self.frame["batch_size"].to_numpy()).sum())
        seconds = self.relaxation.seconds
        return min(batches, float(at.max() - at.min()) / seconds) if seconds else batches

    def count_missing(self, q: float) -> float:
        """Return how many requests more an interval of the quantile needs, infinite if unknown."""
        if not self.worth:
            return math.inf
        needed = max(len(self) * independent_needed(q) / self.worth, samples_needed(q))
        return max(math.ceil(needed) - len(self), 0)

    def explain_missing(self, q: float) -> str:
        """Return why a quantile has no interval, and what would give it one."""
        load = self.relaxation.load
        if math.isnan(load):
            why = "the fleet changed its size, so that one run says little of another"
        elif not math.isfinite(self.relaxation.seconds):
            why = f"the load is {load:.3g}, so that waits depend on when it began"
        else:
            why = (
                f"at a load of {load:.2g} what happens is forgotten after "
                f"{self.relaxation.seconds:.3g} s, so that its {len(self):,} requests are worth "
                f"{self.worth:,.3g} independent ones of {independent_needed(q):,} needed"
            )
        more = self.count_missing(q)
        cure = f"Run {round_up(more):,} requests more, or s" if math.isfinite(more) else "S"
        return (
            f"The {100 * q:g}th percentile has no interval: {why}. "
            f"{cure}imulate with replications=20."
        )

    def cdf(self, latency: ArrayLike) -> NDArray[np.float64]:
        """Return the share of all requests answered within each `latency` (seconds).

        What is off by rounding alone is in time: see `workbench.quantiles.longest_within`.
        """
        longest = longest_within(as_floats("latency", latency))
        return np.searchsorted(self._sorted_latencies, longest, side="right") / len(self)

    def attainment(self, slo: SLO | float | None = None) -> float:
        """Return the share of all requests answered within a target's latency, or so many seconds.

        Raises:
            InvalidInput: The run has no target of its own and none was given.
        """
        slo = self.slo if slo is None else slo
        if slo is None:
            raise InvalidInput("This run has no SLO: pass one, e.g. attainment(SLO(latency=0.1)).")
        within = slo.latency if isinstance(slo, SLO) else positive("slo", slo, "seconds")
        return float(self.cdf(within))

    @cached_property
    def verdict(self) -> Verdict | None:
        """What the run says of its own target, None without one: see `workbench.run.verdict`."""
        return judge(self)

    @property
    def throughput(self) -> float:
        """Requests answered per second, from the trace's start to the last answer."""
        last = float(np.nanmax(self.frame["finished"].to_numpy(), initial=0.0))
        return self.answered / last if last > 0 else 0.0

    @property
    def spill_share(self) -> float | None:
        """The share of requests whose answer is from the overflow of a `Hybrid`; None elsewhere.

        >>> facts = {"places": ("base", "overflow")}
        >>> run = Run.from_arrays(scheduled=[0, 1], finished=[1, 2], place=[0, 1], facts=facts)
        >>> run.spill_share
        0.5
        """
        from workbench.deployment.hybrid import OVERFLOW

        places = self.record.places
        if OVERFLOW not in places:
            return None
        return int((self.frame["place"] == places.index(OVERFLOW)).sum()) / len(self)

    def batches(self) -> "pl.DataFrame":
        """Return one row a batch: where, its size, when it was taken up and finished, and how.

        Of an ensemble they are those of all calls, whose answers were given or not.
        """
        import polars as pl

        rows = self.frame if self.calls is None else self.calls
        return (
            rows.group_by("batch", maintain_order=True)
            .agg(
                pl.col("place", "batch_size", "started", "finished", "server").first(),
                pl.col("^(cold|error|init)$").first(),
                pl.col("rows").sum(),
            )
            .sort("batch")
        )

    def summary(self) -> dict[str, Any]:
        """Return the run's main figures by name; seconds and shares; None if unknown."""
        batches = self.batches()
        correct = self.frame["correct"].to_numpy()
        known = ~np.isnan(correct)
        rows = self.frame["rows"].to_numpy()[known]
        return {
            "run": self.label,
            "origin": self.origin,
            "requests": len(self),
            "answered": self.answered,
            "failed": len(self) - self.answered,
            **{percentile(q): self._quantile_if_known(q) for q in PERCENTILES},
            "attainment": None if self.slo is None else self.attainment(),
            "throughput": self.throughput,
            "batches": batches.height,
            "mean_batch_size": float(batches["batch_size"].mean() or 0.0),  # type: ignore[arg-type]
            "cold_starts": int(batches["cold"].sum()),
            **({} if self.spill_share is None else {"spilled": self.spill_share}),
            "batch_invariance": self._batch_verdict,
            "accuracy": float(np.average(correct[known], weights=rows)) if known.any() else None,
            "complete": self.complete,
            "valid": self.valid,
        }

    def _quantile_if_known(self, q: float) -> float | None:
        return self.quantile(q) if has_enough_samples(q, len(self)) else None

    @property
    def _batch_verdict(self) -> str | None:
        """What batching does to answers, in a word or two."""
        found = self.record.batch_invariance
        return None if found is None else re.split("[:;]", found)[0]

    def to_pandas(self) -> "pd.DataFrame":
        """Return the rows as a pandas frame.

        The latency of a failed request is NaN there, which pandas leaves out of its figures:
        `latencies_or_inf` is the column that counts it as infinitely late, as `quantile` does.

        Raises:
            NotAvailable: pandas is not installed.
        """
        return to_pandas(self.frame)

    def to_csv(self, path: str | os.PathLike[str]) -> Path:
        """Write the rows as a CSV file with a header, whole or not at all: `save` keeps more.

        Raises:
            StorageError: The file cannot be written.
        """
        return write_file(path, self.frame.write_csv)

    def to_mlflow(self, *, experiment: str | None = None) -> str:
        """Write the run to MLflow, and return its id there: parameters, metrics and artefacts.

        The tracking server is MLflow's own setting, such as $MLFLOW_TRACKING_URI. Within
        ``mlflow.start_run()`` it is a nested run.

        Args:
            experiment: MLflow's experiment, made where it is missing; by default the active one.

        Raises:
            NotAvailable: MLflow is not installed.
            StorageError: The tracking server cannot be reached, or refuses.
        """
        import workbench  # the whole, as what prices and draws runs lies above them

        write: Any = workbench.to_mlflow
        return str(write(self, experiment=experiment))

    def __repr__(self) -> str:
        state = f", invalid: {flaw}" if (flaw := find_flaw(self)) else ""
        state += ", batching changes answers" if self._batch_verdict == "changes" else ""
        state += f"; {past}" if (past := self.record.past_errors) else ""
        return f"<Run {self.label}: {len(self)} requests, {self.origin}{state}>"

    def save(self, path: str | os.PathLike[str], *, overwrite: bool = False) -> Path:
        """Write the run as a folder of a Parquet and a JSON file, whole or not at all.

        Raises:
            StorageError: The folder exists (unless `overwrite`), or cannot be written.
        """
        made = vars(self).get("_replications")  # since then, and worth keeping
        kept = self if made is None else self.amend(replications=made)
        facts = kept.facts | {"format": FORMAT}
        return save_frame(
            path, self.frame, facts, calls=self.calls, overwrite=flag("overwrite", overwrite)
        )


def load_run(path: str | os.PathLike[str]) -> Run:
    """Return the run that `Run.save` wrote to the folder `path`.

    Raises:
        NotFound: There is no saved run.
        StorageError: A later version of the workbench saved it.
        Damaged: Its files are not what was saved.
    """
    import polars as pl

    load_record(path)  # before the rows, which may be in a later format, too
    frame, facts = load_frame(path)
    calls = facts.pop("calls", None)
    record = _parse_record(path, facts)
    if "place" not in frame.columns:  # of format 1, where all ran in one place
        frame = frame.with_columns(place=pl.lit(0, pl.UInt8))
    ordered = [name for name in COLUMNS if name in frame.columns]
    try:
        return Run(frame.select(*ordered, pl.exclude(ordered)), record, calls=calls)
    except InvalidInput as error:
        raise Damaged(f"{path} does not hold a run: {error}") from error


def load_record(path: str | os.PathLike[str]) -> RunRecord:
    """Return the record of a saved run, without a look at its rows; errors as `load_run`'s."""
    return _parse_record(path, load_facts(path))


def _parse_record(path: str | os.PathLike[str], facts: Mapping[str, Any]) -> RunRecord:
    """Return the record in a saved run's facts of any format so far."""
    version = facts.get("format", 1)  # the first one did not say
    if not isinstance(version, int) or version > FORMAT:
        raise StorageError(
            f"{path} was saved by a later version of the workbench, in format {version} of runs, "
            f"and this one reads up to {FORMAT}: pip install --upgrade inference-workbench."
        )
    try:
        return RunRecord.from_dict(
            {name: facts[name] for name in facts if name not in ("format", "calls_sha256")}
        )
    except InvalidInput as error:
        raise Damaged(f"{path} does not hold a run: {error}") from error


def delete_run(path: str | os.PathLike[str]) -> None:
    """Remove the run that `Run.save`, or a run with `keep`, wrote to the folder `path`.

    A run that is still under way writes itself there again.

    Raises:
        NotFound: There is no saved run.
        StorageError: The folder holds something else, too, or cannot be removed.
    """
    delete_frame(path)
