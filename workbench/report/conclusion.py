"""What some runs show, in a few sentences that say no more than their intervals carry."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from workbench.errors import InvalidInput, TooFewSamples
from workbench.formatting import dollars, in_ms, milliseconds
from workbench.plots.series import Runs, common_slo, name_results
from workbench.pricing.cost import Cost
from workbench.quantiles import SLO, longest_within
from workbench.run import Run
from workbench.validation import as_tuple, of_kind

Costs = Sequence[Cost | None]

_PRICE_TOLERANCE = 0.01  # prices that differ by less than this share are called the same


@dataclass(frozen=True)
class Estimate:
    """A quantile of a run's latencies with its interval, both ends NaN where it is not known."""

    name: str
    value: float
    low: float
    high: float

    def differs_from(self, other: "Estimate") -> bool:
        """Return whether both intervals are known and do not meet."""
        return self.high < other.low or other.high < self.low

    @property
    def text(self) -> str:
        """The value, its interval in brackets."""
        if math.isinf(self.value):
            return "infinite"
        interval = f" ({in_ms(self.low)} to {in_ms(self.high)})"
        return milliseconds(self.value) + interval * (not math.isnan(self.low))

    def __str__(self) -> str:
        return f'{self.text} for "{self.name}"'


def conclude(runs: Runs, *, costs: Costs = ()) -> str:
    """Return in a few sentences what the runs show, and no more than their intervals carry.

    >>> run = Run.from_arrays(scheduled=range(400), finished=[k + 0.5 for k in range(400)])
    >>> conclude(run)
    'p95 is 500 ms (500 to 500) over 400 requests.'
    """
    members = name_results(runs)
    return " ".join(conclusion_sentences(members, costs_by_name(members, costs)))


def costs_by_name(members: Mapping[str, Run], costs: Costs) -> dict[str, Cost]:
    """Return the costs that are known by the names of their runs.

    Raises:
        InvalidInput: There are costs, but not one for each run.
    """
    for cost in as_tuple("costs", costs):
        of_kind("Each of costs", cost, Cost | None, "a Cost, or None for a run without")
    if costs and len(costs) != len(members):
        raise InvalidInput(
            f"There must be one cost a run: {len(members)} runs, {len(costs)} costs."
        )
    return {name: cost for name, cost in zip(members, costs, strict=False) if cost is not None}


def conclusion_sentences(members: Mapping[str, Run], priced: Mapping[str, Cost]) -> list[str]:
    """Return what named runs show, flaws first."""
    slo = common_slo(members)
    return [
        *_flaw_sentences(members),
        _compare(members, priced, slo),
        *([_target_sentence(members, slo)] if slo else []),
        *_failure_sentences(members),
    ]


def estimates_of(members: Mapping[str, Run], q: float) -> list[Estimate]:
    """Return the quantile of each run, none when one of them has too few requests."""
    try:
        values = {name: run.quantile(q) for name, run in members.items()}
    except TooFewSamples:
        return []
    return [Estimate(name, value, *_interval(members[name], q)) for name, value in values.items()]


def _interval(run: Run, q: float) -> tuple[float, float]:
    try:
        return run.interval(q)
    except TooFewSamples:
        return math.nan, math.nan


def _flaw_sentences(members: Mapping[str, Run]) -> list[str]:
    invalid = [name for name, run in members.items() if not run.valid]
    stopped = [name for name, run in members.items() if not run.complete]
    sentences = []
    if invalid:
        sentences.append(f"INVALID, the load was off schedule: {_join_names(invalid)}.")
    if stopped:
        sentences.append(f"Incomplete, stopped early: {_join_names(stopped)}.")
    return sentences


def _failure_sentences(members: Mapping[str, Run]) -> list[str]:
    failed = [
        f'{len(run) - run.answered:,} of {len(run):,} for "{name}"'
        for name, run in members.items()
        if run.answered < len(run)
    ]
    return [f"Failed requests, counted as infinitely late: {', '.join(failed)}."] if failed else []


def _compare(members: Mapping[str, Run], priced: Mapping[str, Cost], slo: SLO | None) -> str:
    """Compare the runs by the first percentile that all have enough requests for."""
    for q in dict.fromkeys([slo.quantile if slo else 0.95, 0.95, 0.9, 0.5]):
        estimates = estimates_of(members, q)
        if estimates:
            break
    else:
        return "There are too few requests for a percentile."
    what = f"p{100 * q:g}"
    if len(estimates) == 1:
        return f"{what} is {estimates[0].text} over {len(members[estimates[0].name]):,} requests."
    if len(estimates) == 2:
        return _compare_two(what, *estimates, members=members) + _price(priced, estimates)
    return _compare_several(what, estimates)


def _compare_two(
    what: str, first: Estimate, second: Estimate, *, members: Mapping[str, Run]
) -> str:
    if math.isnan(first.low + second.low):
        return (
            f"{what} is {first} and {second}; too few requests for intervals, so the difference "
            "may be chance"
        )
    if not first.differs_from(second):
        return f"{what} does not differ beyond its 95 % intervals: {first}, {second}"
    if members[first.name].origin != members[second.name].origin:
        return f"{what} is {first}, but {second}"
    change = "fell" if second.value < first.value else "rose"
    return f"{what} {change} from {first} to {second}"


def _price(priced: Mapping[str, Cost], estimates: Sequence[Estimate]) -> str:
    """Return what a million requests cost in two runs, as the end of a sentence."""
    prices = [priced[e.name].per_million if e.name in priced else math.nan for e in estimates]
    if not all(map(math.isfinite, prices)) or max(prices) == 0:
        return "."
    if max(prices) - min(prices) <= _PRICE_TOLERANCE * max(prices):
        return f", at the same price ({dollars(prices[0])} a million requests)."
    first, second = map(dollars, prices)
    return f"; a million requests cost {first} and {second}."


def _compare_several(what: str, estimates: Sequence[Estimate]) -> str:
    best, *others = sorted(estimates, key=lambda estimate: estimate.value)
    close = [other.name for other in others if not best.differs_from(other)]
    sentence = f"Of {len(estimates)} runs, the lowest {what} is {best}"
    if close:
        sentence += (
            f", from which {_join_names(close)} cannot be distinguished by the 95 % intervals"
        )
    return f"{sentence}; the highest is {others[-1]}."


def _target_sentence(members: Mapping[str, Run], slo: SLO) -> str:
    met: list[str] = []
    missed: list[str] = []
    unclear: list[str] = []
    limit = longest_within(slo.latency)
    for name, run in members.items():
        low, high = _interval(run, slo.quantile)
        side = met if high <= limit else missed if low > limit else unclear
        side.append(name)
    verdicts = {"met by": met, "missed by": missed, "too close or too short to decide for": unclear}
    sides = "; ".join(
        f"{verdict} {_join_names(names)}" for verdict, names in verdicts.items() if names
    )
    return f"Target {format_target(slo)}: {sides}."


def _join_names(names: Sequence[str]) -> str:
    *rest, last = (f'"{name}"' for name in names)
    return f"{', '.join(rest)} and {last}" if rest else last


def format_target(slo: SLO) -> str:
    """Return the target as people write it.

    >>> format_target(SLO(latency=0.1))
    'p95 ≤ 100 ms'
    """
    return slo.label.replace("<=", "≤")
