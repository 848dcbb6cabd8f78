"""The one verdict on a target: met, missed, cannot tell, or invalid, and why.

"met" and "missed" are said only where they are sure in the sense of `workbench.quantiles`: the
percentile's 95 % interval lies on one side of the target. Few requests, or requests that say little
because they waited in one queue, are "cannot tell", with the number that would be enough. Who
shows whether a target is met asks here, and so no two of them differ.
"""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from workbench.errors import TooFewSamples
from workbench.formatting import percent, percentile, span
from workbench.quantiles import (
    INTERVAL_BATCHES,
    SLO,
    has_enough_samples,
    is_met,
    longest_within,
    round_up,
    samples_needed,
)

if TYPE_CHECKING:
    from workbench.run import Run


class Predicted(Protocol):
    """A formula's answer, as far as a verdict needs it: `workbench.queueing.Prediction` is one."""

    @property
    def slo(self) -> SLO | None:
        """The target of the experiment."""

    @property
    def warnings(self) -> tuple[str, ...]:
        """What makes it doubtful."""

    def attainment(self, slo: SLO) -> float:
        """Return the share answered within a target's latency."""


Word: TypeAlias = Literal["met", "missed", "cannot tell", "invalid"]

WORDS: tuple[Word, ...] = ("met", "missed", "cannot tell", "invalid")
"""All verdicts there are, the best first."""

_MOST_NEEDED = 1e9  # requests: nobody runs more to tell a share from the target
_STUDENT = 2.2622  # scipy.stats.t.ppf(0.975, INTERVAL_BATCHES - 1): of a 95 % interval


@dataclass(frozen=True)
class Verdict:
    """What a result says of a target.

    Attributes:
        word: "met", "missed", "cannot tell" or "invalid".
        reason: Why, in a few words or sentences.
        needed: Requests in all from which on one could tell; None elsewhere, or where no number
            is enough.

    >>> print(Verdict("cannot tell", "...", 12000))
    cannot tell, 12,000 requests would
    """

    word: Word
    reason: str = ""
    needed: int | None = None

    def __str__(self) -> str:
        if self.word == "invalid":
            return f"{self.word}: {self.reason}"
        return self.word if self.needed is None else f"{self.word}, {self.needed:,} requests would"


def judge(result: "Run | Predicted", slo: SLO | None = None) -> Verdict | None:
    """Return the verdict on a run or a prediction, by its own target unless one is given.

    None where there is no target, unless the run is invalid. A simulation that is short for its
    load is repeated for its interval, as `Run.interval` does.

    >>> from workbench.run import Run
    >>> def run(count):
    ...     times = {"scheduled": range(count), "finished": [t + 0.05 for t in range(count)]}
    ...     return Run.from_arrays(**times)
    >>> [str(judge(run(count), SLO(latency=0.1))) for count in (100, 1000)]
    ['cannot tell, 200 requests would', 'met']
    """
    from workbench.run import Run

    slo = result.slo if slo is None else slo
    if isinstance(result, Run):
        if flaw := find_flaw(result):
            return Verdict("invalid", flaw)
        return _judge_run(result, slo) if slo and len(result) else None
    return _judge_prediction(result, slo) if slo else None


def _judge_run(run: "Run", slo: SLO) -> Verdict:
    """Return where the percentile's interval lies, or what it would take to have one."""
    limit, q = longest_within(slo.latency), slo.quantile
    within = run.latencies <= limit
    share = float(within.mean())
    try:
        low, high = run.interval(q)
    except TooFewSamples as error:
        if _surely_below(within, q):
            return Verdict("missed", _in_time(share))
        missing = max(run.count_missing(q), samples_needed(q) - len(run))
        return Verdict("cannot tell", str(error), _round_needed(len(run) + missing))
    where = f"{percentile(q)} is {span(low, high)}, at 95 % confidence."
    reason = f"{_in_time(share)} {where}"
    if low > limit or high <= limit:
        return Verdict("missed" if low > limit else "met", reason)
    below, above = map(float, run.cdf([low, high]))
    least = q * (1 - _doubtful_share(run, q))  # of the requests in time, where cold ones are not
    if least < share < q:
        why = "Cold starts may be of the beginning alone, and without them it may be met."
        return Verdict("cannot tell", f"{reason} {why}")
    nearest, reach = (q, above - q) if share >= q else (least, least - below)
    needed = _count_needed(share, nearest, reach, len(run))
    return Verdict("cannot tell", f"{reason} The target lies between.", needed)


