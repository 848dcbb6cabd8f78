"""What happened to each request, and the figures that follow from it.

A `Run` is one row a request plus the facts it was made under. Simulated and measured runs are of
the same shape, so one chart can hold both. Latency is counted from the scheduled instant; a failed
request has a NaN latency, counts as infinitely late in percentiles and as a miss in attainment.
"""

import math
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from workbench.errors import Damaged, InvalidInput, NotAvailable, TooFewSamples
from workbench.files import delete_frame, load_frame, save_frame
from workbench.validation import as_array, inner_share, of_kind, positive

if TYPE_CHECKING:
    import pandas as pd
    import polars as pl

    from workbench.batching.timer import Policy
    from workbench.deployment import Deployment
    from workbench.traffic.trace import Trace

COLUMNS = {
    "request": "UInt32",  # its number in the trace
    "scheduled": "Float64",  # when it was due, seconds from the start of the trace
    "sent": "Float64",  # when it reached the buffer
    "started": "Float64",  # when its batch was taken up
    "finished": "Float64",  # when its answer was there; NaN when there was none
    "latency": "Float64",  # finished - scheduled
    "batch": "Int64",  # number of the batch it went in
    "batch_size": "Int32",  # requests in that batch
    "rows": "Int32",  # rows the request carried
    "server": "Int32",  # worker or instance that answered, -1 when unknown
    "cold": "Boolean",  # whether a new instance was started for its batch
    "correct": "Float64",  # share of its rows predicted right; NaN when that is unknown
    "error": "String",  # what went wrong; null when it was answered
}
"""The columns of a run's frame and their Polars types."""

PERCENTILES = (0.5, 0.9, 0.95, 0.99)
_MIN_SAMPLES_ABOVE = 10
_INTERVAL_BATCHES = 20


@dataclass(frozen=True, kw_only=True)
class SLO:
    """A latency target: the `quantile` of latencies is at most `latency` seconds.

    Raises:
        InvalidInput: `latency` is not positive or `quantile` not between 0 and 1.

    >>> SLO(latency=0.1).label
    'p95 <= 100 ms'
    """

    latency: float
    quantile: float = 0.95

    def __post_init__(self) -> None:
        object.__setattr__(self, "latency", positive("latency", self.latency, "seconds"))
        object.__setattr__(self, "quantile", inner_share("quantile", self.quantile))

    @property
    def label(self) -> str:
        """The target in a few words, for charts and tables."""
        return f"p{100 * self.quantile:g} <= {1000 * self.latency:g} ms"


def setup_facts(
    trace: "Trace", policy: "Policy", deployment: "Deployment", slo: SLO | None
) -> dict[str, Any]:
    """Return what every run is described by, as JSON values; the trace's arrivals by hash."""
    return {
        "deployment": deployment.to_dict(),
        "policy": policy.to_dict(),
        "trace": {
            "name": trace.name,
            "requests": len(trace),
            "duration": trace.duration,
            "sha256": trace.digest,
            "notice": trace.notice,
        },
        "slo": None if slo is None else asdict(slo),
    }


