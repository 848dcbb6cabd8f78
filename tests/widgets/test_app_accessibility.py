"""The app as people use it who see it in the dark, do not see it, or have no mouse or internet."""

import json
from functools import partial
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect

from tests.browser import command
from tests.widgets.test_app_browser import Seen
from workbench.widgets.app_shell import TABS

THEMES = ("JupyterLab Light", "JupyterLab Dark")
FOCUSED = """() => {
    const { labels, textContent, ariaLabel } = document.activeElement;
    return (labels?.length ? labels[0].textContent : textContent || ariaLabel || "").trim();
}"""
WIDER = """() => [...document.querySelectorAll('.wb button, .wb input, .wb select, .wb .wb-status')]
    .filter(each => !each.closest('[role=region]'))  // a table scrolls in a frame of its own
    .filter(each => each.offsetParent && each.getBoundingClientRect().right > innerWidth)
    .map(each => each.outerHTML)"""
GROUND = """cell => {
    const paint = each => getComputedStyle(each).backgroundColor;
    let behind = cell.parentElement;
    while (paint(behind) === "rgba(0, 0, 0, 0)") behind = behind.parentElement;
    return paint(cell) === paint(behind);
}"""  # whether a cell that others scroll under is painted as what is behind it
PICTURES = Path(__file__).parents[2] / ".screenshots"


@pytest.fixture
def shown(open_notebook, registry):
    """The app on a page, with one result and every part that is made when asked for."""
    where = f"app = wb.app(wb.Registry({str(registry.path)!r})); app"
    page = open_notebook("import workbench as wb", where)
    expect(button(page, "Simulate")).to_be_enabled()
    page.get_by_label("Model", exact=True).select_option("digits-mlp-small")
    Seen(page).unfold()
    return page


def button(page, words):
    return page.locator(".wb button").get_by_text(words, exact=True)


def press_tab(page, words):
    """Press Tab until the focus is on what is called so."""
    for _ in range(80):
        page.keyboard.press("Tab")
        if page.evaluate(FOCUSED).startswith(words):
            return
    pytest.fail(f"Tab never came to {words}.")


def refuse_to_start(route):
    """Let the page ask for kernels, and start none."""
    if route.request.method == "POST":
        route.abort()
    else:
        route.continue_()


def serious(page):
    """What axe finds wrong with the app that is serious or worse, as text.

    A slider has its name with the next frame, which on a busy machine is a while later.
    """
    expect(page.locator(".wb .noUi-handle:not([aria-label])")).to_have_count(0)
    told = Axe().run(page, context=".wb").response
    assert {"button-name", "color-contrast", "label"} <= {each["id"] for each in told["passes"]}
    return json.dumps(
        [
            (each["id"], each["help"], [node["html"][:200] for node in each["nodes"]][:3])
            for each in told["violations"]
            if each["impact"] in {"serious", "critical"}
        ],
        indent=1,
    )


def test_axe_finds_nothing_serious_in_either_theme_and_a_narrow_window_cuts_nothing_off(shown):
    shown.get_by_label("Max size", exact=True).fill("0")
    expect(shown.get_by_role("alert").first).to_be_visible()

    for theme in THEMES:
        command(shown, "apputils:change-theme", theme=theme)
        expect(shown.locator("#jupyterlab-splash")).to_have_count(0)
        for part in TABS:
            button(shown, part).click()
            assert serious(shown) == "[]"

    shown.get_by_label("Max size", exact=True).fill("4")
    button(shown, "Decision").click()
    button(shown, "Simulate").click()
    expect(Seen(shown).charts).to_have_count(3)

    for theme in THEMES:
        command(shown, "apputils:change-theme", theme=theme)
        expect(shown.locator("#jupyterlab-splash")).to_have_count(0)
        assert serious(shown) == "[]"
        assert shown.locator(".wb-table thead th").first.evaluate(GROUND)

    shown.set_viewport_size({"width": 700, "height": 2600})

    shown.wait_for_function(f"({WIDER})().length === 0")  # once the page has its new layout
    shown.set_viewport_size({"width": 500, "height": 2600})  # of which the files take half
    for label in ("Model", "Rate (1/s)", "Max size"):
        assert shown.get_by_label(label, exact=True).bounding_box()["width"] > 60
    shown.set_viewport_size({"width": 700, "height": 2600})
    shown.screenshot(path=PICTURES / "app-parts-narrow.png")


