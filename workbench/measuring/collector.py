"""The rows of a run under way: collected as they come, passed on, and saved now and then."""

import contextlib
import dataclasses
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from workbench.errors import InvalidInput, StorageError
from workbench.files import as_path
from workbench.measuring.load import Rows, lag_facts
from workbench.provenance import environment
from workbench.run import Run
from workbench.run.columns import REPLY_COLUMNS, ROUTED_COLUMNS, build_frame
from workbench.run.record import RunRecord
from workbench.traffic.trace import Trace
from workbench.validation import keep

if TYPE_CHECKING:
    import polars as pl

_SAVE_EVERY = 1.0  # seconds
_SAVE_SHARE = 20  # saving takes at most one part in so many of a run's time


@dataclasses.dataclass(frozen=True, kw_only=True)
class RunOptions:
    """Who is notified of a run under way, when it ends, and the folder where it is saved, if any.

    All but that are the arguments of `Experiment.run` of these names.

    Raises:
        InvalidInput: The folder is no path, a listener no function, or `stopped` no event.
        StorageError: It exists.
    """

    progress: Callable[[int, int], None] | None = None
    on_rows: Callable[[Rows], None] | None = None
    on_deployed: Callable[[Any], None] | None = None
    stopped: threading.Event = dataclasses.field(default_factory=threading.Event)
    drain: float = 60.0
    folder: Path | None = None

    def __post_init__(self) -> None:
        for name in ("progress", "on_rows", "on_deployed"):
            listener = getattr(self, name)
            if listener and not callable(listener):  # False is none, as a sweep takes it
                raise InvalidInput(f"{name} must be a function, got {listener!r}.")
        if not hasattr(self.stopped, "is_set"):
            raise InvalidInput(f"stopped must be a threading.Event, got {self.stopped!r}.")
        if self.folder is None:
            return
        keep(self, folder=as_path(self.folder))
        if self.folder.exists():
            raise StorageError(
                f"{self.folder} exists already: keep the run in a folder of another name."
            )


class Collector:
    """Collects the rows of a run, notifies who listens, and saves what there is.

    Args:
        trace: What is sent.
        options: Who listens, and where to save.
        describe: Returns the record of the run as of now.
    """

    has_calls = False

    def __init__(
        self, trace: Trace, options: RunOptions, describe: Callable[[], RunRecord]
    ) -> None:
        self._trace = trace
        self._options = options
        self._describe = describe
        self._completed = 0
        self._parts: list[Rows] = []
        self._calls: list[Rows] = []
        self._save_at = time.monotonic() + _SAVE_EVERY

    def add(self, rows: Rows) -> None:
        """Add rows of completed requests."""
        self._parts.append(rows)
        self._completed += len(rows["request"])
        if self._options.on_rows:
            self._options.on_rows(rows)
        if self._options.progress:
            self._options.progress(self._completed, len(self._trace))
        if self._options.folder is not None and time.monotonic() >= self._save_at:
            self._save(self._options.folder)

    def _save(self, folder: Path) -> None:
        """Save what there is; the next time comes later where saving takes long."""
        began = time.monotonic()
        frame, sent = self.collect()
        run = Run(frame, dataclasses.replace(self._describe(), **sent), calls=self.calls)
        with contextlib.suppress(StorageError):  # no reason to end a run; the last save reports it
            run.save(folder, overwrite=True)
        ended = time.monotonic()
        self._save_at = ended + max(_SAVE_EVERY, _SAVE_SHARE * (ended - began))

    @property
    def calls(self) -> "pl.DataFrame | None":
        """A row for each place that was asked; None where each request was sent to the only one."""
        return join_rows(self._calls, self._trace)[0] if self.has_calls else None

    def collect(self) -> "tuple[pl.DataFrame, dict[str, Any]]":
        """Return all rows in order of the trace, and fields of the record: how they were sent."""
        frame, retries = join_rows(self._parts, self._trace)
        if not len(frame):
            return frame, {"complete": False, "warnings": []}
        scheduled, sent, finished = (
            frame[name].to_numpy() for name in ("scheduled", "sent", "finished")
        )
        facts = lag_facts(sent - scheduled, finished - scheduled)
        facts |= {"complete": len(frame) == len(self._trace), "retries": retries}
        if not facts["complete"]:
            facts["warnings"].append(
                f"Stopped early: {len(frame)} of {len(self._trace)} requests came to an end."
            )
        return frame, facts


class PlacedCollector(Collector):
    """Collects the rows of a run in several places: those of requests, and of all calls."""

    has_calls = True

    def add(self, rows: Rows) -> None:
        """Add rows of completed requests, and of calls that do not count."""
        self._calls.append({name: rows[name] for name in rows if name != "tried"})
        counts = np.asarray(rows["tried"]) > 0
        if counts.any():
            super().add(
                {
                    name: np.asarray(rows[name], object if name == "error" else None)[counts]
                    for name in rows
                }
            )


def join_rows(parts: list[Rows], trace: Trace) -> "tuple[pl.DataFrame, int]":
    """Return rows as a run's frame, by request and when each was sent, and how often again."""
    import polars as pl

    if not parts:
        return build_frame([], [], {}), 0
    columns: dict[str, Any] = {
        name: np.concatenate(
            [np.asarray(part[name], object if name == "error" else None) for part in parts]
        )
        for name in parts[0]
    }
    # the last key goes first
    order = np.lexsort((columns["sent"], columns["request"]))
    columns = {name: values[order] for name, values in columns.items()}
    retries = int(columns.pop("retries").sum())
    optional = {name: columns.pop(name) for name in REPLY_COLUMNS}
    routed = {name: columns.pop(name) for name in ROUTED_COLUMNS if name in columns}
    scheduled, finished = trace.arrivals[columns["request"]], columns.pop("finished")
    frame = build_frame(scheduled, finished, columns)
    kinds = {name: getattr(pl, ROUTED_COLUMNS[name]) for name in routed}
    shown = {name: each for name, each in optional.items() if np.nan_to_num(each).any()}
    frame = frame.with_columns(**{name: pl.Series(each) for name, each in shown.items()})
    return frame.with_columns(
        pl.Series(name, routed[name], kinds[name]) for name in routed
    ), retries


def begin_record(known: RunRecord, origin: str) -> Callable[[], RunRecord]:
    """Return what describes, at any time, a run that begins now, of which so much is known."""
    began = time.perf_counter()
    known = dataclasses.replace(
        known,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        environment=environment(),
        origin=origin,
    )
    return lambda: dataclasses.replace(known, seconds=time.perf_counter() - began)


def save_completed(run: Run, folder: Path) -> Run:
    """Save a completed run, and return it with where it is, or why it is not there."""
    if not len(run):
        return run
    saved = run.amend(kept=str(folder))
    try:
        saved.save(folder, overwrite=True)
    except StorageError as error:
        return run.amend(warnings=[*run.warnings, f"Not kept: {error}"])
    return saved
