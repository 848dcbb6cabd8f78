"""From a trace to `simulate`, `plan` and `plots` nothing is needed that a browser does not have.

Not there: modules that Pyodide 0.28 leaves out of the standard library (its page on compatibility,
read on 2026-11-29), sockets, processes and threads. Left away as well: libraries for models and
clouds, which are not built for WebAssembly or not wanted there.
"""

import os
import subprocess
import sys

import pytest

LIBRARIES = "boto3 botocore onnx onnxruntime pooch requests skl2onnx sklearn"
REMOVED = "_multiprocessing curses dbm fcntl grp pwd resource ssl syslog termios"
PREPARE = f"""
import sys

absent = set("{LIBRARIES} {REMOVED}".split())

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in absent:
            raise ModuleNotFoundError(f"{{name}} is not in a browser", name=name)

def refuse(event, arguments):
    if event.startswith(("socket.", "subprocess.", "os.exec", "os.fork", "os.posix_", "os.system")):
        raise AssertionError(f"{{event}} {{arguments}}")

def start(*_, **__):
    raise RuntimeError("can't start new thread")

for name in absent & set(sys.modules):
    del sys.modules[name]
sys.meta_path.insert(0, Absent())
import altair, numba, numpy, polars  # what they do at their import is their matter
import threading, _thread

sys.addaudithook(refuse)
threading._start_new_thread = _thread.start_new_thread = start
sys.platform = "emscripten"
import workbench as wb
from workbench import plots
trace = wb.bursty(rate=40, burst=4, duration=60, seed=1)
slo, times = wb.SLO(latency=0.1), wb.ServiceTimes.affine(0.004, 0.001, largest=8)
on = wb.Lambda(memory_mb=1769, max_concurrency=50)
policy = wb.BatchPolicy(max_size=4, max_wait=0.01)
"""
PATH = """
run = wb.simulate(trace, policy, on, times, slo=slo, cold_start=0.2)
print(run.verdict, wb.cost(run).label)
plan = wb.plan(times, trace, slo)
print(plan.best.reason)
figures = plots.plot_latency_ecdf([run]), plots.plot_plan(plan), plots.plot_arrival_rates(trace)
print(sum(len(each.chart.to_json()) for each in figures))
"""
REFUSED = """
import os, socket
for tried in (
    lambda: __import__("onnxruntime"),
    lambda: __import__("fcntl"),
    lambda: socket.socket(),
    lambda: os.fork(),
    lambda: threading.Thread(target=print).start(),
):
    try:
        tried()
    except Exception as error:
        print(type(error).__name__)
"""


@pytest.fixture(scope="module", name="printed")
def _printed(tmp_path_factory):
    """What a Python prints that lacks what a browser lacks."""
    folder = tmp_path_factory.mktemp("browser")
    done = subprocess.run(
        [sys.executable, "-c", PREPARE + PATH + REFUSED],
        cwd=folder,
        env=os.environ | {"WORKBENCH_HOME": str(folder)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_a_trace_is_simulated_planned_for_and_drawn_without_models_sockets_processes_and_threads(
    printed,
):
    verdict, reason, size = printed[:3]

    assert verdict.startswith("met ")
    assert reason.startswith("meets the target at the least cost")
    assert int(size) > 10_000


def test_what_the_path_may_not_use_is_refused_here(printed):
    missing, refused = "ModuleNotFoundError", "AssertionError"

    assert printed[3:] == [missing, missing, refused, refused, "RuntimeError"]
