"""A process of this machine."""

from dataclasses import dataclass
from typing import ClassVar

from workbench.deployment.base import Deployment
from workbench.deployment.platforms import FleetPlatform
from workbench.pricing.cost import CostItem, Items
from workbench.pricing.sheet import PriceSheet
from workbench.pricing.usage import Activity, Usage
from workbench.settings import amount, optional, whole
from workbench.units import HOUR

MAX_THREADS = 1024
"""The most workers, and threads of each, on this machine: more hardly start."""


@dataclass(frozen=True, kw_only=True)
class Local(Deployment):
    """A process of this machine: `workers` sessions on one queue, each of `threads` threads.

    `hourly_price` is what the machine costs in US dollars an hour, by your own account.

    Raises:
        InvalidInput: A count is not from 1 to 1024, or the price negative or not finite.

    >>> Local(workers=2, threads=4).label
    'local, 2 workers x 4 threads'
    """

    kind: ClassVar[str] = "local"
    needs: ClassVar[str] = ""

    workers: int = optional(
        1, "Workers", "model servers", whole(1, MAX_THREADS), steps=range(1, 17)
    )
    threads: int = optional(1, "Threads", "of each worker", whole(1, MAX_THREADS))
    hourly_price: float = optional(
        0.0,
        "Price (USD/hour)",
        "what this machine costs in US dollars an hour, by your account",
        amount("US dollars"),
    )

    @property
    def label(self) -> str:
        """The deployment in a few words, for charts and tables."""
        workers = f"{self.workers} worker{'s' * (self.workers > 1)}"
        return f"local, {workers}" + (f" x {self.threads} threads" if self.threads > 1 else "")

    @property
    def platform(self) -> FleetPlatform:
        """Its workers on one queue."""
        return FleetPlatform(instances=self.workers, metered=False)

    @classmethod
    def example(cls) -> "Local":
        """Return what a form begins with."""
        return cls()

    @property
    def instance_workers(self) -> int:
        """The sessions of this machine."""
        return self.workers

    @property
    def session_threads(self) -> int:
        """The threads of each session."""
        return self.threads

    def part_here(self) -> tuple["Local", int]:
        """Return itself, the only part."""
        return self, 1

    def _bill(self, usage: Usage, prices: PriceSheet) -> Items:
        return (CostItem.by_user("this machine", usage.seconds / HOUR, "hour", self.hourly_price),)

    def usage(self, activity: Activity, *, bill_cold_start: bool = False) -> Usage:
        """Return the time from 0 to the last answer."""
        free = "This machine counts as free: give its price as Local(hourly_price=...)."
        return Usage(seconds=activity.end, notes=() if self.hourly_price else (free,))

    def idle_usage(self, seconds: float) -> Usage:
        """Return the time itself."""
        return Usage(seconds=seconds)
