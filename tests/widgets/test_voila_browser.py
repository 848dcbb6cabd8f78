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
from tests.children import start_python
from tests.widgets.test_app_accessibility import GROUND, PICTURES, WIDER, press_tab, serious
from tests.widgets.test_app_browser import Seen
from tests.widgets.test_live_browser import HUNDREDS, KEPT
from workbench.run import Run, load_run

SCRIPT = Path(sys.executable).with_name("workbench")
DRAWN = "all => all.every(svg => svg.width.baseVal.value > 300)"


@pytest.fixture(scope="module")
def environment(jupyter_env, workbench_home):
    return os.environ | jupyter_env | {"WORKBENCH_HOME": str(workbench_home)}


@pytest.fixture(scope="module")
def server(environment, registry, tmp_path_factory):
    """The command that serves the app, running."""
    folder = tmp_path_factory.mktemp("classroom")
    words = ["app", "--preset", "cold-starts", "--port", "0", "--json"]
    with (
        (folder / "log").open("w") as log,
        start_python(
            SCRIPT,
            *words,
            *("--registry", str(registry.path)),
            cwd=folder,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        ) as server,
    ):
        server.log = folder / "log"
        yield server


@pytest.fixture(scope="module")
def classroom(chromium, server):
    """The address of a served app, token included; neither server nor kernels outlive it."""
    told = "".join(iter(server.stdout.readline, "}\n")) + "}"
    yield json.loads(told)["url"]
    kernels = processes_of(server)
    server.terminate()
    assert server.wait(PATIENCE) == 0
    assert kernels
    assert psutil.wait_procs(kernels, timeout=PATIENCE)[1] == []


def processes_of(server):
    return psutil.Process(server.pid).children(recursive=True)


def test_a_visitor_simulates_the_preset_by_keyboard_alone(classroom, page):
    assert re.match(r"http://127\.0\.0\.1:\d+/\?token=\w{20,}$", classroom)
    page.goto(classroom)

    app = Seen(page)
    expect(app.simulate).to_be_enabled()
    expect(page.locator(".wb").first).to_contain_text("who pays for an idle instance")
    expect(page.get_by_text("A new instance takes 2 s to start.")).to_be_visible()
    press_tab(page, "Model")
    page.keyboard.type("digits-mlp-s")
    press_tab(page, "Simulate")
    page.keyboard.press("Enter")

    expect(app.status).to_have_text(re.compile(r"^Simulated: [\d,]+ requests, p95 2"))
    expect(page.get_by_label("Model", exact=True).locator("option:checked")).to_have_text(
        "digits-mlp-small"
    )
    expect(app.charts).to_have_count(4)
    assert app.charts.evaluate_all(DRAWN)
    assert page.title() == "Inference Workbench"


def test_nothing_of_a_visit_warns_on_the_teachers_terminal(classroom, server, page):
    page.goto(classroom)
    expect(Seen(page).simulate).to_be_enabled()

    assert "WARNING" not in server.log.read_text()


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_page_can_be_read_by_everybody_in_either_theme_and_a_narrow_window(
    theme, classroom, page
):
    page.goto(f"{classroom}&theme={theme}")
    app = Seen(page)
    expect(app.simulate).to_be_enabled()
    expect(page.locator("body")).to_have_attribute(
        "data-jp-theme-light", "true" if theme == "light" else "false"
    )
    app.choose("Model", "digits-mlp-small")
    app.simulate.click()
    expect(app.charts).to_have_count(4)

    assert serious(page) == "[]"
    assert page.locator(".wb-table thead th").first.evaluate(GROUND)
    page.set_viewport_size({"width": 500, "height": 2600})
    page.wait_for_function(f"({WIDER})().length === 0")  # once it is laid out again
    page.screenshot(path=PICTURES / f"classroom-{theme}.png")


def test_a_closed_tab_ends_its_kernel_and_the_finished_rows_are_on_disk(classroom, server, page):
    before = processes_of(server)
    page.goto(classroom)
    app = Seen(page)
    expect(app.simulate).to_be_enabled()
    app.choose("Model", "digits-mlp-small")
    app.choose("Where", "Local")
    app.unfold()
    app.enter("Duration (s)", 600)  # first: ten days of the other rate would be refused
    app.enter("Rate (1/s)", 100)
    app.run.click()
    app.confirm.click()
    expect(app.status).to_have_text(KEPT)
    folder = KEPT.search(app.status.inner_text())[1]
    page.wait_for_function(HUNDREDS)
    kernel = [each for each in processes_of(server) if each not in before]

    page.close(run_before_unload=True)

    assert psutil.wait_procs(kernel, timeout=PATIENCE)[1] == []
    run = load_run(folder)
    assert 10 <= len(run) < 60_000
    assert run.answered == len(run)
    assert not run.complete


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
    charts = page.locator("main figure svg")
    expect(charts.first).to_be_visible()
    assert charts.count() >= 3
    assert charts.evaluate_all(DRAWN)
    assert not page.get_by_text("wb.load_run").first.is_visible()  # the code is folded away
