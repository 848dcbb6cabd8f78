"""What a command tells: tables for people, JSON for machines, progress and errors on stderr."""

import argparse
import json
import math
import re
import sys
from typing import Any

from workbench.cli.commands import COMMANDS

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


def option_of(name: str) -> str:
    """Return the option for a setting of Python's.

    >>> option_of("memory_mb")
    '--memory-mb'
    """
    return f"--{name.replace('_', '-')}"


_CALL = re.compile(r"\b[A-Z]\w*\((\w+=[^()]*)\)")  # Options(boot=..., scaled=True)
_PAIR = re.compile(r"\b(\w+)=(\S*)")
_SET = re.compile(r"\b(\w+)=(?:\.\.\.|(?=[\s.,;:]|$))")  # not bursty(rate=50), a trace's name
_PROFILE_AGAIN = ("wb.profile(model, fresh=True)", "workbench profile MODEL --again")
_COMMAND = re.compile(rf"\b({'|'.join(COMMANDS)})\(\)")
_NAME = re.compile(r"(?<![-\w./])[a-z]\w*\b(?![(/])")
_OTHERWISE = {"latency": "slo", "kinds": "on"}


def name_options(text: str, arguments: Arguments) -> str:
    """Return a message of Python's with the options of this command in the place of its names.

    >>> asked = Arguments(hourly_price=0.0, rate=None, cold_start=None, column=None)
    >>> name_options("rate must be positive, got -1.0", asked)
    '--rate must be positive, got -1.0'
    >>> name_options("give Options(cold_start=...), or Local(hourly_price=0.1)", asked)
    'give --cold-start, or --hourly-price 0.1'
    >>> name_options("No formula is known: use simulate().", asked)
    'No formula is known: use workbench simulate.'
    >>> name_options("pass column= with the one of the times", asked)
    'pass --column with the one of the times'
    """
    known = {name: name for name in vars(arguments)} | _OTHERWISE

    def option(name: str, value: str = "") -> str:
        shown = value.strip(",") if value.strip(",") not in ("...", "True") else ""
        return f"{option_of(known[name])} {shown}".strip()

    def rewrite_call(match: re.Match[str]) -> str:
        pairs = _PAIR.findall(match[1])
        whole = all(name in known for name, _ in pairs)
        return " ".join(option(*pair) for pair in pairs) if whole else match[0]

    def rewrite_set(match: re.Match[str]) -> str:
        return option(match[1]) if match[1] in known else match[0]

    def rewrite_name(match: re.Match[str]) -> str:
        word, first = match[0], match.start() == 0
        return option(word) if word in known and (first or "_" in word) else word

    text = text.replace(*_PROFILE_AGAIN)
    text = _COMMAND.sub(r"workbench \1", _SET.sub(rewrite_set, _CALL.sub(rewrite_call, text)))
    return _NAME.sub(rewrite_name, text)
