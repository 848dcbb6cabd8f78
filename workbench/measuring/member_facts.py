"""What is known of an ensemble's members before any request: service times, answers, costs."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from workbench.deployment.base import Deployment, Size
from workbench.deployment.platforms import OnDemandPlatform
from workbench.errors import InvalidInput, WorkbenchError
from workbench.measuring.deployed_times import DeployedTimes, find_times
from workbench.measuring.outcomes import Outcomes, find_outcomes
from workbench.measuring.setup import RoutedSetup
from workbench.pricing.cost import total
from workbench.pricing.sheet import PriceSheet
from workbench.pricing.usage import Usage, round_up_ms
from workbench.progress import Progress
from workbench.registry.model import Model
from workbench.routing.base import Place
from workbench.service_times import ServiceTimes
from workbench.traffic.trace import Trace

if TYPE_CHECKING:
    from workbench.measuring.profile import Profile


@dataclass(frozen=True)
class MemberFacts:
    """What is known of members, by name: times on their deployments, answers to their pools."""

    times: Mapping[str, DeployedTimes]
    outcomes: Mapping[str, Outcomes]

    @property
    def warnings(self) -> list[str]:
        """Warnings about the times of each member, under its name."""
        return [
            f"{name}: {warning}" for name, each in self.times.items() for warning in each.warnings
        ]

    def list_answers(self, trace: Trace) -> list[list[tuple[Any, float, float]]]:
        """Return label, confidence and the share of right rows: by member, then by request."""
        return [each.of_requests(trace).to_list() for each in self.outcomes.values()]

    def places(self, setup: RoutedSetup, prices: PriceSheet | None = None) -> tuple[Place, ...]:
        """Return what a router knows of the members: accuracy by kind, times, cost."""
        members = setup.model.members
        known = {name: each for name, each in self.outcomes.items() if each.has_targets}
        times = {name: each.times for name, each in self.times.items()}
        rates = {
            name: call_cost(members[name].deployment, float(each.means[1]), prices)
            for name, each in times.items()
            if math.isfinite(each.means[1])  # not where times are of larger batches alone
        }
        kinds = {
            name: {kind: found.share for kind, found in each.accuracy_by_context.items()}
            for name, each in known.items()
        }
        return tuple(
            setup.model.places(
                accuracy={name: each.accuracy.share for name, each in known.items()},
                accuracy_by_context=kinds,
                times=times,
                costs=rates,
            )
        )


def find_facts(
    setup: RoutedSetup,
    profile: "Mapping[str, Profile | ServiceTimes] | None" = None,
    *,
    measured: Mapping[Size, ServiceTimes] | None = None,
    outcomes: Mapping[str, Outcomes] | None = None,
    progress: Progress | None = None,
) -> MemberFacts:
    """Return what is known of the members; what is missing is measured first.

    Args:
        setup: The experiment.
        profile: Service times on this machine by member; by default the saved profile of each.
        measured: Times by memory in MB or instance type, as for `find_times`.
        outcomes: Answers to the pool by member; by default the saved ones of each.
        progress: Notified of the measurement of a profile or of answers.

    Raises:
        InvalidInput: The profile is for no member, or of another kind.
    """
    members = setup.model.members
    given: Mapping[str, Any] = {} if profile is None else profile
    if not isinstance(given, Mapping) or not set(given) <= set(members):
        raise InvalidInput(
            f"An ensemble takes profiles by member, of {', '.join(members)}; got {profile!r}."
        )
    times = {
        name: find_times(setup.alone(name), given.get(name), measured=measured, progress=progress)
        for name in members
    }
    return MemberFacts(
        times,
        outcomes
        or {name: find_outcomes(each.model, progress=progress) for name, each in members.items()},
    )


def find_known_answers(
    model: Model, *, progress: Progress | None = None
) -> tuple[Outcomes | None, list[str]]:
    """Return what a classifier answers to its pool, and a warning where that cannot be found out.

    It is None where nobody knows what is right. `progress` is notified of rows answered.
    """
    if model.traits.kind != "classification" or model.traits.accuracy is None:
        return None, []
    try:
        return find_outcomes(model, progress=progress), []
    except WorkbenchError as error:
        return None, [f"Which requests are answered right is not known: {error}"]


def call_cost(deployment: Deployment, seconds: float, prices: PriceSheet | None = None) -> float:
    """Return the US dollars of a call of so many seconds, on a server that is always busy.

    >>> from workbench.deployment import Local
    >>> call_cost(Local(workers=2, hourly_price=7.2), 1.0)
    0.001
    """
    platform = deployment.platform
    if isinstance(platform, OnDemandPlatform):
        usage = Usage(seconds=float(round_up_ms([seconds])[0]) / 1000, calls=1)
    else:
        usage = deployment.idle_usage(seconds / platform.servers)
    return total(deployment.bill(usage, prices=prices))
