"""The command `workbench`: what the modules do, from a terminal."""

import argparse
import io
import os
import sys
import warnings
from collections.abc import Sequence
from functools import partial
from importlib.metadata import version
from typing import Any

from workbench.cli.arguments import Parser
from workbench.cli.commands import COMMANDS, make_parser
from workbench.cli.option_names import name_options
from workbench.cli.output import EXIT_INTERRUPTED, announce
from workbench.errors import WorkbenchError

_EXIT_ERROR, _EXIT_BROKEN_PIPE = 2, 141  # as argparse; as a shell says of SIGPIPE: 128 + 13


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status: see `workbench.cli.commands.STATUSES`."""
    words = sys.argv[1:] if argv is None else list(argv)
    _replace_unprintable()
    arguments = argparse.Namespace()
    try:
        _parser(words).parse_args(words, arguments)
        with warnings.catch_warnings():
            warnings.showwarning = partial(_announce_warning, arguments)
            status: int = arguments.command(arguments)
        sys.stdout.flush()
    except BrokenPipeError:  # the reader, `head` say, has seen enough
        _drop_output()
        return _EXIT_BROKEN_PIPE
    except KeyboardInterrupt:
        return announce("workbench: interrupted.", EXIT_INTERRUPTED)
    except WorkbenchError as error:
        if _is_traceback_wanted(words):
            raise
        line = name_options(" ".join(str(error).split()), arguments)
        return announce(f"workbench: {line}", _EXIT_ERROR)
    except OSError as error:  # a full disk, or a folder of ours that may not be written
        if _is_traceback_wanted(words):
            raise
        if not error.filename:  # it is the output that cannot be written
            _drop_output()
        what = error.filename or "The output"
        return announce(f"workbench: {what}: {error.strerror}.", _EXIT_ERROR)
    return status


def _replace_unprintable() -> None:
    """Print a question mark where a terminal has no ≤, rather than fail."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


def _is_traceback_wanted(words: Sequence[str]) -> bool:
    return "--traceback" in words or bool(os.environ.get("WORKBENCH_TRACEBACK"))


def _drop_output() -> None:
    """Send what is still to be written nowhere, or Python complains of it when it ends."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _announce_warning(
    arguments: argparse.Namespace,
    message: Warning | str,
    *_: Any,  # noqa: ANN401
    **__: Any,  # noqa: ANN401
) -> None:
    announce(f"workbench: {name_options(str(message), arguments)}")


def _parser(words: Sequence[str]) -> argparse.ArgumentParser:
    """Return the parser for a command line: of the others than its command, names will do."""
    named = next((word for word in words if word in COMMANDS), "")
    return make_parser(named, Parser, f"workbench {version('inference-workbench')}")
