"""Simulated p95 and p99 where some calls are slow, from a profile: this build and the one before.

A server of 10 ms is timed back to back for a while; the profile keeps what a profile keeps, and a
simulation from it is compared with the truth, the same queue served by the process itself. Errors
are medians over seeds, each with a profile and a truth of its own, and in brackets the median of
their sizes, which holds the luck of both. Processes: 2 % of calls take ten times as long; 3 s of
every 30 s at half speed; slow for 1 s now and then (a Markov process of two states); both of the
first two. The promise: medians within 5 %.
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import polars as pl

from workbench.batching.timer import BatchPolicy
from workbench.deployment import Local
from workbench.measuring.profile import QUANTILE_LEVELS, Profile
from workbench.service_times import ServiceTimes
from workbench.simulator import serve
from workbench.traffic.trace import Trace

BEFORE = "b4081cd"
SEEDS = int(os.environ.get("BENCH_SEEDS", "15"))
REQUESTS = 200_000
LOADS = (0.5, 0.65, 0.8)
LEVELS = (0.95, 0.99)
PROMISE = 0.05


class Server:
    """A server of 10 ms and 5 % of noise, which is slow in some way."""

    def __init__(self, seed, *, rare=0.0, period=None, sojourn=None):
        self.random = np.random.default_rng(seed)
        self.rare, self.period = rare, period
        self.changes = np.array([np.inf])
        self.start = self.random.uniform(0, 30)
        if sojourn:
            fast = self.random.exponential(9 * sojourn, 4000)
            slow = self.random.exponential(sojourn, 4000)
            self.changes = np.cumsum(np.stack([fast, slow], axis=1).ravel())

    def slowness(self, now):
        if self.period:
            return 2.0 if (now + self.start) % self.period < self.period / 10 else 1.0
        return 1.0 + np.searchsorted(self.changes, now, side="right") % 2

    def serve(self, arrivals):
        """Starts and seconds of calls, first come first served."""
        count = len(arrivals)
        base = 0.01 * np.exp(0.05 * self.random.standard_normal(count))
        base[self.random.random(count) < self.rare] *= 10
        starts, seconds, free = np.empty(count), np.empty(count), 0.0
        plain = not self.period and np.isinf(self.changes[0])
        for call, (arrival, own) in enumerate(zip(arrivals.tolist(), base.tolist(), strict=True)):
            now = max(free, arrival)
            took = own if plain else own * self.slowness(now)
            starts[call], seconds[call] = now, took
            free = now + took
        return starts, seconds


PROCESSES = {  # what is slow, mean seconds of a call, and for how long the profile watches
    "2 % take ten times as long": ({"rare": 0.02}, 0.0118, 300),
    "3 s of 30 at half speed": ({"period": 30}, 0.011, 300),
    "slow for 1 s now and then": ({"sojourn": 1.0}, 0.011, 600),
    "2 % ten times, 3 s of 30 half": ({"rare": 0.02, "period": 30}, 0.01298, 300),
}


def rows_of(starts, seconds):
    """What a profile says of calls: a row back to back, and one after idle of its first 50."""
    try:
        from workbench.measuring.kept_calls import keep_calls
    except ImportError:  # the build before
        keep_calls = lambda *_: {}  # noqa: E731
    return [
        {
            "batch_size": 1,
            "threads": 1,
            "state": state,
            "repeats": len(took),
            "median": float(np.median(took)),
            "low": 0.0,
            "high": 0.0,
            "mean": float(took.mean()),
            "quantiles": np.quantile(took, QUANTILE_LEVELS).tolist(),
            **keep_calls(begun, took),
        }
        for state, begun, took in (
            ("back to back", starts, seconds),
            ("after idle", starts[-50:], seconds[-50:]),
        )
    ]


def profile_of(starts, seconds):
    frame = pl.DataFrame(rows_of(starts, seconds))
    try:
        from workbench.measuring.kept_calls import thin_calls
    except ImportError:
        return Profile(frame)
    return Profile(thin_calls(frame))


def simulated():
    """For each process, load and seed: simulated quantiles over true ones, less 1."""
    found = {}
    for name, (process, mean, watched) in PROCESSES.items():
        for load in LOADS:
            errors = []
            for seed in range(SEEDS):
                random = np.random.default_rng(seed)
                starts, seconds = Server(seed, **process).serve(np.zeros(int(watched / 0.009)))
                known = starts < watched
                times = ServiceTimes.from_profile(profile_of(starts[known], seconds[known]))
                arrivals = np.cumsum(random.exponential(mean / load, REQUESTS))
                begun, took = Server(1000 + seed, **process).serve(arrivals)
                truth = begun + took - arrivals
                trace = Trace(arrivals, float(arrivals[-1]) + 1)
                latency = serve(trace, BatchPolicy(), Local(), times, seed=seed).latencies
                errors.append([np.quantile(latency, q) / np.quantile(truth, q) - 1 for q in LEVELS])
            found[f"{name}, load {load:g}"] = errors
    return found


def built_before():
    """The same by the build before, in a process of its own."""
    root = Path(__file__).parents[2]
    with tempfile.TemporaryDirectory() as folder:
        archive = subprocess.run(
            ["git", "-C", str(root), "archive", BEFORE], check=True, capture_output=True
        ).stdout
        subprocess.run(["tar", "x", "-C", folder], input=archive, check=True)
        command = "import json, bench_tails; print(json.dumps(bench_tails.simulated()))"
        path = os.pathsep.join([folder, str(Path(__file__).parent)])
        printed = subprocess.run(
            [sys.executable, "-c", command],
            check=True,
            capture_output=True,
            cwd=folder,
            env=os.environ | {"PYTHONPATH": path},
        ).stdout
    return json.loads(printed)


def main():
    print(f"  {REQUESTS:,} requests, {SEEDS} seeds; error at p95, p99")
    now, before = simulated(), built_before()
    for name, errors in now.items():
        middle = np.median(errors, axis=0)
        kept = "kept" if (np.abs(middle) <= PROMISE).all() else "NOT kept"
        print(
            f"  {name:40} {tell(errors)}, {kept}: {100 * PROMISE:g} % promised; "
            f"before {tell(before[name])}",
            flush=True,
        )


def tell(errors):
    middles, sizes = np.median(errors, axis=0), np.median(np.abs(errors), axis=0)
    return ", ".join(
        f"{100 * middle:+.1f} ({100 * size:.1f}) %"
        for middle, size in zip(middles, sizes, strict=True)
    )


if __name__ == "__main__":
    main()
