"""Deciding again while traffic goes on: every window, and when the rate has changed."""

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from workbench.errors import InvalidInput
from workbench.formatting import Table
from workbench.planner.candidates import CandidateMetrics, Configuration
from workbench.planner.options import Options
from workbench.planner.plans import Plan
from workbench.planner.problem import PlanningProblem
from workbench.planner.reasons import divide
from workbench.planner.search import Clock, plan
from workbench.planner.service_sources import Measured
from workbench.quantiles import SLO, longest_within
from workbench.registry.model import Model
from workbench.traffic.trace import Trace
from workbench.validation import flag, of_kind, positive

if TYPE_CHECKING:
    import polars as pl

_BUCKETS_PER_WINDOW = 60  # into which a window is counted for the watch on its rate
_CUSUM_DRIFT, _CUSUM_THRESHOLD = 0.5, 8.0  # in standard deviations of a bucket's count


class Stretch(NamedTuple):
    """A part of the trace served by one setting, and why it began."""

    start: float
    stop: float
    cause: str
    configuration: Configuration


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Replan:
    """What deciding again comes to, beside one plan for the whole trace.

    Attributes:
        static: the one plan, made with the whole trace in hindsight.
        stretches: who served when.
        figures: of each stretch: as decided again, and of the one plan.
        requests: of each stretch.
        spent: seconds deciding again, all decisions together.
    """

    static: Plan
    stretches: tuple[Stretch, ...]
    figures: tuple[tuple[CandidateMetrics, CandidateMetrics], ...]
    requests: tuple[int, ...]
    spent: float

    @cached_property
    def frame(self) -> "pl.DataFrame":
        """A row a stretch.

        Columns: start, stop, cause ("start", "window", "change"), requests, deployment, policy,
        latency, attainment and dollars as decided again, static_latency, static_attainment and
        static_dollars of the one plan.
        """
        import polars as pl

        columns = zip(self.stretches, self.requests, self.figures, strict=True)
        return pl.DataFrame(
            [
                {
                    "start": stretch.start,
                    "stop": stretch.stop,
                    "cause": stretch.cause,
                    "requests": count,
                    "deployment": stretch.configuration.place,
                    "policy": stretch.configuration.batching_label,
                    "latency": replanned.latency,
                    "attainment": replanned.attainment,
                    "dollars": replanned.dollars,
                    "static_latency": one.latency,
                    "static_attainment": one.attainment,
                    "static_dollars": one.dollars,
                }
                for stretch, count, (replanned, one) in columns
            ]
        )

    @property
    def dollars(self) -> tuple[float, float]:
        """The bill as decided again, and of the one plan."""
        replanned, one = (math.fsum(pair[i].dollars for pair in self.figures) for i in (0, 1))
        return replanned, one

    @property
    def saved_share(self) -> float:
        """The share of the one plan's bill that deciding again saves; negative where it costs."""
        return 1 - divide(*self.dollars)

    @property
    def attainment(self) -> tuple[float, float]:
        """The share of requests within the target as decided again, and of the one plan."""
        shares = np.array([[f.attainment for f in pair] for pair in self.figures])
        replanned, one = np.average(shares, axis=0, weights=self.requests).tolist()
        return replanned, one

    @property
    def misses(self) -> tuple[int, int]:
        """The stretches in which the quantile was above the target, of either."""
        limit = longest_within(self.static.slo.latency)
        replanned, one = (sum(pair[i].latency > limit for pair in self.figures) for i in (0, 1))
        return replanned, one

    @property
    def label(self) -> str:
        """What it comes to, in a sentence."""
        (replanned, one), misses, within = self.dollars, self.misses, self.attainment
        changes = sum(stretch.cause == "change" for stretch in self.stretches)
        return (
            f"{len(self.stretches)} decisions ({changes} on a change of rate): "
            f"${replanned:.4g} against ${one:.4g} of one plan, {100 * self.saved_share:.3g} % "
            f"saved; {misses[0]} and {misses[1]} stretches above the target, "
            f"{100 * within[0]:.4g} and {100 * within[1]:.4g} % of requests within it; "
            f"{self.spent:.2f} s deciding "
            f"(${self.spent * self.static.task.options.planning_price:.2g})"
        )

    def __repr__(self) -> str:
        return f"<Replan {self.label}>"

    def _repr_html_(self) -> str:
        caption = f"Decided again: {self.label}."
        return Table(self.frame.columns, self.frame.rows(), caption).html()


