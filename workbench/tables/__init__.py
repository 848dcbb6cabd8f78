"""Tables in text files, CSV and JSON Lines: every cell is read as text, so that none is bent.

What a cell is, is decided where it is known what it is for. Blank lines at the end are nothing. A
value is missing where the cell is empty, `nan`, `NA` or `null` in any case, or null in JSON.
"""

import csv
import warnings
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from functools import lru_cache
from json import loads
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workbench.errors import InvalidInput
from workbench.modelserver.casts import MISSING
from workbench.tables.cells import clean_cells
from workbench.validation import flag

if TYPE_CHECKING:
    import polars as pl

JSON_LINES = (".jsonl", ".ndjson")
TEXT_FORMATS = (".csv", *JSON_LINES)
VECTOR = "features"
"""The column of rows that are lists, as the model server calls them."""

_TAIL = 64 * 1024  # bytes at the end of a file among which blank lines are looked for
_LEADING_ZERO = r"^[+-]?0\d"  # a code such as 007, which is no number
_FIRST_ROWS = 1000  # enough to show a fraction, and read at once
_EXACT = 2.0**53  # from here on a float skips whole numbers


@dataclass(frozen=True, slots=True)
class TextTable:
    """A table in a file.

    Attributes:
        path: Of the file.
        names: Its columns, in order; x0, x1, ... in a CSV without a header.
        header: Whether they are named in the file: in the first line, or in objects of JSON.
        skip: Lines before that.
        blank: Blank lines at the end.
        vectors: The columns of JSON that hold lists, and how deep.
        changed: Size and time of the file, so that what is known of it is not of another.
        json: Whether the lines are JSON.
    """

    path: Path
    names: tuple[str, ...]
    header: bool
    skip: int
    blank: int
    vectors: tuple[tuple[str, int], ...]
    changed: tuple[int, int]
    json: bool = False

    def scan(self) -> "pl.LazyFrame":
        """Return the rows as text, those of blank lines at the end of a CSV with them."""
        import polars as pl

        if not self.json:
            return pl.scan_csv(
                self.path,
                glob=False,
                infer_schema=False,
                has_header=self.header,
                new_columns=None if self.header else list(self.names),
                skip_lines=self.skip,
            )
        schema: dict[str, Any] = dict.fromkeys(self.names, pl.String())
        schema |= {name: _lists_of(pl.String(), depth) for name, depth in self.vectors}
        if self.header:
            return pl.scan_ndjson(self.path, schema=schema)
        line = pl.col("line")
        lists = pl.concat_str(pl.lit(f'{{"{VECTOR}":'), line, pl.lit("}"))
        rows = pl.scan_lines(self.path, glob=False).filter(line.str.strip_chars() != "")
        return rows.select(lists.str.json_decode(pl.Struct(schema)).alias("row")).unnest("row")

    def read(self, columns: list[str]) -> "pl.DataFrame":
        """Return these columns of all rows as text; others are not kept."""
        frame = self.scan().select(columns).collect()
        return frame.head(len(frame) - self.blank)

    def batches(self, rows: int) -> Iterator["pl.DataFrame"]:
        """Return all rows as text, so many at a time."""
        import polars as pl

        kept: list[pl.DataFrame] = []
        held = 0
        for batch in self.scan().collect_batches(chunk_size=rows):
            kept.append(batch)
            held += len(batch)
            # as many as may be blank at the end are held back
            if (whole := held - self.blank) >= rows:
                joined, whole = pl.concat(kept), whole - whole % rows
                yield from (joined[at : at + rows] for at in range(0, whole, rows))
                kept, held = [joined[whole:]], held - whole
        if held > self.blank:
            yield pl.concat(kept).head(held - self.blank)


