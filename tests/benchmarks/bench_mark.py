"""MArk rebuilt: what policies for a fleet beside functions cost on the same requests.

Simulated request by request, each policy with the same two assumptions about what an instance can
do: MArk's own, 490 requests a minute on a c5.xlarge at 0.17 $/h (us-east-1, on demand, of then),
as if it had to meet the target alone; and 570, 95 % of what it can serve at all, as functions take
what would be late. A request takes 0.1 s there, and 1.008 s on functions, which cost 49.55 $ a
million (BATCH's Inception-v4 at 3008 MB) and start in 2 s. Boots take 180 s. In time is 1.5 s.

The days of WorldCup98 are from shared/data, a tenth of it; policies know the two days before.
`python tests/benchmarks/bench_mark.py nine-days` is the one case that `make bench` leaves out: it
has 43 million requests and takes 9 GB.
"""

import statistics
import sys
import time
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path

import numpy as np
import polars as pl

from workbench.batching.timer import BatchPolicy
from workbench.deployment import ByDeadline, Hybrid, Lambda, RealTime
from workbench.forecasts import BoostedQuantiles, Oracle, Persistence, Ridge
from workbench.scaling import InstanceCapacity, TargetTracking
from workbench.scaling.foresight import clairvoyant
from workbench.scaling.mark import MArkDescribed, MArkReleased
from workbench.scaling.predictive import Predictive
from workbench.service_times import ServiceTimes
from workbench.simulator import serve
from workbench.traffic.datasets import open_trace
from workbench.traffic.patterns import flash_crowd
from workbench.traffic.replay import from_counts

DATA = Path(__file__).parents[2].parent / "shared" / "data"
SERVICE, CALL_SECONDS, COLD, CALL, BOOT, TARGET, SHARE = 0.1, 1.008, 2.0, 49.55e-6, 180.0, 1.5, 0.99
ALONE = InstanceCapacity(instance_type="ml.c5.xlarge", rate=490 / 60, hourly_price=0.17)
BESIDE = replace(ALONE, rate=0.95 / SERVICE)
LARGE = InstanceCapacity(instance_type="ml.c5.4xlarge", rate=1080 / 60, hourly_price=0.68)
DEADLINE = ByDeadline(latency=TARGET, service=(SERVICE,), margin=0.5)
OURS = "ridge, exact"
LOADS = 0.35, 0.5, 0.65, 0.8, 0.9  # targets of tracking: shares of what an instance can do


@dataclass(frozen=True)
class Played:
    """What a policy came to."""

    dollars: float
    within: float
    calls: float
    seconds: float


def play(trace, policy, first, *, functions=True):
    """Simulate a fleet that begins with so many instances, with or without functions beside it."""
    began = time.perf_counter()
    fleet = RealTime(instance_type=ALONE.instance_type, count=max(first, 1))
    if functions:
        overflow = Lambda(memory_mb=3008, max_concurrency=10_000)
        deployment = Hybrid(base=fleet, overflow=overflow, spill=DEADLINE)
        service = [ServiceTimes({1: seconds}) for seconds in (SERVICE, CALL_SECONDS)]
        routed = serve(
            trace, BatchPolicy(), deployment, service, cold_start=COLD, boot=BOOT, scaling=policy
        )
        spans, calls = routed.places[0].outcome.instances, int(routed.given.sum())
        within = float((routed.finished - trace.arrivals <= TARGET).mean())
    else:
        service, calls = ServiceTimes({1: SERVICE}), 0
        alone = serve(trace, BatchPolicy(), fleet, service, cold_start=BOOT, scaling=policy)
        spans, within = alone.instances, float((alone.latencies <= TARGET).mean())
    paid = sum(end - start for start, end in spans)
    dollars = ALONE.price * paid + CALL * calls
    return Played(dollars, within, calls / len(trace), time.perf_counter() - began)


def make_policies(capacity, history, demand):
    """Return the policies by name."""
    ours = partial(Predictive, capacity=capacity, call_price=CALL, boot=BOOT, history=history)
    oracle = Oracle([*history, *demand])
    return {
        "MArk released": MArkReleased(capacity=capacity),
        "MArk described": MArkDescribed(capacity=capacity),
        "persistence": ours(forecaster=Persistence(), quantile=0.5),
        "persistence at the quantile": ours(forecaster=Persistence(), plan="greedy"),
        "persistence, exact": ours(forecaster=Persistence()),
        OURS: ours(forecaster=Ridge()),
        "boosted, exact": ours(forecaster=BoostedQuantiles()),
        "oracle, exact": ours(forecaster=oracle),
    }


def find_tracked(trace, first, most, settings):
    """Return the cheapest tracking that reaches the share, and its policy: the least count of each.

    More instances at least are never worse, so the fewest that do are found by halving.
    """
    found = []
    for make in settings:
        low, high = 1, most + 1
        while low < high:
            least = (low + high) // 2
            policy = make(least=least, most=4 * most)
            played = play(trace, policy, max(first, least), functions=False)
            if played.within >= SHARE:
                found.append((played.dollars, played, policy))
                high = least
            else:
                low = least + 1
    return min(found, key=lambda each: each[0], default=(None, None, None))[1:]


def show(name, dollars, best, note=""):
    """Print one row of the table: median and spread."""
    middle = statistics.median(dollars)
    spread = f" ({min(dollars):.2f} to {max(dollars):.2f})" if len(dollars) > 1 else ""
    print(f"  {name:28s} {middle:8.2f} ${spread:20s} {middle / best:5.2f}  {note}", flush=True)
    return middle


