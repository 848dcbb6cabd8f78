"""How often 95 % intervals contain the truth, and how often identical experiments seem to differ.

Each setting runs with many seeds. The truth is the exact formula's for M/M/1, else that of a run of
millions of requests; where the load is 1, that of 20,000 traces of the same length: an interval
comes from up to 500, and the truth has to be known far better (2,400 traces erred by 5 % in p95).
"One run" is what a measurement has: rows alone; "repeated" is what a simulation has. Counted are
the intervals that are given; the share that was refused stands beside them. "Before" are batch
means of 20 batches.
"""

import math
import os
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from scipy import stats

from workbench.batching.timer import BatchPolicy
from workbench.deployment import Local, Serverless
from workbench.deployment.base import Deployment
from workbench.errors import TooFewSamples
from workbench.quantiles import find_rank
from workbench.queueing import mg1
from workbench.report.conclusion import Estimate
from workbench.service_times import ServiceTimes
from workbench.simulator import serve, simulate
from workbench.traffic.patterns import bursty, poisson

SEEDS = int(os.environ.get("SEEDS", "300"))
QUANTILES = (0.5, 0.95, 0.99)
LONG = 8_000_000
TRACES = 20_000
THINNED = 20  # of so many latencies of a trace in order one is kept
LEVELS = (np.arange(4000) + 0.5) / 4000
UNBATCHED = BatchPolicy()
ONE_WORKER = Local()
JITTER = np.array([0.8, 0.9, 0.95, 1, 1.05, 1.1, 1.3])


def _exponential():
    times = -np.log1p(-LEVELS)
    return ServiceTimes({1: times / ServiceTimes({1: times}).means[1]})


EXPONENTIAL = _exponential()
AFFINE = ServiceTimes({size: (0.006 + 0.004 * size) * JITTER for size in range(1, 33)})


@dataclass(frozen=True)
class Setting:
    """A rate, what serves it, and bursts by `burst` and `dwell`, if any."""

    rate: float
    times: ServiceTimes
    deployment: Deployment = ONE_WORKER
    policy: BatchPolicy = UNBATCHED
    burst: float | None = None
    dwell: tuple[float, float] = (3.0, 1.0)
    cold_start: float | None = None
    stable: bool = True

    def trace(self, requests, seed):
        given = {"rate": self.rate, "duration": requests / self.rate, "seed": seed}
        if self.burst is None:
            return poisson(**given)
        return bursty(burst=self.burst, dwell=self.dwell, **given)

    def simulate(self, requests, seed, **more):
        setup = self.trace(requests, seed), self.policy, self.deployment, self.times
        return simulate(*setup, cold_start=self.cold_start, seed=seed, **more)

    def truth(self, requests):
        if self.times is EXPONENTIAL and self.deployment == ONE_WORKER:
            found = mg1(rate=self.rate, service=self.times)
            return {q: float(found.quantile(q)) for q in QUANTILES}
        count, length, every = (4, LONG, 1) if self.stable else (TRACES, requests, THINNED)
        setup = self.policy, self.deployment, self.times
        latencies = np.concatenate(
            [
                np.sort(
                    serve(
                        self.trace(length, seed), *setup, cold_start=self.cold_start, seed=seed
                    ).latencies
                )[every // 2 :: every]
                for seed in range(10**6, 10**6 + count)
            ]
        )
        latencies.sort()
        return {q: float(latencies[find_rank(q, len(latencies)) - 1]) for q in QUANTILES}


DEMO = {"burst": 10.0, "rate": 100.0}
SETTINGS = {
    "M/M/1, load 0.5": Setting(0.5, EXPONENTIAL),
    "M/M/1, load 0.8": Setting(0.8, EXPONENTIAL),
    "M/M/1, load 0.95": Setting(0.95, EXPONENTIAL),
    "M/D/4, load 0.8": Setting(3.2, ServiceTimes({1: 1.0}), Local(workers=4)),
    "serverless, batches of 8": Setting(
        100.0,
        AFFINE,
        Serverless(memory_mb=2048, max_concurrency=50),
        BatchPolicy(max_size=8, max_wait=0.05),
    ),
    "serverless, cold starts": Setting(
        100.0,
        AFFINE,
        Serverless(memory_mb=2048, max_concurrency=50),
        BatchPolicy(max_size=8, max_wait=0.05),
        cold_start=0.5,
    ),
    "bursty local, load 0.6": Setting(60.0, AFFINE, burst=4.0),
    "demo's bursts, unbatched": Setting(**DEMO, times=AFFINE, dwell=(1.5, 0.5), stable=False),
    "demo's bursts, batches of 32": Setting(
        **DEMO, times=AFFINE, policy=BatchPolicy(max_size=32, max_wait=0.12), dwell=(1.5, 0.5)
    ),
}


def interval_or_none(run, q):
    try:
        return run.interval(q)
    except TooFewSamples:
        return None


def old_interval(run, q):
    """Return the interval of builds before: 20 batches, whatever the load."""
    values, ordered = run.latencies, np.sort(run.latencies)
    count = len(values)
    if count - find_rank(q, count) < 10:
        return None
    below = values <= ordered[find_rank(q, count) - 1]
    shares = np.array([part.mean() for part in np.array_split(below, 20)])
    error = math.sqrt(max(shares.var(ddof=1) / 20, q * (1 - q) / count))
    reach = float(stats.t.ppf(0.975, 19)) * error
    ranks = np.clip(np.ceil(count * np.array([q - reach, q + reach])), 1, count)
    low, high = ordered[ranks.astype(int) - 1].tolist()
    return low, high


def differ(first, second):
    if first is None or second is None:
        return False
    estimates = (Estimate("", 0.0, *each) for each in (first, second))
    return next(estimates).differs_from(next(estimates))


WAYS = {
    "before": old_interval,
    "one run": lambda run, q: interval_or_none(replace(run, replicate=None), q),
    "repeated": interval_or_none,
}


def coverage(setting, requests, ways, seeds=SEEDS, quantiles=QUANTILES):
    """Return the intervals of many runs by way and quantile, None where one was refused."""
    found = {(way, q): [] for way in ways for q in quantiles}
    for seed in range(seeds):
        run = setting.simulate(requests, seed, replications=20 if "repeated" in ways else None)
        for (way, q), intervals in found.items():
            bare = run if way == "repeated" else run.amend(replications=None)
            intervals.append(WAYS[way](bare, q))
    return found


def share(flags):
    flags = list(flags)
    return f"{100 * np.mean(flags):5.1f} %" if flags else "      -"


def main(settings=SETTINGS):
    print(f"{SEEDS} seeds; contain the truth | refused | identical pairs called different")
    for name, setting in settings.items():
        for requests in (2_000, 20_000):
            truth = setting.truth(requests)
            for (way, q), intervals in coverage(setting, requests, WAYS).items():
                given = [each for each in intervals if each is not None]
                hits = share(low <= truth[q] <= high for low, high in given)
                refused = share(each is None for each in intervals)
                alarms = share(differ(*pair) for pair in pairwise(intervals))
                print(
                    f"  {name:>28}, {requests:6,} requests, {way:>8}, p{100 * q:<4g}"
                    f" {hits} | {refused} | {alarms}",
                    flush=True,
                )


if __name__ == "__main__":
    main()
