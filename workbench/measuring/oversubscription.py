"""Whether instances, or members, on this machine shared its processors: they measure each other."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from workbench.run.columns import has_column, with_optional_columns

if TYPE_CHECKING:
    import polars as pl

_SHARE = 0.1  # of the work: less is within the noise of a shared machine


class Oversubscription(NamedTuple):
    """The most instances that computed at once, and the share of work above the processors.

    An instance of several threads counts as so many.
    """

    instances: int
    share: float


def oversubscription(frame: "pl.DataFrame", cores: int) -> Oversubscription:
    """Return how far the instances of a run computed at once on more than `cores` processors.

    An instance computes for the `model_latency` and `init` seconds before a batch is finished;
    a batch that waited within its instance counts from the end of the one before it.
    """
    import polars as pl

    calls = with_optional_columns(frame).unique("batch")
    calls = calls.drop_nulls("model_latency").drop_nans("finished")
    took = calls["model_latency"].fill_nan(0.0) + calls["init"].fill_nan(0.0)
    calls = calls.with_columns(began=calls["finished"] - took).sort("server", "began")
    free = pl.col("finished").cum_max().shift(1).over("server")  # for what waited in the instance
    calls = calls.with_columns(began=pl.max_horizontal("began", free))
    calls = calls.filter(pl.col("began") < pl.col("finished"))
    threads = np.ones(len(calls), int)
    return _find_overlap(calls["began"].to_numpy(), calls["finished"].to_numpy(), threads, cores)


def _find_overlap(
    began: NDArray[np.float64],
    finished: NDArray[np.float64],
    threads: NDArray[np.int_],
    cores: int,
) -> Oversubscription:
    times = np.concatenate([began, finished])
    order = np.argsort(times, kind="stable")
    at_once = np.cumsum(np.concatenate([threads, -threads])[order])[:-1]
    work = at_once * np.diff(times[order])
    share = float(work[at_once > cores].sum() / (work.sum() or 1.0))
    return Oversubscription(int(at_once.max(initial=0)), share)


def oversubscription_warnings(frame: "pl.DataFrame", cores: int) -> list[str]:
    """Return a warning where instances shared this machine's processors for long, or nothing."""
    if not has_column(frame, "model_latency"):
        return []
    found = oversubscription(frame, cores)
    warning = (
        f"Up to {found.instances} instances computed at once on this machine's {cores} processors, "
        f"{100 * found.share:.0f} % of the work in such times. On AWS each has its own: latencies, "
        "cold starts and cost here are not AWS's."
    )
    return [warning] if found.share > _SHARE else []


def warn_of_shared_cores(calls: "pl.DataFrame", threads: Sequence[int], cores: int) -> list[str]:
    """Return a warning where members in one process shared its machine's processors for long.

    `threads` are those of a session of each place.
    """
    import polars as pl

    answered = calls.unique("batch").filter(pl.col("started") < pl.col("finished"))
    found = _find_overlap(
        answered["started"].to_numpy(),
        answered["finished"].to_numpy(),
        np.array(threads)[answered["place"].to_numpy()],
        cores,
    )
    warning = (
        f"Members kept up to {found.instances} threads busy at once on this machine's {cores} "
        f"processors, {100 * found.share:.0f} % of the work in such times: they and the load "
        "generator slowed each other down, which a simulation does not know. Give them fewer "
        "workers, and leave a core to the generator."
    )
    return [warning] if found.share > _SHARE else []