def bench(name, traces, history=(), *, tracked=False, capacities=(ALONE, BESIDE), only=None):
    """Print the table of a case, of one trace or several draws of it; `only` some policies."""
    trace = traces[0]
    demand = np.array(trace.counts(60.0), float)
    print(f"\n{name}: {len(trace):,} requests in {trace.duration / 3600:.1f} h, simulated")
    for capacity in capacities:
        bounds = [
            clairvoyant(each, capacity, CALL, boot=BOOT, most_rates=1 / SERVICE, within=TARGET)
            for each in traces
        ]
        best = statistics.median(each.dollars for each in bounds)
        late = int((1 - SHARE) * len(trace))
        print(f" at {60 * capacity.rate:.0f} requests a minute and instance")
        show("clairvoyant", [each.dollars for each in bounds], best)
        show(f"bound for {SHARE:.0%} in time", [each.lower_bound(late) for each in bounds], best)
        show("all functions", [CALL * len(each) for each in traces], best)
        fixed = {
            one.instance_type: float(np.ceil(demand.max() / (60 * one.rate)))
            * one.price
            * trace.duration
            for one in (LARGE, capacity)
        }
        for each, dollars in fixed.items():
            show(f"static peak, {each}", [dollars], best)
        first = int(bounds[0].counts[0, 0])
        costs = {}
        for each, policy in make_policies(capacity, history, demand).items():
            if only is not None and each not in only:
                continue
            played = [play(one, policy, first) for one in traces]
            note = (
                f"{min(p.within for p in played):8.3%} in time, "
                f"{statistics.median(p.calls for p in played):6.2%} on functions, "
                f"{statistics.median(p.seconds for p in played):4.1f} s to simulate"
            )
            costs[each] = show(each, [p.dollars for p in played], best, note)
        report_goals(costs, best, fixed[LARGE.instance_type])
        if tracked:
            report_tracked(trace, first, demand, costs[OURS], best)


def report_goals(costs, best, large):
    """Print how ours compares with MArk's and with the bound."""
    ours = costs[OURS]
    print(
        f"  {OURS}: {ours / costs['MArk described']:.2f} of described (goal 0.90), "
        f"{ours / costs['MArk released']:.2f} of released (goal 0.30; the clairvoyant "
        f"{best / costs['MArk released']:.2f}), {ours / best:.3f} of the clairvoyant; "
        f"static {LARGE.instance_type} costs {large / ours:.1f} times as much"
    )


def report_tracked(trace, first, demand, ours, best):
    """Print the cheapest of SageMaker's tracking that reaches the share without functions."""
    minutes = [partial(TargetTracking, target=load * 60 / SERVICE) for load in LOADS]
    seconds = [partial(TargetTracking.high_resolution, target=load) for load in LOADS]
    most = int(np.ceil(1.2 * demand.max() / (60 * ALONE.rate)))
    for name, settings in (("by the minute", minutes), ("by 10 seconds", seconds)):
        played, policy = find_tracked(trace, first, most, settings)
        if policy is None:
            print(f"  tracked {name}: no setting reaches {SHARE:.0%}")
            continue
        note = f"{played.within:8.3%} in time, target {policy.target:g}, least {policy.least}"
        times = f"{played.dollars / ours:.1f} times ours"
        show(f"tracked {name}", [played.dollars], best, f"{note}: {times}")


def worldcup(start, days):
    """Return a trace of some days, and the counts by minute of the two before."""
    frame = pl.read_csv(DATA / "worldcup98_invocation_count.csv", try_parse_dates=True)
    counts = np.round(frame["count"].to_numpy() / 10).astype(int)
    at = (datetime.fromisoformat(start) - frame["period"][0]) // timedelta(minutes=1)
    traces = [from_counts(counts[at : at + 1440 * days], period=60, seed=1)]
    return {"traces": traces, "history": counts[at - 2880 : at].tolist()}


def azure(kind):
    """Return one of Azure's traces of 2023: it comes without days before."""
    path = DATA / f"azure_llm_2023_{kind}.csv"
    return {"traces": [open_trace(f"azure-llm-2023-{kind}", path=path)]}


def crowd():
    """Return three draws of a sharp flash crowd."""
    shape = {"start": 3600, "ramp": 120, "hold": 1200, "decay": 600, "duration": 14400}
    traces = [flash_crowd(rate=40, peak=6, **shape, seed=seed) for seed in (1, 2, 3)]
    return {"traces": traces, "tracked": True}


CASES = {
    "flash crowd": crowd,
    "azure conversation": partial(azure, "conv"),
    "azure code": partial(azure, "code"),
    "WorldCup98, 26 June": partial(worldcup, "1998-06-26", 1),
    # policies and their defaults were chosen on the cases above; not on these two
    "WorldCup98, 16 June, held out": partial(worldcup, "1998-06-16", 1),
    "WorldCup98, 3 July, held out": partial(worldcup, "1998-07-03", 1),
}


def main():
    """Print all tables but the one of nine days."""
    for name, make in CASES.items():
        if name == "flash crowd" or DATA.exists():
            bench(name, **make())
        else:
            print(f"{name}: no {DATA}")


if __name__ == "__main__":
    if "nine-days" in sys.argv[1:]:
        rows = "MArk released", "MArk described", "persistence, exact", OURS
        case = worldcup("1998-06-22", 9)
        bench("WorldCup98, 22 to 30 June", **case, capacities=(ALONE,), only=rows)
    else:
        main()
