"""The engine of `Experiment.run`: the trace is really sent, and what happened is collected."""

import dataclasses
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from workbench.cloud.aws import Cloud
from workbench.cloud.deploy import DeployedModel
from workbench.measuring.batch_check import describe_batching
from workbench.measuring.collector import (
    Collector,
    PlacedCollector,
    RunOptions,
    save_completed,
)
from workbench.measuring.load import Load
from workbench.measuring.setup import Setup
from workbench.measuring.targets import RunTarget, open_target
from workbench.provenance import environment
from workbench.run import Run
from workbench.run.record import RunRecord
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
    started = time.perf_counter()
    here = environment()
    known = dataclasses.replace(
        setup.record(target.scaling),
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        environment=here,
        origin=target.origin,
    )

    def describe() -> RunRecord:
        return dataclasses.replace(known, seconds=time.perf_counter() - started)

    kind = Collector if target.places == 1 else PlacedCollector
    collector = kind(setup.trace, options, describe)
    load = _load(setup, target, options.drain)
    target.send(load, collector.add, options.stopped)
    frame, sent = collector.collect()
    report = target.report(frame, here["cores"], collector.calls)
    batching, caveats = describe_batching(setup.model, load, report.frame, setup.threads)
    found = {**report.facts, "batch_invariance": batching}
    every = (*sent.pop("warnings"), *report.warnings, *caveats)
    record = dataclasses.replace(describe(), **sent, **found, warnings=every)
    return Run(report.frame, record, calls=report.calls)


def _load(setup: Setup, target: RunTarget, drain: float) -> Load:
    samples = setup.model.samples()
    return Load(
        trace=setup.trace,
        policy=setup.policy,
        backend=target.backend,
        inputs=samples.inputs,
        targets=samples.targets,
        correct=setup.model.correct,
        drain=drain,
        places=target.places,
        on_begin=target.on_begin,
    )
