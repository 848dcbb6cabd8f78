"""What a visitor of the app costs: memory of a kernel after one simulation, and the first training.

The kernel is fresh; it makes the app and simulates what the form begins with. Resident are all of
its pages, private those that no other kernel shares. The training is that of all ready-made models
into an empty folder. With BENCH_BEFORE=../before another checkout is measured beside.
"""

import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from jupyter_client.manager import KernelManager

ROOT = Path(__file__).parents[2]
SHOWN = "import workbench as wb\napp = wb.app()\napp"
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
    """Megabytes of a kernel that has simulated once."""
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
        for code in (SHOWN, SIMULATED):
            reply = client.execute_interactive(code, timeout=600, output_hook=lambda _: None)
            assert reply["content"]["status"] == "ok", reply["content"]
        time.sleep(3)  # the decision is there, and what was freed went back
        return megabytes(manager.provisioner.pid)
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
    for checkout in checkouts:
        visit(checkout)  # profiles, and compiled loops, are kept
        resident, private = visit(checkout)
        print(f"  {checkout}: {resident:.0f} MB resident (goal: 222), {private:.0f} MB private")
    for checkout in checkouts:
        seconds, used = train(checkout)
        print(f"  {checkout}: first training {seconds:.1f} s (goal: 25), {used:.1f} s of CPU")
