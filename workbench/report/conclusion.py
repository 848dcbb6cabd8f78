"""Which run to take, and what runs show: sentences that say no more than intervals carry."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from workbench.errors import InvalidInput, TooFewSamples
from workbench.formatting import dollars, duration, percent, percentile, span
from workbench.plots.series import Runs, common_slo, name_results
from workbench.pricing.cost import Cost
from workbench.quantiles import SLO, round_up
from workbench.run import Run
from workbench.run.verdict import Verdict, find_flaw, judge
from workbench.validation import as_tuple, of_kind

if TYPE_CHECKING:
    from workbench.comparison import Comparison

Costs = Sequence[Cost | None]

_PRICE_TOLERANCE = 0.01  # prices that differ by less than this share are called the same


_ALONE = {
    "met": "This run meets {target}: {figures}.",
    "missed": "This run misses {target}: {figures}.",
    "cannot tell": "Whether {target} is met is not known{needed}: {figures}.",
    "invalid": "This run says nothing of {target}, because {reason}: {figures}.",
}


@dataclass(frozen=True)
class Estimate:
    """A quantile of a run's latencies with its interval, both ends NaN where it has none.

    `missing` is how many requests more an interval would take, infinite where none are enough;
    `repetitions` of a simulation are what value and interval come from, 0 where it is one run.
    """

    name: str
    value: float
    low: float
    high: float
    missing: float = 0
    repetitions: int = 0

    def differs_from(self, other: "Estimate") -> bool:
        """Return whether both intervals are known and do not meet."""
        return self.high < other.low or other.high < self.low

    @property
    def is_known(self) -> bool:
        """Whether there is an interval."""
        return not math.isnan(self.low)

    @property
    def text(self) -> str:
        """The value, its interval in brackets."""
        if math.isinf(self.value):
            return "infinite"
        repeated = f" in {self.repetitions:,} repetitions" if self.repetitions else ""
        interval = f" ({span(self.low, self.high)}{repeated})" if self.is_known else ""
        return duration(self.value) + interval

    @property
    def lack(self) -> str:
        """What an interval would take."""
        if math.isinf(self.missing):
            return f'"{self.name}" has no long run to measure'
        return f'"{self.name}" takes {round_up(self.missing):,} requests more'

    def __str__(self) -> str:
        return f'{self.text} for "{self.name}"'


def conclude(runs: Runs, *, costs: Costs = ()) -> str:
    """Return in a few sentences what the runs show, and no more than their intervals carry.

    >>> run = Run.from_arrays(scheduled=range(400), finished=[k + 0.5 for k in range(400)])
    >>> conclude(run)
    'p95 is 500 ms (500 to 500 ms) over 400 requests.'
    """
    members = name_results(runs)
    slo = common_slo(members)
    sentences = [
        *_flaw_sentences(members),
        _compare(members, costs_by_name(members, costs), slo),
        *([_target_sentence(members, slo)] if slo else []),
        *_failure_sentences(members),
    ]
    return " ".join(sentences)


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


def list_findings(members: Mapping[str, Run], priced: Mapping[str, Cost]) -> list[str]:
    """Return what named runs show beside each other, then flaws and failed requests."""
    return [
        _compare(members, priced, common_slo(members)),
        *_flaw_sentences(members),
        *_failure_sentences(members),
    ]


def recommend(comparison: "Comparison") -> tuple[str, str]:
    """Return a sentence on which run to take, and the name of the run it is about.

    Of those that surely meet their targets it is the cheapest a month, or, where no price is
    known, the fastest at its target's percentile; where none surely does, the nearest. Of runs
    without a target the sentence says what they show, and names none of several.

    >>> run = Run.from_arrays(scheduled=range(400), finished=[k + 0.5 for k in range(400)])
    >>> from workbench.comparison import compare
    >>> recommend(compare(run.amend(slo={"latency": 0.6, "quantile": 0.95})))[0]
    'This run meets p95 ≤ 600 ms: p95 is 500 ms (500 to 500 ms), 100 % in time.'
    """
    runs = {name: run for name, run in comparison.runs.items() if run.slo}
    if len(runs) < len(comparison.runs):
        first, *others = comparison.runs
        return list_findings(comparison.runs, comparison.costs)[0], "" if others else first
    if len(runs) == 1:
        ((name, run),) = runs.items()
        return _tell_alone(name, run), name
    met = [name for name, run in runs.items() if run.verdict and run.verdict.word == "met"]
    return _pick(comparison, runs, met) if met else _name_nearest(runs)


def _pick(comparison: "Comparison", runs: Mapping[str, Run], met: list[str]) -> tuple[str, str]:
    prices = {name: comparison.costs[name].per_month for name in met if name in comparison.costs}
    priced = len(prices) == len(met) and all(map(math.isfinite, prices.values()))
    best = min(met, key=lambda name: (prices[name] if priced else 0.0, _lateness(runs[name])))
    why = "the cheapest" if priced and len(set(prices.values())) > 1 else "the fastest"
    others = f", {why} of {len(met)} that do" if len(met) > 1 else ", the only one that surely does"
    target = _target(runs)
    return f'Take "{best}": it meets {target}{others} ({_figures(best, runs[best])}).', best


def _lateness(run: Run) -> float:
    """Return the latency at a run's target, seconds: of a short simulation, of its repetitions."""
    assert run.slo  # noqa: S101 - it meets it
    q = run.slo.quantile
    return (run.replications_for(q) or run).quantile(q)


