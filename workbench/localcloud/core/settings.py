"""How the endpoints of a local cloud behave where AWS publishes nothing or cannot be imitated."""

from dataclasses import dataclass
from typing import Literal, get_args

from workbench.deployment import KEEP_ALIVE
from workbench.errors import InvalidInput
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
