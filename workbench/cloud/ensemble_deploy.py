"""An ensemble on a cloud: one endpoint with a variant for each model, or each model by itself.

Real-time models share an endpoint, up to ten; serverless endpoints have one variant each, as AWS
has it (SageMaker's developer guide, "Deploy models with Amazon SageMaker Serverless Inference").
"""

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from workbench.cloud.adapters.base import adapter_of
from workbench.cloud.aws import Cloud
from workbench.cloud.deploy import DeployedModel, DeployTerms, deploy
from workbench.cloud.variants import DeployedMembers, VariantPlan, deploy_variants
from workbench.ensembles import Ensemble


@dataclass(frozen=True, kw_only=True)
class DeployedEnsemble(DeployedMembers):
    """An ensemble whose members answer on a cloud."""

    ensemble: Ensemble


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
    made: Mapping[str, DeployedModel]
    with contextlib.ExitStack() as stack:
        if len(set(adapters)) == 1 and 1 < len(adapters) <= adapters[0].most_variants:
            plans = {
                name: VariantPlan(each.model, each.deployment)
                for name, each in ensemble.members.items()
            }
            made = stack.enter_context(deploy_variants(plans, cloud, terms))
        else:
            agreed = terms.for_parts()
            made = {
                name: stack.enter_context(deploy(each.model, each.deployment, cloud, **agreed))
                for name, each in ensemble.members.items()
            }
        yield DeployedEnsemble(ensemble=ensemble, cloud=cloud, members=made)
