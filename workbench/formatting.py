"""How figures are written everywhere: latencies, shares, amounts, and tables in text or HTML."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

_RIGHT = ' style="text-align:right"'  # in the cell: notebooks and mail drop style sheets


def in_ms(seconds: float) -> str:
    """Return seconds as a number of milliseconds with three significant digits, without unit.

    >>> in_ms(0.81234), in_ms(1.23456), in_ms(0.0000123), in_ms(math.inf)
    ('812', '1,235', '0.0123', '∞')
    """
    if math.isinf(seconds):
        return "∞"
    return f"{1000 * seconds:,.0f}" if seconds >= 1 else f"{1000 * seconds:.3g}"


def milliseconds(seconds: float) -> str:
    """Return seconds as milliseconds with their unit.

    >>> milliseconds(0.81234), milliseconds(math.inf)
    ('812 ms', '∞ ms')
    """
    return f"{in_ms(seconds)} ms"


def duration(seconds: float) -> str:
    """Return seconds with four significant digits, below ten as milliseconds.

    >>> duration(0.01234), duration(180.0)
    ('12.34 ms', '180 s')
    """
    return f"{seconds:.4g} s" if seconds >= 10 else f"{1000 * seconds:.4g} ms"


def percent(share: float) -> str:
    """Return a share in percent, rounded down: what misses a target never reads as if it met it.

    >>> percent(0.12345), percent(0.9499), percent(0.99876), percent(0.999999), percent(1)
    ('12.3 %', '94.9 %', '99.87 %', '99.99 %', '100 %')
    """
    if not 0 < share < math.inf:
        return f"{100 * share:g} %"
    digits = 3 if share < 0.99 else 4
    places = digits - 1 - math.floor(math.log10(100 * share))
    return f"{math.floor(100 * share * 10**places + 1e-6) / 10**places:.{digits}g} %"


def percent_with_sign(share: float) -> str:
    """Return a difference as a share in percent, rounded, with its sign.

    >>> [percent_with_sign(share) for share in (-0.0512, 0.39, 0.0001, 20)]
    ['-5.1 %', '+39 %', '0 %', '+2,000 %']
    """
    rounded = round(100 * share, 1 if abs(share) < 0.0995 else 0)
    return f"{rounded:+,g} %" if rounded else "0 %"


def dollars(amount: float) -> str:
    """Return an amount of US dollars with three significant digits, but no fewer than cents.

    >>> dollars(1234.567), dollars(0.5), dollars(0.000123456)
    ('$1,234.57', '$0.50', '$0.000123')
    """
    if amount == 0 or abs(amount) >= 0.1:
        return f"${amount:,.2f}"
    return f"${amount:.{2 - math.floor(math.log10(abs(amount)))}f}"


@dataclass(frozen=True, eq=False)
class Table:
    """Named columns and rows of values, written as text or as HTML from the same cells.

    Figures have four significant digits and stand to the right; None and NaN are a dash. Without
    `columns` there is no headline. Templates of Jinja2 take it as HTML.
    """

    columns: Sequence[str]
    rows: Sequence[Sequence[object]]
    caption: str = ""

    def text(self, *, right: bool = False) -> str:
        """Return the rows one under the other; `right` aligns all columns but the first there.

        >>> print(Table(["name", "bytes"], [["a", 10240], ["long", None]]).text())
        name   bytes
        a     10,240
        long       -
        """
        cells = [[format_cell(value) for value in row] for row in self.rows]
        lines = [list(self.columns), *cells] if self.columns else cells
        columns = list(zip(*lines, strict=True))
        widths = [max(map(len, column)) for column in columns]
        values = list(zip(*self.rows, strict=True)) or [()] * len(columns)
        align = [
            str.rjust if number and (right or any(map(_is_figure, column))) else str.ljust
            for number, column in enumerate(values)
        ]
        return "\n".join(
            "  ".join(
                put(cell, width) for put, cell, width in zip(align, line, widths, strict=True)
            ).rstrip()
            for line in lines
        )

    def html(self, *, limit: int | None = 50) -> str:
        """Return caption, headline and up to `limit` rows; a row's first value is its header.

        >>> page = Table(["name", "size (bytes)"], [["a & b", 2048]], "Sizes").html()
        >>> '<th scope="row">a &amp; b</th>' in page, "2,048</td>" in page
        (True, True)
        """
        caption = self.caption
        if limit is not None and len(self.rows) > limit:
            caption += f" (the first {limit} of {len(self.rows):,} rows)"
        head = "".join(f'<th scope="col">{escape(name)}</th>' for name in self.columns)
        body = "".join(f"<tr>{_row_html(*row)}</tr>" for row in self.rows[:limit])
        return (
            f"<table><caption>{escape(caption)}</caption>"
            f"{f'<thead><tr>{head}</tr></thead>' * bool(head)}<tbody>{body}</tbody></table>"
        )

    def __str__(self) -> str:
        return self.text()

    def __html__(self) -> str:
        return self.html()


def format_cell(value: object) -> str:
    """Return a value as the cell of a table shows it.

    >>> [format_cell(value) for value in (None, True, 12345, 0.123456, math.nan, -math.inf, "a")]
    ['-', 'yes', '12,345', '0.1235', '-', '-∞', 'a']
    """
    match value:
        case None:
            return "-"
        case bool():
            return "yes" if value else "no"
        case int():
            return f"{value:,}"
        case float():
            return _format_float(value)
    return str(value)


def _format_float(value: float) -> str:
    if math.isnan(value):
        return "-"
    if math.isinf(value):
        return "∞" if value > 0 else "-∞"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def _row_html(first: object, *others: object) -> str:
    return f'<th scope="row">{escape(format_cell(first))}</th>' + "".join(
        f"<td{_RIGHT * _is_figure(value)}>{escape(format_cell(value))}</td>" for value in others
    )


def _is_figure(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
