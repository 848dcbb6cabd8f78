"""What cold starts and bursts show: what a start takes, who pays for it, and who keeps up."""

from collections.abc import Mapping, Sequence
from itertools import takewhile
from math import inf
from typing import TYPE_CHECKING

from workbench.errors import InvalidInput
from workbench.findings.conclusion import Conclusion
from workbench.formatting import dollars, duration, figure, percent
from workbench.planner.break_even import crossings
from workbench.run.costs import RunActivity, cost
from workbench.units import HOUR, MB

if TYPE_CHECKING:
    import polars as pl

    from workbench.comparison import Comparison
    from workbench.deployment.base import Deployment
    from workbench.run import Run

_BEHIND = 0.5
"""Of the requests in a burst: whose share in time is below this is said to lag behind."""


def compare_starts(runs: Mapping[str, "Run"]) -> Conclusion:
    """Say whether an instance starts sooner with each of several ways than with the one before.

    Raises:
        InvalidInput: No call of a run was cold.
    """
    seconds = {}
    for name, run in runs.items():
        starts = run.frame.filter("cold")["init"]
        if starts.is_empty():
            raise InvalidInput(f'No call of "{name}" met a cold instance.')
        seconds[name] = float(starts.median())  # type: ignore[arg-type]
    medians = list(seconds.values())
    listed = ", ".join(f'{duration(each)} with "{name}"' for name, each in seconds.items())
    ratio = medians[0] / medians[-1]
    text = f"Half of the starts take up to {listed}: the last {figure(ratio, 2)} times less."
    return Conclusion(text, holds=medians == sorted(medians, reverse=True) and ratio > 1)


def find_rates(table: "pl.DataFrame", kind: str) -> Conclusion:
    """Say at which rates a type is the cheapest of those that meet the target.

    Args:
        table: From `Plan.break_even`, of several rates.
        kind: The inference type.

    >>> import polars as pl
    >>> rows = {"rate": [1.0, 1.0, 4.0, 4.0], "kind": ["lambda", "real-time"] * 2}
    >>> cost = {"cost_per_million": [2.0, 4.0, 2.0, 1.0], "cheapest": [True, False, False, True]}
    >>> find_rates(pl.DataFrame(rows | cost), "lambda")
    Only if requests are fewer than 2 a second. The cheapest that meets the target is lambda up to \
2 a second, then real-time.
    """
    rates = table["rate"].unique().sort()
    found = crossings(table)
    first = table.filter("cheapest").sort("rate")["kind"]
    if first.is_empty():
        return Conclusion("No type meets the target at any of these rates.", holds=None)
    kinds = [first[0], *(after for _, _, after in found)]
    edges = [_name_rate(rate) for rate, _, _ in found]
    steps = [f"{before} up to {edge}, " for edge, before in zip(edges, kinds, strict=False)]
    last = "then " if steps else f"from {_name_rate(rates[0])} to {_name_rate(rates[-1])} "
    text = f"The cheapest that meets the target is {''.join(steps)}{last}{kinds[-1]}."
    if lacking := sorted({*rates} - {*table.filter("cheapest")["rate"]}):
        text += f" None meets the target at {', '.join(map(_name_rate, lacking))}."
    if kind not in kinds or not edges:
        return Conclusion(text, holds=kind in kinds)
    return Conclusion(text, only_if=f"requests are {_name_rates(kinds, edges, kind)}")


def _name_rate(rate: float) -> str:
    """Return a rate as people count: seldom ones by the hour."""
    return f"{figure(rate, 2)} a second" if rate >= 0.1 else f"{figure(rate * HOUR, 2)} an hour"


def _name_rates(kinds: list[str], edges: list[str], kind: str) -> str:
    """Return where one of several kinds lies between the edges, in words."""
    said = []
    for number, each in enumerate(kinds):
        low, high = edges[number - 1 : number], edges[number : number + 1]
        if each == kind and low and high:
            said.append(f"{low[0]} to {high[0]}")
        elif each == kind:
            said.append(f"fewer than {high[0]}" if high else f"more than {low[0]}")
    return " or ".join(said)


def compare_limits(kind: type["Deployment"], others: Sequence[type["Deployment"]]) -> Conclusion:
    """Say from which bodies and which work on only one type of several can answer a call.

    >>> from workbench.deployment import Async, RealTime
    >>> print(compare_limits(Async, [RealTime]).only_if)
    a body has more than 6 MiB or a call takes longer than 60 s
    """
    limits = {each: (each.payload_limit or inf, each.time_limit or inf) for each in (kind, *others)}
    listed = "; ".join(
        f"{each.kind} {size / MB:,.0f} MiB and {duration(time)}"
        for each, (size, time) in limits.items()
    )
    most_bytes, most_seconds = limits.pop(kind)
    body, seconds = (max(values) for values in zip(*limits.values(), strict=True))
    text = f"What a call may bring, and how long it may take: {listed}."
    more = [
        f"a body has more than {body / MB:,.0f} MiB" * (most_bytes > body),
        f"a call takes longer than {duration(seconds)}" * (most_seconds > seconds),
    ]
    only_if = " or ".join(filter(None, more))
    return Conclusion(text, holds=bool(only_if), only_if=only_if)


