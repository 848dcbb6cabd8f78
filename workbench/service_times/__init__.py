"""Service times by batch size: what profile, queueing and simulator hand to one another.

A size is the number of rows in a batch, which is its number of requests where each carries one
row. The time of a size is a constant, or a distribution given by its quantiles::

    ServiceTimes({1: 0.010, 2: 0.014})                              # seconds
    ServiceTimes({1: [0.009, 0.010, 0.013], 2: [0.012, 0.014, 0.019]})  # least, median, most
    ServiceTimes.affine(0.006, 0.004, largest=32)
    ServiceTimes.from_profile(profile, threads=2)
"""

import hashlib
from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from workbench.errors import InvalidInput
from workbench.service_times.speed import SpeedRecord, record_speed
from workbench.validation import as_array, not_negative, of_kind, positive, whole_number

if TYPE_CHECKING:
    import polars as pl

Floats = NDArray[np.float64]

MAX_BATCH_ROWS = 100_000
"""The most rows in a batch: more than is ever served at once, and few enough for a table."""


_FINE_LEVELS = np.linspace(0, 1, 1001)  # tenths of a per cent
_MOST_CELLS = 4_000_000  # of a table: 32 MB, and a planner holds one for each size of a machine
_TAIL = 900  # from which of them on a profile knows more than its samples do


class ProfileLike(Protocol):
    """What service times can be read from: a `Profile`."""

    def find_speed(self, *, threads: int = ...) -> SpeedRecord | None:
        """Return how the server's speed changed, None where it did not show."""

    def times(self, *, threads: int = ..., state: str = ...) -> "pl.DataFrame":
        """Return one row a batch size: batch_size, repeats, mean, quantiles, samples and tail."""


class RunLike(Protocol):
    """What service times can be read from, too: a `Run`."""

    @property
    def label(self) -> str:
        """The run's name."""

    def batches(self) -> "pl.DataFrame":
        """Return one row a batch: rows, started, finished, and init where it is known."""


