#!/bin/sh
# guidellm 0.8.1: of 5,000 requests of a "poisson" load only 500 gaps differ, as each of the ten worker processes draws the same ones.
#
# Guessed: the gaps of "poisson" are exponential and independent, whatever the number of worker processes, since these share the
# instant of the last request; 5,000 requests have 4,999 different gaps.
# Seen: each process makes a generator of its own from the one seed, 42 unless another is given, so that the n-th gap of each is the
# same. As many short gaps follow each other as there are processes, ten by default, then as many long ones: the deviation of the
# time that 100 requests take is three times that of Poisson arrivals, and so are the waits of a server at 80 % of its capacity
# several times theirs. With one process (GUIDELLM__MAX_WORKER_PROCESSES=1) the gaps are independent.
# What it means here: one process draws all arrivals before the first is sent: `wb.poisson`, tests/traffic/test_patterns.py,
# site/howto/coming-from.md.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
# all that its arrivals need: the rest of it needs torch, transformers and datasets
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps guidellm==0.8.1
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check numpy==2.4.6 pydantic==2.14.4 pydantic-settings==2.16.3 \
    loguru==0.7.3 culsans==0.11.0 msgpack==1.2.4 pyyaml==6.0.4 more-itertools==11.2.1 httpx==0.28.1 click==8.5.1 rich==15.0.0 \
    tabulate==0.10.0 faker==40.63.0 sanic==25.12.1 protobuf==7.36.2 ftfy==6.3.1 2>"$folder/log" || { cat "$folder/log"; exit 1; }
cd "$folder"

cat > draw.py <<'PY'
import asyncio
import multiprocessing

import numpy as np
from guidellm.scheduler.strategies import AsyncPoissonStrategy

RATE, COUNT, SERVICE = 100.0, 5000, 0.008


async def draw(strategy, worker, times, barrier):
    """Ask for the instants of a worker's requests, in turns with the others, as workers do that wait for their own."""
    for number in range(COUNT // barrier.parties):
        barrier.wait()
        times[worker + number * barrier.parties] = await strategy.next_request_time(worker)


def work(*arguments):
    asyncio.run(draw(*arguments))


def arrivals(workers):
    """Return the instants of all requests, in order."""
    context = multiprocessing.get_context("fork")
    strategy = AsyncPoissonStrategy(rate=RATE)
    strategy.init_processes_timings(workers, 100, context)
    strategy.init_processes_start(0.0)
    times, barrier = context.Array("d", COUNT), context.Barrier(workers)
    processes = [context.Process(target=work, args=(strategy, worker, times, barrier)) for worker in range(workers)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    return np.sort(times[:])


def wait(times):
    """Return the mean wait for a server that takes SERVICE seconds a request."""
    waited, waits = 0.0, []
    for gap in np.diff(times):
        waited = max(0.0, waited + SERVICE - gap)
        waits.append(waited)
    return np.mean(waits)


found = {}
for workers in (1, 10):
    times = arrivals(workers)
    different = len(np.unique(np.round(np.diff(times), 9)))
    found[workers] = different, np.diff(times[::100]).std(), wait(times)
    print(f"{workers} workers: {different} different gaps, 100 requests take {100 / RATE:.0f} s +- {found[workers][1]:.2f}, "
          f"mean wait at 80 % of capacity {1000 * found[workers][2]:.0f} ms")
assert found[1][0] > 0.99 * COUNT and found[10][0] <= COUNT // 10 + 1
assert found[10][1] > 2 * found[1][1] and found[10][2] > 2 * found[1][2]
PY
"$folder/venv/bin/python" draw.py
echo "still so: the gaps of a Poisson load come ten at a time"
