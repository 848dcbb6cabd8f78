"""What outlives a page: the app of a cell, the rows of a run; and what a registry may lack."""

import signal
import sqlite3
import subprocess
import sys
import threading
from contextlib import closing, contextmanager
from types import SimpleNamespace

import pytest

import workbench as wb
from tests.refused import refused
from workbench.errors import StorageError
from workbench.registry.api import Registry
from workbench.run import Run, load_run
from workbench.service_times import ServiceTimes
from workbench.widgets import PlanView, RunPanel, app
from workbench.widgets.notebook import await_finish
from workbench.widgets.pickers import ModelPicker

PATIENCE = 120

KILLED = """
import os, signal, sys
import workbench as wb

experiment = wb.Experiment(
    wb.Registry()["digits-mlp-small"], wb.Local(), wb.constant(rate=200, duration=600)
)
kept = []

def end_once_kept(rows):
    if os.path.exists(os.path.join(sys.argv[1], "facts.json")):
        os.kill(os.getpid(), signal.SIGKILL)

experiment.run(keep=sys.argv[1], on_rows=end_once_kept)
"""


pytestmark = pytest.mark.usefixtures("at_home")


# ------------------------------------------------------------------------------- rows on disk


def test_rows_of_a_run_outlive_the_process_that_is_killed(tmp_path):
    folder = tmp_path / "run"

    ended = subprocess.run([sys.executable, "-c", KILLED, folder], check=False)

    assert ended.returncode == -signal.SIGKILL
    run = load_run(folder)
    assert 0 < run.answered == len(run) < 120_000
    assert not run.complete
    assert run.origin == "measured: this machine"


def test_a_kept_run_is_the_run_and_tells_where(model, tmp_path):
    experiment = wb.Experiment(model, wb.Local(), wb.constant(rate=50, duration=1))

    run = experiment.run(keep=tmp_path / "run")

    assert run.record.kept == str(tmp_path / "run")
    assert load_run(tmp_path / "run").facts == run.facts
    with refused(StorageError, tmp_path / "run"):
        experiment.run(keep=tmp_path / "run")


def test_a_run_that_cannot_be_kept_is_a_run_with_a_warning(model, tmp_path):
    (tmp_path / "file").touch()
    experiment = wb.Experiment(model, wb.Local(), wb.constant(rate=50, duration=1))

    run = experiment.run(keep=tmp_path / "file" / "run")

    assert run.complete
    assert any(each.startswith("Not kept: ") for each in run.warnings)


# ------------------------------------------------------------------------------- cells and apps


@pytest.fixture
def run_cell(registry, monkeypatch):
    """A function that runs a cell of this name, as a kernel sees it, and returns its apps."""
    monkeypatch.setenv("WORKBENCH_FRONTEND", "widgets")
    monkeypatch.setattr("workbench.widgets.app_entry._apps", {})
    requests = iter(range(100))

    def run(name, count=1, of=registry):
        parent = {"header": {"msg_id": str(next(requests))}, "metadata": {"cellId": name}}
        kernel = SimpleNamespace(get_parent=lambda _: parent)
        shell = SimpleNamespace(get_ipython=lambda: SimpleNamespace(kernel=kernel))
        monkeypatch.setitem(sys.modules, "IPython", shell)
        return [app(of) for _ in range(count)]

    return run


def test_a_cell_that_is_run_again_has_its_app_and_another_cell_another(run_cell):
    first, second = run_cell("a", 2)
    (other,) = run_cell("b")

    assert len({first, second, other}) == 3
    assert run_cell("a", 2) == [first, second]
    assert run_cell("b") == [other]


def test_two_apps_do_not_disturb_each_other(run_cell):
    (one,), (two,) = run_cell("a"), run_cell("b")
    go_on = threading.Event()

    def work(_):
        go_on.wait(PATIENCE)
        return Run.from_arrays(scheduled=[0.0] * 200, finished=[0.004] * 200)

    one.panel.offer({"run": work})
    one.panel.start()
    two.policy["max_size"].value = 3
    two.panel.stop()

    assert (one.panel.running, two.panel.running) == (True, False)
    assert (one.policy.value.max_size, two.policy.value.max_size) == (8, 3)
    assert run_cell("a") == [one]
    go_on.set()
    one.panel.wait()
    assert one.panel.error == ""
    assert (len(one.runs), len(two.runs)) == (1, 0)


