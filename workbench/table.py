"""Small tables in HTML that need no script, style or internet."""

import html
import math
from collections.abc import Sequence


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
