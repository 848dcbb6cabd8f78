"""What-if in JupyterLab, as somebody sits in front of it: turn, type, read, in light and dark."""

import re
from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.browser import command

PICTURES = Path(__file__).parents[2] / ".screenshots"
CELLS = "() => window.jupyterapp.shell.currentWidget.content.widgets.length"
INK = "canvas => getComputedStyle(canvas).color"
DRAWN = "canvas => canvas.toDataURL()"
WRITE = """source => window.jupyterapp.shell.currentWidget.content.activeCell.model
    .sharedModel.setSource(source)"""
TURN_QUICKLY = """(slider, places) => {
  for (const place of places) {
    slider.value = place;
    slider.dispatchEvent(new Event("input", { bubbles: true }));
  }
}"""
MADE = """
import workbench as wb
import workbench.widgets
from workbench.service_times import ServiceTimes
experiment = wb.Experiment(
    wb.Registry({path!r})["digits-mlp-small"],
    wb.Local(workers=2, hourly_price=0.1),
    wb.poisson(rate=400, duration=20, seed=1),
    wb.BatchPolicy(max_size=4, max_wait=0.01),
    wb.SLO(latency=0.03),
)
whatif = wb.widgets.WhatIf(experiment, ServiceTimes.affine(0.004, 0.001, largest=16))
turns = []
whatif.observe(lambda change: turns.append(change["new"].policy.max_size), "value")
whatif"""


BEGIN = {"Batch size, typed": "4", "Max wait, ms": "10", "Load": "9"}


class Seen:
    """Sliders and curve on a page."""

    def __init__(self, page):
        self.page = page
        self.canvas = page.locator(".wb-whatif canvas")
        self.verdict = page.locator(".wb-verdict")
        self.refusal = page.locator(".wb-dial [role=alert]").filter(has_text=re.compile("."))

    def slider(self, label):
        return self.page.get_by_role("slider", name=label, exact=True)

    def run(self, source):
        """Run these lines in a new cell."""
        command(self.page, "notebook:insert-cell-below")
        self.page.evaluate(WRITE, source)
        command(self.page, "notebook:run-cell")

    def picture(self, name, theme):
        command(self.page, "apputils:change-theme", theme=theme)
        expect(self.page.locator("#jupyterlab-splash")).to_have_count(0)
        self.page.screenshot(path=PICTURES / f"whatif-{name}.png")


@pytest.fixture
def seen(share_notebook, registry):
    """Sliders of a notebook that the tests share, as they were at first."""
    seen = Seen(share_notebook(MADE.format(path=str(registry.path))))
    expect(seen.verdict).to_have_text(re.compile("Simulated: p95 .* ms"))
    for label, value in BEGIN.items():
        seen.page.get_by_label(label, exact=True).fill(value)
    expect(seen.slider("Batch size")).to_have_attribute("aria-valuetext", "4")
    expect(seen.verdict).to_have_text(re.compile("^Simulated: p95 .* met"))
    expect(seen.verdict).not_to_have_attribute("aria-busy", "true")
    return seen


def test_turning_a_slider_redraws_curve_cost_and_verdict(seen):
    words, drawn = seen.verdict.text_content(), seen.canvas.evaluate(DRAWN)
    assert "Target p95 ≤ 30 ms met: " in words

    seen.slider("Load").focus()
    seen.page.keyboard.press("End")

    expect(seen.verdict).to_have_text(re.compile("Simulated: .* missed: .* a million requests"))
    expect(seen.slider("Load")).to_have_attribute("aria-valuetext", "10 times")
    expect(seen.canvas).to_have_attribute("aria-label", re.compile("^Share of .* missed: "))
    assert seen.canvas.evaluate(DRAWN) != drawn

    seen.page.keyboard.press("PageDown")
    seen.slider("Load").fill("9")

    expect(seen.verdict).to_have_text(words)


def test_the_latest_place_wins_and_few_of_those_before_are_computed(seen):
    seen.run("turns.clear()")
    seen.slider("Batch size").evaluate(TURN_QUICKLY, [*range(16)] * 20)

    expect(seen.slider("Batch size")).to_have_attribute("aria-valuetext", "16")
    expect(seen.verdict).not_to_have_attribute("aria-busy", "true")
    seen.run("whatif.value.policy.max_size, len(turns) <= 32")  # of the 320 it was turned to
    expect(seen.page.locator(".jp-OutputArea-output", has_text="(16, True)")).to_be_visible()


def test_a_bad_value_is_refused_beside_its_control_and_the_curve_stays(seen):
    typed = seen.page.get_by_label("Batch size, typed", exact=True)
    words = seen.verdict.text_content()
    typed.fill("17")

    expect(seen.refusal).to_have_text("Batch size must be a whole number from 1 to 16, got 17.")
    expect(typed).to_have_attribute("aria-invalid", "true")
    below = typed.bounding_box()
    assert 0 < seen.refusal.bounding_box()["y"] - below["y"] < 2 * below["height"]
    expect(seen.verdict).to_have_text(f"As it was before: {words}")

    typed.fill("4")

    expect(seen.refusal).to_have_count(0)
    expect(seen.verdict).to_have_text(words)
    seen.page.get_by_label("Max wait, ms", exact=True).fill("-1")
    expect(seen.refusal).to_have_text(
        re.compile("^Max wait must .* of milliseconds, 0 or more, got -1")
    )


def test_it_is_used_by_keyboard_alone_and_no_key_deletes_the_cell(seen):
    cells = seen.page.evaluate(CELLS)
    seen.slider("Load").focus()
    seen.page.keyboard.press("Tab")
    seen.page.keyboard.press("Tab")

    expect(seen.slider("Batch size")).to_be_focused()
    seen.page.keyboard.press("ArrowRight")
    expect(seen.page.get_by_label("Batch size, typed", exact=True)).to_have_value("5")
    seen.page.keyboard.press("d")
    seen.page.keyboard.press("d")
    assert seen.page.evaluate(CELLS) == cells


def test_the_theme_changes_the_ink_of_the_chart(seen):
    light, drawn = seen.canvas.evaluate(INK), seen.canvas.evaluate(DRAWN)
    seen.picture("light", "JupyterLab Light")
    seen.picture("dark", "JupyterLab Dark")

    assert seen.canvas.evaluate(INK) != light
    seen.page.wait_for_function(
        "before => document.querySelector('.wb-whatif canvas').toDataURL() !== before", arg=drawn
    )


def test_the_app_shows_it_at_the_press_of_a_button(open_notebook, registry):
    show = f"wb.app(wb.Registry({str(registry.path)!r}))"
    seen = Seen(open_notebook("import workbench as wb", show))
    expect(seen.canvas).to_be_hidden()
    seen.page.get_by_label("Model", exact=True).select_option("digits-mlp-small")

    seen.page.locator(".wb button", has_text="What if").click()

    expect(seen.verdict).to_have_text(re.compile("^Simulated: p95 .* Target p95 ≤ 100 ms"))
    words = seen.verdict.text_content()
    seen.slider("Max wait").focus()
    seen.page.keyboard.press("End")
    expect(seen.slider("Max wait")).not_to_have_attribute("aria-valuetext", "25 ms")
    expect(seen.verdict).not_to_have_text(words)
    assert seen.canvas.bounding_box()["width"] > 300