def _doubtful_share(run: "Run", q: float) -> float:
    """Return the share of requests that the interval holds with and without: see `Run.interval`."""
    repeated = run.replications_for(q)
    return run.cold_share_of_start if repeated is None else repeated.cold


def _judge_prediction(prediction: Predicted, slo: SLO) -> Verdict:
    """Return what a formula says, unless it says itself that it is doubtful."""
    share = prediction.attainment(slo)
    if prediction.warnings:
        return Verdict("cannot tell", f"{' '.join(prediction.warnings)} Simulate instead.")
    return Verdict("met" if is_met(share, slo.quantile) else "missed", _in_time(share))


def judge_share(share: float, requests: int, quantile: float) -> Verdict:
    """Return the verdict where only the share in time of so many independent requests is known.

    Args:
        share: Answered within the target's latency, from 0 to 1.
        requests: How many there were.
        quantile: The share that the target wants.

    >>> [judge_share(share, 1000, 0.95).word for share in (0.90, 0.952, 0.99)]
    ['missed', 'cannot tell', 'met']
    >>> judge_share(1.0, 150, 0.95).needed, judge_share(0.952, 1000, 0.95).needed
    (200, 61000)
    """
    reason = _in_time(share)
    if not requests:
        return Verdict("cannot tell", "There are no requests.", samples_needed(quantile))
    reach = _STUDENT * math.sqrt(quantile * (1 - quantile) / requests)
    if share < quantile - reach and requests >= INTERVAL_BATCHES:
        return Verdict("missed", reason)
    if not has_enough_samples(quantile, requests):
        few = f"{reason} {requests:,} requests are too few to tell."
        return Verdict("cannot tell", few, samples_needed(quantile))
    if share >= quantile + min(reach, 1 - quantile):
        return Verdict("met", reason)
    needed = _count_needed(share, quantile, reach, requests)
    return Verdict("cannot tell", f"{reason} {requests:,} requests are too few to tell.", needed)


def find_flaw(run: "Run") -> str:
    """Return why a run says nothing of any target, "" where it does."""
    flaws = {"stopped early": not run.complete, "load was off schedule": not run.valid}
    return ", ".join(flaw for flaw, present in flaws.items() if present)


def _surely_below(within: NDArray[np.bool_], quantile: float) -> bool:
    """Return whether the share in time misses the target however the requests hang together."""
    # By batch means: what waits in one queue shows in how much ten parts of the run differ.
    if len(within) < INTERVAL_BATCHES:
        return False
    shares = np.array([part.mean() for part in np.array_split(within, INTERVAL_BATCHES)])
    variance = max(
        float(shares.var(ddof=1)) / INTERVAL_BATCHES, quantile * (1 - quantile) / len(within)
    )
    return bool(within.mean() < quantile - _STUDENT * math.sqrt(variance))


def _count_needed(share: float, quantile: float, reach: float, count: int) -> int | None:
    """Return how many requests make the interval of a share so short that it leaves the target."""
    distance = abs(share - quantile)
    return _round_needed(count * (reach / distance) ** 2) if distance else None


def _round_needed(requests: float) -> int | None:
    return round_up(requests) if requests <= _MOST_NEEDED else None


def _in_time(share: float) -> str:
    return f"{percent(share)} in time."
