"""How figures are written everywhere: latencies, shares, amounts, and tables in text or HTML."""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

NO_FORMULA = "mathjax_ignore tex2jax_ignore"
"""Classes of HTML in which Jupyter takes what is between two dollars for no formula."""

_RIGHT = ' style="text-align:right"'  # in the cell: notebooks and mail drop style sheets
_LISTED = 20  # values of a list that are shown; of more, how many they are

_UNITS = ((172_800, "days", 86_400), (7200, "h", 3600), (120, "min", 60), (1, "s", 1))
"""From so many seconds on a time is written in this unit, which is so many seconds long."""


def figure(value: float, digits: int = 3) -> str:
    """Return a number with so many significant digits, in full and without zeros at its end.

    >>> figure(0.00004), figure(1234.7), figure(12.0), figure(0.0999999), figure(math.nan)
    ('0.00004', '1,235', '12', '0.1', '-')
    """
    if math.isnan(value):
        return "-"
    if math.isinf(value):
        return "∞" if value > 0 else "-∞"
    decimals = digits - 1 - math.floor(math.log10(abs(value))) if value else 0
    shown = f"{value:,.{max(decimals, 0)}f}"
    return shown.rstrip("0").rstrip(".") if "." in shown else shown


def in_ms(seconds: float) -> str:
    """Return seconds as a number of milliseconds with three significant digits, without unit.

    >>> in_ms(0.81234), in_ms(1.23456), in_ms(0.0000123), in_ms(math.inf)
    ('812', '1,235', '0.0123', '∞')
    """
    return figure(1000 * seconds)


def duration(seconds: float, digits: int = 3) -> str:
    """Return a time in the unit that people tell it in, with so many significant digits.

    >>> [duration(each) for each in (0.0000123, 0.0123, 0.9999, 14.26, 889.109, 864000)]
    ['12.3 µs', '12.3 ms', '1 s', '14.3 s', '14.8 min', '10 days']
    >>> duration(0.0125), duration(0), duration(math.inf), duration(math.nan)
    ('12.5 ms', '0 ms', '∞', '-')
    """
    value, unit = _in_unit(seconds, digits)
    return f"{value} {unit}".rstrip()


def span(low: float, high: float) -> str:
    """Return two times as from one to the other, with the unit once where it is the same.

    >>> span(0.043, 0.0481), span(0.9, 1.25)
    ('43 to 48.1 ms', '900 ms to 1.25 s')
    """
    (first, unit), (_, other) = _in_unit(low, 3), _in_unit(high, 3)
    return f"{first if unit == other else duration(low)} to {duration(high)}"


def _in_unit(seconds: float, digits: int) -> tuple[str, str]:
    """Return a time as a number and its unit, "" where it is none."""
    if not math.isfinite(seconds):
        return figure(seconds), ""
    if seconds:  # first, so that 0.9999 s is not 1,000 ms
        seconds = round(seconds, digits - 1 - math.floor(math.log10(abs(seconds))))
    for least, unit, length in _UNITS:
        if abs(seconds) >= least:
            return figure(seconds / length, digits), unit
    if 0 < abs(seconds) < 1e-4:
        return figure(1e6 * seconds, digits), "µs"
    return figure(1e3 * seconds, digits), "ms"


def percent(share: float) -> str:
    """Return a share in percent, rounded down: what misses a target never reads as if it met it.

    >>> percent(0.12345), percent(0.9499), percent(0.99876), percent(0.999999), percent(1)
    ('12.3 %', '94.9 %', '99.87 %', '99.99 %', '100 %')
    >>> percent(-1 / 3), percent(math.inf)
    ('-33.3 %', '∞ %')
    """
    if not 0 < share < math.inf:
        return f"{figure(100 * share)} %"
    digits = 3 if share < 0.99 else 4
    places = digits - 1 - math.floor(math.log10(100 * share))
    return f"{figure(math.floor(100 * share * 10**places + 1e-6) / 10**places, digits)} %"


def percentile(share: float) -> str:
    """Return the percentile below which a share lies, as people say it.

    >>> percentile(0.95), percentile(0.999)
    ('p95', 'p99.9')
    """
    return f"p{100 * share:g}"


def percent_with_sign(share: float) -> str:
    """Return a difference as a share in percent, rounded, with its sign.

    >>> [percent_with_sign(share) for share in (-0.0512, 0.39, 0.0001, 20)]
    ['-5.1 %', '+39 %', '0 %', '+2,000 %']
    """
    rounded = round(100 * share, 1 if abs(share) < 0.0995 else 0)
    return f"{rounded:+,g} %" if rounded else "0 %"


def dollars(amount: float) -> str:
    """Return an amount of US dollars with three significant digits, but no fewer than cents.

    >>> dollars(1234.567), dollars(0.5), dollars(0.000123456), dollars(0.00004), dollars(-2)
    ('$1,234.57', '$0.50', '$0.000123', '$0.00004', '-$2.00')
    >>> import numpy as np
    >>> dollars(np.float64(-3))
    '-$3.00'
    """
    size = abs(amount)
    cents = f"{size:,.2f}" if 0.1 <= size < math.inf or not amount else figure(size)
    if re.fullmatch(r"0\.\d", cents):
        cents += "0"
    return f"{'-' if amount < 0 else ''}${cents}"  # NumPy's truth values multiply no text


def file_size(size: float) -> str:
    """Return a number of bytes as the size of a file.

    >>> file_size(2_345_678), file_size(4_200)
    ('2.3 MB', '4.2 kB')
    """
    per, unit = (1e6, "MB") if size >= 1e6 else (1e3, "kB")
    return f"{size / per:.1f} {unit}"


def format_fact(value: Any) -> str:  # noqa: ANN401 - any JSON value
    """Return a JSON value in words.

    >>> format_fact({"target": 0.7, "history": [1.5] * 60})
    'history 60 values, target 0.7'
    """
    if isinstance(value, Mapping):
        items = ((key, format_fact(item)) for key, item in sorted(value.items()) if key != "sha256")
        return ", ".join(f"{key} {item}" for key, item in items if item)
    if isinstance(value, list | tuple):
        many = len(value) > _LISTED
        return f"{len(value):,} values" if many else ", ".join(map(format_fact, value))
    return "" if value is None else str(value)


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
        heads = (f'<th scope="col">{escape(name)}</th>' for name in self.columns)
        head = "".join(heads).replace('<th scope="col"></th>', "<td></td>")  # heads nothing
        body = "".join(f"<tr>{_row_html(*row)}</tr>" for row in self.rows[:limit])
        return (
            f'<table><caption class="{NO_FORMULA}">{escape(caption)}</caption>'
            f"{f'<thead><tr>{head}</tr></thead>' * bool(head)}"
            f'<tbody class="{NO_FORMULA}">{body}</tbody></table>'
        )

    def __str__(self) -> str:
        return self.text()

    def __html__(self) -> str:
        return self.html()

    def _repr_html_(self) -> str:
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
            return figure(value, 4)
    return str(value)


def _row_html(first: object, *others: object) -> str:
    name = escape(format_cell(first))
    head = f'<th scope="row">{name}</th>' if name else "<td></td>"  # heads nothing
    return head + "".join(
        f"<td{_RIGHT * _is_figure(value)}>{escape(format_cell(value))}</td>" for value in others
    )


def _is_figure(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
