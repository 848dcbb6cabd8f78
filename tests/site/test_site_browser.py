"""The built site in a real Chromium, opened from its folder."""

import json
import re
import subprocess
import sys
from pathlib import Path

import explorable
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect

from tests.browser import fresh_page

BUILD = Path(__file__).parents[2] / "site/build.py"
PAGES = {
    "index.html": "light",
    "notebooks/00-quickstart.html": "dark",
    "notebooks/classroom/spike.html": "light",
    "commands/registry.html": "light",
    "api/whole-data-sets-without-a-queue.html": "dark",
    "glossary.html": "light",
    "search.html": "dark",
}
WORDS = {
    "cold start": "glossary",
    "bursty": "the requests",
    "teardown": "workbench teardown",
    "serverless": "where the model runs",
    "batching pay": "quickstart",
    "MArk": "mark rebuilt",
    "instructor": "the price of a spike: the instructor",
    "drift": "whether things are still",
    "registry": "workbench registry",
    "forecasts": "workbench.forecasts",
    "changelog": "changelog",
}


@pytest.fixture(scope="module")
def site(request, registry, tmp_path_factory):
    """The site's folder; what is between is kept, so that only changed pages are written again."""
    explorable.load_table("selection", registry.path)  # whose models need not be trained again
    work = request.config.cache.mkdir("site")
    out = tmp_path_factory.mktemp("site")
    command = [sys.executable, BUILD, "--leave", f"--work={work}", f"--out={out}"]
    made = subprocess.run(command, check=False, capture_output=True, text=True)
    assert made.returncode == 0, made.stdout + made.stderr
    assert " 0 broken links" in made.stdout
    return out


@pytest.fixture(scope="module")
def shown(chromium, asked):
    """A page that all tests of this module share, and what went wrong on it."""
    with fresh_page(chromium, asked) as page:
        wrong = []
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("requestfailed", lambda request: wrong.append(request.url))
        yield page
        assert wrong == []


def violations(page):
    told = Axe().run(page, options={"preload": False}).response["violations"]
    return json.dumps(
        [(e["id"], [n["html"][:200] for n in e["nodes"]][:3]) for e in told], indent=1
    )


@pytest.mark.parametrize(("name", "scheme"), PAGES.items())
def test_axe_finds_nothing(shown, site, elsewhere, name, scheme):
    shown.emulate_media(color_scheme=scheme)
    shown.goto((site / name).as_uri())

    assert violations(shown) == "[]"


def test_every_column_of_a_table_has_a_name(site):
    pages = {path.name: path.read_text() for path in site.rglob("*.html")}
    nameless = re.compile(r"<th\b[^>]*>\s*(<p>\s*</p>)?\s*</th>")
    assert [name for name, page in pages.items() if nameless.search(page)] == []


def test_the_search_finds_what_is_there(shown, site, elsewhere):
    for words, title in WORDS.items():
        shown.goto(f"{(site / 'search.html').as_uri()}?q={words}")
        found = shown.locator("#search-results li a", has_text=title)  # shown one by one
        expect(found.first).to_be_visible()


def test_a_reader_chooses_dark_and_every_page_is(shown, site, elsewhere):
    shown.emulate_media(color_scheme="light")
    shown.goto((site / "index.html").as_uri())
    colour = "getComputedStyle(document.body).backgroundColor"
    assert shown.evaluate(colour) == "rgb(255, 255, 255)"

    while shown.evaluate("document.body.dataset.theme") != "dark":
        shown.locator(".theme-toggle:visible").click()

    shown.goto((site / "glossary.html").as_uri())
    assert shown.evaluate(colour) != "rgb(255, 255, 255)"
