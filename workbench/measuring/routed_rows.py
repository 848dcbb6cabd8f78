"""The rows of a routed run under way: answers that were given, joined with their calls."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from workbench.measuring.collector import Collector, RunOptions
from workbench.measuring.load import Rows
from workbench.measuring.routed_load import RoutedRows
from workbench.routing.calls import PlaceEvent
from workbench.run.record import RunRecord
from workbench.traffic.trace import Trace

_NO_CALL: dict[str, Any] = {  # of an answer whose call has not come back: a place that stalls
    "started": math.nan,
    "batch": -1,
    "batch_size": 1,
    "server": -1,
    "correct": math.nan,
    "cold": False,
    "model_latency": math.nan,
    "overhead_latency": math.nan,
    "init": 0.0,
    "retries": 0,
}


class RoutedCollector(Collector):
    """Collects the rows of a routed run: those of its requests, and beside them its calls.

    Args:
        trace: What is sent.
        options: Who listens, and where to save.
        describe: Returns the record of the run as of now.
        contexts: The kind of each request; None: they have none.
    """

    has_calls = True

    def __init__(
        self,
        trace: Trace,
        options: RunOptions,
        describe: Callable[[], RunRecord],
        contexts: NDArray[Any] | None = None,
    ) -> None:
        super().__init__(trace, options, describe)
        self.events: list[PlaceEvent] = []
        self._contexts = contexts
        self._recent: dict[str, NDArray[Any]] = {}  # calls of requests without an answer
        self._is_given = np.zeros(len(trace), bool)

    def take(self, rows: RoutedRows) -> None:
        """Take what happened of late."""
        self.events += rows.events
        if rows.calls is not None:
            self._calls.append(rows.calls)
            self._recent = _append(self._recent, rows.calls)
        if rows.given is not None:
            self.add(self._join(rows.given))
        if self._recent:
            waiting = ~self._is_given[self._recent["request"]]
            self._recent = {name: values[waiting] for name, values in self._recent.items()}

    def _join(self, given: Rows) -> Rows:
        """Return rows of requests: each that of the call whose answer was given."""
        requests: NDArray[np.int64] = given["request"]
        self._is_given[requests] = True
        found, at = _find(self._recent, requests, given["place"])
        rows: dict[str, Any] = {"rows": self._trace.rows[requests]}
        for name, plain in _NO_CALL.items():
            values = np.full(len(requests), plain)
            if found.any():
                values[found] = self._recent[name][at[found]]
            rows[name] = values
        if self._contexts is not None:
            rows["context"] = self._contexts[requests]
        return {**rows, **given}


def _find(
    calls: dict[str, NDArray[Any]], requests: NDArray[np.int64], places: NDArray[np.uint8]
) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
    """Return for which requests there is a call to that place, and its number among the calls."""
    if not calls or not len(calls["request"]):
        return np.zeros(len(requests), bool), np.zeros(len(requests), np.int64)
    # one number of both: the place has 8 bits
    keys = calls["request"].astype(np.int64) * 256 + calls["place"]
    order = np.argsort(keys)
    wanted = requests * 256 + places
    at = order[np.searchsorted(keys, wanted, sorter=order).clip(max=len(order) - 1)]
    return keys[at] == wanted, at


def _append(known: dict[str, NDArray[Any]], rows: Rows) -> dict[str, NDArray[Any]]:
    fresh = {name: np.asarray(rows[name]) for name in ("request", "place", *_NO_CALL)}
    if not known:
        return fresh
    return {name: np.concatenate([known[name], values]) for name, values in fresh.items()}
