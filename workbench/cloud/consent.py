"""Consent to what costs money: the amount is shown, and a person at a terminal is asked."""

import sys
from collections.abc import Callable

from workbench.errors import NotAvailable


def agree_to(text: str, *, yes: bool, notify: Callable[[str], object] | None) -> None:
    """Tell what something costs; raise `NotAvailable` unless that is agreed to."""
    (notify or _print_line)(text)
    if yes:
        return
    if not sys.stdin.isatty():
        raise NotAvailable(
            "Nobody is there to confirm what it may cost: pass yes=True if that is fine."
        )
    if input("Go on? [y/N] ").strip().lower() not in ("y", "yes"):
        raise NotAvailable("It was not confirmed: nothing was made, and nothing is billed.")


def _print_line(line: str) -> None:
    sys.stderr.write(f"{line}\n")
