"""Exact and published predictions of the buffer against simulation, BATCH's optimum, and speed.

Over the 48 MAPs published with BATCH where shared/data is beside the checkout, else over three.
Service times: Inception-v4 at 3008 MB ("slow"), 34 ms a request ("fast").
"""

import csv
import statistics
import time
from functools import partial
from pathlib import Path

import numpy as np
from numba import njit

from workbench.arrivals import MAP, fit, mmpp
from workbench.queueing import batch_as_published, buffered, percentile_size, screen
from workbench.replay import from_csv

DATA = Path(__file__).parents[3] / "shared" / "data" / "batch_maps.csv"
REQUESTS = 2_000_000
QUANTILES = np.arange(1, 100) / 100
CASES = ((10, 0.20), (20, 0.30))
CITED = {  # A. Ali et al., BATCH (SC 2020), released with the solver
    "NYS 3": ([[-9.193680, 0], [0, -10.032671]], [[4.582001, 4.611679], [5.032529, 5.000142]]),
    "NYS 7": (
        [[-55.650135, 0], [0, -105.957535]],
        [[16.609367, 39.040768], [22.869309, 83.088226]],
    ),
    "Twitter 1": (
        [[-14.625001, 0], [0, -35.171226]],
        [[0.051020, 14.573981], [0.063796, 35.107429]],
    ),
}
# Service time by batch size b and memory m (MB): coefficients of 1, b, m, b2, bm, m2, b3, mb2,
# bm2, m3, as regressed in BATCH's released solver.
TERMS = ((0, 0), (1, 0), (0, 1), (2, 0), (1, 1), (0, 2), (3, 0), (2, 1), (1, 2), (0, 3))
INCEPTION = (
    4.98785373866948,
    2.21290624531453,
    -0.006302148424865,
    0.01220707314674,
    -0.001078252966917,
    2.93842054489054e-6,
    -0.000136439880153,
    -2.38944435771044e-6,
    1.6826351295629e-7,
    -4.44821512957105e-10,
)
RESNET_V2 = (
    4.10287326093357,
    2.44209348386686,
    -0.003744827715921,
    0.00146578966951,
    -0.001200716327886,
    1.54147156981117e-6,
    0.000169790388555,
    -1.69402238148543e-6,
    1.93096097179588e-7,
    -2.14320561298109e-10,
)
SIZES = np.arange(1, 21)


def regression(coefficients, memory):
    terms = [SIZES**b * np.asarray(memory, float)[..., None] ** m for b, m in TERMS]
    return sum(c * term for c, term in zip(coefficients, terms, strict=True))


SLOW, FAST = regression(INCEPTION, 3008.0), 0.034 * SIZES + 0.01


def dollars(times, memory):
    """Of a batch, by Lambda's list price without rounding."""
    return times * np.asarray(memory)[..., None] / 1024 * 1.66667e-5 + 2e-7


def maps():
    if not DATA.exists():
        return {name: MAP(*matrices) for name, matrices in CITED.items()}
    with DATA.open() as file:
        return {f"{row['trace']} {row['hour']}": read_map(row) for row in csv.DictReader(file)}


def read_map(row):
    entries = [[[float(row[f"{d}_{i}{j}"]) for j in "12"] for i in "12"] for d in ("D0", "D1")]
    return MAP(*entries)


@njit(cache=True)
def drawn(d0, d1, count, rng):
    phases = len(d0)
    times, clock, phase, found = np.empty(count), 0.0, 0, 0
    while found < count:
        clock += rng.exponential() / -d0[phase, phase]
        draw = rng.random() * -d0[phase, phase]
        jump = 0
        while jump < 2 * phases - 1:
            rate = d1[phase, jump] if jump < phases else d0[phase, jump - phases]
            if jump != phases + phase:
                draw -= rate
                if draw < 0:
                    break
            jump += 1
        phase = jump % phases
        if jump < phases:
            times[found] = clock
            found += 1
    return times


def arrivals_of(process, seed):
    return drawn(process.d0, process.d1, REQUESTS, np.random.default_rng(seed))


@njit(cache=True)
def buffer(times, max_size, max_wait):
    """Wait and batch size of each request."""
    waits, sizes, first = np.empty(len(times)), np.empty(len(times), np.int64), 0
    while first < len(times):
        end = first + 1
        while end < len(times) and end - first < max_size and times[end] <= times[first] + max_wait:
            end += 1
        leave = times[end - 1] if end - first == max_size else times[first] + max_wait
        for i in range(first, end):
            waits[i], sizes[i] = leave - times[i], end - first
        first = end
    return waits, sizes


