"""Consent to what costs money: the amount is shown, and a person at a terminal is asked."""

import sys
from collections.abc import Callable

from workbench.errors import NotAvailable


def agree_to(text: str, *, yes: bool, notify: Callable[[str], object] | None) -> None:
    """Tell what something costs; raise `NotAvailable` unless that is agreed to."""
    if notify is None:
        sys.stderr.write(f"{text}\n")
    else:
        notify(text)
    if yes:
        return
    if not sys.stdin.isatty():
        raise NotAvailable(
            "Nobody is there to confirm what it may cost: pass yes=True if that is fine."
        )
    if input("Go on? [y/N] ").strip().lower() not in ("y", "yes"):
        raise NotAvailable("It was not confirmed: nothing was made, and nothing is billed.")