@dataclass(frozen=True, eq=False, repr=False, init=False)
class ServiceTimes:
    """Seconds that a server takes for a batch, by the batch's rows.

    Several numbers for a size are quantiles of its distribution at evenly spaced levels from 0
    to 1, with straight lines between them. `after_idle` holds the times of a batch that
    finds its server idle; without it they are the same.

    Attributes:
        table: seconds, float64 of shape (largest size + 1, levels); a row a size, NaN where the
            size is not covered. Read-only, as `idle_table`.
        idle_table: the same after idle.
        label: where the times come from.
        speed: how the server's speed changed, for slow calls that come together; None where
            each call is drawn independently.

    Raises:
        InvalidInput: A size is not a whole number from 1, a time not a positive number, quantiles
            decrease or differ in number, or `after_idle` has other sizes.

    >>> times = ServiceTimes({1: 0.010, 2: 0.014})
    >>> times
    <ServiceTimes of 1 to 2 rows, constant>
    >>> times.means.tolist()
    [nan, 0.01, 0.014]
    """

    table: Floats
    idle_table: Floats
    label: str
    speed: SpeedRecord | None

    def __init__(
        self,
        seconds: Mapping[int, ArrayLike],
        *,
        after_idle: Mapping[int, ArrayLike] | None = None,
        label: str = "",
        speed: SpeedRecord | None = None,
    ) -> None:
        table = _table("seconds", seconds)
        idle_table = table if after_idle is None else _table("after_idle", after_idle)
        if not np.array_equal(np.isnan(table[:, 0]), np.isnan(idle_table[:, 0])):
            raise InvalidInput(
                f"after_idle must have the sizes of seconds, {sorted(seconds)}, "
                f"got {sorted(after_idle or ())}."
            )
        levels = max(table.shape[1], idle_table.shape[1])
        object.__setattr__(self, "table", _match_levels(table, levels))
        object.__setattr__(self, "idle_table", _match_levels(idle_table, levels))
        object.__setattr__(self, "label", label)
        object.__setattr__(self, "speed", speed)

    @classmethod
    def affine(cls, base: float, each: float, *, largest: int) -> Self:
        """Return constant times of `base` + `each` x size seconds, up to a largest size.

        Raises:
            InvalidInput: A number is not finite or negative, or both are 0.

        >>> ServiceTimes.affine(0.006, 0.004, largest=3).means.round(9).tolist()
        [nan, 0.01, 0.014, 0.018]
        """
        base, each = not_negative("base", base, "seconds"), not_negative("each", each, "seconds")
        sizes = range(1, whole_number("largest", largest, low=1, high=MAX_BATCH_ROWS) + 1)
        label = f"{base:g} s + {each:g} s a row"
        return cls({size: base + each * size for size in sizes}, label=label)

    @classmethod
    def from_profile(
        cls,
        profile: ProfileLike,
        *,
        threads: int = 1,
        sampled: bool = True,
        largest: int | None = None,
    ) -> Self:
        """Return the times of a profile; sizes between measured ones lie on straight lines.

        Drawn from the measured times at 1001 levels (a profile of an earlier version has 21), or
        the measured means when not `sampled`. Quantiles say little beyond the last but one, so the
        last is set to give the measured mean. Of fewer than 1000 calls after idle the ten slowest
        say nothing of rarer ones: there the tail is that back to back, later by the difference of
        the medians. Where slow calls came together, they do so again: see `service_times.speed`.
        Of batches of more than 4,000 rows there are fewer levels, so that the table stays small;
        sizes above `largest` are left out.

        Raises:
            InvalidInput: It is no profile, or has no times for so many threads.
        """
        if not hasattr(profile, "times"):
            raise InvalidInput(f"profile must be a Profile, got {profile!r}.")
        rows, idle_rows = (
            profile.times(threads=threads, state=state) for state in ("back to back", "after idle")
        )
        if largest is not None:
            rows, idle_rows = (_leave_out(each, largest) for each in (rows, idle_rows))
        seconds = _quantiles_by_size(rows, sampled=sampled)
        after_idle = _quantiles_by_size(idle_rows, sampled=sampled)
        if sampled:
            calls = dict(idle_rows.select("batch_size", "repeats").iter_rows())
            after_idle = {
                size: _borrow_tail(own, calls[size], seconds.get(size, own))
                for size, own in after_idle.items()
            }
            seconds, after_idle = _thin_levels(seconds), _thin_levels(after_idle)
        times = cls(
            _interpolate_sizes(seconds),
            after_idle=_interpolate_sizes(after_idle),
            label=f"{getattr(profile, 'label', 'profile')}, {threads} threads",
            speed=profile.find_speed(threads=threads) if sampled else None,
        )
        return times if largest is None else times.up_to(largest)

    @classmethod
    def from_run(cls, run: RunLike) -> Self:
        """Return the times that a run's own batches had, and their order; cold starts apart.

        Sizes between those that occurred lie on straight lines.

        Raises:
            InvalidInput: It is no run, or no batch was answered.
        """
        if not hasattr(run, "batches"):
            raise InvalidInput(f"run must be a Run, got {run!r}.")
        starts, seconds, sizes = _read_batches(run.batches())
        known = {int(n): np.quantile(seconds[sizes == n], _FINE_LEVELS) for n in np.unique(sizes)}
        return cls(
            _interpolate_sizes(known),
            label=f"{run.label}, its own batches",
            speed=record_speed(starts, seconds, sizes),
        )

    @property
    def largest(self) -> int:
        """The largest size covered."""
        return len(self.table) - 1

    @property
    def sizes(self) -> list[int]:
        """The sizes covered, in order."""
        return [int(size) for size in np.flatnonzero(self._has_size)]

    @property
    def sampled(self) -> bool:
        """Whether times are drawn from a distribution."""
        return bool(self.table.shape[1] > 1)

    @cached_property
    def means(self) -> Floats:
        """Mean seconds by size, NaN where not covered; the first entry is that of size 0."""
        return _means(self.table)

    @cached_property
    def idle_means(self) -> Floats:
        """Mean seconds by size for a batch that finds its server idle."""
        return _means(self.idle_table)

    @cached_property
    def _covered_up_to(self) -> int:
        """The size up to which each from 1 is covered."""
        return int(np.append(self._has_size[1:], False).argmin())

    @cached_property
    def _has_size(self) -> NDArray[np.bool_]:
        return ~np.isnan(self.table[:, 0])

    def check(self, sizes: NDArray[np.int64]) -> None:
        """Require that all these sizes are covered: nothing is extrapolated.

        Raises:
            InvalidInput: One is not: nothing is extrapolated.
        """
        most = int(sizes.max(initial=0))
        if most <= self._covered_up_to and sizes.min(initial=1) > 0:
            return
        asked = np.zeros(max(most, self.largest) + 1, dtype=bool)
        asked[sizes] = True
        asked[: self.largest + 1] &= ~self._has_size
        if asked.any():
            raise InvalidInput(
                f"Service times cover batches of {_format_sizes(self.sizes)} rows, but batches of "
                f"{_format_sizes(np.flatnonzero(asked).tolist())} occur: "
                "measure those sizes too, or lower the policy's max_size."
            )

    def scale(self, factor: float, *, label: str | None = None) -> "ServiceTimes":
        """Return times `factor` times as long, under the same label unless another is given.

        Raises:
            InvalidInput: The factor is not a positive number.

        >>> ServiceTimes({1: 0.010}).scale(2).means.tolist()
        [nan, 0.02]
        """
        factor = positive("factor", factor)
        if factor == 1:
            return self._derive(self.table, self.idle_table, label)
        return self._derive(factor * self.table, factor * self.idle_table, label)

    def idle(self) -> "ServiceTimes":
        """Return the times after idle as the times of every batch.

        >>> ServiceTimes({1: 0.010}, after_idle={1: 0.013}).idle().means.tolist()
        [nan, 0.013]
        """
        return self._derive(self.idle_table, self.idle_table, None)

    def _derive(self, table: Floats, idle_table: Floats, label: str | None) -> Self:
        """Return other times of the same kind: what was checked of these holds of those."""
        derived = copy(self)
        # cached ones, which would be of the old times
        for name in ("means", "idle_means", "digest", "_has_size", "_covered_up_to"):
            vars(derived).pop(name, None)
        for name, values in (("table", table), ("idle_table", idle_table)):
            values.setflags(write=False)
            object.__setattr__(derived, name, values)
        if label is not None:
            object.__setattr__(derived, "label", label)
        return derived

    def up_to(self, largest: int) -> Self:
        """Return the times of batches of up to so many rows.

        >>> ServiceTimes({1: 0.010, 2: 0.014}).up_to(1).sizes
        [1]
        """
        if largest >= self.largest:
            return self
        return self._derive(self.table[: largest + 1], self.idle_table[: largest + 1], None)

    @cached_property
    def digest(self) -> str:
        """The sha256 of all times."""
        return digest_of(self, self.largest)

    def to_dict(self) -> dict[str, Any]:
        """Return label, sizes and mean seconds as JSON values."""
        return {
            "label": self.label,
            "sizes": self.sizes,
            "mean": self.means[self._has_size].tolist(),
            "mean_after_idle": self.idle_means[self._has_size].tolist(),
            "levels": self.table.shape[1],
            **({} if self.speed is None else {"speed_recorded": self.speed.span}),
        }

    def __repr__(self) -> str:
        distribution = f"drawn from {self.table.shape[1]} quantiles" if self.sampled else "constant"
        name = f" {self.label}:" if self.label else ""
        return f"<ServiceTimes{name} of {_format_sizes(self.sizes)} rows, {distribution}>"


