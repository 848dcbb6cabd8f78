"""What runs, their traffic and their service times show."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from workbench.errors import InvalidInput
from workbench.findings.conclusion import Conclusion
from workbench.formatting import dollars, duration, percent, percentile
from workbench.quantiles import SLO, has_enough_samples, longest_within, samples_needed
from workbench.run.verdict import WORDS, Verdict, Word, find_flaw

if TYPE_CHECKING:
    import polars as pl

    from workbench.comparison import Comparison
    from workbench.measuring.profile import Profile
    from workbench.run import Run
    from workbench.traffic.trace import Trace

_NOTICED = 1.1
"""A ratio from which on something is said to be more: service times differ by less by chance."""

_UNSURE = ("cannot tell", "invalid")

_PRICE_TOLERANCE = 0.01  # prices that differ by less than this share are called the same


def weigh_batching(profile: "Profile", size: int) -> Conclusion:
    """Say whether one server answers more requests a second in batches of a size than alone."""
    one, many = profile.service_time(1), profile.service_time(size)
    gain = size * one / many
    rates = f"{1 / one:,.0f} requests a second one at a time, {size / many:,.0f} in such batches"
    longer = f"a batch of {size} takes {duration(many)}, {many / one:.2g} times one request"
    if gain < _NOTICED:
        return Conclusion(f"Batches gain nothing, because {longer}: {rates}.", holds=False)
    return Conclusion(f"{longer.capitalize()}: {rates}, {gain:.2g} times as many.")


def find_peak(trace: "Trace", window: float, capacity: float | None = None) -> Conclusion:
    """Say whether the busiest window of so many seconds asks for more than the average does.

    Where the capacity of a server is known, in requests a second: whether one is enough on average,
    and too little then.
    """
    busiest = float(trace.counts(window).max()) / window
    if capacity is None:
        times = busiest / trace.rate
        text = (
            f"The busiest {window:.3g} s have {times:.2g} times the mean rate: what is enough for "
            f"them is busy {percent(1 / times)} of the time."
        )
        return Conclusion(text, holds=times >= _NOTICED)
    mean, peak = trace.rate / capacity, busiest / capacity
    text = (
        f"On average {percent(mean)} of what one server can answer comes, in the busiest "
        f"{window:.3g} s {percent(peak)}"
    )
    if mean > 1:
        return Conclusion(f"{text}: one is too little on average.", holds=False)
    if peak <= 1:
        return Conclusion(f"{text}: one is always enough.", holds=False)
    return Conclusion(f"{text}: it would then take {math.ceil(peak)}.")


def find_lasting_bursts(trace: "Trace", short: float = 1.0, long: float = 60.0) -> Conclusion:
    """Say whether counts vary in long windows as little as chance alone lets them.

    The index of dispersion, variance over mean of the counts in windows of so many seconds, is 1 of
    a Poisson process, with a standard error of sqrt(2 / windows), and grows with the window where
    bursts last.
    """
    found = [(window, trace.dispersion(window)) for window in (short, long)]
    if found[1][1] is None or found[0][1] is None:
        return Conclusion(f"The trace has no two windows of {long:g} s.", holds=None)
    said = " and ".join(f"{value:.2f} in windows of {window:g} s" for window, value in found)
    error = math.sqrt(2 * long / trace.duration)
    text = f"The variance of counts over their mean is {said}; by chance alone 1, give or take "
    text += f"{2 * error:.2f} in the long ones"
    return Conclusion(f"{text}.", holds=found[1][1] <= max(found[0][1], 1.0) + 2 * error)


def compare_latency(comparison: "Comparison", q: float = 0.95) -> Conclusion:
    """Say whether the second of two runs of the same requests has the lower quantile.

    Raises:
        InvalidInput: There are not two runs.
    """
    (first, before), (second, after) = _two_of(comparison)
    what, count = percentile(q), min(len(before), len(after))
    if not has_enough_samples(q, count):
        return Conclusion(f"{what} takes {samples_needed(q)} requests, and here are {count}.", None)
    high, low = before.quantile(q), after.quantile(q)
    text = (
        f'{what} of these {count:,} requests is {duration(high)} with "{first}" and '
        f'{duration(low)} with "{second}"'
    )
    if flaws := [
        f'"{name}": {flaw}' for name, run in comparison.runs.items() if (flaw := find_flaw(run))
    ]:
        return Conclusion(f"{text}; {'; '.join(flaws)}.", None)
    if high < low * _NOTICED or math.isinf(low):
        return Conclusion(f"{text}: the second gains nothing.", holds=False)
    verdicts = "; ".join(f"{n}: {v}" for n, r in comparison.runs.items() if (v := r.verdict))
    more = f" Target {before.slo.label}: {verdicts}." if before.slo else ""
    return Conclusion(f"{text}, {high / low:.2g} times less.{more}")


def outlast_bursts(comparison: "Comparison", trace: "Trace", capacity: float) -> Conclusion:
    """Say whether the queue of the first of two runs outlives bursts, and that of the second not.

    A burst is a window of a fortieth of the trace in which more comes than the capacity, in
    requests a second; late is what misses the run's target.

    Raises:
        InvalidInput: There are not two runs, or one of them has no target.
    """
    (first, before), (second, after) = _two_of(comparison)
    window = trace.duration / 40
    bursts = trace.counts(window) > capacity * window
    shares, sizes = [], []
    for run in (before, after):
        rows = run.frame.sort("scheduled")
        number = (rows["scheduled"].to_numpy() / window).astype(int).clip(0, len(bursts) - 1)
        calm = ~bursts[number]
        if calm.all() or not calm.any():
            text = f"{percent(bursts.mean())} of the time was a burst: there is nothing to compare."
            return Conclusion(text, None)
        late = run.latencies > longest_within(target_of(run).latency)
        shares.append(float(late[calm].mean()))
        size = rows["batch_size"].to_numpy()
        sizes.append((float(size[calm].mean()), float(size[~calm].mean())))
    text = (
        f"Of the requests that came between bursts, {percent(shares[0])} were late with "
        f'"{first}", {percent(shares[1])} with "{second}", where a request was one of '
        f"{sizes[1][0]:.2g} of its batch between bursts and of {sizes[1][1]:.2g} in them"
    )
    return Conclusion(f"{text}.", holds=shares[0] > max(_NOTICED * shares[1], 0.01))


def compare_cost(comparison: "Comparison") -> Conclusion:
    """Say whether the second of two runs costs less for a million answered requests.

    Raises:
        InvalidInput: There are not two runs, or what they cost is not known.
    """
    (first, _), (second, _) = _two_of(comparison)
    if not {first, second} <= comparison.costs.keys():
        raise InvalidInput("What these runs cost is not known: give them a deployment.")
    before, after = (comparison.costs[name].per_million for name in (first, second))
    text = (
        f'A million requests cost {dollars(before)} with "{first}" and {dollars(after)} '
        f'with "{second}"'
    )
    return Conclusion(
        f"{text}, {_less(before, after)}.", holds=after < (1 - _PRICE_TOLERANCE) * before
    )


class _Offer(NamedTuple):
    """One way to answer the requests."""

    name: str
    price: float
    share: float
    verdict: Verdict

    def __str__(self) -> str:
        return f'"{self.name}" at {dollars(self.price)} a million'


def find_cheapest(comparison: "Comparison") -> Conclusion:
    """Say which run surely meets its target at the least cost, and what the cheapest of all does.

    Raises:
        InvalidInput: None of them has a target and a cost.
    """
    offers = [
        _Offer(name, comparison.costs[name].per_million, run.attainment(), verdict)
        for name, run in comparison.runs.items()
        if name in comparison.costs and run.slo and (verdict := run.verdict)
    ]
    return _pick(offers)


def find_cheapest_policy(table: "pl.DataFrame") -> Conclusion:
    """Say which batching of `compare_policies` surely meets the target at the least cost."""
    rows = table.select("policy", "per_million", "attainment", "verdict").iter_rows()
    return _pick([_Offer(name, cost, share, Verdict(word)) for name, cost, share, word in rows])


def _pick(offers: Sequence[_Offer]) -> Conclusion:
    if not offers:
        raise InvalidInput("None of these has both a target and a cost.")
    offers = sorted(offers, key=lambda offer: offer.price)
    met = [offer for offer in offers if offer.verdict.word == "met"]
    if met:
        text = (
            f"Of {len(offers)}, {len(met)} surely meet the target; the cheapest of these is "
            f"{met[0]}, with {percent(met[0].share)} in time."
        )
        return Conclusion(text + _name_cheaper(offers, met[0]))
    nearest = max(offers, key=lambda offer: offer.share)
    unsure = any(offer.verdict.word in _UNSURE for offer in offers)
    text = f"None of {len(offers)} surely meets the target; the nearest is {nearest}, with "
    text += f"{percent(nearest.share)} in time ({nearest.verdict})."
    return Conclusion(text, holds=None if unsure else False)


def _name_cheaper(offers: Sequence[_Offer], best: _Offer) -> str:
    if offers[0] is best:
        return " Nothing is cheaper."
    share, verdict = percent(offers[0].share), offers[0].verdict
    return f" The cheapest of all is {offers[0]}, with {share} in time ({verdict})."


def compare_window(
    comparison: "Comparison", start: float, stop: float, *, first: str, others: Iterable[str]
) -> Conclusion:
    """Say whether one run answers fewer in time than others, of those due from start to stop.

    Raises:
        InvalidInput: A run is not among them or has no target, or none was due.
    """
    shares = {n: _share_in(comparison.runs[n], start, stop) for n in (first, *others)}
    listed = ", ".join(f'{percent(share)} with "{name}"' for name, share in shares.items())
    text = f"Of the requests due from {start:,.0f} to {stop:,.0f} s, in time were {listed}."
    behind = all(shares[first] < share for name, share in shares.items() if name != first)
    return Conclusion(text, holds=behind)


def _share_in(run: "Run", start: float, stop: float) -> float:
    due, limit = run.frame["scheduled"].sort().to_numpy(), longest_within(target_of(run).latency)
    within = (due >= start) & (due < stop)
    if not within.any():
        raise InvalidInput(f"{run.label} has nothing due from {start} to {stop} s.")
    return float((run.latencies[within] <= limit).mean())


def target_of(run: "Run") -> SLO:
    """Return the target of a run.

    Raises:
        InvalidInput: It has none.
    """
    if run.slo is None:
        raise InvalidInput(f"{run.label} has no target: give it one, run.amend(slo=...).")
    return run.slo


def count_verdicts(comparison: "Comparison") -> Conclusion:
    """Say which runs surely meet their target, which do not, and of which nobody can tell."""
    verdicts = {name: v for name, run in comparison.runs.items() if (v := run.verdict)}
    said = [_say_verdict(word, verdicts) for word in WORDS]
    unsure = all(verdict.word in _UNSURE for verdict in verdicts.values())
    return Conclusion(" ".join(filter(None, said)), holds=None if unsure else True)


def _say_verdict(word: Word, verdicts: Mapping[str, Verdict]) -> str:
    """Return a sentence on all runs with one verdict, "" if there are none."""
    alike = {name: verdict for name, verdict in verdicts.items() if verdict.word == word}
    *most, last = [f'"{name}"' for name in alike] or [""]
    names, several = f"{', '.join(most)} and {last}" if most else last, bool(most)
    reason = "; ".join(dict.fromkeys(verdict.reason for verdict in alike.values()))
    needed = max((verdict.needed or 0 for verdict in alike.values()), default=0)
    more = f": {needed:,} requests{' each' * several} would tell" if needed else ""
    sentences = {
        "met": f"{names} surely {'meet their targets' if several else 'meets its target'}.",
        "missed": f"{names} {'miss their targets' if several else 'misses its target'}.",
        "cannot tell": f"{names} cannot tell{more}.",
        "invalid": f"{names} {'are' if several else 'is'} invalid: {reason}.",
    }
    return sentences[word] if alike else ""


def count_cold_starts(run: "Run", keep_alive: float) -> Conclusion:
    """Say whether the share of cold calls is that of gaps longer than an idle instance is kept.

    Of Poisson arrivals that is exp(-rate * keep_alive); chance may add or take away two standard
    errors.
    """
    cold, count = run.frame["cold"].to_numpy(), len(run)
    due = run.frame["scheduled"].sort().to_numpy()
    rate = count / float(due[-1]) if count and due[-1] else 0.0
    expected, share = math.exp(-rate * keep_alive), float(cold.mean())
    error = math.sqrt(expected * (1 - expected) / count)
    text = (
        f"{percent(share)} of {count:,} calls met no idle instance; gaps of Poisson arrivals are "
        f"longer than {keep_alive:,g} s in exp(-{rate * keep_alive:.3g}) = {percent(expected)}"
    )
    return Conclusion(f"{text}.", holds=abs(share - expected) <= 2 * error)


def _two_of(comparison: "Comparison") -> list[tuple[str, "Run"]]:
    if len(comparison.runs) != 2:
        raise InvalidInput(f"Two runs are compared, got {len(comparison.runs)}.")
    return list(comparison.runs.items())


def _less(before: float, after: float) -> str:
    change = 1 - after / before if before else 0.0
    return f"{percent(abs(change))} {'less' if change >= 0 else 'more'}"
