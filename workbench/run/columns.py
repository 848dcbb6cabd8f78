"""The columns of a run's frame: the type and the meaning of each, and of those it may lack."""

from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from workbench.errors import InvalidInput
from workbench.validation import as_array

if TYPE_CHECKING:
    import polars as pl

COLUMNS = {
    "request": "UInt32",  # its number in the trace
    "scheduled": "Float64",  # when it was due, seconds from the start of the trace
    "sent": "Float64",  # when it reached the buffer
    "started": "Float64",  # when its batch was taken up
    "finished": "Float64",  # when its answer was there; NaN when there was none
    "latency": "Float64",  # finished - scheduled; NaN when there was no answer
    "batch": "Int64",  # number of the batch it went in
    "batch_size": "Int32",  # requests in that batch
    "rows": "Int32",  # rows the request carried
    "place": "UInt8",  # which of the record's places answered, counted from 0
    "server": "Int32",  # worker or instance that answered, -1 when unknown
    "cold": "Boolean",  # whether a new instance was started for its batch
    "correct": "Float64",  # share of its rows predicted right; NaN when that is unknown
    "error": "String",  # what went wrong; null when it was answered
}
"""The columns of a run's frame and their Polars types."""

REPLY_COLUMNS = {
    "model_latency": "Float64",  # seconds the model took for the batch; NaN: the backend says none
    "overhead_latency": "Float64",  # seconds of its call that the model did not take; likewise
    "init": "Float64",  # seconds a new instance took to start for its batch; 0 on a warm one
}
"""Columns that a frame has where backend or simulator tell of them, after the others."""

ROUTED_COLUMNS = {
    "tried": "UInt8",  # how many places were asked
    "context": "String",  # the request's kind, "" where it has none
}
"""Columns of a run of an ensemble."""

OPTIONAL_COLUMNS = REPLY_COLUMNS | ROUTED_COLUMNS
"""All columns that a frame may lack."""


@cache
def _types() -> dict[str, Any]:
    """Return the Polars type of each column there can be."""
    import polars as pl

    return {name: getattr(pl, kind) for name, kind in (COLUMNS | OPTIONAL_COLUMNS).items()}


def has_column(frame: "pl.DataFrame", name: str) -> bool:
    """Return whether a run's frame has an optional column.

    Raises:
        KeyError: There is no such column: a slip of the pen, not a frame without it.
    """
    OPTIONAL_COLUMNS[name]
    return name in frame.columns


def with_optional_columns(frame: "pl.DataFrame") -> "pl.DataFrame":
    """Return a run's frame with what backends tell; none started cold, nothing else is known."""
    import polars as pl

    plain = dict.fromkeys(REPLY_COLUMNS, float("nan")) | {"init": 0.0}
    missing = {name: pl.lit(value) for name, value in plain.items() if name not in frame.columns}
    return frame.with_columns(**missing).with_columns(pl.col("init").fill_null(0.0))


def check_columns(frame: "pl.DataFrame", places: int) -> None:
    """Require that a frame is one of a run in so many places.

    Raises:
        InvalidInput: A column is missing, unknown or of another type, or a place has no name.
    """
    declared = _types()
    missing = [name for name in COLUMNS if name not in frame.columns]
    if missing:
        raise InvalidInput(f"A run needs the columns {list(COLUMNS)}; missing: {missing}.")
    unknown = [name for name in frame.columns if name not in declared]
    if unknown:
        raise InvalidInput(f"Unknown columns {unknown}; a run has {list(declared)}.")
    wrong = {name: str(kind) for name, kind in frame.schema.items() if kind != declared[name]}
    if wrong:
        wanted = {name: str(declared[name]) for name in wrong}
        raise InvalidInput(f"A run has columns of the types {wanted}, got {wrong}.")
    most = frame["place"].max()
    if isinstance(most, int) and most >= places:
        raise InvalidInput(f"place {most} has no name: the record has {places}.")


def build_frame(
    scheduled: ArrayLike, finished: ArrayLike, columns: dict[str, ArrayLike]
) -> "pl.DataFrame":
    """Return the frame of a run from arrays of equal length, the plainest values elsewhere.

    Raises:
        InvalidInput: A column is unknown or of another type, or lengths differ.
    """
    unknown = sorted(set(columns) - set(COLUMNS))
    if unknown:
        raise InvalidInput(f"Unknown columns {unknown}; a run has {list(COLUMNS)}.")
    import polars as pl

    due = _column("scheduled", as_floats("scheduled", scheduled))
    done = _column("finished", as_floats("finished", finished))
    count = len(due)
    values: dict[str, Any] = {
        "request": np.arange(count),
        "scheduled": due,
        "sent": due,
        "started": due,
        "finished": done,
        "latency": done - due if len(done) == count else done,
        "batch": np.arange(count),
        "batch_size": np.ones(count),
        "rows": np.ones(count),
        "place": np.zeros(count),
        "server": np.full(count, -1),
        "cold": np.zeros(count, dtype=bool),
        "correct": np.full(count, np.nan),
        "error": [None] * count,
    }
    values |= {name: _column(name, array) for name, array in columns.items()}
    values["error"] = pl.Series(list(values["error"]), dtype=pl.String)
    wrong = {name: len(values[name]) for name in COLUMNS if len(values[name]) != count}
    if wrong:
        raise InvalidInput(f"Every column needs {count} values, got {wrong}.")
    return pl.DataFrame({name: _cast(name, values[name]) for name in COLUMNS})


def _cast(name: str, values: Any) -> "pl.Series":  # noqa: ANN401 - whatever makes a series
    import polars as pl

    try:
        return pl.Series(values).cast(_types()[name])
    except (pl.exceptions.PolarsError, TypeError) as error:
        wrong = f"{name} must be of type {COLUMNS[name]}: {str(error).splitlines()[0]}."
        raise InvalidInput(wrong) from error


def _column(name: str, values: ArrayLike) -> NDArray[Any]:
    column = as_array(name, values)
    if column.ndim != 1:
        raise InvalidInput(f"{name} must be one list, a value a request, got {values!r}.")
    return column


def as_floats(name: str, values: ArrayLike) -> NDArray[np.float64]:
    """Return the values as floats, if they are numbers."""
    given = as_array(name, values)
    if given.dtype.kind not in "iuf" and given.size:
        raise InvalidInput(f"{name} must be numbers, got {values!r}.")
    return given.astype(np.float64)
