"""How good forecasts are, and what each of them costs: the same trace, many forecasters."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from workbench.batching.timer import BatchPolicy
from workbench.deployment.hybrid import Hybrid
from workbench.errors import InvalidInput
from workbench.forecasts.base import Forecaster
from workbench.forecasts.naive import Persistence
from workbench.forecasts.online import check_counts, periods_in
from workbench.formatting import Table, dollars, percent, percent_with_sign
from workbench.planner.candidates import usage_of
from workbench.planner.forecast_bills import FluidBill, Origins
from workbench.pricing.cost import total
from workbench.quantiles import SLO, is_met, longest_within
from workbench.scaling.capacity import InstanceCapacity
from workbench.scaling.foresight import ClairvoyantSchedule
from workbench.scaling.predictive import Predictive, check_forecaster, describe_forecaster
from workbench.service_times import ServiceTimes
from workbench.simulator import serve
from workbench.traffic.trace import Trace
from workbench.validation import as_tuple, inner_share, of_kind, positive

if TYPE_CHECKING:
    import polars as pl

_ALIKE = 0.005  # of a bill: differences below are none


@dataclass(frozen=True, eq=False)
class Backtest:
    """Forecasters on the same periods: their errors, their bands, and their bills.

    Attributes:
        frame: A row a forecaster, in the order given. `rmse_60s` and its like: root mean squared
            error of the median so far ahead, in requests a period. `pinball`: the mean pinball
            loss of the median and both ends of the band, over all of these. `coverage_60s` and its
            like: the share of counts within the band. `dollars`: the bill by arithmetic, and
            `over_bound` that by the clairvoyant's; `simulated_dollars`: the bill of a simulation
            of each request, and `in_time` the share of requests that met the target in it. What
            was not asked for is missing.
        sentences: What follows, the forecasters compared with the first one.
        band: The share of counts that bands are to hold.
        origins: How many times each forecaster was asked.
        best: The cheapest schedule of who knows the future; None where no bill was asked for.
    """

    frame: pl.DataFrame
    sentences: tuple[str, ...]
    band: float
    origins: int
    best: ClairvoyantSchedule | None = None

    def __repr__(self) -> str:
        names = ", ".join(self.frame["forecaster"])
        return f"<Backtest of {names} from {self.origins:,} origins>"

    def __str__(self) -> str:
        return "\n".join((self._table.text(right=True), *self.sentences))

    def _repr_html_(self) -> str:
        return self._table.html() + "".join(f"<p>{each}</p>" for each in self.sentences)

    @property
    def _table(self) -> Table:
        shown = self.frame[[each.name for each in self.frame if each.null_count() < len(each)]]
        caption = f"Forecasts from {self.origins:,} origins, bands of {100 * self.band:g} %."
        return Table(shown.columns, shown.rows(), caption)


def backtest(
    trace: Trace | ArrayLike,
    forecasters: Mapping[str, Forecaster] | Sequence[Forecaster],
    *,
    period: float = 60.0,
    learn: int | None = None,
    every: int = 1,
    ahead: Sequence[float] = (60.0, 300.0, 1200.0),
    band: float = 0.9,
    capacity: InstanceCapacity | None = None,
    call_price: float | None = None,
    boot: float = 180.0,
    hybrid: Hybrid | None = None,
    service: Sequence[ServiceTimes] = (),
    cold_start: ArrayLike | None = None,
    slo: SLO | None = None,
) -> Backtest:
    """Return how each forecaster would have done on a trace, and what that would have cost.

    From each origin it is fitted to all counts before, and no others, and asked ahead. With a
    `capacity`, instances are kept and calls are paid at the critical quantile of its forecasts, as
    `Predictive` would, by arithmetic for each period (`FluidBill`). With a `hybrid`, the requests
    after those learned from are simulated one by one, too, its base scaled by `Predictive`.

    Args:
        trace: A trace, or requests by period.
        forecasters: By name, or else named by their kind; the first one is what others are
            compared with. They are not changed.
        period: Seconds.
        learn: So many first periods are learned from alone; by default half of all.
        every: Periods from one origin to the next, and from one decision to the next.
        ahead: Seconds, whole periods.
        band: The share of counts that a band is to hold.
        capacity: What one instance can do.
        call_price: US dollars of a request on functions; None: there are none.
        boot: Seconds from launch to service.
        hybrid: Whose bill is simulated; takes a `Trace` and a `capacity`.
        service: Of the hybrid's base and of its overflow.
        cold_start: Seconds, of its functions.
        slo: The target that its requests are to meet; None: bills alone are compared.

    Raises:
        InvalidInput: An argument is out of its limits, or the trace is too short for it.
        TooFewSamples: A forecaster cannot learn from so few periods; it is named.

    >>> from workbench.forecasts import Persistence, SeasonalNaive
    >>> counts = [100, 200, 300, 200] * 20
    >>> one = InstanceCapacity(instance_type="one", rate=100 / 60, hourly_price=1.0)
    >>> found = backtest(
    ...     counts, [Persistence(), SeasonalNaive(season=240.0)], ahead=[60.0], capacity=one,
    ...     call_price=1e-3, boot=60.0,
    ... )
    >>> found.frame["rmse_60s"].round().to_list(), found.frame["dollars"].round(2).to_list()
    ([148.0, 0.0], [3.22, 1.63])
    """
    import polars as pl

    counts = check_counts(trace.counts(period) if isinstance(trace, Trace) else trace)
    named, outside = _name(forecasters), (1 - inner_share("band", band)) / 2
    levels = np.array([outside, 0.5, 1 - outside])
    bill = None
    if capacity is not None:
        policy = Predictive(
            forecaster=Persistence(),
            capacity=of_kind("capacity", capacity, InstanceCapacity),
            call_price=positive("call_price", call_price, "US dollars"),
            boot=boot,
            interval=period,
        )
        bill = FluidBill(policy)
    if hybrid is not None and (bill is None or not isinstance(trace, Trace)):
        raise InvalidInput("A simulated bill takes a Trace, and a capacity with a call_price.")
    steps = {periods_in(positive("ahead", each, "seconds"), period) for each in ahead}
    asked = Origins.prepare(
        counts, period, learn, every, steps | ({bill.policy.steps} if bill else set())
    )
    best = None if bill is None else bill.find_best(asked)
    rows = []
    for name, forecaster in named.items():
        quantile = bill.quantile if bill is not None else 0.0
        shown = asked.ask(name, forecaster, [*levels, *([quantile] if quantile else [])])
        row: dict[str, Any] = {"forecaster": name, **asked.measure(shown, levels)}
        if bill is not None and best is not None:
            needed = shown[:, : bill.policy.steps, -1] if quantile else 0 * shown[:, :1, 0]
            row["dollars"] = bill.price(asked, needed)
            row["over_bound"] = row["dollars"] / best.bound if best.bound else math.nan
        if hybrid is not None and bill is not None and isinstance(trace, Trace):
            tested = trace.clip(asked.learn * period)
            scaling = bill.scale(forecaster, asked)
            row |= _simulate(tested, scaling, hybrid, service, cold_start=cold_start, slo=slo)
        rows.append(row)
    sentences = _sentences(rows, asked, bill, best, slo)
    return Backtest(pl.DataFrame(rows), sentences, band, len(asked.origins), best)


def _simulate(
    trace: Trace,
    scaling: Predictive,
    hybrid: Hybrid,
    service: Sequence[ServiceTimes],
    *,
    cold_start: ArrayLike | None,
    slo: SLO | None,
) -> dict[str, float]:
    """Return the dollars of a hybrid on a trace, request by request, and the share in time."""
    outcome = serve(
        trace,
        scaling.capacities[0].policy or BatchPolicy(),
        of_kind("hybrid", hybrid, Hybrid),
        service,
        cold_start=cold_start,
        boot=scaling.boot,
        scaling=scaling,
    )
    found = {"simulated_dollars": total(hybrid.bill(usage_of(outcome, hybrid)))}
    if slo is not None:
        found["in_time"] = float(np.mean(outcome.latencies <= longest_within(slo.latency)))
    return found


def _name(forecasters: Mapping[str, Forecaster] | Sequence[Forecaster]) -> dict[str, Forecaster]:
    if isinstance(forecasters, Mapping):
        named = dict(forecasters)
    else:
        each = as_tuple("forecasters", forecasters)
        named = {describe_forecaster(one)["kind"]: one for one in each}
        if len(named) < len(each):
            raise InvalidInput(f"forecasters must differ in kind, or have names, got {each}.")
    if not named:
        raise InvalidInput("forecasters must hold at least one, such as Persistence().")
    for one in named.values():
        check_forecaster(one)
    return named


def _sentences(
    rows: list[dict[str, Any]],
    asked: Origins,
    bill: FluidBill | None,
    best: ClairvoyantSchedule | None,
    slo: SLO | None,
) -> tuple[str, ...]:
    """Return what follows, said in full."""
    first, *others = rows
    step = asked.steps[-1] if bill is None else bill.policy.steps
    money = next((key for key in ("simulated_dollars", "dollars") if key in first), None)
    said = [_compare(row, first, f"{step * asked.period:g}", money) for row in others]
    if slo is not None:
        said += [
            f"{row['forecaster']} misses {slo.label}: {percent(row['in_time'])} are in time."
            for row in rows
            if not is_met(row.get("in_time", 1.0), slo.quantile)
        ]
    if bill is not None and best is not None:
        said += [bill.policy.advice] if bill.policy.advice else []
        said.append(
            "dollars are predicted by arithmetic, period by period: whoever knows the future pays "
            f"{dollars(best.dollars)} by it, and nobody less than {dollars(best.bound)}."
        )
    return tuple(said)


def _compare(row: dict[str, Any], first: dict[str, Any], ahead: str, money: str | None) -> str:
    """Return what a forecaster gains over the first one, in a sentence."""
    nearer = _relate(row[f"rmse_{ahead}s"], first[f"rmse_{ahead}s"])
    said = (
        f"{row['forecaster']}: error {percent_with_sign(nearer)} against {first['forecaster']}, "
        f"{ahead} s ahead"
    )
    if money is None:
        return f"{said}."
    dearer = _relate(row[money], first[money])
    said += f"; bill {percent_with_sign(dearer)}, {dollars(row[money])}"
    if nearer < -_ALIKE and dearer > -_ALIKE:
        return f"{said}: the smaller error does not lower the bill."
    if nearer > _ALIKE and dearer < -_ALIKE:
        return f"{said}: the bill is lower, though the error is larger."
    return f"{said}."


def _relate(value: float, other: float) -> float:
    return value / other - 1 if other else math.inf * value if value else 0.0
