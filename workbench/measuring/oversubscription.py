"""Whether instances on this machine shared its processors, and so measured each other."""

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from workbench.run.columns import has_column, with_optional_columns

if TYPE_CHECKING:
    import polars as pl

_SHARE = 0.1  # of the work: less is within the noise of a shared machine


class Oversubscription(NamedTuple):
    """The most instances that computed at once, and the share of work above the processors."""

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
    times = np.concatenate([calls["began"].to_numpy(), calls["finished"].to_numpy()])
    order = np.argsort(times, kind="stable")
    at_once = np.cumsum(np.repeat([1, -1], len(calls))[order])[:-1]
    work = at_once * np.diff(times[order])
    share = float(work[at_once > cores].sum() / (work.sum() or 1.0))
    return Oversubscription(int(at_once.max(initial=0)), share)


def oversubscription_warnings(frame: "pl.DataFrame", cores: int) -> list[str]:
    """Return a warning where instances shared this machine's processors for long, or nothing."""
    if not has_column(frame, "model_latency"):
        return []
    found = oversubscription(frame, cores)
    if found.share <= _SHARE:
        return []
    warning = (
        f"Up to {found.instances} instances computed at once on this machine's {cores} processors, "
        f"{100 * found.share:.0f} % of the work in such times. On AWS each has its own: latencies, "
        "cold starts and cost here are not AWS's."
    )
    return [warning]