def codes(frame):
    """The code of a frame and of all that called it."""
    return [frame.f_code, *codes(frame.f_back)] if frame else []


def is_waiting(thread):
    """Whether a thread is well inside of its wait for work, where an interrupt stops that."""
    inside = set(codes(sys._current_frames()[thread]))
    return {await_finish.__code__, threading.Event.wait.__code__} <= inside


def interrupt(thread, stopped):
    """Interrupt a thread that waits, until that is heard: just before it blocks, it is not."""
    while not stopped.wait(0.1):
        if is_waiting(thread):
            signal.pthread_kill(thread, signal.SIGINT)


def test_an_interrupt_while_a_cell_waits_stops_the_run():
    panel = RunPanel()
    here = threading.get_ident()

    def work(live):
        interrupt(here, live.stopped)
        return Run.from_arrays(scheduled=[0.0] * 200, finished=[0.004] * 200)

    panel.offer({"run": work})
    panel.start()

    assert len(panel.wait()) == 200
    assert panel.status.text.startswith("Stopped: 200 requests")


def test_an_interrupt_while_a_cell_waits_stops_the_planning():
    here = threading.get_ident()

    def slow(_largest):
        if not view._live.stopped.is_set():
            interrupt(here, view._live.stopped)
        return ServiceTimes.affine(0.02, 0.004, largest=8)

    view = PlanView(slow, wb.poisson(rate=40, duration=60, seed=1), wb.SLO(latency=0.3))
    view.start()

    assert view.wait() is None
    assert view.status.text.startswith("Stopped")


# ------------------------------------------------------------------------------- the registry


@contextmanager
def locked(folder):
    """Another process writes to the registry in a folder meanwhile, as far as one can tell."""
    with closing(sqlite3.connect(folder / "registry.db", isolation_level=None)) as other:
        other.execute("PRAGMA locking_mode = EXCLUSIVE")
        other.execute("BEGIN EXCLUSIVE")
        yield


def test_a_locked_registry_is_said_and_read_again_once_it_is_free(registry, tmp_path):
    own = Registry(tmp_path, timeout=0)
    own.register("mine", registry["digits-logistic"].path, approval="Approved")
    with locked(tmp_path):
        picker = ModelPicker(own)

        assert picker.error.startswith("Another process is writing to the registry")
        assert picker.again.layout.display is None
    picker.again.click()

    assert picker.value.group == "mine"
    assert picker.error == ""
    assert picker.again.layout.display == "none"


def test_an_app_does_not_wait_as_long_for_a_locked_registry_as_code_does(registry, tmp_path):
    own = Registry(tmp_path, timeout=3600)
    own.register("mine", registry["digits-logistic"].path, approval="Approved")
    with locked(tmp_path):
        picker = ModelPicker(own.with_timeout(0.01))

        assert picker.error.startswith("Another process is writing to the registry")
    assert own.with_timeout(0)["mine"] == own["mine"]


def test_a_registry_that_is_not_there_is_said(tmp_path):
    picker = ModelPicker(Registry(tmp_path / "own"))

    assert str(tmp_path / "own") in picker.error
    assert picker.value is None


def test_a_registry_that_cannot_be_opened_is_said_and_opened_once_it_can(
    run_cell, fresh_home, registry
):
    (fresh_home / "registry").unlink()
    (fresh_home / "registry").write_text("in the way")
    (closed,) = run_cell("a", of=None)

    assert str(fresh_home / "registry") in closed.status.text
    assert run_cell("a", of=None) == [closed]
    assert closed.app is None

    (fresh_home / "registry").unlink()
    (fresh_home / "registry").symlink_to(registry.path)
    closed.again.click()

    assert closed.children == (closed.app,)
    assert closed.app.model.value.group == "digits-mlp-wide"
    assert run_cell("a", of=None) == [closed]
