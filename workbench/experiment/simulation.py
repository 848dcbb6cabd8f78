"""The simulation of an experiment in virtual time: of one model, or of an ensemble and its router.

What is known beforehand comes first, service times and answers; then a simulation is prepared.
"""

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from workbench.deployment.base import Size
from workbench.errors import InvalidInput
from workbench.measuring.deployed_times import find_part_times, list_warnings
from workbench.measuring.error_history import read_past_errors
from workbench.measuring.member_facts import find_facts, find_known_answers
from workbench.measuring.outcomes import Outcomes
from workbench.measuring.setup import AnySetup, RoutedSetup, Setup, as_plain, is_routed, record_of
from workbench.progress import Progress
from workbench.provenance import circumstances
from workbench.run import Run
from workbench.scaling.base import ScalingPolicy
from workbench.scaling.spot import SpotPool
from workbench.service_times import ServiceTimes
from workbench.simulator import prepare
from workbench.simulator.places import RoutedSimulation
from workbench.validation import Seed

_Prepared = tuple[Any, dict[str, Any], list[str]]
"""What is to be simulated, where its service times come from, and warnings of these."""


def simulate_experiment(
    setup: AnySetup,
    profile: Any = None,  # noqa: ANN401 - see Experiment.simulate
    *,
    scaling: ScalingPolicy | None = None,
    replications: int | None = None,
    **terms: Any,  # noqa: ANN401 - the other arguments of Experiment.simulate
) -> Run:
    """Return what would happen when the trace of an experiment is sent.

    Arguments and errors are those of `Experiment.simulate`. Of an ensemble there may be `outcomes`
    besides, by default those kept: what each member answers to the pool, by its name.
    """
    began = datetime.now(UTC)
    if is_routed(setup):
        prepared = _prepare_ensemble(setup, profile, scaling=scaling, **terms)
    else:
        prepared = _prepare_plain(as_plain(setup), profile, scaling=scaling, **terms)
    simulation, source, warnings = prepared
    outcome = simulation.serve()
    record = replace(
        record_of(setup, scaling),
        profile=source,
        past_errors=read_past_errors("simulated"),
        **circumstances(began),
    )
    run: Run = simulation.run(outcome, record, warnings, replications=replications)
    return run


def _prepare_plain(
    setup: Setup,
    profile: Any,  # noqa: ANN401 - see Experiment.simulate
    *,
    measured: Mapping[Size, ServiceTimes] | None = None,
    progress: Progress | None = None,
    **terms: Any,  # noqa: ANN401 - those of `prepare`
) -> _Prepared:
    found = find_part_times(setup, profile, measured=measured, progress=progress)
    times: Any = [each.times for each in found] if len(found) > 1 else found[0].times
    simulation = prepare(setup.load, setup.policy, setup.deployment, times, **terms)
    answers, unknown = find_known_answers(setup.model, progress=progress)
    warnings = [*list_warnings(found), *unknown]
    return replace(simulation, answers=answers), found[0].facts, warnings


def _prepare_ensemble(
    setup: RoutedSetup,
    profile: Any,  # noqa: ANN401 - see find_facts
    *,
    seed: Seed = 0,
    spot: SpotPool | None = None,
    measured: Mapping[Size, ServiceTimes] | None = None,
    outcomes: Mapping[str, Outcomes] | None = None,
    progress: Progress | None = None,
    **terms: Any,  # noqa: ANN401 - those of `prepare`
) -> _Prepared:
    """Return what is simulated of an ensemble: starts and scaling are those of every member."""
    if spot is not None:
        raise InvalidInput("The members of an ensemble are not simulated on spot: omit it.")
    facts = find_facts(setup, profile, measured=measured, outcomes=outcomes, progress=progress)
    trace, ensemble = setup.load, setup.model
    members = tuple(
        replace(
            prepare(trace, member.policy, member.deployment, facts.times[name].times, **terms),
            answers=facts.outcomes[name],
        )
        for name, member in ensemble.members.items()
    )
    simulation = RoutedSimulation(
        trace=trace,
        members=members,
        places=facts.places(setup),
        router=ensemble.router,
        patience=ensemble.patience,
        seed=seed,
        context_of=ensemble.samples().context_of,
    )
    profiles = {name: each.facts for name, each in facts.times.items()}
    return simulation, profiles, facts.warnings
