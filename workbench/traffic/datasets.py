"""Public traces by name: fetched from their origin, checked by hash, kept in the user's cache."""

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from importlib.resources import files
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from workbench.errors import Damaged, InvalidInput, NotAvailable, NotFound, StorageError
from workbench.files import as_path, sha256
from workbench.traffic.instants import seconds_since
from workbench.traffic.patterns import MAX_REQUESTS, streams
from workbench.traffic.replay import from_counts, from_csv, read_counts
from workbench.traffic.trace import Trace
from workbench.validation import Seed, positive_share

if TYPE_CHECKING:
    import polars as pl

_MINUTE = 60.0


@dataclass(frozen=True, kw_only=True)
class PublicTrace:
    """Where a public trace comes from, what it holds, and on what terms it may be used.

    Attributes:
        name: for `open_trace`.
        about: what it holds.
        licence: in a few words; the notice has the terms.
        source: page that describes it.
        url: of the file, at a pinned version.
        sha256: of the file, in hexadecimal.
        begins: the instant that is 0 in the trace, in UTC.
        notice: what has to travel with the data.
        per_minute: whether a row is a minute with a count, or a request.
    """

    name: str
    about: str
    licence: str
    source: str
    url: str
    sha256: str
    begins: str
    notice: str
    per_minute: bool = False

    @property
    def path(self) -> Path:
        """Where the file is kept: below $WORKBENCH_HOME/cache or the user's cache directory."""
        return cache_directory() / "traces" / f"{self.name}.csv"


def _azure(kind: str, about: str, *, sha256: str, begins: str) -> PublicTrace:
    source = "https://github.com/Azure/AzurePublicDataset"
    commit = "b469a113cedca53ddc3bdea71a143dc4b7d8700c"
    return PublicTrace(
        name=f"azure-llm-2023-{kind}",
        about=about,
        licence="CC BY 4.0",
        source=source,
        url=source.replace("github.com", "raw.githubusercontent.com")
        + f"/{commit}/data/AzureLLMInferenceTrace_{kind}.csv",
        sha256=sha256,
        begins=begins,
        notice=f"Azure LLM inference trace 2023 ({kind}), Microsoft, {source}, CC BY 4.0. "
        "P. Patel et al., Splitwise: Efficient generative LLM inference using phase splitting, "
        "ISCA 2024.",
    )


_TRACES = (
    _azure(
        "code",
        "8,819 requests to a code model in 57 minutes, very bursty",
        sha256="54e9a6d2a4bd06ba1e060304b900abbc74cbea53de96506e60fe5bb4f2277fb6",
        begins="2023-11-16 18:17:03.9799600",
    ),
    _azure(
        "conv",
        "19,366 requests to a conversation model in 58 minutes",
        sha256="2f1e5b666d4e3055fdbba98598ce2ec307767b9064e03e2fa46676dbcc7d0bf8",
        begins="2023-11-16 18:15:46.6805900",
    ),
    PublicTrace(
        name="worldcup98",
        about="requests per minute to a web site, 87 days of 1998, 1.35e9 in all, flash crowds",
        licence="free with the notice; modified copies non-commercially; table under MIT",
        source="https://github.com/nimamahmoudi/worldcup98-dataset",
        url="https://raw.githubusercontent.com/nimamahmoudi/worldcup98-dataset/"
        "82460213f0d5a86fa57b6d4b0b5f260e606e713b/invocation_count.csv",
        sha256="d05038f98af96f6fab054f90445e02a68f37fd00a79c23f45b9b48e5ec91fb8e",
        begins="1998-04-30 21:30:00",
        notice=(files("workbench.data") / "notices" / "worldcup98.txt").read_text("utf-8"),
        per_minute=True,
    ),
)

CATALOGUE: Mapping[str, PublicTrace] = MappingProxyType({entry.name: entry for entry in _TRACES})


def public_traces() -> "pl.DataFrame":
    """Return one row for each trace that `open_trace` knows: what, from where, on what terms.

    >>> public_traces()["name"].to_list()
    ['azure-llm-2023-code', 'azure-llm-2023-conv', 'worldcup98']
    """
    import polars as pl

    columns = ("name", "about", "licence", "source", "url", "sha256", "notice")
    return pl.DataFrame([{c: getattr(e, c) for c in columns} for e in CATALOGUE.values()])