def open_table(
    path: Path,
    *,
    header: bool | None = None,
    columns: Iterable[str] | None = None,
    skip: int = 0,
    json: bool | None = None,
) -> TextTable:
    """Return the table in a CSV or JSON Lines file, as far as its first and last lines tell.

    A CSV's first line is its header, unless all that it holds are numbers or instants; a warning
    says so then.

    Args:
        path: Of the file.
        header: Whether a CSV has a header, for those who know.
        columns: Names that are asked for: if the first line holds them all, it is the header.
        skip: Lines before it.
        json: Whether each line is JSON; by default the ending of the file's name tells.

    Raises:
        InvalidInput: It is empty, or what the first line is cannot be known.
        OSError, polars.exceptions.PolarsError: It cannot be read.
    """
    if header is not None:
        flag("header", header)
    facts = path.stat()
    changed = facts.st_size, facts.st_mtime_ns
    if path.suffix in JSON_LINES if json is None else json:
        named, names, vectors = _json_columns(path)
        return TextTable(path, names, named, 0, 0, vectors, changed, json=True)
    cells = _first_cells(path, skip)
    if header is None and columns is not None:
        header = set(columns) <= set(cells) or None
    if header is None:
        header = not _is_row(path, cells)
    names = tuple(cells) if header else tuple(f"x{at}" for at in range(len(cells)))
    table = TextTable(path, names, header, skip, _count_blank_lines(path), (), changed)
    if not header:
        return table  # else Polars tells those of one name apart
    return replace(table, names=tuple(table.scan().collect_schema().names()))


def column_types(table: TextTable, schema: Mapping[str, Any] | None = None) -> dict[str, Any]:
    r"""Return the Polars type of each column, found from all its rows unless the schema has it.

    Whole numbers, floats, booleans, or text: where a cell is none of these, begins with a 0, or
    is too large for a float to hold exactly, the column stays what it is in the file.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "t.csv"
    >>> _ = path.write_text("id,x\n007,1\n008,1.5\n")
    >>> column_types(open_table(path))
    {'id': String, 'x': Float64}
    """
    return _find_types(table) | dict(schema or {})


@lru_cache(maxsize=16)
def _find_types(table: TextTable) -> dict[str, Any]:
    import polars as pl

    types = {name: _lists_of(pl.Float64, depth) for name, depth in table.vectors}
    types |= _find_plain_numbers(table)
    names = [name for name in table.names if name not in types]
    found = (
        table.scan()
        .select(
            pl.struct(
                _holds(clean_cells(name), pl.Int64, _LEADING_ZERO).alias("whole"),
                _holds(clean_cells(name), pl.Float64, _LEADING_ZERO).alias("float"),
                clean_cells(name).is_in(["true", "false"]).all().alias("truth"),
                clean_cells(name).is_null().all().alias("none"),
            ).alias(name)
            for name in names
        )
        # in pieces, as a file may be larger than the memory
        .collect(engine="streaming")
    )
    kinds = {"none": pl.String, "whole": pl.Int64, "float": pl.Float64, "truth": pl.Boolean}
    for name in names:
        facts = found[name][0]
        types[name] = next((kinds[each] for each in kinds if facts[each]), pl.String)
    return {name: types[name] for name in table.names}


def _lists_of(kind: Any, depth: int) -> Any:  # noqa: ANN401 - of Polars
    """Return the type of lists of lists, so deep, of a type."""
    import polars as pl

    for _ in range(depth):
        kind = pl.List(kind)
    return kind


def _find_plain_numbers(table: TextTable) -> dict[str, Any]:
    """Return the types of columns that Polars reads as they are: most, and far faster so."""
    # Not so columns with blanks, missing values, signs of text, or numbers that need care.
    import polars as pl

    names = [name for name in table.names if name not in dict(table.vectors)]
    sizes = {name: pl.col(name).cast(pl.Float64, strict=False).abs() for name in names}
    whole = {name: pl.col(name).cast(pl.Int64, strict=False).is_not_null().all() for name in names}
    # most columns of fractions show it at once, and need not be tried as whole numbers throughout
    start = table.scan().head(_FIRST_ROWS).select(**whole).collect()
    whole |= {name: pl.lit(value=False) for name in names if not start[name][0]}
    found = (
        table.scan()
        .select(
            pl.struct(
                ((sizes[name] < _EXACT) & ~pl.col(name).str.contains(_LEADING_ZERO))
                .fill_null(value=False)
                .all()
                .alias("plain"),
                whole[name].alias("whole"),
            ).alias(name)
            for name in names
        )
        .collect(engine="streaming")
    )
    facts = {name: found[name][0] for name in names}
    return {
        name: pl.Int64 if fact["whole"] else pl.Float64
        for name, fact in facts.items()
        if fact["plain"]
    }


