"""Figures and reports where they are looked at: in JupyterLab, light and dark, and as pages."""

import pytest
from playwright.sync_api import expect

from tests.browser import command
from workbench.deployment import Local
from workbench.plots import plot_latency_ecdf
from workbench.pricing.cost import Cost
from workbench.pricing.usage import Usage
from workbench.report.runs import write_report
from workbench.run import SLO, Run

RUN = """
from workbench.deployment import Local
from workbench.pricing.cost import Cost
from workbench.pricing.usage import Usage
from workbench.plots import *
from workbench.run import SLO, Run
run = Run.from_arrays(scheduled=range(400), finished=[k + 0.01 + k % 7 / 50 for k in range(400)])
cost = Cost(items=Local(hourly_price=0.4).bill(Usage(seconds=60)), answered=400)
"""
SHOW = (
    "plot_latency_ecdf(run, slo=SLO(latency=0.1))",
    "plot_latency_over_time(run)",
    "plot_batch_sizes(run)",
    "plot_cost_by_item({'run': cost})",
)
LIGHTNESS = """mark => {
    const [r, g, b] = getComputedStyle(mark).fill.match(/[0-9.]+/g).map(Number)
    return (r + g + b) / (3 * 255)
}"""


@pytest.fixture(scope="module")
def run():
    finished = [k + 0.01 + k % 7 / 50 for k in range(400)]
    return Run.from_arrays(scheduled=range(400), finished=finished)


def test_figures_are_drawn_in_jupyterlab_and_their_text_follows_its_theme(open_notebook):
    page = open_notebook(RUN, *SHOW)
    charts = page.locator(".jp-RenderedVegaCommon5 svg.marks")
    title = charts.first.locator(".role-title-text text")

    expect(charts).to_have_count(len(SHOW))
    page.wait_for_function(f"mark => ({LIGHTNESS})(mark) < 0.2", arg=title.element_handle())
    command(page, "apputils:change-theme", theme="JupyterLab Dark")
    page.wait_for_function(f"mark => ({LIGHTNESS})(mark) > 0.8", arg=title.element_handle())


def test_a_figure_saved_as_a_page_is_drawn_without_internet(page, run, tmp_path):
    path = plot_latency_ecdf(run, slo=SLO(latency=0.1)).save(tmp_path / "figure.html")

    page.goto(path.as_uri())

    expect(page.locator("svg.marks .role-title-text text").first).to_have_text(
        "Share of requests answered within a latency"
    )


def test_a_report_is_shown_without_a_word_from_the_console(page, run, tmp_path):
    said = []
    page.on("console", lambda message: said.append(message.text))
    bill = Cost(items=Local(hourly_price=0.4).bill(Usage(seconds=60)), answered=400)

    page.goto(write_report(run, tmp_path / "report.html", costs=[bill]).as_uri())

    expect(page.locator("figure svg")).to_have_count(4)
    assert said == []