def released_quantile(prediction, q):
    """By bisection to 0.01 s, as BATCH's released solver does."""
    low, high = 0.0, 30.0
    while high - low > 0.01:
        middle = (low + high) / 2
        low, high = (low, middle) if prediction.cdf(middle) >= q else (middle, high)
    return (low + high) / 2


def errors(process, max_size, max_wait, times):
    """MAPE over quantiles of published and exact, for slow and fast service; bias of p95 cost."""
    waits, sizes = buffer(times, max_size, max_wait)
    row = []
    for service in (SLOW, FAST):
        truth = np.quantile(waits + service[sizes - 1], QUANTILES)
        grid = {"max_size": max_size, "max_wait": max_wait, "service": service[:max_size]}
        published, exact = batch_as_published(process, **grid), buffered(process, **grid)
        released = np.array([released_quantile(published, q) for q in QUANTILES])
        found = [released, published.quantile(QUANTILES), exact.quantile(QUANTILES)]
        row += [100 * np.mean(np.abs(latency / truth - 1)) for latency in found]
        each = dollars(service, 3008)
        size = percentile_size(published.batch_sizes, 0.95)
        cost = np.mean(each[sizes - 1] / sizes)
        row.append(100 * (each[size - 1] / size / cost - 1))
    return row


def latency_errors():
    rows = {}
    start = time.perf_counter()
    for number, (name, process) in enumerate(maps().items()):
        times = arrivals_of(process, number)
        rows[name] = [errors(process, *case, times) for case in CASES]
    print(
        f"latency error (MAPE over quantiles 1 to 99 %) against {REQUESTS:,} simulated requests, "
        f"{len(rows)} MAPs, {time.perf_counter() - start:.0f} s"
    )
    table = np.array(list(rows.values()))
    names = ("BATCH as released", "BATCH's formulas", "exact")
    for number, (size, wait) in enumerate(CASES):
        for column, label in ((0, "slow"), (4, "fast")):
            part = table[:, number, column : column + 4]
            print(f"  batches of up to {size} in {wait:g} s, {label} service")
            for name, error in zip(names, part.T, strict=False):
                print(f"    {name:>17}: median {np.median(error):.3f} %, worst {error.max():.3f} %")
            bias = part[:, 3]
            print(f"    BATCH's cost, by its p95 batch: {bias.min():+.1f} to {bias.max():+.1f} %")
    for name, number in (("NYS 3", 0), ("Twitter 1", 1)):
        print(f"  {name} {CASES[number]}, BATCH as released, formulas, exact, cost bias (%)")
        for label, part in zip(
            ("slow", "fast"), np.split(np.array(rows[name][number]), 2), strict=True
        ):
            print(f"    {label} {part.round(3)}")


MEMORIES = np.arange(1280, 3009, 64)
WAITS = np.arange(1, 50, 2) / 100
BATCHES = np.array([1, 2, 3, 4, 5, 6, 8, 10, 12, 15, 20])
OPTIMA = {
    "resnetV2, 5 s": (regression(RESNET_V2, MEMORIES), MEMORIES, 5.0),
    "fast, 0.3 s": (FAST[None], np.array([3008]), 0.3),
}


def truth(settings, service, memories, times):
    """The 95th percentile and the dollars per million requests of a setting, simulated."""
    memory, size, wait = settings
    waits, sizes = buffer(times, BATCHES[size], WAITS[wait])
    cost = 1e6 * np.mean(dollars(service, memories)[memory, sizes - 1] / sizes)
    p95 = np.quantile(waits + service[memory, sizes - 1], 0.95)
    return f"{label(settings, memories)}: p95 {p95:.3f} s, {cost:.2f}"


def label(settings, memories):
    memory, size, wait = settings
    return f"B{BATCHES[size]} T{WAITS[wait]:.2f} M{memories[memory]}"


def cheapest(costs, quantiles, limit):
    return np.unravel_index(np.where(quantiles < limit, costs, np.inf).argmin(), costs.shape)


