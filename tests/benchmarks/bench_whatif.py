"""What-if in JupyterLab and a real Chromium: until the frame is painted.

A slider's key is pressed; the time is from its last input event, by the browser's clock, to the
frame that shows the answer. Each press is waited for, except in drags, where the latest place wins.
A million requests, drawn beforehand, on serverless instances. The tests' fixtures start server and
browser, so this file is run by pytest.
"""

import subprocess
import sys
from pathlib import Path

import numpy as np
from playwright.sync_api import expect

ROOT = Path(__file__).parents[2]
MADE = """
import workbench as wb
import workbench.widgets
from workbench.service_times import ServiceTimes
experiment = wb.Experiment(
    wb.Registry()["digits-mlp-small"],
    wb.Serverless(memory_mb=2048, max_concurrency=200),
    wb.poisson(rate=1000, duration=1000, seed=1),
    wb.BatchPolicy(max_size=8, max_wait=0.010),
    wb.SLO(latency=0.1),
)
wb.widgets.WhatIf(experiment, ServiceTimes.affine(0.020, 0.002, largest=32))"""
WATCH = """() => {
  window.painted = { startTime: 0, duration: 0 };
  window.turned = 0;
  document.addEventListener("input", (event) => { window.turned = event.timeStamp; }, true);
  new PerformanceObserver((list) => {
    window.painted = list.getEntriesByName("wb-what-if").at(-1) ?? window.painted;
  }).observe({ type: "measure" });
}"""
SETTLED = "() => Math.abs(window.painted.startTime - window.turned) < 0.01"
DIALS = {"Batch size": 31, "Max wait": 40, "Memory": 5, "Load": 26}  # presses from end to end


def told(name, figures):
    p50, p95 = np.quantile(figures, [0.5, 0.95])
    print(f"  {name:42} p50 {p50:5.0f} ms, p95 {p95:5.0f} ms  ({len(figures)} moves)", flush=True)


def settled(page):
    """Milliseconds from the last input event to the frame that shows what it comes to."""
    page.wait_for_function(SETTLED)
    return page.evaluate("window.painted.duration")


def press(page, key):
    page.keyboard.press(key)
    return settled(page)


def drag(page, slider, *, back):
    """Drag a slider's thumb over its whole length in 20 steps."""
    box = slider.bounding_box()
    ends, y = [box["x"] + 8, box["x"] + box["width"] - 8], box["y"] + box["height"] / 2
    begin, end = reversed(ends) if back else ends
    page.mouse.move(begin, y)
    page.mouse.down()
    page.mouse.move(end, y, steps=20)
    page.mouse.up()
    return settled(page)


def test_sliders(open_notebook):
    page = open_notebook(MADE)
    expect(page.locator(".wb-verdict")).to_contain_text("Simulated")
    page.evaluate(WATCH)
    moved = {}
    for label, count in DIALS.items():
        slider = page.get_by_role("slider", name=label, exact=True)
        at = slider.input_value()
        slider.focus()
        press(page, "Home")
        moved[label] = [press(page, "ArrowRight") for _ in range(count)]
        slider.fill(at)
        settled(page)
    print()
    for label, figures in moved.items():
        told(label.lower(), figures)
    together = [each for label, figures in moved.items() if label != "Load" for each in figures]
    told("batch size, wait and memory together", together)
    slider = page.get_by_role("slider", name="Max wait", exact=True)
    told("max wait, dragged", [drag(page, slider, back=n % 2) for n in range(20)])


def in_a_browser(path, *, timeout):
    """Have pytest run a benchmark, and so start server and browser; `timeout` is for each test."""
    options = ("-q", "-s", f"--timeout={timeout}", f"--rootdir={ROOT}")
    config = f"--config-file={ROOT}/pyproject.toml"
    subprocess.run([sys.executable, "-m", "pytest", *options, config, path], check=True, cwd=ROOT)


def main():
    in_a_browser(__file__, timeout=1200)


if __name__ == "__main__":
    main()