def _table(name: str, seconds: Mapping[int, ArrayLike]) -> Floats:
    """Return a row of quantiles a size, as many for each."""
    of_kind(name, seconds, Mapping, "seconds by batch size, e.g. {1: 0.01}")
    if not seconds:
        raise InvalidInput(f"{name} is empty: give seconds by batch size, e.g. {{1: 0.01}}.")
    rows = {}
    for size, times in seconds.items():
        number = whole_number("A batch size", size, low=1, high=MAX_BATCH_ROWS)
        rows[number] = _parse_quantiles(name, size, times)
    levels = {len(row) for row in rows.values()}
    if len(levels) > 1:
        raise InvalidInput(f"{name} must have as many quantiles for each size, got {levels}.")
    table = np.full((max(rows) + 1, levels.pop()), np.nan)
    for size, row in rows.items():
        table[size] = row
    return table


def _parse_quantiles(name: str, size: int, times: ArrayLike) -> Floats:
    given = np.atleast_1d(as_array(name, times))
    row = given.astype(np.float64) if given.dtype.kind in "iuf" else np.array([np.nan])
    if row.ndim != 1 or len(row) == 0 or not (np.isfinite(row) & (row > 0)).all():
        raise InvalidInput(f"{name} of {size} rows must be positive numbers, got {times!r}.")
    if (np.diff(row) < 0).any():
        raise InvalidInput(f"Quantiles must not decrease, got {times!r} for {size} rows.")
    return row


def _match_levels(table: Floats, levels: int) -> Floats:
    """Return the table with as many levels: a constant is a distribution of one value."""
    if table.shape[1] == levels:
        refined = table.copy()
    elif table.shape[1] == 1:
        refined = np.repeat(table, levels, axis=1)
    else:
        raise InvalidInput(
            f"after_idle must have as many quantiles as seconds, got {table.shape[1]} and {levels}."
        )
    refined.setflags(write=False)
    return refined


def _means(table: Floats) -> Floats:
    """Return the mean of each row's distribution: uniform between neighbouring quantiles."""
    if table.shape[1] == 1:
        return table[:, 0].copy()
    return np.asarray(((table[:, 1:] + table[:, :-1]) / 2).mean(axis=1))


