"""What was shown of a decision last time: there at once, until it is decided again.

Beginning a kernel's first plan takes a second or two of imports and compiled code. What the same
question came to the last time is read from disk meanwhile, and marked as that.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from workbench.errors import WorkbenchError
from workbench.files import home, write_file

_MAX_KEPT = 40  # the oldest go


@dataclass(frozen=True, kw_only=True)
class ShownDecision:
    """A decision as a page shows it: HTML, and the specification of its picture."""

    sentence: str
    caption: str
    table: str
    spec: dict[str, Any]


def key_of(parts: Sequence[object]) -> str:
    """Return a name for a question: one that differs when written out has another.

    >>> key_of(["model", 0.1]) == key_of(["model", 0.1]) != key_of(["model", 0.2])
    True
    """
    return hashlib.sha256("\n".join(map(repr, parts)).encode()).hexdigest()[:32]


def recall_shown(key: str) -> ShownDecision | None:
    """Return what was shown last under a key; None where nothing was, or it cannot be read."""
    try:
        return ShownDecision(**json.loads(_path_of(key).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None


def keep_shown(key: str, shown: ShownDecision) -> None:
    """Keep what is shown under a key; where that cannot be written, the next one is later."""
    path = _path_of(key)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_file(path, lambda file: file.write(json.dumps(asdict(shown)).encode()))
        kept = sorted(path.parent.glob("*.json"), key=lambda each: each.stat().st_mtime)
        for old in kept[:-_MAX_KEPT]:
            old.unlink(missing_ok=True)
    except (OSError, WorkbenchError):
        return


def _path_of(key: str) -> Path:
    return home() / "decisions" / f"{key}.json"
