"""How far work is, shown as it goes on: a bar in a notebook or on a terminal, lines elsewhere."""

import contextlib
import html
import sys
from collections.abc import Callable, Iterator
from typing import Any

Progress = Callable[[int, int], None]
"""Takes how many are done, of how many."""

PROGRESS = '<div class="progress">'
"""How the output of a cell begins that says how far work was."""

_BAR_WIDTH = 24


@contextlib.contextmanager
def show_progress(what: str) -> Iterator[Progress]:
    """Tell how far work is, in the output of a cell or on stderr.

    >>> with show_progress("Counting") as report:
    ...     report(1, 2)
    """
    show = _page_bar(what) if _is_kernel() else _terminal_bar(what)
    last = 0, 0

    def report(done: int, total: int) -> None:
        nonlocal last
        last = done, total
        show(done, total, over=False)

    try:
        yield report
    finally:
        show(*last, over=True)


def _is_kernel() -> bool:
    ipython = sys.modules.get("IPython")
    return bool(ipython and getattr(ipython.get_ipython(), "kernel", None))


def _page_bar(what: str) -> Callable[..., None]:
    """Return what redraws one output of the cell."""
    from IPython.display import HTML, display

    words = html.escape(what)
    bar = '<progress value="{}" max="{}" aria-label="{}"></progress>'

    def draw(done: int, total: int, *, over: bool) -> Any:  # noqa: ANN401 - of IPython
        drawn = "" if over else bar.format(done, max(total, 1), words)
        shown = (
            f"{PROGRESS}{words}: {done:,} of {total:,} {drawn}</div>"
            if total
            else f"{PROGRESS}{words}</div>"
        )
        return HTML(shown)  # type: ignore[no-untyped-call]

    handle = display(draw(0, 0, over=False), display_id=True)  # type: ignore[no-untyped-call]
    return lambda done, total, *, over: handle.update(draw(done, total, over=over))


def _terminal_bar(what: str) -> Callable[..., None]:
    """Return what redraws a line of a terminal, or tells a file of its start and end alone."""
    if not sys.stderr.isatty():
        sys.stderr.write(f"{what} ...\n")

    def draw(done: int, total: int, *, over: bool) -> None:
        count = f"{done:,} of {total:,}"
        if sys.stderr.isatty():
            filled = "#" * (_BAR_WIDTH * done // max(1, total))
            line = f"\r{what}  [{filled:.<{_BAR_WIDTH}}] {count} " if total else ""
            sys.stderr.write(line + "\n" * over)
            sys.stderr.flush()
        elif over and total:
            sys.stderr.write(f"{what}: {count}\n")

    return draw
