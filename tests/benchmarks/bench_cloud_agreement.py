"""Simulated runs beside runs on the local cloud: serverless with cold starts, two instances.

The promise: within 10 % at p50 and 15 % at p95, median of 3 runs of 120 seconds, for the slow
model of bench_agreement.py (10 ms and more). What the simulator is told is measured just before
each run through the endpoint itself: how long a call takes back to back and after pauses as long as
the run's, and how long cold starts take. The run it has to foresee is another one.

Where the machine's speed drifts in between, nothing from before can foresee it: so each run is also
simulated with the service times that its own calls had.

On two cores a load generator, the cloud's front, and instances share what there is. The load is
low enough for that: LOAD is the share of one instance's time that is asked for.
"""

import os
import statistics
import tempfile
import time

import numpy as np
from bench_agreement import deep

import workbench as wb
from workbench.backends.base import Batch
from workbench.service_times import ServiceTimes

SECONDS = float(os.environ.get("BENCH_SECONDS", "120"))
RUNS = int(os.environ.get("BENCH_RUNS", "3"))
LOAD = float(os.environ.get("BENCH_LOAD", "0.3"))
COLD_START = os.environ.get("BENCH_COLD_START", "imported")
COLD_STARTS = 6
KEEP_ALIVE = 5.0
SERVERLESS = wb.Serverless(memory_mb=2048, max_concurrency=10, keep_alive=KEEP_ALIVE)
TWO = wb.RealTime(instance_type="ml.m5.large", count=2)
PROMISE = {0.5: 0.10, 0.95: 0.15}
LEVELS = np.linspace(0, 1, 101)


def calls(backend, rows, *, count, pause=0.0):
    """Seconds of each call as the client sees it, and what the replies told."""
    times, replies = [], []
    for number in range(count):
        time.sleep(pause)
        began = time.perf_counter()
        replies.append(backend.invoke(Batch(rows[number % len(rows) :][:1])))
        times.append(time.perf_counter() - began)
    return np.array(times), replies


def service_times(deployed):
    """Service times through the endpoint, in calls one after the other."""
    rows = deployed.model.samples().inputs
    with deployed.backend(concurrency=1) as backend:
        calls(backend, rows, count=20)
        busy, _ = calls(backend, rows, count=200)
        pause = float(np.median(busy)) * (1 / LOAD - 1)
        idle, _ = calls(backend, rows, count=100, pause=pause)
    return ServiceTimes(
        {1: np.quantile(busy, LEVELS)},
        after_idle={1: np.quantile(idle, LEVELS)},
        label="through the endpoint",
    )


def cold_starts(model, deployment, cloud):
    """Seconds of the first start on endpoints that were just made."""
    if not isinstance(deployment, wb.Serverless):
        return []
    inits = []
    for _ in range(COLD_STARTS):
        with wb.deploy(model, deployment, cloud) as deployed, deployed.backend() as backend:
            _, (reply,) = calls(backend, model.samples().inputs, count=1)
            inits.append(reply.init)
    return inits


def pair(model, deployment, cloud, *, seed):
    """Simulated over measured, by quantile, and both runs."""
    inits = cold_starts(model, deployment, cloud)
    with wb.deploy(model, deployment, cloud) as deployed:
        times = service_times(deployed)
    size = getattr(deployment, "memory_mb", None) or deployment.instance_type
    rate = LOAD * getattr(deployment, "count", 1) / float(times.means[1])
    trace = wb.poisson(rate=rate, duration=SECONDS, seed=seed)
    experiment = wb.Experiment(model, deployment, trace)

    def simulated_with(times):
        return experiment.simulate(
            times, measured={size: times}, cold_start=inits or None, seed=seed
        )

    simulated, measured = simulated_with(times), experiment.run(cloud)
    again = simulated_with(own_times(measured))
    return off(simulated, measured), off(again, measured), simulated, measured, times, inits


def own_times(run):
    """The service times that the calls of a run had, cold starts apart."""
    frame = run.frame
    took = frame["finished"] - frame["started"]
    if "init" in frame.columns:
        took -= frame["init"].fill_nan(0)
    took = took.drop_nulls().drop_nans().to_numpy()
    return ServiceTimes({1: np.quantile(took, LEVELS)}, label="of the run itself")


def off(simulated, measured):
    return [simulated.quantile(q) / measured.quantile(q) - 1 for q in PROMISE]


def told(run):
    figures = ", ".join(f"p{100 * q:g} {1e3 * run.quantile(q):.2f} ms" for q in PROMISE)
    cold = int(run.batches()["cold"].sum())
    return f"{figures}, {cold} cold starts, {len(run) - run.answered} failed"


def compare(model, deployment, cloud):
    print(f"  {deployment.label}, {SECONDS:g} s, an instance's load {LOAD:g}, {COLD_START} starts")
    rows, own = [], []
    for seed in range(RUNS):
        errors, again, simulated, measured, times, inits = pair(model, deployment, cloud, seed=seed)
        rows.append(errors)
        own.append(again)
        starts = f", cold start {1e3 * statistics.median(inits):.0f} ms" if inits else ""
        print(
            f"    {len(measured):,} requests, a call {1e3 * times.means[1]:.2f} ms back to back, "
            f"{1e3 * times.idle_means[1]:.2f} after idle{starts}\n"
            f"      simulated {told(simulated)}\n      measured  {told(measured)} "
            f"{'; '.join(measured.warnings)}",
            flush=True,
        )
    tell("", rows)
    tell(", with the service times of the run's own calls", own)


def tell(what, rows):
    for (q, promise), errors in zip(PROMISE.items(), zip(*rows, strict=True), strict=True):
        percent = [100 * abs(error) for error in errors]
        kept = "kept" if statistics.median(percent) <= 100 * promise else "NOT kept"
        print(
            f"    p{100 * q:g}{what}: off by {statistics.median(percent):.1f} % "
            f"({min(percent):.1f} to {max(percent):.1f}), {kept}: {100 * promise:g} % promised",
            flush=True,
        )


def main():
    with tempfile.TemporaryDirectory() as folder:
        os.environ["WORKBENCH_HOME"] = folder
        registry = wb.Registry(f"{folder}/registry")
        model = registry.register("deep", deep(), approval="Approved")
        with wb.LocalCloud(keep_alive=KEEP_ALIVE, cold_start=COLD_START) as cloud:
            for deployment in (SERVERLESS, TWO):
                compare(model, deployment, cloud)


if __name__ == "__main__":
    main()
