"""Adapters: a file for each inference type that a cloud can make, in a table by its kind."""

from typing import Any

from workbench.cloud.adapters.asynchronous import AsyncAdapter
from workbench.cloud.adapters.base import Adapter, LiveAdapter
from workbench.cloud.adapters.batch_transform import BatchTransformAdapter
from workbench.cloud.adapters.lambda_ import LambdaAdapter
from workbench.cloud.adapters.real_time import RealTimeAdapter
from workbench.cloud.adapters.serverless import ServerlessAdapter
from workbench.deployment import Async, BatchTransform, Lambda, RealTime, Serverless
from workbench.deployment.base import Deployment
from workbench.errors import InvalidInput

ADAPTERS: dict[str, Adapter[Any]] = {
    RealTime.kind: RealTimeAdapter(),
    Serverless.kind: ServerlessAdapter(),
    Async.kind: AsyncAdapter(),
    BatchTransform.kind: BatchTransformAdapter(),
    Lambda.kind: LambdaAdapter(),
}
"""Adapters by the kind of the deployment."""

BY_LEDGER_KIND: dict[str, Adapter[Any]] = {each.ledger_kind: each for each in ADAPTERS.values()}
"""Adapters by what the ledger calls their entries; those of one name delete alike."""


def adapter_of(deployment: Deployment) -> LiveAdapter[Any]:
    """Return what makes a deployment that answers calls.

    Raises:
        InvalidInput: Its type has no such thing on a cloud.
    """
    adapter = ADAPTERS.get(deployment.kind)
    if not isinstance(adapter, LiveAdapter):
        live = [kind for kind, each in ADAPTERS.items() if isinstance(each, LiveAdapter)]
        raise InvalidInput(f"{deployment.label} cannot be deployed: {', '.join(live)} can.")
    return adapter
