"""The command `traces`: public traces, and what traffic is like that others commands send."""

import argparse
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from workbench.cli.files import check_new, translate_write_errors
from workbench.cli.options import FILES, add_options
from workbench.cli.output import Arguments, print_json, print_text
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
    path = _check_out(arguments.out)
    trace = read_traffic(arguments)
    written = [] if path is None else [_write(trace, path)]
    figures = trace.describe()
    if arguments.json:
        print_json({"name": trace.name, **figures}, written=written)
    rows = [[_FIGURES[name], format_cell(value)] for name, value in figures.items()]
    print_text(arguments, f"{trace.name}\n\n{Table([], rows)}")
    if written:
        print_text(arguments, f"\nTrace: {path}\nNext: workbench simulate --trace {path}")
    return 0


def _write(trace: Trace, path: Path) -> str:
    with translate_write_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    return str(_WRITERS[path.suffix](trace, path))


def _list(arguments: Arguments) -> int:
    """Show the public traces."""
    if arguments.out:
        raise InvalidInput("Say which traffic to write to --out: a trace, or --rate.")
    known = public_traces()
    if arguments.json:
        print_json({"traces": known.to_dicts()})
    shown: list[Any] = known.select("name", "licence", "about").rows()
    table = Table(["name", "licence", "about"], shown).text()
    print_text(arguments, f"{table}\n\nEach is downloaded from its origin when first used.")
    return 0


def _check_out(out: str | None) -> Path | None:
    """Return where the trace is written; refuse what cannot be."""
    if out is None:
        return None
    if Path(out).suffix not in _WRITERS:
        raise InvalidInput(f"--out names a file that ends in {', '.join(_WRITERS)}; got {out!r}.")
    check_new(Path(out))
    return Path(out)


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
