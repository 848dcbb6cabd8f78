"""Runs that go on while pages come and go, in JupyterLab as somebody sits in front of it."""

import re

import pytest
from playwright.sync_api import expect

from tests.browser import KERNEL_IS_IDLE, cell_of, command
from tests.widgets.test_app_browser import Seen
from workbench.run import load_run

WORDS = "getComputedStyle(document.querySelector('.wb'), '::before').content"
HUNDREDS = "() => /^([3-9]\\d\\d|\\d[\\d,]{4,}) of/m.test(document.body.innerText)"
UNDER_WAY = re.compile(r"^[\d,]+ of [\d,]+ · .* per second")
KERNEL_IS_BUSY = (
    "() => window.jupyterapp.shell.currentWidget.sessionContext.session.kernel.status === 'busy'"
)
KEPT = re.compile(r"rows are kept in (\S+)\.$")


def app_in(page, cell=1):
    """The app that a cell shows."""
    app = Seen(cell_of(page, cell))
    app.progress = app.page.get_by_text(UNDER_WAY)
    return app


def start_long_run(app):
    expect(app.run).to_be_enabled()
    app.choose("Model", "digits-mlp-small")
    app.unfold()
    app.enter("Rate (1/s)", 100)
    app.enter("Duration (s)", 600)
    app.run.click()
    app.confirm.click()  # so long a run asks
    expect(app.progress).to_be_visible()


@pytest.fixture
def show(registry):
    """A cell that shows the app."""
    return f"wb.app(wb.Registry({str(registry.path)!r}))"


def test_a_run_survives_its_page_and_is_stopped_from_the_next(open_notebook, show):
    page = open_notebook("import workbench as wb", show)
    start_long_run(app_in(page))
    begun = app_in(page).progress.inner_text()

    page.reload()
    page.wait_for_function(KERNEL_IS_IDLE)
    command(page, "notebook:run-all-cells")
    app = app_in(page)

    expect(app.progress).to_be_visible()
    expect(app.progress).not_to_have_text(begun)
    expect(app.stop).to_be_enabled()
    app.stop.click()
    expect(app.status).to_have_text(
        re.compile(r"^Stopped: [\d,]+ requests, p95 .* Kept: wb\.load_run")
    )
    expect(app.p95).to_have_count(1)

    page.reload()
    page.wait_for_function(KERNEL_IS_IDLE)
    command(page, "notebook:run-all-cells")

    expect(app_in(page).p95).to_have_count(1)


def test_a_kernel_that_is_restarted_leaves_rows_that_the_new_app_shows(open_notebook, show):
    page = open_notebook("import workbench as wb", show)
    app = app_in(page)
    start_long_run(app)
    folder = KEPT.search(app.status.inner_text())[1]
    page.wait_for_function(HUNDREDS)

    page.evaluate("() => void window.jupyterapp.commands.execute('notebook:restart-kernel')")
    page.get_by_role("button", name="Confirm Kernel Restart").click()
    page.wait_for_function(
        f"() => ({WORDS}).includes('The kernel behind these controls has ended')"
    )
    page.wait_for_function(KERNEL_IS_IDLE)
    command(page, "notebook:run-all-cells")

    expect(app_in(page).status).to_have_text("Ready.")
    page.wait_for_function(f"() => ({WORDS}) === 'none'")
    expect(app_in(page).run).to_be_enabled()
    run = load_run(folder)
    assert len(run) > 0  # those of its first second at least
    assert not run.complete

    page.locator(".wb button", has_text=re.compile("^Runs$")).click()
    expect(page.locator(".wb select option:checked", has_text="not complete")).to_have_count(1)
    page.locator(".wb button", has_text=re.compile("^Show$")).click()

    expect(app_in(page).page.locator(".wb-table tbody tr")).to_have_count(1)


def test_two_apps_on_a_page_run_in_turn_and_keep_their_own_results(open_notebook, show):
    page = open_notebook("import workbench as wb", show, show)
    one, two = app_in(page), app_in(page, 2)
    expect(two.run).to_be_enabled()
    start_long_run(one)

    two.unfold()
    two.enter("Max size", 0)
    expect(two.run).to_be_disabled()
    two.enter("Max size", 4)
    two.choose("Model", "digits-mlp-small")
    two.enter("Duration (s)", 1)
    two.run.click()

    expect(two.status).to_contain_text("Waiting: 1 other run")
    expect(one.status).to_contain_text("Waiting behind it: 1.")
    one.stop.click()
    expect(one.status).to_have_text(re.compile("^Stopped"))
    expect(two.status).to_have_text(re.compile("^Finished"))
    expect(one.p95).to_have_count(1)
    expect(two.p95).to_have_count(1)


def test_a_press_does_not_overtake_what_was_typed_before_it(open_notebook, show):
    page = open_notebook("import workbench as wb", show, "import time; time.sleep(3)")
    app = app_in(page)
    expect(app.run).to_be_enabled()
    app.choose("Model", "digits-mlp-small")
    app.unfold()
    for size in (0, 4):  # which disables the button, and enables it
        app.enter("Max size", size)
        expect(app.run).to_be_enabled(enabled=size > 0)
    cell_of(page, 2).locator(".jp-InputArea-editor").click()
    page.keyboard.press("Control+Enter")
    page.wait_for_function(KERNEL_IS_BUSY)

    app.enter("Duration (s)", 600)
    app.run.click()

    expect(app.confirm).to_be_visible()  # so long a run asks
    app.stop.click()


def test_the_interrupt_button_stops_a_run_that_a_cell_waits_for(open_notebook, show):
    page = open_notebook("import workbench as wb", f"app = {show}\napp", "len(app.panel.wait())")
    expect(app_in(page).run).to_be_enabled()  # nothing runs: the last cell failed at once

    start_long_run(app_in(page))
    cell_of(page, 2).locator(".jp-InputArea-editor").click()
    page.keyboard.press("Control+Enter")
    expect(app_in(page).progress).to_be_visible()
    page.wait_for_function(KERNEL_IS_BUSY)
    command(page, "notebook:interrupt-kernel")

    expect(app_in(page).status).to_have_text(re.compile("^Stopped"))
    expect(cell_of(page, 2).locator(".jp-OutputArea-output")).to_have_text(re.compile(r"^\d+$"))
