"""What was billed, item by item: so many units, at so many US dollars each.

Money comes from what is billed, never from latency. Which items a deployment bills is said by its
inference type (`Deployment.bill`); `workbench.run.costs` reads the billed quantities from a run.
AWS's free tiers are not applied. A gigabyte is 1024^3 bytes, as on AWS's pricing pages.
"""

import datetime as dt
import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from workbench.errors import InvalidInput
from workbench.formatting import Table, dollars
from workbench.pricing.sheet import Price, PriceSheet, staleness_warning, weakest
from workbench.units import GB

if TYPE_CHECKING:
    import polars as pl

MONTH = 730 * 3600.0
"""Seconds in a month of 730 hours, AWS's convention."""


@dataclass(frozen=True, kw_only=True)
class CostItem:
    """So many units of something, at so many US dollars each, and how that price is known.

    Raises:
        InvalidInput: The quantity is negative or not finite.
    """

    what: str
    quantity: float
    unit: str
    unit_price: float
    mark: str
    source: str
    date: dt.date | None = None

    def __post_init__(self) -> None:
        if not (math.isfinite(self.quantity) and self.quantity >= 0):
            raise InvalidInput(
                f"The billed quantity of {self.what} must be a finite number of {self.unit}s, "
                f"0 or more, got {self.quantity}."
            )

    @property
    def dollars(self) -> float:
        """Quantity times unit price."""
        return self.quantity * self.unit_price

    @staticmethod
    def by_user(what: str, quantity: float, unit: str, unit_price: float) -> "CostItem":
        """Return an item whose price is the user's own.

        >>> CostItem.by_user("this machine", 0.5, "hour", 0.5).dollars
        0.25
        """
        known: dict[str, Any] = {"mark": "user", "source": "given by the user"}
        return CostItem(what=what, quantity=quantity, unit=unit, unit_price=unit_price, **known)


