"""Public traces by name: fetched from their origin, checked by hash, kept in the user's cache."""

import math
import os
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from workbench.errors import Damaged, InvalidInput, NotAvailable, NotFound, StorageError
from workbench.files import as_path, sha256
from workbench.tables import open_table
from workbench.tables.cells import parse_numbers
from workbench.traffic.archives import unpack
from workbench.traffic.catalogue import CATALOGUE, PublicTrace
from workbench.traffic.instants import seconds_since
from workbench.traffic.patterns import MAX_REQUESTS, streams
from workbench.traffic.replay import from_counts, from_csv, from_jsonl, from_timestamps, read_counts
from workbench.traffic.trace import Trace
from workbench.units import MINUTE
from workbench.validation import Seed, positive_share, suggest

if TYPE_CHECKING:
    import polars as pl


def public_traces() -> "pl.DataFrame":
    """Return one row for each trace that `open_trace` knows: what, from where, on what terms.

    >>> public_traces()["name"].to_list()  # doctest: +NORMALIZE_WHITESPACE
    ['azure-llm-2023-code', 'azure-llm-2023-conv', 'azure-functions-2021', 'burstgpt',
     'mooncake-conversation', 'mooncake-tools', 'worldcup98']
    """
    import polars as pl

    columns = ("name", "about", "licence", "source", "url", "sha256", "notice")
    return pl.DataFrame([{c: getattr(e, c) for c in columns} for e in CATALOGUE.values()])


def open_trace(
    name: str,
    *,
    path: str | os.PathLike[str] | None = None,
    start: float | str | datetime | None = None,
    stop: float | str | datetime | None = None,
    share: float = 1.0,
    seed: Seed = 0,
) -> Trace:
    """Open the public trace of that name, or a part of it; it is downloaded on first use.

    Its notice says whose data it is and on what terms. A trace of counts per minute has its
    requests spread at random within each minute.

    Args:
        name: one of `public_traces`.
        path: of the file (or of that in the archive), where it was downloaded by hand. Default:
            the cache, else the origin.
        start: where the part begins: seconds from the beginning, or an instant in UTC. Default:
            the beginning.
        stop: where the part ends. Default: the end.
        share: of the requests to keep, drawn independently.
        seed: of the draws that the share and the counts need.

    Raises:
        NotFound: no trace of that name, or no file at the path.
        NotAvailable: not in the cache, and the origin cannot be reached; or it is an archive, and
            no program that reads it is installed.
        InvalidInput: the path holds another file, the part is empty or not within the trace, or
            too many requests.
        Damaged: what is in the cache or came from the origin is not the published file.
        StorageError: the cache cannot be written.
    """
    entry = _entry(name)
    file = _fetch(entry) if path is None else _check_file(entry, as_path(path))
    if entry.unpacked:
        file = _unpack(entry, file)
    begin, end = _to_seconds(entry, start), _to_seconds(entry, stop)
    read = _read_minutes if entry.per_minute else _read_requests
    trace = read(entry, file, _Part(begin or 0.0, end, positive_share("share", share), seed))
    said = {"start": start, "stop": stop, "share": None if share == 1 else share}
    said["seed"] = seed if isinstance(seed, int) else None
    words = "".join(f", {key}={value!r}" for key, value in said.items() if value is not None)
    return replace(trace, name=f"open_trace({name!r}{words})", notice=entry.notice)


def _entry(name: str) -> PublicTrace:
    if not isinstance(name, str) or name not in CATALOGUE:
        near = suggest(name, CATALOGUE)
        raise NotFound(f"There is no public trace {name!r}, only {', '.join(CATALOGUE)}.{near}")
    return CATALOGUE[name]


def _to_seconds(entry: PublicTrace, at: float | str | datetime | None) -> float | None:
    if isinstance(at, str | datetime):
        if not entry.begins:
            raise InvalidInput(
                f"nobody has said at what instant {entry.name} begins: give seconds from its "
                f"beginning, not {str(at)!r}."
            )
        return float(seconds_since([str(at)], origin=entry.begins)[0])
    return at


class _Part(NamedTuple):
    """What of a trace is opened: seconds from its beginning, to its end without a stop."""

    start: float
    stop: float | None
    share: float
    seed: Seed


