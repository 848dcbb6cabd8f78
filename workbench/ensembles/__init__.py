"""Several models under names, each where it runs, and the router that chooses among them.

A place is the name of a member whose answer a request got. The members answer the same questions:
rows of one shape, a pool of as many samples with the same right answers, one task.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from workbench.batching.timer import BatchPolicy, Policy
from workbench.deployment.base import Deployment
from workbench.deployment.places import RoutedDeployment
from workbench.errors import InvalidInput
from workbench.registry.model import Model, Samples
from workbench.routing.base import Place, RoutingPolicy
from workbench.routing.simple import RoundRobin
from workbench.run.record import MemberRecord
from workbench.service_times import ServiceTimes
from workbench.validation import as_tuple, keep, not_negative, of_kind, positive

if TYPE_CHECKING:
    from workbench.registry.onnx import Tensor

MAX_MEMBERS = 255
"""The most members: a run's column `tried` counts them in a byte."""


@dataclass(frozen=True)
class Member:
    """A model of an ensemble, where it runs, and how its requests become batches.

    Raises:
        InvalidInput: A part is not of the kind it must be, or answers by jobs.
    """

    model: Model
    deployment: Deployment
    policy: Policy = field(default_factory=BatchPolicy)

    def __post_init__(self) -> None:
        of_kind("model", self.model, Model)
        of_kind("deployment", self.deployment, Deployment)
        self.model.check_policy(self.policy)
        if self.deployment.by_job or len(self.deployment.simple_parts) > 1:
            raise InvalidInput(
                f"{self.deployment.label} answers no single calls, so that no request can be "
                "routed there: choose another deployment for this member."
            )


