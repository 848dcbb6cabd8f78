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

_BAR_WIDTH = 24  # characters: a line of 80 has room for words and counts beside it


class ProgressBar:
    """How far work is, in the output of a cell or on stderr; called with that, it shows it.

    Args:
        what: The work in a few words.
    """

    def __init__(self, what: str) -> None:
        self._draw = _page_bar(what) if _is_kernel() else _terminal_bar(what)
        self._whole = self._doing = what
        self._last = 0, 0

    def __call__(self, done: int, total: int) -> None:
        """Show how many are done, of how many."""
        self._last = done, total
        self._draw(self._doing, done, total, over=False)

    def begin(self, doing: str) -> None:
        """Show from now on that the work is at this part of it."""
        self._doing = doing

    def end(self) -> None:
        """Show what the work as a whole came to."""
        self._draw(self._whole, *self._last, over=True)


@contextlib.contextmanager
def show_progress(what: str) -> Iterator[ProgressBar]:
    """Tell how far work is, in the output of a cell or on stderr.

    >>> with show_progress("Counting") as report:
    ...     report(1, 2)
    """
    bar = ProgressBar(what)
    try:
        yield bar
    finally:
        bar.end()


def _is_kernel() -> bool:
    ipython = sys.modules.get("IPython")
    return bool(ipython and getattr(ipython.get_ipython(), "kernel", None))


def _page_bar(what: str) -> Callable[..., None]:
    """Return what redraws one output of the cell."""
    from IPython.display import HTML, display

    bar = '<progress value="{}" max="{}" aria-label="{}"></progress>'

    def draw(doing: str, done: int, total: int, *, over: bool) -> Any:  # noqa: ANN401 - of IPython
        words = html.escape(doing)
        drawn = "" if over else bar.format(done, max(total, 1), words)
        count = f": {done:,} of {total:,} {drawn}" if total else ""
        return HTML(f"{PROGRESS}{words}{count}</div>")  # type: ignore[no-untyped-call]

    handle = display(draw(what, 0, 0, over=False), display_id=True)  # type: ignore[no-untyped-call]
    return lambda *now, over: handle.update(draw(*now, over=over))


def _terminal_bar(what: str) -> Callable[..., None]:
    """Return what redraws a line of a terminal, or tells a file of its start and end alone."""
    if not sys.stderr.isatty():
        sys.stderr.write(f"{what} ...\n")
    width = 0  # of the line before, which the next one covers

    def draw(doing: str, done: int, total: int, *, over: bool) -> None:
        nonlocal width
        count = f"{done:,} of {total:,}"
        if sys.stderr.isatty():
            filled = "#" * (_BAR_WIDTH * done // max(1, total))
            line = f"{doing}  [{filled:.<{_BAR_WIDTH}}] {count} "
            sys.stderr.write(f"\r{line:{width}}" * bool(total) + "\n" * over)
            sys.stderr.flush()
            width = len(line)
        elif over and total:
            sys.stderr.write(f"{doing}: {count}\n")

    return draw
