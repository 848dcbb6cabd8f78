"""The simulator: its loops alone, full runs, policies, how time and memory grow, and a first call.

Poisson arrivals, 1000 a second, on serverless instances with cold starts unless said otherwise.
Rates are requests per second of CPU time of one core.
"""

import os
import statistics
import subprocess
import sys
import tempfile
import time
import tracemalloc
from functools import partial
from pathlib import Path

import numpy as np

from workbench.batching.policies import DeadlineAware, Replanned, Steered, WorkConserving
from workbench.batching.timer import BatchPolicy
from workbench.deployment import Lambda, Local, RealTime, Serverless
from workbench.routing.base import Place
from workbench.routing.simple import RandomChoice, RoundRobin
from workbench.scaling import TargetTracking
from workbench.service_times import ServiceTimes
from workbench.simulator import (
    kernels,
    platforms,
    prepare,
    serve,
    simulate,
    spawn_streams,
    stepwise,
)
from workbench.simulator.places import RoutedSimulation
from workbench.simulator.sources import quantiles_of
from workbench.traffic.patterns import poisson

REPEATS = 9
COLD_START = 0.5
PLATFORM = Serverless(memory_mb=2048, max_concurrency=200)
BATCHED = BatchPolicy(max_size=8, max_wait=0.01)
UNBATCHED = BatchPolicy()
LAWS = {
    "batches of 8": (BATCHED, ServiceTimes.affine(0.020, 0.002, largest=8)),
    "no batching, 50 busy": (UNBATCHED, ServiceTimes({1: 0.050})),
    "no batching, 50 busy, drawn times": (
        UNBATCHED,
        ServiceTimes({1: -0.05 * np.log1p(-(np.arange(200) + 0.5) / 200)}),
    ),
}
TIMES = ServiceTimes.affine(0.020, 0.002, largest=8)
POLICIES = {
    "work-conserving": WorkConserving(max_size=8),
    "steered": Steered(latency=0.1, max_size=8),
    "deadline-aware": DeadlineAware.within(0.1, TIMES, max_size=8),
    "re-planned": Replanned(settings=[(0, BATCHED), (10, BatchPolicy(max_size=4, max_wait=0.01))]),
}
MACHINES = {"instance_type": "ml.m5.large", "count": 8}
PLATFORMS = {
    "a shared queue": (Local(workers=8), None),
    "real-time": (RealTime(**MACHINES), None),
    "real-time, scaled": (RealTime(**MACHINES), TargetTracking(target=3000, most=12)),
    "serverless": (Serverless(memory_mb=2048, max_concurrency=8, on_limit="queue"), None),
    "serverless, no limit met": (PLATFORM, None),
    "lambda": (Lambda(memory_mb=2048, max_concurrency=8, on_limit="queue"), None),
}
FIRST_CALL = """
import time
from workbench.batching.timer import BatchPolicy
from workbench.deployment import Serverless
from workbench.batching.policies import Steered, WorkConserving
from workbench.service_times import ServiceTimes
from workbench.simulator import simulate
from workbench.traffic.patterns import poisson
trace = poisson(rate=1000, duration=1, seed=1)
start, cpu = time.perf_counter(), time.process_time()
simulate(trace, {policy}, Serverless(memory_mb=2048,
    max_concurrency=200), ServiceTimes.affine(0.02, 0.002, largest=8), cold_start=0.5)
print(time.perf_counter() - start, time.process_time() - cpu)
"""


def rates(requests, work, *, before=lambda: None):
    """Requests per second of CPU time: median and spread of several runs, after one more."""
    figures = []
    for _ in range(REPEATS + 1):
        before()
        start = time.process_time()
        work()
        figures.append(requests / (time.process_time() - start) / 1e6)
    low, *_, high = sorted(figures[1:])
    return f"{statistics.median(figures[1:]):7.2f} M/s  ({low:.2f} to {high:.2f})"


class Loops:
    """The loops alone: latencies only, into arrays made beforehand."""

    def __init__(self, trace, policy, service):
        self.arrivals, self.policy, self.service = trace.arrivals, policy, service
        count = len(trace)
        self.first, self.closed = np.empty(count + 1, np.int64), np.empty(count)
        self.started, self.finished, self.init = (np.empty(count) for _ in range(3))
        self.cold, self.server = np.empty(count, np.bool_), np.empty(count, np.int32)
        self.latency = np.empty(count)
        self.dice = np.random.default_rng(1)
        self.rules = kernels.OnDemandRules(
            limit=PLATFORM.max_concurrency,
            provisioned=0,
            keep_alive=PLATFORM.keep_alive,
            queues=False,
            pace=0.0,
            depth=np.inf,
            cold_start=np.array([COLD_START]),
        )

    def draw(self):
        if self.service.sampled:
            self.dice.random(out=self.finished)

    def run(self):
        policy, laws = self.policy, quantiles_of(self.service, 0.0)
        count = kernels.form_batches(
            self.arrivals, policy.max_size, policy.max_wait, self.first, self.closed
        )
        batches = kernels.Batches(
            first=self.first[: count + 1],
            closed=self.closed[:count],
            rows=np.diff(self.first[: count + 1]),
            started=self.started[:count],
            finished=self.finished[:count],
            init=self.init[:count],
            cold=self.cold[:count],
            server=self.server[:count],
        )
        kernels.serve_on_demand(batches, laws, self.rules)
        kernels.latencies(self.arrivals, batches.first, batches.finished, self.latency)


