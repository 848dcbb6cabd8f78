"""The line of `workbench simulate` that checks what a plan says, under the same traffic."""

import shlex
from collections.abc import Iterator, Mapping
from typing import Any

from workbench.cli.installation import name_command
from workbench.cli.option_names import option_of, word_of
from workbench.cli.options import FILES, OPTIONS, Option
from workbench.cli.output import Arguments
from workbench.deployment.base import Deployment
from workbench.planner.candidates import Configuration
from workbench.settings import settings_of
from workbench.validation import parse_seconds

_SAME: Mapping[str, Option] = {
    **OPTIONS["traffic"],
    **OPTIONS[FILES],
    **OPTIONS["bytes"],
    **OPTIONS["target"],
    **OPTIONS["time to start"],
    "--registry": {},
}
"""What a plan and a simulation take alike."""


def write_check(choice: Configuration, arguments: Arguments) -> str:
    """Return the command that simulates a choice of a plan; "" where the fleet changes or is mixed.

    >>> from workbench.batching.timer import BatchPolicy
    >>> from workbench.deployment import Lambda
    >>> place = Lambda(memory_mb=1769, max_concurrency=900)
    >>> asked = Arguments(model="digits-forest", rate=50.0, seed=1, slo=0.2)
    >>> line = write_check(Configuration(place, BatchPolicy(5, 0.037)), asked)
    >>> line.partition(" ")[2]
    'simulate digits-forest --rate 50 --slo 200ms --policy 5/37ms --on lambda --max-concurrency 900'
    """
    deployment, policy, scaling = choice
    if scaling is not None or len(deployment.simple_parts) > 1:
        return ""
    joined = policy.max_size > 1 and not deployment.by_job
    words = [
        *(name_command(), "simulate", shlex.quote(arguments.model)),
        *_repeat_options(arguments),
        *("--policy", f"{policy.max_size}/{write_time(policy.max_wait)}" if joined else "1"),
        *("--on", word_of(deployment.kind)),
        *_write_settings(deployment),
    ]
    return " ".join(words)


def write_time(seconds: float) -> str:
    """Return a time as it is typed, which is read back as the same number.

    >>> write_time(0.037), write_time(600.0), write_time(1 / 3)
    ('37ms', '600s', '0.3333333333333333s')
    """
    short = f"{1000 * seconds:.12g}ms" if seconds < 1 else f"{seconds:.12g}s"
    return short if parse_seconds(short) == seconds else f"{seconds!r}s"


def _repeat_options(arguments: Arguments) -> Iterator[str]:
    """Yield the options of traffic, target and starts that were given."""
    for name, option in _SAME.items():
        value = getattr(arguments, name[2:].replace("-", "_"), None)
        if value is None or value == option.get("default"):
            continue
        if isinstance(value, bool):
            yield name if value else name.replace("--", "--no-", 1)
        elif isinstance(value, tuple):
            yield from (name, "/".join(map(write_time, value)))
        else:
            yield from (name, _write(value, is_time="TIME" in option.get("metavar", "")))


def _write_settings(deployment: Deployment) -> Iterator[str]:
    """Yield the settings of a deployment that are not as they are by default."""
    begins = type(deployment).example()
    for name, described in settings_of(type(deployment)).items():
        value = getattr(deployment, name)
        if value != getattr(begins, name):
            yield from (option_of(name), _write(value, is_time=described.is_time))


def _write(value: Any, *, is_time: bool) -> str:  # noqa: ANN401 - of any option
    match value:
        case tuple():
            return ",".join(map(str, value))
        case float() | int() if is_time:
            return write_time(float(value))
        case float():
            return repr(value).removesuffix(".0")
    return shlex.quote(str(value))
