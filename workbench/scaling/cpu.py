"""Scaling by the use of processors, as Lambda scales the instances that it manages."""

import math
from collections import deque
from dataclasses import dataclass
from typing import ClassVar

from workbench.scaling.base import Reading, ScalingRule
from workbench.settings import optional, positive_amount, whole
from workbench.validation import positive_share, whole_number

_SECONDS = positive_amount("seconds")


@dataclass(frozen=True, kw_only=True)
class CpuTracking(ScalingRule):
    """As many instances as keep the use of their processors at a target.

    A batch that is served keeps one of an instance's `workers` busy, and all of them its processors
    (inferred: for models that compute). The use is the mean of looks `every` so often in a
    `window`. A fleet grows as soon as that calls for more, and shrinks to the most that was called
    for within `shrink_after`. AWS says that Lambda "scales asynchronously" by CPU use and
    saturation, and shrinks gradually (Lambda developer guide, "Scaling Lambda Managed Instances",
    read 2026-11-29); the three times are inferred.

    Attributes:
        target: Share of the processors that should be busy.
        workers: Batches that an instance serves at once.
        least, most: Instances.
        every, window, shrink_after: Seconds.

    Raises:
        InvalidInput: A number is out of its limits.

    >>> scaler = CpuTracking(target=0.5, workers=2, window=5).scaler()
    >>> full = Reading(arrived=9, done=3, waiting=0, serving=6, ready=3, starting=0)
    >>> scaler.due, scaler.decide(full, now=5.0)
    (5.0, 6)
    """

    kind: ClassVar[str] = "cpu tracking"

    target: float = optional(0.5, "CPU target", "share of the processors", positive_share)
    workers: int = optional(1, "Workers", "batches that an instance serves at once", whole(1))
    least: int = optional(3, "Least", "instances at least", whole(1))
    most: int = optional(100, "Most", "instances at most", whole(1))
    every: float = optional(5.0, "Look (s)", "seconds between looks", _SECONDS, only_simulated=True)
    window: float = optional(60.0, "Window (s)", "seconds of a mean", _SECONDS, only_simulated=True)
    shrink_after: float = optional(
        900.0, "Shrinks after (s)", "seconds that less sufficed", _SECONDS, only_simulated=True
    )

    def _check_together(self) -> None:
        whole_number("most", self.most, low=self.least)

    def scaler(self) -> "_CpuScaler":
        """Return a fresh scaler."""
        return _CpuScaler(self)


class _CpuScaler:
    def __init__(self, policy: CpuTracking) -> None:
        self._policy = policy
        self._looks = 0
        self._busy: deque[float] = deque(maxlen=max(1, round(policy.window / policy.every)))
        self._called: deque[tuple[float, int]] = deque()  # when, and for how many: falling counts

    @property
    def due(self) -> float:
        return (self._looks + 1) * self._policy.every

    def decide(self, reading: Reading, now: float) -> int:
        policy = self._policy
        self._looks += 1
        self._busy.append(reading.serving / policy.workers)
        needed = math.ceil(math.fsum(self._busy) / len(self._busy) / policy.target)
        needed = min(max(needed, policy.least), policy.most)
        # an older call for no more than this one is never the most again
        while self._called and self._called[-1][1] <= needed:
            self._called.pop()
        self._called.append((now, needed))
        while self._called[0][0] < now - policy.shrink_after:
            self._called.popleft()
        current = reading.ready + reading.starting
        return max(needed, min(current, self._called[0][1]))
