"""What serves a deployment's batches: the few kinds of queues that inference types come down to.

Simulator, formulas and planner know these and no inference type.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from workbench.scaling.cpu import CpuTracking


@dataclass(frozen=True, kw_only=True)
class FleetPlatform:
    """Instances that are there all the time, each with some workers.

    Attributes:
        instances: How many.
        workers: Batches that each serves at once.
        routing: "shared" is one queue for all; else each has its own, and a batch goes to that of
            the "least_outstanding" or of a "random" one.
        ttl: Seconds that a batch waits at most.
        least: The fewest instances that scaling may leave.
        metered: Whether each instance is billed from its launch to its stop.
        scaling: What it scales by itself, from `instances` on; None: it does not.
    """

    instances: int
    workers: int = 1
    routing: str = "shared"
    ttl: float = math.inf
    least: int = 1
    metered: bool = True
    scaling: CpuTracking | None = None

    @property
    def rejects(self) -> bool:
        """Whether a batch that finds no worker free is refused at once."""
        return self.ttl == 0

    @property
    def idle_instances(self) -> int:
        """How many instances there are without any call."""
        return self.instances

    @property
    def servers(self) -> int:
        """How many batches are served at once, at most where it scales by itself."""
        return (self.instances if self.scaling is None else self.scaling.most) * self.workers

    @property
    def one_queue(self) -> bool:
        """Whether all batches wait in one queue, which none leaves unserved."""
        return (self.routing == "shared" or self.instances == 1) and math.isinf(self.ttl)


@dataclass(frozen=True, kw_only=True)
class OnDemandPlatform:
    """Instances that start when a batch finds none idle, and go when nothing comes.

    Attributes:
        limit: Calls in flight, provisioned ones included.
        provisioned: Instances that are kept warm.
        keep_alive: Seconds that another idle instance is kept.
        queues: Whether a batch at the limit waits at the client; else it fails.
        pace: Seconds between two new instances once the burst is used up.
        depth: The burst: so many seconds' worth of new instances at once.
    """

    limit: int
    provisioned: int
    keep_alive: float
    queues: bool
    pace: float = 0.0
    depth: float = math.inf

    @property
    def idle_instances(self) -> int:
        """How many instances there are without any call."""
        return self.provisioned

    @property
    def servers(self) -> int:
        """How many batches are served at once."""
        return self.limit


@dataclass(frozen=True, kw_only=True)
class JobPlatform:
    """Instances that live as long as a job over all requests of a period.

    A job waits until they have booted, and is billed from then on until it ends.

    Attributes:
        instances: Of each job.
        period: Seconds; None is one job at the end of the trace.
    """

    instances: int
    period: float | None

    @property
    def idle_instances(self) -> int:
        """How many instances there are while a job runs."""
        return self.instances

    @property
    def servers(self) -> int:
        """How many chunks of rows are served at once."""
        return self.instances


BOOT = 180.0
"""Seconds an instance boots where nobody measured it: MArk's launch (C. Zhang et al., ATC 2019)."""

Platform = FleetPlatform | OnDemandPlatform | JobPlatform
"""What serves a deployment's batches."""
