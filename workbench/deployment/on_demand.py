"""What the types have in common whose instances start when a call comes."""

import math
from abc import abstractmethod
from dataclasses import dataclass, field
from typing import ClassVar

from workbench.deployment.base import KEEP_ALIVE, Deployment
from workbench.deployment.platforms import OnDemandPlatform
from workbench.errors import InvalidInput
from workbench.pricing.usage import Activity, Spans, Usage, instance_seconds
from workbench.settings import amount, one_of, optional, whole
from workbench.units import MB

MB_PER_VCPU = 1769
"""Memory at which a Lambda function has one full vCPU (Lambda developer guide)."""


@dataclass(frozen=True, kw_only=True)
class OnDemandDeployment(Deployment):
    """Base of the types with an instance per call in flight, billed by the call."""

    on_demand: ClassVar[bool] = True
    bills_cold_start: ClassVar[bool]

    memory_mb: int = field(kw_only=False)
    max_concurrency: int
    provisioned: int = optional(0, "Provisioned", "instances that are kept warm", whole(0))
    keep_alive: float = optional(
        KEEP_ALIVE,
        "Keep alive (s)",
        "seconds an idle instance is kept",
        amount("seconds"),
        only_simulated=True,
    )
    on_limit: str = optional(
        "reject",
        "At the limit",
        "what becomes of more calls: reject or queue",
        one_of("reject", "queue"),
    )

    def _check_together(self) -> None:
        if self.provisioned > self.max_concurrency:
            raise InvalidInput(
                f"provisioned must be at most max_concurrency ({self.max_concurrency}), "
                f"got {self.provisioned}: lower it or raise max_concurrency."
            )

    @property
    def label(self) -> str:
        """The deployment in a few words, for charts and tables."""
        kept = f", {self.provisioned} provisioned" if self.provisioned else ""
        return f"{self.kind} {self.memory_mb} MB" + kept

    @property
    def platform(self) -> OnDemandPlatform:
        """Instances that start on demand."""
        return OnDemandPlatform(
            limit=self.max_concurrency,
            provisioned=self.provisioned,
            keep_alive=self.keep_alive,
            queues=self.on_limit == "queue",
        )

    @property
    def vcpus(self) -> float:
        """The vCPUs of one instance: the share of CPU time that its memory buys."""
        return self.memory_mb / MB_PER_VCPU

    @property
    def size(self) -> int:
        """The memory in MB."""
        return self.memory_mb

    @property
    def memory(self) -> float:
        """The bytes of memory of one instance."""
        return self.memory_mb * MB

    @property
    @abstractmethod
    def longest_call(self) -> float:
        """Seconds that a call is billed at most."""

    def usage(self, activity: Activity, *, bill_cold_start: bool = False) -> Usage:
        """Return the time of the calls, and that of provisioned instances."""
        calls = activity.call_times(
            with_cold_starts=self.bills_cold_start or bill_cold_start, provisioned=self.provisioned
        )
        kept = activity.instances  # provisioned ones, where their count changed
        return Usage(
            seconds=calls.on_demand,
            provisioned_seconds=calls.provisioned,
            enabled_seconds=instance_seconds(kept) if kept else self.provisioned * activity.end,
            calls=calls.calls,
            notes=(*calls.notes, *self._notes(kept)),
        )

    def _notes(self, kept: Spans | None) -> tuple[str, ...]:
        if not (kept or self.provisioned):
            return ()
        how = "from the trace's start to the last answer; AWS rounds Lambda's up to 5 minutes."
        if kept:
            how = "for as long as it was there; calls of what scaling added count as on demand."
        return (f"Provisioned concurrency is billed {how}",)

    def idle_usage(self, seconds: float) -> Usage:
        """Return the time of provisioned instances."""
        return Usage(enabled_seconds=self.provisioned * seconds)

    def usage_at_most(self, seconds: float, *, calls: int | None, up_and_down: float) -> Usage:
        """Return the less of every instance busy all the time, and all calls as long as can be."""
        longest = math.inf if calls is None else calls * self.longest_call
        return Usage(
            enabled_seconds=self.provisioned * (seconds + up_and_down),
            seconds=min((self.max_concurrency - self.provisioned) * seconds, longest),
            provisioned_seconds=min(self.provisioned * seconds, longest),
            calls=calls or 0,
        )
