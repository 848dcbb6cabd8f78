"""The largest rate that one instance serves within a target: screened first, then simulated."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from workbench.batching.timer import BatchPolicy
from workbench.errors import InvalidInput
from workbench.formatting import duration
from workbench.planner.candidates import Configuration, latencies_of
from workbench.planner.fleets import (
    FleetMetrics,
    FleetOption,
    estimate_latency,
    make_fleet_option,
    screen_fleets,
)
from workbench.quantiles import SLO, select_quantile
from workbench.service_times import Floats
from workbench.traffic.map import poisson_process

if TYPE_CHECKING:
    from workbench.deployment.base import Deployment
    from workbench.planner.candidates import CandidateTable
    from workbench.planner.problem import PlanningProblem

_LEAST_SHARE = 0.02  # of the rate that would keep an instance busy, where screening begins
_RATES = 8  # that are screened, coarsely and then between two of them
_POLICIES = 6  # that are simulated
_STEP, _PRECISION = 1.1, 1.005  # by which a rate is raised at first, and within which it is found
_TINY = 1e-3  # of the rate that would keep an instance busy: no capacity is below that


class RateFound(NamedTuple):
    """A rate at which a target is met, with the batches that do it, as simulated."""

    rate: float
    policy: BatchPolicy
    latency: float
    """Seconds at the target's quantile."""
    load: float
    """Share of its seconds that the instance is busy."""


@dataclass(frozen=True, kw_only=True)
class RateSearch:
    """One instance under traffic that comes at any rate.

    Attributes:
        problem: Service times, target and choices; its trace is what comes at `rate` 1, or, if
            `thinned`, at most.
        deployment: The instance, a fleet of one.
        most_load: The share of its seconds that it may be busy.
        thinned: Whether slower traffic is a random part of the trace, not a slower trace.
    """

    problem: PlanningProblem
    deployment: Deployment
    most_load: float
    thinned: bool

    def find_best(self) -> RateFound:
        """Return the largest rate, and the batches that reach it.

        Raises:
            InvalidInput: The target is never met, or is met with the whole of a trace.
        """
        best: RateFound | None = None
        ranked = self._rank_policies()
        if (self.seconds <= self.problem.slo.latency).any():
            mark, grid = find_mark_policy(self.seconds, self.problem.slo), self.problem.screening
            sizes = [size for size in grid.sizes if size <= mark.max_size]
            waits = [wait for wait in grid.waits if wait <= mark.max_wait]
            below = _batches(max(sizes, default=1), max(waits, default=0.0))
            ranked.append((below, self.full_rate / 2))
        for policy, guess in ranked:
            best = self._raise_rate(policy, guess, above=best.rate if best else 0.0) or best
        return self._require(best and self._climb(best))

    def _climb(self, best: RateFound) -> RateFound:
        """Return the best that is reached by going to neighbours in size and wait."""
        tried, grid = {best.policy}, self.problem.screening
        while True:
            sizes = _near(np.array(grid.sizes), best.policy.max_size)
            waits = _near(np.array(grid.waits), best.policy.max_wait)
            around = [_batches(size, wait) for size in sizes for wait in waits]
            near = [each for each in around if each not in tried]
            tried.update(near)
            found = best
            for policy in near:
                above = found.rate * _PRECISION
                found = self._raise_rate(policy, above, above=above) or found
            if found is best:
                return best
            best = found

    def find_with(self, policy: BatchPolicy) -> RateFound:
        """Return the largest rate with these batches; what it raises is as for `find_best`."""
        return self._require(self._raise_rate(policy, self.full_rate / 2, above=0.0))

    @property
    def key(self) -> tuple[Any, ...]:
        """What the result hangs on, besides target, choices and traffic: not the price."""
        times = self.problem.service_on(self.deployment)
        return type(self.deployment), self._fleet.workers, times.digest

    @cached_property
    def seconds(self) -> Floats:
        """Seconds of a batch of 1, 2, ... requests at the target's quantile."""
        times: Floats = self.problem.screening.seconds[0]
        return np.array([select_quantile(row, self.problem.slo.quantile) for row in times])

    @cached_property
    def full_rate(self) -> float:
        """Requests a second that keep the instance busy with batches of the best size."""
        means = self.problem.screening.seconds[0].mean(axis=1)
        sizes = np.array(self.problem.screening.sizes)
        return float(self._fleet.workers * (sizes / means[sizes - 1]).max())

    @cached_property
    def _service_scv(self) -> float:
        """Squared coefficient of variation of service times, that of the size where it is most."""
        times = self.problem.screening.seconds[0]
        return float((times.var(axis=1) / times.mean(axis=1) ** 2).max())

    @cached_property
    def _fleet(self) -> FleetOption:
        return make_fleet_option(self.problem, self.deployment)

    def _require(self, found: RateFound | None) -> RateFound:
        if found is None:
            raise InvalidInput(
                describe_never(self.deployment.label, self.seconds, self.problem.slo)
            )
        if self.thinned and found.rate >= self.problem.trace.rate:
            raise InvalidInput(
                f"One {self.deployment.label} serves all {found.rate:.4g} requests a second of the "
                "trace within the target: give a faster trace, trace.scale(...), or none."
            )
        return found

    # --------------------------------------------------------------------- screening

    def _rank_policies(self) -> list[tuple[BatchPolicy, float]]:
        """Return the policies that promise most, with a guess at the largest rate of each."""
        coarse = self.full_rate * np.geomspace(_LEAST_SHARE, self.most_load, _RATES)
        table, load = self._screen_at(float(coarse[0]))
        least = np.where(load.predicted <= self.problem.limit, coarse[0], 0.0)  # queue or not
        guesses = np.maximum(least, self._screen(coarse))
        best = int(np.searchsorted(coarse, guesses.max(), side="right"))
        fine = np.linspace(coarse[best - 1], coarse[min(best, _RATES - 1)], _RATES + 2)[1:-1]
        guesses = np.maximum(guesses, self._screen(fine))
        order = np.argsort(-guesses, kind="stable")[:_POLICIES].tolist()
        return [
            (table.configuration(row).policy, float(guesses[row])) for row in order if guesses[row]
        ]

    def _screen(self, rates: Floats) -> Floats:
        """Return for each policy the largest of these rates that promises to meet the target.

        It is 0 where none does; of policies with the same rate the faster get a little more. The
        gaps between batches of n requests vary as those of n arrivals do: 1/n of the variability.
        """
        guesses, limit = np.zeros(1), self.problem.limit
        for rate in rates.tolist():
            _, load = self._screen_at(rate)
            regular = (load.calls + self._service_scv) / 2
            expected = estimate_latency(load, self._fleet.workers, limit, regular)
            spare = (1 - expected / limit).clip(0) / 100
            guesses = np.where(expected <= limit, rate * (1 + spare), guesses)
        return guesses

    def _screen_at(self, rate: float) -> tuple[CandidateTable, FleetMetrics]:
        problem = replace(self.problem, arrivals=poisson_process(rate))
        table, loads = screen_fleets(problem, self.deployment.kind, [self._fleet])
        return table, loads[0]

    # -------------------------------------------------------------------- simulation

    def _raise_rate(self, policy: BatchPolicy, guess: float, *, above: float) -> RateFound | None:
        """Return the largest rate of a policy from a guess at it; None where it is below another's.

        Steps double until the rate lies between one that is met and one that is not, and halve then
        until the two are near.
        """
        floor = max(above, _TINY * self.full_rate)
        most = self.problem.trace.rate if self.thinned else self.full_rate
        low = high = min(max(guess, floor), most)
        found, step = self._try(policy, low), _STEP
        while found is not None and low == high:
            if low >= most:
                return found
            high = min(low * step, most)
            if again := self._try(policy, high):
                # steps grow, as a guess may be far off
                low, found, step = high, again, step**2
        while found is None:
            if high <= floor:
                return None
            low = max(high / step, floor)
            found = self._try(policy, low)
            if found is None:
                high, step = low, step**2
        while high > _PRECISION * low:
            # the middle of rates is one by ratio
            rate = math.sqrt(low * high)
            again = self._try(policy, rate)
            low, high, found = (rate, high, again) if again else (low, rate, found)
        return found

    def _try(self, policy: BatchPolicy, rate: float) -> RateFound | None:
        """Return what a rate comes to, None where the target is missed or the load too high."""
        trace = self.problem.trace
        if self.thinned:
            trace = trace.thin(rate / trace.rate, seed=self.problem.options.seed)
        else:
            trace = trace.scale(rate / trace.rate)
        problem = replace(self.problem, trace=trace)
        outcome = problem.serve(Configuration(self.deployment, policy))
        late, broken = latencies_of(outcome, self.deployment, problem.content)
        latency = select_quantile(late, self.problem.slo.quantile)
        load = outcome.busy_seconds / (self._fleet.workers * problem.trace.duration)
        if broken or latency > self.problem.limit or load > self.most_load:
            return None
        return RateFound(rate, policy, latency, load)