@dataclass(frozen=True, eq=False)
class Run:
    """One row a request (`frame`, a Polars frame with `COLUMNS`), and what it was run with.

    `facts` holds JSON values: model, deployment, policy, trace, SLO, seeds, versions, machine,
    `origin` ("measured: this machine", "simulated", ...), `complete` (False when it was stopped),
    `valid` (False when the load generator could not keep to the schedule) and `warnings`.

    >>> run = Run.from_arrays(scheduled=[0.0, 1.0], finished=[0.5, 1.25], origin="simulated")
    >>> run.frame["latency"].to_list(), run.attainment(SLO(latency=0.3))
    ([0.5, 0.25], 0.5)
    """

    frame: "pl.DataFrame"
    facts: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        import polars as pl

        of_kind("frame", self.frame, pl.DataFrame, "a Polars frame")
        missing = [name for name in COLUMNS if name not in self.frame.columns]
        if missing:
            raise InvalidInput(f"A run needs the columns {list(COLUMNS)}; missing: {missing}.")

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
        otherwise. Where `finished` is NaN the request failed.

        Raises:
            InvalidInput: A column is unknown or of another type, or lengths differ.
        """
        unknown = sorted(set(columns) - set(COLUMNS))
        if unknown:
            raise InvalidInput(f"Unknown columns {unknown}; a run has {list(COLUMNS)}.")
        values = _plain_columns(
            _column("scheduled", _floats("scheduled", scheduled)),
            _column("finished", _floats("finished", finished)),
        )
        values |= {name: _column(name, array) for name, array in columns.items()}
        return cls(_frame(values), {"origin": origin, **(facts or {})})

    def __len__(self) -> int:
        return self.frame.height

    @property
    def origin(self) -> str:
        """How the figures came about: "measured: this machine", "simulated", ..."""
        return str(self.facts.get("origin", "unknown"))

    @property
    def label(self) -> str:
        """The run in a few words, for charts and tables."""
        return str(self.facts.get("label", self.origin))

    @property
    def complete(self) -> bool:
        """Whether every request of the trace was sent and awaited."""
        return bool(self.facts.get("complete", True))

    @property
    def valid(self) -> bool:
        """Whether the load generator kept to the schedule."""
        return bool(self.facts.get("valid", True))

    @property
    def warnings(self) -> tuple[str, ...]:
        """What a reader of the figures has to know."""
        return tuple(self.facts.get("warnings", ()))

    @property
    def slo(self) -> SLO | None:
        """The target the run was made for."""
        facts = self.facts.get("slo")
        return None if facts is None else SLO(**facts)

    @cached_property
    def latencies(self) -> NDArray[np.float64]:
        """Latencies in order of schedule, infinite for failed requests; seconds, one a request."""
        latency = self.frame.sort("scheduled", maintain_order=True)["latency"].to_numpy()
        return np.where(np.isnan(latency), np.inf, latency)

    @cached_property
    def _sorted(self) -> NDArray[np.float64]:
        return np.sort(self.latencies)

    @property
    def answered(self) -> int:
        """The number of requests that were answered."""
        return int(np.isfinite(self._sorted).sum())

    def quantile(self, q: float) -> float:
        """Return the smallest latency that a share `q` of all requests does not exceed, seconds.

        Infinite when so many requests failed that the quantile falls among them.

        Raises:
            InvalidInput: `q` is not between 0 and 1.
            TooFewSamples: Fewer than 10 requests lie above the quantile: it would be noise.
        """
        q, count = inner_share("A quantile", q), len(self)
        rank = math.ceil(q * count - 1e-9)
        if count - rank < _MIN_SAMPLES_ABOVE:
            needed = math.ceil(_MIN_SAMPLES_ABOVE / (1 - q) - 1e-9)
            raise TooFewSamples(
                f"The {100 * q:g}th percentile needs at least {needed} requests, got {count}: "
                "run a longer trace or ask for a lower percentile."
            )
        return float(self._sorted[rank - 1])

    def interval(self, q: float, *, confidence: float = 0.95) -> tuple[float, float]:
        """Return a confidence interval of the quantile `q`, by batch means; seconds.

        Waits are correlated, so the variance of the share of requests below the quantile comes
        from the shares in 20 consecutive batches of the run (never less than that of independent
        requests); its interval is carried back through the empirical distribution. After
        Heidelberger and Lewis, "Quantile estimation in dependent sequences" (1984).

        Raises:
            InvalidInput: `q` or `confidence` is not between 0 and 1.
            TooFewSamples: Too few requests support the quantile, or the run has under 200 requests.
        """
        from scipy import stats

        confidence = inner_share("confidence", confidence)
        estimate = self.quantile(q)
        if len(self) < _MIN_SAMPLES_ABOVE * _INTERVAL_BATCHES:
            raise TooFewSamples(
                f"An interval by batch means needs at least "
                f"{_MIN_SAMPLES_ABOVE * _INTERVAL_BATCHES} requests, "
                f"got {len(self)}: run a longer trace."
            )
        below = self.latencies <= estimate
        shares = np.array([part.mean() for part in np.array_split(below, _INTERVAL_BATCHES)])
        error = math.sqrt(max(shares.var(ddof=1) / _INTERVAL_BATCHES, q * (1 - q) / len(self)))
        reach = float(stats.t.ppf((1 + confidence) / 2, _INTERVAL_BATCHES - 1)) * error
        ranks = np.clip(np.ceil(len(self) * np.array([q - reach, q + reach])), 1, len(self))
        low, high = self._sorted[ranks.astype(int) - 1]
        return float(low), float(high)

    def cdf(self, latency: ArrayLike) -> NDArray[np.float64]:
        """Return the share of all requests answered within each `latency` (seconds)."""
        return np.searchsorted(self._sorted, _floats("latency", latency), side="right") / len(self)

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

    @property
    def throughput(self) -> float:
        """Requests answered per second, from the trace's start to the last answer."""
        last = float(np.nanmax(self.frame["finished"].to_numpy(), initial=0.0))
        return self.answered / last if last > 0 else 0.0

    def batches(self) -> "pl.DataFrame":
        """Return one row a batch: its size, when it was taken up and finished, where, and how."""
        import polars as pl

        return (
            self.frame.group_by("batch", maintain_order=True)
            .agg(
                pl.col("batch_size", "started", "finished", "server", "cold", "error").first(),
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
            **{f"p{100 * q:g}": _or_none(self.quantile, q) for q in PERCENTILES},
            "attainment": None if self.slo is None else self.attainment(),
            "throughput": self.throughput,
            "batches": batches.height,
            "mean_batch_size": float(batches["batch_size"].mean() or 0.0),  # type: ignore[arg-type]
            "cold_starts": int(batches["cold"].sum()),
            "accuracy": float(np.average(correct[known], weights=rows)) if known.any() else None,
            "complete": self.complete,
            "valid": self.valid,
        }

    def to_pandas(self) -> "pd.DataFrame":
        """Return the rows as a pandas frame.

        Raises:
            NotAvailable: pandas is not installed.
        """
        try:
            return self.frame.to_pandas()
        except ImportError as error:
            raise NotAvailable(
                "to_pandas needs pandas and pyarrow: pip install pandas pyarrow."
            ) from error

    def __repr__(self) -> str:
        state = "" if self.complete else ", incomplete"
        state += "" if self.valid else ", INVALID"
        return f"<Run {self.label}: {len(self)} requests, {self.origin}{state}>"

    def save(self, path: str | os.PathLike[str], *, overwrite: bool = False) -> Path:
        """Write the run as a folder of a Parquet and a JSON file, whole or not at all.

        Raises:
            StorageError: The folder exists (unless `overwrite`), or cannot be written.
        """
        return save_frame(path, self.frame, self.facts, overwrite=overwrite)


def load_run(path: str | os.PathLike[str]) -> Run:
    """Return the run that `Run.save` wrote to the folder `path`.

    Raises:
        NotFound: There is no saved run.
        Damaged: Its files are not what was saved.
    """
    frame, facts = load_frame(path)
    try:
        return Run(frame, facts)
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


def _plain_columns(scheduled: NDArray[np.float64], finished: NDArray[np.float64]) -> dict[str, Any]:
    """Columns of requests that are sent when scheduled, unbatched and taken up at once."""
    count = len(scheduled)
    return {
        "request": np.arange(count),
        "scheduled": scheduled,
        "sent": scheduled,
        "started": scheduled,
        "finished": finished,
        "latency": finished - scheduled if len(finished) == count else finished,
        "batch": np.arange(count),
        "batch_size": np.ones(count),
        "rows": np.ones(count),
        "server": np.full(count, -1),
        "cold": np.zeros(count, dtype=bool),
        "correct": np.full(count, np.nan),
        "error": None,
    }


def _frame(values: dict[str, Any]) -> "pl.DataFrame":
    import polars as pl

    count = len(values["scheduled"])
    errors = values["error"]
    values["error"] = (
        pl.repeat(None, count, dtype=pl.String, eager=True)
        if errors is None
        else pl.Series(list(errors), dtype=pl.String)
    )
    wrong = {name: len(values[name]) for name in COLUMNS if len(values[name]) != count}
    if wrong:
        raise InvalidInput(f"Every column needs {count} values, got {wrong}.")
    return pl.DataFrame({name: _cast(name, values[name]) for name in COLUMNS})


def _cast(name: str, values: Any) -> "pl.Series":  # noqa: ANN401 - whatever makes a series
    import polars as pl

    try:
        return pl.Series(values).cast(getattr(pl, COLUMNS[name]))
    except (pl.exceptions.PolarsError, TypeError) as error:
        wrong = f"{name} must be of type {COLUMNS[name]}: {str(error).splitlines()[0]}."
        raise InvalidInput(wrong) from error


def _column(name: str, values: ArrayLike) -> NDArray[Any]:
    column = as_array(name, values)
    if column.ndim != 1:
        raise InvalidInput(f"{name} must be one list, a value a request, got {values!r}.")
    return column


def _floats(name: str, values: ArrayLike) -> NDArray[np.float64]:
    given = as_array(name, values)
    if given.dtype.kind not in "iuf" and given.size:
        raise InvalidInput(f"{name} must be seconds, got {values!r}.")
    return given.astype(np.float64)


def _or_none(figure: Any, *arguments: Any) -> float | None:  # noqa: ANN401 - any figure of a run
    try:
        value = float(figure(*arguments))
    except TooFewSamples:
        return None
    return value
