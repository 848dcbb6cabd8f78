"""An ensemble on a cloud: one endpoint with a variant for each model, or each model by itself.

Real-time models share an endpoint, up to ten; serverless endpoints have one variant each, as AWS
has it (SageMaker's developer guide, "Deploy models with Amazon SageMaker Serverless Inference").
"""

import contextlib
import re
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from workbench.cloud.adapters.base import Creation, LiveAdapter, adapter_of
from workbench.cloud.adapters.endpoint import EndpointAdapter
from workbench.cloud.aws import Cloud, role_of
from workbench.cloud.client import CloudClient
from workbench.cloud.deploy import DeployedModel, DeployTerms, deploy, ensure_teardown, open_entry
from workbench.cloud.ledger import Ledger, LedgerEntry
from workbench.ensemble import Ensemble


@dataclass(frozen=True, kw_only=True)
class DeployedEnsemble:
    """An ensemble whose members answer on a cloud.

    Attributes:
        ensemble: What answers there.
        cloud: Where it is.
        members: Each member as it was deployed, by name.
    """

    ensemble: Ensemble
    cloud: Cloud
    members: Mapping[str, DeployedModel]

    def facts(self) -> dict[str, Any]:
        """Return what a run there keeps about it, as JSON values."""
        members = {name: each.facts() for name, each in self.members.items()}
        own = ("endpoint", "variant", "deploy_seconds")
        return {
            **self.cloud.facts(),
            "members": {
                name: {fact: facts[fact] for fact in own if fact in facts}
                for name, facts in members.items()
            },
            "deploy_seconds": max(facts["deploy_seconds"] for facts in members.values()),
        }


@contextlib.contextmanager
def deploy_ensemble(
    ensemble: Ensemble, cloud: Cloud, terms: DeployTerms
) -> Iterator[DeployedEnsemble]:
    """Deploy an ensemble, and tear it down when the block ends: see `workbench.cloud.deploy`.

    What it may cost is that of all members, each with all the calls.
    """
    deployment = ensemble.deployment
    adapters = [adapter_of(each) for each in deployment.parts]
    for adapter, each in zip(adapters, deployment.parts, strict=True):
        adapter.check(each)
    terms.confirm(deployment, cloud)
    made: dict[str, DeployedModel]
    if _shares_endpoint(adapters):
        shared = _deploy_variants(ensemble, cloud, terms.ledger, terms.stopped)
        with shared as made:
            yield DeployedEnsemble(ensemble=ensemble, cloud=cloud, members=made)
        return
    with contextlib.ExitStack() as stack:
        agreed: dict[str, Any] = {"yes": True, "notify": lambda _: None}  # above, for all
        agreed |= {"libraries": terms.libraries, "ledger": terms.ledger, "stopped": terms.stopped}
        made = {
            name: stack.enter_context(deploy(each.model, each.deployment, cloud, **agreed))
            for name, each in ensemble.members.items()
        }
        yield DeployedEnsemble(ensemble=ensemble, cloud=cloud, members=made)


def _shares_endpoint(adapters: list[LiveAdapter[Any]]) -> bool:
    """Return whether all members can be variants of one endpoint."""
    return len(set(adapters)) == 1 and 1 < len(adapters) <= adapters[0].most_variants


@contextlib.contextmanager
def _deploy_variants(
    ensemble: Ensemble, cloud: Cloud, ledger: Ledger, stopped: threading.Event | None
) -> Iterator[dict[str, DeployedModel]]:
    """Deploy all members on one endpoint, whose entry in the ledger is the first's.

    The endpoint goes first: without its models, one that is being created gets stuck.
    """
    members = ensemble.members
    adapter = adapter_of(next(iter(members.values())).deployment)
    assert isinstance(adapter, EndpointAdapter)  # noqa: S101 - only endpoints have variants
    role, image = role_of(cloud), adapter.image(cloud, None)
    entries: list[LedgerEntry] = []
    with CloudClient(cloud, stopped) as aws, ensure_teardown(entries, ledger):
        variants = dict(zip(name_variants(ensemble.names), members.items(), strict=True))
        creations = {}
        for variant, (_, member) in variants.items():
            adapter.check_quota(member.deployment, cloud)
            kind = adapter.ledger_kind
            entry = open_entry(aws, member.model, member.deployment, ledger, kind=kind)
            entries.append(entry)
            creations[variant] = Creation(
                aws=aws,
                entry=entry,
                model=member.model,
                deployment=member.deployment,
                role=role,
                image=image,
                libraries=None,
            )
        for creation in creations.values():
            adapter.prepare(creation)
        launched = time.perf_counter()
        name = adapter.create_together(creations)
        seconds = time.perf_counter() - launched
        yield {
            member_name: DeployedModel(
                name=name,
                model=member.model,
                deployment=member.deployment,
                cloud=cloud,
                launched=launched,
                seconds=seconds,
                variant=variant,
            )
            for variant, (member_name, member) in variants.items()
        }


def name_variants(names: tuple[str, ...]) -> list[str]:
    """Return names that AWS takes for variants: letters, digits and hyphens, at most 63, no two.

    >>> name_variants(("small", "small!", "grand modèle"))
    ['small', 'small-1', 'grand-mod-le']
    """
    found: list[str] = []
    for number, name in enumerate(names):
        plain = re.sub(r"[^a-zA-Z0-9]+", "-", name).strip("-")[:50].strip("-") or "member"
        found.append(f"{plain}-{number}" if plain in found else plain)
    return found