def find_mark_policy(seconds: Floats, slo: SLO) -> BatchPolicy:
    """Return the batches of MArk's rule, from the seconds of a batch of 1, 2, ... requests.

    The size of the largest throughput among those that are served within the target, batches of
    one unless more are faster a request; the wait is what service leaves of the target.

    Source: C. Zhang et al., "MArk", ATC 2019.

    Raises:
        InvalidInput: No size is served within the target.

    >>> import numpy as np
    >>> find_mark_policy(np.array([0.05, 0.06, 0.2]), SLO(latency=0.1)).label
    'up to 2, 40 ms'
    """
    able = np.flatnonzero(seconds <= slo.latency)
    if not len(able):
        raise InvalidInput(describe_never("instance", seconds, slo))
    size = int(able[((able + 1) / seconds[able]).argmax()]) + 1
    wait = slo.latency - float(seconds[size - 1]) if size > 1 else 0.0
    return BatchPolicy(max_size=size, max_wait=wait)


def describe_never(label: str, seconds: Floats, slo: SLO) -> str:
    """Return in words that one instance never meets a target."""
    return (
        f"One {label} never meets {slo.label}: a request alone takes "
        f"{duration(float(seconds[0]))}. Give a longer target or a faster type."
    )


def _batches(size: float, wait: float) -> BatchPolicy:
    """Return batches; those that never join requests are of one and do not wait."""
    joins = size > 1 and wait > 0
    return BatchPolicy(max_size=int(size) if joins else 1, max_wait=float(wait) if joins else 0.0)


def _near(values: NDArray[Any], value: float) -> NDArray[Any]:
    """Return those of ordered values that are next to one, itself included."""
    place = int(np.searchsorted(values, value))
    return values[max(place - 1, 0) : place + 2]