def price_provisioned(comparison: "Comparison") -> Conclusion:
    """Say whether the second of two runs, with instances kept warm, has fewer cold calls.

    Raises:
        InvalidInput: There are not two runs, or what they cost is not known.
    """
    if len(comparison.runs) != 2 or len(comparison.costs) != 2:
        raise InvalidInput(f"Two runs with a cost are compared, got {len(comparison.costs)}.")
    without, kept = (float(run.frame["cold"].to_numpy().mean()) for run in comparison.runs.values())
    before, month = (dollars(bill.per_month) for bill in comparison.costs.values())
    text = (
        f"Cold are {percent(without)} of the calls without and {percent(kept)} with provisioned "
        f"instances, which cost {month} a month instead of {before}."
    )
    return Conclusion(text, holds=kept < without)


def price_starts(run: "Run") -> Conclusion:
    """Say whether the starts of cold instances are still free, by the bill of a run."""
    if run.record.deployment is None:
        raise InvalidInput("This run does not say how it was deployed.")
    activity, kept = RunActivity(run), getattr(run.record.deployment, "provisioned", 0)
    all_, warm = (
        activity.call_times(with_cold_starts=each, provisioned=kept).on_demand
        for each in (True, False)
    )
    share = float(run.frame["cold"].mean())  # type: ignore[arg-type]
    if not all_:
        return Conclusion("No call was answered on demand: no start is billed or not.", None)
    text = f"Where {percent(share)} of the calls are cold, starts are {percent(1 - warm / all_)}"
    billed = bool(getattr(run.record.deployment, "bills_cold_start", False))
    text += f" of the seconds that {run.record.deployment.label} works"
    if not billed:
        return Conclusion(f"{text}, and are not billed.")
    return Conclusion(f"{text}, and are billed: {dollars(cost(run).total)} in all.", holds=False)


def compare_bursts(table: "pl.DataFrame", tracked: str, helper: str) -> Conclusion:
    """Say whether one way lags behind in bursts while another answers them.

    Behind is who answers fewer than half of a burst's requests in time. Where all are, none can be
    said to help: that cannot tell. Bursts are left out where the load of one of the two was not as
    it should be.

    Args:
        table: From `plots.burst_shares`.
        tracked: The name of the way that is thought to lag.
        helper: The name of the one that is thought to help.

    Raises:
        InvalidInput: One of them is not in the table.
    """
    shares: dict[str, dict[float, float]] = {}
    for name, size, share in table.select("run", "size", "in_time").iter_rows():
        shares.setdefault(name, {})[size] = share
    if missing := {tracked, helper} - shares.keys():
        raise InvalidInput(f"{sorted(missing)} are not among {list(shares)}.")
    rows = table.filter(table["flaw"] != "", table["run"].is_in([tracked, helper]))
    left_out: dict[float, str] = {}
    for size, name, flaw in rows.select("size", "run", "flaw").iter_rows():
        left_out[size] = "; ".join(filter(None, (left_out.get(size), f'"{name}": {flaw}')))
    shares = {n: {s: v for s, v in each.items() if s not in left_out} for n, each in shares.items()}
    without = "".join(f" Left out: {size:g} times, {flaw}." for size, flaw in left_out.items())
    if not shares[tracked]:
        return Conclusion(without.strip(), holds=None)
    late = sorted(size for size, share in shares[tracked].items() if share < _BEHIND)
    if not late:
        text = f'"{tracked}" lags behind in none of these bursts.'
        return Conclusion(text + without, holds=False)
    inside = {n: [each[size] for size in late if size in each] for n, each in shares.items()}
    worst = {name: min(each) for name, each in inside.items() if each}
    listed = ", ".join(f'{percent(share)} with "{name}"' for name, share in worst.items())
    sizes = f"{late[0]:g} to {late[-1]:g}" if len(late) > 1 else f"{late[0]:g}"
    at_least = " at least" * (len(late) > 1)
    text = f"In bursts of {sizes} times the load, the share in time is{at_least} {listed}.{without}"
    helped = [*takewhile(lambda size: shares[helper][size] >= _BEHIND, late)]
    if not helped:
        nobody = all(share < _BEHIND for each in inside.values() for share in each)
        return Conclusion(f"{text} None keeps up." if nobody else text, None if nobody else False)
    most = f"the burst is at most {max(helped):g} times the load"
    return Conclusion(text, only_if="" if helped == late else most)