def _read_requests(entry: PublicTrace, file: Path, part: _Part) -> Trace:
    if entry.lasting:  # the ends of requests were noted; what began before the trace arrives at 0
        frame = open_table(file, header=True).read([entry.column, entry.lasting])
        ends, lasted = (parse_numbers(name, frame[name]) for name in frame.columns)
        begun = np.maximum(np.asarray(ends) - np.asarray(lasted), 0.0)
        trace = from_timestamps(begun, duration=entry.duration, sort=True)
    elif entry.ending == ".jsonl":
        trace = from_jsonl(file, entry.column, unit=entry.unit)
    else:
        origin = None if entry.unit else entry.begins
        trace = from_csv(file, entry.column, origin=origin, unit=entry.unit, sort=True)
    trace = trace.clip(part.start, part.stop)
    return trace if part.share == 1 else trace.thin(part.share, seed=part.seed)


def _read_minutes(entry: PublicTrace, file: Path, part: _Part) -> Trace:
    counts = read_counts(file, period=MINUTE)
    duration = len(counts) * MINUTE
    start, stop = part.start, duration if part.stop is None else part.stop
    if not 0 <= start < stop <= duration:
        raise InvalidInput(
            f"{entry.name} needs 0 <= start < stop <= {duration:,.0f} s, "
            f"got start={start!r} and stop={stop!r}."
        )
    first, last = int(start // MINUTE), math.ceil(stop / MINUTE)
    # streams of their own, so that a seed spreads requests in the same way whatever the share
    thinning, spreading = streams(part.seed)
    # as if each request were drawn, in one draw a minute
    counts = thinning.binomial(counts[first:last], part.share)
    if counts.sum() > MAX_REQUESTS:
        raise InvalidInput(
            f"{entry.name} has {counts.sum():,} requests here, and at most {MAX_REQUESTS:,} fit "
            "one trace: choose a shorter part with start= and stop=, or a smaller share=."
        )
    trace = from_counts(counts, period=MINUTE, seed=spreading)
    return trace.clip(start - first * MINUTE, stop - first * MINUTE)


def _check_file(entry: PublicTrace, path: Path) -> Path:
    if not path.is_file():
        raise NotFound(f"There is no file {path}.")
    found = sha256(path)
    if found not in (entry.sha256, entry.unpacked):
        raise InvalidInput(
            f"{path} is not the file of {entry.name}: its sha256 is {found}, not {entry.sha256}. "
            f"Download {entry.url}, or read other files with from_csv."
        )
    return path


def _fetch(entry: PublicTrace) -> Path:
    if not entry.path.exists():
        _download(entry)
    found = sha256(entry.path)
    if found != entry.sha256:
        raise Damaged(
            f"{entry.path} is not the file of {entry.name}: its sha256 is {found}, "
            f"not {entry.sha256}. Delete it to have it downloaded again."
        )
    return entry.path


def _unpack(entry: PublicTrace, file: Path) -> Path:
    """Return the one file of an archive, taken out into the cache; or that file, if it is given."""
    kept = entry.path.with_suffix(".txt")
    for path in (kept, file):
        if path.exists() and sha256(path) == entry.unpacked:
            return path
    return unpack(file, kept, sha256=entry.unpacked)


def _download(entry: PublicTrace) -> None:
    from pooch.core import retrieve
    from requests import RequestException

    path = entry.path
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        retrieve(entry.url, f"sha256:{entry.sha256}", fname=path.name, path=path.parent)
    except RequestException as error:
        if error.response is not None:
            error.response.close()  # pooch leaves it, and its socket, to the garbage
        raise NotAvailable(
            f"{entry.name} is not on this machine, and its origin does not answer "
            f"({type(error).__name__}). Download {entry.url} where it does, put it at {path} "
            f"(sha256 {entry.sha256}), or pass path= with the file."
        ) from error
    except ValueError as error:  # of pooch, which has removed what came
        raise Damaged(f"{entry.url} does not give the published file: {error}") from error
    except OSError as error:
        raise StorageError(f"{path.parent} cannot be written: {error}") from error
