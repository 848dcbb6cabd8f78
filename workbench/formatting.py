"""How figures are written everywhere: latencies, shares, amounts, and tables in text or HTML."""

import html
import math
from collections.abc import Callable, Sequence


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


def dollars(amount: float) -> str:
    """Return an amount of US dollars with three significant digits, but no fewer than cents.

    >>> dollars(1234.567), dollars(0.5), dollars(0.000123456)
    ('$1,234.57', '$0.50', '$0.000123')
    """
    if amount == 0 or abs(amount) >= 0.1:
        return f"${amount:,.2f}"
    return f"${amount:.{2 - math.floor(math.log10(abs(amount)))}f}"


def text_table(
    lines: Sequence[Sequence[str]], *, align: Callable[[str, int], str] = str.ljust
) -> str:
    """Return lines of cells one under the other; `align` places all columns but the first.

    >>> print(text_table([["name", "size"], ["a", "10 kB"], ["long", "2 kB"]], align=str.rjust))
    name   size
    a     10 kB
    long   2 kB
    """
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    placed = [str.ljust, *[align] * (len(widths) - 1)]
    return "\n".join(
        "  ".join(
            put(cell, width) for put, cell, width in zip(placed, line, widths, strict=True)
        ).rstrip()
        for line in lines
    )


def html_table(
    caption: str, columns: Sequence[str], rows: Sequence[Sequence[object]], *, limit: int = 50
) -> str:
    """Return an HTML table: a caption, column names with their units, and up to `limit` rows.

    The first value of a row is its header. Text is escaped, figures are shown with four
    significant digits and to the right, None and NaN as a dash.

    >>> table = html_table("Sizes", ["name", "size (bytes)"], [["a & b", 2048]])
    >>> '<th scope="row">a &amp; b</th>' in table, "2,048</td>" in table
    (True, True)
    """
    if len(rows) > limit:
        caption += f" (the first {limit} of {len(rows):,} rows)"
    head = "".join(f'<th scope="col">{html.escape(name)}</th>' for name in columns)
    body = "".join(f"<tr>{_row(row)}</tr>" for row in rows[:limit])
    return (
        f"<table><caption>{html.escape(caption)}</caption>"
        f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
    )


def _row(values: Sequence[object]) -> str:
    first, *others = values
    return f'<th scope="row">{_text(first)}</th>' + "".join(map(_cell, others))


def _cell(value: object) -> str:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return f'<td style="text-align:right">{_text(value)}</td>'
    return f"<td>{_text(value)}</td>"


def _text(value: object) -> str:
    match value:
        case None:
            return "-"
        case bool():
            return "yes" if value else "no"
        case int():
            return f"{value:,}"
        case float():
            return _figure(value)
    return html.escape(str(value))


def _figure(value: float) -> str:
    if math.isnan(value):
        return "-"
    if math.isinf(value):
        return "∞" if value > 0 else "-∞"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"
