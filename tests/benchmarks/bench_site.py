"""Every page of the built site in a slow Chromium: time to readable, requests, and what axe finds.

`make site` first. The processor is slowed four times, as Lighthouse does for a phone of the middle
class; a page is readable when its text is painted and its scripts have run. A busy machine shows
in the seconds, so size and elements stand beside them. A line a page is printed as it is done; some
pages only: `.venv/bin/python -m tests.benchmarks.bench_site glossary api/`.
"""

import sys
from pathlib import Path
from statistics import median

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import sync_playwright

from tests.browser import FLAGS, find_chromium

SITE = Path(__file__).parents[2] / "site/_build/html"
SLOWER, TARGET, LOADS = 4, 2.0, 3  # times, seconds, of each page
READABLE = """() => Math.max(
    performance.getEntriesByName("first-contentful-paint")[0].startTime,
    performance.getEntriesByType("navigation")[0].domContentLoadedEventEnd) / 1000"""
AXE = {"preload": False, "resultTypes": ["violations"]}


def main(parts=()):
    files = [path for path in SITE.rglob("*") if path.is_file()]
    pages = sorted(path for path in files if path.suffix == ".html")
    size = sum(path.stat().st_size for path in files) / 1e6
    print(f"{len(pages)} pages, {size:.1f} MB (limit 25)")
    names = [str(path.relative_to(SITE)) for path in pages]
    names = [name for name in names if not parts or any(part in name for part in parts)]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=find_chromium(), args=FLAGS)
        pages = browser.new_context()
        asked = []
        pages.on("request", lambda request: asked.append(request.url))
        late = time_pages(pages, names)
        faults = sum(map(check_page, [browser.new_page()] * len(names), names))
        browser.close()
    elsewhere = {url for url in asked if not url.startswith(("file:", "data:"))}
    print(f"{late} of {len(names)} pages later than {TARGET:g} s, {SLOWER} times slower")
    print(f"{faults} of them with what axe finds; asked of other hosts: {sorted(elsewhere)}")


def time_pages(pages, names):
    """Print how long each page takes, one after the other, and return how many are late."""
    page = pages.new_page()
    slow = pages.new_cdp_session(page)
    slow.send("Emulation.setCPUThrottlingRate", {"rate": SLOWER})
    late = 0
    for name in names:
        seconds = median(readable(page, SITE / name) for _ in range(LOADS))
        late += seconds > TARGET
        size, elements = (SITE / name).stat().st_size / 1e3, page.evaluate("document.all.length")
        print(f"{seconds:6.2f} s {size:6.0f} kB {elements:6} elements  {name}", flush=True)
    return late


def readable(page, path):
    page.goto(path.as_uri())
    page.wait_for_function("() => performance.getEntriesByName('first-contentful-paint').length")
    return page.evaluate(READABLE)


def check_page(page, name):
    """Print what axe finds on a page, and return whether there is something."""
    page.goto((SITE / name).as_uri())
    found = [each["id"] for each in Axe().run(page, options=AXE).response["violations"]]
    print(f"axe: {', '.join(found) or 'nothing'}  {name}", flush=True)
    return bool(found)


if __name__ == "__main__":
    main(sys.argv[1:])
