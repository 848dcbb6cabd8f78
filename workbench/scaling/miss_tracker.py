"""More instances where too many requests come late: MArk's guard against forecasts gone wrong."""

from dataclasses import asdict, dataclass
from typing import Any

from workbench.scaling.base import Reading
from workbench.validation import inner_share, keep, positive, positive_share, whole_number


@dataclass(frozen=True, kw_only=True)
class MissRule:
    """When late requests launch an instance beyond the plan.

    The share of late requests is an average that forgets: of each request, `weight` is new. Where
    it passes `share`, `launch` instances are launched and kept for `cooldown_rounds` rounds, in
    which the share is not looked at; then it counts from 0 again. Defaults: SLA_BOUND and
    frontend.py of marcoszh/MArk-Project, last commit 2019-12-27.

    Attributes:
        latency_target: Seconds.

    Raises:
        InvalidInput: A number is out of its limits.
    """

    latency_target: float
    share: float = 0.02
    weight: float = 0.001
    launch: int = 1
    cooldown_rounds: int = 5

    def __post_init__(self) -> None:
        keep(
            self,
            latency_target=positive("latency_target", self.latency_target, "seconds"),
            share=positive_share("share", self.share),
            weight=inner_share("weight", self.weight),
            launch=whole_number("launch", self.launch, low=1),
            cooldown_rounds=whole_number("cooldown_rounds", self.cooldown_rounds, low=1),
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the settings as JSON values."""
        return asdict(self)


class MissTracker:
    """The state of a `MissRule`: it sees each reading, and says once a round what that asks for."""

    def __init__(self, rule: MissRule) -> None:
        self._rule = rule
        self._share, self._rounds = 0.0, 0

    def add(self, reading: Reading) -> None:
        """Take in the late requests among those of a reading.

        How many were answered it does not say; as many as arrived, or were late, is taken.
        """
        count = max(reading.requests, reading.late)
        if count:
            # a moving mean over all of them at once: a reading does not say their order
            old = (1 - self._rule.weight) ** count
            self._share = old * self._share + (1 - old) * reading.late / count

    def close_round(self) -> int:
        """Return how many instances there should be beyond the plan."""
        if self._rounds:
            self._rounds -= 1
            self._share = 0.0
        if not self._rounds and self._share > self._rule.share:
            self._rounds, self._share = self._rule.cooldown_rounds, 0.0
        return self._rule.launch if self._rounds else 0