def cache_directory() -> Path:
    """Return the folder of downloads: $WORKBENCH_HOME/cache when set, else the user's cache."""
    from platformdirs import user_cache_path

    home = os.environ.get("WORKBENCH_HOME")
    return Path(home) / "cache" if home else user_cache_path("inference-workbench", appauthor=False)


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
        path: of the file, where it was downloaded by hand. Default: the cache, else the origin.
        start: where the part begins: seconds from the beginning, or an instant in UTC. Default:
            the beginning.
        stop: where the part ends. Default: the end.
        share: of the requests to keep, drawn independently.
        seed: of the draws that the share and the counts need.

    Raises:
        NotFound: no trace of that name, or no file at the path.
        NotAvailable: not in the cache, and the origin cannot be reached.
        InvalidInput: the path holds another file, the part is empty or not within the trace, or
            too many requests.
        Damaged: what is in the cache or came from the origin is not the published file.
        StorageError: the cache cannot be written.
    """
    entry = _entry(name)
    file = _fetch(entry) if path is None else _check_file(entry, as_path(path))
    within = {"start": _to_seconds(entry, start), "stop": _to_seconds(entry, stop)}
    read = _read_minutes if entry.per_minute else _read_requests
    trace = read(entry, file, **within, share=positive_share("share", share), seed=seed)
    said = {"start": start, "stop": stop, "share": None if share == 1 else share}
    said["seed"] = seed if isinstance(seed, int) else None
    words = "".join(f", {key}={value!r}" for key, value in said.items() if value is not None)
    return replace(trace, name=f"open_trace({name!r}{words})", notice=entry.notice)


def _entry(name: str) -> PublicTrace:
    if not isinstance(name, str) or name not in CATALOGUE:
        raise NotFound(f"There is no public trace {name!r}, only {', '.join(CATALOGUE)}.")
    return CATALOGUE[name]


def _to_seconds(entry: PublicTrace, at: float | str | datetime | None) -> float | None:
    if isinstance(at, str | datetime):
        return float(seconds_since([str(at)], origin=entry.begins)[0])
    return at


def _read_requests(
    entry: PublicTrace,
    file: Path,
    *,
    start: float | None,
    stop: float | None,
    share: float,
    seed: Seed,
) -> Trace:
    trace = from_csv(file, "TIMESTAMP", origin=entry.begins).clip(start or 0.0, stop)
    return trace if share == 1 else trace.thin(share, seed=seed)


def _read_minutes(
    entry: PublicTrace,
    file: Path,
    *,
    start: float | None,
    stop: float | None,
    share: float,
    seed: Seed,
) -> Trace:
    counts = read_counts(file, period=_MINUTE)
    duration = len(counts) * _MINUTE
    start, stop = start or 0.0, duration if stop is None else stop
    if not 0 <= start < stop <= duration:
        raise InvalidInput(
            f"{entry.name} needs 0 <= start < stop <= {duration:,.0f} s, "
            f"got start={start!r} and stop={stop!r}."
        )
    first, last = int(start // _MINUTE), math.ceil(stop / _MINUTE)
    thinning, spreading = streams(seed)
    counts = thinning.binomial(counts[first:last], share)
    if counts.sum() > MAX_REQUESTS:
        raise InvalidInput(
            f"{entry.name} has {counts.sum():,} requests here, and at most {MAX_REQUESTS:,} fit "
            "one trace: choose a shorter part with start= and stop=, or a smaller share=."
        )
    trace = from_counts(counts, period=_MINUTE, seed=spreading)
    return trace.clip(start - first * _MINUTE, stop - first * _MINUTE)


# ---------------------------------------------------------------------- the file


def _check_file(entry: PublicTrace, path: Path) -> Path:
    if not path.is_file():
        raise NotFound(f"There is no file {path}.")
    found = sha256(path)
    if found != entry.sha256:
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


def _download(entry: PublicTrace) -> None:
    from pooch.core import retrieve
    from requests import RequestException

    path = entry.path
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        retrieve(entry.url, f"sha256:{entry.sha256}", fname=path.name, path=path.parent)
    except RequestException as error:
        raise NotAvailable(
            f"{entry.name} is not on this machine, and its origin does not answer "
            f"({type(error).__name__}). Download {entry.url} where it does, put it at {path} "
            f"(sha256 {entry.sha256}), or pass path= with the file."
        ) from error
    except ValueError as error:  # of pooch, which has removed what came
        raise Damaged(f"{entry.url} does not give the published file: {error}") from error
    except OSError as error:
        raise StorageError(f"{path.parent} cannot be written: {error}") from error
