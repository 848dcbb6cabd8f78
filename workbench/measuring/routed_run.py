"""The engine of `Experiment.run` for an ensemble: a router chooses who answers each request."""

import dataclasses

from workbench.cloud.aws import Cloud
from workbench.cloud.ensemble_deploy import DeployedEnsemble
from workbench.errors import InvalidInput
from workbench.measuring.collector import RunOptions, begin_record, save_completed
from workbench.measuring.deployed_times import find_times
from workbench.measuring.load import Load
from workbench.measuring.member_facts import MemberFacts
from workbench.measuring.outcomes import find_outcomes
from workbench.measuring.profile_cache import recall_profile
from workbench.measuring.routed_load import RoutedLoad
from workbench.measuring.routed_rows import RoutedCollector
from workbench.measuring.routed_targets import EnsembleTarget, open_ensemble_target
from workbench.measuring.setup import RoutedSetup
from workbench.measuring.targets import one_of_several
from workbench.routing.base import Place
from workbench.routing.calls import describe_events
from workbench.run import Run
from workbench.scaling.base import ScalingPolicy
from workbench.validation import flag


def measure_ensemble(
    setup: RoutedSetup,
    on: Cloud | DeployedEnsemble | None = None,
    options: RunOptions | None = None,
    *,
    scaling: ScalingPolicy | None = None,
    budget: float | None = None,
    yes: bool = False,
) -> Run:
    """Return what happened when the trace was sent to the members, in real time.

    The router knows of each member what its outcomes say of its accuracy. Arguments and errors are
    those of `Experiment.run`.
    """
    options = options or RunOptions()
    if scaling is not None:
        raise InvalidInput("An ensemble is not scaled: give each member as many as it needs.")
    here = setup.here if on is None else setup
    places = list_places(here)
    here.model.router.router(places)  # it says itself whether it fits them, before all is deployed
    with open_ensemble_target(here, on, options, budget=budget, yes=flag("yes", yes)) as target:
        run = _send(here, places, target, options)
    if here is not setup:
        run = run.amend(warnings=(*run.warnings, one_of_several(setup.deployment.part_here()[1])))
    return run if options.folder is None else save_completed(run, options.folder)


def list_places(setup: RoutedSetup) -> list[Place]:
    """Return what a router knows of the members before a live run.

    That is their accuracy, by kind, and where a profile is kept their service times and cost:
    nothing is measured for it.
    """
    ensemble = setup.model
    profiles = {
        name: recall_profile(member.model, threads=member.deployment.session_threads)
        for name, member in ensemble.members.items()
    }
    times = {
        name: find_times(setup.alone(name), profile)
        for name, profile in profiles.items()
        if profile is not None
    }
    outcomes = {name: find_outcomes(member.model) for name, member in ensemble.members.items()}
    return list(MemberFacts(times, outcomes).places(setup))


def _send(
    setup: RoutedSetup, places: list[Place], target: EnsembleTarget, options: RunOptions
) -> Run:
    """Send the trace to an open target, and return the run."""
    describe = begin_record(setup.record(), target.origin)
    collector = RoutedCollector(setup.trace, options, describe, contexts=setup.context)
    target.send(_load(setup, places, target, options.drain), collector.take, options.stopped)
    frame, sent = collector.collect()
    record = describe()
    report = target.report(frame, collector.calls, (record.environment or {})["cores"])
    members = tuple(
        dataclasses.replace(member, **facts)
        for member, facts in zip(record.members or (), report.members, strict=True)
    )
    every = (
        *sent.pop("warnings"),
        *describe_events(collector.events, setup.model.names),
        *report.warnings,
        *(  # whose answers depend on the batch
            f"{name}: {member.model.traits.batch_caveat}"
            for name, member in setup.model.members.items()
            if member.policy.max_size > 1 and member.model.traits.batch_caveat
        ),
    )
    record = dataclasses.replace(
        describe(), **sent, **report.facts, members=members, warnings=every
    )
    return Run(report.frame, record, calls=report.calls)


def _load(
    setup: RoutedSetup, places: list[Place], target: EnsembleTarget, drain: float
) -> RoutedLoad:
    ensemble, members = setup.model, setup.model.members.values()
    return RoutedLoad(
        loads=tuple(
            Load(
                trace=setup.trace,
                policy=member.policy,
                backend=backend,
                inputs=pool.inputs,
                targets=pool.targets,
                correct=member.model.correct,
                drain=drain,
            )
            for member, backend in zip(members, target.backends, strict=True)
            for pool in [member.model.samples()]
        ),
        readers=tuple(member.model for member in members),
        places=tuple(places),
        policy=ensemble.router,
        patience=ensemble.patience,
        contexts=None if setup.context is None else setup.context.tolist(),
    )
