"""The results on a page: rows that are sorted, pinned, named, deleted and brought back."""

import re

import pytest
from playwright.sync_api import expect

MADE = """
import numpy as np
import workbench as wb
from workbench.widgets import Results
results = Results()
def add(label, latency):
    at = np.arange(400) / 100
    facts = {"label": f"mlp:1, {label}", "deployment": wb.Local().to_dict()}
    results.add(wb.Run.from_arrays(scheduled=at, finished=at + latency, facts=facts), "print(1)")
add("middle", 0.004)
add("slow", 0.006)
add("fast", 0.002)
results"""


@pytest.fixture
def page(share_notebook):
    page = share_notebook(MADE)
    expect(page.locator(".wb-table tbody tr")).to_have_count(3)
    return page


def cells(page, key):
    return page.locator(f".wb-table td[data-key={key}]")


def test_rows_are_sorted_pinned_named_deleted_and_brought_back(page):
    table = page.locator(".wb-table")
    names = table.locator("tbody th input")
    p95 = table.get_by_role("button", name=re.compile("^p95"))
    p95.click()
    expect(cells(page, "p95")).to_have_text(
        [re.compile("^2 ms"), re.compile("^4"), re.compile("^6")]
    )
    expect(table.get_by_role("columnheader", name=re.compile("^p95"))).to_have_attribute(
        "aria-sort", "ascending"
    )
    p95.click()
    expect(cells(page, "p95")).to_have_text(
        [re.compile("^6 ms"), re.compile("^4"), re.compile("^2")]
    )

    table.get_by_role("button", name="Pin fast").click()
    expect(cells(page, "p95").first).to_have_text("6 ms+200 %")
    expect(table.get_by_role("button", name="Pin fast")).to_be_focused()

    names.first.fill("too slow")
    names.first.press("Tab")
    expect(page.locator(".wb-results svg.marks").first).to_contain_text("too slow")

    table.get_by_role("button", name="Delete too slow").click()
    expect(names).to_have_count(2)
    page.locator(".wb-results button", has_text="Undo").click()
    expect(names).to_have_count(3)
    with page.expect_download() as saved:
        table.get_by_role("button", name="CSV").click()
    assert saved.value.suggested_filename == "results.csv"
    wrong = page.locator(".wb-table [title=null], .wb-table button:not([title])")
    expect(wrong).to_have_count(0)


def test_the_notebook_keeps_what_the_page_has_drawn(page):
    drawn = page.locator(".wb-results svg.marks")
    expect(drawn).to_have_count(3)

    kept = page.locator(".wb-kept img")
    expect(kept).to_have_count(3)
    assert kept.first.get_attribute("src").startswith("data:image/svg+xml;base64,")
    expect(page.locator(".wb-kept")).to_be_hidden()