Items = tuple[CostItem, ...]
"""Items of a cost; those of quantity 0 are left out."""


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What was billed, item by item, in US dollars.

    `answered` counts the requests answered, `origin` says how the billed quantities came about
    ("measured: this machine", "simulated", ...) and `notes` what the items leave out or assume.
    `per_month` is what a month of 730 hours costs in which the trace repeats itself, NaN where the
    trace is not known; see `monthly`.

    >>> bill = Cost(items=bill_item(PriceSheet.load(), "ml.m5.large", 10.0), answered=2_000_000)
    >>> round(bill.total, 2), round(bill.per_million, 3), bill.mark
    (1.15, 0.575, 'verified')
    """

    items: Items
    answered: int
    origin: str = "unknown"
    notes: tuple[str, ...] = ()
    per_month: float = math.nan

    @property
    def total(self) -> float:
        """The sum of all items."""
        return total(self.items)

    @property
    def per_million(self) -> float:
        """US dollars a million answered requests; NaN when none was answered."""
        return 1e6 * self.total / self.answered if self.answered else math.nan

    @property
    def mark(self) -> str:
        """How firmly the prices are known: the least firm mark of all items."""
        return weakest(item.mark for item in self.items)

    def stale(self, today: dt.date) -> str:
        """Return a warning where prices are older than half a year on that day; "" for none."""
        return staleness_warning(((item.date, item.what) for item in self.items), today)

    @cached_property
    def frame(self) -> "pl.DataFrame":
        """The items as a Polars frame: what, quantity, unit, unit_price, mark, source, ..."""
        import polars as pl

        schema = {
            "what": pl.String,
            "quantity": pl.Float64,
            "unit": pl.String,
            "unit_price": pl.Float64,
            "dollars": pl.Float64,
            "mark": pl.String,
            "source": pl.String,
            "date": pl.Date,
        }
        return pl.DataFrame([asdict(i) | {"dollars": i.dollars} for i in self.items], schema=schema)

    def to_dict(self) -> dict[str, Any]:
        """Return total, dollars per million and month, origin, mark, notes and items as JSON."""
        return {
            "total": self.total,
            "per_million": self.per_million if self.answered else None,
            "per_month": self.per_month if math.isfinite(self.per_month) else None,
            "origin": self.origin,
            "mark": self.mark,
            "notes": list(self.notes),
            "items": [
                asdict(i) | {"dollars": i.dollars, "date": i.date and i.date.isoformat()}
                for i in self.items
            ],
        }

    @property
    def label(self) -> str:
        """Total and dollars per million in a few words, for captions and tables."""
        if not self.answered:
            return f"{dollars(self.total)}, no request answered"
        return f"{dollars(self.total)}, {dollars(self.per_million)} per million requests"

    def __repr__(self) -> str:
        return f"<Cost {self.label}, {self.origin}>"

    def _repr_html_(self) -> str:
        columns = ["what", "quantity", "unit", "unit_price", "dollars", "mark", "date", "source"]
        rows = [[getattr(item, column) for column in columns] for item in self.items]
        rows.append(["total", "", "", "", self.total, self.mark, "", ""])
        caption = " ".join([f"Cost: {self.label} ({self.origin}).", *self.notes])
        return Table(columns, rows, caption).html()


def total(items: Iterable[CostItem]) -> float:
    """Return the dollars of items, all together."""
    return math.fsum(item.dollars for item in items)


def monthly(items: Iterable[CostItem], seconds: float) -> float:
    """Return US dollars a month of 730 hours if `seconds` cost that; NaN if they are not above 0.

    The total is scaled as it is: Lambda's lower prices beyond 6 billion GB-s a month do not enter.

    >>> monthly([CostItem.by_user("this machine", 0.5, "hour", 0.1)], seconds=1800)
    73.0
    """
    return total(items) * MONTH / seconds if seconds > 0 else math.nan


def describe_unknown_data(*, requests: bool, answers: bool) -> tuple[str, ...]:
    """Return what a bill leaves out where the bytes of requests or answers are not known.

    >>> describe_unknown_data(requests=True, answers=False)
    ('How many bytes answers have is not known: data out is not billed.',)
    """
    return (
        *("How many bytes requests carry is not known: data in is not billed.",) * (not requests),
        *("How many bytes answers have is not known: data out is not billed.",) * (not answers),
    )


def bill_data(prices: PriceSheet, bytes_in: float, bytes_out: float) -> Items:
    """Return the items of the data that a SageMaker endpoint processes."""
    return (
        *bill_item(prices, "endpoint data in", bytes_in / GB),
        *bill_item(prices, "endpoint data out", bytes_out / GB),
    )


def bill_item(
    prices: PriceSheet, item: str, quantity: float, *, used: float = 0.0, inferred: bool = False
) -> Items:
    """Return an item for each tier that the quantity reaches; none where it is 0.

    Args:
        prices: Has the price of the item.
        item: Its name there.
        quantity: How many units.
        used: Units that the month has seen before: the tiers start there.
        inferred: Whether the price applies by an inferred rule; a price of the user's stays so.

    Raises:
        InvalidInput: The quantity is negative or not finite.
        NotFound: The sheet has no such price.
    """
    if quantity == 0:
        return ()
    tiers = prices.tiers(item)
    items = [_item(tier, quantity, inferred=inferred) for tier in tiers]
    if len(items) == 1:
        return tuple(items)
    ends = (*(tier.start for tier in tiers[1:]), math.inf)
    # what of the quantity lies in each tier; below 0 where nothing does
    shares = (
        min(used + quantity, end) - max(used, tier.start)
        for tier, end in zip(tiers, ends, strict=True)
    )
    pairs = zip(items, shares, strict=True)
    return tuple(replace(item, quantity=share) for item, share in pairs if share > 0)


def _item(price: Price, quantity: float, *, inferred: bool) -> CostItem:
    firm = price.mark == "user" or not inferred
    return CostItem(
        what=price.item,
        quantity=quantity,
        unit=price.unit,
        unit_price=price.dollars,
        mark=price.mark if firm else weakest([price.mark, "inferred"]),
        source=price.source,
        date=price.date,
    )