def _holds(cells: "pl.Expr", kind: Any, never: str) -> "pl.Expr":  # noqa: ANN401 - of Polars
    import polars as pl

    numbers = cells.cast(kind, strict=False)
    good = numbers.is_not_null() & ~cells.str.contains(never)
    if kind == pl.Float64:
        good &= (numbers.abs() < _EXACT) | numbers.is_infinite() | cells.str.contains("[.e]")
    return (good | cells.is_null()).all()


def _first_cells(path: Path, skip: int) -> list[str]:
    with path.open(encoding="utf-8-sig", errors="replace", newline="") as file:
        for _ in range(skip):
            file.readline()
        try:
            cells = next((row for row in csv.reader(file) if row), [])
        except csv.Error as error:
            raise InvalidInput(f"{path} cannot be read as csv: {error}.") from error
    if not cells:
        raise InvalidInput(f"{path} cannot be read as a table: it is empty.")
    return cells


def _is_row(path: Path, cells: list[str]) -> bool:
    """Return whether the cells of a first line are values, and say so if they are."""
    values = [_is_value(cell) for cell in cells if cell.strip().lower() not in MISSING]
    ask = "pass header=True or header=False."
    numbered = len(cells) > 1 and cells == [str(at) for at in range(len(cells))]
    fractions = (_is_value(cell) for cell in cells if not cell.strip().isdecimal())
    if numbered or (any(values) and not all(values) and any(fractions)):
        raise InvalidInput(
            f"{path} begins with {','.join(cells)[:80]!r}, which may be a header or a row: {ask}"
        )
    if not values or not all(values):
        return False
    warnings.warn(
        f"{path} begins with {','.join(cells)[:80]!r}: that is taken as a row, and the columns are "
        f"called x0, x1, ...; if it is a header, or to be rid of this warning, {ask}",
        stacklevel=2,
    )
    return True


def _is_value(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        pass
    else:
        return True
    try:
        datetime.fromisoformat(cell.strip().replace(",", "."))
    except ValueError:
        return False
    return True


def _count_blank_lines(path: Path) -> int:
    """Return how many blank lines a file ends with."""
    with path.open("rb") as file:
        size = file.seek(0, 2)
        file.seek(max(0, size - _TAIL))
        tail = file.read()
    space = tail[len(tail.rstrip()) :]
    return max(0, space.count(b"\n") + (not space.endswith(b"\n") and b"\n" in space) - 1)


def _first_value(path: Path) -> Any:  # noqa: ANN401 - JSON
    with path.open(encoding="utf-8-sig") as file:
        for line in file:
            if line.strip():
                try:
                    return loads(line)
                except ValueError as error:
                    raise InvalidInput(f"{path} is not JSON Lines: {error}.") from error
    raise InvalidInput(f"{path} cannot be read as a table: it is empty.")


def _json_columns(path: Path) -> tuple[bool, tuple[str, ...], tuple[tuple[str, int], ...]]:
    """Return whether lines are objects, the columns, and which of them hold lists how deep."""
    import polars as pl

    value = _first_value(path)
    if isinstance(value, list):
        return False, (VECTOR,), ((VECTOR, _depth(value)),)
    if not isinstance(value, dict):
        raise InvalidInput(f"{path} must hold an object or a list in each line, got {value!r}.")
    schema = pl.scan_ndjson(path, infer_schema_length=None).collect_schema()
    if not schema:
        raise InvalidInput(f"{path} cannot be read as a table: there are no columns.")
    vectors = []
    for name, kind in schema.items():
        depth, inner = 0, pl.Series(dtype=kind)
        while isinstance(inner.dtype, pl.List):
            depth, inner = depth + 1, inner.explode()
        if depth:
            vectors.append((name, depth))
    return True, tuple(schema), tuple(vectors)


def _depth(value: object) -> int:
    return 1 + (_depth(value[0]) if value else 0) if isinstance(value, list) else 0
