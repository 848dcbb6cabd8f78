"""How far predictions and simulations lay from measured runs on this machine: kept, and read again.

Comparing them is what adds to it, `workbench.comparison.compare`: that needs no work beyond what
was asked for, and a run at whose end nobody asks for a prediction costs none. It is a JSON file
beside the profiles, below `home()`, for the same machine as they are. A measured run counts once
for each way, the latest time, and of those the last 100 are kept.
"""

import contextlib
import hashlib
import json
import math
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workbench.errors import StorageError
from workbench.files import home, write_file
from workbench.provenance import machine, machine_key
from workbench.run.past_errors import PastErrors

if TYPE_CHECKING:
    from workbench.run import Run

FORMAT = 1  # of the file: a later one is left alone
KEPT = 100
"""Comparisons of each way that are kept."""

_RECENT = 20  # earlier ones tell of a machine as it was
_FIGURE = "p95"


def read_past_errors(way: str) -> PastErrors:
    """Return what the last 20 comparisons of a way say, "predicted" or "simulated"."""
    entries = [each for each in _read() or () if each["way"] == way][-_RECENT:]
    errors = [each["errors"][_FIGURE] for each in entries]
    if not errors:
        return PastErrors(way=way)
    return PastErrors(way=way, runs=len(errors), low=min(errors), high=max(errors))


def record_errors(way: str, measured: "Run", errors: Mapping[str, float | None]) -> None:
    """Keep the errors of a way against a measured run, by figure: its p95's at least.

    An error is a ratio less 1, None where it is not known. Nothing is kept of a run that is not to
    be relied on or has no p95, nor where the file cannot be written or is of a later version.
    """
    error = errors.get(_FIGURE)
    if error is None or not math.isfinite(error) or not (measured.complete and measured.valid):
        return
    entries = _read()
    if entries is None:
        return
    known = {name: each for name, each in errors.items() if each is not None}
    entry = {"way": way, "run": _digest(measured), "measured": measured.origin, "errors": known}
    if entry in entries:
        return
    same = [each for each in entries if each["way"] == way and each["run"] != entry["run"]]
    others = [each for each in entries if each["way"] != way]
    text = json.dumps({"format": FORMAT, "errors": [*others, *same[1 - KEPT :], entry]})
    with contextlib.suppress(StorageError, OSError):  # a comparison is not to fail for its memory
        _path().parent.mkdir(parents=True, exist_ok=True)
        write_file(_path(), lambda file: file.write(text.encode()))


def _path() -> Path:
    return home() / "profiles" / f"errors-{_recall_key()}.json"


@cache
def _recall_key() -> str:
    return machine_key(machine())


def _read() -> list[dict[str, Any]] | None:
    """Return what is kept, the oldest first: nothing of a damaged file, None of a later version."""
    try:
        kept = json.loads(_path().read_bytes())
        if kept["format"] > FORMAT:
            return None
        return [each for each in kept["errors"] if _is_entry(each)]
    except (OSError, ValueError, TypeError, KeyError):
        return []


def _is_entry(each: Any) -> bool:  # noqa: ANN401 - any JSON
    error = each["errors"][_FIGURE]
    return isinstance(each["way"] + each["run"], str) and math.isfinite(error)


def _digest(run: "Run") -> str:
    rows = run.frame["finished"].to_numpy().tobytes()
    return hashlib.sha256(f"{run.origin} {run.record.created} ".encode() + rows).hexdigest()
