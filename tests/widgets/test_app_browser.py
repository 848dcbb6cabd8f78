"""The app in JupyterLab, as somebody sits in front of it: choose, run, watch, stop, compare."""

import re
from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.browser import command

PICTURES = Path(__file__).parents[2] / ".screenshots"
CELLS = "() => window.jupyterapp.shell.currentWidget.content.widgets.length"
WIDE = """() => [...document.querySelectorAll('.wb-charts svg.marks')]
    .every(svg => svg.clientWidth > 300)"""
STICK_OUT = """() => [...document.querySelectorAll('.wb button, .wb input, .wb .wb-status')]
    .filter(each => !each.closest('.wb-scroll')) // which scrolls by itself
    .filter(each => each.getBoundingClientRect().right > innerWidth).length"""


class Seen:
    """The app on a page: its controls by their labels, its words, its charts."""

    def __init__(self, page):
        self.page = page
        self.run = page.locator(".wb button", has_text=re.compile("^Run$"))
        self.simulate = page.locator(".wb button", has_text=re.compile("^Simulate$"))
        self.confirm = page.locator(".wb button", has_text=re.compile("^Confirm$"))
        self.stop = page.locator(".wb button", has_text=re.compile("^Stop$"))
        self.status = page.locator(".wb-panel .wb-status")
        self.charts = page.locator(".wb-charts svg.marks")  # of results
        self.p95 = page.locator(".wb-table td[data-key=p95]")

    def unfold(self):
        """Show the controls of all folds, at one instant: a choice may hide some a moment later."""
        folds = self.page.locator(".wb-fold > button:visible")
        folds.evaluate_all("buttons => buttons.forEach(each => each.click())")

    def choose(self, label, option):
        self.page.get_by_label(label, exact=True).select_option(option)

    def enter(self, label, value):
        control = self.page.get_by_label(label, exact=True)
        control.fill(str(value))
        control.press("Tab")

    def picture(self, name, *, theme, width):
        self.page.set_viewport_size({"width": width, "height": 2600})
        command(self.page, "apputils:change-theme", theme=theme)
        expect(self.page.locator("#jupyterlab-splash")).to_have_count(0)
        self.page.screenshot(path=PICTURES / f"app-{name}.png")


@pytest.fixture
def seen(open_notebook, registry):
    show = f"wb.app(wb.Registry({str(registry.path)!r}))"
    seen = Seen(open_notebook("import workbench as wb", show))
    expect(seen.run).to_be_enabled()
    seen.choose("Model", "digits-mlp-small")
    seen.unfold()
    return seen


def test_runs_are_compared(seen):
    seen.enter("Rate (1/s)", 200)
    seen.enter("Duration (s)", 2)
    seen.enter("Price (USD/hour)", 0.1)
    seen.run.click()

    expect(seen.status).to_have_text(re.compile(r"^Finished: [\d,]+ requests, p95 .* % in time"))
    expect(seen.charts).to_have_count(4)
    assert seen.page.locator(".wb-sketch").is_visible()
    seen.page.wait_for_function(WIDE)
    expect(seen.p95).to_have_count(1)

    seen.enter("Max size", 1)
    seen.run.click()

    expect(seen.p95).to_have_text([re.compile("^[0-9.]+ m?s")] * 2)
    expect(seen.charts.first).to_contain_text("no batching")
    expect(seen.status).to_have_text(re.compile("^Finished"))
    seen.simulate.click()

    expect(seen.status).to_have_text(re.compile("^Simulated: .* in time"))
    expect(seen.p95).to_have_count(3)
    known_by = seen.page.locator(".wb-table td[data-key=origin]")
    expect(known_by).to_have_text(["measured: this machine"] * 2 + ["simulated"])
    seen.page.get_by_role("button", name="Known by").click()
    seen.page.get_by_role("button", name="Known by").click()
    expect(known_by).to_have_text(["simulated"] + ["measured: this machine"] * 2)
    seen.page.get_by_role("button", name="Pin", exact=False).first.click()
    expect(seen.page.locator(".wb-baseline td[data-key=origin]")).to_have_text("simulated")
    seen.picture("dark", theme="JupyterLab Dark", width=1280)
    seen.picture("light", theme="JupyterLab Light", width=1280)  # the theme is the user's, not the
    seen.picture("narrow", theme="JupyterLab Light", width=700)  # page's: the next one has it too
    seen.page.wait_for_function(f"({STICK_OUT})() === 0")  # once it is laid out again


def test_a_long_run_is_stopped_by_keyboard_and_what_it_measured_is_kept(seen):
    seen.enter("Duration (s)", 250)
    seen.run.press("Enter")

    expect(seen.page.get_by_text(re.compile(r"p95 [0-9.]+ m?s$"))).to_be_visible()
    expect(seen.stop).to_be_focused()
    seen.page.keyboard.press("Enter")

    expect(seen.status).to_have_text(re.compile(r"^Stopped: [\d,]+ requests, p95 .* Stopped early"))
    expect(seen.run).to_be_focused()
    expect(seen.p95).to_have_count(1)


def test_bad_values_are_refused_in_words_and_no_key_deletes_the_cell(seen):
    seen.enter("Max size", 0)

    refusal = seen.page.get_by_role("alert").filter(has_text="at least 1, got 0")
    expect(refusal).to_be_visible()
    below = seen.page.get_by_label("Max size", exact=True).bounding_box()
    assert 0 < refusal.bounding_box()["y"] - below["y"] < 2 * below["height"]
    expect(seen.status).to_have_text(re.compile("^Batching: .* at least 1, got 0"))
    expect(seen.run).to_be_disabled()

    seen.enter("Max size", 4)
    seen.choose("Where", "Serverless")

    expect(seen.page.get_by_label("Run on", exact=True)).to_have_text(re.compile("^Local.cloud"))
    expect(seen.run).to_be_enabled()
    seen.enter("Max concurrency", 201)
    expect(seen.page.get_by_role("alert").filter(has_text="from 1 to 200")).to_be_visible()
    expect(seen.simulate).to_be_disabled()
    seen.enter("Max concurrency", 200)

    seen.choose("Where", "Local")

    expect(seen.run).to_be_enabled()
    for control in (seen.page.get_by_label("Model", exact=True), seen.run):
        control.focus()
        seen.page.keyboard.type("dd")
    assert seen.page.evaluate(CELLS) == 2

    seen.page.locator(".jp-InputArea-editor").last.click()
    seen.page.keyboard.press("Escape")
    seen.page.keyboard.type("dd")

    seen.page.wait_for_function(f"({CELLS})() === 1")  # a cell's own keys work as ever
