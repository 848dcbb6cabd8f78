"""The planner with buttons, without a browser: what it finds, and that it can be stopped."""

import html
import threading

import pytest

from tests.refused import unnamed
from workbench.deployment import Lambda
from workbench.planner import Options, plan
from workbench.registry.api import Registry
from workbench.run import SLO, Run
from workbench.service_times import ServiceTimes
from workbench.traffic.patterns import poisson
from workbench.widgets import App, PlanView

TIMES = ServiceTimes.affine(0.02, 0.004, largest=8)
TRACE = poisson(rate=40, duration=60, seed=1)
TARGET = SLO(latency=0.3)
SMALL = Options(kinds=["lambda"], lambda_memory_mb=[1024, 1769], finalists=4)


@pytest.fixture(scope="module")
def found():
    return plan(TIMES, TRACE, TARGET, SMALL)


def test_the_value_is_the_plan_and_winner_reason_and_near_misses_are_shown(found):
    view = PlanView(TIMES, TRACE, TARGET, SMALL)
    view.start()

    assert view.wait().best == found.best
    assert (view.error, view.running, view.stop_button.disabled) == ("", False, True)
    assert f"{found.label}." in view.found.value
    assert "meets the target at the least cost" in view.found.value
    assert html.escape(found.near_misses["reason"][0]) in view.found.value
    assert f"${found.near_misses['cost_per_month'][0]:,.2f}</td>" in view.found.value
    assert 'alt="Latency (p95) against cost' in view.chart.value
    assert (view.bar.value, view.bar.max) == (1, 1)
    assert view.status.text.startswith("Decided in")


def test_the_winner_is_taken_over_by_a_press():
    taken = []
    view = PlanView(TIMES, TRACE, TARGET, SMALL, on_apply=taken.append)
    view.apply_button.click()
    assert taken == []

    view.start()
    view.wait()
    view.apply_button.click()

    assert taken == [view.value]
    assert view.status.text.startswith(f"Taken over: {view.value.best.label}.")


def test_planning_can_be_stopped_and_the_plan_before_stays(found):
    at_it, go_on = threading.Event(), threading.Event()

    def slow(_):
        at_it.set()
        go_on.wait(60)
        return TIMES

    view = PlanView(TIMES, TRACE, TARGET, SMALL)
    view.start()
    before = view.wait()
    view.offer(slow, TRACE, TARGET, SMALL)
    view.start()
    assert at_it.wait(60)
    assert (view.running, view.find_button.disabled) == (True, True)

    view.stop()
    go_on.set()

    assert view.wait() is before
    assert view.status.text.startswith("Stopped")
    assert (view.error, view.find_button.disabled) == ("", False)


def test_nothing_is_planned_beside_a_run(registry):
    app, go_on = App(registry), threading.Event()
    view = app.more["Plan"]
    ended = Run.from_arrays(scheduled=[0.0] * 200, finished=[0.004] * 200)
    app.panel.offer({"run": lambda _: ended if go_on.wait(60) else None})

    app.panel.start()
    assert view.find_button.disabled
    assert view.status.text.startswith("A run is under way")
    go_on.set()
    app.panel.wait()

    assert not view.find_button.disabled
    assert view.status.text == "Ready."


def test_what_cannot_be_planned_is_said_and_the_view_stays_usable():
    none = Options(kinds=["lambda"], max_sizes=[64])
    view = PlanView(TIMES, TRACE, TARGET, none)
    view.start()

    assert view.wait() is None
    assert "profile larger batches" in view.error
    assert view.status.text == view.error
    assert view.status.wrong
    assert not view.find_button.disabled


def test_without_anything_to_plan_for_it_says_what_it_takes():
    view = PlanView()
    view.start()

    assert not unnamed(view.status.text, "model", "traffic", "target")
    assert view.find_button.disabled


def test_the_app_plans_for_its_pickers_and_they_take_the_winner_over(registry, found):
    shown = App(registry)
    shown.more.buttons["Plan"].click()
    view = shown.more["Plan"]
    assert not view.find_button.disabled

    shown.slo["latency"].value = 0
    assert view.find_button.disabled
    assert view.status.text.startswith("Target: Latency must be")

    shown.slo["latency"].value = 100
    assert not view.find_button.disabled

    view.offer(TIMES, TRACE, TARGET, SMALL)
    view.start()
    view.wait()
    view.apply_button.click()

    assert f"{found.label}." in shown.kept
    assert "<img " in shown.kept
    assert "<style" not in shown.kept
    assert isinstance(shown.deployment.value, Lambda)
    assert shown.deployment.value == found.best.deployment
    assert shown.policy.value == found.best.policy


def test_the_app_without_a_model_has_nothing_to_plan_for(tmp_path):
    shown = App(Registry(tmp_path))
    shown.more.buttons["Plan"].click()

    assert shown.more["Plan"].status.text.startswith("Model: There is no approved model")
