"""The app as a page through a real Voila, and a report's file, both without internet."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import psutil
import pytest
from playwright.sync_api import expect

from tests.browser import PATIENCE
from workbench.run import Run

SCRIPT = Path(sys.executable).with_name("workbench")
DRAWN = "all => all.every(img => img.complete && img.naturalWidth > 300)"


@pytest.fixture(scope="module")
def environment(jupyter_env, workbench_home):
    return os.environ | jupyter_env | {"WORKBENCH_HOME": str(workbench_home)}


@pytest.fixture(scope="module")
def classroom(chromium, environment, registry, tmp_path_factory):
    """The address of a served app, token included; neither server nor kernels outlive it."""
    folder = tmp_path_factory.mktemp("classroom")
    words = ["app", "--preset", "cold-starts", "--port", "0", "--json"]
    with (folder / "log").open("w") as log:
        server = subprocess.Popen(
            [SCRIPT, *words, "--registry", str(registry.path)],
            cwd=folder,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )
    told = "".join(iter(server.stdout.readline, "}\n")) + "}"
    yield json.loads(told)["url"]
    kernels = psutil.Process(server.pid).children(recursive=True)
    server.terminate()
    assert server.wait(PATIENCE) == 0
    server.stdout.close()
    assert kernels
    assert psutil.wait_procs(kernels, timeout=PATIENCE)[1] == []


def test_a_visitor_simulates_the_preset(classroom, page):
    assert re.match(r"http://127\.0\.0\.1:\d+/\?token=\w{20,}$", classroom)
    page.goto(classroom)

    simulate = page.locator(".wb button", has_text=re.compile("^Simulate$"))
    expect(simulate).to_be_enabled()
    expect(page.locator(".wb").first).to_contain_text("who pays for an idle instance")
    expect(page.get_by_label("Cold start (s)", exact=True)).to_have_value("2")
    expect(page.locator(".wb button", has_text=re.compile("^Run$"))).to_be_disabled()
    page.get_by_label("Model", exact=True).select_option("digits-mlp-small")
    simulate.click()

    status = page.locator(".wb-panel .wb-status")
    expect(status).to_have_text(re.compile(r"^Simulated: [\d,]+ requests, p95 2"))
    charts = page.locator("img.wb-chart")
    expect(charts).to_have_count(4)
    assert charts.evaluate_all(DRAWN)
    assert page.title() == "Inference Workbench"


def test_who_has_no_token_sees_no_app(classroom, page):
    page.goto(classroom.partition("?")[0])

    expect(page.get_by_text("Token", exact=False).first).to_be_visible()
    assert page.locator(".wb").count() == 0
    assert "/login" in page.url


def test_a_report_shows_its_charts_with_the_network_cut_off(page, environment, tmp_path):
    scheduled = 0.01 * np.arange(1000)
    late = np.random.default_rng(1).gamma(4, 0.005, 1000)
    run = Run.from_arrays(scheduled=scheduled, finished=scheduled + late)
    words = ["report", str(run.save(tmp_path / "run")), "--notebook", "r.ipynb", "--title", "Mine"]
    subprocess.run([SCRIPT, *words], cwd=tmp_path, env=environment, check=True)

    page.context.set_offline(True)
    page.goto((tmp_path / "report.html").as_uri())

    expect(page.get_by_role("heading", name="Mine")).to_be_visible()
    charts = page.get_by_role("main").get_by_role("img")
    assert charts.count() >= 3
    assert charts.evaluate_all(DRAWN)
    assert page.get_by_text("wb.load_run").count() == 0
