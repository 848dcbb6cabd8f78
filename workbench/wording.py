"""How figures are written everywhere: latencies, shares, amounts, and tables of text."""

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
    """Return a share in percent; one that is not whole never reads as 100 %.

    >>> percent(0.12345), percent(0.99876), percent(0.999999), percent(1)
    ('12.3 %', '99.88 %', 'under 100 %', '100 %')
    """
    rounded = f"{100 * share:.{3 if share < 0.99 else 4}g}"
    return f"{'under 100' if rounded == '100' and share < 1 else rounded} %"


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
