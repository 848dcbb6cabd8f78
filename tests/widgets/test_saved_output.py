"""What a saved notebook keeps of the results, without a browser."""

from types import SimpleNamespace

import numpy as np
import pytest

from tests.hosted import called
from workbench.deployment import Local
from workbench.run import Run
from workbench.widgets import App, Results, saved_output


def made_run(latency=0.004):
    """A run that did not happen."""
    scheduled = np.arange(400) / 100
    facts = {"label": "mlp:1, local, no batching", "deployment": Local().to_dict()}
    return Run.from_arrays(scheduled=scheduled, finished=scheduled + latency, facts=facts)


@pytest.fixture
def shown(monkeypatch):
    """What is displayed in a notebook, by the name of the output."""
    outputs = {}

    def display(data, *, raw, display_id, update):
        assert raw
        assert (display_id in outputs) == update
        outputs[display_id] = data["text/html"]

    monkeypatch.setattr(saved_output, "display", display)
    monkeypatch.setattr(saved_output, "get_ipython", object)
    return outputs


def draw(*charts):
    """Do what a page does with charts."""
    for chart in charts:
        if chart.figure:
            chart.picture = f"<svg>{chart.figure.description * 99}</svg>"


def test_table_and_charts_are_kept_without_what_an_untrusted_notebook_loses():
    results = Results()
    results.add(made_run())
    results.edit(results.entries[0], note="the <first>")
    assert "<img " not in results.kept  # the page has not drawn them yet
    draw(*results.charts.values())

    assert results.kept.count("<img ") == 3
    results.edit(results.entries[0], note="the <first>.")  # of which the page draws nothing
    assert results.kept.count("<img ") == 3
    assert "the &lt;first&gt;" in results.kept
    assert not any(each in results.kept for each in ("<style", "<script", "<svg"))

    results.clear()

    assert results.kept == ""


def test_ten_results_in_the_app_stay_far_below_a_megabyte(shown, registry):
    app = App(registry)
    app.more.select("Runs")
    bundle = app._repr_mimebundle_()

    for number in range(10):
        app.results.add(made_run(0.004 + number / 1000))
        draw(*app.results.charts.values())

    assert "Run this cell" in bundle["text/html"]
    (kept,) = shown.values()
    assert kept.startswith('<div class="wb-kept ')
    assert kept.endswith(f'">{app.results.kept}</div>')
    assert 10_000 < len(kept) < 500_000


@pytest.mark.usefixtures("at_home")
def test_a_plan_and_figures_beside_six_results_stay_below_a_megabyte_too(shown, registry):
    app = App(registry)
    app.more.select("Runs")
    app._repr_mimebundle_()
    app.traffic.set("poisson", rate=40, duration=10)
    for number in range(6):
        app.results.add(made_run(0.004 + number / 1000))
    draw(*app.results.charts.values())
    plan, monitor = app.more["Plan"], app.more["Monitor"]
    plan.start()
    plan.wait()
    with called(times=25) as hosted:
        monitor.offer(SimpleNamespace(name=hosted.name, cloud=hosted.cloud))
        monitor.refresh()
        monitor.wait()
    draw(monitor.chart)

    assert (plan.error, monitor.error) == ("", "")
    (kept,) = shown.values()
    for part in (app.results.kept, plan.kept, monitor.kept):
        assert len(part) > 5_000
        assert part in kept
    assert len(kept) < 1_000_000


def test_nothing_is_displayed_before_the_widget_is(shown):
    results = Results()
    results.add(made_run())
    draw(*results.charts.values())

    assert shown == {}

    results._repr_mimebundle_()

    assert "<img " in next(iter(shown.values()))