def loops_and_runs(trace):
    for name, (policy, service) in LAWS.items():
        loops = Loops(trace, policy, service)
        print(f"  loops, {name:49}", rates(len(trace), loops.run, before=loops.draw))
    for name, (policy, service) in LAWS.items():
        work = partial(simulate, trace, policy, PLATFORM, service, cold_start=COLD_START)
        print(f"  full run, {name:46}", rates(len(trace), work))


def fleets(trace):
    half = ServiceTimes({1: 0.004})
    for deployment in (
        Local(workers=8),
        RealTime(instance_type="ml.m5.large", count=8),
        RealTime(instance_type="ml.m5.large", count=8, routing="random"),
    ):
        name = f"{deployment.label} {getattr(deployment, 'routing', '')}"
        work = partial(simulate, trace, UNBATCHED, deployment, half)
        print(f"  full run, {name:46}", rates(len(trace), work))


def seconds(work):
    """CPU seconds of some work."""
    start = time.process_time()
    work()
    return time.process_time() - start


def spread(ratios):
    low, *_, high = sorted(ratios)
    return f"{statistics.median(ratios):6.1f} ({low:.1f} to {high:.1f})"


def policies():
    """Each policy compiled, against step by step, and against a timer's batches of the same size.

    The three are timed in turn, so that what else the machine does falls on all of them.
    """
    long, short = (poisson(rate=1000, duration=each, seed=1) for each in (1000, 20))
    for place, (deployment, scaling) in PLATFORMS.items():
        for name, policy in POLICIES.items():
            given = {"cold_start": COLD_START, "scaling": scaling}
            batches = serve(long, policy, deployment, TIMES, **given).batches
            size = max(1, round(len(long) / len(batches.closed)))
            timer = BatchPolicy(max_size=size, max_wait=0.1)
            steps = partial(by_steps, short, policy, deployment, scaling)
            compiled, timed = (
                partial(serve, long, each, deployment, TIMES, **given) for each in (policy, timer)
            )
            turns = [
                (
                    seconds(steps) / len(short),
                    seconds(compiled) / len(long),
                    seconds(timed) / len(long),
                )
                for _ in range(REPEATS + 1)
            ][1:]
            rates = [1e-6 / fast for _, fast, _ in turns]
            print(
                f"  {place + ', ' + name:41} {statistics.median(rates):6.1f} M/s "
                f"({min(rates):.1f} to {max(rates):.1f}),"
                f"{spread([slow / fast for slow, fast, _ in turns])} times step by step, "
                f"{spread([fast / timed for _, fast, timed in turns])} times as long as a timer of "
                f"{size}"
            )


def by_steps(trace, policy, deployment, scaling):
    chance = platforms.RandomInputs((TIMES,), np.array([COLD_START]), *spawn_streams(0))
    stepwise.serve(trace, policy, deployment, chance, scaling)


def routed():
    """Several places and a router, beside one place step by step and the compiled loops."""
    trace = poisson(rate=1000, duration=50, seed=1)
    for name, policy in (("no batching", UNBATCHED), ("batches of 8", BATCHED)):
        one = partial(by_steps, trace, policy, Local(workers=4), None)
        print(f"  one place, step by step, {name:30}", rates(len(trace), one))
        for count in (1, 4, 20):
            member = prepare(trace, policy, Local(workers=4), TIMES, seed=1)
            places = tuple(Place(name=f"{number}") for number in range(count))
            for router in (RoundRobin(), RandomChoice()):
                simulation = RoutedSimulation(
                    trace=trace, members=(member,) * count, places=places, router=router
                )
                what = f"{count} places, {router.label}, {name}"
                print(f"  routed, {what:47}", rates(len(trace), simulation.serve))


