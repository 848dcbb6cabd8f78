"""From a model or a profile, a trace and a target to a plan."""

import time
from collections.abc import Callable, Iterator
from functools import partial

import numpy as np

from workbench.deployment import BatchTransform, Lambda, Serverless
from workbench.errors import InvalidInput, TooFewSamples
from workbench.measuring.profile import Profile
from workbench.measuring.profile_cache import kept_profile
from workbench.planner.candidates import Field
from workbench.planner.fleets import search_fleets, search_jobs
from workbench.planner.on_demand import search_on_demand
from workbench.planner.options import MAX_SIZES, Options
from workbench.planner.plans import Plan
from workbench.planner.problem import SAMPLES, ServiceOn, Task
from workbench.registry.api import Model
from workbench.run import SLO
from workbench.service_times import Profiled, ServiceTimes
from workbench.sizing import service_on
from workbench.traffic.map import MAP, poisson_process
from workbench.traffic.map_fitting import fit
from workbench.traffic.trace import Trace
from workbench.validation import of_kind, positive

Clock = Callable[[], float]
Progress = Callable[[int, int], None]
Measured = Profiled | ServiceTimes | ServiceOn
"""A profile, service times on this machine, or a function from deployment to service times."""

_MOST = 2_000_000
_PER_SECOND = 70_000  # candidates screened, each with one constant service time
_SHORTEST = 20  # windows that a trace must hold for burstiness to be told


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
    >>> times = ServiceTimes.affine(0.02, 0.004, largest=8)
    >>> traffic = poisson(rate=40, duration=60, seed=1)
    >>> found = plan(times, traffic, SLO(latency=0.3), Options(kinds=["lambda"]))
    >>> found.feasible, found.best.deployment.kind, found.best.engine
    (True, 'lambda', 'simulator')
    """
    options = Options() if options is None else of_kind("options", options, Options, "Options")
    _check(trace, slo, budget)
    if arrivals is not None:
        of_kind("arrivals", arrivals, MAP)
    _refuse_too_large(options, slo)
    watch = _Watch(clock)
    model = source if isinstance(source, Model) else None
    if isinstance(source, Model):
        source = _profiled(source, trace, options, progress)
        watch.lap("profile")
    service, largest = _service(source, trace, options)
    _, note = options.sizes(largest)
    if arrivals is None:
        arrivals, doubts = fitted_arrivals(trace, max(options.waits(slo.latency)))
    else:
        doubts = ()
    watch.lap("fit")
    task = Task(
        trace=trace,
        arrivals=arrivals,
        slo=slo,
        budget=budget,
        options=options,
        service_on=service,
        largest=largest,
    )
    fields = tuple(_searched(task, progress))
    watch.lap("screen and simulate")
    if not any(field.finalists for field in fields):
        raise InvalidInput(_overloaded(fields))
    notes = (*([note] if note else []), *doubts, *_untold(task))
    return Plan(task=task, fields=fields, spent=watch.laps, notes=notes, model=model)


class _Watch:
    """Seconds by step, as a clock tells them."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._last = clock()
        self.laps: dict[str, float] = {}

    def lap(self, step: str) -> None:
        now = self._clock()
        self.laps[step], self._last = now - self._last, now


def _check(trace: Trace, slo: SLO, budget: float | None) -> None:
    of_kind("trace", trace, Trace)
    of_kind("slo", slo, SLO, "an SLO")
    if budget is not None:
        positive("budget", budget, "US dollars per million requests")


def _refuse_too_large(options: Options, slo: SLO) -> None:
    places = sum(len(options.places(kind)) for kind in options.kinds)
    sizes, waits = len(options.max_sizes or MAX_SIZES), len(options.waits(slo.latency))
    candidates = places * sizes * waits
    if candidates > _MOST:
        raise InvalidInput(
            f"The grid has {places} deployments x {sizes} batch sizes x {waits} waits = "
            f"{candidates:,} candidates, which would take about "
            f"{candidates / _PER_SECOND / 60:,.0f} minutes, and {SAMPLES} times that where service "
            f"times are laws: leave some out; at most {_MOST:,} are searched."
        )


