"""How arguments are written, and how commands are made of them."""

import argparse
import contextlib
import json
import re
from collections.abc import Callable, Collection
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

from workbench.batching.timer import BatchPolicy
from workbench.cli.output import Arguments
from workbench.errors import InvalidInput, NotFound
from workbench.files import home
from workbench.validation import parse_seconds, suggest

if TYPE_CHECKING:
    from workbench.registry.api import Registry
    from workbench.registry.model import Model

T = TypeVar("T")

_PLAIN = {
    "^argument ": "",
    "the following arguments are required: (.*)": r"Missing: \1",
    "expected one argument": "a value is missing",
    "expected at least one argument": "at least one value is missing",
    "ignored explicit argument (.*)": r"it takes no value; got \1",
}
"""What argparse says, and how it is said here."""


class Parser(argparse.ArgumentParser):
    """Raises what it refuses, so that every error is shown in the same way, and in plain words."""

    def __init__(self, *args: Any, **how: Any) -> None:  # noqa: ANN401 - argparse's
        super().__init__(*args, **how)
        self.register("type", float, argument_type(parse_number))
        self.register("type", int, argument_type(parse_integer))

    def error(self, message: str) -> NoReturn:
        """Raise what is wrong with the arguments."""
        for theirs, ours in _PLAIN.items():
            message = re.sub(theirs, ours, message)
        end = "" if message.endswith(("?", ".")) else "."
        raise InvalidInput(f"{message}{end} See {self.prog} --help.")

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:  # noqa: ANN401 - argparse's
        """Refuse what is left over here, where it is known whose help says more."""
        found, rest = super().parse_known_args(args, namespace)
        options = [word.partition("=")[0] for word in rest if word.startswith("-")]
        if options:
            known = [name for action in self._actions for name in action.option_strings]
            self.error(f"There is no option {options[0]}.{suggest(options[0], known)}")
        if rest:
            self.error(f"This is more than the command takes: {' '.join(rest)}")
        return found, rest

    def _check_value(self, action: argparse.Action, value: Any) -> None:  # noqa: ANN401 - any type's
        if action.choices is not None and value not in action.choices:
            known = list(map(str, action.choices))
            name = "/".join(action.option_strings)
            there = f"{name}: there" if name else "There"
            what = "" if name else f" {action.metavar or action.dest}".lower()
            near = suggest(value, known)
            self.error(f"{there} is no{what} {value!r}.{near} Known: {', '.join(known)}")


def argument_type(parse: Callable[[str], T]) -> Callable[[str], T]:
    """Return a parser of one argument whose errors keep their words."""

    def parse_or_refuse(text: str) -> T:
        try:
            return parse(text)
        except InvalidInput as error:
            raise argparse.ArgumentTypeError(str(error).rstrip(".")) from error

    return parse_or_refuse


def parse_whole_seconds(text: str) -> int:
    """Return a time in whole seconds."""
    seconds = parse_seconds(text)
    if not seconds.is_integer():
        raise InvalidInput(f"{text!r} is not a whole number of seconds")
    return int(seconds)


def parse_policy(text: str) -> BatchPolicy:
    """Return a policy written as SIZE/WAIT; a size alone waits for no others.

    >>> parse_policy("8/25ms").label, parse_policy("1").label
    ('up to 8, 25 ms', 'no batching')
    """
    size, _, wait = text.partition("/")
    if not size.strip("+-").isdecimal():
        raise InvalidInput(f"{text!r} is not a valid policy; examples: 1, 16, 16/20ms")
    try:
        return BatchPolicy(max_size=parse_integer(size), max_wait=parse_seconds(wait or "0"))
    except InvalidInput as error:
        raise InvalidInput(
            str(error).replace("max_size", "SIZE").replace("max_wait", "WAIT")
        ) from error


def parse_number(text: str) -> float:
    """Return a number.

    >>> parse_number("50/s")
    Traceback (most recent call last):
    workbench.errors.InvalidInput: '50/s' is not a number: write one such as 50
    """
    try:
        return float(text)
    except ValueError:
        raise InvalidInput(f"{text!r} is not a number: {_show_number(text)}") from None


