"""As many instances as the critical quantile of a forecast needs; functions take the rest."""

import math
from collections.abc import Sequence
from contextlib import suppress
from copy import deepcopy
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, Literal

import numpy as np

from workbench.errors import InvalidInput, TooFewSamples
from workbench.forecasts.base import Forecaster, ask_forecaster
from workbench.scaling.base import Counts, Reading
from workbench.scaling.capacity import InstanceCapacity
from workbench.scaling.miss_tracker import MissRule
from workbench.scaling.provision import Floats, Whole, as_capacities, fill_greedily, find_cheapest
from workbench.scaling.rounds import PlannedFleet, check_rounds, rounds_to_dict
from workbench.validation import as_tuple, inner_share, keep, not_negative, positive

_HIGHEST = 0.999  # of forecast demand, where nothing else can take it
_CASES = 40, 20, 10, 5, 3  # equally likely demands that stand for a distribution: as many as go
_FEWER_CASES = _CASES[2:]  # of several types, each of which costs an integer programme


@dataclass(frozen=True, kw_only=True)
class Predictive:
    """A policy that forecasts demand and keeps as many instances as pay beside functions.

    An instance more pays when the probability that it is used, times what functions would cost
    for its work, exceeds its price (the newsvendor's rule, `InstanceCapacity.critical_quantile`).
    At the end of each interval it looks as far ahead as launching takes: launched is what that
    quantile of demand needs in the interval after a boot; kept, what one before it needs.

    Attributes:
        forecaster: Of requests by interval; each scaler works on a copy.
        capacity: What an instance can do, one for each type.
        call_price: US dollars of a request on functions; None: there are none.
        quantile: Of demand, in place of the critical one.
        plan: "exact": the least expected cost over the whole distribution, by `find_cheapest`,
            which also knows when the last instance would be used too little. "greedy": of one type
            the quantile divided by its rate, of several `fill_greedily`, much faster.
        boot: Seconds from launch to service.
        interval: Seconds between rounds.
        history: Requests by interval before the trace, oldest first: with them it plans from 0.
        in_rounds: Rounds in a row that must do without an instance before it is stopped: as many as
            a boot takes, since to launch it again costs that.
        launch_overhead: Seconds of its price that a launch is charged in a plan of several types,
            so that it does not change types for nothing: a tenth of a boot.
        misses: When late requests launch more.
        least, most: Instances: at least of the first type, at most of each.

    Raises:
        InvalidInput: A setting is out of its limits.

    >>> one = InstanceCapacity(instance_type="c5.xlarge", rate=490 / 60, hourly_price=0.17)
    >>> class Last:
    ...     def fit(self, counts, period):
    ...         self.last = counts[-1]
    ...     def forecast(self, steps, quantiles):
    ...         return np.full((steps, len(quantiles)), float(self.last))
    >>> scaler = Predictive(forecaster=Last(), capacity=one, call_price=49.55e-6).scaler()
    >>> scaler.decide(Reading(1200, 0, 0, 0, 1, 0, requests=1200), now=60.0)
    3
    """

    kind: ClassVar[str] = "predictive"

    forecaster: Forecaster
    capacity: InstanceCapacity | Sequence[InstanceCapacity]
    call_price: float | None = None
    quantile: float | None = None
    plan: Literal["greedy", "exact"] = "exact"
    boot: float = 180.0
    interval: float = 60.0
    history: Sequence[float] = ()
    in_rounds: int = 3
    launch_overhead: float = 18.0
    misses: MissRule | None = None
    least: int = 0
    most: int = 1000

    def __post_init__(self) -> None:
        check_forecaster(self.forecaster)
        as_capacities(self.capacity)
        if self.quantile is not None:
            keep(self, quantile=inner_share("quantile", self.quantile))
        if self.plan not in ("greedy", "exact"):
            raise InvalidInput(f'plan must be "greedy" or "exact", got {self.plan!r}.')
        keep(
            self,
            call_price=check_call_price(self.call_price),
            boot=not_negative("boot", self.boot, "seconds"),
            interval=positive("interval", self.interval, "seconds"),
            history=tuple(
                not_negative("Each of history", each) for each in as_tuple("history", self.history)
            ),
        )
        check_rounds(self)

    @cached_property
    def capacities(self) -> tuple[InstanceCapacity, ...]:
        """What an instance of each type can do."""
        return as_capacities(self.capacity)

    @cached_property
    def quantiles(self) -> tuple[float, ...]:
        """The quantile of demand that each type pays up to: 0 where functions are cheaper."""
        if self.quantile is not None:
            return (self.quantile,) * len(self.capacities)
        price = self.call_price
        if price is None:
            return (_HIGHEST,) * len(self.capacities)
        return tuple(min(each.critical_quantile(price), _HIGHEST) for each in self.capacities)

    @property
    def steps(self) -> int:
        """How many intervals ahead the demand lies that a launched instance serves first."""
        return math.ceil((self.boot + self.interval) / self.interval - 1e-9)

    @property
    def advice(self) -> str:
        """What the prices alone say, in a sentence; empty if the forecast has to decide."""
        if not any(self.quantiles):
            types = ", ".join(each.instance_type for each in self.capacities)
            return f"Functions are cheaper than {types} at every load: no instance pays."
        if self.call_price is None:
            return f"Without functions, instances are for the {_HIGHEST:.1%} quantile of demand."
        return ""

    def to_dict(self) -> dict[str, Any]:
        """Return kind and settings as JSON values."""
        forecaster = describe_forecaster(self.forecaster)
        return rounds_to_dict(self) | {"forecaster": forecaster, "history": list(self.history)}

    def scaler(self) -> "PredictiveScaler":
        """Return a fresh scaler, with a forecaster of its own."""
        return PredictiveScaler(self)


