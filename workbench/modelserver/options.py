"""How a container is set: by its command line, else by the environment that SageMaker gives it."""

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

MB = 1024 * 1024

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
    environment.

    >>> parse(["serve", "--port", "0"], {"WORKBENCH_THREADS": "2"}).threads
    2
    """
    get, default = environment.get, ServerOptions()
    payload = get("SAGEMAKER_MAX_PAYLOAD_IN_MB") or get("WORKBENCH_MAX_PAYLOAD_MB")
    parser = argparse.ArgumentParser(prog="workbench.modelserver", description=__doc__)
    parser.add_argument("command", choices=["serve"], help="what SageMaker runs an image with")
    add = parser.add_argument
    add("--host", default=get("WORKBENCH_HOST", default.host))
    add("--port", type=_whole(0), default=get("SAGEMAKER_BIND_TO_PORT", str(default.port)))
    add("--model", type=Path, default=default.model)
    add("--threads", type=_whole(1), default=get("WORKBENCH_THREADS", "1"))
    add("--workers", type=_whole(1), default=get("SAGEMAKER_MODEL_SERVER_WORKERS", "1"))
    add("--max-batch", type=_whole(1), default=get("WORKBENCH_MAX_BATCH", "1"))
    add("--stack", type=_stack, default=get("WORKBENCH_STACK", default.stack))
    add("--max-payload-mb", type=_whole(1), default=payload or str(default.max_payload_mb))
    add("--announce", type=_whole(0))
    add("--parent-death-pipe", type=_whole(0))
    given = vars(parser.parse_args(arguments))
    given.pop("command")
    return ServerOptions(**given)


def _stack(text: str) -> str:
    if text not in (IF_ANSWERS_STAY, EVEN_IF_ANSWERS_CHANGE):
        raise argparse.ArgumentTypeError(
            f"must be {IF_ANSWERS_STAY} or {EVEN_IF_ANSWERS_CHANGE}, got {text!r}"
        )
    return text


def _whole(low: int) -> "_Whole":
    return _Whole(low)


@dataclass(frozen=True, slots=True)
class _Whole:
    """Reads a whole number; argparse shows its name in errors."""

    low: int

    def __call__(self, text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = self.low - 1
        if value < self.low:
            raise argparse.ArgumentTypeError(
                f"must be a whole number of at least {self.low}, got {text!r}"
            )
        return value
