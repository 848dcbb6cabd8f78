"""AWS Lambda on instances that it manages: EC2's prices and a fee, several calls an environment."""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from workbench.deployment.base import Deployment, PlanChoices, event_bytes
from workbench.deployment.instance_types import find_instance
from workbench.deployment.platforms import FleetPlatform
from workbench.errors import InvalidInput
from workbench.pricing.cost import Items, bill_item
from workbench.pricing.sheet import PriceSheet
from workbench.pricing.usage import Activity, Usage, instance_seconds
from workbench.scaling.cpu import CpuTracking
from workbench.settings import one_of, optional, setting, whole
from workbench.units import HOUR, MB
from workbench.validation import as_tuple, positive_share, whole_number

_AGENT_VCPUS, _AGENT_GIB = 1, 1  # of an instance; see `RULES`
_MOST_VCPUS, _MOST_GIB = 16, 32  # of an environment; see `RULES`
_CALLS_PER_VCPU = 64  # likewise

RULES: Sequence[tuple[str, str, str]] = (
    ("announced 2025-11-30", "AWS News Blog, Introducing AWS Lambda Managed Instances", "verified"),
    ("three instances and environments to begin with", "developer guide, Scaling", "verified"),
    ("least of 1, three by default; 0 only where the most is 0", "the same", "verified"),
    ("by CPU use and saturation, asynchronously; no cold starts", "the same", "verified"),
    ("headroom for traffic that doubles within five minutes", "the same", "verified"),
    ("throttles where it more than doubles; nothing queues", "the same", "verified"),
    ("a target of half of the CPU is that headroom", "AWS's guide for agents: ~50 %", "inferred"),
    ("the mean of a minute, gone after 15 minutes of less", "AWS says only: gradually", "inferred"),
    ("up to 64 calls a vCPU, 1600 an environment", "developer guide; botocore 1.44.5", "verified"),
    ("1 vCPU and 2 GB at least, 2 to 8 GB a vCPU", "developer guide; botocore 1.44.5", "verified"),
    ("16 vCPUs and 32 GB at most", "botocore 1.44.5 (memory); AWS, March 2026", "verified"),
    ("a vCPU and a GB of an instance are the agent's", "AWS's sample calculator", "inferred"),
    ("one environment an instance, as large as fits", "the rule of this module", "inferred"),
    ("15 % of the EC2 price on top, and 0.20 dollars a million", "Lambda pricing", "verified"),
)
"""What the model takes for granted: the rule, its source (read 2026-11-29), and its mark."""

_INFERRED = (
    "How soon Lambda scales its instances is inferred: see deployment.lambda_instances.RULES."
)


def _check_types(name: str, value: object) -> tuple[str, ...]:
    given = value.replace(",", " ").split() if isinstance(value, str) else as_tuple(name, value)
    for each in given:
        if not (isinstance(each, str) and re.fullmatch(r"(?!ml\.)[a-z0-9-]+\.[a-z0-9-]+", each)):
            raise InvalidInput(f"{name} must be EC2 types such as 'm7g.xlarge', got {each!r}.")
    if not given:
        raise InvalidInput(f"{name} must be at least one EC2 type, such as 'm7g.xlarge'.")
    return tuple(given)


