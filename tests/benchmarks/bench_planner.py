"""The planner against brute force by simulation, BATCH's picks, and the time that deciding takes.

Over the 48 MAPs published with BATCH where shared/data is beside the checkout, else over three.
Brute force simulates every setting of the grid with as many requests as the planner has; the
winner is judged once more under requests that neither has seen.
"""

import sys
import time
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
from bench_queueing import DATA, REQUESTS, timed
from numba import njit

from workbench.batching.timer import BatchPolicy
from workbench.deployment import RealTime
from workbench.papers.batch import (
    CITED_MAPS,
    FAST,
    MAPS_FILE,
    MAX_SIZES,
    MEMORIES,
    WAITS,
    batch_dollars,
    inception_resnet_v2,
    load_maps,
    optima,
    simulate_buffer,
)
from workbench.planner import Options, capacities, crossings, plan, replan
from workbench.planner.on_demand import screen_on_demand
from workbench.planner.options import CLOUD_KINDS
from workbench.pricing.usage import round_up_ms
from workbench.run import SLO
from workbench.service_times import ServiceTimes
from workbench.traffic.map import mmpp
from workbench.traffic.patterns import bursty, diurnal, flash_crowd, markovian
from workbench.traffic.replay import from_csv
from workbench.traffic.trace import Trace

sys.path.insert(0, str(Path(__file__).parents[2]))
from tests.planner.test_optimality import (
    GRID,
    TIMES,
    TRACES,
    cost_over_brute_force,
    targets_of,
)

CASES = {
    "fast, 0.3 s": (FAST, np.array([3008]), 0.3),
    "resnetV2, 5 s": (inception_resnet_v2(MEMORIES), MEMORIES, 5.0),
}


def arrivals_of(process, seed, requests=REQUESTS):
    """The arrival times of so many requests, or nearly."""
    return markovian(process.d0, process.d1, duration=requests / process.rate, seed=seed).arrivals


@njit(cache=True)
def tallied(times, max_size, max_wait, left):
    """Requests that wait at most so long by place in `left`, and batches by size.

    `left` has a row a batch size: what service leaves of the target, ascending. A request counts
    at the first place that its wait is within.
    """
    within, batches = np.zeros(left.shape[1], np.int64), np.zeros(len(left), np.int64)
    first = 0
    while first < len(times):
        end = first + 1
        while end < len(times) and end - first < max_size and times[end] <= times[first] + max_wait:
            end += 1
        leave = times[end - 1] if end - first == max_size else times[first] + max_wait
        row = left[end - first - 1]
        batches[end - first - 1] += 1
        for i in range(first, end):
            low, high = 0, len(row)
            while low < high:
                middle = (low + high) // 2
                if row[middle] * (1 + 1e-12) >= leave - times[i]:
                    high = middle
                else:
                    low = middle + 1
            if low < len(row):
                within[low] += 1
        first = end
    return within, batches


def brute_force(times, service, memories, limit):
    """Whether the p95 of each setting meets the limit, and its dollars per million: simulated."""
    shape = (len(memories), len(MAX_SIZES), len(WAITS))
    met, costs = np.zeros(shape, bool), np.empty(shape)
    each = batch_dollars(round_up_ms(service) / 1000, memories)
    order = np.argsort(-service[:, 0], kind="stable")
    left = np.ascontiguousarray(limit - service[order].T)
    assert (np.diff(left) >= 0).all()  # more memory serves faster, whatever the batch size
    for b, t in np.ndindex(shape[1:]):
        within, batches = tallied(times, int(MAX_SIZES[b]), WAITS[t], left)
        met[order, b, t] = np.cumsum(within) >= np.ceil(0.95 * len(times) - 1e-9)
        costs[:, b, t] = 1e6 * (each @ batches) / len(times)
    return met, costs


def service_of(service, memories):
    tables = {
        int(memory): ServiceTimes(dict(enumerate(row, 1)))
        for memory, row in zip(memories, service, strict=True)
    }
    return lambda deployment: tables[deployment.memory_mb]


def decide(process, times, service, memories, limit):
    options = Options(
        kinds=["lambda"],
        lambda_memory_mb=memories.tolist(),
        lambda_concurrency=10_000,
        max_sizes=MAX_SIZES.tolist(),
        max_waits=WAITS.tolist(),
        cold_start=0.0,
        headroom=0.0,
        unseen_draws=0,  # brute force has no headroom either
    )
    slo = SLO(latency=limit)
    return plan(service_of(service, memories), trace_of(times), slo, options, arrivals=process)


