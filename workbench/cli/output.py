"""What a command tells: tables for people, JSON for machines, progress and errors on stderr."""

import argparse
import json
import math
import sys
from typing import Any

from workbench.cli.option_names import name_options

Arguments = argparse.Namespace

EXIT_INTERRUPTED = 130
"""The exit status of a command that Ctrl-C ended."""


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
        print(name_options(text, arguments), flush=True)


def show(arguments: Arguments, text: str, facts: dict[str, Any], **more: object) -> int:
    """Print the text for people, or the facts where a machine reads; return the exit status 0."""
    if arguments.json:
        print_json(facts, **more)
    print_text(arguments, text)
    return 0


def pick_given(arguments: Arguments, *names: str) -> dict[str, Any]:
    """Return those of some arguments that were given."""
    values = {name: getattr(arguments, name) for name in names}
    return {name: value for name, value in values.items() if value is not None}


def print_json(facts: dict[str, Any], **more: object) -> None:
    """Print facts, and more of them, as JSON, in which what is not finite is null."""
    print(json.dumps(_finite(facts | more), indent=2, default=str, allow_nan=False))


def _finite(value: Any) -> Any:  # noqa: ANN401 - what JSON may hold
    match value:
        case float() if not math.isfinite(value):
            return None
        case dict():
            return {name: _finite(each) for name, each in value.items()}
        case list() | tuple():
            return [_finite(each) for each in value]
    return value