class PredictiveScaler:
    """The scaler of a `Predictive`."""

    def __init__(self, policy: Predictive) -> None:
        self._policy = policy
        self._forecaster = deepcopy(policy.forecaster)
        self._counts = list(policy.history)
        self._rounds = 0 if self._counts else 1
        self._fleet = PlannedFleet(policy)
        self.latency_target = self._fleet.latency_target

    @property
    def due(self) -> float:
        """The end of the interval that is open."""
        return self._rounds * self._policy.interval

    def decide(self, reading: Reading, now: float) -> Counts:  # noqa: ARG002 - its rounds count
        """Return how many instances there should be, as an interval closes."""
        if self._rounds:
            self._counts.append(float(reading.requests))
        self._rounds += 1
        self._fleet.add(reading)
        running = self._fleet.count_running(reading)
        plan, kept = self._plan(running)
        return self._fleet.answer(self._fleet.close_round(plan, kept, running), reading)

    def _plan(self, running: Whole) -> tuple[Whole, Whole]:
        """Return the counts to launch up to, and those to keep, by type."""
        policy = self._policy
        pays = np.array(policy.quantiles) > 0
        plan, kept = np.zeros((2, len(pays)), np.int64)
        if pays.any():
            types = [each for each, does in zip(policy.capacities, pays, strict=True) if does]
            if policy.plan == "exact" and policy.quantile is None:
                plan[pays], kept[pays] = self._plan_exactly(types, running[pays])
            else:
                plan[pays], kept[pays] = self._plan_greedily(types, running[pays])
        return plan, kept

    def _plan_greedily(
        self, types: list[InstanceCapacity], running: Whole
    ) -> tuple[Whole, Whole | int]:
        policy = self._policy
        curve = self._forecast([max(policy.quantiles)])[:, 0]
        if len(types) == 1:
            needed = np.ceil(curve / (types[0].rate * policy.interval) - 1e-9).astype(np.int64)
            return needed[-1:], needed.max(keepdims=True)
        plan = fill_greedily(
            types,
            curve,
            interval=policy.interval,
            running=running,
            overhead=policy.launch_overhead,
            steps=len(curve),
        )
        return plan, 0

    def _plan_exactly(self, types: list[InstanceCapacity], running: Whole) -> tuple[Whole, Whole]:
        policy, one = self._policy, len(types) == 1
        high, price = max(policy.quantiles), policy.call_price
        numbers = _CASES if one else _FEWER_CASES
        if 1 - high < 1 / (2 * numbers[0]):  # beyond what cases tell: cover it
            cases, price = self._forecast([high]), None
        else:
            cases = self._forecast(*(((np.arange(n) + 0.5) / n).tolist() for n in numbers))
        steps = [len(cases) - 1]
        if one:  # one after another, but for those that are as the next
            differs = (cases[1:] != cases[:-1]).any(axis=1)
            steps = [*np.flatnonzero(differs).tolist(), *steps]
        needed = [
            find_cheapest(
                types,
                cases[step : step + 1],
                interval=policy.interval,
                call_price=price,
                running=running,
                overhead=0.0 if one else policy.launch_overhead,
            )
            for step in steps
        ]
        return needed[-1], np.max(needed, axis=0)

    def _forecast(self, *quantiles: list[float]) -> Floats:
        """Return forecast demand, at the first of several lists of quantiles that can be had.

        Where none can, there is too little to learn from, and the last count stands for all.
        """
        policy = self._policy
        with suppress(TooFewSamples):
            self._forecaster.fit(self._counts, policy.interval)
            for asked in quantiles:
                with suppress(TooFewSamples):
                    return ask_forecaster(self._forecaster, policy.steps, asked)
        return np.full((policy.steps, 1), self._counts[-1])


def check_call_price(value: float | None) -> float | None:
    """Return what a request costs on functions, None where it has no price or an endless one.

    Raises:
        InvalidInput: It is not above 0.
    """
    if value is None or value == math.inf:
        return None
    return positive("call_price", value, "US dollars")


def check_forecaster(value: object) -> None:
    """Require the methods that forecasters have."""
    if not (hasattr(value, "fit") and hasattr(value, "forecast")):
        raise InvalidInput(
            f"A forecaster must have the methods fit and forecast, such as Persistence() of "
            f"workbench.forecasts, got {value!r}."
        )


def explain_unlearned(policy: object, duration: float) -> str:
    """Return why a policy's forecaster learns nothing in so many seconds; empty if it does.

    Nothing is known of how much a forecaster of one's own needs.

    >>> from workbench.forecasts.ridge import Ridge
    >>> one = InstanceCapacity(instance_type="c5.xlarge", rate=8, hourly_price=0.17)
    >>> policy = Predictive(forecaster=Ridge(), capacity=one)
    >>> explain_unlearned(policy, 3600.0)[:38], explain_unlearned(policy, 100_000.0)
    ('The last count stood for all forecasts', '')
    """
    from workbench.forecasts.online import OnlineForecaster

    forecaster, interval = (getattr(policy, name, None) for name in ("forecaster", "interval"))
    if not isinstance(forecaster, OnlineForecaster) or interval is None:
        return ""
    counts = len(getattr(policy, "history", ())) + int(duration // interval)
    try:
        deepcopy(forecaster).fit(np.zeros(max(1, counts)), interval)
    except TooFewSamples as error:
        return f"The last count stood for all forecasts. {error}"
    return ""


def describe_forecaster(forecaster: object) -> Any:  # noqa: ANN401 - JSON values
    """Return a forecaster's settings as JSON values, or what it is called."""
    to_dict = getattr(forecaster, "to_dict", None)
    return to_dict() if callable(to_dict) else {"kind": type(forecaster).__name__}
