"""The engine of `Experiment.run` for an ensemble: a router chooses who answers each request."""

import dataclasses

from workbench.cloud.aws import Cloud
from workbench.cloud.ensemble_deploy import DeployedEnsemble
from workbench.measuring.collector import RunOptions, begin_record
from workbench.measuring.deployed_times import find_times
from workbench.measuring.load import make_load
from workbench.measuring.member_facts import MemberFacts
from workbench.measuring.outcomes import find_outcomes
from workbench.measuring.profile_cache import recall_profile
from workbench.measuring.routed_load import RoutedLoad
from workbench.measuring.routed_rows import RoutedCollector
from workbench.measuring.routed_targets import EnsembleTarget, open_ensemble_target
from workbench.measuring.setup import RoutedSetup, list_plain, record_of
from workbench.routing.base import Place
from workbench.routing.calls import describe_events
from workbench.run import Run
from workbench.traffic.trace import Context


def measure_ensemble(
    setup: RoutedSetup,
    on: Cloud | DeployedEnsemble | None,
    options: RunOptions,
    *,
    budget: float | None,
    yes: bool,
) -> Run:
    """Return what happened when the trace was sent to the members, in real time.

    The router knows of each member what its outcomes say of its accuracy. Arguments and errors are
    those of `Experiment.run`.
    """
    places = list_places(setup)
    setup.model.router.router(places)  # it says itself whether it fits them, before all is deployed
    with open_ensemble_target(setup, on, options, budget=budget, yes=yes) as target:
        return _send(setup, places, target, options)


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
    describe = begin_record(record_of(setup), target.origin)
    contexts = setup.model.samples().context_of(setup.trace)
    load = _load(setup, places, target, contexts, options.drain)
    collector = RoutedCollector(setup.trace, options, describe, contexts=contexts)
    target.send(load, collector.take, options.stopped)
    frame, sent = collector.collect()
    record = describe()
    calls = collector.calls
    assert calls is not None  # noqa: S101 - a routed run has some
    report = target.report(frame, calls, (record.environment or {})["cores"])
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
    setup: RoutedSetup,
    places: list[Place],
    target: EnsembleTarget,
    contexts: Context | None,
    drain: float,
) -> RoutedLoad:
    ensemble, alone = setup.model, list_plain(setup)
    pairs = zip(alone, target.backends, strict=True)
    return RoutedLoad(
        loads=tuple(make_load(each, backend, drain=drain) for each, backend in pairs),
        readers=tuple(each.model for each in alone),
        places=tuple(places),
        policy=ensemble.router,
        patience=ensemble.patience,
        contexts=None if contexts is None else contexts.tolist(),
    )
