"""How a container is set: by its command line, else by the environment that SageMaker gives it."""

import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

MB = 1024**2
"""Bytes: `workbench.units` is not in an image."""

IF_ANSWERS_STAY = "if-answers-stay"
"""Stack the requests of a model whose answers do not depend on the batch, as its archive says."""

EVEN_IF_ANSWERS_CHANGE = "even-if-answers-change"
"""Stack the requests of any model: then one client's rows may change another's answers."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ServerOptions:
    """The settings of `serve`.

    Attributes:
        host, port: where to listen; port 0 is any free one.
        model: the folder that `model.tar.gz` was unpacked to.
        threads: threads of ONNX Runtime for one run.
        workers: runs at a time.
        max_batch: the most rows of several requests that are stacked into one run; 1 is none.
        stack: whose requests those are: by default only those of a model that is known to answer
            rows together as alone.
        max_payload_mb: the largest body.
        announce: descriptor that the port is written to, once it is open.
        parent_death_pipe: descriptor of a pipe; the process ends when its other end is closed.
    """

    host: str = "127.0.0.1"
    port: int = 8080
    model: Path = Path("/opt/ml/model")
    threads: int = 1
    workers: int = 1
    max_batch: int = 1
    stack: str = IF_ANSWERS_STAY
    max_payload_mb: int = 100
    announce: int | None = None
    parent_death_pipe: int | None = None


def parse(arguments: Sequence[str], environment: Mapping[str, str]) -> ServerOptions:
    """Return the options of a command line, which goes before the environment.

    SageMaker and its toolkits set SAGEMAKER_BIND_TO_PORT, SAGEMAKER_MODEL_SERVER_WORKERS and, in a
    transform job, SAGEMAKER_MAX_PAYLOAD_IN_MB. WORKBENCH_HOST, WORKBENCH_THREADS,
    WORKBENCH_MAX_BATCH, WORKBENCH_STACK and WORKBENCH_MAX_PAYLOAD_MB are for a model's own
    environment. Not with argparse, which takes 7 ms of every cold start.

    Raises:
        SystemExit: They are wrong (2, with the reason on standard error), or help was asked for.

    >>> parse(["serve", "--port", "0"], {"WORKBENCH_THREADS": "2"}).threads
    2
    """
    values = {}
    given = _split(arguments)
    for name, (read, variables) in _OPTIONS.items():
        set_by = next((each for each in variables if environment.get(each)), None)
        text = given.get(name, environment[set_by] if set_by else None)
        if text is not None:
            try:
                values[name] = read(text)
            except ValueError as error:
                _refuse(f"argument {_flag(name)}: {error}, got {text!r}")
    return ServerOptions(**values)


def _split(arguments: Sequence[str]) -> dict[str, str]:
    """Return the text of each option: `serve --port 80 --host=::` has those of port and host."""
    if {"-h", "--help"} & set(arguments):
        print(_USAGE)  # noqa: T201
        sys.exit(0)
    if arguments[:1] != ["serve"]:
        _refuse(f"the command must be 'serve', got {' '.join(arguments[:1]) or 'none'}")
    given, words = {}, iter(arguments[1:])
    for word in words:
        flag, equals, text = word.partition("=")
        name = flag.removeprefix("--").replace("-", "_")
        if flag != _flag(name) or name not in _OPTIONS:
            _refuse(f"unrecognized argument: {word}")
        value = text if equals else next(words, None)
        if value is None:
            _refuse(f"argument {flag}: expected one value")
        given[name] = value
    return given


def _refuse(reason: str) -> NoReturn:
    print(f"{_USAGE}\nworkbench.modelserver: error: {reason}", file=sys.stderr)  # noqa: T201
    sys.exit(2)


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")


def _stack(text: str) -> str:
    if text not in (IF_ANSWERS_STAY, EVEN_IF_ANSWERS_CHANGE):
        raise ValueError(f"must be {IF_ANSWERS_STAY} or {EVEN_IF_ANSWERS_CHANGE}")
    return text


def _whole(text: str, low: int = 0) -> int:
    with suppress(ValueError):
        if (value := int(text)) >= low:
            return value
    raise ValueError(f"must be a whole number of at least {low}")


def _count(text: str) -> int:
    return _whole(text, 1)


_OPTIONS: dict[str, tuple[Callable[[str], Any], tuple[str, ...]]] = {
    # how an option is read, and the variables that set it, of which the first goes before
    "host": (str, ("WORKBENCH_HOST",)),
    "port": (_whole, ("SAGEMAKER_BIND_TO_PORT",)),
    "model": (Path, ()),
    "threads": (_count, ("WORKBENCH_THREADS",)),
    "workers": (_count, ("SAGEMAKER_MODEL_SERVER_WORKERS",)),
    "max_batch": (_count, ("WORKBENCH_MAX_BATCH",)),
    "stack": (_stack, ("WORKBENCH_STACK",)),
    "max_payload_mb": (_count, ("SAGEMAKER_MAX_PAYLOAD_IN_MB", "WORKBENCH_MAX_PAYLOAD_MB")),
    "announce": (_whole, ()),
    "parent_death_pipe": (_whole, ()),
}
_USAGE = "usage: workbench.modelserver serve " + " ".join(
    f"[{_flag(name)} ...]" for name in _OPTIONS
)
