"""Figures in the app, drawn by JupyterLab's own Vega: as the next cell shows them."""

import os

import pytest
from playwright.sync_api import expect

from tests.browser import command

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
figures = [plots.plot_decision(decision), plots.plot_latency_ecdf(run), plots.plot_latency_over_time(run)]
picked = []
views = [ChartView(each, on_pick=picked.append) for each in figures]
views.append(ChartView())
box = chart_grid(views)
box"""


@pytest.fixture
def page(share_notebook):
    page = share_notebook(MADE, "figures[1]", "print(picked)")
    expect(page.locator(".wb-chart-view svg.marks")).to_have_count(3)
    return page


def test_a(page):
    page.set_viewport_size({"width": 1440, "height": 900})
    page.wait_for_timeout(1500)
    page.screenshot(path="/tmp/house/D_s1.png")
