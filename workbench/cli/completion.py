"""The command `completion`: a script that completes commands and options in a shell.

`shtab` writes a script once from the parser, so that no Python starts when Tab is pressed;
argcomplete, the other library that is kept, starts this command each time.
"""

import argparse
from collections.abc import Iterator

import shtab

from workbench.cli.arguments import Parser
from workbench.cli.commands import make_parser
from workbench.cli.output import Arguments, print_json

_PATHS = {"FILE": shtab.FILE, "FOLDER": shtab.DIRECTORY, "RUN": shtab.DIRECTORY}


def _completion(arguments: Arguments) -> int:
    parser = make_parser(None, Parser, "")
    for action in _list_actions(parser):
        for word, paths in _PATHS.items():
            if word in str(action.metavar or ""):
                action.complete = paths  # type: ignore[attr-defined]
    script = shtab.complete(parser, shell=arguments.shell)
    if arguments.json:
        print_json({"shell": arguments.shell, "script": script})
    else:
        print(script)
    return 0


def _list_actions(parser: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    """Yield the arguments of a parser and of its commands."""
    for action in parser._actions:  # noqa: SLF001 - argparse has no other way, shtab does so, too
        yield action
        if isinstance(action.choices, dict):
            for command in action.choices.values():
                yield from _list_actions(command)


def add_completion(parser: argparse.ArgumentParser) -> None:
    """Add the options of `workbench completion`."""
    parser.add_argument("shell", choices=shtab.SUPPORTED_SHELLS, help="that you use")
    parser.set_defaults(command=_completion)