def _name_nearest(runs: Mapping[str, Run]) -> tuple[str, str]:
    best = max(runs, key=lambda name: runs[name].attainment())
    nearest = f'"{best}" with {percent(runs[best].attainment())} in time ({runs[best].verdict})'
    return f"None surely meets {_target(runs)}; the nearest is {nearest}.", best


def _tell_alone(name: str, run: Run) -> str:
    verdict = run.verdict or Verdict("cannot tell")
    needed = f", {verdict.needed:,} requests would tell" if verdict.needed else ""
    return _ALONE[verdict.word].format(
        target=_target({name: run}),
        figures=_figures(name, run),
        needed=needed,
        reason=verdict.reason,
    )


def _target(runs: Mapping[str, Run]) -> str:
    slo = common_slo(runs)
    return slo.label if slo else "its target"


def _figures(name: str, run: Run) -> str:
    q = run.slo.quantile if run.slo else 0.95
    known = [f"{percentile(q)} is {each.text}" for each in estimates_of({name: run}, q)]
    return ", ".join([*known, f"{percent(run.attainment())} in time"])


def estimates_of(members: Mapping[str, Run], q: float) -> list[Estimate]:
    """Return the quantile of each run, none when one of them has too few requests.

    Where its interval comes from repetitions, so does the quantile.
    """
    try:
        return [_estimate(name, run, q) for name, run in members.items()]
    except TooFewSamples:
        return []


def _estimate(name: str, run: Run, q: float) -> Estimate:
    if repeated := run.replications_for(q):
        low, high = repeated.interval(q)
        return Estimate(name, repeated.quantile(q), low, high, repetitions=repeated.count)
    own = run.quantile(q)
    try:
        return Estimate(name, own, *run.interval(q))
    except TooFewSamples:
        return Estimate(name, own, math.nan, math.nan, run.count_missing(q))


def _flaw_sentences(members: Mapping[str, Run]) -> list[str]:
    flaws = [f'"{name}" ({flaw})' for name, run in members.items() if (flaw := find_flaw(run))]
    return [f"Invalid: {_join(flaws)}."] if flaws else []


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
    what = percentile(q)
    if len(estimates) == 1:
        (only,) = estimates
        over = "" if only.repetitions else f" over {len(members[only.name]):,} requests"
        return f"{what} is {only.text}{over}."
    if len(estimates) == 2:
        return _compare_two(what, *estimates, members=members) + _price(priced, estimates)
    return _compare_several(what, estimates)


def _compare_two(
    what: str, first: Estimate, second: Estimate, *, members: Mapping[str, Run]
) -> str:
    if lacking := [each for each in (first, second) if not each.is_known]:
        return (
            f"{what} is {first} and {second}; too short to tell whether that is chance "
            f"({'; '.join(each.lack for each in lacking)})"
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
    close = [other.name for other in others if other.is_known and not best.differs_from(other)]
    sentence = f"Of {len(estimates)} runs, the lowest {what} is {best}"
    if best.is_known and close:
        names = _join([f'"{name}"' for name in close])
        sentence += f", which may be chance beside {names}: the 95 % intervals overlap"
    if lacking := [each for each in estimates if not each.is_known]:
        sentence += f"; too short to tell: {'; '.join(each.lack for each in lacking)}"
    return f"{sentence}; the highest is {others[-1]}."


def _target_sentence(members: Mapping[str, Run], slo: SLO) -> str:
    words = {"met": "met by", "missed": "missed by", "cannot tell": "cannot tell for"}
    sides: dict[str, list[str]] = {}
    for name, run in members.items():
        if (verdict := judge(run, slo)) and verdict.word in words:
            needed = f" ({verdict.needed:,} requests would)" if verdict.needed else ""
            sides.setdefault(words[verdict.word], []).append(f'"{name}"{needed}')
    found = [f"{side} {_join(sides[side])}" for side in words.values() if side in sides]
    return f"Target {slo.label}: {'; '.join(found) or 'no run can be relied on'}."


def _join(parts: Sequence[str]) -> str:
    *rest, last = parts
    return f"{', '.join(rest)} and {last}" if rest else last
