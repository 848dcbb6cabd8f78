"""Counts that the process which sends a load shares with the one that looks after its fleet."""

import contextlib
import threading
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from workbench.backends.base import Backend, Batch, Reply


class FleetCounts(NamedTuple):
    """A fleet under load; all but `ready` and `starting`, which the other process writes."""

    begun: float = 0.0
    """When the trace began, by `time.perf_counter`, which all processes share; 0: not yet."""
    arrived: float = 0.0
    """Batches that were sent so far, those that an overflow took too."""
    done: float = 0.0
    """Batches that came back from the fleet."""
    spilled: float = 0.0
    """Batches that an overflow took."""
    in_flight: float = 0.0
    """Batches at the fleet now."""
    ready: float = 0.0
    """Instances in service."""
    starting: float = 0.0
    """Instances that boot."""


class SharedCounts:
    """`FleetCounts` in a file that is mapped into memory; sent to a process, it is the same there.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     counts = SharedCounts(Path(folder) / "counts", ready=2)
    ...     counts.add(arrived=1)
    ...     counts.read().arrived, counts.read().ready
    (1.0, 2.0)
    """

    def __init__(self, path: Path, *, ready: int) -> None:
        self.path = path
        np.array(FleetCounts(ready=ready)).tofile(path)

    def __reduce__(self) -> tuple[Any, ...]:
        return _open, (self.path,)

    @cached_property
    def _cells(self) -> NDArray[np.float64]:
        return np.memmap(self.path, np.float64, "r+")

    @cached_property
    def lock(self) -> threading.RLock:
        """What holds back the other threads of this process while counts are read and changed."""
        return threading.RLock()

    def read(self) -> FleetCounts:
        """Return how things stand."""
        return FleetCounts(*self._cells.tolist())

    def add(self, **changes: float) -> None:
        """Add to counts, by name."""
        with self.lock:
            for name, by in changes.items():
                self._cells[FleetCounts._fields.index(name)] += by

    def write(self, **values: float) -> None:
        """Write values, by name."""
        for name, value in values.items():
            self._cells[FleetCounts._fields.index(name)] = value

    def begin(self, origin: float) -> None:
        """Note when the trace begins, by `time.perf_counter`."""
        self.write(begun=origin)

    @contextlib.contextmanager
    def at_fleet(self) -> Iterator[None]:
        """Count a batch that is at the fleet while the block lasts and was counted in before."""
        try:
            yield
        finally:
            self.add(in_flight=-1, done=1)


def _open(path: Path) -> SharedCounts:
    """Return the counts in a file that is there."""
    counts = SharedCounts.__new__(SharedCounts)
    counts.path = path
    return counts


class CountedBackend:
    """A backend that counts what it is sent."""

    def __init__(self, backend: Backend, counts: SharedCounts) -> None:
        self.concurrency = backend.concurrency
        self._backend = backend
        self._counts = counts

    def __enter__(self) -> Self:
        self._backend.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self._backend.__exit__(None, None, None)  # none asks what ended the block

    def invoke(self, batch: Batch) -> Reply:
        """Answer a batch as the backend does."""
        self._counts.add(arrived=1, in_flight=1)
        with self._counts.at_fleet():
            return self._backend.invoke(batch)
