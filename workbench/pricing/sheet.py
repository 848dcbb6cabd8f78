"""Prices: dated, sourced, and marked by how firmly they are known.

A sheet holds the prices of one region, read from data/prices. Every price says when and where it
was read and carries a mark: "verified" in the source named, "verified (weak)" where the source is
second-hand or others contradict it, "inferred" by the rule named, "recalled", or "user".
"""

import csv
import datetime as dt
import io
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields, replace
from functools import cache, cached_property, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workbench.errors import InvalidInput, NotFound
from workbench.files import find_data, home, make_folder, write_file
from workbench.formatting import Table
from workbench.validation import choose, keep, not_negative, of_kind, suggest

if TYPE_CHECKING:
    import polars as pl

MARKS = ("user", "verified", "verified (weak)", "inferred", "recalled")
"""How a price is known, the firmest first."""


@dataclass(frozen=True, kw_only=True)
class Price:
    """What one `unit` of an item costs in US dollars, and how that is known.

    Where an item has tiers, each is a price of its own that holds from `start` units a month on.
    `date` is when the source was read (or is dated), None for an undated price of the user's.

    Raises:
        InvalidInput: `dollars` is negative or not finite, or the mark unknown.
    """

    region: str
    service: str
    item: str
    unit: str
    dollars: float
    start: float = 0.0
    date: dt.date | None = None
    source: str
    mark: str
    note: str = ""

    def __post_init__(self) -> None:
        of_kind("item", self.item, str)
        name = f"The price of {self.item!r}"
        keep(self, dollars=not_negative(name, self.dollars, "US dollars"))
        choose("mark", self.mark, MARKS)


_COLUMNS = tuple(each.name for each in fields(Price))