@dataclass(frozen=True, kw_only=True)
class LambdaManaged(Deployment):
    """An AWS Lambda function on managed instances: they scale by CPU use, from `least` to `most`.

    An environment fills an instance, but for what Lambda's agent takes, and serves `concurrency`
    calls at once; a call that finds all of them busy is throttled. So traffic may double where
    `target` is a half, and more is refused until instances have booted. `RULES` says how each of
    this is known. Of several instance types AWS chooses; simulation and price take the first.

    Raises:
        InvalidInput: A setting is out of its limits, or no environment fits an instance.
        NotFound: The instance type is not in the table.

    >>> managed = LambdaManaged(instance_types=["m7g.xlarge"], concurrency=3)
    >>> managed.label, managed.vcpus, managed.memory_mb
    ('lambda managed 3 to 100 x m7g.xlarge', 3, 12288)
    """

    kind: ClassVar[str] = "lambda managed"
    payload_limit: ClassVar[int] = 6 * MB  # Invoke: 6 MB synchronously
    payload_note: ClassVar[str] = ", as base64"
    payload_encoding: ClassVar[str] = " as base64"
    time_limit: ClassVar[float] = 900.0  # inferred: as without managed instances
    start_limit: ClassVar[float] = 900.0  # AWS, March 2026: INIT may take 15 minutes
    vcpus_source: ClassVar[str] = "inferred: an instance's but one (see lambda_instances.RULES)"

    instance_types: Sequence[str] = field(
        kw_only=False,
        metadata=setting("Instance types", "of EC2, the first is taken to be used", _check_types),
    )
    memory_gb_per_vcpu: float = optional(
        4, "GB per vCPU", "GB of memory for each vCPU: 2, 4 or 8", one_of(2, 4, 8)
    )
    concurrency: int = optional(
        1, "Concurrency", "calls that an environment serves at once", whole(1, 1600)
    )
    least: int = optional(3, "Least", "instances at least", whole(1, 15_000))
    most: int = optional(100, "Most", "instances at most", whole(1, 15_000))
    target: float = optional(0.5, "CPU target", "share of the processors", positive_share)
    timeout: int = optional(
        900, "Timeout (s)", "seconds that a call may take, 1 to 900", whole(1, 900)
    )

    def _check_together(self) -> None:
        whole_number("most", self.most, low=self.least)
        if len({find_instance(each)["architecture"] for each in self.instance_types}) > 1:
            raise InvalidInput(
                f"instance_types must be of one architecture, got {', '.join(self.instance_types)}."
            )
        if self.vcpus < 1:
            raise InvalidInput(
                f"No environment of {self.memory_gb_per_vcpu} GB a vCPU fits "
                f"{self.instance_types[0]} beside Lambda's agent: take a larger type or fewer GB."
            )
        whole_number("concurrency", self.concurrency, low=1, high=_CALLS_PER_VCPU * self.vcpus)

    @property
    def label(self) -> str:
        """The deployment in a few words, for charts and tables."""
        count = f"{self.least}" if self.least == self.most else f"{self.least} to {self.most}"
        return f"{self.kind} {count} x {self.instance_types[0]}"

    @property
    def platform(self) -> FleetPlatform:
        """Instances that scale by themselves, and refuse what finds all of them busy."""
        return FleetPlatform(
            instances=self.least,
            workers=self.concurrency,
            ttl=0.0,
            least=self.least,
            scaling=CpuTracking(
                target=self.target, workers=self.concurrency, least=self.least, most=self.most
            ),
        )

    @classmethod
    def example(cls) -> "LambdaManaged":
        """Return what a form begins with."""
        return cls(instance_types=("m7g.xlarge",), concurrency=3)

    @classmethod
    def variants(cls, choices: PlanChoices) -> Sequence["LambdaManaged"]:
        """Return one of each type, as many calls at once as its vCPUs have threads for."""
        found = []
        for name in choices.managed_instance_types:
            row = find_instance(name)
            ratio = min(8.0, max(2.0, float(row["memory_gib"]) / float(row["vcpus"])))
            one = cls(instance_types=(name,), memory_gb_per_vcpu=ratio)
            calls = max(1, one.vcpus // choices.threads)
            found.append(cls(instance_types=(name,), memory_gb_per_vcpu=ratio, concurrency=calls))
        return found

    @property
    def architecture(self) -> str:
        """That of the instances: x86_64 or arm64."""
        return find_instance(self.instance_types[0])["architecture"]

    @property
    def instance_vcpus(self) -> int:
        """The vCPUs of an instance, the agent's included."""
        return int(find_instance(self.instance_types[0])["vcpus"])

    @property
    def vcpus(self) -> int:
        """The vCPUs of an environment."""
        gib = float(find_instance(self.instance_types[0])["memory_gib"])
        fits = math.floor(min(gib - _AGENT_GIB, _MOST_GIB) / self.memory_gb_per_vcpu)
        return min(self.instance_vcpus - _AGENT_VCPUS, _MOST_VCPUS, fits)

    @property
    def memory_mb(self) -> int:
        """The MB of memory of an environment."""
        return round(1024 * self.memory_gb_per_vcpu * self.vcpus)

    @property
    def memory(self) -> float:
        """The bytes of memory of an environment."""
        return self.memory_mb * MB

    @property
    def size(self) -> str:
        """The instance type."""
        return self.instance_types[0]

    @property
    def instance_workers(self) -> int:
        """The calls that share an environment's vCPUs."""
        return self.concurrency

    @property
    def call_limit(self) -> float:
        """The timeout."""
        return self.timeout

    @classmethod
    def payload(cls, content: int) -> int:
        """Return the bytes of the event around so many bytes of content."""
        return event_bytes(content)

    def _bill(self, usage: Usage, prices: PriceSheet) -> Items:
        hours = usage.instance_seconds / HOUR
        listed = hours * prices.price(self.instance_types[0]).dollars
        return (
            *bill_item(prices, self.instance_types[0], hours),
            *bill_item(prices, "lambda management fee", listed),
            *bill_item(prices, "lambda requests", usage.calls),
        )

    def usage(self, activity: Activity, *, bill_cold_start: bool = False) -> Usage:
        """Return the instances' time from launch to stop, as far as it was recorded."""
        if activity.instances is not None:
            seconds, note = float(instance_seconds(activity.instances)), _INFERRED
        else:
            seconds = self.least * activity.end
            note = (
                f"AWS scales the instances, and their number is not recorded: {self.least} are "
                "billed from the trace's start to the last answer."
            )
        return Usage(instance_seconds=seconds, calls=activity.calls, notes=(note,))

    def idle_usage(self, seconds: float) -> Usage:
        """Return the time of the fewest instances."""
        return Usage(instance_seconds=self.least * seconds)

    def repeat_usage(self, usage: Usage, seconds: float) -> Usage:
        """Return the usage as it is: AWS changes the number of instances."""
        return usage

    def usage_at_most(self, seconds: float, *, calls: int | None, up_and_down: float) -> Usage:
        """Return the time of the most instances, and the calls."""
        return Usage(instance_seconds=self.most * (seconds + up_and_down), calls=calls or 0)
