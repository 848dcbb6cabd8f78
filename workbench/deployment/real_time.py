"""SageMaker real-time endpoints."""

from dataclasses import dataclass
from typing import ClassVar

from workbench.deployment.on_instances import EndpointOnInstances
from workbench.deployment.platforms import FleetPlatform
from workbench.pricing.cost import Items, bill_data, bill_item
from workbench.pricing.sheet import PriceSheet
from workbench.pricing.usage import Usage
from workbench.settings import one_of, optional, whole
from workbench.units import HOUR, MB


@dataclass(frozen=True, kw_only=True)
class RealTime(EndpointOnInstances):
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
    time_limit_from_sending: ClassVar[bool] = True
    takes_overflow: ClassVar[bool] = True

    count: int = optional(1, "Instances", "how many instances", whole(1), steps=range(1, 41))
    routing: str = optional(
        "least_outstanding",
        "Routing",
        "which instance gets a request: least_outstanding, random or shared",
        one_of("least_outstanding", "random", "shared"),
    )

    @property
    def platform(self) -> FleetPlatform:
        """Its instances, each with a queue of its own unless routing is "shared"."""
        return FleetPlatform(instances=self.count, workers=self.workers, routing=self.routing)

    def _bill(self, usage: Usage, prices: PriceSheet) -> Items:
        return (
            *bill_item(prices, self.instance_type, usage.instance_seconds / HOUR),
            *bill_data(prices, usage.bytes_in, usage.bytes_out),
        )
