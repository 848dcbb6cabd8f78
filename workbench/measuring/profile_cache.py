"""Profiles that are kept: a model's service times on this machine, measured once."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from workbench.errors import NotFound
from workbench.files import home
from workbench.measuring.kept_calls import delay_calls, thin_calls
from workbench.measuring.profile import Profile, load_profile, profile
from workbench.progress import Progress
from workbench.provenance import boot_date, machine_key, recall_environment
from workbench.registry.model import Model
from workbench.service_times import ServiceTimes
from workbench.validation import whole_number

Measure = Callable[..., Profile]


def sizes_up_to(largest: int) -> list[int]:
    """Return the batch sizes to measure: powers of two, and the largest.

    Up to 4 it is each of them, so that there are always enough for `Profile.fit` from 4 on.

    >>> sizes_up_to(3), sizes_up_to(12)
    ([1, 2, 3], [1, 2, 4, 8, 12])
    """
    whole_number("largest", largest, low=1)
    powers = {1 << power for power in range(largest.bit_length())}
    return sorted(powers | ({*range(1, largest + 1)} if largest <= 4 else {largest}))


def ensure_profile(
    model: Model,
    *,
    largest: int = 32,
    threads: int = 1,
    progress: Progress | None = None,
    measure: Measure = profile,
) -> Profile:
    """Return the profile of a model on this machine; what is missing in it is measured first.

    It is kept below `home()`, in profiles/<sha256 of the model>-<key of the machine>. A profile
    that covers batches of up to `largest` rows with so many threads is returned as it is; else the
    sizes of `sizes_up_to` that it lacks are measured and added. One from before the machine was
    started last counts for nothing. `measure` is what measures.

    Raises:
        InvalidInput: largest or threads is below 1.
        InvocationError: The model failed.
        StorageError: The profile cannot be written, or is damaged.
    """
    whole_number("threads", threads, low=1)
    known = _load_known(model)
    if known is not None and known.quality.date < boot_date() and known.quality.date:
        known = None
    missing = _list_missing_sizes(known, largest, threads)
    if known is not None and not missing:
        return known
    if progress:
        progress(0, 2 * len(missing))  # who waits can still give up
    fresh = measure(model, batch_sizes=missing, threads=(threads,), progress=progress)
    joined = fresh if known is None else _merge(known, fresh)
    return keep_profile(model, joined)


def keep_profile(model: Model, profile: Profile) -> Profile:
    """Keep a profile of a model in place of what was kept, and return it."""
    profile.save(_path_of(model), overwrite=True)
    return profile


def recall_profile(model: Model, *, threads: int = 1) -> Profile | None:
    """Return the kept profile of a model on this machine, with so many threads; None if none."""
    known = _load_known(model)
    return None if known is None or _list_missing_sizes(known, 1, threads) else known


def _path_of(model: Model) -> Path:
    return home() / "profiles" / f"{model.sha256}-{machine_key(recall_environment())}"


def _load_known(model: Model) -> Profile | None:
    try:
        return load_profile(_path_of(model))
    except NotFound:
        return None


def read_service_times(
    profile: Profile, *, threads: int = 1
) -> tuple[ServiceTimes, dict[str, Any]]:
    """Return a profile's service times, and as JSON values how sure those between sizes are.

    Sizes between measured ones lie on straight lines; "error" is the mean relative error of
    predicting a measured size so from the others: None with fewer than 4 sizes.
    """
    times = ServiceTimes.from_profile(profile, threads=threads)
    sizes = profile.times(threads=threads)["batch_size"].to_list()
    error = profile.fit("piecewise", threads=threads).error if len(sizes) >= 4 else None
    kept = ("origin", "created", "environment")
    facts = {
        "measured_sizes": sizes,
        "threads": threads,
        "between": {"kind": "piecewise", "error": error},
        "tail": profile.note,
        **{name: profile.facts[name] for name in kept if name in profile.facts},
    }
    return times, facts


def _list_missing_sizes(known: Profile | None, largest: int, threads: int) -> list[int]:
    """Return the sizes to measure: none where the largest and the smallest are covered."""
    if known is None:
        return sizes_up_to(largest)
    rows = known.frame.filter(known.frame["threads"] == threads)
    sizes = set(rows["batch_size"].to_list())
    covered = bool(sizes) and min(sizes) == 1 and max(sizes) >= largest
    return [] if covered else [size for size in sizes_up_to(largest) if size not in sizes]


def _merge(known: Profile, fresh: Profile) -> Profile:
    import polars as pl

    frame = pl.concat([known.frame, delay_calls(fresh.frame, known.span)])
    frame = frame.unique(["batch_size", "threads", "state"], keep="last")
    loads = [each.quality.load for each in (known, fresh) if each.quality.load is not None]
    dates = [each.quality.date for each in (known, fresh) if each.quality.date]
    oldest = {"created": min(dates)} if dates else {}
    busiest = {"load": max(loads)} if loads else {}
    return Profile(thin_calls(frame), {**fresh.facts, **oldest, **busiest})
