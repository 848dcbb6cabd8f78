"""A mixed fleet or a hybrid on a cloud: a variant for each type, and functions beside them."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass

from workbench.cloud.adapters.base import adapter_of
from workbench.cloud.aws import Cloud
from workbench.cloud.controller import variant_weight
from workbench.cloud.deploy import (
    DeployedModel,
    DeployTerms,
    check_controlled,
    count_scaled,
    deploy,
)
from workbench.cloud.variants import DeployedMembers, VariantPlan, deploy_variants
from workbench.deployment.composite import Composite
from workbench.deployment.hybrid import Hybrid
from workbench.deployment.mixed_fleet import MixedFleet
from workbench.errors import InvalidInput
from workbench.registry.model import Model
from workbench.scaling.base import ScalingPolicy


@dataclass(frozen=True, kw_only=True)
class DeployedFleet(DeployedMembers):
    """A model that answers on the parts of a mixed fleet or a hybrid, members by place.

    Attributes:
        model: What answers there.
        deployment: How it was deployed.
        scaling: The policy that the size of its fleet follows, if any.
    """

    model: Model
    deployment: Composite
    scaling: ScalingPolicy | None = None

    @property
    def base(self) -> tuple[DeployedModel, ...]:
        """The members that are a fleet of instances: all but the overflow."""
        members = tuple(self.members.values())
        return members[:-1] if isinstance(self.deployment, Hybrid) else members


@contextlib.contextmanager
def deploy_fleet(
    model: Model,
    deployment: Composite,
    cloud: Cloud,
    terms: DeployTerms,
    scaling: ScalingPolicy | None,
) -> Iterator[DeployedFleet]:
    """Deploy a mixed fleet or a hybrid, and tear it down when the block ends: see `deploy`.

    The overflow comes first, which costs nothing while it waits for the fleet.
    """
    if not isinstance(deployment, Hybrid | MixedFleet):
        raise InvalidInput(f"{deployment.label} is an ensemble's: deploy(ensemble, cloud).")
    for part in deployment.simple_parts:
        adapter_of(part).check(part)
    terms.confirm(deployment, cloud, scaling)
    base = deployment.base if isinstance(deployment, Hybrid) else deployment
    with contextlib.ExitStack() as stack:
        overflow = [
            stack.enter_context(deploy(model, part, cloud, **terms.for_parts()))
            for part in deployment.parts[1:]
            if isinstance(deployment, Hybrid)
        ]
        if isinstance(base, MixedFleet):
            made = _deploy_types(model, base, cloud, terms, scaling)
            members = [*stack.enter_context(made), *overflow]
        else:
            alone = deploy(model, base, cloud, scaling=scaling, **terms.for_parts())
            members = [stack.enter_context(alone), *overflow]
        yield DeployedFleet(
            cloud=cloud,
            members=dict(zip(deployment.place_names, members, strict=True)),
            model=model,
            deployment=deployment,
            scaling=scaling,
        )


@contextlib.contextmanager
def _deploy_types(
    model: Model,
    fleet: MixedFleet,
    cloud: Cloud,
    terms: DeployTerms,
    scaling: ScalingPolicy | None,
) -> Iterator[list[DeployedModel]]:
    if scaling is not None:
        check_controlled(fleet, scaling)
    plans = {
        name: VariantPlan(model, part, variant_weight(part, part.platform.idle_instances))
        for name, part in zip(fleet.place_names, fleet.parts, strict=True)
    }
    with contextlib.ExitStack() as stack:
        made = list(stack.enter_context(deploy_variants(plans, cloud, terms)).values())
        if scaling is not None:
            made = [stack.enter_context(count_scaled(each, scaling)) for each in made]
        yield made
