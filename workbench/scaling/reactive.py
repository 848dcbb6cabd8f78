"""Policies that react to what has happened, as Application Auto Scaling's do.

`TargetTracking` and `StepScaling` are also what a cloud follows, where
`workbench.cloud.autoscaling` registers them.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, get_args

from workbench.errors import InvalidInput
from workbench.scaling.base import Reading, ScalingRule
from workbench.settings import amount, flag, one_of, optional, positive_amount, setting, whole
from workbench.validation import as_tuple, not_negative, positive_share, whole_number

_SECONDS = amount("seconds")
_LONGER_THAN_0 = positive_amount("seconds")
# an asynchronous endpoint may have none for a while
_LEAST = setting("Least", "instances at least", whole(0))
_MOST = setting("Most", "instances at most", whole(1))  # of none nothing scales
_PERIOD = setting("Period (s)", "seconds of a metric's value", _LONGER_THAN_0)


@dataclass(frozen=True, kw_only=True)
class ScaleToZero(ScalingRule):
    """No instance without work: `count` when something waits and none is there, 0 when idle.

    Asked at the end of each `period`, as SageMaker's alarm on HasBacklogWithoutCapacity is; the
    fleet goes after nothing arrived, waited or was served for `idle` seconds. Both are inferred.

    Raises:
        InvalidInput: A number is out of its limits.

    >>> scaler = ScaleToZero(count=2).scaler()
    >>> reading = Reading(arrived=3, done=0, waiting=3, serving=0, ready=0, starting=0)
    >>> scaler.decide(reading, now=60.0)
    2
    """

    kind: ClassVar[str] = "scale to zero"

    count: int = optional(1, "Instances", "while there is work", whole(1))
    idle: float = optional(900.0, "Idle (s)", "seconds without work", _SECONDS)
    period: float = optional(60.0, "Period (s)", "seconds between two looks", _LONGER_THAN_0)

    def scaler(self) -> "_ScaleToZeroScaler":
        """Return a fresh scaler."""
        return _ScaleToZeroScaler(self)


class _PeriodScaler:
    """Base of the scalers that look at each period as it closes."""

    def __init__(self, period: float) -> None:
        self._period = period
        self._periods = 1

    @property
    def due(self) -> float:
        """The end of the period that is open."""
        return self._periods * self._period


class _ScaleToZeroScaler(_PeriodScaler):
    def __init__(self, policy: ScaleToZero) -> None:
        super().__init__(policy.period)
        self._policy = policy
        self._active = 0.0

    def decide(self, reading: Reading, now: float) -> int:
        self._periods += 1
        if reading.arrived or reading.done or reading.waiting or reading.serving:
            self._active = now
        current = reading.ready + reading.starting
        if reading.waiting and not current:
            return self._policy.count
        return 0 if now - self._active >= self._policy.idle else current


Metric = Literal["invocations", "concurrency", "backlog", "utilisation", "backlog without capacity"]
"""What a policy looks at: batches that arrived per instance and minute; batches that an instance
has, those that wait inside included; the same as SageMaker counts an asynchronous backlog; the
share of instances that serve; 1 while something waits and no instance is there."""

HIGH_RESOLUTION = 10.0
"""Seconds of a value of the concurrency (SageMaker developer guide, "Define a scaling policy": each
10 seconds, where other metrics have a minute; announced 2024-07-25)."""


def measure(metric: Metric, reading: Reading, *, seconds: float) -> float:
    """Return a metric of the `seconds` that a reading is about.

    >>> reading = Reading(arrived=30, done=30, waiting=8, serving=1, ready=2, starting=1)
    >>> [measure(name, reading, seconds=30.0) for name in ("invocations", "backlog", "utilisation")]
    [30.0, 4.5, 0.5]
    """
    instances = max(1, reading.ready)
    match metric:
        case "invocations":
            return reading.arrived / instances * (60 / seconds)
        case "backlog" | "concurrency":
            return (reading.waiting + reading.serving) / instances
        case "utilisation":
            return reading.serving / instances
        case "backlog without capacity":
            return float(reading.waiting > 0 and not reading.ready)


@dataclass(frozen=True, kw_only=True)
class TargetTracking(ScalingRule):
    """As many instances as keep a metric at its target, like Application Auto Scaling's policy.

    After `out_periods` closed periods above the target in a row there are
    ceil(instances x metric / target); likewise after `in_periods` below `low` of it. A change is
    followed by a cool-down, of its own each way, in which only a larger growth than the last goes
    through. AWS documents cool-downs and that ("Target tracking scaling policies", "Define cooldown
    periods"); the periods and `low` are inferred from the alarms it makes. A period without any
    batch counts as 0 here, where CloudWatch has no value and nothing changes.
    `high_resolution` makes the policy that sees load within seconds.

    Attributes:
        target: Of the metric; invocations are per instance and minute.
        metric: Which one.
        least, most: Instances.
        out_periods, in_periods: Closed periods in a row.
        low: Share of the target.
        out_cooldown, in_cooldown: Seconds.
        period: Seconds.
        scale_in: Whether it also takes instances away.

    Raises:
        InvalidInput: A number is out of its limits.

    >>> scaler = TargetTracking(target=60, out_periods=1).scaler()
    >>> busy = Reading(arrived=150, done=150, waiting=0, serving=1, ready=1, starting=0)
    >>> scaler.due, scaler.decide(busy, now=60.0)
    (60.0, 3)
    """

    kind: ClassVar[str] = "target tracking"

    target: float = field(metadata=setting("Target", "of the metric", positive_amount("")))
    metric: Metric = optional(
        "invocations", "Metric", "what is kept at its target", one_of(*get_args(Metric))
    )
    least: int = field(default=1, metadata=_LEAST)
    most: int = field(default=100, metadata=_MOST)
    out_periods: int = optional(
        3, "Periods to grow", "in a row above the target", whole(1), only_simulated=True
    )
    in_periods: int = optional(
        15, "Periods to shrink", "in a row below the target", whole(1), only_simulated=True
    )
    low: float = optional(
        0.9,
        "Low",
        "share of the target below which it shrinks",
        positive_share,
        only_simulated=True,
    )
    out_cooldown: float = optional(300.0, "Out cool-down (s)", "seconds after growth", _SECONDS)
    in_cooldown: float = optional(300.0, "In cool-down (s)", "seconds after shrinkage", _SECONDS)
    period: float = field(default=60.0, metadata=_PERIOD)
    scale_in: bool = field(
        default=True, metadata=setting("Shrinks", "whether instances are taken away, too", flag)
    )

    def _check_together(self) -> None:
        whole_number("most", self.most, low=max(1, self.least))

    @classmethod
    def high_resolution(cls, *, target: float, **settings: Any) -> "TargetTracking":  # noqa: ANN401 - those of the class
        """Return tracking of the concurrency, which is measured each 10 seconds.

        AWS documents that it grows much sooner than by minutes, and shrinks as it does by them
        (SageMaker developer guide, "Define a scaling policy", read 2026-11-29): so `in_periods` are
        15 minutes' worth. That three values in a row make it grow, and that each is the concurrency
        at one instant, is inferred.

        Args:
            target: Batches that an instance has on average, those that wait inside included.
            settings: Others of the class.

        >>> fast = TargetTracking.high_resolution(target=2)
        >>> fast.metric, fast.period * fast.out_periods, fast.period * fast.in_periods
        ('concurrency', 30.0, 900.0)
        """
        settings = {"period": HIGH_RESOLUTION, "in_periods": 90} | settings
        return cls(target=target, metric="concurrency", **settings)

    def scaler(self) -> "TargetTrackingScaler":
        """Return a fresh scaler."""
        return TargetTrackingScaler(self)


class TargetTrackingScaler(_PeriodScaler):
    """The scaler of a `TargetTracking`; `follow` is its rule, for who has the metric itself."""

    def __init__(self, policy: TargetTracking) -> None:
        super().__init__(policy.period)
        self._policy = policy
        self._above = self._below = 0
        self._out = self._in = -math.inf
        self._grown = 0  # to so many, at the last growth

    def decide(self, reading: Reading, now: float) -> int:
        """Return how many instances there should be, as a period closes."""
        self._periods += 1
        value = measure(self._policy.metric, reading, seconds=self._policy.period)
        current = reading.ready + reading.starting
        return self.follow(value, measured=reading.ready, current=current, now=now)

    def follow(self, value: float, *, measured: int, current: int, now: float) -> int:
        """Return how many instances there should be, by one closed period.

        Args:
            value: The metric in that period; NaN where it has none.
            measured: The instances that it is an average over.
            current: Those and the ones that start.
            now: In seconds, on any clock.
        """
        policy = self._policy
        # NaN is neither: it ends both rows
        self._above = self._above + 1 if value > policy.target else 0
        self._below = self._below + 1 if value < policy.low * policy.target else 0
        wanted = current
        if self._above >= policy.out_periods:
            needed = self._count_for_target(value, measured)
            if needed > self._grown or now - self._out >= policy.out_cooldown:
                wanted = max(current, needed)
        elif (
            policy.scale_in
            and self._below >= policy.in_periods
            and now - self._in >= policy.in_cooldown
        ):
            wanted = min(current, self._count_for_target(value, measured))
        wanted = min(max(wanted, policy.least), policy.most)
        if wanted > current:
            self._out, self._grown = now, wanted
        elif wanted < current:
            self._in = now
        return wanted

    def _count_for_target(self, value: float, measured: int) -> int:
        return math.ceil(max(1, measured) * value / self._policy.target)


def _check_steps(name: str, value: object) -> tuple[tuple[float, int], ...]:
    steps, before = as_tuple(name, value), -1.0
    for step in steps:
        if len(as_tuple("A step", step)) != 2:
            raise InvalidInput(f"A step is a distance and an adjustment, got {step!r}.")
        if not_negative("The distance of a step", step[0]) <= before:
            raise InvalidInput(f"Distances must increase from 0, got {list(steps)}.")
        if not isinstance(step[1], int):
            raise InvalidInput(f"An adjustment must be a whole number, got {step[1]!r}.")
        before = step[0]
    if not steps:
        raise InvalidInput("steps must hold at least one step, such as (0, 1).")
    return tuple((float(at), by) for at, by in steps)


@dataclass(frozen=True, kw_only=True)
class StepScaling(ScalingRule):
    """So many instances more, or exactly so many, by how far a metric is past its threshold.

    Attributes:
        steps: Pairs of a distance from the threshold, from 0 upwards, and an adjustment; the last
            one that the metric has reached counts.
        threshold: That the metric must reach; the backlog without capacity is 0 or 1.
        metric: Which one.
        adjustment: What an adjustment is: a "change", or "exact".
        least, most: Instances.
        periods: Closed periods in a row that the threshold must have been reached in.
        cooldown: Seconds after a change (default of AWS's documentation, "Step scaling policies").
        period: Seconds.

    Raises:
        InvalidInput: A number is out of its limits.

    >>> scaler = StepScaling(steps=[(0, 1), (10, 3)], metric="backlog", least=0).scaler()
    >>> scaler.decide(Reading(12, 0, 12, 0, 0, 0), now=60.0)
    3
    """

    kind: ClassVar[str] = "step scaling"

    steps: Sequence[tuple[float, int]] = optional(
        ((0.0, 1),), "Steps", "pairs of distance and adjustment", _check_steps
    )
    threshold: float = optional(1.0, "Threshold", "that the metric must reach", positive_amount(""))
    metric: Metric = optional(
        "backlog without capacity",
        "Metric",
        "what must reach its threshold",
        one_of(*get_args(Metric)),
    )
    adjustment: Literal["change", "exact"] = optional(
        "change",
        "Adjustment",
        "what an adjustment is: a change, or exact",
        one_of("change", "exact"),
    )
    least: int = field(default=0, metadata=_LEAST)
    most: int = field(default=100, metadata=_MOST)
    periods: int = optional(1, "Periods", "in a row at the threshold or past it", whole(1))
    cooldown: float = optional(300.0, "Cool-down (s)", "seconds after a change", _SECONDS)
    period: float = field(default=60.0, metadata=_PERIOD)

    def _check_together(self) -> None:
        whole_number("most", self.most, low=max(1, self.least))

    def scaler(self) -> "StepScaler":
        """Return a fresh scaler."""
        return StepScaler(self)


class StepScaler(_PeriodScaler):
    """The scaler of a `StepScaling`; `follow` is its rule, for who has the metric itself."""

    def __init__(self, policy: StepScaling) -> None:
        super().__init__(policy.period)
        self._policy = policy
        self._reached = 0
        self._changed = -math.inf

    def decide(self, reading: Reading, now: float) -> int:
        """Return how many instances there should be, as a period closes."""
        self._periods += 1
        value = measure(self._policy.metric, reading, seconds=self._policy.period)
        return self.follow(value, current=reading.ready + reading.starting, now=now)

    def follow(self, value: float, *, current: int, now: float) -> int:
        """Return how many instances there should be, by the metric in one closed period."""
        policy = self._policy
        self._reached = self._reached + 1 if value >= policy.threshold else 0
        wanted = current
        if self._reached >= policy.periods and now - self._changed >= policy.cooldown:
            past = value - policy.threshold
            by = [change for at, change in policy.steps if at <= past]
            if by:
                wanted = by[-1] if policy.adjustment == "exact" else current + by[-1]
        wanted = min(max(wanted, policy.least), policy.most)
        if wanted != current:
            self._changed = now
        return wanted
