"""Every page of the built site in a slow Chromium: time to readable, requests, and what axe finds.

`make site` first. The processor is slowed four times, as Lighthouse does for a phone of the middle
class; a page is readable when its text is painted and its scripts have run.
"""

from pathlib import Path

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import sync_playwright

from tests.browser import FLAGS, find_chromium

SITE = Path(__file__).parents[2] / "site/_build/html"
SLOWER, TARGET = 4, 2.0  # times, seconds
READABLE = """() => Math.max(
    performance.getEntriesByName("first-contentful-paint")[0].startTime,
    performance.getEntriesByType("navigation")[0].domContentLoadedEventEnd) / 1000"""


def main():
    files = [path for path in SITE.rglob("*") if path.is_file()]
    pages = sorted(path for path in files if path.suffix == ".html")
    print(
        f"{len(pages)} pages, {sum(path.stat().st_size for path in files) / 1e6:.1f} MB (limit 25)"
    )
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=find_chromium(), args=FLAGS)
        page = browser.new_page()
        asked = []
        page.on("request", lambda request: asked.append(request.url))
        times = {path: readable(page, path) for path in pages}
        found = {path: violations(browser, path) for path in pages}
        browser.close()
    for path in sorted(pages, key=times.get)[-5:]:
        print(f"{times[path]:6.2f} s  {path.relative_to(SITE)}")
    late = sum(time > TARGET for time in times.values())
    print(f"{late} pages later than {TARGET:g} s, {SLOWER} times slower")
    print(
        f"asked of other hosts: {[url for url in asked if not url.startswith(('file:', 'data:'))]}"
    )
    print(f"axe: { ({str(path.relative_to(SITE)): ids for path, ids in found.items() if ids}) }")


def readable(page, path):
    slow = page.context.new_cdp_session(page)
    slow.send("Emulation.setCPUThrottlingRate", {"rate": SLOWER})
    page.goto(path.as_uri())
    page.wait_for_function("() => performance.getEntriesByName('first-contentful-paint').length")
    return page.evaluate(READABLE)


def violations(browser, path):
    page = browser.new_page()
    page.goto(path.as_uri())
    found = Axe().run(page, options={"preload": False}).response["violations"]
    page.close()
    return [each["id"] for each in found]