def _quantiles_by_size(rows: "pl.DataFrame", *, sampled: bool) -> dict[int, Floats]:
    """Return by size the mean, or quantiles: as fine as the samples of any row allow."""
    if not sampled:
        return {size: np.array([mean]) for size, mean in rows["batch_size", "mean"].iter_rows()}
    is_fine = rows["samples"].null_count() < rows.height
    distributions = {}
    columns = rows.select("batch_size", "mean", "quantiles", "samples", "tail")
    for size, mean, quantiles, samples, tail in columns.iter_rows():
        distribution = np.array(quantiles)
        if samples is not None:
            distribution = np.quantile(np.array(samples), _FINE_LEVELS)
            distribution[_TAIL:] = tail
            distribution = np.maximum.accumulate(distribution)  # samples are rounded
        elif is_fine:
            evenly = np.linspace(0, 1, len(distribution))
            distribution = np.interp(_FINE_LEVELS, evenly, distribution)
        distributions[size] = _match_mean(distribution, mean)
    return distributions


def _match_mean(distribution: Floats, mean: float) -> Floats:
    """Return quantiles of which the last gives them a mean, where it can."""
    steps = len(distribution) - 1
    rest = mean * steps - _means(distribution[None, :-1])[0] * (steps - 1)
    last = max(2 * rest - distribution[-2], distribution[-2])
    return np.append(distribution[:-1], last)


def _leave_out(rows: "pl.DataFrame", largest: int) -> "pl.DataFrame":
    """Return the rows of a profile that say something of batches of up to so many rows."""
    sizes = rows["batch_size"]
    beyond = sizes.filter(sizes >= largest).min()
    return rows if beyond is None else rows.filter(sizes <= beyond)


def _thin_levels(distributions: Mapping[int, Floats]) -> dict[int, Floats]:
    """Return as many quantiles as a table of these sizes has room for, with the same means."""
    last = len(next(iter(distributions.values()))) - 1
    cells = max(distributions) * last
    # numbers that divide 1000, the steps between 1001 levels
    step = next((n for n in (1, 2, 4, 5, 8, 10, 20, 40) if cells <= n * _MOST_CELLS), 40)
    if step == 1 or last % step:
        return dict(distributions)
    return {
        size: _match_mean(row[::step], float(_means(row[None])[0]))
        for size, row in distributions.items()
    }


def _borrow_tail(own: Floats, calls: int, other: Floats) -> Floats:
    """Return quantiles after idle with the tail of those back to back, where calls are few."""
    last = len(own) - 1
    if calls >= last or len(own) < len(_FINE_LEVELS) or len(other) != len(own):
        return own
    known = max(last // 2, int(last * (1 - 10 / calls)))
    later = own[last // 2] - other[last // 2]
    # a tail that is moved may begin below what is known
    return np.maximum.accumulate(np.append(own[:known], other[known:] + later))


def _read_batches(batches: "pl.DataFrame") -> tuple[Floats, Floats, NDArray[np.int64]]:
    """Return starts, seconds and rows of the batches of a run that were answered."""
    started, finished = batches["started"].to_numpy(), batches["finished"].to_numpy()
    init = batches["init"].fill_null(0).fill_nan(0).to_numpy() if "init" in batches.columns else 0.0
    starts, seconds = started + init, finished - started - init
    found = np.isfinite(seconds) & (seconds > 0)
    if batches["error"].null_count() < batches.height:
        found &= batches["error"].is_null().to_numpy()
    if not found.any():
        raise InvalidInput("The run has no batch that was answered: nothing is known of its times.")
    return starts[found], seconds[found], batches["rows"].to_numpy()[found].astype(np.int64)


def _interpolate_sizes(distributions: Mapping[int, Floats]) -> dict[int, Floats]:
    """Fill in the sizes between the given ones, quantile by quantile."""
    known = sorted(distributions)
    sizes = range(known[0], known[-1] + 1)
    columns = np.array([distributions[size] for size in known]).T
    filled = np.array([np.interp(sizes, known, column) for column in columns]).T
    return dict(zip(sizes, filled, strict=True))


def _format_sizes(sizes: Sequence[int]) -> str:
    """Return sizes in a few words: "1 to 8", or "1, 2, 4, ..."."""
    if len(sizes) > 1 and len(sizes) == sizes[-1] - sizes[0] + 1:
        return f"{sizes[0]} to {sizes[-1]}"
    return ", ".join(map(str, sizes[:6])) + (", ..." if len(sizes) > 6 else "")


def digest_of(times: ServiceTimes, largest: int) -> str:
    """Return the sha256 of the times of batches of up to `largest` rows."""
    arrays: list[NDArray[Any]] = [times.table[: largest + 1], times.idle_table[: largest + 1]]
    if (speed := times.speed) is not None:
        arrays += [speed.levels, speed.slices, np.array([speed.span])]
    return hashlib.sha256(b"".join(array.tobytes() for array in arrays)).hexdigest()
