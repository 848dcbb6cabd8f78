"""Exact and published predictions of the buffer against simulation, BATCH's optimum, and speed.

Over the 48 MAPs published with BATCH where shared/data is beside the checkout, else over three.
Service times: Inception-v4 at 3008 MB ("slow"), 34 ms a request ("fast").
"""

import statistics
import time
from functools import partial
from pathlib import Path

import numpy as np

from workbench.batching.timer import BatchPolicy
from workbench.papers.batch import (
    CITED_MAPS,
    FAST,
    MAPS_FILE,
    MEMORIES,
    QUANTILES,
    inception_resnet_v2,
    load_maps,
    model_errors,
    optima,
    simulate_buffer,
)
from workbench.queueing import predict_buffer, screen
from workbench.run import SLO
from workbench.traffic.map import mmpp
from workbench.traffic.map_fitting import fit
from workbench.traffic.replay import from_csv

DATA = Path(__file__).parents[3] / "shared" / "data"
REQUESTS = 2_000_000
CASES = ((10, 0.20, "NYS 3"), (20, 0.30, "Twitter 1"))
MODELS = {"BATCH as released": "released", "BATCH's formulas": "formulas", "exact": "exact"}
OPTIMA = {
    "resnetV2": (inception_resnet_v2(MEMORIES), MEMORIES, SLO(latency=5.0)),
    "fast": (FAST, [3008], SLO(latency=0.3)),
}


def latency_errors():
    maps = load_maps(DATA if (DATA / MAPS_FILE).exists() else None)
    print(
        f"latency error (MAPE over quantiles 1 to 99 %) against {REQUESTS:,} simulated requests, "
        f"{len(maps)} MAPs"
    )
    for size, wait, shown in CASES:
        start = time.perf_counter()
        table = model_errors(maps, max_size=size, max_wait=wait, requests=REQUESTS)
        print(f"  batches of up to {size} in {wait:g} s: {time.perf_counter() - start:.0f} s")
        for (service,), rows in table.group_by("service", maintain_order=True):
            print(f"    {service} service")
            for name, column in MODELS.items():
                error = 100 * rows[column].to_numpy()
                (own,) = 100 * rows.filter(map=shown)[column].to_numpy()
                told = f"median {np.median(error):.3f} %, worst {error.max():.3f} %"
                print(f"      {name:>17}: {told}; {shown} {own:.3f} %")
            bias = 100 * rows["cost_bias"].to_numpy()
            print(f"      BATCH's cost, by its p95 batch: {bias.min():+.1f} to {bias.max():+.1f} %")


def best_settings():
    print("cheapest setting of NYS 3 with p95 under a target; simulated p95 and $ per million")
    for name, (service, memories, slo) in OPTIMA.items():
        print(f"  {name}, {slo.label}")
        found = optima(CITED_MAPS["NYS 3"], service, memories, slo, requests=REQUESTS, seed=1)
        for row in found.iter_rows(named=True):
            print(
                f"    {row['chosen_by']:>11}: B{row['max_size']} T{row['max_wait']:.2f} "
                f"M{row['memory_mb']}: p95 {row['latency']:.3f} s, {row['cost']:.2f} "
                f"(it predicts {row['promised']:.2f})"
            )


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
    processes = {"NYS 7": CITED_MAPS["NYS 7"], "bursty": mmpp(rate=300, burst=6)}
    print("screen of 46 memory sizes x 32 batch sizes x 50 waits, compiled before")
    for name, process in processes.items():
        for each in (0.002, 0.034, 0.5):
            service = each * (0.3 + sizes) * (1769 / memories)[:, None]
            grid = {"max_sizes": sizes, "max_waits": waits, "service": service, "limit": 0.5}
            screen(process, **grid)
            found = timed(partial(screen, process, **grid), 7)
            print(f"  {name}, {1000 * each:g} ms a request: {found}")
    one = {"max_size": 32, "max_wait": 0.1, "service": [0.02] * 32}
    found = timed(lambda: predict_buffer(processes["bursty"], **one).quantile(QUANTILES), 15)
    print(f"one prediction and its 99 percentiles: {found}")


def real_traces():
    """Fit, predict, and replay the trace itself through the buffer: what two phases miss."""
    print(
        "real requests, batches of up to 8 in 0.5 s, 34 ms a request: fitted MAP against the trace"
    )
    for name in ("code", "conv"):
        path = DATA / f"azure_llm_2023_{name}.csv"
        if not path.exists():
            print(f"  {name}: needs {path.name} in shared/data beside the checkout")
            continue
        trace = from_csv(path)
        played = simulate_buffer(trace, BatchPolicy(max_size=8, max_wait=0.5))
        sizes, latencies = played.sizes, played.latencies(FAST[0])
        print(f"  {name}: {trace}")
        print(
            f"    {'trace':>7}: {summary(1 / np.mean(1 / sizes), partial(np.quantile, latencies))}"
        )
        for kind in ("poisson", "mmpp2", "map2"):
            fitted = fit(trace, kind, window=0.5)
            found = predict_buffer(fitted.map, max_size=8, max_wait=0.5, service=FAST[0])
            print(f"    {kind:>7}: {summary(found.mean_batch_size, found.quantile)}; {fitted}")


def summary(mean_size, quantile):
    p50, p95, p99 = (float(quantile(q)) for q in (0.5, 0.95, 0.99))
    return f"mean batch {mean_size:.3f}, p50 {p50:.3f}, p95 {p95:.3f}, p99 {p99:.3f} s"


def main():
    latency_errors()
    best_settings()
    real_traces()
    speed()


if __name__ == "__main__":
    main()
