"""SageMaker real-time endpoints."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from workbench.deployment.base import MB, PlanChoices
from workbench.deployment.on_instances import OnInstances, workers_that_fit
from workbench.deployment.platforms import FleetPlatform
from workbench.deployment.settings import one_of, setting, whole
from workbench.pricing.cost import HOUR, Items, bill_data, bill_item
from workbench.pricing.sheet import PriceSheet
from workbench.pricing.usage import Usage


@dataclass(frozen=True, kw_only=True)
class RealTime(OnInstances):
    """A SageMaker real-time endpoint: `count` instances of `workers` each.

    `routing` says which instance gets a request: "least_outstanding" (fewest in flight, AWS's
    LEAST_OUTSTANDING_REQUESTS), "random", or "shared", one queue for all, which AWS does not offer.

    Raises:
        InvalidInput: A count is below 1, or instance type or routing are not of the known form.

    >>> RealTime(instance_type="ml.m5.large", count=2).label
    'real-time 2 x ml.m5.large'
    """

    kind: ClassVar[str] = "real-time"
    payload_limit: ClassVar[int] = 6 * MB  # InvokeEndpoint: Body of at most 6,291,456 bytes
    time_limit: ClassVar[float] = 60.0  # InvokeEndpoint: a container must answer within 60 s
    scaled_by: ClassVar[str] = "count"
    bills_data: ClassVar[bool] = True

    count: int = field(
        default=1,
        metadata=setting("Instances", "how many instances", whole(1), steps=range(1, 41)),
    )
    workers: int = field(
        default=1, metadata=setting("Workers", "model servers of each instance", whole(1))
    )
    routing: str = field(
        default="least_outstanding",
        metadata=setting(
            "Routing",
            "which instance gets a request: least_outstanding, random or shared",
            one_of("least_outstanding", "random", "shared"),
        ),
    )

    @property
    def platform(self) -> FleetPlatform:
        """Its instances, each with a queue of its own unless routing is "shared"."""
        return FleetPlatform(instances=self.count, workers=self.workers, routing=self.routing)

    @classmethod
    def variants(cls, choices: PlanChoices) -> Sequence["RealTime"]:
        """Return one instance of each type, with as many workers as it has vCPUs for."""
        return [
            cls(instance_type=name, workers=workers_that_fit(name, choices))
            for name in choices.instance_types
        ]

    @property
    def instance_workers(self) -> int:
        """The model servers of one instance."""
        return self.workers

    def _bill(self, usage: Usage, prices: PriceSheet) -> Items:
        return (
            *bill_item(prices, self.instance_type, usage.instance_seconds / HOUR),
            *bill_data(prices, usage.bytes_in, usage.bytes_out),
        )