def published_grid(process, service, memories, limit):
    shape = (len(memories), len(BATCHES), len(WAITS))
    costs, quantiles = np.empty(shape), np.empty(shape)
    each = dollars(service, memories)
    for m, b, t in np.ndindex(shape):
        found = batch_as_published(
            process, max_size=int(BATCHES[b]), max_wait=WAITS[t], service=service[m]
        )
        size = percentile_size(found.batch_sizes, 0.95)
        costs[m, b, t] = each[m, size - 1] / size
        quantiles[m, b, t] = limit if found.cdf(limit) < 0.95 else 0.0
    return costs, quantiles


def optima():
    process = MAP(*CITED["NYS 3"])
    times = arrivals_of(process, 1)
    print("cheapest setting of NYS 3 with p95 under a target; simulated p95 and $ per million")
    for name, (service, memories, limit) in OPTIMA.items():
        grid = screen(process, max_sizes=BATCHES, max_waits=WAITS, service=service)
        exact = cheapest(grid.cost_per_request(dollars(service, memories)), grid.quantile, limit)
        costs, quantiles = published_grid(process, service, memories, limit)
        theirs = cheapest(costs, quantiles, limit)
        alone = np.where(service[:, 0] < limit, dollars(service, memories)[:, 0], np.inf).min()
        print(f"  {name}")
        print(f"    exact {truth(exact, service, memories, times)}")
        print(
            f"    BATCH {truth(theirs, service, memories, times)}"
            f" (it predicts {1e6 * costs[theirs]:.2f})"
        )
        print(f"    no batching {1e6 * alone:.2f}")


def timed(call, repeats):
    wall, cpu = [], []
    for _ in range(repeats):
        start = time.perf_counter(), time.process_time()
        call()
        wall.append(time.perf_counter() - start[0])
        cpu.append(time.process_time() - start[1])
    return (
        f"median {statistics.median(wall):.3f} s ({min(wall):.3f} to {max(wall):.3f}), "
        f"of CPU {statistics.median(cpu):.3f} s"
    )


def speed():
    memories, sizes = np.linspace(128, 3008, 46), np.arange(1, 33)
    waits = np.linspace(0.01, 0.5, 50)
    processes = {"NYS 7": MAP(*CITED["NYS 7"]), "bursty": mmpp(rate=300, burst=6)}
    print("screen of 46 memory sizes x 32 batch sizes x 50 waits, compiled before")
    for name, process in processes.items():
        for each in (0.002, 0.034, 0.5):
            service = each * (0.3 + sizes) * (1769 / memories)[:, None]
            grid = {"max_sizes": sizes, "max_waits": waits, "service": service, "limit": 0.5}
            screen(process, **grid)
            found = timed(partial(screen, process, **grid), 7)
            print(f"  {name}, {1000 * each:g} ms a request: {found}")
    one = {"max_size": 32, "max_wait": 0.1, "service": [0.02] * 32}
    found = timed(lambda: buffered(processes["bursty"], **one).quantile(QUANTILES), 15)
    print(f"one prediction and its 99 percentiles: {found}")


def real_traces():
    """Fit, predict, and replay the trace itself through the buffer: what two phases miss."""
    print(
        "real requests, batches of up to 8 in 0.5 s, 34 ms a request: fitted MAP against the trace"
    )
    for name in ("code", "conv"):
        path = DATA.parent / f"azure_llm_2023_{name}.csv"
        if not path.exists():
            print(f"  {name}: needs {path.name} in shared/data beside the checkout")
            continue
        trace = from_csv(path)
        waits, sizes = buffer(trace.arrivals, 8, 0.5)
        latencies = waits + FAST[sizes - 1]
        print(f"  {name}: {trace}")
        print(
            f"    {'trace':>7}: {summary(1 / np.mean(1 / sizes), partial(np.quantile, latencies))}"
        )
        for kind in ("poisson", "mmpp2", "map2"):
            fitted = fit(trace, kind, window=0.5)
            found = buffered(fitted.map, max_size=8, max_wait=0.5, service=FAST)
            print(f"    {kind:>7}: {summary(found.mean_batch_size, found.quantile)}; {fitted}")


def summary(mean_size, quantile):
    p50, p95, p99 = (float(quantile(q)) for q in (0.5, 0.95, 0.99))
    return f"mean batch {mean_size:.3f}, p50 {p50:.3f}, p95 {p95:.3f}, p99 {p99:.3f} s"


def main():
    latency_errors()
    optima()
    real_traces()
    speed()


if __name__ == "__main__":
    main()
