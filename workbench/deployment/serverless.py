"""SageMaker serverless endpoints."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from workbench.deployment.base import PlanChoices
from workbench.deployment.on_demand import OnDemandDeployment
from workbench.pricing.cost import Items, bill_data, bill_item
from workbench.pricing.sheet import PriceSheet
from workbench.pricing.usage import Usage
from workbench.settings import one_of, setting, whole
from workbench.units import MB

_MEMORY = range(1024, 6145, 1024)  # botocore's ProductionVariantServerlessConfig


@dataclass(frozen=True, kw_only=True)
class Serverless(OnDemandDeployment):
    """A SageMaker serverless endpoint: an instance per call in flight, none when idle.

    `max_concurrency` bounds the calls in flight, of which `provisioned` instances are kept warm.
    Past it `on_limit="reject"` fails a call as throttled, as AWS does, and "queue" has it wait at
    the client. `keep_alive`, the seconds an idle instance is kept, is inferred: AWS does not
    publish it.

    Raises:
        InvalidInput: A setting is out of its limits.

    >>> Serverless(memory_mb=2048, max_concurrency=20).label
    'serverless 2048 MB'
    """

    kind: ClassVar[str] = "serverless"
    payload_limit: ClassVar[int] = 4 * MB  # developer guide, serverless-endpoints-invoke
    time_limit: ClassVar[float] = 60.0  # developer guide, serverless-endpoints
    start_limit: ClassVar[float] = 180.0  # developer guide: /ping answers within 3 minutes
    vcpus_source: ClassVar[str] = "inferred: grows with memory as Lambda's, 1 vCPU at 1769 MB"
    scaled_by: ClassVar[str] = "provisioned"
    bills_data: ClassVar[bool] = True
    bills_cold_start: ClassVar[bool] = False  # inferred

    memory_mb: int = field(
        kw_only=False,
        metadata=setting(
            "Memory (MB)", "MB of memory, 1024 to 6144", one_of(*_MEMORY), steps=_MEMORY
        ),
    )
    # ProductionVariantServerlessConfig: both 1..200, provisioned the smaller
    max_concurrency: int = field(
        metadata=setting("Max concurrency", "calls in flight at most", whole(1, 200))
    )

    @classmethod
    def example(cls) -> "Serverless":
        """Return what a form begins with."""
        return cls(memory_mb=2048, max_concurrency=20)

    @classmethod
    def variants(cls, choices: PlanChoices) -> Sequence["Serverless"]:
        """Return one of each memory size."""
        limit, kept = choices.serverless_concurrency, choices.keep_alive
        return [
            cls(memory_mb=memory, max_concurrency=limit, keep_alive=kept)
            for memory in choices.serverless_memory_mb
        ]

    @property
    def longest_call(self) -> float:
        """Seconds that a call is billed at most; a cold start is not."""
        return self.time_limit

    def _bill(self, usage: Usage, prices: PriceSheet) -> Items:
        memory = f"{self.memory_mb} MB"
        return (
            *bill_item(prices, f"serverless {memory}", usage.seconds),
            *bill_data(prices, usage.bytes_in, usage.bytes_out),
            *bill_item(prices, f"serverless provisioned {memory}", usage.enabled_seconds),
            *bill_item(
                prices, f"serverless provisioned duration {memory}", usage.provisioned_seconds
            ),
        )
