"""How the endpoints of a local cloud behave where AWS publishes nothing or cannot be imitated."""

from dataclasses import dataclass
from typing import Literal, get_args

from workbench.deployment.base import KEEP_ALIVE
from workbench.deployment.on_demand import MB_PER_VCPU
from workbench.errors import InvalidInput
from workbench.localcloud.sandbox.cgroups import ResourceLimits
from workbench.validation import not_negative, positive

ColdStart = Literal["fresh", "imported", "snapshot"]
"""What a serverless cold start is: a new process; a fork of one that has the runtime loaded; or a
fork of one that has the model loaded too."""


@dataclass(frozen=True, kw_only=True)
class LocalCloudSettings:
    """The settings of a local cloud's endpoints.

    Attributes:
        cold_start: How a serverless instance is started.
        keep_alive: Seconds that an idle serverless instance is kept.
        time_limit: Seconds that a model may take to answer: 60 on AWS.
        scaling_minute: Seconds that autoscaling takes for a minute: 60 on AWS.

    Raises:
        InvalidInput: A setting is not what it must be.
    """

    cold_start: ColdStart = "fresh"
    keep_alive: float = KEEP_ALIVE
    time_limit: float = 60.0
    scaling_minute: float = 60.0

    def __post_init__(self) -> None:
        if self.cold_start not in get_args(ColdStart):
            raise InvalidInput(
                f"cold_start must be one of {get_args(ColdStart)}, got {self.cold_start!r}."
            )
        not_negative("keep_alive", self.keep_alive)
        positive("time_limit", self.time_limit)
        positive("scaling_minute", self.scaling_minute)


def limit_resources(memory_mb: int) -> ResourceLimits:
    """Return the limits of an instance of this memory, whose processors are in proportion.

    So it is for Lambda ("Configure Lambda function memory"), and inferred for SageMaker serverless.

    >>> limit_resources(1769)
    ResourceLimits(memory_mb=1769, cpus=1.0)
    """
    return ResourceLimits(memory_mb, memory_mb / MB_PER_VCPU)