def growth():
    policy, service = LAWS["batches of 8"]
    for seconds in (1_000, 4_000, 16_000):
        trace = poisson(rate=1000, duration=seconds, seed=1)
        loops = Loops(trace, policy, service)
        print(f"  loops, {len(trace) / 1e6:4.1f} million requests", rates(len(trace), loops.run))
    trace = poisson(rate=1000, duration=1_000, seed=1)
    for name in ("batches of 8", "no batching, 50 busy"):
        policy, service = LAWS[name]
        tracemalloc.start()
        outcome = serve(trace, policy, PLATFORM, service, cold_start=COLD_START)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        kept = sum(array.nbytes for array in outcome.batches)
        print(f"  memory, {name}: {peak / len(trace):.1f} bytes a request at the peak,")
        print(f"    {kept / len(trace):.1f} of them the result (by batch)")


def plain_python():
    sys.path.append(str(Path(__file__).parents[2]))
    from tests import twin

    trace = poisson(rate=1000, duration=5, seed=1)
    for name in ("batches of 8", "no batching, 50 busy"):
        policy, service = LAWS[name]
        start = time.process_time()
        twin.simulate(
            trace, policy, PLATFORM, service, cold_start=COLD_START, dice=spawn_streams(0)
        )
        rate = len(trace) / (time.process_time() - start) / 1e6
        print(f"  plain Python twin, {name:24} {rate:7.3f} M/s")


def simpy_peer():
    """The same work by SimPy, checked against our latencies."""
    try:
        import simpy
    except ImportError:
        print("  SimPy is not installed: pip install simpy")
        return
    trace = poisson(rate=1000, duration=20, seed=1)
    for name in ("batches of 8", "no batching, 50 busy"):
        policy, service = LAWS[name]
        arrivals, seconds = trace.arrivals.tolist(), service.table[:, 0].tolist()
        ours = serve(trace, policy, PLATFORM, service, cold_start=COLD_START).latencies
        work = partial(by_simpy, simpy, arrivals, policy, seconds)
        np.testing.assert_allclose(work(), ours, rtol=0, atol=1e-9)
        print(f"  SimPy, {name:49}", rates(len(trace), work))


def by_simpy(*given):
    return SimpyPeer(*given).run()


class SimpyPeer:
    """A buffer and instances on demand as SimPy processes; `seconds` by batch size."""

    def __init__(self, simpy, arrivals, policy, seconds):
        self.env, self.arrivals = simpy.Environment(), arrivals
        self.policy, self.seconds = policy, seconds
        self.latencies = np.empty(len(arrivals))
        self.waiting, self.idle = [], []  # requests; when instances became free
        self.sent = self.busy = 0

    def run(self):
        self.env.process(self.source())
        self.env.run()
        return self.latencies

    def source(self):
        for request, due in enumerate(self.arrivals):
            yield self.env.timeout(max(0.0, due - self.env.now))
            self.waiting.append(request)
            if len(self.waiting) == self.policy.max_size:
                self.send()
            elif len(self.waiting) == 1:
                self.env.process(self.timer(self.sent))

    def timer(self, number):
        yield self.env.timeout(self.policy.max_wait)
        if number == self.sent:
            self.send()

    def send(self):
        batch, self.waiting, self.sent = self.waiting, [], self.sent + 1
        warm = bool(self.idle) and self.env.now - self.idle.pop() <= PLATFORM.keep_alive
        if not warm:
            self.idle.clear()  # those freed earlier have expired, too
        if self.busy == PLATFORM.max_concurrency:
            self.latencies[batch] = np.nan
            return
        self.busy += 1
        seconds = self.seconds[len(batch)] + (0 if warm else COLD_START)
        self.env.process(self.serving(batch, seconds))

    def serving(self, batch, seconds):
        yield self.env.timeout(seconds)
        self.busy -= 1
        self.idle.append(self.env.now)
        for request in batch:
            self.latencies[request] = self.env.now - self.arrivals[request]


def first_call():
    for policy in (BATCHED, *list(POLICIES.values())[:2]):
        command = [sys.executable, "-c", FIRST_CALL.format(policy=policy)]
        with tempfile.TemporaryDirectory() as folder:
            fresh = os.environ | {"NUMBA_CACHE_DIR": folder}
            first, *calls = (
                [
                    float(figure)
                    for figure in subprocess.run(
                        command, check=True, capture_output=True, env=fresh
                    ).stdout.split()
                ]
                for _ in range(REPEATS + 1)
            )
        print(f"  first call in a fresh process, {policy.label}:")
        print(f"    with compilation {first[0]:.2f} s wall, {first[1]:.2f} s CPU")
        for kind, times in zip(("wall", "CPU"), zip(*calls, strict=True), strict=True):
            print(
                f"    compiled before: {statistics.median(times):.2f} s "
                f"({min(times):.2f} to {max(times):.2f}) of {kind} time"
            )


def main():
    trace = poisson(rate=1000, duration=2000, seed=1)
    loops_and_runs(trace)
    fleets(trace)
    policies()
    routed()
    growth()
    plain_python()
    simpy_peer()
    first_call()


if __name__ == "__main__":
    main()
