"""The answer first, in JupyterLab: read, hover, click, keys, break-even."""

import re
from pathlib import Path

import pytest
from playwright.sync_api import expect

MADE = """
import workbench as wb
from workbench.planner import Options
from workbench.service_times import ServiceTimes
from workbench.widgets import DecisionView
times = ServiceTimes.affine(0.02, 0.004, largest=8)
trace = wb.poisson(rate=40, duration=60, seed=1)
options = Options(unseen_draws=2, finalists=4, max_sizes=[1, 4, 8])
today = (wb.RealTime(instance_type="ml.m5.large", count=2), wb.BatchPolicy())
taken = []
view = DecisionView(on_apply=taken.append)
view.offer(times, trace, wb.SLO(latency=0.3), options, today=today)
view"""
SENTENCE = ".wb .wb-sentence"
DONE = re.compile("Decided in|Taken over|Each rate")
PICTURES = Path(__file__).parents[2] / ".screenshots"


@pytest.fixture
def page(share_notebook):
    page = share_notebook(MADE)
    expect(page.locator(".wb-chart-view svg.marks")).to_be_visible()
    expect(page.locator(".wb-status")).to_have_text(DONE)  # the first look is drawn over
    expect(page.locator(".wb-chart-view[aria-busy=false] svg.marks")).to_be_visible()
    return page


def test_the_sentence_stands_over_the_picture_and_the_winner_is_ringed(page):
    for name, width, height in (("wide", 1440, 900), ("narrow", 900, 700)):
        page.set_viewport_size({"width": width, "height": height})
        page.locator(SENTENCE).scroll_into_view_if_needed()
        expect(page.locator(".wb-chart-view svg.marks")).to_be_visible()
        page.screenshot(path=PICTURES / f"decision-{name}.png")

    expect(page.locator(SENTENCE)).to_contain_text("a month")
    expect(page.locator("mjx-container")).to_have_count(0)  # dollars are no formula
    expect(page.locator(".wb-chart-view svg.marks")).to_contain_text(re.compile(r"winner\s*\$"))


def test_a_point_tells_its_figures_and_a_click_on_it_takes_it_over(page):
    point = page.locator(".wb-chart-view .mark-symbol.role-mark path").first
    point.hover(force=True)
    expect(page.locator("#vg-tooltip-element.visible")).to_contain_text("a month")

    point.click(force=True)

    expect(page.locator(".wb-status")).to_contain_text("Taken over into the form")


def test_keys_alone_take_the_winner(page):
    page.locator(".wb button", has_text="Use the winner").focus()
    page.keyboard.press("Enter")

    expect(page.locator(".wb-status")).to_contain_text("Taken over into the form")
    winner = page.locator(SENTENCE).inner_text().split(" (")[0].removeprefix("Take ")
    expect(page.locator(".wb-status")).to_contain_text(winner)


def test_the_second_view_is_break_even_by_traffic(page):
    page.locator(".wb button", has_text="Break-even by traffic").click()

    expect(page.locator(".wb-chart-view svg.marks")).to_contain_text("Requests a second")
    expect(page.locator(".wb-status")).to_contain_text("Each rate is planned for")
    page.set_viewport_size({"width": 1440, "height": 900})
    page.screenshot(path=PICTURES / "decision-break-even.png")
    page.locator(".wb button", has_text="Cost and latency").click()
    expect(page.locator(".wb-chart-view svg.marks")).to_contain_text(re.compile(r"winner\s*\$"))
