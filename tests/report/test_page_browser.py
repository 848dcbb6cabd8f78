"""The report in real Chromium."""

import pytest

import workbench as wb
from workbench.formatting import Table
from workbench.report.page import page_html
from workbench.report.parts import draw_spec, tabulate, tell
from workbench.report.runs import report_html

TIMES = wb.ServiceTimes.affine(0.004, 0.0005, largest=8)
POLICY = wb.BatchPolicy(max_size=8, max_wait=0.02)
TWO = wb.RealTime(instance_type="ml.m5.large", count=2, workers=2)
DEPLOYMENTS = (
    TWO,
    wb.Serverless(memory_mb=2048, max_concurrency=200),
    wb.Lambda(memory_mb=1769, max_concurrency=100),
    wb.Local(workers=2, hourly_price=0.1),
)


@pytest.fixture(scope="module")
def report():
    trace = wb.poisson(rate=200, duration=5, seed=1)
    runs = [wb.simulate(trace, POLICY, each, TIMES) for each in DEPLOYMENTS]
    return report_html(runs, costs=[wb.cost(run) for run in runs])


def test_no_table_of_four_runs_scrolls_at_1200_pixels(chromium, report):
    page = chromium.new_page(viewport={"width": 1200, "height": 900})
    page.set_content(report)

    widths = (
        "[...document.querySelectorAll('.wide')].map(each => [each.scrollWidth, each.clientWidth])"
    )
    assert all(content <= room for content, room in page.evaluate(widths))
    assert page.evaluate("document.documentElement.scrollWidth") == 1200


@pytest.mark.parametrize(("columns", "within"), [(5, True), (10, False)])
def test_a_table_of_few_columns_wraps_its_words_before_it_leaves_the_text(
    chromium, columns, within
):
    rows = [["some words that can stand on lines of their own"] * columns]
    page = chromium.new_page(viewport={"width": 1200, "height": 900})
    page.set_content(page_html("T", [tell("A line."), tabulate(Table(["a"] * columns, rows))]))

    table, text = (page.locator(what).bounding_box()["width"] for what in (".wide", "p"))
    assert (table <= text) is within


def test_no_table_of_four_runs_is_cut_on_paper(chromium, report):
    page = chromium.new_page(viewport={"width": 718, "height": 1000})  # A4 less its margins
    page.emulate_media(media="print")
    page.set_content(report)

    ends = "[...document.querySelectorAll('table')].map(t => t.getBoundingClientRect().right)"
    assert max(page.evaluate(ends)) <= 718
    assert page.evaluate("document.documentElement.scrollWidth") == 718


def test_a_chart_of_one_s_own_can_be_read_in_the_dark(chromium):
    import altair as alt

    spec = alt.Chart(alt.Data(values=[{"a": 1}])).mark_bar().encode(x="a:Q").to_dict()
    page = chromium.new_page(color_scheme="dark")
    page.set_content(page_html("T", [draw_spec(spec)]))

    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    paper = page.locator("figure svg > rect").first.get_attribute("fill")
    assert (ground, paper) == ("rgb(17, 17, 17)", "white")
