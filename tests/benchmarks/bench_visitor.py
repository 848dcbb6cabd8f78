"""What a visitor of the app costs: a kernel's time to the first picture, its memory, the training.

The kernel is fresh; it makes the app and simulates what the form begins with. To the first picture
is the kernel's CPU time from `wb.app()` until the chart of a decision that is kept is sent; of a
checkout without decisions, until the charts of the first simulation are. Resident are all of its
pages after that simulation, private those that no other kernel shares. The training is that of all
ready-made models into an empty folder. With BENCH_BEFORE=../before another checkout is measured in
turn, VISITS times; the one before decisions is commit 19fc85a.
"""

import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from jupyter_client.manager import KernelManager

ROOT = Path(__file__).parents[2]
VISITS = int(os.environ.get("VISITS", "3"))
SHOWN = """import threading, time
began, shown = time.process_time(), threading.Event()
import workbench as wb
app = wb.app()
if hasattr(app, "decision"):
    app.decision.chart.observe(lambda _: shown.set(), "spec")
    app.decide()
    assert shown.wait(300)
else:
    app.panel.start("simulate")
    app.panel.wait(300)
print(time.process_time() - began)
getattr(app, "decision", app.panel).wait(300)"""
SIMULATED = "app.panel.start('simulate'); app.panel.wait(300); assert not app.panel.error"
TRAINED = "import workbench as wb; wb.Registry()"


def megabytes(pid):
    """Resident and private megabytes of a process."""
    pages = Path(f"/proc/{pid}/smaps_rollup").read_text()
    found = {
        name: int(kb) / 1024 for name, kb in re.findall(r"^(\w+): +(\d+) kB", pages, re.MULTILINE)
    }
    return found["Rss"], found["Private_Clean"] + found["Private_Dirty"]


def visit(checkout):
    """CPU seconds to a kernel's first picture, and its megabytes when it has simulated once."""
    manager = KernelManager()
    manager.kernel_spec.argv = [
        sys.executable,
        "-m",
        "ipykernel_launcher",
        "-f",
        "{connection_file}",
    ]
    manager.start_kernel(env=os.environ | {"PYTHONPATH": checkout})
    client = manager.client()
    client.start_channels()
    try:
        client.wait_for_ready(timeout=60)
        told = []
        for code in (SHOWN, SIMULATED):
            reply = client.execute_interactive(
                code,
                timeout=600,
                output_hook=lambda message: told.append(message["content"].get("text", "")),
            )
            assert reply["content"]["status"] == "ok", reply["content"]
        time.sleep(3)  # what was freed went back
        return float(next(filter(str.strip, reversed(told)))), *megabytes(manager.provisioner.pid)
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)


def train(checkout):
    """Seconds and CPU seconds of the first training."""
    with tempfile.TemporaryDirectory() as home:
        began, before = time.perf_counter(), os.times()
        environment = os.environ | {"WORKBENCH_HOME": home, "PYTHONPATH": checkout}
        command = [sys.executable, "-c", TRAINED]
        subprocess.run(command, env=environment, cwd=home, check=True, capture_output=True)
        after = os.times()
    used = sum(after[2:4]) - sum(before[2:4])
    return time.perf_counter() - began, used


def main():
    """Print both, of the build before beside them."""
    checkouts = [each for each in (os.environ.get("BENCH_BEFORE"), str(ROOT)) if each]
    found = {checkout: [] for checkout in checkouts}
    for turn in range(VISITS + 1):
        for checkout in checkouts:
            figures = visit(checkout)
            if turn:  # the first measures the profile and compiles, which are kept
                found[checkout].append(figures)
    medians = [np.median(found[checkout], axis=0) for checkout in checkouts]
    for checkout, (cpu, resident, private) in zip(checkouts, medians, strict=True):
        print(f"  {checkout}: first picture {cpu:.2f} s of CPU, ", end="")
        print(f"{resident:.0f} MB resident (goal: 222), {private:.0f} MB private")
    if len(checkouts) > 1:
        cpu, resident, private = medians[1] / medians[0]
        print(
            f"  ... as shares (goals: 0.2, 0.5): {cpu:.2f}, {resident:.2f}, {private:.2f} private"
        )
    for checkout in checkouts:
        seconds, used = train(checkout)
        print(f"  {checkout}: first training {seconds:.1f} s (goal: 25), {used:.1f} s of CPU")


if __name__ == "__main__":
    main()