def _profiled(model: Model, trace: Trace, options: Options, progress: Progress | None) -> Profile:
    sizes, _ = options.sizes(max(options.max_sizes or (32,)))
    largest = max(sizes) * int(trace.rows.max())
    return kept_profile(model, largest=largest, threads=options.threads, progress=progress)


def _service(source: Measured, trace: Trace, options: Options) -> tuple[ServiceOn, int]:
    """Return service times by deployment, and the most requests in a batch that they cover."""
    on = _placed(source, options)
    least, most = int(trace.rows.min()), int(trace.rows.max())
    covered = min(
        _covered(on(place), least) for kind in options.kinds for place in options.places(kind)
    )
    if covered < most:
        raise InvalidInput(
            f"Service times cover batches of up to {covered} rows without a gap from {least}, and "
            f"requests carry up to {most}: profile those sizes too; nothing is extrapolated."
        )
    return on, covered // most


def _placed(source: Measured, options: Options) -> ServiceOn:
    if isinstance(source, ServiceTimes):
        times = source
    elif callable(source):
        return source
    elif hasattr(source, "times"):
        times = ServiceTimes.from_profile(source, threads=options.threads)
    else:
        raise InvalidInput(
            f"plan needs a model, a profile, ServiceTimes or a function, got {source!r}."
        )
    return partial(service_on, times, measured=options.measured, threads=options.threads)


def _covered(times: ServiceTimes, least: int) -> int:
    """Return the largest size up to which, from `least` on, every size is covered."""
    sizes = np.array(times.sizes)
    sizes = sizes[sizes >= least]
    run = np.flatnonzero(sizes == np.arange(least, least + len(sizes)))
    return int(sizes[run[-1]]) if len(run) else 0


def fitted_arrivals(trace: Trace, window: float) -> tuple[MAP, tuple[str, ...]]:
    """Return the process that fits a trace, for waits of up to `window`, and what it misses."""
    longest = 0.999 * trace.duration / _SHORTEST
    try:
        fitted = fit(trace, window=min(window, longest) or None)
    except TooFewSamples:
        doubt = "Too few requests to tell their burstiness: they were taken to be independent."
        return poisson_process(trace.rate), (doubt,)
    return fitted.map, fitted.warnings


def _searched(task: Task, progress: Progress | None) -> Iterator[Field]:
    """Yield the candidates of each inference type, and tell how many types are done."""
    kinds = task.options.kinds
    for done, kind in enumerate(kinds):
        if progress is not None:
            progress(done, len(kinds))
        yield _search(task, kind)
    if progress is not None:
        progress(len(kinds), len(kinds))


def _search(task: Task, kind: str) -> Field:
    if kind in {Serverless.kind, Lambda.kind}:
        return search_on_demand(task, kind)
    return search_jobs(task) if kind == BatchTransform.kind else search_fleets(task, kind)


def _overloaded(fields: tuple[Field, ...]) -> str:
    notes = {str(note) for field in fields for note in field.notes if note}
    return (
        f"No candidate can do this work: {min(notes, default='none was given')}. "
        "Allow more instances or calls in flight, or larger batches."
    )


def _untold(task: Task) -> list[str]:
    notes = []
    options = task.options
    if options.cold_start is None and {Serverless.kind, Lambda.kind} & set(options.kinds):
        notes.append(
            "On-demand instances start in no time: give Options(cold_start=...), in seconds."
        )
    above = (1 - task.slo.quantile) * len(task.trace)
    if above < 10:
        notes.append(
            f"Only {above:.3g} of {len(task.trace)} requests lie above the target's quantile: "
            "the simulated ones are noise."
        )
    if len(np.unique(task.trace.rows)) > 1:
        notes.append("Requests differ in rows: the exact model takes each to carry the mean.")
    return notes
