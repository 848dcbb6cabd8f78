"""What a command tells: tables for people, JSON for machines, progress and errors on stderr."""

import argparse
import contextlib
import json
import sys
from collections.abc import Callable, Iterator
from typing import Any

Arguments = argparse.Namespace
Progress = Callable[[int, int], None]

EXIT_INTERRUPTED = 130
"""The exit status of a command that Ctrl-C ended."""

_BAR_WIDTH = 24


def announce(line: str, status: int = 0) -> int:
    """Print a line on stderr and return the exit status."""
    print(line, file=sys.stderr, flush=True)
    return status


def report_interruption(kept: str) -> int:
    """Say that Ctrl-C came, and what is kept; return the exit status."""
    return announce(f"workbench: interrupted; {kept}.", EXIT_INTERRUPTED)


def print_text(arguments: Arguments, text: str) -> None:
    """Print for people; stay silent where a machine reads."""
    if not arguments.json:
        print(text, flush=True)


def print_json(facts: dict[str, Any], **more: object) -> None:
    """Print facts, and more of them, as JSON."""
    print(json.dumps(facts | more, indent=2, default=str))


@contextlib.contextmanager
def show_progress(what: str) -> Iterator[Progress]:
    """Tell on stderr how far work is: a bar on a terminal, else a line at its start and end."""
    bar = sys.stderr.isatty()
    last = ""
    if not bar:
        announce(f"{what} ...")

    def show(done: int, total: int) -> None:
        nonlocal last
        last = f"{done:,} of {total:,}"
        if bar:
            filled = "#" * (_BAR_WIDTH * done // max(1, total))
            sys.stderr.write(f"\r{what}  [{filled:.<{_BAR_WIDTH}}] {last} ")
            sys.stderr.flush()

    try:
        yield show
    finally:
        if bar:
            sys.stderr.write("\n")
        elif last:
            announce(f"{what}: {last}")
