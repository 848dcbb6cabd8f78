"""Proof that a file whose graph was changed answers as the one that came, and what it costs."""

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from workbench.errors import InvalidModel, WorkbenchError
from workbench.registry.onnx import Session, open_runtime

if TYPE_CHECKING:
    from workbench.registry.adaptation import Adapted, Original

_SIZES = (1, 2, 3, 7)  # rows in a batch that must be answered as by the original
_MOST = 16  # rows that are tried
_CLOSE = 1e-4  # by which floats may differ, as a share of the largest
_TIMED = 8  # rows in the batch that is timed


def prove(
    adapted: "Adapted", rows: NDArray[Any], clock: Callable[[], float] = time.perf_counter
) -> str:
    """Compare a changed file with the one that came, and return what one row a call costs.

    Args:
        adapted: The file.
        rows: Rows that it takes.
        clock: Tells the time, in seconds.

    Raises:
        InvalidModel: It answers otherwise.
    """
    if adapted.original is None:
        return ""
    rows = rows[:_MOST]
    expected = _ask_original(adapted.original, rows)
    session = Session(adapted.content)
    if wrong := _find_difference(session, rows, expected):
        raise InvalidModel(
            f"Changed to take batches, the file answers otherwise than as it came: {wrong} "
            "Its rows may be steps of one sequence; else register it without free_batch= or "
            "batch_axes=, or export it with a free batch axis."
        )
    return _price(adapted, session, rows, expected, clock) if adapted.one_row else ""


def _price(
    adapted: "Adapted",
    session: Session,
    rows: NDArray[Any],
    expected: NDArray[Any],
    clock: Callable[[], float],
) -> str:
    batch = rows[np.arange(_TIMED) % len(rows)]
    cost = (
        f"The file takes one row a call, so that {_TIMED} rows take "
        f"{1000 * _measure(session, batch, clock):.2g} ms, one after the other, and requests are "
        "not batched."
    )
    try:
        freed = Session(adapted.freed)
        if not _find_difference(freed, rows, expected):
            return (
                f"{cost} It does so by declaration alone: with free_batch=True they take "
                f"{1000 * _measure(freed, batch, clock):.2g} ms together, with the same answers."
            )
    except WorkbenchError:
        pass
    return f"{cost} Export it with a free batch axis to have batches."


def _ask_original(original: "Original", rows: NDArray[Any]) -> NDArray[Any]:
    """Return what the file answers to each row alone."""
    session = open_runtime(original.content, threads=1)
    wanted = {each.name: len(each.shape) for each in session.get_inputs()}
    axis = original.axes.get(original.answer, 0)
    answers = []
    for at in range(len(rows)):
        fed = {
            name: _turn(
                rows[name] if rows.dtype.names else rows, at, axes, original.axes.get(name, 0)
            )
            for name, axes in wanted.items()
            if name not in original.constants
        }
        (found,) = session.run([original.answer], {**original.constants, **fed})
        found = np.asarray(found)
        one = axis < found.ndim and found.shape[axis] == 1
        answers.append(np.moveaxis(found, axis, 0) if one else found[None])
    return np.concatenate(answers)


def _turn(values: NDArray[Any], at: int, axes: int, axis: int) -> NDArray[Any]:
    """Return one row of an input as the original takes it."""
    row = values[at : at + 1]
    row = row.reshape(*row.shape, *[1] * (axes - row.ndim))  # a column of values is (batch, 1)
    row = row.astype(object) if row.dtype.kind == "U" else row
    return np.ascontiguousarray(np.moveaxis(row, 0, axis))


def _measure(session: Session, batch: NDArray[Any], clock: Callable[[], float]) -> float:
    """Return the shortest of three times that a batch takes, in seconds."""
    times = []
    for _ in range(3):
        began = clock()
        session.run(batch)
        times.append(clock() - began)
    return min(times)


def _find_difference(session: Session, rows: NDArray[Any], expected: NDArray[Any]) -> str:
    """Return a sentence on the first batch with other answers than rows alone have, if any."""
    for size in _SIZES:
        for at in range(0, len(rows), size):
            batch = rows[at : at + size]
            try:
                found = np.asarray(session.run(batch))
            except WorkbenchError as error:
                return f"{len(batch)} rows fail ({error})."
            wanted = expected[at : at + size]
            if not _are_alike(found, wanted):
                return f"rows {at + 1} to {at + len(batch)} in a batch of {len(batch)} differ."
    return ""


def _are_alike(found: NDArray[Any], wanted: NDArray[Any]) -> bool:
    if found.size != wanted.size:
        return False
    found = found.reshape(wanted.shape)
    if found.dtype.kind != "f":
        return bool((found == wanted).all())
    # answers near 0 are compared by an absolute limit
    limit = _CLOSE * max(1e-6, float(np.abs(np.nan_to_num(wanted)).max(initial=0.0)))
    return bool(np.allclose(found, wanted, rtol=0, atol=limit, equal_nan=True))
