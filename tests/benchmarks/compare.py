"""Two checkouts of the workbench side by side: the CPU time of the same work, in turns.

    .venv/bin/python tests/benchmarks/compare.py ../before [case ...]

Each checkout has its own `.venv`, and a new process PROCESSES times; the cases use public names
alone, so that both have them. Printed are the medians of ROUNDS turns in each process, and the
ratio with its quartiles, of user CPU time of a process and its children: other work on a machine
lengthens elapsed time, and the system's time is mostly that of page faults, which differ from
process to process: the same million requests took 20 of them in one and 6,900 in the others, and
from 14 to 19 ms of user time. One process a side, a turn of 17 ms, and a checkout seems to be
slower than itself by half.
"""

import statistics
import subprocess
import sys
from pathlib import Path

ROUNDS = 3
PROCESSES = 5
SETUP = """
import subprocess, sys, tempfile, warnings
import numpy as np
import workbench as wb
from workbench.queueing import mg1
warnings.simplefilter("ignore")
times = wb.ServiceTimes.affine(0.02, 0.002, largest=8)
policy = wb.BatchPolicy(max_size=8, max_wait=0.01)
trace = wb.poisson(rate=1000, duration=1000, seed=1)
short = wb.poisson(rate=100, duration=100, seed=1)
small = wb.ServiceTimes.affine(0.002, 0.0002, largest=8)
serverless = wb.Serverless(memory_mb=2048, max_concurrency=200)
def cold(code):
    subprocess.run([sys.executable, "-c", code], check=True)
"""
CASES = {
    "import": "cold('import workbench as wb; wb.Experiment')",
    "cold simulation": "cold('import workbench as wb; wb.simulate("
    "wb.poisson(rate=100, duration=9, seed=1), wb.BatchPolicy(), wb.Local(),"
    " wb.ServiceTimes({1: 0.005}))')",
    "trace": "wb.bursty(rate=1000, duration=1000, burst=4, dwell=(3.0, 1.0), seed=1)",
    "simulation, timer": "for _ in range(10):"
    " wb.simulate(trace, policy, serverless, times, cold_start=0.5)",
    "simulation, work-conserving": "for _ in range(10): wb.simulate(trace,"
    " wb.WorkConserving(max_size=8), wb.Local(workers=8), times)",
    "summary": "for _ in range(20): wb.simulate(short, policy, serverless, times).summary()",
    "prediction": "for _ in range(50): mg1(rate=100, service=small).quantile(0.99)",
    "plan of 10,000 requests": "wb.plan(small, short, wb.SLO(latency=0.1),"
    " options=wb.Options(kinds=['lambda'], cold_start=0.5, finalists=4))",
    "cost": "for _ in range(20): wb.cost(wb.simulate(short, policy, serverless, times))",
}
CHILD = """
import resource, sys
exec(sys.argv[1])
def cpu():
    whose = resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN
    return sum(resource.getrusage(each).ru_utime for each in whose)
for line in sys.stdin:
    began = cpu()
    try:
        exec(line)
        print(cpu() - began, flush=True)
    except Exception as error:
        print(f"{type(error).__name__}: {error}".replace("\\n", " "), flush=True)
"""


class Checkout:
    """A checkout's own interpreter, which does what it is given and tells its CPU seconds."""

    def __init__(self, folder):
        command = [folder / ".venv/bin/python", "-c", CHILD, SETUP]
        self._process = subprocess.Popen(
            command, cwd=folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._process.communicate()  # which ends its input, and with it the process

    def run(self, code):
        self._process.stdin.write(code + "\n")
        self._process.stdin.flush()
        return self._process.stdout.readline().strip()


def compare(folders, code):
    """Return what is to be printed of a case."""
    turns = []
    for _ in range(PROCESSES):
        with Checkout(folders[0]) as before, Checkout(folders[1]) as now:
            for turn in range(ROUNDS + 1):
                printed = [each.run(code) for each in (before, now)]
                try:
                    seconds = [float(each) for each in printed]
                except ValueError:
                    return f"not compared: {' / '.join(printed)}"
                if turn:  # the first is warm-up
                    turns.append(seconds)
    first, second = (statistics.median(side) for side in zip(*turns, strict=True))
    low, middle, high = statistics.quantiles(b / a for a, b in turns)
    ratios = f"{middle:.2f} ({low:.2f} to {high:.2f})"
    return f"{1000 * first:9.1f} ms before, {1000 * second:9.1f} ms now: {ratios}"


def main(other, *chosen):
    folders = Path(other).resolve(), Path(__file__).parents[2]
    for name in chosen or CASES:
        print(f"{name:>28} {compare(folders, CASES[name])}", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
