"""The app's page in a real browser: the answer first, nothing cut, taken without a mouse.

The README's pictures of the app, decision-light.png and decision-dark.png, are
left in .screenshots.
"""

import re

import pytest
from playwright.sync_api import TimeoutError as TookTooLong
from playwright.sync_api import expect

from tests.browser import command
from tests.widgets.test_app_accessibility import PICTURES, THEMES, button, press_tab
from tests.widgets.test_app_browser import Seen
from workbench.run import Run
from workbench.widgets.app_shell import TABS

SIZES = ({"width": 1440, "height": 900}, {"width": 900, "height": 700})
CUT = """() => [...document.querySelectorAll('.wb :is(label, button, select)')]
    .filter(each => each.offsetParent && each.scrollWidth > each.clientWidth + 1)
    .map(each => each.outerHTML)"""
WITHOUT_HELP = """() => [...document.querySelectorAll('.wb :is(button, input, select)')]
    .filter(each => each.offsetParent && !each.title).map(each => each.outerHTML)"""
ARROW = "list => getComputedStyle(list).backgroundImage"
TO_THE_TOP = "document.querySelector('.wb-app').closest('.jp-Cell').scrollIntoView()"


@pytest.fixture
def shown(share_notebook, registry):
    """The app with its answer, as it is opened; the tests share it and leave the Decision tab."""
    where = f"app = wb.app(wb.Registry({str(registry.path)!r})); app"
    page = share_notebook("import workbench as wb", where)
    page.set_viewport_size(SIZES[0])
    expect(page.locator(".wb-decision .wb-status")).to_contain_text("Decided in")
    return page


def test_the_answer_is_there_in_either_theme_and_size(shown):
    command(shown, "application:toggle-left-area")
    arrows = set()
    for theme in THEMES:
        command(shown, "apputils:change-theme", theme=theme)
        expect(shown.locator("#jupyterlab-splash")).to_have_count(0)
        for size in reversed(SIZES):
            shown.set_viewport_size(size)
            shown.evaluate(TO_THE_TOP)
            chart = shown.locator(".wb-decision [aria-busy=false] svg.marks")
            expect(chart).to_be_in_viewport()
        arrows.add(shown.get_by_label("Model", exact=True).evaluate(ARROW))
        name = f"decision-{theme.split()[-1].lower()}.png"
        shown.locator(".wb-app").screenshot(path=PICTURES / name)
    assert len(arrows) == len(THEMES)
    command(shown, "apputils:change-theme", theme=THEMES[0])
    command(shown, "application:toggle-left-area")


def test_the_winner_is_taken_by_keyboard_alone(shown):
    sentence = shown.locator(".wb-decision .wb-sentence")
    expect(sentence).to_contain_text("a month")
    kind = re.search(r"(?:Take|misses|:) ([a-z-]+)", sentence.inner_text())[1]
    shown.get_by_label("Model", exact=True).focus()

    press_tab(shown, "Use the ")  # "winner", or "nearest" where this machine is busy
    shown.keyboard.press("Enter")

    where = shown.get_by_label("Where", exact=True).locator("option:checked")
    expect(where).to_have_text(kind.capitalize())
    expect(shown.get_by_text("Ready.")).to_be_visible()


def wait_until_none(page, wrong):
    """Wait until a page's script finds nothing wrong; fail with what it finds."""
    try:
        page.wait_for_function(f"({wrong})().length === 0")
    except TookTooLong:
        assert page.evaluate(wrong) == []


def test_nothing_is_cut_and_all_is_helped_and_named_in_every_tab_of_either_size(shown):
    Seen(shown).unfold()
    for size in SIZES:
        shown.set_viewport_size(size)
        for part in TABS:
            button(shown, part).click()
            expect(shown.locator(".wb-tabs .mod-active")).to_have_text([part])
            wait_until_none(shown, CUT)
            wait_until_none(shown, WITHOUT_HELP)
            expect(shown.locator(".wb [title=null]")).to_have_count(0)  # a script removes them
    button(shown, "Decision").click()
    Seen(shown).unfold()  # the same press folds them


def test_a_kept_run_of_many_words_is_not_cut_in_the_list(shown, workbench_home):
    run = Run.from_arrays(
        scheduled=[0.0, 0.1],
        finished=[0.01, 0.11],
        origin="measured: http://127.0.0.1:36835",
        facts={"label": "digits-forest-large:12, serverless 2048 MB, up to 8, " * 3},
    )
    run.save(workbench_home / "runs" / "of-many-words", overwrite=True)
    button(shown, "Runs").click()
    shown.get_by_title("Look for runs on this disk again.").click()
    listed = shown.locator(".wb select option").filter(has_text="forest-large:12")
    for size in SIZES:
        shown.set_viewport_size(size)
        expect(listed).to_be_visible()
        wait_until_none(shown, CUT)
    button(shown, "Decision").click()


@pytest.mark.parametrize("label", ["Where", "Policy", "Traffic"])
def test_no_label_is_cut_whatever_is_chosen(shown, label):
    Seen(shown).unfold()
    choices = shown.get_by_label(label, exact=True)
    first = choices.input_value()
    for name in [*choices.locator("option").all_inner_texts(), first]:
        choices.select_option(name)
        wait_until_none(shown, CUT)
        wait_until_none(shown, WITHOUT_HELP)
    Seen(shown).unfold()  # the same press folds them
