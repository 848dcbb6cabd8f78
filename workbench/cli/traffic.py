"""The options that say what traffic is sent, and the trace that they describe."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

from workbench.cli.arguments import (
    add_header,
    argument_type,
    parse_dwell_times,
    parse_seconds,
)
from workbench.cli.output import Arguments, announce
from workbench.errors import InvalidInput
from workbench.traffic.datasets import open_trace
from workbench.traffic.instants import Unit
from workbench.traffic.patterns import bursty, poisson
from workbench.traffic.replay import from_counts, from_csv, from_jsonl, from_parquet
from workbench.traffic.trace import Trace
from workbench.validation import positive

_COUNTS = ".txt"
_READERS: dict[str, Callable[..., Trace]] = {
    ".csv": from_csv,
    ".parquet": from_parquet,
    ".jsonl": from_jsonl,
    ".ndjson": from_jsonl,
}


def read_traffic(arguments: Arguments) -> Trace:
    """Return the traffic that the arguments describe."""
    if arguments.trace:
        return _replay_trace(arguments)
    if arguments.rate is None:
        raise InvalidInput(
            "Say what traffic to send: --rate REQUESTS_PER_SECOND or --trace FILE_OR_NAME."
        )
    settings = {
        "rate": arguments.rate,
        "duration": 10.0 if arguments.duration is None else arguments.duration,
        "seed": arguments.seed,
    }
    if arguments.burst is None:
        return poisson(**settings)
    return bursty(burst=arguments.burst, dwell=arguments.dwell, **settings)


def _parse_origin(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text


def _replay_trace(arguments: Arguments) -> Trace:
    """Return a stored trace."""
    suffix, how = Path(arguments.trace).suffix, _reader_options(arguments)
    if suffix == _COUNTS or arguments.count_period is not None:
        return _fit(_spread_counts(arguments, how), arguments)
    read = _READERS.get(suffix, open_trace)
    if (how and read is open_trace) or ("header" in how and read is not from_csv):
        raise InvalidInput(f"{arguments.trace} is not read with {', '.join(how)}: leave that out.")
    trace: Trace = read(arguments.trace, **how)
    if trace.notice:
        announce(trace.notice)
    return _fit(trace, arguments)


def _spread_counts(arguments: Arguments, how: dict[str, Any]) -> Trace:
    """Return the trace of a text file of counts."""
    if arguments.count_period is None:
        raise InvalidInput(
            f"{arguments.trace} is read as counts between blanks: say with --count-period how long "
            "each counted, as 1s."
        )
    if how:
        raise InvalidInput(f"Counts are not read with {', '.join(how)}: leave that out.")
    return from_counts(arguments.trace, period=arguments.count_period, seed=arguments.seed)


def _fit(trace: Trace, arguments: Arguments) -> Trace:
    """Return a trace at the rate and of the duration that were asked for."""
    if arguments.rate is not None:
        trace = trace.scale(positive("rate", arguments.rate) / trace.rate)
    return trace if arguments.duration is None else trace.clip(0.0, arguments.duration)


def _reader_options(arguments: Arguments) -> dict[str, Any]:
    """Return how a file of times is to be read, as far as the arguments say so."""
    names = ("column", "header", "unit", "origin", "sort")
    given = {name: getattr(arguments, name) for name in names}
    given["duration"] = arguments.trace_duration
    return {name: value for name, value in given.items() if value is not None}


def add_traffic(parser: Any) -> None:  # noqa: ANN401
    """Add the options that say what traffic is sent."""
    traffic = parser.add_argument_group("traffic")
    traffic.add_argument("--rate", type=float, help="requests a second, on average")
    traffic.add_argument(
        "--burst", type=float, help="rate in bursts over rate between them (default: no bursts)"
    )
    traffic.add_argument(
        "--dwell",
        type=argument_type(parse_dwell_times),
        default=(4.0, 1.0),
        help="mean time between bursts and in one (4s/1s)",
    )
    traffic.add_argument(
        "--trace",
        metavar="FILE|NAME",
        help="replay a .csv, .jsonl or .parquet file, counts in a .txt, or a public trace",
    )
    traffic.add_argument(
        "--count-period",
        type=argument_type(parse_seconds),
        help="how long each of the counts in a text file counted, as 1s",
    )
    traffic.add_argument("--column", help="of the file's times (found by itself)")
    add_header(traffic)
    traffic.add_argument("--unit", choices=get_args(Unit), help="of times that are numbers (s)")
    traffic.add_argument(
        "--origin", type=_parse_origin, help="what becomes 0, an instant or a number of that unit"
    )
    traffic.add_argument(
        "--sort", action="store_true", default=None, help="put the file's times in order"
    )
    traffic.add_argument(
        "--trace-duration",
        type=argument_type(parse_seconds),
        help="how long the file's trace is (until its last request)",
    )
    traffic.add_argument(
        "--duration", type=argument_type(parse_seconds), help="seconds (10s, or the whole trace)"
    )
    traffic.add_argument("--seed", type=int, default=0, help="of the traffic (%(default)s)")
