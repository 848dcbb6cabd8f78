"""Figures in the app, drawn by JupyterLab's own Vega: as the next cell shows them."""

import pytest
from playwright.sync_api import expect

from tests.browser import cell_of, command
from tests.widgets.test_whatif_browser import Seen

MADE = """
import workbench as wb
from workbench import plots
from workbench.planner import Options
from workbench.service_times import ServiceTimes
from workbench.widgets.chart_view import ChartView, chart_grid
times = ServiceTimes.affine(0.02, 0.004, largest=8)
trace = wb.poisson(rate=40, duration=60, seed=1)
options = Options(unseen_draws=0, finalists=4, max_sizes=[1, 4, 8])
today = wb.RealTime(instance_type="ml.m5.large")
decision = wb.decide(times, trace, wb.SLO(latency=0.3), options, today=today)
run = wb.simulate(trace, wb.BatchPolicy(), wb.Local(), times, slo=wb.SLO(latency=0.3))
draw = plots.plot_latency_ecdf, plots.plot_latency_over_time
figures = [plots.plot_decision(decision), *(each(run) for each in draw)]
picked = []
views = [ChartView(each, on_pick=picked.append) for each in figures]
views.append(ChartView())
box = chart_grid(views)
box"""

LONG_NAMES = """
import numpy as np
import workbench as wb
from workbench import plots
from workbench.widgets.chart_view import ChartView, chart_grid
at = np.arange(400) / 100
run = wb.Run.from_arrays(scheduled=at, finished=at + 0.004)
run = run.amend(deployment=wb.Local(hourly_price=1))
words = "today's choice of our team for the shop, after the second review of October, real-time"
figures = [plots.plot_batch_sizes({words: run}), plots.plot_cost_by_item({words: wb.cost(run)})]
chart_grid([ChartView(each) for each in figures])"""
FIT = """() => [...document.querySelectorAll(".wb-chart-view")].every(
  each => each.querySelector("svg.marks") && each.scrollWidth <= each.clientWidth)"""
PANEL = "svg => svg.querySelector('.mark-group.role-scope .background').getBBox().width"
LABEL = "document.querySelector('.wb-chart-view svg.marks .mark-text text')"
FILL = "label => getComputedStyle(label).fill"
COLOURS = """svg => [...new Set([...svg.querySelectorAll("[stroke], [fill]")].flatMap(
  mark => [mark.getAttribute("stroke"), mark.getAttribute("fill")]))].sort()"""
SIDE_BY_SIDE = """() => {
  const [first, second] = [...document.querySelectorAll(".wb-chart-view")]
    .map(each => each.getBoundingClientRect());
  return second.left > first.right - 1 && second.top === first.top;
}"""


def run_cell(page, number):
    page.evaluate(
        "at => { window.jupyterapp.shell.currentWidget.content.activeCellIndex = at; }", number
    )
    command(page, "notebook:run-cell")


@pytest.fixture
def page(share_notebook):
    page = share_notebook(MADE, "figures[1]", "print(picked)")
    expect(page.locator(".wb-chart-view svg.marks").first).to_be_visible()
    return page


def test_figures_stand_two_by_two_where_there_is_room_and_else_one_below(page):
    charts = page.locator(".wb-chart-view")

    page.set_viewport_size({"width": 1440, "height": 900})
    page.wait_for_function(SIDE_BY_SIDE)
    page.set_viewport_size({"width": 900, "height": 700})
    page.wait_for_function(f"() => !({SIDE_BY_SIDE})()")

    expect(charts.locator("svg.marks")).to_have_count(3)


def test_a_figure_looks_as_in_the_next_cell(page):
    own = page.locator(".wb-chart-view").nth(1)
    beside = cell_of(page, 1).locator(".jp-RenderedVegaCommon5")

    colours = [each.locator("svg.marks").evaluate(COLOURS) for each in (own, beside)]
    marks = [each.locator("svg.marks path").count() for each in (own, beside)]

    assert colours[0] == colours[1]
    assert abs(marks[0] - marks[1]) < 0.2 * marks[1]  # ticks fit the width
    expect(own.locator("details summary")).to_have_count(1)  # the menu


def test_a_click_on_a_point_gives_its_row_to_python(page):
    point = page.locator(".wb-chart-view").first.locator(".mark-symbol.role-mark path").last
    point.dispatch_event("click")
    run_cell(page, 2)

    expect(cell_of(page, 2)).to_contain_text("'deployment'")


def test_a_new_figure_takes_the_place_of_the_former(page):
    Seen(page).run("views[2].figure = None")

    expect(page.locator(".wb-chart-view svg.marks")).to_have_count(2)


def test_the_theme_of_the_page_is_followed(page):
    label = page.locator(".wb-chart-view svg.marks .mark-text text").first
    before = label.evaluate(FILL)
    command(page, "apputils:change-theme", theme="JupyterLab Dark")

    page.wait_for_function(f"before => ({FILL})({LABEL}) !== before", arg=before)


def test_charts_of_long_names_are_no_wider_than_their_place(share_notebook):
    page = share_notebook(LONG_NAMES)
    charts = page.locator(".wb-chart-view svg.marks")
    expect(charts).to_have_count(2)
    for width in (1440, 900):
        page.set_viewport_size({"width": width, "height": 900})
        page.wait_for_function(FIT)
    assert charts.last.evaluate(PANEL) >= 60
