"""What a model said when it failed, and at which row, in words of the client's own rows."""

import re
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

SEARCH_SECONDS = 0.05
"""How long the row that makes a run fail is looked for, about: others wait meanwhile."""

_CODE = re.compile(r"^\[ONNXRuntimeError\] : \d+ : \w+ : ")
_PLACE = re.compile(r"/\S*onnxruntime\S* ")  # of ONNX Runtime's own source, where it was built
_NODE = re.compile(
    r"Non-zero status code returned while running (\w+) node\. Name:'([^']*)' Status Message: "
)


class ModelRunError(Exception):
    """A run of the model failed: `reason` says how, at which `row` and `values` if that is known.

    >>> str(ModelRunError("beyond the table", 2, "x is 3").after(10))
    'at row 13, where x is 3: beyond the table'
    """

    def __init__(self, reason: str, row: int | None = None, values: str = "") -> None:
        super().__init__(reason, row, values)
        self.reason, self.row, self.values = reason, row, values

    def __str__(self) -> str:
        if self.row is None:
            return self.reason
        return f"at row {self.row + 1}, where {self.values}: {self.reason}"

    def after(self, rows: int) -> "ModelRunError":
        """Return the same of a batch that so many rows came before."""
        row = None if self.row is None else self.row + rows
        return ModelRunError(self.reason, row, self.values)


def explain_failure(
    error: Exception, run: Callable[[NDArray[Any]], object], rows: NDArray[Any], name: str
) -> ModelRunError:
    """Return what is said of a run that failed: which row makes it fail, and what failed then.

    `run` is tried with fewer rows; `name` is the only input's: rows of several name theirs.

    >>> def run(rows):
    ...     if (rows > 2).any():
    ...         raise ValueError("beyond the table")
    >>> print(explain_failure(ValueError("beyond the table"), run, np.array([1, 2, 3]), "x"))
    at row 3, where x is 3: beyond the table
    """
    reason = _CODE.sub("", str(error).strip())
    reason = _NODE.sub(lambda found: f"{found[1]} {found[2]}".strip() + ": ", reason)
    reason = _PLACE.sub("", reason)[:500]
    at = _find_row(run, rows)
    return ModelRunError(reason, at, "" if at is None else _describe_row(rows[at], name))


def _find_row(run: Callable[[NDArray[Any]], object], rows: NDArray[Any]) -> int | None:
    """Return the first row that fails alone; None where rows fail only together, or run for long.

    The shortest beginning that fails ends with it.
    """
    good, bad, end = 0, len(rows), time.perf_counter() + SEARCH_SECONDS
    while bad - good > 1:
        half = (good + bad) // 2
        good, bad = (good, half) if _fails(run, rows[:half]) else (half, bad)
        if time.perf_counter() > end:
            return None
    return bad - 1 if _fails(run, rows[bad - 1 : bad]) else None


def _fails(run: Callable[[NDArray[Any]], object], rows: NDArray[Any]) -> bool:
    try:
        run(rows)
    except Exception:  # noqa: BLE001 - whatever the model raises
        return True
    return False


def _describe_row(row: Any, name: str) -> str:  # noqa: ANN401 - a row, or a record
    names = row.dtype.names if isinstance(row, np.void) else None
    parts = [(name, row)] if not names else [(each, row[each]) for each in names]
    return " and ".join(f"{each} is {_short(value)}" for each, value in parts[:8])


def _short(value: Any) -> str:  # noqa: ANN401
    if isinstance(value, str):
        text = repr(str(value))
    else:
        text = " ".join(np.array2string(np.asarray(value), threshold=8).split())
    return text if len(text) <= 60 else f"{text[:57]}..."
