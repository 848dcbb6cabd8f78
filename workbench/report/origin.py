"""What a page was made from: its template, the parameters, when, and by which versions."""

from collections.abc import Iterator, Mapping
from pathlib import PurePath
from typing import Any

from workbench.formatting import Table, duration, format_fact
from workbench.report.parts import fold, tabulate


def origin_parts(origin: Mapping[str, Any]) -> Iterator[str]:
    """Yield a page's last part, which a reader unfolds; none where nothing is known.

    >>> [part[:61] for part in origin_parts({"template": "compare.ipynb"})]
    ['<details class="printed"><summary>How this page was made</sum']
    """
    if origin:
        tables = [Table(["", ""], rows, caption) for caption, rows in _rows(origin).items() if rows]
        yield fold("How this page was made", *map(tabulate, tables), kind="printed")


def _rows(origin: Mapping[str, Any]) -> dict[str, list[tuple[str, str]]]:
    facts = {key: value for key, value in origin.items() if key != "parameters"}
    if "seconds" in facts:
        facts["seconds"] = duration(facts["seconds"])
    facts |= facts.pop("environment", {})
    return {
        "Parameters": [(key, _format(each)) for key, each in origin.get("parameters", {}).items()],
        "Template and versions": [
            (_NAMES.get(key, key), text) for key, each in facts.items() if (text := _format(each))
        ],
    }


_NAMES = {"seconds": "took", "cpu": "processor", "python": "Python"}


def _format(value: object) -> str:
    """Return a value in words; of a path of this machine its name, for others have no use of it."""
    if isinstance(value, list):
        return ", ".join(map(_format, value))
    if isinstance(value, str) and PurePath(value).is_absolute():
        return PurePath(value).name
    return format_fact(value)
