"""MArk's policies: as its paper describes them, and as its code was released.

C. Zhang, M. Yu, W. Wang, F. Yan: MArk (USENIX ATC 2019), and marcoszh/MArk-Project at its last
commit, 2019-12-27; nothing of that code is here. Both look each minute at the busiest 5 s of it,
keep a fifth in hand, cover six minutes by the greedy rule, and stop what six plans did without.
The paper forecasts by a recurrent network; the released scheduler has its call commented out, and
takes the highest load there ever was.
"""

from collections.abc import Sequence
from contextlib import suppress
from copy import deepcopy
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np

from workbench.errors import InvalidInput, TooFewSamples
from workbench.forecasts.base import Forecaster, ask_forecaster
from workbench.scaling.base import Counts, Reading
from workbench.scaling.capacity import InstanceCapacity
from workbench.scaling.miss_tracker import MissRule
from workbench.scaling.predictive import check_forecaster, describe_forecaster
from workbench.scaling.provision import Floats, as_capacities, fill_greedily
from workbench.scaling.rounds import PlannedFleet, check_rounds, rounds_to_dict
from workbench.validation import keep, positive, whole_number


@dataclass(frozen=True, kw_only=True)
class MArkReleased:
    """MArk's policy as released: for the highest load so far, which it never forgets.

    Attributes:
        capacity: What an instance can do, one for each type.
        window: Seconds; the busiest of an interval counts, as if all were so (PREDICTOR_WINDOW).
        headroom: Factor on the forecast (Times).
        steps: Intervals ahead that must be covered (STEP_AHEAD).
        launch_overhead: Seconds of its price that a launch is charged (scheduler.py).
        in_rounds: Rounds in a row that must do without an instance (scheduler.py).
        warm_rounds: Rounds at first in which nothing changes (PREDICTOR_PARAM).
        interval: Seconds between rounds (PREDICTOR_PARAM).
        misses: When late requests launch more (frontend.py); None: they do not.
        least, most: Instances: at least of the first type, at most of each.

    Raises:
        InvalidInput: A setting is out of its limits.

    >>> one = InstanceCapacity(instance_type="c5.xlarge", rate=490 / 60, hourly_price=0.17)
    >>> policy = MArkReleased(capacity=one, window=60, warm_rounds=0)
    >>> scaler = policy.scaler()
    >>> scaler.decide(Reading(980, 0, 0, 0, 1, 0, requests=980), now=60.0)  # 980 x 1.2 / 490
    3
    >>> scaler.decide(Reading(0, 0, 0, 0, 3, 0, requests=0), now=120.0)
    3
    """

    kind: ClassVar[str] = "mark released"

    capacity: InstanceCapacity | Sequence[InstanceCapacity]
    window: float = 5.0
    headroom: float = 1.2
    steps: int = 6
    launch_overhead: float = 180.0
    in_rounds: int = 6
    warm_rounds: int = 5
    interval: float = 60.0
    misses: MissRule | None = None
    least: int = 0
    most: int = 1000

    def __post_init__(self) -> None:
        as_capacities(self.capacity)
        keep(
            self,
            headroom=positive("headroom", self.headroom),
            steps=whole_number("steps", self.steps, low=1),
            warm_rounds=whole_number("warm_rounds", self.warm_rounds, low=0),
            interval=positive("interval", self.interval, "seconds"),
            window=positive("window", self.window, "seconds"),
        )
        check_rounds(self)
        windows = self.interval / self.window
        if abs(windows - round(windows)) > 1e-9 or windows < 1:
            raise InvalidInput(
                f"interval must be a multiple of window, got {self.interval} s and {self.window} s."
            )

    @cached_property
    def capacities(self) -> tuple[InstanceCapacity, ...]:
        """What an instance of each type can do."""
        return as_capacities(self.capacity)

    def to_dict(self) -> dict[str, Any]:
        """Return kind and settings as JSON values."""
        return rounds_to_dict(self)

    def scaler(self) -> "MArkScaler":
        """Return a fresh scaler."""
        return MArkScaler(self)


@dataclass(frozen=True, kw_only=True)
class MArkDescribed(MArkReleased):
    """MArk's policy as described: for a forecast of the busiest 5 s, with its other constants.

    The paper's forecaster is a recurrent network (LSTM), which is not rebuilt here: `forecaster`
    may be any, whose median counts; without one, the last interval's peak stands for those ahead.

    >>> one = InstanceCapacity(instance_type="c5.xlarge", rate=490 / 60, hourly_price=0.17)
    >>> policy = MArkDescribed(capacity=one, window=60, warm_rounds=0, in_rounds=1)
    >>> scaler = policy.scaler()
    >>> scaler.decide(Reading(980, 0, 0, 0, 1, 0, requests=980), now=60.0)
    3
    >>> scaler.decide(Reading(0, 0, 0, 0, 3, 0, requests=0), now=120.0)
    0
    """

    kind: ClassVar[str] = "mark described"

    forecaster: Forecaster | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.forecaster is not None:
            check_forecaster(self.forecaster)

    def to_dict(self) -> dict[str, Any]:
        """Return kind and settings as JSON values."""
        known = None if self.forecaster is None else describe_forecaster(self.forecaster)
        return {**super().to_dict(), "forecaster": known}

    def scaler(self) -> "MArkScaler":
        """Return a fresh scaler, with a forecaster of its own."""
        return _DescribedScaler(self)


class MArkScaler:
    """The scaler of `MArkReleased`: it counts each window, and plans as an interval closes."""

    def __init__(self, policy: MArkReleased) -> None:
        self._policy = policy
        self._windows = round(policy.interval / policy.window)
        self._closed, self._peak = 0, 0
        self._peaks: list[float] = []
        self._fleet = PlannedFleet(policy)
        self.latency_target = self._fleet.latency_target

    @property
    def due(self) -> float:
        """The end of the window that is open."""
        return (self._closed + 1) * self._policy.window

    def decide(self, reading: Reading, now: float) -> Counts:  # noqa: ARG002 - its windows count
        """Return how many instances there should be: other than there are, as intervals close."""
        self._closed += 1
        self._peak = max(self._peak, reading.requests)
        self._fleet.add(reading)
        running = self._fleet.count_running(reading)
        if self._closed % self._windows:
            return self._fleet.answer(running, reading)
        self._peaks.append(float(self._peak * self._windows))
        self._peak = 0
        policy = self._policy
        if len(self._peaks) <= policy.warm_rounds:
            return self._fleet.answer(running, reading)
        plan = fill_greedily(
            policy.capacities,
            policy.headroom * self._forecast(),
            interval=policy.interval,
            running=running,
            overhead=policy.launch_overhead,
            steps=policy.steps,
        )
        return self._fleet.answer(self._fleet.close_round(plan, plan, running), reading)

    def _forecast(self) -> Floats:
        """Return the load by interval ahead."""
        return np.full(self._policy.steps, max(self._peaks))


class _DescribedScaler(MArkScaler):
    """The scaler of `MArkDescribed`."""

    def __init__(self, policy: MArkDescribed) -> None:
        super().__init__(policy)
        self._forecaster = deepcopy(policy.forecaster)

    def _forecast(self) -> Floats:
        policy = self._policy
        if self._forecaster is not None:
            with suppress(TooFewSamples):
                self._forecaster.fit(self._peaks, policy.interval)
                return ask_forecaster(self._forecaster, policy.steps, [0.5])[:, 0]
        return np.full(policy.steps, self._peaks[-1])
