"""The calls that an idle report is about: of a trace, or as CloudWatch counted them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from workbench.errors import InvalidInput
from workbench.traffic.replay import from_counts
from workbench.units import HOUR, MINUTE
from workbench.validation import as_tuple, whole_number

if TYPE_CHECKING:
    from datetime import timedelta

    from numpy.typing import NDArray

    from workbench.cloud.aws import Cloud
    from workbench.cloud.deploy import DeployedModel
    from workbench.cloud.monitor import Clock
    from workbench.deployment.base import Deployment
    from workbench.traffic.trace import Trace

DAY_HOURS = 24  # hours
CALL_SECONDS = 0.1
"""What a call is taken to last where nobody knows."""

_COVERED = 0.9  # of the requests, by the hours that a schedule keeps an instance for


@dataclass(frozen=True, eq=False)
class IdleCalls:
    """Calls and what answers them; `trace` is None where nobody called, bytes where unknown."""

    label: str
    trace: Trace | None
    duration: float
    deployment: Deployment
    call_seconds: float
    begins: float
    notes: tuple[str, ...]
    row_bytes: float | None = None
    answer_bytes: float | None = None

    @property
    def arrivals(self) -> NDArray[np.float64]:
        """When each call came, in seconds."""
        return np.zeros(0) if self.trace is None else self.trace.arrivals

    @property
    def data(self) -> tuple[float, float]:
        """Bytes of all requests together and of all answers, 0 where they are unknown."""
        if self.trace is None:
            return 0.0, 0.0
        sent = float(self.trace.content(self.row_bytes).sum())
        return sent, float(self.trace.rows.sum()) * (self.answer_bytes or 0.0)

    @cached_property
    def hour(self) -> NDArray[np.int64]:
        """The hour of the day of each call."""
        return (np.floor(self.begins + self.arrivals / HOUR) % DAY_HOURS).astype(np.int64)


def read_endpoint(
    of: DeployedModel | str,
    cloud: Cloud | None,
    deployment: Deployment | None,
    call_seconds: float | None,
    *,
    since: timedelta,
    clock: Clock,
) -> IdleCalls:
    """Return the calls of an endpoint, as CloudWatch counted them."""
    from workbench.cloud.deploy import DeployedModel
    from workbench.cloud.endpoint_calls import read_calls

    if isinstance(of, DeployedModel):
        cloud, deployment = of.cloud, deployment or of.deployment
    if cloud is None:
        raise InvalidInput(
            f"of must be a Trace, a deployed model, or an endpoint's name with cloud=, got {of!r}."
        )
    found = read_calls(of, cloud, since=since, clock=clock)
    deployment = deployment or found.deployment
    if deployment is None:
        raise InvalidInput(f"{found.name} has several variants: say with deployment= what answers.")
    known = found.counts.any()
    measured = found.call_seconds if known and found.call_seconds > 0 else CALL_SECONDS
    return IdleCalls(
        found.name,
        from_counts(found.counts, period=MINUTE, seed=0) if known else None,
        len(found.counts) * MINUTE,
        deployment,
        measured if call_seconds is None else call_seconds,
        found.begins.hour + found.begins.minute / 60,
        ("CloudWatch counts calls by the minute: gaps are known to a minute.",),
    )


def check_hours(hours: object) -> tuple[int, int]:
    """Return two hours of the day, from and until, known to be such."""
    pair = as_tuple("hours", hours)
    if len(pair) != 2 or pair[0] == pair[1]:
        raise InvalidInput(f"hours must be two hours of the day, such as (8, 18), got {hours!r}.")
    first, last = (whole_number("An hour", each, low=0, high=DAY_HOURS) for each in pair)
    return first % DAY_HOURS, last


def find_hours(calls: IdleCalls) -> tuple[int, int] | None:
    """Return the fewest hours in a row that have most calls; None where no hours stand out."""
    if calls.trace is None or calls.duration < DAY_HOURS * HOUR:
        return None
    each = np.bincount(calls.hour, minlength=DAY_HOURS)
    for length in range(1, DAY_HOURS):
        sums = [np.roll(each, -first)[:length].sum() for first in range(DAY_HOURS)]
        if max(sums) >= _COVERED * each.sum():
            first = int(np.argmax(sums))
            return first, (first + length - 1) % DAY_HOURS + 1
    return None
