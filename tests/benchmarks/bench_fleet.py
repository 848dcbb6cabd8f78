"""A day of a fleet, 10 million requests: fixed, scaled, hybrid, and SimPy on a tenth of it.

Load follows a day's curve, so that 20 to 73 instances are busy; service times are drawn. Seconds
are CPU time of one core, medians with spread; SimPy takes its turns in between.
"""

import statistics
import time
from functools import partial

import numpy as np

from workbench.batching.timer import BatchPolicy
from workbench.deployment import Hybrid, InFlight, Lambda, RealTime
from workbench.scaling import Schedule
from workbench.service_times import ServiceTimes
from workbench.simulator import serve
from workbench.traffic.patterns import diurnal

REPEATS = 5
DAY = 86_400.0
REQUESTS = 10_000_000
SECONDS = 0.3
BOOT = 180.0
UNBATCHED = BatchPolicy()
LEVELS = -np.log1p(-(np.arange(200) + 0.5) / 200)
TIMES = ServiceTimes({1: SECONDS * LEVELS / LEVELS.mean()})
FUNCTIONS = Lambda(memory_mb=1769, max_concurrency=1000)


def day(requests):
    """A day's curve, which peaks at 3.6 times its lowest rate."""
    return diurnal(rate=requests / DAY, duration=DAY, period=DAY, swing=0.57, seed=1)


def schedule(share):
    """As many instances as carry this share of the load at 80 %, each minute."""
    minutes = np.arange(0, DAY, 60.0)
    load = REQUESTS / DAY * (1 - 0.57 * np.cos(2 * np.pi * minutes / DAY)) * SECONDS
    counts = np.ceil(share * load / 0.8).astype(int).tolist()
    return Schedule(list(zip(minutes.tolist(), counts, strict=True)))


def instances(count):
    return RealTime(instance_type="ml.m5.large", count=count)


def rows():
    """Each row's name, and the work that it times."""
    trace = day(REQUESTS)
    fixed = partial(serve, trace, UNBATCHED, instances(73), TIMES)
    scaled = partial(serve, trace, UNBATCHED, instances(40), TIMES, boot=BOOT)
    policy, counts = schedule(1.0), [count for _, count in schedule(1.0).changes]
    yield f"fixed, 73 instances, {len(trace):,} requests", fixed
    yield f"scaled, {min(counts)} to {max(counts)} instances", partial(scaled, scaling=policy)
    hybrid = Hybrid(base=instances(30), overflow=FUNCTIONS, spill=InFlight(2))
    both = partial(serve, trace, UNBATCHED, hybrid, [TIMES, TIMES], cold_start=0.5, boot=BOOT)
    yield "hybrid, scaled for half the load", partial(both, scaling=schedule(0.5))
    yield "lambda alone", partial(serve, trace, UNBATCHED, FUNCTIONS, TIMES, cold_start=0.5)
    try:
        import simpy
    except ImportError:
        print("  SimPy is not installed: pip install simpy")
        return
    yield "SimPy, fixed, a tenth of the day", partial(by_simpy, simpy, day(REQUESTS / 10))


def by_simpy(simpy, trace):
    """One queue for each of 8 instances, the shortest taken: as a tenth of the load asks for."""
    environment, dice = simpy.Environment(), np.random.default_rng(1)
    seconds = np.interp(dice.random(len(trace)), np.linspace(0, 1, 200), TIMES.table[1]).tolist()
    servers = [simpy.Resource(environment) for _ in range(8)]
    latencies = []

    def request(number):
        server = min(servers, key=lambda each: each.count + len(each.queue))
        began = environment.now
        with server.request() as turn:
            yield turn
            yield environment.timeout(seconds[number])
        latencies.append(environment.now - began)

    def source():
        for number, due in enumerate(trace.arrivals.tolist()):
            yield environment.timeout(due - environment.now)
            environment.process(request(number))

    environment.process(source())
    environment.run()
    return latencies


def main():
    work = dict(rows())
    seconds = {name: [] for name in work}
    for turn in range(REPEATS + 1):
        for name, run in work.items():
            start = time.process_time()
            run()
            if turn:  # the first one compiles
                seconds[name].append(time.process_time() - start)
    for name, found in seconds.items():
        print(
            f"  {name:45} {statistics.median(found):6.2f} s ({min(found):.2f} to {max(found):.2f})"
        )


if __name__ == "__main__":
    main()
