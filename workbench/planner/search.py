"""From a model or a profile, a trace and a target to a plan."""

import time
from collections.abc import Callable, Iterator

import numpy as np

from workbench.errors import InvalidInput
from workbench.formatting import duration
from workbench.planner.candidates import HYBRID, SCALED
from workbench.planner.coverage import describe_untried
from workbench.planner.hybrids import describe_prices
from workbench.planner.options import Options
from workbench.planner.out_of_sample import hold_out, judge_out_of_sample
from workbench.planner.plans import Plan
from workbench.planner.problem import SERVICE_SAMPLES, PlanningProblem, fit_arrivals
from workbench.planner.reliability import secure_all
from workbench.planner.service_sources import (
    Measured,
    describe_model,
    load_profile,
    resolve_service,
)
from workbench.planner.type_search import search_types
from workbench.progress import Progress
from workbench.quantiles import SLO, has_enough_samples
from workbench.registry.model import Model
from workbench.traffic.map import MAP
from workbench.traffic.redraws import redraw
from workbench.traffic.trace import Trace
from workbench.validation import of_kind, positive

Clock = Callable[[], float]

_MAX_CANDIDATES = 2_000_000  # half a minute's search, at the rate below
_CANDIDATES_PER_SECOND = 70_000  # candidates screened, each with one constant service time


def plan(
    source: Model | Measured,
    trace: Trace,
    slo: SLO,
    options: Options | None = None,
    budget: float | None = None,
    *,
    arrivals: MAP | None = None,
    progress: Progress | None = None,
    clock: Clock = time.perf_counter,
) -> Plan:
    """Return the cheapest way to meet a latency target, or the fastest within a budget, and why.

    Args:
        source: A model (its profile is kept: it is measured once), a profile, service times on
            this machine, or a function from a deployment to its service times.
        trace: The traffic.
        slo: The target; with a budget, its quantile is what is made as low as can be.
        options: What to choose from.
        budget: US dollars per million requests.
        arrivals: The process of the trace where it is known; None: the one that fits it.
        progress: Called with how much of a step is done, of how much: first batch sizes, where the
            profile is measured, then inference types. What it raises ends the planning.
        clock: Tells how long deciding took; no figure of a candidate hangs on it.

    Where nothing meets the target, the plan is not `feasible` and its best misses it least.

    Raises:
        InvalidInput: An argument is not what it must be, a grid is too large, or service times
            cover no batch that is asked for.

    >>> from workbench.traffic.patterns import poisson
    >>> from workbench.service_times import ServiceTimes
    >>> times = ServiceTimes.affine(0.02, 0.004, largest=8)
    >>> traffic = poisson(rate=40, duration=60, seed=1)
    >>> found = plan(times, traffic, SLO(latency=0.3), Options(kinds=["lambda"]))
    >>> found.feasible, found.best.deployment.kind, found.best.engine
    (True, 'lambda', 'simulator')
    """
    options = Options() if options is None else of_kind("options", options, Options, "Options")
    if isinstance(source, Model):
        options = describe_model(source, options)
    _check(trace, slo, budget, options)
    spared = ""
    if isinstance(source, Model):
        options, spared = options.spare(source)
    if arrivals is not None:
        of_kind("arrivals", arrivals, MAP)
    _reject_large_grid(options, slo)
    trace, holdout = hold_out(trace, options.held_out)
    watch = _StepTimer(clock)
    model = source if isinstance(source, Model) else None
    if isinstance(source, Model):
        source = load_profile(source, trace, options, progress)
        watch.lap("profile")
    service, largest = resolve_service(source, trace, options)
    quality = getattr(source, "quality", None)  # of a profile
    busy = quality.caveat if quality is not None else ""
    _, note = options.sizes(largest)
    known = arrivals is not None
    warnings: tuple[str, ...] = ()
    if arrivals is None:
        arrivals, warnings = fit_arrivals(trace, max(options.waits(slo.latency)))
    terms = {"explained": not warnings, "known": known}
    # Where none is tried, nobody asks where days come from, which draws a whole trace again.
    days = redraw(trace, arrivals, **terms, seed=options.seed) if options.unseen_draws else None
    watch.lap("fit")
    problem = PlanningProblem(
        trace=trace,
        arrivals=arrivals,
        slo=slo,
        budget=budget,
        options=options,
        service=service,
        largest=largest,
        days=days,
        holdout=holdout,
    )
    tables = search_types(problem, progress)
    watch.lap("screen and simulate")
    if not any(field.finalists for field in tables):
        reasons = {str(note) for field in tables for note in field.notes if note}
        raise InvalidInput(
            f"No candidate can do this work: {min(reasons, default='none was given')}. "
            "Allow more instances or calls in flight, or larger batches."
        )
    if problem.days is not None or holdout is not None:
        secure_all(problem, tables, progress)
        judge_out_of_sample(problem, tables)
        watch.lap("try on other days")
    notes = (*filter(None, [busy, spared, note]), *warnings, *_collect_warnings(problem))
    notes += tuple(_describe_days(problem, judged=any(each.out_of_sample for each in tables)))
    return Plan(task=problem, fields=tables, spent=watch.seconds, notes=notes, model=model)


