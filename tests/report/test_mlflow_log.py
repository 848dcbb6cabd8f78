"""A run in a real MLflow: written to its server, and read in its own page by a browser."""

import os
import signal
import subprocess
import sys
import time
import urllib.request

import numpy as np
import pytest
from playwright.sync_api import expect

from tests.children import free_port
from tests.refused import refused
from workbench.deployment import Lambda
from workbench.errors import NotAvailable
from workbench.report.mlflow_log import find_metrics, find_parameters, find_tags
from workbench.run import Run, load_run
from workbench.run.costs import cost

WRITE = """
import sys
import time
from workbench.run import load_run
print("id", load_run(sys.argv[1]).to_mlflow(experiment="workbench"))
"""
QUIET = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
    "GIT_PYTHON_REFRESH": "quiet",
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",  # eight processes that have nothing to do here
}


@pytest.fixture(scope="module")
def run():
    facts = {
        "label": "net, lambda 1024 MB",
        "slo": {"latency": 0.1, "quantile": 0.95},
        "policy": {"kind": "batch", "max_size": 8},
        "trace": {"name": "poisson", "duration": 1000.0, "notice": "x" * 1000},
    }
    due = np.arange(1000.0)
    made = Run.from_arrays(scheduled=due, finished=due + 0.05, origin="simulated", facts=facts)
    return made.amend(deployment=Lambda(1024, max_concurrency=3))


def test_parameters_are_flat_and_what_is_too_long_is_left_out(run):
    found = find_parameters(run)

    assert found["deployment.memory_mb"] == "1024"
    assert found["policy.max_size"] == "8"
    assert found["slo.latency"] == "0.1"
    assert "trace.notice" not in found


def test_metrics_are_the_figures_that_are_known(run):
    found = find_metrics(run)
    unanswered = Run.from_arrays(scheduled=[0.0], finished=[float("nan")])

    assert found["p95"] == run.p95
    assert found["cost_per_month"] == cost(run).per_month
    assert "accuracy" not in found
    assert "p95" not in find_metrics(unanswered)


def test_tags_say_whether_to_trust_it(run):
    assert find_tags(run)["verdict"] == "met"
    assert find_tags(run.amend(valid=False))["valid"] == "False"


def test_without_mlflow_it_says_what_to_install(run, monkeypatch):
    monkeypatch.setitem(sys.modules, "mlflow", None)

    with refused(NotAvailable, "to_mlflow", "inference-workbench[mlflow]"):
        run.to_mlflow()


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """The address of an MLflow server, which keeps everything in a folder of its own."""
    folder = tmp_path_factory.mktemp("mlflow")
    port = free_port()
    store = ["--backend-store-uri", f"sqlite:///{folder}/db", "--artifacts-destination", folder]
    command = [sys.executable, "-m", "mlflow", "server", "--workers", "1", *store]
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(
            [*command, "--host", "127.0.0.1", "--port", str(port)],
            stdout=log,
            stderr=log,
            env=os.environ | QUIET,
            start_new_session=True,
        )
    address = f"http://127.0.0.1:{port}"
    try:
        await_answer(f"{address}/health", process, folder / "log")
        yield address
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(60)


def await_answer(url, process, log):
    """Wait until a server that is starting answers."""
    while process.poll() is None:  # pytest's time limit is the other end
        try:
            with urllib.request.urlopen(url, timeout=60):
                return
        except OSError:
            time.sleep(0.1)
    pytest.fail(f"MLflow did not start:\n{log.read_text()}")


@pytest.mark.browser
def test_a_run_is_in_mlflow_with_parameters_metrics_and_artefacts(run, server, page, tmp_path):
    saved = run.save(tmp_path / "run")
    done = subprocess.run(
        [sys.executable, "-c", WRITE, saved],
        env=os.environ | QUIET | {"MLFLOW_TRACKING_URI": server},
        check=True,
        capture_output=True,
        text=True,
    )
    (number,) = [line.split()[1] for line in done.stdout.splitlines() if line.startswith("id ")]
    page.goto(f"{server}/#/experiments/1/runs/{number}")

    shown = page.locator("body")
    expect(page.get_by_role("heading", name=run.label)).to_be_visible()
    expect(shown).to_contain_text("cost_per_month")
    expect(shown).to_contain_text(f"{run.label}: 1,000 requests, simulated.")
    expect(shown).to_contain_text("deployment.memory_mb")
    page.get_by_role("tab", name="Artifacts").click()
    for artefact in ("report.html", "run"):
        expect(page.get_by_text(artefact, exact=True).first).to_be_visible()
    files = urllib.request.urlopen(f"{server}/get-artifact?run_uuid={number}&path=run/rows.parquet")
    with files:
        (tmp_path / "run" / "rows.parquet").write_bytes(files.read())
    assert load_run(tmp_path / "run").frame.equals(run.frame)
