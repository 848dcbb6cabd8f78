"""What the types that run on SageMaker's instances have in common."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Self

from workbench.deployment.base import Deployment, PlanChoices
from workbench.deployment.instance_types import (
    check_instance_type,
    instance_memory,
    instance_vcpus,
)
from workbench.pricing.usage import Activity, Spans, Usage, instance_seconds
from workbench.settings import optional, setting, whole


@dataclass(frozen=True, kw_only=True)
class OnInstances(Deployment):
    """Base of the types whose instances are billed from launch to stop."""

    vcpus_source: ClassVar[str] = "inferred: the EC2 type of the same name (data/instances.csv)"
    counted_by: ClassVar[str] = "count"

    instance_type: str = field(
        kw_only=False,
        metadata=setting("Instance type", "for instance ml.m5.large", check_instance_type),
    )
    count: int = optional(1, "Instances", "how many instances", whole(1))

    @property
    def label(self) -> str:
        """The deployment in a few words, for charts and tables."""
        return f"{self.kind} {self.count} x {self.instance_type}"

    @classmethod
    def example(cls) -> Self:
        """Return what a form begins with."""
        return cls(instance_type="ml.m5.large")

    @property
    def vcpus(self) -> float:
        """The vCPUs of one instance; a `NotFound` is raised where the type is not in the table."""
        return instance_vcpus(self.instance_type)

    @property
    def memory(self) -> float | None:
        """The bytes of memory of one instance; None where the type is not in the table."""
        return instance_memory(self.instance_type)

    @property
    def size(self) -> str:
        """The instance type."""
        return self.instance_type

    def usage(self, activity: Activity, *, bill_cold_start: bool = False) -> Usage:
        """Return the instances' time from launch to stop, as far as it was recorded."""
        if activity.instances is not None:
            seconds = instance_seconds(activity.instances)
            return Usage(instance_seconds=seconds, calls=activity.calls)
        spans, until = self._spans_without_record(activity)
        note = (
            f"Launch and stop of instances are not recorded: {self.count} are billed {until}, "
            "boot excluded."
        )
        seconds = self.count * instance_seconds(spans)
        return Usage(instance_seconds=seconds, calls=activity.calls, notes=(note,))

    def _spans_without_record(self, activity: Activity) -> tuple[Spans, str]:
        return [(0.0, activity.end)], "from the trace's start to the last answer"

    def idle_usage(self, seconds: float) -> Usage:
        """Return the time of all instances."""
        return Usage(instance_seconds=self.count * seconds)


@dataclass(frozen=True, kw_only=True)
class EndpointOnInstances(OnInstances):
    """Base of the endpoints on instances, which autoscaling may change in number."""

    scaled_by: ClassVar[str] = "count"
    bills_data: ClassVar[bool] = True

    workers: int = optional(1, "Workers", "model servers of each instance", whole(1))

    @property
    def label(self) -> str:
        """The deployment in a few words, for charts and tables."""
        return super().label + (f" x {self.workers} workers" if self.workers > 1 else "")

    @classmethod
    def variants(cls, choices: PlanChoices) -> Sequence[Self]:
        """Return one instance of each type, with as many workers as it has vCPUs for."""
        return [
            cls(instance_type=name, workers=max(1, int(instance_vcpus(name)) // choices.threads))
            for name in choices.instance_types
        ]

    @property
    def instance_workers(self) -> int:
        """The model servers of one instance."""
        return self.workers