class _StepTimer:
    """Seconds by step, as a clock tells them."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._last = clock()
        self.seconds: dict[str, float] = {}

    def lap(self, step: str) -> None:
        now = self._clock()
        self.seconds[step], self._last = now - self._last, now


def _check(trace: Trace, slo: SLO, budget: float | None, options: Options) -> None:
    of_kind("trace", trace, Trace)
    of_kind("slo", slo, SLO, "an SLO")
    if budget is not None:
        positive("budget", budget, "US dollars per million requests")
    if budget is not None and {SCALED, HYBRID} & set(options.kinds):
        raise InvalidInput(
            "Fleets that change size are planned for a latency target, not for a budget: leave out "
            "scaled=True and hybrid=True, or budget=."
        )


def _reject_large_grid(options: Options, slo: SLO) -> None:
    deployments = sum(len(options.places(kind)) for kind in options.kinds)
    sizes, waits = len(options.size_choices), len(options.waits(slo.latency))
    candidates = deployments * sizes * waits
    if candidates > _MAX_CANDIDATES:
        raise InvalidInput(
            f"The grid has {deployments} deployments x {sizes} batch sizes x {waits} waits = "
            f"{candidates:,} candidates, which would take about "
            f"{candidates / _CANDIDATES_PER_SECOND / 60:,.0f} minutes, and {SERVICE_SAMPLES} "
            "times that where service times are distributions: leave some out; "
            f"at most {_MAX_CANDIDATES:,} are searched."
        )


def _collect_unknown_limits(problem: PlanningProblem) -> list[str]:
    """Return which limits and charges of the platforms no figure counts, in sentences."""
    options, notes = problem.options, []
    places = [place for kind in options.kinds for place in options.places(kind)]
    away = [place for place in places if place.needs]
    if away and options.row_bytes is None and not problem.trace.bytes.any():
        notes.append(
            "How many bytes requests carry is not known: neither limits on payloads nor charges "
            "for data in count. Give the trace its bytes, or Options(row_bytes=...)."
        )
    if any(place.bills_data for place in away) and options.answer_bytes is None:
        notes.append(
            "How many bytes answers have is not known: charges for data out do not count. Give "
            "Options(answer_bytes=...)."
        )
    if away and options.model_memory is None:
        notes.append(
            "The memory that the model takes is not known, and not compared with that of the "
            "instances. Give Options(model_memory=...), in bytes."
        )
    elif unknown := [place.label for place in away if place.memory is None]:
        notes.append(f"The memory of {', '.join(unknown)} is not known.")
    if counted := sorted({place.kind for place in away if place.counted_by}):
        notes.append(
            f"How many instances of a type the account may have is not known: up to "
            f"{options.max_count} were taken for {', '.join(counted)}."
        )
    notes += [
        f"{place.kind}: {place.platform.servers:,} calls in flight take a raised quota; of AWS's "
        f"default one may have {place.default_quota:,}."
        for place in {place.kind: place for place in away}.values()
        if place.default_quota is not None and place.platform.servers > place.default_quota
    ]
    return notes


def _collect_warnings(problem: PlanningProblem) -> list[str]:
    options = problem.options
    notes = [*describe_prices(problem), *_collect_unknown_limits(problem)]
    if {SCALED, HYBRID} & set(options.kinds):
        notes.append(describe_untried())
    if any(one.on_demand for kind in options.kinds for one in options.places(kind)):
        notes += _describe_starts(problem)
    if not has_enough_samples(problem.slo.quantile, len(problem.trace)):
        above = (1 - problem.slo.quantile) * len(problem.trace)
        notes.append(
            f"Only {above:.3g} of {len(problem.trace)} requests lie above the target's quantile: "
            "the simulated ones are noise."
        )
    if len(np.unique(problem.trace.rows)) > 1:
        notes.append("Requests differ in rows: the exact model takes each to carry the mean.")
    return notes


def _describe_starts(problem: PlanningProblem) -> Iterator[str]:
    """Yield what starts of on-demand instances are taken to be, if that decides by itself."""
    start, trace = problem.options.cold_start, problem.trace
    late = (1 - problem.slo.quantile) * trace.duration
    if start is None:
        yield "On-demand instances start without delay: give Options(cold_start=...), in seconds."
    elif (first := float(np.median(np.asarray(start)))) > late:
        yield (
            f"The first start takes {duration(first)} of the {duration(trace.duration)} of "
            "traffic, more than may be late: on-demand types can miss the target for that alone "
            "(a longer trace tells how they do once warm)."
        )


def _describe_days(problem: PlanningProblem, *, judged: bool) -> Iterator[str]:
    """Yield what picks were tried and judged on, in sentences."""
    days, held = problem.days, problem.holdout
    if days is not None and not days.source:
        yield (
            "Nothing can be redrawn of a trace whose requests all come at one instant: no pick was "
            "tried on other days."
        )
    elif days is not None:
        yield f"Other days are {days.source}."
    if held is not None:
        yield (
            f"Chosen on the first {duration(problem.trace.duration)} of the trace, which the costs "
            f"are of, and judged out of sample on {held.label}."
        )
    elif judged:
        draws = problem.options.unseen_draws
        yield f"Out of sample: {draws} such days more, which nothing was chosen on."
