"""The command `traces`: public traces, and what traffic is like that others commands send."""

import argparse
from collections.abc import Callable, Mapping
from pathlib import Path

from workbench.cli.files import check_file, translate_write_errors
from workbench.cli.options import FILES, add_options
from workbench.cli.output import Arguments, show
from workbench.cli.traffic import is_traffic_given, read_traffic
from workbench.errors import InvalidInput
from workbench.formatting import Table, format_cell
from workbench.traffic.datasets import public_traces
from workbench.traffic.trace import Trace

_WRITERS: Mapping[str, Callable[[Trace, Path], Path]] = {
    ".csv": Trace.to_csv,
    ".parquet": Trace.to_parquet,
}
_FIGURES = {
    "requests": "requests",
    "duration": "duration (s)",
    "rate": "requests a second",
    "peak_to_mean": "busiest second over mean",
    "scv": "squared variation of gaps (1: Poisson)",
    "dispersion_1s": "dispersion in 1 s (1: Poisson)",
    "dispersion_10s": "dispersion in 10 s",
    "dispersion_60s": "dispersion in 60 s",
}


def _traces(arguments: Arguments) -> int:
    if arguments.source:
        if arguments.trace:
            raise InvalidInput(f"Name one trace: {arguments.source} or {arguments.trace}.")
        arguments.trace = arguments.source
    if not is_traffic_given(arguments):
        return _list(arguments)
    check_file(arguments.out, _WRITERS)
    trace, path = read_traffic(arguments), arguments.out
    written = [_write(trace, Path(path))] if path else []
    figures = trace.describe()
    rows = [[_FIGURES[name], format_cell(value)] for name, value in figures.items()]
    text = f"{trace.name}\n\n{Table([], rows)}"
    if written:
        text += f"\n\nTrace: {path}\nNext: workbench simulate --trace {path}"
    return show(arguments, text, {"name": trace.name, **figures}, written=written)


def _write(trace: Trace, path: Path) -> str:
    with translate_write_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    return str(_WRITERS[path.suffix](trace, path))


def _list(arguments: Arguments) -> int:
    if arguments.out:
        raise InvalidInput("Say which traffic to write to --out: a trace, or --rate.")
    known, columns = public_traces(), ["name", "licence", "about"]
    table = Table(columns, known.select(columns).rows())
    text = f"{table}\n\nEach is downloaded from its origin when first used."
    return show(arguments, text, {"traces": known.to_dicts()})


def add_traces(parser: argparse.ArgumentParser) -> None:
    """Add the options of `workbench traces`."""
    parser.add_argument(
        "source",
        nargs="?",
        metavar="FILE|NAME",
        help="the same as --trace; without any traffic, public traces are listed",
    )
    add_options(parser, "traffic", FILES)
    parser.add_argument("--out", metavar="FILE", help="write the trace as a .csv or .parquet file")
    parser.set_defaults(command=_traces)
