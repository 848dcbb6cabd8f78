"""What a command tells: tables for people, JSON for machines, progress and errors on stderr."""

import argparse
import json
import sys
from typing import Any

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
        print(text, flush=True)


def print_json(facts: dict[str, Any], **more: object) -> None:
    """Print facts, and more of them, as JSON."""
    print(json.dumps(facts | more, indent=2, default=str))