def test_every_part_is_reached_and_used_by_keyboard_alone(shown):
    tab_to = partial(press_tab, shown)
    shown.get_by_label("Model", exact=True).focus()
    tab_to("Rate (1/s)")
    shown.keyboard.press("Control+a")
    shown.keyboard.type("150")
    tab_to("Simulate")
    shown.keyboard.press("Enter")
    expect(Seen(shown).charts).to_have_count(3)
    tab_to("Note of")
    shown.keyboard.type("by hand")
    button(shown, "Decision").focus()
    tab_to("Registry")
    shown.keyboard.press("Space")
    expect(shown.get_by_label("Version", exact=True)).to_be_visible()
    tab_to("Version")
    tab_to("Reason")
    shown.keyboard.type("too slow")
    tab_to("Refresh")
    shown.keyboard.press("Enter")

    expect(shown.get_by_label("Note of")).to_have_value("by hand")
    expect(shown.get_by_role("region", name="History of ")).to_be_visible()
    assert shown.evaluate(FOCUSED) == "Refresh"


def test_a_saved_notebook_shows_the_last_result_without_a_kernel(shown, lab):
    kept = shown.locator(".wb-kept")
    expect(kept).to_be_attached()
    expect(kept).to_be_hidden()
    button(shown, "Simulate").click()
    expect(Seen(shown).charts).to_have_count(3)
    shown.get_by_label("Note of").fill("the last one")
    shown.get_by_label("Note of").press("Tab")
    expect(kept.locator("img")).to_have_count(3)
    expect(kept).to_contain_text("the last one")
    expect(kept).to_be_hidden()

    command(shown, "docmanager:save")
    path = shown.evaluate("() => window.jupyterapp.shell.currentWidget.context.path")
    saved = json.loads((lab.root / path).read_text())
    assert "widgets" not in saved["metadata"]
    assert (lab.root / path).stat().st_size < 300_000

    (lab.root / f"read-{path}").write_text(json.dumps(saved))
    shown.route("**/api/sessions*", refuse_to_start)
    shown.goto(f"{lab.url}/lab/tree/read-{path}?reset&token={lab.token}")

    expect(kept.locator("img")).to_have_count(3)
    expect(kept.locator("img").first).to_be_visible()
    expect(kept.get_by_role("cell", name="the last one")).to_be_visible()
    assert len(lab.api("sessions")) == 1  # of the notebook before


def test_scaling_is_labelled_and_readable_in_either_theme_and_in_a_narrow_window(shown):
    choose = partial(shown.get_by_label, exact=True)
    choose("Where").select_option("Real-time")
    shown.locator(".wb-fold > button", has_text="Scaling").click()
    for label, words in (
        ("Overflow", "Lambda"),
        ("Spill", "Hedge"),
        ("Scaled by", "Target tracking"),
    ):
        choose(label).select_option(words)
    choose("Most").fill("0")
    expect(shown.get_by_role("alert").first).to_be_visible()

    for theme in THEMES:
        command(shown, "apputils:change-theme", theme=theme)
        expect(shown.locator("#jupyterlab-splash")).to_have_count(0)
        assert serious(shown) == "[]"
    choose("Most").fill("9")
    expect(shown.get_by_text("The fleet's size: target tracking.").first).to_be_visible()
    choose("Scaled by").select_option("Predictive")
    expect(shown.get_by_role("slider", name="Quantile")).to_be_visible()
    expect(shown.get_by_text("By prices alone:").first).to_be_visible()
    assert serious(shown) == "[]"
    for width in (1280, 800):
        shown.set_viewport_size({"width": width, "height": 1800})
        shown.wait_for_function(f"({WIDER})().length === 0")
        shown.screenshot(path=PICTURES / f"app-scaling-{width}.png")
