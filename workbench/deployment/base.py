"""What every inference type says of itself: the questions that the rest of the workbench asks.

A deployment is a value: frozen, its limits checked when it is built, its dictionary fit for JSON.
Whoever adds an inference type answers these questions in one file.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Self

from workbench.deployment.platforms import Platform
from workbench.errors import InvalidInput
from workbench.pricing.sheet import PriceSheet
from workbench.pricing.usage import Activity, Usage
from workbench.settings import build_from_dict, check_settings, settings_to_dict

if TYPE_CHECKING:
    from workbench.pricing.cost import Items


KEEP_ALIVE = 600.0
"""Seconds an idle instance is kept by default. Inferred: AWS does not publish it."""

Size = int | str
"""What a deployment's speed hangs on: its memory in MB, or its instance type."""

KINDS: dict[str, type[Deployment]] = {}
"""The inference types by kind, filled by the package's table of contents."""

COMPOSITES: dict[str, type[Deployment]] = {}
"""Kinds that are made of others, filled likewise: they are read, and nobody chooses from them."""

_NEEDS_CLOUD = "Running it takes a cloud: LocalCloud on this machine, or AWS."
_ENVELOPE = 81  # bytes of a function's event around its base64: see workbench.backends.lambda_


def event_bytes(content: int) -> int:
    """Return the bytes of a function's event around so many bytes of content, in base64."""
    return _ENVELOPE + 4 * -(-content // 3)


@dataclass(frozen=True, kw_only=True)
class PlanChoices:
    """What a plan tries of the inference types: see `workbench.planner.Options`, which has more.

    By default it is what a new account may have. Lambda's guide says that such have less memory at
    first (gettingstarted-limits, read 2026-11-29), of which people met 3008 MB (pull request 181 of
    aws-lambda-power-tuning); of SageMaker a public log of 2026-09 tells of 3072 MB. Both inferred.
    """

    serverless_memory_mb: Sequence[int] = (1024, 2048, 3072)
    lambda_memory_mb: Sequence[int] = (512, 768, 1024, 1280, 1536, 1769, 2048, 2560, 3008)
    instance_types: Sequence[str] = ("ml.c5.large", "ml.c5.xlarge", "ml.m5.large", "ml.m5.xlarge")
    managed_instance_types: Sequence[str] = ("c7g.xlarge", "m7g.xlarge")
    serverless_concurrency: int = 200
    lambda_concurrency: int = 900
    keep_alive: float = KEEP_ALIVE
    threads: int = 1


@dataclass(frozen=True, kw_only=True)
class Deployment(ABC):
    """Base of the inference types.

    Attributes:
        kind: The type's name.
        needs: What running it takes; "" where this machine will do.
        payload_limit: The largest request in bytes; None: any.
        payload_note: What to add where the limit is shown.
        payload_encoding: How content is encoded, which makes it longer; "" where it is not.
        time_limit: Seconds that an answer may take; None: any.
        time_limit_from_sending: Whether they begin when a call is sent, not when it is served.
        start_limit: Seconds that an instance may take to start; None: any.
        default_quota: The most calls in flight that one may have unless AWS raised the account's
            quota; None: there is none.
        vcpus_source: How the vCPUs are known.
        on_demand: Whether instances start when a call comes.
        by_job: Whether requests are answered by jobs, to which no batching policy applies.
        counted_by: The setting that says how many instances there are; "" where none does.
        scaled_by: The setting that autoscaling changes; "" where there is no autoscaling.
        bills_data: Whether bytes in and out are billed.
        takes_overflow: Whether it can be the base of a `Hybrid`, which functions relieve.

    Raises:
        InvalidInput: A setting is out of its limits.
    """

    kind: ClassVar[str]
    needs: ClassVar[str] = _NEEDS_CLOUD
    payload_limit: ClassVar[int | None] = None
    payload_note: ClassVar[str] = ""
    payload_encoding: ClassVar[str] = ""
    time_limit: ClassVar[float | None] = None
    time_limit_from_sending: ClassVar[bool] = False
    start_limit: ClassVar[float | None] = None
    default_quota: ClassVar[int | None] = None
    vcpus_source: ClassVar[str] = "not published"
    on_demand: ClassVar[bool] = False
    by_job: ClassVar[bool] = False
    counted_by: ClassVar[str] = ""
    scaled_by: ClassVar[str] = ""
    bills_data: ClassVar[bool] = False
    takes_overflow: ClassVar[bool] = False

    def __post_init__(self) -> None:
        """Check the settings, each by itself and then together."""
        check_settings(self)
        self._check_together()

    def _check_together(self) -> None:  # noqa: B027 - most types have nothing to check here
        """Check what one setting asks of another."""

    # ---------------------------------------------------------------- what it is

    @property
    @abstractmethod
    def label(self) -> str:
        """The deployment in a few words, for charts and tables."""

    @property
    @abstractmethod
    def platform(self) -> Platform:
        """What serves its batches."""

    @classmethod
    @abstractmethod
    def example(cls) -> Self:
        """Return what a form begins with."""

    @classmethod
    def variants(cls, choices: PlanChoices) -> Sequence[Deployment]:  # noqa: ARG003 - of others
        """Return the deployments that a plan tries, one instance each; none by default."""
        return ()

    # ------------------------------------------------------- what it is made of

    @property
    def simple_parts(self) -> tuple[Deployment, ...]:
        """The deployments it is made of: itself, unless it is a composite."""
        return (self,)

    @property
    def place_names(self) -> tuple[str, ...]:
        """The names of the places of its run."""
        return (self.label,)

    @property
    def vcpus(self) -> float | None:
        """The vCPUs of one instance; None if unknown. See `vcpus_source`."""
        return None

    @property
    def size(self) -> Size | None:
        """The memory in MB or the instance type that its speed hangs on; None where it has none."""
        return None

    @property
    def memory(self) -> float | None:
        """The bytes of memory of one instance; None if unknown."""
        return None

    @property
    def instance_workers(self) -> int:
        """The model servers of one instance, which share its vCPUs."""
        return 1

    @property
    def session_threads(self) -> int:
        """The threads that one model server computes with."""
        return 1

    @property
    def call_limit(self) -> float | None:
        """Seconds after which a call fails; None: never."""
        return self.time_limit

    @classmethod
    def payload(cls, content: int) -> int:
        """Return the bytes that a request with so many bytes of content takes."""
        return content

    def with_count(self, count: int) -> Self:
        """Return the same deployment with so many instances; as it is if they are not counted."""
        return replace(self, **{self.counted_by: count}) if self.counted_by else self

    def with_period(self, period: float) -> Self:
        """Return the same deployment with a job each so many seconds; as it is without jobs."""
        return self

    def with_scale(self, least: int) -> Self:
        """Return the deployment with at least so many of what autoscaling changes."""
        if not self.scaled_by:
            return self
        return replace(self, **{self.scaled_by: max(least, getattr(self, self.scaled_by))})

    def part_here(self) -> tuple[Deployment, int]:
        """Return what this machine can run of it, and of how many like parts that is one.

        Raises:
            InvalidInput: It takes a cloud.
        """
        raise InvalidInput(f"{self.label} does not run on this machine. {self.needs}")

    # ------------------------------------------------------------- what it costs

    def bill(self, usage: Usage, *, prices: PriceSheet | None = None) -> Items:
        """Return what billed quantities cost, item by item.

        Args:
            usage: The quantities.
            prices: The price sheet, by default that of us-east-1.

        Raises:
            InvalidInput: A quantity is negative or not finite.
            NotFound: The sheet lacks a price.
        """
        return self._bill(usage, PriceSheet.load() if prices is None else prices)

    @abstractmethod
    def _bill(self, usage: Usage, prices: PriceSheet) -> Items:
        """Return the items of billed quantities."""

    @abstractmethod
    def usage(self, activity: Activity, *, bill_cold_start: bool = False) -> Usage:
        """Return what is billed for what happened, bytes apart.

        `bill_cold_start` bills cold starts even where the type, as is inferred, does not.
        """

    @abstractmethod
    def idle_usage(self, seconds: float) -> Usage:
        """Return what is billed for being there so long without a call."""

    def repeat_usage(self, usage: Usage, seconds: float) -> Usage:
        """Return the usage of one of many traces of `seconds` in a row.

        What is there all the time is billed for so long, without boot, and calls as they were.
        """
        if self.by_job:
            return usage
        idle = self.idle_usage(seconds)
        kept = ("seconds", "enabled_seconds", "instance_seconds")
        return replace(
            usage, **{name: getattr(idle, name) or getattr(usage, name) for name in kept}
        )

    def usage_at_most(self, seconds: float, *, calls: int | None, up_and_down: float) -> Usage:
        """Return the most that can be billed for `seconds` of traffic.

        Args:
            seconds: Of traffic.
            calls: How many there are at most; None: any number.
            up_and_down: Seconds that instances take to start and stop, which are billed.
        """
        return self.idle_usage(seconds + up_and_down)

    # ------------------------------------------------------------ how it is saved

    def to_dict(self) -> dict[str, Any]:
        """Return kind and settings as JSON values.

        >>> from workbench.deployment import Local
        >>> Local(workers=2).to_dict()
        {'kind': 'local', 'workers': 2, 'threads': 1, 'hourly_price': 0.0}
        """
        return settings_to_dict(self)

    @staticmethod
    def from_dict(data: Mapping[str, Any]) -> Deployment:
        """Return the deployment that `to_dict` described.

        Raises:
            InvalidInput: Kind or setting is unknown, or a setting is missing or out of its limits.

        >>> Deployment.from_dict({"kind": "local", "workers": 2})
        Local(workers=2, threads=1, hourly_price=0.0)
        """
        return build_from_dict("deployment", KINDS | COMPOSITES, data)


def is_by_job(kind: str) -> bool:
    """Return whether an inference type answers by jobs; what is none does not."""
    return kind in KINDS and KINDS[kind].by_job


def is_on_demand(kind: str) -> bool:
    """Return whether the instances of an inference type start on demand; what is none has none."""
    return kind in KINDS and KINDS[kind].on_demand