def replan(
    source: Model | Measured,
    trace: Trace,
    slo: SLO,
    options: Options | None = None,
    *,
    window: float = 3600.0,
    watch: bool = True,
    clock: Clock = time.perf_counter,
) -> Replan:
    """Return what deciding again for each window comes to, beside one plan for the whole trace.

    A decision sees the traffic of the window before it; the first sees its own. With `watch`, a
    change of rate within a window brings a decision of its own, from the traffic since the change
    seems to have begun. It is found by a two-sided cumulative sum of the counts in sixtieths of a
    window: E. Page, "Continuous inspection schemes", Biometrika 41 (1954). The inference type is
    that of the one plan, sizes and policy are free.

    Stretches are simulated apart, each with instances of its own: what is still being served when
    a setting changes is not carried over, and what changing it costs is not billed.

    Args:
        source: As for `plan`; a model is profiled once.
        trace: The traffic.
        slo: The target.
        options: What to choose from.
        window: Seconds from one decision to the next.
        watch: Whether to decide on a change of rate too.
        clock: Tells how long deciding took.

    Raises:
        InvalidInput: As for `plan`, or the window is not shorter than the trace.
    """
    window = positive("window", window, "seconds")
    of_kind("trace", trace, Trace)
    if window >= trace.duration:
        raise InvalidInput(
            f"window must be shorter than the trace of {trace.duration:g} s, got {window:g}: "
            "give a shorter one, or call plan()."
        )
    static = plan(source, trace, slo, options, clock=clock)
    options = static.task.options.only(static.best.kind)
    spent: list[float] = []

    def decide(start: float, stop: float) -> Plan:
        part = trace.clip(start, stop)
        decided = plan(static.task.service_on, part, slo, options, clock=clock)
        spent.append(decided.seconds)
        return decided

    stretches = tuple(_stretches(trace, window, decide, watch=flag("watch", watch)))
    one = static.best.configuration
    figures, requests = [], []
    for stretch in stretches:
        problem = replace(static.task, trace=trace.clip(stretch.start, stretch.stop))
        replanned = problem.simulate(stretch.configuration)
        figures.append(
            (replanned, replanned if stretch.configuration == one else problem.simulate(one))
        )
        requests.append(len(problem.trace))
    return Replan(
        static=static,
        stretches=stretches,
        figures=tuple(figures),
        requests=tuple(requests),
        spent=math.fsum(spent),
    )


def _stretches(
    trace: Trace, window: float, decide: Callable[[float, float], Plan], *, watch: bool
) -> Iterator[Stretch]:
    """Yield who serves when, as decisions are made; what is without traffic is left out."""
    turn = math.floor(trace.arrivals[0] / window)  # the first window with traffic
    edge, cause = turn * window, "start"
    seen = edge, min(edge + window, trace.duration)
    decided, changed = None, edge
    while edge < trace.duration:
        if decided is None or _count(trace, *seen):
            decided = decide(*seen)
        end = min((math.floor(edge / window + 1e-9) + 1) * window, trace.duration)
        problem = decided.task
        alarm = (
            _detect_change(trace, (edge, end), problem, window / _BUCKETS_PER_WINDOW)
            if watch
            else None
        )
        stop = alarm[1] if alarm else end
        if _count(trace, edge, stop):
            yield Stretch(edge, stop, cause, decided.best.configuration)
        changed = alarm[0] if alarm else changed
        seen = max(changed, stop - window), stop
        edge, cause = stop, "change" if alarm else "window"


def _count(trace: Trace, start: float, stop: float) -> int:
    first, last = np.searchsorted(trace.arrivals, [start, stop])
    return int(last - first)


def _detect_change(
    trace: Trace, span: tuple[float, float], problem: PlanningProblem, bucket: float
) -> tuple[float, float] | None:
    """Return since when the rate seems to have changed and when that is clear, None if it is not.

    What two standard errors of the rate that was known can explain is no change. The end of the
    span is no alarm: a decision is due there anyway.
    """
    start, stop = span
    edges = start + bucket * np.arange(1 + int((stop - start) / bucket + 1e-9))
    counts = np.diff(np.searchsorted(trace.arrivals, edges))
    mean = problem.arrivals.rate * bucket
    away = (counts - mean) / math.sqrt(mean * float(problem.arrivals.dispersion(bucket)))
    drift = _CUSUM_DRIFT + 2 * math.sqrt(bucket / problem.trace.duration)
    for sign in (1.0, -1.0):
        total, since = 0.0, 0
        for index, step in enumerate(sign * away):
            total += step - drift
            if total <= 0:
                total, since = 0.0, index + 1
            elif total > _CUSUM_THRESHOLD and edges[index + 1] < stop - bucket / 2:
                return float(edges[since]), float(edges[index + 1])
    return None
