"""The trace that the options of traffic describe."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from workbench.cli.option_names import option_of
from workbench.cli.options import FILES, OPTIONS, TRAFFIC
from workbench.cli.output import Arguments, announce, pick_given
from workbench.errors import InvalidInput
from workbench.traffic.datasets import open_trace
from workbench.traffic.patterns import bursty, poisson
from workbench.traffic.replay import READERS, from_counts, from_csv
from workbench.traffic.trace import Trace
from workbench.validation import positive, positive_share

_COUNTS, _PART = ".txt", ("start", "stop", "share")
# without the "--" of an option
_OF_FILES = [name[2:].replace("-", "_") for name in OPTIONS[FILES] if name != "--trace"]
_OPTION_OF = {"duration": "trace-duration"}


def read_traffic(arguments: Arguments) -> Trace:
    """Return the traffic that the arguments describe: what they do not say is as in the app."""
    _check_together(arguments)
    if arguments.trace:
        return _replay_trace(arguments)
    settings = {**TRAFFIC, **pick_given(arguments, *TRAFFIC)}
    if settings["burst"] == 1:
        return poisson(**{name: settings[name] for name in ("rate", "duration", "seed")})
    return bursty(**settings)


def _check_together(arguments: Arguments) -> None:
    """Refuse options of a file where traffic is drawn, and the other way round."""
    others = ("burst", "dwell") if arguments.trace else _OF_FILES
    for name in pick_given(arguments, *others):
        why = "is of traffic that is drawn, not of" if arguments.trace else "goes with"
        raise InvalidInput(f"{option_of(name)} {why} --trace: leave one out.")


def is_traffic_given(arguments: Arguments) -> bool:
    """Return whether any traffic is asked for, or only that of the defaults."""
    return bool(pick_given(arguments, "trace", *(name for name in TRAFFIC if name != "seed")))


def _replay_trace(arguments: Arguments) -> Trace:
    suffix, how = Path(arguments.trace).suffix, _reader_options(arguments)
    if suffix == _COUNTS or arguments.count_period is not None:
        return _fit(_take_part(_spread_counts(arguments, how), arguments), arguments)
    read = READERS.get(suffix.lower(), open_trace)
    if (how and read is open_trace) or ("header" in how and read is not from_csv):
        raise InvalidInput(f"{arguments.trace} is not read with {_options(how)}: leave that out.")
    if read is open_trace:
        trace = open_trace(arguments.trace, seed=arguments.seed, **pick_given(arguments, *_PART))
    else:
        trace = _take_part(read(arguments.trace, **how), arguments)
    if trace.notice:
        announce(trace.notice)
    return _fit(trace, arguments)


def _take_part(trace: Trace, arguments: Arguments) -> Trace:
    part = pick_given(arguments, *_PART)
    for name in ("start", "stop"):
        if isinstance(part.get(name), str):
            raise InvalidInput(
                f"--{name} of a file is a time from its beginning, as 10min; got {part[name]!r}."
            )
    if "share" in part:
        trace = trace.thin(positive_share("share", part.pop("share")), seed=arguments.seed)
    return trace.clip(**part) if part else trace


def _spread_counts(arguments: Arguments, how: dict[str, Any]) -> Trace:
    if arguments.count_period is None:
        raise InvalidInput(
            f"{arguments.trace} is read as counts between blanks: say with --count-period how long "
            "each counted, as 1s."
        )
    positive("count_period", arguments.count_period, "seconds")
    if how:
        raise InvalidInput(f"Counts are not read with {_options(how)}: leave that out.")
    return from_counts(arguments.trace, period=arguments.count_period, seed=arguments.seed)


def _fit(trace: Trace, arguments: Arguments) -> Trace:
    """Return a trace at the rate and of the duration that were asked for."""
    if arguments.rate is not None:
        trace = trace.scale(positive("rate", arguments.rate) / trace.rate)
    if arguments.duration is None:
        return trace
    if positive("duration", arguments.duration) > trace.duration:
        raise InvalidInput(
            f"--duration {arguments.duration:g}s is longer than the trace, which lasts "
            f"{trace.duration:g}s: leave it out, or give less."
        )
    return trace.clip(0.0, arguments.duration)


def _options(names: Iterable[str]) -> str:
    return ", ".join(f"--{_OPTION_OF.get(name, name)}" for name in names)


def _reader_options(arguments: Arguments) -> dict[str, Any]:
    """Return how a file of times is to be read, as far as the arguments say so."""
    found = pick_given(arguments, "column", "header", "unit", "origin", "sort", "trace_duration")
    return {name.removeprefix("trace_"): value for name, value in found.items()}