def against_brute_force():
    for name, (service, memories, limit) in CASES.items():
        several = len(memories) > 1
        processes = list(load_maps(DATA if (DATA / MAPS_FILE).exists() else None).values())
        start = time.perf_counter()
        rows = np.array([compared(*each, name) for each in enumerate(processes)]).T
        optimum, cost, latency, unseen, simulations, seconds, theirs, their_cost = rows
        over = 100 * (cost / optimum - 1)
        saved = 100 * (1 - cost / alone(service, memories, limit))
        print(
            f"  {name}, {len(processes)} MAPs, {REQUESTS:,} requests each "
            f"({time.perf_counter() - start:.0f} s)\n"
            f"    cost over that of brute force: median {np.median(over):+.3f} %, worst "
            f"{over.max():+.3f} %; {saved.min():.0f} to {saved.max():.0f} % below no batching\n"
            f"    p95 above the target x 1.001: {(latency > 1.001 * limit).sum()} under the same "
            f"requests, {(unseen > 1.001 * limit).sum()} under others (worst "
            f"{unseen.max() / limit:.4f} of the target)\n"
            f"    {simulations.mean():.1f} simulations a plan, {np.median(seconds):.2f} s deciding"
        )
        if not several:
            good = theirs <= 1.001 * limit
            gap = 100 * (their_cost / cost - 1)[good]
            costs = (
                f"; where not, {gap.min():+.1f} to {gap.max():+.1f} % dearer" if len(gap) else ""
            )
            print(
                f"    BATCH's pick: p95 above the target x 1.001 in {(~good).sum()}, up to "
                f"{theirs.max() / limit:.2f} of it{costs}"
            )


def compared(number, process, name):
    """Dollars of brute force and of the plan, its p95 under seen and unseen requests, ..."""
    service, memories, limit = CASES[name]
    times, others = (arrivals_of(process, 2 * number + i) for i in (0, 1))
    met, costs = brute_force(times, service, memories, limit)
    found = decide(process, times, service, memories, limit)
    best = found.best
    memory = list(memories).index(best.deployment.memory_mb)
    unseen = p95(others, best.policy.max_size, best.policy.max_wait, service[memory])
    pick = (np.nan, np.nan) if len(memories) > 1 else batch_pick(process, times, name)
    spent = len(found.finalists), found.seconds
    optimum = np.where(met, costs, np.inf).min()
    return optimum, best.cost_per_million, best.latency, unseen, *spent, *pick


def p95(times, max_size, max_wait, service):
    played = simulate_buffer(trace_of(times), BatchPolicy(max_size=max_size, max_wait=max_wait))
    return np.quantile(played.latencies(service), 0.95)


def trace_of(times):
    return Trace(times, float(times[-1]))


def alone(service, memories, limit):
    """Dollars per million of the cheapest setting without batching."""
    each = batch_dollars(round_up_ms(service) / 1000, memories)[:, 0]
    return 1e6 * np.where(service[:, 0] <= limit, each, np.inf).min()


def batch_pick(process, times, name):
    """What BATCH's published model picks really comes to: p95 and dollars per million."""
    service, memories, limit = CASES[name]
    found = optima(process, service, memories, SLO(latency=limit), requests=10_000)
    (pick,) = found.filter(chosen_by="BATCH").iter_rows(named=True)
    memory = list(memories).index(pick["memory_mb"])
    policy = BatchPolicy(max_size=pick["max_size"], max_wait=pick["max_wait"])
    played = simulate_buffer(trace_of(times), policy)
    each = batch_dollars(round_up_ms(service) / 1000, memories)[memory]
    return np.quantile(played.latencies(service[memory]), 0.95), 1e6 * played.cost(each)


def published_optima():
    print("NYS hour 3, the optimum of the reference table: 34.68 (B5 T0.47 M2240), 1.94 (B4 T0.17)")
    process = CITED_MAPS["NYS 3"]
    times = arrivals_of(process, 1)
    for name, (service, memories, limit) in CASES.items():
        print(f"  {name}: {decide(process, times, service, memories, limit).label}")


