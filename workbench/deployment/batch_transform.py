"""SageMaker batch transform jobs."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Self

from workbench.deployment.base import PlanChoices
from workbench.deployment.on_instances import OnInstances
from workbench.deployment.platforms import JobPlatform
from workbench.pricing.cost import Items, bill_item
from workbench.pricing.sheet import PriceSheet
from workbench.pricing.usage import Activity, Spans, Usage
from workbench.settings import optional, positive_amount
from workbench.units import HOUR, MB


@dataclass(frozen=True, kw_only=True)
class BatchTransform(OnInstances):
    """SageMaker batch transform jobs: instances that live as long as a job.

    Requests of each `period` seconds form one job that starts when the period ends; None is one
    job at the end of the trace. What it takes to get the instances is waited for, not billed: AWS
    bills the time from TransformStartTime, when a job starts on its instances, to TransformEndTime
    (API reference of DescribeTransformJob, read 2026-11-30).

    Raises:
        InvalidInput: A setting is out of its limits.

    >>> BatchTransform(instance_type="ml.m5.large", period=3600).label
    'batch transform 1 x ml.m5.large'
    """

    kind: ClassVar[str] = "batch transform"
    payload_limit: ClassVar[int] = 100 * MB  # CreateTransformJob: MaxPayloadInMB at most
    time_limit: ClassVar[float] = 3600.0  # InvocationsTimeoutInSeconds at most, of one request
    by_job: ClassVar[bool] = True

    period: float | None = optional(
        None,
        "Job every (s)",
        "a time whose requests form one job",
        positive_amount("seconds"),
        empty="one job at the end",
    )

    @property
    def platform(self) -> JobPlatform:
        """Jobs on instances of their own."""
        return JobPlatform(instances=self.count, period=self.period)

    @property
    def call_limit(self) -> None:
        """No limit: that of AWS holds for a part of a job."""
        return

    @classmethod
    def variants(cls, choices: PlanChoices) -> Sequence["BatchTransform"]:
        """Return one instance of each type."""
        return [cls(instance_type=name) for name in choices.instance_types]

    def with_period(self, period: float) -> Self:
        """Return the same deployment with a job each so many seconds."""
        return replace(self, period=period)

    def _bill(self, usage: Usage, prices: PriceSheet) -> Items:
        # that the price is a real-time endpoint's is inferred
        return bill_item(prices, self.instance_type, usage.instance_seconds / HOUR, inferred=True)

    def _spans_without_record(self, activity: Activity) -> tuple[Spans, str]:
        return activity.service_spans, "while a job ran"
