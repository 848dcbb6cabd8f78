"""SageMaker asynchronous endpoints."""

from dataclasses import dataclass
from typing import ClassVar

from workbench.deployment.on_instances import EndpointOnInstances
from workbench.deployment.platforms import FleetPlatform
from workbench.pricing.cost import Items, bill_item
from workbench.pricing.sheet import PriceSheet
from workbench.pricing.usage import Usage
from workbench.settings import optional, whole
from workbench.units import GB, HOUR, MB


@dataclass(frozen=True, kw_only=True)
class Async(EndpointOnInstances):
    """A SageMaker asynchronous endpoint: instances behind a durable queue; `count` may be 0.

    `concurrency` is how many calls SageMaker sends to one instance at once (None: SageMaker
    chooses). A call waits in the queue for at most `ttl` seconds and is answered within `timeout`.

    Raises:
        InvalidInput: A setting is out of its limits.

    >>> Async(instance_type="ml.m5.large", count=0).label
    'async 0 x ml.m5.large'
    """

    kind: ClassVar[str] = "async"
    payload_limit: ClassVar[int] = 1024 * MB  # an S3 object; developer guide, async-inference
    inline_limit: ClassVar[int] = 128_000  # InvokeEndpointAsync: Body instead of InputLocation
    payload_note: ClassVar[str] = f" ({inline_limit:,} inline)"
    time_limit: ClassVar[float] = 3600.0  # InvocationTimeoutSeconds at most

    count: int = optional(1, "Instances", "how many instances", whole(0))
    concurrency: int | None = optional(
        None,
        "Calls at once",
        "calls sent to an instance at once",
        whole(1, 1000),
        empty="SageMaker chooses",
    )
    ttl: int = optional(
        21_600, "In queue (s)", "seconds that a request may wait, 60 to 21600", whole(60, 21_600)
    )
    timeout: int = optional(
        900, "Timeout (s)", "seconds that a call may take, 1 to 3600", whole(1, 3600)
    )

    @property
    def platform(self) -> FleetPlatform:
        """Its instances on one queue, which a call leaves after `ttl`."""
        workers = min(self.workers, self.concurrency or self.workers)
        return FleetPlatform(instances=self.count, workers=workers, ttl=float(self.ttl), least=0)

    @property
    def call_limit(self) -> float:
        """The timeout."""
        return self.timeout

    def _bill(self, usage: Usage, prices: PriceSheet) -> Items:
        # A call puts and gets its input and its result in S3 once each, and publishes one
        # notification. That an instance costs as under a real-time endpoint is inferred.
        hours, calls = usage.instance_seconds / HOUR, usage.calls
        return (
            *bill_item(prices, self.instance_type, hours, inferred=True),
            *bill_item(prices, "async data", (usage.bytes_in + usage.bytes_out) / GB),
            *bill_item(prices, "s3 put", 2 * calls),
            *bill_item(prices, "s3 get", 2 * calls),
            *bill_item(prices, "sns publish", calls),
        )

    def usage_at_most(self, seconds: float, *, calls: int | None, up_and_down: float) -> Usage:
        """Return the most that can be billed: what is to have no instance starts with one."""
        instances = max(1, self.count)
        return Usage(instance_seconds=instances * (seconds + up_and_down), calls=calls or 0)