def parse_integer(text: str) -> int:
    """Return a whole number."""
    try:
        return int(text)
    except ValueError:
        raise InvalidInput(f"{text!r} is not a whole number: {_show_number(text, '')}") from None


def _show_number(text: str, point: str = ".") -> str:
    """Return what to write in place of a text that is no number: what it begins with."""
    begun = re.match(rf"[+-]?\d+(?:{re.escape(point)}\d+)?", text.replace(",", ""))
    return f"write one such as {begun[0] if begun else 10}"


def list_type(parse: Callable[[str], T], between: str = ",") -> Callable[[str], tuple[T, ...]]:
    """Return a parser of one argument that holds several values, with this mark between them."""
    return argument_type(lambda text: tuple(map(parse, text.split(between))))


def parse_value(text: str) -> Any:  # noqa: ANN401 - of any of these types
    """Return a number, true or false where a text is written as one, else the text.

    >>> parse_value("17"), parse_value("true"), parse_value("MIT"), parse_value("[1]")
    (17, True, 'MIT', '[1]')
    """
    with contextlib.suppress(ValueError):
        plain = json.loads(text)
        return plain if isinstance(plain, int | float) else text
    return text


def add_price(parser: argparse.ArgumentParser, *, default: float) -> None:
    """Add the option for this machine's price."""
    parser.add_argument(
        "--hourly-price",
        type=float,
        default=default,
        help="what this machine costs in US dollars an hour, by your account (%(default)s)",
    )


def add_registry_path(parser: argparse.ArgumentParser) -> None:
    """Add the option for the registry's folder."""
    parser.add_argument(
        "--registry", metavar="FOLDER", help="a registry of your own (the user's, which is filled)"
    )


def registry_of(
    arguments: Arguments, *, fill: bool = True, models: Collection[str] = (), task: object = None
) -> "Registry":
    """Return the registry that the arguments name; the user's is filled first, by default.

    Raises:
        NotFound: It will not have one of these models, or one for the task, which is said before
            any is trained.
    """
    from workbench.registry.api import Registry

    if arguments.registry is not None:
        return Registry(arguments.registry)
    lacking = Registry(home() / "registry")
    if not fill:
        return lacking
    for name in models:
        expect_model(lacking, name)
    if isinstance(task, str):
        expect_task(lacking, task)
    return Registry()


def expect_model(lacking: "Registry", name: str) -> None:
    """Refuse a model that a registry does not have, and will not have when it is filled."""
    from workbench.registry.zoo import NAMES

    group, _, number = name.partition(":")
    if group in lacking.groups(removed=True):
        return
    if group not in NAMES:
        known = sorted({*lacking, *NAMES})
        raise NotFound(
            f"No group {group!r}.{suggest(group, known)} Known: {', '.join(known)}. "
            f"The registry is {lacking.path}."
        )
    if number not in ("", "1"):
        raise NotFound(f"No version {number} of {group!r}. Known: 1.")


def expect_task(lacking: "Registry", task: str) -> None:
    """Refuse a task that no model of a registry is for, nor will be when it is filled."""
    from workbench.registry.zoo import TASKS

    known = sorted({*TASKS, *lacking.table()["task"]} - {"", None})
    if task not in known:
        raise NotFound(
            f"No model is for the task {task!r}.{suggest(task, known)} Known: {', '.join(known)}. "
            f"The registry is {lacking.path}."
        )


def model_of(arguments: Arguments) -> "Model":
    """Return the model that the arguments name."""
    return registry_of(arguments, models=[arguments.model])[arguments.model]


def version_of(name: str) -> tuple[str, int]:
    """Group and version of a name that has to tell both."""
    group, _, number = name.partition(":")
    if not number.isdecimal():
        raise InvalidInput(f"Name a version, as in {group}:1; got {name!r}.")
    return group, int(number)
