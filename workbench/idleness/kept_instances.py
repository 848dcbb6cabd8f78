"""What becomes of calls where nothing is kept, an instance, or one in some hours of the day."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from workbench.batching.timer import BatchPolicy
from workbench.idleness.calls import DAY_HOURS, IdleCalls
from workbench.pricing.cost import MONTH, Items, bill_data, total
from workbench.pricing.sheet import weakest
from workbench.run.costs import RunActivity
from workbench.service_times import ServiceTimes
from workbench.simulator import simulate

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from workbench.deployment.base import Deployment
    from workbench.pricing.sheet import PriceSheet
    from workbench.run import Run
    from workbench.traffic.trace import Trace


@dataclass(frozen=True, eq=False)
class KeptOutcome:
    """What becomes of the calls where so much is kept: which are cold, and US dollars a month.

    `weights` are the shares that each call has of the dollars.
    """

    cold: NDArray[np.bool_]
    calls: float
    standing: float
    weights: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class KeptInstances:
    """What can be kept for calls: `choices` by name, and who finds nothing.

    Attributes:
        calls: The calls, and what answers them.
        hours: Hours of the day, from and until, that the schedule keeps an instance for.
        keep_alive: Seconds that an idle instance is kept.
        cold_start: Seconds that a cold call waits.
        prices: What it is priced with.
    """

    calls: IdleCalls
    hours: tuple[int, int] | None
    keep_alive: float
    cold_start: float
    prices: PriceSheet

    @property
    def deployment(self) -> Deployment:
        """What answers the calls."""
        return self.calls.deployment

    @property
    def least(self) -> int:
        """How many are kept where some are: as many as there are, one at least."""
        name = self.deployment.scaled_by or "provisioned"  # Lambda's, which is not scaled here
        return max(1, int(getattr(self.deployment, name)))

    @property
    def mark(self) -> str:
        """How firmly the prices are known: the least firm mark."""
        usage = self.deployment.idle_usage(1.0)
        if self.deployment.on_demand:
            usage = replace(usage, seconds=1.0, enabled_seconds=1.0, calls=1)
        bill = self.deployment.bill(usage, prices=self.prices)
        return weakest(each.mark for each in (*bill, *self._data))

    @property
    def data(self) -> float:
        """US dollars a month for what calls and answers carry, the same whatever is kept."""
        return total(self._data) * MONTH / self.calls.duration

    @cached_property
    def _data(self) -> Items:
        billed = self.calls.data if self.deployment.bills_data else (0.0, 0.0)
        return bill_data(self.prices, *billed)

    @cached_property
    def choices(self) -> list[tuple[str, KeptOutcome]]:
        """Nothing, an instance for good, and one in the hours, if there are such."""
        none, some = self._keep(0), self._keep(self.least)
        choices = [("min = 0", none), (f"min = {self.least}", some)]
        if self.hours:
            first, last = self.hours
            length = (last - first - 1) % DAY_HOURS + 1
            within = (self.calls.hour - first) % DAY_HOURS < length
            calls = none.calls * none.weights[~within].sum()
            calls += some.calls * some.weights[within].sum()
            cold = np.where(within, some.cold, none.cold)
            standing = some.standing * length / DAY_HOURS
            name = f"min = {self.least} from {first} to {last} h"
            choices.append((name, KeptOutcome(cold, calls, standing, none.weights)))
        return choices

    def _keep(self, least: int) -> KeptOutcome:
        """Return what becomes of the calls where so many instances are kept for good."""
        if self.deployment.on_demand:
            return self._keep_on_demand(least)
        idle = self.deployment.with_count(self.least).idle_usage(MONTH)
        standing = total(self.deployment.bill(idle, prices=self.prices))
        cold = self.find_cold(self.keep_alive)
        if least:
            return KeptOutcome(np.zeros_like(cold), 0.0, standing, np.zeros(cold.size))
        at, lasting = self.calls.arrivals, self.calls.call_seconds + self.keep_alive
        until = np.minimum(np.append(at, self.calls.duration)[1:], at + lasting)
        up = np.maximum(until - at, 0.0)  # what each call adds to the time that it is up
        calls = standing * up.sum() / self.calls.duration
        return KeptOutcome(cold, calls, 0.0, up / up.sum() if up.any() else up)

    def _keep_on_demand(self, least: int) -> KeptOutcome:
        deployment = self._provision(least, self.keep_alive)
        count = len(self.calls.arrivals)
        idle = deployment.idle_usage(MONTH)
        standing = total(deployment.bill(idle, prices=self.prices)) if least else 0.0
        weights = np.full(count, 1 / max(1, count))
        if self.calls.trace is None:
            return KeptOutcome(np.zeros(0, bool), 0.0, standing, weights)
        run = self._simulate(deployment, self.calls.trace)
        usage = replace(deployment.usage(RunActivity(run)), enabled_seconds=0.0)
        calls = total(deployment.bill(usage, prices=self.prices)) * MONTH / self.calls.duration
        return KeptOutcome(run.frame["cold"].to_numpy(), calls, standing, weights)

    def _provision(self, least: int, keep_alive: float) -> Deployment:
        settings: dict[str, Any] = {"provisioned": least, "keep_alive": keep_alive}
        return replace(self.deployment, **settings)

    def _simulate(self, deployment: Deployment, trace: Trace) -> Run:
        times = ServiceTimes({1: self.calls.call_seconds})
        single = replace(trace, rows=np.ones(len(trace), np.int32))
        return simulate(single, BatchPolicy(), deployment, times, cold_start=self.cold_start)

    def find_cold(self, keep_alive: float) -> NDArray[np.bool_]:
        """Return which calls find no instance, where none is kept for good."""
        if self.calls.trace is None:
            return np.zeros(0, bool)
        if self.deployment.on_demand:
            run = self._simulate(self._provision(0, keep_alive), self.calls.trace)
            return np.asarray(run.frame["cold"])
        at = self.calls.trace.arrivals
        idle = np.diff(at) - self.calls.call_seconds
        return np.concatenate([[True], idle > keep_alive])
