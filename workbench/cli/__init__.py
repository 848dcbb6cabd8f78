"""The command `workbench`: what the modules do, from a terminal."""

import argparse
import os
import sys
import warnings
from collections.abc import Sequence
from importlib.metadata import version
from typing import Any

from workbench.cli.app import add_app
from workbench.cli.arguments import Parser, help_settings
from workbench.cli.cloud import add_doctor, add_local_cloud, add_teardown
from workbench.cli.idleness import add_idle
from workbench.cli.models import add_registry
from workbench.cli.output import EXIT_INTERRUPTED, announce
from workbench.cli.plan import add_plan
from workbench.cli.prices import add_prices
from workbench.cli.report import add_report
from workbench.cli.run import add_demo, add_profile, add_run, add_simulate
from workbench.cli.runs import add_runs
from workbench.cli.selection import add_select
from workbench.cli.serve import add_serve
from workbench.cli.transform import add_transform
from workbench.errors import WorkbenchError

_EXIT_ERROR, _EXIT_BROKEN_PIPE = 2, 141


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status.

    0 is success, 1 a registry that `verify` finds damaged, a model that `doctor` finds unfit, a
    selection that nothing passes or a plan whose target nothing meets, 2 an error (one line on
    stderr), 130 an interruption and 141 a reader that went away.
    """
    words = sys.argv[1:] if argv is None else list(argv)
    try:
        arguments = _parser().parse_args(words)
        with warnings.catch_warnings():
            warnings.showwarning = _announce_warning
            status: int = arguments.command(arguments)
        sys.stdout.flush()
    except BrokenPipeError:  # the reader, `head` say, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _EXIT_BROKEN_PIPE
    except KeyboardInterrupt:
        return announce("workbench: interrupted.", EXIT_INTERRUPTED)
    except WorkbenchError as error:
        if "--traceback" in words or os.environ.get("WORKBENCH_TRACEBACK"):
            raise
        return announce(f"workbench: {' '.join(str(error).split())}", _EXIT_ERROR)
    return status


def _announce_warning(message: Warning | str, *_: Any, **__: Any) -> None:  # noqa: ANN401
    announce(f"workbench: {message}")


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="workbench",
        description="Run a model under real load, here or on a cloud; see latency and cost.",
        **help_settings(""),
    )
    version_text = f"workbench {version('inference-workbench')}"
    parser.add_argument("--version", action="version", version=version_text)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    add_demo(commands)
    add_run(commands)
    add_simulate(commands)
    add_plan(commands)
    add_idle(commands)
    add_profile(commands)
    add_transform(commands)
    add_serve(commands)
    add_registry(commands)
    add_select(commands)
    add_report(commands)
    add_runs(commands)
    add_app(commands)
    add_local_cloud(commands)
    add_teardown(commands)
    add_doctor(commands)
    add_prices(commands)
    return parser
