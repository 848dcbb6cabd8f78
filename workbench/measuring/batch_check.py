"""After a run: some of its own batches are run again here, and their rows alone."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from workbench.errors import WorkbenchError
from workbench.measuring.load import Load, SampleRows
from workbench.registry.invariance_probe import compare_batches
from workbench.registry.model import Model

if TYPE_CHECKING:
    import polars as pl

_MOST_ROWS = 64  # that are run alone, some milliseconds each at most
_MOST_BATCHES = 8  # the largest, in which a difference is likeliest


def describe_batching(
    model: Model, load: Load, frame: "pl.DataFrame", threads: int
) -> tuple[str, list[str]]:
    """Return what batching does to a model's answers, and what a reader of the run must know.

    The run's largest batches are looked at, up to 64 rows of them.
    """
    known = str(model.traits.batch_invariance or model.traits.batches)
    batches = list(_largest_batches(load, frame))
    if not batches:
        return known, []
    caveats = [model.traits.batch_caveat] if model.traits.batch_caveat else []
    try:
        labels = model.traits.kind == "classification"
        found = compare_batches(model.session(threads), batches, labels=labels)
    except WorkbenchError as error:
        return known, [*caveats, f"Whether batching changed answers here is not known: {error}"]
    if not found.change:
        return f"{known}; none of {found.rows} rows looked at in this run changed", caveats
    return f"{known}; in this run {found.change}", [*caveats, f"In this run {found.change}."]


def _largest_batches(load: Load, frame: "pl.DataFrame") -> Iterator[NDArray[Any]]:
    """Yield the rows of batches that were answered, the largest first."""
    import polars as pl

    answered = frame.filter(pl.col("error").is_null())
    batches = answered.group_by("batch").agg(pl.col("request"), pl.col("rows").sum())
    largest = batches.filter(pl.col("rows") > 1).sort("rows", "batch", descending=[True, False])
    samples, left = SampleRows(load), _MOST_ROWS
    for requests, rows in largest.head(_MOST_BATCHES).select("request", "rows").iter_rows():
        if rows <= left:
            left -= rows
            yield samples.inputs(sorted(requests))
