"""The engine of `Experiment.run`: the trace is really sent, and what happened is collected."""

import dataclasses
from typing import TYPE_CHECKING, Any

from workbench.cloud.aws import Cloud
from workbench.cloud.deploy import DeployedModel
from workbench.measuring.batch_check import describe_batching
from workbench.measuring.collector import (
    Collector,
    PlacedCollector,
    RunOptions,
    begin_record,
    save_completed,
)
from workbench.measuring.load import Load
from workbench.measuring.setup import Setup
from workbench.measuring.targets import RunTarget, open_target
from workbench.run import Run
from workbench.scaling.base import ScalingPolicy
from workbench.validation import flag

if TYPE_CHECKING:
    from workbench.cloud.fleet_deploy import DeployedFleet


def measure(
    setup: Setup,
    on: "Cloud | DeployedModel | DeployedFleet | None" = None,
    options: RunOptions | None = None,
    *,
    scaling: ScalingPolicy | None = None,
    budget: float | None = None,
    yes: bool = False,
) -> Run:
    """Return what happened when the trace of an experiment was sent, in real time.

    Arguments and errors are those of `Experiment.run`.
    """
    options = options or RunOptions()
    terms: dict[str, Any] = {"scaling": scaling, "budget": budget, "yes": flag("yes", yes)}
    with open_target(setup, on, options, **terms) as target:
        run = _send(setup.here if on is None else setup, target, options)
    return run if options.folder is None else save_completed(run, options.folder)


def _send(setup: Setup, target: RunTarget, options: RunOptions) -> Run:
    """Send the trace to an open target, and return the run."""
    describe = begin_record(setup.record(target.scaling), target.origin)
    kind = Collector if target.places == 1 else PlacedCollector
    collector = kind(setup.trace, options, describe)
    samples = setup.model.samples()
    load = Load(
        trace=setup.trace,
        policy=setup.policy,
        backend=target.backend,
        inputs=samples.inputs,
        targets=samples.targets,
        correct=setup.model.correct,
        drain=options.drain,
        places=target.places,
        on_begin=target.on_begin,
    )
    target.send(load, collector.add, options.stopped)
    frame, sent = collector.collect()
    report = target.report(frame, (describe().environment or {})["cores"], collector.calls)
    batching, caveats = describe_batching(setup.model, load, report.frame, setup.threads)
    found = {**report.facts, "batch_invariance": batching}
    every = (*sent.pop("warnings"), *report.warnings, *caveats)
    record = dataclasses.replace(describe(), **sent, **found, warnings=every)
    return Run(report.frame, record, calls=report.calls)
