"""Cold processes beside those of an earlier build, in turn: CPU seconds and memory.

The earlier build is taken from git: commit `BEFORE`, or the one that $WORKBENCH_BEFORE names.
"""

import io
import os
import statistics
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[2]
BEFORE = os.environ.get("WORKBENCH_BEFORE", "754c0f6")  # tagged before-house
RUNS = 9
SIMULATE = """
import workbench as wb
trace = wb.poisson(rate=200, duration={seconds}, seed=1)
times = wb.ServiceTimes.affine(0.006, 0.004, largest=8)
deployment = wb.Serverless(memory_mb=2048, max_concurrency=20)
wb.simulate(trace, wb.BatchPolicy(max_size=8, max_wait=0.02), deployment, times, seed=1)
"""
SCRIPTS = {
    "import workbench; wb.Experiment": "import workbench as wb; wb.Experiment",
    "simulate 1,000 requests": SIMULATE.format(seconds=5),
    "simulate 200,000 requests": SIMULATE.format(seconds=1000),
}


def measure(script, folder):
    """Return CPU seconds and the most memory (MB) of a fresh Python with a folder's package."""
    environment = {**os.environ, "PYTHONPATH": str(folder)}
    process = subprocess.Popen([sys.executable, "-c", script], env=environment, cwd=folder)
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{folder}: exit status {process.returncode}")
    return used.ru_utime + used.ru_stime, used.ru_maxrss / 1024


def main():
    """Print what each script takes in both builds, and the ratios of pairs run in turn."""
    archive = subprocess.run(
        ["git", "archive", BEFORE, "workbench"], cwd=ROOT, capture_output=True, check=False
    )
    if archive.returncode:
        print(f"There is no commit {BEFORE} in this checkout: nothing to compare with.")
        return
    with tempfile.TemporaryDirectory() as folder:
        with tarfile.open(fileobj=io.BytesIO(archive.stdout)) as tar:
            tar.extractall(folder, filter="data")
        for name, script in SCRIPTS.items():
            for each in (folder, ROOT):  # the first run compiles, and reads the disk
                measure(script, each)
            pairs = [(measure(script, folder), measure(script, ROOT)) for _ in range(RUNS)]
            for index, unit in enumerate(("s of CPU", "MB")):
                before, now = (
                    statistics.median(p[build][index] for p in pairs) for build in (0, 1)
                )
                ratios = sorted(p[1][index] / p[0][index] for p in pairs)
                print(
                    f"{name}: {before:.3g} -> {now:.3g} {unit}, ratio "
                    f"{statistics.median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})"
                )