@dataclass(frozen=True)
class Ensemble:
    """Members by name, the policy that chooses among them, and how long it waits for an answer.

    Args:
        members: `Member` values, by names of one's own.
        router: Chooses the members that each request is asked of, and the answer that is given.
        patience: Seconds after which a member that has not answered is given up.
        network_latency: Seconds from a client to a member and back, by the member's name: one
            number, or one for each client. 0 where it is not given.

    Raises:
        InvalidInput: There are no members, or they do not answer the same questions.

    >>> Ensemble({})
    Traceback (most recent call last):
    workbench.errors.InvalidInput: An ensemble needs 1 to 255 members, got 0.
    """

    members: Mapping[str, Member]
    router: RoutingPolicy = field(default_factory=RoundRobin)
    patience: float = math.inf
    network_latency: Mapping[str, tuple[float, ...]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        members = dict(of_kind("members", self.members, Mapping, "members by name"))
        if not 0 < len(members) <= MAX_MEMBERS:
            raise InvalidInput(f"An ensemble needs 1 to {MAX_MEMBERS} members, got {len(members)}.")
        for name, member in members.items():
            if not isinstance(name, str) or not name:
                raise InvalidInput(f"A member's name must be a text, got {name!r}.")
            of_kind(f"Member {name}", member, Member)
        _check_alike(members)
        if not hasattr(self.router, "router"):
            raise InvalidInput(f"router must be a routing policy, got {self.router!r}.")
        if self.patience != math.inf:
            positive("patience", self.patience, "seconds")
        given = of_kind("network_latency", self.network_latency, Mapping, "seconds by name")
        latencies = {name: _latencies(name, each) for name, each in given.items()}
        if unknown := sorted(set(latencies) - set(members)):
            raise InvalidInput(f"network_latency names {unknown}; members are {list(members)}.")
        keep(self, members=MappingProxyType(members), network_latency=MappingProxyType(latencies))

    def __hash__(self) -> int:
        return hash(tuple(self.members.items()))

    def __reduce__(self) -> tuple[Any, ...]:
        parts = dict(self.members), self.router, self.patience, dict(self.network_latency)
        return Ensemble, parts

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the members, in order."""
        return tuple(self.members)

    @property
    def name(self) -> str:
        """The names of the members in one."""
        return "+".join(self.members)

    @property
    def label(self) -> str:
        """The ensemble in a few words, for charts and tables: router and members, each once."""
        if set(getattr(self.router, "names", ())) == set(self.members):  # which its label has
            return self.router.label
        return f"{self.router.label}: {', '.join(self.members)}"

    def on(self, deployments: Sequence[Deployment]) -> "Ensemble":
        """Return the same ensemble on other deployments, one for each member in order."""
        pairs = zip(self.members.items(), deployments, strict=True)
        moved = {name: replace(member, deployment=each) for (name, member), each in pairs}
        return replace(self, members=moved)

    @property
    def first(self) -> Model:
        """The model of the first member, whose task, rows and samples are those of all."""
        return next(iter(self.members.values())).model

    def samples(self) -> Samples:
        """Return the pool of samples, which all members have."""
        return self.first.samples()

    @property
    def row_bytes(self) -> float:
        """Bytes of a row in a request, as it is in the pool of samples."""
        return self.first.row_bytes

    @property
    def answer_bytes(self) -> float | None:
        """Bytes of the first member's answer to a row; None where they differ."""
        return self.first.answer_bytes

    @property
    def deployment(self) -> RoutedDeployment:
        """The deployments of the members, in order."""
        return RoutedDeployment(parts=tuple(each.deployment for each in self.members.values()))

    def take_deployment(self, given: Deployment | None) -> RoutedDeployment:
        """Return the deployment of an experiment with the ensemble, which is given no other.

        Raises:
            InvalidInput: It is given one.
        """
        if not isinstance(given, RoutedDeployment | None):
            raise InvalidInput(
                f"The members of an ensemble have deployments of their own, got {given.label} "
                "beside them: give Experiment(ensemble, trace=trace)."
            )
        return self.deployment

    def check_policy(self, policy: Policy) -> None:
        """Require the default of a policy, beside those that the members have.

        Raises:
            InvalidInput: It is another.
        """
        if policy != BatchPolicy():
            raise InvalidInput(
                f"The members of an ensemble have policies of their own, got {policy!r} beside "
                "them: give Member(model, deployment, policy)."
            )

    def places(
        self,
        *,
        accuracy: Mapping[str, float] | None = None,
        accuracy_by_context: Mapping[str, Mapping[str, float]] | None = None,
        times: Mapping[str, ServiceTimes] | None = None,
        costs: Mapping[str, float] | None = None,
    ) -> list[Place]:
        """Return what a router knows of the members beforehand, NaN what is not known.

        Args:
            accuracy: Share of right answers by member; by default that of its traits.
            accuracy_by_context: The same by member and kind of request.
            times: Service times by member, on its deployment.
            costs: US dollars a request by member.
        """
        accuracy, times, costs = accuracy or {}, times or {}, costs or {}
        by_context = accuracy_by_context or {}
        return [
            Place(
                name=name,
                accuracy=accuracy.get(name, _accuracy(member.model)),
                accuracy_by_context=by_context.get(name, {}),
                seconds=float(times[name].means[1]) if name in times else math.nan,
                cost=costs.get(name, math.nan),
                servers=member.deployment.platform.servers,
                network_latency=self.network_latency.get(name, (0.0,)),
                traits=vars(member.model.traits),
            )
            for name, member in self.members.items()
        ]

    def record_fields(self) -> dict[str, Any]:
        """Return the fields of a run's record that follow from the ensemble."""
        members = tuple(
            MemberRecord(
                name=name,
                model=member.model.record(),
                deployment=member.deployment,
                policy=member.policy.to_dict(),
                network_latency=self.network_latency.get(name),
            )
            for name, member in self.members.items()
        )
        return {
            "places": self.names,
            "members": members,
            "router": self.router.to_dict(),
            "patience": self.patience if math.isfinite(self.patience) else None,
        }

    def to_dict(self) -> dict[str, Any]:
        """Return the ensemble as JSON values, each model by name and hash."""
        members = {
            name: {
                "model": member.model.name,
                "sha256": member.model.sha256,
                "deployment": member.deployment.to_dict(),
                "policy": member.policy.to_dict(),
            }
            for name, member in self.members.items()
        }
        return {
            "members": members,
            "router": self.router.to_dict(),
            "patience": self.patience if math.isfinite(self.patience) else None,
            "network_latency": {name: list(each) for name, each in self.network_latency.items()},
        }


def _accuracy(model: Model) -> float:
    """Return the share of a model's answers that are right; NaN where that is not known."""
    known = model.traits.accuracy if model.traits.metric == "accuracy" else None
    return math.nan if known is None else float(known)


def _latencies(name: str, given: object) -> tuple[float, ...]:
    values = (given,) if isinstance(given, int | float) else as_tuple("network_latency", given)
    if not values:
        raise InvalidInput(f"network_latency of {name} must be a number at least, got none.")
    return tuple(not_negative(f"network_latency of {name}", each, "seconds") for each in values)


def _check_alike(members: Mapping[str, Member]) -> None:
    """Require that all members answer the same questions: of one task, kind, row and pool."""
    (first, one), *others = members.items()
    pool = None
    for name, other in others:
        for what, mine, its in _comparisons(one.model, other.model):
            if mine != its:
                raise InvalidInput(
                    f"Members must answer the same questions: {first} has the {what} {mine}, and "
                    f"{name} has {its}."
                )
        if other.model.samples_sha256 == one.model.samples_sha256:
            continue
        pool = one.model.samples() if pool is None else pool
        samples = other.model.samples()
        same = len(samples) == len(pool) and np.array_equal(samples.targets, pool.targets)  # type: ignore[arg-type]
        if not same:
            raise InvalidInput(
                f"Members must have one pool of samples: {first} has {pool!r} and {name} has "
                f"{samples!r}, or other targets. Register both with the same samples."
            )


def _shape(taken: "Tensor") -> object:
    """Return what rows look like: their shape, or the names, kinds and shapes of their columns."""
    return tuple(map(str, taken.fields)) or taken.shape


def _comparisons(one: Model, other: Model) -> list[tuple[str, object, object]]:
    mine, its = one.traits, other.traits
    classes = mine.score_classes, its.score_classes
    return [
        ("task", mine.task, its.task),
        ("kind", mine.kind, its.kind),
        ("shape of a row", _shape(mine.input_schema), _shape(its.input_schema)),
        ("classes", *((None, None) if None in classes else classes)),
    ]