@dataclass(frozen=True)
class PriceSheet:
    """The prices of one region by item.

    >>> sheet = PriceSheet.load("us-east-1")
    >>> price = sheet.price("ml.m5.large")
    >>> price.dollars, price.unit, price.mark, str(price.date)
    (0.115, 'hour', 'verified', '2026-05-08')
    """

    region: str
    rows: tuple[Price, ...]

    @staticmethod
    def load(region: str = "us-east-1") -> "PriceSheet":
        """Return the sheet of a region: the one that `keep` kept last, else the one that ships.

        Raises:
            NotFound: There is no sheet of that region.
            InvalidInput: The one that was kept is no sheet any more.
        """
        path = _user_path(of_kind("region", region, str))
        if not path.is_file():
            return PriceSheet.load_bundled(region)
        return _read(path, region, path.stat().st_mtime_ns)

    @staticmethod
    def load_bundled(region: str = "us-east-1") -> "PriceSheet":
        """Return the sheet of a region that ships with the workbench.

        Raises:
            NotFound: There is no sheet of that region.
        """
        return _load_bundled(of_kind("region", region, str))

    def keep(self) -> Path:
        """Keep the sheet for `load` to find, in $WORKBENCH_HOME or the user's data directory.

        Removing the file that is returned brings back the sheet that ships.

        Raises:
            StorageError: The file cannot be written.
        """
        path = _user_path(self.region)
        make_folder(path.parent)
        return write_file(path, lambda file: file.write(self.to_csv().encode()))

    @staticmethod
    def from_csv(region: str, text: str) -> "PriceSheet":
        """Return the sheet of a region that `to_csv` wrote: a header of `Price`'s names, and rows.

        Raises:
            InvalidInput: A column is missing, a value is not what it must be, or of elsewhere.
        """
        reader = csv.DictReader(text.splitlines())
        try:
            if missing := set(_COLUMNS) - set(reader.fieldnames or ()):
                raise ValueError(f"no column {', '.join(sorted(missing))}")
            rows = tuple(map(_price, reader))
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise InvalidInput(f"This is no price sheet as to_csv writes it: {error!r}.") from error
        foreign = sorted({row.region for row in rows} - {region})
        if foreign:
            raise InvalidInput(f"The sheet of {region} has prices of {', '.join(foreign)}.")
        return PriceSheet(region, rows)

    def to_csv(self) -> str:
        """Return the sheet as a CSV file's text, from which `from_csv` makes it again."""
        text = io.StringIO()
        writer = csv.DictWriter(text, _COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(asdict(row) | {"dollars": repr(row.dollars)} for row in self.rows)
        return text.getvalue()

    def tiers(self, item: str) -> tuple[Price, ...]:
        """Return the prices of an item in order of `start`; one, where it has no tiers.

        Raises:
            NotFound: The sheet has no such item; the error asks for the nearest.
        """
        of_kind("item", item, str)
        if item not in self._by_item:
            near = suggest(item, self._by_item) or f" Known: {', '.join(sorted(self._by_item))}."
            raise NotFound(
                f"No price of {item!r} in {self.region}.{near} "
                f"Give one with sheet.with_price({item!r}, dollars, unit=...)."
            )
        return self._by_item[item]

    def price(self, item: str) -> Price:
        """Return the price of an item, of its first tier where it has several: see `tiers`.

        Raises:
            NotFound: The sheet has no such item; the error asks for the nearest.
        """
        return self.tiers(item)[0]

    def with_price(
        self,
        item: str,
        dollars: float,
        *,
        unit: str | None = None,
        date: dt.date | None = None,
        source: str = "given by the user",
    ) -> "PriceSheet":
        """Return a sheet in which `item` costs `dollars`, marked "user", in place of all its tiers.

        `unit` may be left out for an item of the sheet: it stays.

        Raises:
            InvalidInput: The price is negative or not finite, or a new item has no unit.

        >>> PriceSheet.load().with_price("ml.m5.large", 0.09).price("ml.m5.large").mark
        'user'
        """
        known = self._by_item.get(of_kind("item", item, str), ())
        unit = unit or next((row.unit for row in known), None)
        if unit is None:
            raise InvalidInput(f"{item!r} is new to the sheet: pass its unit, e.g. unit='hour'.")
        price = Price(
            region=self.region,
            service=next((row.service for row in known), "user"),
            item=item,
            unit=unit,
            dollars=dollars,
            date=date,
            source=source,
            mark="user",
        )
        return replace(self, rows=(*(row for row in self.rows if row.item != item), price))

    def stale(
        self, today: dt.date, *, after_days: int = 180, items: Iterable[str] | None = None
    ) -> str:
        """Return a warning that names the prices older than `after_days`, "" when there are none.

        `items` restricts it to those that matter, such as the ones a cost was made of.

        >>> import datetime
        >>> PriceSheet.load().stale(datetime.date(2026, 11, 24), items=["ml.m5.xlarge"])
        ''
        """
        wanted = self._by_item if items is None else set(items)
        dates = [(row.date, row.item) for row in self.rows if row.item in wanted]
        return staleness_warning(dates, today, after_days=after_days)

    @cached_property
    def frame(self) -> "pl.DataFrame":
        """The sheet as a Polars frame, one row a price, with the columns of `Price`."""
        import polars as pl

        return pl.DataFrame([asdict(row) for row in self.rows], infer_schema_length=None)

    @cached_property
    def _by_item(self) -> dict[str, tuple[Price, ...]]:
        items: dict[str, tuple[Price, ...]] = {}
        for row in sorted(self.rows, key=lambda row: row.start):
            items[row.item] = (*items.get(row.item, ()), row)
        return items

    def __repr__(self) -> str:
        return f"<PriceSheet {self.region}: {len(self.rows)} prices>"

    def _repr_html_(self) -> str:
        columns = ["item", "unit", "dollars", "start", "date", "mark", "source", "note"]
        rows = [[getattr(row, column) for column in columns] for row in self.rows]
        return Table(columns, rows, f"Prices of {self.region}, US dollars").html(limit=None)


def weakest(marks: Iterable[str]) -> str:
    """Return the least firm of several marks; "user", the firmest, when there is none.

    >>> weakest(["verified", "inferred", "user"])
    'inferred'
    """
    return max(marks, key=MARKS.index, default=MARKS[0])


def _user_path(region: str) -> Path:
    return home() / "prices" / f"{region}.csv"


# `_changed` is for the cache alone: a sheet that was written again is read again
@lru_cache(maxsize=8)
def _read(path: Path, region: str, _changed: int) -> PriceSheet:
    try:
        return PriceSheet.from_csv(region, path.read_text(encoding="utf-8"))
    except (InvalidInput, UnicodeDecodeError) as error:
        raise InvalidInput(f"{path}: {error} Remove it, or refresh the prices again.") from error


def staleness_warning(
    dates: Iterable[tuple[dt.date | None, str]], today: dt.date, *, after_days: int = 180
) -> str:
    """Return a warning that names the oldest of prices older than `after_days`; "" for none.

    `dates` are those of the prices, each with the name of its item.

    >>> dated = [(dt.date(2026, 1, 1), "ml.m5.large"), (None, "mine")]
    >>> staleness_warning(dated, dt.date(2026, 12, 1))
    'The price of ml.m5.large is of 2026-01-01: workbench prices refresh updates it.'
    """
    known = [(date, item) for date, item in dates if date]
    old = sorted(each for each in known if (today - each[0]).days > after_days)
    if not old:
        return ""
    (date, item), rest = old[0], len(old) - 1
    if not rest:
        return f"The price of {item} is of {date}: workbench prices refresh updates it."
    return (
        f"{rest + 1} of {len(known)} prices are older than {after_days} days, the oldest that of "
        f"{item} ({date}): workbench prices refresh updates them."
    )


@cache
def _load_bundled(region: str) -> PriceSheet:
    folder = find_data() / "prices"
    known = sorted(path.stem for path in folder.glob("*.csv"))
    if region not in known:
        raise NotFound(f"No prices of region {region!r}: known are {', '.join(known)}.")
    text = (folder / f"{region}.csv").read_text(encoding="utf-8")
    return PriceSheet.from_csv(region, text)


def _price(row: dict[str, str]) -> Price:
    values: dict[str, Any] = {name: row[name] for name in _COLUMNS}
    values |= {name: float(row[name]) for name in ("dollars", "start")}
    return Price(**values | {"date": dt.date.fromisoformat(row["date"]) if row["date"] else None})
