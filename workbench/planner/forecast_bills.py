"""Origins from which forecasters are asked about counts, and the bill that follows."""

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from workbench.errors import InvalidInput, TooFewSamples
from workbench.forecasts.base import Floats, Forecaster, ask_forecaster
from workbench.scaling.foresight import ClairvoyantSchedule, clairvoyant
from workbench.scaling.predictive import Predictive
from workbench.validation import whole_number


@dataclass(frozen=True)
class Origins:
    """When forecasters are asked, and how many periods ahead."""

    counts: Floats
    period: float
    learn: int
    every: int
    steps: tuple[int, ...]

    @classmethod
    def prepare(
        cls, counts: Floats, period: float, learn: int | None, every: int, steps: set[int]
    ) -> "Origins":
        """Return them, by default with half of the counts to learn from, if there are enough."""
        most = max(steps, default=1)
        learn = max(1, len(counts) // 2) if learn is None else whole_number("learn", learn, low=1)
        whole_number("every", every, low=1)
        if learn + most > len(counts):
            raise InvalidInput(
                f"A trace of {len(counts)} periods is too short to learn from {learn} and to look "
                f"{most} ahead: pass a longer one, or less to learn."
            )
        return cls(counts, period, learn, every, tuple(sorted(steps)))

    @property
    def origins(self) -> NDArray[np.int64]:
        """How many counts are known at each."""
        return np.arange(self.learn, len(self.counts) - self.steps[-1] + 1, self.every)

    def ask(self, name: str, forecaster: Forecaster, levels: Sequence[float]) -> Floats:
        """Return forecasts, shape (origins, steps ahead, levels).

        Raises:
            TooFewSamples: The forecaster cannot learn from so few; the error names it.
            InvalidInput: It returns another shape.
        """
        own, most = deepcopy(forecaster), self.steps[-1]
        shown = np.empty((len(self.origins), most, len(levels)))
        try:
            for row, origin in enumerate(self.origins):
                own.fit(self.counts[:origin], self.period)
                shown[row] = ask_forecaster(own, most, levels, name)
        except TooFewSamples as error:
            raise TooFewSamples(f"{name}, with learn={self.learn}: {error}") from error
        return shown

    def measure(self, shown: Floats, levels: Floats) -> dict[str, float]:
        """Return errors and coverage by seconds ahead, and the mean pinball loss.

        Args:
            shown: Forecasts, shape (origins, steps ahead, levels or more).
            levels: The band's lower end, the median, its upper end.
        """
        errors, coverage, losses = {}, {}, []
        for step in self.steps:
            came, bands = self.counts[self.origins + step - 1], shown[:, step - 1, : len(levels)]
            missed = came[:, None] - bands
            losses.append(np.maximum(levels * missed, (levels - 1) * missed))
            label = f"{step * self.period:g}s"
            errors[f"rmse_{label}"] = float(np.sqrt(np.mean(missed[:, 1] ** 2)))
            held = (missed[:, 0] >= 0) & (missed[:, 2] <= 0)
            coverage[f"coverage_{label}"] = float(held.mean())
        return {**errors, **coverage, "pinball": float(np.mean(losses))}


@dataclass(frozen=True)
class FluidBill:
    """What instances and functions cost that follow a forecast, by arithmetic for each period.

    Instances are launched, kept and stopped as by `Predictive`, serve after their boot, and are
    paid from launch to stop. Each takes up to its rate of a period's requests at once, and
    functions the rest. Those of the first round are ready at once, as the clairvoyant's are.

    Attributes:
        policy: With a capacity of one type, and the price of a call.
    """

    policy: Predictive

    @property
    def quantile(self) -> float:
        """The quantile of demand that instances are kept for; 0: none pays."""
        return self.policy.quantiles[0]

    def scale(self, forecaster: Forecaster, asked: Origins) -> Predictive:
        """Return the policy with this forecaster, which knows what was learned from."""
        known = asked.counts[: asked.learn].tolist()
        return replace(self.policy, forecaster=forecaster, history=known)

    def find_best(self, asked: Origins) -> ClairvoyantSchedule:
        """Return the schedule of who knows the demand."""
        policy = self.policy
        return clairvoyant(
            self._demand(asked),
            policy.capacities,
            policy.call_price,
            boot=policy.boot,
            period=policy.interval,
        )

    def price(self, asked: Origins, needed: Floats) -> float:
        """Return US dollars, given the demand that instances are wanted for.

        Args:
            asked: From where.
            needed: By origin and period ahead, up to the first that a launched one serves in.
        """
        policy, one = self.policy, self.policy.capacities[0]
        most = one.rate * policy.interval
        wanted = np.ceil(needed / most - 1e-9)
        counts, count = np.zeros(len(wanted)), 0.0
        for at, (launched, kept) in enumerate(zip(wanted[:, -1], wanted.max(axis=1), strict=True)):
            count = counts[at] = max(launched, min(count, kept))
        paid = np.repeat(counts, asked.every)
        # serving are those paid for in all periods of a boot; the first are there at once
        before = np.concatenate((np.full(policy.steps - 1, paid[0]), paid))
        serving = np.lib.stride_tricks.sliding_window_view(before, policy.steps).min(axis=1)
        calls = float(np.maximum(self._demand(asked) - serving * most, 0.0).sum())
        return float(paid.sum()) * policy.interval * one.price + calls * (policy.call_price or 0.0)

    def _demand(self, asked: Origins) -> Floats:
        """Return the requests of the periods from the first origin to the last decision's end."""
        periods = asked.counts[asked.learn : asked.learn + len(asked.origins) * asked.every]
        return np.pad(periods, (0, len(asked.origins) * asked.every - len(periods)))
