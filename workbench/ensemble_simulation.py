"""The simulation of an ensemble: a router chooses who answers each request, in virtual time."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from workbench.deployment.base import Size
from workbench.measuring.error_history import read_past_errors
from workbench.measuring.member_facts import find_facts
from workbench.measuring.outcomes import Outcomes
from workbench.measuring.setup import RoutedSetup
from workbench.provenance import circumstances
from workbench.run import Run
from workbench.scaling.base import ScalingPolicy
from workbench.service_times import ServiceTimes
from workbench.simulator import prepare
from workbench.simulator.places import RoutedSimulation
from workbench.validation import Seed


def simulate_ensemble(
    setup: RoutedSetup,
    profile: Any = None,  # noqa: ANN401 - see find_facts
    *,
    cold_start: Any = None,  # noqa: ANN401 - see Experiment.simulate
    boot: Any = None,  # noqa: ANN401 - the same
    scaling: ScalingPolicy | None = None,
    seed: Seed = 0,
    replications: int | None = None,
    measured: Mapping[Size, ServiceTimes] | None = None,
    outcomes: Mapping[str, Outcomes] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Run:
    """Return what would happen when the trace is sent to an ensemble.

    Arguments and errors are those of `Experiment.simulate`; cold starts, boots and
    scaling are those of every member, `outcomes` is for `find_facts`.
    """
    began = datetime.now(UTC)
    facts = find_facts(setup, profile, measured=measured, outcomes=outcomes, progress=progress)
    trace, ensemble = setup.load, setup.model
    terms: dict[str, Any] = {"cold_start": cold_start, "boot": boot, "scaling": scaling}
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
    record = replace(
        setup.record(scaling),
        profile=profiles,
        past_errors=read_past_errors("simulated"),
        **circumstances(began),
    )
    outcome = simulation.serve()
    return simulation.run(outcome, record, facts.warnings, replications=replications)