def full_grid():
    memories, sizes, waits = np.linspace(128, 3008, 46).astype(int), range(1, 33), 50
    print("full grid of 46 memory sizes x 32 batch sizes x 50 waits, a service law for each memory")
    for name, process in (("NYS 7", CITED_MAPS["NYS 7"]), ("bursty", mmpp(rate=300, burst=6))):
        times = arrivals_of(process, 1)[:100_000]
        tables = 0.03 * (0.3 + np.arange(1, 33)) * (1769 / memories)[:, None]
        options = Options(
            kinds=["lambda"],
            lambda_memory_mb=memories.tolist(),
            max_sizes=list(sizes),
            max_waits=np.linspace(0.01, 0.5, waits).tolist(),
            cold_start=0.0,
            unseen_draws=0,
        )
        trace = trace_of(times)
        service = service_of(tables, memories)
        whole = partial(plan, service, trace, SLO(latency=0.5), options, arrivals=process)
        task = whole().task
        print(f"  {name}, screened: {timed(lambda task=task: anew(task), 5)}")
        print(f"  {name}, and finalists of 100,000 requests: {timed(whole, 5)}")


def anew(task):
    vars(task).pop("screening", None)
    return screen_on_demand(task, "lambda")


def all_types():
    trace = bursty(rate=300, burst=6, duration=3350, seed=1)
    times = ServiceTimes.affine(0.006, 0.004, largest=32)
    law = np.linspace(0.8, 1.5, 21)
    drawn = ServiceTimes({size: (0.006 + 0.004 * size) * law for size in range(1, 33)})
    print(f"all inference types, {len(trace):,} requests, with and without 20 unseen days")
    for name, service in (("constant service", times), ("service drawn from 21 quantiles", drawn)):
        for draws in (0, 20):
            options = Options(cold_start=0.3, unseen_draws=draws)
            whole = partial(plan, service, trace, SLO(latency=0.1), options)
            began = time.process_time()
            found = whole()
            spent = time.process_time() - began
            print(
                f"  {name}, {draws} days: {timed(whole, 3)}, {spent:.1f} s of one core\n"
                f"    {found.effort}\n    {found.label}"
            )
    start = time.perf_counter()
    frame = plan(times, trace.clip(0, 300), SLO(latency=0.1)).break_even()
    print(f"  break-even at 7 rates, {time.perf_counter() - start:.1f} s: {crossings(frame)}")


def over_a_day():
    trace = diurnal(rate=50, swing=0.8, period=86_400, duration=86_400, seed=1)
    times = ServiceTimes.affine(0.02, 0.02, largest=32)
    options = Options(kinds=["lambda", "serverless"], cold_start=0.3)
    found = replan(times, trace, SLO(latency=0.4), options, window=3600)
    print(f"a day of {len(trace):,} requests in waves, each hour anew:\n  {found.label}")


def real_traces():
    """Requests that no process of two phases explains: the simulator corrects the exact model."""
    service = ServiceTimes.affine(0.05, 0.03, largest=16)
    options = Options(
        kinds=["lambda"], lambda_memory_mb=[1024, 1769], cold_start=0.5, unseen_draws=0
    )
    print("real requests: the plan's cost over that of brute force by simulation of all settings")
    for name in ("code", "conv"):
        path = DATA / f"azure_llm_2023_{name}.csv"
        if not path.exists():
            print(f"  {name}: needs {path.name} in shared/data beside the checkout")
            continue
        trace = from_csv(path)
        for limit in (0.3, 0.6, 1.5):
            found = plan(service, trace, SLO(latency=limit), options)
            figures = [found.task.simulate(setting) for setting in every_setting(found)]
            optimum = min(each.cost for each in figures if each.latency <= limit)
            over = 100 * (found.best.cost_per_million / optimum - 1)
            print(
                f"  {name}, p95 <= {limit} s: {over:+.3f} %, p95 {found.best.latency:.4f} s, "
                f"{len(found.finalists)} of {len(figures)} settings simulated"
            )


def every_setting(found):
    return (field.configuration(row) for field in found.fields for row in range(len(field.place)))


def every_type():
    """Every setting of a small grid, simulated: the winner of each type against the cheapest."""
    print("the winner of each inference type against brute force over a small grid")
    for kind in CLOUD_KINDS:
        gaps = [
            cost_over_brute_force(plan(TIMES, trace, SLO(latency=latency), options))
            for trace in TRACES.values()
            for latency in targets_of(kind)
            for options in [replace(GRID, kinds=[kind])]
        ]
        print(f"  {kind}: {len(gaps)} cases, at worst {100 * max(gaps):+.3f} %")


