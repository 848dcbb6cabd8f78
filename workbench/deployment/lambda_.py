"""AWS Lambda functions."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar

from workbench.deployment.base import PlanChoices, event_bytes
from workbench.deployment.on_demand import OnDemandDeployment
from workbench.deployment.platforms import OnDemandPlatform
from workbench.pricing.cost import Items, bill_item
from workbench.pricing.sheet import PriceSheet
from workbench.pricing.usage import Usage
from workbench.settings import one_of, optional, setting, whole
from workbench.units import MB

INIT_LIMIT = 10.0
"""Seconds that the start of a function may take (Lambda developer guide, "Lambda quotas")."""


@dataclass(frozen=True, kw_only=True)
class Lambda(OnDemandDeployment):
    """An AWS Lambda function: as `Serverless`, with Lambda's limits and rate of scaling.

    `timeout` is the longest a call may take. `keep_alive` is inferred: AWS does not publish it.

    Raises:
        InvalidInput: A setting is out of its limits.

    >>> Lambda(memory_mb=1769, max_concurrency=100, architecture="arm64").label
    'lambda 1769 MB arm64'
    """

    kind: ClassVar[str] = "lambda"
    payload_limit: ClassVar[int] = 6 * MB  # Invoke: 6 MB synchronously
    payload_note: ClassVar[str] = ", as base64"
    payload_encoding: ClassVar[str] = " as base64"
    time_limit: ClassVar[float] = 900.0  # developer guide, gettingstarted-limits
    # 1000 calls in flight of an account, of which 100 cannot be reserved (developer guide,
    # gettingstarted-limits and configuration-concurrency, read 2026-11-29)
    default_quota: ClassVar[int] = 900
    scaling_step: ClassVar[int] = 1000  # new instances of a function within `scaling_period`,
    scaling_period: ClassVar[float] = 10.0  # seconds; developer guide, scaling-behavior
    vcpus_source: ClassVar[str] = "verified: 1 vCPU at 1769 MB (Lambda developer guide)"
    bills_cold_start: ClassVar[bool] = True

    # boto3 lets 32768 MB and 5400 s pass, which only Lambda Managed Instances have
    memory_mb: int = field(
        kw_only=False,
        metadata=setting(
            "Memory (MB)",
            "MB of memory, 128 to 10240",
            whole(128, 10_240),
            steps=(128, *range(256, 10_241, 128)),
        ),
    )
    max_concurrency: int = field(
        metadata=setting("Max concurrency", "calls in flight at most", whole(1))
    )
    architecture: str = optional(
        "x86_64", "Architecture", "x86_64 or arm64", one_of("x86_64", "arm64")
    )
    timeout: int = optional(
        900, "Timeout (s)", "seconds that a call may take, 1 to 900", whole(1, 900)
    )

    @property
    def label(self) -> str:
        """The deployment in a few words, for charts and tables."""
        memory, arm = f"{self.memory_mb} MB", " arm64" if self.architecture == "arm64" else ""
        return super().label.replace(memory, memory + arm)

    @property
    def platform(self) -> OnDemandPlatform:
        """Instances that start on demand, at Lambda's rate of scaling."""
        return replace(
            super().platform,
            pace=self.scaling_period / self.scaling_step,
            depth=self.scaling_period,
        )

    @classmethod
    def example(cls) -> "Lambda":
        """Return what a form begins with."""
        # the memory at which a function has one vCPU (Lambda developer guide, "memory")
        return cls(memory_mb=1769, max_concurrency=100)

    @classmethod
    def variants(cls, choices: PlanChoices) -> Sequence["Lambda"]:
        """Return one of each memory size."""
        limit, kept = choices.lambda_concurrency, choices.keep_alive
        return [
            cls(memory_mb=memory, max_concurrency=limit, keep_alive=kept)
            for memory in choices.lambda_memory_mb
        ]

    @classmethod
    def payload(cls, content: int) -> int:
        """Return the bytes of an event that carries so many bytes in base64.

        >>> Lambda.payload(3000) - Lambda.payload(0)
        4000
        """
        return event_bytes(content)

    @property
    def call_limit(self) -> float:
        """The timeout."""
        return self.timeout

    @property
    def longest_call(self) -> float:
        """Seconds that a call is billed at most, its cold start included."""
        return self.timeout + INIT_LIMIT

    def _bill(self, usage: Usage, prices: PriceSheet) -> Items:
        gb, chip = self.memory_mb / 1024, self.architecture
        return (
            *bill_item(prices, f"lambda duration {chip}", gb * usage.seconds),
            *bill_item(prices, "lambda requests", usage.calls),
            *bill_item(prices, f"lambda provisioned {chip}", gb * usage.enabled_seconds),
            *bill_item(
                prices, f"lambda provisioned duration {chip}", gb * usage.provisioned_seconds
            ),
        )
