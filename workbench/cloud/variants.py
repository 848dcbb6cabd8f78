"""Several deployments that belong together, and one endpoint with a production variant for each."""

import contextlib
import re
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from workbench.cloud.adapters.base import Creation, adapter_of
from workbench.cloud.adapters.endpoint import EndpointAdapter
from workbench.cloud.aws import Cloud, role_of
from workbench.cloud.client import CloudClient
from workbench.cloud.deploy import DeployedModel, DeployTerms, ensure_teardown, open_entry
from workbench.cloud.ledger import LedgerEntry
from workbench.deployment.base import Deployment
from workbench.registry.model import Model


@dataclass(frozen=True, kw_only=True)
class DeployedMembers:
    """Deployments that answer the requests of one run together.

    Attributes:
        cloud: Where they are.
        members: Each as it was deployed, by its name.
    """

    cloud: Cloud
    members: Mapping[str, DeployedModel]

    def facts(self) -> dict[str, Any]:
        """Return what a run there keeps about it, as JSON values."""
        shared = self.cloud.facts()
        members = {
            name: {fact: value for fact, value in each.facts().items() if fact not in shared}
            for name, each in self.members.items()
        }
        longest = max(facts["deploy_seconds"] for facts in members.values())
        return {**shared, "members": members, "deploy_seconds": longest}


class VariantPlan(NamedTuple):
    """A model to be a production variant, and the share of requests without a target it gets."""

    model: Model
    deployment: Deployment
    weight: float = 1.0


@contextlib.contextmanager
def deploy_variants(
    plans: Mapping[str, VariantPlan], cloud: Cloud, terms: DeployTerms
) -> Iterator[dict[str, DeployedModel]]:
    """Deploy all on one endpoint, whose entry in the ledger is the first's.

    The endpoint goes first: without its models, one that is being created gets stuck.
    """
    adapter = adapter_of(next(iter(plans.values())).deployment)
    assert isinstance(adapter, EndpointAdapter)  # noqa: S101 - only endpoints have variants
    role, image, ledger = role_of(cloud), adapter.image(cloud, None), terms.ledger
    entries: list[LedgerEntry] = []
    with CloudClient(cloud, terms.stopped) as aws, ensure_teardown(entries, ledger):
        variants = dict(zip(name_variants(tuple(plans)), plans.items(), strict=True))
        creations = {}
        for variant, (_, plan) in variants.items():
            adapter.check_quota(plan.deployment, cloud)
            kind = adapter.ledger_kind
            entry = open_entry(aws, plan.model, plan.deployment, ledger, kind=kind)
            entries.append(entry)
            creations[variant] = Creation(
                aws=aws,
                entry=entry,
                model=plan.model,
                deployment=plan.deployment,
                role=role,
                image=image,
                libraries=None,
                weight=plan.weight,
                capture=terms.capture,
            )
        for creation in creations.values():
            adapter.prepare(creation)
        launched = time.perf_counter()
        name = adapter.create_together(creations)
        seconds = time.perf_counter() - launched
        yield {
            member: DeployedModel(
                name=name,
                model=plan.model,
                deployment=plan.deployment,
                cloud=cloud,
                launched=launched,
                seconds=seconds,
                variant=variant,
                entry=creations[variant].entry,
                ledger=ledger,
            )
            for variant, (member, plan) in variants.items()
        }


def name_variants(names: tuple[str, ...]) -> list[str]:
    """Return names that AWS takes for variants: letters, digits and hyphens, at most 63, no two.

    >>> name_variants(("small", "small!", "grand modèle"))
    ['small', 'small-1', 'grand-mod-le']
    """
    found: list[str] = []
    for number, name in enumerate(names):
        # of the 63 characters that a variant's name has at most, to leave room for a number
        plain = re.sub(r"[^a-zA-Z0-9]+", "-", name).strip("-")[:50].strip("-") or "member"
        found.append(f"{plain}-{number}" if plain in found else plain)
    return found