def on_other_days():
    """The share of 30 days that neither search nor trial has seen on which the winner does."""
    print("the winner on 30 days that it has not seen, found without and with unseen draws")
    times = ServiceTimes.affine(0.006, 0.004, largest=32)
    crowd = partial(
        flash_crowd, rate=40, peak=12, start=30, ramp=5, hold=15, decay=10, duration=120
    )
    bursts = partial(bursty, rate=60, burst=5, dwell=(20, 5), duration=600)
    for name, day in (("flash crowd", crowd), ("bursty", bursts)):
        for kind in ("real-time", "async", "lambda"):
            options = Options(kinds=[kind], cold_start=0.3)
            shares = []
            for draws in (0, 20):
                chosen = replace(options, unseen_draws=draws)
                found = plan(times, day(seed=1), SLO(latency=0.1), chosen)
                days = [day(seed=seed) for seed in range(1000, 1030)]
                shares.append(f"{100 * share_met(found, days):.0f} %")
            print(f"  {name}, {kind}: {' and '.join(shares)}, headroom {found.surcharge:.1%}")


def share_met(found, days):
    """On which share of days the winner meets the target."""
    played = [replace(found.task, trace=day).ratio(found.best.configuration) for day in days]
    return np.mean([each <= 1 for each in played])


def with_functions_for_the_rest():
    """How long a plan with scaled fleets and hybrids takes, and what it finds, on a flash crowd."""
    trace = flash_crowd(
        rate=40, peak=6, duration=14400, start=3600, ramp=120, hold=1200, decay=600, seed=1
    )
    times, slo = ServiceTimes.affine(0.1, 0.03, largest=8), SLO(latency=0.5, quantile=0.99)
    print(f"fleets that change size and hybrids, {len(trace):,} requests of a flash crowd")
    options = Options(cold_start=0.3, unseen_draws=0)
    plan(times, trace.clip(0, 600), slo, replace(options, scaled=True, hybrid=True))  # compiles
    for name, chosen in (
        ("default", options),
        ("scaled and hybrid", replace(options, scaled=True, hybrid=True)),
    ):
        seconds = []
        for _ in range(3):
            began = time.perf_counter()
            found = plan(times, trace, slo, chosen)
            seconds.append(time.perf_counter() - began)
        spread = f"{min(seconds):.1f} to {max(seconds):.1f}"
        print(f"  {name}: {np.median(seconds):.1f} s ({spread}), {found.best.label}")
    for row in found.by_kind.iter_rows(named=True):
        met = row["minutes_met"]
        print(
            f"    {row['kind']}: ${row['cost_per_million']:.3f} per million, target met in "
            f"{100 * met:.1f} % of minutes, worst {100 * row['worst_minute']:.1f} %; "
            f"{row['reason']}"
        )


MARKS_CAPACITY = {"ml.c5.large": (284, 1), "ml.c5.xlarge": (490, 2), "ml.p2.xlarge": (3320, 8)}
"""Requests a minute and batch size of Inception-v3: AllCapacity and HANDLE_SIZE of MArk's code."""


def what_one_instance_does():
    """MArk's batch sizes by its rule, and the rates that a target allows of those it profiled."""
    slo = SLO(latency=1.0, quantile=0.98)
    print(f"what one instance does for {slo.label}, beside what MArk's authors profiled")
    for name, (per_minute, size) in MARKS_CAPACITY.items():
        each = 60 / per_minute
        times = ServiceTimes({n: n * each * (1 + 0.05 * abs(n - size)) for n in range(1, 13)})
        one = RealTime(instance_type=name)
        prices = Options().prices.with_price(name, 1.0, unit="hour")  # none is printed
        options = Options(deployments=[one], prices=prices)
        began = time.perf_counter()
        found = capacities(lambda _, times=times: times, slo, options)
        seconds = time.perf_counter() - began
        words = [
            f"{row.rule} {row.capacity.policy.label}: {60 * row.capacity.rate:.0f} a minute"
            for row in found.rows
        ]
        print(f"  {name}: profiled {per_minute} at {size}; {'; '.join(words)}; {seconds:.2f} s")


def main():
    what_one_instance_does()
    with_functions_for_the_rest()
    every_type()
    on_other_days()
    full_grid()
    all_types()
    published_optima()
    over_a_day()
    real_traces()
    print("the plan's winner against brute force")
    against_brute_force()


if __name__ == "__main__":
    main()
