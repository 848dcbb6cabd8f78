"""The browser fixtures themselves: JupyterLab runs, and nothing leaves this machine."""

import os

from playwright.sync_api import expect

from tests.browser import command


def test_the_tests_in_jupyterlab_share_one_worker(page, request):
    if "PYTEST_XDIST_WORKER" in os.environ:
        assert request.node.nodeid.endswith("@JupyterLab")


def test_a_number_printed_by_a_cell_is_read_from_the_page(open_notebook):
    page = open_notebook("answer = 6 * 7", "print(answer)")

    expect(page.locator(".jp-OutputArea-output")).to_have_text("42")


def test_a_command_of_jupyterlab_is_done_when_it_returns(open_notebook):
    page = open_notebook("'any'")

    command(page, "apputils:change-theme", theme="JupyterLab Dark")

    expect(page.locator("body")).to_have_attribute("data-jp-theme-light", "false")


def test_a_page_finds_nothing_that_an_earlier_one_set(open_notebook):
    page = open_notebook("'any'")

    expect(page.locator("body")).to_have_attribute("data-jp-theme-light", "true")


def test_what_the_page_asks_of_another_machine_is_refused_and_recorded(page, lab, elsewhere):
    page.goto(f"{lab.url}/lab?reset&token={lab.token}")

    page.evaluate("() => fetch('http://192.0.2.1/script.js').catch(() => null)")
    page.evaluate("() => { new WebSocket('ws://192.0.2.1/socket') }")

    page.wait_for_function("() => window.jupyterapp?.restored")
    assert elsewhere == ["http://192.0.2.1/script.js", "ws://192.0.2.1/socket"]
    elsewhere.clear()
