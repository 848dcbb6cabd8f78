"""The engine of `Experiment.run`: the trace is really sent, and what happened is collected."""

import dataclasses
from typing import Any

from workbench.errors import InvalidInput
from workbench.measuring.batch_check import describe_batching
from workbench.measuring.collector import (
    Collector,
    PlacedCollector,
    RunOptions,
    begin_record,
    save_completed,
)
from workbench.measuring.load import make_load
from workbench.measuring.setup import AnySetup, Setup, as_plain, is_routed, record_of, share_here
from workbench.measuring.targets import RunTarget, open_target
from workbench.run import Run
from workbench.scaling.base import ScalingPolicy
from workbench.validation import flag, not_negative


def measure(
    setup: AnySetup,
    on: Any = None,  # noqa: ANN401 - see Experiment.run
    *,
    scaling: ScalingPolicy | None = None,
    budget: float | None = None,
    yes: bool = False,
    **options: Any,  # noqa: ANN401 - of `RunOptions`, None for the default
) -> Run:
    """Return what happened when the trace of an experiment was sent, in real time.

    Arguments and errors are those of `Experiment.run`.
    """
    given = RunOptions(**{name: each for name, each in options.items() if each is not None})
    terms: dict[str, Any] = {"scaling": scaling, "budget": budget, "yes": flag("yes", yes)}
    if budget is not None:
        not_negative("budget", budget, "US dollars")
    if scaling is not None:
        _check_scaled(setup, on)
    here, parts = share_here(setup) if on is None else (setup, 1)
    if is_routed(here):
        from workbench.measuring.routed_run import measure_ensemble

        run = measure_ensemble(here, on, given, budget=budget, yes=terms["yes"])
    else:
        plain = as_plain(here)
        with open_target(plain, on, given, **terms) as target:
            run = _send(plain, target, given)
    if parts > 1:
        said = (
            f"Measured on one of {parts} like servers, this machine, with 1 in {parts} of the "
            "requests, drawn at random; the cost is that of one server."
        )
        run = run.amend(warnings=(*run.warnings, said))
    return run if given.folder is None else save_completed(run, given.folder)


def _check_scaled(setup: AnySetup, on: object) -> None:
    """Require that the size of a deployment can follow a policy."""
    if is_routed(setup):
        raise InvalidInput("An ensemble is not scaled: give each member as many as it needs.")
    if on is None or setup.deployment.by_job:
        raise InvalidInput(
            f"{setup.deployment.label} is not scaled: only a real-time, asynchronous or "
            "serverless endpoint on a cloud is."
        )


def _send(setup: Setup, target: RunTarget, options: RunOptions) -> Run:
    """Send the trace to an open target, and return the run."""
    describe = begin_record(record_of(setup, target.scaling), target.origin)
    kind = Collector if target.places == 1 else PlacedCollector
    collector = kind(setup.trace, options, describe)
    terms: dict[str, Any] = {"places": target.places, "on_begin": target.on_begin}
    load = make_load(setup, target.backend, drain=options.drain, **terms)
    target.send(load, collector.add, options.stopped)
    frame, sent = collector.collect()
    report = target.report(frame, (describe().environment or {})["cores"], collector.calls)
    threads = setup.deployment.session_threads
    batching, caveats = describe_batching(setup.model, load, report.frame, threads)
    found = {**report.facts, "batch_invariance": batching}
    every = (*sent.pop("warnings"), *report.warnings, *caveats)
    record = dataclasses.replace(describe(), **sent, **found, warnings=every)
    return Run(report.frame, record, calls=report.calls)
